"""YAML as a tree in which every value knows its file and line.

A subset, safe and bounded: one document; maps with plain keys, no key twice, no tags, no merge keys; sizes, depth and
what aliases stand for are limited. Plain scalars follow the core schema of YAML 1.2 (`1e-3` is a number, `no` is
text), not PyYAML's 1.1. The tree is built from PyYAML's events, and never changed: merging makes new nodes.
"""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final, TypeAlias

import yaml

from core.scenario.problems import Problem

#: Longest file.
MAX_BYTES: Final = 1 << 18
#: Deepest nesting.
MAX_DEPTH: Final = 24
#: Most values in a file, those that aliases stand for included.
MAX_VALUES: Final = 100_000
#: Longest value shown in a message.
SHOWN: Final = 60

Scalar: TypeAlias = str | int | float | bool | None

_NULL: Final = frozenset(("", "~", "null", "Null", "NULL"))
_TRUE: Final = frozenset(("true", "True", "TRUE"))
_FALSE: Final = frozenset(("false", "False", "FALSE"))
_INT: Final = re.compile(r"[-+]?[0-9]{1,30}")
_RADIX: Final = re.compile(r"0o[0-7]{1,30}|0x[0-9a-fA-F]{1,30}")
_FLOAT: Final = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_ODD: Final = re.compile(r"([-+]?)\.(inf|Inf|INF)|\.(?:nan|NaN|NAN)")


@dataclasses.dataclass(frozen=True)
class Place:
    """Where a value stands: a file and line (from 1), or an option of the command line."""

    origin: str
    line: int | None = None


@dataclasses.dataclass(frozen=True)
class Node:
    """A value, its place (that of its key, if it has one), and how many values it holds, itself included."""

    value: Scalar | dict[str, Node] | list[Node]
    place: Place
    size: int = 1

    def plain(self) -> Any:
        """The value as plain data."""
        if isinstance(self.value, dict):
            return {key: node.plain() for key, node in self.value.items()}
        if isinstance(self.value, list):
            return [node.plain() for node in self.value]
        return self.value

    def find(self, path: tuple[str | int, ...]) -> tuple[Node, bool]:
        """The node at a path, or the innermost one around it; and whether it is the one asked for."""
        node = self
        for part in path:
            below: Node | None = None
            if isinstance(node.value, dict) and isinstance(part, str):
                below = node.value.get(part)
            elif isinstance(node.value, list) and isinstance(part, int) and part < len(node.value):
                below = node.value[part]
            if below is None:
                return node, False
            node = below
        return node, True

    def shown(self) -> str:
        """The value in a few characters, as it would be written."""
        if isinstance(self.value, dict):
            return f"a map of {len(self.value)}" if self.value else "an empty map"
        if isinstance(self.value, list):
            if any(isinstance(node.value, dict | list) for node in self.value) or len(self.value) > 5:
                return f"a list of {len(self.value)}"
            return f"[{', '.join(node.shown() for node in self.value)}]"
        text = json.dumps(self.value, ensure_ascii=False) if isinstance(self.value, str) else _written(self.value)
        text = text.encode("utf-8", "backslashreplace").decode()
        text = "".join(c if c.isprintable() else f"\\u{ord(c):04x}" for c in text)
        return text if len(text) <= SHOWN else f"{text[: SHOWN - 1]}…"


def _written(value: int | float | bool | None) -> str:
    return (
        {None: "null", True: "true", False: "false"}[value] if value is None or isinstance(value, bool) else str(value)
    )


def scalar(text: str) -> Scalar:
    """The value of a plain scalar by the core schema of YAML 1.2; digits beyond thirty make it a float."""
    if text in _NULL:
        return None
    if text in _TRUE or text in _FALSE:
        return text in _TRUE
    if _INT.fullmatch(text):
        return int(text)
    if _RADIX.fullmatch(text):
        return int(text, 0)
    if _FLOAT.fullmatch(text):
        return float(text)
    odd = _ODD.fullmatch(text)
    if odd is not None:
        return float(f"{odd[1]}inf" if odd[2] else "nan")
    return text


