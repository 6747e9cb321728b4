"""Loads modules without looking for garbage among them, which there is none."""

from __future__ import annotations

import contextlib
import gc
import sys
from collections.abc import Iterator


@contextlib.contextmanager
def no_collections() -> Iterator[None]:
    """Loading modules and building a world make much and no garbage: looking for some takes a tenth of the start."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


@contextlib.contextmanager
def loading() -> Iterator[None]:
    """The same for a block that imports; modules that are new in it are not looked at in later collections either.

    They stay for the life of the process, and are more objects than a small study has: the first look at all of them
    took as long as an eighth of the import of JAX. Only the first run in a process has new modules. What else is there
    at that time, a caller's own, is still freed when nothing refers to it, but no more as part of a cycle.
    """
    known = len(sys.modules)
    with no_collections():
        yield
        if len(sys.modules) != known:
            gc.freeze()
