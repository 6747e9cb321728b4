"""The contract of actors: what a class may declare, what failures say, and that both worlds' contexts are complete."""

from __future__ import annotations

import asyncio
import inspect
from typing import ClassVar

import msgspec
import pytest

import core.actor
from aivsim.testing import FakeContext
from core.actor import (
    SYSTEM_MESSAGES,
    Actor,
    ChildFailed,
    Context,
    DeadlineExceeded,
    DeviceChanged,
    DeviceFailed,
    Failure,
    Message,
    PeerGone,
    PeerLeft,
    QueueFull,
    Refusal,
    Refused,
    Start,
)
from core.wire import CONTROL, stream_of
from real_runtime.cell import Cell as RealCell
from sim.cell import Cell as SimulatedCell


class Note(Message, frozen=True, kw_only=True):
    n: int = 0


def test_an_actor_has_a_life_or_handles_messages_not_both() -> None:
    with pytest.raises(TypeError, match="Both defines both run and handle"):

        class Both(Actor):
            async def run(self, ctx: Context) -> None:
                pass

            async def handle(self, ctx: Context, message: Message) -> None:
                pass

    class Base(Actor):
        async def handle(self, ctx: Context, message: Message) -> None:
            pass

    with pytest.raises(TypeError, match="Derived defines both"):

        class Derived(Base):
            async def run(self, ctx: Context) -> None:
                pass

    class Further(Base):
        accepts: ClassVar[tuple[type[Message], ...]] = (Note,)

    assert (Further.defines("handle"), Further.defines("run")) == (True, False)
    assert (Actor.defines("handle"), Actor.defines("run")) == (False, False)


def test_what_an_actor_does_not_define_it_cannot_do() -> None:
    ctx = FakeContext()
    with pytest.raises(NotImplementedError, match="Actor does not handle"):
        asyncio.run(Actor().handle(ctx, Note()))
    with pytest.raises(NotImplementedError, match="Actor has no life"):
        asyncio.run(Actor().run(ctx))


def test_defaults() -> None:
    assert (Actor.accepts, Actor.concurrent, Actor.mailbox, Actor.State, Actor.result) == ((), False, 1024, None, None)


def test_messages_are_frozen_and_known_by_their_name() -> None:
    note = Note(n=1)
    assert (note.sender, note.correlation) == ("", 0)
    with pytest.raises(AttributeError):
        note.n = 2  # type: ignore[misc]
    with pytest.raises(TypeError):
        Note(1)  # type: ignore[misc]
    assert msgspec.to_builtins(note) == ["Note", "", 0, 1]
    assert list(SYSTEM_MESSAGES) == [Start, PeerGone, DeviceChanged, Refusal]
    assert all(stream_of(kind) == CONTROL for kind in SYSTEM_MESSAGES)


@pytest.mark.parametrize(
    ("failure", "says"),
    [
        (PeerLeft("b"), "b has left"),
        (DeadlineExceeded(0.25), "not done within 0.25 s"),
        (QueueFull("b"), "the mailbox of b is full"),
        (Refused("b", "unexpected"), "b refused the message: unexpected"),
        (ChildFailed("a child failed"), "a child failed"),
        (DeviceFailed("the device stopped"), "the device stopped"),
    ],
)
def test_failures_are_of_one_family_and_say_what_happened(failure: Failure, says: str) -> None:
    assert isinstance(failure, Failure)
    assert str(failure) == says


def test_failures_carry_what_they_are_about() -> None:
    assert (PeerLeft("b").peer, QueueFull("b").peer, DeadlineExceeded(2.0).seconds) == ("b", "b", 2.0)
    assert (Refused("b", "oversized").peer, Refused("b", "oversized").reason) == ("b", "oversized")


@pytest.mark.parametrize("kind", [SimulatedCell, RealCell, FakeContext])
def test_every_context_offers_all_of_the_contract_in_the_same_form(kind: type[Context]) -> None:
    assert not inspect.isabstract(kind)
    for name in sorted(Context.__abstractmethods__):
        declared, offered = inspect.getattr_static(Context, name), inspect.getattr_static(kind, name)
        assert isinstance(offered, property) == isinstance(declared, property), name
        if not isinstance(declared, property):
            assert form(offered) == form(declared), name


def form(method: object) -> list[tuple[str, object, object]]:
    """Names, kinds and defaults of a method's parameters."""
    parameters = inspect.signature(method).parameters.values()  # type: ignore[arg-type]
    return [(parameter.name, parameter.kind, parameter.default) for parameter in parameters]


def test_all_names_are_there() -> None:
    assert all(hasattr(core.actor, name) for name in core.actor.__all__)
    assert len(set(core.actor.__all__)) == len(core.actor.__all__)
