"""The section `hosts`: machines that devices share, from the scenario to the deployment, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest

from core.devices import Host
from core.scenario import ScenarioError, parse, resolve
from core.scenario.build import study

HOSTS = {"box": {"cores": 2.5, "job": "1 ms", "message": "100 us", "megabyte": "2 ms"}}
GROUP = {"name": "client", "count": 3, "device": "server", "link": "lte_good", "host": "box"}


def scenario(**keys: Any) -> Any:
    return parse({"training": {"rounds": 1}, "devices": [GROUP], "hosts": HOSTS, **keys})


def problem(**keys: Any) -> str:
    with pytest.raises(ScenarioError) as error:
        scenario(**keys)
    (found,) = error.value.problems
    return str(found)


def test_a_host_is_in_si_units_and_its_devices_are_placed_on_it() -> None:
    asked = scenario()
    expected = Host("box", 2.5, job_s=0.001, message_s=1e-4, byte_s=2e-9)
    assert resolve.hosts(asked) == (expected,)
    # However many they are: a host's devices are no population.
    made = study(asked, largest_group=1).deployment
    assert made.hosts == (expected,)
    assert made.populations == ()
    assert {placement.name: placement.host for placement in made.placements} == {
        "coordinator": None,
        "evaluator": None,
        **{f"client-{i}": "box" for i in range(3)},
    }


def test_what_cannot_be_is_refused_with_what_can() -> None:
    assert "there is no section hosts" in problem(hosts={})
    wrong = problem(devices=[GROUP | {"host": "bx"}])
    assert "devices.0.host" in wrong
    assert "box" in wrong
    assert "a phone_low has a battery" in problem(devices=[GROUP | {"device": "phone_low"}])
    station = {"device": "gateway", "link": "fixed_world", "host": "box"}
    assert "a gateway has a temperature" in problem(evaluator=station)
    assert "hosts.box.cores" in problem(hosts={"box": {"cores": 0}})
    assert "hosts.box.job" in problem(hosts={"box": {"cores": 1, "job": "-1 s"}})


def test_on_sockets_the_host_is_the_machine_itself() -> None:
    with pytest.raises(ValueError, match=r"real\.devices.*cannot be emulated"):
        study(scenario(), world="real")
    assert study(scenario(real={"devices": "host"}), world="real").deployment.device_mode == "host"
