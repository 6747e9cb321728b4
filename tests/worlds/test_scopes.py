"""Deadlines, groups and cancellation: random programs end alike in both worlds, to the exact moment.

The simulator's tasks and asyncio's (through `real_runtime.scopes`, on a loop whose clock is virtual) run the same
programs. All durations are different powers of two, so that no two of them end at one time by chance.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Awaitable
from typing import Any, Protocol

from hypothesis import example, given, settings
from hypothesis import strategies as st

from core.actor import Child, ChildFailed, Context, Failure
from real_runtime import scopes
from tests.sim.studies import run, study

#: Kind, then what belongs to it; the position in the program gives each operation its duration.
Operation = tuple[Any, ...]
Log = list[tuple[float, str]]


class Surroundings(Protocol):
    """What a program needs of a context."""

    @property
    def now(self) -> float: ...
    def sleep(self, seconds: float) -> Awaitable[None]: ...
    def deadline(self, seconds: float) -> Any: ...
    def group(self) -> Any: ...


class AsyncioContext:
    """The asyncio world's scopes by a virtual clock."""

    @property
    def now(self) -> float:
        return asyncio.get_running_loop().time()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    def deadline(self, seconds: float) -> Any:
        return scopes.Deadline(seconds, seconds)

    def group(self) -> Any:
        return scopes.Group()


class VirtualSelector(selectors.SelectSelector):
    """Does not wait but lets the clock jump."""

    now = 0.0

    def select(self, timeout: float | None = None) -> list[Any]:
        self.now += timeout or 0.0
        return super().select(0)


class VirtualLoop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self.virtual = VirtualSelector()
        super().__init__(self.virtual)
        # Less than the shortest duration, more than the resolution of a time below 2 s.
        self._clock_resolution = 2.0**-50

    def time(self) -> float:
        return self.virtual.now


class Program:
    """One run of a program in one world."""

    def __init__(self, ctx: Surroundings, durations: list[int]) -> None:
        self.ctx = ctx
        self.durations = durations
        self.log: Log = []

    def note(self, what: str) -> None:
        self.log.append((self.ctx.now, what))

    def duration(self, number: int) -> float:
        return float(2.0 ** -self.durations[number])

    async def main(self, body: list[Operation]) -> None:
        try:
            await self.run(body, [])
        except (Failure, ArithmeticError) as failure:
            self.note(f"ends with {chain(failure)}")
        except BaseException as error:  # noqa: BLE001
            # Nobody has cancelled it.
            self.note(f"ends with {type(error).__name__}")
        else:
            self.note("ends")

    async def run(self, body: list[Operation], children: list[Child]) -> None:
        for operation in body:
            await self.do(operation, children)

    async def do(self, operation: Operation, children: list[Child]) -> None:
        kind, number, *rest = operation
        match kind:
            case "sleep":
                await self.ctx.sleep(self.duration(number))
            case "fail":
                raise ArithmeticError
            case "deadline":
                async with self.ctx.deadline(self.duration(number)):
                    await self.run(rest[0], children)
            case "catch":
                try:
                    await self.run(rest[0], children)
                except (Failure, ArithmeticError) as failure:
                    self.note(f"{number} catches {chain(failure)}")
            case "finally":
                try:
                    await self.run(rest[0], children)
                finally:
                    self.note(f"{number} cleans up")
                    await self.run(rest[1], children)
            case "group":
                async with self.ctx.group() as group:
                    own = [group.spawn(self.child(number, body)) for body in rest[0]]
                    await self.run(rest[1], own)
                self.note(f"{number}: {[child.result() for child in own]}")
            case "cancel":
                if children:
                    children[rest[0] % len(children)].cancel()
        self.note(f"{number} done")

    async def child(self, number: int, body: list[Operation]) -> str:
        self.note(f"child of {number} begins")
        # Children that began and failed within one moment would do so in an order of their world's own.
        await self.ctx.sleep(self.duration(body[0][1]))
        try:
            await self.run(body[1:], [])
        except (Failure, ArithmeticError) as failure:
            self.note(f"child of {number} fails with {chain(failure)}")
            raise
        except BaseException:
            self.note(f"child of {number} is cancelled")
            raise
        return "result"


