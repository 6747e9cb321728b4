"""Tasks, deadlines and groups of the simulator: exact times, and the corners of cancellation."""

from __future__ import annotations

import gc
from collections.abc import Awaitable
from typing import Any

import pytest

from core.actor import (
    ChildFailed,
    Context,
    DeadlineExceeded,
    DeviceFailed,
    Message,
    PeerLeft,
    Start,
)
from core.deployment import Fault
from core.records.rows import DeviceRow, FaultRow, JobRow
from sim.world import ActorFailed, Deadlock
from tests.sim.studies import (
    PORTABLE,
    Answer,
    Chore,
    Outcome,
    Small,
    answer,
    build,
    handling,
    living,
    place,
    run,
    study,
)

Log = list[Any]


async def napping(ctx: Context, log: Log, name: str, seconds: float) -> str:
    """Sleeps, and writes down when and how it ended."""
    try:
        await ctx.sleep(seconds)
    except BaseException as error:
        log.append((name, type(error).__name__, ctx.now))
        raise
    log.append((name, "slept", ctx.now))
    return name


async def failing(ctx: Context, seconds: float, what: str = "mine") -> None:
    await ctx.sleep(seconds)
    raise LookupError(what)


def live(life: Any, **settings: Any) -> Outcome:
    outcome = run(study(life, **settings))
    gc.collect()  # a coroutine that leaked would be warned of here
    assert outcome.world.env.stale <= len(outcome.world.env._queue)
    return outcome


# Deadlines.


def test_a_deadline_that_expires_ends_the_children_first() -> None:
    log: Log = []

    async def life(ctx: Context) -> None:
        try:
            async with ctx.deadline(2.0), ctx.group() as group:
                group.spawn(napping(ctx, log, "a", 5.0))
                group.spawn(napping(ctx, log, "b", 1.0))
                group.spawn(napping(ctx, log, "c", 2.5))
        except DeadlineExceeded as failure:
            log.append((str(failure), ctx.now))
        await ctx.sleep(10.0)
        log.append(ctx.now)

    live(life)
    assert log == [
        ("b", "slept", 1.0),
        ("a", "Cancelled", 2.0),
        ("c", "Cancelled", 2.0),
        ("not done within 2 s", 2.0),
        12.0,
    ]


def test_a_deadline_that_is_kept_is_forgotten() -> None:
    async def life(ctx: Context) -> None:
        async with ctx.deadline(5.0):
            await ctx.sleep(1.0)
        await ctx.receive()

    with pytest.raises(Deadlock, match=r"^at 1 s nothing is left"):
        live(life)


def test_deadlines_and_groups_work_in_the_clean_up_of_a_cancelled_block() -> None:
    """What was cancelled before they began is no business of theirs."""
    log: Log = []

    async def life(ctx: Context) -> None:
        with pytest.raises(DeadlineExceeded, match="within 1 s"):
            await block(ctx)
        log.append(ctx.now)

    async def block(ctx: Context) -> None:
        async with ctx.deadline(1.0):
            try:
                await ctx.sleep(60.0)
            finally:
                try:
                    async with ctx.deadline(2.0):
                        await ctx.sleep(60.0)
                except DeadlineExceeded as failure:
                    log.append((failure.seconds, ctx.now))
                try:
                    async with ctx.group() as group:
                        group.spawn(failing(ctx, 4.0))
                        await ctx.sleep(60.0)
                except ChildFailed:
                    log.append(("child", ctx.now))

    live(life)
    assert log == [(2.0, 3.0), ("child", 7.0), 7.0]


@pytest.mark.parametrize(("inner_s", "outer_s"), [(1.0, 2.0), (2.0, 1.0)])
def test_nested_deadlines_that_both_expire_during_a_slow_clean_up(inner_s: float, outer_s: float) -> None:
    """Whichever comes first: once the outer block is cancelled, nothing in it goes on."""
    log: Log = []

    async def life(ctx: Context) -> None:
        try:
            async with ctx.deadline(outer_s):
                try:
                    async with ctx.deadline(inner_s):
                        try:
                            await ctx.sleep(60.0)
                        finally:
                            await ctx.sleep(30.0)
                except DeadlineExceeded:
                    log.append("goes on")
                await ctx.sleep(10.0)
        except DeadlineExceeded as failure:
            log.append((failure.seconds, ctx.now))
        await ctx.sleep(100.0)

    live(life)
    assert log == [(outer_s, 2.0)]


