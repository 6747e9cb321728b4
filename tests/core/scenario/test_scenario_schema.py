"""The schema: its names are those of the rooms, its checks across keys, its JSON Schema."""

from __future__ import annotations

import contextlib
import dataclasses
import inspect
import subprocess
import sys
from typing import Any

import pytest

from core import roles
from core.data import PARTITIONS as DEALT
from core.data import dataset, datasets
from core.data.datasets import _GENERATORS, _SUFFIXES
from core.data.options import Reading
from core.data.skew import KINDS
from core.learning import ALGORITHMS
from core.learning.registry import example
from core.models import catalogue, models
from core.network.graphs import GENERATED
from core.scenario import Scenario, ScenarioError, names, parse
from core.scenario.schema import Section

GROUP = {"name": "phone", "count": 4, "device": "phone_mid", "link": "wifi_home"}
SMALL: dict[str, Any] = {"training": {"rounds": 3}, "devices": [GROUP]}


def own_numbers(numbers: dict[str, float]) -> dict[str, Any]:
    """A class of its own, with these numbers replaced."""
    return {"profiles": {"own": {"base": "phone_mid", "numbers": numbers}}}


def refused(**changes: Any) -> list[str]:
    with pytest.raises(ScenarioError) as caught:
        parse({**SMALL, **changes})
    return [f"{problem.key}: {problem.hint} / {problem.accepted}" for problem in caught.value.problems]


def test_names_and_facts_are_those_of_the_rooms_they_speak_of() -> None:
    assert set(names.MODELS) == set(models())
    for name, options in names.MODELS.items():
        parameters = inspect.signature(catalogue._MODELS[name]).parameters
        assert set(options) == set(parameters) - {"input_shape", "classes", "task", "tokens"}
    assert set(names.PARTITIONS) == {*DEALT, "sampled"}
    assert tuple(kind.__name__ for kind in roles.MESSAGES) == names.MESSAGES
    assert set(names.DATASETS) == set(datasets())
    digits = dataset("digits")
    assert digits.client is not None
    assert names.DATASETS["digits"] == (len(digits.y), int(digits.client.max()) + 1, {}, False)
    for name, generate in _GENERATORS.items():
        parameters = inspect.signature(generate).parameters
        facts = names.DATASETS[name]
        assert set(facts.options) == set(parameters) - {"seed"}
        assert facts.natural_clients == parameters["clients"].default
        assert facts.regression == (generate(0).task == "regression")
    assert names.FILE_OPTIONS.keys() == {field.name for field in dataclasses.fields(Reading)}
    assert set(names.DATA_SUFFIXES) == set(_SUFFIXES)
    assert names.FEATURE_SKEWS == KINDS
    assert set(names.TOPOLOGIES) == set(GENERATED)
    for name, options in names.TOPOLOGIES.items():
        assert set(options) == set(inspect.signature(GENERATED[name]).parameters) - {"seed"}
    assert list(names.ALGORITHMS) == list(ALGORITHMS)
    for name, make in ALGORITHMS.items():
        parameters = inspect.signature(make).parameters
        assert set(names.ALGORITHMS[name]) == set(parameters) - {"model", "batch_size", "server_learning_rate"}, name
    assert set(names.ASYNCHRONOUS) == {
        name for name, make in ALGORITHMS.items() if make(example(), 1).buffer is not None
    }
    for name, make in ALGORITHMS.items():
        with pytest.raises(ValueError) if name in names.WITHOUT_SERVER_RATE else contextlib.nullcontext():
            make(example(), 1, server_learning_rate=0.5)


def test_reading_a_scenario_takes_no_numerics() -> None:
    code = "import sys, core.scenario; print({'jax', 'flax', 'optax', 'simpy', 'matplotlib'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_every_key_has_a_description() -> None:
    sections = Section.__subclasses__()
    assert len(sections) > 15
    for section in sections:
        assert section.__doc__, section
        assert all(field.description for field in section.model_fields.values()), section


def test_a_scenario_is_frozen_and_checked_in_python_too() -> None:
    found = Scenario.model_validate(SMALL)
    with pytest.raises(ValueError, match="frozen"):
        found.seed = 3  # type: ignore[misc]
    with pytest.raises(ValueError, match=r"training\.min_participants"):
        Scenario.model_validate({**SMALL, "training": {"rounds": 3, "min_participants": 5}})


