"""What lies between access links: delays by distance, jitter of personal devices, address translators.

The distance law is a fit by least absolute deviations to the 1431 pairs of a cloud's backbone (mean error 24.5 ms);
jitter is that of personal devices in Seattle (Zhu et al., ToN 2017); hole punching as counted by arXiv 2510.27500.
"""

from __future__ import annotations

import dataclasses
from math import asin, cos, exp, isfinite, radians, sin, sqrt
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import numpy as np


#: RTT = A + B · distance, s and s/km. Derived from the matrix of `core/devices/backbone.yaml`.
DISTANCE_LAW: Final = (0.0114, 0.00001566)
#: Mean radius of the Earth, km.
EARTH_KM: Final = 6371.0
#: Light in fibre, there and back, s/km: no round trip is shorter.
LIGHT_S_PER_KM: Final = 0.00001


def _generator(seed: int, *path: str | int) -> np.random.Generator:
    from core import rng  # here, so that a catalogue of links loads without numpy

    return rng.generator(seed, *path)


def great_circle_km(a: tuple[float, float], b: tuple[float, float]) -> float:
    """Distance between two places of (latitude, longitude) in degrees, by the haversine formula, km."""
    (lat_a, lon_a), (lat_b, lon_b) = ((radians(lat), radians(lon)) for lat, lon in (a, b))
    half = sin((lat_b - lat_a) / 2) ** 2 + cos(lat_a) * cos(lat_b) * sin((lon_b - lon_a) / 2) ** 2
    return 2 * EARTH_KM * asin(min(1.0, sqrt(half)))


def distance_rtt_s(distance_km: float) -> float:
    """Round trip over the Internet's backbone between two places."""
    fixed_s, s_per_km = DISTANCE_LAW
    return fixed_s + s_per_km * distance_km


@dataclasses.dataclass(frozen=True)
class Jitter:
    """AR(1) on ln RTT of each pair: sd and autocorrelation as of 120 pairs of personal devices (derived).

    The source does not state how long a step is; 60 s is an estimate.
    """

    sd_log: float = 0.61
    correlation: float = 0.81
    step_s: float = 60.0

    def __post_init__(self) -> None:
        if not 0 <= self.sd_log <= 5:
            raise ValueError(f"sd_log is from 0 to 5: {self.sd_log}")
        if not 0 <= self.correlation < 1:
            raise ValueError(f"correlation is from 0, below 1: {self.correlation}")
        if not (self.step_s > 0 and isfinite(self.step_s)):
            raise ValueError(f"step_s is positive and finite: {self.step_s}")


class JitterState:
    """The factor of one pair's delays: of median 1, constant within a step, drawn only for steps that are looked at.

    From step j the value of step k is normal with mean ρ^(k−j) z_j and variance 1 − ρ^(2(k−j)): exact for any gap.
    """

    __slots__ = ("_jitter", "_path", "_seed", "_step", "_z")

    def __init__(self, jitter: Jitter, seed: int, a: str, b: str) -> None:
        self._jitter = jitter
        self._seed = seed
        self._path = (min(a, b), max(a, b), "jitter")
        self._step = -1
        self._z = 0.0

    def factor(self, now_s: float) -> float:
        """What the pair's delays are multiplied by; times do not go back."""
        jitter = self._jitter
        step = int(now_s // jitter.step_s)
        if step != self._step:
            draw = float(_generator(self._seed, *self._path, step).standard_normal())
            kept = 0.0 if self._step < 0 else jitter.correlation ** (step - self._step)
            self._z = kept * self._z + sqrt(1.0 - kept * kept) * draw
            self._step = step
        return exp(jitter.sd_log * self._z)


@dataclasses.dataclass(frozen=True)
class Relay:
    """What carries messages between two devices behind address translators whose hole punching fails."""

    #: Where it is: a region or site.
    region: str
    #: What it gives to one pair. Estimate: a modest share of a server's link.
    rate_bytes_per_s: float = 1_250_000.0
    #: Share of pairs that reach each other directly; 70 % ± 7.1 % of 4.4 M attempts. Literature.
    success: float = 0.70

    def __post_init__(self) -> None:
        if not 0 <= self.success <= 1:
            raise ValueError(f"success is from 0 to 1: {self.success}")
        if not (self.rate_bytes_per_s > 0 and isfinite(self.rate_bytes_per_s)):
            raise ValueError(f"rate_bytes_per_s is positive and finite: {self.rate_bytes_per_s}")

    def needed(self, seed: int, a: str, b: str) -> bool:
        """Whether this pair needs it: drawn once for the pair, from the seed and the two names."""
        draw = float(_generator(seed, min(a, b), max(a, b), "hole_punching").uniform())
        return draw >= self.success
