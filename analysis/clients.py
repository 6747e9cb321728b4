"""How good models are for each client on its own held-out examples, and how fairly: `client_evaluations`.

Every client counts once, however many examples it has. The mean of the worst tenth of the clients and the variance are
the measures of Li et al. 2020 (q-FFL, Fair Resource Allocation in Federated Learning); the index of fairness is that of
Jain, Chiu and Hawe 1984 (A Quantitative Measure of Fairness and Discrimination, DEC-TR-301).
"""

from __future__ import annotations

import dataclasses
from typing import Final

import numpy as np

from analysis.study import Floats, Study

#: The models that clients evaluate, in the order in which they are shown.
MODELS: Final = ("global", "personal")
#: What they are called.
OWNER: Final = {"global": "global model", "personal": "own model"}


def jain(values: Floats) -> float:
    """Jain's index of fairness, (Σx)² / (n Σx²): 1 if all are equal, 1/n if one has everything; NaN of no values.

    Values must not be negative. All zero is equal for all: 1, the limit.
    """
    if not len(values):
        return float("nan")
    largest = float(np.max(values))
    if largest == 0.0:
        return 1.0
    # The index does not depend on the scale, but squares of very large or small values would leave the range.
    shares = values / largest
    return float(shares.sum() ** 2 / (len(shares) * (shares @ shares)))


def worst_decile(values: Floats, *, low_is_good: bool = False) -> float:
    """The mean of the worst tenth of the values, at least of one; NaN of no values."""
    ordered = np.sort(values)[::-1] if low_is_good else np.sort(values)
    return float(ordered[: -(-len(ordered) // 10)].mean()) if len(ordered) else float("nan")


@dataclasses.dataclass(frozen=True)
class Spread:
    """How a model's accuracy (of a regression: error) differs between clients after a round.

    `variance` is that of the clients that there are, the mean squared distance from their mean, not an estimate.
    """

    round: int
    clients: int
    mean: float
    worst_decile: float
    variance: float
    jain: float


def spread(number: int, values: Floats, *, low_is_good: bool = False) -> Spread:
    """The measures of clients' scores after a round."""
    return Spread(
        round=number,
        clients=len(values),
        mean=float(values.mean()) if len(values) else float("nan"),
        worst_decile=worst_decile(values, low_is_good=low_is_good),
        variance=float(values.var()) if len(values) else float("nan"),
        jain=jain(values),
    )


class ClientScores:
    """Accuracies (of a regression: errors) of clients by model and round; those never computed are left out.

    A surrogate has one curve for all clients, which says nothing of how they differ: none of its scores is here.
    """

    def __init__(self, study: Study) -> None:
        rows = study.run.columns("client_evaluations")
        self.low_is_good = study.is_regression
        scores = rows["error" if self.low_is_good else "accuracy"].astype(np.float64)
        #: Scores by client, of each round (ascending) of each model.
        self.by_round: dict[str, dict[int, dict[str, float]]] = {}
        #: Held-out examples of each client.
        self.examples: dict[str, int] = {}
        known = (not study.origin) & np.isfinite(scores) & (scores >= 0.0) & np.isin(rows["model"].astype(str), MODELS)
        order = np.flatnonzero(known)
        for i in order[np.argsort(rows["round"][order], kind="stable")].tolist():
            client = str(rows["client"][i])
            rounds = self.by_round.setdefault(str(rows["model"][i]), {})
            rounds.setdefault(int(rows["round"][i]), {})[client] = float(scores[i])
            self.examples[client] = int(rows["examples"][i])

    @property
    def models(self) -> list[str]:
        """The models of which a score is known."""
        return [model for model in MODELS if model in self.by_round]

    def last(self, model: str) -> tuple[int, dict[str, float]]:
        """The last round after which a model was evaluated, and its scores by client; 0 and none if it never was."""
        rounds = self.by_round.get(model)
        return next(reversed(rounds.items())) if rounds else (0, {})

    def spreads(self, model: str) -> list[Spread]:
        """The measures after each round that a model was evaluated after."""
        rounds = self.by_round.get(model, {})
        return [self._spread(number, scores) for number, scores in rounds.items()]

    def final(self, model: str) -> Spread:
        """The measures after the last round that a model was evaluated after; NaN if it never was."""
        return self._spread(*self.last(model))

    def _spread(self, number: int, scores: dict[str, float]) -> Spread:
        return spread(number, np.array(list(scores.values()), np.float64), low_is_good=self.low_is_good)

    @property
    def gains(self) -> dict[str, float]:
        """By how much the personal model is better than the global one, of the clients that have both after one round.

        Of accuracies the personal less the global, of errors the global less the personal.
        """
        number, own = self.last("personal")
        common = self.by_round.get("global", {}).get(number, {})
        sign = -1.0 if self.low_is_good else 1.0
        return {client: sign * (own[client] - common[client]) for client in own if client in common}
