"""The tables of a report: cells as text, ready for a page."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence, Sized
from typing import Final

import numpy as np

from analysis import units
from analysis.clients import OWNER, ClientScores, Spread
from analysis.faults import Befallen, befallen
from analysis.study import LEFT_OUT, Study, natural
from analysis.target import target_of, usual

#: Rows of a table of single events; more are counted.
MOST_ROWS: Final = 60


@dataclasses.dataclass(frozen=True)
class Sheet:
    """One table of a page. `words` says which columns are text, `bars` gives a bar of 0 to 100 to each row."""

    heads: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]
    words: tuple[bool, ...]
    title: str = ""
    note: str = ""
    bars: tuple[float, ...] = ()


def sheet(
    heads: Sequence[str], rows: Sequence[tuple[str, ...]], *, text: int = 1, title: str = "", note: str = ""
) -> Sheet:
    """A table whose first `text` columns are words."""
    return Sheet(tuple(heads), rows, tuple(i < text for i in range(len(heads))), title, note)


def reached(study: Study) -> Sheet | None:
    """What had been spent when an accuracy, or the target, was first reached; and that the target was not."""
    reference, target = study.manifest.reference, target_of(study)
    rows: list[tuple[str, ...]] = []
    for level in usual(study):
        name = study.score_text(level.level)
        if reference is not None and level.level == reference.accuracy:
            name += " (the reference's)"
        if target is not None and level.level == target.level:
            name += " (the target)"
        rows.append((name, str(level.round), *level.spent))
    if target is not None and target.missed:
        rows.append((f"{target.text} (the target): {target.missed}", "–", "–", "–", "–"))
    if not rows:
        return None
    score = study.score[0]
    note = f"When a model first had this {score}; bytes delivered and energy drawn by the clients until then."
    return sheet((score, "round", "time", "bytes", "energy"), rows, note=note)


def of_clients(study: Study) -> list[Sheet]:
    """How the last models differ between clients; so after every round, and the clients one by one."""
    scores = ClientScores(study)
    if not scores.models:
        return []
    text, score = study.score_text, study.score[0]
    scale, unit = (1.0, "") if study.is_regression else (1e4, " (points²)")
    heads = ("model", "after round", "clients", "mean", "worst decile", f"variance{unit}", "Jain's index")

    def row(model: str, found: Spread) -> tuple[str, ...]:
        spread = (units.number(scale * found.variance), f"{found.jain:.3f}")
        counts = (str(found.round), units.count(found.clients))
        return (OWNER[model], *counts, text(found.mean), text(found.worst_decile), *spread)

    note = (
        f"The {score} of a model on each client's own held-out examples; every client counts once. Worst decile: the "
        "mean of the tenth of the clients that are worst off. Jain's index: 1 if all are equal, 1/n if only one of n "
        "has any."
    )
    last = sheet(
        heads, [row(model, scores.final(model)) for model in scores.models], note=f"{note} {_gain(study, scores)}"
    )
    found = [last]
    rows = [row(model, each) for model in scores.models for each in scores.spreads(model)]
    if len(rows) > len(last.rows):
        found.append(sheet(heads, rows, title="After every round in which clients evaluated"))
    return [*found, _client_list(study, scores)]


def _gain(study: Study, scores: ClientScores) -> str:
    """What clients gain from their own models, in a sentence, or nothing."""
    gains = np.array(list(scores.gains.values()))
    if not len(gains):
        return ""
    mean = units.number(float(gains.mean())) if study.is_regression else f"{100.0 * gains.mean():.1f} points"
    clients = f"{units.count(len(gains))} {'client has' if len(gains) == 1 else 'clients have'}"
    better, worse = int((gains > 0.0).sum()), int((gains < 0.0).sum())
    return (
        f"{clients} both: the own model is better for {units.count(better)} and worse for {units.count(worse)}, "
        f"better by {mean} in the mean."
    )


def _client_list(study: Study, scores: ClientScores) -> Sheet:
    """The clients one by one, those that the last global model serves worst first."""
    last = {model: scores.last(model)[1] for model in scores.models}
    first = scores.models[0]
    sign = -1.0 if scores.low_is_good else 1.0
    ordered = sorted(
        sorted({client for found in last.values() for client in found}, key=natural),
        key=lambda client: sign * last[first].get(client, sign * float("inf")),
    )
    rows = [
        (
            client,
            units.count(scores.examples[client]),
            *(study.score_text(last[model].get(client, float("nan"))) for model in scores.models),
        )
        for client in ordered[:MOST_ROWS]
    ]
    heads = ("client", "held-out examples", *(OWNER[model] for model in scores.models))
    return sheet(heads, rows, title="Clients, the worst off first", note=_more(ordered))


def traffic(study: Study) -> Sheet | None:
    """Messages, bytes and delays by type."""
    codes, names = study.run.codes("messages", "type")
    if not len(codes):
        return None
    rows = study.run.messages()
    delays_s = rows["delivered_s"] - rows["sent_s"]
    counts = np.bincount(codes, minlength=len(names))
    sizes = np.bincount(codes, weights=rows["size_bytes"], minlength=len(names))
    order = [int(i) for i in np.argsort(-sizes, kind="stable") if counts[i]]
    cells = [
        (
            names[i],
            units.count(counts[i]),
            units.text(float(sizes[i]), "B"),
            units.text(float(sizes[i] / counts[i]), "B"),
            units.duration(float(np.median(delays_s[codes == i]))),
        )
        for i in order
    ]
    heads = ("type", "messages", "bytes", "mean size", "median delay")
    note = "Bars: bytes. A frame's bytes are those on a socket before TLS."
    if study.manifest.world == "real":
        note += " A delay is the difference of two nodes' clocks, which may be off by milliseconds of the wall."
    listed = sheet(heads, cells, note=note)
    largest = float(sizes.max()) or 1.0
    return dataclasses.replace(listed, bars=tuple(100.0 * float(sizes[i]) / largest for i in order))


def troubles(study: Study) -> list[Sheet]:
    """Faults by kind and one by one, undelivered messages by kind and reason."""
    found = [*_fault_kinds(study), *_fault_list(study)]
    lost = study.run.columns("undelivered")
    if len(lost["reason"]):
        groups: dict[tuple[str, str], list[int]] = {}
        for kind, reason, size in zip(lost["type"], lost["reason"], lost["size_bytes"].tolist(), strict=True):
            groups.setdefault((kind or "unreadable", reason), []).append(size)
        rows = [
            (kind, reason, units.count(len(sizes)), units.text(sum(sizes), "B"))
            for (kind, reason), sizes in sorted(groups.items())
        ]
        found.append(sheet(("type", "reason", "messages", "bytes"), rows, text=2, title="Messages not delivered"))
    return found


def _fault_kinds(study: Study) -> list[Sheet]:
    """What each kind of fault did in all; nothing where the list of single faults says it all."""
    by_kind: dict[str, list[Befallen]] = {}
    for fault in befallen(study):
        by_kind.setdefault(fault.kind, []).append(fault)
    if sum(map(len, by_kind.values())) <= 1:
        return []
    rows = []
    for kind, own in sorted(by_kind.items()):
        told = [fault.messages for fault in own if fault.messages is not None]
        actors, lasted_s = len({fault.actor for fault in own}), sum(fault.end_s - fault.start_s for fault in own)
        touched = units.count(sum(told)) if told else "–"
        rows.append((kind, units.count(len(own)), units.count(actors), units.duration(lasted_s), touched))
    heads = ("fault", "times", "actors", "together", "messages touched")
    return [sheet(heads, rows, title="Faults by kind", note=_TOUCHED)]


#: What is counted as touched by a fault.
_TOUCHED: Final = (
    "Messages touched: those lost, duplicated, kept back or held by a partition; of link_down, those on their way when "
    "the link came back; of devices that were off, those lost for it."
)


def _fault_list(study: Study) -> list[Sheet]:
    """Faults, and failures inside actors, one by one."""
    faults = study.run.columns("faults")
    if not len(faults["kind"]):
        return []
    known = {(f.start_s, f.actor, f.kind, f.detail): f for f in befallen(study)}
    rows = []
    for at_s, actor, kind, detail in zip(
        faults["time_s"][:MOST_ROWS].tolist(), faults["actor"], faults["kind"], faults["detail"], strict=False
    ):
        fault = known.get((at_s, str(actor), str(kind), str(detail)))
        touched = "–" if fault is None or fault.messages is None else units.count(fault.messages)
        rows.append((units.duration(at_s), str(actor), str(kind), str(detail), touched))
    heads = ("time", "actor", "fault", "detail", "messages touched")
    return [sheet(heads, rows, text=4, title="Faults", note=_more(faults["kind"]))]


def _more(column: Sized) -> str:
    return f"The first {MOST_ROWS} of {units.count(len(column))}." if len(column) > MOST_ROWS else ""


def costs(study: Study) -> list[Sheet]:
    """What the run cost on the machine that made it."""
    found = []
    run = study.run.columns("host_run")
    if len(run["phase"]):
        rows = [
            (str(phase), units.duration(wall_s), units.duration(cpu_s), units.text(peak, "B"))
            for phase, wall_s, cpu_s, peak in zip(
                run["phase"], run["wall_s"].tolist(), run["cpu_s"].tolist(), run["peak_rss_bytes"].tolist(), strict=True
            )
        ]
        found.append(
            sheet(
                ("phase", "by the clock", "processor", "memory, at most"),
                rows,
                title="By phase, in the process that ran the study",
            )
        )
    nodes = study.run.columns("host_nodes")
    if len(nodes["process"]):
        cells: list[tuple[str, ...]] = [
            (
                str(nodes["process"][i]),
                units.duration(float(nodes["cpu_s"][i])),
                units.text(float(nodes["peak_rss_bytes"][i]), "B"),
                units.text(float(nodes["frame_bytes_sent"][i]), "B"),
                units.text(float(nodes["heartbeat_bytes"][i]), "B"),
                units.count(nodes["handshakes"][i]),
                units.count(nodes["reconnections"][i]),
            )
            for i in range(min(len(nodes["process"]), MOST_ROWS))
        ]
        heads = (
            "process",
            "processor",
            "memory, at most",
            "frames sent",
            "signs of life",
            "handshakes",
            "reconnections",
        )
        found.append(sheet(heads, cells, title="By process", note=_more(nodes["process"])))
    overruns = _overruns(study)
    return [*found, overruns] if overruns is not None else found


def _overruns(study: Study) -> Sheet | None:
    """How often, and by how much, this machine was slower than the devices that it emulates; for real runs only."""
    if study.manifest.world != "real":
        return None
    rows = study.run.columns("host_overruns")
    jobs = study.run.codes("jobs", "function")
    cells = []
    for name in dict.fromkeys(rows["function"]):
        chosen = rows["function"] == name
        excess_s = (rows["measured_s"] - rows["modelled_s"])[chosen]
        done = int(np.sum(jobs[0] == jobs[1].index(name))) if name in jobs[1] else 0
        cells.append(
            (
                str(name),
                f"{units.count(chosen.sum())} of {units.count(done)}",
                units.duration(float(np.median(excess_s))),
                units.duration(float(excess_s.max())),
            )
        )
    heads = ("function", "overran", "too long by, median", "at most")
    note = "Jobs that this machine computed more slowly than the device that it stands for; times by the wall clock."
    if not cells:
        note = "This machine was never slower than a device that it stands for."
    return sheet(heads, cells, title="Overruns", note=note)


def rounds(study: Study) -> Sheet | None:
    """Every round in a row."""
    rows, curve = study.run.rounds(), study.curve
    if not len(rows["round"]):
        return None
    values = curve.error if study.is_regression else curve.accuracy
    score = dict(zip(curve.round.tolist(), values.tolist(), strict=True))
    counted = ("selected", "accepted", "late", "lost", "declined", "rejected")
    cells = [
        (
            str(number),
            units.duration(float(rows["started_s"][i])),
            units.duration(float(rows["ended_s"][i] - rows["started_s"][i])),
            *(str(rows[name][i]) for name in counted),
            units.number(float(rows["not_finite"][i])),
            _score(study, score.get(number, float("nan"))),
            f"{rows['outcome'][i]}{', all left out' if study.hollow[i] else ''}",
        )
        for i, number in enumerate(rows["round"].tolist())
    ]
    heads = ("round", "began", "length", *counted, "left out", study.score[0], "outcome")
    return sheet(heads, cells, text=0, note=f"Left out: accepted updates that were {LEFT_OUT}.")


def _score(study: Study, value: float) -> str:
    return units.number(value) if study.is_regression else units.percent(value, 2)
