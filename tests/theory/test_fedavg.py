"""FedAvg against theory and a published figure, through the real functions, evaluator and exact sums."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.aggregation import exact_mean
from core.compute import Eager
from core.data import Dataset, Federation, federation
from core.learning import Algorithm, fedavg
from core.models import model
from core.rng import key_words
from core.wire import ArrayDict
from tests.theory.rounds import clients, contraction, federated, quadratic, weighted

QUADRATIC = fedavg(quadratic(), batch_size=1)


def fixed_point(a: list[float], c: list[float], p: list[int], steps: list[int], rate: float) -> float:
    """Σ p w c / Σ p w with w_i = 1 - (1 - η a_i)^E_i: where the weighted mean of the local moves is zero."""
    return weighted(p, [contraction(ai, rate, ei) for ai, ei in zip(a, steps, strict=True)], c)


def test_the_worked_example_lands_on_its_fixed_point() -> None:
    """p = (1/2, 1/2), a = (1, 4), c = (0, 1), η = 0.1, E = 5: not the optimum 0.8, but 0.6925023465365121."""
    assert fixed_point([1, 4], [0, 1], [1, 1], [5, 5], 0.1) == pytest.approx(0.6925023465365121, abs=1e-15)
    found = federated(QUADRATIC, clients([1, 4], [0, 1], [1, 1]), 60, [5, 5], 0.1)
    # Nothing but one batch a round: what clients send goes into the sum as it is computed.
    assert found.evaluator.counts.of("fedavg.local_update").batches == 60
    assert found.evaluator.counts.of("fedavg.local_update").jobs_executed == 120
    assert found.x == pytest.approx(0.6925023465365121, abs=1e-6)


CLIENT = st.tuples(st.floats(0.5, 4), st.floats(-2, 2), st.integers(1, 3), st.integers(1, 4))


@settings(max_examples=20, deadline=None)
@given(st.lists(CLIENT, min_size=2, max_size=4), st.floats(0.1, 0.2))
def test_fedavg_lands_on_the_fixed_point_of_the_formula(drawn: Any, rate: float) -> None:
    a, c, p, epochs = (list(column) for column in zip(*drawn, strict=True))
    found = federated(QUADRATIC, clients(a, c, p), 300, epochs, rate)
    steps = [e * n for e, n in zip(epochs, p, strict=True)]
    # float32: a fixed point is reached up to a few units in the last place, over the contraction of a round.
    assert found.x == pytest.approx(fixed_point(a, c, p, steps, rate), abs=5e-6)


# -- equivalences


def test_one_full_batch_step_of_everybody_is_centralised_gradient_descent() -> None:
    """E = 1, full batch, everyone, weights by examples: equal to gradient descent on the pooled data, to 1e-6."""
    fed = federation("digits", "dirichlet", 6, seed=1, alpha=0.3)
    softmax = model("softmax", input_shape=(8, 8), classes=10)
    found = federated(fedavg(softmax, fed.capacity), [fed.shard(k) for k in range(6)], 20, [1] * 6, 0.5).server[
        "params"
    ]

    rows = np.concatenate(fed.train)
    x, y = jnp.asarray(fed.data.x[rows]), jnp.asarray(fed.data.y[rows])
    gradient = jax.jit(jax.grad(lambda p: jnp.mean(softmax.loss(softmax.apply(p, x), y))))
    params = {name: jnp.zeros(s.shape, jnp.float32) for name, s in softmax.spec.items()}
    for _ in range(20):
        params = jax.tree.map(lambda p, g: p - jnp.float32(0.5) * g, params, gradient(params))
    for name, array in found.items():
        np.testing.assert_allclose(array, params[name], atol=1e-6)


def test_one_client_is_local_training() -> None:
    """With one client the mean is its update: one round of 4 epochs moves as local training does."""
    fed = federation("digits", "natural", 1)
    algorithm = fedavg(model("softmax", input_shape=(8, 8), classes=10), 16)
    eager = Eager()
    start = eager.run(algorithm.init, (key_words(0, "init"),))["params"]
    local = eager.run(algorithm.local_update, (start, fed.shard(0), 4, 0.1, key_words(0, "client", 0, 0)))["update"]
    found = federated(algorithm, [fed.shard(0)], 1, [4], 0.1).server["params"]
    for name in found:
        np.testing.assert_allclose(found[name], start[name] + local[name], atol=1e-6)


# -- the two worlds' ways to compute


def eagerly(algorithm: Algorithm, fed: Federation, rounds: int, epochs: int, learning_rate: float) -> ArrayDict:
    """As nodes of the real world do: own rows only, every call at once, updates arriving in another order."""
    eager = Eager()
    params = eager.run(algorithm.init, (key_words(0, "init"),))["params"]
    aggregation = exact_mean(fed.examples)
    for r in range(rounds):
        total = eager.run(aggregation.init, (params,))["sum"]
        for k in reversed(range(len(fed))):
            shard = fed.own_shard(k)
            key = key_words(0, "client", k, r)
            update = eager.run(algorithm.local_update, (params, shard, epochs, learning_rate, key))["update"]
            total = eager.run(aggregation.accumulate, (total, update, shard.count))["sum"]
        found = eager.run(aggregation.finish, (total,))
        arguments = (params, found["mean"], found["count"], float(fed.examples))
        params = eager.run(algorithm.apply, arguments)["params"]
    return params


@pytest.mark.parametrize(("name", "rounds"), [("softmax", 10), ("cnn", 2)])
def test_simulated_and_real_computation_agree_bit_for_bit(name: str, rounds: int) -> None:
    fed = federation("digits", "natural")
    algorithm = fedavg(model(name, input_shape=(8, 8), classes=10), 32)
    shards = [fed.shard(k) for k in range(len(fed))]
    lazy = federated(algorithm, shards, rounds, [2] * len(fed), 0.2).server["params"]
    real = eagerly(algorithm, fed, rounds, 2, 0.2)
    assert lazy == real
    eager = Eager()
    whole = eager.run(algorithm.evaluate, (lazy, fed.test_shard()))["metrics"]
    own = eager.run(algorithm.evaluate, (real, fed.own_test_shard()))["metrics"]
    assert whole == own


def test_the_vmap_layout_trains_the_same_model() -> None:
    fed = federation("digits", "natural", 6)
    algorithm = fedavg(model("softmax", input_shape=(8, 8), classes=10), 32)
    shards = [fed.shard(k) for k in range(6)]
    one, other = (
        federated(algorithm, shards, 3, [2] * 6, 0.2, layout=layout).server["params"] for layout in ("scan", "vmap:4")
    )
    for name in one:
        np.testing.assert_allclose(one[name], other[name], rtol=1e-4, atol=1e-6)


# -- a published figure


def test_digits_by_writer_reach_the_reference_accuracy() -> None:
    """FedAvg softmax regression, R = 50, E = 5, η = 0.2, B = 32, all writers: 0.938 (a numpy FedAvg, one split).

    The pooled test set has 360 pictures, so that one accuracy has a standard error of 0.013, and ours a spread of
    0.009 between splits: the mean of three splits must lie within 0.03 of the reference.
    """
    accuracies = []
    for seed in range(3):
        fed = federation("digits", "natural", seed=seed)
        algorithm = fedavg(model("softmax", input_shape=(8, 8), classes=10), 32)
        params = federated(algorithm, [fed.shard(k) for k in range(14)], 50, [5] * 14, 0.2).server["params"]
        metrics = Eager().run(algorithm.evaluate, (params, fed.test_shard()))["metrics"]
        accuracies.append(float(metrics["accuracy"]))
    assert np.mean(accuracies) == pytest.approx(0.938, abs=0.03)


def test_the_data_set_may_be_a_value() -> None:
    data = Dataset("two", np.eye(4, dtype=np.float32), np.arange(4, dtype=np.int32) % 2, None, 2, "client", "two")
    assert federation(data, "iid", 2, 0).label_counts().sum() == 4
