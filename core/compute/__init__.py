"""Lazy jobs, batches, layouts and the cost of computations, over JAX.

64-bit integers are switched on for the exact sums; all code names its dtypes, and results are float32 or integers.
On a CPU a program runs in the thread that calls it and in no other: clients are what runs side by side, small matrix
products gain nothing from being split (measured), and no bit can depend on the number of cores.
"""

from __future__ import annotations

import os

# Both are read when the first computation begins: no threads for matrix products, and none for XLA's other kernels,
# which cost a fifth of the speed when measured.
_ONE_THREAD = "--xla_cpu_multi_thread_eigen=false"
if _ONE_THREAD not in os.environ.get("XLA_FLAGS", ""):
    os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {_ONE_THREAD}".strip()
os.environ["NPROC"] = "1"

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
