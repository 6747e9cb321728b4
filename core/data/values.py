"""What is done to the examples, targets and clients of a file: checks, missing values, scales, labels, numbers."""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple, NoReturn

import numpy as np
import numpy.typing as npt

from core.data.dataset import MAX_CLASSES, Indices, TaskName
from core.data.files import MISSING, Column, Source, typed
from core.data.options import Reading

#: Letters of a value that a message shows.
_LONGEST = 60


class Clients(NamedTuple):
    """The natural client of each example, from 0 on, and their names, if they are of text."""

    number: Indices
    names: tuple[str, ...]

    def chosen(self, rows: npt.NDArray[Any]) -> Clients:
        """Those of some rows, numbered anew; -1 stays nobody."""
        own = self.number[rows]
        kept = np.unique(own[own >= 0])
        number = np.where(own >= 0, np.searchsorted(kept, own), -1).astype(np.int32)
        return Clients(number, tuple(self.names[client] for client in kept) if self.names else ())


@dataclasses.dataclass
class Draft:
    """A data set in the making: NaN stands for missing values in x and y; `origin` is the row of each example."""

    x: npt.NDArray[Any]
    y: Column
    clients: Clients | None
    test: npt.NDArray[np.bool_] | None
    origin: npt.NDArray[np.int64]
    #: Number of different tokens; 0 where examples are numbers.
    tokens: int = 0

    def keep(self, chosen: npt.NDArray[Any]) -> None:
        """Leave out all other examples."""
        self.x, self.y, self.origin = self.x[chosen], self.y[chosen], self.origin[chosen]
        if self.clients is not None:
            self.clients = self.clients.chosen(chosen)
        self.test = None if self.test is None else self.test[chosen]


def blanks(column: Column) -> npt.NDArray[np.bool_]:
    """Which values of a column of text stand for nothing."""
    if column.dtype.kind != "O":
        return np.zeros(len(column), np.bool_)
    return np.array([value is None or str(value).strip() in MISSING for value in column], np.bool_)


def lacks(column: Column) -> npt.NDArray[np.bool_]:
    """Which values of a column are missing: no number, or a text that stands for nothing."""
    return np.isnan(column) if column.dtype.kind == "f" else blanks(column)


def no_number(source: Source, name: str, column: Column) -> NoReturn:
    hint = ""
    shown = str(column.dtype)
    if column.dtype.kind == "O" and column.ndim == 1:
        row = next((i for i, value in enumerate(column) if not _is_number(value)), 0)
        shown = f"{str(column[row])[:_LONGEST]!r} ({source.where(row)})"
        hint = "; data.options.categories takes columns of text, data.options.without leaves them out"
    raise source.wrong(f"{source.noun} `{name}`: {shown} is no number; numbers are expected{hint}")


def _is_number(value: object) -> bool:
    return typed((str(value),)).dtype.kind in "fi"


def shape_of(array: npt.NDArray[Any]) -> str:
    return f"{array.dtype}{list(array.shape)}"


def number_clients(source: Source, names: tuple[str, ...], rows: int) -> Clients | None:
    """Numbers for what one or more columns call the clients, in ascending order; None without columns."""
    if not names:
        return None
    codes = np.zeros(rows, np.int64)
    columns = []
    for name in names:
        column = source.column(name, "client")
        if column.shape != (rows,):
            raise source.wrong(f"{source.noun} `{name}` is {shape_of(column)}; a client for each of {rows} is expected")
        if column.dtype.kind == "f":
            bad = ~np.isfinite(column) | (column != np.floor(column))
            if bad.any():
                row = int(np.argmax(bad))
                shown = "nothing" if np.isnan(column[row]) else column[row]
                raise source.wrong(
                    f"{source.noun} `{name}` has {shown} ({source.where(row)}); whole numbers or text are expected"
                )
        elif column.dtype.kind not in "iubO":
            raise source.wrong(f"{source.noun} `{name}` is {shape_of(column)}; whole numbers or text are expected")
        blank = blanks(column)
        if blank.any():
            where = source.where(int(np.argmax(blank)))
            raise source.wrong(f"{source.noun} `{name}` has nothing ({where}); a client for each row is expected")
        column = source.identities(name, column)
        known, numbers = np.unique(column, return_inverse=True)
        # Numbered anew with each column, so that the product stays below the square of the rows.
        codes = np.unique(codes * len(known) + numbers, return_inverse=True)[1]
        columns.append(column)
    _, first, number = np.unique(codes, return_index=True, return_inverse=True)
    if not any(column.dtype.kind == "O" for column in columns):
        return Clients(number.astype(np.int32), ())
    called = tuple(" / ".join(str(column[row])[:_LONGEST] for column in columns) for row in first)
    return Clients(number.astype(np.int32), called)


