"""How the rate of an access link varies: a trace, AR(1) on the logarithm, Markov states, outages; drawn from the seed.

Each is a step function of time and a pure function of (seed, link's owner). AR(1) with a given sd of ln and lag-1
autocorrelation is what `docs/physics_network.md` derives from public cellular traces; states with exponential stays
are a continuous-time Markov chain.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from math import exp, isfinite, sqrt
from typing import TYPE_CHECKING, Final, TypeAlias

from core.network.curves import Steps, repeated

if TYPE_CHECKING:
    import numpy as np

#: Draws made at once.
_BATCH: Final = 256


def _generator(seed: int, *path: str | int) -> np.random.Generator:
    from core import rng  # here, so that a catalogue of links loads without numpy

    return rng.generator(seed, *path)


def _normals(seed: int, *path: str | int) -> Iterator[float]:
    counter = 0
    while True:
        yield from _generator(seed, *path, counter).standard_normal(_BATCH).tolist()
        counter += 1


def _exponentials(seed: int, *path: str | int) -> Iterator[float]:
    counter = 0
    while True:
        yield from _generator(seed, *path, counter).standard_exponential(_BATCH).tolist()
        counter += 1


def _positive(**values: float) -> None:
    for name, value in values.items():
        if not (value > 0 and isfinite(value)):
            raise ValueError(f"{name} is positive and finite: {value}")


@dataclasses.dataclass(frozen=True)
class Autoregressive:
    """AR(1) on ln rate: median the link's own, sd of ln, autocorrelation from one step to the next."""

    sd_log: float
    correlation: float
    step_s: float

    def __post_init__(self) -> None:
        _positive(step_s=self.step_s)
        if not 0 <= self.sd_log <= 5:
            raise ValueError(f"sd_log is from 0 to 5: {self.sd_log}")
        if not 0 <= self.correlation < 1:
            raise ValueError(f"correlation is from 0, below 1: {self.correlation}")

    def factors(self, seed: int, owner: str) -> Steps:
        """The rate over its median; one process for both directions."""
        draws = _normals(seed, owner, "link_rate")
        innovation = sqrt(1.0 - self.correlation**2)
        z = next(draws)
        step = 0
        while True:
            yield step * self.step_s, exp(self.sd_log * z)
            z = self.correlation * z + innovation * next(draws)
            step += 1


@dataclasses.dataclass(frozen=True)
class MarkovState:
    """A state of a link: its rate over the nominal one, and the mean of its exponential stay."""

    factor: float
    mean_s: float

    def __post_init__(self) -> None:
        _positive(mean_s=self.mean_s)
        if not 0 <= self.factor <= 1000:
            raise ValueError(f"factor is from 0 to 1000: {self.factor}")


@dataclasses.dataclass(frozen=True)
class Markov:
    """States with exponential stays; the next is any of the others with equal chance. It begins in equilibrium."""

    states: tuple[MarkovState, ...]

    def __post_init__(self) -> None:
        if len(self.states) < 2:
            raise ValueError("a Markov link has at least two states")
        if not any(state.factor > 0 for state in self.states):
            raise ValueError("a Markov link has a state with a factor above 0")

    def factors(self, seed: int, owner: str) -> Steps:
        """The rate over the nominal one."""
        stays = _exponentials(seed, owner, "link_stay")
        # All states are visited equally often, so that the share of time in one is its mean over the sum.
        place = float(_generator(seed, owner, "link_state").uniform(0.0, sum(s.mean_s for s in self.states)))
        at, counter, now_s = 0, 0, 0.0
        while place > self.states[at].mean_s and at + 1 < len(self.states):
            place -= self.states[at].mean_s
            at += 1
        choices: list[int] = []
        while True:
            yield now_s, self.states[at].factor
            now_s += next(stays) * self.states[at].mean_s
            if not choices:
                batch = _generator(seed, owner, "link_next", counter).integers(1, len(self.states), size=_BATCH)
                choices = batch.tolist()[::-1]
                counter += 1
            at = (at + choices.pop()) % len(self.states)


@dataclasses.dataclass(frozen=True)
class Outages:
    """Times without any service: exponential times up and down."""

    mean_up_s: float
    mean_down_s: float

    def __post_init__(self) -> None:
        _positive(mean_up_s=self.mean_up_s, mean_down_s=self.mean_down_s)

    def factors(self, seed: int, owner: str) -> Steps:
        """1 while there is service, 0 otherwise; it begins with service."""
        stays = _exponentials(seed, owner, "outages")
        now_s, up = 0.0, True
        while True:
            yield now_s, 1.0 if up else 0.0
            now_s += next(stays) * (self.mean_up_s if up else self.mean_down_s)
            up = not up


@dataclasses.dataclass(frozen=True, eq=False)
class Trace:
    """Measured rates, over and over: from `starts_s[i]` on `rates[i]` bytes/s, until `period_s`."""

    name: str
    starts_s: tuple[float, ...]
    rates: tuple[float, ...]
    period_s: float

    def __post_init__(self) -> None:
        if not self.starts_s or len(self.starts_s) != len(self.rates) or self.starts_s[0] != 0.0:
            raise ValueError("a trace begins at 0 s and has a rate for every step")
        if any(not b > a for a, b in zip(self.starts_s, (*self.starts_s[1:], self.period_s), strict=True)):
            raise ValueError("the times of a trace increase, and its period is behind them")
        if not all(rate >= 0 and isfinite(rate) for rate in self.rates) or not any(self.rates):
            raise ValueError("the rates of a trace are finite, none is negative, and some are above 0")

    @property
    def mean_bytes_per_s(self) -> float:
        """Mean rate of a period."""
        ends = (*self.starts_s[1:], self.period_s)
        total = sum(rate * (end - start) for rate, start, end in zip(self.rates, self.starts_s, ends, strict=True))
        return total / self.period_s

    def steps(self, offset_s: float) -> Steps:
        """The rates from `offset_s` of the trace on."""
        return repeated(self.starts_s, self.rates, self.period_s, offset_s)


@dataclasses.dataclass(frozen=True)
class Replay:
    """A trace for each direction (None: the link's own rate). With `shifted`, each owner begins where the seed says."""

    up: Trace | None
    down: Trace | None
    shifted: bool = True

    def offset_s(self, trace: Trace, seed: int, owner: str) -> float:
        """Where in the trace an owner begins: the same share of both directions' periods."""
        if not self.shifted:
            return 0.0
        return float(_generator(seed, owner, "trace_offset").uniform(0.0, 1.0)) * trace.period_s


Variation: TypeAlias = Autoregressive | Markov | Replay
