"""Scenarios as the command line names them: with ours by name, and errors as it shows them."""

from __future__ import annotations

from collections.abc import Sequence

from aivsim.errors import InputWrong
from aivsim.places import scenario_directories
from core.scenario import Scenario, ScenarioError, load


def loaded(name: str, settings: Sequence[str] = (), seed: int | None = None) -> Scenario:
    """The scenario of a path or name. Raises `InputWrong` with all of its problems."""
    try:
        return load(name, settings, seed=seed, directories=scenario_directories())
    except ScenarioError as error:
        raise InputWrong(explained(error)) from None


def explained(error: ScenarioError) -> str:
    """All problems of a scenario, below a line that counts them."""
    if len(error.problems) == 1:
        return str(error.problems[0])
    lines = "\n".join(f"  {problem}" for problem in error.problems)
    return f"the scenario has {len(error.problems)} problems\n{lines}"
