"""The command line: light, with clear errors and the right exit codes, never a traceback for a user's mistake."""

from __future__ import annotations

import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner, Result

import aivsim.commands
import aivsim.installation
from aivsim import new
from aivsim.cli import KINDS, cli
from aivsim.errors import InputWrong
from aivsim.listing import LISTED, json_schema
from core import devices
from core.scenario import load, parse
from core.scenario.names import FAULTS

# What all tests here look at takes long to make: one process makes it, once.
pytestmark = pytest.mark.xdist_group("command line")

ROOT = Path(__file__).parents[2]
HEAVY = {"jax", "simpy", "pydantic", "matplotlib", "numpy", "flax", "yaml", "pyarrow", "msgspec", "rich"}


def invoke(*arguments: str) -> Result:
    return CliRunner().invoke(cli, arguments)


def process(
    *arguments: str, folder: Path = ROOT, python: tuple[str, ...] = ("-P", "-m", "aivsim"), **extra: str
) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **extra}
    return subprocess.run(
        [sys.executable, *python, *arguments], cwd=folder, env=environment, capture_output=True, text=True, timeout=120
    )


# Lightness.


@pytest.mark.parametrize("command", ["", *sorted(set(cli.commands) - {"node"})])  # its help is real_runtime.node's
def test_help_loads_nothing_heavy(command: str) -> None:
    code = (
        "import sys, atexit; from aivsim.__main__ import main\n"
        f"atexit.register(lambda: print('LOADED', sorted({HEAVY!r} & set(sys.modules))))\n"
        f"sys.argv = {['aivsim', *([command] if command else []), '--help']!r}\n"
        "main()"
    )
    done = process(python=("-P", "-c", code))
    assert done.returncode == 0, done.stderr
    assert "Usage: aivsim" in done.stdout
    assert done.stdout.endswith("LOADED []\n")


def test_importing_aivsim_loads_nothing_heavy() -> None:
    done = process(python=("-P", "-c", f"import sys, aivsim; print({HEAVY!r} & set(sys.modules))"))
    assert done.stdout == "set()\n"


def test_help_takes_at_most_twelve_times_a_bare_interpreter() -> None:
    # Processor time, as others may use this machine: medians of interleaved runs.
    def seconds(*python: str) -> float:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        assert process(python=python).returncode == 0
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    pairs = [(seconds("-c", "pass"), seconds("-P", "-m", "aivsim", "--help")) for _ in range(9)]
    bare, ours = (statistics.median(column) for column in zip(*pairs, strict=True))
    assert ours <= 12 * bare


# Errors and exit codes.


def test_ten_mistakes_end_with_two_and_no_traceback(tmp_path: Path) -> None:
    (tmp_path / "bad.yaml").write_text(
        "naem: x\nseed: -1\nmodel: {name: sofmax}\ntraining: {rounds: 0, deadline: 5 parsec, batch: 3}\n"
        "devices:\n- {name: a, device: phone, link: wifi, battery: 2, region: x}\nnumerics: {layout: fast}\n",
        encoding="utf-8",
    )
    done = process("check", "bad.yaml", folder=tmp_path)
    assert done.returncode == 2
    assert done.stdout == ""
    lines = done.stderr.splitlines()
    assert lines[0] == "Error: the scenario has 11 problems"
    assert [line.split(": ")[:2] for line in lines[1:4]] == [
        ["  bad.yaml:1", "naem"],
        ["  bad.yaml:2", "seed"],
        ["  bad.yaml:3", "model.name"],
    ]
    assert len(lines) == 12
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("run", "quikstart"), 'did you mean "quickstart"?'),
        (("check", "quickstart", "--set", "training.rounds=x"), '--set training.rounds=x: training.rounds: found "x"'),
        (("check", "quickstart", "--seed", "x"), "Invalid value for '--seed'"),
        (("run", "quickstart", "--world", "moon"), "'moon' is not one of 'sim', 'real'"),
        (("list", "planets"), "'planets' is not one of"),
        (("show", "device", "fone"), "there is no device 'fone'"),
        (("rnu", "quickstart"), "No such command 'rnu'"),
        (("verify", "nowhere"), "nowhere is no directory of a run"),
        (("compare", "nowhere", "here"), "nowhere does not exist"),
        (("node", "--scenario", "quickstart"), "Missing option '--node'"),
        (("merge", "quickstart", "out", "nowhere"), "nowhere holds no records of a node"),
    ],
)
def test_wrong_input_ends_with_two(arguments: tuple[str, ...], says: str) -> None:
    done = process(*arguments)
    assert done.returncode == 2
    assert says in done.stderr
    assert "Traceback" not in done.stderr


