"""Names of the parts that come with the project, and their facts, known without importing the numerics.

Importing models, data or algorithms takes JAX and seconds; reading a scenario needs neither. Tests hold these constants
equal to the rooms they speak of.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

from core.scenario.kinds import Choice, Divisor, Flag, Kind, Names, Number, Text, Values, Whole, Wholes
from core.scenario.units import DELAY_KIND, RATE_KIND


class DatasetFacts(NamedTuple):
    """Examples of a data set and its natural clients, None where they are known only when it is made; its options."""

    examples: int | None
    natural_clients: int | None
    options: Mapping[str, Kind]
    #: Whether its targets are numbers to come near to.
    regression: bool = False


_WIDE: Final = Whole(1, 65_536)
_SEQUENCE: Final = {"width": Whole(1, 16_384), "heads": Whole(1, 1024), "layers": Whole(1, 200)}
#: Options of each model, by its name, and what each accepts.
MODELS: Final[Mapping[str, Mapping[str, Kind]]] = {
    "cnn": {"features": Wholes(2, 1, 4096), "hidden": _WIDE},
    "decoder": _SEQUENCE,
    "encoder": _SEQUENCE,
    "femnist_cnn": {},
    "linear": {"bias": Flag()},
    "lstm": {"embedding": Whole(1, 16_384), "units": Whole(1, 16_384), "layers": Whole(1, 100)},
    "mcmahan_cnn": {"hidden": _WIDE},
    "mlp": {"hidden": Wholes(1, 1, 65_536, most=32), "normalised": Flag()},
    "resnet": {"depth": Whole(8, 1202), "groups": Whole(1, 16)},
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
#: What algorithms train that keep some layers at the clients, if the scenario names no model.
LAYERED: Final[Mapping[str, Mapping[str, object]]] = {
    name: {"name": "mlp", "options": {"hidden": [32], "normalised": True}} for name in ("fedbn", "fedrep")
}
#: Algorithms whose server step has no learning rate, and those that do not wait for rounds.
WITHOUT_SERVER_RATE: Final = ("feddyn", "fedasync")
ASYNCHRONOUS: Final = ("fedasync", "fedbuff")
_CLIENTS: Final = Whole(1, 1_000_000)
DATASETS: Final[Mapping[str, DatasetFacts]] = {
    "digits": DatasetFacts(1797, 14, {}),
    "fashion_mnist": DatasetFacts(60_000, 0, {}),
    "femnist_like": DatasetFacts(None, 100, {"clients": Whole(1, 10_000), "style": Number(0, 10)}),
    "leaf_synthetic": DatasetFacts(
        None,
        1000,
        {
            "clients": Whole(1, 10_000),
            "classes": Whole(2, 1000),
            "dimensions": Whole(1, 1000),
            "clusters": Whole(1, 1000),
        },
    ),
    "quadratics": DatasetFacts(
        None,
        10,
        {
            "clients": _CLIENTS,
            "dimensions": Whole(1, 1000),
            "curvature_spread": Number(0, 5),
            "optimum_spread": Number(0, 1e6),
        },
        regression=True,
    ),
    "synthetic": DatasetFacts(
        None, 30, {"clients": Whole(1, 10_000), "alpha": Number(0, 1000), "beta": Number(0, 1000)}
    ),
}
#: What an own data set's file may be called.
DATA_SUFFIXES: Final = (".npz", ".parquet", ".csv", ".csv.gz", ".tsv", ".tsv.gz", ".txt", ".txt.gz")
_COLUMN: Final = Text("the name of a column or array", r"(?s:.+)", maximum=200)
#: Options of an own data set (`core.data.options`).
FILE_OPTIONS: Final[Mapping[str, Kind]] = {
    "task": Choice("classification", "regression", "next_token"),
    "x": Names(),
    "y": _COLUMN,
    "client": Names(),
    "without": Names(),
    "x_test": _COLUMN,
    "y_test": _COLUMN,
    "test": _COLUMN,
    "test_values": Values(),
    "categories": Names(),
    "scale": Divisor(),
    "y_scale": Number(above=0, maximum=1e30),
    "above": Number(),
    "missing_value": Number(),
    "missing": Choice("refuse", "impute", "drop"),
    "standardise": Flag(),
    "tokens": Flag(),
    "text": _COLUMN,
    "length": Whole(1, 100_000),
    "window": Whole(1, 1_000_000),
    "stride": Whole(1, 1_000_000),
    "offset": _COLUMN,
    "target": Whole(0, 1_000_000),
    "horizon": Whole(1, 1_000_000),
}


def is_regression(dataset: str, options: Mapping[str, object]) -> bool:
    """Whether the data are a regression's, whose models have errors and no accuracies."""
    facts = DATASETS.get(dataset)
    return options.get("task") == "regression" if facts is None else facts.regression


