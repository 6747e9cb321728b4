"""Published and measured figures of data sets, reached from a scenario through the simulator.

The figures are those of a FedAvg in twenty lines of numpy (softmax regression, batches of 32, one split): their spread
is ours to bound. They run on data that are not part of the project, from AIVSIM_SHARED_DATA or ../shared/data.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import aivsim
from aivsim.learned import HOSPITALS
from core.data import federation
from core.scenario import Scenario, dumps

SHARED = Path(os.environ.get("AIVSIM_SHARED_DATA", Path(__file__).parents[2].parent / "shared" / "data"))
#: Options of MNIST's and Fashion-MNIST's files.
PICTURES = {"x": "x_train", "y": "y_train", "x_test": "x_test", "y_test": "y_test", "scale": 255}

pytestmark = pytest.mark.skipif(not SHARED.is_dir(), reason=f"there is no folder {SHARED}")


def shared(name: str) -> str:
    path = SHARED / name
    if not path.is_file():
        pytest.skip(f"there is no {path}")
    return str(path)


#: How the learning sets are read: file, options, partition and clients; examples, shape, classes, clients, test part.
READINGS: list[tuple[str, dict[str, Any], dict[str, Any], tuple[int, tuple[int, ...], int, int, int]]] = [
    ("digits_writers/digits_writers.npz", {"client": "writer", "scale": 16}, {}, (1797, (8, 8), 10, 14, 360)),
    (
        "fashion_mnist/fashion_mnist_12k.npz",
        PICTURES,
        {"partition": "shards", "clients": 100},
        (12_000, (28, 28), 10, 100, 4000),
    ),
    (
        "omniglot_drawers/omniglot28.npz",
        {"y": "character", "client": ("alphabet", "drawer"), "scale": 255},
        {},
        (4840, (28, 28), 242, 160, 940),
    ),
    (
        "spoken_digits/fsdd_logmel.npz",
        {"client": "speaker", "scale": 255, "test": "index", "test_values": (0, 1, 2, 3, 4)},
        {},
        (3000, (40, 32), 10, 6, 300),
    ),
    (
        "watch_exercises/watch_exercises.npz",
        {
            "client": "subject",
            "offset": "offset",
            "window": 100,
            "stride": 50,
            "standardise": True,
            "test": "subject",
            "test_values": (9, 10),
        },
        {},
        (4677, (100, 6), 7, 8, 1002),
    ),
    (
        "heart_disease/heart_disease.csv",
        {
            "client": "hospital",
            "y": "num",
            "above": 0,
            "missing": "impute",
            "standardise": True,
            "categories": ("cp", "restecg", "slope", "thal"),
        },
        {},
        (920, (22,), 2, 4, 185),
    ),
    (
        "parkinsons_telemonitoring/parkinsons_updrs.csv.gz",
        {
            "task": "regression",
            "client": "subject#",
            "y": "motor_UPDRS",
            "without": "total_UPDRS",
            "standardise": True,
        },
        {},
        (5875, (19,), 1, 42, 1176),
    ),
    (
        "beijing_air/beijing_air.npz",
        {
            "task": "regression",
            "window": 24,
            "stride": 24,
            "target": 0,
            "scale": "scale",
            "missing_value": -32768,
            "missing": "impute",
            "standardise": True,
        },
        {"hold_out": "last"},
        (17_250, (24, 11), 1, 12, 3451),
    ),
    (
        "shakespeare/plays_by_role.tsv.gz",
        {"text": "text", "client": ("play", "role"), "length": 80},
        {"hold_out": "last", "min_examples": 10},
        (54_812, (80,), 81, 718, 10_571),
    ),
    (
        "shakespeare/tinyshakespeare.txt",
        {"length": 80},
        {"partition": "iid", "clients": 10},
        (13_942, (80,), 65, 10, 2790),
    ),
    (
        "names_by_language/names.tsv",
        {"text": "name", "y": "language", "length": 16},
        {"partition": "dirichlet", "clients": 10},
        (20_050, (16,), 18, 10, 4009),
    ),
]


@pytest.mark.parametrize(("name", "options", "dealt", "expected"), READINGS, ids=[row[0] for row in READINGS])
def test_every_learning_set_is_read_from_its_file(
    name: str, options: dict[str, Any], dealt: dict[str, Any], expected: tuple[Any, ...]
) -> None:
    fed = federation(shared(name), options=options, **dealt)
    data = fed.data
    assert (len(data.x), data.input_shape, data.classes, len(fed), len(fed.test)) == expected
    assert np.isfinite(data.x).all()


def accuracy(folder: Path, data: dict[str, Any], clients: int, seed: int, **training: Any) -> float:
    """Accuracy of FedAvg's last model in the simulator."""
    training = {"batch_size": 32, "eval_every": training["rounds"], **training}
    devices = [{"name": "client", "count": clients, "device": "phone_mid", "link": "wifi_home"}]
    scenario = Scenario.model_validate({"seed": seed, "data": data, "training": training, "devices": devices})
    (folder / f"scenario-{seed}.yaml").write_text(dumps(scenario))
    run = aivsim.run(folder / f"scenario-{seed}.yaml", out=folder / f"run-{seed}", report=False)
    return float(run.evaluations()["accuracy"][-1])


@pytest.mark.slow
def test_digits_by_writer(tmp_path: Path) -> None:
    """0.938: R = 50, E = 5, η = 0.2. Ours: 0.941 ± 0.005 over three splits of 360 test pictures (each ± 0.013)."""
    data = {"dataset": shared("digits_writers/digits_writers.npz"), "options": {"client": "writer", "scale": 16}}
    found = [accuracy(tmp_path, data, 14, seed, rounds=50, local_epochs=5, learning_rate=0.2) for seed in (1, 2, 3)]
    assert np.mean(found) == pytest.approx(0.938, abs=0.02)


@pytest.mark.slow
def test_heart_disease_by_hospital(tmp_path: Path) -> None:
    """0.790: R = 30, E = 2, η = 0.05, all 920 rows, ten splits. Ours: see the tolerance.

    Which columns the figure rests on is not said. Without the four that are mostly missing or wrong (ca, thal, slope,
    chol) ours is 0.80; with all thirteen, imputed inside the hospital, 0.82. One split has a standard deviation of
    0.025.
    """
    data = {"dataset": shared("heart_disease/heart_disease.csv"), "options": HOSPITALS}
    found = [accuracy(tmp_path, data, 4, seed, rounds=30, local_epochs=2, learning_rate=0.05) for seed in range(10)]
    assert np.mean(found) == pytest.approx(0.790, abs=0.02)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "reference"), [("mnist/mnist.npz", 0.916), ("fashion_mnist/fashion_mnist_12k.npz", 0.798)]
)
def test_pictures_dealt_at_random(tmp_path: Path, name: str, reference: float) -> None:
    """MNIST 0.916, the 12,000 of Fashion-MNIST 0.798: 100 clients, 10 a round, R = 100, E = 1, η = 0.1, own test part.

    Ours: 0.917 and 0.799 over two seeds; a test part of 4,000 has a standard error of 0.006.
    """
    data = {"dataset": shared(name), "options": PICTURES, "partition": "iid"}
    found = [accuracy(tmp_path, data, 100, seed, rounds=100, max_participants=10, learning_rate=0.1) for seed in (1, 2)]
    assert np.mean(found) == pytest.approx(reference, abs=0.01)
