"""Devices with users in the simulator: resting or awake, alone or in a population, all comes out the same."""

from __future__ import annotations

import dataclasses
import sys
from collections import Counter
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from core.actor import Actor, Context, DeviceChanged, Message, Start
from core.availability import CHARGING, IN_USE, METERED, Habits, Process, Replay, Sessions, Table, Trace
from core.compute import Evaluator
from core.deployment import Deployment, Endurance, Placement, Population, Reflex
from core.devices import Device, DeviceProfile, link, profile
from core.records.rows import AvailabilityRow, DeviceRow, EnergyRow, ParticipationRow, PlacementRow, RoundRow
from core.roles import Attendance, Requirements
from core.roles.roster import Roster
from core.scenario import parse
from core.scenario.build import study
from core.scenario.fleet import Fleet
from sim.attendance import PAGE_S
from sim.node import Node
from sim.testing import SimulatedRun, run_sim
from sim.world import World


def scenario(**changes: Any) -> Any:
    """Ninety phones of two kinds over hours; short sessions, so that much happens."""
    sessions = {"kind": "sessions", "sessions_per_day": 40, "timezone": [-8, 7], "spread": 0.5}
    low = {
        "name": "low",
        "count": 60,
        "device": "phone_low",
        "link": "wifi_home",
        "battery": "typical",
        "speed_spread": 0.5,
        "network_spread": 0.4,
        "availability": sessions,
        "correlation": {"speed_availability": 0.3, "data_network": 0.5},
    }
    high = {**low, "name": "high", "count": 30, "device": "phone_high", "correlation": {}}
    return parse(
        {
            "seed": 3,
            "data": {"partition": "sampled", "examples": 40},
            "training": {
                "rounds": 20,
                "min_participants": 3,
                "max_participants": 8,
                "over_selection": 1.5,
                "deadline": "5 min",
                "pause": "10 min",
                "local_epochs": 60,
                "batch_size": 10,
                "requirements": {"charging": True, "unmetered": True},
            },
            "evaluator": None,
            "devices": [low, high],
            **changes,
        }
    )


def simulate(wanted: Any, *, populations: bool, max_live: int = 10_000) -> tuple[SimulatedRun, World]:
    """Run without numerics: nobody looks at a model."""
    deployment = study(wanted, largest_group=1 if populations else 10_000).deployment
    records = SimulatedRun()
    world = World(dataclasses.replace(deployment, max_live=max_live), records, Evaluator(max_pending=1 << 30))
    world.run()
    return records, world


def energies(run: SimulatedRun) -> dict[tuple[str, str], float]:
    return {(actor, row.component): row.joules for _, actor, row in run.rows if isinstance(row, EnergyRow)}


@pytest.fixture(scope="module")
def awake() -> SimulatedRun:
    """Every device a placement of its own, all awake all the time."""
    return simulate(scenario(), populations=False)[0]


def test_rest_changes_nothing(awake: SimulatedRun) -> None:
    """Messages to the bit: devices awake all the time, awake since they were met, or at rest whenever they can."""
    for max_live in (10_000, 2):
        resting, _ = simulate(scenario(), populations=True, max_live=max_live)
        assert resting.messages == awake.messages
        found, expected = energies(resting), energies(awake)
        assert len(found) > 500
        assert found == {key: expected[key] for key in found}
    kinds = Counter(message.type for message in awake.messages)
    assert kinds["CheckIn"] > 300
    assert kinds["CheckOut"] > 300
    assert kinds["TrainResult"] > 100
    assert any(row.detail.startswith("interrupted: ") for row in awake.of(ParticipationRow))


