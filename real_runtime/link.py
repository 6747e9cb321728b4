"""One stream between two nodes: an ordered queue that survives the connection which carries it.

A link outlives its TCP connections. What was handed to a connection is kept until the other side's count of received
items confirms it, and goes out again, in order, on the next connection; so every item arrives exactly once and in
order, as long as both nodes live. The queue is bounded in bytes, and `put` waits while it is full.
"""

from __future__ import annotations

import asyncio
import dataclasses
from collections import Counter, deque
from typing import Final, Protocol

from core.actor import Message
from core.wire import Prefix, WireError, decode_prefix
from real_runtime import protocol

#: Bytes that may wait for one peer and stream, sent or not, until they are confirmed.
HIGH_WATER_BYTES: Final = 16 << 20
#: What is received is confirmed after so many bytes or items, and at every sign of life.
CONFIRM_BYTES: Final = 1 << 20
CONFIRM_ITEMS: Final = 64
#: Larger frames go to the socket in pieces, so that encryption does not hold the loop up.
PIECE_BYTES: Final = 1 << 18
#: Signs of life per time-out of silence.
BEATS: Final = 4


@dataclasses.dataclass
class Traffic:
    """What a node's connections carried, in bytes and counts."""

    frame_bytes_sent: int = 0
    frame_bytes_received: int = 0
    #: Records beside the frames, both ways.
    record_bytes: int = 0
    handshakes: int = 0
    reconnections: int = 0
    #: Refused connections and frames, by reason.
    refused: Counter[str] = dataclasses.field(default_factory=Counter)


@dataclasses.dataclass(frozen=True, eq=False)
class Item:
    """Something to send: a frame behind its stamp, or a reliable record (without a message)."""

    parts: list[bytes | memoryview]
    record_bytes: int
    frame_bytes: int
    receiver: str = ""
    message: Message | None = None

    @property
    def nbytes(self) -> int:
        return self.record_bytes + self.frame_bytes


class LinkEvents(Protocol):
    """What a link tells the peer it belongs to."""

    def frame(self, link: Link, sent_ns: int, prefix: Prefix, header: bytes, body: bytes | bytearray) -> None:
        """A whole frame has arrived."""

    def told(self, link: Link, kind: int, value: int, body: bytes) -> None:
        """A reliable record or a goodbye has arrived."""

    def garbage(self, link: Link, size_bytes: int, error: WireError) -> None:
        """Something arrived that is neither a frame nor a record; the connection ends."""

    def detached(self, link: Link) -> None:
        """The connection has ended without a goodbye."""

    def crashed(self, error: BaseException) -> None:
        """Something failed that has nothing to do with the connection."""


