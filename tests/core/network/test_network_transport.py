"""Connections round by round against hand calculation, theory and RFCs, and what a fluid is given of them."""

from __future__ import annotations

import dataclasses
import itertools
import random
from collections.abc import Callable
from math import ceil, inf, log2, sqrt

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis.oracles.network_sharing import (
    RANDOM_LOSSES,
    RFC_WINDOWS,
    mathis_bytes_per_s,
    mean_window,
    pftk_bytes_per_s,
)
from core.network import IDEAL, Transport
from core.network.transport import course, packet_s, transfer_s
from core.network.windows import Connection, gaps, move

MBIT = 125_000.0
#: Nothing overflows.
WIDE = {"max_window_bytes": 2.0**60, "queue_s": 1e9}


def draws(seed: int) -> Callable[[], Callable[[], float]]:
    """The same draws, as often as they are begun."""
    return lambda: random.Random(seed).random


def lost_at(*numbers: int) -> Callable[[], float]:
    """The segments of these numbers, counted from 0 as they are sent, are lost."""
    between = itertools.chain((b - a - 1.0 for a, b in itertools.pairwise((-1, *numbers))), itertools.repeat(inf))
    return lambda: next(between)


# Theory.


def test_the_formulas_give_the_published_numbers() -> None:
    """MSS 1448, 100 ms, 1 %: Mathis 1.42 Mbit/s, PFTK 1.33."""
    assert mathis_bytes_per_s(1448, 0.1, 0.01) / MBIT == pytest.approx(1.4187, rel=1e-3)
    assert pftk_bytes_per_s(1448, 0.1, 0.01, 0.3) / MBIT == pytest.approx(1.329, rel=1e-3)


@pytest.mark.parametrize("loss", [1e-3, 1e-4, 1e-5, 1e-6])
def test_cubic_has_the_windows_of_its_rfc(loss: float) -> None:
    """RFC 8312, table 1 (RTT 100 ms): losses that come every 1/p segments."""
    assert mean_window("cubic", loss, 0.1, 300, None) == pytest.approx(RFC_WINDOWS[loss], rel=0.05)


def test_reno_has_the_window_of_the_square_root_formula() -> None:
    """√(3/2)/√p of losses every 1/p segments (Mathis et al. 1997), 1.31/√p of losses by chance (Ott et al. 1996)."""
    assert mean_window("reno", 1e-5, 0.1, 300, None) * sqrt(1e-5) == pytest.approx(sqrt(1.5), rel=0.02)
    by_chance = mean_window("reno", 1e-5, 0.1, 3000, random.Random(1).random) * sqrt(1e-5)
    assert by_chance == pytest.approx(RANDOM_LOSSES, rel=0.03)
    exponential = np.random.default_rng(1).exponential(size=(50_000, 24))
    assert 2.0 / np.sqrt((2.0 * exponential * 4.0 ** -np.arange(24)).sum(1)).mean() == pytest.approx(1.31, rel=5e-3)


def test_losses_come_by_chance() -> None:
    """Gaps are geometric: mean (1 − p)/p, and none of the draws is beyond the next loss."""
    gap = gaps(0.02, random.Random(3).random)
    found = [gap() for _ in range(20_000)]
    assert all(value == int(value) >= 0 for value in found)
    assert np.mean(found) == pytest.approx(0.98 / 0.02, rel=0.03)
    assert sum(value == 0 for value in found) / len(found) == pytest.approx(0.02, rel=0.2)
    assert gaps(0.0, random.Random(3).random)() == inf


# By hand.


def test_short_messages_take_their_rounds() -> None:
    """On a fast path ceil(log2(S/(10 MSS) + 1)) rounds, of which the last is at line rate and not waited for."""
    transport = Transport("cubic", max_window_bytes=2.0**60)
    for size in (1_000, 14_480, 14_481, 50_000, 200_000):
        rounds = ceil(log2(size / 14_480 + 1))
        took_s = transfer_s(transport, size, 1e12, 0.05)
        assert took_s == pytest.approx((rounds - 1) * 0.1 + 0.05, abs=1e-6)
        fresh_s = transfer_s(transport, size, 1e12, 0.05, connected=False)
        assert fresh_s == pytest.approx(took_s + 0.2, abs=1e-9)


def test_slow_start_waits_until_the_pipe_is_full() -> None:
    """A path of 100 segments: 10, 20, 40 and 80 do not fill it; after that its bytes follow one another."""
    transport = Transport("reno", **WIDE)
    pace_s = 0.1 / 100
    for size in (200, 500, 10_000):
        moved = move(Connection(), transport, size * 1448.0, 1448.0 / pace_s, 0.1)
        assert moved.seconds == pytest.approx(4 * 0.1 - 150 * pace_s + size * pace_s)
        assert not moved.harmed


