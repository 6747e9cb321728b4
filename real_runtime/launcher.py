"""Runs a study on this machine: one process a node, with credentials and ports of their own, from start to clean end.

Each node gets a socket that is listening already (so that no port is lost between choosing and using it), a session of
its own, and a pipe as standard input: when the pipe closes, because the launcher wants the end or is gone, the node
ends. A node that dies while the run goes on is lost, and the run goes on; the run ends with the node of the main actor.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import os
import shutil
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy.typing as npt

import real_runtime
from core.deployment import Deployment
from core.records import RunWriter, load_model, merge
from core.records.manifest import MODEL
from real_runtime import credentials
from real_runtime.book import Book, Entry
from real_runtime.emulation.namespace import EmulationUnavailable
from real_runtime.emulation.wiring import MOST_NODES, RelayFailed, Wiring
from real_runtime.failures import LaunchError
from real_runtime.place import residents
from real_runtime.progress import BEGUN, Progress
from real_runtime.scratch import scratch_folder
from real_runtime.world import PATIENCE_S

LOOPBACK: Final = "127.0.0.1"
#: How long nodes may take to say goodbye, s, before they are killed.
GRACE_S: Final = 8.0
#: Wall seconds for each node of an emulated network to start in: they are many for few cores (estimate).
START_S: Final = 10.0
#: Lines of a failed node's log that are shown.
LOG_LINES: Final = 20


@dataclasses.dataclass(frozen=True)
class Outcome:
    """A run that has ended as it should."""

    #: The actors of each node.
    nodes: dict[str, tuple[str, ...]]
    #: Nodes that did not live to the end.
    lost: tuple[str, ...]
    #: What the main actor has left as its `result`, if it did.
    model: dict[str, npt.NDArray[Any]] | None
    wall_s: float


@dataclasses.dataclass
class _Node:
    name: str
    process: asyncio.subprocess.Process
    log: Path
    on_progress: Callable[[Progress], None] | None
    #: Called with the monotonic clock's time at which the study began.
    on_begun: Callable[[float], None] | None = None
    begun: bool = False
    watch: asyncio.Task[None] = dataclasses.field(init=False)

    def __post_init__(self) -> None:
        self.watch = asyncio.get_running_loop().create_task(self._watch())

    async def _watch(self) -> None:
        """Pass the node's lines on until it ends."""
        stdout = self.process.stdout
        assert stdout is not None
        while line := await stdout.readline():
            progress = msgspec.json.decode(line, type=Progress)
            if progress.table == BEGUN:
                self.begun = True
                if self.on_begun is not None:
                    self.on_begun(float(progress.row["origin_s"] or 0.0))
            elif self.on_progress is not None:
                self.on_progress(progress)
        await self.process.wait()


@dataclasses.dataclass(frozen=True)
class _Seat:
    """Where a node listens; with an emulated link, in which network namespace."""

    listener: socket.socket
    host: str
    namespace_fd: int | None = None


def partition(deployment: Deployment, processes: int) -> dict[str, tuple[str, ...]]:
    """Actors by node: the main actor in `n0`, the others dealt out in order, beginning after it."""
    if processes < 1:
        raise ValueError(f"processes is at least 1, not {processes}")
    names = [resident.placement.name for resident in residents(deployment)]
    others = [name for name in names if name != deployment.main]
    count = min(processes, len(others) + 1)
    hosted: dict[str, list[str]] = {f"n{number}": [] for number in range(count)}
    hosted["n0"].append(deployment.main)
    for place, name in enumerate(others):
        hosted[f"n{(place + 1) % count}"].append(name)
    return {node: tuple(actors) for node, actors in hosted.items()}


