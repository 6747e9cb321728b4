"""The catalogue: complete, with provenance, close to the measurements it rests on; profiles and links as values."""

import dataclasses
import math
import re
import subprocess
import sys

import pytest

from core.devices import (
    DeviceProfile,
    Heat,
    Radio,
    ThrottleLevel,
    UnknownName,
    Work,
    link,
    link_provenance,
    links,
    profile,
    profiles,
    provenance,
    region_delays,
    region_provenance,
    regions,
)
from core.devices.catalogue import made
from core.devices.processor import speed_at


def test_classes_are_there_and_cached() -> None:
    assert len(profiles()) == 19
    assert {"phone_low", "phone_mid_2024", "tablet", "laptop", "pi_zero", "pi_5", "gateway", "server"} < set(profiles())
    assert all(profile(name) is profile(name) and profile(name).name == name for name in profiles())
    batteries = ("phone_low", "phone_mid", "phone_high", "laptop", "gateway", "server")
    assert [profile(name).battery_j for name in batteries] == [55440.0, 71640.0, 62640.0, 205200.0, None, None]
    assert profile("server").heat is None
    assert len(profile("phone_low").throttle) == 6


def test_every_number_has_a_source() -> None:
    every = [p for name in profiles() for p in provenance(name)]
    every += [p for name in links() for p in link_provenance(name)]
    every += region_provenance()
    assert {p.evidence for p in every} == {"measured", "derived", "literature", "estimate"}
    assert all(p.unit and p.source for p in every)
    by_key = {p.key: p for p in provenance("phone_mid")}
    assert by_key["train_flops_per_s"].value == profile("phone_mid").train_flops_per_s
    assert by_key["throttle.light.case_c"].value == 39.0
    for name in profiles():
        fields = {p.key for p in provenance(name)}
        numbers = {f.name for f in dataclasses.fields(DeviceProfile) if f.init and f.type == "float"}
        assert {key for key in fields if "." not in key} <= numbers


@pytest.mark.parametrize(("name", "measured_s"), [("phone_low", 1.642), ("phone_mid", 0.588), ("phone_high", 0.179)])
def test_femnist_batch_within_a_factor_of_two_of_flash(name: str, measured_s: float) -> None:
    """Ten samples of 93.7 MFLOP (a training step of LEAF's CNN), measured on the three phones of FLASH."""
    predicted_s = profile(name).seconds(Work(flops=10 * 93.7e6, bytes=0.0, steps=1))
    assert 0.5 <= predicted_s / measured_s <= 2.0


def test_roofline() -> None:
    phone = profile("phone_mid")
    assert phone.seconds(Work(5e9, 0.0, 1)) == 0.15 + 1.0
    assert phone.seconds(Work(5e9, 2.8e10, 3)) == 3 * (0.15 + 2.0)
    assert phone.seconds(Work(5e9, 0.0, 1), speed=2.0) == (0.15 + 1.0) / 2.0


@pytest.mark.parametrize(
    "work",
    [Work(1e9, 0.0, 0), Work(-1.0, 0.0, 1), Work(1.0, -1.0, 1), Work(1.0, 1.0, -1), Work(float("nan"), 0.0, 1)],
)
def test_no_work_is_an_error(work: Work) -> None:
    with pytest.raises(ValueError, match="is no work"):
        profile("phone_mid").seconds(work)


def test_work_of_no_time_is_an_error() -> None:
    free = dataclasses.replace(profile("server"), step_overhead_s=0.0)
    with pytest.raises(ValueError, match=r"would take 0.0 s on 'server'"):
        free.seconds(Work(0.0, 0.0, 1))
    with pytest.raises(ValueError, match="would take inf s"):
        free.seconds(Work(float("inf"), 0.0, 1))
    with pytest.raises(ValueError, match="speed is 0"):
        free.seconds(Work(1.0, 0.0, 1), speed=0.0)


def test_unknown_names_say_what_there_is() -> None:
    with pytest.raises(UnknownName, match="no device 'phone_mod': did you mean 'phone_mid'\\? known are phone_low, "):
        profile("phone_mod")
    with pytest.raises(UnknownName, match="no link 'zzz': known are wifi_home, "):
        link("zzz")


def test_links() -> None:
    home = link("wifi_home")
    assert (home.kind, home.down_bytes_per_s, home.up_bytes_per_s) == ("wifi", 34.5e6 / 8, 26.3e6 / 8)
    lte = link("lte_good")
    assert (lte.kind, lte.metered, lte.latency_s) == ("cellular", True, 0.011)
    assert {"nr_nsa_low", "fixed_world", "ethernet_lan", "datacentre"} <= set(links())
    for name in links():
        one = link(name)
        assert one.name == name
        assert one.kind in ("wifi", "cellular", "ethernet")
        assert min(one.latency_s, one.up_bytes_per_s, one.down_bytes_per_s) > 0.0
        assert 0.0 <= one.loss < 0.01


