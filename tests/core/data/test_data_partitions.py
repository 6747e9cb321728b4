"""Partitioners: nothing dealt twice, the skew that each promises, and how it is measured."""

from __future__ import annotations

import dataclasses
import math
import warnings
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from core.data import Dataset, Federation, chance_distance, dataset, federation, heterogeneity, label_distance
from core.data.federation import PARTITIONS


def made(examples: int, classes: int, seed: int = 0, **changes: Any) -> Dataset:
    rng = np.random.Generator(np.random.Philox(key=seed))
    y = rng.integers(0, classes, examples).astype(np.int32)
    client = rng.integers(0, 7, examples).astype(np.int32)
    x = np.arange(examples, dtype=np.float32)[:, None]
    return dataclasses.replace(Dataset("made", x, y, client, classes, "client", "made"), **changes)


def everything(fed: Federation) -> Any:
    return np.sort(np.concatenate([*fed.train, *fed.held_out]))


@settings(max_examples=60, deadline=None)
@given(
    partition=st.sampled_from([name for name in PARTITIONS if name != "natural"]),
    clients=st.integers(1, 25),
    seed=st.integers(0, 5),
    per_client=st.integers(1, 4),
    sigma=st.floats(0, 2),
    exponent=st.floats(1.5, 4),
    fraction=st.sampled_from([0.0, 0.2, 0.5]),
    official=st.booleans(),
    hold_out=st.sampled_from(["random", "last"]),
)
def test_every_example_is_dealt_at_most_once(
    partition: str, clients: int, seed: int, fraction: float, official: bool, **options: Any
) -> None:
    data = made(400, 5, test=np.arange(400) % 4 == 0 if official else None)

    def make() -> Federation:
        return federation(data, partition, clients, fraction, seed, min_examples=1, **options)

    fed = make()
    dealt = everything(fed)
    assert len(np.unique(dealt)) == len(dealt)
    assert min(len(part) for part in fed.train) >= 1
    if official:
        assert data.test is not None
        assert not data.test[dealt].any()
        assert (np.sort(fed.test) == np.flatnonzero(data.test)).all()
    # All are dealt but for labels that nobody has.
    if partition != "labels" or clients >= 5:
        assert len(dealt) == (300 if official else 400)
    again = make()
    assert all((a == b).all() for a, b in zip(fed.train, again.train, strict=True))
    assert (fed.test == again.test).all()


def test_the_pathological_shards_are_those_of_mcmahan() -> None:
    """60,000 digits in 200 shards of 300, two a client: most have two labels, none more than four."""
    y = np.repeat(np.arange(10, dtype=np.int32), 6000)
    data = Dataset("mnist-like", np.zeros((60_000, 1), np.float32), y, None, 10, "client", "")
    fed = federation(data, "shards", 100, 0)
    assert {len(part) for part in fed.train} == {600}
    labels = np.count_nonzero(fed.label_counts(), axis=1)
    # 6,000 is a multiple of 300, so that no shard has two labels here.
    assert set(labels.tolist()) == {1, 2}
    assert (labels == 2).mean() > 0.8


@pytest.mark.parametrize("per_client", [1, 3])
def test_labels_gives_each_client_so_many(per_client: int) -> None:
    fed = federation("digits", "labels", 20, 0, per_client=per_client)
    counts = fed.label_counts()
    assert set(np.count_nonzero(counts, axis=1).tolist()) == {per_client}
    # Owners of a label have equal parts of it.
    for column in counts.T:
        own = column[column > 0]
        assert own.max() - own.min() <= 1
    weighted = federation("digits", "labels", 20, 0, per_client=per_client, sigma=2.0).label_counts()
    assert np.std(weighted[weighted > 0]) > 2 * np.std(counts[counts > 0])


def test_sizes_follow_their_laws() -> None:
    data = made(200_000, 2)
    sizes = np.array([len(p) for p in federation(data, "lognormal", 1000, 0, sigma=1.2).train])
    assert np.log(sizes).std() == pytest.approx(1.2, rel=0.1)
    sizes = np.array([len(p) for p in federation(data, "power_law", 1000, 0, exponent=2.5).train])
    # Hill's estimator on the upper half: the mean of the logarithms over the median is 1 / (exponent − 1).
    upper = np.sort(sizes)[500:]
    assert np.log(upper / upper[0]).mean() == pytest.approx(1 / 1.5, rel=0.15)
    assert {len(p) for p in federation(data, "lognormal", 8, 0, sigma=0.0).train} == {25_000}
    least = [len(p) for p in federation(data, "power_law", 100, 0, exponent=1.2, min_examples=50).train]
    assert min(least) >= 50
    assert max(least) > 10_000


