"""Rates of flows against linear programs and closed forms, transports against their papers and RFCs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from math import ceil, inf, log2, sqrt
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from analysis.oracles import Check, Drawing, Findings, Section, at_most
from core.network import Autoregressive, Curve, Markov, MarkovState, Outages, Trace, Transport
from core.network.fairness import max_min_rates
from core.network.transport import transfer_s
from core.network.windows import Connection, gaps, move

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Array = npt.NDArray[np.float64]

MBIT: Final = 125_000.0
#: RFC 8312, table 1: mean windows of CUBIC, in packets, at a round trip of 0.1 s.
RFC_WINDOWS: Final = {1e-2: 12, 1e-3: 38, 1e-4: 187, 1e-5: 1054, 1e-6: 5926, 1e-7: 33325, 1e-8: 187397}


#: Reno's mean window over 1/√p where losses come by chance: before a loss the squared window is the sum of 2E_k 4^-k/p
#: over k, E_k exponential of mean 1, and the mean is 2/p over the mean of its root (Ott, Kemperman, Mathis 1996).
RANDOM_LOSSES: Final = 1.3098


def mathis_bytes_per_s(mss_bytes: float, rtt_s: float, loss: float) -> float:
    """Reno without time-outs, a loss every 1/p segments: MSS/RTT · √(3/2) / √p (Mathis, Semke, Mahdavi, Ott 1997)."""
    return mss_bytes / rtt_s * sqrt(1.5 / loss)


def pftk_bytes_per_s(mss_bytes: float, rtt_s: float, loss: float, rto_s: float) -> float:
    """Reno with time-outs of `rto_s`, every segment acknowledged (Padhye, Firoiu, Towsley, Kurose 1998, eq. 30)."""
    timeouts = rto_s * min(1.0, 3.0 * sqrt(3.0 * loss / 8.0)) * loss * (1.0 + 32.0 * loss * loss)
    return mss_bytes / (rtt_s * sqrt(2.0 * loss / 3.0) + timeouts)


def mean_window(control: str, loss: float, rtt_s: float, losses: int, uniform: Callable[[], float] | None) -> float:
    """Our mean window, segments, over so many losses on a path that is never full.

    Losses come by chance, or, without `uniform`, every 1/p segments, as in the formulas.
    """
    transport = Transport(control, max_window_bytes=2.0**60, queue_s=1e9)
    size_bytes = losses / loss * transport.mss_bytes
    gap = (lambda: 1.0 / loss - 1.0) if uniform is None else gaps(loss, uniform)
    moved = move(Connection(threshold=1.0), transport, size_bytes, 1e15, rtt_s, loss=loss, gap=gap)
    return losses / loss / moved.seconds * rtt_s


def lexicographic(
    capacities: Sequence[float], uses: Sequence[Sequence[tuple[int, float]]], caps: Sequence[float]
) -> list[float]:
    """Max-min fair rates by linear programs alone: the least rate is raised as far as it goes, the flows that cannot
    go higher are fixed (a program for each), and again (Ogryczak, Pióro, Tomaszewski, JTIT 2005, §3)."""
    from scipy.optimize import linprog

    flows = len(uses)
    matrix = np.zeros((len(capacities), flows))
    for flow, used in enumerate(uses):
        for link, cost in used:
            matrix[link, flow] += cost
    upper = [None if cap == inf else cap for cap in caps]
    fixed: dict[int, float] = {}
    while len(fixed) < flows:
        free = [flow for flow in range(flows) if flow not in fixed]
        below = np.zeros((len(free), flows + 1))
        for row, flow in enumerate(free):
            below[row, flow], below[row, -1] = -1.0, 1.0
        room = np.hstack([matrix, np.zeros((len(capacities), 1))])
        limits = [(fixed.get(flow, 0.0), fixed.get(flow, upper[flow])) for flow in range(flows)]
        raised = linprog(
            [0.0] * flows + [-1.0],
            A_ub=np.vstack([room, below]),
            b_ub=[*capacities, *[0.0] * len(free)],
            bounds=[*limits, (0.0, None)],
        )
        level = -raised.fun
        least = [(fixed.get(flow, level * (1 - 1e-9)), fixed.get(flow, upper[flow])) for flow in range(flows)]
        for flow in free:
            target = [0.0] * flows
            target[flow] = -1.0
            if -linprog(target, A_ub=matrix, b_ub=capacities, bounds=least).fun <= level * (1 + 1e-6) + 1e-9:
                fixed[flow] = level
    return [fixed[flow] for flow in range(flows)]


def _fairness(_: Path) -> Findings:
    programs = "scipy's linprog, lexicographic"
    rng = np.random.default_rng(2005)
    pairs: list[tuple[float, float]] = []
    for _round in range(20):
        links, flows = int(rng.integers(2, 7)), int(rng.integers(3, 12))
        capacities = rng.uniform(1, 100, links).tolist()
        uses = [
            [
                (int(link), float(rng.choice([1.0, 0.25, 3.0])))
                for link in rng.choice(links, min(links, 3), replace=False)
            ]
            for _flow in range(flows)
        ]
        caps = [float(rng.uniform(0.5, 50)) if rng.random() < 0.4 else inf for _flow in range(flows)]
        ours, theirs = max_min_rates(capacities, uses, caps), lexicographic(capacities, uses, caps)
        pairs += zip(theirs, ours, strict=True)
    worst = max(abs(ours / theirs - 1.0) for theirs, ours in pairs)
    said = "largest relative difference of a rate in 20 random networks with costs and caps"
    checks = [at_most("max-min fairness", said, programs, 1e-5, worst)]
    anomaly = max_min_rates([1.0], [[(0, 1 / 11e6)], [(0, 1 / 1e6)]], [inf, inf])
    said = "rate of a station of 11 MB/s beside one of 1 MB/s"
    checks.append(
        Check("802.11's anomaly", said, "Heusse et al. 2003: 1/(1/11 + 1)", 11 / 12, anomaly[0] / 1e6, 1e-9, "MB/s")
    )
    trace = Trace("stop and go", (0.0, 1.0, 3.0), (1000.0, 0.0, 3000.0), 4.0)
    ends = Curve(trace.steps(0.0)).time_after(0.0, 4e6 + 500.0)
    said = "end of 4.0005 MB over steps of 1000, 0 and 3000 B/s, replayed over and over"
    checks.append(Check("trace replay", said, "the integral by hand", 4000.5, ends, 1e-9, "s"))

    def draw() -> Figure:
        from analysis.plots.style import BLUE, GREEN, ORANGE, figure, legend_above

        made = figure(3.4)
        left, right = made.subplots(1, 2)
        ends = [min(min(pair) for pair in pairs), max(max(pair) for pair in pairs)]
        left.plot(ends, ends, color="black", linewidth=0.8)
        left.plot(*zip(*pairs, strict=True), ".", color=BLUE, markersize=4)
        left.set_xscale("log")
        left.set_yscale("log")
        left.set_xlabel("rate by linear programs (1/s)")
        left.set_ylabel("rate by water filling (1/s)")
        slow = np.linspace(0.5, 11.0, 22)
        each = [max_min_rates([1.0], [[(0, 1 / 11e6)], [(0, 1e-6 / rate)]], [inf, inf]) for rate in slow]
        formula = 1.0 / (1.0 / 11.0 + 1.0 / slow)
        right.plot(slow, formula, color="black", linewidth=1.2, label="1 / (1/11 + 1/x)")
        right.plot(slow, [fast / 1e6 for fast, _ in each], "o", color=ORANGE, markersize=5, label="the fast one")
        right.plot(slow, [slower / 1e6 for _, slower in each], ".", color=GREEN, markersize=5, label="the slow one")
        right.set_xlabel("what the slow station has alone (MB/s)")
        right.set_ylabel("goodput of each (MB/s)")
        legend_above(right)
        return made

    caption = (
        "Left: rates of flows in 20 random networks. Right: a station of 11 MB/s that shares the air with a slower one."
    )
    return Findings(checks, (Drawing("network_fairness", caption, draw),))


def _inverse(steps: Sequence[tuple[float, float]], begin_s: float, sizes: Array) -> Array:
    """When bytes that begin at `begin_s` have passed: numpy's running sum of the steps, read the other way round."""
    starts, rates = np.array(steps).T
    passed = np.concatenate([[0.0], np.cumsum(rates[:-1] * np.diff(starts))])
    wanted = np.interp(begin_s, starts, passed) + sizes
    found: Array = np.interp(wanted, passed, starts)
    return found


