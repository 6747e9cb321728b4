"""Algorithms between actors: what is sent, kept and taken back, who evaluates; asynchronous training by hand."""

from __future__ import annotations

import asyncio
import dataclasses
import functools
from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np
import pytest

from aivsim.testing import FakeContext, FakeDevice, SimulatedRun, deploy, place, run_sim
from core.actor import Actor, ArrayDict, Context, Message, PeerGone
from core.compute import Eager, Evaluator, Rows, Shard
from core.deployment import Deployment, Fault, Population
from core.devices import link, profile
from core.learning import ALGORITHMS, Algorithm
from core.learning.registry import example
from core.records import ClientEvaluationRow, ClientRow, ParticipationRow, RoundRow
from core.roles import MESSAGES, AsyncCoordinator, Coordinator, Requirements, TrainingPlan, Worker
from core.roles.messages import (
    CheckIn,
    CheckOut,
    ClientEvaluateRequest,
    ClientEvaluateResult,
    RoundOver,
    TrainRequest,
    TrainResult,
)
from core.wire import frame_size
from tests.theory.rounds import clients, contraction, own_model, quadratic, quick

RNG = np.random.Generator(np.random.Philox(key=2))
ROWS = Rows({"x": RNG.normal(size=(60, 2)).astype(np.float32), "y": RNG.integers(0, 2, 60).astype(np.int32)})
#: Six clients of unequal size, and what each holds out.
SHARDS = [Shard(ROWS, np.arange(8 * k, 8 * k + 3 + k % 3), 6) for k in range(6)]
HELD_OUT = [Shard(ROWS, np.arange(8 * k + 6, 8 * k + 8), 2) for k in range(6)]


def plan(**changes: Any) -> TrainingPlan:
    values: dict[str, Any] = {
        "rounds": 2, "min_participants": 1, "max_participants": 6, "deadline_s": 60.0,
        "local_epochs": 1, "learning_rate": 0.1,
    }  # fmt: skip
    return TrainingPlan(**{**values, **changes})


class Keeping:
    """Makes a coordinator and keeps it, so that its model can be looked at when the run is over."""

    def __init__(self, algorithm: Algorithm, rules: TrainingPlan) -> None:
        self.algorithm, self.rules = algorithm, rules
        self.made: Any = None

    def __call__(self) -> Actor:
        role = Coordinator if self.algorithm.buffer is None else AsyncCoordinator
        self.made = role(self.algorithm, self.rules, None)
        return self.made


def job(
    algorithm: Algorithm, rules: TrainingPlan, shards: list[Shard], **settings: Any
) -> tuple[SimulatedRun, dict[str, Any]]:
    """A simulated run and the model that it ends with."""
    run, model, _ = looked_at(algorithm, rules, shards, **settings)
    return run, model


def looked_at(
    algorithm: Algorithm,
    rules: TrainingPlan,
    shards: list[Shard],
    *,
    held_out: list[Shard] | None = None,
    devices: list[str] | None = None,
    worker: Callable[..., Worker] = Worker,
    **settings: Any,
) -> tuple[SimulatedRun, dict[str, Any], Any]:
    """A simulated run, the model that it ends with, and the evaluator that knows all values of it."""
    keeping = Keeping(algorithm, rules)
    placements = [place("coordinator", keeping)]
    for i, shard in enumerate(shards):
        make = functools.partial(worker, "coordinator", algorithm, shard, None if held_out is None else held_out[i])
        device = devices[i] if devices else "laptop"
        placements.append(place(f"w{i}", make, device=device, kind="wifi"))
    look: dict[str, Any] = {}

    def prepare(world: Any) -> None:
        look["world"] = world

    run = run_sim(deploy(placements, MESSAGES, **settings), prepare=prepare)
    evaluator = look["world"].evaluator
    trained = settings.get("fidelity", "train") == "train"
    return run, dict(evaluator.value(keeping.made.result)) if trained else {}, evaluator


