"""Runs every file and command of the page about faults, and holds its tables against the schema."""

from __future__ import annotations

import re
import shlex
import sys
from pathlib import Path

from core.scenario.names import FAULTS
from tests.docs.test_tutorial import BLOCK, ROOT, run

PAGE = ROOT / "docs" / "faults.md"


def test_the_page_about_faults_does_what_it_says(tmp_path: Path) -> None:
    expected = [0, 0, 2, 2]
    said = ""
    for language, text in BLOCK.findall(PAGE.read_text()):
        if language == "sh":
            for line in text.splitlines():
                done = run([sys.executable, "-m", *shlex.split(line, comments=True)], tmp_path)
                assert done.returncode == expected.pop(0), (line, done.stderr)
                assert ("exits with 2" in line) == (done.returncode == 2)
                assert "Traceback" not in done.stderr
            continue
        name = text.splitlines()[0].removeprefix("# file: ")
        (tmp_path / name).write_text(text)
        if language == "python":
            said = run([sys.executable, name], tmp_path).stdout
    assert expected == []
    kinds, impaired, rounds = said.splitlines()
    for kind in ("lost", "duplicated", "partition", "battery_pulled", "slow"):
        assert f"'{kind}'" in kinds
    assert "('lost', 'TrainResult')" in impaired
    assert len(re.findall(r"\d+", rounds)) == 24


def test_the_table_of_kinds_is_that_of_the_schema() -> None:
    rows = re.findall(r"^\| `(\w+)` \| .* \| ?(.*?) ?\|$", PAGE.read_text(), re.MULTILINE)
    told = {kind: set(re.findall(r"`(\w+)`", keys)) for kind, keys in rows}
    assert told == {kind: {*facts.needs, *facts.takes} for kind, facts in FAULTS.items()}