def test_a_deadline_within_a_handler_that_is_its_own_failure() -> None:
    log: Log = []

    async def life(ctx: Context) -> None:
        with pytest.raises(KeyError):
            await failing_on_the_way_out(ctx)
        try:
            async with ctx.deadline(1.0):
                await ctx.request("peer", Small(), timeout=1.0)
        except DeadlineExceeded:
            log.append(ctx.now)
        await ctx.sleep(5.0)

    async def failing_on_the_way_out(ctx: Context) -> None:
        async with ctx.deadline(1.0):
            try:
                await ctx.sleep(60.0)
            finally:
                raise KeyError

    async def deaf(ctx: Context, message: Message) -> None:
        pass

    run(study(life, place("peer", handling(deaf, Small))))
    assert log == [2.0]


def test_what_cannot_be_waited_for_is_the_actors_mistake() -> None:
    log: Log = []

    class Strange:
        def __await__(self) -> Any:
            yield "something else"

    async def life(ctx: Context) -> None:
        for wait in (ctx.sleep(-1.0), ctx.sleep(float("nan")), ctx.receive(timeout=-1.0)):
            with pytest.raises(ValueError, match="not negative"):
                await wait
        for make in (lambda: ctx.deadline(-1.0), lambda: ctx.request("main", Small(), timeout=-1.0)):
            with pytest.raises(ValueError, match="not negative"):
                make()
        with pytest.raises(ValueError, match="not negative"):
            ctx.later(-1.0, Small())
        with pytest.raises(TypeError, match="does not accept Answer"):
            ctx.later(1.0, Answer())
        with pytest.raises(TypeError, match="awaits methods of its context"):
            await Strange()
        with pytest.raises(OverflowError):
            await ctx.request("peer", Small(n=2**64), timeout=1.0)
        with pytest.raises(TypeError):
            await ctx.request("peer", Small(n=object()), timeout=1.0)  # type: ignore[arg-type]
        with pytest.raises(ZeroDivisionError):
            await ctx.compute(Impossible(0.0))
        with pytest.raises(ValueError, match="positive, finite time"):
            await ctx.compute(Chore(0.0))
        # None of these has left anything behind: the next message and reply find their way.
        ctx.later(1.0, Small(n=5))
        log.append((await ctx.receive(timeout=5.0), ctx.now))
        log.append((await ctx.request("peer", Small(n=6), timeout=5.0)).correlation)

    class Impossible(Chore):
        @property
        def seconds(self) -> float:  # type: ignore[override]
            raise ZeroDivisionError

        @seconds.setter
        def seconds(self, value: float) -> None:
            pass

    Impossible.__init__ = lambda self, seconds: None  # type: ignore[method-assign]

    outcome = run(study(life, place("peer", handling(answer, Small)), accepts=(Small,)))
    assert log == [(Small(n=5, sender="main"), 1.0), -3]
    assert outcome.records.of(JobRow) == []


def test_one_coroutine_of_an_actor_receives() -> None:
    log: Log = []

    async def life(ctx: Context) -> None:
        async with ctx.group() as group:
            group.spawn(receive(ctx))
            await ctx.sleep(1.0)
            with pytest.raises(RuntimeError, match="two coroutines"):
                await ctx.receive()
            ctx.later(1.0, Small(n=1))

    async def receive(ctx: Context) -> None:
        log.append(((await ctx.receive(timeout=9.0)).n, ctx.now))  # type: ignore[attr-defined]

    async def handle(ctx: Context, message: Message) -> None:
        with pytest.raises(RuntimeError, match="does not receive"):
            await ctx.receive()
        log.append("handled")

    run(study(life, place("peer", handling(handle, Start)), accepts=(Small,)))
    assert log == ["handled", (1, 2.0)]


# Groups.


