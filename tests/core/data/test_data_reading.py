"""The user's own files: what each option does, and what is said of what does not fit."""

from __future__ import annotations

import gzip
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from core.data import federation, files, read, reading

TABLE = """site,age,sex,weight,sick
north,50,m,80.5,0
south,61,f,,1
north,44,f,71,0
south,39,m,90,2
"""


def write(folder: Path, name: str, content: str | bytes) -> str:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return str(path)


def test_a_table_of_text(tmp_path: Path) -> None:
    path = write(tmp_path, "own.csv", TABLE)
    options = {"y": "sick", "client": "site", "categories": "sex", "missing": "impute", "above": 0}
    data = read(path, options)
    # age, sex as (f, m), weight; the south's missing weight is the mean of its own.
    assert data.x.tolist() == [[50, 0, 1, 80.5], [61, 1, 0, 90], [44, 1, 0, 71], [39, 0, 1, 90]]
    assert data.y.tolist() == [0, 1, 0, 1]
    assert data.client is not None
    assert data.client.tolist() == [0, 1, 0, 1]
    assert data.client_names == ("north", "south")
    assert federation(path, options=options, test_fraction=0).names == ("north", "south")
    dropped = read(path, {**options, "missing": "drop"})
    assert len(dropped.x) == len(dropped.y) == 3
    plain = read(path, {"y": "sick", "without": ("site", "sex", "weight"), "client": "site"})
    assert plain.x.tolist() == [[50], [61], [44], [39]]
    assert plain.classes == 3
    labels = read(path, {"y": "sex", "x": "age"})
    assert (labels.y.tolist(), labels.classes, labels.client) == ([1, 0, 0, 1], 2, None)


@pytest.mark.parametrize(
    ("cells", "numbers", "names"),
    [
        # One and the same float.
        ("18446744073709551616 18446744073709551617", [0, 1], ("18446744073709551616", "18446744073709551617")),
        ("7 007 7", [1, 0, 1], ("007", "7")),
        ("1e5 10e4 1e5", [1, 0, 1], ("10e4", "1e5")),
        ("10 9 -1 10", [2, 1, 0, 2], ()),
        ("a a\0", [0, 1], ("a", "a\0")),
    ],
)
def test_a_client_is_what_its_cell_says(tmp_path: Path, cells: str, numbers: list[int], names: tuple[str, ...]) -> None:
    rows = "".join(f"{cell}, 1, 0\n" for cell in cells.split(" "))
    data = read(write(tmp_path, "own.csv", f"client,a,y\n{rows}"))
    assert data.client is not None
    assert data.client.tolist() == numbers
    assert data.client_names == names


def test_suffixes_in_capitals_are_the_same(tmp_path: Path) -> None:
    for name in ("OWN.CSV", "OWN.CSV.GZ"):
        content = gzip.compress(b"a,y\n1,0\n") if name.endswith("GZ") else "a,y\n1,0\n"
        assert read(write(tmp_path, name, content)).x.tolist() == [[1]]
    assert read(write(tmp_path, "OWN.TXT", "abcabca"), {"length": 2}).task == "next_token"


def test_the_same_table_in_other_forms(tmp_path: Path) -> None:
    options = {"y": "sick", "client": "site", "x": ("age", "weight"), "missing": "impute"}
    expected = read(write(tmp_path, "own.csv", TABLE), options)
    tabs, semicolons = TABLE.replace(",", "\t"), TABLE.replace(",", ";")
    columns = {
        "site": pa.array(["north", "south", "north", "south"]).dictionary_encode(),
        "age": pa.array([50, 61, 44, 39], pa.uint8()),
        "weight": pa.array([80.5, None, 71, 90], pa.float32()),
        "sick": pa.array([0, 1, 0, 2]),
    }
    pq.write_table(pa.table(columns), tmp_path / "own.parquet")
    paths = [
        write(tmp_path, "own.tsv", tabs),
        write(tmp_path, "semi.csv", semicolons),
        write(tmp_path, "windows.csv", "\ufeff" + TABLE.replace("\n", "\r\n")),
        write(tmp_path, "own.csv.gz", gzip.compress(tabs.encode())),
        str(tmp_path / "own.parquet"),
    ]
    for path in paths:
        found = read(path, options)
        assert (found.x == expected.x).all(), path
        assert found.y.tolist() == expected.y.tolist()
        assert found.client_names == expected.client_names


