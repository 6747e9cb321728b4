"""`aivsim list` and `aivsim schema`: what a scenario may name, with its numbers and where they come from."""

from __future__ import annotations

import inspect
import json
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import click

from aivsim import show
from aivsim.errors import InputWrong
from aivsim.places import scenario_directories
from core import devices
from core.devices import Parameter, UnknownName
from core.scenario.kinds import Kind
from core.scenario.units import DELAY_KIND, RATE_KIND

#: Sections that are items of lists, which `extends` replaces as a whole.
LISTED: Final = frozenset(("FaultSpec", "Group", "RandomFaultSpec"))


def show_command(kind: str, name: str) -> None:
    """Show one device or link: what it is, and every number of it."""
    try:
        if kind == "device":
            about, parameters = devices.profile(name).description, devices.provenance(name)
        else:
            about, parameters = f"{devices.link(name).kind} link", devices.link_provenance(name)
    except UnknownName as error:
        raise InputWrong(str(error)) from None
    click.echo(f"{name}: {about}\n")
    rows = [(p.key, f"{p.value:.6g}", p.unit, p.evidence, p.source) for p in parameters]
    show.table(("parameter", "value", "unit", "evidence", "source"), rows, right=(1,))


def list_command(kind: str) -> None:
    """List one kind of thing."""
    _LISTS[kind]()


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
    places, backbone = devices.backbone(), devices.backbone_delays()
    click.echo("\nRegions of a cloud's backbone, with the round trips from them to each of the others, ms")
    rows = []
    for a, (metropolis, latitude, longitude) in places.items():
        trips = sorted((2e3 * backbone[a, b], b) for b in places if b != a)
        shown = (f"{trips[0][1]} {trips[0][0]:g}", f"{trips[len(trips) // 2][0]:g}", f"{trips[-1][1]} {trips[-1][0]:g}")
        rows.append((a, metropolis, f"{latitude:g}", f"{longitude:g}", *shown))
    show.table(("region", "metropolis", "north", "east", "nearest", "median", "farthest"), rows, right=(2, 3, 5))
    source, evidence = devices.backbone_provenance()
    click.echo(f"\nSource ({evidence}): {source}")
    click.echo("Further regions by their coordinates: network.places in a scenario.")


def _topologies() -> None:
    from core.network.graphs import GENERATED
    from core.scenario.names import TOPOLOGIES

    rows = []
    for name, make in GENERATED.items():
        parameters = inspect.signature(make).parameters
        options = [f"{key}={_shown(kind, parameters[key].default)}" for key, kind in TOPOLOGIES[name].items()]
        about = " ".join(inspect.cleandoc(make.__doc__ or "").split()).partition(". ")[0]
        rows.append((name, about, ", ".join(options)))
    star = (
        "A star of regions with delays, where only access links are shared: what there is without `network.topology`."
    )
    show.table(("topology", "description", "options"), [("(none)", star, ""), *rows])
    click.echo(
        "\nA file will do, too: GraphML or node-link JSON (networkx), with delay_ms, rate_mbit_s, loss, … at its\n"
        "edges; see docs/physics_network.md. Devices live at a site by `region`, or at all sites of a kind in turn."
    )


def _shown(kind: Kind, value: Any) -> str:
    """A default with a unit that a scenario takes."""
    if kind is DELAY_KIND:
        return f"{value * 1e3:g} ms"
    if kind is RATE_KIND:
        return "unlimited" if value == math.inf else f"{value * 8e-6:g} Mbit/s"
    return str(value).lower()


def _described(noun: str, lines: Mapping[str, str]) -> None:
    show.table((noun, "description"), list(lines.items()))


def _models() -> None:
    from core.models import example, models

    rows = []
    for name, description in models().items():
        found = example(name)
        forward, step = (f"{flops / 1e6:.3g}" for flops in found.flops)
        rows.append((name, f"{found.size:,}", forward, step, description))
    show.table(("model", "parameters", "MFLOP", "with gradient", "description"), rows, right=(1, 2, 3))
    click.echo(
        "\nParameters, and FLOPs of one example, at 28×28 pixels in 62 classes; of decoder, encoder and lstm at 80 of "
        "90 characters; of linear at 784 numbers."
    )


def _datasets() -> None:
    from core.data import datasets

    _described("data set", datasets())
    click.echo("\nOr the path of an own file: .npz, .parquet, .csv, .tsv, .txt (docs/data.md).")


def _partitions() -> None:
    from core.scenario.names import PARTITIONS

    _described("partition", PARTITIONS)


def _faults() -> None:
    from core.scenario.names import FAULTS

    rows = [(kind, ", ".join((*facts.needs, *facts.takes)), facts.description) for kind, facts in FAULTS.items()]
    show.table(("fault", "own keys", "description"), rows)


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
    "faults": _faults,
    "links": _links,
    "models": _models,
    "partitions": _partitions,
    "regions": _regions,
    "scenarios": _scenarios,
    "topologies": _topologies,
}
