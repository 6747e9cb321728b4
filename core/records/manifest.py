"""A run's manifest: what was run, where, how it ended, and the hashes of what it left; `manifest.json`.

The caller gathers what a clock or the host tells; nothing here asks them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final, Literal

import msgspec

from core.records.curves import LearningCurves
from core.records.store import RecordsError, write_whole

MANIFEST: Final = "manifest.json"
MODEL: Final = "model.safetensors"
REPORT: Final = "report.html"


class Reference(msgspec.Struct, frozen=True, kw_only=True):
    """A published or measured figure to hold the result against, with where it comes from."""

    accuracy: float
    source: str


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """What `manifest.json` holds. Written when a run begins (`outcome` running) and again when it has ended."""

    #: Version of this layout.
    format: int = 1
    #: Short name of the scenario.
    name: str
    #: What the study is about, as its scenario says; may be empty.
    description: str = ""
    #: The resolved scenario, as plain values.
    scenario: dict[str, Any]
    seed: int
    world: Literal["sim", "real"]
    outcome: Literal["running", "done", "failed", "interrupted"]
    #: Why it failed or was interrupted.
    reason: str = ""
    #: What a user may not expect of the study, in sentences.
    notes: tuple[str, ...] = ()
    #: UTC, ISO 8601.
    started: str
    ended: str | None = None
    #: Length of the study, s: simulated, or by the wall clock over `time_scale`.
    simulated_s: float = 0.0
    #: Wall seconds for a second of the study; 0 in the simulator.
    time_scale: float = 0.0
    #: Length of the run by the clock of the machine, s.
    wall_s: float = 0.0
    #: How often it was killed or interrupted and taken up again.
    resumes: int = 0
    #: Layout of batches.
    layout: str = "scan"
    #: How numbers were computed; accuracies of a `surrogate` follow `surrogate` and were not measured.
    fidelity: Literal["train", "surrogate", "timing"] = "train"
    surrogate: LearningCurves | None = None
    #: Versions of Python and of the packages that the numbers depend on.
    versions: dict[str, str] = {}
    #: Variables of the environment that can change their last bits, of those that are set, and the kind of processor.
    environment: dict[str, str] = {}
    #: SHA-256 of what else they rest on, by the scenario's key: data as loaded, own parts, files; `aivsim`: our code.
    inputs_sha256: dict[str, str] = {}
    #: Processor, cores, memory, system.
    host: dict[str, str | int | float] = {}
    #: Whatever was counted: messages, bytes, jobs, batches, …
    counts: dict[str, int | float] = {}
    #: SHA-256 of the stored parts of every table but those of the machine's clock, for `verify`.
    tables_sha256: dict[str, str] = {}
    trace_sha256: str | None = None
    model_sha256: str | None = None
    reference: Reference | None = None


def write_manifest(directory: Path, manifest: Manifest) -> None:
    """Write `manifest.json`, whole or not at all. Raises `RecordsError`."""
    text = msgspec.json.format(msgspec.json.encode(manifest), indent=2)
    write_whole(Path(directory) / MANIFEST, text + b"\n")


def read_manifest(directory: Path) -> Manifest:
    """Read `manifest.json`. Raises `RecordsError` if it is missing or not one."""
    path = Path(directory) / MANIFEST
    try:
        return msgspec.json.decode(path.read_bytes(), type=Manifest)
    except FileNotFoundError:
        raise RecordsError(f"{directory} is not the directory of a run: it has no {MANIFEST}") from None
    except OSError as error:
        raise RecordsError(f"cannot read {path}: {error.strerror or error}") from error
    except msgspec.MsgspecError as error:
        raise RecordsError(f"{path} is not the manifest of a run: {error}") from error