class Restless(Worker):
    """Two of these check out after each training, and come back 40 s later."""

    made: ClassVar[dict[str, Worker]] = {}

    async def _train(self, ctx: Context, request: TrainRequest) -> None:
        self.made.setdefault(ctx.name, self)
        await super()._train(ctx, request)
        if ctx.name in ("w1", "w2"):
            await ctx.send(self.coordinator, CheckOut())
            await ctx.sleep(40.0)
            await ctx.send(self.coordinator, CheckIn(examples=self.shard.count))


def test_scaffolds_server_keeps_the_mean_of_all_clients_whoever_is_away() -> None:
    """Karimireddy et al. 2020, Algorithm 1: c moves by |S|/N, N being all clients, so that it stays the mean of theirs.

    Two of six check out after each of their trainings, and one is lost for good, while rounds go on. With the weight of
    those who are there for N, c is too large.
    """
    algorithm = ALGORITHMS["scaffold"](example(), 2)
    keeping = Keeping(algorithm, plan(rounds=6, min_participants=2, max_participants=3, pause_s=10.0))
    Restless.made.clear()
    placements = [place("coordinator", keeping)]
    for i, shard in enumerate(SHARDS):
        make = functools.partial(Restless, "coordinator", algorithm, shard)
        placements.append(place(f"w{i}", make, device="laptop", kind="wifi"))
    look: dict[str, Any] = {}
    faults = (Fault("crash", "w5", 25.0, 1e6),)
    run = run_sim(
        deploy(placements, MESSAGES, faults=faults, peer_timeout_s=5.0), prepare=lambda w: look.update(world=w)
    )
    rounds = run.of(RoundRow)
    assert [row.outcome for row in rounds] == ["aggregated"] * 6
    assert min(row.available for row in rounds) < 4
    assert sum(message.type == "CheckOut" for message in run.messages) >= 2
    value = look["world"].evaluator.value
    weights = {f"w{i}": shard.count for i, shard in enumerate(SHARDS)}
    states = {
        name: value(worker.state.client) for name, worker in Restless.made.items() if worker.state.client is not None
    }
    control = value(keeping.made.server["shared"])
    for key, array in control.items():
        mean = sum(weights[name] * np.asarray(state[key], np.float64) for name, state in states.items())
        assert np.abs(array).max() > 1e-3
        np.testing.assert_allclose(array, mean / sum(weights.values()), rtol=1e-5, atol=1e-6)


# Messages.


@pytest.mark.parametrize("name", ALGORITHMS)
def test_messages_cost_the_bytes_of_what_the_algorithm_sends(name: str) -> None:
    """Of every algorithm: what crosses the wire is its arrays and a header that does not depend on them."""
    algorithm = ALGORITHMS[name](example(), 2, **({"buffer": 2} if name == "fedbuff" else {}))
    run, _ = job(algorithm, plan(rounds=4), SHARDS, fidelity="timing")
    requests = [m for m in run.messages if m.type == "TrainRequest"]
    results = [m for m in run.messages if m.type == "TrainResult"]
    assert len(requests) >= len(results) >= 4
    server = algorithm.server
    down = server["params"].nbytes + (server["shared"].nbytes if "shared" in server else 0)
    up = sum(s.nbytes for s in algorithm.update.values()) + 4  # and the loss
    assert {m.size_bytes - down < 400 for m in requests} == {True}
    assert min(m.size_bytes for m in requests) > down
    assert min(m.size_bytes for m in results) > up
    assert max(m.size_bytes for m in results) < up + 500
    kept = {row.state_bytes for row in run.of(ClientRow)}
    model = 4 * example().size
    expected = {
        "scaffold": model,
        "feddyn": model,
        "ditto": model,
        "apfl": model + 4,
        "ifca": 4,
        "fedbn": 16,
        "fedrep": 24,
    }
    assert kept == {expected.get(name, 0)}


