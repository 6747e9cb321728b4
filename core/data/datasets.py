"""Labelled data sets as values: the digits that come with the project, and own `.npz` files.

The digits are the test part of UCI's "Optical Recognition of Handwritten Digits" by putative writer; see DIGITS.md.
"""

from __future__ import annotations

import dataclasses
import functools
import zipfile
from importlib import resources
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

#: Most classes of an own data set: a model has weights for each, so that a stray label would fill the memory.
MAX_CLASSES: Final = 100_000


@dataclasses.dataclass(frozen=True, eq=False)
class Dataset:
    """Examples x float32[n, …], labels y int32[n] in 0 .. classes - 1, and the natural client of each, or None."""

    name: str
    x: npt.NDArray[np.float32]
    y: npt.NDArray[np.int32]
    client: npt.NDArray[np.int32] | None
    classes: int
    #: What the natural clients are called, such as `writer`.
    client_noun: str
    description: str

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of one example."""
        return self.x.shape[1:]


@functools.cache
def _digits() -> Dataset:
    with resources.files("core.data").joinpath("digits.npz").open("rb") as file, np.load(file) as arrays:
        x, y, client = arrays["x"], arrays["y"], arrays["client"]
    return Dataset(
        name="digits",
        x=x.astype(np.float32) / np.float32(16),
        y=y.astype(np.int32),
        client=client.astype(np.int32),
        classes=10,
        client_noun="writer",
        description="1,797 handwritten digits of 8×8 pixels by 14 putative writers (Alpaydin and Kaynak)",
    )


def _vector(path: Path, key: str, values: npt.NDArray[Any], length: int) -> npt.NDArray[Any]:
    if values.shape != (length,) or values.dtype.kind not in "iu":
        raise ValueError(
            f"{path}: `{key}` is {values.dtype}{list(values.shape)}; integers of shape [{length}] are expected"
        )
    if length and int(values.min()) < 0:
        raise ValueError(f"{path}: `{key}` has the negative value {values.min()}")
    return values


def load_npz(path: str | Path) -> Dataset:
    """A data set from a file with x [n, …] (numbers, taken as they are), y [n] (0, 1, …) and, optionally, client [n].

    Labels are below `MAX_CLASSES`. Client numbers may have gaps; they are renumbered in ascending order. Raises
    `ValueError` that names the file and the array.
    """
    path = Path(path)
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            found = {key: arrays[key] for key in ("x", "y", "client") if key in arrays.files}
            present = sorted(arrays.files)
    except (OSError, ValueError, zipfile.BadZipFile, AttributeError) as error:
        raise ValueError(f"{path}: not a readable .npz file ({error})") from error
    missing = [key for key in ("x", "y") if key not in found]
    if missing:
        raise ValueError(f"{path}: array `{missing[0]}` is missing; the file has {', '.join(present) or 'none'}")
    x = found["x"]
    if x.ndim < 2 or x.dtype.kind not in "fiu" or not len(x):
        raise ValueError(f"{path}: `x` is {x.dtype}{list(x.shape)}; numbers of shape [examples, …] are expected")
    x = x.astype(np.float32)
    if not np.isfinite(x).all():
        raise ValueError(f"{path}: `x` has values that are not finite")
    y = _vector(path, "y", found["y"], len(x))
    if int(y.max()) >= MAX_CLASSES:
        raise ValueError(f"{path}: `y` has the label {y.max()}; labels from 0 to {MAX_CLASSES - 1} are expected")
    client = None
    if "client" in found:
        client = np.unique(_vector(path, "client", found["client"], len(x)), return_inverse=True)[1].astype(np.int32)
    return Dataset(
        name=path.stem,
        x=x,
        y=y.astype(np.int32),
        client=client,
        classes=int(y.max()) + 1,
        client_noun="client",
        description=f"{len(x)} examples of shape {list(x.shape[1:])} from {path.name}",
    )


_DATASETS = {"digits": _digits}


def datasets() -> dict[str, str]:
    """Names of the data sets that come with the project and a line about each."""
    return {name: load().description for name, load in sorted(_DATASETS.items())}


def dataset(name: str) -> Dataset:
    """A data set by its name, or from the path of an `.npz` file. Raises `ValueError`."""
    if name in _DATASETS:
        return _DATASETS[name]()
    if name.endswith(".npz"):
        return load_npz(name)
    raise ValueError(f"unknown data set {name!r}: one of {', '.join(sorted(_DATASETS))}, or the path of an .npz file")
