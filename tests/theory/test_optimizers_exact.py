"""The server's optimizers against optax, and with one client against training alone."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.compute import Eager, Shard
from core.data import federation
from core.learning import ALGORITHMS, fedavg
from core.learning.averaging import fedsgd
from core.learning.server import fedadagrad, fedadam, fedavgm, fedyogi
from core.models import model
from core.rng import key_words
from core.wire import ArrayDict
from tests.theory.rounds import clients, federated, fixed_point_of, quadratic, quick, step_once, weighted

DELTAS = np.random.Generator(np.random.Philox(key=3)).normal(size=12).astype(np.float32)


def path(algorithm: Any) -> list[float]:
    """The parameter after each of the mean updates `DELTAS`."""
    server = dict(Eager().run(algorithm.init, ((0, 0),)))
    found = []
    for delta in DELTAS:
        server = dict(step_once(algorithm, server, ArrayDict({"x": delta})))
        found.append(float(server["params"]["x"]))
    return found


def optax_path(optimizer: optax.GradientTransformation, scale: Any = lambda t: 1.0) -> list[float]:
    """The same by optax, whose gradient is −Δ; `scale(t)` undoes its correction of the first moments."""
    x = jnp.float32(0)
    state, found = optimizer.init(x), []
    for t, delta in enumerate(DELTAS, start=1):
        change, state = optimizer.update(jnp.float32(-delta), state, x)
        x = x + change * jnp.float32(scale(t))
        found.append(float(x))
    return found


def test_fedavgm_is_optax_sgd_with_momentum() -> None:
    found = path(fedavgm(quadratic(), 1, server_learning_rate=0.3, server_momentum=0.8))
    np.testing.assert_allclose(found, optax_path(optax.sgd(0.3, momentum=0.8)), rtol=1e-5)


def test_fedavgm_without_momentum_is_fedavg() -> None:
    found = path(fedavgm(quadratic(), 1, server_learning_rate=0.3, server_momentum=0.0))
    np.testing.assert_allclose(found, path(fedavg(quadratic(), 1, 0.3)), rtol=1e-6)


@pytest.mark.parametrize("make", [fedadam, fedyogi])
def test_fedadam_and_fedyogi_are_optax_without_its_corrections(make: Any) -> None:
    """Reddi et al. do not divide by 1 − β^t; with τ → 0 that is a factor (1 − β1^t) / √(1 − β2^t) of each step."""
    b1, b2, tiny = 0.9, 0.99, 1e-9
    name = {fedadam: "adam", fedyogi: "yogi"}[make]
    if name == "adam":
        rule = optax.scale_by_adam(b1, b2, eps=tiny)
    else:
        rule = optax.scale_by_yogi(b1, b2, eps=tiny, initial_accumulator_value=0.0)
    ours = path(make(quadratic(), 1, 0.1, beta1=b1, beta2=b2, tau=tiny))
    theirs = optax_path(optax.chain(rule, optax.scale(-0.1)), lambda t: (1 - b1**t) / np.sqrt(1 - b2**t))
    np.testing.assert_allclose(ours, theirs, rtol=2e-4)


def test_fedadagrad_is_optax_adagrad() -> None:
    tau = 1e-4
    ours = path(fedadagrad(quadratic(), 1, 0.1, beta1=0.0, tau=tau))
    theirs = optax_path(optax.adagrad(0.1, initial_accumulator_value=tau * tau, eps=0.0))
    # optax has no τ beside the root.
    np.testing.assert_allclose(ours, theirs, rtol=1e-3)


@settings(max_examples=4, deadline=None)
@given(
    st.sampled_from(["fedadagrad", "fedadam", "fedyogi"]),
    st.floats(0.01, 1.0),
    st.floats(0, 0.99),
    st.floats(0, 0.99),
    st.floats(1e-3, 0.1),
)
def test_adaptive_servers_are_algorithm_2_in_float64(name: str, rate: float, b1: float, b2: float, tau: float) -> None:
    """Reddi et al. 2021, Algorithm 2, written down once more in plain numpy."""
    options = {"beta1": b1, "tau": tau} if name == "fedadagrad" else {"beta1": b1, "beta2": b2, "tau": tau}
    algorithm = ALGORITHMS[name](quadratic(), 1, rate, **options)
    x, m, v, expected = 0.0, 0.0, tau * tau, []
    for delta in DELTAS.astype(np.float64):
        m = b1 * m + (1 - b1) * delta
        square = delta * delta
        if name == "fedadagrad":
            v = v + square
        elif name == "fedadam":
            v = b2 * v + (1 - b2) * square
        else:
            v = v - (1 - b2) * square * np.sign(v - square)
        x = x + rate * m / (np.sqrt(v) + tau)
        expected.append(x)
    np.testing.assert_allclose(path(algorithm), expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("name", ["fedavgm", "fedadam", "mimelite", "scaffold", "feddyn"])
def test_where_no_update_was_usable_the_server_stays_as_it_was(name: str) -> None:
    """Also momentum, which would otherwise go on by itself."""
    algorithm = ALGORITHMS[name](quadratic(), 1)
    server = dict(Eager().run(algorithm.init, ((0, 0),)))
    mean = ArrayDict({key: np.float32(0.5) for key in algorithm.update})
    before = dict(step_once(algorithm, server, mean))
    nothing = ArrayDict({key: np.float32(0) for key in algorithm.update})
    after = dict(step_once(algorithm, before, nothing, total=0))
    assert before["params"] != server["params"]
    assert after == before


CLIENT = st.tuples(st.floats(0.5, 2), st.floats(-2, 2), st.integers(1, 3))


@settings(max_examples=4, deadline=None)
@given(st.lists(CLIENT, min_size=1, max_size=4))
def test_fedsgd_lands_on_the_optimum(drawn: Any) -> None:
    """One full gradient a client: centralised gradient descent, whose fixed point is Σ p a c / Σ p a."""
    a, c, p = (list(column) for column in zip(*drawn, strict=True))
    found = fixed_point_of(fedsgd(quadratic(), 3), clients(a, c, p), 1, 0.2)
    assert found == pytest.approx(weighted(p, a, c), abs=5e-6)


@pytest.mark.slow
def test_fedsgd_with_one_client_is_gradient_descent_of_optax() -> None:
    """On digits in minibatches of 16, whose gradients are put together: the gradient of all examples at once."""
    fed = federation("digits", "iid", 20, seed=2)
    softmax = model("softmax", input_shape=(8, 8), classes=10)
    shard: Shard = fed.shard(0)
    found = federated(fedsgd(softmax, 16), [shard], 10, 1, 0.5).server["params"]
    rows = fed.train[0]
    x, y = jnp.asarray(fed.data.x[rows]), jnp.asarray(fed.data.y[rows])
    params: Any = {name: jnp.zeros(s.shape, jnp.float32) for name, s in softmax.spec.items()}
    optimizer = optax.sgd(0.5)
    state = optimizer.init(params)
    gradient = jax.jit(jax.grad(lambda p: jnp.mean(softmax.loss(softmax.apply(p, x), y))))
    for _ in range(10):
        change, state = optimizer.update(gradient(params), state, params)
        params = optax.apply_updates(params, change)
    for name in found:
        np.testing.assert_allclose(found[name], params[name], atol=2e-6)


@pytest.mark.slow
@pytest.mark.parametrize("momentum", [0.0, 0.9])
@pytest.mark.parametrize("name", ["fedavg", "fedprox", "fednova", "ditto", "scaffold", "fedbuff", "fedasync"])
def test_one_client_is_local_training_on_digits(name: str, momentum: float) -> None:
    """With one client nothing is left to differ: each makes the steps of SGD on its batches, with momentum if any."""
    fed = federation("digits", "iid", 30, seed=2)
    softmax = model("softmax", input_shape=(8, 8), classes=10)
    alone(name, softmax, fed.shard(0), 16, 0.0 if name == "scaffold" else momentum)


@pytest.mark.parametrize("name", quick(["fedprox", "fednova", "ditto", "scaffold", "fedbuff", "fedasync", "feddyn"]))
def test_one_client_is_local_training(name: str) -> None:
    (shard,) = clients([2.0], [1.0], [3])
    alone(name, quadratic(), shard, 3, 0.0)


def alone(name: str, of: Any, shard: Shard, batch_size: int, momentum: float) -> None:
    """One round of one client is FedAvg's, which tests/core/learning holds to optax."""
    options: dict[str, Any] = {"momentum": momentum} if momentum else {}
    if name == "fedasync":
        options |= {"mixing": 1.0}
    if name == "fedprox":
        options |= {"mu": 0.0}
    if name == "feddyn":
        options |= {"alpha": 1e-6}
    algorithm = ALGORITHMS[name](of, batch_size, **options)
    found = federated(algorithm, [shard], 1, 3, 0.3).server["params"]
    eager = Eager()
    start = eager.run(algorithm.init, (key_words(0, "init"),))["params"]
    plain = fedavg(of, batch_size, momentum=momentum)
    update = eager.run(plain.local_update, (start, shard, 3, 0.3, key_words(0, "client", 0, 0)))["update"]
    # FedDyn's server adds h / α = its client's change once more.
    times = 2 if name == "feddyn" else 1
    for part in found:
        np.testing.assert_allclose(found[part], start[part] + times * update[part], rtol=1e-4, atol=1e-6)
