"""Named columns from files: arrays of `.npz`, columns of `.csv`, `.tsv` and `.parquet`, the text of a `.txt`.

A file is bounded, never unpickled, and refused with its path, column, place and value. Texts may be compressed
(`.csv.gz`). The separator of a table is what its header has: tabs, semicolons or commas; with tabs, quotes mean
nothing.
"""

from __future__ import annotations

import csv
import gzip
import math
import struct
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

Column = npt.NDArray[Any]

#: Largest file of arrays, unpacked: what fits into the memory of a usual machine.
MAX_ARRAY_BYTES: Final = 1 << 32
#: Largest text, unpacked: as Python's strings it takes about twenty times as much memory.
MAX_TEXT_BYTES: Final = 1 << 28
#: What stands for a missing value in a table.
MISSING: Final = frozenset(("", "NA", "N/A", "NaN", "nan", "null", "?"))
#: Names that are listed in a message.
_SHOWN: Final = 12


class Source:
    """The columns of a file, each read when it is asked for: arrays with one entry for each row.

    Numbers are numpy's, missing ones NaN; texts are arrays of `str` objects.
    """

    def __init__(
        self,
        path: Path,
        names: tuple[str, ...],
        read: Callable[[str], Column],
        lines: npt.NDArray[np.int64] | None = None,
        cells: Callable[[str], Column] | None = None,
    ) -> None:
        self.path, self.names = path, names
        self._read, self._lines, self._cells = read, lines, cells

    @property
    def is_table(self) -> bool:
        """Whether its columns are those of a table, and not arrays of any shape."""
        return self.path.name.lower().endswith((".csv", ".csv.gz", ".tsv", ".tsv.gz", ".parquet"))

    @property
    def noun(self) -> str:
        """What its parts are called."""
        return "column" if self.is_table else "array"

    def wrong(self, what: str) -> ValueError:
        """The error that says what is wrong with the file."""
        return ValueError(f"{self.path}: {what}")

    def where(self, row: int) -> str:
        """The place of a row: its line in a text, or its number from 0."""
        return f"row {row}" if self._lines is None else f"line {self._lines[row]}"

    def column(self, name: str, option: str = "") -> Column:
        """One column. Raises `ValueError`; `option` is the one that names it."""
        if name not in self.names:
            there = ", ".join(self.names[:_SHOWN]) + (", …" if len(self.names) > _SHOWN else "")
            hint = f"; data.options.{option} names another" if option else ""
            raise self.wrong(f"{self.noun} `{name}` is missing; the file has {there or 'none'}{hint}")
        return self._read(name)

    def identities(self, name: str, column: Column) -> Column:
        """A column as names of something: where a text's numbers are not written as usual, what its cells say.

        `007` and `7` are two names, and so are whole numbers that are one and the same float.
        """
        if self._cells is None or column.dtype.kind not in "if":
            return column
        cells = self._cells(name)
        plain = column.dtype.kind == "i" and all(map(str.__eq__, map(str, column.tolist()), cells.tolist()))
        return column if plain else cells


def open_source(path: str | Path) -> Source:
    """The columns of a file by its suffix. Raises `ValueError`."""
    path = Path(path)
    name = path.name.lower()
    if name.endswith(".npz"):
        return _npz(path)
    if name.endswith(".parquet"):
        return _parquet(path)
    if name.endswith((".csv", ".csv.gz", ".tsv", ".tsv.gz")):
        return _table(path)
    if name.endswith((".txt", ".txt.gz")):
        text = np.array([_text(path)], object)
        return Source(path, ("text",), lambda name: text)
    raise ValueError(f"{path}: no file of data; accepted: .npz, .parquet, .csv, .tsv, .txt, and the last three as .gz")


def _unreadable(path: Path, kind: str, error: BaseException) -> ValueError:
    reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return ValueError(f"{path}: not a readable {kind} file ({reason})")


# Arrays.


