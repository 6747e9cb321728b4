"""When the next thing happens to a device by itself, if all stays as it is."""

from __future__ import annotations

import math
from typing import Final

from core.devices.battery import Battery
from core.devices.passage import Passage

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

    def _refresh_wait_s(self) -> tuple[float, int]:
        """Time until the heat of the battery's resistance is to be worked out anew.

        While charging at constant current it hardly changes; then comes constant voltage, where it falls.
        """
        battery, fade = self.profile.battery, self._fade
        if battery is None or self.profile.heat is None:
            return math.inf, NONE
        held_j = self._stored_j / fade
        load_w = sum(self._powers())
        if self.charging:
            if load_w < battery.charge_w:
                limit_w = battery.spare_w(load_w)
                target_j = battery.constant_voltage_j(limit_w, self._factor)
                wait_s = battery.charge_s(held_j, target_j, limit_w, self._factor) * fade
                if wait_s > 0.0:
                    return wait_s, VOLTAGE
                through_w, loss_w = battery.charge_powers(held_j, limit_w, self._factor)
                return self._share_s(battery, through_w, loss_w)
            load_w -= battery.charge_w
        through_w = battery.drain_w(held_j, load_w, self._factor)
        return self._share_s(battery, through_w, through_w - load_w)

    def _share_s(self, battery: Battery, through_w: float, loss_w: float) -> tuple[float, int]:
        """Time in which `REFRESH_SHARE` goes through the battery at this power, if its heat counts."""
        return (REFRESH_SHARE * battery.energy_j / through_w, REFRESH) if loss_w >= REFRESH_W else (math.inf, NONE)

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