def test_a_loss_costs_a_round_trip_and_half_of_the_window() -> None:
    """Ten segments, of which the fourth is lost: three acknowledgements open the window to 13, which is halved."""
    connection = Connection()
    transport = Transport("reno", **WIDE)
    moved = move(connection, transport, 13 * 1448.0, 1e15, 1.0, loss=0.01, gap=lost_at(3))
    assert moved.seconds == pytest.approx(1.0, abs=1e-6)
    assert (connection.window, connection.threshold) == (6.0, 6.0), "of whole segments"
    assert (moved.harmed, moved.unharmed_s, moved.unharmed_bytes) == (True, 0.0, 0.0)
    # 9 + 6 + 6 + 7 + 4: all of the round trip of the repair had left before it, so that nothing grows in it.
    moved = move(Connection(), transport, 32 * 1448.0, 1e15, 1.0, loss=0.01, gap=lost_at(3))
    assert moved.seconds == pytest.approx(4.0 + 0.04 / 1.04 / 7, abs=1e-6), "one of seven is acknowledged late"
    cubic = Connection()
    move(cubic, Transport("cubic", **WIDE), 13 * 1448.0, 1e15, 1.0, loss=0.01, gap=lost_at(3))
    assert cubic.window == 9.0


def test_what_had_left_before_a_loss_was_answered_is_of_the_same_recovery() -> None:
    """RFC 6582: of 20 the sixth is lost, which leaves 10; five of those had left already, and another loss is new."""
    transport = Transport("reno", **WIDE)
    for second, window in ((20 + 4, 10.0), (20 + 6, 5.0)):
        connection = Connection(window=20.0, threshold=20.0)
        move(connection, transport, 31 * 1448.0, 1e15, 1.0, loss=0.01, gap=lost_at(5, second))
        assert connection.window == window


def test_the_curve_of_cubic_by_hand() -> None:
    """RFC 9438, figure 1 and §4.2: from 70 of 100 segments K is ∛(30 / 0.4) s, and the curve is its own image there."""
    plateau_s = (30.0 / 0.4) ** (1.0 / 3.0)
    for rounds, window in (
        (1, 100.0 - 30.0 * 0.9**3),
        (5, 100.0 - 30.0 * 0.5**3),
        (10, 100.0),
        (15, 103.75),
        (20, 130.0),
    ):
        connection = Connection(window=70.0, threshold=70.0, last_max=100.0)
        for _ in range(rounds):
            # So long a round trip that Reno would be slower.
            connection.follow_curve(plateau_s / 10.0)
        assert connection.window == pytest.approx(window)
    halves = Connection(window=70.0, threshold=70.0, last_max=100.0)
    for _ in range(10):
        halves.follow_curve(plateau_s / 10.0, 0.5)
    assert halves.window == pytest.approx(100.0 - 30.0 * 0.5**3)


def test_linux_has_the_same_windows() -> None:
    """20 Mbit/s and 20 ms over the relay, 1 MB after 1 MB without loss, Linux 6.18 (tcp_info): median of 8 connections.

    0.516 s each; windows of 107, 110 and 113 segments after them, thresholds of 76, 79 and 82. HyStart ends the first
    slow start; the next ones end where three quarters of the last window were.
    """
    transport, connection = Transport("cubic"), Connection()
    rate = 20 * MBIT * 1448 / 1500
    for window, threshold in ((107.0, 76.0), (110.0, 79.0), (113.0, 82.0)):
        moved = move(connection, transport, 1e6, rate, 0.0411)
        assert moved.seconds + 0.02 == pytest.approx(0.516, abs=0.003)
        assert connection.window == pytest.approx(window, rel=0.07)
        assert connection.threshold == pytest.approx(threshold, rel=0.07)
        connection.rest(transport, 1.58, 0.0411)


@pytest.mark.parametrize(
    ("size", "one_way_s", "loss", "first_s", "later_s"),
    [(1e5, 0.08, 0.01, 0.579, 0.856), (1e6, 0.08, 0.01, 5.079, 8.801), (1e6, 0.02, 0.01, 0.925, 2.448)],
)
def test_linux_takes_as_long_with_losses(
    size: float, one_way_s: float, loss: float, first_s: float, later_s: float
) -> None:
    """Means over 12 to 14 connections of 100 Mbit/s over the relay, Linux 6.18: of a first message, and of later ones.

    Those were 12, 14 and 12 first ones and 108, 28 and 36 later ones, of which the means have standard errors of 9, 21
    and 17 %, and of 3, 5 and 5 %.
    """
    transport, uniform = Transport("cubic"), random.Random(1).random
    times_s: dict[bool, list[float]] = {True: [], False: []}
    for _ in range(300):
        connection = Connection()
        for number in range(4):
            times_s[number == 0].append(
                transfer_s(
                    dataclasses.replace(transport, extra_rtt_s=5e-4),
                    *(size, 100 * MBIT, one_way_s, loss),
                    connection=connection,
                    draws=lambda: uniform,
                )
            )
            connection.rest(transport, 1.5 + 4 * one_way_s, 2 * one_way_s)
    assert np.mean(times_s[True]) == pytest.approx(first_s, rel=0.45)
    assert np.mean(times_s[False]) == pytest.approx(later_s, rel=0.14)


