"""Data sets that are drawn from the seed of a study.

`synthetic` is Synthetic(α, β) of Li et al. ("Federated optimization in heterogeneous networks", MLSys 2020, section
5.1 and its published generator); deviation: the draws are seeded by ours. `quadratics` has one quadratic a client,
whose federated fixed points are known in closed form. `femnist_like` has the shape of LEAF's FEMNIST (Caldas et al.
2018) without its data: 62 classes, 28×28 pixels, writers with a hand of their own.
"""

from __future__ import annotations

from typing import Final

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
