"""From pydantic's errors to problems in a user's words, with the checks across keys done on what is valid.

Pydantic runs checks of a whole only when all of its parts are valid. So that all mistakes come out at once, a draft is
made of a faulty scenario, and the checks run on it; a check that looks at an invalid key ends (`Unreadable`).
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from types import NoneType
from typing import Annotated, Any, Final, cast, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import PydanticCustomError

from core.scenario import checks
from core.scenario.findings import Finding, KeyPath, Unreadable
from core.scenario.kinds import REFUSED, Kind, did_you_mean
from core.scenario.problems import Problem
from core.scenario.schema import CHECKS, Scenario, Section
from core.scenario.tree import Node

#: Errors of one scenario that are explained; more help nobody.
MAX_EXPLAINED: Final = 100


def problems_of(error: ValidationError, root: Node, *, whole: bool = True) -> list[Problem]:
    """All problems of the scenario `root`, which pydantic has refused with `error`.

    If it is not `whole`, as what it extends could not be read, what is missing or does not fit together says nothing.
    """
    problems: list[Problem] = []
    for detail in error.errors(include_url=False)[:MAX_EXPLAINED]:
        if detail["type"] == CHECKS:
            return [located(finding, root) for finding in detail["ctx"]["findings"]] if whole else []
        if detail["type"] == "missing" and not whole:
            continue
        path = tuple(part for part in detail["loc"] if part != "[key]")
        if detail["type"] == "too_short" and root.find(path)[0].value:
            continue  # pydantic counts the valid items only
        problems.append(_explained(path, detail["type"], detail.get("ctx", {}), detail["msg"], root))
    if not whole:
        return problems
    draft = cast(Scenario, draft_of(Scenario, root.plain()))
    return [*problems, *(located(finding, root) for finding in checks.findings(draft))]


def located(finding: Finding, root: Node) -> Problem:
    """A finding with its place; for a key that is not given, its default is what does not fit."""
    node, exact = root.find(finding.path)
    found = node.shown() if exact else ""
    return Problem(node.place.origin, node.place.line, _dotted(finding.path), found, finding.accepted, finding.hint)


def _explained(path: KeyPath, kind: str, context: Mapping[str, Any], message: str, root: Node) -> Problem:
    node, exact = root.find(path)
    found = node.shown() if exact else "nothing" if kind == "missing" else ""
    accepted, hint = _accepted(path), ""
    if kind == REFUSED:
        accepted, hint = context["accepted"], context["hint"].removesuffix("; ")
    elif kind == "extra_forbidden":
        known = _keys(path[:-1])
        guess = did_you_mean(str(path[-1]), known) or _elsewhere(str(path[-1]))
        accepted = f"the keys {', '.join(known)}"
        hint = f"there is no such key here; {guess}" if guess else "there is no such key here"
    elif kind == "missing":
        hint = "the key is missing"
    elif kind == "too_short":
        accepted += ", at least one"
    return Problem(node.place.origin, node.place.line, _dotted(path), found, accepted or message, hint)


def _dotted(path: KeyPath) -> str:
    return ".".join(str(part) for part in path)


# The schema at a path.


def _unwrapped(annotation: Any) -> tuple[Any, list[Any], bool]:
    """A type without `Annotated` and `| None`; its metadata; and whether it takes None."""
    metadata: list[Any] = []
    null = False
    while True:
        arguments = get_args(annotation)
        if get_origin(annotation) is Annotated:
            annotation, metadata = arguments[0], [*metadata, *arguments[1:]]
        elif NoneType in arguments:
            null = True
            annotation = next(part for part in arguments if part is not NoneType)
        else:
            return annotation, metadata, null


def _type_at(path: KeyPath) -> tuple[Any, list[Any]] | None:
    """Type and metadata of what the schema has at a path; None if it has nothing there."""
    annotation: Any = Scenario
    metadata: list[Any] = []
    for part in path:
        inner = _unwrapped(annotation)[0]
        if _is_section(inner):
            field = inner.model_fields.get(part)
            if field is None:
                return None
            annotation, metadata = field.annotation, list(field.metadata)
        elif get_origin(inner) in (tuple, dict):
            annotation, metadata = get_args(inner)[0 if get_origin(inner) is tuple else 1], []
        else:
            return None
    return annotation, metadata


def _is_section(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)


def _keys(path: KeyPath) -> tuple[str, ...]:
    """The keys that the schema knows at a path."""
    found = _type_at(path)
    inner: Any = _unwrapped(found[0])[0] if found is not None else None
    return tuple(inner.model_fields) if _is_section(inner) else ()


def _accepted(path: KeyPath) -> str:
    found = _type_at(path)
    return "" if found is None else _words(*found)


def _words(annotation: Any, metadata: list[Any]) -> str:
    """What a type accepts, in words."""
    inner, more, null = _unwrapped(annotation)
    kind = _kind([*metadata, *more])
    arguments = get_args(inner)
    if kind is not None:
        words = kind.accepted
    elif _is_section(inner):
        words = f"a map with the keys {', '.join(inner.model_fields)}"
    elif get_origin(inner) is tuple:
        words = f"a list of items that are each {_words(arguments[0], [])}"
    else:
        words = f"a map of names, each with {_words(arguments[1], [])}"
    return f"{words}, or null" if null and not words.endswith(")") else words


def _kind(metadata: list[Any]) -> Kind | None:
    return next((part for part in metadata if isinstance(part, Kind)), None)


def _elsewhere(name: str) -> str:
    """Where else the schema has a key of that name."""
    found = [path for path in _paths() if path[-1] == name]
    return f"it is a key of {_dotted(found[0][:-1]) or 'the scenario itself'}" if len(found) == 1 else ""


@functools.cache
def _paths() -> tuple[tuple[str, ...], ...]:
    """Paths of all keys, without the numbers and names in between."""

    def below(annotation: Any, path: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
        inner = _unwrapped(annotation)[0]
        if _is_section(inner):
            for name, field in inner.model_fields.items():
                yield (*path, name)
                yield from below(field.annotation, (*path, name))
        elif get_origin(inner) in (tuple, dict):
            yield from below(get_args(inner)[0 if get_origin(inner) is tuple else 1], path)

    return tuple(below(Scenario, ()))


# Drafts.


class Draft:
    """A section of which some keys are invalid; looking at one of these raises `Unreadable`."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        self._values = values

    def __getattr__(self, name: str) -> Any:
        if name not in self._values:
            raise Unreadable
        return self._values[name]