def test_pictures_in_parquet_are_lists(tmp_path: Path) -> None:
    x = np.arange(12, dtype=np.float32).reshape(3, 4)
    pixels = pa.array(list(x), pa.list_(pa.float32()))
    pq.write_table(pa.table({"pixels": pixels, "y": [True, False, True]}), tmp_path / "own.parquet")
    data = read(tmp_path / "own.parquet", {"x": "pixels", "scale": 2})
    assert (data.x == x / 2).all()
    assert data.y.tolist() == [1, 0, 1]


def test_arrays(tmp_path: Path) -> None:
    path = tmp_path / "own.npz"
    x = np.arange(24, dtype=np.uint8).reshape(4, 3, 2)
    np.savez(
        path,
        pictures=x,
        labels=np.array([0, 1, 1, 2]),
        alphabet=np.array([1, 0, 0, 1]),
        drawer=np.array([3, 3, 4, 3]),
        more=x[:1],
        more_labels=np.array([2]),
        names=np.array(["b", "a", "b", "a"]),
    )
    options: dict[str, Any] = {"x": "pictures", "y": "labels", "client": ("alphabet", "drawer"), "scale": 2}
    data = read(path, options)
    assert (data.x == x / 2).all()
    assert data.client is not None
    # (0, 3), (0, 4), (1, 3) in this order.
    assert data.client.tolist() == [2, 0, 1, 2]
    data = read(path, {**options, "x_test": "more", "y_test": "more_labels"})
    assert data.test is not None
    assert data.test.tolist() == [False] * 4 + [True]
    assert data.client is not None
    assert data.client.tolist() == [2, 0, 1, 2, -1]
    assert federation(data).test.tolist() == [4]
    data = read(path, {**options, "client": "names", "test": "drawer", "test_values": (4,)})
    assert data.client_names == ("a", "b")
    assert data.test is not None
    assert data.test.tolist() == [False, False, True, False]


def test_standardised_by_all_but_the_test_part(tmp_path: Path) -> None:
    rng = np.random.Generator(np.random.Philox(key=1))
    x = rng.normal((5, -3, 0), (2, 0.1, 0), (50, 3))
    x[40:] += 100
    x[3, 1] = np.nan
    np.savez(tmp_path / "own.npz", x=x, y=np.zeros(50, int), late=np.arange(50) >= 40)
    data = read(tmp_path / "own.npz", {"standardise": True, "missing": "impute", "test": "late"})
    own = np.delete(data.x[:40], 3, axis=0)
    np.testing.assert_allclose(own[:, :2].mean(axis=0), 0, atol=0.15)
    np.testing.assert_allclose(data.x[:40, 0].std(), 1, rtol=1e-5)
    assert (data.x[:40, 2] == 0).all()
    assert data.x[40:, 0].min() > 20
    # Without clients all are one client.
    assert data.x[3, 1] == pytest.approx(np.delete(data.x[:, 1], 3).mean(), rel=1e-4)


def test_a_client_without_any_value_of_a_column_gets_zero(tmp_path: Path) -> None:
    path = write(tmp_path, "own.csv", "client,a,y\n0,1,0\n0,3,1\n1,,0\n1,NA,1\n")
    data = read(path, {"missing": "impute", "standardise": True})
    assert data.x.ravel().tolist() == [-1, 1, 0, 0]


def test_text_for_next_tokens(tmp_path: Path) -> None:
    lines = ["who\tsays", 'anna\tab"a', "ben\tbb", "anna\tba", "ben\tb"]
    path = write(tmp_path, "plays.tsv", "\n".join(lines))
    data = read(path, {"text": "says", "client": "who", "length": 3})
    # Anna says ab"a⏎ba: two pieces of three and the one further; Ben's bb⏎b is one. Vocabulary: ⏎ " a b.
    assert data.x.tolist() == [[2, 3, 1], [2, 0, 3], [3, 3, 0]]
    assert data.y.tolist() == [[3, 1, 2], [0, 3, 2], [3, 0, 3]]
    assert (data.task, data.tokens, data.classes, data.client_names) == ("next_token", 4, 4, ("anna", "ben"))
    assert data.client is not None
    assert data.client.tolist() == [0, 0, 1]
    # Ben has no more than four characters: he is gone.
    data = read(path, {"text": "says", "client": "who", "length": 4})
    assert (data.client_names, len(data.x)) == (("anna",), 1)
    whole = read(write(tmp_path, "all.txt", "abcabca"), {"length": 2})
    assert whole.x.tolist() == [[0, 1], [2, 0], [1, 2]]
    with pytest.raises(ValueError, match="more than 9 characters"):
        read(path, {"text": "says", "client": "who", "length": 9})


