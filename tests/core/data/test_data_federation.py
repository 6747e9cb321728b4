"""Data sets and their partitions: exact counts, determinism, skew, and errors that say what is wrong."""

from __future__ import annotations

import hashlib
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.data import Federation, dataset, datasets, federation, read


def everything(fed: Federation) -> Any:
    return np.sort(np.concatenate([*fed.train, fed.test]))


def test_the_digits_are_those_of_their_documentation() -> None:
    data = dataset("digits")
    assert data.x.shape == (1797, 8, 8)
    assert (data.x.dtype, data.x.min(), data.x.max()) == (np.float32, 0, 1)
    assert data.client is not None
    sizes = np.bincount(data.client)
    assert len(sizes) == 14
    assert (sizes.min(), sizes.max()) == (122, 130)
    starts = np.flatnonzero(np.diff(data.client)) + 1
    assert starts.tolist() == [130, 256, 386, 516, 646, 776, 906, 1029, 1157, 1287, 1415, 1545, 1667]
    assert all(len(np.unique(data.y[data.client == k])) == 10 for k in range(14))
    assert np.bincount(data.y).tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]
    raw = (data.x * 16).astype(np.uint8).tobytes()
    assert hashlib.sha256(raw).hexdigest() == DIGITS_SHA256
    assert "putative" in resources.files("core.data").joinpath("DIGITS.md").read_text(encoding="utf-8")
    assert "putative" in datasets()["digits"]


#: Of the 1797 × 64 bytes of ink, in the original order.
DIGITS_SHA256 = "8f26b2bd9d135c256808f68f14fdabddde6d9c7f869ae419704b051f0f14b3b3"


def test_writers_keep_their_examples_and_hold_a_fifth_out() -> None:
    fed = federation("digits", "natural")
    assert len(fed) == 14
    assert fed.names[0] == "writer-00"
    assert (everything(fed) == np.arange(1797)).all()
    assert fed.data.client is not None
    for k, part in enumerate(fed.train):
        assert (fed.data.client[part] == k).all()
        n = int((fed.data.client == k).sum())
        assert len(part) == n - round(0.2 * n)
    assert len(fed.test) == 359 or len(fed.test) == 360
    assert fed.capacity == 104
    assert fed.examples == 1797 - len(fed.test)
    assert "putative writer" in fed.description


@pytest.mark.parametrize("partition", ["natural", "iid", "dirichlet"])
def test_a_federation_is_a_function_of_its_arguments(partition: str) -> None:
    def make(seed: int) -> Federation:
        return federation("digits", partition, 10, seed=seed)

    one, same, other = make(5), make(5), make(6)
    assert all((a == b).all() for a, b in zip(one.train, same.train, strict=True))
    assert (one.test == same.test).all()
    assert any(len(a) != len(b) or (a != b).any() for a, b in zip(one.train, other.train, strict=True))


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 60), st.floats(0.2, 100), st.integers(0, 3), st.sampled_from([0.0, 0.2, 0.5]))
def test_every_example_is_dealt_once(clients: int, alpha: float, seed: int, fraction: float) -> None:
    for partition in ("iid", "dirichlet"):
        fed = federation("digits", partition, clients, fraction, seed, alpha=alpha, min_examples=1)
        assert (everything(fed) == np.arange(1797)).all()
        assert min(len(part) for part in fed.train) >= 1
        assert fed.label_counts().sum() == fed.examples


def test_iid_parts_are_equal_and_dirichlet_parts_are_skewed_by_alpha() -> None:
    sizes = [len(part) for part in federation("digits", "iid", 100, 0).train]
    assert {17, 18} == set(sizes)

    def skew(alpha: float) -> float:
        counts = federation("digits", "dirichlet", 10, 0, alpha=alpha, min_examples=10).label_counts()
        return float((counts.max(1) / counts.sum(1)).mean())

    assert skew(0.1) > 0.4 > 0.2 > skew(100)


