"""A bulk message on its way: it shares the sender's uplink and the receiver's downlink, each with what else is there.

A transfer ends when its bytes have passed both links, and arrives one path delay later. Each link shares its rate
equally (processor sharing) without regard to what limits a flow at its other end: exact where one of the two is the
bottleneck for all of a flow's life, as with phones and a server; the general max-min solution of a mesh is more.
Messages of one sender to one receiver follow one another, so that they arrive in order.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

from core.wire import Message

if TYPE_CHECKING:
    from sim.network.sharing import SharedLink
    from sim.node import Node


class Transfer:
    """One bulk message between two nodes."""

    __slots__ = ("down_bytes", "legs", "message", "paused", "receiver", "sender", "sent_s", "size_bytes", "up_bytes")

    def __init__(self, sender: Node, receiver: Node, message: Message, size_bytes: int, sent_s: float) -> None:
        self.sender = sender
        self.receiver = receiver
        self.message = message
        self.size_bytes = size_bytes
        self.sent_s = sent_s
        self.legs = 2
        #: Bytes that had passed each of the two links when it was paused; None once all have.
        self.up_bytes: float | None = 0.0
        self.down_bytes: float | None = 0.0
        self.paused = False

    def begin(self) -> None:
        """Start to move."""
        receiver = self.receiver
        if receiver.incoming is None:
            receiver.incoming = {}
        receiver.incoming[self] = None
        self._move()

    def _move(self) -> None:
        if self.up_bytes is not None:
            self.sender.uplink.begin(self, self.size_bytes - self.up_bytes)
        if self.down_bytes is not None:
            self.receiver.downlink.begin(self, self.size_bytes - self.down_bytes)

    def pause(self) -> None:
        """Stand still, and take up no share of a link."""
        if self.begun and not self.paused:
            self.paused = True
            self._halt()

    def resume(self) -> None:
        """Go on where it was paused."""
        if self.paused:
            self.paused = False
            self._move()

    def _halt(self) -> None:
        up, down = self.sender.uplink.abort(self), self.receiver.downlink.abort(self)
        if up is not None and self.up_bytes is not None:
            self.up_bytes += up
        if down is not None and self.down_bytes is not None:
            self.down_bytes += down

    def leg_ended(self, link: SharedLink) -> None:
        """One of the two links has passed it all."""
        self.legs -= 1
        if link is self.sender.uplink:
            self.up_bytes = None
            self.sender.count_sent(self.size_bytes)
        else:
            self.down_bytes = None
        if self.legs == 0:
            sender, receiver = self.sender, self.receiver
            self._out_of_sight()
            sender.env.post(
                sender.env._now + sender.path_delay_s(receiver), receiver, self.message, self.size_bytes, self.sent_s
            )
            sender.channels.advance(receiver)

    def abort(self, reason: str) -> None:
        """It will not arrive; what had passed a link has cost its energy."""
        sender, receiver = self.sender, self.receiver
        self._halt()
        sent, received = self.up_bytes, self.down_bytes
        if self.begun:
            if sent is not None:
                sender.count_sent(int(sent))
            # The receiver cannot have got more than was sent, however fast its own link is.
            receiver.count_received(
                min(self.size_bytes if passed is None else int(passed) for passed in (sent, received))
            )
        self._out_of_sight()
        sender.world.undelivered(sender.name, receiver.name, type(self.message), self.size_bytes, reason)

    @property
    def begun(self) -> bool:
        """Whether it moves."""
        return self.receiver.incoming is not None and self in self.receiver.incoming

    def _out_of_sight(self) -> None:
        if self.receiver.incoming is not None:
            self.receiver.incoming.pop(self, None)


class Channels:
    """Per receiver, the bulk messages of one sender in order: the first of each moves, the others wait."""

    __slots__ = ("_behind", "_queues")

    def __init__(self) -> None:
        self._queues: dict[Node, deque[Transfer]] = {}
        #: What is to be done when nothing moves or waits for a receiver any more.
        self._behind: dict[Node, list[Callable[[], None]]] | None = None

    @property
    def moving(self) -> bool:
        """Whether anything moves or waits here."""
        return bool(self._queues)

    def put(self, transfer: Transfer) -> None:
        """Let a transfer begin, or wait for those before it."""
        queue = self._queues.get(transfer.receiver)
        if queue is None:
            self._queues[transfer.receiver] = deque((transfer,))
            transfer.begin()
        else:
            queue.append(transfer)

    def advance(self, receiver: Node) -> None:
        """The first transfer to `receiver` is over: the next may begin."""
        queue = self._queues[receiver]
        queue.popleft()
        if queue:
            queue[0].begin()
        else:
            del self._queues[receiver]
            self._done(receiver)

    def pause(self, separated: Callable[[str], bool]) -> None:
        """Let nothing move to the receivers of which `separated` is true."""
        for receiver, queue in self._queues.items():
            if separated(receiver.name):
                queue[0].pause()

    def resume(self, separated: Callable[[str], bool]) -> None:
        """Let what was paused move again, but to receivers of which `separated` is still true."""
        for receiver, queue in self._queues.items():
            if not separated(receiver.name):
                queue[0].resume()

    def behind(self, receiver: Node, call: Callable[[], None]) -> None:
        """Call when all that moves or waits for `receiver` has left, now if nothing does."""
        if receiver not in self._queues:
            call()
            return
        if self._behind is None:
            self._behind = {}
        self._behind.setdefault(receiver, []).append(call)

    def _done(self, receiver: Node) -> None:
        for call in (self._behind or {}).pop(receiver, ()):
            call()

    def drop(self, receiver: Node, reason: str) -> None:
        """Abort all transfers to `receiver`."""
        for transfer in self._queues.pop(receiver, ()):
            transfer.abort(reason)
        self._done(receiver)

    def drop_all(self, reason: str) -> None:
        """Abort all transfers."""
        for receiver in list(self._queues):
            self.drop(receiver, reason)
