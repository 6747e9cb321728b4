"""Tables and the trace hash on disk: what is written is read back, whatever the parts, the failures and the order."""

from __future__ import annotations

import hashlib
import os
import struct
import subprocess
import sys
from pathlib import Path
from typing import ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.actor import Crowd, News
from core.records import (
    TABLES,
    DeviceRow,
    EvaluationRow,
    FaultRow,
    MessageRow,
    RecordsError,
    Row,
    RunWriter,
    merge,
    trace_sha256,
)
from core.records.schema import columns, schema
from core.records.store import part_paths, read_parts, table_names
from core.wire import ArrayDict, Message, Payload, Spec

Rows = list[tuple[float, float, str, str, type[Message], int]]


class Ping(Message, frozen=True, kw_only=True):
    number: int = 0


class Pong(Message, frozen=True, kw_only=True):
    number: int = 0


ROWS: Rows = [
    (0.0, 0.25, "a", "b", Ping, 40),
    (0.5, 0.75, "b", "a", Pong, 41),
    (0.75, 1.0, "a", "c", Ping, 40),
    (1.0, 1.5, "c", "a", Pong, 45),
]


class Later(Payload):
    """A payload that is not computed yet."""

    def __init__(self) -> None:
        self.arrays: ArrayDict | None = None

    @property
    def spec(self) -> dict[str, Spec]:
        return {}


def resolve(payload: Payload) -> ArrayDict | None:
    assert isinstance(payload, Later)
    return payload.arrays


def write(directory: Path, rows: Rows, block: int = 65_536) -> RunWriter:
    writer = RunWriter(directory)
    writer.MESSAGE_BLOCK = block
    for row in rows:
        writer.message(*row)
    writer.close()
    return writer


def read(directory: Path, table: str) -> list[dict[str, object]]:
    return [row for part in read_parts(directory, table) for row in part.to_pylist()]


def test_messages_are_read_back_in_order(tmp_path: Path) -> None:
    writer = write(tmp_path, ROWS, block=3)
    assert [path.name for path in part_paths(tmp_path, "messages")] == ["part-00000.parquet", "part-00001.parquet"]
    assert writer.message_count == 4
    found = [tuple(row.values()) for row in read(tmp_path, "messages")]
    assert found == [(sent, at, a, b, kind.__name__, size) for sent, at, a, b, kind, size in ROWS]


def test_the_trace_hash_is_the_documented_one(tmp_path: Path) -> None:
    writer = write(tmp_path, ROWS)

    def names(*values: str) -> bytes:
        lengths = (struct.pack("<Q", len(v)) + v.encode() for v in values)
        return hashlib.sha256(b"names" + b"".join(lengths)).digest()

    codes = [(0, 0, 0), (1, 1, 1), (0, 2, 0), (2, 1, 1)]
    packed = b"".join(
        struct.pack("<ddIIIq", sent, at, *code, size)
        for (sent, at, _, _, _, size), code in zip(ROWS, codes, strict=True)
    )
    whole = b"aivsim trace 1" + names("a", "b", "c") + names("b", "a", "c") + names("Ping", "Pong")
    expected = hashlib.sha256(whole + hashlib.sha256(b"rows" + packed).digest()).hexdigest()
    assert writer.trace_sha256 == expected
    assert trace_sha256(tmp_path) == expected


actors = st.sampled_from(["coordinator", "phone-0", "phone-1", "Zoë", ""])
message_rows = st.lists(
    st.tuples(
        st.floats(allow_nan=False),
        st.floats(allow_nan=False),
        actors,
        actors,
        st.sampled_from([Ping, Pong]),
        st.integers(0, 2**62),
    ),
    max_size=12,
)


