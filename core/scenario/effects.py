"""Keys that mean something only where another key has certain values: elsewhere, to give them is a mistake.

A key counts as given if its value is not the default's, so that a resolved scenario, which has all keys, reads as
before. Of options, which have no defaults here, those that are there count.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

from core.network.transport import CONTROLS
from core.scenario import resolve
from core.scenario.findings import Finding, KeyPath, Unreadable, listed
from core.scenario.names import DATA_SUFFIXES, PARTITIONS, TOPOLOGIES

if TYPE_CHECKING:
    from core.scenario.schema import Data, Group, Scenario


@dataclasses.dataclass(frozen=True)
class Effect:
    """Keys of a section that have an effect only where the key `by` of the section has one of the `values`."""

    keys: tuple[str, ...]
    by: str
    values: tuple[object, ...]


_SESSIONS: Final = (
    "sessions_per_day",
    "spread",
    "amplitude",
    "peak",
    "session_median",
    "session_spread",
    "nights",
    "night_chance",
    "timezone",
)
_DEALT: Final = tuple(name for name in PARTITIONS if name != "sampled")
#: Partitions whose parts are equal, but for what a division leaves.
_EQUAL: Final = ("iid", "shards")
#: By the section: a path in which "*" stands for each item of a list.
EFFECTS: Final[Mapping[KeyPath, tuple[Effect, ...]]] = {
    ("data",): (
        Effect(("alpha",), "partition", ("dirichlet",)),
        Effect(("per_client",), "partition", ("shards", "labels")),
        Effect(("sigma",), "partition", ("lognormal", "labels")),
        Effect(("exponent",), "partition", ("power_law",)),
        Effect(("min_examples",), "partition", ("natural", "dirichlet", "lognormal", "power_law")),
        Effect(("examples", "examples_spread"), "partition", ("sampled",)),
        Effect(("feature_skew", "hold_out"), "partition", _DEALT),
    ),
    ("data", "feature_skew"): (Effect(("strength",), "kind", ("noise", "sensor")),),
    ("network",): (
        Effect(("topology_options",), "topology", tuple(TOPOLOGIES)),
        Effect(("sharing",), "topology", (None,)),
    ),
    ("numerics",): (Effect(("surrogate",), "fidelity", ("surrogate",)),),
    ("devices", "*", "availability"): (
        Effect(_SESSIONS, "kind", ("sessions",)),
        Effect(("shuffled",), "kind", ("trace",)),
    ),
}
#: Options of files of one's own, and the one without which they have no effect.
_NEEDED: Final[Mapping[str, str]] = {
    "length": "text",
    "stride": "window",
    "offset": "window",
    "target": "window",
    "horizon": "target",
    "test_values": "test",
}
#: Options that leave others without effect.
_USELESS: Final[Mapping[str, tuple[str, ...]]] = {
    "text": ("x", "without", "categories", "scale", "standardise", "missing_value", "window", "x_test", "y_test"),
    "window": ("without", "categories", "x_test", "y_test"),
    "tokens": ("scale", "standardise", "missing_value", "categories"),
    "x": ("without",),
    "target": ("y",),
}


def without_effect(s: Scenario) -> Iterator[Finding]:
    """All keys that are given and have no effect."""
    for pattern, effects in EFFECTS.items():
        for path, section in _sections(s, (), pattern):
            for effect in effects:
                try:
                    yield from _given(path, section, effect)
                except Unreadable:
                    continue


def _sections(part: Any, path: KeyPath, rest: KeyPath) -> Iterator[tuple[KeyPath, Any]]:
    """What stands at a pattern."""
    if part is None:
        return
    if not rest:
        yield path, part
        return
    try:
        if rest[0] == "*":
            for i, item in enumerate(part):
                yield from _sections(item, (*path, i), rest[1:])
        else:
            yield from _sections(getattr(part, str(rest[0])), (*path, rest[0]), rest[1:])
    except Unreadable:
        return


def _given(path: KeyPath, section: Any, effect: Effect) -> Iterator[Finding]:
    found = getattr(section, effect.by)
    if found in effect.values:
        return
    defaults = _defaults(path)
    for key in effect.keys:
        try:
            if getattr(section, key) == defaults[key]:
                continue
        except Unreadable:
            continue
        dotted = ".".join(str(part) for part in (*path, effect.by))
        values = listed(tuple("null" if value is None else str(value) for value in effect.values))
        shown = "null" if found is None else found
        yield Finding(
            (*path, key),
            f"nothing here, or another {dotted}: {values}",
            f"with {effect.by} {shown} it has no effect",
        )


def _defaults(path: KeyPath) -> dict[str, Any]:
    """The defaults of a section's keys, in the values that they are read as."""
    from core.scenario import schema

    sections: dict[str, type[schema.Section]] = {
        "data": schema.Data,
        "feature_skew": schema.FeatureSkew,
        "network": schema.Network,
        "numerics": schema.Numerics,
        "availability": schema.Availability,
    }
    fields = sections[str(path[-1])].model_fields
    return {name: field.get_default(call_default_factory=True, validated_data={}) for name, field in fields.items()}


def transport_constants(s: Scenario) -> Iterator[Finding]:
    """Constants of the transport are for those who have one: the network, or links with one of their own."""
    from core.scenario.schema import TransportSpec

    if s.network.transport != "ideal" or any(spec.transport not in (None, "ideal") for spec in s.links.values()):
        return
    constants = s.network.transport_constants
    for key, field in TransportSpec.model_fields.items():
        try:
            changed = getattr(constants, key) != field.default
        except Unreadable:
            continue
        if changed:
            others = ", ".join(name for name in CONTROLS if name != "ideal")
            accepted = f"nothing here, or another network.transport: {others}"
            yield Finding(("network", "transport_constants", key), accepted, "with transport ideal it has no effect")