def test_text_for_classes(tmp_path: Path) -> None:
    path = write(tmp_path, "names.tsv", "name\tlanguage\nAb\tPolish\nBaab\tCzech\n")
    data = read(path, {"text": "name", "y": "language", "length": 3})
    # 0 pads at the front; A 1, B 2, a 3, b 4.
    assert data.x.tolist() == [[0, 1, 4], [2, 3, 3]]
    assert (data.y.tolist(), data.classes, data.tokens, data.task) == ([1, 0], 2, 5, "classification")


def test_own_tokens(tmp_path: Path) -> None:
    x = np.array([[0, 5], [2, 1]])
    np.savez(tmp_path / "own.npz", x=x, y=np.array([[5, 2], [1, 6]]), z=np.array([1, 0]))
    data = read(tmp_path / "own.npz", {"task": "next_token"})
    assert (data.tokens, data.classes, data.x.dtype) == (7, 7, np.int32)
    data = read(tmp_path / "own.npz", {"tokens": True, "y": "z"})
    assert (data.tokens, data.classes, data.y.tolist()) == (6, 2, [1, 0])


def test_windows_of_recordings(tmp_path: Path) -> None:
    x = np.stack([np.arange(10), -np.arange(10)], axis=1).astype(np.float16)
    np.savez(tmp_path / "own.npz", x=x, offset=np.array([0, 4, 10]), y=np.array([1, 0]), who=np.array([7, 3]))
    data = read(tmp_path / "own.npz", {"window": 3, "stride": 2, "offset": "offset", "client": "who"})
    assert data.x[:, :, 0].tolist() == [[0, 1, 2], [4, 5, 6], [6, 7, 8]]
    assert data.y.tolist() == [1, 0, 0]
    assert data.client is not None
    assert data.client.tolist() == [1, 0, 0]


def test_forecasts(tmp_path: Path) -> None:
    x = np.array([[[10, 1], [20, 2], [30, -99], [40, 4], [-99, 5], [60, 6]]] * 2, np.int16)
    np.savez(tmp_path / "own.npz", x=x, scale=np.array([10, 1]))
    options = {"window": 2, "stride": 1, "target": 0, "task": "regression", "scale": "scale", "missing_value": -99}
    data = read(tmp_path / "own.npz", {**options, "missing": "impute"})
    # Two stations; four windows each, of which one has no target.
    assert data.y.tolist() == [3, 4, 6] * 2
    assert data.client is not None
    assert data.client.tolist() == [0, 0, 0, 1, 1, 1]
    assert data.x[0].tolist() == [[1, 1], [2, 2]]
    assert np.isfinite(data.x).all()
    dropped = read(tmp_path / "own.npz", {**options, "missing": "drop", "horizon": 2})
    assert dropped.y.tolist() == [4, 4]


# What does not fit.


