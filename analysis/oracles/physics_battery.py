"""The battery against a measured cell, and against PyBaMM's electrochemical model of it."""

from __future__ import annotations

import csv
import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from analysis.oracles import Check, Drawing, Findings, Section, at_most
from core.devices import Battery, ageing, profile, provenance
from core.devices.battery import REFERENCE_K

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Floats = npt.NDArray[np.float64]

#: Levels of the cell's curves, as in cells.yaml.
KNOTS: Final = (0, 0.005, 0.01, 0.02, 0.03, 0.045, 0.06, 0.08, *(n / 20 for n in range(2, 21)))
#: Above it the resistance is one number: the discharges have only begun there, and diffusion has not built up.
FLAT: Final = 0.7
RATES: Final = ("0.1", "0.5", "1")
NOMINAL_AH: Final = 2.28
#: Charge that PyBaMM's model of the cell gives; the measured cell has 2.333 Ah.
MODEL_AH: Final = 2.46
#: Weights of smoothness in the fit, on the second differences of OCV and resistance, and of the voltage at rest.
SMOOTH_OCV, SMOOTH_OHM, REST = 1.5e-4, 5e-3, 10.0
CELL: Final = "Enertech LCO cell (Ai et al. 2020), measured"
MODEL: Final = "PyBaMM 26.10, SPMe with lumped heat, Ai2020"


@dataclasses.dataclass(frozen=True)
class Curve:
    """A measured discharge at constant current: charge given, Ah, terminal voltage, V, and warming, K."""

    given_ah: Floats
    volts: Floats
    kelvin: Floats
    amperes: float


@dataclasses.dataclass(frozen=True)
class Fit:
    """Curves of a cell over its level."""

    charge_ah: float
    ocv_v: Floats
    resistance_ohm: Floats
    b_k: float

    def volts(self, curve: Curve, level: Floats, kelvin: Floats) -> Floats:
        """Terminal voltage on a measured discharge, its first sample at rest."""
        factor = np.exp(self.b_k * (1.0 / (REFERENCE_K + kelvin) - 1.0 / REFERENCE_K))
        # Below empty the voltage goes on falling as it did last.
        below = np.minimum(level, 0.0) * (self.ocv_v[1] - self.ocv_v[0]) / KNOTS[1]
        drop: Floats = curve.amperes * factor * np.interp(level, KNOTS, self.resistance_ohm)
        found: Floats = np.interp(level, KNOTS, self.ocv_v) + below - np.where(level >= 1.0, 0.0, drop)
        return found


def measured(data: Path) -> dict[str, Curve]:
    """The measured discharges by rate."""
    found = {}
    for rate in RATES:
        path = data / "enertech_lco_cell" / f"discharge_{rate}C.csv"
        table = np.genfromtxt(path, delimiter=",", names=True)
        names = table.dtype.names or ()
        amperes = float(rate) * NOMINAL_AH
        kelvin = table["temp_rise_K"] if "temp_rise_K" in names else np.zeros(len(table))
        found[rate] = Curve(table["time_s"] * amperes / 3600.0, table["voltage_V"], kelvin, amperes)
    return found


