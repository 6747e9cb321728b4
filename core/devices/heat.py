"""Heat of a device as one or two RC nodes, exact between events at which the powers change.

Two nodes, s (processor and board) and k (case and battery):
`Cs dTs/dt = Ps - (Ts - Tk)/Rsk` and `Ck dTk/dt = Pk + (Ts - Tk)/Rsk - (Tk - Ta)/Rka`. The matrix has two real negative
eigenvalues, so the case temperature is `c0 + c1 exp(l1 t) + c2 exp(l2 t)`, with at most one extremum. A threshold is
met on one of the two monotone parts: Newton's method kept inside a bracket. One node (`soc_capacity_j_per_k` None) is
the case alone; its crossing times are a logarithm.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Final

NEVER: Final = math.inf
#: Crossing times are solved for until a step of Newton's method is shorter than this.
ROOT_TOLERANCE_S: Final = 1e-9


@dataclasses.dataclass(frozen=True)
class Heat:
    """Capacities, J/K, and resistances, K/W; temperatures in °C. The soc node is optional."""

    case_capacity_j_per_k: float
    case_to_air_k_per_w: float
    soc_capacity_j_per_k: float | None = None
    soc_to_case_k_per_w: float | None = None

    # Derived once; `_slow` and `_fast` are the eigenvalues, 1/s.
    _slow: float = dataclasses.field(init=False, repr=False, compare=False)
    _fast: float = dataclasses.field(init=False, repr=False, compare=False)
    _drain: float = dataclasses.field(init=False, repr=False, compare=False)
    _couple: float = dataclasses.field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            if not field.init:
                continue
            value = getattr(self, field.name)
            if value is not None and not (value > 0.0 and math.isfinite(value)):
                raise ValueError(f"heat: {field.name} is {value!r}; a positive number is needed")
        if (self.soc_capacity_j_per_k is None) is not (self.soc_to_case_k_per_w is None):
            raise ValueError("heat: a second node needs both soc_capacity_j_per_k and soc_to_case_k_per_w")
        c = 1.0 / (self.case_capacity_j_per_k * self.case_to_air_k_per_w)
        slow, fast, couple = -c, -c, 0.0
        if self.soc_capacity_j_per_k is not None and self.soc_to_case_k_per_w is not None:
            a = 1.0 / (self.soc_capacity_j_per_k * self.soc_to_case_k_per_w)
            couple = 1.0 / (self.case_capacity_j_per_k * self.soc_to_case_k_per_w)
            total = a + couple + c
            fast = -0.5 * (total + math.sqrt(total * total - 4.0 * a * c))
            # The product of the eigenvalues is a*c; the quotient avoids a difference of near equals.
            slow = a * c / fast
        object.__setattr__(self, "_slow", slow)
        object.__setattr__(self, "_fast", fast)
        object.__setattr__(self, "_drain", couple + c)
        object.__setattr__(self, "_couple", couple)

    def steady(self, soc_w: float, case_w: float, ambient_c: float) -> tuple[float, float]:
        """Temperatures (soc, case) that constant powers lead to in the end; with one node both are the case's."""
        case_c = ambient_c + self.case_to_air_k_per_w * (soc_w + case_w)
        return case_c + (self.soc_to_case_k_per_w or 0.0) * soc_w, case_c

    def _modes(self, soc_off: float, case_off: float) -> tuple[float, float]:
        """Amplitudes of the slow and the fast mode of the case, from the distances to the steady state, K."""
        fast = self._fast
        slope = self._couple * soc_off - self._drain * case_off
        slow_part = (slope - fast * case_off) / (self._slow - fast)
        return slow_part, case_off - slow_part

    def after(
        self, soc_c: float, case_c: float, soc_w: float, case_w: float, ambient_c: float, seconds: float
    ) -> tuple[float, float]:
        """Temperatures (soc, case) after `seconds` of constant powers."""
        soc_end, case_end = self.steady(soc_w, case_w, ambient_c)
        slow, fast, couple, drain = self._slow, self._fast, self._couple, self._drain
        if couple == 0.0:
            case = case_end + (case_c - case_end) * math.exp(slow * seconds)
            return case, case
        slow_part, fast_part = self._modes(soc_c - soc_end, case_c - case_end)
        slow_part *= math.exp(slow * seconds)
        fast_part *= math.exp(fast * seconds)
        soc_off = (slow_part * (slow + drain) + fast_part * (fast + drain)) / couple
        return soc_end + soc_off, case_end + slow_part + fast_part

    def mean_case_c(
        self,
        before: tuple[float, float],
        after: tuple[float, float],
        soc_w: float,
        case_w: float,
        ambient_c: float,
        seconds: float,
    ) -> float:
        """Mean of the case's temperature over `seconds` of constant powers, from the energy that went to the air."""
        stored_j = self.case_capacity_j_per_k * (after[1] - before[1])
        if self.soc_capacity_j_per_k is not None:
            stored_j += self.soc_capacity_j_per_k * (after[0] - before[0])
        return ambient_c + self.case_to_air_k_per_w * (soc_w + case_w - stored_j / seconds)

    def leaves_s(
        self,
        soc_c: float,
        case_c: float,
        soc_w: float,
        case_w: float,
        ambient_c: float,
        lower_c: float,
        upper_c: float,
        horizon_s: float = NEVER,
    ) -> tuple[float, bool]:
        """Seconds until the case leaves a band in which it is, inf if not within `horizon_s`, and whether above.

        The distances to the steady state stay between their extremes and 0 (the matrix is a cooperative one), which
        mostly tells at once that it does not.
        """
        soc_end, case_end = self.steady(soc_w, case_w, ambient_c)
        soc_off, case_off = soc_c - soc_end, case_c - case_end
        least, most = (case_off, soc_off) if case_off < soc_off else (soc_off, case_off)
        state = soc_c, case_c, soc_w, case_w, ambient_c
        wait, above = NEVER, False
        if case_end - upper_c + (most if most > 0.0 else 0.0) >= 0.0:
            wait = self.crossing_s(*state, upper_c, horizon_s)
            above = wait < NEVER
        if case_end - lower_c + (least if least < 0.0 else 0.0) <= 0.0:
            below_s = self.crossing_s(*state, lower_c, min(horizon_s, wait))
            if below_s < wait:
                wait, above = below_s, False
        return wait, above

    def crossing_s(
        self,
        soc_c: float,
        case_c: float,
        soc_w: float,
        case_w: float,
        ambient_c: float,
        target_c: float,
        horizon_s: float = NEVER,
    ) -> float:
        """Seconds until the case first reaches `target_c` under constant powers; inf if not within `horizon_s`."""
        soc_end, case_end = self.steady(soc_w, case_w, ambient_c)
        start = case_c - target_c
        end = case_end - target_c
        if start == 0.0:
            return 0.0
        if self._couple == 0.0:
            if start * end >= 0.0:
                return NEVER
            seconds = math.log((start - end) / -end) / -self._slow
            return seconds if seconds <= horizon_s else NEVER
        modes = self._modes(soc_c - soc_end, case_c - case_end)
        lower = 0.0
        turn = self._turn_s(*modes)
        if turn < horizon_s:
            if start * self._value(end, modes, turn) <= 0.0:
                return self._root(end, modes, 0.0, turn, start)
            lower = turn
        upper = horizon_s
        if upper == NEVER:
            if start * end >= 0.0:
                return NEVER
            step = -1.0 / self._slow
            upper = lower + step
            while start * self._value(end, modes, upper) > 0.0:
                step *= 2.0
                upper = lower + step
        elif start * self._value(end, modes, upper) > 0.0:
            return NEVER
        return self._root(end, modes, lower, upper, start)

    def _turn_s(self, slow_part: float, fast_part: float) -> float:
        """When the case temperature turns round; inf if it does not after 0."""
        if slow_part == 0.0 or fast_part == 0.0:
            return NEVER
        ratio = -(fast_part * self._fast) / (slow_part * self._slow)
        return math.log(ratio) / (self._slow - self._fast) if ratio > 1.0 else NEVER

    def _value(self, end: float, modes: tuple[float, float], seconds: float) -> float:
        return end + modes[0] * math.exp(self._slow * seconds) + modes[1] * math.exp(self._fast * seconds)

    def _root(self, end: float, modes: tuple[float, float], lower: float, upper: float, start: float) -> float:
        """The zero of a monotone part between `lower`, where the sign is that of `start`, and `upper`."""
        slow, fast = self._slow, self._fast
        at = 0.5 * (lower + upper)
        while lower < at < upper:
            slow_term = modes[0] * math.exp(slow * at)
            fast_term = modes[1] * math.exp(fast * at)
            value = end + slow_term + fast_term
            if value * start > 0.0:
                lower = at
            else:
                upper = at
            slope = slow * slow_term + fast * fast_term
            step = value / slope if slope else 0.0
            following = at - step
            if abs(step) < ROOT_TOLERANCE_S and slope:
                return min(max(following, lower), upper)
            at = following if lower < following < upper else 0.5 * (lower + upper)
        return upper
