"""The trace hash: SHA-256 over all delivered messages' rows in order, the same for any division into parts.

Each row is packed as sent_s f8, delivered_s f8, sender u4, receiver u4, type u4, size_bytes i8 (little endian, 36
bytes), where names stand as numbers in the order of their first appearance in their column. The hash is that of the
digests of the three lists of names and of the rows: one changed row, name, or order changes it.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from core.crowd import Crowd, News
from core.records.store import RecordsError, read_parts

if TYPE_CHECKING:
    import pyarrow as pa

ROW: Final = np.dtype(
    [
        ("sent_s", "<f8"),
        ("delivered_s", "<f8"),
        ("sender", "<u4"),
        ("receiver", "<u4"),
        ("type", "<u4"),
        ("size_bytes", "<i8"),
    ]
)
Codes = npt.NDArray[np.int32]


class Names(dict[Any, int]):
    """Numbers of the names of one column, in the order of first appearance; a missing name gets the next one.

    A key is a name, or a type, which stands for its `__name__`.
    """

    def __init__(self) -> None:
        self.names: list[str] = []
        #: Of members of crowds, the numbers of their names; -1 where one is not known yet.
        self._members: dict[Crowd, Codes] = {}
        self._hash = hashlib.sha256(b"names")
        self._hashed = 0

    def __missing__(self, key: Any) -> int:
        if isinstance(key, type):
            code = self[key.__name__]
        else:
            code = len(self.names)
            self.names.append(key)
        self[key] = code
        return code

    def encode(self, keys: Sequence[Any]) -> Codes:
        """Numbers of many names."""
        return np.fromiter(map(self.__getitem__, keys), np.int32, len(keys))

    def encode_members(self, crowd: Crowd, members: npt.NDArray[np.int64]) -> Codes:
        """Numbers of the names of many members of a crowd."""
        codes = self._members.get(crowd)
        if codes is None:
            codes = self._members[crowd] = np.full(len(crowd), -1, np.int32)
        for member in members[codes[members] < 0].tolist():
            codes[member] = self[crowd.name(member)]
        return codes[members]

    def commit(self, count: int) -> None:
        """The first `count` names have been written down: they belong to the hash."""
        for name in self.names[self._hashed : count]:
            data = name.encode()
            self._hash.update(struct.pack("<Q", len(data)))
            self._hash.update(data)
        self._hashed = max(self._hashed, count)

    def digest(self) -> bytes:
        return self._hash.digest()


class Block(NamedTuple):
    """Rows of messages as columns, names as numbers, with how many names of each column were known after them."""

    sent_s: npt.NDArray[np.float64]
    delivered_s: npt.NDArray[np.float64]
    sender: Codes
    receiver: Codes
    type: Codes
    size_bytes: npt.NDArray[np.int64]
    known: tuple[int, int, int]


def joined(blocks: Sequence[Block]) -> Block:
    """Blocks one after the other as one."""
    if len(blocks) == 1:
        return blocks[0]
    return Block(
        np.concatenate([block.sent_s for block in blocks]),
        np.concatenate([block.delivered_s for block in blocks]),
        np.concatenate([block.sender for block in blocks]),
        np.concatenate([block.receiver for block in blocks]),
        np.concatenate([block.type for block in blocks]),
        np.concatenate([block.size_bytes for block in blocks]),
        blocks[-1].known,
    )


class TraceDigest:
    """The incremental hash: `encode` rows to a block, and `commit` it once it is stored."""

    def __init__(self) -> None:
        self.sender = Names()
        self.receiver = Names()
        self.type = Names()
        self.count = 0
        self._rows = hashlib.sha256(b"rows")

    def encode(self, rows: Sequence[tuple[float, float, str, str, Any, int]]) -> Block:
        """Columns of rows (sent_s, delivered_s, sender, receiver, type or its name, size_bytes)."""
        # `zip(*rows)` would make an iterator of each row, and takes a third longer.
        sent_s, delivered_s, senders, receivers, kinds, sizes = ([row[place] for row in rows] for place in range(6))
        return Block(
            np.array(sent_s, np.float64),
            np.array(delivered_s, np.float64),
            self.sender.encode(senders),
            self.receiver.encode(receivers),
            self.type.encode(kinds),
            np.array(sizes, np.int64),
            self._known(),
        )

    def encode_news(
        self,
        news: News,
        receiver: str,
        sent_s: npt.NDArray[np.float64],
        delivered_s: npt.NDArray[np.float64],
        sizes: npt.NDArray[np.int32],
    ) -> Block:
        """Columns of news that one receiver was told."""
        if any(kind not in self.type for kind in news.kinds):
            # A kind gets its number where it first appears.
            places, firsts = np.unique(news.kind, return_index=True)
            for place in places[np.argsort(firsts)].tolist():
                self.type[news.kinds[place]]
        kinds = np.array([self.type.get(kind, 0) for kind in news.kinds], np.int32)
        return Block(
            sent_s,
            delivered_s,
            self.sender.encode_members(news.crowd, news.senders),
            np.full(len(sent_s), self.receiver[receiver], np.int32),
            kinds[news.kind],
            sizes.astype(np.int64),
            self._known(),
        )

    def encode_table(self, table: pa.Table) -> Block:
        """Columns of a stored part."""
        import pyarrow as pa

        def codes(name: str, names: Names) -> Codes:
            encoded = table[name].combine_chunks().cast(pa.string()).dictionary_encode()
            numbers = names.encode(encoded.dictionary.to_pylist())
            return numbers[encoded.indices.to_numpy(zero_copy_only=False)] if len(encoded) else numbers

        if any(column.null_count for column in table.itercolumns()):
            raise RecordsError("a message lacks a value")
        return Block(
            table["sent_s"].to_numpy(),
            table["delivered_s"].to_numpy(),
            codes("sender", self.sender),
            codes("receiver", self.receiver),
            codes("type", self.type),
            table["size_bytes"].to_numpy(),
            self._known(),
        )

    def _known(self) -> tuple[int, int, int]:
        return len(self.sender.names), len(self.receiver.names), len(self.type.names)

    def commit(self, block: Block) -> None:
        """Add a block, in order, to the hash."""
        packed = np.empty(len(block.sent_s), ROW)
        for name in ROW.names or ():
            packed[name] = getattr(block, name)
        self._rows.update(packed.data)
        self.count += len(packed)
        for names, count in zip((self.sender, self.receiver, self.type), block.known, strict=True):
            names.commit(count)

    def hexdigest(self) -> str:
        """The hash of all committed rows."""
        names = (column.digest() for column in (self.sender, self.receiver, self.type))
        return hashlib.sha256(b"".join((b"aivsim trace 1", *names, self._rows.digest()))).hexdigest()


def trace_sha256(directory: Path) -> str:
    """The trace hash of a run's directory, from its stored messages. Raises `RecordsError` for unreadable ones."""
    return read_trace(directory).hexdigest()


def read_trace(directory: Path) -> TraceDigest:
    """The hash and count of a run's stored messages. Raises `RecordsError` for unreadable ones."""
    digest = TraceDigest()
    for part in read_parts(directory, "messages"):
        missing = [name for name in ROW.names or () if name not in part.column_names]
        if missing:
            raise RecordsError(f"{directory}: the table of messages has no column {', '.join(missing)}")
        digest.commit(digest.encode_table(part))
    return digest
