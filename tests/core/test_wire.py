"""Messages ↔ bytes: sizes are those of frames, frames come back as they were, and garbage is refused."""

from __future__ import annotations

import struct
import tracemalloc
from contextlib import nullcontext
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from core.actor import PeerGone, Refusal, Start
from core.wire import (
    BULK,
    CONTROL,
    DTYPES,
    MAGIC,
    MAX_DIMENSIONS,
    MAX_HEADER_BYTES,
    PREFIX_BYTES,
    VERSION,
    ArrayDict,
    Codec,
    Message,
    Payload,
    Spec,
    WireError,
    copy_of,
    decode_prefix,
    encode,
    frame_size,
    payload_fields,
    stream_of,
)

#: What `WireError` may give as its reason; the documented reasons of undelivered messages contain these.
REASONS = {"malformed", "oversized", "truncated", "version"}
LIMIT = 1 << 20


class Point(Message, frozen=True, kw_only=True):
    x: float
    n: int = 0
    name: str = ""
    blob: bytes = b""
    flags: tuple[bool, ...] = ()
    table: dict[str, float] = msgspec.field(default_factory=dict)


class Model(Message, frozen=True, kw_only=True):
    version: int
    params: Payload
    extra: Payload | None = None


class Stranger(Message, frozen=True, kw_only=True):
    pass


CODEC = Codec([Point, Model, Start, PeerGone, Refusal], max_frame_bytes=LIMIT)

names = st.text(max_size=12)
arrays = st.sampled_from(sorted(DTYPES)).flatmap(
    lambda dtype: hnp.arrays(dtype, hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4))
)
array_dicts = st.dictionaries(names, arrays, max_size=4).map(ArrayDict)
integers = st.integers(-(2**63), 2**64 - 1)
points = st.builds(
    Point,
    sender=names,
    correlation=integers,
    x=st.floats(),
    n=integers,
    name=st.text(),
    blob=st.binary(),
    flags=st.lists(st.booleans()).map(tuple),
    table=st.dictionaries(names, st.floats(allow_nan=False)),
)
models = st.builds(
    Model, sender=names, correlation=integers, version=integers, params=array_dicts, extra=array_dicts | st.none()
)
messages = points | models | st.builds(PeerGone, peer=names)


def frame_of(receiver: str, message: Message) -> bytes:
    return b"".join(encode(receiver, message))


def same(a: Message, b: Message) -> bool:
    """Equality in which NaN equals itself."""
    if type(a) is not type(b):
        return False
    return all(
        type(x) is type(y) and (x == y or (x != x and y != y))
        for x, y in ((getattr(a, f), getattr(b, f)) for f in a.__struct_fields__)
    )


# Frames.


@given(names, messages)
@example("", Model(version=0, params=ArrayDict({}), extra=None))
@example(
    "b", Model(version=0, params=ArrayDict({"": np.zeros((), np.float16), "é\U0001f4f1": np.zeros((0, 3), "<f8")}))
)
def test_a_frame_is_as_long_as_it_is_charged_and_comes_back_as_it_was(receiver: str, message: Message) -> None:
    buffers = encode(receiver, message)
    frame = b"".join(buffers)
    assert frame_size(receiver, message) == len(frame) == sum(len(memoryview(buffer).cast("B")) for buffer in buffers)
    back, copy = CODEC.decode_frame(frame)
    assert back == receiver
    assert same(copy, message)
    assert frame_of(back, copy) == frame


@given(models)
def test_decoded_arrays_are_read_only_and_those_that_were_sent(message: Model) -> None:
    frame = bytearray(frame_of("b", message))
    _, copy = CODEC.decode_frame(frame)
    assert isinstance(copy, Model)
    for sent, got in ((message.params, copy.params), (message.extra, copy.extra)):
        if sent is None:
            assert got is None
            continue
        assert isinstance(sent, ArrayDict)
        assert isinstance(got, ArrayDict)
        assert list(sent) == list(got)
        for name, array in got.items():
            assert not array.flags.writeable
            assert array.dtype == sent[name].dtype
            assert array.shape == sent[name].shape
            assert array.tobytes() == sent[name].tobytes()
            if array.size:
                assert np.shares_memory(array, np.frombuffer(frame, np.uint8))
                with pytest.raises(ValueError, match="read-only"):
                    array[...] = 0


