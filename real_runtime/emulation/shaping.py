"""What the relay does with a packet, without any I/O: the queues, rates, delays and losses of access links.

A packet waits for its sender's uplink, takes size / rate to pass it, may be lost, travels for the delay of its path
(times its pair's jitter), waits for the receiver's downlink and passes that; none of a path overtakes another. Queues
drop what comes when they are full (drop-tail); loss is an independent draw for each packet (Bernoulli). Times are
exact: a packet that is handled late does not delay the next.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from heapq import heappop, heappush
from itertools import combinations
from math import inf
from typing import Final

import msgspec

from core.network import Jitter, JitterState
from core.network.transport import QUEUE_S, QUEUE_SEGMENTS

#: A queue holds what its link passes in `QUEUE_S`, and so many bytes at least.
LEAST_QUEUE_BYTES: Final = QUEUE_SEGMENTS * 1500
_HEADER_BYTES: Final = 20


class Port(msgspec.Struct, frozen=True):
    """One node's access link, in wall seconds and bytes of IP packets."""

    node: str
    actor: str
    address: str
    up_bytes_per_s: float
    down_bytes_per_s: float
    loss: float


class Plan(msgspec.Struct, frozen=True):
    """All links of a run: ports, the one-way delay of each path by [from][to], s, and the seed of losses and jitter."""

    ports: tuple[Port, ...]
    delay_s: tuple[tuple[float, ...], ...]
    seed: int
    #: How the delays of a pair of actors wander, in time that is `time_scale` times as long as the wall's.
    jitter: Jitter | None = None
    time_scale: float = 1.0


class Count(msgspec.Struct):
    """What a node has sent: packets, their bytes, and how many of them were lost by chance or found a full queue."""

    packets: int = 0
    bytes: int = 0
    lost: int = 0
    overflowed: int = 0


class Shaper:
    """The state of all links; times are seconds of one clock, and never go back."""

    def __init__(self, plan: Plan) -> None:
        ports = plan.ports
        self.counts = [Count() for _ in ports]
        #: Packets that were for nobody here.
        self.stray = 0
        self._by_address = {_packed(port.address): number for number, port in enumerate(ports)}
        self._delay_s = plan.delay_s
        self._lost = [[1.0 - (1.0 - a.loss) * (1.0 - b.loss) for b in ports] for a in ports]
        self._up_s_per_byte = [1.0 / port.up_bytes_per_s for port in ports]
        self._down_s_per_byte = [1.0 / port.down_bytes_per_s for port in ports]
        self._up_queue_s = [queue_s(port.up_bytes_per_s) for port in ports]
        self._down_queue_s = [queue_s(port.down_bytes_per_s) for port in ports]
        self._up_free_s = [-inf] * len(ports)
        self._down_free_s = [-inf] * len(ports)
        #: (time, number, port, packet, sender): at the downlink of `port`, or, for ~port, at its node.
        self._heap: list[tuple[float, int, int, bytes, int]] = []
        self._number = 0
        self._random = random.Random(plan.seed).random
        self._jitter: dict[tuple[int, int], JitterState] = {}
        if plan.jitter is not None:
            for a, b in combinations(range(len(ports)), 2):
                state = JitterState(plan.jitter, plan.seed, ports[a].actor, ports[b].actor)
                self._jitter[a, b] = self._jitter[b, a] = state
        self._time_scale = plan.time_scale
        #: The first packet's time: jitter's steps are counted from there.
        self._begun_s = inf
        #: When the last packet of each path that wanders gets to its downlink.
        self._latest_s: dict[tuple[int, int], float] = {}

    @property
    def next_s(self) -> float:
        """When something is to be done next; infinity if nothing is on its way."""
        return self._heap[0][0] if self._heap else inf

    def offer(self, now_s: float, sender: int, packet: bytes) -> None:
        """A node sends a packet."""
        receiver = self._by_address.get(packet[16:20]) if len(packet) >= _HEADER_BYTES and packet[0] >> 4 == 4 else None
        if receiver is None:
            # Mostly what an interface says by itself, such as solicitations of routers.
            self.stray += 1
            return
        count = self.counts[sender]
        count.packets += 1
        count.bytes += len(packet)
        at_s = self._up_free_s[sender]
        if at_s < now_s:
            at_s = now_s
        elif at_s - now_s > self._up_queue_s[sender]:
            count.overflowed += 1
            return
        self._up_free_s[sender] = at_s = at_s + len(packet) * self._up_s_per_byte[sender]
        lost = self._lost[sender][receiver]
        if lost and self._random() < lost:
            count.lost += 1
            return
        self._number += 1
        at_s += self._delay_s[sender][receiver]
        if self._jitter and sender != receiver:
            at_s = self._jittered(now_s, at_s, sender, receiver)
        heappush(self._heap, (at_s, self._number, receiver, packet, sender))

    def _jittered(self, now_s: float, at_s: float, sender: int, receiver: int) -> float:
        """When a packet that would get through at `at_s` does, with its pair's jitter, and behind those before it."""
        self._begun_s = min(self._begun_s, now_s)
        factor = self._jitter[sender, receiver].factor((now_s - self._begun_s) / self._time_scale)
        at_s += (factor - 1.0) * self._delay_s[sender][receiver]
        at_s = max(at_s, self._latest_s.get((sender, receiver), -inf))
        self._latest_s[sender, receiver] = at_s
        return at_s

    def due(self, now_s: float) -> list[tuple[int, bytes]]:
        """The packets that have reached their nodes by now, with the nodes' numbers, in order."""
        heap = self._heap
        arrived: list[tuple[int, bytes]] = []
        while heap and heap[0][0] <= now_s:
            at_s, _, port, packet, sender = heappop(heap)
            if port < 0:
                arrived.append((~port, packet))
                continue
            free_s = self._down_free_s[port]
            if free_s - at_s > self._down_queue_s[port]:
                self.counts[sender].overflowed += 1
                continue
            passed_s = max(free_s, at_s) + len(packet) * self._down_s_per_byte[port]
            self._down_free_s[port] = passed_s
            self._number += 1
            heappush(heap, (passed_s, self._number, ~port, packet, sender))
        return arrived


def queue_s(bytes_per_s: float) -> float:
    """Seconds of waiting beyond which the queue of a link is full."""
    return max(QUEUE_S, LEAST_QUEUE_BYTES / bytes_per_s)


def _packed(address: str) -> bytes:
    return bytes(int(part) for part in address.split("."))


def delays(latencies_s: Sequence[float], between_s: Sequence[Sequence[float]]) -> tuple[tuple[float, ...], ...]:
    """One-way delays of all paths: both access links and what lies between them."""
    return tuple(
        tuple(a + between + b for b, between in zip(latencies_s, row, strict=True))
        for a, row in zip(latencies_s, between_s, strict=True)
    )
