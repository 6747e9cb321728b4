"""Transfers over many settings of rate, delay, loss, number of flows and size, in the simulator and on sockets.

Each route (rate, delay, loss) is a few runs: of senders that are each alone, and of several at once; over lossy routes
both more than once, with other losses and in another order, because connections remember what they have met. Several
runs go on at once while the sum of their rates is what one relay process and its neighbours can carry. Of several flows
at once a time is that until the last has arrived.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import itertools
import math
import os
import statistics
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from aivsim.transfers import LEAD_S, Plan, Route, Step, TransferRow, measure, simulate
from core import rng
from core.network import IDEAL, Transport
from core.network.transport import transfer_s
from core.network.windows import Connection
from core.records.store import write_whole

#: Bits a second that runs at the same time may have together, and how many there may be.
TOGETHER_BITS_PER_S: Final = 80e6
TOGETHER: Final = 4
#: Senders that are each alone in one run: so many at most, of such rates together.
ALONE: Final = 12
ALONE_BITS_PER_S: Final = 40e6
#: Repetitions of a transfer without loss, which is nearly the same again, and fewer of those that take over `LONG_S`.
REPEATS: Final = 3
REPEATS_LONG: Final = 2
LONG_S: Final = 4.0
#: With loss its time is a random variable: as many as bring the standard error of their median down to `PRECISION`, by
#: the spread that the simulator has; within these bounds, and in `PATIENCE_S` of a run. What flows that share a link do
#: to each other spreads too, and the simulator does not know it. Of bytes below `SMALL_BYTES` no goal is stated.
REPEATS_LOSSY: Final = (6, 96)
REPEATS_LOSSY_LONG: Final = 3
REPEATS_SMALL: Final = 12
SMALL_BYTES: Final = 100_000
PRECISION: Final = 0.05
PATIENCE_S: Final = 45.0
#: Standard error of a median over the standard deviation, times √n: √(π/2), for normal errors.
_OF_MEDIAN: Final = 1.2533
#: Connections and transfers of each from which a spread is taken.
_SPREAD_OF: Final = (40, 4)
#: Runs of a lossy route.
RUNS_LOSSY: Final = 3
#: Times that a lossy run is simulated, with other losses.
SIMULATIONS: Final = 8
#: Rest before a transfer, s: with what goes before a transfer longer than a time-out, so that windows fall back.
REST_S: Final = 1.0
#: Scheduling priority of what is measured, where lower comes first (setpriority(2)); usual is 0.
PRIORITY: Final = -10
MSS_BYTES: Final = 1448


class Setting(msgspec.Struct, frozen=True):
    """What is varied. `size_bytes` 0 is a message of the control stream."""

    route: Route
    flows: int
    size_bytes: int


class Transfer(msgspec.Struct, frozen=True):
    """One setting on sockets. `measured_s`: each repetition, until the last flow had arrived."""

    setting: Setting
    frame_bytes: int
    measured_s: tuple[float, ...]
    congestion: str

    @property
    def real_s(self) -> float:
        """The median repetition."""
        return statistics.median(self.measured_s)


class Grid(msgspec.Struct, frozen=True):
    """All combinations that are asked for; a transfer that takes longer than `longest_s` is skipped."""

    rates_bytes_per_s: tuple[float, ...]
    delays_s: tuple[float, ...]
    losses: tuple[float, ...]
    flows: tuple[int, ...]
    sizes_bytes: tuple[int, ...]
    longest_s: float
    congestion: str
    seed: int

    def routes(self) -> list[Route]:
        """The routes, slow ones first: they take longest."""
        return [Route(*parts) for parts in itertools.product(self.rates_bytes_per_s, self.delays_s, self.losses)]

    def settings(self, route: Route) -> list[Setting]:
        """What is sent over a route."""
        found = [Setting(route, flows, size) for flows in self.flows for size in self.sizes_bytes]
        return [setting for setting in found if expected_s(setting, self.congestion) <= self.longest_s]

    def skipped(self) -> list[Setting]:
        """What takes too long."""
        found = [Setting(r, f, size) for r in self.routes() for f in self.flows for size in self.sizes_bytes]
        return [setting for setting in found if expected_s(setting, self.congestion) > self.longest_s]

    def plans(self) -> list[Plan]:
        """The runs of all routes."""
        kept = [(setting, repeats(setting, self.congestion)) for r in self.routes() for setting in self.settings(r)]
        return plans(dict(kept), self.congestion, self.seed)


def expected_s(setting: Setting, congestion: str) -> float:
    """A lower estimate of how long a transfer takes: by the link's rate, and by what loss leaves of it (Mathis)."""
    route = setting.route
    share = min(route.rate_bytes_per_s / setting.flows, _lossy_bytes_per_s(route, congestion))
    return setting.size_bytes / share + route.delay_s


