"""Rounds of an algorithm as its coordinator makes them, without actors, and models whose optima are known."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from core.aggregation import exact_mean
from core.compute import Eager, Evaluator, Rows, Shard
from core.learning import Algorithm
from core.learning.algorithm import in_order, present
from core.models import Model
from core.rng import key_words
from core.wire import ArrayDict


@dataclasses.dataclass
class Outcome:
    """The server's groups and the clients' states, looked at."""

    server: dict[str, ArrayDict]
    states: dict[int, ArrayDict]
    evaluator: Evaluator

    @property
    def x(self) -> float:
        """The one parameter of a scalar model."""
        return float(self.server["params"]["x"])


def federated(
    algorithm: Algorithm,
    shards: Sequence[Shard],
    rounds: int,
    epochs: int | Sequence[int],
    learning_rate: float,
    *,
    start: ArrayDict | None = None,
    layout: str = "scan",
    cohort: Callable[[int], Sequence[int]] | None = None,
    keys: Sequence[int] | None = None,
) -> Outcome:
    """All clients in every round (or those of `cohort(round)`); nobody looks before the end.

    `keys[k]` is the number by which client k draws its batches.
    """
    evaluator = Evaluator(layout=layout)
    server: dict[str, Any] = dict(evaluator.submit(algorithm.init, (key_words(0, "init"),)))
    if start is not None:
        server["params"] = start
    weights = [algorithm.weight(shard.count) for shard in shards]
    exact = exact_mean(max(1, sum(weights)))
    template = ArrayDict({name: np.zeros(s.shape, s.dtype) for name, s in algorithm.summed.items()})
    states: dict[int, Any] = {}
    for r in range(rounds):
        total = evaluator.submit(exact.init, (template,))["sum"]
        for k in range(len(shards)) if cohort is None else cohort(r):
            number = k if keys is None else keys[k]
            params, shared = server["params"], server.get("shared")
            if algorithm.enter is not None and k not in states:
                states[k] = evaluator.submit(algorithm.enter, (params, key_words(0, "state", number)))["state"]
            made = epochs if isinstance(epochs, int) else epochs[k]
            arguments = (shards[k], made, learning_rate, key_words(0, "client", number, r))
            found = evaluator.submit(algorithm.local_update, (*present(params, shared, states.get(k)), *arguments))
            if "state" in found:
                states[k] = found["state"]
            update: Any = found["update"]
            if algorithm.collect is not None:
                kept = present(server.get("kept"))
                update = evaluator.submit(algorithm.collect, (*kept, update, k, 0))["update"]
            total = evaluator.submit(exact.accumulate, (total, update, weights[k]))["sum"]
        found = evaluator.submit(exact.finish, (total,))
        given = (*in_order(server), found["mean"], found["count"], float(sum(weights)))
        server = dict(evaluator.submit(algorithm.apply, given))
    return Outcome(
        {name: evaluator.value(group) for name, group in server.items()},
        {k: evaluator.value(state) for k, state in states.items()},
        evaluator,
    )


def step_once(algorithm: Algorithm, server: dict[str, ArrayDict], mean: ArrayDict, total: float = 1.0) -> Any:
    """One step of the server for a mean of the whole weight."""
    count = ArrayDict({"weight": np.int64(total), "accepted": np.int32(1), "not_finite": np.int32(0)})
    return Eager().run(algorithm.apply, (*in_order(server), mean, count, total))


# Scalar quadratics f_i(x) = a_i (x - c_i)^2 / 2.


def quadratic() -> Model:
    """A model with one parameter whose "loss" at the example (a, c) is a (x - c)² / 2."""

    def apply(params: Any, x: jax.Array) -> jax.Array:
        losses: jax.Array = 0.5 * x[:, :1] * (params["x"] - x[:, 1:]) ** 2
        return losses

    return Model(
        name="quadratic",
        hyper=(),
        input_shape=(2,),
        classes=1,
        init=lambda key: {"x": jnp.zeros((), jnp.float32)},
        apply=apply,
        reference=apply,
        loss=lambda outputs, y: outputs[:, 0],
    )


#: Most copies of its example that a client has: all cases share one shape, and so one compilation.
MOST = 3
_CLIENTS = 4


def clients(a: Sequence[float], c: Sequence[float], p: Sequence[int]) -> list[Shard]:
    """Client i holds p_i copies of its one example (a_i, c_i), so that its weight is p_i.

    With batches of one an epoch has p_i steps; with batches of `MOST` it has one.
    """
    examples = np.array([[ai, ci] for ai, ci, pi in zip(a, c, p, strict=True) for _ in range(pi)], np.float32)
    room = MOST * _CLIENTS
    rows = Rows({"x": np.pad(examples, ((0, room - len(examples)), (0, 0))), "y": np.zeros(room, np.int32)})
    ends = np.cumsum(p)
    return [Shard(rows, np.arange(end - n, end), MOST) for end, n in zip(ends, p, strict=True)]


def weighted(p: Sequence[float], w: Sequence[float], c: Sequence[float]) -> float:
    """Σ p w c / Σ p w."""
    shares = [pi * wi for pi, wi in zip(p, w, strict=True)]
    return sum(share * ci for share, ci in zip(shares, c, strict=True)) / sum(shares)


def contraction(a: float, rate: float, steps: int) -> float:
    """The share of the way to its own optimum that a client goes in so many steps: 1 − (1 − η a)^E."""
    return 1 - (1 - rate * a) ** steps


def fixed_point_of(algorithm: Algorithm, shards: Sequence[Shard], epochs: Any, rate: float, rounds: int = 1) -> float:
    """Where a round leaves a scalar model: on quadratics it maps x to α x + β, which two starts tell apart.

    `rounds` are made from each start, for a map that contracts little in one.
    """
    low, high = (
        federated(algorithm, shards, rounds, epochs, rate, start=ArrayDict({"x": np.float32(x)})).x for x in (-4.0, 4.0)
    )
    slope, middle = (high - low) / 8, (high + low) / 2
    return middle / (1 - slope)
