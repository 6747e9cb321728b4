"""One process at a time writes a run's folder.

The lock is the kernel's (`flock`), so that it ends with the process that holds it, however that ends.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import platform
from collections.abc import Iterator
from pathlib import Path
from typing import Final

#: The file in a run's folder that is locked; it says who holds the lock.
LOCK: Final = ".lock"
_SHOWN: Final = 200


class Taken(Exception):
    """Another process holds the lock; the message says which."""


@contextlib.contextmanager
def locked(directory: Path) -> Iterator[None]:
    """Hold the lock of an existing folder. Raises `Taken`, and `OSError` where there can be none."""
    path = directory / LOCK
    descriptor = _acquired(path)
    try:
        yield
    finally:
        # Before it is let go: who has opened it meanwhile finds that it is the folder's no more.
        path.unlink(missing_ok=True)
        os.close(descriptor)


def _acquired(path: Path) -> int:
    """A descriptor of the file, locked."""
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _is_same(descriptor, path):
                os.ftruncate(descriptor, 0)
                os.pwrite(descriptor, f"process {os.getpid()} on {platform.node()}".encode(), 0)
                return descriptor
        except BlockingIOError:
            holder = os.pread(descriptor, _SHOWN, 0).decode(errors="replace")
            shown = "".join(letter for letter in holder if letter.isprintable()) or "another process"
            os.close(descriptor)
            raise Taken(f"{path.parent}: {shown} is at this run; wait until it has ended, or end it first") from None
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)


def _is_same(descriptor: int, path: Path) -> bool:
    """Whether the path still is the file that was opened."""
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(path))
    except FileNotFoundError:
        return False
