"""Faults mean the same in both worlds: the same small actors give the same log under each of them."""

from __future__ import annotations

import dataclasses
import math
from collections import Counter
from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np
import pytest

from core.actor import ArrayDict, Context, DeadlineExceeded, Message, PeerGone, PeerLeft, Start
from core.compute import HostFunction
from core.deployment import ClockSkew, Deployment, Fault, MessageFault, Partition, Slowdown
from core.devices import Work, profile
from core.records.rows import DeviceRow, FaultRow, ImpairedRow, UndeliveredRow
from real_runtime.testing import run_real
from real_runtime.world import RunFailed
from sim.testing import run_sim
from sim.world import ActorFailed
from tests.worlds import actors as a
from tests.worlds.actors import Ping, Pong


class Counting(a.Logging):
    """Sends numbered messages to a listener, one every 10 ms, and listens to the end itself."""

    accepts: ClassVar[tuple[type[Message], ...]] = (Pong,)

    async def run(self, ctx: Context) -> None:
        for n in range(24):
            await ctx.send("listener", Ping(n=n))
            await ctx.sleep(0.01)
        await ctx.sleep(1.2)


class Listener(a.Logging):
    accepts: ClassVar[tuple[type[Message], ...]] = (Ping, Pong, a.Blob)

    async def handle(self, ctx: Context, message: Message) -> None:
        self.log.append(str(message.n))  # type: ignore[attr-defined]


class Asking(a.Logging):
    """Makes eight requests, each with its time-out."""

    async def run(self, ctx: Context) -> None:
        for n in range(8):
            try:
                reply = await ctx.request("echo", Ping(n=n), timeout=0.15)
            except DeadlineExceeded as failure:
                self.log.append(f"{n}: {failure}")
            else:
                self.log.append(f"{n}: {reply.n}")  # type: ignore[attr-defined]
        await ctx.sleep(0.2)


class Sides(a.Logging):
    """Asks on its own side and beyond a partition, and hears who is given up."""

    accepts: ClassVar[tuple[type[Message], ...]] = (PeerGone, Pong)

    async def run(self, ctx: Context) -> None:
        for peer in ("near", "far", "apart"):
            ctx.watch(peer)
        await ctx.sleep(0.2)
        await ctx.send("far", Ping(n=1))
        await ctx.send("far", Ping(n=2))
        for peer in ("near", "apart", "far"):
            try:
                reply = await ctx.request(peer, Ping(n=10), timeout=0.1)
            except DeadlineExceeded:
                self.log.append(f"{peer} is out of reach")
            else:
                self.log.append(f"{peer}: {reply.n}")  # type: ignore[attr-defined]
        for _ in range(3):
            message = await ctx.receive(timeout=5.0)
            self.log.append(f"main got {message.peer if isinstance(message, PeerGone) else message.n}")  # type: ignore[attr-defined]
        reply = await ctx.request("far", Ping(n=20), timeout=1.0)
        self.log.append(f"far: {reply.n}")  # type: ignore[attr-defined]


class Quiet(a.Echo):
    """Replies to requests and to plain messages."""

    async def handle(self, ctx: Context, message: Message) -> None:
        await ctx.reply(message, Pong(n=message.n + 1))  # type: ignore[attr-defined]


def nap() -> Work:
    """0.2 s on a server."""
    speed = profile("server")
    return Work(flops=speed.train_flops_per_s * (0.2 - speed.step_overhead_s), bytes=0.0, steps=1)


NAP = HostFunction("nap", dict, (), nap, dict)


class Computing(a.Logging):
    """Computes for a fifth of a second again and again, slowed down meanwhile."""

    async def run(self, ctx: Context) -> None:
        for _ in range(3):
            began_s = ctx.now
            await ctx.compute(NAP)
            self.log.append(f"{round((ctx.now - began_s) / 0.2)} times as long")


class Clocked(a.Logging):
    """Looks at the clock and sets timers by it."""

    accepts: ClassVar[tuple[type[Message], ...]] = (Ping,)

    async def run(self, ctx: Context) -> None:
        await ctx.sleep(0.3)
        began_s = ctx.now
        self.log.append(f"{began_s:.0f}")
        ctx.later(4.0, Ping(n=1))
        await ctx.receive()
        await ctx.sleep(1.0)
        with pytest.raises(DeadlineExceeded, match=r"not done within 2 s"):
            await ctx.receive(timeout=2.0)
        with pytest.raises(DeadlineExceeded, match=r"not done within 1 s"):
            await ctx.request("silent", Ping(n=1), timeout=1.0)
        try:
            async with ctx.deadline(2.0):
                await ctx.sleep(30.0)
        except DeadlineExceeded as failure:
            self.log.append(str(failure))
        self.log.append(f"{ctx.now - began_s:.0f} by its own clock")
        await ctx.request("silent", Pong(n=1), timeout=50.0)