def fit(curves: list[Curve], b_k: float) -> Fit:
    """OCV and resistance, piecewise linear, that explain measured discharges: weighted least squares, smoothed."""
    slowest = min(curves, key=lambda curve: curve.amperes)
    charge_ah = float(slowest.given_ah[-1])
    if slowest.amperes > 0.15 * NOMINAL_AH:
        # What more the cell gives at 0.1C, from a line through the charges at the other rates.
        slope, at_zero = np.polyfit([c.amperes for c in curves], [c.given_ah[-1] for c in curves], 1)
        charge_ah = float(at_zero + slope * 0.1 * NOMINAL_AH)
    knots = np.array(KNOTS)
    ohm_knots = knots[knots <= FLAT]
    width = len(knots) + len(ohm_knots)
    rows: list[Floats] = []
    wanted: list[Floats] = []
    for curve in curves:
        level = 1.0 - curve.given_ah / charge_ah
        factor = np.exp(b_k * (1.0 / (REFERENCE_K + curve.kelvin) - 1.0 / REFERENCE_K))
        first = np.arange(len(level)) == 0
        weight = np.where(first, REST, 1.0) / np.sqrt(len(level))
        amperes = np.where(first, 0.0, curve.amperes) * factor
        drop = amperes[:, None] * _hats(np.minimum(level, FLAT), ohm_knots)
        rows.append(weight[:, None] * np.hstack([_hats(level, knots), -drop]))
        wanted.append(weight * curve.volts)
    for places, offset, weight_of in ((knots, 0, SMOOTH_OCV), (ohm_knots, len(knots), SMOOTH_OHM)):
        rows.append(weight_of * _second_differences(places, offset, width))
        wanted.append(np.zeros(len(places) - 2))
    found = np.linalg.lstsq(np.vstack(rows), np.concatenate(wanted), rcond=None)[0]
    ohm = np.interp(np.minimum(knots, FLAT), ohm_knots, found[len(knots) :])
    return Fit(charge_ah, found[: len(knots)], ohm, b_k)


def _hats(level: Floats, knots: Floats) -> Floats:
    """Weights of the knots' values in a piecewise linear function, [places, knots]."""
    left = np.clip(np.searchsorted(knots, level, side="right") - 1, 0, len(knots) - 2)
    right = (level - knots[left]) / (knots[left + 1] - knots[left])
    found = np.zeros((len(level), len(knots)))
    rows = np.arange(len(level))
    found[rows, left] = 1.0 - right
    found[rows, left + 1] = right
    return found


def _second_differences(knots: Floats, offset: int, width: int) -> Floats:
    steps = np.diff(knots)
    found = np.zeros((len(knots) - 2, width))
    for row in range(len(knots) - 2):
        before, after = 1.0 / steps[row], 1.0 / steps[row + 1]
        found[row, offset + row : offset + row + 3] = before, -before - after, after
    return found


def _errors(found: Fit, curve: Curve) -> tuple[float, float]:
    """RMSE of the voltage, V, and relative error of the time to the last measured voltage."""
    level = 1.0 - curve.given_ah / found.charge_ah
    error = found.volts(curve, level, curve.kelvin) - curve.volts
    fine = np.linspace(1.0, -0.02, 40801)
    kelvin = np.interp(1.0 - fine, 1.0 - level, curve.kelvin)
    below = np.flatnonzero(found.volts(curve, fine, kelvin) <= curve.volts[-1])
    end_ah = (1.0 - fine[below[0]]) * found.charge_ah if len(below) else np.nan
    return float(np.sqrt(np.mean(error**2))), float(end_ah / curve.given_ah[-1] - 1.0)


def _number(key: str) -> float:
    return next(p.value for p in provenance("phone_mid") if p.key == key)


def catalogue_cell(charge_ah: float) -> Battery:
    """The cell of the catalogue, without a pack, of a given charge, charged with 0.5C."""
    curves = {
        name: tuple(_number(f"battery.cell.{name}.{level:g}") for level in KNOTS)
        for name in ("ocv_v", "resistance_ohm")
    }
    return Battery(
        energy_j=charge_ah * 3600.0 * float(np.trapezoid(curves["ocv_v"], KNOTS)),
        charge_w=100.0,
        charge_efficiency=1.0,
        levels=tuple(map(float, KNOTS)),
        ocv_v=curves["ocv_v"],
        resistance_ohm=curves["resistance_ohm"],
        resistance_b_k=_number("battery.cell.resistance_b_k"),
        charge_resistance_ratio=_number("battery.cell.charge_resistance_ratio"),
        cutoff_v=3.0,
        limit_v=_number("battery.cell.limit_v"),
        charge_a=0.5 * NOMINAL_AH,
        end_a=NOMINAL_AH / 20.0,
    )


