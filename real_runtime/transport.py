"""TLS connections between the nodes of a run: who may connect, which connection carries a link, who is lost.

TLS 1.3 only, with certificates of the run's authority on both sides, each of them pinned by the address book. There is
one connection per pair of nodes and stream, dialled by whoever needs it first; if both dial at once, that of the node
whose name sorts first stays. A peer that says goodbye has left; one whose connection ends otherwise is dialled again
with growing pauses, and is lost when it refuses a few times or stays silent for too long.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from pathlib import Path
from typing import Final

from core.actor import Message
from core.wire import BULK, CONTROL, VERSION, Codec, WireError, encode, stream_of
from real_runtime import protocol
from real_runtime.book import Book
from real_runtime.credentials import contexts, fingerprint
from real_runtime.link import Item, Link, Traffic
from real_runtime.peer import Events, Peer

#: Pauses between attempts to connect.
FIRST_PAUSE_S: Final = 0.05
LAST_PAUSE_S: Final = 2.0
#: A peer that was there and whose port refuses so often in a row is lost.
REFUSALS: Final = 4
#: Handshakes and greetings of connections that nobody vouches for yet take at most this long, and so many at once.
GREETING_S: Final = 10.0
MAX_STRANGERS: Final = 64


class ShutOut(Exception):
    """The peer will never take this connection (or must not be taken): the reason, in a sentence."""


class _Busy(Exception):
    """The peer is dialling us at the same time, and its connection stays."""


class _Arrival(asyncio.Protocol):
    """A TCP connection that was accepted; nothing is read before the TLS handshake takes it over."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        transport.pause_reading()
        # asyncio does this only for sockets whose protocol is given explicitly, which that of a bound one need not be.
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._transport.welcome(transport)


