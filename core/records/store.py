"""Files of a run's records: one folder a table, part files that appear whole or not at all.

`records/<table>/part-00000.parquet`, `part-00001.parquet`, … are written under a temporary name and renamed when
they are complete, so that a run that was killed, or whose disk was full, leaves readable tables.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import pyarrow as pa

RECORDS: Final = "records"
_PART: Final = re.compile(r"part-(\d{5,})\.parquet")


class RecordsError(Exception):
    """Records cannot be written or read; the message names the path and the reason."""


def part_name(number: int) -> str:
    """File name of a part."""
    return f"part-{number:05d}.parquet"


#: Begins the names of tables that hold what the clock of the machine measured: they are part of no hash.
HOST_PREFIX: Final = "host_"


def write_whole(path: Path, data: bytes | memoryview) -> None:
    """Write a file that appears whole or not at all. Raises `RecordsError`."""
    temporary = path.with_name(f".{path.name}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(temporary, "wb") as file:
            file.write(data)
        os.replace(temporary, path)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise RecordsError(f"cannot write {path}: {error.strerror or error}") from error


def table_names(directory: Path) -> list[str]:
    """Names of the tables that a run has written at least one part of, sorted."""
    root = directory / RECORDS
    return sorted(name for name in _entries(root) if (root / name).is_dir() and _part_numbers(root / name))


def part_paths(directory: Path, table: str) -> list[Path]:
    """The parts of a table in order. Raises `RecordsError` if one is missing between others."""
    folder = directory / RECORDS / table
    numbers = _part_numbers(folder)
    for expected, number in enumerate(numbers):
        if number != expected:
            raise RecordsError(f"{folder / part_name(expected)} is missing")
    return [folder / part_name(number) for number in numbers]


def _part_numbers(folder: Path) -> list[int]:
    return sorted(int(found[1]) for name in _entries(folder) if (found := _PART.fullmatch(name)))


def _entries(folder: Path) -> list[str]:
    """Names of what is in a folder; nothing if there is none."""
    try:
        return [entry.name for entry in folder.iterdir()]
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise RecordsError(f"cannot read {folder}: {error.strerror or error}") from error


def tables_sha256(directory: Path) -> dict[str, str]:
    """SHA-256 of the parts of every table, in order, but of those that hold what the machine's clock measured."""
    found = {}
    for table in table_names(directory):
        if not table.startswith(HOST_PREFIX):
            digest = hashlib.sha256()
            for path in part_paths(directory, table):
                try:
                    digest.update(path.read_bytes())
                except OSError as error:
                    raise RecordsError(f"cannot read {path}: {error.strerror or error}") from error
            found[table] = digest.hexdigest()
    return found


def read_parts(directory: Path, table: str, columns: list[str] | None = None) -> Iterator[pa.Table]:
    """The parts of a table, one by one, in order. Raises `RecordsError` for a file that is not whole."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    for path in part_paths(directory, table):
        try:
            with pq.ParquetFile(path) as file:
                yield file.read(columns=columns, use_threads=False)
        except (OSError, pa.ArrowException, KeyError) as error:
            raise RecordsError(f"cannot read {path}: {error}") from error


def part_schemas(directory: Path, table: str) -> list[tuple[list[str], int]]:
    """Columns and number of rows of each part of a table. Raises `RecordsError` for a file that is not whole."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    found = []
    for path in part_paths(directory, table):
        try:
            with pq.ParquetFile(path) as file:
                found.append((list(file.schema_arrow.names), int(file.metadata.num_rows)))
        except (OSError, pa.ArrowException) as error:
            raise RecordsError(f"cannot read {path}: {error}") from error
    return found


def parquet_bytes(table: pa.Table) -> Any:
    """A table as the bytes of a Parquet file: a buffer."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    floats = [field.name for field in table.schema if pa.types.is_floating(field.type)]
    sink = pa.BufferOutputStream()
    # Looking for repeated floats took ten times as long as all the rest; split by bytes they shrink well.
    pq.write_table(
        table,
        sink,
        compression="zstd",
        compression_level=1,
        use_dictionary=[name for name in table.column_names if name not in floats],
        use_byte_stream_split=floats,
        write_statistics=False,
    )
    return sink.getvalue()