def _measured_section(data: Path) -> Findings:
    curves = measured(data)
    b_k = _number("battery.cell.resistance_b_k")
    checks: list[Check] = []
    held_out: dict[str, Fit] = {}
    for rate in RATES:
        found = held_out[rate] = fit([curves[other] for other in RATES if other != rate], b_k)
        rmse, in_time = _errors(found, curves[rate])
        others = " and ".join(f"{other}C" for other in RATES if other != rate)
        said = f"predicted from {others}"
        checks.append(at_most(f"{rate}C held out, voltage", f"RMSE, {said}", CELL, 35.0, rmse * 1e3, "mV"))
        checks.append(at_most(f"{rate}C held out, time", f"to the end, {said}", CELL, 3.0, abs(in_time) * 100, "%"))
    whole = fit(list(curves.values()), b_k)
    for name, ours, scale, unit in (
        ("ocv_v", whole.ocv_v, 1e3, "mV"),
        ("resistance_ohm", whole.resistance_ohm, 1e3, "mΩ"),
    ):
        listed = np.array([_number(f"battery.cell.{name}.{level:g}") for level in KNOTS])
        worst = float(np.abs(ours - listed).max()) * scale
        said = "the catalogue's values are those of the fit to all three"
        checks.append(at_most(f"catalogue, {name}", said, CELL, 1.0, worst, unit))
    cell = catalogue_cell(whole.charge_ah)
    for rate, reference_wh in (("0.1", 8.905), ("0.5", 8.662), ("1", 8.399)):
        curve = curves[rate]
        level = 1.0 - curve.given_ah / whole.charge_ah
        given_wh = float(np.trapezoid(whole.volts(curve, level, curve.kelvin), curve.given_ah))
        said = "energy given down to 3.0 V"
        checks.append(Check(f"{rate}C, energy", said, CELL, reference_wh, given_wh, 0.01, "Wh", relative=True))
    checks.append(
        Check("charge", "of the catalogue's cell", CELL, 2.333, cell.charge_c / 3600.0, 0.001, "Ah", relative=True)
    )

    def draw() -> Figure:
        from analysis.plots.style import BLUE, GREEN, ORANGE, figure, legend_above

        drawn = figure(3.4)
        axes = drawn.add_subplot()
        for rate, colour in zip(RATES, (BLUE, GREEN, ORANGE), strict=True):
            curve, found = curves[rate], held_out[rate]
            axes.plot(curve.given_ah, curve.volts, color=colour, label=f"{rate}C measured")
            volts = found.volts(curve, 1.0 - curve.given_ah / found.charge_ah, curve.kelvin)
            axes.plot(curve.given_ah, volts, color="black", linestyle=":", linewidth=1.2)
        axes.set_xlabel("charge given (Ah)")
        axes.set_ylabel("terminal voltage (V)")
        legend_above(axes, width_in=8.0)
        return drawn

    caption = "Measured discharges of the cell, and (dotted) each as predicted from the two others."
    return Findings(checks, (Drawing("battery_held_out", caption, draw),))


def _model_section(data: Path) -> Findings:
    cell = catalogue_cell(MODEL_AH)
    checks: list[Check] = []
    points: list[tuple[str, float, float]] = []
    with (data / "pybamm_golden" / "summary.csv").open(newline="", encoding="utf-8") as stream:
        runs = [row for row in csv.DictReader(stream) if row["protocol"].startswith("Discharge")]
    sampled = samples(data)
    for row in runs:
        ambient_c = float(row["ambient_C"])
        # The model warms as it goes; half of its peak stands for its mean.
        factor = cell.resistance_factor(0.5 * (ambient_c + float(row["max_temp_C"])))
        power_w = float(row["protocol"].split()[2])
        what = f"{power_w:g} W at {ambient_c:g} °C"
        ours, reference = cell.empty_s(cell.energy_j, power_w, factor), float(row["duration_s"])
        checks.append(Check(what, "time to 3.0 V", MODEL, reference, ours, 0.03, "s", relative=True))
        seconds, volts = sampled[row["run"]]
        found = [cell.discharged(cell.energy_j, power_w, factor, float(t))[0] for t in seconds]
        error = np.array([cell.terminal_v(left_j, power_w, factor) for left_j in found]) - volts
        rmse = float(np.sqrt(np.mean(error**2))) * 1e3
        checks.append(at_most(what, "RMSE of the voltage over the whole discharge", MODEL, 35.0, rmse, "mV"))
        points.append((what, reference, ours))
    checks += _other_temperature(cell, runs, sampled)

    def draw() -> Figure:
        from analysis.plots.style import BLUE, figure

        drawn = figure(3.2)
        axes = drawn.add_subplot()
        names = [name for name, _, _ in points]
        axes.barh(names, [100.0 * (ours / reference - 1.0) for _, reference, ours in points], color=BLUE)
        axes.axvline(3.0, color="black", linestyle=":")
        axes.axvline(-3.0, color="black", linestyle=":")
        axes.set_xlabel("error in time (%)")
        return drawn

    caption = "Times of the catalogue's cell beside those of PyBaMM's model; the aim is 3 % (dotted)."
    return Findings(checks, (Drawing("battery_pybamm", caption, draw),))


