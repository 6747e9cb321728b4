"""Where things of ours are found, in a checkout and in an installed wheel."""

from __future__ import annotations

from pathlib import Path


def scenario_directories() -> list[Path]:
    """Folders with the scenarios that come with the project: beside the packages in a checkout, within ours in a wheel."""
    here = Path(__file__).resolve().parent
    return [path for path in (here / "scenarios", here.parent / "scenarios") if path.is_dir()]
