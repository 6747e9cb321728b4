"""A data set dealt to clients, with examples of each client held out, pooled as one test set."""

from __future__ import annotations

import dataclasses
import functools
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt

from core.compute import Rows, Shard
from core.data import partition as deal
from core.data.dataset import Dataset, Indices
from core.data.datasets import dataset as load_dataset
from core.data.skew import skewed
from core.rng import generator

PARTITIONS: Final = ("natural", "iid", "dirichlet", "shards", "labels", "lognormal", "power_law")
#: Least examples of a client in the dirichlet partition, unless another number is given; 1 in all others.
DIRICHLET_LEAST: Final = 10


@dataclasses.dataclass(frozen=True, eq=False)
class Federation:
    """Who has which examples. `train[k]`: the rows that client k trains on; `held_out[k]`: those that it does not;
    `unowned`: those of a test part of the data's own that belong to no client.

    `names[k]` is the client's name; `description` one sentence about the data and the split.
    """

    data: Dataset
    train: tuple[Indices, ...]
    held_out: tuple[Indices, ...]
    names: tuple[str, ...]
    description: str
    unowned: Indices = dataclasses.field(default_factory=lambda: np.zeros(0, np.int32))
    #: Natural clients with examples enough that are none of these, as fewer were asked for.
    unused: int = 0

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
        """The rows that models are evaluated on: those held out, of all clients in their order, and the unowned."""
        return np.concatenate([*self.held_out, self.unowned])

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

    def sizes(self) -> npt.NDArray[np.int64]:
        """Training examples of every client."""
        return np.fromiter(map(len, self.train), np.int64, len(self.train))

    def label_counts(self) -> npt.NDArray[np.int64]:
        """Training examples by client and label, [clients, labels] (`Dataset.label_counts`)."""
        return self.data.label_counts(self.train)


def federation(
    dataset: str | Dataset,
    partition: str = "natural",
    clients: int | None = None,
    test_fraction: float = 0.2,
    seed: int = 0,
    *,
    options: dict[str, Any] | None = None,
    alpha: float = 0.5,
    per_client: int = 2,
    sigma: float | None = None,
    exponent: float = 2.0,
    min_examples: int | None = None,
    hold_out: Literal["random", "last"] = "random",
    feature_skew: tuple[str, float] | None = None,
) -> Federation:
    """Deal a data set (a name or path with its `options`, or a value) to clients; a pure function of its arguments.

    `partition` is one of `PARTITIONS`: by the data's natural clients (those with at least `min_examples`), at random
    in equal parts, with skewed labels (dirichlet: `alpha`, at least `min_examples`; `per_client` shards or labels,
    the latter with weights of `sigma`), or with skewed sizes (lognormal: `sigma`; power_law: `exponent`). Of each
    client's examples `test_fraction`, rounded, is held out: drawn, or the last ones. Where the data have a test part
    of their own, that is held out instead, and nothing else. `feature_skew` is a kind and its strength. Raises
    `ValueError`.
    """
    data = load_dataset(dataset, options, seed) if isinstance(dataset, str) else dataset
    if not 0 <= test_fraction < 1:
        raise ValueError(f"test_fraction is {test_fraction}; 0 <= fraction < 1 is expected")
    dealt = np.arange(len(data.x), dtype=np.int32)
    official = np.zeros(0, np.int32)
    if data.test is not None:
        official, dealt = dealt[data.test], dealt[~data.test]
        if not len(dealt):
            raise ValueError(f"all examples of {data.name} are its test part; none is left to train on")
    who: list[int] = []
    unused = 0
    if partition == "natural":
        if data.client is None:
            raise ValueError(f"the data set {data.name} has no natural clients; `iid` and `dirichlet` need none")
        every, _ = deal.natural(data.client[dealt], None, min_examples or 1)
        parts, who = deal.natural(data.client[dealt], clients, min_examples or 1)
        unused = len(every) - len(parts)
        how = f"by {'putative ' if data.name == 'digits' else ''}{data.client_noun}"
    elif partition in PARTITIONS:
        if clients is None:
            raise ValueError(f"the partition {partition} needs a number of clients")
        parts, how = _parts(data, dealt, partition, clients, seed, alpha, per_client, sigma, exponent, min_examples)
    else:
        raise ValueError(f"unknown partition {partition!r}: one of {', '.join(PARTITIONS)}")
    parts = [dealt[part] for part in parts]
    if data.test is not None:
        train = tuple(parts)
        held_out = _official_of(data, official, who, len(parts))
        # What belongs to a client that takes no part is tested on all the same: it may be one that was never seen.
        unowned = np.setdiff1d(official, np.concatenate(held_out))
        held = f"a test part of {len(official)}"
    else:
        split = [_hold_out(part, test_fraction, seed, k, hold_out) for k, part in enumerate(parts)]
        train, held_out = tuple(a for a, _ in split), tuple(b for _, b in split)
        unowned = np.zeros(0, np.int32)
        held = f"{'the last ' if hold_out == 'last' else ''}{test_fraction:.0%} of each held out"
    skew, of_all = "", f" of {len(parts) + unused}" if unused else ""
    if feature_skew is not None:
        changed = [np.concatenate(pair) for pair in zip(train, held_out, strict=True)]
        data = skewed(data, changed, *feature_skew, seed)
        skew = f", features skewed by {feature_skew[0]}"
    return Federation(
        data=data,
        train=train,
        held_out=held_out,
        names=_names(data, who, len(parts)),
        description=f"{data.description}; {len(parts)}{of_all} clients, {how}{skew}, {held}",
        unowned=unowned,
        unused=unused,
    )


