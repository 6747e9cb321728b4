"""What this machine can do, as a class of devices and as a host: arithmetic, memory, and the fixed costs of software.

The model of time is that of `core.devices.classes`: a step takes a fixed part and the larger of FLOPs / speed and
bytes / bandwidth. Speed is the best that was seen of a matrix product through XLA, bandwidth that of copying as much as
a step of the scenario's training moves (what fits into a cache is faster than memory); the fixed part is what the step
takes beyond them, in a job as the scenario asks for. Where a step moves its bytes faster than a copy does, that is the
bandwidth, and nothing is left for the fixed part: the class takes as long for the scenario's steps as the machine did.
What jobs and messages take beside is the host's (`aivsim.processes`).
"""

from __future__ import annotations

import dataclasses
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import yaml

from aivsim import processes
from core.devices import Host, Work
from core.records.store import write_whole
from core.scenario import Scenario

#: Sides of the square matrices whose product is timed.
SIDES: Final = (256, 512, 1024, 2048)
#: Least bytes of an array that is copied, so that the call itself does not count, and those that no cache holds.
LEAST_COPIED_BYTES: Final = 1 << 16
MEMORY_BYTES: Final = 256 << 20
#: Measurements of a ceiling and of a job.
REPEATS: Final = 7
JOBS: Final = 31
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
    #: Of which model the step is, and how long it took.
    model: str
    step_s: float
    #: Its cores, and what jobs and messages take of them.
    host: Host


@dataclasses.dataclass(frozen=True)
class Profile:
    """A file's class of devices and host, as they stand there."""

    device: dict[str, Any]
    host: dict[str, Any]


def measure(scenario: Scenario, tell: Callable[[str], None], *, emulated: bool) -> MachineProfile:
    """Measure this machine, with training as the scenario does it; `tell` hears what is being measured.

    With `emulated` messages are those of a run behind emulated links. Raises `ValueError` and `OSError` as the building
    of the scenario does, and `LaunchError`.
    """
    tell("matrix product")
    flops_per_s = matmul_flops_per_s()
    tell(f"training step of {scenario.model.name}")
    step_s, work = training_step(scenario)
    tell("memory")
    main_bytes_per_s = copy_bytes_per_s(MEMORY_BYTES)
    bytes_per_s = max(copy_bytes_per_s(max(int(work.bytes / 2), LEAST_COPIED_BYTES)), work.bytes / step_s)
    tell("messages and jobs of processes")
    roof_s = max(work.flops / flops_per_s, work.bytes / bytes_per_s)
    return MachineProfile(
        train_flops_per_s=flops_per_s,
        memory_bytes_per_s=bytes_per_s,
        main_memory_bytes_per_s=main_bytes_per_s,
        step_overhead_s=max(step_s - roof_s, 0.0),
        model=scenario.model.name,
        step_s=step_s,
        host=processes.measure(scenario, NAME, step_s * work.steps, emulated=emulated),
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


def training_step(scenario: Scenario) -> tuple[float, Work]:
    """Seconds of a step of a client's training as the scenario asks for it, and the training's work."""
    from core.compute import Eager

    function, *arguments = processes.training(scenario)
    eager = Eager(scenario.numerics.layout)

    def seconds() -> float:
        began_s = time.perf_counter()
        eager.run(function, arguments)
        return time.perf_counter() - began_s

    # The first is compiled.
    seconds()
    count = JOBS if seconds() < 1.0 else REPEATS
    work: Work = function.work(*arguments)
    return statistics.median(seconds() for _ in range(count)) / work.steps, work


# The file.


def text(machine: MachineProfile) -> str:
    """The profile as a file: a piece of a scenario, with what the figures are."""
    gigaflops, gigabytes = machine.train_flops_per_s / 1e9, machine.memory_bytes_per_s / 1e9
    host = machine.host
    return "\n".join(
        (
            "# This machine as a class of devices, and as the host of many, measured by `aivsim profile`; a scenario",
            "# may take both over.",
            f"# A step of training of {machine.model} took {machine.step_s * 1e6:.4g} us, alone and warm; the overhead",
            "# is what it took beyond the larger of FLOPs / train_speed and bytes / memory_speed.",
            "# Copying more than a cache holds, the machine reads and writes "
            f"{machine.main_memory_bytes_per_s / 1e9:.4g} GB/s.",
            "profiles:",
            f"  {NAME}:",
            "    base: server",
            f"    train_speed: {gigaflops:.6g} GFLOP/s    # measured: the best product of float32 matrices",
            f"    step_overhead: {machine.step_overhead_s * 1e6:.6g} us     # derived",
            f"    memory_speed: {gigabytes:.6g} GB/s    # measured: the best copy of what a step moves, or the step",
            "hosts:",
            f"  {NAME}:",
            f"    cores: {host.cores:g}",
            f"    job: {host.job_s * 1e6:.6g} us    # measured: a training in one of several processes, less its steps",
            f"    message: {host.message_s * 1e6:.6g} us    # measured: a small message, at each of its ends",
            f"    megabyte: {host.byte_s * 1e12:.6g} us    # measured: what messages with arrays took beside",
            "",
        )
    )


def save(path: Path, machine: MachineProfile) -> None:
    """Write the file. Raises `RecordsError`."""
    write_whole(path, text(machine).encode())


def load(path: Path) -> Profile:
    """The class and the host of a file. Raises `ProfileError`."""
    keys = ("train_speed", "step_overhead", "memory_speed")
    expected = (
        f"{path}: is no profile: it has to have one class under `profiles:` with {', '.join(keys)}, and one machine "
        "under `hosts:` with cores"
    )
    try:
        data: Any = yaml.safe_load(path.read_text())
    except OSError as error:
        raise ProfileError(f"{path}: cannot be read ({error.strerror})") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ProfileError(f"{path}: is no YAML ({str(error).splitlines()[0]})") from None
    sections = [data.get(section) if isinstance(data, dict) else None for section in ("profiles", "hosts")]
    ones = [next(iter(section.values())) for section in sections if isinstance(section, dict) and len(section) == 1]
    if len(ones) != 2 or not all(isinstance(one, dict) for one in ones):
        raise ProfileError(expected)
    device, host = ones
    if not all(isinstance(device.get(key), str | int | float) for key in keys) or "cores" not in host:
        raise ProfileError(expected)
    return Profile({"base": "server"} | device, host)


def on_this_machine(scenario: Scenario, profile: Profile) -> Scenario:
    """The scenario with this machine as every device, and as the host of them all; links stay what they are.

    Raises `ValueError` (of pydantic) for values that no device or host can have.
    """
    data = scenario.resolved()
    data["profiles"][NAME], data["hosts"][NAME] = profile.device, profile.host
    for station in (data["coordinator"], data["evaluator"], *data["devices"]):
        if station:
            station |= {"device": NAME, "host": NAME}
    for group in data["devices"]:
        # They are this machine, all of them, which is on mains.
        group |= {"speed_spread": 0.0, "battery": (1.0, 1.0), "charging": False}
    data["real"]["devices"] = "host"
    return Scenario.model_validate(data)
