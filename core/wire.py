"""Messages ↔ bytes: a 16-byte prefix, a msgpack header (msgspec) and raw little-endian array buffers.

Frame: `magic "AV" | version u8 | stream u8 | header length u32 | body length u64` (big endian), then the header,
the msgpack array `[receiver, message]`, then the body, the buffers of all arrays in the order of their descriptors.
A message is a msgspec array `[type, sender, correlation, fields…]`; an array is described as `[dtype, [shape]]`.

The types are a closed set, given to the codec; nothing is ever unpickled. `frame_size` is what the simulator charges
and equals the length of the frame on a socket. Everything a peer can get wrong raises `WireError` with a reason.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple, cast

import msgspec
import numpy as np
import numpy.typing as npt

MAGIC: Final = b"AV"
VERSION: Final = 1
PREFIX: Final = struct.Struct(">2sBBIQ")
PREFIX_BYTES: Final = PREFIX.size
CONTROL: Final = 0
BULK: Final = 1
MAX_HEADER_BYTES: Final = 1 << 20
#: dtypes that may cross the wire; all little endian, fixed size, no objects.
DTYPES: Final = frozenset(["|b1", "|i1", "|u1", "<i2", "<u2", "<i4", "<u4", "<i8", "<u8", "<f2", "<f4", "<f8"])
MAX_DIMENSIONS: Final = 8


class WireError(Exception):
    """A frame that is malformed, too large, of another version or of an unknown type; `reason` is one word."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


class Spec(NamedTuple):
    """Shape and dtype (numpy's `dtype.str`) of one array."""

    dtype: str
    shape: tuple[int, ...]

    @property
    def nbytes(self) -> int:
        n = np.dtype(self.dtype).itemsize
        for d in self.shape:
            n *= d
        return n


class Payload:
    """Named arrays that a message carries: real ones (`ArrayDict`) or, in the simulator, ones not yet computed."""

    __slots__ = ()

    @property
    def spec(self) -> Mapping[str, Spec]:
        raise TypeError(f"{type(self).__name__} has no spec")

    @property
    def nbytes(self) -> int:
        """Bytes of all arrays, without descriptors."""
        return sum(s.nbytes for s in self.spec.values())


class ArrayDict(Payload, Mapping[str, npt.NDArray[Any]]):
    """An immutable mapping of names to read-only numpy arrays."""

    __slots__ = ("_arrays", "_spec")

    def __init__(self, arrays: Mapping[str, npt.ArrayLike]) -> None:
        own: dict[str, npt.NDArray[Any]] = {}
        for name, value in arrays.items():
            array = np.asarray(value)
            if array.dtype.byteorder == ">":
                array = array.astype(array.dtype.newbyteorder("<"))
            if array.dtype.str not in DTYPES:
                raise TypeError(f"array {name!r} has dtype {array.dtype}, which cannot cross the wire")
            if array.ndim > MAX_DIMENSIONS:
                raise TypeError(f"array {name!r} has {array.ndim} dimensions; at most {MAX_DIMENSIONS} cross the wire")
            if array.flags.writeable or not array.flags.c_contiguous:
                array = array.copy() if array.flags.c_contiguous else np.ascontiguousarray(array).reshape(array.shape)
                array.flags.writeable = False
            own[name] = array
        self._arrays = own
        self._spec = {name: Spec(a.dtype.str, a.shape) for name, a in own.items()}

    def __getitem__(self, name: str) -> npt.NDArray[Any]:
        return self._arrays[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._arrays)

    def __len__(self) -> int:
        return len(self._arrays)

    def __repr__(self) -> str:
        inside = ", ".join(f"{n}: {s.dtype}{list(s.shape)}" for n, s in self._spec.items())
        return f"ArrayDict({inside})"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, ArrayDict):
            return NotImplemented
        return (
            self._spec == other._spec
            and list(self) == list(other)
            and all(self[n].tobytes() == other[n].tobytes() for n in self)
        )

    __hash__ = None  # type: ignore[assignment]

    @property
    def spec(self) -> Mapping[str, Spec]:
        return self._spec


