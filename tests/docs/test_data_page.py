"""Runs every file and command of the page about data and models."""

from __future__ import annotations

import dataclasses
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

import aivsim
from aivsim.cli import cli
from core.data.options import Reading
from core.scenario.names import DATASETS, MODELS, PARTITIONS

ROOT = Path(aivsim.__file__).resolve().parent.parent
PAGE = (ROOT / "docs" / "data.md").read_text(encoding="utf-8")
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def test_the_page_does_what_it_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    said: dict[str, str] = {}
    refused = []
    for language, text in BLOCK.findall(PAGE):
        if language == "sh":
            for line in text.splitlines():
                words = shlex.split(line, comments=True)
                assert words[0] == "aivsim"
                # In this process, as each would load the numerics anew.
                done = CliRunner().invoke(cli, words[1:])
                expected = 2 if "exits with 2" in line else 0
                assert done.exit_code == expected, (line, done.output)
                if expected:
                    refused.append(done.stderr)
            continue
        name = text.splitlines()[0].removeprefix("# file: ")
        (tmp_path / name).write_text(text)
        if language == "python":
            environment = {**os.environ, "PYTHONPATH": str(ROOT)}
            script = subprocess.run([sys.executable, name], env=environment, capture_output=True, text=True, check=True)
            said[name] = script.stdout
    assert "stays.csv: x has a missing value (line 19 at [3]); a finite number is expected; " in refused[0]
    assert "column `day` is missing; the file has clinic, age, smoker, pressure, days" in refused[1]
    error, names = said["look.py"].splitlines()
    # The mean absolute error of normal noise with the deviation 1 is √(2/π) = 0.80; the tail of the data adds to it.
    assert 0.6 < float(error) < 1.2
    assert names == "('clinic 0', 'clinic 1')"


def test_the_page_names_all_there_is() -> None:
    named = set(re.findall(r"`(\w+)`", PAGE))
    assert {field.name for field in dataclasses.fields(Reading)} <= named
    assert {*DATASETS, *MODELS, *PARTITIONS} <= named
