"""A shared host against queueing theory; derivation, claims and works are those of `analysis.oracles.physics_hosts`.

Intervals are as in `test_network_queues`, and narrow enough to tell first come, first served apart: with work of two
kinds one core would hold it for 5.2 s instead of 2.5 s (Pollaczek and Khinchine).
"""

from __future__ import annotations

import pytest

from analysis.oracles.physics_hosts import KINDS, erlang_s, stays_s, works_s
from tests.theory.test_network_queues import holds

#: Greatest half-width of an interval, as a share.
WIDTH = 0.2


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("cores", "load"), [(1, 0.6), (2, 0.7), (8, 0.8)])
def test_claims_stay_as_erlang_says_whatever_their_work(kind: str, cores: int, load: float) -> None:
    holds(stays_s(cores, load, works_s(kind, 7), 8), erlang_s(cores, load), WIDTH)


def test_erlang_of_one_core_is_kleinrocks_sharing() -> None:
    assert erlang_s(1, 0.6) == pytest.approx(1.0 / (1.0 - 0.6))


def test_half_a_core_is_a_machine_of_half_the_speed() -> None:
    """A container's quota: M/G/1-PS with twice the work."""
    holds(stays_s(0.5, 0.6, works_s("two kinds", 9), 10), 2.0 / (1.0 - 0.6), WIDTH)
