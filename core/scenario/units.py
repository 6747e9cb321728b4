"""Quantities: plain numbers in a stated base unit, or text with a unit, converted once, correctly rounded.

Base units are SI ones (and bytes, bytes a second and degrees Celsius). The conversion is exact in rationals and rounded
once, so that `57 %` is the float 0.57.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from fractions import Fraction as Rational
from typing import Annotated, Any, Final, Literal, TypeAlias

from pydantic_core import PydanticCustomError

from core.scenario.kinds import Kind, Number, number

#: Digits with an optional exponent of at most two figures, then a unit.
_NUMBER: Final = r"[+-]?(?:[0-9]{1,30}(?:\.[0-9]{0,30})?|\.[0-9]{1,30})(?:[eE][+-]?[0-9]{1,2})?"
_TEXT: Final = re.compile(rf"\s*({_NUMBER})\s*([^\s0-9.+-].*?)\s*")


def _rates() -> dict[str, Rational]:
    bits = {f"{prefix}bit/s": Rational(10 ** (3 * i), 8) for i, prefix in enumerate(("", "k", "M", "G"))}
    whole = {f"{prefix}B/s": Rational(10 ** (3 * i)) for i, prefix in enumerate(("", "k", "M", "G"))}
    return {**bits, **whole}


TIME: Final = {
    "us": Rational(1, 10**6),
    "ms": Rational(1, 1000),
    "s": Rational(1),
    "min": Rational(60),
    "h": Rational(3600),
    "d": Rational(86400),
}
RATE: Final = _rates()
ENERGY: Final = {
    "J": Rational(1),
    "kJ": Rational(1000),
    "MJ": Rational(10**6),
    "mWh": Rational(36, 10),
    "Wh": Rational(3600),
    "kWh": Rational(3_600_000),
}
SIZE: Final = {
    "B": Rational(1),
    "kB": Rational(1000),
    "MB": Rational(10**6),
    "GB": Rational(10**9),
    "KiB": Rational(1 << 10),
    "MiB": Rational(1 << 20),
    "GiB": Rational(1 << 30),
}
POWER: Final = {"mW": Rational(1, 1000), "W": Rational(1), "kW": Rational(1000)}
SPEED: Final = {
    "FLOP/s": Rational(1),
    "MFLOP/s": Rational(10**6),
    "GFLOP/s": Rational(10**9),
    "TFLOP/s": Rational(10**12),
}
TEMPERATURE: Final = {"degC": Rational(1), "°C": Rational(1), "K": Rational(1)}
SHARE: Final = {"%": Rational(1, 100)}
#: What is added after the conversion.
_OFFSET: Final = {"K": Rational(-27315, 100)}


#: Other spellings of units, and what each stands for; near ones that differ in size are left out, so that no hint
#: changes a quantity: MWh is not mWh, and MiB/s not MB/s.
_SPELLINGS: Final = (
    (r"([kKmMgG]?)(?:bps|[Bb]it/?s|b/s|[Bb]its?(?:/s(?:ec)?)?|BPS)", "{}bit/s"),
    (r"([kKmMgG]?)(?:Bps|B/sec|[Bb]ytes?/s(?:ec)?)", "{}B/s"),
    (r"([kKmMgG]?)(?:[Bb]ytes?)", "{}B"),
    (r"([K])B", "{}B"),
    (r"([mMgGtT]?)(?:FLOPS|flops?|FLOP|FLOPs|flops?/s)", "{}FLOP/s"),
    (r"(?:µs|μs|usecs?|microseconds?)()", "us"),
    (r"(?:msecs?|milliseconds?)()", "ms"),
    (r"(?:S|secs?|seconds?)()", "s"),
    (r"(?:mins|minutes?)()", "min"),
    (r"(?:H|hrs?|hours?)()", "h"),
    (r"(?:D|days?)()", "d"),
    (r"(?:j|[Jj]oules?)()", "J"),
    (r"(?:kj|KJ|Kj)()", "kJ"),
    (r"(?:wh|WH|wH)()", "Wh"),
    (r"(?:kwh|KWh|KWH|kWH)()", "kWh"),
    (r"(?:w|[Ww]atts?)()", "W"),
    (r"(?:kw|KW|Kw)()", "kW"),
    (r"(?:[Cc]|°c|[Cc]elsius|deg ?[Cc])()", "degC"),
    (r"(?:k|[Kk]elvin)()", "K"),
    (r"(?:percent|pct)()", "%"),
)


def _meant(text: str, units: Mapping[str, Rational]) -> str:
    """A hint with the unit that another spelling stands for, or nothing."""
    for pattern, form in _SPELLINGS:
        match = re.fullmatch(pattern, text)
        if match is not None:
            prefix = match[1].upper()
            unit = form.format("k" if prefix == "K" else prefix)
            if unit in units:
                return f'did you mean "{unit}"?'
    return ""


class Quantity(Kind):
    """A quantity of one dimension: `units` maps a unit to its factor to `base`. `whole` ones are read as int."""

    def __init__(
        self,
        noun: str,
        base: str,
        units: Mapping[str, Rational],
        example: str,
        limit: Number,
        *,
        whole: bool = False,
        or_null: str = "",
    ) -> None:
        self.noun, self.base, self.units, self.example, self.limit, self.whole = (
            noun,
            base,
            units,
            example,
            limit,
            whole,
        )
        self.or_null, self.null_means = bool(or_null), or_null

    @property
    def values(self) -> str:
        range_ = self.limit.values.removeprefix("a number")
        plain = f"a number in {self.base}" if self.base else "a number"
        return f'{self.noun}{range_}: {plain}, or text with a unit ({", ".join(self.units)}) such as "{self.example}"'

    def read(self, value: object) -> float:
        found = self._text(value) if isinstance(value, str) else number(value)
        if found is None or not self.limit.holds(found):
            raise self.refuse()
        if self.whole:
            if found != int(found):
                raise self.refuse()
            return int(found)
        return found

    def _text(self, text: str) -> float:
        match = _TEXT.fullmatch(text[:100])
        if match is None:
            raise self.refuse()
        digits, unit = match.groups()
        if unit not in self.units:
            raise self.refuse(_meant(unit, self.units))
        exact = Rational(digits) * self.units[unit] + _OFFSET.get(unit, 0)
        return float(exact)

    def schema(self) -> dict[str, Any]:
        units = "|".join(re.escape(unit) for unit in self.units)
        text = {"type": "string", "pattern": rf"^\s*{_NUMBER}\s*({units})\s*$", "description": self.values}
        return {"anyOf": [self.limit.schema() | ({"type": "integer"} if self.whole else {}), text]}


class Span(Kind):
    """One quantity for all, or a list of the lowest and the highest; read as a pair. A `word` stands for itself."""

    def __init__(self, quantity: Quantity, *, word: str = "") -> None:
        self.quantity = quantity
        self.word = word

    @property
    def values(self) -> str:
        word = f"; or {self.word}" if self.word else ""
        return f"{self.quantity.values}; or a list of the lowest and the highest, such as [0.4, 0.9]{word}"

    def read(self, value: object) -> tuple[float, float] | str:
        if self.word and value == self.word:
            return self.word
        if not isinstance(value, list | tuple):
            try:
                one = self._read(value)
            except PydanticCustomError as error:
                raise self.refuse((error.context or {}).get("hint", "").removesuffix("; ")) from None
            return one, one
        if len(value) != 2:
            raise self.refuse()
        low, high = (self._read(item) for item in value)
        if low > high:
            raise self.refuse("the first is above the second")
        return low, high

    def _read(self, value: object) -> float:
        found = self.quantity._text(value) if isinstance(value, str) else number(value)
        if found is None or not self.quantity.limit.holds(found):
            raise self.refuse()
        return found

    def schema(self) -> dict[str, Any]:
        one = self.quantity.schema()
        word = [{"const": self.word}] if self.word else []
        return {"anyOf": [one, {"type": "array", "items": one, "minItems": 2, "maxItems": 2}, *word]}


def _time(limit: Number) -> Quantity:
    return Quantity("a time", "s", TIME, "30 s", limit)


#: Longest time that a scenario may name: a hundred years, s.
LONGEST_S: Final = 3.2e9

#: s, from 0.
Seconds: TypeAlias = Annotated[float, _time(Number(0, LONGEST_S))]
#: s, above 0.
PositiveSeconds: TypeAlias = Annotated[float, _time(Number(above=0, maximum=LONGEST_S))]
#: s, of one thing after the other, as often as there is time: at least 1 ms, a subframe of LTE, below which no rate or
#: delay of a network is defined.
Step: TypeAlias = Annotated[float, _time(Number(0.001, LONGEST_S))]
#: Kind of a delay of a network, for options: up to an hour, as nothing on Earth or in its orbits is farther.
DELAY_KIND: Final = _time(Number(0, 3600))
Delay: TypeAlias = Annotated[float, DELAY_KIND]
#: s, above 0; null: for good.
SecondsOrForGood: TypeAlias = Annotated[
    float | None, Quantity("a time", "s", TIME, "30 s", Number(above=0, maximum=LONGEST_S), or_null="for good")
]
#: s; null: at no given time.
SecondsOrNull: TypeAlias = Annotated[
    float | None, Quantity("a time", "s", TIME, "30 s", Number(0, LONGEST_S), or_null="at no given time")
]
#: s, above 0; null: 10 s.
DelayOrNull: TypeAlias = Annotated[
    float | None, Quantity("a time", "s", TIME, "30 s", Number(above=0, maximum=LONGEST_S), or_null="10 s")
]
#: s, of either sign.
SignedSeconds: TypeAlias = Annotated[float, _time(Number(-LONGEST_S, LONGEST_S))]
#: Kind of a data rate, for options: from 1 byte/s, slower than any network's (Sigfox: 100 bit/s).
RATE_KIND: Final = Quantity("a data rate", "bytes/s", RATE, "20 Mbit/s", Number(1, 1e15))
BytesPerSecond: TypeAlias = Annotated[float, RATE_KIND]
Joules: TypeAlias = Annotated[float, Quantity("an energy", "J", ENERGY, "4 Wh", Number(above=0, maximum=1e12))]
Bytes: TypeAlias = Annotated[
    int, Quantity("a size in whole bytes", "bytes", SIZE, "64 MB", Number(1, 1 << 40), whole=True)
]
#: 0 to 1.
Fraction: TypeAlias = Annotated[float, Quantity("a share", "", SHARE, "20 %", Number(0, 1))]
#: 0 to 1; null: no limit.
FractionOrNull: TypeAlias = Annotated[
    float | None, Quantity("a share", "", SHARE, "20 %", Number(0, 1), or_null="not asked for")
]
#: An accuracy, or an error in units of the target of a regression, above 0; null: none.
ScoreOrNull: TypeAlias = Annotated[
    float | None,
    Quantity("an accuracy or an error", "", SHARE, "90 %", Number(above=0, maximum=1e12), or_null="none"),
]
#: 0 to 1; null where there is none.
ProbabilityOrNull: TypeAlias = Annotated[
    float | None,
    Quantity("a probability", "", SHARE, "20 %", Number(0, 1), or_null="for kinds that strike no messages"),
]
#: Above 0, up to 1; null where there is none.
SpeedOrNull: TypeAlias = Annotated[
    float | None,
    Quantity("a share", "", SHARE, "20 %", Number(above=0, maximum=1), or_null="for kinds other than slow"),
]
#: 0 up to, but below 1.
FractionBelowOne: TypeAlias = Annotated[float, Quantity("a share", "", SHARE, "20 %", Number(0, below=1))]
#: A pair from 0 to 1, or the word `typical`.
Charge: TypeAlias = Annotated[
    tuple[float, float] | Literal["typical"], Span(Quantity("a share", "", SHARE, "20 %", Number(0, 1)), word="typical")
]
#: A pair of hours.
TimeZones: TypeAlias = Annotated[
    tuple[float, float], Span(Quantity("an offset from UTC", "h", {"h": Rational(1)}, "-5 h", Number(-12, 14)))
]
#: s from midnight.
HOURS_OF_DAY: Final = Quantity("a time of day", "s", TIME, "2 h", Number(0, 86_400))
SESSION: Final = Quantity("a time", "s", TIME, "5 min", Number(1, 86_400))
#: °C, of surroundings in which devices work.
Ambient: TypeAlias = Annotated[float, Quantity("a temperature", "°C", TEMPERATURE, "25 degC", Number(-40, 60))]
#: °C; null: no limit.
CelsiusOrNull: TypeAlias = Annotated[
    float | None,
    Quantity("a temperature", "°C", TEMPERATURE, "45 degC", Number(-100, 200), or_null="not asked for"),
]
Watts: TypeAlias = Annotated[float, Quantity("a power", "W", POWER, "3.5 W", Number(0, 1e9))]
FlopsPerSecond: TypeAlias = Annotated[
    float, Quantity("a speed of computing", "FLOP/s", SPEED, "5 GFLOP/s", Number(above=0, maximum=1e18))
]
