"""Models as values: pure `init` and `apply` over flat dicts of named float32 arrays, made from flax NNX modules.

The module is the surface on which a model is written; inside, its graph is split off once, and only pure functions
of arrays are left on the hot path.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Hashable, Mapping
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from core.compute.cost import count
from core.compute.function import Arrays, abstract
from core.models.task import CLASSIFICATION, Measure, Task

#: `factory(rngs, input_shape=…, classes=…, **hyper)` makes the module; `module(x)` maps [batch, *input_shape] float32
#: (int32 tokens, where the examples are text) to outputs as `Task` has them, such as logits [batch, classes]. All its
#: variables are `nnx.Param`s in float32.
Factory: TypeAlias = Callable[..., Any]


@dataclasses.dataclass(frozen=True)
class Model:
    """A model, known by its name and hyperparameters.

    `init(key)` makes the parameters, a flat dict such as {"dense.kernel": float32[64, 10], …}; `apply(params, x)`
    maps x [batch, *input_shape] to what `task` expects, such as logits [batch, classes]. `reference` computes the same
    as `apply` in the plainest operations: the cost of a step is counted on it, whatever form `apply` has for speed.
    `classes` is the width of the outputs: 1 for regression, the size of the vocabulary for next-token prediction.
    `tokens` is the number of different tokens that an input may have, 0 for inputs of real numbers.
    """

    name: str
    hyper: tuple[tuple[str, Hashable], ...]
    input_shape: tuple[int, ...]
    classes: int
    init: Callable[[jax.Array], dict[str, jax.Array]] = dataclasses.field(compare=False, repr=False)
    apply: Callable[[Arrays, jax.Array], jax.Array] = dataclasses.field(compare=False, repr=False)
    reference: Callable[[Arrays, jax.Array], jax.Array] = dataclasses.field(compare=False, repr=False)
    loss: Measure = dataclasses.field(default=CLASSIFICATION.loss, compare=False, repr=False)
    task: Task = CLASSIFICATION
    tokens: int = 0

    @functools.cached_property
    def spec(self) -> dict[str, jax.ShapeDtypeStruct]:
        """Shapes and dtypes of the parameters."""
        key = jax.eval_shape(lambda: jax.random.key(0, impl="threefry2x32"))
        return dict(jax.eval_shape(self.init, key))

    @property
    def size(self) -> int:
        """Number of parameters."""
        return sum(s.size for s in self.spec.values())

    def inputs(self, batch: int) -> jax.ShapeDtypeStruct:
        """A batch of examples, as shape and dtype."""
        return abstract((batch, *self.input_shape), np.int32 if self.tokens else np.float32)

    @functools.cached_property
    def flops(self) -> tuple[float, float]:
        """FLOPs of one example: forward, and forward with the gradient of the loss; counted on `reference`."""
        lengths = self.input_shape if self.task.name == "next_token" else ()
        targets = abstract((1, *lengths), np.float32 if self.task.name == "regression" else np.int32)

        def loss(params: Arrays, x: jax.Array, y: jax.Array) -> jax.Array:
            return jnp.sum(self.loss(self.reference(params, x), y))

        forward = count(self.reference, self.spec, self.inputs(1))
        return forward.flops, count(jax.value_and_grad(loss), self.spec, self.inputs(1), targets).flops


def _flatten(state: Any) -> dict[str, Any]:
    flat = {".".join(str(part) for part in path): variable for path, variable in nnx.to_flat_state(state)}
    for name, variable in flat.items():
        if not isinstance(variable, nnx.Param):
            raise ValueError(
                f"{name} is a {type(variable).__name__}; only nnx.Param variables can be trained federatedly"
            )
        if variable.dtype != jnp.float32:
            raise ValueError(f"parameter {name} has dtype {variable.dtype}; float32 is taken")
    return dict(sorted(flat.items()))


def _pure(make: Callable[[Any], Any]) -> Callable[[Arrays, jax.Array], jax.Array]:
    """The pure forward function of the modules that `make(rngs)` makes."""
    graph, state = nnx.split(nnx.eval_shape(lambda: make(nnx.Rngs(0))))
    _flatten(state)
    paths = [path for path, _ in nnx.to_flat_state(state)]
    if not paths:
        raise ValueError("its module has no nnx.Param, so that there is nothing to train")

    def apply(params: Arrays, x: jax.Array) -> jax.Array:
        values = [(path, nnx.Param(params[".".join(str(part) for part in path)])) for path in paths]
        logits: jax.Array = nnx.merge(graph, nnx.from_flat_state(values))(x)
        return logits

    return apply


def from_nnx(
    factory: Factory,
    *,
    name: str,
    input_shape: tuple[int, ...],
    classes: int,
    hyper: Mapping[str, Hashable] | None = None,
    reference: Factory | None = None,
    loss: Measure | None = None,
    task: Task = CLASSIFICATION,
    tokens: int = 0,
) -> Model:
    """A model from a factory of NNX modules.

    `factory(rngs, input_shape=input_shape, classes=classes, **hyper)` returns the module, with `tokens=tokens` beside
    where the inputs are tokens; `reference` makes one with the same parameters for counting the cost; `loss` stands
    in place of the task's. Raises `ValueError` for variables that are not float32 `nnx.Param`s and where there are
    none, `TypeError` for what is no module.
    """
    options = dict(hyper or {})
    given: dict[str, Any] = {"input_shape": input_shape, "classes": classes, **({"tokens": tokens} if tokens else {})}

    def maker(make: Factory) -> Callable[[Any], Any]:
        def made(rngs: Any) -> Any:
            module = make(rngs, **given, **options)
            if not isinstance(module, nnx.Module):
                raise TypeError(f"it returned {module!r:.100}, which is no flax.nnx.Module")
            return module

        return made

    def init(key: jax.Array) -> dict[str, jax.Array]:
        state = nnx.state(maker(factory)(nnx.Rngs(params=key)))
        return {name: variable[...] for name, variable in _flatten(state).items()}

    apply = _pure(maker(factory))
    source = f"{factory.__module__}.{getattr(factory, '__qualname__', type(factory).__qualname__)}"
    return Model(
        name=name,
        hyper=(("factory", source), *sorted(options.items())),
        input_shape=input_shape,
        classes=classes,
        init=init,
        apply=apply,
        reference=apply if reference is None else _pure(maker(reference)),
        loss=task.loss if loss is None else loss,
        task=task,
        tokens=tokens,
    )
