"""Local training: which examples a step sees, what the loss is, and what happens at the edges."""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from core.compute import Eager, Evaluator, Rows, Shard, ShardView
from core.compute.function import shard_kind
from core.learning import fedavg
from core.learning.algorithm import sgd
from core.learning.local import Steps, shuffled, walk
from core.models import Model, model
from core.wire import ArrayDict

EAGER = Eager()
SOFTMAX = model("softmax", input_shape=(3,), classes=2)
RNG = np.random.Generator(np.random.Philox(key=1))
ROWS = Rows({"x": RNG.normal(size=(23, 3)).astype(np.float32), "y": RNG.integers(0, 2, 23).astype(np.int32)})
START = ArrayDict({"dense.bias": np.zeros(2, np.float32), "dense.kernel": RNG.normal(size=(3, 2)).astype(np.float32)})


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 12), st.integers(0, 2**32 - 1))
def test_a_shuffle_permutes_the_examples_and_nothing_else(count: int, seed: int) -> None:
    index = jnp.arange(100, 112, dtype=jnp.int32)
    order = np.asarray(shuffled(index, jnp.int32(count), jnp.array([seed, 7], jnp.uint32), jnp.int32(0)))
    assert sorted(order[:count]) == list(range(100, 100 + count))
    assert sorted(order) == list(range(100, 112))


def test_shuffles_are_uniform() -> None:
    """Each of three examples comes first in a third of 3,000 shuffles (within four standard errors)."""
    keys = jnp.stack([jnp.arange(3000, dtype=jnp.uint32), jnp.zeros(3000, jnp.uint32)], axis=1)
    first = jax.vmap(lambda key: shuffled(jnp.arange(5, dtype=jnp.int32), jnp.int32(3), key, jnp.int32(0))[0])(keys)
    counts = np.bincount(np.asarray(first), minlength=5)
    assert counts[3:].tolist() == [0, 0]
    assert np.abs(counts[:3] - 1000).max() < 4 * np.sqrt(3000 * (1 / 3) * (2 / 3))


def orders(keys: int, epochs: int, count: int) -> Any:
    """Orders of so many examples, of each of these keys and epochs: [keys, epochs, count]."""
    words = jnp.stack([jnp.arange(keys, dtype=jnp.uint32), jnp.full(keys, 9, jnp.uint32)], axis=1)
    index, many = jnp.arange(count, dtype=jnp.int32), jnp.int32(count)
    draw = jax.vmap(lambda key: jax.vmap(lambda epoch: shuffled(index, many, key, epoch))(jnp.arange(epochs)))
    return np.asarray(jax.jit(draw)(words))


def test_each_epoch_of_a_key_has_an_order_of_its_own() -> None:
    """Epochs 0, 1, 2 differ; an example is anywhere as often, and where it was before says nothing about it.

    Both by chi-square at the level 0.001. Cells of the table of example by position are not independent, as every order
    fills each row and column once: (n − 1)/n of its statistic has (n − 1)² degrees of freedom. That of an example's
    positions in two epochs that follow one another has n² − 1, and the sum over examples at most n² times n of them.
    """
    found = orders(1000, 3, 5)
    long = orders(20, 3, 40)
    for one, other in ((0, 1), (0, 2), (1, 2)):
        # Two of 40! orders are equal with a chance of 1e-48.
        assert (long[:, one] != long[:, other]).any(axis=1).all()
    place = np.argsort(found, axis=2)
    table = np.stack([np.bincount(place[..., example].ravel(), minlength=5) for example in range(5)])
    statistic = ((table - 600.0) ** 2 / 600).sum() * 4 / 5
    assert statistic < stats.chi2.ppf(0.999, 16)
    for example in range(5):
        before, after = place[:, :2, example].ravel(), place[:, 1:, example].ravel()
        pairs = np.bincount(5 * before + after, minlength=25)
        assert stats.chisquare(pairs).pvalue > 0.001 / 5


def test_training_sees_the_order_of_each_epoch() -> None:
    """What two epochs of steps with one example each are given, in the order in which they are."""
    shard = Shard(ROWS, np.arange(3, 14), 15)
    key = jnp.array([7, 8], jnp.uint32)

    def seen(arrays: dict[str, jax.Array], index: jax.Array) -> jax.Array:
        def step(carry: Any, batch: Any) -> Any:
            at, rows = carry
            return (at + 1, rows.at[at].set(batch[0][0, 0])), jnp.float32(0)

        view = ShardView(arrays, index, jnp.int32(11))
        (_, rows), _ = walk(view, 1, jnp.int32(2), key, (jnp.int32(0), jnp.zeros(22, jnp.float32)), step)
        return rows

    padded = jnp.asarray(np.pad(shard.index[:11], (0, 4)))
    rows = np.asarray(jax.jit(seen)({name: jnp.asarray(a) for name, a in ROWS.arrays.items()}, padded))
    first, second = rows[:11], rows[11:]
    assert sorted(first) == sorted(second) == sorted(ROWS.arrays["x"][3:14, 0])
    assert first.tolist() != second.tolist()
    for epoch, part in enumerate((first, second)):
        order = np.asarray(shuffled(padded, jnp.int32(11), key, jnp.int32(epoch)))[:11]
        assert part.tolist() == ROWS.arrays["x"][order, 0].tolist()


