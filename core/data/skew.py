"""Feature skew: each client's examples changed in a way of its own, once, where the data set is made.

`noise`: client k of n gets Gaussian noise of the variance strength · k / n, so that the first has next to none
(NIID-Bench, Li et al., ICDE 2022, section IV-B). `sensor`: a gain and an offset of the client's own, as of sensors
that were never calibrated: x · exp(strength · g) + strength · b with normal g and b. `rotate`: pictures turned by k
mod 4 quarter turns (the clusters of IFCA's rotated MNIST, Ghosh et al., NeurIPS 2020), whatever the strength.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Final

import numpy as np

from core.data.dataset import Dataset, Indices
from core.rng import generator

KINDS: Final = ("noise", "sensor", "rotate")


def skewed(data: Dataset, parts: Sequence[Indices], kind: str, strength: float, seed: int) -> Dataset:
    """The data set with the examples of each part changed; a pure function of its arguments.

    Raises `ValueError`, which names the key that does not fit, also where a number grows beyond what float32 holds.
    """
    if data.tokens:
        raise ValueError(f"data.feature_skew.kind: {kind} changes numbers; the examples of {data.name} are tokens")
    x = data.x.copy()
    for k, part in enumerate(parts):
        rng = generator(seed, "data", "feature_skew", k)
        with np.errstate(over="ignore", invalid="ignore"):
            if kind == "noise":
                scale = np.sqrt(strength * (k + 1) / len(parts))
                x[part] += (scale * rng.standard_normal(x[part].shape)).astype(np.float32)
            elif kind == "sensor":
                gain, offset = np.exp(strength * rng.standard_normal()), strength * rng.standard_normal()
                x[part] = (x[part] * gain + offset).astype(np.float32)
            elif kind == "rotate":
                if x.ndim < 3 or x.shape[1] != x.shape[2]:
                    shape = x.shape[1:]
                    raise ValueError(
                        f"data.feature_skew.kind: rotate turns square pictures, not examples of shape {shape}"
                    )
                x[part] = np.rot90(x[part], k % 4, axes=(1, 2))
            else:
                raise ValueError(f"unknown data.feature_skew.kind {kind!r}: one of {', '.join(KINDS)}")
        if not np.isfinite(x[part]).all():
            raise ValueError(
                f"data.feature_skew.strength: at {strength:g} the examples of client {k} ({kind}) grow beyond what "
                "float32 holds"
            )
    return dataclasses.replace(data, x=x)
