"""Users of devices, and messages that are absorbed, in both worlds: the same log."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import pytest

from core.actor import Actor, Context, DeviceChanged, Message, Start
from core.availability import CHARGING, IN_USE, METERED, Replay, Trace
from core.deployment import Deployment, Placement
from core.devices import link, profile
from core.records.rows import DeviceRow, EnergyRow, Row
from real_runtime.testing import run_real
from sim.testing import run_sim

TRACE = Trace("user", 10.0, (1.0, 1.2, 1.4, 1.6), (CHARGING, CHARGING | IN_USE, METERED, 0))


class Say(Message, frozen=True, kw_only=True):
    what: str


class Phone(Actor):
    """Tells the main actor what it is told of its device, and what it sees."""

    accepts: ClassVar[tuple[type[Message], ...]] = (DeviceChanged,)

    async def handle(self, ctx: Context, message: Message) -> None:
        if isinstance(message, DeviceChanged):
            device = ctx.device
            seen = "".join("01"[bit] for bit in (device.in_use, device.charging, device.metered))
            await ctx.send("main", Say(what=f"{message.before} to {message.after}: {seen}"))


class Listener(Actor):
    """Absorbs some of what it is told, and wakes for the rest."""

    accepts: ClassVar[tuple[type[Message], ...]] = (Start, Say)
    absorbs: ClassVar[tuple[type[Message], ...]] = (Say,)

    def __init__(self, log: list[str]) -> None:
        self.log = log

    def absorb(self, message: Message) -> bool:
        assert isinstance(message, Say)
        if message.what.startswith("0") or message.what.endswith("000"):
            return False
        self.log.append(f"absorbed {message.what} from {message.sender}")
        return True

    async def run(self, ctx: Context) -> None:
        while len(self.log) < 4:
            message = await ctx.receive()
            if isinstance(message, Say):
                self.log.append(f"woken by {message.what}")


class Waiting(Listener):
    """Does not listen until all has been said: nothing may be absorbed past what waits."""

    async def run(self, ctx: Context) -> None:
        await ctx.sleep(0.6)
        await super().run(ctx)


def _user(index: int) -> Callable[[], Any]:
    # It begins 0.9 s into the trace, as if the study had begun then.
    process = Replay((TRACE,), 1, 1, "phone")
    process._shift_s[0] = 0.9
    return lambda: process.course(index)


def _run(world: str, main: type[Listener]) -> tuple[list[str], list[str], float]:
    log: list[str] = []
    placements = (
        Placement("main", lambda: main(log), profile("server"), link("ethernet_lan"), region="europe"),
        Placement(
            "phone-0",
            Phone,
            profile("phone_mid"),
            link("wifi_home"),
            region="europe",
            battery_level=0.5,
            course=_user(0),
        ),
    )
    deployment = Deployment(
        placements=placements, main="main", messages=(Say,), region_delay_s={("europe", "europe"): 0.001}
    )
    rows: list[Row]
    if world == "sim":
        rows = [row for _, _, row in run_sim(deployment).rows]
    else:
        rows = [row for _, _, row in run_real(deployment).rows]
    events = [row.event for row in rows if isinstance(row, DeviceRow) and row.event not in ("start", "end")]
    return log, events, sum(row.joules for row in rows if isinstance(row, EnergyRow) and row.component == "screen")


@pytest.mark.parametrize("world", ["sim", "real"])
def test_an_actor_is_told_of_its_user_and_another_absorbs_what_it_says(world: str) -> None:
    log, events, screen_j = _run(world, Listener)
    assert log == [
        "woken by 0 to 2: 010",
        "absorbed 2 to 3: 110 from phone-0",
        "absorbed 3 to 4: 001 from phone-0",
        "woken by 4 to 0: 000",
    ]
    assert events == ["charging", "in_use", "left_alone", "on_battery", "metered", "unmetered"]
    # In use for 0.2 s of the trace; a real device hears of it when its timer comes, but counts from when it was due.
    assert screen_j == pytest.approx(0.2 * profile("phone_mid").screen_w, rel=1e-9 if world == "sim" else 0.2)


@pytest.mark.parametrize("world", ["sim", "real"])
def test_nothing_is_absorbed_past_a_message_that_waits(world: str) -> None:
    log, _, _ = _run(world, Waiting)
    assert log == ["woken by 0 to 2: 010", "woken by 2 to 3: 110", "woken by 3 to 4: 001", "woken by 4 to 0: 000"]
