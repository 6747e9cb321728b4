"""Access links: what connects a device to the Internet, and what a catalogue of them looks like.

A link is asymmetric: `up_bytes_per_s` leaves the device, `down_bytes_per_s` reaches it. `latency_s` is the one-way
delay of the access part. `loss` is a share of packets; it lowers the goodput and is not visible to actors.
"""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True)
class Link:
    """One access link, SI units."""

    name: str
    kind: str  # wifi, cellular, ethernet
    latency_s: float
    up_bytes_per_s: float
    down_bytes_per_s: float
    loss: float = 0.0
    metered: bool = False
    #: Which radio of that kind, for devices that have several, such as nr; empty: the usual one.
    radio: str = ""
