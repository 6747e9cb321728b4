"""How a batch of equal jobs becomes one compiled program: the seam behind which layouts are chosen.

`scan` runs singles one after the other in a `fori_loop` with a dynamic count and each job's own trip counts: nothing
is padded, and one compilation serves every cohort size. On CPUs it is the fastest form that was measured.
`vmap:W` runs W jobs side by side, padded and masked, in one call; `scan/vmap:W` runs such groups one after the other in
one call. They suit accelerators. In all, a sum over the jobs can be the loop's carry, so that what is summed is never
stored. The layout can change the last bits of a result, and is therefore part of a run's manifest; in how many
threads the programs run cannot.
"""

from __future__ import annotations

import dataclasses
import functools
import threading
from collections.abc import Callable
from typing import Any, Final, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from core.compute.function import Accumulation, Function, Kind, PayloadKind, ShardKind, ShardView, outputs_of

#: Jobs that one call of a program takes at most.
MAX_CAPACITY: Final = 64
#: What the stacked arguments and results of one call may occupy (it bounds the capacity for large results).
MAX_BATCH_BYTES: Final = 1 << 20

#: `count, shared, each, weights, total -> total, results`; see `Plan`.
Program: TypeAlias = Callable[..., tuple[Any, Any]]


@dataclasses.dataclass(frozen=True)
class Fold:
    """The jobs' output `group` goes into a sum of kind `total`, and is not stored."""

    accumulation: Accumulation
    total: PayloadKind
    group: str


@dataclasses.dataclass(frozen=True)
class Plan:
    """All that the compilation of a batch depends on.

    `stacked[i]` says whether the payload at argument i differs from job to job. A program takes `shared`
    {position: arrays} (payloads common to all jobs, resident rows), `each` {position: arrays with a leading axis of
    `capacity`} (everything else), `count` int32[], and for a fold `weights` int32[capacity] and the `total` so far.
    `most` bounds the capacity; `lone` says that there is never more than one call.
    """

    function: Function
    kinds: tuple[Kind, ...]
    stacked: tuple[bool, ...]
    fold: Fold | None
    layout: str
    most: int = MAX_CAPACITY
    lone: bool = False

    def kept(self) -> dict[str, PayloadKind]:
        """The output groups that are stored."""
        groups = outputs_of(self.function, self.kinds)
        return {name: kind for name, kind in groups.items() if self.fold is None or name != self.fold.group}


def _job_bytes(plan: Plan) -> int:
    size = sum(kind.nbytes for kind in plan.kept().values())
    for kind, stacked in zip(plan.kinds, plan.stacked, strict=True):
        if isinstance(kind, ShardKind):
            size += 4 * kind.capacity
        elif stacked and isinstance(kind, PayloadKind):
            size += kind.nbytes
    return size


def _inlined(function: Function, *arguments: Any) -> Any:
    """What a function gives, by the trace from which JAX has told the shapes of its results: it is not made again."""
    return jax.jit(function.traced, inline=True)(*arguments)


def _single(plan: Plan) -> Callable[[dict[int, Any], dict[int, Any]], dict[str, dict[str, jax.Array]]]:
    """One job of a plan, of the shared arguments and its own."""
    kinds, stacked, function = plan.kinds, plan.stacked, plan.function

    def run(shared: dict[int, Any], each: dict[int, Any]) -> dict[str, dict[str, jax.Array]]:
        arguments: list[Any] = []
        for position, kind in enumerate(kinds):
            if isinstance(kind, ShardKind):
                arguments.append(ShardView(shared[position], *each[position]))
            elif isinstance(kind, PayloadKind) and not stacked[position]:
                arguments.append(shared[position])
            else:
                arguments.append(each[position])
        # The barrier keeps a job's arithmetic apart from what a layout does with its results.
        result = lax.optimization_barrier(_inlined(function, *arguments))  # type: ignore[no-untyped-call]
        return {group: dict(arrays) for group, arrays in result.items()}

    return run


def _row(tree: Any, i: jax.Array) -> Any:
    def row(array: jax.Array) -> Any:
        return lax.dynamic_index_in_dim(array, i, 0, keepdims=False, allow_negative_indices=False)

    return jax.tree.map(row, tree)


def _empty(plan: Plan, capacity: int) -> dict[str, dict[str, jax.Array]]:
    return {
        group: {name: jnp.zeros((capacity, *s.shape), np.dtype(s.dtype)) for name, s in kind.spec.items()}
        for group, kind in plan.kept().items()
    }


