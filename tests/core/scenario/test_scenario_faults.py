"""The sections of faults: what each key becomes, and that what cannot be is refused with its key and line."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from core.deployment import ClockSkew, Fault, MessageFault, Partition, Slowdown
from core.scenario import Scenario, ScenarioError, load, parse, resolve

GROUPS = [
    {"name": "home", "count": 2, "device": "phone_mid", "link": "wifi_home"},
    {"name": "away", "count": 2, "device": "laptop", "link": "wifi_home", "region": "japan"},
]
SMALL: dict[str, Any] = {"training": {"rounds": 3}, "devices": GROUPS}
ALL = {"coordinator", "evaluator", "home-0", "home-1", "away-0", "away-1"}


def scenario(*faults: dict[str, Any], **changes: Any) -> Scenario:
    return parse({**SMALL, "faults": list(faults), **changes})


def test_each_kind_becomes_the_fault_that_it_says() -> None:
    found = resolve.faults(
        scenario(
            {"kind": "lost", "target": "home-0", "at": 1, "probability": "30 %", "messages": ["TrainResult", "Join"]},
            {"kind": "reordered", "target": "home-0", "at": 2, "probability": 1, "behind": 3, "duration": "1 min"},
            {"kind": "slow", "target": "home", "at": 3, "speed": 0.5},
            {"kind": "clock_skew", "target": "coordinator", "at": 4, "offset": "-2 min", "drift": 0.25},
            {"kind": "battery_pulled", "target": "home-1", "after_messages": 7, "duration": 5},
            {"kind": "disk_full", "target": "evaluator", "at": 0},
        )
    )
    assert found == (
        Fault("disk_full", "evaluator", 0.0),
        MessageFault("lost", "home-0", 1.0, probability=0.3, messages=("TrainResult", "Join")),
        MessageFault("reordered", "home-0", 2.0, 60.0, probability=1.0, behind=3, delay_s=10.0),
        Slowdown("slow", "home-0", 3.0, speed=0.5),
        Slowdown("slow", "home-1", 3.0, speed=0.5),
        ClockSkew("clock_skew", "coordinator", 4.0, offset_s=-120.0, drift=0.25),
        Fault("battery_pulled", "home-1", math.inf, 5.0, after_messages=7),
    )


@pytest.mark.parametrize(
    ("sets", "expected"),
    [
        ([["home"], ["away-0"]], [{"home-0", "home-1"}, {"away-0"}]),
        ([["home-0"]], [{"home-0"}, ALL - {"home-0"}]),
        ([["japan"], ["europe"]], [{"away-0", "away-1"}, ALL - {"away-0", "away-1"}]),
        ([["japan"], ["coordinator"], ["home"]], [{"away-0", "away-1"}, {"coordinator"}, {"home-0", "home-1"}]),
    ],
)
def test_sets_are_actors_groups_and_regions(sets: list[list[str]], expected: list[set[str]]) -> None:
    (found,) = resolve.faults(scenario({"kind": "partition", "sets": sets, "at": 5, "duration": 10}))
    assert isinstance(found, Partition)
    assert [set(members) for members in found.sets] == expected
    assert (found.at_s, found.duration_s, found.target) == (5.0, 10.0, "")


def test_random_faults_of_every_kind_keep_their_keys() -> None:
    times = {"rate_per_hour": 60, "mean_duration": 10}
    spec = parse(
        {
            **SMALL,
            "random_faults": [
                {"kind": "lost", "targets": "home", "probability": 0.5, **times},
                {"kind": "partition", "sets": [["japan"]], **times},
            ],
        }
    )
    found = resolve.faults(spec)
    assert {fault.target for fault in found} == {"home-0", "home-1", ""}
    assert all(fault.probability == 0.5 for fault in found if isinstance(fault, MessageFault))
    assert all(fault.sets[0] == ("away-0", "away-1") for fault in found if isinstance(fault, Partition))
    assert Scenario.model_validate(spec.resolved()) == spec


PARTED = {"kind": "partition", "at": 1}
REFUSED: list[tuple[dict[str, Any], str, str]] = [
    ({"kind": "lost", "target": "home-2", "at": 1, "probability": 0.5}, "target", "home-0 to home-1"),
    ({"kind": "lost", "target": "hone", "at": 1, "probability": 0.5}, "target", 'did you mean "home"?'),
    ({"kind": "lost", "target": "home", "at": 1, "probability": 1.5}, "probability", "from 0 to 1"),
    ({"kind": "lost", "target": "home", "at": 1, "probability": "-1 %"}, "probability", "from 0 to 1"),
    ({"kind": "lost", "target": "home", "at": 1}, "probability", "a fault of kind lost needs it"),
    ({"kind": "lost", "target": "home", "at": 1, "probability": 1, "behind": 2}, "behind", "is a key of reordered"),
    ({"kind": "lost", "target": "home", "at": 1, "probability": 1, "messages": ["Joins"]}, "messages", '"Join"?'),
    ({"kind": "crash", "target": "home", "at": 1, "speed": 0.5}, "speed", "a fault of kind crash has no speed"),
    ({"kind": "crash", "target": "home"}, "at", "at or after_messages"),
    ({"kind": "crash", "target": "home", "at": 1, "after_messages": 2}, "after_messages", "one of at and"),
    ({"kind": "crash", "at": 1}, "target", "the key is missing"),
    ({"kind": "slow", "target": "home", "at": 1, "speed": 0}, "speed", "above 0 up to 1"),
    ({"kind": "clock_skew", "target": "home", "at": 1}, "offset", "other than 0"),
    ({"kind": "clock_skew", "target": "home", "at": 1, "drift": -1}, "drift", "from -0.9 to 9"),
    ({"kind": "battery_pulled", "target": "coordinator", "at": 1}, "target", "a server has none"),
    ({**PARTED}, "sets", "a fault of kind partition needs it"),
    ({**PARTED, "sets": [["home"], ["home-1", "away"]]}, "sets.1.0", "home-1 is in another set"),
    ({**PARTED, "sets": [["home", "home-0"]]}, "sets.0.1", "home-0 is in this set already"),
    ({**PARTED, "sets": [["home", "away", "coordinator", "evaluator"]]}, "sets", "everybody is in the only set"),
    ({**PARTED, "sets": [["home"], []]}, "sets.1", "the set is empty"),
    ({**PARTED, "sets": [["home"], ["australia"]]}, "sets.1.0", "no actor is there"),
    ({**PARTED, "sets": [["home"], ["awey"]]}, "sets.1.0", 'did you mean "away"?'),
    ({**PARTED, "sets": [["home"], ["away"]], "target": "home"}, "target", "a partition has sets, and no target"),
    ({"kind": "partition", "sets": [["home"]], "after_messages": 2}, "after_messages", "no target whose"),
    ({"kind": "partitions", "sets": [["home"]], "at": 2}, "kind", 'did you mean "partition"?'),
]  # fmt: skip


@pytest.mark.parametrize(("spec", "key", "words"), REFUSED)
def test_what_cannot_be_is_refused_with_its_key_and_line(
    spec: dict[str, Any], key: str, words: str, tmp_path: Path
) -> None:
    lines = ["training: {rounds: 3}", "devices:"]
    lines += [f"  - {{{', '.join(f'{k}: {v}' for k, v in group.items())}}}" for group in GROUPS]
    lines.append("faults:")
    for number, (name, value) in enumerate(spec.items()):
        lines.append(f"  {'- ' if number == 0 else '  '}{name}: {str(value).replace(chr(39), '')}")
    path = tmp_path / "s.yaml"
    path.write_text("\n".join(lines))
    with pytest.raises(ScenarioError) as caught:
        load(path)
    # Of a key that is missing, the line of the fault.
    first = key.partition(".")[0]
    line = 6 + (list(spec).index(first) if first in spec else 0)
    problem = next(problem for problem in caught.value.problems if problem.key == f"faults.0.{key}")
    assert problem.line == line
    assert words in str(problem)
    assert len(caught.value.problems) == 1


def test_random_faults_are_checked_like_the_others() -> None:
    times = {"rate_per_hour": 1, "mean_duration": 1}
    for spec, key in (
        ({"kind": "slow", "targets": "home", **times}, "speed"),
        ({"kind": "crash", **times}, "targets"),
        ({"kind": "battery_pulled", "targets": "away-0", **times}, "targets"),
        ({"kind": "partition", "targets": "home", "sets": [["home"]], **times}, "targets"),
        ({"kind": "partition", "sets": [["home"], ["home-0"]], **times}, "sets.1.0"),
    ):
        with pytest.raises(ScenarioError) as caught:
            parse({**SMALL, "random_faults": [spec]})
        assert [problem.key for problem in caught.value.problems] == [f"random_faults.0.{key}"]


def test_several_mistakes_come_out_at_once() -> None:
    with pytest.raises(ScenarioError) as caught:
        scenario(
            {"kind": "lost", "target": "home", "at": 1, "probability": 2},
            {"kind": "crash", "target": "nobody", "at": 1},
            {"kind": "partition", "sets": [["home"], ["home"]], "at": 1},
        )
    keys = [problem.key for problem in caught.value.problems]
    assert sorted(keys) == ["faults.0.probability", "faults.1.target", "faults.2.sets.1.0"]


@pytest.mark.parametrize("targets", ["home", None])
def test_more_random_faults_than_can_be_told_are_refused_before_they_are_drawn(targets: str | None) -> None:
    fault = {"rate_per_hour": 3600, "mean_duration": 1e-6, "until": 1e9}
    fault |= {"kind": "crash", "targets": targets} if targets else {"kind": "partition", "sets": [["home"]]}
    with pytest.raises(ScenarioError) as caught:
        scenario(random_faults=[{**fault, "until": 60}, fault])
    (problem,) = caught.value.problems
    assert problem.key == "random_faults.1.rate_per_hour"
    assert "at most 1,000,000 random faults" in problem.accepted
    # A fault a second but for its microsecond, of each of two devices or of the one partition.
    assert ("1,999,998,000" if targets else "999,999,000") in problem.hint


def test_random_faults_that_last_are_few() -> None:
    fault = {"kind": "crash", "targets": "home", "rate_per_hour": 3600, "mean_duration": "1 d", "until": 1e9}
    assert 0 < len(resolve.faults(scenario(random_faults=[fault]))) < 40_000
