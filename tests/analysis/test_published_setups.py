"""Published set-ups: their data and models have the published shapes, runs are done once, verdicts can fail."""

from __future__ import annotations

import dataclasses
import math
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import jax
import jax.numpy as jnp
import msgspec
import numpy as np
import numpy.typing as npt
import pytest
from click.testing import CliRunner

from aivsim import published, resuming, runs, setups
from aivsim.cli import cli
from aivsim.errors import InputWrong
from aivsim.setups import SET_UPS, Figure, Learned, SetUp, Variant
from analysis.oracles.published import Logistic, NiidBenchCnn, Regression, newton, straggling
from core.compute import Eager, Rows, Shard
from core.learning import Algorithm
from core.learning.proximal import fedprox
from core.models import Model, from_nnx
from core.records import read_manifest, write_manifest
from core.rng import key_words
from core.wire import ArrayDict

PAGE = Path(__file__).parents[2] / "docs" / "learning.md"
SHARED = Path(os.environ.get("AIVSIM_SHARED_DATA", Path(__file__).parents[2].parent / "shared" / "data"))
#: Pictures of each digit in all of MNIST, training and test part together.
DIGITS = (6903, 7877, 6990, 7141, 6824, 6313, 6876, 7293, 6825, 6958)


@pytest.mark.parametrize("seed", range(5))
def test_the_power_law_deals_as_the_published_generator_does(seed: int) -> None:
    """Published: 1,000 clients of two digits, 69,035 pictures, 69 a client; at least 5 of each, a tenth held out.

    Shares are rounded down, so that what is left over is known up to one picture a share: 70,000 − 2,000 .. 70,000.
    """
    y = np.random.Generator(np.random.Philox(key=seed)).permutation(np.repeat(np.arange(10), DIGITS))
    rows, client, late = setups.dealt_by_power_law(y, seed)
    assert len(np.unique(rows)) == len(rows)
    assert len(rows) == pytest.approx(69_035, abs=100)
    counts = np.zeros((1000, 10), int)
    np.add.at(counts, (client, y[rows]), 1)
    for k in range(1000):
        assert set(np.flatnonzero(counts[k])) == {k % 10, (k + 1) % 10}
    assert counts[counts > 0].min() >= 5
    sizes, held = np.bincount(client), np.bincount(client, late)
    assert (held == sizes - np.floor(0.9 * sizes)).all()
    # Heavy tails: half of the clients have less than 40, the largest more than a thousand.
    assert np.median(sizes) < 40
    assert sizes.max() > 1000


def test_the_split_of_scikit_learn_is_exact_in_its_sizes_and_proportions() -> None:
    """FLamby's hospitals: 199/104, 172/89, 30/16 and 85/45 rows, of which as large a share is ill in both parts."""
    for ill, rows, trained, tested in ((139, 303, 199, 104), (98, 261, 172, 89), (45, 46, 30, 16), (101, 130, 85, 45)):
        y = np.repeat([0, 1], [rows - ill, ill])
        held = setups.split_by_scikit_learn(y, 0.66, 43)
        assert (int((~held).sum()), int(held.sum())) == (trained, tested)
        if rows != 46:
            # Switzerland has one healthy row, which cannot be in both parts.
            assert y[held].sum() == pytest.approx(tested * ill / rows, abs=1)


def test_the_split_of_scikit_learn_without_and_with_strata() -> None:
    """Without: the first rows of MT19937's permutation, which numpy keeps the same for good. With: of 12 rows, half of
    each label, 7 are trained on, 4 of one label and 3 of the other, and the other 5 are held out.
    """
    held = setups.split_by_scikit_learn(np.array([0] * 11 + [1]), 0.66, 43)
    assert set(np.flatnonzero(held)) == set(np.random.RandomState(43).permutation(12)[:5])
    y = np.array([0, 1] * 6)
    held = setups.split_by_scikit_learn(y, 0.66, 43)
    assert sorted(np.bincount(y[held])) == [2, 3]


def regression(**hyper: Any) -> Model:
    return from_nnx(Regression, name="regression", input_shape=(28, 28), classes=10, hyper=hyper)


