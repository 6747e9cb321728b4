"""A device emulated by the wall clock: the physics of `core.devices`, driven by the loop's timers.

A computation ends when the modelled device has done it. Where this machine is slower than that, it ends when the
machine is done, and the overrun is recorded.
"""

from __future__ import annotations

import asyncio
import itertools
import math
from typing import Any, Final, Protocol

from core.actor import DeviceFailed
from core.availability import CHARGING, IN_USE, METERED, changes
from core.deployment import Placement
from core.devices import (
    BatteryEmpty,
    Device,
    DeviceOff,
    Effect,
    JobDone,
    JobLost,
    Overheated,
    PoweredOn,
)
from core.devices.rows import EVENTS, device_row, job_row
from core.records.rows import EnergyRow, HostOverrunRow, Row
from real_runtime.clock import Clock
from real_runtime.processor import Processor

#: Timers further off than this are set again when it has passed (a loop's timers end somewhere).
_FURTHEST_S: Final = 86_400.0


class MachineEvents(Protocol):
    """What a device tells the place it is at."""

    def note(self, row: Row) -> None:
        """Record a row of the device."""

    def power_off(self, reason: str) -> None:
        """The device went off by itself."""

    def power_on(self) -> None:
        """The device is on again."""

    def changed(self, before: int, after: int) -> None:
        """The device's user has brought it into another state."""


class EmulatedDevice:
    """What an actor sees of its emulated device."""

    __slots__ = ("_clock", "_device", "_placement", "state")

    def __init__(self, placement: Placement, device: Device, clock: Clock) -> None:
        self._placement = placement
        self._device = device
        self._clock = clock
        #: What its user does, as `core.availability` has it.
        self.state = 0

    @property
    def profile(self) -> str:
        return self._placement.profile.name

    @property
    def battery_level(self) -> float | None:
        return self._device.reading(self._clock.now).battery_level

    @property
    def charging(self) -> bool:
        return self._device.reading(self._clock.now).charging

    @property
    def temperature_c(self) -> float | None:
        return self._device.reading(self._clock.now).case_temperature_c

    @property
    def network(self) -> str:
        return self._placement.link.at(self._clock.now).kind

    @property
    def metered(self) -> bool:
        return self._placement.link.at(self._clock.now).metered or self.state & METERED != 0

    @property
    def in_use(self) -> bool:
        return self.state & IN_USE != 0

    @property
    def load(self) -> float:
        return self._device.reading(self._clock.now).load


