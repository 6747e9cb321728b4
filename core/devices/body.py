"""What a device draws, stores and how warm it is: closed forms of the time since the last event.

Powers are constant between events. Only a rebase, at an event, changes the state; readings evaluate it. Radio bytes
and the radio's tail are counted by plain attributes and become energy, for the battery and the case, at the next
rebase, as one lump.

Two things change slowly within what is otherwise constant, and are held until an event: the temperature at which the
battery's resistance is taken (until the case has moved by `BAND_K`), and the heat of that resistance in the case (until
the charge has moved by `REFRESH_SHARE`, or charging has come to constant voltage).
"""

from __future__ import annotations

import copy
import math
import sys
from typing import Final

from core.devices import ageing
from core.devices.battery import Battery
from core.devices.classes import DeviceProfile
from core.devices.effects import Reading
from core.devices.radio import Radio

#: Charge at which an empty device on a charger comes back, and below which a device does not start (estimate).
POWER_ON_LEVEL: Final = 0.02
#: The battery's resistance is that of a temperature at most this far from the case's, K.
BAND_K: Final = 6.0
#: The heat of the battery's resistance is taken anew when this share of the charge has gone, if it is at least this, W.
REFRESH_SHARE: Final = 0.1
REFRESH_W: Final = 0.02
#: While bytes move, the device is settled before the radio's tail has taken this share of the battery (without one: J).
TAIL_SHARE: Final = 1e-4
TAIL_J: Final = 10.0

# Kinds of timer; of several at one time the first comes first.
JOB, HOTTER, COOLER, POWER_ON, FULL, EMPTY, REFRESH, NONE = range(8)


