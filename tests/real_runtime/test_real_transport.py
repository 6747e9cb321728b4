"""The connections between nodes: who is let in, what is refused, what survives a dropped connection."""

from __future__ import annotations

import asyncio
import dataclasses
import ssl
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from core.actor import Actor, ArrayDict, Context, DeadlineExceeded, Message, Payload, PeerLeft
from core.deployment import Deployment, Placement
from core.devices import link, profile
from core.records.rows import HostNodeRow, Row, UndeliveredRow
from core.wire import BULK, CONTROL, PREFIX, encode
from real_runtime import credentials, protocol
from real_runtime.book import Book
from real_runtime.processor import Processor
from real_runtime.testing import MemoryRecords, local_nodes, run_nodes
from real_runtime.world import NotAdmitted, RunFailed, World


class Ask(Message, frozen=True, kw_only=True):
    number: int


class Parcel(Message, frozen=True, kw_only=True):
    number: int
    data: Payload


class Echo(Actor):
    accepts = (Ask, Parcel)

    async def handle(self, ctx: Context, message: Message) -> None:
        await ctx.reply(message, Ask(number=message.number))  # type: ignore[attr-defined]


def deployment(life: Callable[[Context], Awaitable[None]], *more: type[Actor], **options: Any) -> Deployment:
    class Main(Actor):
        accepts = (Ask,)

        async def run(self, ctx: Context) -> None:
            await life(ctx)

    def place(name: str, make: Callable[[], Actor]) -> Placement:
        return Placement(name, make, profile("server"), link("ethernet_lan"))

    others = [place(f"peer{number}", make) for number, make in enumerate(more)]
    return Deployment(placements=(place("main", Main), *others), main="main", messages=(Ask, Parcel), **options)


def play(
    study: Deployment,
    directory: Path,
    beside: Callable[[Book, dict[str, World]], Awaitable[None]] | None = None,
    **options: Any,
) -> MemoryRecords:
    records = MemoryRecords()
    nodes = {f"n{number}": [placement.name] for number, placement in enumerate(study.placements)}
    nodes = {name: [] for name in options.get("absent", ())} | nodes
    asyncio.run(run_nodes(study, nodes, directory, records, beside=beside, **options))
    return records


def rows(records: MemoryRecords, kind: type[Row]) -> list[Any]:
    return [recorded.row for recorded in records.of(kind)]


def reasons(records: MemoryRecords) -> Counter[str]:
    return Counter(row.reason for row in rows(records, UndeliveredRow))


async def connect(
    book: Book, directory: Path, me: str, to: str, stream: int = CONTROL, **hello: Any
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter, protocol.Record, bytes]:
    """A connection as node `me` would make it, and the answer to its greeting."""
    entry = book.nodes[to]
    context, _ = credentials.contexts(directory, me)
    reader, writer = await asyncio.open_connection(entry.host, entry.port, ssl=context, server_hostname=to)
    greeting = {"node": me, "run": book.run, "stream": stream, "received": 0} | hello
    writer.write(protocol.encode_hello(**greeting))
    answer = protocol.parse_record(await reader.readexactly(protocol.RECORD_BYTES))
    return reader, writer, answer, await reader.readexactly(answer.body_bytes)


async def ended(reader: asyncio.StreamReader) -> None:
    """Read until the other side closes."""
    try:
        while await reader.read(1 << 16):
            pass
    except OSError:
        pass


async def drop(writer: asyncio.StreamWriter) -> None:
    writer.transport.abort()
    await asyncio.sleep(0)


