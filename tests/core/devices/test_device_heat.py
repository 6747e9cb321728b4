"""Heat: the closed forms against an ODE solver, and crossing times against the reference table of a phone."""

import math

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy.integrate import solve_ivp
from scipy.optimize import minimize_scalar

from core.devices import Device, Heat, profile

PHONE = Heat(case_capacity_j_per_k=160.0, case_to_air_k_per_w=3.8, soc_capacity_j_per_k=12.0, soc_to_case_k_per_w=4.5)
ONE_NODE = Heat(case_capacity_j_per_k=900.0, case_to_air_k_per_w=0.6)
ELSEWHERE_W = 0.5
AMBIENT_C = 25.0

watts = st.floats(0.0, 12.0)
celsius = st.floats(-10.0, 80.0)


def integrate(soc_c: float, case_c: float, soc_w: float, case_w: float, seconds: float) -> tuple[float, float]:
    cs, rsk, ck, rka = 12.0, 4.5, 160.0, 3.8

    def slope(_: float, t: np.ndarray) -> list[float]:
        flow_w = (t[0] - t[1]) / rsk
        return [(soc_w - flow_w) / cs, (case_w + flow_w - (t[1] - AMBIENT_C) / rka) / ck]

    end = solve_ivp(slope, (0.0, seconds), [soc_c, case_c], method="DOP853", rtol=1e-12, atol=1e-10).y[:, -1]
    return float(end[0]), float(end[1])


@settings(max_examples=25, deadline=None)
@given(soc_c=celsius, case_c=celsius, soc_w=watts, case_w=watts, seconds=st.floats(0.1, 2000.0))
def test_two_nodes_agree_with_an_ode_solver(
    soc_c: float, case_c: float, soc_w: float, case_w: float, seconds: float
) -> None:
    exact = PHONE.after(soc_c, case_c, soc_w, case_w, AMBIENT_C, seconds)
    assert exact == pytest.approx(integrate(soc_c, case_c, soc_w, case_w, seconds), abs=1e-6)


def test_time_constants_of_the_phone() -> None:
    assert [-1 / PHONE._fast, -1 / PHONE._slow] == pytest.approx([50.0, 658.0], abs=0.5)


@pytest.mark.parametrize(
    ("soc_w", "target_c", "seconds"),
    [
        (4.0, 39.0, 1169.0),
        (4.0, 43.0, math.inf),
        (4.0, 45.0, math.inf),
        (5.0, 39.0, 776.0),
        (5.0, 43.0, 1346.0),
        (5.0, 45.0, 2116.0),
        (6.0, 39.0, 598.0),
        (6.0, 43.0, 906.0),
        (6.0, 45.0, 1139.0),
        (8.0, 39.0, 423.0),
        (8.0, 43.0, 585.0),
        (8.0, 45.0, 684.0),
    ],
)
def test_reference_times_to_the_severity_levels(soc_w: float, target_c: float, seconds: float) -> None:
    found = PHONE.crossing_s(AMBIENT_C, AMBIENT_C, soc_w, ELSEWHERE_W, AMBIENT_C, target_c)
    assert found == pytest.approx(seconds, abs=1.0)


@pytest.mark.parametrize(("target_c", "soc_w"), [(39.0, 3.18), (43.0, 4.24), (45.0, 4.76)])
def test_sustainable_power(target_c: float, soc_w: float) -> None:
    assert PHONE.steady(soc_w, ELSEWHERE_W, AMBIENT_C)[1] == pytest.approx(target_c, abs=0.02)


@settings(max_examples=200, deadline=None)
@given(soc_c=celsius, case_c=celsius, soc_w=watts, case_w=watts, target_c=celsius, horizon_s=st.floats(1.0, 5000.0))
def test_a_crossing_is_the_first_one(
    soc_c: float, case_c: float, soc_w: float, case_w: float, target_c: float, horizon_s: float
) -> None:
    assume(abs(case_c - target_c) > 1e-6)
    state = (soc_c, case_c, soc_w, case_w, AMBIENT_C)
    found = PHONE.crossing_s(*state, target_c, horizon_s)
    ever = PHONE.crossing_s(*state, target_c)
    assert found == pytest.approx(ever, abs=1e-6) if ever <= horizon_s else found == math.inf
    until = min(found, horizon_s)
    before = [PHONE.after(*state, until * k / 64)[1] - target_c for k in range(64)]
    assert all(b * before[0] > 0 or abs(b) < 1e-6 for b in before)
    if found < math.inf:
        assert PHONE.after(*state, found)[1] == pytest.approx(target_c, abs=1e-7)


def test_a_hot_processor_lifts_a_cooling_case_over_a_threshold_or_not() -> None:
    hot = (65.0, 36.0, 0.0, 0.0, AMBIENT_C)
    peak_c = -minimize_scalar(lambda t: -PHONE.after(*hot, t)[1], bounds=(1.0, 200.0), options={"xatol": 1e-6}).fun
    assert 36.3 < peak_c < 37.0
    rising_s = PHONE.crossing_s(*hot, peak_c - 1e-6)
    assert 0.0 < rising_s < 100.0
    assert PHONE.crossing_s(*hot, peak_c + 1e-6) == math.inf
    assert PHONE.crossing_s(*hot, 35.5) > 100.0


def test_one_node_in_closed_form() -> None:
    tau_s = 900.0 * 0.6
    assert ONE_NODE.after(25.0, 25.0, 30.0, 5.0, AMBIENT_C, tau_s)[1] == pytest.approx(25.0 + 21.0 * (1 - math.exp(-1)))
    assert ONE_NODE.crossing_s(25.0, 25.0, 30.0, 5.0, AMBIENT_C, 35.5) == pytest.approx(tau_s * math.log(2))
    assert ONE_NODE.crossing_s(25.0, 25.0, 30.0, 5.0, AMBIENT_C, 35.5, 300.0) == math.inf
    assert ONE_NODE.crossing_s(25.0, 25.0, 30.0, 5.0, AMBIENT_C, 46.0) == math.inf
    assert ONE_NODE.crossing_s(25.0, 46.0, 0.0, 0.0, AMBIENT_C, 24.0) == math.inf


def test_the_temperature_that_a_phone_in_use_comes_to() -> None:
    device = Device(profile("phone_mid"), link_kind="wifi", in_use=True, ambient_c=30.0)
    expected_c = device.steady_case_c
    device.settle(7200.0)
    assert expected_c > 33.0
    assert device.reading(7200.0).case_temperature_c == pytest.approx(expected_c, abs=0.05)


@pytest.mark.parametrize(
    "wrong",
    [
        {"case_capacity_j_per_k": 0.0, "case_to_air_k_per_w": 1.0},
        {"case_capacity_j_per_k": 1.0, "case_to_air_k_per_w": -1.0},
        {"case_capacity_j_per_k": 1.0, "case_to_air_k_per_w": 1.0, "soc_capacity_j_per_k": 1.0},
    ],
)
def test_heat_that_cannot_be_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="heat: "):
        Heat(**wrong)
