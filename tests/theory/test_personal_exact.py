"""Models of one's own: Ditto's closed form, APFL by finite differences, what FedBN and FedRep keep to themselves."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from hypothesis import given, settings
from hypothesis import strategies as st

from core.compute import Eager, Rows, Shard
from core.learning import ALGORITHMS, Algorithm, fedavg
from core.learning.clustered import ifca
from core.learning.partial import fedbn, fedrep, normalisation
from core.learning.personal import apfl, ditto
from core.models import from_nnx, model
from core.rng import key_words
from core.wire import ArrayDict
from tests.theory.rounds import clients, contraction, federated, own_model, quadratic, quick, weighted

CLIENT = st.tuples(st.floats(0.8, 3), st.floats(-2, 2), st.integers(1, 3))


@settings(max_examples=3, deadline=None)
@given(st.lists(CLIENT, min_size=2, max_size=4), st.just(0.5))
def test_ditto_personal_models_are_the_proximal_optima(drawn: Any, pull: float) -> None:
    """v_k = argmin a (v − c)²/2 + λ (v − w)²/2 = (a c + λ w) / (a + λ), w FedAvg's fixed point."""
    a, c, p = (list(column) for column in zip(*drawn, strict=True))
    found = federated(ditto(quadratic(), 3, lambda_=pull), clients(a, c, p), 60, 4, 0.1)
    w = weighted(p, [contraction(ai, 0.1, 4) for ai in a], c)
    assert found.x == pytest.approx(w, abs=1e-5)
    for k, state in found.states.items():
        assert float(state["x"]) == pytest.approx((a[k] * c[k] + pull * w) / (a[k] + pull), abs=1e-5)


def test_apfl_personal_mixtures_reach_the_own_optimum() -> None:
    """With one local step the local model stays at w, and α v + (1 − α) w goes to the client's own optimum."""
    a, c, p, alpha = [1.0, 3.0], [0.0, 2.0], [1, 2], 0.4
    found = federated(apfl(quadratic(), 3, alpha=alpha), clients(a, c, p), 500, 1, 0.2)
    w = weighted(p, a, c)
    assert found.x == pytest.approx(w, abs=1e-5)
    for k, state in found.states.items():
        assert float(state["model/x"]) == pytest.approx((c[k] - (1 - alpha) * w) / alpha, abs=1e-4)
        assert float(state["alpha"]) == pytest.approx(alpha)


@settings(max_examples=10, deadline=None)
@given(st.floats(-2, 2), st.floats(-2, 2), st.floats(0.2, 0.8))
def test_apfl_steps_down_its_own_loss(w: float, v: float, alpha: float) -> None:
    """The change of v, and of α if adaptive, is −η times the slope of f(α v + (1 − α) w), by finite differences."""
    a, c, rate, h = 2.0, 0.5, 0.01, 1e-5
    (shard,) = clients([a], [c], [1])

    def mixed(v: float, alpha: float) -> float:
        return a * (alpha * v + (1 - alpha) * w - c) ** 2 / 2

    algorithm = apfl(quadratic(), 3, adaptive=True)
    state = ArrayDict({"alpha": np.float32(alpha), "model/x": np.float32(v)})
    found = Eager().run(algorithm.local_update, (ArrayDict({"x": np.float32(w)}), state, shard, 1, rate, (0, 0)))
    by_v = (mixed(v + h, alpha) - mixed(v - h, alpha)) / (2 * h)
    by_alpha = (mixed(v, alpha + h) - mixed(v, alpha - h)) / (2 * h)
    assert float(found["state"]["model/x"]) - v == pytest.approx(-rate * by_v, abs=2e-5)
    expected = min(max(alpha - rate * by_alpha, 0.0), 1.0)
    assert float(found["state"]["alpha"]) == pytest.approx(expected, abs=2e-5)
    assert float(found["update"]["x"]) == pytest.approx(-rate * a * (w - c), abs=1e-5)


def test_apfl_at_the_ends_is_fedavg_or_local_training() -> None:
    a, c, p = [1.0, 3.0], [0.0, 2.0], [1, 2]
    eager = Eager()
    for alpha in (0.0, 1.0):
        algorithm = apfl(quadratic(), 3, alpha=alpha)
        shards = clients(a, c, p)
        found = federated(algorithm, shards, 150, 1, 0.2)
        assert algorithm.personal is not None
        for k, state in found.states.items():
            own = eager.run(algorithm.personal, (found.server["params"], state, shards[k]))["metrics"]
            at = c[k] if alpha else weighted(p, a, c)
            assert float(own["loss"]) == pytest.approx(a[k] * (at - c[k]) ** 2 / 2, abs=1e-4)


