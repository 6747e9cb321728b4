"""The models that come with the project: published sizes, FLOPs by hand, and what their forms promise."""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from core.models import CLASSIFICATION, NEXT_TOKEN, REGRESSION, Model, example, model, models
from core.models.layers import FastConv, ReferenceConv
from tests.core.models.forward import FORWARD

IMAGE: dict[str, Any] = {"input_shape": (28, 28)}


def text(tokens: int, length: int = 80) -> dict[str, Any]:
    return {"input_shape": (length,), "classes": tokens, "tokens": tokens, "task": NEXT_TOKEN}


PUBLISHED = [
    # McMahan et al., AISTATS 2017, section 3: "2NN" 199,210 and CNN 1,663,370 parameters.
    ("mlp", {**IMAGE, "classes": 10}, 199_210),
    ("mcmahan_cnn", {**IMAGE, "classes": 10}, 1_663_370),
    # LEAF (Caldas et al. 2018): FEMNIST CNN; its Shakespeare LSTM of 80 characters and two more.
    ("mcmahan_cnn", {**IMAGE, "classes": 62, "hidden": 2048}, 6_603_710),
    ("lstm", text(82), 818_402),
    # Reddi et al., ICLR 2021, tables 4 and 7: EMNIST CNN and Shakespeare LSTM.
    ("femnist_cnn", {**IMAGE, "classes": 62}, 1_206_590),
    ("lstm", text(90), 820_522),
    # He et al., CVPR 2016, table 6: 0.27, 0.46, … million; exact numbers by hand below.
    ("resnet", {"input_shape": (32, 32, 3), "classes": 10, "depth": 20}, 269_722),
    # GPT-2 small as released: 124,439,808.
    ("decoder", {**text(50_257, 1024), "width": 768, "heads": 12, "layers": 12}, 124_439_808),
]


@pytest.mark.parametrize(("name", "options", "size"), PUBLISHED)
def test_parameters_are_as_many_as_published(name: str, options: dict[str, Any], size: int) -> None:
    assert model(name, **options).size == size


