"""An actor hosted in a node: its mailbox, its requests and timers, and the `Context` it sees the world through.

A cell knows nothing of sockets: what it sends goes to its `Host`, and the host hands it what arrives. A message that
finds the actor idle goes straight to it; only what has to wait counts against the mailbox.
"""

from __future__ import annotations

import asyncio
import math
import os
from collections import deque
from collections.abc import Coroutine
from contextlib import AbstractAsyncContextManager
from typing import Any, NamedTuple, Protocol

import msgspec
import numpy as np

from core import rng
from core.actor import (
    LOCAL_MESSAGES,
    Actor,
    ArrayDict,
    Context,
    DeadlineExceeded,
    DeviceView,
    Failure,
    Group,
    Message,
    Payload,
    PeerGone,
    PeerLeft,
    QueueFull,
    Refusal,
    Refused,
    Start,
    Timer,
)
from core.records.rows import Row
from real_runtime import scopes
from real_runtime.clock import Clock, OwnClock


class Machine(Protocol):
    """The device under an actor, as its cell sees it."""

    @property
    def view(self) -> DeviceView:
        """What the actor may know of it."""

    async def compute(self, function: Any, arguments: tuple[Any, ...]) -> Any:
        """Run a function; raises `DeviceFailed`."""


class Host(Protocol):
    """What a cell asks of the node it lives in."""

    clock: Clock
    seed: int

    async def transmit(self, sender: str, to: str, message: Message) -> None:
        """Hand a message to the network, and wait while too much is queued for that peer."""

    def watch(self, watcher: str, peer: str) -> None:
        """Remember that `watcher` wants to hear when `peer` is gone."""

    def record(self, actor: str, row: Row) -> None:
        """Write a row down with the present time."""

    def left(self, cell: Cell) -> None:
        """The actor's `run` has returned."""

    def failed(self, cell: Cell, error: BaseException) -> None:
        """The actor raised `error`."""


class _Request(NamedTuple):
    peer: str
    reply: asyncio.Future[Message]


class _Timer:
    """A message on its way to its own actor."""

    __slots__ = ("_cell", "_handle", "_message")

    def __init__(self, cell: Cell, delay: float, message: Message) -> None:
        self._cell = cell
        self._message = message
        self._handle = asyncio.get_running_loop().call_later(delay, self._fire)

    def _fire(self) -> None:
        self._cell.timers.discard(self)
        self._cell.take_local(self._message)

    def cancel(self) -> None:
        self._handle.cancel()
        self._cell.timers.discard(self)


def stamped(message: Message, sender: str, correlation: int) -> Message:
    """The message with its sender and correlation filled in: itself if they were empty, otherwise a copy."""
    if message.sender == sender and message.correlation == correlation:
        return message
    if message.sender or message.correlation:
        return msgspec.structs.replace(message, sender=sender, correlation=correlation)
    msgspec.structs.force_setattr(message, "sender", sender)
    msgspec.structs.force_setattr(message, "correlation", correlation)
    return message


