"""Coordinates asynchronous training: clients train all the time, a new model is made of every few results.

As in FedBuff (Nguyen et al., AISTATS 2022, Algorithm 1): a constant number of clients is kept training; who has
answered, or did not within the deadline, is replaced by another one drawn at random (who gave nothing usable is not
asked again before the next version, which is given up when nobody is left to ask); `buffer` results make a new
version of the model. Staleness is the number of versions since the one that a client was sent. What the records call
a round is the time between two versions; a client may be selected in one and answer in a later one.
"""

from __future__ import annotations

from typing import NamedTuple

from core.actor import Context, Crowd, DeadlineExceeded, Message, News
from core.aggregation import exact_mean
from core.learning import Algorithm
from core.records import ParticipationRow
from core.roles.job import Job, Tally, TrainingPlan
from core.roles.messages import RoundOver, TrainAccepted, TrainDeclined, TrainResult


class Asked(NamedTuple):
    """What a client that trains was asked: the request's number, the version of the model, and when."""

    number: int
    version: int
    at_s: float


class AsyncCoordinator(Job):
    """Makes as many versions of the model as the plan has rounds."""

    def __init__(
        self, algorithm: Algorithm, plan: TrainingPlan, evaluator: str | None, crowd: Crowd | None = None
    ) -> None:
        super().__init__(algorithm, plan, evaluator, crowd)
        if algorithm.buffer is None:
            raise ValueError(f"{algorithm.name} is not asynchronous: it has no buffer")
        self.buffer = algorithm.buffer
        #: Clients that train, in the order in which they were asked.
        self.training: dict[str, Asked] = {}
        #: Those who could be asked, and where in the list they stand.
        self.idle: list[str] = []
        self.places: dict[str, int] = {}
        #: Those who gave no usable result since the last version; they are not asked again before the next.
        self.resting: list[str] = []
        self.requests = 0
        self.version = 0

    async def run(self, ctx: Context) -> None:
        await self._begin(ctx)
        await self._enrol(ctx, 1)
        self.idle = sorted(self.pool)
        self.places = {client: place for place, client in enumerate(self.idle)}
        for number in range(1, self.plan.rounds + 1):
            await self._next_version(ctx, number)
            await self._ask_to_evaluate(ctx, number)
        for client, asked in self.training.items():
            ctx.record(
                ParticipationRow(round=self.plan.rounds, client=client, event="late", detail="the job has ended")
            )
            await ctx.send(client, RoundOver(round=asked.number))
        self.training = {}
        await self._await_evaluations(ctx)

    async def _next_version(self, ctx: Context, number: int) -> None:
        tally = self._tally(ctx, number)
        for client in self.resting:
            self._stand_by(client)
        self.resting = []
        exact = exact_mean(self.buffer)
        total = self.empty
        while tally.accepted < self.buffer:
            await self._fill(ctx, tally)
            try:
                message = await ctx.receive(timeout=max(self._patience_s(tally) - ctx.now, 0.0))
            except DeadlineExceeded:
                if not self.training:
                    self._close(ctx, tally, "abandoned")
                    return
                await self._give_up(ctx, tally)
                continue
            if not (isinstance(message, TrainResult) and self._is_awaited(message)):
                self._note(ctx, tally, message)
                continue
            staleness = self.version - self.training[message.sender].version
            if self._is_usable(ctx, tally, message, staleness):
                total = await self._collect(ctx, exact, total, message, staleness)
        counts = await self._apply(ctx, exact, total, tally)
        self.version += 1
        self._close(ctx, tally, "aggregated", counts)

    async def _fill(self, ctx: Context, tally: Tally) -> None:
        """Ask others to train, drawn from those who are idle, until as many train as there are places."""
        while self.idle and len(self.training) < self.plan.max_participants:
            self.requests += 1
            client = self.idle[int(ctx.random("selection", self.requests).integers(len(self.idle)))]
            self._leave_list(client)
            self.training[client] = Asked(self.requests, self.version, ctx.now)
            await self._ask_to_train(ctx, tally, client, self.requests)

    def absorb_all(self, news: News) -> bool:
        # Who is drawn hangs on the order in which they came to the list.
        return False

    def _is_short(self) -> bool:
        return len(self.training) < self.plan.max_participants

    def _listed(self, client: str) -> None:
        if client in self.pool:
            self._stand_by(client)
        else:
            self._leave_list(client)

    def _stand_by(self, client: str) -> None:
        """A client that is there and does not train could be asked."""
        if client in self.pool and client not in self.training and client not in self.places:
            self.places[client] = len(self.idle)
            self.idle.append(client)

    def _leave_list(self, client: str) -> None:
        """Take a client off the list, in constant time: the last one takes its place."""
        place = self.places.pop(client, None)
        if place is not None:
            last = self.idle.pop()
            if last != client:
                self.idle[place] = last
                self.places[last] = place

    def _patience_s(self, tally: Tally) -> float:
        """When the first of those that train is too late; if nobody does, when this version is given up."""
        first = next(iter(self.training.values()), None)
        return (tally.started_s if first is None else first.at_s) + self.plan.deadline_s

    async def _give_up(self, ctx: Context, tally: Tally) -> None:
        """The client that has trained longest is too late."""
        client, asked = next(iter(self.training.items()))
        self._decide(ctx, tally, client, "late", f"no result within {self.plan.deadline_s:g} s")
        await ctx.send(client, RoundOver(round=asked.number))

    def _is_awaited(self, message: TrainAccepted | TrainDeclined | TrainResult) -> bool:
        """Whether a client that trains speaks of what it was last asked."""
        asked = self.training.get(message.sender)
        return asked is not None and asked.number == message.round

    def _is_usable(self, ctx: Context, tally: Tally, result: TrainResult, staleness: int) -> bool:
        fault = self._fault(result)
        if fault is not None:
            self._decide(ctx, tally, result.sender, "rejected", fault)
            return False
        self._decide(ctx, tally, result.sender, "accepted", "")
        self._accept(ctx, tally, result, staleness)
        return True

    def _decide(self, ctx: Context, tally: Tally, client: str, event: str, detail: str) -> None:
        del self.training[client]
        if event == "accepted":
            self._stand_by(client)
        else:
            self.resting.append(client)
        self._decided(ctx, tally, client, event, detail)

    def _drop(self, ctx: Context, tally: Tally | None, client: str, why: str) -> None:
        if tally is not None and client in self.training:
            self._decide(ctx, tally, client, "lost", why)
        else:
            self._listed(client)
        if client not in self.pool:
            self._leave_list(client)

    def _note(self, ctx: Context, tally: Tally | None, message: Message) -> None:
        sender = message.sender
        match message:
            case TrainDeclined() if tally is not None and self._is_awaited(message):
                self._decide(ctx, tally, sender, "declined", message.reason)
            case TrainAccepted() if tally is not None and self._is_awaited(message):
                ctx.record(ParticipationRow(round=tally.number, client=sender, event="training"))
            case TrainResult():
                number = self.plan.rounds if tally is None else tally.number
                ctx.record(ParticipationRow(round=number, client=sender, event="unused"))
            case _:
                self._note_others(ctx, tally, message)
