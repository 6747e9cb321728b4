"""What values a key of a scenario may have: each kind reads a plain value, says what it accepts, and has a JSON Schema.

Kinds stand in the `Annotated` metadata of pydantic fields and replace pydantic's own checks of scalars, so that every
refusal says what would be accepted, in one voice. Nothing is coerced: text is no number, and 1 is not true.
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

#: Type of the pydantic errors that kinds raise; their context has `accepted` and `hint`.
REFUSED: Final = "refused"


def refused(accepted: str, hint: str = "") -> PydanticCustomError:
    """The error of a value that is not accepted; `hint` is a sentence such as `did you mean "rounds"?`."""
    return PydanticCustomError(
        REFUSED, "{hint}accepted: {accepted}", {"accepted": accepted, "hint": f"{hint}; " if hint else ""}
    )


def did_you_mean(name: str, known: Iterable[str], cutoff: float = 0.6) -> str:
    """A hint with the nearest of the known names, or nothing."""
    by_lower = {k.lower(): k for k in known}
    close = difflib.get_close_matches(name.lower()[:100], by_lower, n=1, cutoff=cutoff)
    return f'did you mean "{by_lower[close[0]]}"?' if close else ""


def limits(minimum: float | None, maximum: float | None, above: float | None = None) -> str:
    """Limits in words: ` from 1 to 5`, ` above 0`, or nothing."""
    low = "" if minimum is None else f" from {minimum:.15g}"
    if above is not None:
        low = f" above {above:.15g}"
    return low + ("" if maximum is None else f" up to {maximum:.15g}" if above is not None else f" to {maximum:.15g}")


class Kind:
    """Base of all kinds. With `or_null`, null is accepted too and read as None."""

    or_null: bool = False
    #: What null stands for.
    null_means: str = ""

    @property
    def accepted(self) -> str:
        """What is accepted, in words."""
        null = f", or null ({self.null_means})" if self.null_means else ", or null"
        return self.values + (null if self.or_null else "")

    @property
    def values(self) -> str:
        """What is accepted beside null."""
        raise NotImplementedError

    def read(self, value: object) -> Any:
        """The value in its final form. Raises the error made by `refused`."""
        raise NotImplementedError

    def schema(self) -> dict[str, Any]:
        """JSON Schema of what is accepted beside null."""
        raise NotImplementedError

    def read_or_null(self, value: object) -> Any:
        """`read`, or None for null where that is accepted."""
        return None if value is None and self.or_null else self.read(value)

    def refuse(self, hint: str = "") -> PydanticCustomError:
        """The error that says what this kind accepts."""
        return refused(self.accepted, hint)

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(self.read_or_null)

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        own = self.schema()
        return {"anyOf": [own, {"type": "null"}]} if self.or_null else own


def number(value: object) -> float | None:
    """A finite float, or None for anything that is no number."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        found = float(value)
    except OverflowError:
        return None
    return found if math.isfinite(found) else None


#: Stands for the catalogue's spread within a class.
OF_CLASS: Final = "class"


class Number(Kind):
    """A plain number within limits."""

    def __init__(
        self,
        minimum: float | None = None,
        maximum: float | None = None,
        *,
        above: float | None = None,
        below: float | None = None,
        or_null: str = "",
    ) -> None:
        self.minimum, self.maximum, self.above, self.below = minimum, maximum, above, below
        self.or_null, self.null_means = bool(or_null), or_null

    @property
    def values(self) -> str:
        under = "" if self.below is None else f", below {self.below:.15g}"
        return f"a number{limits(self.minimum, self.maximum, self.above)}{under}"

    def holds(self, value: float) -> bool:
        """Whether the value is within the limits."""
        return (
            (self.minimum is None or value >= self.minimum)
            and (self.maximum is None or value <= self.maximum)
            and (self.above is None or value > self.above)
            and (self.below is None or value < self.below)
        )

    def read(self, value: object) -> float:
        found = number(value)
        if found is None or not self.holds(found):
            raise self.refuse()
        return found

    def schema(self) -> dict[str, Any]:
        keys = {
            "minimum": self.minimum,
            "maximum": self.maximum,
            "exclusiveMinimum": self.above,
            "exclusiveMaximum": self.below,
        }
        return {"type": "number", **{key: limit for key, limit in keys.items() if limit is not None}}


