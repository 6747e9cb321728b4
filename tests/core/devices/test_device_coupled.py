"""Battery, heat and governor together, beside `solve_ivp` of all that a device holds constant for a while.

A device takes the battery's resistance at a temperature of at most 6 K from the case's, works its heat out anew when
a tenth of the charge has gone, and holds a governor's power at the middle of a step. So it must lie between two
solutions in which these are as far off as that allows; and the constants are written here, not read from the code.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest
from scipy.integrate import solve_ivp

from core.devices import Battery, Device, DeviceProfile, Governor, Heat, Radio, Work

Floats = npt.NDArray[np.float64]

BAND_K, REFRESH_SHARE = 6.0, 0.1
HEAT = Heat(160.0, 3.8, 12.0, 4.5)
IDLE_W, BUSY_W = 0.5, 4.0
PHONE = DeviceProfile("own", "", 1e9, 0.0, 1e12, IDLE_W, IDLE_W + BUSY_W, {"wifi": Radio(0.0, 0.0)}, None, HEAT)
#: One voltage, so that energy and charge are the same share; its resistance at 25 °C doubles with every 18 K of cold.
COLD = Battery(60000.0, 16.0, 1.0, ocv_v=(3.8, 3.8), resistance_ohm=(0.15, 0.15), resistance_b_k=3000.0)
#: Its resistance depends on its charge alone.
EMPTYING = Battery(60000.0, 16.0, 1.0, ocv_v=(3.8, 3.8), resistance_ohm=(0.7, 0.05))
FULL_CELL = Battery(
    60000.0, 30.0, 1.0, (0.0, 1.0), (3.6, 4.19), (0.2, 0.2), cutoff_v=3.0, limit_v=4.2, charge_a=3.0, end_a=0.2
)


def drive(device: Device, seconds: Floats, value: Callable[[float], float]) -> Floats:
    """A number of the device at these times."""
    found = []
    for second in seconds.tolist():
        while (at := device.next_timer()) <= second:
            device.on_timer(at)
        found.append(value(second))
    return np.array(found)


def case_of(device: Device) -> Callable[[float], float]:
    return lambda at: device.reading(at).case_temperature_c or math.nan


def loss_of(device: Device) -> Callable[[float], float]:
    return lambda at: device.energy_j(at)["battery_loss"]


def busy(battery: Battery, start_c: float, air_c: float) -> Device:
    """A full device that computes, as warm as `start_c`, in other air."""
    device = Device(dataclasses.replace(PHONE, battery=battery), link_kind="wifi", ambient_c=start_c)
    device.ambient_c = air_c
    device.submit(0.0, 1, Work(1e9, 0.0, 10**6))
    return device


def coupled(
    battery: Battery, start_c: float, air_c: float, seconds: Floats, *, colder_k: float = 0.0, behind: float = 0.0
) -> tuple[Floats, Floats]:
    """Case, °C, and battery loss, J, of a full phone that computes, everything continuous.

    The resistance is that of a temperature `colder_k` below the case's, its heat that of a charge `behind` higher.
    """

    def loss_w(stored_j: float, case_c: float) -> float:
        share = min(max(stored_j / battery.energy_j, 0.0), 1.0)
        factor = battery.resistance_factor(case_c - colder_k)
        ohm = float(np.interp(share, battery.levels, battery.resistance_ohm)) * factor
        load_w = IDLE_W + BUSY_W
        ocv = battery.ocv_v[0]
        amperes = (ocv - math.sqrt(ocv * ocv - 4.0 * ohm * load_w)) / (2.0 * ohm)
        return ohm * amperes * amperes

    def slope(_: float, y: Floats) -> list[float]:
        flow_w = (y[0] - y[1]) / 4.5
        now_w, heat_w = loss_w(y[2], y[1]), loss_w(y[2] + behind * battery.energy_j, y[1])
        return [
            (BUSY_W - flow_w) / 12.0,
            (IDLE_W + heat_w + flow_w - (y[1] - air_c) / 3.8) / 160.0,
            -IDLE_W - BUSY_W - now_w,
            now_w,
        ]

    start = (start_c, start_c, battery.energy_j, 0.0)
    found = solve_ivp(slope, (0.0, seconds[-1]), start, rtol=1e-7, atol=1e-6, t_eval=seconds)
    return found.y[1], found.y[3]


@pytest.mark.parametrize(("start_c", "air_c"), [(-8.0, -8.0), (45.0, -8.0)], ids=["cold, warming", "warm, cooling"])
def test_resistance_is_that_of_a_temperature_within_six_kelvin(start_c: float, air_c: float) -> None:
    """What the battery loses lies between the losses with a resistance that is 6 K too warm and 6 K too cold."""
    seconds = np.linspace(100.0, 3000.0, 30)
    ours_j = drive(device := busy(COLD, start_c, air_c), seconds, loss_of(device))
    warm_c, warm_j = coupled(COLD, start_c, air_c, seconds, colder_k=-BAND_K)
    cold_c, cold_j = coupled(COLD, start_c, air_c, seconds, colder_k=BAND_K)
    assert max(abs(warm_c[-1] - start_c), abs(cold_c[-1] - start_c)) > 15.0
    assert (warm_j <= ours_j).all()
    assert (ours_j <= cold_j).all()


@pytest.mark.parametrize("start_c", [5.0, 40.0], ids=["cold", "warm"])
def test_heat_of_the_battery_is_at_most_a_tenth_of_the_charge_old(start_c: float) -> None:
    """The resistance grows fourteenfold towards empty, its heat with it: that of a tenth of the charge ago, or less.

    A tenth at the power of its beginning is a few hundredths more at the end.
    """
    seconds = np.linspace(500.0, 9500.0, 37)
    device = busy(EMPTYING, start_c, start_c)
    ours_c = drive(device, seconds, case_of(device))
    assert device.on
    fresh_c, _ = coupled(EMPTYING, start_c, start_c, seconds)
    old_c, _ = coupled(EMPTYING, start_c, start_c, seconds, behind=1.05 * REFRESH_SHARE)
    assert fresh_c[-1] - old_c[-1] > 0.3
    assert (old_c - 1e-3 <= ours_c).all()
    assert (ours_c <= fresh_c + 1e-3).all()


def charged(seconds: Floats, start: float, ahead: float) -> Floats:
    """Case, °C, of an idle phone on its charger, whose battery's heat is that of a charge so much lower than it is."""
    cell = FULL_CELL

    def amperes(level: float) -> float:
        found = min(3.0, (4.2 - 3.6 - 0.59 * level) / 0.2)
        return found if found > 0.2 else 0.0

    def slope(_: float, y: Floats) -> list[float]:
        flow_w = (y[0] - y[1]) / 4.5
        # The heat of a charge before that at the start is the one at the start.
        now_a = amperes(y[2])
        heat_a = amperes(max(y[2] - ahead, start)) if now_a else 0.0
        return [
            -flow_w / 12.0,
            (IDLE_W + 0.2 * heat_a**2 + flow_w - (y[1] - 25.0) / 3.8) / 160.0,
            now_a / cell.charge_c,
        ]

    return solve_ivp(slope, (0.0, seconds[-1]), (25.0, 25.0, start), rtol=1e-6, t_eval=seconds, max_step=20.0).y[1]