async def run(
    deployment: Deployment,
    *,
    node_arguments: Sequence[str],
    processes: int,
    directory: Path,
    writer: RunWriter,
    on_progress: Callable[[Progress], None] | None = None,
) -> Outcome:
    """Run a deployment in `processes` processes; `node_arguments` (of `real_runtime.node`) let them build the same one.
    With emulated links there is one for each actor.

    `directory/nodes` keeps a log of each node; the records of all go to `writer`, also if the run fails or is
    cancelled, before which all nodes have ended. Raises `LaunchError`, and `RecordsError` if records cannot be written.
    """
    began_s = time.monotonic()
    hosted = partition(deployment, processes)
    with scratch_folder() as private, contextlib.ExitStack() as sockets:
        wiring: Wiring | None = None
        if deployment.emulate_links:
            hosted = partition(deployment, _emulated_nodes(deployment))
            wiring = sockets.enter_context(_wiring(deployment, hosted))
            seats = {n: _Seat(w.listener, w.address, w.namespace_fd) for n, w in wiring.wires.items()}
        else:
            seats = {n: _Seat(sockets.enter_context(socket.create_server((LOOPBACK, 0))), LOOPBACK) for n in hosted}
        prints = credentials.create(private, hosted)
        entries = {
            node: Entry(seats[node].host, seats[node].listener.getsockname()[1], prints[node], actors)
            for node, actors in hosted.items()
        }
        Book(os.urandom(8).hex(), entries).save(private / "book.json")
        nodes: list[_Node] = []
        with _terminable():
            try:
                if wiring is not None:
                    await wiring.start(_log(directory, "relay"), _environment())
                    node_arguments = [*node_arguments, "--patience", f"{max(PATIENCE_S, START_S * len(hosted)):g}"]
                for node in hosted:
                    start = _start(node, seats[node], private, directory, node_arguments)
                    on_begun = wiring.begin if wiring is not None and not nodes else None
                    nodes.append(_Node(node, await start, _log(directory, node), on_progress, on_begun))
                # The nodes hold the sockets now: the port of one that dies must refuse.
                for seat in seats.values():
                    seat.listener.close()
                if wiring is not None:
                    wiring.let_go()
                lost = await _supervise(nodes, wiring)
                await _end(nodes, patience_s=GRACE_S)
            finally:
                # Does nothing after a good end.
                await _end(nodes, patience_s=0.0)
                for row in await wiring.stop() if wiring is not None else ():
                    writer.row((time.monotonic() - began_s) / deployment.time_scale, row.node, row)
                model = _gather([directory / "nodes" / node for node in hosted], writer)
    return Outcome(hosted, tuple(lost), model, time.monotonic() - began_s)


def _gather(folders: Sequence[Path], writer: RunWriter) -> dict[str, npt.NDArray[Any]] | None:
    """Move the nodes' records into those of the run; the model that one of them has left."""
    merge(folders, writer)
    models = [load_model(folder / MODEL) for folder in folders if (folder / MODEL).exists()]
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)
    return models[0] if models else None


@contextlib.contextmanager
def _terminable() -> Iterator[None]:
    """Within the block SIGTERM cancels the current task, as SIGINT does within `asyncio.run`."""
    task = asyncio.current_task()
    loop = asyncio.get_running_loop()
    if task is None or threading.current_thread() is not threading.main_thread():
        yield
        return
    loop.add_signal_handler(signal.SIGTERM, task.cancel)
    try:
        yield
    finally:
        loop.remove_signal_handler(signal.SIGTERM)


def _emulated_nodes(deployment: Deployment) -> int:
    """Nodes of an emulated network: one for each actor. Raises `LaunchError` if they are too many."""
    count = len(residents(deployment))
    if count > MOST_NODES:
        raise LaunchError(f"{count} actors are too many for emulated links: each is a process, at most {MOST_NODES}", 2)
    return count


def _wiring(deployment: Deployment, hosted: dict[str, tuple[str, ...]]) -> Wiring:
    try:
        return Wiring(deployment, hosted)
    except EmulationUnavailable as error:
        raise LaunchError(str(error), 2) from None


