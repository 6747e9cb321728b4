"""The clients that a coordinator may ask, with what each has to offer: up to a million, from which few are drawn.

Which ones are drawn hangs on who is there and on the generator, not on the order in which they came. So that a draw
costs as much as it draws, clients stand in buckets by a checksum of their names, and only the buckets that are hit are
sorted.
"""

from __future__ import annotations

import bisect
import itertools
import zlib
from collections.abc import Iterator
from typing import Final

import numpy as np

_BUCKETS: Final = 4096


class Roster:
    """Names with their numbers of examples."""

    def __init__(self) -> None:
        self._buckets: list[dict[str, int]] = [{} for _ in range(_BUCKETS)]
        self._count = 0
        #: How many stand in the buckets up to each, where that is known.
        self._ends: list[int] | None = None

    def _bucket(self, name: str) -> dict[str, int]:
        return self._buckets[zlib.crc32(name.encode()) % _BUCKETS]

    def __len__(self) -> int:
        return self._count

    def __contains__(self, name: str) -> bool:
        return name in self._bucket(name)

    def __getitem__(self, name: str) -> int:
        return self._bucket(name)[name]

    def __setitem__(self, name: str, examples: int) -> None:
        bucket = self._bucket(name)
        if name not in bucket:
            self._count += 1
            self._ends = None
        bucket[name] = examples

    def __iter__(self) -> Iterator[str]:
        return itertools.chain.from_iterable(self._buckets)

    def discard(self, name: str) -> int | None:
        """Strike a name out; what it had, or None if it was not there."""
        examples = self._bucket(name).pop(name, None)
        if examples is not None:
            self._count -= 1
            self._ends = None
        return examples

    def draw(self, generator: np.random.Generator, count: int) -> list[str]:
        """So many names, each set of them equally likely; all, if there are no more. In order of the names."""
        if count >= self._count:
            return sorted(self)
        if self._ends is None:
            self._ends = list(itertools.accumulate(map(len, self._buckets)))
        ends = self._ends
        chosen: list[str] = []
        ordered: dict[int, list[str]] = {}
        for place in generator.choice(self._count, size=count, replace=False).tolist():
            number = bisect.bisect_right(ends, place)
            if number not in ordered:
                ordered[number] = sorted(self._buckets[number])
            chosen.append(ordered[number][place - ends[number]])
        return sorted(chosen)