def test_a_child_that_fails_cancels_its_siblings_and_the_block() -> None:
    log: Log = []

    async def life(ctx: Context) -> None:
        try:
            async with ctx.group() as group:
                group.spawn(napping(ctx, log, "sibling", 9.0))
                group.spawn(failing(ctx, 1.0))
                group.spawn(failing(ctx, 1.0, "too late"))
                await napping(ctx, log, "block", 8.0)
        except ChildFailed as failure:
            log.append((repr(failure.__cause__), ctx.now))
        await ctx.sleep(20.0)
        log.append(ctx.now)

    live(life)
    assert sorted(log[:2]) == [("block", "Cancelled", 1.0), ("sibling", "Cancelled", 1.0)]
    assert log[2:] == [("LookupError('mine')", 1.0), 21.0]


@pytest.mark.parametrize("child_first", [True, False])
@pytest.mark.parametrize("sibling", [True, False])
def test_a_child_that_fails_just_when_the_block_ends(child_first: bool, sibling: bool) -> None:
    """The interrupt that is under way to the block is taken back, or meets it while it joins: it never comes later."""
    log: Log = []

    async def life(ctx: Context) -> None:
        try:
            async with ctx.group() as group:
                if child_first:
                    group.spawn(failing(ctx, 1.0))
                    if sibling:
                        group.spawn(napping(ctx, log, "sibling", 9.0))
                    await ctx.sleep(0.5)
                    # Armed after the child's own timer, and due at the same time.
                    await ctx.sleep(0.5)
                else:
                    wait = ctx.sleep(1.0)
                    group.spawn(late(ctx))
                    if sibling:
                        group.spawn(napping(ctx, log, "sibling", 9.0))
                    await wait
            log.append("not reached")
        except ChildFailed as failure:
            log.append((repr(failure.__cause__), ctx.now))
        await ctx.sleep(20.0)
        log.append(ctx.now)

    async def late(ctx: Context) -> None:
        await ctx.sleep(0.5)
        await failing(ctx, 0.5)

    live(life)
    if sibling:
        assert log.pop(0) == ("sibling", "Cancelled", 1.0)
    assert log == [("LookupError('mine')", 1.0), 21.0]


def test_a_child_that_is_cancelled_before_it_begins_never_does() -> None:
    log: Log = []

    async def life(ctx: Context) -> None:
        async with ctx.group() as group:
            child = group.spawn(child_of(ctx))
            child.cancel()
            child.cancel()
            assert not child.done
            with pytest.raises(RuntimeError, match="has not ended"):
                child.result()
        log.append((child.done, child.result(), ctx.now))
        with pytest.raises(RuntimeError, match="the group has ended"):
            group.spawn(child_of(ctx))
        try:
            async with ctx.group() as group:
                group.spawn(child_of(ctx))
                raise KeyError("the block fails before they begin")
        except KeyError:
            log.append(ctx.now)

    async def child_of(ctx: Context) -> None:
        log.append("begins")

    live(life)
    assert log == [(True, None, 0.0), 0.0]


def test_a_cancelled_child_ends_at_its_await_and_may_take_its_time() -> None:
    log: Log = []

    async def life(ctx: Context) -> None:
        async with ctx.group() as group:
            child = group.spawn(slow_to_go(ctx))
            await ctx.sleep(1.0)
            child.cancel()
            log.append((child.done, ctx.now))
        log.append((child.done, child.result(), ctx.now))

    async def slow_to_go(ctx: Context) -> str:
        try:
            await ctx.sleep(60.0)
        finally:
            await ctx.sleep(2.0)
        return "slept"

    live(life)
    assert log == [(False, 1.0), (True, None, 3.0)]


def test_a_child_that_ends_before_its_cancellation_comes_has_a_result() -> None:
    log: Log = []

    async def life(ctx: Context) -> None:
        async with ctx.group() as group:
            child = group.spawn(napping(ctx, log, "a", 1.0))
            other = group.spawn(napping(ctx, log, "b", 1.0))
            await ctx.sleep(0.5)
            await ctx.sleep(0.5)
            child.cancel()
            other.cancel()
        log.append((child.result(), other.result(), ctx.now))

    live(life)
    assert log == [("a", "slept", 1.0), ("b", "slept", 1.0), ("a", "b", 1.0)]