def test_own_shards_hold_the_same_examples_in_the_same_order() -> None:
    fed = federation("digits", "natural")
    for whole, own in [(fed.shard(3), fed.own_shard(3)), (fed.test_shard(), fed.own_test_shard())]:
        assert own.capacity == whole.capacity
        assert own.count == whole.count
        for name in ("x", "y"):
            a = whole.rows.arrays[name][whole.index[: whole.count]]
            b = own.rows.arrays[name][own.index[: own.count]]
            assert (a == b).all()
    assert len(fed.own_shard(0).rows) == len(fed.own_shard(13).rows) == fed.capacity


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({"dataset": "mnits"}, "unknown data set 'mnits'.*digits"),
        ({"partition": "by_mood"}, "natural, iid, dirichlet"),
        ({"partition": "natural", "clients": 15}, "15 clients.*14 natural"),
        ({"partition": "natural", "clients": 0}, "0 clients"),
        ({"partition": "iid"}, "number of clients"),
        ({"partition": "iid", "clients": 1798}, "1798 clients"),
        ({"partition": "dirichlet", "clients": 100, "min_examples": 18}, "at least 18"),
        ({"partition": "dirichlet", "clients": 100, "alpha": 0.01}, "no Dirichlet partition"),
        ({"partition": "dirichlet", "clients": 10, "alpha": -1.0}, "alpha"),
        ({"test_fraction": 1.0}, "test_fraction"),
    ],
)
def test_wrong_arguments_are_named(arguments: dict[str, Any], match: str) -> None:
    with pytest.raises(ValueError, match=match):
        federation(**{"dataset": "digits", **arguments})


def test_an_own_file(tmp_path: Path) -> None:
    path = tmp_path / "own.npz"
    x = np.arange(40, dtype=np.int16).reshape(10, 2, 2)
    y = np.arange(10) % 3
    np.savez(path, x=x, y=y, client=np.array([5, 5, 9, 9, 9, 2, 2, 2, 2, 2]))
    fed = federation(str(path), "natural", test_fraction=0)
    assert [len(part) for part in fed.train] == [5, 2, 3]
    assert (fed.data.classes, fed.data.input_shape, fed.names[0]) == (3, (2, 2), "client-0")
    assert fed.data.x[9, 1, 1] == 39
    np.savez(path, x=x, y=y)
    assert len(federation(str(path), "iid", 4)) == 4
    with pytest.raises(ValueError, match="no natural clients"):
        federation(str(path), "natural")


@pytest.mark.parametrize(
    ("arrays", "match"),
    [
        ({"x": np.zeros((3, 2))}, "`y` is missing.*x"),
        ({"x": np.zeros(3), "y": np.zeros(3, int)}, "`x` is float64"),
        ({"x": np.full((3, 2), np.nan), "y": np.zeros(3, int)}, "missing value.*row 0"),
        ({"x": np.zeros((3, 2)), "y": np.zeros(4, int)}, "`y` is"),
        ({"x": np.zeros((3, 2)), "y": np.array([0, 1, -1])}, "label -1 .row 2."),
        ({"x": np.zeros((3, 2)), "y": np.full(3, 0.5)}, "label 0.5.*regression"),
        (
            {"x": np.zeros((3, 2)), "y": np.array([0, 1, 5_000_000_000])},
            "`y` has the label 5000000000 .row 2.; labels from 0",
        ),
        ({"x": np.zeros((3, 2)), "y": np.array([0, 1, 100_000])}, "labels from 0 to 99999"),
        ({"x": np.array([[{}]], dtype=object), "y": np.zeros(1, int)}, "not a readable"),
    ],
)
def test_files_that_are_no_data_set_are_refused(tmp_path: Path, arrays: dict[str, Any], match: str) -> None:
    path = tmp_path / "bad.npz"
    np.savez(path, **arrays)
    with pytest.raises(ValueError, match=match) as caught:
        read(path)
    assert str(path) in str(caught.value)


def test_client_numbers_may_be_larger_than_the_type_they_are_kept_in(tmp_path: Path) -> None:
    path = tmp_path / "own.npz"
    np.savez(path, x=np.zeros((3, 2)), y=np.array([0, 1, 1]), client=np.array([7, 5_000_000_000, 7 + (1 << 32)]))
    client = read(path).client
    assert client is not None
    assert client.tolist() == [0, 2, 1]


def test_a_missing_or_foreign_file_is_refused(tmp_path: Path) -> None:
    for name, content in [("none.npz", None), ("text.npz", b"hello"), ("cut.npz", b"PK\x03\x04zip")]:
        path = tmp_path / name
        if content is not None:
            path.write_bytes(content)
        with pytest.raises(ValueError, match=name):
            read(path)
