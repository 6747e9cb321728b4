"""What a check finds, and the words that checks share."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple, TypeAlias

from core.scenario.kinds import did_you_mean

KeyPath: TypeAlias = tuple[str | int, ...]
#: Names listed in a message before it is cut short.
SHOWN: Final = 16


class Unreadable(Exception):
    """A key of a draft has no valid value."""


class Finding(NamedTuple):
    """A value that does not fit: where it is, what would be accepted, and a hint or nothing."""

    path: KeyPath
    accepted: str
    hint: str = ""

    @property
    def text(self) -> str:
        """Hint and what is accepted."""
        return f"{self.hint}{'; ' if self.hint else ''}accepted: {self.accepted}"


def listed(names: tuple[str, ...]) -> str:
    """Names in a row, cut short where there are many."""
    more = len(names) - SHOWN
    return ", ".join(names[:SHOWN]) + (f" and {more} more" if more > 0 else "")


def unknown(path: KeyPath, name: str, noun: str, known: tuple[str, ...]) -> Iterator[Finding]:
    """A finding if a name is not known."""
    if name not in known:
        yield Finding(path, f"{noun}: {listed(known)}", did_you_mean(name, known))
