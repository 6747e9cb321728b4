"""Access links: what connects a device to the Internet, and what a catalogue of them looks like.

A link is asymmetric: `up_bytes_per_s` leaves the device, `down_bytes_per_s` reaches it. `latency_s` is the one-way
delay of the access part. `loss` is a share of packets; it lowers the goodput and is not visible to actors.
"""

from __future__ import annotations

import dataclasses
from itertools import pairwise

from core.network import Outages, Replay, Variation
from core.network.curves import Steps, constant, product, scaled, switched


@dataclasses.dataclass(frozen=True)
class Handover:
    """From `at_s` on the device is on another link; what is under way goes on at the new link's rate."""

    at_s: float
    link: Link


@dataclasses.dataclass(frozen=True)
class Link:
    """One access link, SI units."""

    name: str
    kind: str  # wifi, cellular, ethernet
    latency_s: float
    up_bytes_per_s: float
    down_bytes_per_s: float
    loss: float = 0.0
    #: Standard deviation of the natural logarithm of the rates within the class; None if it is not known.
    rate_sd_log: float | None = None
    metered: bool = False
    #: Which radio of that kind, for devices that have several, such as nr; empty: the usual one.
    radio: str = ""
    #: Up and down share the air: while one direction sends, the other waits.
    half_duplex: bool = False
    #: Behind an address translator: two such devices may need a relay.
    translated: bool = False
    #: Congestion control of what leaves by it; None: the network's.
    control: str | None = None
    variation: Variation | None = None
    outages: Outages | None = None
    #: Other links that the device changes to, in order of time.
    handovers: tuple[Handover, ...] = ()

    def __post_init__(self) -> None:
        if self.half_duplex and (self.handovers or isinstance(self.variation, Replay)):
            raise ValueError(f"link {self.name}: a half-duplex link has one air: neither a trace nor hand-overs")
        times = [0.0, *(handover.at_s for handover in self.handovers)]
        if any(not b > a for a, b in pairwise(times)):
            raise ValueError(f"link {self.name}: the times of hand-overs are above 0 and increase")
        if any(handover.link.handovers or handover.link.half_duplex for handover in self.handovers):
            raise ValueError(f"link {self.name}: what it changes to has no hand-overs of its own and is full duplex")

    @property
    def plain(self) -> bool:
        """Whether it is two rates and a delay, always the same, wherever it leads."""
        return not (
            self.half_duplex or self.control or self.variation is not None or self.outages is not None or self.handovers
        )

    def goodput_bytes_per_s(self, direction: str) -> float:
        """The nominal goodput of one direction (`up` or `down`), loss taken off."""
        return (self.up_bytes_per_s if direction == "up" else self.down_bytes_per_s) * (1.0 - self.loss)

    @property
    def varies(self) -> bool:
        """Whether its rates change."""
        return self.variation is not None or self.outages is not None or bool(self.handovers)

    def at(self, now_s: float) -> Link:
        """The link that the device is on at a time: itself, or the one of its latest hand-over."""
        found = self
        for handover in self.handovers:
            if handover.at_s <= now_s:
                found = handover.link
        return found

    def steps(self, direction: str, seed: int, owner: str) -> Steps:
        """The goodput of one direction (`up` or `down`) over time, loss taken off, bytes/s."""
        parts = [(0.0, self._own_steps(direction, seed, owner))]
        parts += [(h.at_s, h.link._own_steps(direction, seed, owner)) for h in self.handovers]
        return parts[0][1] if len(parts) == 1 else switched(parts)

    def air(self, seed: int, owner: str) -> Steps:
        """The air time of a half-duplex link over time, s a second: 1, times what varies."""
        return self._varied(constant(1.0), seed, f"{owner}/{self.name}")

    def _own_steps(self, direction: str, seed: int, owner: str) -> Steps:
        owner = f"{owner}/{self.name}"
        steps = constant(self.goodput_bytes_per_s(direction))
        if isinstance(self.variation, Replay):
            trace = self.variation.up if direction == "up" else self.variation.down
            if trace is not None:
                steps = scaled(trace.steps(self.variation.offset_s(trace, seed, owner)), 1.0 - self.loss)
        return self._varied(steps, seed, owner)

    def _varied(self, steps: Steps, seed: int, owner: str) -> Steps:
        if self.variation is not None and not isinstance(self.variation, Replay):
            steps = product(steps, self.variation.factors(seed, owner))
        if self.outages is not None:
            steps = product(steps, self.outages.factors(seed, owner))
        return steps
