"""The sections `data`, `model` and `training`: what is learned, of what, and how."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from core.scenario.kinds import Choice, Component, Number, Options, Whole
from core.scenario.names import ALGORITHMS, DATA_SUFFIXES, DATASETS, FEATURE_SKEWS, MODELS, PARTITIONS
from core.scenario.schema.section import Bool, Section
from core.scenario.units import CelsiusOrNull, FractionBelowOne, FractionOrNull, PositiveSeconds, Seconds


class FeatureSkew(Section):
    """A change of each client's examples, in a way of its own."""

    kind: Annotated[Literal["noise", "sensor", "rotate"], Choice(*FEATURE_SKEWS)] = Field(
        description="noise: more with each client; sensor: a gain and an offset of its own; rotate: quarter turns."
    )
    strength: Annotated[float, Number(0, 1000)] = Field(
        0.1,
        description="noise: variance at the last client; sensor: deviation of log gain and offset, up to 5; rotate: "
        "unused.",
    )


class Data(Section):
    """The examples, and how they are dealt to clients."""

    dataset: Annotated[str, Component("data set", DATASETS, suffixes=DATA_SUFFIXES, own=False)] = Field(
        "digits",
        description="A data set that comes with the project (`aivsim list datasets`), or the path of an own file.",
    )
    options: Annotated[dict[str, Any], Options()] = Field(
        default_factory=dict,
        description="Options of the data set; of a file: which columns or arrays are x, y and client, and more.",
    )
    partition: Annotated[
        Literal["natural", "iid", "dirichlet", "shards", "labels", "lognormal", "power_law", "sampled"],
        Choice(*PARTITIONS),
    ] = Field(
        "natural",
        description="How examples are dealt: by the data's natural client (natural), at random in equal parts (iid), "
        "with skewed labels (dirichlet, shards, labels) with skewed sizes (lognormal, power_law), "
        "or to each client some at random, with others (sampled).",
    )
    clients: Annotated[int | None, Whole(1, 1_000_000, or_null="as many as there are devices")] = Field(
        None,
        description="Clients that examples are dealt to; the first are on the devices. null: as many as devices.",
    )
    alpha: Annotated[float, Number(above=0, maximum=1e6)] = Field(
        0.5, description="Concentration of the dirichlet partition: 0.1 is very skewed, 100 nearly even."
    )
    per_client: Annotated[int, Whole(1, 100_000)] = Field(
        2, description="Shards of each client in the partition shards, or labels of each in the partition labels."
    )
    sigma: Annotated[float | None, Number(0, 10, or_null="1 for lognormal, 0 for labels")] = Field(
        None, description="Deviation of the logarithms of sizes (lognormal), or of the weights on a label (labels)."
    )
    exponent: Annotated[float, Number(above=1, maximum=100)] = Field(
        2.0, description="Exponent of the partition power_law: P(size > s) falls as s^(1 - exponent)."
    )
    min_examples: Annotated[int | None, Whole(1, 1_000_000_000, or_null="10 for dirichlet, 1 for the others")] = Field(
        None,
        description="Least examples of a client, held-out ones included (dirichlet, lognormal, power_law); natural "
        "clients with less are passed over.",
    )
    feature_skew: FeatureSkew | None = Field(
        None, description="A change of each client's examples, in a way of its own; null: none."
    )
    examples: Annotated[int, Whole(1, 1_000_000)] = Field(
        50, description="Median number of examples of a client in the sampled partition."
    )
    examples_spread: Annotated[float, Number(0, 2)] = Field(
        1.0, description="Standard deviation of the natural logarithm of that number; nobody has more than 20 times it."
    )
    test_fraction: FractionBelowOne = Field(
        0.2,
        description="Share of each client's examples that is held out; pooled, they are the evaluator's test set. Data "
        "with a test part of their own are evaluated on that instead, and nothing else is held out.",
    )
    hold_out: Annotated[Literal["random", "last"], Choice("random", "last")] = Field(
        "random",
        description="Which examples are held out: any, or the last (for series and text, whose neighbours are alike).",
    )


class Model(Section):
    """The model that is trained."""

    name: Annotated[str, Component("model", MODELS)] = Field(
        "softmax",
        description="A model that comes with the project (`aivsim list models`), or an own factory of flax modules.",
    )
    options: Annotated[dict[str, Any], Options()] = Field(
        default_factory=dict, description="Options of the model; cnn: features (two numbers) and hidden."
    )


class Requirements(Section):
    """What a device must fulfil to train when it is asked; others decline."""

    min_battery: FractionOrNull = Field(None, description="Least charge; devices on mains fulfil it.")
    max_temperature: CelsiusOrNull = Field(None, description="Highest temperature, °C.")
    charging: Bool = Field(False, description="Only while on external power.")
    unmetered: Bool = Field(False, description="Only on links whose traffic costs nothing (not metered).")


class Training(Section):
    """The training job."""

    algorithm: Annotated[str, Component("algorithm", ALGORITHMS)] = Field(
        "fedavg",
        description="An algorithm of `aivsim list algorithms`, or an own function that takes the model, batch_size and "
        "server_learning_rate.",
    )
    options: Annotated[dict[str, Any], Options()] = Field(
        default_factory=dict,
        description="Options of the algorithm, such as mu of fedprox; docs/learning.md has them all.",
    )
    rounds: Annotated[int, Whole(1, 10_000_000)] = Field(description="Rounds of training.")
    min_participants: Annotated[int, Whole(1, 1_000_000)] = Field(
        1, description="Clients that must be there to begin a round, and results that must come for it to count."
    )
    max_participants: Annotated[int | None, Whole(1, 1_000_000, or_null="all devices")] = Field(
        None,
        description="Results after which a round ends; of asynchronous algorithms, clients that train at a time. null: "
        "as many as there are devices.",
    )
    over_selection: Annotated[float, Number(1, 100)] = Field(
        1.0, description="Clients asked for each result that is wanted; 1.3 asks 13 for 10."
    )
    deadline: PositiveSeconds = Field(600.0, description="Longest round, s; results that come later are not used.")
    local_epochs: Annotated[int, Whole(1, 100_000)] = Field(
        1,
        description="Passes of a client over its own examples in a round; fedsgd always takes one gradient over all.",
    )
    batch_size: Annotated[int, Whole(1, 1_000_000)] = Field(32, description="Examples of a client's step.")
    learning_rate: Annotated[float, Number(above=0, maximum=1e6)] = Field(
        0.1, description="Learning rate of the clients' optimiser."
    )
    server_learning_rate: Annotated[float, Number(above=0, maximum=1e6)] = Field(
        1.0, description="What the mean of the clients' updates is multiplied by; 1 is plain federated averaging."
    )
    eval_every: Annotated[int, Whole(1, 10_000_000)] = Field(
        1, description="Rounds from one evaluation to the next; the last model is always evaluated."
    )
    eval_clients_every: Annotated[int | None, Whole(1, 10_000_000, or_null="never")] = Field(
        None,
        description="Rounds from one evaluation by all clients on their own held-out examples, of the global model and "
        "of their own if they have one, to the next. null: never.",
    )
    pause: Seconds = Field(0.0, description="Rest between two rounds, s.")
    enrol_timeout: PositiveSeconds = Field(
        600.0, description="How long to wait for enough clients before a round is given up, s."
    )
    requirements: Requirements = Field(default_factory=Requirements, description="What a device must fulfil to train.")
