"""A device's events at exact times: jobs, throttling, battery, charger, crashes, and a driver that is late."""

import dataclasses
import sys

import pytest

from core.devices import (
    Battery,
    BatteryEmpty,
    BatteryFull,
    Device,
    DeviceOff,
    DeviceProfile,
    Effect,
    Heat,
    JobDone,
    JobLost,
    PoweredOn,
    Radio,
    ThrottleChanged,
    ThrottleLevel,
    Work,
    profile,
)

#: Numbers that make exact sums: a step takes 1 s, the battery 1000 J, charging stores 8 W.
PLAIN = DeviceProfile(
    name="plain",
    description="for tests",
    train_flops_per_s=1e9,
    step_overhead_s=0.0,
    memory_bytes_per_s=1e9,
    idle_w=1.0,
    max_w=5.0,
    radios={"wifi": Radio(0.25, 0.5), "ethernet": Radio(0.0, 0.0)},
    battery=Battery(energy_j=1000.0, charge_w=16.0, charge_efficiency=0.5, ocv_v=(4.0, 4.0)),
)
#: The phone of the reference table, 8 W in the processor and 0.5 W elsewhere.
WARM = dataclasses.replace(
    PLAIN,
    idle_w=0.5,
    max_w=8.5,
    battery=None,
    heat=Heat(160.0, 3.8, 12.0, 4.5),
    throttle=(ThrottleLevel(39.0, 1.9, 0.3), ThrottleLevel(43.0, 1.9, 0.2)),
)


def seconds_of_work(seconds: int) -> Work:
    return Work(flops=1e9, bytes=0.0, steps=seconds)


def run(device: Device, until: float, most: int = 1000) -> list[tuple[float, Effect]]:
    """Drive a device as a punctual world does; fails if it does not come to an end."""
    log: list[tuple[float, Effect]] = []
    for _ in range(most):
        due = device.next_timer()
        if due > until:
            return log
        log += [(due, effect) for effect in device.on_timer(due)]
    raise AssertionError(f"more than {most} events until {until}: {log[-5:]}")


def test_jobs_run_in_order_for_the_profiles_seconds() -> None:
    phone = profile("phone_low")
    device = Device(phone, link_kind="wifi", now=0.1)
    works = [Work(1.1e7 * k, 3e6, 7) for k in (1, 2, 3)]
    for job, work in enumerate(works):
        device.submit(0.1, job, work)
    done = [effect for _, effect in run(device, 1e3)]
    assert [effect.job for effect in done if isinstance(effect, JobDone)] == [0, 1, 2]
    for effect, work in zip(done, works, strict=True):
        assert isinstance(effect, JobDone)
        assert effect.seconds == phone.seconds(work)
        assert effect.joules == (phone.max_w - phone.idle_w) * effect.seconds
        assert effect.work is work
    assert device.reading(device.next_timer()).load == 0.0


def test_speed_of_the_device() -> None:
    device = Device(PLAIN, link_kind="wifi", speed=0.5)
    device.submit(0.0, 1, seconds_of_work(10))
    assert run(device, 100.0) == [(20.0, JobDone(1, 0.0, 20.0, 80.0, seconds_of_work(10)))]


def test_battery_is_empty_exactly_then_and_takes_the_jobs_along() -> None:
    device = Device(PLAIN, link_kind="wifi")
    for job in (1, 2):
        device.submit(0.0, job, seconds_of_work(1000))
    assert device.next_timer() == 1000.0 / 5.0
    assert run(device, 1e9) == [
        (200.0, BatteryEmpty()),
        (200.0, JobLost(1, 0.0, 200.0, 800.0, seconds_of_work(1000), "battery_empty")),
        (200.0, JobLost(2, None, 0.0, 0.0, seconds_of_work(1000), "battery_empty")),
    ]
    assert not device.on
    assert device.reading(300.0).battery_level == 0.0
    assert device.energy_j(300.0)["battery"] == 1000.0
    with pytest.raises(DeviceOff, match="class 'plain' is off and cannot take job 3"):
        device.submit(300.0, 3, seconds_of_work(1))


