"""The contract between an actor and its world: everything an actor may see or do goes through a `Context`.

Both worlds implement it with the same semantics, which `tests/worlds` holds together: one handler at a time,
delivery in order per sender, receiver and stream, bounded mailboxes, replies and cancellations that bypass them,
and the failures of `core.actor.failures`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Coroutine
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

if TYPE_CHECKING:
    import numpy as np

    from core.records import Row
    from core.wire import Message, Payload

T = TypeVar("T")


class Timer(Protocol):
    """A message that an actor will send to itself."""

    def cancel(self) -> None:
        """Forget the message if it was not delivered yet."""


class Child(Protocol):
    """A coroutine that runs beside its parent, within a group."""

    def cancel(self) -> None:
        """Stop it at its present await; its group does not count that as a failure."""

    @property
    def done(self) -> bool:
        """Whether it has ended."""

    def result(self) -> Any:
        """What it returned, once it is done; None if it was cancelled."""


class Group(Protocol):
    """Children that end before the `async with ctx.group()` block that they were spawned in does."""

    def spawn(self, coroutine: Coroutine[Any, Any, Any]) -> Child:
        """Run a coroutine beside the parent.

        If it fails, its siblings and the rest of the block are cancelled and the block raises `ChildFailed`.
        """


class DeviceView(Protocol):
    """What an actor may know of the device it runs on; reading changes nothing."""

    @property
    def profile(self) -> str:
        """Name of the device's class, such as `phone_mid`."""

    @property
    def battery_level(self) -> float | None:
        """Charge left, 0 to 1; None without a battery."""

    @property
    def charging(self) -> bool:
        """Whether it is on external power."""

    @property
    def temperature_c(self) -> float | None:
        """Temperature of the case ("skin"), °C; None where the host does not tell."""

    @property
    def network(self) -> str:
        """Kind of access link: `wifi`, `cellular`, `ethernet`."""

    @property
    def metered(self) -> bool:
        """Whether traffic over the access link costs its user money."""

    @property
    def in_use(self) -> bool:
        """Whether its user is using it."""

    @property
    def load(self) -> float:
        """Share of the processor in use, 0 to 1."""


class Context(ABC):
    """One actor's view of its world."""

    __slots__ = ()

    @property
    @abstractmethod
    def name(self) -> str:
        """The actor's own name."""

    @property
    @abstractmethod
    def now(self) -> float:
        """Seconds since the study began: simulated in `sim`; by the wall clock over `time_scale` in `real`."""

    @property
    @abstractmethod
    def device(self) -> DeviceView:
        """The device that the actor runs on."""

    @abstractmethod
    def sleep(self, seconds: float) -> Awaitable[None]:
        """Wait."""

    @abstractmethod
    def later(self, delay: float, message: Message) -> Timer:
        """Deliver `message` to this actor itself after `delay` seconds, without a coroutine that waits."""

    @abstractmethod
    def deadline(self, seconds: float) -> AbstractAsyncContextManager[None]:
        """Cancel the `async with` block after `seconds` and raise `DeadlineExceeded` from it."""

    @abstractmethod
    def group(self) -> AbstractAsyncContextManager[Group]:
        """A block in which children can be spawned; it ends when all of them have."""

    @abstractmethod
    def send(self, to: str, message: Message) -> Awaitable[None]:
        """Hand `message` to the network. Delivery is in order per sender, receiver and stream, and not confirmed.

        A receiver that is gone, full or unwilling is recorded; `request` tells the sender.
        """

    @abstractmethod
    def request(self, to: str, message: Message, *, timeout: float) -> Awaitable[Message]:
        """Send and wait for the reply.

        Raises `DeadlineExceeded` after `timeout` seconds, `PeerLeft`, `QueueFull` or `Refused`.
        """

    @abstractmethod
    def reply(self, request: Message, message: Message) -> Awaitable[None]:
        """Answer a request; a plain message is answered by a plain `send` to its sender."""

    @abstractmethod
    def receive(self, *, timeout: float | None = None) -> Awaitable[Message]:
        """The next message of the mailbox (for actors that define `run`). Raises `DeadlineExceeded`."""

    @abstractmethod
    def watch(self, peer: str) -> None:
        """Ask for a `PeerGone` message when `peer` leaves or is lost."""

    @abstractmethod
    def compute(self, function: Any, *arguments: Any) -> Awaitable[Any]:
        """Run a `core.compute.Function` on this actor's device and wait until the device has done it.

        The outcome is a mapping of output names to `Payload`s. In `sim` these are deferred: they have shapes and
        sizes, and are computed when somebody looks. Raises `DeviceFailed` if the device stops meanwhile.
        """

    @abstractmethod
    def value(self, payload: Payload, *, ahead: bool = False) -> Awaitable[Any]:
        """Look at a payload: an `ArrayDict` with the real arrays. Takes no simulated time.

        Who looks at one result after the other, to choose among them or to stop early, while others are at work, says
        `ahead`: in the simulator jobs of the same kind that are under way are then computed together with this one. No
        result depends on it. It is for own actors: the roles in `core.roles` look at nothing.
        """

    @abstractmethod
    def random(self, purpose: str, counter: int = 0) -> np.random.Generator:
        """A generator that depends on the scenario's seed, this actor, `purpose` and `counter` alone."""

    @abstractmethod
    def secret(self, purpose: str, size: int, counter: int = 0) -> bytes:
        """Bytes nobody else may predict: the operating system's in `real`, seeded in `sim`."""

    @abstractmethod
    def record(self, row: Row) -> None:
        """Write a row of a table down, with the time and the actor's name; a deferred value in it is no look."""