@pytest.mark.parametrize(
    ("text", "options", "match"),
    [
        ("a,y\n1,0\n,1\n", {}, r"x has a missing value \(line 3 at \[0\]\).*impute or drop"),
        ("a,y\n1,0\ninf,1\n", {}, r"the value inf \(line 3"),
        ("a,y\n1,0\n1e39,1\n", {}, r"float32 can hold"),
        ("a,y\n1,0\nred,1\n", {}, r"column `a`: 'red' \(line 3\) is no number.*categories"),
        ("a,y\n1,0\n1_2,1\n", {}, r"'1_2' \(line 3\) is no number"),
        ("a,y\n1,0\n2\n", {}, r"line 3 has 1 values; 2 are expected"),
        ('a,y\n1,0\n"two\nlines",0\n3\n', {}, r"line 5 has 1 values"),
        ("a,y\n1,0\n1,1.5\n", {}, r"column `y` has the label 1.5 \(line 3\).*regression"),
        ("a,y\n1,0\n1,-2\n", {}, r"label -2 \(line 3\)"),
        ("a,y\n1,0\n1,\n", {}, r"column `y` has a missing value \(line 3\)"),
        ("a,y\n1,0\n1,100000\n", {}, r"label 100000"),
        ("a,y\n1,a\n1,b\n", {"task": "regression"}, r"'a' \(line 2\) is no number"),
        ("a,b\n1,0\n", {}, r"column `y` is missing; the file has a, b; data.options.y names another"),
        ("a,y\n1,0\n", {"client": "who"}, r"column `who` is missing.*data.options.client"),
        ("a,y\n1,0\n", {"x": ("a", "b")}, r"column `b` is missing.*data.options.x"),
        ("a,y\n1,0\n", {"without": "c"}, r"column `c` is missing"),
        ("client,a,y\n1,1,0\n1.5,1,0\n", {}, r"column `client` has 1.5 \(line 3\); whole numbers or text"),
        ("client,a,y\n1,1,0\n,1,0\n", {}, r"column `client` has nothing \(line 3\)"),
        ("client,a,y\nnorth,1,0\n,1,0\n", {}, r"column `client` has nothing \(line 3\); a client for each row"),
        ("a,y\n1,cat\n2,\n", {}, r"column `y` has nothing \(line 3\); a label for each row.*missing: drop"),
        ("a,y\n1,0\n1,1e300\n", {"task": "regression"}, r"column `y` has the value 1e\+300 \(line 3\)"),
        ("a,y\n", {}, "has no rows"),
        ("", {}, "has no rows"),
        ("a,a,y\n1,2,0\n", {}, "two columns are called `a`"),
        ("a,,y\n1,2,0\n", {}, "a column has no name"),
        ("y\n1\n", {}, "no column is left"),
        ("a,b,y\nx,1,0\n", {"test": "a"}, "test_values"),
        ('a,y\n"1,0\n', {}, "line 3: unexpected end"),
        ("a,y\n1,0\n", {"colour": "red"}, "data.options.*colour.*accepted: task, x, y"),
        ("a,y\n,0\n,1\n", {"missing": "drop"}, "every example lacks a value"),
        ("a,t,y\n1,0,0\n2,,1\n", {"test": "t"}, r"column `t` has a missing value \(line 3\)"),
        ("a,t,y\n1,u,0\n2,?,1\n", {"test": "t", "test_values": ("u",)}, r"`t` has a missing value \(line 3\)"),
        ("a,b,y\n1,u,0\n2,,1\n", {"categories": "b"}, r"column `b` has a missing value \(line 3\).*impute or drop"),
        ("a,b,y\n1,u,0\n2, ,1\n", {"categories": "b"}, r"column `b` has a missing value \(line 3\)"),
        ("a,b,y\n1,u,0\n2,?,1\n", {"categories": "b"}, r"column `b` has a missing value \(line 3\)"),
        ("a,b,y\n1,3,0\n2,,1\n", {"categories": "b"}, r"column `b` has a missing value \(line 3\)"),
        ("a,b,y\n1,,0\n", {"categories": "b", "missing": "drop"}, "column `b` has no category in any row"),
        ("a,y\n1,\n2,\n", {"missing": "drop"}, "column `y` has no target in any row"),
        ("a,y\n1,?\n2,?\n", {"missing": "drop", "task": "regression"}, "column `y` has no target in any row"),
        ("a,y\n,0\n1,?\n", {"missing": "drop", "task": "regression"}, "column `y` has no target in any row"),
        ("a,y\n1,0\n1,2\n", {"task": "regression", "y_scale": 1e-300}, r"value 2 \(line 3\).*y_scale, 1e-300"),
    ],
)
def test_tables_that_do_not_fit_are_refused(tmp_path: Path, text: str, options: dict[str, Any], match: str) -> None:
    path = write(tmp_path, "bad.csv", text)
    with pytest.raises(ValueError, match=match) as caught:
        read(path, options)
    assert str(caught.value).startswith(path)


