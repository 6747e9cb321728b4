"""Transformers: a decoder for next-token prediction and an encoder for sequences as a whole.

Vaswani et al. (NeurIPS 2017) in the form of GPT-2 (Radford et al. 2019): normalisation before each part, learned
positions, GELU, inner width four times the outer; initial weights from N(0, 0.02²), those that end a residual branch
over √(2 layers). The decoder's output shares the embedding's weights: with GPT-2's sizes it has that model's
124,439,808 parameters. The encoder sees all positions, averages them and has an output layer of its own; it takes
tokens or vectors. No dropout.
"""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
from flax import nnx

from core.models.lstm import sequence_shape
from core.models.model import Model, from_nnx
from core.models.options import size
from core.models.task import CLASSIFICATION, NEXT_TOKEN, Task


def _dense(inputs: int, outputs: int, rngs: nnx.Rngs, deviation: float = 0.02) -> nnx.Linear:
    return nnx.Linear(inputs, outputs, kernel_init=nnx.initializers.normal(deviation), rngs=rngs)


class LayerNorm(nnx.Module):  # type: ignore[misc]
    """Normalises the last axis; scale and bias, [width]."""

    def __init__(self, width: int) -> None:
        self.scale = nnx.Param(jnp.ones((width,), jnp.float32))
        self.bias = nnx.Param(jnp.zeros((width,), jnp.float32))

    def __call__(self, x: jax.Array) -> jax.Array:
        share = jnp.float32(1 / x.shape[-1])
        centred = x - jnp.sum(x, axis=-1, keepdims=True) * share
        variance = jnp.sum(jnp.square(centred), axis=-1, keepdims=True) * share
        scaled: jax.Array = centred * jax.lax.rsqrt(variance + jnp.float32(1e-5)) * self.scale[...] + self.bias[...]
        return scaled


