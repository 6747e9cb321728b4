"""Data sets by name: the digits that come with the project, Fashion-MNIST where Debian has put it, and generators.

The digits are the test part of UCI's "Optical Recognition of Handwritten Digits" by putative writer; see DIGITS.md.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from importlib import resources
from pathlib import Path
from typing import Any, Final

import numpy as np

from core.data.dataset import Dataset
from core.data.files import read_idx
from core.data.generators import femnist_like, leaf_synthetic, quadratics, synthetic
from core.data.reading import read

#: Where Debian's package `dataset-fashion-mnist` has its files.
FASHION_MNIST: Final = Path("/usr/share/datasets/fashion-mnist")
_SUFFIXES: Final = (".npz", ".parquet", ".csv", ".csv.gz", ".tsv", ".tsv.gz", ".txt", ".txt.gz")


@functools.cache
def digits() -> Dataset:
    """1,797 handwritten digits of 8×8 pixels by 14 putative writers (Alpaydin and Kaynak)."""
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


def fashion_mnist(folder: Path = FASHION_MNIST) -> Dataset:
    """Fashion-MNIST: 60,000 and 10,000 pictures of clothes, of Debian's package dataset-fashion-mnist.

    Raises `ValueError` where the package is not installed.
    """
    if not folder.is_dir():
        raise ValueError(f"there is no {folder}; Debian's package dataset-fashion-mnist brings it, or a .npz file does")
    x = [read_idx(folder / f"{part}-images-idx3-ubyte.gz") for part in ("train", "t10k")]
    y = [read_idx(folder / f"{part}-labels-idx1-ubyte.gz") for part in ("train", "t10k")]
    for pictures, labels in zip(x, y, strict=True):
        if pictures.ndim != 3 or pictures.shape[1:] != x[0].shape[1:] or labels.shape != pictures.shape[:1]:
            raise ValueError(f"{folder}: {list(pictures.shape)} pictures and {list(labels.shape)} labels do not fit")
    return Dataset(
        name="fashion_mnist",
        x=np.concatenate(x).astype(np.float32) / np.float32(255),
        y=np.concatenate(y).astype(np.int32),
        client=None,
        classes=10,
        client_noun="client",
        description=f"Fashion-MNIST, {len(x[0])} pictures of clothes and {len(x[1])} to test with (Xiao et al. 2017)",
        test=np.repeat([False, True], [len(x[0]), len(x[1])]),
    )


_GENERATORS: Final[dict[str, Callable[..., Dataset]]] = {
    make.__name__: make for make in (femnist_like, leaf_synthetic, quadratics, synthetic)
}
_FIXED: Final[dict[str, Callable[[], Dataset]]] = {"digits": digits, "fashion_mnist": fashion_mnist}


def datasets() -> dict[str, str]:
    """Names of the data sets that come with the project and a line about each."""
    makers: dict[str, Callable[..., Dataset]] = {**_FIXED, **_GENERATORS}
    return {name: (make.__doc__ or "").splitlines()[0] for name, make in sorted(makers.items())}


def dataset(name: str, options: dict[str, Any] | None = None, seed: int = 0) -> Dataset:
    """A data set by its name, drawn from `seed` if it is generated, or from the path of a file (`core.data.options`).

    Raises `ValueError`.
    """
    given = dict(options or {})
    try:
        if name in _GENERATORS:
            return _GENERATORS[name](seed, **given)
        if name in _FIXED:
            return _FIXED[name](**given)
    except TypeError as error:
        raise ValueError(f"data set {name!r}: {error}") from error
    if name.endswith(_SUFFIXES):
        return read(name, given)
    raise ValueError(
        f"unknown data set {name!r}: one of {', '.join(datasets())}, or the path of a file ({', '.join(_SUFFIXES)})"
    )
