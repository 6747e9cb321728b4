"""The closing summary of a run, as plain lines for a terminal."""

from __future__ import annotations

from pathlib import Path

from analysis import units
from analysis.clients import ClientScores
from analysis.report import ending
from analysis.study import LEFT_OUT, Study
from analysis.tables import Run
from analysis.target import target_of
from core.records.manifest import REPORT


def summary(directory: Path) -> list[str]:
    """What came out, what it cost, the hashes, and where the report is. Raises `RecordsError`."""
    study = Study(Run(directory))
    manifest, rounds = study.manifest, study.run.rounds()
    report = study.run.directory / REPORT
    name, score = study.score
    if manifest.reference is not None:
        score += f" (reference {units.percent(manifest.reference.accuracy)}: {manifest.reference.source})"
    abandoned = int((rounds["outcome"] != "aggregated").sum())
    clock = "simulated" if manifest.world == "sim" else "of the study"
    time = f"{units.duration(study.duration_s)} {clock} in {units.duration(manifest.wall_s)} of wall time"
    messages = units.count(study.run.count("messages"))
    energy = (
        f"{units.text(study.total_j(study.clients), 'J')} by clients, {units.text(study.total_j(), 'J')} by all devices"
    )
    lines = [
        f"{manifest.name} {ending(manifest)}{', but ' + study.in_vain if study.in_vain else ''}",
        *(f"  note      {note}" for note in manifest.notes),
        f"  {name:<9} {score}",
        *([f"            {study.origin}"] if study.origin else []),
        *_target(study),
        *_of_clients(study),
        f"  rounds    {units.count(len(rounds['round']))}{f', {abandoned} of them abandoned' if abandoned else ''}",
        *_omissions(study),
        f"  time      {time}",
        f"  traffic   {units.text(study.total_bytes, 'B')} in {messages} messages",
        f"  energy    {energy if study.energy.rows else 'not measured'}",
        *_purposes(study),
        f"  trace     {manifest.trace_sha256 or '–'}",
        f"  model     {manifest.model_sha256 or '–'}",
        f"  report    {report}" if report.exists() else f"  records   {study.run.directory}",
    ]
    return [line.replace("\u00a0", " ").replace("\u202f", " ") for line in lines]


def _purposes(study: Study) -> list[str]:
    """What the clients' energy was for."""
    found = study.purposes_j(study.clients) if study.energy.rows else {}
    parts = [f"{purpose} {units.text(joules, 'J')}" for purpose, joules in found.items() if joules > 0.0]
    return [f"            clients: {', '.join(parts)}"] if parts else []


def _target(study: Study) -> list[str]:
    target = target_of(study)
    return [] if target is None else [f"  target    {target.text}: {target.sentence}"]


def _of_clients(study: Study) -> list[str]:
    """The last models on the clients' own held-out examples."""
    scores = ClientScores(study)
    lines = []
    for model in scores.models:
        found = scores.final(model)
        worst, mean = study.score_text(found.worst_decile), study.score_text(found.mean)
        text = (
            f"mean {mean}, worst decile {worst}, Jain's index {found.jain:.3f} ({units.count(found.clients)} clients)"
        )
        lines.append(f"  {'by client' if model == 'global' else 'own model':<9} {text}")
    return lines


def _omissions(study: Study) -> list[str]:
    left_out, hollow = int(study.left_out.sum()), int(study.hollow.sum())
    if not left_out:
        return []
    text = f"{units.count(left_out)} of {units.count(study.run.rounds()['accepted'].sum())} accepted, {LEFT_OUT}"
    return [f"  updates   {text}{f'; all of them in {hollow} of the rounds' if hollow else ''}"]
