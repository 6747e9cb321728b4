"""What a model is to do with its outputs: its loss and its score, each as a number for one example.

The score of classification and next-token prediction is the accuracy, that of regression the mean absolute error
(named `error`), which has the unit of the target.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Final, Literal, TypeAlias

import jax
import jax.numpy as jnp
import optax

#: Outputs of the model [batch, …] and targets [batch, …] to a number for each example, float32[batch].
Measure: TypeAlias = Callable[[jax.Array, jax.Array], jax.Array]


@dataclasses.dataclass(frozen=True)
class Task:
    """A kind of learning, known by its name.

    `classification`: outputs [batch, classes], targets int32[batch]. `next_token`: outputs [batch, length, classes],
    targets int32[batch, length]; an example's loss and accuracy are means over its tokens. `regression`: outputs
    [batch, 1], targets float32[batch].
    """

    name: Literal["classification", "regression", "next_token"]
    loss: Measure = dataclasses.field(compare=False, repr=False)
    score_name: Literal["accuracy", "error"] = dataclasses.field(compare=False, repr=False)
    score: Measure = dataclasses.field(compare=False, repr=False)

    def output_shape(self, batch: int, input_shape: tuple[int, ...], classes: int) -> tuple[int, ...]:
        """Shape of what a model gives for a batch of examples of `input_shape`."""
        return (batch, *input_shape, classes) if self.name == "next_token" else (batch, classes)


def cross_entropy(logits: jax.Array, labels: jax.Array) -> jax.Array:
    """Softmax cross-entropy of logits [batch, classes] against int labels [batch], in nats."""
    return optax.softmax_cross_entropy_with_integer_labels(logits, labels)  # type: ignore[no-any-return]


def accuracy(logits: jax.Array, labels: jax.Array) -> jax.Array:
    """1 where the largest logit is the label's, else 0."""
    return (jnp.argmax(logits, axis=-1).astype(jnp.int32) == labels).astype(jnp.float32)


def _over_tokens(measure: Measure) -> Measure:
    def mean(logits: jax.Array, labels: jax.Array) -> jax.Array:
        each = measure(logits, labels)
        total = jnp.sum(each, axis=tuple(range(1, each.ndim)))
        share: jax.Array = total * jnp.float32(1 / math.prod(each.shape[1:]))
        return share

    return mean


def squared_error(outputs: jax.Array, targets: jax.Array) -> jax.Array:
    """(output − target)² of outputs [batch, 1] and targets [batch]."""
    return jnp.square(outputs[:, 0] - targets)


def absolute_error(outputs: jax.Array, targets: jax.Array) -> jax.Array:
    """|output − target| of outputs [batch, 1] and targets [batch]."""
    return jnp.abs(outputs[:, 0] - targets)


CLASSIFICATION: Final = Task("classification", cross_entropy, "accuracy", accuracy)
NEXT_TOKEN: Final = Task("next_token", _over_tokens(cross_entropy), "accuracy", _over_tokens(accuracy))
REGRESSION: Final = Task("regression", squared_error, "error", absolute_error)
TASKS: Final = {task.name: task for task in (CLASSIFICATION, NEXT_TOKEN, REGRESSION)}
