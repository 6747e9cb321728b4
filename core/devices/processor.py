"""What computes in a device, its power at lower speeds, and the governor that holds the case to a temperature.

Power and speed of a CPU follow its operating points (Linux's energy model: `P = P_static + sum n k f V^2`) or, without
a table, `P = (P_max) speed^2.4` (the exponent, 2.2 to 2.6, is derived from the upper operating points of phone power
profiles). Between two points the speed is linear in power: the governor alternates between them.

The governor is the proportional part of Linux's power allocator and of Pixel phones' thermal control,
`P = clip(S + K (T_target - T), P_min, ...)` from a switch-on temperature. It is applied as a quantised-state system
(Kofman and Junco, "Quantized-state systems", Trans. SCS 2001): power is held until the case has moved by one step, so
that everything stays constant between events at exact times. Deviation: no integral part.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final, NamedTuple

#: Processor power grows as speed to this exponent, without a table (derived).
POWER_EXPONENT: Final = 2.4
#: A governor has at most this many steps.
MOST_STEPS: Final = 250


class OperatingPoint(NamedTuple):
    """A speed and the power above idle that it takes, as shares of those at full speed."""

    speed: float
    power: float


class Cluster(NamedTuple):
    """Cores that share a clock; their power is cores * coefficient * f[MHz] * V^2, µW (`dynamic-power-coefficient`)."""

    cores: int
    coefficient_uw_per_mhz_v2: float
    #: Work of a core per MHz, relative to other clusters.
    capacity_per_mhz: float
    #: Frequencies, MHz, rising, and their voltages, V.
    points: tuple[tuple[float, float], ...]

    def power_w(self, point: int) -> float:
        """Power of all cores at an operating point, W."""
        mhz, volts = self.points[point]
        return self.cores * self.coefficient_uw_per_mhz_v2 * mhz * volts * volts * 1e-6

    def capacity(self, point: int) -> float:
        """Work a second of all cores at an operating point."""
        return self.cores * self.capacity_per_mhz * self.points[point][0]


class Accelerator(NamedTuple):
    """A processor beside the CPU that runs the jobs; `power_w` is added to idle meanwhile, its part of the CPU too."""

    train_flops_per_s: float
    memory_bytes_per_s: float
    power_w: float


class Governor(NamedTuple):
    """Proportional control of the processor's power above idle by the temperature of the case."""

    start_c: float
    target_c: float
    sustainable_w: float
    gain_w_per_k: float
    least_w: float
    step_k: float

    def power_w(self, case_c: float) -> float:
        """Power that is allowed at a temperature, W, from `start_c` on."""
        return max(self.sustainable_w + self.gain_w_per_k * (self.target_c - case_c), self.least_w)

    def problem(self) -> str | None:
        """What is wrong with the values, if something is."""
        for name in ("sustainable_w", "gain_w_per_k", "least_w", "step_k"):
            value = getattr(self, name)
            if not 0.0 < value < math.inf:
                return f"{name} is {value!r}; a positive number"
        if not self.start_c < self.target_c:
            return f"start_c is {self.start_c!r}; less than target_c, {self.target_c!r},"
        if len(self.steps()) > MOST_STEPS:
            return f"step_k is {self.step_k!r}; at most {MOST_STEPS} steps down to least_w"
        return None

    def steps(self) -> list[tuple[float, float]]:
        """Temperature from which on each step holds, and its power: that at the middle of the step."""
        found: list[tuple[float, float]] = []
        while len(found) <= MOST_STEPS:
            enter_c = self.start_c + len(found) * self.step_k
            found.append((enter_c, self.power_w(enter_c + 0.5 * self.step_k)))
            if found[-1][1] <= self.least_w:
                break
        return found


def operating_points(clusters: Sequence[Cluster], static_w: float = 0.0) -> tuple[OperatingPoint, ...]:
    """Speed and power of all clusters, each at the same rank of its table, as shares of those at the top."""
    ranks = max(len(cluster.points) for cluster in clusters)
    both = []
    for rank in range(ranks):
        at = [min(rank + len(c.points) - ranks, len(c.points) - 1) for c in clusters]
        at = [max(point, 0) for point in at]
        speed = sum(c.capacity(point) for c, point in zip(clusters, at, strict=True))
        both.append((speed, static_w + sum(c.power_w(point) for c, point in zip(clusters, at, strict=True))))
    top_speed, top_w = both[-1]
    return tuple(OperatingPoint(speed / top_speed, watts / top_w) for speed, watts in both)


def speed_at(power: float, points: Sequence[OperatingPoint]) -> float:
    """Share of the full speed that a share of the full power above idle gives."""
    if power >= 1.0:
        return 1.0
    if not points:
        return float(power ** (1.0 / POWER_EXPONENT))
    before = OperatingPoint(0.0, 0.0)
    for point in points:
        if power <= point.power:
            break
        before = point
    return before.speed + (point.speed - before.speed) * (power - before.power) / (point.power - before.power)
