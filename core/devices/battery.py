"""A battery whose voltage and inner resistance depend on its charge, in closed form at constant power.

The equivalent circuit `V = OCV(s) - I R(s, T)` (Plett, Battery Management Systems I, 2015, section 2.3) with
`R(s, T) = R25(s) exp(B (1/T - 1/298.15))`. The level s is cut into cells of constant OCV and R, so that within a cell
the current at constant power, `I = (OCV - sqrt(OCV^2 - 4 R P)) / (2 R)`, is constant and the energy falls linearly:
prefix sums over the cells give the time between any two states and, by bisection, the state after any time. Discharge
ends where the terminal voltage is below the cut-off, or the cell cannot deliver the power at all (brown-out).

Charging is at constant current (or power, where that is less) until the terminal reaches its limit, then at constant
voltage, where the current is `(limit - OCV) / R` and falls to that at which the battery counts as full. Cells are cut
where one ends and the other begins. At constant voltage OCV and R are linear in a cell, and so nearly is the current:
a cell takes the time `Q ds / (logarithmic mean of the currents at its ends)`, and the mean power holds within it.

Deviations: no time constants of diffusion (the resistance is the one after some minutes of load), no self-discharge, no
hysteresis. Ageing: see `ageing.py`.
"""

from __future__ import annotations

import bisect
import dataclasses
import itertools
import math
from typing import Final, TypeAlias

#: Boundaries of the cells of constant voltage: fine near empty, where the voltage falls steeply.
LEVELS: Final = (*(n / 400.0 for n in range(20)), *(n / 160.0 for n in range(8, 161)))
_CELLS: Final = len(LEVELS) - 1
#: Temperature at which the resistances are given, K.
REFERENCE_K: Final = 298.15
ZERO_C_K: Final = 273.15
#: Curves kept; a class of devices has a few powers, and a few temperatures at which resistance is worked out.
_MOST_CURVES: Final = 512

#: What happens to a battery from some energy on: the seconds until it is full, or cannot feed the load (0 if it cannot
#: now), those until its voltage is at the charger's limit for good (0 if it does not charge); the power that the cells
#: store or give, and that lost to resistance, W. What is lost is not in what they store, but in what they give.
Flow: TypeAlias = tuple[float, float, float, float]


@dataclasses.dataclass(frozen=True, slots=True)
class Discharge:
    """Discharge at one power, by cell: energy taken out of the cells, W (inf: cannot), and the time to each boundary.

    `energy_j` is the energy at the boundaries. `passed_s[i]` is the time from level 0 to the lower boundary of cell i;
    `stop_s[i]` is the same clock at the upper boundary of the first cell, from i down, that cannot be used. At no power
    there are no times.
    """

    power_w: float
    #: Whether times are energies over powers.
    ideal: bool
    energy_j: tuple[float, ...]
    drain_w: tuple[float, ...]
    passed_s: tuple[float, ...]
    stop_s: tuple[float, ...]

    def at(self, energy_j: float) -> Flow:
        """What happens from `energy_j` on; the cells give the load itself where they cannot feed it."""
        power_w = self.power_w
        if energy_j <= 0.0:
            return 0.0, 0.0, power_w, 0.0
        if power_w <= 0.0:
            return math.inf, 0.0, power_w, 0.0
        bounds = self.energy_j
        cell = bisect.bisect_left(bounds, energy_j, 1, _CELLS) - 1
        watts = self.drain_w[cell]
        if self.ideal:
            return energy_j / power_w, 0.0, watts, watts - power_w
        if watts == math.inf:
            return 0.0, 0.0, power_w, 0.0
        seconds = self.passed_s[cell] + (energy_j - bounds[cell]) / watts - self.stop_s[cell]
        return seconds if seconds > 0.0 else 0.0, 0.0, watts, watts - power_w

    def after(self, energy_j: float, seconds: float) -> tuple[float, float]:
        """Energy left after `seconds`, and the joules lost to resistance meanwhile.

        From where the battery cannot feed the load, and below 0, it is drained without loss.
        """
        given_j = self.power_w * seconds
        if given_j <= 0.0:
            return energy_j, 0.0
        if energy_j <= 0.0 or self.ideal:
            return energy_j - given_j, 0.0
        bounds, passed_s = self.energy_j, self.passed_s
        cell = bisect.bisect_left(bounds, energy_j, 1, _CELLS) - 1
        watts = self.drain_w[cell]
        if watts == math.inf:
            return energy_j - given_j, 0.0
        left_j = energy_j - watts * seconds
        if left_j >= bounds[cell]:
            return left_j, (watts - self.power_w) * seconds
        clock_s = passed_s[cell] + (energy_j - bounds[cell]) / watts - seconds
        stop_s = self.stop_s[cell]
        if clock_s <= stop_s:
            # It ran out on the way; `stop_s` is the clock at the lowest boundary that the load can reach.
            bottom = bisect.bisect_right(passed_s, stop_s) - 1
            beyond_j = self.power_w * (stop_s - clock_s)
            lost_j = energy_j - bounds[bottom] - (given_j - beyond_j)
            return bounds[bottom] - beyond_j, max(lost_j, 0.0)
        cell = bisect.bisect_left(passed_s, clock_s) - 1
        left_j = bounds[cell] + (clock_s - passed_s[cell]) * self.drain_w[cell]
        return left_j, max(energy_j - left_j - given_j, 0.0)


