"""When a worker checks in with its coordinator: at each change of what its device's user lets it do."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

from core.actor import DeviceView, Message
from core.availability import CHARGING, IN_USE, METERED
from core.roles.messages import CheckIn, CheckOut, Requirements

#: What there is to say.
NOTHING, CHECK_IN, CHECK_OUT = range(3)


def state_of(device: DeviceView) -> int:
    """The state that a device is in, as `core.availability` has it."""
    return IN_USE * device.in_use | CHARGING * device.charging | METERED * device.metered


@dataclasses.dataclass(frozen=True)
class Attendance:
    """The requirements, and the bits that are always set: charging on mains, metered on a link that always costs."""

    requirements: Requirements
    always: int = 0

    #: The types of what it sends, by answer from 1 on.
    kinds: ClassVar[tuple[type[Message], ...]] = (CheckIn, CheckOut)

    def unmet(self, state: int) -> str | None:
        """What in a state keeps the device from training: user, charging or network; None: nothing."""
        state |= self.always
        if state & IN_USE:
            return "user"
        if self.requirements.charging and not state & CHARGING:
            return "charging"
        if self.requirements.unmetered and state & METERED:
            return "network"
        return None

    def answer(self, before: int | None, after: int) -> int:
        """What a worker says to a change, or, with `before` None, when it begins."""
        was, may = before is not None and self.unmet(before) is None, self.unmet(after) is None
        return NOTHING if was == may else CHECK_IN if may else CHECK_OUT

    @staticmethod
    def message(answer: int, examples: int) -> Message:
        """What it sends."""
        return CheckIn(examples=examples) if answer == CHECK_IN else CheckOut()
