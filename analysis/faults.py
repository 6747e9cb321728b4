"""The faults of a run: when each began and ended, and how many messages it touched."""

from __future__ import annotations

import bisect
import dataclasses
import itertools
from typing import Final

import numpy as np
import numpy.typing as npt

from analysis.study import Study

#: Events of a device that end a fault; all others are ended by their own name with `_end`.
ENDS: Final = {"link_down": "link_up", "crash": "restart", "battery_pulled": "restart"}
#: Faults that touch no messages.
_OF_DEVICES: Final = frozenset(("slow", "clock_skew", "disk_full"))
#: Faults of which every message that they touched has a row.
_OF_MESSAGES: Final = frozenset(("lost", "duplicated", "reordered", "partition"))


@dataclasses.dataclass(frozen=True)
class Befallen:
    """One fault of one actor. `messages` are those that it touched; None where it touches none, or nobody can tell.

    Lost, duplicated, reordered, partition: those whose fate it was. link_down: those of the actor that were on their
    way when the link came back. crash, battery_pulled: those that were lost because the device was off.
    """

    actor: str
    kind: str
    detail: str
    start_s: float
    #: The end of the run where it did not end before.
    end_s: float
    messages: int | None


def befallen(study: Study) -> list[Befallen]:
    """All faults that the scenario asked for, by time; failures inside actors are none."""
    rows = study.run.columns("faults")
    if not len(rows["kind"]):
        return []
    ends = _ends(study)
    touched = _Touched(study)
    found = []
    for at_s, actor, kind, detail in zip(
        rows["time_s"].tolist(), rows["actor"], rows["kind"], rows["detail"], strict=True
    ):
        if kind in ENDS or kind in _OF_DEVICES or kind in _OF_MESSAGES:
            times = ends.get((str(actor), ENDS.get(kind, f"{kind}_end")), [])
            place = bisect.bisect_left(times, at_s)
            end_s = times[place] if place < len(times) else max(study.duration_s, at_s)
            messages = touched.count(str(actor), str(kind), at_s, end_s)
            found.append(Befallen(str(actor), str(kind), str(detail), at_s, end_s, messages))
    return found


def _ends(study: Study) -> dict[tuple[str, str], list[float]]:
    """When faults ended, by actor and event, in order."""
    rows = study.run.columns("devices")
    events = rows["event"].astype(str)
    chosen = np.isin(events, [*ENDS.values()]) | np.char.endswith(events, "_end")
    found: dict[tuple[str, str], list[float]] = {}
    for actor, event, at_s in zip(
        rows["actor"][chosen], events[chosen].tolist(), rows["time_s"][chosen].tolist(), strict=True
    ):
        found.setdefault((str(actor), event), []).append(at_s)
    return {key: sorted(times) for key, times in found.items()}


class _Touched:
    """Counts messages by actor and time."""

    def __init__(self, study: Study) -> None:
        rows = study.run.columns("impaired")
        self._impaired: dict[tuple[str, str], list[float]] = {}
        for actor, fault, at_s in zip(rows["actor"], rows["fault"], rows["time_s"].tolist(), strict=True):
            self._impaired.setdefault((str(actor), str(fault)), []).append(at_s)
        lost = study.run.columns("undelivered")
        self._lost: dict[str, list[float]] = {}
        for sender, receiver, reason, at_s in zip(
            lost["sender"], lost["receiver"], lost["reason"], lost["time_s"].tolist(), strict=True
        ):
            if reason == "device":
                for actor in {str(sender), str(receiver)}:
                    self._lost.setdefault(actor, []).append(at_s)
        for times in (*self._impaired.values(), *self._lost.values()):
            times.sort()
        self._study = study
        self._of: dict[str, tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]] | None = None

    def count(self, actor: str, kind: str, start_s: float, end_s: float) -> int | None:
        if kind in _OF_MESSAGES:
            return _between(self._impaired.get((actor, kind), []), start_s, end_s)
        if kind == "link_down":
            sent_s, delivered_s = self._messages_of(actor)
            return int(np.count_nonzero((sent_s < end_s) & (delivered_s >= end_s)))
        return None if kind in _OF_DEVICES else _between(self._lost.get(actor, []), start_s, end_s)

    def _messages_of(self, actor: str) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """When the messages of an actor, both ways, were sent and delivered."""
        if self._of is None:
            faults = self._study.run.columns("faults")
            self._of = self._read(sorted({str(name) for name in faults["actor"][faults["kind"] == "link_down"]}))
        return self._of[actor]

    def _read(self, actors: list[str]) -> dict[str, tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]]:
        run = self._study.run
        sent_s, delivered_s = run.messages()["sent_s"], run.messages()["delivered_s"]
        sides = [run.positions("messages", side, actors) for side in ("sender", "receiver")]
        rows = np.concatenate([np.flatnonzero(side < len(actors)) for side in sides])
        whose = np.concatenate([side[side < len(actors)] for side in sides])
        order = np.argsort(whose, kind="stable")
        rows, bounds = rows[order], np.searchsorted(whose[order], np.arange(len(actors) + 1))
        own = (rows[begin:end] for begin, end in itertools.pairwise(bounds))
        return {actor: (sent_s[chosen], delivered_s[chosen]) for actor, chosen in zip(actors, own, strict=True)}


def _between(times: list[float], start_s: float, end_s: float) -> int:
    return bisect.bisect_right(times, end_s) - bisect.bisect_left(times, start_s)
