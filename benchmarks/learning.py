"""Client updates per second of the simulator beside a hand-written JAX loop, a plain one, and the machine's peak.

    python benchmarks/learning.py bars [--tasks softmax cnn] [--cohort 100] [--runs 5] [--threads 2]
    python benchmarks/learning.py cohorts | populations | start [--tasks softmax] [--runs 3]

The task is FedAvg over 1,000 clients of 20 to 200 examples of 28×28 pixels in 62 classes, 100 clients a round, one
local epoch, batches of 20 with a partial last one, SGD: `softmax` regression (48,670 parameters) and `cnn`
(conv 32 – conv 64 – pool – dense 128 – dense 62: 1,206,590 parameters). Every contender trains the same clients in the
same rounds, and ends with a test loss; the losses must agree.

- `aivsim`: everything on: actors, devices with battery and heat, links, records written to disk, exact sums.
- `nest`: the fastest plain JAX loop that we know: the data stay on the device, a round ships row numbers; in each of
  `threads` Python threads one program loops over clients, and inside over each client's own number of steps; the
  weighted sum of differences is the loop's carry. No time, no devices, no records. The model's functions are ours.
- `loop`: plain JAX as one writes it first: a jitted client update, called for each client from Python.
- `peak`: the best of numpy's and JAX's float32 product of two 2048×2048 matrices.

`bars` compares these by wall and by CPU time; useful FLOPs are counted by hand (`FLOPS`). `cohorts` and `populations`
show what growth costs, each point in a process of its own, from the end of the first round to that of the last, so
that neither the joining of a population nor compilation counts; `start` is the time to the end of the first round of
the quick start, compiled before, beside the bare import of JAX. Runs are interleaved and medians compared: on a shared
machine only ratios within one run mean something.
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
import json
import math
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

# `core.compute` sets JAX up (one thread for each program, 64-bit integers); it comes before JAX is used.
from core.compute import Evaluator, Rows, Shard

import jax  # isort: skip
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt
from jax import lax

from core.deployment import Deployment, Placement, Population
from core.devices import link, profile
from core.learning import fedavg
from core.models import Model, model
from core.records import EvaluationRow, RunWriter
from core.records.rows import RoundRow, Row
from core.roles import MESSAGES, Coordinator, TrainingPlan, Worker
from core.roles import Evaluator as Judge
from core.wire import Payload
from sim.world import World

CLASSES = 62
PIXELS = 28
BATCH = 20
LEAST, MOST = 20, 200
TESTS = 1000
RATE = 0.05
OPTIONS: dict[str, dict[str, Any]] = {"softmax": {}, "cnn": {"features": (32, 64), "hidden": 128}}
#: Useful FLOPs of one example's training step, by hand: two for each multiply-add of the forward pass, and the same
#: again for the gradient of each weight and of each input but the first layer's.
FLOPS = {
    "softmax": 2 * 2 * 784 * 62,
    "cnn": 2 * (2 * 676 * 9 * 32 + 3 * 576 * 288 * 64 + 3 * 9216 * 128 + 3 * 128 * 62),
}


@dataclasses.dataclass(frozen=True)
class Task:
    """Data of so many clients, dealt; `offsets[k]` is where client k's rows begin."""

    name: str
    model: Model
    rows: Rows
    sizes: npt.NDArray[np.int64]
    offsets: npt.NDArray[np.int64]

    @property
    def tests(self) -> npt.NDArray[np.int32]:
        """The held-out rows: the last ones."""
        return np.arange(len(self.rows) - TESTS, len(self.rows), dtype=np.int32)


def make_task(name: str, clients: int = 1000, resident: int = 1000) -> Task:
    """Examples drawn around a template of each class; clients beyond `resident` share the rows of the first ones."""
    rng = np.random.default_rng(7)
    sizes = rng.integers(LEAST, MOST + 1, resident)
    total = int(sizes.sum()) + TESTS
    templates = rng.standard_normal((CLASSES, PIXELS, PIXELS)).astype(np.float32)
    y = rng.integers(0, CLASSES, total).astype(np.int32)
    x = 0.5 * templates[y] + rng.standard_normal((total, PIXELS, PIXELS)).astype(np.float32)
    offsets = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    which = np.arange(clients) % resident
    network = model(name, input_shape=(PIXELS, PIXELS), classes=CLASSES, **OPTIONS[name])
    return Task(name, network, Rows({"x": x, "y": y}), sizes[which], offsets[which])


