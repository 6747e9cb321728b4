"""The model, the manifest, and the check of a run's directory against them."""

from __future__ import annotations

import hashlib
import struct
from pathlib import Path

import numpy as np
import pytest

from core.records import (
    FaultRow,
    Manifest,
    RecordsError,
    Reference,
    RunWriter,
    load_model,
    model_sha256,
    read_manifest,
    save_model,
    verify,
    write_manifest,
)
from core.records.store import part_paths, read_parts, write_whole
from core.wire import Message

MODEL = {
    "w": np.arange(6, dtype=np.float32).reshape(2, 3),
    "b": np.array(0.5, np.float64),
    "n": np.array([], np.int32),
}


class Ping(Message, frozen=True, kw_only=True):
    number: int = 0


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A directory with ten messages in three parts, a fault, a model and a manifest that tells of them."""
    writer = RunWriter(tmp_path)
    writer.MESSAGE_BLOCK = 4
    for i in range(10):
        writer.message(float(i), i + 0.5, f"phone-{i % 3}", "hub", Ping, 40 + i)
    writer.row(0.0, "phone-1", FaultRow(kind="crash"))
    writer.close()
    save_model(tmp_path / "model.safetensors", MODEL)
    write_manifest(tmp_path, manifest(writer.trace_sha256))
    return tmp_path


def manifest(trace: str) -> Manifest:
    return Manifest(
        name="test",
        scenario={"seed": 1},
        seed=1,
        world="sim",
        outcome="done",
        started="2020-01-01T00:00:00+00:00",
        counts={"messages": 10},
        trace_sha256=trace,
        model_sha256=model_sha256(MODEL),
        reference=Reference(accuracy=0.5, source="a test"),
    )


def test_the_manifest_is_read_back(run: Path) -> None:
    assert read_manifest(run).reference == Reference(accuracy=0.5, source="a test")
    assert read_manifest(run) == manifest(read_manifest(run).trace_sha256 or "")


def test_an_unfit_manifest_is_named(tmp_path: Path) -> None:
    with pytest.raises(RecordsError, match=r"is not the directory of a run: it has no manifest\.json"):
        read_manifest(tmp_path)
    (tmp_path / "manifest.json").write_text('{"name": 3}')
    with pytest.raises(RecordsError, match=r"manifest\.json is not the manifest of a run: Expected `str`, got `int`"):
        read_manifest(tmp_path)


def test_the_model_is_read_back(tmp_path: Path) -> None:
    save_model(tmp_path / "m.safetensors", MODEL)
    found = load_model(tmp_path / "m.safetensors")
    assert list(found) == ["b", "n", "w"]
    for name, array in MODEL.items():
        assert found[name].dtype == array.dtype
        np.testing.assert_array_equal(found[name], array)


def test_the_model_hash_is_the_documented_one() -> None:
    def part(data: bytes) -> bytes:
        return struct.pack("<Q", len(data)) + data

    text = b"aivsim model 1"
    text += part(b"b") + part(b"<f8") + part(b"") + part(struct.pack("<d", 0.5))
    text += part(b"n") + part(b"<i4") + part(struct.pack("<Q", 0)) + part(b"")
    text += part(b"w") + part(b"<f4") + part(struct.pack("<QQ", 2, 3)) + part(struct.pack("<6f", *range(6)))
    assert model_sha256(MODEL) == hashlib.sha256(text).hexdigest()


def test_the_model_hash_sees_values_names_shapes_and_dtypes_but_no_layout() -> None:
    w = MODEL["w"]
    same = [{"w": w}, {"w": np.asfortranarray(w)}, {"w": w.astype(">f4")}, {"w": np.repeat(w, 2, axis=1)[:, ::2]}]
    assert len({model_sha256(model) for model in same}) == 1
    bumped = w.copy()
    bumped[1, 2] = np.nextafter(bumped[1, 2], np.float32(9))
    other = [{"v": w}, {"w": w.T}, {"w": w.reshape(3, 2)}, {"w": w.astype(np.float64)}, {"w": bumped}, {}]
    assert len({model_sha256(model) for model in [same[0], *other]}) == 7


def test_a_whole_run_verifies(run: Path) -> None:
    assert verify(run) == []


def test_a_changed_message_is_noticed(run: Path) -> None:
    import pyarrow.parquet as pq

    table = list(read_parts(run, "messages"))[1]
    sizes = table["size_bytes"].to_pylist()
    sizes[2] += 1
    pq.write_table(table.set_column(5, table.schema.field("size_bytes"), [sizes]), part_paths(run, "messages")[1])
    (problem,) = verify(run)
    assert problem.startswith("trace_sha256 of the stored messages is ")


def test_a_missing_part_is_noticed(run: Path) -> None:
    part_paths(run, "messages")[1].unlink()
    assert [problem.rsplit("/", 1)[1] for problem in verify(run)] == ["part-00001.parquet is missing"]


def test_missing_last_messages_are_noticed(run: Path) -> None:
    part_paths(run, "messages")[2].unlink()
    problems = verify(run)
    assert len(problems) == 2
    assert problems[1] == "8 messages are stored, the manifest says 10"


def test_a_changed_weight_is_noticed(run: Path) -> None:
    changed = {**MODEL, "w": MODEL["w"] + np.float32(1e-6)}
    save_model(run / "model.safetensors", changed)
    (problem,) = verify(run)
    assert problem.startswith("model_sha256 of model.safetensors is ")


def test_a_missing_model_is_noticed(run: Path) -> None:
    (run / "model.safetensors").unlink()
    (problem,) = verify(run)
    assert problem.endswith("model.safetensors: No such file or directory")


def test_cut_files_are_noticed(run: Path) -> None:
    for path in (run / "model.safetensors", part_paths(run, "messages")[0], part_paths(run, "faults")[0]):
        write_whole(path, path.read_bytes()[:-9])
    problems = verify(run)
    assert [name for name in ("messages", "model.safetensors", "faults") if any(name in p for p in problems)] == [
        "messages",
        "model.safetensors",
        "faults",
    ]


def test_a_run_that_did_not_end_is_no_whole_run(run: Path) -> None:
    import msgspec

    whole = read_manifest(run)
    write_manifest(run, msgspec.structs.replace(whole, outcome="running", trace_sha256=None, model_sha256=None))
    assert verify(run) == [
        "the run has not ended: its manifest has no final hashes",
        "the manifest has no trace_sha256",
        "there is a model.safetensors, but the manifest has no model_sha256",
    ]
    assert verify(run / "records") == [f"{run / 'records'} is not the directory of a run: it has no manifest.json"]
