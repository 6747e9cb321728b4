"""Faults of messages, partitions, clocks, speeds and disks in the simulator: exact times, counts, what is conserved."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.actor import Actor, Context, DeadlineExceeded, Message, PeerGone, Start
from core.deployment import ClockSkew, Fault, MessageFault, Partition, Placement, Population, Slowdown
from core.records.rows import DeviceRow, EnergyRow, FaultRow, ImpairedRow, JobRow, UndeliveredRow
from sim.faults import FaultyNode
from sim.world import ActorFailed
from tests.sim.studies import (
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


def messages(kind: str, target: str, probability: float, **settings: Any) -> MessageFault:
    return MessageFault(kind, target, settings.pop("at_s", 0.0), probability=probability, **settings)


def listening(log: Log, *accepts: type[Message]) -> Callable[[], Actor]:
    async def handle(ctx: Context, message: Message) -> None:
        log.append((ctx.now, message.sender, message.n))  # type: ignore[attr-defined]

    return handling(handle, *accepts)


def talking(count: int, to: str = "peer", every_s: float = 1.0, rest_s: float = 100.0) -> Callable[[Context], Any]:
    """A life that sends numbered messages."""

    async def life(ctx: Context) -> None:
        for n in range(count):
            await ctx.send(to, Small(n=n))
            await ctx.sleep(every_s)
        await ctx.sleep(rest_s)

    return life


def joules(outcome: Outcome, actor: str, component: str) -> float:
    rows = [row for _, name, row in outcome.records.rows if name == actor and isinstance(row, EnergyRow)]
    return next(row.joules for row in rows if row.component == component)


# Messages.


def test_shares_are_those_of_the_probability_and_nothing_vanishes() -> None:
    """Of 4000 messages: binomial within four standard deviations; delivered = sent - lost + duplicated."""
    log: Log = []
    outcome = run(
        study(
            talking(4000, every_s=0.01),
            place("peer", listening(log, Small)),
            faults=(
                messages("lost", "main", 0.3),
                messages("duplicated", "peer", 0.2),
                messages("reordered", "peer", 0.1, behind=3),
            ),
        )
    )
    told = Counter(row.fault for row in outcome.records.of(ImpairedRow))
    arrived = 4000 - told["lost"]
    for kind, tried, probability in (("lost", 4000, 0.3), ("duplicated", arrived, 0.2), ("reordered", arrived, 0.1)):
        deviation = math.sqrt(tried * probability * (1 - probability))
        assert abs(told[kind] - tried * probability) < 4 * deviation, kind
    assert len(log) == len(outcome.records.messages) == arrived + told["duplicated"]
    assert outcome.undelivered() == [("main", "peer", "Small", "lost")] * told["lost"]


def test_what_is_struck_depends_on_nothing_but_its_own_place_in_the_row() -> None:
    """Another sender, another type, a second fault and strict encoding change nothing for those messages."""

    def struck(**settings: Any) -> list[int]:
        log: Log = []

        async def other(ctx: Context) -> None:
            for _ in range(60):
                await ctx.send("peer", Small(n=-1))
                await ctx.send("peer", Answer(n=-2))
                await ctx.sleep(0.4)

        others = [place("other", living(other))] if settings.pop("others", False) else []
        more = settings.pop("faults", ())
        run(
            study(
                talking(40),
                place("peer", listening(log, Small, Answer)),
                *others,
                seed=9,
                faults=(messages("lost", "peer", 0.4), *more),
                **settings,
            )
        )
        return [n for _, sender, n in log if sender == "main"]

    alone = struck()
    assert 10 < len(alone) < 38
    assert struck(others=True) == alone
    assert struck(strict_wire=True) == alone
    assert struck(faults=(messages("lost", "peer", 1.0, messages=("Answer",)),)) == alone


def test_a_message_is_overtaken_by_as_many_as_the_fault_says() -> None:
    """Only the first is struck; messages of another sender and stream do not count as overtaking it."""
    log: Log = []

    async def other(ctx: Context) -> None:
        await ctx.sleep(0.5)
        for n in range(3):
            await ctx.send("peer", Small(n=10 + n))

    async def life(ctx: Context) -> None:
        await ctx.send("peer", Small(n=0))
        await ctx.send("peer", large("peer", "main", 256, n=20))
        for n in range(1, 5):
            await ctx.sleep(1.0)
            await ctx.send("peer", Small(n=n))
        await ctx.sleep(10.0)

    run(
        study(
            life,
            place("peer", listening(log, Small, Large)),
            place("other", living(other)),
            faults=(messages("reordered", "main", 1.0, duration_s=0.5, behind=2, messages=("Small",)),),
        )
    )
    assert [n for _, _, n in log] == [20, 10, 11, 12, 1, 2, 0, 3, 4]


def test_a_message_that_nobody_overtakes_waits_for_its_delay() -> None:
    log: Log = []
    fault = messages("reordered", "peer", 1.0, duration_s=0.5, behind=5, delay_s=3.0)
    run(study(talking(3), place("peer", listening(log, Small)), faults=(fault,)))
    assert [n for _, _, n in log] == [1, 2, 0]
    # The frame's own time on a link of 1 GiB/s is less than a microsecond.
    assert log[-1][0] == pytest.approx(3.0, abs=1e-6)


def test_a_lost_message_costs_its_sender_energy_and_its_receiver_none() -> None:
    async def life(ctx: Context) -> None:
        await ctx.send("peer", large("peer", "main", 1000))
        await ctx.send("peer", large("peer", "main", 1000))
        await ctx.sleep(10.0)

    for target, received in (("main", 0), ("peer", 0), ("nobody", 2000)):
        faults = () if target == "nobody" else (messages("lost", target, 1.0),)
        outcome = run(study(life, place("peer", handling(answer, Large)), faults=faults))
        assert joules(outcome, "main", "radio_send") == pytest.approx(2000 * 2.0**-10)
        assert joules(outcome, "peer", "radio_receive") == pytest.approx(received * 2.0**-11)


def test_a_duplicate_of_a_request_is_answered_twice_and_the_second_reply_is_late() -> None:
    replies: Log = []

    async def life(ctx: Context) -> None:
        for n in range(3):
            reply = await ctx.request("peer", Small(n=n), timeout=5.0)
            replies.append(reply.n)  # type: ignore[attr-defined]
            await ctx.sleep(1.0)

    outcome = run(study(life, place("peer", handling(answer, Small)), faults=(messages("duplicated", "peer", 1.0),)))
    assert replies == [0, 1, 2]
    # Each of two requests is answered, and each answer leaves twice: one is taken.
    assert Counter(outcome.undelivered()) == {("peer", "main", "Answer", "late"): 9}


def test_two_requests_with_a_lost_one_time_out() -> None:
    async def life(ctx: Context) -> None:
        with pytest.raises(DeadlineExceeded):
            await ctx.request("peer", Small(), timeout=5.0)
        assert ctx.now == 5.0

    run(study(life, place("peer", handling(answer, Small)), faults=(messages("lost", "peer", 1.0),)))


def test_what_is_kept_back_still_leaves_after_its_actor_and_is_lost_with_its_device() -> None:
    log: Log = []

    async def leaver(ctx: Context) -> None:
        await ctx.send("main", Small(n=1))

    async def crasher(ctx: Context, message: Message) -> None:
        await ctx.send("main", Small(n=2))

    async def life(ctx: Context) -> None:
        for _ in range(2):
            try:
                message = await ctx.receive(timeout=20.0)
            except DeadlineExceeded:
                return
            log.append((message.sender, getattr(message, "n", "")))

    outcome = run(
        study(
            life,
            place("leaver", living(leaver)),
            place("crasher", handling(crasher, Start)),
            accepts=(Small,),
            faults=(
                messages("reordered", "leaver", 1.0, delay_s=5.0),
                messages("reordered", "crasher", 1.0, delay_s=5.0),
                Fault("crash", "crasher", 2.0),
            ),
        )
    )
    assert log == [("leaver", 1)]
    assert outcome.undelivered() == [("crasher", "main", "Small", "device")]


# Partitions.


def parted(*sets: tuple[str, ...], at_s: float = 1.0, duration_s: float | None = 10.0) -> Partition:
    return Partition("partition", "", at_s, duration_s, sets=sets)


def test_bulk_stands_still_during_a_partition_and_loses_no_byte() -> None:
    """Of 4096 B at 4096 B/s an eighth passes before the partition, the rest after it; the neighbour gains."""
    arrivals: Log = []

    async def sender(ctx: Context, message: Message) -> None:
        await ctx.send("main", large("main", ctx.name, 4096))
        await ctx.send("near", large("near", ctx.name, 4096))

    async def life(ctx: Context) -> None:
        await ctx.sleep(40.0)

    outcome = run(
        study(
            life,
            place("sender", handling(sender, Start), SLOW),
            place("near", listening(arrivals, Large), FAST),
            accepts=(Large,),
            faults=(parted(("main",), ("sender", "near"), at_s=0.25),),
        )
    )
    # Both share 4096 B/s: 512 B each until 0.25 s, then the neighbour alone; 0.125 s of latency.
    times = {receiver: at for at, _, receiver in outcome.arrivals("Large")}
    assert times["near"] == pytest.approx(0.25 + 3584 / 4096 + 0.125)
    assert times["main"] == pytest.approx(10.25 + 3584 / 4096 + 0.125)
    assert joules(outcome, "sender", "radio_send") == pytest.approx(8192 * 2.0**-10)


def test_a_message_under_way_waits_in_front_of_its_receiver_and_keeps_its_place() -> None:
    log: Log = []
    outcome = run(
        study(
            talking(4, every_s=0.4),
            place("peer", listening(log, Small), SLOW),
            faults=(parted(("main",), ("peer",), at_s=0.45, duration_s=5.0),),
        )
    )
    # The second left at 0.4 s and would have come at 0.525 s.
    assert [n for _, _, n in log] == [0, 1, 2, 3]
    assert log[0][0] < 0.45
    assert log[1][0] == 5.45
    assert log[2][0] == pytest.approx(5.45 + 0.125, abs=0.05)
    assert Counter(row.fault for row in outcome.records.of(ImpairedRow)) == {"partition": 3}
    assert outcome.undelivered() == []


def test_partitions_overlap_and_outsiders_reach_everybody() -> None:
    """The second keeps apart what the first has joined again; the outsider is in neither."""
    log: Log = []
    outcome = run(
        study(
            talking(12),
            place("peer", listening(log, Small)),
            place("outsider", living(talking(12, rest_s=0.0))),
            faults=(
                parted(("main",), ("peer",), at_s=2.5, duration_s=4.0),
                parted(("peer",), ("main",), at_s=4.5, duration_s=4.0),
            ),
        )
    )
    waited = [at for at, sender, n in log if sender == "main" and 3 <= n <= 8]
    assert waited == [pytest.approx(8.5, abs=1e-5)] * 6
    assert [n for _, sender, n in log if sender == "main"] == list(range(12))
    assert all(at == pytest.approx(n, abs=1e-5) for at, sender, n in log if sender == "outsider")
    events = [row.event for _, name, row in outcome.records.rows if name == "peer" and isinstance(row, DeviceRow)]
    assert events == ["start", "partition", "partition_end", "end"]


def test_both_sides_of_a_partition_give_each_other_up_and_nobody_else() -> None:
    log: Log = []

    def watching(*peers: str) -> Callable[[], Actor]:
        async def handle(ctx: Context, message: Message) -> None:
            if isinstance(message, Start):
                for peer in peers:
                    ctx.watch(peer)
            elif isinstance(message, PeerGone):
                log.append((ctx.now, ctx.name, message.peer))

        return handling(handle, Start)

    async def life(ctx: Context) -> None:
        await ctx.sleep(60.0)

    for duration_s, missed in ((4.0, False), (6.0, True), (None, True)):
        log.clear()
        run(
            study(
                life,
                place("a", watching("b", "c", "main")),
                place("b", watching("a")),
                place("c", watching("a", "b")),
                faults=(parted(("a", "c"), ("b",), duration_s=duration_s),),
                peer_timeout_s=5.0,
            )
        )
        assert sorted(log) == ([(6.0, "a", "b"), (6.0, "b", "a"), (6.0, "c", "b")] if missed else [])


def test_what_waits_at_a_partition_is_lost_with_its_device() -> None:
    outcome = run(
        study(
            talking(4),
            place("peer", listening([], Small), profile=PORTABLE),
            place("other", living(talking(3, to="main", rest_s=30.0)), profile=PORTABLE),
            accepts=(Small,),
            faults=(parted(("main",), ("peer", "other"), at_s=0.5), Fault("crash", "other", 5.0)),
        )
    )
    assert Counter(outcome.undelivered()) == {("other", "main", "Small", "device"): 2}


# Speeds, clocks, batteries, disks.


def test_a_slow_device_takes_longer_from_then_on_and_draws_its_power_for_longer() -> None:
    """A chore of 8 s at 1/4 from 2 s to 10 s: 2 + 2 of 8 s are done by then; factors multiply; energy is P·t."""

    async def life(ctx: Context) -> None:
        await ctx.compute(Chore(8.0))
        assert ctx.now == 14.0
        await ctx.sleep(6.0)
        await ctx.compute(Chore(1.0))
        assert ctx.now == 28.0

    outcome = run(
        study(
            life,
            faults=(
                Slowdown("slow", "main", 2.0, 8.0, speed=0.25),
                Slowdown("slow", "main", 20.0, speed=0.5),
                Slowdown("slow", "main", 20.0, speed=0.25),
            ),
        )
    )
    assert [(row.seconds, row.joules) for row in outcome.records.of(JobRow)] == [(14.0, 28.0), (8.0, 16.0)]
    speeds = [(at, row.event, row.speed) for at, _, row in outcome.records.rows if isinstance(row, DeviceRow)]
    assert [entry for entry in speeds if entry[1].startswith("slow")] == [
        (2.0, "slow", 0.25),
        (10.0, "slow_end", 1.0),
        (20.0, "slow", 0.5),
    ]


def test_a_slow_device_comes_back_slow_from_a_crash() -> None:
    log: Log = []

    async def peer(ctx: Context, message: Message) -> None:
        began_s = ctx.now
        await ctx.compute(Chore(1.0))
        log.append(ctx.now - began_s)

    async def life(ctx: Context) -> None:
        await ctx.sleep(30.0)

    faults = (Slowdown("slow", "peer", 0.0, speed=0.5), Fault("crash", "peer", 5.0, 5.0))
    run(study(life, place("peer", handling(peer, Start)), faults=faults))
    assert log == [2.0, 2.0]


def test_a_wrong_clock_shows_itself_in_timers_and_readings_but_not_in_the_records() -> None:
    log: Log = []

    async def life(ctx: Context) -> None:
        await ctx.sleep(8.0)
        log.append(ctx.now)
        await ctx.sleep(8.0)  # At twice the speed: 4 s.
        log.append(ctx.now)
        ctx.later(4.0, Small())
        await ctx.receive()
        log.append(ctx.now)
        await ctx.sleep(100.0)  # Over the end of the fault; it was set by the wrong clock.
        log.append(ctx.now)

    outcome = run(
        study(life, accepts=(Small,), faults=(ClockSkew("clock_skew", "main", 4.0, 16.0, offset_s=-64.0, drift=1.0),))
    )
    # From 4 s on the clock shows 4 - 64 + 2·(t - 4).
    assert log == [-52.0, -44.0, -40.0, 64.0]
    assert outcome.records.ended_s == 64.0
    assert [at for at, _, row in outcome.records.rows if isinstance(row, DeviceRow)] == [0.0, 4.0, 20.0, 64.0]


def test_a_pulled_battery_neither_drains_nor_charges() -> None:
    async def life(ctx: Context) -> None:
        await ctx.sleep(40.0)

    levels = {}
    for charging in (False, True):
        outcome = run(
            study(
                life,
                place("phone", handling(answer), profile=PORTABLE, battery_level=0.5, charging=charging),
                faults=(Fault("battery_pulled", "phone", 10.0, 20.0),),
            )
        )
        rows = {
            row.event: row for _, name, row in outcome.records.rows if name == "phone" and isinstance(row, DeviceRow)
        }
        assert rows["battery_pulled"].battery_level == rows["restart"].battery_level
        assert rows["restart"].charging is charging
        levels[charging] = (rows["restart"].battery_level, rows["end"].battery_level)
    # 1 W idle, or what that leaves of 10 W, half of it into the cells: 4.5 W of 1000 J.
    assert levels[False] == pytest.approx((0.49, 0.48), abs=2e-3)
    assert levels[True] == pytest.approx((0.545, 0.59), abs=2e-3)


class Note(Message, frozen=True, kw_only=True):
    pass


def recording(ctx: Context, n: int) -> None:
    ctx.record(UndeliveredRow(sender="", receiver="", type=str(n), size_bytes=0, reason=""))


def test_rows_wait_for_a_disk_with_room_and_keep_their_times() -> None:
    async def life(ctx: Context) -> None:
        for n in range(6):
            recording(ctx, n)
            await ctx.sleep(1.0)

    outcome = run(study(life, faults=(Fault("disk_full", "main", 1.5, 3.0), Fault("disk_full", "main", 2.5, 0.5))))
    rows = [(at, row.type) for at, _, row in outcome.records.rows if isinstance(row, UndeliveredRow)]
    assert rows == [(float(n), str(n)) for n in range(6)]
    written = [type(row).__name__ for _, _, row in outcome.records.rows]
    assert written.index("UndeliveredRow") < written.index("FaultRow")


@pytest.mark.parametrize("target", ["main", "peer"])
def test_rows_that_find_no_room_are_lost_and_said_to_be(target: str) -> None:
    """Those of the main actor are what the run is for: without them it has failed."""

    async def life(ctx: Context) -> None:
        recording(ctx, 1)
        await ctx.sleep(5.0)
        recording(ctx, 2)

    outcome = build(study(life, place("peer", handling(answer)), faults=(Fault("disk_full", target, 2.0),)))
    if target == "main":
        with pytest.raises(ActorFailed, match="the disk of main was full at the end"):
            outcome.world.run()
    else:
        outcome.world.run()
    told = [(row.kind, row.detail) for row in outcome.records.of(FaultRow)]
    assert told[0] == ("disk_full", "")
    assert told[1][0] == "records_lost"
    assert [row.type for row in outcome.records.of(UndeliveredRow)] == (["1"] if target == "main" else ["1", "2"])


# Numbers of messages, populations.


@pytest.mark.parametrize("kind", ["crash", "link_down"])
def test_a_fault_begins_with_the_message_that_it_waits_for(kind: str) -> None:
    log: Log = []
    outcome = run(
        study(
            talking(10),
            place("peer", listening(log, Small), profile=PORTABLE),
            faults=(Fault(kind, "peer", math.inf, 3.0, after_messages=4),),
        )
    )
    begun = [(at, row.detail) for at, _, row in outcome.records.rows if isinstance(row, FaultRow)]
    assert begun == [(pytest.approx(3.0, abs=1e-5), "after 4 messages; for 3 s")]
    assert [n for _, _, n in log] == ([*range(4), *range(6, 10)] if kind == "crash" else list(range(10)))


def test_faults_of_a_population_strike_its_member_and_no_other() -> None:
    """Whoever a fault may touch is awake for good, all others still rest."""
    log: Log = []

    def member(index: int) -> Placement:
        return place(f"m-{index}", listening(log, Small))

    async def life(ctx: Context) -> None:
        for _ in range(3):
            for index in range(50):
                await ctx.send(f"m-{index}", Small(n=index))
            await ctx.sleep(5.0)

    outcome = build(
        study(
            life,
            populations=(Population("m", 50, member, ("local",), lambda index: math.inf),),
            max_live=8,
            faults=(
                messages("lost", "m-7", 1.0, at_s=2.0, duration_s=5.0),
                Slowdown("slow", "m-9", 2.0, speed=0.5),
                Fault("link_down", "m-11", math.inf, after_messages=2),
            ),
        )
    )
    outcome.world.run()
    got = Counter(n for _, _, n in log)
    assert got == {n: {7: 2, 11: 2}.get(n, 3) for n in range(50)}
    rests = {name for name, node in outcome.world.nodes.items() if isinstance(node, FaultyNode)}
    assert rests == {"m-7", "m-11"}


# Everything at once.

PEERS = ("a", "b", "c")
times = st.floats(0.0, 60.0)
durations = st.floats(0.5, 40.0)
targets = st.sampled_from(PEERS)
some_fault = st.one_of(
    st.builds(Fault, st.sampled_from(["link_down", "crash", "battery_pulled", "disk_full"]), targets, times, durations),
    st.builds(
        MessageFault,
        st.sampled_from(["lost", "duplicated", "reordered"]),
        targets,
        times,
        durations,
        probability=st.floats(0.0, 1.0),
        behind=st.none() | st.integers(1, 4),
        delay_s=st.floats(0.1, 20.0),
    ),
    st.builds(Slowdown, st.just("slow"), targets, times, durations, speed=st.floats(0.01, 1.0)),
    st.builds(
        ClockSkew,
        st.just("clock_skew"),
        targets,
        times,
        durations,
        offset_s=st.floats(-99, 99),
        drift=st.floats(-0.5, 2),
    ),
    st.builds(
        Partition,
        st.just("partition"),
        st.just(""),
        times,
        durations,
        sets=st.sampled_from([(("a",), ("b",)), (("a",), ("b",), ("c",)), (("c", "a"), ("b",))]),
    ),
    st.builds(
        Fault,
        st.sampled_from(["link_down", "crash"]),
        targets,
        st.just(math.inf),
        durations,
        after_messages=st.integers(1, 30),
    ),
)


@settings(max_examples=60, deadline=None)
@given(st.lists(some_fault, max_size=8), st.integers(0, 1000))
def test_every_message_is_accounted_for_whatever_goes_wrong(faults: list[Fault], seed: int) -> None:
    """Once all is over: sent + second copies = delivered + undelivered, by sender and type; energy is conserved."""
    sent: Counter[tuple[str, str]] = Counter()

    async def chatter(ctx: Context, message: Message) -> None:
        if not isinstance(message, Start | Answer) or true_s() > 60.0:
            return
        draw = ctx.random("chatter", int(1000 * true_s()))
        bulk = PEERS[int(draw.integers(3))]
        for peer in PEERS:
            sent[ctx.name, "Small"] += 1
            await ctx.send(peer, Small())
        sent[ctx.name, "Large"] += 1
        await ctx.send(bulk, large(bulk, ctx.name, int(draw.integers(500, 20_000))))
        ctx.later(float(draw.exponential(4.0)) + 0.1, Answer())

    async def life(ctx: Context) -> None:
        await ctx.sleep(1000.0)

    def prepared() -> Outcome:
        sent.clear()
        make = handling(chatter, Start, Small, Answer, Large)
        places = [place(name, make, SLOW, PORTABLE, charging=True) for name in PEERS]
        return build(study(life, *places, seed=seed, faults=tuple(faults), peer_timeout_s=9.0))

    outcome = prepared()
    true_s = lambda: outcome.world.env.now  # noqa: E731
    outcome.world.run()
    records = outcome.records
    copies = Counter((row.sender, row.type) for row in records.of(ImpairedRow) if row.fault == "duplicated")
    arrived = Counter((row.sender, row.type) for row in records.messages)
    astray = Counter((row.sender, row.type) for row in records.of(UndeliveredRow))
    assert arrived + astray == sent + copies
    for name in PEERS:
        got = sum(row.size_bytes for row in records.messages if row.receiver == name)
        assert joules(outcome, name, "radio_receive") >= got * PLUGGED.radios["wifi"].receive_j_per_byte * (1 - 1e-9)
        draws = sum(joules(outcome, name, part) for part in ("idle", "processor", "radio_send", "radio_receive"))
        sources = joules(outcome, name, "battery") + joules(outcome, name, "mains")
        assert draws == pytest.approx(sources, rel=1e-9, abs=1e-9)
    # The same again, bit for bit.
    outcome = prepared()
    outcome.world.run()
    assert outcome.records.pending_messages == records.pending_messages