# Numbers.


def scale_of(source: Source, how: Reading, columns: int) -> float | npt.NDArray[np.float32]:
    if not isinstance(how.scale, str):
        return float(how.scale)
    scale = source.column(how.scale, "scale")
    if scale.shape != (columns,) or scale.dtype.kind not in "fiu" or not (np.isfinite(scale) & (scale != 0)).all():
        raise source.wrong(f"`{how.scale}` is {shape_of(scale)}; {columns} numbers other than 0 are expected")
    return scale.astype(np.float32)


def clean_numbers(source: Source, how: Reading, draft: Draft) -> None:
    """x as float32 with nothing missing, scaled."""
    raw = draft.x
    missing = raw == how.missing_value if how.missing_value is not None else None
    with np.errstate(over="ignore"):
        x = raw.astype(np.float32)
    if not (isinstance(how.scale, int | float) and how.scale == 1):
        x /= scale_of(source, how, x.shape[-1])
    infinite = np.isinf(x)
    if infinite.any():
        at = tuple(np.argwhere(infinite)[0])
        _bad_value(source, draft, at, raw[at], "a number that float32 can hold is expected")
    if missing is not None:
        x[missing] = np.nan
    draft.x = x
    lacking = np.isnan(x)
    if lacking.any() and how.missing == "refuse":
        at = tuple(np.argwhere(lacking)[0])
        _bad_value(
            source, draft, at, raw[at], "a finite number is expected; with `data.options.missing`, impute or drop"
        )
    if lacking.any() and how.missing == "drop":
        draft.keep(np.flatnonzero(~lacking.reshape(len(x), -1).any(axis=1)))
        if not len(draft.x):
            raise source.wrong("every example lacks a value; accepted: data.options.missing: impute")
    if how.standardise:
        _standardise(draft)
    if np.isnan(draft.x).any():
        _impute(draft)


def _bad_value(source: Source, draft: Draft, at: tuple[Any, ...], value: object, expected: str) -> NoReturn:
    place = f" at {list(map(int, at[1:]))}" if at[1:] else ""
    shown = "a missing value" if value != value or value is None else f"the value {value}"
    raise source.wrong(f"x has {shown} ({source.where(int(draft.origin[at[0]]))}{place}); {expected}")


def _standardise(draft: Draft) -> None:
    """Each column to mean 0 and deviation 1, by the examples that are not the test part."""
    own = draft.x if draft.test is None else draft.x[~draft.test]
    flat = own.reshape(-1, own.shape[-1])
    counts = np.isfinite(flat).sum(axis=0)
    total = np.nansum(flat, axis=0, dtype=np.float64)
    mean = total / np.maximum(counts, 1)
    variance = np.nansum(np.square(flat - mean), axis=0, dtype=np.float64) / np.maximum(counts, 1)
    deviation = np.sqrt(variance)
    deviation[deviation == 0] = 1.0
    draft.x = ((draft.x - mean) / deviation).astype(np.float32)


def _impute(draft: Draft) -> None:
    """The mean of the client's own values of a column, or 0."""
    number = draft.clients.number if draft.clients is not None else np.zeros(len(draft.x), np.int32)
    for client in np.unique(number):
        rows = np.flatnonzero(number == client)
        own = draft.x[rows]
        flat = own.reshape(-1, own.shape[-1])
        counts = np.isfinite(flat).sum(axis=0)
        mean = (np.nansum(flat, axis=0, dtype=np.float64) / np.maximum(counts, 1)).astype(np.float32)
        draft.x[rows] = np.where(np.isnan(own), mean, own)


