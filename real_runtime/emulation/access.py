"""One node's access link at the relay: its rates over time, from the values that the simulator has, and what they pass.

Times are seconds of the wall. Before the study begins a link has its nominal rates; from then on what varies is the
`core.network.Curve` of `core.links.Link`, drawn from the same seed and names, in the study's time. Loss is not taken
off the rates, as in the simulator's goodput: the relay draws it for each packet.
"""

from __future__ import annotations

import dataclasses
from math import inf
from typing import Final

import msgspec

from core.links import Handover, Link
from core.network import Autoregressive, Curve, Markov, Outages, Replay
from core.network.curves import Steps
from core.network.transport import QUEUE_S, QUEUE_SEGMENTS

#: A queue holds what its link passes in `QUEUE_S`, and so many bytes at least.
LEAST_QUEUE_BYTES: Final = QUEUE_SEGMENTS * 1500


class Stage(msgspec.Struct, frozen=True, kw_only=True):
    """A `Link` as it goes to the relay, from a time of the study on: variations by their kinds, to tell them apart."""

    from_s: float
    name: str
    latency_s: float
    up_bytes_per_s: float
    down_bytes_per_s: float
    loss: float
    half_duplex: bool = False
    fading: Autoregressive | None = None
    states: Markov | None = None
    trace: Replay | None = None
    outages: Outages | None = None

    @classmethod
    def of(cls, link: Link, from_s: float) -> Stage:
        """A link without its hand-overs."""
        varies = link.variation
        return cls(
            from_s=from_s,
            name=link.name,
            latency_s=link.latency_s,
            up_bytes_per_s=link.up_bytes_per_s,
            down_bytes_per_s=link.down_bytes_per_s,
            loss=link.loss,
            half_duplex=link.half_duplex,
            fading=varies if isinstance(varies, Autoregressive) else None,
            states=varies if isinstance(varies, Markov) else None,
            trace=varies if isinstance(varies, Replay) else None,
            outages=link.outages,
        )

    def link(self) -> Link:
        """The link again, as far as packets notice it; of loss each has its own draw."""
        return Link(
            name=self.name,
            kind="",
            latency_s=self.latency_s,
            up_bytes_per_s=self.up_bytes_per_s,
            down_bytes_per_s=self.down_bytes_per_s,
            half_duplex=self.half_duplex,
            variation=self.fading or self.states or self.trace,
            outages=self.outages,
        )


def stages(link: Link) -> tuple[Stage, ...]:
    """A link and what it changes to."""
    return (Stage.of(link, 0.0), *(Stage.of(change.link, change.at_s) for change in link.handovers))


class Lane:
    """What a link passes one packet after the other: bytes of one direction, or the air that both of them share, s.

    A packet takes some units of the lane, of which `rate` pass in a second of the study, or as many as `steps` say.
    """

    __slots__ = ("_curve", "_free_s", "_latest_s", "_origin_s", "_s_per_unit", "_scale")

    def __init__(self, rate: float, scale: float, steps: Steps | None) -> None:
        self._s_per_unit = scale / rate
        self._scale = scale
        self._curve = None if steps is None else Curve(steps)
        #: When the study began; what varies does so from then on.
        self._origin_s = inf
        self._free_s = -inf
        self._latest_s = -inf

    def begin(self, origin_s: float) -> None:
        """The study began at `origin_s`."""
        self._origin_s = origin_s

    def take(self, at_s: float, units: float, room_units: float) -> float | None:
        """When a packet that comes at `at_s` has passed; None if more than `room_units` wait, and it is dropped."""
        # Of a half-duplex link one direction may be looked at a moment later than the other.
        self._latest_s = at_s = max(at_s, self._latest_s)
        curve, origin_s = self._curve, self._origin_s
        if curve is None or at_s < origin_s:
            if (self._free_s - at_s) / self._s_per_unit > room_units:
                return None
            self._free_s = max(self._free_s, at_s) + units * self._s_per_unit
            return self._free_s
        now_s = (at_s - origin_s) / self._scale
        free_s = max((self._free_s - origin_s) / self._scale, now_s)
        curve.forget(now_s)
        if free_s > now_s and curve.passed(free_s) - curve.passed(now_s) > room_units:
            return None
        self._free_s = origin_s + self._scale * curve.time_after(free_s, units)
        return self._free_s


class Direction:
    """One direction of a link: its lane, what a byte takes of it, and how much may wait for it, in the lane's units."""

    __slots__ = ("_lane", "_room", "_unit_per_byte")

    def __init__(self, lane: Lane) -> None:
        self._lane = lane
        self._unit_per_byte = self._room = 0.0

    def set_rate(self, bytes_per_s: float, *, air: bool, scale: float) -> None:
        """Have a nominal rate, of which the lane's units are bytes or, with `air`, seconds."""
        self._unit_per_byte = 1.0 / bytes_per_s if air else 1.0
        self._room = queue_bytes(bytes_per_s / scale) * self._unit_per_byte

    def take(self, at_s: float, size_bytes: int) -> float | None:
        """When a packet that comes at `at_s` has passed; None if the queue is full."""
        return self._lane.take(at_s, size_bytes * self._unit_per_byte, self._room)


class Access:
    """A node's link at present. `latency_s` is in seconds of the wall."""

    def __init__(self, parts: tuple[Stage, ...], owner: str, seed: int, scale: float) -> None:
        changes = tuple(Handover(stage.from_s, stage.link()) for stage in parts[1:])
        whole = dataclasses.replace(parts[0].link(), handovers=changes)
        self._scale = scale
        self._coming = list(parts)
        if whole.half_duplex:
            air = Lane(1.0, scale, whole.air(seed, owner) if whole.varies else None)
            self._lanes = [air, air]
        else:
            self._lanes = [
                Lane(rate, scale, whole.steps(direction, seed, owner) if whole.varies else None)
                for direction, rate in (("up", whole.up_bytes_per_s), ("down", whole.down_bytes_per_s))
            ]
        self.up, self.down = (Direction(lane) for lane in self._lanes)
        self._origin_s = inf
        self._change()

    def begin(self, origin_s: float) -> None:
        """The study began at `origin_s`."""
        self._origin_s = origin_s
        for lane in self._lanes:
            lane.begin(origin_s)

    @property
    def change_s(self) -> float:
        """When the node changes to its next link; infinity for never, or as long as the study has not begun."""
        return self._origin_s + self._scale * self._coming[0].from_s if self._coming else inf

    def follow(self, now_s: float) -> None:
        """Be on the link of a time, which never goes back."""
        while self.change_s <= now_s:
            self._change()

    def _change(self) -> None:
        stage = self._coming.pop(0)
        self.latency_s = stage.latency_s * self._scale
        self.loss = stage.loss
        for direction, rate in ((self.up, stage.up_bytes_per_s), (self.down, stage.down_bytes_per_s)):
            direction.set_rate(rate, air=stage.half_duplex, scale=self._scale)


def queue_bytes(bytes_per_s: float) -> float:
    """Bytes beyond which the queue of a link of a rate is full."""
    return max(QUEUE_S * bytes_per_s, float(LEAST_QUEUE_BYTES))
