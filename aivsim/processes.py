"""What processes on one machine cost beside their work: a core's time for a message at each end, and for a job.

One actor asks many others, each a process, all at once and again and again, as a round of training does; every process
reads its own processor time (all its threads, getrusage(2)), so that what others do on the machine counts as little as
possible. A job is a client's training as a scenario has it; what a job takes beside its steps is what it takes here
less the steps of `aivsim.profile`, which follow each other while caches are warm.

Behind emulated links small messages are measured once more: their packets take another way through the kernel, and the
relay that carries them has its time from the same cores.
"""

from __future__ import annotations

import asyncio
import dataclasses
import math
import os
import time
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Final, TypeAlias

import numpy as np
import numpy.typing as npt

from core.actor import Actor, ArrayDict, Context, Message, Payload
from core.deployment import Deployment, Placement
from core.devices import Host
from core.devices import profile as device_class
from core.links import Link
from core.records.rows import HostLinkRow
from core.scenario import Scenario, load
from core.scenario.load import dumps

#: Processes that are asked at most: what a message takes hardly depends on how many more there are.
MOST: Final = 16
#: Bytes of what a message's bytes are measured with.
LOAD_BYTES: Final = 1 << 18
#: Rounds of each kind that are measured, and before: connections are open and programs compiled then.
ROUNDS: Final = 40
WARM_ROUNDS: Final = 5
#: Pause between rounds, s: as while messages are on their way, processes sleep and others have the caches.
PAUSE_S: Final = 0.02
#: Seconds that an answer may take: the first job is compiled in every process.
PATIENCE_S: Final = 300.0
#: Packets of a small message, with that which acknowledges it; and of each byte of a larger one, of which every other
#: full packet is acknowledged.
SMALL_PACKETS: Final = 2
BYTE_PACKETS: Final = 1.5 / 1448
#: What is asked: a small answer, one with arrays, or one after a job.
SMALL, LOADED, WORKED = "small", "loaded", "worked"
ASKING: Final = "asking"
Call: TypeAlias = tuple[Any, ...]
Times: TypeAlias = npt.NDArray[np.float64]


class Question(Message, frozen=True, kw_only=True):
    """Asks for an answer of a kind."""

    kind: str
    load: Payload | None = None


class Answer(Message, frozen=True, kw_only=True):
    """The answer, and the processor time of its process so far, s."""

    cpu_s: float
    load: Payload | None = None


class Answering(Actor):
    """Answers, as it is asked to."""

    accepts: ClassVar[tuple[type[Message], ...]] = (Question,)

    def __init__(self, call: Call) -> None:
        self._call = call

    async def handle(self, ctx: Context, message: Message) -> None:
        assert isinstance(message, Question)
        if message.kind == WORKED:
            await ctx.compute(*self._call)
        await ctx.send(message.sender, Answer(cpu_s=time.process_time(), load=message.load))


