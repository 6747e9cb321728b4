"""A killed run that is resumed ends with the records and model of one that was not; nothing is computed twice."""

from __future__ import annotations

import fcntl
import json
import os
import random
import re
import shutil
import signal
import struct
import subprocess
import sys
import zlib
from pathlib import Path
from typing import Any

import msgspec
import pytest

from aivsim.errors import CannotBegin
from aivsim.resuming import resume
from aivsim.runs import run
from core.compute.checkpoint import Checkpoint

STUDY = """
name: killed
data: {dataset: digits, partition: iid, clients: 24}
training: {rounds: %(rounds)d, max_participants: 8, local_epochs: 1, batch_size: 4, learning_rate: 0.1,
           algorithm: %(algorithm)s}
devices:
  - {name: phone, count: 24, device: phone_mid, link: wifi_home, battery: [50 %%, 100 %%], speed_spread: 0.3}
numerics: {threads: %(threads)d, max_pending: 40}
"""
ALGORITHMS = ("fedavg", "scaffold", "fedbuff")
#: Kill points of each algorithm.
KILLS = 10


def written(tmp_path: Path, algorithm: str, rounds: int, threads: int = 2) -> Path:
    scenario = tmp_path / "killed.yaml"
    scenario.write_text(STUDY % {"algorithm": algorithm, "rounds": rounds, "threads": threads}, encoding="utf-8")
    return scenario


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "aivsim", "run", *arguments, "--quiet", "--no-report"]


