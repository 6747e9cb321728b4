"""Linear regression, and the perceptron with hidden layers ("2NN") of McMahan et al.

"Communication-efficient learning of deep networks from decentralized data", AISTATS 2017, section 3: two hidden layers
of 200 units with ReLU, 199,210 parameters on MNIST. The paper names no initialiser; ours is Glorot's uniform one. With
layer normalisation (Ba, Kiros, Hinton 2016) before each ReLU, as an option, which is ours too.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import jax
from flax import nnx

from core.models.model import Model, from_nnx
from core.models.options import no_tokens, size
from core.models.task import CLASSIFICATION, REGRESSION, Task


class Linear(nnx.Module):  # type: ignore[misc]
    """A weighted sum of all inputs; starts at zero, as the problem is convex."""

    def __init__(self, rngs: nnx.Rngs, *, input_shape: tuple[int, ...], classes: int, bias: bool = True) -> None:
        zeros = nnx.initializers.zeros_init()
        inputs = math.prod(input_shape)
        self.dense = nnx.Linear(inputs, classes, use_bias=bias, kernel_init=zeros, bias_init=zeros, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        outputs: jax.Array = self.dense(x.reshape(x.shape[0], -1))
        return outputs


class Mlp(nnx.Module):  # type: ignore[misc]
    """dense (– normalisation) – relu – … – dense, of flattened examples."""

    def __init__(
        self,
        rngs: nnx.Rngs,
        *,
        input_shape: tuple[int, ...],
        classes: int,
        hidden: tuple[int, ...] = (200, 200),
        normalised: bool = False,
    ) -> None:
        sizes = (math.prod(input_shape), *hidden, classes)
        glorot = nnx.initializers.glorot_uniform()
        self.layers = nnx.List([nnx.Linear(a, b, kernel_init=glorot, rngs=rngs) for a, b in itertools.pairwise(sizes)])
        self.norms = nnx.List([nnx.LayerNorm(units, rngs=rngs) for units in hidden] if normalised else [])

    def __call__(self, x: jax.Array) -> jax.Array:
        x = x.reshape(x.shape[0], -1)
        for i, layer in enumerate(list(self.layers)[:-1]):
            x = layer(x)
            x = jax.nn.relu(self.norms[i](x) if len(self.norms) else x)
        outputs: jax.Array = self.layers[-1](x)
        return outputs


def linear(
    *, input_shape: tuple[int, ...], classes: int, task: Task = REGRESSION, tokens: int = 0, bias: bool = True
) -> Model:
    """Linear regression of flattened examples (regression only); `bias` may be left out.

    Raises `ValueError` for another task.
    """
    no_tokens("linear", tokens)
    if task is not REGRESSION:
        raise ValueError(f"linear is for regression, not for {task.name}; softmax is its counterpart there")
    if not isinstance(bias, bool):
        raise ValueError(f"bias of linear is {bias!r}; true or false is expected")
    return from_nnx(Linear, name="linear", input_shape=input_shape, classes=classes, hyper={"bias": bias}, task=task)


def mlp(
    *,
    input_shape: tuple[int, ...],
    classes: int,
    task: Task = CLASSIFICATION,
    tokens: int = 0,
    hidden: Sequence[int] = (200, 200),
    normalised: bool = False,
) -> Model:
    """Perceptron with `hidden` layers of these sizes (McMahan et al. 2017: 200, 200), `normalised` or not.

    Raises `ValueError` for sizes that are no positive whole numbers.
    """
    no_tokens("mlp", tokens)
    if not isinstance(hidden, list | tuple) or not hidden:
        raise ValueError(f"hidden of mlp is {hidden!r}; a list of whole numbers from 1 is expected")
    for units in hidden:
        size("mlp", "hidden", units)
    if not isinstance(normalised, bool):
        raise ValueError(f"normalised of mlp is {normalised!r}; true or false is expected")
    hyper = {"hidden": tuple(hidden), "normalised": normalised}
    return from_nnx(Mlp, name="mlp", input_shape=input_shape, classes=classes, hyper=hyper, task=task)