@dataclasses.dataclass(frozen=True, slots=True)
class Charge:
    """Charging with one power, by the cells that it goes through, cut where constant current ends or begins, and full.

    `energy_j` and `passed_s` are the energy at the boundaries and the time from empty to them; between two boundaries
    `stored_w` is stored and `loss_w` lost to resistance. From `voltage_j` on the voltage is at its limit for good; at
    `full_j` charging ends. A battery that cannot be charged at all, even when empty, has one boundary, at -inf.
    """

    limit_w: float
    #: Whether times are energies over powers.
    ideal: bool
    energy_j: tuple[float, ...]
    passed_s: tuple[float, ...]
    stored_w: tuple[float, ...]
    loss_w: tuple[float, ...]
    voltage_j: float
    full_j: float = dataclasses.field(init=False)
    # The time from empty to `voltage_j` and to `full_j`.
    _voltage_s: float = dataclasses.field(init=False)
    _full_s: float = dataclasses.field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "full_j", self.energy_j[-1])
        for name, energy_j in (("_voltage_s", self.voltage_j), ("_full_s", self.energy_j[-1])):
            object.__setattr__(self, name, self._clock_s(energy_j) if self.stored_w else 0.0)

    def at(self, energy_j: float) -> Flow:
        """What happens from `energy_j` on; all is 0 once it is full."""
        if energy_j >= self.full_j:
            return 0.0, 0.0, 0.0, 0.0
        bounds, powers_w, voltage_j = self.energy_j, self.stored_w, self.voltage_j
        cell = bisect.bisect_right(bounds, energy_j, 1, len(powers_w)) - 1
        stored_w = powers_w[cell]
        if self.ideal:
            full_s, voltage_s = (self.full_j - energy_j) / self.limit_w, (voltage_j - energy_j) / self.limit_w
        else:
            clock_s = self.passed_s[cell] + (energy_j - bounds[cell]) / stored_w
            full_s, voltage_s = self._full_s - clock_s, self._voltage_s - clock_s
        return full_s, voltage_s if voltage_j > energy_j else 0.0, stored_w, self.loss_w[cell]

    def seconds(self, energy_j: float, target_j: float) -> float:
        """Seconds of charging from `energy_j` to `target_j`; inf beyond where charging ends."""
        if target_j <= energy_j:
            return 0.0
        if target_j > self.full_j:
            return math.inf
        if self.ideal:
            return (target_j - energy_j) / self.limit_w
        return self._clock_s(target_j) - self._clock_s(energy_j)

    def after(self, energy_j: float, seconds: float) -> tuple[float, float]:
        """Energy after `seconds` of charging, not beyond full, and the joules lost to resistance meanwhile."""
        full_j = self.full_j
        if energy_j >= full_j or seconds <= 0.0:
            return energy_j, 0.0
        if self.ideal:
            return min(energy_j + self.limit_w * seconds, full_j), 0.0
        bounds, passed_s, powers_w = self.energy_j, self.passed_s, self.stored_w
        cell = bisect.bisect_right(bounds, energy_j, 1, len(powers_w)) - 1
        stored_w, loss_w = powers_w[cell], self.loss_w[cell]
        held_j = energy_j + stored_w * seconds
        if held_j <= bounds[cell + 1]:
            return held_j, loss_w * seconds
        lost_j = (bounds[cell + 1] - energy_j) / stored_w * loss_w
        clock_s = passed_s[cell] + (energy_j - bounds[cell]) / stored_w + seconds
        last = bisect.bisect_right(passed_s, clock_s) - 1
        for between in range(cell + 1, min(last, len(powers_w))):
            lost_j += (passed_s[between + 1] - passed_s[between]) * self.loss_w[between]
        if last >= len(powers_w):
            return full_j, lost_j
        rest_s = clock_s - passed_s[last]
        return bounds[last] + rest_s * powers_w[last], lost_j + rest_s * self.loss_w[last]

    def _clock_s(self, energy_j: float) -> float:
        """Seconds of charging from empty to `energy_j`, at most full; a boundary belongs to the cell above it."""
        cell = bisect.bisect_right(self.energy_j, energy_j, 1, len(self.stored_w)) - 1
        return self.passed_s[cell] + (energy_j - self.energy_j[cell]) / self.stored_w[cell]


