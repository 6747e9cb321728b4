"""Generated data: their laws, their seeds, and the published generator's numbers."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

from core.data import Dataset, dataset
from core.data.datasets import datasets, fashion_mnist
from core.data.generators import leaf_client, leaf_common, leaf_size


def same(a: Dataset, b: Dataset) -> bool:
    return a.x.shape == b.x.shape and bool((a.x == b.x).all() and (a.y == b.y).all())


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("synthetic", {"clients": 4}),
        ("quadratics", {"dimensions": 2}),
        ("femnist_like", {"clients": 2}),
        ("leaf_synthetic", {"clients": 4, "clusters": 3}),
    ],
)
def test_generators_are_functions_of_the_seed(name: str, options: dict[str, Any]) -> None:
    one, again, other = dataset(name, options, 3), dataset(name, options, 3), dataset(name, options, 4)
    assert same(one, again)
    assert not same(one, other)
    # A client's examples do not depend on how many others there are.
    more = dataset(name, {**options, "clients": 8}, 3)
    assert more.client is not None
    assert one.client is not None
    assert (more.x[more.client == 1] == one.x[one.client == 1]).all()


def test_the_size_law_is_that_of_the_published_generator() -> None:
    """With its seed 0, ⌊lognormal(4, 2)⌋ + 50 for 30 devices are 20,101 + 2,248 = 22,349 examples (its repository)."""
    theirs = np.random.RandomState(0)
    assert int((theirs.lognormal(4, 2, 30).astype(int) + 50).sum()) == 22_349
    data = dataset("synthetic", {"clients": 400}, 1)
    assert data.client is not None
    sizes = np.bincount(data.client)
    assert sizes.min() >= 50
    # The median of lognormal(4, 2) is e^4 = 54.6, that of its logarithm has a standard error of 2 · 1.25 / 20.
    assert np.log(np.median(sizes) - 50 + 0.5) == pytest.approx(4.0, abs=0.4)


def test_alpha_and_beta_move_models_and_inputs_apart() -> None:
    """Inputs' coordinate j has the variance j^-1.2 within a client; the clients' means have the variance β² + 1."""
    data = dataset("synthetic", {"clients": 60, "alpha": 0.0, "beta": 3.0}, 2)
    assert data.client is not None
    within = [data.x[data.client == k] - data.x[data.client == k].mean(axis=0) for k in range(60)]
    spread = np.concatenate(within).var(axis=0)
    np.testing.assert_allclose(spread, np.arange(1, 61) ** -1.2, rtol=0.15)
    means = np.stack([data.x[data.client == k].mean(axis=0) for k in range(60)])
    assert means.mean(axis=1).std() == pytest.approx(3.0, rel=0.3)
    alike = dataset("synthetic", {"clients": 60, "alpha": 0.0, "beta": 0.0}, 2)
    means = np.stack([alike.x[alike.client == k].mean(axis=0) for k in range(60)])
    assert means.mean(axis=1).std() == pytest.approx(60**-0.5, rel=0.35)


def test_quadratics_have_their_optimum_where_their_examples_say() -> None:
    data = dataset("quadratics", {"clients": 3, "dimensions": 4}, 1)
    assert data.client is not None
    assert data.x.shape == (12, 4)
    for k in range(3):
        x, y = data.x[data.client == k], data.y[data.client == k]
        assert (x == np.diag(np.diag(x))).all()
        solved = np.linalg.solve(x, y)
        w = np.array([0.3, -1.0, 2.0, 0.0])
        expected = (np.diag(x) ** 2 * (w - solved) ** 2).sum() / 4
        assert ((x @ w - y) ** 2).mean() == pytest.approx(expected, rel=1e-5)


def test_made_up_letters_have_the_shape_of_femnist_and_hands_of_their_own() -> None:
    data = dataset("femnist_like", {"clients": 30}, 1)
    assert data.client is not None
    assert data.x.shape[1:] == (28, 28)
    assert (data.classes, data.y.min(), data.y.max()) == (62, 0, 61)
    assert (data.x.min(), data.x.max()) >= (0, 0.2)
    assert data.x.max() <= 1.0
    sizes = np.bincount(data.client)
    # The mean of 30 from a normal distribution with 88.94 has a standard error of 16.
    assert sizes.mean() == pytest.approx(226.83, abs=50)
    # Ink differs more between writers than chance would have it; without style it does not.
    plain = dataset("femnist_like", {"clients": 30, "style": 0.0}, 1)

    def ratio(of: Dataset) -> float:
        assert of.client is not None
        ink = of.x.mean(axis=(1, 2))
        means = np.array([ink[of.client == k].mean() for k in range(30)])
        errors = np.array([ink[of.client == k].std() / np.sqrt((of.client == k).sum()) for k in range(30)])
        return float(means.std() / errors.mean())

    assert ratio(data) > 4
    assert ratio(plain) < 1.6
    # Letters are told apart by their nearest mean, by far above chance, 1.6 %.
    train, test = data.client < 25, data.client >= 25
    centres = np.stack([data.x[train & (data.y == c)].mean(axis=0).ravel() for c in range(62)])
    distances = ((data.x[test].reshape(-1, 1, 784) - centres[None]) ** 2).sum(axis=2)
    assert (distances.argmin(axis=1) == data.y[test]).mean() > 0.6


# LEAF's synthetic set.


def test_the_size_law_of_leaf_gives_the_107553_examples_that_are_published() -> None:
    """With LEAF's seed 931231: 107,553 examples of 1,000 clients (card of the data set flwrlabs/synthetic)."""
    theirs = np.random.RandomState(931_231).lognormal(3, 2, 1000)
    assert sum(leaf_size(drawn) for drawn in theirs) == 107_553
    data = dataset("leaf_synthetic", {"dimensions": 2}, 1)
    assert data.client is not None
    sizes = np.bincount(data.client)
    assert (len(sizes), data.classes, sizes.min(), sizes.max()) == (1000, 5, 5, 1000)
    # A draw is above 995 with the chance Φ((3 − ln 995) / 2) = 2.6 %, below 1 with that of Φ(−1.5) = 6.7 %.
    for found, z in (((sizes == 1000).mean(), (3 - np.log(995)) / 2), ((sizes == 5).mean(), -1.5)):
        share = stats.norm.cdf(z)
        assert found == pytest.approx(share, abs=4 * np.sqrt(share * (1 - share) / 1000))
    # The mean of 1,000 with LEAF's deviation of 213 has a standard error of 6.7.
    assert sizes.mean() == pytest.approx(107.6, abs=4 * 6.7)


