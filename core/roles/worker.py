"""A client of federated training: trains on its own examples when asked, if its device allows.

What an algorithm has it keep between trainings (a control variate, a model of its own) is part of its state, and lives
in its device's memory: it survives rest, not a crash. A new state is taken when the training is done. Where it must
match what the server has summed (`Algorithm.tied`), it is taken back when the client learns that the round ended
without its update. What it does not learn of (an update that was rejected or got lost) leaves it with a state that the
server does not know of; it does not keep a state that is not finite.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import msgspec

from core.actor import Actor, Child, Context, DeviceChanged, Message, Payload, PeerGone, Start
from core.compute import Shard
from core.learning import Algorithm
from core.learning.algorithm import present
from core.roles.attendance import Attendance, state_of
from core.roles.messages import (
    ClientEvaluateRequest,
    ClientEvaluateResult,
    Join,
    Rejoin,
    Requirements,
    RoundOver,
    TrainAccepted,
    TrainDeclined,
    TrainRequest,
    TrainResult,
)

#: Seconds between a lost coordinator and the next attempt to join it.
REJOIN_S = 10.0


def unmet(requirements: Requirements, ctx: Context) -> str | None:
    """What keeps the actor's device from training: user, battery, charging, temperature or network; None: nothing."""
    device = ctx.device
    if device.in_use:
        return "user"
    level, temperature = device.battery_level, device.temperature_c
    if requirements.min_battery is not None and level is not None and level < requirements.min_battery:
        return "battery"
    if requirements.charging and not device.charging:
        return "charging"
    limit = requirements.max_temperature_c
    if limit is not None and temperature is not None and temperature > limit:
        return "temperature"
    if requirements.unmetered and device.metered:
        return "network"
    return None


class WorkerState(msgspec.Struct):
    """What a worker remembers between messages."""

    #: The last round that it took part in, and the last in which its training came to an end.
    round: int = 0
    trained: int = 0
    #: What it holds for the algorithm, and what it held before its last training if it may have to go back to that.
    client: Payload | None = None
    before: Payload | None = None


