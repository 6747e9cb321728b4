"""What a client does with its own examples: minibatch training and evaluation with its own number of steps.

Every epoch visits all examples once, in an order drawn from the key and the epoch; the last batch may be partial and is
masked, so that its loss is the mean over the examples it has. Trip counts are dynamic: nothing is padded in time.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax

from core.compute import ShardView
from core.compute.cost import Cost, count
from core.compute.function import Arrays, ShardKind, abstract
from core.compute.identity import Identity, Same, identity_of
from core.models import Model
from core.models.task import Measure

Optimizer: TypeAlias = Callable[[jax.Array], optax.GradientTransformation]
Job: TypeAlias = Callable[..., dict[str, dict[str, jax.Array]]]
#: Examples, labels and mask (float32, 1 for a real example).
Batch: TypeAlias = tuple[jax.Array, jax.Array, jax.Array]
#: `(gradient, parameters now, what the job was given) -> gradient`, all shaped like the parameters.
Correction: TypeAlias = Callable[[Arrays, Arrays, Any], Arrays]


def _mixed(z: jax.Array) -> jax.Array:
    """The output function of SplitMix64, of uint64 of any shape."""
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed: jax.Array = z ^ (z >> np.uint64(31))
    return mixed


def shuffled(index: jax.Array, count: jax.Array, words: jax.Array, epoch: jax.Array) -> jax.Array:
    """The first `count` entries of `index` in an order drawn from two uint32 words and the epoch, the rest behind them.

    Sorts 32 bits of SplitMix64 (Steele, Lea, Flood 2014) with the position below them; ties (one in 2^32 a pair) fall
    back to the old order. Threefry took four times as long as the sorting when measured.
    """
    position = jnp.arange(index.shape[0], dtype=jnp.uint64)
    golden = np.uint64(0x9E3779B97F4A7C15)
    seed = words[0].astype(jnp.uint64) << np.uint64(32) | words[1].astype(jnp.uint64)
    stream = _mixed(seed + golden * (epoch.astype(jnp.uint64) + np.uint64(1)))
    bits = _mixed(stream + golden * (position + np.uint64(1))) >> np.uint64(32)
    behind = position >= count.astype(jnp.uint64)
    ranks = jnp.sort(jnp.where(behind, np.uint64(0xFFFFFFFF), bits) << np.uint64(32) | position)
    order: jax.Array = (ranks & np.uint64(0xFFFFFFFF)).astype(jnp.int32)
    return _rows(index, order)


def batches_of(count: jax.Array, batch_size: int) -> jax.Array:
    """Batches that `count` examples make, int32[]."""
    # No number is negative here, so that a plain division does what `//` takes ten operations for.
    return lax.div(count + np.int32(batch_size - 1), np.int32(batch_size))


def _rows(array: jax.Array, numbers: jax.Array) -> jax.Array:
    """Rows whose numbers are known to be those of rows: the bounds of an index cost more to compile than its use."""
    rows: jax.Array = array.at[numbers].get(mode="promise_in_bounds", wrap_negative_indices=False)
    return rows


def _padded(index: jax.Array, batch_size: int) -> jax.Array:
    """Row numbers with room for a whole last batch."""
    extra = -index.shape[0] % batch_size
    return jnp.pad(index, (0, extra)) if extra else index


def _batch(shard: ShardView, order: jax.Array, i: jax.Array, batch_size: int) -> Batch:
    """The i-th batch in this order of rows."""
    start = i * np.int32(batch_size)
    rows = lax.dynamic_slice(order, (start,), (batch_size,), allow_negative_indices=False)
    mask = (start + jnp.arange(batch_size, dtype=jnp.int32) < shard.count).astype(jnp.float32)
    return _rows(shard.arrays["x"], rows), _rows(shard.arrays["y"], rows), mask


def walk(
    shard: ShardView,
    batch_size: int,
    epochs: jax.Array,
    key: jax.Array,
    carry: Any,
    step: Callable[[Any, Batch], tuple[Any, jax.Array]],
) -> tuple[Any, jax.Array]:
    """`step(carry, batch) -> (carry, summed loss)` over all batches of all epochs, in the order that the key draws.

    `key` are the two words of a key. Returns what is carried and the mean loss over the examples of the last epoch,
    each before the step it takes part in; NaN if there was no step (no examples or no epochs).
    """
    steps = batches_of(shard.count, batch_size)

    # One loop over the steps of all epochs: a loop inside a loop would copy the parameters once more.
    def one(i: jax.Array, state: tuple[Any, jax.Array, jax.Array]) -> tuple[Any, jax.Array, jax.Array]:
        now, total, order = state
        epoch, number = lax.div(i, steps), lax.rem(i, steps)
        order, total = lax.cond(
            number == 0,
            lambda: (_padded(shuffled(shard.index, shard.count, key, epoch), batch_size), np.float32(0)),
            lambda: (order, total),
        )
        now, loss = step(now, _batch(shard, order, number, batch_size))
        return now, total + loss, order

    initial = (carry, np.float32(np.nan), _padded(shard.index, batch_size))
    carry, total, _ = lax.fori_loop(np.int32(0), epochs * steps, one, initial)
    return carry, total / shard.count.astype(jnp.float32)


Gradient: TypeAlias = Callable[[Arrays, jax.Array, jax.Array, jax.Array], tuple[jax.Array, Any]]


def batch_gradient(model: Model, apply: Callable[[Arrays, jax.Array], jax.Array]) -> Gradient:
    """The summed loss of a masked batch and the gradient of its mean."""
    return _batch_gradient(Same(model.loss), Same(apply), identity_of(model.loss, apply))


@functools.lru_cache(maxsize=64)
def _batch_gradient(measured: Same, applied: Same, identity: Identity) -> Gradient:
    """One of a loss and a model as they are now: JAX would take its trace of them for what they have become."""
    measure: Measure = measured.of
    apply: Callable[[Arrays, jax.Array], jax.Array] = applied.of

    def loss(params: Arrays, x: jax.Array, y: jax.Array, mask: jax.Array) -> tuple[jax.Array, jax.Array]:
        total = jnp.sum(measure(apply(params, x), y) * mask)
        return total / jnp.sum(mask), total

    def traced(params: Arrays, x: jax.Array, y: jax.Array, mask: jax.Array) -> tuple[jax.Array, Any]:
        (_, total), grads = jax.value_and_grad(loss, has_aux=True)(params, x, y, mask)
        return total, grads

    def gradient(params: Arrays, x: jax.Array, y: jax.Array, mask: jax.Array) -> tuple[jax.Array, Any]:
        # What a step costs and what a client does take the same trace, which is the dearest part of both.
        found: tuple[jax.Array, Any] = jax.jit(traced, inline=True)(params, x, y, mask)
        return found

    return gradient


def whole_gradient(
    model: Model, batch_size: int
) -> Callable[[Arrays, ShardView], tuple[dict[str, jax.Array], jax.Array]]:
    """`(params, shard) -> (gradient, loss)` of the mean over all examples, batch by batch.

    Without examples the gradient is zero and the loss NaN.
    """
    gradient = batch_gradient(model, model.apply)

    def whole(params: Arrays, shard: ShardView) -> tuple[dict[str, jax.Array], jax.Array]:
        order = _padded(shard.index, batch_size)

        def step(i: jax.Array, state: tuple[Any, jax.Array]) -> tuple[Any, jax.Array]:
            total, summed = state
            batch = _batch(shard, order, i, batch_size)
            loss, grads = gradient(params, *batch)
            return {name: total[name] + jnp.sum(batch[2]) * grads[name] for name in total}, summed + loss

        zero = {name: jnp.zeros_like(array) for name, array in params.items()}
        steps = batches_of(shard.count, batch_size)
        total, summed = lax.fori_loop(np.int32(0), steps, step, (zero, np.float32(0)))
        n = shard.count.astype(jnp.float32)
        return {name: array / jnp.maximum(n, 1) for name, array in total.items()}, summed / n

    return whole


def whole_loss(model: Model, batch_size: int) -> Callable[[Arrays, ShardView], jax.Array]:
    """`(params, shard) ->` the mean loss over all examples; NaN without any."""

    def whole(params: Arrays, shard: ShardView) -> jax.Array:
        order = _padded(shard.index, batch_size)

        def step(i: jax.Array, total: jax.Array) -> jax.Array:
            x, y, mask = _batch(shard, order, i, batch_size)
            return total + jnp.sum(model.loss(model.apply(params, x), y) * mask)

        total: jax.Array = lax.fori_loop(np.int32(0), batches_of(shard.count, batch_size), step, np.float32(0))
        return total / shard.count.astype(jnp.float32)

    return whole


@dataclasses.dataclass(frozen=True)
class Steps:
    """How a client steps: minibatches, an optimizer, and what is done to the gradient before it gets there.

    `given` is how many trees of the parameters' shape the correction is given, for the count of its cost.
    """

    model: Model
    batch_size: int
    optimizer: Optimizer
    correct: Correction = lambda grads, current, given: grads
    given: int = 0

    def train(
        self,
        start: Arrays,
        shard: ShardView,
        epochs: jax.Array,
        learning_rate: jax.Array,
        key: jax.Array,
        given: Any = (),
    ) -> tuple[dict[str, jax.Array], jax.Array]:
        """The parameters after training from `start`, and the loss as `walk` tells it."""
        gradient = batch_gradient(self.model, self.model.apply)
        step_of = self.optimizer(learning_rate)

        def step(carry: Any, batch: Batch) -> tuple[Any, jax.Array]:
            current, memory = carry
            loss, grads = gradient(current, *batch)
            change, memory = step_of.update(self.correct(grads, current, given), memory, current)
            return (optax.apply_updates(current, change), memory), loss

        first = dict(start)
        (trained, _), loss = walk(shard, self.batch_size, epochs, key, (first, step_of.init(first)), step)
        return trained, loss

    def cost(self, kind: ShardKind) -> Cost:
        """The reference step: forward, backward, correction and optimizer for one full minibatch."""
        gradient = batch_gradient(self.model, self.model.reference)

        def step(params: Any, memory: Any, given: Any, x: jax.Array, y: jax.Array, mask: jax.Array) -> Any:
            loss, grads = gradient(params, x, y, mask)
            change, memory = self.optimizer(jnp.float32(0)).update(self.correct(grads, params, given), memory, params)
            return optax.apply_updates(params, change), memory, loss

        params, *batch = batch_specs(self.model, self.batch_size, kind)
        # In the trace: outside of one each operation of the optimizer on the rate would be a program of its own.
        memory = jax.eval_shape(lambda params: self.optimizer(jnp.float32(0)).init(params), params)
        return count(step, params, memory, (params,) * self.given, *batch)


def difference(after: Arrays, before: Arrays) -> dict[str, jax.Array]:
    """An update: the parameters after training minus those before."""
    return {name: after[name] - before[name] for name in before}


def evaluation(model: Model, batch_size: int) -> Job:
    """`(params, shard) -> {"metrics": {score, "loss"}}`: means over the shard; NaN for an empty one.

    The score is the task's: `accuracy`, or `error` for regression.
    """

    def evaluate(params: Arrays, shard: ShardView) -> dict[str, dict[str, jax.Array]]:
        order = _padded(shard.index, batch_size)

        def step(i: jax.Array, state: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
            score, total = state
            x, y, mask = _batch(shard, order, i, batch_size)
            outputs = model.apply(params, x)
            return score + jnp.sum(model.task.score(outputs, y) * mask), total + jnp.sum(model.loss(outputs, y) * mask)

        steps = batches_of(shard.count, batch_size)
        score, total = lax.fori_loop(np.int32(0), steps, step, (np.float32(0), np.float32(0)))
        n = shard.count.astype(jnp.float32)
        return {"metrics": {model.task.score_name: score / n, "loss": total / n}}

    return evaluate


# What it costs.


def batch_specs(model: Model, batch_size: int, kind: ShardKind) -> tuple[Any, Any, Any, Any]:
    """Parameters and one batch of such shards (x, y, mask), as shapes."""
    x, y = (abstract((batch_size, *kind.spec[name].shape[1:]), kind.spec[name].dtype) for name in ("x", "y"))
    return model.spec, x, y, abstract((batch_size,), np.float32)


def gradient_cost(model: Model, batch_size: int, kind: ShardKind) -> Cost:
    """Forward and backward of one full minibatch."""
    return count(batch_gradient(model, model.reference), *batch_specs(model, batch_size, kind))


def forward_cost(model: Model, batch_size: int, kind: ShardKind) -> Cost:
    """Forward, score and loss of one full minibatch."""

    def step(params: Any, x: jax.Array, y: jax.Array, mask: jax.Array) -> Any:
        outputs = model.reference(params, x)
        return jnp.sum(model.task.score(outputs, y) * mask), jnp.sum(model.loss(outputs, y) * mask)

    return count(step, *batch_specs(model, batch_size, kind))
