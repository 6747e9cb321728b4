"""Runs the batches of an evaluator on threads, in an order that their results cannot depend on.

The evaluator decides in its own thread what is computed and in which batches; a batch becomes a *step* here, its
results *promises*. A step begins when those it takes something from have ended; equal jobs of one step are dealt to the
threads longest first. Sums are exact, so that neither the dealing nor the order of the threads can change a bit.
With no threads everything is computed at once by whoever submits it.
"""

from __future__ import annotations

import heapq
import sys
import threading
from collections.abc import Callable, Sequence
from typing import Any, Final, Protocol

from core.wire import ArrayDict

#: How long a thread that has the interpreter may keep it from others, s. With Python's 5 ms, threads that came back
#: from a program waited for the simulator as long as the next program took: a tenth fewer updates a second (measured).
SWITCH_INTERVAL_S: Final = 0.0002
#: Jobs of a step, or FLOPs, that are worth a call of their own (a call costs some hundred microseconds), and calls a
#: thread that even out what the dealing cannot know.
LEAST_SLICE: Final = 8
LEAST_FLOPS: Final = 3e7
SLICES_PER_THREAD: Final = 2


class NumericsFailed(Exception):
    """A computation could not be done: the message says which and why."""


class Promise:
    """Arrays that a step will have computed; `step` is None once they are there.

    `file` stands for the checkpoint's copy, which goes when no promise holds it any more; `keep` says that the copy is
    to stay, as a resumed run asks for these arrays again.
    """

    __slots__ = ("file", "keep", "step", "value")

    def __init__(self, *, keep: bool = False) -> None:
        self.step: Step | None = None
        self.value: ArrayDict | None = None
        self.file: object = None
        self.keep = keep


def arrays_of(argument: Any) -> Any:
    """An argument with the arrays of a kept promise in its place."""
    if type(argument) is not Promise:
        return argument
    if argument.value is None:
        raise NumericsFailed("the checkpoint has not kept a result that is needed")
    return argument.value


class Work(Protocol):
    """What a step does: independent parts, and an end after all of them."""

    def part(self, number: int) -> None:
        """Compute one part."""

    def end(self) -> None:
        """All parts are done: keep the promises."""


class Step:
    """Work that waits for others and that others wait for."""

    __slots__ = ("begun", "done", "followers", "left", "number", "parts", "waits", "work")

    def __init__(self, number: int, parts: int, work: Work | None) -> None:
        self.number = number
        self.parts = parts
        self.work = work
        self.begun = 0
        self.left = parts
        self.waits = 0
        self.followers: list[Step] = []
        self.done = False

    @property
    def is_restored(self) -> bool:
        """Whether its results came from a checkpoint."""
        return not self.parts


class Executor:
    """Threads that take steps in the order of their numbers, as far as nothing that they need is missing.

    A failure is kept, and raised by the next `wait`; nothing more is computed after it.
    """

    def __init__(self, threads: int) -> None:
        if threads < 0:
            raise ValueError(f"threads is {threads}; 0 or more are expected")
        self.threads = threads
        self._steps = 0
        self._ready: list[tuple[int, Step]] = []
        self._changed = threading.Condition()
        self._open = 0
        self._failure: BaseException | None = None
        self._workers: list[threading.Thread] = []
        self._stopping = False

    @property
    def next_number(self) -> int:
        """The number of the next step."""
        return self._steps

    def skip(self) -> Step:
        """A step whose results are there already."""
        step = Step(self._steps, 0, None)
        step.done = True
        self._steps += 1
        return step

    def slices(self, jobs: int, flops: float) -> int:
        """Parts that so many jobs of about so many FLOPs each are worth."""
        worth = max(jobs // LEAST_SLICE, int(min(jobs, jobs * flops / LEAST_FLOPS)))
        return max(1, min(self.threads * SLICES_PER_THREAD, worth))

    def submit(self, parts: int, make: Callable[[Step], Work], after: Sequence[Step]) -> Step:
        """Add a step of so many parts that begins after others."""
        step = Step(self._steps, parts, None)
        self._steps += 1
        step.work = make(step)
        if not self.threads:
            for number in range(parts):
                step.work.part(number)
            self._ended(step)
            return step
        with self._changed:
            for other in after:
                if not other.done:
                    step.waits += 1
                    other.followers.append(step)
            self._open += 1
            if not step.waits:
                heapq.heappush(self._ready, (step.number, step))
                self._changed.notify_all()
        if not self._workers:
            sys.setswitchinterval(min(sys.getswitchinterval(), SWITCH_INTERVAL_S))
            self._workers = [
                threading.Thread(target=self._live, name=f"numerics-{i}", daemon=True) for i in range(self.threads)
            ]
            for worker in self._workers:
                worker.start()
        return step

    def wait(self, step: Step | None) -> None:
        """Return when a step has ended. Raises what went wrong in it or before it."""
        if step is None or step.done:
            return
        with self._changed:
            self._changed.wait_for(lambda: step.done or self._failure is not None)
            if not step.done:
                self._raise()

    def drain(self) -> None:
        """Return when all steps have ended, and let the threads go. Raises what went wrong."""
        with self._changed:
            self._changed.wait_for(lambda: not self._open or self._failure is not None)
        self.stop()
        if self._failure is not None:
            self._raise()

    def stop(self) -> None:
        """Let the threads end after the parts that they are at."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        for worker in self._workers:
            worker.join()
        self._workers = []
        self._stopping = False

    def _raise(self) -> None:
        assert self._failure is not None
        raise self._failure

    def _ended(self, step: Step) -> None:
        assert step.work is not None
        step.work.end()
        step.work = None
        step.done = True

    def _take(self) -> tuple[Step, int] | None:
        """The next part to compute; None when the threads are to end."""
        with self._changed:
            while True:
                if self._stopping or self._failure is not None:
                    return None
                if self._ready:
                    step = self._ready[0][1]
                    number = step.begun
                    step.begun += 1
                    if step.begun == step.parts:
                        heapq.heappop(self._ready)
                    return step, number
                self._changed.wait()

    def _live(self) -> None:
        while (taken := self._take()) is not None:
            step, number = taken
            try:
                assert step.work is not None
                step.work.part(number)
                with self._changed:
                    step.left -= 1
                    last = not step.left
                if last:
                    self._ended(step)
            except BaseException as failure:  # noqa: BLE001  it is raised where somebody waits
                with self._changed:
                    if self._failure is None:
                        self._failure = failure
                    self._changed.notify_all()
                return
            if last:
                with self._changed:
                    self._open -= 1
                    for follower in step.followers:
                        follower.waits -= 1
                        if not follower.waits:
                            heapq.heappush(self._ready, (follower.number, follower))
                    step.followers = []
                    self._changed.notify_all()
