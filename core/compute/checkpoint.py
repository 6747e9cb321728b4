"""What an evaluator has computed, on disk, so that a run that was killed need not compute it again.

A run resumes by replaying its events: control flow sees looked-at values only, so that the replay makes the same steps
with the same numbers. A step that is noted here has its results read instead of computed; one that was not finished is
computed whole. `journal` is a log of finished steps; each entry appears whole or is cut off when it is read again
(length and CRC-32). Small results stand in the entry, large ones in files of their own, which go when nobody can ask
for them any more; what was looked at or recorded is kept, since the replay asks for it again. A step with a result
beyond `MAX_GROUP_BYTES` is not noted: it is computed again, of arguments that are kept for it.
"""

from __future__ import annotations

import collections
import hashlib
import shutil
import struct
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np
import numpy.typing as npt

from core.records.store import RecordsError, write_whole
from core.wire import DTYPES, ArrayDict

FOLDER: Final = "checkpoint"
_JOURNAL: Final = "journal"
#: Length and CRC-32 of an entry.
_PREFIX: Final = struct.Struct("<II")
#: Larger groups get files of their own, bytes.
INLINE_BYTES: Final = 1 << 16
#: Largest group that is written and read, bytes; MessagePack would take twice as much.
MAX_GROUP_BYTES: Final = 1 << 31
#: What a file has beside its arrays at most: their names, types and shapes, bytes.
_HEADER_BYTES: Final = 1 << 20


class CheckpointError(Exception):
    """A checkpoint cannot be used: it is of another run, or not what was written."""


class _Array(msgspec.Struct, frozen=True, array_like=True):
    name: str
    dtype: str
    #: Of all jobs of the step together, [jobs, …].
    shape: list[int]
    data: bytes


class _Entry(msgspec.Struct, frozen=True, array_like=True):
    step: int
    signature: bytes
    #: Jobs that the step was the first to compute.
    jobs: int
    #: The groups that stand here; the others have files, as long as somebody may ask for them.
    groups: dict[str, list[_Array]]


_ENTRY: Final = msgspec.msgpack.Decoder(_Entry)
_GROUP: Final = msgspec.msgpack.Decoder(list[_Array])

#: The results of one group: one `ArrayDict` a job.
Group = Sequence[ArrayDict]


def signature(*parts: object) -> bytes:
    """What tells a step from others: 16 bytes."""
    return hashlib.blake2b(repr(parts).encode(), digest_size=16).digest()


def _packed(group: Group) -> list[_Array]:
    packed = []
    for name in group[0]:
        together = np.stack([arrays[name] for arrays in group])
        packed.append(_Array(name, together.dtype.str, list(together.shape), together.tobytes()))
    return packed


def _unpacked(packed: Sequence[_Array]) -> list[ArrayDict]:
    arrays: dict[str, npt.NDArray[Any]] = {}
    for array in packed:
        if array.dtype not in DTYPES:
            raise CheckpointError(f"an array {array.name!r} of dtype {array.dtype!r}")
        try:
            arrays[array.name] = np.frombuffer(array.data, array.dtype).reshape(array.shape)
        except ValueError as error:
            raise CheckpointError(f"the array {array.name!r} is not whole: {error}") from error
    jobs = {array.shape[0] if array.ndim else -1 for array in arrays.values()}
    if len(jobs) != 1 or jobs == {-1}:
        raise CheckpointError("a group's arrays are of different numbers of jobs")
    return [ArrayDict({name: array[i] for name, array in arrays.items()}) for i in range(jobs.pop())]


