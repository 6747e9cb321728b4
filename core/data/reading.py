"""From the columns of a user's file to a data set: which are examples, targets and clients, and what is done to them.

What does not fit is refused with file, column, place and value. Missing values are refused too unless `missing` says
otherwise: `drop` leaves out their examples, `impute` takes the mean of the client's own values of that column (held-out
examples included, targets never), and 0 where a client has none; with `standardise`, 0 is the mean of all.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from core.data import sequences
from core.data.dataset import MAX_CLASSES, Dataset, TaskName
from core.data.files import Column, Source, open_source
from core.data.options import Names, Reading, tupled
from core.data.values import (
    Clients,
    Draft,
    clean_numbers,
    lacks,
    no_number,
    number_clients,
    scale_of,
    shape_of,
    targets,
)

#: Most values of all windows together: 16 GiB as float32.
MAX_WINDOW_VALUES: Final = 1 << 32
#: Most columns that one column of categories becomes.
MAX_CATEGORIES: Final = 1000


def read(path: str | Path, options: dict[str, Any] | None = None) -> Dataset:
    """A data set from a file. Raises `ValueError`, which names the file, what is wrong, where, and what is accepted."""
    try:
        how = Reading(**(options or {}))
    except TypeError as error:
        known = ", ".join(field.name for field in dataclasses.fields(Reading))
        raise ValueError(f"{path}: data.options: {error}; accepted: {known}") from error
    source = open_source(path)
    if source.path.name.lower().endswith((".txt", ".txt.gz")):
        how = dataclasses.replace(how, text="text")
    _check_roles(source, how)
    task: TaskName = how.task or ("next_token" if how.text and not how.y else "classification")
    if how.text:
        draft = _from_text(source, how, task)
    elif how.window:
        draft = _from_series(source, how)
    else:
        draft = _from_rows(source, how)
    if not draft.tokens:
        clean_numbers(source, how, draft)
    y, classes = targets(source, how, task, draft)
    return _finish(source, how, task, draft, y, classes)


def _check_roles(source: Source, how: Reading) -> None:
    """No column serves as two things of which one would give the other away. Raises `ValueError`."""
    y_name = how.y or "y"
    for option, names in (("x", tupled(how.x)), ("client", tupled(how.client)), ("categories", tupled(how.categories))):
        twice = [name for i, name in enumerate(names) if name in names[:i]]
        if twice:
            raise source.wrong(f"data.options.{option} names `{twice[0]}` twice; accepted: each {source.noun} once")
        if option != "categories" and y_name in names and how.target is None:
            others = ", ".join(name for name in source.names if name != y_name)
            raise source.wrong(
                f"data.options.{option} names `{y_name}`, which is the target (data.options.y); accepted: others, of "
                f"{others or 'which the file has none'}"
            )


# What an example is.


def _from_rows(source: Source, how: Reading) -> Draft:
    """A row is an example."""
    y_name = how.y or "y"
    y = source.column(y_name, "y")
    x = _matrix(source, how, y_name) if source.is_table and not how.x else _named(source, how)
    if x.size == 0:
        raise source.wrong(f"x is {shape_of(x)}; at least one example with at least one value is expected")
    if y.ndim < 1 or len(y) != len(x):
        raise source.wrong(f"{source.noun} `{y_name}` is {shape_of(y)}; a target for each of {len(x)} rows is expected")
    clients = number_clients(source, _client_names(source, how), len(x))
    test = _test_rows(source, how, len(x))
    if how.x_test or how.y_test:
        x_test, y_test = source.column(how.x_test, "x_test"), source.column(how.y_test, "y_test")
        fit = x_test.ndim == x.ndim and x_test.shape[1:] == x.shape[1:] and x_test.dtype.kind in "fiub"
        if (
            not fit
            or y_test.shape != (len(x_test), *y.shape[1:])
            or (y.dtype.kind == "O") != (y_test.dtype.kind == "O")
        ):
            raise source.wrong(
                f"`{how.x_test}` is {shape_of(x_test)} and `{how.y_test}` {shape_of(y_test)}; test examples of shape "
                f"{list(x.shape[1:])}, and as many targets like those of `{y_name}`, {shape_of(y)}, are expected"
            )
        test = np.concatenate([np.zeros(len(x), np.bool_), np.ones(len(x_test), np.bool_)])
        if clients is not None:
            nobody = np.full(len(x_test), -1, np.int32)
            clients = Clients(np.concatenate([clients.number, nobody]), clients.names)
        x, y = np.concatenate([x, x_test]), np.concatenate([y, y_test])
    draft = Draft(x, y, clients, test, np.arange(len(x)))
    if how.tokens or how.task == "next_token":
        if x.dtype.kind not in "iu" or x.ndim != 2 or int(x.min()) < 0 or int(x.max()) >= MAX_CLASSES:
            raise source.wrong(f"x is {shape_of(x)}; tokens [rows, length] are expected, from 0 to {MAX_CLASSES - 1}")
        draft.tokens = int(x.max()) + 1
    return draft


def _named(source: Source, how: Reading) -> npt.NDArray[Any]:
    """The arrays or columns that `x` names, side by side."""
    names = tupled(how.x) or ("x",)
    for name in tupled(how.categories):
        if name not in names:
            source.column(name, "categories")
            raise source.wrong(
                f"data.options.categories names `{name}`, which is no {source.noun} of the examples; accepted: some of "
                f"{', '.join(names)}"
            )
    parts = [_values(source, name, source.column(name, "x"), how) for name in names]
    if len(names) == 1 and parts[0].ndim >= 2:
        return parts[0]
    if not source.is_table and len(names) == 1:
        raise source.wrong(f"array `{names[0]}` is {shape_of(parts[0])}; numbers of shape [examples, …] are expected")
    for name, part in zip(names, parts, strict=True):
        if part.ndim < 1:
            raise source.wrong(f"array `{name}` is {shape_of(part)}; a value for each example is expected")
    lengths = {len(part) for part in parts}
    if len(lengths) > 1:
        raise source.wrong(
            f"the columns {', '.join(names)} have {min(lengths)} to {max(lengths)} rows; as many are expected"
        )
    return np.concatenate([part[:, None] if part.ndim == 1 else part for part in parts], axis=1)


def _matrix(source: Source, how: Reading, y_name: str) -> npt.NDArray[Any]:
    """All columns of a table that serve nothing else."""
    others = {y_name, how.test, *tupled(how.without), *_client_names(source, how)}
    for name in tupled(how.without):
        source.column(name, "without")
    names = [name for name in source.names if name not in others]
    if not names:
        raise source.wrong("no column is left for the examples")
    return _named(source, dataclasses.replace(how, x=tuple(names)))


def _values(source: Source, name: str, column: Column, how: Reading) -> npt.NDArray[Any]:
    """A column of numbers; of categories, several of 0 and 1, in the order of their values."""
    if name in tupled(how.categories):
        if column.ndim != 1:
            raise source.wrong(f"{source.noun} `{name}` is {shape_of(column)}; one category for each row is expected")
        lacking = lacks(column)
        if how.missing_value is not None and column.dtype.kind in "fiu":
            lacking |= column == how.missing_value
        if lacking.any() and how.missing == "refuse":
            row = int(np.argmax(lacking))
            raise source.wrong(
                f"{source.noun} `{name}` has a missing value ({source.where(row)}); a category for each row is "
                "expected; with `data.options.missing`, impute or drop"
            )
        if lacking.all():
            raise source.wrong(f"{source.noun} `{name}` has no category in any row; one or more is expected")
        known = np.unique(column[~lacking])
        if len(known) > MAX_CATEGORIES:
            raise source.wrong(f"column `{name}` has {len(known)} categories; at most {MAX_CATEGORIES} are accepted")
        coded: npt.NDArray[np.float32] = (column[:, None] == known[None, :]).astype(np.float32)
        # What is missing is of no category: it is left out, or imputed by the shares of the client's other rows.
        coded[lacking] = np.nan
        return coded
    if column.dtype.kind not in "fiub":
        no_number(source, name, column)
    return column


def _client_names(source: Source, how: Reading) -> Names:
    return tupled(how.client) or (("client",) if "client" in source.names else ())


def _test_rows(source: Source, how: Reading, rows: int) -> npt.NDArray[np.bool_] | None:
    if not how.test:
        return None
    column = source.column(how.test, "test")
    if column.shape != (rows,):
        raise source.wrong(
            f"{source.noun} `{how.test}` is {shape_of(column)}; one value for each of {rows} rows is expected"
        )
    lacking = lacks(column)
    if lacking.any():
        where = source.where(int(np.argmax(lacking)))
        raise source.wrong(
            f"{source.noun} `{how.test}` has a missing value ({where}); a value for each row is expected, as it says "
            "which rows are the test part"
        )
    if how.test_values:
        wanted = how.test_values
        return np.array([value in wanted for value in column.tolist()], np.bool_)
    if column.dtype.kind == "O":
        raise source.wrong(
            f"{source.noun} `{how.test}` is text; data.options.test_values says which mean the test part"
        )
    rows_of_test: npt.NDArray[np.bool_] = column != 0
    return rows_of_test


def _from_text(source: Source, how: Reading, task: TaskName) -> Draft:
    """Characters are tokens: of all a client says for next-token prediction, else of one row."""
    text = source.column(how.text, "text")
    if text.dtype.kind != "O" or text.ndim != 1:
        raise source.wrong(f"{source.noun} `{how.text}` is {shape_of(text)}; text is expected")
    clients = number_clients(source, _client_names(source, how), len(text))
    if task == "next_token":
        if how.test:
            raise source.wrong("data.options.test: rows of text are joined; accepted: data.hold_out: last")
        number = clients.number if clients is not None else np.zeros(len(text), np.int32)
        x, y, first, tokens = sequences.next_characters(text.tolist(), number, how.length)
        if not len(x):
            raise source.wrong(f"no client has more than {how.length} characters, data.options.length of an example")
        # Clients with too little text are gone: the others are numbered anew.
        chosen = None if clients is None else clients.chosen(first)
        return Draft(x, y, chosen, None, first, tokens)
    y = source.column(how.y or "y", "y")
    x, tokens = sequences.padded_characters(text.tolist(), how.length)
    return Draft(x, y, clients, _test_rows(source, how, len(x)), np.arange(len(x)), tokens)


def _from_series(source: Source, how: Reading) -> Draft:
    """A window of a recording is an example."""
    name = (tupled(how.x) or ("x",))[0]
    series = source.column(name, "x")
    if how.offset:
        offset = source.column(how.offset, "offset")
        if series.ndim != 2 or offset.ndim != 1 or offset.dtype.kind not in "iu" or not _ascends(offset, len(series)):
            raise source.wrong(
                f"`{name}` is {shape_of(series)} and `{how.offset}` {shape_of(offset)}; x [rows, columns] and "
                "ascending whole numbers up to its rows are expected: recording i is x[offset[i]:offset[i + 1]]"
            )
        bounds = offset.astype(np.int64)
    elif series.ndim == 3:
        bounds = np.arange(len(series) + 1) * series.shape[1]
        series = series.reshape(-1, series.shape[2])
    else:
        raise source.wrong(
            f"array `{name}` is {shape_of(series)}; with data.options.window, x of shape [recordings, rows, columns] "
            "is expected, or [rows, columns] and data.options.offset"
        )
    if series.dtype.kind not in "fiub":
        no_number(source, name, series)
    ahead = how.horizon if how.target is not None else 0
    start, recording = sequences.window_starts(bounds, how.window, how.stride or how.window, ahead)
    if not len(start):
        raise source.wrong(f"no recording has the {how.window + ahead} rows of an example and its target")
    rows = start[:, None] + np.arange(how.window)
    if rows.size * series.shape[1] > MAX_WINDOW_VALUES:
        raise source.wrong(
            f"{len(start)} windows of {how.window} rows have too many values; a larger data.options.stride gives less"
        )
    if how.target is not None and not 0 <= how.target < series.shape[1]:
        raise source.wrong(f"data.options.target is {how.target}; x has the columns 0 to {series.shape[1] - 1}")
    clients = number_clients(source, _client_names(source, how), len(bounds) - 1)
    if clients is None:
        clients = Clients(np.arange(len(bounds) - 1, dtype=np.int32), ())
    clients = clients.chosen(recording)
    test = _test_rows(source, how, len(bounds) - 1)
    test = None if test is None else test[recording]
    if how.target is None:
        y = source.column(how.y or "y", "y")
        if y.ndim < 1 or len(y) != len(bounds) - 1:
            raise source.wrong(
                f"{source.noun} `{how.y or 'y'}` is {shape_of(y)}; targets for {len(bounds) - 1} recordings are "
                "expected, one for each"
            )
        return Draft(series[rows], y[recording], clients, test, recording)
    after = start + how.window - 1 + how.horizon
    column = series[:, how.target].astype(np.float64)
    if how.missing_value is not None:
        column[column == how.missing_value] = np.nan
    scale = scale_of(source, how, series.shape[1])
    y = column[after] / (scale if isinstance(scale, float) else float(scale[how.target]))
    draft = Draft(series[rows], y, clients, test, recording)
    # A target that was not measured can be neither learned nor tested.
    draft.keep(np.flatnonzero(np.isfinite(y)))
    if not len(draft.x):
        raise source.wrong(
            f"column {how.target} of `{name}` has no number {how.horizon} rows after any window; a target for one "
            "window or more is expected"
        )
    return draft


def _ascends(offset: Column, rows: int) -> bool:
    return bool(
        len(offset) >= 2 and offset[0] >= 0 and offset[-1] <= rows and (np.diff(offset.astype(np.int64)) >= 0).all()
    )


def _finish(source: Source, how: Reading, task: TaskName, draft: Draft, y: npt.NDArray[Any], classes: int) -> Dataset:
    shape = f"{len(draft.x)} examples of shape {list(draft.x.shape[1:])}"
    return Dataset(
        name=source.path.name.split(".")[0],
        x=draft.x.astype(np.int32) if draft.tokens else draft.x,
        y=y,
        client=None if draft.clients is None else draft.clients.number,
        classes=classes,
        client_noun=" and ".join(_client_names(source, how)) or "client",
        description=f"{shape} from {source.path.name}",
        task=task,
        tokens=draft.tokens,
        test=draft.test,
        client_names=() if draft.clients is None else draft.clients.names,
    )
