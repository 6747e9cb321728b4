"""The distance between a simulated study and the same on sockets: errors by metric, as lines, a page and a plot.

An error is |simulated − real| / real, of one transfer, one round or one message; stated are the median and the 95th
percentile of many. What constants were fitted on is no evidence: errors of the calibrated simulator are those of the
settings that the fit has not seen. Where losses are drawn, medians of repetitions are compared; what chance alone does
to them is stated beside.
"""

from __future__ import annotations

import dataclasses
import io
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final

import numpy as np

from analysis import sheets, units
from analysis.study import Study
from analysis.target import usual
from core.records.store import write_whole

#: From this size on transfers have a goal.
LARGE_BYTES: Final = 100_000
#: Median and 95th percentile of the error that are aimed at: of large transfers, and of rounds (median only).
TRANSFER_GOAL: Final = (0.05, 0.10)
ROUND_GOAL: Final = (0.05, float("inf"))
#: Of fewer errors one in twenty says nothing.
LEAST_FOR_P95: Final = 20


@dataclasses.dataclass(frozen=True)
class Point:
    """One setting of the sweep: what the simulator says with ideal links, with a transport's usual constants (medians)
    and with fitted ones (every drawn time), and every measured repetition, s."""

    rate_bytes_per_s: float
    delay_s: float
    loss: float
    flows: int
    size_bytes: int
    ideal_s: float
    default_s: float
    calibrated_s: tuple[float, ...]
    measured_s: tuple[float, ...]
    #: Whether the constants were fitted on it.
    seen: bool

    @property
    def real_s(self) -> float:
        """The median repetition."""
        return float(np.median(self.measured_s))

    @property
    def predicted_s(self) -> float:
        """The calibrated simulator's median."""
        return float(np.median(self.calibrated_s))

    @property
    def chance_s(self) -> float:
        """The median of as few simulated times as were measured: what a perfect model would be compared with."""
        return float(np.median(self.calibrated_s[: len(self.measured_s)]))

    def within(self) -> list[bool]:
        """Of each repetition, whether it is between the 5th and the 95th percentile of the simulated times, or as near
        to them as the goal for medians: small messages mostly meet no loss, and all take the same."""
        low, high = np.quantile(self.calibrated_s, (0.05, 0.95)) * (1.0 - TRANSFER_GOAL[0], 1.0 + TRANSFER_GOAL[0])
        return [bool(low <= seconds <= high) for seconds in self.measured_s]

    @property
    def spread(self) -> float:
        """How far repetitions lie from their median, as the median of their relative distances."""
        return float(np.median(np.abs(np.array(self.measured_s) / self.real_s - 1.0)))


@dataclasses.dataclass(frozen=True)
class Metric:
    """One metric in both worlds: medians, and the errors of its samples."""

    name: str
    unit: str
    simulated: float
    real: float
    errors: tuple[float, ...]
    goal: tuple[float, float] | None = None

    @property
    def median(self) -> float:
        """The median error."""
        return float(np.median(self.errors)) if self.errors else float("nan")

    @property
    def p95(self) -> float:
        """The 95th percentile of the errors; NaN of too few for one."""
        return float(np.quantile(self.errors, 0.95)) if len(self.errors) >= LEAST_FOR_P95 else float("nan")

    @property
    def met(self) -> bool | None:
        """Whether the goal is reached; None without one, or with too few errors to say."""
        if self.goal is None or (self.median <= self.goal[0] and 0.0 < self.goal[1] < np.inf and np.isnan(self.p95)):
            return None
        return bool(self.median <= self.goal[0] and not self.p95 > self.goal[1])


@dataclasses.dataclass(frozen=True)
class Validation:
    """All that was compared, and how it came about as notes."""

    name: str
    scenario: tuple[Metric, ...]
    transfers: tuple[Metric, ...]
    points: tuple[Point, ...]
    #: The fitted transport, as a piece of a scenario; empty without.
    constants: str
    notes: tuple[str, ...]


def metric(
    name: str, unit: str, simulated: Iterable[float], real: Iterable[float], goal: tuple[float, float] | None = None
) -> Metric:
    """A metric of pairs; those whose real value is 0 or that are not finite have no relative error and are left out."""
    a, b = np.array(list(simulated), np.float64), np.array(list(real), np.float64)
    held = np.isfinite(a) & np.isfinite(b) & (b > 0.0)
    a, b = a[held], b[held]
    middle = (float(np.median(a)), float(np.median(b))) if len(a) else (float("nan"), float("nan"))
    return Metric(name, unit, *middle, tuple((np.abs(a - b) / b).tolist()), goal)


