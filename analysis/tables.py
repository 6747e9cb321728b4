"""A run's directory as tables: pyarrow tables, or dictionaries of numpy columns."""

from __future__ import annotations

import itertools
import weakref
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from core.records import TABLES, Manifest, RecordsError, read_manifest
from core.records.schema import schema
from core.records.store import part_schemas, read_parts, table_names

if TYPE_CHECKING:
    import pyarrow as pa

Array = npt.NDArray[Any]
#: What is larger is read again when it is asked for again, unless somebody still has it: a column of fifteen million
#: messages takes 120 MB, and reading it a quarter of a second.
LARGE_BYTES: Final = 1 << 25
#: Parts whose strings are looked up together: for each lot all strings that are looked for are hashed again.
_LOT: Final = 32


class _Cache:
    """Columns by name: small ones are kept, large ones as long as somebody else keeps them."""

    def __init__(self) -> None:
        self._small: dict[str, Array] = {}
        self._large: weakref.WeakValueDictionary[str, Array] = weakref.WeakValueDictionary()

    def get(self, name: str) -> Array | None:
        found = self._small.get(name)
        return self._large.get(name) if found is None else found

    def keep(self, name: str, array: Array) -> Array:
        array.flags.writeable = False
        if array.nbytes > LARGE_BYTES:
            self._large[name] = array
        else:
            self._small[name] = array
        return array


def _joined(parts: Iterable[Array], rows: int) -> Array:
    """Parts of so many rows in all, one behind the other, without a second copy of the whole."""
    whole: Array | None = None
    filled = 0
    for part in parts:
        if whole is None:
            whole = np.empty(rows, part.dtype)
        elif part.dtype != whole.dtype:
            whole = whole.astype(np.result_type(whole, part))
        whole[filled : filled + len(part)] = part
        filled += len(part)
    assert whole is not None
    return whole


class Shape(NamedTuple):
    """A table as it was when it was first looked at: its columns, and how many rows and parts it had.

    Of a run that goes on there are more later, which are not read: one column would be longer than the other.
    """

    names: Sequence[str]
    rows: int
    parts: int


def _read(directory: Path, table: str, shape: Shape, columns: list[str] | None = None) -> Iterator[pa.Table]:
    return itertools.islice(read_parts(directory, table, columns), shape.parts)


class Columns(Mapping[str, Array]):
    """A table as read-only numpy arrays by column: strings as objects, numbers as float64 or int64, null as NaN.

    Each is read when it is first asked for: of fifteen million messages all together would fill the memory for nothing.
    """

    def __init__(self, directory: Path, table: str, shape: Shape) -> None:
        self._directory = directory
        self._table = table
        self._shape = shape
        self._made: _Cache = _Cache()

    def __getitem__(self, name: str) -> Array:
        found = self._made.get(name)
        if found is None:
            if name not in self._shape.names:
                raise KeyError(name)
            if self._shape.rows:
                parts = _read(self._directory, self._table, self._shape, [name])
                found = _joined((_numpy(part[name]) for part in parts), self._shape.rows)
            else:
                found = _numpy(schema(TABLES[self._table]).empty_table()[name])
            found = self._made.keep(name, found)
        return found

    def __iter__(self) -> Iterator[str]:
        return iter(self._shape.names)

    def __len__(self) -> int:
        return len(self._shape.names)


