"""The scenario: one study as frozen pydantic models. Every field has a description, which `aivsim schema`, `aivsim new`
and the docs show; quantities are in SI units once read (`core.scenario.units`).

A scenario made in Python (`Scenario(...)`, `Scenario.model_validate(...)`) is checked like one from a file; `load`
adds files, lines, `extends` and overrides.
"""

from core.scenario.schema.devices import TYPICAL, Availability, Group, ProfileSpec, Station
from core.scenario.schema.execution import Numerics
from core.scenario.schema.faults import FaultShape, FaultSpec, RandomFaultSpec
from core.scenario.schema.learning import Data, FeatureSkew
from core.scenario.schema.network import LinkSpec, Network, TraceSpec, TransportSpec
from core.scenario.schema.scenario import CHECKS, FILE_KEYS, FILES, PATH_KEYS, Scenario
from core.scenario.schema.section import Section

__all__ = [
    "CHECKS",
    "FILES",
    "FILE_KEYS",
    "PATH_KEYS",
    "TYPICAL",
    "Availability",
    "Data",
    "FaultShape",
    "FaultSpec",
    "FeatureSkew",
    "Group",
    "LinkSpec",
    "Network",
    "Numerics",
    "ProfileSpec",
    "RandomFaultSpec",
    "Scenario",
    "Section",
    "Station",
    "TraceSpec",
    "TransportSpec",
]
