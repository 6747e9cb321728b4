"""What every algorithm learns on two data sets, and published set-ups run again: the tables of docs/learning.md.

Each algorithm has one fixed setting, chosen beforehand and not tuned: figures show that it learns, not which is best.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean, stdev
from typing import Any, Final

import click

from aivsim.errors import InputWrong
from analysis.oracles import Check
from core.compute import Evaluator
from core.learning import catalogue
from core.records import ClientEvaluationRow, EvaluationRow
from core.scenario import Scenario
from core.scenario.build import study
from core.wire import Payload

DIGITS: Final = "digits_writers/digits_writers.npz"
FASHION: Final = "fashion_mnist/fashion_mnist_12k.npz"
MNIST: Final = "mnist/mnist.npz"
HEART: Final = "heart_disease/heart_disease.csv"
BEGIN, END = "<!-- results -->", "<!-- /results -->"
SEEDS: Final = (1, 2, 3)
#: What must be known to read the table.
ABOUT: Final = """\
- Accuracy of the last model on what was held out of all clients: mean ± sd over seeds 1, 2, 3. *own*: of the models
  of clients' own, each on its client's held-out examples, weighted by them. Of FedRep only that says much: the pooled
  figure is with an untrained head.
- Softmax regression; FedBN and FedRep: a layer of 32, layer normalisation, ReLU and a head `out`. FedSGD makes one step
  a round, on all examples. FedAsync and FedBuff get as many results as the others, in versions of 1 and of 10.
- Settings were chosen beforehand and not tuned: the table shows that each learns, not which is best."""
#: A network that FedBN and FedRep can divide; the others learn softmax regression.
NORMED: Final = "analysis.oracles.learning_exact:Normed"

#: The setting of each algorithm: keys of `training`.
SETTINGS: Final[Mapping[str, dict[str, Any]]] = {
    "fedsgd": {"local_epochs": 1},
    "fedavgm": {"server_learning_rate": 0.3, "options": {"server_momentum": 0.9}},
    "fedadagrad": {"server_learning_rate": 0.1, "options": {"tau": 1e-3}},
    "fedadam": {"server_learning_rate": 0.03, "options": {"tau": 1e-3}},
    "fedyogi": {"server_learning_rate": 0.03, "options": {"tau": 1e-3}},
    "fedprox": {"options": {"mu": 0.1}},
    "feddyn": {"options": {"alpha": 0.1}},
    "mimelite": {"options": {"beta": 0.9}},
    "qffl": {"options": {"q": 1.0}},
    "afl": {"options": {"mixture_learning_rate": 0.01}},
    "ditto": {"options": {"lambda_": 0.1}},
    "apfl": {"options": {"alpha": 0.5}},
    "fedrep": {"options": {"head": "out"}},
    "ifca": {"options": {"clusters": 2}},
    "fedasync": {"options": {"mixing": 0.6}},
    "fedbuff": {"options": {"buffer": 10}},
}


@dataclasses.dataclass(frozen=True)
class Task:
    """A data set as it is dealt and trained on. `cohort` clients train at a time; `one_split`: all seeds have one."""

    about: str
    file: str
    data: Mapping[str, Any]
    clients: int
    cohort: int
    training: Mapping[str, Any]
    one_split: bool

    def said(self) -> str:
        """How it is trained on, as a line of a list."""
        t = self.training
        return (
            f"- {self.about}; {self.clients} clients, {self.cohort} a round, {t['rounds']} rounds, "
            f"E = {t['local_epochs']}, B = {t['batch_size']}, η = {t['learning_rate']}."
        )

    def scenario(self, folder: Path, name: str, seed: int) -> Scenario:
        """The scenario of an algorithm. An asynchronous one gets as many results, in more or fewer versions."""
        training = {"algorithm": name, "max_participants": self.cohort, **self.training, **SETTINGS.get(name, {})}
        results = training["rounds"] * self.cohort
        if name in ("fedasync", "fedbuff"):
            training["rounds"] = results // SETTINGS[name]["options"].get("buffer", 1)
        training |= {"eval_every": training["rounds"], "eval_clients_every": training["rounds"]}
        model = {"name": NORMED} if name in ("fedbn", "fedrep") else {}
        return scenario_of(folder / self.file, self.data, self.clients, seed, training, model)


TASKS: Final = (
    Task(
        "Digits by writer: each seed holds out another fifth of every writer",
        DIGITS,
        {"options": {"client": "writer", "scale": 16}},
        14,
        14,
        {"rounds": 30, "local_epochs": 5, "batch_size": 32, "learning_rate": 0.2},
        False,
    ),
    Task(
        "Fashion-MNIST: 8,000 of its training pictures, each label dealt in proportions from Dir(0.3), with one split "
        "and one held-out fifth for all seeds, which differ in who takes part and in batches",
        FASHION,
        {"options": {"x": "x_train", "y": "y_train", "scale": 255}, "partition": "dirichlet", "alpha": 0.3},
        20,
        10,
        {"rounds": 20, "local_epochs": 1, "batch_size": 32, "learning_rate": 0.1},
        True,
    ),
)

SOURCES: Final = "own measurement of the reference collection (FedAvg in numpy), no paper"
#: Options of the table of hospitals: without the columns that are mostly missing or wrong.
HOSPITALS: Final = {
    "client": "hospital",
    "y": "num",
    "above": 0,
    "without": ["ca", "thal", "slope", "chol"],
    "missing": "impute",
    "standardise": True,
}
#: Options of MNIST's file.
PICTURES: Final = {"x": "x_train", "y": "y_train", "x_test": "x_test", "y_test": "y_test", "scale": 255}


def scenario_of(
    file: Path,
    data: Mapping[str, Any],
    clients: int,
    seed: int,
    training: Mapping[str, Any],
    model: Mapping[str, Any] | None = None,
) -> Scenario:
    """Phones of unlike speed at home that learn from a file."""
    group = {"name": "client", "count": clients, "device": "phone_mid", "link": "wifi_home", "speed_spread": 0.3}
    said = {"seed": seed, "data": {"dataset": str(file), **data}, "training": dict(training), "devices": [group]}
    return Scenario.model_validate(said | ({"model": dict(model)} if model else {}))


def accuracies(scenario: Scenario, seed: int) -> tuple[float, float | None]:
    """Pooled accuracy at the end of the global model and of the clients' own; `seed` is the run's, not the split's."""
    from sim.testing import run_sim

    deployment = dataclasses.replace(study(scenario).deployment, seed=seed)
    found = run_sim(deployment)
    own = [row for row in found.of(ClientEvaluationRow) if row.model == "personal"]
    examples = sum(row.examples for row in own)
    personal = sum(row.examples * _number(row.accuracy) for row in own) / examples if own else None
    return _number(found.of(EvaluationRow)[-1].accuracy), personal


