"""Weighted means that are exact: order, grouping and fusion cannot change a bit.

Every n·Δ is rounded once to float32 and added as int64 in fixed point, with the unit 2^-s. The exponent s is fixed
beforehand from a bound W of the total weight: the largest s with W · 2^10 · 2^s <= 2^51. So every |Δ| up to 2^10 fits
whatever the weights are. The unit is at most W · 2^-40, so that a mean of m updates is off by at most m · 2^-41 from
that: 5e-11 for a hundred, where float32 resolves 6e-8 of 1. (2^51 and not 2^62, because up to there a float64 that
1.5 · 2^52 is added to holds the rounded number in its last bits, which is three times faster than a conversion.)
An update that is not finite or has an element beyond 2^10 in size, or whose weight is not in 0 .. 2^24 - 1 (beyond,
float32 does not hold it), is rejected whole: neither it nor its weight counts, only `rejected` does (`not_finite` in
the outcome, as nothing else than such numbers should be the reason). Such elements are counted, as a sum of integers
is made in the processor's vectors; a largest element, or a norm, goes to XLA's pool of threads and takes longer.
The mean of no weight at all is zero; a total weight above the bound makes the mean NaN, never a wrapped sum.

The weighted mean is that of McMahan et al., "Communication-efficient learning of deep networks from decentralized
data", AISTATS 2017, Algorithm 1; the fixed point is ours.
"""

from __future__ import annotations

import dataclasses
import functools
from typing import Any, Final

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from core.compute import Accumulation, Function, HostFunction
from core.compute.cost import one_step
from core.compute.function import Arrays, PayloadKind, arrays_kind
from core.devices import Work
from core.wire import ArrayDict, Spec

#: log2 of the largest element that an update may have, in size.
RANGE_BITS: Final = 10
#: log2 of what the sum of all updates may reach.
SUM_BITS: Final = 51
#: A float64 of this size has the unit 1 in its last place, whatever is added to it up to 2^51 in size.
_ROUNDER: Final = 1.5 * 2.0**52
_ROUNDER_BITS: Final = int(np.float64(_ROUNDER).view(np.int64))
#: Integers up to this are exact in float32.
MAX_WEIGHT: Final = (1 << 24) - 1
_PREFIX: Final = "sum/"


@dataclasses.dataclass(frozen=True)
class Aggregation:
    """A streaming weighted mean.

    `init(template) -> {"sum"}`: an empty sum for updates shaped like the template.
    `accumulate(sum, update, weight) -> {"sum"}`: one more update, of an int weight (its number of examples).
    `finish(sum) -> {"mean", "count"}`: the mean, float32, and the total `weight` (int64), how many updates are
    in it (`used`), and how many were rejected, for whichever reason, as `not_finite` (int32).
    """

    name: str
    init: Function
    accumulate: Accumulation
    finish: Function


def exponent_for(weight_bound: int) -> int:
    """The s of the unit 2^-s for a bound of the total weight. Raises `ValueError` outside of 1 .. 2^41."""
    if not 1 <= weight_bound <= 1 << (SUM_BITS - RANGE_BITS):
        raise ValueError(
            f"the bound of the total weight is {weight_bound}; 1 .. 2^{SUM_BITS - RANGE_BITS} can be summed"
        )
    return SUM_BITS - RANGE_BITS - (weight_bound - 1).bit_length()


def _sum_spec(template: PayloadKind) -> dict[str, dict[str, Spec]]:
    sums = {_PREFIX + name: Spec("<i8", s.shape) for name, s in template.spec.items()}
    return {"sum": {**sums, "weight": Spec("<i8", ()), "accepted": Spec("<i4", ()), "rejected": Spec("<i4", ())}}


def _empty(template: ArrayDict) -> dict[str, dict[str, Any]]:
    (group,) = _sum_spec(arrays_kind(template)).values()
    return {"sum": {name: np.zeros(s.shape, s.dtype) for name, s in group.items()}}


#: Nothing has no unit: one empty sum for all bounds. Zeros are not worth a program, which would take longer to load.
_INIT: Final = HostFunction("exact_mean.init", _empty, (), lambda template: Work(0.0, 0.0, 1), _sum_spec)


def exact_mean(weight_bound: int) -> Aggregation:
    """The exact weighted mean of float32 updates whose weights add up to at most `weight_bound`."""
    return _mean_at(exponent_for(weight_bound))


@functools.cache
def _mean_at(exponent: int) -> Aggregation:
    """The mean with the unit 2^-exponent; one value for all bounds that share it, and so one compilation."""
    scale = float(2**exponent)
    largest_total = 1 << (SUM_BITS - RANGE_BITS - exponent)

    def accumulate(total: Arrays, update: Arrays, weight: jax.Array) -> dict[str, dict[str, jax.Array]]:
        n = weight.astype(jnp.float32)
        taken = (weight >= 0) & (weight <= MAX_WEIGHT)
        added = {}
        for array in update.values():
            # A comparison with NaN is false, so that this refuses what is not finite too.
            within = jnp.abs(array.astype(jnp.float32)) <= np.float32(1 << RANGE_BITS)
            taken &= jnp.sum((~within).astype(jnp.int32)) == 0
        for name, array in update.items():
            shifted = (n * array.astype(jnp.float32)).astype(jnp.float64) * scale + _ROUNDER
            rounded = lax.bitcast_convert_type(shifted, jnp.int64) - _ROUNDER_BITS
            added[_PREFIX + name] = total[_PREFIX + name] + jnp.where(taken, rounded, np.int64(0))
        return {
            "sum": {
                **added,
                "weight": total["weight"] + jnp.where(taken, weight, np.int32(0)).astype(jnp.int64),
                "accepted": total["accepted"] + taken.astype(jnp.int32),
                "rejected": total["rejected"] + (~taken).astype(jnp.int32),
            }
        }

    def finish(total: Arrays) -> dict[str, dict[str, jax.Array]]:
        weight = total["weight"]
        divisor = jnp.maximum(weight, 1).astype(jnp.float64) * np.float64(scale)
        divisor = jnp.where(weight <= largest_total, divisor, np.float64(np.nan))
        mean = {
            name.removeprefix(_PREFIX): (array.astype(jnp.float64) / divisor).astype(jnp.float32)
            for name, array in total.items()
            if name.startswith(_PREFIX)
        }
        counts = {"weight": weight, "used": total["accepted"], "not_finite": total["rejected"]}
        return {"mean": mean, "count": counts}

    hyper = (exponent,)
    return Aggregation(
        name="exact_mean",
        init=_INIT,
        accumulate=Accumulation("exact_mean.accumulate", accumulate, hyper, one_step(accumulate)),
        finish=Function("exact_mean.finish", finish, hyper, one_step(finish)),
    )
