"""What a federated algorithm is: a frozen value of pure functions that actors hand to their devices.

The server holds up to three groups of named arrays: `params` (the model, which clients are sent), `shared` (what
clients that train are sent beside it) and `kept` (what never leaves it). A client may hold one more, its `state`.
Groups that an algorithm does not have are left out of the arguments below.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable, Hashable, Mapping
from typing import Any, Final, Literal, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
import optax

from core.compute import Function, Shard
from core.compute.cost import Cost, one_step
from core.compute.function import INT, KEY, Arrays, PayloadKind, ShardKind, outputs_of, payload_kind, shard_kind
from core.devices import Purpose, Work
from core.learning.local import Optimizer, evaluation, forward_cost
from core.models import Model
from core.wire import Payload, Spec

#: Groups of the server, in the order in which functions take them.
SERVER: Final = ("params", "shared", "kept")
#: Largest element of an update, in size, that `core.aggregation.exact_mean` takes.
MAX_ELEMENT: Final = 1024.0


@dataclasses.dataclass(frozen=True)
class Algorithm:
    """A federated algorithm.

    `init(key) -> {"params", "shared", "kept"}`
    `local_update(params, shared, state, shard, epochs, learning_rate, key) -> {"update", "metrics": loss, "state"}`
    `evaluate(params, shard) -> {"metrics": score, loss}`, the score being the accuracy or, of a regression, the error
    `apply(params, shared, kept, mean, count, total) -> {"params", "shared", "kept"}`: the mean is the weighted one of
    what was collected, `count` what `exact_mean` counted (`weight`, `accepted`, `not_finite`), and `total` (a float)
    the weight of all clients that have ever come, also of those that are away, so that weight / total is the share of
    all that the mean is of.

    A key is a pair of words (`core.rng.key_words`), epochs an int, the learning rate a float. Some have more:

    `enter(params, key) -> {"state"}`: the state of a client that has none yet.
    `collect(kept, update, slot, staleness) -> {"update"}`: what of a received update is summed. Slots number the
    clients from 0 in the order in which they were first asked, staleness counts the versions of the model since the one
    that was trained on.
    `personal(params, state, shard) -> {"metrics": score, loss}`: a client's own model on its own examples.
    """

    name: str
    paper: str
    init: Function
    local_update: Function
    evaluate: Function
    apply: Function
    #: Names, dtypes and shapes of what a client sends.
    update: Mapping[str, Spec]
    enter: Function | None = None
    collect: Function | None = None
    personal: Function | None = None
    #: What an update weighs in the mean: the client's number of examples, or 1.
    weighting: Literal["examples", "clients"] = "examples"
    #: Results that make a new version of the model as soon as they are there; None: rounds.
    buffer: int | None = None
    #: Whether a client takes its new state back when it learns that its update was not used.
    tied: bool = False
    #: Messages and client state in words.
    sends: str = "model down, its change up"
    keeps: str = "nothing"

    def __post_init__(self) -> None:
        if self.buffer is not None and self.weighting != "clients":
            raise ValueError(f"{self.name} has a buffer, in which updates count by clients, not by {self.weighting}")

    @functools.cached_property
    def server(self) -> Mapping[str, PayloadKind]:
        """The server's groups, as shapes."""
        return outputs_of(self.init, (KEY,))

    @functools.cached_property
    def summed(self) -> Mapping[str, Spec]:
        """Names, dtypes and shapes of what of an update is summed."""
        if self.collect is None:
            return self.update
        kept = (self.server["kept"],) if "kept" in self.server else ()
        return outputs_of(self.collect, (*kept, payload_kind(self.update), INT, INT))["update"].spec

    def takes(self, params: Payload, shared: Payload | None) -> bool:
        """Whether these are shaped like what this algorithm's server sends to clients."""
        expected = self.server.get("shared")
        if expected is None or shared is None:
            return dict(params.spec) == dict(self.server["params"].spec) and shared is None and expected is None
        return dict(params.spec) == dict(self.server["params"].spec) and dict(shared.spec) == dict(expected.spec)

    def weight(self, examples: int) -> int:
        """What an update that rests on so many examples weighs; without any it says nothing."""
        return examples if self.weighting == "examples" else min(examples, 1)


def present(*groups: Payload | None) -> tuple[Payload, ...]:
    """The groups that there are, as arguments."""
    return tuple(group for group in groups if group is not None)


def in_order(server: Mapping[str, Payload]) -> tuple[Payload, ...]:
    """The server's groups as arguments."""
    return tuple(server[name] for name in SERVER if name in server)


def sound(update: Arrays, before: Arrays, after: Arrays) -> dict[str, jax.Array]:
    """A client's state after its training, or that before it if the update is not one that an exact mean takes."""
    taken = jnp.bool_(True)
    for array in update.values():
        taken &= jnp.all(jnp.abs(array.astype(jnp.float32)) <= jnp.float32(MAX_ELEMENT))
    for array in after.values():
        taken &= jnp.all(jnp.isfinite(array))
    return {name: jnp.where(taken, after[name], array) for name, array in before.items()}


# Groups within a group: an update may hold more than the model's change.


def joined(**parts: Arrays | jax.Array) -> dict[str, jax.Array]:
    """One group of several parts: maps of arrays, or single arrays."""
    named: dict[str, jax.Array] = {}
    for part, arrays in parts.items():
        if isinstance(arrays, Mapping):
            named.update({f"{part}/{name}": array for name, array in arrays.items()})
        else:
            named[part] = arrays
    return named


def part(arrays: Arrays, name: str) -> dict[str, jax.Array]:
    """One map of those that were joined."""
    prefix = f"{name}/"
    return {key.removeprefix(prefix): array for key, array in arrays.items() if key.startswith(prefix)}


