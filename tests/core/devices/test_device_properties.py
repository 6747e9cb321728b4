"""Properties of a device through any sequence of calls: energy is conserved, readings change nothing, time goes on."""

import copy
import math
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.devices import Device, DeviceOff, Effect, JobDone, JobLost, Work, profile
from core.devices.catalogue import made

DRAWS = ("idle", "processor", "accelerator", "screen", "radio_send", "radio_receive", "radio_tail")
Step = tuple[str, float, int]

steps = st.lists(
    st.tuples(
        st.sampled_from(
            [
                "submit",
                "submit",
                "radio",
                "radio",
                "settle",
                "plug",
                "unplug",
                "crash",
                "restart",
                "cancel",
                "wait",
                "screen",
            ]
        ),
        st.one_of(st.floats(0.0, 30.0), st.floats(0.0, 5000.0), st.just(0.0)),
        st.integers(0, 2_000_000_000),
    ),
    max_size=25,
)
starts = st.fixed_dictionaries(
    {
        "battery_level": st.one_of(st.sampled_from([0.0, 1.0]), st.floats(0.0, 0.2), st.floats(0.0, 1.0)),
        "charging": st.booleans(),
        "ambient_c": st.floats(-15.0, 52.0),
        "battery_loss": st.sampled_from([0.0, 0.0, 0.12, 0.35]),
        "up_bytes_per_s": st.sampled_from([1e5, 1e7]),
        "speed": st.floats(0.3, 3.0),
    }
)
names = st.sampled_from(
    ["phone_low", "phone_mid", "phone_high", "laptop", "gateway", "server", "gateway_gpu", "pi_zero"]
)
links = st.sampled_from(["wifi", "cellular"])


def link_kind(name: str, wanted: str) -> str:
    return wanted if wanted in profile(name).radios else "wifi"


