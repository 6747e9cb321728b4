"""From a scenario's names to values: classes of devices, links and regions, of the catalogue or its own; and faults."""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final

from core import devices as catalogue
from core.availability import Trace, TraceError, read_traces
from core.deployment import REORDER_DELAY_S, ClockSkew, Fault, MessageFault, Partition, Slowdown
from core.devices import DeviceProfile, Host
from core.rng import generator
from core.scenario.names import COORDINATOR, EVALUATOR
from core.scenario.networking import delay_s, link, network, region, region_delays, region_names, topology

if TYPE_CHECKING:
    from core.scenario.schema import FaultShape, Group, ProfileSpec, RandomFaultSpec, Scenario, Station

__all__ = [
    "correlations",
    "delay_s",
    "fault_targets",
    "faults",
    "link",
    "link_names",
    "network",
    "profile",
    "profile_names",
    "profile_numbers",
    "region",
    "region_delays",
    "region_names",
    "topology",
    "user_traces",
]


def profile_names(scenario: Scenario) -> tuple[str, ...]:
    """Classes of devices that may be named: the scenario's own, then the catalogue's."""
    return (*scenario.profiles, *catalogue.profiles())


def link_names(scenario: Scenario) -> tuple[str, ...]:
    """Access links that may be named: the scenario's own, then the catalogue's."""
    return (*scenario.links, *catalogue.links())


#: Keys of an own class of devices, and the keys of the numbers that they stand for.
PROFILE_KEYS: Final = {
    "train_speed": "train_flops_per_s",
    "step_overhead": "step_overhead_s",
    "memory_speed": "memory_bytes_per_s",
    "idle_power": "idle_w",
    "max_power": "max_w",
    "battery": "battery.energy_j",
}


def profile_numbers(spec: ProfileSpec) -> dict[str, float]:
    """The numbers that an own class of devices replaces, by their keys."""
    given = {number: getattr(spec, key) for key, number in PROFILE_KEYS.items()}
    return {**{number: value for number, value in given.items() if value is not None}, **spec.numbers}


def profile(scenario: Scenario, name: str) -> DeviceProfile:
    """The class of devices `name`. Raises `ValueError`: there is none, or its values fit no device."""
    own = scenario.profiles.get(name)
    if own is None:
        return catalogue.profile(name)
    if own.battery is not None and catalogue.profile(own.base).battery is None:
        raise ValueError(f"{own.base} has no battery")
    return catalogue.made(own.base, profile_numbers(own), called=name)


def hosts(s: Scenario) -> tuple[Host, ...]:
    """The machines that devices share."""
    return tuple(
        Host(name, spec.cores, job_s=spec.job, message_s=spec.message, byte_s=spec.megabyte / 1e6)
        for name, spec in s.hosts.items()
    )


def _given(own: float | None, default: float) -> float:
    return default if own is None else own


def spreads(s: Scenario, group: Group) -> tuple[float, float]:
    """Standard deviations of the logarithms of a group's speeds and of its links' rates. Raises `ValueError`."""
    speed, rates = group.speed_spread, group.network_spread
    if isinstance(speed, str):
        speed = profile(s, group.device).speed_sd_log
    if isinstance(rates, str):
        found = link(s, group.link).rate_sd_log
        if found is None:
            raise ValueError(f"no spread is known of the link {group.link}, which is not the catalogue's")
        rates = found
    return speed, rates


def correlations(group: Group) -> Mapping[tuple[str, str], float]:
    """The correlations that a group asks for, by pair."""
    found = group.correlation
    return {
        (one, other): value
        for (one, other), value in (
            (("speed", "availability"), found.speed_availability),
            (("speed", "data"), found.speed_data),
            (("speed", "network"), found.speed_network),
            (("availability", "data"), found.availability_data),
            (("availability", "network"), found.availability_network),
            (("data", "network"), found.data_network),
        )
        if value
    }


def user_traces(file: str) -> tuple[Trace, ...]:
    """The traces of users in a file, which is read once as long as it stays as it is. Raises `ValueError`."""
    try:
        found = Path(file).stat()
    except OSError as error:
        raise TraceError(f"{file}: cannot be read: {error.strerror or error}") from None
    return _user_traces(file, (found.st_mtime_ns, found.st_size))


@functools.lru_cache(maxsize=8)
def _user_traces(file: str, stamp: tuple[int, int]) -> tuple[Trace, ...]:
    return read_traces(file)