def _other_temperature(
    cell: Battery, runs: list[dict[str, str]], sampled: dict[str, tuple[Floats, Floats]]
) -> list[Check]:
    """The growth of resistance in the cold, fitted to 5 and 25 °C alone, at 40 °C, which it has not seen."""
    from scipy.optimize import minimize_scalar

    def squares(b_k: float, row: dict[str, str]) -> float:
        fitted = dataclasses.replace(cell, resistance_b_k=b_k)
        factor = fitted.resistance_factor(0.5 * (float(row["ambient_C"]) + float(row["max_temp_C"])))
        power_w = float(row["protocol"].split()[2])
        seconds, volts = sampled[row["run"]]
        left = [fitted.discharged(fitted.energy_j, power_w, factor, float(t))[0] for t in seconds]
        error = np.array([fitted.terminal_v(left_j, power_w, factor) for left_j in left]) - volts
        return float(np.mean(error**2))

    seen = [row for row in runs if float(row["ambient_C"]) < 30.0]
    found_k = float(
        minimize_scalar(
            lambda b_k: sum(squares(b_k, row) for row in seen),
            bounds=(0.0, 4000.0),
            method="bounded",
            options={"xatol": 10.0},
        ).x
    )
    said = "B of the resistance, fitted to 5 and 25 °C alone"
    checks = [Check("resistance in the cold", said, "the catalogue's", cell.resistance_b_k, found_k, 250.0, "K")]
    for row in runs:
        if row not in seen:
            fitted = dataclasses.replace(cell, resistance_b_k=found_k)
            factor = fitted.resistance_factor(0.5 * (float(row["ambient_C"]) + float(row["max_temp_C"])))
            power_w = float(row["protocol"].split()[2])
            what = f"{power_w:g} W at 40 °C, with B from 5 and 25 °C"
            ours, reference = fitted.empty_s(fitted.energy_j, power_w, factor), float(row["duration_s"])
            checks.append(Check(what, "time to 3.0 V", MODEL, reference, ours, 0.03, "s", relative=True))
            rmse = squares(found_k, row) ** 0.5 * 1e3
            checks.append(at_most(what, "RMSE of the voltage over the whole discharge", MODEL, 35.0, rmse, "mV"))
    return checks


def samples(data: Path) -> dict[str, tuple[Floats, Floats]]:
    """Time, s, and voltage, V, of every run by its number."""
    found: dict[str, tuple[list[float], list[float]]] = {}
    with (data / "pybamm_golden" / "spme_ai2020_runs.csv").open(newline="", encoding="utf-8") as stream:
        for row in csv.DictReader(stream):
            seconds, volts = found.setdefault(row["run"], ([], []))
            seconds.append(float(row["time_s"]))
            volts.append(float(row["voltage_V"]))
    return {run: (np.array(seconds), np.array(volts)) for run, (seconds, volts) in found.items()}


