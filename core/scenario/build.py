"""From a scenario to the deployment that a world runs: data dealt, devices drawn, actors placed.

A pure function of the scenario, so that every node of the real world builds the same one by itself.
"""

from __future__ import annotations

import bisect
import contextlib
import dataclasses
import functools
import itertools
import math
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

import jax
import numpy as np
import numpy.typing as npt

from core.actor import Actor, Crowd
from core.aggregation.linear import RANGE_BITS
from core.data import Dataset, Federation, Sampled, dataset, federation, sampled
from core.deployment import Deployment, Placement, Population, crowd_of
from core.learning import ALGORITHMS, Algorithm
from core.models import TASKS, Model, from_nnx, model, models
from core.records import RecordsError
from core.records.curves import LearningCurves, read_curves
from core.roles import (
    MESSAGES,
    AsyncCoordinator,
    Attendance,
    Coordinator,
    Evaluator,
    Requirements,
    TrainingPlan,
    Worker,
)
from core.scenario import resolve, shares
from core.scenario.explain import located
from core.scenario.findings import Finding, KeyPath
from core.scenario.fleet import Fleet
from core.scenario.names import COORDINATOR, EVALUATOR
from core.scenario.plugins import own_part
from core.scenario.schema import Scenario, Station

#: Groups of more devices are populations in the simulator: their devices are made when they are met.
LARGEST_GROUP: Final = 10_000
_KEY: Final = re.compile(r"data\.(options|feature_skew)\.(\w+)")
#: What is expected of own parts.
_MODEL: Final = "a function of (rngs, *, input_shape, classes, and what model.options has) that makes an nnx.Module"
_ALGORITHM: Final = (
    "a function of (model, batch_size, server_learning_rate, and what training.options has) that makes an Algorithm"
)


@dataclasses.dataclass(frozen=True, eq=False)
class Study:
    """What a scenario describes: who has which data, what is learned and how, and where it runs."""

    scenario: Scenario
    federation: Federation | Sampled
    model: Model
    algorithm: Algorithm
    deployment: Deployment

    @property
    def notes(self) -> tuple[str, ...]:
        """What a user may not expect of it, in sentences."""
        found = list(_notes(self.scenario, self.federation))
        if self.deployment.plain_paths:
            found += shares.notes(self.scenario)
        return tuple(found)


def _wrong(scenario: Scenario, path: KeyPath, hint: str, accepted: str = "") -> ValueError:
    """What does not fit, with the place of its key."""
    return ValueError(str(located(Finding(path, accepted, hint), scenario.places)))


@contextlib.contextmanager
def _of(scenario: Scenario, *path: str) -> Iterator[None]:
    """What fails inside is told with the place of a key, or of the key of the data that it names.

    Raises `ValueError`.
    """
    try:
        yield
    except (ValueError, OSError) as error:
        text = str(error)
        named = [(at, key) for at, key in _KEY.findall(text) if at != "options" or key in scenario.data.options]
        raise _wrong(scenario, ("data", *named[0]) if named else path, text) from error


