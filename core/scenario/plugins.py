"""A user's own functions, named in a scenario as `file.py:attribute` or `module:attribute`.

A file is loaded by its path under a private name, so that it neither shadows nor is shadowed by an installed module.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any


class PluginError(ValueError):
    """What a scenario names cannot be loaded."""


def load_attribute(name: str, *, relative_to: Path) -> Any:
    """The attribute that `name` says; files are found from the folder `relative_to`. Raises `PluginError`."""
    source, colon, attribute = name.rpartition(":")
    if not colon or not source or not attribute.isidentifier():
        raise PluginError(f"{name!r}: expected file.py:attribute or module:attribute")
    module = _from_file(relative_to / source) if source.endswith(".py") else _from_module(source)
    try:
        return getattr(module, attribute)
    except AttributeError:
        public = ", ".join(sorted(found for found in vars(module) if not found.startswith("_"))) or "nothing"
        raise PluginError(f"{source} has no {attribute!r}; it has {public}") from None


def _from_module(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise PluginError(f"module {name!r} cannot be imported: {error}") from error


def _from_file(path: Path) -> ModuleType:
    path = path.resolve()
    private = f"_aivsim_plugin_{hashlib.sha256(str(path).encode()).hexdigest()[:16]}"
    if private in sys.modules:
        return sys.modules[private]
    spec = importlib.util.spec_from_file_location(private, path)
    if spec is None or spec.loader is None or not path.is_file():
        raise PluginError(f"{path} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[private] = module
    try:
        spec.loader.exec_module(module)
    except BaseException as error:
        del sys.modules[private]
        if isinstance(error, Exception):
            raise PluginError(f"{path} failed while it was loaded: {type(error).__name__}: {error}") from error
        raise
    return module
