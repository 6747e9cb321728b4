"""Writes a run's records: rows of typed tables to Parquet parts, messages with the trace hash over them."""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from core.crowd import News
from core.records.rows import MessageRow, Row
from core.records.schema import Column, columns, schema
from core.records.store import RECORDS, RecordsError, parquet_bytes, part_name, part_paths, table_names, write_whole
from core.records.trace import Block, Codes, Names, TraceDigest, joined
from core.wire import ArrayDict, Message, Payload

if TYPE_CHECKING:
    import pyarrow as pa

#: Names that a part's dictionary may hold beside those that its rows use.
_SPARE_NAMES: Final = 4096

MessageTuple = tuple[float, float, str, str, type[Message], int]


class _Table:
    """Rows of one table that are not written yet."""

    __slots__ = ("columns", "deferred", "kind", "next_try", "rows", "values")

    def __init__(self, kind: type[Row], block: int) -> None:
        if not kind.table:
            raise ValueError(f"{kind.__name__} names no table")
        self.kind = kind
        self.columns: tuple[Column, ...] = columns(kind)[2:]
        self.deferred = tuple(column.name for column in self.columns if column.deferred)
        self.values: tuple[Callable[[Row], Any], ...] = tuple(operator.attrgetter(c.name) for c in self.columns)
        self.rows: list[tuple[float, str, Row]] = []
        self.next_try = block


