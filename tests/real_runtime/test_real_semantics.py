"""What actors may rely on, over real TLS sockets: one node per actor, in one loop."""

from __future__ import annotations

import asyncio
import functools
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import msgspec
import numpy as np
import pytest

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
from core.availability import CHARGING, Replay, Trace
from core.deployment import Deployment, Fault, Placement, Population
from core.devices import Work, link, profile
from core.records import RecordsError
from core.records.rows import DeviceRow, EnergyRow, EvaluationRow, FaultRow, JobRow, Row, UndeliveredRow
from core.rng import generator
from core.wire import frame_size
from real_runtime.processor import Processor
from real_runtime.testing import MemoryRecords, run_nodes, run_real
from real_runtime.world import RunFailed


class Ask(Message, frozen=True, kw_only=True):
    number: int


class Answer(Message, frozen=True, kw_only=True):
    number: int


class Parcel(Message, frozen=True, kw_only=True):
    data: Payload


class Stop(Message, frozen=True, kw_only=True):
    pass


MESSAGES = (Ask, Answer, Parcel, Stop)
Life = Callable[[Context], Any]


def main_actor(life: Life, accepts: tuple[type[Message], ...] = ()) -> type[Actor]:
    class Main(Actor):
        async def run(self, ctx: Context) -> None:
            await life(ctx)

    Main.accepts = accepts
    return Main


class Echo(Actor):
    """Answers, with the number doubled; `Stop` is not accepted."""

    accepts = (Ask, Parcel)

    async def handle(self, ctx: Context, message: Message) -> None:
        if isinstance(message, Ask):
            await ctx.reply(message, Answer(number=2 * message.number))


class Lazy(Actor):
    """Takes one message at a time, for half a second, and never answers."""

    accepts = (Ask,)
    mailbox: ClassVar[int] = 2

    async def handle(self, ctx: Context, message: Message) -> None:
        await ctx.sleep(0.5)


def placement(name: str, make: Callable[[], Actor], device: str = "server") -> Placement:
    return Placement(name, make, profile(device), link("ethernet_lan"))


def study(life: Life, *others: Placement, accepts: tuple[type[Message], ...] = (), **options: Any) -> Deployment:
    return Deployment(
        placements=(placement("main", main_actor(life, accepts)), *others),
        main="main",
        messages=MESSAGES,
        **options,
    )


def rows(records: MemoryRecords, kind: type[Row]) -> list[Any]:
    return [recorded.row for recorded in records.of(kind)]


def undelivered(records: MemoryRecords) -> list[tuple[str, str, str, str]]:
    return [(row.sender, row.receiver, row.type, row.reason) for row in rows(records, UndeliveredRow)]


def device_events(records: MemoryRecords, name: str) -> list[str]:
    return [row.event for _, actor, row in records.rows if actor == name and isinstance(row, DeviceRow)]


def test_requests_are_answered_and_messages_counted_by_their_frames() -> None:
    answers = []

    async def life(ctx: Context) -> None:
        for number in range(3):
            answer = await ctx.request("echo", Ask(number=number), timeout=5)
            assert isinstance(answer, Answer)
            answers.append((answer.sender, answer.number, answer.correlation))

    records = run_real(study(life, placement("echo", Echo)))
    assert answers == [("echo", 0, -1), ("echo", 2, -2), ("echo", 4, -3)]
    size = frame_size("echo", Ask(sender="main", correlation=1, number=0))
    assert [(row.sender, row.receiver, row.type) for row in records.messages] == 3 * [
        ("main", "echo", "Ask"),
        ("echo", "main", "Answer"),
    ]
    assert records.messages[0].size_bytes == size
    assert all(row.delivered_s >= 0 and row.sent_s >= 0 for row in records.messages)
    assert undelivered(records) == []


