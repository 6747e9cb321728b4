"""What the commands about runs do: run, report, compare, verify, node."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import click

from aivsim.errors import Failed, InputWrong


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
    from analysis.summary import summary
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


def _writable(out: Path) -> None:
    """A run needs a new or empty folder that it can write to. Raises `InputWrong`."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        taken = any(out.iterdir())
    except OSError as error:
        raise InputWrong(f"--out {out}: cannot be written: {error.strerror or error}") from None
    if taken:
        raise InputWrong(f"--out {out}: is not empty; a run needs a new or empty folder")


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
