"""Coordinates a federated training job: rounds with selection, a deadline, and rules for the late and the lost.

The rounds follow Bonawitz et al., "Towards Federated Learning at Scale" (MLSys 2019): more clients are selected than
needed, a round ends with enough results or at its deadline, and what comes later is not used. Deviation: a client
that joins in mid-round waits for the next one. Every decision is recorded.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

from core.actor import Actor, Context, DeadlineExceeded, Message, Payload, PeerGone
from core.aggregation import MAX_WEIGHT, exact_mean
from core.learning import Algorithm
from core.records import ClientRow, EvaluationRow, ParticipationRow, RoundRow
from core.roles.messages import (
    EvaluateRequest,
    EvaluateResult,
    Join,
    Requirements,
    RoundOver,
    TrainAccepted,
    TrainDeclined,
    TrainRequest,
    TrainResult,
)
from core.wire import Spec


def _has_scalars(payload: Payload, *names: str) -> bool:
    """Whether a payload holds just these float32 scalars."""
    return dict(payload.spec) == dict.fromkeys(names, Spec("<f4", ()))


#: Quiet after which all who are there count as having joined, s.
SETTLING_S = 1.0


@dataclasses.dataclass(frozen=True)
class TrainingPlan:
    """The rules of a training job; times in seconds."""

    rounds: int
    min_participants: int
    max_participants: int
    deadline_s: float
    local_epochs: int
    learning_rate: float
    #: Clients selected for each result that is wanted, at least 1.
    over_selection: float = 1.0
    eval_every: int = 1
    #: Rest between two rounds.
    pause_s: float = 0.0
    #: How long to wait for enough clients before a round is abandoned.
    enrol_timeout_s: float = 600.0
    requirements: Requirements = dataclasses.field(default_factory=Requirements)


@dataclasses.dataclass
class Tally:
    """Who is where in one round. `waiting` holds those who were asked and have not answered for good."""

    number: int
    started_s: float
    available: int
    selected: int
    waiting: dict[str, None]
    accepted: int = 0
    examples: int = 0
    late: int = 0
    lost: int = 0
    declined: int = 0
    rejected: int = 0


class Coordinator(Actor):
    """Runs the rounds of one job; `result` holds the model's parameters."""

    accepts: ClassVar[tuple[type[Message], ...]] = (
        Join,
        TrainAccepted,
        TrainDeclined,
        TrainResult,
        EvaluateResult,
        PeerGone,
    )
    #: Everybody may join at once.
    mailbox = 1 << 20

    def __init__(self, algorithm: Algorithm, plan: TrainingPlan, evaluator: str | None) -> None:
        self.algorithm = algorithm
        self.plan = plan
        self.evaluator = evaluator
        #: Clients to select in a round.
        self.wanted = math.ceil(plan.max_participants * plan.over_selection)
        #: Known clients and their numbers of examples, in the order in which they joined.
        self.pool: dict[str, int] = {}
        #: Rounds whose models are being evaluated.
        self.evaluations: dict[int, None] = {}

    def rehearse(self, run: Callable[[Any, tuple[Any, ...]], Mapping[str, Payload]]) -> None:
        params = run(self.algorithm.init, ((0, 0),))["params"]
        exact = exact_mean(1)
        total = run(exact.accumulate, (run(exact.init, (params,))["sum"], params, 1))["sum"]
        run(self.algorithm.apply, (params, run(exact.finish, (total,))["mean"]))

    async def run(self, ctx: Context) -> None:
        key = ctx.random("model").integers(0, 2**32, size=2, dtype="uint32")
        params: Payload = (await ctx.compute(self.algorithm.init, key))["params"]
        for number in range(1, self.plan.rounds + 1):
            params = await self._round(ctx, number, params)
            self.result = params
            if self.evaluator is not None and (number % self.plan.eval_every == 0 or number == self.plan.rounds):
                await ctx.send(self.evaluator, EvaluateRequest(round=number, params=params))
                self.evaluations[number] = None
            if self.plan.pause_s and number < self.plan.rounds:
                await ctx.sleep(self.plan.pause_s)
        await self._await_evaluations(ctx)

    # A round.

    async def _round(self, ctx: Context, number: int, params: Payload) -> Payload:
        await self._enrol(ctx, number)
        plan = self.plan
        tally = self._select(ctx, number)
        if len(tally.waiting) < plan.min_participants:
            tally.selected = 0
            self._close(ctx, tally, "abandoned")
            return params
        for client in tally.waiting:
            ctx.record(ParticipationRow(round=number, client=client, event="selected"))
            await ctx.send(
                client,
                TrainRequest(
                    round=number,
                    params=params,
                    epochs=plan.local_epochs,
                    learning_rate=plan.learning_rate,
                    requirements=plan.requirements,
                ),
            )
        # The bound holds for whoever may take part, so that it does not depend on who arrives.
        exact = exact_mean(max(1, sum(self.pool[client] for client in tally.waiting)))
        total: Payload = (await ctx.compute(exact.init, params))["sum"]
        detail = "enough results had come"
        while tally.waiting and tally.accepted < plan.max_participants:
            # The deadline is for waiting only: a sum that has begun is never cut short.
            try:
                message = await ctx.receive(timeout=max(tally.started_s + plan.deadline_s - ctx.now, 0.0))
            except DeadlineExceeded:
                detail = f"no result within {plan.deadline_s:g} s"
                break
            if not (isinstance(message, TrainResult) and self._is_awaited(tally, message)):
                self._note(ctx, tally, message)
            elif self._is_usable(ctx, tally, message, params):
                total = (await ctx.compute(exact.accumulate, total, message.update, message.examples))["sum"]
        for client in list(tally.waiting):
            self._decide(ctx, tally, client, "late", detail)
            await ctx.send(client, RoundOver(round=number))
        if tally.accepted < plan.min_participants:
            self._close(ctx, tally, "abandoned")
            return params
        mean = await ctx.compute(exact.finish, total)
        params = (await ctx.compute(self.algorithm.apply, params, mean["mean"]))["params"]
        self._close(ctx, tally, "aggregated", mean["count"])
        return params

    async def _enrol(self, ctx: Context, number: int) -> None:
        """Take what has come meanwhile, and wait until enough clients are there."""
        try:
            while True:
                self._note(ctx, None, await ctx.receive(timeout=0.0))
        except DeadlineExceeded:
            pass
        try:
            async with ctx.deadline(self.plan.enrol_timeout_s):
                while len(self.pool) < self.plan.min_participants:
                    self._note(ctx, None, await ctx.receive())
                # At the start all join within moments: the first round is not for the quickest alone.
                while number == 1:
                    self._note(ctx, None, await ctx.receive(timeout=SETTLING_S))
        except DeadlineExceeded:
            return

    def _select(self, ctx: Context, number: int) -> Tally:
        clients = sorted(self.pool)
        if self.wanted < len(clients):
            chosen = ctx.random("selection", number).choice(len(clients), size=self.wanted, replace=False)
            clients = [clients[i] for i in sorted(chosen)]
        return Tally(
            number=number,
            started_s=ctx.now,
            available=len(self.pool),
            selected=len(clients),
            waiting=dict.fromkeys(clients),
        )

    @staticmethod
    def _is_awaited(tally: Tally, message: TrainAccepted | TrainDeclined | TrainResult) -> bool:
        """Whether a client that this round waits for speaks of this round."""
        return message.round == tally.number and message.sender in tally.waiting

    def _is_usable(self, ctx: Context, tally: Tally, result: TrainResult, params: Payload) -> bool:
        """Whether an awaited update goes into the sum; it is counted, or rejected."""
        client = result.sender
        if dict(result.update.spec) != dict(params.spec) or not 0 < result.examples <= self.pool[client]:
            self._decide(ctx, tally, client, "rejected", "not of the model's shape, or more examples than joined with")
            return False
        if not _has_scalars(result.metrics, "loss") or not (0 <= result.steps < 1 << 31 and 0 <= result.seconds < 1e12):
            self._decide(ctx, tally, client, "rejected", "its report of the training is none")
            return False
        self._decide(ctx, tally, client, "accepted", "")
        tally.examples += result.examples
        ctx.record(
            ClientRow(
                round=tally.number,
                client=client,
                examples=result.examples,
                steps=result.steps,
                seconds=result.seconds,
                loss=result.metrics,
            )
        )
        return True

    def _decide(self, ctx: Context, tally: Tally, client: str, event: str, detail: str) -> None:
        del tally.waiting[client]
        setattr(tally, event, getattr(tally, event) + 1)
        ctx.record(ParticipationRow(round=tally.number, client=client, event=event, detail=detail))

    def _note(self, ctx: Context, tally: Tally | None, message: Message) -> None:
        """Everything but a usable result."""
        sender = message.sender
        match message:
            case Join() if not 0 <= message.examples <= MAX_WEIGHT:
                detail = f"joins with {message.examples} examples; 0 to {MAX_WEIGHT} are taken"
                ctx.record(ParticipationRow(round=0, client=sender, event="rejected", detail=detail))
            case Join():
                self.pool[sender] = message.examples
                ctx.watch(sender)
                if tally is not None and sender in tally.waiting:
                    self._decide(ctx, tally, sender, "lost", "it started anew")
            case PeerGone():
                self.pool.pop(message.peer, None)
                if tally is not None and message.peer in tally.waiting:
                    self._decide(ctx, tally, message.peer, "lost", "its connection is gone")
            case TrainDeclined() if tally is not None and self._is_awaited(tally, message):
                self._decide(ctx, tally, sender, "declined", message.reason)
            case TrainAccepted() if tally is not None and self._is_awaited(tally, message):
                ctx.record(ParticipationRow(round=tally.number, client=sender, event="training"))
            case TrainResult():
                ctx.record(ParticipationRow(round=message.round, client=sender, event="unused"))
            case EvaluateResult():
                self._evaluated(ctx, message)

    def _evaluated(self, ctx: Context, result: EvaluateResult) -> None:
        # A network that repeats itself must not make two results of one.
        if result.sender == self.evaluator and result.round in self.evaluations:
            del self.evaluations[result.round]
            if not _has_scalars(result.metrics, "accuracy", "loss"):
                return
            ctx.record(
                EvaluationRow(
                    round=result.round, examples=result.examples, accuracy=result.metrics, loss=result.metrics
                )
            )

    def _close(self, ctx: Context, tally: Tally, outcome: str, counts: Payload | None = None) -> None:
        ctx.record(
            RoundRow(
                round=tally.number,
                started_s=tally.started_s,
                ended_s=ctx.now,
                available=tally.available,
                selected=tally.selected,
                accepted=tally.accepted,
                late=tally.late,
                lost=tally.lost,
                declined=tally.declined,
                rejected=tally.rejected,
                not_finite=counts if counts is not None else 0,
                examples=tally.examples,
                outcome=outcome,
            )
        )

    async def _await_evaluations(self, ctx: Context) -> None:
        """The job ends when the last model has been evaluated, or the evaluator does not answer."""
        try:
            while self.evaluations:
                self._note(ctx, None, await ctx.receive(timeout=self.plan.enrol_timeout_s))
        except DeadlineExceeded:
            return
