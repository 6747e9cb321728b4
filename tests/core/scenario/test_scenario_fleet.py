"""Keys of a group that say who uses its devices and how they differ; and what is made of them."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

from core.availability import CHARGING, METERED, Replay, Sessions
from core.deployment import Placement
from core.devices import link
from core.rng import FirstNormals
from core.roles import Attendance, Requirements
from core.scenario import Scenario, ScenarioError, build, load, parse
from core.scenario.build import study
from core.scenario.fleet import Fleet

GROUP = {"name": "phone", "count": 4, "device": "phone_mid", "link": "wifi_home"}
TRACE = "client,time_s,state\na,0,idle\na,10,charging\na,60,end\n"


def scenario(count: int = 4, data: dict[str, Any] | None = None, **keys: Any) -> Scenario:
    return parse(
        {
            "training": {"rounds": 1},
            "data": data or {"partition": "sampled"},
            "devices": [{**GROUP, "count": count, **keys}],
        }
    )


def refused(**keys: Any) -> list[str]:
    with pytest.raises(ScenarioError) as caught:
        scenario(**keys)
    return [f"{problem.key}: {problem.hint} / {problem.accepted}" for problem in caught.value.problems]


def fleet(found: Scenario) -> Fleet:
    return Fleet(found, found.devices[0], 0)


def test_a_word_stands_for_a_kind() -> None:
    plain, word, full = scenario(), scenario(availability="sessions"), scenario(availability={"kind": "sessions"})
    assert plain.devices[0].availability.kind == "always"
    assert word == full
    assert word.devices[0].availability.sessions_per_day == 20.0
    assert Scenario.model_validate(word.resolved()) == word
    assert fleet(plain).process is None
    assert fleet(plain).attendance(Requirements()) is None
    assert isinstance(fleet(word).process, Sessions)


def test_quantities_have_units() -> None:
    found = scenario(
        availability={
            "kind": "sessions",
            "amplitude": "30 %",
            "peak": "3 h",
            "session_median": "10 min",
            "timezone": ["-8 h", 5.5],
        },
        battery="typical",
    ).devices[0]
    wanted = found.availability
    assert (wanted.amplitude, wanted.peak, wanted.session_median, wanted.timezone) == (0.3, 10800.0, 600.0, (-8.0, 5.5))
    assert found.battery == "typical"


def test_a_trace_is_found_beside_the_scenario(tmp_path: Path) -> None:
    (tmp_path / "day.csv").write_text(TRACE)
    file = tmp_path / "s.yaml"
    file.write_text(
        "training: {rounds: 1}\ndata: {partition: sampled}\n"
        "devices:\n  - {name: phone, count: 2, device: phone_mid, link: wifi_home, availability: {trace: day.csv}}\n"
    )
    found = load(file)
    assert found.devices[0].availability.kind == "trace"
    assert found.devices[0].availability.trace == str(tmp_path / "day.csv")
    assert isinstance(fleet(found).process, Replay)
    (tmp_path / "day.csv").write_text(TRACE.replace("10,", "-10,"))
    with pytest.raises(ValueError, match=r"day\.csv: client 'a' has an event at|goes back in time"):
        study(found)


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"availability": "sesions"}, 'devices.0.availability.kind: did you mean "sessions"?'),
        ({"availability": {"kind": "trace"}}, "devices.0.availability.trace: the kind is trace"),
        ({"availability": {"trace": "no.csv"}}, "there is no file no.csv"),
        ({"availability": {"kind": "always", "trace": "no.csv"}}, "the kind is always"),
        ({"availability": {"kind": "sessions", "amplitude": 2}}, "devices.0.availability.amplitude"),
        ({"availability": {"kind": "sessions", "timezone": [5, 1]}}, "the first is above the second"),
        ({"availability": {"kind": "sessions", "hours": 3}}, "there is no such key here"),
        ({"availability": 5}, "devices.0.availability"),
        ({"battery": "full"}, "or typical"),
        ({"correlation": {"speed_data": 1.5}}, "devices.0.correlation.speed_data"),
        (
            {
                "speed_spread": 0.5,
                "network_spread": 0.5,
                "correlation": {"speed_data": 0.9, "speed_network": 0.9, "data_network": -0.9},
            },
            "devices.0.correlation: no four quantities correlate like that",
        ),
    ],
)
def test_mistakes_are_told(keys: dict[str, Any], said: str) -> None:
    problems = refused(**keys)
    assert len(problems) == 1
    assert said in problems[0]


def test_charges_are_as_phones_are_found() -> None:
    """Beta(3.2, 1.9) at or above 5 % (Kolmogorov-Smirnov, level 1e-3), and alone as among many."""
    made = fleet(scenario(3000, battery="typical"))
    levels = [made.placement(index, _nobody).battery_level for index in range(3000)]
    assert levels == made._levels().tolist()
    assert stats.kstest(levels, stats.beta(3.2, 1.9).cdf).pvalue > 1e-3
    assert min(levels) >= 0.05


def _nobody() -> Any:
    raise AssertionError("no actor is made")


def test_data_go_to_devices_by_their_amount() -> None:
    """Ranks of speed and amount of data correlate as asked; everybody's data are somebody's."""
    found = scenario(
        200,
        {"partition": "dirichlet", "min_examples": 1, "alpha": 5.0, "clients": 220},
        speed_spread=0.5,
        correlation={"speed_data": 0.8},
    )
    built = study(found)
    phones = [p for p in built.deployment.placements if p.name.startswith("phone-")]
    examples = [p.make().shard.count for p in phones]  # type: ignore[attr-defined]
    assert sorted(examples) == sorted(built.federation.sizes()[:200].tolist())
    assert stats.spearmanr([p.speed for p in phones], examples).statistic == pytest.approx(0.79, abs=0.12)
    plain = study(scenario(200, {"partition": "dirichlet", "min_examples": 1, "alpha": 5.0, "clients": 220}))
    unsorted = [p.make().shard.count for p in plain.deployment.placements if p.name.startswith("phone-")]  # type: ignore[attr-defined]
    assert unsorted == built.federation.sizes()[:200].tolist()


def test_sampled_clients_have_lognormal_amounts() -> None:
    built = study(scenario(1500, {"partition": "sampled", "examples": 1000, "examples_spread": 0.5}))
    sizes = built.federation.sizes()
    assert stats.kstest(sizes, stats.lognorm(0.5, scale=1000).cdf).pvalue > 1e-3
    worker = built.deployment.placements[2 + 7].make()
    assert worker.shard.count == sizes[7]  # type: ignore[attr-defined]
    assert set(built.federation.test).isdisjoint(built.federation.indices(7))  # type: ignore[union-attr]
    own = built.federation.own_shard(7)
    rows = built.federation.shard(7)
    assert np.array_equal(own.rows.arrays["y"][: own.count], rows.rows.arrays["y"][rows.index[: rows.count]])


def test_links_differ_by_their_multiples() -> None:
    made = fleet(scenario(1000, network_spread=0.4))
    base = link("wifi_home")
    links = [made.placement(index, _nobody).link for index in range(1000)]
    ratios = np.array([one.up_bytes_per_s / base.up_bytes_per_s for one in links])
    assert stats.kstest(ratios, stats.lognorm(0.4).cdf).pvalue > 1e-3
    assert np.allclose(ratios, [one.down_bytes_per_s / base.down_bytes_per_s for one in links])


@pytest.mark.parametrize(("correlation", "drawn"), [({}, 2), ({"speed_availability": 0.3}, 400)])
def test_speeds_on_which_nothing_hangs_are_drawn_when_met(
    correlation: dict[str, float], drawn: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Few of a million are met; where all are drawn for another trait, they are looked up."""
    asked: list[str | int] = []
    draw = FirstNormals.__call__

    def counted(self: FirstNormals, *path: str | int) -> float:
        asked.append(path[0])
        return draw(self, *path)

    monkeypatch.setattr(FirstNormals, "__call__", counted)
    often = {"kind": "sessions", "spread": 0.5}
    keys: dict[str, Any] = {"availability": often, "speed_spread": 0.5, "correlation": correlation}
    population = study(scenario(400, **keys), largest_group=1).deployment.populations[0]
    speeds = [population.place(index).speed for index in (3, 7)]
    assert len(asked) == drawn
    alone = {placement.name: placement.speed for placement in study(scenario(400, **keys)).deployment.placements}
    assert speeds == [alone["phone-3"], alone["phone-7"]]


