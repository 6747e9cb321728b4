"""Clients by the million, each with a lognormal number of examples that it draws at random from a data set.

Nothing is kept for a client; its rows follow from the seed and its number when it is asked for. Two clients may share
examples, and one may have an example twice, so that the data set bounds neither.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from core.compute import Rows, Shard
from core.data.dataset import Dataset, Indices
from core.data.datasets import dataset as load_dataset
from core.rng import generator

#: No client has more than so many times the median.
MAX_MULTIPLE = 20
#: Clients whose labels are counted for a description.
SHOWN = 1000


@dataclasses.dataclass(frozen=True, eq=False)
class Sampled:
    """Who has which examples; `score(client)` is the standard normal score of a client's amount of data.

    `scores()` gives the same of all clients; `pool` are the rows that are drawn from, `test` those held out.
    """

    data: Dataset
    clients: int
    median: int
    spread: float
    pool: Indices
    test: Indices
    seed: int
    score: Callable[[int], float]
    scores: Callable[[], npt.NDArray[np.float64]]

    def __len__(self) -> int:
        return self.clients

    @property
    def description(self) -> str:
        """A sentence about the data and the split."""
        return (
            f"{self.data.description}; {self.clients} clients that draw at random, each about {self.median} examples "
            f"(lognormal, spread {self.spread:g})"
        )

    @property
    def capacity(self) -> int:
        """Row numbers that a client's shard has room for."""
        return self.median * MAX_MULTIPLE if self.spread else self.median

    def size(self, client: int) -> int:
        """How many examples a client has."""
        return self._size(self.score(client))

    def _size(self, score: float) -> int:
        return min(max(round(self.median * math.exp(self.spread * score)), 1), self.capacity)

    def sizes(self) -> npt.NDArray[np.int64]:
        """Examples of every client; not to be changed."""
        return self._sizes

    @functools.cached_property
    def _sizes(self) -> npt.NDArray[np.int64]:
        found = np.fromiter(map(self._size, self.scores().tolist()), np.int64, self.clients)
        found.flags.writeable = False
        return found

    @functools.cached_property
    def rows(self) -> Rows:
        """All examples, resident once: x and y."""
        return Rows({"x": self.data.x, "y": self.data.y})

    def indices(self, client: int) -> Indices:
        """The rows of a client."""
        chosen = generator(self.seed, "data", "sampled", client).integers(0, len(self.pool), size=self.size(client))
        return self.pool[chosen]

    def shard(self, client: int) -> Shard:
        """A client's examples as rows of the whole data set (for the simulator)."""
        return Shard(self.rows, self.indices(client), self.capacity)

    def own_shard(self, client: int) -> Shard:
        """The same examples in a data set that holds nothing else (for a node of the real world)."""
        indices = self.indices(client)
        padded = np.concatenate([indices, np.zeros(self.capacity - len(indices), np.int32)])
        return Shard(self._only(padded), np.arange(len(indices), dtype=np.int32), self.capacity)

    def held_out_shard(self, client: int) -> Shard:
        """Held-out examples that a client draws for itself, in proportion to its own, as rows of the whole data set."""
        return Shard(self.rows, self._held_out(client), self.capacity)

    def own_held_out_shard(self, client: int) -> Shard:
        """The same examples in a data set that holds nothing else."""
        indices = self._held_out(client)
        padded = np.concatenate([indices, np.zeros(self.capacity - len(indices), np.int32)])
        return Shard(self._only(padded), np.arange(len(indices), dtype=np.int32), self.capacity)

    def _held_out(self, client: int) -> Indices:
        count = round(self.size(client) * len(self.test) / len(self.data.y))
        chosen = generator(self.seed, "data", "sampled_test", client).integers(0, max(len(self.test), 1), size=count)
        return self.test[chosen]

    def test_shard(self) -> Shard:
        """The held-out examples as rows of the whole data set."""
        return Shard(self.rows, self.test)

    def own_test_shard(self) -> Shard:
        """The held-out examples in a data set that holds nothing else."""
        return Shard(self._only(self.test), np.arange(len(self.test), dtype=np.int32))

    def _only(self, indices: Indices) -> Rows:
        return Rows({"x": self.data.x[indices], "y": self.data.y[indices]})

    def label_counts(self) -> npt.NDArray[np.int64]:
        """Examples by client and label, [clients, classes], of the first `SHOWN` clients."""
        return self.data.label_counts(tuple(self.indices(k) for k in range(min(self.clients, SHOWN))))


def sampled(
    dataset: str | Dataset,
    clients: int,
    median: int,
    spread: float,
    test_fraction: float,
    seed: int,
    score: Callable[[int], float],
    scores: Callable[[], npt.NDArray[np.float64]],
    options: dict[str, Any] | None = None,
) -> Sampled:
    """Clients that sample a data set, but for a share of it that is held out, or the test part that it came with."""
    data = load_dataset(dataset, options, seed) if isinstance(dataset, str) else dataset
    order = generator(seed, "data", "sampled").permutation(len(data.x)).astype(np.int32)
    held = min(round(len(order) * test_fraction), len(order) - 1)
    if data.test is not None:
        order = np.concatenate([order[data.test[order]], order[~data.test[order]]])
        held = int(data.test.sum())
    return Sampled(data, clients, median, spread, np.sort(order[held:]), np.sort(order[:held]), seed, score, scores)
