"""The engine: SimPy works in it beside actors; order, overtaken timers, determinism."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections.abc import Callable, Generator
from contextlib import nullcontext
from math import inf
from typing import Any

import pytest
import simpy
from hypothesis import given
from hypothesis import strategies as st
from simpy.core import EmptySchedule, StopSimulation
from simpy.events import NORMAL, URGENT

from core.actor import Context, DeadlineExceeded, Failure, Message, Start
from core.deployment import Fault
from sim.engine import MIN_SWEEP, ActorEnvironment, StopRun
from sim.task import Until
from sim.world import ActorFailed
from tests.sim.studies import (
    PORTABLE,
    SLOW,
    Answer,
    Chore,
    Large,
    Outcome,
    Small,
    build,
    handling,
    large,
    place,
    run,
    study,
)


class Timer:
    """A timer that writes its name down."""

    def __init__(self, env: ActorEnvironment, at: float, name: object, log: list[Any]) -> None:
        self.env = env
        self.name = name
        self.log = log
        self.generation = 0
        env.set_timer(at, self, 0)

    def fire(self) -> None:
        self.generation += 1
        self.log.append((self.env.now, self.name))

    def cancel(self) -> None:
        self.generation += 1
        self.env.forget_timer()


class Receiver:
    """The target of deliveries."""

    def __init__(self, env: ActorEnvironment, log: list[Any]) -> None:
        self.env = env
        self.log = log

    def deliver(self, message: Any, size: int, sent: float) -> None:
        self.log.append((self.env.now, message, size, sent))


def stale_entries(env: ActorEnvironment) -> int:
    queue: list[Any] = env._queue
    return sum(len(entry) == 5 and entry[3].generation != entry[4] for entry in queue)


# What is taken from SimPy.


def test_the_private_names_of_simpy_are_there() -> None:
    assert simpy.__version__.split(".")[:2] == ["4", "1"]
    env = simpy.Environment(2.0)
    assert env._now == 2.0
    assert env._queue == []
    assert (next(env._eid), next(env._eid)) == (0, 1)
    event = env.timeout(3.0, value="late")
    assert env._queue == [(5.0, NORMAL, 2, event)]
    assert (int(URGENT), int(NORMAL)) == (0, 1)
    assert event.callbacks == []
    assert event._ok is True
    failed = env.event()
    failed.fail(ValueError("no"))
    failed.defused = True
    assert failed._ok is False
    assert failed.defused
    env.step()
    assert failed.callbacks is None
    assert not failed.ok
    assert isinstance(failed.value, ValueError)
    assert StopSimulation.callback == StopSimulation.callback


# SimPy beside actors.


def beside(life: Callable[[Context, ActorEnvironment], Any], **settings: Any) -> Outcome:
    """Run a main actor that knows its world's environment."""

    async def main(ctx: Context) -> None:
        await life(ctx, outcome.world.env)

    outcome = build(study(main, **settings))
    outcome.world.run()
    return outcome


def test_an_actor_awaits_events_of_simpy() -> None:
    log: list[Any] = []

    async def life(ctx: Context, env: ActorEnvironment) -> None:
        log.append((await Until(env.timeout(2.5, value="slept")), ctx.now))
        done = env.event()
        env.process(trigger(env, done))
        log.append((await Until(done), ctx.now))
        log.append((await Until(done), ctx.now))
        log.append((await Until(env.process(worker(env))), ctx.now))

    def trigger(env: ActorEnvironment, done: simpy.Event) -> Generator[simpy.Event, Any, None]:
        yield env.timeout(1.0)
        done.succeed("done")

    def worker(env: ActorEnvironment) -> Generator[simpy.Event, Any, int]:
        yield env.timeout(1.5)
        return 7

    outcome = beside(life)
    assert log == [("slept", 2.5), ("done", 3.5), ("done", 3.5), (7, 5.0)]
    assert outcome.world.env.now == 5.0


def test_a_failed_event_reaches_the_actor_that_awaits_it() -> None:
    log: list[Any] = []

    async def life(ctx: Context, env: ActorEnvironment) -> None:
        event = env.event()
        env.process(failing(env, event))
        for _ in range(2):
            # The second time it has been processed already.
            with pytest.raises(KeyError, match="lost"):
                await Until(event)
            log.append(ctx.now)
        with pytest.raises(ZeroDivisionError):
            await Until(env.process(broken(env)))
        log.append(ctx.now)

    def failing(env: ActorEnvironment, event: simpy.Event) -> Generator[simpy.Event, Any, None]:
        yield env.timeout(1.0)
        event.fail(KeyError("lost"))

    def broken(env: ActorEnvironment) -> Generator[simpy.Event, Any, None]:
        yield env.timeout(1.0)
        raise ZeroDivisionError

    beside(life)
    assert log == [1.0, 1.0, 2.0]


