"""For tests of one's own actors: a fake context, exact simulated times, and both worlds from one test.

    def test_my_actor() -> None:
        ctx = FakeContext("me", replies=[Pong(n=1)])
        asyncio.run(MyActor().run(ctx))
        assert ctx.sent == [("peer", Ping(n=0, sender="me"))]

`run_sim` and `run_real` run a whole deployment and return what was recorded; `place` and `deploy` make small ones.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from msgspec.structs import force_setattr

from core import rng
from core.actor import Actor, ChildFailed, Context, DeadlineExceeded, Message, Payload
from core.deployment import Deployment, Placement
from core.devices import profile
from core.links import Link
from core.records import Row
from core.wire import copy_of
from real_runtime.testing import MemoryRecords, run_real
from sim.testing import SimulatedRun, run_sim

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import numpy as np

__all__ = [
    "FakeContext",
    "FakeDevice",
    "MemoryRecords",
    "SimulatedRun",
    "deploy",
    "place",
    "run_real",
    "run_sim",
]


def place(
    name: str,
    make: Callable[[], Actor],
    *,
    device: str = "server",
    latency_s: float = 0.001,
    bytes_per_s: float = 1e8,
    kind: str = "ethernet",
    battery_level: float = 1.0,
) -> Placement:
    """An actor on a device of a class, behind a link of exact numbers."""
    link = Link(name="test", kind=kind, latency_s=latency_s, up_bytes_per_s=bytes_per_s, down_bytes_per_s=bytes_per_s)
    return Placement(name=name, make=make, profile=profile(device), link=link, battery_level=battery_level)


def deploy(placements: Sequence[Placement], messages: Sequence[type[Message]], **settings: Any) -> Deployment:
    """A deployment whose main actor is the first; `settings` are further fields of `Deployment`."""
    return Deployment(placements=tuple(placements), main=placements[0].name, messages=tuple(messages), **settings)


@dataclasses.dataclass
class FakeDevice:
    """A device that is as the test says."""

    profile: str = "phone_mid"
    battery_level: float | None = 1.0
    charging: bool = False
    temperature_c: float | None = 25.0
    network: str = "wifi"
    metered: bool = False
    in_use: bool = False
    load: float = 0.0


class _Expired(BaseException):
    """A deadline of a `FakeContext` has passed; actors let it pass, as they do a cancellation."""


class FakeTimer:
    """A timer of a `FakeContext`: it is never delivered by itself."""

    def __init__(self) -> None:
        self.cancelled = False

    def cancel(self) -> None:
        self.cancelled = True


class FakeChild:
    """A child that has run to its end when it is looked at."""

    def __init__(self, coroutine: Coroutine[Any, Any, Any]) -> None:
        self.coroutine = coroutine
        self.done = False
        self._result: Any = None

    def cancel(self) -> None:
        if not self.done:
            self.coroutine.close()
            self.done = True

    def result(self) -> Any:
        if not self.done:
            raise RuntimeError("the child has not ended")
        return self._result

    async def run(self) -> None:
        if not self.done:
            self._result = await self.coroutine
            self.done = True


class FakeGroup:
    """Runs its children one after the other, when its block ends."""

    def __init__(self) -> None:
        self.children: list[FakeChild] = []

    def spawn(self, coroutine: Coroutine[Any, Any, Any]) -> FakeChild:
        child = FakeChild(coroutine)
        self.children.append(child)
        return child


class FakeContext(Context):
    """A context whose world is the test: what the actor does is kept in lists, what it waits for comes from lists.

    `inbox` feeds `receive`, `replies` feed `request` (an exception in either is raised; an empty list is a time-out),
    `outcomes` feed `compute`. Time stands still but for `sleep` and time-outs.
    """

    def __init__(
        self,
        name: str = "actor",
        *,
        inbox: Sequence[Message | Exception] = (),
        replies: Sequence[Message | Exception] = (),
        outcomes: Sequence[Mapping[str, Payload] | Exception] = (),
        device: FakeDevice | None = None,
        seed: int = 0,
    ) -> None:
        self._name = name
        self._now = 0.0
        self._deadlines: list[tuple[float, object]] = []
        self._device = device if device is not None else FakeDevice()
        self.seed = seed
        self.inbox = list(inbox)
        self.replies = list(replies)
        self.outcomes = list(outcomes)
        self.sent: list[tuple[str, Message]] = []
        self.requested: list[tuple[str, Message]] = []
        self.computed: list[tuple[Any, tuple[Any, ...]]] = []
        self.recorded: list[Row] = []
        self.watched: list[str] = []
        self.timers: list[tuple[float, Message, FakeTimer]] = []

    @property
    def name(self) -> str:
        return self._name

    @property
    def now(self) -> float:
        return self._now

    @property
    def device(self) -> FakeDevice:
        return self._device

    def _stamped(self, message: Message, correlation: int = 0) -> Message:
        message = copy_of(message)
        force_setattr(message, "sender", self._name)
        force_setattr(message, "correlation", correlation)
        return message

    async def sleep(self, seconds: float) -> None:
        if not seconds >= 0:
            raise ValueError(f"a delay is not negative: {seconds}")
        self._advance(self._now + seconds)

    def _advance(self, to_s: float) -> None:
        """Let time pass; a deadline on the way ends what is awaited."""
        first = min((end for end, _ in self._deadlines), default=to_s)
        if first < to_s:
            self._now = max(first, self._now)
            raise _Expired(next(scope for end, scope in self._deadlines if end == first))
        self._now = to_s

    def later(self, delay: float, message: Message) -> FakeTimer:
        timer = FakeTimer()
        self.timers.append((self._now + delay, message, timer))
        return timer

    @asynccontextmanager
    async def deadline(self, seconds: float) -> AsyncIterator[None]:
        own = (self._now + seconds, object())
        self._deadlines.append(own)
        try:
            yield
        except _Expired as expired:
            if expired.args[0] is own[1]:
                raise DeadlineExceeded(seconds) from None
            raise
        finally:
            self._deadlines.remove(own)

    @asynccontextmanager
    async def group(self) -> AsyncIterator[FakeGroup]:
        group = FakeGroup()
        try:
            yield group
            for child in group.children:
                try:
                    await child.run()
                except Exception as error:
                    raise ChildFailed(f"a child failed: {error!r}") from error
        finally:
            for child in group.children:
                child.cancel()

    async def send(self, to: str, message: Message) -> None:
        self.sent.append((to, self._stamped(message)))

    async def request(self, to: str, message: Message, *, timeout: float) -> Message:
        self.requested.append((to, self._stamped(message, len(self.requested) + 1)))
        return self._next(self.replies, timeout)

    async def reply(self, request: Message, message: Message) -> None:
        self.sent.append((request.sender, self._stamped(message, -request.correlation)))

    async def receive(self, *, timeout: float | None = None) -> Message:
        return self._next(self.inbox, timeout)

    def _next(self, waiting: list[Message | Exception], timeout: float | None) -> Message:
        if not waiting:
            self._advance(float("inf") if timeout is None else self._now + timeout)
            if timeout is None:
                raise AssertionError("the actor waits for a message for ever: the test has given it none")
            raise DeadlineExceeded(timeout)
        found = waiting.pop(0)
        if isinstance(found, Exception):
            raise found
        return found

    def watch(self, peer: str) -> None:
        self.watched.append(peer)

    async def compute(self, function: Any, *arguments: Any) -> Any:
        self.computed.append((function, arguments))
        if self.outcomes:
            outcome = self.outcomes.pop(0)
            if isinstance(outcome, Exception):
                raise outcome
            return outcome
        from core.compute import Eager

        return Eager().run(function, arguments)

    async def value(self, payload: Payload, *, ahead: bool = False) -> Any:
        return payload

    def random(self, purpose: str, counter: int = 0) -> np.random.Generator:
        return rng.generator(self.seed, self._name, purpose, counter)

    def secret(self, purpose: str, size: int, counter: int = 0) -> bytes:
        return rng.secret_bytes(self.seed, size, self._name, purpose, counter)

    def record(self, row: Row) -> None:
        self.recorded.append(row)
