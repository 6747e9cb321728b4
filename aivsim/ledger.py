"""The ledger of a run: its manifest while it comes about, its records, what it costs here, and how it ends."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import datetime
import importlib.metadata
import os
import platform
import resource
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

import msgspec

from aivsim.errors import CannotBegin, RunFailed
from aivsim.inputs import changes, inputs_sha256
from aivsim.locking import Taken, locked
from core.records import HostRunRow, Manifest, RecordsError, Reference, RunWriter, write_manifest
from core.records.store import tables_sha256
from core.scenario import Scenario
from core.wire import Payload

if TYPE_CHECKING:
    from core.scenario.build import Study

World = Literal["sim", "real"]
#: Packages whose versions the numbers depend on.
PACKAGES: Final = (
    "aivsim",
    "jax",
    "jaxlib",
    "flax",
    "optax",
    "numpy",
    "ml_dtypes",
    "networkx",
    "simpy",
    "msgspec",
    "pyarrow",
)
#: Variables of the environment that can change the last bits of numbers: how XLA compiles, what JAX means by a product
#: or a random key, and which instructions numpy uses.
VARIABLES: Final = (
    "XLA_FLAGS",
    "JAX_DEFAULT_MATMUL_PRECISION",
    "JAX_DEFAULT_PRNG_IMPL",
    "JAX_DISABLE_JIT",
    "JAX_NUMPY_DTYPE_PROMOTION",
    "JAX_PLATFORMS",
    "JAX_THREEFRY_PARTITIONABLE",
    "NPY_DISABLE_CPU_FEATURES",
    "NPY_ENABLE_CPU_FEATURES",
)


@dataclasses.dataclass
class Ledger:
    """The manifest of a run while it comes about, and what it costs here."""

    directory: Path
    manifest: Manifest
    writer: RunWriter
    began_s: float = dataclasses.field(default_factory=time.monotonic)
    phase_s: float = dataclasses.field(default_factory=time.monotonic)
    phase_cpu_s: float = dataclasses.field(default_factory=time.process_time)

    def phase(self, name: str) -> None:
        """A phase has ended: what it cost goes into `host_run`."""
        now_s, cpu_s = time.monotonic(), time.process_time()
        row = HostRunRow(
            phase=name,
            wall_s=now_s - self.phase_s,
            cpu_s=cpu_s - self.phase_cpu_s,
            peak_rss_bytes=_peak_rss_bytes(),
        )
        self.writer.row(now_s - self.began_s, "", row)
        self.phase_s, self.phase_cpu_s = now_s, cpu_s

    def end(self, outcome: Literal["done", "failed", "interrupted"], reason: str = "", **changes: Any) -> None:
        """Write the records that are left and the final manifest."""
        try:
            self.writer.close()
        finally:
            self.manifest = msgspec.structs.replace(
                self.manifest,
                outcome=outcome,
                reason=reason,
                ended=_utc_now(),
                wall_s=time.monotonic() - self.began_s,
                trace_sha256=self.writer.trace_sha256,
                tables_sha256=tables_sha256(self.directory),
                **changes,
            )
            write_manifest(self.directory, self.manifest)


def refuse_taken(directory: Path) -> None:
    """Raise `CannotBegin` for a folder that holds something."""
    try:
        taken = directory.exists() and any(directory.iterdir())
    except OSError as error:
        raise CannotBegin(f"{directory}: cannot be written: {error.strerror or error}") from error
    if taken:
        raise CannotBegin(f"{directory}: is not empty; a run needs a new or empty folder")


def _claim(directory: Path, held: contextlib.ExitStack) -> None:
    """Make the folder of a run and lock it, once nothing else is in the way of it. Raises `CannotBegin`."""
    try:
        directory.mkdir(parents=True, exist_ok=True)
        refuse_taken(directory)
        held.enter_context(locked(directory))
    except Taken as error:
        raise CannotBegin(str(error)) from None
    except OSError as error:
        raise CannotBegin(f"{directory}: cannot be written: {error.strerror or error}") from error


def _refuse_changed(directory: Path, scenario: Scenario, old: Manifest, now: dict[str, str]) -> None:
    """Raise `CannotBegin` if what the results of a run rest on is not as it was when the run began."""
    changed = "\n".join(f"  {line}" for line in changes(scenario, old.inputs_sha256, now))
    if changed:
        raise CannotBegin(
            f"{directory}: what its results rest on has changed since it began, so that a resume would mix two studies:"
            f"\n{changed}\nPut that back as it was, or run the scenario anew into another folder."
        )


def open_ledger(
    built: Study,
    world: World,
    directory: Path,
    held: contextlib.ExitStack,
    resolve: Callable[[Payload], Any] | None = None,
    begun: Manifest | None = None,
) -> Ledger:
    """Begin a run in its folder, or take up the one that was `begun` there. Raises `CannotBegin`."""
    scenario = built.scenario
    try:
        inputs = inputs_sha256(built)
    except OSError as error:
        raise CannotBegin(f"{error.filename}: cannot be read: {error.strerror or error}") from error
    if begun is None:
        _claim(directory, held)
    else:
        _refuse_changed(directory, scenario, begun, inputs)
    resumes = 0 if begun is None else begun.resumes + 1
    reference = scenario.report.reference
    manifest = Manifest(
        name=scenario.name,
        description=scenario.description,
        scenario=scenario.resolved(),
        seed=scenario.seed,
        world=world,
        outcome="running",
        notes=built.notes,
        started=_utc_now(),
        resumes=resumes,
        layout=scenario.numerics.layout,
        fidelity=scenario.numerics.fidelity,
        surrogate=built.deployment.curves,
        time_scale=built.deployment.time_scale if world == "real" else 0.0,
        versions=versions(),
        environment=environment(),
        inputs_sha256=inputs,
        host=_host(),
        reference=None if reference is None else Reference(accuracy=reference.accuracy, source=reference.source),
    )
    # Before anything else is written: a run that is killed early can be resumed.
    write_manifest(directory, manifest)
    try:
        writer = RunWriter(directory, resolve=resolve, again=begun is not None)
    except RecordsError as error:
        raise CannotBegin(str(error)) from error
    return Ledger(directory, manifest, writer)


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that numbers depend on."""
    return {"python": platform.python_version(), **{name: importlib.metadata.version(name) for name in PACKAGES}}


