"""Brings the records of several nodes of one run together, in an order that depends on their contents alone."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from core.records.rows import TABLES, MessageRow
from core.records.schema import schema
from core.records.store import read_parts, table_names
from core.records.writer import RunWriter

if TYPE_CHECKING:
    import pyarrow as pa

#: Order of merged messages.
MESSAGE_ORDER: Final = ("delivered_s", "sender", "receiver", "type", "size_bytes", "sent_s")


def merge(parts: Sequence[Path], into: RunWriter) -> None:
    """Add the records in the directories `parts`, one a node, to those of `into`.

    Messages are sorted by delivered_s, sender, receiver, type, size_bytes, sent_s; other tables by time_s and actor.
    Rows that agree in these keep the order of `parts`, and that within a part. Raises `RecordsError`.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    for name in sorted({name for part in parts for name in table_names(part)}):
        tables = [table for part in parts for table in read_parts(part, name)]
        whole = pa.concat_tables(tables).unify_dictionaries()
        order = MESSAGE_ORDER if name == MessageRow.table else ("time_s", "actor")
        keys = {key: _plain(whole[key]) for key in order} | {"row": pa.array(range(whole.num_rows), pa.int64())}
        indices = pc.sort_indices(pa.table(keys), [(key, "ascending") for key in keys])
        if name == MessageRow.table:
            into.append_messages(whole.take(indices))
        else:
            # pyarrow's take makes one dictionary of several.
            kinds = schema(TABLES[name]) if name in TABLES else whole.schema
            into.append_table(name, whole.take(indices).combine_chunks().cast(kinds))


def _plain(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Strings instead of dictionaries of them, to sort by."""
    import pyarrow as pa

    return column.cast(pa.string()) if pa.types.is_dictionary(column.type) else column
