"""What the commands about runs do: run, report, compare, verify, node."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal, cast

import click

from aivsim.errors import Failed, InputWrong


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
