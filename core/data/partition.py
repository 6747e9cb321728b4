"""How examples are dealt to clients: by their natural client, at random, or with skewed labels.

`dirichlet` is the variant of Yurochkin et al. ("Bayesian nonparametric federated learning of neural networks", ICML
2019) and Li et al. (NIID-Bench, ICDE 2022): for each label, its examples are divided among the clients in proportions
drawn from Dir(alpha); drawn anew, all labels, until every client has its minimum.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from core.rng import generator

Indices = npt.NDArray[np.int32]

#: Draws of a Dirichlet partition before it is given up as hopeless.
MAX_DRAWS: Final = 1000


def natural(client: Indices, clients: int | None) -> list[Indices]:
    """The first `clients` natural clients with all of their examples (None: all of them)."""
    available = int(client.max()) + 1
    count = available if clients is None else clients
    if not 1 <= count <= available:
        raise ValueError(
            f"{count} clients asked for where the data have {available} natural ones; `iid` or `dirichlet` deal to more"
        )
    return [np.flatnonzero(client == k).astype(np.int32) for k in range(count)]


def iid(examples: int, clients: int, seed: int) -> list[Indices]:
    """Shuffled and dealt in equal parts, which differ by one example at most."""
    if not 1 <= clients <= examples:
        raise ValueError(f"{clients} clients cannot share {examples} examples; 1 .. {examples} can")
    order = generator(seed, "data", "iid").permutation(examples).astype(np.int32)
    return [np.sort(part) for part in np.array_split(order, clients)]


def dirichlet(y: Indices, clients: int, alpha: float, min_examples: int, seed: int) -> list[Indices]:
    """Each label's examples in proportions from Dir(alpha); every client gets at least `min_examples`."""
    if clients < 1 or min_examples < 1 or clients * min_examples > len(y):
        raise ValueError(f"{clients} clients cannot have at least {min_examples} of {len(y)} examples each")
    if not 0 < alpha < np.inf:
        raise ValueError(f"alpha is {alpha}; a positive number is expected")
    for draw in range(MAX_DRAWS):
        rng = generator(seed, "data", "dirichlet", draw)
        parts: list[list[Indices]] = [[] for _ in range(clients)]
        for label in range(int(y.max()) + 1):
            members = rng.permutation(np.flatnonzero(y == label)).astype(np.int32)
            shares = rng.dirichlet(np.full(clients, alpha))
            cuts = np.floor(np.cumsum(shares)[:-1] * len(members)).astype(np.int64)
            for part, piece in zip(parts, np.split(members, cuts), strict=True):
                part.append(piece)
        dealt = [np.sort(np.concatenate(part)) for part in parts]
        if min(len(part) for part in dealt) >= min_examples:
            return dealt
    raise ValueError(
        f"no Dirichlet partition with alpha {alpha} gave all {clients} clients {min_examples} examples in "
        f"{MAX_DRAWS} draws; a larger alpha, fewer clients or a smaller minimum will"
    )
