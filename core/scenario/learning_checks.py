"""Checks of what is learned: data that can be dealt, options that there are, numbers of clients that fit together."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final

from core.scenario.findings import Finding, KeyPath, Unreadable
from core.scenario.names import (
    ALGORITHMS,
    ASYNCHRONOUS,
    DATA_SUFFIXES,
    DATASETS,
    FILE_OPTIONS,
    MODELS,
    WITHOUT_SERVER_RATE,
    is_regression,
)
from core.scenario.option_checks import options

if TYPE_CHECKING:
    from core.scenario.schema import Scenario

#: At this `strength` of the feature skew `sensor` a third of the gains are beyond e^5 = 148 or below its inverse.
LARGEST_SENSOR: Final = 5.0


def _participants(s: Scenario) -> Iterator[Finding]:
    """min_participants <= max_participants <= devices."""
    total = sum(group.count for group in s.devices)
    if not total:
        return
    least = s.training.min_participants
    most: int | None = None
    with contextlib.suppress(Unreadable):
        most = s.training.max_participants
    if most is not None and most > total:
        yield Finding(
            ("training", "max_participants"),
            f"a whole number up to {total}, the number of devices, or null (all devices)",
        )
    if least > min(total, total if most is None else most):
        bound = f"{total}, the number of devices" if most is None or most >= total else f"max_participants, {most}"
        yield Finding(("training", "min_participants"), f"a whole number up to {bound}")


def _clients(s: Scenario) -> Iterator[Finding]:
    """The data can be dealt to that many clients, and every device gets one's share."""
    total = sum(group.count for group in s.devices)
    clients = total if s.data.clients is None else s.data.clients
    path: KeyPath = ("devices",) if s.data.clients is None else ("data", "clients")
    what = "groups with together" if s.data.clients is None else "null, or a whole number"
    if clients < total:
        yield Finding(path, f"{what} from {total}, the number of devices")
    facts = DATASETS.get(s.data.dataset)
    if facts is None:
        return
    if s.data.partition == "sampled":
        return
    least = s.data.min_examples or (10 if s.data.partition == "dirichlet" else 1)
    if s.data.partition == "natural":
        chosen = s.data.options.get("clients", facts.natural_clients) if "clients" in facts.options else None
        bound = chosen if isinstance(chosen, int) else facts.natural_clients
        why = f"{s.data.dataset} has {bound} natural clients"
    elif facts.examples is None:
        return
    else:
        bound = facts.examples // least
        why = f"{s.data.dataset} has {facts.examples} examples"
        why += f", at least {least} for each client" if least > 1 else ""
    if bound is not None and clients > bound:
        other = "; the partitions iid and dirichlet deal to more" if s.data.partition == "natural" else ""
        at_most = f"at most {bound} devices" if s.data.clients is None else f"null, or a whole number up to {bound}"
        if bound == 0:
            path, at_most, other = ("data", "partition"), "another partition, such as iid or dirichlet", ""
        yield Finding(path, f"{at_most}{other}", f"{why}, asked for are {clients} clients")


def _held_out(s: Scenario) -> Iterator[Finding]:
    if s.evaluator is not None and s.data.test_fraction == 0:
        yield Finding(
            ("data", "test_fraction"), "a share above 0, or `evaluator: null`", "the evaluator would have no examples"
        )


def _feature_skew(s: Scenario) -> Iterator[Finding]:
    """Gains of sensors grow exponentially with the strength: soon no number is left that could be computed with."""
    skew = s.data.feature_skew
    if skew is not None and skew.kind == "sensor" and skew.strength > LARGEST_SENSOR:
        yield Finding(
            ("data", "feature_skew", "strength"),
            f"with sensor a number from 0 to {LARGEST_SENSOR:g}",
            "it is the deviation of the logarithm of the gains",
        )


def _data_options(s: Scenario) -> Iterator[Finding]:
    known = {name: facts.options for name, facts in DATASETS.items()}
    if s.data.dataset.endswith(DATA_SUFFIXES):
        known[s.data.dataset] = FILE_OPTIONS
    yield from options(("data", "options"), s.data.dataset, s.data.options, known)


def _model_options(s: Scenario) -> Iterator[Finding]:
    yield from options(("model", "options"), s.model.name, s.model.options, MODELS)


