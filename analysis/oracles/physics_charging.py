"""Charging at constant current, then at constant voltage: against the circuit's own ODE, and against PyBaMM's model."""

from __future__ import annotations

import csv
import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from analysis.oracles import Check, Drawing, Findings, Section, at_most
from analysis.oracles.physics_battery import MODEL, MODEL_AH, Floats, catalogue_cell, samples
from core.devices import Battery, profile

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: PyBaMM's phase at constant voltage, from 0.5C to C/20 at 25 °C: its time and its charge, to two digits.
VOLTAGE_H, VOLTAGE_AH = 0.37, 0.17
#: What the voltage is known to be off while charging, RMSE: see docs/physics.md.
KNOWN_MV: Final = 75.0
SOLVER: Final = "scipy's solve_ivp, rtol 1e-9"


def circuit(battery: Battery, level: float, limit_w: float, factor: float) -> Any:
    """The circuit's ODE ds/dt = I(s) / Q, on curves that are not cut into cells, from a level until it is full."""
    from scipy.integrate import solve_ivp

    charge_c = battery.charge_c

    def amperes(at: float) -> tuple[float, float]:
        volts = float(np.interp(at, battery.levels, battery.ocv_v))
        ohm = float(np.interp(at, battery.levels, battery.resistance_ohm)) * factor * battery.charge_resistance_ratio
        by_power_a = 2.0 * limit_w / (volts + (volts * volts + 4.0 * ohm * limit_w) ** 0.5)
        return (battery.limit_v - volts) / ohm, min(battery.charge_a, by_power_a)

    def full(_: float, state: Any) -> float:
        by_voltage_a, constant_a = amperes(state[0])
        return by_voltage_a - min(battery.end_a, constant_a) if state[0] < 1.0 else -1.0

    full.terminal = True  # type: ignore[attr-defined]
    return solve_ivp(
        lambda _, state: [min(amperes(state[0])) / charge_c],
        (0.0, 1e7),
        (level,),
        events=full,
        rtol=1e-9,
        atol=1e-12,
        max_step=300.0,
    )


def _same_circuit(_: Path) -> Findings:
    battery = profile("phone_mid").battery
    assert battery is not None
    limit_w = battery.spare_w(0.0)
    checks = []
    for celsius in (-10.0, 5.0, 25.0, 45.0):
        factor = battery.resistance_factor(celsius)
        found = circuit(battery, 0.1, limit_w, factor)
        full_j = battery.full_j(limit_w, factor)
        ours_s = battery.charge_s(battery.energy_at(0.1), full_j, limit_w, factor)
        what = f"phone_mid at {celsius:g} °C"
        said = "time from 10 % to full"
        checks.append(Check(what, said, SOLVER, float(found.t[-1]), ours_s, 1e-4, "s", relative=True))
        off = abs(battery.level_at(full_j) - float(found.y[0, -1]))
        checks.append(at_most(what, "level at which it is full, difference", SOLVER, 1e-6, off))
    return Findings(checks)


def _factor(cell: Battery, row: dict[str, str]) -> float:
    """Factor of the resistance in one of the model's runs, which warms as it goes: half of its peak is its mean."""
    return cell.resistance_factor(0.5 * (float(row["ambient_C"]) + float(row["max_temp_C"])))


def _terminal(cell: Battery, factor: float, seconds: Floats) -> tuple[Floats, Floats]:
    """Terminal voltage and current at these times of charging from 10 % on."""
    limit_w = cell.spare_w(0.0)
    held = [cell.charged(cell.energy_at(0.1), limit_w, factor, float(t))[0] for t in seconds]
    powers = np.array([cell.charge_powers(held_j, limit_w, factor) for held_j in held])
    amperes = powers[:, 0] / np.array([cell.ocv_at(held_j) for held_j in held])
    return powers.sum(axis=1) / amperes, amperes


def _times(cell: Battery, row: dict[str, str]) -> tuple[float, float, float]:
    """Seconds at constant current from 10 % on, and at constant voltage, and the charge that this takes, Ah."""
    limit_w, factor = cell.spare_w(0.0), _factor(cell, row)
    voltage_j, full_j = cell.constant_voltage_j(limit_w, factor), cell.full_j(limit_w, factor)
    return (
        cell.charge_s(cell.energy_at(0.1), voltage_j, limit_w, factor),
        cell.charge_s(voltage_j, full_j, limit_w, factor),
        (cell.level_at(full_j) - cell.level_at(voltage_j)) * cell.charge_c / 3600.0,
    )


def _fitted_ratio(cell: Battery, row: dict[str, str]) -> float:
    """Resistance when charging over that when discharging: least squares of the relative errors of both times."""
    from scipy.optimize import minimize_scalar

    def squares(ratio: float) -> float:
        current_s, voltage_s, _ = _times(dataclasses.replace(cell, charge_resistance_ratio=ratio), row)
        return (current_s / float(row["duration_s"]) - 1.0) ** 2 + (voltage_s / 3600.0 / VOLTAGE_H - 1.0) ** 2

    return float(minimize_scalar(squares, bounds=(1.0, 2.0), method="bounded", options={"xatol": 1e-4}).x)


