"""Fits the constants of `core.network.Transport` to measured transfers, by running the simulator with them.

Only what is of the ends and of headers is fitted: the payload's share of a packet, and what a round trip and a message
take beside. How windows open and close has no constant of its own (`core.network.windows`).
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import Final

from core.network import Transport

#: Lower and upper bound of each fitted constant, where the search begins, and its first step.
FITTED: Final = {
    "goodput_share": (0.80, 1.0, 0.964, 0.01),
    "extra_rtt_s": (0.0, 0.02, 0.001, 0.001),
    "extra_s": (0.0, 0.02, 0.001, 0.0005),
}
#: The search ends with steps of this share of the first ones.
_LEAST_SCALE: Final = 0.05


def fit(simulated_s: Callable[[Transport], Sequence[float]], measured_s: Sequence[float], control: str) -> Transport:
    """The transport whose simulated times are nearest to what was measured: least mean |ln(simulated / measured)|.

    Hooke and Jeeves' pattern search within the bounds of `FITTED` (J. ACM 1961): deterministic, and no derivative is
    needed where windows have steps.
    """

    def error(transport: Transport) -> float:
        pairs = zip(simulated_s(transport), measured_s, strict=True)
        return sum(abs(math.log(s / m)) for s, m in pairs) / len(measured_s)

    best = Transport(control, **{name: start for name, (_, _, start, _) in FITTED.items()})
    least = error(best)
    scale = 1.0
    while scale > _LEAST_SCALE:
        improved = False
        for name, (low, high, _, step) in FITTED.items():
            for change in (step * scale, -step * scale):
                value = min(max(getattr(best, name) + change, low), high)
                tried = dataclasses.replace(best, **{name: value})
                if tried != best and (found := error(tried)) < least - 1e-9:
                    best, least, improved = tried, found, True
                    break
        if not improved:
            scale /= 2.0
    return best


def network_keys(transport: Transport) -> dict[str, object]:
    """The constants as keys of a scenario's `network`."""
    return {
        "transport": transport.control,
        "transport_constants": {
            "goodput_share": round(transport.goodput_share, 4),
            "extra_rtt": f"{transport.extra_rtt_s * 1e3:.3f} ms",
            "extra": f"{transport.extra_s * 1e3:.3f} ms",
        },
    }


def scenario_piece(transport: Transport) -> str:
    """The constants as a piece of a scenario."""
    lines = ["network:"]
    for key, value in network_keys(transport).items():
        if isinstance(value, dict):
            lines += [f"  {key}:", *(f"    {name}: {number}" for name, number in value.items())]
        else:
            lines.append(f"  {key}: {value}")
    return "\n".join(lines) + "\n"
