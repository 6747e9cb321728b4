"""Quantities as people write them: a number in the key's own unit, or a number with a unit; converted once, to SI.

`20 Mbit/s`, `4 Wh`, `30 min`, `64 MB`, `45 degC`, `20 %`. Decimal prefixes are powers of 1000; `KiB`, `MiB`, `GiB`
are powers of 1024. The conversion is exact in decimals and rounded once, so that `57 %` is the float 0.57.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Annotated, Any, Final

from pydantic import BeforeValidator, WithJsonSchema

_QUANTITY: Final = re.compile(
    r"\s*([-+]?(?:\d{1,30}\.?\d{0,30}|\.\d{1,30})(?:[eE][-+]?\d{1,2})?)\s*([^\d\s.]\S{0,9})?\s*\Z", re.A
)

SECONDS: Final = {"us": "1e-6", "ms": "1e-3", "s": "1", "min": "60", "h": "3600", "d": "86400"}
BYTES: Final = {
    "B": "1", "kB": "1e3", "MB": "1e6", "GB": "1e9", "KiB": "1024", "MiB": "1048576", "GiB": "1073741824",
}  # fmt: skip
RATES: Final = {
    "bit/s": "0.125", "kbit/s": "125", "Mbit/s": "125e3", "Gbit/s": "125e6",
    "B/s": "1", "kB/s": "1e3", "MB/s": "1e6", "GB/s": "1e9",
}  # fmt: skip
JOULES: Final = {"J": "1", "kJ": "1e3", "MJ": "1e6", "Wh": "3600", "kWh": "3.6e6"}
SHARES: Final = {"%": "0.01"}
CELSIUS: Final = {"degC": "1", "°C": "1"}


def quantity(value: Any, units: Mapping[str, str], base: str, example: str) -> float:
    """A number in `base`, from a number or a string with one of `units`. Raises `ValueError` that names them."""
    accepted = f"a number in {base}, or a quantity such as {example!r} (units: {', '.join(units)})"
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ValueError(f"expected {accepted}")
    if isinstance(value, str):
        match = _QUANTITY.match(value)
        if match is None:
            raise ValueError(f"expected {accepted}")
        unit = match[2]
        if unit is not None and unit not in units:
            raise ValueError(f"unit {unit!r} is not known here; expected {accepted}")
        number = float(Decimal(match[1]) * Decimal("1" if unit is None else units[unit]))
    elif isinstance(value, int) and abs(value) > 1 << 62:
        raise ValueError(f"expected {accepted}")
    else:
        number = float(value)
    if not math.isfinite(number):
        raise ValueError(f"expected {accepted}, and finite")
    return number


def _kind(units: Mapping[str, str], base: str, example: str) -> tuple[BeforeValidator, WithJsonSchema]:
    """What makes a float field take such quantities."""
    pattern = "|".join(re.escape(unit) for unit in units)
    return BeforeValidator(lambda value: quantity(value, units, base, example)), WithJsonSchema(
        {
            "anyOf": [
                {"type": "number"},
                {"type": "string", "pattern": rf"^\s*[-+]?[0-9.]+([eE][-+]?[0-9]+)?\s*({pattern})?\s*$"},
            ],
            "examples": [example],
            "description": f"in {base}, or with a unit: {', '.join(units)}",
        }
    )


_seconds, _seconds_schema = _kind(SECONDS, "s", "30 min")
_bytes, _bytes_schema = _kind(BYTES, "bytes", "64 MB")
_rates, _rates_schema = _kind(RATES, "bytes/s", "20 Mbit/s")
_joules, _joules_schema = _kind(JOULES, "J", "4 Wh")
_shares, _shares_schema = _kind(SHARES, "parts of 1", "20 %")
_celsius, _celsius_schema = _kind(CELSIUS, "°C", "45 degC")

Seconds = Annotated[float, _seconds, _seconds_schema]
Bytes = Annotated[float, _bytes, _bytes_schema]
BytesPerSecond = Annotated[float, _rates, _rates_schema]
Joules = Annotated[float, _joules, _joules_schema]
Share = Annotated[float, _shares, _shares_schema]
Celsius = Annotated[float, _celsius, _celsius_schema]
