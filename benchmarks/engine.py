"""Messages per CPU second of the simulator beside its floors, and what a dormant actor weighs.

    python benchmarks/engine.py [--actors 100 1000 10000 100000] [--messages 200000] [--runs 5]

All contenders carry the same load: every actor holds one message at a time and forwards it to a pseudo-random
peer; half of the actors first ask a peer and wait for its answer, with a time-out that is overtaken. So of four
messages one is a request, one its answer and two are data of 50, 500 or 5,000 bytes. Every message is a fresh object.

- `aivsim`: the real `Context` with everything on: typed messages, exact wire size, links with latency and
  bandwidth, radio energy of devices with battery and heat, records with their hash, written to disk.
- `simpy`: idiomatic SimPy without those: a process and a `Store` for each actor, a process for each message that
  waits for the latency and puts it into the receiver's store; requests wait for `reply | timeout`.
- `callback`: SimPy's floor: a `Timeout` with a plain callback for each message, no actor.
- `heapq`: a bare heap of tuples, no actor.

Runs are interleaved and their medians compared: on a shared machine only ratios within one run mean something.
"""

from __future__ import annotations

import argparse
import gc
import heapq
import itertools
import statistics
import tempfile
import time
from collections.abc import Callable, Generator
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import simpy

from core.actor import Actor, Context, Message, Start
from core.deployment import Deployment, Placement
from core.devices import link, profile
from core.records import RunWriter
from sim.world import World

LATENCY_S = 0.02
TIMEOUT_S = 60.0
SIZES = (50, 500, 5000)
BLOBS = tuple(b"x" * size for size in SIZES)


def following(number: int) -> int:
    """The next pseudo-random number of a message."""
    return (number * 1103515245 + 12345) & 0x7FFFFFFF


# aivsim


class Data(Message, frozen=True, kw_only=True):
    number: int
    blob: bytes


class Ask(Message, frozen=True, kw_only=True):
    number: int
    blob: bytes


class Answer(Message, frozen=True, kw_only=True):
    number: int


class Server(Actor):
    """Answers and forwards."""

    accepts: ClassVar[tuple[type[Message], ...]] = (Start, Data, Ask)

    def __init__(self, index: int, names: list[str]) -> None:
        self.index = index
        self.names = names

    async def handle(self, ctx: Context, message: Message) -> None:
        if isinstance(message, Ask):
            await ctx.reply(message, Answer(number=message.number))
            return
        number = following(self.index if isinstance(message, Start) else message.number)  # type: ignore[attr-defined]
        await ctx.send(self.names[number % len(self.names)], Data(number=number, blob=BLOBS[number % 3]))


class Client(Server):
    """Asks a server before it forwards."""

    async def handle(self, ctx: Context, message: Message) -> None:
        number = following(self.index if isinstance(message, Start) else message.number)  # type: ignore[attr-defined]
        to = self.names[number % len(self.names) & ~1]
        answer = await ctx.request(to, Ask(number=number, blob=BLOBS[number % 3]), timeout=TIMEOUT_S)
        number = following(answer.number)  # type: ignore[attr-defined]
        await ctx.send(self.names[number % len(self.names)], Data(number=number, blob=BLOBS[number % 3]))


def run_aivsim(actors: int, messages: int) -> tuple[int, float]:
    """Delivered messages and CPU seconds."""
    names = [f"phone-{i}" for i in range(actors)]
    phone, wifi = profile("phone_mid"), link("wifi_home")
    with tempfile.TemporaryDirectory() as directory:
        writer = RunWriter(Path(directory))
        placements = tuple(
            Placement(name=name, make=partial(Client if i % 2 else Server, i, names), profile=phone, link=wifi)
            for i, name in enumerate(names)
        )
        deployment = Deployment(placements=placements, main="", messages=(Data, Ask, Answer))
        world = World(deployment, writer, None)  # type: ignore[arg-type]  # nothing is computed
        world.populate()
        began = time.process_time()
        until = 0.0
        while writer.message_count < messages:
            until += LATENCY_S
            world.env.run(until=until)
        spent = time.process_time() - began
        count = writer.message_count
        for node in world.nodes.values():
            if node.cell is not None:
                node.cell.kill()
        writer.close()
    return count, spent


# Idiomatic SimPy


class Letter:
    __slots__ = ("blob", "number", "reply")

    def __init__(self, number: int, blob: bytes, reply: simpy.Event | None = None) -> None:
        self.number = number
        self.blob = blob
        self.reply = reply


