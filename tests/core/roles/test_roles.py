"""The rules of a training job: who takes part, who is late, lost, declined or rejected, and what becomes of a round."""

from __future__ import annotations

import asyncio
import functools
from collections import Counter
from typing import Any

import numpy as np

from aivsim.testing import FakeContext, FakeDevice, SimulatedRun, deploy, place, run_sim
from core.actor import ArrayDict, Context, Message, PeerGone, Start
from core.compute import Eager
from core.data import Federation, federation
from core.deployment import Fault
from core.learning import Algorithm, fedavg
from core.models import model
from core.records import EvaluationRow, JobRow, ParticipationRow, RoundRow
from core.roles import MESSAGES, Coordinator, Evaluator, Requirements, TrainingPlan, Worker
from core.roles.messages import Join, Rejoin, RoundOver, TrainAccepted, TrainDeclined, TrainRequest, TrainResult
from core.roles.worker import REJOIN_S


@functools.cache
def study() -> tuple[Federation, Algorithm]:
    data = federation("digits", "iid", 6, 0.2, 0)
    return data, fedavg(model("softmax", input_shape=(8, 8), classes=10), 32)


def plan(**changes: Any) -> TrainingPlan:
    values: dict[str, Any] = {
        "rounds": 2, "min_participants": 1, "max_participants": 6, "deadline_s": 60.0,
        "local_epochs": 1, "learning_rate": 0.1,
    }  # fmt: skip
    return TrainingPlan(**{**values, **changes})


class TooLarge(Worker):
    """Claims more examples than it joined with."""

    async def _train(self, ctx: Context, request: TrainRequest) -> None:
        outcome = await ctx.compute(self.algorithm.local_update, request.params, self.shard, 1, 0.1, (0, 0))
        await ctx.send(
            request.sender,
            TrainResult(
                round=request.round,
                examples=10**6,
                steps=1,
                seconds=0.0,
                state_bytes=0,
                update=outcome["update"],
                metrics=outcome["metrics"],
            ),
        )


class OtherShape(Worker):
    """Sends an update of another shape."""

    async def _train(self, ctx: Context, request: TrainRequest) -> None:
        update = ArrayDict({"nonsense": np.zeros(3, np.float32)})
        loss = ArrayDict({"loss": np.float32(0)})
        await ctx.send(
            request.sender,
            TrainResult(
                round=request.round, examples=1, steps=1, seconds=0.0, state_bytes=0, update=update, metrics=loss
            ),
        )


class NotFinite(Worker):
    """Sends NaN."""

    async def _train(self, ctx: Context, request: TrainRequest) -> None:
        params = await ctx.value(request.params)
        update = ArrayDict({name: np.full_like(array, np.nan) for name, array in params.items()})
        loss = ArrayDict({"loss": np.float32(np.nan)})
        await ctx.send(
            request.sender,
            TrainResult(
                round=request.round, examples=5, steps=1, seconds=0.0, state_bytes=0, update=update, metrics=loss
            ),
        )


def job(
    rules: TrainingPlan, workers: list[type[Worker]], *, devices: list[str] | None = None, **settings: Any
) -> SimulatedRun:
    data, algorithm = study()
    placements = [
        place("coordinator", lambda: Coordinator(algorithm, rules, "evaluator")),
        place("evaluator", lambda: Evaluator(algorithm, data.test_shard())),
    ]
    for i, kind in enumerate(workers):
        make = functools.partial(kind, "coordinator", algorithm, data.shard(i))
        placements.append(place(f"w{i}", make, device=devices[i] if devices else "laptop", kind="wifi"))
    return run_sim(deploy(placements, MESSAGES, **settings))


def events(run: SimulatedRun, number: int) -> dict[str, str]:
    """How each client ended in a round."""
    rows = [row for row in run.of(ParticipationRow) if row.round == number]
    return {row.client: row.event for row in rows if row.event not in ("selected", "training")}


def test_everybody_in() -> None:
    run = job(plan(), [Worker] * 6)
    for row in run.of(RoundRow):
        assert (row.selected, row.accepted, row.late, row.lost, row.declined, row.rejected) == (6, 6, 0, 0, 0, 0)
        assert row.outcome == "aggregated"
        assert row.examples == study()[0].examples
    assert [row.round for row in run.of(EvaluationRow)] == [1, 2]


def test_bad_updates_are_rejected_and_recorded_and_the_round_goes_on() -> None:
    run = job(plan(rounds=1), [Worker, Worker, OtherShape, TooLarge, NotFinite])
    assert events(run, 1) == {"w0": "accepted", "w1": "accepted", "w2": "rejected", "w3": "rejected", "w4": "accepted"}
    (row,) = run.of(RoundRow)
    assert (row.accepted, row.rejected, row.outcome) == (3, 2, "aggregated")
    # The one that is not finite is found by the exact sum, which leaves it out whole.
    good = job(plan(rounds=1), [Worker, Worker])
    assert len(good.of(RoundRow)) == 1