def by_hand(
    of: Model, shard: Shard, batch: int, epochs: int, rate: float, words: tuple[int, int], momentum: float
) -> Any:
    """The same training in a plain loop over real, unpadded batches."""
    optimizer = optax.sgd(rate, momentum=momentum or None)
    params: Any = {name: jnp.asarray(a) for name, a in START.items()}
    memory = optimizer.init(params)
    losses: list[float] = []
    for e in range(epochs):
        index, count = jnp.asarray(shard.index), jnp.int32(shard.count)
        order = np.asarray(shuffled(index, count, jnp.array(words, jnp.uint32), jnp.int32(e)))[: shard.count]
        losses = []
        for at in range(0, shard.count, batch):
            rows = order[at : at + batch]
            x, y = jnp.asarray(shard.rows.arrays["x"][rows]), jnp.asarray(shard.rows.arrays["y"][rows])
            loss, grads = jax.value_and_grad(lambda p, x=x, y=y: jnp.mean(of.loss(of.apply(p, x), y)))(params)
            losses += [float(loss)] * len(rows)
            change, memory = optimizer.update(grads, memory, params)
            params = optax.apply_updates(params, change)
    return {name: params[name] - START[name] for name in params}, np.mean(losses)


@pytest.mark.parametrize("momentum", [0.0, 0.9])
@pytest.mark.parametrize("batch", [4, 5, 11, 64])
def test_local_update_is_minibatch_sgd(batch: int, momentum: float) -> None:
    """11 examples: batches of 4, 4 and 3; of 5, 5 and 1; of 11; and of 11 with room for 64."""
    shard = Shard(ROWS, np.arange(3, 14), 15)
    algorithm = fedavg(SOFTMAX, batch, momentum=momentum)
    out = EAGER.run(algorithm.local_update, (START, shard, 3, 0.3, (7, 8)))
    update, loss = by_hand(SOFTMAX, shard, batch, 3, 0.3, (7, 8), momentum)
    for name in update:
        np.testing.assert_allclose(out["update"][name], update[name], rtol=1e-5, atol=1e-6)
    assert float(out["metrics"]["loss"]) == pytest.approx(loss, rel=1e-5)


