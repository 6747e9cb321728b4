"""Runs a scenario in one of the two worlds and leaves its directory: manifest, records, model, report."""

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
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from aivsim.places import scenario_directories
from aivsim.progress import Display, display
from core.records import (
    EvaluationRow,
    HostRunRow,
    Manifest,
    RecordsError,
    Reference,
    RoundRow,
    Row,
    RunWriter,
    ShardRow,
    model_sha256,
    read_manifest,
    save_model,
    write_manifest,
)
from core.records.manifest import MODEL
from core.records.store import RECORDS, read_parts, tables_sha256, write_whole
from core.scenario import Scenario, dumps, find, load
from core.wire import Payload

if TYPE_CHECKING:
    from analysis.tables import Run
    from core.compute import Checkpoint, Evaluator, Timing
    from core.records.curves import LearningCurves
    from core.scenario.build import Study

World = Literal["sim", "real"]
#: Packages whose versions the numbers depend on.
PACKAGES = ("aivsim", "jax", "jaxlib", "flax", "optax", "numpy", "simpy", "msgspec", "pyarrow")


class CannotBegin(Exception):
    """The run has not begun: the directory, the data or something else that was asked for cannot be had."""


class RunFailed(Exception):
    """The run began and did not end well; its directory holds what was recorded."""


def run(
    scenario: str | os.PathLike[str],
    *,
    world: World = "sim",
    out: str | os.PathLike[str] | None = None,
    seed: int | None = None,
    settings: Sequence[str] = (),
    processes: int | None = None,
    quiet: bool = True,
    report: bool = True,
) -> Run:
    """Run a scenario (a path, or the name of one of ours) and return its tables.

    Raises `core.scenario.ScenarioError` for a wrong scenario, `CannotBegin` if there is no place or data for the run,
    `RunFailed` if it fails, `RecordsError` if its records cannot be written. `settings` are `key=value` overrides.
    """
    from analysis.tables import Run

    path = find(os.fspath(scenario), scenario_directories()).resolve()
    found = load(path, settings, seed=seed, directories=scenario_directories())
    found = _with_layout(found)
    directory = Path(out) if out is not None else _free_directory(found.name)
    # Before the data are dealt, which can take a while; the folder itself is made after that.
    _refuse_taken(directory)
    shown = display(found, world, quiet=quiet)
    with shown:
        if world == "sim":
            _simulate(found, directory, shown)
        else:
            _run_real(found, directory, shown, processes)
        if report:
            from analysis.report import write_report

            shown.phase("writing the report")
            write_report(directory)
    return Run(directory)


def _with_layout(scenario: Scenario) -> Scenario:
    """The scenario with the layout that was tuned for it, if it asks for that. Raises `CannotBegin`."""
    if scenario.numerics.layout != "tuned":
        return scenario
    from aivsim.tune import tuned_layout

    layout = tuned_layout(_build(scenario, "sim"))
    return scenario.model_copy(update={"numerics": scenario.numerics.model_copy(update={"layout": layout})})


def resume(directory: str | os.PathLike[str], *, quiet: bool = True, report: bool = True) -> Run:
    """Take up a simulated run that was killed or interrupted, and return its tables.

    The events are replayed from the start, what had been computed is read from the checkpoint, and the records are
    those of a run that was never stopped. Raises as `run` does.
    """
    from analysis.tables import Run

    folder = Path(directory)
    try:
        old = read_manifest(folder)
    except RecordsError as error:
        raise CannotBegin(str(error)) from error
    if old.outcome == "done":
        raise CannotBegin(
            f"{folder}: this run is done; nothing is left to resume (`aivsim report` writes its report anew)"
        )
    if old.world != "sim":
        raise CannotBegin(f"{folder}: a run on real sockets cannot be resumed; only simulated ones can")
    found = Scenario.model_validate(old.scenario)
    changed = [
        f"{name} {old.versions.get(name, '–')} → {now}"
        for name, now in _versions().items()
        if old.versions.get(name) != now
    ]
    if changed:
        raise CannotBegin(
            f"{folder}: was begun with other versions, so that its numbers would differ: {', '.join(changed)}"
        )
    shown = display(found, "sim", quiet=quiet)
    with shown:
        _simulate(found, folder, shown, resumes=old.resumes + 1)
        if report:
            from analysis.report import write_report

            shown.phase("writing the report")
            write_report(folder)
    return Run(folder)