def test_two_actors_of_one_node_speak_in_frames_too(tmp_path: Path) -> None:
    data = ArrayDict({"x": np.arange(3, dtype=np.float32)})
    seen: list[ArrayDict] = []

    class Keeper(Actor):
        accepts = (Parcel,)

        async def handle(self, ctx: Context, message: Message) -> None:
            assert isinstance(message, Parcel)
            seen.append(await ctx.value(message.data))
            await ctx.reply(message, Stop())

    async def life(ctx: Context) -> None:
        await ctx.request("keeper", Parcel(data=data), timeout=5)

    records = MemoryRecords()
    deployment = study(life, placement("keeper", Keeper))
    asyncio.run(run_nodes(deployment, {"one": ["main", "keeper"]}, tmp_path, records))
    assert seen == [data]
    assert seen[0]["x"] is not data["x"]
    assert not seen[0]["x"].flags.writeable
    assert records.messages[0].size_bytes == frame_size("keeper", Parcel(sender="main", correlation=1, data=data))


def test_a_request_times_out_and_its_late_reply_is_recorded() -> None:
    log = []

    class Slow(Actor):
        accepts = (Ask,)

        async def handle(self, ctx: Context, message: Message) -> None:
            await ctx.sleep(0.3)
            await ctx.reply(message, Answer(number=1))

    async def life(ctx: Context) -> None:
        with pytest.raises(DeadlineExceeded) as failure:
            await ctx.request("slow", Ask(number=1), timeout=0.1)
        log.append(failure.value.seconds)
        await ctx.sleep(0.5)

    records = run_real(study(life, placement("slow", Slow)))
    assert log == [0.1]
    assert undelivered(records) == [("slow", "main", "Answer", "late")]


def test_a_peer_that_leaves_is_told_to_those_who_watch_and_to_those_who_ask() -> None:
    log: list[str] = []

    class Leaver(Actor):
        accepts = (Ask,)

        async def run(self, ctx: Context) -> None:
            await ctx.receive()

    async def life(ctx: Context) -> None:
        ctx.watch("leaver")
        with pytest.raises(PeerLeft):
            await ctx.request("leaver", Ask(number=1), timeout=5)
        log.append("asked")
        gone = await ctx.receive(timeout=5)
        log.append(repr(gone))
        with pytest.raises(PeerLeft):
            await ctx.request("leaver", Ask(number=2), timeout=5)
        ctx.watch("leaver")
        log.append(repr(await ctx.receive(timeout=5)))

    records = run_real(study(life, placement("leaver", Leaver)))
    assert log == ["asked", repr(PeerGone(peer="leaver")), repr(PeerGone(peer="leaver"))]
    assert undelivered(records) == [("main", "leaver", "Ask", "gone")]


def test_nobody_of_that_name() -> None:
    async def life(ctx: Context) -> None:
        await ctx.send("nobody", Ask(number=0))
        with pytest.raises(PeerLeft):
            await ctx.request("nobody", Ask(number=1), timeout=5)
        ctx.watch("nobody")
        assert await ctx.receive(timeout=5) == PeerGone(peer="nobody")

    records = run_real(study(life))
    assert undelivered(records) == 2 * [("main", "nobody", "Ask", "gone")]


def test_a_full_mailbox_refuses() -> None:
    outcomes: list[str] = []

    async def life(ctx: Context) -> None:
        # One is being handled, two wait, the fourth is one too many.
        for number in range(3):
            await ctx.send("lazy", Ask(number=number))
        with pytest.raises(QueueFull):
            await ctx.request("lazy", Ask(number=3), timeout=5)
        await ctx.send("lazy", Ask(number=4))
        await ctx.sleep(0.1)
        outcomes.append("done")

    records = run_real(study(life, placement("lazy", Lazy)))
    assert outcomes == ["done"]
    assert undelivered(records) == 2 * [("main", "lazy", "Ask", "full")]
    assert [row.type for row in records.messages] == ["Ask", "Ask", "Ask", "Refusal"]


