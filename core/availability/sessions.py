"""Sessions: a semi-Markov process of the days of phones, over idle, charging and unmetered.

A phone waits at home or away until it is docked: idle, on its charger and on free Wi-Fi. Waits end by a Poisson process
whose intensity follows the time of day, `l0 (1 + a cos(2 pi (t - t_peak) / 24 h))`, drawn by thinning (Lewis and
Shedler 1979), or with the night of a user who charges at night. Docked sessions are lognormal; at their end the phone
is taken up for use, or taken off the charger. A night that begins while it is docked keeps it docked until the night
ends.

Sources of the defaults: half of the slots of the FedScale and FLASH traces last up to 5 min and 70 % up to 10 min
(REFL, EuroSys 2023; literature), which is the lognormal with sd(ln) 1.32 (derived). Nights, and what follows a session,
are estimates. Given those nights, 20 sessions a day without a swing of their own (derived) make the fourfold swing
over a day that Bonawitz et al. (MLSys 2019) report for a population of one country, over time zones from -8 to -5 h.
They also report that 6 to 10 % of devices are lost in a round; here 7 to 8 % of the available ones are gone after
2 min, and 15 % after 5 min: slots as short as REFL's, of which half end within that time, lose that many.

Each device begins at its last noon before the study, so that its first night and its mix of states have come about.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from typing import Final

import numpy as np
import numpy.typing as npt

from core import rng
from core.availability.process import Counters, Floats, Numbers, Process, States
from core.availability.quantiles import exponential, lognormal, normal
from core.availability.states import AWAY, CHARGING, DOCKED, HOME, IN_USE

DAY_S: Final = 86_400.0
NOON_S: Final = 43_200.0
#: Points a day at which the intensity is tabulated; it is linear in between, which is exact to 3e-6.
_POINTS: Final = 1440
#: Beginnings and lengths of nights stay within so many standard deviations, so that nights never meet.
_CLIP: Final = 3.0


@dataclasses.dataclass(frozen=True)
class Habits:
    """How the users of a group treat their phones; times in seconds, shares from 0 to 1."""

    #: Docked sessions that would begin in a day if the phone always waited for one (derived: see above).
    sessions_per_day: float = 20.0
    amplitude: float = 0.0
    #: Time of day of most sessions.
    peak_s: float = 7200.0
    session_median_s: float = 300.0
    session_sd_log: float = 1.32
    #: Share of users who charge at night, and the chance of each of their nights.
    nights: float = 0.6
    night_chance: float = 0.8
    bedtime_s: float = 84_600.0
    bedtime_sd_s: float = 4320.0
    night_s: float = 23_400.0
    night_sd_s: float = 5400.0
    #: Share of sessions that end because the user takes the phone up, and how long the use lasts.
    use_chance: float = 0.5
    use_median_s: float = 60.0
    use_sd_log: float = 1.2
    #: Share of waits that are away from free Wi-Fi.
    away: float = 0.3
    #: Hours that local time is ahead of the study's, which begins at midnight UTC: an even spread between the two.
    timezone_h: tuple[float, float] = (0.0, 0.0)

    def __post_init__(self) -> None:
        for name in ("amplitude", "nights", "night_chance", "use_chance", "away"):
            self._require(name, 0.0 <= getattr(self, name) <= 1.0, "a share from 0 to 1")
        for name in ("session_median_s", "use_median_s", "night_s"):
            self._require(name, getattr(self, name) > 0.0, "more than 0")
        for name in ("sessions_per_day", "session_sd_log", "use_sd_log", "bedtime_sd_s", "night_sd_s"):
            self._require(name, getattr(self, name) >= 0.0, "at least 0")
        self._require("sessions_per_day", self.sessions_per_day <= DAY_S, f"at most {DAY_S:g}")
        self._require("session_sd_log", self.session_sd_log <= 4.0, "at most 4")
        self._require("use_sd_log", self.use_sd_log <= 4.0, "at most 4")
        self._require("peak_s", 0.0 <= self.peak_s <= DAY_S, f"a time of day from 0 to {DAY_S:g} s")
        low, high = self.timezone_h
        self._require("timezone_h", -12.0 <= low <= high <= 14.0, "two numbers from -12 to 14 in order")
        spread_s = _CLIP * self.bedtime_sd_s
        shortest_s, longest_s = (self.night_s + sign * _CLIP * self.night_sd_s for sign in (-1, 1))
        self._require("night_sd_s", shortest_s > 0.0, "less than a third of night_s")
        fits = self.bedtime_s - spread_s >= NOON_S and self.bedtime_s + spread_s + longest_s < self.bedtime_s + DAY_S
        self._require("bedtime_s", fits, "nights that begin after noon and end before the next one may begin")

    def _require(self, name: str, holds: bool, accepted: str) -> None:
        if not holds:
            raise ValueError(f"{name} is {getattr(self, name)!r}; {accepted} is needed")


class Sessions(Process):
    """The sessions of one group. `rates` multiply the devices' numbers of sessions (all 1 if not given)."""

    def __init__(self, habits: Habits, count: int, seed: int, group: str, rates: npt.ArrayLike | None = None) -> None:
        self.habits = habits
        self.count = count
        key = rng.stream_key(seed, group, "availability")
        self._keys = rng.member_keys(key, np.arange(count))
        self._night_keys = rng.mixed(self._keys ^ np.uint64(rng.stream_key(seed, group, "nights")))
        traits = rng.mixed(self._keys ^ np.uint64(rng.stream_key(seed, group, "habits")))
        low, high = habits.timezone_h
        #: Seconds that local time is ahead, in whole quarters of an hour as time zones are.
        hours = low + (high - low) * rng.units(rng.words(traits, 0))
        self._ahead_s = np.rint(hours * 4.0) * 900.0
        self._nights = (rng.units(rng.words(traits, 1)) < habits.nights) & (habits.night_chance > 0.0)
        multiples = np.ones(count) if rates is None else np.asarray(rates, np.float64)
        #: Mean wait at the highest intensity of the day; infinite without sessions.
        highest = habits.sessions_per_day / DAY_S * (1.0 + habits.amplitude) * multiples
        self._wait_s = np.divide(1.0, highest, out=np.full(count, math.inf), where=highest > 0.0)
        self._session = lognormal(habits.session_median_s, habits.session_sd_log)
        self._use = lognormal(habits.use_median_s, habits.use_sd_log)
        self._exponential = exponential()
        self._normal = normal()
        angle = 2.0 * math.pi / _POINTS
        peak = habits.peak_s / DAY_S * _POINTS
        profile = [
            (1.0 + habits.amplitude * math.cos(angle * (point - peak))) / (1.0 + habits.amplitude)
            for point in range(_POINTS + 2)
        ]
        self._profile = profile
        self._slopes = [after - before for before, after in itertools.pairwise(profile)]
        self._profile_array, self._slope_array = np.array(profile), np.array(self._slopes)
        #: From a day's noon to the earliest beginning of its night.
        self._earliest_s = habits.bedtime_s - _CLIP * habits.bedtime_sd_s
        self._staying = habits.use_chance + (1.0 - habits.use_chance) * habits.away

    # One device.

    def first(self, index: int) -> tuple[float, int, int]:
        ahead_s = float(self._ahead_s[index])
        return math.floor((ahead_s - NOON_S) / DAY_S) * DAY_S + (NOON_S - ahead_s), HOME, 0

    def next(self, index: int, at_s: float, state: int, counter: int) -> tuple[float, int, int]:
        key = int(self._keys[index])
        habits = self.habits
        if state == DOCKED:
            end_s = at_s + self._session.of(rng.word(key, counter))
            chance = rng.unit(rng.word(key, counter + 1))
            if self._nights[index]:
                start_s, stop_s = self._night(index, self._day(index, at_s))
                if start_s <= end_s and stop_s > end_s:
                    end_s = stop_s
            after = IN_USE if chance < habits.use_chance else AWAY if chance < self._staying else HOME
            return end_s, after, counter + 2
        if state == IN_USE:
            end_s = at_s + self._use.of(rng.word(key, counter))
            chance = rng.unit(rng.word(key, counter + 1))
            return end_s, AWAY if chance < habits.away else HOME, counter + 2
        end_s = at_s
        wait_s, ahead_s = float(self._wait_s[index]), float(self._ahead_s[index])
        if wait_s < math.inf:
            while True:
                end_s = end_s + self._exponential.of(rng.word(key, counter)) * wait_s
                chance = rng.unit(rng.word(key, counter + 1))
                counter += 2
                local = (end_s + ahead_s) / DAY_S
                place = (local - math.floor(local)) * _POINTS
                point = int(place)
                if chance < self._profile[point] + self._slopes[point] * (place - point):
                    break
        else:
            end_s = math.inf
        if self._nights[index]:
            day = self._day(index, at_s)
            while day * DAY_S + (self._earliest_s - ahead_s) < end_s:
                start_s, _ = self._night(index, day)
                if start_s > at_s and start_s < math.inf:
                    end_s = min(end_s, start_s)
                    break
                day += 1
        return end_s, DOCKED, counter

    def _day(self, index: int, at_s: float) -> int:
        """The day, from noon to noon, of a time; its night begins in it."""
        return math.floor((at_s + (float(self._ahead_s[index]) - NOON_S)) / DAY_S)

    def _night(self, index: int, day: int) -> tuple[float, float]:
        """Beginning and end of the night of a day; infinite if there is none."""
        habits, key = self.habits, int(self._night_keys[index])
        counter = 3 * (day + 2)
        if rng.unit(rng.word(key, counter)) >= habits.night_chance:
            return math.inf, math.inf
        begins = min(max(self._normal.of(rng.word(key, counter + 1)), -_CLIP), _CLIP)
        lasts = min(max(self._normal.of(rng.word(key, counter + 2)), -_CLIP), _CLIP)
        start_s = day * DAY_S + (habits.bedtime_s - float(self._ahead_s[index])) + habits.bedtime_sd_s * begins
        return start_s, start_s + (habits.night_s + habits.night_sd_s * lasts)

    # Many devices.

    def firsts(self, indices: Numbers) -> tuple[Floats, States, Counters]:
        ahead_s = self._ahead_s[indices]
        at_s = np.floor((ahead_s - NOON_S) / DAY_S) * DAY_S + (NOON_S - ahead_s)
        return at_s, np.full(len(indices), HOME, np.uint8), np.zeros(len(indices), np.uint32)

    def nexts(
        self, indices: Numbers, at_s: Floats, states: States, counters: Counters
    ) -> tuple[Floats, States, Counters]:
        end_s = np.empty(len(indices))
        after = np.empty(len(indices), np.uint8)
        counters = counters.copy()
        for who, live in (
            (np.flatnonzero(states == DOCKED), self._docked),
            (np.flatnonzero(states == IN_USE), self._used),
            (np.flatnonzero((states & (CHARGING | IN_USE)) == 0), self._waiting),
        ):
            if who.size:
                end_s[who], after[who], counters[who] = live(indices[who], at_s[who], counters[who])
        return end_s, after, counters

    def _docked(self, indices: Numbers, at_s: Floats, counters: Counters) -> tuple[Floats, States, Counters]:
        habits, keys = self.habits, self._keys[indices]
        end_s = at_s + self._session.of_all(rng.words(keys, counters))
        chance = rng.units(rng.words(keys, counters + np.uint32(1)))
        owls = np.flatnonzero(self._nights[indices])
        if owls.size:
            start_s, stop_s = self._some_nights(indices[owls], self._days(indices[owls], at_s[owls]))
            ends = end_s[owls]
            end_s[owls] = np.where((start_s <= ends) & (stop_s > ends), stop_s, ends)
        after = np.where(chance < habits.use_chance, IN_USE, np.where(chance < self._staying, AWAY, HOME))
        return end_s, after.astype(np.uint8), counters + np.uint32(2)

    def _used(self, indices: Numbers, at_s: Floats, counters: Counters) -> tuple[Floats, States, Counters]:
        keys = self._keys[indices]
        end_s = at_s + self._use.of_all(rng.words(keys, counters))
        chance = rng.units(rng.words(keys, counters + np.uint32(1)))
        return end_s, np.where(chance < self.habits.away, AWAY, HOME).astype(np.uint8), counters + np.uint32(2)

    def _waiting(self, indices: Numbers, at_s: Floats, counters: Counters) -> tuple[Floats, States, Counters]:
        keys, wait_s, ahead_s = self._keys[indices], self._wait_s[indices], self._ahead_s[indices]
        end_s = np.where(wait_s < math.inf, at_s, math.inf)
        left = np.flatnonzero(wait_s < math.inf)
        while left.size:
            counter = counters[left]
            candidates = end_s[left] + self._exponential.of_all(rng.words(keys[left], counter)) * wait_s[left]
            chance = rng.units(rng.words(keys[left], counter + np.uint32(1)))
            counters[left] = counter + np.uint32(2)
            local = (candidates + ahead_s[left]) / DAY_S
            place = (local - np.floor(local)) * _POINTS
            point = place.astype(np.int64)
            accepted = chance < self._profile_array[point] + self._slope_array[point] * (place - point)
            end_s[left] = candidates
            left = left[~accepted]
        owls = np.flatnonzero(self._nights[indices])
        if owls.size:
            day = self._days(indices[owls], at_s[owls])
            while True:
                near = day * DAY_S + (self._earliest_s - ahead_s[owls]) < end_s[owls]
                owls, day = owls[near], day[near]
                if not owls.size:
                    break
                start_s, _ = self._some_nights(indices[owls], day)
                found = (start_s > at_s[owls]) & (start_s < math.inf)
                end_s[owls[found]] = np.minimum(end_s[owls[found]], start_s[found])
                owls, day = owls[~found], day[~found] + 1
        return end_s, np.full(len(indices), DOCKED, np.uint8), counters

    def _days(self, indices: Numbers, at_s: Floats) -> Numbers:
        return np.floor((at_s + (self._ahead_s[indices] - NOON_S)) / DAY_S).astype(np.int64)

    def _some_nights(self, indices: Numbers, days: Numbers) -> tuple[Floats, Floats]:
        habits, keys = self.habits, self._night_keys[indices]
        counter = 3 * (days + 2)
        begins = np.clip(self._normal.of_all(rng.words(keys, counter + 1)), -_CLIP, _CLIP)
        lasts = np.clip(self._normal.of_all(rng.words(keys, counter + 2)), -_CLIP, _CLIP)
        start_s = days * DAY_S + (habits.bedtime_s - self._ahead_s[indices]) + habits.bedtime_sd_s * begins
        stop_s = start_s + (habits.night_s + habits.night_sd_s * lasts)
        none = rng.units(rng.words(keys, counter)) >= habits.night_chance
        start_s[none] = math.inf
        stop_s[none] = math.inf
        return start_s, stop_s
