"""What it took until a model was good enough: rounds, time of the study, bytes, and joules of the clients.

Good enough is what the scenario's `report.target` says, an accuracy or, of a regression, an error; and, of accuracies,
the usual levels and the reference. A model counts from the end of the round that made it.
"""

from __future__ import annotations

import dataclasses
from typing import Final

import numpy as np
import numpy.typing as npt

from analysis import units
from analysis.study import Study

_LEVELS: Final = (0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.925, 0.95, 0.975, 0.99)


@dataclasses.dataclass(frozen=True)
class Reached:
    """When an accuracy (of a regression: an error) was first reached, and what had been spent until then."""

    level: float
    round: int
    time_s: float
    size_bytes: float
    joules: float

    @property
    def spent(self) -> tuple[str, str, str]:
        """Time, bytes and joules of the clients, as text."""
        return units.duration(self.time_s), units.text(self.size_bytes, "B"), units.text(self.joules, "J")


@dataclasses.dataclass(frozen=True)
class Target:
    """What became of a target. `best` is the best score of all models and the round that made it, if one is known."""

    level: float
    #: The level as text: a percentage, or an error.
    text: str
    reached: Reached | None
    best: tuple[float, int] | None
    best_text: str = ""
    #: Why no score is known, if none is.
    unknown: str = ""

    @property
    def missed(self) -> str:
        """That it was not reached and what came nearest, or why nobody knows; empty if it was reached."""
        if self.reached is not None:
            return ""
        if self.best is None:
            return self.unknown
        return f"not reached (best {self.best_text} after round {self.best[1]})"

    @property
    def sentence(self) -> str:
        """What it took, or that it was not reached, without the target itself."""
        if self.reached is None:
            return self.missed
        time, size, energy = self.reached.spent
        spent = f"{size} delivered"
        if np.isfinite(self.reached.joules):
            spent += f", {energy} by clients"
        return f"after round {self.reached.round}: {time}, {spent}"


def target_of(study: Study) -> Target | None:
    """What became of the scenario's target; None without one."""
    level = asked(study)
    return None if level is None else reaching(study, level)


def asked(study: Study) -> float | None:
    """The target that the scenario names, if it is one."""
    section = study.manifest.scenario.get("report")
    level = section.get("target") if isinstance(section, dict) else None
    usable = isinstance(level, int | float) and not isinstance(level, bool) and np.isfinite(level) and level > 0
    return float(level) if usable and level is not None else None


def reaching(study: Study, level: float) -> Target:
    """Whether, when and for what a level of accuracy (of a regression: of error) was reached."""
    curve = study.curve
    scores = curve.error if study.is_regression else curve.accuracy
    text = study.score_text(level)
    if not np.any(np.isfinite(scores)):
        timing = study.manifest.fidelity == "timing"
        why = "not computed at this fidelity (timing)" if timing else "not known (no model's score was computed)"
        return Target(level, text, None, None, unknown=why)
    best = int(np.nanargmin(scores) if study.is_regression else np.nanargmax(scores))
    good = scores <= level if study.is_regression else scores >= level
    return Target(
        level,
        text,
        _spent(study, [level], [int(np.argmax(good))])[0] if good.any() else None,
        (float(scores[best]), int(curve.round[best])),
        _apart(study, float(scores[best]), level),
    )


def _apart(study: Study, score: float, level: float) -> str:
    """A score that missed the level as text, with as many digits as tell the two apart."""
    for digits in range(1, 6):
        text = study.score_text(score, digits)
        if text != study.score_text(level, digits):
            return text
    return study.score_text(score, 6)


def usual(study: Study) -> list[Reached]:
    """The last four of the usual levels of accuracy that were reached, the reference and the target if they were.

    Of several usual levels that one model reached first, the highest.
    """
    accuracy, reference, wanted = study.curve.accuracy, study.manifest.reference, asked(study)
    if study.is_regression:
        found = None if wanted is None else reaching(study, wanted).reached
        return [] if found is None else [found]
    first = {int(np.argmax(accuracy >= level)): level for level in _LEVELS if np.any(accuracy >= level)}
    levels = set(list(first.values())[-4:])
    levels |= {level for level in (wanted, None if reference is None else reference.accuracy) if level is not None}
    ordered = [level for level in sorted(levels) if np.any(accuracy >= level)]
    return _spent(study, ordered, [int(np.argmax(accuracy >= level)) for level in ordered])


def _spent(study: Study, levels: list[float], at: list[int]) -> list[Reached]:
    """What had been spent at the ends of the rounds of some points of the curve, at which levels were reached."""
    if not at:
        # All messages would be read for nothing.
        return []
    curve = study.curve
    times: npt.NDArray[np.float64] = curve.time_s[at]
    parts = study.clients_joules_until(times)
    joules = np.sum(list(parts.values()), axis=0) if parts else np.full(len(times), np.nan)
    sizes = study.bytes_until(times)
    return [
        Reached(level, int(curve.round[i]), float(times[k]), float(sizes[k]), float(joules[k]))
        for k, (level, i) in enumerate(zip(levels, at, strict=True))
    ]