def _parts(
    data: Dataset,
    dealt: Indices,
    partition: str,
    clients: int,
    seed: int,
    alpha: float,
    per_client: int,
    sigma: float | None,
    exponent: float,
    min_examples: int | None,
) -> tuple[list[Indices], str]:
    """Positions in `dealt` for each client, and how they came there."""
    count, least = len(dealt), min_examples or 1
    if partition == "iid":
        return deal.iid(count, clients, seed), "dealt at random"
    if partition == "lognormal":
        spread = 1.0 if sigma is None else sigma
        return deal.lognormal(count, clients, spread, least, seed), f"sizes lognormal with sigma {spread:g}"
    if partition == "power_law":
        return deal.power_law(count, clients, exponent, least, seed), f"sizes by a power law of {exponent:g}"
    labels = data.labels()
    if labels is None:
        raise ValueError(
            f"the partition {partition} goes by labels, which text has none of; natural, iid, lognormal do"
        )
    y = labels[dealt]
    if partition == "dirichlet":
        least = min_examples or DIRICHLET_LEAST
        return deal.dirichlet(y, clients, alpha, least, seed), f"each label dealt in proportions from Dir({alpha:g})"
    if partition == "shards":
        return deal.shards(y, clients, per_client, seed), f"{per_client} shards of one label or two each"
    spread = sigma or 0.0
    weights = f", weighted with sigma {spread:g}" if spread else ""
    return deal.labels(y, clients, per_client, spread, seed), f"{per_client} labels each{weights}"


def _hold_out(indices: Indices, fraction: float, seed: int, client: int, which: str) -> tuple[Indices, Indices]:
    """Split one client's examples into training and test; at least one is left for training."""
    held = min(round(len(indices) * fraction), len(indices) - 1)
    if which == "last":
        return indices[: len(indices) - held], indices[len(indices) - held :]
    if which != "random":
        raise ValueError(f"hold_out is {which!r}; random or last is expected")
    order = generator(seed, "data", "hold_out", client).permutation(indices)
    return np.sort(order[held:]), np.sort(order[:held])


def _official_of(data: Dataset, official: Indices, who: list[int], clients: int) -> tuple[Indices, ...]:
    """The examples of the data's own test part that belong to each client: none, unless clients are natural."""
    if data.client is None or not who:
        return (np.zeros(0, np.int32),) * clients
    return tuple(official[data.client[official] == k] for k in who)


def _names(data: Dataset, who: list[int], clients: int) -> tuple[str, ...]:
    if who and data.client_names:
        return tuple(data.client_names[k] for k in who)
    noun = data.client_noun if who else "client"
    width = len(str(clients - 1))
    return tuple(f"{noun}-{k:0{width}d}" for k in range(clients))
