"""Small studies for tests of the simulator: actors from functions, links and devices of round numbers, no JAX."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Coroutine
from typing import Any

from core.actor import Actor, ArrayDict, Context, Message, Payload
from core.deployment import Deployment, Placement
from core.devices import Battery, DeviceProfile, Work
from core.devices.classes import Radio
from core.links import Link
from core.records.rows import UndeliveredRow
from core.wire import frame_size
from sim.testing import SimulatedRun
from sim.world import World

Life = Callable[[Context], Coroutine[Any, Any, None]]
Handler = Callable[[Context, Message], Coroutine[Any, Any, None]]

#: Powers of two, so that times are exact: 4 KiB/s up, 8 KiB/s down, an eighth of a second one way.
SLOW = Link(name="slow", kind="wifi", latency_s=0.125, up_bytes_per_s=4096.0, down_bytes_per_s=8192.0)
FAST = Link(name="fast", kind="wifi", latency_s=0.0, up_bytes_per_s=2.0**30, down_bytes_per_s=2.0**30)
#: 1 W idle, 3 W at work, 1 GFLOP/s; 1/1024 J a byte sent and 1/2048 J a byte received.
PLUGGED = DeviceProfile(
    name="plugged",
    description="on mains",
    train_flops_per_s=1e9,
    step_overhead_s=0.0,
    memory_bytes_per_s=1e9,
    idle_w=1.0,
    max_w=3.0,
    radios={"wifi": Radio(2.0**-10, 2.0**-11)},
)
BATTERY = Battery(energy_j=1000.0, charge_w=10.0, charge_efficiency=0.5, ocv_v=(3.0, 4.0))
PORTABLE = dataclasses.replace(PLUGGED, name="portable", description="on a battery", battery=BATTERY)


class Small(Message, frozen=True, kw_only=True):
    n: int = 0


class Answer(Message, frozen=True, kw_only=True):
    n: int = 0


class Large(Message, frozen=True, kw_only=True):
    n: int = 0
    data: Payload


MESSAGES: tuple[type[Message], ...] = (Small, Answer, Large)


class Opaque(Payload):
    """A payload of so many bytes that nobody looks at."""

    __slots__ = ("size_bytes",)

    def __init__(self, size_bytes: int) -> None:
        self.size_bytes = size_bytes

    @property
    def spec(self) -> dict[str, Any]:
        return {}

    @property
    def nbytes(self) -> int:
        return self.size_bytes


def large(to: str, sender: str, size_bytes: int, n: int = 0, correlation: int = 0) -> Large:
    """A bulk message whose whole frame has `size_bytes`."""
    empty = frame_size(to, Large(sender=sender, correlation=correlation, n=n, data=Opaque(0)))
    return Large(n=n, data=Opaque(size_bytes - empty))


@dataclasses.dataclass(frozen=True)
class Chore:
    """What stands for a function: it has a name and takes so long on the devices above."""

    seconds: float
    name: str = "chore"


class Chores:
    """What stands for the evaluator: jobs have results of no content."""

    def work(self, function: Chore, arguments: tuple[Any, ...]) -> Work:
        return Work(flops=function.seconds * 1e9, bytes=0.0, steps=1)

    def begin(self, function: Chore, arguments: tuple[Any, ...]) -> int:
        return 0

    def end(self, job: int) -> dict[str, ArrayDict]:
        return {"out": ArrayDict({})}

    def drop(self, job: int) -> None:
        """Nothing was computed ahead."""


def living(life: Life, *accepts: type[Message]) -> Callable[[], Actor]:
    """Makes an actor with a life of its own."""

    class Living(Actor):
        async def run(self, ctx: Context) -> None:
            await life(ctx)

    Living.accepts = accepts
    return Living


def handling(handler: Handler, *accepts: type[Message], **settings: Any) -> Callable[[], Actor]:
    """Makes an actor that handles messages."""

    class Handling(Actor):
        async def handle(self, ctx: Context, message: Message) -> None:
            await handler(ctx, message)

    Handling.accepts = accepts
    for name, value in settings.items():
        setattr(Handling, name, value)
    return Handling


async def answer(ctx: Context, message: Message) -> None:
    """A handler that answers every message."""
    await ctx.reply(message, Answer(n=getattr(message, "n", 0)))


def place(
    name: str, make: Callable[[], Actor], link: Link = FAST, profile: DeviceProfile = PLUGGED, **settings: Any
) -> Placement:
    return Placement(name=name, make=make, profile=profile, link=link, **settings)


def study(main: Life | Placement, *others: Placement, accepts: tuple[type[Message], ...] = (), **settings: Any) -> Any:
    """A deployment whose main actor lives as `main` says."""
    first = main if isinstance(main, Placement) else place("main", living(main, *accepts))
    return Deployment(placements=(first, *others), main=first.name, **{"messages": MESSAGES, **settings})


@dataclasses.dataclass
class Outcome:
    """What a run recorded, and the world it left behind."""

    records: SimulatedRun
    world: World

    def undelivered(self) -> list[tuple[str, str, str, str]]:
        rows = self.records.of(UndeliveredRow)
        return [(row.sender, row.receiver, row.type, row.reason) for row in rows]

    def arrivals(self, kind: str) -> list[tuple[float, str, str]]:
        """(time, sender, receiver) of the delivered messages of a type."""
        return [(row.delivered_s, row.sender, row.receiver) for row in self.records.messages if row.type == kind]


def build(deployment: Deployment) -> Outcome:
    """A world that has not begun."""
    records = SimulatedRun()
    return Outcome(records, World(deployment, records, Chores()))  # type: ignore[arg-type]


def run(deployment: Deployment) -> Outcome:
    """Run a deployment whose only functions are chores."""
    outcome = build(deployment)
    try:
        outcome.world.run()
    finally:
        outcome.records.ended_s = outcome.world.env.now
    return outcome
