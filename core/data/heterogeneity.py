"""How unlike clients are in their labels: total variation from all of them together, and what chance alone gives.

Zhao et al. ("Federated learning with non-IID data", 2018) measure skew by the sum over the labels of |p_k(y) − p(y)|;
half of it is the total variation, 0 for equal shares and 1 for nothing in common. Few examples are never spread
evenly: by chance alone, a label with the share p among n examples is off by 2 v C(n, v) p^v (1 − p)^(n − v + 1) / n
on average, v = ⌊n p⌋ + 1 (de Moivre's mean deviation of the binomial, 1730).
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


def label_distance(counts: npt.NDArray[np.int64]) -> Floats:
    """Total variation of each client's labels from all clients': [clients, labels] to [clients]; NaN without labels."""
    pooled = counts.sum(axis=0) / max(int(counts.sum()), 1)
    sizes = counts.sum(axis=1, keepdims=True)
    with np.errstate(invalid="ignore"):
        shares = counts / sizes
    distance: Floats = 0.5 * np.abs(shares - pooled).sum(axis=1)
    return distance


def chance_distance(counts: npt.NDArray[np.int64]) -> Floats:
    """The distance to expect of clients of these sizes if their labels were drawn from all clients': [clients]."""
    pooled = counts.sum(axis=0) / max(int(counts.sum()), 1)
    present = pooled[(pooled > 0) & (pooled < 1)]
    sizes = counts.sum(axis=1)
    by_size = {size: 0.5 * sum(_mean_deviation(size, float(p)) for p in present) for size in np.unique(sizes).tolist()}
    return np.array([by_size[size] for size in sizes.tolist()], np.float64)


def _mean_deviation(n: int, p: float) -> float:
    """E|X/n − p| of a binomial X."""
    if n == 0:
        return math.nan
    v = min(math.floor(n * p) + 1, n)
    log_choose = math.lgamma(n + 1) - math.lgamma(v + 1) - math.lgamma(n - v + 1)
    return 2 * v * math.exp(log_choose + v * math.log(p) + (n - v + 1) * math.log1p(-p)) / n


def heterogeneity(counts: npt.NDArray[np.int64]) -> tuple[float, float]:
    """Mean distance of the clients, and mean of those to expect by chance, both weighted by numbers of examples."""
    sizes = counts.sum(axis=1)
    if not sizes.sum():
        return math.nan, math.nan
    weights = sizes / sizes.sum()
    own, chance = np.nan_to_num(label_distance(counts)), np.nan_to_num(chance_distance(counts))
    return float(weights @ own), float(weights @ chance)