def cache_directory() -> Path:
    """Where compiled programs are kept, so that the second run of a study starts at once."""
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "aivsim" / "xla"


def _free_directory(name: str) -> Path:
    """`runs/NAME-1`, or the next number that is free."""
    root = Path("runs")
    number = 1
    while (root / f"{name}-{number}").exists():
        number += 1
    return root / f"{name}-{number}"


# What a run leaves.


@dataclasses.dataclass
class _Ledger:
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


def _refuse_taken(directory: Path) -> None:
    """Raise `CannotBegin` for a folder that holds something."""
    try:
        taken = directory.exists() and any(directory.iterdir())
    except OSError as error:
        raise CannotBegin(f"{directory}: cannot be written: {error.strerror or error}") from error
    if taken:
        raise CannotBegin(f"{directory}: is not empty; a run needs a new or empty folder")


def _claim(directory: Path) -> None:
    """Make the folder of a run, once nothing else is in the way of it. Raises `CannotBegin`."""
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CannotBegin(f"{directory}: cannot be written: {error.strerror or error}") from error
    _refuse_taken(directory)


def _open(
    scenario: Scenario,
    world: World,
    directory: Path,
    resolve: Callable[[Payload], Any] | None = None,
    time_scale: float = 0.0,
    resumes: int = 0,
    curves: LearningCurves | None = None,
) -> _Ledger:
    if not resumes:
        _claim(directory)
    reference = scenario.report.reference
    manifest = Manifest(
        name=scenario.name,
        description=scenario.description,
        scenario=scenario.resolved(),
        seed=scenario.seed,
        world=world,
        outcome="running",
        started=_utc_now(),
        resumes=resumes,
        layout=scenario.numerics.layout,
        fidelity=scenario.numerics.fidelity,
        surrogate=curves,
        time_scale=time_scale,
        versions=_versions(),
        host=_host(),
        reference=None if reference is None else Reference(accuracy=reference.accuracy, source=reference.source),
    )
    # Before anything else is written: a run that is killed early can be resumed.
    write_manifest(directory, manifest)
    try:
        writer = RunWriter(directory, resolve=resolve, again=bool(resumes))
    except RecordsError as error:
        raise CannotBegin(str(error)) from error
    return _Ledger(directory, manifest, writer)


def _versions() -> dict[str, str]:
    return {"python": platform.python_version(), **{name: importlib.metadata.version(name) for name in PACKAGES}}


def _utc_now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


def _host() -> dict[str, str | int | float]:
    import psutil

    return {
        "system": f"{platform.system()} {platform.machine()}",
        "processor": platform.processor() or platform.machine(),
        "cores": os.cpu_count() or 1,
        "memory_bytes": psutil.virtual_memory().total,
    }


def _peak_rss_bytes() -> int:
    # Linux counts in kilobytes, macOS in bytes.
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


@contextlib.contextmanager
def _ending(ledger: _Ledger, now: Callable[[], float]) -> Iterator[None]:
    """However the block ends, the manifest says how, and what was recorded is kept; `now` tells the study's time."""
    from core.compute import CheckpointError, NumericsFailed
    from real_runtime.launcher import LaunchError
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
    except LaunchError as error:
        end("failed", str(error))
        raise (CannotBegin if error.code == 2 else RunFailed)(str(error)) from error
    except (KeyboardInterrupt, asyncio.CancelledError):
        end("interrupted", "interrupted by the user")
        raise KeyboardInterrupt from None
    except BaseException as error:
        end("failed", f"{type(error).__name__}: {error}")
        raise


