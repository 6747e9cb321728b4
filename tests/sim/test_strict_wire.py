"""Encoding and decoding every message changes nothing but the objects: a small study with arrays, with and without."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from core.actor import Actor, ArrayDict, Context, Message, Payload, PeerLeft, Refused
from core.compute import Deferred, Function
from core.deployment import Deployment, Placement, Population
from core.devices import Work
from core.records.rows import EnergyRow, JobRow, UndeliveredRow
from core.wire import WireError, frame_size
from sim.testing import SimulatedRun, run_sim
from sim.world import ActorFailed
from tests.sim.studies import FAST, PORTABLE, SLOW


class Train(Message, frozen=True, kw_only=True):
    round: int
    params: Payload


class Trained(Message, frozen=True, kw_only=True):
    round: int
    update: Payload
    losses: Payload | None = None


class Hello(Message, frozen=True, kw_only=True):
    tags: tuple[str, ...]
    notes: dict[str, float]


class Unlisted(Message, frozen=True, kw_only=True):
    pass


STEP = Function(
    "step",
    lambda params, rate: {
        "update": {"w": params["w"] * (1.0 - rate), "b": params["b"] - rate},
        "losses": {"loss": (params["w"] ** 2).sum()},
    },
    (),
    lambda params, rate: Work(flops=1e6 * (1.0 + rate), bytes=0.0, steps=2),
)


class Worker(Actor):
    accepts = (Train, Hello)

    def __init__(self, kinds: set[str]) -> None:
        self.kinds = kinds

    async def handle(self, ctx: Context, message: Message) -> None:
        if isinstance(message, Hello):
            self.kinds.add(f"{type(message.tags).__name__} {type(message.notes).__name__}")
            return
        assert isinstance(message, Train)
        self.kinds.add(type(message.params).__name__)
        outcome = await ctx.compute(STEP, message.params, 0.25)
        await ctx.reply(message, Trained(round=message.round, update=outcome["update"], losses=outcome["losses"]))


class Main(Actor):
    def __init__(self, ends: list[ArrayDict], kinds: set[str]) -> None:
        self.ends = ends
        self.kinds = kinds

    async def run(self, ctx: Context) -> None:
        params: Payload = ArrayDict({"w": np.arange(600, dtype=np.float32), "b": np.float32(1.0)})
        for round_ in range(3):
            replies: list[Trained] = []
            async with ctx.group() as group:
                for name in ("near", "far", "m-0", "m-1"):
                    group.spawn(self.ask(ctx, name, Train(round=round_, params=params), replies))
            replies.sort(key=lambda reply: reply.sender)
            params = replies[round_].update
            self.kinds.add(type(params).__name__)
            await ctx.send("near", Hello(tags=("a", "b"), notes={"x": 0.5}))
        with pytest.raises(PeerLeft):
            await ctx.request("nobody", Train(round=9, params=params), timeout=5.0)
        with pytest.raises(Refused, match="unexpected"):
            await ctx.request("near", Trained(round=9, update=params), timeout=5.0)
        big = ArrayDict({"w": np.zeros(20_000)})
        with pytest.raises(Refused, match="oversized"):
            await ctx.request("near", Train(round=9, params=big), timeout=5.0)
        self.result = params
        self.ends.append(await ctx.value(params))

    async def ask(self, ctx: Context, name: str, message: Train, replies: list[Trained]) -> None:
        reply = await ctx.request(name, message, timeout=600.0)
        assert isinstance(reply, Trained)
        replies.append(reply)


def run(strict: bool) -> tuple[SimulatedRun, ArrayDict, set[str]]:
    ends: list[ArrayDict] = []
    kinds: set[str] = set()

    def member(index: int) -> Placement:
        return Placement(f"m-{index}", lambda: Worker(kinds), PORTABLE, SLOW)

    records = run_sim(
        Deployment(
            placements=(
                Placement("main", lambda: Main(ends, kinds), PORTABLE, FAST),
                Placement("near", lambda: Worker(kinds), PORTABLE, FAST),
                Placement("far", lambda: Worker(kinds), PORTABLE, SLOW),
            ),
            populations=(Population("m", 2, member, ("local",)),),
            main="main",
            messages=(Train, Trained, Hello),
            strict_wire=strict,
            max_live=1,
            max_frame_bytes=100_000,
        )
    )
    return records, ends[0], kinds


def test_a_study_with_arrays_is_the_same_through_the_wire() -> None:
    plain, plain_end, plain_kinds = run(strict=False)
    strict, strict_end, strict_kinds = run(strict=True)
    assert len(plain.messages) == 3 * (4 + 4 + 1) + 1
    assert strict.messages == plain.messages
    assert strict_end == plain_end
    for table in (EnergyRow, JobRow, UndeliveredRow):
        assert strict.of(table) == plain.of(table) != []
    # The first parameters are real; then they are deferred, unless they have crossed the wire.
    assert plain_kinds == {"ArrayDict", "Deferred", "tuple dict"}
    assert strict_kinds == {"ArrayDict", "tuple dict"}


def test_what_a_frame_cannot_carry_is_noticed() -> None:
    def sending(message: Message) -> Deployment:
        class Sender(Actor):
            async def run(self, ctx: Context) -> None:
                await ctx.send("near", message)
                await ctx.sleep(10.0)

        return Deployment(
            placements=(
                Placement("main", Sender, PORTABLE, FAST),
                Placement("near", lambda: Worker(set()), PORTABLE, FAST),
            ),
            main="main",
            messages=(Train, Trained, Hello),
            strict_wire=True,
        )

    for message, problem in (
        (Unlisted(), WireError),
        (Hello(tags=("a",), notes=[1.0]), WireError),  # type: ignore[arg-type]
        (Hello(tags=object(), notes={}), TypeError),  # type: ignore[arg-type]
    ):
        with pytest.raises(ActorFailed) as failure:
            run_sim(sending(message))
        assert isinstance(failure.value.__cause__, problem)


def test_a_deferred_payload_is_charged_like_its_arrays() -> None:
    class Looking(Actor):
        async def run(self, ctx: Context) -> None:
            outcome: Any = await ctx.compute(
                STEP, ArrayDict({"w": np.ones((7, 3), np.float32), "b": np.float32(0)}), 0.5
            )
            assert isinstance(outcome["update"], Deferred)
            sizes.append(frame_size("near", Trained(round=1, update=outcome["update"])))
            sizes.append(frame_size("near", Trained(round=1, update=await ctx.value(outcome["update"]))))

    sizes: list[int] = []
    run_sim(Deployment(placements=(Placement("main", Looking, PORTABLE, FAST),), main="main", messages=(Trained,)))
    assert sizes[0] == sizes[1]
