"""The trained model as a safetensors file, and its canonical hash, which does not depend on the file's layout."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from core.records.store import RecordsError, write_whole

Arrays = Mapping[str, npt.NDArray[Any]]


def save_model(path: Path, arrays: Arrays) -> None:
    """Write named arrays as a safetensors file. Raises `RecordsError`."""
    from safetensors.numpy import save

    write_whole(Path(path), save({name: np.asarray(arrays[name], order="C") for name in sorted(arrays)}))


def load_model(path: Path) -> dict[str, npt.NDArray[Any]]:
    """The arrays of a safetensors file, sorted by name. Raises `RecordsError`."""
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        arrays = load(Path(path).read_bytes())
    except OSError as error:
        raise RecordsError(f"cannot read {path}: {error.strerror or error}") from error
    except SafetensorError as error:
        raise RecordsError(f"{path} is not a whole safetensors file: {error}") from error
    return {name: arrays[name] for name in sorted(arrays)}


def model_sha256(arrays: Arrays) -> str:
    """SHA-256 over names (sorted), dtypes, shapes and little-endian values, each with its length before it."""
    digest = hashlib.sha256(b"aivsim model 1")
    for name in sorted(arrays):
        array = np.asarray(arrays[name])
        little = array.astype(array.dtype.newbyteorder("<"), order="C", copy=False)
        shape = struct.pack(f"<{array.ndim}Q", *array.shape)
        for part in (name.encode(), little.dtype.str.encode(), shape, little.reshape(-1).view(np.uint8).data):
            digest.update(struct.pack("<Q", len(part)))
            digest.update(part)
    return digest.hexdigest()
