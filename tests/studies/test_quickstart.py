"""The quick start, as its user sees it: reproducible, honest about its accuracy, and the same in both worlds."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pyarrow as pa
import pytest

import aivsim
from analysis.tables import Run
from core.records import load_model, save_model, verify
from core.records.manifest import MODEL

ROOT = Path(aivsim.__file__).resolve().parent.parent


def command(*arguments: str, cwd: Path, hash_seed: str = "0") -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        [sys.executable, "-m", "aivsim", *arguments],
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )


def messages(run: Run) -> Counter[tuple[str, str, str, int]]:
    rows = run.table("messages").to_pylist()
    return Counter((r["sender"], r["receiver"], r["type"], r["size_bytes"]) for r in rows)


@pytest.fixture(scope="module")
def simulated(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return aivsim.run("quickstart", out=tmp_path_factory.mktemp("sim") / "run", report=False)


def test_same_seed_same_hashes_in_any_process_and_directory(simulated: Run, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    scenario = str(ROOT / "scenarios" / "quickstart.yaml")
    done = command("run", scenario, "--out", "again", "--no-report", cwd=tmp_path / "elsewhere", hash_seed="12345")
    assert done.returncode == 0, done.stderr
    again = Run(tmp_path / "elsewhere" / "again").manifest
    assert again.trace_sha256 == simulated.manifest.trace_sha256
    assert again.model_sha256 == simulated.manifest.model_sha256
    other = aivsim.run("quickstart", seed=2, out=tmp_path / "other", report=False).manifest
    assert other.trace_sha256 != simulated.manifest.trace_sha256
    assert other.model_sha256 != simulated.manifest.model_sha256


def test_final_accuracy_beside_the_reference(simulated: Run) -> None:
    """0.938: FedAvg with softmax regression on the digits by writer, 50 rounds in numpy; ours are 30."""
    evaluations = simulated.evaluations()
    assert simulated.manifest.reference is not None
    assert simulated.manifest.reference.accuracy == 0.938
    assert evaluations["round"][-1] == 30
    # 360 held-out examples: one standard deviation of the reference's own split is about 0.009.
    assert evaluations["accuracy"][-1] == pytest.approx(0.938, abs=0.02)


def test_everyone_takes_part_and_nothing_is_wasted(simulated: Run) -> None:
    rounds = simulated.rounds()
    assert (rounds["accepted"] == 14).all()
    assert len(rounds["round"]) == 30
    counts = simulated.manifest.counts
    assert counts["jobs_executed"] == counts["jobs_submitted"]
    assert counts["jobs_wasted"] == 0
    # One batch a round of local_update, evaluate, accumulate's chain within it, finish, apply and the sum's start.
    assert counts["batches"] <= 30 * 5 + 2
    assert simulated.table("undelivered").num_rows == 0


def test_energy_is_conserved(simulated: Run) -> None:
    """What was drawn is what batteries and mains gave, for every device."""
    table = simulated.table("energy").to_pylist()
    for actor in {row["actor"] for row in table}:
        joules = {row["component"]: row["joules"] for row in table if row["actor"] == actor}
        drawn = sum(
            joules[c]
            for c in ("idle", "processor", "accelerator", "screen", "radio_send", "radio_receive", "radio_tail")
        )
        assert drawn == pytest.approx(joules["battery"] + joules["mains"], rel=1e-12)
        assert drawn > 0


def test_both_worlds_end_alike(tmp_path: Path) -> None:
    settings = ["training.rounds=4", "real.time_scale=0.02"]
    sim = aivsim.run("quickstart", settings=settings, out=tmp_path / "sim", report=False)
    real = aivsim.run("quickstart", settings=settings, world="real", processes=3, out=tmp_path / "real", report=False)
    assert real.manifest.model_sha256 == sim.manifest.model_sha256
    assert messages(real) == messages(sim)
    assert (real.evaluations()["accuracy"] == sim.evaluations()["accuracy"]).all()
    assert verify(tmp_path / "real") == []
    assert not list((tmp_path / "real" / "nodes").glob("*/records"))


def test_verify_notices_one_changed_row_and_one_changed_weight(simulated: Run, tmp_path: Path) -> None:
    out = simulated.directory
    assert command("verify", str(out), cwd=tmp_path).returncode == 0
    model = out / MODEL
    whole = model.read_bytes()
    arrays = {name: array.copy() for name, array in load_model(model).items()}
    next(iter(arrays.values())).flat[3] += 1e-6
    save_model(model, arrays)
    changed = command("verify", str(out), cwd=tmp_path)
    assert changed.returncode == 1
    assert "model_sha256" in changed.stderr
    model.write_bytes(whole)
    part = next((out / "records" / "messages").glob("*.parquet"))
    import pyarrow.parquet as pq

    table = pq.read_table(part)
    sizes = table["size_bytes"].to_pylist()
    sizes[100] += 1
    kept = part.read_bytes()
    column = table.schema.get_field_index("size_bytes")
    pq.write_table(table.set_column(column, table.schema.field(column), pa.array(sizes, pa.int64())), part)
    changed = command("verify", str(out), cwd=tmp_path)
    assert changed.returncode == 1
    assert "trace_sha256" in changed.stderr
    part.write_bytes(kept)
    rounds = next((out / "records" / "rounds").glob("*.parquet"))
    kept = rounds.read_bytes()
    table = pq.read_table(rounds)
    column = table.schema.get_field_index("accepted")
    pq.write_table(table.set_column(column, table.schema.field(column), pa.array([3] * 30, pa.int64())), rounds)
    changed = command("verify", str(out), cwd=tmp_path)
    assert changed.returncode == 1
    assert "rounds" in changed.stderr
    rounds.write_bytes(kept)
    assert command("verify", str(out), cwd=tmp_path).returncode == 0


def test_mistakes_are_explained_and_exit_with_2(tmp_path: Path) -> None:
    wrong = command("run", "quickstart", "--set", "training.rounds=many", "--out", "run", cwd=tmp_path)
    assert wrong.returncode == 2
    assert not (tmp_path / "run").exists()
    assert "training.rounds" in wrong.stderr
    assert "Traceback" not in wrong.stderr
    (tmp_path / "file").write_text("")
    wrong = command("run", "quickstart", "--out", str(tmp_path / "file" / "run"), cwd=tmp_path)
    assert wrong.returncode == 2
    assert "Traceback" not in wrong.stderr
    wrong = command("run", "quickstart", "--set", "data.dataset=missing.npz", cwd=tmp_path)
    assert wrong.returncode == 2
    assert "missing.npz" in wrong.stderr
    assert "Traceback" not in wrong.stderr


def test_full_disk_fails_the_run_and_what_was_recorded_stays_readable(tmp_path: Path) -> None:
    """A limit on the size of files stands for a full disk."""
    program = (
        "import resource, signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN); "
        "resource.setrlimit(resource.RLIMIT_FSIZE, (24_000, 24_000)); "
        "sys.argv = ['aivsim', 'run', 'quickstart', '--out', 'full', '--no-report', '--quiet']; "
        "from aivsim.__main__ import main; main()"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "XDG_CACHE_HOME": str(tmp_path / "cache")}
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr
    assert "Error: cannot write full/" in done.stderr
    manifest = json.loads((tmp_path / "full" / "manifest.json").read_text())
    assert manifest["outcome"] == "failed"
    stored = Run(tmp_path / "full")
    for name in stored.tables:
        assert stored.table(name).num_rows > 0