# The sweep.


def transfer_metrics(points: Sequence[Point]) -> tuple[Metric, ...]:
    """Errors of the simulator: with ideal links, and with usual and fitted constants of the transport at the settings
    that the fit has not seen."""
    found: list[Metric] = []

    def add(name: str, chosen: Sequence[Point], goal: tuple[float, float] | None = None) -> None:
        unseen = [point for point in chosen if not point.seen]
        if not unseen:
            return
        real_s = [point.real_s for point in unseen]
        found.append(metric(f"{name}: ideal links", "s", [point.ideal_s for point in unseen], real_s))
        found.append(metric(f"{name}: usual constants", "s", [point.default_s for point in unseen], real_s))
        predicted_s = [point.predicted_s for point in unseen]
        found.append(metric(f"{name}: calibrated", "s", predicted_s, real_s, goal=goal))
        if any(point.loss for point in unseen):
            few_s = [point.chance_s for point in unseen]
            found.append(metric(f"{name}: chance alone", "s", predicted_s, few_s))

    large = [point for point in points if point.size_bytes >= LARGE_BYTES]
    name = f"transfers from {size(LARGE_BYTES)} on"
    add("small message", [point for point in points if point.size_bytes == 0])
    add(f"transfers below {size(LARGE_BYTES)}", [point for point in points if 0 < point.size_bytes < LARGE_BYTES])
    add(name, large, TRANSFER_GOAL)
    for loss in sorted({point.loss for point in large}):
        add(f"{name}, {_loss(loss)}", [point for point in large if point.loss == loss], TRANSFER_GOAL)
    for flows in sorted({point.flows for point in large}):
        many = f"{flows} at once" if flows > 1 else "alone"
        add(f"{name}, {many}", [point for point in large if point.flows == flows])
    for size_bytes in sorted({point.size_bytes for point in points} - {0}):
        add(f"transfers of {size(size_bytes)}", [point for point in points if point.size_bytes == size_bytes])
    return tuple(found)


def size(size_bytes: int) -> str:
    """A size in words."""
    return units.text(size_bytes, "B") if size_bytes else "a small message"


def _loss(loss: float) -> str:
    return f"{100.0 * loss:g} % loss" if loss else "no loss"


# The scenario.


def scenario_metrics(simulated: Study, real: Study) -> tuple[Metric, ...]:
    """The scenario's rounds, messages, bytes and learning in both worlds."""
    found = [
        metric("round time", "s", *_common(_rounds(simulated), _rounds(real)), goal=ROUND_GOAL),
        metric("time to an accuracy", "s", *_common(_reached(simulated), _reached(real))),
        *_latencies(simulated, real),
    ]
    counts = [(study.run.table("messages").num_rows, study.total_bytes) for study in (simulated, real)]
    found.append(metric("messages", "1", [counts[0][0]], [counts[1][0]], goal=(0.0, 0.0)))
    found.append(metric("bytes", "B", [counts[0][1]], [counts[1][1]], goal=(0.0, 0.0)))
    length = metric("length of the study", "s", [simulated.duration_s], [real.duration_s])
    return (*found, length)


def _rounds(study: Study) -> dict[float, float]:
    rounds = study.run.rounds()
    return dict(zip(rounds["round"].tolist(), (rounds["ended_s"] - rounds["started_s"]).tolist(), strict=True))


def _reached(study: Study) -> dict[float, float]:
    return {level.level: level.time_s for level in usual(study)}


def _common(a: Mapping[float, float], b: Mapping[float, float]) -> tuple[list[float], list[float]]:
    keys = [key for key in a if key in b]
    return [a[key] for key in keys], [b[key] for key in keys]


def _latencies(simulated: Study, real: Study) -> list[Metric]:
    """Times of messages by type: the k-th from one actor to another in one world beside that in the other."""
    took = [_times(study) for study in (simulated, real)]
    found = []
    for kind in sorted({kind for kind, *_ in took[0]} & {kind for kind, *_ in took[1]}):
        pairs = [
            (a, b)
            for key in took[0]
            if key[0] == kind and key in took[1]
            for a, b in zip(took[0][key], took[1][key], strict=False)
        ]
        found.append(metric(f"time of a {kind}", "s", [a for a, _ in pairs], [b for _, b in pairs]))
    return found


