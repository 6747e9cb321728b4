"""How examples are dealt to clients: each at most once, as a pure function of the seed.

`dirichlet` is the variant of Yurochkin et al. ("Bayesian nonparametric federated learning of neural networks", ICML
2019) and Li et al. (NIID-Bench, ICDE 2022): for each label, its examples are divided among the clients in proportions
drawn from Dir(alpha); drawn anew, all labels, until every client has its minimum. `shards` is the pathological split of
McMahan et al. (AISTATS 2017); `labels` is NIID-Bench's #C = k, with lognormal weights that of the FedProx repository's
MNIST; `lognormal` and `power_law` skew the sizes alone.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from core.data.dataset import Indices
from core.rng import generator

#: Draws of a Dirichlet partition before it is given up as hopeless.
MAX_DRAWS: Final = 1000


def natural(client: Indices, clients: int | None, min_examples: int = 1) -> tuple[list[Indices], list[int]]:
    """The first `clients` natural clients with all of their examples (None: all of them), and which these are.

    Those with less than `min_examples` are passed over.
    """
    order = np.argsort(client, kind="stable").astype(np.int32)
    sizes = np.bincount(client[client >= 0])
    fitting = np.flatnonzero(sizes >= min_examples)
    count = len(fitting) if clients is None else clients
    if not 1 <= count <= len(fitting):
        enough = f" with {min_examples} examples or more" if min_examples > 1 else ""
        raise ValueError(
            f"{count} clients asked for where the data have {len(fitting)} natural ones{enough}; "
            "`iid` or `dirichlet` deal to more"
        )
    # Examples of nobody, -1, come first in the order.
    starts = np.concatenate([[0], np.cumsum(sizes)]) + int((client < 0).sum())
    chosen = fitting[:count].tolist()
    return [np.sort(order[starts[k] : starts[k + 1]]) for k in chosen], chosen


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
            # Gamma variates that overflow or vanish add up to nothing.
            if not abs(shares.sum() - 1) < 1e-6:
                raise ValueError(f"alpha is {alpha}; shares cannot be drawn from it, a less extreme number is accepted")
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


def shards(y: Indices, clients: int, per_client: int, seed: int) -> list[Indices]:
    """Sorted by label, cut into `per_client` shards a client, and these dealt at random.

    Shards differ by one example at most; within a label the order is drawn, so that no shard follows the file.
    """
    count = clients * per_client
    if clients < 1 or per_client < 1 or count > len(y):
        raise ValueError(f"{clients} clients cannot have {per_client} shards each of {len(y)} examples")
    rng = generator(seed, "data", "shards")
    order = rng.permutation(len(y)).astype(np.int32)
    pieces = np.array_split(order[np.argsort(y[order], kind="stable")], count)
    hands = rng.permutation(count).reshape(clients, per_client)
    return [np.sort(np.concatenate([pieces[shard] for shard in hand])) for hand in hands]


def labels(y: Indices, clients: int, per_client: int, sigma: float, seed: int) -> list[Indices]:
    """Each client has `per_client` labels: one in turn, the others at random.

    A label's examples are divided among those that have it, in equal parts, or with lognormal weights where `sigma` is
    above 0; all of them have at least one. Examples of labels that nobody has are left out.
    """
    present = np.unique(y)
    if clients < 1 or not 1 <= per_client <= len(present):
        raise ValueError(f"{clients} clients cannot have {per_client} of {len(present)} labels each")
    if not 0 <= sigma < np.inf:
        raise ValueError(f"sigma is {sigma}; a number from 0 is expected")
    rng = generator(seed, "data", "labels")
    owners: list[list[int]] = [[] for _ in present]
    for k in range(clients):
        first = k % len(present)
        others = [label for label in range(len(present)) if label != first]
        for label in (first, *rng.choice(others, per_client - 1, replace=False).tolist()):
            owners[label].append(k)
    parts: list[list[Indices]] = [[] for _ in range(clients)]
    for label, having in zip(present, owners, strict=True):
        if not having:
            continue
        members = rng.permutation(np.flatnonzero(y == label)).astype(np.int32)
        if len(having) > len(members):
            raise ValueError(
                f"{len(having)} clients cannot share the {len(members)} examples of the label {label}; fewer clients "
                "or fewer labels a client will"
            )
        sizes = _sizes(_normal(rng, sigma, len(having)), len(members), 1)
        for k, piece in zip(having, np.split(members, np.cumsum(sizes)[:-1]), strict=True):
            parts[k].append(piece)
    return [np.sort(np.concatenate(part)) for part in parts]


def lognormal(examples: int, clients: int, sigma: float, min_examples: int, seed: int) -> list[Indices]:
    """Shuffled and dealt in parts whose sizes are lognormal: their logarithms have the standard deviation `sigma`."""
    if not 0 <= sigma < np.inf:
        raise ValueError(f"sigma is {sigma}; a number from 0 is expected")
    rng = generator(seed, "data", "lognormal")
    return _dealt(rng, _normal(rng, sigma, clients), examples, min_examples)


def power_law(examples: int, clients: int, exponent: float, min_examples: int, seed: int) -> list[Indices]:
    """Shuffled and dealt in parts whose sizes follow a power law: P(size > s) ~ s^(1 − exponent), as of LEAF's sets."""
    if not 1 < exponent < np.inf:
        raise ValueError(f"exponent is {exponent}; a number above 1 is expected")
    rng = generator(seed, "data", "power_law")
    return _dealt(rng, np.log1p(-rng.random(clients)) / (1.0 - exponent), examples, min_examples)


def _normal(rng: np.random.Generator, sigma: float, count: int) -> npt.NDArray[np.float64]:
    """Logarithms of lognormal weights; infinite where they overflow."""
    with np.errstate(over="ignore"):
        return sigma * rng.standard_normal(count)


def _dealt(
    rng: np.random.Generator, logarithms: npt.NDArray[np.float64], examples: int, min_examples: int
) -> list[Indices]:
    order = rng.permutation(examples).astype(np.int32)
    sizes = _sizes(logarithms, examples, min_examples)
    return [np.sort(part) for part in np.split(order, np.cumsum(sizes)[:-1])]


def _sizes(logarithms: npt.NDArray[np.float64], total: int, least: int) -> npt.NDArray[np.int64]:
    """Whole numbers from `least` that add up to `total`; what is above `least` is in proportion to the weights.

    The weights come as their logarithms, and the largest counts as 1: of heavy tails they are beyond any float.
    """
    count = len(logarithms)
    if count < 1 or least < 1 or count * least > total:
        raise ValueError(f"{count} clients cannot have at least {least} of {total} examples each")
    if not np.isfinite(logarithms).all():
        raise ValueError("the weights of the clients go beyond what can be computed; a less extreme law is accepted")
    weights = np.exp(logarithms - logarithms.max())
    # Differences of rounded running sums: each within one of its share, and together exact.
    ends = np.floor(np.cumsum(weights) / weights.sum() * (total - count * least) + 1e-9).astype(np.int64)
    ends = np.minimum(ends, total - count * least)
    ends[-1] = total - count * least
    sizes: npt.NDArray[np.int64] = np.diff(ends, prepend=0) + least
    if sizes.min() < least or sizes.sum() != total:
        raise RuntimeError(f"{total} examples were dealt in parts of {sizes.min()} to {sizes.max()}, {sizes.sum()}")
    return sizes
