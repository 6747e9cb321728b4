"""The address book of a run: its nodes, where they listen, which certificate each must show, and which actors it hosts.

A YAML or JSON file: `run: ID` and `nodes: {NAME: {host, port, fingerprint, actors: [NAME, …]}}`.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

import msgspec
import yaml

_FINGERPRINT: Final = re.compile(r"[0-9a-f]{64}")
_KEYS: Final = ("host", "port", "fingerprint", "actors")


class BookError(Exception):
    """An address book that cannot be read or does not fit the study."""


@dataclasses.dataclass(frozen=True)
class Entry:
    """One node."""

    host: str
    port: int
    fingerprint: str
    actors: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Book:
    """All nodes of a run, by name."""

    run: str
    nodes: Mapping[str, Entry]

    def node_of(self) -> dict[str, str]:
        """The node of each actor."""
        return {actor: name for name, entry in self.nodes.items() for actor in entry.actors}

    def check(self, actors: Iterable[str]) -> None:
        """Raise `BookError` unless exactly these actors are hosted."""
        wanted, hosted = set(actors), set(self.node_of())
        if missing := sorted(wanted - hosted):
            raise BookError(f"the address book gives no node to {', '.join(missing)}")
        if unknown := sorted(hosted - wanted):
            raise BookError(f"the address book hosts {', '.join(unknown)}, which the study does not have")

    def save(self, path: Path) -> None:
        """Write it as JSON (which is YAML too)."""
        path.write_bytes(msgspec.json.format(msgspec.json.encode(self), indent=2) + b"\n")


def load(path: Path) -> Book:
    """Read an address book; raises `BookError` with the file, the key and what is accepted."""
    try:
        data = yaml.safe_load(path.read_bytes())
    except OSError as error:
        raise BookError(f"{path}: cannot be read ({error.strerror})") from None
    except yaml.YAMLError as error:
        raise BookError(f"{path}: is not YAML ({error})") from None
    if not isinstance(data, dict) or not isinstance(data.get("run"), str) or not isinstance(data.get("nodes"), dict):
        raise BookError(f"{path}: an address book has the keys run (a text) and nodes (a map)")
    nodes: dict[str, Entry] = {}
    owner: dict[str, str] = {}
    for name, described in data["nodes"].items():
        nodes[str(name)] = entry = _entry(path, str(name), described)
        for actor in entry.actors:
            if actor in owner:
                raise BookError(f"{path}: nodes: actor {actor!r} is hosted by {owner[actor]!r} and by {name!r}")
            owner[actor] = str(name)
    return Book(data["run"], nodes)


def _entry(path: Path, name: str, described: Any) -> Entry:
    where = f"{path}: nodes.{name}"
    if not isinstance(described, dict) or sorted(described) != sorted(_KEYS):
        raise BookError(f"{where}: has the keys {', '.join(_KEYS)}; found {described!r}")
    host, port, pin, actors = (described[key] for key in _KEYS)
    if not isinstance(host, str):
        raise BookError(f"{where}.host: {host!r} is not a host name or address")
    if type(port) is not int or not 0 < port < 65536:
        raise BookError(f"{where}.port: {port!r} is not a port, 1 to 65535")
    if not isinstance(pin, str) or not _FINGERPRINT.fullmatch(pin):
        raise BookError(f"{where}.fingerprint: {pin!r} is not the SHA-256 of a certificate, 64 hexadecimal digits")
    if not isinstance(actors, list) or not all(isinstance(actor, str) for actor in actors):
        raise BookError(f"{where}.actors: {actors!r} is not a list of actors' names")
    return Entry(host, port, pin, tuple(actors))
