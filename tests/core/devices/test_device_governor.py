"""Processors: operating points and caps; the governor's ladder; severities, shutdown in the heat, and the way back."""

import dataclasses
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.devices import (
    Accelerator,
    Device,
    DeviceProfile,
    Effect,
    Governor,
    Heat,
    JobDone,
    JobLost,
    OperatingPoint,
    Overheated,
    PoweredOn,
    Radio,
    ThrottleChanged,
    ThrottleLevel,
    Work,
    profile,
)
from core.devices.catalogue import made
from core.devices.processor import speed_at

BASE = DeviceProfile(
    name="own",
    description="",
    train_flops_per_s=1e9,
    step_overhead_s=0.0,
    memory_bytes_per_s=1e12,
    idle_w=0.5,
    max_w=8.5,
    radios={"wifi": Radio(0.0, 0.0)},
    heat=Heat(160.0, 3.8, 12.0, 4.5),
)
GOVERNOR = Governor(37.0, 43.0, 4.0, 0.3, 1.5, 0.25)
POINTS = (OperatingPoint(0.4, 0.1), OperatingPoint(0.7, 0.4), OperatingPoint(1.0, 1.0))


@given(st.floats(0.001, 1.0), st.floats(0.001, 1.0), st.sampled_from([(), POINTS]))
def test_more_power_is_more_speed(one: float, other: float, points: tuple[OperatingPoint, ...]) -> None:
    low, high = sorted((one, other))
    assert 0.0 < speed_at(low, points) <= speed_at(high, points) <= 1.0
    # Slower is more efficient: the curve of speed over power bends down.
    assert speed_at(low, points) >= low


def test_between_points_the_governor_alternates() -> None:
    assert [speed_at(p.power, POINTS) for p in POINTS] == pytest.approx([0.4, 0.7, 1.0])
    assert speed_at(0.25, POINTS) == pytest.approx(0.55)
    assert speed_at(0.05, POINTS) == pytest.approx(0.2)


def drive(device: Device, until: float) -> list[tuple[float, Effect]]:
    log: list[tuple[float, Effect]] = []
    while (at := device.next_timer()) <= until:
        log += [(at, effect) for effect in device.on_timer(at)]
        assert len(log) < 10_000
    return log


def test_the_governor_brings_the_case_to_where_its_line_meets_the_heat() -> None:
    """P = S + K (Tt - T) and T = Ta + R (P + P0) meet at 42.6 °C; the steps are a quarter of a kelvin."""
    device = Device(dataclasses.replace(BASE, governor=GOVERNOR), link_kind="wifi")
    device.submit(0.0, 1, Work(1e9, 0.0, 100_000))
    log = drive(device, 20_000.0)
    expected_c = (25.0 / 3.8 + 0.5 + 4.0 + 0.3 * 43.0) / (1 / 3.8 + 0.3)
    assert device.reading(20_000.0).case_temperature_c == pytest.approx(expected_c, abs=0.25)
    speeds = [effect.speed for _, effect in log if isinstance(effect, ThrottleChanged)]
    assert speeds == sorted(speeds, reverse=True)
    assert 10 < len(speeds) < 40
    # At rest it cools, and every step is taken back.
    device.cancel(20_000.0, 1)
    drive(device, 40_000.0)
    assert device.reading(40_000.0).speed == 1.0


def test_joules_are_the_integral_of_the_power_and_the_job_that_of_the_speed() -> None:
    """Between any two events both are constant: summed by hand they give the job's energy and its work."""
    device = Device(dataclasses.replace(BASE, governor=GOVERNOR), link_kind="wifi")
    device.submit(0.0, 1, Work(1e9, 0.0, 3000))
    joules = work = now = 0.0
    done = None
    while done is None:
        speed, watts = device._limit
        at = device.next_timer()
        joules, work = joules + watts * (at - now), work + speed * (at - now)
        now = at
        done = next((effect for effect in device.on_timer(at) if isinstance(effect, JobDone)), None)
    assert done.joules == pytest.approx(joules, rel=1e-12)
    assert done.joules == pytest.approx(device.energy_j(now)["processor"], rel=1e-12)
    assert work == pytest.approx(3000.0, rel=1e-12)
    assert done.seconds > 3100.0


