"""The coordinator's roster: a map of names to examples, from which any set of names is drawn equally often."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from core.actor import Crowd
from core.roles.roster import Roster

#: Some of the names are members of it.
CROWD = Crowd((("tablet", 3), ("phone", 12)))
NAMES = [
    *(f"phone-{i}" for i in (0, 2, 10, 11, 12, 13)),
    "tablet-0",
    "tablet-02",
    "tablet-2",
    "tablet",
    "-",
    "phone--1",
    "phone-²",
]


@given(st.lists(st.tuples(st.sampled_from(NAMES), st.integers(-2, 100)), max_size=60))
def test_it_is_a_map_that_remembers_who_is_away(changes: list[tuple[str, int]]) -> None:
    """-1 sends a name away, -2 forgets it; a roster with a crowd is the same as one without."""
    plain, crowded = Roster(), Roster(CROWD)
    known: dict[str, int] = {}
    there: dict[str, int] = {}
    for name, examples in changes:
        for roster in (plain, crowded):
            if examples == -1:
                roster.dismiss(name)
            elif examples == -2:
                assert roster.forget(name) == known.get(name, 0)
            elif examples > 0:
                assert roster.admit(name, examples) == known.get(name, 0)
        if examples > 0:
            known[name] = there[name] = examples
        elif examples < 0:
            there.pop(name, None)
            if examples == -2:
                known.pop(name, None)
        for roster in (plain, crowded):
            assert len(roster) == len(there)
            assert (name in roster) == (name in there)
    for roster in (plain, crowded):
        assert roster.draw(np.random.default_rng(0), 100) == sorted(there)
        assert {name: roster[name] for name in there} == there
        for name in ("nobody", "phone-2"):
            if name not in there:
                with pytest.raises(KeyError):
                    roster[name]


@given(
    st.lists(
        st.lists(st.tuples(st.integers(0, 14), st.booleans(), st.integers(1, 3)), min_size=1, max_size=30), max_size=4
    ),
    st.integers(0, 5),
)
def test_many_come_and_go_as_one_after_the_other_would(bursts: list[list[tuple[int, bool, int]]], others: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        # So that members and others meet in a bucket.
        patch.setattr("core.roles.roster._BUCKETS", 3)
        _come_and_go(bursts, others)


def _come_and_go(bursts: list[list[tuple[int, bool, int]]], others: int) -> None:
    one, many, plain = Roster(CROWD), Roster(CROWD), Roster()
    for index in range(others):
        for roster in (one, many, plain):
            roster.admit(f"server-{index}", 7)
    weight = 0
    for burst in bursts:
        # In a burst one always comes with the same number.
        numbers = {who: examples for who, _, examples in burst}
        gained = 0
        for who, comes, _ in burst:
            if comes:
                gained += numbers[who] - one.admit(CROWD.name(who), numbers[who])
                plain.admit(CROWD.name(who), numbers[who])
            else:
                one.dismiss(CROWD.name(who))
                plain.dismiss(CROWD.name(who))
        who, comes, _ = (np.array(column) for column in zip(*burst, strict=True))
        before, now = many.come_and_go(who, comes, np.array([numbers[number] for number in who.tolist()]))
        assert int(now.sum() - before.sum()) == gained
        weight += gained
        assert len(many) == len(one)
        assert {name: many[name] for name in many} == {name: one[name] for name in one}
        count = max(len(one) - 2, 0)
        draws = [roster.draw(np.random.default_rng(3), count) for roster in (one, many, plain)]
        assert draws[0] == draws[1] == draws[2]
    assert weight == sum(one.forget(CROWD.name(number)) for number in range(len(CROWD)))


def test_members_of_a_crowd_are_numbered_through() -> None:
    assert [CROWD.number(name) for name in NAMES] == [3, 5, 13, 14, None, None, 0, None, 2, *(None,) * 4]
    assert [CROWD.name(number) for number in range(len(CROWD))] == list(CROWD.names())
    assert [CROWD.number(name) for name in CROWD.names()] == list(range(15))


@pytest.mark.parametrize("crowd", [None, Crowd((("phone", 3000),))], ids=["names", "crowd"])
def test_a_draw_hangs_on_who_is_there_and_not_on_when_they_came(crowd: Crowd | None) -> None:
    names = [f"phone-{i}" for i in range(5000)]
    forward, backward = Roster(), Roster(crowd)
    for name in names:
        forward.admit(name, 1)
    for name in ("gone", "phone-1", *reversed(names)):
        backward.admit(name, 1)
    backward.dismiss("gone")
    draws = [roster.draw(np.random.default_rng(4), 100) for roster in (forward, backward)]
    assert draws[0] == draws[1] == sorted(set(draws[0]))
    assert len(draws[0]) == 100
    assert draws[0] != forward.draw(np.random.default_rng(5), 100)


def test_everybody_is_drawn_equally_often() -> None:
    """Chi-square over 200 names at the level 1e-3; draws of five out of them without replacement."""
    roster = Roster(Crowd((("phone", 120),)))
    for i in range(200):
        roster.admit(f"phone-{i}", 1)
    rng = np.random.default_rng(1)
    counts = dict.fromkeys((f"phone-{i}" for i in range(200)), 0)
    for _ in range(1000):
        for name in roster.draw(rng, 5):
            counts[name] += 1
    # Without replacement the counts vary a little less than chi-square assumes.
    assert stats.chisquare(list(counts.values())).pvalue > 1e-3