def chain(failure: BaseException | None) -> str:
    names = []
    while failure is not None:
        names.append(f"{type(failure).__name__} {getattr(failure, 'seconds', '')}".strip())
        failure = failure.__cause__ if isinstance(failure, ChildFailed) else None
    return " of ".join(names)


def simulated(body: list[Operation], durations: list[int]) -> Log:
    programs: list[Program] = []

    async def life(ctx: Context) -> None:
        programs.append(Program(ctx, durations))
        await programs[0].main(body)

    run(study(life))
    return sorted(programs[0].log)


def on_asyncio(body: list[Operation], durations: list[int]) -> Log:
    program = Program(AsyncioContext(), durations)
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(program.main(body))
    return sorted(program.log)


MAX_OPERATIONS = 40


@st.composite
def programs(draw: st.DrawFn) -> tuple[list[Operation], list[int]]:
    """A program of numbered operations, and a permutation of the exponents of their durations."""
    count = 0

    def number() -> int:
        nonlocal count
        count += 1
        return count - 1

    def body(depth: int, least: int = 1) -> list[Operation]:
        return [operation(depth) for _ in range(draw(st.integers(least, 3)))]

    def operation(depth: int) -> Operation:
        kinds = ["sleep", "fail", "cancel"]
        if depth and count < MAX_OPERATIONS - 12:
            kinds += ["deadline", "catch", "finally", "group", "group", "deadline"]
        kind, own = draw(st.sampled_from(kinds)), number()
        match kind:
            case "cancel":
                return (kind, own, draw(st.integers(0, 2)))
            case "deadline" | "catch":
                return (kind, own, body(depth - 1))
            case "finally":
                return (kind, own, body(depth - 1), body(depth - 1, 0))
            case "group":
                children = [[("sleep", number()), *body(depth - 1, 0)] for _ in range(draw(st.integers(1, 2)))]
                return (kind, own, children, body(depth - 1, 0))
        return (kind, own)

    drawn = body(5)
    return drawn, draw(st.permutations(range(count)))


def sleep(number: int) -> Operation:
    return ("sleep", number)


@settings(max_examples=400, deadline=None)
@given(programs())
@example(  # a child that fails while its block joins
    ([("group", 0, [[sleep(1), ("fail", 2)]], [])], [0, 1, 2])
)
@example(  # both deadlines expire while the inner one cleans up, the outer one first
    (
        [("deadline", 0, [("catch", 1, [("deadline", 2, [("finally", 3, [sleep(4)], [sleep(5)])])]), sleep(6)])],
        [3, 9, 2, 9, 0, 1, 0],
    )
)
@example(  # and the inner one first
    (
        [("deadline", 0, [("catch", 1, [("deadline", 2, [("finally", 3, [sleep(4)], [sleep(5)])])]), sleep(6)])],
        [2, 9, 3, 9, 0, 1, 0],
    )
)
@example(  # a child that is cancelled before it begins
    ([("group", 0, [[sleep(1), sleep(2)]], [("cancel", 3, 0), sleep(4)])], [9, 1, 2, 9, 3])
)
@example(  # a child that is cancelled again while it cleans up
    (
        [
            (
                "group",
                0,
                [[sleep(1), ("finally", 2, [sleep(3)], [sleep(4)])]],
                [sleep(5), ("cancel", 6, 0), sleep(7), ("cancel", 8, 0)],
            )
        ],
        [9, 5, 9, 0, 1, 4, 9, 3, 9],
    )
)
@example(  # a deadline within the clean-up of a cancelled block
    (
        [("catch", 0, [("deadline", 1, [("finally", 2, [sleep(3)], [("catch", 4, [("deadline", 5, [sleep(6)])])])])])],
        [9, 4, 9, 0, 9, 5, 1],
    )
)
def test_random_programs_end_alike(program: tuple[list[Operation], list[int]]) -> None:
    body, durations = program
    assert simulated(body, durations) == on_asyncio(body, durations)


def test_the_virtual_clock_is_exact() -> None:
    log = on_asyncio([sleep(0), ("deadline", 1, [sleep(2)])], [1, 2, 0])
    assert log == [(0.5, "0 done"), (0.75, "ends with DeadlineExceeded 0.25")]
    assert log == simulated([sleep(0), ("deadline", 1, [sleep(2)])], [1, 2, 0])
