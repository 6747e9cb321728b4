"""Transports against the formulas of their papers and RFCs, and what was measured over an emulated link."""

from __future__ import annotations

import dataclasses
from math import ceil, inf, log2

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.network import IDEAL, Transport
from core.network.transport import (
    cubic_bytes_per_s,
    mathis_bytes_per_s,
    pftk_bytes_per_s,
    rate_cap_bytes_per_s,
    slow_start_s,
    transfer_s,
)

MBIT = 125_000.0


def test_the_formulas_give_the_published_numbers() -> None:
    """MSS 1448, 100 ms, 1 %: Mathis 1.42 Mbit/s, PFTK 1.33 (both 5 % below a measured CUBIC of 1.9, slow start in)."""
    assert mathis_bytes_per_s(1448, 0.1, 0.01) / MBIT == pytest.approx(1.4187, rel=1e-3)
    assert pftk_bytes_per_s(1448, 0.1, 0.01, 0.3) / MBIT == pytest.approx(1.329, rel=1e-3)
    assert mathis_bytes_per_s(1448, 0.02, 0.01) / MBIT == pytest.approx(7.09, rel=1e-3)


@pytest.mark.parametrize(
    ("loss", "window"), [(1e-2, 12), (1e-3, 38), (1e-4, 187), (1e-5, 1054), (1e-6, 5926), (1e-7, 33325), (1e-8, 187397)]
)
def test_cubic_has_the_windows_of_its_rfc(loss: float, window: int) -> None:
    """RFC 8312, table 1 (RTT 100 ms, packets); Reno's window is 1.2247/√p there rounded to 1.2/√p, hence 3 %."""
    assert cubic_bytes_per_s(1.0, 0.1, loss) * 0.1 == pytest.approx(window, rel=0.03)


def test_bbr_ignores_loss_up_to_a_point() -> None:
    """Measured at 20 ms and 1 %: BBR 41.8 of 50 and 94.4 of 100 Mbit/s, CUBIC 5.05."""
    bbr, cubic = Transport("bbr"), Transport("cubic")
    assert rate_cap_bytes_per_s(bbr, 0.02, 0.01) > 100 * MBIT
    assert 5.05 / 1.5 < rate_cap_bytes_per_s(cubic, 0.02, 0.01) / MBIT < 5.05 * 1.5
    assert rate_cap_bytes_per_s(bbr, 0.02, 0.2) == rate_cap_bytes_per_s(Transport("reno"), 0.02, 0.2)


def test_what_has_no_delay_or_no_loss_is_limited_by_its_window_alone() -> None:
    for control in ("cubic", "bbr", "reno"):
        assert rate_cap_bytes_per_s(Transport(control), 0.1, 0.0) == 4194304 / 0.1
        assert rate_cap_bytes_per_s(Transport(control), 0.0, 0.1) == inf
    assert rate_cap_bytes_per_s(IDEAL, 0.1, 0.5) == inf


@given(st.floats(1e-3, 1.0), st.floats(1e-6, 0.1), st.sampled_from(["cubic", "reno", "bbr"]))
def test_more_loss_and_more_delay_never_help(rtt: float, loss: float, control: str) -> None:
    transport = Transport(control)
    rate = rate_cap_bytes_per_s(transport, rtt, loss)
    assert rate_cap_bytes_per_s(transport, rtt * 1.5, loss) <= rate
    assert rate_cap_bytes_per_s(transport, rtt, loss * 1.5) <= rate


def test_short_messages_take_their_rounds() -> None:
    """On a fast path ceil(log2(S/(10 MSS) + 1)) rounds, of which the last is at line rate and not waited for."""
    transport = Transport("cubic", max_window_bytes=2.0**60)
    for size in (1_000, 14_480, 14_481, 50_000, 200_000):
        rounds = ceil(log2(size / 14_480 + 1))
        took_s = transfer_s(transport, size, 1e12, 0.05)
        assert took_s == pytest.approx((rounds - 1) * 0.1 + 0.05, abs=1e-6)
        fresh_s = transfer_s(transport, size, 1e12, 0.05, connected=False)
        assert fresh_s == pytest.approx(took_s + 0.2, abs=1e-9)


def test_slow_start_ends_when_the_pipe_is_full() -> None:
    """10 Mbit/s · 100 ms = 125 kB: 14.5, 29, 58, 116 kB do not fill it; four rounds, less what they carry."""
    transport = Transport("cubic")
    added = slow_start_s(transport, 1e8, 10 * MBIT, 0.1)
    assert added == pytest.approx(4 * 0.1 - 15 * 14_480 / (10 * MBIT))
    assert slow_start_s(transport, 2e8, 10 * MBIT, 0.1) == added
    assert slow_start_s(transport, 1e8, 10 * MBIT, 0.01) == 0.0
    assert slow_start_s(IDEAL, 1e8, 10 * MBIT, 0.1) == 0.0


@given(
    st.floats(1.0, 1e9),
    st.floats(1e3, 1e9),
    st.one_of(st.just(0.0), st.floats(1e-6, 1.0)),
    st.one_of(st.just(0.0), st.floats(1e-9, 0.2)),
    st.integers(1, 20),
    st.sampled_from(["ideal", "cubic", "bbr", "reno"]),
)
def test_no_transfer_is_faster_than_its_path(
    size: float, rate: float, one_way: float, loss: float, flows: int, control: str
) -> None:
    transport = Transport(control)
    took_s = transfer_s(transport, size, rate, one_way, loss, flows=flows)
    assert took_s >= (size * flows / rate + one_way) * (1 - 1e-9)
    more = dataclasses.replace(transport, extra_s=0.5, extra_rtts=1.0)
    assert transfer_s(more, size, rate, one_way, loss, flows=flows) == pytest.approx(took_s + 0.5 + 2 * one_way)


@pytest.mark.parametrize(
    "changes",
    [
        {"control": "tahoe"},
        {"mss_bytes": 0.0},
        {"initial_window": -1.0},
        {"max_window_bytes": inf},
        {"goodput_share": 1.5},
        {"goodput_share": 0.0},
        {"connect_rtts": -1.0},
        {"extra_s": inf},
    ],
)
def test_bad_constants_are_refused(changes: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=next(iter(changes))):
        Transport(**changes)  # type: ignore[arg-type]