class Spread(Number):
    """A standard deviation of a logarithm, or the word `class`: that of the catalogue."""

    @property
    def values(self) -> str:
        return f"{super().values}, or class (the catalogue's)"

    def read(self, value: object) -> Any:
        return OF_CLASS if value == OF_CLASS else super().read(value)

    def schema(self) -> dict[str, Any]:
        return {"anyOf": [super().schema(), {"const": OF_CLASS}]}


class Whole(Kind):
    """A whole number within limits."""

    def __init__(self, minimum: int, maximum: int, *, or_null: str = "") -> None:
        self.minimum, self.maximum = minimum, maximum
        self.or_null, self.null_means = bool(or_null), or_null

    @property
    def values(self) -> str:
        return f"a whole number from {self.minimum} to {self.maximum}"

    def read(self, value: object) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not self.minimum <= value <= self.maximum:
            raise self.refuse()
        return value

    def schema(self) -> dict[str, Any]:
        return {"type": "integer", "minimum": self.minimum, "maximum": self.maximum}


class Wholes(Kind):
    """A list of `length` whole numbers (or more, up to `most`), each within limits; read as a tuple."""

    def __init__(self, length: int, minimum: int, maximum: int, *, most: int = 0) -> None:
        self.length, self.most, self.item = length, most or length, Whole(minimum, maximum)

    @property
    def values(self) -> str:
        count = f"{self.length}" if self.most == self.length else f"{self.length} to {self.most}"
        return f"a list of {count} items that are each {self.item.values}"

    def read(self, value: object) -> tuple[int, ...]:
        if not isinstance(value, list | tuple) or not self.length <= len(value) <= self.most:
            raise self.refuse()
        try:
            return tuple(self.item.read(part) for part in value)
        except PydanticCustomError:
            raise self.refuse() from None

    def schema(self) -> dict[str, Any]:
        return {"type": "array", "items": self.item.schema(), "minItems": self.length, "maxItems": self.most}


class Names(Kind):
    """One name, or a list of names, of columns or arrays; a list is read as a tuple."""

    @property
    def values(self) -> str:
        return "a name, or a list of names, of columns or arrays"

    def read(self, value: object) -> str | tuple[str, ...]:
        names = tuple(value) if isinstance(value, list | tuple) else (value,)
        if not names or not all(isinstance(name, str) and name and printable(name) for name in names):
            raise self.refuse()
        return value if isinstance(value, str) else names

    def schema(self) -> dict[str, Any]:
        return {"type": ["string", "array"], "items": {"type": "string"}}


class Divisor(Kind):
    """A number other than 0, or the name of an array of such numbers."""

    @property
    def values(self) -> str:
        return "a number other than 0, or the name of an array of such"

    def read(self, value: object) -> float | str:
        if isinstance(value, str) and value and printable(value):
            return value
        found = number(value)
        if not found:
            raise self.refuse()
        return found

    def schema(self) -> dict[str, Any]:
        return {"type": ["number", "string"]}


class Values(Kind):
    """A list of numbers and texts; read as a tuple."""

    @property
    def values(self) -> str:
        return "a list of numbers and texts"

    def read(self, value: object) -> tuple[Any, ...]:
        if not isinstance(value, list | tuple) or not value:
            raise self.refuse()
        if not all(isinstance(item, bool | str) or number(item) is not None for item in value):
            raise self.refuse()
        return tuple(value)

    def schema(self) -> dict[str, Any]:
        return {"type": "array"}


class Flag(Kind):
    """true or false."""

    @property
    def values(self) -> str:
        return "true or false"

    def read(self, value: object) -> bool:
        if not isinstance(value, bool):
            raise self.refuse()
        return value

    def schema(self) -> dict[str, Any]:
        return {"type": "boolean"}


def printable(text: str) -> bool:
    """Whether text can be written anywhere: no control characters but tabs and line breaks, no lone surrogates."""
    return all(
        c in "\n\t"
        or (c >= " " and not "\x7f" <= c <= "\x9f" and not "\ud800" <= c <= "\udfff" and c not in "\ufffe\uffff\ufeff")
        for c in text
    )


