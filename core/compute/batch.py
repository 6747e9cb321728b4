"""Runs equal calls through their program: stacks what differs, passes once what is shared, in chunks.

Unequal calls of a batch are dealt to its parts longest first, in blocks of the layout's width, so that what runs side
by side has nearly the same number of steps. A chunk that finds no memory is repeated while no other runs, then halved,
with a program for half as many calls; a single one (or the calls that a layout has side by side) that does not fit is a
failure.
"""

from __future__ import annotations

import contextlib
import dataclasses
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

import jax
import numpy as np
import numpy.typing as npt

from core.compute.counts import Counts
from core.compute.executor import NumericsFailed, Promise, arrays_of
from core.compute.function import Function, HostFunction, Kind, PayloadKind, ShardKind, ValueKind, outputs_of
from core.compute.layout import Compiled, Fold, Plan, compiled, shape_of
from core.wire import ArrayDict

#: The arguments of one call, every payload computed.
Call = tuple[Any, ...]
Results = list[dict[str, ArrayDict]]


class Outcome(NamedTuple):
    """Results in the order of the calls, and the sum of what was folded."""

    results: Results
    total: dict[str, npt.NDArray[Any]] | None


def plan_batch(
    function: Function, kinds: tuple[Kind, ...], calls: Sequence[Call], fold: Fold | None, layout: str
) -> Plan:
    """The plan of a batch: a payload is shared if it is the same object in all calls.

    A lone call without examples, such as the server's step, has a program without room for others, which would cost
    more than the step does. One with examples shares the program of many: it takes long to compile.
    """
    first = calls[0]
    stacked = tuple(
        isinstance(kind, PayloadKind) and any(call[position] is not first[position] for call in calls)
        for position, kind in enumerate(kinds)
    )
    lone = len(calls) == 1 and not any(isinstance(kind, ShardKind) for kind in kinds)
    return Plan(function, kinds, stacked, fold, layout, lone=lone and fold is None)


def deal(calls: Sequence[Call], kinds: tuple[Kind, ...], parts: int, width: int) -> list[list[int]]:
    """The numbers of the calls of each part: longest first, in blocks of `width`, to one part after the other."""
    shards = [position for position, kind in enumerate(kinds) if isinstance(kind, ShardKind)]
    order = list(range(len(calls)))
    if shards and (parts > 1 or width > 1):
        order.sort(key=lambda i: -calls[i][shards[0]].count)
    dealt: list[list[int]] = [[] for _ in range(parts)]
    for block, begin in enumerate(range(0, len(order), width)):
        dealt[block % parts].extend(order[begin : begin + width])
    return [part for part in dealt if part]


def _columns(plan: Plan, calls: Sequence[Call], capacity: int) -> dict[int, Any]:
    """The arguments that differ, each with a leading axis of `capacity`, padded with zeros."""
    each: dict[int, Any] = {}
    n = len(calls)

    def column(shape: tuple[int, ...], dtype: npt.DTypeLike, values: Sequence[Any]) -> npt.NDArray[Any]:
        array = np.zeros((capacity, *shape), dtype)
        for i, value in enumerate(values):
            array[i] = value
        return array

    for position, kind in enumerate(plan.kinds):
        values = [call[position] for call in calls]
        if isinstance(kind, ShardKind):
            counts = np.zeros(capacity, np.int32)
            counts[:n] = [shard.count for shard in values]
            each[position] = (column((kind.capacity,), np.int32, [shard.index for shard in values]), counts)
        elif isinstance(kind, ValueKind):
            each[position] = column(kind.shape, kind.dtype, values)
        elif plan.stacked[position]:
            each[position] = {
                name: column(s.shape, s.dtype, [value[name] for value in values]) for name, s in kind.spec.items()
            }
    return each


def _shared(plan: Plan, call: Call) -> dict[int, Any]:
    shared: dict[int, Any] = {}
    for position, kind in enumerate(plan.kinds):
        if isinstance(kind, ShardKind):
            shared[position] = call[position].rows.resident()
        elif isinstance(kind, PayloadKind) and not plan.stacked[position]:
            shared[position] = dict(call[position])
    return shared


