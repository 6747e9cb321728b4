"""The models that come with the project: softmax regression and a small convolutional network.

The network is LeNet-like: two 3×3 convolutions, 2×2 max-pooling after the last, one hidden layer; its sizes are ours.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from core.models.convolution import convolve
from core.models.model import Model, from_nnx
from core.models.options import no_tokens, size
from core.models.task import CLASSIFICATION, Task


class Softmax(nnx.Module):  # type: ignore[misc]
    """Multinomial logistic regression; starts at zero, as the problem is convex."""

    def __init__(self, rngs: nnx.Rngs, *, input_shape: tuple[int, ...], classes: int) -> None:
        zeros = nnx.initializers.zeros_init()
        self.dense = nnx.Linear(math.prod(input_shape), classes, kernel_init=zeros, bias_init=zeros, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        logits: jax.Array = self.dense(x.reshape(x.shape[0], -1))
        return logits


class PatchConv(nnx.Module):  # type: ignore[misc]
    """A valid 3×3 convolution as matrix products (`core.models.convolution`). kernel: [3, 3, channels, features]."""

    def __init__(self, channels: int, features: int, rngs: nnx.Rngs) -> None:
        self.kernel = nnx.Param(nnx.initializers.lecun_normal()(rngs.params(), (3, 3, channels, features), jnp.float32))
        self.bias = nnx.Param(jnp.zeros((features,), jnp.float32))

    def __call__(self, x: jax.Array) -> jax.Array:
        out: jax.Array = convolve(x, self.kernel[...]) + self.bias[...]
        return out


class PlainConv(PatchConv):
    """The same convolution as one operation: what the cost is counted on."""

    def __call__(self, x: jax.Array) -> jax.Array:
        out = jax.lax.conv_general_dilated(
            x, self.kernel[...], (1, 1), "VALID", dimension_numbers=("NHWC", "HWIO", "NHWC")
        )
        biased: jax.Array = out + self.bias[...]
        return biased


def max_pool(x: jax.Array) -> jax.Array:
    """2×2 max-pooling of [batch, rows, columns, channels] by four views; an odd last row or column is dropped."""
    rows, columns = x.shape[1] // 2 * 2, x.shape[2] // 2 * 2
    top, bottom = x[:, 0:rows:2], x[:, 1:rows:2]
    return jnp.maximum(
        jnp.maximum(top[:, :, 0:columns:2], top[:, :, 1:columns:2]),
        jnp.maximum(bottom[:, :, 0:columns:2], bottom[:, :, 1:columns:2]),
    )


class Cnn(nnx.Module):  # type: ignore[misc]
    """conv – relu – conv – relu – max-pool – dense – relu – dense, for images [rows, columns(, channels)]."""

    def __init__(
        self,
        rngs: nnx.Rngs,
        *,
        input_shape: tuple[int, ...],
        classes: int,
        features: tuple[int, int] = (8, 16),
        hidden: int = 32,
        convolution: Callable[..., Any] = PatchConv,
    ) -> None:
        if len(input_shape) not in (2, 3) or min(input_shape[:2]) < 6:
            raise ValueError(f"cnn takes images of at least 6×6 pixels, not examples of shape {input_shape}")
        rows, columns = input_shape[:2]
        channels = input_shape[2] if len(input_shape) == 3 else 1
        self.conv1 = convolution(channels, features[0], rngs)
        self.conv2 = convolution(features[0], features[1], rngs)
        flat = (rows - 4) // 2 * ((columns - 4) // 2) * features[1]
        self.hidden = nnx.Linear(flat, hidden, rngs=rngs)
        self.out = nnx.Linear(hidden, classes, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        x = x[..., None] if x.ndim == 3 else x
        x = jax.nn.relu(self.conv1(x))
        x = max_pool(jax.nn.relu(self.conv2(x)))
        x = jax.nn.relu(self.hidden(x.reshape(x.shape[0], -1)))
        logits: jax.Array = self.out(x)
        return logits


def softmax(*, input_shape: tuple[int, ...], classes: int, task: Task = CLASSIFICATION, tokens: int = 0) -> Model:
    """Softmax regression of flattened examples."""
    no_tokens("softmax", tokens)
    if task is not CLASSIFICATION:
        raise ValueError(f"softmax is for classification, not for {task.name}; linear is its counterpart there")
    return from_nnx(Softmax, name="softmax", input_shape=input_shape, classes=classes)


def cnn(
    *,
    input_shape: tuple[int, ...],
    classes: int,
    task: Task = CLASSIFICATION,
    tokens: int = 0,
    features: tuple[int, int] = (8, 16),
    hidden: int = 32,
) -> Model:
    """The small convolutional network; `features` of the two convolutions, `hidden` units.

    Raises `ValueError` for sizes that are no positive whole numbers.
    """
    no_tokens("cnn", tokens)
    if not isinstance(features, list | tuple) or len(features) != 2:
        raise ValueError(f"features of cnn is {features!r}; two whole numbers from 1 are expected")
    for number in features:
        size("cnn", "features", number)
    size("cnn", "hidden", hidden)
    return from_nnx(
        Cnn,
        name="cnn",
        input_shape=input_shape,
        classes=classes,
        hyper={"features": tuple(features), "hidden": hidden},
        reference=functools.partial(Cnn, convolution=PlainConv),
        task=task,
    )
