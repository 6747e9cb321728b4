"""Small actors that hold the semantics of the two worlds together; each writes what it sees into a shared log."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from core.actor import (
    Actor,
    ArrayDict,
    ChildFailed,
    Context,
    DeadlineExceeded,
    Message,
    Payload,
    PeerGone,
    PeerLeft,
    QueueFull,
    Refused,
    Start,
)
from core.deployment import Deployment, Placement
from core.devices import profile
from core.links import Link

LAN = Link(name="lan", kind="ethernet", latency_s=0.001, up_bytes_per_s=1e8, down_bytes_per_s=1e8)

Log = list[str]


class Ping(Message, frozen=True, kw_only=True):
    n: int


class Pong(Message, frozen=True, kw_only=True):
    n: int


class Unknown(Message, frozen=True, kw_only=True):
    pass


class Blob(Message, frozen=True, kw_only=True):
    n: int
    data: Payload


MESSAGES = (Ping, Pong, Unknown, Blob)


def deployment(actors: dict[str, Actor], **changes: object) -> Deployment:
    """A deployment of `main` and others on servers behind one fast link."""
    return Deployment(
        placements=tuple(
            Placement(name=name, make=lambda actor=actor: actor, profile=profile("server"), link=LAN)  # type: ignore[misc]
            for name, actor in actors.items()
        ),
        main="main",
        messages=MESSAGES,
        **changes,  # type: ignore[arg-type]
    )


class Logging(Actor):
    def __init__(self, log: Log) -> None:
        self.log = log


class Echo(Logging):
    """Replies to each ping, after `delay_s`."""

    accepts: ClassVar[tuple[type[Message], ...]] = (Ping, Blob)
    delay_s = 0.0

    async def handle(self, ctx: Context, message: Message) -> None:
        if isinstance(message, Blob):
            self.log.append(f"{ctx.name} got blob {message.n} of {message.data.nbytes} bytes")
            return
        assert isinstance(message, Ping)
        self.log.append(f"{ctx.name} got {message.n} from {message.sender}")
        if self.delay_s:
            await ctx.sleep(self.delay_s)
        await ctx.reply(message, Pong(n=message.n + 1))


class SlowEcho(Echo):
    delay_s = 0.4


class OneAtATime(SlowEcho):
    """With room for two messages that wait, and a rest after each reply, so that the order of the log is certain."""

    mailbox = 2

    async def handle(self, ctx: Context, message: Message) -> None:
        await super().handle(ctx, message)
        await ctx.sleep(0.2)


class PingPong(Logging):
    """Three requests, one after the other."""

    accepts: ClassVar[tuple[type[Message], ...]] = (Pong,)

    async def run(self, ctx: Context) -> None:
        n = 0
        for _ in range(3):
            reply = await ctx.request("echo", Ping(n=n), timeout=5.0)
            assert isinstance(reply, Pong)
            n = reply.n
            self.log.append(f"{ctx.name} got {n} from {reply.sender}")
        await ctx.send("echo", Ping(n=100))
        plain = await ctx.receive(timeout=5.0)
        self.log.append(f"{ctx.name} got {plain.n} with correlation {plain.correlation}")  # type: ignore[attr-defined]


class TimesOut(Logging):
    """A request, a receive and a block that take too long; a late reply disturbs nobody."""

    async def run(self, ctx: Context) -> None:
        try:
            await ctx.request("echo", Ping(n=1), timeout=0.1)
        except DeadlineExceeded as failure:
            self.log.append(f"request: {failure}")
        try:
            await ctx.receive(timeout=0.05)
        except DeadlineExceeded as failure:
            self.log.append(f"receive: {failure}")
        try:
            async with ctx.deadline(0.05):
                await ctx.sleep(10.0)
        except DeadlineExceeded as failure:
            self.log.append(f"deadline: {failure}")
        await ctx.sleep(0.6)
        reply = await ctx.request("echo", Ping(n=2), timeout=5.0)
        self.log.append(f"then {reply.n}")  # type: ignore[attr-defined]


class LeavesSoon(Logging):
    """Takes one message, lives a little longer, and leaves without an answer."""

    accepts: ClassVar[tuple[type[Message], ...]] = (Ping,)

    async def run(self, ctx: Context) -> None:
        message = await ctx.receive()
        self.log.append(f"{ctx.name} got {message.n} and leaves")  # type: ignore[attr-defined]
        await ctx.sleep(0.2)


class Bereft(Logging):
    """Its peer leaves while it waits; afterwards it is gone at once; nobody is there."""

    accepts: ClassVar[tuple[type[Message], ...]] = (PeerGone,)

    async def run(self, ctx: Context) -> None:
        ctx.watch("leaver")
        try:
            await ctx.request("leaver", Ping(n=1), timeout=30.0)
        except PeerLeft as failure:
            self.log.append(f"waiting: {failure}")
        news = await ctx.receive(timeout=5.0)
        self.log.append(f"news: {news.peer}")  # type: ignore[attr-defined]
        for peer in ("leaver", "nobody"):
            try:
                await ctx.request(peer, Ping(n=2), timeout=30.0)
            except PeerLeft as failure:
                self.log.append(f"later: {failure}")
        ctx.watch("leaver")
        news = await ctx.receive(timeout=5.0)
        self.log.append(f"news again: {news.peer}")  # type: ignore[attr-defined]


class Parent(Logging):
    """Children that end, that fail, that are cancelled; a block that is cut short together with its children."""

    async def run(self, ctx: Context) -> None:
        async with ctx.group() as group:
            first = group.spawn(self._child(ctx, "a", 0.2))
            second = group.spawn(self._child(ctx, "b", 0.1))
            self.log.append("spawned")
        self.log.append(f"joined {first.result()} {second.result()}")
        try:
            async with ctx.group() as group:
                group.spawn(self._child(ctx, "c", 5.0))
                group.spawn(self._failing(ctx))
                await ctx.sleep(10.0)
                self.log.append("not reached")
        except ChildFailed as failure:
            self.log.append(f"failed: {failure.__cause__}")
        async with ctx.group() as group:
            child = group.spawn(self._child(ctx, "d", 5.0))
            await ctx.sleep(0.1)
            child.cancel()
        self.log.append(f"cancelled {child.done} {child.result()}")
        try:
            async with ctx.deadline(0.1), ctx.group() as group:
                group.spawn(self._child(ctx, "e", 5.0))
        except DeadlineExceeded:
            self.log.append("deadline")

    async def _child(self, ctx: Context, name: str, seconds: float) -> str:
        try:
            await ctx.sleep(seconds)
        finally:
            self.log.append(f"{name} ends")
        return name.upper()

    async def _failing(self, ctx: Context) -> None:
        await ctx.sleep(0.1)
        raise ValueError("the child's own mistake")


class Scopes(Logging):
    """Deadlines within deadlines, and one that is not reached."""

    async def run(self, ctx: Context) -> None:
        async with ctx.deadline(5.0):
            await ctx.sleep(0.05)
        self.log.append("in time")
        try:
            async with ctx.deadline(0.1):
                try:
                    async with ctx.deadline(5.0):
                        await ctx.sleep(10.0)
                except DeadlineExceeded:
                    self.log.append("the inner one was not meant")
        except DeadlineExceeded:
            self.log.append("the outer one")
        async with ctx.deadline(5.0):
            try:
                async with ctx.deadline(0.1):
                    await ctx.sleep(10.0)
            except DeadlineExceeded:
                self.log.append("the inner one")
        timer = ctx.later(0.1, Ping(n=7))
        timer.cancel()
        ctx.later(0.2, Ping(n=8))
        message = await ctx.receive(timeout=1.0)
        self.log.append(f"timer {message.n}")  # type: ignore[attr-defined]

    accepts: ClassVar[tuple[type[Message], ...]] = (Ping,)


class Crowd(Logging):
    """Five requests at once to an actor that takes one at a time and keeps two."""

    async def run(self, ctx: Context) -> None:
        async with ctx.group() as group:
            for n in range(5):
                group.spawn(self._ask(ctx, n))
        try:
            await ctx.request("echo", Unknown(), timeout=5.0)
        except Refused as failure:
            self.log.append(str(failure))

    async def _ask(self, ctx: Context, n: int) -> None:
        try:
            reply = await ctx.request("echo", Ping(n=n), timeout=30.0)
        except QueueFull:
            self.log.append(f"{n}: full")
        else:
            self.log.append(f"{n}: {reply.n}")  # type: ignore[attr-defined]


class LargeBeforeSmall(Logging):
    """A large message of the bulk stream does not hold up a small one, but comes before a later one of its own."""

    async def run(self, ctx: Context) -> None:
        large = ArrayDict({"x": np.zeros(4_000_000, np.float32)})
        await ctx.send("echo", Blob(n=1, data=large))
        await ctx.send("echo", Blob(n=2, data=ArrayDict({"x": large["x"][:10]})))
        await ctx.request("echo", Ping(n=3), timeout=30.0)
        await ctx.sleep(3.0)


class Undeclared(Message, frozen=True, kw_only=True):
    """Not among the deployment's types."""


