"""The host itself as an actor's device: what psutil can tell of it, and computations that take as long as they take."""

from __future__ import annotations

import asyncio
import math
import time
from typing import Any, Final

import psutil

from core.deployment import Placement
from core.records.rows import DeviceRow, JobRow
from real_runtime.clock import Clock
from real_runtime.emulated import MachineEvents
from real_runtime.processor import Processor

#: Sensors that stand for the whole machine, the most telling first (names of Linux drivers).
_SENSORS: Final = ("cpu_thermal", "coretemp", "k10temp", "acpitz")


def temperature_c() -> float | None:
    """The warmest reading of the first known sensor, °C; None where the host has none, or does not tell."""
    read = getattr(psutil, "sensors_temperatures", None)
    sensors = read() if read is not None else {}
    for name in (*_SENSORS, *sorted(sensors)):
        readings = [reading.current for reading in sensors.get(name, ()) if reading.current is not None]
        if readings:
            return float(max(readings))
    return None


def battery() -> tuple[float | None, bool]:
    """Charge left, 0 to 1 (None without a battery), and whether the host is on external power."""
    read = getattr(psutil, "sensors_battery", None)
    state = read() if read is not None else None
    if state is None:
        return None, True
    return state.percent / 100.0, state.power_plugged is not False


class HostDevice:
    """What an actor sees of the host."""

    __slots__ = ("_placement",)

    def __init__(self, placement: Placement) -> None:
        self._placement = placement

    @property
    def profile(self) -> str:
        return "host"

    @property
    def battery_level(self) -> float | None:
        return battery()[0]

    @property
    def charging(self) -> bool:
        return battery()[1]

    @property
    def temperature_c(self) -> float | None:
        return temperature_c()

    @property
    def network(self) -> str:
        return self._placement.link.kind

    @property
    def metered(self) -> bool:
        return self._placement.link.metered

    @property
    def in_use(self) -> bool:
        return False

    @property
    def load(self) -> float:
        return psutil.cpu_percent(interval=None) / 100.0


class HostMachine:
    """The host, as the device of one actor."""

    def __init__(self, placement: Placement, clock: Clock, processor: Processor, events: MachineEvents) -> None:
        self.view = HostDevice(placement)
        self._clock = clock
        self._processor = processor
        self._events = events
        #: Share of its speed that a fault leaves it.
        self._share = 1.0

    def start(self) -> None:
        """The study begins."""
        self.note("start")

    def close(self) -> None:
        """The run is over. What the host drew is not known, so no energy is recorded."""
        self.note("end")

    def note(self, event: str) -> None:
        """Record the host's state at an event."""
        level, charging = battery()
        self._events.note(
            DeviceRow(
                event=event,
                battery_level=level,
                soc_temperature_c=temperature_c(),
                case_temperature_c=None,
                speed=1.0,
                charging=charging,
            )
        )

    async def compute(self, function: Any, arguments: tuple[Any, ...]) -> Any:
        """Run a function."""
        work = function.work(*arguments)
        began_s = self._clock.now
        self.note("job_start")
        outcome = "cancelled"
        try:
            share, wall_s = self._share, time.monotonic()
            result = await self._processor.submit(function, arguments)
            if share < 1.0:
                await asyncio.sleep((time.monotonic() - wall_s) * (1.0 / share - 1.0))
            outcome = "done"
            return result
        finally:
            self._events.note(
                JobRow(
                    function=function.name,
                    started_s=began_s,
                    seconds=self._clock.now - began_s,
                    flops=work.flops * work.steps,
                    steps=work.steps,
                    joules=math.nan,
                    purpose=work.purpose,
                    outcome=outcome,
                )
            )
            self.note("job_end")

    def count_sent(self, size_bytes: int) -> None:
        """The host's own radio counts for itself."""

    def count_received(self, size_bytes: int) -> None:
        """The host's own radio counts for itself."""

    def crash(self, *, without_battery: bool = False) -> None:
        """The actor and its state are lost; the host goes on, with its battery."""

    def restart(self) -> None:
        """End a crash."""
        self._events.power_on()

    def slow_down(self, share: float) -> None:
        """Let computations from now on seem to take longer: the rest of their time is waited for."""
        self._share = share