def test_many_check_ins_at_once_are_taken_as_one_after_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """All records to the bit, also where the coordinator's device counts its energy in between."""
    monkeypatch.setattr(DeviceProfile, "parcel_bytes", lambda self, joules: 500.0)
    wanted = scenario(
        training={**_short(), "rounds": 6},
        coordinator={"device": "gateway", "link": "datacentre", "region": "north_america"},
    )
    told: list[int] = []
    settled: list[float] = []
    taken = Roster.come_and_go

    def counted(self: Roster, numbers: Any, there: Any, examples: Any) -> Any:
        told.append(len(numbers))
        return taken(self, numbers, there, examples)

    monkeypatch.setattr(Roster, "come_and_go", counted)
    monkeypatch.setattr("sim.attendance._MANY", 1 << 30)
    single, _ = simulate(wanted, populations=True, max_live=2)
    assert not told
    monkeypatch.setattr("sim.attendance._MANY", 1)
    settle = Node.settle

    def noted(self: Node) -> None:
        if self.name == "coordinator" and sys._getframe(1).f_code.co_name == "deliver_all":
            settled.append(self.env._now)
        settle(self)

    monkeypatch.setattr(Node, "settle", noted)
    many, _ = simulate(wanted, populations=True, max_live=2)
    assert sum(told) > 150
    assert max(told) > 10
    assert len(settled) > 10
    assert many.messages == single.messages
    # Payloads that nobody has looked at are told apart by what they are, not by which run made them.
    assert list(map(repr, many.rows)) == list(map(repr, single.rows))


class OnTheHour(Process):
    """Users who do everything at the moments at which pages begin."""

    def __init__(self, count: int) -> None:
        self.count = count

    def first(self, index: int) -> tuple[float, int, int]:
        return -PAGE_S * (1 + index % 3), CHARGING if index % 2 else IN_USE, 0

    def next(self, index: int, at_s: float, state: int, counter: int) -> tuple[float, int, int]:
        return (at_s + 3 * PAGE_S, IN_USE, 0) if state == CHARGING else (at_s + PAGE_S, CHARGING, 0)

    def firsts(self, indices: Any) -> Any:
        at_s = -PAGE_S * (1 + indices % 3)
        return at_s, np.where(indices % 2, CHARGING, IN_USE).astype(np.uint8), np.zeros(len(indices), np.uint32)

    def nexts(self, indices: Any, at_s: Any, states: Any, counters: Any) -> Any:
        docked = states == CHARGING
        after = np.where(docked, IN_USE, CHARGING).astype(np.uint8)
        return at_s + np.where(docked, 3 * PAGE_S, PAGE_S), after, counters


