"""What the commands about runs do: run, report, compare, verify, node."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from aivsim.errors import Failed, InputWrong

if TYPE_CHECKING:
    from analysis.study import Study


def run_command(
    scenario: str,
    *,
    world: Literal["sim", "real"],
    out: Path | None,
    seed: int | None,
    settings: Sequence[str],
    processes: int | None,
    quiet: bool,
    report: bool,
) -> None:
    """Run a scenario and print what came out. Raises `InputWrong` and `Failed`."""
    from aivsim.runs import CannotBegin, RunFailed, run
    from aivsim.scenarios import explained
    from analysis.study import Study
    from core.records import RecordsError
    from core.scenario import ScenarioError

    if out is not None:
        _writable(out)
    try:
        found = run(
            scenario,
            world=world,
            out=out,
            seed=seed,
            settings=settings,
            processes=processes,
            quiet=quiet,
            report=report,
        )
        _summary(Study(found))
    except ScenarioError as error:
        raise InputWrong(explained(error)) from None
    except CannotBegin as error:
        raise InputWrong(str(error)) from None
    except RunFailed as error:
        raise Failed(str(error)) from None
    except RecordsError as error:
        raise Failed(str(error)) from None


def _writable(out: Path) -> None:
    """A run needs a new or empty folder that it can write to. Raises `InputWrong`."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        taken = any(out.iterdir())
    except OSError as error:
        raise InputWrong(f"--out {out}: cannot be written: {error.strerror or error}") from None
    if taken:
        raise InputWrong(f"--out {out}: is not empty; a run needs a new or empty folder")


def _summary(study: Study) -> None:
    """What came out, and where it is."""
    from aivsim import show
    from analysis import units
    from core.records.manifest import REPORT

    manifest, directory = study.manifest, study.run.directory
    click.secho(study.sentence, bold=True)
    pairs = [
        ("traffic", f"{units.count(len(study.run.messages()['size_bytes']))} messages, {_bytes(study)}"),
        ("energy", f"{_joules(study)} drawn by the clients' devices"),
        ("here", f"{units.duration(manifest.wall_s)} on this machine"),
        ("trace_sha256", manifest.trace_sha256 or "none"),
        ("model_sha256", manifest.model_sha256 or "none"),
    ]
    reference = manifest.reference
    if reference is not None:
        accuracy = f"{study.final_accuracy:.3f}, reference {reference.accuracy:.3f} ({reference.source})"
        pairs.insert(0, ("accuracy", accuracy))
    report = directory / REPORT
    pairs.append(("report" if report.exists() else "records", str(report if report.exists() else directory)))
    show.facts(pairs)


def _bytes(study: Study) -> str:
    from analysis import units

    return units.text(study.total_bytes, "B")


def _joules(study: Study) -> str:
    from analysis import units

    return units.text(sum(study.drawn_j(study.clients).values()), "J")


def report_command(directories: Sequence[Path]) -> None:
    """Write the reports of runs from their records. Raises `InputWrong`."""
    from analysis.report import write_report

    from core.records import RecordsError

    for directory in directories:
        try:
            click.echo(str(write_report(directory)))
        except RecordsError as error:
            raise InputWrong(str(error)) from None


def compare_command(first: Path, second: Path) -> None:
    """Print the figures of two runs side by side. Raises `InputWrong`."""
    from aivsim import show
    from analysis.study import Study
    from analysis.tables import Run
    from core.records import RecordsError

    try:
        figures = [_figures(Study(Run(directory))) for directory in (first, second)]
    except RecordsError as error:
        raise InputWrong(str(error)) from None
    rows = [(name, a, b, "same" if a == b else "") for (name, a), (_, b) in zip(*figures, strict=True)]
    show.table(("", str(first), str(second), ""), rows)


def _figures(study: Study) -> list[tuple[str, str]]:
    """What two runs are compared by."""
    from analysis import units

    manifest = study.manifest
    rounds = study.run.rounds()
    taken = int(rounds["accepted"].sum())
    return [
        ("scenario", manifest.name),
        ("world", manifest.world),
        ("seed", str(manifest.seed)),
        ("outcome", manifest.outcome),
        ("rounds", units.count(len(rounds["round"]))),
        ("updates taken", units.count(taken)),
        ("late or lost", units.count(int(rounds["late"].sum() + rounds["lost"].sum()))),
        ("final accuracy", f"{study.final_accuracy:.4f}"),
        ("time of the study", units.duration(study.duration_s)),
        ("messages", units.count(len(study.run.messages()["size_bytes"]))),
        ("bytes", units.count(study.total_bytes)),
        ("energy of the clients", _joules(study)),
        ("wall time", units.duration(manifest.wall_s)),
        ("model_sha256", (manifest.model_sha256 or "none")[:16]),
        ("trace_sha256", (manifest.trace_sha256 or "none")[:16]),
    ]


def verify_command(directory: Path) -> bool:
    """Print what is wrong with a run's directory, or that nothing is; whether all is as it should be."""
    from core.records import verify

    if not directory.is_dir():
        raise InputWrong(f"{directory} is no directory of a run")
    problems = verify(directory)
    for problem in problems:
        click.echo(problem, err=True)
    if not problems:
        click.echo(f"{directory}: the stored messages and model have the hashes of the manifest")
    return not problems


def node_command(arguments: Sequence[str]) -> None:
    """Run `real_runtime.node` with these arguments, a scenario of ours by name among them."""
    from real_runtime.node import main

    main.main(args=_with_path(arguments), prog_name="aivsim node")


def _with_path(arguments: Sequence[str]) -> list[str]:
    """The arguments with the path of the scenario in place of its name."""
    from aivsim.places import scenario_directories
    from core.scenario import ScenarioError, find

    found = list(arguments)
    for i, argument in enumerate(found):
        name, equals, value = argument.partition("=")
        if name != "--scenario" or (not equals and i + 1 == len(found)):
            continue
        try:
            path = str(find(value if equals else found[i + 1], scenario_directories()))
        except ScenarioError as error:
            raise InputWrong(str(error)) from None
        if equals:
            found[i] = f"--scenario={path}"
        else:
            found[i + 1] = path
    return found