def test_an_empty_device_comes_back_at_two_per_cent() -> None:
    device = Device(PLAIN, link_kind="wifi", battery_level=0.0)
    assert run(device, 10.0) == [(0.0, BatteryEmpty())]
    device.set_charging(10.0, True)
    assert run(device, 1e3) == [
        (10.0 + 20.0 / 8.0, PoweredOn()),
        (pytest.approx(12.5 + 980.0 / 7.5, rel=1e-15), BatteryFull()),  # 1 W of its 16 W go to the idle device
    ]
    energy = device.energy_j(200.0)
    assert (energy["stored"], energy["charger_loss"], energy["battery"]) == pytest.approx((1000.0, 1000.0, 0.0))
    assert energy["mains"] == energy["idle"] == 200.0 - 12.5


def test_charging_feeds_the_load_from_the_mains() -> None:
    device = Device(PLAIN, link_kind="wifi", battery_level=0.5, charging=True)
    device.submit(0.0, 1, seconds_of_work(50))
    assert [at for at, _ in run(device, 1e6)] == pytest.approx([50.0, 80.0], rel=1e-14)
    assert device.reading(80.0).battery_level == 1.0
    device.set_charging(100.0, False)
    assert device.next_timer() == 1100.0
    energy = device.energy_j(350.0)
    assert (energy["mains"], energy["battery"]) == (100.0 + 200.0, 250.0)
    assert device.reading(350.0).battery_level == 0.75


def test_throttling_begins_at_the_time_of_the_reference_table() -> None:
    """8 W reach a skin of 39 °C in 423 s; the job's work goes on at the lower speed and none is lost."""
    device = Device(WARM, link_kind="ethernet")
    device.submit(0.0, 1, seconds_of_work(2000))
    log = run(device, 1e5)
    at, first = log[0]
    assert at == pytest.approx(423.0, abs=1.0)
    assert first == ThrottleChanged(1, 0.3 ** (1 / 2.4))
    times, speeds, end = [0.0], [1.0], 0.0
    for at, effect in log:
        if isinstance(effect, ThrottleChanged):
            times.append(at)
            speeds.append(effect.speed)
        elif isinstance(effect, JobDone):
            assert effect.seconds == pytest.approx(at, rel=1e-12)
            end = at
            break
    worked = sum(s * (b - a) for s, a, b in zip(speeds, times, [*times[1:], end], strict=True))
    assert worked == pytest.approx(2000.0, rel=1e-9)
    cooled_s = next(at for at, effect in log if effect == ThrottleChanged(0, 1.0))
    again = Device(WARM, link_kind="ethernet")
    again.submit(0.0, 1, seconds_of_work(2000))
    run(again, cooled_s)
    assert again.reading(cooled_s).case_temperature_c == 39.0 - 1.9
    assert len(speeds) > 4
    assert log[-1][1] == ThrottleChanged(0, 1.0)


def test_a_high_phone_keeps_60_to_80_per_cent_after_a_quarter_of_an_hour() -> None:
    device = Device(profile("phone_high"), link_kind="wifi")
    device.submit(0.0, 1, Work(1.5e10, 0.0, 4000))
    run(device, 900.0)
    assert 0.6 <= device.reading(900.0).speed <= 0.8
    run(device, 1200.0)
    assert 0.6 <= device.reading(1200.0).speed <= 0.8


def test_cancel() -> None:
    device = Device(PLAIN, link_kind="wifi")
    for job in (1, 2, 3):
        device.submit(0.0, job, seconds_of_work(10))
    assert device.cancel(2.0, 2) == [JobLost(2, None, 0.0, 0.0, seconds_of_work(10), "cancelled")]
    assert device.cancel(4.0, 1) == [JobLost(1, 0.0, 4.0, 16.0, seconds_of_work(10), "cancelled")]
    assert device.cancel(5.0, 1) == []
    assert run(device, 20.0) == [(14.0, JobDone(3, 4.0, 10.0, 40.0, seconds_of_work(10)))]


