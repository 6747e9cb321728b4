"""The real world's way to compute: one call at once, through the simulator's own program with a count of one.

That is what makes both worlds agree bit for bit on one host and XLA version with the layout of singles.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from core.compute.batch import plan_batch, run_calls, run_host
from core.compute.deferred import Deferred
from core.compute.function import Function, HostFunction, kind_of
from core.compute.layout import shape_of
from core.devices import Work
from core.wire import ArrayDict


class Eager:
    """Computes calls as they come. It holds no state, and may be used from several threads."""

    def __init__(self, layout: str = "scan") -> None:
        shape_of(layout)
        self.layout = layout

    def run(self, function: Function, args: Sequence[Any]) -> dict[str, ArrayDict]:
        """The output groups of one call. Raises `TypeError` or `ValueError` for arguments no function takes."""
        kinds = tuple(kind_of(argument) for argument in args)
        if any(type(argument) is Deferred for argument in args):
            raise TypeError(f"{function.name} was given a deferred argument outside of its evaluator")
        calls = [tuple(args)]
        if isinstance(function, HostFunction):
            return run_host(function, kinds, calls)[0]
        outcome, _ = run_calls(plan_batch(function, kinds, calls, None, self.layout), calls)
        return outcome.results[0]

    def work(self, function: Function, args: Sequence[Any]) -> Work:
        """FLOPs and bytes of the reference step, and the steps that these arguments make."""
        return function.work(*args)
