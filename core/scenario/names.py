"""Names of the parts that come with the project, and their facts, known without importing the numerics.

Importing models, data or algorithms takes JAX and seconds; reading a scenario needs neither. Tests hold these constants
equal to the rooms they speak of.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

from core.scenario.kinds import Choice, Kind, Number, Whole, Wholes


class DatasetFacts(NamedTuple):
    """Examples of a data set, and its natural clients."""

    examples: int
    natural_clients: int


#: Options of each model, by its name, and what each accepts.
MODELS: Final[Mapping[str, Mapping[str, Kind]]] = {
    "cnn": {"features": Wholes(2, 1, 4096), "hidden": Whole(1, 65_536)},
    "softmax": {},
}
#: Options of each algorithm, beside batch size and learning rates, which are keys of `training`.
ALGORITHMS: Final[Mapping[str, Mapping[str, Kind]]] = {
    "fedavg": {"optimizer": Choice("sgd"), "momentum": Number(0, below=1)},
}
DATASETS: Final[Mapping[str, DatasetFacts]] = {"digits": DatasetFacts(examples=1797, natural_clients=14)}
PARTITIONS: Final[Mapping[str, str]] = {
    "writer": "Each client has the examples of one natural client of the data (of the digits: 14 putative writers).",
    "iid": "Shuffled and dealt in equal parts.",
    "dirichlet": "Each label's examples dealt in proportions from Dir(alpha): the smaller alpha, the more skewed.",
}


class FaultFacts(NamedTuple):
    """Keys of a kind of fault that only some kinds have: those that it needs, and those that it may have."""

    needs: tuple[str, ...] = ()
    takes: tuple[str, ...] = ()


#: Kinds of faults.
FAULTS: Final[Mapping[str, FaultFacts]] = {
    "link_down": FaultFacts(),
    "crash": FaultFacts(),
    "battery_pulled": FaultFacts(),
    "slow": FaultFacts(("speed",)),
    "partition": FaultFacts(("sets",)),
    "lost": FaultFacts(("probability",), ("messages",)),
    "duplicated": FaultFacts(("probability",), ("messages",)),
    "reordered": FaultFacts(("probability",), ("messages", "behind", "delay")),
    "clock_skew": FaultFacts((), ("offset", "drift")),
    "disk_full": FaultFacts(),
}
#: Types of the messages that actors of a study send each other.
MESSAGES: Final = (
    "Join",
    "TrainRequest",
    "TrainAccepted",
    "TrainDeclined",
    "TrainResult",
    "RoundOver",
    "EvaluateRequest",
    "EvaluateResult",
)
COORDINATOR: Final = "coordinator"
EVALUATOR: Final = "evaluator"
