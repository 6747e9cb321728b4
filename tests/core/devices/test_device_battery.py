"""The battery: exact inverses, conservation, an ODE solver as reference, the known limits, and what cannot be."""

import bisect
import dataclasses
import math

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy.integrate import solve_ivp

from analysis.oracles.physics_charging import circuit
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
    full = without_losses.level_at(without_losses.full_j(limit_w, factor))
    assert full == pytest.approx(cell.limit_level, rel=1e-12)
    assert limit_v >= 4.1828 or interpolated(full, CELL.levels, CELL.ocv_v) == pytest.approx(limit_v, rel=1e-12)
    assert CELL.limit_level == battery().limit_level == 1.0


@given(levels, factors)
def test_charging_holds_its_limits(level: float, factor: float) -> None:
    """Never above the limit of voltage nor the charger's power; at constant voltage the terminal is at its limit."""
    start_j = CELL.energy_at(level)
    stored_w, loss_w = CELL.charge_powers(start_j, LIMIT_W, factor)
    if stored_w == 0.0:
        assert start_j >= CELL.full_j(LIMIT_W, factor)
        return
    cell = bisect.bisect_right(LEVELS, CELL.level_at(start_j), 1, len(LEVELS) - 1)
    below_v, above_v = (interpolated(s, CELL.levels, CELL.ocv_v) for s in LEVELS[cell - 1 : cell + 1])
    ocv = interpolated(0.5 * (LEVELS[cell - 1] + LEVELS[cell]), CELL.levels, CELL.ocv_v)
    amperes = stored_w / ocv
    terminal_v = ocv + loss_w / amperes
    # The power of a cell is that of its middle, also where only its lower part is at constant current.
    assert terminal_v <= CELL.limit_v + 0.5 * (above_v - below_v)
    assert stored_w + loss_w <= LIMIT_W * (1 + 1e-12)
    if start_j >= CELL.constant_voltage_j(LIMIT_W, factor):
        assert terminal_v == pytest.approx(CELL.limit_v, rel=1e-12)
    else:
        # Near empty, and cold, the resistance alone may bring the terminal to its limit.
        assert stored_w + loss_w == pytest.approx(LIMIT_W, rel=1e-12) or terminal_v == pytest.approx(CELL.limit_v)


@pytest.mark.parametrize("celsius", [-20.0, 5.0, 25.0, 45.0])
@pytest.mark.parametrize("limit_w", [LIMIT_W, 0.2])
def test_charging_agrees_with_an_ode_solver(celsius: float, limit_w: float) -> None:
    """The same circuit on curves that are not cut into cells: times to 0.01 %, and the level at which it is full.

    So it is from 90 %, at constant voltage; a start within a cell, whose power is its mean, has times to 0.3 %. The
    weak charger's current is below C/20 throughout.
    """
    factor = CELL.resistance_factor(celsius)
    full_j = CELL.full_j(limit_w, factor)
    for level, share in ((0.1, 1e-4), (0.9, 1e-4), (0.93, 3e-3)) if limit_w == LIMIT_W else ((0.1, 1e-4),):
        found = circuit(CELL, level, limit_w, factor)
        assert CELL.level_at(full_j) == pytest.approx(float(found.y[0, -1]), abs=1e-6)
        seconds = CELL.charge_s(CELL.energy_at(level), full_j, limit_w, factor)
        assert seconds == pytest.approx(float(found.t[-1]), rel=share)


def test_where_constant_current_ends_is_no_boundary_of_the_cells() -> None:
    """1 A into 0.1 Ω below 4.2 V: until the OCV is 4.1 V; then its gap to 4.2 V falls by exp(-t/RC) to 0.05 A."""
    cell = battery(
        ocv_v=(3.2, 4.2003), resistance_ohm=(0.1, 0.1), charge_a=1.0, charge_w=1000.0, limit_v=4.2, end_a=0.05
    )
    voltage_j, full_j = cell.constant_voltage_j(900.0, 1.0), cell.full_j(900.0, 1.0)
    assert cell.level_at(voltage_j) == pytest.approx(0.9 / 1.0003, rel=1e-12)
    assert cell.level_at(full_j) == pytest.approx(0.995 / 1.0003, rel=1e-12)
    assert cell.charge_s(0.0, voltage_j, 900.0, 1.0) == pytest.approx(cell.charge_c * 0.9 / 1.0003, rel=1e-12)
    capacitance = cell.charge_c / 1.0003
    expected_s = 0.1 * capacitance * math.log(20.0)
    assert cell.charge_s(voltage_j, full_j, 900.0, 1.0) == pytest.approx(expected_s, rel=1e-9)
    # What the charger gave at 4.2 V is stored or lost.
    _, lost_j = cell.charged(voltage_j, 900.0, 1.0, 2.0 * expected_s)
    assert lost_j + full_j - voltage_j == pytest.approx(4.2 * 0.095 * capacitance, rel=1e-9)


def test_a_battery_at_its_limit_even_when_empty_takes_nothing() -> None:
    cell = battery(ocv_v=(4.0, 4.1), resistance_ohm=(1.0, 1.0), limit_v=4.2, end_a=0.5)
    assert (cell.full_j(18.0, 1.0), cell.constant_voltage_j(18.0, 1.0)) == (-math.inf, -math.inf)
    for held_j in (-5.0, 0.0, 30000.0):
        assert cell.charge_powers(held_j, 18.0, 1.0) == (0.0, 0.0)
        assert cell.charged(held_j, 18.0, 1.0, 100.0) == (held_j, 0.0)
        assert cell.charge_s(held_j, held_j + 1.0, 18.0, 1.0) == math.inf


def test_without_resistance_it_is_full_where_the_voltage_comes_to_its_limit() -> None:
    cell = battery(ocv_v=(3.6, 4.2), limit_v=4.1001)
    assert cell.level_at(cell.full_j(18.0, 1.0)) == pytest.approx(0.5001 / 0.6, rel=1e-12)
    assert cell.charge_s(0.0, cell.full_j(18.0, 1.0), 18.0, 1.0) == pytest.approx(cell.full_j(18.0, 1.0) / 18.0)


def test_charging_that_would_never_end_is_refused() -> None:
    with pytest.raises(ValueError, match=r"battery: end_a is 0.0; more than 0 is needed, or charging up to limit_v"):
        battery(resistance_ohm=(0.1, 0.1), limit_v=4.0)


@pytest.mark.parametrize("limit_w", [0.04, 2.0, 5.0, LIMIT_W, 40.0])
def test_no_part_of_a_cell_takes_more_than_the_charger_gives(limit_w: float) -> None:
    for step in range(40):
        curve = CELL.charging(limit_w, 0.6 + 0.1 * step)
        assert max(map(sum, zip(curve.stored_w, curve.loss_w, strict=True))) <= limit_w * (1.0 + 1e-12)


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
