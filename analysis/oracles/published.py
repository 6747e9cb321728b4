"""Models and clients of published set-ups that the project does not come with, as own ones (`module:attribute`).

Layers start like PyTorch's, which all of these set-ups use: kernels and biases uniform within ±1/√(inputs of a unit).
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any, Final

import jax
import jax.numpy as jnp
from flax import nnx
from jax.flatten_util import ravel_pytree

from core.compute import Function, Shard, ShardView
from core.compute.function import Arrays
from core.devices import Work
from core.learning import Algorithm
from core.learning.algorithm import demand, is_number, step_function
from core.learning.averaging import averaging
from core.learning.proximal import fedprox
from core.models import Model
from core.models.layers import FastConv
from core.models.options import image_shape
from core.models.zoo import max_pool
from core.wire import Spec

#: Uniform within ±1/√inputs: PyTorch's start of a kernel.
_KERNEL: Final = nnx.initializers.variance_scaling(1 / 3, "fan_in", "uniform")


def _bias(inputs: int) -> Any:
    """PyTorch's start of a bias."""
    bound = 1 / math.sqrt(inputs)
    return lambda key, shape, dtype: jax.random.uniform(key, shape, dtype, -bound, bound)


def _dense(inputs: int, outputs: int, rngs: nnx.Rngs) -> nnx.Linear:
    return nnx.Linear(inputs, outputs, kernel_init=_KERNEL, bias_init=_bias(inputs), rngs=rngs)


class Regression(nnx.Module):  # type: ignore[misc]
    """Logistic regression of (x − mean) / deviation.

    With `sigmoid` its outputs go through a sigmoid before the softmax of the loss, as in FedML and FLUTE: a class can
    be at most e times as likely as another.
    """

    def __init__(
        self,
        rngs: nnx.Rngs,
        *,
        input_shape: tuple[int, ...],
        classes: int,
        sigmoid: bool = False,
        mean: float = 0.0,
        deviation: float = 1.0,
    ) -> None:
        self.dense = _dense(math.prod(input_shape), classes, rngs)
        self.sigmoid, self.mean, self.deviation = sigmoid, mean, deviation

    def __call__(self, x: jax.Array) -> jax.Array:
        scaled = (x - jnp.float32(self.mean)) * jnp.float32(1 / self.deviation)
        outputs: jax.Array = self.dense(scaled.reshape(x.shape[0], -1))
        return jax.nn.sigmoid(outputs) if self.sigmoid else outputs