@settings(max_examples=60, deadline=None)
@given(
    law=st.sampled_from(["power_law", "lognormal", "labels"]),
    clients=st.integers(2, 12),
    extreme=st.sampled_from([1e-300, 1e-12, 1e-3, 0.5]),
    seed=st.integers(0, 5),
    least=st.integers(1, 5),
)
@example(law="power_law", clients=5, extreme=1e-3, seed=0, least=1)
def test_heavy_tails_still_deal_each_example_once(
    law: str, clients: int, extreme: float, seed: int, least: int
) -> None:
    """Weights beyond any float: the largest takes nearly all, the others have their minimum."""
    data = made(100, 2)
    minimum: dict[str, Any] = {} if law == "labels" else {"min_examples": least}
    exponent, sigma = max(1 + extreme, math.nextafter(1, 2)), 1 / extreme
    fed = federation(data, law, clients, 0, seed, exponent=exponent, sigma=sigma, **minimum)
    assert everything(fed).tolist() == list(range(100))
    assert min(len(part) for part in fed.train) >= minimum.get("min_examples", 1)


def test_natural_clients_with_too_little_are_passed_over() -> None:
    data = made(
        40, 2, client=np.repeat([0, 1, 2, 3], [20, 3, 12, 5]).astype(np.int32), client_names=("a", "b", "c", "d")
    )
    fed = federation(data, "natural", None, 0, min_examples=5)
    assert fed.names == ("a", "c", "d")
    assert [len(part) for part in fed.train] == [20, 12, 5]
    assert federation(data, "natural", 2, 0, min_examples=5).names == ("a", "c")
    with pytest.raises(ValueError, match="4 clients asked for where the data have 3 natural ones with 5 examples"):
        federation(data, "natural", 4, 0, min_examples=5)


def test_the_last_examples_can_be_held_out() -> None:
    fed = federation("digits", "natural", hold_out="last")
    for train, held in zip(fed.train, fed.held_out, strict=True):
        assert train.max() < held.min()
        assert len(held) == round(0.2 * (len(train) + len(held)))


def test_a_test_part_of_its_own_is_the_test_set() -> None:
    data = made(70, 3, test=np.arange(70) >= 50)
    fed = federation(data, "natural")
    assert sorted(fed.test.tolist()) == list(range(50, 70))
    assert sum(map(len, fed.train)) == 50
    assert data.client is not None
    for k, held in enumerate(fed.held_out):
        assert (data.client[held] == k).all()
    assert sum(map(len, fed.held_out)) == 20
    assert all(len(part) == 0 for part in federation(data, "iid", 5).held_out)
    with pytest.raises(ValueError, match="none is left"):
        federation(made(5, 2, test=np.ones(5, np.bool_)), "iid", 1)


@pytest.mark.parametrize("kind", ["noise", "sensor", "rotate"])
def test_features_are_skewed_client_by_client(kind: str) -> None:
    plain = federation("digits", "iid", 6)
    skewed, again = (federation("digits", "iid", 6, feature_skew=(kind, 0.5)) for _ in range(2))
    assert (skewed.data.x == again.data.x).all()
    assert (dataset("digits").x == plain.data.x).all()
    for part, other in zip(plain.train, skewed.train, strict=True):
        assert (part == other).all()
    for k in range(6):
        rows = np.concatenate([plain.train[k], plain.held_out[k]])
        before, after = plain.data.x[rows], skewed.data.x[rows]
        if kind == "noise":
            assert float((after - before).std()) == pytest.approx(math.sqrt(0.5 * (k + 1) / 6), rel=0.05)
        elif kind == "sensor":
            gain, offset = np.polyfit(before.ravel(), after.ravel(), 1)
            assert gain > 0
            np.testing.assert_allclose(after, gain * before + offset, atol=1e-3)
        else:
            assert (after == np.rot90(before, k % 4, axes=(1, 2))).all()


