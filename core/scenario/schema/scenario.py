"""The scenario as a whole, and the keys of its parts that name files."""

from __future__ import annotations

import functools
from typing import Annotated, Any, Final, Self

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from core.scenario import checks, tree
from core.scenario.kinds import Whole
from core.scenario.names import COORDINATOR, DATA_SUFFIXES, EVALUATOR, LAYERED
from core.scenario.schema.devices import Group, HostSpec, ProfileSpec, Station
from core.scenario.schema.execution import Numerics, Real, Report
from core.scenario.schema.faults import FaultSpec, RandomFaultSpec
from core.scenario.schema.learning import Data, Model, Training
from core.scenario.schema.network import LinkSpec, Network
from core.scenario.schema.section import Name, Section, Words

#: Type of the error that carries what the checks across keys have found.
CHECKS: Final = "checks"
#: Endings of files that are read whole.
FILES: Final = (*DATA_SUFFIXES, ".graphml", ".json")
#: Keys whose value may be a path, which is relative to the file that it stands in.
PATH_KEYS: Final = (
    ("data", "dataset"),
    ("model", "name"),
    ("training", "algorithm"),
    ("network", "topology"),
)
#: Keys whose value is a path, whatever it looks like; "*" stands for every name or number.
FILE_KEYS: Final = (
    ("numerics", "surrogate"),
    ("links", "*", "trace", "up"),
    ("links", "*", "trace", "down"),
    ("devices", "*", "availability", "trace"),
)


class Scenario(Section):
    """One study: data, model, training job, devices, network, faults."""

    name: Name = Field("study", description="Short name of the study.")
    description: Words = Field("", description="What it is about, in a sentence.")
    seed: Annotated[int, Whole(0, (1 << 63) - 1)] = Field(
        1, description="All randomness follows from it; the same seed gives the same run."
    )
    data: Data = Field(default_factory=Data, description="The examples, and how they are dealt to clients.")
    model: Model = Field(
        default_factory=Model,
        description="The model that is trained. Without any: softmax; of fedbn and fedrep, which need layers, mlp with "
        "a hidden layer of 32 and normalisation.",
    )
    training: Training = Field(description="The training job.")
    coordinator: Station = Field(
        default_factory=lambda: Station(device="server", link="datacentre"),
        description="Where the coordinator lives, who runs the rounds.",
    )
    evaluator: Station | None = Field(
        default_factory=lambda: Station(device="gateway", link="fixed_world"),
        description="Where the evaluator lives, who holds the pooled held-out examples. null: no evaluation.",
    )
    devices: tuple[Group, ...] = Field(min_length=1, description="The clients' devices, in groups of one kind.")
    links: dict[Name, LinkSpec] = Field(
        default_factory=dict, description="Own access links beside the catalogue's, by name."
    )
    profiles: dict[Name, ProfileSpec] = Field(
        default_factory=dict, description="Own classes of devices beside the catalogue's, by name."
    )
    hosts: dict[Name, HostSpec] = Field(
        default_factory=dict, description="Machines that devices share, by name; without one, each has its own cores."
    )
    network: Network = Field(default_factory=Network, description="What lies between the access links.")
    faults: tuple[FaultSpec, ...] = Field((), description="What goes wrong at given times.")
    random_faults: tuple[RandomFaultSpec, ...] = Field((), description="What goes wrong at random times.")
    numerics: Numerics = Field(default_factory=Numerics, description="How numbers are computed.")
    real: Real = Field(default_factory=Real, description="How the study runs on real sockets.")
    report: Report = Field(default_factory=Report, description="What the report shows beside the results.")

    @classmethod
    def spelled_out(cls, data: object) -> object:
        """Without a model, the algorithm's: where it parts the model between server and clients, one of layers."""
        if not isinstance(data, dict):
            return data
        training = data.get("training")
        algorithm = training.get("algorithm") if isinstance(training, dict) else None
        given = LAYERED.get(algorithm) if isinstance(algorithm, str) else None
        return data if given is None or data.get("model") else {**data, "model": given}

    @model_validator(mode="after")
    def _agrees(self) -> Self:
        found = checks.findings(self)
        if found:
            text = "; ".join(f"{'.'.join(map(str, f.path))}: {f.text}" for f in found)
            raise PydanticCustomError(CHECKS, "{text}", {"text": text, "findings": found})
        return self

    @property
    def device_names(self) -> tuple[str, ...]:
        """Names of the clients' actors, in the order of the groups; the k-th has the examples of client k."""
        return tuple(f"{group.name}-{i}" for group in self.devices for i in range(group.count))

    @property
    def actor_names(self) -> tuple[str, ...]:
        """Names of all actors: the coordinator, the evaluator if there is one, the clients."""
        evaluator = () if self.evaluator is None else (EVALUATOR,)
        return (COORDINATOR, *evaluator, *self.device_names)

    @property
    def device_count(self) -> int:
        """How many clients there are."""
        return sum(group.count for group in self.devices)

    @property
    def clients(self) -> int:
        """Clients that examples are dealt to; at least `device_count`."""
        return self.device_count if self.data.clients is None else self.data.clients

    @property
    def max_participants(self) -> int:
        """Results after which a round ends."""
        most = self.training.max_participants
        return self.device_count if most is None else most

    @functools.cached_property
    def places(self) -> tree.Node:
        """Where each key stands: as `load` has found it; of a scenario made in Python, nowhere."""
        return tree.from_plain(self.resolved(), tree.Place("scenario"))

    def resolved(self) -> dict[str, Any]:
        """All keys with their values as plain data, in SI units; `Scenario.model_validate` gives an equal scenario."""
        return self.model_dump(mode="json")
