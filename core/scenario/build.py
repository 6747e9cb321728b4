"""From a scenario to the deployment that a world runs: data dealt, devices drawn, actors placed.

A pure function of the scenario, so that every node of the real world builds the same one by itself.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import core.devices
from core import rng
from core.actor import Actor
from core.data import Federation, federation
from core.deployment import Deployment, Fault, Placement
from core.learning import Algorithm, fedavg
from core.links import Link
from core.models import Model, from_nnx, model, models
from core.roles import MESSAGES, Coordinator, Evaluator, Requirements, TrainingPlan, Worker
from core.scenario.plugins import load_attribute
from core.scenario.schema import DeviceGroup, RandomFaults, Scenario, Seat

COORDINATOR = "coordinator"
EVALUATOR = "evaluator"


@dataclasses.dataclass(frozen=True, eq=False)
class Study:
    """What a scenario describes: who has which data, what is learned and how, and where it runs."""

    scenario: Scenario
    federation: Federation
    model: Model
    algorithm: Algorithm
    deployment: Deployment


def study(scenario: Scenario, *, world: str = "sim") -> Study:
    """Build a study. In the real world a client's data set holds its own examples only. Raises `ValueError`."""
    data = _federation(scenario)
    network = _model(scenario, data)
    algorithm = _algorithm(scenario, network)
    own = world == "real"

    def worker(client: int) -> Callable[[], Actor]:
        return lambda: Worker(
            COORDINATOR, algorithm.local_update, data.own_shard(client) if own else data.shard(client)
        )

    def evaluator() -> Actor:
        return Evaluator(algorithm.evaluate, data.own_test_shard() if own else data.test_shard())

    placements = [_seat(scenario, COORDINATOR, scenario.coordinator, functools.partial(_coordinator, scenario, algorithm))]
    if scenario.evaluator is not None:
        placements.append(_seat(scenario, EVALUATOR, scenario.evaluator, evaluator))
    clients = itertools.count()
    for group in scenario.devices:
        for number in range(group.count):
            placements.append(_device(scenario, group, f"{group.name}-{number}", worker(next(clients))))
    deployment = Deployment(
        placements=tuple(placements),
        main=COORDINATOR,
        messages=MESSAGES,
        seed=scenario.seed,
        region_delay_s=core.devices.region_delays() | _own_delays(scenario),
        peer_timeout_s=scenario.network.peer_timeout,
        max_frame_bytes=int(scenario.network.max_message),
        faults=_faults(scenario),
        max_pending=scenario.numerics.max_pending,
        layout=scenario.numerics.layout,
        strict_wire=scenario.numerics.strict_wire,
        time_scale=scenario.real.time_scale,
        device_mode=scenario.real.devices,
    )
    return Study(scenario, data, network, algorithm, deployment)


def deployment(scenario: Scenario, *, world: str = "sim") -> Deployment:
    """The deployment that a scenario describes; see `study`."""
    return study(scenario, world=world).deployment


def _federation(scenario: Scenario) -> Federation:
    data = scenario.data
    dataset = data.dataset
    if dataset.endswith(".npz"):
        dataset = str(Path(scenario.folder) / dataset)
    return federation(
        dataset,
        data.partition,
        scenario.clients,
        data.test_fraction,
        scenario.seed,
        alpha=data.alpha,
        min_examples=data.min_examples,
    )


def _model(scenario: Scenario, data: Federation) -> Model:
    wanted = scenario.model
    shape, classes = tuple(data.data.x.shape[1:]), data.data.classes
    if wanted.name in models():
        return model(wanted.name, input_shape=shape, classes=classes, **wanted.options)
    factory: Any = load_attribute(wanted.name, relative_to=Path(scenario.folder))
    return from_nnx(factory, name=wanted.name, input_shape=shape, classes=classes, hyper=wanted.options)