def study(scenario: Scenario, *, world: str = "sim", largest_group: int = LARGEST_GROUP) -> Study:
    """Build a study. In the real world a client's data set holds its own examples only. Raises `ValueError`.

    In the simulator groups of more than `largest_group` are populations where they can; no result depends on it.
    """
    firsts = itertools.accumulate((group.count for group in scenario.devices), initial=0)
    fleets = [Fleet(scenario, group, first) for group, first in zip(scenario.devices, firsts, strict=False)]
    data = _federation(scenario, fleets)
    if scenario.evaluator is not None and not data.test_shard().count:
        raise _wrong(
            scenario,
            ("data", "test_fraction"),
            "of each client's examples this is less than one, so that the evaluator has none",
            "a larger share, data with a test part, or `evaluator: null`",
        )
    network = _model(scenario, data)
    algorithm = _algorithm(scenario, network)
    own = world == "real"
    if own and scenario.hosts and scenario.real.devices != "host":
        raise _wrong(
            scenario,
            ("real", "devices"),
            "devices that share a host cannot be emulated: on sockets they share this machine",
            "host, or a scenario without hosts",
        )

    requirements = _requirements(scenario)

    def worker(client: int, attendance: Attendance | None) -> Actor:
        shard = data.own_shard(client) if own else data.shard(client)
        held_out = None
        if scenario.training.eval_clients_every is not None:
            held_out = data.own_held_out_shard(client) if own else data.held_out_shard(client)
        return Worker(COORDINATOR, algorithm, shard, held_out, attendance)

    def evaluator() -> Actor:
        return Evaluator(algorithm, data.own_test_shard() if own else data.test_shard())

    # Check-ins of resting devices are worked out for steady links and delays between regions.
    plain, populations = resolve.network(scenario).plain, list[Population]()

    def coordinator() -> Actor:
        return _coordinator(scenario, algorithm, crowd_of(populations))

    placements = [_station(scenario, COORDINATOR, scenario.coordinator, coordinator)]
    if scenario.evaluator is not None:
        placements.append(_station(scenario, EVALUATOR, scenario.evaluator, evaluator))
    for fleet in fleets:
        attendance = fleet.attendance(requirements)
        client_of = _clients(fleet, data)

        def make(
            index: int, client_of: Callable[[int], int] = client_of, attendance: Attendance | None = attendance
        ) -> Callable[[], Actor]:
            return functools.partial(worker, client_of(index), attendance)

        alone = own or fleet.group.host is not None or fleet.group.count <= largest_group
        # Of who rests with a user nobody knows when it turns off of heat; without one it has timers.
        if not (alone or (attendance is not None and fleet.overheats)) and plain and fleet.link.plain:
            sizes = functools.partial(_sizes, fleet, data, client_of)
            populations.append(fleet.population(make, attendance, sizes))
        else:
            placements += [fleet.placement(index, make(index)) for index in range(fleet.group.count)]
    deployment = Deployment(
        placements=tuple(placements),
        populations=tuple(populations),
        main=COORDINATOR,
        messages=MESSAGES,
        hosts=resolve.hosts(scenario),
        seed=scenario.seed,
        region_delay_s=resolve.region_delays(scenario),
        network=resolve.network(scenario),
        peer_timeout_s=scenario.network.peer_timeout,
        max_frame_bytes=int(scenario.network.max_message),
        faults=resolve.faults(scenario),
        max_pending=scenario.numerics.max_pending,
        fidelity=scenario.numerics.fidelity,
        curves=_curves(scenario),
        layout=scenario.numerics.layout,
        strict_wire=scenario.numerics.strict_wire,
        time_scale=scenario.real.time_scale if scenario.real.devices == "emulated" else 1.0,
        device_mode=scenario.real.devices,
        emulate_links=scenario.real.emulate_links,
        congestion=scenario.real.congestion,
    )
    return Study(scenario, data, network, algorithm, deployment)


def _curves(scenario: Scenario) -> LearningCurves | None:
    """The learning curves that evaluations follow, if they do. Raises `ValueError`."""
    numerics = scenario.numerics
    if numerics.fidelity != "surrogate" or numerics.surrogate is None:
        return None
    try:
        return read_curves(numerics.surrogate)
    except RecordsError as error:
        raise _wrong(scenario, ("numerics", "surrogate"), str(error)) from None


def _federation(scenario: Scenario, fleets: Sequence[Fleet]) -> Federation | Sampled:
    data = scenario.data
    with _of(scenario, "data", "dataset"):
        examples = dataset(data.dataset, data.options, scenario.seed)
    with _of(scenario, "data", "partition"):
        return _dealt(scenario, fleets, examples)


def _dealt(scenario: Scenario, fleets: Sequence[Fleet], examples: Dataset) -> Federation | Sampled:
    data = scenario.data
    if data.partition == "sampled":
        firsts = [fleet.first for fleet in fleets]

        def score(client: int) -> float:
            fleet = fleets[bisect.bisect_right(firsts, client) - 1]
            return fleet.traits.score("data", client - fleet.first)

        def scores() -> npt.NDArray[np.float64]:
            every = [fleet.traits.scores("data", np.arange(fleet.group.count)) for fleet in fleets]
            rest = [fleets[-1].traits.scores("data", np.arange(scenario.device_count, scenario.clients) - firsts[-1])]
            return np.concatenate(every + rest)

        return sampled(
            examples,
            scenario.clients,
            data.examples,
            data.examples_spread,
            data.test_fraction,
            scenario.seed,
            score,
            scores,
        )
    return federation(
        examples,
        data.partition,
        scenario.clients,
        data.test_fraction,
        scenario.seed,
        alpha=data.alpha,
        per_client=data.per_client,
        sigma=data.sigma,
        exponent=data.exponent,
        min_examples=data.min_examples,
        hold_out=data.hold_out,
        feature_skew=None if data.feature_skew is None else (data.feature_skew.kind, data.feature_skew.strength),
    )


def _clients(fleet: Fleet, data: Federation | Sampled) -> Callable[[int], int]:
    """Which client's data each device of a group has: in turn or, where data correlate with devices, by amount."""
    first, count = fleet.first, fleet.group.count
    correlation = fleet.group.correlation
    by_amount = any((correlation.speed_data, correlation.availability_data, correlation.data_network))
    if isinstance(data, Sampled) or not by_amount:
        return lambda index: first + index
    smallest = first + np.argsort(data.sizes()[first : first + count], kind="stable")
    ranks = np.empty(count, np.int64)
    ranks[np.argsort(fleet.traits.scores("data", np.arange(count)), kind="stable")] = np.arange(count)
    return lambda index: int(smallest[ranks[index]])