def _store(outputs: Any, n: int, capacity: int) -> Results:
    """One dict of groups per job; rows are copied out of the batch unless it has room for one only."""
    arrays = jax.tree.map(np.asarray, outputs)
    return [
        {
            group: ArrayDict({name: a[i] if capacity == 1 else a[i].copy() for name, a in named.items()})
            for group, named in arrays.items()
        }
        for i in range(n)
    ]


def is_out_of_memory(error: BaseException) -> bool:
    """Whether the device or this machine had no memory left."""
    # JAX raises XLA's status as a `JaxRuntimeError` or, at a program's first call, as a `ValueError`.
    exhausted = isinstance(error, jax.errors.JaxRuntimeError | ValueError) and "RESOURCE_EXHAUSTED" in str(error)
    return exhausted or isinstance(error, MemoryError)


class _Room:
    """The memory of the process: calls of programs share it, but for those that need all of it."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._inside = 0
        self._taken = False

    @contextlib.contextmanager
    def shared(self) -> Iterator[None]:
        """Others may be in it too."""
        with self._changed:
            while self._taken:
                self._changed.wait()
            self._inside += 1
        try:
            yield
        finally:
            with self._changed:
                self._inside -= 1
                if self._taken:
                    self._changed.notify_all()

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """Nobody else is in it. Not to be asked for by who is."""
        with self._changed:
            self._changed.wait_for(lambda: not self._taken)
            self._taken = True
            self._changed.wait_for(lambda: not self._inside)
        try:
            yield
        finally:
            with self._changed:
                self._taken = False
                self._changed.notify_all()


_ROOM: Final = _Room()


class Shortages(NamedTuple):
    """What want of memory made of some calls: chunks repeated while no other ran, and chunks halved."""

    retries: int
    splits: int


class _Run:
    """The state of running some calls of one plan."""

    def __init__(self, plan: Plan, calls: Sequence[Call], weights: Sequence[int]) -> None:
        self.plan = plan
        self.program: Compiled = compiled(plan)
        self.calls = calls
        self.weights = weights
        self.shared = _shared(plan, calls[0])
        self.total: Any = None
        self.results: Results = []
        self.retries = 0
        self.splits = 0
        if plan.fold is not None:
            self.total = {name: np.zeros(s.shape, s.dtype) for name, s in plan.fold.total.spec.items()}

    def chunk(self, begin: int, end: int) -> None:
        """Add what the calls from `begin` to `end` give."""
        with _ROOM.shared():
            shortage = self._attempt(begin, end)
        if shortage:
            self.retries += 1
            with _ROOM.alone():
                self._fit(begin, end)

    def _fit(self, begin: int, end: int) -> None:
        """The same, in halves as far as there is no room. What comes after them finds no more, and is as small."""
        width = 1 if self.plan.lone else shape_of(self.plan.layout).width
        while begin < end:
            stop = min(end, begin + self.program.capacity)
            shortage = self._attempt(begin, stop)
            if not shortage:
                begin = stop
                continue
            groups = -(-(stop - begin) // width)
            if groups == 1 and self.program.capacity == width:
                what = f"one call of {self.plan.function.name}"
                if width > 1:
                    what = f"{width} calls of {self.plan.function.name} side by side (layout {self.plan.layout})"
                raise NumericsFailed(f"the memory does not suffice for {what}: {shortage}")
            self.splits += 1
            self.program = compiled(dataclasses.replace(self.plan, most=-(-groups // 2) * width))

    def _attempt(self, begin: int, end: int) -> str:
        """Add what the calls give, or say what had no room; nothing of the attempt is left then."""
        try:
            self._call(begin, end)
        except (MemoryError, ValueError, jax.errors.JaxRuntimeError) as error:
            if not is_out_of_memory(error):
                raise
            return str(error) or "no memory"
        return ""

    def _call(self, begin: int, end: int) -> None:
        capacity = self.program.capacity
        weights = None
        if self.plan.fold is not None:
            weights = np.zeros(capacity, np.int32)
            weights[: end - begin] = self.weights[begin:end]
        each = _columns(self.plan, self.calls[begin:end], capacity)
        total, outputs = self.program(np.int32(end - begin), self.shared, each, weights, self.total)
        self.results += _store(outputs, end - begin, capacity)
        self.total = total


def run_calls(plan: Plan, calls: Sequence[Call], weights: Sequence[int] = ()) -> tuple[Outcome, Shortages]:
    """Compute calls of one plan; also what want of memory made of them. Raises `NumericsFailed`."""
    try:
        run = _Run(plan, calls, weights)
    except (MemoryError, ValueError, jax.errors.JaxRuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        raise NumericsFailed(f"the memory does not suffice for what {plan.function.name} is given: {error}") from error
    begin = 0
    while begin < len(calls):
        left = len(calls) - begin
        chunks = -(-left // run.program.capacity)
        end = begin + -(-left // chunks)
        run.chunk(begin, end)
        begin = end
    total = None if run.total is None else {name: np.asarray(array) for name, array in run.total.items()}
    return Outcome(run.results, total), Shortages(run.retries, run.splits)


def device_calls(plan: Plan, dealt: Sequence[Sequence[int]]) -> int:
    """Calls of the program that the parts of a batch take."""
    capacity = compiled(plan).capacity
    return sum(-(-len(part) // capacity) for part in dealt)


def run_host(function: HostFunction, kinds: tuple[Kind, ...], calls: Sequence[Call]) -> Results:
    """Call a host function for each call."""
    groups = outputs_of(function, kinds)
    return [function.run(call, groups) for call in calls]


#: The name under which a step keeps the sum that its jobs were folded into.
TOTAL = "total"
#: The promises of a step by group, one a job.
Kept = Mapping[str, Sequence[Promise]]


class BatchWork:
    """A batch as the work of a step: parts of dealt calls, whose results become the values of promises.

    `kept` has the promises of each group by call, and under `TOTAL` that of what was folded. `plan` is None for a host
    function. Arguments may be promises of earlier steps. `note` is called when all is there.
    """

    def __init__(
        self,
        function: Function,
        kinds: tuple[Kind, ...],
        plan: Plan | None,
        calls: Sequence[Call],
        weights: Sequence[int],
        dealt: Sequence[Sequence[int]],
        kept: Kept,
        counts: Counts,
        note: Callable[[], None],
    ) -> None:
        self.function = function
        self.kinds = kinds
        self.plan = plan
        self.calls = calls
        self.weights = weights
        self.dealt = dealt
        self.kept = kept
        self.counts = counts
        self.note = note
        self.totals: list[dict[str, npt.NDArray[Any]] | None] = [None] * len(dealt)
        self.shortages = [Shortages(0, 0)] * len(dealt)

    def part(self, number: int) -> None:
        mine = self.dealt[number]
        calls = [tuple([arrays_of(argument) for argument in self.calls[i]]) for i in mine]
        if self.plan is None:
            assert isinstance(self.function, HostFunction)
            results = run_host(self.function, self.kinds, calls)
        else:
            weights = [self.weights[i] for i in mine] if self.weights else ()
            (results, self.totals[number]), self.shortages[number] = run_calls(self.plan, calls, weights)
        for i, groups in zip(mine, results, strict=True):
            for group, arrays in groups.items():
                self.kept[group][i].value = arrays

    def end(self) -> None:
        self.counts.memory_retries += sum(found.retries for found in self.shortages)
        self.counts.memory_splits += sum(found.splits for found in self.shortages)
        if TOTAL in self.kept:
            self.kept[TOTAL][0].value = _added([total for total in self.totals if total is not None])
        self.note()


class SumWork:
    """The end of a chain of sums: what it is based on plus the totals of the batches that went into it."""

    def __init__(self, parts: Sequence[Any], kept: Kept, note: Callable[[], None]) -> None:
        self.parts = parts
        self.kept = kept
        self.note = note

    def part(self, number: int) -> None:
        self.kept[TOTAL][0].value = _added([arrays_of(part) for part in self.parts])

    def end(self) -> None:
        self.note()


def _added(sums: Sequence[Mapping[str, npt.NDArray[Any]]]) -> ArrayDict:
    return ArrayDict({name: sum((other[name] for other in sums[1:]), sums[0][name]) for name in sums[0]})
