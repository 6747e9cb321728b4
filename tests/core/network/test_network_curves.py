"""Step functions, their integral and its inverse; links that vary; traces read from text."""

from __future__ import annotations

import itertools
from fractions import Fraction
from math import exp, inf, log

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.links import Handover, Link
from core.network import Autoregressive, Curve, Markov, MarkovState, Outages, Replay, Trace
from core.network import curves as module
from core.network.curves import constant, product, repeated, scaled, switched
from core.network.traces import TraceWrong, read_trace

steps = st.lists(st.tuples(st.integers(1, 50), st.integers(0, 1000)), min_size=1, max_size=12).filter(
    lambda found: any(rate for _, rate in found)
)


def trace_of(found: list[tuple[int, int]]) -> Trace:
    ends = list(itertools.accumulate(length for length, _ in found))
    return Trace("t", (0.0, *map(float, ends[:-1])), tuple(float(rate) for _, rate in found), float(ends[-1]))


@given(steps, st.fractions(0, 500, max_denominator=8), st.integers(0, 10**6))
def test_the_inverse_of_the_integral_is_exact(found: list[tuple[int, int]], start: Fraction, size: int) -> None:
    """Replay against rational arithmetic: the bytes between start and the finish are the size, and not a step later."""
    trace = trace_of(found)
    curve = Curve(trace.steps(0.0))
    at = Fraction(curve.time_after(float(start), size))
    period = Fraction(trace.period_s)
    total = sum(Fraction(length) * rate for length, rate in found)

    def integral(until: Fraction) -> Fraction:
        turns, rest = divmod(until, period)
        passed = turns * total
        for (length, rate), begin in zip(found, trace.starts_s, strict=True):
            passed += rate * min(max(rest - Fraction(begin), Fraction(0)), Fraction(length))
        return passed

    assert float(integral(at) - integral(start)) == pytest.approx(size, rel=1e-9, abs=1e-6)
    if size:
        # The first such moment: a little earlier some of it was still to come.
        before = integral(at * (1 - Fraction(1, 10**9)) - Fraction(1, 10**9)) - integral(start)
        assert before < size
    assert curve.passed(float(start)) == pytest.approx(float(integral(start)), rel=1e-12)


def test_a_transfer_ends_before_the_outage_that_follows_it() -> None:
    curve = Curve(repeated((0.0, 1.0), (8.0, 0.0), 4.0))
    assert curve.time_after(0.0, 8.0) == 1.0
    assert curve.time_after(0.0, 8.5) == 4.0 + 0.5 / 8.0
    assert curve.time_after(2.0, 1.0) == 4.125
    assert curve.time_after(2.0, 0.0) == 2.0
    assert [curve.rate(at) for at in (0.0, 0.999, 1.0, 3.999, 4.0)] == [8.0, 8.0, 0.0, 0.0, 8.0]
    assert [curve.next_change_s(at) for at in (0.0, 1.0, 4.5)] == [1.0, 4.0, 5.0]


def test_a_constant_never_changes_and_nothing_passes_at_zero() -> None:
    curve = Curve(constant(4.0))
    assert (curve.next_change_s(1e9), curve.passed(2.5), curve.when(10.0)) == (inf, 10.0, 2.5)
    assert Curve(constant(0.0)).time_after(1.0, 1.0) == inf


@pytest.mark.parametrize("bad", [[(1.0, 1.0)], [(0.0, -1.0)], [(0.0, inf)]])
def test_a_curve_begins_at_zero_with_a_rate(bad: list[tuple[float, float]]) -> None:
    with pytest.raises(ValueError, match="a curve begins at 0"):
        Curve(bad)
    with pytest.raises(ValueError, match="a step after"):
        Curve([(0.0, 1.0), (1.0, 1.0), (0.5, 1.0)]).rate(3.0)


def test_curves_are_multiplied_scaled_and_switched() -> None:
    two = list(product(iter([(0.0, 2.0), (2.0, 3.0)]), iter([(0.0, 1.0), (1.0, 0.0), (2.0, 5.0)])))
    assert two == [(0.0, 2.0), (1.0, 0.0), (2.0, 15.0)]
    assert list(scaled(iter(two), 0.5))[2] == (2.0, 7.5)
    one, other = [(0.0, 1.0), (1.0, 2.0), (3.0, 4.0)], [(0.0, 10.0), (2.5, 20.0), (5.0, 30.0)]
    joined = list(switched([(0.0, iter(one)), (2.0, iter(other)), (4.0, constant(7.0))]))
    assert joined == [(0.0, 1.0), (1.0, 2.0), (2.0, 10.0), (2.5, 20.0), (4.0, 7.0)]


