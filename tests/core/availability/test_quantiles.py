"""Variates from tables: the distributions that they are said to be, and the same bits one at a time as in an array."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from core import rng
from core.availability.quantiles import Quantiles, beta, exponential, lognormal, normal

CASES: list[tuple[Quantiles, Any]] = [
    (normal(), stats.norm()),
    (exponential(), stats.expon()),
    (lognormal(300.0, 1.32), stats.lognorm(1.32, scale=300.0)),
    (beta(3.2, 1.9), stats.beta(3.2, 1.9)),
]
IDS = ("normal", "exponential", "lognormal", "beta")


@pytest.mark.parametrize(("table", "exact"), CASES, ids=IDS)
def test_quantiles_are_those_of_the_distribution_out_to_the_tails(table: Quantiles, exact: Any) -> None:
    for power in range(1, 45):
        # The word whose 52 bits stand for this tail probability, and its mirror image.
        word = max(1, 1 << (64 - power)) + (1 << (63 - power) if power > 1 else 0)
        p = (2 * (word >> 12) + 1) * 2.0**-53
        scale = abs(exact.ppf(p)) + exact.std() * 1e-3
        assert table.of(word % (1 << 64)) == pytest.approx(exact.ppf(p), abs=1e-3 * scale)
        mirrored = ((1 << 64) - 1) ^ word
        assert table.of(mirrored) == pytest.approx(exact.isf(p), abs=1e-3 * (abs(exact.isf(p)) + exact.std() * 1e-3))


@pytest.mark.parametrize(("table", "exact"), CASES, ids=IDS)
def test_draws_pass_a_kolmogorov_smirnov_test(table: Quantiles, exact: Any) -> None:
    """At the level 1e-3, for one seed; 200,000 draws tell distributions apart that differ by 0.004 somewhere."""
    words = rng.words(rng.member_keys(rng.stream_key(7, "draws"), np.arange(200_000)), 0)
    assert stats.kstest(table.of_all(words), exact.cdf).pvalue > 1e-3


@given(st.lists(st.integers(0, (1 << 64) - 1), min_size=1, max_size=50))
def test_one_word_gives_the_bits_that_it_gives_among_many(words: list[int]) -> None:
    for table, _ in CASES:
        many = table.of_all(np.array(words, np.uint64))
        assert [table.of(word) for word in words] == many.tolist()
        assert np.isfinite(many).all()


@given(
    st.integers(0, (1 << 63) - 1), st.lists(st.integers(0, (1 << 40) - 1), min_size=1), st.integers(0, (1 << 31) - 1)
)
def test_words_of_members_are_the_same_alone_and_together(seed: int, indices: list[int], counter: int) -> None:
    key = rng.stream_key(seed, "group", "purpose")
    keys = rng.member_keys(key, np.array(indices, np.int64))
    assert keys.tolist() == [rng.member_key(key, index) for index in indices]
    words = rng.words(keys, counter)
    assert words.tolist() == [rng.word(member, counter) for member in keys.tolist()]
    assert rng.units(words).tolist() == [rng.unit(word) for word in words.tolist()]


def test_words_are_uniform_and_neighbours_are_independent() -> None:
    """Chi-square over 256 values of each byte, and of pairs of neighbouring members and counters, at the level 1e-4."""
    keys = rng.member_keys(rng.stream_key(1, "x"), np.arange(100_000))
    words = rng.words(keys, 0)
    for shift in range(0, 64, 8):
        counts = np.bincount((words >> np.uint64(shift)).astype(np.int64) & 255, minlength=256)
        assert stats.chisquare(counts).pvalue > 1e-4
    top = (words >> np.uint64(60)).astype(np.int64)
    after = (rng.words(keys, 1) >> np.uint64(60)).astype(np.int64)
    for one, other in ((top[:-1], top[1:]), (top, after)):
        assert stats.chisquare(np.bincount(one * 16 + other, minlength=256)).pvalue > 1e-4


def test_first_normals_are_those_of_generators() -> None:
    paths = [(f"phone-{i}", "speed") for i in range(200)]
    alone = [float(rng.generator(3, *path).standard_normal()) for path in paths]
    first = rng.FirstNormals(3)
    assert [first(*path) for path in paths] == alone