def test_clients_of_leaf_lie_around_the_centres_of_their_clusters() -> None:
    """u − μ is N(0, 0.1²), clusters are equally likely, centres N(c, 1) with c ~ N(0, 1): at the level 0.001 each."""
    common = leaf_common(2, 2, 3, 4)
    drawn = [leaf_client(2, k, common) for k in range(800)]
    off = np.concatenate([client.own - common.centres[client.cluster] for client in drawn]) / 0.1
    assert stats.kstest(off, "norm").pvalue > 0.001
    assert stats.chisquare(np.bincount([client.cluster for client in drawn], minlength=4)).pvalue > 0.001
    # Within a cluster the numbers of a centre have the variance 1, their mean that of c and of 30 of them.
    centres = leaf_common(3, 2, 3, 30).centres
    assert stats.kstest(centres.mean(axis=1) / np.sqrt(1 + 1 / 30), "norm").pvalue > 0.001
    within = (centres - centres.mean(axis=1, keepdims=True)) / np.sqrt(29 / 30)
    assert stats.kstest(within.ravel(), "norm").pvalue > 0.001
    assert stats.kstest(leaf_common(3, 5, 60, 2).basis.ravel(), "norm").pvalue > 0.001
    # Inputs: as in the data set, with the variances i^-1.2 around the client's own middle, and middles of 1 + 1.
    data = dataset("leaf_synthetic", {"clients": 800, "classes": 2, "dimensions": 3, "clusters": 4}, 2)
    assert (data.x == np.concatenate([client.x for client in drawn]).astype(np.float32)).all()
    assert (data.y == np.concatenate([client.y for client in drawn])).all()
    large = [client.x for client in drawn if len(client.x) > 50]
    around = np.concatenate([x - x.mean(axis=0) for x in large])
    np.testing.assert_allclose(around.var(axis=0), np.arange(1, 4) ** -1.2, rtol=0.05)
    middles = np.stack([x.mean(axis=0) for x in large])
    assert middles.mean(axis=1).std() == pytest.approx(np.sqrt(1 + 1 / 3), rel=0.15)


def test_labels_of_leaf_have_the_probabilities_of_their_clients_own_model() -> None:
    """Of two classes the second is the label with the chance Φ((l₁ − l₀) / (0.1 √2)), l by hand from Q and u."""
    common = leaf_common(5, 2, 2, 3)
    gaps, labels = [], []
    for k in range(300):
        client = leaf_client(5, k, common)
        weights = sum(client.own[j] * common.basis[:, :, j] for j in range(3))
        logits = weights[0] + client.x[:, :1] * weights[1] + client.x[:, 1:] * weights[2]
        gaps.append(logits[:, 1] - logits[:, 0])
        labels.append(client.y)
    gap, label = np.concatenate(gaps), np.concatenate(labels)
    chance = stats.norm.cdf(gap / (0.1 * np.sqrt(2)))
    unsure = (chance > 0.02) & (chance < 0.98)
    assert unsure.sum() > 500
    # All that are sure are as said; of those that are not, in fifths by their chance, as many as expected (chi-square).
    sure = np.abs(gap) > 0.1 * np.sqrt(2) * 5
    assert (label[sure] == (gap[sure] > 0)).all()
    fifth = np.minimum((chance[unsure] * 5).astype(int), 4)
    expected = np.bincount(fifth, chance[unsure], 5)
    variance = np.bincount(fifth, chance[unsure] * (1 - chance[unsure]), 5)
    statistic = ((np.bincount(fifth, label[unsure], 5) - expected) ** 2 / variance).sum()
    assert statistic < stats.chi2.ppf(0.999, 5)


