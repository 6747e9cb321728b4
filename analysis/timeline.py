"""Who did what when: the spans of each client's time and the marks of each round, from jobs, messages and decisions."""

from __future__ import annotations

import dataclasses
from typing import Final

import numpy as np
import numpy.typing as npt

from analysis.study import ENDS, Study

Floats = npt.NDArray[np.float64]
#: Transfers shorter than this share of what is shown cannot be seen.
_VISIBLE: Final = 1e-3
#: Kinds of fault that a device, its network or its surroundings suffer from while it goes on.
_HAMPERED: Final = ("slow", "lost", "duplicated", "reordered", "clock_skew", "disk_full")
#: Events of a device that begin and end a time without it or its network, or one in which it is hampered.
_SPELLS: Final = {
    "link_down": ("link_up", "down"),
    **dict.fromkeys(("crash", "battery_empty", "battery_pulled"), ("restart", "down")),
    "partition": ("partition_end", "cut off"),
    **{kind: (f"{kind}_end", "hampered") for kind in _HAMPERED},
}


@dataclasses.dataclass(frozen=True)
class Span:
    """What lasted. `kind`: computing, stopped (a computation that came to nothing), receiving, sending, down,
    cut off (by a partition), hampered (by another fault).
    """

    client: int
    kind: str
    start_s: float
    end_s: float


@dataclasses.dataclass(frozen=True)
class Mark:
    """A decision about a client at a time. `kind`: late, lost, declined, rejected."""

    client: int
    kind: str
    time_s: float


@dataclasses.dataclass(frozen=True)
class Timeline:
    """Spans and marks of `clients` (by their index) between two times."""

    start_s: float
    end_s: float
    rounds: tuple[int, ...]
    clients: tuple[str, ...]
    spans: list[Span]
    marks: list[Mark]
    #: For each round shown and client selected in it: from selection to the end of the round.
    selected: list[Span]


def window(study: Study, most: int) -> tuple[int, ...]:
    """Numbers of up to `most` rounds in a row to look at closely: where most went wrong, else the first."""
    rounds = study.run.rounds()
    numbers = rounds["round"].tolist()
    if len(numbers) <= most:
        return tuple(numbers)
    trouble = np.sum([rounds[end] for end in ENDS if end != "accepted"], axis=0, dtype=np.float64)
    sums = np.convolve(trouble, np.ones(most), mode="valid")
    first = int(np.argmax(sums))
    return tuple(numbers[first : first + most])


def asked(study: Study, numbers: tuple[int, ...]) -> list[str]:
    """The clients selected in the rounds `numbers`, those whose part did not end well first."""
    rows = study.run.columns("participation")
    inside = np.isin(rows["round"], numbers)
    events, names = rows["event"][inside], rows["client"][inside]
    chosen = set(names[events == "selected"])
    wrong = set(names[np.isin(events.astype(str), [end for end in ENDS if end != "accepted"])])
    return sorted((name for name in study.clients if name in chosen), key=lambda name: name not in wrong)


def timeline(study: Study, numbers: tuple[int, ...], clients: list[str] | None = None) -> Timeline:
    """Everything about some clients, or all, in the rounds `numbers`."""
    shown = study.clients if clients is None else clients
    rounds = study.run.rounds()
    chosen = np.isin(rounds["round"], numbers)
    start_s, end_s = float(rounds["started_s"][chosen].min()), float(rounds["ended_s"][chosen].max())
    index = {name: i for i, name in enumerate(shown)}
    spans = [*_transfers(study, index, start_s, end_s), *_jobs(study, index, start_s, end_s)]
    spans += _spells(study, index, start_s, end_s)
    marks, selected = _decisions(study, index, numbers)
    return Timeline(start_s, end_s, numbers, tuple(shown), spans, marks, selected)


def _jobs(study: Study, index: dict[str, int], start_s: float, end_s: float) -> list[Span]:
    rows = study.run.columns("jobs")
    inside = (rows["time_s"] > start_s) & (rows["started_s"] < end_s)
    return [
        Span(index[actor], "computing" if outcome == "done" else "stopped", max(began, start_s), min(ended, end_s))
        for actor, outcome, began, ended in zip(
            rows["actor"][inside],
            rows["outcome"][inside],
            rows["started_s"][inside].tolist(),
            rows["time_s"][inside].tolist(),
            strict=True,
        )
        if actor in index
    ]


