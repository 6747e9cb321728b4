"""Lazy evaluation: what is computed, when, in which batches, and that none of it can change a bit."""

from __future__ import annotations

import gc
import threading
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.aggregation import exact_mean
from core.compute import Deferred, Eager, Evaluator, Function, HostFunction, NumericsFailed, Rows, Shard
from core.compute.batch import plan_batch
from core.compute.cost import one_step
from core.compute.function import kind_of
from core.compute.graph import Node
from core.compute.layout import MAX_CAPACITY, Plan, compiled
from core.devices import Work
from core.wire import ArrayDict, Spec


def toy(name: str, fn: Callable[..., Any]) -> Function:
    return Function("evaluator_test." + name, fn, (), one_step(fn))


add = toy("add", lambda a, b: {"out": {"x": a["x"] + jnp.float32(1.5) * b["x"]}})
scale = toy("scale", lambda a, s: {"out": {"x": a["x"] * s}})
job = toy("job", lambda a, s: {"update": {"x": jnp.sin(a["x"] * s)}, "metrics": {"loss": jnp.sum(a["x"]) * s}})
mean = exact_mean(1000)


def payload(*values: float) -> ArrayDict:
    return ArrayDict({"x": np.asarray(values, np.float32)})


def alive() -> int:
    gc.collect()
    return sum(isinstance(o, Node) for o in gc.get_objects())


def fold(world: Any, base: Any, items: list[tuple[Any, int]]) -> Any:
    total = world(mean.init, base)["sum"]
    for item, weight in items:
        total = world(mean.accumulate, total, item, weight)["sum"]
    return total


def submitting(evaluator: Evaluator) -> Callable[..., Any]:
    return lambda function, *args: evaluator.submit(function, args)


def running(eager: Eager) -> Callable[..., Any]:
    return lambda function, *args: eager.run(function, args)


LOOKS: dict[str, Callable[[Any], Any]] = {
    "float": float,
    "int": int,
    "bool": bool,
    "asarray": np.asarray,
    "jax": jnp.asarray,
    "index": lambda d: d["x"],
    "len": len,
    "iterate": list,
    "in": lambda d: "x" in d,
    "add": lambda d: d + 1,
    "radd": lambda d: 1 + d,
    "multiply": lambda d: d * 2.0,
    "numpy": lambda d: np.float32(1) * d,
    "negate": lambda d: -d,
    "compare": lambda d: d > 0,
    "branch": lambda d: 1 if d else 0,
}


@pytest.mark.parametrize("look", LOOKS.values(), ids=list(LOOKS))
def test_a_deferred_payload_cannot_be_looked_at_by_accident(look: Callable[[Any], Any]) -> None:
    out = Evaluator().submit(scale, (payload(1, 2), 3.0))["out"]
    with pytest.raises(TypeError, match=r"await ctx\.value\(x\)"):
        look(out)


def test_a_deferred_payload_has_the_spec_and_size_of_its_value() -> None:
    evaluator = Evaluator()
    out = evaluator.submit(job, (payload(1, 2, 3), 2.0))
    assert isinstance(out["update"], Deferred)
    assert out["update"].nbytes == 12
    assert out["metrics"].nbytes == 4
    assert evaluator.counts.jobs_executed == 0
    assert evaluator.value(out["update"]).spec == out["update"].spec
    assert evaluator.value(out["metrics"]).spec == out["metrics"].spec


def test_a_look_computes_exactly_the_ancestors() -> None:
    evaluator = Evaluator()
    a = evaluator.submit(scale, (payload(1), 2.0))["out"]
    b = evaluator.submit(scale, (a, 3.0))["out"]
    other = evaluator.submit(scale, (a, 5.0))["out"]
    assert evaluator.value(b)["x"] == [6]
    assert evaluator.resolved(a) is not None
    assert evaluator.resolved(other) is None
    counts = evaluator.counts
    assert (counts.jobs_submitted, counts.jobs_executed, counts.jobs_never_computed, counts.looks) == (3, 2, 1, 1)


