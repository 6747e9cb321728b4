"""The simulator's links as queues, beside queueing theory: sections of `aivsim oracles network`.

They run the simulator, which `analysis` knows nothing of. Control messages are first come, first served; bulk shares
its link.
"""

from __future__ import annotations

from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from analysis.oracles import Check, Drawing, Findings, Section
from analysis.oracles.queueing import batch_mean, erlang_b, erlang_c, pollaczek_khinchine_s
from core.actor import Actor, Context, Message
from core.deployment import Deployment, Placement
from core.devices import DeviceProfile, Radio
from core.links import Link
from core.network import Curve, Network
from core.network.curves import constant
from core.rng import generator
from sim.engine import ActorEnvironment
from sim.network.fair import FairFlow, FairLink, FairNetwork
from sim.testing import run_sim

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Array = npt.NDArray[np.float64]

#: Messages and flows of a run.
MESSAGES: Final = 6_000
FLOWS: Final = 8_000
SERVERS: Final = 4
RATE: Final = 1000.0
_NAMES: Final = {"equal": "equal sizes", "exponential": "exponential sizes", "two sizes": "two sizes"}
INTERVAL: Final = "known to its 99.9 % interval"


class Sized(Message, frozen=True, kw_only=True):
    """A control message of so many bytes."""

    blob: bytes


class Rider:
    """A flow's passenger, and when it had passed."""

    def __init__(self, env: ActorEnvironment) -> None:
        self.env = env
        self.ended_s = inf

    def passed_all(self) -> None:
        self.ended_s = self.env.now


def sizes_of(rng: np.random.Generator, kind: str, count: int) -> Array:
    """Sizes of mean 1: equal, exponential, or mostly small and rarely large (squared variation 2.25)."""
    if kind == "equal":
        return np.ones(count)
    if kind == "exponential":
        return rng.exponential(1.0, size=count)
    return np.where(rng.random(count) < 0.9, 0.5, 5.5)


def control_waits(rng: np.random.Generator, load: float, sizes: Array, varying: bool = False) -> tuple[Array, Array]:
    """Waits of control messages of these extra bytes that are sent as a Poisson stream, and their own times, s."""
    gaps = rng.exponential(1.0, size=len(sizes)) * (float(np.mean(sizes)) + 45.0) / RATE / load
    blobs = [b"x" * int(size) for size in sizes.tolist()]

    class Source(Actor):
        async def run(self, ctx: Context) -> None:
            for gap, blob in zip(gaps.tolist(), blobs, strict=True):
                await ctx.sleep(gap)
                await ctx.send("sink", Sized(blob=blob))
            await ctx.sleep(1e4)

    class Sink(Actor):
        accepts = (Sized,)

        async def handle(self, ctx: Context, message: Message) -> None:
            pass

    profile = DeviceProfile("plugged", "", 1e9, 0.0, 1e9, 1.0, 3.0, {"wifi": Radio(0.0, 0.0)})
    links = Link("l", "wifi", 0.0, RATE, RATE), Link("fast", "wifi", 0.0, 2.0**30, 2.0**30)
    rows = run_sim(
        Deployment(
            placements=(Placement("main", Source, profile, links[0]), Placement("sink", Sink, profile, links[1])),
            main="main",
            messages=(Sized,),
            network=Network(varying=varying),
            fidelity="timing",
        )
    ).messages
    own = np.array([row.size_bytes for row in rows]) / RATE
    return np.array([row.delivered_s - row.sent_s for row in rows]) - own, own


def sojourns(rng: np.random.Generator, load: float, sizes: Array, servers: float = 1.0, cap: float = inf) -> Array:
    """Times of flows that come as a Poisson stream to a link of rate `servers`, each of at most `cap`, s."""
    env = ActorEnvironment()
    network = FairNetwork(env)
    link = FairLink(network, Curve(constant(servers)))
    began = np.cumsum(rng.exponential(1.0 / (load * servers), size=len(sizes)))
    riders = []
    for at, size in zip(began.tolist(), sizes.tolist(), strict=True):
        env.run(until=at)
        riders.append(Rider(env))
        network.begin(FairFlow(network, riders[-1], size, ((link, 1.0),), cap))
    env.run()
    return np.array([rider.ended_s for rider in riders]) - began


def refusals(rng: np.random.Generator, offered: float, sizes: Array, servers: int = SERVERS) -> Array:
    """Which flows of a Poisson stream, each at its cap, find so many others in the link and give up: 1, else 0."""
    env = ActorEnvironment()
    network = FairNetwork(env)
    link = FairLink(network, Curve(constant(float(servers))))
    refused = []
    for gap, size in zip(rng.exponential(1 / offered, size=len(sizes)).tolist(), sizes.tolist(), strict=True):
        env.run(until=env.now + gap)
        refused.append(float(len(link) == servers))
        if not refused[-1]:
            network.begin(FairFlow(network, Rider(env), size, ((link, 1.0),), 1.0))
    return np.array(refused)


#: A mean that a run found, half its interval, and theory's, over some loads.
Points = dict[float, tuple[float, float, float]]


def _checks(name: str, said: str, source: str, points: Points, unit: str) -> list[Check]:
    return [
        Check(f"{name}, {load:.0%} busy", f"{said}; {INTERVAL}", source, theory, mean, half, unit)
        for load, (mean, half, theory) in points.items()
    ]


