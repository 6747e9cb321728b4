"""A shared host against queueing theory: many claims that come by chance stay as long as the closed form says.

Processor sharing is insensitive: the mean time in the system depends on the mean of the work only (Kelly 1979, §3.3).
So c cores hold any kind of work as long as M/M/c does, W = 1/μ + C(c, a)/(cμ − λ) with Erlang's C, which for one core
is M/G/1-PS, W = 1/(μ − λ) (Kleinrock 1976, §4.4). Intervals as in `test_network_queues`.
"""

from __future__ import annotations

from math import factorial

import numpy as np
import pytest

from core.devices import Cores, Host
from tests.theory.test_network_queues import holds

CLAIMS = 60_000


class Job:
    """A claim, and when it came and went."""

    def __init__(self, came_s: float) -> None:
        self.came_s = came_s
        self.stayed_s = 0.0
        self.now = 0.0

    def served(self) -> None:
        self.stayed_s = self.now - self.came_s


def stays(cores: float, load: float, works: np.ndarray, seed: int) -> np.ndarray:
    """Times in the system of claims of these seconds, mean 1, that come by a Poisson process."""
    rng = np.random.default_rng(seed)
    shared, jobs = Cores(Host("h", cores)), []
    for came_s, seconds in zip(
        np.cumsum(rng.exponential(1.0 / (load * cores), len(works))).tolist(), works.tolist(), strict=True
    ):
        serve(shared, came_s)
        jobs.append(Job(came_s))
        shared.begin(came_s, seconds, jobs[-1])
    serve(shared, float("inf"))
    return np.array([job.stayed_s for job in jobs])


def serve(shared: Cores, until_s: float) -> None:
    while shared.count and (at := shared.next_s()) <= until_s:
        job = shared.finish(at)
        assert isinstance(job, Job)
        job.now = at
        job.served()


def works(kind: str, seed: int) -> np.ndarray:
    """Work of mean 1: all alike, exponential, or of two kinds with a squared variation of 5."""
    rng = np.random.default_rng(seed)
    if kind == "D":
        return np.ones(CLAIMS)
    if kind == "M":
        return rng.exponential(1.0, CLAIMS)
    return np.where(rng.random(CLAIMS) < 5 / 6, 0.4, 4.0) * rng.exponential(1.0, CLAIMS)


def erlang_stay_s(cores: int, load: float) -> float:
    a = load * cores
    last = a**cores / factorial(cores) / (1.0 - load)
    waits = last / (sum(a**k / factorial(k) for k in range(cores)) + last)
    return 1.0 + waits / (cores * (1.0 - load))


@pytest.mark.parametrize("kind", ["D", "M", "G"])
@pytest.mark.parametrize(("cores", "load"), [(1, 0.6), (2, 0.7), (8, 0.8)])
def test_claims_stay_as_erlang_says_whatever_their_work(kind: str, cores: int, load: float) -> None:
    found = stays(float(cores), load, works(kind, 7), 8)
    holds(found, erlang_stay_s(cores, load), 0.12)


def test_half_a_core_is_a_machine_of_half_the_speed() -> None:
    """A container's quota: M/G/1-PS with twice the work."""
    holds(stays(0.5, 0.6, works("G", 9), 10), 2.0 / (1.0 - 0.6), 0.12)
