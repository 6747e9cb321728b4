"""Rounds of a part of the clients, by hand in float64: what their share of all scales, and what it does not.

Four scalar quadratics a (x − c)² / 2 of weights p. Two rounds of two clients each, so that what the first leaves on the
server is not zero in the second, and client 2 comes back with the state that the first left it. The shares of weight,
4/7 and 5/7, differ from those of numbers, 1/2.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from core.learning import fedavg
from core.learning.control import feddyn, mimelite, scaffold
from core.learning.fair import afl
from core.learning.normalized import fednova
from core.wire import ArrayDict
from tests.theory.rounds import MOST, Outcome, clients, federated, quadratic

A, C, P = [0.7, 1.0, 2.0, 3.0], [-1.0, 0.5, 2.0, 1.0], [1, 1, 3, 2]
EPOCHS = [1, 4, 2, 3]
RATE = 0.1
START = 0.3
COHORTS: list[tuple[int, ...]] = [(0, 2), (2, 3)]
#: Of two sizes, as AFL counts clients alike: 4/2 and 4/3 are told apart, and from any constant.
AFL_COHORTS: list[tuple[int, ...]] = [(0, 2), (1, 2, 3)]


def rounds(algorithm: Any, cohorts: list[tuple[int, ...]] = COHORTS) -> Outcome:
    """A round of each cohort, each epoch of one step."""
    start = ArrayDict({"x": np.float32(START)})
    return federated(algorithm, clients(A, C, P), 2, EPOCHS, RATE, start=start, cohort=cohorts.__getitem__)


def slope(k: int, x: float) -> float:
    return A[k] * (x - C[k])


def change(k: int, x: float, fresh: float = 1.0, shift: float = 0.0, bend: float = 0.0) -> float:
    """What client k's steps along fresh · ∇f_k(y) + shift + bend · (y − x) change of x."""
    y = x
    for _ in range(EPOCHS[k]):
        y -= RATE * (fresh * slope(k, y) + shift + bend * (y - x))
    return y - x


def mean(cohort: tuple[int, ...], values: dict[int, float]) -> float:
    """By weight, of those that came."""
    return sum(P[k] * values[k] for k in cohort) / sum(P[k] for k in cohort)


def taken(cohort: tuple[int, ...]) -> float:
    """|S| / N, by weight."""
    return sum(P[k] for k in cohort) / sum(P)


def test_fedavg_moves_by_the_whole_mean_of_those_that_came() -> None:
    x = START
    for cohort in COHORTS:
        x += mean(cohort, {k: change(k, x) for k in cohort})
    assert rounds(fedavg(quadratic(), MOST)).x == pytest.approx(x, abs=1e-6)


def test_fednova_takes_its_effective_steps_from_those_that_came() -> None:
    """x + τ_eff Σ p Δ/τ over the cohort, τ_eff = Σ p τ of the cohort as well."""
    x = START
    for cohort in COHORTS:
        each = {k: change(k, x) / EPOCHS[k] for k in cohort}
        x += mean(cohort, {k: float(EPOCHS[k]) for k in cohort}) * mean(cohort, each)
    assert rounds(fednova(quadratic(), MOST)).x == pytest.approx(x, abs=1e-6)


def test_scaffold_moves_its_control_variate_by_the_share_that_came() -> None:
    """Algorithm 1: x by the mean of the changes, c by |S|/N of the mean of c_i⁺ − c_i."""
    x, c, own = START, 0.0, dict.fromkeys(range(4), 0.0)
    for cohort in COHORTS:
        moves = {k: change(k, x, shift=c - own[k]) for k in cohort}
        turns = {k: -c - moves[k] / (EPOCHS[k] * RATE) for k in cohort}
        x += mean(cohort, moves)
        c += taken(cohort) * mean(cohort, turns)
        for k in cohort:
            own[k] += turns[k]
    found = rounds(scaffold(quadratic(), MOST))
    assert float(found.server["shared"]["x"]) == pytest.approx(c, abs=1e-5)
    assert found.x == pytest.approx(x, abs=1e-6)
    # What the server keeps is the mean of all clients' variates, of those that never came (zero) too.
    assert c == pytest.approx(sum(P[k] * own[k] for k in range(4)) / sum(P))


def test_feddyn_moves_h_by_the_share_that_came() -> None:
    """Algorithm 1: h ← h − α |S|/N mean(θ_k − θ), θ ← mean(θ_k) − h / α."""
    alpha, x, h, own = 0.5, START, 0.0, dict.fromkeys(range(4), 0.0)
    for cohort in COHORTS:
        moves = {k: change(k, x, shift=-own[k], bend=alpha) for k in cohort}
        h -= alpha * taken(cohort) * mean(cohort, moves)
        x += mean(cohort, moves) - h / alpha
        for k in cohort:
            own[k] -= alpha * moves[k]
    found = rounds(feddyn(quadratic(), MOST, alpha=alpha))
    assert float(found.server["kept"]["x"]) == pytest.approx(h, abs=1e-6)
    assert found.x == pytest.approx(x, abs=2e-6)
    # What the server keeps is the mean of what all clients keep, of those that never came (zero) too.
    assert h == pytest.approx(sum(P[k] * own[k] for k in range(4)) / sum(P))


def test_mimelite_keeps_most_of_its_momentum_and_takes_little_of_the_gradient() -> None:
    """m ← (1 − β) mean ∇f_i(x) + β m of those that came, and clients step along (1 − β) ∇f_i(y) + β m."""
    beta, x, m = 0.8, START, 0.0
    for cohort in COHORTS:
        moves = {k: change(k, x, fresh=1 - beta, shift=beta * m) for k in cohort}
        m = (1 - beta) * mean(cohort, {k: slope(k, x) for k in cohort}) + beta * m
        x += mean(cohort, moves)
    found = rounds(mimelite(quadratic(), MOST, beta=beta))
    assert float(found.server["shared"]["x"]) == pytest.approx(m, abs=1e-6)
    assert found.x == pytest.approx(x, abs=1e-6)


def test_afl_scales_partial_cohorts_up_to_all_clients() -> None:
    """Both gradients are N/|S| times the sums over the cohort, here of four clients over two or three."""
    x, mixture, gain, server_rate = START, np.full(4, 0.25), 0.01, 0.5
    for cohort in AFL_COHORTS:
        scale = 4 / len(cohort)
        moves = {k: change(k, x) for k in cohort}
        losses = np.array([A[k] * (x - C[k]) ** 2 / 2 if k in cohort else 0.0 for k in range(4)])
        x += server_rate * scale * sum(mixture[k] * moves[k] for k in cohort)
        risen = mixture + gain * scale * losses
        # Where nothing falls below zero, the nearest point of the simplex takes the same from everybody.
        mixture = risen - (risen.sum() - 1) / 4
        assert (mixture > 0).all()
    algorithm = afl(quadratic(), MOST, server_learning_rate=server_rate, mixture_learning_rate=gain, clients=4)
    found = rounds(algorithm, AFL_COHORTS)
    assert found.server["kept"]["mixture"] == pytest.approx(mixture, abs=1e-6)
    assert found.x == pytest.approx(x, abs=2e-6)
