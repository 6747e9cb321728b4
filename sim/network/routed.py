"""Nodes of a network that is more than a star of steady links: routes, transports, links that vary, hand-overs.

Control messages stay closed form: they leave one after the other at the slowest rate of their path (of links that
vary, by the inverse of what they have carried), and arrive a path delay later, in order. Bulk opens its connection,
goes through slow start, and then flows: over each link of its path by processor sharing, as in a plain star, or at
its max-min fair rate. A hand-over changes rate, delay, radio and price; what is under way goes on at the new rate, as
with MPTCP or QUIC's migration (RFC 9000, §9). What a connection's windows and losses make of a message
(`core.network.windows`) is drawn when it begins. Deviations: it is drawn for the share of the links that the message
has then, and what is waited takes nothing of their capacity.
"""

from __future__ import annotations

from collections.abc import Callable
from heapq import heappush
from math import inf
from typing import TYPE_CHECKING, Any

from simpy.events import NORMAL

from core.links import Link
from core.network import Curve, Transport
from core.wire import Message, encode_header
from sim.faults import FaultyNode, FaultyStrictNode
from sim.network.fair import FairFlow, FairLink
from sim.network.paths import BULK, CONTROL, Way
from sim.network.sharing import CurveLink, SharedLink
from sim.network.transfer import Transfer
from sim.node import Node, StrictNode

if TYPE_CHECKING:
    from core.deployment import Placement
    from sim.dormant import Dormant
    from sim.world import World


class _Gate:
    """What a fault of a node's link closes and opens, where bulk is shared by max-min fairness."""

    __slots__ = ("_node",)

    def __init__(self, node: RoutedNode) -> None:
        self._node = node

    def set_rate(self, rate: float) -> None:
        """0 stops all that moves from or to the node; anything else lets it go on."""
        self._node.open = rate > 0.0
        for transfer in list(self._node.moving):
            transfer.check()


