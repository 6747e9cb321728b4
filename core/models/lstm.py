"""The stacked LSTM for text by characters.

McMahan et al. (AISTATS 2017) and LEAF (Caldas et al. 2018): an embedding of 8 numbers, two layers of 256 units, a dense
layer to the vocabulary. Parameters and initialisers are those of the variant in Reddi et al. ("Adaptive federated
optimization", ICLR 2021, table 7: 820,522 with a vocabulary of 90): Glorot's uniform for inputs, orthogonal for the
recurrence, a forget bias of 1, embeddings uniform in ±0.05. For next-token prediction it says something at every
position (as McMahan and Reddi do), for classification and regression at the last one.
"""

from __future__ import annotations

import itertools

import jax
import jax.numpy as jnp
from flax import nnx

from core.models.model import Model, from_nnx
from core.models.options import size
from core.models.task import CLASSIFICATION, NEXT_TOKEN, Task


class LstmLayer(nnx.Module):  # type: ignore[misc]
    """One layer: [batch, length, inputs] to [batch, length, units]; gates in the order input, forget, cell, output.

    Hochreiter and Schmidhuber (1997) with the forget gate of Gers et al. (2000). kernel: [inputs, 4 units];
    recurrent: [units, 4 units]; bias: [4 units].
    """

    def __init__(self, inputs: int, units: int, rngs: nnx.Rngs) -> None:
        self.units = units
        initializers = nnx.initializers
        self.kernel = nnx.Param(initializers.glorot_uniform()(rngs.params(), (inputs, 4 * units), jnp.float32))
        self.recurrent = nnx.Param(initializers.orthogonal()(rngs.params(), (units, 4 * units), jnp.float32))
        self.bias = nnx.Param(jnp.zeros((4 * units,), jnp.float32).at[units : 2 * units].set(1.0))

    def __call__(self, x: jax.Array) -> jax.Array:
        recurrent = self.recurrent[...]
        # The inputs' part of all steps is one product; only the recurrence goes step by step.
        given = x @ self.kernel[...] + self.bias[...]

        def step(state: tuple[jax.Array, jax.Array], now: jax.Array) -> tuple[tuple[jax.Array, jax.Array], jax.Array]:
            hidden, cell = state
            into, forget, candidate, out = jnp.split(now + hidden @ recurrent, 4, axis=-1)
            cell = jax.nn.sigmoid(forget) * cell + jax.nn.sigmoid(into) * jnp.tanh(candidate)
            hidden = jax.nn.sigmoid(out) * jnp.tanh(cell)
            return (hidden, cell), hidden

        start = jnp.zeros((x.shape[0], self.units), jnp.float32)
        _, states = jax.lax.scan(step, (start, start), jnp.swapaxes(given, 0, 1))
        outputs: jax.Array = jnp.swapaxes(states, 0, 1)
        return outputs


class Lstm(nnx.Module):  # type: ignore[misc]
    """embed – LSTM – … – dense, for tokens [length]; without the embedding for real numbers [length, features]."""

    def __init__(
        self,
        rngs: nnx.Rngs,
        *,
        input_shape: tuple[int, ...],
        classes: int,
        tokens: int = 0,
        everywhere: bool = False,
        embedding: int = 8,
        units: int = 256,
        layers: int = 2,
    ) -> None:
        self.everywhere = everywhere
        width = input_shape[-1]
        self.embedded = tokens > 0
        if tokens:
            width = embedding
            uniform = nnx.initializers.uniform(0.1)

            def within(key: jax.Array, shape: tuple[int, ...], dtype: object = jnp.float32) -> jax.Array:
                drawn: jax.Array = uniform(key, shape, dtype) - jnp.float32(0.05)
                return drawn

            self.embed = nnx.Embed(tokens, embedding, embedding_init=within, rngs=rngs)
        sizes = [width, *[units] * layers]
        self.layers = nnx.List([LstmLayer(a, b, rngs) for a, b in itertools.pairwise(sizes)])
        self.out = nnx.Linear(units, classes, kernel_init=nnx.initializers.glorot_uniform(), rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        if self.embedded:
            x = self.embed(x)
        for layer in self.layers:
            x = layer(x)
        outputs: jax.Array = self.out(x if self.everywhere else x[:, -1])
        return outputs


def sequence_shape(model: str, input_shape: tuple[int, ...], tokens: int) -> None:
    """Refuse what is no sequence: tokens [length] or numbers [length, features]. Raises `ValueError`."""
    if len(input_shape) != (1 if tokens else 2):
        wanted = "tokens [length]" if tokens else "numbers [length, features]"
        raise ValueError(f"{model} takes sequences of {wanted}, not examples of shape {input_shape}")


def lstm(
    *,
    input_shape: tuple[int, ...],
    classes: int,
    task: Task = CLASSIFICATION,
    tokens: int = 0,
    embedding: int = 8,
    units: int = 256,
    layers: int = 2,
) -> Model:
    """Stacked LSTM of McMahan et al. 2017 and LEAF for characters; also for sequences of numbers.

    Raises `ValueError` for sizes that are no positive whole numbers, and for what is no sequence.
    """
    sequence_shape("lstm", input_shape, tokens)
    for option, value in (("embedding", embedding), ("units", units), ("layers", layers)):
        size("lstm", option, value)
    hyper = {"embedding": embedding, "units": units, "layers": layers, "everywhere": task is NEXT_TOKEN}
    return from_nnx(Lstm, name="lstm", input_shape=input_shape, classes=classes, hyper=hyper, task=task, tokens=tokens)
