"""What holds of a device's powers between two events: what it draws, and how its battery then charges or drains.

All of it follows from what changes rarely, so that devices of one class share records of it (`DeviceProfile.powers`).
"""

from __future__ import annotations

import dataclasses

from core.devices.battery import Battery, Charge, Discharge


@dataclasses.dataclass(frozen=True, slots=True)
class Powers:
    """Powers of idling, of the screen, and of the processor above idle, W, and what the battery does at them."""

    idle_w: float
    screen_w: float
    processor_w: float
    #: All but the processor's, and all.
    other_w: float
    load_w: float
    #: How the battery charges, if the load leaves it some of a charger's power; if not, how it drains.
    charge: Charge | None
    discharge: Discharge | None


def powers(
    draws_w: tuple[float, float, float], battery: Battery | None, charging: bool, resistance_factor: float
) -> Powers:
    """The record for what idling, screen and processor draw; a charger feeds the load first."""
    idle_w, screen_w, processor_w = draws_w
    other_w = idle_w + screen_w
    load_w = other_w + processor_w
    charge, discharge = None, None
    if battery is not None:
        if not charging:
            discharge = battery.discharge(load_w, resistance_factor)
        elif load_w < battery.charge_w:
            charge = battery.charging(battery.spare_w(load_w), resistance_factor)
        else:
            discharge = battery.discharge(load_w - battery.charge_w, resistance_factor)
    return Powers(*draws_w, other_w, load_w, charge, discharge)