def drive(
    device: Device, script: list[Step], *, look: Callable[[float], None] = lambda now: None
) -> tuple[list[tuple[float, Effect]], float]:
    """Call a device as the script says, its timers in between at their times; `look` is called all the time."""
    log: list[tuple[float, Effect]] = []
    now = 0.0

    def timers(until: float) -> None:
        for _ in range(2000):
            due = device.next_timer()
            if due > until:
                return
            assert due >= now
            look(due)
            log.extend((due, effect) for effect in device.on_timer(due))
        raise AssertionError("the device makes no progress")

    for number, (what, wait, amount) in enumerate(script):
        timers(now + wait)
        now += wait
        look(now)
        if what == "submit":
            work = Work(1e6 + amount, amount / 2, 1 + amount % 900)
            if device.on:
                device.submit(now, number, work)
            else:
                with pytest.raises(DeviceOff):
                    device.submit(now, number, work)
        elif what == "radio":
            if device.moved(now, sent=amount // 50, received=amount // 7):
                device.settle(now)
        elif what == "screen":
            device.set_screen(now, amount % 2 == 0)
        elif what == "settle":
            device.settle(now)
        elif what in ("plug", "unplug") and device.profile.battery is not None:
            device.set_charging(now, what == "plug")
        elif what == "crash":
            log.extend((now, effect) for effect in device.crash(now))
        elif what == "restart":
            log.extend((now, effect) for effect in device.restart(now))
        elif what == "cancel":
            log.extend((now, effect) for effect in device.cancel(now, amount % (number + 1)))
        look(now)
    timers(now + 1e4)
    return log, now + 1e4


@settings(max_examples=200, deadline=None)
@given(name=names, link=links, start=starts, script=steps)
def test_energy_is_conserved(name: str, link: str, start: dict[str, float], script: list[Step]) -> None:
    """Draws = battery + mains; held = held before + stored - battery - loss; the jobs' joules are the processor's."""
    device = Device(profile(name), link_kind=link_kind(name, link), **start)  # type: ignore[arg-type]
    battery = device.profile.battery
    before_j = device.stored_j

    def look(now: float) -> None:
        energy = device.energy_j(now)
        drawn = math.fsum(energy[name] for name in DRAWS)
        assert drawn == pytest.approx(energy["battery"] + energy["mains"], rel=1e-9, abs=1e-9)
        assert all(joules >= 0.0 for joules in energy.values())
        level = device.reading(now).battery_level
        if battery is None:
            assert level is None
            assert energy["battery"] == energy["stored"] == 0.0
        else:
            held_j = before_j + energy["stored"] - energy["battery"] - energy["battery_loss"]
            assert level == pytest.approx(battery.level_at(held_j / device.capacity), abs=1e-8)
            efficiency = battery.charge_efficiency
            assert energy["stored"] == pytest.approx(efficiency * (energy["stored"] + energy["charger_loss"]))

    log, end = drive(device, script, look=look)
    look(end)
    jobs_j = [effect.joules for _, effect in log if isinstance(effect, JobDone | JobLost)]
    if device.reading(end).load == 0.0:
        assert math.fsum(jobs_j) == pytest.approx(device.energy_j(end)[device.profile.engine], rel=1e-9, abs=1e-9)


@settings(max_examples=200, deadline=None)
@given(
    name=st.sampled_from(["phone_low", "phone_high", "tablet", "laptop"]),
    charge_w=st.sampled_from([0.04, 0.5, 2.0, 5.0, 20.0]),
    start=starts,
    script=steps,
)
def test_a_charger_never_gives_more_than_its_power(
    name: str, charge_w: float, start: dict[str, float], script: list[Step]
) -> None:
    """Load and battery together take `charge_w` at most, the battery gives the rest, and energy is conserved.

    Bytes are counted when they have moved, so that of a full battery's the moment may be late, but not the amount.
    """
    device = Device(made(name, {"battery.charge_w": charge_w}), link_kind="wifi", **start)  # type: ignore[arg-type]
    before_j = device.stored_j
    last = (0.0, 0.0, 0.0, device.charging)

    def look(now: float) -> None:
        nonlocal last
        energy = device.energy_j(now)
        drawn = math.fsum(energy[name] for name in DRAWS)
        assert drawn == pytest.approx(energy["battery"] + energy["mains"], rel=1e-9, abs=1e-9)
        held_j = before_j + energy["stored"] - energy["battery"] - energy["battery_loss"]
        held = device.reading(now).battery_level
        battery = device.profile.battery
        assert battery is not None
        assert held == pytest.approx(battery.level_at(held_j / device.capacity), abs=1e-8)
        taken_j = energy["mains"] + energy["stored"] + energy["charger_loss"]
        radio_j = energy["radio_send"] + energy["radio_receive"] + energy["radio_tail"]
        at_s, taken_before_j, radio_before_j, plugged = last
        most_j = charge_w * (now - at_s) + (radio_j - radio_before_j) if plugged else 0.0
        assert taken_j - taken_before_j <= most_j * (1.0 + 1e-9) + 1e-6
        if radio_j == 0.0:
            assert taken_j <= charge_w * now * (1.0 + 1e-9) + 1e-6
        last = now, taken_j, radio_j, device.charging

    _, end = drive(device, script, look=look)
    look(end)


@settings(max_examples=100, deadline=None)
@given(name=names, link=links, start=starts, script=steps)
def test_looking_changes_nothing(name: str, link: str, start: dict[str, float], script: list[Step]) -> None:
    seen, unseen = (Device(profile(name), link_kind=link_kind(name, link), **start) for _ in range(2))  # type: ignore[arg-type]

    def look(now: float) -> None:
        for _ in range(3):
            seen.reading(now)
            seen.energy_j(now)
            seen.next_timer()

    log, end = drive(seen, script, look=look)
    assert (log, end) == drive(unseen, script)
    assert seen.reading(end) == unseen.reading(end)
    assert seen.energy_j(end) == unseen.energy_j(end)


@settings(max_examples=100, deadline=None)
@given(name=names, link=links, start=starts, script=steps)
def test_every_job_ends_once(name: str, link: str, start: dict[str, float], script: list[Step]) -> None:
    device = Device(profile(name), link_kind=link_kind(name, link), **start)  # type: ignore[arg-type]
    log, end = drive(device, script)
    log += [(end, effect) for effect in device.crash(end)]
    ended = [effect.job for _, effect in log if isinstance(effect, JobDone | JobLost)]
    assert len(ended) == len(set(ended))
    assert len(ended) <= sum(what == "submit" for what, _, _ in script)
    for _, effect in log:
        if isinstance(effect, JobDone):
            assert effect.seconds >= device.profile.seconds(effect.work, device.speed) * (1 - 1e-9)


@settings(max_examples=50, deadline=None)
@given(now=st.floats(1e3, 1e9), level=st.floats(0.15, 1.0), ambient_c=st.floats(36.0, 44.0))
def test_late_in_a_long_run_events_still_make_progress(now: float, level: float, ambient_c: float) -> None:
    """At large times an event may lie nearer than the resolution of the clock."""
    device = Device(profile("phone_high"), now=now, link_kind="wifi", battery_level=level, ambient_c=ambient_c)
    for job in range(5):
        device.submit(now, job, Work(1e4, 0.0, 1 + 3000 * (job % 2)))
    for _ in range(500):
        due = device.next_timer()
        if due == math.inf:
            break
        assert due >= now
        device.on_timer(due)
        now = due
    else:
        raise AssertionError("the device makes no progress")
    assert not device.on


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(["phone_low", "phone_mid_2024", "tablet", "laptop"]),
    st.floats(0.02, 1.0),
    st.sampled_from([0.0, 0.2]),
    st.floats(-10.0, 40.0),
    st.lists(st.tuples(st.floats(1.0, 200_000.0), st.floats(1.0, 20_000.0)), max_size=30),
)
def test_no_battery_is_empty_before_it_could_be(
    name: str, level: float, loss: float, ambient_c: float, uses: list[tuple[float, float]]
) -> None:
    """A device that is left alone and used in turn, on a clock that goes slower while it is left alone."""
    kind = profile(name)
    device = Device(kind, link_kind="wifi", battery_level=level, ambient_c=ambient_c, battery_loss=loss)
    earliest_s = device.empty_s(0.0)
    share = kind.idle_w / kind.used_w
    clock_s = 0.0
    for in_use, seconds in (turn for alone_s, used_s in uses for turn in ((False, alone_s), (True, used_s))):
        if not device.on:
            break
        began_s = device.settled_s
        device.set_screen(began_s, in_use)
        while device.on and device.next_timer() <= began_s + seconds:
            device.on_timer(device.next_timer())
        if device.on:
            device.settle(began_s + seconds)
        clock_s += (device.settled_s - began_s) * (1.0 if in_use else share)
    assert device.on or clock_s >= earliest_s * (1.0 - 1e-9)


