"""What a client does with its own examples: minibatch training and evaluation with its own number of steps.

Every epoch visits all examples once, in an order drawn from the key and the epoch; the last batch may be partial and is
masked, so that its loss is the mean over the examples it has. Trip counts are dynamic: nothing is padded in time.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax import lax

from core.compute import ShardView
from core.compute.function import Arrays
from core.models import Model

Optimizer = Callable[[jax.Array], optax.GradientTransformation]
Job = Callable[..., dict[str, dict[str, jax.Array]]]


def _mixed(z: jax.Array) -> jax.Array:
    """The output function of SplitMix64, of uint64 of any shape."""
    z = (z ^ (z >> jnp.uint64(30))) * jnp.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> jnp.uint64(27))) * jnp.uint64(0x94D049BB133111EB)
    mixed: jax.Array = z ^ (z >> jnp.uint64(31))
    return mixed


def shuffled(index: jax.Array, count: jax.Array, words: jax.Array, epoch: jax.Array) -> jax.Array:
    """The first `count` entries of `index` in an order drawn from two uint32 words and the epoch, the rest behind them.

    Sorts 32 bits of SplitMix64 (Steele, Lea, Flood 2014) with the position below them; ties (one in 2^32 a pair) fall
    back to the old order. Threefry took four times as long as the sorting when measured.
    """
    position = jnp.arange(index.shape[0], dtype=jnp.uint64)
    golden = jnp.uint64(0x9E3779B97F4A7C15)
    seed = words[0].astype(jnp.uint64) << jnp.uint64(32) | words[1].astype(jnp.uint64)
    stream = _mixed(seed + golden * (epoch.astype(jnp.uint64) + jnp.uint64(1)))
    bits = _mixed(stream + golden * (position + jnp.uint64(1))) >> jnp.uint64(32)
    behind = position >= count.astype(jnp.uint64)
    ranks = jnp.sort(jnp.where(behind, jnp.uint64(0xFFFFFFFF), bits) << jnp.uint64(32) | position)
    order: jax.Array = (ranks & jnp.uint64(0xFFFFFFFF)).astype(jnp.int32)
    return index[order]


def _batches(count: jax.Array, batch_size: int) -> jax.Array:
    batches: jax.Array = (count + jnp.int32(batch_size - 1)) // jnp.int32(batch_size)
    return batches


def _padded(index: jax.Array, batch_size: int) -> jax.Array:
    """Row numbers with room for a whole last batch."""
    return jnp.pad(index, (0, -index.shape[0] % batch_size))


def _batch(shard: ShardView, order: jax.Array, i: jax.Array, batch_size: int) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Examples, labels and mask (float32, 1 for a real example) of the i-th batch."""
    start = i * jnp.int32(batch_size)
    rows = lax.dynamic_slice(order, (start,), (batch_size,))
    mask = (start + jnp.arange(batch_size, dtype=jnp.int32) < shard.count).astype(jnp.float32)
    return shard.arrays["x"][rows], shard.arrays["y"][rows], mask


def batch_gradient(
    model: Model, apply: Callable[[Arrays, jax.Array], jax.Array]
) -> Callable[[Arrays, jax.Array, jax.Array, jax.Array], tuple[jax.Array, Any]]:
    """The summed loss of a masked batch and the gradient of its mean."""

    def loss(params: Arrays, x: jax.Array, y: jax.Array, mask: jax.Array) -> tuple[jax.Array, jax.Array]:
        total = jnp.sum(model.loss(apply(params, x), y) * mask)
        return total / jnp.sum(mask), total

    def gradient(params: Arrays, x: jax.Array, y: jax.Array, mask: jax.Array) -> tuple[jax.Array, Any]:
        (_, total), grads = jax.value_and_grad(loss, has_aux=True)(params, x, y, mask)
        return total, grads

    return gradient


def local_training(model: Model, batch_size: int, optimizer: Optimizer) -> Job:
    """`(params, shard, epochs, learning_rate, key) -> {"update", "metrics"}`.

    The update is the difference of the parameters after and before. `loss` is the mean over the examples of the last
    epoch, each before the step it takes part in; NaN if there was no step (no examples or no epochs).
    """
    gradient = batch_gradient(model, model.apply)

    def local_update(
        params: Arrays, shard: ShardView, epochs: jax.Array, learning_rate: jax.Array, key: jax.Array
    ) -> dict[str, dict[str, jax.Array]]:
        step_of = optimizer(learning_rate)
        start = dict(params)
        steps = _batches(shard.count, batch_size)

        # One loop over the steps of all epochs: a loop inside a loop would copy the parameters once more.
        def step(i: jax.Array, state: tuple[Any, Any, jax.Array, jax.Array]) -> tuple[Any, Any, jax.Array, jax.Array]:
            current, memory, total, order = state
            epoch, number = i // steps, i % steps
            order, total = lax.cond(
                number == 0,
                lambda: (
                    _padded(shuffled(shard.index, shard.count, key, epoch), batch_size),
                    jnp.float32(0),
                ),
                lambda: (order, total),
            )
            loss, grads = gradient(current, *_batch(shard, order, number, batch_size))
            change, memory = step_of.update(grads, memory, current)
            return optax.apply_updates(current, change), memory, total + loss, order

        initial = (start, step_of.init(start), jnp.float32(jnp.nan), _padded(shard.index, batch_size))
        trained, _, total, _ = lax.fori_loop(jnp.int32(0), epochs * steps, step, initial)
        update = {name: trained[name] - start[name] for name in start}
        return {"update": update, "metrics": {"loss": total / shard.count.astype(jnp.float32)}}

    return local_update


def evaluation(model: Model, batch_size: int) -> Job:
    """`(params, shard) -> {"metrics": {"accuracy", "loss"}}`: means over the shard; NaN for an empty one."""

    def evaluate(params: Arrays, shard: ShardView) -> dict[str, dict[str, jax.Array]]:
        order = _padded(shard.index, batch_size)

        def step(i: jax.Array, state: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
            right, total = state
            x, y, mask = _batch(shard, order, i, batch_size)
            outputs = model.apply(params, x)
            hits = (jnp.argmax(outputs, axis=-1).astype(jnp.int32) == y).astype(jnp.float32)
            return right + jnp.sum(hits * mask), total + jnp.sum(model.loss(outputs, y) * mask)

        steps = _batches(shard.count, batch_size)
        right, total = lax.fori_loop(jnp.int32(0), steps, step, (jnp.float32(0), jnp.float32(0)))
        n = shard.count.astype(jnp.float32)
        return {"metrics": {"accuracy": right / n, "loss": total / n}}

    return evaluate
