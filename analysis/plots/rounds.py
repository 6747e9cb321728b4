"""Rounds: a close look at some as a chart of each client's time, and who took part in all of them as an image."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from analysis import units
from analysis.plots.style import (
    BLUE,
    END_COLOURS,
    END_MARKERS,
    FAINT,
    GREEN,
    INK,
    NOTHING,
    ORANGE,
    SKY,
    VERMILLION,
    Plot,
    clock,
    figure,
    legend_above,
    svg,
    whole_numbers,
)
from analysis.study import ENDS, LEFT_OUT, Study
from analysis.timeline import Span, Timeline, asked, participation, timeline, window

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: Up to so many clients get a row with a name.
MOST_ROWS: Final = 40
#: Rounds looked at closely.
CLOSE: Final = 3
#: Of more clients, up to so many are looked at closely.
MOST_CLOSE: Final = 30
#: Rows of pixels of an image; of more clients, evenly chosen ones are shown.
_MOST_PIXELS: Final = 1500
#: What was in vain: computations that were stopped, updates that the sum left out and rounds of nothing else.
_VAIN: Final[dict[str, Any]] = {"facecolor": "#b9d4e6", "edgecolor": BLUE, "hatch": "////", "linewidth": 0.0}
_SPANS: Final[dict[str, tuple[str, dict[str, Any]]]] = {
    "selected": ("in the round, waiting", {"color": "#dddddd"}),
    "receiving": ("receiving", {"color": SKY}),
    "computing": ("training", {"color": BLUE}),
    "stopped": ("training in vain", _VAIN),
    "sending": ("sending", {"color": GREEN}),
    "down": ("down", {"facecolor": "white", "edgecolor": VERMILLION, "hatch": "xxxx", "linewidth": 0.6}),
    "cut off": ("cut off", {"color": ORANGE}),
    "hampered": ("other fault", {"color": VERMILLION}),
}
#: Spans that lie below what a client did meanwhile: where from its row's middle, and how high.
_BELOW: Final = {"cut off": (0.4, 0.08), "hampered": (0.48, 0.08)}


def close_look(study: Study) -> Plot | None:
    """What clients did in a few rounds: each of them or, of many, some that were asked; None if no one was."""
    if not len(study.run.rounds()["round"]):
        return None
    shown, asked_count = _shown(study)
    if not shown.selected:
        return None
    drawn = figure(1.5 + 0.24 * len(shown.clients))
    axes = drawn.subplots()
    _gantt(axes, study, shown)
    every = len(shown.rounds) == len(study.run.rounds()["round"])
    names = f"rounds {shown.rounds[0]} to {shown.rounds[-1]}" if len(shown.rounds) > 1 else f"round {shown.rounds[0]}"
    wrong = Counter(mark.kind for mark in shown.marks)
    who = "each client" if asked_count is None else f"{len(shown.clients)} of {units.count(len(study.clients))} clients"
    caption = f"What {who} did in {names}"
    if not every:
        caption += ", where most went wrong" if wrong else ", the first of them"
    if asked_count == len(shown.clients):
        caption += f": {'those that were' if asked_count > 1 else 'the one that was'} asked"
    elif asked_count is not None:
        caption += f": some of the {units.count(asked_count)} that were asked, first those that did not end well"
    caption += ". A row is a client; grey is time in which it had nothing to do but wait for the round to end."
    if not any(span.kind in ("receiving", "sending") for span in shown.spans):
        caption += " Transfers were too short to be seen."
    if any(span.kind in _BELOW for span in shown.spans):
        caption += " A line below a row is a fault that hampers the client or cuts it off."
    if wrong:
        caption += f" Marks: {', '.join(f'{n} {kind}' for kind, n in wrong.items())}."
    return Plot("timeline", "Rounds, closely", caption, svg(drawn, "timeline", caption))


def _shown(study: Study) -> tuple[Timeline, int | None]:
    """What to look at closely and, where that is not all clients, how many were asked in those rounds.

    Of many clients those of the most eventful rounds, of fewer rounds if more than `MOST_CLOSE` were asked in them.
    """
    if len(study.clients) <= MOST_ROWS:
        return timeline(study, window(study, CLOSE)), None
    for most in range(CLOSE, 0, -1):
        numbers = window(study, most)
        names = asked(study, numbers)
        if len(names) <= MOST_CLOSE:
            break
    chosen = set(names[:MOST_CLOSE])
    return timeline(study, numbers, [name for name in study.clients if name in chosen]), len(names)


def _gantt(axes: Axes, study: Study, shown: Timeline) -> None:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    unit = units.span(shown.end_s - shown.start_s)
    handles: list[Any] = []
    for kind, (name, look) in _SPANS.items():
        spans = shown.selected if kind == "selected" else [s for s in shown.spans if s.kind == kind]
        if spans:
            offset, height = _BELOW.get(kind, (0.0, 0.72))
            _bars(axes, spans, height, unit.factor, look, offset)
            handles.append(Patch(label=name, **look))
    for kind, marker in END_MARKERS.items():
        marks = [m for m in shown.marks if m.kind == kind]
        if marks:
            look = {"linestyle": "", "marker": marker, "markersize": 7, "color": END_COLOURS[kind]}
            look |= {"markeredgecolor": "white", "markeredgewidth": 0.8}
            axes.plot([m.time_s / unit.factor for m in marks], [m.client for m in marks], clip_on=False, **look)
            handles.append(Line2D([], [], label=kind, **look))
    rounds = study.run.rounds()
    for number, began, ended in zip(
        rounds["round"].tolist(), rounds["started_s"].tolist(), rounds["ended_s"].tolist(), strict=True
    ):
        if number in shown.rounds:
            axes.axvline(ended / unit.factor, color=INK, linewidth=0.9, zorder=3)
            middle = (began + ended) / 2 / unit.factor
            axes.annotate(
                f"round {number}",
                (middle, 0.0),
                xycoords=("data", "axes fraction"),
                xytext=(0, 4),
                textcoords="offset points",
                ha="center",
                fontsize=9,
                color=FAINT,
            )
    axes.grid(visible=False)
    axes.set_xlim(shown.start_s / unit.factor, shown.end_s / unit.factor)
    axes.set_xlabel(f"{clock(study.manifest.world)} ({unit.unit})")
    _client_rows(axes, study, shown.clients)
    axes.set_ylim(len(shown.clients) + 0.25, -0.7)
    legend_above(axes, handles, width_in=7.4)


def _bars(
    axes: Axes, spans: list[Span], height: float, factor: float, look: dict[str, Any], offset: float = 0.0
) -> None:
    axes.barh(
        [s.client + offset for s in spans],
        [(s.end_s - s.start_s) / factor for s in spans],
        left=[s.start_s / factor for s in spans],
        height=height,
        zorder=2,
        **look,
    )


def _client_rows(axes: Axes, study: Study, names: Sequence[str]) -> None:
    """A row a client, named by itself, with a line where classes change."""
    axes.set_yticks(range(len(names)), names)
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    kinds = [study.profiles.get(name, "") for name in names]
    for i in range(1, len(kinds)):
        if kinds[i] != kinds[i - 1]:
            axes.axhline(i - 0.5, color=FAINT, linewidth=0.6, linestyle=":", zorder=1)


def overview(study: Study) -> Plot | None:
    """Who took part in each round, and how long each took; None if no one was ever asked."""
    numbers, ends, seconds = participation(study)
    if not np.any(ends != -1):
        return None
    named = len(study.clients) <= MOST_ROWS
    drawn = figure(1.6 + (0.2 * len(study.clients) if named else min(0.035 * len(study.clients), 4.5)))
    axes = drawn.subplots()
    _image(axes, study, numbers, ends, seconds)
    counts = Counter({end: int((ends == i).sum()) for i, end in enumerate(ENDS)})
    words = ", ".join(f"{units.count(counts[end])} {end}" for end in ENDS if counts[end])
    caption = (
        "A row is a client, a column a round. Blue: its update went into the model, the darker the longer that took "
        f"after it was asked; other colours: why it did not. In all: {words or 'no one answered'}."
    )
    if study.left_out.any():
        caption += f" Yet {units.count(study.left_out.sum())} of the accepted were {LEFT_OUT}."
    return Plot("overview", "Who took part", caption, svg(drawn, "overview", caption))


def _image(axes: Axes, study: Study, numbers: Any, ends: Any, seconds: Any) -> None:
    import matplotlib as mpl
    from matplotlib.colors import LinearSegmentedColormap, Normalize, to_rgb
    from matplotlib.patches import Patch

    count = len(ends)
    chosen = np.linspace(0, count - 1, min(count, _MOST_PIXELS)).astype(np.int64)
    ends, seconds = ends[chosen], seconds[chosen]
    accepted = np.where(ends == 0, seconds, np.nan)
    known = accepted[np.isfinite(accepted)]
    unit = units.span(float(known.max()) if len(known) else 1.0)
    scale = Normalize(0.0, float(known.max()) / unit.factor if len(known) else 1.0)
    blues = LinearSegmentedColormap.from_list("asked", ["#d3e6f3", "#5aa6d4", BLUE, "#00263f"])
    pixels = np.empty((*ends.shape, 3))
    pixels[:] = to_rgb(NOTHING)
    pixels[ends == 0] = blues(scale(accepted[ends == 0] / unit.factor))[:, :3]
    for i, end in enumerate(ENDS):
        if i:
            pixels[ends == i] = to_rgb(END_COLOURS[end])
    pixels[ends == -2] = to_rgb(FAINT)
    first = float(numbers[0])
    extent = (first - 0.5, first - 0.5 + len(numbers), count - 0.5, -0.5)
    axes.imshow(pixels, aspect="auto", interpolation="nearest", extent=extent)
    axes.grid(visible=False)
    for side in ("left", "bottom"):
        axes.spines[side].set_visible(False)
    axes.set_xlabel("round")
    whole_numbers(axes)
    if len(study.clients) <= MOST_ROWS:
        _client_rows(axes, study, study.clients)
        _cells(axes, ends.shape, first)
    else:
        _class_rows(axes, study)
    bar = axes.figure.colorbar(
        mpl.cm.ScalarMappable(scale, blues), ax=axes, pad=0.015, fraction=0.03, label=f"accepted after ({unit.unit})"
    )
    bar.outline.set_visible(False)
    handles = [Patch(color=END_COLOURS[end], label=end) for i, end in enumerate(ENDS) if i and (ends == i).any()]
    if (ends == -1).any():
        handles.append(Patch(facecolor=NOTHING, edgecolor=FAINT, linewidth=0.5, label="not asked"))
    if (ends == -2).any():
        handles.append(Patch(color=FAINT, label="asked, no end recorded"))
    legend_above(axes, handles, width_in=7.0)


def _cells(axes: Axes, shape: tuple[int, ...], first: float) -> None:
    """White lines between the cells of a small image."""
    rows, columns = shape
    if columns <= 60:
        axes.vlines(first - 0.5 + np.arange(1, columns), -0.5, rows - 0.5, color="white", linewidth=0.8)
    axes.hlines(np.arange(1, rows) - 0.5, first - 0.5, first - 0.5 + columns, color="white", linewidth=0.8)


def _class_rows(axes: Axes, study: Study) -> None:
    """Classes named beside their rows, with a line between them."""
    groups = study.classes_of(study.clients)
    at, ticks = 0, []
    for names in groups.values():
        ticks.append(at + (len(names) - 1) / 2)
        at += len(names)
        if at < len(study.clients):
            axes.axhline(at - 0.5, color="white", linewidth=1.6)
    axes.set_yticks(ticks, [f"{units.count(len(names))} × {kind}" for kind, names in groups.items()])
    axes.tick_params(axis="y", length=0)


def durations(study: Study) -> Plot | None:
    """How long rounds took and how their clients ended; None without rounds."""
    rounds = study.run.rounds()
    if not len(rounds["round"]):
        return None
    lengths = rounds["ended_s"] - rounds["started_s"]
    unit = units.span(float(lengths.max()))
    gone = rounds["outcome"] != "aggregated"
    hollow = study.hollow
    trouble = study.left_out.any() or any(rounds[end].any() for end in ENDS if end != "accepted")
    drawn = figure(3.2 if trouble else 2.4)
    panels = drawn.subplots(1, 2 if trouble else 1, squeeze=False)[0]
    colours = np.where(gone, VERMILLION, BLUE).tolist()
    bars = panels[0].bar(rounds["round"], lengths / unit.factor, color=colours, width=0.8)
    for i in np.flatnonzero(hollow):
        bars[i].set(**_VAIN)
    panels[0].set_ylim(bottom=0.0)
    panels[0].set_ylabel(f"length ({unit.unit})")
    for axes in panels:
        axes.set_xlabel("round")
        axes.set_xlim(rounds["round"].min() - 0.7, rounds["round"].max() + 0.7)
        whole_numbers(axes)
    median = units.duration(float(np.median(lengths)))
    caption = f"How long each round took, {median} in the middle"
    if gone.any():
        caption += f"; {int(gone.sum())} {'was' if gone.sum() == 1 else 'were'} abandoned (red)"
    if hollow.any():
        caption += f"; in {int(hollow.sum())} every update was {LEFT_OUT} (hatched)"
    caption += ". "
    if trouble:
        _ends(panels[1], study)
        caption = f"Left: {caption[0].lower()}{caption[1:]}Right: how the part of each client that was asked ended."
        if study.left_out.any():
            caption += f" Hatched: accepted, but {LEFT_OUT}."
    else:
        asked_any = bool(rounds["accepted"].any())
        caption += "Every client that was asked was accepted." if asked_any else "No client took part."
    return Plot("durations", "Round by round", caption.strip(), svg(drawn, "durations", caption))


def _ends(axes: Axes, study: Study) -> None:
    rounds = study.run.rounds()
    left_out = np.minimum(study.left_out, rounds["accepted"])
    parts: list[tuple[str, Any, dict[str, Any]]] = [(end, rounds[end], {"color": END_COLOURS[end]}) for end in ENDS]
    parts[:1] = [
        ("accepted", rounds["accepted"] - left_out, parts[0][2]),
        ("left out of the sum", left_out, _VAIN),
    ]
    bottom = np.zeros(len(rounds["round"]))
    for name, heights, look in parts:
        if heights.any():
            axes.bar(rounds["round"], heights, bottom=bottom, width=0.8, label=name, **look)
            bottom = bottom + heights
    axes.set_ylabel("clients")
    legend_above(axes, width_in=4.0)
