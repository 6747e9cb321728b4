"""Who imports what: the shared core knows no clock, no sockets and no world, and what is light stays light."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
#: Clocks, input and output, randomness without a seed, and the worlds' own libraries.
FORBIDDEN_IN_CORE = {
    "asyncio",
    "concurrent",
    "multiprocessing",
    "pickle",
    "random",
    "secrets",
    "select",
    "selectors",
    "signal",
    "simpy",
    "socket",
    "ssl",
    "subprocess",
    "threading",
    "time",
    "uuid",
    # The rooms above it.
    "aivsim",
    "analysis",
    "real_runtime",
    "sim",
}
#: Attributes that read a clock, the system's entropy or numpy's global generator, however their module came in.
FORBIDDEN_ATTRIBUTES = {"urandom", "monotonic", "perf_counter", "time_ns", "utcnow", "getrandom", "default_rng"}
#: Global generator of numpy.
FORBIDDEN_CALLS = {"np.random.rand", "np.random.randn", "np.random.randint", "np.random.shuffle", "np.random.seed"}


def modules(*rooms: str) -> list[Path]:
    return sorted(path for room in rooms for path in (ROOT / room).rglob("*.py"))


def imported(path: Path) -> set[str]:
    """Top-level names of all that a module imports, wherever in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            found.add((node.module or "").split(".")[0])
    return found


@pytest.mark.parametrize("path", modules("core"), ids=lambda path: path.relative_to(ROOT).as_posix())
def test_the_core_knows_no_clock_no_sockets_and_no_world(path: Path) -> None:
    # Batches are computed by threads, whose order changes nothing (tests/core/compute holds that).
    allowed = {"threading"} if path.parent.name == "compute" else set()
    # FedScale's traces are pickles: this module reads them without building anything but plain data.
    allowed |= {"pickle"} if path.name == "plain_pickle.py" else set()
    assert imported(path) & FORBIDDEN_IN_CORE <= allowed


@pytest.mark.parametrize("path", modules("core", "sim"), ids=lambda path: path.relative_to(ROOT).as_posix())
def test_nothing_in_a_simulated_run_depends_on_the_moment_or_the_machine(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    attributes = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    assert attributes & FORBIDDEN_ATTRIBUTES == set()
    calls = {ast.unparse(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
    assert calls & FORBIDDEN_CALLS == set()


def test_the_simulator_imports_no_asyncio_and_the_worlds_not_each_other() -> None:
    for path in modules("sim"):
        assert imported(path) & {"asyncio", "real_runtime", "analysis", "aivsim", "time", "random"} == set(), path
    for path in modules("real_runtime", "analysis"):
        assert imported(path) & {"simpy", "sim", "aivsim"} == set(), path


def loaded_after(statement: str, *names: str) -> set[str]:
    """Which of these modules are loaded in a fresh process after a statement."""
    done = subprocess.run(
        [sys.executable, "-c", f"import sys\n{statement}\nprint(*sorted(set({names!r}) & set(sys.modules)))"],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    return set(done.stdout.split())


HEAVY = ("jax", "flax", "optax", "simpy", "matplotlib", "pyarrow", "pydantic", "asyncio", "scipy", "pandas", "yaml")


@pytest.mark.parametrize(
    ("statement", "allowed"),
    [
        ("import core.actor, core.wire, core.rng, core.links", set()),
        ("import core.devices", {"yaml"}),
        ("import core.records", set()),
        ("import core.deployment", {"yaml"}),
        ("import sim.world", {"simpy", "yaml"}),
    ],
)
def test_what_is_light_stays_light(statement: str, allowed: set[str]) -> None:
    assert loaded_after(statement, *HEAVY) <= allowed


def test_the_contracts_between_the_rooms_hold() -> None:
    done = subprocess.run(
        [str(Path(sys.executable).with_name("lint-imports")), "--no-cache"],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "3 kept, 0 broken" in done.stdout
