"""Lazy jobs, batches, layouts and the cost of computations, over JAX.

64-bit integers are switched on for the exact sums; all code names its dtypes, and results are float32 or integers.
"""

from __future__ import annotations

import os

import jax

jax.config.update("jax_enable_x64", True)  # type: ignore[no-untyped-call]

from core.compute.counts import Counts, FunctionCounts  # noqa: E402
from core.compute.deferred import Deferred  # noqa: E402
from core.compute.eager import Eager  # noqa: E402
from core.compute.evaluator import Evaluator  # noqa: E402
from core.compute.function import Accumulation, Function, HostFunction, ShardView, key_from  # noqa: E402
from core.compute.shard import Rows, Shard  # noqa: E402


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
    "Counts",
    "Deferred",
    "Eager",
    "Evaluator",
    "Function",
    "FunctionCounts",
    "HostFunction",
    "Rows",
    "Shard",
    "ShardView",
    "enable_compilation_cache",
    "key_from",
]
