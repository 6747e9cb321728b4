"""What becomes of calls when memory really runs out: a limit of the kernel's on a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="address space is limited, and read from /proc")

#: Runs jobs under a limit of so many MiB beyond what the process has mapped after the first of them. `stacked`:
#: each has an argument of 8 MiB of its own. `inside`: each needs two arrays of 64 MiB while it runs.
STUDY = """
import gc, json, resource, sys
import jax.numpy as jnp
import numpy as np
from jax import lax
from core.compute import Evaluator, Function, NumericsFailed, layout
from core.devices import Work
from core.wire import ArrayDict

# A call may be as large as the memory is to be short of.
layout.MAX_BATCH_BYTES = 1 << 40
kind, room, threads = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])

def stacked(x, k):
    return {"out": {"x": jnp.sum(x["x"]) * k}}

def inside(x, k):
    first = jnp.sin(x["x"] * k + jnp.arange(1 << 24, dtype=jnp.float32))
    second = lax.optimization_barrier(jnp.cos(first[::-1]))
    return {"out": {"x": jnp.sum(first[::-1] * second)}}

size, fn, count = (1 << 21, stacked, 12) if kind == "stacked" else (1, inside, 6)
function = Function(kind, fn, (), lambda x, k: Work(1e9, 1.0, 1))
jobs = [(ArrayDict({"x": np.full(size, k, np.float32)}), float(k)) for k in range(count)]

def run():
    evaluator = Evaluator(threads=threads)
    outs = [evaluator.submit(function, job)["out"] for job in jobs]
    for out in outs:
        evaluator.want(out)
    evaluator.finish()
    return evaluator.counts, [float(evaluator.value(out)["x"]) for out in outs]

_, expected = run()
if room:
    gc.collect()
    mapped = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (mapped + (room << 20),) * 2)
try:
    counts, found = run()
    told = {"same": found == expected, "retries": counts.memory_retries, "splits": counts.memory_splits}
except NumericsFailed as error:
    told = {"failed": str(error)}
print(json.dumps(told))
"""


def told(kind: str, room: int, threads: int) -> dict[str, Any]:
    outcome = subprocess.run(
        [sys.executable, "-c", STUDY, kind, str(room), str(threads)], capture_output=True, text=True, check=False
    )
    assert outcome.returncode == 0, outcome.stderr
    found: dict[str, Any] = json.loads(outcome.stdout)
    return found


def test_halves_of_a_call_need_half_the_memory() -> None:
    # A program for 64 calls takes 512 MiB of arguments, one for 6 of the twelve 48 MiB.
    assert told("stacked", 256, 0) == {"same": True, "retries": 1, "splits": 1}


def test_calls_that_have_no_room_side_by_side_run_one_after_the_other() -> None:
    # One needs 128 MiB, two at once 256.
    found = told("inside", 200, 2)
    assert found["same"]
    assert found["retries"] >= 1
    assert found["splits"] == 0


def test_a_call_that_has_no_room_by_itself_fails_and_says_so() -> None:
    failed = told("inside", 80, 0)["failed"]
    assert failed.startswith("the memory does not suffice for one call of inside: RESOURCE_EXHAUSTED")
