"""What a class of devices is like: speed, power, battery, heat, throttling and radios, in SI units.

Time follows an affine roofline (Williams et al., "Roofline", CACM 2009, plus a fixed cost a step); power and speed
under a cap follow `processor.py`.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Mapping
from typing import Final, NamedTuple

from core.devices.battery import Battery
from core.devices.heat import Heat
from core.devices.powers import Powers, powers
from core.devices.processor import Accelerator, Governor, OperatingPoint, speed_at
from core.devices.radio import Radio
from core.devices.work import Work

#: Bytes waiting at the radio, of both directions, amount to at most this share of the battery …
PARCEL_SHARE: Final = 1e-5
#: … or, on a device without a battery but with heat, to this energy.
PARCEL_J: Final = 1.0
#: Records of powers kept for a class: it has a few powers, and a few temperatures at which resistance is worked out.
_MOST_POWERS: Final = 512


class ThrottleLevel(NamedTuple):
    """A severity: from `case_c` on the processor has at most `power_cap` of its power, until `hysteresis_k` below.

    With `power_cap` 0 the device turns off, and comes back when it has cooled to severity 0.
    """

    case_c: float
    hysteresis_k: float
    power_cap: float


@dataclasses.dataclass(frozen=True)
class DeviceProfile:
    """A class of devices. Raises `ValueError` for values that no device can have."""

    name: str
    description: str
    train_flops_per_s: float
    step_overhead_s: float
    memory_bytes_per_s: float
    #: Power when idle, and with the whole CPU at work, W.
    idle_w: float
    max_w: float
    #: By kind of link: wifi, cellular, ethernet.
    radios: Mapping[str, Radio] = dataclasses.field(hash=False)
    #: None: on mains, without a battery.
    battery: Battery | None = None
    #: None: temperature is not modelled.
    heat: Heat | None = None
    #: Severities from mild to severe.
    throttle: tuple[ThrottleLevel, ...] = ()
    governor: Governor | None = None
    #: Speed over power of the CPU, up to full speed; empty: the power law.
    operating_points: tuple[OperatingPoint, ...] = ()
    #: What runs the jobs in place of the CPU.
    accelerator: Accelerator | None = None
    #: Power of the screen, or of what else its user does, W.
    screen_w: float = 0.0
    #: Share of the charger's loss that warms the case.
    charge_heat_share: float = 0.0
    #: Depth of discharge of its battery's usual cycle, for ageing.
    cycle_depth: float = 0.5
    #: Standard deviation of the natural logarithm of speed within the class.
    speed_sd_log: float = 0.0

    #: Power above idle of what runs the jobs, W, and the component of the energy account that it is.
    dynamic_w: float = dataclasses.field(init=False, repr=False, compare=False)
    engine: str = dataclasses.field(init=False, repr=False, compare=False)
    #: Speed and power, W, at each severity and at each step of the governor, from 0 (none) on.
    severity_limits: tuple[tuple[float, float], ...] = dataclasses.field(init=False, repr=False, compare=False)
    governor_limits: tuple[tuple[float, float], ...] = dataclasses.field(init=False, repr=False, compare=False)
    #: Case temperatures, °C, at which severity or step i+1 is entered, and at which it is left for i.
    enter_c: tuple[float, ...] = dataclasses.field(init=False, repr=False, compare=False)
    leave_c: tuple[float, ...] = dataclasses.field(init=False, repr=False, compare=False)
    governor_enter_c: tuple[float, ...] = dataclasses.field(init=False, repr=False, compare=False)
    governor_leave_c: tuple[float, ...] = dataclasses.field(init=False, repr=False, compare=False)
    _powers: dict[tuple[bool, bool, float, bool, float], Powers] = dataclasses.field(
        init=False, repr=False, compare=False
    )

    def __post_init__(self) -> None:
        for name in ("train_flops_per_s", "memory_bytes_per_s", "max_w"):
            self._require(name, 0.0 < getattr(self, name) < math.inf, "more than 0")
        for name in ("step_overhead_s", "idle_w", "speed_sd_log", "screen_w"):
            self._require(name, 0.0 <= getattr(self, name) < math.inf, "at least 0")
        self._require("max_w", self.max_w >= self.idle_w, "at least idle_w")
        for name in ("charge_heat_share", "cycle_depth"):
            self._require(name, 0.0 <= getattr(self, name) <= 1.0, "between 0 and 1")
        self._check_throttling()
        for kind, radio in self.radios.items():
            problem = radio.problem()
            if problem is not None:
                raise ValueError(f"device {self.name!r}: radios.{kind}.{problem} is needed")
        if self.accelerator is not None:
            self._require("accelerator", all(0.0 < v < math.inf for v in self.accelerator), "positive numbers")
        self._derive()
        self._check_battery()

    def _require(self, name: str, holds: bool, accepted: str) -> None:
        if not holds:
            raise ValueError(f"device {self.name!r}: {name} is {getattr(self, name)!r}; {accepted} is needed")

    def _check_throttling(self) -> None:
        self._require("throttle", not self.throttle or self.heat is not None, "empty without heat")
        for level in self.throttle:
            self._require("throttle", 0.0 <= level.power_cap <= 1.0, "power caps of 0 (off) to 1")
            self._require("throttle", level.hysteresis_k > 0.0, "hysteresis above 0")
            self._require(
                "throttle", level.power_cap > 0.0 or level is self.throttle[-1], "only the last level off (0)"
            )
        for before, level in itertools.pairwise(self.throttle):
            rising = level.case_c > before.case_c and (
                level.case_c - level.hysteresis_k > before.case_c - before.hysteresis_k
            )
            self._require("throttle", rising, "levels in order of rising temperature")
        if self.governor is not None:
            self._require("governor", self.heat is not None, "none without heat")
            problem = self.governor.problem()
            if problem is not None:
                raise ValueError(f"device {self.name!r}: governor.{problem} is needed")
        if self.operating_points:
            start = OperatingPoint(0.0, 0.0)
            rising = all(
                a.speed < b.speed and a.power < b.power for a, b in itertools.pairwise((start, *self.operating_points))
            )
            ends = self.operating_points[-1] == OperatingPoint(1.0, 1.0)
            self._require("operating_points", rising and ends, "rising speeds and powers up to 1 and 1")

    def _derive(self) -> None:
        dynamic_w = self.max_w - self.idle_w if self.accelerator is None else self.accelerator.power_w
        points = self.operating_points if self.accelerator is None else ()

        def limit(share: float) -> tuple[float, float]:
            share = min(share, 1.0)
            return speed_at(share, points), dynamic_w * share

        steps = [] if self.governor is None else self.governor.steps()
        step_k = 0.0 if self.governor is None else self.governor.step_k
        derive: dict[str, object] = {
            "dynamic_w": dynamic_w,
            "engine": "processor" if self.accelerator is None else "accelerator",
            "severity_limits": ((1.0, dynamic_w), *(limit(level.power_cap) for level in self.throttle)),
            "governor_limits": ((1.0, dynamic_w), *(limit(watts / dynamic_w) for _, watts in steps if dynamic_w > 0.0)),
            "enter_c": tuple(level.case_c for level in self.throttle),
            "leave_c": tuple(level.case_c - level.hysteresis_k for level in self.throttle),
            "governor_enter_c": tuple(enter_c for enter_c, _ in steps),
            "governor_leave_c": tuple(enter_c - step_k for enter_c, _ in steps),
            "_powers": {},
        }
        for name, value in derive.items():
            object.__setattr__(self, name, value)

    def _check_battery(self) -> None:
        battery = self.battery
        if battery is None:
            return
        most_w = self.most_w
        if most_w > 0.0 and battery.empty_s(battery.energy_j, most_w, 1.0) == 0.0:
            raise ValueError(
                f"device {self.name!r}: its battery cannot feed its load of {most_w:.3g} W even when full, at 25 °C: "
                f"the voltage of {battery.ocv_at(battery.energy_j):.3g} V falls below {battery.cutoff_v:g} V or breaks "
                f"down over its resistance; less load, less resistance or a lower cutoff_v is needed"
            )
        full_j = battery.full_j(battery.spare_w(0.0), 1.0)
        if full_j <= 0.0:
            raise ValueError(f"device {self.name!r}: its battery cannot be charged: limit_v ends it at once")

    @property
    def most_w(self) -> float:
        """Greatest load: busy, its screen on, and the thirstiest of its radios in its thirstiest state, W."""
        radio_w = max((radio.most_w for radio in self.radios.values()), default=0.0)
        return self.idle_w + self.dynamic_w + self.screen_w + radio_w

    @property
    def used_w(self) -> float:
        """Load of one that runs no job while its screen is on, W, beside its radio."""
        return self.idle_w + self.screen_w

    @property
    def battery_j(self) -> float | None:
        """Energy of the full battery, J; None on mains."""
        return None if self.battery is None else self.battery.energy_j

    @property
    def off_c(self) -> float:
        """Case temperature at which it turns off, °C; inf if it never does."""
        last = self.throttle[-1] if self.throttle and self.dynamic_w > 0.0 else None
        return last.case_c if last is not None and last.power_cap == 0.0 else math.inf

    @property
    def off_host(self) -> str | None:
        """Why a device of this class cannot share a host: what makes its power and speed its own; None if it can."""
        if self.battery is not None:
            return "has a battery"
        if self.heat is not None:
            return "has a temperature, which its own processor makes"
        return None if self.accelerator is None else "computes on an accelerator of its own"

    def powers(self, on: bool, screen: bool, processor_w: float, charging: bool, resistance_factor: float) -> Powers:
        """The powers of a device that is on or off, with its processor at so many W above idle."""
        key = on, screen, processor_w, charging, resistance_factor
        found = self._powers.get(key)
        if found is None:
            if len(self._powers) >= _MOST_POWERS:
                self._powers.clear()
            draws_w = (self.idle_w, self.screen_w if screen else 0.0, processor_w) if on else (0.0, 0.0, 0.0)
            found = self._powers[key] = powers(draws_w, self.battery, charging, resistance_factor)
        return found

    def parcel_bytes(self, byte_j: float) -> float:
        """Bytes that may wait until a device is settled, at this energy a byte of both directions together."""
        if byte_j == 0.0 or (self.battery is None and self.heat is None):
            return math.inf
        parcel_j = PARCEL_J if self.battery is None else PARCEL_SHARE * self.battery.energy_j
        return max(1.0, parcel_j / byte_j)

    def seconds(self, work: Work, speed: float = 1.0) -> float:
        """Time that `work` takes when not throttled; `speed` is the device's over that of its class.

        Raises `ValueError` for work that would take no time, or is negative or not finite.
        """
        flops, size_bytes, steps, _ = work
        if not speed > 0.0:
            raise ValueError(f"speed is {speed!r}; more than 0 is needed")
        if not (flops >= 0.0 and size_bytes >= 0.0 and steps > 0):
            raise ValueError(f"{work!r} is no work: flops and bytes of at least 0 and at least one step are needed")
        engine = self if self.accelerator is None else self.accelerator
        roof_s = max(flops / engine.train_flops_per_s, size_bytes / engine.memory_bytes_per_s)
        seconds = steps * (self.step_overhead_s + roof_s) / speed
        if not 0.0 < seconds < math.inf:
            raise ValueError(f"{work!r} would take {seconds} s on {self.name!r}; a positive, finite time is needed")
        return seconds
