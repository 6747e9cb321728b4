"""Checks of `devices` and `profiles`: groups that can be told apart, classes that can be, users and what correlates."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final

from core import devices as catalogue
from core.availability import factor
from core.devices.bounds import bound
from core.scenario import resolve
from core.scenario.findings import Finding, KeyPath, Unreadable, unknown
from core.scenario.names import COORDINATOR, EVALUATOR

if TYPE_CHECKING:
    from core.scenario.schema import ProfileSpec, Scenario

#: Devices whose names are compared one by one.
MOST_DEVICES: Final = 1_000_000


def _own_names(s: Scenario) -> Iterator[Finding]:
    """What a scenario defines itself does not hide what the catalogue has."""
    for key, own, taken in (("links", s.links, catalogue.links()), ("profiles", s.profiles, catalogue.profiles())):
        for name in own:
            if name in taken:
                yield Finding((key, name), "another name", f"the catalogue has {name} already")


def _own_profiles(s: Scenario) -> Iterator[Finding]:
    for name, spec in s.profiles.items():
        try:
            base = spec.base
            if base not in catalogue.profiles():
                yield from unknown(("profiles", name, "base"), base, "a class of the catalogue", catalogue.profiles())
                continue
            known = tuple(parameter.key for parameter in catalogue.provenance(base))
            found = [
                finding
                for key in spec.numbers
                for finding in unknown(("profiles", name, "numbers", key), key, f"the key of a number of {base}", known)
            ]
            found += _profile_bounds(("profiles", name), spec, known)
            yield from found or _profile_whole(("profiles", name), spec)
        except Unreadable:
            continue


def _profile_bounds(path: KeyPath, spec: ProfileSpec, known: tuple[str, ...]) -> Iterator[Finding]:
    """Each number is one that a device can have."""
    for number, value in resolve.profile_numbers(spec).items():
        if number == "battery.energy_j" and number not in known and spec.battery is not None:
            yield Finding((*path, "battery"), "null, or a base with a battery", f"{spec.base} has no battery")
        elif number in known and not bound(number).holds(value):
            yield Finding(_number_path(path, spec, number), bound(number).accepted)


def _profile_whole(path: KeyPath, spec: ProfileSpec) -> Iterator[Finding]:
    """The numbers go together: what is wrong is told of one that alone makes it so, or else of one that mends it."""
    numbers = resolve.profile_numbers(spec)

    def refusal(given: Mapping[str, float]) -> str:
        try:
            catalogue.made(spec.base, given, called=str(path[-1]))
        except ValueError as error:
            return str(error)
        return ""

    why = refusal(numbers)
    if not why:
        return
    alone = [key for key, value in numbers.items() if refusal({key: value})]
    mending = [key for key in numbers if not refusal({other: v for other, v in numbers.items() if other != key})]
    for key in (*alone, *mending)[:1]:
        path = _number_path(path, spec, key)
    yield Finding(path, "values that a device can have", why)


def _number_path(path: KeyPath, spec: ProfileSpec, number: str) -> KeyPath:
    """Where a number of an own class stands."""
    own = {stands: key for key, stands in resolve.PROFILE_KEYS.items()}
    return (*path, "numbers", number) if number in spec.numbers or number not in own else (*path, own[number])


def _group_names(s: Scenario) -> Iterator[Finding]:
    """Groups have names of their own, and no actor's name stands for two."""
    counted = Counter(group.name for group in s.devices)
    seen: set[str] = set()
    actors = {COORDINATOR, EVALUATOR}
    if sum(group.count for group in s.devices) <= MOST_DEVICES:
        actors.update(f"{group.name}-{i}" for group in s.devices for i in range(group.count))
    for i, group in enumerate(s.devices):
        if counted[group.name] > 1 and group.name in seen:
            yield Finding(("devices", i, "name"), "a name that no other group has", "an earlier group has this name")
        if group.name in actors:
            yield Finding(("devices", i, "name"), "a name that is no actor's", "an actor has this name")
        seen.add(group.name)


def _device_total(s: Scenario) -> Iterator[Finding]:
    total = sum(group.count for group in s.devices)
    if total > MOST_DEVICES:
        yield Finding(("devices",), f"at most {MOST_DEVICES} devices in all groups", f"there are {total}")


def _availability(s: Scenario) -> Iterator[Finding]:
    """Traces are given where they are asked for, and can be read."""
    for i, group in enumerate(s.devices):
        try:
            wanted = group.availability
            path: KeyPath = ("devices", i, "availability", "trace")
            if wanted.kind == "trace" and wanted.trace is None:
                yield Finding(path, "the path of a file", "the kind is trace")
            elif wanted.kind != "trace" and wanted.trace is not None:
                yield Finding(path, "null, or the kind trace", f"the kind is {wanted.kind}")
            elif wanted.trace is not None and not Path(wanted.trace).is_file():
                yield Finding(
                    path, "the path of a file, relative to the scenario's", f"there is no file {wanted.trace}"
                )
            elif wanted.trace is not None:
                resolve.user_traces(wanted.trace)
        except Unreadable:
            continue
        except ValueError as error:
            yield Finding(path, "traces in a .csv, a .json (FLASH) or another file (FedScale)", str(error))


def _correlations(s: Scenario) -> Iterator[Finding]:
    """There are quantities that correlate like that, and they differ among the devices."""
    for i, group in enumerate(s.devices):
        path: KeyPath = ("devices", i, "correlation")
        try:
            factor(resolve.correlations(group))
        except Unreadable:
            continue
        except ValueError as error:
            yield Finding(path, "correlations that hold together, such as smaller ones", str(error))


DEVICE_CHECKS: Final = (
    _own_names,
    _own_profiles,
    _group_names,
    _device_total,
    _availability,
    _correlations,
)
