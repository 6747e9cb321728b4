"""How all figures look: the colours of Okabe and Ito, thin axes, units in labels; and figures as reproducible SVG.

Okabe and Ito, "Color Universal Design" (2008): eight colours that stay apart for colour-blind readers.
"""

from __future__ import annotations

import dataclasses
import io
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from analysis import units

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BLUE: Final = "#0072B2"
ORANGE: Final = "#E69F00"
GREEN: Final = "#009E73"
VERMILLION: Final = "#D55E00"
PURPLE: Final = "#CC79A7"
SKY: Final = "#56B4E9"
YELLOW: Final = "#F0E442"
BLACK: Final = "#000000"
INK: Final = "#333333"
FAINT: Final = "#8a8a8a"
GRID: Final = "#e4e4e4"
NOTHING: Final = "#f4f4f4"

#: For classes of devices, in the order of `Study.classes`, the same in all figures.
CLASS_COLOURS: Final = (BLUE, ORANGE, GREEN, PURPLE, VERMILLION, SKY, BLACK, YELLOW)
#: How a client's part in a round ended.
END_COLOURS: Final = {
    "accepted": BLUE,
    "late": ORANGE,
    "lost": VERMILLION,
    "declined": PURPLE,
    "rejected": BLACK,
}
END_MARKERS: Final = {"late": "D", "lost": "X", "declined": "v", "rejected": "s"}
#: What drew energy.
DRAW_COLOURS: Final = {
    "processor": BLUE,
    "radio_send": ORANGE,
    "radio_receive": YELLOW,
    "accelerator": SKY,
    "radio_tail": "#f0b98a",
    "screen": GREEN,
    "idle": "#b5b5b5",
    "battery_loss": PURPLE,
    "charger_loss": VERMILLION,
}
DRAW_NAMES: Final = {
    "processor": "processor",
    "radio_send": "radio, sending",
    "radio_receive": "radio, receiving",
    "accelerator": "accelerator",
    "radio_tail": "radio, waiting",
    "screen": "screen",
    "idle": "idle",
    "battery_loss": "battery's loss",
    "charger_loss": "charger's loss",
}
PURPOSE_COLOURS: Final = {
    "training": BLUE,
    "inference": SKY,
    "unfinished": YELLOW,
    "protocol": ORANGE,
    "idle": "#b5b5b5",
}
PURPOSE_NAMES: Final = {
    "training": "training",
    "inference": "inference",
    "unfinished": "unfinished jobs",
    "protocol": "protocol",
    "idle": "idle",
}

WIDTH_IN: Final = 8.8
_SETTINGS: Final[dict[str, Any]] = {
    "axes.axisbelow": True,
    "axes.edgecolor": FAINT,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.labelcolor": INK,
    "axes.labelsize": 10,
    "axes.linewidth": 0.8,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlelocation": "left",
    "axes.titlesize": 10.5,
    "axes.titlecolor": INK,
    "font.family": ["DejaVu Sans"],
    "font.size": 10,
    "grid.color": GRID,
    "grid.linewidth": 0.8,
    "hatch.linewidth": 0.6,
    "legend.borderaxespad": 0.0,
    "legend.columnspacing": 1.2,
    "legend.fontsize": 9.5,
    "legend.frameon": False,
    "legend.handlelength": 1.4,
    "lines.linewidth": 1.8,
    "savefig.facecolor": "white",
    "svg.fonttype": "none",
    "svg.hashsalt": "aivsim",
    "text.color": INK,
    "xtick.color": FAINT,
    "xtick.labelcolor": INK,
    "xtick.labelsize": 9.5,
    "ytick.color": FAINT,
    "ytick.labelcolor": INK,
    "ytick.labelsize": 9.5,
}
#: DejaVu Sans, by whose widths figures are laid out, is among the widest of these.
_FONTS: Final = "'DejaVu Sans', Verdana, 'Segoe UI', Roboto, Helvetica, Arial, sans-serif"


@dataclasses.dataclass(frozen=True)
class Plot:
    """A figure for a page: its title, a sentence on what it shows, what it says to those who cannot see it."""

    key: str
    title: str
    caption: str
    svg: str


