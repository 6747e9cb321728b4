"""What a class of devices is like: speed, power, battery, heat, throttling and radios, in SI units.

Time follows an affine roofline (Williams et al., "Roofline", CACM 2009, plus a fixed cost a step). Under a power cap
the speed is `(P/Pmax)^(1/2.4)`: the exponent 2.4 (2.2 to 2.6) is derived from the upper operating points of phone
power profiles.
"""

from __future__ import annotations

import dataclasses
import math
import sys
from collections.abc import Mapping
from typing import Final, NamedTuple

from core.devices.battery import Battery
from core.devices.heat import Heat
from core.devices.work import Work

#: Processor power grows as speed to this exponent (derived).
POWER_EXPONENT: Final = 2.4
#: Bytes waiting at the radio, of both directions, amount to at most this share of the battery …
PARCEL_SHARE: Final = 1e-5
#: … or, on a device without a battery but with heat, to this energy.
PARCEL_J: Final = 1.0


class Radio(NamedTuple):
    """Energy of a byte sent and of a byte received, J, above idle."""

    send_j_per_byte: float
    receive_j_per_byte: float


class ThrottleLevel(NamedTuple):
    """From `case_c` on the processor is held to the share `power_cap` of its power, until `hysteresis_k` below."""

    case_c: float
    hysteresis_k: float
    power_cap: float

    @property
    def speed(self) -> float:
        """Share of the full speed that is left under the cap."""
        return float(self.power_cap ** (1.0 / POWER_EXPONENT))


@dataclasses.dataclass(frozen=True)
class DeviceProfile:
    """A class of devices. Raises `ValueError` for values that no device can have."""

    name: str
    description: str
    train_flops_per_s: float
    step_overhead_s: float
    memory_bytes_per_s: float
    idle_w: float
    max_w: float
    #: Energy a byte by kind of link: wifi, cellular, ethernet.
    radios: Mapping[str, Radio] = dataclasses.field(hash=False)
    #: None: on mains, without a battery.
    battery: Battery | None = None
    #: None: temperature is not modelled.
    heat: Heat | None = None
    #: Levels from mild to severe.
    throttle: tuple[ThrottleLevel, ...] = ()
    #: Share of the charger's loss that warms the case.
    charge_heat_share: float = 0.0
    #: Standard deviation of the natural logarithm of speed within the class.
    speed_sd_log: float = 0.0

    #: Speed and processor power, W, at each throttle level, from 0 (none) on.
    level_speeds: tuple[float, ...] = dataclasses.field(init=False, repr=False, compare=False)
    level_processor_w: tuple[float, ...] = dataclasses.field(init=False, repr=False, compare=False)
    #: Case temperatures, °C, at which level i+1 is entered, and at which it is left for level i.
    enter_c: tuple[float, ...] = dataclasses.field(init=False, repr=False, compare=False)
    leave_c: tuple[float, ...] = dataclasses.field(init=False, repr=False, compare=False)
    #: Bytes of one direction that may wait until a device is settled, by kind of link.
    parcel_bytes: Mapping[str, int] = dataclasses.field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        for name in ("train_flops_per_s", "memory_bytes_per_s", "max_w"):
            self._require(name, getattr(self, name) > 0.0, "more than 0")
        for name in ("step_overhead_s", "idle_w", "speed_sd_log"):
            self._require(name, getattr(self, name) >= 0.0, "at least 0")
        self._require("max_w", self.max_w >= self.idle_w, "at least idle_w")
        self._require("charge_heat_share", 0.0 <= self.charge_heat_share <= 1.0, "between 0 and 1")
        self._require("throttle", not self.throttle or self.heat is not None, "empty without heat")
        for before, level in zip((None, *self.throttle), self.throttle, strict=False):
            self._require("throttle", 0.0 < level.power_cap <= 1.0, "power caps above 0, at most 1")
            self._require("throttle", level.hysteresis_k > 0.0, "hysteresis above 0")
            if before is not None:
                rising = level.case_c > before.case_c and (
                    level.case_c - level.hysteresis_k > before.case_c - before.hysteresis_k
                )
                self._require("throttle", rising, "levels in order of rising temperature")
        for kind, radio in self.radios.items():
            self._require("radios", min(radio) >= 0.0, f"at least 0 J a byte for {kind!r}")
        dynamic_w = self.max_w - self.idle_w
        derive = {
            "level_speeds": (1.0, *(level.speed for level in self.throttle)),
            "level_processor_w": (dynamic_w, *(dynamic_w * level.power_cap for level in self.throttle)),
            "enter_c": tuple(level.case_c for level in self.throttle),
            "leave_c": tuple(level.case_c - level.hysteresis_k for level in self.throttle),
            "parcel_bytes": {kind: self._parcel_bytes(radio) for kind, radio in self.radios.items()},
        }
        for name, value in derive.items():
            object.__setattr__(self, name, value)

    def _require(self, name: str, holds: bool, accepted: str) -> None:
        if not holds:
            raise ValueError(f"device {self.name!r}: {name} is {getattr(self, name)!r}; {accepted} is needed")

    def _parcel_bytes(self, radio: Radio) -> int:
        both_j = sum(radio)
        if both_j == 0.0 or (self.battery is None and self.heat is None):
            return sys.maxsize
        parcel_j = PARCEL_J if self.battery is None else PARCEL_SHARE * self.battery.energy_j
        return max(1, int(parcel_j / both_j))

    @property
    def battery_j(self) -> float | None:
        """Energy of the full battery, J; None on mains."""
        return None if self.battery is None else self.battery.energy_j

    def seconds(self, work: Work, speed: float = 1.0) -> float:
        """Time that `work` takes when not throttled; `speed` is the device's over that of its class.

        Raises `ValueError` for work that would take no time, or is negative or not finite.
        """
        flops, size_bytes, steps = work
        if not speed > 0.0:
            raise ValueError(f"speed is {speed!r}; more than 0 is needed")
        if not (flops >= 0.0 and size_bytes >= 0.0 and steps > 0):
            raise ValueError(f"{work!r} is no work: flops and bytes of at least 0 and at least one step are needed")
        roof_s = max(flops / self.train_flops_per_s, size_bytes / self.memory_bytes_per_s)
        seconds = steps * (self.step_overhead_s + roof_s) / speed
        if not 0.0 < seconds < math.inf:
            raise ValueError(f"{work!r} would take {seconds} s on {self.name!r}; a positive, finite time is needed")
        return seconds
