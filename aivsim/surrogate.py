"""`aivsim surrogate`: fits learning curves to runs that trained, and states how far they are from other runs.

All figures share one progress; a, b, c, d of each (`core.records.curves`) and gamma are fitted together by nonlinear
least squares (`scipy.optimize.least_squares`, bounded), from several starts, the best of which is kept. Figures count
by their spread, so that none outweighs the others.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import click
import msgspec
import numpy as np
import numpy.typing as npt

from aivsim.errors import InputWrong
from analysis.tables import Run
from core.records import RecordsError
from core.records.curves import (
    FIGURES,
    Curve,
    FittedRun,
    LearningCurves,
    learning_of,
    read_curves,
    unlike,
    write_curves,
)

Floats = npt.NDArray[np.float64]
#: Name of the file in the folder of the first run.
FILE: Final = "surrogate.json"
#: Where only one cohort size is known: a round counts almost alike, whatever its number of results. The mean update of
#: a larger cohort is, in expectation, that of a smaller one; it varies less, which speeds learning up only where noise
#: limits it. Evidence: measured; runs of the quickstart with cohorts of 3, 7 and 14 give 0.0 to 0.3.
DEFAULT_GAMMA: Final = 0.1
#: Fewest evaluations for four parameters of a curve, and one of all.
FEWEST_POINTS: Final = 6
_C: Final = (1e-2, 1e5)
_D: Final = (1e-2, 50.0)
_STARTS: Final = ((0.3, 0.5), (1.0, 1.0), (5.0, 1.0), (30.0, 3.0), (200.0, 5.0))


@dataclasses.dataclass(frozen=True)
class Points:
    """What one run tells: results summed in each aggregated round, and for each evaluation how many of these rounds
    its model has behind it and the figures that it has."""

    run: FittedRun
    results: Floats
    rounds_behind: npt.NDArray[np.int64]
    figures: dict[str, Floats]
    learning: dict[str, str]

    def progress(self, reference_cohort: float, gamma: float) -> Floats:
        """The progress of each evaluated model."""
        steps = np.where(self.results > 0, (np.maximum(self.results, 1e-300) / reference_cohort) ** gamma, 0.0)
        return np.concatenate([[0.0], np.cumsum(steps)])[self.rounds_behind]


def points_of(directory: Path) -> Points:
    """Read a run. Raises `InputWrong` for one that did not train or was not evaluated, `RecordsError`."""
    run = Run(directory)
    manifest = run.manifest
    if manifest.fidelity != "train":
        raise InputWrong(f"{directory}: was run with fidelity {manifest.fidelity}; only runs that trained are measured")
    if manifest.outcome != "done":
        raise InputWrong(f"{directory}: this run is not done (outcome {manifest.outcome})")
    rounds, evaluations = run.rounds(), run.evaluations()
    done = rounds["outcome"] == "aggregated"
    results = rounds["accepted"][done].astype(np.float64) - np.nan_to_num(rounds["not_finite"][done].astype(np.float64))
    numbers = rounds["round"][done]
    figures = {name: evaluations[name].astype(np.float64) for name in FIGURES}
    figures = {name: values for name, values in figures.items() if np.isfinite(values).any()}
    if not results.size or "loss" not in figures or len(figures) != 2:
        raise InputWrong(f"{directory}: has no evaluations of trained models to fit a curve to")
    if not (results > 0.0).any():
        raise InputWrong(
            f"{directory}: no update of its {len(results)} aggregated rounds was used, so nothing was learned"
        )
    fine = np.logical_and.reduce([np.isfinite(values) for values in figures.values()])
    return Points(
        run=FittedRun(
            name=manifest.name,
            seed=manifest.seed,
            cohort=float(results.mean()),
            rounds=len(results),
            points=int(fine.sum()),
            model_sha256=manifest.model_sha256 or "",
        ),
        results=results,
        rounds_behind=np.searchsorted(np.sort(numbers), evaluations["round"][fine], side="right"),
        figures={name: values[fine] for name, values in figures.items()},
        learning=learning_of(manifest.scenario),
    )


def fit(runs: Sequence[Points]) -> LearningCurves:
    """Curves of all figures, and gamma where cohorts differ. Raises `ValueError` for too few points."""
    from scipy.optimize import least_squares

    names = sorted(runs[0].figures)
    count = sum(run.run.points for run in runs)
    if count < FEWEST_POINTS:
        raise ValueError(f"{count} evaluations are too few to fit a curve to; at least {FEWEST_POINTS} are needed")
    cohorts = [run.run.cohort for run in runs]
    n0 = max(cohorts)
    several = n0 > 1.05 * min(cohorts)
    measured = {name: np.concatenate([run.figures[name] for run in runs]) for name in names}
    spread = {name: max(float(np.ptp(values)), 1e-6) for name, values in measured.items()}

    def shapes(x: Floats) -> tuple[float, Floats]:
        gamma = float(x[-1]) if several else DEFAULT_GAMMA
        return gamma, np.concatenate([run.progress(n0, gamma) for run in runs])

    def residuals(x: Floats) -> Floats:
        _, progress = shapes(x)
        parts = []
        for i, name in enumerate(names):
            a, b, log_c, log_d = x[4 * i : 4 * i + 4]
            found = a + b * (1.0 + progress / np.exp(log_c)) ** -np.exp(log_d)
            parts.append((found - measured[name]) / spread[name])
        return np.concatenate(parts)

    low: list[float] = []
    high: list[float] = []
    for name in names:
        # Accuracy cannot leave 0 to 1, and the asymptote of errors and losses is not below 0.
        reach = 1.0 if name == "accuracy" else 1e3 * max(float(np.abs(measured[name]).max()), 1e-6)
        low += [0.0, -reach, *np.log([_C[0], _D[0]])]
        high += [reach, reach, *np.log([_C[1], _D[1]])]
    if several:
        low, high = [*low, 0.0], [*high, 2.0]
    best: Any = None
    for (c, d), gamma in itertools.product(_STARTS, (0.1, 0.8) if several else (DEFAULT_GAMMA,)):
        start: list[float] = []
        for name in names:
            first, last = float(measured[name][0]), float(measured[name][-1])
            start += [last, first - last, float(np.log(c)), float(np.log(d))]
        start += [gamma] if several else []
        inside = np.clip(start, np.array(low) + 1e-9, np.array(high) - 1e-9)
        found = least_squares(residuals, inside, bounds=(low, high), x_scale="jac", max_nfev=500)
        if best is None or found.cost < best.cost:
            best = found
    gamma, _ = shapes(best.x)
    errors = residuals(best.x).reshape(len(names), -1)
    curves = {}
    for i, name in enumerate(names):
        a, b, log_c, log_d = (float(value) for value in best.x[4 * i : 4 * i + 4])
        rmse = spread[name] * float(np.sqrt(np.mean(errors[i] ** 2)))
        curves[name] = Curve(a=a, b=b, c=float(np.exp(log_c)), d=float(np.exp(log_d)), rmse=rmse)
    return LearningCurves(
        curves=curves,
        reference_cohort=n0,
        gamma=gamma,
        gamma_fitted=several,
        fitted_on=tuple(run.run for run in runs),
        learning=runs[0].learning,
    )


def residual(curves: LearningCurves, runs: Sequence[Points]) -> dict[str, float]:
    """Root mean square of what the curves are off from the evaluations of runs, by figure."""
    found = {}
    for name in curves.curves:
        off = [
            curves.figure(name, progress) - value
            for run in runs
            for progress, value in zip(
                run.progress(curves.reference_cohort, curves.gamma), run.figures[name], strict=True
            )
        ]
        found[name] = float(np.sqrt(np.mean(np.square(off))))
    return found


def surrogate_command(directories: Sequence[Path], checked: Sequence[Path], out: Path | None) -> None:
    """Fit, write the file, and print what was found. Raises `InputWrong`."""
    try:
        runs = [points_of(directory) for directory in directories]
        others = [points_of(directory) for directory in checked]
        for directory, run in zip([*directories, *checked], [*runs, *others], strict=True):
            difference = unlike(runs[0].learning, run.learning)
            if difference or set(run.figures) != set(runs[0].figures):
                raise InputWrong(
                    f"{directory}: trains otherwise than {directories[0]}: {difference or 'other figures'}"
                )
        for directory, run in zip(checked, others, strict=True):
            if run.run in [fitted.run for fitted in runs]:
                raise InputWrong(f"{directory}: the curves are fitted to this run; it cannot check them")
            if not run.run.points:
                raise InputWrong(f"{directory}: has no evaluations to check by")
        curves = fit(runs)
        if others:
            seen = tuple(other.run for other in others)
            curves = msgspec.structs.replace(curves, checked_on=seen, checked_rmse=residual(curves, others))
        file = out or directories[0] / FILE
        write_curves(file, curves)
        read_curves(file)
    except (RecordsError, ValueError) as error:
        raise InputWrong(str(error)) from None
    how = "fitted" if curves.gamma_fitted else "assumed; runs of several cohort sizes would tell"
    click.echo(f"progress  (results / {curves.reference_cohort:g})^{curves.gamma:.3f} a round (exponent {how})")
    for name, curve in curves.curves.items():
        click.echo(f"{name:<9} {curve.a:.4f} {curve.b:+.4f} (1 + p / {curve.c:.4g})^-{curve.d:.4g}")
    for run in runs:
        click.echo(_line("fitted on", run.run, residual(curves, [run])))
    for run in others:
        click.echo(_line("checked on", run.run, residual(curves, [run])))
    click.echo(_total("fitted on all", residual(curves, runs)))
    if others:
        click.echo(_total("checked on all", curves.checked_rmse))
    click.echo(f"written   {file}; a scenario uses it with numerics.fidelity: surrogate and numerics.surrogate: {file}")


def _line(what: str, run: FittedRun, off: dict[str, float]) -> str:
    return _total(f"{what} {run.name}, seed {run.seed}, cohort {run.cohort:g}, {run.points} evaluations", off)


def _total(what: str, off: dict[str, float]) -> str:
    return f"{what}: RMSE " + ", ".join(f"{name} {value:.4f}" for name, value in off.items())