def test_padding_changes_nothing() -> None:
    results = []
    for capacity in (11, 12, 40):
        shard = Shard(ROWS, np.arange(3, 14), capacity)
        results.append(EAGER.run(fedavg(SOFTMAX, 64).local_update, (START, shard, 2, 0.3, (7, 8))))
    # The draws depend on the capacity, but with one batch an epoch the order is only that of a sum.
    for name in START:
        np.testing.assert_allclose(results[0]["update"][name], results[2]["update"][name], rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize(("indices", "epochs"), [([], 2), ([1, 2], 0)])
def test_no_examples_or_no_epochs_mean_no_update_and_no_loss(indices: list[int], epochs: int) -> None:
    shard = Shard(ROWS, np.array(indices, np.int32), 4)
    out = EAGER.run(fedavg(SOFTMAX, 2).local_update, (START, shard, epochs, 0.3, (7, 8)))
    assert all((a == 0).all() for a in out["update"].values())
    assert np.isnan(out["metrics"]["loss"])


def test_evaluation_counts_every_example_once() -> None:
    algorithm = fedavg(SOFTMAX, 4)
    shard = Shard(ROWS, np.arange(10, 21))
    metrics = EAGER.run(algorithm.evaluate, (START, shard))["metrics"]
    logits = np.asarray(ROWS.arrays["x"][10:21] @ START["dense.kernel"], np.float64)
    y = ROWS.arrays["y"][10:21]
    assert float(metrics["accuracy"]) == pytest.approx(np.mean(logits.argmax(1) == y))
    losses = np.log(np.exp(logits).sum(1)) - logits[np.arange(11), y]
    assert float(metrics["loss"]) == pytest.approx(losses.mean(), rel=1e-5)
    empty = EAGER.run(algorithm.evaluate, (START, Shard(ROWS, np.array([], np.int32))))["metrics"]
    assert np.isnan(empty["accuracy"])


def test_the_server_learning_rate_scales_the_mean() -> None:
    mean = ArrayDict({name: np.ones_like(a) for name, a in START.items()})
    count = ArrayDict({"weight": np.int64(3), "used": np.int32(1), "not_finite": np.int32(0)})
    moved = EAGER.run(fedavg(SOFTMAX, 4, server_learning_rate=0.5).apply, (START, mean, count, 3.0))["params"]
    for name in START:
        np.testing.assert_allclose(moved[name], START[name] + 0.5, rtol=1e-6)


def test_diverged_training_is_not_finite_and_not_hidden() -> None:
    shard = Shard(ROWS, np.arange(11))
    out = EAGER.run(fedavg(SOFTMAX, 4).local_update, (START, shard, 5, float("inf"), (7, 8)))
    assert not np.isfinite(out["update"]["dense.kernel"]).all()


def test_metrics_are_named_like_the_fields_of_the_rows_they_fill() -> None:
    from core.records.rows import ClientRow, EvaluationRow

    evaluator = Evaluator()
    algorithm = fedavg(SOFTMAX, 4)
    shard = Shard(ROWS, np.arange(11))
    trained = evaluator.submit(algorithm.local_update, (START, shard, 1, 0.1, (7, 8)))["metrics"]
    tested = evaluator.submit(algorithm.evaluate, (START, shard))["metrics"]
    assert set(trained.spec) <= set(ClientRow.__struct_fields__)
    assert set(tested.spec) <= set(EvaluationRow.__struct_fields__)
    assert {s.dtype for s in [*trained.spec.values(), *tested.spec.values()]} == {"<f4"}


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"batch_size": 0}, "batch_size is 0"),
        ({"batch_size": 4, "server_learning_rate": -1.0}, "server_learning_rate"),
        ({"batch_size": 4, "server_learning_rate": float("nan")}, "server_learning_rate"),
        ({"batch_size": 4, "optimizer": "adam"}, "'adam'.*sgd"),
        ({"batch_size": 4, "momentum": 1.0}, "momentum"),
        ({"batch_size": 4, "momentum": "abc"}, "momentum is 'abc'"),
    ],
)
def test_wrong_options_are_named(options: dict[str, Any], match: str) -> None:
    with pytest.raises(ValueError, match=match):
        fedavg(SOFTMAX, **options)


def test_a_step_is_traced_once_for_its_cost_its_results_and_its_program() -> None:
    """Tracing a model, with its gradient, is the dearest part of the start of a small study."""

    class Traced:
        """A class tells no function from itself, whatever it notes: with a list `apply` would be another each time."""

        shapes: ClassVar[list[tuple[int, ...]]] = []

    def apply(params: Any, x: jax.Array) -> jax.Array:
        Traced.shapes.append(x.shape)
        return SOFTMAX.apply(params, x)

    counted = dataclasses.replace(SOFTMAX, apply=apply, reference=apply)
    evaluator = Evaluator()
    args = (START, Shard(ROWS, np.arange(23)), 2, 0.5, (1, 2))
    job = fedavg(counted, 5).local_update
    evaluator.work(job, args)
    outcome = evaluator.submit(job, args)
    evaluator.value(outcome["update"])
    assert Traced.shapes == [(5, 3)]


def test_a_loss_that_is_another_by_the_next_run_has_a_gradient_of_its_own() -> None:
    scale = [1.0]

    @dataclasses.dataclass
    class Loss:
        """One without a hash, as dataclasses are."""

        scale: list[float]

        def __call__(self, logits: jax.Array, labels: jax.Array) -> jax.Array:
            return SOFTMAX.loss(logits, labels) * self.scale[0]

    own = dataclasses.replace(SOFTMAX, loss=Loss(scale))
    updates = []
    for scale[0] in (1.0, 0.0):
        job = fedavg(own, 5).local_update
        updates.append(EAGER.run(job, (START, Shard(ROWS, np.arange(23)), 1, 0.5, (1, 2)))["update"]["dense.kernel"])
    assert np.any(updates[0])
    assert not np.any(updates[1])


def test_the_cost_of_a_step_compiles_nothing(caplog: pytest.LogCaptureFixture) -> None:
    """An operation on a number of JAX outside of a trace is a program of its own, and takes as long to begin with."""
    kind = shard_kind(Shard(ROWS, np.arange(23)))
    jax.clear_caches()
    with jax.log_compiles(True), caplog.at_level("WARNING"):
        Steps(SOFTMAX, 7, sgd("sgd", 0.9)).cost(kind)
    assert not [record for record in caplog.records if "ompil" in record.getMessage()]
