"""FedProx: clients are held near the model they were given.

Li, Sahu, Zaheer, Sanjabi, Talwalkar, Smith, "Federated optimization in heterogeneous networks", MLSys 2020, Algorithm 2
with the objective h(w) = F_k(w) + μ/2 |w − w^t|² of Equation 2. Deviations: clients minimise it by a number of epochs
of SGD, not to a given inexactness γ; the mean is weighted by examples over clients sampled evenly, as in the authors'
code.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp

from core.compute import Function, ShardView
from core.compute.function import Arrays
from core.learning.algorithm import Algorithm, not_negative, passes, sgd
from core.learning.averaging import averaging
from core.learning.local import Correction, Steps, difference
from core.models import Model


def pull(mu: float) -> Correction:
    """Adds the gradient of μ/2 |w − given|² to a gradient at w."""

    def correct(grads: Arrays, current: Arrays, given: Any) -> Arrays:
        (anchor,) = given
        return {name: grads[name] + jnp.float32(mu) * (current[name] - anchor[name]) for name in grads}

    return correct


def fedprox(
    model: Model,
    batch_size: int,
    server_learning_rate: float = 1.0,
    mu: float = 0.01,
    optimizer: str = "sgd",
    momentum: float = 0.0,
) -> Algorithm:
    """FedAvg whose clients are pulled back to the model they were given by μ/2 |w − w^t|². Raises `ValueError`."""
    not_negative("mu", mu)
    steps = Steps(model, batch_size, sgd(optimizer, momentum), pull(mu), given=1)

    def local_update(
        params: Arrays, shard: ShardView, epochs: jax.Array, learning_rate: jax.Array, key: jax.Array
    ) -> dict[str, Any]:
        trained, loss = steps.train(params, shard, epochs, learning_rate, key, (params,))
        return {"update": difference(trained, params), "metrics": {"loss": loss}}

    hyper = (model, batch_size, optimizer, momentum, mu)
    training = Function("fedprox.local_update", local_update, hyper, passes(batch_size, (steps.cost, None)))
    base = averaging(model, batch_size, server_learning_rate, training)
    return dataclasses.replace(base, name="fedprox", paper="Li et al. 2020, Algorithm 2 and Equation 2")
