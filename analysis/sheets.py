"""The tables of a report: cells as text, ready for a page."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence, Sized
from typing import Final

import numpy as np

from analysis import units
from analysis.study import LEFT_OUT, Study

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
    """What had been spent when an accuracy was first reached."""
    reference = study.manifest.reference
    rows = []
    for level in study.reached:
        name = units.percent(level.accuracy)
        if reference is not None and level.accuracy == reference.accuracy:
            name += " (the reference's)"
        spent = (units.duration(level.time_s), units.text(level.size_bytes, "B"), units.text(level.joules, "J"))
        rows.append((name, str(level.round), *spent))
    if not rows:
        return None
    note = "When a model first had this accuracy; bytes delivered and energy drawn by the clients until then."
    return sheet(("accuracy", "round", "time", "bytes", "energy"), rows, note=note)


def traffic(study: Study) -> Sheet | None:
    """Messages, bytes and delays by type."""
    codes, names = study.run.codes("messages", "type")
    if not len(codes):
        return None
    rows = study.run.messages()
    delay_s = rows["delivered_s"] - rows["sent_s"]
    counts = np.bincount(codes, minlength=len(names))
    sizes = np.bincount(codes, weights=rows["size_bytes"], minlength=len(names))
    order = [int(i) for i in np.argsort(-sizes, kind="stable") if counts[i]]
    cells = [
        (
            names[i],
            units.count(counts[i]),
            units.text(float(sizes[i]), "B"),
            units.text(float(sizes[i] / counts[i]), "B"),
            units.duration(float(np.median(delay_s[codes == i]))),
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
    """Faults one by one, undelivered messages by kind and reason."""
    found = []
    faults = study.run.columns("faults")
    if len(faults["kind"]):
        rows = [
            (units.duration(at_s), str(actor), str(kind), str(detail))
            for at_s, actor, kind, detail in zip(
                faults["time_s"][:MOST_ROWS].tolist(), faults["actor"], faults["kind"], faults["detail"], strict=False
            )
        ]
        found.append(
            sheet(("time", "actor", "fault", "detail"), rows, text=4, title="Faults", note=_more(faults["kind"]))
        )
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
    accuracy = dict(zip(curve.round.tolist(), curve.accuracy.tolist(), strict=True))
    counted = ("selected", "accepted", "late", "lost", "declined", "rejected")
    cells = [
        (
            str(number),
            units.duration(float(rows["started_s"][i])),
            units.duration(float(rows["ended_s"][i] - rows["started_s"][i])),
            *(str(rows[name][i]) for name in counted),
            units.number(float(rows["not_finite"][i])),
            units.percent(accuracy.get(number, float("nan")), 2),
            f"{rows['outcome'][i]}{', all left out' if study.hollow[i] else ''}",
        )
        for i, number in enumerate(rows["round"].tolist())
    ]
    heads = ("round", "began", "length", *counted, "left out", "accuracy", "outcome")
    return sheet(heads, cells, text=0, note=f"Left out: accepted updates that were {LEFT_OUT}.")
