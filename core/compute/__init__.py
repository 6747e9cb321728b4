"""Lazy jobs, batches, layouts and the cost of computations, over JAX.

64-bit integers are switched on for the exact sums; all code names its dtypes, and results are float32 or integers.
On a CPU clients are what runs side by side, in threads of ours: small kernels and products gain nothing from being
split. XLA's own pool has the same number of threads on every machine, whatever its cores, because products that it
splits get other last bits with another number.
"""

from __future__ import annotations

import os

# All three are read when the first computation begins. Kernels are not split: with its threads spinning, XLA took twice
# the processor time for a small model (measured). But a program whose loop handles a megabyte at once is moved to
# XLA's pool; with one thread in it, the programs of all our threads queued there, and two took as long as one after the
# other (measured with the 1.2 M-parameter network: 55 GFLOP/s with one thread there, 113 with two, on two cores).
_FLAGS = ("--xla_cpu_multi_thread_eigen=false", "--xla_disable_hlo_passes=cpu-parallel-task-assigner")
for _flag in _FLAGS:
    if _flag not in os.environ.get("XLA_FLAGS", ""):
        os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {_flag}".strip()
os.environ["NPROC"] = "2"

import jax  # noqa: E402

jax.config.update("jax_enable_x64", True)  # type: ignore[no-untyped-call]
jax.config.update("jax_cpu_enable_async_dispatch", False)  # type: ignore[no-untyped-call]

from core.compute.checkpoint import Checkpoint, CheckpointError  # noqa: E402
from core.compute.counts import Counts, FunctionCounts  # noqa: E402
from core.compute.deferred import Deferred  # noqa: E402
from core.compute.eager import Eager  # noqa: E402
from core.compute.evaluator import Evaluator  # noqa: E402
from core.compute.executor import NumericsFailed  # noqa: E402
from core.compute.function import Accumulation, Function, HostFunction, ShardView, key_from  # noqa: E402
from core.compute.shard import Rows, Shard  # noqa: E402
from core.compute.surrogate import Surrogate  # noqa: E402
from core.compute.timing import Timing  # noqa: E402


def enable_compilation_cache(directory: str | os.PathLike[str]) -> None:
    """Keep compiled programs in `directory`, so that the second run of a study starts at once."""
    for option, value in (
        ("jax_compilation_cache_dir", os.fspath(directory)),
        ("jax_persistent_cache_min_compile_time_secs", 0.0),
        ("jax_persistent_cache_min_entry_size_bytes", -1),
    ):
        jax.config.update(option, value)  # type: ignore[no-untyped-call]


__all__ = [
    "Accumulation",
    "Checkpoint",
    "CheckpointError",
    "Counts",
    "Deferred",
    "Eager",
    "Evaluator",
    "Function",
    "FunctionCounts",
    "HostFunction",
    "NumericsFailed",
    "Rows",
    "Shard",
    "ShardView",
    "Surrogate",
    "Timing",
    "enable_compilation_cache",
    "key_from",
]
