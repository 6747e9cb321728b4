"""Links and devices that fail: who hears of it and when, what waits and what is lost, and that no joule is."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.actor import Actor, Context, DeadlineExceeded, Message, PeerGone, PeerLeft, Start
from core.deployment import Fault, Placement, Population
from core.devices import Heat, ThrottleLevel
from core.records.rows import DeviceRow, EnergyRow, FaultRow, JobRow
from sim.world import ActorFailed
from tests.sim.studies import (
    BATTERY,
    FAST,
    PLUGGED,
    PORTABLE,
    SLOW,
    Answer,
    Chore,
    Large,
    Outcome,
    Small,
    answer,
    build,
    handling,
    large,
    living,
    place,
    run,
    study,
)

Log = list[Any]


def device_events(outcome: Outcome, actor: str) -> list[tuple[float, str]]:
    return [(at, row.event) for at, name, row in outcome.records.rows if name == actor and isinstance(row, DeviceRow)]


def noting(log: Log, *accepts: type[Message], **settings: Any) -> Callable[[], Actor]:
    """An actor that notes what it gets, and answers."""

    async def handle(ctx: Context, message: Message) -> None:
        n = getattr(message, "n", getattr(message, "peer", ""))
        log.append((ctx.now, ctx.name, type(message).__name__, n))
        if isinstance(message, Small) and message.correlation:
            await ctx.reply(message, Answer(n=message.n))

    return handling(handle, *accepts, **settings)


# Links.


@pytest.mark.parametrize("lost", [False, True])
def test_what_would_cross_a_link_that_is_down_waits_and_arrives_in_order(lost: bool) -> None:
    """Messages in both directions, before and while it is down; watchers give the peer up only after the time-out."""
    log: Log = []

    async def life(ctx: Context) -> None:
        ctx.watch("peer")
        for n in range(8):
            await ctx.send("peer", Small(n=n))
            await ctx.sleep(1.0)
        async with ctx.group() as group:
            group.spawn(ask(ctx))
            for _ in range(10 if lost else 9):
                message = await ctx.receive(timeout=60.0)
                log.append((ctx.now, "main", type(message).__name__, getattr(message, "n", "")))
        with pytest.raises(DeadlineExceeded):
            await ctx.receive(timeout=60.0)

    async def ask(ctx: Context) -> None:
        reply = await ctx.request("peer", Small(n=99), timeout=60.0)
        log.append((ctx.now, "main", "reply", reply.n))  # type: ignore[attr-defined]

    async def peer(ctx: Context) -> None:
        async with ctx.group() as group:
            group.spawn(talk(ctx))
            while True:
                message = await ctx.receive()
                log.append((ctx.now, "peer", "got", message.n))  # type: ignore[attr-defined]
                if message.correlation:
                    await ctx.reply(message, Answer(n=1))

    async def talk(ctx: Context) -> None:
        for n in range(9):
            await ctx.send("main", Small(n=n))
            await ctx.sleep(1.0)

    outcome = run(
        study(
            life,
            place("peer", living(peer, Small), dataclasses.replace(FAST, latency_s=2.0**-4)),
            accepts=(Small, PeerGone),
            faults=(Fault("link_down", "peer", 2.5, 8.0),),
            peer_timeout_s=5.0 if lost else 8.5,
        )
    )
    at_peer = [(at, n) for at, actor, what, n in log if (actor, what) == ("peer", "got")]
    assert [n for _, n in at_peer] == [0, 1, 2, 3, 4, 5, 6, 7, 99]
    assert all(at < 2.5 for at, _ in at_peer[:3])
    assert all(at == 10.5 for at, _ in at_peer[3:])
    at_main = [(at, n) for at, actor, what, n in log if (actor, what) == ("main", "Small")]
    assert [n for _, n in at_main] == list(range(9))
    # Main takes messages from 8 s on; those that left before the fault have waited in its mailbox.
    assert [at for at, _ in at_main[:3]] == [8.0] * 3
    assert all(10.5 < at < 10.6 for at, _ in at_main[3:])
    assert [what for _, _, what, _ in log].count("PeerGone") == int(lost)
    assert [n for _, actor, what, n in log if (actor, what) == ("main", "reply")] == [1]
    assert outcome.undelivered() == []
    assert [event for _, event in device_events(outcome, "peer")] == ["start", "link_down", "link_up", "end"]


def test_a_silence_that_lasts_is_mutual() -> None:
    log: Log = []

    async def life(ctx: Context) -> None:
        ctx.watch("peer")
        message = await ctx.receive(timeout=60.0)
        log.append((ctx.now, "main", type(message).__name__, message.peer))  # type: ignore[attr-defined]
        # Told once.
        with pytest.raises(DeadlineExceeded):
            await ctx.receive(timeout=60.0)

    async def peer(ctx: Context) -> None:
        ctx.watch("main")
        message = await ctx.receive()
        log.append((ctx.now, "peer", type(message).__name__, message.peer))  # type: ignore[attr-defined]
        await ctx.receive()

    run(
        study(
            life,
            place("peer", living(peer)),
            faults=(Fault("link_down", "peer", 10.0, 40.0),),
            peer_timeout_s=5.0,
        )
    )
    assert sorted(log) == [(15.0, "main", "PeerGone", "peer"), (15.0, "peer", "PeerGone", "main")]


def test_faults_of_one_link_overlap() -> None:
    log: Log = []

    async def life(ctx: Context) -> None:
        await ctx.sleep(2.0)
        await ctx.send("peer", Small(n=1))
        await ctx.send("peer", large("peer", "main", 1024))
        await ctx.sleep(60.0)

    outcome = run(
        study(
            life,
            place("peer", noting(log, Small, Large)),
            faults=(Fault("link_down", "peer", 1.0, 5.0), Fault("link_down", "peer", 3.0, 10.0)),
        )
    )
    assert [what for _, _, what, _ in log] == ["Small", "Large"]
    assert log[0][0] == 13.0
    assert device_events(outcome, "peer")[1:3] == [(1.0, "link_down"), (13.0, "link_up")]


@pytest.mark.parametrize(("link_s", "moves_s"), [(2.0, 6.0), (9.0, 10.0)])
def test_a_link_fault_that_a_restart_meets(link_s: float, moves_s: float) -> None:
    """The link goes down at 1 s and the device at 2 s, up again at 6 s; the link comes back before that, or after."""
    log: Log = []

    async def life(ctx: Context) -> None:
        await ctx.sleep(7.0)
        await ctx.send("peer", large("peer", "main", 1024, n=1))
        await ctx.send("peer", Small(n=2))
        await ctx.sleep(30.0)

    async def peer(ctx: Context, message: Message) -> None:
        log.append((ctx.now, type(message).__name__))
        if isinstance(message, Start):
            await ctx.send("main", large("main", "peer", 1024))

    outcome = run(
        study(
            life,
            place("peer", handling(peer, Start, Small, Large)),
            accepts=(Large,),
            faults=(Fault("link_down", "peer", 1.0, link_s), Fault("crash", "peer", 2.0, 4.0)),
        )
    )
    assert [what for _, what in log] == ["Start", "Start", "Small", "Large"]
    assert log[1][0] == 6.0
    assert log[2][0] >= max(moves_s, 7.0)
    assert [(row.sender, row.type) for row in outcome.records.messages].count(("peer", "Large")) == 2
    assert outcome.undelivered() == []


# Crashes.


def test_a_crash_loses_all_and_a_restart_begins_anew() -> None:
    """State, timers, waiting messages and requests of the old life are gone; `Start` comes again."""
    log: Log = []

    class Phone(Actor):
        accepts = (Start, Small)

        def __init__(self) -> None:
            self.taken = 0

        async def handle(self, ctx: Context, message: Message) -> None:
            self.taken += 1
            log.append((ctx.now, type(message).__name__, getattr(message, "n", ""), self.taken))
            if isinstance(message, Start):
                ctx.later(20.0, Small(n=7))
                ctx.later(4.0, Small(n=8))
            elif message.sender == "main":
                await ctx.sleep(1000.0)

    async def life(ctx: Context) -> None:
        await ctx.sleep(1.0)
        async with ctx.group() as group:
            group.spawn(ask(ctx, 1, 0.0))
            group.spawn(ask(ctx, 2, 0.0))
            group.spawn(ask(ctx, 3, 9.0))
        await ctx.sleep(60.0)

    async def ask(ctx: Context, n: int, wait_s: float) -> None:
        await ctx.sleep(wait_s)
        try:
            await ctx.request("phone", Small(n=n), timeout=30.0)
        except (PeerLeft, DeadlineExceeded) as failure:
            log.append((ctx.now, type(failure).__name__, n, ""))

    outcome = run(
        study(
            life,
            place("phone", Phone, profile=PORTABLE),
            faults=(Fault("crash", "phone", 5.0, 10.0),),
            peer_timeout_s=60.0,
        )
    )
    assert [(round(at, 3), *rest) for at, *rest in log] == [
        (0.0, "Start", "", 1),
        (1.0, "Small", 1, 2),
        # It comes back before its peers have missed it: they learn then that what it had taken is lost.
        (15.0, "PeerLeft", 1, ""),
        (15.0, "PeerLeft", 2, ""),
        (15.0, "Start", "", 1),
        (19.0, "Small", 8, 2),
        (35.0, "Small", 7, 3),
        (40.0, "DeadlineExceeded", 3, ""),
    ]
    assert outcome.undelivered() == [("main", "phone", "Small", "device")]
    assert device_events(outcome, "phone")[1:3] == [(5.0, "crash"), (15.0, "restart")]
    assert [(row.kind, row.detail) for row in outcome.records.of(FaultRow)] == [("crash", "for 10 s")]


@pytest.mark.parametrize("duration_s", [None, 100.0])
def test_a_silent_device_is_given_up_after_the_time_out(duration_s: float | None) -> None:
    log: Log = []

    async def life(ctx: Context) -> None:
        ctx.watch("phone")
        async with ctx.group() as group:
            group.spawn(ask(ctx))
            message = await ctx.receive(timeout=60.0)
            log.append((ctx.now, type(message).__name__))
        with pytest.raises(DeadlineExceeded):
            await ctx.receive(timeout=200.0)

    async def ask(ctx: Context) -> None:
        with pytest.raises(PeerLeft):
            await ctx.request("phone", Small(), timeout=60.0)
        log.append((ctx.now, "PeerLeft"))

    async def never(ctx: Context, message: Message) -> None:
        await ctx.sleep(1e6)

    run(
        study(
            life,
            place("phone", handling(never, Small)),
            faults=(Fault("crash", "phone", 5.0, duration_s),),
            peer_timeout_s=7.0,
        )
    )
    assert sorted(log) == [(12.0, "PeerGone"), (12.0, "PeerLeft")]


def test_a_reply_to_a_request_of_an_old_life_answers_none_of_the_new() -> None:
    log: Log = []

    async def phone(ctx: Context, message: Message) -> None:
        reply = await ctx.request("main", Small(n=int(ctx.now)), timeout=60.0)
        log.append((ctx.now, reply.n))  # type: ignore[attr-defined]

    async def life(ctx: Context) -> None:
        first = await ctx.receive()
        second = await ctx.receive()
        await ctx.sleep(1.0)
        await ctx.reply(first, Answer(n=1))
        await ctx.sleep(1.0)
        await ctx.reply(second, Answer(n=2))
        await ctx.sleep(1.0)

    outcome = run(
        study(
            life,
            place("phone", handling(phone, Start), profile=PORTABLE),
            accepts=(Small,),
            faults=(Fault("crash", "phone", 1.0, 2.0),),
        )
    )
    assert [n for _, n in log] == [2]
    assert outcome.undelivered() == [("main", "phone", "Answer", "late")]


@pytest.mark.parametrize("restart", [False, True])
def test_bulk_under_way_to_a_device_that_crashes_is_lost_and_recorded(restart: bool) -> None:
    """From a slow uplink to a fast downlink, which has long passed it all: it is lost all the same, with what waits."""
    log: Log = []

    async def life(ctx: Context) -> None:
        for n in range(3):
            await ctx.send("phone", large("phone", "main", 40_960, n=n))
        await ctx.sleep(100.0)
        await ctx.send("phone", large("phone", "main", 4096, n=9))
        await ctx.sleep(100.0)

    outcome = run(
        study(
            place("main", living(life), SLOW),
            place("phone", noting(log, Large), FAST, PORTABLE),
            faults=(Fault("crash", "phone", 12.0, 1.0 if restart else None),),
        )
    )
    assert [n for *_, n in log] == ([0, 9] if restart else [0])
    lost = ("main", "phone", "Large", "device")
    assert outcome.undelivered() == [lost] * (2 if restart else 3)


def test_a_device_that_is_off_sends_nothing() -> None:
    log: Log = []

    async def life(ctx: Context) -> None:
        await ctx.sleep(100.0)

    async def phone(ctx: Context) -> None:
        await ctx.send("peer", large("peer", "phone", 40_960))
        await ctx.send("peer", large("peer", "phone", 100))
        while True:
            await ctx.sleep(1.0)
            await ctx.send("peer", Small(n=int(ctx.now)))

    outcome = run(
        study(
            life,
            place("phone", living(phone), SLOW, PORTABLE),
            place("peer", noting(log, Small, Large)),
            faults=(Fault("crash", "phone", 4.5),),
        )
    )
    assert [n for *_, n in log] == [1, 2, 3, 4]
    assert outcome.undelivered() == [("phone", "peer", "Large", "device")] * 2


def test_a_crash_of_what_is_off_already_is_only_recorded() -> None:
    async def life(ctx: Context) -> None:
        await ctx.sleep(100.0)

    outcome = run(
        study(
            life,
            place("phone", handling(answer, Small), profile=PORTABLE),
            faults=(Fault("crash", "phone", 5.0, 20.0), Fault("crash", "phone", 10.0, 1.0)),
        )
    )
    assert device_events(outcome, "phone")[1:-1] == [(5.0, "crash"), (25.0, "restart")]
    assert len(outcome.records.of(FaultRow)) == 2


@pytest.mark.parametrize("kind", ["crash", "battery"])
def test_the_run_fails_when_the_device_of_its_main_actor_goes_off(kind: str) -> None:
    async def life(ctx: Context) -> None:
        await ctx.compute(Chore(1e6))

    main = place("main", living(life), profile=PORTABLE, battery_level=0.01)
    outcome = build(study(main, faults=(Fault("crash", "main", 2.0, 5.0),) if kind == "crash" else ()))
    why = r"at 2 s \(crash\)" if kind == "crash" else r"at [\d.]+ s \(battery_empty\)"
    with pytest.raises(ActorFailed, match=f"the device of main went off {why}"):
        outcome.world.run()
    (job,) = outcome.records.of(JobRow)
    assert (job.function, job.outcome) == ("chore", "crash" if kind == "crash" else "battery_empty")
    assert device_events(outcome, "main")[-1][1] == "end"


# Batteries.


def test_an_empty_battery_is_off_for_good_and_a_charger_brings_it_back() -> None:
    """3 W from what a level of 1 % holds; the other one is on a charger of 5 W into the cells from 0 % on."""
    log: Log = []

    async def worker(ctx: Context, message: Message) -> None:
        log.append((ctx.now, ctx.name, "start"))
        await ctx.compute(Chore(1e6, "long"))

    async def life(ctx: Context) -> None:
        ctx.watch("phone")
        gone = await ctx.receive(timeout=100.0)
        log.append((ctx.now, "main", gone.peer))  # type: ignore[attr-defined]
        await ctx.sleep(100.0)

    outcome = run(
        study(
            life,
            place("phone", handling(worker, Start), profile=PORTABLE, battery_level=0.01),
            place("charged", handling(worker, Start), profile=PORTABLE, battery_level=0.0, charging=True),
            peer_timeout_s=10.0,
        )
    )
    empty_s = BATTERY.energy_at(0.01) / 3.0
    assert [(actor, what) for _, actor, what in log] == [("phone", "start"), ("charged", "start"), ("main", "phone")]
    assert log[-1][0] == pytest.approx(empty_s + 10.0, rel=1e-12)
    events = device_events(outcome, "phone")
    assert [event for _, event in events] == ["start", "job_start", "job_end", "battery_empty", "end"]
    assert events[2][0] == pytest.approx(empty_s, rel=1e-12)
    (job,) = [row for _, actor, row in outcome.records.rows if actor == "phone" and isinstance(row, JobRow)]
    assert (job.function, job.outcome) == ("long", "battery_empty")
    assert job.joules == pytest.approx(2.0 * empty_s, rel=1e-12)
    spent = energy(outcome, "phone")
    assert spent["battery"] == pytest.approx(BATTERY.energy_at(0.01), rel=1e-12)


def energy(outcome: Outcome, actor: str) -> dict[str, float]:
    return {
        row.component: row.joules
        for _, name, row in outcome.records.rows
        if name == actor and isinstance(row, EnergyRow)
    }


# Leaving.


def test_what_a_leaving_actor_has_sent_still_arrives() -> None:
    """Leaving is no crash: its bulk goes on, behind small messages, and the news that it has left come last."""
    log: Log = []

    async def leaver(ctx: Context) -> None:
        await ctx.receive()
        await ctx.send("main", large("main", "leaver", 8192, n=1))
        await ctx.send("main", large("main", "leaver", 4096, n=2))
        await ctx.send("main", Small(n=3))

    async def life(ctx: Context) -> None:
        ctx.watch("leaver")
        await ctx.send("leaver", Small())
        for _ in range(4):
            message = await ctx.receive(timeout=60.0)
            log.append((type(message).__name__, getattr(message, "n", "")))
        with pytest.raises(PeerLeft):
            await ctx.request("leaver", Small(), timeout=60.0)
        with pytest.raises(PeerLeft):
            await ctx.request("leaver", large("leaver", "main", 1024), timeout=60.0)

    outcome = run(
        study(
            life,
            place("leaver", living(leaver, Small), SLOW),
            accepts=(Small, Large),
            faults=(Fault("link_down", "leaver", 1.0, 5.0), Fault("link_down", "main", 1.0, 1.0)),
        )
    )
    assert log == [("Small", 3), ("Large", 1), ("Large", 2), ("PeerGone", "")]
    assert outcome.undelivered() == [("main", "leaver", "Small", "gone"), ("main", "leaver", "Large", "gone")]
    second = outcome.records.messages[-1]
    assert second.delivered_s == pytest.approx((8192 + 4096) / 4096 + 5.0 + 0.25, abs=0.2)


def test_requests_that_were_taken_and_not_answered_are_told_when_their_actor_leaves() -> None:
    log: Log = []

    async def leaver(ctx: Context) -> None:
        first = await ctx.receive()
        await ctx.receive()
        await ctx.sleep(1.0)
        await ctx.reply(first, Answer(n=1))

    async def life(ctx: Context) -> None:
        async with ctx.group() as group:
            for n in range(3):
                group.spawn(ask(ctx, n))

    async def ask(ctx: Context, n: int) -> None:
        try:
            await ctx.request("leaver", Small(n=n), timeout=60.0)
            log.append((n, "answered"))
        except PeerLeft:
            log.append((n, "left"))
            assert 1.0 < ctx.now < 2.0

    run(study(life, place("leaver", living(leaver, Small), SLOW)))
    assert sorted(log) == [(0, "answered"), (1, "left"), (2, "left")]


def test_requests_under_way_to_one_that_leaves_are_told() -> None:
    log: Log = []

    async def leaver(ctx: Context) -> None:
        await ctx.sleep(1.0)

    async def life(ctx: Context) -> None:
        with pytest.raises(PeerLeft):
            await ctx.request("leaver", large("leaver", "main", 8192), timeout=60.0)
        log.append(ctx.now)

    outcome = run(study(place("main", living(life), SLOW), place("leaver", living(leaver, Large))))
    assert log == [2.0 + 2 * SLOW.latency_s]
    assert outcome.undelivered() == [("main", "leaver", "Large", "gone")]


def test_what_waits_at_a_link_that_is_down_when_its_actor_leaves() -> None:
    log: Log = []

    async def leaver(ctx: Context) -> None:
        await ctx.sleep(5.0)
        await ctx.send("main", Small(n=1))

    async def life(ctx: Context) -> None:
        await ctx.sleep(2.0)
        with pytest.raises(PeerLeft):
            await ctx.request("leaver", Small(n=2), timeout=60.0)
        log.append(ctx.now)
        await ctx.sleep(60.0)

    outcome = run(
        study(
            life,
            place("leaver", living(leaver, Small)),
            accepts=(Small,),
            faults=(Fault("link_down", "leaver", 1.0, 20.0),),
        )
    )
    assert log == [5.0]
    assert sorted(outcome.undelivered()) == [("leaver", "main", "Small", "gone"), ("main", "leaver", "Small", "gone")]


# Messages that only the world may send.


def test_nobody_can_forge_a_start_or_the_news_that_a_peer_is_gone() -> None:
    log: Log = []

    async def life(ctx: Context) -> None:
        await ctx.send("peer", Start())
        await ctx.send("peer", PeerGone(peer="main"))
        await ctx.request("peer", Small(n=1), timeout=5.0)

    outcome = run(study(life, place("peer", noting(log, Start, PeerGone, Small))))
    assert [what for _, _, what, _ in log] == ["Start", "Small"]
    assert outcome.undelivered() == [
        ("main", "peer", "Start", "unexpected"),
        ("main", "peer", "PeerGone", "unexpected"),
    ]


def test_who_sent_what_comes_from_the_world_and_from_oneself() -> None:
    log: Log = []

    async def handle(ctx: Context, message: Message) -> None:
        log.append((type(message).__name__, message.sender, message.correlation))
        if isinstance(message, Start):
            ctx.watch("nobody")
        if message.correlation:
            # A timer made of a request is a plain message to oneself; the request is still open.
            ctx.later(1.0, message)
            await ctx.reply(message, Answer())

    async def life(ctx: Context) -> None:
        await ctx.request("peer", Small(), timeout=5.0)
        await ctx.sleep(5.0)

    run(study(life, place("peer", handling(handle, Start, PeerGone, Small))))
    assert log == [("Start", "", 0), ("PeerGone", "", 0), ("Small", "main", 1), ("Small", "peer", 0)]


# Populations.


def test_a_member_that_crashes_does_not_remember_what_it_was_before_a_rest() -> None:
    log: Log = []

    class Count(msgspec.Struct):
        taken: int = 0
        name: str = ""

    class Member(Actor):
        accepts = (Start, Small)
        State = Count

        async def handle(self, ctx: Context, message: Message) -> None:
            self.state.taken += 1
            self.state.name += type(message).__name__[0]
            log.append((ctx.name, self.state.taken, self.state.name))

    async def life(ctx: Context) -> None:
        for wait_s in (10.0, 10.0, 10.0, 10.0):
            for index in range(6):
                await ctx.send(f"m-{index}", Small())
            await ctx.sleep(wait_s)

    def member(index: int) -> Placement:
        return place(f"m-{index}", Member, profile=PLUGGED)

    run(
        study(
            life,
            populations=(Population("m", 6, member, ("local",)),),
            max_live=2,
            faults=(Fault("crash", "m-1", 25.0, 2.0),),
        )
    )
    assert [entry[1:] for entry in log if entry[0] == "m-0"] == [
        (1, "S"),
        (2, "SS"),
        (3, "SSS"),
        (4, "SSSS"),
        (5, "SSSSS"),
    ]
    assert [entry[1] for entry in log if entry[0] == "m-1"] == [1, 2, 3, 4, 1, 2]


def test_a_member_that_crashes_before_its_start_is_started_once() -> None:
    log: Log = []

    def member(index: int) -> Placement:
        return place(f"m-{index}", noting(log, Start), profile=PLUGGED)

    def deaf(index: int) -> Placement:
        return place(f"deaf-{index}", noting(log), profile=PLUGGED)

    async def life(ctx: Context) -> None:
        await ctx.sleep(100.0)

    run(
        study(
            life,
            populations=(
                Population("m", 2, member, ("local",), lambda index: 50.0),
                Population("deaf", 2, deaf, ("local",)),
            ),
            faults=(Fault("crash", "m-1", 10.0, 20.0),),
        )
    )
    assert [entry[:2] for entry in log] == [(30.0, "m-1"), (50.0, "m-0")]


# Energy.

WARM = dataclasses.replace(
    PORTABLE,
    name="warm",
    heat=Heat(
        soc_capacity_j_per_k=2.0,
        soc_to_case_k_per_w=2.0,
        case_capacity_j_per_k=20.0,
        case_to_air_k_per_w=10.0,
    ),
    throttle=(ThrottleLevel(33.0, 2.0, 0.5),),
)
faults_drawn = st.lists(
    st.builds(
        Fault,
        st.sampled_from(["link_down", "crash"]),
        st.sampled_from(["warm", "full", "plugged"]),
        st.floats(0.0, 300.0),
        st.floats(0.1, 100.0) | st.none(),
    ),
    max_size=5,
)
levels = st.floats(0.0, 1.0)


@settings(max_examples=40, deadline=None)
@given(faults_drawn, levels, levels, st.integers(0, 1000))
def test_no_joule_is_lost_over_a_whole_run(faults: list[Fault], low: float, high: float, seed: int) -> None:
    """Draws = battery + mains, and the level at the end is what is left, through jobs, traffic, crashes and faults."""

    async def work(ctx: Context, message: Message) -> None:
        draw = ctx.random("work", int(ctx.now * 1000))
        peer = ("warm", "full", "plugged")[int(draw.integers(3))]
        async with ctx.group() as group:
            group.spawn(say(ctx, peer, int(draw.integers(100, 50_000))))
            try:
                async with ctx.deadline(float(draw.exponential(30.0))):
                    await ctx.compute(Chore(float(draw.exponential(20.0)) + 1e-3))
            except DeadlineExceeded:
                pass
        ctx.later(float(draw.exponential(5.0)), Small())

    async def say(ctx: Context, peer: str, size: int) -> None:
        await ctx.send(peer, large(peer, ctx.name, size))
        await ctx.send(peer, Answer())

    async def life(ctx: Context) -> None:
        await ctx.sleep(400.0)

    make = handling(work, Start, Small, Large)
    outcome = run(
        study(
            life,
            place("warm", make, SLOW, WARM, battery_level=low),
            place("full", make, SLOW, PORTABLE, battery_level=high, charging=True),
            place("plugged", make, SLOW, PLUGGED),
            seed=seed,
            faults=tuple(faults),
            peer_timeout_s=20.0,
        )
    )
    for name, level in (("warm", low), ("full", high), ("plugged", None)):
        spent = energy(outcome, name)
        assert all(joules >= 0.0 for joules in spent.values())
        draws = sum(spent[part] for part in ("idle", "processor", "radio_send", "radio_receive", "radio_tail"))
        assert draws == pytest.approx(spent["battery"] + spent["mains"], rel=1e-9, abs=1e-9)
        rows = [row for _, actor, row in outcome.records.rows if actor == name and isinstance(row, DeviceRow)]
        if level is None:
            assert (spent["battery"], spent["stored"], rows[-1].battery_level) == (0.0, 0.0, None)
        else:
            left = BATTERY.energy_at(level) + spent["stored"] - spent["battery"]
            assert rows[-1].event == "end"
            assert rows[-1].battery_level == pytest.approx(BATTERY.level_at(left), abs=1e-9)
        jobs = [row for _, actor, row in outcome.records.rows if actor == name and isinstance(row, JobRow)]
        # A job that still runs at the end has no row yet.
        assert sum(job.joules for job in jobs) <= spent["processor"] * (1 + 1e-9) + 1e-9
        assert all(job.function == "chore" for job in jobs)
        sizes = [row.size_bytes for row in outcome.records.messages if row.receiver == name]
        assert spent["radio_receive"] >= sum(sizes) * PLUGGED.radios["wifi"].receive_j_per_byte * (1 - 1e-12)