def fault_targets(scenario: Scenario, name: str) -> tuple[str, ...]:
    """The actors that a fault's target stands for: all of a group, or the one of that name."""
    for group in scenario.devices:
        if group.name == name:
            return tuple(f"{name}-{i}" for i in range(group.count))
    return (name,)


def is_device(groups: Mapping[str, int], name: str) -> bool:
    """Whether groups of so many devices have one of that name."""
    group, _, number = name.rpartition("-")
    known = group in groups and number.isascii() and number.isdecimal() and str(int(number)) == number
    return known and int(number) < groups[group]


def set_members(scenario: Scenario, name: str) -> tuple[str, ...]:
    """The actors that a name in a partition's sets stands for: an actor, all of a group, or all of a region."""
    stations = {COORDINATOR: scenario.coordinator, EVALUATOR: scenario.evaluator}
    groups = {group.name: group.count for group in scenario.devices}
    if stations.get(name) is not None or name in groups or is_device(groups, name):
        return fault_targets(scenario, name)
    found = [actor for actor, station in stations.items() if station is not None and _lives(scenario, station, 0, name)]
    for group in scenario.devices:
        found += [f"{group.name}-{i}" for i in range(group.count) if _lives(scenario, group, i, name)]
    return tuple(found)


def _lives(scenario: Scenario, where: Station | Group, number: int, name: str) -> bool:
    """Whether a device lives in a region, at a site, or at one of a kind of sites."""
    return where.region == name or region(scenario, where.region, number) == name


def partition_sets(scenario: Scenario, sets: tuple[tuple[str, ...], ...]) -> tuple[tuple[str, ...], ...]:
    """The actors of each set; one set alone stands against all others."""
    found = [tuple(actor for name in names for actor in set_members(scenario, name)) for names in sets]
    if len(found) == 1:
        inside = set(found[0])
        found.append(tuple(actor for actor in scenario.actor_names if actor not in inside))
    return tuple(found)


def faults(scenario: Scenario) -> tuple[Fault, ...]:
    """Everything that will go wrong, by time; the random ones are a function of the scenario's seed alone."""
    planned = [
        _fault(scenario, spec, target, math.inf if spec.at is None else spec.at, spec.duration, spec.after_messages)
        for spec in scenario.faults
        for target in _targets(scenario, spec.target)
    ]
    for number, random in enumerate(scenario.random_faults):
        for target in _targets(scenario, random.targets):
            for at_s, duration_s in _random_times(scenario.seed, number, random, target):
                planned.append(_fault(scenario, random, target, at_s, duration_s, None))
    return tuple(sorted(planned, key=lambda fault: (fault.at_s, fault.target, fault.kind)))


def _targets(scenario: Scenario, name: str | None) -> tuple[str, ...]:
    return ("",) if name is None else fault_targets(scenario, name)


def _fault(
    scenario: Scenario, spec: FaultShape, target: str, at_s: float, duration_s: float | None, after: int | None
) -> Fault:
    kind = spec.kind
    if kind == "partition":
        return Partition(kind, target, at_s, duration_s, sets=partition_sets(scenario, spec.sets))
    if kind == "slow":
        return Slowdown(kind, target, at_s, duration_s, after, speed=_given(spec.speed, 1.0))
    if kind == "clock_skew":
        return ClockSkew(kind, target, at_s, duration_s, after, offset_s=spec.offset, drift=spec.drift)
    if kind in MessageFault.kinds:
        return MessageFault(
            kind,
            target,
            at_s,
            duration_s,
            after,
            probability=_given(spec.probability, 0.0),
            messages=spec.messages,
            behind=spec.behind,
            delay_s=_given(spec.delay, REORDER_DELAY_S),
        )
    return Fault(kind, target, at_s, duration_s, after)


def _random_times(seed: int, number: int, spec: RandomFaultSpec, target: str) -> list[tuple[float, float]]:
    """An alternating renewal process: exponential times without and with the fault, so that they never overlap."""
    rng = generator(seed, target, "random_faults", number)
    found = []
    at_s = rng.exponential(3600.0 / spec.rate_per_hour)
    while at_s < spec.until:
        duration_s = rng.exponential(spec.mean_duration)
        found.append((float(at_s), float(duration_s)))
        at_s += duration_s + rng.exponential(3600.0 / spec.rate_per_hour)
    return found
