"""How commands and runs end: exit codes, and the errors that the command line shows as plain text."""

from __future__ import annotations

from typing import Final

import click

DONE: Final = 0
RUN_FAILED: Final = 1
INPUT_WRONG: Final = 2
INTERRUPTED: Final = 130


class InputWrong(click.ClickException):
    """What the user gave cannot be used."""

    exit_code = INPUT_WRONG


class Failed(click.ClickException):
    """The command began and did not succeed."""

    exit_code = RUN_FAILED


class CannotBegin(Exception):
    """The run has not begun: the directory, the data or something else that was asked for cannot be had."""


class RunFailed(Exception):
    """The run began and did not end well; its directory holds what was recorded."""