def test_the_layout_of_a_frame() -> None:
    message = Model(sender="a", correlation=7, version=1, params=ArrayDict({"w": np.array([1, 2], "<i2")}))
    header = msgspec.msgpack.encode(["b", ["Model", "a", 7, 1, {"w": ["<i2", [2]]}, None]])
    assert frame_of("b", message) == (
        struct.pack(">2sBBIQ", b"AV", 1, 1, len(header), 4) + header + b"\x01\x00\x02\x00"
    )
    assert (MAGIC, VERSION, PREFIX_BYTES, CONTROL, BULK) == (b"AV", 1, 16, 0, 1)
    assert sorted(DTYPES) == ["<f2", "<f4", "<f8", "<i2", "<i4", "<i8", "<u2", "<u4", "<u8", "|b1", "|i1", "|u1"]


def test_streams_and_fields() -> None:
    assert (payload_fields(Point), stream_of(Point)) == ((), CONTROL)
    assert (payload_fields(Model), stream_of(Model)) == (("params", "extra"), BULK)


def test_arrays_are_copied_once_and_then_never() -> None:
    big_endian = np.arange(6, dtype=">i4").reshape(2, 3)
    writable, transposed = np.arange(4.0), np.arange(6.0).reshape(2, 3).T
    payload = ArrayDict({"a": big_endian, "b": writable, "c": transposed, "d": 1.5, "e": np.float32(2)})
    writable[:] = 9.0
    assert payload["b"].tolist() == [0.0, 1.0, 2.0, 3.0]
    assert payload["a"].dtype.str == "<i4"
    assert payload["a"].tolist() == [[0, 1, 2], [3, 4, 5]]
    assert payload["c"].flags.c_contiguous
    assert payload["c"].tolist() == [[0.0, 3.0], [1.0, 4.0], [2.0, 5.0]]
    assert payload.spec["e"] == Spec("<f4", ())
    assert payload.nbytes == 24 + 32 + 48 + 8 + 4
    again = ArrayDict(payload)
    assert all(again[name] is payload[name] for name in payload)
    assert again == payload
    assert payload != ArrayDict({**payload, "e": np.float32(3)})
    assert payload != ArrayDict({name: payload[name] for name in reversed(list(payload))})
    buffers = encode("b", Model(version=1, params=payload))
    assert np.shares_memory(np.frombuffer(buffers[3], np.uint8), payload["b"].view(np.uint8))


@pytest.mark.parametrize(
    "array",
    [
        np.array([object()]),
        np.array([1j]),
        np.array(["text"]),
        np.array([b"bytes"]),
        np.zeros(2, "datetime64[s]"),
        np.zeros(2, [("a", "<i4")]),
        np.zeros((1,) * (MAX_DIMENSIONS + 1)),
    ],
    ids=lambda array: f"{array.dtype} {array.ndim}",
)
def test_what_no_frame_can_carry_is_refused_before_it_is_sent(array: Any) -> None:
    with pytest.raises(TypeError, match="'w'"):
        ArrayDict({"w": array})


def test_what_is_not_computed_cannot_be_sent() -> None:
    class Later(Payload):
        @property
        def spec(self) -> dict[str, Spec]:
            return {"w": Spec("<f4", (2, 3))}

    message = Model(version=1, params=Later())
    assert frame_size("b", message) == len(
        frame_of("b", Model(version=1, params=ArrayDict({"w": np.zeros((2, 3), "<f4")})))
    )
    with pytest.raises(TypeError, match=r"Model\.params is not computed yet"):
        encode("b", message)
    with pytest.raises(TypeError, match="cannot cross the wire"):
        encode("b", Point(x=object()))  # type: ignore[arg-type]


