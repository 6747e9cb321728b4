"""Checks of the places where actors live: device, link and region exist, and go together."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Final

from core.scenario import resolve
from core.scenario.findings import Finding, KeyPath, Unreadable, listed, unknown
from core.scenario.kinds import OF_CLASS
from core.scenario.names import COORDINATOR, EVALUATOR

if TYPE_CHECKING:
    from core.scenario.schema import Group, Scenario, Station


def _read(get: Callable[[], Station | None]) -> Station | None:
    try:
        return get()
    except Unreadable:
        return None


def places(s: Scenario) -> Iterator[tuple[KeyPath, Station | Group]]:
    """The places where actors live, with their keys."""
    for path, station in ((COORDINATOR, _read(lambda: s.coordinator)), (EVALUATOR, _read(lambda: s.evaluator))):
        if station is not None:
            yield (path,), station
    try:
        groups = s.devices
    except Unreadable:
        return
    for i, group in enumerate(groups):
        yield ("devices", i), group


def _device(s: Scenario, path: KeyPath, station: Station | Group) -> Iterator[Finding]:
    yield from unknown((*path, "device"), station.device, "a class of devices", resolve.profile_names(s))


def _link(s: Scenario, path: KeyPath, station: Station | Group) -> Iterator[Finding]:
    yield from unknown((*path, "link"), station.link, "an access link", resolve.link_names(s))


def _region(s: Scenario, path: KeyPath, station: Station | Group) -> Iterator[Finding]:
    noun = "a region" if s.network.topology is None else "a site of network.topology, or a kind of them"
    yield from unknown((*path, "region"), station.region, noun, resolve.region_names(s))


def _radio(s: Scenario, path: KeyPath, station: Station | Group) -> Iterator[Finding]:
    """The link needs a radio that the device has."""
    try:
        profile, link = resolve.profile(s, station.device), resolve.link(s, station.link)
    except ValueError:
        return
    for change in link.handovers:
        if change.link.kind not in profile.radios:
            hint = (
                f"it changes to {change.link.name}, which is {change.link.kind}: a {station.device} has no such radio"
            )
            yield Finding((*path, "link"), f"links of the kinds {', '.join(profile.radios)}", hint)
    if link.kind not in profile.radios:
        fitting = []
        for name in resolve.link_names(s):
            try:
                if resolve.link(s, name).kind in profile.radios:
                    fitting.append(name)
            except (Unreadable, ValueError):
                continue
        hint = f"{link.name} is {link.kind}, for which a {station.device} has no radio"
        yield Finding((*path, "link"), f"one of {listed(tuple(fitting))}", hint)


def _feeds(s: Scenario, path: KeyPath, station: Station | Group) -> Iterator[Finding]:
    """In the cold that the group starts in the battery feeds the full load when it is full, and the load of training
    with what it has, unless somebody charges it."""
    from core.scenario.schema import Group

    if not isinstance(station, Group):
        return
    try:
        profile = resolve.profile(s, station.device)
    except ValueError:
        return
    battery = profile.battery
    if battery is None:
        return
    factor = battery.resistance_factor(station.ambient)
    load_w = profile.most_w
    if load_w > 0.0 and battery.empty_s(battery.energy_j, load_w, factor) == 0.0:
        yield Finding(
            (*path, "ambient"),
            f"a temperature at which the battery of a {station.device} feeds its full load of {load_w:.3g} W",
            "in this cold its resistance is too large, even when it is full",
        )
        return
    charge = _highest_charge(station)
    load_w = profile.idle_w + profile.dynamic_w
    left_alone = not station.charging and station.availability.kind == "always"
    if left_alone and battery.empty_s(battery.energy_at(charge), load_w, factor) == 0.0:
        least = battery.level_at(battery.least_j(load_w, factor))
        yield Finding(
            (*path, "battery"),
            f"a charge above {100.0 * least:g} %, as one number or the higher of two; or charging: true, or users who "
            "charge (availability)",
            f"at {station.ambient:g} °C a {station.device} that nobody charges cannot train with this: its load is "
            f"then {load_w:.3g} W",
        )


def _highest_charge(group: Group) -> float:
    """The highest charge that a device of a group can start with."""
    from core.scenario.schema import TYPICAL

    return 1.0 if group.battery == TYPICAL else group.battery[1]


def _filled(s: Scenario, path: KeyPath, station: Station | Group) -> Iterator[Finding]:
    """The battery starts with a charge that its charger can give it."""
    from core.scenario.schema import Group

    if not isinstance(station, Group):
        return
    try:
        battery = resolve.profile(s, station.device).battery
    except ValueError:
        return
    if battery is None:
        return
    charge, most = _highest_charge(station), battery.limit_level
    if charge > most:
        yield Finding(
            (*path, "battery"),
            f"at most {math.floor(1e4 * most) / 100.0:g} %, or a class of devices with a higher battery.cell.limit_v",
            f"with up to {100.0 * charge:g} % they start above what the charger of a {station.device} can give: it "
            f"stops at {battery.limit_v:g} V, which the battery has at rest with less",
        )


def _spread(s: Scenario, path: KeyPath, station: Station | Group) -> Iterator[Finding]:
    """A spread that is asked of the catalogue is in it."""
    from core.scenario.schema import Group

    if isinstance(station, Group) and station.network_spread == OF_CLASS and station.link in s.links:
        yield Finding((*path, "network_spread"), "a number", f"{station.link} is no link of the catalogue's")


def _within_reach(s: Scenario, path: KeyPath, station: Station | Group) -> Iterator[Finding]:
    """A delay is known between its region and the coordinator's."""
    if s.network.topology is not None:
        return
    here, there = station.region, s.coordinator.region
    known = resolve.region_names(s)
    if here in known and there in known and (here, there) not in resolve.region_delays(s):
        reached = tuple(name for name in known if (name, there) in resolve.region_delays(s))
        yield Finding(
            (*path, "region"),
            f"a region with a delay to the coordinator's: {listed(reached)}",
            f"network.region_delays has no delay between {here} and {there}",
        )


def _host(s: Scenario, path: KeyPath, station: Station | Group) -> Iterator[Finding]:
    """A shared host is there, and the device has no battery, heat or accelerator of its own."""
    if station.host is None:
        return
    if not s.hosts:
        yield Finding((*path, "host"), "null, or a machine that the section hosts has", "there is no section hosts")
        return
    yield from unknown((*path, "host"), station.host, "a machine under hosts", tuple(s.hosts))
    try:
        problem = resolve.profile(s, station.device).off_host
    except ValueError:
        return
    if problem is not None:
        accepted = "null, or a device on mains without a model of heat, such as server"
        yield Finding((*path, "host"), accepted, f"a {station.device} {problem}")


PLACE_CHECKS: Final = (_device, _link, _region, _radio, _feeds, _filled, _spread, _within_reach, _host)
