"""What the relay does with a packet, without any I/O: the queues, rates, delays and losses of access links.

A packet waits for its sender's uplink, takes size / rate to pass it, may be lost, travels for the delay of its path,
waits for the receiver's downlink and passes that. Queues drop what comes when they are full (drop-tail); loss is an
independent draw for each packet (Bernoulli). Times are exact: a packet that is handled late does not delay the next.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from heapq import heappop, heappush
from math import inf
from typing import Final

import msgspec

#: A queue holds what its link passes in this time, s …
QUEUE_S: Final = 0.1
#: … and so many bytes at least: 32 full packets. Access links are known for more (bufferbloat); estimate.
LEAST_QUEUE_BYTES: Final = 32 * 1500
_HEADER_BYTES: Final = 20


class Port(msgspec.Struct, frozen=True):
    """One node's access link, in wall seconds and bytes of IP packets."""

    node: str
    address: str
    up_bytes_per_s: float
    down_bytes_per_s: float
    loss: float


class Plan(msgspec.Struct, frozen=True):
    """All links of a run: ports, the one-way delay of each path by [from][to], s, and the seed of the losses."""

    ports: tuple[Port, ...]
    delay_s: tuple[tuple[float, ...], ...]
    seed: int


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
        heappush(self._heap, (at_s + self._delay_s[sender][receiver], self._number, receiver, packet, sender))

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
