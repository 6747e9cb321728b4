"""Actors at rest: no result depends on rest, and a resting actor is as light as it is said to be."""

from __future__ import annotations

import dataclasses
import gc
import tracemalloc
from typing import ClassVar

import msgspec
import pytest

from core.actor import Actor, Context, Message, Start
from core.deployment import Deployment, Placement, Population
from core.devices import link as catalogue_link
from core.devices import profile
from core.links import Handover, Link
from core.network import Autoregressive, Jitter, Network, Outages, Transport
from core.network.network import PLAIN
from core.records.rows import DeviceRow, EnergyRow
from sim.testing import SimulatedRun, run_sim
from sim.world import World


class Tick(Message, frozen=True, kw_only=True):
    pass


class Note(Message, frozen=True, kw_only=True):
    count: int
    level: float


TICK = Tick()
WIFI = catalogue_link("wifi_home")


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
    return Placement(name=name, make=make, profile=profile(kind), link=WIFI, battery_level=0.5)  # type: ignore[arg-type]


def run(max_live: int, network: Network = PLAIN, link: Link = WIFI) -> SimulatedRun:
    def phone(index: int) -> Placement:
        return dataclasses.replace(place(f"phone-{index}", Sleeper), link=link)

    return run_sim(
        Deployment(
            placements=(place("main", Main, "server"),),
            populations=(Population("phone", 40, phone, ("local",), lambda i: i / 3),),
            main="main",
            messages=(Tick, Note),
            max_live=max_live,
            network=network,
        )
    )


def test_rest_changes_nothing_in_a_network_that_varies() -> None:
    """Connections, jitter and the curves of links outlive a rest; hand-overs come to those who are awake or wake."""
    link = dataclasses.replace(
        WIFI,
        variation=Autoregressive(1.0, 0.9, 10.0),
        outages=Outages(300.0, 20.0),
        handovers=(Handover(500.0, catalogue_link("lte_good")),),
    )
    network = Network(transport=Transport("cubic"), jitter=Jitter(), varying=True)
    awake, resting = run(10**6, network, link), run(5, network, link)
    assert resting.messages == awake.messages
    assert len({row.delivered_s - row.sent_s for row in awake.messages}) > 1000
    energy = [
        {(name, row.component): row.joules for _, name, row in found.rows if isinstance(row, EnergyRow)}
        for found in (awake, resting)
    ]
    assert energy[0] == energy[1]


def test_links_that_vary_are_announced() -> None:
    with pytest.raises(ValueError, match=r"Network\.varying"):
        run(5, PLAIN, dataclasses.replace(WIFI, outages=Outages(1.0, 1.0)))


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

    def lived(count: int) -> World:
        """The world after each of so many has been awake once."""
        records = SimulatedRun()
        records.row = lambda *row: None  # type: ignore[method-assign]
        phones = Population("phone", count, lambda i: place(f"phone-{i}", Once), ("local",), lambda i: i * 1e-3)
        deployment = Deployment(placements=(), populations=(phones,), main="", messages=(Tick,), max_live=20)
        world = World(deployment, records, None)  # type: ignore[arg-type]
        world.populations["phone"].start()
        world.env.run(until=count * 1e-3 + 1.0)
        gc.collect()
        return world

    # What is made once for all, such as the catalogue, weighs nothing for each.
    lived(10)
    gc.collect()
    tracemalloc.start()
    try:
        dormant = lived(count).populations["phone"]
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert dormant._met.sum() > count - 200
    per_actor = held / count
    assert 100 < per_actor <= 460, per_actor