def _number(accuracy: Payload) -> float:
    """A figure of a run that has ended: all that it records has been computed."""
    found = Evaluator().resolved(accuracy)
    if found is None:
        raise RuntimeError("an accuracy was recorded that was never computed")
    return float(found["accuracy"])


def checked_page(topic: str, page: Path, data: Path | None) -> None:
    """Refuse before anything is run. Raises `InputWrong`."""
    if topic != "learning":
        raise InputWrong(f"--results is of the topic learning; {topic} has none")
    if data is None:
        raise InputWrong("--results needs the reference data: --data DIR or AIVSIM_SHARED_DATA")
    missing = [name for name in (DIGITS, FASHION, MNIST, HEART) if not (data / name).is_file()]
    if missing:
        raise InputWrong(f"{data} has no {', '.join(missing)}")
    try:
        text = page.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputWrong(f"cannot read {page}: {error}") from None
    if text.count(BEGIN) != 1 or text.count(END) != 1 or text.index(BEGIN) > text.index(END):
        raise InputWrong(f"{page} has no lines {BEGIN} and {END}, one each in this order, to write between")


def write_results(page: Path, data: Path, exact: Sequence[Check]) -> tuple[int, int]:
    """Run all, write the tables between the page's markers, and say how many known figures were tried and missed."""
    by_name = {check.name: check for check in exact}
    rows = []
    for entry in catalogue():
        cells = [cell for task in TASKS for cell in _learned(task, data, entry.name)]
        rows.append((entry.name, entry.paper, exact_text(by_name[entry.name]), *cells, setting_text(entry.name)))
        click.echo("  ".join(rows[-1]))
    heads = ("algorithm", "paper", "exact check: difference", "digits", "own", "Fashion-MNIST", "own", "setting")
    lines = [*_markdown(heads, rows), "", *(task.said() for task in TASKS), ABOUT, ""]
    published = again(data)
    made = []
    for check in published:
        mark = "pass" if check.passed else "FAIL"
        numbers = f"{check.value:.4f}", f"{check.reference:.4f}", f"{check.difference:+.4f}", f"{check.tolerance:g}"
        made.append((mark, check.name, check.statement, *numbers, check.source))
        click.echo("  ".join(made[-1]))
    heads = ("", "set-up", "how", "ours", "theirs", "difference", "tolerance", "source of theirs")
    lines += _markdown(heads, made)
    text = page.read_text(encoding="utf-8")
    before, after = text.split(BEGIN)[0], text.split(END)[1]
    page.write_text(f"{before}{BEGIN}\n" + "\n".join(lines) + f"\n{END}{after}", encoding="utf-8")
    return len(published), sum(not check.passed for check in published)


