"""FLOPs and bytes by our rules: by hand, against XLA's own count, and a training step against a forward pass."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from core.compute.cost import count
from core.data import federation
from core.learning import fedavg
from core.learning.local import batch_gradient
from core.models import Model, model
from core.rng import key_words


def shape(*dims: int, dtype: Any = np.float32) -> Any:
    return jax.ShapeDtypeStruct(dims, np.dtype(dtype))  # type: ignore[no-untyped-call]


def batch(of: Model, size: int = 32) -> tuple[Any, ...]:
    return of.spec, shape(size, *of.input_shape), shape(size, dtype=np.int32), shape(size)


MODELS = [
    model("softmax", input_shape=(8, 8), classes=10),
    model("cnn", input_shape=(8, 8), classes=10),
    model("cnn", input_shape=(28, 28), classes=10),
    model("cnn", input_shape=(28, 28), classes=62, features=(32, 64), hidden=128),
]


def test_a_dense_layer_by_hand() -> None:
    """32 × 64 × 10 multiply-adds and 320 additions; x, kernel and bias are read, product and result written."""
    cost = count(MODELS[0].reference, MODELS[0].spec, shape(32, 8, 8))
    assert cost.flops == 2 * 32 * 64 * 10 + 320
    assert cost.bytes == 4 * (32 * 64 + 640 + 320 + 320 + 10 + 320)


def test_a_softmax_regression_step_by_hand() -> None:
    """Forward and dW: two products of 32 × 64 × 10 multiply-adds (the input needs no gradient); the rest is small."""
    cost = count(batch_gradient(MODELS[0], MODELS[0].reference), *batch(MODELS[0]))
    products = 2 * 2 * 32 * 64 * 10
    # Softmax, its gradient and the loss: about 13 operations for each of the 320 logits.
    assert products < cost.flops < products + 16 * 320


def test_the_small_cnn_by_hand() -> None:
    """Valid 3×3 convolutions 8→6→4 with 8 and 16 features, pooled to 2×2, then 64→32→10."""
    multiply_adds = 36 * 9 * 8 + 16 * 9 * 8 * 16 + 64 * 32 + 32 * 10
    # Bias and ReLU of every unit, three comparisons a pooled value.
    elementwise = 2 * (36 * 8 + 16 * 16) + 3 * 4 * 16 + 2 * 32 + 10
    assert count(MODELS[1].reference, MODELS[1].spec, shape(1, 8, 8)).flops == 2 * multiply_adds + elementwise


@pytest.mark.parametrize("of", MODELS, ids=str)
def test_flops_and_bytes_against_xla(of: Model) -> None:
    """Forward: within 1 %. Gradient: FLOPs within 2 %; of the bytes XLA's CPU compiler moves, 50 to 100 %.

    (It writes ReLU masks and transposed copies that a better compiler would fuse.)
    """
    for fn, arguments, low in (
        (of.reference, batch(of)[:2], 0.99),
        (batch_gradient(of, of.reference), batch(of), 0.5),
    ):
        ours = count(fn, *arguments)
        lowered = jax.jit(fn).lower(*arguments)
        assert ours.flops == pytest.approx(lowered.cost_analysis()["flops"], rel=0.02)
        moved = lowered.compile().cost_analysis()["bytes accessed"]
        assert low * moved <= ours.bytes <= 1.01 * moved


@pytest.mark.parametrize("of", MODELS[1:], ids=str)
def test_a_step_costs_three_forward_passes(of: Model) -> None:
    """Forward, gradient of the weights, gradient of the inputs: equal products each, but for the first layer."""
    step = count(batch_gradient(of, of.reference), *batch(of)).flops
    assert step / count(of.reference, *batch(of)[:2]).flops == pytest.approx(3, rel=0.03)


def test_patches_cost_no_more_flops_but_several_times_the_bytes() -> None:
    """Why cost is counted on the reference and not on the layout in use."""
    of = MODELS[3]
    plain = count(of.reference, *batch(of)[:2])
    patches = count(of.apply, *batch(of)[:2])
    assert patches.flops == plain.flops
    assert 2 < patches.bytes / plain.bytes < 5


def test_work_is_the_reference_step_times_the_steps_really_made() -> None:
    fed = federation("digits")
    of = MODELS[1]
    algorithm = fedavg(of, 32)
    params: Any = object()
    for client in (0, 5):
        shard = fed.shard(client)
        for epochs in (1, 5):
            work = algorithm.local_update.work(params, shard, epochs, 0.1, key_words(0))
            assert work.steps == epochs * -(-shard.count // 32)
            gradient = count(batch_gradient(of, of.reference), *batch(of))
            assert work.flops == gradient.flops + 2 * of.size + 1  # p + (-η) g
    test = fed.test_shard()
    assert algorithm.evaluate.work(params, test).steps == -(-len(fed.test) // 32)


def test_loops_and_branches() -> None:
    def body(c: Any, _: Any) -> Any:
        return c * 2.0, None

    x = shape(10)
    assert count(lambda x: jax.lax.scan(body, x, None, length=7)[0], x).flops == 70
    assert count(lambda x: jax.lax.cond(x[0] > 0, lambda v: v, lambda v: jnp.sin(v) + v, x), x).flops == 21
    with pytest.raises(ValueError, match="while"):
        count(lambda x: jax.lax.while_loop(lambda v: v[0] < 9, lambda v: v + 1, x), x)
    with pytest.raises(ValueError, match="no rule"):
        count(jnp.linalg.eig, shape(3, 3))


@pytest.mark.parametrize("padding", ["SAME", "VALID"])
@pytest.mark.parametrize(("stride", "dilation"), [(1, 1), (2, 1), (1, 2)])
def test_convolutions_count_only_taps_on_the_input(padding: str, stride: int, dilation: int) -> None:
    def conv(x: Any, k: Any) -> Any:
        return jax.lax.conv_general_dilated(
            x,
            k,
            (stride, stride),
            padding,
            rhs_dilation=(dilation, dilation),
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
        )

    arguments = (shape(2, 9, 9, 3), shape(3, 3, 3, 5))
    assert count(conv, *arguments).flops == jax.jit(conv).lower(*arguments).cost_analysis()["flops"]


def test_a_qr_decomposition_by_hand() -> None:
    """R and Q of 6×4 by Householder: 2 · 16 · (6 − 4/3) operations each."""
    found = count(lambda a: jax.lax.linalg.qr(a, full_matrices=False), shape(6, 4))
    assert found.flops == pytest.approx(4 * 16 * (6 - 4 / 3))


@pytest.mark.parametrize(
    ("function", "shapes", "flops"),
    [
        (jax.lax.linalg.lu, ((6, 6),), 2 / 3 * 6**3),
        (jax.lax.linalg.lu, ((5, 6, 4),), 5 * 16 * (6 - 4 / 3)),
        (lambda a: jax.lax.linalg.cholesky(a, symmetrize_input=False), ((6, 6),), 6**3 / 3 + 3 * 36),  # and zeros above
        (lambda a: jax.lax.linalg.eigh(a, symmetrize_input=False), ((6, 6),), 9 * 6**3),
        (lambda a: jax.lax.linalg.svd(a, compute_uv=False), ((6, 4),), 4 * 6 * 16 - 4 / 3 * 64),
        (lambda a: jax.lax.linalg.svd(a, full_matrices=False), ((6, 4),), 14 * 6 * 16 + 8 * 64),
        (lambda a: jax.lax.linalg.svd(a, full_matrices=True), ((4, 6),), 4 * 36 * 4 + 8 * 6 * 16 + 9 * 64),
        (lambda a, b: jax.lax.linalg.triangular_solve(a, b, left_side=True), ((6, 6), (6, 3)), 36 * 3),
        (lambda a, b: jax.lax.linalg.triangular_solve(a, b), ((6, 6), (3, 6)), 36 * 3),
    ],
)
def test_decompositions_as_in_golub_and_van_loan(
    function: Callable[..., Any], shapes: tuple[tuple[int, ...], ...], flops: float
) -> None:
    """Leading terms, one FLOP for each addition and each multiplication."""
    assert count(function, *(shape(*dims) for dims in shapes)).flops == pytest.approx(flops)


def test_a_linear_system_is_a_decomposition_and_two_triangular_ones() -> None:
    """LU of 50×50, and forward and back substitution for 3 right-hand sides; rows are exchanged for next to nothing."""
    found = count(jnp.linalg.solve, shape(50, 50), shape(50, 3)).flops
    assert found == pytest.approx(2 / 3 * 50**3 + 2 * 50**2 * 3, rel=0.01)
