"""FLOPs and bytes of a computation, counted on its jaxpr by rules of our own.

FLOPs: two for each multiply-add of a contraction or convolution, one for each element of any arithmetic operation
(exp and log too), one for each element that a reduction takes in; moving, comparing index arithmetic, selecting
layouts and conversions cost none. Bytes: operations that a compiler does not fuse (contractions, convolutions,
reductions, gathers, scatters, sorts, concatenations) read their operands from memory and write their results to it;
elementwise operations are fused, so that they only read what lies in memory, and write what such an operation or the
caller takes from them. Loops with a known length multiply, branches count the dearest; a `while` of unknown length is refused:
cost is stated per reference step, times the steps really made.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any, Final, NamedTuple

import jax
import numpy as np
from jax.extend import core as jex

from core.compute.function import Kind, kind_of
from core.devices import Work


class Cost(NamedTuple):
    """FLOPs and bytes moved."""

    flops: float
    bytes: float


#: One FLOP an element of the result.
_ARITHMETIC: Final = frozenset(
    "abs acos acosh add add_any and asin asinh atan atan2 atanh cbrt ceil clamp cos cosh digamma div eq erf erf_inv erfc "
    "exp exp2 expm1 floor ge gt igamma igammac is_finite le lgamma log log1p logistic lt max min mul ne neg nextafter "
    "not or pow rem round rsqrt select_n shift_left shift_right_arithmetic shift_right_logical sign sin sinh sqrt "
    "square sub tan tanh xor integer_pow population_count clz".split()
)
#: Fused and free: they only rename, reshape or convert.
_FREE: Final = frozenset(
    "bitcast_convert_type broadcast_in_dim convert_element_type copy copy_p device_put expand_dims iota "
    "optimization_barrier random_bits random_fold_in random_seed random_split random_unwrap random_wrap real imag "
    "reduce_precision reshape rev slice split squeeze stop_gradient transpose dynamic_slice threefry2x32 pvary "
    "shard_map_p create_token symbolic_zeros mul_no_nan pad empty sharding_constraint".split()
)
#: One FLOP an element that goes in.
_REDUCTIONS: Final = frozenset(
    "argmax argmin cumlogsumexp cummax cummin cumprod cumsum reduce_and reduce_max reduce_min reduce_or reduce_prod "
    "reduce_sum reduce_xor".split()
)
#: Only moved: read and written.
_MOVES: Final = frozenset("concatenate dynamic_update_slice gather scatter sort top_k".split())
#: One FLOP an update.
_SCATTERS: Final = frozenset(["scatter-add", "scatter-mul", "scatter-max", "scatter-min", "scatter_add"])
_INLINED: Final = {
    "pjit": "jaxpr",
    "jit": "jaxpr",
    "closed_call": "call_jaxpr",
    "core_call": "call_jaxpr",
    "remat": "jaxpr",
    "checkpoint": "jaxpr",
    "custom_jvp_call": "call_jaxpr",
    "custom_vjp_call": "call_jaxpr",
    "custom_vjp_call_jaxpr": "fun_jaxpr",
}


def _size(var: Any) -> int:
    return math.prod(var.aval.shape)


def _nbytes(var: Any) -> int:
    if isinstance(var, jex.Literal):
        return 0
    dtype = var.aval.dtype
    item = 8 if jax.dtypes.issubdtype(dtype, jax.dtypes.extended) else np.dtype(dtype).itemsize
    return _size(var) * item


def _contraction_flops(equation: Any) -> float:
    (contracted, _), _ = equation.params["dimension_numbers"]
    shape = equation.invars[0].aval.shape
    return 2.0 * _size(equation.outvars[0]) * math.prod(shape[axis] for axis in contracted)


def _convolution_flops(equation: Any) -> float:
    """Multiply-adds at the positions where the window, dilated and padded, lies on the input."""
    p = equation.params
    dims = p["dimension_numbers"]
    lhs, rhs, out = equation.invars[0].aval.shape, equation.invars[1].aval.shape, equation.outvars[0].aval.shape
    taps = 1
    for k, axis in enumerate(dims.lhs_spec[2:]):
        size, window, length = lhs[axis], rhs[dims.rhs_spec[2:][k]], out[dims.out_spec[2:][k]]
        stride, (low, _), dilation, base = (
            p["window_strides"][k],
            p["padding"][k],
            p["rhs_dilation"][k],
            p["lhs_dilation"][k],
        )
        at = np.arange(length)[:, None] * stride - low + np.arange(window)[None, :] * dilation
        taps *= int(((at >= 0) & (at <= (size - 1) * base) & (at % base == 0)).sum())
    features, batch = out[dims.out_spec[1]], out[dims.out_spec[0]]
    per_group = rhs[dims.rhs_spec[1]]
    return 2.0 * taps * features * batch * per_group / p["batch_group_count"]


class _Count:
    """The state of counting one jaxpr: what lies in memory and how many bytes a reader takes, and the sums so far."""

    def __init__(self) -> None:
        self.flops = 0.0
        self.bytes = 0.0
        self.memory: dict[Any, int] = {}

    def place(self, variables: Any) -> None:
        """These lie in memory."""
        for v in variables:
            self.memory[v] = _nbytes(v)

    def read(self, variables: Any) -> None:
        """A fused operation reads what lies in memory."""
        self.bytes += sum(self.memory.get(v, 0) for v in variables if not isinstance(v, jex.Literal))

    def materialise(self, variables: Any) -> None:
        """What was fused so far is written, because something needs it in memory."""
        for v in variables:
            if not isinstance(v, jex.Literal) and v not in self.memory:
                self.memory[v] = _nbytes(v)
                self.bytes += _nbytes(v)

    def view(self, equation: Any) -> None:
        """A view of memory, or a constant, is read where it is used: at most what it is a view of."""
        if all(isinstance(v, jex.Literal) or v in self.memory for v in equation.invars):
            source = sum(self.memory.get(v, 0) for v in equation.invars if not isinstance(v, jex.Literal))
            for v in equation.outvars:
                self.memory[v] = min(_nbytes(v), source)

    def add(self, cost: Cost, times: float = 1.0) -> None:
        self.flops += times * cost.flops
        self.bytes += times * cost.bytes

    def run(self, jaxpr: Any) -> None:
        for equation in jaxpr.eqns:
            self.equation(equation)

    def unfused(self, equation: Any, flops: float, operands: Any = None) -> None:
        operands = equation.invars if operands is None else operands
        self.materialise(operands)
        self.read(operands)
        self.materialise(equation.outvars)
        self.flops += flops

    def inline(self, equation: Any, inner: Any) -> None:
        jaxpr = inner.jaxpr if hasattr(inner, "jaxpr") else inner
        # The last invars belong to the inner jaxpr; those before it are its constants.
        given = equation.invars[-len(jaxpr.invars) :] if jaxpr.invars else []
        for inside, outside in zip(jaxpr.invars, given, strict=True):
            if isinstance(outside, jex.Literal):
                self.memory[inside] = 0
            elif outside in self.memory:
                self.memory[inside] = self.memory[outside]
        self.place(jaxpr.constvars)
        self.run(jaxpr)
        for inside, outside in zip(jaxpr.outvars, equation.outvars, strict=True):
            if not isinstance(inside, jex.Literal) and inside in self.memory:
                self.memory[outside] = self.memory[inside]

    def equation(self, equation: Any) -> None:
        name = equation.primitive.name
        if name in _ARITHMETIC:
            self.read(equation.invars)
            self.flops += sum(_size(v) for v in equation.outvars)
        elif name in _INLINED:
            self.inline(equation, equation.params[_INLINED[name]])
        elif name in _REDUCTIONS:
            self.read(equation.invars)
            self.materialise(equation.outvars)
            self.flops += _size(equation.invars[0])
        elif name == "dot_general":
            self.unfused(equation, _contraction_flops(equation))
        elif name == "conv_general_dilated":
            self.unfused(equation, _convolution_flops(equation))
        elif name.startswith("reduce_window") or name.startswith("select_and_"):
            window = math.prod(equation.params["window_dimensions"])
            self.unfused(equation, float(window * max(_size(v) for v in equation.outvars)))
        elif name == "gather":
            self.materialise(equation.invars)
            self.bytes += _nbytes(equation.outvars[0]) + _nbytes(equation.invars[1])
            self.materialise(equation.outvars)
        elif name in _SCATTERS:
            self.unfused(equation, float(_size(equation.invars[2])))
        elif name in _MOVES:
            self.unfused(equation, 0.0)
        elif name == "scan":
            self.materialise(equation.invars)
            self.add(count_jaxpr(equation.params["jaxpr"]), equation.params["length"])
            self.place(equation.outvars)
        elif name == "cond":
            self.materialise(equation.invars)
            costs = [count_jaxpr(branch) for branch in equation.params["branches"]]
            self.add(Cost(max(c.flops for c in costs), max(c.bytes for c in costs)))
            self.place(equation.outvars)
        elif name in _FREE:
            self.view(equation)
        elif name == "while":
            raise ValueError("a `while` loop has no length that could be counted: state the cost of one step")
        else:
            raise ValueError(f"no rule for the cost of the operation {name!r}")


def count_jaxpr(closed: Any) -> Cost:
    """The cost of a closed jaxpr by the rules above. Raises `ValueError` for an operation without a rule."""
    count = _Count()
    jaxpr = closed.jaxpr
    count.place(jaxpr.invars)
    count.place(jaxpr.constvars)
    count.run(jaxpr)
    count.materialise(jaxpr.outvars)
    return Cost(count.flops, count.bytes)


def count(fn: Callable[..., Any], *arguments: Any) -> Cost:
    """The cost of `fn` at these arguments (arrays or `jax.ShapeDtypeStruct`s); nothing is computed."""
    return count_jaxpr(jax.make_jaxpr(fn)(*arguments))


def one_step(fn: Callable[..., Any]) -> Callable[..., Work]:
    """A `Function.work` for a function without loops: it makes one step, which is its own reference."""

    @functools.cache
    def cost(kinds: tuple[Kind, ...]) -> Work:
        total = count(fn, *(kind.abstract() for kind in kinds))
        return Work(total.flops, total.bytes, 1)

    def work(*arguments: Any) -> Work:
        return cost(tuple(kind_of(argument) for argument in arguments))

    return work