def test_defaults_stand_for_all_devices() -> None:
    found = parse(SMALL)
    assert (found.clients, found.max_participants, found.device_count) == (4, 4, 4)
    assert found.device_names == ("phone-0", "phone-1", "phone-2", "phone-3")
    assert found.actor_names[:2] == ("coordinator", "evaluator")


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"training": {"rounds": 1, "max_participants": 5}}, "training.max_participants:  / a whole number up to 4"),
        ({"training": {"rounds": 1, "min_participants": 3, "max_participants": 2}}, "up to max_participants, 2"),
        ({"devices": [{**GROUP, "count": 15}]}, "devices: digits has 14 natural clients, asked for are 15 clients"),
        ({"data": {"clients": 3}}, "data.clients:  / null, or a whole number from 4, the number of devices"),
        ({"data": {"clients": 15}}, "data.clients: digits has 14 natural clients"),
        ({"data": {"partition": "iid", "clients": 1798}}, "digits has 1797 examples"),
        ({"data": {"partition": "dirichlet", "clients": 180}}, "at least 10 for each client"),
        ({"data": {"test_fraction": 0}}, "data.test_fraction: the evaluator would have no examples"),
        ({"devices": [GROUP, GROUP]}, "devices.1.name: an earlier group has this name"),
        ({"devices": [GROUP, {**GROUP, "name": "phone-2"}]}, "devices.1.name: an actor has this name"),
        ({"devices": [{**GROUP, "name": "evaluator"}]}, "devices.0.name: an actor has this name"),
        ({"devices": [{**GROUP, "count": 999_999}, {**GROUP, "name": "b", "count": 2}]}, "there are 1000001"),
        ({"devices": [{**GROUP, "link": "wifi"}]}, 'devices.0.link: did you mean "wifi_home"?'),
        ({"devices": [{**GROUP, "device": "phone"}]}, "devices.0.device: did you mean "),
        ({"devices": [{**GROUP, "region": "Europe"}]}, 'devices.0.region: did you mean "europe"?'),
        (
            {"devices": [{**GROUP, "device": "laptop", "link": "lte_good"}]},
            "lte_good is cellular, for which a laptop has",
        ),
        ({"coordinator": {"device": "serve", "link": "datacentre"}}, 'coordinator.device: did you mean "server"?'),
        ({"evaluator": {"device": "gateway", "link": "fixed"}}, "evaluator.link: "),
        ({"devices": [{**GROUP, "region": "moon"}], "network": {"region_delays": {"moon": {"moon": 0}}}}, "no delay"),
        ({"links": {"wifi_home": {"kind": "wifi", "latency": 0, "up": 1, "down": 1}}}, "the catalogue has wifi_home"),
        ({"profiles": {"server": {"base": "server"}}}, "profiles.server: the catalogue has server already"),
        ({"profiles": {"own": {"base": "sever"}}}, 'profiles.own.base: did you mean "server"?'),
        ({"profiles": {"own": {"base": "server", "battery": 1}}}, "server has no battery"),
        ({"profiles": {"own": {"base": "server", "max_power": 1}}}, "max_w is 1.0; at least idle_w"),
        (
            own_numbers({"battery.pack_omh": 1}),
            'profiles.own.numbers.battery.pack_omh: did you mean "battery.pack_ohm"?',
        ),
        (own_numbers({"battery.pack_ohm": -1}), "profiles.own.numbers.battery.pack_ohm:  / 0 to 100 Ω"),
        (own_numbers({"battery.energy_j": 0}), "battery.energy_j:  / 0.1 to 1e9 J"),
        (own_numbers({"battery.pack_ohm": 0.8}), "its battery cannot feed its load of 6.51 W even when full, at 25 °C"),
        (own_numbers({"heat.case_to_air_k_per_w": -3.8}), "heat.case_to_air_k_per_w:  / 0.001 to 1000 K/W"),
        (own_numbers({"radios.wifi.tail_w": -1}), "radios.wifi.tail_w:  / 0 to 100 W"),
        (
            own_numbers({"battery.pack_ohm": 0.4}) | {"devices": [GROUP | {"device": "own", "ambient": "-40 degC"}]},
            "devices.0.ambient: in this cold its resistance is too large, even when it is full",
        ),
        (
            {"devices": [{**GROUP, "battery": "0 %"}]},
            "devices.0.battery: at 25 °C a phone_mid that nobody",
        ),
        (
            {"devices": [{**GROUP, "battery": ["0 %", "1 %"]}]},
            "/ a charge above 1.75 %, as one number or the higher of",
        ),
        (
            {"devices": [{**GROUP, "battery": "6 %", "ambient": "-40 degC"}]},
            "that nobody charges cannot train with this: its load is then 4.4 W / a charge above 6.25 %",
        ),
        (
            own_numbers({"battery.cell.limit_v": 3.5}) | {"devices": [GROUP | {"device": "own"}]},
            "devices.0.battery: with up to 100 % they start above what the charger of a own can give: it stops at",
        ),
        (
            own_numbers({"battery.cell.limit_v": 4}) | {"devices": [GROUP | {"device": "own", "battery": "typical"}]},
            "/ at most 81.73 %, or a class of devices with a higher battery.cell.limit_v",
        ),
        ({"model": {"options": {"hidden": 3}}}, "softmax takes no options"),
        ({"model": {"name": "cnn", "options": {"hiden": 3}}}, 'model.options.hiden: did you mean "hidden"?'),
        ({"training": {"rounds": 1, "options": {"momentun": 0.9}}}, 'did you mean "momentum"?'),
        (
            {"training": {"rounds": 1, "options": {"momentum": "abc"}}},
            "training.options.momentum:  / a number from 0, b",
        ),
        ({"training": {"rounds": 1, "options": {"momentum": 1.9}}}, "training.options.momentum:  / a number from 0, b"),
        ({"training": {"rounds": 1, "options": {"momentum": True}}}, "training.options.momentum:  / a number from 0"),
        ({"training": {"rounds": 1, "options": {"optimizer": "adam"}}}, "training.options.optimizer:  / one of sgd"),
        ({"model": {"name": "cnn", "options": {"features": [8]}}}, "model.options.features:  / a list of 2 items"),
        ({"model": {"name": "cnn", "options": {"features": [8, 0]}}}, "model.options.features:  / a list of 2 items"),
        ({"model": {"name": "cnn", "options": {"features": "a"}}}, "model.options.features:  / a list of 2 items"),
        ({"model": {"name": "cnn", "options": {"hidden": -4}}}, "model.options.hidden:  / a whole number from 1"),
        ({"numerics": {"max_pending": 1}}, "numerics.max_pending:  / a whole number from 2"),
        ({"devices": [{**GROUP, "ambient": 200}]}, "devices.0.ambient:  / a temperature from -40 to 60"),
        ({"model": {"name": "none.py:make"}}, "model.name: there is no file none.py"),
        ({"faults": [{"kind": "crash", "target": "phone-4", "at": 1}]}, "phone-0 to phone-3"),
        ({"faults": [{"kind": "crash", "target": "phone-01", "at": 1}]}, "faults.0.target"),
        ({"faults": [{"kind": "crash", "target": "fone", "at": 1}]}, 'did you mean "phone"?'),
        ({"evaluator": None, "faults": [{"kind": "crash", "target": "evaluator", "at": 1}]}, "faults.0.target"),
        (
            {"random_faults": [{"kind": "crash", "targets": "phone-0", "rate_per_hour": 1, "mean_duration": 1}]},
            "random_faults.0.targets",
        ),
    ],
)
def test_what_does_not_fit_together_is_named(changes: dict[str, Any], says: str) -> None:
    assert any(says in line for line in refused(**changes))


