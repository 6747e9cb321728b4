"""What a launched node tells its launcher at once: a line of JSON on standard output for each row worth watching."""

from __future__ import annotations

import contextlib
import sys
from typing import Final

import msgspec

from core.records.rows import EvaluationRow, RoundRow, Row
from core.wire import ArrayDict

#: The `table` of the line that says that the run has begun, and when by the machine's monotonic clock (`origin_s`).
BEGUN: Final = "begun"
#: Rows that the launcher hears of.
WATCHED: Final = (RoundRow, EvaluationRow)


class Progress(msgspec.Struct, frozen=True):
    """A row of `table`, with when and by which actor it was recorded."""

    table: str
    time_s: float = 0.0
    actor: str = ""
    row: dict[str, float | int | str | None] = {}


def of(time_s: float, actor: str, row: Row) -> Progress:
    """A row as progress; a payload in it stands for its array that is named like the field."""
    values: dict[str, float | int | str | None] = {}
    for name in row.__struct_fields__:
        value = getattr(row, name)
        values[name] = value[name].item() if isinstance(value, ArrayDict) else value
    return Progress(row.table, time_s, actor, values)


def tell(progress: Progress) -> None:
    """Write a line to the launcher; one that is gone is told nothing."""
    with contextlib.suppress(BrokenPipeError):
        sys.stdout.buffer.write(msgspec.json.encode(progress) + b"\n")
        sys.stdout.buffer.flush()


def observe(time_s: float, actor: str, row: Row) -> None:
    """Tell the launcher of a row if it is a watched one."""
    if isinstance(row, WATCHED):
        tell(of(time_s, actor, row))