def manifest(directory: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((directory / "manifest.json").read_text(encoding="utf-8"))
    return found


def hashes(directory: Path) -> dict[str, Any]:
    found = manifest(directory)
    return {name: found[name] for name in ("trace_sha256", "model_sha256", "tables_sha256", "simulated_s")}


def jobs_on_disk(directory: Path) -> list[int]:
    """Jobs of each step whose results are complete in a run's journal, read without the code that is tested."""
    path = directory / "checkpoint" / "journal"
    data = path.read_bytes() if path.is_file() else b""
    jobs, at = [], 0
    while at + 8 <= len(data):
        length, crc = struct.unpack_from("<II", data, at)
        body = data[at + 8 : at + 8 + length]
        if len(body) < length or zlib.crc32(body) != crc:
            break
        _step, _signature, count, _groups = msgspec.msgpack.decode(body)
        jobs.append(count)
        at += 8 + length
    return jobs


def check_resumed(broken: Path, whole: Path, on_disk: int) -> None:
    """The resumed run is the one that was not killed, and made only what was not on the disk."""
    assert hashes(broken) == hashes(whole)
    left = {path.name for path in broken.iterdir()}
    assert left == {"manifest.json", "model.safetensors", "records"}
    everything = manifest(whole)["counts"]["jobs_executed"]
    # The issue of this allows one batch more; nothing more is needed.
    assert manifest(broken)["counts"]["jobs_executed"] == everything - on_disk


class Camera:
    """Keeps what a SIGKILL would leave: the run's folder behind the n-th entry of the journal, or amid its writing."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, run: Path, shots: dict[int, bool]) -> None:
        self.taken: list[Path] = []
        self.entries = 0
        append = Checkpoint._append

        def appended(checkpoint: Checkpoint, entry: bytes) -> None:
            self.entries += 1
            torn = shots.get(self.entries)
            if torn is not None and torn:
                with (self.shot(run) / "checkpoint" / "journal").open("ab") as journal:
                    journal.write(entry[: len(entry) // 2])
            append(checkpoint, entry)
            if torn is not None and not torn:
                self.shot(run)

        monkeypatch.setattr(Checkpoint, "_append", appended)

    def shot(self, run: Path) -> Path:
        copy = run.with_name(f"killed-{self.entries}")
        shutil.copytree(run, copy)
        self.taken.append(copy)
        return copy


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_from_wherever_it_was_killed_a_run_computes_only_what_was_not_on_the_disk(
    tmp_path: Path, algorithm: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    scenario = written(tmp_path, algorithm, rounds=12, threads=0)
    with monkeypatch.context() as patch:
        counting = Camera(patch, tmp_path / "counted", {})
        run(scenario, out=tmp_path / "counted", report=False)
    draw = random.Random(5)
    points = draw.sample(range(1, counting.entries + 1), KILLS)
    with monkeypatch.context() as patch:
        camera = Camera(patch, tmp_path / "whole", {point: draw.random() < 0.5 for point in points})
        run(scenario, out=tmp_path / "whole", report=False)
    assert len(camera.taken) == KILLS
    restored = 0
    for broken in camera.taken:
        on_disk = jobs_on_disk(broken)
        resume(broken, report=False)
        check_resumed(broken, tmp_path / "whole", sum(on_disk))
        restored += manifest(broken)["counts"]["jobs_restored"]
    assert restored > 0


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
    append = checkpoint.Checkpoint._append
    def appended(self, entry):
        if where == "torn":
            if count + 1 == number:
                append(self, entry[: len(entry) // 2])
            strike()
        append(self, entry)
        if where == "entry":
            strike()
    checkpoint.Checkpoint._append = appended
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


def killed(arguments: list[str], where: str, number: int) -> None:
    outcome = subprocess.run(
        [sys.executable, "-c", SUICIDE, where, str(number), *arguments[3:]], capture_output=True, text=True, check=False
    )
    assert outcome.returncode in (0, -signal.SIGKILL), outcome.stderr


def interrupted(scenario: Path, broken: Path, whole: Path, times: int, draw: random.Random, rounds: int) -> int:
    """Kill a run at `times` random moments, each time resuming it; returns how many jobs were read back in the end."""
    # About so many of each there are in a run.
    often = {"entry": 5 * rounds, "torn": 5 * rounds, "row": 60 * rounds, "file": 10 * rounds}
    arguments = command(str(scenario), "--out", str(broken))
    on_disk = 0
    for _ in range(times):
        where = draw.choice(list(often))
        killed(arguments, where, draw.randint(1, often[where] // 2))
        if (broken / "manifest.json").is_file():
            if manifest(broken)["outcome"] == "done":
                break
            arguments = command("--resume", str(broken))
            on_disk = sum(jobs_on_disk(broken))
        elif broken.exists():
            shutil.rmtree(broken)
    if not (broken / "manifest.json").is_file() or manifest(broken)["outcome"] != "done":
        subprocess.run(arguments, check=True, stdout=subprocess.DEVNULL)
    check_resumed(broken, whole, on_disk)
    restored: int = manifest(broken)["counts"]["jobs_restored"]
    return restored


def test_a_killed_run_resumes_bit_for_bit(tmp_path: Path) -> None:
    scenario = written(tmp_path, "fedavg", rounds=12)
    subprocess.run(command(str(scenario), "--out", str(tmp_path / "whole")), check=True, stdout=subprocess.DEVNULL)
    assert interrupted(scenario, tmp_path / "broken", tmp_path / "whole", 2, random.Random(3), rounds=12) > 0


@pytest.mark.slow
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_run_that_is_killed_anywhere_ends_as_if_it_were_not(tmp_path: Path, algorithm: str) -> None:
    scenario = written(tmp_path, algorithm, rounds=20)
    subprocess.run(command(str(scenario), "--out", str(tmp_path / "whole")), check=True, stdout=subprocess.DEVNULL)
    draw, restored = random.Random(7), 0
    for number in range(KILLS):
        broken = tmp_path / f"broken-{number}"
        restored += interrupted(scenario, broken, tmp_path / "whole", draw.choice((1, 1, 3)), draw, rounds=20)
    assert restored > 0


def refused(*arguments: str) -> str:
    outcome = subprocess.run(command(*arguments), capture_output=True, text=True, env=os.environ, check=False)
    assert outcome.returncode == 2, outcome.stderr
    assert "Traceback" not in outcome.stderr
    return outcome.stderr


def test_what_cannot_be_resumed_is_refused(tmp_path: Path) -> None:
    done = tmp_path / "done"
    run(written(tmp_path, "fedavg", rounds=1), out=done, report=False)
    assert "this run is done" in refused("--resume", str(done))
    assert "either a SCENARIO" in refused()
    assert "--set" in refused("--resume", str(done), "--set", "seed=2")
    with pytest.raises(CannotBegin, match=r"no manifest\.json"):
        resume(tmp_path / "nowhere")
    text = (done / "manifest.json").read_text(encoding="utf-8")
    (done / "manifest.json").write_text(text.replace('"done"', '"running"'), encoding="utf-8")
    (done / "checkpoint").mkdir()
    (done / "checkpoint" / "journal").write_bytes(b"\x05\x00\x00\x00\x00\x00\x00\x00hello")
    # A journal that ends in the middle of an entry is cut off there; the run is computed anew.
    resume(done, report=False)
    assert manifest(done)["resumes"] == 1


OWN = """
name: own
data: {dataset: data.csv, partition: iid, clients: 4, options: {y: kind}}
model: {name: "parts/net.py:Net"}
training: {rounds: 2, local_epochs: 1, batch_size: 4, learning_rate: 0.1, algorithm: "parts/rule.py:rule"}
links: {here: {kind: wifi, latency: 10 ms, up: 1 MB/s, down: 1 MB/s, trace: {up: up.csv}}}
devices: [{name: phone, count: 4, device: phone_mid, link: here}]
"""
NET = """
import sizes_of_a_net
from flax import nnx

class Net(nnx.Module):
    def __init__(self, rngs, *, input_shape, classes):
        self.a = nnx.Linear(input_shape[0], sizes_of_a_net.HIDDEN, rngs=rngs)
        self.b = nnx.Linear(sizes_of_a_net.HIDDEN, classes, rngs=rngs)

    def __call__(self, x):
        return self.b(nnx.relu(self.a(x)))
"""
RULE = """
from core.learning import ALGORITHMS

def rule(model, batch_size, server_learning_rate):
    return ALGORITHMS["fedavg"](model, batch_size, server_learning_rate)
"""


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a study of own parts, killed behind its sixth entry."""
    folder = tmp_path_factory.mktemp("own")
    draw = random.Random(1)
    rows = [f"{draw.random():.3f},{draw.random():.3f},{'ab'[n % 2]}" for n in range(80)]
    (folder / "parts").mkdir()
    for name, text in {
        "own.yaml": OWN,
        "data.csv": "\n".join(["p,q,kind", *rows]),
        "parts/net.py": NET,
        "parts/rule.py": RULE,
        "parts/sizes_of_a_net.py": "HIDDEN = 5\n",
        "up.csv": "time_s,bytes_per_s\n0,100000\n1,200000\n2,150000\n",
    }.items():
        (folder / name).write_text(text, encoding="utf-8")
    os.environ["PYTHONPATH"] = os.pathsep.join([os.environ.get("PYTHONPATH", ""), str(folder / "parts")])
    try:
        killed(command(str(folder / "own.yaml"), "--out", str(folder / "run")), "entry", 6)
        yield folder
    finally:
        os.environ["PYTHONPATH"] = os.environ["PYTHONPATH"].rpartition(os.pathsep)[0]


@pytest.mark.parametrize(
    ("file", "old", "new", "key"),
    [
        ("data.csv", ",a", ",b", "data.dataset"),
        ("parts/net.py", "self.b(nnx", "self.b(-nnx", "model.name"),
        ("parts/sizes_of_a_net.py", "5", "5 * 1", "model.name"),
        ("parts/rule.py", "(model, batch_size, server_learning_rate)\n", "(model, 1, 1.0)\n", "training.algorithm"),
        ("up.csv", "100000", "300000", "links.here.trace.up"),
    ],
)
def test_a_run_whose_parts_have_changed_is_refused(own: Path, file: str, old: str, new: str, key: str) -> None:
    before = manifest(own / "run")
    assert sum(jobs_on_disk(own / "run")) > 0
    text = (own / file).read_text(encoding="utf-8")
    assert old in text
    (own / file).write_text(text.replace(old, new, 1), encoding="utf-8")
    try:
        said = refused("--resume", str(own / "run"))
    finally:
        (own / file).write_text(text, encoding="utf-8")
    named = [line.strip() for line in said.splitlines() if "SHA-256 was" in line]
    assert len(named) == 1
    assert named[0].startswith(f"{key} (")
    assert f"SHA-256 was {before['inputs_sha256'][key][:12]}, is " in named[0]
    assert "run the scenario anew" in said
    assert manifest(own / "run") == before


@pytest.mark.parametrize(
    ("damage", "key"), [("data", "data.dataset"), ("net", "model.name"), ("rounds", "training.rounds")]
)
def test_a_run_whose_scenario_cannot_be_used_any_more_is_refused(
    own: Path, tmp_path: Path, damage: str, key: str
) -> None:
    broken = tmp_path / "run"
    shutil.copytree(own / "run", broken)
    told = manifest(broken)
    if damage == "rounds":
        told["scenario"]["training"]["rounds"] = value = -4
    elif damage == "data":
        told["scenario"]["data"]["dataset"] = value = str(own / "gone.csv")
    else:
        told["scenario"]["model"]["name"] = value = f"{own / 'gone.py'}:Net"
    (broken / "manifest.json").write_text(json.dumps(told), encoding="utf-8")
    said = refused("--resume", str(broken))
    assert f"{broken / 'manifest.json'}: {key}: " in said
    assert str(value) in said
    assert "Traceback" not in said
    assert manifest(broken) == told


def test_a_run_whose_parts_are_as_they_were_is_taken_up_and_one_of_another_aivsim_is_not(own: Path) -> None:
    broken = own / "again"
    shutil.copytree(own / "run", broken)
    text = (broken / "manifest.json").read_text(encoding="utf-8")
    ours = manifest(broken)["inputs_sha256"]["aivsim"]
    other = text.replace(f'"{ours}"', f'"{"0" * 64}", "no.such.key": "1"')
    (broken / "manifest.json").write_text(other, encoding="utf-8")
    said = refused("--resume", str(broken))
    assert f"the code of aivsim itself: SHA-256 was 000000000000, is {ours[:12]}" in said
    assert "no.such.key: SHA-256 was 1, is none" in said
    (broken / "manifest.json").write_text(text, encoding="utf-8")
    on_disk = sum(jobs_on_disk(broken))
    whole = own / "whole"
    subprocess.run(command(str(own / "own.yaml"), "--out", str(whole)), check=True, stdout=subprocess.DEVNULL)
    subprocess.run(command("--resume", str(broken)), check=True, stdout=subprocess.DEVNULL)
    check_resumed(broken, whole, on_disk)


@pytest.mark.parametrize(
    ("field", "name", "value"),
    [
        ("versions", "ml_dtypes", "0.0.1"),
        ("environment", "XLA_FLAGS", "--xla_cpu_enable_fast_math=true"),
        ("environment", "JAX_DEFAULT_MATMUL_PRECISION", "bfloat16"),
        ("environment", "processor", "another one"),
    ],
)
def test_a_run_that_was_begun_with_what_computes_other_bits_is_refused(
    own: Path, tmp_path: Path, field: str, name: str, value: str
) -> None:
    broken = tmp_path / "run"
    shutil.copytree(own / "run", broken)
    told = manifest(broken)
    now = told[field].get(name, "–")
    told[field][name] = value
    (broken / "manifest.json").write_text(json.dumps(told), encoding="utf-8")
    with pytest.raises(CannotBegin, match=re.escape(f"{name} {value} → {now}")):
        resume(broken)


def test_the_environment_that_is_compared_is_the_one_that_computes(own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A variable that is set only when a run is taken up is found; the flags that we set ourselves are among them."""
    monkeypatch.setenv("JAX_DEFAULT_PRNG_IMPL", "rbg")
    with pytest.raises(CannotBegin, match="JAX_DEFAULT_PRNG_IMPL – → rbg"):
        resume(own / "run")
    assert "--xla_cpu_multi_thread_eigen=false" in manifest(own / "run")["environment"]["XLA_FLAGS"]


def test_one_process_at_a_time_is_at_a_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scenario = written(tmp_path, "fedavg", rounds=2, threads=0)
    with monkeypatch.context() as patch:
        camera = Camera(patch, tmp_path / "whole", {3: False})
        run(scenario, out=tmp_path / "whole", report=False)
    (broken,) = camera.taken
    # The lock file of a process that was killed is no lock.
    assert (broken / ".lock").is_file()
    before = {path: path.read_bytes() for path in broken.rglob("*") if path.is_file()}
    with (broken / ".lock").open("r+") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(CannotBegin, match=f"process {os.getpid()} on .* is at this run; wait"):
            resume(broken)
    assert {path: path.read_bytes() for path in broken.rglob("*") if path.is_file()} == before
    resume(broken, report=False)
    check_resumed(broken, tmp_path / "whole", sum(jobs_on_disk(broken)) + manifest(broken)["counts"]["jobs_restored"])


def test_what_a_run_that_was_killed_at_its_very_end_has_left_is_done(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    run(written(tmp_path, "fedavg", rounds=1, threads=0), out=folder, report=False)
    before = manifest(folder)
    (folder / "checkpoint").mkdir()
    (folder / "checkpoint" / "journal").touch()
    resume(folder, report=False)
    assert {path.name for path in folder.iterdir()} == {"manifest.json", "model.safetensors", "records"}
    resume(folder)
    assert (folder / "report.html").stat().st_size > 0
    assert manifest(folder) == before
    with pytest.raises(CannotBegin, match="this run is done"):
        resume(folder)