class Text(Kind):
    """Printable text, possibly of a pattern, which `what` describes."""

    def __init__(self, what: str = "text", pattern: str = "", *, maximum: int = 2000, or_null: str = "") -> None:
        self.what, self.pattern, self.maximum = what, pattern, maximum
        self.or_null, self.null_means = bool(or_null), or_null

    @property
    def values(self) -> str:
        return self.what

    def read(self, value: object) -> str:
        if not isinstance(value, str) or len(value) > self.maximum or not printable(value):
            raise self.refuse()
        if self.pattern and re.fullmatch(self.pattern, value) is None:
            raise self.refuse()
        return value

    def schema(self) -> dict[str, Any]:
        return {
            "type": "string",
            "maxLength": self.maximum,
            **({"pattern": f"^{self.pattern}$"} if self.pattern else {}),
        }


class Choice(Kind):
    """One of a few words."""

    def __init__(self, *words: str, or_null: str = "") -> None:
        self.words = words
        self.or_null, self.null_means = bool(or_null), or_null

    @property
    def values(self) -> str:
        return "one of " + ", ".join(self.words)

    def read(self, value: object) -> str:
        if not isinstance(value, str) or value not in self.words:
            raise self.refuse(did_you_mean(value, self.words) if isinstance(value, str) else "")
        return value

    def schema(self) -> dict[str, Any]:
        return {"enum": list(self.words)}


class Choices(Choice):
    """A list of some of a few words, none of them twice; read as a tuple."""

    @property
    def values(self) -> str:
        return "a list of some of " + ", ".join(self.words)

    def read(self, value: object) -> Any:
        if not isinstance(value, list | tuple):
            raise self.refuse()
        found = tuple(Choice.read(self, item) for item in value)
        if len(set(found)) < len(found):
            raise self.refuse("one stands there twice")
        return found

    def schema(self) -> dict[str, Any]:
        return {"type": "array", "items": super().schema(), "uniqueItems": True}


#: An own part of a study: an attribute of a module, or of a Python file by its path.
_ATTRIBUTE: Final = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*|[^:\n]+\.py:[A-Za-z_]\w*")


class Component(Kind):
    """The name of a part that comes with the project, or where an own one is found."""

    def __init__(
        self,
        noun: str,
        known: Iterable[str],
        *,
        suffixes: tuple[str, ...] = (),
        own: bool = True,
        or_null: str = "",
    ) -> None:
        self.noun, self.known, self.suffixes, self.own = noun, tuple(known), suffixes, own
        self.or_null, self.null_means = bool(or_null), or_null

    @property
    def values(self) -> str:
        files = [f"an own {self.noun} as the path of a file ({', '.join(self.suffixes)})"] if self.suffixes else []
        own = [f"an own {self.noun} as module:attribute or path/file.py:attribute"] if self.own else []
        return ", or ".join((", ".join(self.known), *files, *own))

    def read(self, value: object) -> str:
        if not isinstance(value, str) or len(value) > 2000 or not printable(value):
            raise self.refuse()
        if value in self.known or value.endswith(self.suffixes) or (self.own and _ATTRIBUTE.fullmatch(value)):
            return value
        raise self.refuse(did_you_mean(value, self.known))

    def schema(self) -> dict[str, Any]:
        return {"type": "string", "examples": list(self.known)}


class Options(Kind):
    """Keyword arguments for an own or a known part: a map of numbers, words, flags, and lists of these (as tuples)."""

    @property
    def values(self) -> str:
        return "a map of names to numbers, text, true, false, or lists of these"

    def read(self, value: object) -> dict[str, Any]:
        if value is None:
            return {}
        if not isinstance(value, Mapping) or not all(isinstance(key, str) and key.isidentifier() for key in value):
            raise self.refuse()
        return {key: self._item(item) for key, item in value.items()}

    def _item(self, item: object) -> Any:
        if isinstance(item, list | tuple):
            return tuple(self._item(part) for part in item)
        if isinstance(item, bool) or (isinstance(item, str) and printable(item)):
            return item
        if isinstance(item, int | float) and number(item) is not None:
            return item
        raise self.refuse()

    def schema(self) -> dict[str, Any]:
        return {"type": "object"}