@settings(max_examples=25, deadline=None)
@given(rows=message_rows, block=st.integers(1, 5))
def test_the_trace_hash_does_not_depend_on_the_parts(
    rows: Rows, block: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    one, many = tmp_path_factory.mktemp("one"), tmp_path_factory.mktemp("many")
    hashes = {write(one, rows).trace_sha256, write(many, rows, block).trace_sha256}
    assert hashes == {trace_sha256(one)} == {trace_sha256(many)}


@settings(max_examples=25, deadline=None)
@given(data=st.data(), rows=message_rows.filter(bool))
def test_any_changed_row_changes_the_trace_hash(
    data: st.DataObject, rows: Rows, tmp_path_factory: pytest.TempPathFactory
) -> None:
    at = data.draw(st.integers(0, len(rows) - 1))
    field = data.draw(st.integers(0, 5))
    row = list(rows[at])
    other = {0: st.floats(allow_nan=False), 2: actors, 4: st.sampled_from([Ping, Pong]), 5: st.integers(0, 2**62)}
    row[field] = data.draw(other[{1: 0, 3: 2}.get(field, field)].filter(lambda value: value != row[field]))
    changed = [*rows[:at], tuple(row), *rows[at + 1 :]]
    before = write(tmp_path_factory.mktemp("before"), rows).trace_sha256
    assert write(tmp_path_factory.mktemp("after"), changed).trace_sha256 != before  # type: ignore[arg-type]


def test_the_order_and_number_of_rows_belong_to_the_trace_hash(tmp_path: Path) -> None:
    variants = [ROWS, ROWS[::-1], ROWS[:-1], [*ROWS, ROWS[-1]], [ROWS[1], ROWS[0], *ROWS[2:]], []]
    hashes = {write(tmp_path / str(i), rows).trace_sha256 for i, rows in enumerate(variants)}
    assert len(hashes) == len(variants)


@pytest.mark.parametrize("block", [1, 5, 65_536])
def test_news_are_recorded_as_single_messages_would_be(tmp_path: Path, block: int) -> None:
    """The same table and the same hash: names are numbered where they first appear, among what else is told."""

    crowd = Crowd((("phone", 4), ("tablet", 2)))
    rng = np.random.default_rng(1)
    one, many = RunWriter(tmp_path / "one"), RunWriter(tmp_path / "many")
    one.MESSAGE_BLOCK = many.MESSAGE_BLOCK = block
    for burst in range(4):
        at = float(burst)
        for writer in (one, many):
            writer.message(at, at + 0.25, "tablet-1" if burst == 1 else "main", "phone-2", Pong, 10)
        count = 3 + burst
        senders, kind = rng.integers(0, 6, count), rng.integers(0, 2, count).astype(np.int8)
        sent_s, arrive_s = at + rng.random(count), at + 1 + rng.random(count)
        sizes = rng.integers(20, 30, count).astype(np.int32)
        many.encode_news(News(crowd, senders, (Ping, Pong), kind, senders), "main", sent_s, arrive_s, sizes)
        for who, what, sent, arrive, size in zip(senders, kind, sent_s, arrive_s, sizes, strict=True):
            one.message(float(sent), float(arrive), crowd.name(int(who)), "main", (Ping, Pong)[what], int(size))
    one.close()
    many.close()
    assert many.message_count == one.message_count == 4 + 3 + 4 + 5 + 6
    assert many.trace_sha256 == one.trace_sha256 == trace_sha256(tmp_path / "many")
    assert read(tmp_path / "many", "messages") == read(tmp_path / "one", "messages")


def test_many_names_are_cut_to_those_in_use(tmp_path: Path) -> None:
    rows: Rows = [(0.0, float(i), f"phone-{i}", f"phone-{(i * 7) % 9000}", Ping, 1) for i in range(9000)]
    writer = write(tmp_path, rows, block=3000)
    parts = list(read_parts(tmp_path, "messages"))
    assert [len(part["sender"].chunk(0).dictionary) for part in parts] == [3000, 3000, 3000]
    assert [row["sender"] for row in read(tmp_path, "messages")] == [row[2] for row in rows]
    assert [row["receiver"] for row in read(tmp_path, "messages")] == [row[3] for row in rows]
    assert trace_sha256(tmp_path) == writer.trace_sha256


def test_the_schema_is_typed_and_documented(tmp_path: Path) -> None:
    writer = RunWriter(tmp_path)
    writer.row(0.5, "phone", DeviceRow(**_device()))
    writer.close()
    found = pq.read_schema(part_paths(tmp_path, "devices")[0])
    strings = pa.dictionary(pa.int32(), pa.string())
    assert list(zip(found.names, found.types, strict=True)) == [
        ("time_s", pa.float64()),
        ("actor", strings),
        ("event", strings),
        ("battery_level", pa.float64()),
        ("soc_temperature_c", pa.float64()),
        ("case_temperature_c", pa.float64()),
        ("speed", pa.float64()),
        ("charging", pa.bool_()),
    ]
    assert [f.name for f in found if f.nullable] == ["battery_level", "soc_temperature_c", "case_temperature_c"]
    assert found.metadata[b"doc"].decode() == "State of a device at one of its events."
    assert found.field("battery_level").metadata[b"doc"].decode() == "Charge, 0 to 1; null without a battery."
    assert read(tmp_path, "devices") == [{"time_s": 0.5, "actor": "phone", **_device()}]


def _device() -> dict[str, object]:
    return {
        "event": "start",
        "battery_level": None,
        "soc_temperature_c": 25.5,
        "case_temperature_c": 25.0,
        "speed": 1.0,
        "charging": True,
    }


@pytest.mark.parametrize("row", TABLES.values(), ids=TABLES)
def test_every_column_of_every_table_is_documented(row: type[Row]) -> None:
    assert [column.name for column in columns(row) if not column.doc] == []
    names = schema(row).names
    assert names[:2] == (["sent_s", "delivered_s"] if row is MessageRow else ["time_s", "actor"])


def test_a_column_of_an_unknown_type_is_refused() -> None:
    class Odd(Row, frozen=True, kw_only=True):
        table: ClassVar[str] = "odd"
        value: list[int]

    with pytest.raises(TypeError, match=r"Odd\.value is list\[int\]; a column is float, int, bool or str"):
        columns(Odd)


def test_rows_wait_for_their_payloads_in_order(tmp_path: Path) -> None:
    writer = RunWriter(tmp_path, resolve=resolve)
    first, second, third = Later(), Later(), Later()
    for i, payload in enumerate((first, second, third)):
        writer.row(float(i), "coordinator", EvaluationRow(round=i, examples=9, accuracy=payload, loss=payload))
    second.arrays = ArrayDict({"accuracy": np.float32(0.5), "loss": np.float32(2.0)})
    writer.flush()
    assert table_names(tmp_path) == []
    first.arrays = ArrayDict({"accuracy": np.float32(0.25), "loss": np.float32(4.0)})
    writer.flush()
    assert [row["accuracy"] for row in read(tmp_path, "evaluations")] == [0.25, 0.5]
    writer.close()
    assert [row["loss"] for row in read(tmp_path, "evaluations")] == [4.0, 2.0, None]


def test_a_row_held_back_does_not_hold_back_other_tables(tmp_path: Path) -> None:
    writer = RunWriter(tmp_path, resolve=resolve)
    waiting = Later()
    writer.row(0.0, "a", EvaluationRow(round=1, examples=9, accuracy=waiting, loss=waiting))
    writer.row(0.0, "a", FaultRow(kind="crash"))
    writer.flush()
    assert table_names(tmp_path) == ["faults"]


def test_tables_are_written_in_blocks(tmp_path: Path) -> None:
    writer = RunWriter(tmp_path)
    writer.ROW_BLOCK = 4
    for i in range(10):
        writer.row(float(i), "a", FaultRow(kind="crash", detail=str(i)))
    # Nobody closed it: a killed run.
    assert [row["detail"] for row in read(tmp_path, "faults")] == [str(i) for i in range(8)]


def test_two_rows_cannot_share_a_table(tmp_path: Path) -> None:
    class Other(Row, frozen=True, kw_only=True):
        table: ClassVar[str] = "faults"

    writer = RunWriter(tmp_path)
    writer.row(0.0, "a", FaultRow(kind="crash"))
    with pytest.raises(TypeError, match="Other and FaultRow both name the table 'faults'"):
        writer.row(0.0, "a", Other())


def test_a_directory_with_records_is_refused(tmp_path: Path) -> None:
    write(tmp_path, ROWS)
    with pytest.raises(RecordsError, match="holds the records of another run"):
        RunWriter(tmp_path)


def test_a_directory_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RecordsError, match=r"cannot write .*file/records: Not a directory"):
        RunWriter(tmp_path / "file")