class Run:
    """The records of one run, read when asked for. Raises `RecordsError` for what is no run's directory."""

    def __init__(self, directory: Path | str) -> None:
        self.directory = Path(directory)
        if not self.directory.is_dir():
            raise RecordsError(f"{self.directory} does not exist or is not a directory")
        self.manifest: Manifest = read_manifest(self.directory)
        self._tables: dict[str, pa.Table] = {}
        self._columns: dict[str, Columns] = {}
        #: Kept whatever their size: the names of millions of rows take long to tell apart.
        self._codes: dict[tuple[str, str], npt.NDArray[np.int32]] = {}
        self._strings: dict[tuple[str, str], list[str]] = {}
        self._shapes: dict[str, Shape] = {}

    @property
    def tables(self) -> list[str]:
        """Names of the tables that hold at least one part."""
        return table_names(self.directory)

    def table(self, name: str) -> pa.Table:
        """A table; one of ours that nothing was written to is empty. Raises `RecordsError` for unknown ones."""
        import pyarrow as pa

        found = self._tables.get(name)
        if found is None:
            parts = list(_read(self.directory, name, self._shape(name)))
            found = pa.concat_tables(parts).unify_dictionaries().combine_chunks() if parts else self._empty(name)
            self._tables[name] = found
        return found

    def _empty(self, name: str) -> pa.Table:
        if name not in TABLES:
            known = ", ".join(sorted({*TABLES, *self.tables}))
            raise RecordsError(f"{self.directory} has no table {name!r}; there are {known}")
        return schema(TABLES[name]).empty_table()

    def count(self, name: str) -> int:
        """Rows of a table, without reading them. Raises `RecordsError`."""
        return self._shape(name).rows

    def _shape(self, name: str) -> Shape:
        found = self._shapes.get(name)
        if found is None:
            parts = part_schemas(self.directory, name)
            names = parts[0][0] if parts else self._empty(name).column_names
            found = self._shapes[name] = Shape(names, sum(rows for _, rows in parts), len(parts))
        return found

    def columns(self, name: str) -> Columns:
        """A table as numpy columns, which are read-only."""
        found = self._columns.get(name)
        if found is None:
            found = self._columns[name] = Columns(self.directory, name, self._shape(name))
        return found

    def codes(self, name: str, column: str) -> tuple[npt.NDArray[np.int32], list[str]]:
        """A column of strings as numbers, which are read-only, and the strings that they stand for."""
        key = name, column
        found = self._codes.get(key)
        if found is None:
            found, self._strings[key] = self._read_codes(name, column)
            found.flags.writeable = False
            self._codes[key] = found
        return found, self._strings[key]

    def _read_codes(self, name: str, column: str) -> tuple[npt.NDArray[np.int32], list[str]]:
        import pyarrow as pa

        chunks = [_encoded(part[column]) for part in _read(self.directory, name, self._shape(name), [column])]
        if not self.count(name):
            return np.empty(0, np.int32), []
        alike = pa.chunked_array(chunks).unify_dictionaries().chunks
        return np.concatenate([_indices(chunk) for chunk in alike]), alike[0].dictionary.to_pylist()

    def positions(self, name: str, column: str, strings: Sequence[str]) -> npt.NDArray[np.int32]:
        """Where among some strings that of each row of a column is, and their number where it is none of them.

        For some of a great many strings faster than `codes`, which tells all apart.
        """
        import pyarrow as pa
        import pyarrow.compute as pc

        wanted = pa.array(strings, pa.string())

        def parts() -> Iterator[Array]:
            chunks = (_encoded(part[column]) for part in _read(self.directory, name, self._shape(name), [column]))
            while lot := list(itertools.islice(chunks, _LOT)):
                known = pa.chunked_array([chunk.dictionary for chunk in lot])
                found = pc.index_in(known, value_set=wanted).fill_null(len(strings)).to_numpy()
                ends = np.cumsum([len(chunk.dictionary) for chunk in lot])[:-1]
                for chunk, own in zip(lot, np.split(found, ends), strict=True):
                    yield own[_indices(chunk)]

        rows = self.count(name)
        return _joined(parts(), rows) if rows else np.empty(0, np.int32)

    def rounds(self) -> Columns:
        """The training rounds."""
        return self.columns("rounds")

    def evaluations(self) -> Columns:
        """Accuracy and loss of the global model."""
        return self.columns("evaluations")

    def messages(self) -> Columns:
        """The delivered messages."""
        return self.columns("messages")


def _encoded(column: pa.ChunkedArray) -> pa.DictionaryArray:
    """A column of strings as one array of indices into a dictionary."""
    import pyarrow as pa

    array = column.combine_chunks()
    return array if pa.types.is_dictionary(array.type) else array.dictionary_encode()


def _indices(array: pa.DictionaryArray) -> npt.NDArray[np.int32]:
    indices: npt.NDArray[np.int32] = array.indices.to_numpy(zero_copy_only=False)
    return indices


def _numpy(column: pa.ChunkedArray) -> Array:
    import pyarrow as pa

    array = column.combine_chunks()
    if pa.types.is_dictionary(array.type):
        names = np.array([*array.dictionary.to_pylist(), None], dtype=object)
        indices = array.indices.fill_null(len(names) - 1).to_numpy(zero_copy_only=False)
        strings: Array = names[indices]
        return strings
    if array.null_count and pa.types.is_integer(array.type):
        array = array.cast(pa.float64())
    return np.array(array.to_numpy(zero_copy_only=False))
