"""The event loop: SimPy's `Environment` with two leaner kinds of entry on its own heap.

- `(time, priority, sequence, event)`: SimPy's events, processes and resources, as they are;
- `(time, priority, sequence, target, message, size, sent)`: a delivery, `target.deliver(message, size, sent)`;
- `(time, priority, sequence, target, generation)`: a timer, `target.fire()`, unless `target.generation` has moved on.

The sequence comes from SimPy's own counter, so all kinds are totally ordered and ties never reach the objects.
A timer that was overtaken neither advances the clock nor keeps a run alive, and is swept out once such entries are
more than half of the heap. This leans on SimPy's private `_queue`, `_eid` and `_now`: the minor version is pinned and
`tests/sim/test_engine.py` holds these names.
"""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Callable, Iterator
from heapq import heapify, heappop, heappush
from typing import Any, Final, Protocol

import simpy
from simpy.core import EmptySchedule, StopSimulation
from simpy.events import NORMAL

#: Below this many overtaken timers the heap is not worth sweeping.
MIN_SWEEP = 64
GC_THRESHOLDS: Final = (100_000, 50, 1000)


@contextlib.contextmanager
def rare_collections() -> Iterator[None]:
    """While a world runs and is closed, cyclic garbage is looked for rarely.

    Entries, messages and rows hold no cycles, and scanning them all the time cost a quarter of the speed when measured,
    of the loop with 10,000 actors and of the account of 300,000 phones. No result depends on when it is collected.
    """
    thresholds = gc.get_threshold()
    gc.set_threshold(*GC_THRESHOLDS)
    try:
        yield
    finally:
        gc.set_threshold(*thresholds)


class Timed(Protocol):
    """The target of a timer."""

    generation: int

    def fire(self) -> None:
        """The time has come."""


class StopRun(Exception):
    """Raised inside the loop to end `run` at the present time."""


class _Stop:
    """The end of a run at a time."""

    __slots__ = ("generation",)

    def __init__(self) -> None:
        self.generation = 0

    def fire(self) -> None:
        self.generation = 1
        raise StopRun


class Call:
    """A call at a time."""

    __slots__ = ("call", "generation")

    def __init__(self, env: ActorEnvironment, at_s: float, call: Callable[[], None]) -> None:
        self.call = call
        self.generation = 0
        env.set_timer(at_s, self, 0)

    def fire(self) -> None:
        self.call()


class ActorEnvironment(simpy.Environment):
    """SimPy's environment, with deliveries and timers that need no event object."""

    def __init__(self, initial_time: float = 0.0) -> None:
        super().__init__(initial_time)
        self._now: float = float(initial_time)
        #: Overtaken timers that are still in the heap.
        self.stale = 0

    def post(self, at: float, target: Any, message: Any, size: int, sent: float) -> None:
        """Deliver at a time (not before now)."""
        heappush(self._queue, (at, NORMAL, next(self._eid), target, message, size, sent))  # type: ignore[misc]

    def set_timer(self, at: float, target: Timed, generation: int) -> None:
        """Call `target.fire()` at a time, if its generation is still the same then."""
        heappush(self._queue, (at, NORMAL, next(self._eid), target, generation))  # type: ignore[misc]

    def forget_timer(self) -> None:
        """Say that a pending timer was overtaken: its target's generation has moved on."""
        self.stale += 1
        if self.stale > MIN_SWEEP and 2 * self.stale > len(self._queue):
            self.sweep()

    def sweep(self) -> None:
        """Take all overtaken timers out of the heap, and so let go of their targets."""
        queue: list[Any] = self._queue
        queue[:] = [entry for entry in queue if len(entry) != 5 or entry[3].generation == entry[4]]
        heapify(queue)
        self.stale = 0

    def _drop_stale(self) -> None:
        queue: list[Any] = self._queue
        while queue and len(queue[0]) == 5 and queue[0][3].generation != queue[0][4]:
            heappop(queue)
            self.stale -= 1

    def peek(self) -> float:
        """Time of the next event; infinity if there is none."""
        self._drop_stale()
        return super().peek()

    def step(self) -> None:
        """Process one event; raises SimPy's `EmptySchedule` if there is none."""
        self._drop_stale()
        queue: list[Any] = self._queue
        if not queue:
            raise EmptySchedule
        entry = queue[0]
        if len(entry) == 4:
            super().step()
            return
        heappop(queue)
        self._now = entry[0]
        if len(entry) == 7:
            entry[3].deliver(entry[4], entry[5], entry[6])
        else:
            entry[3].fire()

    def run(self, until: Any = None) -> Any:
        """Run to a time, a SimPy event, or until nothing is left or `StopRun` is raised."""
        if isinstance(until, simpy.Event):
            try:
                return super().run(until)
            except StopRun:
                if until.callbacks is not None:
                    # A later run must not end there.
                    until.callbacks.remove(StopSimulation.callback)
                return None
        stop: _Stop | None = None
        if until is not None:
            at = float(until)
            if at < self._now:
                raise ValueError(f"until ({at}) must not be before the current simulation time ({self._now})")
            # Before everything else of that time.
            stop = _Stop()
            heappush(self._queue, (at, -1, next(self._eid), stop, 0))  # type: ignore[misc]
        queue: list[Any] = self._queue
        slow = super().step
        pop = heappop
        try:
            with rare_collections():
                while queue:
                    entry = pop(queue)
                    kind = len(entry)
                    if kind == 7:
                        self._now, _, _, target, message, size, sent = entry
                        target.deliver(message, size, sent)
                    elif kind == 5:
                        at, _, _, target, generation = entry
                        if target.generation == generation:
                            self._now = at
                            target.fire()
                        else:
                            self.stale -= 1
                    else:
                        heappush(queue, entry)
                        slow()
        except StopRun:
            pass
        finally:
            if stop is not None and stop.generation == 0:
                stop.generation = 1
                self.forget_timer()
        return None
