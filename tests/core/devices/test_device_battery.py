"""The battery: exact inverses, conservation, an ODE solver as reference, the known limits, and what cannot be."""

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy.integrate import solve_ivp

from core.devices import Battery, profile
from core.devices.battery import LEVELS, interpolated

LINE = {"energy_j": 60000.0, "charge_w": 20.0, "charge_efficiency": 0.9, "ocv_v": (3.588, 4.095)}
levels = st.floats(0.0, 1.0)
watts = st.floats(0.01, 12.0)
factors = st.floats(0.5, 4.0)


def battery(**changes: object) -> Battery:
    return Battery(**(LINE | changes))  # type: ignore[arg-type]


def phone() -> Battery:
    found = profile("phone_mid").battery
    assert found is not None
    return found


CELL = phone()
#: What its charger gives at the terminals.
LIMIT_W = CELL.spare_w(0.0)


@given(levels, st.floats(3.0, 4.0), st.floats(0.0, 1.0))
def test_level_and_energy_are_inverse(level: float, empty_v: float, rise_v: float) -> None:
    cell = battery(ocv_v=(empty_v, empty_v + rise_v))
    assert cell.level_at(cell.energy_at(level)) == pytest.approx(level, abs=1e-12)


def test_ends_and_charge() -> None:
    cell = battery()
    assert cell.energy_at(0.0) == 0.0
    assert cell.energy_at(1.0) == pytest.approx(60000.0, rel=1e-15)
    assert cell.level_at(-1.0) == 0.0
    assert cell.level_at(60001.0) == 1.0
    assert cell.charge_c == pytest.approx(60000.0 / 3.8415)
    assert cell.spare_w(0.0) == 18.0
    assert cell.spare_w(15.0) == pytest.approx(4.5)


def test_energy_is_the_integral_of_voltage_over_charge() -> None:
    grid = np.linspace(0.2, 0.9, 200001)
    volts = np.interp(grid, CELL.levels, CELL.ocv_v)
    joules = np.trapezoid(volts, grid * CELL.charge_c)
    assert CELL.energy_at(0.9) - CELL.energy_at(0.2) == pytest.approx(joules, rel=1e-5)


@settings(max_examples=15, deadline=None)
@given(st.floats(0.3, 1.0), st.floats(0.5, 9.0), st.floats(0.7, 3.0))
def test_discharge_agrees_with_an_ode_solver(level: float, power_w: float, factor: float) -> None:
    """ds/dt = -I/Q with I at constant power, on curves that are not cut into cells: within a cell's width."""
    ocv, ohm = np.array(CELL.ocv_v), np.array(CELL.resistance_ohm) * factor

    def volts(s: float) -> float:
        v, r = np.interp(s, CELL.levels, ocv), np.interp(s, CELL.levels, ohm)
        return float(0.5 * (v + math.sqrt(max(v * v - 4.0 * r * power_w, 0.0))))

    def below(_: float, s: np.ndarray) -> float:
        return volts(s[0]) - CELL.cutoff_v if s[0] > 0.0 else -1.0

    assume(abs(volts(level) - CELL.cutoff_v) > 0.02)
    if volts(level) < CELL.cutoff_v:
        assert CELL.empty_s(CELL.energy_at(level), power_w, factor) == 0.0
        return
    below.terminal = True  # type: ignore[attr-defined]
    found = solve_ivp(
        lambda _, s: [-power_w / volts(s[0]) / CELL.charge_c],
        (0.0, 1e6),
        [level],
        events=below,
        rtol=1e-8,
        max_step=300.0 / power_w * 5.0,
    )
    expected_s = float(found.t[-1])
    assert CELL.empty_s(CELL.energy_at(level), power_w, factor) == pytest.approx(
        expected_s, abs=0.003 * CELL.energy_j / power_w
    )


@given(levels, watts, factors, st.floats(0.0, 1.0))
def test_discharge_is_the_inverse_of_its_time(level: float, power_w: float, factor: float, share: float) -> None:
    """In one piece or in two, the battery ends where it must; and what the cells give is the load and the loss."""
    start_j = CELL.energy_at(level)
    whole_s = CELL.empty_s(start_j, power_w, factor)
    first_j, lost_j = CELL.discharged(start_j, power_w, factor, whole_s * share)
    assert lost_j >= 0.0
    assert start_j - first_j == pytest.approx(power_w * whole_s * share + lost_j, abs=1e-6)
    assert CELL.empty_s(first_j, power_w, factor) == pytest.approx(whole_s * (1.0 - share), abs=1e-6)
    at_once = CELL.discharged(start_j, power_w, factor, whole_s)
    rest_j, rest_lost_j = CELL.discharged(first_j, power_w, factor, whole_s * (1.0 - share))
    assert (rest_j, lost_j + rest_lost_j) == pytest.approx(at_once, abs=1e-4)


@given(levels, factors, st.floats(0.0, 1.0))
def test_charging_is_the_inverse_of_its_time(level: float, factor: float, share: float) -> None:
    start_j, full_j = CELL.energy_at(level), CELL.full_j(LIMIT_W, factor)
    whole_s = CELL.charge_s(start_j, full_j, LIMIT_W, factor) if start_j < full_j else 0.0
    first_j, lost_j = CELL.charged(start_j, LIMIT_W, factor, whole_s * share)
    assert CELL.charge_s(first_j, full_j, LIMIT_W, factor) == pytest.approx(whole_s * (1.0 - share), abs=1e-6)
    full, rest_lost_j = CELL.charged(first_j, LIMIT_W, factor, whole_s)
    assert full == pytest.approx(max(start_j, full_j), rel=1e-12)
    assert lost_j + rest_lost_j == pytest.approx(CELL.charged(start_j, LIMIT_W, factor, whole_s * 2.0)[1], abs=1e-6)