def test_models_have_the_published_numbers_of_parameters() -> None:
    """784 · 10 + 10; 13 + 1; 5·5·6 + 6, 5·5·6·16 + 16, 256·120 + 120, 120·84 + 84, 84·10 + 10 together."""
    assert from_nnx(NiidBenchCnn, name="cnn", input_shape=(28, 28), classes=10).size == 44_426
    assert regression().size == 7850
    assert from_nnx(Logistic, name="logistic", input_shape=(13,), classes=2).size == 14


def test_regression_starts_like_pytorch_and_scales_its_inputs() -> None:
    """Weights within ±1/28, spread evenly; (x − mean) / deviation is the same as scaled inputs."""
    plain, scaled = regression(), regression(mean=0.25, deviation=0.5)
    params = plain.init(jax.random.key(0))
    kernel = np.asarray(params["dense.kernel"])
    assert np.abs(kernel).max() == pytest.approx(1 / 28, rel=0.01)
    assert kernel.std() == pytest.approx(1 / 28 / math.sqrt(3), rel=0.05)
    assert np.abs(np.asarray(params["dense.bias"])).max() <= 1 / 28
    x = jnp.linspace(0, 1, 2 * 784, dtype=jnp.float32).reshape(2, 28, 28)
    np.testing.assert_allclose(scaled.apply(params, x), plain.apply(params, (x - 0.25) / 0.5), rtol=1e-5)


def test_a_sigmoid_before_the_softmax_bounds_the_loss() -> None:
    """Outputs within 0 to 1: the loss cannot leave ln(1 + 9/e) .. ln(1 + 9e), however large the weights."""
    model = regression(sigmoid=True)
    for size in (1e3, -1e3):
        params = {"dense.kernel": jnp.full((784, 10), 0.0), "dense.bias": jnp.full(10, -size).at[3].set(size)}
        outputs = model.apply(params, jnp.zeros((1, 28, 28)))
        bound = math.log(1 + 9 * math.exp(-math.copysign(1, size)))
        assert float(model.loss(outputs, jnp.array([3]))[0]) == pytest.approx(bound, rel=1e-5)


def trained(algorithm: Algorithm, epochs: int, key: tuple[int, int]) -> tuple[dict[str, Any], int]:
    """A client's update of ten examples in batches of five, and the steps that it is said to make."""
    rng = np.random.Generator(np.random.Philox(key=1))
    x = rng.normal(size=(10, 13)).astype(np.float32)
    shard = Shard(Rows({"x": x, "y": np.arange(10, dtype=np.int32) % 2}), np.arange(10, dtype=np.int32))
    params = Eager().run(algorithm.init, ((0, 0),))["params"]
    arguments = (params, shard, epochs, 0.1, key)
    update = Eager().run(algorithm.local_update, arguments)["update"]
    return {name: np.asarray(array) for name, array in dict(update).items()}, algorithm.local_update.work(
        *arguments
    ).steps


