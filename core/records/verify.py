"""Checks a run's directory against its manifest: recomputes both hashes from the stored messages and model."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from core.records.manifest import MODEL, read_manifest
from core.records.model_file import load_model, model_sha256
from core.records.store import RecordsError, read_parts, table_names, tables_sha256
from core.records.trace import read_trace


def verify(directory: Path) -> list[str]:
    """What is wrong with a run's directory, a sentence each; empty if all is as its manifest says."""
    directory = Path(directory)
    try:
        manifest = read_manifest(directory)
    except RecordsError as error:
        return [str(error)]
    problems = []
    if manifest.outcome == "running":
        problems.append("the run has not ended: its manifest has no final hashes")
    try:
        trace = read_trace(directory)
    except RecordsError as error:
        problems.append(str(error))
    else:
        if manifest.trace_sha256 is None:
            problems.append("the manifest has no trace_sha256")
        elif trace.hexdigest() != manifest.trace_sha256:
            problems.append(
                f"trace_sha256 of the stored messages is {trace.hexdigest()}, the manifest says {manifest.trace_sha256}"
            )
        said = manifest.counts.get("messages")
        if said is not None and said != trace.count:
            problems.append(f"{trace.count} messages are stored, the manifest says {said}")
    problems += _model_problems(directory, manifest.model_sha256)
    problems += _table_problems(directory, manifest.tables_sha256)
    return problems


def _model_problems(directory: Path, said: str | None) -> list[str]:
    path = directory / MODEL
    if said is None:
        return [f"there is a {MODEL}, but the manifest has no model_sha256"] if path.exists() else []
    try:
        found = model_sha256(load_model(path))
    except RecordsError as error:
        return [str(error)]
    return [] if found == said else [f"model_sha256 of {MODEL} is {found}, the manifest says {said}"]


def _table_problems(directory: Path, said: Mapping[str, str]) -> list[str]:
    """Tables that cannot be read, or whose parts are not those that the manifest knows."""
    problems = []
    for name in table_names(directory):
        if name != "messages":
            try:
                for _ in read_parts(directory, name):
                    pass
            except RecordsError as error:
                problems.append(str(error))
    if said and not problems:
        found = tables_sha256(directory)
        for name in sorted({*said, *found}):
            if found.get(name) != said.get(name):
                problems.append(f"the table {name} is not as the run left it: its stored parts have another SHA-256")
    return problems