def cohort_of(task: Task, size: int, number: int) -> npt.NDArray[np.int64]:
    """The clients of a round; the simulator's coordinator draws its own, of the same distribution."""
    return np.sort(np.random.default_rng([3, number]).choice(len(task.sizes), size, replace=False))


@dataclasses.dataclass(frozen=True)
class Result:
    """What a contender did: client updates and examples, its times, and the test loss of its model."""

    updates: int
    examples: int
    wall_s: float
    cpu_s: float
    loss: float


# aivsim


def simulate(task: Task, cohort: int, rounds: int, threads: int, *, resting: bool = False) -> Result:
    """The whole simulator.

    `resting`: clients are a population, whose idle members are rows, and the clock runs from the end of the first round
    to that of the last, when all is computed: everybody joins before, and is asked for its energy after.
    """
    algorithm = fedavg(task.model, BATCH)
    capacity = int(task.sizes.max())

    def worker(k: int) -> Worker:
        begin = int(task.offsets[k])
        own = np.arange(begin, begin + int(task.sizes[k]), dtype=np.int32)
        return Worker("coordinator", algorithm, Shard(task.rows, own, capacity))

    plan = TrainingPlan(
        rounds=rounds,
        min_participants=cohort,
        max_participants=cohort,
        deadline_s=1e9,
        local_epochs=1,
        learning_rate=RATE,
        eval_every=10**6,
    )

    def phone(k: int) -> Placement:
        return Placement(f"phone-{k}", functools.partial(worker, k), profile("phone_mid"), link("wifi_home"))

    placements = [
        Placement(
            "coordinator", lambda: Coordinator(algorithm, plan, "evaluator"), profile("server"), link("datacentre")
        ),
        Placement(
            "evaluator", lambda: Judge(algorithm, Shard(task.rows, task.tests)), profile("server"), link("datacentre")
        ),
        *(phone(k) for k in range(0 if resting else len(task.sizes))),
    ]
    populations = (Population("phone", len(task.sizes), phone, ("local",)),) if resting else ()
    evaluator = Evaluator(threads=threads)
    losses: list[Payload] = []
    examples = 0
    clock: list[tuple[float, float]] = []

    def observe(time_s: float, actor: str, row: Row) -> None:
        if isinstance(row, EvaluationRow):
            assert isinstance(row.loss, Payload)
            losses.append(row.loss)
        if resting and isinstance(row, RoundRow) and row.round in (1, rounds):
            evaluator.finish()
            clock.append((time.perf_counter(), time.process_time()))

    with tempfile.TemporaryDirectory() as folder:
        writer = RunWriter(Path(folder) / "run", resolve=evaluator.resolved)
        deployment = Deployment(tuple(placements), "coordinator", MESSAGES, populations)
        world = World(deployment, writer, evaluator, observe)
        if not resting:
            clock.append((time.perf_counter(), time.process_time()))
        world.run()
        evaluator.finish()
        writer.close()
        clock.append((time.perf_counter(), time.process_time()))
        (began_s, began_cpu_s), (ended_s, ended_cpu_s) = clock[:2]
        wall_s, cpu_s = ended_s - began_s, ended_cpu_s - began_cpu_s
        examples = sum(part["examples"].to_numpy().sum() for part in _parts(Path(folder) / "run", "clients"))
    updates = cohort * (rounds - 1 if resting else rounds)
    return Result(updates, int(examples), wall_s, cpu_s, float(evaluator.value(losses[-1])["loss"]))


def _parts(directory: Path, table: str) -> Any:
    from core.records.store import read_parts

    return read_parts(directory, table)


# nest


def _step(task: Task, params: Any, x: jax.Array, y: jax.Array, mask: jax.Array) -> Any:
    def loss(params: Any) -> jax.Array:
        return jnp.sum(task.model.loss(task.model.apply(params, x), y) * mask) / jnp.sum(mask)

    return jax.tree.map(lambda p, g: p - jnp.float32(RATE) * g, params, jax.grad(loss)(params))