def _control(_: Path) -> Findings:
    """M/D/1 and M/M/1: mean waits, over the mean time of a message on the link."""
    found: dict[str, Points] = {"M/D/1": {}, "M/M/1": {}}
    checks: list[Check] = []
    for name, points in found.items():
        for load in (0.3, 0.5, 0.7):
            rng = generator(1930, "oracle", name, str(load))
            # What a frame has beside its blob is little.
            sizes = 2000.0 * sizes_of(rng, "equal" if name == "M/D/1" else "exponential", MESSAGES)
            waits, own = control_waits(rng, load, sizes)
            mean, half = batch_mean(waits)
            theory = pollaczek_khinchine_s(load, own)
            points[load] = mean / float(own.mean()), half / float(own.mean()), theory / float(own.mean())
        checks += _checks(name, "mean wait over the mean time on the link", "Pollaczek, Khinchine", points, "")

    def draw() -> Figure:
        from analysis.plots.style import BLUE, ORANGE, figure, legend_above

        made = figure(3.2)
        axes = made.add_subplot()
        loads = np.linspace(0.01, 0.8, 80)
        for (name, points), colour, second in zip(found.items(), (BLUE, ORANGE), (1.0, 2.0), strict=True):
            axes.plot(100 * loads, second * loads / (2.0 * (1.0 - loads)), color=colour, label=f"{name}, theory")
            _bars(axes, points, colour, f"{name}, simulated")
        axes.set_xlabel("busy share of the link (%)")
        axes.set_ylabel("mean wait (times of a message)")
        legend_above(axes, width_in=8.0)
        return made

    caption = "Waits of control messages that share a link first come, first served, with 99.9 % intervals."
    return Findings(checks, (Drawing("network_control", caption, draw),))


def _bulk(_: Path) -> Findings:
    """M/G/1-PS whatever the sizes; with flows that are capped, Erlang's C; and with refusals, Erlang's B."""
    shared: dict[str, Points] = {kind: {} for kind in _NAMES}
    checks: list[Check] = []
    for kind, points in shared.items():
        for load in (0.3, 0.5, 0.7):
            rng = generator(1976, "oracle", kind, str(load))
            points[load] = (*batch_mean(sojourns(rng, load, sizes_of(rng, kind, FLOWS))), 1.0 / (1.0 - load))
        source = "M/G/1-PS: 1 / (1 − ρ)"
        checks += _checks(f"flows, {_NAMES[kind]}", "mean time", source, points, "s")
    capped: Points = {}
    refused: Points = {}
    for load in (0.3, 0.5, 0.7):
        rng = generator(1917, "oracle", "capped", str(load))
        offered = SERVERS * load
        theory = 1.0 + erlang_c(SERVERS, offered) / (SERVERS - offered)
        stays = sojourns(rng, load, sizes_of(rng, "exponential", FLOWS), SERVERS, 1.0)
        capped[load] = (*batch_mean(stays), theory)
        blocked = refusals(rng, offered, sizes_of(rng, "two sizes", FLOWS))
        refused[load] = (*batch_mean(blocked), erlang_b(SERVERS, offered))
    checks += _checks("flows of at most a quarter of the link", "mean time", "Erlang's C", capped, "s")
    checks += _checks("a link for four such flows", "share of flows that are refused", "Erlang's B", refused, "")

    def draw() -> Figure:
        from analysis.plots.style import BLUE, GREEN, ORANGE, PURPLE, figure, legend_over

        made = figure(3.4)
        left, right = made.subplots(1, 2)
        loads = np.linspace(0.01, 0.8, 80)
        left.plot(100 * loads, 1.0 / (1.0 - loads), color="black", linewidth=1.2, label="M/G/1-PS, Erlang's C and B")
        for kind, colour, aside in zip(shared, (BLUE, ORANGE, GREEN), (-1.0, 0.0, 1.0), strict=True):
            _bars(left, shared[kind], colour, _NAMES[kind], aside)
        four = [1.0 + erlang_c(SERVERS, SERVERS * x) / (SERVERS * (1 - x)) for x in loads]
        left.plot(100 * loads, four, color="black", linewidth=1.2)
        _bars(left, capped, PURPLE, "at most a quarter each")
        left.set_xlabel("busy share of the link (%)")
        left.set_ylabel("mean time of a flow of 1 s (s)")
        right.plot(SERVERS * loads, [100 * erlang_b(SERVERS, SERVERS * x) for x in loads], color="black", linewidth=1.2)
        percent = {SERVERS * load: (100 * mean, 100 * half, 0.0) for load, (mean, half, _) in refused.items()}
        _bars(right, {offered / 100: values for offered, values in percent.items()}, PURPLE, "")
        right.set_xlabel("offered flows, where four have room")
        right.set_ylabel("refused (%)")
        legend_over(made, left.get_legend_handles_labels()[0])
        return made

    caption = (
        "Left: times of flows that share a link, whose mean is all that theory needs to know of their sizes, and of "
        "flows that are capped. Right: flows that a link for four refuses. With 99.9 % intervals."
    )
    return Findings(checks, (Drawing("network_bulk", caption, draw),))


def _bars(axes: Axes, points: Points, colour: str, label: str, aside: float = 0.0) -> None:
    """Means with their intervals, over loads in percent."""
    axes.errorbar(
        [100 * load + aside for load in points],
        [mean for mean, _, _ in points.values()],
        [half for _, half, _ in points.values()],
        fmt="o",
        color=colour,
        markersize=4,
        linewidth=1.2,
        label=label,
    )


SECTIONS: Final = (
    Section("Queues: control messages", "One server, first come, first served, in whole runs.", _control),
    Section("Queues: bulk", "Processor sharing on the simulator's links, with caps, and with refusals.", _bulk),
)