def test_jobs_of_one_kind_form_one_batch_and_one_compilation_serves_every_size() -> None:
    evaluator = Evaluator()
    base = payload(1, 2)
    for size in (2, 3, 14, 64):
        before = evaluator.counts.of(job.name).batches
        total = fold(submitting(evaluator), base, [])
        for k in range(size):
            update = evaluator.submit(job, (base, float(k)))["update"]
            total = evaluator.submit(mean.accumulate, (total, update, k))["sum"]
        evaluator.value(total)
        assert evaluator.counts.of(job.name).batches == before + 1
    counts = evaluator.counts.of(job.name)
    assert (counts.jobs_submitted, counts.jobs_executed, counts.compilations) == (83, 83, 1)
    plans = [plan for plan in evaluator._plans if plan.function is job]
    assert [compiled(plan).program._cache_size() for plan in plans] == [1]  # type: ignore[attr-defined]


def test_a_lone_job_without_examples_has_a_program_without_room_for_others() -> None:
    evaluator = Evaluator()
    for _ in range(2):
        evaluator.value(evaluator.submit(job, (payload(1, 2), 3.0))["update"])
    many = [evaluator.submit(job, (payload(1, 2), float(k)))["update"] for k in range(3)]
    for update in many:
        evaluator.want(update)
    evaluator.finish()
    assert sorted(compiled(plan).capacity for plan in evaluator._plans) == [1, MAX_CAPACITY]


def test_a_thousand_functions_of_one_key_share_one_compilation() -> None:
    evaluator = Evaluator(max_pending=4096)

    def make() -> Function:
        def fn(a: Any, s: Any) -> Any:
            return {"out": {"x": a["x"] + s}}

        return toy("shared", fn)

    base = payload(1)
    outs = [evaluator.submit(make(), (base, float(k)))["out"] for k in range(1000)]
    total = fold(submitting(evaluator), base, [(out, 1) for out in outs])
    assert evaluator.value(total)["accepted"] == 1000
    assert evaluator.counts.of("evaluator_test.shared").compilations == 1
    assert evaluator.counts.of("evaluator_test.shared").batches == 1


def test_functions_of_one_key_that_differ_have_a_program_each() -> None:
    def adding(step: float) -> Function:
        return toy("differing", lambda a: {"out": {"x": a["x"] + step}})

    given = {1.0: adding(1.0), 2.0: adding(2.0), 3.0: toy("differing", lambda a: {"out": {"x": 3 + a["x"]}})}
    for _ in range(2):  # in the run of an evaluator, and from one to the next
        evaluator = Evaluator()
        outs = {step: evaluator.submit(function, (payload(1),))["out"] for step, function in given.items()}
        assert {step: float(evaluator.value(out)["x"][0]) for step, out in outs.items()} == {1.0: 2, 2.0: 3, 3.0: 4}


def test_a_dropped_clients_job_is_never_computed_and_not_retained() -> None:
    before = alive()
    evaluator = Evaluator()
    base = payload(1, 2)
    updates = [evaluator.submit(job, (base, float(k))) for k in range(10)]
    total = fold(submitting(evaluator), base, [(u["update"], 1) for u in updates[:7]])
    assert alive() == before + 10 + 1 + 7
    del updates[7:]
    assert alive() == before + 7 + 1 + 7
    evaluator.value(total)
    assert evaluator.counts.of(job.name).jobs_executed == 7
    assert evaluator.counts.jobs_never_computed == 3
    assert alive() == before + 7 + 1  # the empty sum and the sums on the way are gone
    del updates, total
    assert alive() == before


def test_fused_and_stored_updates_give_the_same_bits() -> None:
    sums = []
    for wanted in (False, True):
        evaluator = Evaluator()
        base = payload(0.3, -2, 5)
        updates = [evaluator.submit(job, (base, 0.1 * k))["update"] for k in range(20)]
        if wanted:
            for update in updates[::2]:
                evaluator.want(update)
        sums.append(evaluator.value(fold(submitting(evaluator), base, [(u, 3) for u in updates])))
        assert (evaluator.resolved(updates[0]) is not None) is wanted
        assert evaluator.resolved(updates[1]) is None
    assert sums[0] == sums[1]


