"""What the study cost: bytes and joules over time, and where the joules went."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from analysis import units
from analysis.plots.style import (
    BLUE,
    DRAW_COLOURS,
    DRAW_NAMES,
    FAINT,
    ORANGE,
    PURPOSE_COLOURS,
    PURPOSE_NAMES,
    VERMILLION,
    Plot,
    clock,
    figure,
    legend_above,
    svg,
    time_axis,
)
from analysis.study import DRAWS, RADIO_DRAWS, Floats, Study, sums_until

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: Points of a curve over time that are drawn; more cannot be seen.
_POINTS = 300


def spending(study: Study) -> Plot | None:
    """Bytes and joules over time; None if neither was recorded."""
    if not study.total_bytes and not study.energy.rows:
        return None
    drawn = figure(3.4)
    left, right = drawn.subplots(1, 2)
    _bytes(left, study)
    _joules(right, study)
    spent_j = study.total_j(study.clients)
    caption = f"Left: the frames delivered until each moment, {units.text(study.total_bytes, 'B')} in all. Right: "
    if np.isfinite(spent_j):
        caption += f"the energy that the clients' devices had drawn by then, {units.text(spent_j, 'J')} in all (radios "
        caption += "follow the bytes; idle is spread evenly)."
    else:
        caption += "the energy of the clients' devices, which was not measured."
    return Plot("spending", "What it cost in bytes and joules", caption, svg(drawn, "spending", caption))


def _bytes(axes: Axes, study: Study) -> None:
    rows = study.run.messages()
    groups = {"to clients": "receiver", "from clients": "sender"}
    masks = {name: study.of_clients(side) < len(study.clients) for name, side in groups.items()}
    masks["to clients"] &= ~masks["from clients"]
    masks["others"] = ~(masks["to clients"] | masks["from clients"])
    delivered_s, sizes = rows["delivered_s"], rows["size_bytes"]
    unit = units.scale(max(sizes[mask].sum() for mask in masks.values()), "B")
    factor = time_axis(axes, 0.0, study.duration_s, clock(study.manifest.world))
    for (name, mask), colour in zip(masks.items(), (BLUE, ORANGE, FAINT), strict=True):
        if mask.any():
            at_s, total = _steps(delivered_s, sizes, mask, study.duration_s)
            axes.step(at_s / factor, total / unit.factor, where="post", color=colour, label=name)
    axes.set_ylabel(f"delivered ({unit.unit})")
    axes.set_ylim(bottom=0.0)
    legend_above(axes)


def _steps(delivered_s: Floats, sizes: Any, mask: Any, end_s: float) -> tuple[Floats, Floats]:
    """Times and running totals of chosen messages, thinned to what can be seen."""
    if mask.sum() + 2 <= _POINTS:
        order = np.argsort(delivered_s[mask], kind="stable")
        at_s, chosen = delivered_s[mask][order], sizes[mask][order]
        times = np.concatenate([[0.0], at_s, [max(end_s, float(at_s[-1]))]])
        return times, np.concatenate([[0.0], np.cumsum(chosen, dtype=np.float64), [float(chosen.sum())]])
    points = np.linspace(0.0, max(end_s, float(delivered_s.max())), _POINTS)
    return points, sums_until(points, delivered_s, lambda rows: sizes[rows] * mask[rows])


def _joules(axes: Axes, study: Study) -> None:
    grid, parts = study.clients_joules_over_time
    factor = time_axis(axes, 0.0, study.duration_s, clock(study.manifest.world))
    if not parts:
        axes.text(0.5, 0.5, "not measured", transform=axes.transAxes, ha="center", color=FAINT)
        return
    unit = units.scale(sum(float(part[-1]) for part in parts.values()), "J")
    layers: dict[str, Floats] = {}
    for draw in reversed(DRAWS):
        if draw in parts:
            name = "radio" if draw.startswith("radio") else DRAW_NAMES[draw]
            layers[name] = layers.get(name, 0.0) + parts[draw] / unit.factor
    colours = {**{DRAW_NAMES[draw]: DRAW_COLOURS[draw] for draw in DRAWS}, "radio": DRAW_COLOURS["radio_send"]}
    axes.stackplot(
        grid / factor, list(layers.values()), colors=[colours[n] for n in layers], labels=list(layers), linewidth=0.0
    )
    axes.set_ylabel(f"drawn by clients ({unit.unit})")
    axes.set_ylim(bottom=0.0)
    handles = axes.get_legend_handles_labels()[0]
    legend_above(axes, handles[::-1])


def energy(study: Study) -> Plot | None:
    """Joules of each class of devices by component; None if no energy was recorded."""
    groups = study.classes_of(study.energy.rows)
    drawn_j = {kind: study.drawn_j(names) for kind, names in groups.items()}
    groups = {kind: names for kind, names in groups.items() if sum(drawn_j[kind].values()) > 0.0}
    if not groups:
        return None
    drawn = figure(1.25 + 0.42 * len(groups))
    _shares(drawn.subplots(), groups, drawn_j, DRAW_COLOURS, DRAW_NAMES)
    whole = study.drawn_j()
    most = max(whole, key=lambda draw: whole[draw])
    share = whole[most] / sum(whole.values())
    radios = units.text(sum(whole[draw] for draw in RADIO_DRAWS), "J")
    caption = (
        f"Each bar is all the energy of one class of devices over the whole study, divided by what drew it. Of "
        f"{units.text(sum(whole.values()), 'J')} in all, {units.percent(share, 0)} went to "
        f"{'being idle' if most == 'idle' else 'the ' + DRAW_NAMES[most]}; the radios took {radios}."
    )
    return Plot("energy", "Where the energy went", caption, svg(drawn, "energy", caption))


def purposes(study: Study) -> Plot | None:
    """Joules of each class of devices by what they were for; None if no energy was recorded."""
    groups = study.classes_of(study.energy.rows)
    found_j = {kind: study.purposes_j(names) for kind, names in groups.items()}
    groups = {kind: names for kind, names in groups.items() if sum(found_j[kind].values()) > 0.0}
    if not groups:
        return None
    drawn = figure(1.25 + 0.42 * len(groups))
    _shares(drawn.subplots(), groups, found_j, PURPOSE_COLOURS, PURPOSE_NAMES)
    parts = [
        f"{PURPOSE_NAMES[purpose]} {units.text(joules, 'J')}"
        for purpose, joules in study.purposes_j().items()
        if joules > 0.0
    ]
    caption = (
        "The same energy by what it was for: training and inference are what jobs took above idle, the protocol's is "
        f"that of the radios, and the rest is idling, screens and losses. In all: {', '.join(parts)}."
    )
    return Plot("purposes", "What the energy was for", caption, svg(drawn, "purposes", caption))


def _shares(
    axes: Axes,
    groups: dict[str, list[str]],
    joules: dict[str, dict[str, float]],
    colours: Mapping[str, str],
    labels: Mapping[str, str],
) -> None:
    """A bar for each class of devices, divided by shares of its energy, with the energy beside it."""
    from matplotlib.patches import Patch

    axes.grid(visible=False)
    present = [part for part in colours if any(joules[kind][part] > 0.0 for kind in groups)]
    for row, (kind, names) in enumerate(groups.items()):
        total = sum(joules[kind].values())
        left = 0.0
        for part in present:
            width = 100.0 * joules[kind][part] / total
            axes.barh(row, width, left=left, height=0.66, color=colours[part], edgecolor="white", linewidth=0.8)
            if width >= 6.0:
                axes.text(
                    left + width / 2,
                    row,
                    f"{width:.0f} %",
                    ha="center",
                    va="center_baseline",
                    fontsize=9,
                    color="white" if colours[part] in (BLUE, VERMILLION) else "black",
                )
            left += width
        each = units.text(total / len(names), "J")
        words = f"{each} each, {units.text(total, 'J')} in all" if len(names) > 1 else each
        axes.text(101.0, row, words, va="center_baseline", fontsize=9.5)
    ticks = [f"{len(names)} × {kind}" if len(names) > 1 else kind for kind, names in groups.items()]
    axes.set_yticks(range(len(groups)), ticks)
    axes.set_ylim(len(groups) - 0.5, -0.5)
    axes.set_xlim(0.0, 142.0)
    axes.set_xticks([0, 25, 50, 75, 100])
    axes.set_xlabel("share of the class's energy (%)", loc="left")
    axes.tick_params(axis="y", length=0)
    for side in ("left", "bottom"):
        axes.spines[side].set_visible(False)
    legend_above(axes, [Patch(color=colours[part], label=labels[part]) for part in present], width_in=7.0)
