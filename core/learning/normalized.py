"""FedNova: clients that make more steps do not pull harder.

Wang, Liu, Liang, Joshi, Poor, "Tackling the objective inconsistency problem in heterogeneous federated optimization",
NeurIPS 2020, Section 4 (FedNova) with τ_eff = Σ p_i ‖a_i‖: x ← x + τ_eff Σ p_i Δ_i / ‖a_i‖, where a_i are the
weights that the optimizer gives to a client's gradients: ‖a‖ = τ for SGD, (τ − ρ (1 − ρ^τ) / (1 − ρ)) / (1 − ρ) with
momentum ρ. Deviation: a client sends Δ_i / ‖a_i‖ and ‖a_i‖, so that both sums are linear. p_i are the shares of
examples among the updates used.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp

from core.compute import Function, ShardView
from core.compute.function import Arrays
from core.learning.algorithm import SCALAR, Algorithm, joined, joined_spec, part, passes, server_step, sgd, spec_of
from core.learning.averaging import averaging
from core.learning.local import Steps, batches_of, difference
from core.models import Model

#: Lengths are sent in this unit, a power of two, so that 2^20 steps are within the range of an exact mean.
LENGTH_UNIT = 1024.0


def length(steps: jax.Array, momentum: float) -> jax.Array:
    """‖a‖ of so many steps of SGD with momentum, float32."""
    tau = steps.astype(jnp.float32)
    if not momentum:
        return tau
    rho = jnp.float32(momentum)
    found: jax.Array = (tau - rho * (1 - rho**tau) / (1 - rho)) / (1 - rho)
    return found


def fednova(
    model: Model,
    batch_size: int,
    server_learning_rate: float = 1.0,
    optimizer: str = "sgd",
    momentum: float = 0.0,
) -> Algorithm:
    """FedNova: the mean of changes per step, times the mean number of steps. Raises `ValueError`."""
    steps = Steps(model, batch_size, sgd(optimizer, momentum))

    def local_update(
        params: Arrays, shard: ShardView, epochs: jax.Array, learning_rate: jax.Array, key: jax.Array
    ) -> dict[str, Any]:
        trained, loss = steps.train(params, shard, epochs, learning_rate, key)
        own = length(epochs * batches_of(shard.count, batch_size), momentum)
        each = {name: array / jnp.maximum(own, 1) for name, array in difference(trained, params).items()}
        return {"update": joined(params=each, length=own / LENGTH_UNIT), "metrics": {"loss": loss}}

    def apply(params: Arrays, mean: Arrays, count: Arrays, total: jax.Array) -> dict[str, Any]:
        each = part(mean, "params")
        rate = jnp.float32(server_learning_rate) * mean["length"] * LENGTH_UNIT
        return {"params": {name: params[name] + rate * each[name] for name in params}}

    hyper = (model, batch_size, optimizer, momentum)
    training = Function("fednova.local_update", local_update, hyper, passes(batch_size, (steps.cost, None)))
    return dataclasses.replace(
        averaging(model, batch_size, server_learning_rate, training),
        name="fednova",
        paper="Wang et al. 2020, Section 4",
        apply=server_step("fednova.apply", apply, (model, server_learning_rate)),
        update=joined_spec(params=spec_of(model.spec), length=SCALAR),
        sends="model down, its change a step and the steps' weight up",
    )
