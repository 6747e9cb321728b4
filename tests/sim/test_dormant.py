"""Actors at rest: no result depends on rest, and a resting actor is as light as it is said to be."""

from __future__ import annotations

import gc
import tracemalloc
from typing import ClassVar

import msgspec

from core.actor import Actor, Context, Message, Start
from core.deployment import Deployment, Placement, Population
from core.devices import link, profile
from core.records.rows import DeviceRow, EnergyRow
from sim.testing import SimulatedRun, run_sim
from sim.world import World


class Tick(Message, frozen=True, kw_only=True):
    pass


class Note(Message, frozen=True, kw_only=True):
    count: int
    level: float


TICK = Tick()


class Counting(msgspec.Struct):
    count: int = 0
    level: float = 0.0
    peer: str = ""


class Sleeper(Actor):
    """Wakes now and then, counts, and tells the main actor and a neighbour."""

    accepts: ClassVar[tuple[type[Message], ...]] = (Start, Tick, Note)
    State = Counting

    async def handle(self, ctx: Context, message: Message) -> None:
        state = self.state
        if isinstance(message, Note):
            state.peer = message.sender
            return
        state.count += 1
        state.level = ctx.device.battery_level or 0.0
        await ctx.send("main", Note(count=state.count, level=state.level))
        index = int(ctx.name.rpartition("-")[2])
        await ctx.send(f"phone-{(index * 7 + 1) % 40}", Note(count=len(state.peer), level=0.0))
        ctx.later(100.0 + index, TICK)


class Main(Actor):
    accepts: ClassVar[tuple[type[Message], ...]] = (Note,)

    async def run(self, ctx: Context) -> None:
        for _ in range(2000):
            await ctx.receive()


def place(name: str, make: object, kind: str = "phone_mid") -> Placement:
    return Placement(name=name, make=make, profile=profile(kind), link=link("wifi_home"), battery_level=0.5)  # type: ignore[arg-type]


def run(max_live: int) -> SimulatedRun:
    return run_sim(
        Deployment(
            placements=(place("main", Main, "server"),),
            populations=(Population("phone", 40, lambda i: place(f"phone-{i}", Sleeper), ("local",), lambda i: i / 3),),
            main="main",
            messages=(Tick, Note),
            max_live=max_live,
        )
    )


def test_rest_changes_nothing() -> None:
    awake, resting = run(max_live=1000), run(max_live=2)
    assert len(awake.messages) > 3000
    assert resting.messages == awake.messages
    assert resting.of(EnergyRow) == awake.of(EnergyRow)
    ends = [row for row in awake.of(DeviceRow) if row.event == "end"]
    assert [row for row in resting.of(DeviceRow) if row.event == "end"] == ends
    assert len(ends) == 41


def test_a_resting_actor_weighs_at_most_460_bytes() -> None:
    """Its row, its state and one timer, after it was awake once; a phone with a battery, and so an event ahead."""
    count = 40_000

    class Once(Actor):
        accepts: ClassVar[tuple[type[Message], ...]] = (Start, Tick)
        State = Counting

        async def handle(self, ctx: Context, message: Message) -> None:
            self.state.count += 1
            ctx.later(1e6, TICK)

    records = SimulatedRun()
    records.row = lambda *row: None  # type: ignore[method-assign]
    deployment = Deployment(
        placements=(),
        populations=(Population("phone", count, lambda i: place(f"phone-{i}", Once), ("local",), lambda i: i * 1e-3),),
        main="",
        messages=(Tick,),
        max_live=100,
    )
    gc.collect()
    tracemalloc.start()
    try:
        world = World(deployment, records, None)  # type: ignore[arg-type]
        dormant = world.populations["phone"]
        dormant.start()
        world.env.run(until=count * 1e-3 + 1.0)
        gc.collect()
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert dormant._met.sum() > count - 200
    per_actor = held / count
    assert 100 < per_actor <= 460, per_actor
