"""Runs a scenario in one of the two worlds and leaves its directory: manifest, records, model, report."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from aivsim.errors import CannotBegin
from aivsim.ledger import Ledger, World, ending, open_ledger, refuse_taken
from aivsim.loading import loading, no_collections
from aivsim.places import scenario_directories
from aivsim.progress import Display, display
from core.records import (
    EvaluationRow,
    Manifest,
    RoundRow,
    Row,
    ShardRow,
    model_sha256,
    save_model,
)
from core.records.manifest import MODEL
from core.records.store import RECORDS, read_parts, write_whole
from core.scenario import Scenario, dumps, find, load
from core.wire import Payload

if TYPE_CHECKING:
    from analysis.tables import Run
    from core.compute import Checkpoint, Evaluator, Timing
    from core.records.curves import LearningCurves
    from core.scenario.build import Study


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
    refuse_taken(directory)
    shown = display(found.training.rounds, quiet=quiet)
    with contextlib.ExitStack() as held, shown:
        if world == "sim":
            simulate(found, directory, shown, held)
        else:
            _run_real(found, directory, shown, held, processes)
        if report:
            report_on(directory, shown)
    return Run(directory)


def report_on(directory: Path, shown: Display) -> None:
    """Write the report of a run that has just ended."""
    from analysis.report import write_report

    shown.phase("writing the report")
    # A world holds itself in many cycles, and the report of a million devices needs its room.
    gc.collect()
    write_report(directory)


def _with_layout(scenario: Scenario) -> Scenario:
    """The scenario with the layout that was tuned for it, if it asks for that. Raises `CannotBegin`."""
    if scenario.numerics.layout != "tuned":
        return scenario
    from aivsim.tune import tuned_layout

    layout = tuned_layout(_build(scenario, "sim"))
    return scenario.model_copy(update={"numerics": scenario.numerics.model_copy(update={"layout": layout})})


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


def _build(scenario: Scenario, world: World) -> Study:
    try:
        with loading():
            from core.scenario.build import study
        with no_collections():
            return study(scenario, world=world)
    except (ValueError, OSError) as error:
        raise CannotBegin(str(error)) from error


def _record_shards(ledger: Ledger, built: Study) -> None:
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


def simulate(
    scenario: Scenario,
    directory: Path,
    shown: Display,
    held: contextlib.ExitStack,
    begun: Manifest | None = None,
) -> None:
    """Run a scenario in the simulator, or go on with the run that was `begun` in a folder.

    `held` takes the folder's lock. Raises as `run` does.
    """
    with loading():
        from core.compute import Checkpoint, CheckpointError, enable_compilation_cache
        from core.compute.checkpoint import FOLDER
        from sim.world import World as SimulatedWorld

    enable_compilation_cache(cache_directory())
    trains = scenario.numerics.fidelity == "train"
    shown.phase("dealing the data")
    built = _build(scenario, "sim")
    ledger = open_ledger(built, "sim", directory, held, lambda payload: evaluator.resolved(payload), begun)
    shown.notes(built.notes)
    checkpoint: Checkpoint | None = None
    if trains and scenario.numerics.checkpoint:
        try:
            checkpoint = Checkpoint(directory / FOLDER)
        except (CheckpointError, OSError) as error:
            raise CannotBegin(str(error)) from error
    evaluator = _evaluator(scenario, checkpoint, built.deployment.curves)
    evaluations: list[EvaluationRow] = []

    def observe(time_s: float, actor: str, row: Row) -> None:
        if isinstance(row, RoundRow):
            shown.round_ended(row.round, time_s)
        elif isinstance(row, EvaluationRow):
            evaluations.append(row)

    _record_shards(ledger, built)
    world = SimulatedWorld(built.deployment, ledger.writer, evaluator, observe)
    journal = contextlib.nullcontext() if checkpoint is None else contextlib.closing(checkpoint)
    with journal, ending(ledger, lambda: world.env.now), _closing(evaluator, shown):
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


@contextlib.contextmanager
def _closing(evaluator: Evaluator | Timing, shown: Display) -> Iterator[None]:
    """Close an evaluator in the end, which waits for what its threads are at; what is recorded waits for no more."""
    try:
        yield
    except KeyboardInterrupt:
        shown.phase("stopping after the batch in progress; interrupt again to end at once")
        raise
    finally:
        evaluator.close()


def _evaluator(scenario: Scenario, checkpoint: Checkpoint | None, curves: LearningCurves | None) -> Evaluator | Timing:
    """How this scenario's numbers are computed."""
    from core.compute import Evaluator, Surrogate, Timing

    if curves is not None:
        return Surrogate(curves)
    numerics = scenario.numerics
    if numerics.fidelity == "timing":
        return Timing()
    return Evaluator(
        max_pending=numerics.max_pending,
        layout=numerics.layout,
        threads=threads_of(scenario),
        checkpoint=checkpoint,
    )


def threads_of(scenario: Scenario) -> int:
    """Threads that compute beside the events."""
    threads = scenario.numerics.threads
    return (os.cpu_count() or 1) if threads is None else threads


def _counts(ledger: Ledger, evaluator: Evaluator | Timing) -> dict[str, int | float]:
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


def _run_real(
    scenario: Scenario, directory: Path, shown: Display, held: contextlib.ExitStack, processes: int | None
) -> None:
    from real_runtime.launcher import run as launch
    from real_runtime.progress import Progress

    if scenario.numerics.fidelity != "train":
        raise CannotBegin(f"fidelity {scenario.numerics.fidelity} is for the simulator; on sockets devices train")
    shown.phase("dealing the data")
    built = _build(scenario, "real")
    deployment = built.deployment
    ledger = open_ledger(built, "real", directory, held)
    shown.notes(built.notes)
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
    with ending(ledger, lambda: last_s):
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
    with contextlib.ExitStack() as held:
        ledger = open_ledger(built, "real", directory, held)
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