def _log(directory: Path, name: str) -> Path:
    """Where a process of the run writes its log. Raises `LaunchError`."""
    folder = directory / "nodes"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{name}.log").touch()
    except OSError as error:
        raise LaunchError(f"{folder}: cannot be written ({error.strerror})", 2) from None
    return folder / f"{name}.log"


def _environment() -> dict[str, str]:
    """What a process needs to find our packages, which may be neither installed nor, with `-P`, in its directory."""
    root = str(Path(real_runtime.__file__).resolve().parent.parent)
    return {"PYTHONPATH": os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH", ""))))}


async def _start(
    name: str, seat: _Seat, private: Path, directory: Path, node_arguments: Sequence[str]
) -> asyncio.subprocess.Process:
    folder = directory / "nodes"
    descriptors = [seat.listener.fileno()]
    place = ["--listen-fd", str(seat.listener.fileno())]
    if seat.namespace_fd is not None:
        descriptors.append(seat.namespace_fd)
        place += ["--namespace-fd", str(seat.namespace_fd)]
    with _log(directory, name).open("wb") as log:
        return await asyncio.create_subprocess_exec(
            *(sys.executable, "-P", "-m", "real_runtime.node", "--node", name),
            *("--launched-by", str(os.getpid())),
            *("--address-book", str(private / "book.json"), "--credentials", str(private)),
            *("--records", str(folder / name), *place),
            *node_arguments,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=log,
            pass_fds=descriptors,
            start_new_session=True,
            env={**os.environ, **_environment()},
        )


async def _supervise(nodes: list[_Node], wiring: Wiring | None) -> list[str]:
    """Wait until the node of the main actor has ended; the nodes that were lost before. Raises `LaunchError`."""
    if wiring is None:
        return await _main_ended(nodes, [])
    relay = asyncio.get_running_loop().create_task(wiring.watch())
    try:
        return await _main_ended(nodes, [relay])
    except RelayFailed as error:
        raise LaunchError(str(error)) from None
    finally:
        relay.cancel()


async def _main_ended(nodes: list[_Node], others: list[asyncio.Task[None]]) -> list[str]:
    """The nodes that were lost before that of the main actor had ended. Raises what one of the others raises."""
    main = nodes[0]
    running = list(nodes)
    lost: list[str] = []
    while not main.watch.done():
        await asyncio.wait([*(node.watch for node in running), *others], return_when=asyncio.FIRST_COMPLETED)
        for other in others:
            if other.done():
                other.result()
        for node in [node for node in running if node.watch.done()]:
            running.remove(node)
            node.watch.result()
            if node is main:
                continue
            if not (node.begun or main.begun):
                raise _failure(node)
            if node.process.returncode:
                lost.append(node.name)
    if main.process.returncode:
        raise _failure(main)
    return lost


def _failure(node: _Node) -> LaunchError:
    code = node.process.returncode or 0
    lines = node.log.read_text(errors="replace").splitlines()[-LOG_LINES:]
    if code < 0:
        return LaunchError("\n".join((f"node {node.name} was killed by {signal.Signals(-code).name}", *lines)))
    return LaunchError("\n".join(lines) or f"node {node.name} has ended with exit code {code}", 2 if code == 2 else 1)


async def _end(nodes: list[_Node], *, patience_s: float) -> None:
    """Give the nodes `patience_s` to end by themselves, then close their pipes, then kill what is left."""
    if not nodes:
        return
    watches = [node.watch for node in nodes]
    try:
        if patience_s:
            await asyncio.wait(watches, timeout=patience_s)
        for node in nodes:
            if node.process.stdin is not None:
                node.process.stdin.close()
        await asyncio.wait(watches, timeout=GRACE_S)
    finally:
        for node in nodes:
            if node.process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(node.process.pid, signal.SIGKILL)
    await asyncio.gather(*watches, return_exceptions=True)
