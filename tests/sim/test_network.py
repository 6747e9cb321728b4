"""The network: exact times of messages, processor sharing against its theory, bytes and joules that are conserved."""

from __future__ import annotations

import dataclasses
import itertools
from math import inf

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from core.actor import Context, DeadlineExceeded, Message, PeerLeft, Refused, Start
from core.deployment import Fault, Placement
from core.devices import Radio
from core.links import Link
from core.records.rows import EnergyRow, MessageRow
from core.wire import frame_size
from sim.engine import ActorEnvironment
from sim.network.sharing import SharedLink
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

# One shared link.


class Flow:
    """Writes down when it has passed."""

    def __init__(self, env: ActorEnvironment, size_bytes: float) -> None:
        self.env = env
        self.size_bytes = size_bytes
        self.ended_s = inf

    def leg_ended(self, link: SharedLink) -> None:
        assert self.ended_s == inf
        self.ended_s = self.env.now


@given(st.lists(st.integers(1, 10**9), min_size=1, max_size=30), st.floats(1.0, 1e9))
def test_flows_that_begin_together_end_as_the_closed_form_says(sizes: list[int], rate: float) -> None:
    """With sizes in order, t_i = t_(i-1) + (S_i − S_(i-1)) (n − i + 1) / C: the least left, shared by those present."""
    env = ActorEnvironment()
    link = SharedLink(env, rate)
    flows = [Flow(env, size) for size in sizes]
    for flow in flows:
        link.begin(flow, flow.size_bytes)
    env.run()
    expected, passed = 0.0, 0
    for rank, flow in enumerate(sorted(flows, key=lambda flow: flow.size_bytes)):
        expected += (flow.size_bytes - passed) * (len(flows) - rank) / rate
        passed = int(flow.size_bytes)
        assert flow.ended_s == pytest.approx(expected, rel=1e-9)
    # The link was never idle, and never faster than its rate.
    assert env.now == pytest.approx(sum(sizes) / rate, rel=1e-9)
    assert len(link) == 0
    assert env.stale == 0


def test_a_flow_alone_is_exact() -> None:
    env = ActorEnvironment()
    link = SharedLink(env, 1024.0)
    for begin_s, size in ((0.0, 512), (3.0, 4096), (100.25, 1)):
        env.run(until=begin_s)
        flow = Flow(env, size)
        link.begin(flow, size)
        env.run()
        assert flow.ended_s == begin_s + size / 1024


def test_a_link_does_not_wear_out() -> None:
    """After 2^60 bytes, one byte still takes its time: the count begins afresh when the link is idle."""
    env = ActorEnvironment()
    link = SharedLink(env, 2.0**40)
    link.begin(Flow(env, 2.0**60), 2.0**60)
    env.run()
    assert env.now == 2.0**20
    link.set_rate(1024.0)
    flow = Flow(env, 1)
    link.begin(flow, 1)
    env.run()
    assert flow.ended_s == 2.0**20 + 2.0**-10


@pytest.mark.parametrize("rate", [0.0, -1.0, inf, float("nan")])
def test_a_link_has_a_rate(rate: float) -> None:
    with pytest.raises(ValueError, match="positive and finite"):
        SharedLink(ActorEnvironment(), rate)


def sojourns(rng: np.random.Generator, load: float, sizes: np.ndarray) -> np.ndarray:
    """Times that flows of these sizes spend in a link of rate 1 whose arrivals are Poisson."""
    env = ActorEnvironment()
    link = SharedLink(env, 1.0)
    began = np.cumsum(rng.exponential(1.0 / load, size=len(sizes)))
    flows = []
    for at, size in zip(began.tolist(), sizes.tolist(), strict=True):
        env.run(until=at)
        flow = Flow(env, size)
        flows.append(flow)
        link.begin(flow, size)
    env.run()
    return np.array([flow.ended_s for flow in flows]) - began


def sizes_of(rng: np.random.Generator, kind: str, n: int) -> np.ndarray:
    """Sizes of mean 1: of no variance, exponential, or mostly small and rarely large (squared variation 4.5)."""
    if kind == "equal":
        return np.ones(n)
    if kind == "exponential":
        return rng.exponential(1.0, size=n)
    return np.where(rng.random(n) < 0.9, 0.5, 5.5) * (1.0 / (0.9 * 0.5 + 0.1 * 5.5))


