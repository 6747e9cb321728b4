"""The way to compute of a run in which nothing is computed: jobs take their time and energy, and have no numbers.

Shapes, sizes and work are those of real numerics, so that times, energies and traffic are too, unless a looked-at
value steers the run: a look finds NaN in floats and 0 in integers.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from core.compute.counts import Counts
from core.compute.deferred import Deferred
from core.compute.function import Function, Kind, PayloadKind, kind_of, outputs_of
from core.compute.graph import Entry, Node
from core.devices import Work
from core.wire import ArrayDict, Payload


def nothing(kind: PayloadKind) -> ArrayDict:
    """Arrays of a kind in which there are no numbers: NaN, and 0 in integers."""
    return ArrayDict(
        {
            name: np.full(s.shape, np.nan if np.dtype(s.dtype).kind == "f" else 0, np.dtype(s.dtype))
            for name, s in kind.spec.items()
        }
    )


class Timing:
    """Takes the place of an `Evaluator` at the fidelity `timing`."""

    def __init__(self) -> None:
        self.counts = Counts()
        self._begun: dict[int, tuple[Function, Sequence[Any]]] = {}
        self._begun_jobs = 0
        self._outcomes: dict[tuple[Function, tuple[Kind, ...]], dict[str, Deferred]] = {}

    def submit(self, function: Function, args: Sequence[Any]) -> dict[str, Deferred]:
        """The shapes of a job's results; all jobs of one function and kinds share them."""
        key = (function, tuple([kind_of(argument) for argument in args]))
        self.counts.jobs_submitted += 1
        outcome = self._outcomes.get(key)
        if outcome is None:
            entry = Entry(function, key[1], outputs_of(function, key[1]), self.counts.of(function.name), 0.0)
            node = Node(0, entry, ())
            outcome = self._outcomes[key] = {
                group: Deferred(node, group, kind) for group, kind in entry.outputs.items()
            }
        return outcome

    def begin(self, function: Function, args: Sequence[Any]) -> int:
        """A device has begun a job."""
        self._begun_jobs += 1
        self._begun[self._begun_jobs] = (function, args)
        return self._begun_jobs

    def end(self, job: int) -> dict[str, Deferred]:
        """The device has done a job."""
        return self.submit(*self._begun.pop(job))

    def drop(self, job: int) -> None:
        """A job that was begun ends without a result."""
        self._begun.pop(job, None)

    def work(self, function: Function, args: Sequence[Any]) -> Work:
        """FLOPs and bytes of the reference step, and the steps that these arguments make."""
        return function.work(*args)

    def resolved(self, payload: Payload) -> ArrayDict:
        """What a record shows of a payload: nothing of one that would have been computed."""
        return payload if isinstance(payload, ArrayDict) else ArrayDict({})

    def value(self, payload: Payload, *, ahead: bool = False) -> ArrayDict:
        """A look, at nothing."""
        if isinstance(payload, ArrayDict):
            return payload
        assert isinstance(payload, Deferred)
        return nothing(payload.kind)

    def want(self, payload: Payload) -> None:
        """A recorded value: there will be none."""

    def finish(self) -> None:
        """Nothing is left to compute."""

    def close(self) -> None:
        """There are no threads."""
