"""What a device is at one time: its state, and the powers that follow from it.

Powers are constant between events. Radio bytes and the radio's tail are counted by plain attributes and become energy,
for the battery and the case, when the device is rebased (`passage.py`), as one lump.

Two things change slowly within what is otherwise constant, and are held until an event: the temperature at which the
battery's resistance is taken (until the case has moved by `BAND_K`), and the heat of that resistance in the case (until
the charge has fallen by `REFRESH_SHARE`, or risen by it at constant voltage, or charging has come to that);
`foresight.py` says when that is.
"""

from __future__ import annotations

import math
import sys

from core.devices import ageing
from core.devices.classes import DeviceProfile
from core.devices.powers import Powers
from core.devices.radio import Radio


class Body:
    """Battery, heat, radio and the energy account of one device at its last event."""

    __slots__ = (
        "_at_s",
        "_band_c",
        "_battery_j",
        "_busy",
        "_case_c",
        "_factor",
        "_fade",
        "_held_off",
        "_held_outlook",
        "_held_powers",
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
        "_timer_kind",
        "_timer_s",
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
        user: tuple[bool, bool],
        ambient_c: float,
        speed: float,
        rates_bytes_per_s: tuple[float, float],
        battery_loss: float,
    ) -> None:
        if not speed > 0.0:
            raise ValueError(f"speed is {speed!r}; more than 0 is needed")
        self.profile = profile
        self._forget()
        self._use_radio(link_kind, rates_bytes_per_s)
        #: Whether on external power; always true without a battery.
        self.charging, in_use = user
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
        #: Case temperatures at which something changes, once worked out; see `foresight.py`.
        self._band_c: tuple[float, float] | None = None
        #: Step of the governor, severity, and what they leave: share of the full speed, and power, W.
        self._level = self._severity = 0
        self._limit = profile.severity_limits[0]
        #: Whether a job is running, and whether its user keeps the screen on.
        self._busy, self._screen = False, in_use
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

    def _forget(self) -> None:
        """Something that the powers depend on has changed: what was worked out from them no longer holds."""
        #: What is worked out when it is asked for, None as long as it is not: the record of the powers, what holds from
        #: the last event on, and the kind of the next timer, with its time.
        self._held_powers: Powers | None = None
        self._held_outlook: tuple[float, float, float, float, float] | None = None
        self._timer_kind: int | None = None
        self._timer_s = math.inf

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

    def _pace(self) -> float:
        """Share of the full speed that throttling and faults leave."""
        return self._limit[0] * self.slowdown

    def _factor_at(self, celsius: float) -> float:
        """The factor of the battery's resistance at a temperature and its present age."""
        battery = self.profile.battery
        growth = ageing.resistance_growth(1.0 - self._fade) if self._fade < 1.0 else 1.0
        return battery.resistance_factor(celsius) * growth if battery is not None and battery.resistance_b_k else growth

    def _set_factor(self) -> None:
        """Work out the factor of the battery's resistance from its temperature and age."""
        if self.profile.battery is not None:
            self._factor = self._factor_at(self._ohm_c)
            self._forget()

    def _lift(self, held_j: float) -> None:
        """The battery holds at least what a full-capacity one would hold with `held_j`, also when that is read back."""
        self._stored_j = max(self._stored_j, held_j * self._fade)
        while self._stored_j / self._fade < held_j:
            self._stored_j = math.nextafter(self._stored_j, math.inf)
        self._held_outlook = None

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
        self._forget()

    @property
    def steady_case_c(self) -> float:
        """Temperature that its case would come to if its powers stayed as they are, °C; without heat, ambient."""
        heat = self.profile.heat
        if heat is None:
            return self.ambient_c
        powers = self._powers()
        return heat.steady(powers.processor_w, self._outlook(powers)[4], self.ambient_c)[1]

    # Powers, W.

    def _powers(self) -> Powers:
        """The powers since the last event."""
        powers = self._held_powers
        if powers is None:
            processor_w = self._limit[1] if self._busy else 0.0
            powers = self.profile.powers(self.on, self._screen, processor_w, self.charging, self._factor)
            self._held_powers = powers
        return powers

    def _outlook(self, powers: Powers) -> tuple[float, float, float, float, float]:
        """What holds from the last event on: the battery's `Flow`, and the power that warms the case directly, W.

        That is all but the processor's, the loss in the battery, and a part of the charger's.
        """
        held = self._held_outlook
        if held is None:
            profile, charge, discharge = self.profile, powers.charge, powers.discharge
            case_w = powers.other_w
            if profile.battery is not None and charge is not None:
                end_s, voltage_s, cells_w, loss_w = charge.at(self._stored_j / self._fade)
                charger_w = (cells_w + loss_w) * (1.0 / profile.battery.charge_efficiency - 1.0)
                held = end_s, voltage_s, cells_w, loss_w, case_w + loss_w + profile.charge_heat_share * charger_w
            elif discharge is not None:
                end_s, voltage_s, cells_w, loss_w = discharge.at(self._stored_j / self._fade)
                held = end_s, voltage_s, cells_w, loss_w, case_w + loss_w
            else:
                held = math.inf, 0.0, 0.0, 0.0, case_w
            self._held_outlook = held
        return held