class RunWriter:
    """The writer of one run's directory. Raises `RecordsError` when the directory cannot be written or is not empty.

    `resolve` tells the arrays of a payload that has been computed, and None for one that has not; rows that wait for
    a payload hold back the later rows of their table. A simulator may append tuples (sent_s, delivered_s, sender,
    receiver, type, size_bytes) to `pending_messages` itself, and call `encode_messages` from `ENCODE_BLOCK` on.
    After an error all that was written stays readable, and `trace_sha256` is that of what was written. A run that is
    resumed is written anew (`again`): each part takes the place of the old one, and what is beyond the last goes at the
    end.
    """

    #: Messages of a part, and those that are made columns of at once, while they are still in the processor's cache:
    #: waiting for a whole part took twice as long for each when measured.
    MESSAGE_BLOCK = 65_536
    ENCODE_BLOCK = 8192
    ROW_BLOCK = 16_384

    def __init__(
        self,
        directory: Path,
        *,
        resolve: Callable[[Payload], ArrayDict | None] | None = None,
        again: bool = False,
    ) -> None:
        self.directory = Path(directory)
        self.pending_messages: list[MessageTuple] = []
        self._resolve = resolve
        self._tables: dict[str, _Table] = {}
        self._parts: dict[str, int] = {}
        self._digest = TraceDigest()
        self._blocks: list[Block] = []
        self._encoded = 0
        self._again = again
        if table_names(self.directory) and not again:
            raise RecordsError(f"{self.directory / RECORDS} holds the records of another run")
        try:
            (self.directory / RECORDS).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise RecordsError(f"cannot write {self.directory / RECORDS}: {error.strerror or error}") from error

    # Messages.

    def message(
        self, sent_s: float, delivered_s: float, sender: str, receiver: str, kind: type[Message], size_bytes: int
    ) -> None:
        """Record a delivered message; its type is called `kind.__name__`."""
        pending = self.pending_messages
        pending.append((sent_s, delivered_s, sender, receiver, kind, size_bytes))
        if len(pending) >= self.MESSAGE_BLOCK:
            self.flush_messages()

    def encode_messages(self) -> None:
        """Make columns of the pending messages and clear the list; whole parts are written."""
        if self.pending_messages:
            self._blocks.append(self._digest.encode(self.pending_messages))
            self._encoded += len(self.pending_messages)
            self.pending_messages.clear()
        if self._encoded >= self.MESSAGE_BLOCK:
            self._write_blocks()

    def encode_news(
        self,
        news: News,
        receiver: str,
        sent_s: npt.NDArray[np.float64],
        delivered_s: npt.NDArray[np.float64],
        sizes: npt.NDArray[np.int32],
    ) -> None:
        """Record news that were delivered to one receiver, behind the pending messages."""
        self.encode_messages()
        self._blocks.append(self._digest.encode_news(news, receiver, sent_s, delivered_s, sizes))
        self._encoded += len(sent_s)
        if self._encoded >= self.MESSAGE_BLOCK:
            self._write_blocks()

    def flush_messages(self) -> None:
        """Write all messages so far. After a `RecordsError` they still wait to be written."""
        self.encode_messages()
        self._write_blocks()

    def _write_blocks(self) -> None:
        if self._blocks:
            self._write(MessageRow.table, self._message_table(joined(self._blocks)))
            for block in self._blocks:
                self._digest.commit(block)
            self._blocks.clear()
            self._encoded = 0

    def append_messages(self, table: pa.Table) -> None:
        """Write a table with the columns of `messages` behind those recorded so far."""
        self.flush_messages()
        for start in range(0, table.num_rows, self.MESSAGE_BLOCK):
            block = self._digest.encode_table(table.slice(start, self.MESSAGE_BLOCK))
            self._write(MessageRow.table, self._message_table(block))
            self._digest.commit(block)

    def _message_table(self, block: Block) -> pa.Table:
        import pyarrow as pa

        digest = self._digest
        return pa.Table.from_arrays(
            [
                pa.array(block.sent_s),
                pa.array(block.delivered_s),
                _dictionary(block.sender, digest.sender),
                _dictionary(block.receiver, digest.receiver),
                _dictionary(block.type, digest.type),
                pa.array(block.size_bytes),
            ],
            schema=schema(MessageRow),
        )

    @property
    def message_count(self) -> int:
        """Messages recorded so far."""
        return self._digest.count + self._encoded + len(self.pending_messages)

    @property
    def trace_sha256(self) -> str:
        """The trace hash of the messages written so far; after `close`, of all."""
        return self._digest.hexdigest()

    # Other tables.

    def row(self, time_s: float, actor: str, row: Row) -> None:
        """Record a row of a table; a payload in it is filled in when it has been computed."""
        table = self._tables.get(row.table)
        if table is None:
            table = self._tables[row.table] = _Table(type(row), self.ROW_BLOCK)
        elif table.kind is not type(row):
            raise TypeError(f"{type(row).__name__} and {table.kind.__name__} both name the table {row.table!r}")
        table.rows.append((time_s, actor, row))
        if len(table.rows) >= table.next_try:
            self._flush_table(table, all_rows=False)

    def append_table(self, name: str, table: pa.Table) -> None:
        """Write a whole table, of the schema of its rows, behind what was recorded in it so far."""
        if name in self._tables:
            self._flush_table(self._tables[name], all_rows=True)
        self._write(name, table)

    def flush(self) -> None:
        """Write all that is complete: messages, and rows up to the first of a table that waits for a payload."""
        self.flush_messages()
        for table in self._tables.values():
            self._flush_table(table, all_rows=False)

    def close(self) -> None:
        """Write everything; values that were never computed are null."""
        self.flush_messages()
        for table in self._tables.values():
            self._flush_table(table, all_rows=True)
        if self._again:
            for name in table_names(self.directory):
                for path in part_paths(self.directory, name)[self._parts.get(name, 0) :][::-1]:
                    path.unlink()

    def _flush_table(self, table: _Table, *, all_rows: bool) -> None:
        count = len(table.rows)
        if table.deferred and not all_rows:
            waiting = (i for i, (_, _, row) in enumerate(table.rows) if not self._is_complete(table, row))
            count = next(waiting, count)
        if count:
            self._write(table.kind.table, self._row_table(table, table.rows[:count]))
            del table.rows[:count]
        table.next_try = len(table.rows) + self.ROW_BLOCK

    def _arrays(self, payload: Payload) -> ArrayDict | None:
        if isinstance(payload, ArrayDict):
            return payload
        return None if self._resolve is None else self._resolve(payload)

    def _is_complete(self, table: _Table, row: Row) -> bool:
        values = (getattr(row, name) for name in table.deferred)
        return all(self._arrays(value) is not None for value in values if isinstance(value, Payload))

    def _row_table(self, table: _Table, rows: Sequence[tuple[float, str, Row]]) -> pa.Table:
        import pyarrow as pa

        kinds = schema(table.kind)
        own = []
        for column, value_of in zip(table.columns, table.values, strict=True):
            values = [value_of(row) for _, _, row in rows]
            if column.deferred:
                values = [self._scalar(value, column) if isinstance(value, Payload) else value for value in values]
            own.append(pa.array(values, type=kinds.field(column.name).type))
        times = pa.array([time_s for time_s, _, _ in rows], type=pa.float64())
        actors = pa.array([actor for _, actor, _ in rows], type=kinds.field("actor").type)
        return pa.Table.from_arrays([times, actors, *own], schema=kinds)

    def _scalar(self, payload: Payload, column: Column) -> Any:
        """The array of a payload that is named like the column, or null if it is not computed or not known."""
        arrays = self._arrays(payload)
        found = None if arrays is None else arrays.get(column.name)
        return None if found is None else column.kind(found.item())

    # Parts.

    def _write(self, name: str, table: pa.Table) -> None:
        number = self._parts.get(name, 0)
        write_whole(self.directory / RECORDS / name / part_name(number), memoryview(parquet_bytes(table)))
        self._parts[name] = number + 1


def _dictionary(codes: Codes, names: Names) -> pa.DictionaryArray:
    """Numbers with the names that they stand for; a long list of names is cut to those in use."""
    import pyarrow as pa

    known = names.names
    if len(known) > _SPARE_NAMES:
        used = np.zeros(len(known), np.bool_)
        used[codes] = True
        chosen = np.flatnonzero(used)
        codes = (np.cumsum(used, dtype=np.int32) - np.int32(1))[codes]
        known = [known[i] for i in chosen.tolist()]
    return pa.DictionaryArray.from_arrays(pa.array(codes), pa.array(known, type=pa.string()))