class SaysGoodbye(Logging):
    """Takes three requests, answers the first, sends two messages and leaves."""

    accepts: ClassVar[tuple[type[Message], ...]] = (Ping,)

    async def run(self, ctx: Context) -> None:
        first, *_ = [await ctx.receive() for _ in range(3)]
        await ctx.reply(first, Pong(n=0))
        await ctx.send("main", Blob(n=1, data=ArrayDict({"x": np.zeros(500_000, np.float32)})))
        await ctx.send("main", Pong(n=2))


class HearsGoodbye(Logging):
    """All that was sent comes before the news that its sender has left."""

    accepts: ClassVar[tuple[type[Message], ...]] = (Pong, Blob, PeerGone)

    async def run(self, ctx: Context) -> None:
        ctx.watch("leaver")
        async with ctx.group() as group:
            for n in range(3):
                group.spawn(self._ask(ctx, n))
        seen = [await ctx.receive(timeout=10.0) for _ in range(3)]
        self.log.append(f"then {', '.join(sorted(type(message).__name__ for message in seen[:2]))}")
        self.log.append(f"last {type(seen[2]).__name__}")
        try:
            await ctx.send("leaver", Undeclared())
        except TypeError as failure:
            self.log.append(str(failure))

    async def _ask(self, ctx: Context, n: int) -> None:
        await ctx.sleep(n / 10)
        try:
            reply = await ctx.request("leaver", Ping(n=n), timeout=30.0)
        except PeerLeft:
            self.log.append(f"{n}: left")
        else:
            self.log.append(f"{n}: {type(reply).__name__}")