def _lone(plan: Plan) -> Program:
    """One job without a loop around it, which would be compiled too, with all that the job computes for nothing."""
    single = _single(plan)

    def program(count: jax.Array, shared: Any, each: Any, weights: Any, total: Any) -> tuple[Any, Any]:
        result = single(shared, jax.tree.map(lambda array: array[0], each))
        return total, jax.tree.map(lambda array: array[None], result)

    return program


def _scan(plan: Plan, capacity: int) -> Program:
    single = _single(plan)
    fold = plan.fold

    def program(count: jax.Array, shared: Any, each: Any, weights: Any, total: Any) -> tuple[Any, Any]:
        def body(i: jax.Array, state: tuple[Any, Any]) -> tuple[Any, Any]:
            def store(stored: jax.Array, row: jax.Array) -> Any:
                return lax.dynamic_update_index_in_dim(stored, row, i, 0, allow_negative_indices=False)

            total, stored = state
            result = single(shared, _row(each, i))
            if fold is not None:
                total = _inlined(fold.accumulation, total, result.pop(fold.group), _row(weights, i))["sum"]
            return total, jax.tree.map(store, stored, result)

        state: tuple[Any, Any] = lax.fori_loop(np.int32(0), count, body, (total, _empty(plan, capacity)))
        return state

    return program


def _groups(plan: Plan, capacity: int, width: int) -> Program:
    """Groups of `width` jobs side by side, one group after the other."""
    side_by_side = jax.vmap(_single(plan), in_axes=(None, 0), axis_size=width)
    fold = plan.fold

    def program(count: jax.Array, shared: Any, each: Any, weights: Any, total: Any) -> tuple[Any, Any]:
        def body(g: jax.Array, state: tuple[Any, Any]) -> tuple[Any, Any]:
            total, stored = state
            begin = g * np.int32(width)
            results = side_by_side(shared, jax.tree.map(lambda a: lax.dynamic_slice_in_dim(a, begin, width), each))
            if fold is not None:
                items = results.pop(fold.group)

                def add(i: jax.Array, total: Any) -> Any:
                    return _inlined(fold.accumulation, total, _row(items, i), _row(weights, begin + i))["sum"]

                total = lax.fori_loop(np.int32(0), jnp.minimum(count - begin, width), add, total)
            stored = jax.tree.map(lambda s, r: lax.dynamic_update_slice_in_dim(s, r, begin, 0), stored, results)
            return total, stored

        groups = (count + np.int32(width - 1)) // np.int32(width)
        state: tuple[Any, Any] = lax.fori_loop(np.int32(0), groups, body, (total, _empty(plan, capacity)))
        return state

    return program


class Compiled:
    """A program and the number of jobs it takes a call; XLA compiles it at the first call, in whichever thread."""

    def __init__(self, program: Program, capacity: int) -> None:
        self.capacity = capacity
        self.program = program
        self._lock = threading.Lock()
        self._is_ready = False

    def __call__(self, *arguments: Any) -> tuple[Any, Any]:
        if not self._is_ready:
            with self._lock:
                result = self.program(*arguments)
                self._is_ready = True
                return result
        return self.program(*arguments)


@dataclasses.dataclass(frozen=True)
class Shape:
    """A layout taken apart: jobs side by side (1: singles), and whether such groups follow each other in one call."""

    width: int
    loops: bool


def shape_of(layout: str) -> Shape:
    """What a layout's name says. Raises `ValueError` for an unknown one."""
    if layout == "scan":
        return Shape(1, True)
    outer, _, inner = layout.rpartition("/")
    kind, _, width = inner.partition(":")
    if outer in ("", "scan") and kind == "vmap" and width.isdecimal() and int(width) >= 1:
        return Shape(int(width), outer == "scan")
    raise ValueError(f"unknown layout {layout!r}: `scan`, `vmap:W` or `scan/vmap:W` with a width W >= 1")


@functools.lru_cache(maxsize=1024)
def compiled(plan: Plan) -> Compiled:
    """The program of a plan, made once per process."""
    if plan.lone:
        return Compiled(jax.jit(_lone(plan)), 1)
    shape = shape_of(plan.layout)
    groups = 1
    if shape.loops:
        groups = max(1, min(plan.most, MAX_BATCH_BYTES // max(1, _job_bytes(plan))) // shape.width)
    make = _scan if shape.width == 1 and shape.loops else functools.partial(_groups, width=shape.width)
    capacity = groups * shape.width
    return Compiled(jax.jit(make(plan, capacity)), capacity)
