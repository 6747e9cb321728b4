"""The battery: exact inverses, charge against energy, and the voltage line against the cell."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.devices import Battery, profile

#: Open-circuit voltage of the LCO cell over its level (0.03 to 0.99), a fit to its discharge curves.
CELL_V = np.array([6.1463, -18.1552, 18.1122, -5.1991, -1.5306, 1.2523, 3.5506])


def battery(**changes: float) -> Battery:
    values = {"energy_j": 60000.0, "charge_w": 20.0, "charge_efficiency": 0.9, "empty_v": 3.588, "full_v": 4.095}
    return Battery(**(values | changes))


@given(st.floats(0.0, 1.0), st.floats(3.0, 4.0), st.floats(0.0, 1.0))
def test_level_and_energy_are_inverse(level: float, empty_v: float, rise_v: float) -> None:
    cell = battery(empty_v=empty_v, full_v=empty_v + rise_v)
    assert cell.level_at(cell.energy_at(level)) == pytest.approx(level, abs=1e-12)


def test_ends_and_charge() -> None:
    cell = battery()
    assert cell.energy_at(0.0) == 0.0
    assert cell.energy_at(1.0) == pytest.approx(60000.0, rel=1e-15)
    assert cell.level_at(-1.0) == 0.0
    assert cell.level_at(60001.0) == 1.0
    assert cell.charge_c == pytest.approx(60000.0 / 3.8415)
    assert cell.stored_w == 18.0


def test_energy_is_the_integral_of_voltage_over_charge() -> None:
    cell = battery()
    levels = np.linspace(0.2, 0.9, 100001)
    volts = np.array([cell.voltage_v(s) for s in levels])
    joules = np.trapezoid(volts, levels * cell.charge_c)
    assert cell.energy_at(0.9) - cell.energy_at(0.2) == pytest.approx(joules, rel=1e-9)


def test_line_through_the_cells_voltage() -> None:
    """Least squares over the levels of the fit: the catalogue's ends, 30 mV RMS; level against energy within 0.3 %."""
    levels = np.linspace(0.03, 0.99, 400)
    volts = np.polyval(CELL_V, levels)
    cell = profile("phone_mid").battery
    assert cell is not None
    slope, at_zero = np.polyfit(levels, volts, 1)
    assert (cell.empty_v, cell.full_v) == pytest.approx((at_zero, at_zero + slope), abs=1e-3)
    assert np.sqrt(np.mean((cell.empty_v + slope * levels - volts) ** 2)) == pytest.approx(0.030, abs=0.001)
    share = np.concatenate([[0.0], np.cumsum((volts[1:] + volts[:-1]) / 2)])
    share /= share[-1]
    low, high = cell.energy_at(0.03), cell.energy_at(0.99)
    found = [cell.level_at(low + (high - low) * part) for part in share]
    assert np.abs(np.array(found) - levels).max() < 0.003


@pytest.mark.parametrize(
    ("name", "value"),
    [("energy_j", 0.0), ("charge_w", -1.0), ("charge_efficiency", 1.1), ("empty_v", 0.0), ("full_v", 3.0)],
)
def test_a_battery_that_cannot_be_is_refused(name: str, value: float) -> None:
    with pytest.raises(ValueError, match=f"battery: {name} is {value}"):
        battery(**{name: value})
