"""Runs a batch of equal calls through its program: stacks what differs, passes once what is shared, in chunks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
import numpy.typing as npt

from core.compute.function import Function, HostFunction, Kind, PayloadKind, ShardKind, ValueKind, outputs_of
from core.compute.layout import Compiled, Fold, Plan, compiled
from core.wire import ArrayDict

#: The arguments of one call, every payload computed.
Call = tuple[Any, ...]


class Folding(NamedTuple):
    """The sum that a batch goes into, the weights of its jobs and what was summed before."""

    fold: Fold
    weights: Sequence[int]
    total: ArrayDict


class Outcome(NamedTuple):
    """Results in the order of the calls, the sum with their contributions, and what was compiled and called for it."""

    results: list[dict[str, ArrayDict]]
    total: ArrayDict | None
    plan: Plan | None
    device_calls: int


def plan_batch(
    function: Function, kinds: tuple[Kind, ...], calls: Sequence[Call], fold: Fold | None, layout: str
) -> Plan:
    """The plan of a batch: a payload is shared if it is the same object in all calls."""
    first = calls[0]
    stacked = tuple(
        isinstance(kind, PayloadKind) and any(call[position] is not first[position] for call in calls)
        for position, kind in enumerate(kinds)
    )
    return Plan(function, kinds, stacked, fold, layout)


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


def _store(outputs: Any, n: int, capacity: int) -> list[dict[str, ArrayDict]]:
    """One dict of groups per job; rows are copied out of the batch unless it has room for one only."""
    arrays = jax.tree.map(np.asarray, outputs)
    return [
        {
            group: ArrayDict({name: a[i] if capacity == 1 else a[i].copy() for name, a in named.items()})
            for group, named in arrays.items()
        }
        for i in range(n)
    ]


def run_batch(
    function: Function, kinds: tuple[Kind, ...], calls: Sequence[Call], layout: str, folding: Folding | None = None
) -> Outcome:
    """Compute all calls of one function with equal kinds (and equal resident rows)."""
    if isinstance(function, HostFunction):
        groups = outputs_of(function, kinds)
        return Outcome([function.run(call, groups) for call in calls], None, None, 0)
    plan = plan_batch(function, kinds, calls, folding.fold if folding else None, layout)
    program: Compiled = compiled(plan)
    shared = _shared(plan, calls[0])
    total: Any = dict(folding.total) if folding else None
    chunks = -(-len(calls) // program.capacity)
    size = -(-len(calls) // chunks)
    parts: list[tuple[int, Any]] = []
    for start in range(0, len(calls), size):
        chunk = calls[start : start + size]
        weights = None
        if folding:
            weights = np.zeros(program.capacity, np.int32)
            weights[: len(chunk)] = folding.weights[start : start + size]
        each = _columns(plan, chunk, program.capacity)
        total, outputs = program.program(np.int32(len(chunk)), shared, each, weights, total)
        parts.append((len(chunk), outputs))
    results = [job for n, outputs in parts for job in _store(outputs, n, program.capacity)]
    summed = ArrayDict({name: np.asarray(array) for name, array in total.items()}) if folding else None
    return Outcome(results, summed, plan, len(parts))
