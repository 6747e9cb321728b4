"""Keys without an effect are refused with their place, as are those that only making the data or the model shows."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import Any

import pytest

from core.scenario import Scenario, ScenarioError, load
from core.scenario.build import study
from core.scenario.effects import EFFECTS
from core.scenario.findings import KeyPath

TABLE = "clinic,age,smoker,days\n" + "".join(
    f"clinic {i % 6},{50 + i % 9},{'yes' if i % 2 else 'no'},{i % 7}\n" for i in range(60)
)
STAYS = """
    name: stays
    data:
      dataset: stays.csv
      options:
        task: regression
        client: clinic
        y: days
        categories: smoker
    model: {name: linear}
    training: {rounds: 1}
    devices: [{name: clinic, count: 6, device: gateway, link: fixed_world}]
"""
LINK = "{kind: wifi, latency: 3 ms, up: 1 MB/s, down: 1 MB/s, translated: true}"
DIGITS = """
    name: small
    training: {rounds: 1}
    devices:
      - {name: phone, count: 4, device: phone_mid, link: wifi_home}
"""


def stays(folder: Path, *settings: str) -> Scenario:
    (folder / "stays.csv").write_text(TABLE, encoding="utf-8")
    (folder / "stays.yaml").write_text(textwrap.dedent(STAYS), encoding="utf-8")
    return load(folder / "stays.yaml", settings)


def digits(folder: Path, *settings: str) -> Scenario:
    (folder / "small.yaml").write_text(textwrap.dedent(DIGITS), encoding="utf-8")
    return load(folder / "small.yaml", settings)


@pytest.mark.parametrize(
    ("settings", "key", "accepted"),
    [
        (("data.partition=iid", "data.alpha=0.1"), "data.alpha", "data.partition: dirichlet"),
        (("data.partition=iid", "data.per_client=3"), "data.per_client", "shards, labels"),
        (("devices.0.availability=sessions", "devices.0.charging=true"), "devices.0.charging", "availability always"),
        (("devices.0.device=pi_4", "devices.0.charging=true"), "devices.0.charging", "a device with a battery"),
        (("devices.0.device=pi_4", "devices.0.battery=30 %"), "devices.0.battery", "a device with a battery"),
        (
            ("devices.0.correlation={speed_network: 0.9}", "devices.0.network_spread=0.5"),
            "devices.0.correlation.speed_network",
            "speed_spread above 0",
        ),
        (
            ("devices.0.correlation={speed_availability: 0.9}", "devices.0.speed_spread=0.5"),
            "devices.0.correlation.speed_availability",
            "availability.spread above 0",
        ),
        *(
            (
                ("devices.0.correlation={speed_data: 0.9}", "devices.0.speed_spread=0.5", *dealt),
                "devices.0.correlation.speed_data",
                needed,
            )
            for dealt, needed in (
                (("data.partition=iid",), "another data.partition: natural, sampled, dirichlet"),
                (("data.partition=shards",), "another data.partition: natural, sampled, dirichlet"),
                (("data.partition=sampled", "data.examples_spread=0"), "data.examples_spread above 0"),
                (("data.partition=lognormal", "data.sigma=0"), "data.sigma above 0"),
            )
        ),
        ((f"links.own={LINK}", "devices.0.link=own"), "links.own.translated", "network.relay"),
        (
            ("network.relay={region: europe}", "devices.0.link=ethernet_lan", "evaluator=null"),
            "network.relay",
            "links with translated: true",
        ),
        (
            (
                "profiles.own={base: phone_mid, train_speed: 5 GFLOP/s, numbers: {train_flops_per_s: 1e9}}",
                "devices.0.device=own",
            ),
            "profiles.own.train_speed",
            "no number train_flops_per_s",
        ),
        (("data.partition=sampled", "data.hold_out=last"), "data.hold_out", "natural, iid"),
        (("data.feature_skew={kind: rotate, strength: 3}",), "data.feature_skew.strength", "noise, sensor"),
        (("data.feature_skew={kind: sensor, strength: 5.1}",), "data.feature_skew.strength", "from 0 to 5"),
        (("numerics.surrogate=curves.json",), "numerics.surrogate", "numerics.fidelity: surrogate"),
        (("network.topology_options={rows: 3}",), "network.topology_options", "mesh"),
        (("network.topology=tree", "network.sharing=max_min"), "network.sharing", "null"),
        (("network.transport_constants.mss=1000",), "network.transport_constants.mss", "cubic, bbr, reno"),
        (("devices.0.availability={kind: always, nights: 0}",), "devices.0.availability.nights", "kind: sessions"),
        (("devices.0.availability={kind: sessions, shuffled: true}",), "devices.0.availability.shuffled", "trace"),
        (("training.algorithm=afl", "training.options.clients=3"), "training.options.clients", "from 4"),
        (
            ("training.algorithm=fedasync", "training.options={staleness: constant, exponent: 1}"),
            "training.options.exponent",
            "polynomial or hinge",
        ),
        (
            ("training.algorithm=fedasync", "training.options={grace: 1}"),
            "training.options.grace",
            "staleness: hinge",
        ),
        (("report.target=1.2",), "report.target", "up to 1 (100 %)"),
        (("report.target=0.9", "evaluator=null"), "report.target", "an evaluator"),
    ],
)
def test_a_key_without_an_effect_is_refused(tmp_path: Path, settings: tuple[str, ...], key: str, accepted: str) -> None:
    with pytest.raises(ScenarioError) as caught:
        digits(tmp_path, *settings)
    (problem,) = (found for found in caught.value.problems if found.key == key)
    assert problem.origin.startswith("--set ")
    assert accepted in problem.accepted


@pytest.mark.parametrize(
    ("options", "key", "hint"),
    [
        ("length=7", "length", "without text"),
        ("stride=7", "stride", "without window"),
        ("test_values=[1]", "test_values", "without test"),
        ("above=3", "above", "this task"),
        ("text=smoker", "categories", "with data.options.text"),
        ("x=age", "without", "with data.options.x"),
    ],
)
def test_an_option_of_a_file_without_an_effect_is_refused(tmp_path: Path, options: str, key: str, hint: str) -> None:
    more = ("data.options.without=age",) if key == "without" else ()
    with pytest.raises(ScenarioError) as caught:
        stays(tmp_path, f"data.options.{options}", *more)
    found = {problem.key: problem for problem in caught.value.problems}
    assert hint in found[f"data.options.{key}"].hint


@pytest.mark.parametrize(
    ("setting", "key", "says"),
    [
        ("categories=smokes", "categories", "`smokes` is missing"),
        ("categories=clinic", "categories", "no column of the examples; accepted: some of age, smoker"),
        ("x=[age, days]", "x", "`days`, which is the target (data.options.y); accepted: others, of clinic, age"),
        ("client=days", "client", "which is the target"),
        ("client=[clinic, clinic]", "client", "`clinic` twice"),
        ("y=day", "y", "`day` is missing"),
    ],
)
def test_columns_that_cannot_serve_as_that_are_told_with_their_option(
    tmp_path: Path, setting: str, key: str, says: str
) -> None:
    with pytest.raises(ValueError, match=r"stays\.csv") as caught:
        study(stays(tmp_path, f"data.options.{setting}"))
    assert str(caught.value).startswith(f"--set data.options.{setting}: data.options.{key}: found ")
    assert says in str(caught.value)


def test_a_skew_that_leaves_no_numbers_is_told_with_its_key(tmp_path: Path) -> None:
    scenario = stays(tmp_path, "data.feature_skew={kind: sensor, strength: 5}")
    (tmp_path / "stays.csv").write_text(TABLE.replace(",5", ",1e3"), encoding="utf-8")
    with pytest.raises(ValueError, match="grow beyond what float32 holds") as caught:
        study(scenario)
    assert "data.feature_skew.strength: found 5; " in str(caught.value)


def test_what_only_the_making_shows_is_told_with_file_and_line(tmp_path: Path) -> None:
    for setting, key in (
        ("data={partition: dirichlet, alpha: 0.1, min_examples: 440}", "data.partition"),
        ("model.name=linear", "model.name"),
        ("training={rounds: 1, algorithm: fedrep, options: {head: nix}}", "training.algorithm"),
    ):
        with pytest.raises(ValueError, match=f"^--set .*: {key}: found "):
            study(digits(tmp_path, setting))
    path = tmp_path / "small.yaml"
    path.write_text(path.read_text() + "model: {name: linear}\n", encoding="utf-8")
    with pytest.raises(ValueError, match=rf'^{path}:6: model.name: found "linear"; linear is for regression'):
        study(load(path))


def test_what_differs_and_what_is_translated_may_be_told(tmp_path: Path) -> None:
    found = digits(
        tmp_path,
        f"links.own={LINK}",
        "devices.0.link=own",
        "network.relay={region: europe}",
        "devices.0.correlation={speed_network: 0.9, data_network: 0.1}",
        "devices.0.speed_spread=0.5",
        "devices.0.network_spread=0.5",
        "devices.0.charging=true",
        "devices.0.battery=30 %",
    )
    assert found.links["own"].translated


def test_a_resolved_scenario_reads_as_before(tmp_path: Path) -> None:
    """Defaults count as not given: alpha stands in every resolved scenario, whatever the partition."""
    found = digits(tmp_path, "data.partition=iid")
    assert Scenario.model_validate(found.resolved()) == found
    assert "places" not in found.resolved()


def test_every_key_of_the_table_is_one_of_the_schema() -> None:
    from core.scenario.effects import _defaults

    def here(path: KeyPath) -> dict[str, Any]:
        return _defaults(path)

    for path, effects in EFFECTS.items():
        for effect in effects:
            assert {*effect.keys, effect.by} <= set(here(path))


def test_clients_of_the_data_without_a_device_are_told(tmp_path: Path) -> None:
    (note,) = study(stays(tmp_path, "devices.0.count=4")).notes
    assert "6 natural clients, and 4 devices: the examples of 2 clients are used neither" in note
    assert study(stays(tmp_path, "devices.0.count=4", "data.clients=6")).notes == ()
    assert study(stays(tmp_path)).notes == ()


def test_targets_beyond_the_range_of_updates_are_told_and_can_be_divided(tmp_path: Path) -> None:
    scenario = stays(tmp_path)
    large = TABLE.splitlines()
    rows = [large[0], *(f"{line}00000" for line in large[1:])]
    (tmp_path / "stays.csv").write_text("\n".join(rows), encoding="utf-8")
    (note,) = study(scenario).notes
    assert "the targets reach 6e+05" in note
    assert "`data.options.y_scale: 1000000`" in note
    divided = load(tmp_path / "stays.yaml", ["data.options.y_scale=1e6"])
    assert study(divided).notes == ()
    assert float(study(divided).federation.data.y.max()) == pytest.approx(0.6)