def test_phones_have_every_kind_of_radio() -> None:
    for name in ("phone_low", "phone_mid", "phone_high"):
        assert set(profile(name).radios) == {"wifi", "cellular", "ethernet"}


def test_region_delays() -> None:
    """SimBlock's table of 2019: 124 ms between North America and Europe, one way."""
    delays = region_delays()
    assert regions() == ("north_america", "europe", "south_america", "asia_pacific", "japan", "australia")
    assert len(delays) == 36
    assert delays["north_america", "europe"] == 0.124
    assert delays["japan", "japan"] == 0.012
    assert all(delays[a, b] == delays[b, a] > 0.0 for a, b in delays)


def test_importing_is_light() -> None:
    code = "import sys, core.devices; print([m for m in ('yaml', 'jax', 'numpy', 'simpy') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


LEVEL = ThrottleLevel(case_c=40.0, hysteresis_k=2.0, power_cap=0.5)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"train_flops_per_s": 0.0}, "train_flops_per_s is 0.0; more than 0"),
        ({"idle_w": -1.0}, "idle_w is -1.0; at least 0"),
        ({"max_w": 0.5}, "max_w is 0.5; at least idle_w"),
        ({"heat": None}, "empty without heat"),
        ({"throttle": (LEVEL, LEVEL)}, "levels in order"),
        ({"throttle": (LEVEL._replace(power_cap=-0.1),)}, "power caps of 0"),
        ({"throttle": (LEVEL._replace(power_cap=0.0), LEVEL._replace(case_c=50.0))}, "only the last level off"),
        ({"screen_w": -1.0}, "screen_w is -1.0; at least 0"),
        ({"throttle": (LEVEL._replace(hysteresis_k=0.0),)}, "hysteresis above 0"),
        ({"radios": {"wifi": Radio(-1.0, 0.0)}}, "radios.wifi.send_j_per_byte is -1.0; at least 0"),
        ({"charge_heat_share": 1.5}, "between 0 and 1"),
    ],
)
def test_profiles_that_cannot_be_are_refused(changes: dict[str, object], message: str) -> None:
    values: dict[str, object] = {
        "name": "own",
        "description": "",
        "train_flops_per_s": 1e9,
        "step_overhead_s": 0.0,
        "memory_bytes_per_s": 1e9,
        "idle_w": 1.0,
        "max_w": 5.0,
        "radios": {"wifi": Radio(1e-7, 1e-7)},
        "heat": Heat(100.0, 4.0),
        "throttle": (LEVEL,),
    }
    DeviceProfile(**values)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=f"device 'own': .*{message}"):
        DeviceProfile(**(values | changes))  # type: ignore[arg-type]


def test_speed_under_a_cap() -> None:
    """7 W held to 4.2 W leaves 81 % of the speed with the exponent 2.4."""
    assert speed_at(4.2 / 7.0, ()) == pytest.approx(0.81, abs=0.005)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("battery.pack_ohm", -0.01),
        ("battery.cell.resistance_ohm.0.9", -0.05),
        ("battery.cell.nominal_ah", -1.0),
        ("battery.cell.ocv_v.0.5", 0.0),
        ("battery.cell.end_share", math.nan),
    ],
)
def test_each_part_of_a_battery_is_checked_and_named_as_its_user_wrote_it(key: str, value: float) -> None:
    with pytest.raises(ValueError, match=rf"^{re.escape(key)} is {value:g}; accepted: "):
        made("phone_mid", {key: value}, called="mine")


def test_charging_ends_at_a_twentieth_of_the_capacity() -> None:
    """C/20 at constant voltage: the current just before is hardly more, and then there is none."""
    battery = profile("phone_mid").battery
    assert battery is not None
    capacity_ah = battery.charge_c / 3600.0
    limit_w = battery.spare_w(0.0)
    full_j = battery.full_j(limit_w, 1.0)
    stored_w, loss_w = battery.charge_powers(full_j * (1 - 1e-9), limit_w, 1.0)
    amperes = (stored_w + loss_w) / battery.limit_v
    assert capacity_ah / 20.0 < amperes < capacity_ah / 15.0
    assert battery.charge_powers(full_j, limit_w, 1.0) == (0.0, 0.0)
