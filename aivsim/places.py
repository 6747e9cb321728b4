"""Where things of ours are found, in a checkout and in an installed wheel."""

from __future__ import annotations

from pathlib import Path


def scenario_directories() -> list[Path]:
    """Folders of the scenarios that come with the project: in a wheel within `aivsim`, in a checkout beside it."""
    here = Path(__file__).resolve().parent
    return [path for path in (here / "scenarios", here.parent / "scenarios") if path.is_dir()]
