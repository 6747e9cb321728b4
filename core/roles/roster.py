"""The clients of a coordinator, with their numbers of examples: those who are there, and those who were and are away.

Which of them are drawn hangs on who is there and on the generator, not on the order in which they came. So that a draw
costs as much as it draws, of up to a million, clients stand in buckets by a checksum of their names, and only the
buckets that are hit are sorted. Members of a crowd are rows of arrays, others entries of dictionaries.
"""

from __future__ import annotations

import bisect
import itertools
import zlib
from collections.abc import Iterator
from typing import Final

import numpy as np
import numpy.typing as npt

from core.actor import Crowd
from core.crowd import in_group

_BUCKETS: Final = 4096


def _bucket(name: str) -> int:
    return zlib.crc32(name.encode()) % _BUCKETS


class Roster:
    """Names with their numbers of examples; as a container it holds those who are there."""

    def __init__(self, crowd: Crowd | None = None) -> None:
        self.crowd = Crowd() if crowd is None else crowd
        #: Of the members of the crowd: what each is known with, 0 for nothing yet, whether it is there, its bucket.
        self._examples = np.zeros(len(self.crowd), np.int64)
        self._there = np.zeros(len(self.crowd), np.bool_)
        self._home = np.fromiter(map(_bucket, self.crowd.names()), np.int16, len(self.crowd))
        #: The members by bucket, in each in the order of `in_group`, and where each bucket begins.
        self._members = np.lexsort((self._ranks(), self._home)).astype(np.int32)
        self._begins = np.searchsorted(self._home[self._members], np.arange(_BUCKETS + 1))
        #: Of all others, those who are there and those who are away.
        self._buckets: list[dict[str, int]] = [{} for _ in range(_BUCKETS)]
        self._away: dict[str, int] = {}
        #: How many are there, if that is known.
        self._count: int | None = 0
        #: How many stand in the buckets up to each, where that is known.
        self._ends: list[int] | None = None

    def _ranks(self) -> npt.NDArray[np.int64]:
        """The place of each member in the order of `in_group`."""
        groups = self.crowd.groups
        ranks, begin = np.empty(len(self.crowd), np.int64), 0
        for place in sorted(range(len(groups)), key=groups.__getitem__):
            count = groups[place][1]
            ranks[self.crowd.firsts[place] :][:count] = np.arange(begin, begin + count)
            begin += count
        return ranks

    def __len__(self) -> int:
        if self._count is None:
            self._count = int(np.count_nonzero(self._there)) + sum(map(len, self._buckets))
        return self._count

    def __contains__(self, name: str) -> bool:
        number = self.crowd.number(name)
        return name in self._buckets[_bucket(name)] if number is None else bool(self._there[number])

    def __getitem__(self, name: str) -> int:
        """Examples of one who is there. Raises `KeyError`."""
        number = self.crowd.number(name)
        if number is None:
            return self._buckets[_bucket(name)][name]
        if not self._there[number]:
            raise KeyError(name)
        return int(self._examples[number])

    def __iter__(self) -> Iterator[str]:
        yield from map(self.crowd.name, np.flatnonzero(self._there).tolist())
        yield from itertools.chain.from_iterable(self._buckets)

    def admit(self, name: str, examples: int) -> int:
        """One is there with so many examples, more than 0; with how many it was known before, 0 for none."""
        number = self.crowd.number(name)
        if number is None:
            bucket = self._buckets[_bucket(name)]
            there, before = name in bucket, bucket.get(name, 0) or self._away.pop(name, 0)
            bucket[name] = examples
        else:
            there, before = bool(self._there[number]), int(self._examples[number])
            self._examples[number], self._there[number] = examples, True
        if not there:
            self._changed(1)
        return before

    def dismiss(self, name: str) -> None:
        """One is away, if it was there; it stays known."""
        number = self.crowd.number(name)
        if number is None:
            examples = self._buckets[_bucket(name)].pop(name, None)
            if examples is None:
                return
            self._away[name] = examples
        elif self._there[number]:
            self._there[number] = False
        else:
            return
        self._changed(-1)

    def _changed(self, more: int) -> None:
        """So many more are there."""
        if self._count is not None:
            self._count += more
        self._ends = None

    def forget(self, name: str) -> int:
        """One is not known any more; with how many examples it was."""
        self.dismiss(name)
        number = self.crowd.number(name)
        if number is None:
            return self._away.pop(name, 0)
        before = int(self._examples[number])
        self._examples[number] = 0
        return before

    def come_and_go(
        self, numbers: npt.NDArray[np.int64], there: npt.NDArray[np.bool_], examples: npt.NDArray[np.int64]
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Members of the crowd come, with so many examples, or go, in this order, each as often as it likes.

        As `admit` and `dismiss` would have it, where a member always comes with the same number. What those who came
        and whose number is new to the roster were known with before, and what they are known with now.
        """
        came, now = numbers[there], examples[there]
        fresh = self._examples[came] != now
        came, firsts = np.unique(came[fresh], return_index=True)
        before, now = self._examples[came], now[fresh][firsts]
        self._examples[came] = now
        # Of several places that are the same the last one is what stays.
        self._there[numbers] = there
        self._count = self._ends = None
        return before, now

    def draw(self, generator: np.random.Generator, count: int) -> list[str]:
        """So many names, each set of them equally likely; all, if there are no more. In order of the names."""
        if count >= len(self):
            return sorted(self)
        if self._ends is None:
            members = np.bincount(self._home[self._there], minlength=_BUCKETS).tolist()
            self._ends = list(itertools.accumulate(m + len(o) for m, o in zip(members, self._buckets, strict=True)))
        ends = self._ends
        chosen: list[str] = []
        #: Of the buckets that were hit, members and others, or both as names where there are both.
        ordered: dict[int, npt.NDArray[np.int32] | list[str]] = {}
        for place in generator.choice(len(self), size=count, replace=False).tolist():
            number = bisect.bisect_right(ends, place)
            if number not in ordered:
                ordered[number] = self._in_bucket(number)
            found = ordered[number][place - ends[number]]
            chosen.append(found if isinstance(found, str) else self.crowd.name(int(found)))
        return sorted(chosen)

    def _in_bucket(self, number: int) -> npt.NDArray[np.int32] | list[str]:
        """Those in a bucket in the order of `in_group`: members as numbers if there is nobody else."""
        members = self._members[self._begins[number] : self._begins[number + 1]]
        members, others = members[self._there[members]], self._buckets[number]
        if not others:
            return members
        return sorted([*map(self.crowd.name, members.tolist()), *others], key=in_group)
