"""The pipe by which a launched node hangs on its launcher, watched by a thread from the node's first moments on.

When the launcher closes it, it wants the end, and the node ends in order. When the launcher is dead, nobody waits for
that: the node has a moment to write down its records and is gone, whatever it is doing, be it compiling or computing.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable
from typing import Final

#: How long a node whose launcher is dead may take to end in order, s.
ORPHAN_GRACE_S: Final = 1.0
_POLL_S: Final = 0.05
_INTERRUPTED: Final = 130


class Lifeline:
    """See the module."""

    def __init__(self, launcher: int) -> None:
        """`launcher` is the process whose child this one is. Threads share the network namespace of their maker."""
        self._launcher = launcher
        self._end: Callable[[], None] | None = None
        threading.Thread(target=self._watch, name="lifeline", daemon=True).start()

    def when_cut(self, end: Callable[[], None]) -> None:
        """From now on there is something to end in order; `end` is called in another thread."""
        self._end = end

    def _watch(self) -> None:
        while os.read(sys.stdin.fileno(), 4096):
            pass
        end = self._end
        if end is None:
            os._exit(_INTERRUPTED)
        end()
        # The pipe of a process that dies closes a moment before its children get another parent.
        while os.getppid() == self._launcher:
            time.sleep(_POLL_S)
        time.sleep(ORPHAN_GRACE_S)
        os._exit(_INTERRUPTED)
