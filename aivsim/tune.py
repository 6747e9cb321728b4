"""`aivsim tune`: measures the layouts of a scenario's training on this machine, and keeps the best in a table.

A run with `numerics.layout: tuned` looks its layout up there; nothing is measured inside a run, because the layout can
change the last bits of a result. The manifest names the layout that was used.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click
import numpy as np

from aivsim.errors import CannotBegin
from aivsim.runs import cache_directory, threads_of
from core.records.store import write_whole

if TYPE_CHECKING:
    from core.compute.function import Function
    from core.scenario import Scenario
    from core.scenario.build import Study

#: Layouts that are tried where the scenario's own is none of them.
LAYOUTS: Final = ("scan", "vmap:4", "vmap:8", "vmap:16", "scan/vmap:4", "scan/vmap:8")
#: What a run uses whose function and shapes nobody has tuned.
DEFAULT: Final = "scan"
_CLIENTS: Final = 32


def table_path() -> Path:
    """Where the table is kept, beside the compiled programs."""
    return cache_directory().parent / "layouts.json"


def _table() -> dict[str, str]:
    """The table; empty if there is none. Raises `CannotBegin` if it is no table of layouts."""
    from core.compute.layout import shape_of

    path = table_path()
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        for layout in found.values():
            shape_of(layout)
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, AttributeError, TypeError) as error:
        raise CannotBegin(f"{path} is no table of layouts ({error}); remove it and tune again") from None
    return dict(found)


def _arguments(study: Study, client: int) -> tuple[Any, ...]:
    """What a client's first training is given: the server's initial groups, its examples, the scenario's rates."""
    from core.compute import Eager
    from core.learning.algorithm import present

    algorithm, training, key = study.algorithm, study.scenario.training, (0, client)
    server = _initial(study)
    state = None
    if algorithm.enter is not None:
        state = Eager().run(algorithm.enter, (server["params"], key))["state"]
    groups = present(server["params"], server.get("shared"), state)
    return (*groups, study.federation.shard(client), training.local_epochs, training.learning_rate, key)


@functools.cache
def _initial(study: Study) -> dict[str, Any]:
    from core.compute import Eager

    return dict(Eager().run(study.algorithm.init, ((0, 0),)))


def key_of(function: Function, arguments: Sequence[Any], threads: int) -> str:
    """Names a function with its hyperparameters, the shapes of its arguments, and what computes: device and threads."""
    import jax

    from core.compute.function import PayloadKind, ShardKind, kind_of

    shapes: list[tuple[Any, ...]] = []
    for kind in map(kind_of, arguments):
        if isinstance(kind, ShardKind):
            shapes.append(("shard", kind.capacity, sorted((n, s.dtype, s.shape[1:]) for n, s in kind.spec.items())))
        elif isinstance(kind, PayloadKind):
            shapes.append(("payload", *sorted((n, *s) for n, s in kind.spec.items())))
        else:
            shapes.append((kind.dtype, kind.shape))
    digest = hashlib.blake2b(repr((function.hyper, shapes)).encode(), digest_size=12).hexdigest()
    return f"{jax.default_backend()}/{jax.devices()[0].device_kind}/{threads} threads/{function.name}/{digest}"


def tuned_layout(study: Study) -> str:
    """The layout of a study that asks for the tuned one. Raises `CannotBegin` for a table that is none."""
    threads = threads_of(study.scenario)
    return _table().get(key_of(study.algorithm.local_update, _arguments(study, 0), threads), DEFAULT)


def tune_command(scenario: Scenario, repeats: int) -> None:
    """Measure, print, and keep the best. Raises `CannotBegin`."""
    from core.compute import enable_compilation_cache
    from core.scenario.build import study

    enable_compilation_cache(cache_directory())
    try:
        built = study(scenario)
    except (ValueError, OSError) as error:
        raise CannotBegin(str(error)) from error
    clients = min(_CLIENTS, len(built.federation))
    calls = [_arguments(built, client) for client in range(clients)]
    function = built.algorithm.local_update
    own, threads = scenario.numerics.layout, threads_of(scenario)
    layouts = [*LAYOUTS, *(() if own in (*LAYOUTS, "tuned") else (own,))]
    click.echo(
        f"{function.name}: {clients} clients of {scenario.name}, into one sum, {threads} threads; median of {repeats}"
    )
    times: dict[str, list[float]] = {layout: [] for layout in layouts}
    # The first turn compiles and is not counted; turns are interleaved, so that a busy machine is busy for all.
    for turn in range(repeats + 1):
        for layout in layouts:
            seconds = _seconds(built, calls, layout, threads)
            if turn:
                times[layout].append(seconds)
            else:
                click.echo(f"  {layout}: compiled", err=True)
    found = {layout: statistics.median(measured) for layout, measured in times.items()}
    best = min(found, key=lambda layout: found[layout])
    width = max(map(len, found))
    for layout, seconds in found.items():
        mark = "  best" if layout == best else ""
        click.echo(f"  {layout:{width}}  {clients / seconds:10,.1f} updates/s{mark}".replace(",", " "))
    table = _table()
    table[key_of(function, calls[0], threads)] = best
    write_whole(table_path(), (json.dumps(table, indent=2, sort_keys=True) + "\n").encode())
    click.echo(f"kept in {table_path()}; `numerics.layout: tuned` uses it")
    if best != "scan":
        click.echo("only `scan` gives the bits of the real world; other layouts differ in the last ones")


def _seconds(study: Study, calls: Sequence[tuple[Any, ...]], layout: str, threads: int) -> float:
    """How long a round of these trainings takes: as a run computes it, with threads, and summed as it comes."""
    from core.aggregation import exact_mean
    from core.compute import Evaluator, Shard
    from core.learning.algorithm import present
    from core.wire import ArrayDict

    algorithm, server = study.algorithm, _initial(study)
    weights = [algorithm.weight(next(a for a in call if isinstance(a, Shard)).count) for call in calls]
    exact = exact_mean(sum(weights))
    template = ArrayDict({name: np.zeros(s.shape, s.dtype) for name, s in algorithm.summed.items()})
    evaluator = Evaluator(layout=layout, max_pending=1 << 20, threads=threads)
    with contextlib.closing(evaluator):
        total = evaluator.submit(exact.init, (template,))["sum"]
        for slot, (call, weight) in enumerate(zip(calls, weights, strict=True)):
            outcome = dict(evaluator.submit(algorithm.local_update, call))
            update = outcome.pop("update")
            for payload in outcome.values():
                evaluator.want(payload)
            if algorithm.collect is not None:
                arguments = (*present(server.get("kept")), update, slot, 0)
                update = evaluator.submit(algorithm.collect, arguments)["update"]
            total = evaluator.submit(exact.accumulate, (total, update, weight))["sum"]
        evaluator.want(evaluator.submit(exact.finish, (total,))["mean"])
        began_s = time.perf_counter()
        evaluator.finish()
        return time.perf_counter() - began_s
