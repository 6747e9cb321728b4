"""What an evaluator did, in numbers: the proof of what lazy evaluation claims."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass
class FunctionCounts:
    """The same numbers for one function (by name)."""

    jobs_submitted: int = 0
    jobs_executed: int = 0
    batches: int = 0
    compilations: int = 0


@dataclasses.dataclass
class Counts:
    """Counted since the evaluator was made.

    `jobs_submitted`: nodes of the graph. `jobs_executed`: of these, computed at least once. `jobs_restored`: read from
    a checkpoint instead. `jobs_never_computed`: the others. `jobs_wasted`: executed, but nothing executed rests on
    them, nobody looked and nothing was recorded.
    `jobs_recomputed`: executed again, because a result that had gone into a fused sum unstored was asked for later.
    `batches`: groups of equal jobs computed together; `device_calls`: calls of programs they took (a batch beyond a
    program's capacity takes several). For want of memory: `memory_retries`, calls repeated while no other ran, and
    `memory_splits`, halvings of a call that found none even then.
    `compilations`: distinct programs. `looks`: calls of `value` on what is deferred.
    """

    jobs_submitted: int = 0
    jobs_executed: int = 0
    jobs_restored: int = 0
    jobs_wasted: int = 0
    jobs_recomputed: int = 0
    batches: int = 0
    device_calls: int = 0
    memory_retries: int = 0
    memory_splits: int = 0
    compilations: int = 0
    looks: int = 0
    functions: dict[str, FunctionCounts] = dataclasses.field(default_factory=dict)

    @property
    def jobs_never_computed(self) -> int:
        return self.jobs_submitted - self.jobs_executed - self.jobs_restored

    def of(self, name: str) -> FunctionCounts:
        """The numbers of one function."""
        return self.functions.setdefault(name, FunctionCounts())