@pytest.mark.parametrize(
    ("arrays", "options", "match"),
    [
        ({"x": np.zeros((2, 3)), "y": np.zeros(2, int), "client": np.zeros(3, int)}, {}, r"`client` is int64\[3\]"),
        ({"x": np.array([["a"], ["b"]]), "y": np.zeros(2, int)}, {}, "is no number"),
        ({"x": np.zeros((0, 3)), "y": np.zeros(0, int)}, {}, "at least one example"),
        ({"x": np.zeros((2, 3)), "y": np.zeros((2, 2), int)}, {}, r"one target for each"),
        ({"x": np.zeros((2, 3)), "y": np.zeros(2, int)}, {"task": "next_token"}, "tokens .rows, length. are expected"),
        ({"x": np.zeros((2, 3), int), "y": np.zeros(2, int)}, {"task": "next_token"}, "next token of each"),
        ({"x": np.zeros((2, 3)), "y": np.zeros(2, int)}, {"scale": "x"}, "numbers other than 0"),
        (
            {"x": np.zeros((2, 3)), "y": np.zeros(2, int)},
            {"x_test": "y", "y_test": "y"},
            r"test examples of shape \[3\]",
        ),
        ({"x": np.zeros((9, 3)), "y": np.zeros(2, int)}, {"window": 2}, "data.options.offset"),
        ({"x": np.zeros((2, 9, 3)), "y": np.zeros(2, int)}, {"window": 10}, "no recording has the 10 rows"),
        (
            {"x": np.zeros((2, 9, 3)), "y": np.zeros(3, int)},
            {"window": 3},
            r"`y` is int64\[3\]; targets for 2 recordings",
        ),
        ({"x": np.zeros((2, 9, 3))}, {"window": 3, "target": 3, "task": "regression"}, "columns 0 to 2"),
        ({"x": np.zeros((9, 3)), "o": np.array([0, 5, 3])}, {"window": 2, "offset": "o"}, "ascending"),
        (
            {"x": np.zeros((2, 3), int), "y": np.zeros(2, int)},
            {"categories": "x"},
            r"`x` is int64\[2, 3\]; one category",
        ),
        (
            {"x": np.zeros((2, 3)), "y": np.zeros(2, int), "z": np.array(1)},
            {"x": ("x", "z")},
            r"array `z` is int64\[\]",
        ),
        ({"text": np.array("abc")}, {"text": "text"}, r"array `text` is object\[\]; text is expected"),
        ({"x": np.zeros((2, 3)), "y": np.array(1)}, {}, r"array `y` is int64\[\]; a target for each"),
        ({"x": np.zeros((2, 9, 3)), "y": np.array(1)}, {"window": 3}, r"array `y` is int64\[\]; targets for 2"),
        (
            {"x": np.zeros((2, 3)), "y": np.zeros(2, int), "z": np.zeros((2, 2), int)},
            {"x_test": "x", "y_test": "z"},
            r"`z` int64\[2, 2\]; test examples of shape \[3\]",
        ),
        (
            {"x": np.zeros((2, 3)), "y": np.zeros(2, int), "z": np.array(["a", "b"])},
            {"x_test": "x", "y_test": "z"},
            r"targets like those of `y`, int64\[2\]",
        ),
        (
            {"x": np.full((2, 9, 3), np.nan)},
            {"window": 3, "target": 1, "task": "regression", "missing": "impute"},
            "column 1 of `x` has no number 1 rows after any window",
        ),
        ({"x": np.array([[{}]], dtype=object), "y": np.zeros(1, int)}, {}, "not a readable"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(
    tmp_path: Path, arrays: dict[str, Any], options: dict[str, Any], match: str
) -> None:
    np.savez(tmp_path / "bad.npz", **arrays)
    with pytest.raises(ValueError, match=match) as caught:
        read(tmp_path / "bad.npz", options)
    assert "bad.npz" in str(caught.value)


@pytest.mark.parametrize(
    ("columns", "match"),
    [
        ({"a": [1.0, None], "y": [0, 1]}, r"missing value \(row 1 at \[0\]\)"),
        ({"a": [[1.0], [1.0, 2.0]], "y": [0, 1]}, "lists of 1 to 2 entries"),
        ({"a": [[1.0], None], "y": [0, 1]}, "lists of -1 to 1 entries"),
        ({"a": [b"1", b"2"], "y": [0, 1]}, "of type binary"),
        ({"a": ["1", "b"], "y": [0, 1]}, "'b' .row 1. is no number"),
    ],
)
def test_parquet_that_does_not_fit_is_refused(tmp_path: Path, columns: dict[str, Any], match: str) -> None:
    pq.write_table(pa.table(columns), tmp_path / "bad.parquet")
    with pytest.raises(ValueError, match=match):
        read(tmp_path / "bad.parquet")


def test_a_category_that_is_missing_is_dropped_or_imputed(tmp_path: Path) -> None:
    path = write(tmp_path, "own.csv", "client,b,y\n0,u,0\n0,v,1\n0,?,1\n1,v,0\n1,,1\n")
    dropped = read(path, {"categories": "b", "missing": "drop"})
    assert dropped.x.tolist() == [[1, 0], [0, 1], [0, 1]]
    # The shares of the client's other rows.
    imputed = read(path, {"categories": "b", "missing": "impute"})
    assert imputed.x.tolist() == [[1, 0], [0, 1], [0.5, 0.5], [0, 1], [0, 1]]


def test_files_whose_parts_are_no_columns_are_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "own.npz", x=np.zeros((2, 3)))
    with zipfile.ZipFile(tmp_path / "own.npz", "a") as archive:
        archive.writestr("y", b"no array")
    with pytest.raises(ValueError, match=r"own.npz: `y` is no array but 8 other bytes"):
        read(tmp_path / "own.npz")
    pq.write_table(pa.Table.from_arrays([pa.array([1]), pa.array([2])], names=["y", "y"]), tmp_path / "own.parquet")
    with pytest.raises(ValueError, match=r"own.parquet: two columns are called `y`"):
        read(tmp_path / "own.parquet")


def test_too_large_files_are_refused_before_they_are_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    np.savez_compressed(tmp_path / "own.npz", x=np.zeros((100, 100)), y=np.zeros(100, int))
    pq.write_table(pa.table({"a": np.arange(10_000.0), "y": np.zeros(10_000, int)}), tmp_path / "own.parquet")
    bomb = write(tmp_path, "own.csv.gz", gzip.compress(b"a,y\n" + b"1,0\n" * 100_000))
    monkeypatch.setattr(files, "MAX_ARRAY_BYTES", 10_000)
    monkeypatch.setattr(files, "MAX_TEXT_BYTES", 10_000)
    for path in (tmp_path / "own.npz", tmp_path / "own.parquet", bomb):
        with pytest.raises(ValueError, match=r"bytes"):
            read(path)
    monkeypatch.undo()
    monkeypatch.setattr(reading, "MAX_WINDOW_VALUES", 100)
    np.savez(tmp_path / "own.npz", x=np.zeros((2, 90, 3)), y=np.zeros(2, int))
    with pytest.raises(ValueError, match="too many values"):
        read(tmp_path / "own.npz", {"window": 9, "stride": 1})


@settings(max_examples=60, deadline=None)
@given(
    content=st.binary(max_size=200),
    suffix=st.sampled_from([".npz", ".parquet", ".csv", ".csv.gz", ".tsv", ".txt", ".txt.gz"]),
    damaged=st.booleans(),
    at=st.integers(0, 10_000),
)
# An archive that claims to be packed in a way that nobody knows.
@example(content=b"\x00\x01", suffix=".npz", damaged=True, at=298)
def test_whatever_a_file_holds_is_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, content: bytes, suffix: str, damaged: bool, at: int
) -> None:
    path = tmp_path_factory.mktemp("any") / f"any{suffix}"
    if damaged and suffix in (".npz", ".parquet", ".csv.gz"):
        # A good file with a few bytes of it changed.
        good = path.with_name(f"good{suffix}")
        if suffix == ".npz":
            np.savez_compressed(good, x=np.arange(12.0).reshape(4, 3), y=np.arange(4))
        elif suffix == ".parquet":
            pq.write_table(pa.table({"a": [1.0, 2.0], "y": [0, 1]}), good)
        else:
            good.write_bytes(gzip.compress(TABLE.encode()))
        raw = bytearray(good.read_bytes())
        raw[at % len(raw) : at % len(raw) + 2] = content[:2]
        content = bytes(raw)
    path.write_bytes(content)
    said = str(path)
    try:
        read(path)
    except ValueError as error:
        said = str(error)
    assert said.startswith(str(path))
