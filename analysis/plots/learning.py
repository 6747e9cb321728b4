"""Accuracy (of a regression: error) and loss of the global model against the time of the study."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from analysis import units
from analysis.plots.style import BLUE, FAINT, GREEN, VERMILLION, Plot, clock, figure, legend_over, svg, time_axis
from analysis.study import Floats, Study
from analysis.target import asked

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D


def learning(study: Study) -> Plot | None:
    """Accuracy (of a regression: error) beside loss; None if nothing was evaluated."""
    curve = study.curve
    if not np.any(np.isfinite(_score(study))):
        return None
    drawn = draw_learning([(study, "", BLUE)])
    final = " ".join(study.score[::-1]) if study.is_regression else study.score[1]
    every = "each round" if len(curve.round) == len(study.run.rounds()["round"]) else "the rounds with a dot"
    caption = f"The model after {every} on the pooled held-out examples; it ends at {final}."
    if study.origin:
        caption += f" The figures are {study.origin}."
    reference = study.manifest.reference
    if reference is not None:
        caption += f" Dashed: the reference, {units.percent(reference.accuracy)} ({reference.source})."
    target = asked(study)
    if target is not None:
        caption += f" Dotted: the target, {study.score_text(target)}."
    caption += " Ticks along the bottom are the ends of rounds."
    return Plot("learning", "How well it learned", caption, svg(drawn, "learning", caption))


def draw_learning(studies: list[tuple[Study, str, str]]) -> Figure:
    """Curves of one or more runs (study, name, colour) in two panels; of one run with its reference and rounds."""
    from matplotlib.ticker import MaxNLocator

    drawn = figure(3.3)
    left, right = drawn.subplots(1, 2)
    longest_s = max(study.duration_s for study, _, _ in studies)
    worlds = {study.manifest.world for study, _, _ in studies}
    name_of_time = clock(worlds.pop() if len(worlds) == 1 else "real")
    factor = time_axis(left, 0.0, longest_s, name_of_time)
    time_axis(right, 0.0, longest_s, name_of_time)
    lines = []
    for i, (study, name, colour) in enumerate(studies):
        dashes = "-" if i == 0 else (0, (4, 2))
        lines += _line(left, study.curve.time_s / factor, _score(study), colour, name, dashes)
        _line(right, study.curve.time_s / factor, study.curve.loss, colour, name, dashes)
    left.yaxis.set_major_locator(MaxNLocator(nbins=6, steps=[1, 2, 5, 10]))
    left.yaxis.set_major_formatter("{x:g}")
    right.set_title("Loss on held-out examples")
    regression = studies[0][0].is_regression
    if regression:
        left.set_title("Mean absolute error on held-out examples")
        left.set_ylim(bottom=0.0)
    else:
        left.set_title("Accuracy on held-out examples (%)")
        _accuracy_limits(left, studies)
    right.set_ylim(bottom=0.0)
    if len(studies) > 1:
        legend_over(drawn, lines)
        return drawn
    study = studies[0][0]
    if not regression:
        _reference(left, study)
    _target(left, study)
    _end(left, study.curve.time_s / factor, _score(study), study.score[1])
    _end(right, study.curve.time_s / factor, study.curve.loss, None)
    for axes in (left, right):
        _rug(axes, study, factor)
    return drawn


def _score(study: Study) -> Floats:
    """Accuracy after each evaluated round, %, or the error of a regression in units of its target."""
    return study.curve.error if study.is_regression else 100.0 * study.curve.accuracy


def _line(axes: Axes, x: Floats, y: Floats, colour: str, name: str, dashes: object) -> list[Line2D]:
    known = np.isfinite(y)
    marker = "o" if known.sum() <= 60 else ""
    return axes.plot(x[known], y[known], color=colour, linestyle=dashes, marker=marker, markersize=3.5, label=name)


def _accuracy_limits(axes: Axes, studies: list[tuple[Study, str, str]]) -> None:
    """From a round number below the least accuracy to 100 %, or to a little above if all is far from it."""
    values = np.concatenate([study.curve.accuracy for study, _, _ in studies])
    values = 100.0 * values[np.isfinite(values)]
    references = [100.0 * s.manifest.reference.accuracy for s, _, _ in studies if s.manifest.reference is not None]
    targets = (
        [100.0 * level for level in map(asked, (study for study, _, _ in studies)) if level is not None]
        if len(studies) == 1
        else []
    )
    low = min([values.min(), *references, *targets])
    high = max([values.max(), *references, *targets])
    bottom = min(10.0 * np.floor(low / 10.0), 90.0) if high - low < 60.0 else 0.0
    axes.set_ylim(bottom, 100.0 if high > 70.0 else min(100.0, high * 1.25 + 1.0))


def _reference(axes: Axes, study: Study) -> None:
    reference = study.manifest.reference
    if reference is None:
        return
    level = 100.0 * reference.accuracy
    axes.axhline(level, color=VERMILLION, linewidth=1.2, linestyle=(0, (5, 3)), zorder=1)
    axes.annotate(
        f"reference {level:.1f} %",
        (0.02, level),
        xycoords=("axes fraction", "data"),
        xytext=(0, 4),
        textcoords="offset points",
        color=VERMILLION,
        fontsize=9.5,
    )


def _target(axes: Axes, study: Study) -> None:
    level = asked(study)
    if level is None:
        return
    at = level if study.is_regression else 100.0 * level
    if study.is_regression:
        axes.set_ylim(top=max(axes.get_ylim()[1], 1.1 * at))
    axes.axhline(at, color=GREEN, linewidth=1.2, linestyle=(0, (1, 2)), zorder=1)
    # Away from the words of the reference, at the left, and from the last value, at the right.
    axes.annotate(
        f"target {study.score_text(level)}",
        (0.45, at),
        xycoords=("axes fraction", "data"),
        xytext=(0, 4 if at < axes.get_ylim()[1] * 0.97 else -12),
        textcoords="offset points",
        color=GREEN,
        fontsize=9.5,
    )


def _end(axes: Axes, x: Floats, y: Floats, text: str | None) -> None:
    """The last value, beside its point."""
    known = np.flatnonzero(np.isfinite(y))
    if not len(known):
        return
    at = known[-1]
    low, high = axes.get_ylim()
    above = (y[at] - low) / (high - low) < 0.88
    axes.annotate(
        text or f"{y[at]:.3g}",
        (x[at], y[at]),
        xytext=(0, 9 if above else -17),
        textcoords="offset points",
        ha="right",
        color=BLUE,
        fontsize=10,
        fontweight="bold",
        bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.8, "alpha": 0.85},
    )


def _rug(axes: Axes, study: Study, factor: float) -> None:
    """A tick at the end of each round, while they can be told apart."""
    ended_s = study.run.rounds()["ended_s"]
    if 0 < len(ended_s) <= 150:
        axes.vlines(
            ended_s / factor, 0.0, 0.025, transform=axes.get_xaxis_transform(), color=FAINT, linewidth=0.7, zorder=1
        )