def _varying(_: Path) -> Findings:
    """Transfers over rates that change: the exact inverse of their integral, from another implementation."""
    states = Markov((MarkovState(1.0, 30.0), MarkovState(0.1, 10.0)))
    kinds: dict[str, Callable[[], Iterator[tuple[float, float]]]] = {
        "AR(1), sd 0.8": lambda: Autoregressive(0.8, 0.7, 1.0).factors(1, "a"),
        "two states": lambda: states.factors(1, "a"),
        "outages": lambda: Outages(20.0, 5.0).factors(1, "a"),
    }
    sizes, begin_s = np.logspace(4.0, 8.0, 33), 10.5
    found: dict[str, tuple[Array, Array]] = {}
    checks = []
    for kind, factors in kinds.items():
        steps = [(start_s, MBIT * factor) for start_s, factor in islice(factors(), 4000)]
        theirs = _inverse(steps, begin_s, sizes) - begin_s
        curve = Curve(iter(steps))
        ours = np.array([curve.time_after(begin_s, float(size)) for size in sizes]) - begin_s
        found[kind] = ours, theirs
        worst = float(np.abs(ours / theirs - 1.0).max())
        said = "times of 33 transfers of 10 kB to 100 MB, largest relative difference"
        checks.append(at_most(kind, said, "numpy's running sum", 1e-9, worst))

    def draw() -> Figure:
        from analysis.plots.style import BLUE, GREEN, ORANGE, figure, legend_above

        made = figure(3.2)
        axes = made.add_subplot()
        for (kind, (ours, theirs)), colour in zip(found.items(), (BLUE, ORANGE, GREEN), strict=True):
            axes.plot(sizes / 1e6, sizes / MBIT / theirs, color=colour, linewidth=1.2, label=kind)
            axes.plot(sizes / 1e6, sizes / MBIT / ours, ".", color=colour)
        axes.set_xscale("log")
        axes.set_ylim(bottom=0.0)
        axes.set_xlabel("size (MB)")
        axes.set_ylabel("size over time (Mbit/s)")
        legend_above(axes, width_in=8.0)
        return made

    caption = (
        "Transfers that begin together on a link of 1 Mbit/s that varies: their mean rate by curves (dots), and by a "
        "running sum of its steps (lines)."
    )
    return Findings(checks, (Drawing("network_varying", caption, draw),))


