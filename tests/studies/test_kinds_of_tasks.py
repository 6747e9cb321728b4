"""Regression, next tokens and skewed data from the scenario to the report, and quadratics to their optimum."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

import aivsim
from aivsim.cli import cli
from analysis.study import Study
from analysis.summary import summary
from analysis.tables import Run
from core.data import dataset, federation, heterogeneity
from core.scenario import Scenario, dumps

# What all tests here look at takes long to make: one process makes it, once.
pytestmark = pytest.mark.xdist_group("kinds of tasks")

PHONES = {"name": "phone", "device": "phone_mid", "link": "wifi_home"}


def study(folder: Path, count: int, training: dict[str, Any], *, world: Any = "sim", **changes: Any) -> Run:
    scenario = Scenario.model_validate({"training": training, "devices": [{**PHONES, "count": count}], **changes})
    (folder / "scenario.yaml").write_text(dumps(scenario))
    return aivsim.run(folder / "scenario.yaml", out=folder / "run", world=world, processes=2)


def houses(folder: Path) -> Path:
    """Five sites whose prices are one linear function of size and age, with noise of a standard deviation of 0.1."""
    rng = np.random.Generator(np.random.Philox(key=4))
    rows = ["site,size,age,price"]
    for site in range(5):
        for _ in range(40):
            size, age = rng.normal(site - 2, 1), rng.normal(0, 1)
            rows.append(f"s{site},{size:.4f},{age:.4f},{3 * size - age + 2 + rng.normal(0, 0.1):.4f}")
    (folder / "houses.csv").write_text("\n".join(rows))
    return folder / "houses.csv"


REGRESSION = {"task": "regression", "client": "site", "y": "price"}


@pytest.fixture(scope="module")
def regression(tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("regression")
    data = {"dataset": str(houses(folder)), "options": REGRESSION}
    training = {"rounds": 12, "local_epochs": 4, "batch_size": 8, "learning_rate": 0.05}
    return study(folder, 5, training, data=data, model={"name": "linear"}, name="houses")


def test_a_regression_learns_what_its_noise_leaves(regression: Run) -> None:
    """The mean absolute error of normal noise with the deviation 0.1 is 0.1 √(2/π) = 0.080; its square 0.01."""
    rows = regression.evaluations()
    assert np.isnan(rows["accuracy"]).all()
    assert rows["error"][-1] == pytest.approx(0.080, rel=0.3)
    assert rows["loss"][-1] == pytest.approx(0.010, rel=0.5)
    assert rows["error"][0] > 3 * rows["error"][-1]


def test_what_is_shown_of_a_regression_speaks_of_its_error(regression: Run) -> None:
    found = Study(regression)
    assert found.is_regression
    assert f"mean absolute error on {40} held-out examples" in found.sentence
    assert any(line.startswith("  error     0.0") for line in summary(regression.directory))
    page = (regression.directory / "report.html").read_text()
    assert "final error" in page
    assert "Mean absolute error on held-out examples" in page
    assert "tenth of the targets" in page
    assert "accuracy" not in page.replace("wall accuracy", "")
    done = CliRunner().invoke(cli, ["compare", str(regression.directory), str(regression.directory)])
    assert done.exit_code == 0
    assert "final error" in done.output


def test_shards_are_recorded_and_drawn(tmp_path: Path) -> None:
    data = {"dataset": "digits", "partition": "dirichlet", "alpha": 0.1, "min_examples": 5, "clients": 12}
    run = study(tmp_path, 10, {"rounds": 1}, data=data)
    fed = federation("digits", "dirichlet", 12, seed=1, alpha=0.1, min_examples=5)
    rows = run.columns("shards")
    assert rows["actor"].tolist() == [f"phone-{i}" for i in range(10)]
    assert rows["client"].tolist() == [f"client-{i:02d}" for i in range(10)]
    assert rows["train_examples"].tolist() == [len(part) for part in fed.train[:10]]
    assert rows["test_examples"].tolist() == [len(part) for part in fed.held_out[:10]]
    counts = fed.label_counts()[:10]
    found = Study(run)
    assert (found.label_counts == counts).all()
    assert found.heterogeneity == pytest.approx(heterogeneity(counts))
    page = (run.directory / "report.html").read_text()
    assert "Who has which labels" in page
    assert f"clients&#39; together is {heterogeneity(counts)[0]:.2f}" in page
    checked = CliRunner().invoke(cli, ["check", str(tmp_path / "scenario.yaml")])
    assert f"heterogeneity      {heterogeneity(counts)[0]:.2f} from all clients' labels" in checked.output
    assert "1.29 kFLOP forward" in checked.output.replace("\u00a0", " ")


def test_next_characters_from_a_file_to_the_report(tmp_path: Path) -> None:
    """A text of period three is learnt: each character has one successor."""
    lines = ["who\tsays", *(f"{who}\t{'abc' * 40}" for who in ("anna", "ben", "cleo") for _ in range(3))]
    (tmp_path / "plays.tsv").write_text("\n".join(lines))
    run = study(
        tmp_path,
        3,
        {"rounds": 2, "local_epochs": 4, "batch_size": 4, "learning_rate": 2},
        data={
            "dataset": str(tmp_path / "plays.tsv"),
            "options": {"text": "says", "client": "who", "length": 12},
            "hold_out": "last",
        },
        model={"name": "lstm", "options": {"units": 16, "layers": 1}},
    )
    rows = run.evaluations()
    # Only what comes after a line break, or within the first characters, is not certain.
    assert rows["accuracy"][-1] > 0.95
    # The perplexity is e to the loss.
    assert np.exp(rows["loss"][-1]) < 1.2
    assert "divide by token" in (run.directory / "report.html").read_text()
    assert run.columns("shards")["label_counts"][0].count(" ") == 3


def test_quadratics_reach_the_fixed_point_of_their_formula(tmp_path: Path) -> None:
    """Σ w c / Σ w with w = 1 − (1 − 2 η a)^E: the squared error a (x − c)² has twice the slope of a (x − c)² / 2."""
    data = dataset("quadratics", {"clients": 6}, 1)
    a, c = data.x[:, 0].astype(float) ** 2, data.y / data.x[:, 0]
    w = 1 - (1 - 2 * 0.05 * a) ** 5
    run = study(
        tmp_path,
        6,
        {"rounds": 80, "local_epochs": 5, "batch_size": 1, "learning_rate": 0.05, "eval_every": 80},
        data={"dataset": "quadratics", "options": {"clients": 6}, "test_fraction": 0},
        model={"name": "linear", "options": {"bias": False}},
        evaluator=None,
    )
    from core.records import load_model

    found = load_model(run.directory / "model.safetensors")["dense.kernel"]
    assert found.shape == (1, 1)
    assert float(found[0, 0]) == pytest.approx((w * c).sum() / w.sum(), abs=1e-5)


def test_the_real_world_learns_the_same_regression(tmp_path: Path) -> None:
    data = {"dataset": str(houses(tmp_path)), "options": REGRESSION, "feature_skew": {"kind": "sensor"}}
    training = {"rounds": 2, "min_participants": 3, "max_participants": 3, "learning_rate": 0.01}
    changes: dict[str, Any] = {"data": data, "model": {"name": "linear"}, "real": {"time_scale": 0.01}}
    (tmp_path / "sim").mkdir()
    (tmp_path / "real").mkdir()
    simulated = study(tmp_path / "sim", 3, training, **changes)
    real = study(tmp_path / "real", 3, training, world="real", **changes)
    assert simulated.manifest.model_sha256 == real.manifest.model_sha256
    assert simulated.evaluations()["error"].tolist() == real.evaluations()["error"].tolist()
    assert simulated.columns("shards")["label_counts"].tolist() == real.columns("shards")["label_counts"].tolist()


def test_a_file_that_does_not_fit_ends_with_2_and_says_where(tmp_path: Path) -> None:
    path = houses(tmp_path)
    path.write_text(path.read_text().replace("s3,", "s3,?", 1))
    scenario = Scenario.model_validate(
        {
            "data": {"dataset": str(path), "options": REGRESSION},
            "model": {"name": "linear"},
            "training": {"rounds": 1},
            "devices": [{**PHONES, "count": 5}],
        }
    )
    (tmp_path / "scenario.yaml").write_text(dumps(scenario))
    for command in ("run", "check"):
        done = CliRunner().invoke(cli, [command, str(tmp_path / "scenario.yaml")])
        assert done.exit_code == 2
        assert "houses.csv: column `size`: '?" in done.output
        assert "(line 122) is no number" in done.output
    text = (tmp_path / "scenario.yaml").read_text().replace('"client"', '"clinet"')
    (tmp_path / "scenario.yaml").write_text(text)
    done = CliRunner().invoke(cli, ["run", str(tmp_path / "scenario.yaml")])
    assert done.exit_code == 2
    assert 'did you mean "client"?' in done.output