# Targets.


def targets(source: Source, how: Reading, task: TaskName, draft: Draft) -> tuple[npt.NDArray[Any], int]:
    """The targets of a task, and the width of a model's outputs."""
    y, name = draft.y, how.y or "y"
    if task == "next_token":
        if y.shape != draft.x.shape or y.dtype.kind not in "iu" or int(y.min()) < 0 or int(y.max()) >= MAX_CLASSES:
            raise source.wrong(f"`{name}` is {shape_of(y)}; the next token of each of {shape_of(draft.x)} is expected")
        draft.tokens = max(draft.tokens, int(y.max()) + 1)
        return y.astype(np.int32), draft.tokens
    if y.shape != (len(draft.x),):
        raise source.wrong(
            f"{source.noun} `{name}` is {shape_of(y)}; one target for each of {len(draft.x)} examples is expected"
        )
    if y.dtype.kind == "O" and task == "classification" and how.above is None:
        blank = blanks(y)
        if blank.any() and how.missing == "drop":
            _keep_targets(source, name, draft, ~blank)
            y = draft.y
        elif blank.any():
            where = source.where(int(draft.origin[np.argmax(blank)]))
            raise source.wrong(
                f"{source.noun} `{name}` has nothing ({where}); a label for each row is expected, or "
                "data.options.missing: drop"
            )
        known, labels = np.unique(y.astype(str), return_inverse=True)
        if len(known) > MAX_CLASSES:
            raise source.wrong(f"{source.noun} `{name}` has {len(known)} labels; at most {MAX_CLASSES} are accepted")
        return labels.astype(np.int32), len(known)
    if y.dtype.kind not in "fiub":
        no_number(source, name, y)
    if y.dtype.kind == "f":
        with np.errstate(over="ignore"):
            bad = ~np.isfinite(y.astype(np.float32))
        if bad.any() and how.missing == "drop":
            _keep_targets(source, name, draft, ~bad)
            y = draft.y
        elif bad.any():
            row = int(np.argmax(bad))
            shown = "a missing value" if np.isnan(y[row]) else f"the value {y[row]}"
            raise source.wrong(
                f"{source.noun} `{name}` has {shown} ({source.where(int(draft.origin[row]))}); a target for each row "
                "is expected, or data.options.missing: drop"
            )
    if task == "regression":
        return _divided(source, how, name, draft), 1
    if how.above is not None:
        return (y > how.above).astype(np.int32), 2
    wrong = (y < 0) | (y >= MAX_CLASSES) | (y != np.floor(y) if y.dtype.kind == "f" else False)
    if wrong.any():
        row = int(np.argmax(wrong))
        raise source.wrong(
            f"{source.noun} `{name}` has the label {y[row]} ({source.where(int(draft.origin[row]))}); labels from 0 to "
            f"{MAX_CLASSES - 1} are expected, or text; for other numbers data.options.task: regression"
        )
    return y.astype(np.int32), int(y.max()) + 1


def _keep_targets(source: Source, name: str, draft: Draft, there: npt.NDArray[np.bool_]) -> None:
    if not there.any():
        raise source.wrong(f"{source.noun} `{name}` has no target in any row that is left; one or more is expected")
    draft.keep(np.flatnonzero(there))


def _divided(source: Source, how: Reading, name: str, draft: Draft) -> npt.NDArray[np.float32]:
    """The targets of a regression in units of `y_scale`, as float32."""
    with np.errstate(over="ignore"):
        scaled: npt.NDArray[np.float32] = (draft.y.astype(np.float64) / how.y_scale).astype(np.float32)
    infinite = ~np.isfinite(scaled)
    if infinite.any():
        row = int(np.argmax(infinite))
        raise source.wrong(
            f"{source.noun} `{name}` has the value {draft.y[row]} ({source.where(int(draft.origin[row]))}), which "
            f"divided by data.options.y_scale, {how.y_scale:g}, is no number that float32 can hold; a larger "
            "divisor is accepted"
        )
    return scaled