class Checkpoint:
    """The finished steps of one run in `directory`. Raises `CheckpointError`, and `RecordsError` for a full disk."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        directory.mkdir(parents=True, exist_ok=True)
        self._known: dict[int, _Entry] = {}
        path = directory / _JOURNAL
        whole = self._read(path)
        # Unbuffered: an entry is one write. What a killed run left behind its last whole entry is cut off.
        self._file = open(path, "ab", buffering=0)  # noqa: SIM115  it is open as long as the run is
        self._file.truncate(whole)
        self._files: set[Path] = set()
        #: Files whose results nobody can ask for any more; they go with the next entry.
        self._dead: collections.deque[Path] = collections.deque()

    def _read(self, path: Path) -> int:
        """Read the journal's whole entries; returns where they end."""
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            return 0
        at = 0
        while at + _PREFIX.size <= len(data):
            length, crc = _PREFIX.unpack_from(data, at)
            body = data[at + _PREFIX.size : at + _PREFIX.size + length]
            if len(body) < length or zlib.crc32(body) != crc:
                break
            try:
                entry = _ENTRY.decode(body)
            except msgspec.MsgspecError as error:
                raise CheckpointError(f"{path} is no journal of this version: {error}") from error
            self._known[entry.step] = entry
            at += _PREFIX.size + length
        return at

    def _group_path(self, step: int, group: str) -> Path:
        return self.directory / f"{step:08d}.{group}"

    def restored(self, step: int, sign: bytes, groups: Sequence[str]) -> dict[str, list[ArrayDict] | None] | None:
        """The results of a step by group, None for a group that nobody needs any more; None if it is not finished."""
        entry = self._known.pop(step, None)
        if entry is None:
            return None
        if entry.signature != sign:
            raise CheckpointError(
                f"step {step} in {self.directory} is another one: the run has changed, or its checkpoint is another's"
            )
        found: dict[str, list[ArrayDict] | None] = {}
        for group in groups:
            packed = entry.groups.get(group)
            path = self._group_path(step, group)
            if packed is None and path.is_file():
                self._files.add(path)
                if path.stat().st_size > MAX_GROUP_BYTES + _HEADER_BYTES:
                    raise CheckpointError(f"{path} is larger than any group of results that a run writes")
                try:
                    packed = _GROUP.decode(path.read_bytes())
                except msgspec.MsgspecError as error:
                    raise CheckpointError(f"{path} is no group of results: {error}") from error
            found[group] = None if packed is None else _unpacked(packed)
        return found

    def file_of(self, step: int, group: str) -> Path | None:
        """The file of a group, if it has one."""
        path = self._group_path(step, group)
        return path if path in self._files else None

    def note(self, step: int, sign: bytes, jobs: int, groups: Mapping[str, Group]) -> bool:
        """A step is finished; one thread at a time may say so. False if a group is too large to be kept."""
        sizes = {group: sum(arrays.nbytes for arrays in results) for group, results in groups.items()}
        if max(sizes.values(), default=0) > MAX_GROUP_BYTES:
            return False
        inline: dict[str, list[_Array]] = {}
        for group, results in groups.items():
            packed = _packed(results)
            if sizes[group] <= INLINE_BYTES:
                inline[group] = packed
            else:
                path = self._group_path(step, group)
                write_whole(path, msgspec.msgpack.encode(packed))
                self._files.add(path)
        body = msgspec.msgpack.encode(_Entry(step, sign, jobs, inline))
        self._append(_PREFIX.pack(len(body), zlib.crc32(body)) + body)
        while self._dead:
            path = self._dead.popleft()
            self._files.discard(path)
            path.unlink(missing_ok=True)
        return True

    def _append(self, entry: bytes) -> None:
        """Write an entry; one that a full disk cuts off is no entry when the journal is read again."""
        rest = memoryview(entry)
        try:
            while rest:
                # A disk with little room takes a part; the next attempt says why it took no more.
                rest = rest[self._file.write(rest) :]
        except OSError as error:
            raise RecordsError(f"cannot write {self._file.name}: {error.strerror or error}") from error

    def let_go(self, path: Path) -> None:
        """Nobody can ask for the results in a file any more; it goes with the next entry. Any thread may call it."""
        self._dead.append(path)

    def close(self) -> None:
        """Let go of the journal; the files stay."""
        self._file.close()

    def remove(self) -> None:
        """The run is done: nothing is left to resume."""
        self.close()
        shutil.rmtree(self.directory, ignore_errors=True)