def joined_spec(**parts: Mapping[str, Spec] | Spec) -> dict[str, Spec]:
    """The spec of what `joined` makes."""
    named: dict[str, Spec] = {}
    for part, spec in parts.items():
        if isinstance(spec, Spec):
            named[part] = spec
        else:
            named.update({f"{part}/{name}": inner for name, inner in spec.items()})
    return named


#: A float32 number.
SCALAR: Final = Spec("<f4", ())
#: An int32 number.
WHOLE: Final = Spec("<i4", ())


def spec_of(shapes: Mapping[str, Any]) -> dict[str, Spec]:
    """Names, dtypes and shapes of a model's parameters, by name."""
    return {name: Spec(np.dtype(s.dtype).str, tuple(s.shape)) for name, s in sorted(shapes.items())}


def zeros(params: Arrays) -> dict[str, jax.Array]:
    """Zeros shaped like the parameters."""
    return {name: jnp.zeros_like(array) for name, array in params.items()}


def share(count: Arrays, total: jax.Array) -> jax.Array:
    """The share of all clients, by weight, that a mean is of; at most 1."""
    return jnp.minimum(count["weight"].astype(jnp.float32) / jnp.maximum(total, jnp.float32(1)), jnp.float32(1))


# Parts that most algorithms have in common.


def draw(model: Model, key: jax.Array) -> dict[str, jax.Array]:
    """Initial parameters from the two words of a key.

    Drawing with `rbg` compiles five times faster than with threefry; it is used once, so its quality suffices.
    """
    return dict(model.init(jax.random.wrap_key_data(jnp.concatenate([key, key]), impl="rbg")))


#: What one batch costs, and how often all batches are gone through (None: once an epoch).
Pass: TypeAlias = tuple[Callable[[ShardKind], Cost], int | None]


def passes(batch_size: int, *parts: Pass, purpose: Purpose = "training") -> Callable[..., Work]:
    """A `Function.work` for jobs over a shard: its steps are the batches gone through, a partial one costs a full
    one."""
    costs = [(functools.cache(cost), times) for cost, times in parts]

    def work(*arguments: Any) -> Work:
        position = next(i for i, argument in enumerate(arguments) if isinstance(argument, Shard))
        shard = arguments[position]
        batches = -(-shard.count // batch_size)
        kind = shard_kind(shard)
        # Behind the shard of a training stand the epochs.
        made = [(cost(kind), arguments[position + 1] if times is None else times) for cost, times in costs]
        if len(made) == 1:
            return Work(*made[0][0], made[0][1] * batches, purpose)
        rounds = sum(times for _, times in made)
        each = max(rounds, 1)
        flops = sum(cost.flops * times for cost, times in made) / each
        moved = sum(cost.bytes * times for cost, times in made) / each
        return Work(flops, moved, rounds * batches, purpose)

    return work


def step_function(name: str, fn: Callable[..., Any], hyper: Hashable) -> Function:
    """A function without loops: it makes one step, which is its own reference."""
    return Function(name, fn, hyper, one_step(fn))


def server_step(name: str, fn: Callable[..., dict[str, Any]], hyper: Hashable) -> Function:
    """An `apply` that leaves all of the server's groups as they were where no update was usable (no weight at all)."""

    def apply(*arguments: Any) -> dict[str, Any]:
        groups, count = arguments[:-3], arguments[-2]
        after = fn(*arguments)
        some = count["weight"] > 0
        before = zip((group for group in SERVER if group in after), groups, strict=True)
        return {
            group: {name: jnp.where(some, after[group][name], array) for name, array in arrays.items()}
            for group, arrays in before
        }

    return step_function(name, apply, hyper)


def evaluate_function(name: str, model: Model, batch_size: int) -> Function:
    """The evaluation of a model on a shard; its reference step is the forward pass of one minibatch."""
    cost: Pass = (functools.partial(forward_cost, model, batch_size), 1)
    return Function(
        f"{name}.evaluate",
        evaluation(model, batch_size),
        (model, batch_size),
        passes(batch_size, cost, purpose="inference"),
    )


def sgd(optimizer: str, momentum: float) -> Optimizer:
    """The clients' optimizer. Raises `ValueError`."""
    demand(optimizer == "sgd", "optimizer", optimizer, "sgd")
    below_one("momentum", momentum)
    return lambda learning_rate: optax.sgd(learning_rate, momentum=momentum or None)


# Options that make no sense are refused by name.


def demand(holds: bool, name: str, value: object, expected: str) -> None:
    """Raises `ValueError` unless an option's value is as expected."""
    if not holds:
        raise ValueError(f"{name} is {value!r}; {expected} is expected")


def is_number(value: object) -> bool:
    """Whether a value is a finite number."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def fixed_server_rate(algorithm: str, rate: float) -> None:
    """For algorithms whose server step has no learning rate."""
    demand(rate == 1, "server_learning_rate", rate, f"1, as {algorithm} has none,")


def positive(name: str, value: Any) -> None:
    """A finite number above zero."""
    demand(is_number(value) and value > 0, name, value, "a positive number")


def not_negative(name: str, value: Any) -> None:
    """A finite number from zero."""
    demand(is_number(value) and value >= 0, name, value, "a number from 0")


def below_one(name: str, value: Any) -> None:
    """A number from 0, below 1."""
    demand(is_number(value) and 0 <= value < 1, name, value, "a number with 0 <= number < 1")


def whole_from(name: str, value: Any, least: int) -> None:
    """A whole number from `least`."""
    holds = isinstance(value, int) and not isinstance(value, bool) and value >= least
    demand(holds, name, value, f"a whole number from {least}")
