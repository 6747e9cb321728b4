"""A training run goes on under each kind of fault, by its rules: what was late, lost or twice is, and nothing else."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

import aivsim
from aivsim.errors import RunFailed
from analysis.faults import befallen
from analysis.study import Study
from analysis.tables import Run
from tests.studies.test_scenarios import check_energy, check_rounds

#: Fourteen phones, of which all take part in every round, so that the model shows whether one was missing.
BASE: dict[str, Any] = {"extends": "quickstart", "name": "under-faults", "training": {"rounds": 6, "pause": 5}}
#: The same with rounds that do not wait for everybody.
HASTY: dict[str, Any] = {**BASE, "training": {"rounds": 6, "pause": 5, "min_participants": 6, "deadline": 30}}
#: A round without faults takes 13 s or so.
ALWAYS = {"at": 0}


def trained(tmp_path: Path, *faults: dict[str, Any], base: dict[str, Any] = BASE, **changes: Any) -> Run:
    path = tmp_path / "scenario.yaml"
    path.write_text(json.dumps({**base, "faults": list(faults), **changes}))
    run = aivsim.run(path, out=tmp_path / "run", report=False)
    assert run.manifest.outcome == "done"
    assert run.rounds()["round"].tolist() == [*range(1, 7)]
    assert run.evaluations()["round"].tolist() == [*range(1, 7)]
    check_rounds(run)
    check_energy(run)
    return run


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return trained(tmp_path_factory.mktemp("undisturbed"))


def events(run: Run) -> Counter[str]:
    return Counter(run.columns("participation")["event"].tolist())


def touched(run: Run) -> dict[str, int]:
    """Messages that each kind of fault touched, as the report counts them."""
    found: Counter[str] = Counter()
    for fault in befallen(Study(run)):
        found[fault.kind] += fault.messages or 0
    return dict(found)


RESULTS = ["TrainResult"]
HARMLESS: dict[str, list[dict[str, Any]]] = {
    "results that come twice": [
        {"kind": "duplicated", "target": "coordinator", "probability": 1, "messages": RESULTS, **ALWAYS}
    ],
    "everything may come twice": [{"kind": "duplicated", "target": "phone-mid", "probability": 0.5, **ALWAYS}],
    "evaluations that come twice": [{"kind": "duplicated", "target": "evaluator", "probability": 1, **ALWAYS}],
    "results out of order": [
        {"kind": "reordered", "target": "coordinator", "probability": 0.5, "delay": 4, "messages": RESULTS, **ALWAYS}
    ],
    "slow phones": [{"kind": "slow", "target": "phone-low", "speed": "10 %", "at": 20, "duration": 60}],
    "a phone and an evaluator that are ahead of their time": [
        {"kind": "clock_skew", "target": "phone-mid-1", "offset": "1 h", "drift": 0.5, "at": 3},
        {"kind": "clock_skew", "target": "evaluator", "offset": "-1 h", "at": 3},
    ],
    "a disk that is full for a while": [{"kind": "disk_full", "target": "coordinator", "at": 10, "duration": 40}],
    "a link that is down for a moment": [{"kind": "link_down", "target": "phone-mid", "at": 8, "duration": 10}],
    "a partition of a moment": [{"kind": "partition", "sets": [["phone-mid"]], "at": 8, "duration": 10}],
}


@pytest.mark.parametrize("case", HARMLESS)
def test_the_model_is_that_of_an_undisturbed_run(case: str, undisturbed: Run, tmp_path: Path) -> None:
    """Nobody's update is missing and none counts twice, as sums are exact in any order."""
    run = trained(tmp_path, *HARMLESS[case])
    assert run.manifest.model_sha256 == undisturbed.manifest.model_sha256
    unseen = case.startswith(("a disk", "a phone"))
    assert (run.manifest.trace_sha256 == undisturbed.manifest.trace_sha256) is unseen
    assert run.rounds()["accepted"].tolist() == [14] * 6
    assert run.evaluations()["accuracy"].tolist() == undisturbed.evaluations()["accuracy"].tolist()
    if case == "results that come twice":
        assert events(run)["unused"] == touched(run)["duplicated"] == 14 * 6
    if case == "a disk that is full for a while":
        # The rows came later, and are the same.
        for name in ("rounds", "participation", "evaluations", "clients"):
            assert run.table(name).to_pylist() == undisturbed.table(name).to_pylist()


def test_a_lost_result_is_late(tmp_path: Path) -> None:
    lost = {"kind": "lost", "target": "phone-mid", "probability": 0.5, "messages": RESULTS, **ALWAYS}
    run = trained(tmp_path, lost, base=HASTY)
    undelivered = Counter(run.columns("undelivered")["reason"].tolist())
    assert undelivered == {"lost": touched(run)["lost"]}
    assert events(run)["late"] == undelivered["lost"] > 5
    assert run.rounds()["outcome"].tolist() == ["aggregated"] * 6


def test_lost_requests_and_joins_leave_the_others_to_train(tmp_path: Path) -> None:
    lost = {"kind": "lost", "target": "phone-low", "probability": 0.4, **ALWAYS}
    run = trained(tmp_path, lost, base=HASTY)
    assert run.rounds()["available"].max() < 14
    assert run.rounds()["late"].sum() > 0
    assert (run.rounds()["accepted"] >= 9).all()


def test_a_lost_evaluation_does_not_hold_the_end_up_for_ever(tmp_path: Path) -> None:
    path = tmp_path / "scenario.yaml"
    lost = {"kind": "lost", "target": "evaluator", "probability": 1, "messages": ["EvaluateResult"], **ALWAYS}
    path.write_text(json.dumps({**BASE, "faults": [lost]}))
    run = aivsim.run(path, out=tmp_path / "run", report=False)
    assert (run.manifest.outcome, len(run.evaluations()["round"])) == ("done", 0)
    assert run.rounds()["accepted"].tolist() == [14] * 6