def test_old_steps_are_let_go_of(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "KEPT", 10)
    curve, whole = (Curve(repeated((0.0, 1.0), (8.0, 2.0), 2.0)) for _ in range(2))
    for now in range(500):
        curve.forget(now + 0.25)
        assert curve.passed(now + 0.25) == whole.passed(now + 0.25)
        assert curve.time_after(now + 0.25, 31.0) == whole.time_after(now + 0.25, 31.0)
    assert len(curve._starts) < 40 < len(whole._starts)


# Variation.


def sampled(steps: object, until: float, every: float) -> np.ndarray:
    curve = Curve(steps)  # type: ignore[arg-type]
    return np.array([curve.rate(at) for at in np.arange(0.0, until, every)])


def test_an_autoregressive_link_has_its_moments_and_memory() -> None:
    """sd of ln .8, lag-1 .7, as of LTE in a car: within four standard errors of 20,000 steps."""
    link = Autoregressive(sd_log=0.8, correlation=0.7, step_s=1.0)
    logs = np.log(sampled(link.factors(1, "a"), 20_000, 1.0))
    # The mean of AR(1) has a variance of sd² (1 + ρ) / (1 − ρ) / n.
    assert abs(logs.mean()) < 4 * 0.8 * (1.7 / 0.3 / 20_000) ** 0.5
    assert logs.std() == pytest.approx(0.8, rel=0.05)
    assert np.corrcoef(logs[:-1], logs[1:])[0, 1] == pytest.approx(0.7, abs=0.03)
    again = np.log(sampled(link.factors(1, "a"), 100, 1.0))
    assert (again == logs[:100]).all()
    assert (np.log(sampled(link.factors(1, "b"), 100, 1.0)) != again).any()


def test_markov_states_are_held_as_long_as_said() -> None:
    """Shares of time are mean over the sum: of 60, 10 and 3 s."""
    link = Markov((MarkovState(1.0, 60.0), MarkovState(0.1, 10.0), MarkovState(0.0, 3.0)))
    seen = sampled(link.factors(7, "a"), 400_000, 1.0)
    for state in link.states:
        share = state.mean_s / 73.0
        assert (seen == state.factor).mean() == pytest.approx(share, rel=0.12)


def test_outages_take_their_share_of_time() -> None:
    seen = sampled(Outages(mean_up_s=30.0, mean_down_s=10.0).factors(3, "a"), 200_000, 0.5)
    assert seen.mean() == pytest.approx(0.75, rel=0.03)
    assert seen[0] == 1.0


def test_a_link_puts_its_variations_together() -> None:
    trace = Trace("t", (0.0, 1.0), (1000.0, 3000.0), 2.0)
    assert trace.mean_bytes_per_s == 2000.0
    link = Link("l", "wifi", 0.0, 100.0, 200.0, loss=0.5, variation=Replay(trace, None, shifted=False))
    assert list(itertools.islice(link.steps("up", 1, "a"), 3)) == [(0.0, 500.0), (1.0, 1500.0), (2.0, 500.0)]
    assert list(link.steps("down", 1, "a")) == [(0.0, 100.0)]
    faded = Link("l", "wifi", 0.0, 100.0, 200.0, variation=Autoregressive(1.0, 0.5, 2.0))
    up, down = (list(itertools.islice(faded.steps(way, 1, "a"), 5)) for way in ("up", "down"))
    assert [(at, 2 * rate) for at, rate in up] == [(at, pytest.approx(rate)) for at, rate in down]
    later = Link("l", "wifi", 0.0, 100.0, 200.0, handovers=(Handover(5.0, Link("m", "cellular", 0.1, 7.0, 8.0)),))
    assert list(later.steps("up", 1, "a")) == [(0.0, 100.0), (5.0, 7.0)]
    assert [later.at(now).name for now in (0.0, 4.999, 5.0, 9.0)] == ["l", "l", "m", "m"]
    assert later.varies
    assert not later.plain
    shifted = {Replay(trace, None).offset_s(trace, 1, owner) for owner in "abc"}
    assert len(shifted) == 3
    assert all(0 <= offset < 2.0 for offset in shifted)


