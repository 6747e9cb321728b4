"""Nodes that share a host: jobs and messages take its cores, in order, and nothing is lost when one of them ends."""

from __future__ import annotations

from typing import Any

import pytest

from core.actor import Context, Message, PeerGone, Start
from core.deployment import Fault, MessageFault, Placement, Slowdown
from core.devices import Host
from core.network import Network
from core.records.rows import EnergyRow, JobRow
from core.wire import frame_size
from tests.sim.studies import (
    FAST,
    PLUGGED,
    PORTABLE,
    SLOW,
    Answer,
    Chore,
    Outcome,
    Small,
    answer,
    handling,
    large,
    living,
    place,
    run,
    study,
)

BOX = Host("box", 1.0)


def working(seconds: float, times: int = 1) -> Any:
    async def work(ctx: Context, message: Message) -> None:
        for _ in range(times):
            await ctx.compute(Chore(seconds))

    return handling(work, Start)


async def wait(ctx: Context) -> None:
    await ctx.sleep(1000.0)


def jobs(outcome: Outcome) -> list[tuple[str, float, float]]:
    """(actor, end, seconds) of the jobs."""
    return [(name, at, row.seconds) for at, name, row in outcome.records.rows if isinstance(row, JobRow)]


def energy_j(outcome: Outcome, component: str) -> dict[str, float]:
    return {
        name: row.joules
        for _, name, row in outcome.records.rows
        if isinstance(row, EnergyRow) and row.component == component
    }


def test_jobs_share_the_cores_of_their_host_only() -> None:
    """One core: 1 and 3 s at once end after 2 and 4 s; a device on cores of its own takes its own time."""
    outcome = run(
        study(
            wait,
            place("a", working(1.0), host="box"),
            place("b", working(3.0), host="box"),
            place("c", working(3.0)),
            place("d", working(3.0), host="other"),
            hosts=(BOX, Host("other", 1.0)),
        )
    )
    assert jobs(outcome) == [("a", 2.0, 2.0), ("c", 3.0, 3.0), ("d", 3.0, 3.0), ("b", 4.0, 4.0)]
    # 2 W above idle for the seconds in which they had the core, 1 W idle.
    assert energy_j(outcome, "processor") == {"main": 0.0, "a": 2.0, "b": 6.0, "c": 6.0, "d": 6.0}
    assert energy_j(outcome, "mains")["b"] == 1006.0
    assert energy_j(outcome, "messages") == {"a": 0.0, "b": 0.0, "d": 0.0}


def test_a_host_with_a_core_for_each_changes_nothing() -> None:
    """Records are those of devices without a host, but for the part of messages in the account of energy."""

    async def life(ctx: Context) -> None:
        await ctx.send("a", Small(n=1))
        await ctx.request("b", Small(n=2), timeout=10.0)
        await ctx.send("a", large("a", "main", 40_000))
        await ctx.sleep(30.0)

    def rows(host: str | None) -> list[Any]:
        outcome = run(
            study(
                place("main", living(life, Answer), SLOW, host=host),
                place("a", handling(answer, Small, Start), SLOW, host=host),
                place("b", handling(answer, Small), host=host),
                place("c", working(1.5, 3), host=host),
                hosts=(Host("box", 8.0),),
            )
        )
        kept = [row for row in outcome.records.rows if getattr(row[2], "component", "") != "messages"]
        return [*kept, *outcome.records.messages]

    assert rows(None) == rows("box")


@pytest.mark.parametrize("varying", [False, True], ids=["plain", "routed"])
def test_both_ends_of_a_message_take_the_core_one_after_the_other(varying: bool) -> None:
    """Three messages of 0.5 s at each end: the sender's leave at 0.5, 1.0, 1.5 s, and the receiver's core is free."""

    async def life(ctx: Context) -> None:
        for n in range(3):
            await ctx.send("sink", Small(n=n))
        await ctx.sleep(100.0)

    async def take(ctx: Context, message: Message) -> None:
        pass

    hosts = (Host("box", 1.0, message_s=0.5), Host("other", 1.0, message_s=0.5))
    outcome = run(
        study(
            place("main", living(life), host="box"),
            place("sink", handling(take, Small), host="other"),
            hosts=hosts,
            network=Network(varying=varying),
        )
    )
    assert [row.sent_s for row in outcome.records.messages] == [0.5, 1.0, 1.5]
    assert [row.delivered_s for row in outcome.records.messages] == pytest.approx([1.0, 1.5, 2.0], abs=1e-6)
    assert energy_j(outcome, "messages") == pytest.approx({"main": 3.0, "sink": 3.0})
    assert energy_j(outcome, "processor") == pytest.approx({"main": 3.0, "sink": 3.0})


def test_bytes_take_the_core_too_and_share_it_with_jobs() -> None:
    """A message of 1,000,000 bytes at 1 us a byte beside a job, on one core: both take 2 s."""
    sent = large("sink", "main", 1_000_000)
    assert frame_size("sink", sent) == pytest.approx(1e6, abs=20)

    async def life(ctx: Context) -> None:
        await ctx.send("sink", sent)
        await ctx.compute(Chore(1.0))
        await ctx.sleep(100.0)

    async def take(ctx: Context, message: Message) -> None:
        pass

    outcome = run(
        study(
            place("main", living(life), host="box"),
            place("sink", handling(take, type(sent))),
            hosts=(Host("box", 1.0, byte_s=1e-6),),
        )
    )
    (row,) = outcome.records.messages
    assert row.sent_s == pytest.approx(2.0)
    assert jobs(outcome) == [("main", pytest.approx(2.0), pytest.approx(2.0))]


