"""The closing summary of a run, as plain lines for a terminal."""

from __future__ import annotations

from pathlib import Path

from analysis import units
from analysis.report import OUTCOMES
from analysis.study import Study
from analysis.tables import Run
from core.records.manifest import REPORT


def summary(directory: Path) -> list[str]:
    """What came out, what it cost, the hashes, and where the report is. Raises `RecordsError`."""
    study = Study(Run(directory))
    manifest, rounds = study.manifest, study.run.rounds()
    report = study.run.directory / REPORT
    accuracy = units.percent(study.final_accuracy)
    if manifest.reference is not None:
        accuracy += f" (reference {units.percent(manifest.reference.accuracy)}: {manifest.reference.source})"
    abandoned = int((rounds["outcome"] != "aggregated").sum())
    clock = "simulated" if manifest.world == "sim" else "of the study"
    time = f"{units.duration(study.duration_s)} {clock} in {units.duration(manifest.wall_s)} of wall time"
    messages = units.count(study.run.table("messages").num_rows)
    clients, whole = sum(study.drawn_j(study.clients).values()), sum(study.drawn_j().values())
    lines = [
        f"{manifest.name} {OUTCOMES[manifest.outcome]}{': ' + manifest.reason if manifest.reason else ''}",
        f"  accuracy  {accuracy}",
        f"  rounds    {units.count(len(rounds['round']))}{f', {abandoned} of them abandoned' if abandoned else ''}",
        f"  time      {time}",
        f"  traffic   {units.text(study.total_bytes, 'B')} in {messages} messages",
        f"  energy    {units.text(clients, 'J')} by clients, {units.text(whole, 'J')} by all devices",
        f"  trace     {manifest.trace_sha256 or '–'}",
        f"  model     {manifest.model_sha256 or '–'}",
        f"  report    {report}" if report.exists() else f"  records   {study.run.directory}",
    ]
    return [line.replace("\u00a0", " ").replace("\u202f", " ") for line in lines]
