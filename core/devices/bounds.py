"""What numbers a class of devices can have: by key, the lowest and the highest that physics and engineering allow.

Generous: from a sensor on a coin cell to a rack in a data centre. Within them times, energies and temperatures stay
finite and no device changes its state so often that a study never ends. All limits are our estimates; what each was
taken from stands beside it.
"""

from __future__ import annotations

import functools
from fnmatch import fnmatchcase
from typing import Final, NamedTuple


class Bound(NamedTuple):
    """The lowest and the highest value, both accepted, and their unit."""

    low: float
    high: float
    unit: str

    def holds(self, value: float) -> bool:
        """Whether a value is within."""
        return self.low <= value <= self.high

    @property
    def accepted(self) -> str:
        """In words, such as `0.1 to 1e6 J/K`."""
        return f"{_shown(self.low)} to {_shown(self.high)}{'' if self.unit == '1' else f' {self.unit}'}"


def _shown(value: float) -> str:
    digits, e, exponent = f"{value:g}".partition("e")
    return f"{digits}e{int(exponent)}" if e else digits


class OutOfBounds(ValueError):
    """A number that no device can have; `key` is its path."""

    def __init__(self, key: str, value: float, bound: Bound) -> None:
        super().__init__(f"{key} is {value:g}; accepted: {bound.accepted}")
        self.key = key


#: By key; `*` stands for anything, and the first that fits counts.
_BOUNDS: Final[tuple[tuple[str, Bound], ...]] = (
    # From a microcontroller without floating point to a machine of the first places of TOP500.
    ("*train_flops_per_s", Bound(1e3, 1e18, "FLOP/s")),
    ("*memory_bytes_per_s", Bound(1e3, 1e15, "B/s")),
    ("step_overhead_s", Bound(0.0, 86_400.0, "s")),
    # From a sensor asleep to a rack; a screen, or what else a person does, is a household's appliance at most.
    ("idle_w", Bound(0.0, 1e6, "W")),
    ("max_w", Bound(1e-6, 1e6, "W")),
    ("accelerator.power_w", Bound(1e-6, 1e6, "W")),
    ("screen_w", Bound(0.0, 1e4, "W")),
    ("charge_heat_share", Bound(0.0, 1.0, "1")),
    ("cycle_depth", Bound(0.0, 1.0, "1")),
    # The same as of a group's speed_spread: at 2 the fastest of a thousand have five hundred times the median.
    ("speed_sd_log", Bound(0.0, 2.0, "1")),
    # From a button cell that is nearly empty (a fortieth of a milliwatt-hour) to a lorry's battery (278 kWh).
    ("battery.energy_j", Bound(0.1, 1e9, "J")),
    # Charging is from a solar cell indoors to the megawatt chargers of lorries.
    ("battery.charge_w", Bound(1e-3, 1e6, "W")),
    ("battery.charge_efficiency", Bound(0.01, 1.0, "1")),
    ("battery.pack_ohm", Bound(0.0, 100.0, "Ω")),
    # Lithium has the most negative potential, -3.04 V, fluorine the highest, 2.87 V: no cell is beyond 5.91 V.
    ("battery.cutoff_v", Bound(0.0, 6.0, "V")),
    ("battery.cell.ocv_v.*", Bound(0.1, 6.0, "V")),
    ("battery.cell.limit_v", Bound(0.1, 6.0, "V")),
    ("battery.cell.nominal_ah", Bound(1e-4, 1e4, "Ah")),
    ("battery.cell.end_share", Bound(1e-4, 1.0, "1/h")),
    ("battery.cell.resistance_ohm.*", Bound(0.0, 1e3, "Ω")),
    # An activation energy of at most 0.86 eV: above those of ions in solid electrolytes.
    ("battery.cell.resistance_b_k", Bound(0.0, 1e4, "K")),
    ("battery.cell.charge_resistance_ratio", Bound(0.1, 10.0, "1")),
    # A tenth of a gram of metal to a tonne; a heat sink in a stream of water to a chip in still air.
    ("heat.*_capacity_j_per_k", Bound(0.1, 1e6, "J/K")),
    ("heat.*_k_per_w", Bound(1e-3, 1e3, "K/W")),
    # Semiconductors work from -55 to 200 °C.
    ("*.*_c", Bound(-55.0, 200.0, "°C")),
    ("governor.gain_w_per_k", Bound(1e-3, 1e4, "W/K")),
    ("governor.*_w", Bound(1e-6, 1e6, "W")),
    ("governor.step_k", Bound(0.01, 50.0, "K")),
    ("throttle.*.hysteresis_k", Bound(0.1, 100.0, "K")),
    ("throttle.*.power_cap", Bound(0.0, 1.0, "1")),
    ("operating_points.*", Bound(1e-6, 1.0, "1")),
    # A radio of a terminal: 100 W is beyond all that is carried or stands in a home; 1 J a byte is satellite messaging.
    ("radios.*_j_per_byte", Bound(0.0, 1.0, "J/B")),
    ("radios.*_w", Bound(0.0, 100.0, "W")),
    ("radios.*_s", Bound(0.0, 600.0, "s")),
)


@functools.cache
def bound(key: str) -> Bound:
    """The bound of a number of a class of devices. Raises `KeyError`: there is no such number."""
    for pattern, found in _BOUNDS:
        if fnmatchcase(key, pattern):
            return found
    raise KeyError(key)


def check(key: str, value: float) -> None:
    """Raises `OutOfBounds`."""
    limits = bound(key)
    if not limits.holds(value):
        raise OutOfBounds(key, value, limits)
