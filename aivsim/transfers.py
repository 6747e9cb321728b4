"""Messages of known sizes from one or several senders to one receiver, timed by the actors themselves in both worlds.

The receiver asks one sender, or several, for a load at one and the same time, and records how long each took from the
sender's `send` until it had it. Between two transfers it rests, so that TCP's windows have fallen back when the next
begins, as they have in a round of training after the clients' computing. The first load of each sender finds no
connection yet. Senders either share the receiver's link, or are each alone: then the receiver's link carries what all
of theirs do together, and one step times as many transfers that know nothing of each other.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated, ClassVar, Final

import msgspec
import numpy as np
from msgspec import Meta

from core.actor import Actor, ArrayDict, Context, Message, Payload
from core.deployment import Deployment, Placement
from core.devices import profile
from core.links import Link
from core.network import IDEAL, Network, Transport
from core.records import RunWriter
from core.records.rows import Row
from core.records.store import read_parts
from core.wire import frame_size

RECEIVER: Final = "receiver"
#: Senders begin this long after the asking, and two round trips: all have heard by then, mostly also after a loss, s.
LEAD_S: Final = 0.3
#: Senders that are each alone begin so long after one another, so that they do not all want the processor at once, s.
APART_S: Final = 0.05
#: Frames may be as large as a load and what stands around it.
LARGEST_BYTES: Final = 1 << 30


class Route(msgspec.Struct, frozen=True):
    """What lies between any sender and the receiver: the rate of every link, the one-way delay and the loss in all."""

    rate_bytes_per_s: float
    delay_s: float
    loss: float


class Step(msgspec.Struct, frozen=True):
    """Loads of one size from the first `senders` senders at once."""

    size_bytes: int
    senders: int


class Plan(msgspec.Struct, frozen=True):
    """One run: the route, what is sent over it in order, and the rest before each step."""

    route: Route
    steps: tuple[Step, ...]
    rest_s: float
    seed: int = 0
    congestion: str = "cubic"
    #: Whether the senders share the receiver's link; else each is alone on its way.
    shared: bool = True

    @property
    def senders(self) -> int:
        """How many senders the steps need."""
        return max(step.senders for step in self.steps)

    @property
    def receiver_bytes_per_s(self) -> float:
        """The rate of the receiver's link."""
        return self.route.rate_bytes_per_s * (1 if self.shared else self.senders)


class Ask(Message, frozen=True, kw_only=True):
    """Send a load of so many bytes at a time of the study."""

    step: int
    start_s: float
    size_bytes: int


class Load(Message, frozen=True, kw_only=True):
    """Bytes on the bulk stream."""

    step: int
    sent_s: float
    data: Payload


class Note(Message, frozen=True, kw_only=True):
    """A small message on the control stream."""

    step: int
    sent_s: float


class TransferRow(Row, frozen=True, kw_only=True):
    """One load, as its receiver timed it."""

    table: ClassVar[str] = "transfers"
    step: Annotated[int, Meta(description="Which step of the plan; -1 for the first load of a sender.")]
    sender: Annotated[str, Meta(description="The actor that sent it.")]
    size_bytes: Annotated[int, Meta(description="Bytes of the load; 0 for a message of the control stream.")]
    frame_bytes: Annotated[int, Meta(description="Bytes of its frame.")]
    seconds: Annotated[float, Meta(description="From its sender's `send` to its receiver, s of the study.")]


class Sender(Actor):
    """Sends what it is asked for: a load, and for no bytes a note."""

    accepts: ClassVar[tuple[type[Message], ...]] = (Ask,)

    async def handle(self, ctx: Context, message: Message) -> None:
        assert isinstance(message, Ask)
        await ctx.sleep(max(message.start_s - ctx.now, 0.0))
        if message.size_bytes == 0:
            await ctx.send(message.sender, Note(step=message.step, sent_s=ctx.now))
            return
        data = ArrayDict({"x": np.zeros(message.size_bytes, np.uint8)})
        await ctx.send(message.sender, Load(step=message.step, sent_s=ctx.now, data=data))


class Receiver(Actor):
    """Asks for the loads of a plan, one step after the other, and times them."""

    accepts: ClassVar[tuple[type[Message], ...]] = (Load, Note)

    def __init__(self, plan: Plan) -> None:
        self.plan = plan

    async def run(self, ctx: Context) -> None:
        # The first of each sender makes the connections.
        await self._step(ctx, -1, Step(1, self.plan.senders))
        for number, step in enumerate(self.plan.steps):
            await ctx.sleep(self.plan.rest_s)
            await self._step(ctx, number, step)

    async def _step(self, ctx: Context, number: int, step: Step) -> None:
        start_s = ctx.now + LEAD_S + 4 * self.plan.route.delay_s
        apart_s = 0.0 if self.plan.shared else APART_S
        for sender in range(step.senders):
            ask = Ask(step=number, start_s=start_s + sender * apart_s, size_bytes=step.size_bytes)
            await ctx.send(sender_name(sender), ask)
        for _ in range(step.senders):
            message = await ctx.receive()
            assert isinstance(message, Load | Note)
            ctx.record(
                TransferRow(
                    step=message.step,
                    sender=message.sender,
                    size_bytes=message.data.nbytes if isinstance(message, Load) else 0,
                    frame_bytes=frame_size(ctx.name, message),
                    seconds=ctx.now - message.sent_s,
                )
            )


def sender_name(number: int) -> str:
    """The actor's name."""
    return f"sender-{number}"


def deployment(text: str) -> Deployment:
    """The deployment of a plan, which is given as JSON so that every node can build it."""
    plan = msgspec.json.decode(text, type=Plan)
    route = plan.route

    def place(name: str, actor: Actor, rate: float, loss: float) -> Placement:
        link = Link("path", "ethernet", route.delay_s / 2, up_bytes_per_s=rate, down_bytes_per_s=rate, loss=loss)
        return Placement(name=name, make=lambda: actor, profile=profile("server"), link=link)

    rate = route.rate_bytes_per_s
    senders = (place(sender_name(number), Sender(), rate, route.loss) for number in range(plan.senders))
    return Deployment(
        placements=(place(RECEIVER, Receiver(plan), plan.receiver_bytes_per_s, 0.0), *senders),
        main=RECEIVER,
        messages=(Ask, Load, Note),
        seed=plan.seed,
        max_frame_bytes=LARGEST_BYTES,
        emulate_links=True,
        congestion=plan.congestion,
    )


def simulate(plan: Plan, transport: Transport = IDEAL) -> list[TransferRow]:
    """Run a plan in the simulator, with such a transport."""
    from sim.testing import run_sim

    made = deployment(msgspec.json.encode(plan).decode())
    return run_sim(dataclasses.replace(made, network=Network(transport=transport))).of(TransferRow)


async def measure(plan: Plan) -> list[TransferRow]:
    """Run a plan on sockets, over emulated links. Raises `LaunchError`."""
    from real_runtime.launcher import run
    from real_runtime.scratch import scratch_folder

    text = msgspec.json.encode(plan).decode()
    with scratch_folder() as directory:
        writer = RunWriter(directory)
        try:
            await run(
                deployment(text),
                node_arguments=["--deployment", f"aivsim.transfers:deployment:{text}"],
                processes=1,
                directory=directory,
                writer=writer,
            )
        finally:
            writer.close()
        return rows(directory)


def rows(directory: Path) -> list[TransferRow]:
    """The transfers that a run has recorded, in order."""
    names = TransferRow.__struct_fields__
    found = [row for part in read_parts(directory, TransferRow.table) for row in part.to_pylist()]
    return [TransferRow(**{name: row[name] for name in names}) for row in found]
