"""`python -P -m real_runtime.node`: one process of a real run, hosting the actors that the address book gives it.

By hand, on several machines: make credentials and an address book (`python -P -m real_runtime.provision`), give each
machine the book, `authority.crt` and its own `NODE.crt` and `NODE.key`, and start every node with the same scenario.
The run begins when all are connected, and ends for all when the main actor has ended.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import signal
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import click

from core.deployment import Deployment
from core.records import RecordsError, RunWriter, save_model
from core.records.manifest import MODEL
from real_runtime import book as books
from real_runtime import progress
from real_runtime.credentials import CredentialsError, own_fingerprint
from real_runtime.emulation.namespace import enter
from real_runtime.lifeline import Lifeline
from real_runtime.priority import raise_priority
from real_runtime.processor import Processor
from real_runtime.progress import BEGUN, Progress
from real_runtime.world import PATIENCE_S, CannotListen, NotAdmitted, RunFailed, World


def from_scenario(name: str, settings: tuple[str, ...], folders: tuple[Path, ...]) -> Deployment:
    """The deployment that a scenario describes; raises `click.UsageError`."""
    from core.scenario import ScenarioError, load
    from core.scenario.build import study

    try:
        return study(load(name, settings, directories=folders), world="real").deployment
    except (ScenarioError, ValueError, OSError) as error:
        raise click.UsageError(f"--scenario {name}: {error}") from None


#: Seconds between two times that records go to the disk.
FLUSH_S = 2.0


def from_function(path: str) -> Deployment:
    """The deployment that a function `module:name` returns, or `module:name:text` for the text.

    Raises `click.UsageError`.
    """
    module_name, colon, rest = path.partition(":")
    name, *text = rest.split(":", 1)
    if not colon:
        raise click.UsageError(f"--deployment {path!r}: takes module:function, or module:function:text")
    try:
        make: Callable[..., Deployment] = getattr(importlib.import_module(module_name), name)
    except (ImportError, AttributeError) as error:
        raise click.UsageError(f"--deployment {path!r}: {error}") from None
    return make(*text)


async def serve(
    deployment: Deployment,
    *,
    node: str,
    book: books.Book,
    credentials: Path,
    writer: RunWriter,
    listen_fd: int | None,
    lifeline: Lifeline | None,
    patience_s: float,
) -> None:
    """Run one node to its end; one that was launched has a lifeline.

    Raises `RunFailed`, `CredentialsError`, `BookError`, `RecordsError`.
    """
    loop = asyncio.get_running_loop()
    task = asyncio.current_task()
    assert task is not None
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, task.cancel)
    launched = lifeline is not None
    if lifeline is not None:
        lifeline.when_cut(lambda: _cancel(loop, task))
    processor = Processor(deployment.layout)
    flushing: asyncio.Task[None] | None = None
    try:
        world = World(
            deployment,
            node=node,
            book=book,
            credentials=credentials,
            records=writer,
            processor=processor,
            observe=progress.observe if launched else None,
            begun=(lambda: progress.tell(_begun(world))) if launched else None,
            patience_s=patience_s,
            # Launched nodes are on one machine, and so have one monotonic clock.
            shared_clock=launched,
        )
        if launched:
            # It is loaded and of no other use: a launcher that is killed leaves no key behind.
            (credentials / f"{node}.key").unlink(missing_ok=True)
        flushing = loop.create_task(_flush(writer, world))
        entry = book.nodes[node]
        await world.run((entry.host, entry.port) if listen_fd is None else socket.socket(fileno=listen_fd))
        if world.result is not None:
            save_model(writer.directory / MODEL, world.result)
    finally:
        if flushing is not None:
            flushing.cancel()
        processor.close()
        writer.close()


async def _flush(writer: RunWriter, world: World) -> None:
    """Write down now and then what there is, so that little is lost with a node that is killed."""
    try:
        while True:
            await asyncio.sleep(FLUSH_S)
            writer.flush()
    except RecordsError as error:
        world.crashed(error)


def _begun(world: World) -> Progress:
    return Progress(BEGUN, row={"origin_s": world.clock.origin_s})


def _cancel(loop: asyncio.AbstractEventLoop, task: asyncio.Task[None]) -> None:
    """Cancel a task from another thread; one whose loop is closed has ended by itself."""
    with contextlib.suppress(RuntimeError):
        loop.call_soon_threadsafe(task.cancel)


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--scenario", help="Scenario, by path or name; the same for all nodes.")
@click.option(
    "--scenarios",
    "folders",
    multiple=True,
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Folder in which scenarios are found by name; `aivsim node` gives that of ours.",
)
@click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", help="Override a value of the scenario.")
@click.option(
    "--deployment",
    "function",
    metavar="MODULE:FUNCTION[:TEXT]",
    help="A Python function that returns a Deployment, and what it is given.",
)
@click.option("--node", required=True, help="This node's name in the address book.")
@click.option("--address-book", required=True, type=click.Path(path_type=Path), help="YAML or JSON; see the module.")
@click.option("--credentials", required=True, type=click.Path(path_type=Path), help="Folder of certificates and key.")
@click.option("--records", required=True, type=click.Path(path_type=Path), help="Folder that gets this node's records.")
@click.option("--patience", default=PATIENCE_S, show_default=True, help="Seconds to wait for the other nodes.")
@click.option("--listen-fd", type=int, hidden=True, help="An inherited socket, bound and listening.")
@click.option("--namespace-fd", type=int, hidden=True, help="An inherited network namespace to live in.")
@click.option("--launched-by", type=int, hidden=True, help="A process: report to standard output, end with that input.")
def main(
    scenario: str | None,
    folders: tuple[Path, ...],
    settings: tuple[str, ...],
    function: str | None,
    node: str,
    address_book: Path,
    credentials: Path,
    records: Path,
    patience: float,
    listen_fd: int | None,
    namespace_fd: int | None,
    launched_by: int | None,
) -> None:
    """Run one node of a real run."""
    if (scenario is None) == (function is None):
        raise click.UsageError("one of --scenario and --deployment is needed")
    if launched_by is not None:
        # It leads a session of its own, which knows nothing of the priority that the launcher has.
        raise_priority()
    if namespace_fd is not None:
        # Before there are other threads: each belongs to the namespace of the one that started it.
        enter(namespace_fd)
    lifeline = None if launched_by is None else Lifeline(launched_by)
    try:
        book = books.load(address_book)
        if node not in book.nodes:
            raise books.BookError(f"{address_book}: has no node {node!r}; it has {', '.join(sorted(book.nodes))}")
        if own_fingerprint(credentials, node) != book.nodes[node].fingerprint:
            own = credentials / f"{node}.crt"
            raise NotAdmitted(f"{own} is not the certificate that {address_book} pins for node {node!r}")
        deployment = (
            from_scenario(scenario, settings, folders) if scenario is not None else from_function(function or "")
        )
        writer = _writer(records)
        asyncio.run(
            serve(
                deployment,
                node=node,
                book=book,
                credentials=credentials,
                writer=writer,
                listen_fd=listen_fd,
                lifeline=lifeline,
                patience_s=patience,
            )
        )
    except (books.BookError, CredentialsError, CannotListen, NotAdmitted) as error:
        _fail(2, str(error))
    except (RunFailed, RecordsError) as error:
        _fail(1, str(error))
    except (asyncio.CancelledError, KeyboardInterrupt):
        _fail(130, "interrupted")


def _writer(records: Path) -> RunWriter:
    try:
        return RunWriter(records)
    except RecordsError as error:
        _fail(2, str(error))


def _fail(code: int, reason: str) -> NoReturn:
    click.echo(f"node: {reason}", err=True)
    sys.exit(code)


if __name__ == "__main__":
    main()
