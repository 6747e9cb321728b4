"""Models against what can be known of them: theory, published figures, measurements, independent solvers.

A *topic* (physics, ...) is the set of modules of this package whose names begin with it, such as `physics_heat`; each
has `SECTIONS`, and that is all there is to registering. A section yields checks: a number of ours beside a reference.
"""

from __future__ import annotations

import dataclasses
import importlib
import math
import pkgutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclasses.dataclass(frozen=True)
class Check:
    """A number beside its reference. It passes where they differ by at most `tolerance` (a share if `relative`).

    A model that is known to miss that goal says by how much at most, `known`, and the page says why: then the check is
    marked as a miss as long as it is within that, and fails beyond.
    """

    name: str
    #: What is claimed, and who says what the number ought to be.
    statement: str
    source: str
    reference: float
    value: float
    tolerance: float
    unit: str = ""
    relative: bool = False
    known: float | None = None

    @property
    def difference(self) -> float:
        """Ours less the reference; a share of the reference if relative."""
        if self.value == self.reference:
            return 0.0
        difference = self.value - self.reference
        return difference / abs(self.reference) if self.relative else difference

    @property
    def passed(self) -> bool:
        return self._within(self.tolerance)

    @property
    def failed(self) -> bool:
        """Whether it neither passes nor is within what it is known to miss."""
        return not (self.passed or (self.known is not None and self._within(self.known)))

    @property
    def mark(self) -> str:
        """`pass`, `miss` or `FAIL`."""
        return "pass" if self.passed else "FAIL" if self.failed else "miss"

    def _within(self, most: float) -> bool:
        return math.isfinite(self.difference) and abs(self.difference) <= most


def at_most(
    name: str, statement: str, source: str, limit: float, value: float, unit: str = "", known: float | None = None
) -> Check:
    """A check that a number of at least 0, such as an error, is not above a limit."""
    return Check(name, statement, source, 0.0, value, limit, unit, known=known)


@dataclasses.dataclass(frozen=True)
class Drawing:
    """A figure of a section, drawn when asked for; `key` names its file."""

    key: str
    caption: str
    draw: Callable[[], Figure]


@dataclasses.dataclass(frozen=True)
class Findings:
    """What a section found. `table` is extra: heads and rows of text."""

    checks: Sequence[Check]
    drawings: Sequence[Drawing] = ()
    heads: Sequence[str] = ()
    rows: Sequence[tuple[str, ...]] = ()


@dataclasses.dataclass(frozen=True)
class Section:
    """Checks that belong together; `needs` are folders of the data directory without which they cannot be made."""

    title: str
    #: What is compared with what, in a sentence or two.
    about: str
    run: Callable[[Path], Findings]
    needs: tuple[str, ...] = ()

    def missing(self, data: Path | None) -> tuple[str, ...]:
        """The folders that it needs and that are not there."""
        return tuple(name for name in self.needs if data is None or not (data / name).is_dir())


@dataclasses.dataclass(frozen=True)
class Outcome:
    """A section with what it found, or what it lacked."""

    section: Section
    findings: Findings | None
    missing: tuple[str, ...] = ()


def topics() -> tuple[str, ...]:
    """Names of the topics."""
    return tuple(dict.fromkeys(name.partition("_")[0] for name in _modules()))


def sections(topic: str) -> tuple[Section, ...]:
    """The sections of a topic, in the order of its modules' names."""
    chosen = [name for name in _modules() if name.partition("_")[0] == topic]
    found: list[Section] = []
    for name in chosen:
        found += importlib.import_module(f"{__name__}.{name}").SECTIONS
    return tuple(found)


def run(chosen: Sequence[Section], data: Path | None) -> list[Outcome]:
    """Make the checks of some sections; those whose data are missing are left out."""
    outcomes = []
    for section in chosen:
        missing = section.missing(data)
        findings = None if missing else section.run(data or Path())
        outcomes.append(Outcome(section, findings, missing))
    return outcomes


def _modules() -> list[str]:
    """Modules of topics: those with an underscore within their names."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__) if "_" in module.name.strip("_"))
