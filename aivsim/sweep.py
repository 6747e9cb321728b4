"""Transfers over many settings of rate, delay, loss, number of flows and size, in the simulator and on sockets.

Each route (rate, delay, loss) is one run on sockets, with all sizes and numbers of flows one after the other; several
runs go on at once while the sum of their rates is what one relay process and its neighbours can carry. A figure is the
median of its repetitions; of several flows at once it is the time until the last has arrived.
"""

from __future__ import annotations

import asyncio
import itertools
import statistics
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from aivsim.transfers import Plan, Route, Step, TransferRow, measure, simulate
from core.records.store import write_whole

#: Bits a second that runs at the same time may have together, and how many there may be.
TOGETHER_BITS_PER_S: Final = 120e6
TOGETHER: Final = 4
#: Repetitions of a transfer that takes so long at most, s.
REPEATS: Final = ((2.0, 5), (20.0, 3), (float("inf"), 1))
#: Rest before a transfer: so many of TCP's time-outs, of a round trip and 0.2 s each; in each the window halves.
REST_TIMEOUTS: Final = 6
LEAST_REST_S: Final = 1.5
MSS_BYTES: Final = 1448


class Setting(msgspec.Struct, frozen=True):
    """What is varied. `size_bytes` 0 is a message of the control stream."""

    route: Route
    flows: int
    size_bytes: int


class Transfer(msgspec.Struct, frozen=True):
    """One setting in both worlds. `measured_s`: each repetition, until the last flow had arrived."""

    setting: Setting
    frame_bytes: int
    simulated_s: float
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
        return [setting for setting in found if self.expected_s(setting) <= self.longest_s]

    def skipped(self) -> list[Setting]:
        """What takes too long."""
        found = [Setting(r, f, size) for r in self.routes() for f in self.flows for size in self.sizes_bytes]
        return [setting for setting in found if self.expected_s(setting) > self.longest_s]

    def expected_s(self, setting: Setting) -> float:
        """A lower estimate of how long a transfer takes: by the link's rate, and by what loss leaves of it (Mathis)."""
        route = setting.route
        share = route.rate_bytes_per_s / setting.flows
        if route.loss and self.congestion != "bbr":
            share = min(share, MSS_BYTES / (2 * route.delay_s) * (1.5 / route.loss) ** 0.5)
        return setting.size_bytes / share + route.delay_s

    def plan(self, route: Route) -> Plan:
        """The run over a route: every setting as often as it is repeated."""
        steps: list[Step] = []
        for setting in self.settings(route):
            seconds = self.expected_s(setting)
            repeats = next(count for longest_s, count in REPEATS if seconds <= longest_s)
            steps += [Step(setting.size_bytes, setting.flows)] * repeats
        rest_s = max(LEAST_REST_S, REST_TIMEOUTS * (2 * route.delay_s + 0.2))
        return Plan(route, tuple(steps), rest_s, self.seed, self.congestion)


def collect(plan: Plan, simulated: Sequence[TransferRow], real: Sequence[TransferRow]) -> list[Transfer]:
    """The transfers of a run in both worlds, by setting."""
    at_once: dict[Setting, tuple[list[float], list[float], int]] = {}
    ended = [_last(rows) for rows in (simulated, real)]
    sizes = {row.step: row.frame_bytes for row in real}
    for number, step in enumerate(plan.steps):
        setting = Setting(plan.route, step.flows, step.size_bytes)
        sim_s, real_s, _ = at_once.setdefault(setting, ([], [], sizes[number]))
        sim_s.append(ended[0][number])
        real_s.append(ended[1][number])
    return [
        Transfer(setting, frame_bytes, statistics.median(sim_s), tuple(real_s), plan.congestion)
        for setting, (sim_s, real_s, frame_bytes) in at_once.items()
    ]


def _last(rows: Iterable[TransferRow]) -> dict[int, float]:
    """The longest transfer of each step."""
    longest: dict[int, float] = {}
    for row in rows:
        longest[row.step] = max(longest.get(row.step, 0.0), row.seconds)
    return longest


class Differs(Exception):
    """What both worlds sent is not the same."""


async def run(grid: Grid, on_route: Callable[[Plan, list[Transfer]], Any]) -> list[Transfer]:
    """Run all routes; `on_route` hears of each that has ended. Raises `LaunchError` and `Differs`."""
    limit = _Limit(TOGETHER_BITS_PER_S / 8, TOGETHER)
    found: list[Transfer] = []
    whole = asyncio.current_task()
    assert whole is not None

    plans = [plan for route in grid.routes() if (plan := grid.plan(route)).steps]
    # Before anything is measured, so that it takes no processor from that.
    simulations = [simulate(plan) for plan in plans]

    async def one(plan: Plan, simulated: list[TransferRow]) -> None:
        route = plan.route
        async with limit.taken(route.rate_bytes_per_s):
            try:
                real = await measure(plan)
            except asyncio.CancelledError:
                # A launcher takes a signal as the end of its own run; here it is that of all.
                if not whole.cancelling():
                    whole.cancel()
                raise
        kinds = [sorted((r.step, r.sender, r.size_bytes, r.frame_bytes) for r in rows) for rows in (simulated, real)]
        if kinds[0] != kinds[1]:
            raise Differs(f"{describe(route)}: the two worlds did not send the same messages and bytes")
        transfers = collect(plan, simulated, real)
        found.extend(transfers)
        on_route(plan, transfers)

    async with asyncio.TaskGroup() as group:
        for plan, simulated in zip(plans, simulations, strict=True):
            group.create_task(one(plan, simulated))
    order = {route: number for number, route in enumerate(grid.routes())}
    return sorted(found, key=lambda t: (order[t.setting.route], t.setting.flows, t.setting.size_bytes))


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
