"""Replays traces: each device of a group follows the states of a measured one, again and again."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from core import rng
from core.availability.process import Counters, Floats, Numbers, Process, States
from core.availability.traces import Trace


class Replay(Process):
    """The traces of one group: device i follows trace i modulo their number.

    Times of traces are whole seconds, at which many devices would move at one instant. So each is shifted by less than
    a second of its own; with `shuffled` it begins anywhere in its trace, so that one trace can stand for many devices.
    """

    def __init__(self, traces: Sequence[Trace], count: int, seed: int, group: str, *, shuffled: bool = False) -> None:
        self.traces = traces
        self.count = count
        indices = np.arange(count)
        chance = rng.units(rng.words(rng.member_keys(rng.stream_key(seed, group, "trace"), indices), 0))
        self._trace = indices % len(traces)
        self._lengths = np.array([len(trace.times_s) for trace in traces])
        self._offsets = np.concatenate(([0], np.cumsum(self._lengths)[:-1]))
        self._times = np.concatenate([np.array(trace.times_s) for trace in traces])
        self._states = np.concatenate([np.array(trace.states, np.uint8) for trace in traces])
        self._periods = np.array([trace.period_s for trace in traces])
        #: Where in its trace a device is at time 0, s.
        self._shift_s = chance * self._periods[self._trace] if shuffled else -chance

    def _at(self, index: int, counter: int) -> float:
        trace = self._trace[index]
        turn, place = divmod(counter, int(self._lengths[trace]))
        times = self._times[self._offsets[trace] + place]
        return float((turn - 1) * self._periods[trace] + times - self._shift_s[index])

    def first(self, index: int) -> tuple[float, int, int]:
        trace = self._trace[index]
        return self._at(index, 0), int(self._states[self._offsets[trace]]), 1

    def next(self, index: int, at_s: float, state: int, counter: int) -> tuple[float, int, int]:
        trace = self._trace[index]
        length = int(self._lengths[trace])
        if length == 1:
            return math.inf, state, counter
        return self._at(index, counter), int(self._states[self._offsets[trace] + counter % length]), counter + 1

    def firsts(self, indices: Numbers) -> tuple[Floats, States, Counters]:
        counters = np.zeros(len(indices), np.uint32)
        return (
            self._all_at(indices, counters),
            self._states[self._offsets[self._trace[indices]]],
            counters + np.uint32(1),
        )

    def nexts(
        self, indices: Numbers, at_s: Floats, states: States, counters: Counters
    ) -> tuple[Floats, States, Counters]:
        trace = self._trace[indices]
        lengths = self._lengths[trace]
        single = lengths == 1
        end_s = np.where(single, math.inf, self._all_at(indices, counters))
        after = np.where(single, states, self._states[self._offsets[trace] + counters % lengths])
        return end_s, after.astype(np.uint8), np.where(single, counters, counters + np.uint32(1)).astype(np.uint32)

    def _all_at(self, indices: Numbers, counters: Counters) -> Floats:
        trace = self._trace[indices]
        turn, place = np.divmod(counters.astype(np.int64), self._lengths[trace])
        found: Floats = (turn - 1) * self._periods[trace] + self._times[self._offsets[trace] + place]
        return found - self._shift_s[indices]
