"""Models: names, shapes, pure functions, and the errors for what cannot be one."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from core.models import Model, from_nnx, model
from core.models.convolution import convolve

KEY = jax.random.key(3, impl="rbg")


def images(of: Model, size: int = 5) -> jax.Array:
    return jax.random.normal(jax.random.key(7), (size, *of.input_shape), jnp.float32)


def test_softmax_starts_at_zero_and_is_a_matrix_product() -> None:
    softmax = model("softmax", input_shape=(8, 8), classes=10)
    params = softmax.init(KEY)
    assert {name: p.shape for name, p in params.items()} == {"dense.bias": (10,), "dense.kernel": (64, 10)}
    assert all((p == 0).all() for p in params.values())
    assert softmax.size == 650
    x = images(softmax)
    params = {"dense.kernel": jnp.ones((64, 10), jnp.float32), "dense.bias": jnp.arange(10, dtype=jnp.float32)}
    expected = np.asarray(x).reshape(5, 64).sum(1, keepdims=True) + np.arange(10)
    np.testing.assert_allclose(softmax.apply(params, x), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("shape", [(8, 8), (28, 28), (9, 7, 3)])
def test_the_cnn_and_its_reference_agree(shape: tuple[int, ...]) -> None:
    cnn = model("cnn", input_shape=shape, classes=10)
    params = jax.jit(cnn.init)(KEY)
    logits = jax.jit(cnn.apply)(params, images(cnn))
    assert logits.shape == (5, 10)
    np.testing.assert_allclose(logits, jax.jit(cnn.reference)(params, images(cnn)), rtol=1e-4, atol=1e-5)
    assert np.std(np.asarray(logits)) > 0.01


def test_models_are_values() -> None:
    assert model("cnn", input_shape=(8, 8), classes=10) == model("cnn", input_shape=(8, 8), classes=10)
    assert model("cnn", input_shape=(8, 8), classes=10) != model("cnn", input_shape=(8, 8), classes=10, hidden=16)
    assert len({model("softmax", input_shape=(8, 8), classes=10) for _ in range(3)}) == 1


def test_the_initial_parameters_depend_on_the_key_alone() -> None:
    cnn = model("cnn", input_shape=(8, 8), classes=10)
    one, same, other = cnn.init(KEY), cnn.init(KEY), cnn.init(jax.random.key(4, impl="rbg"))
    assert all((one[name] == same[name]).all() for name in one)
    assert (one["out.kernel"] != other["out.kernel"]).any()


class Perceptron(nnx.Module):  # type: ignore[misc]
    def __init__(self, rngs: nnx.Rngs, *, input_shape: tuple[int, ...], classes: int, hidden: int = 4) -> None:
        self.first = nnx.Linear(input_shape[0], hidden, rngs=rngs)
        self.second = nnx.Linear(hidden, classes, rngs=rngs)

    def __call__(self, x: jax.Array) -> Any:
        return self.second(jnp.tanh(self.first(x)))


class Normalised(nnx.Module):  # type: ignore[misc]
    def __init__(self, rngs: nnx.Rngs, *, input_shape: tuple[int, ...], classes: int) -> None:
        self.norm = nnx.BatchNorm(input_shape[0], rngs=rngs)


def test_an_own_model_is_a_factory_of_modules() -> None:
    own = from_nnx(Perceptron, name="own", input_shape=(6,), classes=3, hyper={"hidden": 5})
    assert {name: s.shape for name, s in own.spec.items()} == {
        "first.bias": (5,),
        "first.kernel": (6, 5),
        "second.bias": (3,),
        "second.kernel": (5, 3),
    }
    named = model(f"{__name__}:Perceptron", input_shape=(6,), classes=3, hidden=5)
    params = own.init(KEY)
    assert (named.apply(params, images(own)) == own.apply(params, images(own))).all()


def test_what_cannot_be_a_model_is_refused() -> None:
    with pytest.raises(ValueError, match="resnet, softmax"):
        model("renset", input_shape=(8, 8), classes=10)
    with pytest.raises(ValueError, match="cannot be loaded"):
        model("no_such_module:net", input_shape=(8, 8), classes=10)
    with pytest.raises(ValueError, match="depth"):
        model("cnn", input_shape=(8, 8), classes=10, depth=3)
    with pytest.raises(ValueError, match="6×6"):
        model("cnn", input_shape=(64,), classes=10)
    for features in ((8,), (8, 0), "ab", 3, (8, 1.5)):
        with pytest.raises(ValueError, match="features of cnn"):
            model("cnn", input_shape=(8, 8), classes=10, features=features)
    for hidden in (0, -4, "x", True):
        with pytest.raises(ValueError, match="hidden of cnn"):
            model("cnn", input_shape=(8, 8), classes=10, hidden=hidden)
    with pytest.raises(ValueError, match="BatchStat"):
        from_nnx(Normalised, name="norm", input_shape=(6,), classes=3)


@pytest.mark.parametrize("shape", [(2, 7, 9, 3, 4), (1, 6, 6, 1, 2)])
def test_a_convolution_by_products_has_the_gradients_of_the_plain_one(shape: tuple[int, ...]) -> None:
    batch, rows, columns, channels, features = shape
    keys = jax.random.split(jax.random.key(1), 3)
    x = jax.random.normal(keys[0], (batch, rows, columns, channels), jnp.float32)
    kernel = jax.random.normal(keys[1], (3, 3, channels, features), jnp.float32)

    def plain(x: jax.Array, kernel: jax.Array) -> jax.Array:
        return jax.lax.conv_general_dilated(x, kernel, (1, 1), "VALID", dimension_numbers=("NHWC", "HWIO", "NHWC"))

    expected, pull = jax.vjp(plain, x, kernel)
    found, own_pull = jax.vjp(convolve, x, kernel)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)
    cotangent = jax.random.normal(keys[2], expected.shape, jnp.float32)
    for own, reference in zip(own_pull(cotangent), pull(cotangent), strict=True):
        np.testing.assert_allclose(own, reference, rtol=1e-5, atol=2e-5)
