"""One TCP connection, round trip by round trip: how long so many bytes take, and what becomes of its window.

In each round trip a window of segments leaves (the round model of Padhye, Firoiu, Towsley, Kurose, SIGCOMM 1998); each
segment is lost by chance, or because the queue before the bottleneck is full. CUBIC is RFC 9438 with Linux's HyStart
(Ha, Rhee, "Taming the elephants", Computer Networks 2011), Reno is RFC 5681, losses are repaired as with SACK (RFC
6675), a lost tail after a time-out (RFC 6298). BBR keeps what the path holds, and answers no loss below 15 %.
Acknowledgements ahead of a loss open the window before it is answered, and what has left until then belongs to the same
recovery (RFC 6582: up to `recover`). Deviations: a round trip's segments are answered at its end; acknowledgements are
not lost; a time-out does not close the window to one segment; flows that share a link are alike.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from math import ceil, inf, log
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from core.network.transport import Transport

#: RFC 9438, §4: the scaling constant, segments/s³, and the decrease. Linux has the same.
_CUBIC_C: Final = 0.4
_CUBIC_BETA: Final = 0.7
#: What Reno would gain in a round trip with CUBIC's decrease, segments: 3(1 − β)/(1 + β) (RFC 9438, §4.3).
_CUBIC_GAIN: Final = 3.0 * (1.0 - _CUBIC_BETA) / (1.0 + _CUBIC_BETA)
#: Growth of a window in a round trip: at most by half, and by a twentieth at least before its first loss. Literature:
#: Linux's tcp_cubic.c.
_MOST_GROWTH: Final = 1.5
_FIRST_GROWTH: Final = 1.05
#: RFC 5681, §3.1.
_RENO_BETA: Final = 0.5
#: Loss from which BBR v1 falls off (its PROBE_BW gains cannot refill; Hock et al., ICNP 2017): literature.
_BBR_MOST_LOSS: Final = 0.15
#: HyStart, from this window on. Slow start ends with a queue of an eighth of a round trip within these bounds, s, after
#: so many acknowledgements, and where those that are so close to each other, s, span half a round trip. Literature:
#: Linux's tcp_cubic.c.
_HYSTART_WINDOW: Final = 16.0
_HYSTART_QUEUE_S: Final = (0.004, 0.016)
_HYSTART_SAMPLES: Final = 8.0
_HYSTART_TRAIN_S: Final = 0.002
#: A receiver acknowledges every second segment, and one that is left over so much later, s, or with the next (RFC 9293,
#: §3.8.6.3). Literature: Linux's TCP_DELACK_MIN.
_DELAYED_ACK_S: Final = 0.04
#: Loss beyond which nothing more is lost here: real connections give up there. Estimate.
MOST_LOSS: Final = 0.9
#: Bytes below this share of a segment are none.
_NOTHING: Final = 1e-9


@dataclasses.dataclass(slots=True)
class Connection:
    """What one direction of a connection remembers from one message to the next. Windows are in segments."""

    #: 0: it has not sent yet.
    window: float = 0.0
    #: Slow start ends here.
    threshold: float = inf
    #: CUBIC: the window before the last loss, the plateau of its curve, when that is reached, how old the curve is
    #: (below 0: it begins with the next round trip), and Reno's window beside it.
    last_max: float = 0.0
    plateau: float = 0.0
    plateau_s: float = 0.0
    curve_s: float = -1.0
    friendly: float = 0.0
    #: HyStart has ended slow start once: Linux does not ask it again before a time-out (tcp_cubic.c, `found`).
    full: bool = False

    def rest(self, transport: Transport, idle_s: float, rtt_s: float) -> None:
        """Stand idle: the window halves with every time-out that passes (RFC 2861); BBR keeps its own."""
        rto_s = rtt_s + transport.min_rto_s
        if transport.control == "bbr" or idle_s <= rto_s:
            return
        self.threshold = max(self.threshold, 0.75 * self.window)
        first = min(transport.initial_window, self.window)
        while idle_s > rto_s and self.window > first:
            self.window = max(self.window / 2.0, first)
            idle_s -= rto_s

    def lose(self, cubic: bool) -> None:
        """Answer a round trip with losses. What is left is whole segments, as in Linux."""
        beta = _CUBIC_BETA if cubic else _RENO_BETA
        # Fast convergence (RFC 9438, §4.7): a flow that loses earlier than before leaves room to others.
        self.last_max = self.window * (1.0 + beta) / 2.0 if self.window < self.last_max else self.window
        self.curve_s = -1.0
        self.window = self.threshold = max(float(int(self.window * beta)), 2.0)

    def follow_curve(self, round_s: float, share: float = 1.0) -> None:
        """Grow by a share of a round trip on CUBIC's curve (RFC 9438, §4.2), and no less than Reno would."""
        if self.curve_s < 0.0:
            self.curve_s = 0.0
            self.friendly = self.window
            self.plateau = max(self.last_max, self.window)
            self.plateau_s = ((self.plateau - self.window) / _CUBIC_C) ** (1.0 / 3.0)
        self.curve_s += share * round_s
        self.friendly += share * _CUBIC_GAIN
        # The target is a round trip ahead, and reached in one: at its end the window is where the curve is.
        target = self.plateau + _CUBIC_C * (self.curve_s - self.plateau_s) ** 3
        if self.last_max == 0.0:
            target = max(target, self.window * (1.0 + share * (_FIRST_GROWTH - 1.0)))
        most = self.window * (1.0 + share * (_MOST_GROWTH - 1.0))
        self.window = max(self.window, min(target, most), self.friendly)


