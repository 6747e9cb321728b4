"""What a device can be asked to compute: functions known by name and hyperparameters, and the kinds of their arguments.

An argument is a `Payload` (the function sees a dict of arrays), a `Shard` (it sees a `ShardView`), an int, a float,
a pair of ints (the two words of a threefry key) or a small numpy array. Its *kind* is all that a compilation may
depend on: shapes and dtypes, never values. Kinds are interned, so that they compare and hash by identity.
"""

from __future__ import annotations

import dataclasses
import functools
import weakref
from collections.abc import Callable, Hashable, Mapping
from typing import Any, Final, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt

from core.compute.identity import Identity, identity_of
from core.compute.shard import Shard
from core.devices import Work
from core.wire import ArrayDict, Spec

Arrays: TypeAlias = Mapping[str, jax.Array]
Outputs: TypeAlias = Mapping[str, Arrays]

#: A numpy array given as an argument is a per-job value, not data; larger ones belong into a payload.
MAX_VALUE_BYTES: Final = 4096
_INT32: Final = 1 << 31


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class ShardView:
    """How a function sees a shard: row `index[i]` of every array is its i-th example, for i < `count`.

    `arrays` are the resident arrays, [rows, …]; `index` is int32[capacity], zero beyond `count`; `count` is int32[].
    """

    arrays: dict[str, jax.Array]
    index: jax.Array
    count: jax.Array


def abstract(shape: tuple[int, ...], dtype: npt.DTypeLike) -> jax.ShapeDtypeStruct:
    """An array of which only shape and dtype are known."""
    return jax.ShapeDtypeStruct(shape, np.dtype(dtype))  # type: ignore[no-untyped-call]


def _abstract_all(spec: Mapping[str, Spec]) -> dict[str, Any]:
    return {name: abstract(s.shape, s.dtype) for name, s in spec.items()}


@dataclasses.dataclass(frozen=True, eq=False)
class PayloadKind:
    """Named arrays of these shapes and dtypes, in this order."""

    spec: Mapping[str, Spec]
    nbytes: int

    def abstract(self) -> dict[str, Any]:
        return _abstract_all(self.spec)


@dataclasses.dataclass(frozen=True, eq=False)
class ShardKind:
    """Rows of resident arrays of this spec, at most `capacity` of them."""

    spec: Mapping[str, Spec]
    capacity: int

    def abstract(self) -> ShardView:
        index: Any = abstract((self.capacity,), np.int32)
        count: Any = abstract((), np.int32)
        return ShardView(_abstract_all(self.spec), index, count)


@dataclasses.dataclass(frozen=True, eq=False)
class ValueKind:
    """A number or a small array, one a job."""

    dtype: str
    shape: tuple[int, ...]

    def abstract(self) -> jax.ShapeDtypeStruct:
        return abstract(self.shape, self.dtype)


Kind: TypeAlias = PayloadKind | ShardKind | ValueKind


@functools.cache
def _payload_kind(spec: tuple[tuple[str, Spec], ...]) -> PayloadKind:
    return PayloadKind(dict(spec), sum(s.nbytes for _, s in spec))


def payload_kind(spec: Mapping[str, Spec]) -> PayloadKind:
    """The interned kind of a payload with this spec."""
    return _payload_kind(tuple(spec.items()))


@functools.cache
def _shard_kind(spec: tuple[tuple[str, Spec], ...], capacity: int) -> ShardKind:
    return ShardKind(dict(spec), capacity)


@functools.cache
def _value_kind(dtype: str, shape: tuple[int, ...]) -> ValueKind:
    return ValueKind(dtype, shape)


INT: Final = _value_kind("<i4", ())
FLOAT: Final = _value_kind("<f4", ())
KEY: Final = _value_kind("<u4", (2,))
#: 64-bit values are narrowed: functions compute in float32 and int32 unless they widen by themselves.
_NARROW: Final = {"<f8": np.dtype(np.float32), "<i8": np.dtype(np.int32), "<u8": np.dtype(np.uint32)}