@pytest.mark.parametrize(("depth", "millions"), [(20, 0.27), (32, 0.46), (56, 0.85)])
def test_residual_networks_have_the_sizes_of_their_table(depth: int, millions: float) -> None:
    """Table 6 of He et al. By hand: a stage of width w has (2n − 1) · 9w² and one 9w·w/2, norms 2w, and the ends."""
    n = (depth - 2) // 6
    by_hand = 3 * 9 * 16 + 2 * n * 9 * 16**2
    by_hand += sum(9 * w * w // 2 + (2 * n - 1) * 9 * w * w for w in (32, 64))
    by_hand += 2 * 16 + 2 * n * sum(2 * w for w in (16, 32, 64)) + 64 * 10 + 10
    found = model("resnet", input_shape=(32, 32, 3), classes=10, depth=depth).size
    assert found == by_hand
    assert float(f"{found / 1e6:.2g}") == millions


def test_the_encoder_has_the_parameters_of_its_formula() -> None:
    """V d + L d + layers (12 d² + 13 d) + 2 d + d C + C: embedding, positions, layers, last norm, output."""
    d, layers, length, tokens, classes = 32, 3, 12, 58, 18
    found = model(
        "encoder", input_shape=(length,), classes=classes, tokens=tokens, width=d, layers=layers, task=CLASSIFICATION
    )
    assert found.size == (tokens + length) * d + layers * (12 * d * d + 13 * d) + 2 * d + (d + 1) * classes


def test_flops_of_softmax_by_hand() -> None:
    """784 · 10 multiply-adds and 10 additions; the gradient makes the kernel's product again, not the inputs'."""
    forward, step = model("softmax", **IMAGE, classes=10).flops
    assert forward == 2 * 784 * 10 + 10
    assert 4 * 784 * 10 <= step <= 4 * 784 * 10 + 200


def test_flops_of_the_mcmahan_cnn_by_hand() -> None:
    """A 5-wide window at 28 positions lies on 28 · 5 − 2 (2 + 1) = 134 pixels, at 14 on 64; a pool compares thrice."""
    conv1 = 2 * 134**2 * 32 + 28**2 * 32
    conv2 = 2 * 64**2 * 32 * 64 + 14**2 * 64
    relu = 28**2 * 32 + 14**2 * 64 + 512
    pool = 3 * (14**2 * 32 + 7**2 * 64)
    dense = 2 * 3136 * 512 + 512 + 2 * 512 * 10 + 10
    forward, step = model("mcmahan_cnn", **IMAGE, classes=10).flops
    assert forward == conv1 + conv2 + relu + pool + dense
    # The gradients by parameters and by inputs cost as much as the forward products, but for the first layer's inputs.
    products = 2 * 134**2 * 32 + 2 * 64**2 * 32 * 64 + 2 * 3136 * 512 + 2 * 512 * 10
    assert 3 * products - 2 * 134**2 * 32 <= step <= 1.06 * 3 * products


def test_flops_of_the_lstm_by_hand() -> None:
    """At each of 80 steps the products of two layers, 4 · 256 biases and sums, 9 operations a unit; then the output."""
    units, vocabulary, embedding = 256, 90, 8
    products = 4 * units * (embedding + units) + 4 * units * (units + units)
    # Bias, sum with the recurrence; three sigmoids, two tanh, three products and one sum.
    elementwise = 2 * (2 * 4 * units + 9 * units)
    output = 2 * units * vocabulary + vocabulary
    forward, _ = example("lstm").flops
    by_hand = 80 * (2 * products + elementwise + output)
    assert forward == pytest.approx(by_hand, rel=2e-3)


@pytest.mark.parametrize(("size", "stride", "padding"), [(1, 2, "same"), (3, 2, "same"), (5, 1, "valid")])
def test_the_two_forms_of_a_convolution_agree(size: int, stride: int, padding: Any) -> None:
    x = jax.random.normal(jax.random.key(1), (2, 9, 8, 3), jnp.float32)
    fast, plain = (
        kind(3, 4, nnx.Rngs(0), size=size, stride=stride, padding=padding) for kind in (FastConv, ReferenceConv)
    )
    assert (fast.kernel[...] == plain.kernel[...]).all()
    one, other = jax.jit(lambda x: (fast(x), plain(x)))(x)
    np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-5)


def weights(of: Model) -> dict[str, jax.Array]:
    """Initial parameters, compiled: one by one, their operations take several times as long."""
    return jax.jit(of.init)(jax.random.key(3, impl="rbg"))


def random_inputs(of: Model, size: int = 2) -> jax.Array:
    key = jax.random.key(7)
    if of.tokens:
        return jax.random.randint(key, (size, *of.input_shape), 0, of.tokens, jnp.int32)
    return jax.random.normal(key, (size, *of.input_shape), jnp.float32)


SMALL = [
    ("linear", {"input_shape": (3, 2), "classes": 1, "task": REGRESSION}),
    ("mlp", {"input_shape": (4,), "classes": 3, "hidden": (5,)}),
    ("mcmahan_cnn", {"input_shape": (8, 8), "classes": 3, "hidden": 8}),
    ("femnist_cnn", {"input_shape": (8, 8), "classes": 3}),
    ("resnet", {"input_shape": (9, 9), "classes": 1, "task": REGRESSION}),
    ("lstm", {**text(7, 5), "units": 6, "layers": 1}),
    ("decoder", {**text(7, 5), "width": 8, "heads": 2, "layers": 1}),
    ("encoder", {"input_shape": (5,), "tokens": 9, "classes": 2, "width": 8, "heads": 2, "layers": 1}),
]


