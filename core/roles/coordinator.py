"""Coordinates a federated training job: rounds with selection, a deadline, and rules for the late and the lost.

The rounds follow Bonawitz et al., "Towards Federated Learning at Scale" (MLSys 2019): more clients are selected than
needed, a round ends with enough results or at its deadline, and what comes later is not used. Deviation: a client
that joins in mid-round waits for the next one.
"""

from __future__ import annotations

from core.actor import Context, Crowd, DeadlineExceeded, Message
from core.aggregation import exact_mean
from core.learning import Algorithm
from core.records import ParticipationRow
from core.roles.job import Job, Tally, TrainingPlan
from core.roles.messages import RoundOver, TrainAccepted, TrainDeclined, TrainResult


class Coordinator(Job):
    """Runs the rounds of one job."""

    def __init__(
        self, algorithm: Algorithm, plan: TrainingPlan, evaluator: str | None, crowd: Crowd | None = None
    ) -> None:
        super().__init__(algorithm, plan, evaluator, crowd)
        #: Those of the present round who were asked and have not answered for good.
        self.waiting: dict[str, None] = {}
        #: Those whose update was accepted.
        self.taken: list[str] = []

    async def run(self, ctx: Context) -> None:
        await self._begin(ctx)
        for number in range(1, self.plan.rounds + 1):
            await self._round(ctx, number)
            await self._ask_to_evaluate(ctx, number)
            if self.plan.pause_s and number < self.plan.rounds:
                await self._rest(ctx)
        await self._await_evaluations(ctx)

    async def _rest(self, ctx: Context) -> None:
        """The pause between two rounds; what comes meanwhile is taken when it comes."""
        try:
            async with ctx.deadline(self.plan.pause_s):
                while True:
                    self._note(ctx, None, await ctx.receive())
        except DeadlineExceeded:
            pass

    async def _round(self, ctx: Context, number: int) -> None:
        await self._enrol(ctx, number)
        plan = self.plan
        tally = self._tally(ctx, number)
        chosen = self._select(ctx, number)
        if len(chosen) < plan.min_participants:
            self._close(ctx, tally, "abandoned")
            return
        self.waiting, self.taken = dict.fromkeys(chosen), []
        for client in chosen:
            await self._ask_to_train(ctx, tally, client, number)
        # The bound holds for whoever may take part, so that it does not depend on who arrives.
        exact = exact_mean(max(1, sum(self.algorithm.weight(self.offers[client]) for client in chosen)))
        total = self.empty
        detail = "enough results had come"
        while self.waiting and tally.accepted < plan.max_participants:
            # The deadline is for waiting only: a sum that has begun is never cut short.
            try:
                message = await ctx.receive(timeout=max(tally.started_s + plan.deadline_s - ctx.now, 0.0))
            except DeadlineExceeded:
                detail = f"no result within {plan.deadline_s:g} s"
                break
            if not (isinstance(message, TrainResult) and self._is_awaited(tally, message)):
                self._note(ctx, tally, message)
            elif self._is_usable(ctx, tally, message):
                total = await self._collect(ctx, exact, total, message, 0)
        for client in list(self.waiting):
            self._decide(ctx, tally, client, "late", detail)
            await ctx.send(client, RoundOver(round=number))
        if tally.accepted < plan.min_participants:
            if self.algorithm.tied:
                for client in self.taken:
                    await ctx.send(client, RoundOver(round=number))
            self._close(ctx, tally, "abandoned")
            return
        self._close(ctx, tally, "aggregated", await self._apply(ctx, exact, total, tally))

    def _select(self, ctx: Context, number: int) -> list[str]:
        return self.pool.draw(ctx.random("selection", number), self.wanted)

    def _is_awaited(self, tally: Tally, message: TrainAccepted | TrainDeclined | TrainResult) -> bool:
        """Whether a client that this round waits for speaks of this round."""
        return message.round == tally.number and message.sender in self.waiting

    def _is_usable(self, ctx: Context, tally: Tally, result: TrainResult) -> bool:
        """Whether an awaited update goes into the sum; it is counted, or rejected."""
        fault = self._fault(result)
        if fault is not None:
            self._decide(ctx, tally, result.sender, "rejected", fault)
            return False
        self._decide(ctx, tally, result.sender, "accepted", "")
        self.taken.append(result.sender)
        self._accept(ctx, tally, result, 0)
        return True

    def _decide(self, ctx: Context, tally: Tally, client: str, event: str, detail: str) -> None:
        del self.waiting[client]
        self._decided(ctx, tally, client, event, detail)

    def _drop(self, ctx: Context, tally: Tally | None, client: str, why: str) -> None:
        if tally is not None and client in self.waiting:
            self._decide(ctx, tally, client, "lost", why)

    def _note(self, ctx: Context, tally: Tally | None, message: Message) -> None:
        sender = message.sender
        match message:
            case TrainDeclined() if tally is not None and self._is_awaited(tally, message):
                self._decide(ctx, tally, sender, "declined", message.reason)
            case TrainAccepted() if tally is not None and self._is_awaited(tally, message):
                ctx.record(ParticipationRow(round=tally.number, client=sender, event="training"))
            case TrainResult():
                ctx.record(ParticipationRow(round=message.round, client=sender, event="unused"))
            case _:
                self._note_others(ctx, tally, message)