def test_a_check_does_not_hide_behind_an_unrelated_mistake() -> None:
    lines = refused(seed="x", devices=[{**GROUP, "count": "many"}, {**GROUP, "name": "b", "link": "wifi"}])
    assert [line.partition(":")[0] for line in lines] == ["seed", "devices.0.count", "devices.1.link"]


@pytest.mark.parametrize(
    "changes",
    [
        {"data": {"partition": "iid"}, "devices": [{**GROUP, "count": 1797}]},
        {"data": {"clients": 14}},
        {"evaluator": None, "data": {"test_fraction": 0}},
        {"training": {"rounds": 1, "min_participants": 4, "max_participants": 4}},
        {"devices": [GROUP, {**GROUP, "name": "phone-x"}]},
        {"faults": [{"kind": "crash", "target": target, "at": 0} for target in ("phone", "phone-3", "coordinator")]},
        {"links": {"own": {"kind": "wifi", "latency": "1 ms", "up": "1 MB/s", "down": "1 MB/s"}}},
        {"links": {}, "profiles": {}, "model": {"options": None}},
        {"devices": [{**GROUP, "region": "moon"}], "network": {"region_delays": {"moon": {"europe": "1.3 s"}}}},
        {"devices": [{**GROUP, "battery": "5 %"}]},
        {"devices": [{**GROUP, "battery": ["0 %", "2 %"]}]},
        {"devices": [{**GROUP, "battery": "0 %", "charging": True}]},
        {"devices": [{**GROUP, "battery": "0 %", "availability": "sessions"}]},
        {"devices": [{**GROUP, "battery": "typical", "ambient": "-40 degC"}]},
        own_numbers({"battery.cell.limit_v": 4})
        | {"devices": [GROUP | {"device": "own", "battery": ["20 %", "80 %"]}]},
        {"model": {"name": "my.models:make", "options": {"sizes": [1, 2], "bias": True, "act": "relu"}}},
    ],
)
def test_what_fits_together_comes_back_from_its_resolved_form(changes: dict[str, Any]) -> None:
    found = parse({**SMALL, **changes})
    assert parse(found.resolved()) == found


def test_options_are_hashable_once_read() -> None:
    found = parse({**SMALL, "model": {"name": "cnn", "options": {"features": [4, 8]}}})
    assert found.model.options == {"features": (4, 8)}
    hash(tuple(found.model.options.items()))
