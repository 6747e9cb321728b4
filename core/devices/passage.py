"""A device as time passes: closed forms of the time since the last event.

Only a rebase, at an event, changes the state; readings evaluate it.
"""

from __future__ import annotations

import copy
import math
from typing import Final, Self

from core.devices import ageing
from core.devices.battery import Charge
from core.devices.body import Body
from core.devices.effects import Reading
from core.devices.powers import Powers

#: While bytes move, the device is settled before the radio's tail has taken this share of the battery (without one: J).
TAIL_SHARE: Final = 1e-4
TAIL_J: Final = 10.0


class Passage(Body):
    """A body that warms, drains and charges with time, and keeps account of it."""

    __slots__ = ()

    def reading(self, now: float) -> Reading:
        """State at `now`; changes nothing."""
        profile = self.profile
        battery, heat = profile.battery, profile.heat
        end = self._as_of(now)
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
        end = self._as_of(now)
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

    # The passing of time.

    def _as_of(self, now: float) -> Self:
        """Itself if it is rebased to `now`, or else a copy that is."""
        if now == self._at_s and not (self.sent_bytes or self.received_bytes):
            return self
        end = copy.copy(self)
        end._rebase(now)
        return end

    def _rebase(self, now: float) -> bool:
        """Move the state to `now`, with the powers that held and the bytes counted since the last rebase.

        Whether a lump of the radio's has set a battery back that was charging.
        """
        seconds = now - self._at_s
        if seconds < 0.0:
            raise ValueError(f"now is {now!r}, before the device's last event at {self._at_s!r}")
        if seconds == 0.0 and not (self.sent_bytes or self.received_bytes):
            return False
        powers = self._powers()
        radio_j = self._radio_j(now)
        if self.profile.heat is not None:
            self._warm(seconds, powers, radio_j)
        elif self.profile.battery is not None:
            self._age(seconds, self.ambient_c)
        self._idle_j += powers.idle_w * seconds
        self._screen_j += powers.screen_w * seconds
        self._processor_j += powers.processor_w * seconds
        self._at_s = now
        self._held_outlook = None
        if self.charging:
            return self._plugged(seconds, powers, radio_j)
        self._battery_j += powers.load_w * seconds + radio_j
        self._drain(seconds, powers, radio_j)
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

    def _warm(self, seconds: float, powers: Powers, radio_j: float) -> None:
        heat = self.profile.heat
        if heat is None:
            return
        if seconds > 0.0:
            processor_w, case_w = powers.processor_w, self._outlook(powers)[4]
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

    def _plugged(self, seconds: float, powers: Powers, radio_j: float) -> bool:
        """On external power the load comes first; a charger that it leaves nothing has the battery give the rest.

        So it is with the radio's lump: what the charger had to spare meanwhile, or once the battery is full, is its
        part, and the rest is the battery's: whether there was one while it charged.
        """
        battery, charge, load_w = self.profile.battery, powers.charge, powers.load_w
        if battery is None:
            self._mains_j += load_w * seconds + radio_j
            return False
        over_w = load_w - battery.charge_w
        if charge is None:
            self._mains_j += battery.charge_w * seconds
            self._battery_j += over_w * seconds + radio_j
            self._drain(seconds, powers, radio_j)
            return False
        self._mains_j += load_w * seconds
        taken_j = self._charge(charge, seconds)
        if not radio_j:
            return False
        spare_j = max(-over_w * seconds - taken_j / battery.charge_efficiency, 0.0)
        if spare_j >= radio_j or self._stored_j / self._fade >= charge.full_j:
            self._mains_j += radio_j
            return False
        self._mains_j += spare_j
        self._battery_j += radio_j - spare_j
        self._give(radio_j - spare_j, 0.0)
        return True

    def _charge(self, charge: Charge, seconds: float) -> float:
        """Charge with the power that there is at the terminals; the energy that they have taken, J."""
        fade = self._fade
        held_j, lost_j = charge.after(self._stored_j / fade, seconds / fade)
        gained_j, lost_j = held_j * fade - self._stored_j, lost_j * fade
        if gained_j <= 0.0:
            return 0.0
        self._stored_j += gained_j
        self._taken_j += gained_j + lost_j
        self._loss_j += lost_j
        return gained_j + lost_j

    def _drain(self, seconds: float, powers: Powers, lump_j: float) -> None:
        """The battery feeds what it has to of the load, and the radio's lump."""
        discharge = powers.discharge
        if discharge is None:
            return
        if seconds > 0.0:
            fade = self._fade
            left_j, lost_j = discharge.after(self._stored_j / fade, seconds / fade)
            self._stored_j = left_j * fade
            self._loss_j += lost_j * fade
        if lump_j:
            self._give(lump_j, discharge.power_w)

    def _give(self, lump_j: float, load_w: float) -> None:
        """The battery gives a lump of energy beside a load."""
        battery = self.profile.battery
        if battery is not None:
            taken_j = battery.lump(self._stored_j / self._fade, lump_j, load_w, self._factor)
            self._stored_j -= taken_j
            self._loss_j += taken_j - lump_j
