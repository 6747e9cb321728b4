"""FedSGD and FedAvg: the mean of what clients change, by their numbers of examples.

McMahan, Moore, Ramage, Hampson, Agüera y Arcas, "Communication-efficient learning of deep networks from decentralized
data", AISTATS 2017, Algorithm 1; FedSGD is its E = 1, B = ∞. Deviations: clients send the difference to the model they
were given, not the model (the same by linearity); the server may scale the mean difference by a learning rate (1 is the
paper).
"""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp

from core.compute import Function, ShardView
from core.compute.function import Arrays
from core.learning.algorithm import (
    Algorithm,
    draw,
    evaluate_function,
    passes,
    positive,
    sgd,
    spec_of,
    step_function,
    whole_from,
)
from core.learning.local import Steps, difference, gradient_cost, whole_gradient
from core.models import Model


def averaging(model: Model, batch_size: int, server_learning_rate: float, local_update: Function) -> Algorithm:
    """The algorithm of a server that adds the mean update to the model. Raises `ValueError`."""
    whole_from("batch_size", batch_size, 1)
    positive("server_learning_rate", server_learning_rate)

    def init(key: jax.Array) -> dict[str, Any]:
        return {"params": draw(model, key)}

    def apply(params: Arrays, mean: Arrays, count: Arrays, total: jax.Array) -> dict[str, Any]:
        rate = jnp.float32(server_learning_rate)
        return {"params": {name: params[name] + rate * mean[name] for name in params}}

    return Algorithm(
        name="fedavg",
        paper="McMahan et al. 2017, Algorithm 1",
        init=step_function("fedavg.init", init, (model,)),
        local_update=local_update,
        evaluate=evaluate_function("fedavg", model, batch_size),
        apply=step_function("fedavg.apply", apply, (model, server_learning_rate)),
        update=spec_of(model.spec),
    )


def fedavg(
    model: Model,
    batch_size: int,
    server_learning_rate: float = 1.0,
    optimizer: str = "sgd",
    momentum: float = 0.0,
) -> Algorithm:
    """Federated averaging: clients train for some epochs, the server adds the mean of their changes.

    The reference step of `local_update` is one full minibatch: forward, backward and optimizer; that of `evaluate`
    the forward pass of one. A partial batch costs a full one. Raises `ValueError`.
    """
    whole_from("batch_size", batch_size, 1)
    steps = Steps(model, batch_size, sgd(optimizer, momentum))

    def local_update(
        params: Arrays, shard: ShardView, epochs: jax.Array, learning_rate: jax.Array, key: jax.Array
    ) -> dict[str, Any]:
        trained, loss = steps.train(params, shard, epochs, learning_rate, key)
        return {"update": difference(trained, params), "metrics": {"loss": loss}}

    hyper = (model, batch_size, optimizer, momentum)
    work = passes(batch_size, (steps.cost, None))
    training = Function("fedavg.local_update", local_update, hyper, work)
    return averaging(model, batch_size, server_learning_rate, training)


def fedsgd(model: Model, batch_size: int, server_learning_rate: float = 1.0) -> Algorithm:
    """Federated SGD: each client sends one gradient over all of its examples, the server makes one step.

    The gradient is summed over minibatches of `batch_size`, and sent times minus the clients' learning rate. A round is
    one step, so that epochs other than 1 make no sense and no update. Raises `ValueError`.
    """
    whole_from("batch_size", batch_size, 1)
    gradient = whole_gradient(model, batch_size)

    def local_update(
        params: Arrays, shard: ShardView, epochs: jax.Array, learning_rate: jax.Array, key: jax.Array
    ) -> dict[str, Any]:
        grads, loss = gradient(params, shard)
        return {"update": {name: -learning_rate * grads[name] for name in params}, "metrics": {"loss": loss}}

    work = passes(batch_size, (functools.partial(gradient_cost, model, batch_size), 1))
    training = Function("fedsgd.local_update", local_update, (model, batch_size), work)
    base = averaging(model, batch_size, server_learning_rate, training)
    return dataclasses.replace(
        base,
        name="fedsgd",
        paper="McMahan et al. 2017, Section 2 (FederatedSGD)",
        sends="model down, gradient times -η up",
    )
