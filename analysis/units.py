"""Quantities as people read them: three significant digits, SI prefixes by the thousand, minutes and hours."""

from __future__ import annotations

import math
from typing import Final, NamedTuple

_PREFIXES: Final = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"), (1.0, ""), (1e-3, "m"), (1e-6, "µ"))
_SPANS: Final = ((86_400.0, "d", 2.0), (3600.0, "h", 2.0), (60.0, "min", 2.0), (1.0, "s", 1.0))
#: Between a number and its unit, so that they stay on one line.
_GAP: Final = "\u00a0"


class Scale(NamedTuple):
    """Divide by `factor` to have the quantity in `unit`."""

    factor: float
    unit: str


def number(value: float, digits: int = 3) -> str:
    """A number with `digits` significant digits and without an exponent; whole ones stay whole."""
    if not math.isfinite(value):
        return "–"
    if float(value).is_integer() or abs(value) >= 10.0**digits:
        return count(value)
    decimals = max(digits - 1 - math.floor(math.log10(abs(value))), 0)
    return f"{value:.{decimals}f}"


def count(value: float) -> str:
    """A whole number with thin spaces between its thousands."""
    return f"{value:,.0f}".replace(",", "\u202f")


def scale(largest: float, unit: str) -> Scale:
    """The prefix in which numbers up to `largest` are readable; small bytes stay whole."""
    for factor, prefix in _PREFIXES:
        if abs(largest) >= factor and (unit != "B" or factor >= 1.0):
            return Scale(factor, prefix + unit)
    return Scale(1.0, unit)


def span(longest_s: float) -> Scale:
    """The unit of time in which spans up to `longest_s` are readable."""
    for factor, unit, least in _SPANS:
        if abs(longest_s) >= least * factor:
            return Scale(factor, unit)
    return Scale(1.0, "s") if abs(longest_s) >= 1.0 or longest_s == 0.0 else scale(longest_s, "s")


def text(value: float, unit: str) -> str:
    """A quantity with its unit, such as 12.3 kJ."""
    if not math.isfinite(value):
        return "–"
    chosen = scale(value, unit)
    return f"{number(value / chosen.factor)}{_GAP}{chosen.unit}"


def duration(seconds: float) -> str:
    """A span of time, such as 83.2 s or 21.4 min."""
    if not math.isfinite(seconds):
        return "–"
    chosen = span(seconds)
    return f"{number(seconds / chosen.factor)}{_GAP}{chosen.unit}"


def percent(share: float, digits: int = 1) -> str:
    """A share of one as a percentage."""
    return f"{100.0 * share:.{digits}f}{_GAP}%" if math.isfinite(share) else "–"
