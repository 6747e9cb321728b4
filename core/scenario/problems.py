"""What can be wrong with a scenario: problems, each with its place, the value found and what would be accepted."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable


@dataclasses.dataclass(frozen=True)
class Problem:
    """One thing that is wrong. `origin` is a file, or the option of the command line that the value came from."""

    origin: str
    #: From 1; None where there are no lines.
    line: int | None = None
    #: Path of the key, such as `devices.0.count`; empty for the whole.
    key: str = ""
    #: The value found, as it would be written; empty if that says nothing.
    found: str = ""
    #: What would be accepted, in words.
    accepted: str = ""
    #: What is wrong, or what may have been meant.
    hint: str = ""

    def __str__(self) -> str:
        where = self.origin if self.line is None else f"{self.origin}:{self.line}"
        what = (f"found {self.found}" * bool(self.found), self.hint, f"accepted: {self.accepted}" * bool(self.accepted))
        said = "; ".join(part for part in what if part).replace("?; ", "? ")
        return ": ".join(part for part in (where, self.key, said) if part)


class ScenarioError(Exception):
    """A scenario that cannot be used: all of its problems, one a line."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))