class Unusable(Exception):
    """A text that no tree can be made of; `problem` says why."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(str(problem))
        self.problem = problem


def from_plain(data: object, place: Place) -> Node:
    """A tree of plain data, all of it at one place. Raises `TypeError`."""
    if isinstance(data, Mapping):
        return Node({str(key): from_plain(value, place) for key, value in data.items()}, place)
    if isinstance(data, list | tuple):
        return Node([from_plain(value, place) for value in data], place)
    if data is None or isinstance(data, str | int | float):
        return Node(data, place)
    raise TypeError(f"{data!r} is no plain data")


def parse(text: str, origin: str, *, lines: bool = True) -> tuple[Node, list[Problem]]:
    """The tree of one YAML document, with what is wrong with single values. Raises `Unusable`."""
    builder = _Builder(text, origin, lines)
    try:
        return builder.document(), builder.problems
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        why = " ".join(part for part in (error.context, error.problem) if part)
        line = None if mark is None or not lines else mark.line + 1
        raise Unusable(Problem(origin, line, hint=f"not valid YAML: {why}")) from None
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1 if lines else None
        hint = f"the character U+{error.character:04X} is not valid in YAML"
        raise Unusable(Problem(origin, line, hint=hint)) from None


class _Builder:
    """Builds a tree from events."""

    def __init__(self, text: str, origin: str, lines: bool) -> None:
        self.events: Iterator[Any] = yaml.parse(text, Loader=yaml.SafeLoader)
        self.origin = origin
        self.lines = lines
        self.problems: list[Problem] = []
        self.anchors: dict[str, Node] = {}
        self.count = 0

    def document(self) -> Node:
        """The only document; an empty text is null."""
        node = Node(None, Place(self.origin, 1 if self.lines else None))
        documents = 0
        for event in self.events:
            if isinstance(event, yaml.DocumentStartEvent):
                documents += 1
                if documents > 1:
                    raise Unusable(
                        Problem(self.origin, self._line(event), hint="a second document begins here", accepted="one")
                    )
                node = self._node(next(self.events), "", 0)
        return node

    def _line(self, event: Any) -> int | None:
        return int(event.start_mark.line) + 1 if self.lines else None

    def _problem(self, event: Any, key: str, hint: str, accepted: str = "") -> None:
        self.problems.append(Problem(self.origin, self._line(event), key, hint=hint, accepted=accepted))

    def _node(self, event: Any, key: str, depth: int) -> Node:
        if depth > MAX_DEPTH:
            raise Unusable(
                Problem(self.origin, self._line(event), key[:SHOWN], hint=f"nested deeper than {MAX_DEPTH} levels")
            )
        node = self._value(event, key, depth)
        self.count += node.size if isinstance(event, yaml.AliasEvent) else 1
        if self.count > MAX_VALUES:
            raise Unusable(Problem(self.origin, self._line(event), key, hint=f"more than {MAX_VALUES} values"))
        return node

    def _value(self, event: Any, key: str, depth: int) -> Node:
        place = Place(self.origin, self._line(event))
        if isinstance(event, yaml.AliasEvent):
            known = self.anchors.get(str(event.anchor))
            if known is None:
                self._problem(event, key, f"the alias *{event.anchor} stands for nothing that ends before it")
            return Node(None, place) if known is None else dataclasses.replace(known, place=place)
        if event.tag is not None:
            self._problem(event, key, f"the tag {event.tag} is not accepted", "plain values")
        if isinstance(event, yaml.MappingStartEvent):
            node = self._map(place, key, depth)
        elif isinstance(event, yaml.SequenceStartEvent):
            node = self._list(place, key, depth)
        else:
            node = Node(scalar(event.value) if event.style is None else event.value, place)
        if event.anchor is not None:
            self.anchors[event.anchor] = node
        return node

    def _list(self, place: Place, key: str, depth: int) -> Node:
        items: list[Node] = []
        while not isinstance(event := next(self.events), yaml.SequenceEndEvent):
            items.append(self._node(event, _below(key, len(items)), depth + 1))
        return Node(items, place, 1 + sum(item.size for item in items))

    def _map(self, place: Place, key: str, depth: int) -> Node:
        entries: dict[str, Node] = {}
        while not isinstance(event := next(self.events), yaml.MappingEndEvent):
            if not isinstance(event, yaml.ScalarEvent):
                raise Unusable(Problem(self.origin, self._line(event), key, hint="a key that is no plain word"))
            name = event.value
            below = _below(key, name)
            value = self._node(next(self.events), below, depth + 1)
            if name == "<<" and event.style is None:
                self._problem(event, key, "merge keys (<<) are not accepted; `extends: FILE` composes scenarios")
            elif name in entries:
                first = entries[name].place.line
                where = "" if first is None else f", first in line {first}"
                self._problem(event, below, f"the key stands twice{where}", "it once")
            else:
                entries[name] = dataclasses.replace(value, place=Place(self.origin, self._line(event)))
        return Node(entries, place, 1 + sum(node.size for node in entries.values()))


def _below(key: str, part: str | int) -> str:
    return f"{key}.{part}" if key else str(part)


def merge(base: Node, over: Node) -> Node:
    """`over` laid over `base`: maps are merged key by key, everything else is replaced."""
    if not isinstance(base.value, dict) or not isinstance(over.value, dict):
        return over
    entries = dict(base.value)
    for key, node in over.value.items():
        entries[key] = merge(entries[key], node) if key in entries else node
    return Node(entries, over.place)