def test_the_sizes_are_those_of_the_descriptions_of_the_arrays() -> None:
    """SCAFFOLD's request is that of FedAvg plus one more map of the model's arrays, names and shapes included."""
    sizes = {}
    for name in ("fedavg", "scaffold"):
        algorithm = ALGORITHMS[name](example(), 2)
        groups = Eager().run(algorithm.init, ((0, 0),))
        request = TrainRequest(
            round=1, params=groups["params"], shared=groups.get("shared"), epochs=1, learning_rate=0.1,
            requirements=Requirements(),
        )  # fmt: skip
        sizes[name] = frame_size("w0", request)
    import msgspec

    described = msgspec.msgpack.encode({name: (s.dtype, s.shape) for name, s in groups["shared"].spec.items()})
    # A nil of one byte becomes the description.
    assert sizes["scaffold"] - sizes["fedavg"] == groups["shared"].nbytes + len(described) - 1


@pytest.mark.parametrize("name", ["scaffold", "ifca", pytest.param("mimelite", marks=pytest.mark.slow)])
def test_messages_really_cross_the_wire(name: str) -> None:
    """Encoded and decoded (the simulator fails if a frame has another size than charged): the same model."""
    algorithm = ALGORITHMS[name](example(), 2)
    _, lazy = job(algorithm, plan(), SHARDS[:3])
    _, strict = job(algorithm, plan(), SHARDS[:3], strict_wire=True)
    assert {key: array.tobytes() for key, array in lazy.items()} == {
        key: array.tobytes() for key, array in strict.items()
    }


# Client state.


def train(worker: Worker, ctx: FakeContext, server: Any, number: int) -> TrainResult:
    request = TrainRequest(
        sender="coordinator", round=number, params=server["params"], shared=server.get("shared"), epochs=1,
        learning_rate=0.1, requirements=Requirements(),
    )  # fmt: skip
    asyncio.run(worker.handle(ctx, request))
    result = ctx.sent[-1][1]
    assert isinstance(result, TrainResult)
    return result


@pytest.mark.parametrize(
    ("name", "back"), [("scaffold", True), pytest.param("feddyn", True, marks=pytest.mark.slow), ("ditto", False)]
)
def test_a_state_that_must_match_the_server_is_taken_back_if_the_update_was_not_used(name: str, back: bool) -> None:
    algorithm = ALGORITHMS[name](example(), 2)
    server = Eager().run(algorithm.init, ((0, 0),))
    worker, ctx = Worker("coordinator", algorithm, SHARDS[0]), FakeContext("w0")
    first = train(worker, ctx, server, 1)
    after_first = worker.state.client
    assert first.state_bytes == after_first.nbytes > 0
    train(worker, ctx, server, 2)
    after_second = worker.state.client
    assert after_second != after_first
    # Of another round than the last trained one: nothing to take back.
    asyncio.run(worker.handle(ctx, RoundOver(sender="coordinator", round=1)))
    assert worker.state.client == after_second
    asyncio.run(worker.handle(ctx, RoundOver(sender="coordinator", round=2)))
    assert worker.state.client == (after_first if back else after_second)


def test_a_request_that_comes_twice_is_trained_once() -> None:
    algorithm = ALGORITHMS["scaffold"](example(), 2)
    server = Eager().run(algorithm.init, ((0, 0),))
    worker, ctx = Worker("coordinator", algorithm, SHARDS[0]), FakeContext("w0")
    train(worker, ctx, server, 1)
    said, state = list(ctx.sent), worker.state.client
    train(worker, ctx, server, 1)
    assert ctx.sent == said
    assert worker.state.client == state
    # After the coordinator was gone, a round of the same number is another one.
    asyncio.run(worker.handle(ctx, PeerGone(peer="coordinator")))
    train(worker, ctx, server, 1)
    assert len(ctx.sent) == 2 * len(said)