def test_crash_and_restart() -> None:
    device = Device(PLAIN, link_kind="wifi")
    device.submit(0.0, 1, seconds_of_work(10))
    assert device.crash(4.0) == [JobLost(1, 0.0, 4.0, 16.0, seconds_of_work(10), "crash")]
    assert device.next_timer() == float("inf")
    assert device.restart(104.0) == [PoweredOn()]
    assert device.energy_j(104.0)["battery"] == 20.0
    assert device.restart(105.0) == []


def weak(charge_w: float) -> DeviceProfile:
    battery = Battery(energy_j=1000.0, charge_w=charge_w, charge_efficiency=0.5, ocv_v=(4.0, 4.0))
    return dataclasses.replace(PLAIN, battery=battery)


def test_a_load_above_the_charger_is_fed_by_both() -> None:
    """5 W on a charger of 3 W take 2 W from the battery; when that is empty the device is off, and comes back."""
    device = Device(weak(3.0), link_kind="wifi", battery_level=0.1, charging=True)
    device.submit(0.0, 1, seconds_of_work(1000))
    energy = device.energy_j(40.0)
    assert (energy["mains"], energy["battery"], energy["stored"]) == (120.0, 80.0, 0.0)
    assert device.reading(40.0).battery_level == pytest.approx(0.02)
    # Empty after 100 J / 2 W. Off, 1.5 W come in, and 2 % are 20 J; on and idle, 1 W of the 3 W is its own.
    assert run(device, 1e4) == [
        (50.0, BatteryEmpty()),
        (50.0, JobLost(1, 0.0, 50.0, 200.0, seconds_of_work(1000), "battery_empty")),
        (pytest.approx(50.0 + 20.0 / 1.5), PoweredOn()),
        (pytest.approx(50.0 + 20.0 / 1.5 + 980.0 / 1.0), BatteryFull()),
    ]


def test_a_load_of_just_the_charger_neither_charges_nor_drains() -> None:
    device = Device(weak(5.0), link_kind="wifi", battery_level=0.5, charging=True)
    device.submit(0.0, 1, seconds_of_work(1000))
    assert device.next_timer() == 1000.0
    device.on_timer(900.0)
    assert (device.stored_j, device.energy_j(900.0)["mains"]) == (500.0, 4500.0)


def test_an_idle_draw_above_the_charger_turns_a_device_on_and_off_with_time_between() -> None:
    device = Device(weak(0.5), link_kind="wifi", battery_level=0.0, charging=True)
    news = run(device, 600.0)
    assert [type(effect) for _, effect in news[:3]] == [BatteryEmpty, PoweredOn, BatteryEmpty]
    # 20 J at 0.25 W while off, and 20 J at 1 W - 0.5 W while on.
    assert [at for at, _ in news[:3]] == pytest.approx([0.0, 80.0, 120.0])


def test_bytes_come_from_the_battery_where_the_charger_has_no_more() -> None:
    device = Device(weak(16.0), link_kind="wifi", battery_level=0.5, charging=True)
    device.moved(10.0, sent=1000)
    device.settle(10.0)
    lump_j = device.energy_j(10.0)["radio_send"]
    assert lump_j > 0.0
    assert device.energy_j(10.0)["battery"] == pytest.approx(lump_j)
    assert device.stored_j == pytest.approx(500.0 + 75.0 - lump_j)
    full = Device(weak(16.0), link_kind="wifi", battery_level=1.0, charging=True)
    full.moved(10.0, sent=1000)
    full.settle(10.0)
    assert (full.stored_j, full.energy_j(10.0)["battery"]) == (1000.0, 0.0)


def test_restart_needs_charge() -> None:
    device = Device(PLAIN, link_kind="wifi", battery_level=0.01)
    device.crash(0.0)
    assert device.restart(1.0) == []
    assert not device.on
    device.set_charging(5.0, True)
    assert run(device, 10.0) == [(5.0 + 10.0 / 8.0, PoweredOn())]


