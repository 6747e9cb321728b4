"""Deployments that node processes of the tests build by name."""

from __future__ import annotations

import asyncio
import dataclasses
import os
import signal
from typing import Any

import numpy as np

from core.actor import Actor, ArrayDict, Context, Message, Payload, PeerGone
from core.deployment import Deployment, Placement
from core.devices import link, profile
from core.links import Handover, Link
from core.network import Autoregressive, Markov, MarkovState, Outages, Replay, Trace
from core.records import EvaluationRow, RoundRow


class Ask(Message, frozen=True, kw_only=True):
    number: int


class Die(Message, frozen=True, kw_only=True):
    pass


class Echo(Actor):
    accepts = (Ask, Die)

    async def handle(self, ctx: Context, message: Message) -> None:
        match message:
            case Die():
                os.kill(os.getpid(), signal.SIGKILL)
            case Ask():
                await ctx.reply(message, Ask(number=message.number + 1))


class Fragile(Echo):
    async def handle(self, ctx: Context, message: Message) -> None:
        raise ArithmeticError("fragile")


class Asking(Actor):
    def __init__(self) -> None:
        self.result: ArrayDict | None = None

    async def run(self, ctx: Context) -> None:
        self.result = ArrayDict({"w": np.arange(3.0)})
        for number in range(50):
            for peer in ("a", "b", "c"):
                await ctx.request(peer, Ask(number=number), timeout=10)
        ctx.record(EvaluationRow(round=1, examples=10, accuracy=0.5, loss=1.0))


class Killing(Actor):
    """Kills the process of `a` and goes on with the others."""

    accepts = (PeerGone,)

    async def run(self, ctx: Context) -> None:
        ctx.watch("a")
        await ctx.send("a", Die())
        gone = await ctx.receive(timeout=60)
        assert gone == PeerGone(peer="a")
        await ctx.request("b", Ask(number=1), timeout=10)
        ctx.record(_round("a was lost"))


class Endless(Actor):
    async def run(self, ctx: Context) -> None:
        await ctx.request("a", Ask(number=1), timeout=10)
        ctx.record(_round("begun"))
        await ctx.sleep(1e6)


def _round(outcome: str) -> RoundRow:
    counts = dict.fromkeys(
        ("available", "selected", "accepted", "late", "lost", "declined", "rejected", "not_finite", "examples"), 0
    )
    return RoundRow(round=1, started_s=0.0, ended_s=1.0, outcome=outcome, **counts)


def _study(main: type[Actor], peer: type[Actor] = Echo, **options: Any) -> Deployment:
    def place(name: str, make: type[Actor]) -> Placement:
        return Placement(name, make, profile("phone_mid"), link("wifi_home"))

    peers = [place(name, peer) for name in ("a", "b", "c")]
    return Deployment(placements=(place("main", main), *peers), main="main", messages=(Ask, Die), **options)


def asking() -> Deployment:
    return _study(Asking)


def killing() -> Deployment:
    return _study(Killing)


def endless() -> Deployment:
    return _study(Endless)


def behind_links() -> Deployment:
    return _study(Asking, emulate_links=True)


def endless_behind_links() -> Deployment:
    return _study(Endless, emulate_links=True)


class Block(Message, frozen=True, kw_only=True):
    data: Payload


class Giver(Actor):
    """Sends as many blocks as it is asked for."""

    accepts = (Ask,)

    async def handle(self, ctx: Context, message: Message) -> None:
        assert isinstance(message, Ask)
        for _ in range(message.number):
            await ctx.send(message.sender, Block(data=_block()))


class Taker(Actor):
    """Says of each block that it has come."""

    accepts = (Block,)

    async def handle(self, ctx: Context, message: Message) -> None:
        await ctx.send(message.sender, Ask(number=0))


class Exchanging(Actor):
    """Has as many blocks come from one peer as it sends to another: afterwards, or at the same time."""

    accepts = (Ask, Block)

    def __init__(self, at_once: bool) -> None:
        self.at_once = at_once

    async def run(self, ctx: Context) -> None:
        await ctx.send("giver", Ask(number=BLOCKS))
        before = 0 if self.at_once else BLOCKS
        for _ in range(before):
            await ctx.receive()
        for _ in range(BLOCKS):
            await ctx.send("taker", Block(data=_block()))
        for _ in range(2 * BLOCKS - before):
            await ctx.receive()


#: Blocks each way, and their size: 3.2 s each way at `SLOW_BYTES_PER_S`.
BLOCKS, BLOCK_BYTES, SLOW_BYTES_PER_S = 8, 200_000, 500_000.0


def _block() -> ArrayDict:
    return ArrayDict({"x": np.zeros(BLOCK_BYTES, np.uint8)})


def _slow(name: str, **more: Any) -> Link:
    return Link(name, "ethernet", 0.01, SLOW_BYTES_PER_S, SLOW_BYTES_PER_S, **more)


#: Links that are more than two steady rates.
LINKS = {
    "steady": _slow("steady"),
    "half-duplex": _slow("half-duplex", half_duplex=True),
    "fading": _slow("fading", variation=Autoregressive(0.7, 0.6, 1.0)),
    "states": _slow("states", variation=Markov((MarkovState(1.0, 1.0), MarkovState(0.2, 1.0)))),
    "trace": _slow(
        "trace",
        variation=Replay(Trace("up", (0.0, 1.0), (SLOW_BYTES_PER_S / 2, SLOW_BYTES_PER_S), 2.0), None, shifted=False),
    ),
    "outages": _slow("outages", outages=Outages(1.5, 1.0)),
    "hand-over": dataclasses.replace(
        _slow("before"),
        handovers=(Handover(2.0, Link("after", "ethernet", 0.04, SLOW_BYTES_PER_S / 4, SLOW_BYTES_PER_S)),),
    ),
}


def exchanging(name: str) -> Deployment:
    """One actor behind a link of `LINKS`, the others behind fast ones.

    One way after the other: where TCP sends both ways, acknowledgements wait behind data, which the simulator's do not.
    """
    fast = Link("fast", "ethernet", 0.001, 12.5e6, 12.5e6)
    actors = {"main": lambda: Exchanging(at_once=LINKS[name].half_duplex), "giver": Giver, "taker": Taker}
    return Deployment(
        placements=tuple(
            Placement(actor, make, profile("server"), LINKS[name] if actor == "main" else fast)
            for actor, make in actors.items()
        ),
        main="main",
        messages=(Ask, Block),
        seed=4,
        emulate_links=True,
    )


def failing() -> Deployment:
    return _study(Asking, Fragile)


async def launch(name: str, processes: int, directory: str) -> None:
    """Launch a study, from a process of its own, and report when it has begun."""
    from pathlib import Path

    import click

    from core.records import RunWriter
    from real_runtime import launcher
    from real_runtime.progress import Progress

    def tell(progress: Progress) -> None:
        click.echo(progress.row.get("outcome", ""))

    writer = RunWriter(Path(directory))
    try:
        await launcher.run(
            globals()[name](),
            node_arguments=["--deployment", f"real_studies:{name}"],
            processes=processes,
            directory=Path(directory),
            writer=writer,
            on_progress=tell,
        )
    finally:
        writer.close()


if __name__ == "__main__":
    import sys

    asyncio.run(launch(sys.argv[1], int(sys.argv[2]), sys.argv[3]))