def test_an_abandoned_round_leaves_scaffolds_clients_as_they_were() -> None:
    """Three results of four that are needed: the server keeps its control variate, so the clients keep theirs."""
    algorithm = ALGORITHMS["scaffold"](example(), 2)
    slow = ["laptop", "laptop", "laptop", "phone_low"]
    rules = plan(rounds=1, min_participants=4, max_participants=4, deadline_s=0.02)
    run, model = job(algorithm, rules, SHARDS[:4], devices=slow)
    assert [row.outcome for row in run.of(RoundRow)] == ["abandoned"]
    told = [m.receiver for m in run.messages if m.type == "RoundOver"]
    accepted = [row.client for row in run.of(ParticipationRow) if row.event == "accepted"]
    assert set(accepted) < set(told) | {"w3"}
    start = Eager().run(algorithm.init, ((0, 0),))["params"]
    assert set(model) == set(start)


def population(name: str, max_live: int) -> SimulatedRun:
    """Forty phones, of which three train at a time and all others may rest."""
    algorithm = ALGORITHMS[name](example(), 2)

    def at(index: int) -> Any:
        make = functools.partial(Worker, "coordinator", algorithm, SHARDS[index % 6], HELD_OUT[index % 6])
        placed = place(f"phone-{index}", make, device="phone_mid", kind="wifi")
        return dataclasses.replace(placed, link=link("wifi_home"), profile=profile("phone_mid"), region="local")

    rules = plan(rounds=25, max_participants=3, pause_s=5000.0, eval_clients_every=25)
    deployment = Deployment(
        placements=(place("coordinator", lambda: Coordinator(algorithm, rules, None)),),
        main="coordinator",
        messages=MESSAGES,
        populations=(Population(name="phone", count=40, place=at, regions=("local",)),),
        max_live=max_live,
        seed=3,
    )
    return run_sim(deployment)


def test_a_clients_state_survives_rest() -> None:
    """Ditto's models and SCAFFOLD's control variates are the same, whoever rests."""

    def figures(run: SimulatedRun) -> list[Any]:
        rows = run.of(ClientEvaluationRow)
        return [
            (r.client, r.model, r.round, float(value(r.accuracy, "accuracy")), float(value(r.loss, "loss")))
            for r in rows
        ]

    def value(payload: Any, name: str) -> Any:
        return Evaluator().resolved(payload)[name]

    for name in ("ditto",):
        awake, resting = figures(population(name, 1000)), figures(population(name, 4))
        assert awake == resting
        assert len(awake) >= 40
        personal = [row for row in awake if row[1] == "personal"]
        # With 75 trainings drawn among 40, most have a model of their own, and some have none.
        assert 10 < len(personal) < 40


# Evaluation by clients.


@pytest.mark.parametrize("name", quick(["ditto", "apfl", "fedbn", "fedrep", "ifca"]))
def test_clients_evaluate_the_global_and_their_own_model(name: str) -> None:
    """The last rows again: from the model that the run ends with, and for clients' own also what each worker holds."""
    options: dict[str, dict[str, Any]] = {"apfl": {"alpha": 0.3}, "ifca": {"spread": 1.0}}
    algorithm = ALGORITHMS[name](example(), 2, **options.get(name, {}))
    workers: dict[int, Worker] = {}

    def kept(coordinator: str, of: Algorithm, shard: Shard, held_out: Shard) -> Worker:
        made = Worker(coordinator, of, shard, held_out)
        workers[next(k for k, own in enumerate(SHARDS) if own is shard)] = made
        return made

    rules = plan(rounds=3, local_epochs=4, learning_rate=0.5, eval_clients_every=2)
    run, model, look = looked_at(algorithm, rules, SHARDS, held_out=HELD_OUT, worker=kept, strict_wire=True)
    rows = run.of(ClientEvaluationRow)
    assert [(row.round, row.model) for row in rows].count((2, "global")) == 6
    assert [(row.round, row.model) for row in rows].count((3, "personal")) == 6
    eager, plain = Eager(), ALGORITHMS["fedavg"](example(), 2)
    for row in rows:
        if row.round < 3:
            continue
        number = int(row.client[1:])
        if row.model == "global":
            expected = eager.run(algorithm.evaluate, (ArrayDict(model), HELD_OUT[number]))["metrics"]
        else:
            state = look.value(workers[number].state.client)
            expected = eager.run(plain.evaluate, (own_model(name, model, state), HELD_OUT[number]))["metrics"]
        assert row.examples == HELD_OUT[number].count
        found = {**look.value(row.accuracy), **look.value(row.loss)}
        assert float(found["accuracy"]) == float(expected["accuracy"])
        assert float(found["loss"]) == pytest.approx(float(expected["loss"]), rel=1e-5)