class Cell(Context):
    """One actor's life in a node, and its view of the world."""

    __slots__ = (
        "_accepts",
        "_actor",
        "_busy",
        "_clock",
        "_host",
        "_live",
        "_mailbox",
        "_name",
        "_pending",
        "_receiver",
        "_tasks",
        "alive",
        "machine",
        "open_requests",
        "requests",
        "timers",
    )

    def __init__(
        self, host: Host, name: str, actor: Actor, machine: Machine, clock: OwnClock, requests: int = 0
    ) -> None:
        """`requests` is how many its former lives have made: no reply to one of them answers one of this life."""
        self._host = host
        self._clock = clock
        self._name = name
        self._actor = actor
        self.machine = machine
        self._accepts = frozenset((*actor.accepts, PeerGone))
        self._live = type(actor).defines("run")
        self._busy = False
        self._mailbox: deque[Message] = deque()
        self._receiver: asyncio.Future[Message] | None = None
        self._pending: dict[int, _Request] = {}
        self.requests = requests
        self._tasks: set[asyncio.Task[None]] = set()
        self.timers: set[_Timer] = set()
        #: Requests that were taken and are not answered: (requester, correlation).
        self.open_requests: dict[tuple[str, int], None] = {}
        #: Whether it takes messages: from `begin` until it leaves or is stopped.
        self.alive = False

    # Life, as the node directs it.

    @property
    def actor(self) -> Actor:
        """The actor itself, for those outside of the study."""
        return self._actor

    def begin(self, start_s: float = 0.0) -> None:
        """Come to life: start `run`, and deliver `Start` after `start_s` if the actor accepts it."""
        self.alive = True
        if self._live:
            self._spawn(self._actor.run(self))
        if Start in self._actor.accepts and start_s < math.inf:
            self.timers.add(_Timer(self, self._host.clock.wall(start_s), Start()))

    def stop(self) -> None:
        """End at once: tasks are cancelled, timers and waiting messages forgotten."""
        self.alive = False
        for timer in list(self.timers):
            timer.cancel()
        for task in self._tasks:
            task.cancel()
        self._mailbox.clear()

    async def stopped(self, limit_s: float) -> None:
        """Wait until the cancelled tasks have ended; at most `limit_s` for an actor that does not let go."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=limit_s)

    def _spawn(self, coroutine: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(coroutine, name=self._name)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        error = None if task.cancelled() else task.exception()
        if error is not None:
            self._busy = False
            self._host.failed(self, error)
        elif self._live and self.alive:
            self._host.left(self)

    # Deliveries.

    def deliver(self, message: Message) -> str | None:
        """Take a message from the network; returns why it is not taken, or None."""
        if message.correlation < 0:
            return self._settle(message)
        if type(message) not in self._accepts or isinstance(message, LOCAL_MESSAGES):
            return "unexpected"
        if self._mailbox and len(self._mailbox) >= self._actor.mailbox:
            return "full"
        if type(message) in self._actor.absorbs and not self._mailbox and self._actor.absorb(message):
            return None
        if message.correlation:
            self.open_requests[message.sender, message.correlation] = None
        self._take(message)
        return None

    def take_local(self, message: Message) -> None:
        """Take a message that crosses no wire: a timer, the start, news of a peer. It is never refused."""
        if self.alive:
            self._take(message)

    def _take(self, message: Message) -> None:
        if self._live:
            receiver, self._receiver = self._receiver, None
            if receiver is None or receiver.done():
                self._mailbox.append(message)
            else:
                receiver.set_result(message)
        elif self._actor.concurrent:
            self._spawn(self._actor.handle(self, message))
        elif self._busy:
            self._mailbox.append(message)
        else:
            self._busy = True
            self._spawn(self._serve(message))

    async def _serve(self, message: Message) -> None:
        while True:
            await self._actor.handle(self, message)
            if not self._mailbox:
                break
            message = self._mailbox.popleft()
            await asyncio.sleep(0)
        self._busy = False

    def _settle(self, message: Message) -> str | None:
        request = self._pending.get(-message.correlation)
        if request is None or request.reply.done() or request.peer != message.sender:
            return "late"
        if isinstance(message, Refusal):
            request.reply.set_exception(_failure(request.peer, message.reason))
        else:
            request.reply.set_result(message)
        return None

    def refuse(self, correlation: int, reason: str) -> None:
        """The network did not take this actor's request."""
        request = self._pending.get(correlation)
        if request is not None and not request.reply.done():
            request.reply.set_exception(_failure(request.peer, reason))

    def peer_gone(self, peer: str) -> None:
        """A peer is gone for good: its replies will not come."""
        for request in self._pending.values():
            if request.peer == peer and not request.reply.done():
                request.reply.set_exception(PeerLeft(peer))

    # The context.

    @property
    def name(self) -> str:
        return self._name

    @property
    def now(self) -> float:
        return self._clock.now

    @property
    def device(self) -> DeviceView:
        return self.machine.view

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(self._clock.wall(seconds))

    def later(self, delay: float, message: Message) -> Timer:
        if type(message) not in self._accepts:
            raise TypeError(f"{type(self._actor).__name__} does not accept {type(message).__name__}")
        timer = _Timer(self, self._clock.wall(delay), stamped(message, self._name, 0))
        self.timers.add(timer)
        return timer

    def deadline(self, seconds: float) -> AbstractAsyncContextManager[None]:
        return scopes.Deadline(seconds, self._clock.wall(seconds))

    def group(self) -> AbstractAsyncContextManager[Group]:
        return scopes.Group()

    async def send(self, to: str, message: Message) -> None:
        await self._host.transmit(self._name, to, stamped(message, self._name, 0))

    async def request(self, to: str, message: Message, *, timeout: float) -> Message:
        wall_s = self._clock.wall(timeout)
        self.requests += 1
        number = self.requests
        reply: asyncio.Future[Message] = asyncio.get_running_loop().create_future()
        self._pending[number] = _Request(to, reply)
        try:
            async with asyncio.timeout(wall_s) as scope:
                await self._host.transmit(self._name, to, stamped(message, self._name, number))
                return await reply
        except TimeoutError:
            if not scope.expired():
                raise
            if not reply.cancelled() and reply.done():
                return reply.result()
            raise DeadlineExceeded(timeout) from None
        finally:
            del self._pending[number]
            if reply.done() and not reply.cancelled():
                reply.exception()

    async def reply(self, request: Message, message: Message) -> None:
        correlation = -request.correlation if request.correlation > 0 else 0
        self.open_requests.pop((request.sender, request.correlation), None)
        await self._host.transmit(self._name, request.sender, stamped(message, self._name, correlation))

    async def receive(self, *, timeout: float | None = None) -> Message:
        if not self._live:
            raise RuntimeError("an actor that handles messages does not receive them")
        if self._mailbox:
            return self._mailbox.popleft()
        if self._receiver is not None:
            raise RuntimeError("two coroutines of one actor wait for its messages")
        loop = asyncio.get_running_loop()
        message: asyncio.Future[Message] = loop.create_future()
        expiry = None
        if timeout is not None:
            expiry = loop.call_later(self._clock.wall(timeout), _expire, message, timeout)
        self._receiver = message
        try:
            return await message
        except asyncio.CancelledError:
            if message.done() and not message.cancelled() and message.exception() is None:
                # It arrived in the very moment of the cancellation: it is still the next one.
                self._mailbox.appendleft(message.result())
            raise
        finally:
            if self._receiver is message:
                self._receiver = None
            if expiry is not None:
                expiry.cancel()

    def watch(self, peer: str) -> None:
        self._host.watch(self._name, peer)

    async def compute(self, function: Any, *arguments: Any) -> Any:
        return await self.machine.compute(function, arguments)

    async def value(self, payload: Payload, *, ahead: bool = False) -> ArrayDict:
        if not isinstance(payload, ArrayDict):
            raise TypeError(f"a payload of the real world is an ArrayDict, not {type(payload).__name__}")
        return payload

    def random(self, purpose: str, counter: int = 0) -> np.random.Generator:
        return rng.generator(self._host.seed, self._name, purpose, counter)

    def secret(self, purpose: str, size: int, counter: int = 0) -> bytes:
        return os.urandom(size)

    def record(self, row: Row) -> None:
        self._host.record(self._name, row)


def _expire(message: asyncio.Future[Message], seconds: float) -> None:
    if not message.done():
        message.set_exception(DeadlineExceeded(seconds))


def _failure(peer: str, reason: str) -> Failure:
    match reason:
        case "full":
            return QueueFull(peer)
        case "gone":
            return PeerLeft(peer)
        case _:
            return Refused(peer, reason)