def _npz(path: Path) -> Source:
    # RuntimeError: what zipfile says of an archive that claims to be encrypted or packed in a way that it cannot do.
    broken = (OSError, ValueError, zipfile.BadZipFile, AttributeError, EOFError, zlib.error, KeyError, RuntimeError)
    try:
        with zipfile.ZipFile(path) as archive:
            sizes = {info.filename.removesuffix(".npy"): info.file_size for info in archive.infolist()}
    except broken as error:
        raise _unreadable(path, ".npz", error) from error
    if sum(sizes.values()) > MAX_ARRAY_BYTES:
        raise ValueError(f"{path}: has {sum(sizes.values())} bytes unpacked; at most {MAX_ARRAY_BYTES} are accepted")

    def read(name: str) -> Column:
        try:
            with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
                found: Column = arrays[name]
        except (*broken, struct.error, MemoryError) as error:
            raise _unreadable(path, ".npz", error) from error
        if not isinstance(found, np.ndarray):
            raise ValueError(f"{path}: `{name}` is no array but {len(found)} other bytes; arrays (.npy) are accepted")
        return found.astype(object) if found.dtype.kind == "U" else found

    return Source(path, tuple(sorted(sizes)), read)


def _parquet(path: Path) -> Source:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        file = pq.ParquetFile(path)
        meta = file.metadata
        size = sum(meta.row_group(i).total_byte_size for i in range(meta.num_row_groups))
        names = tuple(file.schema_arrow.names)
    except (OSError, pa.ArrowException) as error:
        raise _unreadable(path, ".parquet", error) from error
    if size > MAX_ARRAY_BYTES:
        raise ValueError(f"{path}: has {size} bytes unpacked; at most {MAX_ARRAY_BYTES} are accepted")
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"{path}: two columns are called `{name}`; a name of its own for each is expected")

    def read(name: str) -> Column:
        try:
            column = pq.read_table(path, columns=[name]).column(name).combine_chunks()
        except (OSError, pa.ArrowException) as error:
            raise _unreadable(path, ".parquet", error) from error
        return _from_arrow(path, name, column)

    return Source(path, names, read)


def _from_arrow(path: Path, name: str, column: Any) -> Column:
    """A column of Arrow as numpy's. Raises `ValueError` for other types than numbers, texts and lists of numbers."""
    import pyarrow as pa
    import pyarrow.compute as pc

    kind = column.type
    if pa.types.is_dictionary(kind):
        column = column.dictionary_decode()
        kind = column.type
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return np.array([value if value is not None else "" for value in column.to_pylist()], object)
    if pa.types.is_boolean(kind):
        column, kind = column.cast(pa.int8()), pa.int8()
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        lengths = np.unique(pc.fill_null(pc.list_value_length(column), -1).to_numpy(zero_copy_only=False))
        inner = column.flatten()
        if len(lengths) > 1 or (inner.null_count and len(lengths)):
            raise ValueError(
                f"{path}: column `{name}` has lists of {lengths.min()} to {lengths.max()} entries (-1: none); "
                "lists of numbers, all of one length and without gaps, are accepted"
            )
        column_of: Column = _from_arrow(path, name, inner).reshape(
            len(column), *([int(lengths[0])] if len(lengths) else [])
        )
        return column_of
    if pa.types.is_integer(kind) and column.null_count == 0:
        whole: Column = column.to_numpy(zero_copy_only=False)
        return whole
    if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_null(kind):
        real: Column = column.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False)
        return real
    raise ValueError(
        f"{path}: column `{name}` is of type {kind}; numbers, text, true and false, and lists of numbers are accepted"
    )


# Texts.


