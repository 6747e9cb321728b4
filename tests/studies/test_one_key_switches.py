"""`training.algorithm` alone switches the algorithm; what no update went into, and who is left out, is told."""

from __future__ import annotations

from pathlib import Path

import pytest

import aivsim
from aivsim.errors import RunFailed
from analysis.report import write_report
from analysis.summary import summary
from analysis.tables import Run
from core.scenario.names import ALGORITHMS
from sim.world import World

SHORT = ("training.rounds=1", "training.eval_clients_every=1")


@pytest.mark.parametrize("name", ALGORITHMS)
def test_every_algorithm_runs_on_the_quickstart(name: str, tmp_path: Path) -> None:
    """All messages, functions and sizes; without numbers, which take seconds each."""
    settings = [*SHORT, f"training.algorithm={name}", "numerics.fidelity=timing"]
    run = aivsim.run("quickstart", settings=settings, out=tmp_path / "run", report=False)
    assert run.rounds()["outcome"].tolist() == ["aggregated"]


@pytest.mark.parametrize(
    "name", [name if name == "fedrep" else pytest.param(name, marks=pytest.mark.slow) for name in ALGORITHMS]
)
def test_every_algorithm_learns_on_the_quickstart(name: str, tmp_path: Path) -> None:
    """With the quickstart's other keys, whose learning rate of 0.2 suits a server of 1 and not Adam's."""
    settings = [*SHORT, "training.rounds=3", f"training.algorithm={name}"]
    run = aivsim.run("quickstart", settings=settings, out=tmp_path / "run", report=False)
    rows = run.columns("client_evaluations")
    own = rows["model"] == "personal"
    best = rows["accuracy"][own if own.any() else rows["model"] == "global"]
    assert best[-14:].mean() > (0.15 if name in ("fedadagrad", "fedadam", "fedyogi") else 0.5)


def test_a_run_that_learned_nothing_says_so(tmp_path: Path) -> None:
    """Targets of 10^6 make every update larger than the exact sum takes; divided, they are learned."""
    rows = "".join(f"{i % 3},{i % 10},{100_000 * (i % 10)}\n" for i in range(120))
    (tmp_path / "prices.csv").write_text(f"client,size,y\n{rows}", encoding="utf-8")
    (tmp_path / "prices.yaml").write_text(
        "name: prices\n"
        "data: {dataset: prices.csv, options: {task: regression, standardise: true}}\n"
        "model: {name: linear}\n"
        "training: {rounds: 2, local_epochs: 3, learning_rate: 0.05}\n"
        "devices: [{name: shop, count: 2, device: gateway, link: fixed_world}]\n",
        encoding="utf-8",
    )
    vain = aivsim.run(tmp_path / "prices.yaml", out=tmp_path / "vain")
    assert vain.rounds()["accepted"].tolist() == [2, 2]
    assert vain.rounds()["used"].tolist() == [0, 0]
    assert vain.rounds()["not_finite"].tolist() == [2, 2]
    lines = summary(vain.directory)
    assert lines[0] == "prices is done, but nothing was learned: no update could be used in any of 2 rounds"
    assert [line.split()[0] for line in lines[1:3]] == ["note", "note"]
    assert "3 natural clients, and 2 devices: the examples of 1 client " in lines[1]
    page = write_report(vain.directory).read_text()
    assert "nothing was learned" in page
    assert "3 natural clients, and 2 devices" in page
    fine = aivsim.run(
        tmp_path / "prices.yaml", out=tmp_path / "fine", settings=["data.options.y_scale=1e6"], report=False
    )
    assert fine.rounds()["used"].tolist() == [2, 2]
    assert "nothing was learned" not in summary(fine.directory)[0]


def test_want_of_memory_outside_of_numerics_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def run(world: World) -> None:
        raise MemoryError("Unable to allocate 6.71 GiB for an array")

    monkeypatch.setattr(World, "run", run)
    with pytest.raises(RunFailed, match=r"the memory does not suffice: Unable to allocate 6\.71 GiB"):
        aivsim.run("quickstart", out=tmp_path / "run", report=False)
    assert Run(tmp_path / "run").manifest.outcome == "failed"