def drawn_weights(of: Model) -> dict[str, np.ndarray[Any, Any]]:
    """Weights under which every part counts: N(0, 1 / inputs), scales of normalisations around 1, biases around 0.

    The initial ones hide much: biases are 0, scales 1, and attention is nearly uniform.
    """
    rng = np.random.Generator(np.random.Philox(key=4))
    drawn = {}
    for name, spec in sorted(of.spec.items()):
        kind = name.rpartition(".")[2]
        inputs = math.prod(spec.shape[:-1]) if kind == "kernel" else 1
        # Queries and keys are made large, so that what they are divided by shows.
        deviation = 2 / math.sqrt(inputs) if "project" in name else 1 / math.sqrt(inputs)
        drawn[name] = (rng.normal(float(kind == "scale"), deviation, spec.shape)).astype(np.float32)
    return drawn


@pytest.mark.parametrize(("name", "options"), SMALL)
def test_models_have_outputs_of_their_task_one_reference_and_the_equations_of_their_papers(
    name: str, options: dict[str, Any]
) -> None:
    found = model(name, **options)
    params = weights(found)
    assert {n: (p.shape, p.dtype) for n, p in params.items()} == {n: (s.shape, s.dtype) for n, s in found.spec.items()}
    x = random_inputs(found)
    both = jax.jit(lambda p: (found.apply(p, x), found.reference(p, x)))
    outputs, reference = both(params)
    assert outputs.shape == found.task.output_shape(2, found.input_shape, found.classes)
    assert outputs.dtype == jnp.float32
    assert np.isfinite(np.asarray(outputs)).all()
    np.testing.assert_allclose(outputs, reference, rtol=1e-4, atol=1e-5)
    assert set(models()) >= {name}
    if name in FORWARD:
        drawn = drawn_weights(found)
        expected = FORWARD[name]({key: p.astype(np.float64) for key, p in drawn.items()}, np.asarray(x))
        # Half a unit in the last place is 6e-8; some 20 operations in a row, of which the longest sum has 576 terms,
        # whose errors add up like √576, leave less than 20 · 24 · 6e-8 of the largest output.
        for outputs in both({key: jnp.asarray(p) for key, p in drawn.items()}):
            np.testing.assert_allclose(outputs, expected, rtol=0, atol=3e-5 * np.abs(expected).max())


def test_the_lstm_is_the_recurrence_of_its_equations() -> None:
    found = model("lstm", input_shape=(4, 3), classes=2, units=5, layers=1)
    params = {name: np.asarray(p, np.float64) for name, p in weights(found).items()}
    x = np.asarray(random_inputs(found), np.float64)

    def sigmoid(z: Any) -> Any:
        return 1 / (1 + np.exp(-z))

    kernel, recurrent, bias = (params[f"layers.0.{part}"] for part in ("kernel", "recurrent", "bias"))
    assert bias.tolist() == [0.0] * 5 + [1.0] * 5 + [0.0] * 10
    # The recurrence begins orthogonal.
    np.testing.assert_allclose(recurrent @ recurrent.T, np.eye(5), atol=1e-5)
    h = c = np.zeros((2, 5))
    for t in range(4):
        i, f, g, o = np.split(x[:, t] @ kernel + h @ recurrent + bias, 4, axis=1)
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        h = sigmoid(o) * np.tanh(c)
    expected = h @ params["out.kernel"] + params["out.bias"]
    single = {name: jnp.asarray(p, jnp.float32) for name, p in params.items()}
    outputs = jax.jit(found.apply)(single, jnp.asarray(x, jnp.float32))
    np.testing.assert_allclose(outputs, expected, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "sizes"), [("lstm", {"units": 16, "layers": 1}), ("decoder", {"width": 16, "layers": 1})]
)
def test_what_predicts_next_tokens_sees_nothing_of_what_comes(name: str, sizes: dict[str, Any]) -> None:
    found = model(name, **text(11, 8), **sizes)
    x = np.array([[3, 1, 4, 1, 5, 9, 2, 6], [3, 1, 4, 1, 5, 10, 2, 6]], np.int32)
    one, other = np.asarray(jax.jit(found.apply)(weights(found), x))
    np.testing.assert_allclose(one[:5], other[:5], atol=1e-6)
    assert np.abs(one[5:] - other[5:]).max() > 1e-4


