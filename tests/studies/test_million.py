"""A million phones: every transition happens and is counted, and the run stays within its memory."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import aivsim
from core.availability import Table
from core.records import RunWriter, read_manifest
from core.records.store import read_parts
from core.scenario import load, parse
from core.scenario.build import study
from core.scenario.fleet import Fleet

SCENARIO = Path(__file__).parents[2] / "scenarios" / "million_phones.yaml"


def scaled(share: float, **training: Any) -> dict[str, Any]:
    """The scenario with so many of its phones."""
    data = load(SCENARIO).resolved()
    for group in data["devices"]:
        group["count"] = max(2, round(group["count"] * share))
    data["training"] |= training
    return data


def test_a_thousandth_of_them(tmp_path: Path) -> None:
    """An afternoon of a thousand phones: the counted transitions are those of the processes, to the one."""
    from core.compute import Timing
    from sim.world import World

    found = parse(scaled(0.001, rounds=8, min_participants=5, max_participants=20))
    writer = RunWriter(tmp_path, resolve=Timing().resolved)
    world = World(study(found, largest_group=1).deployment, writer, Timing())
    world.run()
    writer.close()
    rounds = [row for part in read_parts(tmp_path, "rounds") for row in part.to_pylist()]
    assert len(rounds) == 8
    assert sum(row["outcome"] == "aggregated" for row in rounds) >= 7
    _counts_agree(tmp_path, found, world.env.now, world.attendance.transitions)


def _counts_agree(directory: Path, found: Any, ended_s: float, counted: int) -> None:
    firsts = np.cumsum([0, *(group.count for group in found.devices)])
    tables: dict[str, Table] = {}
    for group, first in zip(found.devices, firsts.tolist(), strict=False):
        process = Fleet(found, group, first).process
        assert process is not None
        tables[group.name] = Table(process)
    transitions = dict.fromkeys(tables, 0)
    rows = [row for part in read_parts(directory, "availability") for row in part.to_pylist()]
    assert len(rows) >= int(ended_s // 900.0) * len(tables)
    for row in rows:
        table = tables[row["actor"]]
        transitions[row["actor"]] += len(table.until(row["time_s"]).time_s)
        assert row["transitions"] == transitions[row["actor"]]
        assert row["devices"] == table.process.count
        assert row["eligible"] == table.counts()[2]
    left = sum(len(table.until(np.nextafter(ended_s, np.inf)).time_s) for table in tables.values())
    assert counted == sum(transitions.values()) + left


@pytest.mark.slow
def test_all_of_them(tmp_path: Path) -> None:
    """A day, 100 rounds of 1,000; under 2 GB (the report beside it takes as much again, over 15 million messages)."""
    aivsim.run(SCENARIO, out=tmp_path / "run", report=False)
    manifest = read_manifest(tmp_path / "run")
    assert manifest.outcome == "done"
    costs = [row for part in read_parts(tmp_path / "run", "host_run") for row in part.to_pylist()]
    assert max(row["peak_rss_bytes"] for row in costs) < 2e9
    assert 80_000.0 < manifest.simulated_s < 100_000.0
    transitions = int(manifest.counts["transitions"])
    assert transitions > 10_000_000
    _counts_agree(tmp_path / "run", load(SCENARIO), manifest.simulated_s, transitions)
    rounds = [row for part in read_parts(tmp_path / "run", "rounds") for row in part.to_pylist()]
    assert [row["outcome"] for row in rounds] == ["aggregated"] * 100
    assert all(row["accepted"] == 1000 for row in rounds)
    lost = sum(row["declined"] + row["lost"] for row in rounds) / sum(row["selected"] for row in rounds)
    # Bonawitz et al. (2019) report 6 to 10 %; most of these rounds are shorter than theirs.
    assert 0.02 < lost < 0.1