def test_a_group_that_is_ending_takes_no_more_children() -> None:
    log: Log = []

    async def life(ctx: Context) -> None:
        with pytest.raises(ChildFailed):
            await block(ctx)

    async def block(ctx: Context) -> None:
        async with ctx.group() as group:
            group.spawn(failing(ctx, 1.0))
            try:
                await ctx.sleep(60.0)
            finally:
                with pytest.raises(RuntimeError, match="the group has ended"):
                    group.spawn(napping(ctx, log, "late", 1.0))
                log.append(ctx.now)

    live(life)
    assert log == [1.0]


def test_groups_within_groups() -> None:
    log: Log = []

    async def life(ctx: Context) -> None:
        try:
            async with ctx.group() as outer:
                outer.spawn(inner(ctx))
                outer.spawn(napping(ctx, log, "aunt", 9.0))
        except ChildFailed as failure:
            cause = failure.__cause__
            assert isinstance(cause, ChildFailed)
            log.append((repr(cause.__cause__), ctx.now))
        try:
            async with ctx.group() as outer:
                outer.spawn(failing(ctx, 1.0, "outer"))
                async with ctx.group() as within:
                    within.spawn(napping(ctx, log, "niece", 9.0))
                log.append("not reached")
        except ChildFailed as failure:
            log.append((repr(failure.__cause__), ctx.now))

    async def inner(ctx: Context) -> None:
        async with ctx.group() as group:
            group.spawn(failing(ctx, 1.0, "inner"))
            group.spawn(napping(ctx, log, "cousin", 9.0))

    live(life)
    assert log == [
        ("cousin", "Cancelled", 1.0),
        ("aunt", "Cancelled", 1.0),
        ("LookupError('inner')", 1.0),
        ("niece", "Cancelled", 2.0),
        ("LookupError('outer')", 2.0),
    ]


def test_the_blocks_own_exception_passes_and_is_not_hidden_by_a_deadline() -> None:
    log: Log = []

    async def life(ctx: Context) -> None:
        with pytest.raises(KeyError):
            await block(ctx)
        log.append(ctx.now)

    async def block(ctx: Context) -> None:
        async with ctx.deadline(2.0), ctx.group() as group:
            group.spawn(stubborn(ctx))
            await ctx.sleep(1.0)
            raise KeyError("mine")

    async def stubborn(ctx: Context) -> None:
        try:
            await ctx.sleep(60.0)
        finally:
            await ctx.sleep(5.0)

    live(life)
    # The deadline expired while the block waited for its child's clean-up; it had been cancelled already.
    assert log == [6.0]


def test_a_hundred_generations() -> None:
    depth = 100

    async def life(ctx: Context) -> None:
        with pytest.raises(DeadlineExceeded):
            async with ctx.deadline(1.0):
                await generation(ctx, depth)
        assert ctx.now == 1.0

    async def generation(ctx: Context, left: int) -> None:
        async with ctx.group() as group:
            if left:
                group.spawn(generation(ctx, left - 1))
            await ctx.sleep(60.0)

    assert live(life).world.env.now == 1.0


# The end of an actor.


def test_a_crash_ends_children_before_their_parents_and_nobody_hears_of_it() -> None:
    log: Log = []

    async def parent(ctx: Context) -> None:
        try:
            async with ctx.deadline(50.0), ctx.group() as outer:
                outer.spawn(middle(ctx))
                await napping(ctx, log, "parent", 60.0)
        finally:
            log.append("parent is over")

    async def middle(ctx: Context) -> None:
        try:
            async with ctx.group() as group:
                group.spawn(napping(ctx, log, "child", 60.0))
                # Waits in the join.
        finally:
            log.append("middle is over")

    async def life(ctx: Context) -> None:
        await ctx.sleep(100.0)

    outcome = run(
        study(
            life,
            place("peer", living(parent), profile=PORTABLE),
            faults=(Fault("crash", "peer", 5.0),),
        )
    )
    gc.collect()
    assert log == [
        ("child", "Killed", 5.0),
        "middle is over",
        ("parent", "Killed", 5.0),
        "parent is over",
    ]
    assert outcome.world.env.now == 100.0
    assert [row.kind for row in outcome.records.of(FaultRow)] == ["crash"]


