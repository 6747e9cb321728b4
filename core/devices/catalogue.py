"""The catalogue: device classes, access links, regions and a backbone, read from the YAML files beside this module.

Every number in those files carries its unit, its source and its kind of evidence: measured, derived, literature or
estimate. `provenance`, `link_provenance` and `region_provenance` give them as they stand.
"""

from __future__ import annotations

import difflib
import functools
import importlib.resources
import math
from collections.abc import Iterable, Iterator, Mapping
from itertools import pairwise
from typing import Any, Final, NamedTuple

from core.devices import bounds
from core.devices.battery import Battery
from core.devices.classes import DeviceProfile, ThrottleLevel
from core.devices.heat import Heat
from core.devices.processor import Accelerator, Governor, OperatingPoint
from core.devices.radio import Radio
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
    return made(name, {})


def made(name: str, own: Mapping[str, float], *, called: str = "") -> DeviceProfile:
    """The device class `name` with some of its numbers replaced, by key, and `called` something else.

    Raises `UnknownName` for the class or a key, `OutOfBounds` for a number that no device can have, and `ValueError`
    for numbers that do not go together.
    """
    entry = _class(name)
    value = {parameter.key: parameter.value for parameter in provenance(name)}
    for key, number in own.items():
        if key not in value:
            raise UnknownName(f"number of {name}", key, value)
        value[key] = number
    for key, number in value.items():
        bounds.check(key, number)
    points = _group(value, "operating_points")
    return DeviceProfile(
        name=called or name,
        description=f"{entry['description']}, with own values" if called else entry["description"],
        radios={kind: Radio(**_group(value, f"radios.{kind}")) for kind in entry["radios"]},
        battery=_battery(value, tuple(entry["levels"])) if "battery" in entry else None,
        heat=Heat(**_group(value, "heat")) if "heat" in entry else None,
        throttle=tuple(ThrottleLevel(**_group(value, f"throttle.{level}")) for level in entry.get("throttle", {})),
        governor=Governor(**_group(value, "governor")) if "governor" in entry else None,
        operating_points=tuple(
            OperatingPoint(points[f"{point}.speed"], points[f"{point}.power"])
            for point in entry.get("operating_points", {})
        ),
        accelerator=Accelerator(**_group(value, "accelerator")) if "accelerator" in entry else None,
        **{key: number for key, number in value.items() if "." not in key},
    )


def _battery(value: Mapping[str, float], levels: tuple[float, ...]) -> Battery:
    """The battery of a class: the curves of its cell, with the resistance of one of its own charge, and the pack's."""
    own, of_cell = _group(value, "battery"), _group(value, "battery.cell")
    ocv_v = tuple(of_cell[f"ocv_v.{level:g}"] for level in levels)
    shares = ((b - a) * (v + w) / 2 for (a, b), (v, w) in zip(pairwise(levels), pairwise(ocv_v), strict=True))
    charge_ah = own["energy_j"] / 3600.0 / math.fsum(shares)
    ratio = of_cell["nominal_ah"] / charge_ah if charge_ah > 0.0 else 1.0
    return Battery(
        energy_j=own["energy_j"],
        charge_w=own["charge_w"],
        charge_efficiency=own["charge_efficiency"],
        levels=levels,
        ocv_v=ocv_v,
        resistance_ohm=tuple(of_cell[f"resistance_ohm.{level:g}"] * ratio + own["pack_ohm"] for level in levels),
        resistance_b_k=of_cell["resistance_b_k"],
        charge_resistance_ratio=of_cell["charge_resistance_ratio"],
        cutoff_v=own["cutoff_v"],
        limit_v=of_cell["limit_v"],
        end_a=of_cell["end_share"] * charge_ah,
    )


def provenance(name: str) -> tuple[Parameter, ...]:
    """Every parameter of the device class `name`, with where it comes from. Raises `UnknownName`."""
    return tuple(_parameters(_class(name), f"catalogue.yaml: {name}"))


@functools.cache
def _class(name: str) -> dict[str, Any]:
    """The entry of a device class, with what it extends, its cell and its radios in place."""
    entry = _entry("catalogue.yaml", "device", name)
    if "extends" in entry:
        entry = _merged(_class(entry["extends"]), entry)
    if "battery" in entry and isinstance(entry["battery"]["cell"], str):
        cell = _entry("cells.yaml", "cell", entry["battery"]["cell"])
        of_cell = {key: below for key, below in cell.items() if isinstance(below, dict) and "values" not in below}
        for curve in ("ocv_v", "resistance_ohm"):
            rest = {key: text for key, text in cell[curve].items() if key != "values"}
            places = zip(cell["levels"], cell[curve]["values"], strict=True)
            of_cell[curve] = {f"{level:g}": {"value": number, **rest} for level, number in places}
        entry = {**entry, "battery": {**entry["battery"], "cell": of_cell}, "levels": cell["levels"]}
    radios = {
        kind: _entry("radios.yaml", "radio", radio) if isinstance(radio, str) else radio
        for kind, radio in entry["radios"].items()
    }
    return {**entry, "radios": radios}


def _merged(base: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """`own` over `base`, group by group; a number is replaced as a whole."""
    found = dict(base)
    for key, below in own.items():
        before = found.get(key)
        group = isinstance(below, dict) and "value" not in below and isinstance(before, dict)
        found[key] = _merged(before, below) if group and isinstance(before, dict) else below
    return found


def radio(name: str) -> Radio:
    """The radio `name` of radios.yaml. Raises `UnknownName`."""
    found = _parameters(_entry("radios.yaml", "radio", name), f"radios.yaml: {name}")
    return Radio(**{parameter.key: parameter.value for parameter in found})


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
        rate_sd_log=value["rate_sd_log"],
        metered=entry["metered"],
        translated=entry.get("translated", False),
        radio=entry.get("radio", ""),
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
