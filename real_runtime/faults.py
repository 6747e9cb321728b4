"""The faults of one place of the real world: when they begin and end, and what they do; `core.faults` has the rules.

The order is the simulator's: a message meets the faults of messages when its actor sends it and when it comes to the
receiver's place; then it waits where a partition or a link that is down is in its way.
"""

from __future__ import annotations

import asyncio
import math
from collections import Counter, deque
from typing import Any, Protocol

from core.actor import Message, Refusal
from core.deployment import ClockSkew, Deployment, Fault, MessageFault, Partition, Slowdown
from core.faults import IN, OUT, ActorClock, Kept, MessageFaults, described
from core.records.rows import FaultRow, ImpairedRow, Row
from core.wire import frame_size

#: What turns a device off.
STOPS = frozenset(("crash", "battery_pulled"))


class Afflicted(Protocol):
    """What faults ask of the place that they befall."""

    name: str

    def note(self, row: Row) -> None:
        """Record a row."""

    def mark(self, event: str) -> None:
        """Record the device's state at an event."""

    def after(self, seconds: float, call: Any, *arguments: Any) -> None:
        """Call after seconds of the study."""

    def now(self) -> float:
        """Seconds of the study."""

    def stop(self, kind: str) -> bool:
        """Turn the device off; whether it was on."""

    def restart(self) -> None:
        """Turn it on again."""

    def set_link(self, up: bool) -> None:
        """A link fault begins or ends."""

    def slow_down(self, share: float) -> None:
        """Let the device compute at a share of its speed."""

    def keep_rows(self, keep: bool) -> None:
        """The disk is full, or has room again."""

    def undelivered(self, sender: str, receiver: str, message: Message, size_bytes: int, reason: str) -> None:
        """Record a message that will not arrive."""

    def lost_bytes(self, size_bytes: int) -> None:
        """Bytes have left the device that no network carries."""

    def pass_in(self, message: Message, size_bytes: int, sent_s: float) -> None:
        """Let a message in that has waited."""

    def pass_out(self, to: str, message: Message) -> None:
        """Let a message go that has waited."""

    def watched(self) -> list[str]:
        """Whom the actor watches."""

    def give_up(self, peer: str) -> None:
        """Tell the actor that a peer whom it watches is gone."""