def test_what_crosses_the_sockets_is_exactly_the_frames(tmp_path: Path) -> None:
    async def life(ctx: Context) -> None:
        for number in range(20):
            await ctx.request("peer0", Ask(number=number), timeout=5)
            data = ArrayDict({"x": np.ones(number * 1000)})
            await ctx.request("peer0", Parcel(number=number, data=data), timeout=5)

    records = play(deployment(life, Echo), tmp_path)
    total = sum(row.size_bytes for row in records.messages)
    nodes = rows(records, HostNodeRow)
    assert len(records.messages) == 80
    assert sum(node.frame_bytes_sent for node in nodes) == total
    assert sum(node.frame_bytes_received for node in nodes) == total
    assert all(node.heartbeat_bytes > 0 and node.reconnections == 0 for node in nodes)


@pytest.mark.parametrize("stream", [CONTROL, BULK])
def test_nothing_is_lost_doubled_or_out_of_order_when_connections_drop(tmp_path: Path, stream: int) -> None:
    numbers: list[int] = []
    worlds: dict[str, World] = {}

    def sabotage() -> None:
        """Drop the connection, now at one end, now at the other, whatever is on its way."""
        here, there = (("n0", "n1"), ("n1", "n0"))[len(numbers) // 50 % 2]
        worlds[here].transport.peers[there].links[stream].detach()

    class Counting(Actor):
        accepts = (Ask, Parcel)
        mailbox = 10_000

        async def handle(self, ctx: Context, message: Message) -> None:
            numbers.append(message.number)  # type: ignore[attr-defined]
            if len(numbers) % 50 == 0:
                sabotage()
            if len(numbers) == 400:
                await ctx.send("main", Ask(number=0))

    async def life(ctx: Context) -> None:
        data = ArrayDict({"x": np.ones(20_000)})
        for number in range(400):
            message = Ask(number=number) if stream == CONTROL else Parcel(number=number, data=data)
            await ctx.send("peer0", message)
            if number % 20 == 0:
                await ctx.sleep(0.002)
        await ctx.receive(timeout=20)

    async def look(book: Book, of_nodes: dict[str, World]) -> None:
        worlds.update(of_nodes)

    records = play(deployment(life, Counting), tmp_path, look)
    assert numbers == list(range(400))
    nodes = rows(records, HostNodeRow)
    assert sum(node.reconnections for node in nodes) >= 4
    assert reasons(records) == {}


def test_strangers_and_garbage_are_refused_and_the_node_goes_on(tmp_path: Path) -> None:
    other = tmp_path / "other"
    credentials.create(other, ["n0", "n1", "bad"])
    finished = asyncio.Event()
    going = asyncio.Event()

    async def life(ctx: Context) -> None:
        going.set()
        number = 0
        while not finished.is_set():
            answer = await ctx.request("peer0", Ask(number=number), timeout=5)
            assert isinstance(answer, Ask)
            assert answer.number == number
            number += 1
            await ctx.sleep(0.001)

    async def attack(book: Book, worlds: dict[str, World]) -> None:
        entry = book.nodes["n0"]
        rng = np.random.default_rng(1)
        # A node that everybody knows, and that speaks well until all are there.
        reader, writer, answer, _ = await connect(book, tmp_path, "bad", "n0")
        assert answer.kind == protocol.WELCOME
        await going.wait()
        writer.write(rng.bytes(1000))
        await ended(reader)
        await drop(writer)
        # Nobody at all: bytes that are no TLS, TLS without a certificate, TLS 1.2, another authority's certificate.
        for size in (1, 16, 5000):
            reader, writer = await asyncio.open_connection(entry.host, entry.port)
            writer.write(rng.bytes(size))
            writer.write_eof()
            await ended(reader)
            await drop(writer)
        bare = ssl.create_default_context(cafile=tmp_path / credentials.AUTHORITY_FILE)
        await refused(entry.host, entry.port, bare)
        old, _ = credentials.contexts(tmp_path, "bad")
        old.minimum_version = ssl.TLSVersion.TLSv1_2
        old.maximum_version = ssl.TLSVersion.TLSv1_2
        await refused(entry.host, entry.port, old)
        foreign = ssl.create_default_context(cafile=tmp_path / credentials.AUTHORITY_FILE)
        foreign.load_cert_chain(other / "bad.crt", other / "bad.key")
        await refused(entry.host, entry.port, foreign)
        # Well known, with malformed greetings and frames.
        frame = b"".join(encode("main", Ask(sender="peer0", number=1)))
        for bad in (
            PREFIX.pack(b"AV", 1, 0, 10, 1 << 50),
            PREFIX.pack(b"AV", 9, 0, 10, 0) + bytes(10),
            PREFIX.pack(b"AV", 1, 0, 10, 0) + bytes(10),
            frame,
            protocol.record(protocol.HEARTBEAT, value=77),
            protocol.record(protocol.HELLO),
            rng.bytes(100_000),
        ):
            reader, writer, answer, _ = await connect(book, tmp_path, "bad", "n0")
            assert answer.kind == protocol.WELCOME
            writer.write(bad)
            writer.write(protocol.record(protocol.HELLO))
            await ended(reader)
            await drop(writer)
        finished.set()

    async def refused(host: str, port: int, context: ssl.SSLContext) -> None:
        with pytest.raises((OSError, asyncio.IncompleteReadError)):  # noqa: PT012
            reader, writer = await asyncio.open_connection(host, port, ssl=context, server_hostname="n0")
            try:
                await reader.readexactly(1)
            finally:
                await drop(writer)

    records = play(deployment(life, Echo), tmp_path, attack, absent=["bad"])
    found = reasons(records)
    assert found["oversized"] == 1
    assert found["version"] == 1
    assert found["malformed"] >= 10
    assert {row.type for row in records.messages} == {"Ask"}
    assert {row.sender for row in records.messages} == {"main", "peer0"}


def test_greetings_that_do_not_fit_are_answered_with_the_reason(tmp_path: Path) -> None:
    finished = asyncio.Event()
    answers: list[str] = []

    async def life(ctx: Context) -> None:
        await finished.wait()

    async def knock(book: Book, worlds: dict[str, World]) -> None:
        for hello in ({"run": "other"}, {"node": "n1"}, {"node": "nobody"}):
            _, writer, answer, reason = await connect(book, tmp_path, "bad", "n0", **hello)
            assert answer.kind == protocol.REFUSED
            answers.append(reason.decode())
            await drop(writer)
        _, kept, answer, _ = await connect(book, tmp_path, "bad", "n0")
        assert answer.kind == protocol.WELCOME
        finished.set()
        kept.write(protocol.record(protocol.GOODBYE))
        await kept.drain()
        await drop(kept)

    play(deployment(life, Echo), tmp_path, knock, absent=["bad"])
    assert answers[0] == "run 'other' is not the one that node n0 belongs to"
    assert answers[1].endswith("is not the one pinned for node 'n1'")
    assert answers[2].endswith("is not the one pinned for node 'nobody'")


@pytest.mark.parametrize("who", ["n0", "n1"])
def test_a_certificate_of_the_authority_that_is_not_the_pinned_one_is_refused(tmp_path: Path, who: str) -> None:
    async def life(ctx: Context) -> None:
        pass

    study = deployment(life, Echo)
    book, sockets = local_nodes(tmp_path, {"n0": ["main"], "n1": ["peer0"]})
    # The book of one node pins another certificate for its peer than that one has.
    peer = {"n0": "n1", "n1": "n0"}[who]
    wrong = dataclasses.replace(book.nodes[peer], fingerprint=64 * "0")
    books = {"n0": book, "n1": book} | {who: Book(book.run, {**book.nodes, peer: wrong})}

    async def run() -> list[BaseException | None]:
        processor = Processor("scan")
        worlds = [
            World(
                study,
                node=name,
                book=books[name],
                credentials=tmp_path,
                records=MemoryRecords(),
                processor=processor,
                patience_s=1.0,
            )
            for name in ("n0", "n1")
        ]
        runs = [world.run(sockets[world.node]) for world in worlds]
        try:
            return await asyncio.gather(*runs, return_exceptions=True)
        finally:
            processor.close()

    leader, follower = asyncio.run(run())
    assert isinstance(leader, RunFailed)
    assert "waited 1 s in vain for n1" in str(leader)
    assert isinstance(follower, NotAdmitted)
    assert "certificate" in str(follower)
    assert "pin" in str(follower)


def test_a_certificate_of_another_authority_is_refused(tmp_path: Path) -> None:
    async def life(ctx: Context) -> None:
        pass

    book, sockets = local_nodes(tmp_path / "one", {"n0": ["main"], "n1": ["peer0"]})
    credentials.create(tmp_path / "two", ["n0", "n1"])

    async def run() -> list[BaseException | None]:
        processor = Processor("scan")
        worlds = [
            World(
                deployment(life, Echo),
                node=name,
                book=book,
                credentials=tmp_path / folder,
                records=MemoryRecords(),
                processor=processor,
                patience_s=1.0,
            )
            for name, folder in (("n0", "one"), ("n1", "two"))
        ]
        try:
            return await asyncio.gather(*(w.run(sockets[w.node]) for w in worlds), return_exceptions=True)
        finally:
            processor.close()

    _, follower = asyncio.run(run())
    assert isinstance(follower, NotAdmitted)
    assert "is not of this run's authority" in str(follower)


def test_a_peer_that_falls_silent_in_mid_frame_is_lost(tmp_path: Path) -> None:
    log: list[str] = []
    going = asyncio.Event()
    over = asyncio.Event()

    async def life(ctx: Context) -> None:
        going.set()
        ctx.watch("peer0")
        with pytest.raises(PeerLeft):
            await ctx.request("peer0", Ask(number=1), timeout=60)
        log.append(type(await ctx.receive(timeout=60)).__name__)
        with pytest.raises(DeadlineExceeded):
            await ctx.receive(timeout=0)
        over.set()

    async def half(book: Book, worlds: dict[str, World]) -> None:
        _, writer, _, _ = await connect(book, tmp_path, "n1", "n0")
        await going.wait()
        writer.write(PREFIX.pack(b"AV", 1, 0, 100, 1000) + bytes(50))
        await over.wait()
        await drop(writer)

    records = play(deployment(life, Echo), tmp_path, half, absent=["n1"], silence_s=0.2)
    assert log == ["PeerGone"]
    assert reasons(records) == {"gone": 1}


def test_a_queue_that_is_full_holds_the_sender_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("real_runtime.link.HIGH_WATER_BYTES", 100_000)
    sent: list[int] = []
    going = asyncio.Event()

    async def life(ctx: Context) -> None:
        going.set()
        data = ArrayDict({"x": np.ones(5000)})
        for number in range(10):
            await ctx.send("peer0", Parcel(number=number, data=data))
            sent.append(number)

    async def deaf(book: Book, worlds: dict[str, World]) -> None:
        control = await connect(book, tmp_path, "n1", "n0")
        await going.wait()
        await asyncio.sleep(0.1)
        # Each is 40 kB: two fit into the queue, and the third waits, as the bulk stream finds nobody to accept it.
        assert sent == [0, 1]
        reader, writer, _, _ = await connect(book, tmp_path, "n1", "n0", BULK)
        for number in range(1, 11):
            # A stamp and a frame; then it is confirmed.
            await reader.readexactly(protocol.RECORD_BYTES)
            _, _, _, header, body = PREFIX.unpack(await reader.readexactly(16))
            await reader.readexactly(header + body)
            writer.write(protocol.record(protocol.HEARTBEAT, value=number))
        await ended(reader)
        await drop(writer)
        await drop(control[1])

    play(deployment(life, Echo), tmp_path, deaf, absent=["n1"], silence_s=0.5)
    assert sent == list(range(10))