@pytest.mark.parametrize(
    "changes",
    [
        {"half_duplex": True, "handovers": (Handover(1.0, Link("m", "wifi", 0.0, 1.0, 1.0)),)},
        {"handovers": (Handover(0.0, Link("m", "wifi", 0.0, 1.0, 1.0)),)},
        {"handovers": tuple(Handover(at, Link("m", "wifi", 0.0, 1.0, 1.0)) for at in (2.0, 1.0))},
        {"half_duplex": True, "variation": Replay(None, None)},
    ],
)
def test_a_link_that_cannot_be_is_refused(changes: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="link l"):
        Link("l", "wifi", 0.0, 1.0, 1.0, **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "make",
    [
        lambda: Autoregressive(-1.0, 0.5, 1.0),
        lambda: Autoregressive(1.0, 1.0, 1.0),
        lambda: Autoregressive(1.0, 0.5, 0.0),
        lambda: Markov((MarkovState(1.0, 1.0),)),
        lambda: Markov((MarkovState(0.0, 1.0), MarkovState(0.0, 1.0))),
        lambda: MarkovState(1.0, inf),
        lambda: MarkovState(-1.0, 1.0),
        lambda: Outages(0.0, 1.0),
        lambda: Trace("t", (0.0, 1.0), (0.0, 0.0), 2.0),
        lambda: Trace("t", (0.0, 1.0), (1.0, -1.0), 2.0),
        lambda: Trace("t", (0.0, 0.0), (1.0, 1.0), 2.0),
        lambda: Trace("t", (1.0,), (1.0,), 2.0),
        lambda: list(itertools.islice(repeated((0.0,), (1.0,), 2.0, 2.0), 1)),
    ],
)
def test_bad_parameters_are_refused(make: object) -> None:
    with pytest.raises(ValueError):
        make()  # type: ignore[operator]


# Files.


def test_both_formats_are_read() -> None:
    plain = read_trace("a.csv", "time_s,bytes_per_s\n10,100\n10.5,0\n11.5,300\n")
    assert (plain.starts_s, plain.rates, plain.period_s) == ((0.0, 0.5, 1.5), (100.0, 0.0, 300.0), 2.5)
    binned = read_trace("b.csv", "time_s,packets_1500B_per_100ms\n0.0,209\n0.1,223\n\n0.2,0\n")
    # 209 packets of 1500 B in 100 ms: 25.08 Mbit/s.
    assert binned.rates == (209 * 15_000.0, 223 * 15_000.0, 0.0)
    assert binned.rates[0] * 8e-6 == pytest.approx(209 * 0.12)
    assert binned.period_s == pytest.approx(0.3)


@pytest.mark.parametrize(
    ("text", "line", "found"),
    [
        ("", 1, "''"),
        ("time,rate\n1,2\n", 1, "'time,rate'"),
        ("time_s,bytes_per_s\n0,1\n1,2\n0.5,3\n", 4, "'0.5'"),
        ("time_s,bytes_per_s\n0,1\n0,2\n", 3, "'0'"),
        ("time_s,bytes_per_s\n-1,1\n0,2\n", 2, "'-1'"),
        ("time_s,bytes_per_s\n0,1\n1,-2\n", 3, "'-2'"),
        ("time_s,bytes_per_s\n0,nan\n1,2\n", 2, "'nan'"),
        ("time_s,bytes_per_s\n0,1\n1,many\n", 3, "'many'"),
        ("time_s,bytes_per_s\n0,1\n1,2,3\n", 3, "'1,2,3'"),
        ("time_s,bytes_per_s\n0,1\n", 2, "fewer than two"),
        ("time_s,bytes_per_s\n0,0\n1,0\n", 3, "only rates of 0"),
    ],
)
def test_a_bad_trace_is_refused_with_its_line(text: str, line: int, found: str) -> None:
    with pytest.raises(TraceWrong) as caught:
        read_trace("trace.csv", text)
    assert str(caught.value).startswith(f"trace.csv:{line}: found")
    assert found in str(caught.value)
    assert "accepted" in str(caught.value)


@given(st.text(max_size=200))
def test_no_text_does_worse_than_be_refused(text: str) -> None:
    for whole in (text, f"time_s,bytes_per_s\n{text}"):
        try:
            read_trace("x.csv", whole)
        except TraceWrong:
            continue


def test_the_median_of_an_autoregressive_link_is_the_links_own() -> None:
    assert exp(log(1.0)) == 1.0
    link = Autoregressive(0.0, 0.0, 1.0)
    assert list(itertools.islice(link.factors(1, "a"), 3)) == [(0.0, 1.0), (1.0, 1.0), (2.0, 1.0)]


def test_a_markov_link_begins_in_equilibrium() -> None:
    """The first state is drawn with the shares of time, 6 : 3 : 1, not of jumps: chi-square at the level 1e-3."""
    link = Markov((MarkovState(1.0, 60.0), MarkovState(0.5, 30.0), MarkovState(0.0, 10.0)))
    firsts = [next(iter(link.factors(7, f"phone-{index}")))[1] for index in range(4000)]
    counts = [firsts.count(factor) for factor in (1.0, 0.5, 0.0)]
    chi_square = sum((n - e) ** 2 / e for n, e in zip(counts, (2400.0, 1200.0, 400.0), strict=True))
    assert chi_square < 13.82
