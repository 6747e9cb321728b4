"""Data sets that stay where the computing is done, and the rows of them that one client owns.

A job ships row numbers, never examples: the examples are put on the device once
(shipping them every round cost a third of the speed when measured).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
import numpy.typing as npt

from core.wire import ArrayDict, Spec


class Rows:
    """Named arrays with one common first axis, resident on the device from the first use on."""

    __slots__ = ("_resident", "arrays", "spec_items")

    def __init__(self, arrays: Mapping[str, npt.ArrayLike]) -> None:
        self.arrays = ArrayDict(arrays)
        lengths = {name: a.shape[0] if a.ndim else -1 for name, a in self.arrays.items()}
        if len(set(lengths.values())) != 1 or -1 in lengths.values():
            raise ValueError(f"the arrays of a data set need one common first axis; got lengths {lengths}")
        self.spec_items: tuple[tuple[str, Spec], ...] = tuple(self.arrays.spec.items())
        self._resident: dict[str, jax.Array] | None = None

    def __len__(self) -> int:
        return int(next(iter(self.arrays.values())).shape[0])

    def __repr__(self) -> str:
        return f"Rows({self.arrays!r})"

    def resident(self) -> dict[str, jax.Array]:
        """The arrays on the device; transferred once."""
        if self._resident is None:
            self._resident = {name: jax.device_put(array) for name, array in self.arrays.items()}
        return self._resident


class Shard:
    """Some rows of a data set: `index` int32[capacity], zero beyond `count`.

    The capacity is common to all clients of a federation, so that one compilation serves them; it costs index
    space only, no computation.
    """

    __slots__ = ("capacity", "count", "index", "rows")

    def __init__(self, rows: Rows, indices: npt.ArrayLike, capacity: int | None = None) -> None:
        own: npt.NDArray[Any] = np.asarray(indices)
        if own.ndim != 1 or own.dtype.kind not in "iu":
            raise ValueError("row numbers are a vector of integers")
        if own.size and not (int(own.min()) >= 0 and int(own.max()) < len(rows)):
            raise ValueError(f"row numbers reach from {own.min()} to {own.max()} in a data set of {len(rows)} rows")
        self.capacity = max(1, own.size if capacity is None else capacity)
        if own.size > self.capacity:
            raise ValueError(f"{own.size} rows do not fit into a capacity of {self.capacity}")
        index = np.zeros(self.capacity, np.int32)
        index[: own.size] = own
        index.flags.writeable = False
        self.rows = rows
        self.index: npt.NDArray[np.int32] = index
        self.count = int(own.size)

    def __repr__(self) -> str:
        return f"Shard({self.count} of {len(self.rows)} rows, capacity {self.capacity})"