class Transport:
    """All connections of one node."""

    def __init__(
        self,
        events: Events,
        *,
        node: str,
        book: Book,
        credentials: Path,
        codec: Codec,
        silence_s: float,
        patience_s: float,
    ) -> None:
        """`silence_s`: wall seconds after which a silent peer is lost; `patience_s`: how long one may take to appear.

        Raises `CredentialsError`.
        """
        self.events = events
        self.node = node
        self.codec = codec
        self.silence_s = silence_s
        self.patience_s = patience_s
        self.traffic = Traffic()
        self._run = book.run
        self._dialling_tls, self._accepting_tls = contexts(credentials, node)
        self.peers = {
            name: Peer(self, name, entry, traffic=self.traffic, silence_s=silence_s)
            for name, entry in book.nodes.items()
            if name != node
        }
        self._pinned = {entry.fingerprint: name for name, entry in book.nodes.items()}
        self._strangers: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None
        self._closing = False

    # Sending.

    async def send(self, node: str, receiver: str, message: Message, sent_s: float) -> bool:
        """Queue a message for an actor of a peer; waits while too much is queued; False if the peer is gone."""
        return await self._link(node, message).put(_item(receiver, message, sent_s))

    def send_now(self, node: str, receiver: str, message: Message, sent_s: float) -> bool:
        """Queue a message, however much is queued; False if the peer is gone."""
        return self._link(node, message).put_now(_item(receiver, message, sent_s))

    def _link(self, node: str, message: Message) -> Link:
        peer = self.peers[node]
        stream = stream_of(type(message))
        self.dial(peer, stream)
        return peer.links[stream]

    def tell(self, node: str, kind: int, body: bytes = b"") -> None:
        """Queue a reliable record for a peer (LEFT goes on every stream that was used)."""
        peer = self.peers[node]
        if kind == protocol.MISSED and not peer.met:
            return
        streams = [CONTROL, BULK] if kind == protocol.LEFT and peer.links[BULK].used else [CONTROL]
        record = protocol.record(kind, value=len(streams), body=body)
        for stream in streams:
            peer.links[stream].put_now(Item([record], len(record), 0))

    def reach(self, node: str) -> None:
        """See to it that the control stream of a peer is connected, or the peer found lost."""
        self.dial(self.peers[node], CONTROL)

    # Dialling.

    def dial(self, peer: Peer, stream: int) -> None:
        """Begin to connect, unless that is not needed or under way."""
        if self._closing or peer.gone or peer.links[stream].attached or stream in peer.dialling:
            return
        task = asyncio.get_running_loop().create_task(self._dial(peer, stream))
        peer.dialling[stream] = task

        def over(task: asyncio.Task[None]) -> None:
            if peer.dialling.get(stream) is task:
                del peer.dialling[stream]
            if not task.cancelled() and (error := task.exception()) is not None:
                self.events.crashed(error)

        task.add_done_callback(over)

    async def _dial(self, peer: Peer, stream: int) -> None:
        loop = asyncio.get_running_loop()
        began_s = loop.time()
        pause_s = FIRST_PAUSE_S
        refusals = 0
        limit_s = self.silence_s if peer.met else self.patience_s
        while True:
            try:
                async with asyncio.timeout(max(min(GREETING_S, began_s + limit_s - loop.time()), FIRST_PAUSE_S)):
                    await self._greet(peer, stream)
                return None
            except ConnectionRefusedError:
                refusals += 1
            except ssl.SSLCertVerificationError as error:
                self.events.shut_out(
                    peer.name, f"its certificate is not of this run's authority ({error.verify_message})"
                )
                return self.lose(peer, lost=True)
            except ShutOut as error:
                self.events.shut_out(peer.name, str(error))
                return self.lose(peer, lost=True)
            except ssl.SSLError as error:
                refusals = 0
                if any(word in (error.reason or "") for word in ("UNKNOWN_CA", "BAD_CERTIFICATE", "CERTIFICATE_")):
                    self.events.shut_out(peer.name, f"it refuses this node's certificate ({error.reason})")
                    return self.lose(peer, lost=True)
            except _Busy:
                refusals = 0
            except (OSError, TimeoutError, asyncio.IncompleteReadError, WireError):
                refusals = 0
            if loop.time() - began_s >= limit_s or (peer.met and refusals >= REFUSALS):
                return self.lose(peer, lost=True)
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, LAST_PAUSE_S)
            if peer.gone or peer.links[stream].attached:
                return None

    async def _greet(self, peer: Peer, stream: int) -> None:
        self.traffic.handshakes += 1
        reader, writer = await asyncio.open_connection(
            peer.entry.host, peer.entry.port, ssl=self._dialling_tls, server_hostname=peer.name
        )
        link = peer.links[stream]
        try:
            shown = _shown(writer)
            if shown != peer.entry.fingerprint:
                raise ShutOut(
                    f"it shows the certificate {shown[:16]}…, but the address book pins {peer.entry.fingerprint[:16]}…"
                )
            hello = protocol.encode_hello(self.node, self._run, stream, link.received)
            peer.greeted.add(stream)
            writer.write(hello)
            head = protocol.parse_record(await reader.readexactly(protocol.RECORD_BYTES))
            body = await reader.readexactly(head.body_bytes)
            self.traffic.record_bytes += len(hello) + protocol.RECORD_BYTES + len(body)
            if head.kind == protocol.REFUSED:
                raise ShutOut(body.decode("utf-8", "replace")) if body else _Busy
            if head.kind != protocol.WELCOME:
                raise WireError("malformed", f"record {head.kind} where a welcome is due")
            self._attach(peer, stream, reader, writer, head.value)
        except BaseException:
            writer.transport.abort()
            raise
        finally:
            peer.greeted.discard(stream)

    def _attach(
        self, peer: Peer, stream: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, confirmed: int
    ) -> None:
        link = peer.links[stream]
        again = link.used and link.received + confirmed > 0
        link.attach(reader, writer, confirmed)
        self.traffic.reconnections += again
        peer.met = True
        if stream == CONTROL:
            self.events.connected(peer.name)

    # Accepting.

    async def listen(self, listener: socket.socket | tuple[str, int]) -> None:
        """Accept connections on a socket that is bound already, or on (host, port); raises `OSError`."""
        loop = asyncio.get_running_loop()
        if isinstance(listener, socket.socket):
            self._server = await loop.create_server(lambda: _Arrival(self), sock=listener)
        else:
            host, port = listener
            self._server = await loop.create_server(lambda: _Arrival(self), host, port, reuse_address=True)

    def welcome(self, raw: asyncio.Transport) -> None:
        """A TCP connection has come in."""
        if self._closing or len(self._strangers) >= MAX_STRANGERS:
            raw.abort()
            return
        task = asyncio.get_running_loop().create_task(self._welcome(raw))
        self._strangers.add(task)

        def over(task: asyncio.Task[None]) -> None:
            self._strangers.discard(task)
            if not task.cancelled() and (error := task.exception()) is not None:
                self.events.crashed(error)

        task.add_done_callback(over)

    async def _welcome(self, raw: asyncio.Transport) -> None:
        loop = asyncio.get_running_loop()
        reader = asyncio.StreamReader(loop=loop)
        streams = asyncio.StreamReaderProtocol(reader, loop=loop)
        transport: asyncio.Transport | None = None
        taken = False
        try:
            async with asyncio.timeout(GREETING_S):
                transport = await loop.start_tls(raw, streams, self._accepting_tls, server_side=True)
                assert transport is not None
                streams.connection_made(transport)
                writer = asyncio.StreamWriter(transport, streams, reader, loop)
                self.traffic.handshakes += 1
                try:
                    taken = await self._take(reader, writer)
                except ShutOut as error:
                    self._refuse(_peer_of(writer), WireError("unexpected", str(error)))
                    writer.write(protocol.record(protocol.REFUSED, body=str(error).encode()))
                    writer.close()
                    taken = True
                    await writer.wait_closed()
        except WireError as error:
            self._refuse(_address(raw), error)
        except ssl.SSLError as error:
            self._refuse(_address(raw), WireError("malformed", str(error)))
        except TimeoutError:
            self._refuse(_address(raw), WireError("truncated", f"no greeting within {GREETING_S:g} s"))
        except (OSError, asyncio.IncompleteReadError):
            # It has gone away by itself, as a node does whose peer has dialled it at the same time.
            pass
        finally:
            if not taken:
                (transport or raw).abort()

    def _refuse(self, address: str, error: WireError) -> None:
        self.events.refused("", address, self.node, "", 0, error)

    async def _take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Read the greeting of a connection and attach it; whether it is kept."""
        head = await reader.readexactly(protocol.RECORD_BYTES)
        record = protocol.parse_record(head)
        if record.kind != protocol.HELLO:
            raise WireError("malformed", f"record {record.kind} where a greeting is due")
        hello = protocol.decode_hello(await reader.readexactly(record.body_bytes))
        self.traffic.record_bytes += 2 * len(head) + record.body_bytes
        shown = _shown(writer)
        if hello.version != VERSION:
            raise ShutOut(f"version {hello.version} of the wire, where node {self.node} speaks {VERSION}")
        if hello.run != self._run:
            raise ShutOut(f"run {hello.run!r} is not the one that node {self.node} belongs to")
        if self._pinned.get(shown) != hello.node or hello.node not in self.peers:
            raise ShutOut(f"the certificate {shown[:16]}… is not the one pinned for node {hello.node!r}")
        if hello.stream not in (CONTROL, BULK):
            raise WireError("malformed", f"unknown stream {hello.stream}")
        peer = self.peers[hello.node]
        if peer.gone:
            raise ShutOut(f"node {self.node} has given {hello.node} up as lost")
        if hello.stream in peer.greeted and self.node < hello.node:
            writer.write(protocol.record(protocol.REFUSED))
            writer.close()
            return True
        dialling = peer.dialling.pop(hello.stream, None)
        if dialling is not None:
            dialling.cancel()
        link = peer.links[hello.stream]
        link.detach()
        writer.write(protocol.record(protocol.WELCOME, value=link.received))
        self._attach(peer, hello.stream, reader, writer, hello.received)
        return True

    # The end.

    def lose(self, peer: Peer, *, lost: bool) -> None:
        """A peer has left or is lost for good."""
        if peer.gone or self._closing:
            return
        peer.gone = True
        for task in peer.dialling.values():
            if task is not asyncio.current_task():
                task.cancel()
        unsent = [item for link in peer.links.values() for item in link.abandon()]
        self.events.gone(peer.name, lost=lost, unsent=unsent)

    async def close(self, grace_s: float) -> None:
        """Send what is queued, say goodbye to all, and close everything; takes at most about `grace_s`."""
        self._closing = True
        if self._server is not None:
            self._server.close()
        tasks = [*self._strangers, *(task for peer in self.peers.values() for task in peer.dialling.values())]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        # The bulk streams first: a goodbye on the control stream then comes last.
        for stream in (BULK, CONTROL):
            await asyncio.gather(*(peer.links[stream].close(grace_s) for peer in self.peers.values()))
        if self._server is not None:
            await self._server.wait_closed()
        # Let the aborted transports close their sockets.
        await asyncio.sleep(0)
        await asyncio.sleep(0)


def _item(receiver: str, message: Message, sent_s: float) -> Item:
    frame = encode(receiver, message)
    stamp = protocol.record(protocol.STAMP, value=int(sent_s * 1e9))
    return Item([stamp, *frame], len(stamp), sum(len(part) for part in frame), receiver, message)


def _shown(writer: asyncio.StreamWriter) -> str:
    """The fingerprint of the certificate that the other side has shown."""
    certificate = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    return fingerprint(certificate)


def _address(transport: asyncio.BaseTransport) -> str:
    name = transport.get_extra_info("peername")
    return f"{name[0]}:{name[1]}" if isinstance(name, tuple) else ""


def _peer_of(writer: asyncio.StreamWriter) -> str:
    return _address(writer.transport)
