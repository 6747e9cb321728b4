"""Figures that others have published, each by its name, reached within the tolerance that docs/learning.md states.

They need the reference data, and minutes; where AIVSIM_PUBLISHED_RUNS names the folder of runs that were kept
(`aivsim oracles learning --published NAME --runs DIR`), these are read, also those that were stopped.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from aivsim.published import measured, row_of
from aivsim.setups import SET_UPS, Learned, SetUp

SHARED = Path(os.environ.get("AIVSIM_SHARED_DATA", Path(__file__).parents[2].parent / "shared" / "data"))
KEPT = os.environ.get("AIVSIM_PUBLISHED_RUNS")

FIGURES = [(setup, number) for setup in SET_UPS.values() for number in range(len(setup.figures))]
#: What has been learned, by set-up and variant: several figures may be of one.
FOUND: dict[tuple[str, str], list[Learned]] = {}


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(KEPT) if KEPT else tmp_path_factory.mktemp("published")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("setup", "number"), FIGURES, ids=[f"{setup.name}: {setup.figures[number].about}" for setup, number in FIGURES]
)
def test_published(setup: SetUp, number: int, runs: Path) -> None:
    figure = setup.figures[number]
    if not (SHARED / setup.needs).is_file():
        pytest.skip(f"there is no {SHARED / setup.needs}")
    if (setup.name, figure.variant) not in FOUND:
        (variant,) = (variant for variant in setup.variants if variant.key == figure.variant)
        FOUND[setup.name, figure.variant] = measured(setup, variant, SHARED, runs, stopped=KEPT is not None)
    row = row_of(figure, FOUND[setup.name, figure.variant])
    assert row[5] == ("no figure" if figure.low is None else "reproduced"), row


@pytest.mark.slow
def test_a_correct_loss_learns_more_than_the_published_sigmoid(runs: Path) -> None:
    """The trap of FedML's and FLUTE's model: with a softmax alone, the same runs end several points higher."""
    setup = SET_UPS["mnist-lr"]
    if not (SHARED / setup.needs).is_file():
        pytest.skip(f"there is no {SHARED / setup.needs}")
    theirs, correct = (measured(setup, variant, SHARED, runs, stopped=KEPT is not None) for variant in setup.variants)
    for one, other in zip(theirs, correct, strict=True):
        assert other.rounds[99] - one.rounds[99] > 0.02
        assert other.rounds[199] - one.rounds[199] > 0.02


@pytest.mark.slow
def test_fedprox_is_ahead_of_fedavg_by_most_where_stragglers_are_dropped(runs: Path) -> None:
    """Li et al. 2020, figure 1: with 90 % stragglers, partial work beats dropping, and μ > 0 beats μ = 0."""
    setup = SET_UPS["fedprox"]
    if not (SHARED / setup.needs).is_file():
        pytest.skip(f"there is no {SHARED / setup.needs}")
    mean = {}
    for figure in setup.figures:
        (variant,) = (variant for variant in setup.variants if variant.key == figure.variant)
        found = measured(setup, variant, SHARED, runs, stopped=KEPT is not None)
        mean[figure.variant] = sum(map(figure.of, found)) / len(found)
    assert mean["fedavg-90"] + 0.05 < mean["prox0-90"] < mean["prox2-90"]
    assert mean["fedavg-0"] < mean["prox2-0"]
    assert mean["prox2-0"] - mean["fedavg-0"] < mean["prox2-90"] - mean["fedavg-90"]
