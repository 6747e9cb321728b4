"""What this machine can do, as a class of devices: arithmetic, memory, the fixed cost of a step, and of a message.

The model of time is that of `core.devices.classes`: a step takes a fixed part and the larger of FLOPs / speed and
bytes / bandwidth. Speed is the best that was seen of a matrix product through XLA, bandwidth that of copying as much as
a step of the scenario's training moves (what fits into a cache is faster than memory); the fixed part is what the step
takes beyond them, in a job as the scenario asks for. Where a step moves its bytes faster than a copy does, that is the
bandwidth, and nothing is left for the fixed part: the class takes as long for the scenario's steps as the machine did.
"""

from __future__ import annotations

import asyncio
import dataclasses
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, ClassVar, Final

import yaml

from core.actor import Actor, Context, Message
from core.deployment import Deployment, Placement
from core.devices import profile as device_class
from core.links import Link
from core.records.store import write_whole
from core.scenario import Scenario

#: Sides of the square matrices whose product is timed.
SIDES: Final = (256, 512, 1024, 2048)
#: Least bytes of an array that is copied, so that the call itself does not count, and those that no cache holds.
LEAST_COPIED_BYTES: Final = 1 << 16
MEMORY_BYTES: Final = 256 << 20
#: Measurements of a ceiling and of a job, and requests between two processes.
REPEATS: Final = 7
JOBS: Final = 31
REQUESTS: Final = 300
NAME: Final = "this_machine"


class ProfileError(Exception):
    """A file is no profile; the message says which, and what was expected."""


@dataclasses.dataclass(frozen=True)
class MachineProfile:
    """The measured figures, SI units."""

    train_flops_per_s: float
    #: At the bytes that a step moves, and at more than a cache holds.
    memory_bytes_per_s: float
    main_memory_bytes_per_s: float
    step_overhead_s: float
    #: A small message between two processes, both ends' work included.
    message_s: float
    #: Of which model the step is, how many were trained at once, and how long a step took.
    model: str
    at_once: int
    step_s: float


def measure(scenario: Scenario, tell: Callable[[str], None], *, at_once: int = 1) -> MachineProfile:
    """Measure this machine, with training as the scenario does it; `tell` hears what is being measured.

    `at_once`: how many train at the same time, each of them a device. Raises `ValueError` and `OSError` as the
    building of the scenario does, and `LaunchError`.
    """
    tell("matrix product")
    flops_per_s = matmul_flops_per_s()
    tell(f"training step of {scenario.model.name}")
    step_s, flops, moved = training_step(scenario, at_once)
    tell("memory")
    main_bytes_per_s = copy_bytes_per_s(MEMORY_BYTES)
    bytes_per_s = max(copy_bytes_per_s(max(int(moved / 2), LEAST_COPIED_BYTES)), moved / step_s)
    tell("messages between two processes")
    message_s = message_seconds()
    roof_s = max(flops / flops_per_s, moved / bytes_per_s)
    return MachineProfile(
        train_flops_per_s=flops_per_s,
        memory_bytes_per_s=bytes_per_s,
        main_memory_bytes_per_s=main_bytes_per_s,
        step_overhead_s=max(step_s - roof_s, 0.0),
        message_s=message_s,
        model=scenario.model.name,
        at_once=at_once,
        step_s=step_s,
    )


def matmul_flops_per_s() -> float:
    """The best rate of a float32 matrix product, two operations for each multiply-add."""
    import jax
    import jax.numpy as jnp

    product = jax.jit(jnp.matmul)
    best = 0.0
    for side in SIDES:
        a = jnp.ones((side, side), jnp.float32)
        product(a, a).block_until_ready()
        for _ in range(REPEATS):
            began_s = time.perf_counter()
            product(a, a).block_until_ready()
            best = max(best, 2.0 * side**3 / (time.perf_counter() - began_s))
    return best


