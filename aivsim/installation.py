"""Checks that `core`, `sim`, `analysis` and `real_runtime` are ours, and not others' modules of the same names."""

from __future__ import annotations

import importlib.util
import os
import sys
from typing import Final

from aivsim.errors import InputWrong

PACKAGES: Final = ("analysis", "core", "real_runtime", "sim")


def check_installation() -> None:
    """Find our packages without importing them. Raises `InputWrong` that says what stands in their place."""
    root = os.path.dirname(os.path.dirname(os.path.realpath(__file__)))
    for name in PACKAGES:
        spec = importlib.util.find_spec(name)
        ours = os.path.join(root, name, "__init__.py")
        found = None if spec is None else spec.origin or next(iter(spec.submodule_search_locations or ()), None)
        if found is None:
            raise InputWrong(f"the package {name!r} of aivsim is missing: install aivsim again")
        if os.path.realpath(found) != ours:
            raise InputWrong(
                f"another {name!r} stands before the one of aivsim on Python's path:\n"
                f"  found   {found}\n"
                f"  needed  {ours}\n"
                f"Start aivsim from another folder, rename it, or take its folder out of PYTHONPATH "
                f"(the path begins with {sys.path[0] or os.getcwd()})."
            )
