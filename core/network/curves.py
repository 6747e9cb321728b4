"""Rates that change in steps: their integral, and its exact inverse, so that nothing ticks.

A curve is a rate as a piecewise constant function of time, made lazily from an iterator of (start, rate). How many
bytes have passed by a time is its integral; when a transfer ends is the inverse, found by bisection on the integral
at the steps and solved exactly within one of them.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from math import inf, isfinite
from typing import Final, TypeAlias

#: (start of a step, s; value from then on), in order of time.
Steps: TypeAlias = Iterator[tuple[float, float]]
#: Steps that are kept; those before the latest look are let go of beyond.
KEPT: Final = 4096


class Curve:
    """A rate over time, bytes/s. Looks go forward: none is before the latest `now` given to `forget`."""

    __slots__ = ("_done", "_passed", "_rates", "_source", "_starts")

    def __init__(self, steps: Iterable[tuple[float, float]]) -> None:
        self._source: Steps = iter(steps)
        start_s, rate = next(self._source)
        if start_s > 0.0 or not 0 <= rate < inf:
            raise ValueError(f"a curve begins at 0 with a rate that is not negative and finite: {start_s}, {rate}")
        self._starts = [start_s]
        self._rates = [rate]
        self._passed = [0.0]
        self._done = False

    def _grow(self) -> bool:
        """Take one more step; False if there is none."""
        if self._done:
            return False
        step = next(self._source, None)
        if step is None:
            self._done = True
            return False
        start_s, rate = step
        last = self._starts[-1]
        if not start_s > last or not 0 <= rate < inf:
            raise ValueError(f"a step after {last} s at {start_s} s with the rate {rate}")
        self._passed.append(self._passed[-1] + (start_s - last) * self._rates[-1])
        self._starts.append(start_s)
        self._rates.append(rate)
        return True

    def _at(self, now_s: float) -> int:
        while self._starts[-1] <= now_s and self._grow():
            pass
        return bisect_right(self._starts, now_s) - 1

    def rate(self, now_s: float) -> float:
        """The rate at a time."""
        return self._rates[self._at(now_s)]

    def next_change_s(self, now_s: float) -> float:
        """When the rate changes next; infinity for never."""
        at = self._at(now_s) + 1
        return self._starts[at] if at < len(self._starts) else inf

    def passed(self, now_s: float) -> float:
        """Bytes that can have passed by a time, since time 0."""
        at = self._at(now_s)
        return self._passed[at] + (now_s - self._starts[at]) * self._rates[at]

    def when(self, total_bytes: float) -> float:
        """When so many bytes can have passed since time 0; infinity for never."""
        while self._passed[-1] < total_bytes and self._grow():
            pass
        at = bisect_right(self._passed, total_bytes) - 1
        # Of steps with the same integral the first that reaches it counts: a transfer ends before an outage begins.
        while at and self._passed[at] == total_bytes and self._passed[at - 1] == total_bytes:
            at -= 1
        left = total_bytes - self._passed[at]
        if left <= 0.0:
            return self._starts[at]
        return self._starts[at] + left / self._rates[at] if self._rates[at] > 0.0 else inf

    def time_after(self, now_s: float, size_bytes: float) -> float:
        """When `size_bytes` more have passed than at `now_s`."""
        if size_bytes <= 0.0:
            return now_s
        at = self._at(now_s)
        end = self._starts[at + 1] if at + 1 < len(self._starts) else inf
        rate = self._rates[at]
        # Within the present step without the integral, whose resolution wears out.
        if rate > 0.0 and now_s + size_bytes / rate <= end:
            return now_s + size_bytes / rate
        return max(self.when(self.passed(now_s) + size_bytes), now_s)

    def forget(self, now_s: float) -> None:
        """Nobody will ask for a time before this one: let go of old steps."""
        if len(self._starts) > 2 * KEPT:
            at = min(self._at(now_s), len(self._starts) - 1)
            if at > KEPT:
                del self._starts[:at], self._rates[:at], self._passed[:at]


def constant(rate: float) -> Steps:
    """One rate for ever."""
    return iter(((0.0, rate),))


def scaled(steps: Steps, factor: float) -> Steps:
    """The steps times a factor."""
    return ((start_s, value * factor) for start_s, value in steps)


def product(first: Steps, second: Steps) -> Steps:
    """The product of two step functions."""
    sides = (first, second)
    values = [next(first)[1], next(second)[1]]
    upcoming = [next(side, None) for side in sides]
    yield 0.0, values[0] * values[1]
    while any(step is not None for step in upcoming):
        at_s = min(step[0] for step in upcoming if step is not None)
        for i, step in enumerate(upcoming):
            if step is not None and step[0] == at_s:
                values[i] = step[1]
                upcoming[i] = next(sides[i], None)
        yield at_s, values[0] * values[1]


def switched(parts: Sequence[tuple[float, Steps]]) -> Steps:
    """Several step functions of the same clock, each from its time on until the next one's."""
    for i, (from_s, steps) in enumerate(parts):
        until_s = parts[i + 1][0] if i + 1 < len(parts) else inf
        last: float | None = None
        for start_s, value in steps:
            if start_s >= until_s:
                break
            if start_s <= from_s:
                last = value
                continue
            if last is not None:
                yield from_s, last
                last = None
            yield start_s, value
        if last is not None:
            yield from_s, last


def repeated(starts_s: Sequence[float], values: Sequence[float], period_s: float, offset_s: float = 0.0) -> Steps:
    """Steps within a period over and over, from `offset_s` of the first period on."""
    if not (0.0 <= offset_s < period_s and isfinite(period_s)):
        raise ValueError(f"an offset is within the period of {period_s} s: {offset_s}")
    first = bisect_right(starts_s, offset_s) - 1
    yield 0.0, values[first]
    turn, at = 0, first + 1
    while True:
        if at == len(starts_s):
            turn, at = turn + 1, 0
        start_s = turn * period_s + starts_s[at] - offset_s
        if start_s > 0.0:
            yield start_s, values[at]
        at += 1