@dataclasses.dataclass(frozen=True)
class Battery:
    """A battery with its charger. Curves are given at `levels` (0 to 1, rising) and linear between them.

    Raises `ValueError` for values that no battery can have.
    """

    #: Energy of the full battery: the integral of its open-circuit voltage over its charge, J.
    energy_j: float
    #: What the charger gives at most, to the load and the battery together, and the share of what it gives to the
    #: battery that reaches the terminals.
    charge_w: float
    charge_efficiency: float
    levels: tuple[float, ...] = (0.0, 1.0)
    ocv_v: tuple[float, ...] = (3.7, 3.7)
    #: Resistance of cell, pack and board at 25 °C.
    resistance_ohm: tuple[float, ...] = (0.0, 0.0)
    #: B of the resistance's growth in the cold, K.
    resistance_b_k: float = 0.0
    #: Resistance to charging over that to discharging.
    charge_resistance_ratio: float = 1.0
    cutoff_v: float = 0.0
    #: Limits of charging: voltage, current, and the current at which the battery counts as full.
    limit_v: float = math.inf
    charge_a: float = math.inf
    end_a: float = 0.0

    # By cell; OCV and resistance at the boundaries; and energy there, J.
    _ocv: tuple[float, ...] = dataclasses.field(init=False, repr=False, compare=False)
    _ohm: tuple[float, ...] = dataclasses.field(init=False, repr=False, compare=False)
    _ends: tuple[tuple[float, float], ...] = dataclasses.field(init=False, repr=False, compare=False)
    _energy: tuple[float, ...] = dataclasses.field(init=False, repr=False, compare=False)
    #: Whether it is without losses and limits: then times are energies over powers.
    _ideal: bool = dataclasses.field(init=False, repr=False, compare=False)
    _discharges: dict[tuple[float, float], Discharge] = dataclasses.field(init=False, repr=False, compare=False)
    _charges: dict[tuple[float, float], Charge] = dataclasses.field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        for name in ("energy_j", "charge_w", "charge_efficiency"):
            self._require(name, 0.0 < getattr(self, name) < math.inf, "a positive number is needed")
        self._require("charge_efficiency", self.charge_efficiency <= 1.0, "at most 1 is possible")
        levels = self.levels
        rising = all(a < b for a, b in itertools.pairwise(levels))
        self._require(
            "levels", rising and (levels[0], levels[-1]) == (0.0, 1.0), "rising numbers from 0 to 1 are needed"
        )
        for name in ("ocv_v", "resistance_ohm"):
            self._require(
                name, len(getattr(self, name)) == len(levels), f"{len(levels)} numbers are needed, one a level"
            )
        for level, volts, ohm in zip(levels, self.ocv_v, self.resistance_ohm, strict=True):
            if not 0.0 < volts < math.inf:
                raise ValueError(f"battery: ocv_v is {volts!r} at a level of {level:g}; positive voltages are needed")
            if not 0.0 <= ohm < math.inf:
                raise ValueError(f"battery: resistance_ohm is {ohm!r} at a level of {level:g}; none can be negative")
        for level, (before, after) in zip(levels, itertools.pairwise(self.ocv_v), strict=False):
            if before > after:
                raise ValueError(
                    f"battery: ocv_v is {before!r} at a level of {level:g} and less, {after!r}, at the next; "
                    "a voltage that does not fall while charging is needed"
                )
        self._require("resistance_b_k", 0.0 <= self.resistance_b_k < math.inf, "at least 0 is needed")
        ratio = self.charge_resistance_ratio
        self._require("charge_resistance_ratio", 0.0 < ratio < math.inf, "a positive number is needed")
        self._require("cutoff_v", 0.0 <= self.cutoff_v < self.ocv_v[-1], "less than the voltage when full is needed")
        self._require("charge_a", self.charge_a > 0.0, "a positive current is needed")
        self._require("end_a", 0.0 <= self.end_a < self.charge_a, "at least 0 and less than charge_a is needed")
        self._require("limit_v", self.limit_v > self.ocv_v[0], "more than the voltage when empty is needed")
        endless = self.limit_v <= self.ocv_v[-1] and any(self.resistance_ohm) and self.end_a == 0.0
        self._require("end_a", not endless, "more than 0 is needed, or charging up to limit_v never ends")
        middles = [0.5 * (a + b) for a, b in itertools.pairwise(LEVELS)]
        ocv = tuple(interpolated(s, levels, self.ocv_v) for s in middles)
        shares = [v * (b - a) for v, (a, b) in zip(ocv, itertools.pairwise(LEVELS), strict=True)]
        whole = math.fsum(shares)
        energy = [self.energy_j * (math.fsum(shares[:cell]) / whole) for cell in range(len(LEVELS))]
        object.__setattr__(self, "_ocv", ocv)
        object.__setattr__(self, "_ohm", tuple(interpolated(s, levels, self.resistance_ohm) for s in middles))
        ends = ((interpolated(s, levels, self.ocv_v), interpolated(s, levels, self.resistance_ohm)) for s in LEVELS)
        object.__setattr__(self, "_ends", tuple(ends))
        object.__setattr__(self, "_energy", tuple(energy))
        lossless = not any(self.resistance_ohm) and self.cutoff_v <= self.ocv_v[0]
        object.__setattr__(self, "_ideal", lossless and self.limit_v == self.charge_a == math.inf)
        object.__setattr__(self, "_discharges", {})
        object.__setattr__(self, "_charges", {})

    def _require(self, name: str, holds: bool, accepted: str) -> None:
        if not holds:
            raise ValueError(f"battery: {name} is {getattr(self, name)!r}; {accepted}")

    @property
    def charge_c(self) -> float:
        """Charge of the full battery, C."""
        return (self._energy[1] - self._energy[0]) / (self._ocv[0] * (LEVELS[1] - LEVELS[0]))

    @property
    def limit_level(self) -> float:
        """Charge at which the voltage at rest comes to the charger's limit: what charging can never pass."""
        above = bisect.bisect_right(self._ends, (self.limit_v, math.inf))
        if above > _CELLS:
            return 1.0
        (low_v, _), (high_v, _) = self._ends[above - 1], self._ends[above]
        low, high = LEVELS[above - 1], LEVELS[above]
        return low + (high - low) * ((self.limit_v - low_v) / (high_v - low_v))

    def spare_w(self, load_w: float) -> float:
        """Power at the terminals while the charger gives all that a load of less than `charge_w` leaves it, W."""
        return (self.charge_w - load_w) * self.charge_efficiency

    def resistance_factor(self, celsius: float) -> float:
        """Resistance at a temperature over that at 25 °C."""
        return math.exp(self.resistance_b_k * (1.0 / (ZERO_C_K + celsius) - 1.0 / REFERENCE_K))

    def energy_at(self, level: float) -> float:
        """Energy left, J, at `level` (share of the charge, 0 to 1)."""
        cell = min(bisect.bisect_right(LEVELS, level), _CELLS) - 1
        low, energy = LEVELS[cell], self._energy
        return energy[cell] + (energy[cell + 1] - energy[cell]) * ((level - low) / (LEVELS[cell + 1] - low))

    def level_at(self, energy_j: float) -> float:
        """Share of the charge that is left, 0 to 1, with `energy_j` left; clipped at both ends."""
        if energy_j <= 0.0:
            return 0.0
        if energy_j >= self.energy_j:
            return 1.0
        energy = self._energy
        cell = self.cell_at(energy_j)
        low = LEVELS[cell]
        return low + (LEVELS[cell + 1] - low) * ((energy_j - energy[cell]) / (energy[cell + 1] - energy[cell]))

    def cell_at(self, energy_j: float) -> int:
        """The cell that a discharge from `energy_j` goes through first; a boundary belongs to the cell below it."""
        return bisect.bisect_left(self._energy, energy_j, 1, _CELLS) - 1

    def ocv_at(self, energy_j: float) -> float:
        """Open-circuit voltage with `energy_j` left, V."""
        return self._ocv[self.cell_at(energy_j)]

    def terminal_v(self, energy_j: float, power_w: float, factor: float) -> float:
        """Voltage under a load of `power_w`, V; NaN where the battery cannot deliver it."""
        cell = self.cell_at(energy_j)
        ocv, ohm = self._ocv[cell], self._ohm[cell] * factor
        under = ocv * ocv - 4.0 * ohm * power_w
        return 0.5 * (ocv + math.sqrt(under)) if under >= 0.0 else math.nan

    # Discharge. `factor` scales the resistance; energies and seconds are those of a battery with its full capacity.

    def discharge(self, power_w: float, factor: float) -> Discharge:
        """The curve at a constant power."""
        found = self._discharges.get((power_w, factor))
        if found is None:
            if len(self._discharges) >= _MOST_CURVES:
                self._discharges.clear()
            found = self._discharges[power_w, factor] = self._discharge(power_w, factor)
        return found

    def _discharge(self, power_w: float, factor: float) -> Discharge:
        drain: list[float] = []
        passed, stop = [0.0], list[float]()
        for cell, (ocv, ohm) in enumerate(zip(self._ocv, self._ohm, strict=True) if power_w > 0.0 else ()):
            r = ohm * factor
            under = ocv * ocv - 4.0 * r * power_w
            volts = 0.5 * (ocv + math.sqrt(under)) if under >= 0.0 else 0.0
            usable = volts > 0.0 and volts >= self.cutoff_v
            # I = P / V, and the cells give OCV I; without resistance exactly P.
            watts = (power_w * (ocv / volts) if r else power_w) if usable else math.inf
            drain.append(watts)
            seconds = (self._energy[cell + 1] - self._energy[cell]) / watts
            passed.append(passed[-1] + seconds)
            stop.append(passed[-1] if not usable else (stop[-1] if stop else 0.0))
        return Discharge(power_w, self._ideal, self._energy, tuple(drain), tuple(passed), tuple(stop))

    def empty_s(self, energy_j: float, power_w: float, factor: float) -> float:
        """Seconds until the battery cannot feed `power_w` any more; 0 if it cannot now, inf for no load."""
        return self.discharge(power_w, factor).at(energy_j)[0]

    def drain_w(self, energy_j: float, power_w: float, factor: float) -> float:
        """Energy a second that the cells give for a load, W; the load itself where they cannot."""
        return self.discharge(power_w, factor).at(energy_j)[2]

    def discharged(self, energy_j: float, power_w: float, factor: float, seconds: float) -> tuple[float, float]:
        """Energy left after `seconds` of `power_w`, and the joules lost to resistance meanwhile."""
        return self.discharge(power_w, factor).after(energy_j, seconds)

    def lump(self, energy_j: float, lump_j: float, power_w: float, factor: float) -> float:
        """Energy that the cells lose for `lump_j` at the terminals on top of `power_w`: the lump and its loss, J.

        The loss is the marginal one at the present load, `OCV / sqrt(OCV^2 - 4 R P)`.
        """
        cell = self.cell_at(energy_j)
        ocv, r = self._ocv[cell], self._ohm[cell] * factor
        under = ocv * ocv - 4.0 * r * power_w
        # Near the greatest power that the cell can deliver the margin has no bound; there, twice.
        return lump_j * min(ocv / math.sqrt(under), 2.0) if r and under > 0.0 else lump_j

    def least_j(self, power_w: float, factor: float) -> float:
        """Energy above which the battery can feed `power_w` all the way up, J; that of the full one if it never can."""
        if power_w <= 0.0 or self._ideal:
            return 0.0
        drain_w = self.discharge(power_w, factor).drain_w
        return self._energy[next((cell + 1 for cell in reversed(range(_CELLS)) if drain_w[cell] == math.inf), 0)]

    # Charging. `limit_w` is the power that there is at the terminals.

    def charging(self, limit_w: float, factor: float) -> Charge:
        """The curve of charging with a power above 0."""
        found = self._charges.get((limit_w, factor))
        if found is None:
            if len(self._charges) >= _MOST_CURVES:
                self._charges.clear()
            found = self._charges[limit_w, factor] = self._charge(limit_w, factor)
        return found

    def _charge(self, limit_w: float, factor: float) -> Charge:
        scale, limit_v, most_a = factor * self.charge_resistance_ratio, self.limit_v, self.charge_a
        energy, passed = [0.0], [0.0]
        stored, lost = list[float](), list[float]()

        def add(upper_j: float, stored_w: float, loss_w: float) -> None:
            if upper_j > energy[-1]:
                passed.append(passed[-1] + (upper_j - energy[-1]) / stored_w)
                energy.append(upper_j)
                stored.append(stored_w)
                lost.append(loss_w)

        # With this current, where the terminal is at its limit of voltage, constant current or power ends.
        limit_a = min(most_a, limit_w / limit_v)
        # Full is where constant voltage leaves `end_a`; a weak charger's small current is no sign of it.
        full_a = min(self.end_a, limit_a)
        voltage_j, at_limit = 0.0, True
        low_j, (low_v, low_ohm) = 0.0, self._ends[0]
        low_r = low_ohm * scale
        for ocv, ohm, high_j, (high_v, high_ohm) in zip(
            self._ocv, self._ohm, self._energy[1:], self._ends[1:], strict=True
        ):
            r, high_r = ohm * scale, high_ohm * scale
            by_power_a = 2.0 * limit_w / (ocv + math.sqrt(ocv * ocv + 4.0 * r * limit_w))
            constant_a = most_a if most_a < by_power_a else by_power_a
            constant = ocv * constant_a if r or constant_a < by_power_a else limit_w, r * constant_a * constant_a
            # The terminal's voltage is OCV + I R: how far below its limit it is at the cell's ends.
            low_gap, high_gap = limit_v - low_v - limit_a * low_r, limit_v - high_v - limit_a * high_r
            # The shares of the cell between which it is at constant voltage; elsewhere it is at constant current.
            begin, end = 0.0, 1.0
            if low_gap >= 0.0:
                begin = low_gap / (low_gap - high_gap) if high_gap < 0.0 else 1.0
            elif high_gap > 0.0:
                end = low_gap / (low_gap - high_gap)
            if begin > 0.0:
                at_limit = False
                add(low_j + (high_j - low_j) * begin if begin < 1.0 else high_j, *constant)
            if begin < 1.0:
                if not at_limit:
                    voltage_j, at_limit = energy[-1], True
                over_v = high_v + full_a * high_r - limit_v
                if full := over_v >= 0.0 and end == 1.0:
                    rise_v = high_v - low_v + full_a * (high_r - low_r)
                    end = max(1.0 - over_v / rise_v, begin) if over_v < rise_v else begin
                if end > begin:
                    mean_a = _logarithmic_mean(
                        limit_a if begin > 0.0 or not low_r else (limit_v - low_v) / low_r,
                        full_a if full else limit_a if end < 1.0 or not high_r else (limit_v - high_v) / high_r,
                    )
                    loss_v = limit_v - ocv
                    add(
                        high_j if end == 1.0 else low_j + (high_j - low_j) * end,
                        ocv * mean_a,
                        loss_v * mean_a if loss_v > 0.0 else 0.0,
                    )
                if full:
                    break
                if end < 1.0:
                    at_limit = False
                    add(high_j, *constant)
            low_j, low_v, low_r = high_j, high_v, high_r
        if not stored:
            energy[0] = voltage_j = -math.inf
        voltage_j = voltage_j if at_limit else energy[-1]
        return Charge(limit_w, self._ideal, tuple(energy), tuple(passed), tuple(stored), tuple(lost), voltage_j)

    def full_j(self, limit_w: float, factor: float) -> float:
        """Energy at which charging ends, J; -inf if it does not even begin."""
        return self.charging(limit_w, factor).full_j

    def constant_voltage_j(self, limit_w: float, factor: float) -> float:
        """Energy at which charging at constant current ends, J."""
        return self.charging(limit_w, factor).voltage_j

    def charge_powers(self, energy_j: float, limit_w: float, factor: float) -> tuple[float, float]:
        """Power stored, and lost to resistance, while charging from `energy_j`, W."""
        _, _, stored_w, loss_w = self.charging(limit_w, factor).at(energy_j)
        return stored_w, loss_w

    def charge_s(self, energy_j: float, target_j: float, limit_w: float, factor: float) -> float:
        """Seconds of charging from `energy_j` to `target_j`; inf beyond where charging ends."""
        return self.charging(limit_w, factor).seconds(energy_j, target_j)

    def charged(self, energy_j: float, limit_w: float, factor: float, seconds: float) -> tuple[float, float]:
        """Energy after `seconds` of charging, not beyond full, and the joules lost to resistance meanwhile."""
        return self.charging(limit_w, factor).after(energy_j, seconds)


def _logarithmic_mean(one: float, other: float) -> float:
    """The mean whose inverse is that of the inverses of all values between two, both positive."""
    share = (one - other) / other
    return 0.5 * (one + other) if abs(share) < 1e-6 else (one - other) / math.log1p(share)


def interpolated(at: float, knots: tuple[float, ...], values: tuple[float, ...]) -> float:
    """The piecewise linear function through `values` at `knots` (rising), at a place between the first and the last."""
    right = min(max(bisect.bisect_right(knots, at), 1), len(knots) - 1)
    low, high = knots[right - 1], knots[right]
    return values[right - 1] + (values[right] - values[right - 1]) * (at - low) / (high - low)
