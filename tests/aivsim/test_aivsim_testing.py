"""The fake context that own actors are tested with."""

from __future__ import annotations

import asyncio

import pytest

from aivsim.testing import FakeContext
from core.actor import ArrayDict, ChildFailed, DeadlineExceeded, Message, PeerLeft
from core.records import FaultRow


class Hello(Message, frozen=True, kw_only=True):
    n: int = 0


def test_what_an_actor_does_is_kept_and_what_it_waits_for_is_given() -> None:
    ctx = FakeContext("me", inbox=[Hello(n=1)], replies=[Hello(n=2), PeerLeft("peer")], seed=3)

    async def act() -> None:
        await ctx.send("peer", Hello())
        assert (await ctx.receive()).n == 1  # type: ignore[attr-defined]
        assert (await ctx.request("peer", Hello(), timeout=1.0)).n == 2  # type: ignore[attr-defined]
        with pytest.raises(PeerLeft):
            await ctx.request("peer", Hello(), timeout=1.0)
        with pytest.raises(DeadlineExceeded):
            await ctx.request("peer", Hello(), timeout=2.0)
        assert ctx.now == 2.0
        await ctx.reply(Hello(sender="peer", correlation=7), Hello(n=9))
        with pytest.raises(DeadlineExceeded):
            async with ctx.deadline(1.0):
                await ctx.sleep(1.5)
        assert ctx.now == 3.0
        with pytest.raises(DeadlineExceeded):
            async with ctx.deadline(1.0):
                await ctx.receive(timeout=5.0)
        assert ctx.now == 4.0
        ctx.record(FaultRow(kind="test"))
        ctx.later(4.0, Hello()).cancel()

    asyncio.run(act())
    assert ctx.sent == [("peer", Hello(sender="me")), ("peer", Hello(sender="me", correlation=-7, n=9))]
    assert [message.correlation for _, message in ctx.requested] == [1, 2, 3]
    assert ctx.recorded == [FaultRow(kind="test")]
    assert ctx.timers[0][0] == 8.0
    assert ctx.timers[0][2].cancelled


def test_children_end_with_their_group_and_failures_reach_it() -> None:
    ctx = FakeContext()

    async def double(n: int) -> int:
        return 2 * n

    async def fail() -> None:
        raise ValueError("no")

    async def act() -> None:
        async with ctx.group() as group:
            child, other = group.spawn(double(2)), group.spawn(double(3))
            other.cancel()
        assert child.done
        assert child.result() == 4
        assert other.result() is None
        with pytest.raises(ChildFailed) as failure:
            async with ctx.group() as group:
                group.spawn(fail())
        assert isinstance(failure.value.__cause__, ValueError)

    asyncio.run(act())


def test_randomness_is_that_of_the_worlds() -> None:
    from core import rng

    ctx = FakeContext("me", seed=5)
    assert ctx.random("draw", 2).integers(1 << 30) == rng.generator(5, "me", "draw", 2).integers(1 << 30)
    assert ctx.secret("key", 16) == rng.secret_bytes(5, 16, "me", "key", 0)
    payload = ArrayDict({})
    assert asyncio.run(ctx.value(payload)) is payload
