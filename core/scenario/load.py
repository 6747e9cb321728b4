"""Loads a scenario: a file or one of ours by name, what it extends, and what the command line overrides.

All that is wrong comes out at once, as a `ScenarioError`.
"""

from __future__ import annotations

import dataclasses
import json
import os.path
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError

from core.scenario import tree
from core.scenario.explain import problems_of
from core.scenario.kinds import did_you_mean
from core.scenario.problems import Problem, ScenarioError
from core.scenario.schema import FILE_KEYS, FILES, PATH_KEYS, Scenario
from core.scenario.tree import Node, Place, Unusable

#: Longest chain of `extends`.
MAX_CHAIN: Final = 8


def load(
    name: str | Path,
    overrides: Sequence[str] = (),
    seed: int | None = None,
    directories: Sequence[Path] = (),
) -> Scenario:
    """The scenario of a path, or of a name that one of the `directories` has a file for. Raises `ScenarioError`.

    `overrides` are `a.b.c=value`, the value in YAML; items of a list go by number or by their own name
    (`devices.0.count=3`, `devices.phone-low.count=3`). `seed` stands over all else.
    """
    problems: list[Problem] = []
    path = find(name, directories)
    root = _read(path, directories, (), problems)
    for setting in overrides:
        root = _override(root, setting, problems)
    if seed is not None:
        root = _replace(root, ["seed"], Node(seed, Place(f"--seed {seed}")))
    return _validated(root, problems)


def parse(data: Mapping[str, Any], origin: str = "scenario") -> Scenario:
    """A scenario from plain data, such as `Scenario.resolved()` gives. Raises `ScenarioError`."""
    return _validated(tree.from_plain(data, Place(origin)), [])


def dumps(scenario: Scenario) -> str:
    """A file's text that loads as an equal scenario anywhere: nothing is left to other files or overrides."""
    return json.dumps(scenario.resolved(), indent=2, ensure_ascii=False) + "\n"


def find(name: str | Path, directories: Sequence[Path] = ()) -> Path:
    """The file that a path or the name of one of our scenarios stands for. Raises `ScenarioError`."""
    given = Path(name)
    if given.is_file():
        return given
    ours = _ours(directories)
    if str(name) in ours:
        return ours[str(name)]
    hint = "this is a directory" if given.is_dir() else "there is no such file"
    close = did_you_mean(given.stem, ours)
    named = f", or the name of one of ours: {', '.join(sorted(ours))}" if ours else ""
    accepted = f"the path of a YAML file{named}"
    raise ScenarioError([Problem(str(name), hint=f"{hint}; {close}" if close else hint, accepted=accepted)])


def _ours(directories: Sequence[Path]) -> dict[str, Path]:
    """Our scenarios by name; the first of the directories counts."""
    return {path.stem: path for directory in reversed(directories) for path in sorted(directory.glob("*.yaml"))}


def _validated(root: Node, problems: list[Problem]) -> Scenario:
    # A problem with `extends` means that something is not there; the key itself is gone from the tree.
    whole = all(problem.key != "extends" for problem in problems)
    try:
        scenario = Scenario.model_validate(root.plain())
    except ValidationError as error:
        problems.extend(problems_of(error, root, whole=whole))
    else:
        if not problems:
            # Whatever is found wrong later, when data and models are made, is told with its place.
            scenario.__dict__["places"] = root
            return scenario
    order = {origin: i for i, origin in enumerate(dict.fromkeys(problem.origin for problem in problems))}
    raise ScenarioError(sorted(dict.fromkeys(problems), key=lambda p: (order[p.origin], p.line or 0)))


# Files.


def _read(path: Path, directories: Sequence[Path], chain: tuple[Path, ...], problems: list[Problem]) -> Node:
    """The tree of a file over the trees that it extends. Raises `ScenarioError`."""
    origin = str(path)
    try:
        root, found = tree.parse(_text(path), origin)
    except Unusable as error:
        raise ScenarioError([*problems, error.problem]) from None
    problems.extend(found)
    if root.value is None:
        root = Node({}, root.place)
    if not isinstance(root.value, dict):
        problem = Problem(origin, root.place.line, found=root.shown(), accepted="a map of the keys of a scenario")
        raise ScenarioError([*problems, problem])
    extends = root.value.get("extends")
    root = _absolute(Node({key: node for key, node in root.value.items() if key != "extends"}, root.place), path.parent)
    if extends is None:
        return root
    chain = (*chain, path.resolve())
    wrong = Problem(
        origin,
        extends.place.line,
        "extends",
        extends.shown(),
        "the path of a scenario, relative to this file, or the name of one of ours",
    )
    if not isinstance(extends.value, str):
        problems.append(wrong)
        return root
    try:
        base = _extended(path, extends.value, directories)
    except ScenarioError as error:
        first = error.problems[0]
        problems.append(dataclasses.replace(wrong, accepted=first.accepted, hint=first.hint))
        return root
    if base.resolve() in chain or len(chain) >= MAX_CHAIN:
        names = " → ".join(step.name for step in (*chain, base))
        why = "extends itself" if base.resolve() in chain else f"extends more than {MAX_CHAIN - 1} others in a row"
        problems.append(dataclasses.replace(wrong, hint=f"the scenario {why}: {names}"))
        return root
    return tree.merge(_read(base, directories, chain, problems), root)


