"""Ageing: the published figures of the laws, and that pieces add up to the whole."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.devices import Device, ageing, profile

YEAR_S = 365.0 * ageing.DAY_S


def test_the_laws_give_their_figures() -> None:
    """BLAST-Lite's NCA fit: 3.8 % in a year at 25 °C and half charge; 1.9 % in 500 full cycles to 70 % depth."""
    assert ageing.calendar_loss(ageing.calendar_stress(YEAR_S, 25.0, 0.5)) == pytest.approx(0.038, abs=0.0005)
    assert ageing.cycle_loss(500.0, 0.7) == pytest.approx(0.019, abs=0.0005)


@given(st.floats(0.001, 0.999), st.floats(-10.0, 60.0), st.floats(0.0, 1.0))
def test_pieces_of_time_add_up(share: float, celsius: float, level: float) -> None:
    whole = ageing.calendar_stress(YEAR_S, celsius, level)
    pieces = ageing.calendar_stress(YEAR_S * share, celsius, level) + ageing.calendar_stress(
        YEAR_S * (1.0 - share), celsius, level
    )
    assert ageing.calendar_loss(pieces) == pytest.approx(ageing.calendar_loss(whole), rel=1e-12)


def test_a_change_of_stress_goes_on_from_the_equivalent_time() -> None:
    """A year hot, then a year cool: as if the loss so far had come about by a longer cool time."""
    hot = ageing.calendar_loss(ageing.calendar_stress(YEAR_S, 40.0, 0.9))
    k = ageing.calendar_loss(ageing.calendar_stress(ageing.DAY_S, 20.0, 0.3))
    equivalent_days = (hot / k) ** (1.0 / ageing.CALENDAR_EXPONENT)
    expected = k * (equivalent_days + 365.0) ** ageing.CALENDAR_EXPONENT
    total = ageing.stress_of(hot) + ageing.calendar_stress(YEAR_S, 20.0, 0.3)
    assert ageing.calendar_loss(total) == pytest.approx(expected, rel=1e-12)


def test_a_device_ages_by_calendar_and_use() -> None:
    """A phone that lies on its charger for a year: calendar ageing at 25 °C and its full charge, and nothing else."""
    phone = Device(profile("phone_mid"), link_kind="wifi", charging=True)
    phone.settle(YEAR_S)
    expected = ageing.calendar_loss(ageing.calendar_stress(YEAR_S, 25.0 + 3.8 * 0.05, 1.0))
    assert phone.battery_loss == pytest.approx(expected, rel=1e-3)
    before_j = phone.stored_j
    phone.set_charging(YEAR_S, False)
    lost_j = before_j - phone.stored_j
    assert lost_j == pytest.approx(before_j * ageing.stepped(expected), rel=1e-3)
    assert phone.energy_j(YEAR_S)["battery_loss"] == pytest.approx(lost_j)
    assert phone.reading(YEAR_S).battery_level == pytest.approx(1.0)


def test_a_worn_battery_holds_less_and_resists_more() -> None:
    new, worn = (Device(profile("phone_mid"), link_kind="wifi", battery_loss=loss) for loss in (0.0, 0.2))
    assert worn.stored_j == pytest.approx(0.8 * new.stored_j)
    # A fifth less energy, and a little more of it lost in 2.5 times the resistance.
    assert worn.next_timer() < 0.8 * new.next_timer()
    assert worn.next_timer() == pytest.approx(0.8 * new.next_timer(), rel=0.01)
    assert ageing.resistance_growth(0.2) == 2.5
    assert worn.battery_loss == pytest.approx(0.2)


@pytest.mark.parametrize("loss", [-0.1, 0.6, math.nan])
def test_a_loss_that_cannot_be_is_refused(loss: float) -> None:
    with pytest.raises(ValueError, match="battery_loss is "):
        Device(profile("phone_mid"), link_kind="wifi", battery_loss=loss)
