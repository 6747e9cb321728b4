"""A run's directory as tables: pyarrow tables, or dictionaries of numpy columns."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from core.records import TABLES, Manifest, RecordsError, read_manifest
from core.records.schema import schema
from core.records.store import read_parts, table_names

if TYPE_CHECKING:
    import pyarrow as pa

Array = npt.NDArray[Any]
#: A table as numpy arrays by column: strings as objects, numbers as float64 or int64, null as NaN.
Columns = dict[str, Array]


class Run:
    """The records of one run, read when asked for. Raises `RecordsError` for what is no run's directory."""

    def __init__(self, directory: Path | str) -> None:
        self.directory = Path(directory)
        if not self.directory.is_dir():
            raise RecordsError(f"{self.directory} does not exist or is not a directory")
        self.manifest: Manifest = read_manifest(self.directory)
        self._tables: dict[str, pa.Table] = {}
        self._columns: dict[str, Columns] = {}

    @property
    def tables(self) -> list[str]:
        """Names of the tables that hold at least one part."""
        return table_names(self.directory)

    def table(self, name: str) -> pa.Table:
        """A table; one of ours that nothing was written to is empty. Raises `RecordsError` for unknown ones."""
        import pyarrow as pa

        found = self._tables.get(name)
        if found is None:
            parts = list(read_parts(self.directory, name))
            if parts:
                found = pa.concat_tables(parts).unify_dictionaries().combine_chunks()
            elif name in TABLES:
                found = schema(TABLES[name]).empty_table()
            else:
                known = ", ".join(sorted({*TABLES, *self.tables}))
                raise RecordsError(f"{self.directory} has no table {name!r}; there are {known}")
            self._tables[name] = found
        return found

    def columns(self, name: str) -> Columns:
        """A table as numpy columns, which are read-only."""
        found = self._columns.get(name)
        if found is None:
            table = self.table(name)
            found = self._columns[name] = {column: _numpy(table[column]) for column in table.column_names}
            for array in found.values():
                array.flags.writeable = False
        return found

    def codes(self, name: str, column: str) -> tuple[npt.NDArray[np.int64], list[str]]:
        """A column of strings as numbers and the strings that they stand for."""
        import pyarrow as pa

        chunks = self.table(name)[column].combine_chunks()
        if not pa.types.is_dictionary(chunks.type):
            chunks = chunks.dictionary_encode()
        return chunks.indices.to_numpy(zero_copy_only=False).astype(np.int64), chunks.dictionary.to_pylist()

    def rounds(self) -> Columns:
        """The training rounds."""
        return self.columns("rounds")

    def evaluations(self) -> Columns:
        """Accuracy and loss of the global model."""
        return self.columns("evaluations")

    def messages(self) -> Columns:
        """The delivered messages."""
        return self.columns("messages")


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
