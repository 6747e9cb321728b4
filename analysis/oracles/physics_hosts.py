"""Shared hosts: how long claims to cores stay, against queueing theory.

Processor sharing is insensitive: the mean stay depends on the mean work only (Kelly, "Reversibility and Stochastic
Networks", 1979, §3.3). So c cores hold any kind of work as long as M/M/c does, W = 1/μ + C(c, a) / (cμ − λ) with
Erlang's C, and one core is M/G/1-PS, W = 1 / (μ − λ) (Kleinrock 1976, §4.4).
"""

from __future__ import annotations

from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from analysis.oracles import Check, Drawing, Findings, Section
from analysis.oracles.queueing import erlang_c
from core import rng
from core.devices import Cores, Host

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Array = npt.NDArray[np.float64]

#: Claims of a run, and what they may ask for: equal times, exponential ones, or ones of two kinds.
CLAIMS: Final = 60_000
KINDS: Final = ("equal", "exponential", "two kinds")


class Job:
    """A claim, and how long it stayed."""

    def __init__(self, came_s: float) -> None:
        self.came_s = came_s
        self.stayed_s = 0.0
        self.now = 0.0

    def served(self) -> None:
        self.stayed_s = self.now - self.came_s


def stays_s(cores: float, load: float, works_s: Array, seed: int) -> Array:
    """How long claims of these seconds (mean 1) stay that come by a Poisson process and keep a share of cores busy."""
    gaps = rng.generator(seed, "oracle", "claims").exponential(1.0 / (load * cores), len(works_s))
    shared, jobs = Cores(Host("host", cores)), []
    for came_s, work_s in zip(np.cumsum(gaps).tolist(), works_s.tolist(), strict=True):
        _serve(shared, came_s)
        jobs.append(Job(came_s))
        shared.begin(came_s, work_s, jobs[-1])
    _serve(shared, inf)
    return np.array([job.stayed_s for job in jobs])


def _serve(shared: Cores, until_s: float) -> None:
    while shared.count and (at := shared.next_s()) <= until_s:
        job = shared.finish(at)
        assert isinstance(job, Job)
        job.now = at
        job.served()


def works_s(kind: str, seed: int, count: int = CLAIMS) -> Array:
    """Seconds of work of mean 1; those of two kinds have a squared coefficient of variation of 4.6."""
    draw = rng.generator(seed, "oracle", "works")
    if kind == "equal":
        return np.ones(count)
    exponential = draw.exponential(1.0, count)
    return exponential if kind == "exponential" else np.where(draw.random(count) < 5 / 6, 0.4, 4.0) * exponential


def erlang_s(cores: int, load: float) -> float:
    """The mean stay in M/M/c of work of mean 1 s."""
    return 1.0 + erlang_c(cores, load * cores) / (cores * (1.0 - load))


def _shared(data: Path) -> Findings:
    checks = [
        Check(
            f"{cores} cores, {load:.0%} busy" if cores > 1 else f"1 core, {load:.0%} busy",
            f"mean stay of work of 1 s, {kind}",
            "Erlang's C" if cores > 1 else "Kleinrock 1976: 1 / (μ − λ)",
            erlang_s(cores, load),
            float(stays_s(cores, load, works_s(kind, 1), 2).mean()),
            0.08,
            "s",
            relative=True,
        )
        for cores, load in ((1, 0.6), (2, 0.7), (8, 0.8))
        for kind in KINDS
    ]

    def draw() -> Figure:
        from analysis.plots.style import BLUE, GREEN, ORANGE, figure, legend_above

        made = figure(3.2)
        axes = made.add_subplot()
        loads = np.linspace(0.05, 0.9, 60)
        for cores, colour in ((1, BLUE), (2, ORANGE), (8, GREEN)):
            name = f"{cores} core{'s' if cores > 1 else ''}"
            axes.plot(100 * loads, [erlang_s(cores, x) for x in loads], color=colour, label=f"{name}, theory")
            some = (0.2, 0.4, 0.6, 0.8)
            found = [stays_s(cores, x, works_s("two kinds", 3, 20_000), 4).mean() for x in some]
            axes.plot([100 * x for x in some], found, "o", color=colour, label=name)
        axes.set_xlabel("busy share of the cores (%)")
        axes.set_ylabel("mean stay of 1 s of work (s)")
        legend_above(axes, width_in=8.0)
        return made

    caption = "How long work of two kinds stays on a shared host, beside Erlang's formula, which knows its mean only."
    return Findings(checks, (Drawing("host_sharing", caption, draw),))


SECTIONS: Final = (Section("Shared hosts", "Claims to the cores of a host that come by chance.", _shared),)