def environment() -> dict[str, str]:
    """What can change the last bits of numbers beside versions: variables that are set, and the kind of processor."""
    import core.compute  # noqa: F401  because it sets flags of XLA

    return {name: os.environ[name] for name in VARIABLES if name in os.environ} | {"processor": _processor()}


def _processor() -> str:
    """The kind of processor, for which XLA compiles; Linux has its name in a file only."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
            name, _, value = line.partition(":")
            if name.strip() == "model name":
                return value.strip()
    return platform.processor() or platform.machine()


def _utc_now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


def _host() -> dict[str, str | int | float]:
    return {
        "system": f"{platform.system()} {platform.machine()}",
        "processor": _processor(),
        "cores": os.cpu_count() or 1,
        "memory_bytes": os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"),
    }


def _peak_rss_bytes() -> int:
    # Linux counts in kilobytes, macOS in bytes.
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


@contextlib.contextmanager
def ending(ledger: Ledger, now: Callable[[], float]) -> Iterator[None]:
    """However the block ends, the manifest says how, and what was recorded is kept; `now` tells the study's time."""
    from core.compute import CheckpointError, NumericsFailed
    from real_runtime.failures import LaunchError
    from sim.world import ActorFailed, Deadlock

    def end(outcome: Literal["failed", "interrupted"], reason: str) -> None:
        # A disk that is full may not take this either; then the reason that is raised matters more.
        with contextlib.suppress(RecordsError):
            ledger.end(outcome, reason, simulated_s=now())

    try:
        yield
    except (ActorFailed, Deadlock, NumericsFailed, CheckpointError) as error:
        end("failed", str(error))
        raise RunFailed(str(error)) from error
    except MemoryError as error:
        reason = f"the memory does not suffice: {error}" if str(error) else "the memory does not suffice"
        end("failed", reason)
        raise RunFailed(reason) from error
    except LaunchError as error:
        end("failed", str(error))
        raise (CannotBegin if error.code == 2 else RunFailed)(str(error)) from error
    except (KeyboardInterrupt, asyncio.CancelledError):
        end("interrupted", "interrupted by the user")
        raise KeyboardInterrupt from None
    except BaseException as error:
        end("failed", f"{type(error).__name__}: {error}")
        raise