@given(st.floats(3.6, 4.3), st.floats(0.001, 20.0), factors)
def test_no_charger_passes_the_charge_of_its_limit_at_rest(limit_v: float, limit_w: float, factor: float) -> None:
    cell = dataclasses.replace(CELL, limit_v=limit_v)
    assert cell.level_at(cell.full_j(limit_w, factor)) <= cell.limit_level
    without_losses = dataclasses.replace(cell, resistance_ohm=(0.0,) * len(cell.levels))
    assert without_losses.level_at(without_losses.full_j(limit_w, factor)) == cell.limit_level
    assert CELL.limit_level == battery().limit_level == 1.0


@given(levels, factors)
def test_charging_holds_its_limits(level: float, factor: float) -> None:
    """Never above the limit of voltage nor the charger's power; at constant voltage the terminal is at its limit."""
    start_j = CELL.energy_at(level)
    stored_w, loss_w = CELL.charge_powers(start_j, LIMIT_W, factor)
    if stored_w == 0.0:
        assert start_j >= CELL.full_j(LIMIT_W, factor)
        return
    ocv = interpolated(0.5 * sum(LEVELS[CELL.charge_cell(start_j) :][:2]), CELL.levels, CELL.ocv_v)
    amperes = stored_w / ocv
    terminal_v = ocv + loss_w / amperes
    assert terminal_v <= CELL.limit_v + 1e-9
    assert stored_w + loss_w <= LIMIT_W * (1 + 1e-12)
    if start_j > CELL.constant_voltage_j(LIMIT_W, factor):
        assert terminal_v == pytest.approx(CELL.limit_v, rel=1e-12)
    else:
        # Near empty, and cold, the resistance alone may bring the terminal to its limit.
        assert stored_w + loss_w == pytest.approx(LIMIT_W, rel=1e-12) or terminal_v == pytest.approx(CELL.limit_v)


def test_in_the_cold_and_under_load_charge_is_left() -> None:
    """Where the terminal falls below the cut-off the battery is empty, the sooner the more resistance and load."""
    left = []
    for celsius, power_w in ((25.0, 0.05), (25.0, 4.4), (-20.0, 4.4), (-20.0, 8.0)):
        factor = CELL.resistance_factor(celsius)
        seconds = CELL.empty_s(CELL.energy_j, power_w, factor)
        at_j, _ = CELL.discharged(CELL.energy_j, power_w, factor, seconds)
        assert CELL.terminal_v(at_j * (1 - 1e-12) - 1e-9, power_w, factor) < CELL.cutoff_v
        assert CELL.empty_s(at_j, power_w, factor) == pytest.approx(0.0, abs=1e-6)
        left.append(CELL.level_at(at_j))
    assert left == sorted(left)
    assert left[0] < 0.01
    assert 0.05 < left[-1] < 0.5


def test_brown_out() -> None:
    """A power above OCV^2/(4R) cannot be drawn at all."""
    cell = battery(ocv_v=(4.0, 4.0), resistance_ohm=(0.5, 0.5))
    assert cell.empty_s(30000.0, 8.0 * (1 - 1e-9), 1.0) > 0.0
    assert cell.empty_s(30000.0, 8.0 * (1 + 1e-9), 1.0) == 0.0
    assert math.isnan(cell.terminal_v(30000.0, 8.1, 1.0))
    # At the greatest power half of the energy is lost.
    assert cell.drain_w(30000.0, 8.0, 1.0) == pytest.approx(16.0)


def test_no_load_never_empties_and_an_ideal_battery_gives_all() -> None:
    assert CELL.empty_s(100.0, 0.0, 1.0) == math.inf
    assert battery().empty_s(60000.0, 10.0, 1.0) == 6000.0
    assert battery().discharged(60000.0, 10.0, 1.0, 100.0) == (59000.0, 0.0)


def test_the_times_of_a_cell_at_constant_current_are_the_charge_over_the_current() -> None:
    cell = battery(ocv_v=(3.5, 4.1), resistance_ohm=(0.1, 0.1), charge_a=1.0, charge_w=1000.0, limit_v=5.0)
    seconds = cell.charge_s(0.0, cell.energy_j, 900.0, 1.0)
    assert seconds == pytest.approx(cell.charge_c / 1.0, rel=1e-12)
    assert cell.charged(0.0, 900.0, 1.0, seconds)[1] == pytest.approx(0.1 * 1.0 * seconds, rel=1e-9)


@pytest.mark.parametrize(
    ("name", "value", "why"),
    [
        ("energy_j", 0.0, "a positive number"),
        ("charge_w", -1.0, "a positive number"),
        ("charge_efficiency", 1.1, "at most 1"),
        ("ocv_v", (0.0, 4.0), "positive voltages"),
        ("ocv_v", (4.0, 3.0), "does not fall"),
        ("ocv_v", (4.0,), "2 numbers"),
        ("levels", (0.0, 0.9), "from 0 to 1"),
        ("resistance_ohm", (0.1, -0.1), "none can be negative"),
        ("resistance_b_k", -1.0, "at least 0"),
        ("charge_resistance_ratio", 0.0, "a positive number"),
        ("cutoff_v", 4.2, "less than the voltage when full"),
        ("charge_a", 0.0, "a positive current"),
        ("end_a", -1.0, "at least 0"),
        ("limit_v", 3.0, "more than the voltage when empty"),
    ],
)
def test_a_battery_that_cannot_be_is_refused(name: str, value: object, why: str) -> None:
    with pytest.raises(ValueError, match=f"battery: {name} is .*{why}"):
        battery(**{name: value})
