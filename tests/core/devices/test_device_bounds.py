"""Bounds of the numbers of device classes: all of the catalogue is within, and nothing beyond gets through."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.devices import profiles, provenance
from core.devices.bounds import Bound, OutOfBounds, bound
from core.devices.catalogue import made

EVERY = {parameter.key: parameter for name in profiles() for parameter in provenance(name)}


def test_every_number_of_the_catalogue_is_well_within_a_bound_of_its_unit() -> None:
    for name in profiles():
        for parameter in provenance(name):
            found = bound(parameter.key)
            assert found.unit == parameter.unit
            assert found.holds(parameter.value), parameter


@pytest.mark.parametrize(
    ("key", "value", "accepted"),
    [
        ("heat.case_capacity_j_per_k", 1e-15, "0.1 to 1e6 J/K"),
        ("radios.wifi.tail_w", 1e18, "0 to 100 W"),
        ("battery.cell.resistance_b_k", 1e18, "0 to 10000 K"),
        ("battery.pack_ohm", -0.01, "0 to 100 Ω"),
        ("train_flops_per_s", 1e-18, "1000 to 1e18 FLOP/s"),
        ("step_overhead_s", 1e18, "0 to 86400 s"),
    ],
)
def test_a_number_that_no_device_can_have_is_refused(key: str, value: float, accepted: str) -> None:
    with pytest.raises(OutOfBounds) as caught:
        made("phone_mid", {key: value})
    assert caught.value.key == key
    assert str(caught.value) == f"{key} is {value:g}; accepted: {accepted}"


@given(st.sampled_from(sorted(EVERY)), st.sampled_from((-1e300, math.nan, math.inf, -math.inf, 1e300)))
def test_no_number_may_be_enormous(key: str, value: float) -> None:
    assert not bound(key).holds(value)


def test_bounds_are_bounds() -> None:
    assert Bound(1e-6, 2.5e6, "W").accepted == "1e-6 to 2.5e6 W"
    assert Bound(0, 1, "1").accepted == "0 to 1"
    assert Bound(0, 1, "1").holds(1)
    with pytest.raises(KeyError):
        bound("nothing")
