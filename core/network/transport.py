"""What a transport makes of a path: a rate cap by round-trip time and loss, slow start, handshakes.

Reno is the formula of Padhye, Firoiu, Towsley, Kurose (SIGCOMM 1998, eq. 30; here: PFTK), without its time-outs that
of Mathis, Semke, Mahdavi, Ott (CCR 1997); CUBIC is RFC 8312, eq. 6, the larger of that and Reno's window; BBR does
not answer losses below a threshold. A flow never sends faster than a window in a round trip. Deviation: losses are a
mean, so that a flow gets its long-run rate from its first byte on after slow start.
"""

from __future__ import annotations

import dataclasses
from math import inf, sqrt
from typing import Final

#: The ways to answer congestion; `ideal` takes what the links give and needs no handshake.
CONTROLS: Final = ("ideal", "cubic", "bbr", "reno")
#: RFC 8312: the scaling constant and the multiplicative decrease.
_CUBIC_C: Final = 0.4
_CUBIC_BETA: Final = 0.7
#: Loss above which BBR v1 falls off (its PROBE_BW gains cannot refill; Hock et al., ICNP 2017): literature.
_BBR_MOST_LOSS: Final = 0.15


@dataclasses.dataclass(frozen=True)
class Transport:
    """The constants of a transport. Defaults are Linux's and the RFCs'; a fit to real sockets replaces them."""

    #: One of `CONTROLS`.
    control: str = "ideal"
    #: Payload of a full segment: 1500 bytes less IP (20) and TCP with time stamps (32). Literature: RFC 7323.
    mss_bytes: float = 1448.0
    #: Payload over what the link's rate counts. 1: rates are goodput already, as the catalogue's are; 0.956 is TCP
    #: over Ethernet (1448 of 1514 bytes) where rates are those of a wire. Derived.
    goodput_share: float = 1.0
    #: Segments that may leave before the first acknowledgement. Literature: RFC 6928.
    initial_window: float = 10.0
    #: Most bytes under way: Linux lets a sender's buffer grow to 4 MiB (tcp_wmem). Literature.
    max_window_bytes: float = 4194304.0
    #: Round trips before the first byte of a new connection: TCP's, then TLS 1.3's. Literature: RFC 9293, RFC 8446.
    connect_rtts: float = 2.0
    #: Further round trips of every transfer. Fitted.
    extra_rtts: float = 0.0
    #: Further time of every transfer, such as the work of both ends for a message, s. Fitted.
    extra_s: float = 0.0
    #: What a time-out adds to the round trip at least, s. Literature: Linux's TCP_RTO_MIN.
    min_rto_s: float = 0.2

    def __post_init__(self) -> None:
        if self.control not in CONTROLS:
            raise ValueError(f"control is one of {', '.join(CONTROLS)}: {self.control!r}")
        for name in ("mss_bytes", "initial_window", "max_window_bytes"):
            if not 0 < getattr(self, name) < inf:
                raise ValueError(f"{name} is positive and finite: {getattr(self, name)}")
        for name in ("connect_rtts", "extra_rtts", "extra_s", "min_rto_s"):
            if not 0 <= getattr(self, name) < inf:
                raise ValueError(f"{name} is not negative and finite: {getattr(self, name)}")
        if not 0 < self.goodput_share <= 1:
            raise ValueError(f"goodput_share is above 0 and at most 1: {self.goodput_share}")

    @property
    def ideal(self) -> bool:
        """Whether a flow takes whatever the links give it, at once."""
        return self.control == "ideal"


IDEAL: Final = Transport()


def mathis_bytes_per_s(mss_bytes: float, rtt_s: float, loss: float) -> float:
    """Reno without time-outs: MSS/RTT · √(3/2) / √p."""
    return mss_bytes / rtt_s * sqrt(1.5 / loss)


def pftk_bytes_per_s(mss_bytes: float, rtt_s: float, loss: float, rto_s: float) -> float:
    """Reno with time-outs of `rto_s`, every segment acknowledged (b = 1)."""
    timeouts = rto_s * min(1.0, 3.0 * sqrt(3.0 * loss / 8.0)) * loss * (1.0 + 32.0 * loss * loss)
    return mss_bytes / (rtt_s * sqrt(2.0 * loss / 3.0) + timeouts)


def cubic_bytes_per_s(mss_bytes: float, rtt_s: float, loss: float) -> float:
    """CUBIC's mean window, 1.054 (RTT/p)^¾ segments, or Reno's where that is larger, a round trip."""
    window: float = (_CUBIC_C * (3.0 + _CUBIC_BETA) / (4.0 * (1.0 - _CUBIC_BETA))) ** 0.25 * (rtt_s / loss) ** 0.75
    return max(mss_bytes * window / rtt_s, mathis_bytes_per_s(mss_bytes, rtt_s, loss))


def rate_cap_bytes_per_s(transport: Transport, rtt_s: float, loss: float) -> float:
    """What one connection can send at most, whatever the links have free; infinite for `ideal` or without delay."""
    if transport.ideal or rtt_s <= 0.0:
        return inf
    cap = transport.max_window_bytes / rtt_s
    if loss <= 0.0:
        return cap
    mss = transport.mss_bytes
    if transport.control == "cubic":
        return min(cap, cubic_bytes_per_s(mss, rtt_s, loss))
    if transport.control == "bbr" and loss < _BBR_MOST_LOSS:
        return cap
    return min(cap, pftk_bytes_per_s(mss, rtt_s, loss, rtt_s + transport.min_rto_s))


def connect_s(transport: Transport, rtt_s: float) -> float:
    """Time before a new connection carries its first byte."""
    return 0.0 if transport.ideal else transport.connect_rtts * rtt_s


def slow_start_s(transport: Transport, size_bytes: float, rate_bytes_per_s: float, rtt_s: float) -> float:
    """Time that slow start adds to `size/rate`: k round trips, less what their windows have carried.

    The window doubles in each round trip until it fills rate · RTT or the rest fits: k is the least with
    IW·2^k ≥ rate·RTT or IW·(2^(k+1) − 1) ≥ size.
    """
    if transport.ideal:
        return 0.0
    window = transport.initial_window * transport.mss_bytes
    full = rate_bytes_per_s * rtt_s
    rounds, sent = 0, 0.0
    while window < full and sent + window < size_bytes:
        sent += window
        window *= 2.0
        rounds += 1
    return rounds * rtt_s - sent / rate_bytes_per_s


def transfer_s(
    transport: Transport,
    size_bytes: float,
    rate_bytes_per_s: float,
    one_way_s: float,
    loss: float = 0.0,
    *,
    flows: int = 1,
    connected: bool = True,
) -> float:
    """Time from the sending of a message to its arrival over one link that `flows` like it share from the start.

    `rate_bytes_per_s` is the link's; retransmissions take their share of it.
    """
    rtt_s = 2.0 * one_way_s
    share = rate_bytes_per_s * transport.goodput_share * (1.0 - loss) / flows
    rate = min(share, rate_cap_bytes_per_s(transport, rtt_s, loss))
    start_s = 0.0 if connected else connect_s(transport, rtt_s)
    start_s += slow_start_s(transport, size_bytes, rate, rtt_s)
    return start_s + transport.extra_rtts * rtt_s + transport.extra_s + size_bytes / rate + one_way_s