def _times(study: Study) -> dict[tuple[str, str, str], list[float]]:
    """Times of messages by type, sender and receiver, in order of their sending."""
    columns = study.run.messages()
    order = np.argsort(columns["sent_s"], kind="stable")
    found: dict[tuple[str, str, str], list[float]] = defaultdict(list)
    names = [columns[name][order] for name in ("type", "sender", "receiver")]
    seconds = (columns["delivered_s"] - columns["sent_s"])[order]
    for kind, sender, receiver, took in zip(*names, seconds.tolist(), strict=True):
        found[str(kind), str(sender), str(receiver)].append(took)
    return found


# Words and pages.


def lines(validation: Validation) -> list[str]:
    """The validation as lines for a terminal."""
    from analysis.compare import aligned

    table = [_HEADS, *(_row(m) for m in (*validation.scenario, *validation.transfers))]
    return [
        *(line.rstrip().replace("\u00a0", " ").replace("\u202f", " ") for line in aligned(table)),
        "",
        *validation.notes,
        *(("", "The transport, for a scenario:", *validation.constants.splitlines()) if validation.constants else ()),
    ]


_HEADS: Final = ("", "simulated", "real", "median error", "p95", "of", "goal")


def _row(m: Metric) -> tuple[str, ...]:
    goal = ""
    if m.goal is not None:
        median, p95 = m.goal
        aimed = f"{100 * median:g} %{f', p95 {100 * p95:g} %' if np.isfinite(p95) else ''}" if any(m.goal) else "exact"
        verdict = {True: "reached", False: "missed", None: "too few to say"}[m.met]
        goal = f"{verdict}: {aimed}"
    values = [_shown(value, m.unit) for value in (m.simulated, m.real)]
    return (m.name, *values, units.percent(m.median), units.percent(m.p95), units.count(len(m.errors)), goal)


def _shown(value: float, unit: str) -> str:
    return units.duration(value) if unit == "s" else units.count(value) if unit == "1" else units.text(value, unit)


def write_validation(validation: Validation, directory: Path) -> Path:
    """Write `validation.html` and `validation.png` into a folder; the page's path. Raises `RecordsError`."""
    from analysis.plots.style import styled
    from analysis.plots.validation import distance
    from analysis.report import pages

    plots = []
    if validation.points:
        with styled():
            plot, picture = distance(validation.points)
        plots.append(plot)
        sink = io.BytesIO()
        picture.savefig(sink, format="png", dpi=144, metadata={"Software": None})
        write_whole(directory / "validation.png", sink.getvalue())
    text = (
        pages()
        .get_template("validation.html")
        .render(
            title=f"{validation.name}: the distance to sockets",
            scenario=_sheet(validation.scenario) if validation.scenario else None,
            transfers=_sheet(validation.transfers) if validation.transfers else None,
            constants=validation.constants,
            points=_points(validation.points) if validation.points else None,
            plots=plots,
            notes=validation.notes,
        )
    )
    write_whole(directory / "validation.html", text.encode())
    return directory / "validation.html"


def _sheet(metrics: Sequence[Metric]) -> sheets.Sheet:
    return sheets.sheet(("metric", *_HEADS[1:]), [_row(m) for m in metrics])


def _points(points: Sequence[Point]) -> sheets.Sheet:
    """Every setting; times in the simulator with how far they are off."""

    def beside(value_s: float, real_s: float) -> str:
        return f"{units.duration(value_s)}, {100 * (value_s / real_s - 1):+.0f}\u00a0%"

    rows = [
        (
            f"{point.rate_bytes_per_s * 8e-6:g} Mbit/s",
            f"{point.delay_s * 1e3:g} ms",
            f"{100 * point.loss:g} %",
            f"{point.flows} × {size(point.size_bytes) if point.size_bytes else 'small'}",
            units.duration(point.real_s),
            units.percent(point.spread),
            *(beside(value_s, point.real_s) for value_s in (point.ideal_s, point.default_s, point.predicted_s)),
            "fit" if point.seen else "test",
        )
        for point in points
    ]
    heads = ("rate", "delay", "loss", "sent", "real", "spread", "ideal", "usual", "calibrated", "half")
    return sheets.sheet(heads, rows, text=0)
