"""JSON of data files (RFC 8259), in which a key that stands twice is a mistake: one of the values would be lost."""

from __future__ import annotations

import json
from typing import Any


class Twice(ValueError):
    """A key of a map stands twice."""


def loads(data: bytes | str) -> Any:
    """What a text of JSON holds. Raises `Twice`, or `ValueError` or `RecursionError` as `json.loads`."""
    return json.loads(data, object_pairs_hook=_map)


def _map(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise Twice(f"the key {key[:60]!r} stands twice in one map; accepted: it once")
        found[key] = value
    return found