def _build(scenario: Scenario, world: World) -> Study:
    from core.scenario.build import study

    try:
        return study(scenario, world=world)
    except (ValueError, OSError) as error:
        raise CannotBegin(str(error)) from error


def _record_shards(ledger: _Ledger, built: Study) -> None:
    """Who has which examples: a row for each client's device, but of clients that sample, who may be a million."""
    from core.data import Federation, chance_distance, label_distance

    federation, names = built.federation, built.scenario.device_names
    if not isinstance(federation, Federation):
        return
    counts = federation.label_counts()[: len(names)]
    distances, chances = label_distance(counts), chance_distance(counts)
    for k, name in enumerate(names):
        row = ShardRow(
            client=federation.names[k],
            train_examples=len(federation.train[k]),
            test_examples=len(federation.held_out[k]),
            label_counts=" ".join(map(str, counts[k].tolist())),
            label_distance=float(distances[k]),
            chance_distance=float(chances[k]),
        )
        ledger.writer.row(0.0, name, row)


# The simulator.


def _simulate(scenario: Scenario, directory: Path, shown: Display, resumes: int = 0) -> None:
    from core.compute import Checkpoint, CheckpointError, enable_compilation_cache
    from core.compute.checkpoint import FOLDER
    from sim.world import World as SimulatedWorld

    enable_compilation_cache(cache_directory())
    trains = scenario.numerics.fidelity == "train"
    shown.phase("dealing the data")
    built = _build(scenario, "sim")
    curves = built.deployment.curves
    ledger = _open(
        scenario, "sim", directory, lambda payload: evaluator.resolved(payload), resumes=resumes, curves=curves
    )
    checkpoint: Checkpoint | None = None
    if trains and scenario.numerics.checkpoint:
        try:
            checkpoint = Checkpoint(directory / FOLDER)
        except (CheckpointError, OSError) as error:
            raise CannotBegin(str(error)) from error
    evaluator = _evaluator(scenario, checkpoint, curves)
    evaluations: list[EvaluationRow] = []

    def observe(time_s: float, actor: str, row: Row) -> None:
        if isinstance(row, RoundRow):
            shown.round_ended(row.round, time_s)
        elif isinstance(row, EvaluationRow):
            evaluations.append(row)

    _record_shards(ledger, built)
    world = SimulatedWorld(built.deployment, ledger.writer, evaluator, observe)
    journal = contextlib.nullcontext() if checkpoint is None else contextlib.closing(checkpoint)
    with journal, contextlib.closing(evaluator), _ending(ledger, lambda: world.env.now):
        ledger.phase("set-up")
        shown.phase("simulating")
        world.run()
        ledger.phase("events")
        shown.phase("computing")
        for row in evaluations if scenario.numerics.fidelity != "timing" else ():
            score = "error" if row.accuracy is None else "accuracy"
            metrics = getattr(row, score)
            if isinstance(metrics, Payload):
                shown.evaluated(row.round, score, float(evaluator.value(metrics)[score]))
        evaluator.finish()
        model = None if world.result is None or not trains else evaluator.value(world.result)
        ledger.phase("numerics")
        if model is not None:
            save_model(directory / MODEL, model)
        ledger.end(
            "done",
            simulated_s=world.env.now,
            model_sha256=None if model is None else model_sha256(model),
            counts={**_counts(ledger, evaluator), "transitions": world.attendance.transitions},
        )
    if checkpoint is not None:
        checkpoint.remove()


def _evaluator(scenario: Scenario, checkpoint: Checkpoint | None, curves: LearningCurves | None) -> Evaluator | Timing:
    """How this scenario's numbers are computed."""
    from core.compute import Evaluator, Surrogate, Timing

    if curves is not None:
        return Surrogate(curves)
    numerics = scenario.numerics
    if numerics.fidelity == "timing":
        return Timing()
    threads = (os.cpu_count() or 1) if numerics.threads is None else numerics.threads
    return Evaluator(max_pending=numerics.max_pending, layout=numerics.layout, threads=threads, checkpoint=checkpoint)


