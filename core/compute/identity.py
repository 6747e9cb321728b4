"""What a Python function would compute, as a value: equal only if nothing that was found tells two functions apart.

A compiled program outlives the run that asked for it. A later function may take it only if it would compute the same,
which no name can promise: code is edited, and closures hold what no hyperparameter says. So a function is told by its
code, by its module, and by the defaults, closure cells and globals that its code uses, as far as these lead. Numbers,
text, arrays, containers, dataclasses, partials, methods and the functions that are made anew in each run count by
what is in them; a type, a module and whatever is found in its module under its own name (a function of a library) by
being the same object. Anything else is unlike everything, so that a program is compiled once more rather than taken
wrongly.

Not seen are what other modules' functions rest on and attributes of modules and classes that are set meanwhile.
"""

from __future__ import annotations

import dataclasses
import enum
import functools
import hashlib
import sys
import types
import weakref
from collections.abc import Iterator, Mapping
from typing import Any, Final

import jax
import numpy as np

_EXACT: Final = (type(None), type(...), type(NotImplemented), bool, int, str, bytes, complex, types.CodeType)
_EXACT_SUBCLASSED: Final = (np.dtype, jax.tree_util.PyTreeDef)
_BY_OBJECT: Final = (type, types.ModuleType, types.BuiltinFunctionType, np.ufunc)


class Identity:
    """Stands for all that would compute the same; there is one object of each, so that comparing takes no time."""

    __slots__ = ("__weakref__",)


_KNOWN: Final[weakref.WeakValueDictionary[tuple[Any, ...], Identity]] = weakref.WeakValueDictionary()


def identity_of(*parts: Any) -> Identity:
    """The identity of functions, or of other values beside them, as they are now."""
    return _KNOWN.setdefault(tuple(_told(parts)), Identity())


class Same:
    """Equal if it is of the very same object."""

    __slots__ = ("of",)

    def __init__(self, of: Any) -> None:
        self.of = of

    def __hash__(self) -> int:
        return id(self.of)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Same) and self.of is other.of


def _told(root: Any) -> Iterator[Any]:
    """All that tells a value, in one order, without recursion: what it is, how many parts it has, then each of them."""
    #: What was met, by its id, with its number; the objects are kept, so that no other gets their ids.
    met: dict[int, tuple[int, Any]] = {}
    #: What is still to be told, and the globals of the function that led to it.
    left: list[tuple[Any, Any]] = [(root, None)]
    while left:
        value, home = left.pop()
        kind = type(value)
        if kind in _EXACT or isinstance(value, _EXACT_SUBCLASSED):
            yield kind
            yield value
        elif kind is float:
            yield kind
            yield value.hex()
        elif id(value) in met:
            yield "again"
            yield met[id(value)][0]
        else:
            met[id(value)] = (len(met), value)
            head, parts = _taken_apart(value, home)
            yield kind
            yield head
            yield len(parts)
            home = value.__globals__ if kind is types.FunctionType else home
            left += [(part, home) for part in reversed(parts)]


def _taken_apart(value: Any, home: Any) -> tuple[Any, list[Any]]:
    """What is to be compared of a value at once, and its parts."""
    if isinstance(value, _BY_OBJECT):
        return Same(value), []
    if type(value) is types.FunctionType:
        if value.__globals__ is not home and home is not None and _is_named(value):
            return Same(value), []
        return Same(value.__globals__), _parts_of(value)
    if isinstance(value, functools.partial):
        return None, [value.func, value.args, value.keywords]
    if isinstance(value, types.MethodType):
        return None, [value.__func__, value.__self__]
    if isinstance(value, enum.Enum):
        return value.name, []
    if isinstance(value, tuple | list):
        return None, list(value)
    if isinstance(value, frozenset | set):
        return None, sorted(value, key=repr)
    if isinstance(value, Mapping):
        return None, [part for item in value.items() for part in item]
    if isinstance(value, np.ndarray | np.generic):
        return _numbers(np.asarray(value)), []
    if isinstance(value, jax.Array) and not isinstance(value, jax.core.Tracer):
        is_key = jax.numpy.issubdtype(value.dtype, jax.dtypes.prng_key)
        return _numbers(np.asarray(jax.random.key_data(value) if is_key else value)), []
    if dataclasses.is_dataclass(value):
        names = [field.name for field in dataclasses.fields(value)]
        return tuple(names), [getattr(value, name, None) for name in names]
    return Same(value if _is_named(value) else object()), []


def _numbers(array: np.ndarray[Any, Any]) -> Any:
    if array.dtype.hasobject:
        return Same(object())
    return array.dtype, array.shape, hashlib.blake2b(np.ascontiguousarray(array).tobytes()).digest()


def _is_named(value: Any) -> bool:
    """Whether this is found in its module under its own name, where it stays for the life of the process."""
    found: Any = sys.modules.get(getattr(value, "__module__", None) or "")
    called = getattr(value, "__qualname__", None) or getattr(value, "__name__", "")
    for name in str(called).split("."):
        found = getattr(found, name, None)
    return found is value


def _parts_of(function: types.FunctionType) -> list[Any]:
    """What a function's results follow from beside its arguments and its module."""
    cells = [_content(cell) for cell in function.__closure__ or ()]
    known = function.__globals__
    used = [known[name] for name in _names(function.__code__) if name in known]
    return [function.__code__, function.__defaults__, function.__kwdefaults__, cells, used]


def _content(cell: Any) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # not set yet
        return None


@functools.lru_cache(maxsize=4096)
def _names(code: types.CodeType) -> tuple[str, ...]:
    """The names that code and the code within it look up, among them those of globals."""
    inner = [name for part in code.co_consts if isinstance(part, types.CodeType) for name in _names(part)]
    return tuple(dict.fromkeys([*code.co_names, *inner]))
