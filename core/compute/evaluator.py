"""The simulator's way to compute: jobs become nodes of a graph, and a look computes exactly what it rests on.

What is computed, and in which batches, follows from the order of submissions and looks alone: never from memory, a
clock or the garbage collector. Nothing recurses, whatever the depth of the graph. With threads, a batch is computed
beside the simulator's own work, and only a look waits for it.
"""

from __future__ import annotations

import threading
import weakref
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from core.compute.batch import TOTAL, BatchWork, Kept, SumWork, deal, device_calls, plan_batch
from core.compute.checkpoint import Checkpoint, signature
from core.compute.counts import Counts
from core.compute.deferred import Deferred
from core.compute.executor import Executor, Promise, Step, arrays_of
from core.compute.function import Function, HostFunction, Kind, kind_of, outputs_of
from core.compute.graph import Chain, Entry, Node, Schedule, Target, Unit
from core.compute.layout import Fold, Plan, shape_of
from core.devices import Work
from core.wire import ArrayDict, Payload

#: The share of what waits that is to be sums, if only those are computed, is at least one over this.
_LEAST_SUMMED: Final = 8
#: Feeds a stored array into a sum through the same program as a job's result.
_IDENTITY: Final = Function("identity", lambda item: {"item": item}, (), lambda item: Work(0.0, 2.0 * item.nbytes, 1))


