"""Every algorithm against one thing that is known exactly: a fixed point, optax, or its own step written down again.

f_i(x) = a_i (x − c_i)² / 2 with weights p_i; a client that makes E steps of η goes w_i = 1 − (1 − η a_i)^E of its way.
What is compared are the algorithms' real functions and the exact sums, without actors (`analysis.oracles.rounds`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt
import optax
from flax import nnx

from analysis.oracles import Check, Findings, Section, at_most
from analysis.oracles.rounds import (
    MOST,
    clients,
    contraction,
    federated,
    fixed_point_of,
    quadratic,
    step_once,
    weighted,
)
from core.compute import Eager, Rows, Shard
from core.learning import ALGORITHMS, Algorithm
from core.models import Model, from_nnx
from core.rng import key_words
from core.wire import ArrayDict

#: Two clients of unequal curvature that make five steps of 0.1: with equal weights FedAvg stops at 0.6925, not at 0.8.
A, C, RATE, EPOCHS = (1.0, 4.0), (0.0, 1.0), 0.1, 5
EQUAL, UNEQUAL = (1, 1), (1, 2)
#: The fixed point of FedAvg with equal weights, from a simulation that is not ours.
WORKED: Final = 0.6925023465365121
#: Mean updates that a server's optimizer is given.
DELTAS: Final = np.random.Generator(np.random.Philox(key=3)).normal(size=12).astype(np.float32)
FORMULA: Final = "closed form on scalar quadratics"
#: float32: fixed points are reached up to a few units in the last place, over the contraction of a round.
CLOSE: Final = 1e-5


def made(name: str, model: Model | None = None, batch_size: int = MOST, rate: float = 1.0, **options: Any) -> Algorithm:
    """The algorithm of that name, on the scalar model if no other is given."""
    return ALGORITHMS[name](model or quadratic(), batch_size, rate, **options)


def _fedsgd() -> Check:
    found = fixed_point_of(made("fedsgd"), clients(A, C, UNEQUAL), 1, RATE)
    return Check("fedsgd", "the optimum Σ p a c / Σ p a", FORMULA, weighted(UNEQUAL, A, C), found, CLOSE)


def _fedavg() -> Check:
    found = fixed_point_of(made("fedavg"), clients(A, C, EQUAL), EPOCHS, RATE)
    return Check(
        "fedavg", "the fixed point Σ p w c / Σ p w", "worked example, simulated elsewhere", WORKED, found, CLOSE
    )


def _server_path(algorithm: Algorithm) -> npt.NDArray[np.float64]:
    """The parameter after each of the mean updates `DELTAS`."""
    server = dict(Eager().run(algorithm.init, ((0, 0),)))
    found = []
    for delta in DELTAS:
        server = dict(step_once(algorithm, server, ArrayDict({"x": delta})))
        found.append(float(server["params"]["x"]))
    return np.array(found)


def _optax_path(
    optimizer: optax.GradientTransformation, scale: Callable[[int], float] = lambda t: 1.0
) -> npt.NDArray[np.float64]:
    """The same by optax, whose gradient is −Δ; `scale(t)` undoes its correction of the first moments."""
    x = jnp.float32(0)
    state, found = optimizer.init(x), []
    for t, delta in enumerate(DELTAS, start=1):
        change, state = optimizer.update(jnp.float32(-delta), state, x)
        x = x + change * jnp.float32(scale(t))
        found.append(float(x))
    return np.array(found)


def _as_optax(algorithm: Algorithm, theirs: npt.NDArray[np.float64], which: str, tolerance: float) -> Check:
    worst = float(np.abs(_server_path(algorithm) - theirs).max())
    return at_most(algorithm.name, f"largest difference from {which} in 12 steps", "optax", tolerance, worst)


def _fedavgm() -> Check:
    algorithm = made("fedavgm", rate=0.3, server_momentum=0.8)
    return _as_optax(algorithm, _optax_path(optax.sgd(0.3, momentum=0.8)), "sgd with momentum", CLOSE)


def _fedadagrad() -> Check:
    tau = 1e-6
    theirs = _optax_path(optax.adagrad(0.1, initial_accumulator_value=tau * tau, eps=0.0))
    return _as_optax(made("fedadagrad", rate=0.1, beta1=0.0, tau=tau), theirs, "adagrad", CLOSE)


def _moments(name: str, rule: optax.GradientTransformation, b1: float, b2: float, tau: float) -> Check:
    """optax divides the moments by 1 − β^t, Reddi et al. do not: with τ → 0 that is one factor of each step."""
    theirs = _optax_path(optax.chain(rule, optax.scale(-0.1)), lambda t: (1 - b1**t) / (1 - b2**t) ** 0.5)
    ours = made(name, rate=0.1, beta1=b1, beta2=b2, tau=tau)
    return _as_optax(ours, theirs, f"{name.removeprefix('fed')} without its corrections", 2e-5)


def _fedadam() -> Check:
    return _moments("fedadam", optax.scale_by_adam(0.9, 0.99, eps=1e-9), 0.9, 0.99, 1e-9)


def _fedyogi() -> Check:
    rule = optax.scale_by_yogi(0.9, 0.99, eps=1e-9, initial_accumulator_value=0.0)
    return _moments("fedyogi", rule, 0.9, 0.99, 1e-9)


def _fedprox() -> Check:
    mu = 0.5
    found = fixed_point_of(made("fedprox", mu=mu), clients(A, C, UNEQUAL), EPOCHS, RATE)
    w = [a / (a + mu) * contraction(a + mu, RATE, EPOCHS) for a in A]
    statement = "the fixed point with w = a/(a+μ) (1 − (1 − η (a+μ))^E)"
    return Check("fedprox", statement, FORMULA, weighted(UNEQUAL, w, C), found, CLOSE)


def _scaffold() -> Check:
    found = federated(made("scaffold"), clients(A, C, EQUAL), 150, EPOCHS, RATE).x
    return Check("scaffold", "the true optimum, which FedAvg misses", FORMULA, weighted(EQUAL, A, C), found, CLOSE)


def _fednova() -> Check:
    steps = (2, 5)
    found = fixed_point_of(made("fednova"), clients(A, C, UNEQUAL), steps, RATE)
    w = [contraction(a, RATE, n) / n for a, n in zip(A, steps, strict=True)]
    statement = "the fixed point Σ p (w/τ) c / Σ p (w/τ), unequal steps"
    return Check("fednova", statement, FORMULA, weighted(UNEQUAL, w, C), found, CLOSE)


def _feddyn() -> Check:
    found = federated(made("feddyn", alpha=0.5), clients(A, C, EQUAL), 200, 25, RATE).x
    return Check("feddyn", "the true optimum, which FedAvg misses", FORMULA, weighted(EQUAL, A, C), found, CLOSE)


def _mimelite() -> Check:
    """At the fixed point m = Σ p a (x − c) and the means of the local moves cancel; both are linear in x."""
    beta = 0.5
    found = federated(made("mimelite", beta=beta), clients(A, C, UNEQUAL), 200, EPOCHS, RATE).x
    share, a, c = np.array(UNEQUAL) / sum(UNEQUAL), np.array(A), np.array(C)
    slope = (1 - beta) * a
    w = 1 - (1 - RATE * slope) ** EPOCHS
    pull = beta * np.sum(share * w / slope)
    up = np.sum(share * w * c) + pull * np.sum(share * a * c)
    down = np.sum(share * w) + pull * np.sum(share * a)
    return Check("mimelite", "its fixed point with momentum", FORMULA, float(up / down), found, CLOSE)


def _qffl() -> Check:
    q, x = 4.0, 0.25
    start = ArrayDict({"x": np.float32(x)})
    found = federated(made("qffl", q=q), clients(A, C, UNEQUAL), 1, EPOCHS, RATE, start=start).x
    up = down = 0.0
    for a, c, p in zip(A, C, UNEQUAL, strict=True):
        delta = contraction(a, RATE, EPOCHS) * (x - c) / RATE
        loss = a * (x - c) ** 2 / 2
        up += p * loss**q * delta
        down += p * (q * loss ** (q - 1) * delta**2 + loss**q / RATE)
    return Check("qffl", "a step at q = 4", "Algorithm 2 in float64", x - up / down, found, CLOSE)


def _afl() -> Check:
    """The larger of x²/2 and 2 (x − 1)² is least where they are equal."""
    found = federated(made("afl", mixture_learning_rate=0.1, clients=2), clients(A, C, EQUAL), 700, 1, 0.05).x
    return Check("afl", "the minimax optimum 2/3 (0.8 is the mean's)", FORMULA, 2 / 3, found, CLOSE)


def _ditto() -> Check:
    pull = 0.5
    found = federated(made("ditto", lambda_=pull), clients(A, C, UNEQUAL), 60, EPOCHS, RATE)
    w = weighted(UNEQUAL, [contraction(a, RATE, EPOCHS) for a in A], C)
    own = (A[1] * C[1] + pull * w) / (A[1] + pull)
    return Check(
        "ditto", "a client's own model (a c + λ w) / (a + λ)", FORMULA, own, float(found.states[1]["x"]), CLOSE
    )


def _apfl() -> Check:
    alpha = 0.4
    found = federated(made("apfl", alpha=alpha), clients(A, C, UNEQUAL), 500, 1, RATE)
    own = (C[1] - (1 - alpha) * weighted(UNEQUAL, A, C)) / alpha
    statement = "a client's own model (c − (1 − α) w) / α: the mixture at its optimum"
    return Check("apfl", statement, FORMULA, own, float(found.states[1]["model/x"]), CLOSE)


class Normed(nnx.Module):  # type: ignore[misc]
    """A body, a normalisation and a head called `out`: a small network that FedBN and FedRep can divide."""

    def __init__(self, rngs: nnx.Rngs, *, input_shape: tuple[int, ...], classes: int, hidden: int = 32) -> None:
        size = 1
        for length in input_shape:
            size *= length
        self.body = nnx.Linear(size, hidden, rngs=rngs)
        self.norm = nnx.LayerNorm(hidden, rngs=rngs)
        self.out = nnx.Linear(hidden, classes, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        logits: jax.Array = self.out(jax.nn.relu(self.norm(self.body(x.reshape(len(x), -1)))))
        return logits


def _divided(name: str, epochs: int, **options: Any) -> tuple[dict[str, npt.NDArray[Any]], dict[str, Any], Any]:
    """One round of one client whose model is divided: the whole model after it and before it, and its slope."""
    model = from_nnx(Normed, name="normed", input_shape=(3,), classes=2)
    rng = np.random.Generator(np.random.Philox(key=11))
    x, y = rng.normal(size=(25, 3)).astype(np.float32), rng.integers(0, 2, 25).astype(np.int32)
    shard = Shard(Rows({"x": x, "y": y}), np.arange(25), 25)
    algorithm = made(name, model, 25, **options)
    eager = Eager()
    params = eager.run(algorithm.init, (key_words(0, "init"),))["params"]
    assert algorithm.enter is not None
    state = eager.run(algorithm.enter, (params, key_words(0, "state", 0)))["state"]
    arguments = (params, state, shard, epochs, 0.3, key_words(0, "client", 0, 0))
    found = eager.run(algorithm.local_update, arguments)
    after = {part: np.asarray(params[part]) + np.asarray(found["update"][part]) for part in params}
    after |= {part: np.asarray(array) for part, array in found["state"].items()}
    slope = jax.jit(jax.grad(lambda whole: jnp.mean(model.loss(model.apply(whole, jnp.asarray(x)), jnp.asarray(y)))))
    return after, {part: jnp.asarray(array) for part, array in {**params, **state}.items()}, slope


def _descended(whole: dict[str, Any], slope: Any, steps: int, moves: Callable[[str], bool]) -> dict[str, Any]:
    """Gradient descent of the parts that move."""
    for _ in range(steps):
        change = slope(whole)
        whole = {part: array - 0.3 * change[part] if moves(part) else array for part, array in whole.items()}
    return whole


def _worst(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> float:
    return max(float(np.abs(ours[part] - np.asarray(theirs[part])).max()) for part in theirs)


def _fedbn() -> Check:
    after, whole, slope = _divided("fedbn", 3)
    theirs = _descended(whole, slope, 3, lambda part: True)
    statement = "one client: largest difference from gradient descent of the whole model"
    return at_most("fedbn", statement, "jax.grad", CLOSE, _worst(after, theirs))


def _fedrep() -> Check:
    after, whole, slope = _divided("fedrep", 1, head="out", head_epochs=2)
    headed = _descended(whole, slope, 2, lambda part: part.startswith("out."))
    theirs = _descended(headed, slope, 1, lambda part: not part.startswith("out."))
    statement = "one client: largest difference from two steps of the head, then one of the body"
    return at_most("fedrep", statement, "jax.grad", CLOSE, _worst(after, theirs))


def _ifca() -> Check:
    shards = clients([1.0] * 4, [0.0, 10.0, 0.5, 9.0], [1, 2, 3, 1])
    start = ArrayDict({"x": np.array([1.0, 8.0, 50.0], np.float32)})
    found = federated(made("ifca", clusters=3), shards, 60, 2, 0.2, start=start).server["params"]["x"]
    worst = float(np.abs(found - np.array([3 * 0.5 / 4, (2 * 10.0 + 9.0) / 3, 50.0])).max())
    return at_most("ifca", "largest distance from the means of planted clusters", FORMULA, CLOSE, worst)


def _arrivals(algorithm: Algorithm, staleness: tuple[int, ...]) -> float:
    """The server's model after one client's update came as stale as that, one version each."""
    (shard,) = clients(A[1:], C[1:], (1,))
    eager = Eager()
    server = dict(eager.run(algorithm.init, ((0, 0),)))
    assert algorithm.collect is not None
    for late in staleness:
        sent = ArrayDict({"x": np.float32(late / 4)})
        update = eager.run(algorithm.local_update, (sent, shard, EPOCHS, RATE, (0, 0)))["update"]
        server = dict(step_once(algorithm, server, eager.run(algorithm.collect, (update, 0, late))["update"]))
    return float(server["params"]["x"])


#: How stale the updates are that come one after the other.
STALENESS: Final = (0, 3, 1, 8)


def _fedasync() -> Check:
    x, w = 0.0, contraction(A[1], RATE, EPOCHS)
    for late in STALENESS:
        share = 0.6 * (1 + late) ** -0.5
        x = (1 - share) * x + share * (late / 4 + w * (C[1] - late / 4))
    found = _arrivals(made("fedasync", mixing=0.6, exponent=0.5), STALENESS)
    statement = "x ← (1 − α s) x + α s w over four arrivals of staleness 0, 3, 1, 8"
    return Check("fedasync", statement, "Algorithm 1 in float64", x, found, CLOSE)


def _fedbuff() -> Check:
    x, w = 0.0, contraction(A[1], RATE, EPOCHS)
    for late in STALENESS:
        x += 0.7 * (1 + late) ** -0.5 * w * (C[1] - late / 4)
    found = _arrivals(made("fedbuff", rate=0.7, buffer=1, exponent=0.5), STALENESS)
    statement = "x ← x + η_s (1 + τ)^−a Δ over four arrivals of staleness 0, 3, 1, 8"
    return Check("fedbuff", statement, "Algorithm 1 in float64", x, found, CLOSE)


#: The check of each algorithm.
CHECKS: Final[Mapping[str, Callable[[], Check]]] = {
    "fedsgd": _fedsgd,
    "fedavg": _fedavg,
    "fedavgm": _fedavgm,
    "fedadagrad": _fedadagrad,
    "fedadam": _fedadam,
    "fedyogi": _fedyogi,
    "fedprox": _fedprox,
    "scaffold": _scaffold,
    "fednova": _fednova,
    "feddyn": _feddyn,
    "mimelite": _mimelite,
    "qffl": _qffl,
    "afl": _afl,
    "ditto": _ditto,
    "apfl": _apfl,
    "fedbn": _fedbn,
    "fedrep": _fedrep,
    "ifca": _ifca,
    "fedasync": _fedasync,
    "fedbuff": _fedbuff,
}


def _exact(_: Path) -> Findings:
    return Findings([check() for check in CHECKS.values()])


SECTIONS: Final = (
    Section(
        "Algorithms: exact results",
        "Each algorithm's functions against a closed form, optax, or its paper's step written down once more.",
        _exact,
    ),
)
