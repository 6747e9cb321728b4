"""Loss of a battery's capacity by calendar and by throughput.

Calendar: `loss = k(T, s) t^0.512`, cycling: `loss = c EFC^0.699` (NREL's BLAST-Lite, fit to a 3.2 Ah NCA cell; Smith
et al., "Life prediction model for grid-connected Li-ion battery energy storage system", ACC 2017, has the form). Where
temperature and charge change, the law goes on from the equivalent time that would have given the present loss, which is
`d(loss^(1/0.512)) = k^(1/0.512) dt`: an integral that adds up over any pieces. Resistance grows with the loss.

Deviations: phones have LCO cells, for which no public fit of both laws was found; one depth of discharge for a class.
"""

from __future__ import annotations

import math
from typing import Final

from core.devices.battery import ZERO_C_K

DAY_S: Final = 86_400.0
CALENDAR_EXPONENT: Final = 0.512
CYCLE_EXPONENT: Final = 0.699
#: `k = K exp(-A/T) exp(B s/T)`, 1/day^0.512 (literature).
CALENDAR_K: Final = 75.4
CALENDAR_A_K: Final = 3340.0
CALENDAR_B_K: Final = 353.0
#: `c = 2 (C0 + C1 depth)` (literature).
CYCLE_C0: Final = 1.86e-6
CYCLE_C1: Final = 1.77e-4
_LOG_K: Final = math.log(CALENDAR_K)
#: Resistance grows by the factor 1.5 at a loss of 20 % (estimate), linearly.
RESISTANCE_GROWTH: Final = 1.5 / 0.2
#: The loss is applied in steps of this, so that devices share their curves.
STEP: Final = 0.001
#: Loss at which a battery is as bad as this model goes.
MOST: Final = 0.5


def calendar_stress(seconds: float, celsius: float, level: float) -> float:
    """What a time at one temperature and charge adds to `loss^(1/0.512)`."""
    kelvin = ZERO_C_K + celsius
    log_k = _LOG_K + (CALENDAR_B_K * level - CALENDAR_A_K) / kelvin
    return seconds / DAY_S * math.exp(log_k / CALENDAR_EXPONENT)


def calendar_loss(stress: float) -> float:
    """Share of the capacity lost after stress that adds up to this."""
    return float(stress**CALENDAR_EXPONENT)


def stress_of(loss: float) -> float:
    """The stress after which that share is lost."""
    return float(loss ** (1.0 / CALENDAR_EXPONENT))


def cycle_loss(full_cycles: float, depth: float) -> float:
    """Share of the capacity lost after equivalent full cycles of one depth of discharge, 0 to 1."""
    return 2.0 * (CYCLE_C0 + CYCLE_C1 * depth) * float(full_cycles**CYCLE_EXPONENT)


def steps(loss: float) -> int:
    """A loss as it is applied: in steps, and at most `MOST`."""
    return math.floor(min(loss, MOST) / STEP + 1e-9)


def stepped(loss: float) -> float:
    """The loss that is applied."""
    return steps(loss) * STEP


def resistance_growth(loss: float) -> float:
    """Resistance over that of a new battery."""
    return 1.0 + RESISTANCE_GROWTH * loss
