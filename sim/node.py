"""A node of the simulated network: one device behind one access link, and the actor that lives on it.

Small messages (the control stream) are closed form: they leave one after the other at the smaller of the sender's
up and the receiver's down rate, ahead of bulk, and arrive one path delay later: one heap entry a message. Bulk
messages are flows (`sim.network`). Loss lowers the goodput: a link carries rate × (1 − loss).
While a link is down, what would cross it waits; while a device is off, it is lost. What an actor has sent before it
leaves still arrives.
"""

from __future__ import annotations

from collections import deque
from heapq import heappush
from math import inf
from typing import TYPE_CHECKING, Any, ClassVar, cast

import numpy as np
import numpy.typing as npt
from msgspec.structs import force_setattr
from simpy.events import NORMAL

from core.actor import Message, News, PeerGone, Refusal, Start
from core.deployment import Placement
from core.devices import BatteryFull, Effect
from core.links import Link
from core.wire import PREFIX_BYTES, copy_of, encode_header, frame_size
from sim.machine import Machine
from sim.network.sharing import SharedLink
from sim.network.transfer import Channels, Transfer

if TYPE_CHECKING:
    from sim.attendance import Habit
    from sim.cell import Cell
    from sim.dormant import Dormant
    from sim.world import World

#: States of a node; anything but UP takes the slow path.
UP, LINK_DOWN, OFF, GONE, RESTED = range(5)