def copy_bytes_per_s(size_bytes: int) -> float:
    """The best rate of copying an array of a size; each byte is read and written."""
    import numpy as np

    source = np.ones(size_bytes, np.uint8)
    target = np.empty_like(source)
    times = max(1, (1 << 22) // size_bytes)
    best = 0.0
    for _ in range(REPEATS):
        began_s = time.perf_counter()
        for _ in range(times):
            np.copyto(target, source)
        best = max(best, 2.0 * times * size_bytes / (time.perf_counter() - began_s))
    return best


def training_step(scenario: Scenario, at_once: int) -> tuple[float, float, float]:
    """Seconds, FLOPs and bytes of a step of a client's training as the scenario asks for it, `at_once` of them."""
    import numpy as np

    from core.compute import Eager
    from core.scenario.build import study

    built = study(scenario, world="real")
    # The client with as many examples as half of the others have.
    clients = np.argsort(built.federation.sizes()[: scenario.device_count], kind="stable")
    shard = built.federation.own_shard(int(clients[len(clients) // 2]))
    eager = Eager(scenario.numerics.layout)
    algorithm = built.algorithm
    key = np.zeros(2, np.uint32)
    params = eager.run(algorithm.init, (key,))["params"]

    arguments = (params, shard, scenario.training.local_epochs, scenario.training.learning_rate, key)

    def seconds() -> float:
        began_s = time.perf_counter()
        eager.run(algorithm.local_update, arguments)
        return time.perf_counter() - began_s

    # The first is compiled.
    seconds()
    count = JOBS if seconds() < 1.0 else REPEATS
    work = algorithm.local_update.work(*arguments)
    with ThreadPoolExecutor(at_once) as pool:
        took_s = [future.result() for _ in range(count) for future in [pool.submit(seconds) for _ in range(at_once)]]
    return statistics.median(took_s) / work.steps, work.flops, work.bytes


# Messages.


class Query(Message, frozen=True, kw_only=True):
    """A small question, and its answer."""

    number: int


class Answering(Actor):
    """Answers at once."""

    accepts: ClassVar[tuple[type[Message], ...]] = (Query,)

    async def handle(self, ctx: Context, message: Message) -> None:
        assert isinstance(message, Query)
        await ctx.reply(message, Query(number=message.number))


class Asking(Actor):
    """Asks many times, one query after the other."""

    async def run(self, ctx: Context) -> None:
        for number in range(REQUESTS):
            await ctx.request("answering", Query(number=number), timeout=30.0)


def queries() -> Deployment:
    """Two actors in two processes of this machine."""
    link = Link("loopback", "ethernet", 0.0, 1e9, 1e9)

    def place(name: str, make: Callable[[], Actor]) -> Placement:
        return Placement(name=name, make=make, profile=device_class("server"), link=link)

    return Deployment(
        placements=(place("asking", Asking), place("answering", Answering)), main="asking", messages=(Query,)
    )


def message_seconds() -> float:
    """The median time of a small message from one actor to another in another process, both ends' work included."""
    from core.records import RunWriter
    from core.records.store import read_parts
    from real_runtime.launcher import run
    from real_runtime.scratch import scratch_folder

    with scratch_folder() as directory:
        writer = RunWriter(directory)
        try:
            asyncio.run(
                run(
                    queries(),
                    node_arguments=["--deployment", "aivsim.profile:queries"],
                    processes=2,
                    directory=directory,
                    writer=writer,
                )
            )
        finally:
            writer.close()
        rows = [row for part in read_parts(directory, "messages") for row in part.to_pylist()]
    return float(statistics.median(row["delivered_s"] - row["sent_s"] for row in rows))


# The file.


def text(machine: MachineProfile) -> str:
    """The profile as a file: a piece of a scenario, with what the figures are."""
    gigaflops, gigabytes = machine.train_flops_per_s / 1e9, machine.memory_bytes_per_s / 1e9
    return "\n".join(
        (
            "# This machine as a class of devices, measured by `aivsim profile`; a scenario may take it over.",
            f"# A step of training of {machine.model}, {machine.at_once} of them at once, took "
            f"{machine.step_s * 1e6:.4g} us; the step overhead is what it",
            "# took beyond the larger of FLOPs / train_speed and bytes / memory_speed.",
            "# Copying more than a cache holds, the machine reads and writes "
            f"{machine.main_memory_bytes_per_s / 1e9:.4g} GB/s.",
            f"# A small message between two processes took {machine.message_s * 1e6:.4g} us.",
            "profiles:",
            f"  {NAME}:",
            "    base: server",
            f"    train_speed: {gigaflops:.6g} GFLOP/s    # measured: the best product of float32 matrices",
            f"    step_overhead: {machine.step_overhead_s * 1e6:.6g} us     # derived",
            f"    memory_speed: {gigabytes:.6g} GB/s    # measured: the best copy of what a step moves, or the step",
            "",
        )
    )


def save(path: Path, machine: MachineProfile) -> None:
    """Write the file. Raises `RecordsError`."""
    write_whole(path, text(machine).encode())


def load(path: Path) -> dict[str, str | float]:
    """train_speed, step_overhead and memory_speed of the one class in a file, as they stand. Raises `ProfileError`."""
    keys = ("train_speed", "step_overhead", "memory_speed")
    expected = f"{path}: is no profile: it has to have one class under `profiles:` with {', '.join(keys)}"
    try:
        data: Any = yaml.safe_load(path.read_text())
    except OSError as error:
        raise ProfileError(f"{path}: cannot be read ({error.strerror})") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ProfileError(f"{path}: is no YAML ({str(error).splitlines()[0]})") from None
    classes = data.get("profiles") if isinstance(data, dict) else None
    if not isinstance(classes, dict) or len(classes) != 1:
        raise ProfileError(expected)
    (values,) = classes.values()
    if not isinstance(values, dict) or not all(isinstance(values.get(key), str | int | float) for key in keys):
        raise ProfileError(expected)
    return {key: values[key] for key in keys}


def on_this_machine(scenario: Scenario, speeds: dict[str, str | float]) -> Scenario:
    """The scenario with every device as fast as a profile says; radios, batteries and heat stay those of its class.

    Raises `ValueError` (of pydantic) for values that no device can have.
    """
    data = scenario.resolved()
    classes: dict[str, dict[str, Any]] = data["profiles"]
    used = {station["device"] for station in (data["coordinator"], data["evaluator"], *data["devices"]) if station}
    for name in sorted(used):
        own = classes.get(name, {"base": name})
        classes[f"{name}_here"[:64]] = {**own, **speeds}
    for station in (data["coordinator"], data["evaluator"], *data["devices"]):
        if station:
            station["device"] = f"{station['device']}_here"[:64]
    for group in data["devices"]:
        # They are this machine, all of them.
        group["speed_spread"] = 0.0
    return Scenario.model_validate(data)
