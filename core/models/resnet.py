"""Residual networks for small images, with group normalisation.

He et al., "Deep residual learning for image recognition", CVPR 2016, section 4.2: 6n + 2 layers in three stages of
16, 32 and 64 features, shortcuts without parameters (option A), He's normal initialiser. Deviation: group
normalisation (Wu and He, ECCV 2018) in place of batch normalisation, which does not suit clients with skewed data
(Hsieh et al., ICML 2020); it has as many parameters, so that ResNet-20 has the 0.27 million of the paper.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, Final

import jax
import jax.numpy as jnp
from flax import nnx

from core.models.layers import FastConv, ReferenceConv, mean_pool
from core.models.model import Model, from_nnx
from core.models.options import image_shape, no_tokens, size
from core.models.task import CLASSIFICATION, Task

#: Features of the three stages.
STAGES: Final = (16, 32, 64)
_HE: Final = nnx.initializers.he_normal()


class GroupNorm(nnx.Module):  # type: ignore[misc]
    """Normalises groups of channels of each example; scale and bias of each channel, [channels]."""

    def __init__(self, channels: int, groups: int) -> None:
        self.groups = groups
        self.scale = nnx.Param(jnp.ones((channels,), jnp.float32))
        self.bias = nnx.Param(jnp.zeros((channels,), jnp.float32))

    def __call__(self, x: jax.Array) -> jax.Array:
        batch, rows, columns, channels = x.shape
        grouped = x.reshape(batch, rows * columns, self.groups, channels // self.groups)
        share = jnp.float32(1 / (rows * columns * (channels // self.groups)))
        centred = grouped - jnp.sum(grouped, axis=(1, 3), keepdims=True) * share
        variance = jnp.sum(jnp.square(centred), axis=(1, 3), keepdims=True) * share
        normal = (centred * jax.lax.rsqrt(variance + jnp.float32(1e-5))).reshape(x.shape)
        scaled: jax.Array = normal * self.scale[...] + self.bias[...]
        return scaled


class Block(nnx.Module):  # type: ignore[misc]
    """conv – norm – relu – conv – norm, added to its own input."""

    def __init__(
        self, channels: int, features: int, rngs: nnx.Rngs, *, groups: int, convolution: Callable[..., Any]
    ) -> None:
        self.stride = 1 if channels == features else 2
        self.wider = features - channels
        self.conv1 = convolution(channels, features, rngs, stride=self.stride, bias=False, kernel_init=_HE)
        self.norm1 = GroupNorm(features, groups)
        self.conv2 = convolution(features, features, rngs, bias=False, kernel_init=_HE)
        self.norm2 = GroupNorm(features, groups)

    def __call__(self, x: jax.Array) -> jax.Array:
        inner = self.norm2(self.conv2(jax.nn.relu(self.norm1(self.conv1(x)))))
        # Option A: every other row and column, and zeros for the channels that are new.
        shortcut = jnp.pad(x[:, :: self.stride, :: self.stride], ((0, 0), (0, 0), (0, 0), (0, self.wider)))
        summed: jax.Array = jax.nn.relu(inner + shortcut)
        return summed


class ResNet(nnx.Module):  # type: ignore[misc]
    """conv – norm – relu – three stages of blocks – mean – dense."""

    def __init__(
        self,
        rngs: nnx.Rngs,
        *,
        input_shape: tuple[int, ...],
        classes: int,
        depth: int = 8,
        groups: int = 2,
        convolution: Callable[..., Any] = FastConv,
    ) -> None:
        _, _, channels = image_shape("resnet", input_shape, 4)
        self.conv = convolution(channels, STAGES[0], rngs, bias=False, kernel_init=_HE)
        self.norm = GroupNorm(STAGES[0], groups)
        blocks = []
        width = STAGES[0]
        for features in STAGES:
            for _ in range((depth - 2) // 6):
                blocks.append(Block(width, features, rngs, groups=groups, convolution=convolution))
                width = features
        self.blocks = nnx.List(blocks)
        self.out = nnx.Linear(width, classes, kernel_init=nnx.initializers.glorot_uniform(), rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        x = x[..., None] if x.ndim == 3 else x
        x = jax.nn.relu(self.norm(self.conv(x)))
        for block in self.blocks:
            x = block(x)
        outputs: jax.Array = self.out(mean_pool(x))
        return outputs


def resnet(
    *,
    input_shape: tuple[int, ...],
    classes: int,
    task: Task = CLASSIFICATION,
    tokens: int = 0,
    depth: int = 8,
    groups: int = 2,
) -> Model:
    """Residual network of He et al. 2016 for small images, with group normalisation; `depth` 8, 14, 20, …

    `groups` divides 16, the features of the first stage. Raises `ValueError` for other values, and for what is no
    image.
    """
    no_tokens("resnet", tokens)
    size("resnet", "depth", depth, least=8)
    size("resnet", "groups", groups)
    if (depth - 2) % 6:
        raise ValueError(f"depth of resnet is {depth}; 6n + 2 layers are expected: 8, 14, 20, …")
    if STAGES[0] % groups:
        raise ValueError(f"groups of resnet is {groups}; a divisor of {STAGES[0]} is expected")
    return from_nnx(
        ResNet,
        name="resnet",
        input_shape=input_shape,
        classes=classes,
        hyper={"depth": depth, "groups": groups},
        reference=functools.partial(ResNet, convolution=ReferenceConv),
        task=task,
    )
