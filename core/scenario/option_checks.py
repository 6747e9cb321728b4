"""Checks of options: those of our own parts are the ones that a part has."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from pydantic_core import PydanticCustomError

from core.scenario.findings import Finding, KeyPath, listed
from core.scenario.kinds import Kind, did_you_mean


def options(
    path: KeyPath, name: str, given: Mapping[str, object], known: Mapping[str, Mapping[str, Kind]]
) -> Iterator[Finding]:
    """Options of a part of ours are those that it has, with values that it takes; own parts look at theirs."""
    kinds = known.get(name)
    if kinds is None:
        return
    for option, value in given.items():
        if option not in kinds:
            accepted = listed(tuple(kinds)) if kinds else "no options"
            taker = Path(name).name
            yield Finding((*path, option), f"{taker} takes {accepted}", did_you_mean(option, kinds))
            continue
        try:
            kinds[option].read(value)
        except PydanticCustomError as error:
            hint = (error.context or {}).get("hint", "").removesuffix("; ")
            yield Finding((*path, option), kinds[option].accepted, hint)
