"""What faults do to messages and clocks, as state machines without I/O that both worlds drive.

TCP and the runtime's links deliver once and in order; these faults break that on purpose, above them, where a proxy
or a faulty gateway would (as in the fault injectors of Jepsen and Toxiproxy). Every draw is a function of (seed,
target, kind, counter), with one counter for each way, peer and type of message: these arrive in order in both worlds,
so that the same messages are touched in both.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any, Final

from core.deployment import ClockSkew, Fault, MessageFault, Partition, Slowdown
from core.rng import uniform
from core.wire import Message, stream_of

#: Ways of a message through a link.
OUT: Final = "out"
IN: Final = "in"


@dataclasses.dataclass(eq=False, slots=True)
class Kept:
    """A reordered message, and what it still waits for. `item` is what the world needs to let it pass."""

    item: Any
    copies: int
    delay_s: float
    #: Later messages that are to pass before it; None: it waits for the delay alone.
    behind: int | None
    way: tuple[str, str, int]


@dataclasses.dataclass(slots=True)
class Fate:
    """What becomes of a message at a link: `passing` are to pass now, in this order; `kept` after its delay at most."""

    passing: list[Any] = dataclasses.field(default_factory=list)
    kept: Kept | None = None
    #: What was done to it: lost, duplicated, reordered.
    effects: list[str] = dataclasses.field(default_factory=list)


class MessageFaults:
    """The faults of messages on the link of one actor."""

    __slots__ = ("_counters", "_in_force", "_kept", "_name", "_seed")

    def __init__(self, seed: int, name: str) -> None:
        self._seed = seed
        self._name = name
        self._in_force: dict[str, list[MessageFault]] = {"lost": [], "duplicated": [], "reordered": []}
        self._counters: dict[tuple[str, str, str, str], int] = {}
        #: Messages that wait, by way, peer and stream, in the order in which they came.
        self._kept: dict[tuple[str, str, int], list[Kept]] = {}

    def begin(self, fault: MessageFault) -> None:
        """A fault is in force from now on."""
        self._in_force[fault.kind].append(fault)

    def end(self, fault: MessageFault) -> None:
        """It is over; what it keeps back still waits for its turn."""
        self._in_force[fault.kind].remove(fault)

    def offer(self, way: str, peer: str, message: Message, item: Any) -> Fate:
        """A message is to pass the link, from or to `peer`; first it may be lost, then doubled, then kept back."""
        kind = type(message).__name__
        fate = Fate()
        if self._strikes("lost", way, peer, kind) is not None:
            fate.effects.append("lost")
            return fate
        copies = 1
        if self._strikes("duplicated", way, peer, kind) is not None:
            fate.effects.append("duplicated")
            copies = 2
        path = (way, peer, stream_of(type(message)))
        fault = self._strikes("reordered", way, peer, kind)
        if fault is not None:
            fate.effects.append("reordered")
            fate.kept = Kept(item, copies, fault.delay_s, fault.behind, path)
            self._kept.setdefault(path, []).append(fate.kept)
            return fate
        fate.passing = [item] * copies
        for kept in list(self._kept.get(path, ())):
            if kept.behind is not None:
                kept.behind -= 1
                if kept.behind <= 0:
                    fate.passing += self.release(kept)
        return fate

    def release(self, kept: Kept) -> list[Any]:
        """A kept message has waited long enough: what is to pass, nothing if it has passed already."""
        waiting = self._kept.get(kept.way, [])
        if kept not in waiting:
            return []
        waiting.remove(kept)
        return [kept.item] * kept.copies

    def release_all(self, way: str) -> list[Any]:
        """Let go of all that is kept on one way, in order."""
        found = [kept for path, waiting in self._kept.items() if path[0] == way for kept in waiting]
        return [item for kept in found for item in self.release(kept)]

    def _strikes(self, fault: str, way: str, peer: str, kind: str) -> MessageFault | None:
        """The first fault of a kind that strikes a message; every one in force draws until one does."""
        for found in self._about(fault, kind):
            place = (fault, way, peer, kind)
            number = self._counters[place] = self._counters.get(place, 0) + 1
            if uniform(self._seed, self._name, f"faults.{fault}", way, peer, kind, number) < found.probability:
                return found
        return None

    def _about(self, fault: str, kind: str) -> Iterator[MessageFault]:
        return (found for found in self._in_force[fault] if not found.messages or kind in found.messages)


class ActorClock:
    """The clock that an actor sees.

    While several skews are in force, their offsets add up and their rates multiply; when one ends, its offset is taken
    back and the rest of its drift stops, and when the last one ends, the clock is right again.
    """

    __slots__ = ("_ahead_s", "_in_force", "_since_s", "rate")

    def __init__(self) -> None:
        self._in_force: list[ClockSkew] = []
        self._ahead_s = 0.0
        self._since_s = 0.0
        #: Seconds of this clock for a true second.
        self.rate = 1.0

    def begin(self, fault: ClockSkew, true_s: float) -> None:
        """A skew is in force from now on."""
        self._change([*self._in_force, fault], fault.offset_s, true_s)

    def end(self, fault: ClockSkew, true_s: float) -> None:
        """It is over."""
        rest = list(self._in_force)
        rest.remove(fault)
        self._change(rest, -fault.offset_s, true_s)

    def _change(self, in_force: list[ClockSkew], step_s: float, true_s: float) -> None:
        ahead_s = self.reading(true_s) - true_s + step_s
        self._in_force = in_force
        self._ahead_s = ahead_s if in_force else 0.0
        self._since_s = true_s
        self.rate = 1.0
        for fault in in_force:
            self.rate *= 1.0 + fault.drift

    def reading(self, true_s: float) -> float:
        """What it shows at a true time, s."""
        return true_s + (self._ahead_s + (self.rate - 1.0) * (true_s - self._since_s))

    def true(self, seconds: float) -> float:
        """True seconds that so many seconds of this clock last, at its present rate."""
        return seconds / self.rate


def described(fault: Fault, name: str) -> str:
    """What stands in the records about a fault that befalls an actor."""
    parts: list[str] = []
    match fault:
        case MessageFault():
            kept = f", {_waiting(fault)}" if fault.kind == "reordered" else ""
            parts.append(f"{100 * fault.probability:g} % of {', '.join(fault.messages) or 'all messages'}{kept}")
        case Slowdown():
            parts.append(f"at {fault.speed:g} of its speed")
        case ClockSkew():
            parts.append(f"{fault.offset_s:+g} s, {fault.drift:+g} s a second")
        case Partition():
            parts.append(f"set {fault.side[name] + 1} of {len(fault.sets)}")
    if fault.after_messages is not None:
        parts.append(f"after {fault.after_messages} messages")
    if fault.duration_s is not None:
        parts.append(f"for {fault.duration_s:g} s")
    return "; ".join(parts)


def _waiting(fault: MessageFault) -> str:
    behind = "" if fault.behind is None else f"behind {fault.behind} or "
    return f"{behind}{fault.delay_s:g} s"
