"""What a day of phones costs by their number, flows by how many share a link, and a tick beside a crossing.

    python benchmarks/scale.py [--devices 1000 10000 100000 1000000] [--hours 24] [--rounds 10] [--out DIR]

- `devices`: `scenarios/million_phones.yaml` with so many phones over so many hours and ten rounds of up to a hundred
  of them, each number in a process of its own: CPU seconds of setting up and of running, and the largest memory. The
  exponent is that of the cost between the last two numbers: 1 is linear.
- `flows`: a star: so many long transfers share one link, and as one ends the next begins. Flow ends per CPU second.
- `ticks`: a phone at full load that warms up, throttles and cools down within an hour. Its own events are solved for;
  beside them the same phone looked at every second and ten times a second, and how late that finds the
  first throttling.

All figures are CPU time, which other processes on the machine touch less than the clock. `--out` gets `scale.md`, the
tables, and `scale.png`, the plot.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from core.devices import Device, ThrottleChanged, Work, profile
from sim.engine import ActorEnvironment
from sim.network.sharing import SharedLink

SCENARIO = Path(__file__).parents[1] / "scenarios" / "million_phones.yaml"
PARTICIPANTS = 100


@dataclasses.dataclass(frozen=True)
class DeviceCost:
    """One number of devices."""

    devices: int
    set_up_s: float
    run_s: float
    peak_bytes: int
    transitions: int
    messages: int

    @property
    def total_s(self) -> float:
        return self.set_up_s + self.run_s


def one_population(devices: int, hours: float, rounds: int) -> DeviceCost:
    """Simulate so many phones here."""
    from core.compute import Timing
    from core.records import RunWriter
    from core.scenario import load, parse
    from core.scenario.build import study
    from sim.world import World

    began_s = time.process_time()
    data = load(SCENARIO).resolved()
    for group in data["devices"]:
        group["count"] = max(2, round(group["count"] * devices / 1e6))
    most = min(PARTICIPANTS, devices // 100)
    data["training"] |= {"rounds": rounds, "max_participants": most, "min_participants": 1}
    data["training"]["pause"] = hours * 3600.0 / rounds
    world_of = study(parse(data), largest_group=1).deployment
    with tempfile.TemporaryDirectory() as folder:
        writer = RunWriter(Path(folder))
        world = World(world_of, writer, Timing())
        ready_s = time.process_time()
        world.run()
        writer.close()
        ended_s = time.process_time()
    return DeviceCost(
        devices=sum(group["count"] for group in data["devices"]),
        set_up_s=ready_s - began_s,
        run_s=ended_s - ready_s,
        peak_bytes=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024),
        transitions=world.attendance.transitions,
        messages=writer.message_count,
    )


def populations(counts: list[int], hours: float, rounds: int) -> list[DeviceCost]:
    """Each number of devices in a process of its own, so that memory is its own."""
    found = []
    for count in counts:
        command = [sys.executable, __file__, "--one", str(count), "--hours", str(hours), "--rounds", str(rounds)]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        found.append(DeviceCost(**json.loads(done.stdout)))
        cost = found[-1]
        print(
            f"{cost.devices:>9} devices: {cost.set_up_s:6.1f} + {cost.run_s:7.1f} s, {cost.peak_bytes / 1e6:7.0f} MB, "
            f"{cost.transitions} transitions, {cost.messages} messages",
            flush=True,
        )
    return found


class _Flow:
    """A transfer that another follows."""

    def __init__(self, star: Star, size_bytes: float) -> None:
        self.star = star
        self.size_bytes = size_bytes

    def leg_ended(self, link: SharedLink) -> None:
        star = self.star
        star.ended += 1
        if star.ended < star.wanted:
            link.begin(self, self.size_bytes)


class Star:
    """Flows of different sizes through the link in the middle."""

    def __init__(self, flows: int, wanted: int) -> None:
        self.env = ActorEnvironment()
        self.wanted = wanted
        self.ended = 0
        self.link = SharedLink(self.env, 1e9)
        for number in range(flows):
            self.link.begin(_Flow(self, 1e6 * (1.0 + (number * 0.6180339887) % 1.0)), 1e6 * (1 + number / flows))

    def ends_per_s(self) -> float:
        """Flow ends per CPU second."""
        began_s = time.process_time()
        self.env.run()
        return self.ended / (time.process_time() - began_s)


def one_hour(tick_s: float | None) -> tuple[float, int, float]:
    """A phone with 25 minutes of work: CPU seconds, calls, and when it is known to have throttled first."""
    phone = Device(profile("phone_high"), link_kind="wifi")
    phone.submit(0.0, 1, Work(flops=profile("phone_high").train_flops_per_s, bytes=1.0, steps=1200))
    calls, throttled_s, now = 0, math.inf, 0.0
    began_s = time.process_time()
    while now < 3600.0:
        now = min(phone.next_timer(), 3600.0) if tick_s is None else now + tick_s
        calls += 1
        effects = phone.on_timer(now)
        if throttled_s == math.inf and any(isinstance(effect, ThrottleChanged) for effect in effects):
            throttled_s = now
    return time.process_time() - began_s, calls, throttled_s


def _exponent(costs: list[DeviceCost]) -> float:
    """The power of the number of devices with which the cost grows from the last but one to the last."""
    one, other = costs[-2:]
    return math.log(other.total_s / one.total_s) / math.log(other.devices / one.devices)


def _plot(
    path: Path, costs: list[DeviceCost], flows: dict[int, float], ticks: list[tuple[str, float, int, float]]
) -> None:
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figure, (left, middle, right) = plt.subplots(1, 3, figsize=(13, 3.6), layout="constrained")
    numbers = [cost.devices for cost in costs]
    left.loglog(numbers, [cost.total_s for cost in costs], "o-", color="C0", label="CPU s")
    left.loglog(numbers, [costs[-1].total_s * n / numbers[-1] for n in numbers], ":", color="C7", label="linear")
    left.set(xlabel="devices", ylabel="CPU s for the simulated time")
    memory = left.twinx()
    memory.loglog(numbers, [cost.peak_bytes / 1e6 for cost in costs], "s--", color="C1")
    memory.set_ylabel("peak memory, MB", color="C1")
    left.legend()
    middle.semilogx(list(flows), [rate / 1e3 for rate in flows.values()], "o-")
    middle.set(xlabel="flows that share the link", ylabel="thousand flow ends a CPU second", ylim=(0, None))
    right.bar([name for name, *_ in ticks], [1e3 * seconds for _, seconds, *_ in ticks])
    right.set(yscale="log", ylabel="CPU ms for an hour of one phone")
    figure.savefig(path, dpi=120)


def _table(header: str, rows: list[tuple[str, ...]]) -> str:
    columns = header.count("|") + 1
    lines = [f"| {header} |", "|" + "---|" * columns, *(f"| {' | '.join(row)} |" for row in rows)]
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--devices", type=int, nargs="+", default=[1000, 10_000, 100_000, 1_000_000])
    parser.add_argument("--flows", type=int, nargs="+", default=[1, 10, 100, 1000, 10_000])
    parser.add_argument("--hours", type=float, default=24.0, help="simulated time")
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--out", type=Path, default=Path("runs/scale"), help="folder of the table and the plot")
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one is not None:
        print(json.dumps(dataclasses.asdict(one_population(arguments.one, arguments.hours, arguments.rounds))))
        return
    costs = populations(arguments.devices, arguments.hours, arguments.rounds)
    flows = {count: max(Star(count, 100_000).ends_per_s() for _ in range(3)) for count in arguments.flows}
    ticks = []
    for name, tick_s in (("events", None), ("tick 1 s", 1.0), ("tick 0.1 s", 0.1)):
        ticks.append((name, *min(one_hour(tick_s) for _ in range(3))))
    exact_s = ticks[0][3]
    parts = [
        _table(
            "devices | set-up, CPU s | run, CPU s | µs a transition | peak MB | transitions | messages",
            [
                (
                    str(cost.devices),
                    f"{cost.set_up_s:.1f}",
                    f"{cost.run_s:.1f}",
                    f"{cost.total_s / cost.transitions * 1e6:.1f}",
                    f"{cost.peak_bytes / 1e6:.0f}",
                    str(cost.transitions),
                    str(cost.messages),
                )
                for cost in costs
            ],
        ),
        _table("flows | thousand ends a CPU second", [(str(n), f"{rate / 1e3:.0f}") for n, rate in flows.items()]),
        _table(
            "an hour of one phone | CPU ms | calls | times the events' cost | throttling found late by, s",
            [
                (
                    name,
                    f"{1e3 * seconds:.3f}",
                    str(calls),
                    f"{seconds / ticks[0][1]:.0f}",
                    f"{throttled_s - exact_s:.3f}",
                )
                for name, seconds, calls, throttled_s in ticks
            ],
        ),
    ]
    if len(costs) > 1:
        few, many = costs[-2].devices, costs[-1].devices
        parts.insert(1, f"From {few} to {many} devices the cost grows with the power {_exponent(costs):.2f}.\n")
    arguments.out.mkdir(parents=True, exist_ok=True)
    text = "\n".join(parts)
    (arguments.out / "scale.md").write_text(text)
    _plot(arguments.out / "scale.png", costs, flows, ticks)
    print(text)
    print(f"written: {arguments.out / 'scale.md'}, {arguments.out / 'scale.png'}")


if __name__ == "__main__":
    main()