def test_other_groups_of_fused_jobs_are_kept() -> None:
    evaluator = Evaluator()
    base = payload(1, 2)
    jobs = [evaluator.submit(job, (base, float(k))) for k in range(3)]
    evaluator.value(fold(submitting(evaluator), base, [(j["update"], 1) for j in jobs]))
    losses = [evaluator.resolved(j["metrics"]) for j in jobs]
    assert [None if loss is None else float(loss["loss"]) for loss in losses] == [0, 3, 6]


def test_an_update_that_went_into_a_sum_unstored_can_still_be_looked_at() -> None:
    evaluator = Evaluator()
    base = evaluator.submit(scale, (payload(1, 2), 2.0))["out"]
    first = evaluator.submit(job, (base, 0.5))["update"]
    evaluator.value(fold(submitting(evaluator), base, [(first, 1)]))
    expected = Eager().run(job, (payload(2, 4), 0.5))["update"]
    assert evaluator.value(first) == expected
    assert evaluator.counts.jobs_recomputed == 1
    assert evaluator.counts.jobs_executed == evaluator.counts.jobs_submitted


def test_a_sum_may_hold_jobs_that_rest_on_each_other() -> None:
    """The second job needs a metric of the first, and both are fused into one sum."""
    evaluator = Evaluator()
    base = payload(1.0)
    as_payload = toy("lift", lambda m: {"out": {"x": m["loss"][None]}})
    first = evaluator.submit(job, (base, 2.0))
    lifted = evaluator.submit(as_payload, (first["metrics"],))["out"]
    second = evaluator.submit(job, (lifted, 1.0))
    total = evaluator.value(fold(submitting(evaluator), base, [(first["update"], 1), (second["update"], 1)]))
    eager = Eager()
    items = [eager.run(job, (base, 2.0))["update"], eager.run(job, (payload(2.0), 1.0))["update"]]
    assert total == fold(running(eager), base, [(item, 1) for item in items])


def test_a_chain_is_cut_where_somebody_looks() -> None:
    evaluator = Evaluator()
    base = payload(1.0)
    items = [(evaluator.submit(job, (base, float(k)))["update"], k + 1) for k in range(6)]
    middle = fold(submitting(evaluator), base, items[:3])
    end = middle
    for item, weight in items[3:]:
        end = evaluator.submit(mean.accumulate, (end, item, weight))["sum"]
    assert evaluator.value(middle)["weight"] == 6
    assert evaluator.counts.of(job.name).jobs_executed == 3
    assert evaluator.value(end)["weight"] == 21
    assert evaluator.counts.of(job.name).jobs_executed == 6


def test_jobs_on_different_models_share_a_batch() -> None:
    evaluator = Evaluator()
    models = [payload(k, k + 1) for k in range(5)]
    outs = [evaluator.submit(scale, (m, 2.0))["out"] for m in models]
    joined = outs[0]
    for out in outs[1:]:
        joined = evaluator.submit(add, (joined, out))["out"]
    evaluator.value(joined)
    assert evaluator.counts.of(scale.name).batches == 1
    eager = Eager()
    for model, out in zip(models, outs, strict=True):
        assert evaluator.value(out) == eager.run(scale, (model, 2.0))["out"]


def test_wanted_is_computed_at_the_end_and_the_rest_is_not() -> None:
    evaluator = Evaluator()
    a = evaluator.submit(scale, (payload(1), 2.0))["out"]
    b = evaluator.submit(scale, (a, 3.0))["out"]
    unused = evaluator.submit(scale, (b, 4.0))["out"]
    evaluator.want(b)
    assert evaluator.resolved(b) is None
    evaluator.finish()
    found = evaluator.resolved(b)
    assert found is not None
    assert found["x"] == [6]
    assert evaluator.resolved(unused) is None
    assert (evaluator.counts.jobs_never_computed, evaluator.counts.looks) == (1, 0)