def _model(data: Path) -> Findings:
    cell = catalogue_cell(MODEL_AH)
    with (data / "pybamm_golden" / "summary.csv").open(newline="", encoding="utf-8") as stream:
        runs = {float(row["ambient_C"]): row for row in csv.DictReader(stream) if row["protocol"].startswith("Charge")}
    warm, sampled = runs[25.0], samples(data)
    said = "ratio of resistances, fitted to the two times at 25 °C"
    ratio = cell.charge_resistance_ratio
    checks = [Check("charging resistance", said, "the catalogue's", ratio, _fitted_ratio(cell, warm), 0.005)]
    for celsius, row in runs.items():
        what = f"charging with 0.5C at {celsius:g} °C"
        said = "time from 10 % to constant voltage" + ("" if row is warm else ", which was not fitted")
        reference = float(row["duration_s"])
        checks.append(Check(what, said, MODEL, reference, _times(cell, row)[0], 0.03, "s", relative=True))
        seconds, volts = sampled[row["run"]]
        error = _terminal(cell, _factor(cell, row), seconds)[0] - volts
        rmse = float(np.sqrt(np.mean(error**2))) * 1e3
        checks.append(at_most(what, "RMSE of the voltage up to there", MODEL, 35.0, rmse, "mV", known=KNOWN_MV))
    what = "charging at 4.2 V at 25 °C, from 0.5C to C/20"
    _, voltage_s, taken_ah = _times(cell, warm)
    checks.append(Check(what, "time", MODEL, VOLTAGE_H, voltage_s / 3600.0, 0.03, "h", relative=True))
    checks.append(Check(what, "charge taken", MODEL, VOLTAGE_AH, taken_ah, 0.03, "Ah", relative=True, known=0.16))

    def draw() -> Figure:
        from analysis.plots.style import BLUE, ORANGE, figure, legend_over

        limit_w, factor = cell.spare_w(0.0), _factor(cell, warm)
        ohm = np.array(cell.resistance_ohm) * factor * cell.charge_resistance_ratio
        found = circuit(cell, 0.1, limit_w, factor)
        level = found.y[0]
        ocv = np.interp(level, cell.levels, cell.ocv_v)
        amperes = np.minimum(cell.charge_a, (cell.limit_v - ocv) / np.interp(level, cell.levels, ohm))
        volts = ocv + amperes * np.interp(level, cell.levels, ohm)
        times = np.linspace(0.0, float(found.t[-1]) * (1.0 - 1e-9), 1200)
        ours_v, ours_a = _terminal(cell, factor, times)
        drawn = figure(3.4)
        left, right = drawn.subplots(1, 2)
        seconds, theirs_v = sampled[warm["run"]]
        left.plot(times / 60.0, ours_v, color=BLUE, label="the device's cells")
        left.plot(found.t / 60.0, volts, color="black", linestyle=":", linewidth=1.2, label="solve_ivp")
        left.plot(seconds[::6] / 60.0, theirs_v[::6], ".", color=ORANGE, markersize=5, label="PyBaMM")
        left.set_xlabel("time from 10 % (min)")
        left.set_ylabel("terminal voltage (V)")
        right.plot(times / 60.0, ours_a, color=BLUE)
        right.plot(found.t / 60.0, amperes, color="black", linestyle=":", linewidth=1.2)
        ends_s = float(warm["duration_s"]) + np.array([0.0, VOLTAGE_H * 3600.0])
        right.plot(ends_s / 60.0, [cell.charge_a, cell.end_a], "x", color=ORANGE, markersize=8, markeredgewidth=2)
        right.set_xlim(95.0, 135.0)
        right.set_ylim(0.0, 1.25)
        right.set_xlabel("time from 10 % (min)")
        right.set_ylabel("current (A)")
        legend_over(drawn, left.get_legend_handles_labels()[0])
        return drawn

    caption = (
        "Charging the catalogue's cell with 0.5C at 25 °C: the device, the circuit's ODE, and PyBaMM's model (crosses: "
        "beginning and end of its constant voltage)."
    )
    return Findings(checks, (Drawing("battery_charging", caption, draw),))


SECTIONS: Final = (
    Section(
        "Battery: charging, the circuit",
        "Times and levels of a phone's charging beside an ODE solver with the same circuit.",
        _same_circuit,
    ),
    Section(
        "Battery: charging",
        "The catalogue's cell charged with 0.5C and then at 4.2 V, beside an electrochemical model. The ratio of the "
        "resistances when charging and when discharging is fitted to the two times at 25 °C.",
        _model,
        ("pybamm_golden",),
    ),
)