def test_the_slow_are_late_at_the_deadline_and_are_told_to_stop() -> None:
    # Three steps of 0.2 s and more on a low phone, of 0.01 s on a laptop.
    run = job(plan(deadline_s=0.4), [Worker, Worker, Worker], devices=["laptop", "laptop", "phone_low"])
    assert events(run, 1) == {"w0": "accepted", "w1": "accepted", "w2": "late"}
    rounds = run.of(RoundRow)
    assert rounds[0].ended_s - rounds[0].started_s >= 0.4
    cancelled = [row for row in run.of(JobRow) if row.outcome == "cancelled"]
    assert cancelled
    assert cancelled[0].function == "fedavg.local_update"
    assert Counter(m.type for m in run.messages)["RoundOver"] >= 1


def test_over_selection_ends_the_round_with_enough_results() -> None:
    run = job(plan(max_participants=3, over_selection=2.0), [Worker] * 6)
    for row in run.of(RoundRow):
        assert (row.selected, row.accepted, row.late) == (6, 3, 3)
    details = {row.detail for row in run.of(ParticipationRow) if row.event == "late"}
    assert "enough results had come" in details


def test_what_comes_in_the_pause_between_two_rounds_is_taken_when_it_comes() -> None:
    run = job(plan(pause_s=100.0), [Worker] * 2)
    evaluated_s = [time_s for time_s, _, row in run.rows if isinstance(row, EvaluationRow)]
    first, second = run.of(RoundRow)
    assert second.started_s == first.ended_s + 100.0
    assert first.ended_s < evaluated_s[0] < first.ended_s + 5.0


def test_selection_is_drawn_from_the_seed() -> None:
    def chosen(seed: int) -> list[str]:
        run = job(plan(rounds=3, max_participants=2), [Worker] * 6, seed=seed)
        return [row.client for row in run.of(ParticipationRow) if row.event == "selected"]

    assert chosen(1) == chosen(1)
    assert chosen(1) != chosen(2)
    assert len(chosen(1)) == 6


def test_a_crashed_client_is_lost_and_comes_back() -> None:
    crash = Fault("crash", "w2", 1.3, 2.0)
    run = job(
        plan(rounds=6, pause_s=1.0),
        [Worker] * 3,
        devices=["laptop", "laptop", "phone_low"],
        faults=(crash,),
        peer_timeout_s=0.5,
    )
    ends = [events(run, number).get("w2", "not selected") for number in range(1, 7)]
    assert ends[0] == "lost"
    assert ends[-1] == "accepted"


def test_a_round_with_too_few_is_abandoned_and_the_model_stays() -> None:
    run = job(plan(min_participants=3, max_participants=3, deadline_s=0.4), [Worker] * 3, devices=["phone_low"] * 3)
    assert [row.outcome for row in run.of(RoundRow)] == ["abandoned", "abandoned"]
    accuracies = [row.accuracy for row in run.of(EvaluationRow)]
    assert len(accuracies) == 2


def test_nobody_comes() -> None:
    run = job(plan(min_participants=3, enrol_timeout_s=5.0), [Worker])
    rounds = run.of(RoundRow)
    assert [row.outcome for row in rounds] == ["abandoned", "abandoned"]
    assert rounds[0].ended_s >= 5.0


def request(needs: Requirements, number: int = 1) -> TrainRequest:
    _, algorithm = study()
    params = Eager().run(algorithm.init, ((0, 0),))["params"]
    return TrainRequest(
        sender="coordinator", round=number, params=params, shared=None, epochs=1, learning_rate=0.1, requirements=needs
    )


def asked(needs: Requirements, device: FakeDevice) -> list[Message]:
    data, algorithm = study()
    ctx = FakeContext("w0", device=device)
    asyncio.run(Worker("coordinator", algorithm, data.shard(0)).handle(ctx, request(needs)))
    return [message for _, message in ctx.sent]


def test_a_worker_trains_if_its_device_allows() -> None:
    cases = {
        "battery": (Requirements(min_battery=0.5), FakeDevice(battery_level=0.4)),
        "temperature": (Requirements(max_temperature_c=40.0), FakeDevice(temperature_c=41.0)),
        "charging": (Requirements(charging=True), FakeDevice(charging=False)),
        "network": (Requirements(unmetered=True), FakeDevice(metered=True)),
    }
    for reason, (needs, device) in cases.items():
        (said,) = asked(needs, device)
        assert isinstance(said, TrainDeclined)
        assert said.reason == reason
    for needs, device in (
        (Requirements(min_battery=0.5), FakeDevice(battery_level=None)),
        (Requirements(max_temperature_c=40.0), FakeDevice(temperature_c=None)),
        (Requirements(min_battery=0.5, charging=True, unmetered=True), FakeDevice(charging=True)),
    ):
        accepted, result = asked(needs, device)
        assert isinstance(accepted, TrainAccepted)
        assert isinstance(result, TrainResult)
        assert result.examples == study()[0].shard(0).count


def test_a_worker_joins_again_when_the_coordinator_was_lost() -> None:
    data, algorithm = study()
    worker = Worker("coordinator", algorithm, data.shard(0))
    ctx = FakeContext("w0")

    async def life() -> None:
        await worker.handle(ctx, Start())
        await worker.handle(ctx, PeerGone(peer="coordinator"))
        await worker.handle(ctx, Rejoin())
        await worker.handle(ctx, RoundOver(sender="coordinator", round=3))

    asyncio.run(life())
    assert [type(message) for _, message in ctx.sent] == [Join, Join]
    assert [(at, type(message)) for at, message, _ in ctx.timers] == [(REJOIN_S, Rejoin)]
    assert ctx.watched == ["coordinator", "coordinator"]