def test_a_failed_event_that_nobody_awaits_ends_the_run() -> None:
    async def life(ctx: Context, env: ActorEnvironment) -> None:
        event = env.event()
        env.process(failing(env, event))
        with pytest.raises(DeadlineExceeded):
            async with ctx.deadline(0.5):
                await Until(event)
        await ctx.sleep(10.0)

    def failing(env: ActorEnvironment, event: simpy.Event) -> Generator[simpy.Event, Any, None]:
        yield env.timeout(1.0)
        event.fail(KeyError("lost"))

    with pytest.raises(KeyError, match="lost"):
        beside(life)


def test_an_actor_that_waits_for_an_event_no_more_is_not_resumed_by_it() -> None:
    log: list[float] = []

    async def life(ctx: Context, env: ActorEnvironment) -> None:
        event = env.timeout(2.0)
        with pytest.raises(DeadlineExceeded):
            async with ctx.deadline(1.0):
                await Until(event)
        await ctx.sleep(5.0)
        log.append(ctx.now)

    beside(life)
    assert log == [6.0]


def test_resources_stores_and_conditions_are_shared_with_processes() -> None:
    log: list[Any] = []

    async def life(ctx: Context, env: ActorEnvironment) -> None:
        resource, store = simpy.Resource(env, capacity=1), simpy.Store(env)
        env.process(user(env, resource, store))
        await ctx.sleep(0.5)
        with resource.request() as request:
            await Until(request)
            log.append(("mine", ctx.now))
        log.append((await Until(store.get()), ctx.now))
        either = await Until(env.timeout(1.0, "a") | env.timeout(2.0, "b"))
        log.append((list(either.values()), ctx.now))
        both = await Until(env.timeout(1.0, "a") & env.timeout(2.0, "b"))
        log.append((list(both.values()), ctx.now))

    def user(env: ActorEnvironment, resource: simpy.Resource, store: simpy.Store) -> Generator[simpy.Event, Any, None]:
        with resource.request() as request:
            yield request
            log.append(("theirs", env.now))
            yield env.timeout(3.0)
        yield env.timeout(1.0)
        yield store.put("parcel")

    beside(life)
    assert log == [("theirs", 0.0), ("mine", 3.0), ("parcel", 4.0), (["a"], 5.0), (["a", "b"], 7.0)]


def test_messages_and_processes_share_one_time() -> None:
    log: list[Any] = []

    async def life(ctx: Context) -> None:
        reply = await ctx.request("peer", Small(n=1), timeout=60.0)
        log.append(("reply", ctx.now))
        assert isinstance(reply, Answer)

    async def handle(ctx: Context, message: Message) -> None:
        log.append(("asked", ctx.now))
        await ctx.sleep(2.0)
        await ctx.reply(message, Answer())

    def clock(env: ActorEnvironment) -> Generator[simpy.Event, Any, None]:
        for _ in range(3):
            yield env.timeout(1.0)
            log.append(("tick", env.now))

    outcome = build(study(life, place("peer", handling(handle, Small), SLOW)))
    outcome.world.env.process(clock(outcome.world.env))
    outcome.world.run()
    names = [name for name, _ in log]
    assert names == ["asked", "tick", "tick", "reply"]
    assert [at for _, at in log] == sorted(at for _, at in log)


# run, step, peek.


def test_run_to_a_time_stops_before_what_happens_then() -> None:
    env, log = ActorEnvironment(), []  # type: ignore[var-annotated]
    for at in (1.0, 2.0, 3.0):
        Timer(env, at, at, log)
    env.run(until=2)
    assert (env.now, log) == (2.0, [(1.0, 1.0)])
    env.run(until=2)
    assert log == [(1.0, 1.0)]
    with pytest.raises(ValueError, match="must not be before"):
        env.run(until=1.5)
    env.run(until=2.5)
    assert (env.now, len(log)) == (2.5, 2)
    env.run(until=100)
    assert (env.now, len(log), len(env._queue), env.stale) == (100.0, 3, 0, 0)
    env.run()
    assert env.now == 100.0


def test_run_to_a_time_that_ends_early_leaves_nothing_behind() -> None:
    def failing(event: simpy.Event) -> None:
        raise ValueError("mine")

    for callback in (failing, stop):
        env, log = ActorEnvironment(), []  # type: ignore[var-annotated]
        env.timeout(1.0).callbacks.append(callback)  # type: ignore[union-attr]
        Timer(env, 20.0, "late", log)
        with pytest.raises(ValueError, match="mine") if callback is failing else nullcontext():
            env.run(until=10.0)
        assert env.now == 1.0
        env.run()
        assert log == [(20.0, "late")]