def test_at_constant_voltage_the_heat_falls_with_the_current() -> None:
    """3 A of constant current end at once at this charge; the heat is at most that of a tenth of the charge before."""
    profile = dataclasses.replace(PHONE, battery=FULL_CELL, charge_heat_share=0.0)
    device = Device(profile, link_kind="wifi", battery_level=0.2, charging=True)
    seconds = np.linspace(500.0, 12_000.0, 47)
    ours_c = drive(device, seconds, case_of(device))
    fresh_c, old_c = charged(seconds, 0.2, 0.0), charged(seconds, 0.2, REFRESH_SHARE)
    assert (old_c - fresh_c).max() > 0.5
    assert (fresh_c - 0.02 <= ours_c).all()
    assert (ours_c <= old_c + 0.02).all()


STEPPED = Governor(37.0, 43.0, 4.0, 0.3, 1.5, 1.0)


def test_a_step_of_the_governor_has_the_mean_power_of_the_line_over_it() -> None:
    """That is the power at its middle, until the least one."""
    steps = STEPPED.steps()
    assert [enter_c for enter_c, _ in steps] == [37.0 + n for n in range(len(steps))]
    for enter_c, watts in steps[:-1]:
        assert watts == pytest.approx(0.5 * (STEPPED.power_w(enter_c) + STEPPED.power_w(enter_c + 1.0)), rel=1e-12)
    assert steps[-1][1] == STEPPED.least_w


@pytest.mark.parametrize(("start_c", "air_c"), [(25.0, 25.0), (47.0, 25.0)], ids=["cold", "warm"])
def test_steps_of_the_governor_are_right_on_the_mean(start_c: float, air_c: float) -> None:
    """Held at the middle of a step, power is off by at most half a step of the line, either way, while the case warms:
    it is off by no more than what that warms it in the end, and on the mean by a fraction of it. A step is left where
    the one below it begins: while the case cools, power may be too low by one more step."""
    heat = dataclasses.replace(PHONE, max_w=7.5, governor=STEPPED)
    device = Device(heat, link_kind="wifi", ambient_c=start_c)
    device.ambient_c = air_c
    device.submit(0.0, 1, Work(1e9, 0.0, 10**6))
    seconds = np.linspace(20.0, 3600.0, 180)
    ours_c = drive(device, seconds, case_of(device))

    def slope(_: float, y: Floats) -> list[float]:
        watts = min(STEPPED.power_w(y[1]), 7.0) if y[1] >= STEPPED.start_c else 7.0
        flow_w = (y[0] - y[1]) / 4.5
        return [(watts - flow_w) / 12.0, (IDLE_W + flow_w - (y[1] - air_c) / 3.8) / 160.0]

    theirs_c = solve_ivp(slope, (0.0, 3600.0), (start_c, start_c), rtol=1e-6, t_eval=seconds, max_step=10.0).y[1]
    most_k = 0.5 * STEPPED.step_k * STEPPED.gain_w_per_k / (1.0 / 3.8 + STEPPED.gain_w_per_k)
    off_k = ours_c - theirs_c
    assert off_k.max() <= most_k
    assert off_k.min() >= -most_k * (3.0 if start_c > air_c else 1.0)
    if start_c == air_c:
        assert abs(off_k.mean()) <= 0.25 * most_k