def _int_kind(value: int) -> ValueKind:
    if not -_INT32 <= value < _INT32:
        raise ValueError(f"{value} does not fit into the int32 that a function receives")
    return INT


def _key_kind(value: tuple[int, int]) -> ValueKind:
    if len(value) != 2 or not all(type(word) is int and 0 <= word < 1 << 32 for word in value):
        raise TypeError(f"a tuple is taken as the two 32-bit words of a key, not {value!r}")
    return KEY


def _array_kind(value: npt.NDArray[Any] | np.generic) -> ValueKind:
    if value.nbytes > MAX_VALUE_BYTES:
        raise TypeError(f"an array of {value.nbytes} bytes as a value; more than {MAX_VALUE_BYTES} need a payload")
    if value.dtype.kind not in "fiu":
        raise TypeError(f"an argument of dtype {value.dtype}; floats, signed and unsigned integers are taken")
    narrow = _NARROW.get(value.dtype.str, value.dtype)
    if narrow is not value.dtype and narrow.kind in "iu" and value.size:
        low, high = np.iinfo(narrow).min, np.iinfo(narrow).max
        if not (low <= int(np.min(value)) and int(np.max(value)) <= high):
            raise ValueError(f"a value beyond the {narrow} that a function receives")
    return _value_kind(narrow.str, value.shape)


def arrays_kind(value: ArrayDict) -> PayloadKind:
    """The interned kind of computed arrays."""
    return _payload_kind(tuple(value.spec.items()))


def shard_kind(value: Shard) -> ShardKind:
    """The interned kind of a shard."""
    return _shard_kind(value.rows.spec_items, value.capacity)


def _float_kind(value: float) -> ValueKind:
    return FLOAT


#: How to tell the kind of an argument, by its type; `Deferred` adds itself.
KIND_OF: Final[dict[type, Callable[[Any], Kind]]] = {
    ArrayDict: arrays_kind,
    Shard: shard_kind,
    int: _int_kind,
    float: _float_kind,
    tuple: _key_kind,
    np.ndarray: _array_kind,
}


def kind_of(argument: Any) -> Kind:
    """The kind of one argument. Raises `TypeError` for what no function takes, `ValueError` beyond the range."""
    tell = KIND_OF.get(type(argument))
    if tell is not None:
        return tell(argument)
    if isinstance(argument, np.generic):
        return _array_kind(argument)
    raise TypeError(
        f"a {type(argument).__name__} cannot be an argument of a function: "
        "a Payload, a Shard, an int, a float, a pair of key words or a small array can"
    )


#: What callables computed when the first `Function` was made of them.
_AT_FIRST: Final[weakref.WeakKeyDictionary[Callable[..., Any], Identity]] = weakref.WeakKeyDictionary()


def _to_trace(fn: Callable[..., Any], identity: Identity) -> Callable[..., Any]:
    """`fn`, or a new function that calls it, if JAX may have a trace of `fn` from when it computed something else."""
    try:
        if _AT_FIRST.setdefault(fn, identity) is identity:
            return fn
    except TypeError:  # it has no hash, or no weak reference, without which JAX does not take it either
        pass
    return lambda *arguments: fn(*arguments)


@dataclasses.dataclass(frozen=True, eq=False)
class Function:
    """A pure function for `ctx.compute`, known by `(name, hyper)` and by what it would compute.

    `fn` maps jax values to output groups of named arrays (float32 and integers; no float64 leaves a function);
    everything static is closed over and stands in `hyper`. Functions that are equal share one compilation, within a run
    and across the runs of a process. That they would compute the same is not taken on trust: their code and what it
    closes over are compared too (`core.compute.identity`), as they are when the function is made.

    `work(*arguments)` tells the FLOPs and bytes of one reference step and the steps that these arguments make; it sees
    the arguments of the call and looks at no payload.
    """

    name: str
    fn: Callable[..., Outputs]
    hyper: Hashable
    work: Callable[..., Work]
    _hash: int = dataclasses.field(init=False, repr=False)
    _identity: Identity = dataclasses.field(init=False, repr=False)
    #: `fn` for JAX, which keeps traces by the object: with it shapes and programs share one, and with no earlier `fn`.
    traced: Callable[..., Outputs] = dataclasses.field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_hash", hash((self.name, self.hyper)))
        object.__setattr__(self, "_identity", identity_of(type(self), *self._computes()))
        object.__setattr__(self, "traced", _to_trace(self.fn, self._identity))

    def _computes(self) -> tuple[Any, ...]:
        """What its results and their shapes follow from."""
        return (self.fn,)

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        if not isinstance(other, Function) or self._identity is not other._identity:
            return False
        return self.name == other.name and self.hyper == other.hyper