@dataclasses.dataclass(frozen=True, slots=True)
class Moved:
    """How a message fared: the time until its last byte has left, and of that the time and bytes before any loss."""

    seconds: float
    unharmed_s: float
    unharmed_bytes: float
    harmed: bool


def gaps(loss: float, uniform: Callable[[], float]) -> Callable[[], float]:
    """How many segments arrive before the next that is lost: geometric, from draws from 0 up to, but below 1."""
    if loss <= 0.0:
        return lambda: inf
    scale = 1.0 / log(1.0 - min(loss, MOST_LOSS))
    return lambda: log(1.0 - uniform()) * scale // 1.0


def move(
    connection: Connection,
    transport: Transport,
    size_bytes: float,
    rate_bytes_per_s: float,
    rtt_s: float,
    *,
    loss: float = 0.0,
    gap: Callable[[], float] = lambda: inf,
    flows: int = 1,
) -> Moved:
    """Send a message over a path with such a goodput for it, and such a round trip; the connection changes.

    `flows` like it share the queue. `gap` says how many segments arrive before one of `loss` is lost.
    """
    c = connection
    cubic, deaf = transport.control == "cubic", transport.control == "bbr" and loss < _BBR_MOST_LOSS
    pace_s = transport.mss_bytes / rate_bytes_per_s
    full = rtt_s / pace_s
    queue = max(transport.queue_s / pace_s, transport.queue_segments / flows)
    most = max(transport.max_window_bytes / transport.mss_bytes, 1.0)
    if deaf:
        most = min(most, 2.0 * full + transport.initial_window)
    if c.window == 0.0:
        c.window = min(transport.initial_window, most)
    whole = left = size_bytes / transport.mss_bytes
    clock_s, unharmed, before_loss = 0.0, (0.0, 0.0), gap()
    harmed, first = False, True
    # Segments of this round trip that had left before the loss of the one before it was answered.
    recovering, covered = False, 0.0
    while True:
        starting = c.window < c.threshold
        count = min(float(int(max(c.window, 1.0))), left)
        segments = ceil(count)
        missing, at = 0.0, before_loss
        answered_at = inf
        last_missing = False
        while at < segments:
            missing += 1.0
            last_missing = at + 1.0 >= segments
            if at >= covered:
                answered_at = min(answered_at, at)
            at += 1.0 + gap()
        before_loss = at - segments
        over = 0.0
        if not deaf:
            # Slow start sends two segments for each that has arrived: half a window waits even on a longer path. A
            # first window comes all at once, and while that of one flow comes, others' come too.
            burst = count * (1.0 - 1.0 / flows) if first else 0.5 * count if starting else 0.0
            over = max(count - full, burst) - queue
            if over >= 1.0 or (first and over * flows >= 1.0):
                # What comes last finds the queue full; one of a window finds room, however many flows there are.
                over = min(max(over, 1.0), segments - 1.0)
                missing, last_missing = min(missing + over, float(segments)), last_missing or over > 0.0
                # Those that its acknowledgements let leave meanwhile find it full too.
                answered_at = 0.0
            else:
                over = 0.0
        if missing and not harmed:
            harmed, unharmed = True, (clock_s, (whole - left) * transport.mss_bytes)
        first = False
        arrived = max(count - missing, 0.0)
        left -= arrived
        if left <= _NOTHING:
            clock_s += arrived * pace_s
            break
        round_s = rtt_s
        if count % 2.0 and not (starting or recovering or missing or deaf):
            # One of an odd window waits for its acknowledgement, and keeps its place in the window meanwhile.
            round_s += rtt_s / count * (1.0 if rtt_s <= _DELAYED_ACK_S else _DELAYED_ACK_S / (rtt_s + _DELAYED_ACK_S))
        round_s = max(round_s, arrived * pace_s)
        if last_missing and left <= missing + _NOTHING and missing > 1.0 and not over:
            # The repair of one that went before it is acknowledged behind it (RFC 8985, §6).
            round_s += round_s
        elif missing >= segments or (last_missing and left <= missing + _NOTHING):
            # Nothing comes behind it that would tell of its loss: a time-out, which repairs one, and tells of more. A
            # probe before that would find the queue as full as they did.
            round_s += transport.min_rto_s + (round_s if missing > 1.0 else 0.0)
        clock_s += round_s
        if missing and not deaf:
            if answered_at < inf:
                ahead = max(min(answered_at - covered, arrived), 0.0)
                if starting and not recovering:
                    c.window = min(c.window + ahead, c.threshold)
                elif ahead:
                    _avoid(c, cubic, round_s, ahead / segments)
                c.lose(cubic)
                covered = (2.0 if starting else 1.0) * ahead
            else:
                covered = 0.0
            recovering = True
        elif recovering:
            _avoid(c, cubic, round_s, max(1.0 - covered / segments, 0.0))
            recovering, covered = False, 0.0
        elif starting:
            c.window = min(c.window + arrived, c.threshold)
            if cubic and c.window >= _HYSTART_WINDOW and not c.full:
                _hystart(c, count, full, pace_s, rtt_s)
        elif not deaf:
            _avoid(c, cubic, round_s, 1.0)
        c.window = min(c.window, most)
    return Moved(clock_s, *(unharmed if harmed else (clock_s, size_bytes)), harmed)


def _avoid(c: Connection, cubic: bool, round_s: float, share: float) -> None:
    """Avoid congestion for a share of a round trip."""
    if cubic:
        c.follow_curve(round_s, share)
    else:
        c.window += share


def _hystart(c: Connection, count: float, full: float, pace_s: float, rtt_s: float) -> None:
    """End slow start where the acknowledgements of a window say that the path is full."""
    queue_s = min(max(rtt_s / 8.0, _HYSTART_QUEUE_S[0]), _HYSTART_QUEUE_S[1])
    if (count - full) * pace_s > queue_s:
        c.window = c.threshold = count + _HYSTART_SAMPLES
        c.full = True
    # A receiver acknowledges every second segment.
    elif 2.0 * pace_s <= _HYSTART_TRAIN_S and count >= full / 2.0:
        c.window = c.threshold = count + full / 2.0
        c.full = True
