"""FedBN and FedRep: a part of the model never leaves its client.

FedBN: Li, Jiang, Zhang, Kamp, Dou, "FedBN: federated learning on non-IID features via local batch normalization", ICLR
2021, Algorithm 1. Our models have no batch statistics; what stays local are the scales and biases of their
normalisation layers, whichever kind these are. FedRep: Collins, Hassani, Mokhtari, Shakkottai, "Exploiting shared
representations for personalized federated learning", ICML 2021, Algorithm 1: the head first, with the body fixed, then
the body with the head fixed. Deviation: means are weighted by examples. Only the shared part crosses the wire; the
evaluator, who has no local part, completes it by an untrained one, so that its figures say little, and those of the
clients count.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from core.compute import Function, ShardView
from core.compute.function import Arrays
from core.learning.algorithm import (
    Algorithm,
    Pass,
    demand,
    draw,
    passes,
    positive,
    sgd,
    sound,
    spec_of,
    step_function,
    whole_from,
)
from core.learning.local import Steps, difference, evaluation, forward_cost
from core.models import Model


def _only(arrays: Mapping[str, Any], names: frozenset[str]) -> dict[str, Any]:
    return {name: array for name, array in arrays.items() if name in names}


def _around(model: Model, names: frozenset[str], fixed: Arrays) -> Model:
    """The model as a function of some of its parameters, the others fixed."""
    return dataclasses.replace(
        model,
        init=lambda key: _only(model.init(key), names),
        apply=lambda params, x: model.apply({**fixed, **params}, x),
        reference=lambda params, x: model.reference({**fixed, **params}, x),
    )


def _partly(
    name: str,
    model: Model,
    batch_size: int,
    server_learning_rate: float,
    local: frozenset[str],
    training: Function,
) -> Algorithm:
    """The algorithm of a server that averages all parameters but the local ones."""
    whole_from("batch_size", batch_size, 1)
    positive("server_learning_rate", server_learning_rate)
    common = frozenset(model.spec) - local
    measured = evaluation(model, batch_size)

    def init(key: jax.Array) -> dict[str, Any]:
        return {"params": _only(draw(model, key), common)}

    def enter(params: Arrays, key: jax.Array) -> dict[str, Any]:
        return {"state": _only(draw(model, key), local)}

    def evaluate(params: Arrays, shard: ShardView) -> dict[str, Any]:
        untrained = _only(draw(model, jnp.zeros(2, jnp.uint32)), local)
        return measured({**untrained, **params}, shard)

    def personal(params: Arrays, state: Arrays, shard: ShardView) -> dict[str, Any]:
        return measured({**state, **params}, shard)

    def apply(params: Arrays, mean: Arrays, count: Arrays, total: jax.Array) -> dict[str, Any]:
        rate = jnp.float32(server_learning_rate)
        return {"params": {key: params[key] + rate * mean[key] for key in params}}

    names = tuple(sorted(local))
    tested = passes(batch_size, (functools.partial(forward_cost, model, batch_size), 1), purpose="inference")
    return Algorithm(
        name=name,
        paper="",
        init=step_function(f"{name}.init", init, (model, names)),
        local_update=training,
        evaluate=Function(f"{name}.evaluate", evaluate, (model, batch_size, names), tested),
        apply=step_function(f"{name}.apply", apply, (model, names, server_learning_rate)),
        update=spec_of(_only(model.spec, common)),
        enter=step_function(f"{name}.enter", enter, (model, names)),
        personal=Function(f"{name}.personal", personal, (model, batch_size, names), tested),
    )


def normalisation(model: Model) -> frozenset[str]:
    """Names of the parameters of normalisation layers: layers that have a `scale`."""
    layers = {name.removesuffix("scale") for name in model.spec if name == "scale" or name.endswith(".scale")}
    return frozenset(name for name in model.spec if name.rpartition(".")[0] in {layer[:-1] for layer in layers})


def fedbn(
    model: Model,
    batch_size: int,
    server_learning_rate: float = 1.0,
    optimizer: str = "sgd",
    momentum: float = 0.0,
) -> Algorithm:
    """FedAvg of all parameters but those of normalisation layers, which stay with each client. Raises `ValueError`."""
    local = normalisation(model)
    if not local or len(local) == len(model.spec):
        raise ValueError(
            f"fedbn needs a model with normalisation layers, whose parameters include a `scale`, among others; the "
            f"parameters of {model.name} are {', '.join(sorted(model.spec))}"
        )
    steps = Steps(model, batch_size, sgd(optimizer, momentum))

    def local_update(
        params: Arrays, state: Arrays, shard: ShardView, epochs: jax.Array, learning_rate: jax.Array, key: jax.Array
    ) -> dict[str, Any]:
        trained, loss = steps.train({**params, **state}, shard, epochs, learning_rate, key)
        change, after = difference(trained, params), _only(trained, local)
        return {"update": change, "metrics": {"loss": loss}, "state": sound(change, state, after)}

    hyper = (model, batch_size, optimizer, momentum)
    training = Function("fedbn.local_update", local_update, hyper, passes(batch_size, (steps.cost, None)))
    return dataclasses.replace(
        _partly("fedbn", model, batch_size, server_learning_rate, local, training),
        paper="Li et al. 2021 (FedBN), Algorithm 1",
        sends="model but its normalisation down, the change of it up",
        keeps="its normalisation layers",
    )


def _by_number(name: str) -> tuple[tuple[int, str], ...]:
    """A key that sorts layers.2 before layers.10."""
    return tuple((int(part), "") if part.isdigit() else (-1, part) for part in name.split("."))


def last_layer(model: Model) -> str:
    """The name of the layer that makes the outputs: `out`, or the last whose weights have as many columns."""
    wide = [
        name.rpartition(".")[0]
        for name, spec in model.spec.items()
        if "." in name and len(spec.shape) >= 2 and spec.shape[-1] == model.classes
    ]
    return "out" if "out" in wide or not wide else max(wide, key=_by_number)


def fedrep(
    model: Model,
    batch_size: int,
    server_learning_rate: float = 1.0,
    head: str = "",
    head_epochs: int = 1,
    optimizer: str = "sgd",
    momentum: float = 0.0,
) -> Algorithm:
    """FedRep: the body is averaged, each client has its own head. Raises `ValueError`.

    `head` is the name of the layer that stays local, "" for the last one; it trains for `head_epochs`, then the
    body for the scenario's local epochs.
    """
    whole_from("head_epochs", head_epochs, 1)
    head = head or last_layer(model)
    local = frozenset(name for name in model.spec if name == head or name.startswith(f"{head}."))
    layers = sorted({name.rpartition(".")[0] or name for name in model.spec}, key=_by_number)
    if len(layers) < 2:
        raise ValueError(
            f"fedrep needs a model of several layers, of which one stays with the client; {model.name} has only "
            f"{layers[0]}"
        )
    demand(0 < len(local) < len(model.spec), "head", head, f"one of the layers of {model.name} ({', '.join(layers)})")
    common = frozenset(model.spec) - local
    inner = sgd(optimizer, momentum)

    def local_update(
        params: Arrays, state: Arrays, shard: ShardView, epochs: jax.Array, learning_rate: jax.Array, key: jax.Array
    ) -> dict[str, Any]:
        on_head = Steps(_around(model, local, params), batch_size, inner)
        own, _ = on_head.train(state, shard, jnp.int32(head_epochs), learning_rate, key)
        on_body = Steps(_around(model, common, own), batch_size, inner)
        # Other orders than the head's: the key of another purpose.
        trained, loss = on_body.train(params, shard, epochs, learning_rate, key ^ jnp.uint32(1))
        change = difference(trained, params)
        return {"update": change, "metrics": {"loss": loss}, "state": sound(change, state, own)}

    def cost(names: frozenset[str], times: int | None) -> Pass:
        fixed = {name: jnp.zeros(s.shape, s.dtype) for name, s in model.spec.items() if name not in names}
        return Steps(_around(model, names, fixed), batch_size, inner).cost, times

    hyper = (model, batch_size, head, head_epochs, optimizer, momentum)
    work = passes(batch_size, cost(local, head_epochs), cost(common, None))
    training = Function("fedrep.local_update", local_update, hyper, work)
    return dataclasses.replace(
        _partly("fedrep", model, batch_size, server_learning_rate, local, training),
        paper="Collins et al. 2021, Algorithm 1",
        sends="model but its head down, the change of it up",
        keeps="its head",
    )