class PathTransfer(Transfer):
    """A bulk message on its path: connection, slow start, then its bytes."""

    __slots__ = (
        "_behind_s",
        "_cap",
        "_capped_bytes",
        "_expecting",
        "_flow",
        "_left_bytes",
        "_links",
        "_moves",
        "_next",
        "_since_s",
        "_transport",
        "_way",
        "_wire_bytes",
        "generation",
    )

    sender: RoutedNode
    receiver: RoutedNode

    def __init__(
        self, sender: RoutedNode, receiver: RoutedNode, message: Message, size_bytes: int, sent_s: float
    ) -> None:
        super().__init__(sender, receiver, message, size_bytes, sent_s)
        self.generation = 0
        self._next: Callable[[], None] | None = None
        self._transport: Transport
        self._way: Way
        self._links: list[tuple[CurveLink | FairLink, float]] = []
        self._expecting = False
        #: Whether its bytes have begun to flow.
        self._moves = False
        #: In a star, the cap is one more leg: what it has let pass until `_since_s`; None once all has, or without one.
        self._capped_bytes: float | None = None
        self._since_s = 0.0
        self._flow: FairFlow | None = None
        #: What its last packet takes behind the slowest link.
        self._behind_s = 0.0

    # One step after the other.

    def begin(self) -> None:
        sender, receiver = self.sender, self.receiver
        if receiver.incoming is None:
            receiver.incoming = {}
        receiver.incoming[self] = None
        paths = sender.paths
        self._way = way = paths.way(sender, receiver)
        self._transport = transport = paths.transport(sender)
        self._wire_bytes = self._left_bytes = self.size_bytes / transport.goodput_share
        self._cap = way.relay_bytes_per_s
        if transport.ideal:
            self._flow_off()
            return
        self._after(paths.connect_s(transport, way, BULK, sender, receiver) + transport.extra_s, self._expect)

    def _after(self, delay_s: float, call: Callable[[], None]) -> None:
        self._next = call
        self.sender.env.set_timer(self.sender.env._now + delay_s, self, self.generation)

    def _cancel(self) -> None:
        if self._next is not None:
            self._next = None
            self.generation += 1
            self.sender.env.forget_timer()

    def fire(self) -> None:
        """The time of the next step has come."""
        self.generation += 1
        call, self._next = self._next, None
        assert call is not None
        call()

    def _expect(self) -> None:
        """Say that it is about to flow: those that begin in one instant all know of each other."""
        self._links = self.sender.shared_with(self.receiver, self._way)
        self._expecting = True
        for link, _ in self._links:
            link.expected += 1
        self._after(0.0, self._open_window)

    def _open_window(self) -> None:
        sender, now = self.sender, self.sender.env._now
        links = [(link.curve.rate(now) / cost, max(len(link) + link.expected, 1)) for link, cost in self._links]
        found, self._behind_s = sender.paths.course(
            self._transport, self._way, BULK, sender, self.receiver, self.size_bytes, links
        )
        self._cap = found.cap_bytes_per_s
        self._after(found.wait_s, self._flow_off)

    def _unexpect(self) -> None:
        if self._expecting:
            self._expecting = False
            for link, _ in self._links:
                link.expected -= 1

    def _flow_off(self) -> None:
        self._unexpect()
        sender, receiver = self.sender, self.receiver
        self._moves = True
        if sender.paths.fair:
            sender.moving[self] = receiver.moving[self] = None
        elif self._cap < inf:
            self.legs += 1
            self._capped_bytes = 0.0
        if not self.paused:
            self._move()

    # Moving and standing still.

    def _move(self) -> None:
        if not self._moves:
            return
        sender, receiver = self.sender, self.receiver
        if sender.paths.fair:
            self.check()
            return
        self._since_s = sender.env._now
        if self._capped_bytes is not None:
            self._after((self._wire_bytes - self._capped_bytes) / self._cap, self._cap_over)
        if self.up_bytes is not None:
            sender.uplink.begin(self, self._wire_bytes - self.up_bytes, sender.cost("up"))
        if self.down_bytes is not None:
            receiver.downlink.begin(self, self._wire_bytes - self.down_bytes, receiver.cost("down"))

    def _halt(self) -> None:
        if not self._moves:
            return
        if self.sender.paths.fair:
            self._stand()
            return
        super()._halt()
        if self._capped_bytes is not None and self._next is not None:
            self._cancel()
            self._capped_bytes += self._cap * (self.sender.env._now - self._since_s)

    def check(self) -> None:
        """Flow while both ends are open, hold where it is otherwise."""
        sender, receiver = self.sender, self.receiver
        if not (sender.open and receiver.open) or self.paused:
            self._stand()
        elif self._flow is None:
            uses = tuple(sender.paths.uses(self._way, sender, receiver))
            self._flow = FairFlow(sender.paths.flows, self, self._left_bytes, uses, self._cap)
            sender.paths.flows.begin(self._flow)

    def _stand(self) -> None:
        if self._flow is not None:
            self._left_bytes -= self.sender.paths.flows.abort(self._flow) or 0.0
            self._flow = None

    # Its end.

    def leg_ended(self, link: SharedLink) -> None:
        if link is self.sender.uplink:
            self.up_bytes = None
            self.sender.count_sent(self.size_bytes)
        else:
            self.down_bytes = None
        self._leg_over()

    def _cap_over(self) -> None:
        self._capped_bytes = None
        self._leg_over()

    def _leg_over(self) -> None:
        self.legs -= 1
        if self.legs == 0:
            self._arrive()

    def passed_all(self) -> None:
        """The max-min flow has ended."""
        self.sender.count_sent(self.size_bytes)
        self._arrive()

    def _arrive(self) -> None:
        sender, receiver, way = self.sender, self.receiver, self._way
        paths, now = sender.paths, sender.env._now
        self._out_of_sight()
        at_s = max(now + paths.one_way_s(way, sender, receiver) + self._behind_s, way.arrived_s[BULK])
        way.arrived_s[BULK] = at_s
        if BULK in way.outgoing:
            way.outgoing[BULK].idle_since_s = now
        sender.env.post(at_s, receiver, self.message, self.size_bytes, self.sent_s)
        sender.channels.advance(receiver)

    def _out_of_sight(self) -> None:
        super()._out_of_sight()
        self.sender.moving.pop(self, None)
        self.receiver.moving.pop(self, None)

    def abort(self, reason: str) -> None:
        sender, receiver = self.sender, self.receiver
        self._halt()
        self._cancel()
        self._unexpect()
        if self._moves:
            self._count_passed()
        self._out_of_sight()
        sender.world.undelivered(sender.name, receiver.name, type(self.message), self.size_bytes, reason)

    def _count_passed(self) -> None:
        """What has passed has cost its energy, at the sender and as far as it has come at the receiver."""
        wire, share = self._wire_bytes, self._transport.goodput_share
        if self.sender.paths.fair:
            passed = up = wire - self._left_bytes
        else:
            capped = wire if self._capped_bytes is None else self._capped_bytes
            up = min(wire if self.up_bytes is None else self.up_bytes, capped)
            passed = min(up, wire if self.down_bytes is None else self.down_bytes)
        if self.up_bytes is not None:
            self.sender.count_sent(int(up * share))
        self.receiver.count_received(int(passed * share))


