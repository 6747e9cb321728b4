"""What queueing theory says of queues, and how well a run knows its mean: for oracles and tests of several topics."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

#: Batches of a run, and half of 99.9 % of Student's t with a degree of freedom less.
BATCHES: Final = 20
T_19: Final = 3.883


def batch_mean(values: npt.NDArray[np.float64]) -> tuple[float, float]:
    """The mean of a run, and half the width of its 99.9 % interval, by batch means; some first values are left out."""
    batches = values[len(values) % BATCHES :].reshape(BATCHES, -1).mean(axis=1)
    return float(batches.mean()), float(T_19 * batches.std(ddof=1) / np.sqrt(BATCHES))


def pollaczek_khinchine_s(load: float, own_s: npt.NDArray[np.float64]) -> float:
    """Mean wait for one server, first come, first served, with services like these: λ E[S²] / (2 (1 − ρ))."""
    return load / float(own_s.mean()) * float((own_s**2).mean()) / (2.0 * (1.0 - load))


def erlang_b(servers: int, offered: float) -> float:
    """Share of arrivals that find all servers busy and leave."""
    blocked = 1.0
    for n in range(1, servers + 1):
        blocked = offered * blocked / (n + offered * blocked)
    return blocked


def erlang_c(servers: int, offered: float) -> float:
    """Share of arrivals that find all servers busy and wait."""
    blocked = erlang_b(servers, offered)
    return blocked / (1.0 - offered / servers * (1.0 - blocked))
