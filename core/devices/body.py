"""What a device draws, stores and how warm it is: closed forms of the time since the last event.

Powers are constant between events. Only a rebase, at an event, changes the state; readings evaluate it. Radio bytes
are counted by plain attributes and become energy, for the battery and the case, at the next rebase, as one lump.
"""

from __future__ import annotations

import copy
import math
from typing import Final

from core.devices.classes import DeviceProfile, Radio
from core.devices.effects import Reading

#: Charge at which an empty device on a charger comes back, and below which a device does not start (estimate).
POWER_ON_LEVEL: Final = 0.02

# Kinds of timer; of several at one time the first comes first.
JOB, HOTTER, COOLER, POWER_ON, FULL, EMPTY, NONE = range(7)


class Body:
    """Battery, heat, radio and the energy account of one device; `Device` adds jobs and events."""

    __slots__ = (
        "_at_s",
        "_battery_j",
        "_busy",
        "_case_c",
        "_held_off",
        "_idle_j",
        "_level",
        "_mains_j",
        "_processor_j",
        "_radio",
        "_receive_j",
        "_send_j",
        "_soc_c",
        "_stored_j",
        "_taken_j",
        "ambient_c",
        "charging",
        "link_kind",
        "on",
        "profile",
        "radio_parcel_bytes",
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
    ) -> None:
        radio = profile.radios.get(link_kind)
        if radio is None:
            accepted = ", ".join(profile.radios)
            raise ValueError(f"device {profile.name!r} has no radio of kind {link_kind!r}; it has: {accepted}")
        if not speed > 0.0:
            raise ValueError(f"speed is {speed!r}; more than 0 is needed")
        self.profile = profile
        self.link_kind = link_kind
        #: Whether on external power; always true without a battery.
        self.charging = charging
        self.ambient_c = ambient_c
        self.speed = speed
        #: Share of its speed that a fault leaves it.
        self.slowdown = 1.0
        self.on = True
        #: Bytes since the last rebase; the world adds to them.
        self.sent_bytes = 0
        self.received_bytes = 0
        self.radio_parcel_bytes = profile.parcel_bytes[link_kind]
        self._radio: Radio = radio
        self._at_s = now
        self._soc_c = self._case_c = ambient_c
        self._level = 0
        #: Whether a job is running.
        self._busy = False
        #: Whether it stays off until it is restarted.
        self._held_off = False
        #: Energy left in the battery; 0 without one.
        self._stored_j = 0.0
        if profile.battery is None:
            self.charging = True
        elif 0.0 <= battery_level <= 1.0:
            self._stored_j = profile.battery.energy_at(battery_level)
        else:
            raise ValueError(f"battery_level is {battery_level!r}; a number between 0 and 1 is needed")
        self._idle_j = self._processor_j = self._send_j = self._receive_j = 0.0
        self._battery_j = self._mains_j = self._taken_j = 0.0

    @property
    def stored_j(self) -> float:
        """Energy in the battery at the last event, J; below 0 by what a lump of bytes took too much."""
        return self._stored_j

    @property
    def throttle_level(self) -> int:
        """0: none; else the level of the profile's `throttle` it is at, from 1 on."""
        return self._level

    def reading(self, now: float) -> Reading:
        """State at `now`; changes nothing."""
        profile = self.profile
        seconds = self._since(now)
        radio_j = self.sent_bytes * self._radio.send_j_per_byte + self.received_bytes * self._radio.receive_j_per_byte
        idle_w, processor_w = self._powers()
        battery_level = None
        if profile.battery is not None:
            stored_j = self._stored_j
            if self.charging:
                stored_j += self._charge_w() * seconds
            else:
                stored_j -= (idle_w + processor_w) * seconds + radio_j
            battery_level = profile.battery.level_at(stored_j)
        soc_c = case_c = None
        if profile.heat is not None:
            soc_c, case_c = self._temperatures(seconds, idle_w, processor_w, radio_j)
            if profile.heat.soc_capacity_j_per_k is None:
                soc_c = None
        return Reading(
            battery_level,
            soc_c,
            case_c,
            self._pace(),
            self.charging,
            self.on,
            0.0 if not self._busy else 1.0,
        )

    def energy_j(self, now: float) -> dict[str, float]:
        """Energy since the start by component, J, at `now`; changes nothing.

        idle + processor + radio_send + radio_receive (draws) = battery + mains (sources). What the charger took beside
        is stored + charger_loss. The battery holds what it held at the start, + stored - battery.
        """
        end = copy.copy(self)
        end._rebase(now)
        efficiency = 1.0 if self.profile.battery is None else self.profile.battery.charge_efficiency
        return {
            "idle": end._idle_j,
            "processor": end._processor_j,
            "radio_send": end._send_j,
            "radio_receive": end._receive_j,
            "battery": end._battery_j,
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
        return self.profile.level_speeds[self._level] * self.slowdown

    def _powers(self) -> tuple[float, float]:
        """Power of idling and of the processor above it, W."""
        if not self.on:
            return 0.0, 0.0
        profile = self.profile
        return profile.idle_w, 0.0 if not self._busy else profile.level_processor_w[self._level]

    def _charge_w(self) -> float:
        """Power into the cells, W."""
        battery = self.profile.battery
        return battery.stored_w if battery and self.charging and self._stored_j < battery.energy_j else 0.0

    def _case_w(self, idle_w: float) -> float:
        """Power that warms the case directly, W: idling and a part of the charger's loss."""
        battery = self.profile.battery
        if battery and self.charging and self._stored_j < battery.energy_j:
            return idle_w + self.profile.charge_heat_share * (battery.charge_w - battery.stored_w)
        return idle_w

    def _temperatures(self, seconds: float, idle_w: float, processor_w: float, radio_j: float) -> tuple[float, float]:
        heat = self.profile.heat
        soc_c, case_c = self._soc_c, self._case_c
        if heat is None:
            return soc_c, case_c
        if seconds > 0.0:
            case_w = self._case_w(idle_w)
            soc_c, case_c = heat.after(soc_c, case_c, processor_w, case_w, self.ambient_c, seconds)
        if radio_j:
            case_c += radio_j / heat.case_capacity_j_per_k
        return soc_c, case_c

    def _rebase(self, now: float) -> None:
        """Move the state to `now`, with the powers that held and the bytes counted since the last rebase."""
        seconds = self._since(now)
        sent, received = self.sent_bytes, self.received_bytes
        if seconds == 0.0 and not (sent or received):
            return
        radio_j = 0.0
        if sent or received:
            send_j = sent * self._radio.send_j_per_byte
            receive_j = received * self._radio.receive_j_per_byte
            radio_j = send_j + receive_j
            self._send_j += send_j
            self._receive_j += receive_j
            self.sent_bytes = self.received_bytes = 0
        idle_w, processor_w = self._powers()
        idle_j = idle_w * seconds
        processor_j = processor_w * seconds
        self._idle_j += idle_j
        self._processor_j += processor_j
        if self.profile.heat is not None:
            self._soc_c, self._case_c = self._temperatures(seconds, idle_w, processor_w, radio_j)
        drawn_j = idle_j + processor_j + radio_j
        if self.charging:
            self._mains_j += drawn_j
            taken_j = self._charge_w() * seconds
            self._taken_j += taken_j
            self._stored_j += taken_j
        else:
            self._battery_j += drawn_j
            self._stored_j -= drawn_j
        self._at_s = now

    def _battery_wait_s(self) -> tuple[float, int]:
        battery = self.profile.battery
        if battery is None:
            return math.inf, NONE
        if not self.charging:
            if not self.on:
                return math.inf, NONE
            load_w = sum(self._powers())
            if self._stored_j <= 0.0:
                return 0.0, EMPTY
            return (self._stored_j / load_w, EMPTY) if load_w > 0.0 else (math.inf, NONE)
        if not self.on and not self._held_off:
            return max(self._power_on_j() - self._stored_j, 0.0) / battery.stored_w, POWER_ON
        if self._stored_j < battery.energy_j:
            return (battery.energy_j - self._stored_j) / battery.stored_w, FULL
        return math.inf, NONE

    def _throttle_wait_s(self, horizon_s: float) -> tuple[float, int]:
        """Time until the case temperature leaves the present level's band; inf if not within `horizon_s`."""
        profile, level, case_c = self.profile, self._level, self._case_c
        heat = profile.heat
        if heat is None:
            return math.inf, NONE
        idle_w, processor_w = self._powers()
        case_w = self._case_w(idle_w)
        wait, kind = math.inf, NONE
        if level < len(profile.enter_c):
            if case_c >= profile.enter_c[level]:
                return 0.0, HOTTER
            wait = heat.crossing_s(
                self._soc_c, case_c, processor_w, case_w, self.ambient_c, profile.enter_c[level], horizon_s
            )
            kind = HOTTER if wait < math.inf else NONE
        if level > 0:
            leave_c = profile.leave_c[level - 1]
            if case_c <= leave_c:
                return 0.0, COOLER
            cool = heat.crossing_s(
                self._soc_c, case_c, processor_w, case_w, self.ambient_c, leave_c, min(horizon_s, wait)
            )
            if cool < wait:
                wait, kind = cool, COOLER
        return wait, kind

    def _power_on_j(self) -> float:
        battery = self.profile.battery
        return 0.0 if battery is None else battery.energy_at(POWER_ON_LEVEL)