class RoutedNode(Node):
    """A node whose ways are those of the world's `Paths`.

    It has no slots, so that it can be a `FaultyNode` too.
    """

    make_transfer = PathTransfer

    def __init__(
        self, world: World, placement: Placement, dormant: Dormant | None = None, index: int = -1, user: int = 0
    ) -> None:
        super().__init__(world, placement, dormant, index, user)
        assert world.paths is not None
        self.paths = world.paths
        #: Max-min flows from or to here; a dict for its order.
        self.moving: dict[PathTransfer, None] = {}
        #: Whether no fault stops its link.
        self.open = True
        self._gate = _Gate(self)

    @staticmethod
    def present_link(world: World, placement: Placement) -> Link:
        assert world.paths is not None
        return world.paths.present_link(placement)

    def link_at(self, now_s: float) -> Link:
        """The access link that it is on."""
        return self.placement.link.at(now_s)

    def cost(self, direction: str) -> float:
        """What a byte of bulk takes of its link: air time, where both directions share it."""
        link = self.placement.link
        return 1.0 / link.goodput_bytes_per_s(direction) if link.half_duplex else 1.0

    def _curve(self, direction: str) -> Curve:
        return self.paths.curve(self.name, self.placement.link, "air" if self.placement.link.half_duplex else direction)

    @property
    def uplink(self) -> Any:
        if self.paths.fair:
            return self._gate
        if self._uplink is None:
            self._uplink = CurveLink(self.env, self._curve("up"))
            if self.placement.link.half_duplex:
                self._downlink = self._uplink
        return self._uplink

    @property
    def downlink(self) -> Any:
        if self.paths.fair:
            return self._gate
        if self.placement.link.half_duplex:
            return self.uplink
        if self._downlink is None:
            self._downlink = CurveLink(self.env, self._curve("down"))
        return self._downlink

    def shared_with(self, receiver: RoutedNode, way: Way) -> list[tuple[CurveLink | FairLink, float]]:
        """What a transfer to `receiver` shares, with the cost of a byte there."""
        if self.paths.fair:
            return list(self.paths.uses(way, self, receiver))
        return [(self.uplink, self.cost("up")), (receiver.downlink, receiver.cost("down"))]

    def path_delay_s(self, receiver: Node) -> float:
        """How long news of its end take to another node: behind all that it has sent there."""
        assert isinstance(receiver, RoutedNode)
        way = self.paths.way(self, receiver)
        return max(self.paths.one_way_s(way, self, receiver), max(way.arrived_s) - self.env._now)

    def transmit(self, to: str, message: Message) -> None:
        kind = type(message)
        try:
            fields = self.kinds[kind]
        except KeyError:
            raise TypeError(f"{kind.__name__} is none of the message types of this deployment") from None
        peer = None if fields or self.state else self.nodes.get(to) or self.world.find(to)
        if peer is None:
            self._transmit_slowly(to, message)
            return
        assert isinstance(peer, RoutedNode)
        size = peer.address_bytes + len(encode_header(message))
        if size > self.limit_bytes:
            self._transmit_slowly(to, message)
            return
        now = self.env._now
        at = self._control_arrival_s(peer, size)
        self.count_sent(size)
        heappush(self.queue, (at, NORMAL, self.next_entry(), peer, message, size, now))

    def _control_arrival_s(self, peer: RoutedNode, size_bytes: int) -> float:
        """When a control message that leaves now will be there; it keeps its place in the queue at the sender."""
        paths, now = self.paths, self.env._now
        way = paths.way(self, peer)
        transport = paths.transport(self)
        wire = size_bytes / transport.goodput_share
        begin = max(now, self.control_free_s)
        # When each resource on the way has passed it.
        passed = [
            self._curve("up").time_after(begin, wire * self.cost("up")),
            peer._curve("down").time_after(begin, wire * peer.cost("down")),
            begin + wire * paths.edge_pace_s(way),
            begin + wire / way.relay_bytes_per_s,
        ]
        self.control_free_s = leaves = max(passed)
        at = leaves + paths.one_way_s(way, self, peer)
        if not transport.ideal:
            at += paths.connect_s(transport, way, CONTROL, self, peer) + transport.extra_s
            links = [(wire / (at_s - begin), 1) for at_s in passed[:-1] if at_s > begin]
            found, behind_s = paths.course(transport, way, CONTROL, self, peer, size_bytes, links)
            at += found.wait_s + behind_s + max(wire / found.cap_bytes_per_s - (leaves - begin), 0.0)
            if CONTROL in way.outgoing:
                way.outgoing[CONTROL].idle_since_s = leaves
        at = max(at, way.arrived_s[CONTROL])
        way.arrived_s[CONTROL] = at
        return at

    def hand_over(self) -> None:
        """The device is on its next link."""
        link = self.link_at(self.env._now)
        self.latency_s = link.latency_s
        self.use_radio(link)
        self.arm()
        self.note("handover")


class StrictRoutedNode(StrictNode, RoutedNode):
    """Its messages are encoded and decoded."""


class FaultyRoutedNode(FaultyNode, RoutedNode):
    """Its messages may meet faults."""


class FaultyStrictRoutedNode(FaultyStrictNode, RoutedNode):
    """Both."""
