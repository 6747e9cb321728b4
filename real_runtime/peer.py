"""Another node of the run: its two links, and what may come over them.

A node speaks for the actors that the address book places on it, and for no others. It has left when it has said
goodbye on every stream that was in use, and an actor of it has when that was said on every stream.
"""

from __future__ import annotations

import asyncio
from typing import Protocol

from core.actor import Message
from core.wire import BULK, CONTROL, Codec, Prefix, WireError
from real_runtime import protocol
from real_runtime.book import Entry
from real_runtime.link import Item, Link, Traffic


class Events(Protocol):
    """What the transport tells its node."""

    def arrived(self, node: str, receiver: str, message: Message, size_bytes: int, sent_s: float) -> None:
        """A message of one of the node's actors."""

    def refused(self, node: str, sender: str, receiver: str, kind: str, size_bytes: int, error: WireError) -> None:
        """Bytes that are no acceptable message; `node` is empty if nobody vouches for them."""

    def connected(self, node: str) -> None:
        """The control stream of a peer is connected."""

    def gone(self, node: str, *, lost: bool, unsent: list[Item]) -> None:
        """A peer has left, or was lost; once."""

    def actor_left(self, node: str, actor: str) -> None:
        """An actor of a peer has left for good."""

    def actor_missed(self, node: str, actor: str) -> None:
        """The device of an actor of a peer was silent for too long, or has lost its state."""

    def go(self, node: str, body: bytes) -> None:
        """The peer says that this moment is zero, and what its monotonic clock shows."""

    def ended(self, node: str, reason: str) -> None:
        """The peer says that the run is over."""

    def shut_out(self, node: str, reason: str) -> None:
        """No connection with the peer is possible."""

    def crashed(self, error: BaseException) -> None:
        """A defect of the transport itself."""


class Carrier(Protocol):
    """What a peer asks of the transport."""

    node: str
    codec: Codec
    events: Events

    def dial(self, peer: Peer, stream: int) -> None:
        """Begin to connect, unless that is not needed or under way."""

    def lose(self, peer: Peer, *, lost: bool) -> None:
        """A peer has left or is lost for good."""


class Peer:
    """Another node, as this one sees it."""

    def __init__(self, carrier: Carrier, name: str, entry: Entry, *, traffic: Traffic, silence_s: float) -> None:
        self.name = name
        self.entry = entry
        self.actors = frozenset(entry.actors)
        #: Whether a connection was ever there, and whether the peer is gone for good.
        self.met = False
        self.gone = False
        self.links = {
            stream: Link(
                self,
                stream,
                traffic=traffic,
                silence_s=silence_s,
                max_frame_bytes=carrier.codec.max_frame_bytes,
            )
            for stream in (CONTROL, BULK)
        }
        self.dialling: dict[int, asyncio.Task[None]] = {}
        #: Streams on which a greeting of ours waits for its answer.
        self.greeted: set[int] = set()
        self._carrier = carrier
        self._goodbyes: set[int] = set()
        self._leaving: dict[str, int] = {}

    # What its links tell.

    def frame(self, link: Link, sent_ns: int, prefix: Prefix, header: bytes, body: bytes | bytearray) -> None:
        size = protocol.RECORD_BYTES + len(header) + len(body)
        events = self._carrier.events
        try:
            receiver, message = self._carrier.codec.decode(prefix, header, body)
        except WireError as refusal:
            events.refused(self.name, self.name, self._carrier.node, "", size, refusal)
            return
        if message.sender not in self.actors or prefix.stream != link.stream:
            error = WireError("malformed", f"a message of {message.sender!r}, which node {self.name} does not host")
            events.refused(self.name, message.sender, receiver, type(message).__name__, size, error)
            return
        events.arrived(self.name, receiver, message, size, sent_ns / 1e9)

    def told(self, link: Link, kind: int, value: int, body: bytes) -> None:
        events = self._carrier.events
        match kind:
            case protocol.GOODBYE:
                self._goodbyes.add(link.stream)
                self._left_if_all_said_goodbye()
            case protocol.LEFT:
                actor = body.decode("utf-8", "replace")
                count = self._leaving[actor] = self._leaving.get(actor, 0) + 1
                # On every stream it comes behind the actor's last message; the last of them counts.
                if count >= value and actor in self.actors:
                    events.actor_left(self.name, actor)
            case protocol.MISSED:
                actor = body.decode("utf-8", "replace")
                if actor in self.actors:
                    events.actor_missed(self.name, actor)
            case protocol.GO:
                events.go(self.name, body)
            case protocol.END:
                events.ended(self.name, body.decode("utf-8", "replace"))

    def garbage(self, link: Link, size_bytes: int, error: WireError) -> None:
        self._carrier.events.refused(self.name, self.name, self._carrier.node, "", size_bytes, error)

    def detached(self, link: Link) -> None:
        if not self.gone and not self._left_if_all_said_goodbye():
            self._carrier.dial(self, link.stream)

    def crashed(self, error: BaseException) -> None:
        self._carrier.events.crashed(error)

    def _left_if_all_said_goodbye(self) -> bool:
        bulk = self.links[BULK]
        if CONTROL in self._goodbyes and (BULK in self._goodbyes or not bulk.attached):
            self._carrier.lose(self, lost=False)
        return CONTROL in self._goodbyes