class Node(Machine):
    """Device, link and actor; see the module."""

    #: Whether a row of numbers can hold its state while nothing happens.
    rests: ClassVar[bool] = True

    __slots__ = (
        "_downlink",
        "_uplink",
        "address_bytes",
        "block",
        "cell",
        "channels",
        "control_free_s",
        "delays_s",
        "dormant",
        "down_s_per_byte",
        "habit",
        "heard",
        "held_in",
        "held_out",
        "incoming",
        "index",
        "kinds",
        "latency_s",
        "life",
        "limit_bytes",
        "link_faults",
        "next_entry",
        "nodes",
        "queue",
        "requests",
        "rows",
        "state",
        "unanswered",
        "up_s_per_byte",
        "zone",
    )

    #: What carries a bulk message from here.
    make_transfer: ClassVar[type[Transfer]] = Transfer

    def __init__(
        self, world: World, placement: Placement, dormant: Dormant | None = None, index: int = -1, user: int = 0
    ) -> None:
        if world.paths is None and not placement.link.plain:
            raise ValueError(f"the link of {placement.name} is no steady one: the deployment needs Network.varying")
        link = self.present_link(world, placement)
        super().__init__(world, placement, link, user)
        self.queue: list[Any] = world.env._queue
        self.next_entry = world.env._eid.__next__
        self.nodes = world.nodes
        self.kinds = world.kinds
        self.rows = world.writer.pending_messages
        self.block = world.writer.ENCODE_BLOCK
        self.limit_bytes = world.deployment.max_frame_bytes
        #: The prefix of a frame to here, and the receiver in its header: an array of two that begins with the name.
        self.address_bytes = PREFIX_BYTES + 1 + len(encode_header(placement.name))
        #: The population it belongs to and its number there.
        self.dormant = dormant
        self.index = index
        self.zone = world.zones[placement.region]
        self.latency_s = link.latency_s
        #: Delay to each zone's exchange, the own access link included.
        self.delays_s = [link.latency_s + delay for delay in world.delays_s[self.zone]]
        up, down = link.up_bytes_per_s * (1 - link.loss), link.down_bytes_per_s * (1 - link.loss)
        self.up_s_per_byte = 1 / up
        self.down_s_per_byte = 1 / down
        self._uplink: SharedLink | None = None
        self._downlink: SharedLink | None = None
        self.channels = Channels()
        #: Bulk messages that are moving towards it; made when first used.
        self.incoming: dict[Transfer, None] | None = None
        self.control_free_s = 0.0
        self.cell: Cell | None = None
        self.state = UP
        #: Link faults in force; the link is up when none is.
        self.link_faults = 0
        #: Counts up whenever the node is heard again after silence.
        self.heard = 0
        #: Requests it had taken when its device went off: (requester, correlation).
        self.unanswered: list[tuple[str, int]] = []
        #: How often its device went off, and the requests made before: no reply to them answers a later one.
        self.life = 0
        self.requests = 0
        #: What the device's user does, while the actor is awake.
        self.habit: Habit | None = None
        self.held_out: deque[tuple[str, Message]] | None = None
        self.held_in: deque[tuple[Message, int, float]] | None = None
        self.arm()

    @staticmethod
    def present_link(world: World, placement: Placement) -> Link:
        """The access link that a device is on when its node is made."""
        return placement.link

    @property
    def uplink(self) -> SharedLink:
        """What leaves the device in bulk; made when first used."""
        if self._uplink is None:
            self._uplink = SharedLink(self.env, 1 / self.up_s_per_byte)
        return self._uplink

    @property
    def downlink(self) -> SharedLink:
        """What reaches the device in bulk; made when first used."""
        if self._downlink is None:
            self._downlink = SharedLink(self.env, 1 / self.down_s_per_byte)
        return self._downlink

    def is_unseen(self, effect: Effect) -> bool:
        return isinstance(effect, BatteryFull) and self.habit is not None and self.dormant is not None

    def happened(self, effect: Effect) -> None:
        self.world.outages.device_event(self, effect)

    def pass_in(self, message: Message, size: int, sent: float) -> None:
        """Let a message go on that has waited on its way in."""
        self.deliver(message, size, sent)

    def pass_out(self, to: str, message: Message) -> None:
        """Let a message go on that has waited on its way out."""
        self.transmit(to, message)

    def node(self, index: int) -> Node:
        """Itself: what owns a timer tells its node."""
        return self

    def path_delay_s(self, receiver: Node) -> float:
        """One-way delay to another node: both access links and the Internet between their regions."""
        return self.delays_s[receiver.zone] + receiver.latency_s

    # What follows is done for every message: written for speed.

    def transmit(self, to: str, message: Message) -> None:
        """Put a stamped message on the way to an actor."""
        kind = type(message)
        try:
            fields = self.kinds[kind]
        except KeyError:
            raise TypeError(f"{kind.__name__} is none of the message types of this deployment") from None
        if fields or self.state:
            self._transmit_slowly(to, message)
            return
        try:
            peer = self.nodes[to]
        except KeyError:
            found = self.world.find(to)
            if found is None:
                self._transmit_slowly(to, message)
                return
            peer = found
        # What `frame_size` says, with the receiver's part counted once and for all.
        size = peer.address_bytes + len(encode_header(message))
        if size > self.limit_bytes:
            self._transmit_slowly(to, message)
            return
        sent = now = self.env._now
        if self.control_free_s > now:
            now = self.control_free_s
        pace = self.up_s_per_byte
        if peer.down_s_per_byte > pace:
            pace = peer.down_s_per_byte
        self.control_free_s = now = now + size * pace
        self.sent_bytes = count = self.sent_bytes + size
        if sent > self.radio_until_s:
            self.wake_radio(size, 0)
        else:
            self.radio_until_s = sent + self.radio_tail_s
            if count >= self.parcel_bytes or sent > self.radio_settle_s:
                self.settle()
        at = now + self.delays_s[peer.zone] + peer.latency_s
        heappush(self.queue, (at, NORMAL, self.next_entry(), peer, message, size, sent))

    def deliver(self, message: Message, size: int, sent: float) -> None:
        """A message arrives at the device."""
        if self.state:
            self._deliver_slowly(message, size, sent)
            return
        self.received_bytes = count = self.received_bytes + size
        now = self.env._now
        if now > self.radio_until_s:
            self.wake_radio(0, size)
        else:
            self.radio_until_s = now + self.radio_tail_s
            if count >= self.parcel_bytes or now > self.radio_settle_s:
                self.settle()
        cell = self.cell
        if cell is None:
            cell = self.world.wake(self)
        kind = type(message)
        correlation = message.correlation
        rows = self.rows
        if correlation < 0:
            task = cell.pending.pop(-correlation, None)
            if task is None:
                self.world.undelivered(message.sender, self.name, kind, size, "late")
                return
            rows.append((sent, now, message.sender, self.name, kind, size))
            if kind is Refusal:
                cell.take_refusal(task, cast(Refusal, message))
            else:
                task.resume(task.send, message)
        elif kind not in cell.admits:
            self.refuse(message, size, "unexpected")
            return
        elif cell.inbox and len(cell.inbox) >= cell.bound:
            self.refuse(message, size, "full")
            return
        else:
            rows.append((sent, now, message.sender, self.name, kind, size))
            if kind not in cell.absorbs or cell.inbox or not cell.actor.absorb(message):
                if correlation:
                    cell.open_requests[id(message)] = message
                cell.take(message)
        if len(rows) >= self.block:
            self.world.writer.encode_messages()

    def deliver_all(
        self,
        news: News,
        sent_s: npt.NDArray[np.float64],
        arrive_s: npt.NDArray[np.float64],
        sizes: npt.NDArray[np.int32],
    ) -> int:
        """Messages arrive with nothing else in between; how many, from the first on, were taken.

        That is as `deliver` would have it for one after the other, which is left to the caller where it is 0.
        """
        cell = self.cell
        one_by_one = type(self).deliver is not Node.deliver or self.radio_tail_s < inf
        if cell is None or self.state or cell.inbox or one_by_one or not cell.absorbs_all(news.kinds):
            return 0
        received = self.received_bytes + np.cumsum(sizes, dtype=np.int64)
        # Up to where the device counts its energy.
        last = min(
            int(np.searchsorted(received, self.parcel_bytes)),
            int(np.searchsorted(arrive_s, self.radio_settle_s, "right")),
            len(sizes) - 1,
        )
        told = news.until(last + 1)
        if not cell.actor.absorb_all(told):
            return 0
        self.env._now = float(arrive_s[last])
        self.received_bytes = count = int(received[last])
        self.world.writer.encode_news(told, self.name, sent_s[: last + 1], arrive_s[: last + 1], sizes[: last + 1])
        if count >= self.parcel_bytes or self.env._now > self.radio_settle_s:
            self.settle()
        return last + 1

    # From here on: what is rarer.

    def _transmit_slowly(self, to: str, message: Message) -> None:
        size = frame_size(to, message)
        if self.state >= OFF:
            self.world.undelivered(self.name, to, type(message), size, "device")
            return
        if self.state == LINK_DOWN:
            if self.held_out is None:
                self.held_out = deque()
            self.held_out.append((to, message))
            return
        peer = self.nodes.get(to) or self.world.find(to)
        if peer is None:
            self.world.unreachable(self, to, message, size)
            return
        if size > self.limit_bytes:
            self.world.unreachable(self, to, message, size, "oversized")
            return
        self.channels.put(self.make_transfer(self, peer, message, size, self.env._now))

    def _deliver_slowly(self, message: Message, size: int, sent: float) -> None:
        if self.state == LINK_DOWN:
            if self.held_in is None:
                self.held_in = deque()
            self.held_in.append((message, size, sent))
        elif self.state == RESTED and self.dormant is not None:
            # Put to rest while the message was on its way: the actor has another node now.
            self.dormant.node(self.index).deliver(message, size, sent)
        elif self.state == OFF:
            self.world.undelivered(message.sender, self.name, type(message), size, "device")
        else:
            self.world.undelivered(message.sender, self.name, type(message), size, "gone")
            if message.correlation > 0:
                self.world.tell_gone(message.sender, self, message.correlation)

    @property
    def quiet(self) -> bool:
        """Whether nothing moves in bulk from or to this node."""
        return not (self.channels.moving or self.incoming)

    def refuse(self, message: Message, size: int, reason: str) -> None:
        """Do not take a message; a request is told so, by a message of the runtime."""
        self.world.undelivered(message.sender, self.name, type(message), size, reason)
        if message.correlation > 0:
            self.transmit(message.sender, Refusal(sender=self.name, correlation=-message.correlation, reason=reason))

    def take_local(self, message: Message) -> None:
        """A message that crosses no wire: a timer, a start, news of a peer. It is never refused."""
        if self.state >= OFF:
            return
        cell = self.cell
        if cell is None:
            cell = self.world.wake(self)
        kind = type(message)
        if kind is Refusal:
            task = cell.pending.pop(-message.correlation, None)
            if task is not None:
                cell.take_refusal(task, cast(Refusal, message))
            return
        if kind is Start and Start not in cell.accepts:
            return
        if kind is not Start and kind is not PeerGone and (message.sender != self.name or message.correlation):
            message = copy_of(message)
            force_setattr(message, "sender", self.name)
            force_setattr(message, "correlation", 0)
        cell.take(message)

    # Links that fail, and devices that go off.

    def set_link(self, up: bool) -> None:
        """A link fault begins or ends; several may overlap."""
        self.link_faults += -1 if up else 1
        down = self.link_faults > 0
        self.uplink.set_rate(0.0 if down else 1 / self.up_s_per_byte)
        self.downlink.set_rate(0.0 if down else 1 / self.down_s_per_byte)
        if self.state in (UP, LINK_DOWN) and down != (self.state == LINK_DOWN):
            self.state = LINK_DOWN if down else UP
            self.note("link_down" if down else "link_up")
            if down:
                self.world.outages.miss(self)
            else:
                self.heard += 1
                self._release()

    def _release(self) -> None:
        held_in, self.held_in = self.held_in, None
        for message, size, sent in held_in or ():
            self.pass_in(message, size, sent)
        held_out, self.held_out = self.held_out, None
        for to, message in held_out or ():
            self.pass_out(to, message)

    def stop(self, state: int, reason: str) -> None:
        """The device goes off, or the actor has left: what waits here is lost, and with the device what moves."""
        self.state = state
        if state == OFF:
            self.channels.drop_all(reason)
            for transfer in list(self.incoming or ()):
                transfer.sender.channels.drop(self, reason)
        held_in, self.held_in = self.held_in, None
        for message, size, sent in held_in or ():
            self.deliver(message, size, sent)
        held_out, self.held_out = self.held_out, None
        for to, message in held_out or ():
            self.world.undelivered(self.name, to, type(message), 0, reason)


class StrictNode(Node):
    """A node whose messages are encoded and decoded (`strict_wire`)."""

    __slots__ = ()

    def transmit(self, to: str, message: Message) -> None:
        super().transmit(to, self.world.through_the_wire(to, message))
