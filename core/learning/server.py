"""Server optimizers over the mean update Δ of FedAvg's clients: FedAvgM, FedAdagrad, FedAdam, FedYogi.

FedAvgM: Hsu, Qi, Brown, "Measuring the effects of non-identical data distribution for federated visual classification",
2019: v ← β v + Δ, x ← x + η v (no Nesterov). The others: Reddi, Charles, Zaheer, Garrett, Rush, Konečný,
Kumar, McMahan, "Adaptive federated optimization", ICLR 2021, Algorithm 2: m ← β1 m + (1 − β1) Δ, then v by line 12 to
14, x ← x + η m / (√v + τ), with v = τ² at the start. As there, moments are not corrected for their start (optax's are).
Deviation: the mean is weighted by examples; the paper's algorithm takes the plain mean, its experiments ours.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from core.compute.function import Arrays
from core.learning.algorithm import (
    Algorithm,
    below_one,
    draw,
    joined,
    part,
    positive,
    server_step,
    step_function,
    zeros,
)
from core.learning.averaging import fedavg
from core.models import Model


def fedavgm(
    model: Model,
    batch_size: int,
    server_learning_rate: float = 1.0,
    server_momentum: float = 0.9,
    optimizer: str = "sgd",
    momentum: float = 0.0,
) -> Algorithm:
    """FedAvg with momentum on the server. Raises `ValueError`."""
    base = fedavg(model, batch_size, server_learning_rate, optimizer, momentum)
    below_one("server_momentum", server_momentum)

    def init(key: jax.Array) -> dict[str, Any]:
        params = draw(model, key)
        return {"params": params, "kept": zeros(params)}

    def apply(params: Arrays, kept: Arrays, mean: Arrays, count: Arrays, total: jax.Array) -> dict[str, Any]:
        velocity = {name: jnp.float32(server_momentum) * kept[name] + mean[name] for name in params}
        rate = jnp.float32(server_learning_rate)
        return {"params": {name: params[name] + rate * velocity[name] for name in params}, "kept": velocity}

    return dataclasses.replace(
        base,
        name="fedavgm",
        paper="Hsu et al. 2019, FedAvgM",
        init=step_function("fedavgm.init", init, (model,)),
        apply=server_step("fedavgm.apply", apply, (model, server_learning_rate, server_momentum)),
    )


#: `(v, Δ², β2) -> v`
_Second = Callable[[jax.Array, jax.Array, jax.Array], jax.Array]


def _adaptive(name: str, second: _Second, base: Algorithm, model: Model, hyper: tuple[float, ...]) -> Algorithm:
    """FedAvg's clients, and a server that divides by the root of a second moment."""
    rate, beta1, beta2, tau = hyper
    below_one("beta1", beta1)
    below_one("beta2", beta2)
    positive("tau", tau)

    def init(key: jax.Array) -> dict[str, Any]:
        params = draw(model, key)
        initial = {name: jnp.full_like(array, tau * tau) for name, array in params.items()}
        return {"params": params, "kept": joined(m=zeros(params), v=initial)}

    def apply(params: Arrays, kept: Arrays, mean: Arrays, count: Arrays, total: jax.Array) -> dict[str, Any]:
        b1, b2 = jnp.float32(beta1), jnp.float32(beta2)
        m, v = part(kept, "m"), part(kept, "v")
        m = {name: b1 * m[name] + (1 - b1) * mean[name] for name in params}
        v = {name: second(v[name], jnp.square(mean[name]), b2) for name in params}
        step = {name: m[name] / (jnp.sqrt(v[name]) + jnp.float32(tau)) for name in params}
        moved = {name: params[name] + jnp.float32(rate) * step[name] for name in params}
        return {"params": moved, "kept": joined(m=m, v=v)}

    return dataclasses.replace(
        base,
        name=name,
        paper="Reddi et al. 2021, Algorithm 2",
        init=step_function(f"{name}.init", init, (model, tau)),
        apply=server_step(f"{name}.apply", apply, (model, hyper)),
    )


def fedadagrad(
    model: Model,
    batch_size: int,
    server_learning_rate: float = 1.0,
    beta1: float = 0.0,
    tau: float = 1e-3,
    optimizer: str = "sgd",
    momentum: float = 0.0,
) -> Algorithm:
    """FedAvg with Adagrad on the server. Raises `ValueError`."""
    base = fedavg(model, batch_size, server_learning_rate, optimizer, momentum)
    hyper = (server_learning_rate, beta1, 0.0, tau)
    return _adaptive("fedadagrad", lambda v, square, beta: v + square, base, model, hyper)


def fedadam(
    model: Model,
    batch_size: int,
    server_learning_rate: float = 1.0,
    beta1: float = 0.9,
    beta2: float = 0.99,
    tau: float = 1e-3,
    optimizer: str = "sgd",
    momentum: float = 0.0,
) -> Algorithm:
    """FedAvg with Adam on the server. Raises `ValueError`."""
    base = fedavg(model, batch_size, server_learning_rate, optimizer, momentum)
    hyper = (server_learning_rate, beta1, beta2, tau)
    return _adaptive("fedadam", lambda v, square, beta: beta * v + (1 - beta) * square, base, model, hyper)


def fedyogi(
    model: Model,
    batch_size: int,
    server_learning_rate: float = 1.0,
    beta1: float = 0.9,
    beta2: float = 0.99,
    tau: float = 1e-3,
    optimizer: str = "sgd",
    momentum: float = 0.0,
) -> Algorithm:
    """FedAvg with Yogi on the server. Raises `ValueError`."""
    base = fedavg(model, batch_size, server_learning_rate, optimizer, momentum)
    hyper = (server_learning_rate, beta1, beta2, tau)

    def second(v: jax.Array, square: jax.Array, beta: jax.Array) -> jax.Array:
        return v - (1 - beta) * square * jnp.sign(v - square)

    return _adaptive("fedyogi", second, base, model, hyper)
