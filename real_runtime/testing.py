"""Runs a deployment over real TLS sockets of the loopback interface, within one process and loop: for tests."""

from __future__ import annotations

import asyncio
import dataclasses
import socket
import tempfile
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from core.actor import Message
from core.deployment import Deployment
from core.records.rows import MessageRow, Row
from real_runtime import credentials
from real_runtime.book import Book, Entry
from real_runtime.place import residents
from real_runtime.processor import Processor
from real_runtime.world import World


class Recorded(NamedTuple):
    """A row, with when and by which actor it was recorded."""

    time_s: float
    actor: str
    row: Row


@dataclasses.dataclass
class MemoryRecords:
    """Records kept in memory, in the order in which they were written."""

    rows: list[Recorded] = dataclasses.field(default_factory=list)
    messages: list[MessageRow] = dataclasses.field(default_factory=list)

    def message(
        self, sent_s: float, delivered_s: float, sender: str, receiver: str, kind: type[Message], size_bytes: int
    ) -> None:
        """A delivered message."""
        self.messages.append(
            MessageRow(
                sent_s=sent_s,
                delivered_s=delivered_s,
                sender=sender,
                receiver=receiver,
                type=kind.__name__,
                size_bytes=size_bytes,
            )
        )

    def row(self, time_s: float, actor: str, row: Row) -> None:
        """A row of any other table."""
        self.rows.append(Recorded(time_s, actor, row))

    def of(self, kind: type[Row]) -> list[Recorded]:
        """The rows of one table, with when and by which actor they were recorded."""
        return [recorded for recorded in self.rows if type(recorded.row) is kind]


def local_nodes(
    directory: Path, nodes: Mapping[str, Iterable[str]], run: str = "test"
) -> tuple[Book, dict[str, socket.socket]]:
    """Credentials in `directory`, an address book and bound sockets for nodes on the loopback interface."""
    prints = credentials.create(directory, nodes)
    sockets = {node: socket.create_server(("127.0.0.1", 0)) for node in nodes}
    entries = {
        node: Entry("127.0.0.1", sockets[node].getsockname()[1], prints[node], tuple(actors))
        for node, actors in nodes.items()
    }
    return Book(run, entries), sockets


async def run_nodes(
    deployment: Deployment,
    nodes: Mapping[str, Iterable[str]],
    directory: Path,
    records: MemoryRecords,
    *,
    beside: Callable[[Book, dict[str, World]], Awaitable[None]] | None = None,
    absent: Collection[str] = (),
    silence_s: float | None = None,
) -> dict[str, World]:
    """Run nodes with these actors in this loop, except those that stand in the book but are `absent`.

    `beside` runs meanwhile, and sees the nodes' worlds. Raises what the main actor's node raises.
    """
    book, sockets = local_nodes(directory, nodes)
    processor = Processor(deployment.layout)
    try:
        worlds = {
            node: World(
                deployment,
                node=node,
                book=book,
                credentials=directory,
                records=records,
                processor=processor,
                silence_s=silence_s,
            )
            for node in book.nodes
            if node not in absent
        }
        tasks = [asyncio.ensure_future(world.run(sockets[node])) for node, world in worlds.items()]
        if beside is not None:
            tasks.append(asyncio.ensure_future(beside(book, worlds)))
        outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    finally:
        processor.close()
        for listener in sockets.values():
            listener.close()
    main = list(worlds).index(book.node_of()[deployment.main])
    for outcome in (outcomes[main], *outcomes):
        if isinstance(outcome, BaseException):
            raise outcome
    return worlds


def run_real(deployment: Deployment) -> MemoryRecords:
    """Run a deployment to its end, every actor in a node of its own; returns what was recorded.

    Raises `RunFailed` as a run of several processes does; `__cause__` is the actor's exception.
    """
    nodes = {f"n{number}": [resident.placement.name] for number, resident in enumerate(residents(deployment))}
    records = MemoryRecords()
    with tempfile.TemporaryDirectory() as directory:
        asyncio.run(run_nodes(deployment, nodes, Path(directory), records))
    return records
