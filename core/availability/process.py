"""Processes of availability: a device goes from state to state as a pure function of seed, group and its number there.

All that its future hangs on is the state it is in, when and to what that changes next, and a counter. A `Course`
follows one device; a `Table` holds these four numbers for a whole group and finds the transitions of a stretch of time
at once. Both give the same bits.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Numbers = npt.NDArray[np.int64]
States = npt.NDArray[np.uint8]
Counters = npt.NDArray[np.uint32]


class Transitions(NamedTuple):
    """Changes of state in order of time: when, of which device, from what and to what."""

    time_s: Floats
    device: Numbers
    before: States
    after: States


class Process(ABC):
    """How the devices of a group change states; `next` and `nexts` give the same bits, and `first` and `firsts` do."""

    #: Devices in the group.
    count: int

    @abstractmethod
    def first(self, index: int) -> tuple[float, int, int]:
        """Time (not after 0), state and counter with which a device begins."""

    @abstractmethod
    def next(self, index: int, at_s: float, state: int, counter: int) -> tuple[float, int, int]:
        """When the state that began at `at_s` ends (infinity for never), what follows it, and the counter then."""

    @abstractmethod
    def firsts(self, indices: Numbers) -> tuple[Floats, States, Counters]:
        """`first` of many devices."""

    @abstractmethod
    def nexts(
        self, indices: Numbers, at_s: Floats, states: States, counters: Counters
    ) -> tuple[Floats, States, Counters]:
        """`next` of many devices."""

    def course(self, index: int) -> Course:
        """One device at the beginning of the study."""
        at_s, state, counter = self.first(index)
        course = Course(self, index, (at_s, counter, state, state))
        course.step()
        while course.next_s <= 0.0:
            course.step()
        return course


#: Columns of a course at rest.
ROW: Final = np.dtype([("next_s", "<f8"), ("counter", "<u4"), ("state", "u1"), ("next_state", "u1")])


class Course:
    """One device: it is in `state` until `next_s`, and then in `next_state`."""

    __slots__ = ("counter", "index", "next_s", "next_state", "process", "state")

    def __init__(self, process: Process, index: int, row: tuple[float, int, int, int]) -> None:
        self.process = process
        self.index = index
        self.next_s, self.counter, self.state, self.next_state = row

    def step(self) -> None:
        """Go to the next state."""
        self.state = state = self.next_state
        self.next_s, self.next_state, self.counter = self.process.next(self.index, self.next_s, state, self.counter)

    def row(self) -> tuple[float, int, int, int]:
        """All there is to remember of it."""
        return self.next_s, self.counter, self.state, self.next_state


class Table:
    """All devices of a group."""

    def __init__(self, process: Process) -> None:
        self.process = process
        indices = np.arange(process.count)
        at_s, self.state, counters = process.firsts(indices)
        self.next_s, self.next_state, self.counter = process.nexts(indices, at_s, self.state, counters)
        self.until(np.nextafter(0.0, math.inf))

    def until(self, end_s: float) -> Transitions:
        """Live through all transitions before `end_s`."""
        due = np.flatnonzero(self.next_s < end_s)
        found: list[tuple[Floats, Numbers, States, States]] = []
        while due.size:
            at_s, before, after = self.next_s[due], self.state[due], self.next_state[due]
            found.append((at_s, due, before, after))
            next_s, next_state, counter = self.process.nexts(due, at_s, after, self.counter[due])
            self.state[due] = after
            self.next_s[due], self.next_state[due], self.counter[due] = next_s, next_state, counter
            due = due[next_s < end_s]
        if not found:
            return Transitions(np.empty(0), np.empty(0, np.int64), np.empty(0, np.uint8), np.empty(0, np.uint8))
        time_s, index, before, after = (np.concatenate(column) for column in zip(*found, strict=True))
        order = np.lexsort((index, time_s))
        return Transitions(time_s[order], index[order], before[order], after[order])

    def counts(self) -> npt.NDArray[np.int64]:
        """Devices in each state."""
        return np.bincount(self.state, minlength=8)