class Attention(nnx.Module):  # type: ignore[misc]
    """Self-attention with several heads, [batch, length, width] to the same; causal if asked."""

    def __init__(self, width: int, heads: int, layers: int, rngs: nnx.Rngs, *, causal: bool) -> None:
        self.heads, self.causal = heads, causal
        self.project = _dense(width, 3 * width, rngs)
        self.out = _dense(width, width, rngs, 0.02 / math.sqrt(2 * layers))

    def __call__(self, x: jax.Array) -> jax.Array:
        batch, length, width = x.shape
        projected = self.project(x).reshape(batch, length, 3, self.heads, width // self.heads)
        query, key, value = projected[:, :, 0], projected[:, :, 1], projected[:, :, 2]
        scores = jnp.einsum("bqhd,bkhd->bhqk", query, key) * jnp.float32(1 / math.sqrt(width // self.heads))
        if self.causal:
            position = jnp.arange(length, dtype=jnp.int32)
            scores = jnp.where(position[:, None] >= position[None, :], scores, jnp.float32(-1e30))
        mixed = jnp.einsum("bhqk,bkhd->bqhd", jax.nn.softmax(scores, axis=-1), value)
        outputs: jax.Array = self.out(mixed.reshape(batch, length, width))
        return outputs


class Layer(nnx.Module):  # type: ignore[misc]
    """Attention and a perceptron, each behind a normalisation and added to its input."""

    def __init__(self, width: int, heads: int, layers: int, rngs: nnx.Rngs, *, causal: bool) -> None:
        self.norm1 = LayerNorm(width)
        self.attention = Attention(width, heads, layers, rngs, causal=causal)
        self.norm2 = LayerNorm(width)
        self.widen = _dense(width, 4 * width, rngs)
        self.narrow = _dense(4 * width, width, rngs, 0.02 / math.sqrt(2 * layers))

    def __call__(self, x: jax.Array) -> jax.Array:
        x = x + self.attention(self.norm1(x))
        grown: jax.Array = x + self.narrow(jax.nn.gelu(self.widen(self.norm2(x)), approximate=True))
        return grown


class Stack(nnx.Module):  # type: ignore[misc]
    """Positions, layers and a last normalisation: [batch, length, width] to the same."""

    def __init__(self, length: int, width: int, heads: int, layers: int, rngs: nnx.Rngs, *, causal: bool) -> None:
        small = nnx.initializers.normal(0.02)
        self.position = nnx.Param(small(rngs.params(), (length, width), jnp.float32))
        self.layers = nnx.List([Layer(width, heads, layers, rngs, causal=causal) for _ in range(layers)])
        self.norm = LayerNorm(width)

    def __call__(self, x: jax.Array) -> jax.Array:
        x = x + self.position[...]
        for layer in self.layers:
            x = layer(x)
        normal: jax.Array = self.norm(x)
        return normal


class Decoder(nnx.Module):  # type: ignore[misc]
    """Tokens [batch, length] to logits [batch, length, tokens], each from the tokens up to it."""

    def __init__(
        self,
        rngs: nnx.Rngs,
        *,
        input_shape: tuple[int, ...],
        classes: int,
        tokens: int,
        width: int = 64,
        heads: int = 4,
        layers: int = 2,
    ) -> None:
        self.embed = nnx.Embed(tokens, width, embedding_init=nnx.initializers.normal(0.02), rngs=rngs)
        self.stack = Stack(input_shape[0], width, heads, layers, rngs, causal=True)

    def __call__(self, x: jax.Array) -> jax.Array:
        logits: jax.Array = self.stack(self.embed(x)) @ self.embed.embedding[...].T
        return logits


class Encoder(nnx.Module):  # type: ignore[misc]
    """Tokens [batch, length] or numbers [batch, length, features] to outputs [batch, classes]."""

    def __init__(
        self,
        rngs: nnx.Rngs,
        *,
        input_shape: tuple[int, ...],
        classes: int,
        tokens: int = 0,
        width: int = 64,
        heads: int = 4,
        layers: int = 2,
    ) -> None:
        small = nnx.initializers.normal(0.02)
        if tokens:
            self.embed = nnx.Embed(tokens, width, embedding_init=small, rngs=rngs)
        else:
            self.embed = _dense(input_shape[1], width, rngs, 1 / math.sqrt(input_shape[1]))
        self.stack = Stack(input_shape[0], width, heads, layers, rngs, causal=False)
        self.out = _dense(width, classes, rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        states = self.stack(self.embed(x))
        outputs: jax.Array = self.out(jnp.sum(states, axis=1) * jnp.float32(1 / states.shape[1]))
        return outputs


def _sizes(model: str, width: int, heads: int, layers: int) -> dict[str, int]:
    for option, value in (("width", width), ("heads", heads), ("layers", layers)):
        size(model, option, value)
    if width % heads:
        raise ValueError(f"heads of {model} is {heads}; a divisor of the width, {width}, is expected")
    return {"width": width, "heads": heads, "layers": layers}


def decoder(
    *,
    input_shape: tuple[int, ...],
    classes: int,
    task: Task = NEXT_TOKEN,
    tokens: int = 0,
    width: int = 64,
    heads: int = 4,
    layers: int = 2,
) -> Model:
    """Transformer decoder in the form of GPT-2, for next-token prediction.

    Raises `ValueError` for another task, for sizes that are no positive whole numbers, and if `heads` do not divide
    `width`.
    """
    if task is not NEXT_TOKEN or not tokens:
        raise ValueError(f"decoder predicts next tokens of text; the task is {task.name}, for which encoder is there")
    sequence_shape("decoder", input_shape, tokens)
    hyper = _sizes("decoder", width, heads, layers)
    return from_nnx(
        Decoder, name="decoder", input_shape=input_shape, classes=classes, hyper=hyper, task=task, tokens=tokens
    )


def encoder(
    *,
    input_shape: tuple[int, ...],
    classes: int,
    task: Task = CLASSIFICATION,
    tokens: int = 0,
    width: int = 64,
    heads: int = 4,
    layers: int = 2,
) -> Model:
    """Transformer encoder, for sequences of tokens or of vectors as a whole.

    Raises `ValueError` for next-token prediction, for sizes that are no positive whole numbers, and if `heads` do not
    divide `width`.
    """
    if task is NEXT_TOKEN:
        raise ValueError("encoder sees what comes next; decoder and lstm predict next tokens")
    sequence_shape("encoder", input_shape, tokens)
    hyper = _sizes("encoder", width, heads, layers)
    return from_nnx(
        Encoder, name="encoder", input_shape=input_shape, classes=classes, hyper=hyper, task=task, tokens=tokens
    )
