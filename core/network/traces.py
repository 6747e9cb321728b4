"""Traces of link rates from text: CSV with a header, `time_s,bytes_per_s` or `time_s,packets_1500B_per_100ms`.

The second is what mahimahi's recordings (Winstein, Sivaraman, Balakrishnan, NSDI 2013) become when their delivery
opportunities of 1500 bytes are counted in bins of 100 ms. A trace that goes back in time or has a rate that is
negative or no number is refused with the line.
"""

from __future__ import annotations

from math import isfinite
from typing import Final

from core.network.variation import Trace

#: Most lines of a trace: a day in bins of 100 ms, and some.
MOST_LINES: Final = 1_000_000
#: Longest and shortest times, s: a hundred years; a subframe of LTE, below which no rate is defined.
LONGEST_S: Final = 3.2e9
LEAST_STEP_S: Final = 1e-3
#: Highest rate, and fewest bytes in a step on the whole: with less, a message of a megabyte takes a million steps.
MOST_BYTES_PER_S: Final = 1e15
LEAST_BYTES: Final = 1.0
_BYTES_PER_S: Final = {"bytes_per_s": 1.0, "packets_1500B_per_100ms": 15_000.0}


class TraceWrong(ValueError):
    """A trace that cannot be used: the line, what was found and what would be accepted."""

    def __init__(self, name: str, line: int, found: str, accepted: str) -> None:
        super().__init__(f"{name}:{line}: found {found[:60]!r}; accepted: {accepted}")
        self.name = name
        self.line = line
        self.found = f"found {found[:60]!r}"
        self.accepted = accepted


def read_trace(name: str, text: str) -> Trace:
    """The trace in `text`. Times are made relative to the first; the last step is as long as the one before it.

    Raises `TraceWrong`.
    """
    lines = text.splitlines()
    header = [cell.strip() for cell in lines[0].split(",")] if lines else []
    if len(header) != 2 or header[0] != "time_s" or header[1] not in _BYTES_PER_S:
        accepted = f"a header of time_s and one of {', '.join(_BYTES_PER_S)}"
        raise TraceWrong(name, 1, lines[0] if lines else "", accepted)
    if len(lines) - 1 > MOST_LINES:
        raise TraceWrong(name, MOST_LINES + 2, "more lines", f"at most {MOST_LINES} lines")
    factor = _BYTES_PER_S[header[1]]
    times: list[float] = []
    rates: list[float] = []
    for number, line in enumerate(lines[1:], start=2):
        if not line.strip():
            continue
        cells = line.split(",")
        if len(cells) != 2:
            raise TraceWrong(name, number, line, "two values, a time in s and a rate")
        time_s, rate = _number(cells[0]), _number(cells[1])
        if time_s is None or not 0 <= time_s <= LONGEST_S or (times and time_s <= times[-1]):
            after = " after that of the line before" if times else ""
            raise TraceWrong(name, number, cells[0], f"a time in s{after}, up to {LONGEST_S:g} s")
        # Rounded, as a difference of decimal numbers is not what it would be on paper.
        if times and round(time_s - times[-1], 6) < LEAST_STEP_S:
            accepted = f"a time at least {LEAST_STEP_S:g} s after that of the line before"
            raise TraceWrong(name, number, cells[0], accepted)
        if rate is None or not 0 <= rate * factor <= MOST_BYTES_PER_S:
            accepted = f"a rate that is a number and not negative, up to {MOST_BYTES_PER_S / factor:g}"
            raise TraceWrong(name, number, cells[1], accepted)
        times.append(time_s)
        rates.append(rate * factor)
    if len(times) < 2:
        raise TraceWrong(name, len(lines), "fewer than two steps", "at least two lines with a time and a rate")
    if not any(rates):
        raise TraceWrong(name, len(lines), "only rates of 0", "at least one rate above 0")
    starts = tuple(time_s - times[0] for time_s in times)
    trace = Trace(name, starts, tuple(rates), starts[-1] + (starts[-1] - starts[-2]))
    step_bytes = trace.mean_bytes_per_s * trace.period_s / len(starts)
    if round(step_bytes, 3) < LEAST_BYTES:
        accepted = f"rates that carry at least {LEAST_BYTES:g} byte in a step on the mean"
        raise TraceWrong(name, len(lines), f"{step_bytes:g} bytes in a step", accepted)
    return trace


def _number(cell: str) -> float | None:
    try:
        found = float(cell)
    except ValueError:
        return None
    return found if isfinite(found) else None
