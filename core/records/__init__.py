"""What a run writes down: typed tables as Parquet parts, the model, the manifest, and the hashes over them."""

from core.records.manifest import Manifest, Reference, read_manifest, write_manifest
from core.records.merge import merge
from core.records.model_file import load_model, model_sha256, save_model
from core.records.rows import (
    TABLES,
    ClientEvaluationRow,
    ClientRow,
    DeviceRow,
    EnergyRow,
    EvaluationRow,
    FaultRow,
    HostNodeRow,
    HostOverrunRow,
    HostRunRow,
    ImpairedRow,
    JobRow,
    MessageRow,
    ParticipationRow,
    PlacementRow,
    RoundRow,
    Row,
    ShardRow,
    UndeliveredRow,
)
from core.records.store import RecordsError
from core.records.trace import TraceDigest, trace_sha256
from core.records.verify import verify
from core.records.writer import RunWriter

__all__ = [
    "TABLES",
    "ClientEvaluationRow",
    "ClientRow",
    "DeviceRow",
    "EnergyRow",
    "EvaluationRow",
    "FaultRow",
    "HostNodeRow",
    "HostOverrunRow",
    "HostRunRow",
    "ImpairedRow",
    "JobRow",
    "Manifest",
    "MessageRow",
    "ParticipationRow",
    "PlacementRow",
    "RecordsError",
    "Reference",
    "RoundRow",
    "Row",
    "RunWriter",
    "ShardRow",
    "TraceDigest",
    "UndeliveredRow",
    "load_model",
    "merge",
    "model_sha256",
    "read_manifest",
    "save_model",
    "trace_sha256",
    "verify",
    "write_manifest",
]