def _sizes(fleet: Fleet, data: Federation | Sampled, client_of: Callable[[int], int]) -> npt.NDArray[np.int64]:
    """Examples of each device of a group."""
    sizes, count = data.sizes(), fleet.group.count
    return sizes[np.fromiter(map(client_of, range(count)), np.int64, count)]


def _model(scenario: Scenario, data: Federation | Sampled) -> Model:
    wanted = scenario.model
    shape, classes, task, tokens = data.data.input_shape, data.data.classes, TASKS[data.data.task], data.data.tokens
    if wanted.name in models():
        with _of(scenario, "model", "name"):
            return model(wanted.name, input_shape=shape, classes=classes, task=task, tokens=tokens, **wanted.options)

    def make(factory: Callable[..., Any]) -> Model:
        made = from_nnx(
            factory,
            name=wanted.name,
            input_shape=shape,
            classes=classes,
            hyper=wanted.options,
            task=task,
            tokens=tokens,
        )
        # Traced without numbers: a forward pass that cannot work is found before the run.
        outputs: Any = jax.eval_shape(made.apply, made.spec, made.inputs(2))
        expected = task.output_shape(2, shape, classes)
        if getattr(outputs, "shape", None) != expected:
            raise ValueError(f"its modules map inputs of shape {(2, *shape)} to {outputs}, not to shape {expected}")
        return made

    with _of(scenario, "model", "name"):
        return own_part(wanted.name, make, _MODEL)


def _algorithm(scenario: Scenario, network: Model) -> Algorithm:
    training = scenario.training
    options = dict(training.options)
    if training.algorithm == "afl":
        options.setdefault("clients", scenario.device_count)

    def make(factory: Callable[..., Any]) -> Algorithm:
        made = factory(network, training.batch_size, training.server_learning_rate, **options)
        if not isinstance(made, Algorithm):
            raise TypeError(f"it returned {made!r:.100}, which is no Algorithm")
        return made

    ours = ALGORITHMS.get(training.algorithm)
    with _of(scenario, "training", "algorithm"):
        return own_part(training.algorithm, make, _ALGORITHM) if ours is None else make(ours)


def _notes(scenario: Scenario, data: Federation | Sampled) -> Iterator[str]:
    devices = scenario.device_count
    if isinstance(data, Federation) and data.unused:
        every = len(data) + data.unused
        yield (
            f"the data have {every} natural clients, and {devices} devices: the examples of {data.unused} "
            f"{'client' if data.unused == 1 else 'clients'} are used neither to train nor to test (more devices would "
            f"train on them, and with `data.clients: {every}` the model is tested on what is held out of all)"
        )
    large = (group for group in scenario.devices if group.count > LARGEST_GROUP and group.availability.kind != "always")
    for group in large:
        fleet = Fleet(scenario, group, 0)
        if fleet.overheats:
            yield (
                f"at {group.ambient:g} °C devices of {group.name!r} may get so warm by use and charging alone "
                f"({fleet.profile.off_c:g} °C) that they turn off: in the simulator all {group.count} are awake all "
                "the time, which takes more time and memory than a group whose devices rest"
            )
    bound = 2.0**RANGE_BITS
    largest = float(np.abs(data.data.y).max()) if data.data.task == "regression" else 0.0
    if largest > bound:
        unit = 10.0 ** math.ceil(math.log10(largest))
        yield (
            f"the targets reach {largest:.3g} in size, and an update with an element beyond {bound:g} is left out of "
            f"the sum, so that nothing may be learned; `data.options.y_scale: {unit:.0f}` divides the targets, and "
            "errors are then in that unit"
        )


def _requirements(scenario: Scenario) -> Requirements:
    needs = scenario.training.requirements
    return Requirements(
        min_battery=needs.min_battery,
        max_temperature_c=needs.max_temperature,
        charging=needs.charging,
        unmetered=needs.unmetered,
    )


def _coordinator(scenario: Scenario, algorithm: Algorithm, crowd: Crowd) -> Actor:
    training = scenario.training
    plan = TrainingPlan(
        rounds=training.rounds,
        min_participants=training.min_participants,
        max_participants=scenario.max_participants,
        deadline_s=training.deadline,
        local_epochs=training.local_epochs,
        learning_rate=training.learning_rate,
        over_selection=training.over_selection,
        eval_every=training.eval_every,
        eval_clients_every=training.eval_clients_every,
        pause_s=training.pause,
        enrol_timeout_s=training.enrol_timeout,
        requirements=_requirements(scenario),
    )
    role = Coordinator if algorithm.buffer is None else AsyncCoordinator
    return role(algorithm, plan, EVALUATOR if scenario.evaluator is not None else None, crowd)


def _station(scenario: Scenario, name: str, station: Station, make: Callable[[], Actor]) -> Placement:
    return Placement(
        name=name,
        make=make,
        profile=resolve.profile(scenario, station.device),
        link=resolve.link(scenario, station.link),
        region=resolve.region(scenario, station.region, 0),
        host=station.host,
    )
