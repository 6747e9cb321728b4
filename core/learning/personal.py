"""Ditto and APFL: every client has a model of its own beside the global one.

Ditto: Li, Hu, Beirami, Smith, "Ditto: fair and robust federated learning through personalization", ICML 2021,
Algorithm 1: v ← v − η (∇F_k(v) + λ (v − w^t)), as many steps as for the global model. APFL: Deng, Kamani, Mahdavi,
"Adaptive personalized federated learning", 2020, Algorithm 1 and its adaptive mixing weight. Deviations: means
are weighted by examples; a client's own model starts as the global one that it was first sent; APFL is evaluated with
the global model as it was sent, not with the client's last local version of it; its mixing weight is kept in 0 .. 1.
"""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp

from core.compute import Function, ShardView
from core.compute.cost import Cost, count
from core.compute.function import Arrays, ShardKind
from core.learning.algorithm import (
    Algorithm,
    demand,
    is_number,
    joined,
    not_negative,
    part,
    passes,
    sgd,
    sound,
    step_function,
    whole_from,
)
from core.learning.averaging import fedavg
from core.learning.local import Batch, Steps, batch_gradient, batch_specs, difference, evaluation, forward_cost, walk
from core.learning.proximal import pull
from core.models import Model


def ditto(
    model: Model,
    batch_size: int,
    server_learning_rate: float = 1.0,
    lambda_: float = 0.1,
    optimizer: str = "sgd",
    momentum: float = 0.0,
) -> Algorithm:
    """Ditto: FedAvg, and on each client a personal model that is pulled to the global one by λ/2 |v − w|².

    Raises `ValueError`.
    """
    not_negative("lambda_", lambda_)
    base = fedavg(model, batch_size, server_learning_rate, optimizer, momentum)
    steps = Steps(model, batch_size, sgd(optimizer, momentum))
    own = Steps(model, batch_size, sgd(optimizer, momentum), pull(lambda_), given=1)
    measured = evaluation(model, batch_size)

    def local_update(
        params: Arrays, state: Arrays, shard: ShardView, epochs: jax.Array, learning_rate: jax.Array, key: jax.Array
    ) -> dict[str, Any]:
        trained, loss = steps.train(params, shard, epochs, learning_rate, key)
        personal, _ = own.train(state, shard, epochs, learning_rate, key, (params,))
        change = difference(trained, params)
        return {"update": change, "metrics": {"loss": loss}, "state": sound(change, state, personal)}

    def enter(params: Arrays, key: jax.Array) -> dict[str, Any]:
        return {"state": dict(params)}

    def personal(params: Arrays, state: Arrays, shard: ShardView) -> dict[str, Any]:
        return measured(state, shard)

    hyper = (model, batch_size, optimizer, momentum, lambda_)
    work = passes(batch_size, (steps.cost, None), (own.cost, None))
    tested = passes(batch_size, (functools.partial(forward_cost, model, batch_size), 1), purpose="inference")
    return dataclasses.replace(
        base,
        name="ditto",
        paper="Li et al. 2021 (Ditto), Algorithm 1",
        local_update=Function("ditto.local_update", local_update, hyper, work),
        enter=step_function("ditto.enter", enter, (model,)),
        personal=Function("ditto.personal", personal, (model, batch_size), tested),
        keeps="its own model",
    )


def apfl(
    model: Model, batch_size: int, server_learning_rate: float = 1.0, alpha: float = 0.5, adaptive: bool = False
) -> Algorithm:
    """APFL: a client's predictions come from α times its own model plus 1 − α times the global one.

    In each step w ← w − η ∇f(w), v ← v − η α ∇f(α v + (1 − α) w), both from the values before it; if `adaptive`, also
    α ← α − η ⟨∇f(α v + (1 − α) w), v − w⟩. Raises `ValueError`.
    """
    demand(is_number(alpha) and 0 <= alpha <= 1, "alpha", alpha, "a number from 0 to 1")
    demand(isinstance(adaptive, bool), "adaptive", adaptive, "true or false")
    whole_from("batch_size", batch_size, 1)
    measured = evaluation(model, batch_size)

    def blend(weight: jax.Array, own: Arrays, common: Arrays) -> dict[str, jax.Array]:
        return {name: weight * own[name] + (1 - weight) * common[name] for name in own}

    def step(forward: Any, carry: Any, learning_rate: jax.Array, batch: Batch) -> tuple[Any, jax.Array]:
        gradient = batch_gradient(model, forward)
        common, own, weight = carry
        loss, grads = gradient(common, *batch)
        _, mixed = gradient(blend(weight, own, common), *batch)
        after = {name: common[name] - learning_rate * grads[name] for name in common}
        mine = {name: own[name] - learning_rate * weight * mixed[name] for name in own}
        if adaptive:
            along = (jnp.sum(mixed[name] * (own[name] - common[name])) for name in own)
            slope = functools.reduce(jnp.add, along)
            weight = jnp.clip(weight - learning_rate * slope, jnp.float32(0), jnp.float32(1))
        return (after, mine, weight), loss

    def local_update(
        params: Arrays, state: Arrays, shard: ShardView, epochs: jax.Array, learning_rate: jax.Array, key: jax.Array
    ) -> dict[str, Any]:
        first = (dict(params), part(state, "model"), state["alpha"])
        one = functools.partial(step, model.apply)
        (trained, own, weight), loss = walk(
            shard, batch_size, epochs, key, first, lambda carry, batch: one(carry, learning_rate, batch)
        )
        change, after = difference(trained, params), joined(model=own, alpha=weight)
        return {"update": change, "metrics": {"loss": loss}, "state": sound(change, state, after)}

    def enter(params: Arrays, key: jax.Array) -> dict[str, Any]:
        return {"state": joined(model=params, alpha=jnp.float32(alpha))}

    def personal(params: Arrays, state: Arrays, shard: ShardView) -> dict[str, Any]:
        return measured(blend(state["alpha"], part(state, "model"), params), shard)

    def cost(kind: ShardKind) -> Cost:
        params, *batch = batch_specs(model, batch_size, kind)
        scalar = jax.eval_shape(lambda: jnp.float32(0))
        return count(functools.partial(step, model.reference), (params, params, scalar), scalar, tuple(batch))

    tested = passes(batch_size, (functools.partial(forward_cost, model, batch_size), 1), purpose="inference")
    hyper = (model, batch_size, adaptive)
    return dataclasses.replace(
        fedavg(model, batch_size, server_learning_rate),
        name="apfl",
        paper="Deng et al. 2020, Algorithm 1",
        local_update=Function("apfl.local_update", local_update, hyper, passes(batch_size, (cost, None))),
        enter=step_function("apfl.enter", enter, (model, alpha)),
        personal=Function("apfl.personal", personal, (model, batch_size), tested),
        keeps="its own model and mixing weight",
    )
