"""`aivsim check`: what a run would be, without running it: who, where, which data, how much work and traffic.

The times are those of one client alone with the coordinator: transfers at the slower of the two links, no contention,
no throttling. They are for orientation; the simulator computes what really happens.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from typing import NamedTuple

import click
import numpy as np

from aivsim import show
from aivsim.errors import InputWrong
from analysis import units
from core.compute import Evaluator, Shard
from core.data import heterogeneity
from core.devices import Work
from core.learning.algorithm import present
from core.roles.messages import (
    ClientEvaluateRequest,
    ClientEvaluateResult,
    EvaluateRequest,
    EvaluateResult,
    Join,
    TrainAccepted,
    TrainRequest,
    TrainResult,
)
from core.roles.messages import Requirements as Asked
from core.scenario import Scenario, resolve
from core.scenario.build import Study, study
from core.scenario.names import COORDINATOR, EVALUATOR
from core.scenario.schema import TYPICAL, Group, Station
from core.wire import ArrayDict, Payload, frame_size


class Cost(NamedTuple):
    """What a round costs one client: its examples and work, bytes of its frames, and times."""

    examples: int
    work: Work
    down_bytes: int
    up_bytes: int
    transfers_s: float
    training_s: float
    joules: float

    @property
    def all_s(self) -> float:
        """From the request to the result."""
        return self.transfers_s + self.training_s


def check_command(scenario: Scenario) -> None:
    """Print what the run would be. Raises `InputWrong`."""
    try:
        built = study(scenario)
    except (ValueError, OSError) as error:
        raise InputWrong(str(error)) from None
    click.secho(scenario.name, bold=True, nl=False)
    click.echo(f", seed {scenario.seed}: {scenario.description or 'no description'}")
    for note in built.notes:
        click.secho(f"note: {note}", fg="yellow")
    _places(scenario)
    _learning(scenario, built)
    slowest_s = _rounds(scenario, built)
    _length(scenario, slowest_s)


def _mbit(bytes_per_s: float) -> str:
    return units.number(bytes_per_s * 8e-6)


def _place(scenario: Scenario, name: str, count: int, station: Station | Group, *rest: str) -> tuple[str, ...]:
    link = resolve.link(scenario, station.link)
    rates = f"{_mbit(link.up_bytes_per_s)} / {_mbit(link.down_bytes_per_s)}"
    return (name, str(count), station.device, link.name, rates, f"{link.latency_s * 1e3:g}", station.region, *rest)


def _charge(group: Group) -> str:
    """Charge at the start, and who charges it."""
    charging = ", charging" if group.charging else ""
    if group.availability.kind != "always":
        charging = f", {group.availability.kind}"
    if group.battery == TYPICAL:
        return f"typical{charging}"
    low, high = (units.percent(level, 0) for level in group.battery)
    return (low if low == high else f"{low} to {high}") + charging


def _places(scenario: Scenario) -> None:
    """Who is where."""
    show.heading("Devices")
    rows = [_place(scenario, COORDINATOR, 1, scenario.coordinator, "", "")]
    if scenario.evaluator is not None:
        rows.append(_place(scenario, EVALUATOR, 1, scenario.evaluator, "", ""))
    for group in scenario.devices:
        battery = "mains"
        if resolve.profile(scenario, group.device).battery is not None:
            battery = _charge(group)
        rows.append(
            _place(scenario, group.name, group.count, group, battery, f"{resolve.spreads(scenario, group)[0]:g}")
        )
    headers = ("name", "count", "class", "link", "up / down Mbit/s", "latency ms", "region", "battery", "speed spread")
    show.table(headers, rows, right=(1, 4, 5, 8))


def _learning(scenario: Scenario, built: Study) -> None:
    """Data, model and job."""
    show.heading("Learning")
    amounts = built.federation.sizes()[: scenario.device_count]
    sizes = sorted(amounts.tolist())
    counts = built.federation.label_counts()[: scenario.device_count]
    labels = np.count_nonzero(counts, axis=1)
    training, model = scenario.training, built.model
    noun = {"regression": "tenths of the targets", "next_token": "characters or tokens"}.get(model.task.name, "labels")
    kinds = f"{labels.min()} to {labels.max()}" if labels.min() < labels.max() else f"{labels.min()}"
    distance, chance = heterogeneity(counts)
    forward, step = model.flops
    most = scenario.max_participants
    asked = min(scenario.device_count, math.ceil(most * training.over_selection))
    options = "".join(f", {key} {value}" for key, value in training.options.items())
    passes = f"{training.local_epochs} epochs, batches of {training.batch_size}"
    if built.algorithm.name == "fedsgd":
        passes = f"one gradient over all examples, in batches of {training.batch_size}"
    steps = f"{passes}, learning rate {training.learning_rate:g}"
    buffer = built.algorithm.buffer
    rounds = (
        f"{units.count(training.rounds)} versions of the model, each of {units.count(buffer)} results; "
        f"{units.count(most)} of {units.count(scenario.device_count)} clients train at a time"
        if buffer is not None
        else f"{units.count(training.rounds)}; each asks {units.count(asked)} of {units.count(scenario.device_count)} "
        f"clients, ends with {units.count(most)} results or after {units.duration(training.deadline)}, "
        f"counts with {units.count(training.min_participants)}"
    )
    examples = f"{units.count(sum(sizes))}; a client has {sizes[0]} to {sizes[-1]}, median {sizes[len(sizes) // 2]}"
    show.facts(
        (
            ("data", built.federation.description),
            ("training examples", f"{examples}, of {kinds} {noun}"),
            (
                "heterogeneity",
                f"{distance:.2f} from all clients' {noun} (total variation, 0 to 1); {chance:.2f} by chance",
            ),
            ("held out", f"{units.count(len(built.federation.test))} examples, pooled"),
            ("model", f"{model.name}: {units.count(model.size)} parameters, {units.text(4.0 * model.size, 'B')}"),
            ("an example", f"{units.text(forward, 'FLOP')} forward, {units.text(step, 'FLOP')} with its gradient"),
            ("algorithm", f"{built.algorithm.name} ({built.algorithm.paper}){options}"),
            ("local training", steps),
            ("rounds", rounds),
            ("faults", _faults(scenario)),
        )
    )


def _faults(scenario: Scenario) -> str:
    counted = Counter(fault.kind for fault in resolve.faults(scenario))
    return ", ".join(f"{count} × {kind}" for kind, count in sorted(counted.items())) or "none"


def _parameters(built: Study) -> Payload:
    return Evaluator().submit(built.algorithm.init, ((0, 0),))["params"]


def _cost(scenario: Scenario, built: Study, group: Group, shard: Shard) -> Cost:
    """What a round costs a client of a group that has the examples of `shard`."""
    training, algorithm = scenario.training, built.algorithm
    number, client = training.rounds, f"{group.name}-{group.count - 1}"
    # Nobody looks, so that nothing is computed: shapes and sizes are known before.
    evaluator = Evaluator()
    server = evaluator.submit(algorithm.init, ((0, 0),))
    params, shared = server["params"], server.get("shared")
    state = None if algorithm.enter is None else evaluator.submit(algorithm.enter, (params, (0, 0)))["state"]
    groups = present(params, shared, state)
    arguments = (*groups, shard, training.local_epochs, training.learning_rate, (0, 0))
    work = algorithm.local_update.work(*arguments)
    outcome = evaluator.submit(algorithm.local_update, arguments)
    request = TrainRequest(
        sender=COORDINATOR,
        round=number,
        params=params,
        shared=shared,
        epochs=training.local_epochs,
        learning_rate=training.learning_rate,
        requirements=Asked(),
    )
    accepted = TrainAccepted(sender=client, round=number)
    result = TrainResult(
        sender=client,
        round=number,
        examples=shard.count,
        steps=work.steps,
        seconds=1.5,
        state_bytes=0 if state is None else state.nbytes,
        update=outcome["update"],
        metrics=outcome["metrics"],
    )
    down_bytes = frame_size(client, request)
    up_bytes = frame_size(COORDINATOR, accepted) + frame_size(COORDINATOR, result)
    station = scenario.coordinator
    centre, link = resolve.link(scenario, station.link), resolve.link(scenario, group.link)
    profile = resolve.profile(scenario, group.device)
    way_s = link.latency_s + centre.latency_s + resolve.delay_s(scenario, group.region, station.region)
    share = (1.0 - link.loss) * (1.0 - centre.loss)
    down_s = down_bytes / (min(link.down_bytes_per_s, centre.up_bytes_per_s) * share)
    up_s = up_bytes / (min(link.up_bytes_per_s, centre.down_bytes_per_s) * share)
    training_s = profile.seconds(work)
    joules = training_s * (profile.max_w - profile.idle_w)
    return Cost(shard.count, work, down_bytes, up_bytes, down_s + up_s + 2.0 * way_s, training_s, joules)


def _scores(*names: str) -> ArrayDict:
    return ArrayDict({name: np.zeros((), np.float32) for name in names})


def _evaluation_bytes(built: Study) -> int:
    """Bytes of the frames of one evaluation."""
    number, test = built.scenario.training.rounds, len(built.federation.test)
    asked = EvaluateRequest(sender=COORDINATOR, round=number, params=_parameters(built))
    told = EvaluateResult(
        sender=EVALUATOR, round=number, examples=test, metrics=_scores(built.model.task.score_name, "loss")
    )
    return frame_size(EVALUATOR, asked) + frame_size(COORDINATOR, told)


def _client_evaluation_bytes(built: Study) -> int:
    """Bytes of the frames of one evaluation by all clients."""
    scenario, algorithm = built.scenario, built.algorithm
    scores = _scores(built.model.task.score_name, "loss")
    number, client = scenario.training.rounds, scenario.device_names[-1]
    asked = ClientEvaluateRequest(sender=COORDINATOR, round=number, params=_parameters(built), requirements=Asked())
    own = None if algorithm.personal is None else scores
    told = ClientEvaluateResult(sender=client, round=number, examples=100, metrics=scores, personal=own)
    return scenario.device_count * (frame_size(client, asked) + frame_size(COORDINATOR, told))


def _rounds(scenario: Scenario, built: Study) -> float:
    """What a round costs a median client of each group; the time of the slowest group, s."""
    show.heading("A round of one client, by group (its median client, alone with the coordinator)")
    costs: dict[str, Cost] = {}
    first, amounts = 0, built.federation.sizes()
    for group in scenario.devices:
        clients = sorted(range(first, first + group.count), key=lambda client: int(amounts[client]))
        shard = built.federation.shard(clients[len(clients) // 2])
        costs[group.name] = _cost(scenario, built, group, shard)
        first += group.count
    rows = [
        (
            name,
            str(cost.examples),
            str(cost.work.steps),
            units.text(cost.work.flops * cost.work.steps, "FLOP"),
            units.duration(cost.training_s),
            units.text(cost.joules, "J"),
            units.text(cost.down_bytes, "B"),
            units.text(cost.up_bytes, "B"),
            units.duration(cost.transfers_s),
            units.duration(cost.all_s),
        )
        for name, cost in costs.items()
    ]
    headers = ("group", "examples", "steps", "work", "training", "energy", "down", "up", "transfers", "in all")
    show.table(headers, rows, right=range(1, len(headers)))
    _traffic(scenario, built, costs)
    return max(cost.all_s for cost in costs.values())


def _traffic(scenario: Scenario, built: Study, costs: Mapping[str, Cost]) -> None:
    """Messages and bytes of the study, if every round ends with all the results that it wants."""
    training, clients = scenario.training, scenario.device_count
    wanted = built.algorithm.buffer or scenario.max_participants
    total = sum(group.count * (costs[group.name].down_bytes + costs[group.name].up_bytes) for group in scenario.devices)
    round_bytes = wanted * total / clients
    evaluations = 0 if scenario.evaluator is None else -(-training.rounds // training.eval_every)
    every = training.eval_clients_every
    own = 0 if every is None else -(-training.rounds // every)
    messages = clients + 3 * wanted * training.rounds + 2 * evaluations + 2 * own * clients
    study_bytes = training.rounds * round_bytes + clients * frame_size(COORDINATOR, Join(sender="client", examples=100))
    study_bytes += evaluations * _evaluation_bytes(built) if evaluations else 0
    study_bytes += own * _client_evaluation_bytes(built) if own else 0
    click.echo(
        f"\nWith {units.count(wanted)} results in each round, {units.text(round_bytes, 'B')} a round; "
        f"the study has about {units.count(messages)} messages and {units.text(study_bytes, 'B')}."
    )


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