@pytest.mark.parametrize(("kind", "strength"), [("sensor", 100.0), ("sensor", 1000.0), ("noise", 1e80)])
def test_what_a_skew_makes_no_number_of_is_refused(kind: str, strength: float) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(ValueError, match=rf"strength: at .* of client \d+ \({kind}\) grow beyond what float32"):
            federation("digits", "iid", 6, feature_skew=(kind, strength))


def test_a_regression_is_dealt_by_tenths() -> None:
    y = np.linspace(-3, 8, 1000).astype(np.float32)
    data = Dataset("line", y[:, None], y, None, 1, "client", "", task="regression")
    labels = data.labels()
    assert labels is not None
    assert np.bincount(labels).tolist() == [100] * 10
    counts = federation(data, "dirichlet", 10, 0, alpha=0.1).label_counts()
    assert counts.shape == (10, 10)
    assert heterogeneity(counts)[0] > 0.5


# How unlike clients are.


def test_distance_is_total_variation() -> None:
    counts = np.array([[10, 0], [0, 10]])
    assert label_distance(counts).tolist() == [0.5, 0.5]
    assert label_distance(np.array([[3, 3], [5, 5]])).tolist() == [0, 0]
    assert heterogeneity(np.array([[30, 0], [0, 10]]))[0] == pytest.approx((30 * 0.25 + 10 * 0.75) / 40)
    disjoint = np.eye(100, dtype=np.int64) * 7
    assert heterogeneity(disjoint)[0] == pytest.approx(0.99)


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 60), st.lists(st.integers(1, 50), min_size=2, max_size=6))
def test_chance_is_the_mean_over_all_outcomes(n: int, pooled: list[int]) -> None:
    """De Moivre's closed form against the sum over the binomial distribution."""
    counts = np.array([pooled, [0] * len(pooled)])
    counts[1, 0] = n
    shares = counts.sum(axis=0) / counts.sum()
    expected = 0.0
    for p in shares:
        weights = [math.comb(n, k) * p**k * (1 - p) ** (n - k) for k in range(n + 1)]
        expected += 0.5 * sum(w * abs(k / n - p) for k, w in enumerate(weights))
    assert chance_distance(counts)[1] == pytest.approx(expected, rel=1e-9)


def test_iid_parts_are_as_unlike_as_chance_makes_them() -> None:
    own, chance = heterogeneity(federation(made(20_000, 10), "iid", 200, 0).label_counts())
    assert own == pytest.approx(chance, rel=0.05)
    assert heterogeneity(np.zeros((2, 3), np.int64))[0] != heterogeneity(np.zeros((2, 3), np.int64))[0]


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({"partition": "shards", "clients": 900, "per_client": 2}, "2 shards each"),
        ({"partition": "labels", "clients": 10, "per_client": 11}, "11 of 10 labels"),
        ({"partition": "labels", "clients": 1797, "per_client": 10}, "cannot share the 178 examples"),
        ({"partition": "dirichlet", "clients": 10, "alpha": 1e308}, "alpha is 1e.308"),
        ({"partition": "lognormal", "clients": 10, "sigma": 1.7e308}, "beyond what can be computed"),
        ({"partition": "lognormal", "clients": 10, "sigma": -1.0}, "sigma"),
        ({"partition": "power_law", "clients": 10, "exponent": 1.0}, "exponent"),
        ({"partition": "power_law", "clients": 1798}, "1798 clients"),
        ({"partition": "natural", "hold_out": "first"}, "hold_out"),
        ({"partition": "natural", "feature_skew": ("blur", 1.0)}, "noise, sensor, rotate"),
    ],
)
def test_what_cannot_be_dealt_is_refused(arguments: dict[str, Any], match: str) -> None:
    with pytest.raises(ValueError, match=match):
        federation("digits", **arguments)


def test_text_has_no_labels_to_deal_by() -> None:
    tokens = np.zeros((20, 4), np.int32)
    data = Dataset("text", tokens, tokens, None, 3, "client", "", task="next_token", tokens=3)
    assert federation(data, "iid", 2, 0).label_counts().tolist() == [[40, 0, 0], [40, 0, 0]]
    with pytest.raises(ValueError, match="text has none of"):
        federation(data, "dirichlet", 2)
    with pytest.raises(ValueError, match="tokens"):
        federation(data, "iid", 2, feature_skew=("noise", 1.0))