class Message(msgspec.Struct, frozen=True, kw_only=True, tag=True, array_like=True):
    """Base of everything actors say to each other: frozen, typed, and known by its class name on the wire.

    `sender` and `correlation` are filled in by the runtime when the message is sent: a request carries a positive
    correlation, its reply the negative of it, everything else 0.
    """

    sender: str = ""
    correlation: int = 0


def copy_of(message: Message) -> Message:
    """A shallow copy, for the runtime to stamp; its arrays are shared."""
    return cast(Message, message.__copy__())  # type: ignore[attr-defined]  # msgspec has it, its stubs do not


def _describe(value: Any) -> Any:
    if isinstance(value, Payload):
        return {name: (s.dtype, s.shape) for name, s in value.spec.items()}
    raise TypeError(f"{type(value).__name__} cannot cross the wire")


_encoder: Final = msgspec.msgpack.Encoder(enc_hook=_describe)
#: Encodes `(receiver, message)` to the bytes of a frame's header.
encode_header: Final = _encoder.encode
_payload_fields: dict[type[Message], tuple[str, ...]] = {}


def payload_fields(kind: type[Message]) -> tuple[str, ...]:
    """Names of the fields of a message type that carry arrays, in the order of their buffers."""
    names = _payload_fields.get(kind)
    if names is None:
        found = []
        for field in msgspec.structs.fields(kind):
            types = getattr(field.type, "__args__", ()) or (field.type,)
            if any(isinstance(t, type) and issubclass(t, Payload) for t in types):
                found.append(field.name)
        names = _payload_fields[kind] = tuple(found)
    return names


def stream_of(kind: type[Message]) -> int:
    """BULK for message types that carry arrays, CONTROL for all others."""
    return BULK if payload_fields(kind) else CONTROL


def frame_size(receiver: str, message: Message) -> int:
    """Bytes of the frame that carries `message` to `receiver`; encodes the header, touches no array."""
    n = PREFIX_BYTES + len(encode_header((receiver, message)))
    for name in payload_fields(type(message)):
        value = getattr(message, name)
        if value is not None:
            n += value.nbytes
    return n


def encode(receiver: str, message: Message) -> list[bytes | memoryview]:
    """The frame as a list of buffers, ready for `writelines`; arrays are not copied."""
    header = encode_header((receiver, message))
    buffers: list[bytes | memoryview] = []
    length = 0
    kind = type(message)
    for name in payload_fields(kind):
        value = getattr(message, name)
        if value is None:
            continue
        if not isinstance(value, ArrayDict):
            raise TypeError(f"{kind.__name__}.{name} is not computed yet and cannot be sent over a wire")
        for array in value.values():
            if array.nbytes:
                buffers.append(array.reshape(-1).view(np.uint8).data)
                length += array.nbytes
    return [PREFIX.pack(MAGIC, VERSION, stream_of(kind), len(header), length), header, *buffers]


class Prefix(NamedTuple):
    """The checked prefix of a frame."""

    stream: int
    header_bytes: int
    body_bytes: int


def decode_prefix(data: bytes | memoryview, *, max_frame_bytes: int) -> Prefix:
    """Check the 16 bytes that open a frame, before anything is read or allocated for the rest of it."""
    if len(data) != PREFIX_BYTES:
        raise WireError("truncated", f"{len(data)} bytes where a prefix has {PREFIX_BYTES}")
    magic, version, stream, header_bytes, body_bytes = PREFIX.unpack(data)
    if magic != MAGIC:
        raise WireError("malformed", f"a frame opens with {MAGIC!r}, not {magic!r}")
    if version != VERSION:
        raise WireError("version", f"version {version} where this node speaks {VERSION}")
    if stream not in (CONTROL, BULK):
        raise WireError("malformed", f"unknown stream {stream}")
    if header_bytes > MAX_HEADER_BYTES or PREFIX_BYTES + header_bytes + body_bytes > max_frame_bytes:
        raise WireError("oversized", f"{header_bytes} + {body_bytes} bytes; at most {max_frame_bytes} are taken")
    return Prefix(stream, header_bytes, body_bytes)