class PlaceFaults:
    """See the module."""

    def __init__(self, deployment: Deployment, place: Afflicted) -> None:
        self._deployment = deployment
        self._place = place
        self._faults = deployment.faults_of(place.name)
        self._messages = MessageFaults(deployment.seed, place.name)
        self._partitions: list[Partition] = []
        self._speeds: list[float] = []
        self._in_force: Counter[str] = Counter()
        self._arrived = 0
        waiting = [fault for fault in self._faults if fault.after_messages is not None]
        self._awaiting = deque(sorted(waiting, key=lambda fault: fault.after_messages or 0))
        self._apart_in: deque[tuple[Message, int, float]] = deque()
        self._apart_out: deque[tuple[str, Message]] = deque()
        self.clock = ActorClock()
        #: Whether any of them may touch a message.
        self.of_messages = any(isinstance(fault, MessageFault | Partition) for fault in self._faults)

    def start(self) -> None:
        """The study begins."""
        for fault in self._faults:
            if fault.at_s == 0:
                self._begin(fault)
            elif fault.at_s < math.inf:
                self._place.after(fault.at_s, self._begin, fault)

    # Messages.

    def offered_out(self, to: str, message: Message) -> list[tuple[str, Message]]:
        """What may leave now that the actor has sent a message."""
        size_bytes = frame_size(to, message)
        found = self._offered(OUT, self._place.name, to, message, size_bytes, (to, message))
        return [item for item in found if not self.holds_out(*item)]

    def offered_in(self, message: Message, size_bytes: int, sent_s: float) -> list[tuple[Message, int, float]]:
        """What may come in now that a message has come to the place."""
        item = (message, size_bytes, sent_s)
        found = self._offered(IN, message.sender, self._place.name, message, size_bytes, item)
        return [item for item in found if not self.holds_in(*item)]

    def holds_out(self, to: str, message: Message) -> bool:
        """Whether a message has to wait for the end of a partition; then it does."""
        if not self.separated(to):
            return False
        self._apart_out.append((to, message))
        self._note("partition", self._place.name, to, message, frame_size(to, message))
        return True

    def holds_in(self, message: Message, size_bytes: int, sent_s: float) -> bool:
        """The same for one that has arrived."""
        if not self.separated(message.sender):
            return False
        self._apart_in.append((message, size_bytes, sent_s))
        if not self._healed_there(message.sender, sent_s):
            self._note("partition", message.sender, self._place.name, message, size_bytes)
        return True

    def _healed_there(self, peer: str, sent_s: float) -> bool:
        """Whether the sender has held and noted a message itself: it left when the partition was over for its node.

        The clocks of two nodes differ by moments, so that what was sent in its later half was sent at its end.
        """
        return any(
            fault.separates(self._place.name, peer)
            and fault.duration_s is not None
            and sent_s > fault.at_s + fault.duration_s / 2
            for fault in self._partitions
        )

    def arrived(self) -> None:
        """A message has come to the device: faults may begin with its number, once the actor has seen it."""
        self._arrived += 1
        while self._awaiting and (self._awaiting[0].after_messages or 0) <= self._arrived:
            asyncio.get_running_loop().call_soon(self._begin, self._awaiting.popleft())

    def separated(self, peer: str) -> bool:
        """Whether a partition is between this actor and another."""
        return any(partition.separates(self._place.name, peer) for partition in self._partitions)

    def _offered(self, way: str, sender: str, receiver: str, message: Message, size_bytes: int, item: Any) -> list[Any]:
        if isinstance(message, Refusal):
            return [item]
        place = self._place
        fate = self._messages.offer(way, receiver if way == OUT else sender, message, item)
        for effect in fate.effects:
            self._note(effect, sender, receiver, message, size_bytes)
        if "lost" in fate.effects:
            place.undelivered(sender, receiver, message, size_bytes, "lost")
            if way == OUT:
                place.lost_bytes(size_bytes)
        if fate.kept is not None:
            place.after(fate.kept.delay_s, self._release, way, fate.kept)
        return fate.passing

    def _release(self, way: str, kept: Kept) -> None:
        for item in self._messages.release(kept):
            if way == OUT:
                self._place.pass_out(*item)
            else:
                self._place.pass_in(*item)

    def _note(self, fault: str, sender: str, receiver: str, message: Message, size_bytes: int) -> None:
        kind = type(message).__name__
        self._place.note(ImpairedRow(fault=fault, sender=sender, receiver=receiver, type=kind, size_bytes=size_bytes))

    def left(self) -> None:
        """The actor has left: what it had sent before goes on."""
        for item in self._messages.release_all(OUT):
            self._place.pass_out(*item)
        self.drop("gone")

    def drop(self, reason: str) -> None:
        """What waits here is lost."""
        place = self._place
        for message, size_bytes, _ in (*self._messages.release_all(IN), *self._apart_in):
            place.undelivered(message.sender, place.name, message, size_bytes, reason)
        for to, message in (*self._messages.release_all(OUT), *self._apart_out):
            place.undelivered(place.name, to, message, frame_size(to, message), reason)
        self._apart_in.clear()
        self._apart_out.clear()

    # Beginning and end.

    def _begin(self, fault: Fault) -> None:
        place = self._place
        place.note(FaultRow(kind=fault.kind, detail=described(fault, place.name)))
        if self._befalls(fault) and fault.duration_s is not None:
            place.after(fault.duration_s, self._end, fault)

    def _befalls(self, fault: Fault) -> bool:
        """Do what a fault does; whether anything is to be undone at its end."""
        place = self._place
        if fault.kind in STOPS:
            return place.stop(fault.kind)
        if fault.kind == "link_down":
            place.set_link(False)
            return True
        match fault:
            case MessageFault():
                self._messages.begin(fault)
            case Slowdown():
                self._speeds.append(fault.speed)
                place.slow_down(math.prod(self._speeds))
            case ClockSkew():
                self.clock.begin(fault, place.now())
            case Partition():
                self._partitions.append(fault)
                place.after(self._deployment.peer_timeout_s, self._miss_others, fault)
        self._mark(fault.kind, 1)
        if fault.kind == "disk_full":
            place.keep_rows(True)
        return True

    def _end(self, fault: Fault) -> None:
        place = self._place
        if fault.kind in STOPS:
            place.restart()
            return
        if fault.kind == "link_down":
            place.set_link(True)
            return
        if fault.kind == "disk_full" and self._in_force[fault.kind] == 1:
            place.keep_rows(False)
        self._mark(fault.kind, -1)
        match fault:
            case MessageFault():
                self._messages.end(fault)
            case Slowdown():
                self._speeds.remove(fault.speed)
                place.slow_down(math.prod(self._speeds))
            case ClockSkew():
                self.clock.end(fault, place.now())
            case Partition():
                self._partitions = [other for other in self._partitions if other is not fault]
                self._heal()

    def _mark(self, kind: str, step: int) -> None:
        self._in_force[kind] += step
        if step > 0 and self._in_force[kind] == 1:
            self._place.mark(kind)
        elif not self._in_force[kind]:
            self._place.mark(f"{kind}_end")

    def _heal(self) -> None:
        """A partition is over: what has waited goes on, unless another one is still in its way."""
        coming, self._apart_in = self._apart_in, deque()
        for arrival in coming:
            if self.separated(arrival[0].sender):
                self._apart_in.append(arrival)
            else:
                self._place.pass_in(*arrival)
        going, self._apart_out = self._apart_out, deque()
        for to, message in going:
            if self.separated(to):
                self._apart_out.append((to, message))
            else:
                self._place.pass_out(to, message)

    def _miss_others(self, partition: Partition) -> None:
        """A partition has lasted for the time-out: the actor gives up those of the other sides whom it watches."""
        if any(other is partition for other in self._partitions):
            for peer in self._place.watched():
                if partition.separates(self._place.name, peer):
                    self._place.give_up(peer)