class Link:
    """The queue and the connection, if there is one, of one stream to one peer."""

    def __init__(
        self, events: LinkEvents, stream: int, *, traffic: Traffic, silence_s: float, max_frame_bytes: int
    ) -> None:
        self.stream = stream
        #: Items received in all connections so far.
        self.received = 0
        #: Whether anything was ever queued.
        self.used = False
        self._events = events
        self._traffic = traffic
        self._silence_s = silence_s
        self._max_frame_bytes = max_frame_bytes
        self._unsent: deque[Item] = deque()
        self._unconfirmed: deque[Item] = deque()
        self._confirmed = 0
        self._held_bytes = 0
        self._turn = asyncio.Lock()
        self._room = asyncio.Event()
        self._wake = asyncio.Event()
        self._beat_due = False
        self._owed_items = 0
        self._owed_bytes = 0
        self._closing = False
        self._closed = False
        self._writer: asyncio.StreamWriter | None = None
        #: The task of each connection, and the three it consists of.
        self._serving: set[asyncio.Task[None]] = set()
        self._parts: set[asyncio.Task[bool] | asyncio.Task[None]] = set()
        self._heard_s = 0.0

    @property
    def attached(self) -> bool:
        """Whether a connection carries it at present."""
        return self._writer is not None

    @property
    def pending(self) -> bool:
        """Whether something waits to be sent or confirmed."""
        return bool(self._unsent or self._unconfirmed)

    # The queue.

    async def put(self, item: Item) -> bool:
        """Queue an item, after those that wait already; False if the peer is gone."""
        async with self._turn:
            while not self._closed and self._held_bytes and self._held_bytes + item.nbytes > HIGH_WATER_BYTES:
                self._room.clear()
                await self._room.wait()
            return self.put_now(item)

    def put_now(self, item: Item) -> bool:
        """Queue an item, however much is queued; False if the peer is gone."""
        if self._closed or self._closing:
            return False
        self.used = True
        self._held_bytes += item.nbytes
        self._unsent.append(item)
        self._wake.set()
        return True

    def _confirm(self, received: int) -> None:
        if not 0 <= received - self._confirmed <= len(self._unconfirmed):
            raise WireError("malformed", f"{received} items confirmed, after {self._confirmed} of those sent")
        while self._confirmed < received:
            self._held_bytes -= self._unconfirmed.popleft().nbytes
            self._confirmed += 1
        self._room.set()

    # The connection.

    def detach(self) -> None:
        """Drop the connection at once; nothing more is read from it."""
        writer, self._writer = self._writer, None
        if writer is not None:
            writer.transport.abort()
        # The parts are cancelled here and now: none of them may touch the queue once another connection has it.
        for part in self._parts:
            part.cancel()
        self._parts = set()

    def attach(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, confirmed: int) -> None:
        """Go on over a new connection, on which the peer says it has received `confirmed` items so far.

        Raises `WireError` if that cannot be; then the connection is not taken.
        """
        self.detach()
        self._confirm(confirmed)
        self._unsent.extendleft(reversed(self._unconfirmed))
        self._unconfirmed.clear()
        self._writer = writer
        self._owed_items = self._owed_bytes = 0
        self._beat_due = False
        loop = asyncio.get_running_loop()
        self._heard_s = loop.time()
        reading = loop.create_task(self._read(reader))
        sending = loop.create_task(self._write(writer))
        watching = loop.create_task(self._watch())
        self._parts = {reading, sending, watching}
        task = loop.create_task(self._serve(writer, reading, sending, watching))
        self._serving.add(task)
        task.add_done_callback(self._serving.discard)

    async def _serve(
        self,
        writer: asyncio.StreamWriter,
        reading: asyncio.Task[bool],
        sending: asyncio.Task[None],
        watching: asyncio.Task[None],
    ) -> None:
        await asyncio.wait((reading, sending, watching), return_when=asyncio.FIRST_COMPLETED)
        farewell = sending.done() and not sending.cancelled() and sending.exception() is None
        if farewell:
            # We have said goodbye; the other side reads to the end and closes.
            await asyncio.wait((reading,), timeout=self._silence_s)
        mine = self._writer is writer
        if mine:
            self._writer = None
        for part in (reading, sending, watching):
            part.cancel()
        outcomes = await asyncio.gather(reading, sending, watching, return_exceptions=True)
        writer.transport.abort()
        for outcome in outcomes:
            if isinstance(outcome, Exception) and not isinstance(outcome, OSError | asyncio.IncompleteReadError):
                self._events.crashed(outcome)
        if mine and not farewell and outcomes[0] is not True:
            self._events.detached(self)

    async def _watch(self) -> None:
        """Give signs of life, and end the connection when the other side gives none."""
        loop = asyncio.get_running_loop()
        interval_s = self._silence_s / BEATS
        due_s = loop.time()
        while True:
            due_s += interval_s
            await asyncio.sleep(due_s - loop.time())
            now_s = loop.time()
            if now_s - due_s > interval_s:
                # This very process was held up; what the peer said meanwhile has not been read yet.
                self._heard_s = due_s = now_s
            if now_s - self._heard_s > self._silence_s:
                return
            self._beat_due = True
            self._wake.set()

    async def _write(self, writer: asyncio.StreamWriter) -> None:
        while True:
            self._wake.clear()
            if self._beat_due:
                self._beat_due = False
                self._owed_items = self._owed_bytes = 0
                await self._emit(writer, protocol.record(protocol.HEARTBEAT, value=self.received))
            elif self._unsent:
                item = self._unsent.popleft()
                self._unconfirmed.append(item)
                await self._write_item(writer, item)
            elif self._closing:
                await self._emit(writer, protocol.record(protocol.GOODBYE, value=self.received))
                return
            else:
                await self._wake.wait()

    async def _emit(self, writer: asyncio.StreamWriter, record: bytes) -> None:
        self._traffic.record_bytes += len(record)
        await _put_through(writer, record)

    async def _write_item(self, writer: asyncio.StreamWriter, item: Item) -> None:
        self._traffic.record_bytes += item.record_bytes
        self._traffic.frame_bytes_sent += item.frame_bytes
        if item.nbytes <= PIECE_BYTES:
            await _put_through(writer, b"".join(item.parts))
            return
        for part in item.parts:
            for at in range(0, len(part), PIECE_BYTES):
                await _put_through(writer, part[at : at + PIECE_BYTES])

    async def _read(self, reader: asyncio.StreamReader) -> bool:
        """Read to the end; whether it was a goodbye."""
        size = protocol.RECORD_BYTES
        try:
            sent_ns = 0
            while True:
                head = await reader.readexactly(protocol.RECORD_BYTES)
                size = len(head)
                if not protocol.is_record(head):
                    prefix = decode_prefix(head, max_frame_bytes=self._max_frame_bytes)
                    size = len(head) + prefix.header_bytes + prefix.body_bytes
                    header = await self._take(reader, prefix.header_bytes)
                    body = await self._take(reader, prefix.body_bytes)
                    self._traffic.frame_bytes_received += size
                    self._owe(size)
                    self._events.frame(self, sent_ns, prefix, bytes(header), body)
                    continue
                kind, body_bytes, value = protocol.parse_record(head)
                told = bytes(await self._take(reader, body_bytes))
                self._traffic.record_bytes += len(head) + body_bytes
                if kind == protocol.STAMP:
                    sent_ns = value
                elif kind == protocol.HEARTBEAT:
                    self._heard_s = asyncio.get_running_loop().time()
                    self._confirm(value)
                elif kind == protocol.GOODBYE:
                    self._confirm(value)
                    self._events.told(self, kind, value, told)
                    return True
                elif kind in protocol.RELIABLE:
                    self._owe(len(head) + body_bytes)
                    self._events.told(self, kind, value, told)
                else:
                    raise WireError("malformed", "a greeting in the middle of a connection")
        except WireError as error:
            # Where the next frame begins cannot be known; the item counts as received, so that it is not sent again.
            self.received += 1
            self._events.garbage(self, size, error)
            return False

    def _owe(self, size: int) -> None:
        self.received += 1
        self._owed_items += 1
        self._owed_bytes += size
        if self._owed_items >= CONFIRM_ITEMS or self._owed_bytes >= CONFIRM_BYTES:
            self._beat_due = True
            self._wake.set()

    async def _take(self, reader: asyncio.StreamReader, count: int) -> bytes | bytearray:
        """Exactly `count` bytes; memory grows with what has arrived, not with what was announced."""
        loop = asyncio.get_running_loop()
        self._heard_s = loop.time()
        if count <= PIECE_BYTES:
            return await reader.readexactly(count)
        data = bytearray()
        while len(data) < count:
            piece = await reader.read(min(count - len(data), PIECE_BYTES))
            if not piece:
                raise asyncio.IncompleteReadError(b"", count)
            self._heard_s = loop.time()
            data += piece
        return data

    # The end.

    async def close(self, grace_s: float) -> None:
        """Send what is queued, say goodbye, and wait for the other side to close; at most `grace_s`."""
        self._closing = True
        self._wake.set()
        serving = set(self._serving)
        if serving and grace_s > 0:
            await asyncio.wait(serving, timeout=grace_s)
        self.abandon()
        if self._serving:
            await asyncio.wait(self._serving)

    def abandon(self) -> list[Item]:
        """The peer is gone: end the connection; returns what was not confirmed."""
        self._closed = True
        self.detach()
        rest = [*self._unconfirmed, *self._unsent]
        self._unconfirmed.clear()
        self._unsent.clear()
        self._held_bytes = 0
        self._room.set()
        return rest


async def _put_through(writer: asyncio.StreamWriter, data: bytes | memoryview) -> None:
    if writer.transport.is_closing():
        raise ConnectionResetError("the connection is closing")
    writer.write(data)
    await writer.drain()