def test_a_client_that_cannot_evaluate_says_why_and_is_recorded() -> None:
    algorithm = ALGORITHMS["fedavg"](example(), 2)
    empty = [*HELD_OUT[:2], Shard(ROWS, np.array([], np.int32), 2)]
    run, _ = job(algorithm, plan(rounds=1, eval_clients_every=1), SHARDS[:3], held_out=empty)
    assert [row.client for row in run.of(ClientEvaluationRow)] == ["w0", "w1"]
    (row,) = [row for row in run.of(ParticipationRow) if row.event == "not_evaluated"]
    assert (row.client, row.detail) == ("w2", "evaluation: examples")


def test_a_client_evaluates_only_if_its_device_allows_and_the_model_fits() -> None:
    algorithm = ALGORITHMS["fedavg"](example(), 2)
    params = Eager().run(algorithm.init, ((0, 0),))["params"]

    def said(given: ArrayDict, needs: Requirements, level: float) -> ClientEvaluateResult:
        worker = Worker("coordinator", algorithm, SHARDS[0], HELD_OUT[0])
        ctx = FakeContext("w0", device=FakeDevice(battery_level=level))
        asked = ClientEvaluateRequest(sender="coordinator", round=4, params=given, requirements=needs)
        asyncio.run(worker.handle(ctx, asked))
        result = ctx.sent[-1][1]
        assert isinstance(result, ClientEvaluateResult)
        return result

    assert said(params, Requirements(), 0.5).metrics is not None
    assert said(params, Requirements(min_battery=0.6), 0.5).reason == "battery"
    assert said(ArrayDict({"w": np.zeros(3, np.float32)}), Requirements(), 0.5).reason == "failed"


def test_a_model_of_another_shape_is_declined() -> None:
    algorithm = ALGORITHMS["scaffold"](example(), 2)
    groups = Eager().run(algorithm.init, ((0, 0),))
    for params, shared in (
        (groups["params"], None),
        (ArrayDict({"w": np.zeros(3, np.float32)}), groups["shared"]),
        (groups["params"], ArrayDict({"w": np.zeros(3, np.float32)})),
    ):
        ctx = FakeContext("w0")
        request = TrainRequest(
            sender="coordinator", round=1, params=params, shared=shared, epochs=1, learning_rate=0.1,
            requirements=Requirements(),
        )  # fmt: skip
        asyncio.run(Worker("coordinator", algorithm, SHARDS[0]).handle(ctx, request))
        (said,) = [message for _, message in ctx.sent]
        assert type(said).__name__ == "TrainDeclined"


# The odd ones.


class Strange(Worker):
    """Draws the same batches wherever it is. Two send something else than they have trained."""

    async def handle(self, ctx: Any, message: Message) -> None:
        if not isinstance(message, TrainRequest):
            await super().handle(ctx, message)
            return
        arguments = (self.shard, message.epochs, message.learning_rate, (0, 1))
        outcome = await ctx.compute(self.algorithm.local_update, message.params, *arguments)
        update: Any = outcome["update"]
        if self.shard is SHARDS[1]:
            update = ArrayDict({key: np.full(s.shape, np.inf, np.float32) for key, s in update.spec.items()})
        elif self.shard is SHARDS[2]:
            update = ArrayDict({key: np.zeros((*s.shape, 1), np.float32) for key, s in update.spec.items()})
        await ctx.send(
            message.sender,
            TrainResult(
                round=message.round, examples=self.shard.count, steps=1, seconds=0.0, state_bytes=0,
                update=update, metrics=outcome["metrics"],
            ),
        )  # fmt: skip


