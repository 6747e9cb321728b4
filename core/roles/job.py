"""What synchronous and asynchronous training jobs have in common: who is there, what is asked, what is usable.

Updates are summed exactly, as they come; nothing that the server computes on is looked at. Every decision is recorded.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Final

import numpy as np
import numpy.typing as npt

from core.actor import Actor, ArrayDict, Context, Crowd, DeadlineExceeded, Message, News, Payload, PeerGone
from core.aggregation import MAX_WEIGHT, Aggregation, exact_mean
from core.learning import Algorithm
from core.learning.algorithm import in_order, present
from core.records import ClientEvaluationRow, ClientRow, EvaluationRow, ParticipationRow, RoundRow
from core.roles.messages import (
    CheckIn,
    CheckOut,
    ClientEvaluateRequest,
    ClientEvaluateResult,
    EvaluateRequest,
    EvaluateResult,
    Join,
    Requirements,
    TrainAccepted,
    TrainDeclined,
    TrainRequest,
    TrainResult,
)
from core.roles.roster import Roster
from core.wire import Spec

#: Quiet after which all who are there count as having joined, s.
SETTLING_S: Final = 1.0


def has_scalars(payload: Payload, *names: str) -> bool:
    """Whether a payload holds just these float32 scalars."""
    return dict(payload.spec) == dict.fromkeys(names, Spec("<f4", ()))


def is_evaluation(metrics: Payload) -> bool:
    """Whether a payload holds what an evaluation gives: accuracy or, of a regression, error; and loss."""
    return has_scalars(metrics, "accuracy", "loss") or has_scalars(metrics, "error", "loss")


def scores(metrics: Payload) -> tuple[Payload | None, Payload | None]:
    """An evaluation as what holds its accuracy and its error, one of which there is."""
    return (metrics, None) if "accuracy" in metrics.spec else (None, metrics)


@dataclasses.dataclass(frozen=True)
class TrainingPlan:
    """The rules of a training job; times in seconds."""

    rounds: int
    min_participants: int
    #: Results after which a round ends; of asynchronous training, clients that train at a time.
    max_participants: int
    deadline_s: float
    local_epochs: int
    learning_rate: float
    #: Clients selected for each result that is wanted, at least 1.
    over_selection: float = 1.0
    eval_every: int = 1
    #: Rounds from one evaluation by all clients to the next; None: there is none.
    eval_clients_every: int | None = None
    #: Rest between two rounds.
    pause_s: float = 0.0
    #: How long to wait for enough clients before a round is abandoned.
    enrol_timeout_s: float = 600.0
    requirements: Requirements = dataclasses.field(default_factory=Requirements)


@dataclasses.dataclass
class Tally:
    """What has happened in one round; of asynchronous training, since the last version of the model."""

    number: int
    started_s: float
    available: int
    #: What all known clients would weigh together.
    weight: int
    selected: int = 0
    accepted: int = 0
    examples: int = 0
    late: int = 0
    lost: int = 0
    declined: int = 0
    rejected: int = 0


class Job(Actor):
    """A training job; `result` holds the model's parameters."""

    accepts: ClassVar[tuple[type[Message], ...]] = (
        Join,
        CheckIn,
        CheckOut,
        TrainAccepted,
        TrainDeclined,
        TrainResult,
        EvaluateResult,
        ClientEvaluateResult,
        PeerGone,
    )
    absorbs: ClassVar[tuple[type[Message], ...]] = (CheckIn, CheckOut)
    #: Everybody may join at once.
    mailbox = 1 << 20

    def __init__(
        self, algorithm: Algorithm, plan: TrainingPlan, evaluator: str | None, crowd: Crowd | None = None
    ) -> None:
        """`crowd`: clients of whom there may be so many that they are better told apart by numbers."""
        self.algorithm = algorithm
        self.plan = plan
        self.evaluator = evaluator
        #: Clients to select in a round.
        self.wanted = math.ceil(plan.max_participants * plan.over_selection)
        #: Clients that may be asked, and their numbers of examples.
        self.pool = Roster(crowd)
        #: How many examples each client had when it was last asked to train.
        self.offers: dict[str, int] = {}
        #: Whether a round waits for clients: who comes must wake it.
        self.enrolling = False
        #: What all clients that are known weigh together: the share that a round is of is one of all, whoever is away
        #: at the moment.
        self.known_weight = 0
        #: Numbers of clients, for algorithms that tell them apart.
        self.slots: dict[str, int] = {}
        #: The groups of arrays that the algorithm's server holds.
        self.server: dict[str, Payload] = {}
        self.template = ArrayDict({name: np.zeros(s.shape, s.dtype) for name, s in algorithm.summed.items()})
        #: The sum of no update, which every sum begins with.
        self.empty: Payload = self.template
        #: Rounds whose models the evaluator is at.
        self.evaluations: dict[int, None] = {}
        #: Clients that have not answered yet what they were asked to evaluate: the rounds.
        self.evaluating: dict[str, dict[int, None]] = {}

    def rehearse(self, run: Callable[[Any, tuple[Any, ...]], Mapping[str, Payload]]) -> None:
        algorithm, exact = self.algorithm, exact_mean(1)
        server = run(algorithm.init, ((0, 0),))
        if algorithm.collect is not None:
            update = ArrayDict({name: np.zeros(s.shape, s.dtype) for name, s in algorithm.update.items()})
            run(algorithm.collect, (*present(server.get("kept")), update, 0, 0))
        empty = run(exact.init, (self.template,))["sum"]
        found = run(exact.finish, (run(exact.accumulate, (empty, self.template, 1))["sum"],))
        run(algorithm.apply, (*in_order(server), found["mean"], found["count"], 1.0))

    def absorb(self, message: Message) -> bool:
        if self.enrolling or self._is_short():
            return False
        if isinstance(message, CheckIn) and 0 < message.examples <= MAX_WEIGHT:
            self._admit(message.sender, message.examples)
        elif isinstance(message, CheckOut):
            self.pool.dismiss(message.sender)
        else:
            return False
        self._listed(message.sender)
        return True

    def absorb_all(self, news: News) -> bool:
        if self.enrolling or self._is_short() or news.crowd != self.pool.crowd:
            return False
        come = np.array([kind is CheckIn for kind in news.kinds])[news.kind]
        examples = news.value[come]
        if examples.size and not 0 < examples.min() <= examples.max() <= MAX_WEIGHT:
            return False
        before, now = self.pool.come_and_go(news.senders, come, news.value)
        self.known_weight += self._weight_of(now) - self._weight_of(before)
        return True

    def _weight_of(self, examples: npt.NDArray[np.int64]) -> int:
        """What clients with these numbers of examples weigh together."""
        if not examples.size:
            return 0
        numbers, counts = np.unique(examples, return_counts=True)
        weight = self.algorithm.weight
        return sum(weight(number) * count for number, count in zip(numbers.tolist(), counts.tolist(), strict=True))

    # The model.

    async def _begin(self, ctx: Context) -> None:
        key = ctx.random("model").integers(0, 2**32, size=2, dtype="uint32")
        self.server = dict(await ctx.compute(self.algorithm.init, key))
        self.empty = (await ctx.compute(exact_mean(1).init, self.template))["sum"]

    async def _collect(
        self, ctx: Context, exact: Aggregation, total: Payload, result: TrainResult, late: int
    ) -> Payload:
        """The sum with one more update, which is `late` versions old."""
        update, collect = result.update, self.algorithm.collect
        if collect is not None:
            slot = self.slots[result.sender]
            update = (await ctx.compute(collect, *present(self.server.get("kept")), update, slot, late))["update"]
        weight = self.algorithm.weight(result.examples)
        summed: Payload = (await ctx.compute(exact.accumulate, total, update, weight))["sum"]
        return summed

    async def _apply(self, ctx: Context, exact: Aggregation, total: Payload, tally: Tally) -> Payload:
        """Make the next model of a sum; returns what was counted in it."""
        found = await ctx.compute(exact.finish, total)
        count: Payload = found["count"]
        arguments = (*in_order(self.server), found["mean"], count, float(tally.weight))
        self.server = dict(await ctx.compute(self.algorithm.apply, *arguments))
        return count

    async def _ask_to_train(self, ctx: Context, tally: Tally, client: str, number: int) -> None:
        """Send a client the model; the first time it gets the next slot."""
        plan = self.plan
        self.slots.setdefault(client, len(self.slots))
        self.offers[client] = self.pool[client]
        # Those who have checked in are watched from here on, not all the time that they may be asked.
        ctx.watch(client)
        tally.selected += 1
        ctx.record(ParticipationRow(round=tally.number, client=client, event="selected"))
        request = TrainRequest(
            round=number,
            params=self.server["params"],
            shared=self.server.get("shared"),
            epochs=plan.local_epochs,
            learning_rate=plan.learning_rate,
            requirements=plan.requirements,
        )
        await ctx.send(client, request)

    # Who is there.

    async def _enrol(self, ctx: Context, number: int) -> None:
        """Take what has come meanwhile, and wait until enough clients are there."""
        try:
            while True:
                self._note(ctx, None, await ctx.receive(timeout=0.0))
        except DeadlineExceeded:
            pass
        try:
            async with ctx.deadline(self.plan.enrol_timeout_s):
                self.enrolling = True
                while len(self.pool) < self.plan.min_participants:
                    self._note(ctx, None, await ctx.receive())
                self.enrolling = False
                # At the start all join within moments: the first round is not for the quickest alone.
                while number == 1:
                    self._note(ctx, None, await ctx.receive(timeout=SETTLING_S))
        except DeadlineExceeded:
            self.enrolling = False

    def _tally(self, ctx: Context, number: int) -> Tally:
        """Begin to count."""
        return Tally(number=number, started_s=ctx.now, available=len(self.pool), weight=self.known_weight)

    def _admit(self, client: str, examples: int) -> None:
        """A client has so many examples; without any it is not asked to train."""
        before = self.pool.admit(client, examples) if examples else self.pool.forget(client)
        weight = self.algorithm.weight
        self.known_weight += weight(examples) - weight(before)

    def _is_short(self) -> bool:
        """Whether somebody who comes now could be asked at once."""
        return False

    def _listed(self, client: str) -> None:
        """A client has come into the pool or left it."""

    # What has come.

    def _note(self, ctx: Context, tally: Tally | None, message: Message) -> None:
        """Everything but a usable result."""
        raise NotImplementedError

    def _drop(self, ctx: Context, tally: Tally | None, client: str, why: str) -> None:
        """A client that was asked to train will not answer."""
        raise NotImplementedError

    def _note_others(self, ctx: Context, tally: Tally | None, message: Message) -> None:
        """What is not about a training."""
        sender = message.sender
        match message:
            case Join() | CheckIn() if not 0 <= message.examples <= MAX_WEIGHT:
                detail = f"joins with {message.examples} examples; 0 to {MAX_WEIGHT} are taken"
                ctx.record(ParticipationRow(round=0, client=sender, event="rejected", detail=detail))
            case Join():
                self._admit(sender, message.examples)
                if not message.examples:
                    detail = "joins without examples: it is not asked to train"
                    ctx.record(ParticipationRow(round=0, client=sender, event="empty", detail=detail))
                ctx.watch(sender)
                self.evaluating.pop(sender, None)
                self._drop(ctx, tally, sender, "it started anew")
            case CheckIn():
                self._admit(sender, message.examples)
                self._listed(sender)
            case CheckOut():
                self.pool.dismiss(sender)
                self._listed(sender)
            case PeerGone():
                self.pool.dismiss(message.peer)
                self.evaluating.pop(message.peer, None)
                self._drop(ctx, tally, message.peer, "its connection is gone")
            case EvaluateResult():
                self._evaluated(ctx, message)
            case ClientEvaluateResult():
                self._client_evaluated(ctx, message)

    def _fault(self, result: TrainResult) -> str | None:
        """Why an update cannot be used, if it cannot."""
        if dict(result.update.spec) != dict(self.algorithm.update):
            return "its update is not of the shape that the algorithm sends"
        if not 0 < result.examples <= self.offers[result.sender]:
            return f"it claims {result.examples} examples; it joined with {self.offers[result.sender]}"
        counts = 0 <= result.steps < 1 << 31 and 0 <= result.seconds < 1e12 and 0 <= result.state_bytes < 1 << 62
        if not has_scalars(result.metrics, "loss") or not counts:
            return "its report of the training is none"
        return None

    def _accept(self, ctx: Context, tally: Tally, result: TrainResult, staleness: int) -> None:
        """Count a usable result."""
        tally.examples += result.examples
        ctx.record(
            ClientRow(
                round=tally.number,
                client=result.sender,
                examples=result.examples,
                steps=result.steps,
                seconds=result.seconds,
                staleness=staleness,
                state_bytes=result.state_bytes,
                loss=result.metrics,
            )
        )

    def _decided(self, ctx: Context, tally: Tally, client: str, event: str, detail: str) -> None:
        setattr(tally, event, getattr(tally, event) + 1)
        ctx.record(ParticipationRow(round=tally.number, client=client, event=event, detail=detail))

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
                used=counts if counts is not None else 0,
                examples=tally.examples,
                outcome=outcome,
            )
        )

    # Evaluation.

    async def _ask_to_evaluate(self, ctx: Context, number: int) -> None:
        """After a round: the evaluator on the pooled examples, the clients on their own."""
        plan, params = self.plan, self.server["params"]
        self.result = params
        last = number == plan.rounds
        if self.evaluator is not None and (last or number % plan.eval_every == 0):
            await ctx.send(self.evaluator, EvaluateRequest(round=number, params=params))
            self.evaluations[number] = None
        every = plan.eval_clients_every
        if every is not None and (last or number % every == 0):
            for client in sorted(self.pool):
                request = ClientEvaluateRequest(round=number, params=params, requirements=plan.requirements)
                await ctx.send(client, request)
                self.evaluating.setdefault(client, {})[number] = None

    def _evaluated(self, ctx: Context, result: EvaluateResult) -> None:
        # A network that repeats itself must not make two results of one.
        if result.sender == self.evaluator and result.round in self.evaluations:
            del self.evaluations[result.round]
            metrics = result.metrics
            if not is_evaluation(metrics):
                return
            accuracy, error = scores(metrics)
            ctx.record(
                EvaluationRow(
                    round=result.round, examples=result.examples, accuracy=accuracy, loss=metrics, error=error
                )
            )

    def _client_evaluated(self, ctx: Context, result: ClientEvaluateResult) -> None:
        client, number = result.sender, result.round
        if number not in self.evaluating.get(client, {}):
            return
        del self.evaluating[client][number]
        if not self.evaluating[client]:
            del self.evaluating[client]
        found = {"global": result.metrics, "personal": result.personal}
        usable = [(model, metrics) for model, metrics in found.items() if metrics is not None]
        if result.metrics is None or not 0 < result.examples <= MAX_WEIGHT:
            detail = f"evaluation: {result.reason[:100] or 'no figures'}"
            ctx.record(ParticipationRow(round=number, client=client, event="not_evaluated", detail=detail))
            return
        if not all(is_evaluation(metrics) for _, metrics in usable):
            detail = "evaluation: its figures are none"
            ctx.record(ParticipationRow(round=number, client=client, event="not_evaluated", detail=detail))
            return
        for model, metrics in usable:
            accuracy, error = scores(metrics)
            ctx.record(
                ClientEvaluationRow(
                    round=number,
                    client=client,
                    model=model,
                    examples=result.examples,
                    accuracy=accuracy,
                    loss=metrics,
                    error=error,
                )
            )

    async def _await_evaluations(self, ctx: Context) -> None:
        """The job ends when the last models have been evaluated, or nobody answers any more."""
        try:
            while self.evaluations or self.evaluating:
                self._note(ctx, None, await ctx.receive(timeout=self.plan.enrol_timeout_s))
        except DeadlineExceeded:
            for client, number in [(client, number) for client, rounds in self.evaluating.items() for number in rounds]:
                detail = f"evaluation: no answer within {self.plan.enrol_timeout_s:g} s"
                ctx.record(ParticipationRow(round=number, client=client, event="not_evaluated", detail=detail))
