"""The state machines of faults: draws, waiting messages, wrong clocks, and what no fault can be."""

from __future__ import annotations

import math
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.actor import Actor, Message
from core.deployment import ClockSkew, Deployment, Fault, MessageFault, Partition, Placement, Population, Slowdown
from core.devices import link, profile
from core.faults import IN, OUT, ActorClock, MessageFaults, described
from core.rng import uniform
from core.wire import Payload


class Word(Message, frozen=True, kw_only=True):
    pass


class Parcel(Message, frozen=True, kw_only=True):
    data: Payload | None = None


def faults(*given: MessageFault, seed: int = 0, name: str = "a") -> MessageFaults:
    found = MessageFaults(seed, name)
    for fault in given:
        found.begin(fault)
    return found


def fault(kind: str, probability: float = 1.0, **settings: Any) -> MessageFault:
    return MessageFault(kind, "a", 0.0, probability=probability, **settings)


def test_uniform_numbers_are_uniform_and_pure() -> None:
    """Kolmogorov-Smirnov: of 20,000 numbers, beyond 1.95/√n in one of a thousand samples."""
    numbers = sorted(uniform(7, "a", "x", n) for n in range(20_000))
    assert uniform(7, "a", "x", 5) == uniform(7, "a", "x", 5) != uniform(7, "a", "x", "5")
    gap = max(max((n + 1) / 20_000 - x, x - n / 20_000) for n, x in enumerate(numbers))
    assert gap < 1.95 / math.sqrt(20_000)
    assert all(0 <= x < 1 for x in numbers)


def test_each_way_peer_and_type_has_draws_of_its_own() -> None:
    found = faults(fault("lost", 0.5))
    fates = {
        (way, peer, kind.__name__): tuple(bool(found.offer(way, peer, kind(), 0).effects) for _ in range(64))
        for way in (OUT, IN)
        for peer in ("b", "c")
        for kind in (Word, Parcel)
    }
    assert len(set(fates.values())) == len(fates)
    again = faults(fault("lost", 0.5))
    for _ in range(10):
        again.offer(OUT, "c", Word(), 0)
    assert tuple(bool(again.offer(OUT, "b", Word(), 0).effects) for _ in range(64)) == fates[OUT, "b", "Word"]


def test_lost_comes_before_duplicated_before_reordered() -> None:
    all_three = faults(fault("lost"), fault("duplicated"), fault("reordered"))
    assert all_three.offer(OUT, "b", Word(), 1).effects == ["lost"]
    two = faults(fault("duplicated"), fault("reordered", behind=1))
    fate = two.offer(OUT, "b", Word(), 1)
    assert (fate.effects, fate.passing) == (["duplicated", "reordered"], [])
    assert fate.kept is not None
    assert two.release(fate.kept) == [1, 1]
    assert two.release(fate.kept) == []


def test_who_waits_is_overtaken_on_its_own_way_and_stream_only() -> None:
    reordered = fault("reordered", behind=2)
    found = faults(reordered)
    found.offer(OUT, "b", Word(), "first")
    found.offer(OUT, "b", Word(), "second")
    found.end(reordered)
    for way, peer, kind in ((IN, "b", Word), (OUT, "c", Word), (OUT, "b", Parcel)):
        assert found.offer(way, peer, kind(), "other").passing == ["other"]
    assert found.offer(OUT, "b", Word(), 1).passing == [1]
    assert found.offer(OUT, "b", Word(), 2).passing == [2, "first", "second"]
    found.begin(reordered)
    found.offer(IN, "b", Word(), "in")
    found.offer(OUT, "b", Word(), "out")
    assert found.release_all(OUT) == ["out"]
    assert found.release_all(IN) == ["in"]


def test_only_the_named_types_are_struck() -> None:
    found = faults(fault("lost", messages=("Parcel",)))
    assert found.offer(OUT, "b", Word(), 1).passing == [1]
    assert found.offer(OUT, "b", Parcel(), 1).passing == []


# Clocks.

skews = st.lists(
    st.tuples(st.floats(-1e4, 1e4), st.floats(-0.9, 9), st.floats(0, 1e3), st.floats(0.1, 1e3)), max_size=5
)


