"""Scheduling priority of a process that leads a session of its own.

Linux shares processors among sessions before it shares them among processes (autogroups, sched(7)): the nice value of
a process counts within its session only, and that of the session is a file. Where there is none, or no permission,
nothing changes.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Final

_AUTOGROUP: Final = Path("/proc/self/autogroup")


def raise_priority(by: int = 0) -> None:
    """Lower the nice value of this process, and give its session the same if it is below 0."""
    with contextlib.suppress(OSError):
        if by:
            os.nice(-by)
        nice = os.getpriority(os.PRIO_PROCESS, 0)
        if nice < 0:
            _AUTOGROUP.write_text(str(nice))
