"""Holds the pooled held-out examples and evaluates models on them."""

from __future__ import annotations

from typing import ClassVar

from core.actor import Actor, Context, Message
from core.compute import Function, Shard
from core.roles.messages import EvaluateRequest, EvaluateResult


class Evaluator(Actor):
    """Answers each request with the accuracy and loss of the model that it carries."""

    accepts: ClassVar[tuple[type[Message], ...]] = (EvaluateRequest,)

    def __init__(self, evaluate: Function, shard: Shard) -> None:
        self.evaluate = evaluate
        self.shard = shard

    async def handle(self, ctx: Context, message: Message) -> None:
        if isinstance(message, EvaluateRequest):
            outcome = await ctx.compute(self.evaluate, message.params, self.shard)
            await ctx.reply(
                message,
                EvaluateResult(round=message.round, examples=self.shard.count, metrics=outcome["metrics"]),
            )
