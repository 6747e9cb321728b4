"""IFCA: several models, of which each client trains the one that fits it best.

Ghosh, Chung, Yin, Ramchandran, "An efficient framework for clustered federated learning", NeurIPS 2020, Algorithm 1,
option II (model averaging). Deviations: a client sends the change of the one model that it trained, and its number; the
means within a cluster are weighted by examples; the models start as one draw plus noise, since the paper assumes starts
that differ.
"""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from core.compute import Function, ShardView, key_from
from core.compute.function import Arrays
from core.learning.algorithm import (
    WHOLE,
    Algorithm,
    draw,
    joined,
    joined_spec,
    not_negative,
    part,
    passes,
    server_step,
    sgd,
    spec_of,
    step_function,
    whole_from,
)
from core.learning.averaging import averaging
from core.learning.local import Steps, difference, evaluation, forward_cost, whole_loss
from core.models import Model


def ifca(
    model: Model,
    batch_size: int,
    server_learning_rate: float = 1.0,
    clusters: int = 2,
    spread: float = 0.1,
    optimizer: str = "sgd",
    momentum: float = 0.0,
) -> Algorithm:
    """IFCA: `clusters` models go down, a client trains the one with the least loss on its examples.

    All arrays of the server have a leading axis of `clusters`. The models start at one draw plus `spread` times
    standard normal noise. On the pooled examples the model with the least loss there is evaluated; a client's own
    figures are those of the model it trained last. Raises `ValueError`.
    """
    whole_from("clusters", clusters, 2)
    not_negative("spread", spread)
    steps = Steps(model, batch_size, sgd(optimizer, momentum))
    loss_of = whole_loss(model, batch_size)
    measured = evaluation(model, batch_size)

    def one(params: Arrays, number: jax.Array) -> dict[str, jax.Array]:
        return {name: lax.dynamic_index_in_dim(array, number, 0, keepdims=False) for name, array in params.items()}

    def init(key: jax.Array) -> dict[str, Any]:
        noise = jax.random.split(key_from(key), len(model.spec))
        return {
            "params": {
                name: array + jnp.float32(spread) * jax.random.normal(own, (clusters, *array.shape), jnp.float32)
                for own, (name, array) in zip(noise, sorted(draw(model, key).items()), strict=True)
            }
        }

    def local_update(
        params: Arrays, state: Arrays, shard: ShardView, epochs: jax.Array, learning_rate: jax.Array, key: jax.Array
    ) -> dict[str, Any]:
        losses = lax.map(lambda single: loss_of(single, shard), dict(params))
        number = jnp.argmin(losses).astype(jnp.int32)
        start = one(params, number)
        trained, loss = steps.train(start, shard, epochs, learning_rate, key)
        return {
            "update": joined(params=difference(trained, start), cluster=number),
            "metrics": {"loss": loss},
            "state": {"cluster": number},
        }

    def enter(params: Arrays, key: jax.Array) -> dict[str, Any]:
        return {"state": {"cluster": jnp.int32(0)}}

    def collect(update: Arrays, slot: jax.Array, staleness: jax.Array) -> dict[str, Any]:
        members = (jnp.arange(clusters, dtype=jnp.int32) == update["cluster"]).astype(jnp.float32)
        changes = {name: jnp.multiply.outer(members, array) for name, array in part(update, "params").items()}
        return {"update": joined(params=changes, members=members)}

    def apply(params: Arrays, mean: Arrays, count: Arrays, total: jax.Array) -> dict[str, Any]:
        members = mean["members"]
        rate = jnp.where(members > 0, jnp.float32(server_learning_rate) / jnp.where(members > 0, members, 1), 0)
        change = part(mean, "params")
        return {
            "params": {
                name: params[name] + rate.reshape(-1, *(1,) * (params[name].ndim - 1)) * change[name] for name in params
            }
        }

    def evaluate(params: Arrays, shard: ShardView) -> dict[str, Any]:
        found = lax.map(lambda single: measured(single, shard)["metrics"], dict(params))
        return {"metrics": one(found, jnp.argmin(found["loss"]).astype(jnp.int32))}

    def personal(params: Arrays, state: Arrays, shard: ShardView) -> dict[str, Any]:
        return measured(one(params, state["cluster"]), shard)

    forward = functools.partial(forward_cost, model, batch_size)
    shape = (model, batch_size, clusters)
    hyper = (*shape, optimizer, momentum)
    work = passes(batch_size, (steps.cost, None), (forward, clusters))
    training = Function("ifca.local_update", local_update, hyper, work)
    return dataclasses.replace(
        averaging(model, batch_size, server_learning_rate, training),
        name="ifca",
        paper="Ghosh et al. 2020, Algorithm 1, option II",
        init=step_function("ifca.init", init, (model, clusters, spread)),
        evaluate=Function(
            "ifca.evaluate", evaluate, shape, passes(batch_size, (forward, clusters), purpose="inference")
        ),
        apply=server_step("ifca.apply", apply, (model, clusters, server_learning_rate)),
        update=joined_spec(params=spec_of(model.spec), cluster=WHOLE),
        enter=step_function("ifca.enter", enter, (model,)),
        collect=step_function("ifca.collect", collect, (model, clusters)),
        personal=Function("ifca.personal", personal, shape, passes(batch_size, (forward, 1), purpose="inference")),
        sends="all models down, the change of one and its number up",
        keeps="the number of its cluster",
    )