def _transports(_: Path) -> Findings:
    checks = [
        Check(
            "CUBIC",
            f"mean window of losses every {1 / loss:g} segments",
            "RFC 8312, table 1",
            window,
            mean_window("cubic", loss, 0.1, 400, None),
            0.10,
            "packets",
            relative=True,
        )
        for loss, window in RFC_WINDOWS.items()
        if loss <= 1e-3
    ]
    for loss in (1e-4, 1e-5):
        said = f"mean window of losses every {1 / loss:g} segments, over 1/√p"
        ours = mean_window("reno", loss, 0.1, 400, None) * sqrt(loss)
        checks.append(Check("Reno", said, "Mathis et al. 1997: √(3/2)", sqrt(1.5), ours, 0.03, "", relative=True))
    said = "mean window of losses by chance, one in 100 000, over 1/√p"
    ours = mean_window("reno", 1e-5, 0.1, 3000, np.random.default_rng(1996).random) * sqrt(1e-5)
    checks.append(Check("Reno", said, "Ott, Kemperman, Mathis 1996", RANDOM_LOSSES, ours, 0.03, "", relative=True))
    # The round trips are those that were measured over the relay: 100.5 and 20.9 ms.
    for name, rtt_s, reference in (("Mathis", 0.1005, 1.40), ("PFTK", 0.1005, 1.32), ("Mathis", 0.0209, 6.8)):
        if name == "Mathis":
            rate = mathis_bytes_per_s(1448, rtt_s, 0.01)
        else:
            rate = pftk_bytes_per_s(1448, rtt_s, 0.01, rtt_s + 0.2)
        said = f"most of one connection at {1e3 * rtt_s:g} ms and 1 % loss"
        checks.append(Check(name, said, "reference table", reference, rate / MBIT, 0.02, "Mbit/s", relative=True))
    wide = Transport("cubic", max_window_bytes=2.0**60)
    for size in (14_480, 50_000, 200_000):
        rounds = ceil(log2(size / 14_480 + 1))
        said = f"time of {size / 1000:g} kB on a fast path with a round trip of 100 ms, less its delay"
        ours = transfer_s(wide, size, 1e12, 0.05) - 0.05
        source = "rounds of slow start: ceil(log2(S/IW + 1)) − 1"
        checks.append(Check("slow start", said, source, (rounds - 1) * 0.1, ours, 1e-6, "s"))

    def draw() -> Figure:
        from analysis.plots.style import BLUE, ORANGE, figure, legend_above

        made = figure(3.2)
        axes = made.add_subplot()
        losses = np.logspace(-5, -1, 25)
        for control, colour in (("reno", BLUE), ("cubic", ORANGE)):
            uniform = np.random.default_rng(1996).random
            windows = [mean_window(control, float(p), 0.1, 1000, uniform) for p in losses]
            axes.plot(losses, [w * 1448 / 0.1 / MBIT for w in windows], color=colour, label=control)
        axes.plot(
            losses, [mathis_bytes_per_s(1448, 0.1, p) / MBIT for p in losses], ":", color=BLUE, label="Mathis et al."
        )
        table = [(p, window) for p, window in RFC_WINDOWS.items() if p >= 1e-5]
        axes.plot([p for p, _ in table], [w * 1448 / 0.1 / MBIT for _, w in table], "x", color=ORANGE, label="RFC 8312")
        axes.plot([0.01, 0.01], [1.9, 3.1], "k_", label="measured, CUBIC with its slow start")
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.set_xlabel("loss")
        axes.set_ylabel("mean of one connection (Mbit/s)")
        legend_above(axes, width_in=8.0)
        return made

    caption = "What one connection sends with a round trip of 100 ms, by the share of segments that are lost by chance."
    return Findings(checks, (Drawing("network_transports", caption, draw),))


SECTIONS: Final = (
    Section("Sharing", "Rates against linear programs and theory, a replayed trace against its integral.", _fairness),
    Section("Links that vary: transfers", "Ends of transfers over steps against their integral.", _varying),
    Section("Transport", "Windows and slow start against RFC 8312 and the papers' formulas.", _transports),
)
