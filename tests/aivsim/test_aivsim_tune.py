"""Layouts that are measured once and looked up by runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from aivsim import tune
from aivsim.cli import cli

STUDY = """
name: small
training: {rounds: 1, max_participants: 3}
devices: [{name: phone, count: 3, device: phone_mid, link: wifi_home}]
numerics: {layout: tuned}
"""


@pytest.fixture
def study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(tune, "LAYOUTS", ("scan", "scan/vmap:2"))
    path = tmp_path / "small.yaml"
    path.write_text(STUDY, encoding="utf-8")
    return path


def manifest(directory: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((directory / "manifest.json").read_text(encoding="utf-8"))
    return found


def test_a_run_uses_what_was_tuned_and_says_so(study: Path, tmp_path: Path) -> None:
    runner = CliRunner()
    before = runner.invoke(cli, ["run", str(study), "--out", str(tmp_path / "a"), "--quiet", "--no-report"])
    assert before.exit_code == 0, before.output
    assert manifest(tmp_path / "a")["layout"] == "scan"
    done = runner.invoke(cli, ["tune", str(study), "--repeats", "1"])
    assert done.exit_code == 0, done.output
    assert "updates/s" in done.output
    assert "best" in done.output
    table = json.loads(tune.table_path().read_text(encoding="utf-8"))
    assert len(table) == 1
    (key,) = table
    assert "fedavg.local_update" in key
    tune.table_path().write_text(json.dumps({key: "scan/vmap:2"}), encoding="utf-8")
    after = runner.invoke(cli, ["run", str(study), "--out", str(tmp_path / "b"), "--quiet", "--no-report"])
    assert after.exit_code == 0, after.output
    assert manifest(tmp_path / "b")["layout"] == "scan/vmap:2"
    assert manifest(tmp_path / "b")["scenario"]["numerics"]["layout"] == "scan/vmap:2"


def test_a_table_that_is_none_is_refused(study: Path, tmp_path: Path) -> None:
    tune.table_path().parent.mkdir(parents=True)
    tune.table_path().write_text('{"x": "sideways"}', encoding="utf-8")
    done = CliRunner().invoke(cli, ["run", str(study), "--out", str(tmp_path / "c"), "--quiet"])
    assert done.exit_code != 0
    assert "tune again" in str(done.output) + str(done.exception)
