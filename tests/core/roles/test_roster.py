"""The coordinator's roster: a map of names to examples, from which any set of names is drawn equally often."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from core.roles.roster import Roster


@given(st.lists(st.tuples(st.sampled_from([f"phone-{i}" for i in range(12)]), st.integers(-1, 100)), max_size=60))
def test_it_is_a_map(changes: list[tuple[str, int]]) -> None:
    """A negative number strikes the name out."""
    roster, expected = Roster(), {}
    for name, examples in changes:
        if examples < 0:
            roster.discard(name)
            expected.pop(name, None)
        else:
            roster[name] = expected[name] = examples
        assert len(roster) == len(expected)
        assert (name in roster) == (name in expected)
    assert roster.draw(np.random.default_rng(0), 100) == sorted(expected)
    assert {name: roster[name] for name in expected} == expected
    with pytest.raises(KeyError):
        roster["nobody"]


def test_a_draw_hangs_on_who_is_there_and_not_on_when_they_came() -> None:
    names = [f"phone-{i}" for i in range(5000)]
    forward, backward = Roster(), Roster()
    for name in names:
        forward[name] = 1
    for name in ("gone", *reversed(names)):
        backward[name] = 1
    backward.discard("gone")
    draws = [roster.draw(np.random.default_rng(4), 100) for roster in (forward, backward)]
    assert draws[0] == draws[1] == sorted(set(draws[0]))
    assert len(draws[0]) == 100
    assert draws[0] != forward.draw(np.random.default_rng(5), 100)


def test_everybody_is_drawn_equally_often() -> None:
    """Chi-square over 200 names at the level 1e-3; draws of five out of them without replacement."""
    roster = Roster()
    for i in range(200):
        roster[f"phone-{i}"] = 1
    rng = np.random.default_rng(1)
    counts = dict.fromkeys((f"phone-{i}" for i in range(200)), 0)
    for _ in range(1000):
        for name in roster.draw(rng, 5):
            counts[name] += 1
    # Without replacement the counts vary a little less than chi-square assumes.
    assert stats.chisquare(list(counts.values())).pvalue > 1e-3
