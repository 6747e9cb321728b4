"""What crosses a connection beside the frames of messages: fixed records of 16 bytes, some with a short body.

A record opens with `AR` where a frame opens with `AV`, so that a reader takes 16 bytes and knows which it is. Records
are `magic "AR" | kind u8 | 0 u8 | body length u32 | value u64` (big endian); their bytes are counted apart from frames.
The first record of a connection is the dialler's HELLO, answered by WELCOME or by REFUSED with the reason.
"""

from __future__ import annotations

import struct
from typing import Final, NamedTuple

import msgspec

from core.wire import PREFIX_BYTES, VERSION, WireError

MAGIC: Final = b"AR"
_RECORD: Final = struct.Struct(">2sBBIQ")
RECORD_BYTES: Final = PREFIX_BYTES
MAX_BODY_BYTES: Final = 4096

HELLO: Final = 1
WELCOME: Final = 2
REFUSED: Final = 3
#: When the next frame was sent, in nanoseconds of the study; `value`.
STAMP: Final = 4
#: A sign of life; `value` counts the frames and reliable records received so far on this stream, which confirms them.
HEARTBEAT: Final = 5
#: The node leaves; nothing follows. `value` is as for HEARTBEAT.
GOODBYE: Final = 6
#: An actor has left; the body names it, `value` says on how many streams this is sent.
LEFT: Final = 7
#: All nodes are there; this moment is zero.
GO: Final = 8
#: The run is over; the body is empty, or says why it failed.
END: Final = 9
#: An actor's device was silent for too long, or has lost its state; the body names the actor.
MISSED: Final = 10
KINDS: Final = frozenset(range(HELLO, MISSED + 1))
#: Records that are sent again after a reconnection, in order with the frames.
RELIABLE: Final = frozenset((LEFT, GO, END, MISSED))

assert _RECORD.size == RECORD_BYTES


class Hello(msgspec.Struct, frozen=True, array_like=True):
    """Who dials, for which run, and how much of the other side's stream it has received already."""

    node: str
    run: str
    version: int
    stream: int
    received: int


class Record(NamedTuple):
    """A checked record head."""

    kind: int
    body_bytes: int
    value: int


def record(kind: int, *, value: int = 0, body: bytes = b"") -> bytes:
    """The bytes of one record."""
    return _RECORD.pack(MAGIC, kind, 0, len(body), value) + body


def is_record(head: bytes) -> bool:
    """Whether 16 bytes open a record (and not a frame)."""
    return head[:2] == MAGIC


def parse_record(head: bytes) -> Record:
    """Check the 16 bytes of a record; raises `WireError`."""
    magic, kind, zero, length, value = _RECORD.unpack(head)
    if magic != MAGIC or zero or kind not in KINDS:
        raise WireError("malformed", f"no record begins with {head[:4]!r}")
    if length > MAX_BODY_BYTES:
        raise WireError("oversized", f"a record's body has at most {MAX_BODY_BYTES} bytes, not {length}")
    return Record(kind, length, value)


def encode_hello(node: str, run: str, stream: int, received: int) -> bytes:
    """The dialler's first record."""
    return record(HELLO, body=msgspec.msgpack.encode(Hello(node, run, VERSION, stream, received)))


def decode_hello(body: bytes) -> Hello:
    """The body of a HELLO; raises `WireError`."""
    try:
        return msgspec.msgpack.decode(body, type=Hello)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise WireError("malformed", f"no greeting: {str(error)[:200]}") from None