def _text(path: Path) -> str:
    """The text of a file, unpacked. Raises `ValueError`."""
    kind = "".join(path.suffixes[-2:]) if path.name.lower().endswith(".gz") else path.suffix
    try:
        with gzip.open(path, "rb") if path.name.lower().endswith(".gz") else path.open("rb") as file:
            raw = file.read(MAX_TEXT_BYTES + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise _unreadable(path, kind, error) from error
    if len(raw) > MAX_TEXT_BYTES:
        raise ValueError(f"{path}: has more than {MAX_TEXT_BYTES} bytes; accepted: less, or a .parquet or .npz file")
    try:
        return raw.decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise ValueError(f"{path}: line {line} is no text in UTF-8") from error


def _table(path: Path) -> Source:
    lines = _text(path).split("\n")
    header = lines[0]
    separator = "\t" if "\t" in header else ";" if ";" in header and "," not in header else ","
    rows: list[list[str]] = []
    numbers: list[int] = []
    try:
        # Line breaks inside quotes belong to the value.
        reader = csv.reader(
            (f"{line}\n" for line in lines),
            delimiter=separator,
            quoting=csv.QUOTE_NONE if separator == "\t" else csv.QUOTE_MINIMAL,
            strict=True,
        )
        for row in reader:
            if row:
                rows.append(row)
                numbers.append(reader.line_num)
    except csv.Error as error:
        raise ValueError(f"{path}: line {reader.line_num}: {error}") from error
    if len(rows) < 2:
        raise ValueError(
            f"{path}: has no rows; a header with the names of the columns, and rows below it, are expected"
        )
    names = tuple(name.strip() for name in rows[0])
    for name in names:
        if not name or names.count(name) > 1:
            what = f"two columns are called `{name}`" if name else "a column has no name"
            raise ValueError(f"{path}: line {numbers[0]}: {what}; a header with a name for each column is expected")
    for number, row in zip(numbers, rows, strict=True):
        if len(row) != len(names):
            raise ValueError(
                f"{path}: line {number} has {len(row)} values; {len(names)} are expected, as many as the header has"
            )
    columns = dict(zip(names, zip(*rows[1:], strict=True), strict=True))

    def cells(name: str) -> Column:
        return np.array([value.strip() for value in columns[name]], object)

    return Source(path, names, lambda name: typed(columns[name]), np.array(numbers[1:], np.int64), cells)


def typed(values: tuple[str, ...]) -> Column:
    """Whole numbers if all are (int64), else numbers with NaN for missing ones (float64), else text (objects)."""
    try:
        return np.array([_whole(value) for value in values], np.int64)
    except (ValueError, OverflowError):
        pass
    try:
        return np.array([math.nan if value.strip() in MISSING else _real(value) for value in values], np.float64)
    except ValueError:
        return np.array(values, object)


def _whole(value: str) -> int:
    # Python reads 1_2 as 12, but in a table it is a name.
    if "_" in value:
        raise ValueError
    return int(value)


def _real(value: str) -> float:
    if "_" in value:
        raise ValueError
    return float(value)


# The format of MNIST.


def read_idx(path: Path) -> Column:
    """An array of bytes from a gzip-compressed file in the IDX format of LeCun, Cortes and Burges. Raises `ValueError`.

    The header is two zero bytes, a type (8 for unsigned bytes), the number of axes, and their lengths, big-endian.
    """
    try:
        with gzip.open(path, "rb") as file:
            magic = file.read(4)
            if len(magic) != 4 or magic[:3] != b"\x00\x00\x08" or not 1 <= magic[3] <= 4:
                raise ValueError(f"{path}: begins with {magic.hex()}; an IDX file of unsigned bytes is expected")
            header = file.read(4 * magic[3])
            if len(header) != 4 * magic[3]:
                raise ValueError(f"{path}: ends within its header")
            shape = struct.unpack(f">{magic[3]}I", header)
            size = math.prod(shape)
            if size > MAX_ARRAY_BYTES:
                raise ValueError(f"{path}: says that it has {size} bytes; at most {MAX_ARRAY_BYTES} are accepted")
            raw = file.read(size + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise _unreadable(path, "gzip-compressed IDX", error) from error
    if len(raw) != size:
        raise ValueError(f"{path}: has not the {size} bytes that its header says")
    return np.frombuffer(raw, np.uint8).reshape(shape)