def test_jobs_computed_for_nobody_are_counted_as_wasted() -> None:
    evaluator = Evaluator(max_pending=2)
    for k in range(3):
        a = evaluator.submit(scale, (payload(1), float(k)))["out"]
        evaluator.submit(scale, (a, 3.0))  # a consumer that is lost
    assert evaluator.counts.jobs_executed == 2
    assert evaluator.counts.jobs_wasted == 2
    evaluator.value(a)
    assert evaluator.counts.jobs_wasted == 2


def federated(evaluator: Evaluator, rounds: int, clients: int) -> Any:
    """Rounds of jobs and sums without a look; one client in five is lost."""
    params: Any = payload(0.5, -0.25, 1.0)
    empty = evaluator.submit(mean.init, (params,))["sum"]
    for r in range(rounds):
        total = empty
        for k in range(clients):
            update = evaluator.submit(job, (params, 0.01 * (r + k)))["update"]
            if k % 5 != 4:
                total = evaluator.submit(mean.accumulate, (total, update, k + 1))["sum"]
        average = evaluator.submit(mean.finish, (total,))["mean"]
        params = evaluator.submit(add, (params, average))["out"]
    return params


def test_rounds_without_a_look_run_in_flat_memory_and_are_computed_whole() -> None:
    evaluator = Evaluator(max_pending=100)
    before = alive()
    params = federated(evaluator, rounds=60, clients=10)
    assert alive() - before <= 100 + 60
    counts = evaluator.counts.of(job.name)
    assert 0 < counts.jobs_executed < counts.jobs_submitted
    looked = evaluator.value(params)
    assert counts.batches == 60  # one a round: no round was ever computed in two parts
    assert counts.jobs_executed == 480
    free = Evaluator(max_pending=10**9)
    assert free.value(federated(free, rounds=60, clients=10)) == looked
    del params
    assert alive() == before


@pytest.mark.slow
def test_ten_thousand_rounds_without_a_look() -> None:
    evaluator = Evaluator(max_pending=1000)
    before = alive()
    params = federated(evaluator, rounds=10_000, clients=10)
    assert alive() - before <= 1000 + 300
    evaluator.value(params)
    assert evaluator.counts.of(job.name).batches == 10_000
    assert evaluator.counts.compilations <= 6


def test_deep_graphs_neither_recurse_when_computed_nor_when_dropped() -> None:
    evaluator = Evaluator(max_pending=10**9)
    out: Any = payload(1.0)
    for _ in range(20_000):
        out = evaluator.submit(scale, (out, 1.0))["out"]
    kept = out
    for _ in range(100_000):
        out = evaluator.submit(scale, (out, 1.0))["out"]
    del out
    evaluator.finish()
    assert alive() <= 20_100
    assert evaluator.value(kept)["x"] == [1]
    total = fold(submitting(evaluator), payload(1.0), [(payload(1.0), 1)] * 1000)
    assert evaluator.value(total)["weight"] == 1000