class NiidBenchCnn(nnx.Module):  # type: ignore[misc]
    """NIID-Bench's network for pictures of one channel: 5×5 convolutions of 6 and 16, layers of 120 and 84.

    conv – relu – max-pool – conv – relu – max-pool – dense – relu – dense – relu – dense; 44,426 parameters on MNIST
    (Li et al., ICDE 2022, section V).
    """

    def __init__(self, rngs: nnx.Rngs, *, input_shape: tuple[int, ...], classes: int) -> None:
        rows, columns, channels = image_shape("NiidBenchCnn", input_shape, 16)
        self.conv1, self.conv2 = _convolution(channels, 6, rngs), _convolution(6, 16, rngs)
        flat = 16 * (((rows - 4) // 2 - 4) // 2) * (((columns - 4) // 2 - 4) // 2)
        self.hidden1, self.hidden2 = _dense(flat, 120, rngs), _dense(120, 84, rngs)
        self.out = _dense(84, classes, rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        x = x[..., None] if x.ndim == 3 else x
        x = max_pool(jax.nn.relu(self.conv1(x)))
        x = max_pool(jax.nn.relu(self.conv2(x)))
        x = jax.nn.relu(self.hidden1(x.reshape(x.shape[0], -1)))
        outputs: jax.Array = self.out(jax.nn.relu(self.hidden2(x)))
        return outputs


def _convolution(channels: int, features: int, rngs: nnx.Rngs) -> FastConv:
    made = FastConv(channels, features, rngs, size=5, padding="valid", kernel_init=_KERNEL)
    made.bias = nnx.Param(_bias(25 * channels)(rngs.params(), (features,), jnp.float32))
    return made


def straggling(
    model: Model, batch_size: int, server_learning_rate: float = 1.0, mu: float = 0.0, share: float = 0.9
) -> Algorithm:
    """FedProx with stragglers, who make 1 to E − 1 epochs in place of E (Li et al. 2020, section 5.2).

    Who straggles is drawn for every client and round with the chance `share`, from the key of its batches, as is the
    number of epochs. It costs the time of what is done. Raises `ValueError`.
    """
    demand(is_number(share) and 0 <= share <= 1, "share", share, "a number from 0 to 1")
    base = fedprox(model, batch_size, server_learning_rate, mu)
    whole = base.local_update
    limit = round(share * 2**32)

    def local_update(
        params: Arrays, shard: ShardView, epochs: jax.Array, learning_rate: jax.Array, key: jax.Array
    ) -> dict[str, Any]:
        fewer = 1 + (key[1] % jnp.maximum(epochs - 1, 1).astype(jnp.uint32)).astype(jnp.int32)
        late = key[0].astype(jnp.uint64) < jnp.uint64(limit)
        made = jnp.where(late, jnp.minimum(fewer, epochs), epochs)
        return dict(whole.fn(params, shard, made, learning_rate, key))

    def work(params: Any, shard: Shard, epochs: int, learning_rate: float, key: Any) -> Work:
        first, second = (int(word) for word in key)
        made = min(1 + second % max(epochs - 1, 1), epochs) if first < limit else epochs
        return whole.work(params, shard, made, learning_rate, key)

    return dataclasses.replace(
        base,
        name="straggling",
        local_update=Function("straggling.local_update", local_update, (whole.hyper, share), work),
    )


class Logistic(nnx.Module):  # type: ignore[misc]
    """Logistic regression of two classes with one weight a column and a bias: the logits are 0 and θ·x; starts at 0."""

    def __init__(self, rngs: nnx.Rngs, *, input_shape: tuple[int, ...], classes: int) -> None:
        demand(classes == 2, "classes", classes, "2")
        zeros = nnx.initializers.zeros_init()
        self.dense = nnx.Linear(math.prod(input_shape), 1, kernel_init=zeros, bias_init=zeros, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        logit: jax.Array = self.dense(x.reshape(x.shape[0], -1))
        return jnp.concatenate([jnp.zeros_like(logit), logit], axis=1)


def newton(model: Model, batch_size: int, server_learning_rate: float = 1.0, ridge: float = 1.0) -> Algorithm:
    """Newton–Raphson: clients send gradient and Hessian of their mean loss, the server makes one step.

    θ ← θ − η_s (H + ridge · I)⁻¹ g with the sums g, H over all examples of those who came (NVFlare's `hello-lr`). For
    small models; a round is a step over all examples, so that epochs, batches and the clients' learning rate are not
    used. Raises `ValueError`.
    """
    demand(is_number(ridge) and ridge >= 0, "ridge", ridge, "a number from 0")
    base = averaging(model, batch_size, server_learning_rate, fedprox(model, batch_size).local_update)

    def local_update(
        params: Arrays, shard: ShardView, epochs: jax.Array, learning_rate: jax.Array, key: jax.Array
    ) -> dict[str, Any]:
        flat, unravel = ravel_pytree(dict(params))
        x, y = shard.arrays["x"][shard.index], shard.arrays["y"][shard.index]
        mask = (jnp.arange(x.shape[0], dtype=jnp.int32) < shard.count).astype(jnp.float32)

        def loss(at: jax.Array) -> jax.Array:
            return jnp.sum(model.loss(model.apply(unravel(at), x), y) * mask) / shard.count.astype(jnp.float32)

        update = {"gradient": jax.grad(loss)(flat), "hessian": jax.hessian(loss)(flat)}
        return {"update": update, "metrics": {"loss": loss(flat)}}

    def apply(params: Arrays, mean: Arrays, count: Arrays, total: jax.Array) -> dict[str, Any]:
        flat, unravel = ravel_pytree(dict(params))
        examples = count["weight"].astype(jnp.float32)
        hessian = mean["hessian"] * examples + jnp.float32(ridge) * jnp.eye(flat.size, dtype=jnp.float32)
        step = jnp.linalg.solve(hessian, mean["gradient"] * examples)
        return {"params": dict(unravel(flat - jnp.float32(server_learning_rate) * step))}

    def solving(*arguments: Any) -> Work:
        # Elimination in place: 2/3 P³ operations on P² float32 numbers.
        return Work(2 / 3 * model.size**3, 4.0 * model.size**2, 1)

    hyper = (model, server_learning_rate, ridge)
    return dataclasses.replace(
        base,
        name="newton",
        paper="NVFlare, hello-lr",
        local_update=step_function("newton.local_update", local_update, hyper),
        apply=Function("newton.apply", apply, hyper, solving),
        update={"gradient": Spec("<f4", (model.size,)), "hessian": Spec("<f4", (model.size, model.size))},
        sends="model down, gradient and Hessian up",
    )
