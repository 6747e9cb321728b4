"""Deployments that node processes of the tests build by name."""

from __future__ import annotations

import asyncio
import os
import signal
from typing import Any

import numpy as np

from core.actor import Actor, ArrayDict, Context, Message, PeerGone
from core.deployment import Deployment, Placement
from core.devices import link, profile
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