def test_what_is_not_accepted_is_refused() -> None:
    async def life(ctx: Context) -> None:
        with pytest.raises(Refused) as failure:
            await ctx.request("echo", Stop(), timeout=5)
        assert (failure.value.peer, failure.value.reason) == ("echo", "unexpected")
        await ctx.send("echo", Start())
        await ctx.request("echo", Ask(number=1), timeout=5)

    records = run_real(study(life, placement("echo", Echo)))
    assert undelivered(records) == [("main", "echo", "Stop", "unexpected"), ("main", "echo", "Start", "unexpected")]


def test_what_is_too_large_is_refused_before_it_leaves() -> None:
    async def life(ctx: Context) -> None:
        with pytest.raises(Refused) as failure:
            await ctx.request("echo", Parcel(data=ArrayDict({"x": np.zeros(500)})), timeout=5)
        assert failure.value.reason == "oversized"
        await ctx.request("echo", Ask(number=1), timeout=5)

    records = run_real(study(life, placement("echo", Echo), max_frame_bytes=1000))
    assert undelivered(records) == [("main", "echo", "Parcel", "oversized")]


def test_a_small_message_overtakes_a_large_one() -> None:
    order: list[str] = []

    class Keeper(Actor):
        accepts = (Ask, Parcel)

        async def handle(self, ctx: Context, message: Message) -> None:
            order.append(type(message).__name__)
            if isinstance(message, Parcel):
                array = (await ctx.value(message.data))["x"]
                order.append(str(int(array.sum())))
                await ctx.send("main", Stop())

    async def life(ctx: Context) -> None:
        data = ArrayDict({"x": np.ones(3_000_000, dtype=np.int64)})
        await ctx.send("keeper", Parcel(data=data))
        await ctx.send("keeper", Ask(number=1))
        await ctx.receive(timeout=20)

    run_real(study(life, placement("keeper", Keeper), accepts=(Stop,)))
    assert order == ["Ask", "Parcel", "3000000"]


def test_order_within_a_stream() -> None:
    numbers: list[int] = []

    class Counter(Actor):
        accepts = (Ask,)

        async def handle(self, ctx: Context, message: Message) -> None:
            assert isinstance(message, Ask)
            numbers.append(message.number)
            if message.number == 499:
                await ctx.send("main", Stop())

    async def life(ctx: Context) -> None:
        for number in range(500):
            await ctx.send("counter", Ask(number=number))
        await ctx.receive(timeout=10)

    run_real(study(life, placement("counter", Counter), accepts=(Stop,)))
    assert numbers == list(range(500))


def test_a_child_that_fails_cancels_its_siblings_and_is_the_cause() -> None:
    log: list[str] = []

    async def patient(ctx: Context) -> None:
        try:
            await ctx.sleep(60)
        finally:
            log.append("sibling ended")

    async def failing(ctx: Context) -> None:
        await ctx.sleep(0.01)
        raise LookupError("no key")

    async def life(ctx: Context) -> None:
        try:
            async with ctx.group() as group:
                group.spawn(patient(ctx))
                group.spawn(failing(ctx))
                await ctx.sleep(60)
        except ChildFailed as failure:
            log.append(repr(failure.__cause__))

    run_real(study(life))
    assert log == ["sibling ended", "LookupError('no key')"]


def test_a_cancelled_child_is_no_failure() -> None:
    log: list[object] = []

    async def child(ctx: Context, seconds: float) -> str:
        await ctx.sleep(seconds)
        return "slept"

    async def life(ctx: Context) -> None:
        async with ctx.group() as group:
            long, short = group.spawn(child(ctx, 60)), group.spawn(child(ctx, 0))
            await ctx.sleep(0.01)
            long.cancel()
        log.extend([long.done, long.result(), short.done, short.result()])

    run_real(study(life))
    assert log == [True, None, True, "slept"]


def test_the_blocks_own_exception_passes_a_group() -> None:
    async def life(ctx: Context) -> None:
        with pytest.raises(KeyError):
            await block(ctx)

    async def block(ctx: Context) -> None:
        async with ctx.group() as group:
            group.spawn(sleep(ctx))
            raise KeyError("mine")

    async def sleep(ctx: Context) -> None:
        await ctx.sleep(60)

    run_real(study(life))


