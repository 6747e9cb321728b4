"""Checks of `faults` and `random_faults`: keys that fit the kind, targets that exist, partitions that part somebody."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from core.scenario import resolve
from core.scenario.findings import Finding, KeyPath, Unreadable, listed, unknown
from core.scenario.kinds import did_you_mean
from core.scenario.names import COORDINATOR, EVALUATOR, FAULTS

if TYPE_CHECKING:
    from core.scenario.schema import FaultShape, FaultSpec, RandomFaultSpec, Scenario

#: Most random faults of a study, as expected: one for each device of the largest one.
MOST_RANDOM: Final = 1_000_000
#: Keys that only some kinds of fault have.
_KEYS: Final = tuple(dict.fromkeys(key for facts in FAULTS.values() for key in (*facts.needs, *facts.takes)))


def _each(s: Scenario) -> Iterator[tuple[KeyPath, FaultShape]]:
    for key in ("faults", "random_faults"):
        try:
            for i, spec in enumerate(getattr(s, key)):
                yield (key, i), spec
        except Unreadable:
            continue


def _keys(s: Scenario) -> Iterator[Finding]:
    """A fault has the keys of its kind, and no others."""
    for path, spec in _each(s):
        try:
            facts = FAULTS[spec.kind]
        except Unreadable:
            continue
        for key in _KEYS:
            try:
                given = getattr(spec, key) not in (None, (), 0.0) or (key == "probability" and spec.probability == 0.0)
            except Unreadable:
                continue
            if given and key not in (*facts.needs, *facts.takes):
                kinds = [kind for kind, other in FAULTS.items() if key in (*other.needs, *other.takes)]
                yield Finding((*path, key), f"nothing here: a fault of kind {spec.kind} has no {key}", _of(key, kinds))
            elif not given and key in facts.needs:
                yield Finding((*path, key), f"{key}: a fault of kind {spec.kind} needs it", "the key is missing")
        if spec.kind == "clock_skew" and not _skews(spec):
            yield Finding((*path, "offset"), "an offset or a drift other than 0", "the clock would be right")


def _of(key: str, kinds: list[str]) -> str:
    return f"{key} is a key of {', '.join(kinds)}"


def _skews(spec: FaultShape) -> bool:
    try:
        return bool(spec.offset or spec.drift)
    except Unreadable:
        return True


def _times(s: Scenario) -> Iterator[Finding]:
    """A fault begins at a time or after so many messages, a partition at a time."""
    for i, fault in enumerate(s.faults):
        try:
            at, after, kind = fault.at, fault.after_messages, fault.kind
        except Unreadable:
            continue
        if kind == "partition" and after is not None:
            yield Finding(("faults", i, "after_messages"), "at: a partition has no target whose messages count")
        elif at is None and after is None:
            either = "at" if kind == "partition" else "at or after_messages"
            yield Finding(("faults", i, "at"), f"{either}: when it begins", "the key is missing")
        elif at is not None and after is not None:
            yield Finding(("faults", i, "after_messages"), "one of at and after_messages", "at is given, too")


def _targets(s: Scenario) -> Iterator[Finding]:
    """All but partitions have a target that there is."""
    for i, fault in enumerate(s.faults):
        yield from _target(s, ("faults", i, "target"), fault)


def _target(s: Scenario, path: KeyPath, fault: FaultSpec) -> Iterator[Finding]:
    groups = {group.name: group.count for group in s.devices}
    stations = (COORDINATOR,) if s.evaluator is None else (COORDINATOR, EVALUATOR)
    accepted = (
        f"{', '.join(stations)}, a group ({listed(tuple(groups))}), or a device such as {next(iter(groups), 'phone')}-0"
    )
    try:
        target, kind = fault.target, fault.kind
    except Unreadable:
        return
    if target is None or kind == "partition":
        yield from _needed(path, target, kind, accepted)
    elif target not in stations and target not in groups and not resolve.is_device(groups, target):
        group = target.rpartition("-")[0]
        if group in groups and target.rpartition("-")[2].isdecimal():
            hint = f"the group {group} has the devices {group}-0 to {group}-{groups[group] - 1}"
        else:
            hint = did_you_mean(target, (*stations, *groups))
        yield Finding(path, accepted, hint)
    elif kind == "battery_pulled":
        yield from _battery(s, path, target)


def _needed(path: KeyPath, target: str | None, kind: str, accepted: str) -> Iterator[Finding]:
    if target is None and kind != "partition":
        yield Finding(path, accepted, "the key is missing")
    elif target is not None:
        yield Finding(path, "nothing here: a partition has sets, and no target")


def _battery(s: Scenario, path: KeyPath, target: str) -> Iterator[Finding]:
    """A battery can be pulled out of a device that has one."""
    try:
        stations = {COORDINATOR: s.coordinator, EVALUATOR: s.evaluator}
        station = stations.get(target) or next(
            g for g in s.devices if target in (g.name, *resolve.fault_targets(s, g.name))
        )
        if resolve.profile(s, station.device).battery is None:
            yield Finding(path, "a device with a battery", f"a {station.device} has none")
    except (Unreadable, ValueError):
        return


def _random_targets(s: Scenario) -> Iterator[Finding]:
    groups = tuple(group.name for group in s.devices)
    for i, spec in enumerate(s.random_faults):
        yield from _random_target(s, ("random_faults", i, "targets"), spec, groups)


def _random_target(s: Scenario, path: KeyPath, spec: RandomFaultSpec, groups: tuple[str, ...]) -> Iterator[Finding]:
    try:
        targets, kind = spec.targets, spec.kind
    except Unreadable:
        return
    if targets is None or kind == "partition":
        yield from _needed(path, targets, kind, f"a group of devices: {listed(groups)}")
    elif targets not in groups:
        yield from unknown(path, targets, "a group of devices", groups)
    elif kind == "battery_pulled":
        yield from _battery(s, path, targets)


def _random_count(s: Scenario) -> Iterator[Finding]:
    """Random faults are so few that a study can be made and told."""
    expected = 0.0
    for i, spec in enumerate(s.random_faults):
        try:
            targets = 1 if spec.targets is None else len(resolve.fault_targets(s, spec.targets))
            own = targets * spec.until / (3600.0 / spec.rate_per_hour + spec.mean_duration)
        except Unreadable:
            continue
        if expected + own > MOST_RANDOM:
            accepted = f"a lower rate or an earlier end: at most {MOST_RANDOM:,} random faults in the whole study"
            hint = f"about {own:,.0f} are to be expected of this one up to {spec.until:g} s"
            yield Finding(("random_faults", i, "rate_per_hour"), accepted, hint)
        expected += own


def _partitions(s: Scenario) -> Iterator[Finding]:
    """The sets of a partition name somebody, nobody twice, and leave nobody alone on the only side."""
    for path, spec in _each(s):
        try:
            if spec.kind == "partition" and spec.sets:
                yield from _sets(s, (*path, "sets"), spec.sets)
        except Unreadable:
            continue


def _sets(s: Scenario, path: KeyPath, sets: tuple[tuple[str, ...], ...]) -> Iterator[Finding]:
    groups, regions = tuple(group.name for group in s.devices), resolve.region_names(s)
    stations = (COORDINATOR,) if s.evaluator is None else (COORDINATOR, EVALUATOR)
    accepted = (
        f"an actor ({', '.join(stations)}, {groups[0]}-0, …), a group ({listed(groups)}), or a region with actors"
    )
    placed: dict[str, int] = {}
    for number, names in enumerate(sets):
        if not names:
            yield Finding((*path, number), accepted, "the set is empty")
        for place, name in enumerate(names):
            members = resolve.set_members(s, name)
            if not members:
                hint = "no actor is there" if name in regions else did_you_mean(name, (*stations, *groups, *regions))
                yield Finding((*path, number, place), accepted, hint)
            twice = next((member for member in members if member in placed), None)
            if twice is not None:
                where = "another set" if placed[twice] != number else "this set already"
                yield Finding((*path, number, place), "sets that do not overlap", f"{twice} is in {where}")
            placed.update(dict.fromkeys(members, number))
    everybody = len(stations) + sum(group.count for group in s.devices)
    if len(sets) == 1 and len(placed) >= everybody:
        yield Finding(path, "sets that leave somebody on another side", "everybody is in the only set")


FAULT_CHECKS: Final = (_keys, _times, _targets, _random_targets, _random_count, _partitions)