def test_a_lost_tail_waits_for_a_time_out() -> None:
    """One segment is repaired 0.2 s behind its round trip; of two apart, the repair of one tells of the other."""
    transport = Transport("cubic", **WIDE)
    for lost, waited_s in (((9,), 0.1 + 0.2), ((2,), 0.1), ((2, 9), 0.1 + 0.1)):
        moved = move(Connection(), transport, 10 * 1448.0, 1e15, 0.1, loss=0.01, gap=lost_at(*lost))
        assert moved.seconds == pytest.approx(waited_s, abs=1e-6)
    moved = move(Connection(), transport, 100.0, 1e15, 0.1, loss=0.01, gap=lost_at(0))
    assert moved.seconds == pytest.approx(0.1 + 0.2, abs=1e-6)


def test_a_full_queue_ends_slow_start() -> None:
    """100 segments on the way and 50 waiting: of a window of 160 ten are lost, and Reno goes on with half of it."""
    transport = Transport("reno", max_window_bytes=2.0**60, queue_s=0.05)
    connection = Connection()
    moved = move(connection, transport, 400 * 1448.0, 1448.0 * 1000, 0.1)
    assert moved.harmed
    assert connection.threshold == 80.0
    shared = Connection()
    move(shared, dataclasses.replace(transport, queue_segments=0.0), 400 * 1448.0, 1448.0 * 500, 0.1, flows=2)
    assert shared.threshold == 40.0, "at half of the rate half of the path and half of the queue"


def test_hystart_ends_slow_start_before_the_queue_is_full() -> None:
    """CUBIC on the path on which Reno loses segments: at 0.4 ms a segment by the train, at 4 ms by the queue."""
    for segments_per_s, segments in ((2500.0, 2000), (250.0, 150)):
        connection = Connection()
        moved = move(connection, Transport("cubic"), segments * 1448.0, 1448.0 * segments_per_s, 0.1)
        assert not moved.harmed
        assert move(Connection(), Transport("reno"), segments * 1448.0, 1448.0 * segments_per_s, 0.1).harmed
        assert segments_per_s * 0.1 <= connection.threshold <= 2 * segments_per_s * 0.1 + 32


def test_a_connection_at_rest_forgets_its_window_and_keeps_its_threshold() -> None:
    """RFC 2861: halved with every time-out of 0.3 s; three quarters of it are the new threshold. Not so BBR."""
    connection = Connection(window=80.0, threshold=20.0)
    connection.rest(Transport("cubic"), 0.25, 0.1)
    assert (connection.window, connection.threshold) == (80.0, 20.0)
    connection.rest(Transport("cubic"), 0.7, 0.1)
    assert (connection.window, connection.threshold) == (20.0, 60.0)
    connection.rest(Transport("cubic"), 100.0, 0.1)
    assert (connection.window, connection.threshold) == (10.0, 60.0)
    bbr = Connection(window=80.0)
    bbr.rest(Transport("bbr"), 100.0, 0.1)
    assert bbr.window == 80.0


def test_bbr_does_not_answer_loss() -> None:
    """At 20 ms and 1 % BBR had 41.8 of 50 Mbit/s and CUBIC 5.05 when measured over the relay."""
    times = {
        control: transfer_s(Transport(control), 20e6, 50 * MBIT, 0.01, 0.01, draws=draws(5))
        for control in ("bbr", "cubic")
    }
    assert 41.8 < 20e6 / times["bbr"] / MBIT < 50.0
    assert 20e6 / times["cubic"] / MBIT == pytest.approx(5.05, rel=0.5)


# What a fluid is given.


def test_packets_are_stored_and_forwarded() -> None:
    transport = Transport("cubic", goodput_share=1448 / 1500)
    assert packet_s(transport, 1e6, [1e6, 5e5]) == pytest.approx((1500 / 1e6 + 1500 / 5e5, 1500 / 1e6))
    assert packet_s(transport, 150, [1e6, 5e5]) == pytest.approx((150 / 1e6 + 150 / 5e5, 150 / 1e6))
    assert packet_s(transport, 150, []) == (0.0, 0.0)


