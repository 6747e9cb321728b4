"""Holds the pooled held-out examples and evaluates models on them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

from core.actor import Actor, Context, Message, Payload
from core.compute import Shard
from core.learning import Algorithm
from core.roles.messages import EvaluateRequest, EvaluateResult


class Evaluator(Actor):
    """Answers each request with the score and loss of the model that it carries."""

    accepts: ClassVar[tuple[type[Message], ...]] = (EvaluateRequest,)

    def __init__(self, algorithm: Algorithm, shard: Shard) -> None:
        self.algorithm = algorithm
        self.shard = shard

    def rehearse(self, run: Callable[[Any, tuple[Any, ...]], Mapping[str, Payload]]) -> None:
        params = run(self.algorithm.init, ((0, 0),))["params"]
        run(self.algorithm.evaluate, (params, self.shard))

    async def handle(self, ctx: Context, message: Message) -> None:
        if isinstance(message, EvaluateRequest):
            outcome = await ctx.compute(self.algorithm.evaluate, message.params, self.shard)
            await ctx.reply(
                message,
                EvaluateResult(round=message.round, examples=self.shard.count, metrics=outcome["metrics"]),
            )