def test_a_clients_model_of_leaf_serves_its_own_cluster() -> None:
    """What the weights of one say is the label of others in its cluster more often than elsewhere, of any seed.

    How much more depends on the centres, of which two may point the same way, as with the last of these seeds.
    """
    shares = []
    for seed in range(5):
        common = leaf_common(seed, 5, 20, 3)
        drawn = [leaf_client(seed, k, common) for k in range(40)]
        same, other = [], []
        for one in drawn[:10]:
            weights = common.basis @ one.own
            for client in drawn[10:]:
                right = (np.argmax(weights[0] + client.x @ weights[1:], axis=1) == client.y).mean()
                (same if client.cluster == one.cluster else other).append(right)
        shares.append((np.mean(same), np.mean(other)))
    assert all(same > other + 0.1 for same, other in shares), shares
    of_same, of_others = np.mean(shares, axis=0)
    assert of_same > 0.85
    assert of_others < 0.5


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"clients": 0}, "clients of leaf_synthetic is 0; a whole number from 1"),
        ({"classes": 1}, "classes of leaf_synthetic is 1; a whole number from 2"),
        ({"dimensions": 2.5}, "dimensions of leaf_synthetic is 2.5"),
        ({"clusters": True}, "clusters of leaf_synthetic is True"),
        ({"beta": 1}, "leaf_synthetic.*beta"),
    ],
)
def test_options_that_make_no_set_of_leaf_are_refused(options: dict[str, Any], match: str) -> None:
    assert datasets()["leaf_synthetic"].startswith("Synthetic set of LEAF")
    with pytest.raises(ValueError, match=match):
        dataset("leaf_synthetic", options)


# Fashion-MNIST's files.


def idx(array: Any, magic: bytes = b"\x00\x00\x08") -> bytes:
    return magic + bytes([array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


def written(folder: Path) -> Path:
    rng = np.random.Generator(np.random.Philox(key=1))
    for part, count in (("train", 6), ("t10k", 2)):
        pictures = rng.integers(0, 256, (count, 28, 28)).astype(np.uint8)
        for name, array in (("images-idx3", pictures), ("labels-idx1", np.arange(count, dtype=np.uint8))):
            (folder / f"{part}-{name}-ubyte.gz").write_bytes(gzip.compress(idx(array)))
    return folder


def test_fashion_mnist_is_read_from_the_files_of_its_package(tmp_path: Path) -> None:
    data = fashion_mnist(written(tmp_path))
    assert data.x.shape == (8, 28, 28)
    assert data.test is not None
    assert data.test.tolist() == [False] * 6 + [True] * 2
    assert data.y.tolist() == [0, 1, 2, 3, 4, 5, 0, 1]
    assert 0.9 < data.x.max() <= 1.0


@pytest.mark.parametrize(
    ("content", "match"),
    [
        (b"no gzip", "not a readable"),
        (gzip.compress(b"\x00\x00\x0d\x03"), "unsigned bytes"),
        (gzip.compress(b"\x00\x00\x08\x03\x00"), "ends within its header"),
        (gzip.compress(b"\x00\x00\x08\x03" + b"\xff" * 12), "at most"),
        (gzip.compress(idx(np.zeros((3, 28, 28), np.uint8))[:-1]), "has not the 2352 bytes"),
        (gzip.compress(idx(np.zeros((3, 28, 28), np.uint8))), "do not fit"),
        (gzip.compress(idx(np.zeros((3, 28, 28), np.uint8)))[:-9], "not a readable"),
    ],
    # A gzip file holds the time at which it was made: the tests' names must not.
    ids=["no gzip", "type", "header", "size", "short", "labels", "cut"],
)
def test_broken_files_of_fashion_mnist_are_refused(tmp_path: Path, content: bytes, match: str) -> None:
    (written(tmp_path) / "train-images-idx3-ubyte.gz").write_bytes(content)
    with pytest.raises(ValueError, match=match):
        fashion_mnist(tmp_path)


def test_where_it_is_not_installed_its_package_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="dataset-fashion-mnist"):
        fashion_mnist(tmp_path / "none")
    with pytest.raises(ValueError, match=r"synthetic.*gamma"):
        dataset("synthetic", {"gamma": 1})