def styled() -> Any:
    """A context in which figures are made and drawn in our style; matplotlib's settings are put back after it."""
    import matplotlib as mpl

    # But for the backend, which is not put back, and which figures without pyplot have no use for.
    settings = {key: value for key, value in mpl.rcParamsDefault.items() if key != "backend"}
    return mpl.rc_context({**settings, **_SETTINGS})


def figure(height_in: float, *, width_in: float = WIDTH_IN) -> Figure:
    """An empty figure; layouts keep labels from overlapping."""
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    return Figure(figsize=(width_in, height_in), layout=ConstrainedLayoutEngine(w_pad=0.06, wspace=0.04, h_pad=0.05))


def whole_numbers(axes: Axes) -> None:
    """Ticks of the x axis at whole numbers only."""
    from matplotlib.ticker import MaxNLocator

    axes.xaxis.set_major_locator(MaxNLocator(nbins="auto", integer=True, min_n_ticks=1, steps=[1, 2, 5, 10]))


def legend_above(axes: Axes, handles: Sequence[Any] | None = None, *, width_in: float = 3.9) -> None:
    """A legend between the title and the data, where it covers nothing, in as many rows as `width_in` needs."""
    if handles is None:
        handles = axes.get_legend_handles_labels()[0]
    if handles:
        columns = _columns([str(handle.get_label()) for handle in handles], width_in)
        axes.legend(handles=list(handles), loc="lower left", bbox_to_anchor=(0.0, 1.01), ncols=columns)


def legend_over(drawn: Figure, handles: Sequence[Any]) -> None:
    """One legend above all panels of a figure."""
    columns = _columns([str(handle.get_label()) for handle in handles], 8.0)
    drawn.legend(handles=list(handles), loc="outside upper left", ncols=columns)


def _columns(labels: list[str], width_in: float) -> int:
    """Columns of a legend that fit, by the mean width of a letter, with even rows; it fills column by column."""
    for rows in range(1, len(labels) + 1):
        columns = -(-len(labels) // rows)
        widest = [max(len(label) for label in labels[i : i + rows]) for i in range(0, len(labels), rows)]
        if sum(0.08 * letters + 0.45 for letters in widest) <= width_in:
            return columns
    return 1


def time_axis(axes: Axes, start_s: float, end_s: float, name: str) -> float:
    """Label the x axis with time in a fitting unit, and tell the unit's seconds."""
    chosen = units.span(end_s - start_s)
    right_s = end_s + 0.012 * (end_s - start_s) or 1.0
    axes.set_xlim(start_s / chosen.factor, right_s / chosen.factor)
    axes.set_xlabel(f"{name} ({chosen.unit})")
    return chosen.factor


def clock(world: str) -> str:
    """What the time axis shows in a world."""
    return "simulated time" if world == "sim" else "time of the study"


def svg(drawn: Figure, key: str, description: str) -> str:
    """The figure as an SVG element for a page: the same bytes for the same figure; ids do not meet other figures'."""
    sink = io.StringIO()
    # Without a date, and with the salt above, nothing in it depends on when or where it was drawn.
    drawn.savefig(sink, format="svg", dpi=144, metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    text = sink.getvalue()
    text = text[text.index("<svg") :].strip()
    used = set(re.findall(r"(?:url\(#|href=\"#)([^)\"]+)", text))
    text = re.sub(r'\s+id="([^"]*)"', lambda m: f' id="{key}-{m[1]}"' if m[1] in used else "", text)
    text = re.sub(r"(url\(#|href=\"#)", rf"\g<1>{key}-", text)
    text = re.sub(r"<metadata>.*?</metadata>\s*|<defs>\s*<style.*?</style>\s*</defs>\s*", "", text, flags=re.DOTALL)
    text = text.replace("'DejaVu Sans'", _FONTS)
    text = re.sub(r'<svg [^>]*?(viewBox="[^"]*")[^>]*>', r"<svg \1>", text, count=1)
    label = description.replace("&", "&amp;").replace('"', "&quot;").replace("<", "&lt;")
    return text.replace("<svg ", f'<svg xmlns:xlink="http://www.w3.org/1999/xlink" role="img" aria-label="{label}" ', 1)
