"""The way to compute of a run whose accuracies follow a fitted learning curve: `Timing`, and a progress of each model.

Nothing is trained. Beside each deferred result goes how far the model is that it rests on, which follows from how
results come about, whatever the algorithm:

- a function without payloads (the initial model) begins at 0;
- a job on a model (training, collecting, …) has the progress of the model that it was given, the furthest of several;
- an `Accumulation` counts its items; what is made of a sum alone (its mean) keeps the count;
- what takes something of a sum of n items together with a model (the server's step) is further by (n/n0)^gamma.

What was computed on payloads of unknown origin, such as arrays from a file, has no progress. An evaluation, the
figures of which the curves tell, of one model and nothing else gets them from the curves; every other number is NaN or
0. Staleness of asynchronous updates is not looked at: it is in the curve as far as the fitted runs had it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import numpy as np

from core.compute.deferred import Deferred
from core.compute.function import KIND_OF, Accumulation, Function, PayloadKind
from core.compute.graph import Node
from core.compute.timing import Timing
from core.records.curves import LearningCurves
from core.wire import ArrayDict, Payload, Spec


class Mark(NamedTuple):
    """Where a result stands: the progress of the model behind it if it is known, and items of the sum that it is of."""

    progress: float | None
    items: int
    #: Whether it was computed on one marked payload and no other: an evaluation of a model, if it has its figures.
    of_one: bool


class Reckoned(Deferred):
    """A result that is never computed, with its mark."""

    __slots__ = ("mark",)

    def __init__(self, node: Node, group: str, kind: PayloadKind, mark: Mark) -> None:
        super().__init__(node, group, kind)
        self.mark: Final = mark


def _kind(value: Reckoned) -> PayloadKind:
    return value.kind


KIND_OF[Reckoned] = _kind


class Surrogate(Timing):
    """Takes the place of an `Evaluator` at the fidelity `surrogate`."""

    def __init__(self, curves: LearningCurves) -> None:
        super().__init__()
        self.curves = curves
        self._figures = dict.fromkeys(curves.curves, Spec("<f4", ()))

    def submit(self, function: Function, args: Sequence[Any]) -> dict[str, Deferred]:
        """The shapes of a job's results, and how far they are."""
        mark = self._mark(function, args)
        outcome = super().submit(function, args)
        return {group: Reckoned(found.node, group, found.kind, mark) for group, found in outcome.items()}

    def _mark(self, function: Function, args: Sequence[Any]) -> Mark:
        marks = [argument.mark for argument in args if type(argument) is Reckoned]
        if not marks:
            unknown = any(isinstance(argument, Payload) for argument in args)
            items = int(isinstance(function, Accumulation))
            return Mark(None if unknown else 0.0, items, False)
        of_one = len(marks) == 1
        if isinstance(function, Accumulation):
            total = args[0]
            before = total.mark.items if type(total) is Reckoned else 0
            return Mark(_furthest(marks), before + 1, False)
        items = max(mark.items for mark in marks)
        models = [mark for mark in marks if not mark.items]
        if not items or not models:
            return Mark(_furthest(marks), items, of_one)
        progress = _furthest(models)
        return Mark(None if progress is None else progress + self.curves.step(items), 0, False)

    def resolved(self, payload: Payload) -> ArrayDict:
        """What a record shows of a payload: an evaluation's figures, and nothing of all else."""
        is_known = type(payload) is Reckoned and self._is_evaluation(payload)
        return self.value(payload) if is_known else super().resolved(payload)

    def value(self, payload: Payload, *, ahead: bool = False) -> ArrayDict:
        """A look: at an evaluation's figures by the curves, or at nothing."""
        if type(payload) is Reckoned and self._is_evaluation(payload):
            progress = payload.mark.progress
            assert progress is not None
            return ArrayDict(
                {name: np.array(self.curves.figure(name, progress), np.float32) for name in payload.kind.spec}
            )
        return super().value(payload, ahead=ahead)

    def _is_evaluation(self, payload: Reckoned) -> bool:
        known = payload.mark.of_one and payload.mark.progress is not None
        return known and payload.group == "metrics" and dict(payload.spec) == self._figures


def _furthest(marks: Sequence[Mark]) -> float | None:
    return max((mark.progress for mark in marks if mark.progress is not None), default=None)
