"""Compiled programs outlive the process that compiled them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

PROGRAM = """
import sys
import numpy as np
from core.aggregation import exact_mean
from core.compute import Eager, enable_compilation_cache
from core.wire import ArrayDict

enable_compilation_cache(sys.argv[1])
total = Eager().run(exact_mean(10).init, (ArrayDict({"w": np.zeros(3, np.float32)}),))["sum"]
assert Eager().run(exact_mean(10).finish, (total,))["count"]["weight"] == 0
"""


def test_the_second_process_finds_what_the_first_compiled(tmp_path: Path) -> None:
    root = str(Path(__file__).parents[3])
    found: list[list[str]] = []
    for _ in range(2):
        subprocess.run([sys.executable, "-c", PROGRAM, str(tmp_path)], check=True, cwd=root, timeout=120)
        found.append(sorted(file.name for file in tmp_path.iterdir() if file.name.endswith("-cache")))
    assert found[0]
    assert found[0] == found[1]
