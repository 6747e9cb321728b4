"""Rounds without actors and scalar models (`analysis.oracles.rounds`), and which algorithms are quick to test."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

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

__all__ = [
    "MOST",
    "Outcome",
    "clients",
    "contraction",
    "federated",
    "fixed_point_of",
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
