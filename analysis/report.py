"""The report of a run: one self-contained HTML page with its plots inside, that needs no network."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from analysis import sheets, units
from analysis.clients import ClientScores
from analysis.study import LEFT_OUT, Study
from analysis.tables import Run
from analysis.target import target_of
from core.records.manifest import REPORT, Manifest
from core.records.store import write_whole

if TYPE_CHECKING:
    from jinja2 import Environment

OUTCOMES: Final = {
    "done": "is done",
    "failed": "failed",
    "interrupted": "was interrupted",
    "running": "has not ended",
}


@dataclasses.dataclass(frozen=True)
class Card:
    """One key figure."""

    name: str
    value: str
    note: str = ""


def write_report(directory: Path) -> Path:
    """Write `report.html` into a run's directory and tell its path. Raises `RecordsError`."""
    from analysis.plots.clients import clients
    from analysis.plots.cost import energy, purposes, spending
    from analysis.plots.data import labels
    from analysis.plots.devices import batteries, temperatures
    from analysis.plots.faults import faults
    from analysis.plots.learning import learning
    from analysis.plots.rounds import close_look, durations, overview
    from analysis.plots.style import styled

    study = Study(Run(directory))
    with styled():
        before = [learning(study), clients(study)]
        drawings = (
            close_look,
            overview,
            faults,
            durations,
            spending,
            energy,
            purposes,
            batteries,
            temperatures,
            labels,
        )
        after = [draw(study) for draw in drawings]
    page = pages().get_template("report.html")
    text = page.render(
        title=f"{study.manifest.name}: report",
        manifest=study.manifest,
        directory=study.run.directory.resolve().name,
        tags=tags(study),
        ending=ending(study.manifest).removesuffix("."),
        notes=study.manifest.notes,
        in_vain=study.in_vain,
        astray=study.messages_astray,
        sentence=study.sentence,
        cards=cards(study),
        plots_before=[plot for plot in before if plot is not None],
        plots_after=[plot for plot in after if plot is not None],
        reached=sheets.reached(study),
        of_clients=sheets.of_clients(study),
        score=study.score[0],
        traffic=sheets.traffic(study),
        troubles=sheets.troubles(study),
        costs=sheets.costs(study),
        rounds=sheets.rounds(study),
        host=host(study),
        scenario=msgspec.json.format(msgspec.json.encode(study.manifest.scenario), indent=2).decode(),
        versions=" · ".join(f"{name} {version}" for name, version in study.manifest.versions.items()),
    )
    path = study.run.directory / REPORT
    write_whole(path, text.encode())
    return path


def ending(manifest: Manifest) -> str:
    """How a run ended and why, as what follows its name in a sentence."""
    how, why = OUTCOMES[manifest.outcome], manifest.reason
    if manifest.outcome == "interrupted" and why.startswith("interrupted "):
        return f"was {why}"
    return f"{how}: {why}" if why else how


def pages() -> Environment:
    """The templates; everything that is put into them is escaped."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    return Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def tags(study: Study) -> list[str]:
    """What one wants to know of a run before its figures."""
    manifest = study.manifest
    world = "simulated" if manifest.world == "sim" else "real sockets"
    if manifest.world == "real" and study.pace != 1.0:
        world += f", {study.pace:g} wall seconds a second"
    computed = {"train": f"layout {manifest.layout}", "timing": "timing only, nothing trained"}
    how = computed.get(manifest.fidelity, "accuracies of a surrogate, not measured")
    return [world, f"seed {manifest.seed}", how, _date(manifest.started)]


def _date(text: str) -> str:
    """A time stamp of ISO 8601 in UTC, to the minute."""
    return f"{text[:10]} {text[11:16]} UTC" if len(text) >= 16 else text


def cards(study: Study) -> list[Card]:
    """The key figures."""
    manifest, rounds = study.manifest, study.run.rounds()
    aggregated = int((rounds["outcome"] == "aggregated").sum())
    abandoned = len(rounds["round"]) - aggregated
    left_out, accepted = int(study.left_out.sum()), int(rounds["accepted"].sum())
    whole, clients = units.text(study.total_j(), "J"), units.text(study.total_j(study.clients), "J")
    energy = (clients, f"of {whole} of all devices") if study.energy.rows else ("–", "not measured")
    omitted = f"of {units.count(accepted)} accepted updates: not finite or out of range"
    messages = study.run.count("messages")
    clock = "simulated" if manifest.world == "sim" else "time of the study"
    return [
        Card(
            f"final {study.score[0]}",
            study.score[1],
            "; ".join(part for part in (_origin(study), _reference(manifest)) if part),
        ),
        *_target(study),
        *_own(study),
        Card("rounds", units.count(aggregated), _rounds(abandoned, int(study.hollow.sum()))),
        *([Card(LEFT_OUT.partition(" (")[0], units.count(left_out), omitted)] if left_out else []),
        Card(clock, units.duration(study.duration_s), f"{units.duration(manifest.wall_s)} of wall time"),
        Card("delivered", units.text(study.total_bytes, "B"), f"in {units.count(messages)} messages"),
        Card("clients' energy", *energy),
    ]


def _target(study: Study) -> list[Card]:
    """What became of the target, if the scenario names one."""
    target = target_of(study)
    if target is None:
        return []
    name = f"target {target.text}"
    if target.reached is None:
        value, _, why = target.missed.partition(" (")
        return [Card(name, value, why.removesuffix(")"))]
    time, size, energy = target.reached.spent
    return [Card(name, f"round {target.reached.round}", f"{time}, {size}, {energy} by clients")]


def _own(study: Study) -> list[Card]:
    """The clients' own models beside the global one, if they have any."""
    scores = ClientScores(study)
    if "personal" not in scores.models:
        return []
    both = {model: study.score_text(scores.final(model).mean) for model in scores.models}
    note = f"mean of clients; global {both['global']}" if "global" in both else "mean of clients"
    return [Card(f"own models' {study.score[0]}", both["personal"], note)]


def _origin(study: Study) -> str:
    return study.origin.partition(":")[0]


def _reference(manifest: Manifest) -> str:
    return "" if manifest.reference is None else f"reference {units.percent(manifest.reference.accuracy)}"


def _rounds(abandoned: int, hollow: int) -> str:
    parts = [f"and {abandoned} abandoned"] if abandoned else []
    parts += [f"{hollow} with every update left out"] if hollow else []
    return ", ".join(parts) or "all aggregated"


def host(study: Study) -> str:
    """The machine and the time it took, in a sentence."""
    manifest = study.manifest
    facts = dict(manifest.host)
    memory = facts.pop("memory_bytes", None)
    cores = facts.pop("cores", None)
    parts = [str(fact) for fact in facts.values()]
    parts = [part for part in parts if not any(part in other for other in parts if other != part)]
    if cores is not None:
        parts.append(f"{cores} cores")
    if memory is not None:
        parts.append(f"{units.text(float(memory), 'B')} of memory")
    text = f"{units.duration(manifest.wall_s)} by the clock"
    if manifest.wall_s > 0.0 and manifest.world == "sim":
        text += f", {units.number(study.duration_s / manifest.wall_s)} times as fast as the study itself"
    return f"{text}, on {', '.join(parts) or 'an unknown machine'}."
