"""What the records have of a device, the same in both worlds: its state at an event, and its jobs."""

from __future__ import annotations

from typing import Final

from core.devices.effects import (
    BatteryEmpty,
    BatteryFull,
    Effect,
    JobDone,
    JobLost,
    Overheated,
    Reading,
    ThrottleChanged,
)
from core.records.rows import DeviceRow, JobRow

#: Events of a device that are recorded as they come; what turns it on or off is recorded with that.
EVENTS: Final[dict[type[Effect], str]] = {
    BatteryEmpty: "battery_empty",
    BatteryFull: "battery_full",
    Overheated: "overheated",
    ThrottleChanged: "throttle",
}


def device_row(event: str, reading: Reading) -> DeviceRow:
    """The state of a device at an event."""
    return DeviceRow(
        event=event,
        battery_level=reading.battery_level,
        soc_temperature_c=reading.soc_temperature_c,
        case_temperature_c=reading.case_temperature_c,
        speed=reading.speed,
        charging=reading.charging,
    )


def job_row(function: str, ended: JobDone | JobLost, now: float) -> JobRow:
    """A job that has ended at `now`, s of the study, which is also when one began that never ran."""
    work = ended.work
    return JobRow(
        function=function,
        started_s=now if ended.started_s is None else ended.started_s,
        seconds=ended.seconds,
        flops=work.flops * work.steps,
        steps=work.steps,
        joules=ended.joules,
        purpose=work.purpose,
        outcome="done" if isinstance(ended, JobDone) else ended.reason,
    )