def group_keys(s: Scenario) -> Iterator[Finding]:
    """Keys of a group that its devices, their users or their likeness leave without effect."""
    for i, group in enumerate(s.devices):
        path: KeyPath = ("devices", i)
        for check in (_charge, _likeness):
            try:
                yield from check(s, path, group)
            except (Unreadable, ValueError):
                continue


def _charge(s: Scenario, path: KeyPath, group: Group) -> Iterator[Finding]:
    mains = resolve.profile(s, group.device).battery is None
    if mains:
        why = f"a {group.device} has no battery"
        if group.battery != (1.0, 1.0):
            yield Finding((*path, "battery"), "nothing here, or a device with a battery", why)
        if group.charging:
            yield Finding((*path, "charging"), "nothing here, or a device with a battery", why)
    elif group.charging and group.availability.kind != "always":
        accepted = "nothing here, or availability always"
        why = f"with availability {group.availability.kind} it is the users who charge"
        yield Finding((*path, "charging"), accepted, why)


def _likeness(s: Scenario, path: KeyPath, group: Group) -> Iterator[Finding]:
    """What correlates differs among the devices."""
    speed, network = resolve.spreads(s, group)
    spreads = {
        "speed": ("speed_spread above 0 too", speed > 0.0),
        "availability": (
            "availability.kind: sessions and availability.spread above 0 too",
            group.availability.kind == "sessions" and group.availability.spread > 0.0,
        ),
        "data": _amounts(s.data),
        "network": ("network_spread above 0 too", network > 0.0),
    }
    for one, other in resolve.correlations(group):
        for name in (one, other):
            needed, differs = spreads[name]
            if not differs:
                why = f"the {name} of the devices does not differ, so that it has no effect"
                yield Finding((*path, "correlation", f"{one}_{other}"), f"nothing here, or {needed}", why)
                break


def _amounts(data: Data) -> tuple[str, bool]:
    """What it takes for clients to have unequal numbers of examples, and whether they do, by more than one."""
    if data.partition == "sampled":
        return "data.examples_spread above 0 too", data.examples_spread > 0.0
    if data.partition == "lognormal":
        return "data.sigma above 0 too", data.sigma != 0.0
    unequal = tuple(name for name in PARTITIONS if name not in _EQUAL)
    return f"another data.partition: {listed(unequal)}", data.partition in unequal


def relays(s: Scenario) -> Iterator[Finding]:
    """A relay carries what goes between translated links, and only where there is one does it matter that they are."""
    if s.network.relay is None:
        for name, spec in s.links.items():
            with contextlib.suppress(Unreadable):
                if spec.translated:
                    accepted = "nothing here, or network.relay"
                    why = "without a relay all pairs reach each other, so that it has no effect"
                    yield Finding(("links", name, "translated"), accepted, why)
        return
    stations = (s.coordinator, *(() if s.evaluator is None else (s.evaluator,)), *s.devices)
    try:
        used = [resolve.link(s, station.link) for station in stations]
    except ValueError:
        return
    if not any(link.translated or any(change.link.translated for change in link.handovers) for link in used):
        accepted = "null, or devices on links with translated: true"
        yield Finding(("network", "relay"), accepted, "no link is behind an address translator")


def profile_keys(s: Scenario) -> Iterator[Finding]:
    """A number of an own class stands in one place."""
    for name, spec in s.profiles.items():
        for key, number in resolve.PROFILE_KEYS.items():
            with contextlib.suppress(Unreadable):
                if getattr(spec, key) is not None and number in spec.numbers:
                    accepted = f"nothing here, or no number {number}"
                    yield Finding(("profiles", name, key), accepted, f"numbers.{number} stands over it")


def file_options(s: Scenario) -> Iterator[Finding]:
    """Options of a file that need another one, and those that another one leaves without effect."""
    name, options = s.data.dataset, s.data.options
    if not name.endswith(DATA_SUFFIXES):
        return
    given = {key for key, value in options.items() if value not in (False, "", None)}
    if name.endswith((".txt", ".txt.gz")):
        given.add("text")
    for key, needed in _NEEDED.items():
        if key in options and needed not in given:
            accepted = f"nothing here, or data.options.{needed} too"
            yield Finding(("data", "options", key), accepted, f"without {needed} it has no effect")
    task = options.get("task")
    for key, wanted in (("above", task != "regression"), ("y_scale", task == "regression")):
        if key in options and not wanted:
            accepted = f"nothing here, or data.options.task: {'classification' if key == 'above' else 'regression'}"
            yield Finding(("data", "options", key), accepted, "it has no effect on this task")
    for by, useless in _USELESS.items():
        for key in useless:
            if by in given and key in given:
                yield Finding(("data", "options", key), "nothing here", f"with data.options.{by} it has no effect")


def algorithm_options(s: Scenario) -> Iterator[Finding]:
    """Options of an algorithm that another of its options leaves without effect."""
    options = s.training.options
    if s.training.algorithm != "fedasync":
        return
    staleness = options.get("staleness", "polynomial")
    for key, used in (("exponent", ("polynomial", "hinge")), ("grace", ("hinge",))):
        if key in options and staleness not in used:
            accepted = f"nothing here, or training.options.staleness: {' or '.join(used)}"
            yield Finding(("training", "options", key), accepted, f"with staleness {staleness} it has no effect")


EFFECT_CHECKS: Final = (
    without_effect,
    transport_constants,
    group_keys,
    relays,
    profile_keys,
    file_options,
    algorithm_options,
)
