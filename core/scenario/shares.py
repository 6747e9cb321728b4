"""What equal shares of the coordinator's link leave unused: `network.sharing: per_link` where links differ."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from core.scenario import resolve

if TYPE_CHECKING:
    from core.scenario.schema import Scenario

#: Share of a link's rate of which it is told that it stays unused.
NOTABLE: Final = 0.05
#: For the coordinator's link and those of devices the directions of what it sends, and of what it receives.
_DIRECTIONS: Final = (("up", "down", "receive from"), ("down", "up", "send to"))


def lost_share(ratios: list[tuple[float, int]]) -> float:
    """The share of a link that equal shares leave unused and max-min fair ones would not.

    Of its flows so many each have, by what else limits them, this rate over an equal share: with equal shares a flow
    gets at most 1, with fair ones all get what they can until the link is full.
    """
    flows = sum(count for _, count in ratios)
    equal = sum(min(ratio, 1.0) * count for ratio, count in ratios) / flows
    return min(sum(ratio * count for ratio, count in ratios) / flows, 1.0) - equal


def notes(scenario: Scenario) -> Iterator[str]:
    """Says what equal shares leave unused while as many clients as are asked at once, of all groups, transfer.

    Spread within a group is not looked at, so that it costs the same for a million devices.
    """
    asked = math.ceil(scenario.max_participants * scenario.training.over_selection)
    flows = min(asked, scenario.device_count)
    if flows < 2:
        return
    centre = resolve.link(scenario, scenario.coordinator.link)
    links = [(resolve.link(scenario, group.link), group.count) for group in scenario.devices]
    for ours, theirs, verb in _DIRECTIONS:
        rate = centre.goodput_bytes_per_s(ours)
        share = rate / flows
        lost = lost_share([(link.goodput_bytes_per_s(theirs) / share, count) for link, count in links])
        if lost > NOTABLE:
            yield (
                f"in the simulator, while {flows} clients at once {verb} the coordinator, each has at most "
                f"{_mbit(share)} of the {_mbit(rate)} of its link ({ours}), and about {100.0 * lost:.0f} % of that "
                "stay unused, which slower clients leave and faster ones could use: their transfers take too long; "
                "`network.sharing: max_min` gives it to them, at the cost of a slower simulation"
            )


def _mbit(bytes_per_s: float) -> str:
    return f"{bytes_per_s * 8e-6:.3g} Mbit/s"