@given(skews)
def test_a_clock_is_right_before_and_after_and_runs_at_its_rate(drawn: list[tuple[float, float, float, float]]) -> None:
    clock = ActorClock()
    changes: list[tuple[float, int, ClockSkew]] = []
    for offset_s, drift, at_s, for_s in drawn:
        skew = ClockSkew("clock_skew", "a", at_s, for_s, offset_s=offset_s, drift=drift)
        changes += [(at_s, 1, skew), (at_s + for_s, 0, skew)]
    assert clock.reading(0.0) == 0.0
    in_force: list[ClockSkew] = []
    last_s = 0.0
    for at_s, begins, skew in sorted(changes, key=lambda change: change[0]):
        passed_s = clock.reading(at_s) - clock.reading(last_s)
        rate = math.prod(1 + other.drift for other in in_force)
        assert passed_s == pytest.approx(rate * (at_s - last_s), rel=1e-9, abs=1e-6)
        before_s = clock.reading(at_s)
        if begins:
            clock.begin(skew, at_s)
            in_force.append(skew)
            assert clock.reading(at_s) == pytest.approx(before_s + skew.offset_s, rel=1e-9, abs=1e-6)
        else:
            clock.end(skew, at_s)
            in_force.remove(skew)
        assert clock.true(clock.rate * 5.0) == pytest.approx(5.0)
        last_s = at_s
    assert clock.reading(1e5) == 1e5


# What is none.


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (lambda: Fault("lost", "a", 0.0), "battery_pulled, crash, disk_full, link_down, not lost"),
        (lambda: Fault("crash", "a", -1.0), "begins at 0 s or later"),
        (lambda: Fault("crash", "a", math.inf), "begins at 0 s or later"),
        (lambda: Fault("crash", "a", 1.0, 0.0), "lasts longer than 0 s"),
        (lambda: Fault("crash", "a", 1.0, after_messages=3), "at no given time"),
        (lambda: fault("lost", 1.1), "from 0 to 1, not 1.1"),
        (lambda: fault("lost", math.nan), "from 0 to 1, not nan"),
        (lambda: fault("reordered", behind=0), "behind at least one"),
        (lambda: fault("reordered", delay_s=0.0), "waits for some time"),
        (lambda: Slowdown("slow", "a", 0.0, speed=0.0), "above 0"),
        (lambda: ClockSkew("clock_skew", "a", 0.0, drift=-1.0), "no clock gains -1.0"),
        (lambda: Partition("partition", "", 0.0, sets=(("a",),)), "at least two sets"),
        (lambda: Partition("partition", "", 0.0, sets=(("a",), ())), "none of them empty"),
        (lambda: Partition("partition", "", 0.0, sets=(("a", "b"), ("b",))), "nobody in two"),
        (lambda: Partition("partition", "", math.inf, after_messages=1, sets=(("a",), ("b",))), "begins at a time"),
    ],
)
def test_impossible_faults_are_none(make: Any, why: str) -> None:
    with pytest.raises(ValueError, match=re.escape(why)):
        make()


@pytest.mark.parametrize(
    ("given", "why"),
    [
        (Fault("crash", "main", 0.0), ""),
        (Fault("crash", "m-1", 0.0), ""),
        (fault("lost", messages=("Word",)), "is for 'a', and there is no such actor"),
        (MessageFault("lost", "main", 0.0, probability=1.0, messages=("Wort",)), "there are ['Word']"),
        (Fault("crash", "m-2", 0.0), "there is no such actor"),
        (Partition("partition", "", 0.0, sets=(("main",), ("m-0", "x-1"))), "'x-1'"),
    ],
)
def test_a_deployment_has_whom_its_faults_befall(given: Fault, why: str) -> None:
    def deploy() -> Deployment:
        main = Placement("main", Actor, profile("server"), link("datacentre"))
        people = Population("m", 2, lambda index: main, ("local",))
        return Deployment((main,), "main", (Word,), populations=(people,), faults=(given,))

    if why:
        with pytest.raises(ValueError, match=re.escape(why)):
            deploy()
    else:
        assert deploy().faults_of(given.target) == (given,)


def test_faults_in_words() -> None:
    assert described(Fault("crash", "a", 1.0), "a") == ""
    assert described(Fault("crash", "a", math.inf, 20.0, after_messages=3), "a") == "after 3 messages; for 20 s"
    lost = fault("lost", 0.2, messages=("Word", "Parcel"), duration_s=60.0)
    assert described(lost, "a") == "20 % of Word, Parcel; for 60 s"
    assert described(fault("reordered", behind=2), "a") == "100 % of all messages, behind 2 or 10 s"
    assert described(Partition("partition", "", 0.0, sets=(("a",), ("b",))), "b") == "set 2 of 2"
    assert described(ClockSkew("clock_skew", "a", 0.0, offset_s=-5.0), "a") == "-5 s, +0 s a second"
