"""Availability of phones over a day against the swing and the slots that have been published."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from analysis.oracles import Check, Drawing, Findings, Section
from core.availability import Habits, Sessions, Table
from core.availability.states import DOCKED

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DAY_S: Final = 86_400.0
#: Phones that are simulated, and hours that local time is ahead: the contiguous United States.
PHONES: Final = 10_000
ZONES_H: Final = (-8.0, -5.0)
BONAWITZ: Final = "Bonawitz et al., MLSys 2019"


def _day(_: Path) -> Findings:
    table = Table(Sessions(Habits(timezone_h=ZONES_H), PHONES, 1, "phone"))
    hours, shares, lost = [], [], {120.0: 0}
    table.until(DAY_S)
    for step in range(1, 97):
        now = DAY_S + step * 900.0
        table.until(now)
        left = table.next_s[table.state == DOCKED] - now
        hours.append(step / 4.0)
        shares.append(len(left) / PHONES)
        for length in lost:
            lost[length] += int((left < length).sum())
    whole = sum(shares) * PHONES
    swing = max(shares) / min(shares)
    even = Habits(amplitude=0.0, nights=0.0)
    on_s = even.session_median_s * math.exp(even.session_sd_log**2 / 2)
    off_s = even.use_chance * even.use_median_s * math.exp(even.use_sd_log**2 / 2) + DAY_S / even.sessions_per_day
    flat = Table(Sessions(even, PHONES, 2, "phone"))
    docked = []
    for step in range(1, 97):
        flat.until(DAY_S + step * 900.0)
        docked.append(float((flat.state == DOCKED).mean()))
    lost_2, share = lost[120.0] / whole, float(np.mean(docked))
    slots = "idle, charging and unmetered"
    checks = [
        Check("over a day", "most over least available", BONAWITZ, 4.0, swing, 0.1, relative=True),
        Check("in a round", f"share of {slots} lost in 2 min", f"{BONAWITZ}: 6 to 10 %", 0.08, lost_2, 0.02),
        Check(
            "without nights",
            f"share of time {slots}",
            "E[on]/(E[on]+E[off])",
            on_s / (on_s + off_s),
            share,
            0.01,
            relative=True,
        ),
    ]

    def draw() -> Figure:
        from analysis.plots.style import BLUE, ORANGE, figure, legend_above

        made = figure(3.2)
        axes = made.add_subplot()
        axes.plot(hours, [100.0 * share for share in shares], color=BLUE, label="available phones")
        least = 100.0 * min(shares)
        axes.axhline(4.0 * least, color=ORANGE, linestyle="--", label="four times the least (published swing)")
        axes.axhline(least, color="black", linestyle=":", label="the least")
        axes.set_xlim(0.0, 24.0)
        axes.set_xticks(range(0, 25, 4))
        axes.set_ylim(bottom=0.0)
        axes.set_xlabel("time of day (h, UTC)")
        axes.set_ylabel("share of all phones (%)")
        legend_above(axes, width_in=8.0)
        return made

    caption = "Phones that are idle, charging and unmetered over a day, in time zones from -8 to -5 h."
    return Findings(checks, (Drawing("availability_day", caption, draw),))


SECTIONS: Final = (
    Section("Availability", "The day of phones with the default habits, against published figures.", _day),
)
