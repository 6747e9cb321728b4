"""Who has which labels: the label × client matrix of a study's data."""

from __future__ import annotations

from typing import Final

import numpy as np

from analysis import units
from analysis.plots.style import BLUE, Plot, figure, svg
from analysis.study import Floats, Study

#: Columns of the picture; of more clients, neighbours share one.
MOST_COLUMNS: Final = 400
#: Labels and clients up to which each has its own tick.
_TICKS: Final = 20


def labels(study: Study) -> Plot | None:
    """The share of each label in each client's training examples; None where no labels were recorded."""
    counts = study.label_counts
    if counts.size == 0 or counts.shape[1] < 2 or not counts.sum():
        return None
    from matplotlib.colors import LinearSegmentedColormap
    from matplotlib.ticker import MaxNLocator

    shares, grouped = _shares(counts)
    height_in = min(1.3 + 0.22 * counts.shape[1], 4.5)
    drawn = figure(height_in)
    axes = drawn.subplots()
    axes.grid(visible=False)
    clients = counts.shape[0]
    # One hue, so that more is darker for every kind of sight.
    hue = LinearSegmentedColormap.from_list("shares", ["#ffffff", BLUE, "#00263b"])
    picture = axes.imshow(
        100.0 * shares.T,
        aspect="auto",
        interpolation="nearest",
        cmap=hue,
        vmin=0.0,
        origin="lower",
        extent=(-0.5, clients - 0.5, -0.5, counts.shape[1] - 0.5),
    )
    sizes = study.run.columns("shards")["train_examples"]
    # An example of text has many tokens, any other one label.
    noun = "tenth of the targets" if study.is_regression else "label" if counts.sum() == sizes.sum() else "token"
    axes.set_xlabel("client, in the order of the devices" if clients > 1 else "client")
    axes.set_ylabel(noun)
    for axis, count in ((axes.xaxis, clients), (axes.yaxis, counts.shape[1])):
        axis.set_major_locator(MaxNLocator(nbins=_TICKS, integer=True, min_n_ticks=1, steps=[1, 2, 5, 10]))
        if count <= _TICKS:
            axis.set_ticks(range(count))
    bar = drawn.colorbar(picture, ax=axes, pad=0.015, aspect=18)
    # Short, as the picture of two labels is little higher than these words are long.
    bar.set_label("share (%)")
    bar.outline.set_visible(False)
    distance, chance = study.heterogeneity
    caption = (
        f"How the training examples of each of {units.count(clients)} clients ({units.count(sizes.min())} to "
        f"{units.count(sizes.max())}, {units.count(sizes.sum())} together) divide by {noun}. Their mean distance "
        f"from all clients' together is {distance:.2f} (total variation: 0 alike, 1 nothing in common); labels drawn "
        f"at random would give {chance:.2f}."
    )
    if grouped > 1:
        caption += f" A column stands for {grouped} clients."
    return Plot("labels", "Who has which labels", caption, svg(drawn, "labels", caption))


def _shares(counts: Floats | np.ndarray[tuple[int, ...], np.dtype[np.int64]]) -> tuple[Floats, int]:
    """Shares [columns, labels] of the labels of clients, and the clients that a column stands for."""
    grouped = -(-counts.shape[0] // MOST_COLUMNS)
    starts = np.arange(0, counts.shape[0], grouped)
    summed = np.add.reduceat(counts, starts, axis=0).astype(np.float64)
    shares: Floats = summed / np.maximum(summed.sum(axis=1, keepdims=True), 1.0)
    return shares, grouped
