"""A client of federated training: trains on its own examples when asked, if its device allows."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

from core.actor import Actor, Child, Context, Message, Payload, PeerGone, Start
from core.compute import Shard
from core.learning import Algorithm
from core.roles.messages import (
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
    """The first requirement that the actor's device does not fulfil: battery, charging, temperature or network."""
    device = ctx.device
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


class Worker(Actor):
    """Joins the coordinator, trains on request, stops when a round is over without it."""

    accepts: ClassVar[tuple[type[Message], ...]] = (Start, Rejoin, TrainRequest, RoundOver, PeerGone)
    concurrent = True

    def __init__(self, coordinator: str, algorithm: Algorithm, shard: Shard) -> None:
        self.coordinator = coordinator
        self.algorithm = algorithm
        self.shard = shard
        self.round = 0
        self.training: Child | None = None

    async def handle(self, ctx: Context, message: Message) -> None:
        match message:
            case Start() | Rejoin():
                ctx.watch(self.coordinator)
                await ctx.send(self.coordinator, Join(examples=self.shard.count))
            case PeerGone():
                ctx.later(REJOIN_S, Rejoin())
            case TrainRequest():
                await self._consider(ctx, message)
            case RoundOver():
                if message.round == self.round:
                    self._stop()

    def rehearse(self, run: Callable[[Any, tuple[Any, ...]], Mapping[str, Payload]]) -> None:
        key = (0, 0)
        params = run(self.algorithm.init, (key,))["params"]
        run(self.algorithm.local_update, (params, self.shard, 0, 0.0, key))

    def _stop(self) -> None:
        if self.training is not None:
            self.training.cancel()
            self.training = None

    async def _consider(self, ctx: Context, request: TrainRequest) -> None:
        reason = unmet(request.requirements, ctx)
        if reason is not None:
            await ctx.send(request.sender, TrainDeclined(round=request.round, reason=reason))
            return
        self._stop()
        self.round = request.round
        await ctx.send(request.sender, TrainAccepted(round=request.round))
        async with ctx.group() as group:
            self.training = group.spawn(self._train(ctx, request))

    async def _train(self, ctx: Context, request: TrainRequest) -> None:
        began_s = ctx.now
        key = ctx.random("batches", request.round).integers(0, 2**32, size=2, dtype="uint32")
        arguments = (request.params, self.shard, request.epochs, request.learning_rate, key)
        outcome = await ctx.compute(self.algorithm.local_update, *arguments)
        await ctx.send(
            request.sender,
            TrainResult(
                round=request.round,
                examples=self.shard.count,
                steps=self.algorithm.local_update.work(*arguments).steps,
                seconds=ctx.now - began_s,
                update=outcome["update"],
                metrics=outcome["metrics"],
            ),
        )
