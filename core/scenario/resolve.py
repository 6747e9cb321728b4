"""From a scenario's names to values: classes of devices, links and regions, of the catalogue or its own; and faults."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from core import devices as catalogue
from core.deployment import Fault
from core.devices import DeviceProfile
from core.links import Link
from core.rng import generator

if TYPE_CHECKING:
    from core.scenario.schema import RandomFaultSpec, Scenario


def profile_names(scenario: Scenario) -> tuple[str, ...]:
    """Classes of devices that may be named: the scenario's own, then the catalogue's."""
    return (*scenario.profiles, *catalogue.profiles())


def link_names(scenario: Scenario) -> tuple[str, ...]:
    """Access links that may be named: the scenario's own, then the catalogue's."""
    return (*scenario.links, *catalogue.links())


def region_names(scenario: Scenario) -> tuple[str, ...]:
    """Regions that may be named: the scenario's own, then the catalogue's."""
    own = scenario.network.region_delays
    names = dict.fromkeys((*own, *(to for row in own.values() for to in row), *catalogue.regions()))
    return tuple(names)


def profile(scenario: Scenario, name: str) -> DeviceProfile:
    """The class of devices `name`. Raises `ValueError`: there is none, or its values fit no device."""
    own = scenario.profiles.get(name)
    if own is None:
        return catalogue.profile(name)
    base = catalogue.profile(own.base)
    battery = base.battery
    if own.battery is not None:
        if battery is None:
            raise ValueError(f"{own.base} has no battery")
        battery = dataclasses.replace(battery, energy_j=own.battery)
    return dataclasses.replace(
        base,
        name=name,
        description=f"{base.description}, with own values",
        train_flops_per_s=_given(own.train_speed, base.train_flops_per_s),
        step_overhead_s=_given(own.step_overhead, base.step_overhead_s),
        memory_bytes_per_s=_given(own.memory_speed, base.memory_bytes_per_s),
        idle_w=_given(own.idle_power, base.idle_w),
        max_w=_given(own.max_power, base.max_w),
        battery=battery,
    )


def _given(own: float | None, default: float) -> float:
    return default if own is None else own


def link(scenario: Scenario, name: str) -> Link:
    """The access link `name`. Raises `ValueError`."""
    own = scenario.links.get(name)
    if own is None:
        return catalogue.link(name)
    return Link(
        name=name,
        kind=own.kind,
        latency_s=own.latency,
        up_bytes_per_s=own.up,
        down_bytes_per_s=own.down,
        loss=own.loss,
        metered=own.metered,
    )


def region_delays(scenario: Scenario) -> dict[tuple[str, str], float]:
    """One-way delays between regions, s; the scenario's own stand for both directions in place of the catalogue's."""
    delays = dict(catalogue.region_delays())
    own = {(a, b): delay_s for a, row in scenario.network.region_delays.items() for b, delay_s in row.items()}
    for (a, b), delay_s in own.items():
        delays[a, b] = delay_s
        if (b, a) not in own:
            delays[b, a] = delay_s
    return delays


def fault_targets(scenario: Scenario, name: str) -> tuple[str, ...]:
    """The actors that a fault's target stands for: all of a group, or the one of that name."""
    for group in scenario.devices:
        if group.name == name:
            return tuple(f"{name}-{i}" for i in range(group.count))
    return (name,)


def faults(scenario: Scenario) -> tuple[Fault, ...]:
    """Everything that will go wrong, by time; the random ones are a function of the scenario's seed alone."""
    planned = [
        Fault(fault.kind, target, fault.at, fault.duration)
        for fault in scenario.faults
        for target in fault_targets(scenario, fault.target)
    ]
    for number, spec in enumerate(scenario.random_faults):
        for target in fault_targets(scenario, spec.targets):
            planned += _random_faults(scenario.seed, number, spec, target)
    return tuple(sorted(planned, key=lambda fault: (fault.at_s, fault.target, fault.kind)))


def _random_faults(seed: int, number: int, spec: RandomFaultSpec, target: str) -> list[Fault]:
    """An alternating renewal process: exponential times without and with the fault, so that they never overlap."""
    rng = generator(seed, target, "random_faults", number)
    found = []
    at_s = rng.exponential(3600.0 / spec.rate_per_hour)
    while at_s < spec.until:
        duration_s = rng.exponential(spec.mean_duration)
        found.append(Fault(spec.kind, target, float(at_s), float(duration_s)))
        at_s += duration_s + rng.exponential(3600.0 / spec.rate_per_hour)
    return found