def _closed_forms(_: Path) -> Findings:
    lco = profile("phone_mid").battery
    assert lco is not None
    constant = Battery(1000.0, 16.0, 1.0, ocv_v=(4.0, 4.0), resistance_ohm=(0.5, 0.5))
    year = ageing.calendar_loss(ageing.calendar_stress(365.0 * ageing.DAY_S, 25.0, 0.5))
    # The chemical power of a constant cell, OCV (OCV - sqrt(OCV^2 - 4RP)) / 2R, by hand for 6 W.
    by_hand = 4.0 * (4.0 - np.sqrt(16.0 - 12.0)) / 1.0
    start = lco.energy_j
    seconds = lco.empty_s(start, 4.0, 1.0) * 0.9
    left_j, lost_j = lco.discharged(start, 4.0, 1.0, seconds)

    def draw() -> Figure:
        from analysis.plots.style import BLUE, GREEN, ORANGE, figure, legend_above

        drawn = figure(3.2)
        calendar, use = drawn.subplots(1, 2, sharey=True)
        years = np.linspace(0.0, 4.0, 100)
        for celsius, colour in ((15.0, GREEN), (25.0, BLUE), (35.0, ORANGE)):
            stress = [ageing.calendar_stress(365.0 * ageing.DAY_S * float(t), celsius, 0.5) for t in years]
            losses = [100.0 * ageing.calendar_loss(total) for total in stress]
            calendar.plot(years, losses, color=colour, label=f"{celsius:g} °C")
        calendar.plot([1.0], [3.8], "k+", markersize=10, label="reference")
        calendar.set_xlabel("years at half charge")
        calendar.set_ylabel("capacity lost (%)")
        cycles = np.linspace(0.0, 2000.0, 100)
        use.plot(cycles, [100.0 * ageing.cycle_loss(float(n), 0.7) for n in cycles], color=BLUE)
        use.plot([500.0], [1.9], "k+", markersize=10)
        use.set_xlabel("full cycles of 70 % depth")
        legend_above(calendar, width_in=4.0)
        return drawn

    caption = "Ageing by calendar and by use; crosses are the figures of the reference that the checks compare with."
    return Findings(
        drawings=(Drawing("battery_ageing", caption, draw),),
        checks=[
            Check(
                "constant power",
                "current of a cell of 4 V and 0.5 Ω at 6 W",
                "closed form",
                by_hand,
                constant.drain_w(500.0, 6.0, 1.0),
                1e-12,
                "W",
                relative=True,
            ),
            Check(
                "brown-out",
                "greatest power of a cell: time left just above it",
                "OCV²/4R = 8 W",
                0.0,
                constant.empty_s(500.0, 8.0 * (1 + 1e-9), 1.0),
                0.0,
                "s",
            ),
            Check(
                "conservation",
                "energy given up less load and loss, 4 W of a phone's battery",
                "first law",
                0.0,
                start - left_j - 4.0 * seconds - lost_j,
                1e-6,
                "J",
            ),
            Check(
                "ageing by calendar",
                "a year at 25 °C and half charge",
                "BLAST-Lite's NCA fit",
                3.8,
                year * 100,
                0.05,
                "%",
            ),
            Check(
                "ageing by use",
                "500 full cycles of 70 % depth",
                "BLAST-Lite's NCA fit",
                1.9,
                ageing.cycle_loss(500.0, 0.7) * 100,
                0.05,
                "%",
            ),
        ],
    )


SECTIONS: Final = (
    Section(
        "Battery: a measured cell",
        "OCV(s) and R(s) are fitted to two of three measured discharges and predict the third; the catalogue has the "
        "fit to all three.",
        _measured_section,
        ("enertech_lco_cell",),
    ),
    Section(
        "Battery: an electrochemical model",
        "The catalogue's cell, with the model's charge of 2.46 Ah, against runs at powers and temperatures that it was "
        "not fitted to. Of these runs came only B of the resistance.",
        _model_section,
        ("pybamm_golden",),
    ),
    Section("Battery: closed forms and ageing", "What needs no data.", _closed_forms),
)
