"""Convolutions of any size and stride, and pooling over all positions, for images [batch, rows, columns, channels].

Two forms with the same parameters: `FastConv` is matrix products over shifted views (`core.models.convolution`, and
one product for the whole batch where the stride is above 1); `ReferenceConv` is one operation, on which the cost is
counted.
"""

from __future__ import annotations

from typing import Any, Final, Literal

import jax
import jax.numpy as jnp
from flax import nnx

from core.models.convolution import convolve

_GLOROT: Final = nnx.initializers.glorot_uniform()


class FastConv(nnx.Module):  # type: ignore[misc]
    """A convolution with a square kernel [size, size, channels, features] and, if wanted, a bias [features].

    `padding` is `same` (zeros around, so that stride 1 keeps rows and columns) or `valid`.
    """

    def __init__(
        self,
        channels: int,
        features: int,
        rngs: nnx.Rngs,
        *,
        size: int = 3,
        stride: int = 1,
        padding: Literal["same", "valid"] = "same",
        bias: bool = True,
        kernel_init: Any = _GLOROT,
    ) -> None:
        self.size, self.stride = size, stride
        # An odd size has as much before as behind.
        self.margin = (size - 1) // 2 if padding == "same" else 0
        self.kernel = nnx.Param(kernel_init(rngs.params(), (size, size, channels, features), jnp.float32))
        if bias:
            self.bias = nnx.Param(jnp.zeros((features,), jnp.float32))
        self.biased = bias

    def __call__(self, x: jax.Array) -> jax.Array:
        margin, stride, size = self.margin, self.stride, self.size
        if margin:
            x = jnp.pad(x, ((0, 0), (margin, margin), (margin, margin), (0, 0)))
        kernel = self.kernel[...]
        if stride == 1:
            return self.add_bias(convolve(x, kernel))
        rows, columns = (x.shape[1] - size) // stride + 1, (x.shape[2] - size) // stride + 1
        last_row, last_column = stride * (rows - 1) + 1, stride * (columns - 1) + 1
        views = [
            x[:, i : i + last_row : stride, j : j + last_column : stride] for i in range(size) for j in range(size)
        ]
        patches = jnp.concatenate(views, axis=-1)
        product = patches.reshape(-1, patches.shape[-1]) @ kernel.reshape(-1, kernel.shape[-1])
        return self.add_bias(product.reshape(*patches.shape[:-1], -1))

    def add_bias(self, x: jax.Array) -> jax.Array:
        """The bias on top of the products, where there is one."""
        biased: jax.Array = x + self.bias[...] if self.biased else x
        return biased


class ReferenceConv(FastConv):
    """The same convolution as one operation."""

    def __call__(self, x: jax.Array) -> jax.Array:
        around = [(self.margin, self.margin)] * 2
        strides = (self.stride, self.stride)
        layout = ("NHWC", "HWIO", "NHWC")
        out = jax.lax.conv_general_dilated(x, self.kernel[...], strides, around, dimension_numbers=layout)
        return self.add_bias(out)


def mean_pool(x: jax.Array) -> jax.Array:
    """The mean over all rows and columns: [batch, rows, columns, channels] to [batch, channels]."""
    pooled: jax.Array = jnp.sum(x, axis=(1, 2)) * jnp.float32(1 / (x.shape[1] * x.shape[2]))
    return pooled