@settings(max_examples=100, deadline=None)
@given(name=names, link=links, start=starts, script=steps)
def test_what_is_held_is_what_follows_from_the_state(
    name: str, link: str, start: dict[str, float], script: list[Step]
) -> None:
    """Powers, the battery's outlook, the band of temperatures and the timer are never those of an earlier state."""
    device = Device(profile(name), link_kind=link_kind(name, link), **start)  # type: ignore[arg-type]

    def look(now: float) -> None:
        fresh = copy.copy(device)
        fresh._forget()
        fresh._band_c = None
        assert device.next_timer() == fresh.next_timer()
        assert device._powers() is fresh._powers()
        assert device._outlook(device._powers()) == fresh._outlook(fresh._powers())
        assert device._bounds_c() == fresh._bounds_c()

    drive(device, script, look=look)


@pytest.mark.parametrize("charging", [False, True])
@pytest.mark.parametrize("in_use", [False, True])
def test_a_user_changes_both_at_once(charging: bool, in_use: bool) -> None:
    """Plugging and taking up are one event: as done one after the other, with one timer worked out."""
    start = {"link_kind": "wifi", "battery_level": 0.4, "charging": not charging, "in_use": not in_use}
    at_once, in_turn = (Device(profile("phone_mid"), **start) for _ in range(2))  # type: ignore[arg-type]
    at_once.follow_user(600.0, charging=charging, in_use=in_use)
    in_turn.set_charging(600.0, charging)
    in_turn.set_screen(600.0, in_use)
    assert at_once.to_row() == in_turn.to_row()
    assert at_once.next_timer() == in_turn.next_timer()
    assert at_once.reading(900.0) == in_turn.reading(900.0)


def test_a_phone_that_is_unplugged_and_put_down_at_once_never_feeds_its_screen() -> None:
    """With so little charge, in the cold, its battery feeds the idle phone, but not for a moment the one in use."""
    phone = Device(
        profile("phone_mid"), link_kind="wifi", battery_level=0.01, charging=True, in_use=True, ambient_c=-15.0
    )
    in_turn = copy.copy(phone)
    phone.follow_user(0.0, charging=False, in_use=False)
    assert phone.on
    assert 0.0 < phone.next_timer() < math.inf
    in_turn.set_charging(0.0, False)
    in_turn.set_screen(0.0, False)
    assert not in_turn.on
