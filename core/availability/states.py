"""What a device's user lets it do: whether it is in use, on a charger, and on a network that costs money."""

from __future__ import annotations

from typing import Final

#: Bits of a state; of a device at rest on its charger and on free Wi-Fi only `CHARGING` is set.
IN_USE: Final = 1
CHARGING: Final = 2
METERED: Final = 4
#: How many states there are.
STATES: Final = 8

#: The states that sessions pass through.
DOCKED: Final = CHARGING
HOME: Final = 0
AWAY: Final = METERED


def changes(before: int, after: int) -> tuple[str, ...]:
    """What a transition is called in the records, one name for each bit that changes."""
    changed = before ^ after
    named = (
        (IN_USE, "in_use", "left_alone"),
        (CHARGING, "charging", "on_battery"),
        (METERED, "metered", "unmetered"),
    )
    return tuple(on if after & bit else off for bit, on, off in named if changed & bit)
