"""A battery by coulomb counting, in closed form at constant power.

Open-circuit voltage is linear in the charge left, so that the energy left is a quadratic of the level and both
directions are exact. Deviations: no inner resistance (a phone's I²R loss is a few per cent below 1C), no
constant-voltage phase at the end of charging, no ageing, no self-discharge.
"""

from __future__ import annotations

import dataclasses
import math


@dataclasses.dataclass(frozen=True)
class Battery:
    """Capacity and charger. `charge_w` is what charging draws from the charger; `charge_efficiency` of it is stored."""

    energy_j: float
    charge_w: float
    charge_efficiency: float
    #: Open-circuit voltage at level 0 and at level 1.
    empty_v: float
    full_v: float

    def __post_init__(self) -> None:
        for name in ("energy_j", "charge_w", "charge_efficiency", "empty_v"):
            value = getattr(self, name)
            if not (value > 0.0 and math.isfinite(value)):
                raise ValueError(f"battery: {name} is {value!r}; a positive number is needed")
        if self.charge_efficiency > 1.0:
            raise ValueError(f"battery: charge_efficiency is {self.charge_efficiency!r}; at most 1 is possible")
        if not self.full_v >= self.empty_v:
            raise ValueError(f"battery: full_v is {self.full_v!r}; at least empty_v, {self.empty_v!r}, is needed")

    @property
    def charge_c(self) -> float:
        """Charge of the full battery, C: its energy over the mean open-circuit voltage."""
        return 2.0 * self.energy_j / (self.empty_v + self.full_v)

    @property
    def stored_w(self) -> float:
        """Power that reaches the cells while charging, W."""
        return self.charge_w * self.charge_efficiency

    def voltage_v(self, level: float) -> float:
        """Open-circuit voltage at `level` (0 to 1)."""
        return self.empty_v + (self.full_v - self.empty_v) * level

    def energy_at(self, level: float) -> float:
        """Energy left, J, at `level` (share of the charge, 0 to 1): the integral of voltage over charge."""
        return self.charge_c * level * (self.empty_v + 0.5 * (self.full_v - self.empty_v) * level)

    def level_at(self, energy_j: float) -> float:
        """Share of the charge that is left, 0 to 1, with `energy_j` left; clipped at both ends."""
        if energy_j <= 0.0:
            return 0.0
        if energy_j >= self.energy_j:
            return 1.0
        volts_j = energy_j / self.charge_c
        root = math.sqrt(self.empty_v * self.empty_v + 2.0 * (self.full_v - self.empty_v) * volts_j)
        return 2.0 * volts_j / (self.empty_v + root)
