"""The wheel holds our packages, not the tests, and the scenarios as data; what it installs works from any folder."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    code = "import sys; from hatchling.build import build_wheel; build_wheel(sys.argv[1])"
    done = subprocess.run([sys.executable, "-c", code, str(folder)], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (found,) = folder.glob("*.whl")
    return found


def test_a_wheel_holds_our_packages_and_the_scenarios_but_no_tests(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    tops = {name.partition("/")[0] for name in names if ".dist-info" not in name}
    assert tops == {"aivsim", "analysis", "core", "real_runtime", "sim"}
    ours = {path.name for path in (ROOT / "scenarios").glob("*.yaml")}
    assert {f"aivsim/scenarios/{name}" for name in ours} == {n for n in names if n.startswith("aivsim/scenarios/")}
    assert {"core/devices/catalogue.yaml", "core/data/digits.npz"} <= set(names)
    assert not any("__pycache__" in name or "test_" in name for name in names)


def test_an_installed_wheel_finds_our_scenarios_from_any_folder(wheel: Path, tmp_path: Path) -> None:
    # A fresh environment that has the dependencies of this one, and of aivsim only what the wheel holds.
    home = tmp_path / "environment"
    venv.create(home, with_pip=False, symlinks=True)
    python = home / "bin" / "python"
    site = Path(
        subprocess.run(
            [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"],
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()
    )
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    (site / "dependencies.pth").write_text(f"{sysconfig.get_path('purelib')}\n", encoding="utf-8")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [python, "-P", "-c", "from aivsim.__main__ import main; main()", *arguments]
        return subprocess.run(command, cwd=elsewhere, env=environment, capture_output=True, text=True, timeout=120)

    done = run("list", "scenarios")
    assert done.returncode == 0, done.stderr
    assert "quickstart" in done.stdout
    done = run("check", "quickstart")
    assert done.returncode == 0, done.stderr
    assert "14 clients, by putative writer" in done.stdout
    done = run("run", "quickstart", "--set", "training.rounds=2", "--no-report", "--quiet", "--out", "here")
    assert done.returncode == 0, done.stderr
    assert (elsewhere / "here" / "manifest.json").is_file()
    assert run("verify", "here").returncode == 0