def test_nested_deadlines_end_where_they_belong() -> None:
    log: list[float] = []

    async def life(ctx: Context) -> None:
        try:
            async with ctx.deadline(0.05):
                try:
                    async with ctx.deadline(10):
                        await ctx.sleep(60)
                except DeadlineExceeded:
                    log.append(-1.0)
        except DeadlineExceeded as failure:
            log.append(failure.seconds)
        async with ctx.deadline(10):
            await ctx.sleep(0)
        with pytest.raises(DeadlineExceeded):
            await ctx.receive(timeout=0.01)
        with pytest.raises(ValueError, match="negative"):
            ctx.deadline(-1)

    run_real(study(life))
    assert log == [0.05]


def test_a_deadline_that_cancels_a_group_is_no_childs_failure() -> None:
    log: list[str] = []

    async def child(ctx: Context) -> None:
        try:
            await ctx.sleep(60)
        finally:
            raise RuntimeError("on the way out")

    async def life(ctx: Context) -> None:
        try:
            async with ctx.deadline(0.02), ctx.group() as group:
                group.spawn(child(ctx))
                await ctx.sleep(60)
        except DeadlineExceeded:
            log.append("deadline")

    run_real(study(life))
    assert log == ["deadline"]


def test_one_handler_at_a_time_unless_concurrent() -> None:
    log: list[str] = []

    class Serial(Actor):
        accepts = (Ask,)

        async def handle(self, ctx: Context, message: Message) -> None:
            assert isinstance(message, Ask)
            log.append(f"{ctx.name} takes {message.number}")
            await ctx.sleep(0.02)
            log.append(f"{ctx.name} ends {message.number}")
            await ctx.reply(message, Answer(number=message.number))

    class Parallel(Serial):
        concurrent = True

    async def life(ctx: Context) -> None:
        for peer in ("serial", "parallel"):
            async with ctx.group() as group:
                for number in (1, 2):
                    group.spawn(ask(ctx, peer, number))

    async def ask(ctx: Context, peer: str, number: int) -> None:
        await ctx.request(peer, Ask(number=number), timeout=5)

    run_real(study(life, placement("serial", Serial), placement("parallel", Parallel)))
    assert log == [
        "serial takes 1",
        "serial ends 1",
        "serial takes 2",
        "serial ends 2",
        "parallel takes 1",
        "parallel takes 2",
        "parallel ends 1",
        "parallel ends 2",
    ]


def test_a_busy_actor_still_gets_replies() -> None:
    log: list[int] = []

    class Middle(Actor):
        accepts = (Ask,)

        async def handle(self, ctx: Context, message: Message) -> None:
            assert isinstance(message, Ask)
            answer = await ctx.request("echo", Ask(number=message.number), timeout=5)
            assert isinstance(answer, Answer)
            await ctx.reply(message, Answer(number=answer.number + 1))

    async def life(ctx: Context) -> None:
        answer = await ctx.request("middle", Ask(number=4), timeout=5)
        assert isinstance(answer, Answer)
        log.append(answer.number)

    run_real(study(life, placement("middle", Middle), placement("echo", Echo)))
    assert log == [9]


def test_timers_and_the_start_reach_their_own_actor() -> None:
    log: list[str] = []

    class Sleeper(Actor):
        accepts = (Start, Ask, Stop)

        async def handle(self, ctx: Context, message: Message) -> None:
            match message:
                case Start():
                    ctx.later(0.02, Ask(number=2))
                    ctx.later(0.01, Ask(number=1))
                    ctx.later(0.01, Ask(number=7)).cancel()
                    ctx.later(0.05, Stop())
                    with pytest.raises(TypeError, match="does not accept Answer"):
                        ctx.later(0, Answer(number=1))
                case Stop():
                    await ctx.send("main", Stop())
            log.append(f"{type(message).__name__} {getattr(message, 'number', '')} from {message.sender}")

    async def life(ctx: Context) -> None:
        await ctx.receive(timeout=5)

    records = run_real(study(life, placement("sleeper", Sleeper), accepts=(Stop,)))
    assert log == ["Start  from ", "Ask 1 from sleeper", "Ask 2 from sleeper", "Stop  from sleeper"]
    assert [row.type for row in records.messages] == ["Stop"]


