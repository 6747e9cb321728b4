"""A link over a plain socket pair: whatever comes over it, the link ends in good order."""

from __future__ import annotations

import asyncio
import socket

from hypothesis import given, settings
from hypothesis import strategies as st

from core.actor import Message
from core.wire import CONTROL, Codec, Prefix, WireError, encode
from real_runtime import protocol
from real_runtime.link import Item, Link, Traffic


class Ask(Message, frozen=True, kw_only=True):
    number: int


class Log:
    """Keeps what a link tells."""

    def __init__(self) -> None:
        self.codec = Codec([Ask])
        self.numbers: list[int] = []
        self.refused: list[str] = []
        self.told_kinds: list[int] = []
        self.ended = asyncio.Event()

    def frame(self, link: Link, sent_ns: int, prefix: Prefix, header: bytes, body: bytes | bytearray) -> None:
        try:
            message = self.codec.decode(prefix, header, body)[1]
        except WireError as error:
            self.refused.append(error.reason)
        else:
            assert isinstance(message, Ask)
            self.numbers.append(message.number)

    def told(self, link: Link, kind: int, value: int, body: bytes) -> None:
        self.told_kinds.append(kind)
        if kind == protocol.GOODBYE:
            self.ended.set()

    def garbage(self, link: Link, size_bytes: int, error: WireError) -> None:
        self.refused.append(error.reason)

    def detached(self, link: Link) -> None:
        self.ended.set()

    def crashed(self, error: BaseException) -> None:
        raise AssertionError("a link crashed") from error


def frame(number: int) -> bytes:
    return b"".join(encode("x", Ask(sender="y", number=number)))


def link(log: Log) -> Link:
    return Link(log, CONTROL, traffic=Traffic(), silence_s=5.0, max_frame_bytes=10_000)


async def feed(data: bytes) -> Log:
    """Send bytes over a new connection, close it, and wait until the link has noticed."""
    log = Log()
    near, far = socket.socketpair()
    receiving = link(log)
    receiving.attach(*await asyncio.open_connection(sock=near), 0)
    with far:
        far.setblocking(False)
        await asyncio.get_running_loop().sock_sendall(far, data)
        far.shutdown(socket.SHUT_WR)
        await log.ended.wait()
    await receiving.close(0)
    return log


pieces = st.one_of(
    st.binary(max_size=40),
    st.integers(0, 9).map(frame),
    st.sampled_from(sorted(protocol.KINDS)).map(lambda kind: protocol.record(kind, value=3)),
    st.binary(max_size=8).map(lambda body: protocol.record(protocol.LEFT, value=1, body=body)),
    st.tuples(st.integers(0, 9).map(frame), st.integers(0, 40), st.integers(0, 255)).map(
        lambda it: it[0][: it[1]] + bytes([it[2]]) + it[0][it[1] + 1 :]
    ),
)


@settings(max_examples=150, deadline=None)
@given(st.lists(pieces, max_size=6).map(b"".join))
def test_any_bytes_are_taken_or_refused(data: bytes) -> None:
    log = asyncio.run(feed(data))
    assert set(log.refused) <= {"malformed", "oversized", "truncated", "version"}


def test_what_was_whole_before_the_garbage_is_taken() -> None:
    log = asyncio.run(feed(frame(1) + protocol.record(protocol.STAMP, value=5) + frame(2) + b"garbage " * 4 + frame(3)))
    assert log.numbers == [1, 2]
    assert log.refused == ["malformed"]


def test_a_frame_of_an_unknown_type_is_refused_and_the_next_one_taken() -> None:
    class Other(Message, frozen=True, kw_only=True):
        pass

    log = asyncio.run(feed(b"".join(encode("x", Other())) + frame(2)))
    assert (log.refused, log.numbers) == (["malformed"], [2])


def test_what_one_connection_did_not_confirm_goes_over_the_next() -> None:
    async def run() -> None:
        log = Log()
        sending, receiving = link(Log()), link(log)
        for number in range(5):
            data = frame(number)
            sending.put_now(Item([data], 0, len(data)))
        for taken in (2, 1, 2):
            near, far = socket.socketpair()
            # The receiver's count says how much of the former connections has arrived.
            sending.attach(*await asyncio.open_connection(sock=near), receiving.received)
            reader, writer = await asyncio.open_connection(sock=far)
            for _ in range(taken):
                data = await reader.readexactly(len(frame(0)))
                log.numbers.append(log.codec.decode_frame(data)[1].number)  # type: ignore[attr-defined]
                receiving.received += 1
            writer.transport.abort()
            sending.detach()
            await asyncio.sleep(0)
        assert log.numbers == [0, 1, 2, 3, 4]
        await sending.close(0)

    asyncio.run(run())
