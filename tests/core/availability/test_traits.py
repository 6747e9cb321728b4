"""Joint draws: each quantity keeps its own distribution, and any two correlate as asked."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from core.availability import TRAITS, Traits, factor

EVERYONE = np.arange(20_000)
ASKED = {("speed", "availability"): 0.3, ("speed", "data"): -0.5, ("data", "network"): 0.6}


def test_marginals_stay_and_ranks_correlate_as_asked() -> None:
    """Each score is standard normal (Kolmogorov-Smirnov, level 1e-3); Spearman's rho of a Gaussian copula is
    6/pi asin(r/2) (Kruskal 1958), within four standard errors."""
    traits = Traits(ASKED, 1, "phone")
    scores = {name: traits.scores(name, EVERYONE) for name in TRAITS}
    for name in TRAITS:
        assert stats.kstest(scores[name], "norm").pvalue > 1e-3
    for one, other in itertools.combinations(TRAITS, 2):
        expected = 6 / math.pi * math.asin(ASKED.get((one, other), 0.0) / 2)
        found = stats.spearmanr(scores[one], scores[other]).statistic
        assert abs(found - expected) < 4 / math.sqrt(len(EVERYONE)), (one, other)


def test_multiples_are_lognormal_with_the_median_one() -> None:
    multiples = Traits(ASKED, 1, "phone").multiples("network", 0.5, EVERYONE)
    assert stats.kstest(multiples, stats.lognorm(0.5).cdf).pvalue > 1e-3
    assert (Traits(ASKED, 1, "phone").multiples("network", 0.0, EVERYONE) == 1.0).all()


def test_a_device_alone_has_the_scores_that_it_has_among_many() -> None:
    traits = Traits(ASKED, 9, "phone")
    for name in TRAITS:
        many = traits.scores(name, EVERYONE[:200])
        assert [traits.score(name, index) for index in range(200)] == many.tolist()


@settings(deadline=None)
@given(st.lists(st.floats(-1.0, 1.0), min_size=6, max_size=6))
def test_what_does_not_hold_together_is_refused(values: list[float]) -> None:
    """The factor times its transpose is the matrix; it is refused exactly if an eigenvalue is negative."""
    pairs = dict(zip(itertools.combinations(TRAITS, 2), values, strict=True))
    matrix = np.eye(4)
    for (one, other), value in pairs.items():
        i, j = TRAITS.index(one), TRAITS.index(other)
        matrix[i, j] = matrix[j, i] = value
    least = np.linalg.eigvalsh(matrix).min()
    if abs(least) < 1e-5:
        return
    if least < 0:
        with pytest.raises(ValueError, match="semidefinite"):
            factor(pairs)
    else:
        lower = np.array(factor(pairs))
        assert np.allclose(lower @ lower.T, matrix, atol=1e-9)


def test_perfect_correlation_is_allowed() -> None:
    traits = Traits({("speed", "data"): 1.0}, 1, "phone")
    assert np.allclose(traits.scores("speed", EVERYONE[:100]), traits.scores("data", EVERYONE[:100]))
    with pytest.raises(ValueError, match="semidefinite"):
        factor({("speed", "data"): 1.0, ("speed", "network"): 1.0, ("data", "network"): 0.0})
