"""One node's part of a real world: its places, its connections, its records, from the first greeting to the goodbye.

The node of the main actor waits until all others are connected and says "go", which is time zero for everybody; when
the main actor has ended it says so, and all leave. Messages between actors of one node take the same way as frames:
they are encoded and decoded, and count the same bytes.
"""

from __future__ import annotations

import asyncio
import os
import resource
import socket
import struct
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final, Protocol

from core.actor import SYSTEM_MESSAGES, Message, PeerGone, Refusal
from core.deployment import Deployment
from core.records import RecordsError
from core.records.rows import FaultRow, HostNodeRow, Row, UndeliveredRow
from core.wire import ArrayDict, Codec, WireError, encode, frame_size
from real_runtime import protocol
from real_runtime.book import Book
from real_runtime.cell import Cell
from real_runtime.clock import Clock
from real_runtime.link import Item
from real_runtime.place import Place, lost_its_device, residents
from real_runtime.processor import Processor
from real_runtime.transport import Transport

#: Wall seconds of silence that are borne at least, whatever `time_scale` makes of `peer_timeout_s`: a busy machine
#: needs them (estimate).
LEAST_SILENCE_S: Final = 5.0
#: Wall seconds to wait for the other nodes at the start.
PATIENCE_S: Final = 60.0
#: Wall seconds for the goodbyes.
GRACE_S: Final = 3.0


_ORIGIN: Final = struct.Struct(">d")


class RunFailed(Exception):
    """The run cannot begin or go on; the message says why, `__cause__` is an actor's exception if one did it."""


class CannotListen(RunFailed):
    """The address of this node cannot be listened on."""


class NotAdmitted(RunFailed):
    """Credentials, address book or version do not fit those of the other nodes."""


class Records(Protocol):
    """Where a node writes its records."""

    def message(
        self, sent_s: float, delivered_s: float, sender: str, receiver: str, kind: type[Message], size_bytes: int
    ) -> None:
        """A delivered message."""

    def row(self, time_s: float, actor: str, row: Row) -> None:
        """A row of any other table."""