def _extended(path: Path, name: str, directories: Sequence[Path]) -> Path:
    """The file that the scenario in `path` extends. Raises `ScenarioError`.

    Files beside it come before ours, but the name of one of ours is never the file itself: an own `quickstart.yaml`
    may extend `quickstart`.
    """
    ours = _ours(directories)
    for file in (path.parent / name, path.parent / f"{name}.yaml"):
        if file.is_file() and not (name in ours and file.resolve() == path.resolve()):
            return file
    return find(name, directories) if name not in ours else ours[name]


def _text(path: Path) -> str:
    """A file's text. Raises `ScenarioError`."""
    try:
        with path.open("rb") as file:
            raw = file.read(tree.MAX_BYTES + 1)
    except OSError as error:
        raise ScenarioError([Problem(str(path), hint=f"cannot be read: {error.strerror or error}")]) from None
    if len(raw) > tree.MAX_BYTES:
        raise ScenarioError([Problem(str(path), hint="too large", accepted=f"at most {tree.MAX_BYTES} bytes")])
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise ScenarioError([Problem(str(path), line, hint="not text in UTF-8")]) from None


def _absolute(root: Node, folder: Path) -> Node:
    """Paths relative to the folder made absolute, so that they survive being extended from elsewhere."""
    for path in (*_file_keys(root), *PATH_KEYS):
        node, exact = root.find(path)
        if not exact or not isinstance(node.value, str) or not node.value:
            continue
        whole = path not in PATH_KEYS or node.value.endswith(FILES)
        file, colon, attribute = (node.value, "", "") if whole else node.value.rpartition(":")
        if whole or file.endswith(".py"):
            absolute = os.path.abspath(folder / file)
            root = _replace(root, list(path), Node(f"{absolute}{colon}{attribute}", node.place))
    return root


def _file_keys(root: Node) -> list[tuple[str | int, ...]]:
    """Keys of the tree whose value is the path of a file, whatever its name."""
    found: list[tuple[str | int, ...]] = []
    for pattern in FILE_KEYS:
        paths: list[tuple[str | int, ...]] = [()]
        for part in pattern:
            paths = [(*path, name) for path in paths for name in (_names(root, path) if part == "*" else (part,))]
        found += paths
    return found


def _names(root: Node, path: tuple[str | int, ...]) -> Iterable[str | int]:
    """What is there below a path: the names of a map, or the numbers of a list."""
    node, exact = root.find(path)
    if not exact or not isinstance(node.value, dict | list):
        return ()
    return tuple(node.value) if isinstance(node.value, dict) else range(len(node.value))


# Overrides.


def _override(root: Node, setting: str, problems: list[Problem]) -> Node:
    """The tree with `a.b.c=value` in it; what is wrong goes to `problems`."""
    origin = f"--set {setting}"
    key, equals, text = setting.partition("=")
    parts = key.strip().split(".")
    if not equals or not all(parts):
        problems.append(Problem(origin, accepted="KEY=VALUE, such as training.rounds=10 or devices.0.count=3"))
        return root
    try:
        value, found = tree.parse(text, origin, lines=False)
        problems.extend(found)
        numbered = _numbered(root, parts)
    except Unusable as error:
        problems.append(error.problem)
        return root
    # What came before is absolute already, so that only paths of this setting change.
    return _absolute(_replace(root, numbered, Node(value.value, Place(origin), value.size)), Path.cwd())


def _numbered(root: Node, parts: Sequence[str]) -> list[str | int]:
    """The parts of a key with numbers for the items of lists. Raises `Unusable`."""
    node: Node | None = root
    path: list[str | int] = []
    for part in parts:
        if node is not None and isinstance(node.value, list):
            number = _index(node.value, part, f"--set {'.'.join(parts)}", path)
            path.append(number)
            node = node.value[number]
            continue
        if node is not None and node.value is not None and not isinstance(node.value, dict):
            key = ".".join(map(str, path))
            raise Unusable(
                Problem(f"--set {'.'.join(parts)}", key=key, found=node.shown(), hint="it has no keys below it")
            )
        path.append(part)
        node = node.value.get(part) if node is not None and isinstance(node.value, dict) else None
    return path


def _index(items: Sequence[Node], part: str, origin: str, path: Iterable[str | int]) -> int:
    names = [node.value.get("name") if isinstance(node.value, dict) else None for node in items]
    for i, name in enumerate(names):
        if name is not None and name.value == part:
            return i
    if part.isascii() and part.isdecimal() and len(part) < 9 and int(part) < len(items):
        return int(part)
    known = [name.value for name in names if name is not None and isinstance(name.value, str)]
    numbers = f"a number from 0 to {len(items) - 1}" if items else "nothing: the list is empty"
    accepted = f"{numbers}{', or a name: ' if known else ''}{', '.join(known)}"
    key = ".".join(map(str, (*path, part)))
    raise Unusable(Problem(origin, key=key, accepted=accepted, hint=did_you_mean(part, known)))


def _replace(node: Node, path: Sequence[str | int], value: Node) -> Node:
    """A tree with `value` at a path; maps on the way to it are made."""
    if not path:
        return value
    first, rest = path[0], path[1:]
    if isinstance(node.value, list) and isinstance(first, int):
        items = list(node.value)
        items[first] = _replace(items[first], rest, value)
        return Node(items, node.place)
    entries = dict(node.value) if isinstance(node.value, dict) else {}
    entries[str(first)] = _replace(entries.get(str(first), Node({}, value.place)), rest, value)
    return Node(entries, node.place)