def test_what_an_actor_does_on_its_way_out_is_cut_short() -> None:
    log: Log = []

    async def waiting(ctx: Context) -> None:
        try:
            await ctx.sleep(60.0)
        finally:
            log.append("waits")
            try:
                await ctx.sleep(60.0)
            finally:
                log.append("waits again")
                await ctx.sleep(60.0)
                log.append("not reached")

    async def raising(ctx: Context) -> None:
        try:
            await ctx.sleep(60.0)
        finally:
            log.append("raises")
            raise ValueError("on the way out")

    async def sending(ctx: Context, message: Message) -> None:
        try:
            await ctx.sleep(60.0)
        finally:
            await ctx.send("main", Small())
            await ctx.request("main", Small(), timeout=5.0)

    async def life(ctx: Context) -> None:
        await ctx.sleep(10.0)

    outcome = run(
        study(
            life,
            place("waiting", living(waiting)),
            place("raising", living(raising)),
            place("sending", handling(sending, Start, concurrent=True)),
            accepts=(Small,),
            faults=tuple(Fault("crash", name, 5.0) for name in ("waiting", "raising", "sending")),
        )
    )
    gc.collect()
    assert log == ["waits", "waits again", "raises"]
    assert outcome.undelivered() == [("sending", "main", "Small", "device")]
    assert outcome.world.env.now == 10.0


def test_a_job_that_a_crash_ends_is_recorded_and_its_actor_does_nothing_more() -> None:
    log: Log = []

    async def worker(ctx: Context, message: Message) -> None:
        try:
            async with ctx.group() as group:
                group.spawn(ask(ctx))
                await ctx.sleep(0.25)
        except (ChildFailed, DeviceFailed) as failure:
            log.append(failure)
        finally:
            await ctx.send("main", Small())

    async def ask(ctx: Context) -> None:
        await ctx.compute(Chore(4.0))

    async def life(ctx: Context) -> None:
        await ctx.sleep(10.0)

    outcome = run(
        study(
            life,
            place("peer", handling(worker, Start), profile=PORTABLE),
            accepts=(Small,),
            faults=(Fault("crash", "peer", 1.0),),
        )
    )
    assert log == []
    assert outcome.records.messages == []
    assert outcome.undelivered() == [("peer", "main", "Small", "device")]
    (job,) = outcome.records.of(JobRow)
    assert (job.function, job.started_s, job.seconds, job.joules, job.outcome) == ("chore", 0.0, 1.0, 2.0, "crash")
    events = [(row.event, actor) for _, actor, row in outcome.records.rows if isinstance(row, DeviceRow)]
    assert [event for event, actor in events if actor == "peer"] == ["start", "job_start", "job_end", "crash", "end"]


def test_a_cancelled_job_is_recorded_with_its_name() -> None:
    async def life(ctx: Context) -> None:
        with pytest.raises(DeadlineExceeded):
            async with ctx.deadline(1.0):
                await ctx.compute(Chore(4.0, "long"))
        async with ctx.group() as group:
            running = group.spawn(compute(ctx, "running"))
            queued = group.spawn(compute(ctx, "queued"))
            await ctx.sleep(1.0)
            queued.cancel()
            await ctx.sleep(1.0)
            running.cancel()
        await ctx.compute(Chore(0.5, "short"))
        assert ctx.now == 3.5

    async def compute(ctx: Context, name: str) -> None:
        await ctx.compute(Chore(9.0, name))

    jobs = live(life).records.of(JobRow)
    assert [(job.function, job.outcome, job.started_s, job.seconds) for job in jobs] == [
        ("long", "cancelled", 0.0, 1.0),
        ("queued", "cancelled", 2.0, 0.0),
        ("running", "cancelled", 1.0, 2.0),
        ("short", "done", 3.0, 0.5),
    ]


def test_a_deadline_and_a_job_that_end_at_one_time() -> None:
    """Whatever comes first, the job is recorded once, as done, and the next one finds the device free."""
    log: Log = []

    async def life(ctx: Context) -> None:
        try:
            async with ctx.deadline(2.0):
                await ctx.compute(Chore(2.0))
                log.append("done")
        except DeadlineExceeded:
            log.append("deadline")
        await ctx.compute(Chore(1.0))
        log.append(ctx.now)

    jobs = live(life).records.of(JobRow)
    assert log in (["done", 3.0], ["deadline", 3.0])
    assert [(job.function, job.outcome, job.seconds) for job in jobs] == [
        ("chore", "done", 2.0),
        ("chore", "done", 1.0),
    ]


