"""Clients that differ: fixed points of FedProx, SCAFFOLD, FedDyn, FedNova and MIME-lite on scalar quadratics.

f_i(x) = a_i (x − c_i)² / 2 with weights p_i; the optimum of Σ p f is Σ p a c / Σ p a. Cases are drawn: curvatures,
optima, weights, unequal numbers of local steps, learning rates, proximal terms.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from core.compute import Eager, Rows, Shard
from core.learning.control import feddyn, mimelite, scaffold
from core.learning.normalized import LENGTH_UNIT, fednova
from core.learning.proximal import fedprox
from core.wire import ArrayDict
from tests.theory.rounds import MOST, clients, contraction, federated, fixed_point_of, quadratic, weighted

CLIENT = st.tuples(st.floats(0.5, 3), st.floats(-2, 2), st.integers(1, 3), st.integers(1, 5))
#: Steep enough to be at the fixed point after a few hundred rounds.
STEEP = st.tuples(st.floats(1, 3), st.floats(-2, 2), st.integers(1, 3), st.integers(1, 5))
CLIENTS = st.lists(CLIENT, min_size=2, max_size=4)
#: float32: fixed points are reached up to a few units in the last place, over the contraction of a round.
CLOSE = 1e-5


def columns(drawn: Any) -> Any:
    return (list(column) for column in zip(*drawn, strict=True))


@pytest.mark.parametrize("mu", [0.5, pytest.param(4.0, marks=pytest.mark.slow)])
@settings(max_examples=4, deadline=None)
@given(drawn=CLIENTS, rate=st.floats(0.05, 0.12))
def test_fedprox_lands_on_its_fixed_point(mu: float, drawn: Any, rate: float) -> None:
    """E steps on a (x − c)²/2 + μ (x − x_t)²/2 go a/(a+μ) of the way times 1 − (1 − η (a+μ))^E."""
    a, c, p, epochs = columns(drawn)
    found = fixed_point_of(fedprox(quadratic(), MOST, mu=mu), clients(a, c, p), epochs, rate)
    w = [ai / (ai + mu) * contraction(ai + mu, rate, n) for ai, n in zip(a, epochs, strict=True)]
    assert found == pytest.approx(weighted(p, w, c), abs=CLOSE)


def test_fedprox_with_many_steps_is_the_exact_proximal_step() -> None:
    """The limit of many local steps: w = a / (a + μ)."""
    a, c, p, mu = [1.0, 4.0], [0.0, 1.0], [1, 2], 0.5
    found = fixed_point_of(fedprox(quadratic(), MOST, mu=mu), clients(a, c, p), 300, 0.1)
    assert found == pytest.approx(weighted(p, [ai / (ai + mu) for ai in a], c), abs=CLOSE)


@settings(max_examples=4, deadline=None)
@example([(1.0, 0.0, 1, 5), (4.0, 1.0, 1, 5)], 0.1)
@given(st.lists(STEEP, min_size=2, max_size=4), st.floats(0.08, 0.12))
def test_scaffold_lands_on_the_true_optimum(drawn: Any, rate: float) -> None:
    """Where FedAvg stops at 0.6925 (unequal curvatures, five local steps), SCAFFOLD goes on to the optimum 0.8."""
    a, c, p, epochs = columns(drawn)
    found = federated(scaffold(quadratic(), MOST), clients(a, c, p), 150, epochs, rate)
    optimum = weighted(p, a, c)
    assert found.x == pytest.approx(optimum, abs=2e-4)
    # There each control variate is the client's gradient, and the server's is their mean, zero.
    for k, state in found.states.items():
        assert float(state["x"]) == pytest.approx(a[k] * (optimum - c[k]), abs=2e-3)
    assert float(found.server["shared"]["x"]) == pytest.approx(0, abs=2e-3)


def test_scaffold_of_half_of_the_clients_a_round_lands_on_the_optimum_too() -> None:
    a, c, p = [0.7, 1.0, 2.0, 3.0], [-1.0, 0.5, 2.0, 1.0], [1, 2, 3, 2]
    shards = clients(a, c, p)
    found = federated(scaffold(quadratic(), MOST), shards, 500, 4, 0.08, cohort=lambda r: [(0, 2), (1, 3)][r % 2])
    assert found.x == pytest.approx(weighted(p, a, c), abs=2e-3)


def test_scaffold_is_option_two_by_hand() -> None:
    """One round of one client: y by K corrected steps, c_i⁺ = c_i − c + (x − y)/(K η), and what is sent."""
    algorithm = scaffold(quadratic(), MOST)
    a, target, rate, x, own, control = 2.0, 1.5, 0.1, 0.3, -0.4, 0.25
    (shard,) = clients([a], [target], [3])
    groups = [ArrayDict({"x": np.float32(value)}) for value in (x, control, own)]
    found = Eager().run(algorithm.local_update, (*groups, shard, 6, rate, (1, 2)))
    y = x
    for _ in range(6):
        y -= rate * (a * (y - target) - own + control)
    after = own - control + (x - y) / (6 * rate)
    assert float(found["update"]["params/x"]) == pytest.approx(y - x, abs=1e-6)
    assert float(found["state"]["x"]) == pytest.approx(after, abs=1e-5)
    assert float(found["update"]["control/x"]) == pytest.approx(after - own, abs=1e-5)


@settings(max_examples=3, deadline=None)
@given(st.lists(STEEP, min_size=2, max_size=4), st.floats(0.08, 0.12), st.just(0.5))
def test_feddyn_lands_on_the_true_optimum(drawn: Any, rate: float, alpha: float) -> None:
    a, c, p, epochs = columns(drawn)
    found = federated(feddyn(quadratic(), MOST, alpha=alpha), clients(a, c, p), 200, [20 + e for e in epochs], rate)
    optimum = weighted(p, a, c)
    assert found.x == pytest.approx(optimum, abs=2e-4)
    for k, state in found.states.items():
        assert float(state["x"]) == pytest.approx(a[k] * (optimum - c[k]), abs=2e-3)


@settings(max_examples=5, deadline=None)
@given(CLIENTS, st.floats(0.05, 0.12))
def test_fednova_lands_on_its_fixed_point(drawn: Any, rate: float) -> None:
    """Σ p (w/τ) c / Σ p (w/τ): unbiased as η → 0 only."""
    a, c, p, epochs = columns(drawn)
    found = fixed_point_of(fednova(quadratic(), MOST), clients(a, c, p), epochs, rate)
    w = [contraction(ai, rate, n) / n for ai, n in zip(a, epochs, strict=True)]
    assert found == pytest.approx(weighted(p, w, c), abs=CLOSE)


def test_fednova_is_unbiased_for_small_learning_rates_where_fedavg_is_not() -> None:
    a, c, p, epochs, rate = [1.0, 1.0], [0.0, 1.0], [1, 1], [1, 9], 0.002
    found = fixed_point_of(fednova(quadratic(), MOST), clients(a, c, p), epochs, rate, rounds=20)
    assert found == pytest.approx(0.5, abs=5e-3)
    assert weighted(p, [contraction(1.0, rate, e) for e in epochs], c) == pytest.approx(0.9, abs=5e-3)


@settings(max_examples=10, deadline=None)
@given(st.integers(1, 4000), st.sampled_from([0.0, 0.9]))
def test_fednova_weights_are_those_of_the_momentum_buffer(steps: int, momentum: float) -> None:
    """‖a‖₁, added up gradient by gradient: the j-th of τ stays in Σ_{k=0}^{τ−j} ρ^k of the steps."""
    algorithm = fednova(quadratic(), 1, momentum=momentum)
    rows = Rows({"x": np.array([[1.0, 1.0]], np.float32), "y": np.zeros(1, np.int32)})
    params = ArrayDict({"x": np.float32(1.0)})
    found = Eager().run(algorithm.local_update, (params, Shard(rows, np.array([0])), steps, 0.1, (0, 0)))["update"]
    expected = sum((1 - momentum ** (steps - j)) / (1 - momentum) for j in range(steps)) if momentum else steps
    assert float(found["length"]) * LENGTH_UNIT == pytest.approx(expected, rel=1e-4)


@settings(max_examples=3, deadline=None)
@given(st.lists(STEEP, min_size=2, max_size=4), st.floats(0.08, 0.12), st.just(0.5))
def test_mimelite_lands_on_its_fixed_point(drawn: Any, rate: float, beta: float) -> None:
    """At the fixed point m = Σ p a (x − c) and the means of the local moves cancel; both are linear in x.

    A client that steps with (1 − β) a (y − c) + β m moves w = 1 − (1 − η (1 − β) a)^E of the way to
    c − β m / ((1 − β) a).
    """
    a, c, p, epochs = columns(drawn)
    shards = clients(a, c, p)
    found = federated(mimelite(quadratic(), MOST, beta=beta), shards, 200, epochs, rate)
    share = np.array(p) / sum(p)
    a, c = np.array(a), np.array(c)
    slope = (1 - beta) * a
    w = 1 - (1 - rate * slope) ** np.array(epochs)
    # 0 = Σ p w (c − β (A x − B) / slope − x) with A = Σ p a, B = Σ p a c.
    pull = beta * np.sum(share * w / slope)
    total, offset = np.sum(share * a), np.sum(share * a * c)
    expected = (np.sum(share * w * c) + pull * offset) / (np.sum(share * w) + pull * total)
    assert found.x == pytest.approx(expected, abs=1e-4)
    assert float(found.server["shared"]["x"]) == pytest.approx(total * expected - offset, abs=1e-3)


def test_mimelite_sends_the_whole_gradient_at_the_model_it_was_given() -> None:
    algorithm = mimelite(quadratic(), 2, beta=0.5)
    shards = clients([1.0, 3.0], [2.0, -1.0], [1, 2])
    rows = shards[0].rows
    both = Shard(rows, np.array([0, 1, 2]), MOST)
    groups = [ArrayDict({"x": np.float32(value)}) for value in (0.5, 0.0)]
    found = Eager().run(algorithm.local_update, (*groups, both, 1, 0.1, (0, 0)))["update"]
    assert float(found["gradient/x"]) == pytest.approx((1.0 * (0.5 - 2.0) + 2 * 3.0 * (0.5 + 1.0)) / 3, rel=1e-6)