def stop(event: simpy.Event) -> None:
    raise StopRun


def test_run_to_an_event() -> None:
    env, log = ActorEnvironment(), []  # type: ignore[var-annotated]
    Timer(env, 1.0, "before", log)
    Timer(env, 3.0, "after", log)
    event = env.timeout(2.0, value="value")
    assert env.run(until=event) == "value"
    assert (env.now, log) == (2.0, [(1.0, "before")])
    assert env.run(until=event) == "value"
    assert env.now == 2.0
    never = env.event()
    with pytest.raises(RuntimeError, match="No scheduled events left"):
        env.run(until=never)
    assert log[-1] == (3.0, "after")
    failed = env.event()
    failed.fail(LookupError("gone"))
    with pytest.raises(LookupError, match="gone"):
        env.run(until=failed)


def test_a_run_to_an_event_that_is_stopped_does_not_stop_a_later_one() -> None:
    env, log = ActorEnvironment(), []  # type: ignore[var-annotated]
    event = env.timeout(2.0)
    env.timeout(1.0).callbacks.append(stop)  # type: ignore[union-attr]
    Timer(env, 3.0, "after", log)
    assert env.run(until=event) is None
    assert env.now == 1.0
    env.run()
    assert log == [(3.0, "after")]


def test_step_and_peek_see_all_kinds_of_entries() -> None:
    env, log = ActorEnvironment(), []  # type: ignore[var-annotated]
    assert env.peek() == inf
    with pytest.raises(EmptySchedule):
        env.step()
    Timer(env, 0.5, "overtaken", log).cancel()
    env.post(1.0, Receiver(env, log), "message", 42, 0.25)
    env.timeout(2.0).callbacks.append(lambda event: log.append((env.now, "event")))  # type: ignore[union-attr]
    Timer(env, 3.0, "timer", log)
    assert env.stale == 1
    times = []
    while env.peek() < inf:
        times.append(env.peek())
        env.step()
        assert env.now == times[-1]
    assert times == [1.0, 2.0, 3.0]
    assert log == [(1.0, "message", 42, 0.25), (2.0, "event"), (3.0, "timer")]
    assert env.stale == 0
    with pytest.raises(EmptySchedule):
        env.step()


# Ties and overtaken timers.


@pytest.mark.parametrize("stepping", [False, True])
def test_ties_are_broken_by_the_sequence_whatever_the_kind(stepping: bool) -> None:
    env, log = ActorEnvironment(), []  # type: ignore[var-annotated]
    receiver = Receiver(env, log)
    for number in range(0, 30, 3):
        Timer(env, 1.0, number, log)
        env.post(1.0, receiver, number + 1, 0, 0.0)
        env.timeout(1.0, number + 2).callbacks.append(  # type: ignore[union-attr]
            lambda event: log.append((env.now, event.value))
        )
    if stepping:
        while env.peek() < inf:
            env.step()
    else:
        env.run()
    assert [entry[1] for entry in log] == list(range(30))


def test_an_overtaken_timer_neither_moves_the_clock_nor_keeps_a_run_alive() -> None:
    env, log = ActorEnvironment(), []  # type: ignore[var-annotated]
    Timer(env, 1.0, "live", log)
    for at in (0.5, 2.0, 500.0):
        Timer(env, at, "dead", log).cancel()
    assert env.peek() == 1.0
    env.run()
    assert (env.now, log, env.stale) == (1.0, [(1.0, "live")], 0)


def test_a_world_ends_when_its_main_actor_does_not_when_its_time_outs_would() -> None:
    async def life(ctx: Context) -> None:
        async with ctx.deadline(1000.0):
            for _ in range(100):
                await ctx.request("peer", Small(), timeout=500.0)

    async def handle(ctx: Context, message: Message) -> None:
        await ctx.reply(message, Answer())

    outcome = run(study(life, place("peer", handling(handle, Small))))
    env = outcome.world.env
    assert env.now < 1.0
    # Two thirds of the heap at most: the overtaken ones were swept.
    assert len(env._queue) <= 2 * MIN_SWEEP + 2
    assert env.stale == stale_entries(env)