class Silent(a.Logging):
    """Answers only what ends the run, when it has looked at the true time."""

    accepts: ClassVar[tuple[type[Message], ...]] = (Ping, Pong)

    async def handle(self, ctx: Context, message: Message) -> None:
        if isinstance(message, Pong):
            self.log.append(f"{ctx.now:.0f} by another's")
            await ctx.reply(message, Pong(n=0))


class Phone(a.Logging):
    """Says which life it lives, and counts what it gets in each."""

    accepts: ClassVar[tuple[type[Message], ...]] = (Start, Ping)

    async def handle(self, ctx: Context, message: Message) -> None:
        if isinstance(message, Start):
            self.log.append("phone begins")
        else:
            self.log.append(f"phone got {message.n}")  # type: ignore[attr-defined]


class Calling(a.Logging):
    """A message every tenth of a second; hears whether the phone is given up."""

    accepts: ClassVar[tuple[type[Message], ...]] = (PeerGone,)

    async def run(self, ctx: Context) -> None:
        await ctx.sleep(0.05)
        ctx.watch("phone")
        for n in range(8):
            await ctx.send("phone", Ping(n=n))
            await ctx.sleep(0.1)
        try:
            while True:
                news = await ctx.receive(timeout=0.1)
                self.log.append(f"{news.peer} was given up")  # type: ignore[attr-defined]
        except DeadlineExceeded:
            return


class Patient(a.Logging):
    """Sends a large and a small message over a link that is down for longer than it waits for news of its peer."""

    accepts: ClassVar[tuple[type[Message], ...]] = (PeerGone,)

    async def run(self, ctx: Context) -> None:
        ctx.watch("echo")
        await ctx.sleep(0.2)
        await ctx.send("echo", a.Blob(n=1, data=ArrayDict({"x": np.zeros(1000, np.float32)})))
        await ctx.send("echo", Ping(n=2))
        news = await ctx.receive(timeout=5.0)
        self.log.append(f"{news.peer} was given up")  # type: ignore[attr-defined]
        await ctx.sleep(0.7)


class Recording(a.Logging):
    """Records while its disk is full."""

    async def run(self, ctx: Context) -> None:
        for n in range(4):
            ctx.record(UndeliveredRow(sender="", receiver="", type=str(n), size_bytes=0, reason=""))
            await ctx.sleep(0.1)


class Cautious(a.Logging):
    """Its first life asks; the reply comes into its second life, which asks, too."""

    accepts: ClassVar[tuple[type[Message], ...]] = (Start,)

    async def handle(self, ctx: Context, message: Message) -> None:
        try:
            reply = await ctx.request("main", Ping(n=int(ctx.now * 10)), timeout=5.0)
        except PeerLeft:
            return
        self.log.append(f"the second life got {reply.n}")  # type: ignore[attr-defined]


class Answering(a.Logging):
    """Answers both lives late, in the order in which they have asked."""

    accepts: ClassVar[tuple[type[Message], ...]] = (Ping,)

    async def run(self, ctx: Context) -> None:
        first, second = await ctx.receive(), await ctx.receive()
        await ctx.sleep(0.1)
        await ctx.reply(first, Pong(n=1))
        await ctx.sleep(0.1)
        await ctx.reply(second, Pong(n=2))
        await ctx.sleep(0.2)


def counting(*faults: Fault) -> Callable[[a.Log], Deployment]:
    def make(log: a.Log) -> Deployment:
        return a.deployment({"main": Counting(log), "listener": Listener(log)}, seed=3, faults=faults)

    return make


def message_fault(kind: str, target: str, probability: float = 0.3, **settings: Any) -> MessageFault:
    return MessageFault(kind, target, 0.0, probability=probability, **settings)


def on_phones(deployment: Deployment, name: str, **changes: Any) -> Deployment:
    """The same deployment with one actor on a phone."""
    wifi = dataclasses.replace(a.LAN, kind="wifi")
    return dataclasses.replace(
        deployment,
        placements=tuple(
            dataclasses.replace(place, profile=profile("phone_mid"), link=wifi, **changes)
            if place.name == name
            else place
            for place in deployment.placements
        ),
    )