def _lossy_bytes_per_s(route: Route, congestion: str) -> float:
    """What loss leaves of a connection's rate, about."""
    if not route.loss or congestion == "bbr":
        return math.inf
    return float(MSS_BYTES / (2 * route.delay_s) * (1.5 / route.loss) ** 0.5)


def load_bytes_per_s(plan: Plan) -> float:
    """What a run sends at most, about: a connection may have twice its mean rate for a while."""
    most = 2 * _lossy_bytes_per_s(plan.route, plan.congestion)
    if plan.shared:
        return min(plan.route.rate_bytes_per_s, plan.senders * most)
    return plan.senders * min(plan.route.rate_bytes_per_s, most)


@functools.cache
def repeats(setting: Setting, congestion: str) -> int:
    """How often a transfer is measured."""
    long = expected_s(setting, congestion) > LONG_S
    if not setting.route.loss:
        return REPEATS_LONG if long else REPEATS
    median_s, spread = _spread(setting, congestion)
    least, most = REPEATS_LOSSY_LONG if long else REPEATS_LOSSY[0], REPEATS_LOSSY[1]
    if setting.size_bytes < SMALL_BYTES:
        most = REPEATS_SMALL
    at_once = _alone(setting.route, congestion) if setting.flows == 1 else 1
    affordable = int(PATIENCE_S / (median_s + REST_S + LEAD_S)) * at_once
    return max(min(math.ceil((_OF_MEDIAN * spread / PRECISION) ** 2), most, affordable), least)


def _spread(setting: Setting, congestion: str) -> tuple[float, float]:
    """The median of a transfer over a lossy path, s, and its spread: half of its middle 68 %, over the median."""
    transport = Transport(congestion)
    route = setting.route
    draw = rng.generator(0, "validate", "spread", describe(route), setting.flows, setting.size_bytes).random
    times_s: list[float] = []
    for _ in range(_SPREAD_OF[0]):
        flows = [Connection() for _ in range(setting.flows)]
        for _ in range(_SPREAD_OF[1]):
            for flow in flows:
                flow.rest(transport, REST_S + LEAD_S, 2.0 * route.delay_s)
            times_s.append(
                max(
                    transfer_s(
                        transport,
                        max(setting.size_bytes, 1),
                        route.rate_bytes_per_s,
                        route.delay_s,
                        route.loss,
                        flows=setting.flows,
                        connection=flow,
                        draws=lambda: draw,
                    )
                    for flow in flows
                )
            )
    times_s.sort()
    low_s, median_s, high_s = (times_s[int(share * len(times_s))] for share in (0.16, 0.5, 0.84))
    return median_s, (high_s - low_s) / 2.0 / median_s


def _alone(route: Route, congestion: str) -> int:
    """How many senders that are each alone on such a route are timed at once."""
    if not route.loss:
        return 1
    one = load_bytes_per_s(Plan(route, (Step(0, 1),), REST_S, congestion=congestion, shared=False))
    return max(min(ALONE, int(ALONE_BITS_PER_S / 8 / one)), 1)


def plans(wanted: Mapping[Setting, int], congestion: str, seed: int) -> list[Plan]:
    """The runs that repeat each setting as often as is wanted, or more often where several are timed at once."""
    made: list[Plan] = []
    for route in dict.fromkeys(setting.route for setting in wanted):
        alone = _alone(route, congestion)
        runs = RUNS_LOSSY if route.loss else 1
        for shared, run in itertools.product((False, True), range(runs)):
            steps: list[Step] = []
            for setting, times in wanted.items():
                if setting.route == route and (setting.flows > 1) == shared:
                    senders = setting.flows if shared else alone
                    at_all = times if shared else math.ceil(times / alone)
                    steps += [Step(setting.size_bytes, senders)] * len(range(run, at_all, runs))
            if steps:
                path = ("validate", describe(route), int(shared), run)
                order = rng.generator(seed, *path).permutation(len(steps)).tolist()
                number = rng.stream_key(seed, *path) % (1 << 31)
                made.append(Plan(route, tuple(steps[k] for k in order), REST_S, number, congestion, shared))
    return made


Samples = dict[Setting, list[float]]


def collect(plan: Plan, rows: Iterable[TransferRow], into: Samples) -> None:
    """Add the times of a run: of each transfer that was alone, and of the last of those that shared."""
    last: dict[int, float] = {}
    for row in rows:
        if row.step < 0:
            continue
        step = plan.steps[row.step]
        if plan.shared:
            last[row.step] = max(last.get(row.step, 0.0), row.seconds)
        else:
            into.setdefault(Setting(plan.route, 1, step.size_bytes), []).append(row.seconds)
    for number, seconds in last.items():
        step = plan.steps[number]
        into.setdefault(Setting(plan.route, step.senders, step.size_bytes), []).append(seconds)


