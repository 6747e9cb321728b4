"""What a checkpoint keeps, what it does not, and that the latter is computed again."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

from core.aggregation import exact_mean
from core.compute import Checkpoint, CheckpointError, Evaluator, Function, checkpoint
from core.devices import Work
from core.wire import ArrayDict


def toy(name: str, fn: Any) -> Function:
    return Function("checkpoint_test." + name, fn, (), lambda *arguments: Work(1.0, 1.0, 1))


start = toy("start", lambda x, k: {"out": {"x": x["x"] + k}})
grow = toy("grow", lambda x, k: {"large": {"x": jnp.tile(x["x"], 8) * k}, "small": {"n": jnp.sum(x["x"])}})
shrink = toy("shrink", lambda x: {"out": {"x": x["x"][:16] + jnp.sum(x["x"])}})
mean = exact_mean(1000)


def rounds(evaluator: Evaluator, count: int) -> np.ndarray[Any, Any]:
    """Three clients a round, each with a large result amid its work, of one that nobody asks for again."""
    model: Any = ArrayDict({"x": np.arange(16, dtype=np.float32)})
    for _ in range(count):
        total = evaluator.submit(mean.init, (model,))["sum"]
        for k in range(3):
            begun = evaluator.submit(start, (model, float(k)))["out"]
            large = evaluator.submit(grow, (begun, float(k)))["large"]
            update = evaluator.submit(shrink, (large,))["out"]
            total = evaluator.submit(mean.accumulate, (total, update, k + 1))["sum"]
        model = evaluator.submit(mean.finish, (total,))["mean"]
        model = evaluator.value(model)
    return np.asarray(model["x"])


@pytest.mark.parametrize("bound", [300, 1200, 1 << 31])
def test_what_is_too_large_to_be_kept_is_computed_again_of_what_is_kept(
    bound: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = rounds(Evaluator(), 4)
    monkeypatch.setattr(checkpoint, "INLINE_BYTES", 8)
    monkeypatch.setattr(checkpoint, "MAX_GROUP_BYTES", bound)
    with contextlib.closing(Checkpoint(tmp_path / "kept")) as kept:
        first = Evaluator(checkpoint=kept)
        assert np.array_equal(rounds(first, 4), expected)
    everything = first.counts.jobs_executed
    del first
    # The journal is whole: only what no entry has is left to be computed, each time that the run is taken up.
    for _ in range(2):
        with contextlib.closing(Checkpoint(tmp_path / "kept")) as kept:
            again = Evaluator(checkpoint=kept)
            assert np.array_equal(rounds(again, 4), expected)
        assert again.counts.jobs_executed + again.counts.jobs_restored == everything
        assert again.counts.of(grow.name).jobs_executed == (12 if bound < 3 * 128 * 4 else 0)
        del again
    # No file is larger than what is read.
    assert max(path.stat().st_size for path in (tmp_path / "kept").iterdir() if path.name != "journal") < bound + 200


def test_a_file_beyond_the_bound_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoint, "INLINE_BYTES", 8)
    with contextlib.closing(Checkpoint(tmp_path)) as kept:
        assert kept.note(0, b"sign", 1, {"out": [ArrayDict({"x": np.ones(100, np.float32)})]})
    (file,) = (path for path in tmp_path.iterdir() if path.name != "journal")
    with file.open("ab") as end:
        end.truncate((1 << 31) + (1 << 20) + 1)
    refused = pytest.raises(CheckpointError, match="larger than any group of results that a run writes")
    with contextlib.closing(Checkpoint(tmp_path)) as kept, refused:
        kept.restored(0, b"sign", ["out"])
