"""Simulated and measured transfers in one figure: time against time, and how large the errors are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from analysis import units
from analysis.plots.style import BLUE, FAINT, GREEN, INK, ORANGE, VERMILLION, Plot, figure, legend_above, svg

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from analysis.validation import Point

_COLOURS = (BLUE, ORANGE, VERMILLION, GREEN)


def distance(points: Sequence[Point]) -> tuple[Plot, Figure]:
    """Left: the calibrated simulator against measurement. Right: the share of large transfers within an error."""
    from analysis.validation import LARGE_BYTES

    unseen = [point for point in points if not point.seen]
    drawn = figure(4.2)
    left, right = drawn.subplots(1, 2)
    losses = sorted({point.loss for point in points})
    for loss, colour in zip(losses, _COLOURS * len(losses), strict=False):
        part = [point for point in unseen if point.loss == loss]
        name = f"{100 * loss:g} % loss"
        left.scatter([p.real_s for p in part], [p.predicted_s for p in part], s=9, color=colour, label=name, alpha=0.8)
        errors = [abs(p.predicted_s / p.real_s - 1.0) for p in part if p.size_bytes >= LARGE_BYTES]
        _share_within(right, errors, name, {"color": colour})
    _share_within(
        right,
        [abs(p.ideal_s / p.real_s - 1.0) for p in unseen if p.size_bytes >= LARGE_BYTES],
        "ideal links",
        {"color": FAINT, "linestyle": (0, (4, 2))},
    )
    times = [value for point in unseen for value in (point.real_s, point.predicted_s)] or [1e-3, 1.0]
    ends = (0.8 * min(times), 1.25 * max(times))
    left.plot(ends, ends, color=INK, linewidth=0.8)
    left.set_xscale("log")
    left.set_yscale("log")
    left.set_xlabel("measured on sockets (s)")
    left.set_ylabel("calibrated simulator, unseen settings (s)")
    right.set_xlim(0.0, 0.3)
    right.set_ylim(0.0, 1.0)
    for goal in (0.05, 0.10):
        right.axvline(goal, color=FAINT, linewidth=0.8)
    right.set_xlabel("error of at most")
    right.xaxis.set_major_formatter(lambda value, _: f"{100 * value:.0f} %")
    right.set_ylabel(f"share of transfers from {units.text(LARGE_BYTES, 'B')} on")
    legend_above(left)
    legend_above(right)
    caption = (
        "Left: each dot is a setting that the fit has not seen; on the line both worlds agree. Right: the "
        "share of transfers whose error is at most that on the axis; the upright lines are the goals, 5 % for half of "
        "them and 10 % for 95 %. The dashed line is the simulator without a transport."
    )
    return Plot("distance", "Transfers, modelled and measured", caption, svg(drawn, "distance", caption)), drawn


def _share_within(axes: object, errors: list[float], name: str, look: dict[str, object]) -> None:
    if errors:
        ordered = np.sort(errors)
        shares = np.arange(1, len(ordered) + 1) / len(ordered)
        axes.step(ordered, shares, where="post", label=name, **look)  # type: ignore[attr-defined]
