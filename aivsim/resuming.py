"""Takes up a simulated run that was killed or interrupted: `aivsim run --resume DIR`."""

from __future__ import annotations

import contextlib
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from aivsim.errors import CannotBegin
from aivsim.ledger import environment, versions
from aivsim.locking import Taken, locked
from aivsim.progress import display
from aivsim.runs import report_on, simulate
from core.records import Manifest, RecordsError, read_manifest
from core.records.manifest import MANIFEST, REPORT
from core.scenario import Scenario, ScenarioError, parse

if TYPE_CHECKING:
    from analysis.tables import Run


def resume(directory: str | os.PathLike[str], *, quiet: bool = True, report: bool = True) -> Run:
    """Take up a simulated run that was killed or interrupted, and return its tables.

    The events are replayed from the start, what had been computed is read from the checkpoint, and the records are
    those of a run that was never stopped. Of a run that was killed at its very end what is left is done: its checkpoint
    goes, and a missing report is written. Raises as `run` does.
    """
    from analysis.tables import Run

    folder = Path(directory)
    _manifest(folder)
    with contextlib.ExitStack() as held:
        try:
            held.enter_context(locked(folder))
        except Taken as error:
            raise CannotBegin(str(error)) from None
        except OSError as error:
            raise CannotBegin(f"{folder}: cannot be locked: {error.strerror or error}") from error
        # Whoever held the lock may have gone on.
        old = _manifest(folder)
        found = None if old.outcome == "done" else _scenario(folder, old)
        if found is None:
            report = _clear(folder, report=report)
        with display(0 if found is None else found.training.rounds, quiet=quiet) as shown:
            if found is not None:
                simulate(found, folder, shown, held, begun=old)
            if report:
                report_on(folder, shown)
    return Run(folder)


def _manifest(folder: Path) -> Manifest:
    try:
        return read_manifest(folder)
    except RecordsError as error:
        raise CannotBegin(str(error)) from error


def _clear(folder: Path, *, report: bool) -> bool:
    """Remove what a run that was killed after its last record has left; whether its report is still to be written.

    Raises `CannotBegin` if nothing is left to do, where a report is one thing if it is asked for.
    """
    from core.compute.checkpoint import FOLDER

    missing = report and not (folder / REPORT).is_file()
    if not missing and not (folder / FOLDER).is_dir():
        raise CannotBegin(
            f"{folder}: this run is done; nothing is left to resume (`aivsim report` writes its report anew)"
        )
    shutil.rmtree(folder / FOLDER, ignore_errors=True)
    return missing


def _scenario(folder: Path, old: Manifest) -> Scenario:
    """The scenario of a run that can be taken up. Raises `CannotBegin` for one that cannot."""
    if old.world != "sim":
        raise CannotBegin(f"{folder}: a run on real sockets cannot be resumed; only simulated ones can")
    before, now = old.versions | old.environment, versions() | environment()
    changed = [
        f"{name} {before.get(name, '–')} → {now.get(name, '–')}"
        for name in dict.fromkeys((*now, *before))
        if before.get(name) != now.get(name)
    ]
    if changed:
        raise CannotBegin(
            f"{folder}: was begun with something else, so that its numbers would differ: {', '.join(changed)}"
        )
    try:
        return parse(old.scenario, str(folder / MANIFEST))
    except ScenarioError as error:
        raise CannotBegin(f"{folder}: what the run was begun with cannot be used any more:\n{error}") from error