def test_after_a_full_disk_what_was_written_stays_readable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    writer = RunWriter(tmp_path)
    writer.pending_messages.extend(ROWS[:2])
    writer.flush_messages()
    before = writer.trace_sha256

    def full(source: object, target: object) -> None:
        raise OSError(28, os.strerror(28))

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", full)
        writer.pending_messages.extend(ROWS[2:])
        with pytest.raises(RecordsError, match=r"cannot write .*part-00001\.parquet: No space left on device"):
            writer.flush_messages()
    assert writer.trace_sha256 == before == trace_sha256(tmp_path)
    assert [path.name for path in (tmp_path / "records/messages").iterdir()] == ["part-00000.parquet"]
    writer.close()
    assert len(read(tmp_path, "messages")) == 4
    assert writer.trace_sha256 == trace_sha256(tmp_path)


def test_a_half_written_part_is_not_read(tmp_path: Path) -> None:
    writer = write(tmp_path, ROWS)
    whole = part_paths(tmp_path, "messages")[0].read_bytes()
    (tmp_path / "records/messages/.part-00001.parquet.partial").write_bytes(whole[:100])
    assert trace_sha256(tmp_path) == writer.trace_sha256


def test_merged_records_do_not_depend_on_how_they_were_divided(tmp_path: Path) -> None:
    rows: Rows = [
        (float(i), 10.0 + i // 3, f"phone-{(i * 5) % 7}", "hub", (Ping, Pong)[i % 2], 50 + i % 4) for i in range(40)
    ]
    hashes = set()
    for shape, count in enumerate((1, 2, 5)):
        parts = [tmp_path / f"{shape}-{node}" for node in range(count)]
        for node, part in enumerate(parts):
            writer = RunWriter(part)
            for row in rows[node::count]:
                writer.message(*row)
            writer.row(float(9 - node), f"node-{node}", FaultRow(kind="crash", detail=str(node)))
            writer.close()
        into = RunWriter(tmp_path / f"{shape}-merged")
        merge(parts, into)
        into.row(99.0, "launcher", FaultRow(kind="node_lost"))
        into.close()
        hashes |= {into.trace_sha256, trace_sha256(into.directory)}
        faults = read(into.directory, "faults")
        assert [row["detail"] for row in faults] == [*(str(node) for node in reversed(range(count))), ""]
        found = read(into.directory, "messages")
    assert len(hashes) == 1
    keys = [tuple(row[k] for k in ("delivered_s", "sender", "receiver", "type", "size_bytes")) for row in found]
    assert keys == sorted(keys)
    assert len(keys) == 40


def test_the_package_is_light() -> None:
    code = "import sys, core.records; print([m for m in ('jax', 'pyarrow', 'safetensors') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