class Body:
    """Battery, heat, radio and the energy account of one device; `Device` adds jobs and events."""

    __slots__ = (
        "_at_s",
        "_battery_j",
        "_busy",
        "_case_c",
        "_factor",
        "_fade",
        "_held_off",
        "_hot",
        "_idle_j",
        "_level",
        "_limit",
        "_loss_j",
        "_mains_j",
        "_ohm_c",
        "_processor_j",
        "_radio",
        "_rates_bytes_per_s",
        "_receive_j",
        "_receive_j_per_byte",
        "_screen",
        "_screen_j",
        "_send_j",
        "_send_j_per_byte",
        "_severity",
        "_soc_c",
        "_stored_j",
        "_stress",
        "_tail_j",
        "_taken_j",
        "_woken_s",
        "ambient_c",
        "charging",
        "link_kind",
        "on",
        "profile",
        "radio_parcel_bytes",
        "radio_settle_s",
        "radio_until_s",
        "received_bytes",
        "sent_bytes",
        "slowdown",
        "speed",
    )

    def __init__(
        self,
        profile: DeviceProfile,
        now: float,
        link_kind: str,
        battery_level: float,
        charging: bool,
        ambient_c: float,
        speed: float,
        rates_bytes_per_s: tuple[float, float],
        battery_loss: float,
    ) -> None:
        if not speed > 0.0:
            raise ValueError(f"speed is {speed!r}; more than 0 is needed")
        self.profile = profile
        self._use_radio(link_kind, rates_bytes_per_s)
        #: Whether on external power; always true without a battery.
        self.charging = charging
        self.ambient_c = ambient_c
        self.speed = speed
        #: Share of its speed that a fault leaves it.
        self.slowdown = 1.0
        self.on = True
        #: Bytes since the last rebase; the world counts them.
        self.sent_bytes = 0
        self.received_bytes = 0
        self._at_s = now
        self._soc_c = self._case_c = ambient_c
        #: Step of the governor, severity, and what they leave: share of the full speed, and power, W.
        self._level = self._severity = 0
        self._limit = profile.severity_limits[0]
        #: Whether a job is running, and whether its user keeps the screen on.
        self._busy = self._screen = False
        #: Whether it stays off until it is restarted, and whether until it has cooled.
        self._held_off = self._hot = False
        #: Energy left in the battery; 0 without one.
        self._stored_j = 0.0
        #: Capacity left, and the temperature and factor of the battery's resistance.
        self._fade = self._factor = 1.0
        self._ohm_c = float(round(ambient_c))
        self._stress = 0.0
        if profile.battery is None:
            self.charging = True
        elif not 0.0 <= battery_loss <= ageing.MOST:
            raise ValueError(f"battery_loss is {battery_loss!r}; a number between 0 and {ageing.MOST} is needed")
        elif 0.0 <= battery_level <= 1.0:
            self._stress = ageing.stress_of(battery_loss)
            self._fade = 1.0 - ageing.stepped(battery_loss)
            self._stored_j = profile.battery.energy_at(battery_level) * self._fade
            self._set_factor()
        else:
            raise ValueError(f"battery_level is {battery_level!r}; a number between 0 and 1 is needed")
        self._idle_j = self._processor_j = self._screen_j = 0.0
        self._send_j = self._receive_j = self._tail_j = 0.0
        self._battery_j = self._mains_j = self._taken_j = self._loss_j = 0.0

    @property
    def stored_j(self) -> float:
        """Energy in the battery at the last event, J; below 0 by what a lump of bytes took too much."""
        return self._stored_j

    @property
    def settled_s(self) -> float:
        """Time of the last event, s: nothing can be told it of an earlier one."""
        return self._at_s

    @property
    def severity(self) -> int:
        """0: none; else the level of the profile's `throttle` it is at, from 1 on."""
        return self._severity

    @property
    def capacity(self) -> float:
        """Share of the battery's capacity that is left, as applied: its loss counts from the next plugging on."""
        return self._fade

    @property
    def battery_loss(self) -> float:
        """Share of the battery's capacity lost by age and use, as of the last event; 0 without one."""
        battery = self.profile.battery
        if battery is None:
            return 0.0
        cycles = (self._battery_j + self._taken_j) / (2.0 * battery.energy_j)
        return ageing.calendar_loss(self._stress) + ageing.cycle_loss(cycles, self.profile.cycle_depth)

    def _use_radio(self, link_kind: str, rates_bytes_per_s: tuple[float, float]) -> None:
        """Use one of the radios, at these rates up and down. Raises `ValueError`."""
        radio = self.profile.radios.get(link_kind)
        if radio is None:
            accepted = ", ".join(self.profile.radios)
            raise ValueError(f"device {self.profile.name!r} has no radio of kind {link_kind!r}; it has: {accepted}")
        self.link_kind = link_kind
        self._radio: Radio = radio
        self._rates_bytes_per_s = rates_bytes_per_s
        self._send_j_per_byte, self._receive_j_per_byte = radio.byte_j(*rates_bytes_per_s)
        parcel = self.profile.parcel_bytes(self._send_j_per_byte + self._receive_j_per_byte)
        #: Bytes of one direction after which the world settles the device.
        self.radio_parcel_bytes = sys.maxsize if parcel == math.inf else int(parcel)
        #: End of the radio's tail, `radio_tail_s` after the last byte; the world moves it on. A byte after it, or after
        #: `radio_settle_s`, settles the device.
        self.radio_until_s = -math.inf if radio.tail_s > 0.0 else math.inf
        self.radio_settle_s = math.inf
        #: Time that the bytes took which have just woken the radio; None if none have.
        self._woken_s: float | None = None

    @property
    def radio_tail_s(self) -> float:
        """How long the radio stays awake after a byte, s; inf for one without states."""
        return self._radio.tail_s or math.inf

    def moved(self, now: float, *, sent: int = 0, received: int = 0) -> bool:
        """Count bytes that have just moved; whether the device is to be settled now."""
        self.sent_bytes += sent
        self.received_bytes += received
        if now > self.radio_until_s:
            self.wake_radio(sent, received)
            return True
        self.radio_until_s = now + self.radio_tail_s
        most = self.radio_parcel_bytes
        return self.sent_bytes >= most or self.received_bytes >= most or now > self.radio_settle_s

    def wake_radio(self, sent: int, received: int) -> None:
        """Say that the radio was idle until these bytes, which are counted already; the device is settled next."""
        up, down = self._rates_bytes_per_s
        self._woken_s = sent / up + received / down

    def reading(self, now: float) -> Reading:
        """State at `now`; changes nothing."""
        profile = self.profile
        battery, heat = profile.battery, profile.heat
        end = self
        if now != self._at_s or self.sent_bytes or self.received_bytes:
            end = copy.copy(self)
            end._rebase(now)
        return Reading(
            battery_level=None if battery is None else battery.level_at(end._stored_j / end._fade),
            soc_temperature_c=None if heat is None or heat.soc_capacity_j_per_k is None else end._soc_c,
            case_temperature_c=None if heat is None else end._case_c,
            speed=self._pace(),
            charging=self.charging,
            on=self.on,
            load=1.0 if self._busy else 0.0,
            severity=self._severity,
        )

    def energy_j(self, now: float) -> dict[str, float]:
        """Energy since the start by component, J, at `now`; changes nothing.

        The draws (idle, processor, accelerator, screen, radio_send, radio_receive, radio_tail) = battery + mains, the
        sources. What the charger took beside is stored + charger_loss. The battery holds what it held at the start,
        + stored - battery - battery_loss.
        """
        end = copy.copy(self)
        end._rebase(now)
        efficiency = 1.0 if self.profile.battery is None else self.profile.battery.charge_efficiency
        engine_j = {"processor": 0.0, "accelerator": 0.0, self.profile.engine: end._processor_j}
        return {
            "idle": end._idle_j,
            **engine_j,
            "screen": end._screen_j,
            "radio_send": end._send_j,
            "radio_receive": end._receive_j,
            "radio_tail": end._tail_j,
            "battery": end._battery_j,
            "battery_loss": end._loss_j,
            "mains": end._mains_j,
            "charger_loss": end._taken_j * (1.0 / efficiency - 1.0),
            "stored": end._taken_j,
        }

    def _since(self, now: float) -> float:
        seconds = now - self._at_s
        if seconds < 0.0:
            raise ValueError(f"now is {now!r}, before the device's last event at {self._at_s!r}")
        return seconds

    def _pace(self) -> float:
        """Share of the full speed that throttling and faults leave."""
        return self._limit[0] * self.slowdown

    def _set_factor(self) -> None:
        """Work out the factor of the battery's resistance from its temperature and age."""
        battery = self.profile.battery
        if battery is not None:
            growth = ageing.resistance_growth(1.0 - self._fade) if self._fade < 1.0 else 1.0
            self._factor = battery.resistance_factor(self._ohm_c) * growth if battery.resistance_b_k else growth

    def _lift(self, held_j: float) -> None:
        """The battery holds at least what a full-capacity one would hold with `held_j`, also when that is read back."""
        self._stored_j = max(self._stored_j, held_j * self._fade)
        while self._stored_j / self._fade < held_j:
            self._stored_j = math.nextafter(self._stored_j, math.inf)

    def _wear(self) -> None:
        """Apply the loss of capacity so far; energy that has no room any more is lost."""
        battery = self.profile.battery
        fade = 1.0 - ageing.stepped(self.battery_loss)
        if battery is not None and fade < self._fade:
            self._fade = fade
            self._set_factor()
            over_j = self._stored_j - battery.energy_j * fade
            if over_j > 0.0:
                self._stored_j -= over_j
                self._loss_j += over_j

    def _set_limit(self) -> None:
        """Work out what severity and governor leave of speed and power."""
        profile = self.profile
        self._limit = min(profile.severity_limits[self._severity], profile.governor_limits[self._level])

    # Powers, W.

    def _powers(self) -> tuple[float, float, float]:
        """Power of idling, of the screen, and of the processor above idle."""
        if not self.on:
            return 0.0, 0.0, 0.0
        profile = self.profile
        return profile.idle_w, profile.screen_w if self._screen else 0.0, self._limit[1] if self._busy else 0.0

    def _battery_w(self, load_w: float) -> tuple[float, float]:
        """With a battery: heat of its resistance, and the charger's loss, W."""
        battery = self.profile.battery
        if battery is None:
            return 0.0, 0.0
        held_j = self._stored_j / self._fade
        if self.charging:
            if load_w < battery.charge_w:
                stored_w, loss_w = battery.charge_powers(held_j, battery.spare_w(load_w), self._factor)
                return loss_w, (stored_w + loss_w) * (1.0 / battery.charge_efficiency - 1.0)
            load_w -= battery.charge_w
        return battery.drain_w(held_j, load_w, self._factor) - load_w, 0.0

    def _case_w(self, other_w: float, processor_w: float) -> float:
        """Power that warms the case directly: all but the processor's, the battery's loss, a part of the charger's."""
        if self.profile.battery is None:
            return other_w
        loss_w, charger_w = self._battery_w(other_w + processor_w)
        return other_w + loss_w + self.profile.charge_heat_share * charger_w

    # The passing of time.

    def _rebase(self, now: float) -> bool:
        """Move the state to `now`, with the powers that held and the bytes counted since the last rebase.

        Whether a lump of the radio's has set a battery back that was charging.
        """
        seconds = self._since(now)
        if seconds == 0.0 and not (self.sent_bytes or self.received_bytes):
            return False
        idle_w, screen_w, processor_w = self._powers()
        other_w = idle_w + screen_w
        radio_j = self._radio_j(now)
        if self.profile.heat is not None:
            self._warm(seconds, processor_w, other_w, radio_j)
        elif self.profile.battery is not None:
            self._age(seconds, self.ambient_c)
        self._idle_j += idle_w * seconds
        self._screen_j += screen_w * seconds
        self._processor_j += processor_w * seconds
        load_w = other_w + processor_w
        self._at_s = now
        if self.charging:
            return self._plugged(seconds, load_w, radio_j)
        self._battery_j += load_w * seconds + radio_j
        self._drain(seconds, load_w, radio_j)
        return False

    def _radio_j(self, now: float) -> float:
        """Book the radio's bytes and states since the last rebase; their energy, J."""
        radio, sent, received = self._radio, self.sent_bytes, self.received_bytes
        tail_j = 0.0
        if radio.tail_s > 0.0:
            until_s = self.radio_until_s
            if until_s > self._at_s and self.on:
                tail_j = radio.tail_w * (min(until_s, now) - self._at_s)
            if self._woken_s is not None:
                # The bytes that woke it took some time, in which it was active, and before its tail.
                tail_j += radio.promotion_j + radio.tail_w * self._woken_s
                self._woken_s = None
                self.radio_until_s = now + radio.tail_s
            self.radio_settle_s = now + self._most_tail_s()
            self._tail_j += tail_j
        if not (sent or received):
            return tail_j
        send_j, receive_j = sent * self._send_j_per_byte, received * self._receive_j_per_byte
        self._send_j += send_j
        self._receive_j += receive_j
        self.sent_bytes = self.received_bytes = 0
        return send_j + receive_j + tail_j

    def _most_tail_s(self) -> float:
        battery, tail_w = self.profile.battery, self._radio.tail_w
        if tail_w == 0.0:
            return math.inf
        return (TAIL_J if battery is None else TAIL_SHARE * battery.energy_j) / tail_w

    def _warm(self, seconds: float, processor_w: float, other_w: float, radio_j: float) -> None:
        heat = self.profile.heat
        if heat is None:
            return
        if seconds > 0.0:
            case_w = self._case_w(other_w, processor_w)
            before = self._soc_c, self._case_c
            after = heat.after(*before, processor_w, case_w, self.ambient_c, seconds)
            self._soc_c, self._case_c = after
            if self.profile.battery is not None:
                self._age(seconds, heat.mean_case_c(before, after, processor_w, case_w, self.ambient_c, seconds))
        if radio_j:
            self._case_c += radio_j / heat.case_capacity_j_per_k

    def _age(self, seconds: float, celsius: float) -> None:
        """Calendar ageing at a mean temperature, with the charge at the beginning."""
        battery = self.profile.battery
        if battery is not None and seconds > 0.0:
            level = battery.level_at(self._stored_j / self._fade)
            self._stress += ageing.calendar_stress(seconds, celsius, level)

    def _plugged(self, seconds: float, load_w: float, radio_j: float) -> bool:
        """On external power the load comes first; a charger that it leaves nothing has the battery give the rest.

        So it is with the radio's lump: what the charger had to spare meanwhile, or once the battery is full, is its
        part, and the rest is the battery's: whether there was one while it charged.
        """
        battery = self.profile.battery
        if battery is None:
            self._mains_j += load_w * seconds + radio_j
            return False
        over_w = load_w - battery.charge_w
        if over_w >= 0.0:
            self._mains_j += battery.charge_w * seconds
            self._battery_j += over_w * seconds + radio_j
            self._drain(seconds, over_w, radio_j)
            return False
        self._mains_j += load_w * seconds
        limit_w = battery.spare_w(load_w)
        taken_j = self._charge(battery, limit_w, seconds)
        if not radio_j:
            return False
        spare_j = max(-over_w * seconds - taken_j / battery.charge_efficiency, 0.0)
        if spare_j >= radio_j or self._stored_j / self._fade >= battery.full_j(limit_w, self._factor):
            self._mains_j += radio_j
            return False
        self._mains_j += spare_j
        self._battery_j += radio_j - spare_j
        self._drain(0.0, 0.0, radio_j - spare_j)
        return True

    def _charge(self, battery: Battery, limit_w: float, seconds: float) -> float:
        """Charge with the power that there is at the terminals; the energy that they have taken, J."""
        fade = self._fade
        held_j, lost_j = battery.charged(self._stored_j / fade, limit_w, self._factor, seconds / fade)
        gained_j, lost_j = held_j * fade - self._stored_j, lost_j * fade
        if gained_j <= 0.0:
            return 0.0
        self._stored_j += gained_j
        self._taken_j += gained_j + lost_j
        self._loss_j += lost_j
        return gained_j + lost_j

    def _drain(self, seconds: float, load_w: float, lump_j: float) -> None:
        battery, fade = self.profile.battery, self._fade
        if battery is None:
            return
        if seconds > 0.0:
            left_j, lost_j = battery.discharged(self._stored_j / fade, load_w, self._factor, seconds / fade)
            self._stored_j = left_j * fade
            self._loss_j += lost_j * fade
        if lump_j:
            taken_j = battery.lump(self._stored_j / fade, lump_j, load_w, self._factor)
            self._stored_j -= taken_j
            self._loss_j += taken_j - lump_j

    # Times of own events.

    def _battery_wait_s(self) -> tuple[float, int]:
        battery, fade = self.profile.battery, self._fade
        if battery is None:
            return math.inf, NONE
        held_j = self._stored_j / fade
        load_w = sum(self._powers())
        if not self.charging:
            if not self.on:
                return math.inf, NONE
            return battery.empty_s(held_j, load_w, self._factor) * fade, EMPTY
        if load_w >= battery.charge_w:
            if load_w == battery.charge_w:
                return math.inf, NONE
            return battery.empty_s(held_j, load_w - battery.charge_w, self._factor) * fade, EMPTY
        limit_w = battery.spare_w(load_w)
        if not self.on and not (self._held_off or self._hot):
            return battery.charge_s(held_j, self._start_j(battery), limit_w, self._factor) * fade, POWER_ON
        full_j = battery.full_j(limit_w, self._factor)
        if held_j < full_j:
            return battery.charge_s(held_j, full_j, limit_w, self._factor) * fade, FULL
        return math.inf, NONE

    def _refresh_wait_s(self) -> float:
        """Time until the heat of the battery's resistance is to be worked out anew."""
        battery, fade = self.profile.battery, self._fade
        if battery is None or self.profile.heat is None:
            return math.inf
        held_j = self._stored_j / fade
        load_w = sum(self._powers())
        if self.charging:
            if load_w < battery.charge_w:
                limit_w = battery.spare_w(load_w)
                target_j = battery.constant_voltage_j(limit_w, self._factor)
                wait_s = battery.charge_s(held_j, target_j, limit_w, self._factor) * fade
                return wait_s if wait_s > 0.0 else math.inf
            load_w -= battery.charge_w
        drain_w = battery.drain_w(held_j, load_w, self._factor)
        return REFRESH_SHARE * battery.energy_j / drain_w if drain_w - load_w >= REFRESH_W else math.inf

    def _bounds_c(self) -> tuple[float, float]:
        """Case temperatures at which something changes: above and below the present one."""
        profile, severity, level = self.profile, self._severity, self._level
        upper, lower = math.inf, -math.inf
        if profile.battery is not None and profile.battery.resistance_b_k:
            upper, lower = self._ohm_c + BAND_K, self._ohm_c - BAND_K
        if severity < len(profile.enter_c):
            upper = min(upper, profile.enter_c[severity])
        if severity:
            lower = max(lower, profile.leave_c[severity - 1])
        if level < len(profile.governor_enter_c):
            upper = min(upper, profile.governor_enter_c[level])
        if level:
            lower = max(lower, profile.governor_leave_c[level - 1])
        return lower, upper

    def _heat_wait_s(self, horizon_s: float) -> tuple[float, int]:
        """Time until the case temperature leaves the present band; inf if not within `horizon_s`."""
        heat, case_c = self.profile.heat, self._case_c
        if heat is None:
            return math.inf, NONE
        lower, upper = self._bounds_c()
        if case_c >= upper:
            return 0.0, HOTTER
        if case_c <= lower:
            return 0.0, COOLER
        idle_w, screen_w, processor_w = self._powers()
        case_w = self._case_w(idle_w + screen_w, processor_w)
        state = self._soc_c, case_c, processor_w, case_w, self.ambient_c
        falls, rises = heat.leaves(*state, lower, upper)
        wait, kind = math.inf, NONE
        if rises:
            wait = heat.crossing_s(*state, upper, horizon_s)
            kind = HOTTER if wait < math.inf else NONE
        if falls:
            cool = heat.crossing_s(*state, lower, min(horizon_s, wait))
            if cool < wait:
                wait, kind = cool, COOLER
        return wait, kind

    def _limit_w(self, battery: Battery) -> float:
        """Power at the terminals that the load leaves a charger, W; below 0 where it leaves none."""
        return battery.spare_w(sum(self._powers()))

    def _start_j(self, battery: Battery) -> float:
        """Energy with which it comes on, of a battery with its full capacity, J.

        That is `POWER_ON_LEVEL` above what it needs to feed what a weak charger leaves of its full load, so that it
        does not go off again at once.
        """
        profile = self.profile
        load_w = profile.idle_w + (profile.screen_w if self._screen else 0.0) + self._limit[1]
        if not self.charging or load_w <= battery.charge_w:
            return battery.energy_at(POWER_ON_LEVEL)
        least_j = battery.least_j(load_w - battery.charge_w, self._factor)
        return battery.energy_at(min(battery.level_at(least_j) + POWER_ON_LEVEL, 1.0))

    def _can_start(self) -> bool:
        """Whether there is charge enough to come on."""
        battery = self.profile.battery
        return battery is None or self._stored_j >= self._start_j(battery) * self._fade