class Busy(Logging):
    """Asks others from within a handler: the replies reach it past the messages that wait in its mailbox."""

    accepts: ClassVar[tuple[type[Message], ...]] = (Start, Ping)

    async def handle(self, ctx: Context, message: Message) -> None:
        n = message.n if isinstance(message, Ping) else 0
        self.log.append(f"{ctx.name} handles {n}")
        reply = await ctx.request("echo", Ping(n=n), timeout=5.0)
        self.log.append(f"{ctx.name} got {reply.n} and has handled {n}")  # type: ignore[attr-defined]


class Crowding(Logging):
    """Sends three messages to a busy actor."""

    async def run(self, ctx: Context) -> None:
        await ctx.sleep(0.1)
        for n in (10, 20, 30):
            await ctx.send("busy", Ping(n=n))
        await ctx.sleep(3.0)


class Picky(Logging):
    """Says what it gets and from whom; a request comes back as its own timer, once."""

    accepts: ClassVar[tuple[type[Message], ...]] = (Start, PeerGone, Ping)

    async def handle(self, ctx: Context, message: Message) -> None:
        self.log.append(f"{ctx.name} got {type(message).__name__} from {message.sender!r}, {message.correlation}")
        if isinstance(message, Start):
            ctx.watch("nobody")
        elif message.correlation:
            ctx.later(0.05, message)
            await ctx.reply(message, Pong(n=0))


