"""Rounds without actors and scalar models (`analysis.oracles.rounds`), clients' own models by hand, what is quick."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest

from analysis.oracles.rounds import (
    MOST,
    Outcome,
    clients,
    contraction,
    federated,
    fixed_point_of,
    quadratic,
    step_once,
    weighted,
)
from core.wire import ArrayDict

__all__ = [
    "MOST",
    "Outcome",
    "clients",
    "contraction",
    "federated",
    "fixed_point_of",
    "own_model",
    "quadratic",
    "quick",
    "step_once",
    "weighted",
]

#: One of each kind of algorithm; the others are `slow`, as each has programs of its own to compile.
_KINDS = ("fedavg", "scaffold", "fednova", "ditto", "fedbuff")


def quick(names: Sequence[str]) -> list[Any]:
    """Algorithms as parameters of a test, those marked that are slow."""
    return [name if name in _KINDS else pytest.param(name, marks=pytest.mark.slow) for name in names]


def own_model(name: str, params: Mapping[str, Any], state: Mapping[str, Any]) -> ArrayDict:
    """The model that a client of an algorithm predicts with, from what the server sends and the client holds.

    Ditto: its own. APFL: α of its own plus 1 − α of the global one. FedBN, FedRep: the shared part and its own.
    IFCA: that of its cluster.
    """
    if name == "ditto":
        return ArrayDict(dict(state))
    if name == "apfl":
        alpha = np.float32(state["alpha"])
        return ArrayDict({key: alpha * state[f"model/{key}"] + (1 - alpha) * array for key, array in params.items()})
    if name == "ifca":
        return ArrayDict({key: array[int(state["cluster"])] for key, array in params.items()})
    return ArrayDict({**params, **state})