class Accumulation(Function):
    """A function `(sum, item, weight) -> {"sum": sum + contribution(item, weight)}` over integer arrays.

    Integer addition is exact, so that an evaluator may reorder, split and fuse chains of these without changing a
    bit; zeros must be the neutral element of every array of the sum. `weight` is an int (int32).
    """


@dataclasses.dataclass(frozen=True, eq=False)
class HostFunction(Function):
    """A function in plain Python, such as a codec or a cipher, that is as lazy as the others but not compiled.

    `fn` takes the arguments as they were given (payloads as `ArrayDict`s) and must be pure; `declare(*kinds)` gives
    the groups and specs of its results, which may depend on shapes and dtypes only. Not matching them is a `TypeError`.
    """

    declare: Callable[..., Mapping[str, Mapping[str, Spec]]]

    def _computes(self) -> tuple[Any, ...]:
        return (self.fn, self.declare)

    def run(self, arguments: tuple[Any, ...], groups: Mapping[str, PayloadKind]) -> dict[str, ArrayDict]:
        """Call it and check what comes back against what was declared."""
        results = self.fn(*arguments)
        if set(results) != set(groups):
            raise TypeError(f"{self.name} returned the groups {sorted(results)}, but declared {sorted(groups)}")
        found = {
            group: ArrayDict({name: np.asarray(results[group][name]) for name in sorted(results[group])})
            for group in groups
        }
        for group, arrays in found.items():
            if dict(arrays.spec) != dict(groups[group].spec):
                raise TypeError(f"{self.name} returned {group} as {arrays!r}, but declared {dict(groups[group].spec)}")
        return found


@functools.lru_cache(maxsize=4096)
def outputs_of(function: Function, kinds: tuple[Kind, ...]) -> dict[str, PayloadKind]:
    """The kinds of the output groups for these argument kinds; names come in sorted order. Raises `TypeError`."""
    if isinstance(function, HostFunction):
        declared = function.declare(*kinds)
        return {group: payload_kind(dict(sorted(declared[group].items()))) for group in sorted(declared)}
    shapes = jax.eval_shape(function.traced, *(kind.abstract() for kind in kinds))
    if not isinstance(shapes, dict) or not all(isinstance(group, dict) for group in shapes.values()):
        raise TypeError(f"{function.name} must return a dict of groups, each a dict of named arrays")
    groups: dict[str, PayloadKind] = {}
    for group in sorted(shapes):
        spec = {
            name: Spec(np.dtype(shapes[group][name].dtype).str, shapes[group][name].shape)
            for name in sorted(shapes[group])
        }
        for name, s in spec.items():
            if s.dtype == "<f8":
                raise TypeError(f"{function.name} returns {group}.{name} in float64; results are float32 or integers")
        groups[group] = payload_kind(spec)
    if isinstance(function, Accumulation):
        if list(groups) != ["sum"] or groups["sum"] is not kinds[0]:
            raise TypeError(f"{function.name} must return one group `sum` of the spec of its first argument")
        if kinds[2] is not INT:
            raise TypeError(f"the weight of {function.name} must be an int")
        if any(np.dtype(s.dtype).kind not in "iu" for s in groups["sum"].spec.values()):
            raise TypeError(f"{function.name} sums floats; only integer sums are exact")
    return groups


def key_from(words: jax.Array) -> jax.Array:
    """The threefry key of two uint32 words (`core.rng.key_words`)."""
    key: jax.Array = jax.random.wrap_key_data(jnp.asarray(words, jnp.uint32), impl="threefry2x32")
    return key