def run_simpy(actors: int, messages: int) -> tuple[int, float]:
    """Delivered messages and CPU seconds."""
    env = simpy.Environment()
    inboxes = [simpy.Store(env) for _ in range(actors)]
    delivered = 0
    over = env.event()

    def count() -> None:
        nonlocal delivered
        delivered += 1
        if delivered == messages:
            over.succeed()

    def post(inbox: simpy.Store, letter: Letter) -> Generator[simpy.Event, Any, None]:
        yield env.timeout(LATENCY_S)
        yield inbox.put(letter)
        count()

    def answer(letter: Letter) -> Generator[simpy.Event, Any, None]:
        yield env.timeout(LATENCY_S)
        assert letter.reply is not None
        letter.reply.succeed(letter.number)
        count()

    def actor(index: int) -> Generator[simpy.Event, Any, None]:
        number = index
        while True:
            number = following(number)
            if index % 2:
                reply = env.event()
                letter = Letter(number, BLOBS[number % 3], reply)
                env.process(post(inboxes[number % actors & ~1], letter))
                result = yield reply | env.timeout(TIMEOUT_S)
                number = following(result[reply])
            env.process(post(inboxes[number % actors], Letter(number, BLOBS[number % 3])))
            while True:
                letter = yield inboxes[index].get()
                if letter.reply is None:
                    break
                env.process(answer(letter))
            number = letter.number

    for index in range(actors):
        env.process(actor(index))
    began = time.process_time()
    env.run(until=over)
    return delivered, time.process_time() - began


# Floors


def run_callback(actors: int, messages: int) -> tuple[int, float]:
    """Timeouts and CPU seconds."""
    env = simpy.Environment()
    left = messages
    over = env.event()

    def happen(event: simpy.Event) -> None:
        nonlocal left
        left -= 1
        if left == 0:
            over.succeed()
        number = following(event.value)
        again = env.timeout(LATENCY_S * (1 + number % 7), number)
        again.callbacks.append(happen)

    for index in range(actors):
        first = env.timeout(0, index)
        first.callbacks.append(happen)
    began = time.process_time()
    env.run(until=over)
    return messages, time.process_time() - began


def run_heapq(actors: int, messages: int) -> tuple[int, float]:
    """Entries and CPU seconds."""
    counter = itertools.count()
    queue = [(0.0, 1, next(counter), index) for index in range(actors)]
    pop, push = heapq.heappop, heapq.heappush
    began = time.process_time()
    for _ in range(messages):
        now, _, _, number = pop(queue)
        number = following(number)
        push(queue, (now + LATENCY_S * (1 + number % 7), 1, next(counter), number))
    return messages, time.process_time() - began


CONTENDERS: dict[str, Callable[[int, int], tuple[int, float]]] = {
    "aivsim": run_aivsim,
    "simpy": run_simpy,
    "callback": run_callback,
    "heapq": run_heapq,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--actors", type=int, nargs="+", default=[100, 1000, 10_000, 100_000])
    parser.add_argument("--messages", type=int, default=200_000, help="at least so many, and four an actor")
    parser.add_argument("--runs", type=int, default=5)
    arguments = parser.parse_args()
    print(f"thousand messages per CPU second, medians of {arguments.runs} interleaved runs")
    print(f"{'actors':>8}" + "".join(f"{name:>10}" for name in CONTENDERS) + f"{'aivsim/simpy':>14}")
    cost: dict[int, float] = {}
    for actors in arguments.actors:
        rates: dict[str, list[float]] = {name: [] for name in CONTENDERS}
        for _ in range(arguments.runs):
            for name, contender in CONTENDERS.items():
                gc.collect()
                count, spent = contender(actors, max(arguments.messages, 4 * actors))
                rates[name].append(count / spent / 1e3)
        medians = {name: statistics.median(values) for name, values in rates.items()}
        cost[actors] = 1e3 / medians["aivsim"]
        ratio = statistics.median(a / s for a, s in zip(rates["aivsim"], rates["simpy"], strict=True))
        print(
            f"{actors:>8}" + "".join(f"{medians[name]:>10.1f}" for name in CONTENDERS) + f"{ratio:>14.2f}", flush=True
        )
    print("µs a message: " + ", ".join(f"{actors}: {us:.2f}" for actors, us in cost.items()))


if __name__ == "__main__":
    main()
