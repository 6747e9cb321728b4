"""From names to values: own links and devices, delays of regions, faults."""

from __future__ import annotations

import itertools
import math
from typing import Any

import pytest

from core import devices
from core.scenario import parse, resolve

GROUP = {"name": "phone", "count": 4, "device": "phone_mid", "link": "wifi_home"}


def scenario(**keys: Any) -> Any:
    return parse({"training": {"rounds": 1}, "devices": [GROUP], **keys})


def test_an_own_link_is_in_si_units() -> None:
    own = {"kind": "wifi", "latency": "5 ms", "up": "20 Mbit/s", "down": "8 Mbit/s", "loss": "1 %", "metered": True}
    link = resolve.link(scenario(links={"own": own}), "own")
    assert (link.name, link.kind, link.metered) == ("own", "wifi", True)
    assert (link.latency_s, link.up_bytes_per_s, link.down_bytes_per_s, link.loss) == (0.005, 2.5e6, 1e6, 0.01)
    assert resolve.link(scenario(), "wifi_home") == devices.link("wifi_home")


def test_an_own_class_of_devices_differs_from_its_base_in_what_is_given() -> None:
    own = {"base": "phone_mid", "battery": "10 Wh", "max_power": "3 W", "train_speed": "2 GFLOP/s"}
    profile = resolve.profile(scenario(profiles={"own": own}), "own")
    base = devices.profile("phone_mid")
    assert (profile.name, profile.battery_j, profile.max_w, profile.train_flops_per_s) == ("own", 36_000.0, 3.0, 2e9)
    assert (profile.idle_w, profile.step_overhead_s, profile.heat) == (base.idle_w, base.step_overhead_s, base.heat)


def test_an_own_class_may_replace_any_number_of_its_base() -> None:
    own = {"base": "phone_mid", "idle_power": "1 W", "numbers": {"battery.pack_ohm": 0.1, "max_w": 3.5}}
    profile = resolve.profile(scenario(profiles={"own": own}), "own")
    base = devices.profile("phone_mid").battery
    assert profile.max_w == 3.5
    assert profile.battery is not None
    assert base is not None
    more = [a - b for a, b in zip(profile.battery.resistance_ohm, base.resistance_ohm, strict=True)]
    assert more == pytest.approx([0.06] * len(more))


def test_own_delays_hold_both_ways_and_in_place_of_the_catalogue() -> None:
    delays = resolve.region_delays(
        scenario(network={"region_delays": {"moon": {"europe": "1.3 s"}, "europe": {"japan": 1}}})
    )
    assert delays["moon", "europe"] == delays["europe", "moon"] == 1.3
    assert delays["europe", "japan"] == delays["japan", "europe"] == 1.0
    assert delays["japan", "australia"] == devices.region_delays()["japan", "australia"]


def test_a_fault_of_a_group_strikes_each_of_its_devices() -> None:
    found = resolve.faults(
        scenario(
            faults=[
                {"kind": "link_down", "target": "phone", "at": "1 min", "duration": 5},
                {"kind": "crash", "target": "phone-1", "at": 2},
            ]
        )
    )
    assert [(f.at_s, f.target, f.duration_s) for f in found] == [
        (2.0, "phone-1", None),
        *((60.0, f"phone-{i}", 5.0) for i in range(4)),
    ]


def random_faults(seed: int, count: int = 200) -> Any:
    spec = {"kind": "crash", "targets": "phone", "rate_per_hour": 6, "mean_duration": "2 min", "until": "10 h"}
    data = {"partition": "iid"}
    return resolve.faults(scenario(seed=seed, data=data, devices=[{**GROUP, "count": count}], random_faults=[spec]))


def test_random_faults_are_a_function_of_the_seed_and_never_overlap() -> None:
    found = random_faults(1)
    assert found == random_faults(1)
    assert found != random_faults(2)
    assert [f for f in found if f.target == "phone-3"] == [f for f in random_faults(1, 9) if f.target == "phone-3"]
    for target in {f.target for f in found}:
        own = [f for f in found if f.target == target]
        assert all(a.at_s + a.duration_s <= b.at_s for a, b in itertools.pairwise(own))


def test_random_faults_have_the_rate_of_a_renewal_process() -> None:
    # Renewal theory: in a long time t, t/(mean up + mean down) faults; their number has variance about
    # t·(σ_up² + σ_down²)/(mean up + mean down)³. Here mean up 600 s, mean down 120 s, both exponential, t = 36,000 s.
    found = random_faults(5)
    expected = 200 * 36_000 / 720
    sd = math.sqrt(200 * 36_000 * (600**2 + 120**2) / 720**3)
    assert abs(len(found) - expected) < 4 * sd
    mean_s = sum(f.duration_s for f in found) / len(found)
    assert mean_s == pytest.approx(120, abs=4 * 120 / math.sqrt(len(found)))
