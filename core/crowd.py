"""Many actors by number: the members of populations, and what many of them tell one actor, as columns.

A million names are a million strings, and news from their bearers, one at a time, a million calls; numbers are arrays.
"""

from __future__ import annotations

import bisect
import dataclasses
import functools
import itertools
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from core.wire import Message


def in_group(name: str) -> tuple[str, int]:
    """A name as group and number, `("phone", 7)` for `phone-7`; one that ends in no number is a group of its own, -1.

    In the order of these, names of one group are in that of their numbers.
    """
    group, _, digits = name.rpartition("-")
    if not (digits.isascii() and digits.isdigit()) or (digits[0] == "0" and len(digits) > 1):
        return name, -1
    return group, int(digits)


@dataclasses.dataclass(frozen=True)
class Crowd:
    """Groups of actors called `group-0` … `group-(count-1)`, all numbered through from the first group on."""

    groups: tuple[tuple[str, int], ...] = ()

    @functools.cached_property
    def firsts(self) -> tuple[int, ...]:
        """The number of each group's first member, and at the end how many there are in all."""
        return tuple(itertools.accumulate((count for _, count in self.groups), initial=0))

    @functools.cached_property
    def _spans(self) -> dict[str, tuple[int, int]]:
        return {group: (first, count) for (group, count), first in zip(self.groups, self.firsts, strict=False)}

    def __len__(self) -> int:
        return self.firsts[-1]

    def number(self, name: str) -> int | None:
        """The number of a member; None for any other name."""
        group, index = in_group(name)
        span = self._spans.get(group)
        return span[0] + index if span is not None and 0 <= index < span[1] else None

    def name(self, number: int) -> str:
        """The name of a member."""
        place = bisect.bisect_right(self.firsts, number) - 1
        return f"{self.groups[place][0]}-{number - self.firsts[place]}"

    def names(self) -> Iterator[str]:
        """All names, in the order of their numbers."""
        return (f"{group}-{index}" for group, count in self.groups for index in range(count))


class News(NamedTuple):
    """Messages from members of a crowd in the order of their arrival: who sends what kind, with which number in it."""

    crowd: Crowd
    senders: npt.NDArray[np.int64]
    #: The types of message, of which those that carry a number have that one field.
    kinds: Sequence[type[Message]]
    #: Of each message, the place of its type in `kinds`, and its number, of which other types take no notice.
    kind: npt.NDArray[np.int8]
    value: npt.NDArray[np.int64]

    def until(self, count: int) -> News:
        """The first so many."""
        return self._replace(senders=self.senders[:count], kind=self.kind[:count], value=self.value[:count])
