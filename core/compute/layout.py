"""How a batch of equal jobs becomes one compiled program: the seam behind which layouts are chosen.

`scan` runs singles one after the other in a `fori_loop` with a dynamic count and each job's own trip counts: nothing
is padded, and one compilation serves every cohort size. On CPUs it is the fastest form that was measured.
`vmap:W` runs W jobs side by side, padded and masked; it suits accelerators. In both, a sum over the jobs can be the
loop's carry, so that what is summed is never stored. The layout can change the last bits of a result, and is
therefore part of a run's manifest.
"""

from __future__ import annotations

import dataclasses
import functools
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
    """

    function: Function
    kinds: tuple[Kind, ...]
    stacked: tuple[bool, ...]
    fold: Fold | None
    layout: str

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


def _single(plan: Plan) -> Callable[[dict[int, Any], dict[int, Any]], dict[str, dict[str, jax.Array]]]:
    """One job of a plan, of the shared arguments and its own."""
    kinds, stacked, fn = plan.kinds, plan.stacked, plan.function.fn

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
        result = lax.optimization_barrier(fn(*arguments))  # type: ignore[no-untyped-call]
        return {group: dict(arrays) for group, arrays in result.items()}

    return run


def _row(tree: Any, i: jax.Array) -> Any:
    return jax.tree.map(lambda array: lax.dynamic_index_in_dim(array, i, 0, keepdims=False), tree)


def _empty(plan: Plan, capacity: int) -> dict[str, dict[str, jax.Array]]:
    return {
        group: {name: jnp.zeros((capacity, *s.shape), np.dtype(s.dtype)) for name, s in kind.spec.items()}
        for group, kind in plan.kept().items()
    }


def _scan(plan: Plan, capacity: int) -> Program:
    single = _single(plan)
    fold = plan.fold

    def program(count: jax.Array, shared: Any, each: Any, weights: Any, total: Any) -> tuple[Any, Any]:
        def body(i: jax.Array, state: tuple[Any, Any]) -> tuple[Any, Any]:
            total, stored = state
            result = single(shared, _row(each, i))
            if fold is not None:
                total = fold.accumulation.fn(total, result.pop(fold.group), weights[i])["sum"]
            stored = jax.tree.map(lambda s, r: lax.dynamic_update_index_in_dim(s, r, i, 0), stored, result)
            return total, stored

        state: tuple[Any, Any] = lax.fori_loop(jnp.int32(0), count, body, (total, _empty(plan, capacity)))
        return state

    return program


def _vmap(plan: Plan, capacity: int) -> Program:
    single = jax.vmap(_single(plan), in_axes=(None, 0), axis_size=capacity)
    fold = plan.fold

    def program(count: jax.Array, shared: Any, each: Any, weights: Any, total: Any) -> tuple[Any, Any]:
        results = single(shared, each)
        if fold is not None:
            items = results.pop(fold.group)

            def body(i: jax.Array, total: Any) -> Any:
                return fold.accumulation.fn(total, _row(items, i), weights[i])["sum"]

            total = lax.fori_loop(jnp.int32(0), count, body, total)
        return total, results

    return program


@dataclasses.dataclass(frozen=True)
class Compiled:
    """A program and the number of jobs it takes a call."""

    program: Program
    capacity: int


def width_of(layout: str) -> int | None:
    """The width of a `vmap:W` layout, None for `scan`. Raises `ValueError` for any other name."""
    if layout == "scan":
        return None
    kind, _, width = layout.partition(":")
    if kind == "vmap" and width.isdecimal() and int(width) >= 1:
        return int(width)
    raise ValueError(f"unknown layout {layout!r}: `scan` or `vmap:W` with a width W >= 1")


@functools.lru_cache(maxsize=1024)
def compiled(plan: Plan) -> Compiled:
    """The program of a plan, made once per process; XLA compiles it at its first call."""
    width = width_of(plan.layout)
    if width is not None:
        return Compiled(jax.jit(_vmap(plan, width)), width)
    capacity = max(1, min(MAX_CAPACITY, MAX_BATCH_BYTES // max(1, _job_bytes(plan))))
    return Compiled(jax.jit(_scan(plan, capacity)), capacity)