def _counts(ledger: _Ledger, evaluator: Evaluator | Timing) -> dict[str, int | float]:
    counts = evaluator.counts
    return {
        "messages": ledger.writer.message_count,
        "jobs_submitted": counts.jobs_submitted,
        "jobs_executed": counts.jobs_executed,
        "jobs_restored": counts.jobs_restored,
        "jobs_never_computed": counts.jobs_never_computed,
        "jobs_wasted": counts.jobs_wasted,
        "batches": counts.batches,
        "compilations": counts.compilations,
        "memory_retries": counts.memory_retries,
        "memory_splits": counts.memory_splits,
    }


# Real sockets.


def _run_real(scenario: Scenario, directory: Path, shown: Display, processes: int | None) -> None:
    from real_runtime.launcher import run as launch
    from real_runtime.progress import Progress

    if scenario.numerics.fidelity != "train":
        raise CannotBegin(f"fidelity {scenario.numerics.fidelity} is for the simulator; on sockets devices train")
    shown.phase("dealing the data")
    built = _build(scenario, "real")
    deployment = built.deployment
    ledger = _open(scenario, "real", directory, time_scale=deployment.time_scale)
    _record_shards(ledger, built)
    # The nodes read what this run has resolved: whatever it extends or overrides, from wherever they start.
    shared = directory / "nodes" / "scenario.yaml"
    last_s = 0.0

    def on_progress(progress: Progress) -> None:
        nonlocal last_s
        last_s = max(last_s, progress.time_s)
        number = progress.row.get("round")
        if progress.table == RoundRow.table and isinstance(number, int):
            shown.round_ended(number, progress.time_s)
        elif progress.table == EvaluationRow.table and isinstance(number, int):
            score = "error" if progress.row.get("accuracy") is None else "accuracy"
            value = progress.row.get(score)
            shown.evaluated(number, score, float(value) if isinstance(value, float) else float("nan"))

    # The nodes inherit these: they share the cache of compiled programs with the simulator.
    os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(cache_directory()))
    os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
    os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES", "-1")
    with _ending(ledger, lambda: last_s):
        ledger.phase("set-up")
        shown.phase("running on sockets")
        write_whole(shared, dumps(scenario).encode())
        outcome = asyncio.run(
            launch(
                deployment,
                node_arguments=["--scenario", str(shared.resolve())],
                processes=processes or scenario.real.processes or os.cpu_count() or 1,
                directory=directory,
                writer=ledger.writer,
                on_progress=on_progress,
            )
        )
        ledger.phase("run")
        if outcome.model is not None:
            save_model(directory / MODEL, outcome.model)
        ledger.end(
            "done",
            simulated_s=last_s,
            model_sha256=None if outcome.model is None else model_sha256(outcome.model),
            counts={
                "messages": ledger.writer.message_count,
                "nodes": len(outcome.nodes),
                "nodes_lost": len(outcome.lost),
            },
        )


def merge_nodes(scenario: Scenario, directory: Path, folders: Sequence[Path]) -> None:
    """Make one run of what nodes have recorded that were started by hand. Raises `CannotBegin`, `RecordsError`."""
    from core.records import load_model, merge

    for folder in folders:
        if not (folder / RECORDS).is_dir():
            raise CannotBegin(f"{folder} holds no records of a node")
    built = _build(scenario, "real")
    ledger = _open(scenario, "real", directory, time_scale=built.deployment.time_scale)
    _record_shards(ledger, built)
    merge(folders, ledger.writer)
    ledger.writer.flush()
    ended = [row["ended_s"] for part in read_parts(directory, RoundRow.table) for row in part.to_pylist()]
    models = [load_model(folder / MODEL) for folder in folders if (folder / MODEL).is_file()]
    if models:
        save_model(directory / MODEL, models[0])
    ledger.end(
        "done" if models else "failed",
        "" if models else "none of the nodes has left a model",
        simulated_s=max(ended, default=0.0),
        model_sha256=model_sha256(models[0]) if models else None,
        counts={"messages": ledger.writer.message_count, "nodes": len(folders)},
    )