def test_a_copy_is_another_message_with_the_same_content() -> None:
    message = Model(sender="a", correlation=3, version=1, params=ArrayDict({"w": np.zeros(3)}))
    copy = copy_of(message)
    assert copy is not message
    assert copy == message
    assert copy.params is message.params  # type: ignore[attr-defined]


def test_a_codec_knows_a_closed_set() -> None:
    other: Any = type("Point", (Message,), {}, frozen=True, kw_only=True)
    with pytest.raises(ValueError, match="share one name"):
        Codec([Point, other])
    # The order in which they are given does not matter.
    assert Codec([Model, Point]).types == Codec([Point, Model, Point]).types
    assert refusal(frame_of("b", Stranger())) == "malformed"


# Garbage.


def refusal(data: bytes | bytearray, codec: Codec = CODEC) -> str:
    """The reason for which a frame is refused."""
    with pytest.raises(WireError) as error:
        codec.decode_frame(data)
    assert error.value.reason in REASONS
    assert str(error.value) == f"{error.value.reason}: {error.value.detail}"
    return error.value.reason


def packed(header: object, body: bytes = b"", stream: int = BULK) -> bytes:
    """A frame with a well-formed prefix around any header."""
    raw = header if isinstance(header, bytes) else msgspec.msgpack.encode(header)
    return struct.pack(">2sBBIQ", MAGIC, VERSION, stream, len(raw), len(body)) + raw + body


def model(params: object, body: bytes = b"") -> bytes:
    return packed(["b", ["Model", "a", 0, 1, params, None]], body)


SAMPLES = {
    "control": frame_of("b", Point(sender="a", x=1.5, name="né", blob=b"\x00\xff", flags=(True,), table={"k": 2.0})),
    "bulk": frame_of(
        "b", Model(version=3, params=ArrayDict({"w": np.arange(6, dtype="<f4").reshape(2, 3), "e": np.zeros((0, 2))}))
    ),
}


def test_the_frames_that_are_spoilt_below_are_good() -> None:
    assert isinstance(CODEC.decode_frame(SAMPLES["control"])[1], Point)
    assert isinstance(CODEC.decode_frame(SAMPLES["bulk"])[1], Model)
    assert isinstance(CODEC.decode_frame(model({"w": ["<f4", [2, 3]]}, bytes(24)))[1], Model)
    assert isinstance(CODEC.decode_frame(model({}))[1], Model)


@pytest.mark.parametrize("sample", SAMPLES)
def test_every_truncation_is_refused_as_such(sample: str) -> None:
    frame = SAMPLES[sample]
    for end in range(len(frame)):
        assert refusal(frame[:end]) == "truncated"


@pytest.mark.parametrize("sample", SAMPLES)
@pytest.mark.parametrize("tail", [b"\x00", b"AV", bytes(100)])
def test_what_follows_a_frame_is_refused(sample: str, tail: bytes) -> None:
    refusal(SAMPLES[sample] + tail)


HUGE = {
    "array": b"\xdd\xff\xff\xff\xff",
    "short array": b"\xdc\xff\xff",
    "map": b"\xdf\xff\xff\xff\xff",
    "text": b"\xdb\xff\xff\xff\xff",
    "bytes": b"\xc6\xff\xff\xff\xff",
    "extension": b"\xc9\xff\xff\xff\xff\x01",
    "nested arrays": b"\xdc\xff\xff" * 300,
}
#: A model up to its payload, one up to an element more than it has, a point up to its list, and a whole message.
OPENING = b"\x92\xa1b\x96\xa5Model\xa1a\x00\x01"
LONGER = b"\x92\xa1b\x97\xa5Model\xa1a\x00\x01\x80\xc0"
POINT = b"\x92\xa1b\x98\xa5Point\xa1a\x00\xcb" + bytes(8) + b"\x00\xa0\xc4\x00"
START = msgspec.msgpack.encode(["b", ["Start", "a", 0]])