def test_a_partition_that_lasts_loses_its_side_which_then_joins_again(tmp_path: Path) -> None:
    parted = {"kind": "partition", "sets": [["phone-mid"]], "at": 20, "duration": 40}
    run = trained(tmp_path, parted, base=HASTY, network={"peer_timeout": 5})
    assert run.rounds()["lost"].sum() == 6
    assert 8 in run.rounds()["selected"].tolist()
    assert run.rounds()["accepted"].tolist()[-1] == 14
    assert touched(run)["partition"] > 0


def test_results_far_out_of_order_are_unused(tmp_path: Path) -> None:
    late = {"kind": "reordered", "target": "phone-high", "probability": 1, "delay": 40, "messages": RESULTS, **ALWAYS}
    run = trained(tmp_path, late, base=HASTY)
    # Those of the last round would come after the end.
    assert (events(run)["late"], events(run)["unused"]) == (3 * 6, 3 * 5)
    assert touched(run)["reordered"] == 3 * 6


def test_a_phone_whose_battery_is_pulled_is_lost_and_comes_back(tmp_path: Path) -> None:
    pulled = {"kind": "battery_pulled", "target": "phone-mid-0", "after_messages": 2, "duration": 15}
    run = trained(tmp_path, pulled, base=HASTY, network={"peer_timeout": 5})
    assert run.rounds()["lost"].tolist() == [0, 1, 0, 0, 0, 0]
    assert run.rounds()["selected"].tolist()[-1] == 14
    rows = run.columns("devices")
    own = [event for actor, event in zip(rows["actor"], rows["event"], strict=True) if actor == "phone-mid-0"]
    assert [event for event in own if not event.startswith("job")] == ["start", "battery_pulled", "restart", "end"]


def test_a_clock_that_jumps_back_while_its_phone_trains_makes_its_report_impossible(tmp_path: Path) -> None:
    run = trained(tmp_path, {"kind": "clock_skew", "target": "phone-low-0", "offset": "-1 h", "at": 5}, base=HASTY)
    assert run.rounds()["rejected"].tolist() == [1, 0, 0, 0, 0, 0]


def test_a_coordinator_with_a_wrong_clock_keeps_its_deadlines_by_it(tmp_path: Path) -> None:
    """A clock that is four times as fast ends a round after a quarter of its deadline: 30 s are 7.5 s."""
    run = trained(tmp_path, {"kind": "clock_skew", "target": "coordinator", "drift": 3, **ALWAYS}, base=HASTY)
    rows = run.columns("participation")
    ended_s = [float(rows["time_s"][rows["event"] == "late"][0])]
    asked_s = [float(rows["time_s"][rows["event"] == "selected"][0])]
    assert ended_s[0] - asked_s[0] == pytest.approx(7.5, abs=0.1)
    assert (run.rounds()["ended_s"] - run.rounds()["started_s"]).max() == pytest.approx(30.0, abs=0.5)


def test_a_run_whose_coordinator_has_no_room_at_the_end_fails_and_keeps_what_it_had(tmp_path: Path) -> None:
    path = tmp_path / "scenario.yaml"
    path.write_text(json.dumps({**BASE, "faults": [{"kind": "disk_full", "target": "coordinator", "at": 40}]}))
    with pytest.raises(RunFailed, match=r"the disk of coordinator was full at the end: [0-9]+ of its rows are lost"):
        aivsim.run(path, out=tmp_path / "run", report=False)
    run = Run(tmp_path / "run")
    assert run.manifest.outcome == "failed"
    assert 0 < len(run.rounds()["round"]) < 6
    assert run.columns("faults")["kind"].tolist() == ["disk_full", "records_lost"]


def test_every_kind_in_one_scenario_and_its_report(tmp_path: Path) -> None:
    run = aivsim.run("faults", out=tmp_path / "run")
    check_rounds(run)
    check_energy(run)
    assert run.evaluations()["accuracy"][-1] > 0.9
    from core.scenario.names import FAULTS

    assert set(run.columns("faults")["kind"].tolist()) == set(FAULTS)
    text = (tmp_path / "run" / "report.html").read_text()
    assert '<figure id="faults">' in text
    assert all(f">{kind}</td>" in text for kind in FAULTS)
    counted = touched(run)
    rows = Counter(run.columns("impaired")["fault"].tolist())
    assert {kind: counted[kind] for kind in rows} == rows


def test_an_asynchronous_job_counts_what_comes_twice_once(tmp_path: Path) -> None:
    """Results and evaluations of clients come twice: the job is, version by version, the undisturbed one."""
    job = {"rounds": 6, "algorithm": "fedbuff", "min_participants": 6, "max_participants": 8, "eval_clients_every": 2}
    runs = []
    for name, probability in (("undisturbed", 0), ("twice", 1)):
        path = tmp_path / f"{name}.yaml"
        types = [*RESULTS, "ClientEvaluateResult"]
        twice = {"kind": "duplicated", "target": "coordinator", "probability": probability, "messages": types, **ALWAYS}
        path.write_text(json.dumps({"extends": "quickstart", "name": name, "training": job, "faults": [twice]}))
        runs.append(aivsim.run(path, out=tmp_path / name, report=False))
    undisturbed, run = runs
    assert run.manifest.model_sha256 == undisturbed.manifest.model_sha256
    for table in ("rounds", "client_evaluations"):
        assert run.table(table).num_rows == undisturbed.table(table).num_rows > 0
    assert run.rounds()["accepted"].tolist() == undisturbed.rounds()["accepted"].tolist()
    assert events(run)["unused"] > events(run)["accepted"] / 2
