"""Runs a deployment in the simulator and keeps what was recorded in memory: for tests."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from core.actor import Message, News
from core.deployment import Deployment
from core.records.rows import MessageRow, Row
from sim.world import World


@dataclasses.dataclass
class SimulatedRun:
    """What a run recorded: `messages` in order of delivery, `rows` as (time_s, actor, row)."""

    ENCODE_BLOCK = 1 << 30

    rows: list[tuple[float, str, Row]] = dataclasses.field(default_factory=list)
    pending_messages: list[tuple[float, float, str, str, type[Message], int]] = dataclasses.field(default_factory=list)
    ended_s: float = 0.0

    def encode_messages(self) -> None:
        """Nothing to encode: all stays in memory as it is."""

    def encode_news(
        self,
        news: News,
        receiver: str,
        sent_s: npt.NDArray[np.float64],
        delivered_s: npt.NDArray[np.float64],
        sizes: npt.NDArray[np.int32],
    ) -> None:
        """Keep them as single messages."""
        senders = map(news.crowd.name, news.senders.tolist())
        kinds = (news.kinds[place] for place in news.kind.tolist())
        columns = sent_s.tolist(), delivered_s.tolist(), senders, kinds, sizes.tolist()
        for sent, at, sender, kind, size in zip(*columns, strict=True):
            self.pending_messages.append((sent, at, sender, receiver, kind, size))

    def flush_messages(self) -> None:
        """Nothing to flush."""

    def row(self, time_s: float, actor: str, row: Row) -> None:
        self.rows.append((time_s, actor, row))

    @property
    def messages(self) -> list[MessageRow]:
        """The delivered messages."""
        return [
            MessageRow(
                sent_s=sent, delivered_s=at, sender=sender, receiver=receiver, type=kind.__name__, size_bytes=size
            )
            for sent, at, sender, receiver, kind, size in self.pending_messages
        ]

    def of(self, kind: type[Row]) -> list[Any]:
        """The rows of one table."""
        return [row for _, _, row in self.rows if type(row) is kind]


def run_sim(deployment: Deployment, *, prepare: Callable[[World], None] | None = None) -> SimulatedRun:
    """Run a deployment to its end in the simulator. Raises `ActorFailed` or `Deadlock` as a run does.

    `prepare` sees the world before it begins, for SimPy processes of one's own.
    """
    from core.compute import Evaluator, Surrogate, Timing

    records = SimulatedRun()
    evaluator: Evaluator | Timing = Timing() if deployment.curves is None else Surrogate(deployment.curves)
    if deployment.fidelity == "train":
        evaluator = Evaluator(max_pending=deployment.max_pending, layout=deployment.layout)
    world = World(deployment, records, evaluator)
    if prepare is not None:
        prepare(world)
    try:
        world.run()
    finally:
        records.ended_s = world.env.now
    evaluator.finish()
    return records