@functools.cache
def _nest_program(task_name: str, network: Model) -> Any:
    task = Task(task_name, network, None, None, None)  # type: ignore[arg-type]

    def program(params: Any, index: jax.Array, counts: jax.Array, n: jax.Array, x: jax.Array, y: jax.Array) -> Any:
        def client(i: jax.Array, total: Any) -> Any:
            order, count = index[i], counts[i]

            def step(s: jax.Array, current: Any) -> Any:
                rows = lax.dynamic_slice(order, (s * BATCH,), (BATCH,))
                mask = (s * BATCH + jnp.arange(BATCH, dtype=jnp.int32) < count).astype(jnp.float32)
                return _step(task, current, x[rows], y[rows], mask)

            trained = lax.fori_loop(jnp.int32(0), (count + BATCH - 1) // BATCH, step, params)
            weight = count.astype(jnp.float32)
            return jax.tree.map(lambda t, new, old: t + weight * (new - old), total, trained, params)

        return lax.fori_loop(jnp.int32(0), n, client, jax.tree.map(jnp.zeros_like, params))

    return jax.jit(program)


def test_loss(task: Task, params: Any) -> float:
    """The mean loss over the held-out examples."""
    x, y = task.rows.arrays["x"][task.tests], task.rows.arrays["y"][task.tests]
    total = 0.0
    for begin in range(0, TESTS, 100):
        rows = slice(begin, begin + 100)
        total += float(jnp.sum(task.model.loss(task.model.apply(params, jnp.asarray(x[rows])), jnp.asarray(y[rows]))))
    return total / TESTS


def _initial(task: Task) -> Any:
    return task.model.init(jax.random.key(0))


def nest(task: Task, cohort: int, rounds: int, threads: int) -> Result:
    """The hand-written loop on `threads` threads, clients dealt longest first."""
    data = task.rows.resident()
    program = _nest_program(task.name, task.model)
    capacity = -(-int(task.sizes.max()) // BATCH) * BATCH
    rng = np.random.default_rng(5)

    def share(params: Any, clients: npt.NDArray[np.int64]) -> Any:
        index = np.zeros((cohort, capacity), np.int32)
        counts = np.zeros(cohort, np.int32)
        for i, k in enumerate(clients):
            counts[i] = task.sizes[k]
            index[i, : counts[i]] = task.offsets[k] + rng.permutation(int(counts[i]))
        return jax.block_until_ready(program(params, index, counts, np.int32(len(clients)), data["x"], data["y"]))

    with ThreadPoolExecutor(threads) as pool:

        def one_round(params: Any, number: int) -> tuple[Any, int]:
            clients = cohort_of(task, cohort, number)
            longest = clients[np.argsort(-task.sizes[clients], kind="stable")]
            sums = list(pool.map(lambda t: share(params, longest[t::threads]), range(threads)))
            weight = int(task.sizes[clients].sum())
            new = jax.tree.map(lambda p, *s: p + functools.reduce(jnp.add, s) / np.float32(weight), params, *sums)
            return new, weight

        params = _initial(task)
        one_round(params, 0)
        began_s, cpu_s = time.perf_counter(), time.process_time()
        examples = 0
        for number in range(rounds):
            params, weight = one_round(params, number)
            examples += weight
        jax.block_until_ready(params)
        wall_s, cpu_s = time.perf_counter() - began_s, time.process_time() - cpu_s
    return Result(cohort * rounds, examples, wall_s, cpu_s, test_loss(task, params))


# loop


@functools.cache
def _loop_step(task_name: str, network: Model) -> Any:
    task = Task(task_name, network, None, None, None)  # type: ignore[arg-type]
    return jax.jit(lambda params, x, y, mask: _step(task, params, x, y, mask))


def loop(task: Task, cohort: int, rounds: int, threads: int) -> Result:
    """Jitted steps called from Python, one client after another, the examples shipped with each step."""
    step = _loop_step(task.name, task.model)
    rng = np.random.default_rng(5)
    x, y = np.asarray(task.rows.arrays["x"]), np.asarray(task.rows.arrays["y"])

    def one_round(params: Any, number: int) -> tuple[Any, int]:
        clients = cohort_of(task, cohort, number)
        total: Any = None
        weight = int(task.sizes[clients].sum())
        for k in clients:
            count = int(task.sizes[k])
            order = task.offsets[k] + rng.permutation(count)
            current = params
            for begin in range(0, count, BATCH):
                rows = order[begin : begin + BATCH]
                padded = np.resize(rows, BATCH)
                mask = (np.arange(BATCH) < len(rows)).astype(np.float32)
                current = step(current, x[padded], y[padded], mask)
            share = np.float32(count)
            part = jax.tree.map(lambda new, old, n=share: n * (new - old), current, params)
            total = part if total is None else jax.tree.map(jnp.add, total, part)
        return jax.tree.map(lambda p, t: p + t / np.float32(weight), params, total), weight

    params = _initial(task)
    one_round(params, 0)
    began_s, cpu_s = time.perf_counter(), time.process_time()
    examples = 0
    for number in range(rounds):
        params, weight = one_round(params, number)
        examples += weight
    jax.block_until_ready(params)
    wall_s, cpu_s = time.perf_counter() - began_s, time.process_time() - cpu_s
    return Result(cohort * rounds, examples, wall_s, cpu_s, test_loss(task, params))


# peak


def peak_gflops(threads: int) -> float:
    """The best of numpy's and JAX's 2048³ float32 matrix products on this machine, GFLOP/s."""
    n = 2048
    a = np.random.default_rng(0).standard_normal((n, n)).astype(np.float32)
    half = np.array_split(a, threads)
    product = jax.jit(jnp.matmul)
    best = math.inf
    with ThreadPoolExecutor(threads) as pool:
        on_device = [jax.device_put(part) for part in half]
        whole = jax.device_put(a)

        def by_jax() -> None:
            list(pool.map(lambda part: jax.block_until_ready(product(part, whole)), on_device))

        for contender in (lambda: a @ a, by_jax):
            contender()
            for _ in range(3):
                began_s = time.perf_counter()
                contender()
                best = min(best, time.perf_counter() - began_s)
    return 2.0 * n**3 / best / 1e9


# What is compared.


def medians(results: list[Result]) -> dict[str, float]:
    """Rates of the median run, by wall and by CPU time."""
    return {
        "updates_per_s": statistics.median(r.updates / r.wall_s for r in results),
        "updates_per_cpu_s": statistics.median(r.updates / r.cpu_s for r in results),
        "examples_per_s": statistics.median(r.examples / r.wall_s for r in results),
        "loss": statistics.median(r.loss for r in results),
    }


CONTENDERS: dict[str, Callable[[Task, int, int, int], Result]] = {"aivsim": simulate, "nest": nest, "loop": loop}


def bars(arguments: argparse.Namespace) -> None:
    """All contenders on the same work, interleaved."""
    for name in arguments.tasks:
        task = make_task(name)
        rounds = arguments.rounds or {"softmax": 20, "cnn": 1}[name]
        results: dict[str, list[Result]] = {contender: [] for contender in arguments.contenders}
        peaks = []
        # The first run of each compiles and is not counted.
        for run in range(arguments.runs + 1):
            peaks.append(peak_gflops(arguments.threads))
            for contender, run_one in CONTENDERS.items():
                if contender not in results or (contender == "loop" and run > 1):
                    continue
                counted = rounds if run else 1
                result = run_one(task, arguments.cohort, counted, arguments.threads)
                if run:
                    results[contender].append(result)
        peak = statistics.median(peaks)
        print(
            f"\n{name}: cohort {arguments.cohort}, {rounds} rounds, {arguments.threads} threads, "
            f"{arguments.runs} runs; peak {peak:.0f} GFLOP/s"
        )
        print(f"{'':8} {'updates/s':>10} {'of nest':>8} {'by CPU':>8} {'GFLOP/s':>8} {'of peak':>8} {'loss':>7}")
        base = medians(results["nest"]) if results.get("nest") else None
        for contender, done in results.items():
            if not done:
                continue
            m = medians(done)
            gflops = m["examples_per_s"] * FLOPS[name] / 1e9
            by_wall = by_cpu = math.nan
            if base is not None:
                # Per example: the coordinator draws other clients than the hand-written loop.
                by_wall = m["examples_per_s"] / base["examples_per_s"]
                by_cpu = statistics.median(r.examples / r.cpu_s for r in done) / statistics.median(
                    r.examples / r.cpu_s for r in results["nest"]
                )
            print(
                f"{contender:8} {m['updates_per_s']:10.1f} {by_wall:8.2f} {by_cpu:8.2f} {gflops:8.1f} "
                f"{gflops / peak:8.1%} {m['loss']:7.3f}"
            )
        if base is not None:
            share = base["examples_per_s"] * FLOPS[name] / 1e9 / peak
            least = {"softmax": 0.28, "cnn": 0.45}[name]
            if share < least:
                print(f"nest reached {share:.1%} of the peak, less than {least:.0%}: this run does not count")


def _in_a_process(*arguments: str) -> Any:
    """What `point` of this file prints, in a process of its own."""
    command = [sys.executable, __file__, "point", *arguments]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def point(arguments: argparse.Namespace) -> None:
    """Cost of an update, and peak memory of the process, as JSON."""
    task = make_task(arguments.tasks[0], clients=arguments.clients)
    few = dataclasses.replace(task, sizes=task.sizes[:1000], offsets=task.offsets[:1000])
    # Compiles whatever batches come up.
    simulate(few, arguments.cohort, arguments.rounds, arguments.threads, resting=True)
    result = simulate(task, arguments.cohort, arguments.rounds, arguments.threads, resting=True)
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
    cost = {"wall_us": result.wall_s / result.updates * 1e6, "cpu_us": result.cpu_s / result.updates * 1e6}
    print(json.dumps({**cost, "peak_mb": peak_mb}))


def _growth(arguments: argparse.Namespace, name: str, points: list[tuple[int, int, int]]) -> None:
    """A row for each (clients, cohort, rounds): medians of runs that take turns."""
    found: dict[tuple[int, int, int], list[dict[str, float]]] = {at: [] for at in points}
    for _ in range(arguments.runs):
        for at, results in found.items():
            clients, cohort, rounds = (str(number) for number in at)
            options = ["--tasks", arguments.tasks[0], "--clients", clients, "--cohort", cohort, "--rounds", rounds]
            results.append(_in_a_process(*options, "--threads", str(arguments.threads)))
    print(f"\n{arguments.tasks[0]}, {arguments.threads} threads, medians of {arguments.runs} runs")
    print(f"{name:>10} {'wall µs/update':>15} {'CPU µs/update':>14} {'peak MB':>8}")
    for at, results in found.items():
        wall_us, cpu_us, peak_mb = (
            statistics.median(result[key] for result in results) for key in ("wall_us", "cpu_us", "peak_mb")
        )
        print(f"{at[0] if name == 'clients' else at[1]:10,} {wall_us:15.0f} {cpu_us:14.0f} {peak_mb:8.0f}")


def cohorts(arguments: argparse.Namespace) -> None:
    """Cohorts of 10, 100 and 1,000 of 1,000 clients, with as many updates."""
    _growth(arguments, "cohort", [(1000, 10, 401), (1000, 100, 41), (1000, 1000, 5)])


def populations(arguments: argparse.Namespace) -> None:
    """Cohorts of 100 of a thousand to a million clients."""
    _growth(arguments, "clients", [(10**power, 100, 41) for power in (3, 4, 5, 6)])


def start(arguments: argparse.Namespace) -> None:
    """Start of Python to the end of the first round of the quick start, over that to the end of the import of JAX."""
    study = (
        "import aivsim, sys; aivsim.run('quickstart', out=sys.argv[1], settings=['training.rounds=1'], report=False)"
    )
    taken: dict[str, list[float]] = {"import jax": [], study: []}
    with tempfile.TemporaryDirectory() as folder:
        # Compiled modules are kept, as they are wherever Python is not told otherwise.
        environment = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
        environment["PYTHONPYCACHEPREFIX"] = f"{folder}/modules"
        # The first run of each fills caches and is not counted.
        for run in range(arguments.runs + 1):
            for code, times in taken.items():
                began_s = time.perf_counter()
                subprocess.run(
                    [sys.executable, "-c", code, f"{folder}/{run}"], check=True, capture_output=True, env=environment
                )
                if run:
                    times.append(time.perf_counter() - began_s)
    bare_s, round_s = (statistics.median(times) for times in taken.values())
    print(f"import of JAX {bare_s:.2f} s, first round of the quick start {round_s:.2f} s: {round_s / bare_s:.2f} times")


WHAT = {"bars": bars, "cohorts": cohorts, "populations": populations, "start": start, "point": point}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("what", choices=list(WHAT), nargs="?", default="bars")
    parser.add_argument("--clients", type=int, default=1000)
    parser.add_argument("--tasks", nargs="+", choices=list(FLOPS), default=list(FLOPS))
    parser.add_argument("--contenders", nargs="+", choices=list(CONTENDERS), default=list(CONTENDERS))
    parser.add_argument("--cohort", type=int, default=100)
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    arguments = parser.parse_args()
    WHAT[arguments.what](arguments)


if __name__ == "__main__":
    main()