def test_a_folder_that_is_not_empty_or_not_writable_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for out, says in ((tmp_path, "is not empty"), (tmp_path / "file", "cannot be written")):
        done = process("run", "quickstart", "--out", str(out))
        assert done.returncode == 2
        assert says in done.stderr


@pytest.mark.parametrize("command", ["check", "run"])
def test_an_own_part_that_cannot_be_loaded_is_named(tmp_path: Path, command: str) -> None:
    (tmp_path / "own.py").write_text("x = 1\n1 / 0\n", encoding="utf-8")
    (tmp_path / "s.yaml").write_text("extends: quickstart\nmodel: {name: 'own.py:x'}\n", encoding="utf-8")
    done = process(command, "s.yaml", folder=tmp_path)
    assert done.returncode == 2
    assert "own.py:2: ZeroDivisionError" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("command", ["check", "run"])
def test_an_own_part_that_fails_is_named(tmp_path: Path, command: str) -> None:
    (tmp_path / "own.py").write_text("def make(*_, **__):\n    return {}['x']\n", encoding="utf-8")
    text = "extends: quickstart\ntraining: {algorithm: 'own.py:make'}\n"
    (tmp_path / "quickstart.yaml").write_text(text, encoding="utf-8")
    done = process(command, "quickstart.yaml", folder=tmp_path)
    assert done.returncode == 2
    own = tmp_path / "own.py"
    assert "quickstart.yaml:2: training.algorithm: found " in done.stderr
    assert f"; {own}:make failed: KeyError: 'x' ({own}, line 2)" in done.stderr
    assert "Traceback" not in done.stderr


def test_an_interrupt_ends_with_130() -> None:
    code = (
        "import sys, aivsim.check; from aivsim.__main__ import main\n"
        "def interrupted(*_, **__): raise KeyboardInterrupt\n"
        "aivsim.check.check_command = interrupted\n"
        "sys.argv = ['aivsim', 'check', 'quickstart']\nmain()"
    )
    done = process(python=("-P", "-c", code))
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "\nInterrupted.\n")


def test_a_reader_that_has_enough_is_no_error() -> None:
    shell = f"set -o pipefail; {sys.executable} -P -m aivsim schema | head -1"
    done = subprocess.run(["bash", "-c", shell], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.stdout == "{\n"
    assert done.stderr == ""


# Traps of top-level import names.


@pytest.mark.parametrize("name", aivsim.installation.PACKAGES)
def test_a_foreign_package_before_ours_is_said_clearly(tmp_path: Path, name: str) -> None:
    (tmp_path / f"{name}.py").write_text("print('the wrong one')\n", encoding="utf-8")
    done = process("list", "links", folder=tmp_path, python=("-m", "aivsim"))
    assert done.returncode == 2
    assert f"another '{name}' stands before the one of aivsim" in done.stderr
    assert str(tmp_path / f"{name}.py") in done.stderr
    assert "wrong one" not in done.stdout


def test_a_folder_named_like_ours_does_no_harm(tmp_path: Path) -> None:
    (tmp_path / "core").mkdir()
    assert process("list", "partitions", folder=tmp_path, python=("-m", "aivsim")).returncode == 0


def test_a_missing_package_is_said_clearly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aivsim.installation.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InputWrong, match="the package 'analysis' of aivsim is missing"):
        aivsim.installation.check_installation()


