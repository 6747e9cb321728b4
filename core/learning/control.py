"""SCAFFOLD, FedDyn and MIME-lite: clients are told where the others pull, so that their steps do not drift apart.

SCAFFOLD: Karimireddy, Kale, Mohri, Reddi, Stich, Suresh, ICML 2020, Algorithm 1 with option II. FedDyn: Acar, Zhao,
Matas Navarro, Mattina, Whatmough, Saligrama, "Federated learning based on dynamic regularization", ICLR 2021, Algorithm
1. MIME-lite: Karimireddy, Jaggi, Kale, Mohri, Reddi, Stich, Suresh, "Breaking the centralized barrier for cross-device
federated learning", NeurIPS 2021, Algorithm 1 (MimeLite) with SGD and momentum as the base optimizer. Deviations: means
are weighted by examples where the papers count every client once, and shares of clients are shares of weight, so that
the optimum is that of the weighted objective; FedDyn's clients minimise by epochs of SGD, not to the end. A client that
makes no step leaves all as it was.
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
    below_one,
    draw,
    fixed_server_rate,
    joined,
    joined_spec,
    part,
    passes,
    positive,
    server_step,
    sgd,
    share,
    sound,
    spec_of,
    step_function,
    zeros,
)
from core.learning.averaging import averaging
from core.learning.local import Steps, batches_of, difference, gradient_cost, whole_gradient
from core.models import Model


def _enter(model: Model) -> Function:
    """A client that has never trained knows of no pull."""

    def enter(params: Arrays, key: jax.Array) -> dict[str, Any]:
        return {"state": zeros(params)}

    return step_function("control.enter", enter, (model,))


def scaffold(model: Model, batch_size: int, server_learning_rate: float = 1.0) -> Algorithm:
    """SCAFFOLD: control variates of client and server correct each step for the client's drift. Raises `ValueError`.

    y ← y − η (g(y) − c_i + c) for K steps; c_i⁺ = c_i − c + (x − y) / (K η); the client sends y − x and c_i⁺ − c_i.
    """

    def correct(grads: Arrays, current: Arrays, given: Any) -> Arrays:
        control, own = given
        return {name: grads[name] - own[name] + control[name] for name in grads}

    steps = Steps(model, batch_size, sgd("sgd", 0.0), correct, given=2)

    def local_update(
        params: Arrays,
        shared: Arrays,
        state: Arrays,
        shard: ShardView,
        epochs: jax.Array,
        learning_rate: jax.Array,
        key: jax.Array,
    ) -> dict[str, Any]:
        trained, loss = steps.train(params, shard, epochs, learning_rate, key, (shared, state))
        change = difference(trained, params)
        made = (epochs * batches_of(shard.count, batch_size)).astype(jnp.float32)
        length = jnp.maximum(made, jnp.float32(1)) * learning_rate
        turn = {name: jnp.where(made > 0, -shared[name] - change[name] / length, jnp.float32(0)) for name in params}
        after = {name: state[name] + turn[name] for name in params}
        update = joined(params=change, control=turn)
        return {"update": update, "metrics": {"loss": loss}, "state": sound(update, state, after)}

    def init(key: jax.Array) -> dict[str, Any]:
        params = draw(model, key)
        return {"params": params, "shared": zeros(params)}

    def apply(params: Arrays, shared: Arrays, mean: Arrays, count: Arrays, total: jax.Array) -> dict[str, Any]:
        change, turn = part(mean, "params"), part(mean, "control")
        taken = share(count, total)
        return {
            "params": {name: params[name] + jnp.float32(server_learning_rate) * change[name] for name in params},
            "shared": {name: shared[name] + taken * turn[name] for name in params},
        }

    training = Function(
        "scaffold.local_update", local_update, (model, batch_size), passes(batch_size, (steps.cost, None))
    )
    spec = spec_of(model.spec)
    return dataclasses.replace(
        averaging(model, batch_size, server_learning_rate, training),
        name="scaffold",
        paper="Karimireddy et al. 2020, Algorithm 1, option II",
        init=step_function("scaffold.init", init, (model,)),
        apply=server_step("scaffold.apply", apply, (model, server_learning_rate)),
        update=joined_spec(params=spec, control=spec),
        enter=_enter(model),
        tied=True,
        sends="model and control variate down, the changes of both up",
        keeps="its control variate",
    )


def feddyn(model: Model, batch_size: int, server_learning_rate: float = 1.0, alpha: float = 0.1) -> Algorithm:
    """FedDyn: each client's loss is bent by a linear and a quadratic term, so that all agree at the optimum.

    The client minimises L_k(θ) − ⟨g_k, θ⟩ + α/2 |θ − θ^t|², then g_k ← g_k − α (θ_k − θ^t). The server:
    h ← h − α · share · mean(θ_k − θ^t), θ ← mean(θ_k) − h / α. There is no server learning rate other than 1.
    Raises `ValueError`.
    """
    positive("alpha", alpha)
    fixed_server_rate("feddyn", server_learning_rate)

    def correct(grads: Arrays, current: Arrays, given: Any) -> Arrays:
        anchor, own = given
        bend = jnp.float32(alpha)
        return {name: grads[name] - own[name] + bend * (current[name] - anchor[name]) for name in grads}

    steps = Steps(model, batch_size, sgd("sgd", 0.0), correct, given=2)

    def local_update(
        params: Arrays, state: Arrays, shard: ShardView, epochs: jax.Array, learning_rate: jax.Array, key: jax.Array
    ) -> dict[str, Any]:
        trained, loss = steps.train(params, shard, epochs, learning_rate, key, (params, state))
        change = difference(trained, params)
        after = {name: state[name] - jnp.float32(alpha) * change[name] for name in params}
        return {"update": change, "metrics": {"loss": loss}, "state": sound(change, state, after)}

    def init(key: jax.Array) -> dict[str, Any]:
        params = draw(model, key)
        return {"params": params, "kept": zeros(params)}

    def apply(params: Arrays, kept: Arrays, mean: Arrays, count: Arrays, total: jax.Array) -> dict[str, Any]:
        bend, taken = jnp.float32(alpha), share(count, total)
        h = {name: kept[name] - bend * taken * mean[name] for name in params}
        return {"params": {name: params[name] + mean[name] - h[name] / bend for name in params}, "kept": h}

    hyper = (model, batch_size, alpha)
    training = Function("feddyn.local_update", local_update, hyper, passes(batch_size, (steps.cost, None)))
    return dataclasses.replace(
        averaging(model, batch_size, server_learning_rate, training),
        name="feddyn",
        paper="Acar et al. 2021, Algorithm 1",
        init=step_function("feddyn.init", init, (model,)),
        apply=server_step("feddyn.apply", apply, (model, alpha)),
        enter=_enter(model),
        tied=True,
        keeps="the gradient of its own loss",
    )


def mimelite(model: Model, batch_size: int, server_learning_rate: float = 1.0, beta: float = 0.9) -> Algorithm:
    """MIME-lite: clients step with the server's momentum, which whole gradients at the server's model keep up to date.

    y ← y − η ((1 − β) g(y) + β m), m fixed; the client sends y − x and ∇f_i(x) over all of its examples, for which it
    goes through them once more. The server: m ← (1 − β) mean(∇f_i(x)) + β m. Raises `ValueError`.
    """
    below_one("beta", beta)

    def correct(grads: Arrays, current: Arrays, given: Any) -> Arrays:
        (momentum,) = given
        b, fresh = jnp.float32(beta), jnp.float32(1 - beta)
        return {name: fresh * grads[name] + b * momentum[name] for name in grads}

    steps = Steps(model, batch_size, sgd("sgd", 0.0), correct, given=1)
    gradient = whole_gradient(model, batch_size)

    def local_update(
        params: Arrays, shared: Arrays, shard: ShardView, epochs: jax.Array, learning_rate: jax.Array, key: jax.Array
    ) -> dict[str, Any]:
        grads, _ = gradient(params, shard)
        trained, loss = steps.train(params, shard, epochs, learning_rate, key, (shared,))
        return {"update": joined(params=difference(trained, params), gradient=grads), "metrics": {"loss": loss}}

    def init(key: jax.Array) -> dict[str, Any]:
        params = draw(model, key)
        return {"params": params, "shared": zeros(params)}

    def apply(params: Arrays, shared: Arrays, mean: Arrays, count: Arrays, total: jax.Array) -> dict[str, Any]:
        change, grads, b = part(mean, "params"), part(mean, "gradient"), jnp.float32(beta)
        return {
            "params": {name: params[name] + jnp.float32(server_learning_rate) * change[name] for name in params},
            "shared": {name: (1 - b) * grads[name] + b * shared[name] for name in params},
        }

    extra = functools.partial(gradient_cost, model, batch_size)
    work = passes(batch_size, (steps.cost, None), (extra, 1))
    training = Function("mimelite.local_update", local_update, (model, batch_size, beta), work)
    spec = spec_of(model.spec)
    return dataclasses.replace(
        averaging(model, batch_size, server_learning_rate, training),
        name="mimelite",
        paper="Karimireddy et al. 2021, Algorithm 1 (MimeLite, SGDm)",
        init=step_function("mimelite.init", init, (model,)),
        apply=server_step("mimelite.apply", apply, (model, server_learning_rate, beta)),
        update=joined_spec(params=spec, gradient=spec),
        sends="model and momentum down, the model's change and a whole gradient up",
    )