def _transfers(study: Study, index: dict[str, int], start_s: float, end_s: float) -> list[Span]:
    rows = study.run.messages()
    sent_s, delivered_s = rows["sent_s"], rows["delivered_s"]
    inside = (delivered_s > start_s) & (sent_s < end_s)
    inside &= (delivered_s - sent_s) >= _VISIBLE * (end_s - start_s)
    shown = np.array([*(index.get(name, -1) for name in study.clients), -1])
    found = []
    for kind, side in (("receiving", "receiver"), ("sending", "sender")):
        places = shown[study.of_clients(side)[inside]]
        ours = places >= 0
        times = np.maximum(sent_s[inside][ours], start_s), np.minimum(delivered_s[inside][ours], end_s)
        found += [
            Span(client, kind, began_s, ended_s)
            for client, began_s, ended_s in zip(places[ours].tolist(), *(t.tolist() for t in times), strict=True)
        ]
    return found


def _spells(study: Study, index: dict[str, int], start_s: float, end_s: float) -> list[Span]:
    rows = study.run.columns("devices")
    began: dict[tuple[str, str], float] = {}
    found = []
    ends: dict[str, list[str]] = {}
    for start, (end, _) in _SPELLS.items():
        ends.setdefault(end, []).append(start)
    for actor, event, at_s in zip(rows["actor"], rows["event"], rows["time_s"].tolist(), strict=True):
        if actor not in index:
            continue
        if event in _SPELLS:
            began.setdefault((actor, event), at_s)
        for start in ends.get(event, ()):
            since = began.pop((actor, start), None)
            if since is not None:
                found.append(Span(index[actor], _SPELLS[start][1], since, at_s))
    found += [Span(index[actor], _SPELLS[event][1], since, end_s) for (actor, event), since in began.items()]
    return [
        dataclasses.replace(span, start_s=max(span.start_s, start_s), end_s=min(span.end_s, end_s))
        for span in found
        if span.end_s > start_s and span.start_s < end_s
    ]


def _decisions(study: Study, index: dict[str, int], numbers: tuple[int, ...]) -> tuple[list[Mark], list[Span]]:
    rounds, rows = study.run.rounds(), study.run.columns("participation")
    ended_s = dict(zip(rounds["round"].tolist(), rounds["ended_s"].tolist(), strict=True))
    inside = np.isin(rows["round"], numbers)
    marks, selected = [], []
    for number, client, event, at_s in zip(
        rows["round"][inside].tolist(),
        rows["client"][inside],
        rows["event"][inside],
        rows["time_s"][inside].tolist(),
        strict=True,
    ):
        if client not in index:
            continue
        if event == "selected":
            selected.append(Span(index[client], event, at_s, ended_s.get(number, at_s)))
        elif event in ENDS and event != "accepted" and at_s <= ended_s.get(number, at_s):
            marks.append(Mark(index[client], event, at_s))
    return marks, selected


def participation(study: Study) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int8], Floats]:
    """Round numbers, and by client and round: the end and the seconds from selection to it.

    Ends are indices in `ENDS`, -1 for who was not selected, -2 for who has no end.
    """
    rounds, rows = study.run.rounds(), study.run.columns("participation")
    numbers = rounds["round"]
    column = {number: i for i, number in enumerate(numbers.tolist())}
    row = {name: i for i, name in enumerate(study.clients)}
    ends = np.full((len(row), len(column)), -1, np.int8)
    seconds = np.full(ends.shape, np.nan)
    started_s = rounds["started_s"]
    for number, client, event, at_s in zip(
        rows["round"].tolist(), rows["client"], rows["event"], rows["time_s"].tolist(), strict=True
    ):
        at = column.get(number)
        if at is None:
            continue
        where = (row[client], at)
        if event == "selected":
            ends[where] = -2
        elif event in ENDS and ends[where] == -2:
            ends[where] = ENDS.index(event)
            seconds[where] = at_s - started_s[at]
    return numbers, ends, seconds
