"""q-FFL, AFL and IFCA against what can be known: q = 0, a finite difference, the minimax optimum, planted clusters."""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.compute import Eager, Rows, Shard
from core.learning import fedavg
from core.learning.clustered import ifca
from core.learning.fair import afl, on_simplex, qffl
from core.models import model
from core.rng import key_words
from core.wire import ArrayDict
from tests.theory.rounds import clients, federated, quadratic


def loss(a: float, c: float, x: float) -> float:
    return a * (x - c) ** 2 / 2


@settings(max_examples=3, deadline=None)
@given(st.lists(st.tuples(st.floats(0.5, 3), st.floats(-2, 2), st.integers(1, 3)), min_size=2, max_size=4))
def test_qffl_with_q_zero_is_fedavg(drawn: Any) -> None:
    a, c, p = (list(column) for column in zip(*drawn, strict=True))
    start = ArrayDict({"x": np.float32(0.7)})
    ours, plain = (
        federated(algorithm, clients(a, c, p), 3, 2, 0.1, start=start).x
        for algorithm in (qffl(quadratic(), 3, q=0.0), fedavg(quadratic(), 3))
    )
    assert ours == pytest.approx(plain, abs=1e-5)


@pytest.mark.parametrize("q", [4.0, pytest.param(0.5, marks=pytest.mark.slow)])
def test_qffl_steps_are_algorithm_2_by_hand(q: float) -> None:
    """w − Σ F^q Δ / Σ (q F^(q−1) |Δ|² + L F^q), with Δ = L (w − w_k) and weights, in float64."""
    a, c, p, rate, epochs, x = [1.0, 3.0], [2.0, -1.0], [1, 2], 0.1, 3, 0.25
    found = federated(
        qffl(quadratic(), 3, q=q), clients(a, c, p), 1, epochs, rate, start=ArrayDict({"x": np.float32(x)})
    )
    up = down = 0.0
    for ai, ci, pi in zip(a, c, p, strict=True):
        y = x
        for _ in range(epochs):
            y -= rate * ai * (y - ci)
        delta, own = (x - y) / rate, loss(ai, ci, x)
        up += pi * own**q * delta
        down += pi * (q * own ** (q - 1) * delta**2 + own**q / rate)
    assert found.x == pytest.approx(x - up / down, rel=1e-5)


def test_qffl_evens_losses_out() -> None:
    """The larger q, the nearer the two losses: at q = 0 the optimum of the mean, for q → ∞ equal losses."""
    a, c, p = [1.0, 4.0], [0.0, 1.0], [1, 1]
    gaps = []
    for q in (0.0, 4.0):
        x = federated(qffl(quadratic(), 3, q=q), clients(a, c, p), 150, 1, 0.1).x
        gaps.append(abs(loss(1.0, 0.0, x) - loss(4.0, 1.0, x)))
        # Stationary for Σ F^(q+1): Σ F^q F' = 0.
        slope = loss(1, 0, x) ** q * x + loss(4, 1, x) ** q * 4 * (x - 1)
        assert slope == pytest.approx(0, abs=2e-2)
    assert gaps[0] > gaps[1]


PROJECTED = jax.jit(on_simplex)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(-3, 3), min_size=4, max_size=4))
def test_the_projection_is_the_nearest_point_of_the_simplex(point: list[float]) -> None:
    """On the simplex, and no step along an edge of it comes nearer (the condition of optimality)."""
    found = np.asarray(PROJECTED(jnp.array(point, jnp.float32)), np.float64)
    assert found.sum() == pytest.approx(1, abs=1e-5)
    assert (found >= 0).all()
    inward = np.array(point) - found
    # For a projection, (point − found)_i is largest, and equal, where found_i > 0.
    support = found > 1e-6
    assert inward[support] == pytest.approx(np.full(support.sum(), inward.max()), abs=1e-4)


def test_afl_finds_the_minimax_optimum() -> None:
    """max of x²/2 and 2 (x − 1)² is least where they are equal, x = 2/3; there λ balances the slopes x and 4 (x − 1).

    λ x + (1 − λ) 4 (x − 1) = 0 at x = 2/3 gives λ = 2/3. The plain mean of the two is least at 0.8.
    """
    shards = clients([1.0, 4.0], [0.0, 1.0], [1, 1])
    algorithm = afl(quadratic(), 3, mixture_learning_rate=0.1, clients=2)
    found = federated(algorithm, shards, 700, 1, 0.05)
    assert found.x == pytest.approx(2 / 3, abs=3e-3)
    mixture = found.server["kept"]["mixture"]
    assert mixture == pytest.approx([2 / 3, 1 / 3], abs=1e-2)
    assert float(mixture.sum()) == pytest.approx(1, abs=1e-5)


def test_afl_leaves_a_client_that_is_always_served_well_without_weight() -> None:
    """The third loss lies below the others everywhere near the optimum: its λ goes to zero."""
    shards = clients([1.0, 4.0, 0.1], [0.0, 1.0, 0.6], [1, 1, 3])
    found = federated(afl(quadratic(), 3, mixture_learning_rate=0.1, clients=3), shards, 700, 1, 0.05)
    assert found.x == pytest.approx(2 / 3, abs=3e-3)
    assert float(found.server["kept"]["mixture"][2]) == 0.0


