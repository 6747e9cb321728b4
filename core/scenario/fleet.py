"""The devices of one group: what each is like, drawn from the seed and its name or number, made when it is asked for.

Quantities that differ within a group are drawn jointly (`core.availability.Traits`), so that groups of a million cost
no more than what is looked at.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable
from typing import Final

import numpy as np
import numpy.typing as npt

from core import rng
from core.actor import Actor, Message
from core.availability import CHARGING, METERED, Habits, Process, Replay, Sessions, Traits
from core.availability.quantiles import Quantiles, beta
from core.deployment import Endurance, Placement, Population, Reflex
from core.devices import BatteryEmpty, BatteryFull, Device, Overheated
from core.devices.battery import LEVELS
from core.links import Link
from core.roles import Attendance, Requirements
from core.scenario import resolve
from core.scenario.names import COORDINATOR
from core.scenario.schema import TYPICAL, Group, Scenario

#: The typical charge of a phone when somebody looks: Beta(3.2, 1.9), mean 63 %, at least 5 % (estimate; Ferreira et
#: al., "Understanding human-smartphone concerns", 2011, found a mean of 67 % and most phones plugged in at 30 to 40 %).
CHARGE_A: Final = 3.2
CHARGE_B: Final = 1.9
LEAST_CHARGE: Final = 0.05
#: Levels at which the time to an empty battery is worked out for a class; a device is given that of the level below its
#: own.
_LEVELS: Final = 256
#: What the radio's energy of small messages may add to the temperature of a case: a tenth of this for one of 15 J.
WARMTH_K: Final = 1.0


class Fleet:
    """One group; `first` is the number of its first client among all."""

    def __init__(self, scenario: Scenario, group: Group, first: int) -> None:
        self.group = group
        self.first = first
        self.profile = resolve.profile(scenario, group.device)
        self.link = resolve.link(scenario, group.link)
        self.speed_spread, self.network_spread = resolve.spreads(scenario, group)
        self._scenario = scenario
        self._seed = scenario.seed
        self.traits = Traits(resolve.correlations(group), scenario.seed, group.name)
        self._everyone = np.arange(group.count)

    @functools.cached_property
    def process(self) -> Process | None:
        """What the devices' users do; None if they leave them alone. Raises `ValueError` for what is no trace."""
        wanted, group = self.group.availability, self.group
        if wanted.kind == "always":
            return None
        if wanted.trace is not None:
            return Replay(
                resolve.user_traces(wanted.trace), group.count, self._seed, group.name, shuffled=wanted.shuffled
            )
        habits = Habits(
            sessions_per_day=wanted.sessions_per_day,
            amplitude=wanted.amplitude,
            peak_s=wanted.peak,
            session_median_s=wanted.session_median,
            session_sd_log=wanted.session_spread,
            nights=wanted.nights,
            night_chance=wanted.night_chance,
            timezone_h=wanted.timezone,
        )
        rates = self.traits.multiples("availability", wanted.spread, self._everyone)
        return Sessions(habits, group.count, self._seed, group.name, rates)

    def attendance(self, requirements: Requirements) -> Attendance | None:
        """When its workers check in; None if they are there all the time."""
        if self.group.availability.kind == "always":
            return None
        mains = CHARGING if self.profile.battery is None else 0
        return Attendance(requirements, mains | (METERED if self.link.metered else 0))

    def name(self, index: int) -> str:
        """Name of a device and its actor."""
        return f"{self.group.name}-{index}"

    def placement(self, index: int, make: Callable[[], Actor]) -> Placement:
        """One device with an actor."""
        group, name = self.group, self.name(index)
        process = self.process
        return Placement(
            name=name,
            make=make,
            profile=self.profile,
            link=self._link(index),
            region=resolve.region(self._scenario, group.region, index),
            battery_level=self._level(index),
            charging=group.charging,
            ambient_c=group.ambient,
            speed=self._speed(index),
            course=None if process is None else functools.partial(process.course, index),
            host=group.host,
        )

    def _speed(self, index: int) -> float:
        """A device's speed over that of its class: lognormal with the median 1."""
        if self.traits.speed_is_shared:
            return float(self._speeds[index])
        # Of a million few are met, and to draw them all takes seconds.
        return float(self.traits.multiples("speed", self.speed_spread, self._everyone[index : index + 1])[0])

    @functools.cached_property
    def _speeds(self) -> npt.NDArray[np.float64]:
        """Those of all devices."""
        return self.traits.multiples("speed", self.speed_spread, self._everyone)

    @functools.cached_property
    def _rates(self) -> npt.NDArray[np.float64]:
        """The rates of every device's access link over those of the class."""
        return self.traits.multiples("network", self.network_spread, self._everyone)

    def _link(self, index: int) -> Link:
        if not self.network_spread:
            return self.link
        multiple = float(self._rates[index])
        return dataclasses.replace(
            self.link,
            up_bytes_per_s=self.link.up_bytes_per_s * multiple,
            down_bytes_per_s=self.link.down_bytes_per_s * multiple,
        )

    # Charge at the start.

    def _level(self, index: int) -> float:
        if self.group.battery == TYPICAL:
            return min(max(_charge().of(rng.word(rng.member_key(self._charge_key, index), 0)), LEAST_CHARGE), 1.0)
        low, high = self.group.battery
        return float(rng.generator(self._seed, self.name(index), "battery").uniform(low, high))

    @functools.cached_property
    def _charge_key(self) -> int:
        return rng.stream_key(self._seed, self.group.name, "battery")

    def _levels(self) -> npt.NDArray[np.float64]:
        """The charge of every device, or less."""
        if self.group.battery == TYPICAL:
            drawn = _charge().of_all(rng.words(rng.member_keys(self._charge_key, self._everyone), 0))
            return np.clip(drawn, LEAST_CHARGE, 1.0)
        low, high = self.group.battery
        if low == high or low >= LEAST_CHARGE:
            return np.full(self.group.count, low)
        # To draw each costs 20 µs, to wake a device fifty times that: as if all were empty, all would be.
        return np.fromiter(map(self._level, range(self.group.count)), np.float64, self.group.count)

    def _endurance(self) -> Endurance | None:
        """How long each battery lasts at the least."""
        profile = self.profile
        if profile.battery is None:
            return None
        kind = self._radio_kind

        def in_use_s(level: float) -> float:
            return Device(profile, link_kind=kind, battery_level=level, ambient_c=self.group.ambient).empty_s(0.0)

        waits = np.array([in_use_s(step / _LEVELS) for step in range(_LEVELS + 1)])
        radio = profile.radios[kind]
        # The cells lose at most twice what a lump has at the terminals.
        message_j = 2.0 * (radio.promotion_j + radio.tail_w * radio.tail_s)
        return Endurance(
            in_use_s=waits[np.floor(self._levels() * _LEVELS).astype(np.int64)],
            idle_share=profile.idle_w / profile.used_w if profile.used_w else 1.0,
            message_s=message_j / profile.used_w if profile.used_w else 0.0,
        )

    # Heat.

    @functools.cached_property
    def overheats(self) -> bool:
        """Whether a device may turn off of heat while it runs no job.

        It is warmest where it has been used until it was empty, and is used on while it charges, or is left alone
        where its charger is too weak for both.
        """
        if self.profile.off_c == math.inf:
            return False
        ambient_c = self.group.ambient + WARMTH_K

        def device(level: float, begin_c: float, **user: bool) -> Device:
            return Device(self.profile, link_kind=self._radio_kind, battery_level=level, ambient_c=begin_c, **user)

        used_c = max(device(level, ambient_c, in_use=True).steady_case_c for level in LEVELS)
        for in_use in (False, True):
            charging = device(0.0, used_c, charging=True, in_use=in_use)
            charging.ambient_c = ambient_c
            while (at_s := charging.next_timer()) < math.inf:
                effects = charging.on_timer(at_s)
                if any(isinstance(effect, Overheated) for effect in effects):
                    return True
                if any(isinstance(effect, BatteryEmpty | BatteryFull) for effect in effects):
                    break
        return False

    @property
    def _radio_kind(self) -> str:
        return self.link.radio if self.link.radio in self.profile.radios else self.link.kind

    # A population.

    def population(
        self,
        make: Callable[[int], Callable[[], Actor]],
        attendance: Attendance | None,
        sizes: Callable[[], npt.NDArray[np.int64]],
    ) -> Population:
        """All of its devices, made when met. `make(index)` gives the maker of an actor, `sizes()` all examples."""
        group = self.group
        reflex = None
        if attendance is not None:
            examples = sizes()

            def message(index: int, answer: int) -> Message:
                return attendance.message(answer, int(examples[index]))

            reflex = Reflex(COORDINATOR, attendance.answer, message, attendance.kinds, examples)
        return Population(
            name=group.name,
            count=group.count,
            place=lambda index: self.placement(index, make(index)),
            regions=(group.region,),
            start_s=(lambda index: 0.0) if reflex is None else (lambda index: math.inf),
            link=self.link,
            process=self.process,
            reflex=reflex,
            link_multiples=self._rates if self.network_spread else None,
            endurance=None if reflex is None else self._endurance(),
        )


def _charge() -> Quantiles:
    return beta(CHARGE_A, CHARGE_B)
