"""Processor sharing of one link in virtual time: O(log flows) an event, nothing ticks.

All flows of a link get an equal share of its rate. Virtual time counts the bytes that every present flow has got
since the link was made, so a flow of S bytes that begins at virtual time v ends at v + S, whatever happens between;
only the translation to real time changes when flows begin or end or the rate changes. Exact for one shared link
(Kleinrock 1976, §4.4); the closed form of n flows and the insensitivity of M/G/1-PS are tests.
"""

from __future__ import annotations

from heapq import heapify, heappop, heappush
from math import inf
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from core.network import Curve
    from sim.engine import ActorEnvironment


class Flow(Protocol):
    """What moves through a link."""

    def leg_ended(self, link: SharedLink) -> None:
        """All its bytes have passed the link."""


class SharedLink:
    """One direction of an access link.

    A flow may use the link at a cost per byte other than 1: then the rate is what is shared, such as air time, and all
    flows still get bytes at the same pace.
    """

    __slots__ = (
        "_changed_s",
        "_entries",
        "_load",
        "_sequence",
        "_virtual_bytes",
        "env",
        "expected",
        "generation",
        "rate_bytes_per_s",
    )

    def __init__(self, env: ActorEnvironment, rate_bytes_per_s: float) -> None:
        if not 0 < rate_bytes_per_s < inf:
            raise ValueError(f"the rate of a link is positive and finite: {rate_bytes_per_s}")
        self.env = env
        self.rate_bytes_per_s = rate_bytes_per_s
        self.generation = 0
        #: Flows that are about to begin.
        self.expected = 0
        self._entries: list[tuple[float, int, float, float, Flow]] = []
        #: Sum of the present flows' costs.
        self._load = 0.0
        self._sequence = 0
        self._virtual_bytes = 0.0
        self._changed_s = env._now

    def __len__(self) -> int:
        return len(self._entries)

    def _settle(self) -> None:
        now = self.env._now
        if self._entries:
            self._virtual_bytes += (now - self._changed_s) * self.rate_bytes_per_s / self._load
        self._changed_s = now

    def _forget(self) -> None:
        if self._entries and self.rate_bytes_per_s > 0:
            self.generation += 1
            self.env.forget_timer()

    def _arm(self) -> None:
        if self._entries and self.rate_bytes_per_s > 0:
            left = max(self._entries[0][0] - self._virtual_bytes, 0.0)
            at = self.env._now + left * self._load / self.rate_bytes_per_s
            self.env.set_timer(at, self, self.generation)

    def begin(self, flow: Flow, size_bytes: float, cost: float = 1.0) -> None:
        """Let a flow of `size_bytes` join."""
        self._forget()
        self._settle()
        if not self._entries:
            # An idle link starts its count afresh, so that the resolution of floats never wears out.
            self._virtual_bytes = 0.0
            self._load = 0.0
        self._sequence += 1
        self._load += cost
        heappush(self._entries, (self._virtual_bytes + size_bytes, self._sequence, size_bytes, cost, flow))
        self._arm()

    def fire(self) -> None:
        """The flow with the least left has ended."""
        self.generation += 1
        self._settle()
        end, _, _, cost, flow = heappop(self._entries)
        self._load -= cost
        # The timer was solved for this very end: take it, so that rounding cannot leave a rest behind.
        self._virtual_bytes = end
        self._arm()
        flow.leg_ended(self)

    def abort(self, flow: Flow) -> float | None:
        """Take a flow out before its end; the bytes that had passed (None if it was not here)."""
        for at, (end, _, size, cost, present) in enumerate(self._entries):
            if present is flow:
                self._forget()
                self._settle()
                del self._entries[at]
                heapify(self._entries)
                self._load -= cost
                self._arm()
                return min(max(size - (end - self._virtual_bytes), 0.0), size)
        return None

    def release(self) -> list[tuple[Flow, float]]:
        """Take all flows out, in the order in which they began; each with the bytes that it has left."""
        self._forget()
        self._settle()
        found = [
            (flow, max(end - self._virtual_bytes, 0.0))
            for end, _, _, _, flow in sorted(self._entries, key=lambda entry: entry[1])
        ]
        self._entries.clear()
        return found

    def set_rate(self, rate_bytes_per_s: float) -> None:
        """Change the rate from now on; 0 stops all flows where they are."""
        self._forget()
        self._settle()
        self.rate_bytes_per_s = rate_bytes_per_s
        self._arm()

    @property
    def flows(self) -> list[Flow]:
        """The flows in it, in the order in which they began."""
        return [entry[4] for entry in sorted(self._entries, key=lambda entry: entry[1])]


class CurveLink(SharedLink):
    """A link whose rate changes in steps: ends are found by the inverse of the curve's integral, and nothing ticks."""

    __slots__ = ("_passed", "curve")

    def __init__(self, env: ActorEnvironment, curve: Curve) -> None:
        # The inherited rate says only whether the link is stopped.
        super().__init__(env, 1.0)
        self.curve = curve
        self._passed = curve.passed(env._now)

    def _settle(self) -> None:
        now = self.env._now
        self.curve.forget(now)
        passed = self.curve.passed(now)
        if self._entries and self.rate_bytes_per_s > 0:
            self._virtual_bytes += (passed - self._passed) / self._load
        self._passed = passed
        self._changed_s = now

    def _arm(self) -> None:
        if self._entries and self.rate_bytes_per_s > 0:
            left = max(self._entries[0][0] - self._virtual_bytes, 0.0)
            at = self.curve.time_after(self.env._now, left * self._load)
            self.env.set_timer(at, self, self.generation)
