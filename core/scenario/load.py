"""Reads a scenario: YAML with the line of every key, `extends`, overrides, and all mistakes at once.

A mistake names the file, the line, the key, the value found and what would be accepted. Files are bounded in size and
depth, aliases are refused (they can grow without bound), and only plain values are made: no tags.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, get_args

import yaml
from pydantic import BaseModel, ValidationError

from core.scenario.schema import Scenario, suggestion

MAX_BYTES: Final = 1 << 20
MAX_DEPTH: Final = 32
#: Where a value came from: the file and line, or the option on the command line.
Place = str
Key = tuple[str | int, ...]


@dataclasses.dataclass(frozen=True)
class Problem:
    """One mistake."""

    place: Place
    key: str
    found: str
    expected: str

    def __str__(self) -> str:
        key = f"{self.key}: " if self.key else ""
        found = f"found {self.found}; " if self.found else ""
        return f"{self.place}: {key}{found}{self.expected}"


class ScenarioError(Exception):
    """A scenario that cannot be run; `problems` holds all that was found."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__("\n".join(str(problem) for problem in problems))
        self.problems = tuple(problems)


class _Loader(yaml.SafeLoader):
    """YAML 1.1 as PyYAML reads it, with exponents without a dot as numbers (1e-3)."""


_Loader.yaml_implicit_resolvers = {k: list(v) for k, v in yaml.SafeLoader.yaml_implicit_resolvers.items()}
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?(?:[0-9][0-9_]*)(?:\.[0-9_]*)?[eE][-+]?[0-9]+$"),
    list("-+0123456789"),
)


@dataclasses.dataclass
class _Source:
    """Plain data with the place of every value, by key path."""

    data: dict[str, Any]
    places: dict[Key, Place]


def load(
    name: str | Path,
    settings: Sequence[str] = (),
    *,
    seed: int | None = None,
    ours: Sequence[Path] = (),
) -> Scenario:
    """The scenario at a path, or of that name in one of the folders `ours`. Raises `ScenarioError`.

    `settings` are `a.b.c=value` overrides, the value in YAML; numbers in the key index lists.
    """
    path = find(name, ours)
    source = _read(path, ours, ())
    problems: list[Problem] = []
    for setting in settings:
        problems += _override(source, setting)
    if seed is not None:
        source.data["seed"] = seed
        source.places[("seed",)] = "--seed"
    if problems:
        raise ScenarioError(problems)
    scenario = parse(source.data, source.places, str(path))
    scenario._folder = str(path.resolve().parent)
    return scenario


def parse(data: Mapping[str, Any], places: Mapping[Key, Place] | None = None, whole: Place = "scenario") -> Scenario:
    """A scenario from plain data. Raises `ScenarioError`."""
    known = places or {}
    try:
        scenario = Scenario.model_validate(dict(data))
    except ValidationError as error:
        raise ScenarioError([_explain(detail, data, known, whole) for detail in error.errors()]) from None
    conflicts = scenario.conflicts()
    if conflicts:
        raise ScenarioError(
            [Problem(_place(key, known, whole), _dotted(key), repr(v), f"expected {e}") for key, v, e in conflicts]
        )
    return scenario


def find(name: str | Path, ours: Sequence[Path]) -> Path:
    """The file that a path or the name of one of our scenarios means. Raises `ScenarioError`."""
    path = Path(name)
    if path.is_file():
        return path
    known = {found.stem: found for folder in ours for found in sorted(folder.glob("*.yaml"))}
    if str(name) in known:
        return known[str(name)]
    if path.is_dir():
        raise ScenarioError([Problem(str(name), "", "", "is a folder; expected a YAML file")])
    hint = (
        f"expected the path of a YAML file, or one of ours: {', '.join(sorted(known))}." if known else "no such file."
    )
    raise ScenarioError(
        [Problem(str(name), "", "", f"there is no such scenario; {hint}{suggestion(str(name), known)}")]
    )


# Reading.


