"""A user's own parts, named in a scenario as `module:attribute` or `path/file.py:attribute`.

A file is loaded by its path under a private name, so that it neither shadows nor is shadowed by another module. One
that was edited meanwhile is loaded anew; what it imports is loaded once in a process, as Python does.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

from core.scenario.kinds import did_you_mean

T = TypeVar("T")


class PluginError(ValueError):
    """What a scenario names cannot be loaded or used; says what was looked for, and where it failed."""


def load_attribute(spec: str, relative_to: Path | None = None) -> object:
    """What `spec` names. A file's path is relative to `relative_to` (None: the working directory).

    Raises `PluginError`.
    """
    source, colon, attribute = spec.rpartition(":")
    if not colon or not source or not attribute.isidentifier():
        raise PluginError(f"{spec!r} is neither module:attribute nor path/file.py:attribute")
    if source.endswith(".py"):
        module = _from_file(Path(source) if relative_to is None else relative_to / source)
    else:
        module = _from_name(source)
    if not hasattr(module, attribute):
        names = [name for name in vars(module) if not name.startswith("_")]
        close = did_you_mean(attribute, names)
        raise PluginError(f"{source} has no {attribute!r}{'; ' if close else ''}{close}")
    found: object = getattr(module, attribute)
    return found


def own_part(spec: str, make: Callable[[Callable[..., Any]], T], takes: str) -> T:
    """What `make` makes with the own function or class that `spec` names; `takes` says what is expected of it.

    Raises `PluginError`, whatever the user's code raises.
    """
    factory = load_attribute(spec)
    if not callable(factory):
        raise PluginError(f"{spec} is {factory!r:.100}; accepted: {takes}")
    try:
        return make(factory)
    except (Exception, SystemExit) as error:  # a user's function may raise anything
        failed = f"{spec} failed: {type(error).__name__}: {error}"
        raise PluginError(f"{failed}{_line_of(error, spec)}; accepted: {takes}") from error


def _line_of(error: BaseException, spec: str) -> str:
    """The last step in the user's file, in brackets; nothing if the error came before any."""
    source = spec.rpartition(":")[0]
    file = str(Path(source).resolve()) if source.endswith(".py") else sys.modules[source].__file__
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == file]
    return f" ({file}, line {lines[-1]})" if lines else ""


def private_name(path: Path) -> str:
    """The name under which a file's module is kept."""
    return f"_aivsim_own_{hashlib.sha256(str(path).encode()).hexdigest()[:16]}"


def _from_file(path: Path) -> ModuleType:
    path = path.resolve()
    name = private_name(path)
    if not path.is_file():
        raise PluginError(f"there is no file {path}")
    source = path.read_bytes()
    known = sys.modules.get(name)
    if known is not None and known.__spec__ is not None and known.__spec__.loader_state == source:
        return known
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None:
        raise PluginError(f"{path} cannot be loaded as a Python module")
    spec.loader_state = source
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        # Not by the loader: its cache takes a file for unchanged that was edited within a second to the same length.
        exec(compile(source, str(path), "exec", dont_inherit=True), vars(module))
    except (Exception, SystemExit) as error:  # a user's module may raise anything
        del sys.modules[name]
        raise PluginError(f"{_faulty_place(error, path)}: {type(error).__name__}: {error}") from error
    return module


def _from_name(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except (Exception, SystemExit) as error:  # a user's module may raise anything
        raise PluginError(f"the module {name} cannot be imported: {type(error).__name__}: {error}") from error


def _faulty_place(error: BaseException, path: Path) -> str:
    """File and line of the last step in the user's file."""
    if isinstance(error, SyntaxError) and error.lineno is not None:
        return f"{path}:{error.lineno}"
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)]
    return f"{path}:{lines[-1]}" if lines else str(path)
