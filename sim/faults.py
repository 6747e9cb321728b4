"""Nodes whose messages a fault may touch, and actors whose clock may be wrong; `core.faults` says what is to be done.

Which nodes these are is known from the deployment before the run, so that all others pay nothing. A message meets the
faults of messages when its actor sends it and when it comes to the receiver's link; then it waits where a partition or
a link that is down is in its way. What the runtime itself says (a refusal, news of a peer) is never touched.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

from core.actor import DeadlineExceeded, Message, Refusal
from core.deployment import Deployment, Fault, MessageFault, Partition, Placement
from core.faults import IN, OUT, ActorClock, Kept, MessageFaults
from core.records.rows import ImpairedRow
from core.wire import copy_of, frame_size
from sim.cell import Cell, LocalMessage
from sim.engine import Call
from sim.node import GONE, OFF, UP, Node
from sim.task import Deadline

if TYPE_CHECKING:
    from sim.dormant import Dormant
    from sim.world import World


def touched(deployment: Deployment) -> frozenset[str]:
    """Names of the actors that need a `FaultyNode`."""
    names: set[str] = set()
    for fault in deployment.faults:
        if isinstance(fault, Partition):
            names.update(fault.side)
        elif isinstance(fault, MessageFault) or fault.after_messages is not None:
            names.add(fault.target)
    return frozenset(names)


class FaultyNode(Node):
    """A node that looks at every message that it sends or gets. It never rests."""

    rests: ClassVar[bool] = False

    __slots__ = ("apart_in", "apart_out", "arrived", "awaiting", "message_faults")

    def __init__(
        self, world: World, placement: Placement, dormant: Dormant | None = None, index: int = -1, user: int = 0
    ) -> None:
        super().__init__(world, placement, dormant, index, user)
        self.message_faults = MessageFaults(world.seed, placement.name)
        #: Messages that wait for the end of a partition.
        self.apart_in: deque[tuple[Message, int, float]] = deque()
        self.apart_out: deque[tuple[str, Message]] = deque()
        #: Messages that have come to the device, and the faults that begin with their number, the first first.
        self.arrived = 0
        found = [fault for fault in world.deployment.faults_of(placement.name) if fault.after_messages is not None]
        self.awaiting: deque[Fault] = deque(sorted(found, key=lambda fault: fault.after_messages or 0))

    # Out.

    def transmit(self, to: str, message: Message) -> None:
        if self.state >= OFF or not self._may_leave(to, message):
            super().transmit(to, message)
            return
        if type(message) is Refusal:
            self.pass_out(to, message)
            return
        size = frame_size(to, message)
        for peer, copy in self._offered(OUT, to, message, size, (to, message)):
            self.pass_out(peer, copy)

    def _may_leave(self, to: str, message: Message) -> bool:
        """Whether nothing but a fault keeps a message from leaving."""
        known = type(message) in self.kinds and self.world.find(to) is not None
        return known and frame_size(to, message) <= self.limit_bytes

    def pass_out(self, to: str, message: Message) -> None:
        if self.separated(to):
            self.apart_out.append((to, message))
            self._note("partition", self.name, to, message, frame_size(to, message))
        else:
            super().transmit(to, message)

    # In.

    def deliver(self, message: Message, size: int, sent: float) -> None:
        if self.state >= OFF:
            super().deliver(message, size, sent)
        elif type(message) is Refusal:
            self.pass_in(message, size, sent)
        else:
            for arrival in self._offered(IN, message.sender, message, size, (message, size, sent)):
                self.pass_in(*arrival)

    def pass_in(self, message: Message, size: int, sent: float) -> None:
        if self.state < OFF and self.separated(message.sender):
            self.apart_in.append((message, size, sent))
            self._note("partition", message.sender, self.name, message, size)
            return
        arrives = self.state == UP
        super().deliver(message, size, sent)
        if arrives:
            self.arrived += 1
            while self.awaiting and (self.awaiting[0].after_messages or 0) <= self.arrived:
                self.world.outages.begin(self.awaiting.popleft())

    # Faults.

    def separated(self, peer: str) -> bool:
        """Whether a partition is between this actor and another."""
        return any(partition.separates(self.name, peer) for partition in self.world.outages.partitions)

    def heal_in(self) -> None:
        """A partition is over: what has waited to come in does, unless another one is still in its way."""
        waiting, self.apart_in = self.apart_in, deque()
        for message, size, sent in waiting:
            self._again(self.apart_in, message.sender, (message, size, sent), self.pass_in)

    def heal_out(self) -> None:
        """The same for what has waited to leave."""
        self.channels.resume(self.separated)
        waiting, self.apart_out = self.apart_out, deque()
        for to, message in waiting:
            self._again(self.apart_out, to, (to, message), self.pass_out)

    def _again(self, waiting: deque[Any], peer: str, item: tuple[Any, ...], go_on: Any) -> None:
        if self.separated(peer):
            waiting.append(item)
        else:
            go_on(*item)

    def stop(self, state: int, reason: str) -> None:
        if state == GONE:
            # It has been sent before its actor left.
            for item in self.message_faults.release_all(OUT):
                self.pass_out(*item)
        super().stop(state, reason)
        for arrival in (*self.message_faults.release_all(IN), *self.apart_in):
            super().deliver(*arrival)
        for to, message in (*self.message_faults.release_all(OUT), *self.apart_out):
            self.world.undelivered(self.name, to, type(message), frame_size(to, message), reason)
        self.apart_in.clear()
        self.apart_out.clear()

    def _offered(
        self, way: str, peer: str, message: Message, size: int, item: tuple[Any, ...]
    ) -> Iterator[tuple[Any, ...]]:
        """What may pass the link now that a message has come to it."""
        fate = self.message_faults.offer(way, peer, message, item)
        sender, receiver = (self.name, peer) if way == OUT else (peer, self.name)
        for effect in fate.effects:
            self._note(effect, sender, receiver, message, size)
        if "lost" in fate.effects:
            self.world.undelivered(sender, receiver, type(message), size, "lost")
            if way == OUT:
                self.count_sent(size)
        if fate.kept is not None:
            Call(self.env, self.env.now + fate.kept.delay_s, partial(self._release_kept, way, fate.kept))
        return _distinct(fate.passing)

    def _release_kept(self, way: str, kept: Kept) -> None:
        for item in _distinct(self.message_faults.release(kept)):
            if way == OUT:
                self.pass_out(*item)
            else:
                self.pass_in(*item)

    def _note(self, fault: str, sender: str, receiver: str, message: Message, size: int) -> None:
        self.world.record(
            self.name,
            ImpairedRow(fault=fault, sender=sender, receiver=receiver, type=type(message).__name__, size_bytes=size),
        )


def _distinct(items: list[tuple[Any, ...]]) -> Iterator[tuple[Any, ...]]:
    """The items; one that stands there twice has a message of its own the second time."""
    seen: set[int] = set()
    for item in items:
        if id(item) in seen:
            yield tuple(copy_of(part) if isinstance(part, Message) else part for part in item)
        else:
            seen.add(id(item))
            yield item


class FaultyStrictNode(FaultyNode):
    """The same with messages that are encoded and decoded (`strict_wire`)."""

    __slots__ = ()

    def transmit(self, to: str, message: Message) -> None:
        super().transmit(to, self.world.through_the_wire(to, message))


class SkewedCell(Cell):
    """A live actor whose clock may be wrong: what it is told of time, and its timers, are by that clock."""

    __slots__ = ("clock",)

    def __init__(self, world: World, node: Node, actor: Any) -> None:
        super().__init__(world, node, actor)
        self.clock: ActorClock = world.outages.clocks[node.name]

    @property
    def now(self) -> float:
        return self.clock.reading(self.world.env._now)

    async def sleep(self, seconds: float) -> None:
        await super().sleep(self.clock.true(seconds))

    def later(self, delay: float, message: Message) -> LocalMessage:
        return super().later(self.clock.true(delay), message)

    def deadline(self, seconds: float) -> Deadline:
        return Deadline(self.world.env, seconds, self.clock.rate)

    async def request(self, to: str, message: Message, *, timeout: float) -> Message:
        try:
            return await super().request(to, message, timeout=self.clock.true(timeout))
        except DeadlineExceeded:
            raise DeadlineExceeded(timeout) from None

    async def receive(self, *, timeout: float | None = None) -> Message:
        if timeout is None:
            return await super().receive()
        try:
            return await super().receive(timeout=self.clock.true(timeout))
        except DeadlineExceeded:
            raise DeadlineExceeded(timeout) from None
