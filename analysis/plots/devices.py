"""Batteries and temperatures of devices over time: a line a device, or bands a class where there are many."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from analysis import units
from analysis.plots.style import CLASS_COLOURS, INK, Plot, clock, figure, legend_above, legend_over, svg, time_axis
from analysis.study import Floats, Study

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: Up to so many devices get a line each.
MOST_LINES: Final = 24
#: Devices of a class from which its median and band are taken; of more, evenly chosen ones.
_MOST_SAMPLED: Final = 2000


@dataclasses.dataclass(frozen=True)
class Readings:
    """What devices said of themselves, one after the other: of `names[i]` is `bounds[i]` to `bounds[i + 1]`."""

    names: list[str]
    bounds: npt.NDArray[np.int64]
    time_s: Floats
    value: Floats

    def of(self, place: int) -> slice:
        """Where those of a device are."""
        return slice(self.bounds[place], self.bounds[place + 1])

    @property
    def first(self) -> Floats:
        """The first value of each device."""
        return self.value[self.bounds[:-1]]

    @property
    def last(self) -> Floats:
        """The last value of each device."""
        return self.value[self.bounds[1:] - 1]

    @property
    def change(self) -> Floats:
        """Each value less the first of its device."""
        return self.value - np.repeat(self.first, np.diff(self.bounds))


def readings(study: Study, column: str) -> Readings:
    """A column of the table of devices by device, where it is known, in order of time."""
    rows = study.run.columns("devices")
    codes, names = study.run.codes("devices", "actor")
    values = rows[column].astype(np.float64)
    known = np.isfinite(values)
    order = np.lexsort((np.arange(len(codes))[known], codes[known]))
    found = codes[known][order]
    present, starts = np.unique(found, return_index=True)
    return Readings(
        [names[code] for code in present.tolist()],
        np.append(starts, len(found)),
        rows["time_s"][known][order],
        values[known][order],
    )


def batteries(study: Study) -> Plot | None:
    """Charge over time; None if no device has a battery."""
    found = readings(study, "battery_level")
    if not found.names:
        return None
    drawn = figure(3.5)
    left, right = drawn.subplots(1, 2)
    handles = _draw(left, study, found, 100.0 * found.value)
    legend_over(drawn, handles)
    left.set_ylabel("charge (%)")
    low, high = left.get_ylim()
    left.set_ylim(max(low, 0.0), min(high, 101.0))
    _draw(right, study, found, 100.0 * found.change)
    right.set_ylabel("change since the start (points)")
    fell = found.first - found.last
    at = int(np.argmax(fell))
    most = found.names[at]
    caption = (
        f"Left: the charge; right: its change. {_lines(found)} Between recorded events the charge is drawn as a "
        "straight line. "
    )
    if fell[at] > 0.0:
        caption += f"{most} ({study.profiles[most]}) lost most: {100.0 * fell[at]:.2f} percentage points."
    else:
        caption += "No battery ended lower than it began."
    return Plot("batteries", "Batteries", caption, svg(drawn, "batteries", caption))


def temperatures(study: Study) -> Plot | None:
    """Temperature of the cases over time; None if it was not modelled."""
    found = readings(study, "case_temperature_c")
    if not found.names:
        return None
    drawn = figure(3.5)
    axes = drawn.subplots()
    legend_above(axes, _draw(axes, study, found, found.value), width_in=7.6)
    axes.set_ylabel("case (°C)")
    throttled = _throttled(axes, study, found)
    warmest = int(np.argmax(found.value))
    hottest = found.names[int(np.searchsorted(found.bounds, warmest, "right")) - 1]
    caption = (
        f"{_lines(found)} The case is known at the recorded events, and drawn straight between them though it bends "
        f"there. The warmest was {hottest} ({study.profiles[hottest]}) with {found.value[warmest]:.1f} °C; "
    )
    caption += f"throttling began or changed {throttled} times (crosses)." if throttled else "no device was throttled."
    return Plot("temperatures", "Temperatures", caption, svg(drawn, "temperatures", caption))


def _lines(found: Readings) -> str:
    if len(found.names) <= MOST_LINES:
        return "A line is one device, its colour its class."
    return f"A line is the median of a class of devices (of up to {_MOST_SAMPLED}); its band holds the middle half."


def _draw(axes: Axes, study: Study, found: Readings, values: Floats) -> list[Any]:
    """Draw values at the times of readings."""
    factor = time_axis(axes, 0.0, study.duration_s, clock(study.manifest.world))
    groups = study.classes_of(found.names)
    place = {name: i for i, name in enumerate(found.names)}
    grid = np.linspace(0.0, study.duration_s, 240)
    handles: list[Any] = []
    for kind, names in groups.items():
        colour = CLASS_COLOURS[study.classes.index(kind) % len(CLASS_COLOURS)]
        label = f"{units.count(len(names))} × {kind}" if len(names) > 1 else kind
        if len(found.names) <= MOST_LINES:
            for name in names:
                own = found.of(place[name])
                (line,) = axes.plot(found.time_s[own] / factor, values[own], color=colour, linewidth=1.3, alpha=0.85)
        else:
            sample = [found.of(place[name]) for name in names[:: -(-len(names) // _MOST_SAMPLED)]]
            sampled = np.array([np.interp(grid, found.time_s[own], values[own]) for own in sample])
            low, median, high = np.quantile(sampled, (0.25, 0.5, 0.75), axis=0)
            axes.fill_between(grid / factor, low, high, color=colour, alpha=0.18, linewidth=0.0)
            (line,) = axes.plot(grid / factor, median, color=colour)
        line.set_label(label)
        handles.append(line)
    return handles


def _throttled(axes: Axes, study: Study, found: Readings) -> int:
    """Mark the events at which throttling set in or changed, if lines are drawn; tell their number."""
    rows = study.run.columns("devices")
    chosen = (rows["event"] == "throttle") & np.isfinite(rows["case_temperature_c"].astype(np.float64))
    if chosen.any() and len(found.names) <= MOST_LINES:
        factor = units.span(study.duration_s).factor
        axes.plot(
            rows["time_s"][chosen] / factor,
            rows["case_temperature_c"][chosen],
            linestyle="",
            marker="x",
            markersize=6,
            color=INK,
        )
    return int(chosen.sum())