def test_nodes_start_with_what_is_ours(tmp_path: Path) -> None:
    (tmp_path / "real_runtime.py").write_text("raise SystemExit(7)\n", encoding="utf-8")
    done = process("--help", folder=tmp_path, python=("-P", "-m", "real_runtime.node"))
    assert done.returncode == 0
    assert "--address-book" in done.stdout


def test_node_passes_its_options_on() -> None:
    assert "--address-book" in process("node", "--help").stdout


# What the commands print.


def test_check_says_what_the_run_would_be() -> None:
    done = invoke("check", "quickstart")
    assert done.exit_code == 0, done.output
    for words in (
        "quickstart, seed 1: Fourteen phones",
        "phone-low        5  phone_low",
        "14 clients, by putative writer",
        "softmax: 650 parameters, 2.6",
        "each asks 14 of 14 clients",
        "1\u202f334 messages",
        "On sockets",
    ):
        assert words in done.output


def test_check_takes_overrides() -> None:
    done = invoke("check", "quickstart", "--set", "training.rounds=7", "--seed", "5", "--set", "evaluator=null")
    assert "quickstart, seed 5" in done.output
    assert "7; each asks" in done.output
    # 14 joins, and a request, an acceptance and a result of each of 14 in 7 rounds; no evaluations.
    assert f"{14 + 3 * 14 * 7} messages" in done.output
    assert "evaluator  " not in done.output


@pytest.mark.parametrize("name", ["drops", "hundred_phones"])
def test_check_of_ours(name: str) -> None:
    done = invoke("check", name)
    assert done.exit_code == 0, done.output
    assert "note:" not in done.output


def test_check_says_what_stays_unused_of_the_coordinators_link() -> None:
    slow = "links.slow={kind: wifi, latency: 5 ms, up: 1 Mbit/s, down: 1 Mbit/s}"
    centre = "links.centre={kind: ethernet, latency: 1 ms, up: 140 Mbit/s, down: 1 Gbit/s}"
    done = invoke(
        "check",
        "quickstart",
        *(
            part
            for setting in (slow, centre, "coordinator.link=centre", "devices.0.link=slow")
            for part in ("--set", setting)
        ),
    )
    assert "note: in the simulator, while 14 clients at once receive from the coordinator" in done.output
    assert (
        "each has at most 10 Mbit/s of the 140 Mbit/s of its link (up), and about 32 % of that stay unused"
        in done.output
    )


@pytest.mark.parametrize("kind", KINDS)
def test_list_has_all_of_a_kind(kind: str) -> None:
    done = invoke("list", kind)
    assert done.exit_code == 0, done.output
    known = {
        "algorithms": ("fedavg",),
        "datasets": ("digits",),
        "devices": devices.profiles(),
        "links": devices.links(),
        "models": ("cnn", "softmax"),
        "faults": tuple(FAULTS),
        "partitions": ("natural", "iid", "dirichlet", "shards", "labels", "lognormal", "power_law", "sampled"),
        "regions": (*devices.regions(), *devices.backbone()),
        "scenarios": ("campus", "drops", "hundred_phones", "million_phones", "quickstart"),
        "topologies": ("access", "geometric", "mesh", "tree"),
    }[kind]
    firsts = [line.split()[0] for line in done.output.splitlines() if line.strip()]
    assert set(known) <= set(firsts)


def test_show_has_every_number_of_one_with_its_source() -> None:
    for kind, name, provenance in (
        ("device", "phone_low", devices.provenance("phone_low")),
        ("link", "lte_good", devices.link_provenance("lte_good")),
    ):
        output = invoke("show", kind, name).output
        assert output.startswith(f"{name}: ")
        for parameter in provenance:
            assert parameter.key in output
            assert parameter.evidence in output
            assert parameter.source in output


