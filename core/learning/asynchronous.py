"""FedAsync and FedBuff: the server does not wait for rounds, and counts what comes late for less.

FedAsync: Xie, Koyejo, Gupta, "Asynchronous federated optimization", 2019, Algorithm 1 with the staleness functions of
Section 5.2. FedBuff: Nguyen, Malik, Zhan, Yousefpour, Rabbat, Malek, Huba, "Federated learning with buffered
asynchronous aggregation", AISTATS 2022, Algorithm 1 with the staleness weight 1/√(1 + τ) of its experiments.
Deviations: a client counts once, whatever its number of examples (as in both papers); the number of clients that train
at a time is kept constant, and staleness counts versions of the model since the one that the client was sent.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp

from core.compute import Function, ShardView
from core.compute.function import Arrays
from core.learning.algorithm import (
    Algorithm,
    demand,
    fixed_server_rate,
    is_number,
    joined,
    not_negative,
    part,
    passes,
    server_step,
    sgd,
    step_function,
    whole_from,
)
from core.learning.averaging import averaging, fedavg
from core.learning.local import Steps
from core.learning.proximal import pull
from core.models import Model

STALENESS = ("constant", "polynomial", "hinge")


def discount(kind: str, exponent: float, grace: int, staleness: jax.Array) -> jax.Array:
    """s(τ), float32: 1; (1 + τ)^-a; or 1 up to a grace b, then 1 / (a (τ − b) + 1)."""
    late = staleness.astype(jnp.float32)
    if kind == "constant":
        return jnp.ones_like(late)
    found: jax.Array = (1 + late) ** jnp.float32(-exponent)
    if kind == "hinge":
        found = 1 / (jnp.float32(exponent) * jnp.maximum(late - jnp.float32(grace), 0) + 1)
    return found


def fedasync(
    model: Model,
    batch_size: int,
    server_learning_rate: float = 1.0,
    mixing: float = 0.6,
    staleness: str = "polynomial",
    exponent: float = 0.5,
    grace: int = 4,
    mu: float = 0.0,
    optimizer: str = "sgd",
    momentum: float = 0.0,
) -> Algorithm:
    """FedAsync: each client's model is mixed into the global one as it comes, x ← (1 − α s(τ)) x + α s(τ) x_client.

    α is `mixing`; `staleness` is constant, polynomial or hinge (`exponent` is their a, `grace` the hinge's b); clients
    are held near the model that they were sent by μ/2 |w − w^t|². Raises `ValueError`.
    """
    fixed_server_rate("fedasync", server_learning_rate)
    demand(is_number(mixing) and 0 < mixing <= 1, "mixing", mixing, "a number above 0, up to 1")
    demand(staleness in STALENESS, "staleness", staleness, f"one of {', '.join(STALENESS)}")
    not_negative("exponent", exponent)
    whole_from("grace", grace, 0)
    not_negative("mu", mu)
    steps = Steps(model, batch_size, sgd(optimizer, momentum), pull(mu), given=1)

    def local_update(
        params: Arrays, shard: ShardView, epochs: jax.Array, learning_rate: jax.Array, key: jax.Array
    ) -> dict[str, Any]:
        trained, loss = steps.train(params, shard, epochs, learning_rate, key, (params,))
        return {"update": trained, "metrics": {"loss": loss}}

    def collect(update: Arrays, slot: jax.Array, late: jax.Array) -> dict[str, Any]:
        weight = jnp.float32(mixing) * discount(staleness, exponent, grace, late)
        return {"update": joined(params={name: weight * array for name, array in update.items()}, mixed=weight)}

    def apply(params: Arrays, mean: Arrays, count: Arrays, total: jax.Array) -> dict[str, Any]:
        arrived = part(mean, "params")
        return {"params": {name: (1 - mean["mixed"]) * params[name] + arrived[name] for name in params}}

    hyper = (model, batch_size, optimizer, momentum, mu)
    training = Function("fedasync.local_update", local_update, hyper, passes(batch_size, (steps.cost, None)))
    return dataclasses.replace(
        averaging(model, batch_size, server_learning_rate, training),
        name="fedasync",
        paper="Xie et al. 2019, Algorithm 1",
        collect=step_function("fedasync.collect", collect, (model, mixing, staleness, exponent, grace)),
        apply=server_step("fedasync.apply", apply, (model,)),
        weighting="clients",
        buffer=1,
        sends="model down, model up",
    )


def fedbuff(
    model: Model,
    batch_size: int,
    server_learning_rate: float = 1.0,
    buffer: int = 10,
    exponent: float = 0.5,
    optimizer: str = "sgd",
    momentum: float = 0.0,
) -> Algorithm:
    """FedBuff: the mean of every `buffer` updates, each times (1 + τ)^-`exponent`, makes the next model.

    Raises `ValueError`.
    """
    whole_from("buffer", buffer, 1)
    not_negative("exponent", exponent)

    def collect(update: Arrays, slot: jax.Array, late: jax.Array) -> dict[str, Any]:
        weight = discount("polynomial", exponent, 0, late)
        return {"update": {name: weight * array for name, array in update.items()}}

    return dataclasses.replace(
        fedavg(model, batch_size, server_learning_rate, optimizer, momentum),
        name="fedbuff",
        paper="Nguyen et al. 2022, Algorithm 1",
        collect=step_function("fedbuff.collect", collect, (model, exponent)),
        weighting="clients",
        buffer=buffer,
    )