def _read(path: Path, ours: Sequence[Path], chain: tuple[Path, ...]) -> _Source:
    """A file with what it extends underneath."""
    resolved = path.resolve()
    if resolved in chain:
        cycle = " → ".join(p.name for p in (*chain, resolved))
        raise ScenarioError([Problem(str(path), "extends", "", f"extends itself: {cycle}")])
    source = _parse_yaml(path)
    if "extends" not in source.data:
        return source
    base_name = source.data.pop("extends")
    place = source.places.pop(("extends",))
    if not isinstance(base_name, str):
        raise ScenarioError([Problem(place, "extends", repr(base_name), "expected the path or name of a scenario")])
    beside = path.parent / base_name
    try:
        base_path = beside if beside.is_file() else find(base_name, ours)
    except ScenarioError as error:
        raise ScenarioError(
            [dataclasses.replace(p, place=place, key="extends", found=repr(base_name)) for p in error.problems]
        ) from None
    base = _read(base_path, ours, (*chain, resolved))
    _merge(base, source)
    return base


def _parse_yaml(path: Path) -> _Source:
    try:
        raw = path.read_bytes()
        text = raw.decode("utf-8")
    except OSError as error:
        raise ScenarioError([Problem(str(path), "", "", f"cannot be read: {error.strerror or error}")]) from None
    except UnicodeDecodeError:
        raise ScenarioError([Problem(str(path), "", "", "is not UTF-8 text")]) from None
    if len(raw) > MAX_BYTES:
        raise ScenarioError([Problem(str(path), "", "", f"has {len(raw)} bytes; at most {MAX_BYTES} are read")])
    return _parse_text(text, str(path))


def _parse_text(text: str, name: str) -> _Source:
    loader = _Loader(text)
    try:
        node = loader.get_single_node()
        reader = _Reader(loader, name)
        data = reader.value(node, (), 0) if node is not None else {}
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f"{name}:{mark.line + 1}" if mark is not None else name
        raise ScenarioError([Problem(place, "", "", f"is not valid YAML: {error.problem or error.context}")]) from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ScenarioError([Problem(name, "", "", f"is not valid YAML: {error}")]) from None
    finally:
        loader.dispose()
    if not isinstance(data, dict):
        reader.problems.append(Problem(f"{name}:1", "", repr(data), "expected keys and values"))
    if reader.problems:
        raise ScenarioError(reader.problems)
    return _Source(data, reader.places)


class _Reader:
    """Plain data from YAML nodes, with places and problems."""

    def __init__(self, loader: _Loader, name: str) -> None:
        self.loader = loader
        self.name = name
        self.places: dict[Key, Place] = {}
        self.problems: list[Problem] = []
        self.seen: set[int] = set()

    def value(self, node: yaml.Node, key: Key, depth: int) -> Any:
        place = f"{self.name}:{node.start_mark.line + 1}"
        self.places.setdefault(key, place)
        if depth > MAX_DEPTH or id(node) in self.seen:
            why = f"nested deeper than {MAX_DEPTH}" if depth > MAX_DEPTH else "an alias (*name); write the value out"
            self.problems.append(Problem(place, _dotted(key), "", f"{why} is not taken"))
            return None
        self.seen.add(id(node))
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, key, depth)
        if isinstance(node, yaml.SequenceNode):
            return [self.value(item, (*key, i), depth + 1) for i, item in enumerate(node.value)]
        if node.tag not in _PLAIN:
            self.problems.append(Problem(place, _dotted(key), str(node.value), "expected a plain value without a tag"))
            return None
        return self.loader.construct_object(node)

    def _mapping(self, node: yaml.MappingNode, key: Key, depth: int) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key_node, value_node in node.value:
            name = key_node.value
            place = f"{self.name}:{key_node.start_mark.line + 1}"
            if not isinstance(key_node, yaml.ScalarNode) or not isinstance(name, str):
                self.problems.append(Problem(place, _dotted(key), "", "a key must be a plain word"))
                continue
            path = (*key, name)
            if name in found:
                self.problems.append(Problem(place, _dotted(path), "", "the key stands here twice"))
            self.places[path] = place
            found[name] = self.value(value_node, path, depth + 1)
        return found


_PLAIN: Final = frozenset(f"tag:yaml.org,2002:{kind}" for kind in ("str", "int", "float", "bool", "null"))


def _merge(base: _Source, over: _Source) -> None:
    """Lay one source over another: maps merge, all else is replaced."""

    def lay(under: dict[str, Any], upper: Mapping[str, Any], key: Key) -> None:
        for name, value in upper.items():
            path = (*key, name)
            if isinstance(value, dict) and isinstance(under.get(name), dict):
                base.places[path] = over.places[path]
                lay(under[name], value, path)
            else:
                under[name] = value
                _replace_places(base.places, path, over.places)

    lay(base.data, over.data, ())


