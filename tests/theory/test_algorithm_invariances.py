"""What no algorithm's result may depend on, and what each one's work is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from core.compute import Rows, Shard
from core.compute.function import shard_kind
from core.learning import ALGORITHMS
from core.learning.algorithm import MAX_ELEMENT
from core.learning.local import Steps, forward_cost, gradient_cost
from core.learning.registry import example
from core.models import model
from core.wire import ArrayDict
from tests.theory.rounds import Outcome, clients, federated, quadratic, quick

A, C, P, EPOCHS = [1.0, 2.0, 0.5], [0.0, 1.0, -1.5], [1, 2, 3], [3, 1, 2]
#: Those that need layers, which the model of one parameter has not: they train `example()` on the same numbers.
LAYERED = ("fedbn", "fedrep")
#: Those in which clients count alike, whatever their examples.
BY_CLIENTS = ("afl", "fedasync", "fedbuff")
BY_EXAMPLES = [name for name in ALGORITHMS if name not in BY_CLIENTS]
#: What IFCA's two models start at: near the clients of either side.
CLUSTERS = ArrayDict({"x": np.array([-1.0, 1.0], np.float32)})


def trained(name: str, shards: Sequence[Shard], epochs: Any, keys: Sequence[int] | None = None) -> Outcome:
    """Four rounds in batches that hold all of a client's examples."""
    options = {"clients": len(shards)} if name == "afl" else {}
    algorithm = ALGORITHMS[name](example() if name in LAYERED else quadratic(), 3, **options)
    start = CLUSTERS if name == "ifca" else None
    return federated(algorithm, shards, 4, 1 if name == "fedsgd" else epochs, 0.1, keys=keys, start=start)


def moved(found: Outcome) -> bool:
    """Whether the training changed what the clients' parameters start at."""
    before = CLUSTERS["x"] if found.server["params"].spec == CLUSTERS.spec else 0.0
    return all(np.any(array != before) for array in found.server["params"].values())


def assert_close(one: Outcome, other: Outcome) -> None:
    for name, array in one.server["params"].items():
        np.testing.assert_allclose(array, other.server["params"][name], atol=1e-6, err_msg=name)
    assert moved(one)


@pytest.mark.parametrize("name", quick(list(ALGORITHMS)))
def test_the_order_of_the_clients_changes_no_bit(name: str) -> None:
    """Each draws the same batches wherever it stands; what the server keeps of each stands at its place."""

    def run(order: Sequence[int]) -> Outcome:
        a, c, p, epochs = ([column[k] for k in order] for column in (A, C, P, EPOCHS))
        return trained(name, clients(a, c, p), epochs, keys=order)

    order = [2, 0, 1]
    one, other = run([0, 1, 2]), run(order)
    if name == "afl":
        own, permuted = (dict(found.server.pop("kept")) for found in (one, other))
        assert permuted["mixture"].tolist() == own["mixture"][order].tolist()
        assert len(set(own["mixture"].tolist())) == 3
    assert one.server == other.server
    assert [one.states[k] for k in order if k in one.states] == list(other.states.values())
    assert moved(one)
    if name == "ifca":
        assert {int(state["cluster"]) for state in one.states.values()} == {0, 1}


def test_who_counts_clients_alike_says_so() -> None:
    weighting = {name: make(example(), 2).weighting for name, make in ALGORITHMS.items()}
    assert weighting == {name: "clients" if name in BY_CLIENTS else "examples" for name in ALGORITHMS}


@pytest.mark.parametrize("name", quick(BY_EXAMPLES))
def test_a_client_twice_is_a_client_of_twice_the_weight(name: str) -> None:
    """Also where clients have a state: two that draw the same have equal states."""
    twice = trained(name, clients([1.0, 2.0, 2.0], [0.0, 1.0, 1.0], [2, 1, 1]), 2, keys=[0, 1, 1])
    assert_close(twice, trained(name, clients([1.0, 2.0], [0.0, 1.0], [2, 2]), 2))


@pytest.mark.parametrize("name", quick(BY_EXAMPLES))
def test_only_the_proportions_of_weights_count(name: str) -> None:
    one, other = (trained(name, clients([1.0, 2.0], [0.0, 1.0], weights), 2) for weights in ([1, 1], [3, 3]))
    assert_close(one, other)


@pytest.mark.parametrize("name", quick(BY_CLIENTS))
def test_where_clients_count_alike_their_examples_do_not(name: str) -> None:
    one, other = (trained(name, clients([1.0, 2.0], [0.0, 1.0], weights), 2) for weights in ([1, 3], [2, 1]))
    assert_close(one, other)


def test_the_largest_element_is_that_of_the_exact_mean() -> None:
    from core.aggregation.linear import RANGE_BITS

    assert MAX_ELEMENT == 1 << RANGE_BITS


# What is counted is what is done.

SHARD = Shard(
    Rows({"x": np.zeros((50, 8, 8), np.float32), "y": np.zeros(50, np.int32)}), np.arange(37), 50
)  # 4 batches of 10
CNN = model("cnn", input_shape=(8, 8), classes=10)


def work(name: str, epochs: int, **options: Any) -> Any:
    found = ALGORITHMS[name](CNN, 10, **options).local_update.work(object(), SHARD, epochs, 0.1, (0, 0))
    return found.flops * found.steps, found.bytes * found.steps, found.steps


