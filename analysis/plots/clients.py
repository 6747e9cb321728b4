"""Accuracy (of a regression: error) of models on each client's own held-out examples: over rounds, and at the end."""

from __future__ import annotations

from typing import Final

import numpy as np

from analysis import units
from analysis.clients import OWNER, ClientScores
from analysis.plots.style import BLUE, ORANGE, Plot, figure, legend_over, svg, whole_numbers
from analysis.study import Study

_COLOURS: Final = {"global": BLUE, "personal": ORANGE}


def clients(study: Study) -> Plot | None:
    """Mean and worst decile of the clients after rounds, and the distribution after the last; None without scores."""
    scores = ClientScores(study)
    if not scores.models:
        return None
    factor = 1.0 if study.is_regression else 100.0
    unit = "" if study.is_regression else " (%)"
    score = "mean absolute error" if study.is_regression else "accuracy"
    drawn = figure(3.4)
    left, right = drawn.subplots(1, 2)
    lines = []
    for model in scores.models:
        spreads, colour = scores.spreads(model), _COLOURS[model]
        rounds = [found.round for found in spreads]
        marker = "o" if len(rounds) <= 60 else ""
        for name, values, dashes in (
            ("mean", [found.mean for found in spreads], "-"),
            ("worst decile", [found.worst_decile for found in spreads], (0, (4, 2))),
        ):
            shown = factor * np.array(values)
            label = f"{OWNER[model]}, {name}"
            lines += left.plot(
                rounds, shown, color=colour, linestyle=dashes, marker=marker, markersize=3.5, label=label
            )
        ordered = factor * np.sort(list(scores.last(model)[1].values()))
        # From no client to all of them, a step at each one's score.
        shares = 100.0 * np.arange(len(ordered) + 1) / len(ordered)
        right.step(np.concatenate([ordered[:1], ordered]), shares, where="post", color=colour)
    left.set_title(f"{score.capitalize()} of clients{unit}")
    left.set_xlabel("round")
    left.margins(y=0.1)
    whole_numbers(left)
    right.set_title("Clients with at most this score (%)")
    right.set_xlabel(f"{score} after the last round{unit}")
    right.set_ylim(0.0, 103.0)
    right.margins(x=0.05)
    legend_over(drawn, lines)
    told = []
    for model in scores.models:
        found = scores.final(model)
        mean, worst = study.score_text(found.mean), study.score_text(found.worst_decile)
        told.append(
            f"the {OWNER[model]} after round {found.round} has a mean of {mean} over {units.count(found.clients)} "
            f"clients and {worst} over the tenth that is worst off"
        )
    caption = (
        f"Models on each client's own held-out examples: {'; '.join(told)}. On the right, the share of the clients "
    )
    caption += f"whose {score} is at most that of the axis."
    return Plot("clients", "How good it is for each client", caption, svg(drawn, "clients", caption))
