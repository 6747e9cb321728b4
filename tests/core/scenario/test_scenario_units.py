"""Quantities: exact conversion, strict parsing, helpful refusals."""

from __future__ import annotations

from fractions import Fraction as Rational
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from core.scenario import units


def read(kind: Any, value: object) -> Any:
    return TypeAdapter(kind).validate_python(value)


@pytest.mark.parametrize(
    ("kind", "value", "expected"),
    [
        (units.BytesPerSecond, "20 Mbit/s", 2.5e6),
        (units.BytesPerSecond, "1 MB/s", 1e6),
        (units.Joules, "4 Wh", 14400.0),
        (units.Seconds, "30 min", 1800.0),
        (units.Seconds, "500 ms", 0.5),
        (units.Seconds, "1.5e1s", 15.0),
        (units.Seconds, 7, 7.0),
        (units.Bytes, "64 MB", 64_000_000),
        (units.Bytes, "1 KiB", 1024),
        (units.Bytes, "1.5 kB", 1500),
        (units.Ambient, "45 degC", 45.0),
        (units.Ambient, "-20 °C", -20.0),
        (units.Ambient, "300 K", 26.85),
        (units.Fraction, "20 %", 0.2),
        (units.Fraction, "57 %", 0.57),
        (units.Fraction, 1, 1.0),
        (units.Watts, "3.5 W", 3.5),
        (units.FlopsPerSecond, "5 GFLOP/s", 5e9),
        (units.SecondsOrForGood, None, None),
        (units.Charge, "50 %", (0.5, 0.5)),
        (units.Charge, [0.4, "90 %"], (0.4, 0.9)),
    ],
)
def test_quantities_are_read_in_base_units(kind: Any, value: object, expected: object) -> None:
    assert read(kind, value) == expected


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (units.Seconds, "10"),  # no unit
        (units.Seconds, "10 parsec"),
        (units.Seconds, "s"),
        (units.Seconds, "ten s"),
        (units.Seconds, "1 2 s"),
        (units.Seconds, "-1 s"),
        (units.Seconds, -1),
        (units.Seconds, True),
        (units.Seconds, None),
        (units.Seconds, [1]),
        (units.Seconds, float("nan")),
        (units.Seconds, float("inf")),
        (units.Seconds, 10**400),
        (units.Seconds, "1e999 s"),
        (units.Seconds, "9" * 40 + " s"),
        (units.PositiveSeconds, 0),
        (units.Bytes, "0.3 B"),
        (units.Bytes, 1.5),
        (units.Fraction, 20),
        (units.Fraction, "101 %"),
        (units.FractionBelowOne, 1),
        (units.Charge, [0.9, 0.4]),
        (units.Charge, [0.1, 0.2, 0.3]),
        (units.Charge, []),
        (units.BytesPerSecond, "20 mbit/s"),  # units are case sensitive: m is milli
        (units.Joules, "4 W"),
        (units.Ambient, 200),
        (units.Ambient, "-41 degC"),
        (units.Ambient, 60.1),
    ],
)
def test_what_is_no_such_quantity_is_refused_with_what_would_be(kind: Any, value: object) -> None:
    with pytest.raises(ValidationError) as caught:
        read(kind, value)
    (error,) = caught.value.errors()
    assert error["type"] == "refused"
    assert error["ctx"]["accepted"]


def test_a_refusal_names_the_units_an_example_and_the_nearest_unit() -> None:
    with pytest.raises(ValidationError) as caught:
        read(units.BytesPerSecond, "20 Mbits")
    context = caught.value.errors()[0]["ctx"]
    assert "Mbit/s" in context["accepted"]
    assert '"20 Mbit/s"' in context["accepted"]
    assert context["hint"] == 'did you mean "Mbit/s"?; '


@pytest.mark.parametrize(
    ("kind", "unit", "meant"),
    [
        (units.BytesPerSecond, "mbps", "Mbit/s"),
        (units.BytesPerSecond, "Mbps", "Mbit/s"),
        (units.BytesPerSecond, "Mb/s", "Mbit/s"),
        (units.BytesPerSecond, "bps", "bit/s"),
        (units.BytesPerSecond, "kbits/s", "kbit/s"),
        (units.BytesPerSecond, "MBps", "MB/s"),
        (units.BytesPerSecond, "MiB/s", ""),
        (units.BytesPerSecond, "Mibit/s", ""),
        (units.BytesPerSecond, "TB/s", ""),
        (units.Bytes, "KB", "kB"),
        (units.Bytes, "Mib", ""),
        (units.Bytes, "Mb", ""),
        (units.Bytes, "TB", ""),
        (units.Seconds, "sec", "s"),
        (units.Seconds, "minutes", "min"),
        (units.Seconds, "m", ""),
        (units.Joules, "MWh", ""),
        (units.Joules, "wh", "Wh"),
        (units.Watts, "MW", ""),
        (units.FlopsPerSecond, "GFLOPS", "GFLOP/s"),
        (units.FlopsPerSecond, "PFLOP/s", ""),
        (units.Ambient, "C", "degC"),
        (units.Ambient, "degF", ""),
    ],
)
def test_a_unit_is_suggested_only_if_the_quantity_stays_the_same(kind: Any, unit: str, meant: str) -> None:
    with pytest.raises(ValidationError) as caught:
        read(kind, f"20 {unit}")
    context = caught.value.errors()[0]["ctx"]
    assert context["hint"] == (f'did you mean "{meant}"?; ' if meant else "")
    assert "text with a unit (" in context["accepted"]


@settings(deadline=None)
@given(
    st.decimals(min_value=0, max_value=10**6, allow_nan=False, places=6),
    st.sampled_from(sorted(units.TIME)),
    st.sampled_from(["", " ", "  "]),
)
def test_a_conversion_is_exact_and_rounded_once(digits: Any, unit: str, gap: str) -> None:
    text = f"{digits:f}{gap}{unit}"
    exact = Rational(digits) * units.TIME[unit]
    if exact <= Rational(units.LONGEST_S):
        assert read(units.Seconds, text) == float(exact)


@settings(deadline=None)
@given(st.floats(0, units.LONGEST_S))
def test_a_number_is_taken_as_it_is(value: float) -> None:
    assert read(units.Seconds, value) == value


@settings(deadline=None)
@given(st.text(max_size=30) | st.integers() | st.floats() | st.none() | st.booleans() | st.lists(st.integers()))
def test_anything_is_either_read_or_refused(value: object) -> None:
    for kind in (units.Seconds, units.Bytes, units.Charge, units.CelsiusOrNull):
        try:
            found = read(kind, value)
        except ValidationError:
            continue
        again = read(kind, found)
        assert again == found


@pytest.mark.parametrize("kind", [units.Seconds, units.Bytes, units.Fraction, units.BytesPerSecond])
def test_the_json_schema_has_numbers_and_text_with_the_units(kind: Any) -> None:
    schema = TypeAdapter(kind).json_schema()
    assert {part["type"] for part in schema["anyOf"]} <= {"number", "integer", "string"}
    assert "pattern" in schema["anyOf"][1]
