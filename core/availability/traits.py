"""What differs between the devices of a group: speed, availability, amount of data and network, drawn jointly.

A Gaussian copula (Nelsen, "An introduction to copulas", 2006, 2.3): each device has four standard normal scores with
the correlations that were asked for, and each quantity is a function of its score, so that its own distribution does
not hang on the correlations. Scores are independent of each other unless told otherwise.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Final

import numpy as np

from core import rng
from core.availability.process import Floats, Numbers
from core.availability.quantiles import normal

#: The quantities, in the order in which one is drawn given those before it.
TRAITS: Final = ("speed", "availability", "data", "network")
_SPEED: Final = TRAITS.index("speed")
#: Pivots below this are taken for zero: the matrix is singular, which is allowed.
_TINY: Final = 1e-12

Pair = tuple[str, str]


def factor(correlations: Mapping[Pair, float]) -> tuple[tuple[float, ...], ...]:
    """The lower triangular factor of a matrix of correlations. Raises `ValueError` if it is not semidefinite."""
    places = {name: place for place, name in enumerate(TRAITS)}
    matrix = [[1.0 if row == column else 0.0 for column in range(len(TRAITS))] for row in range(len(TRAITS))]
    for (one, other), value in correlations.items():
        matrix[places[one]][places[other]] = matrix[places[other]][places[one]] = value
    lower = [[0.0] * len(TRAITS) for _ in TRAITS]
    for row in range(len(TRAITS)):
        for column in range(row + 1):
            rest = matrix[row][column] - sum(lower[row][k] * lower[column][k] for k in range(column))
            if row == column:
                if rest < -_TINY:
                    raise ValueError("no four quantities correlate like that: the matrix is not positive semidefinite")
                lower[row][row] = math.sqrt(rest) if rest > _TINY else 0.0
            elif lower[column][column] > 0.0:
                lower[row][column] = rest / lower[column][column]
            elif abs(rest) > math.sqrt(_TINY):
                raise ValueError("no four quantities correlate like that: the matrix is not positive semidefinite")
    return tuple(tuple(row) for row in lower)


class Traits:
    """The scores of one group's devices."""

    def __init__(self, correlations: Mapping[Pair, float], seed: int, group: str) -> None:
        self._factor = factor(correlations)
        self._group = group
        self._key = rng.stream_key(seed, group, "traits")
        self._first_normal = rng.FirstNormals(seed)
        #: The devices whose speeds were drawn last, several traits hang on them, and the scores.
        self._drawn: tuple[Numbers, Floats] | None = None

    @property
    def speed_is_shared(self) -> bool:
        """Whether another trait hangs on speed, which is then drawn wherever that one is."""
        return any(row[_SPEED] for row in self._factor[_SPEED + 1 :])

    def scores(self, trait: str, indices: Numbers) -> Floats:
        """Standard normal scores of a trait, the same bits for one device as among many."""
        row = self._factor[TRAITS.index(trait)]
        total = np.zeros(len(indices))
        for place, weight in enumerate(row):
            if weight:
                total += weight * self._independent(place, indices)
        return total

    def score(self, trait: str, index: int) -> float:
        """The score of one device; in plain numbers, as one in an array costs ten times as much."""
        total, key = 0.0, rng.member_key(self._key, index)
        for place, weight in enumerate(self._factor[TRAITS.index(trait)]):
            if weight:
                total += weight * (self._speed(index) if place == _SPEED else normal().of(rng.word(key, place)))
        return total

    def multiples(self, trait: str, spread: float, indices: Numbers) -> Floats:
        """Lognormal multiples with the median 1 and this standard deviation of their logarithms."""
        if not spread:
            return np.ones(len(indices))
        return np.array([math.exp(spread * score) for score in self.scores(trait, indices).tolist()])

    def _independent(self, place: int, indices: Numbers) -> Floats:
        if place == _SPEED:
            if self._drawn is None or self._drawn[0] is not indices:
                self._drawn = indices, np.array([self._speed(index) for index in indices.tolist()])
            return self._drawn[1]
        return normal().of_all(rng.words(rng.member_keys(self._key, indices), place))

    def _speed(self, index: int) -> float:
        # Drawn by name, as for devices that are no members of a joint draw.
        return self._first_normal(f"{self._group}-{index}", "speed")
