"""Algorithms with client state end alike in the simulator and on sockets: model, messages, what clients report."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

import aivsim
from analysis.tables import Run


def messages(run: Run) -> Counter[tuple[Any, ...]]:
    rows = run.table("messages").to_pylist()
    return Counter((r["sender"], r["receiver"], r["type"], r["size_bytes"]) for r in rows)


def rows(run: Run, table: str, *columns: str) -> list[tuple[Any, ...]]:
    return sorted(tuple(row[name] for name in columns) for row in run.table(table).to_pylist())


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "more"),
    [("scaffold", []), ("ditto", []), ("fednova", []), ("ifca", ["training.options.clusters=2"])],
)
def test_both_worlds_end_alike(name: str, more: list[str], tmp_path: Path) -> None:
    settings = [f"training.algorithm={name}", "training.rounds=3", "training.local_epochs=1", "real.time_scale=0.05"]
    settings += ["training.eval_clients_every=3", *more]
    sim = aivsim.run("quickstart", settings=settings, out=tmp_path / "sim", report=False)
    real = aivsim.run("quickstart", settings=settings, world="real", processes=2, out=tmp_path / "real", report=False)
    assert real.manifest.model_sha256 == sim.manifest.model_sha256
    assert messages(real) == messages(sim)
    evaluated = ("round", "client", "model", "examples", "accuracy", "loss")
    assert rows(real, "client_evaluations", *evaluated) == rows(sim, "client_evaluations", *evaluated)
    models = Counter(row[2] for row in rows(sim, "client_evaluations", *evaluated))
    assert models == ({"global": 14, "personal": 14} if name in ("ditto", "ifca") else {"global": 14})
    trained = ("round", "client", "examples", "steps", "staleness", "state_bytes", "loss")
    assert rows(real, "clients", *trained) == rows(sim, "clients", *trained)


@pytest.mark.slow
def test_asynchronous_training_runs_on_sockets_too(tmp_path: Path) -> None:
    """Arrivals there follow the wall clock, so that only what must hold in any order is held."""
    settings = ["training.algorithm=fedbuff", "training.options.buffer=4", "training.rounds=5"]
    settings += [
        "training.min_participants=6",
        "training.max_participants=6",
        "training.local_epochs=1",
        "real.time_scale=0.05",
    ]
    real = aivsim.run("quickstart", settings=settings, world="real", processes=2, out=tmp_path / "real", report=False)
    assert real.manifest.outcome == "done"
    assert (real.rounds()["accepted"] == 4).all()
    assert real.evaluations()["round"].tolist() == [1, 2, 3, 4, 5]
    assert real.evaluations()["accuracy"][-1] > 0.5
    staleness = [row["staleness"] for row in real.table("clients").to_pylist()]
    assert len(staleness) == 20
    assert max(staleness) > 0
