"""When the next thing happens to a device by itself, if all stays as it is."""

from __future__ import annotations

import math
from typing import Final

from core.devices.battery import Battery
from core.devices.heat import Heat
from core.devices.passage import Passage
from core.devices.powers import Powers

#: Charge at which an empty device on a charger comes back, and below which a device does not start (estimate).
POWER_ON_LEVEL: Final = 0.02
#: The battery's resistance is that of a temperature at most this far from the case's, K.
BAND_K: Final = 6.0
#: The heat of the battery's resistance is taken anew when this share of the charge has gone, or has come at constant
#: voltage, if it is at least this, W.
REFRESH_SHARE: Final = 0.1
REFRESH_W: Final = 0.02

# Kinds of timer; of several at one time the first comes first.
JOB, HOTTER, COOLER, POWER_ON, FULL, EMPTY, VOLTAGE, REFRESH, NONE = range(9)


class Foresight(Passage):
    """Times of a device's own events; `Device` adds jobs, and makes the events happen."""

    __slots__ = ()

    def _battery_wait_s(self, battery: Battery, powers: Powers, end_s: float) -> tuple[float, int]:
        """Time until the battery is full, is empty, or lets the device come on; `end_s` is its `Flow`'s."""
        charge, fade = powers.charge, self._fade
        if charge is None:
            if not self.on or (self.charging and powers.load_w == battery.charge_w):
                return math.inf, NONE
            return end_s * fade, EMPTY
        held_j = self._stored_j / fade
        if not self.on and not (self._held_off or self._hot):
            return charge.seconds(held_j, self._start_j(battery)) * fade, POWER_ON
        return (end_s * fade, FULL) if held_j < charge.full_j else (math.inf, NONE)

    def _refresh_wait_s(self, battery: Battery, voltage_s: float, cells_w: float, loss_w: float) -> tuple[float, int]:
        """Time until the heat of the battery's resistance is to be worked out anew, from its `Flow`.

        While charging at constant current it hardly changes; then comes constant voltage, where it falls.
        """
        if voltage_s > 0.0:
            return voltage_s * self._fade, VOLTAGE
        # The time in which that share goes through the battery at this power, if its heat counts.
        return (REFRESH_SHARE * battery.energy_j / cells_w, REFRESH) if loss_w >= REFRESH_W else (math.inf, NONE)

    def _bounds_c(self) -> tuple[float, float]:
        """Case temperatures at which something changes: above and below the present one."""
        if self._band_c is not None:
            return self._band_c
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
        self._band_c = lower, upper
        return lower, upper

    def _heat_wait_s(self, heat: Heat, soc_w: float, case_w: float, horizon_s: float) -> tuple[float, int]:
        """Time until the case temperature leaves the present band; inf if not within `horizon_s`."""
        case_c = self._case_c
        lower, upper = self._bounds_c()
        if case_c >= upper:
            return 0.0, HOTTER
        if case_c <= lower:
            return 0.0, COOLER
        wait, rises = heat.leaves_s(self._soc_c, case_c, soc_w, case_w, self.ambient_c, lower, upper, horizon_s)
        return wait, NONE if wait == math.inf else HOTTER if rises else COOLER

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
