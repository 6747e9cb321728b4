"""How long a transfer over TCP should take, as a closed form, and the constants of it that fit measurements.

After Cardwell, Savage, Anderson, "Modeling TCP latency", INFOCOM 2000: slow start doubles the window from its initial
size in every round trip until it fills the path; what comes after the first loss that is to be expected moves at the
rate that loss leaves, where the link's share is not less: by Mathis et al. (CCR 1997) for Reno, by RFC 8312, eq. 6 for
CUBIC; BBR does not answer loss below 15 %. Deviations: a factor on those rates is fitted, the recovery of the first
loss costs nothing, and a packet passes two links one after the other, as it does in the emulation.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import Final

from aivsim.transfers import Route

#: Bytes of a full packet at the IP layer, and of its payload: 20 of IP, 32 of TCP with time stamps (RFC 7323).
PACKET_BYTES: Final = 1500.0
MSS_BYTES: Final = 1448.0
#: Loss above which BBR falls off (network.md, §3).
_BBR_MOST_LOSS: Final = 0.15


@dataclasses.dataclass(frozen=True)
class Constants:
    """What is fitted. The defaults are those of the RFCs, and the shares of headers."""

    #: Bytes of frames over bytes of packets: TCP and IP headers, and 22 bytes for each TLS record of 16 KiB.
    goodput_share: float = MSS_BYTES / PACKET_BYTES * 16384 / (16384 + 22)
    #: Segments that may leave before the first acknowledgement (RFC 6928).
    initial_window: float = 10.0
    #: What a round trip takes beside twice the delay and the passing of packets, s.
    extra_rtt_s: float = 0.0
    #: What every message takes beside: the work of both ends, s.
    extra_s: float = 0.0
    #: The rate that loss leaves, over that of the formula.
    loss_factor: float = 1.0


#: Lower and upper bound of each constant in a fit, and the first step of the search.
BOUNDS: Final = {
    "goodput_share": (0.80, 1.0, 0.01),
    "initial_window": (5.0, 40.0, 2.0),
    "extra_rtt_s": (0.0, 0.02, 0.001),
    "extra_s": (0.0, 0.02, 0.0005),
    "loss_factor": (0.3, 3.0, 0.1),
}


def loss_limited_bytes_per_s(rtt_s: float, loss: float, congestion: str) -> float:
    """The payload that one connection carries at most with such a loss."""
    if loss <= 0.0 or (congestion == "bbr" and loss < _BBR_MOST_LOSS):
        return math.inf
    window = math.sqrt(1.5 / loss)
    if congestion == "cubic":
        window = max(window, 1.054 * (rtt_s / loss) ** 0.75)
    return window * MSS_BYTES / rtt_s


def before_loss_bytes(size_bytes: float, loss: float) -> float:
    """What of a transfer is sent until its first loss, or its end, in the mean (Cardwell et al., eq. 5)."""
    if loss <= 0.0:
        return size_bytes
    segments = size_bytes / MSS_BYTES
    return float((1.0 - (1.0 - loss) ** segments) * (1.0 - loss) / loss + 1.0) * MSS_BYTES


def slow_start_s(size_bytes: float, rate_bytes_per_s: float, rtt_s: float, window_bytes: float) -> float:
    """What slow start adds to size / rate: rounds until the window fills the path, less what they have carried."""
    full, sent, rounds = rate_bytes_per_s * rtt_s, 0.0, 0
    while window_bytes < full and sent + window_bytes < size_bytes:
        sent += window_bytes
        window_bytes *= 2.0
        rounds += 1
    return rounds * rtt_s - sent / rate_bytes_per_s


def predicted_s(route: Route, flows: int, size_bytes: float, congestion: str, constants: Constants) -> float:
    """Time until the last of `flows` equal frames has arrived, all sent at once on connections that have rested."""
    rate = route.rate_bytes_per_s
    packet_s = min(PACKET_BYTES, size_bytes / constants.goodput_share) / rate
    # An acknowledgement is small; a packet passes the sender's link and the receiver's.
    rtt_s = 2.0 * route.delay_s + 2.0 * packet_s + constants.extra_rtt_s
    share = rate * constants.goodput_share * (1.0 - route.loss) / flows
    limited = constants.loss_factor * loss_limited_bytes_per_s(rtt_s, route.loss, congestion)
    unharmed_bytes = size_bytes if limited >= share else min(size_bytes, before_loss_bytes(size_bytes, route.loss))
    moving_s = unharmed_bytes / share + (size_bytes - unharmed_bytes) / min(share, limited)
    if congestion != "bbr":
        # BBR goes on at the rate that it knows; the others begin anew after a rest (RFC 2861).
        moving_s += slow_start_s(unharmed_bytes, share, rtt_s, constants.initial_window * MSS_BYTES)
    return route.delay_s + packet_s + constants.extra_s + moving_s


def fit(
    predict: Callable[[Constants], Sequence[float]], measured_s: Sequence[float], start: Constants | None = None
) -> Constants:
    """The constants whose predictions are nearest to what was measured: least mean |ln(predicted / measured)|.

    Hooke and Jeeves' pattern search within `BOUNDS` (J. ACM 1961): deterministic, and no derivative is needed where
    slow start has steps.
    """

    def error(constants: Constants) -> float:
        pairs = zip(predict(constants), measured_s, strict=True)
        return sum(abs(math.log(p / m)) for p, m in pairs) / len(measured_s)

    best = start or Constants()
    least = error(best)
    scale = 1.0
    while scale > 1e-3:
        improved = False
        for name, (low, high, step) in BOUNDS.items():
            for change in (step * scale, -step * scale):
                value = min(max(getattr(best, name) + change, low), high)
                tried = dataclasses.replace(best, **{name: value})
                if (found := error(tried)) < least - 1e-12:
                    best, least, improved = tried, found, True
                    break
        if not improved:
            scale /= 2.0
    return best
