"""q-FFL and AFL: clients that the model serves badly count for more.

q-FFL: Li, Sanjabi, Beirami, Smith, "Fair resource allocation in federated learning", ICLR 2020, Algorithm 2 (q-FedAvg).
AFL: Mohri, Sivek, Suresh, "Agnostic federated learning", ICML 2019, the algorithm Stochastic-AFL, with every client a
domain. Deviations: AFL's clients make epochs of local steps where the paper makes one stochastic gradient step a round;
of partial cohorts both gradients are estimated without bias, by N over the clients that came. q-FFL weights by examples
where the paper samples by them.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from typing import Any

import jax
import jax.numpy as jnp

from core.compute import Function, ShardView
from core.compute.function import Arrays
from core.learning.algorithm import (
    SCALAR,
    Algorithm,
    draw,
    joined,
    joined_spec,
    not_negative,
    part,
    passes,
    positive,
    server_step,
    sgd,
    spec_of,
    step_function,
    whole_from,
)
from core.learning.averaging import averaging
from core.learning.local import Steps, difference, forward_cost, whole_loss
from core.models import Model


def qffl(model: Model, batch_size: int, server_learning_rate: float = 1.0, q: float = 1.0) -> Algorithm:
    """q-FFL by q-FedAvg: minimises Σ p_k F_k^(q+1) / (q+1); q = 0 is FedAvg. Raises `ValueError`.

    With L = 1/η, Δ_k = L (w − w_k) and F_k the loss at w: the client sends F_k^q Δ_k and h_k = q F_k^(q−1) |Δ_k|² +
    L F_k^q, the server steps by Σ F_k^q Δ_k / Σ h_k. Both are sent over L and over s^q, where s = max(1, ln classes) is
    about the loss of guessing: that cancels, and keeps them in the range of the exact sum.
    """
    not_negative("q", q)
    steps = Steps(model, batch_size, sgd("sgd", 0.0))
    loss_of = whole_loss(model, batch_size)
    scale = max(1.0, math.log(max(model.classes, 1)))

    def local_update(
        params: Arrays, shard: ShardView, epochs: jax.Array, learning_rate: jax.Array, key: jax.Array
    ) -> dict[str, Any]:
        # A loss of zero would make q F^(q−1) infinite for q < 1.
        own = jnp.maximum(loss_of(params, shard) / scale, jnp.float32(1e-10))
        trained, loss = steps.train(params, shard, epochs, learning_rate, key)
        change = difference(trained, params)
        weight = own ** jnp.float32(q)
        square = functools.reduce(jnp.add, (jnp.sum(jnp.square(array)) for array in change.values()))
        slope = jnp.float32(q / scale) * own ** jnp.float32(q - 1) * square / learning_rate
        scaled = {name: weight * array for name, array in change.items()}
        return {"update": joined(params=scaled, h=slope + weight), "metrics": {"loss": loss}}

    def apply(params: Arrays, mean: Arrays, count: Arrays, total: jax.Array) -> dict[str, Any]:
        rate = jnp.float32(server_learning_rate) / mean["h"]
        change = part(mean, "params")
        return {"params": {name: params[name] + rate * change[name] for name in params}}

    extra = functools.partial(forward_cost, model, batch_size)
    work = passes(batch_size, (steps.cost, None), (extra, 1))
    training = Function("qffl.local_update", local_update, (model, batch_size, q), work)
    return dataclasses.replace(
        averaging(model, batch_size, server_learning_rate, training),
        name="qffl",
        paper="Li et al. 2020 (q-FFL), Algorithm 2",
        apply=server_step("qffl.apply", apply, (model, server_learning_rate)),
        update=joined_spec(params=spec_of(model.spec), h=SCALAR),
        sends="model down, its scaled change and the step's norm up",
    )


def on_simplex(point: jax.Array) -> jax.Array:
    """The nearest point with elements from 0 that add up to 1 (Held, Wolfe, Crowder 1974), of a vector."""
    falling = jnp.sort(point)[::-1]
    over = jnp.cumsum(falling) - 1
    rank = jnp.arange(1, point.shape[0] + 1, dtype=jnp.float32)
    support = jnp.sum(falling * rank > over)
    return jnp.maximum(point - over[support - 1] / support.astype(jnp.float32), jnp.float32(0))


def afl(
    model: Model,
    batch_size: int,
    server_learning_rate: float = 1.0,
    mixture_learning_rate: float = 0.1,
    clients: int = 2,
) -> Algorithm:
    """Agnostic federated learning: min over models of the max over mixtures λ of clients. Raises `ValueError`.

    w ← w + η_s Σ λ_k Δ_k and λ ← the point of the simplex nearest to λ + γ F(w), where F_k(w) is client k's loss at the
    model it was given, for which it goes through its examples once more. λ starts even. `clients` is how many there can
    be; λ of one beyond is 0, and it is not heard.
    """
    positive("mixture_learning_rate", mixture_learning_rate)
    whole_from("clients", clients, 1)
    steps = Steps(model, batch_size, sgd("sgd", 0.0))
    loss_of = whole_loss(model, batch_size)

    def local_update(
        params: Arrays, shard: ShardView, epochs: jax.Array, learning_rate: jax.Array, key: jax.Array
    ) -> dict[str, Any]:
        own = loss_of(params, shard)
        trained, loss = steps.train(params, shard, epochs, learning_rate, key)
        return {"update": joined(params=difference(trained, params), loss=own), "metrics": {"loss": loss}}

    def init(key: jax.Array) -> dict[str, Any]:
        return {"params": draw(model, key), "kept": {"mixture": jnp.full(clients, 1 / clients, jnp.float32)}}

    def collect(kept: Arrays, update: Arrays, slot: jax.Array, staleness: jax.Array) -> dict[str, Any]:
        at = (jnp.arange(clients, dtype=jnp.int32) == slot).astype(jnp.float32)
        share = jnp.sum(kept["mixture"] * at)
        scaled = {name: share * array for name, array in part(update, "params").items()}
        return {"update": joined(params=scaled, losses=at * update["loss"])}

    def apply(params: Arrays, kept: Arrays, mean: Arrays, count: Arrays, total: jax.Array) -> dict[str, Any]:
        # The sum over those that came, over the share of all clients that they are, is the total times their mean.
        change = part(mean, "params")
        rate = jnp.float32(server_learning_rate) * total
        mixture = on_simplex(kept["mixture"] + jnp.float32(mixture_learning_rate) * total * mean["losses"])
        return {
            "params": {name: params[name] + rate * change[name] for name in params},
            "kept": {"mixture": mixture},
        }

    extra = functools.partial(forward_cost, model, batch_size)
    work = passes(batch_size, (steps.cost, None), (extra, 1))
    training = Function("afl.local_update", local_update, (model, batch_size), work)
    hyper = (model, server_learning_rate, mixture_learning_rate, clients)
    return dataclasses.replace(
        averaging(model, batch_size, server_learning_rate, training),
        name="afl",
        paper="Mohri et al. 2019, Stochastic-AFL",
        init=step_function("afl.init", init, (model, clients)),
        collect=step_function("afl.collect", collect, (model, clients)),
        apply=server_step("afl.apply", apply, hyper),
        update=joined_spec(params=spec_of(model.spec), loss=SCALAR),
        weighting="clients",
        sends="model down, its change and a loss up",
    )