class Asking(Actor):
    """Asks all others at once, in rounds; its `result` is the processor time of a round by kind: its own, theirs."""

    accepts: ClassVar[tuple[type[Message], ...]] = (Answer,)

    def __init__(self, names: tuple[str, ...], kinds: tuple[str, ...]) -> None:
        self._names = names
        self._kinds = kinds
        self.result: Payload | None = None

    async def run(self, ctx: Context) -> None:
        found = {}
        for kind in self._kinds:
            began_s = await self._rounds(ctx, kind, WARM_ROUNDS)
            found[kind] = (await self._rounds(ctx, kind, ROUNDS) - began_s) / ROUNDS
        self.result = ArrayDict(found)

    async def _rounds(self, ctx: Context, kind: str, count: int) -> Times:
        """The processor times after so many rounds: this process's, and each other's at its last answer."""
        arrays = ArrayDict({"x": np.ones(LOAD_BYTES // 4, np.float32)}) if kind == LOADED else None
        times: dict[str, float] = {}
        for _ in range(count):
            await ctx.sleep(PAUSE_S)
            for name in self._names:
                await ctx.send(name, Question(kind=kind, load=arrays))
            for _ in self._names:
                answer = await ctx.receive(timeout=PATIENCE_S)
                assert isinstance(answer, Answer)
                times[answer.sender] = answer.cpu_s
        return np.array([time.process_time(), *(times[name] for name in self._names)])


def training(scenario: Scenario) -> Call:
    """A client's training as the scenario asks for it: a function and its arguments.

    Raises `ValueError` and `OSError` as the building of the scenario does.
    """
    from core.compute import Eager
    from core.scenario.build import study

    built = study(scenario)
    # The client with as many examples as half of the others have.
    clients = np.argsort(built.federation.sizes()[: scenario.device_count], kind="stable")
    shard = built.federation.own_shard(int(clients[len(clients) // 2]))
    key = np.zeros(2, np.uint32)
    params = Eager(scenario.numerics.layout).run(built.algorithm.init, (key,))["params"]
    return (
        built.algorithm.local_update,
        params,
        shard,
        scenario.training.local_epochs,
        scenario.training.learning_rate,
        key,
    )


def deployment(text: str) -> Deployment:
    """One that asks and so many that answer, with the training of a scenario's file.

    `text` is COUNT:LINKS:FILE; LINKS is `emulated` for small messages over emulated links, else `local`.
    """
    count, links, file = text.split(":", 2)
    emulated = links == "emulated"
    call = training(load(file))
    link = Link("loopback", "ethernet", 0.0, 1e9, 1e9)

    def place(name: str, make: Callable[[], Actor]) -> Placement:
        return Placement(name=name, make=make, profile=device_class("server"), link=link)

    names = tuple(f"answering-{number}" for number in range(int(count)))
    return Deployment(
        placements=(
            place(ASKING, lambda: Asking(names, (SMALL,) if emulated else (SMALL, LOADED, WORKED))),
            *(place(name, lambda: Answering(call)) for name in names),
        ),
        main=ASKING,
        messages=(Question, Answer),
        device_mode="host",
        emulate_links=emulated,
    )


def measure(scenario: Scenario, name: str, job_s: float, *, emulated: bool) -> Host:
    """This machine as a host of so many devices as a round of the scenario has; `job_s`: the training alone, s.

    With `emulated` messages are those of a run behind emulated links. Raises `LaunchError`.
    """
    asked = min(math.ceil(scenario.max_participants * scenario.training.over_selection), scenario.device_count)
    count = min(asked, MOST)
    times, _ = _exchange(scenario, count, "local")
    found = host(name, times, job_s)
    return behind_links(found, *_exchange(scenario, count, "emulated")) if emulated else found


def _exchange(scenario: Scenario, count: int, links: str) -> tuple[Mapping[str, Times], float]:
    """The processor times of rounds with so many processes, and the relay's for a packet, s."""
    from core.records import RunWriter
    from core.records.store import read_parts
    from real_runtime.launcher import run
    from real_runtime.scratch import scratch_folder

    with scratch_folder() as directory:
        file = directory / "scenario.yaml"
        file.write_text(dumps(scenario))
        text = f"{count}:{links}:{file}"
        writer = RunWriter(directory)
        arguments = ["--deployment", f"{deployment.__module__}:{deployment.__name__}:{text}"]
        try:
            outcome = asyncio.run(
                run(deployment(text), node_arguments=arguments, processes=count + 1, directory=directory, writer=writer)
            )
        finally:
            writer.close()
        packets, relay_s = 0, 0.0
        for part in read_parts(directory, HostLinkRow.table):
            packets += sum(part["packets"].to_pylist())
            relay_s += sum(part["relay_s"].to_pylist())
    assert outcome.model is not None
    return outcome.model, relay_s / max(packets, 1)


def behind_links(found: Host, times: Mapping[str, Times], packet_s: float) -> Host:
    """A host with what messages take behind emulated links: by rounds of small ones, and the relay's for a packet, s.

    Both ends of a message share its packets.
    """
    return dataclasses.replace(
        found,
        message_s=_end_s(times[SMALL]) + 0.5 * SMALL_PACKETS * packet_s,
        byte_s=found.byte_s + 0.5 * BYTE_PACKETS * packet_s,
    )


def _end_s(times: Times) -> float:
    """Of a message at one end: a round has two to and from each process, with two ends each."""
    own_s, others_s = times[0], times[1:]
    return float(own_s + others_s.sum()) / (4 * len(others_s))


def host(name: str, times: Mapping[str, Times], job_s: float) -> Host:
    """The host that processor times of rounds tell of, those of `Asking`; `job_s`: the training alone, s."""
    message_s = _end_s(times[SMALL])
    worked_s = float((times[WORKED][1:] - times[SMALL][1:]).mean())
    return Host(
        name,
        cores=float(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1),
        job_s=max(worked_s - job_s, 0.0),
        message_s=message_s,
        byte_s=max(_end_s(times[LOADED]) - message_s, 0.0) / LOAD_BYTES,
    )
