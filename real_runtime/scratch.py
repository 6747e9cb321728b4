"""Folders of a run that nobody needs after it: gone with it or, if its process was killed, when the next one begins.

Each holds a file that its process has locked (flock(2)) as long as it lives, however it ends; the file gets its name
when it is locked, so that a folder with a file that can be locked is one whose process is dead.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

PREFIX: Final = "aivsim-"
LOCK: Final = "alive"


@contextlib.contextmanager
def scratch_folder() -> Iterator[Path]:
    """A new folder that only its owner reads, removed afterwards; first those of dead processes are."""
    sweep()
    with tempfile.TemporaryDirectory(prefix=PREFIX) as made:
        folder = Path(made)
        # Not inherited: nodes that outlive their launcher do not keep it.
        lock = os.open(folder / f"{LOCK}.new", os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            (folder / f"{LOCK}.new").rename(folder / LOCK)
            yield folder
        finally:
            os.close(lock)


def sweep() -> None:
    """Remove this user's folders whose processes are dead; whatever else has such a name is left alone."""
    for folder in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        with contextlib.suppress(OSError):
            found = folder.lstat()
            if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
                continue
            lock = os.open(folder / LOCK, os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder)
            finally:
                os.close(lock)