class EmulatedMachine:
    """One emulated device, and the computations that run on it."""

    def __init__(self, placement: Placement, clock: Clock, processor: Processor, events: MachineEvents) -> None:
        self._clock = clock
        self._processor = processor
        self._events = events
        self._course = None if placement.course is None else placement.course()
        user = 0 if self._course is None else self._course.state
        self._device = Device(
            placement.profile,
            link_kind=placement.radio_of(placement.link),
            battery_level=placement.battery_level,
            charging=placement.charging if self._course is None else bool(user & CHARGING),
            in_use=bool(user & IN_USE),
            ambient_c=placement.ambient_c,
            speed=placement.speed,
            up_bytes_per_s=placement.link.up_bytes_per_s * (1.0 - placement.link.loss),
            down_bytes_per_s=placement.link.down_bytes_per_s * (1.0 - placement.link.loss),
            battery_loss=placement.battery_loss,
        )
        self.view = EmulatedDevice(placement, self._device, clock)
        self._jobs: dict[int, tuple[asyncio.Future[JobDone], str]] = {}
        #: Of a device whose battery is pulled, whether it is on its charger.
        self._plugged: bool | None = None
        self.view.state = user
        self._numbers = itertools.count(1)
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """The study begins."""
        self.note("start")
        self._arm()

    def close(self) -> None:
        """The run is over: settle, and record the energy of every component."""
        if self._timer is not None:
            self._timer.cancel()
        now = self._clock.now
        self._device.settle(now)
        self.note("end")
        for component, joules in self._device.energy_j(now).items():
            self._events.note(EnergyRow(component=component, joules=joules))

    def note(self, event: str) -> None:
        """Record the device's state at an event."""
        self._events.note(device_row(event, self._device.reading(self._clock.now)))

    async def compute(self, function: Any, arguments: tuple[Any, ...]) -> Any:
        """Run a function for as long as the device takes; raises `DeviceFailed` if it stops meanwhile."""
        loop = asyncio.get_running_loop()
        began_s = loop.time()
        job = next(self._numbers)
        try:
            self._device.submit(self._clock.now, job, function.work(*arguments))
        except DeviceOff as error:
            raise DeviceFailed(str(error)) from None
        done: asyncio.Future[JobDone] = loop.create_future()
        self._jobs[job] = (done, function.name)
        self.note("job_start")
        self._arm()
        host = self._processor.submit(function, arguments)
        try:
            effect = await done
            if host.done():
                return host.result()
            outcome = await host
            self._events.note(
                HostOverrunRow(
                    function=function.name,
                    modelled_s=effect.seconds * self._clock.time_scale,
                    measured_s=loop.time() - began_s,
                )
            )
            return outcome
        finally:
            host.cancel()
            if self._jobs.pop(job, None) is not None:
                self._apply(self._device.cancel(self._clock.now, job), function=function.name)

    def count_sent(self, size_bytes: int) -> None:
        """Bytes of a frame leave through the radio."""
        if self._device.moved(self._clock.now, sent=size_bytes):
            self._settle()

    def count_received(self, size_bytes: int) -> None:
        """Bytes of a frame have come through the radio."""
        if self._device.moved(self._clock.now, received=size_bytes):
            self._settle()

    def crash(self, *, without_battery: bool = False) -> None:
        """Go off at once; computations are lost. Without its battery it does not charge either."""
        effects = self._device.crash(self._clock.now)
        if without_battery and self._device.profile.battery is not None:
            self._plugged = self._device.charging
            self._device.set_charging(self._clock.now, False)
        self._apply(effects)

    def restart(self) -> None:
        """End a crash."""
        plugged, self._plugged = self._plugged, None
        if plugged:
            self._device.set_charging(self._clock.now, True)
        self._apply(self._device.restart(self._clock.now))

    def slow_down(self, share: float) -> None:
        """Go on at a share of its speed."""
        self._device.slow_down(self._clock.now, share)
        self._apply([])

    def _follow_user(self, now: float, state: int) -> None:
        """Be as the user's state says; a pulled battery charges once it is back."""
        charging = bool(state & CHARGING)
        if self._plugged is not None:
            self._plugged, charging = charging, False
        self._device.follow_user(now, charging=charging, in_use=bool(state & IN_USE))

    def _settle(self) -> None:
        self._device.settle(self._clock.now)
        self._arm()

    def _arm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        at_s = self._device.next_timer()
        if self._course is not None:
            at_s = min(at_s, self._course.next_s)
        if at_s < math.inf:
            wall_s = min(max(at_s - self._clock.now, 0.0) * self._clock.time_scale, _FURTHEST_S)
            self._timer = asyncio.get_running_loop().call_later(wall_s, self._fire)

    def _fire(self) -> None:
        now, course = self._clock.now, self._course
        while course is not None and course.next_s <= now:
            # The device gets the time at which it was due, unless it has been settled later.
            at_s, before = max(course.next_s, self._device.settled_s), course.state
            course.step()
            self.view.state = course.state
            self._apply(self._device.on_timer(at_s))
            self._follow_user(at_s, course.state)
            for change in changes(before, course.state):
                self.note(change)
            self._events.changed(before, course.state)
        self._apply(self._device.on_timer(now))

    def _apply(self, effects: list[Effect], *, function: str = "") -> None:
        for effect in effects:
            if isinstance(effect, JobDone | JobLost):
                self._job_ended(effect, function)
                continue
            if type(effect) in EVENTS:
                self.note(EVENTS[type(effect)])
            if isinstance(effect, BatteryEmpty):
                self._events.power_off("battery_empty")
            elif isinstance(effect, Overheated):
                self._events.power_off("overheated")
            elif isinstance(effect, PoweredOn):
                self._events.power_on()
        self._arm()

    def _job_ended(self, effect: JobDone | JobLost, function: str) -> None:
        done, name = self._jobs.pop(effect.job, (None, function))
        self._events.note(job_row(name, effect, self._clock.now))
        self.note("job_end")
        if done is None or done.done():
            return
        if isinstance(effect, JobDone):
            done.set_result(effect)
        else:
            done.set_exception(DeviceFailed(f"the device stopped ({effect.reason})"))
