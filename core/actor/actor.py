"""What an actor is: a type with declared messages and state, and either a `run` or a `handle`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

from core.actor.context import Context
from core.crowd import News
from core.wire import Message, Payload


class Start(Message, frozen=True, kw_only=True):
    """Delivered once, first, to every actor that accepts it, when its device is up."""


class PeerGone(Message, frozen=True, kw_only=True):
    """A watched peer has left or was lost."""

    peer: str


class DeviceChanged(Message, frozen=True, kw_only=True):
    """Delivered to actors that accept it when their device comes into another state of `core.availability`.

    Both numbers are such states: bits for being in use, charging, and on a network that is metered.
    """

    before: int
    after: int


class Refusal(Message, frozen=True, kw_only=True):
    """Sent by the runtime in place of a reply: the request was not taken.

    `reason`: full, unexpected, gone, oversized.
    """

    reason: str


SYSTEM_MESSAGES: tuple[type[Message], ...] = (Start, PeerGone, DeviceChanged, Refusal)
#: Those that only the runtime may deliver, and which cross no wire.
LOCAL_MESSAGES: tuple[type[Message], ...] = (Start, PeerGone, DeviceChanged)


class Actor:
    """Base of all actors.

    A subclass defines either `handle` (costs nothing between messages) or `run` (a life of its own, which takes
    messages with `ctx.receive`). `accepts` lists the message types it takes; others are refused and recorded.
    State that lives between messages is declared in `State`, a msgspec struct of which the actor holds one as
    `self.state`: its numbers become columns when the simulator puts an idle actor to rest.
    """

    accepts: ClassVar[tuple[type[Message], ...]] = ()
    #: Whether several handlers may run at once.
    concurrent: ClassVar[bool] = False
    #: Messages that may wait; more are refused ("full").
    mailbox: ClassVar[int] = 1024
    State: ClassVar[type[Any] | None] = None
    #: Message types that `absorb` is asked about.
    absorbs: ClassVar[tuple[type[Message], ...]] = ()

    state: Any
    #: What the main actor leaves when it ends; the run keeps it as its model.
    result: Payload | None = None

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if cls.defines("run") and cls.defines("handle"):
            raise TypeError(f"{cls.__name__} defines both run and handle; an actor has one of them")

    @classmethod
    def defines(cls, name: str) -> bool:
        """Whether a subclass has overridden `run` or `handle`."""
        return getattr(cls, name) is not getattr(Actor, name)

    def absorb(self, message: Message) -> bool:
        """Take a message at its delivery, without a wait and without being woken; False sends it to the mailbox.

        For news that changes nothing but what the actor knows, from many senders. It is asked only while no message
        waits in the mailbox, so that none overtakes another.
        """
        return False

    def absorb_all(self, news: News) -> bool:
        """Take many messages at once, as `absorb` would take one after the other; False: ask for each.

        Asked of an actor whose kinds of message all of them are (`absorbs`), and while nothing else happens.
        """
        return False

    def rehearse(self, run: Callable[[Any, tuple[Any, ...]], Mapping[str, Payload]]) -> None:
        """Make calls of the kinds that this actor will make, on arguments that do not matter.

        The real world lets actors rehearse before time zero, so that compiling falls into no round.
        """

    async def handle(self, ctx: Context, message: Message) -> None:
        """Take one message."""
        raise NotImplementedError(f"{type(self).__name__} does not handle messages")

    async def run(self, ctx: Context) -> None:
        """Live; the actor leaves when this returns."""
        raise NotImplementedError(f"{type(self).__name__} has no life of its own")