def test_a_crashed_device_charges_but_stays_off() -> None:
    device = Device(PLAIN, link_kind="wifi", battery_level=0.01)
    device.crash(0.0)
    device.set_charging(0.0, True)
    assert run(device, 1e6) == [(990.0 / 8.0, BatteryFull())]
    assert not device.on
    assert device.restart(200.0) == [PoweredOn()]


def test_radio_bytes_become_energy_at_the_next_event() -> None:
    device = Device(PLAIN, link_kind="wifi")
    device.sent_bytes += 40
    device.received_bytes += 60
    assert device.reading(10.0).battery_level == pytest.approx(1.0 - (10.0 + 10.0 + 30.0) / 1000.0)
    assert device.energy_j(10.0)["radio_receive"] == 30.0
    assert device.next_timer() == 1000.0
    device.settle(10.0)
    assert device.sent_bytes == device.received_bytes == 0
    assert device.next_timer() == 960.0
    assert device.energy_j(10.0)["radio_send"] == 10.0


def test_a_lump_may_overdraw_the_battery_and_is_repaid() -> None:
    device = Device(PLAIN, link_kind="wifi", battery_level=0.01)
    device.sent_bytes += 80
    device.settle(0.0)
    assert device.next_timer() == 0.0
    assert device.on_timer(0.0) == [BatteryEmpty()]
    assert device.stored_j == -10.0
    device.set_charging(1.0, True)
    assert device.next_timer() == 1.0 + 30.0 / 8.0


def test_radio_parcel_is_a_share_of_the_battery() -> None:
    assert Device(PLAIN, link_kind="wifi").radio_parcel_bytes == 1
    assert Device(PLAIN, link_kind="ethernet").radio_parcel_bytes == sys.maxsize
    phone = profile("phone_mid")
    parcel = Device(phone, link_kind="cellular").radio_parcel_bytes
    radio = phone.radios["cellular"]
    assert parcel * (radio.send_j_per_byte + radio.receive_j_per_byte) == pytest.approx(1e-5 * 71640.0, rel=1e-5)
    assert Device(profile("server"), link_kind="ethernet").radio_parcel_bytes == sys.maxsize


def test_a_lump_of_heat_throttles_at_once_and_puts_off_cooling() -> None:
    warm = dataclasses.replace(WARM, radios={"wifi": Radio(1.0, 1.0)})
    device = Device(warm, link_kind="wifi")
    device.sent_bytes += 160 * 15
    device.settle(0.0)
    assert device.on_timer(0.0) == [ThrottleChanged(1, 0.3 ** (1 / 2.4))]
    cool = device.next_timer()
    device.sent_bytes += 160
    assert device.on_timer(cool) == []
    assert device.reading(cool).case_temperature_c == pytest.approx(38.1)
    assert device.next_timer() > cool


def test_a_late_driver_gets_the_same_physics() -> None:
    phone = profile("phone_high")
    work = Work(1.5e10, 0.0, 700)
    punctual, late = (Device(phone, link_kind="wifi", battery_level=0.3) for _ in range(2))
    for device in (punctual, late):
        for job in range(3):
            device.submit(0.0, job, work)
    effects = [effect for _, effect in run(punctual, 1e6)]
    assert late.on_timer(1e6) == effects
    assert late.reading(1e6) == punctual.reading(1e6)
    assert late.energy_j(1e6) == punctual.energy_j(1e6)


def test_what_was_due_before_a_call_comes_at_the_next_timer_at_once() -> None:
    device = Device(PLAIN, link_kind="wifi")
    device.submit(0.0, 1, seconds_of_work(2))
    device.submit(5.0, 2, seconds_of_work(2))
    assert device.next_timer() == 5.0
    assert device.on_timer(5.0) == [JobDone(1, 0.0, 2.0, 8.0, seconds_of_work(2))]
    assert device.next_timer() == 7.0
    assert device.crash(9.0) == [JobDone(2, 5.0, 2.0, 8.0, seconds_of_work(2))]


