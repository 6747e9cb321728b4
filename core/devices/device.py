"""A device as a state machine without I/O: it runs jobs, draws power, charges, warms up and throttles.

Both worlds drive it with `now`, its timer and their bytes (the seam follows aioquic's `get_timer`/`handle_timer`).
`reading`, `energy_j` and `next_timer` change nothing. A late driver does no harm: every call first lives through the
timers that were due, each at its own time; what they brought is returned with the call's own effects or, by a call
that returns none, at the next `on_timer`, which is then due at once.

The energy of radio bytes is conserved exactly; it is its moment that is late, by at most one parcel and the transfer
that exceeds it. A parcel, `radio_parcel_bytes` in each direction, is 1e-5 of the battery (1 J on a device without one).
So is that of the radio's tail, by at most 1e-4 of the battery (10 J) while bytes move, and until the next event after.
A battery that runs out within such a lump goes below zero by the rest of it, is empty from then on, and has that much
more to charge.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from typing import Final

from core.devices import ageing
from core.devices.classes import DeviceProfile
from core.devices.effects import (
    BatteryEmpty,
    BatteryFull,
    Effect,
    JobDone,
    JobLost,
    Overheated,
    PoweredOn,
    ThrottleChanged,
)
from core.devices.foresight import BAND_K, COOLER, EMPTY, FULL, HOTTER, JOB, NONE, POWER_ON, VOLTAGE, Foresight
from core.devices.work import Work

#: What `to_row` writes, in order, before the flags.
_COLUMNS: Final = (
    "_at_s",
    "_battery_j",
    "_case_c",
    "_idle_j",
    "_loss_j",
    "_mains_j",
    "_processor_j",
    "_receive_j",
    "_screen_j",
    "_send_j",
    "_soc_c",
    "_stored_j",
    "_stress",
    "_tail_j",
    "_taken_j",
    "radio_settle_s",
    "radio_until_s",
    "sent_bytes",
    "received_bytes",
)
_IN_ROW: Final = operator.attrgetter(*_COLUMNS)
#: Numbers in the row of a resting device.
ROW_LENGTH: Final = len(_COLUMNS) + 1
#: Makes whole degrees above absolute zero of those of the resistance, for the row.
_OHM_OFFSET: Final = 274


class DeviceOff(RuntimeError):
    """The device cannot take a job: it is off."""


class Job:
    """The running job. `left_s` is counted at full speed from `since_s` on, which is when the speed last changed."""

    __slots__ = ("joules", "left_s", "number", "since_s", "spent_s", "started_s", "work")

    def __init__(self, number: int, work: Work, now: float, seconds: float) -> None:
        self.number = number
        self.work = work
        self.started_s = now
        self.since_s = now
        self.left_s = seconds
        self.spent_s = 0.0
        self.joules = 0.0

    def run(self, now: float, busy_s: float, pace: float, power_w: float) -> None:
        """Book what has been done until `now`: for `busy_s` of the time, at this pace and power."""
        self.left_s = max(self.left_s - busy_s * pace, 0.0)
        self.spent_s += now - self.since_s
        self.joules += power_w * busy_s
        self.since_s = now


def _ladder(step: int, celsius: float, enter_c: Sequence[float], leave_c: Sequence[float]) -> int:
    """The step of a ladder of thresholds with hysteresis that a temperature leads to."""
    while step < len(enter_c) and celsius >= enter_c[step]:
        step += 1
    while step > 0 and celsius <= leave_c[step - 1]:
        step -= 1
    return step


class Device(Foresight):
    """One device of a class. `speed` is its speed over that of the class.

    A world counts bytes with `moved`, or does what that does itself, and calls `settle` when it says so. After every
    other call it asks `next_timer` again and arranges for `on_timer`. `up_bytes_per_s` and `down_bytes_per_s` are the
    rates of its access link, `battery_loss` is the share of its battery's capacity that is gone at the start.
    """

    __slots__ = ("_effects", "_job", "_queue")

    def __init__(
        self,
        profile: DeviceProfile,
        *,
        now: float = 0.0,
        link_kind: str,
        battery_level: float = 1.0,
        charging: bool = False,
        in_use: bool = False,
        ambient_c: float = 25.0,
        speed: float = 1.0,
        up_bytes_per_s: float = math.inf,
        down_bytes_per_s: float = math.inf,
        battery_loss: float = 0.0,
    ) -> None:
        rates = up_bytes_per_s, down_bytes_per_s
        user = charging, in_use
        super().__init__(profile, now, link_kind, battery_level, user, ambient_c, speed, rates, battery_loss)
        self._job: Job | None = None
        self._queue: list[tuple[int, Work, float]] | None = None
        self._effects: list[Effect] | None = None

    def next_timer(self) -> float:
        """Time of the next call of `on_timer` that is due, s; inf if there is none."""
        return self._due() if self._effects is None else self._at_s

    def on_timer(self, now: float) -> list[Effect]:
        """Live through all that was due until `now`; what happened, in order."""
        self._advance(now)
        return self._take()

    def settle(self, now: float) -> None:
        """Rebase to `now`, with the energy of the bytes counted so far."""
        if now == self._at_s:
            # Bytes of the very moment of an event come before what is due at once after it.
            self._rebase(now)
            self._timer_kind = None
        else:
            self._advance(now)

    def switch_radio(self, now: float, link_kind: str, rates_bytes_per_s: tuple[float, float]) -> None:
        """Use another radio from `now` on, at these rates up and down.

        What was counted before is energy of the one before, whose tail ends. Raises `ValueError`.
        """
        self._advance(now)
        self._use_radio(link_kind, rates_bytes_per_s)

    def submit(self, now: float, job: int, work: Work) -> None:
        """Queue a job; jobs run one at a time, in order. Raises `DeviceOff`, and `ValueError` for work of no time."""
        seconds = self._seconds(work)
        self._advance(now)
        if not self.on:
            raise DeviceOff(f"a device of class {self.profile.name!r} is off and cannot take job {job}")
        if self._job is None:
            self._start(job, work, seconds)
        elif self._queue is None:
            self._queue = [(job, work, seconds)]
        else:
            self._queue.append((job, work, seconds))

    def _seconds(self, work: Work) -> float:
        """Time that a job takes at full speed."""
        return self.profile.seconds(work, self.speed)

    def cancel(self, now: float, job: int) -> list[Effect]:
        """Give a job up, running or not; a job that is not there any more is none to give up."""
        self._advance(now)
        if self._job is not None and self._job.number == job:
            self._lose_running("cancelled")
            self._start_next()
        elif self._queue is not None:
            for place, (number, work, _) in enumerate(self._queue):
                if number == job:
                    del self._queue[place]
                    self._emit(JobLost(number, None, 0.0, 0.0, work, "cancelled"))
                    break
        return self._take()

    def set_charging(self, now: float, charging: bool) -> None:
        """Plug the charger in or pull it out. Raises `ValueError` without a battery."""
        if self.profile.battery is None:
            raise ValueError(f"a device of class {self.profile.name!r} has no battery to charge")
        self._advance(now)
        self._plug(charging)

    def set_screen(self, now: float, on: bool) -> None:
        """Turn the screen, or what else its user has running, on or off."""
        self._advance(now)
        self._screen = on
        self._forget()

    def follow_user(self, now: float, *, charging: bool, in_use: bool) -> None:
        """Be as its user has it from `now` on: on the charger or not (if it has a battery), its screen on or off."""
        plugs = self.profile.battery is not None and charging is not self.charging
        if plugs or in_use is not self._screen:
            self._advance(now)
            self._screen = in_use
            self._forget()
            if plugs:
                self._plug(charging)

    def _plug(self, charging: bool) -> None:
        self.charging = charging
        self._wear()
        self._forget()

    def slow_down(self, now: float, share: float) -> None:
        """Go on at a share of its speed, above 0, also with the running job; 1 ends that.

        What keeps it from its work keeps the processor busy: a job draws the same power, for longer.
        """
        self._advance(now)
        if self._job is not None:
            self._run_to_now(self._job)
        self.slowdown = share
        self._forget()

    def crash(self, now: float) -> list[Effect]:
        """Turn off at once, jobs lost; it stays off until `restart`."""
        self._advance(now)
        self._held_off = True
        self._turn_off("crash")
        return self._take()

    def restart(self, now: float) -> list[Effect]:
        """End a crash. Below 2 % of charge the device stays off, and comes on by itself once it is charged to that."""
        self._advance(now)
        self._held_off = False
        self._forget()
        self._turn_on_if_it_can()
        return self._take()

    def empty_s(self, now: float) -> float:
        """When the battery could be empty at the earliest if it were unplugged now, inf for never; changes nothing.

        That is in use without a pause, with the resistance of the coldest that it can come to.
        """
        battery = self.profile.battery
        if battery is None:
            return math.inf
        end = self._as_of(now)
        factor = self._factor_at(self.ambient_c - BAND_K)
        return now + battery.empty_s(end._stored_j / end._fade, self.profile.used_w, factor) * end._fade

    @property
    def resting(self) -> bool:
        """Whether it has no job, no news and its own speed, so that a row of numbers holds all its state."""
        return self._job is None and not self._queue and self._effects is None and self.slowdown == 1.0

    def to_row(self) -> list[float]:
        """The state of a resting device as `ROW_LENGTH` numbers, exact in float64."""
        flags = self._level | self._severity << 8 | self.on << 16 | self.charging << 17
        flags |= self._held_off << 18 | self._hot << 19 | self._screen << 20
        flags |= ageing.steps(1.0 - self._fade) << 24 | (int(self._ohm_c) + _OHM_OFFSET) << 36
        return [*map(float, _IN_ROW(self)), float(flags)]

    def from_row(self, row: Sequence[float]) -> None:
        """Take the state of a resting device over, bit for bit; class, link, speed and ambient are this device's."""
        for name, value in zip(_COLUMNS, row, strict=False):
            setattr(self, name, value)
        self.sent_bytes, self.received_bytes = int(self.sent_bytes), int(self.received_bytes)
        flags = int(row[-1])
        self._level, self._severity = flags & 0xFF, flags >> 8 & 0xFF
        self.on, self.charging = bool(flags & 1 << 16), bool(flags & 1 << 17)
        self._held_off, self._hot, self._screen = bool(flags & 1 << 18), bool(flags & 1 << 19), bool(flags & 1 << 20)
        self._fade = 1.0 - (flags >> 24 & 0xFFF) * ageing.STEP
        self._ohm_c = float((flags >> 36) - _OHM_OFFSET)
        self._set_factor()
        self._set_limit()
        self._band_c = None

    def _advance(self, now: float) -> None:
        """Live through the timers due until `now`, each at its time, and rebase to `now`."""
        due = self._due()
        while due <= now:
            kind = self._timer_kind
            had_bytes = self.sent_bytes or self.received_bytes
            set_back = self._rebase(due)
            self._timer_kind = None
            # A lump of bytes has warmed the case again, or taken charge: the timer did not foresee that.
            if not ((had_bytes and kind == COOLER) or (set_back and kind in (POWER_ON, FULL, VOLTAGE))):
                self._fire(kind)
            due = self._due()
        if now != self._at_s or self.sent_bytes or self.received_bytes:
            self._rebase(now)
            self._timer_kind = None

    # Timers.

    def _due(self) -> float:
        """Time of the next own event, worked out once an event."""
        if self._timer_kind is None:
            self._timer_s, self._timer_kind = self._first_timer()
        return self._timer_s

    def _first_timer(self) -> tuple[float, int]:
        first, kind = math.inf, NONE
        job = self._job
        if job is not None:
            first, kind = job.since_s + job.left_s / self._pace(), JOB
        now, profile = self._at_s, self.profile
        powers, battery, heat = self._powers(), profile.battery, profile.heat
        end_s, voltage_s, cells_w, loss_w, case_w = self._outlook(powers)
        if battery is not None:
            wait, event = self._battery_wait_s(battery, powers, end_s)
            at = now + wait
            if at < first or (at == first and event < kind):
                first, kind = at, event
        if heat is not None:
            if battery is not None:
                wait, event = self._refresh_wait_s(battery, voltage_s, cells_w, loss_w)
                at = now + wait
                if at < first or (at == first and event < kind):
                    first, kind = at, event
            wait, event = self._heat_wait_s(heat, powers.processor_w, case_w, max(first - now, 0.0))
            at = now + wait
            if at < first or (at == first and event < kind):
                first, kind = at, event
        return first, kind

    def _fire(self, kind: int | None) -> None:
        """Do what a timer of this kind says; what it waited for is set to have happened, whatever the rounding."""
        battery = self.profile.battery
        charge = self._powers().charge
        if kind == JOB and self._job is not None:
            job = self._job
            rest_s = job.left_s / self._pace()
            joules = job.joules + self._limit[1] * rest_s
            self._emit(JobDone(job.number, job.started_s, job.spent_s + rest_s, joules, job.work))
            self._start_next()
        elif kind == HOTTER:
            self._case_c = max(self._case_c, self._bounds_c()[1])
            self._temperature_changed()
        elif kind == COOLER:
            self._case_c = min(self._case_c, self._bounds_c()[0])
            self._temperature_changed()
        elif kind == POWER_ON and battery is not None:
            self._lift(self._start_j(battery))
            self._turn_on()
        elif kind == FULL and charge is not None:
            self._lift(charge.full_j)
            self._emit(BatteryFull())
        elif kind == VOLTAGE and charge is not None:
            self._lift(charge.voltage_j)
        elif kind == EMPTY:
            self._emit(BatteryEmpty())
            self._turn_off("battery_empty")

    # What happens at an event.

    def _temperature_changed(self) -> None:
        """Find the resistance's temperature, the governor's step and the severity that fit the case's temperature."""
        profile, case_c = self.profile, self._case_c
        if abs(case_c - self._ohm_c) >= BAND_K:
            self._ohm_c = float(round(case_c))
            self._band_c = None
            self._set_factor()
        level = _ladder(self._level, case_c, profile.governor_enter_c, profile.governor_leave_c)
        severity = _ladder(self._severity, case_c, profile.enter_c, profile.leave_c)
        if (level, severity) == (self._level, self._severity):
            return
        if self._job is not None:
            self._run_to_now(self._job)
        before = self._severity, self._limit
        self._level, self._severity = level, severity
        self._band_c = None
        self._set_limit()
        if (severity, self._limit) != before:
            self._emit(ThrottleChanged(severity, self._limit[0]))
        if self._limit[1] == 0.0 and profile.dynamic_w > 0.0:
            # One that is off already, crashed or empty, stays so until it has cooled too.
            self._hot = True
            if self.on:
                self._emit(Overheated())
                self._turn_off("overheated")
        elif severity == 0 and self._hot:
            self._hot = False
            self._turn_on_if_it_can()

    def _turn_on_if_it_can(self) -> None:
        if not (self.on or self._held_off or self._hot) and self._can_start():
            self._turn_on()

    def _run_to_now(self, job: Job) -> None:
        """Book the running job's progress at the present speed."""
        job.run(self._at_s, self._at_s - job.since_s, self._pace(), self._limit[1])

    def _start(self, number: int, work: Work, seconds: float) -> None:
        self._job = Job(number, work, self._at_s, seconds)
        self._busy = True
        self._forget()

    def _start_next(self) -> None:
        self._job = None
        self._busy = False
        self._forget()
        if self._queue:
            self._start(*self._queue.pop(0))

    def _lose_running(self, reason: str) -> None:
        job = self._job
        if job is not None:
            self._run_to_now(job)
            self._emit(JobLost(job.number, job.started_s, job.spent_s, job.joules, job.work, reason))
            self._job = None
            self._busy = False
            self._forget()

    def _turn_off(self, reason: str) -> None:
        self._lose_running(reason)
        for number, work, _ in self._queue or ():
            self._emit(JobLost(number, None, 0.0, 0.0, work, reason))
        self._queue = None
        self.on = False
        if self.radio_until_s < math.inf:
            self.radio_until_s = -math.inf
        self._forget()

    def _turn_on(self) -> None:
        self.on = True
        self._forget()
        self._emit(PoweredOn())

    def _emit(self, effect: Effect) -> None:
        if self._effects is None:
            self._effects = [effect]
        else:
            self._effects.append(effect)

    def _take(self) -> list[Effect]:
        effects, self._effects = self._effects, None
        return effects or []