PARTITIONS: Final[Mapping[str, str]] = {
    "natural": "Each client has the examples of one natural client of the data (of the digits: 14 putative writers).",
    "iid": "Shuffled and dealt in equal parts.",
    "sampled": "Each client draws its examples from the whole at random; as many clients as one likes.",
    "dirichlet": "Each label's examples dealt in proportions from Dir(alpha): the smaller alpha, the more skewed.",
    "shards": "Sorted by label, cut into shards, and per_client of them dealt to each: McMahan's pathological split.",
    "labels": "Each client has per_client labels; a label is divided equally, or with lognormal weights of sigma.",
    "lognormal": "Shuffled and dealt in parts of lognormal sizes: sigma is the deviation of their logarithms.",
    "power_law": "Shuffled and dealt in parts whose sizes follow a power law with the exponent.",
}
FEATURE_SKEWS: Final = ("noise", "sensor", "rotate")


class FaultFacts(NamedTuple):
    """What a kind of fault does, and the keys that only some kinds have: those it needs, and those it may have."""

    description: str
    needs: tuple[str, ...] = ()
    takes: tuple[str, ...] = ()


#: Kinds of faults.
FAULTS: Final[Mapping[str, FaultFacts]] = {
    "link_down": FaultFacts("Nothing crosses the target's access link; messages wait."),
    "partition": FaultFacts("Actors of different sets cannot reach each other; messages between them wait.", ("sets",)),
    "lost": FaultFacts("A message never arrives; its sender is not told.", ("probability",), ("messages",)),
    "duplicated": FaultFacts("A message is delivered twice.", ("probability",), ("messages",)),
    "reordered": FaultFacts(
        "A message waits at the link until others have overtaken it.",
        ("probability",),
        ("messages", "behind", "delay"),
    ),
    "crash": FaultFacts("The device goes off; state and work are lost, and its actor begins anew."),
    "battery_pulled": FaultFacts("As crash; the device neither draws nor charges meanwhile."),
    "slow": FaultFacts("The device computes at a share of its speed.", ("speed",)),
    "clock_skew": FaultFacts("The actor sees a wrong time.", (), ("offset", "drift")),
    "disk_full": FaultFacts("What the actor records waits, and is lost if that lasts until the end."),
}
#: Types of the messages that actors of a study send each other.
MESSAGES: Final = (
    "Join",
    "CheckIn",
    "CheckOut",
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
        "delay": DELAY_KIND,
        "backhaul_rate": RATE_KIND,
        "cell_up": RATE_KIND,
        "cell_down": RATE_KIND,
    },
    "geometric": {
        "sites": Whole(1, 2000),
        "radius": Number(above=0, maximum=1.5),
        "delay": DELAY_KIND,
        "rate": RATE_KIND,
        "half_duplex": Flag(),
    },
    "mesh": {
        "rows": Whole(1, 100),
        "columns": Whole(1, 100),
        "delay": DELAY_KIND,
        "rate": RATE_KIND,
        "half_duplex": Flag(),
    },
    "tree": {
        "fogs": Whole(1, 1000),
        "edges": Whole(1, 1000),
        "fog_delay": DELAY_KIND,
        "edge_delay": DELAY_KIND,
        "fog_rate": RATE_KIND,
        "edge_rate": RATE_KIND,
    },
}
COORDINATOR: Final = "coordinator"
EVALUATOR: Final = "evaluator"
