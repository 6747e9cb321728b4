"""Checks across keys: names that must exist, numbers that must fit together.

A check reads whatever it needs and yields what it finds; on a draft, of which some keys are invalid, reading one of
these ends that check alone, so that the rest of a file's mistakes still come out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Final

from core.scenario.device_checks import DEVICE_CHECKS
from core.scenario.effects import EFFECT_CHECKS
from core.scenario.fault_checks import FAULT_CHECKS
from core.scenario.findings import Finding, Unreadable
from core.scenario.learning_checks import LEARNING_CHECKS
from core.scenario.network_checks import NETWORK_CHECKS
from core.scenario.networking import NoNetwork
from core.scenario.place_checks import PLACE_CHECKS, places

if TYPE_CHECKING:
    from core.scenario.schema import Scenario

_CHECKS: Final = (*DEVICE_CHECKS, *NETWORK_CHECKS, *LEARNING_CHECKS, *EFFECT_CHECKS, *FAULT_CHECKS)


def findings(scenario: Scenario) -> list[Finding]:
    """All that the checks find."""
    found: list[Finding] = []

    def collect(check: Callable[..., Iterator[Finding]], *arguments: object) -> None:
        try:
            found.extend(check(scenario, *arguments))
        except (Unreadable, NoNetwork):
            # A key has no valid value, or there are no sites to look up: other findings say so.
            return

    for check in _CHECKS:
        collect(check)
    for path, station in places(scenario):
        for place_check in PLACE_CHECKS:
            collect(place_check, path, station)
    return found