@pytest.mark.parametrize("kind", ["equal", "exponential", "two sizes"])
@pytest.mark.parametrize(
    ("load", "n"), [(0.5, 20_000), pytest.param(0.8, 400_000, marks=pytest.mark.slow)], ids=["half", "heavy"]
)
def test_processor_sharing_does_not_care_how_sizes_are_distributed(kind: str, load: float, n: int) -> None:
    """M/G/1-PS: E[T] = E[S] / (C − λ E[S]), and E[T | S = s] = s / (1 − ρ) (Kleinrock 1976, §4.4)."""
    rng = np.random.default_rng(1976)
    sizes = sizes_of(rng, kind, n)
    spent = sojourns(rng, load, sizes)
    batches = spent[: n // 20 * 20].reshape(20, -1).mean(axis=1)
    # The half width of 99.9 % of Student's t with 19 degrees of freedom; batches are nearly independent.
    half_width = 3.883 * batches.std(ddof=1) / np.sqrt(20)
    expected = 1.0 / (1.0 - load)
    assert half_width < 0.15 * expected
    assert abs(batches.mean() - expected) < half_width
    if kind == "two sizes":
        small, large_ = spent[sizes < 1], spent[sizes > 1]
        ratio = large_.mean() / small.mean()
        assert ratio == pytest.approx(11.0, rel=0.1)


class Fluid:
    """The same link, naively: what each flow has left, moved on from event to event."""

    def __init__(self, rate: float) -> None:
        self.now = 0.0
        self.rate = rate
        self.left: dict[int, float] = {}
        self.ended: dict[int, float] = {}

    def advance(self, to: float) -> None:
        while self.left and self.rate > 0.0:
            name = min(self.left, key=lambda flow: (self.left[flow], flow))
            ends = self.now + self.left[name] * len(self.left) / self.rate
            if ends >= to:
                break
            passed = self.left.pop(name)
            for flow in self.left:
                self.left[flow] -= passed
            self.ended[name] = self.now = ends
        if self.left and self.rate > 0.0 and to < inf:
            share = (to - self.now) * self.rate / len(self.left)
            for flow in self.left:
                self.left[flow] -= share
        if to < inf:
            self.now = to


steps = st.lists(
    st.tuples(
        st.sampled_from(["begin", "begin", "abort", "rate", "down"]), st.integers(1, 1000), st.floats(0.001, 10.0)
    ),
    min_size=1,
    max_size=30,
)


@settings(max_examples=200)
@given(steps)
def test_bytes_are_conserved_whatever_happens_to_a_link(history: list[tuple[str, int, float]]) -> None:
    """Flows that begin, are aborted, slowed down and stopped: against the naive fluid, and bytes begun = passed."""
    env, fluid = ActorEnvironment(), Fluid(100.0)
    link = SharedLink(env, 100.0)
    flows: dict[int, Flow] = {}
    aborted: dict[int, float] = {}
    for what, number, wait_s in history:
        match what:
            case "begin":
                name = len(flows)
                flows[name] = Flow(env, number)
                link.begin(flows[name], number)
                fluid.left[name] = float(number)
            case "abort" if flows:
                name = number % len(flows)
                flow, left = flows[name], fluid.left.pop(name, None)
                passed = link.abort(flow)
                assert (passed is None) == (flow.ended_s < inf or name in aborted)
                if passed is not None:
                    assert left is not None
                    assert passed == pytest.approx(flow.size_bytes - left, rel=1e-6, abs=1e-6)
                    assert 0.0 <= passed <= flow.size_bytes
                    aborted[name] = passed
            case "rate":
                link.set_rate(float(number))
                fluid.rate = float(number)
            case "down":
                link.set_rate(0.0)
                fluid.rate = 0.0
        env.run(until=env.now + wait_s)
        fluid.advance(env.now)
        # Not within a rounding error of an end, about which the two may disagree.
        assume(all(left > 1e-6 for left in fluid.left.values()))
        assert {name for name, flow in flows.items() if flow.ended_s < inf} == set(fluid.ended)
        assert [flow.size_bytes for flow in link.flows] == [flows[name].size_bytes for name in sorted(fluid.left)]
    link.set_rate(50.0)
    fluid.rate = 50.0
    env.run()
    fluid.advance(inf)
    assert set(fluid.ended) == set(flows) - set(aborted)
    for name, at in fluid.ended.items():
        assert flows[name].ended_s == pytest.approx(at, rel=1e-9)
    assert (len(link), env.stale) == (0, 0)


# Small messages.


def arrivals(outcome: Outcome) -> list[MessageRow]:
    return outcome.records.messages


def test_a_small_message_takes_its_bytes_at_the_slower_rate_and_the_delays() -> None:
    """SLOW up (4096 B/s) against FAST down, and SLOW to SLOW: half of the round trip at each end, and the Internet."""

    async def life(ctx: Context) -> None:
        await ctx.sleep(1.0)
        await ctx.send("near", Small(n=1))
        await ctx.send("far", Small(n=2))
        await ctx.sleep(100.0)

    async def nothing(ctx: Context, message: Message) -> None:
        pass

    narrow = dataclasses.replace(SLOW, down_bytes_per_s=1024.0, latency_s=0.25)
    outcome = run(
        study(
            place("main", living(life), SLOW, region="here"),
            place("near", handling(nothing, Small), FAST, region="here"),
            place("far", handling(nothing, Small), narrow, region="there"),
            region_delay_s={("here", "there"): 0.5},
        )
    )
    near, far = arrivals(outcome)
    size = frame_size("near", Small(sender="main", n=1))
    assert (near.sent_s, near.size_bytes) == (1.0, size)
    assert near.delivered_s == 1.0 + size / 4096 + SLOW.latency_s
    # It leaves after the first, at the receiver's rate.
    assert far.sent_s == 1.0
    assert far.delivered_s == 1.0 + size / 4096 + far.size_bytes / 1024 + SLOW.latency_s + 0.25 + 0.5


def test_a_reply_goes_back_by_the_receivers_uplink() -> None:
    async def life(ctx: Context) -> None:
        await ctx.request("peer", Small(n=5), timeout=60.0)
        assert ctx.now == arrivals(outcome)[1].delivered_s

    outcome = build(study(life, place("peer", handling(answer, Small), SLOW)))
    outcome.world.run()
    request, reply = arrivals(outcome)
    assert request.delivered_s == request.size_bytes / 8192 + SLOW.latency_s
    assert reply.delivered_s == request.delivered_s + reply.size_bytes / 4096 + SLOW.latency_s


def test_small_messages_leave_one_after_the_other() -> None:
    async def life(ctx: Context) -> None:
        for n in range(50):
            await ctx.send("peer" if n % 3 else "other", Small(n=n))
        await ctx.sleep(60.0)
        await ctx.send("peer", Small(n=50))
        await ctx.sleep(60.0)

    async def nothing(ctx: Context, message: Message) -> None:
        pass

    outcome = run(
        study(
            place("main", living(life), SLOW),
            place("peer", handling(nothing, Small)),
            place("other", handling(nothing, Small)),
        )
    )
    rows = arrivals(outcome)
    assert len(rows) == 51
    leaves_s = 0.0
    for row in rows[:50]:
        leaves_s += row.size_bytes / 4096
        assert row.delivered_s == leaves_s + SLOW.latency_s
    assert rows[50].delivered_s == 60.0 + rows[50].size_bytes / 4096 + SLOW.latency_s


def test_loss_lowers_the_goodput() -> None:
    async def life(ctx: Context) -> None:
        await ctx.send("peer", Small(n=1))
        await ctx.send("peer", large("peer", "main", 4096))
        await ctx.sleep(60.0)

    async def nothing(ctx: Context, message: Message) -> None:
        pass

    lossy = dataclasses.replace(SLOW, loss=0.75)
    outcome = run(study(place("main", living(life), lossy), place("peer", handling(nothing, Small, Large))))
    small, bulk = arrivals(outcome)
    assert small.delivered_s == small.size_bytes / 1024 + SLOW.latency_s
    assert bulk.delivered_s == 4.0 + SLOW.latency_s


# Bulk.


async def swallow(ctx: Context, message: Message) -> None:
    """Takes a message without a word."""


def keeper(name: str, link: Link = FAST, **settings: object) -> Placement:
    return place(name, handling(swallow, Small, Large), link, **settings)  # type: ignore[arg-type]


def test_bulk_of_one_sender_shares_its_uplink_and_each_pair_keeps_its_order() -> None:
    """Two receivers share 4096 B/s; the second message to `a` begins when the first is over."""

    async def life(ctx: Context) -> None:
        await ctx.send("a", large("a", "main", 4096, n=1))
        await ctx.send("a", large("a", "main", 2048, n=2))
        await ctx.send("b", large("b", "main", 8192, n=3))
        await ctx.send("b", Small(n=4))
        await ctx.sleep(60.0)

    outcome = run(study(place("main", living(life), SLOW), keeper("a"), keeper("b")))
    small, first, second, third = arrivals(outcome)
    # The small one does not wait for bulk.
    assert small.delivered_s == small.size_bytes / 4096 + 0.125
    assert (first.receiver, first.delivered_s) == ("a", 2.0 + 0.125)
    assert (second.receiver, second.delivered_s) == ("a", 3.0 + 0.125)
    assert (third.receiver, third.delivered_s) == ("b", 3.5 + 0.125)


def test_bulk_to_one_receiver_shares_its_downlink() -> None:
    """Four fast senders of 8192 B each meet in 8192 B/s."""

    async def sending(ctx: Context) -> None:
        await ctx.send("main", large("main", ctx.name, 8192))
        await ctx.sleep(60.0)

    async def life(ctx: Context) -> None:
        for _ in range(4):
            await ctx.receive()

    outcome = run(
        study(
            place("main", living(life, Large), SLOW),
            *(place(f"sender-{index}", living(sending)) for index in range(4)),
        )
    )
    assert [row.delivered_s for row in arrivals(outcome)] == [4.0 + 0.125] * 4


def test_the_receiver_may_be_the_slower_end() -> None:
    async def life(ctx: Context) -> None:
        await ctx.send("a", large("a", "main", 8192))
        await ctx.sleep(60.0)

    narrow = dataclasses.replace(SLOW, down_bytes_per_s=1024.0)
    outcome = run(study(place("main", living(life), SLOW), keeper("a", narrow)))
    assert arrivals(outcome)[0].delivered_s == 8.0 + 0.25


def test_a_link_that_goes_down_holds_bulk_where_it_is() -> None:
    """1 s of the transfer passes, then nothing for 3 s, then the rest; the peer's own fault is added."""

    async def life(ctx: Context) -> None:
        await ctx.send("a", large("a", "main", 8192))
        await ctx.sleep(60.0)

    faults = (Fault("link_down", "main", 1.0, 3.0), Fault("link_down", "a", 4.5, 10.0))
    outcome = run(study(place("main", living(life), SLOW), keeper("a", SLOW), faults=faults))
    # The receiver's own link (8192 B/s) had passed all after 1 s; what arrives while it is down waits.
    assert [row.delivered_s for row in arrivals(outcome)] == [14.5]
    same = run(study(place("main", living(life), SLOW), keeper("a", SLOW), faults=faults[:1]))
    assert [row.delivered_s for row in arrivals(same)] == [2.0 + 3.0 + 0.25]


def test_what_is_too_large_is_refused_before_it_leaves() -> None:
    log: list[object] = []

    async def life(ctx: Context) -> None:
        await ctx.send("a", large("a", "main", 1001))
        with pytest.raises(Refused) as failure:
            await ctx.request("a", large("a", "main", 1001, correlation=1), timeout=5.0)
        log.append((failure.value.peer, failure.value.reason, ctx.now))
        with pytest.raises(Refused):
            await ctx.request("a", Note(text="x" * 1001), timeout=5.0)
        with pytest.raises(PeerLeft):
            await ctx.request("nobody", large("nobody", "main", 5000), timeout=5.0)
        await ctx.send("a", large("a", "main", 1000))
        await ctx.send("a", Note(text="x" * (1000 - frame_size("a", Note(sender="main", text="x" * 900)) + 900)))
        await ctx.sleep(60.0)

    class Note(Message, frozen=True, kw_only=True):
        text: str

    outcome = run(
        study(
            place("main", living(life), SLOW),
            place("a", handling(swallow, Large, Note)),
            max_frame_bytes=1000,
            messages=(Large, Note),
        )
    )
    assert log == [("a", "oversized", 0.0)]
    assert outcome.undelivered() == [
        ("main", "a", "Large", "oversized"),
        ("main", "a", "Large", "oversized"),
        ("main", "a", "Note", "oversized"),
        ("main", "nobody", "Large", "gone"),
    ]
    assert sorted((row.type, row.size_bytes) for row in arrivals(outcome)) == [("Large", 1000), ("Note", 1000)]


# Energy of the radio.


def joules(outcome: Outcome, actor: str) -> dict[str, float]:
    return {
        row.component: row.joules
        for _, name, row in outcome.records.rows
        if name == actor and isinstance(row, EnergyRow)
    }


SEND_J, RECEIVE_J = PLUGGED.radios["wifi"].byte_j(inf, inf)


@pytest.mark.parametrize("profile", [PLUGGED, PORTABLE], ids=["mains", "battery"])
def test_the_radio_draws_for_every_byte_at_both_ends(profile: object) -> None:
    async def life(ctx: Context) -> None:
        for n in range(20):
            await ctx.send("a", large("a", "main", 1000 + n))
            await ctx.compute(Chore(0.25))
            await ctx.request("a", Small(n=n), timeout=60.0)
            await ctx.send("a", Answer())  # refused, but carried
        await ctx.sleep(60.0)

    async def handle(ctx: Context, message: Message) -> None:
        if isinstance(message, Small):
            await ctx.reply(message, Answer())

    outcome = run(
        study(
            place("main", living(life), SLOW, profile),  # type: ignore[arg-type]
            place("a", handling(handle, Small, Large), SLOW, profile),  # type: ignore[arg-type]
        )
    )
    rows = arrivals(outcome)
    refused = 20 * frame_size("a", Answer(sender="main"))
    there = sum(row.size_bytes for row in rows if row.sender == "main") + refused
    back = sum(row.size_bytes for row in rows if row.sender == "a")
    assert len(rows) == 60
    for actor, sent, received in (("main", there, back), ("a", back, there)):
        spent = joules(outcome, actor)
        # Coefficients are powers of two: exact.
        assert (spent["radio_send"], spent["radio_receive"]) == (sent * SEND_J, received * RECEIVE_J)


@pytest.mark.parametrize("crashes", ["a", "b"])
def test_a_transfer_that_is_cut_off_has_cost_what_had_passed(crashes: str) -> None:
    """A message of 4096 B is through after 1 s; of the next, 2048 of 8192 B are when one end crashes."""

    async def sender(ctx: Context) -> None:
        await ctx.send("b", large("b", "a", 4096))
        await ctx.send("b", large("b", "a", 8192))
        await ctx.send("b", large("b", "a", 9999))
        await ctx.sleep(60.0)

    async def life(ctx: Context) -> None:
        await ctx.sleep(30.0)

    outcome = run(
        study(
            life,
            place("a", living(sender), SLOW, PORTABLE),
            keeper("b", FAST, profile=PORTABLE),
            faults=(Fault("crash", crashes, 1.5),),
        )
    )
    assert outcome.undelivered() == [("a", "b", "Large", "device")] * 2
    assert [row.size_bytes for row in arrivals(outcome)] == [4096]
    assert joules(outcome, "a")["radio_send"] == (4096 + 2048) * SEND_J
    assert joules(outcome, "b")["radio_receive"] == (4096 + 2048) * RECEIVE_J


# Everything at once.

sendings = st.lists(
    st.tuples(
        st.floats(0.0, 20.0),
        st.sampled_from(["a", "b", "c"]),
        st.sampled_from(["a", "b", "c"]),
        st.booleans(),
        st.integers(100, 20_000),
    ),
    max_size=25,
)
disturbances = st.lists(
    st.builds(
        Fault,
        st.sampled_from(["link_down", "link_down", "crash"]),
        st.sampled_from(["a", "b", "c"]),
        st.floats(0.0, 25.0),
        st.floats(0.1, 15.0),
    ),
    max_size=4,
)
LINKS = {
    "a": SLOW,
    "b": dataclasses.replace(SLOW, latency_s=0.01, up_bytes_per_s=5000.0, down_bytes_per_s=3000.0, loss=0.1),
    "c": dataclasses.replace(FAST, latency_s=0.02),
}


@settings(max_examples=60, deadline=None)
@given(sendings, disturbances)
def test_no_message_is_lost_doubled_or_too_fast_whatever_happens(
    plan: list[tuple[float, str, str, bool, int]], faults: list[Fault]
) -> None:
    """Random traffic among three nodes whose links and devices fail: every message has one fate."""
    numbers = itertools.count()

    async def talk(ctx: Context, message: Message) -> None:
        if isinstance(message, Large):
            await ctx.compute(Chore(0.5))
        async with ctx.group() as group:
            for at, sender, receiver, bulk, size in plan:
                if sender == ctx.name and ctx.now == 0.0:
                    group.spawn(say(ctx, at, receiver, bulk, size))

    async def say(ctx: Context, at: float, receiver: str, bulk: bool, size: int) -> None:
        await ctx.sleep(at)
        number = next(numbers)
        await ctx.send(receiver, large(receiver, ctx.name, size, n=number) if bulk else Small(n=number))

    async def life(ctx: Context) -> None:
        # The slowest link needs 185 s for all that can be sent; the longest faults are over in 85 s.
        await ctx.sleep(400.0)

    placements = (
        place(name, handling(talk, Start, Small, Large, concurrent=True), link, PLUGGED if name == "b" else PORTABLE)
        for name, link in LINKS.items()
    )
    outcome = run(study(life, *placements, faults=tuple(faults), peer_timeout_s=1000.0))
    sent = next(numbers)
    rows, lost = arrivals(outcome), outcome.undelivered()
    assert len(rows) + len(lost) == sent
    if not any(fault.kind == "crash" for fault in faults):
        assert (lost, sent) == ([], len(plan))
    assert {reason for *_, reason in lost} <= {"device"}
    last: dict[tuple[str, str, str], float] = {}
    for row in rows:
        sender, receiver = LINKS[row.sender], LINKS[row.receiver]
        rate = min(sender.up_bytes_per_s * (1 - sender.loss), receiver.down_bytes_per_s * (1 - receiver.loss))
        took_s = row.delivered_s - row.sent_s
        assert took_s >= (row.size_bytes / rate + sender.latency_s + receiver.latency_s) * (1 - 1e-12)
        # In order for each pair and stream: who was sent first has arrived first.
        pair = (row.sender, row.receiver, row.type)
        assert row.sent_s >= last.get(pair, 0.0)
        last[pair] = row.sent_s
    for name in LINKS:
        spent = joules(outcome, name)
        own = sum(row.size_bytes for row in rows if row.sender == name)
        others = sum(row.size_bytes for row in rows if row.receiver == name)
        if not lost:
            assert spent["radio_send"] == pytest.approx(own * SEND_J, rel=1e-12)
            assert spent["radio_receive"] == pytest.approx(others * RECEIVE_J, rel=1e-12)
        else:
            assert spent["radio_send"] >= own * SEND_J * (1 - 1e-12)
            assert spent["radio_receive"] >= others * RECEIVE_J * (1 - 1e-12)
        draws = spent["idle"] + spent["processor"] + spent["radio_send"] + spent["radio_receive"]
        assert draws == pytest.approx(spent["battery"] + spent["mains"], rel=1e-9)
    # Nobody gets a byte that nobody sent.
    total = {side: sum(joules(outcome, name)[side] for name in LINKS) for side in ("radio_send", "radio_receive")}
    assert total["radio_receive"] / RECEIVE_J <= total["radio_send"] / SEND_J * (1 + 1e-12) + len(lost)


def test_time_outs_do_not_depend_on_how_much_bulk_is_under_way() -> None:
    async def life(ctx: Context) -> None:
        await ctx.send("a", large("a", "main", 2**20))
        with pytest.raises(DeadlineExceeded):
            await ctx.request("a", large("a", "main", 1024), timeout=2.0)
        assert ctx.now == 2.0
        await ctx.request("a", Small(), timeout=1.0)
        assert ctx.now < 3.0

    outcome = run(study(place("main", living(life), SLOW), place("a", handling(answer, Small), FAST)))
    assert [row.type for row in arrivals(outcome)] == ["Small", "Answer"]


def test_the_radios_of_the_test_devices_are_exact() -> None:
    assert PLUGGED.radios == {"wifi": Radio(2.0**-10, 2.0**-11)}
