"""`aivsim check`: what a run would be, without running it: who, where, which data, how much work and traffic.

The times are those of one client alone with the coordinator: transfers at the slower of the two links, no contention,
no throttling. They are for orientation; the simulator computes what really happens.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import click
import numpy as np

from aivsim import show
from aivsim.errors import InputWrong
from aivsim.scenarios import loaded
from analysis import units
from core.compute import Shard
from core.devices import Work
from core.roles.messages import EvaluateRequest, EvaluateResult, Join, TrainAccepted, TrainRequest, TrainResult
from core.roles.messages import Requirements as Asked
from core.scenario import Scenario, resolve
from core.scenario.build import Study, study
from core.scenario.names import COORDINATOR, EVALUATOR
from core.scenario.schema import Group, Station
from core.wire import ArrayDict, Message, frame_size


class Traffic(NamedTuple):
    """Bytes of a round's frames: one client's down and up, and those of an evaluation."""

    down_bytes: int
    up_bytes: int
    evaluation_bytes: int


def check_command(name: str, *, seed: int | None, settings: Sequence[str]) -> None:
    """Print what the run would be. Raises `InputWrong`."""
    scenario = loaded(name, settings, seed)
    try:
        built = study(scenario)
    except ValueError as error:
        raise InputWrong(f"{name}: {error}") from None
    click.secho(scenario.name, bold=True, nl=False)
    click.echo(f", seed {scenario.seed}: {scenario.description or 'no description'}")
    _places(scenario)
    _learning(scenario, built)
    slowest_s = _rounds(scenario, built)
    _length(scenario, slowest_s)


def _mbit(bytes_per_s: float) -> str:
    return f"{bytes_per_s * 8e-6:.3g}"


def _place(scenario: Scenario, name: str, count: int, station: Station | Group, *rest: str) -> tuple[str, ...]:
    link = resolve.link(scenario, station.link)
    rates = f"{_mbit(link.up_bytes_per_s)} / {_mbit(link.down_bytes_per_s)}"
    return (name, str(count), station.device, link.name, rates, f"{link.latency_s * 1e3:g}", station.region, *rest)


def _places(scenario: Scenario) -> None:
    """Who is where."""
    show.heading("Devices")
    rows = [_place(scenario, COORDINATOR, 1, scenario.coordinator, "", "")]
    if scenario.evaluator is not None:
        rows.append(_place(scenario, EVALUATOR, 1, scenario.evaluator, "", ""))
    for group in scenario.devices:
        low, high = (units.percent(level, 0) for level in group.battery)
        battery = "mains"
        if resolve.profile(scenario, group.device).battery is not None:
            battery = (low if low == high else f"{low} to {high}") + (", charging" if group.charging else "")
        rows.append(_place(scenario, group.name, group.count, group, battery, f"{group.speed_spread:g}"))
    headers = ("name", "count", "class", "link", "up / down Mbit/s", "latency ms", "region", "battery", "speed spread")
    show.table(headers, rows, right=(1, 4, 5, 8))


def _learning(scenario: Scenario, built: Study) -> None:
    """Data, model and job."""
    show.heading("Learning")
    sizes = sorted(len(part) for part in built.federation.train[: scenario.device_count])
    labels = np.count_nonzero(built.federation.label_counts()[: scenario.device_count], axis=1)
    training, model = scenario.training, built.model
    spread = f"{sizes[0]} to {sizes[-1]}, median {sizes[len(sizes) // 2]}"
    momentum = "".join(f", {key} {value}" for key, value in training.options.items())
    wanted = scenario.max_participants
    asked = min(scenario.device_count, int(np.ceil(wanted * training.over_selection)))
    most, least = units.count(wanted), units.count(training.min_participants)
    show.facts(
        (
            ("data", built.federation.description),
            (
                "training examples",
                f"{units.count(sum(sizes))}; a client has {spread}, of {labels.min()} to {labels.max()} labels",
            ),
            ("held out", f"{units.count(len(built.federation.test))} examples, pooled at the evaluator"),
            ("model", f"{model.name}: {units.count(model.size)} parameters, {units.text(4.0 * model.size, 'B')}"),
            ("algorithm", f"{built.algorithm.name} ({built.algorithm.paper}){momentum}"),
            (
                "local training",
                f"{training.local_epochs} epochs, batches of {training.batch_size}, learning rate {training.learning_rate:g}",
            ),
            (
                "rounds",
                f"{units.count(training.rounds)}; each asks {units.count(asked)} of {units.count(scenario.device_count)} "
                f"clients, ends with {most} results or after {units.duration(training.deadline)}, counts with {least}",
            ),
            ("faults", _faults(scenario)),
        )
    )


def _faults(scenario: Scenario) -> str:
    counted = Counter(fault.kind for fault in resolve.faults(scenario))
    return ", ".join(f"{count} × {kind}" for kind, count in sorted(counted.items())) or "none"


def _parameters(built: Study) -> ArrayDict:
    return ArrayDict({name: np.zeros(spec.shape, spec.dtype) for name, spec in built.model.spec.items()})


def _size(receiver: str, message: Message) -> int:
    return frame_size(receiver, message)


def _traffic(built: Study, client: str, examples: int, steps: int) -> Traffic:
    """Sizes of the frames of a round."""
    params = _parameters(built)
    training = built.scenario.training
    metrics = ArrayDict({"loss": np.zeros((), np.float32)})
    scores = ArrayDict({name: np.zeros((), np.float32) for name in ("accuracy", "loss")})
    number = training.rounds
    request = TrainRequest(
        sender=COORDINATOR,
        round=number,
        params=params,
        epochs=training.local_epochs,
        learning_rate=training.learning_rate,
        requirements=Asked(),
    )
    accepted = TrainAccepted(sender=client, round=number)
    result = TrainResult(
        sender=client, round=number, examples=examples, steps=steps, seconds=1.5, update=params, metrics=metrics
    )
    test = len(built.federation.test)
    asked = EvaluateRequest(sender=COORDINATOR, round=number, params=params)
    told = EvaluateResult(sender=EVALUATOR, round=number, examples=test, metrics=scores)
    return Traffic(
        down_bytes=frame_size(client, request),
        up_bytes=frame_size(COORDINATOR, accepted) + frame_size(COORDINATOR, result),
        evaluation_bytes=frame_size(EVALUATOR, asked) + frame_size(COORDINATOR, told),
    )


def _work(built: Study, shard: Shard) -> Work:
    """The work of one client in one round."""
    training = built.scenario.training
    params = _parameters(built)
    return built.algorithm.local_update.work(params, shard, training.local_epochs, training.learning_rate, (0, 0))


def _rounds(scenario: Scenario, built: Study) -> float:
    """What a round costs a median client of each group; the time of the slowest group, s."""
    show.heading("A round of one client, by group (its median client, alone with the coordinator)")
    delays = resolve.region_delays(scenario)
    station = scenario.coordinator
    centre = resolve.link(scenario, station.link)
    rows = []
    first, slowest_s, total_bytes = 0, 0.0, 0.0
    wanted = scenario.max_participants
    for group in scenario.devices:
        clients = sorted(range(first, first + group.count), key=lambda client: len(built.federation.train[client]))
        shard = built.federation.shard(clients[len(clients) // 2])
        first += group.count
        work = _work(built, shard)
        traffic = _traffic(built, f"{group.name}-0", shard.count, work.steps)
        link, profile = resolve.link(scenario, group.link), resolve.profile(scenario, group.device)
        way_s = link.latency_s + centre.latency_s + delays[group.region, station.region]
        share = (1.0 - link.loss) * (1.0 - centre.loss)
        down_s = traffic.down_bytes / (min(link.down_bytes_per_s, centre.up_bytes_per_s) * share) + way_s
        up_s = traffic.up_bytes / (min(link.up_bytes_per_s, centre.down_bytes_per_s) * share) + way_s
        train_s = profile.seconds(work)
        joules = train_s * (profile.max_w - profile.idle_w)
        slowest_s = max(slowest_s, down_s + train_s + up_s)
        total_bytes += group.count * (traffic.down_bytes + traffic.up_bytes)
        rows.append(
            (
                group.name,
                str(shard.count),
                str(work.steps),
                units.text(work.flops * work.steps, "FLOP"),
                units.duration(train_s),
                units.text(joules, "J"),
                units.text(traffic.down_bytes, "B"),
                units.text(traffic.up_bytes, "B"),
                units.duration(down_s + up_s),
                units.duration(down_s + train_s + up_s),
            )
        )
    headers = ("group", "examples", "steps", "work", "training", "energy", "down", "up", "transfers", "in all")
    show.table(headers, rows, right=range(1, len(headers)))
    client_bytes = total_bytes / scenario.device_count
    evaluations = -(-scenario.training.rounds // scenario.training.eval_every) if scenario.evaluator is not None else 0
    evaluation_bytes = evaluations * traffic.evaluation_bytes
    joins = scenario.device_count
    messages = joins + 3 * wanted * scenario.training.rounds + 2 * evaluations
    study_bytes = wanted * client_bytes * scenario.training.rounds + evaluation_bytes
    study_bytes += joins * frame_size(COORDINATOR, Join(sender="client", examples=100))
    click.echo(
        f"\nWith {units.count(wanted)} clients in each round, {units.text(wanted * client_bytes, 'B')} a round; the study "
        f"has about {units.count(messages)} messages and {units.text(study_bytes, 'B')}."
    )
    return slowest_s


def _length(scenario: Scenario, slowest_s: float) -> None:
    """How long the study takes."""
    training = scenario.training
    round_s = min(slowest_s, training.deadline)
    study_s = training.rounds * round_s + (training.rounds - 1) * training.pause
    limit = "its deadline" if slowest_s > training.deadline else "its slowest group"
    click.echo(f"A round that waits for {limit} takes {units.duration(round_s)}, the study {units.duration(study_s)}.")
    if scenario.real.devices == "emulated":
        wall = units.duration(study_s * scenario.real.time_scale)
        click.echo(f"On sockets (`--world real`), at a time_scale of {scenario.real.time_scale:g}, that is {wall}.")
    else:
        click.echo("On sockets (`--world real`) it takes as long as this machine needs.")