def test_the_odd_ones_are_handled_by_rule_and_recorded() -> None:
    """Not finite: left out, counted. Another shape: rejected. No examples: not asked. One example: like all others.

    What is left is the mean over the first and the last, as if the others had not been there.
    """
    algorithm = ALGORITHMS["fedavg"](example(), 2)
    empty, single = Shard(ROWS, np.array([], np.int32), 6), Shard(ROWS, np.array([7]), 6)
    shards = [SHARDS[0], SHARDS[1], SHARDS[2], empty, single]
    run, model = job(algorithm, plan(rounds=1), shards, worker=Strange, strict_wire=True)
    ends = {row.client: (row.event, row.detail) for row in run.of(ParticipationRow) if row.event != "selected"}
    assert {client: event for client, (event, _) in ends.items()} == {
        "w0": "accepted", "w1": "accepted", "w2": "rejected", "w3": "empty", "w4": "accepted",
    }  # fmt: skip
    assert ends["w2"][1] == "its update is not of the shape that the algorithm sends"
    (row,) = run.of(RoundRow)
    assert (row.selected, row.accepted, row.rejected, row.outcome) == (4, 3, 1, "aggregated")
    assert int(Evaluator().resolved(row.not_finite)["not_finite"]) == 1
    alone, expected = job(algorithm, plan(rounds=1), [SHARDS[0], single], worker=Strange)
    assert len(alone.of(ClientRow)) == 2
    for key, array in expected.items():
        np.testing.assert_allclose(model[key], array, atol=1e-7)


def test_one_example_is_enough() -> None:
    single = [Shard(ROWS, np.array([k]), 6) for k in (0, 1)]
    for name in ("scaffold",):
        run, model = job(ALGORITHMS[name](example(), 2), plan(rounds=1), single)
        assert all(np.isfinite(array).all() for array in model.values()), name
        (row,) = run.of(RoundRow)
        assert int(Evaluator().resolved(row.not_finite)["not_finite"]) == 0


# Asynchronous training.

CURVATURES, OPTIMA, EPOCHS, RATE = [1.0, 2.0, 0.5, 1.5], [0.0, 1.0, -1.0, 2.0], 3, 0.1


def asynchronous(name: str, rounds: int = 12, **options: Any) -> tuple[SimulatedRun, float]:
    algorithm = ALGORITHMS[name](quadratic(), 3, **options)
    shards = clients(CURVATURES, OPTIMA, [1, 2, 3, 1])
    rules = plan(rounds=rounds, max_participants=3, local_epochs=EPOCHS, learning_rate=RATE)
    # Devices of unlike speeds, so that some results are versions old when they come.
    run, model = job(algorithm, rules, shards, devices=["laptop", "phone_low", "phone_mid", "phone_low"])
    return run, float(model["x"])


def arrivals(run: SimulatedRun) -> list[tuple[int, int, int]]:
    """(client, version that it was sent, staleness) of each result, from the records of selections and results."""
    found, sent = [], {}
    reports = iter(run.of(ClientRow))
    for row in run.of(ParticipationRow):
        client = int(row.client[1:])
        if row.event == "selected":
            # Selected on the way to the n-th version: sent the model after n − 1.
            sent[client] = row.round - 1
        elif row.event == "accepted":
            report = next(reports)
            assert report.client == row.client
            assert report.staleness == row.round - 1 - sent[client]
            found.append((client, sent[client], report.staleness))
    return found


def trained(x: float, client: int) -> float:
    """Where a client's model is after its steps from x."""
    return x + contraction(CURVATURES[client], RATE, EPOCHS) * (OPTIMA[client] - x)


