"""A killed run that is resumed ends with the records and model of one that was not; nothing is computed twice."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

STUDY = """
name: killed
data: {dataset: digits, partition: iid, clients: 24}
training: {rounds: %(rounds)d, max_participants: 8, local_epochs: 1, batch_size: 4, learning_rate: 0.1,
           algorithm: %(algorithm)s}
devices:
  - {name: phone, count: 24, device: phone_mid, link: wifi_home, battery: [50 %%, 100 %%], speed_spread: 0.3}
numerics: {threads: 2, max_pending: 40}
"""


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "aivsim", "run", *arguments, "--quiet", "--no-report"]


def manifest(directory: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((directory / "manifest.json").read_text(encoding="utf-8"))
    return found


def hashes(directory: Path) -> dict[str, Any]:
    found = manifest(directory)
    return {name: found[name] for name in ("trace_sha256", "model_sha256", "tables_sha256", "simulated_s")}


#: Runs the command line in a process that kills itself: at the n-th entry of the journal (`entry`), in the middle of
#: writing it (`torn`), at the n-th row of the records (`row`), or at the n-th file that appears (`file`).
SUICIDE = """
import os, signal, sys

where, number = sys.argv[1], int(sys.argv[2])
sys.argv[1:3] = []
count = 0

def strike():
    global count
    count += 1
    if count == number:
        os.kill(os.getpid(), signal.SIGKILL)

from core.compute import checkpoint
from core.records import store, writer

if where in ("entry", "torn"):
    whole = checkpoint.Checkpoint.note
    def note(self, step, sign, groups):
        class Torn:
            def __init__(self, file): self.file = file
            def write(self, data):
                global count
                if count + 1 == number:
                    self.file.write(data[: len(data) // 2])
                strike()
                self.file.write(data)
            def close(self): self.file.close()
        if where == "torn" and not isinstance(self._file, Torn):
            self._file = Torn(self._file)
        whole(self, step, sign, groups)
        if where == "entry":
            strike()
    checkpoint.Checkpoint.note = note
elif where == "row":
    plain = writer.RunWriter.row
    def row(self, *arguments):
        strike()
        plain(self, *arguments)
    writer.RunWriter.row = row
else:
    rename = os.replace
    def replace(*arguments):
        strike()
        rename(*arguments)
    os.replace = replace

from aivsim.cli import cli
cli()
"""


def interrupted(tmp_path: Path, algorithm: str, times: int, seed: int, rounds: int) -> int:
    """Kill a run at `times` random moments, each time resuming it; returns how many jobs were read back in the end."""
    scenario = tmp_path / "killed.yaml"
    scenario.write_text(STUDY % {"algorithm": algorithm, "rounds": rounds}, encoding="utf-8")
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    subprocess.run(command(str(scenario), "--out", str(whole)), check=True, stdout=subprocess.DEVNULL)
    draw = random.Random(seed)
    # About so many of each there are in a run.
    often = {"entry": 5 * rounds, "torn": 5 * rounds, "row": 60 * rounds, "file": 10 * rounds}
    arguments = command(str(scenario), "--out", str(broken))
    for _ in range(times):
        where = draw.choice(list(often))
        number = draw.randint(1, often[where] // 2)
        killed = subprocess.run(
            [sys.executable, "-c", SUICIDE, where, str(number), *arguments[3:]],
            capture_output=True,
            text=True,
            check=False,
        )
        assert killed.returncode in (0, -signal.SIGKILL), killed.stderr
        if (broken / "manifest.json").is_file():
            arguments = command("--resume", str(broken))
            if manifest(broken)["outcome"] == "done":
                break
        elif broken.exists():
            shutil.rmtree(broken)
    if arguments[4] != "--resume" or manifest(broken)["outcome"] != "done":
        subprocess.run(arguments, check=True, stdout=subprocess.DEVNULL)
    counts = manifest(broken)["counts"]
    assert hashes(broken) == hashes(whole)
    assert not (broken / "checkpoint").exists()
    # What was on disk was not computed again.
    assert counts["jobs_executed"] + counts["jobs_restored"] == manifest(whole)["counts"]["jobs_executed"]
    restored: int = counts["jobs_restored"]
    return restored


def test_a_killed_run_resumes_bit_for_bit(tmp_path: Path) -> None:
    assert interrupted(tmp_path, "fedavg", 2, 3, rounds=12) > 0


@pytest.mark.slow
@pytest.mark.parametrize("algorithm", ["fedavg", "scaffold", "fedbuff"])
def test_a_run_that_is_killed_ten_times_ends_as_if_it_were_not(tmp_path: Path, algorithm: str) -> None:
    assert interrupted(tmp_path, algorithm, 10, 5, rounds=30) > 0


def test_what_cannot_be_resumed_is_refused(tmp_path: Path) -> None:
    scenario = tmp_path / "killed.yaml"
    scenario.write_text(STUDY % {"algorithm": "fedavg", "rounds": 1}, encoding="utf-8")
    done = tmp_path / "done"
    subprocess.run(command(str(scenario), "--out", str(done)), check=True, stdout=subprocess.DEVNULL)

    def refused(*arguments: str) -> str:
        outcome = subprocess.run(command(*arguments), capture_output=True, text=True, env=os.environ, check=False)
        assert outcome.returncode == 2, outcome.stderr
        assert "Traceback" not in outcome.stderr
        return outcome.stderr

    assert "this run is done" in refused("--resume", str(done))
    assert "no manifest.json" in refused("--resume", str(tmp_path / "nowhere"))
    assert "either a SCENARIO" in refused()
    assert "--set" in refused("--resume", str(done), "--set", "seed=2")
    text = (done / "manifest.json").read_text(encoding="utf-8")
    (done / "manifest.json").write_text(text.replace('"done"', '"running"'), encoding="utf-8")
    (done / "checkpoint").mkdir()
    (done / "checkpoint" / "journal").write_bytes(b"\x05\x00\x00\x00\x00\x00\x00\x00hello")
    # A journal that ends in the middle of an entry is cut off there; the run is computed anew.
    subprocess.run(command("--resume", str(done)), check=True, stdout=subprocess.DEVNULL)
    assert manifest(done)["resumes"] == 1