class Worker(Actor):
    """Joins the coordinator, trains and evaluates on request, stops when a round is over without it.

    With an `attendance` it checks in when its device comes to fulfil the requirements and out when it does not any
    more, and its training is given up then.
    """

    accepts: ClassVar[tuple[type[Message], ...]] = (
        Start,
        Rejoin,
        TrainRequest,
        ClientEvaluateRequest,
        RoundOver,
        PeerGone,
        DeviceChanged,
    )
    concurrent = True
    State = WorkerState

    def __init__(
        self,
        coordinator: str,
        algorithm: Algorithm,
        shard: Shard,
        held_out: Shard | None = None,
        attendance: Attendance | None = None,
    ) -> None:
        self.coordinator = coordinator
        self.algorithm = algorithm
        self.shard = shard
        self.held_out = held_out
        self.attendance = attendance
        self.state = WorkerState()
        self.training: Child | None = None

    async def handle(self, ctx: Context, message: Message) -> None:
        match message:
            case Start() | Rejoin():
                ctx.watch(self.coordinator)
                if self.attendance is None:
                    await ctx.send(self.coordinator, Join(examples=self.shard.count))
                else:
                    await self._tell(ctx, self.attendance, self.attendance.answer(None, state_of(ctx.device)))
            case DeviceChanged():
                if self.attendance is not None:
                    await self._changed(ctx, self.attendance, message)
            case PeerGone():
                # Whoever comes back as the coordinator may count its rounds anew.
                self.state.round = self.state.trained = 0
                ctx.later(REJOIN_S, Rejoin())
            case TrainRequest():
                # A network that repeats itself must not make two trainings of one, with a state that moves twice.
                if message.round != self.state.round:
                    await self._consider(ctx, message)
            case ClientEvaluateRequest():
                await self._evaluate(ctx, message)
            case RoundOver():
                if message.round == self.state.round:
                    self._stop()
                    self._undo(message.round)

    def rehearse(self, run: Callable[[Any, tuple[Any, ...]], Mapping[str, Payload]]) -> None:
        key, algorithm = (0, 0), self.algorithm
        server = run(algorithm.init, (key,))
        params, shared = server["params"], server.get("shared")
        state = None if algorithm.enter is None else run(algorithm.enter, (params, key))["state"]
        run(algorithm.local_update, (*present(params, shared, state), self.shard, 0, 0.0, key))

    async def _changed(self, ctx: Context, attendance: Attendance, change: DeviceChanged) -> None:
        reason = attendance.unmet(change.after)
        if reason is not None and self.training is not None:
            self._stop()
            said = TrainDeclined(round=self.state.round, reason=f"interrupted: {reason}")
            await ctx.send(self.coordinator, said)
        await self._tell(ctx, attendance, attendance.answer(change.before, change.after))

    async def _tell(self, ctx: Context, attendance: Attendance, answer: int) -> None:
        if answer:
            await ctx.send(self.coordinator, attendance.message(answer, self.shard.count))

    def _stop(self) -> None:
        if self.training is not None:
            self.training.cancel()
            self.training = None

    def _undo(self, number: int) -> None:
        """The update of a round was not used."""
        if self.algorithm.tied and self.state.trained == number:
            self.state.client, self.state.before, self.state.trained = self.state.before, None, 0

    async def _consider(self, ctx: Context, request: TrainRequest) -> None:
        reason = unmet(request.requirements, ctx)
        if not self.algorithm.takes(request.params, request.shared):
            reason = "failed"
        if reason is not None:
            await ctx.send(request.sender, TrainDeclined(round=request.round, reason=reason))
            return
        self._stop()
        self.state.round = request.round
        await ctx.send(request.sender, TrainAccepted(round=request.round))
        async with ctx.group() as group:
            self.training = group.spawn(self._train(ctx, request))

    async def _train(self, ctx: Context, request: TrainRequest) -> None:
        began_s = ctx.now
        algorithm, before = self.algorithm, self.state.client
        key = ctx.random("batches", request.round).integers(0, 2**32, size=2, dtype="uint32")
        state = before
        if state is None and algorithm.enter is not None:
            words = ctx.random("state").integers(0, 2**32, size=2, dtype="uint32")
            state = (await ctx.compute(algorithm.enter, request.params, words))["state"]
        groups = present(request.params, request.shared, state)
        arguments = (*groups, self.shard, request.epochs, request.learning_rate, key)
        outcome = await ctx.compute(algorithm.local_update, *arguments)
        self.training = None
        if state is not None:
            self.state.client = state = outcome["state"]
            self.state.trained = request.round
            self.state.before = before if algorithm.tied else None
        await ctx.send(
            request.sender,
            TrainResult(
                round=request.round,
                examples=self.shard.count,
                steps=algorithm.local_update.work(*arguments).steps,
                seconds=ctx.now - began_s,
                state_bytes=0 if state is None else state.nbytes,
                update=outcome["update"],
                metrics=outcome["metrics"],
            ),
        )

    async def _evaluate(self, ctx: Context, request: ClientEvaluateRequest) -> None:
        """Figures of the global model, and of an own one if it has trained one."""
        algorithm, held_out = self.algorithm, self.held_out
        number, reason = request.round, unmet(request.requirements, ctx)
        if dict(request.params.spec) != dict(algorithm.server["params"].spec):
            reason = "failed"
        if held_out is None or not held_out.count:
            reason = "examples"
        if reason is not None or held_out is None:
            said = ClientEvaluateResult(round=number, examples=0, reason=reason or "examples")
            await ctx.send(request.sender, said)
            return
        own = self.state.client
        metrics = (await ctx.compute(algorithm.evaluate, request.params, held_out))["metrics"]
        personal = None
        if algorithm.personal is not None and own is not None:
            personal = (await ctx.compute(algorithm.personal, request.params, own, held_out))["metrics"]
        await ctx.send(
            request.sender,
            ClientEvaluateResult(round=number, examples=held_out.count, metrics=metrics, personal=personal),
        )
