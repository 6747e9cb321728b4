"""What one sees while a run goes on: a live line on a terminal, plain lines now and then elsewhere, or nothing."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from types import TracebackType
from typing import Protocol, Self

import click

#: Least seconds between two plain lines.
QUIET_S = 2.0


class Display(Protocol):
    """Hears how a run goes."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def phase(self, name: str) -> None:
        """Something else begins."""

    def notes(self, notes: Sequence[str]) -> None:
        """What a user may not expect of the study."""

    def round_ended(self, number: int, time_s: float) -> None:
        """A round ended at a time of the study."""

    def evaluated(self, number: int, score: str, value: float) -> None:
        """The model of a round has been evaluated; `score` is accuracy or error."""


class _Silent:
    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None

    def phase(self, name: str) -> None:
        return None

    def notes(self, notes: Sequence[str]) -> None:
        return None

    def round_ended(self, number: int, time_s: float) -> None:
        return None

    def evaluated(self, number: int, score: str, value: float) -> None:
        return None


class _Plain(_Silent):
    """Lines for a log."""

    def __init__(self, rounds: int) -> None:
        self.rounds = rounds
        self.last_s = time.monotonic()
        self.began_s = self.last_s

    def _line(self, text: str, *, always: bool = False) -> None:
        now_s = time.monotonic()
        if always or now_s - self.last_s >= QUIET_S:
            self.last_s = now_s
            click.echo(f"[{now_s - self.began_s:6.1f} s] {text}", err=True)

    def phase(self, name: str) -> None:
        self._line(name, always=True)

    def notes(self, notes: Sequence[str]) -> None:
        for note in notes:
            self._line(f"note: {note}", always=True)

    def round_ended(self, number: int, time_s: float) -> None:
        self._line(
            f"round {number} of {self.rounds} ended at {time_s:.1f} s of the study", always=number == self.rounds
        )

    def evaluated(self, number: int, score: str, value: float) -> None:
        self._line(f"after round {number}: {score} {value:.3f}", always=number == self.rounds)


class _Live(_Silent):
    """A bar on a terminal."""

    def __init__(self, rounds: int) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

        self.rounds = rounds
        self.began_s = time.monotonic()
        self.progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[details]}"),
            TimeElapsedColumn(),
            console=Console(stderr=True),
            transient=True,
        )
        self.task = self.progress.add_task("starting", total=rounds, details="")
        self.study = self.score = ""

    def __enter__(self) -> Self:
        self.progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.progress.stop()

    def phase(self, name: str) -> None:
        self.began_s = time.monotonic()
        self.progress.update(self.task, description=name)

    def notes(self, notes: Sequence[str]) -> None:
        for note in notes:
            self.progress.console.print(f"note: {note}", markup=False, highlight=False)

    def round_ended(self, number: int, time_s: float) -> None:
        passed_s = max(time.monotonic() - self.began_s, 1e-9)
        self.study = f"study {time_s:.0f} s ({time_s / passed_s:,.1f}× real time)"
        self.progress.update(self.task, completed=number, details=f"{self.study} {self.score}")

    def evaluated(self, number: int, score: str, value: float) -> None:
        self.score = f"{score} after round {number}: {value:.3f}"
        self.progress.update(self.task, details=f"{self.study} {self.score}")


def display(rounds: int, *, quiet: bool) -> Display:
    """The display that fits where standard error goes, for so many rounds."""
    if quiet:
        return _Silent()
    if sys.stderr.isatty():
        return _Live(rounds)
    return _Plain(rounds)
