"""What the relay does with a packet, without any I/O: the queues, rates, delays and losses of access links.

A packet waits for its sender's uplink, takes size / rate to pass it (of a rate that varies, until its integral has the
size), may be lost, travels for the delay of its path
(times its pair's jitter), waits for the receiver's downlink and passes that; none of a path overtakes another. Queues
drop what comes when they are full (drop-tail); loss is an independent draw for each packet (Bernoulli). Times are
exact: a packet that is handled late does not delay the next.
"""

from __future__ import annotations

import random
from heapq import heappop, heappush
from itertools import combinations
from math import inf
from typing import Final

import msgspec

from core.network import Jitter, JitterState
from real_runtime.emulation.access import Access, Stage

_HEADER_BYTES: Final = 20
#: A packet that is passed on so much later than its links say is late: this machine cannot keep up with them, s.
LATE_S: Final = 0.002


class Port(msgspec.Struct, frozen=True):
    """One node's access link, and what it changes to, in the study's seconds and bytes of IP packets."""

    node: str
    actor: str
    address: str
    stages: tuple[Stage, ...]


class Plan(msgspec.Struct, frozen=True):
    """All links of a run: ports, the one-way delay between the access links of each path by [from][to], s of the study,
    and the seed of losses, jitter and rates."""

    ports: tuple[Port, ...]
    between_s: tuple[tuple[float, ...], ...]
    seed: int
    #: How the delays of a pair of actors wander.
    jitter: Jitter | None = None
    #: Seconds of the wall for one of the study.
    time_scale: float = 1.0


class Count(msgspec.Struct):
    """What a node has sent: packets, their bytes, and how many of them were lost by chance, found a full queue, or were
    passed on late."""

    packets: int = 0
    bytes: int = 0
    lost: int = 0
    overflowed: int = 0
    late: int = 0


class Told(msgspec.Struct):
    """What a relay tells at its end: what each node has sent, and the processor time that carrying it took, s."""

    counts: list[Count]
    processor_s: float


class Shaper:
    """The state of all links; times are seconds of one clock of the wall, and never go back."""

    def __init__(self, plan: Plan) -> None:
        ports = plan.ports
        self.counts = [Count() for _ in ports]
        #: Packets that were for nobody here.
        self.stray = 0
        self._by_address = {_packed(port.address): number for number, port in enumerate(ports)}
        scale = plan.time_scale
        self._access = [Access(port.stages, port.actor, plan.seed, scale) for port in ports]
        self._between_s = [[delay_s * scale for delay_s in row] for row in plan.between_s]
        #: (time, number, port, packet, sender): at the downlink of `port`, or, for ~port, at its node.
        self._heap: list[tuple[float, int, int, bytes, int]] = []
        self._number = 0
        self._random = random.Random(plan.seed).random
        self._jitter: dict[tuple[int, int], JitterState] = {}
        if plan.jitter is not None:
            for a, b in combinations(range(len(ports)), 2):
                state = JitterState(plan.jitter, plan.seed, ports[a].actor, ports[b].actor)
                self._jitter[a, b] = self._jitter[b, a] = state
        self._time_scale = scale
        self._origin_s = inf
        #: When the next of the nodes changes its link.
        self._change_s = inf
        self._delays_change = plan.jitter is not None or any(len(port.stages) > 1 for port in ports)
        #: When the last packet of each path gets to its downlink, if delays change.
        self._latest_s: dict[tuple[int, int], float] = {}

    @property
    def next_s(self) -> float:
        """When something is to be done next; infinity if nothing is on its way."""
        return self._heap[0][0] if self._heap else inf

    def begin(self, origin_s: float) -> None:
        """The study began at `origin_s`: what changes with time is counted from there, and stands still before."""
        self._origin_s = origin_s
        for access in self._access:
            access.begin(origin_s)
        self._change_s = min(access.change_s for access in self._access)

    def offer(self, now_s: float, sender: int, packet: bytes) -> None:
        """A node sends a packet."""
        receiver = self._by_address.get(packet[16:20]) if len(packet) >= _HEADER_BYTES and packet[0] >> 4 == 4 else None
        if receiver is None:
            # Mostly what an interface says by itself, such as solicitations of routers.
            self.stray += 1
            return
        if now_s >= self._change_s:
            self._follow(now_s)
        count = self.counts[sender]
        count.packets += 1
        count.bytes += len(packet)
        here, there = self._access[sender], self._access[receiver]
        at_s = here.up.take(now_s, len(packet))
        if at_s is None:
            count.overflowed += 1
            return
        lost = 1.0 - (1.0 - here.loss) * (1.0 - there.loss)
        if lost and self._random() < lost:
            count.lost += 1
            return
        self._number += 1
        delay_s = here.latency_s + self._between_s[sender][receiver] + there.latency_s
        if self._delays_change and sender != receiver:
            at_s = self._in_order(now_s, at_s, delay_s, sender, receiver)
        else:
            at_s += delay_s
        heappush(self._heap, (at_s, self._number, receiver, packet, sender))

    def _follow(self, now_s: float) -> None:
        for access in self._access:
            access.follow(now_s)
        self._change_s = min(access.change_s for access in self._access)

    def _in_order(self, now_s: float, at_s: float, delay_s: float, sender: int, receiver: int) -> float:
        """When a packet that has left at `at_s` arrives, with its pair's jitter, and behind those before it."""
        if self._jitter:
            study_s = max(now_s - self._origin_s, 0.0) / self._time_scale
            delay_s *= self._jitter[sender, receiver].factor(study_s)
        at_s = max(at_s + delay_s, self._latest_s.get((sender, receiver), -inf))
        self._latest_s[sender, receiver] = at_s
        return at_s

    def due(self, now_s: float) -> list[tuple[int, bytes]]:
        """The packets that have reached their nodes by now, with the nodes' numbers, in order."""
        heap = self._heap
        arrived: list[tuple[int, bytes]] = []
        late_s = now_s - LATE_S
        while heap and heap[0][0] <= now_s:
            at_s, _, port, packet, sender = heappop(heap)
            if port < 0:
                if at_s < late_s:
                    self.counts[sender].late += 1
                arrived.append((~port, packet))
                continue
            passed_s = self._access[port].down.take(at_s, len(packet))
            if passed_s is None:
                self.counts[sender].overflowed += 1
                continue
            self._number += 1
            heappush(heap, (passed_s, self._number, ~port, packet, sender))
        return arrived


def _packed(address: str) -> bytes:
    return bytes(int(part) for part in address.split("."))