def test_a_population_is_so_many_actors_with_states_and_starts_of_their_own() -> None:
    log: list[str] = []

    class Count(msgspec.Struct):
        taken: int = 0

    class Member(Actor):
        accepts = (Start, Ask)
        State = Count

        async def handle(self, ctx: Context, message: Message) -> None:
            self.state.taken += 1
            log.append(f"{ctx.name} {type(message).__name__} {self.state.taken}")
            if isinstance(message, Ask):
                await ctx.reply(message, Answer(number=self.state.taken))

    async def life(ctx: Context) -> None:
        for _ in range(2):
            await ctx.request("m-1", Ask(number=0), timeout=5)
        await ctx.request("m-0", Ask(number=0), timeout=5)

    members = Population(
        "m", 2, lambda index: placement(f"m-{index}", Member), ("local",), lambda index: (0.0, math.inf)[index]
    )
    run_real(study(life, populations=(members,)))
    assert [line for line in log if line.startswith("m-1")] == ["m-1 Ask 1", "m-1 Ask 2"]
    assert [line for line in log if line.startswith("m-0")] == ["m-0 Start 1", "m-0 Ask 2"]


def test_a_failing_actor_fails_the_run() -> None:
    class Broken(Actor):
        accepts = (Ask,)

        async def handle(self, ctx: Context, message: Message) -> None:
            raise ArithmeticError("broken")

    async def life(ctx: Context) -> None:
        await ctx.request("broken", Ask(number=1), timeout=30)

    with pytest.raises(RunFailed, match=r"broken failed at .* s: ArithmeticError: broken"):
        run_real(study(life, placement("broken", Broken)))


def test_records_that_cannot_be_written_end_the_run(tmp_path: Path) -> None:
    class Full(MemoryRecords):
        def row(self, time_s: float, actor: str, row: Row) -> None:
            if isinstance(row, EvaluationRow):
                raise RecordsError("cannot write records: No space left on device")
            super().row(time_s, actor, row)

    async def life(ctx: Context) -> None:
        ctx.record(EvaluationRow(round=1, examples=1, accuracy=0.5, loss=0.5))
        await ctx.sleep(60)

    records = Full()
    with pytest.raises(RecordsError, match="No space left"):
        asyncio.run(run_nodes(study(life, placement("echo", Echo)), {"a": ["main"], "b": ["echo"]}, tmp_path, records))
    assert rows(records, DeviceRow)[-1].event == "end"


def test_random_streams_are_those_of_the_seed_and_time_is_scaled() -> None:
    drawn: list[float] = []

    async def life(ctx: Context) -> None:
        drawn.append(ctx.random("x", 3).random())
        assert ctx.secret("k", 16) != ctx.secret("k", 16)
        await ctx.sleep(20)
        assert ctx.now >= 20

    run_real(study(life, seed=5, time_scale=0.001))
    assert drawn == [generator(5, "main", "x", 3).random()]