def test_the_schema_is_that_of_the_scenario_and_lets_extends_leave_keys_out() -> None:
    done = invoke("schema")
    schema = json.loads(done.output)
    assert schema == json_schema()
    assert set(schema["properties"]) >= {"extends", "training", "devices"}
    assert schema["additionalProperties"] is False
    assert schema["anyOf"] == [{"required": ["extends"]}, {"required": ["training", "devices"]}]
    assert all(("required" in section) <= (name in LISTED) for name, section in schema["$defs"].items())
    rounds = schema["$defs"]["Training"]["properties"]["rounds"]
    assert (rounds["type"], rounds["minimum"]) == ("integer", 1)
    assert "description" in rounds


# Runs.


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Result]:
    out = tmp_path_factory.mktemp("runs") / "short"
    return out, invoke("run", "quickstart", "--set", "training.rounds=2", "--quiet", "--out", str(out))


def test_a_run_ends_with_what_came_out_and_where_it_is(finished: tuple[Path, Result]) -> None:
    out, done = finished
    assert done.exit_code == 0, done.output
    manifest = json.loads((out / "manifest.json").read_text(encoding="utf-8"))
    assert parse(manifest["scenario"]) == load("quickstart", ["training.rounds=2"], directories=[ROOT / "scenarios"])
    for words in (
        "rounds    2",
        "reference 93.8 %",
        manifest["trace_sha256"],
        manifest["model_sha256"],
        f"{out}/report.html",
    ):
        assert words in done.output


def test_a_run_is_verified_reported_and_compared(finished: tuple[Path, Result]) -> None:
    out, _ = finished
    assert invoke("verify", str(out)).exit_code == 0
    (out / "report.html").unlink()
    assert invoke("report", str(out)).output == f"{out}/report.html\n"
    assert (out / "report.html").is_file()
    page = out.parent / "comparison.html"
    done = invoke("compare", str(out), str(out), "--out", str(page))
    assert done.exit_code == 0, done.output
    assert "trace_sha256" in done.output
    assert page.is_file()


def test_a_changed_run_is_noticed(finished: tuple[Path, Result], tmp_path: Path) -> None:
    copied = tmp_path / "copied"
    shutil.copytree(finished[0], copied)
    manifest = copied / "manifest.json"
    hashed = json.loads(manifest.read_text(encoding="utf-8"))["model_sha256"]
    manifest.write_text(manifest.read_text(encoding="utf-8").replace(hashed, "0" * 64), encoding="utf-8")
    done = invoke("verify", str(copied))
    assert done.exit_code == 1
    assert hashed in done.output


# A new scenario.


def test_a_new_scenario_loads_and_is_not_overwritten(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    assert invoke("new", str(file)).exit_code == 0
    found = load(file)
    assert (found.name, found.device_count) == ("my-study", 10)
    assert invoke("check", str(file)).exit_code == 0
    file.write_text("mine\n", encoding="utf-8")
    done = invoke("new", str(file))
    assert done.exit_code == 2
    assert "--force overwrites it" in done.output
    assert file.read_text(encoding="utf-8") == "mine\n"
    assert invoke("new", str(file), "--force").exit_code == 0
    assert load(file) == found


def test_a_new_scenario_cannot_be_written_where_there_is_no_folder(tmp_path: Path) -> None:
    done = invoke("new", str(tmp_path / "no" / "mine.yaml"))
    assert done.exit_code == 2
    assert "No such file or directory" in done.output


def test_a_new_scenario_shows_every_key_and_each_can_be_switched_on() -> None:
    text = new.text()
    lines = [
        line.replace("#", "", 1) if line.lstrip().startswith("#") and line.lstrip()[1:2] != " " else line
        for line in text.splitlines()
    ]
    # An item of a list stands behind `#  -`, with its hash at the margin.
    lines = [line[1:] if line.startswith("#  - ") else line for line in lines]
    everything = yaml.safe_load("\n".join(lines))
    found = parse(everything)
    resolved = found.resolved()
    assert set(everything) == set(resolved)
    for section in ("data", "training", "network", "numerics", "real"):
        assert set(everything[section]) == set(resolved[section])
    assert found.faults
    assert found.random_faults
    assert found.links
    assert found.profiles
