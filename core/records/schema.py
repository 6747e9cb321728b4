"""The Parquet schema of a table, derived from its row's struct: types, nullability, and documentation as metadata.

float → float64, int → int64, bool → bool, str → dictionary of strings; `… | None` and `… | Payload` may be null.
Tables have `time_s` and `actor` first, but for `messages`, whose rows say when and where themselves.
"""

from __future__ import annotations

import inspect
import types
import typing
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec

from core.records.rows import MessageRow, Row
from core.wire import Payload

if TYPE_CHECKING:
    import pyarrow as pa

_TIME: Final = "When the row was recorded, s of the study."
_ACTOR: Final = "The actor, or the device under it, that the row is about or that recorded it."


class Column(NamedTuple):
    """One column of a table; `kind` is float, int, bool or str."""

    name: str
    kind: type
    nullable: bool
    deferred: bool
    doc: str


def columns(row: type[Row]) -> tuple[Column, ...]:
    """The columns of a table. Raises `TypeError` for a field of a type that has no column."""
    first: tuple[Column, ...] = ()
    if row is not MessageRow:
        first = (Column("time_s", float, False, False, _TIME), Column("actor", str, False, False, _ACTOR))
    return (*first, *(_column(row, field) for field in msgspec.structs.fields(row)))


def _column(row: type[Row], field: msgspec.structs.FieldInfo) -> Column:
    kinds, doc = list(_alternatives(field.type)), ""
    if isinstance(field.type, typing._AnnotatedAlias):  # type: ignore[attr-defined]
        doc = next((m.description or "" for m in field.type.__metadata__ if isinstance(m, msgspec.Meta)), "")
    deferred = any(isinstance(kind, type) and issubclass(kind, Payload) for kind in kinds)
    nullable = deferred or type(None) in kinds
    plain = [kind for kind in kinds if kind in (float, int, bool, str)]
    if len(plain) != 1 or len(plain) + deferred + (type(None) in kinds) != len(kinds):
        raise TypeError(
            f"{row.__name__}.{field.name} is {field.type}; a column is float, int, bool or str, or one of them | None"
        )
    return Column(field.name, plain[0], nullable, deferred, doc)


def _alternatives(kind: Any) -> Iterator[Any]:
    """The members of a union, below any annotations."""
    origin = typing.get_origin(kind)
    if origin is typing.Annotated:
        yield from _alternatives(typing.get_args(kind)[0])
    elif origin is typing.Union or origin is types.UnionType:
        for member in typing.get_args(kind):
            yield from _alternatives(member)
    else:
        yield kind


def table_doc(row: type[Row]) -> str:
    """What a table holds, as one line."""
    return " ".join(inspect.cleandoc(row.__doc__ or "").split())


def schema(row: type[Row]) -> pa.Schema:
    """The pyarrow schema of a table."""
    import pyarrow as pa

    kinds = {
        float: pa.float64(),
        int: pa.int64(),
        bool: pa.bool_(),
        str: pa.dictionary(pa.int32(), pa.string()),
    }
    fields = [
        pa.field(c.name, kinds[c.kind], nullable=c.nullable, metadata={"doc": c.doc} if c.doc else None)
        for c in columns(row)
    ]
    return pa.schema(fields, metadata={"table": row.table, "doc": table_doc(row)})
