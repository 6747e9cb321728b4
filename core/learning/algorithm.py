"""Federated algorithms as values: four pure functions that actors hand to their devices.

FedAvg: McMahan, Moore, Ramage, Hampson, Agüera y Arcas, "Communication-efficient learning of deep networks from
decentralized data", AISTATS 2017, Algorithm 1. Deviations: clients send the difference to the model they were given,
not the model (the same by linearity); the server may scale the mean difference by a learning rate (1 is the paper).
"""

from __future__ import annotations

import dataclasses
import functools
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from core.compute import Function, Shard
from core.compute.cost import Cost, count, one_step
from core.compute.function import Arrays, ShardKind, abstract, shard_kind
from core.devices import Work
from core.learning.local import Optimizer, batch_gradient, evaluation, local_training
from core.models import Model
from core.wire import Payload


@dataclasses.dataclass(frozen=True)
class Algorithm:
    """A federated algorithm.

    `init(key) -> {"params"}` · `local_update(params, shard, epochs, learning_rate, key) -> {"update", "metrics": loss}`
    · `evaluate(params, shard) -> {"metrics": accuracy, loss}` · `apply(params, mean) -> {"params"}`, where the mean
    is the weighted one of the updates, weights being the clients' numbers of examples. A key is a pair of words
    (`core.rng.key_words`), epochs an int, the learning rate a float.
    """

    name: str
    paper: str
    init: Function
    local_update: Function
    evaluate: Function
    apply: Function


def _optimizer(name: str, momentum: float) -> Optimizer:
    if name != "sgd":
        raise ValueError(f"unknown local optimizer {name!r}: sgd")
    if isinstance(momentum, bool) or not isinstance(momentum, int | float) or not 0 <= momentum < 1:
        raise ValueError(f"momentum is {momentum!r}; 0 <= momentum < 1 is expected")
    return lambda learning_rate: optax.sgd(learning_rate, momentum=momentum or None)


def _batch_specs(model: Model, batch_size: int, kind: ShardKind) -> tuple[Any, Any, Any, Any]:
    """Parameters and one batch of such shards (x, y, mask), as shapes."""
    x, y = (abstract((batch_size, *kind.spec[name].shape[1:]), kind.spec[name].dtype) for name in ("x", "y"))
    return model.spec, x, y, abstract((batch_size,), np.float32)


def fedavg(
    model: Model,
    batch_size: int,
    server_learning_rate: float = 1.0,
    optimizer: str = "sgd",
    momentum: float = 0.0,
) -> Algorithm:
    """FedAvg of a model with minibatches of `batch_size` examples. Raises `ValueError`.

    The reference step of `local_update` is one full minibatch: forward, backward and optimizer; that of `evaluate`
    the forward pass of one. A partial batch costs a full one.
    """
    if batch_size < 1:
        raise ValueError(f"batch_size is {batch_size}; at least 1 is expected")
    if not (math.isfinite(server_learning_rate) and server_learning_rate > 0):
        raise ValueError(f"server_learning_rate is {server_learning_rate}; a positive number is expected")
    local_optimizer = _optimizer(optimizer, momentum)
    reference_gradient = batch_gradient(model, model.reference)

    def init(key: jax.Array) -> dict[str, Any]:
        # Drawing with `rbg` compiles five times faster than with threefry; it is used once, so its quality suffices.
        return {"params": model.init(jax.random.wrap_key_data(jnp.concatenate([key, key]), impl="rbg"))}

    def apply(params: Arrays, mean: Arrays) -> dict[str, Any]:
        rate = jnp.float32(server_learning_rate)
        return {"params": {name: params[name] + rate * mean[name] for name in params}}

    def train_step(params: Any, memory: Any, x: jax.Array, y: jax.Array, mask: jax.Array) -> Any:
        loss, grads = reference_gradient(params, x, y, mask)
        change, memory = local_optimizer(jnp.float32(0)).update(grads, memory, params)
        return optax.apply_updates(params, change), memory, loss

    def test_step(params: Any, x: jax.Array, y: jax.Array, mask: jax.Array) -> Any:
        outputs = model.reference(params, x)
        hits = (jnp.argmax(outputs, axis=-1).astype(jnp.int32) == y).astype(jnp.float32)
        return jnp.sum(hits * mask), jnp.sum(model.loss(outputs, y) * mask)

    @functools.cache
    def train_cost(kind: ShardKind) -> Cost:
        params, x, y, mask = _batch_specs(model, batch_size, kind)
        memory = jax.eval_shape(local_optimizer(jnp.float32(0)).init, params)
        return count(train_step, params, memory, x, y, mask)

    @functools.cache
    def test_cost(kind: ShardKind) -> Cost:
        return count(test_step, *_batch_specs(model, batch_size, kind))

    def train_work(params: Payload, shard: Shard, epochs: int, learning_rate: float, key: object) -> Work:
        return Work(*train_cost(shard_kind(shard)), epochs * -(-shard.count // batch_size))

    def test_work(params: Payload, shard: Shard) -> Work:
        return Work(*test_cost(shard_kind(shard)), -(-shard.count // batch_size))

    hyper = (model, batch_size, optimizer, momentum)
    training = local_training(model, batch_size, local_optimizer)
    return Algorithm(
        name="fedavg",
        paper="McMahan et al. 2017, Algorithm 1",
        init=Function("fedavg.init", init, (model,), one_step(init)),
        local_update=Function("fedavg.local_update", training, hyper, train_work),
        evaluate=Function("fedavg.evaluate", evaluation(model, batch_size), (model, batch_size), test_work),
        apply=Function("fedavg.apply", apply, (model, server_learning_rate), one_step(apply)),
    )