def test_a_large_group_is_a_population_of_the_same_devices() -> None:
    keys: dict[str, Any] = {
        "availability": {"kind": "sessions", "spread": 0.4},
        "battery": "typical",
        "speed_spread": 0.5,
        "network_spread": 0.3,
        "correlation": {"speed_availability": 0.3, "speed_network": -0.4},
    }
    few = study(scenario(6, **keys)).deployment
    many = study(scenario(6, **keys), largest_group=5).deployment
    (population,) = many.populations
    assert (population.name, population.count, population.regions) == ("phone", 6, ("europe",))
    assert population.link_multiples is not None
    for index, alone in enumerate(itertools.islice(few.placements, 2, None)):
        member = population.place(index)
        assert _facts(member) == _facts(alone)
        assert member.link.up_bytes_per_s == link("wifi_home").up_bytes_per_s * population.link_multiples[index]
        assert population.reflex is not None
        joined = population.reflex.message(index, 1)
        assert joined.examples == alone.make().shard.count  # type: ignore[attr-defined]


@pytest.mark.parametrize(("device", "from_c"), [("phone_high", 38), ("phone_mid", 42), ("phone_low", 46)])
def test_devices_that_may_overheat_in_their_users_hands_do_not_rest(device: str, from_c: int) -> None:
    """The temperatures on the page devices.md."""
    for ambient_c in (from_c - 1, from_c):
        found = scenario(3, device=device, ambient=ambient_c, availability="sessions")
        assert fleet(found).overheats is (ambient_c == from_c)
        assert len(study(found, largest_group=2).deployment.populations) == (ambient_c < from_c)
    alone = scenario(3, device=device, ambient=from_c)
    assert len(study(alone, largest_group=2).deployment.populations) == 1