class World:
    """See the module. Raises `CredentialsError`, and `BookError` if the book does not fit the deployment."""

    def __init__(
        self,
        deployment: Deployment,
        *,
        node: str,
        book: Book,
        credentials: Path,
        records: Records,
        processor: Processor,
        observe: Callable[[float, str, Row], None] | None = None,
        begun: Callable[[], None] | None = None,
        silence_s: float | None = None,
        shared_clock: bool = False,
        patience_s: float = PATIENCE_S,
    ) -> None:
        everybody = residents(deployment)
        book.check(resident.placement.name for resident in everybody)
        self.deployment = deployment
        self.seed = deployment.seed
        self.node = node
        self.clock = Clock(deployment.time_scale)
        self._records = records
        self._processor = processor
        self._observe = observe
        self._begun = begun
        self._patience_s = patience_s
        self._codec = Codec([*SYSTEM_MESSAGES, *deployment.messages], max_frame_bytes=deployment.max_frame_bytes)
        self._kinds = frozenset(self._codec.types)
        self._node_of = book.node_of()
        self._main_node = self._node_of[deployment.main]
        if silence_s is None:
            silence_s = max(deployment.peer_timeout_s * deployment.time_scale, LEAST_SILENCE_S)
        self.transport = Transport(
            self,
            node=node,
            book=book,
            credentials=credentials,
            codec=self._codec,
            silence_s=silence_s,
            patience_s=patience_s,
        )
        own = frozenset(book.nodes[node].actors)
        self.places = {
            resident.placement.name: Place(self, resident, processor)
            for resident in everybody
            if resident.placement.name in own
        }
        self._missing = set(self.transport.peers) if node == self._main_node else {self._main_node}
        self._met = asyncio.Event()
        self._going = asyncio.Event()
        self._over = asyncio.Event()
        self._failure: BaseException | None = None
        self._shared_clock = shared_clock
        #: The last connection or frame that was refused, for whoever waits in vain.
        self._refusal = ""
        self._origin_s: float | None = None
        #: What actors have recorded while their disk was full.
        self._unwritten: dict[str, list[tuple[float, Row]]] = {}
        self._early: list[tuple[str, Message, int, float]] = []
        self._gone: set[str] = set()
        #: Who wants news of a peer; dicts for their order.
        self._watchers: dict[str, dict[str, None]] = {}

    # The run.

    async def run(self, listener: socket.socket | tuple[str, int]) -> None:
        """Take part from the first greeting to the goodbye. Raises `RunFailed`, and `RecordsError` of the records."""
        try:
            await self.transport.listen(listener)
            for place in self.places.values():
                await self._processor.rehearse(place.cell.actor)
        except OSError as error:
            where = "its socket" if isinstance(listener, socket.socket) else f"{listener[0]}:{listener[1]}"
            why = os.strerror(error.errno) if error.errno and error.errno > 0 else error
            raise CannotListen(f"node {self.node} cannot listen on {where}: {why}") from None
        leader = self.node == self._main_node
        try:
            await self._meet(leader)
            if leader:
                self.clock.start()
                for peer in self.transport.peers:
                    self.transport.tell(peer, protocol.GO, _ORIGIN.pack(self.clock.origin_s))
            else:
                await self._first(self._going)
                self.clock.start(self._origin_s)
            self._start()
            await self._over.wait()
            self._raise_failure()
        finally:
            for place in self.places.values():
                await place.close(GRACE_S)
            for place in self.places.values():
                place.machine.close()
            self._say_what_is_lost()
            if leader:
                self._tell_end(*self.transport.peers)
            elif self._failure is not None:
                self._tell_end(self._main_node)
            await self.transport.close(GRACE_S)
            self._account()
        self._raise_failure()

    @property
    def result(self) -> ArrayDict | None:
        """The arrays that the main actor, if it is here, has left as its `result`."""
        place = self.places.get(self.deployment.main)
        result = getattr(place.cell.actor, "result", None) if place is not None else None
        return result if isinstance(result, ArrayDict) else None

    async def _meet(self, leader: bool) -> None:
        if not leader:
            self.transport.reach(self._main_node)
        if not self._missing:
            return
        try:
            async with asyncio.timeout(self._patience_s):
                await self._first(self._met)
        except TimeoutError:
            names = ", ".join(sorted(self._missing))
            refused = f"; refused meanwhile: {self._refusal}" if self._refusal else ""
            raise RunFailed(f"node {self.node} waited {self._patience_s:g} s in vain for {names}{refused}") from None

    async def _first(self, event: asyncio.Event) -> None:
        """Wait for an event, or for the end of the run."""
        loop = asyncio.get_running_loop()
        waits = (loop.create_task(event.wait()), loop.create_task(self._over.wait()))
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
        self._raise_failure()

    def _start(self) -> None:
        if self._begun is not None:
            self._begun()
        for place in self.places.values():
            place.start()
        early, self._early = self._early, []
        for receiver, message, size_bytes, sent_s in early:
            self._arrive(receiver, message, size_bytes, sent_s)

    def _end(self, failure: BaseException | None = None) -> None:
        if not self._over.is_set():
            self._failure = failure
            self._over.set()

    def _raise_failure(self) -> None:
        if self._failure is not None:
            raise self._failure

    def _tell_end(self, *peers: str) -> None:
        if self._failure is not None:
            reason = str(self._failure)
        else:
            reason = "" if self._over.is_set() else "the run was interrupted"
        for peer in peers:
            self.transport.tell(peer, protocol.END, reason.encode()[: protocol.MAX_BODY_BYTES])

    def _account(self) -> None:
        usage = resource.getrusage(resource.RUSAGE_SELF)
        traffic = self.transport.traffic
        # Linux counts in kilobytes, macOS in bytes.
        unit = 1 if sys.platform == "darwin" else 1024
        self.record(
            self.node,
            HostNodeRow(
                process=self.node,
                cpu_s=usage.ru_utime + usage.ru_stime,
                peak_rss_bytes=usage.ru_maxrss * unit,
                frame_bytes_sent=traffic.frame_bytes_sent,
                frame_bytes_received=traffic.frame_bytes_received,
                heartbeat_bytes=traffic.record_bytes,
                handshakes=traffic.handshakes,
                reconnections=traffic.reconnections,
            ),
        )

    # Messages out.

    async def transmit(self, sender: str, to: str, message: Message) -> None:
        """Send a stamped message of an own actor; waits while too much is queued for that peer."""
        place = self.places[sender]
        for peer, leaving in place.outgoing(to, message):
            node = self._way(place, peer, leaving)
            if node is not None and not await self.transport.send(node, peer, leaving, self.clock.now):
                self._not_reached(place, peer, leaving, "gone")

    def hand_over(self, sender: str, to: str, message: Message) -> None:
        """The same without waiting, whatever the state of the sender's link."""
        place = self.places[sender]
        node = self._way(place, to, message)
        if node is not None and not self.transport.send_now(node, to, message, self.clock.now):
            self._not_reached(place, to, message, "gone")

    def can_reach(self, to: str, message: Message) -> bool:
        known = type(message) in self._kinds and to in self._node_of and to not in self._gone
        return known and frame_size(to, message) <= self.deployment.max_frame_bytes

    def _way(self, place: Place, to: str, message: Message) -> str | None:
        """The other node that a message goes to; None if it is delivered here, or not at all."""
        if type(message) not in self._kinds:
            raise TypeError(f"{type(message).__name__} is none of the message types of this deployment")
        node = self._node_of.get(to)
        if node is None or to in self._gone:
            self._not_reached(place, to, message, "gone")
            return None
        size_bytes = frame_size(to, message)
        if size_bytes > self.deployment.max_frame_bytes:
            self._not_reached(place, to, message, "oversized")
            return None
        place.machine.count_sent(size_bytes)
        if node != self.node:
            return node
        receiver, copy = self._codec.decode_frame(b"".join(encode(to, message)))
        asyncio.get_running_loop().call_soon(self._arrive, receiver, copy, size_bytes, self.clock.now)
        return None

    def _not_reached(self, place: Place, to: str, message: Message, reason: str) -> None:
        if not isinstance(message, Refusal):
            self.undelivered(to, message, frame_size(to, message), reason)
        if message.correlation > 0:
            place.cell.refuse(message.correlation, reason)

    # Messages in.

    def arrived(self, node: str, receiver: str, message: Message, size_bytes: int, sent_s: float) -> None:
        if self.clock.started:
            self._arrive(receiver, message, size_bytes, sent_s)
        else:
            self._early.append((receiver, message, size_bytes, sent_s))

    def _arrive(self, receiver: str, message: Message, size_bytes: int, sent_s: float) -> None:
        if self._over.is_set():
            return
        place = self.places.get(receiver)
        if place is None:
            self.undelivered(receiver, message, size_bytes, "gone")
        else:
            place.arrive(message, size_bytes, sent_s)

    def delivered(self, receiver: str, message: Message, size_bytes: int, sent_s: float) -> None:
        try:
            # Clocks of several machines begin when they hear "go", moments apart; nothing arrives before it was sent.
            delivered_s = max(self.clock.now, sent_s)
            self._records.message(sent_s, delivered_s, message.sender, receiver, type(message), size_bytes)
        except RecordsError as error:
            self._end(error)

    def undelivered(self, receiver: str, message: Message, size_bytes: int, reason: str) -> None:
        kind = type(message).__name__
        self.record(
            receiver,
            UndeliveredRow(sender=message.sender, receiver=receiver, type=kind, size_bytes=size_bytes, reason=reason),
        )

    def refused(self, node: str, sender: str, receiver: str, kind: str, size_bytes: int, error: WireError) -> None:
        self.transport.traffic.refused[error.reason] += 1
        self._refusal = f"{sender} ({error.detail})"
        self.record(
            receiver,
            UndeliveredRow(sender=sender, receiver=receiver, type=kind, size_bytes=size_bytes, reason=error.reason),
        )

    def record(self, actor: str, row: Row) -> None:
        now = self.clock.now
        waiting = self._unwritten.get(actor)
        if waiting is not None and not isinstance(row, FaultRow):
            waiting.append((now, row))
        else:
            self._write(now, actor, row)
        if self._observe is not None:
            self._observe(now, actor, row)

    def _write(self, time_s: float, actor: str, row: Row) -> None:
        try:
            self._records.row(time_s, actor, row)
        except RecordsError as error:
            self._end(error)

    def keep_rows(self, actor: str, keep: bool) -> None:
        if keep:
            self._unwritten.setdefault(actor, [])
            return
        for time_s, row in self._unwritten.pop(actor, ()):
            self._write(time_s, actor, row)

    def _say_what_is_lost(self) -> None:
        """The run is over: what still waits for a disk with room is lost, and the run with the main actor's rows."""
        for actor, rows in self._unwritten.items():
            if rows:
                detail = f"{len(rows)} rows: the disk was full when the run ended"
                self.record(actor, FaultRow(kind="records_lost", detail=detail))
        rows = self._unwritten.get(self.deployment.main, [])
        if rows and self._failure is None:
            main = self.deployment.main
            self._failure = RunFailed(f"the disk of {main} was full at the end: {len(rows)} of its rows are lost")

    # Who is there.

    def watch(self, watcher: str, peer: str) -> None:
        node = self._node_of.get(peer)
        if node is None or peer in self._gone:
            asyncio.get_running_loop().call_soon(self.places[watcher].cell.take_local, PeerGone(peer=peer))
            return
        self._watchers.setdefault(peer, {})[watcher] = None
        if node != self.node:
            self.transport.reach(node)

    def watched_by(self, watcher: str) -> list[str]:
        return [peer for peer, watchers in self._watchers.items() if watcher in watchers]

    def forget_watch(self, watcher: str, peer: str) -> None:
        self._watchers[peer].pop(watcher, None)

    def forget_watches(self, watcher: str) -> list[str]:
        watched = self.watched_by(watcher)
        for peer in watched:
            self.forget_watch(watcher, peer)
        return watched

    def _tell_watchers(self, actor: str) -> None:
        for watcher in self._watchers.pop(actor, {}):
            self.places[watcher].cell.take_local(PeerGone(peer=actor))

    def _gone_for_good(self, actor: str) -> None:
        if actor in self._gone:
            return
        self._gone.add(actor)
        for place in self.places.values():
            place.cell.peer_gone(actor)
        self._tell_watchers(actor)

    def left(self, cell: Cell) -> None:
        place = self.places[cell.name]
        place.leave()
        self.forget_watches(cell.name)
        if cell.name == self.deployment.main:
            self._end()
            return
        for peer in self.transport.peers:
            self.transport.tell(peer, protocol.LEFT, cell.name.encode())
        asyncio.get_running_loop().call_soon(self._gone_for_good, cell.name)

    def failed(self, cell: Cell, error: BaseException) -> None:
        if lost_its_device(error) or not cell.alive:
            return
        what = f"{type(error).__name__}: {error}"
        self.record(cell.name, FaultRow(kind="actor_failed", detail=what))
        failure = RunFailed(f"{cell.name} failed at {self.clock.now:g} s: {what}")
        failure.__cause__ = error
        self._end(failure)

    def missed(self, place: Place) -> None:
        for peer in self.transport.peers:
            self.transport.tell(peer, protocol.MISSED, place.name.encode())
        self._tell_watchers(place.name)

    def main_stopped(self, reason: str) -> None:
        self._end(RunFailed(reason))

    # What the transport tells.

    def connected(self, node: str) -> None:
        self._missing.discard(node)
        if not self._missing:
            self._met.set()

    def gone(self, node: str, *, lost: bool, unsent: list[Item]) -> None:
        for item in unsent:
            if item.message is not None and not self._over.is_set():
                self.undelivered(item.receiver, item.message, item.frame_bytes, "gone")
        if lost:
            self.record(self.node, FaultRow(kind="node_lost", detail=node))
        if node == self._main_node:
            self._end(
                RunFailed(f"node {node}, which hosts {self.deployment.main}, {'was lost' if lost else 'has left'}")
            )
        elif node in self._missing:
            self._end(RunFailed(f"node {node} {'was lost' if lost else 'has left'} before the run began"))
        for actor in self.transport.peers[node].entry.actors:
            self._gone_for_good(actor)

    def actor_left(self, node: str, actor: str) -> None:
        self._gone_for_good(actor)

    def actor_missed(self, node: str, actor: str) -> None:
        self._tell_watchers(actor)

    def go(self, node: str, body: bytes) -> None:
        if node != self._main_node:
            return
        if self._shared_clock and len(body) == _ORIGIN.size:
            (self._origin_s,) = _ORIGIN.unpack(body)
        self._going.set()

    def ended(self, node: str, reason: str) -> None:
        if node == self._main_node:
            self._end(RunFailed(reason) if reason else None)
        elif self.node == self._main_node:
            self._end(RunFailed(reason or f"node {node} has ended the run"))

    def shut_out(self, node: str, reason: str) -> None:
        reason = f"no connection between node {self.node} and node {node}: {reason}"
        if not self.clock.started or node == self._main_node:
            self._end(NotAdmitted(reason))
        else:
            self.record(self.node, FaultRow(kind="node_refused", detail=reason))

    def crashed(self, error: BaseException) -> None:
        self._end(error)