def test_a_device_that_crashes_loses_its_actor_and_comes_back_with_a_new_one() -> None:
    log: list[str] = []

    class Phone(Actor):
        accepts = (Start, Ask)

        def __init__(self) -> None:
            self.taken = 0

        async def handle(self, ctx: Context, message: Message) -> None:
            if isinstance(message, Start):
                await ctx.send("main", Answer(number=self.taken))
                return
            self.taken += 1
            await ctx.sleep(1000)

    async def life(ctx: Context) -> None:
        first = await ctx.receive(timeout=50)
        ctx.watch("phone")
        try:
            await ctx.request("phone", Ask(number=1), timeout=1000)
        except PeerLeft:
            log.append("request gone")
        for _ in range(2):
            message = await ctx.receive(timeout=1000)
            log.append(type(message).__name__)
        assert isinstance(first, Answer)

    records = run_real(
        study(
            life,
            placement("phone", Phone, "phone_mid"),
            accepts=(Answer,),
            faults=(Fault("crash", "phone", at_s=20.0, duration_s=20.0),),
            time_scale=0.01,
        )
    )
    assert log == ["request gone", "PeerGone", "Answer"]
    assert device_events(records, "phone") == ["start", "crash", "restart", "end"]
    assert rows(records, FaultRow) == [FaultRow(kind="crash", detail="for 20 s")]
    assert {row.component for row in rows(records, EnergyRow)} >= {"idle", "battery"}


def test_messages_wait_while_a_link_is_down() -> None:
    async def life(ctx: Context) -> None:
        await ctx.sleep(20)
        began = ctx.now
        answer = await ctx.request("echo", Ask(number=1), timeout=1000)
        assert isinstance(answer, Answer)
        assert ctx.now >= 30 > began

    records = run_real(
        study(
            life,
            placement("echo", Echo),
            faults=(Fault("link_down", "echo", at_s=10.0, duration_s=20.0),),
            time_scale=0.01,
        )
    )
    assert undelivered(records) == []
    assert device_events(records, "echo") == ["start", "link_down", "link_up", "end"]


def test_a_computation_takes_as_long_as_its_device(monkeypatch: pytest.MonkeyPatch) -> None:
    class Sum:
        name = "sum"

        def work(self, *arguments: Any) -> Work:
            return Work(flops=2.0e9, bytes=0.0, steps=3)

    monkeypatch.setattr(Processor, "_run", lambda self, function, arguments: {"out": arguments})
    function = Sum()
    seconds = profile("phone_mid").seconds(function.work())
    log: list[object] = []

    class Phone(Actor):
        accepts = (Ask,)

        async def handle(self, ctx: Context, message: Message) -> None:
            began = ctx.now
            log.append(await ctx.compute(function, 1, 2))
            assert ctx.now - began >= seconds
            async with ctx.group() as group:
                child = group.spawn(ctx.compute(function, 3))  # type: ignore[arg-type]
                await ctx.sleep(seconds / 2)
                child.cancel()
            await ctx.reply(message, Answer(number=0))

    async def life(ctx: Context) -> None:
        await ctx.request("phone", Ask(number=1), timeout=1e6)

    records = run_real(study(life, placement("phone", Phone, "phone_mid"), time_scale=0.2 / seconds))
    assert log == [{"out": (1, 2)}]
    jobs = rows(records, JobRow)
    assert [(job.function, job.outcome, job.steps) for job in jobs] == [("sum", "done", 3), ("sum", "cancelled", 3)]
    assert jobs[0].seconds == pytest.approx(seconds)
    assert jobs[0].flops == 6.0e9


def test_an_empty_phone_on_its_charger_from_the_beginning_is_on() -> None:
    """It answers, and never was off; one that nobody has plugged in is."""
    numbers: list[int] = []
    plugged, alone = (Replay((Trace("user", 1000.0, (0.0,), (state,)),), 1, 1, "phone") for state in (CHARGING, 0))

    async def life(ctx: Context) -> None:
        answer = await ctx.request("plugged", Ask(number=21), timeout=5)
        assert isinstance(answer, Answer)
        numbers.append(answer.number)
        await ctx.sleep(0.2)

    def phone(name: str, process: Replay) -> Placement:
        return Placement(
            name,
            Echo,
            profile("phone_mid"),
            link("wifi_home"),
            battery_level=0.0,
            course=functools.partial(process.course, 0),
        )

    records = run_real(study(life, phone("plugged", plugged), phone("alone", alone)))
    assert numbers == [42]
    assert device_events(records, "plugged") == ["start", "end"]
    assert device_events(records, "alone") == ["start", "battery_empty", "end"]