def test_a_job_takes_what_the_host_adds() -> None:
    outcome = run(study(wait, place("a", working(1.0, 2), host="box"), hosts=(Host("box", 1.0, job_s=0.25),)))
    assert jobs(outcome) == [("a", 1.25, 1.25), ("a", 2.5, 1.25)]


def test_what_an_actor_sent_before_it_left_arrives_and_the_news_after_it() -> None:
    came: list[str] = []

    async def leave(ctx: Context) -> None:
        await ctx.send("main", Small(n=1))
        await ctx.send("main", Small(n=2))

    async def life(ctx: Context) -> None:
        ctx.watch("short")
        for _ in range(3):
            message = await ctx.receive(timeout=100.0)
            came.append(type(message).__name__)

    run(
        study(
            place("main", living(life, Small), SLOW),
            place("short", living(leave), SLOW, host="box"),
            hosts=(Host("box", 1.0, message_s=0.5),),
        )
    )
    assert came == ["Small", "Small", PeerGone.__name__]


def test_a_device_that_goes_off_loses_its_job_and_the_messages_that_it_has() -> None:
    """After the restart the cores are free of what was lost, and both its messages and its job are recorded."""

    async def life(ctx: Context) -> None:
        await ctx.sleep(1.0)
        for n in range(2):
            await ctx.send("phone", Small(n=n))
        await ctx.sleep(50.0)

    async def work(ctx: Context, message: Message) -> None:
        if isinstance(message, Start):
            await ctx.compute(Chore(8.0))

    outcome = run(
        study(
            life,
            place("phone", handling(work, Start, Small), host="box"),
            place("other", working(2.0), host="box"),
            hosts=(Host("box", 1.0, message_s=10.0),),
            faults=(Fault("crash", "phone", 2.0, 1.0),),
        )
    )
    assert outcome.undelivered() == [("main", "phone", "Small", "device")] * 2
    rows = [(at, name, row.outcome) for at, name, row in outcome.records.rows if isinstance(row, JobRow)]
    # One of two until 1 s, of three until 2 s: 5/6 s each; then alone until 3 s, and with the restarted one to 3 1/3.
    assert rows[0] == (2.0, "phone", "crash")
    assert rows[1] == (pytest.approx(3.0 + 1.0 / 3.0), "other", "done")
    account, part = energy_j(outcome, "processor"), energy_j(outcome, "messages")
    assert part["phone"] == pytest.approx(2.0 / 3.0), "what had been done of the message"
    joules = dict.fromkeys(account, 0.0)
    for _, name, row in outcome.records.rows:
        if isinstance(row, JobRow):
            joules[name] += row.joules
    assert account == pytest.approx({name: joules[name] + part.get(name, 0.0) for name in account})


def test_faults_of_messages_links_and_speed_hold_on_a_host_too() -> None:
    async def life(ctx: Context) -> None:
        for n in range(20):
            await ctx.send("phone", Small(n=n))
            await ctx.sleep(1.0)
        await ctx.sleep(50.0)

    async def take(ctx: Context, message: Message) -> None:
        if isinstance(message, Start):
            await ctx.compute(Chore(8.0))

    def made() -> Outcome:
        return run(
            study(
                place("main", living(life), host="box"),
                place("phone", handling(take, Small, Start), host="box"),
                hosts=(Host("box", 2.0, message_s=0.01),),
                faults=(
                    MessageFault(kind="duplicated", target="phone", at_s=0.0, probability=0.5),
                    Fault("link_down", "phone", 5.0, 3.0),
                    Slowdown(kind="slow", target="phone", at_s=4.0, speed=0.5),
                ),
            )
        )

    outcome = made()
    arrived = outcome.arrivals("Small")
    assert 22 < len(arrived) < 40
    assert not [at for at, *_ in arrived if 5.0 < at < 8.0]
    assert jobs(outcome) == [("phone", pytest.approx(12.0), pytest.approx(12.0))]
    again = made()
    assert again.records.messages == outcome.records.messages
    assert again.records.rows == outcome.records.rows


def test_what_is_no_message_of_the_deployment_is_the_senders_mistake_at_once() -> None:
    class Strange(Message, frozen=True, kw_only=True):
        pass

    async def life(ctx: Context) -> None:
        with pytest.raises(TypeError, match="Strange"):
            await ctx.send("a", Strange())

    run(
        study(
            place("main", living(life), host="box"),
            place("a", working(1.0), host="box"),
            hosts=(Host("box", 1.0, message_s=1.0),),
        )
    )


@pytest.mark.parametrize(
    ("placement", "says"),
    [
        (place("a", working(1.0), host="nowhere"), "on host 'nowhere'; there are"),
        (place("a", working(1.0), profile=PORTABLE, host="box"), "has a battery"),
    ],
)
def test_what_cannot_share_a_host_is_refused(placement: Placement, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        study(wait, placement, hosts=(BOX,))


def test_strict_wire_and_a_host_go_together() -> None:
    async def life(ctx: Context) -> None:
        assert isinstance(await ctx.request("a", Small(n=3), timeout=10.0), Answer)

    outcome = run(
        study(
            place("main", living(life), FAST, PLUGGED, host="box"),
            place("a", handling(answer, Small), host="box"),
            hosts=(Host("box", 1.0, message_s=0.25),),
            strict_wire=True,
        )
    )
    assert outcome.records.ended_s == pytest.approx(1.0, abs=1e-6)
