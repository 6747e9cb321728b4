"""What a run's results rest on beside its scenario and the packages' versions, as hashes in its manifest.

A run that is resumed mixes results of before and after, so that all of this has to be the same: the data as they were
loaded, a user's own parts, the files that the scenario names, and our own code. Of an own part the module and what it
imports of the user's other modules count, as far as they are loaded when the study is built; installed packages do not.
"""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import sys
import sysconfig
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from core.scenario.plugins import load_attribute, private_name

if TYPE_CHECKING:
    from core.data.dataset import Dataset
    from core.scenario import Scenario
    from core.scenario.build import Study

#: Our packages that decide what a run's numbers are.
CODE: Final = ("core", "sim")
#: The key of their hash; the other keys are the scenario's.
OUR_CODE: Final = "aivsim"
_OURS: Final = frozenset({"aivsim", "analysis", "core", "real_runtime", "sim"})


def inputs_sha256(built: Study) -> dict[str, str]:
    """SHA-256 of what a study rests on, by the scenario's key that names it; `aivsim` is our own code.

    Raises `OSError` if something cannot be read any more.
    """
    scenario = built.scenario
    found = {OUR_CODE: _code_sha256(), "data.dataset": _data_sha256(built.federation.data)}
    for key, spec in (("model.name", scenario.model.name), ("training.algorithm", scenario.training.algorithm)):
        if ":" in spec:
            found[key] = _part_sha256(spec)
    for key, path in _files(scenario):
        with path.open("rb") as file:
            found[key] = hashlib.file_digest(file, "sha256").hexdigest()
    return found


def changes(scenario: Scenario, before: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """What is not as it was, a line each with the beginnings of both hashes."""
    lines = []
    for key in sorted({*before, *now}):
        was, is_ = before.get(key, "none"), now.get(key, "none")
        if was != is_:
            what = "the code of aivsim itself" if key == OUR_CODE else f"{key}{_value(scenario, key)}"
            lines.append(f"{what}: SHA-256 was {was[:12]}, is {is_[:12]}")
    return lines


def _value(scenario: Scenario, key: str) -> str:
    """What a scenario has at a key, in brackets; nothing for a key that it does not have."""
    value: Any = scenario.resolved()
    for part in key.split("."):
        try:
            value = value[int(part) if isinstance(value, list) else part]
        except (LookupError, TypeError, ValueError):
            return ""
    return f" ({value})"


def _files(scenario: Scenario) -> Iterator[tuple[str, Path]]:
    """The files that a scenario names, but for its data, by their keys."""
    named: list[tuple[str, str | None]] = [("numerics.surrogate", scenario.numerics.surrogate)]
    topology = scenario.network.topology
    if isinstance(topology, str):
        named.append(("network.topology", topology))
    for name, link in sorted(scenario.links.items()):
        if link.trace is not None:
            named += [(f"links.{name}.trace.up", link.trace.up), (f"links.{name}.trace.down", link.trace.down)]
    named += [
        (f"devices.{number}.availability.trace", group.availability.trace)
        for number, group in enumerate(scenario.devices)
    ]
    for key, value in named:
        if value is not None and Path(value).is_file():
            yield key, Path(value)


def _data_sha256(data: Dataset) -> str:
    """Of the arrays as they were loaded, whatever file or generator they come from."""
    digest = hashlib.sha256(repr((data.task, data.classes, data.tokens, data.client_names)).encode())
    arrays: dict[str, Any] = {"x": data.x, "y": data.y, "client": data.client, "test": data.test}
    for name, array in arrays.items():
        if array is not None:
            digest.update(f"{name} {array.dtype.str} {array.shape}".encode())
            digest.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
    return digest.hexdigest()


def _code_sha256() -> str:
    """Of all files of our packages that decide numbers, with their places in them."""
    contents = {}
    for package in CODE:
        root = Path(__file__).parents[1] / package
        for path in root.rglob("*"):
            if path.is_file() and "__pycache__" not in path.parts:
                contents[f"{package}/{path.relative_to(root).as_posix()}"] = path.read_bytes()
    return _all_sha256(contents)


def _part_sha256(spec: str) -> str:
    """Of an own part's module and of the user's modules that it imports."""
    load_attribute(spec)
    source = spec.rpartition(":")[0]
    name = private_name(Path(source).resolve()) if source.endswith(".py") else source
    contents: dict[str, bytes] = {}
    waiting = [(source, sys.modules[name])]
    while waiting:
        called, module = waiting.pop()
        if called in contents or module.__file__ is None:
            continue
        contents[called] = Path(module.__file__).read_bytes()
        waiting += _imported(module, contents[called])
    # Where a file lies says nothing of what is in it.
    contents[""] = contents.pop(source, b"")
    return _all_sha256(contents)


def _imported(module: ModuleType, source: bytes) -> Iterator[tuple[str, ModuleType]]:
    """The user's own modules that a module's source imports, and the packages that they are in."""
    if module.__file__ is None or not module.__file__.endswith(".py"):
        return
    names: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = "." * node.level + (node.module or "")
            if node.level:
                base = importlib.util.resolve_name(base, module.__package__)
            names |= {base, *(f"{base}.{alias.name}" for alias in node.names)}
    for name in sorted(names):
        parts = name.split(".")
        for length in range(1, len(parts) + 1):
            called = ".".join(parts[:length])
            found = sys.modules.get(called)
            if found is not None and _is_own(found):
                yield called, found


def _is_own(module: ModuleType) -> bool:
    """Whether a module is neither Python's, nor an installed one, nor ours."""
    file = getattr(module, "__file__", None)
    if file is None or module.__name__.partition(".")[0] in _OURS:
        return False
    path = Path(file).resolve()
    if {"site-packages", "dist-packages"} & set(path.parts):
        return False
    return not any(path.is_relative_to(Path(sysconfig.get_path(kind)).resolve()) for kind in ("stdlib", "platstdlib"))


def _all_sha256(contents: dict[str, bytes]) -> str:
    digest = hashlib.sha256()
    for name in sorted(contents):
        digest.update(f"{len(name)} {name} {len(contents[name])} ".encode())
        digest.update(contents[name])
    return digest.hexdigest()