def again(data: Path) -> list[Check]:
    """Three set-ups with a figure that is known, run again."""

    def mean(file: str, dealt: dict[str, Any], clients: int, seeds: Sequence[int], **training: Any) -> float:
        training = {"batch_size": 32, "eval_every": training["rounds"], **training}
        return fmean(accuracies(scenario_of(data / file, dealt, clients, s, training), s)[0] for s in seeds)

    digits = mean(DIGITS, dict(TASKS[0].data), 14, SEEDS, rounds=50, local_epochs=5, learning_rate=0.2)
    # Which columns the figure rests on is not said; both choices are told.
    whole = {key: value for key, value in HOSPITALS.items() if key != "without"}
    hearts, with_all = (
        mean(HEART, {"options": options}, 4, range(10), rounds=30, local_epochs=2, learning_rate=0.05)
        for options in (HOSPITALS, whole)
    )
    pictures = {"options": PICTURES, "partition": "iid"}
    mnist = mean(MNIST, pictures, 100, (1, 2), rounds=100, max_participants=10, learning_rate=0.1)
    return [
        Check(
            "FedAvg, MNIST dealt at random, softmax regression",
            "100 clients, 10 a round, 100 rounds, E = 1, η = 0.1, B = 32; 2 seeds",
            SOURCES,
            0.916,
            mnist,
            0.01,
        ),
        Check(
            "FedAvg, digits by writer, softmax regression",
            "14 clients, 50 rounds, E = 5, η = 0.2, B = 32; 3 splits",
            SOURCES,
            0.938,
            digits,
            0.02,
        ),
        Check(
            "FedAvg, heart disease by hospital, logistic regression",
            "4 clients, 30 rounds, E = 2, η = 0.05, B = 32; 10 splits; without ca, thal, slope, chol: theirs are "
            f"not said, and with all columns, imputed, ours is {with_all:.4f}",
            SOURCES,
            0.790,
            hearts,
            0.02,
        ),
    ]


def exact_text(check: Check) -> str:
    """What an exact check compared, and by how much it was off."""
    mark = "" if check.passed else "FAIL: "
    return f"{mark}{check.statement}: {check.difference:+.0e}"


def setting_text(name: str) -> str:
    """The keys of an algorithm's setting."""
    setting = dict(SETTINGS.get(name, {}))
    options = setting.pop("options", {})
    said = ", ".join(
        f"`{key}` {value:g}" if isinstance(value, float | int) else f"`{key}` {value}"
        for key, value in {**setting, **options}.items()
    )
    return said or "defaults"


def _learned(task: Task, data: Path, name: str) -> tuple[str, str]:
    """Accuracies of the global and the clients' own models as cells."""
    found = [accuracies(task.scenario(data, name, SEEDS[0] if task.one_split else seed), seed) for seed in SEEDS]
    own = [personal for _, personal in found if personal is not None]
    return spread([shared for shared, _ in found]), spread(own) if own else "–"


def spread(values: Sequence[float]) -> str:
    """Mean and standard deviation of a sample."""
    return f"{fmean(values):.3f} ± {stdev(values):.3f}"


def _markdown(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    lines = [f"| {' | '.join(heads)} |", "|" + "---|" * len(heads)]
    return [*lines, *(f"| {' | '.join(cell.replace('|', '∣') for cell in row)} |" for row in rows)]