def test_rest_changes_nothing_where_users_move_as_pages_begin(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who is awake says so itself: put to rest a moment before, neither it nor its reflex would."""
    monkeypatch.setattr(Fleet, "process", property(lambda self: OnTheHour(self.group.count)))
    wanted = scenario(training={**_short(), "rounds": 2}, devices=[scenario().resolved()["devices"][1]])
    awake, _ = simulate(wanted, populations=False)
    resting, _ = simulate(wanted, populations=True)
    assert resting.messages == awake.messages
    assert any(message.type == "CheckOut" for message in awake.messages)


def test_a_receiver_that_takes_none_at_once_is_asked_seldom(monkeypatch: pytest.MonkeyPatch) -> None:
    """What it is asked in all grows with the number of check-ins, not with the square of that."""
    asked: list[int] = []
    whole = Node.deliver_all

    def counted(self: Node, news: Any, *columns: Any) -> int:
        asked.append(len(news.senders))
        return whole(self, news, *columns)

    monkeypatch.setattr(Node, "deliver_all", counted)
    training = {**_short(), "algorithm": "fedbuff", "over_selection": 1.0, "pause": 0.0, "requirements": {}}
    low, high = scenario().resolved()["devices"]
    wanted = scenario(training=training, devices=[{**low, "count": 3000}, high])
    world = World(study(wanted, largest_group=1).deployment, records := SimulatedRun(), Evaluator(max_pending=1 << 30))
    world.populate()
    world.env.run(until=1.0)
    assert sum(asked) < 8 * sum(message.type == "CheckIn" for message in records.messages)
    assert max(asked) > 1000


def test_rest_changes_nothing_on_a_strict_wire(awake: SimulatedRun) -> None:
    """The sizes that check-ins of resting devices are charged are those of their frames."""
    strict, _ = simulate(scenario(numerics={"strict_wire": True}, training=_short()), populations=True, max_live=2)
    plain, _ = simulate(scenario(training=_short()), populations=False)
    assert strict.messages == plain.messages
    assert awake.messages[:50] == plain.messages[:50]


def _short() -> dict[str, Any]:
    return {**scenario().resolved()["training"], "rounds": 3}


def test_asynchronous_training_asks_those_who_check_in() -> None:
    """Whoever comes while there are places is asked at once, and rest changes nothing here either."""
    training = {**_short(), "algorithm": "fedbuff", "over_selection": 1.0, "pause": 0.0, "rounds": 20}
    awake, _ = simulate(scenario(training=training), populations=False)
    resting, _ = simulate(scenario(training=training), populations=True, max_live=2)
    assert resting.messages == awake.messages
    assert [row.outcome for row in awake.of(RoundRow)] == ["aggregated"] * 20
    asked = {row.client for row in awake.of(ParticipationRow) if row.event == "selected"}
    checked_in = {message.sender for message in awake.messages if message.type == "CheckIn"}
    assert asked <= checked_in


def test_the_pool_holds_those_who_have_checked_in_and_not_out(awake: SimulatedRun) -> None:
    rounds = awake.of(RoundRow)
    assert len(rounds) == 20
    for row in rounds:
        present: set[str] = set()
        for message in awake.messages:
            if message.delivered_s > row.started_s:
                break
            if message.type == "CheckIn":
                present.add(message.sender)
            elif message.type == "CheckOut":
                present.discard(message.sender)
        assert row.available == len(present)


def test_devices_that_are_asked_are_at_rest_on_their_charger(awake: SimulatedRun) -> None:
    """Where they are when the round is closed is another matter; an interrupted one says who interrupted it."""
    built = study(scenario())
    processes = {p.name: p.course for p in built.deployment.placements if p.course is not None}
    late = 0
    for time_s, _, row in awake.rows:
        if not isinstance(row, ParticipationRow) or row.event != "selected":
            continue
        make = processes[row.client]
        assert make is not None
        course = make()
        while course.next_s <= time_s:
            course.step()
        late += course.state != CHARGING
    # Only who has left within the way of a message may be asked in vain.
    assert late <= 2


def test_availability_is_counted_as_the_table_has_it() -> None:
    resting, world = simulate(scenario(training=_short()), populations=True)
    deployment = study(scenario(training=_short()), largest_group=1).deployment
    total = 0
    for population in deployment.populations:
        assert population.process is not None
        table = Table(population.process)
        rows = [(time_s, row) for time_s, actor, row in resting.rows if actor == population.name]
        assert [time_s for time_s, _ in rows] == [900.0 * step for step in range(1, len(rows) + 1)]
        transitions = 0
        for time_s, row in rows:
            assert isinstance(row, AvailabilityRow)
            transitions += len(table.until(time_s).time_s)
            counts = table.counts()
            assert row.transitions == transitions
            assert row.eligible == counts[CHARGING]
            assert row.in_use == sum(counts[state] for state in range(8) if state & IN_USE)
            assert row.charging == sum(counts[state] for state in range(8) if state & CHARGING)
            assert row.metered == sum(counts[state] for state in range(8) if state & METERED)
            assert row.devices == population.count
        total += transitions + len(table.until(np.nextafter(world.env.now, np.inf)).time_s)
    assert world.attendance.transitions == total


# By hand.

DAYS = Trace("user", 1000.0, (0.0, 100.0, 300.0, 600.0), (CHARGING, IN_USE, METERED, 0))


class Watcher(Actor):
    """Writes down what it is told of its device, and what it sees of it."""

    accepts: ClassVar[tuple[type[Message], ...]] = (Start, DeviceChanged)

    def __init__(self, seen: list[tuple[float, int, int, bool, bool, bool]]) -> None:
        self.seen = seen

    async def handle(self, ctx: Context, message: Message) -> None:
        if isinstance(message, DeviceChanged):
            device = ctx.device
            self.seen.append((ctx.now, message.before, message.after, device.in_use, device.charging, device.metered))


class Clock(Actor):
    accepts: ClassVar[tuple[type[Message], ...]] = ()

    async def run(self, ctx: Context) -> None:
        await ctx.sleep(1000.0)


def test_an_actor_is_told_of_its_user() -> None:
    seen: list[tuple[float, int, int, bool, bool, bool]] = []
    process = Replay((DAYS,), 1, 1, "phone")
    late = -float(process._shift_s[0])
    placements = (
        Placement("main", Clock, profile("server"), link("datacentre")),
        Placement(
            "phone-0",
            lambda: Watcher(seen),
            profile("phone_mid"),
            link("wifi_home"),
            battery_level=0.5,
            course=lambda: process.course(0),
        ),
    )
    run = run_sim(Deployment(placements=placements, main="main", messages=()))
    times = [late, 100.0 + late, 300.0 + late, 600.0 + late]
    events = [row.event for row in run.of(DeviceRow)]
    # Before its first event the trace is in its last state.
    assert seen == [
        (times[0], 0, CHARGING, False, True, False),
        (times[1], CHARGING, IN_USE, True, False, False),
        (times[2], IN_USE, METERED, False, False, True),
        (times[3], METERED, 0, False, False, False),
    ]
    assert [event for event in events if event not in ("start", "end")] == [
        "charging",
        "in_use",
        "on_battery",
        "left_alone",
        "metered",
        "unmetered",
    ]
    joules = {
        row.component: row.joules for _, actor, row in run.rows if isinstance(row, EnergyRow) and actor == "phone-0"
    }
    battery = profile("phone_mid").battery
    assert battery is not None
    assert joules["stored"] == pytest.approx(100.0 * battery.spare_w(profile("phone_mid").idle_w))
    # In use from 100 s to 300 s, of 900 s off the charger.
    assert joules["screen"] == pytest.approx(profile("phone_mid").screen_w * 200.0)
    assert joules["battery"] == pytest.approx(profile("phone_mid").idle_w * 900.0 + joules["screen"])


class Never(Process):
    """Nobody ever does anything; the devices are left unplugged."""

    def __init__(self, count: int) -> None:
        self.count = count

    def first(self, index: int) -> tuple[float, int, int]:
        return 0.0, 0, 0

    def next(self, index: int, at_s: float, state: int, counter: int) -> tuple[float, int, int]:
        return np.inf, 0, 0

    def firsts(self, indices: Any) -> Any:
        return np.zeros(len(indices)), np.zeros(len(indices), np.uint8), np.zeros(len(indices), np.uint32)

    def nexts(self, indices: Any, at_s: Any, states: Any, counters: Any) -> Any:
        return np.full(len(indices), np.inf), states, counters


def test_a_resting_phone_that_nobody_charges_runs_out_in_time() -> None:
    """Nobody has met it, and still its battery is empty when its energy is used up."""
    kind = profile("phone_mid")
    wanted = scenario()
    group = wanted.devices[0].model_copy(update={"battery": (0.06, 0.06), "speed_spread": 0.0, "network_spread": 0.0})
    fleet = study(wanted.model_copy(update={"devices": (group,)}), largest_group=1).deployment.populations[0]
    assert fleet.endurance is not None
    low = profile("phone_low")
    assert low.battery is not None
    # Its energy at no load is a bound; resistance and the cut-off in the last per cents take some of it.
    expected = low.battery.energy_at(0.06) / low.used_w
    assert expected * 0.5 < fleet.endurance.in_use_s[0] <= expected
    assert fleet.endurance.idle_share == low.idle_w / low.used_w

    def place(index: int) -> Placement:
        process = Never(3)
        return Placement(
            f"phone-{index}",
            lambda: Watcher([]),
            dataclasses.replace(kind, idle_w=1.5 * (index + 1), max_w=20.0),
            link("wifi_home"),
            battery_level=0.5,
            course=lambda: process.course(index),
        )

    runs_out, least_s = [], []
    for index in range(3):
        device = Device(place(index).profile, link_kind="wifi", battery_level=0.5)
        least_s.append(device.empty_s(0.0))
        while device.on:
            device.on_timer(device.next_timer())
        runs_out.append(device.settled_s)
        assert least_s[index] < runs_out[index]
    endurance = Endurance(np.array(least_s), 4.5 / (4.5 + kind.screen_w))
    silent = Reflex("main", lambda before, after: 0, lambda index, answer: Start())

    class Day(Clock):
        async def run(self, ctx: Context) -> None:
            await ctx.sleep(86_400.0)

    run = run_sim(
        Deployment(
            placements=(Placement("main", Day, profile("server"), link("datacentre")),),
            populations=(
                Population(
                    "phone",
                    3,
                    place,
                    ("local",),
                    lambda index: np.inf,
                    process=Never(3),
                    reflex=silent,
                    endurance=endurance,
                ),
            ),
            main="main",
            messages=(),
        )
    )
    empty = [
        (time_s, actor)
        for time_s, actor, row in run.rows
        if isinstance(row, DeviceRow) and row.event == "battery_empty"
    ]
    assert empty == [(pytest.approx(runs_out[index]), f"phone-{index}") for index in (2, 1, 0)]


def nearly_empty(seed: int, **changes: Any) -> Any:
    """A few phones that hardly have any charge when the study begins, some of them on their chargers."""
    low, high = scenario().resolved()["devices"]
    groups = [{**low, "count": 24, **changes}, {**high, "count": 16, "battery": [0.004, 0.007]}]
    training = {**_short(), "rounds": 1, "requirements": {}, "enrol_timeout": "1 h"}
    return scenario(seed=seed, training=training, devices=groups)


@pytest.mark.parametrize(
    ("seed", "charge", "max_live"),
    [
        (1, [0.0, 0.0], 10_000),
        (1, [0.0, 0.005], 2),
        (2, [0.0, 0.005], 10_000),
        (3, [0.0, 0.005], 2),
        (1, [0.0, 0.3], 2),
        (2, [0.006, 0.02], 2),
    ],
)
def test_phones_that_are_empty_at_the_start_say_nothing(seed: int, charge: list[float], max_live: int) -> None:
    """At rest as awake: those off at the start send nothing then, those on their chargers or with a little do."""
    wanted = nearly_empty(seed, battery=charge)
    awake, _ = simulate(wanted, populations=False)
    dead = {name for name, at_s in off_s(awake).items() if at_s == 0.0}
    first = {message.sender for message in awake.messages if message.sent_s == 0.0}
    assert first
    assert not dead & first
    assert any(name.startswith("low") for name in dead) is (charge[0] < 0.004)
    resting, _ = simulate(wanted, populations=True, max_live=max_live)
    assert resting.messages == awake.messages
    assert off_s(resting) == off_s(awake)
    found, expected = energies(resting), energies(awake)
    assert found == {key: expected[key] for key in found}


def test_phones_on_their_chargers_at_the_start_are_not_found_empty() -> None:
    wanted = nearly_empty(1, battery=[0.0, 0.0], count=40)
    courses = {p.name: p.course() for p in study(wanted).deployment.placements if p.course is not None}
    charging = {name for name, course in courses.items() if course.state & CHARGING and name.startswith("low")}
    run, _ = simulate(wanted, populations=False)
    at_once = {name for name, at_s in off_s(run).items() if at_s == 0.0 and name.startswith("low")}
    assert charging
    assert at_once == {name for name in courses if name.startswith("low")} - charging
    assert charging <= {message.sender for message in run.messages if message.sent_s == 0.0}


def test_a_phone_that_its_first_check_in_empties_has_sent_it() -> None:
    """Below a level of 0.005 it is off; above, up to 0.3 J are left to a radio that takes more to wake up."""
    wanted = nearly_empty(1, battery=[0.005, 0.005005], link="lte_good")
    awake, _ = simulate(wanted, populations=False)
    emptied = {name for name, at_s in off_s(awake).items() if at_s == 0.0}
    assert emptied & {message.sender for message in awake.messages if message.sent_s == 0.0}
    resting, _ = simulate(wanted, populations=True, max_live=2)
    assert resting.messages == awake.messages
    assert off_s(resting) == off_s(awake)


def test_empty_phones_without_users_join_nobody() -> None:
    """A group that is there all the time is a population too, of actors that get their starts."""
    wanted = nearly_empty(1, battery=[0.0, 0.02], availability={"kind": "always"}, correlation={})
    runs = [simulate(wanted, populations=populations)[0] for populations in (False, True)]
    for run in runs:
        dead = {name for name, at_s in off_s(run).items() if at_s == 0.0 and name.startswith("low")}
        joined = {message.sender for message in run.messages if message.sender.startswith("low")}
        assert dead
        assert joined == {f"low-{index}" for index in range(24)} - dead
    assert runs[1].messages == runs[0].messages


def small(**changes: Any) -> Any:
    """A dozen phones that are asked for nothing but to be left alone by their users, for four rounds."""
    low, high = scenario().resolved()["devices"]
    training = {**_short(), "rounds": 4, "pause": "5 min", "requirements": {}}
    groups = [{**low, "count": 8}, {**high, "count": 4, "network_spread": 0.0}]
    return scenario(**{"training": training, "devices": groups, **changes})


def assert_rest_changes_nothing(wanted: Any, max_live: int = 2) -> SimulatedRun:
    """At rest as awake, to the bit; gives the run of those awake."""
    awake, _ = simulate(wanted, populations=False)
    resting, _ = simulate(wanted, populations=True, max_live=max_live)
    assert resting.messages == awake.messages
    assert off_s(resting) == off_s(awake)
    found, expected = energies(resting), energies(awake)
    assert found == {key: expected[key] for key in found}
    return awake


@pytest.mark.parametrize("max_live", [10_000, 2])
@pytest.mark.parametrize("target", ["low", "coordinator"])
def test_who_misses_the_coordinator_joins_it_again(target: str, max_live: int) -> None:
    """Their links are down, or its is, for longer than the time-out: those at rest hear of it, and check in anew."""
    cut = {"kind": "link_down", "target": target, "at": "6 min", "duration": "2 min"}
    run = assert_rest_changes_nothing(small(faults=[cut]), max_live)
    # Ten seconds after the time-out; what is sent while the own link is down leaves when it is up.
    again_s = {message.sent_s for message in run.messages if message.type == "CheckIn"}
    assert (400.0 if target == "coordinator" else 480.0) in again_s


def test_who_joins_the_coordinator_again_misses_it_again() -> None:
    """Twice, and in between a member alone: each watches anew what it has missed."""
    cuts = [
        {"kind": "link_down", "target": "coordinator", "at": "6 min", "duration": "2 min"},
        {"kind": "link_down", "target": "low-3", "at": "10 min", "duration": "1 min"},
        {"kind": "link_down", "target": "coordinator", "at": "12 min", "duration": "1 min"},
    ]
    run = assert_rest_changes_nothing(small(faults=cuts))
    assert {400.0, 760.0} <= {message.sent_s for message in run.messages if message.type == "CheckIn"}


@pytest.mark.parametrize(
    "fault",
    [
        {"kind": "crash", "target": "low", "duration": "1 min"},
        {"kind": "link_down", "target": "low", "duration": "1 min"},
        {"kind": "battery_pulled", "target": "high", "duration": "1 min"},
        {"kind": "lost", "target": "low", "probability": 0.5},
        {"kind": "duplicated", "target": "high", "probability": 1.0},
        {"kind": "partition", "sets": [["low"]], "duration": "1 min"},
    ],
    ids=lambda fault: fault["kind"],
)
def test_a_fault_from_the_beginning_on_comes_before_the_first_check_in(fault: dict[str, Any]) -> None:
    run = assert_rest_changes_nothing(small(faults=[{**fault, "at": 0.0}]))
    at_once = [message for message in run.messages if message.sent_s == 0.0 and message.type == "CheckIn"]
    spared = "low" if fault.get("target") == "high" else "high"
    assert spared in {message.sender.split("-")[0] for message in at_once}


@pytest.mark.parametrize(("ambient", "resting"), [(30.0, {"low", "high"}), (45.0, {"low"}), (56.0, set())])
def test_a_group_that_may_overheat_at_rest_is_awake(ambient: float, resting: set[str]) -> None:
    """Only users warm these; at 45 °C phones that charge fast turn off on their chargers, at 56 °C all at once."""
    low, high = scenario().resolved()["devices"]
    hot = {"ambient": ambient, "battery": [0.0, 0.6]}
    training = {**_short(), "rounds": 4, "pause": "1 h", "requirements": {}, "enrol_timeout": "2 h"}
    wanted = scenario(training=training, devices=[{**low, "count": 15, **hot}, {**high, "count": 15, **hot}])
    assert {population.name for population in study(wanted, largest_group=1).deployment.populations} == resting
    run = assert_rest_changes_nothing(wanted, 10_000)
    assert bool(run.messages) is (ambient < 56.0)
    hottest = any(isinstance(row, DeviceRow) and row.event == "overheated" for _, _, row in run.rows)
    assert hottest is (ambient > 30.0)


def test_of_a_wide_range_only_the_empty_are_awake() -> None:
    """Each battery is known where the range begins near empty, so that its end does not wake the whole group."""
    low, high = scenario().resolved()["devices"]
    wanted = small(devices=[{**low, "count": 40, "battery": [0.0, 0.2]}, {**high, "count": 4}])
    placed = {p.name: p.battery_level for p in study(wanted).deployment.placements}
    run, _ = simulate(wanted, populations=True)
    first = {actor for time_s, actor, row in run.rows if isinstance(row, PlacementRow) and time_s == 0.0}
    woken = {name for name in first if name.startswith("low")}
    assert 0 < len(woken) < 8
    assert max(placed[name] or 0.0 for name in woken) < 0.02
    assert_rest_changes_nothing(wanted)


#: Use of hours on one charge; between, the phone is free.
HEAVY = """client,time_s,state
user,0,idle
user,2400,in_use
user,14400,idle
user,20000,in_use
user,20600,idle
user,86400,end
"""


def test_a_resting_phone_that_its_user_empties_says_no_more(tmp_path: Path) -> None:
    """Hours of screen on a tenth of the charge: off when it is put down, it checks in no more, at rest or awake."""
    trace = tmp_path / "heavy.csv"
    trace.write_text(HEAVY)
    low, high = scenario().resolved()["devices"]
    heavy = {**low, "count": 8, "battery": [0.1, 0.1], "availability": {"kind": "trace", "trace": str(trace)}}
    training = {**_short(), "rounds": 16, "pause": "30 min", "requirements": {}, "enrol_timeout": "1 h"}
    wanted = scenario(training=training, devices=[{**heavy, "correlation": {}}, high])
    awake, _ = simulate(wanted, populations=False)
    last_s = {message.sender: message.sent_s for message in awake.messages if message.sender.startswith("low-")}
    assert awake.messages[-1].delivered_s > 21_000.0
    assert len(last_s) == 8
    assert max(last_s.values()) < 14_000.0
    for max_live in (10_000, 2):
        resting, _ = simulate(wanted, populations=True, max_live=max_live)
        assert resting.messages == awake.messages
        assert off_s(resting) == off_s(awake)


def off_s(run: SimulatedRun) -> dict[str, float]:
    return {
        actor: time_s for time_s, actor, row in run.rows if isinstance(row, DeviceRow) and row.event == "battery_empty"
    }


@pytest.mark.parametrize(
    ("state", "reason"),
    [(CHARGING, None), (CHARGING | IN_USE, "user"), (0, "charging"), (CHARGING | METERED, "network"), (7, "user")],
)
def test_what_keeps_a_worker_away(state: int, reason: str | None) -> None:
    attendance = Attendance(Requirements(charging=True, unmetered=True))
    assert attendance.unmet(state) == reason
    assert Attendance(Requirements()).unmet(state) == ("user" if state & IN_USE else None)
    assert Attendance(Requirements(charging=True), CHARGING).unmet(state & ~CHARGING) == (
        "user" if state & IN_USE else None
    )


def test_check_ins_and_check_outs_alternate() -> None:
    attendance = Attendance(Requirements(charging=True))
    process = Sessions(Habits(), 50, 1, "phone")
    for index in range(50):
        course = process.course(index)
        present = False
        before: int | None = None
        for _ in range(200):
            answer = attendance.answer(before, course.state)
            assert answer == {(False, True): 1, (True, False): 2}.get(
                (present, attendance.unmet(course.state) is None), 0
            )
            present = attendance.unmet(course.state) is None
            before = course.state
            course.step()
