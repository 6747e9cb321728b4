"""Clients' scores, their fairness, and what a target took: by hand, as properties, of a fabricated and a real run."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import aivsim
from analysis import Run
from analysis.clients import ClientScores, jain, spread, worst_decile
from analysis.compare import compare
from analysis.report import write_report
from analysis.study import Study
from analysis.summary import summary
from analysis.target import asked, reaching, target_of, usual
from core.records import (
    ClientEvaluationRow,
    EnergyRow,
    EvaluationRow,
    JobRow,
    Manifest,
    ParticipationRow,
    RoundRow,
    RunWriter,
    write_manifest,
)
from core.roles.messages import TrainResult
from core.scenario import Scenario
from tests.analysis.fabricate import fabricate

GLOBAL = {1: [0.5, 0.7, 0.9, 0.9], 2: [0.6, 0.8, 0.9, 0.9]}
PERSONAL = {2: [0.9, 0.7, 0.95, 0.9]}
POSITIVE = st.lists(st.floats(1e-6, 1e6), min_size=1, max_size=60)


def by_hand(
    directory: Path,
    *,
    target: Any = None,
    accuracies: tuple[float | None, ...] = (0.7, 0.9, 0.8),
    errors: tuple[float | None, ...] = (None, None, None),
    clients: bool = True,
) -> Path:
    """Three rounds of 10 s and four clients; 1000 B are delivered at 5, 15 and 25 s, and a trains for 30 s at 2 W."""
    writer = RunWriter(directory)
    for number, (accuracy, error) in enumerate(zip(accuracies, errors, strict=True), 1):
        end_s = 10.0 * number
        writer.message(end_s - 6.0, end_s - 5.0, "a", "coordinator", TrainResult, 1000)
        row = RoundRow(
            round=number,
            started_s=end_s - 10.0,
            ended_s=end_s,
            available=4,
            selected=4,
            accepted=4,
            late=0,
            lost=0,
            declined=0,
            rejected=0,
            not_finite=0,
            examples=40,
            outcome="aggregated",
        )
        writer.row(end_s, "coordinator", row)
        found = EvaluationRow(round=number, examples=50, accuracy=accuracy, loss=1.0 / number, error=error)
        writer.row(end_s + 1.0, "coordinator", found)
    regression = any(error is not None for error in errors)
    for model, rounds in (("global", GLOBAL), ("personal", PERSONAL)) if clients else ():
        for number, scores in rounds.items():
            for client, score in zip("abcd", scores, strict=True):
                evaluated = ClientEvaluationRow(
                    round=number,
                    client=client,
                    model=model,
                    examples=10,
                    accuracy=None if regression else score,
                    loss=0.5,
                    error=score if regression else None,
                )
                writer.row(10.0 * number + 2.0, "coordinator", evaluated)
    job = JobRow(
        function="f", started_s=0.0, seconds=30.0, flops=1.0, steps=1, joules=60.0, outcome="done", purpose="training"
    )
    writer.row(30.0, "a", job)
    writer.row(30.0, "a", EnergyRow(component="processor", joules=60.0))
    writer.row(30.0, "coordinator", ParticipationRow(round=1, client="a", event="accepted"))
    writer.close()
    manifest = Manifest(
        name="hand",
        scenario={} if target is None else {"report": {"target": target}},
        seed=1,
        world="sim",
        outcome="done",
        started="2020-01-01T00:00:00+00:00",
        simulated_s=30.0,
        trace_sha256=writer.trace_sha256,
    )
    write_manifest(directory, manifest)
    return directory


def of(directory: Path) -> Study:
    return Study(Run(directory))


def plain(lines: list[str]) -> str:
    return "\n".join(lines).replace("\u00a0", " ").replace("\u202f", " ")


# The measures.


def test_jain_by_hand() -> None:
    assert jain(np.array([0.3, 0.3, 0.3])) == pytest.approx(1.0)
    assert jain(np.array([5.0, 0.0, 0.0, 0.0])) == 0.25
    # (1 + 2 + 3)² / (3 · 14)
    assert jain(np.array([1.0, 2.0, 3.0])) == pytest.approx(36.0 / 42.0)
    # Half of them equal, the others nothing: the share that has something (Jain, Chiu and Hawe 1984, Section 4).
    assert jain(np.array([7.0, 0.0] * 5)) == pytest.approx(0.5)
    assert jain(np.zeros(4)) == 1.0
    assert math.isnan(jain(np.array([])))


@given(POSITIVE, st.floats(1e-150, 1e150))
def test_jain_is_within_its_bounds_and_has_no_scale(values: list[float], factor: float) -> None:
    x = np.array(values)
    found = jain(x)
    assert 1.0 / len(x) * (1.0 - 1e-9) <= found <= 1.0 + 1e-9
    assert jain(x * factor) == pytest.approx(found, rel=1e-9)
    # It is 1 / (1 + the squared coefficient of variation).
    assert found == pytest.approx(1.0 / (1.0 + x.var() / x.mean() ** 2), rel=1e-6)


def test_the_worst_decile_by_hand() -> None:
    twenty = np.arange(20.0)
    assert worst_decile(twenty) == 0.5
    assert worst_decile(twenty, low_is_good=True) == 18.5
    # Of less than ten it is the worst one; of eleven two.
    assert worst_decile(np.array([3.0, 1.0, 2.0])) == 1.0
    assert worst_decile(np.arange(11.0)) == 0.5
    assert math.isnan(worst_decile(np.array([])))


@given(POSITIVE, st.randoms(use_true_random=False))
def test_measures_do_not_depend_on_the_order_of_clients(values: list[float], shuffled: Any) -> None:
    other = list(values)
    shuffled.shuffle(other)
    a, b = (spread(1, np.array(v)) for v in (values, other))
    assert msgspec.to_builtins(a) == pytest.approx(msgspec.to_builtins(b), rel=1e-9, abs=1e-9)
    assert a.worst_decile <= a.mean * (1.0 + 1e-12)
    worst = worst_decile(np.array(values), low_is_good=True)
    assert worst >= a.mean * (1.0 - 1e-12)


# Clients of a run.


def test_the_clients_of_a_run(tmp_path: Path) -> None:
    scores = ClientScores(of(by_hand(tmp_path)))
    assert scores.models == ["global", "personal"]
    assert [s.round for s in scores.spreads("global")] == [1, 2]
    last = scores.final("global")
    assert (last.round, last.clients) == (2, 4)
    assert last.mean == pytest.approx(0.8)
    assert last.worst_decile == 0.6
    assert last.variance == pytest.approx((0.04 + 0.0 + 0.01 + 0.01) / 4)
    assert last.jain == pytest.approx(3.2**2 / (4 * (0.36 + 0.64 + 0.81 + 0.81)))
    assert scores.gains == pytest.approx({"a": 0.3, "b": -0.1, "c": 0.05, "d": 0.0})


def test_the_report_tells_of_clients(tmp_path: Path) -> None:
    text = write_report(by_hand(tmp_path)).read_text().replace("\u00a0", " ")
    assert '<figure id="clients">' in text
    assert "How the accuracy differs between clients" in text
    assert "better for 2 and worse for 1, better by 6.2 points in the mean" in text
    # The variance 0.015 in squared points.
    cells = re.findall(r"<td[^>]*>([^<]*)</td>", text)
    at = cells.index("global model")
    assert cells[at : at + 7] == ["global model", "2", "4", "80.0 %", "60.0 %", "150", "0.977"]
    # The worst off comes first, with both of its scores.
    assert re.search(r"<td[^>]*>a</td><td>10</td><td>60.0 %</td><td>90.0 %</td>", text)
    lines = plain(summary(tmp_path))
    assert "  by client mean 80.0 %, worst decile 60.0 %, Jain's index 0.977 (4 clients)" in lines
    assert "  own model mean 86.2 %, worst decile 70.0 %" in lines


@pytest.mark.parametrize("errors", [(None, None, None), (0.5, 0.3, 0.4)])
def test_without_clients_nothing_is_said_of_them(tmp_path: Path, errors: tuple[float | None, ...]) -> None:
    text = write_report(by_hand(tmp_path, clients=False, errors=errors)).read_text()
    assert '<figure id="clients">' not in text
    assert "differs between clients" not in text
    assert "worst decile" not in plain(summary(tmp_path))


def test_errors_of_clients_are_worst_where_they_are_large(tmp_path: Path) -> None:
    run = by_hand(tmp_path, accuracies=(None,) * 3, errors=(0.5, 0.3, 0.4))
    scores = ClientScores(of(run))
    assert scores.final("global").worst_decile == 0.9
    assert scores.gains["a"] == pytest.approx(-0.3)
    text = write_report(run).read_text()
    assert "How the error differs between clients" in text
    assert "points" not in text


# The target.


def test_what_the_target_took(tmp_path: Path) -> None:
    target = target_of(of(by_hand(tmp_path, target=0.85)))
    assert target is not None
    reached = target.reached
    assert reached is not None
    # The second model, at 20 s: two messages of 1000 B, and 20 s of training at 2 W, exactly.
    assert (reached.round, reached.time_s, reached.size_bytes) == (2, 20.0, 2000.0)
    assert reached.joules == pytest.approx(40.0, rel=1e-9)
    said = "target    85.0 %: after round 2: 20 s, 2 kB delivered, 40 J by clients"
    assert said in plain(summary(tmp_path))
    text = write_report(tmp_path).read_text().replace("\u00a0", " ")
    assert "85.0 % (the target)" in text
    assert "Dotted: the target, 85.0 %." in text


def test_a_target_that_was_missed_is_told(tmp_path: Path) -> None:
    by_hand(tmp_path, target=0.95)
    said = "95.0 %: not reached (best 90.0 % after round 2)"
    assert f"  target    {said}" in plain(summary(tmp_path))
    text = write_report(tmp_path).read_text().replace("\u00a0", " ")
    assert "not reached (best 90.0 % after round 2)" in text
    # Missed by a hair, with the digits that show it.
    close = target_of(of(by_hand(tmp_path / "close", target=0.9002)))
    assert close is not None
    assert plain([close.missed]) == "not reached (best 90.00 % after round 2)"


def test_an_error_is_reached_from_above(tmp_path: Path) -> None:
    study = of(by_hand(tmp_path, target=0.35, accuracies=(None,) * 3, errors=(0.5, 0.3, 0.4), clients=False))
    target = target_of(study)
    assert target is not None
    assert target.reached is not None
    assert target.reached.round == 2
    assert [level.level for level in usual(study)] == [0.35]
    assert reaching(study, 0.2).missed == "not reached (best 0.300 after round 2)"
    text = write_report(tmp_path).read_text()
    assert "What an error cost" in text
    assert "0.350 (the target)" in text
    assert "target    0.350: after round 2: 20 s" in plain(summary(tmp_path))


def test_scores_that_were_never_computed_reach_nothing(tmp_path: Path) -> None:
    """As of a run at the fidelity `timing`."""
    by_hand(tmp_path, target=0.9, accuracies=(None,) * 3, clients=False)
    said = "90.0 %: not known (no model's score was computed)"
    assert f"  target    {said}" in plain(summary(tmp_path))
    text = write_report(tmp_path).read_text()
    assert "not known" in text
    assert '<figure id="learning">' not in text


@pytest.mark.parametrize("target", [True, "90 %", -1.0, 0, [0.9], float("inf"), None])
def test_a_manifest_without_a_usable_target_has_none(tmp_path: Path, target: Any) -> None:
    study = of(by_hand(tmp_path))
    study.manifest.scenario["report"] = {"target": target}
    assert asked(study) is None
    study.manifest.scenario["report"] = target
    assert asked(study) is None


def test_comparisons_hold_both_runs_against_the_targets(tmp_path: Path) -> None:
    a = by_hand(tmp_path / "a", target=0.85)
    b = by_hand(tmp_path / "b", accuracies=(0.5, 0.6, 0.84))
    figures = {plain([f.name]): (plain([f.a]), plain([f.b])) for f in compare(a, b).figures}
    assert figures["rounds to 85.0 %"] == ("2", "not reached (best 84.0 % after round 3)")
    assert figures["time to 85.0 %"] == ("20 s", "–")
    assert figures["bytes to 85.0 %"] == ("2 kB", "–")
    assert figures["clients' energy to 85.0 %"] == ("40 J", "–")
    assert figures["clients, global model: mean"] == ("80.00 %", "80.00 %")
    assert figures["clients, own models: worst decile"] == ("70.00 %", "70.00 %")
    neither = compare(by_hand(tmp_path / "c", target=0.99), b)
    (found,) = [f for f in neither.figures if f.name.startswith("to ")]
    assert plain([found.a, found.b]) == (
        "not reached (best 90.0 % after round 2)\nnot reached (best 84.0 % after round 3)"
    )
    assert "to 99.0 %" in plain(neither.lines())


def test_the_same_target_in_a_large_run(tmp_path: Path) -> None:
    """Joules and bytes until a target are no more than those of the run, and grow with the target."""
    study = of(fabricate(tmp_path / "x", rounds=12))
    found = [reaching(study, level).reached for level in (0.3, 0.5, 0.7, 0.8)]
    assert None not in found
    spent = [(r.round, r.time_s, r.size_bytes, r.joules) for r in found if r is not None]
    assert spent == sorted(spent)
    assert spent[-1][2] < study.total_bytes
    assert 0.0 < spent[-1][3] < study.total_j(study.clients)


# The scenario's key.


def scenario(target: Any, **data: Any) -> Scenario:
    return Scenario.model_validate(
        {
            "training": {"rounds": 1, "min_participants": 2},
            "devices": [{"name": "phone", "count": 2, "device": "phone_mid", "link": "wifi_home"}],
            "report": {"target": target},
            **data,
        }
    )


def test_a_target_is_a_share_or_an_error() -> None:
    assert scenario("92.5 %").report.target == 0.925
    assert scenario(3.5, data={"dataset": "quadratics"}, model={"name": "linear"}).report.target == 3.5
    for wrong in (0, -0.1, "0 %", "fast", True, 1e13):
        with pytest.raises(ValueError, match="an accuracy or an error above 0"):
            scenario(wrong)


def test_an_accuracy_above_one_is_refused() -> None:
    with pytest.raises(ValueError, match=r"report\.target: accepted: an accuracy above 0 up to 1 \(100 %\)"):
        scenario(92.5)


def test_a_target_of_a_run_that_computes_nothing_is_said_to_be_unknown(tmp_path: Path) -> None:
    settings = ["training.rounds=1", "numerics.fidelity=timing", "report.target=0.9"]
    run = aivsim.run("quickstart", settings=settings, out=tmp_path / "run")
    assert "  target    90.0 %: not computed at this fidelity (timing)" in plain(summary(run.directory))


def test_ditto_on_digits_tells_of_own_models_and_the_target(tmp_path: Path) -> None:
    settings = ["training.algorithm=ditto", "training.rounds=6", "training.eval_clients_every=3"]
    run = aivsim.run("quickstart", settings=[*settings, 'report.target="70 %"'], out=tmp_path / "run")
    study = Study(run)
    scores = ClientScores(study)
    assert {model: [s.round for s in scores.spreads(model)] for model in scores.models} == {
        "global": [3, 6],
        "personal": [3, 6],
    }
    for model in scores.models:
        final = scores.final(model)
        assert final.clients == 14
        assert 1.0 / 14 <= final.jain <= 1.0
        assert 0.0 <= final.worst_decile <= final.mean <= 1.0
    # The pooled held-out examples are those of the clients: weighted by them, their accuracies give the pooled one.
    _, last = scores.last("global")
    weights = np.array([scores.examples[client] for client in last])
    assert np.average(list(last.values()), weights=weights) == pytest.approx(study.final_accuracy, abs=1e-6)
    target = target_of(study)
    assert target is not None
    assert target.reached is not None
    at = target.reached.round
    accuracy = dict(zip(study.curve.round.tolist(), study.curve.accuracy.tolist(), strict=True))
    assert accuracy[at] >= 0.7
    assert all(score < 0.7 for number, score in accuracy.items() if number < at)
    text = plain(summary(run.directory))
    assert re.search(
        rf"  target    70\.0 %: after round {at}: [\d.]+ (s|min), [\d.]+ [kM]B delivered, [\d.]+ k?J", text
    )
    assert "  own model mean " in text
