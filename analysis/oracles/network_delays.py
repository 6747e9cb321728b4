"""Delays of a backbone against the law of distance, jitter and links that vary against measured ones."""

from __future__ import annotations

from itertools import combinations, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from analysis.oracles import Check, Drawing, Findings, Section, at_most
from core.devices import backbone, backbone_delays
from core.network import Autoregressive, Jitter, JitterState
from core.network.paths import LIGHT_S_PER_KM, distance_rtt_s, great_circle_km
from core.network.traces import read_trace

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MBIT: Final = 125_000.0


def _distance(_: Path) -> Findings:
    places, delays = backbone(), backbone_delays()
    pairs = list(combinations(places, 2))
    km = np.array([great_circle_km(places[a][1:], places[b][1:]) for a, b in pairs])
    rtt_ms = np.array([2e3 * min(delays[a, b], delays[b, a]) for a, b in pairs])
    law_ms = np.array([1e3 * distance_rtt_s(distance) for distance in km])
    fitted = _least_deviations(km, rtt_ms)
    matrix = "54 regions of a cloud, P95"
    light = float(np.maximum(1e3 * LIGHT_S_PER_KM * (km - 200) - rtt_ms, 0).max())
    checks = [
        Check("law of distance", "pairs of regions", matrix, 1431, len(pairs), 0),
        Check(
            "law of distance", "mean error", "reference table", 24.5, float(np.abs(law_ms - rtt_ms).mean()), 0.1, "ms"
        ),
        Check("law of distance", "intercept", "least absolute deviations", fitted[0], 11.4, 0.3, "ms"),
        Check("law of distance", "slope", "least absolute deviations", 1e3 * fitted[1], 15.66, 0.2, "ms/Mm"),
        at_most("light in fibre", "by how much a pair beats it (coordinates: to 200 km)", "2/3 c", 0.0, light, "ms"),
    ]

    def draw() -> Figure:
        from analysis.plots.style import BLUE, ORANGE, figure, legend_above

        made = figure(3.2)
        axes = made.add_subplot()
        axes.plot(km / 1e3, rtt_ms, ".", color=BLUE, markersize=2, label="pairs of regions")
        ends = np.array([0.0, km.max()])
        axes.plot(ends / 1e3, [1e3 * distance_rtt_s(end) for end in ends], color=ORANGE, label="law of distance")
        axes.plot(ends / 1e3, 1e3 * LIGHT_S_PER_KM * ends, color="black", linewidth=0.8, label="light in fibre")
        axes.set_xlabel("distance (1000 km)")
        axes.set_ylabel("round trip (ms)")
        legend_above(axes, width_in=8.0)
        return made

    caption = "Round trips between 54 regions of a cloud, the law that is used for own places, and the bound of light."
    return Findings(checks, (Drawing("network_distance", caption, draw),))


def _least_deviations(x: Any, y: Any) -> tuple[float, float]:
    """Intercept and slope with the smallest sum of absolute deviations."""
    from scipy.optimize import linprog

    count = len(x)
    found = linprog(
        np.r_[0.0, 0.0, np.ones(2 * count)],
        A_eq=np.c_[np.ones(count), x, np.eye(count), -np.eye(count)],
        b_eq=y,
        bounds=[(None, None)] * 2 + [(0, None)] * (2 * count),
    )
    return float(found.x[0]), float(found.x[1])


def _moments(logs: Any) -> tuple[float, float]:
    """Standard deviation and lag-1 autocorrelation; gaps are left out."""
    return float(np.nanstd(logs)), _correlation(logs, 1)


def _correlation(logs: Any, lag: int) -> float:
    """Autocorrelation after so many steps; gaps are left out."""
    both = np.isfinite(logs[:-lag]) & np.isfinite(logs[lag:])
    return float(np.corrcoef(logs[:-lag][both], logs[lag:][both])[0, 1])