def test_initial_weights_have_the_spread_of_their_papers() -> None:
    glorot = weights(model("mcmahan_cnn", **IMAGE, classes=10, hidden=64))
    assert np.abs(glorot["hidden.kernel"]).max() == pytest.approx(math.sqrt(6 / (3136 + 64)), rel=1e-3)
    he = weights(model("resnet", input_shape=(32, 32, 3), classes=10))
    assert np.std(he["blocks.2.conv2.kernel"]) == pytest.approx(math.sqrt(2 / (9 * 64)), rel=0.02)
    gpt = weights(model("decoder", **text(90), layers=2))
    assert np.std(gpt["embed.embedding"]) == pytest.approx(0.02, rel=0.05)
    assert np.std(gpt["stack.layers.0.narrow.kernel"]) == pytest.approx(0.01, rel=0.05)
    lstm = weights(model("lstm", **text(90), units=16))
    assert 0.045 < np.abs(lstm["embed.embedding"]).max() <= 0.05


def test_tasks_measure_examples() -> None:
    outputs = jnp.array([[2.0], [-1.0]], jnp.float32)
    targets = jnp.array([0.5, 1.0], jnp.float32)
    assert REGRESSION.loss(outputs, targets).tolist() == [2.25, 4.0]
    assert REGRESSION.score(outputs, targets).tolist() == [1.5, 2.0]
    logits = jnp.log(jnp.array([[[0.5, 0.25, 0.25], [0.1, 0.8, 0.1]]], jnp.float32))
    tokens = jnp.array([[0, 2]], jnp.int32)
    assert NEXT_TOKEN.score(logits, tokens).tolist() == [0.5]
    np.testing.assert_allclose(NEXT_TOKEN.loss(logits, tokens), [(math.log(2) + math.log(10)) / 2], rtol=1e-6)


@pytest.mark.parametrize(
    ("name", "options", "match"),
    [
        ("softmax", {"input_shape": (4,), "classes": 1, "task": REGRESSION}, "linear is its counterpart"),
        ("softmax", {"input_shape": (4,), "classes": 9, "tokens": 9}, "not of tokens"),
        ("linear", {"input_shape": (4,), "classes": 3, "task": CLASSIFICATION}, "softmax is its counterpart"),
        ("linear", {"input_shape": (4,), "classes": 1, "task": REGRESSION, "bias": 1}, "bias of linear"),
        ("mlp", {"input_shape": (4,), "classes": 3, "hidden": ()}, "hidden of mlp"),
        ("mlp", {"input_shape": (4,), "classes": 3, "hidden": (3, 0)}, "hidden of mlp is 0"),
        ("mcmahan_cnn", {"input_shape": (4,), "classes": 3}, "images of at least 4×4"),
        ("resnet", {"input_shape": (8, 8), "classes": 3, "depth": 9}, "6n \\+ 2"),
        ("resnet", {"input_shape": (8, 8), "classes": 3, "groups": 3}, "divisor of 16"),
        ("lstm", {"input_shape": (8,), "classes": 3}, "numbers \\[length, features\\]"),
        ("lstm", {**text(9), "units": 0}, "units of lstm"),
        ("decoder", {"input_shape": (8,), "classes": 3, "tokens": 9, "task": CLASSIFICATION}, "encoder is there"),
        ("decoder", {**text(9), "width": 10, "heads": 4}, "divisor of the width"),
        ("encoder", text(9), "decoder and lstm"),
        ("encoder", {"input_shape": (8, 8, 1), "classes": 3}, "sequences"),
    ],
)
def test_what_does_not_suit_a_model_is_refused(name: str, options: dict[str, Any], match: str) -> None:
    with pytest.raises(ValueError, match=match):
        model(name, **options)