CASES: dict[str, Callable[[a.Log], Deployment]] = {
    "lost on the way out": counting(message_fault("lost", "main")),
    "lost on the way in": counting(message_fault("lost", "listener")),
    "duplicated": counting(message_fault("duplicated", "listener")),
    "reordered behind others": counting(message_fault("reordered", "main", behind=2, delay_s=0.8)),
    "reordered by a delay": counting(message_fault("reordered", "listener", 0.2, delay_s=0.6)),
    "all of these at both ends": counting(
        message_fault("lost", "main", 0.1),
        message_fault("duplicated", "main", 0.2),
        message_fault("reordered", "listener", 0.3, behind=1, delay_s=0.8),
    ),
    "another type is not touched": counting(message_fault("lost", "main", 1.0, messages=("Pong",))),
    "all after the fifth message": counting(
        dataclasses.replace(message_fault("lost", "listener", 1.0), at_s=math.inf, after_messages=5)
    ),
    "requests and replies": lambda log: a.deployment(
        {"main": Asking(log), "echo": a.Echo(log)},
        seed=5,
        faults=(message_fault("lost", "echo", 0.25), message_fault("duplicated", "main", 0.4)),
    ),
    "partition": lambda log: a.deployment(
        {"main": Sides(log), "near": Quiet(log), "far": Quiet(log), "apart": Quiet(log)},
        faults=(Partition("partition", "", 0.1, 0.9, sets=(("main", "near"), ("far",))),),
        peer_timeout_s=0.6,
    ),
    "slow": lambda log: a.deployment(
        {"main": Computing(log)}, faults=(Slowdown("slow", "main", 0.0, 1.0667, speed=0.25),)
    ),
    "clock skew": lambda log: a.deployment(
        {"main": Clocked(log), "silent": Silent(log)},
        faults=(ClockSkew("clock_skew", "main", 0.1, offset_s=500.0, drift=9.0),),
    ),
    "battery pulled": lambda log: on_phones(
        a.deployment(
            {"main": Calling(log), "phone": Phone(log)},
            faults=(Fault("battery_pulled", "phone", 0.2, 0.3),),
            peer_timeout_s=5.0,
        ),
        "phone",
        charging=True,
    ),
    "crash after some messages": lambda log: on_phones(
        a.deployment(
            {"main": Calling(log), "phone": Phone(log)},
            faults=(Fault("crash", "phone", math.inf, 0.25, after_messages=3),),
            peer_timeout_s=0.1,
        ),
        "phone",
    ),
    "crash from the start": lambda log: on_phones(
        a.deployment({"main": Calling(log), "phone": Phone(log)}, faults=(Fault("crash", "phone", 0.0, 0.2),)), "phone"
    ),
    "full disk": lambda log: a.deployment(
        {"main": Recording(log)}, faults=(Fault("disk_full", "main", 0.05, 0.2),)
    ),
    "bulk that waits for a link": lambda log: a.deployment(
        {"main": Patient(log), "echo": Listener(log)},
        faults=(Fault("link_down", "echo", 0.1, 0.6),),
        peer_timeout_s=0.3,
    ),
    "replies to an old life": lambda log: a.deployment(
        {"main": Answering(log), "cautious": Cautious(log)}, faults=(Fault("crash", "cautious", 0.2, 0.2),)
    ),
}  # fmt: skip
#: What the log has to be, where it follows from the rules alone and not from draws.
EXPECTED: dict[str, list[str]] = {
    "another type is not touched": [str(n) for n in range(24)],
    "all after the fifth message": [str(n) for n in range(5)],
    "partition": [
        "near: 11", "apart: 11", "far is out of reach",
        "main got far", "main got 2", "main got 3", "far: 21",
    ],
    # The second one is slow for 4/15 s, in which a third of it is done.
    "slow": ["4 times as long", "2 times as long", "1 times as long"],
    "clock skew": ["502", "not done within 2 s", "10 by its own clock", "1 by another's"],
    "battery pulled": [
        "phone begins", *(f"phone got {n}" for n in (0, 1)), "phone begins", *(f"phone got {n}" for n in (5, 6, 7)),
        "phone was given up",
    ],
    "crash after some messages": [
        "phone begins", *(f"phone got {n}" for n in (0, 1, 2)), "phone begins",
        *(f"phone got {n}" for n in (5, 6, 7)), "phone was given up",
    ],
    "crash from the start": ["phone begins", *(f"phone got {n}" for n in range(2, 8)), "phone was given up"],
    "full disk": [],
    "bulk that waits for a link": ["echo was given up", "2", "1"],
    "replies to an old life": ["the second life got 2"],
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_both_worlds_agree_under(case: str) -> None:
    make = CASES[case]
    log: a.Log = []
    simulated = run_sim(make(log))
    in_sim = list(log)
    if case in EXPECTED:
        assert in_sim == EXPECTED[case]
    log.clear()
    real = run_real(make(log))
    assert log == in_sim

    def counted(messages: Any) -> Counter[tuple[str, str, str, int]]:
        return Counter((m.sender, m.receiver, m.type, m.size_bytes) for m in messages)

    assert counted(simulated.messages) == counted(real.messages)
    for kind in (UndeliveredRow, FaultRow, ImpairedRow):
        assert Counter(simulated.of(kind)) == Counter(r.row for r in real.of(kind)), kind
    # A battery that was pulled is on its charger again afterwards.
    events = Counter((r.event, r.charging) for r in simulated.of(DeviceRow))
    assert events == Counter((r.row.event, r.row.charging) for r in real.of(DeviceRow))  # type: ignore[attr-defined]


@pytest.mark.parametrize(("run", "failure"), [(run_sim, ActorFailed), (run_real, RunFailed)])
def test_a_run_without_room_for_its_main_actors_rows_fails(run: Callable[[Deployment], Any], failure: Any) -> None:
    deployment = a.deployment({"main": Recording([])}, faults=(Fault("disk_full", "main", 0.05),))
    with pytest.raises(failure, match=r"the disk of main was full at the end: 1[0-9] of its rows are lost"):
        run(deployment)
