"""Exact sums: no order, grouping or fusion changes a bit; what cannot be summed is rejected whole."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.aggregation import Aggregation, exact_mean
from core.aggregation.linear import MAX_WEIGHT, exponent_for
from core.compute import Eager, Evaluator
from core.wire import ArrayDict

EAGER = Eager()
MEAN = exact_mean(10_000)
#: Two of them are at most 1,024 long together.
FLOATS = st.floats(-724, 724, width=32)
UPDATES = st.lists(st.tuples(st.tuples(FLOATS, FLOATS), st.integers(0, 1000)), min_size=1, max_size=10)


def update(*values: float) -> ArrayDict:
    return ArrayDict({"w": np.asarray(values, np.float32)})


def summed(items: list[tuple[ArrayDict, int]], aggregation: Aggregation = MEAN) -> ArrayDict:
    total = EAGER.run(aggregation.init, (items[0][0],))["sum"]
    for item, weight in items:
        total = EAGER.run(aggregation.accumulate, (total, item, weight))["sum"]
    return total


def finished(total: ArrayDict, aggregation: Aggregation = MEAN) -> tuple[Any, dict[str, int]]:
    outputs = EAGER.run(aggregation.finish, (total,))
    return outputs["mean"]["w"], {name: int(value) for name, value in outputs["count"].items()}


@settings(max_examples=50, deadline=None)
@given(UPDATES, st.randoms(use_true_random=False))
def test_the_order_of_arrival_changes_no_bit(items: Any, random: Any) -> None:
    arrivals = [(update(*values), weight) for values, weight in items]
    first = summed(arrivals)
    random.shuffle(arrivals)
    assert summed(arrivals) == first


@settings(max_examples=50, deadline=None)
@given(UPDATES)
def test_the_evaluator_in_one_batch_gives_the_same_bits(items: Any) -> None:
    arrivals = [(update(*values), weight) for values, weight in items]
    evaluator = Evaluator()
    total: Any = evaluator.submit(MEAN.init, (arrivals[0][0],))["sum"]
    for item, weight in arrivals:
        total = evaluator.submit(MEAN.accumulate, (total, item, weight))["sum"]
    assert evaluator.value(total) == summed(arrivals)


@settings(max_examples=100, deadline=None)
@given(UPDATES)
def test_the_sum_is_the_exact_sum_of_rounded_products(items: Any) -> None:
    """Each float32(n·Δ) rounded to a multiple of 2^-s, then exact; compared with rational arithmetic."""
    unit = Fraction(1, 2 ** exponent_for(10_000))
    expected = [Fraction(0), Fraction(0)]
    for values, weight in items:
        for k, value in enumerate(values):
            product = Fraction(float(np.float32(weight) * np.float32(value)))
            expected[k] += round(product / unit) * unit
    total = summed([(update(*values), weight) for values, weight in items])
    assert [int(v) * unit for v in total["sum/w"]] == expected
    assert int(total["weight"]) == sum(weight for _, weight in items)


def test_the_mean_is_weighted_by_examples() -> None:
    mean, counts = finished(summed([(update(1, 0), 1), (update(4, 8), 3)]))
    assert mean.tolist() == [3.25, 6.0]
    assert counts == {"weight": 4, "used": 2, "not_finite": 0}


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1024.01, -2000.0])
@pytest.mark.parametrize("weight", [1, 5])
def test_an_update_out_of_range_is_rejected_whole(bad: float, weight: int) -> None:
    good = [(update(1, 2), 2), (update(3, 4), 2)]
    mean, counts = finished(summed([good[0], (update(0.5, bad), weight), good[1]]))
    assert mean.tolist() == [2, 3]
    assert counts == {"weight": 4, "used": 2, "not_finite": 1}


@pytest.mark.parametrize("weight", [-1, MAX_WEIGHT + 1])
def test_a_weight_out_of_range_is_rejected(weight: int) -> None:
    assert finished(summed([(update(1, 2), weight)]))[1] == {"weight": 0, "used": 0, "not_finite": 1}


def test_the_largest_update_and_weight_fit() -> None:
    aggregation = exact_mean(MAX_WEIGHT)
    mean, counts = finished(summed([(update(1024, 0), MAX_WEIGHT)], aggregation), aggregation)
    assert mean.tolist() == [1024, 0]
    assert counts["used"] == 1


def test_no_weight_means_no_change_and_too_much_weight_is_not_a_number() -> None:
    assert finished(summed([(update(1, 2), 0)]))[0].tolist() == [0, 0]
    small = exact_mean(4)
    assert finished(summed([(update(1, 2), 4)], small), small)[0].tolist() == [1, 2]
    assert np.isnan(finished(summed([(update(1, 2), 5)], small), small)[0]).all()


@pytest.mark.parametrize("bound", [0, -3, (1 << 41) + 1])
def test_bounds_that_cannot_be_summed_are_refused(bound: int) -> None:
    with pytest.raises(ValueError, match="bound"):
        exact_mean(bound)


def test_the_exponent_is_the_largest_that_fits() -> None:
    for bound in (1, 2, 3, 1000, 1024, 1025, 1 << 41):
        s = exponent_for(bound)
        assert bound * 2**10 * 2**s <= 2**51 < bound * 2**10 * 2 ** (s + 1)
