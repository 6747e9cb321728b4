"""Data sets that are drawn from the seed of a study.

`synthetic` is Synthetic(α, β) of Li et al. ("Federated optimization in heterogeneous networks", MLSys 2020, section
5.1 and its published generator); deviation: the draws are seeded by ours. `quadratics` has one quadratic a client,
whose federated fixed points are known in closed form. `femnist_like` has the shape of LEAF's FEMNIST (Caldas et al.
2018) without its data: 62 classes, 28×28 pixels, writers with a hand of their own. `leaf_synthetic` is LEAF's own
synthetic set, by its published generator (repository TalwalkarLab/leaf, data/synthetic), which differs from the paper
where the sizes of the paper's matrices do not fit; deviations: the draws are seeded by ours, and clusters are equally
likely.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from core.data.dataset import Dataset
from core.rng import generator

Floats = npt.NDArray[np.float64]

#: Features and classes of Synthetic(α, β).
_FEATURES: Final = 60
_CLASSES: Final = 10
#: Mean and standard deviation of a writer's examples in LEAF's FEMNIST (its table 1: literature).
FEMNIST_MEAN: Final = 226.83
FEMNIST_DEVIATION: Final = 88.94
_FEMNIST_CLASSES: Final = 62
_PIXELS: Final = 28
#: Points on the strokes of a letter.
_POINTS: Final = 24


def synthetic(seed: int, *, clients: int = 30, alpha: float = 1.0, beta: float = 1.0) -> Dataset:
    """Synthetic(alpha, beta) of FedProx: 60 features, 10 classes, a softmax model of its own behind each client.

    `alpha` is the standard deviation of the clients' models' means, `beta` that of their inputs' means, as in the
    published generator. A client has ⌊lognormal(4, 2)⌋ + 50 examples, at most 100,000 (a draw above has a chance of
    1 in 12,000).
    """
    sizes, xs, ys = [], [], []
    # Σ is diagonal with j^-1.2.
    deviation = np.arange(1, _FEATURES + 1) ** -0.6
    for k in range(clients):
        rng = generator(seed, "data", "synthetic", k)
        size = min(int(rng.lognormal(4.0, 2.0)) + 50, 100_000)
        mean = rng.normal(0.0, alpha)
        centre = rng.normal(rng.normal(0.0, beta), 1.0, _FEATURES)
        weights, bias = rng.normal(mean, 1.0, (_FEATURES, _CLASSES)), rng.normal(mean, 1.0, _CLASSES)
        x = centre + deviation * rng.standard_normal((size, _FEATURES))
        sizes.append(size)
        xs.append(x.astype(np.float32))
        ys.append(np.argmax(x @ weights + bias, axis=1).astype(np.int32))
    return Dataset(
        name="synthetic",
        x=np.concatenate(xs),
        y=np.concatenate(ys),
        client=np.repeat(np.arange(clients, dtype=np.int32), sizes),
        classes=_CLASSES,
        client_noun="client",
        description=f"Synthetic({alpha:g}, {beta:g}) of FedProx, {sum(sizes)} examples of {clients} clients",
    )


class LeafCommon(NamedTuple):
    """What the clients of `leaf_synthetic` have in common."""

    #: Q, [1 + dimensions, classes, clusters]: what a client's weights are made of.
    basis: Floats
    #: The clusters' centres, [clusters, clusters].
    centres: Floats


class LeafClient(NamedTuple):
    """A client of `leaf_synthetic`."""

    cluster: int
    #: u, [clusters]: what is drawn around its cluster's centre.
    own: Floats
    x: Floats
    y: npt.NDArray[np.int32]


def leaf_size(drawn: float) -> int:
    """Examples of a client of `leaf_synthetic`, from a draw of lognormal(3, 2): 5 more, at most 1,000."""
    return min(int(drawn) + 5, 1000)


def leaf_common(seed: int, classes: int, dimensions: int, clusters: int) -> LeafCommon:
    """Q ~ N(0, 1), and centres μ_j ~ N(c_j, I) with c_j ~ N(0, 1)."""
    rng = generator(seed, "data", "leaf_synthetic", "common")
    basis = rng.standard_normal((1 + dimensions, classes, clusters))
    return LeafCommon(basis, rng.normal(rng.normal(0.0, 1.0, (clusters, 1)), 1.0, (clusters, clusters)))


def leaf_client(seed: int, k: int, common: LeafCommon) -> LeafClient:
    """Client k, whoever else there is: u ~ N(μ_j, 0.1²) of its cluster j, and y = argmax (1, x) Q u + N(0, 0.1²).

    x ~ N(v, Σ) with Σ = diag(i^-1.2), v ~ N(b, I), b ~ N(0, 1).
    """
    rng = generator(seed, "data", "leaf_synthetic", "client", k)
    inputs, classes, clusters = common.basis.shape
    size = leaf_size(rng.lognormal(3.0, 2.0))
    cluster = int(rng.integers(clusters))
    own = rng.normal(common.centres[cluster], 0.1)
    middle = rng.normal(rng.normal(0.0, 1.0), 1.0, inputs - 1)
    x = middle + np.arange(1, inputs) ** -0.6 * rng.standard_normal((size, inputs - 1))
    weights = common.basis @ own
    logits = weights[0] + x @ weights[1:] + rng.normal(0.0, 0.1, (size, classes))
    return LeafClient(cluster, own, x, np.argmax(logits, axis=1).astype(np.int32))


def leaf_synthetic(
    seed: int, *, clients: int = 1000, classes: int = 5, dimensions: int = 60, clusters: int = 1
) -> Dataset:
    """Synthetic set of LEAF: clients whose softmax models lie around the centres of `clusters`.

    The defaults are those of LEAF's page. Sizes are ⌊lognormal(3, 2)⌋ + 5, at most 1,000. Raises `ValueError`.
    """
    for name, value, least in (
        ("clients", clients, 1),
        ("classes", classes, 2),
        ("dimensions", dimensions, 1),
        ("clusters", clusters, 1),
    ):
        if not isinstance(value, int) or isinstance(value, bool) or value < least:
            raise ValueError(f"{name} of leaf_synthetic is {value!r}; a whole number from {least} is expected")
    common = leaf_common(seed, classes, dimensions, clusters)
    drawn = [leaf_client(seed, k, common) for k in range(clients)]
    sizes = [len(client.y) for client in drawn]
    return Dataset(
        name="leaf_synthetic",
        x=np.concatenate([client.x.astype(np.float32) for client in drawn]),
        y=np.concatenate([client.y for client in drawn]),
        client=np.repeat(np.arange(clients, dtype=np.int32), sizes),
        classes=classes,
        client_noun="client",
        description=f"Synthetic set of LEAF, {sum(sizes)} examples of {clients} clients in {clusters} "
        f"cluster{'s' if clusters > 1 else ''}",
    )


def quadratics(
    seed: int, *, clients: int = 10, dimensions: int = 1, curvature_spread: float = 0.5, optimum_spread: float = 1.0
) -> Dataset:
    """One quadratic a client, F_k(w) = Σ_j a_kj (w_j − c_kj)² / d, as a regression for the model `linear` without bias.

    Client k has d examples √a_kj e_j with the targets √a_kj c_kj: as one batch their mean squared error is F_k. a is
    lognormal with `curvature_spread`, c normal with `optimum_spread`.
    """
    xs, ys = [], []
    for k in range(clients):
        rng = generator(seed, "data", "quadratics", k)
        root = np.exp(0.5 * curvature_spread * rng.standard_normal(dimensions))
        xs.append(np.diag(root))
        ys.append(root * optimum_spread * rng.standard_normal(dimensions))
    return Dataset(
        name="quadratics",
        x=np.concatenate(xs).astype(np.float32),
        y=np.concatenate(ys).astype(np.float32),
        client=np.repeat(np.arange(clients, dtype=np.int32), dimensions),
        classes=1,
        client_noun="client",
        description=f"Quadratics in {dimensions} dimensions, one a client",
        task="regression",
    )


def femnist_like(seed: int, *, clients: int = 100, style: float = 1.0) -> Dataset:
    """Made-up letters of 62 classes in 28×28 pixels, by writers whose slant, size, strokes and ink differ by `style`.

    A letter is three strokes (quadratic Bézier curves); a writer bends all of them in one way and each a little, and no
    two examples are equal. A writer has as many examples as LEAF's (normal, 226.83 ± 88.94, at least 20).
    """
    letters = generator(seed, "data", "femnist_like", "letters").uniform(0.15, 0.85, (_FEMNIST_CLASSES, 3, 3, 2))
    sizes, xs, ys = [], [], []
    for k in range(clients):
        rng = generator(seed, "data", "femnist_like", "writer", k)
        size = max(20, round(rng.normal(FEMNIST_MEAN, FEMNIST_DEVIATION)))
        y = rng.integers(0, _FEMNIST_CLASSES, size)
        own = letters + style * rng.normal(0.0, 0.03, letters.shape)
        slant, turn = style * rng.normal(0.0, (0.2, 0.1))
        scale = np.exp(style * rng.normal(0.0, 0.1, 2))
        bend = np.array([[np.cos(turn), np.sin(turn) + slant], [-np.sin(turn), np.cos(turn)]]) * scale
        width = 0.03 * np.exp(style * rng.normal(0.0, 0.25))
        ink = 0.9 * np.exp(-style * abs(rng.normal(0.0, 0.15)))
        control = (own[y] + rng.normal(0.0, 0.02, (size, *letters.shape[1:])) - 0.5) @ bend.T + 0.5
        sizes.append(size)
        xs.append(_drawn(control, width, ink))
        ys.append(y.astype(np.int32))
    return Dataset(
        name="femnist_like",
        x=np.concatenate(xs),
        y=np.concatenate(ys),
        client=np.repeat(np.arange(clients, dtype=np.int32), sizes),
        classes=_FEMNIST_CLASSES,
        client_noun="writer",
        description=f"{sum(sizes)} made-up letters of 62 classes and 28×28 pixels by {clients} made-up writers",
    )


def _drawn(control: Floats, width: float, ink: float) -> npt.NDArray[np.float32]:
    """Pictures [n, 28, 28] in 0 .. 1 of strokes with control points [n, strokes, 3, 2] in the unit square."""
    t = np.linspace(0.0, 1.0, _POINTS // 3)[:, None, None]
    basis = np.concatenate([(1 - t) ** 2, 2 * t * (1 - t), t**2], axis=2)[:, 0]
    points = np.einsum("pc,nscd->nspd", basis, control).reshape(len(control), -1, 2)
    grid = (np.arange(_PIXELS) + 0.5) / _PIXELS
    # A point is a Gaussian blot, which is a product of one for the row and one for the column.
    blots = np.exp(-np.square((points[:, :, :, None] - grid) / width) / 2)
    pictures = np.einsum("npr,npc->nrc", blots[:, :, 1], blots[:, :, 0])
    inked: npt.NDArray[np.float32] = (ink * np.minimum(pictures, 1.0)).astype(np.float32)
    return inked