class Normed(nnx.Module):  # type: ignore[misc]
    """A body, a normalisation and a head."""

    def __init__(self, rngs: nnx.Rngs, *, input_shape: tuple[int, ...], classes: int) -> None:
        self.body = nnx.Linear(input_shape[0], 6, rngs=rngs)
        self.norm = nnx.LayerNorm(6, rngs=rngs)
        self.out = nnx.Linear(6, classes, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        logits: jax.Array = self.out(jax.nn.relu(self.norm(self.body(x))))
        return logits


NORMED = from_nnx(Normed, name="normed", input_shape=(3,), classes=2)


def two_clients() -> list[Shard]:
    rng = np.random.Generator(np.random.Philox(key=11))
    rows = Rows({"x": rng.normal(size=(40, 3)).astype(np.float32), "y": rng.integers(0, 2, 40).astype(np.int32)})
    return [Shard(rows, np.arange(0, 15), 25), Shard(rows, np.arange(15, 40), 25)]


def nbytes(names: Any) -> int:
    return sum(4 * NORMED.spec[name].size for name in names)


def test_fedbn_keeps_normalisation_local_and_off_the_wire() -> None:
    local = {"norm.bias", "norm.scale"}
    assert normalisation(NORMED) == local
    algorithm = fedbn(NORMED, 25)
    found = federated(algorithm, two_clients(), 3, 2, 0.2)
    common = set(NORMED.spec) - local
    assert set(algorithm.update) == set(found.server["params"]) == common
    assert algorithm.server["params"].nbytes == nbytes(common)
    assert all(set(state) == local and state.nbytes == nbytes(local) for state in found.states.values())
    # Each has its own, and both have trained them.
    assert not np.array_equal(found.states[0]["norm.scale"], found.states[1]["norm.scale"])
    assert not np.array_equal(found.states[0]["norm.scale"], np.ones(6, np.float32))


def test_fedbn_of_one_client_is_local_training() -> None:
    """What is shared and what is local are trained together: with one client nothing differs from SGD on all of it."""
    shard = two_clients()[0]
    found = federated(fedbn(NORMED, 25), [shard], 1, 3, 0.2)
    eager, plain = Eager(), fedavg(NORMED, 25)
    start = eager.run(plain.init, (key_words(0, "init"),))["params"]
    update = eager.run(plain.local_update, (start, shard, 3, 0.2, key_words(0, "client", 0, 0)))["update"]
    for name in NORMED.spec:
        now = found.states[0] if name.startswith("norm") else found.server["params"]
        np.testing.assert_allclose(now[name], start[name] + update[name], rtol=1e-5, atol=1e-6)


def test_fedrep_trains_the_head_first_then_the_body_and_shares_the_body_only() -> None:
    algorithm = fedrep(NORMED, 25, head="out", head_epochs=2)
    shard = two_clients()[1]
    eager = Eager()
    params = eager.run(algorithm.init, ((3, 4),))["params"]
    assert algorithm.enter is not None
    state = eager.run(algorithm.enter, (params, (5, 6)))["state"]
    assert set(state) == {"out.bias", "out.kernel"}
    assert set(params) == set(algorithm.update) == set(NORMED.spec) - set(state)
    assert algorithm.server["params"].nbytes == nbytes(params)
    found = eager.run(algorithm.local_update, (params, state, shard, 1, 0.3, (1, 2)))

    rows = np.asarray(shard.index)[: shard.count]
    x, y = jnp.asarray(shard.rows.arrays["x"][rows]), jnp.asarray(shard.rows.arrays["y"][rows])

    def loss(part: Any, rest: Any) -> jax.Array:
        return jnp.mean(NORMED.loss(NORMED.apply({**rest, **part}, x), y))

    slope = jax.jit(jax.grad(loss))
    head: Any = {name: jnp.asarray(array) for name, array in state.items()}
    body: Any = {name: jnp.asarray(array) for name, array in params.items()}
    for _ in range(2):  # all 25 examples are one batch
        head = jax.tree.map(lambda w, g: w - 0.3 * g, head, slope(head, body))
    moved = jax.tree.map(lambda w, g: w - 0.3 * g, body, slope(body, head))
    for name in head:
        np.testing.assert_allclose(found["state"][name], head[name], rtol=1e-4, atol=1e-6)
    for name in body:
        np.testing.assert_allclose(found["update"][name], moved[name] - body[name], rtol=1e-3, atol=1e-6)


PERSONAL: dict[str, Algorithm] = {
    "ditto": ditto(NORMED, 25),
    "apfl": apfl(NORMED, 25),
    "fedbn": fedbn(NORMED, 25),
    "fedrep": fedrep(NORMED, 25, head="out"),
    "ifca": ifca(NORMED, 25, clusters=3),
}


def drawn(rng: np.random.Generator, shapes: Any) -> dict[str, np.ndarray[Any, Any]]:
    """Arrays that no start and no training has, so that nothing but these can give their figures."""
    return {name: rng.normal(0, 1, spec.shape).astype(np.float32) for name, spec in sorted(shapes.items())}


@pytest.mark.parametrize("name", PERSONAL)
def test_a_clients_own_figures_are_those_of_the_model_that_it_predicts_with(name: str) -> None:
    """Recomputed by the plain evaluation of a model put together by hand, of clients that hold unlike states."""
    algorithm, eager, plain = PERSONAL[name], Eager(), fedavg(NORMED, 25)
    rng = np.random.Generator(np.random.Philox(key=6))
    shared = algorithm.server["params"].spec
    params = ArrayDict(drawn(rng, shared))
    assert algorithm.personal is not None
    for k, shard in enumerate(two_clients()):
        own = drawn(
            rng, {key: spec for key, spec in NORMED.spec.items() if name in ("ditto", "apfl") or key not in shared}
        )
        if name == "apfl":
            own = {f"model/{key}": array for key, array in own.items()} | {"alpha": np.float32(0.3 + 0.4 * k)}
        elif name == "ifca":
            own = {"cluster": np.int32(2 * k)}
        state = ArrayDict(own)
        found = eager.run(algorithm.personal, (params, state, shard))["metrics"]
        expected = eager.run(plain.evaluate, (own_model(name, params, state), shard))["metrics"]
        assert float(found["loss"]) == pytest.approx(float(expected["loss"]), rel=1e-5)
        assert float(found["accuracy"]) == float(expected["accuracy"])


def test_ifca_is_evaluated_by_the_model_with_the_least_loss() -> None:
    """On whatever examples: the figures of that one of the three, each evaluated alone."""
    algorithm, eager, plain = PERSONAL["ifca"], Eager(), fedavg(NORMED, 25)
    params = ArrayDict(drawn(np.random.Generator(np.random.Philox(key=6)), algorithm.server["params"].spec))
    for shard in two_clients():
        every = [
            eager.run(plain.evaluate, (own_model("ifca", params, {"cluster": number}), shard))["metrics"]
            for number in range(3)
        ]
        losses = [float(metrics["loss"]) for metrics in every]
        assert len(set(losses)) == 3
        found = eager.run(algorithm.evaluate, (params, shard))["metrics"]
        assert float(found["loss"]) == pytest.approx(min(losses), rel=1e-6)
        assert float(found["accuracy"]) == float(every[int(np.argmin(losses))]["accuracy"])


def test_models_that_cannot_be_divided_are_refused() -> None:
    softmax = model("softmax", input_shape=(3,), classes=2)
    with pytest.raises(ValueError, match=r"fedbn needs a model with normalisation layers.*dense\.bias, dense\.kernel"):
        fedbn(softmax, 8)
    with pytest.raises(ValueError, match="several layers, of which one stays with the client; softmax has only dense"):
        fedrep(softmax, 8, head="dense")
    with pytest.raises(ValueError, match=r"head is 'top'.*body, norm, out"):
        fedrep(NORMED, 8, head="top")


@pytest.mark.parametrize("name", quick(["scaffold", "feddyn", "ditto", "apfl", "fedrep"]))
def test_a_client_whose_training_diverges_keeps_the_state_it_had(name: str) -> None:
    """What is not finite is not kept, or the client would be lost for good."""
    eager = Eager()
    if name == "fedrep":
        algorithm, shard = fedrep(NORMED, 25, head="out", head_epochs=2), two_clients()[1]
    else:
        algorithm, shard = ALGORITHMS[name](quadratic(), 3), clients([1.0], [2.0], [3])[0]
    server = eager.run(algorithm.init, ((1, 1),))
    assert algorithm.enter is not None
    state = eager.run(algorithm.enter, (server["params"], (2, 2)))["state"]
    groups = [group for group in (server["params"], server.get("shared"), state) if group is not None]
    found = eager.run(algorithm.local_update, (*groups, shard, 3, float("inf"), (0, 0)))
    assert not all(np.isfinite(array).all() for array in found["update"].values())
    assert found["state"] == state