@settings(deadline=None)
@given(
    size=st.floats(100.0, 3e7),
    rate=st.floats(1e4, 1e8),
    rtt=st.floats(1e-3, 1.0),
    loss=st.sampled_from([0.0, 0.001, 0.03]),
    flows=st.integers(1, 8),
    control=st.sampled_from(["cubic", "bbr", "reno"]),
    seed=st.integers(0, 1000),
)
def test_a_fluid_takes_as_long_as_the_connection(
    size: float, rate: float, rtt: float, loss: float, flows: int, control: str, seed: int
) -> None:
    """Wait, and bytes at the lesser of share and cap: the connection's time, unless it alone could not do more."""
    transport = Transport(control)
    share = rate / flows
    given = {"loss": loss, "flows": flows, "draws": draws(seed)}
    found = course(transport, Connection(), size, share, rtt, **given)  # type: ignore[arg-type]
    gap = gaps(loss, draws(seed)())
    moved = move(Connection(), transport, size, share, rtt, loss=loss, gap=gap, flows=flows)
    assert found.wait_s + size / min(share, found.cap_bytes_per_s) == pytest.approx(moved.seconds, rel=1e-9)
    assert found.wait_s >= 0.0
    assert moved.seconds >= size / share * (1 - 1e-9)
    # What it could do alone, it may do once the others are gone.
    later = course(transport, Connection(), size, share, rtt, alone_bytes_per_s=rate, **given)  # type: ignore[arg-type]
    alone_s = move(Connection(), transport, size, rate, rtt, loss=loss, gap=gaps(loss, draws(seed)())).seconds
    assert later.wait_s + size / min(share, later.cap_bytes_per_s) >= moved.seconds * (1 - 1e-9)
    if loss and not moved.harmed:
        assert later == found
    assert size / later.cap_bytes_per_s <= max(alone_s, moved.seconds) * (1 + 1e-9)


@settings(deadline=None)
@given(
    st.floats(1.0, 3e7),
    st.floats(1e3, 1e9),
    st.one_of(st.just(0.0), st.floats(1e-4, 1.0)),
    st.sampled_from([0.0, 1e-4, 0.01, 0.2]),
    st.integers(1, 20),
    st.sampled_from(["ideal", "cubic", "bbr", "reno"]),
)
def test_no_transfer_is_faster_than_its_path(
    size: float, rate: float, one_way: float, loss: float, flows: int, control: str
) -> None:
    transport = Transport(control)
    took_s = transfer_s(transport, size, rate, one_way, loss, flows=flows, draws=draws(1))
    assert took_s >= (size * flows / rate + one_way) * (1 - 1e-9)
    if not transport.ideal:
        more = dataclasses.replace(transport, extra_s=0.5)
        again_s = transfer_s(more, size, rate, one_way, loss, flows=flows, draws=draws(1))
        assert again_s == pytest.approx(took_s + 0.5)


@pytest.mark.parametrize("changes", [{}, {"queue_s": 0.0, "queue_segments": 0.0}])
@pytest.mark.parametrize(("flows", "loss"), [(5000, 0.0), (1, 0.0), (3, 0.999999)])
def test_every_message_comes_to_its_end(flows: int, loss: float, changes: dict[str, float]) -> None:
    """Also where thousands share a queue, or none, and where nearly all is lost."""
    transport = Transport("cubic", **changes)  # type: ignore[arg-type]
    took_s = transfer_s(transport, 1e5, 1e6, 1e-3, loss, flows=flows, draws=draws(1))
    assert 1e5 * flows / 1e6 <= took_s < inf


def test_a_window_that_is_full_caps_a_flow() -> None:
    """4 MiB a round trip of 1 s, however fast the path is; a message that fits into it is not capped."""
    transport = Transport("bbr")
    assert course(transport, Connection(), 1e8, 1e9, 1.0).cap_bytes_per_s == pytest.approx(4194304.0, rel=0.1)
    assert course(transport, Connection(), 1e6, 1e9, 1.0).cap_bytes_per_s == inf
    assert course(IDEAL, Connection(), 1e8, 1e9, 1.0).cap_bytes_per_s == inf


@pytest.mark.parametrize(
    "changes",
    [
        {"control": "tahoe"},
        {"mss_bytes": 0.0},
        {"initial_window": 0.5},
        {"max_window_bytes": inf},
        {"goodput_share": 1.5},
        {"goodput_share": 0.0},
        {"connect_rtts": -1.0},
        {"extra_s": inf},
        {"extra_rtt_s": -1e-3},
        {"queue_s": inf},
    ],
)
def test_bad_constants_are_refused(changes: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=next(iter(changes))):
        Transport(**changes)  # type: ignore[arg-type]
