"""FLOPs and bytes of a computation, counted on its jaxpr by rules of our own.

FLOPs: two for each multiply-add of a contraction or convolution, one for each element of any arithmetic operation
(exp and log too), one for each element that a reduction takes in; moving, reshaping and converting cost none.
Bytes: operations that a compiler does not fuse (contractions, convolutions, gathers, scatters, sorts, concatenations)
read their operands from memory and write their results to it; elementwise operations are fused with what follows, so
that they only read what lies in memory, and write what such an operation or the caller takes from them; reductions
read like elementwise operations and write their results. Decompositions of matrices and triangular systems count as in
Golub and Van Loan, "Matrix Computations" (4th edition, 2013), without terms of lower order. Loops of known length
multiply, branches count the dearest; a `while` is refused: cost is stated for one reference step, times the steps
really made.
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


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


#: One FLOP an element of the result.
_ARITHMETIC: Final = _names("""
    abs acos acosh add add_any and asin asinh atan atan2 atanh cbrt ceil clamp clz cos cosh digamma div eq erf erf_inv
    erfc exp exp2 expm1 floor ge gt igamma igammac integer_pow is_finite le le_to lgamma log log1p logistic lt lt_to max
    min mul ne neg nextafter not or population_count pow rem round rsqrt select_n shift_left shift_right_arithmetic
    shift_right_logical sign sin sinh sqrt square sub tan tanh xor
""")
#: Fused and free: they only rename, reshape, convert, or make numbers out of a counter.
_FREE: Final = _names("""
    bitcast_convert_type broadcast_in_dim convert_element_type copy dynamic_slice expand_dims iota
    lu_pivots_to_permutation optimization_barrier pad platform_index random_bits random_fold_in random_seed
    random_split random_unwrap random_wrap reduce_precision reshape rev slice split squeeze stop_gradient
    threefry2x32 transpose
""")
#: One FLOP an element that goes in.
_REDUCTIONS: Final = _names("""
    argmax argmin cumlogsumexp cummax cummin cumprod cumsum reduce_and reduce_max reduce_min reduce_or reduce_prod
    reduce_sum reduce_xor
""")
#: Only moved: read and written.
_MOVES: Final = _names("concatenate dynamic_update_slice gather scatter sort top_k")
#: One FLOP an update.
_SCATTERS: Final = _names("scatter-add scatter-mul scatter-max scatter-min scatter_add")
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
    item = 8 if not isinstance(dtype, np.dtype) else np.dtype(dtype).itemsize
    return _size(var) * item


def _contraction_flops(equation: Any) -> float:
    (contracted, _), _ = equation.params["dimension_numbers"]
    shape = equation.invars[0].aval.shape
    return 2.0 * _size(equation.outvars[0]) * math.prod(int(shape[axis]) for axis in contracted)


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
    features, batch = int(out[dims.out_spec[1]]), int(out[dims.out_spec[0]])
    per_group = int(rhs[dims.rhs_spec[1]])
    return 2.0 * taps * features * batch * per_group / int(p["batch_group_count"])


def _matrices(equation: Any) -> tuple[int, int, int]:
    """How many matrices an operation takes, and the shorter and the longer side of one."""
    shape = [int(length) for length in equation.invars[0].aval.shape]
    least, most = sorted(shape[-2:])
    return math.prod(shape[:-2]), least, most


def _cholesky_flops(equation: Any) -> float:
    """n³ / 3 (section 4.2.5)."""
    matrices, n, _ = _matrices(equation)
    return matrices * n**3 / 3


def _lu_flops(equation: Any) -> float:
    """n³ · 2/3 of a square matrix (section 3.2.6), k² (l − k / 3) of one with k ≤ l rows or columns (3.2.10)."""
    matrices, least, most = _matrices(equation)
    return matrices * least * least * (most - least / 3)


def _qr_flops(equation: Any) -> float:
    """Householder's R and Q, 2 k² (l − k / 3) each with k ≤ l rows or columns (section 5.2)."""
    matrices, least, most = _matrices(equation)
    return 4.0 * matrices * least * least * (most - least / 3)


def _eigh_flops(equation: Any) -> float:
    """The symmetric QR algorithm: 9 n³ with eigenvectors (section 8.3), which `eigh` of JAX always has."""
    matrices, n, _ = _matrices(equation)
    return 9.0 * matrices * n**3


def _svd_flops(equation: Any) -> float:
    """By Golub and Reinsch (figure 8.6.1): values alone, with as many vectors as values, or with all vectors."""
    matrices, n, m = _matrices(equation)
    if not equation.params["compute_uv"]:
        each = 4.0 * m * n * n - 4 / 3 * n**3
    elif equation.params["full_matrices"]:
        each = 4.0 * m * m * n + 8.0 * m * n * n + 9.0 * n**3
    else:
        each = 14.0 * m * n * n + 8.0 * n**3
    return matrices * each


def _triangular_flops(equation: Any) -> float:
    """n² of each right-hand side (section 3.1)."""
    return float(_size(equation.invars[1]) * int(equation.invars[0].aval.shape[-1]))


#: Operations on whole matrices, which a compiler leaves to a library.
_OF_MATRICES: Final[dict[str, Callable[[Any], float]]] = {
    "cholesky": _cholesky_flops,
    "eigh": _eigh_flops,
    "lu": _lu_flops,
    "qr": _qr_flops,
    "svd": _svd_flops,
    "triangular_solve": _triangular_flops,
}


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
        self.inline_with(given, equation.outvars, jaxpr)

    def inline_with(self, given: Any, results: Any, inner: Any) -> None:
        jaxpr = inner.jaxpr if hasattr(inner, "jaxpr") else inner
        for inside, outside in zip(jaxpr.invars, given, strict=True):
            if isinstance(outside, jex.Literal):
                self.memory[inside] = 0
            elif outside in self.memory:
                self.memory[inside] = self.memory[outside]
        self.place(jaxpr.constvars)
        self.run(jaxpr)
        for inside, outside in zip(jaxpr.outvars, results, strict=True):
            if not isinstance(inside, jex.Literal) and inside in self.memory:
                self.memory[outside] = self.memory[inside]

    def solution(self, equation: Any) -> None:
        """A linear system: the constants of all its parts come first, then the right-hand sides; one part is run."""
        lengths, parts = equation.params["const_lengths"], equation.params["jaxprs"]
        begin, rest = lengths.matvec + lengths.vecmat, sum(lengths)
        given = [*equation.invars[begin : begin + lengths.solve], *equation.invars[rest:]]
        self.inline_with(given, equation.outvars, parts.solve)

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
        elif name.startswith(("reduce_window", "select_and_")):
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
        elif name in _OF_MATRICES:
            self.unfused(equation, _OF_MATRICES[name](equation))
        elif name == "custom_linear_solve":
            self.solution(equation)
        elif name in _FREE:
            self.view(equation)
        elif name == "while":
            raise ValueError("a `while` loop has no length that could be counted: state the cost of one step")
        else:
            raise ValueError(
                f"no rule for the cost of the operation {name!r}; accepted: those that have one (core.compute.cost), "
                "or a function with a `work` of its own"
            )


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