def test_what_is_counted_is_what_is_done() -> None:
    kind = shard_kind(SHARD)
    import optax

    step = Steps(CNN, 10, lambda rate: optax.sgd(rate)).cost(kind)
    gradient, forward = gradient_cost(CNN, 10, kind), forward_cost(CNN, 10, kind)
    for epochs in (1, 3):
        plain = work("fedavg", epochs)
        assert plain == (4 * epochs * step.flops, 4 * epochs * step.bytes, 4 * epochs)
        # One gradient more over all examples, whatever the epochs.
        mime = work("mimelite", epochs)
        assert mime[2] == 4 * (epochs + 1)
        mixing = 3 * CNN.size  # (1 − β) g + β m
        assert mime[0] == pytest.approx(4 * (epochs * (step.flops + mixing) + gradient.flops), rel=1e-9)
        # One evaluation more.
        assert work("qffl", epochs)[0] == pytest.approx(4 * (epochs * step.flops + forward.flops), rel=1e-9)
        assert work("ifca", epochs, clusters=3)[0] == pytest.approx(
            4 * (epochs * step.flops + 3 * forward.flops), rel=1e-9
        )
        # Two models, one of which is pulled: μ (w − w₀) added to its gradient.
        assert work("ditto", epochs)[2] == 2 * plain[2]
        assert work("ditto", epochs)[0] == pytest.approx(4 * epochs * (2 * step.flops + 3 * CNN.size), rel=1e-9)
        assert work("fedprox", epochs)[0] == pytest.approx(4 * epochs * (step.flops + 3 * CNN.size), rel=1e-9)
        # − c_i + c
        assert work("scaffold", epochs)[0] == pytest.approx(4 * epochs * (step.flops + 2 * CNN.size), rel=1e-9)
    assert work("fedsgd", 1) == (4 * gradient.flops, 4 * gradient.bytes, 4)
    # The head alone is cheaper than the body, and both together no more than two whole passes.
    whole, parts = work("fedavg", 1)[0], work("fedrep", 1)[0]
    assert whole < parts < 2 * whole


def test_evaluation_is_inference_and_training_is_not() -> None:
    for name, make in ALGORITHMS.items():
        algorithm = make(example(), 2)
        rows = Rows({"x": np.zeros((4, 2), np.float32), "y": np.zeros(4, np.int32)})
        shard = Shard(rows, np.arange(3))
        assert algorithm.local_update.work(object(), shard, 1, 0.1, (0, 0)).purpose == "training", name
        assert algorithm.evaluate.work(object(), shard).purpose == "inference", name
        if algorithm.personal is not None:
            assert algorithm.personal.work(object(), object(), shard).purpose == "inference", name


@pytest.mark.parametrize("name", ALGORITHMS)
def test_no_examples_make_no_steps_and_no_work(name: str) -> None:
    rows = Rows({"x": np.zeros((4, 2), np.float32), "y": np.zeros(4, np.int32)})
    algorithm = ALGORITHMS[name](example(), 2)
    steps = [
        algorithm.local_update.work(object(), Shard(rows, np.arange(count), 4), 2, 0.1, (0, 0)).steps
        for count in (0, 3)
    ]
    assert steps[0] == 0 < steps[1]


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        ("fedsgd", {"batch_size": 0}, "batch_size is 0; a whole number from 1"),
        ("fedavgm", {"server_momentum": 1.0}, "server_momentum is 1.0; a number with 0 <= number < 1"),
        ("fedadam", {"beta2": -0.1}, "beta2 is -0.1"),
        ("fedyogi", {"tau": 0.0}, "tau is 0.0; a positive number"),
        ("fedadagrad", {"server_learning_rate": float("nan")}, "server_learning_rate is nan"),
        ("fedprox", {"mu": -1}, "mu is -1; a number from 0"),
        ("scaffold", {"server_learning_rate": 0}, "server_learning_rate is 0"),
        ("fednova", {"optimizer": "adam"}, "optimizer is 'adam'; sgd is expected"),
        ("feddyn", {"alpha": 0}, "alpha is 0; a positive number"),
        ("feddyn", {"server_learning_rate": 0.5}, "server_learning_rate is 0.5; 1, as feddyn has none"),
        ("mimelite", {"beta": 1}, "beta is 1"),
        ("qffl", {"q": -1}, "q is -1"),
        ("afl", {"mixture_learning_rate": 0}, "mixture_learning_rate is 0"),
        ("afl", {"clients": 0}, "clients is 0; a whole number from 1"),
        ("ditto", {"lambda_": -0.1}, "lambda_ is -0.1"),
        ("apfl", {"alpha": 1.5}, "alpha is 1.5; a number from 0 to 1"),
        ("apfl", {"adaptive": 1}, "adaptive is 1; true or false"),
        ("fedrep", {"head_epochs": 0}, "head_epochs is 0"),
        ("ifca", {"clusters": 1}, "clusters is 1; a whole number from 2"),
        ("ifca", {"spread": float("inf")}, "spread is inf"),
        ("fedasync", {"mixing": 0}, "mixing is 0; a number above 0, up to 1"),
        ("fedasync", {"staleness": "linear"}, "staleness is 'linear'; one of constant, polynomial, hinge"),
        ("fedasync", {"grace": -1}, "grace is -1"),
        ("fedbuff", {"buffer": 0}, "buffer is 0"),
        ("fedbuff", {"exponent": -1}, "exponent is -1"),
    ],
)
def test_wrong_options_are_named_with_what_is_expected(name: str, options: dict[str, Any], said: str) -> None:
    import re

    with pytest.raises(ValueError, match=re.escape(said)):
        ALGORITHMS[name](example(), **{"batch_size": 2, **options})
