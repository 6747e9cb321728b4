"""What a transport makes of a path: handshakes, windows that open and close, time-outs.

How a connection's window fares is in `core.network.windows`, round trip by round trip; here stand the constants, and
what a fluid flow is given of it: a wait before its bytes move, and a cap on their rate. Losses are drawn, so that the
time of a message over a lossy path is a random variable, as it is in reality.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from math import inf
from typing import Final

from core.network.windows import Connection, Moved, gaps, move

#: The ways to answer congestion; `ideal` takes what the links give and needs no handshake.
CONTROLS: Final = ("ideal", "cubic", "bbr", "reno")
#: What waits before a link at most: so many seconds of its rate, and so many full packets at least. The emulated links
#: of the real world have the same. Estimate: access links are known for more (bufferbloat).
QUEUE_S: Final = 0.1
QUEUE_SEGMENTS: Final = 32.0


@dataclasses.dataclass(frozen=True)
class Transport:
    """The constants of a transport. Defaults are Linux's and the RFCs'; `aivsim validate` fits those marked so."""

    #: One of `CONTROLS`.
    control: str = "ideal"
    #: Payload of a full segment: 1500 bytes less IP (20) and TCP with time stamps (32). Literature: RFC 7323.
    mss_bytes: float = 1448.0
    #: Payload over what the link's rate counts. 1: rates are goodput already, as the catalogue's are; 0.964 (1448 of
    #: 1500, and 22 bytes for each 16 KiB of TLS) where rates are those of packets. Derived; fitted.
    goodput_share: float = 1.0
    #: Segments that may leave before the first acknowledgement. Literature: RFC 6928.
    initial_window: float = 10.0
    #: Most bytes under way: Linux lets a sender's buffer grow to 4 MiB (tcp_wmem). Literature.
    max_window_bytes: float = 4194304.0
    #: Round trips before the first byte of a new connection: TCP's, then TLS 1.3's. Literature: RFC 9293, RFC 8446.
    connect_rtts: float = 2.0
    #: What a round trip takes beside the delays and packets of its path, such as the work of both ends, s. Fitted.
    extra_rtt_s: float = 0.0
    #: Further time of every message, such as the work of both ends for it, s. Fitted.
    extra_s: float = 0.0
    #: What a time-out adds to the round trip at least, s. Literature: Linux's TCP_RTO_MIN.
    min_rto_s: float = 0.2
    #: The queue before the bottleneck: seconds of its rate, and segments at least. Estimate: `QUEUE_S`.
    queue_s: float = QUEUE_S
    queue_segments: float = QUEUE_SEGMENTS

    def __post_init__(self) -> None:
        if self.control not in CONTROLS:
            raise ValueError(f"control is one of {', '.join(CONTROLS)}: {self.control!r}")
        for name in ("mss_bytes", "max_window_bytes"):
            if not 0 < getattr(self, name) < inf:
                raise ValueError(f"{name} is positive and finite: {getattr(self, name)}")
        if not 1 <= self.initial_window < inf:
            raise ValueError(f"initial_window is 1 or more, and finite: {self.initial_window}")
        for name in ("connect_rtts", "extra_rtt_s", "extra_s", "min_rto_s", "queue_s", "queue_segments"):
            if not 0 <= getattr(self, name) < inf:
                raise ValueError(f"{name} is not negative and finite: {getattr(self, name)}")
        if not 0 < self.goodput_share <= 1:
            raise ValueError(f"goodput_share is above 0 and at most 1: {self.goodput_share}")

    @property
    def ideal(self) -> bool:
        """Whether a flow takes whatever the links give it, at once."""
        return self.control == "ideal"


IDEAL: Final = Transport()


def connect_s(transport: Transport, rtt_s: float) -> float:
    """Time before a new connection carries its first byte."""
    return 0.0 if transport.ideal else transport.connect_rtts * rtt_s


def packet_s(transport: Transport, wire_bytes: float, links_bytes_per_s: Sequence[float]) -> tuple[float, float]:
    """Times of one packet of a message of `wire_bytes`: on all links one after the other, and behind the slowest.

    A fluid passes all links at once; packets are stored and forwarded.
    """
    size_bytes = min(wire_bytes, transport.mss_bytes / transport.goodput_share)
    times_s = [size_bytes / rate for rate in links_bytes_per_s]
    return sum(times_s), sum(times_s) - max(times_s, default=0.0)


@dataclasses.dataclass(frozen=True, slots=True)
class Course:
    """A message as a fluid: it waits, then its bytes move, never faster than the cap. Bytes are payload."""

    wait_s: float
    cap_bytes_per_s: float


def course(
    transport: Transport,
    connection: Connection,
    size_bytes: float,
    share_bytes_per_s: float,
    rtt_s: float,
    *,
    loss: float = 0.0,
    flows: int = 1,
    alone_bytes_per_s: float = 0.0,
    draws: Callable[[], Callable[[], float]] | None = None,
) -> Course:
    """The wait and the cap with which a fluid takes as long as the connection, whose share stays what it is now.

    The cap must not keep a flow at its present share once others have gone: it is what the connection would reach alone
    on the path, at `alone_bytes_per_s` (0: at its share), with the same draws. `draws` begins them: uniform, from 0 up
    to, but below 1; needed where `loss` is above 0. The connection is changed.
    """
    if transport.ideal or rtt_s <= 0.0:
        return Course(0.0, inf)
    assert loss <= 0.0 or draws is not None, "losses are drawn"

    def moved(c: Connection, rate: float, sharing: int) -> Moved:
        gap = gaps(loss, draws()) if draws is not None else gaps(0.0, float)
        return move(c, transport, size_bytes, rate, rtt_s, loss=loss, gap=gap, flows=sharing)

    before = dataclasses.replace(connection)
    found = moved(connection, share_bytes_per_s, flows)
    free, free_rate = found, share_bytes_per_s
    if found.harmed and alone_bytes_per_s > share_bytes_per_s:
        free, free_rate = moved(before, alone_bytes_per_s, 1), alone_bytes_per_s
    cap = inf
    if free.harmed and loss > 0.0:
        waited_s = max(free.unharmed_s - free.unharmed_bytes / free_rate, 0.0)
        cap = size_bytes / (free.seconds - waited_s)
    elif size_bytes > transport.max_window_bytes:
        cap = max(transport.max_window_bytes / rtt_s, size_bytes / free.seconds)
    return Course(max(found.seconds - size_bytes / min(cap, share_bytes_per_s), 0.0), cap)


def transfer_s(
    transport: Transport,
    size_bytes: float,
    rate_bytes_per_s: float,
    one_way_s: float,
    loss: float = 0.0,
    *,
    flows: int = 1,
    links: int = 1,
    connected: bool = True,
    connection: Connection | None = None,
    draws: Callable[[], Callable[[], float]] | None = None,
) -> float:
    """Time from the sending of a message to its arrival over a link that `flows` like it share from start to end.

    `rate_bytes_per_s` is that of each of `links` links, one after the other; retransmissions take their share of it.
    `connection` is a new one if not given, and is changed; `draws` as for `course`.
    """
    rate = rate_bytes_per_s * (1.0 - loss)
    share = rate * transport.goodput_share / flows
    if transport.ideal:
        return size_bytes / share + one_way_s
    serial_s, behind_s = packet_s(transport, size_bytes / transport.goodput_share, [rate] * links)
    rtt_s = 2.0 * one_way_s + serial_s + transport.extra_rtt_s
    start_s = 0.0 if connected else connect_s(transport, 2.0 * one_way_s)
    found = course(transport, connection or Connection(), size_bytes, share, rtt_s, loss=loss, flows=flows, draws=draws)
    moving_s = found.wait_s + size_bytes / min(share, found.cap_bytes_per_s)
    return start_s + transport.extra_s + moving_s + behind_s + one_way_s
