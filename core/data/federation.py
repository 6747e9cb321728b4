"""A data set dealt to clients, with a share of each client's examples held out for one pooled test set."""

from __future__ import annotations

import dataclasses
import functools

import numpy as np
import numpy.typing as npt

from core.compute import Rows, Shard
from core.data.datasets import Dataset
from core.data.datasets import dataset as load_dataset
from core.data.partition import Indices, dirichlet, iid, natural
from core.rng import generator

PARTITIONS = ("writer", "iid", "dirichlet")


@dataclasses.dataclass(frozen=True, eq=False)
class Federation:
    """Who has which examples. `train[k]`: the rows that client k trains on, `held_out[k]`: those that it does not.

    `names[k]` is the client's name; `description` one sentence about the data and the split.
    """

    data: Dataset
    train: tuple[Indices, ...]
    held_out: tuple[Indices, ...]
    names: tuple[str, ...]
    description: str

    def __len__(self) -> int:
        return len(self.train)

    @property
    def capacity(self) -> int:
        """Row numbers that a client's shard has room for: as many as the largest client needs."""
        return max(len(part) for part in self.train)

    @property
    def examples(self) -> int:
        """Training examples of all clients together: the bound of the total weight of a round."""
        return sum(len(part) for part in self.train)

    @functools.cached_property
    def test(self) -> Indices:
        """The rows held out, of all clients, in their order."""
        return np.concatenate(self.held_out)

    @functools.cached_property
    def rows(self) -> Rows:
        """All examples, resident once: x and y."""
        return Rows({"x": self.data.x, "y": self.data.y})

    def shard(self, client: int) -> Shard:
        """A client's training examples as rows of the whole data set (for the simulator)."""
        return Shard(self.rows, self.train[client], self.capacity)

    def own_shard(self, client: int) -> Shard:
        """The same examples in the same order, in a data set that holds nothing else (for a node of the real world)."""
        return Shard(*self._own(self.train[client], self.capacity), self.capacity)

    def test_shard(self) -> Shard:
        """The pooled held-out examples as rows of the whole data set."""
        return Shard(self.rows, self.test)

    def own_test_shard(self) -> Shard:
        """The pooled held-out examples in a data set that holds nothing else."""
        return Shard(*self._own(self.test, max(1, len(self.test))))

    @property
    def _held_out_capacity(self) -> int:
        return max(1, *(len(part) for part in self.held_out))

    def held_out_shard(self, client: int) -> Shard:
        """A client's held-out examples as rows of the whole data set."""
        return Shard(self.rows, self.held_out[client], self._held_out_capacity)

    def own_held_out_shard(self, client: int) -> Shard:
        """A client's held-out examples in a data set that holds nothing else."""
        return Shard(*self._own(self.held_out[client], self._held_out_capacity), self._held_out_capacity)

    def _own(self, indices: Indices, capacity: int) -> tuple[Rows, npt.NDArray[np.int32]]:
        # Padded, so that the nodes of all clients compile one and the same program.
        padded = np.concatenate([indices, np.zeros(capacity - len(indices), np.int32)])
        return Rows({"x": self.data.x[padded], "y": self.data.y[padded]}), np.arange(len(indices), dtype=np.int32)

    def label_counts(self) -> npt.NDArray[np.int64]:
        """Training examples by client and label, [clients, classes]."""
        return np.stack([np.bincount(self.data.y[part], minlength=self.data.classes) for part in self.train])


def _hold_out(indices: Indices, fraction: float, seed: int, client: int) -> tuple[Indices, Indices]:
    """Split one client's examples into training and test; at least one is left for training."""
    held = min(round(len(indices) * fraction), len(indices) - 1)
    order = generator(seed, "data", "hold_out", client).permutation(indices)
    return np.sort(order[held:]), np.sort(order[:held])


def federation(
    dataset: str | Dataset,
    partition: str = "writer",
    clients: int | None = None,
    test_fraction: float = 0.2,
    seed: int = 0,
    *,
    alpha: float = 0.5,
    min_examples: int = 10,
) -> Federation:
    """Deal a data set (a name, the path of an `.npz`, or a value) to clients; a pure function of its arguments.

    `partition`: `writer` (the natural clients of the data; `natural` is the same), `iid`, or `dirichlet` (skewed
    labels: `alpha`, and at least `min_examples` before holding out). `test_fraction` of each client's examples,
    rounded, is held out. Raises `ValueError`.
    """
    data = load_dataset(dataset) if isinstance(dataset, str) else dataset
    if not 0 <= test_fraction < 1:
        raise ValueError(f"test_fraction is {test_fraction}; 0 <= fraction < 1 is expected")
    noun = "client"
    if partition in ("writer", "natural"):
        if data.client is None:
            raise ValueError(f"the data set {data.name} has no natural clients; `iid` and `dirichlet` need none")
        parts = natural(data.client, clients)
        noun = data.client_noun
        how = f"by {'putative ' if noun == 'writer' else ''}{noun}"
    elif partition in ("iid", "dirichlet"):
        if clients is None:
            raise ValueError(f"the partition {partition} needs a number of clients")
        if partition == "iid":
            parts = iid(len(data.y), clients, seed)
            how = "dealt at random"
        else:
            parts = dirichlet(data.y, clients, alpha, min_examples, seed)
            how = f"each label dealt in proportions from Dir({alpha:g})"
    else:
        raise ValueError(f"unknown partition {partition!r}: one of {', '.join(PARTITIONS)}")
    split = [_hold_out(part, test_fraction, seed, k) for k, part in enumerate(parts)]
    width = len(str(len(parts) - 1))
    return Federation(
        data=data,
        train=tuple(train for train, _ in split),
        held_out=tuple(test for _, test in split),
        names=tuple(f"{noun}-{k:0{width}d}" for k in range(len(parts))),
        description=f"{data.description}; {len(parts)} clients, {how}, {test_fraction:.0%} of each held out",
    )