def test_a_job_that_ends_as_the_battery_does_is_done() -> None:
    device = Device(PLAIN, link_kind="wifi")
    device.submit(0.0, 1, seconds_of_work(200))
    log = run(device, 1e3)
    assert log == [(200.0, JobDone(1, 0.0, 200.0, 800.0, seconds_of_work(200))), (200.0, BatteryEmpty())]


def test_on_mains() -> None:
    device = Device(WARM, link_kind="ethernet", battery_level=0.2)
    reading = device.reading(5.0)
    assert (reading.battery_level, reading.charging, reading.on) == (None, True, True)
    with pytest.raises(ValueError, match="has no battery to charge"):
        device.set_charging(0.0, False)
    assert device.energy_j(10.0)["mains"] == 5.0
    one_node = Device(profile("laptop"), link_kind="wifi").reading(1.0)
    assert one_node.soc_temperature_c is None
    assert one_node.case_temperature_c is not None
    assert Device(profile("server"), link_kind="ethernet").reading(1.0).case_temperature_c is None


def test_wrong_input() -> None:
    with pytest.raises(ValueError, match="has no radio of kind 'lora'; it has: wifi, ethernet"):
        Device(PLAIN, link_kind="lora")
    with pytest.raises(ValueError, match=r"battery_level is 1.5"):
        Device(PLAIN, link_kind="wifi", battery_level=1.5)
    with pytest.raises(ValueError, match=r"speed is 0.0"):
        Device(PLAIN, link_kind="wifi", speed=0.0)
    device = Device(PLAIN, link_kind="wifi", now=3.0)
    with pytest.raises(ValueError, match=r"now is 2.0, before the device's last event at 3.0"):
        device.settle(2.0)


def test_a_device_is_small() -> None:
    """All of a new device that it does not share with others: the object and the floats it holds alone."""
    phone = profile("phone_mid")
    device = Device(phone, link_kind="wifi", now=1.5, ambient_c=21.5)
    slots = [name for cls in type(device).__mro__ for name in getattr(cls, "__slots__", ())]
    own = {id(v): v for v in (getattr(device, name) for name in slots) if isinstance(v, float)}
    assert not hasattr(device, "__dict__")
    assert sys.getsizeof(device) + sum(map(sys.getsizeof, own.values())) <= 770


def test_a_lump_costs_the_battery_its_margin_of_loss() -> None:
    """Bytes of E joules beside a load P take E OCV / sqrt(OCV^2 - 4 R P): 4 V and 0.5 ohm with 5 W give 4 / sqrt(6)."""
    battery = Battery(1000.0, 16.0, 0.5, ocv_v=(4.0, 4.0), resistance_ohm=(0.5, 0.5))
    device = Device(dataclasses.replace(PLAIN, battery=battery), link_kind="wifi")
    device.submit(0.0, 1, seconds_of_work(100))
    device.settle(10.0)
    before = device.energy_j(10.0)
    device.moved(10.0, sent=40)
    device.settle(10.0)
    after = device.energy_j(10.0)
    assert after["radio_send"] == 10.0
    assert after["battery_loss"] - before["battery_loss"] == pytest.approx(10.0 * (4.0 / 6.0**0.5 - 1.0), rel=1e-12)


def test_the_chargers_loss_warms_the_case_by_its_share() -> None:
    phone = profile("phone_mid")
    battery, heat = phone.battery, phone.heat
    assert battery is not None
    assert heat is not None
    device = Device(phone, link_kind="wifi", battery_level=0.5, charging=True)
    device.settle(60.0)
    energy = device.energy_j(60.0)
    assert phone.charge_heat_share == 0.5
    assert energy["charger_loss"] > energy["idle"]
    case_w = (energy["idle"] + energy["battery_loss"] + 0.5 * energy["charger_loss"]) / 60.0
    _, case_c = heat.after(25.0, 25.0, 0.0, case_w, 25.0, 60.0)
    assert device.reading(60.0).case_temperature_c == pytest.approx(case_c, abs=1e-3)