def test_what_a_large_group_takes_that_may_overheat_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build, "LARGEST_GROUP", 2)
    (note,) = study(scenario(3, ambient=50.0, availability="sessions")).notes
    assert "at 50 °C devices of 'phone' may get so warm by use and charging alone (55 °C) that they turn off" in note
    assert not study(scenario(3, availability="sessions")).notes


def _facts(placement: Placement) -> tuple[object, ...]:
    assert placement.course is not None
    course = placement.course()
    return (
        placement.name,
        placement.profile,
        placement.link,
        placement.region,
        placement.battery_level,
        placement.speed,
        course.row(),
    )


def test_what_always_holds_is_known() -> None:
    asked = Requirements(charging=True, unmetered=True)
    mains = fleet(scenario(device="gateway", link="ethernet_lan", availability="sessions")).attendance(asked)
    assert mains == Attendance(asked, CHARGING)
    metered = fleet(scenario(link="lte_good", availability="sessions")).attendance(asked)
    assert metered == Attendance(asked, METERED)
    assert metered.unmet(CHARGING) == "network"


def test_the_million_phones_are_a_million() -> None:
    found = load(Path(__file__).parents[3] / "scenarios" / "million_phones.yaml")
    assert found.device_count == 1_000_000
    classes = {"phone_low": 18_820, "phone_mid": 16_428, "phone_high": 159}
    for name, share in classes.items():
        count = sum(group.count for group in found.devices if group.device == name)
        assert count == pytest.approx(1e6 * share / sum(classes.values()), abs=5)


def test_an_evaluator_without_examples_is_refused_before_the_run() -> None:
    wanted = scenario(14, {"test_fraction": 0.001})
    with pytest.raises(ValueError, match=r"data.test_fraction: found 0.001; of each client's examples this is less"):
        study(wanted)
    assert study(wanted.model_copy(update={"evaluator": None})).federation.test_shard().count == 0


def test_a_class_brings_its_own_spread() -> None:
    """`class` is the catalogue's sd(ln): 0.5 for the speed of phones and the rates of Wi-Fi at home. Unasked, 0."""
    plain = fleet(scenario())
    assert (plain.speed_spread, plain.network_spread) == (0.0, 0.0)
    asked = scenario(speed_spread="class", network_spread="class", count=400)
    found = fleet(asked)
    assert (found.speed_spread, found.network_spread) == (0.5, 0.5)
    assert Scenario.model_validate(asked.resolved()) == asked
    placed = [found.placement(index, lambda: None) for index in range(400)]  # type: ignore[arg-type, return-value]
    rates = [place.link.up_bytes_per_s / found.link.up_bytes_per_s for place in placed]
    for values in ([place.speed for place in placed], rates):
        # Four standard errors of a standard deviation of 400 normal values.
        assert abs(np.log(values).std() / 0.5 - 1) < 4 / np.sqrt(800)


def test_speed_sd_log_of_a_class_of_ones_own_has_an_effect() -> None:
    own = {"worn": {"base": "phone_mid", "numbers": {"speed_sd_log": 1.5}}}
    group = {**GROUP, "device": "worn", "speed_spread": "class"}
    made = parse({"training": {"rounds": 1}, "data": {"partition": "sampled"}, "devices": [group], "profiles": own})
    assert fleet(made).speed_spread == 1.5
