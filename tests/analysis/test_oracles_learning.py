"""The oracles of learning: every algorithm has a check that passes, another in its place fails; the page of results."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from click.testing import CliRunner

from aivsim import learned
from aivsim.cli import cli
from analysis.oracles import learning_exact
from analysis.oracles.learning_exact import CHECKS
from core.learning import ALGORITHMS, fedavg

PAGE = Path(__file__).parents[2] / "docs" / "learning.md"


def test_every_algorithm_has_a_check_that_passes() -> None:
    """Each check is named like its algorithm; references are finite, so that none passes for want of a number."""
    assert list(CHECKS) == list(ALGORITHMS)
    found = {name: make() for name, make in CHECKS.items()}
    assert [check.name for check in found.values()] == list(ALGORITHMS)
    assert [check for check in found.values() if not check.passed] == []


@pytest.mark.parametrize("name", ["fednova", "scaffold"])
def test_fedavg_in_the_place_of_another_algorithm_ends_the_command_with_1(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(learning_exact, "ALGORITHMS", {**ALGORITHMS, name: fedavg})
    monkeypatch.setattr(learning_exact, "CHECKS", {name: CHECKS[name]})
    result = CliRunner().invoke(cli, ["oracles", "learning"])
    assert result.exit_code == 1, result.output
    assert "1 of 1 checks failed" in result.output
    assert "FAIL" in result.output


def test_results_are_refused_before_anything_runs(tmp_path: Path) -> None:
    """Another topic, no data, a folder without them, no page, and a page without its markers in order."""
    page, data = tmp_path / "page.md", tmp_path / "data"
    page.write_text(f"{learned.END}\n{learned.BEGIN}\n", encoding="utf-8")
    data.mkdir()

    def said(*arguments: str) -> str:
        result = CliRunner().invoke(cli, ["oracles", *arguments], env={"AIVSIM_SHARED_DATA": ""})
        assert result.exit_code == 2, result.output
        return result.output

    assert "physics has none" in said("physics", "--results", str(page))
    assert "needs the reference data" in said("learning", "--results", str(page))
    assert f"has no {learned.DIGITS}" in said("learning", "--results", str(page), "--data", str(data))
    for name in (learned.DIGITS, learned.FASHION, learned.MNIST, learned.HEART):
        (data / name).parent.mkdir()
        (data / name).touch()
    assert "has no lines <!-- results -->" in said("learning", "--results", str(page), "--data", str(data))
    assert "cannot read" in said("learning", "--results", str(tmp_path / "none.md"), "--data", str(data))


def test_every_algorithm_has_a_scenario_that_is_right() -> None:
    """The asynchronous ones get as many results of clients as the others; only options that differ are named."""
    assert set(learned.SETTINGS) <= set(ALGORITHMS)
    digits, fashion = (dataclasses.replace(task, file="digits", data={}) for task in learned.TASKS)
    digits = dataclasses.replace(digits, clients=14)
    fashion = dataclasses.replace(fashion, data={"partition": "iid"})
    for name in ALGORITHMS:
        for task in (digits, fashion):
            found = task.scenario(Path(), name, 1).training
            assert found.algorithm == name
            versions = {"fedasync": 1, "fedbuff": 10}.get(name, task.cohort)
            assert found.rounds * versions == task.training["rounds"] * task.cohort


def test_a_run_tells_the_accuracy_of_the_model_and_of_the_clients_own() -> None:
    """Four rounds of Ditto on the digits that come with the project learn; FedAvg has no models of clients' own."""
    brief = {"rounds": 4, "local_epochs": 5, "learning_rate": 0.2}
    task = dataclasses.replace(learned.TASKS[0], file="digits", data={}, training=brief)
    shared, own = learned.accuracies(task.scenario(Path(), "ditto", 1), 1)
    assert 0.8 < shared < 1
    assert own is not None
    assert 0.8 < own < 1
    again, none = learned.accuracies(task.scenario(Path(), "fedavg", 1), 1)
    assert (again, none) == (shared, None)


def test_the_page_holds_a_row_of_every_algorithm_and_the_figures_of_three_set_ups() -> None:
    text = PAGE.read_text(encoding="utf-8").split(learned.BEGIN, 1)[1].split(learned.END, 1)[0]
    rows = [line.split(" | ") for line in text.splitlines() if line.startswith("| ")]
    assert [row[0].removeprefix("| ") for row in rows[1:21]] == list(ALGORITHMS)
    for name, row in zip(ALGORITHMS, rows[1:21], strict=True):
        assert row[-1].removesuffix(" |") == learned.setting_text(name)
        # The pooled figure of FedRep is with an untrained head: of it, that of the clients' own models is looked at.
        digits, fashion = (row[4], row[6]) if name == "fedrep" else (row[3], row[5])
        assert float(digits.split()[0]) > 0.85, name
        assert float(fashion.split()[0]) > 0.6, name
    assert all(task.said() in text for task in learned.TASKS)
    assert [row[0] for row in rows[22:]] == ["| pass"] * 3
