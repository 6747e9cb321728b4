"""What a device tells its world, and what one reads off it."""

from __future__ import annotations

import msgspec

from core.devices.work import Work


class JobDone(msgspec.Struct, frozen=True):
    """A job ran from `started_s` for `seconds`; `joules` is the processor's energy above idle."""

    job: int
    started_s: float
    seconds: float
    joules: float
    work: Work


class JobLost(msgspec.Struct, frozen=True):
    """A job will not be done. `reason`: crash, battery_empty, overheated, cancelled.

    `started_s` is None if it still queued.
    """

    job: int
    started_s: float | None
    seconds: float
    joules: float
    work: Work
    reason: str


class BatteryEmpty(msgspec.Struct, frozen=True):
    """The battery cannot feed the device any more, and there is no charger: it is off."""


class Overheated(msgspec.Struct, frozen=True):
    """The case is so hot that the device is off, until it has cooled."""


class BatteryFull(msgspec.Struct, frozen=True):
    """Charging is over; the device stays on external power."""


class ThrottleChanged(msgspec.Struct, frozen=True):
    """The severity is now `severity` (0: none), the speed `speed` of the full one."""

    severity: int
    speed: float


class PoweredOn(msgspec.Struct, frozen=True):
    """The device is on again."""


Effect = JobDone | JobLost | BatteryEmpty | Overheated | BatteryFull | ThrottleChanged | PoweredOn


class Reading(msgspec.Struct, frozen=True):
    """State of a device at one time.

    `battery_level` is the share of charge left (None on mains); `soc_temperature_c` is None unless heat has two nodes,
    `case_temperature_c` unless it has any. `speed` is the share of the full speed that throttling and faults leave;
    `charging` says whether it is on external power; `load` is the share of the processor in use; `severity` is
    Android's thermal status, or the level of the class's own thresholds (0: none).
    """

    battery_level: float | None
    soc_temperature_c: float | None
    case_temperature_c: float | None
    speed: float
    charging: bool
    on: bool
    load: float
    severity: int = 0
