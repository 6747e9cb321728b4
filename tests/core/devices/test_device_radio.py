"""Radios: promotion, active time and tail, whoever settles when; and the same through any cut of time."""

import dataclasses
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.actor import Actor
from core.deployment import Placement
from core.devices import Device, Radio, link, profile
from core.devices.catalogue import radio

LTE = radio("lte")
TALKER = dataclasses.replace(profile("phone_mid"), radios={"cellular": LTE})
UP, DOWN = 4e6, 12e6


def talker() -> Device:
    return Device(TALKER, link_kind="cellular", up_bytes_per_s=UP, down_bytes_per_s=DOWN)


def send(device: Device, now: float, sent: int, received: int = 0) -> None:
    if device.moved(now, sent=sent, received=received):
        device.settle(now)


def test_a_message_costs_promotion_bytes_and_tail() -> None:
    phone = talker()
    send(phone, 50.0, 1000)
    energy = phone.energy_j(1000.0)
    assert energy["radio_send"] + energy["radio_tail"] == pytest.approx(LTE.transfer_j(1000, UP, up=True), rel=1e-12)
    assert energy["radio_tail"] == pytest.approx(LTE.promotion_j + LTE.tail_w * (LTE.tail_s + 1000 / UP), rel=1e-12)
    assert phone.energy_j(55.0)["radio_tail"] == pytest.approx(LTE.promotion_j + LTE.tail_w * (5.0 + 1000 / UP))


@settings(max_examples=100, deadline=None)
@given(
    gaps=st.lists(st.one_of(st.floats(0.001, 9.0), st.floats(11.0, 100.0)), min_size=1, max_size=20),
    settled=st.lists(st.floats(0.0, 0.9), max_size=20),
)
def test_tails_are_those_of_the_gaps(gaps: list[float], settled: list[float]) -> None:
    """Energy of waiting = promotions and min(gap, tail) of every gap, whenever the device is settled in between."""
    phone = talker()
    now, expected = 0.0, 0.0
    awake = False
    for number, gap in enumerate(gaps):
        if number < len(settled):
            phone.settle(now + settled[number] * gap)
        now += gap
        if awake and gap <= LTE.tail_s:
            expected += LTE.tail_w * gap
        else:
            expected += LTE.promotion_j + LTE.tail_w * (awake * LTE.tail_s + 100 / UP)
        awake = True
        send(phone, now, 100)
    expected += LTE.tail_w * LTE.tail_s
    assert phone.energy_j(now + 1e4)["radio_tail"] == pytest.approx(expected, rel=1e-9)


def test_while_bytes_move_the_tail_is_counted_in_time() -> None:
    """A message a second for an hour: the tail's power runs on, and never waits for more than 1e-4 of the battery."""
    phone = talker()
    held = []
    for second in range(3600):
        send(phone, float(second), 10)
        held.append(phone.stored_j)
    spent = phone.energy_j(3599.0)["radio_tail"]
    assert spent == pytest.approx(LTE.promotion_j + LTE.tail_w * (3599.0 + 10 / UP), rel=1e-9)
    least = 0.5 * 1e-4 * (phone.profile.battery_j or 0.0)
    assert held[0] - held[-1] > spent - 4.0 * least


def test_a_radio_without_states_never_asks_for_more() -> None:
    plain = dataclasses.replace(TALKER, radios={"wifi": Radio(1e-7, 1e-8)})
    device = Device(plain, link_kind="wifi")
    assert device.radio_until_s == device.radio_tail_s == math.inf
    assert not device.moved(1.0, sent=10)
    assert device.energy_j(2.0)["radio_tail"] == 0.0
    assert device.energy_j(2.0)["radio_send"] == pytest.approx(1e-6)


def test_a_device_that_goes_off_has_no_tail() -> None:
    phone = talker()
    send(phone, 10.0, 100)
    phone.crash(11.0)
    phone.restart(500.0)
    assert phone.energy_j(1000.0)["radio_tail"] == pytest.approx(LTE.promotion_j + LTE.tail_w * (1.0 + 100 / UP))


def test_a_resting_row_keeps_the_radio_awake() -> None:
    first, second = talker(), talker()
    send(first, 10.0, 100)
    second.from_row(first.to_row())
    for device in (first, second):
        send(device, 15.0, 100)
    assert second.energy_j(100.0) == first.energy_j(100.0)


@pytest.mark.parametrize("field", Radio._fields)
def test_a_radio_that_cannot_be_is_refused(field: str) -> None:
    bad = LTE._replace(**{field: -1.0})
    with pytest.raises(ValueError, match=rf"device 'phone_mid': radios.cellular.{field} is -1.0; at least 0 is needed"):
        dataclasses.replace(TALKER, radios={"cellular": bad})


def test_5g_has_a_radio_of_its_own_where_the_phone_has_one() -> None:
    def radio_of(device: str, access: str) -> str:
        placement = Placement(name="a", make=Actor, profile=profile(device), link=link(access))
        return placement.radio_of(placement.link)

    assert radio_of("phone_high_2024", "nr_nsa_low") == "nr"
    assert radio_of("phone_high_2024", "nr_mmwave") == "nr_mmwave"
    assert radio_of("phone_high_2024", "lte_good") == "cellular"
    assert radio_of("phone_high", "nr_nsa_low") == "cellular"