def _algorithm(scenario: Scenario, network: Model) -> Algorithm:
    training = scenario.training
    make: Any = fedavg
    if training.algorithm != "fedavg":
        make = load_attribute(training.algorithm, relative_to=Path(scenario.folder))
    made = make(network, training.batch_size, training.server_learning_rate, **training.options)
    if not isinstance(made, Algorithm):
        raise ValueError(f"training.algorithm: {training.algorithm} returned {made!r}, not an Algorithm")
    return made


def _coordinator(scenario: Scenario, algorithm: Algorithm) -> Actor:
    training = scenario.training
    needs = training.requirements
    plan = TrainingPlan(
        rounds=training.rounds,
        min_participants=training.min_participants,
        max_participants=training.max_participants,
        deadline_s=training.deadline,
        local_epochs=training.local_epochs,
        learning_rate=training.learning_rate,
        over_selection=training.over_selection,
        eval_every=training.eval_every,
        pause_s=training.pause,
        enrol_timeout_s=training.enrol_timeout,
        requirements=Requirements(
            min_battery=needs.min_battery,
            max_temperature_c=needs.max_temperature,
            charging=needs.charging,
            unmetered=needs.unmetered,
        ),
    )
    return Coordinator(algorithm, plan, EVALUATOR if scenario.evaluator is not None else None)


def _link(scenario: Scenario, name: str) -> Link:
    own = scenario.links.get(name)
    if own is None:
        return core.devices.link(name)
    return Link(
        name=name,
        kind=own.kind,
        latency_s=own.latency,
        up_bytes_per_s=own.up,
        down_bytes_per_s=own.down,
        loss=own.loss,
        metered=own.metered,
    )


def _seat(scenario: Scenario, name: str, seat: Seat, make: Callable[[], Actor]) -> Placement:
    return Placement(
        name=name,
        make=make,
        profile=core.devices.profile(seat.device),
        link=_link(scenario, seat.link),
        region=seat.region,
    )


def _device(scenario: Scenario, group: DeviceGroup, name: str, make: Callable[[], Actor]) -> Placement:
    """One device of a group; what varies is drawn from the seed and its name alone."""
    level = group.battery
    if not isinstance(level, float):
        low, high = level
        level = float(rng.generator(scenario.seed, name, "battery").uniform(low, high))
    speed = 1.0
    if group.speed_spread:
        # Lognormal with the class's speed as its median.
        speed = math.exp(group.speed_spread * float(rng.generator(scenario.seed, name, "speed").standard_normal()))
    return Placement(
        name=name,
        make=make,
        profile=core.devices.profile(group.device),
        link=_link(scenario, group.link),
        region=group.region,
        battery_level=level,
        charging=group.charging,
        ambient_c=group.ambient,
        speed=speed,
    )


def _own_delays(scenario: Scenario) -> dict[tuple[str, str], float]:
    return {(a, b): delay for a, row in scenario.network.region_delays.items() for b, delay in row.items()}


def _faults(scenario: Scenario) -> tuple[Fault, ...]:
    faults = [Fault(fault.kind, fault.target, fault.at, fault.duration) for fault in scenario.faults]
    for number, process in enumerate(scenario.random_faults):
        faults += _drawn(scenario, number, process)
    return tuple(sorted(faults, key=lambda fault: (fault.at_s, fault.target, fault.kind)))


def _drawn(scenario: Scenario, number: int, process: RandomFaults) -> list[Fault]:
    """A Poisson process of faults for each device of a group, each lasting an exponential time."""
    group = next(group for group in scenario.devices if group.name == process.targets)
    found: list[Fault] = []
    for target in (f"{group.name}-{i}" for i in range(group.count)):
        draws = rng.generator(scenario.seed, target, "faults", number)
        at_s = 0.0
        while True:
            at_s += float(draws.exponential(3600.0 / process.rate_per_hour))
            if at_s > process.until:
                break
            duration_s = float(draws.exponential(process.mean_duration))
            found.append(Fault(process.kind, target, at_s, duration_s))
            at_s += duration_s
    return found