class Evaluator:
    """Computes lazily and in batches.

    `max_pending`: how many consumed nodes (arguments of others, or wanted) may wait before the oldest are computed.
    `layout`: see `core.compute.layout`. `threads`: see `core.compute.executor`; they change no bit. `checkpoint`: where
    finished batches are noted, and what it holds is not computed again.
    """

    def __init__(
        self,
        *,
        max_pending: int = 512,
        layout: str = "scan",
        threads: int = 0,
        checkpoint: Checkpoint | None = None,
    ) -> None:
        self._width = shape_of(layout).width
        if max_pending < 2:
            raise ValueError(f"max_pending is {max_pending}; at least 2 jobs must be allowed to wait")
        self.layout = layout
        self.max_pending = max_pending
        self.counts = Counts()
        self._entries: dict[tuple[Function, tuple[Kind, ...]], Entry] = {}
        self._plans: set[Plan] = set()
        self._executor = Executor(threads)
        self._checkpoint = checkpoint
        #: Guards what promises say of the checkpoint's files; threads note steps one at a time.
        self._noting = threading.Lock()
        #: Stands for the files that are to stay.
        self._lasting: list[object] = []
        #: The last step of each of the last rounds of computing: the simulator is not more than one ahead.
        self._last_steps: list[Step] = []
        self._is_closed = False
        self._order = 0
        #: Jobs that devices are at: what they were given, or their results if a look ahead has added them.
        self._begun: dict[int, tuple[Function, Sequence[Any]] | dict[str, Deferred]] = {}
        self._begun_jobs = 0
        #: Consumed or wanted nodes that are not computed.
        self._pending: dict[Node, None] = {}

    # -- building the graph

    def submit(self, function: Function, args: Sequence[Any]) -> dict[str, Deferred]:
        """Add a job; nothing is computed, unless more than `max_pending` wait.

        Returns one `Deferred` for each output group. Raises `TypeError` or `ValueError` for arguments that no
        function takes, and whatever tracing the function for new kinds of arguments raises.
        """
        kinds = tuple([kind_of(argument) for argument in args])
        entry = self._entries.get((function, kinds))
        if entry is None:
            entry = self._enter(function, kinds, args)
        self._order += 1
        node = Node(self._order, entry, self._own(args))
        for position, argument in enumerate(node.args):
            if type(argument) is Deferred:
                parent, group = argument.node, argument.group
                parent.uses[group] = parent.uses.get(group, 0) + 1
                if entry.accumulation is None or position:
                    parent.ends = True
                self._pending[parent] = None
        self.counts.jobs_submitted += 1
        entry.counts.jobs_submitted += 1
        if len(self._pending) > self.max_pending:
            self._compute_oldest()
        return {group: Deferred(node, group, kind) for group, kind in entry.outputs.items()}

    def _enter(self, function: Function, kinds: tuple[Kind, ...], args: Sequence[Any]) -> Entry:
        work = function.work(*args)
        outputs = outputs_of(function, kinds)
        entry = Entry(function, kinds, outputs, self.counts.of(function.name), work.flops * work.steps)
        self._entries[function, kinds] = entry
        return entry

    def _own(self, args: Sequence[Any]) -> tuple[Any, ...]:
        """The arguments as a node may keep them: computed payloads in place, small arrays copied."""
        own = []
        for argument in args:
            if type(argument) is Deferred:
                value = argument.node.values.get(argument.group)
                if value is not None:
                    self._mark_useful(argument.node)
                    argument = value
            elif type(argument) is np.ndarray:
                argument = argument.copy()
            own.append(argument)
        return tuple(own)

    def begin(self, function: Function, args: Sequence[Any]) -> int:
        """A device has begun a job: a look ahead may compute it already. Returns what `end` or `drop` is told."""
        self._begun_jobs += 1
        self._begun[self._begun_jobs] = (function, args)
        return self._begun_jobs

    def end(self, job: int) -> dict[str, Deferred]:
        """The device has done a job: add it, if no look ahead has. Raises as `submit` does."""
        found = self._begun.pop(job)
        return found if isinstance(found, dict) else self.submit(*found)

    def drop(self, job: int) -> None:
        """A job that was begun ends without a result; if it was computed ahead, that was wasted."""
        self._begun.pop(job, None)

    def work(self, function: Function, args: Sequence[Any]) -> Work:
        """FLOPs and bytes of the reference step, and the steps that these arguments make."""
        return function.work(*args)

    # -- looking

    def resolved(self, payload: Payload) -> ArrayDict | None:
        """The arrays if they are computed or being computed already; no look. After `close`: if they are there."""
        if isinstance(payload, ArrayDict):
            return payload
        promise = _deferred(payload).node.values.get(_deferred(payload).group)
        if promise is None or (self._is_closed and promise.step is not None):
            return None
        return self._kept(promise)

    def _kept(self, promise: Promise) -> ArrayDict:
        """The arrays of a promise, once they are there."""
        self._executor.wait(promise.step)
        arrays: ArrayDict = arrays_of(promise)
        return arrays

    def _keep(self, promise: Promise) -> None:
        """A resumed run will ask for these arrays again."""
        if self._checkpoint is not None and not promise.keep:
            with self._noting:
                promise.keep = True
                if promise.file is not None:
                    self._lasting.append(promise.file)

    def value(self, payload: Payload, *, ahead: bool = False) -> ArrayDict:
        """Look: compute exactly what the payload rests on.

        `ahead`: jobs that devices are at join the batches of their likes, as they will be looked at soon. Who joins
        follows from the order of submissions; a job that is then dropped counts as wasted.
        """
        if isinstance(payload, ArrayDict):
            return payload
        deferred = _deferred(payload)
        self.counts.looks += 1
        found = deferred.node.values.get(deferred.group)
        if found is None:
            targets = [(deferred.node, deferred.group)]
            if ahead:
                targets += self._ahead(targets)
            self._evaluate(targets)
            found = deferred.node.values[deferred.group]
        self._mark_useful(deferred.node)
        self._keep(found)
        return self._kept(found)

    def _ahead(self, targets: Sequence[Target]) -> list[Target]:
        """The results of begun jobs of the functions and kinds that these targets take."""
        entries = {node.entry for node in Schedule(targets).needed if node.entry.accumulation is None}
        found: list[Target] = []
        for job, begun in list(self._begun.items()):
            if isinstance(begun, dict):
                continue
            function, args = begun
            if self._entries.get((function, tuple([kind_of(argument) for argument in args]))) in entries:
                outcome = self._begun[job] = self.submit(function, args)
                found += [(payload.node, payload.group) for payload in outcome.values()]
        return found

    def want(self, payload: Payload) -> None:
        """Have a payload computed at the latest at `finish` (a recorded value is no look)."""
        if isinstance(payload, ArrayDict):
            return
        deferred = _deferred(payload)
        node = deferred.node
        self._mark_useful(node)
        found = node.values.get(deferred.group)
        if found is not None:
            self._keep(found)
            return
        if node.wanted is None:
            node.wanted = set()
        node.wanted.add(deferred.group)
        node.ends = True
        self._pending[node] = None
        if len(self._pending) > self.max_pending:
            self._compute_oldest()

    def finish(self) -> None:
        """Compute all that is wanted, forget the rest, and wait. Raises `NumericsFailed`."""
        self._evaluate([(node, group) for node in self._pending for group in sorted(node.wanted or ())])
        self._pending.clear()
        self._executor.drain()

    def close(self) -> None:
        """Let the threads end after what they are at; what is not computed then never is."""
        self._is_closed = True
        self._executor.stop()

    def _mark_useful(self, node: Node) -> None:
        if not node.useful:
            node.useful = True
            if node.executed:
                self.counts.jobs_wasted -= 1

    # -- computing

    def _compute_oldest(self) -> None:
        """Compute the older half of what waits, up to the newest sum in it that is complete.

        Where none is, as in a large cohort, what has been summed so far is computed: results that are still on their
        way to a sum would have to be stored, while a job that waits takes no room.

        Neither rule does for the other: what is summed alone divides rounds (68 batches where 60 rounds of ten are one
        each), and the older half alone takes 81 batches for three rounds of 2000 that are 28 otherwise.
        """
        nodes = sorted(self._pending, key=lambda node: node.order)
        half = nodes[: (len(nodes) + 1) // 2]
        ends = [i for i, node in enumerate(half) if node.ends and node.entry.accumulation is not None]
        if ends:
            chosen = half[: ends[-1] + 1]
        else:
            sums = [node for node in nodes if node.entry.accumulation is not None]
            if len(sums) * _LEAST_SUMMED < len(nodes):
                chosen = half
            else:
                items = {node.args[1].node for node in sums if type(node.args[1]) is Deferred}
                chosen = [node for node in nodes if node in items or node.entry.accumulation is not None]
        inside = Counter((a.node, a.group) for node in chosen for a in node.args if type(a) is Deferred)
        targets = [
            (node, group)
            for node in chosen
            for group in node.entry.outputs
            if group not in node.values and (node.is_wanted(group) or node.uses.get(group, 0) > inside[node, group])
        ]
        self._evaluate(targets)

    def _evaluate(self, targets: Sequence[Target]) -> None:
        """Decide on batches for all that the targets rest on, and have them computed."""
        schedule = Schedule(targets)
        step: Step | None = None
        while schedule.ready or schedule.ready_chains:
            for chain in schedule.ready_chains:
                step = self._close(chain)
                schedule.computed(chain.head)
            schedule.ready_chains = []
            for batch in schedule.batches():
                step = self._run(batch, schedule)
        if step is not None:
            self._last_steps.append(step)
            if len(self._last_steps) > 2:
                self._executor.wait(self._last_steps.pop(0))

    def _run(self, batch: list[Unit], schedule: Schedule) -> Step:
        first = batch[0]
        chain = first.chain
        calls = [tuple([_computed(argument) for argument in unit.arguments()]) for unit in batch]
        fold = None if chain is None else self._fold(chain, first.group or "item")
        if first.node is None:
            assert chain is not None
            function, kinds = _IDENTITY, chain.head.entry.kinds[1:2]
        else:
            function, kinds = first.node.entry.function, first.node.entry.kinds
        plan = None if isinstance(function, HostFunction) else plan_batch(function, kinds, calls, fold, self.layout)
        flops = 0.0 if first.node is None else first.node.entry.flops
        dealt = deal(calls, kinds, self._executor.slices(len(calls), flops), self._width)
        self._count_batch(function, plan, 0 if plan is None else device_calls(plan, dealt))
        groups = () if first.node is None else tuple(first.node.entry.outputs)
        folded = first.group if chain is not None else None
        kept: dict[str, list[Promise]] = {
            group: [Promise(keep=unit.node is not None and unit.node.is_wanted(group)) for unit in batch]
            for group in groups
            if group != folded
        }
        if chain is not None:
            kept[TOTAL] = [Promise()]
            chain.totals += kept[TOTAL]
        weights = [unit.weight for unit in batch] if chain is not None else []
        sign = signature(function.name, [unit.order for unit in batch], weights)
        step = self._submit(
            len(dealt),
            lambda note: BatchWork(function, kinds, plan, calls, weights, dealt, kept, self.counts, note),
            calls,
            kept,
            sign,
            sum(unit.node is not None and not unit.node.executed for unit in batch),
        )
        for i, (unit, call) in enumerate(zip(batch, calls, strict=True)):
            node = unit.node
            if node is None:
                continue
            self._count_job(node, step)
            for group in groups:
                if group != folded:
                    node.values[group] = kept[group][i]
            node.args = () if node.complete else call
            self._pending.pop(node, None)
            schedule.computed(node)
        if chain is not None:
            schedule.summed(chain, len(batch))
        return step

    @staticmethod
    def _fold(chain: Chain, group: str) -> Fold:
        entry = chain.head.entry
        assert entry.accumulation is not None
        return Fold(entry.accumulation, entry.outputs["sum"], group)

    def _close(self, chain: Chain) -> Step:
        """Add the base to what a chain has summed."""
        kept = {TOTAL: [Promise(keep=chain.head.is_wanted("sum"))]}
        parts = [_computed(chain.base), *chain.totals]
        sign = signature("sum", [node.order for node in chain.nodes])
        jobs = sum(not node.executed for node in chain.nodes)
        step = self._submit(1, lambda note: SumWork(parts, kept, note), [tuple(parts)], kept, sign, jobs)
        chain.head.values["sum"] = kept[TOTAL][0]
        for node in chain.nodes:
            self._count_job(node, step)
            self._pending.pop(node, None)
        chain.head.args = ()
        return step

    def _submit(
        self,
        parts: int,
        make: Callable[[Callable[[], None]], BatchWork | SumWork],
        calls: Sequence[tuple[Any, ...]],
        kept: Kept,
        sign: bytes,
        jobs: int,
    ) -> Step:
        """Have work done after the steps that it takes something from, unless the checkpoint has its results.

        `jobs`: how many it is the first to compute.
        """
        if self._checkpoint is not None:
            number = self._executor.next_number
            found = self._checkpoint.restored(number, sign, list(kept))
            if found is not None:
                for group, results in found.items():
                    for promise, arrays in zip(kept[group], results or (), strict=results is not None):
                        promise.value = arrays
                    self._attach(self._checkpoint.file_of(number, group), kept[group])
                return self._executor.skip()
        after: dict[int, Step] = {}
        for call in calls:
            for argument in call:
                # Read once: the threads let go of it when it is done.
                step = argument.step if type(argument) is Promise else None
                if step is not None:
                    after[step.number] = step

        def own(made: Step) -> BatchWork | SumWork:
            for promises in kept.values():
                for promise in promises:
                    promise.step = made
            return make(lambda: self._note(made.number, sign, jobs, kept, calls))

        return self._executor.submit(parts, own, list(after.values()))

    def _note(self, number: int, sign: bytes, jobs: int, kept: Kept, calls: Sequence[tuple[Any, ...]]) -> None:
        """A step has ended, in whichever thread: its results are there, and on disk."""
        if self._checkpoint is not None:
            results = {group: [arrays_of(promise) for promise in promises] for group, promises in kept.items()}
            with self._noting:
                noted = self._checkpoint.note(number, sign, jobs, results)
            if not noted:
                # It will be computed again.
                for argument in (argument for call in calls for argument in call if type(argument) is Promise):
                    self._keep(argument)
            for group, promises in kept.items():
                self._attach(self._checkpoint.file_of(number, group), promises)
        for promises in kept.values():
            for promise in promises:
                promise.step = None

    def _attach(self, path: Path | None, promises: Sequence[Promise]) -> None:
        """Let a file go when the last of the promises does that it has the arrays of."""
        if path is None or self._checkpoint is None:
            return
        file = _File()
        weakref.finalize(file, self._checkpoint.let_go, path).atexit = False
        with self._noting:
            for promise in promises:
                promise.file = file
                if promise.keep:
                    self._lasting.append(file)

    def _count_job(self, node: Node, step: Step) -> None:
        counts = self.counts
        if node.executed:
            counts.jobs_recomputed += 1
        else:
            node.executed = True
            if step.is_restored:
                counts.jobs_restored += 1
            else:
                counts.jobs_executed += 1
                node.entry.counts.jobs_executed += 1
            if not node.useful:
                counts.jobs_wasted += 1
        for argument in node.args:
            if type(argument) is Deferred:
                self._mark_useful(argument.node)

    def _count_batch(self, function: Function, plan: Plan | None, device_calls: int) -> None:
        counts = self.counts
        counts.batches += 1
        counts.device_calls += device_calls
        mine = counts.of(function.name)
        mine.batches += 1
        if plan is not None and plan not in self._plans:
            self._plans.add(plan)
            counts.compilations += 1
            mine.compilations += 1


class _File:
    """Stands for a file of the checkpoint as long as somebody may ask for what is in it."""

    __slots__ = ("__weakref__",)


def _deferred(payload: Payload) -> Deferred:
    if not isinstance(payload, Deferred):
        raise TypeError(f"a {type(payload).__name__} is no payload of this evaluator")
    return payload


def _computed(argument: Any) -> Any:
    return argument.node.values[argument.group] if type(argument) is Deferred else argument
