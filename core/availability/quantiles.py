"""Random variates by inverse transform from tables, with the same bits for one word as for a million.

A quantile function is tabulated at 128 points an octave of the tail probability, on both sides, out to tails of 2^-53,
and is linear in between. Drawing is a look-up, a product and a sum, which IEEE 754 defines to the last bit. Logarithms
and exponentials it does not, so that a vectorised one may differ from a scalar one.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Callable
from statistics import NormalDist
from typing import Final

import numpy as np
import numpy.typing as npt

from core.rng import Words

_BITS: Final = 7
_POINTS: Final = 1 << _BITS
#: Tail probabilities are (2k + 1) 2^-53 below one half: their binary exponents reach from -52 to -1.
_OCTAVES: Final = 52
_BASE: Final = (1022 - _OCTAVES) << _BITS
_REST: Final = 52 - _BITS

Floats = npt.NDArray[np.float64]


class Quantiles:
    """The tables of one distribution. `low(p)` is the quantile of p, `high(q)` that of 1 - q, both for up to 1/2."""

    def __init__(self, low: Callable[[float], float], high: Callable[[float], float]) -> None:
        knots = [
            2.0 ** (octave - _OCTAVES - 1) * (1 + point / _POINTS)
            for octave in range(_OCTAVES)
            for point in range(_POINTS)
        ]
        knots.append(0.5)
        self._values: list[float] = []
        self._steps: list[float] = []
        for quantile in (low, high):
            side = [quantile(knot) for knot in knots]
            self._values += side[:-1]
            self._steps += [after - before for before, after in itertools.pairwise(side)]
        self._value_array = np.array(self._values)
        self._step_array = np.array(self._steps)

    def of(self, word: int) -> float:
        """The variate of a word."""
        p = (2 * (word >> 12) + 1) * 2.0**-53
        side = 0
        if p > 0.5:
            p = 1.0 - p
            side = _OCTAVES << _BITS
        mantissa, exponent = math.frexp(p)
        place = mantissa * (2 * _POINTS) - _POINTS
        point = int(place)
        at = ((exponent + _OCTAVES) << _BITS) + point + side
        return self._values[at] + self._steps[at] * (place - point)

    def of_all(self, words: Words) -> Floats:
        """The variates of many words."""
        p = (((words >> np.uint64(12)) << np.uint64(1)) + np.uint64(1)).astype(np.float64) * 2.0**-53
        upper = p > 0.5
        p = np.where(upper, 1.0 - p, p)
        bits = p.view(np.int64)
        at = (bits >> _REST) - _BASE + upper * (_OCTAVES << _BITS)
        rest = (bits & ((1 << _REST) - 1)).astype(np.float64) * 2.0**-_REST
        return self._value_array[at] + self._step_array[at] * rest


@functools.cache
def normal() -> Quantiles:
    """The standard normal distribution."""
    standard = NormalDist()
    return Quantiles(standard.inv_cdf, lambda q: -standard.inv_cdf(q))


@functools.cache
def exponential() -> Quantiles:
    """The exponential distribution of mean 1."""
    return Quantiles(lambda p: -math.log1p(-p), lambda q: -math.log(q))


@functools.cache
def lognormal(median: float, sd_log: float) -> Quantiles:
    """A lognormal distribution by its median and the standard deviation of its logarithm."""
    standard = NormalDist()
    return Quantiles(
        lambda p: median * math.exp(sd_log * standard.inv_cdf(p)),
        lambda q: median * math.exp(-sd_log * standard.inv_cdf(q)),
    )


@functools.cache
def beta(a: float, b: float) -> Quantiles:
    """A beta distribution; its quantiles are solved for on the distribution function, an integral over a fine grid."""
    # t = x^2 (3 - 2x) runs from 0 to 1 with no slope at its ends, where the density may have a pole or a kink.
    x = np.linspace(0.0, 1.0, 200_001)
    t = x * x * (3.0 - 2.0 * x)
    middle = (x[1:] + x[:-1]) / 2
    m = middle * middle * (3.0 - 2.0 * middle)
    mass = m ** (a - 1) * (1.0 - m) ** (b - 1) * np.diff(t)
    below = np.concatenate(([0.0], np.cumsum(mass)))
    above = np.concatenate((np.cumsum(mass[::-1])[::-1], [0.0]))
    total = below[-1]
    return Quantiles(
        lambda p: float(np.interp(p * total, below, t)),
        lambda q: float(np.interp(-q * total, -above, t)),
    )
