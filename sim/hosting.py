"""Nodes that share a host: their jobs and both ends of their messages take time of its cores (`core.devices.cores`).

Each has two claims at most: its device's running job, and the first of its messages, which are handled one after the
other in the order in which they were sent or came, as by one event loop. A message leaves its device, or reaches its
actor, when it has been served. Such a node never rests. Deviations: what an actor has sent before it leaves is not
waited for, and what its runtime says of itself locally (timers, news of a peer) costs nothing.
"""

from __future__ import annotations

from collections import deque
from math import inf
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from core.actor import Message
from core.devices import Claim, Cores, DeviceProfile, Host, HostedDevice
from core.wire import frame_size
from sim.engine import ActorEnvironment
from sim.node import GONE, OFF, Node

if TYPE_CHECKING:
    from core.deployment import Placement
    from sim.dormant import Dormant
    from sim.world import World


class SharedHost:
    """The cores of one host in its world, and the timer of what they do next."""

    __slots__ = ("_armed_s", "cores", "env", "generation")

    def __init__(self, env: ActorEnvironment, host: Host) -> None:
        self.env = env
        self.cores = Cores(host, env._now)
        self.generation = 0
        self._armed_s = inf

    def arm(self) -> None:
        """See to it that what is served next is told so; to be called after claims have come or gone."""
        at = self.cores.next_s()
        if at != self._armed_s:
            if self._armed_s < inf:
                self.generation += 1
                self.env.forget_timer()
            self._armed_s = at
            if at < inf:
                self.env.set_timer(max(at, self.env._now), self, self.generation)

    def fire(self) -> None:
        """The first claim has got all."""
        self.generation += 1
        self._armed_s = inf
        owner = self.cores.finish(self.env._now)
        owner.served()
        self.arm()


class Outgoing(NamedTuple):
    """A message on its way out of a device."""

    size: int
    to: str
    message: Message


class Incoming(NamedTuple):
    """A message that has come to a device."""

    size: int
    message: Message
    sent_s: float


class Desk:
    """The messages of one device, handled one after the other."""

    __slots__ = ("_claim", "_node", "_seconds", "waiting")

    def __init__(self, node: HostedNode) -> None:
        self._node = node
        self.waiting: deque[Outgoing | Incoming] = deque()
        #: The first one's claim to a core, and for how many seconds.
        self._claim: Claim | None = None
        self._seconds = 0.0

    def put(self, item: Outgoing | Incoming) -> None:
        """A message is to be handled."""
        if not (self.waiting or self._node.host.cores.host.message_work_s(item.size)):
            self._node.handled(item)
            return
        self.waiting.append(item)
        if len(self.waiting) == 1:
            self._begin()

    def served(self) -> None:
        """The first has been handled."""
        item = self.waiting.popleft()
        self._claim = None
        self._node.took_core(self._seconds)
        if self.waiting:
            self._begin()
        self._node.handled(item)

    def clear(self) -> list[Outgoing | Incoming]:
        """Stop handling; what has not been handled."""
        waiting, self.waiting = list(self.waiting), deque()
        if self._claim is not None:
            cores = self._node.host.cores
            self._node.took_core(self._seconds - cores.withdraw(self._node.env._now, self._claim))
            self._claim = None
        return waiting

    def _begin(self) -> None:
        host = self._node.host
        self._seconds = host.cores.host.message_work_s(self.waiting[0].size)
        self._claim = host.cores.begin(host.env._now, self._seconds, self)
        host.arm()


class HostedNode(Node):
    """A node on a shared host; it has no slots, so that it can be any other kind of node too.

    A message is sent, for the records, when its device has handled it.
    """

    rests: ClassVar[bool] = False

    def __init__(
        self, world: World, placement: Placement, dormant: Dormant | None = None, index: int = -1, user: int = 0
    ) -> None:
        if dormant is not None:
            raise ValueError(f"{placement.name} is of a population, which shares no host")
        assert placement.host is not None
        #: Set before the rest, which makes the device.
        self.host = world.hosts[placement.host]
        self._desk = Desk(self)
        super().__init__(world, placement, dormant, index, user)

    def make_device(self, profile: DeviceProfile, **settings: Any) -> HostedDevice:
        return HostedDevice(profile, self.host.cores, self, **settings)

    def arm(self) -> None:
        super().arm()
        self.host.arm()

    def served(self) -> None:
        """The cores have done the device's job."""
        assert isinstance(self.device, HostedDevice)
        self.apply(self.device.serve(self.env._now))

    def took_core(self, seconds: float) -> None:
        """A message has been handled."""
        device = self.device
        if seconds > 0.0:
            assert isinstance(device, HostedDevice)
            device.take_core(self.env._now, seconds)
            self.take_counts()
            self.arm()

    def transmit(self, to: str, message: Message) -> None:
        if self.state >= OFF or type(message) not in self.kinds:
            super().transmit(to, message)
        else:
            self._desk.put(Outgoing(frame_size(to, message), to, message))

    def deliver(self, message: Message, size: int, sent: float) -> None:
        if self.state:
            super().deliver(message, size, sent)
        else:
            self._desk.put(Incoming(size, message, sent))

    def handled(self, item: Outgoing | Incoming) -> None:
        """A message goes on."""
        if isinstance(item, Outgoing):
            super().transmit(item.to, item.message)
        else:
            super().deliver(item.message, item.size, item.sent_s)

    def stop(self, state: int, reason: str) -> None:
        waiting = self._desk.clear()
        if state == GONE:
            # It has been sent before its actor left.
            for item in waiting:
                if isinstance(item, Outgoing):
                    self.handled(item)
            waiting = [item for item in waiting if isinstance(item, Incoming)]
        super().stop(state, reason)
        for item in waiting:
            self.handled(item)
        self.host.arm()


def hosted(kind: type[Node]) -> type[HostedNode]:
    """The kind of node that is both."""
    return type(f"Hosted{kind.__name__}", (HostedNode, kind), {}) if kind is not Node else HostedNode
