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
from core.records.manifest import REPORT
from core.scenario import Scenario

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
        if old.outcome == "done":
            _finish(folder, report=report)
            return Run(folder)
        found = _scenario(folder, old)
        with display(found, "sim", quiet=quiet) as shown:
            simulate(found, folder, shown, held, begun=old)
            if report:
                report_on(folder, shown)
    return Run(folder)


def _manifest(folder: Path) -> Manifest:
    try:
        return read_manifest(folder)
    except RecordsError as error:
        raise CannotBegin(str(error)) from error


def _finish(folder: Path, *, report: bool) -> None:
    """Do what a run that was killed after its last record has left undone. Raises `CannotBegin` if that is nothing."""
    from core.compute.checkpoint import FOLDER

    left = (folder / FOLDER).is_dir()
    shutil.rmtree(folder / FOLDER, ignore_errors=True)
    if report and not (folder / REPORT).is_file():
        from analysis.report import write_report

        write_report(folder)
    elif not left:
        raise CannotBegin(
            f"{folder}: this run is done; nothing is left to resume (`aivsim report` writes its report anew)"
        )


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
    return Scenario.model_validate(old.scenario)