@given(st.data())
def test_sweeping_keeps_the_order_and_the_count(data: st.DataObject) -> None:
    """Random timers, some overtaken at random moments, against a sorted list."""
    env, log = ActorEnvironment(), []  # type: ignore[var-annotated]
    planned = data.draw(st.lists(st.tuples(st.integers(0, 20), st.booleans()), max_size=400))
    expected, timers = [], []
    for name, (at, overtaken) in enumerate(planned):
        timer = Timer(env, float(at), name, log)
        if overtaken:
            timers.append(timer)
        else:
            expected.append((float(at), name))
    middle = data.draw(st.integers(0, 21))
    early = data.draw(st.integers(0, len(timers)))
    for timer in timers[:early]:
        timer.cancel()
    env.run(until=middle)
    for timer in timers[early:]:
        if timer.generation == 0:
            timer.cancel()
        else:
            expected.append(next(entry for entry in log if entry[1] == timer.name))
    assert env.stale == stale_entries(env)
    env.run()
    assert log == sorted(expected)
    assert env.stale == 0


def test_the_heap_is_swept_when_most_of_it_is_overtaken() -> None:
    env, log = ActorEnvironment(), []  # type: ignore[var-annotated]
    for at in range(1000):
        timer = Timer(env, 1.0 + at, at, log)
        if at % 10:
            timer.cancel()
        assert len(env._queue) <= 2 * (at // 10 + 1) + MIN_SWEEP + 2
    env.run()
    assert [name for _, name in log] == list(range(0, 1000, 10))


# Determinism.


def chatty(seed: int) -> Outcome:
    """Eight phones that talk, compute, ask and are disturbed at random."""
    names = [f"phone-{index}" for index in range(8)]

    async def handle(ctx: Context, message: Message) -> None:
        counter = message.n if isinstance(message, Small | Large) else 0
        draw = ctx.random("next", counter)
        peer = names[int(draw.integers(8))]
        if draw.random() < 0.2:
            await ctx.compute(Chore(seconds=float(draw.exponential(0.1))))
        if isinstance(message, Small) and message.correlation:
            await ctx.reply(message, Answer(n=counter + 1))
            return
        if draw.random() < 0.3:
            try:
                async with ctx.group() as group:
                    for other in (peer, names[int(draw.integers(8))]):
                        group.spawn(ask(ctx, other, counter, float(draw.exponential(0.5))))
            except Failure:
                await ctx.sleep(float(draw.exponential(0.1)))
        if draw.random() < 0.3:
            await ctx.send(peer, large(peer, ctx.name, int(draw.integers(100, 4000)), n=counter + 1))
        else:
            await ctx.send(peer, Small(n=counter + 1))
        if draw.random() < 0.05:
            ctx.later(float(draw.exponential(1.0)), Small(n=counter + 1))

    async def ask(ctx: Context, peer: str, n: int, timeout: float) -> None:
        await ctx.request(peer, Small(n=n), timeout=timeout)

    async def life(ctx: Context) -> None:
        await ctx.sleep(60.0)

    return run(
        study(
            life,
            *(
                place(name, handling(handle, Start, Small, Large, concurrent=bool(index % 2)), SLOW, PORTABLE)
                for index, name in enumerate(names)
            ),
            seed=seed,
            faults=(
                Fault("link_down", "phone-1", 10.0, 5.0),
                Fault("link_down", "phone-2", 12.0, 10.0),
                Fault("crash", "phone-3", 15.0, 10.0),
            ),
            peer_timeout_s=8.0,
        )
    )


def trace(seed: int) -> str:
    """Digest of everything a chatty run recorded."""
    outcome = chatty(seed)
    records = outcome.records
    assert len(records.messages) > 1000
    return hashlib.sha256(repr((records.messages, records.rows, records.ended_s)).encode()).hexdigest()


def test_ten_runs_give_one_trace_and_another_seed_another() -> None:
    traces = {trace(1) for _ in range(10)}
    assert len(traces) == 1
    assert trace(2) not in traces


def test_the_trace_does_not_depend_on_the_process_or_its_hash_seed() -> None:
    traces = set()
    for hash_seed in ("0", "1", "4242"):
        done = subprocess.run(
            [sys.executable, "-c", "from tests.sim.test_engine import trace; print(trace(1))"],
            env={**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": os.getcwd()},
            capture_output=True,
            text=True,
            check=True,
        )
        traces.add(done.stdout.strip())
    assert traces == {trace(1)}


def test_an_actors_failure_stops_the_loop_at_once() -> None:
    log: list[float] = []

    async def handle(ctx: Context, message: Message) -> None:
        await ctx.sleep(1.0)
        raise OSError("broken")

    async def life(ctx: Context) -> None:
        await ctx.sleep(1.0 + 2.0**-20)
        log.append(ctx.now)

    outcome = build(study(life, place("peer", handling(handle, Start))))
    with pytest.raises(ActorFailed, match=r"peer failed at 1 s: OSError: broken") as failure:
        outcome.world.run()
    assert isinstance(failure.value.__cause__, OSError)
    assert (log, outcome.world.env.now) == ([], 1.0)
