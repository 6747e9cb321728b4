"""Random streams are pure functions of their path: pinned values, distinct paths, and light statistics."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core import rng

parts = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=8) | st.integers(
    -(2**70), 2**70
)
paths = st.lists(parts, max_size=4).map(tuple)


def words(seed: int, *path: str | int) -> list[int]:
    return [int(word) for word in rng.generator(seed, *path).integers(0, 2**32, size=3)]


def test_golden_values() -> None:
    """Whoever changes these changes every study."""
    assert words(0) == [1146253124, 2555983773, 3757365754]
    assert words(7, "phone-3", "batches", 12) == [36517125, 2882610064, 137690591]
    assert rng.key_words(7, "phone-3", "batches", 12) == (957554937, 2841744512)
    assert rng.secret_bytes(7, 8, "phone-3", "mask", 0).hex() == "dd583fd1c3c8d33f"


@given(st.integers(0, 2**64), paths)
def test_a_stream_depends_on_seed_and_path_alone(seed: int, path: tuple[str | int, ...]) -> None:
    first = rng.generator(seed, *path)
    rng.generator(seed + 1, *path).random(100)
    np.random.default_rng(0).random(10)
    second = rng.generator(seed, *path)
    assert first.random(5).tolist() == second.random(5).tolist()
    assert rng.key_words(seed, *path) == rng.key_words(seed, *path)
    assert rng.secret_bytes(seed, 16, *path) == rng.secret_bytes(seed, 16, *path)


@given(st.integers(0, 3), paths, st.integers(0, 3), paths)
def test_different_paths_are_different_streams(
    seed: int, path: tuple[str | int, ...], other_seed: int, other: tuple[str | int, ...]
) -> None:
    equal = (seed, path) == (other_seed, other)
    assert (words(seed, *path) == words(other_seed, *other)) == equal
    assert (rng.key_words(seed, *path) == rng.key_words(other_seed, *other)) == equal
    assert (rng.secret_bytes(seed, 16, *path) == rng.secret_bytes(other_seed, 16, *other)) == equal


def test_what_keeps_parts_apart_cannot_be_in_one() -> None:
    """Else ("a", "b") and ("a\\0sb",) would be one stream."""
    for path in (("a\0sb",), ("a", "b\0"), ("\0i1",)):
        with pytest.raises(ValueError, match="NUL"):
            rng.uniform(1, *path)


@pytest.mark.parametrize(
    ("a", "b"),
    [
        (("a", "b"), ("ab",)),
        (("a", "b"), ("b", "a")),
        (("ab", "c"), ("a", "bc")),
        (("a",), ("a", "")),
        (("",), ()),
        ((1,), ("1",)),
        ((1, 2), (12,)),
        ((-1,), (1,)),
        (("i1",), (1,)),
        (("phone-1", "x", 11), ("phone-11", "x", 1)),
    ],
)
def test_paths_that_are_easily_confused(a: tuple[str | int, ...], b: tuple[str | int, ...]) -> None:
    assert words(5, *a) != words(5, *b)
    assert rng.key_words(5, *a) != rng.key_words(5, *b)
    assert rng.secret_bytes(5, 16, *a) != rng.secret_bytes(5, 16, *b)


def test_the_seed_is_no_part_of_the_path() -> None:
    assert words(1, 2) != words(12)
    assert words(1, "2") != words(12)


def test_secrets_are_no_generators_of_the_same_path() -> None:
    assert rng.secret_bytes(1, 16, "a") != rng.generator(1, "a").bytes(16)
    assert rng.secret_bytes(1, 32, "a")[:16] == rng.secret_bytes(1, 16, "a")


def test_neighbouring_streams_are_independent() -> None:
    """First draws of 20,000 streams: uniform (Kolmogorov-Smirnov at 1e-6), and uncorrelated with the neighbour's."""
    n = 20_000
    first = np.array([rng.generator(3, "actor", "purpose", counter).random() for counter in range(n)])
    ordered = np.sort(first)
    steps = np.arange(n + 1) / n
    distance = max(np.max(steps[1:] - ordered), np.max(ordered - steps[:-1]))
    assert distance < np.sqrt(-np.log(1e-6 / 2) / (2 * n))
    # A correlation of independent draws is normal with deviation 1/sqrt(n): five of them.
    assert abs(np.corrcoef(first[:-1], first[1:])[0, 1]) < 5 / np.sqrt(n)
    keys = np.array([rng.key_words(3, "actor", counter) for counter in range(n)], dtype=np.uint64)
    assert len({tuple(key) for key in keys.tolist()}) == n
    bits = np.unpackbits(keys.astype("<u4").view(np.uint8)).reshape(n, 64)
    assert np.all(np.abs(bits.mean(axis=0) - 0.5) < 5 * 0.5 / np.sqrt(n))
