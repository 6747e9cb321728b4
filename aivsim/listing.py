"""`aivsim list` and `aivsim schema`: what a scenario may name, with its numbers and where they come from."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import click

from aivsim import show
from aivsim.errors import InputWrong
from aivsim.places import scenario_directories
from core import devices
from core.devices import Parameter, UnknownName

#: Sections that are items of lists, which `extends` replaces as a whole.
LISTED: Final = frozenset(("FaultSpec", "Group", "RandomFaultSpec"))


def show_command(kind: str, name: str) -> None:
    """Show one device or link: what it is, and every number of it."""
    try:
        found = devices.profile(name).description if kind == "device" else f"{devices.link(name).kind} link"
    except UnknownName as error:
        raise InputWrong(str(error)) from None
    click.echo(f"{name}: {found}\n")
    list_command(f"{kind}s", name)


def list_command(kind: str, name: str | None) -> None:
    """List one kind of thing, or all the numbers of the one called `name`."""
    if name is None:
        _LISTS[kind]()
        return
    sources = _SOURCES.get(kind)
    if sources is None:
        raise InputWrong(f"only of {', '.join(_SOURCES)} there are numbers to show; found {kind} {name}")
    try:
        parameters = sources(name)
    except UnknownName as error:
        raise InputWrong(str(error)) from None
    rows = [(p.key, f"{p.value:.6g}", p.unit, p.evidence, p.source) for p in parameters]
    show.table(("parameter", "value", "unit", "evidence", "source"), rows, right=(1,))


def schema_command() -> None:
    """Print the JSON Schema of a scenario."""
    click.echo(json.dumps(json_schema(), indent=2, ensure_ascii=False))


def json_schema() -> dict[str, Any]:
    """The JSON Schema of a scenario's file: the scenario's, and `extends`.

    With `extends`, any key of a map may be left to the scenario that is changed; only items of lists are whole.
    """
    from core.scenario import Scenario

    found = Scenario.model_json_schema()
    for name, section in found["$defs"].items():
        if name not in LISTED:
            section.pop("required", None)
    about = "A scenario that this one changes: a path relative to it, or the name of one of ours."
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **{key: value for key, value in found.items() if key != "required"},
        "title": "A scenario of aivsim",
        "properties": {"extends": {"type": "string", "description": about}, **found["properties"]},
        "anyOf": [{"required": ["extends"]}, {"required": found["required"]}],
    }


def _evidence(parameters: Sequence[Parameter]) -> str:
    """Kinds of evidence behind the numbers, with how many are of each."""
    kinds = [p.evidence for p in parameters]
    return ", ".join(f"{kinds.count(kind)} {kind}" for kind in dict.fromkeys(sorted(kinds)))


def _devices() -> None:
    rows = []
    for name in devices.profiles():
        p = devices.profile(name)
        battery = "mains" if p.battery_j is None else f"{p.battery_j / 3600:.1f}"
        flops = p.train_flops_per_s if p.accelerator is None else p.accelerator.train_flops_per_s
        speed, step, most = f"{flops / 1e9:g}", f"{p.step_overhead_s * 1e3:g}", f"{p.idle_w + p.dynamic_w:g}"
        evidence = _evidence(devices.provenance(name))
        rows.append((name, speed, step, most, battery, ", ".join(p.radios), evidence, p.description))
    headers = ("device", "GFLOP/s", "step ms", "max W", "battery Wh", "radios", "evidence", "description")
    show.table(headers, rows, right=(1, 2, 3, 4))
    click.echo("\n`aivsim show device NAME` shows every number of one with its source.")


def _links() -> None:
    rows = []
    for name in devices.links():
        found = devices.link(name)
        up, down = f"{found.up_bytes_per_s * 8e-6:g}", f"{found.down_bytes_per_s * 8e-6:g}"
        latency, loss = f"{found.latency_s * 1e3:g}", f"{found.loss * 100:g}"
        metered = "yes" if found.metered else "no"
        evidence = _evidence(devices.link_provenance(name))
        rows.append((name, found.kind, up, down, latency, loss, metered, evidence))
    headers = ("link", "kind", "up Mbit/s", "down Mbit/s", "latency ms", "loss %", "metered", "evidence")
    show.table(headers, rows, right=(2, 3, 4, 5))
    click.echo("\n`aivsim show link NAME` shows every number of one with its source.")


def _regions() -> None:
    names, delays = devices.regions(), devices.region_delays()
    rows = [(a, *(f"{delays[a, b] * 1e3:g}" for b in names)) for a in names]
    click.echo("One-way delay of the Internet from a region (row) to a region (column), ms")
    show.table(("from", *names), rows, right=range(1, len(names) + 1))
    first = devices.region_provenance()[0]
    click.echo(f"\nSource ({first.evidence}): {first.source}")


def _described(noun: str, lines: Mapping[str, str]) -> None:
    show.table((noun, "description"), list(lines.items()))


def _models() -> None:
    from core.models import models

    _described("model", models())


def _datasets() -> None:
    from core.data import datasets

    _described("data set", datasets())


def _partitions() -> None:
    from core.scenario.names import PARTITIONS

    _described("partition", PARTITIONS)


def _algorithms() -> None:
    from core.learning import catalogue

    rows = [(found.name, found.about, found.paper, found.sends, found.keeps) for found in catalogue()]
    show.table(("algorithm", "description", "paper", "what is sent", "a client keeps"), rows)
    click.echo("\n`docs/learning.md` has equations, options and deviations.")


def _scenarios() -> None:
    from aivsim.scenarios import loaded

    rows = []
    for directory in scenario_directories():
        for path in sorted(directory.glob("*.yaml")):
            found = loaded(str(path))
            rows.append((path.stem, str(found.device_count), str(found.training.rounds), found.description))
    show.table(("scenario", "devices", "rounds", "description"), rows, right=(1, 2))


_LISTS: dict[str, Callable[[], None]] = {
    "algorithms": _algorithms,
    "datasets": _datasets,
    "devices": _devices,
    "links": _links,
    "models": _models,
    "partitions": _partitions,
    "regions": _regions,
    "scenarios": _scenarios,
}
_SOURCES: dict[str, Callable[[str], tuple[Parameter, ...]]] = {
    "devices": devices.provenance,
    "links": devices.link_provenance,
}
