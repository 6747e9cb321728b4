"""The convolutional networks of federated learning's first papers, for images such as 28×28.

`mcmahan_cnn`: two 5×5 convolutions of 32 and 64 features, each with 2×2 max-pooling, one hidden layer. With 512 hidden
units it is the MNIST CNN of McMahan et al. (AISTATS 2017; 1,663,370 parameters), with 2,048 the FEMNIST CNN of LEAF
(Caldas et al. 2018; 6,603,710 with 62 classes). `femnist_cnn`: the EMNIST CNN of Reddi et al. ("Adaptive federated
optimization", ICLR 2021, table 4; 1,206,590): two 3×3 convolutions, one pooling, 128 hidden units. Deviation: its
dropout is left out. Initialisers are Glorot's uniform ones for `mcmahan_cnn` (the default of the TensorFlow layers that
LEAF uses) and those of `cnn` for `femnist_cnn`.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
from flax import nnx

from core.models.layers import FastConv, ReferenceConv
from core.models.model import Model, from_nnx
from core.models.options import image_shape, no_tokens, size
from core.models.task import CLASSIFICATION, Task
from core.models.zoo import Cnn, PlainConv, max_pool


class McMahanCnn(nnx.Module):  # type: ignore[misc]
    """conv 5×5 – relu – max-pool – conv 5×5 – relu – max-pool – dense – relu – dense."""

    def __init__(
        self,
        rngs: nnx.Rngs,
        *,
        input_shape: tuple[int, ...],
        classes: int,
        features: tuple[int, int] = (32, 64),
        hidden: int = 512,
        convolution: Callable[..., Any] = FastConv,
    ) -> None:
        rows, columns, channels = image_shape("mcmahan_cnn", input_shape, 4)
        glorot = nnx.initializers.glorot_uniform()
        self.conv1 = convolution(channels, features[0], rngs, size=5)
        self.conv2 = convolution(features[0], features[1], rngs, size=5)
        flat = rows // 4 * (columns // 4) * features[1]
        self.hidden = nnx.Linear(flat, hidden, kernel_init=glorot, rngs=rngs)
        self.out = nnx.Linear(hidden, classes, kernel_init=glorot, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        x = x[..., None] if x.ndim == 3 else x
        x = max_pool(jax.nn.relu(self.conv1(x)))
        x = max_pool(jax.nn.relu(self.conv2(x)))
        x = jax.nn.relu(self.hidden(x.reshape(x.shape[0], -1)))
        outputs: jax.Array = self.out(x)
        return outputs


def mcmahan_cnn(
    *,
    input_shape: tuple[int, ...],
    classes: int,
    task: Task = CLASSIFICATION,
    tokens: int = 0,
    hidden: int = 512,
) -> Model:
    """CNN of McMahan et al. 2017 for MNIST; `hidden` 2048 is LEAF's for FEMNIST.

    Raises `ValueError` for a size that is no positive whole number, and for what is no image.
    """
    no_tokens("mcmahan_cnn", tokens)
    size("mcmahan_cnn", "hidden", hidden)
    return from_nnx(
        McMahanCnn,
        name="mcmahan_cnn",
        input_shape=input_shape,
        classes=classes,
        hyper={"hidden": hidden},
        reference=functools.partial(McMahanCnn, convolution=ReferenceConv),
        task=task,
    )


def femnist_cnn(*, input_shape: tuple[int, ...], classes: int, task: Task = CLASSIFICATION, tokens: int = 0) -> Model:
    """CNN of Reddi et al. 2021 for FEMNIST, without dropout: `cnn` with 32 and 64 features and 128 units."""
    no_tokens("femnist_cnn", tokens)
    return from_nnx(
        Cnn,
        name="femnist_cnn",
        input_shape=input_shape,
        classes=classes,
        hyper={"features": (32, 64), "hidden": 128},
        reference=functools.partial(Cnn, convolution=PlainConv),
        task=task,
    )