def test_fedbuff_weights_by_staleness_as_by_hand() -> None:
    """x ← x + η_g / K Σ (1 + τ)^-1/2 Δ, with Δ from the version that each client was sent."""
    run, x = asynchronous("fedbuff", buffer=2, server_learning_rate=0.8)
    came = arrivals(run)
    assert len(came) == 24
    assert max(late for _, _, late in came) >= 2
    versions = [0.0]
    for k in range(0, len(came), 2):
        step = sum(
            (1 + late) ** -0.5 * (trained(versions[sent], who) - versions[sent]) for who, sent, late in came[k : k + 2]
        )
        versions.append(versions[-1] + 0.8 / 2 * step)
    assert x == pytest.approx(versions[-1], abs=1e-5)
    assert [row.outcome for row in run.of(RoundRow)] == ["aggregated"] * 12
    assert [row.accepted for row in run.of(RoundRow)] == [2] * 12


@pytest.mark.parametrize(
    ("kind", "weight"),
    [
        ("constant", lambda late: 1.0),
        ("polynomial", lambda late: (1 + late) ** -0.5),
        ("hinge", lambda late: 1.0 if late <= 1 else 1 / (0.5 * (late - 1) + 1)),
    ],
)
def test_fedasync_mixes_by_staleness_as_by_hand(kind: str, weight: Any) -> None:
    """x ← (1 − α s(τ)) x + α s(τ) x_client at each arrival."""
    run, x = asynchronous("fedasync", mixing=0.6, staleness=kind, exponent=0.5, grace=1)
    came = arrivals(run)
    assert len(came) == 12
    versions = [0.0]
    for who, sent, late in came:
        alpha = 0.6 * weight(late)
        versions.append((1 - alpha) * versions[-1] + alpha * trained(versions[sent], who))
    assert max(late for _, _, late in came) >= 2
    assert x == pytest.approx(versions[-1], abs=1e-5)


def test_asynchronous_runs_repeat() -> None:
    first, other = asynchronous("fedbuff", buffer=2), asynchronous("fedbuff", buffer=2)
    assert first[1] == other[1]
    assert first[0].messages == other[0].messages


def test_those_who_train_at_a_time_are_never_more_than_planned() -> None:
    run, _ = asynchronous("fedbuff", buffer=2)
    training: set[str] = set()
    for row in run.of(ParticipationRow):
        if row.event == "selected":
            training.add(row.client)
        elif row.event in ("accepted", "late", "lost", "declined", "rejected"):
            training.discard(row.client)
        assert len(training) <= 3


def test_asynchronous_clients_that_are_too_slow_are_replaced() -> None:
    algorithm = ALGORITHMS["fedbuff"](quadratic(), 1, buffer=1)
    rules = plan(rounds=4, max_participants=2, deadline_s=0.3, local_epochs=10)
    shards = clients(CURVATURES[:3], OPTIMA[:3], [1, 1, 1])
    run, _ = job(algorithm, rules, shards, devices=["laptop", "laptop", "phone_low"])
    ends = [(row.client, row.event) for row in run.of(ParticipationRow)]
    assert ("w2", "late") in ends
    assert ("w2", "accepted") not in ends
    assert [row.outcome for row in run.of(RoundRow)] == ["aggregated"] * 4


def test_where_all_decline_versions_are_given_up_and_the_job_ends() -> None:
    algorithm = ALGORITHMS["fedasync"](quadratic(), 1)
    needs = Requirements(charging=True)
    rules = plan(rounds=2, max_participants=2, deadline_s=5.0, requirements=needs)
    run, model = job(algorithm, rules, clients([1.0, 1.0], [0.0, 1.0], [1, 1]), devices=["phone_mid"] * 2)
    rounds = run.of(RoundRow)
    assert [(row.outcome, row.declined) for row in rounds] == [("abandoned", 2)] * 2
    assert rounds[1].ended_s - rounds[0].started_s >= 10.0
    assert float(model["x"]) == 0.0


def test_an_asynchronous_algorithm_counts_clients() -> None:
    algorithm = ALGORITHMS["fedbuff"](quadratic(), 1)
    with pytest.raises(ValueError, match="fedbuff has a buffer, in which updates count by clients"):
        dataclasses.replace(algorithm, weighting="examples")
    with pytest.raises(ValueError, match="fedavg is not asynchronous"):
        AsyncCoordinator(ALGORITHMS["fedavg"](quadratic(), 1), plan(), None)