def test_an_actor_that_only_lost_its_device_does_not_fail_the_run() -> None:
    async def losing(ctx: Context, message: Message) -> None:
        raise DeviceFailed("it stopped")

    async def parent_of_losing(ctx: Context, message: Message) -> None:
        async with ctx.group() as group:
            group.spawn(losing(ctx, message))
            await ctx.sleep(1.0)

    async def life(ctx: Context) -> None:
        await ctx.sleep(10.0)

    outcome = run(
        study(life, place("a", handling(losing, Start)), place("b", handling(parent_of_losing, Start))),
    )
    assert outcome.world.env.now == 10.0
    assert outcome.records.of(FaultRow) == []


@pytest.mark.parametrize("kind", ["run", "handle", "late handle", "concurrent", "child"])
def test_an_actor_that_fails_fails_the_run(kind: str) -> None:
    async def run_and_fail(ctx: Context) -> None:
        await failing(ctx, 1.0)

    async def handle(ctx: Context, message: Message) -> None:
        if kind == "handle":
            raise LookupError("mine")
        if kind == "child":
            async with ctx.group() as group:
                group.spawn(failing(ctx, 1.0))
        await failing(ctx, 1.0)

    async def life(ctx: Context) -> None:
        await ctx.sleep(10.0)

    make = living(run_and_fail) if kind == "run" else handling(handle, Start, concurrent=kind == "concurrent")
    outcome = build(study(life, place("peer", make)))
    at_s = 0.0 if kind == "handle" else 1.0
    with pytest.raises(ActorFailed, match=rf"^peer failed at {at_s:g} s: ") as failure:
        outcome.world.run()
    gc.collect()
    cause = failure.value.__cause__
    if kind == "child":
        assert isinstance(cause, ChildFailed)
        cause = cause.__cause__
    assert isinstance(cause, LookupError)
    ((at, actor, row),) = [entry for entry in outcome.records.rows if isinstance(entry[2], FaultRow)]
    assert (at, actor, row.kind) == (at_s, "peer", "actor_failed")
    assert "mine" in row.detail
    # What was recorded stays, and is closed.
    ends = [row for row in outcome.records.of(DeviceRow) if row.event == "end"]
    assert len(ends) == 2


def test_a_deadlock_names_those_who_wait_and_nobody_else() -> None:
    async def life(ctx: Context) -> None:
        await ctx.receive()

    async def leaves(ctx: Context) -> None:
        await ctx.sleep(1.0)

    async def waits(ctx: Context) -> None:
        await ctx.receive()

    outcome = build(
        study(life, place("leaver", living(leaves)), place("waiter", living(waits)), place("idle", handling(answer)))
    )
    with pytest.raises(Deadlock) as failure:
        outcome.world.run()
    assert str(failure.value) == (
        "at 1 s nothing is left to happen, but main has not ended; these actors wait: main, waiter"
    )
    many = build(study(life, *(place(f"waiter-{index}", living(waits)) for index in range(20))))
    with pytest.raises(Deadlock, match=r"wait: main, waiter-0, .*, waiter-8 …$"):
        many.world.run()


def test_waiting_messages_are_taken_in_a_loop_not_in_depth() -> None:
    """Ten thousand messages wait for a handler that never waits itself."""
    log: list[int] = []

    async def handle(ctx: Context, message: Message) -> None:
        if isinstance(message, Start):
            await ctx.sleep(1000.0)
        else:
            log.append(message.n)  # type: ignore[attr-defined]

    async def life(ctx: Context) -> None:
        for n in range(10_000):
            await ctx.send("peer", Small(n=n))
        with pytest.raises(PeerLeft):
            await ctx.request("nobody", Small(), timeout=1.0)
        await ctx.sleep(2000.0)

    run(study(life, place("peer", handling(handle, Start, Small, mailbox=10_000))))
    assert log == list(range(10_000))


def test_all_that_is_spawned_can_be_awaited_by_hand() -> None:
    async def life(ctx: Context) -> None:
        waits: list[Awaitable[Any]] = [ctx.send("peer", Small()), ctx.sleep(0.0)]
        for wait in waits:
            assert await wait is None

    live(life)