def _jitter(data: Path) -> Findings:
    series = np.load(data / "netlatency" / "netlatency.npz")["seattle_series_s"]
    logs = [np.log(np.where(row > 0, row, np.nan)) for row in series if (row > 0).sum() >= 100]
    spread, memory = (float(np.median(values)) for values in zip(*map(_moments, logs), strict=True))
    state = JitterState(Jitter(step_s=1.0), 1, "a", "b")
    ours = _moments(np.log([state.factor(float(at)) for at in range(20_000)]))
    source = f"medians of {len(logs)} pairs of personal devices"
    made = np.log([state.factor(float(at)) for at in range(20_000, 40_000)])
    shares, lags = np.array([1, 5, 10, 25, 50, 75, 90, 95, 99]), range(1, 13)
    theirs = np.median([np.nanpercentile(row, shares) - np.nanmedian(row) for row in logs], axis=0)
    measured = [float(np.median([_correlation(row, lag) for row in logs])) for lag in lags]
    checks = [
        Check("jitter", "sd of ln RTT of a pair", source, spread, ours[0], 0.06),
        Check("jitter", "its autocorrelation from step to step", source, memory, ours[1], 0.06),
    ]

    def draw() -> Figure:
        from analysis.plots.style import BLUE, ORANGE, figure, legend_over

        drawn = figure(3.4)
        left, right = drawn.subplots(1, 2)
        left.plot(np.exp(np.percentile(made, shares)), shares, color=BLUE, label="model")
        left.plot(np.exp(theirs), shares, "o", color=ORANGE, markersize=5, label="pairs of devices, median")
        left.set_xscale("log")
        left.set_xticks([0.25, 0.5, 1.0, 2.0, 4.0, 8.0], ["1/4", "1/2", "1", "2", "4", "8"])
        left.minorticks_off()
        left.set_xlabel("round trip over its median")
        left.set_ylabel("share of steps below (%)")
        right.plot(lags, [_correlation(made, lag) for lag in lags], color=BLUE)
        right.plot(lags, measured, "o", color=ORANGE, markersize=5)
        right.set_ylim(0.0, 1.0)
        right.set_xlabel("steps")
        right.set_ylabel("autocorrelation of ln RTT")
        legend_over(drawn, left.get_legend_handles_labels()[0])
        return drawn

    caption = (
        "Jitter of a pair's round trips: quantiles and memory of the model, and of pairs of personal devices. The sd "
        "and the correlation after one step are fitted to them; the tails and what remains after many steps are not."
    )
    return Findings(checks, (Drawing("network_jitter", caption, draw),))


def _traces(data: Path) -> Findings:
    """AR(1) with a recording's own moments has its mean, if its logarithms are normal: how far is it off?"""
    rows = []
    checks = []
    points: list[tuple[float, float, float, float]] = []
    for file in sorted((data / "mahimahi_lte").glob("*LTE*.csv")):
        trace = read_trace(file.name, file.read_text(encoding="utf-8"))
        seconds = np.array(trace.rates[: len(trace.rates) // 10 * 10]).reshape(-1, 10).mean(axis=1)
        alive = np.where(seconds > 0, seconds, np.nan)
        spread, memory = _moments(np.log(alive))
        model = Autoregressive(spread, max(memory, 0.0), 1.0)
        logs = np.log([factor for _, factor in islice(model.factors(1, file.name), 20_000)])
        again = _moments(logs)
        source = "the recording, at 1 s"
        checks.append(
            Check(file.stem, "sd of ln rate of the fitted AR(1)", source, spread, again[0], 0.08, relative=True)
        )
        checks.append(Check(file.stem, "its lag-1 autocorrelation", source, memory, again[1], 0.04))
        points.append((spread, memory, *again))
        rows.append(
            (
                file.stem,
                "",
                f"{trace.mean_bytes_per_s / MBIT:.2f}",
                f"{spread:.2f}",
                f"{memory:.2f}",
                f"{100 * float((seconds == 0).mean()):.1f}",
            )
        )

    def draw() -> Figure:
        from analysis.plots.style import BLUE, ORANGE, figure, legend_above

        made = figure(3.2)
        axes = made.add_subplot()
        theirs_sd, theirs_lag, ours_sd, ours_lag = zip(*points, strict=True)
        axes.plot(theirs_lag, theirs_sd, "o", color=ORANGE, markersize=6, label="recording")
        axes.plot(ours_lag, ours_sd, "x", color=BLUE, markersize=6, label="AR(1) of these moments")
        axes.set_xlabel("autocorrelation of ln rate after 1 s")
        axes.set_ylabel("sd of ln rate")
        legend_above(axes, width_in=8.0)
        return made

    drawing = Drawing(
        "network_recordings", "Recordings of LTE in cars, and the AR(1) that is given their moments.", draw
    )
    return Findings(checks, (drawing,), ("trace", "", "mean Mbit/s", "sd of ln", "lag 1", "outage %"), rows)


SECTIONS: Final = (
    Section("Delays: distance", "The law of distance against the matrix that it was fitted to.", _distance),
    Section("Delays: jitter", "AR(1) on ln RTT against personal devices.", _jitter, ("netlatency",)),
    Section("Links that vary", "AR(1) on ln rate against recordings of LTE.", _traces, ("mahimahi_lte",)),
)
