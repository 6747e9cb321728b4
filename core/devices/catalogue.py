"""The catalogue: device classes, access links, regions and a backbone, read from the YAML files beside this module.

Every number in those files carries its unit, its source and its kind of evidence: measured, derived, literature or
estimate. `provenance`, `link_provenance` and `region_provenance` give them as they stand.
"""

from __future__ import annotations

import difflib
import functools
import importlib.resources
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final, NamedTuple

from core.devices.battery import Battery
from core.devices.classes import DeviceProfile, Radio, ThrottleLevel
from core.devices.heat import Heat
from core.links import Link

EVIDENCE: Final = ("measured", "derived", "literature", "estimate")


class UnknownName(ValueError):
    """There is no entry of that name in the catalogue; says which there are."""

    def __init__(self, kind: str, name: str, known: Iterable[str]) -> None:
        known = tuple(known)
        close = difflib.get_close_matches(name, known, n=1)
        hint = f"did you mean {close[0]!r}? " if close else ""
        super().__init__(f"there is no {kind} {name!r}: {hint}known are {', '.join(known)}")
        self.kind = kind
        self.name = name
        self.known = known


class Parameter(NamedTuple):
    """One number of the catalogue; `key` is its path, such as `heat.case_capacity_j_per_k`."""

    key: str
    value: float
    unit: str
    source: str
    evidence: str


def profiles() -> tuple[str, ...]:
    """Names of the device classes."""
    return tuple(_read("catalogue.yaml"))


@functools.cache
def profile(name: str) -> DeviceProfile:
    """The device class `name`. Raises `UnknownName`."""
    entry = _entry("catalogue.yaml", "device", name)
    value = {parameter.key: parameter.value for parameter in provenance(name)}
    kinds = entry["radios"]
    return DeviceProfile(
        name=name,
        description=entry["description"],
        radios={
            kind: Radio(value[f"radios.{kind}.send_j_per_byte"], value[f"radios.{kind}.receive_j_per_byte"])
            for kind in kinds
        },
        battery=Battery(**_group(value, "battery")) if "battery" in entry else None,
        heat=Heat(**_group(value, "heat")) if "heat" in entry else None,
        throttle=tuple(ThrottleLevel(**_group(value, f"throttle.{level}")) for level in entry.get("throttle", {})),
        **{key: number for key, number in value.items() if "." not in key},
    )


def provenance(name: str) -> tuple[Parameter, ...]:
    """Every parameter of the device class `name`, with where it comes from. Raises `UnknownName`."""
    return tuple(_parameters(_entry("catalogue.yaml", "device", name), f"catalogue.yaml: {name}"))


def links() -> tuple[str, ...]:
    """Names of the access links."""
    return tuple(_read("links.yaml"))


@functools.cache
def link(name: str) -> Link:
    """The access link `name`: medians of its class. Raises `UnknownName`."""
    entry = _entry("links.yaml", "link", name)
    value = {parameter.key: parameter.value for parameter in link_provenance(name)}
    return Link(
        name=name,
        kind=entry["kind"],
        latency_s=value["latency_s"],
        up_bytes_per_s=value["up_bytes_per_s"],
        down_bytes_per_s=value["down_bytes_per_s"],
        loss=value["loss"],
        metered=entry["metered"],
        translated=entry.get("translated", False),
    )


def link_provenance(name: str) -> tuple[Parameter, ...]:
    """Every parameter of the access link `name`, with where it comes from. Raises `UnknownName`."""
    return tuple(_parameters(_entry("links.yaml", "link", name), f"links.yaml: {name}"))


def regions() -> tuple[str, ...]:
    """Names of the regions that `region_delays` knows."""
    return tuple(_read("regions.yaml")["one_way_delay_ms"])


@functools.cache
def region_delays() -> Mapping[tuple[str, str], float]:
    """One-way delay of the Internet from one region to another, or within one, s."""
    table = _read("regions.yaml")["one_way_delay_ms"]
    names = tuple(table)
    return {(a, b): table[a][place] / 1000.0 for a in names for place, b in enumerate(names)}


def region_provenance() -> tuple[Parameter, ...]:
    """Every entry of `region_delays`, keyed `from.to`, with where it comes from."""
    table = _read("regions.yaml")
    return tuple(
        Parameter(f"{a}.{b}", delay_s, "s", table["source"], table["evidence"])
        for (a, b), delay_s in region_delays().items()
    )


@functools.cache
def backbone() -> Mapping[str, tuple[str, float, float]]:
    """Regions of a cloud's backbone: metropolis, latitude and longitude in degrees (estimates, to about 100 km)."""
    return {name: tuple(entry["place"]) for name, entry in _read("backbone.yaml")["regions"].items()}


@functools.cache
def backbone_delays() -> Mapping[tuple[str, str], float]:
    """One-way delay between two regions of the backbone, or within one, s: half of the measured round trip."""
    table = _read("backbone.yaml")
    names = tuple(table["regions"])
    delays = {
        (a, b): table["regions"][a]["rtt_ms"][place] / 2000.0 for a in names for place, b in enumerate(names) if a != b
    }
    return {**delays, **{(a, a): table["within_ms"]["value"] / 2000.0 for a in names}}


def backbone_provenance() -> tuple[str, str]:
    """Source of the backbone's round trips, and its kind of evidence."""
    table = _read("backbone.yaml")
    return table["source"], table["evidence"]


@functools.cache
def _read(file: str) -> dict[str, Any]:
    import yaml  # here, so that importing the package stays light

    text = importlib.resources.files("core.devices").joinpath(file).read_text(encoding="utf-8")
    loaded: dict[str, Any] = yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    return loaded


def _entry(file: str, kind: str, name: str) -> dict[str, Any]:
    table = _read(file)
    if name not in table:
        raise UnknownName(kind, name, table)
    entry: dict[str, Any] = table[name]
    return entry


def _parameters(node: Mapping[str, Any], where: str, path: str = "") -> Iterator[Parameter]:
    for name, below in node.items():
        if not isinstance(below, dict):
            continue
        key = f"{path}{name}"
        if "value" not in below:
            yield from _parameters(below, where, f"{key}.")
            continue
        value, unit, source, evidence = (below.get(field) for field in ("value", "unit", "source", "evidence"))
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise ValueError(
                f"{where}: {key}: value is {value!r}; a number is needed (with a sign in exponents: 1.5e+9)"
            )
        if evidence not in EVIDENCE or not unit or not source:
            raise ValueError(f"{where}: {key}: unit, source and evidence (one of {', '.join(EVIDENCE)}) are needed")
        yield Parameter(key, float(value), str(unit), str(source), evidence)


def _group(value: Mapping[str, float], prefix: str) -> dict[str, float]:
    return {key.removeprefix(f"{prefix}."): number for key, number in value.items() if key.startswith(f"{prefix}.")}
