"""Two runs in one figure each: learning, rounds, energy of clients by class."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from analysis import units
from analysis.plots.learning import draw_learning
from analysis.plots.style import BLUE, ORANGE, Plot, figure, legend_over, svg, whole_numbers

if TYPE_CHECKING:
    from analysis.compare import Comparison


def plots(comparison: Comparison) -> list[Plot]:
    """The figures for which both runs have data."""
    found = [_learning(comparison), _rounds(comparison), _energy(comparison)]
    return [plot for plot in found if plot is not None]


def _learning(comparison: Comparison) -> Plot | None:
    studies = (comparison.a, comparison.b)
    scores = [study.curve.error if study.is_regression else study.curve.accuracy for study in studies]
    if studies[0].is_regression != studies[1].is_regression or not all(np.any(np.isfinite(s)) for s in scores):
        return None
    colours = (BLUE, ORANGE)
    drawn = draw_learning(
        [(study, name, colour) for study, name, colour in zip(studies, comparison.names, colours, strict=True)]
    )
    finals = " and ".join(
        study.score[1] if study.is_regression else units.percent(study.final_accuracy, 2) for study in studies
    )
    caption = f"The model of each run against the time of its study; they end at {finals}. Where the curves lie on one "
    caption += "another the dashes of the second show the first."
    return Plot("learning", "How well they learned", caption, svg(drawn, "learning", caption))


def _rounds(comparison: Comparison) -> Plot | None:
    tables = [study.run.rounds() for study in (comparison.a, comparison.b)]
    if not all(len(rounds["round"]) for rounds in tables):
        return None
    drawn = figure(3.2)
    left, right = drawn.subplots(1, 2)
    lengths = [rounds["ended_s"] - rounds["started_s"] for rounds in tables]
    unit = units.span(max(float(length.max()) for length in lengths))
    lines = []
    used = [study.run.rounds()["accepted"] - study.left_out for study in (comparison.a, comparison.b)]
    for rounds, length, updates, name, colour, dashes in zip(
        tables, lengths, used, comparison.names, (BLUE, ORANGE), ("-", (0, (4, 2))), strict=True
    ):
        look = {"color": colour, "linestyle": dashes, "marker": "o", "markersize": 3.5, "label": name}
        lines += left.plot(rounds["round"], length / unit.factor, **look)
        right.plot(rounds["round"], updates, **look)
    left.set_ylabel(f"length ({unit.unit})")
    right.set_ylabel("updates in the sum")
    for axes in (left, right):
        axes.set_xlabel("round")
        axes.margins(y=0.1)
        axes.set_ylim(bottom=0.0)
        whole_numbers(axes)
    legend_over(drawn, lines)
    medians = " and ".join(units.duration(float(np.median(length))) for length in lengths)
    caption = f"How long each round took, {medians} in the middle, and how many updates went into its model."
    return Plot("rounds", "Round by round", caption, svg(drawn, "rounds", caption))


def _energy(comparison: Comparison) -> Plot | None:
    from matplotlib.patches import Patch

    studies = (comparison.a, comparison.b)
    totals = [
        {kind: sum(study.drawn_j(names).values()) for kind, names in study.classes_of(study.energy.rows).items()}
        for study in studies
    ]
    kinds = [kind for kind in dict.fromkeys([*totals[0], *totals[1]]) if any(total.get(kind) for total in totals)]
    if not kinds or not all(totals):
        return None
    drawn = figure(1.2 + 0.5 * len(kinds))
    axes = drawn.subplots()
    axes.grid(visible=False)
    largest = max(total.get(kind, 0.0) for total in totals for kind in kinds)
    unit = units.scale(largest, "J")
    for i, (total, colour) in enumerate(zip(totals, (BLUE, ORANGE), strict=True)):
        for row, kind in enumerate(kinds):
            joules, at = total.get(kind, 0.0), row + 0.37 * (i - 0.5)
            axes.barh(at, joules / unit.factor, height=0.35, color=colour)
            axes.text(
                (joules + 0.01 * largest) / unit.factor,
                at,
                units.text(joules, "J"),
                va="center_baseline",
                fontsize=9,
            )
    axes.set_yticks(range(len(kinds)), kinds)
    axes.set_ylim(len(kinds) - 0.45, -0.55)
    axes.set_xlim(0.0, 1.12 * largest / unit.factor)
    axes.set_xlabel(f"energy of all devices of the class ({unit.unit})")
    axes.tick_params(axis="y", length=0)
    legend_over(drawn, [Patch(color=c, label=n) for c, n in zip((BLUE, ORANGE), comparison.names, strict=True)])
    caption = "What the devices of each class drew over the whole study."
    return Plot("energy", "Energy by class of device", caption, svg(drawn, "energy", caption))
