"""Heat and throttling against an ODE solver, tabled crossing times and the closed form of a proportional governor."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from analysis.oracles import Check, Drawing, Findings, Section, at_most
from core.devices import (
    Device,
    DeviceProfile,
    Governor,
    Heat,
    JobDone,
    Radio,
    Work,
    profile,
)
from core.devices.processor import POWER_EXPONENT

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PHONE: Final = Heat(160.0, 3.8, 12.0, 4.5)
AIR_C: Final = 25.0
ELSEWHERE_W: Final = 0.5
#: Time to a skin of 39, 43 and 45 °C at SoC powers, s (None: never); computed with an independent solver.
CROSSINGS: Final = {
    4.0: (1169.0, None, None),
    5.0: (776.0, 1346.0, 2116.0),
    6.0: (598.0, 906.0, 1139.0),
    8.0: (423.0, 585.0, 684.0),
}
GOVERNOR: Final = Governor(37.0, 43.0, 4.0, 0.3, 2.5, 0.05)


def _solve(slope: Any, seconds: float, start: tuple[float, ...], at: Any = None) -> Any:
    from scipy.integrate import solve_ivp

    return solve_ivp(slope, (0.0, seconds), start, method="DOP853", rtol=1e-12, atol=1e-10, t_eval=at)


def _exactness(_: Path) -> Findings:
    def slope(_: float, t: Any) -> list[float]:
        flow_w = (t[0] - t[1]) / 4.5
        return [(soc_w - flow_w) / 12.0, (case_w + flow_w - (t[1] - AIR_C) / 3.8) / 160.0]

    times = np.linspace(0.0, 3000.0, 61)
    runs: list[tuple[str, Any, Any]] = []
    for soc_w, case_w, soc_c, case_c in ((8.0, 0.5, 25.0, 25.0), (0.0, 0.0, 70.0, 41.0), (3.0, 2.0, 30.0, 45.0)):
        ours = np.array([PHONE.after(soc_c, case_c, soc_w, case_w, AIR_C, float(second)) for second in times]).T
        name = f"{soc_w:g} W and {case_w:g} W, from {soc_c:g} and {case_c:g} °C"
        runs.append((name, ours, _solve(slope, 3000.0, (soc_c, case_c), times).y))
    worst = max(float(np.abs(ours - solved).max()) for _, ours, solved in runs)
    solver = "scipy's solve_ivp (DOP853)"
    checks = [at_most("two nodes", "largest difference over three runs of 3000 s", solver, 1e-6, worst, "K")]
    for soc_w, row in CROSSINGS.items():
        for target_c, seconds in zip((39.0, 43.0, 45.0), row, strict=True):
            ours_s = PHONE.crossing_s(AIR_C, AIR_C, soc_w, ELSEWHERE_W, AIR_C, target_c)
            name = f"{soc_w:g} W to {target_c:g} °C"
            if seconds is None:
                said = "never reached: skin in the end below it"
                end_c = PHONE.steady(soc_w, ELSEWHERE_W, AIR_C)[1]
                margin = max(end_c - target_c, 0.0) if ours_s == math.inf else math.inf
                checks.append(at_most(name, said, "steady state", 0.0, margin, "K"))
            else:
                checks.append(Check(name, "time of the crossing", "reference table", seconds, ours_s, 1.0, "s"))
    for target_c, watts in ((39.0, 3.18), (43.0, 4.24), (45.0, 4.76)):
        ours_w = (target_c - AIR_C) / PHONE.case_to_air_k_per_w - ELSEWHERE_W
        steady_c = PHONE.steady(ours_w, ELSEWHERE_W, AIR_C)[1]
        checks.append(
            Check(f"skin held at {target_c:g} °C", "sustainable power", "reference table", watts, ours_w, 0.01, "W")
        )
        checks.append(Check(f"skin at {ours_w:.2f} W", "steady state", "closed form", target_c, steady_c, 1e-9, "°C"))

    def draw() -> Figure:
        from analysis.plots.style import BLUE, GREEN, ORANGE, figure, legend_over

        made = figure(3.4)
        left, right = made.subplots(1, 2)
        for (name, ours, solved), colour in zip(runs, (BLUE, ORANGE, GREEN), strict=True):
            left.plot(times / 60.0, ours[1], color=colour, label=name)
            left.plot(times / 60.0, ours[0], color=colour, linestyle="--", linewidth=1.2)
            left.plot(times[::5] / 60.0, solved[:, ::5].T, ".", color="black", markersize=3)
            right.plot(times[1:] / 60.0, np.abs(ours - solved).max(axis=0)[1:], color=colour)
        right.axhline(1e-6, color="black", linestyle=":", linewidth=1.2)
        right.set_yscale("log")
        right.set_ylim(1e-14, 1e-5)
        left.set_ylabel("skin, and (dashed) processor (°C)")
        right.set_ylabel("largest difference (K)")
        for axes in (left, right):
            axes.set_xlabel("time (min)")
        legend_over(made, left.get_legend_handles_labels()[0])
        return made

    caption = (
        "Two nodes by the closed form, with solve_ivp as dots, for powers of processor and case; and their differences "
        "beside the goal (dotted)."
    )
    return Findings(checks, (Drawing("heat_nodes", caption, draw),))


def _governed(heat: Heat, governor: Governor, max_w: float) -> Device:
    """A device without battery that computes at full load from the temperature of the air on."""
    device = Device(
        DeviceProfile("governed", "", 1e9, 0.0, 1e12, 0.0, max_w, {"wifi": Radio(0.0, 0.0)}, None, heat, (), governor),
        link_kind="wifi",
        ambient_c=AIR_C,
    )
    device.submit(0.0, 1, Work(1e9, 0.0, 100_000))
    return device


def _until(device: Device, now: float) -> None:
    while device.next_timer() <= now:
        device.on_timer(device.next_timer())


def _continuous(governor: Governor, max_w: float, seconds: float) -> tuple[Any, Any, Any]:
    """Skin, °C, and work done, s at full speed, under the governor that acts all the time, with two nodes."""

    def power_w(case_c: float) -> float:
        return min(governor.power_w(case_c), max_w) if case_c >= governor.start_c else max_w

    def slope(_: float, t: Any) -> list[float]:
        flow_w, watts = (t[0] - t[1]) / 4.5, power_w(t[1])
        return [
            (watts - flow_w) / 12.0,
            (flow_w - (t[1] - AIR_C) / 3.8) / 160.0,
            (watts / max_w) ** (1 / POWER_EXPONENT),
        ]

    from scipy.integrate import solve_ivp

    times = np.linspace(0.0, seconds, 361)
    found = solve_ivp(slope, (0.0, seconds), (AIR_C, AIR_C, 0.0), rtol=1e-8, atol=1e-8, t_eval=times, max_step=2.0)
    return times, found.y[1], found.y[2]


def _governor(_: Path) -> Findings:
    # One node: C dT/dt = S + K (Tt - T) - (T - Ta)/R has the time constant C / (1/R + K).
    one_node = Heat(160.0, 3.8)
    conductance = 1.0 / 3.8 + GOVERNOR.gain_w_per_k
    end_c = (AIR_C / 3.8 + GOVERNOR.sustainable_w + GOVERNOR.gain_w_per_k * GOVERNOR.target_c) / conductance
    end_w = GOVERNOR.power_w(end_c)
    device = _governed(one_node, GOVERNOR, 7.0)
    _until(device, 6000.0)
    case_c = device.reading(6000.0).case_temperature_c or math.nan
    speed = device.reading(6000.0).speed
    checks = [
        Check(
            "time constant", "C / (1/R + K) with the Pixel 6's K", "closed form", 284.0, 160.0 / conductance, 0.5, "s"
        ),
        Check("end of the closed form", "temperature", "closed form", 41.7, end_c, 0.05, "°C"),
        Check("end of the closed form", "power", "closed form", 4.39, end_w, 0.01, "W"),
        Check(
            "the device's end", "skin after 6000 s at 7 W, in steps of 0.05 K", "closed form", end_c, case_c, 0.05, "°C"
        ),
        Check("the device's end", "speed", "(P/Pmax)^(1/2.4)", (end_w / 7.0) ** (1 / 2.4), speed, 0.01, relative=True),
    ]
    drawn: dict[float, list[float]] = {}
    times, skin, work = _continuous(GOVERNOR, 7.0, 3600.0)
    for step_k in (0.25, 0.05):
        stepped = _governed(PHONE, GOVERNOR._replace(step_k=step_k), 7.0)
        ours = []
        for second in times:
            _until(stepped, float(second))
            ours.append(stepped.reading(float(second)).case_temperature_c or math.nan)
        drawn[step_k] = ours
        worst = float(np.abs(np.array(ours) - skin).max())
        said = f"skin in steps of {step_k:g} K, largest difference in an hour"
        checks.append(at_most("two nodes", said, "solve_ivp, governor without steps", step_k, worst, "K"))
    # The throttled speed slows the running job: it ends when the integral of the speed is its work.
    job_s = 2400.0
    expected_s = float(np.interp(job_s, work, times))
    slowed = _governed(PHONE, GOVERNOR, 7.0)
    slowed.cancel(0.0, 1)
    slowed.submit(0.0, 2, Work(1e9, 0.0, int(job_s)))
    done_s = math.nan
    while math.isnan(done_s):
        at = slowed.next_timer()
        done_s = at if any(isinstance(effect, JobDone) for effect in slowed.on_timer(at)) else math.nan
    said = "end of a job of 2400 s at full speed"
    checks.append(Check("throttled job", said, "solve_ivp of its work", expected_s, done_s, 0.002, "s", relative=True))
    high = Device(profile("phone_high"), link_kind="wifi", charging=True)
    high.submit(0.0, 1, Work(1e12, 0.0, 100_000))
    shares = []
    for minute in (15, 20):
        _until(high, minute * 60.0)
        shares.append(high.reading(minute * 60.0).speed)
    for minute, share in zip((15, 20), shares, strict=True):
        said = f"speed after {minute} min at full load and 25 °C, on its charger"
        checks.append(Check("phone_high", said, "stress tests settle at 60 to 80 %", 0.7, share, 0.1))

    def draw() -> Figure:
        from analysis.plots.style import BLUE, ORANGE, figure, legend_above

        made = figure(3.2)
        axes = made.add_subplot()
        axes.plot(times / 60.0, skin, color="black", linewidth=1.2, label="solve_ivp")
        for (step_k, values), colour in zip(drawn.items(), (ORANGE, BLUE), strict=True):
            axes.plot(times / 60.0, values, color=colour, linestyle="--", label=f"device, steps of {step_k:g} K")
        axes.set_xlabel("time (min)")
        axes.set_ylabel("skin (°C)")
        legend_above(axes, width_in=8.0)
        return made

    caption = "A phone at full load under its governor: an ODE solver, and the device between its events."
    return Findings(checks, (Drawing("heat_governor", caption, draw),))


def _severities(_: Path) -> Findings:
    """A device in an oven: severities come at their temperatures, and it turns off and comes back."""
    phone = profile("phone_high")
    levels = dataclasses.replace(phone, governor=None, radios={"wifi": Radio(0.0, 0.0)})
    device = Device(levels, link_kind="wifi", ambient_c=60.0, charging=True)
    checks = []
    device.on_timer(0.0)
    checks.append(Check("oven of 60 °C", "severity at once, shutdown", "Android's levels", 6.0, device.severity, 0.0))
    checks.append(Check("oven of 60 °C", "whether it is on", "Android: shutdown", 0.0, float(device.on), 0.0))
    warm = Device(levels, link_kind="wifi", ambient_c=25.0, charging=True, battery_level=1.0)
    warm.submit(0.0, 1, Work(1e12, 0.0, 100_000))
    for severity, threshold_c in enumerate((39.0, 43.0, 45.0), start=1):
        while warm.severity < severity:
            warm.on_timer(warm.next_timer())
        at = warm.next_timer()
        case_c = warm.reading(warm._at_s).case_temperature_c or math.nan
        assert at >= warm._at_s
        said = f"skin at which severity {severity} begins"
        checks.append(
            Check("phone_high without governor", said, "Pixel 10 stock values", threshold_c, case_c, 1e-6, "°C")
        )
    return Findings(checks)


SECTIONS: Final = (
    Section("Heat: two nodes", "Closed forms against an ODE solver and a table of crossing times.", _exactness),
    Section(
        "Heat: the governor",
        "The governor's steps against the governor that acts all the time, its closed form, and what becomes of a job.",
        _governor,
    ),
    Section("Heat: severities", "Android's thermal status by the temperature of the skin.", _severities),
)