CORPUS: dict[str, tuple[bytes, str]] = {
    "nothing": (b"", "truncated"),
    "magic": (b"VA" + SAMPLES["control"][2:], "malformed"),
    "another protocol": (b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", "malformed"),
    "a TLS greeting": (bytes.fromhex("16030100c8010000c40303") + bytes(40), "malformed"),
    "old version": (b"AV\x00" + SAMPLES["control"][3:], "version"),
    "new version": (b"AV\x02" + SAMPLES["control"][3:], "version"),
    "unknown stream": (b"AV\x01\x02" + SAMPLES["control"][4:], "malformed"),
    "control on the bulk stream": (b"AV\x01\x01" + SAMPLES["control"][4:], "malformed"),
    "bulk on the control stream": (b"AV\x01\x00" + SAMPLES["bulk"][4:], "malformed"),
    "huge header": (struct.pack(">2sBBIQ", MAGIC, VERSION, 0, 0xFFFFFFFF, 0) + bytes(40), "oversized"),
    "huge body": (struct.pack(">2sBBIQ", MAGIC, VERSION, 1, 10, 2**64 - 1) + bytes(40), "oversized"),
    "header over its limit": (
        struct.pack(">2sBBIQ", MAGIC, VERSION, 0, MAX_HEADER_BYTES + 1, 0) + bytes(40),
        "oversized",
    ),
    "one byte over the limit": (struct.pack(">2sBBIQ", MAGIC, VERSION, 1, 16, LIMIT - 31) + bytes(40), "oversized"),
    "empty header": (packed(b""), "malformed"),
    "not msgpack": (packed(b"\xc1\xc1\xc1"), "malformed"),
    "text that is no UTF-8": (packed(b"\x92\xa1\xff\x96\xa5Model\xa1a\x00\x01\x80\xc0"), "malformed"),
    "no receiver": (packed([["Model", "a", 0, 1, {}, None]]), "malformed"),
    "receiver is a number": (packed([1, ["Model", "a", 0, 1, {}, None]]), "malformed"),
    "three parts": (packed(["b", ["Model", "a", 0, 1, {}, None], 1]), "malformed"),
    "message is a map": (packed(["b", {"type": "Model"}]), "malformed"),
    "message is empty": (packed(["b", []]), "malformed"),
    "unknown type": (packed(["b", ["Sybil", "a", 0]]), "malformed"),
    "type is a number": (packed(["b", [1, "a", 0]]), "malformed"),
    "missing fields": (packed(["b", ["Model", "a", 0]]), "malformed"),
    "sender is a number": (packed(["b", ["Model", 1, 0, 1, {}, None]]), "malformed"),
    "correlation is a float": (packed(["b", ["Model", "a", 0.5, 1, {}, None]]), "malformed"),
    "correlation is text": (packed(["b", ["Model", "a", "0", 1, {}, None]]), "malformed"),
    "field is a boolean": (packed(["b", ["Model", "a", 0, True, {}, None]]), "malformed"),
    "payload is null": (model(None), "malformed"),
    "payload is a list": (model([]), "malformed"),
    "payload is text": (model("w"), "malformed"),
    "payload is a date": (packed(OPENING + b"\xd6\xff\x00\x00\x00\x00\xc0"), "malformed"),
    "array name is a number": (model({1: ["<f4", [1]]}, bytes(4)), "malformed"),
    "array name is a list": (packed(OPENING + b"\x81\x91\x01\x92\xa3<f4\x91\x01\xc0", bytes(4)), "malformed"),
    "descriptor is a map": (model({"w": {"dtype": "<f4"}}), "malformed"),
    "descriptor of one": (model({"w": ["<f4"]}), "malformed"),
    "descriptor of three": (model({"w": ["<f4", [1], 0]}, bytes(4)), "malformed"),
    "dtype is a number": (model({"w": [4, [1]]}, bytes(4)), "malformed"),
    "dtype is a list": (model({"w": [["<f4"], [1]]}, bytes(4)), "malformed"),
    "dtype of objects": (model({"w": ["|O", [1]]}, bytes(8)), "malformed"),
    "dtype of big endian": (model({"w": [">f4", [1]]}, bytes(4)), "malformed"),
    "dtype of complex numbers": (model({"w": ["<c8", [1]]}, bytes(8)), "malformed"),
    "dtype of texts": (model({"w": ["<U9999999", [1]]}, bytes(8)), "malformed"),
    "dtype of structures": (model({"w": ["i4,O", [1]]}, bytes(8)), "malformed"),
    "dtype by another name": (model({"w": ["float32", [1]]}, bytes(4)), "malformed"),
    "shape is a number": (model({"w": ["<f4", 1]}, bytes(4)), "malformed"),
    "shape of floats": (model({"w": ["<f4", [1.0]]}, bytes(4)), "malformed"),
    "shape of booleans": (model({"w": ["<f4", [True]]}, bytes(4)), "malformed"),
    "negative shape": (model({"w": ["<f4", [-1]]}, bytes(4)), "malformed"),
    "twice negative shape": (model({"w": ["<f4", [-1, -1]]}, bytes(4)), "malformed"),
    "shape beyond an index": (model({"w": ["<f4", [2**63]]}), "malformed"),
    "shape whose product is 2^64": (model({"w": ["<f4", [2**32, 2**32]]}), "truncated"),
    "shape whose product is 0 modulo 2^64": (model({"w": ["|u1", [2**39, 2**25]]}), "truncated"),
    "shape whose product is beyond a double": (model({"w": ["<f4", [2**39] * 8]}), "truncated"),
    "shape of a zero and the rest too large": (model({"w": ["<f4", [0, *[2**39] * 7]]}), "malformed"),
    "(2^40, 2^40)": (model({"w": ["<f4", [2**40, 2**40]]}), "malformed"),
    "too many dimensions": (model({"w": ["<f4", [1] * 9]}, bytes(4)), "malformed"),
    "array beyond the body": (model({"w": ["<f4", [2]]}, bytes(7)), "truncated"),
    "second array beyond the body": (model({"v": ["<f4", [1]], "w": ["<f4", [1]]}, bytes(7)), "truncated"),
    "truth values of 2": (model({"w": ["|b1", [2]]}, b"\x01\x02"), "malformed"),
    "body left over": (model({"w": ["<f4", [1]]}, bytes(5)), "malformed"),
    "body without arrays": (packed(["b", ["Start", "a", 0]], b"\x00", CONTROL), "malformed"),
    "one name twice": (packed(OPENING + b"\x82" + 2 * b"\xa1w\x92\xa3<f4\x91\x01" + b"\xc0", bytes(8)), "malformed"),
    "bytes after the header's value": (packed(START + b"\x00", b"", CONTROL), "malformed"),
    "deep nesting in a payload": (packed(OPENING + b"\x91" * 200_000), "malformed"),
    "deep nesting in a name": (packed(OPENING + b"\x81" * 200_000), "malformed"),
    "deep nesting behind the last field": (packed(LONGER + b"\x91" * 200_000), "malformed"),
    **{f"huge {kind} in a payload": (packed(OPENING + raw), "malformed") for kind, raw in HUGE.items()},
    **{f"huge {kind} as the header": (packed(raw), "malformed") for kind, raw in HUGE.items()},
    **{f"huge {kind} behind the last field": (packed(LONGER + raw), "malformed") for kind, raw in HUGE.items()},
    **{f"huge {kind} in a list field": (packed(POINT + raw, b"", CONTROL), "malformed") for kind, raw in HUGE.items()},
}  # fmt: skip


@pytest.mark.parametrize("name", CORPUS)
def test_malformed_frames_are_refused_with_little_memory(name: str) -> None:
    frame, reason = CORPUS[name]
    refused = "nothing"
    tracemalloc.start()
    try:
        refused = refusal(frame)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert refused == reason
    assert peak < 4 * len(frame) + (1 << 20)
    # It leaves nothing behind: the next frame is read as if nothing had been.
    assert isinstance(CODEC.decode_frame(SAMPLES["bulk"])[1], Model)


@settings(max_examples=500)
@given(st.binary(max_size=200))
def test_any_bytes_are_refused(data: bytes) -> None:
    refusal(data)


@settings(max_examples=500)
@given(st.binary(max_size=60), st.binary(max_size=20), st.integers(0, 1))
def test_any_header_and_body_behind_a_good_prefix_are_refused_or_good(header: bytes, body: bytes, stream: int) -> None:
    decoded_or_refused(packed(header, body, stream))


scalars = st.none() | st.booleans() | integers | st.floats() | st.text(max_size=5) | st.binary(max_size=5)
nested = st.recursive(
    scalars | st.sampled_from(sorted(DTYPES)),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=12,
)


@settings(max_examples=300)
@given(st.sampled_from(["Model", "Point", "Refusal", "Sybil"]), st.lists(nested, max_size=9), st.binary(max_size=8))
def test_any_msgpack_values_are_refused_or_good(kind: str, fields: list[Any], body: bytes) -> None:
    for stream in (CONTROL, BULK):
        decoded_or_refused(packed(["b", [kind, *fields]], body, stream))


@settings(max_examples=500)
@given(st.sampled_from(sorted(SAMPLES)), st.data())
def test_flipped_bytes_are_refused_or_another_good_frame(sample: str, data: st.DataObject) -> None:
    frame = bytearray(SAMPLES[sample])
    for _ in range(data.draw(st.integers(1, 4))):
        frame[data.draw(st.integers(0, len(frame) - 1))] ^= data.draw(st.integers(1, 255))
    decoded_or_refused(frame)


def decoded_or_refused(frame: bytes | bytearray) -> None:
    """Either a `WireError` of a known reason, or a message that can be sent again."""
    try:
        receiver, message = CODEC.decode_frame(frame)
    except WireError as error:
        assert error.reason in REASONS  # noqa: PT017
    else:
        assert frame_size(receiver, message) == len(frame_of(receiver, message))


def test_a_prefix_is_judged_before_anything_is_read() -> None:
    prefix = decode_prefix(SAMPLES["bulk"][:PREFIX_BYTES], max_frame_bytes=LIMIT)
    assert (prefix.stream, prefix.body_bytes) == (BULK, 24)
    assert PREFIX_BYTES + prefix.header_bytes + prefix.body_bytes == len(SAMPLES["bulk"])
    for header_bytes, large in ((MAX_HEADER_BYTES, False), (MAX_HEADER_BYTES + 1, True)):
        data = struct.pack(">2sBBIQ", MAGIC, VERSION, CONTROL, header_bytes, 0)
        with pytest.raises(WireError, match="oversized") if large else nullcontext():
            decode_prefix(data, max_frame_bytes=1 << 40)
    limit = len(SAMPLES["bulk"])
    decode_prefix(SAMPLES["bulk"][:PREFIX_BYTES], max_frame_bytes=limit)
    with pytest.raises(WireError, match="oversized"):
        decode_prefix(SAMPLES["bulk"][:PREFIX_BYTES], max_frame_bytes=limit - 1)


def test_reasons_are_documented() -> None:
    from core.records.rows import UndeliveredRow

    described = msgspec.json.schema(UndeliveredRow)["$defs"]["UndeliveredRow"]["properties"]["reason"]["description"]
    assert all(reason in described for reason in REASONS)