class Codec:
    """Decodes frames of a closed set of message types."""

    def __init__(self, types: Sequence[type[Message]], *, max_frame_bytes: int = 1 << 28) -> None:
        unique = {kind.__name__: kind for kind in types}
        if len(unique) != len(set(types)):
            raise ValueError("two message types share one name")
        self.types = tuple(unique[name] for name in sorted(unique))
        self.max_frame_bytes = max_frame_bytes
        union: Any = self.types[0]
        for kind in self.types[1:]:
            union = union | kind
        self._body = memoryview(b"")
        self._at = 0
        self._decoder = msgspec.msgpack.Decoder(tuple[str, union], dec_hook=self._arrays)

    def _arrays(self, kind: type, value: Any) -> Any:
        if not issubclass(kind, Payload):
            raise WireError("malformed", f"no rule for {kind.__name__}")
        if not isinstance(value, dict):
            raise WireError("malformed", "an array descriptor is not a map")
        arrays: dict[str, npt.NDArray[Any]] = {}
        for name, described in value.items():
            if not isinstance(name, str) or not isinstance(described, list) or len(described) != 2:
                raise WireError("malformed", "an array descriptor is not [dtype, shape]")
            dtype, shape = described
            if not isinstance(dtype, str) or dtype not in DTYPES:
                raise WireError("malformed", f"dtype {dtype!r} is not taken")
            if (
                not isinstance(shape, list)
                or len(shape) > MAX_DIMENSIONS
                or not all(type(d) is int and 0 <= d < 1 << 40 for d in shape)
            ):
                raise WireError("malformed", f"shape {shape!r} is not taken")
            nbytes = Spec(dtype, tuple(shape)).nbytes
            if self._at + nbytes > len(self._body):
                raise WireError("truncated", f"array {name!r} needs {nbytes} bytes more than the body holds")
            buffer = self._body[self._at : self._at + nbytes]
            if dtype == "|b1" and nbytes and np.frombuffer(buffer, np.uint8).max() > 1:
                raise WireError("malformed", f"array {name!r} of truth values holds others than 0 and 1")
            array = np.frombuffer(buffer, dtype=dtype).reshape(shape)
            array.flags.writeable = False
            self._at += nbytes
            arrays[name] = array
        return ArrayDict(arrays)

    def decode(
        self, prefix: Prefix, header: bytes | memoryview, body: bytes | bytearray | memoryview
    ) -> tuple[str, Message]:
        """The receiver's name and the message; raises `WireError`, whatever the bytes are."""
        if len(header) != prefix.header_bytes or len(body) != prefix.body_bytes:
            raise WireError("truncated", "the frame is shorter than its prefix says")
        self._body = memoryview(body)
        self._at = 0
        try:
            receiver, message = self._decoder.decode(header)
        except WireError:
            raise
        except (
            msgspec.MsgspecError,
            UnicodeDecodeError,
            RecursionError,
            ValueError,
            OverflowError,
            TypeError,
        ) as error:
            raise WireError("malformed", str(error)[:200]) from None
        else:
            if self._at != len(body):
                raise WireError("malformed", f"{len(body) - self._at} bytes of the body belong to no array")
            if stream_of(type(message)) != prefix.stream:
                raise WireError("malformed", f"{type(message).__name__} on the wrong stream")
            return receiver, message
        finally:
            self._body = memoryview(b"")

    def decode_frame(self, frame: bytes | bytearray | memoryview) -> tuple[str, Message]:
        """Decode one whole frame held in memory."""
        view = memoryview(frame)
        prefix = decode_prefix(view[:PREFIX_BYTES], max_frame_bytes=self.max_frame_bytes)
        end = PREFIX_BYTES + prefix.header_bytes
        return self.decode(prefix, view[PREFIX_BYTES:end], view[end:])