def draft_of(section: type[BaseModel], data: object) -> Draft:
    """A draft of a section from plain data, of which any part may be wrong."""
    values: dict[str, Any] = {}
    if issubclass(section, Section):
        data = section.spelled_out(data)
    given = data if isinstance(data, Mapping) else {}
    for name, field in section.model_fields.items():
        try:
            if name in given:
                values[name] = _drafted(field.annotation, list(field.metadata), given[name])
            elif not field.is_required() and isinstance(data, Mapping):
                values[name] = field.get_default(call_default_factory=True, validated_data={})
        except Unreadable:
            continue
    return Draft(values)


def _drafted(annotation: Any, metadata: list[Any], value: object) -> Any:
    """A value as the schema reads it, drafts in place of sections. Raises `Unreadable`."""
    inner, more, null = _unwrapped(annotation)
    kind = _kind([*metadata, *more])
    arguments = get_args(inner)
    if value is None and null:
        return None
    if kind is not None:
        try:
            return kind.read_or_null(value)
        except PydanticCustomError:
            raise Unreadable from None
    if _is_section(inner):
        return draft_of(inner, value)
    if get_origin(inner) is tuple and isinstance(value, list):
        return tuple(_drafted(arguments[0], [], item) for item in value)
    if get_origin(inner) is dict and isinstance(value, Mapping):
        return {key: _drafted(arguments[1], [], item) for key, item in value.items()}
    raise Unreadable