def _algorithm_options(s: Scenario) -> Iterator[Finding]:
    yield from options(("training", "options"), s.training.algorithm, s.training.options, ALGORITHMS)


def _algorithm_rules(s: Scenario) -> Iterator[Finding]:
    """Keys of the training job that an algorithm has no use for stay at what they mean nothing at."""
    training = s.training
    name = training.algorithm

    def stays(key: str, neutral: float, why: str) -> Iterator[Finding]:
        with contextlib.suppress(Unreadable):
            if getattr(training, key) != neutral:
                yield Finding(("training", key), f"{neutral:g}", f"{name} {why}")

    if name in WITHOUT_SERVER_RATE:
        yield from stays("server_learning_rate", 1, "has no learning rate of the server")
    if name in ASYNCHRONOUS:
        yield from stays("over_selection", 1, "has no rounds that need more clients than results")
        yield from stays("pause", 0, "has no rounds to rest between")


def _client_evaluation(s: Scenario) -> Iterator[Finding]:
    if s.training.eval_clients_every is not None and s.data.test_fraction == 0:
        yield Finding(
            ("data", "test_fraction"),
            "a share above 0, or `training.eval_clients_every: null`",
            "the clients would have no examples to evaluate on",
        )


def _dataset_file(s: Scenario) -> Iterator[Finding]:
    yield from _file(("data", "dataset"), s.data.dataset)


def _model_file(s: Scenario) -> Iterator[Finding]:
    yield from _file(("model", "name"), s.model.name)


def _algorithm_file(s: Scenario) -> Iterator[Finding]:
    yield from _file(("training", "algorithm"), s.training.algorithm)


def _file(path: KeyPath, spec: str) -> Iterator[Finding]:
    """A file that is named exists."""
    file = spec if spec.endswith(DATA_SUFFIXES) else spec.rpartition(":")[0]
    if file.endswith((*DATA_SUFFIXES, ".py")) and not Path(file).is_file():
        yield Finding(path, "the path of a file, relative to the scenario's", f"there is no file {file}")


def _surrogate(s: Scenario) -> Iterator[Finding]:
    """The curves of a surrogate are there, and were fitted to training like this."""
    if s.numerics.fidelity != "surrogate":
        return
    path, accepted = ("numerics", "surrogate"), "the path of a file that `aivsim surrogate` wrote for such training"
    if s.numerics.surrogate is None:
        yield Finding(path, accepted, "fidelity surrogate needs learning curves")
        return
    # Only here, because the records load more than a check needs.
    from core.records import RecordsError
    from core.records.curves import learning_of, read_curves, unlike

    try:
        curves = read_curves(s.numerics.surrogate)
    except RecordsError as error:
        yield Finding(path, accepted, str(error))
        return
    difference = unlike(curves.learning, learning_of(s.resolved()))
    if difference:
        yield Finding(path, accepted, f"its curves were fitted to other training: {difference}")
    if s.numerics.strict_wire:
        yield Finding(("numerics", "strict_wire"), "false", "a surrogate's models have no numbers to encode")


def _mixture(s: Scenario) -> Iterator[Finding]:
    """AFL has a weight for every client that may come."""
    slots = s.training.options.get("clients")
    total = sum(group.count for group in s.devices)
    if s.training.algorithm == "afl" and isinstance(slots, int) and slots < total:
        accepted = f"nothing here, or a whole number from {total}, the number of devices"
        yield Finding(("training", "options", "clients"), accepted, "clients beyond would not be heard")


def _target(s: Scenario) -> Iterator[Finding]:
    """A target is one that a score can reach, and there is a score."""
    target = s.report.target
    if target is None:
        return
    path: KeyPath = ("report", "target")
    if target > 1.0 and not is_regression(s.data.dataset, s.data.options):
        yield Finding(path, "an accuracy above 0 up to 1 (100 %), as this is no regression")
    if s.evaluator is None:
        yield Finding(path, "null, or an evaluator", "without an evaluator no model has a score")


LEARNING_CHECKS: Final = (
    _participants,
    _clients,
    _held_out,
    _feature_skew,
    _data_options,
    _model_options,
    _algorithm_options,
    _algorithm_rules,
    _client_evaluation,
    _dataset_file,
    _model_file,
    _algorithm_file,
    _surrogate,
    _mixture,
    _target,
)