def test_afl_hears_nobody_beyond_its_slots() -> None:
    algorithm = afl(quadratic(), 3, clients=2)
    update = ArrayDict({"params/x": np.float32(1), "loss": np.float32(5)})
    kept = ArrayDict({"mixture": np.full(2, 0.5, np.float32)})
    assert algorithm.collect is not None
    found = Eager().run(algorithm.collect, (kept, update, 7, 0))["update"]
    assert float(found["params/x"]) == 0.0
    assert found["losses"].tolist() == [0.0, 0.0]


def planted() -> tuple[list[Shard], list[int]]:
    """Six clients of two kinds: the same inputs, with labels that say the opposite."""
    rng = np.random.Generator(np.random.Philox(key=5))
    x = rng.normal(size=(240, 4)).astype(np.float32)
    y = (x[:, 0] > 0).astype(np.int32)
    kinds = [0, 1, 1, 0, 1, 0]
    for k, kind in enumerate(kinds):
        y[40 * k : 40 * k + 40] ^= kind
    rows = Rows({"x": x, "y": y})
    return [Shard(rows, np.arange(40 * k, 40 * k + 40)) for k in range(6)], kinds


def test_ifca_recovers_planted_clusters_that_fedavg_cannot_serve() -> None:
    shards, kinds = planted()
    softmax = model("softmax", input_shape=(4,), classes=2)
    algorithm = ifca(softmax, 20, clusters=2)
    found = federated(algorithm, shards, 12, 3, 0.5)
    chosen = [int(found.states[k]["cluster"]) for k in range(6)]
    assert chosen in (kinds, [1 - kind for kind in kinds])
    assert algorithm.personal is not None
    eager = Eager()
    for k in range(6):
        own = eager.run(algorithm.personal, (found.server["params"], found.states[k], shards[k]))["metrics"]
        assert float(own["accuracy"]) > 0.95
    plain = fedavg(softmax, 20)
    one = federated(plain, shards, 12, 3, 0.5).server["params"]
    accuracies = [float(eager.run(plain.evaluate, (one, shard))["metrics"]["accuracy"]) for shard in shards]
    assert max(np.mean([a for a, kind in zip(accuracies, kinds, strict=True) if kind == one]) for one in (0, 1)) < 0.85


def test_ifca_moves_each_model_by_the_mean_of_its_own_members() -> None:
    """Two quadratics at 0 and two at 10, three models: the third, which fits nobody, stays where it was."""
    c = [0.0, 10.0, 0.5, 9.0]
    shards = clients([1.0] * 4, c, [1, 2, 3, 1])
    start = ArrayDict({"x": np.array([1.0, 8.0, 50.0], np.float32)})
    found = federated(ifca(quadratic(), 3, clusters=3), shards, 60, 2, 0.2, start=start)
    first, second = (1 * 0.0 + 3 * 0.5) / 4, (2 * 10.0 + 1 * 9.0) / 3
    assert found.server["params"]["x"] == pytest.approx([first, second, 50.0], abs=1e-4)
    assert [int(found.states[k]["cluster"]) for k in range(4)] == [0, 1, 0, 1]


def test_ifca_with_a_number_of_no_model_changes_nothing() -> None:
    algorithm = ifca(quadratic(), 3, clusters=3)
    assert algorithm.collect is not None
    found = Eager().run(algorithm.collect, (ArrayDict({"params/x": np.float32(1), "cluster": np.int32(-3)}), 0, 0))[
        "update"
    ]
    assert found["params/x"].tolist() == found["members"].tolist() == [0.0, 0.0, 0.0]


def test_the_scale_of_qffl_cancels() -> None:
    """Losses are divided by ln(classes) on the way: with ten classes the step is the same as by hand."""
    softmax = model("softmax", input_shape=(3,), classes=10)
    rng = np.random.Generator(np.random.Philox(key=9))
    rows = Rows({"x": rng.normal(size=(12, 3)).astype(np.float32), "y": rng.integers(0, 10, 12).astype(np.int32)})
    shards = [Shard(rows, np.arange(0, 5), 7), Shard(rows, np.arange(5, 12), 7)]
    q, rate = 4.0, 0.2
    found = federated(qffl(softmax, 8, q=q), shards, 1, 2, rate).server["params"]
    eager, plain = Eager(), fedavg(softmax, 8)
    start = eager.run(plain.init, ((0, 0),))["params"]
    up: dict[str, Any] = dict.fromkeys(start, 0.0)
    down = 0.0
    for k, shard in enumerate(shards):
        update = eager.run(plain.local_update, (start, shard, 2, rate, key_words(0, "client", k, 0)))["update"]
        delta = {name: -np.asarray(update[name], np.float64) / rate for name in update}
        square = sum(float((array**2).sum()) for array in delta.values())
        own = math.log(10)  # the model of zeros guesses
        down += shard.count * (q * own ** (q - 1) * square + own**q / rate)
        up = {name: up[name] + shard.count * own**q * delta[name] for name in up}
    for name in found:
        np.testing.assert_allclose(found[name], start[name] - up[name] / down, rtol=1e-4, atol=1e-7)
