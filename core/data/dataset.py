"""What a data set is: examples, targets, and whose they are."""

from __future__ import annotations

import dataclasses
from typing import Any, Final, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

TaskName: TypeAlias = Literal["classification", "regression", "next_token"]
Indices: TypeAlias = npt.NDArray[np.int32]

#: Most classes of an own data set: a model has weights for each, so that a stray label would fill the memory.
MAX_CLASSES: Final = 100_000
#: Parts of equal size that the targets of a regression are divided into, where labels are asked for.
TENTHS: Final = 10


@dataclasses.dataclass(frozen=True, eq=False)
class Dataset:
    """Examples with targets, and the natural client of each.

    x is float32[n, …], or int32[n, length] of tokens below `tokens`. y is int32[n] in 0 .. classes - 1 for
    classification, float32[n] for regression (`classes` is 1), int32[n, length] for next-token prediction. `client` is
    int32[n], -1 for examples of nobody (which only the test part has), or None where there are no natural clients.
    """

    name: str
    x: npt.NDArray[Any]
    y: npt.NDArray[Any]
    client: Indices | None
    classes: int
    #: What the natural clients are called, such as `writer`.
    client_noun: str
    description: str
    task: TaskName = "classification"
    #: Number of different tokens; 0 where examples are numbers.
    tokens: int = 0
    #: The test part that the data came with, bool[n], or None where there is none.
    test: npt.NDArray[np.bool_] | None = None
    #: Names of the natural clients, if they have any.
    client_names: tuple[str, ...] = ()

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of one example."""
        return self.x.shape[1:]

    def labels(self) -> Indices | None:
        """A label for each example, int32[n]; of a regression the tenth of all targets; None for text."""
        if self.task == "next_token":
            return None
        if self.task == "regression":
            bounds = np.quantile(self.y, np.arange(1, TENTHS) / TENTHS)
            return np.searchsorted(bounds, self.y, side="right").astype(np.int32)
        return self.y

    def label_counts(self, parts: tuple[Indices, ...]) -> npt.NDArray[np.int64]:
        """Examples (of text: tokens) of each label in each part, [parts, labels]."""
        labels = self.labels()
        values = self.y if labels is None else labels
        most = TENTHS if self.task == "regression" else self.classes
        return np.stack([np.bincount(values[part].ravel(), minlength=most) for part in parts])
