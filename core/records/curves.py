"""Learning curves of a surrogate: accuracy and loss by progress, fitted by `aivsim surrogate` to runs that trained.

A curve is value(p) = a + b (1 + p/c)^-d, a power law with a shift and an asymptote (POW4 of Viering and Loog, "The
shape of learning curves: a review", TPAMI 2023, in other parameters, and by progress in place of examples). The
progress p of a model grows by (n / n0)^gamma with every update of it by n clients' results. The file is JSON and may
come from anybody: it is bounded and validated.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path, PurePath
from typing import Annotated, Any, Final, TypeAlias

import msgspec
from msgspec import Meta

from core.records.store import RecordsError, write_whole

#: Largest file that is read.
MOST_BYTES: Final = 1 << 18
#: Figures of an evaluation that a curve may stand for; accuracy and error stay where they can be.
FIGURES: Final = ("accuracy", "error", "loss")
#: Keys of a scenario that decide how fast a model learns; cohort, rounds, devices, seed and network are not among them.
LEARNING_KEYS: Final = (
    *(f"data.{key}" for key in ("dataset", "options", "partition", "alpha", "per_client", "sigma", "exponent")),
    *(f"data.{key}" for key in ("min_examples", "feature_skew", "test_fraction", "hold_out")),
    *(f"data.{key}" for key in ("examples", "examples_spread")),
    *(f"model.{key}" for key in ("name", "options")),
    *(f"training.{key}" for key in ("algorithm", "options", "local_epochs", "batch_size")),
    *(f"training.{key}" for key in ("learning_rate", "server_learning_rate")),
)

_Level: TypeAlias = Annotated[float, Meta(ge=-1e9, le=1e9)]
_Positive: TypeAlias = Annotated[float, Meta(gt=0, le=1e9)]
_Error: TypeAlias = Annotated[float, Meta(ge=0, le=1e9)]
_Count: TypeAlias = Annotated[int, Meta(ge=0, le=10**9)]
_Text: TypeAlias = Annotated[str, Meta(max_length=2000)]


class Curve(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One figure by progress: a + b (1 + p/c)^-d, and how far it is from what it was fitted to (root mean square)."""

    a: _Level
    b: _Level
    c: _Positive
    d: _Positive
    rmse: _Error

    def at(self, progress: float) -> float:
        """The figure of a model of this progress."""
        return float(self.a + self.b * (1.0 + progress / self.c) ** -self.d)


class FittedRun(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A run that curves were fitted to. `cohort` is the mean number of results in a round, and `points` are
    evaluations."""

    name: Annotated[str, Meta(max_length=64)]
    seed: Annotated[int, Meta(ge=0, le=(1 << 63) - 1)]
    cohort: _Positive
    rounds: _Count
    points: _Count
    model_sha256: Annotated[str, Meta(max_length=64)]


class LearningCurves(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What `aivsim surrogate` has fitted, and on what."""

    #: Version of this layout.
    format: Annotated[int, Meta(ge=1, le=1)] = 1
    curves: Annotated[dict[Annotated[str, Meta(max_length=16)], Curve], Meta(min_length=1, max_length=3)]
    #: n0: results in an update that makes a progress of 1.
    reference_cohort: _Positive
    gamma: Annotated[float, Meta(ge=0, le=2)]
    #: Whether gamma was fitted; from runs of one cohort size it cannot be.
    gamma_fitted: bool
    fitted_on: Annotated[tuple[FittedRun, ...], Meta(min_length=1, max_length=256)]
    #: Runs that they were checked on and had not seen, and how far they are from all of these (root mean square).
    checked_on: Annotated[tuple[FittedRun, ...], Meta(max_length=256)] = ()
    checked_rmse: Annotated[dict[Annotated[str, Meta(max_length=16)], _Error], Meta(max_length=3)] = {}
    #: The keys that decide how fast is learned, as JSON.
    learning: Annotated[dict[Annotated[str, Meta(max_length=64)], _Text], Meta(max_length=64)]

    def step(self, results: float) -> float:
        """The progress that a model makes with an update by so many results."""
        return float((results / self.reference_cohort) ** self.gamma) if results > 0 else 0.0

    def figure(self, name: str, progress: float) -> float:
        """Accuracy (from 0 to 1), error or loss (from 0) of a model of this progress."""
        value = max(self.curves[name].at(progress), 0.0)
        return min(value, 1.0) if name == "accuracy" else value

    @property
    def description(self) -> str:
        """What it was fitted on and how well, in a line."""
        runs = ", ".join(f"{run.name} seed {run.seed} cohort {run.cohort:g}" for run in self.fitted_on[:4])
        more = f" and {len(self.fitted_on) - 4} more" if len(self.fitted_on) > 4 else ""
        points = sum(run.points for run in self.fitted_on)
        residuals = _listed({name: curve.rmse for name, curve in self.curves.items()})
        unseen = "not checked on runs that it has not seen"
        if self.checked_on:
            unseen = f"on {len(self.checked_on)} that it has not seen: {_listed(self.checked_rmse)}"
        return f"curves fitted on {points} evaluations of {runs}{more}; residual (RMSE): {residuals}; {unseen}"


def _listed(figures: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {value:.4f}" for name, value in sorted(figures.items()))


def learning_of(scenario: Mapping[str, Any]) -> dict[str, str]:
    """The keys of a resolved scenario that decide how fast is learned, as JSON; of a path only the file's name."""
    found = {}
    for key in LEARNING_KEYS:
        section, name = key.split(".")
        value = scenario.get(section, {}).get(name)
        if isinstance(value, str):
            value = PurePath(value).name
        found[key] = json.dumps(value, sort_keys=True)[:2000]
    return found


def unlike(first: Mapping[str, str], second: Mapping[str, str]) -> str:
    """Where two such collections of keys differ, in words; empty if they do not."""
    keys = sorted({*first, *second})
    return "; ".join(
        f"{k} {first.get(k, '–')}, here {second.get(k, '–')}" for k in keys if first.get(k) != second.get(k)
    )


def read_curves(path: Path | str) -> LearningCurves:
    """Read a file of `aivsim surrogate`. Raises `RecordsError` with the reason."""
    try:
        with Path(path).open("rb") as file:
            raw = file.read(MOST_BYTES + 1)
    except (OSError, ValueError) as error:
        raise RecordsError(f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}") from None
    if len(raw) > MOST_BYTES:
        raise RecordsError(f"{path}: too large; accepted: at most {MOST_BYTES} bytes")
    try:
        found = msgspec.json.decode(raw, type=LearningCurves)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise RecordsError(f"{path}: holds no learning curves as `aivsim surrogate` writes them: {error}") from None
    score = {"accuracy", "error"} & set(found.curves)
    if len(score) != 1 or set(found.curves) != {*score, "loss"}:
        raise RecordsError(f"{path}: has curves of {sorted(found.curves)}; accepted: accuracy or error, and loss")
    return found


def write_curves(path: Path | str, curves: LearningCurves) -> None:
    """Write the file, whole or not at all. Raises `RecordsError`."""
    write_whole(Path(path), msgspec.json.format(msgspec.json.encode(curves), indent=2) + b"\n")
