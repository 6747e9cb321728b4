"""What the commands about runs do: run, merge, report, compare, verify, node."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import click

from aivsim.errors import CannotBegin, Failed, InputWrong, RunFailed
from aivsim.loading import loading


def run_command(
    scenario: str | None,
    *,
    resumed: Path | None,
    world: Literal["sim", "real"],
    out: Path | None,
    seed: int | None,
    settings: Sequence[str],
    processes: int | None,
    quiet: bool,
    report: bool,
) -> None:
    """Run a scenario and print what came out. Raises `InputWrong` and `Failed`."""
    with loading():
        from aivsim.resuming import resume
        from aivsim.runs import run
        from aivsim.scenarios import explained
        from analysis.summary import summary
        from core.records import RecordsError
        from core.scenario import ScenarioError

    if (scenario is None) == (resumed is None):
        raise InputWrong("either a SCENARIO to run or --resume DIR, the folder of a run that was stopped, is expected")
    try:
        if resumed is not None:
            if out is not None or seed is not None or settings or processes is not None or world != "sim":
                raise InputWrong(
                    "--resume takes up a run as it was: --world, --out, --seed, --set and --processes cannot go with it"
                )
            found = resume(resumed, quiet=quiet, report=report)
        else:
            assert scenario is not None
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
        for line in summary(found.directory):
            click.echo(line)
    except ScenarioError as error:
        raise InputWrong(explained(error)) from None
    except CannotBegin as error:
        raise InputWrong(str(error)) from None
    except RunFailed as error:
        raise Failed(str(error)) from None
    except RecordsError as error:
        raise Failed(str(error)) from None


def merge_command(
    scenario: str, out: Path, records: Sequence[Path], *, seed: int | None, settings: Sequence[str]
) -> None:
    """Make one run of the records of several nodes, and write its report. Raises `InputWrong` and `Failed`."""
    from aivsim.runs import merge_nodes
    from aivsim.scenarios import loaded
    from analysis.report import write_report
    from analysis.summary import summary
    from core.records import RecordsError

    found = loaded(scenario, settings, seed)
    try:
        merge_nodes(found, out, records)
        write_report(out)
        click.echo("\n".join(summary(out)))
    except CannotBegin as error:
        raise InputWrong(str(error)) from None
    except RecordsError as error:
        raise Failed(str(error)) from None


def report_command(directories: Sequence[Path]) -> None:
    """Write the reports of runs from their records. Raises `InputWrong`."""
    from analysis.report import write_report
    from core.records import RecordsError

    for directory in directories:
        try:
            click.echo(str(write_report(directory)))
        except RecordsError as error:
            raise InputWrong(str(error)) from None


def compare_command(first: Path, second: Path, *, out: Path | None) -> None:
    """Print two runs side by side, and write the page of the comparison if asked. Raises `InputWrong` and `Failed`."""
    from analysis.compare import compare, write_comparison
    from core.records import RecordsError

    try:
        comparison = compare(first, second)
        for line in comparison.lines():
            click.echo(line)
    except RecordsError as error:
        raise InputWrong(str(error)) from None
    if out is not None:
        try:
            click.echo(f"\n{write_comparison(comparison, out)}")
        except RecordsError as error:
            raise Failed(str(error)) from None


def verify_command(directory: Path) -> bool:
    """Print what is wrong with a run's directory, or that nothing is; whether all is as it should be."""
    from core.records import verify
    from core.records.manifest import MANIFEST

    if not (directory / MANIFEST).is_file():
        raise InputWrong(f"{directory} is no directory of a run")
    problems = verify(directory)
    for problem in problems:
        click.echo(problem, err=True)
    if not problems:
        click.echo(f"{directory}: the stored messages and model have the hashes of the manifest")
    return not problems


def node_command(arguments: Sequence[str]) -> None:
    """Run `real_runtime.node` with these arguments; scenarios of ours are found by name."""
    from aivsim.places import scenario_directories
    from real_runtime.node import main

    ours = (part for folder in scenario_directories() for part in ("--scenarios", str(folder)))
    main.main(args=[*arguments, *ours], prog_name="aivsim node")
