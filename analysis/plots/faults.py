"""What went wrong, and when: every fault of a run as a bar, a row for each kind."""

from __future__ import annotations

from collections import Counter
from typing import Final

import numpy as np

from analysis import units
from analysis.faults import befallen
from analysis.plots.style import BLUE, FAINT, ORANGE, PURPLE, VERMILLION, Plot, clock, figure, svg, time_axis
from analysis.study import Study

#: By what they strike: a device, its link, the network, a disk or a clock.
_COLOURS: Final = {
    "crash": VERMILLION,
    "battery_pulled": VERMILLION,
    "slow": VERMILLION,
    "link_down": ORANGE,
    "partition": ORANGE,
    "lost": BLUE,
    "duplicated": BLUE,
    "reordered": BLUE,
    "clock_skew": PURPLE,
    "disk_full": PURPLE,
}
#: A fault is drawn at least as long as this share of the run, so that it can be seen.
_VISIBLE: Final = 2e-3


def faults(study: Study) -> Plot | None:
    """All faults over the whole run, beside the rounds; None if there were none."""
    found = befallen(study)
    if not found:
        return None
    kinds = [kind for kind in _COLOURS if any(fault.kind == kind for fault in found)]
    drawn = figure(1.3 + 0.34 * len(kinds))
    axes = drawn.subplots()
    end_s = max(study.duration_s, *(fault.end_s for fault in found))
    factor = time_axis(axes, 0.0, end_s, clock(study.manifest.world))
    for row, kind in enumerate(kinds):
        own = [fault for fault in found if fault.kind == kind]
        # Faults that overlap show by being darker.
        axes.barh(
            [row] * len(own),
            [max(fault.end_s - fault.start_s, _VISIBLE * end_s) / factor for fault in own],
            left=[fault.start_s / factor for fault in own],
            height=0.66,
            color=_COLOURS[kind],
            alpha=max(0.15, 0.85 / np.sqrt(len({fault.actor for fault in own}))),
            linewidth=0.0,
        )
    for ended_s in study.run.rounds()["ended_s"].tolist():
        axes.axvline(ended_s / factor, color=FAINT, linewidth=0.4, zorder=0)
    axes.set_yticks(range(len(kinds)), kinds)
    axes.tick_params(axis="y", length=0)
    axes.set_ylim(len(kinds) - 0.4, -0.6)
    axes.grid(visible=False)
    counts = Counter(fault.kind for fault in found)
    words = ", ".join(f"{units.count(counts[kind])} {kind}" for kind in kinds)
    caption = (
        f"When faults were in force: {words}. A bar is one fault of one actor, darker where several have it at once; "
        "thin lines are the ends of rounds."
    )
    return Plot("faults", "What went wrong, and when", caption, svg(drawn, "faults", caption))
