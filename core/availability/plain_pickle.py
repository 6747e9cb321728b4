"""Pickles of plain data, read without executing them: numbers, text, lists, tuples and maps, and nothing else."""

from __future__ import annotations

import io
import pickle
import pickletools
from typing import Final, NoReturn


class NotPlain(ValueError):
    """It is no pickle, or one that holds something else."""


#: What a pickle of numbers, text, lists, tuples and maps is made of; none of these imports or calls anything.
_PLAIN: Final = frozenset(
    (
        "PROTO", "FRAME", "STOP", "MARK", "POP", "POP_MARK", "PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE", "GET",
        "BINGET", "LONG_BINGET", "NONE", "NEWTRUE", "NEWFALSE", "INT", "BININT", "BININT1", "BININT2", "LONG",
        "LONG1", "FLOAT", "BINFLOAT", "UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "EMPTY_LIST", "LIST", "APPEND",
        "APPENDS", "EMPTY_DICT", "DICT", "SETITEM", "SETITEMS", "EMPTY_TUPLE", "TUPLE", "TUPLE1", "TUPLE2",
        "TUPLE3",
    )
)  # fmt: skip


#: What a broken pickle makes of the standard library's readers.
_FAILURES: Final = (
    ArithmeticError, AttributeError, EOFError, LookupError, MemoryError, RecursionError, TypeError, ValueError,
    pickle.UnpicklingError,
)  # fmt: skip


class _Unpickler(pickle.Unpickler):
    """Finds no class and no function, whatever a pickle asks for."""

    def find_class(self, module: str, name: str) -> NoReturn:
        raise pickle.UnpicklingError(f"it asks for {module}.{name}")

    def persistent_load(self, identifier: object) -> NoReturn:
        raise pickle.UnpicklingError("it refers to something outside")


def loads(data: bytes) -> object:
    """What a pickle of plain data holds. Raises `NotPlain`, before anything is built, for any other.

    Its instructions are looked at first: only known ones are let through, and no place in the memo beyond those that
    have been filled, for which the unpickler would take memory.
    """
    try:
        for number, (code, argument, _) in enumerate(pickletools.genops(data)):
            if code.name not in _PLAIN:
                raise NotPlain(f"it has {code.name}; only numbers, text, lists and maps are read")
            if code.name in ("PUT", "BINPUT", "LONG_BINPUT") and not 0 <= int(str(argument)) <= number:
                raise NotPlain(f"it uses place {argument} of its memo out of turn")
        return _Unpickler(io.BytesIO(data)).load()
    except NotPlain:
        raise
    except _FAILURES as error:
        raise NotPlain(f"it is no pickle of plain data: {str(error)[:200]}") from error