def simulated(runs: Sequence[Plan], transport: Transport = IDEAL) -> Samples:
    """The times of runs in the simulator; where losses are drawn, of several of each, with other draws."""
    found: Samples = {}
    for plan in runs:
        drawn = plan.route.loss > 0.0 and not transport.ideal
        for number in range(SIMULATIONS if drawn else 1):
            seeded = msgspec.structs.replace(plan, seed=rng.stream_key(plan.seed, "simulation", number) % (1 << 31))
            collect(plan, simulate(seeded, transport), found)
    return found


class Differs(Exception):
    """What both worlds sent is not the same."""


async def run(grid: Grid, on_run: Callable[[Plan], Any]) -> list[Transfer]:
    """Measure all routes; `on_run` hears of each run that has ended. Raises `LaunchError` and `Differs`."""
    limit = _Limit(TOGETHER_BITS_PER_S / 8, TOGETHER)
    found: Samples = {}
    frames: dict[int, int] = {}
    whole = asyncio.current_task()
    assert whole is not None

    made = grid.plans()
    # Before anything is measured, so that it takes no processor from that.
    simulations = [simulate(plan) for plan in made]

    async def one(plan: Plan, imagined: list[TransferRow]) -> None:
        async with limit.taken(load_bytes_per_s(plan)):
            try:
                real = await measure(plan)
            except asyncio.CancelledError:
                # A launcher takes a signal as the end of its own run; here it is that of all.
                if not whole.cancelling():
                    whole.cancel()
                raise
        kinds = [sorted((r.step, r.sender, r.size_bytes, r.frame_bytes) for r in rows) for rows in (imagined, real)]
        if kinds[0] != kinds[1]:
            raise Differs(f"{describe(plan.route)}: the two worlds did not send the same messages and bytes")
        frames.update((row.size_bytes, row.frame_bytes) for row in real if row.step >= 0)
        collect(plan, real, found)
        on_run(plan)

    with _preferred():
        async with asyncio.TaskGroup() as group:
            for plan, imagined in zip(made, simulations, strict=True):
                group.create_task(one(plan, imagined))
    settings = [setting for route in grid.routes() for setting in grid.settings(route)]
    return [Transfer(s, frames[s.size_bytes], tuple(found[s]), grid.congestion) for s in settings]


@contextlib.contextmanager
def _preferred() -> Iterator[None]:
    """Go before other work of this machine, with all processes that are begun meanwhile: it is no part of a network."""
    before = os.getpriority(os.PRIO_PROCESS, 0)
    os.setpriority(os.PRIO_PROCESS, 0, min(before, PRIORITY))
    try:
        yield
    finally:
        os.setpriority(os.PRIO_PROCESS, 0, before)


class _Limit:
    """Lets runs go on together up to a sum of rates and a number; one that is alone always may."""

    def __init__(self, rate: float, count: int) -> None:
        self._rate = rate
        self._count = count
        self._taken: list[float] = []
        self._changed = asyncio.Condition()

    def taken(self, rate: float) -> _Turn:
        return _Turn(self, rate)

    async def enter(self, rate: float) -> None:
        async with self._changed:
            await self._changed.wait_for(
                lambda: not self._taken or (len(self._taken) < self._count and sum(self._taken) + rate <= self._rate)
            )
            self._taken.append(rate)

    async def leave(self, rate: float) -> None:
        async with self._changed:
            self._taken.remove(rate)
            self._changed.notify_all()


class _Turn:
    def __init__(self, limit: _Limit, rate: float) -> None:
        self._limit = limit
        self._rate = rate

    async def __aenter__(self) -> None:
        await self._limit.enter(self._rate)

    async def __aexit__(self, *_: object) -> None:
        await self._limit.leave(self._rate)


def describe(route: Route) -> str:
    """A route in words."""
    return f"{route.rate_bytes_per_s * 8e-6:g} Mbit/s, {route.delay_s * 1e3:g} ms, {route.loss:.2%} loss"


def save(path: Path, transfers: Sequence[Transfer]) -> None:
    """Write transfers as JSON. Raises `RecordsError`."""
    write_whole(path, msgspec.json.format(msgspec.json.encode(list(transfers)), indent=1) + b"\n")


def load(path: Path) -> list[Transfer]:
    """Read transfers that were saved. Raises `OSError`, and `msgspec.MsgspecError` for what they are not."""
    return msgspec.json.decode(path.read_bytes(), type=list[Transfer])