def _replace_places(places: dict[Key, Place], path: Key, new: Mapping[Key, Place]) -> None:
    for old in [key for key in places if key[: len(path)] == path]:
        del places[old]
    places.update({key: place for key, place in new.items() if key[: len(path)] == path})


# Overrides.


def _override(source: _Source, setting: str) -> list[Problem]:
    """Apply `a.b.c=value`; what is wrong with it."""
    place = f"--set {setting}"
    dotted, equals, text = setting.partition("=")
    if not equals or not dotted:
        return [Problem(place, "", "", "expected KEY=VALUE, such as training.rounds=10")]
    try:
        # As a document of its own the value has a depth, no aliases and plain tags like any other.
        value = _parse_text(f"value: {text}", place).data["value"]
    except ScenarioError:
        return [Problem(place, dotted, repr(text), "the value is not valid YAML")]
    target: Any = source.data
    parts = dotted.split(".")
    path: list[str | int] = []
    for i, part in enumerate(parts):
        last = i == len(parts) - 1
        if isinstance(target, list):
            if not part.isdecimal() or int(part) >= len(target):
                return [Problem(place, dotted, repr(part), f"expected a number from 0 to {len(target) - 1}")]
            path.append(int(part))
        elif isinstance(target, dict):
            path.append(part)
            if not last and target.get(part) is None:
                target[part] = {}
        else:
            return [Problem(place, dotted, "", f"{_dotted(tuple(path))} has no keys below it")]
        if last:
            target[path[-1]] = value
        else:
            target = target[path[-1]]
    _replace_places(source.places, tuple(path), {tuple(path): place})
    return []


# Explaining.


def _dotted(key: Sequence[str | int]) -> str:
    return ".".join(str(part) for part in key)


def _place(key: Key, places: Mapping[Key, Place], whole: Place) -> Place:
    """The place of a key, or of the closest thing around it."""
    for length in range(len(key), 0, -1):
        if key[:length] in places:
            return places[key[:length]]
    return places.get((), whole)


def _explain(detail: Any, data: Any, places: Mapping[Key, Place], whole: Place) -> Problem:
    """A problem from what pydantic says."""
    key = _own_part(tuple(detail["loc"]), data)
    place = _place(key, places, whole)
    kind, context = detail["type"], detail.get("ctx", {})
    found = "" if kind == "missing" else _shown(detail["input"])
    if kind == "extra_forbidden":
        known = _keys_at(key[:-1])
        expected = f"unknown key; known are {', '.join(known)}.{suggestion(str(key[-1]), known)}"
        return Problem(place, _dotted(key), "", expected)
    if kind == "missing":
        return Problem(place, _dotted(key), "", "this key is missing")
    if kind == "value_error":
        return Problem(place, _dotted(key), found, str(context["error"]))
    if kind == "literal_error":
        expected = f"expected {context['expected']}"
        if isinstance(detail["input"], str):
            expected += "." + suggestion(detail["input"], re.findall(r"'([^']*)'", context["expected"]))
        return Problem(place, _dotted(key), found, expected)
    if kind == "string_pattern_mismatch":
        return Problem(place, _dotted(key), found, f"expected text of the form {context['pattern']}")
    message = (
        detail["msg"].replace("Input should be", "expected").replace("valid dictionary or instance of ", "keys of ")
    )
    return Problem(place, _dotted(key), found, message[0].lower() + message[1:])


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."


def _own_part(loc: Key, data: Any) -> Key:
    """The part of pydantic's location that is in the data: it adds names of its own for unions and validators."""
    own: list[str | int] = []
    at: Any = data
    for i, part in enumerate(loc):
        inside = (isinstance(at, dict) and (part in at or i == len(loc) - 1)) or (
            isinstance(at, list | tuple) and isinstance(part, int) and part < len(at)
        )
        if not inside:
            break
        own.append(part)
        at = at[part] if not (isinstance(at, dict) and part not in at) else None
    return tuple(own)


def _keys_at(key: Key) -> list[str]:
    """The keys that the schema knows at a place."""
    model: type[BaseModel] | None = Scenario
    for part in key:
        if model is None:
            break
        if isinstance(part, int):
            continue
        field = model.model_fields.get(part)
        model = next(_models_in(field.annotation), None) if field is not None else None
    return sorted(model.model_fields) + (["extends"] if model is Scenario else []) if model is not None else []


def _models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    """The models that a type mentions."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for inner in get_args(annotation):
        yield from _models_in(inner)
