"""A study on sockets from the command line: a node that is killed, and an interrupt."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

import aivsim
from analysis.tables import Run

ROOT = Path(aivsim.__file__).resolve().parent.parent
#: Generous: the machine may be busy. Nothing below depends on how long a step takes.
PATIENCE_S = 120.0


@contextmanager
def running(out: Path, *settings: str) -> Iterator[tuple[subprocess.Popen[str], list[psutil.Process]]]:
    """The command in the background, once its first round has ended, with its nodes."""
    sets = [part for setting in settings for part in ("--set", setting)]
    arguments = ["run", "quickstart", "--world", "real", "--processes", "3", "--out", str(out), "--no-report", *sets]
    with subprocess.Popen(
        [sys.executable, "-m", "aivsim", *arguments],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        cwd=out.parent,
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stderr is not None
            for line in process.stderr:
                if "round" in line and "ended" in line:
                    break
            yield process, psutil.Process(process.pid).children()
        finally:
            process.kill()


def gone(nodes: list[psutil.Process]) -> bool:
    _, alive = psutil.wait_procs(nodes, timeout=PATIENCE_S)
    return not alive


def test_a_node_killed_in_mid_round_is_a_lost_client_and_the_job_goes_on(tmp_path: Path) -> None:
    settings = ("training.rounds=8", "training.min_participants=3", "real.time_scale=0.05")
    with running(tmp_path / "run", *settings) as (process, nodes):
        hosts = {
            arguments[arguments.index("--node") + 1]: node
            for node in nodes
            if "--node" in (arguments := node.cmdline())
        }
        hosts["n2"].send_signal(signal.SIGKILL)
        _, errors = process.communicate(timeout=PATIENCE_S)
        assert process.returncode == 0, errors
    assert gone(nodes)
    run = Run(tmp_path / "run")
    assert run.manifest.outcome == "done"
    assert run.manifest.counts["nodes_lost"] == 1
    rounds = run.rounds()
    assert rounds["accepted"][0] == 14
    assert rounds["lost"].sum() >= 1
    assert 3 <= rounds["accepted"][-1] < 14
    assert (rounds["outcome"] == "aggregated").all()
    lost = [row for row in run.table("participation").to_pylist() if row["event"] == "lost"]
    assert {row["detail"] for row in lost} == {"its connection is gone"}


def test_an_interrupt_ends_everything_and_keeps_what_was_recorded(tmp_path: Path) -> None:
    with running(tmp_path / "run", "real.time_scale=0.05") as (process, nodes):
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=PATIENCE_S)
        assert process.returncode == 130, errors
        assert "Traceback" not in errors
    assert gone(nodes)
    manifest = json.loads((tmp_path / "run" / "manifest.json").read_text())
    assert manifest["outcome"] == "interrupted"
    assert Run(tmp_path / "run").table("rounds").num_rows >= 1


def test_an_interrupted_simulation_keeps_what_was_recorded(tmp_path: Path) -> None:
    arguments = ["run", "quickstart", "--out", "run", "--set", "training.rounds=100000", "--no-report"]
    with subprocess.Popen(
        [sys.executable, "-m", "aivsim", *arguments],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if "round" in line and "ended" in line:
                break
        time.sleep(0.2)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=PATIENCE_S)
        assert process.returncode == 130, errors
        assert "Traceback" not in errors
        assert "stopping after the batch in progress; interrupt again to end at once" in errors
    assert json.loads((tmp_path / "run" / "manifest.json").read_text())["outcome"] == "interrupted"
    assert Run(tmp_path / "run").table("messages").num_rows > 0
