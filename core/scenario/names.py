"""Names of the parts that come with the project, and their facts, known without importing the numerics.

Importing models, data or algorithms takes JAX and seconds; reading a scenario needs neither. Tests hold these constants
equal to the rooms they speak of.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

from core.scenario.kinds import Choice, Flag, Kind, Number, Text, Whole, Wholes
from core.scenario.units import RATE_KIND, TIME_KIND


class DatasetFacts(NamedTuple):
    """Examples of a data set, and its natural clients."""

    examples: int
    natural_clients: int


#: Options of each model, by its name, and what each accepts.
MODELS: Final[Mapping[str, Mapping[str, Kind]]] = {
    "cnn": {"features": Wholes(2, 1, 4096), "hidden": Whole(1, 65_536)},
    "softmax": {},
}
_SGD: Final[Mapping[str, Kind]] = {"optimizer": Choice("sgd"), "momentum": Number(0, below=1)}
_MOMENTS: Final[Mapping[str, Kind]] = {"beta1": Number(0, below=1), "tau": Number(above=0, maximum=1e6)}
#: Options of each algorithm, beside batch size and learning rates, which are keys of `training`.
ALGORITHMS: Final[Mapping[str, Mapping[str, Kind]]] = {
    "fedsgd": {},
    "fedavg": _SGD,
    "fedavgm": {**_SGD, "server_momentum": Number(0, below=1)},
    "fedadagrad": {**_SGD, **_MOMENTS},
    "fedadam": {**_SGD, **_MOMENTS, "beta2": Number(0, below=1)},
    "fedyogi": {**_SGD, **_MOMENTS, "beta2": Number(0, below=1)},
    "fedprox": {**_SGD, "mu": Number(0, 1e6)},
    "scaffold": {},
    "fednova": _SGD,
    "feddyn": {"alpha": Number(above=0, maximum=1e6)},
    "mimelite": {"beta": Number(0, below=1)},
    "qffl": {"q": Number(0, 100)},
    "afl": {"mixture_learning_rate": Number(above=0, maximum=1e6), "clients": Whole(1, 1_000_000)},
    "ditto": {**_SGD, "lambda_": Number(0, 1e6)},
    "apfl": {"alpha": Number(0, 1), "adaptive": Flag()},
    "fedbn": _SGD,
    "fedrep": {**_SGD, "head": Text("the name of a layer", maximum=200), "head_epochs": Whole(1, 100_000)},
    "ifca": {**_SGD, "clusters": Whole(2, 1000), "spread": Number(0, 1e6)},
    "fedasync": {
        **_SGD,
        "mixing": Number(above=0, maximum=1),
        "staleness": Choice("constant", "polynomial", "hinge"),
        "exponent": Number(0, 1e6),
        "grace": Whole(0, 1_000_000),
        "mu": Number(0, 1e6),
    },
    "fedbuff": {**_SGD, "buffer": Whole(1, 1_000_000), "exponent": Number(0, 1e6)},
}
#: Algorithms whose server step has no learning rate, and those that do not wait for rounds.
WITHOUT_SERVER_RATE: Final = ("feddyn", "fedasync")
ASYNCHRONOUS: Final = ("fedasync", "fedbuff")
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
    "ClientEvaluateRequest",
    "ClientEvaluateResult",
)
#: Options of each network that is generated.
TOPOLOGIES: Final[Mapping[str, Mapping[str, Kind]]] = {
    "access": {
        "access_points": Whole(0, 5000),
        "cells": Whole(0, 5000),
        "delay": TIME_KIND,
        "backhaul_rate": RATE_KIND,
        "cell_up": RATE_KIND,
        "cell_down": RATE_KIND,
    },
    "geometric": {
        "sites": Whole(1, 2000),
        "radius": Number(above=0, maximum=1.5),
        "delay": TIME_KIND,
        "rate": RATE_KIND,
        "half_duplex": Flag(),
    },
    "mesh": {
        "rows": Whole(1, 100),
        "columns": Whole(1, 100),
        "delay": TIME_KIND,
        "rate": RATE_KIND,
        "half_duplex": Flag(),
    },
    "tree": {
        "fogs": Whole(1, 1000),
        "edges": Whole(1, 1000),
        "fog_delay": TIME_KIND,
        "edge_delay": TIME_KIND,
        "fog_rate": RATE_KIND,
        "edge_rate": RATE_KIND,
    },
}
COORDINATOR: Final = "coordinator"
EVALUATOR: Final = "evaluator"
