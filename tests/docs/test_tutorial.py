"""Runs every file and command of the pages in docs that say so."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import aivsim

ROOT = Path(aivsim.__file__).resolve().parent.parent
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def run(arguments: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(arguments, cwd=folder, env=environment, capture_output=True, text=True, timeout=300)


def test_the_tutorial_does_what_it_says(tmp_path: Path) -> None:
    commands = 0
    said: dict[str, str] = {}
    for language, text in BLOCK.findall((ROOT / "docs" / "tutorial.md").read_text()):
        if language == "sh":
            for line in text.splitlines():
                words = shlex.split(line, comments=True)
                assert words[0] == "aivsim"
                done = run([sys.executable, "-m", *words], tmp_path)
                expected = 2 if "exits with 2" in line else 0
                assert done.returncode == expected, (line, done.stderr)
                commands += 1
            continue
        name = text.splitlines()[0].removeprefix("# file: ")
        (tmp_path / name).write_text(text)
        if language == "python" and name != "sign_server.py":
            done = run([sys.executable, name], tmp_path)
            assert done.returncode == 0, done.stderr
            said[name] = done.stdout
    assert commands == 5
    assert (tmp_path / "runs" / "fedavg" / "report.html").exists()
    assert len(said["look.py"].splitlines()) == 2
    # Three exchanges of a ping and a pong: six path delays of 2 ms, and the frames at 100 MB/s.
    assert "12.00" in said["ping.py"]
    plain, ahead = said["search.py"].splitlines()
    assert plain.endswith(" s, 5 looks, 5 batches, 0 jobs wasted")
    assert ahead == plain.replace("5 batches, 0 jobs", "2 batches, 3 jobs")


def test_the_own_algorithm_has_thirty_lines() -> None:
    blocks = [
        text for language, text in BLOCK.findall((ROOT / "docs" / "tutorial.md").read_text()) if language == "python"
    ]
    algorithm = next(text for text in blocks if "sign_server.py" in text.splitlines()[0])
    assert len([line for line in algorithm.splitlines()[1:] if line.strip()]) <= 30