class Forging(Logging):
    """Sends what only the world may send."""

    async def run(self, ctx: Context) -> None:
        await ctx.sleep(0.1)
        await ctx.send("picky", Start())
        await ctx.send("picky", PeerGone(peer="main"))
        await ctx.request("picky", Ping(n=1), timeout=5.0)
        await ctx.sleep(0.3)


class LeavesMuch(Logging):
    """Sends a lot, and leaves at once."""

    accepts: ClassVar[tuple[type[Message], ...]] = (Ping,)

    async def run(self, ctx: Context) -> None:
        await ctx.receive()
        for n in (1, 2):
            await ctx.send("main", Blob(n=n, data=ArrayDict({"x": np.zeros(1_000_000, np.float32)})))


class Heir(Logging):
    """Takes what is left to it, and hears that its peer is gone."""

    accepts: ClassVar[tuple[type[Message], ...]] = (Blob, PeerGone)

    async def run(self, ctx: Context) -> None:
        ctx.watch("leaver")
        await ctx.send("leaver", Ping(n=0))
        got = [await ctx.receive(timeout=30.0) for _ in range(3)]
        self.log.extend(f"blob {message.n}" for message in got if isinstance(message, Blob))
        self.log.extend(f"{message.peer} is gone" for message in got if isinstance(message, PeerGone))


class TooLarge(Logging):
    """Messages larger than a frame may be, and one that is just as large."""

    async def run(self, ctx: Context) -> None:
        large = ArrayDict({"x": np.zeros(1000, np.float32)})
        await ctx.send("echo", Blob(n=1, data=large))
        try:
            await ctx.request("echo", Blob(n=2, data=large), timeout=5.0)
        except Refused as failure:
            self.log.append(str(failure))
        try:
            await ctx.request("nobody", Blob(n=3, data=large), timeout=5.0)
        except PeerLeft as failure:
            self.log.append(str(failure))
        await ctx.send("echo", Blob(n=4, data=ArrayDict({"x": large["x"][:900]})))
        await ctx.request("echo", Ping(n=5), timeout=5.0)
        await ctx.sleep(0.3)


class Mortal(Logging):
    """Says which life it lives; its timers and its requests do not outlive one."""

    accepts: ClassVar[tuple[type[Message], ...]] = (Start, Ping, Pong)
    life = 0

    async def handle(self, ctx: Context, message: Message) -> None:
        if isinstance(message, Start):
            self.life += 1
            self.log.append(f"{ctx.name} lives for the {self.life}. time")
            ctx.later(0.8, Pong(n=self.life))
        elif isinstance(message, Pong):
            self.log.append(f"{ctx.name} is woken by the {message.n}. life")
        elif self.life == 1:
            await ctx.sleep(1000.0)
        else:
            await ctx.reply(message, Pong(n=self.life))


class Survivor(Logging):
    """Asks in the first life of its peer, while that is off, and in its second one."""

    async def run(self, ctx: Context) -> None:
        log: Log = []
        async with ctx.group() as group:
            for n, wait_s in enumerate((0.1, 0.5, 1.2)):
                group.spawn(self._ask(ctx, log, n, wait_s))
        await ctx.sleep(0.6)
        self.log.extend(sorted(log))

    async def _ask(self, ctx: Context, log: Log, n: int, wait_s: float) -> None:
        await ctx.sleep(wait_s)
        try:
            reply = await ctx.request("mortal", Ping(n=n), timeout=1.0)
        except (PeerLeft, DeadlineExceeded) as failure:
            log.append(f"{n}: {failure}")
        else:
            log.append(f"{n}: answered in the {reply.n}. life")  # type: ignore[attr-defined]