def test_stragglers_make_fewer_epochs_and_cost_as_much_as_they_make() -> None:
    """Share 0 is FedProx to the last bit; of share 1 each makes 1 to E − 1 epochs, and all of these occur."""
    model = from_nnx(Logistic, name="logistic", input_shape=(13,), classes=2)
    exact = fedprox(model, 5, mu=0.5)
    by_epochs = {epochs: trained(exact, epochs, (1, 2)) for epochs in range(1, 5)}
    whole, steps = trained(straggling(model, 5, mu=0.5, share=0.0), 4, (1, 2))
    assert steps == by_epochs[4][1] == 8
    assert all((whole[name] == by_epochs[4][0][name]).all() for name in whole)
    late = straggling(model, 5, mu=0.5, share=1.0)
    seen = set()
    for number in range(12):
        key = key_words(number)
        update, steps = trained(late, 4, key)
        seen.add(steps)
        expected, _ = trained(exact, steps // 2, key)
        assert all((update[name] == expected[name]).all() for name in update)
    assert seen == {2, 4, 6}
    half = straggling(model, 5, share=0.5)
    full = sum(trained(half, 2, key_words(number))[1] == 4 for number in range(100))
    assert 35 < full < 65
    with pytest.raises(ValueError, match=r"share is 1\.5; a number from 0 to 1 is expected"):
        straggling(model, 5, share=1.5)


def test_a_newton_step_is_that_of_the_sums_in_float64() -> None:
    """θ + (Xᵀ D X + I)⁻¹ Xᵀ (y − p) over all rows, though two clients of unequal size send means in float32."""
    model = from_nnx(Logistic, name="logistic", input_shape=(13,), classes=2)
    algorithm = newton(model, 1, ridge=1.0)
    rng = np.random.Generator(np.random.Philox(key=2))
    x, y = rng.normal(size=(50, 13)).astype(np.float32), rng.integers(0, 2, 50).astype(np.int32)
    params = ArrayDict({"dense.bias": np.array([0.3], "f4"), "dense.kernel": rng.normal(size=(13, 1)).astype("f4")})
    parts = np.split(np.arange(50, dtype=np.int32), [10])
    sent = []
    for part in parts:
        shard = Shard(Rows({"x": x, "y": y}), part, 40)
        sent.append(dict(Eager().run(algorithm.local_update, (params, shard, 1, 0.1, (0, 0)))["update"]))
    mean = {name: (10 * np.asarray(sent[0][name]) + 40 * np.asarray(sent[1][name])) / 50 for name in sent[0]}
    count = {"weight": np.int64(50), "accepted": np.int64(2), "not_finite": np.int64(0)}
    after = algorithm.apply.fn(
        {name: jnp.asarray(array) for name, array in params.items()},
        {name: jnp.asarray(array, jnp.float32) for name, array in mean.items()},
        {name: jnp.asarray(number) for name, number in count.items()},
        jnp.float32(50),
    )["params"]
    full = np.concatenate([np.ones((50, 1)), x.astype(float)], axis=1)
    theta = np.concatenate([np.asarray(params["dense.bias"]), np.asarray(params["dense.kernel"])[:, 0]]).astype(float)
    chance = 1 / (1 + np.exp(-full @ theta))
    hessian = (full.T * (chance * (1 - chance))) @ full + np.eye(14)
    theta += np.linalg.solve(hessian, full.T @ (y - chance))
    found = np.concatenate([np.asarray(after["dense.bias"]), np.asarray(after["dense.kernel"])[:, 0]])
    np.testing.assert_allclose(found, theta, rtol=1e-4, atol=1e-5)


# The command.


def test_the_command_knows_all_set_ups() -> None:
    (option,) = (parameter for parameter in cli.commands["oracles"].params if parameter.name == "published")
    assert list(option.type.choices) == list(SET_UPS)  # type: ignore[attr-defined]


def test_what_cannot_be_run_is_refused_before_anything_runs(tmp_path: Path) -> None:
    page, data = tmp_path / "page.md", tmp_path / "data"
    page.write_text("<!-- /published fedprox -->\n<!-- published fedprox -->\n", encoding="utf-8")
    data.mkdir()

    def said(*arguments: str) -> str:
        result = CliRunner().invoke(cli, ["oracles", *arguments], env={"AIVSIM_SHARED_DATA": ""})
        assert result.exit_code == 2, result.output
        return result.output

    one = ("--published", "fedprox", "--results", str(page))
    assert "physics has none" in said("physics", *one)
    assert "needs the reference data" in said("learning", *one)
    assert f"has no {setups.MNIST}" in said("learning", *one, "--data", str(data))
    (data / setups.MNIST).parent.mkdir()
    (data / setups.MNIST).touch()
    assert "has no lines <!-- published fedprox -->" in said("learning", *one, "--data", str(data))
    assert "no folder of data" in said("learning", *one, "--data", str(tmp_path / "none"))


def small() -> SetUp:
    """Three rounds of FedAvg on the digits that come with the project."""
    variant = Variant(
        "fedavg",
        {"rounds": 3, "local_epochs": 5, "batch_size": 8, "learning_rate": 0.2, "eval_clients_every": 3},
        {},
        {"name": "softmax"},
    )
    figures = [
        Figure("likely", "fedavg", setups.after(3), 0.85, 0.95, 0.01, "a guess"),
        Figure("unlikely", "fedavg", setups.after(3), 0.1, 0.1, 0.01, "another"),
        Figure("unknown", "fedavg", setups.mean_from(2)),
        Figure("one client", "fedavg", setups.at("client-13"), 0.5, 1.0, 0.0, "a third"),
    ]
    dealt = setups.SET_UPS["fedprox"]
    return dataclasses.replace(
        dealt, name="small", clients=14, seeds=(1, 2), prepared=_digits, variants=[variant], figures=figures
    )


def _digits(data: Path, kept: Path, seed: int) -> Path:
    from importlib import resources

    file = kept / "digits.npz"
    with resources.files("core.data").joinpath("digits.npz").open("rb") as found:
        file.write_bytes(found.read())
    return file


def test_runs_are_kept_and_read_again_and_a_verdict_can_be_no(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    setup, page, kept = small(), tmp_path / "page.md", tmp_path / "runs"
    monkeypatch.setattr(published, "SET_UPS", {"small": setup})
    begin, end = published.markers("small")
    page.write_text(f"before\n{begin}\nold\n{end}\nafter\n", encoding="utf-8")
    assert published.write_published(["small"], page, tmp_path, kept) == (3, 1)
    text = page.read_text(encoding="utf-8")
    assert text.startswith(f"before\n{begin}\n**")
    assert text.endswith(f"{end}\nafter\n")
    assert "old" not in text
    rows = [line for line in text.splitlines() if line.startswith("| ")][1:]
    assert [row.split(" | ")[5] for row in rows] == ["reproduced", "not reproduced", "no figure", "reproduced"]

    def never(*_: Any, **__: Any) -> None:
        raise AssertionError("a run that is there was made again")

    monkeypatch.setattr(runs, "run", never)
    monkeypatch.setattr(resuming, "resume", never)
    assert published.write_published(["small"], page, tmp_path, kept) == (3, 1)
    assert page.read_text(encoding="utf-8") == text
    # One that was stopped is taken up, unless it is to count as far as it got.
    folder = kept / "small-fedavg-2"
    write_manifest(folder, msgspec.structs.replace(read_manifest(folder), outcome="interrupted"))
    with pytest.raises(AssertionError, match="made again"):
        published.measured(setup, setup.variants[0], tmp_path, kept)
    assert len(published.measured(setup, setup.variants[0], tmp_path, kept, stopped=True)[1].rounds) == 3
    # A folder of the same name with another scenario in it is not taken for this one.
    other = dataclasses.replace(setup.variants[0], training={**setup.variants[0].training, "learning_rate": 0.1})
    with pytest.raises(InputWrong, match="holds a run of another scenario"):
        published.measured(setup, other, tmp_path, kept)


class Stub:
    """A run's tables: accuracies by round, and how it ended."""

    def __init__(self, outcome: str, known: dict[int, float]) -> None:
        self.manifest = SimpleNamespace(outcome=outcome)
        self._known = known

    def evaluations(self) -> dict[str, npt.NDArray[Any]]:
        return {"round": np.array(list(self._known)), "accuracy": np.array(list(self._known.values()))}

    def columns(self, name: str) -> dict[str, npt.NDArray[Any]]:
        assert name == "client_evaluations"
        return {"client": np.array(["client-0"], object), "accuracy": np.array([0.5])}


def test_a_run_that_was_stopped_counts_as_far_as_it_got_and_the_table_says_so() -> None:
    """Rounds that were given up, of which there is no evaluation, leave the accuracy of the round before."""
    variant = Variant("fedavg", {"rounds": 5}, {}, {})

    def learned(outcome: str, known: dict[int, float]) -> Learned:
        return published.learned_in(cast(Any, Stub(outcome, known)), variant)

    assert learned("done", {1: 0.1, 3: 0.3, 5: 0.5}).rounds == [0.1, 0.1, 0.3, 0.3, 0.5]
    part = learned("interrupted", {1: 0.1, 3: 0.3, 4: math.nan, 5: math.nan})
    assert part == Learned([0.1, 0.1, 0.3], {"client-0": 0.5}, 5)
    assert learned("interrupted", {1: 0.1, 2: 0.2}).rounds == [0.1, 0.2]
    assert learned("interrupted", {}).rounds == []
    figure = Figure("", "", setups.best, 0.3, 0.3, 0.02, "a source")
    assert published.row_of(figure, [part])[2] == "0.3000 (3 of 5 rounds)"
    later = Figure("", "", setups.after(4), 0.3, 0.3, 0.02, "a source")
    assert published.row_of(later, [part])[5] == "not reproduced"
    assert math.isnan(setups.mean_from(4)(part))
    assert math.isnan(setups.best(Learned([], {})))


def test_a_range_is_met_inside_it_and_missed_by_its_nearer_end() -> None:
    figure = Figure("", "", setups.after(2), 0.6, 0.7, 0.02, "a source")

    def row(*values: float) -> tuple[str, ...]:
        return published.row_of(figure, [Learned([0.1, value], {}) for value in values])

    assert row(0.65)[2:6] == ("0.6500", "+0.0000", "0.02", "reproduced")
    assert row(0.75)[2:6] == ("0.7500", "+0.0500", "0.02", "not reproduced")
    assert row(0.57, 0.61)[2:6] == ("0.5900 ± 0.0283", "-0.0100", "0.02", "reproduced")
    assert row(math.nan)[5] == "not reproduced"


@pytest.mark.parametrize("setup", SET_UPS.values(), ids=SET_UPS)
def test_the_page_has_the_tables_that_the_command_wrote(setup: SetUp) -> None:
    """Every figure with its source, and a verdict that follows from the numbers beside it."""
    begin, end = published.markers(setup.name)
    text = PAGE.read_text(encoding="utf-8").split(begin + "\n", 1)[1].split("\n" + end, 1)[0]
    rows = [
        tuple(line.removeprefix("| ").removesuffix(" |").split(" | "))
        for line in text.splitlines()
        if line.startswith("| ")
    ]
    assert text.splitlines() == published.table_of(setup, rows[1:])
    for figure, row in zip(setup.figures, rows[1:], strict=True):
        # Numbers of the page are rounded to four digits.
        ours = float(row[2].split()[0])
        said = published.row_of(dataclasses.replace(figure, of=lambda _, ours=ours: ours), [Learned([], {})])
        assert (*row[:2], row[4], row[6]) == (*said[:2], said[4], said[6])
        if figure.low is None:
            assert row[5] == "no figure"
        else:
            assert float(row[3]) == pytest.approx(float(said[3]), abs=1.1e-4)
            assert (row[5] == "reproduced") == (abs(float(row[3])) <= figure.tolerance + 5e-5)


@pytest.mark.parametrize("setup", SET_UPS.values(), ids=SET_UPS)
def test_every_variant_is_a_scenario_and_every_figure_has_a_variant(setup: SetUp, tmp_path: Path) -> None:
    keys = {variant.key for variant in setup.variants}
    assert {figure.variant for figure in setup.figures} == keys
    (tmp_path / "file.npz").touch()
    for variant in setup.variants:
        assert setup.scenario(variant, tmp_path / "file.npz", 1).device_count == setup.clients


@pytest.mark.skipif(not (SHARED / setups.HEART).is_file(), reason=f"there is no {SHARED / setups.HEART}")
def test_newton_on_heart_disease_tells_as_many_rows_rightly_as_nvflare(tmp_path: Path) -> None:
    """NVFlare hello-lr: 78 of 104, 67 of 89, 12 of 16 and 27 of 45, exactly."""
    setup = SET_UPS["hello-lr"]
    (learned,) = published.measured(setup, setup.variants[0], SHARED, tmp_path)
    examples = {"client-0": 104, "client-1": 89, "client-2": 16, "client-3": 45}
    right = {client: round(learned.clients[client] * count) for client, count in examples.items()}
    assert right == {"client-0": 78, "client-1": 67, "client-2": 12, "client-3": 27}