def test_in_the_heat_it_turns_off_and_comes_back_when_it_has_cooled() -> None:
    levels = (ThrottleLevel(39.0, 1.9, 1.0), ThrottleLevel(45.0, 1.9, 0.0))
    device = Device(dataclasses.replace(BASE, throttle=levels), link_kind="wifi")
    device.submit(0.0, 7, Work(1e9, 0.0, 100_000))
    log = drive(device, 5000.0)
    kinds = [type(effect) for _, effect in log]
    assert kinds == [ThrottleChanged, ThrottleChanged, Overheated, JobLost, ThrottleChanged, ThrottleChanged, PoweredOn]
    lost = log[3][1]
    assert isinstance(lost, JobLost)
    assert (lost.job, lost.reason, lost.seconds) == (7, "overheated", log[3][0])
    off_s, on_s = log[2][0], log[6][0]
    assert device.energy_j(on_s)["idle"] == pytest.approx(0.5 * off_s, rel=1e-12)
    assert device.reading(on_s).case_temperature_c == pytest.approx(37.1, abs=1e-6)
    assert (device.on, device.severity) == (True, 0)


def test_restart_waits_until_it_has_cooled() -> None:
    levels = (ThrottleLevel(39.0, 1.9, 0.0),)
    device = Device(dataclasses.replace(BASE, throttle=levels), link_kind="wifi")
    device.submit(0.0, 7, Work(1e9, 0.0, 100_000))
    drive(device, device.next_timer())
    assert not device.on
    device.crash(500.0)
    assert device.restart(501.0) == []
    assert not device.on
    assert [type(effect) for _, effect in drive(device, 1e5)] == [ThrottleChanged, PoweredOn]


def test_jobs_run_on_the_accelerator() -> None:
    engine = Accelerator(1e10, 1e11, 20.0)
    device = Device(dataclasses.replace(BASE, accelerator=engine, heat=None), link_kind="wifi")
    device.submit(0.0, 1, Work(1e10, 1e11, 5))
    (done,) = device.on_timer(device.next_timer())
    assert isinstance(done, JobDone)
    assert (done.seconds, done.joules) == (5.0, 100.0)
    energy = device.energy_j(5.0)
    assert (energy["accelerator"], energy["processor"], energy["idle"]) == (100.0, 0.0, 2.5)


def test_the_screen_draws_and_warms() -> None:
    lit, dark = (Device(dataclasses.replace(BASE, screen_w=1.5), link_kind="wifi") for _ in range(2))
    lit.set_screen(10.0, True)
    lit.set_screen(110.0, False)
    assert lit.energy_j(500.0)["screen"] == 150.0
    warmer, cooler = lit.reading(500.0).case_temperature_c, dark.reading(500.0).case_temperature_c
    assert warmer is not None
    assert cooler is not None
    assert warmer > cooler


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"governor": GOVERNOR._replace(gain_w_per_k=-1.0)}, "governor.gain_w_per_k is -1.0; a positive number"),
        ({"governor": GOVERNOR._replace(start_c=43.0)}, "governor.start_c is 43.0; less than target_c"),
        ({"governor": GOVERNOR._replace(step_k=1e-6)}, "governor.step_k is 1e-06; at most 250 steps"),
        ({"governor": GOVERNOR, "heat": None}, "none without heat"),
        ({"operating_points": POINTS[:2]}, "rising speeds and powers up to 1 and 1"),
        ({"operating_points": (POINTS[1], POINTS[0], POINTS[2])}, "rising speeds and powers up to 1 and 1"),
        ({"accelerator": Accelerator(1e9, 0.0, 1.0)}, "positive numbers"),
        ({"cycle_depth": 1.5}, "between 0 and 1"),
        ({"max_w": math.inf}, "more than 0"),
    ],
)
def test_processors_that_cannot_be_are_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=f"device 'own': .*{message}"):
        dataclasses.replace(BASE, **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize("state", ["send_w", "receive_w", "promotion_w", "tail_w"])
def test_the_radio_is_part_of_the_load_that_a_battery_has_to_feed(state: str) -> None:
    own = {f"radios.cellular.{state}": 100.0, "radios.cellular.tail_s": 5.0}
    with pytest.raises(ValueError, match="its battery cannot feed its load of"):
        made("phone_mid", own, called="thirsty")


def test_a_battery_that_cannot_feed_its_load_is_refused() -> None:
    battery = profile("phone_mid").battery
    assert battery is not None
    with pytest.raises(ValueError, match=r"its battery cannot feed its load of \d+\.?\d* W even when full, at 25 °C"):
        dataclasses.replace(BASE, battery=battery, max_w=60.0)
    with pytest.raises(ValueError, match="its battery cannot be charged"):
        dataclasses.replace(BASE, battery=dataclasses.replace(battery, limit_v=battery.ocv_v[0] + 1e-6))
