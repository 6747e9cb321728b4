"""The faults of a run: when each began and ended, and how many messages it touched."""

from __future__ import annotations

import bisect
import dataclasses
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
            self._of = {}
            rows = self._study.run.messages()
            for side in ("sender", "receiver"):
                codes, names = self._study.run.codes("messages", side)
                order = np.argsort(codes, kind="stable")
                bounds = np.searchsorted(codes[order], np.arange(len(names) + 1))
                for code, name in enumerate(names):
                    chosen = order[bounds[code] : bounds[code + 1]]
                    own = (rows["sent_s"][chosen], rows["delivered_s"][chosen])
                    known = self._of.get(name, (np.empty(0), np.empty(0)))
                    self._of[name] = (np.concatenate([known[0], own[0]]), np.concatenate([known[1], own[1]]))
        return self._of.get(actor, (np.empty(0), np.empty(0)))


def _between(times: list[float], start_s: float, end_s: float) -> int:
    return bisect.bisect_right(times, end_s) - bisect.bisect_left(times, start_s)