@pytest.mark.parametrize("layout", ["vmap:1", "vmap:4", "vmap:8"])
def test_the_vmap_layout_agrees_with_singles(layout: str) -> None:
    rows = Rows({"v": np.arange(12, dtype=np.float32)})

    def total_of(a: Any, shard: Any) -> Any:
        import jax

        def step(i: Any, t: Any) -> Any:
            return t + shard.arrays["v"][shard.index[i]]

        return {"update": {"x": a["x"] * jax.lax.fori_loop(jnp.int32(0), shard.count, step, jnp.float32(0))}}

    # A loop of unknown length has no cost that could be counted.
    function = Function("evaluator_test.total", total_of, (), lambda a, shard: Work(0.0, 0.0, 1))
    sums = []
    for chosen in ("scan", layout):
        evaluator = Evaluator(layout=chosen)
        base = payload(1, 2)
        updates = [evaluator.submit(function, (base, Shard(rows, np.arange(k % 12), 12)))["update"] for k in range(10)]
        sums.append(evaluator.value(fold(submitting(evaluator), base, [(u, 1) for u in updates])))
        if chosen != "scan":
            width = int(layout.split(":")[1])
            calls = -(-10 // width)
            assert evaluator.counts.of(function.name).batches == 1
            assert evaluator.counts.device_calls == calls  # the empty sum takes none
    for name in sums[0]:
        np.testing.assert_allclose(sums[0][name], sums[1][name], rtol=1e-6)


@pytest.mark.parametrize("layout", ["vmap", "vmap:0", "vmap:x", "pmap:2", ""])
def test_unknown_layouts_are_refused(layout: str) -> None:
    for make in (Evaluator, Eager):
        with pytest.raises(ValueError, match="`scan`, `vmap:W`"):
            make(layout=layout)


@pytest.mark.parametrize(
    ("argument", "error"),
    [
        (1 << 31, ValueError),
        (True, TypeError),
        ("1", TypeError),
        (None, TypeError),
        ((1, 2, 3), TypeError),
        ((1, -2), TypeError),
        (np.zeros(2000, np.float32), TypeError),
        (np.array(["a"]), TypeError),
        (np.array([1 << 40]), ValueError),
    ],
)
def test_arguments_no_function_takes_are_refused(argument: Any, error: type[Exception]) -> None:
    for run in (Evaluator().submit, Eager().run):
        with pytest.raises(error):
            run(scale, (payload(1), argument))


def test_numbers_are_narrowed_and_small_arrays_are_copied() -> None:
    evaluator = Evaluator()
    narrow = toy("narrow", lambda i, f, k, v: {"out": {"i": i, "f": f, "k": k, "v": v}})
    values = np.array([1.0, 2.0])
    out = evaluator.submit(narrow, (7, 0.1, (1, 2**32 - 1), values))["out"]
    values[0] = 9
    found = evaluator.value(out)
    assert {name: a.dtype.str for name, a in found.items()} == {"i": "<i4", "f": "<f4", "k": "<u4", "v": "<f4"}
    assert found["v"].tolist() == [1, 2]
    assert found["k"].tolist() == [1, 2**32 - 1]


def test_float64_results_and_float_sums_are_refused() -> None:
    wide = toy("wide", lambda a: {"out": {"x": a["x"].astype(jnp.float64)}})
    with pytest.raises(TypeError, match="float64"):
        Evaluator().submit(wide, (payload(1),))
    with pytest.raises(TypeError, match="group"):
        Evaluator().submit(toy("bare", lambda a: a["x"]), (payload(1),))


def test_a_deferred_payload_of_nowhere_is_refused() -> None:
    out = Evaluator().submit(scale, (payload(1), 2.0))["out"]
    with pytest.raises(TypeError, match="deferred"):
        Eager().run(scale, (out, 2.0))


def negated(name: str, fn: Callable[..., Any]) -> HostFunction:
    def declare(kind: Any) -> Any:
        return {"out": dict(kind.spec), "size": {"bytes": Spec("<i4", ())}}

    return HostFunction("evaluator_test." + name, fn, (), lambda a: Work(0.0, float(a.nbytes), 1), declare)


negate = negated("negate", lambda a: {"out": {"x": -a["x"]}, "size": {"bytes": np.int32(a.nbytes)}})


def test_host_functions_are_lazy_and_stand_between_jobs_and_sums() -> None:
    evaluator = Evaluator()
    base = payload(1, 2)
    items = [evaluator.submit(negate, (evaluator.submit(job, (base, float(k)))["update"],)) for k in range(4)]
    lost = evaluator.submit(negate, (evaluator.submit(job, (base, 9.0))["update"],))
    assert lost["out"].nbytes == 8
    total = evaluator.value(fold(submitting(evaluator), base, [(item["out"], 1) for item in items]))
    counts = evaluator.counts.of(negate.name)
    assert (counts.jobs_submitted, counts.jobs_executed, counts.batches, counts.compilations) == (5, 4, 1, 0)
    assert evaluator.counts.of(job.name).jobs_executed == 4
    size = evaluator.resolved(items[0]["size"])
    assert size is not None
    assert size["bytes"] == 8
    eager = Eager()
    updates = [eager.run(job, (base, float(k)))["update"] for k in range(4)]
    assert total == fold(running(eager), base, [(eager.run(negate, (u,))["out"], 1) for u in updates])


def test_host_functions_must_keep_what_they_declare() -> None:
    wrong: list[Callable[..., Any]] = [
        lambda a: {"out": {"x": a["x"][:1]}, "size": {"bytes": np.int32(0)}},
        lambda a: {"out": {"x": a["x"].astype(np.float64)}, "size": {"bytes": np.int32(0)}},
        lambda a: {"out": {"y": a["x"]}, "size": {"bytes": np.int32(0)}},
        lambda a: {"out": {"x": a["x"]}},
    ]
    for k, fn in enumerate(wrong):
        with pytest.raises(TypeError, match="declared"):
            Eager().run(negated(f"wrong{k}", fn), (payload(1, 2),))


OPS = st.lists(
    st.tuples(
        st.sampled_from(["add", "scale", "job", "negate", "sum", "look", "want", "drop"]),
        st.integers(0, 30),
        st.integers(0, 30),
        st.integers(0, 5),
    ),
    min_size=5,
    max_size=40,
)


def interpret(ops: Any, world: Callable[..., Any], look: Callable[[Any], Any], want: Callable[[Any], Any]) -> list[Any]:
    """A random program over payloads; returns all that is left and all that was looked at."""
    held: list[Any] = [payload(1.0, -0.5), payload(0.25, 3.0)]
    seen: list[Any] = []
    for op, i, j, n in ops:
        a, b = held[i % len(held)], held[j % len(held)]
        if op == "add":
            held.append(world(add, a, b)["out"])
        elif op == "scale":
            held.append(world(scale, a, 0.5 + n)["out"])
        elif op == "job":
            held.append(world(job, a, 0.1 * n)["update"])
        elif op == "negate":
            held.append(world(negate, a)["out"])
        elif op == "sum":
            items = [(world(job, a, 0.2 * k)["update"], k + 1) for k in range(n)] + [(b, 2)]
            held.append(world(mean.finish, fold(world, a, items))["mean"])
        elif op == "look":
            seen.append(look(a))
        elif op == "want":
            want(a)
        elif len(held) > 2:
            held.pop(2 + i % (len(held) - 2))
    return seen + [look(a) for a in held]


@settings(max_examples=60, deadline=None)
@given(OPS, st.sampled_from([2, 3, 10, 4096]))
def test_any_program_gives_the_bits_of_eager_computation(ops: Any, max_pending: int) -> None:
    evaluator = Evaluator(max_pending=max_pending)
    lazy = interpret(ops, submitting(evaluator), evaluator.value, evaluator.want)
    eager = interpret(ops, running(Eager()), lambda a: a, lambda a: None)
    assert len(lazy) == len(eager)
    assert all(x == y for x, y in zip(lazy, eager, strict=True))
    counts = evaluator.counts
    assert 0 <= counts.jobs_wasted <= counts.jobs_executed <= counts.jobs_submitted


def test_the_plan_is_part_of_what_is_compiled() -> None:
    shared = Plan(scale, (), (), None, "scan")
    assert shared == Plan(scale, (), (), None, "scan")
    assert shared != Plan(scale, (), (), None, "vmap:2")


@pytest.mark.parametrize("layout", ["scan", "vmap:4", "scan/vmap:4"])
@pytest.mark.parametrize("threads", [1, 3])
def test_threads_change_no_bit(layout: str, threads: int) -> None:
    """Jobs of unequal shards, folded into sums that the next jobs start from, over more than `max_pending`."""
    rows = Rows({"x": np.arange(40, dtype=np.float32)})

    def cost(a: Any, shard: Any, s: Any) -> Work:
        return Work(1.0, 1.0, shard.count)

    def fn(a: Any, shard: Any, s: Any) -> Any:
        def step(i: Any, x: Any) -> Any:
            return x * jnp.float32(0.9) + shard.arrays["x"][shard.index[i]] * s

        moved = jax.lax.fori_loop(jnp.int32(0), shard.count, step, a["x"])
        return {"update": {"x": moved - a["x"]}, "loss": {"loss": moved[0]}}

    walk = Function("evaluator_test.walk", fn, (), cost)
    mean = exact_mean(10_000)

    def run(evaluator: Evaluator) -> list[Any]:
        params: Any = payload(1, 2)
        losses = []
        for number in range(12):
            total: Any = evaluator.submit(mean.init, (params,))["sum"]
            for k in range(9):
                shard = Shard(rows, np.arange(k, k + 1 + (5 * k + number) % 7), 8)
                out = evaluator.submit(walk, (params, shard, 0.01 * (k + 1)))
                evaluator.want(out["loss"])
                losses.append(out["loss"])
                total = evaluator.submit(mean.accumulate, (total, out["update"], k + 1))["sum"]
            params = evaluator.submit(mean.finish, (total,))["mean"]
        evaluator.finish()
        return [evaluator.value(params), *(evaluator.value(loss) for loss in losses)]

    expected = run(Evaluator(layout=layout, max_pending=10**6))
    assert run(Evaluator(layout=layout, threads=threads, max_pending=20)) == expected


def test_what_goes_wrong_in_a_thread_is_raised_where_somebody_waits() -> None:
    def fail(item: Any) -> Any:
        raise ValueError("no such number")

    kind = {"out": {"x": Spec("<f4", (1,))}}
    broken = HostFunction("evaluator_test.broken", fail, (), lambda item: Work(0, 0, 1), declare=lambda kind_: kind)
    evaluator = Evaluator(threads=2)
    out = evaluator.submit(broken, (payload(1),))["out"]
    with pytest.raises(ValueError, match="no such number"):
        evaluator.value(out)
    with pytest.raises(ValueError, match="no such number"):
        evaluator.finish()


@pytest.mark.parametrize(("layout", "most", "splits"), [("scan", 3, 2), ("scan/vmap:2", 4, 2), ("scan/vmap:2", 2, 3)])
def test_a_call_without_memory_is_halved_until_it_fits(
    layout: str, most: int, splits: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ten calls in one program of 64, where only programs of at most so many have room; a real want of memory has
    `test_compute_memory`."""
    from core.compute import batch

    whole = batch.Compiled.__call__

    def small(self: Any, *arguments: Any) -> Any:
        if self.capacity > most:
            raise MemoryError
        return whole(self, *arguments)

    expected = [value["x"] for value in _scaled(Evaluator(layout=layout))]
    monkeypatch.setattr(batch.Compiled, "__call__", small)
    evaluator = Evaluator(layout=layout)
    assert [value["x"] for value in _scaled(evaluator)] == expected
    assert evaluator.counts.memory_splits == splits
    assert evaluator.counts.memory_retries == 1


@pytest.mark.parametrize(
    ("layout", "what"),
    [
        ("scan", r"one call of evaluator_test\.scale: no memory"),
        ("vmap:4", r"4 calls of evaluator_test\.scale side by side \(layout vmap:4\)"),
    ],
)
def test_a_call_that_never_has_memory_is_a_failure(layout: str, what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from core.compute import batch

    def none(self: Any, *arguments: Any) -> Any:
        raise MemoryError

    monkeypatch.setattr(batch.Compiled, "__call__", none)
    with pytest.raises(NumericsFailed, match=what):
        _scaled(Evaluator(layout=layout))


@pytest.mark.parametrize("layout", ["scan", "vmap:4", "scan/vmap:4"])
def test_a_lone_call_that_never_has_memory_is_a_failure(layout: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It has a program for one call in every layout, which has no halves."""
    from core.compute import batch

    attempts = iter(range(9))

    def none(self: Any, *arguments: Any) -> Any:
        assert next(attempts) < 8, "it is tried again and again"
        raise MemoryError

    monkeypatch.setattr(batch.Compiled, "__call__", none)
    evaluator = Evaluator(layout=layout)
    with pytest.raises(NumericsFailed, match=r"one call of evaluator_test\.scale: no memory"):
        evaluator.value(evaluator.submit(scale, (payload(2), 1.0))["out"])


def _scaled(evaluator: Evaluator) -> list[Any]:
    outs = [evaluator.submit(scale, (payload(2), float(k)))["out"] for k in range(10)]
    for out in outs:
        evaluator.want(out)
    evaluator.finish()
    return [evaluator.value(out) for out in outs]


def test_records_of_a_closed_evaluator_do_not_wait_for_what_its_threads_are_at() -> None:
    begun, go_on = threading.Event(), threading.Event()

    def slow(a: ArrayDict) -> dict[str, ArrayDict]:
        begun.set()
        assert go_on.wait(60)
        return {"out": a}

    function = HostFunction("evaluator_test.slow", slow, (), lambda a: Work(1, 1, 1), lambda a: {"out": a.spec})
    evaluator = Evaluator(threads=1, max_pending=2)
    outs = [evaluator.submit(function, (payload(k),))["out"] for k in range(3)]
    for out in outs:
        evaluator.want(out)
    assert begun.wait(60)
    closing = threading.Thread(target=evaluator.close)
    closing.start()
    while not evaluator._is_closed:
        time.sleep(0.001)
    assert evaluator.resolved(outs[0]) is None
    go_on.set()
    closing.join()
    assert evaluator.resolved(outs[0]) == payload(0)


def test_a_look_ahead_takes_the_jobs_under_way_along() -> None:
    """Five devices are at equal jobs and one at another; one look computes the equal ones in one batch."""
    evaluator = Evaluator()
    jobs = [evaluator.begin(scale, (payload(2), float(k))) for k in range(5)]
    other = evaluator.begin(add, (payload(1), payload(2)))
    first = evaluator.end(jobs[0])["out"]
    assert evaluator.value(first, ahead=True)["x"].tolist() == [0.0]
    assert evaluator.counts.of("evaluator_test.scale").batches == 1
    assert (evaluator.counts.jobs_executed, evaluator.counts.jobs_wasted) == (5, 4)
    for k in (1, 2, 3):
        assert evaluator.value(evaluator.end(jobs[k])["out"], ahead=True)["x"].tolist() == [2.0 * k]
    evaluator.drop(jobs[4])
    assert evaluator.value(evaluator.end(other)["out"])["x"].tolist() == [4.0]
    assert evaluator.counts.of("evaluator_test.scale").batches == 1
    # The one that was dropped was computed in vain.
    assert (evaluator.counts.jobs_executed, evaluator.counts.jobs_wasted) == (6, 1)


def test_a_plain_look_takes_nothing_along() -> None:
    evaluator = Evaluator()
    jobs = [evaluator.begin(scale, (payload(2), float(k))) for k in range(3)]
    evaluator.value(evaluator.end(jobs[0])["out"])
    assert evaluator.counts.jobs_executed == 1


def test_a_lone_call_has_no_loop_around_it() -> None:
    """What a loop repeats is compiled whole, with draws that nobody uses; the bits are those of one among many."""
    arguments = (payload(1.1, 2.2, 3.3), 0.7)
    plan = plan_batch(scale, tuple(kind_of(argument) for argument in arguments), [arguments], None, "scan")
    program = compiled(plan).program
    shapes = (np.int32(1), {0: dict(arguments[0])}, {1: np.zeros(1, np.float32)}, None, None)
    assert "while" not in str(jax.make_jaxpr(program)(*shapes))
    alone = Eager().run(scale, arguments)["out"]["x"]
    evaluator = Evaluator()
    both = [evaluator.submit(scale, (arguments[0], number))["out"] for number in (0.7, 0.3)]
    for one in both:
        evaluator.want(one)
    evaluator.finish()
    assert evaluator.counts.batches == 1
    assert np.array_equal(alone, evaluator.value(both[0])["x"])
