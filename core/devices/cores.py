"""Devices that share a host: the cores of one machine, which all that runs on it share.

Of k claims to c cores each gets min(1, c/k) of a core: processor sharing with at most one core a claim, which is what a
fair scheduler does with threads of equal weight (Kleinrock 1976, §4.4, for one core). Virtual time counts the core
seconds that every claim present has got, so one of S seconds that begins at virtual time v ends at v + S, whatever
comes and goes meanwhile: O(log claims) an event, nothing ticks. Deviation: switching from one claim to another costs
nothing but what `job_s` and `message_s` have of it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from heapq import heappop, heappush
from typing import Protocol


@dataclass(frozen=True)
class Host:
    """A machine that devices share. Raises `ValueError` for values that no machine can have.

    `cores` may be a fraction (a container's quota). Beside its work a job takes `job_s` of a core, and a message
    `message_s + byte_s * size` at each of its ends that is here.
    """

    name: str
    cores: float
    job_s: float = 0.0
    message_s: float = 0.0
    byte_s: float = 0.0

    def __post_init__(self) -> None:
        if not 0.0 < self.cores < math.inf:
            raise ValueError(f"host {self.name!r}: cores is {self.cores!r}; more than 0 is needed")
        for name in ("job_s", "message_s", "byte_s"):
            if not 0.0 <= getattr(self, name) < math.inf:
                raise ValueError(f"host {self.name!r}: {name} is {getattr(self, name)!r}; at least 0 is needed")

    def message_work_s(self, size_bytes: int) -> float:
        """Core seconds that one end of a message takes."""
        return self.message_s + self.byte_s * size_bytes


class Owner(Protocol):
    """Who has claimed a core."""

    def served(self) -> None:
        """The claim has got all that it asked for."""


class Claim:
    """So many seconds of a core, asked for by an owner."""

    __slots__ = ("end_s", "owner", "present")

    def __init__(self, end_s: float, owner: Owner) -> None:
        #: Virtual time at which it has got all.
        self.end_s = end_s
        self.owner = owner
        self.present = True


class Cores:
    """The cores of a host and the claims to them; a driver calls `finish` at `next_s`."""

    __slots__ = ("_changed_s", "_claims", "_sequence", "_virtual_s", "count", "host")

    def __init__(self, host: Host, now: float = 0.0) -> None:
        self.host = host
        #: Claims that are present.
        self.count = 0
        self._claims: list[tuple[float, int, Claim]] = []
        self._sequence = 0
        self._virtual_s = 0.0
        self._changed_s = now

    @property
    def rate(self) -> float:
        """Core seconds a second that each claim gets."""
        return min(1.0, self.host.cores / self.count) if self.count else 0.0

    def virtual_s(self, now: float) -> float:
        """Core seconds that a claim has got which is present since virtual time 0; changes nothing."""
        return self._virtual_s + (now - self._changed_s) * self.rate

    def begin(self, now: float, seconds: float, owner: Owner) -> Claim:
        """Ask for `seconds` of a core at full speed."""
        self._settle(now)
        if not self.count:
            # An idle host starts its count afresh, so that the resolution of floats never wears out.
            self._virtual_s = 0.0
            self._claims.clear()
        claim = Claim(self._virtual_s + seconds, owner)
        self._sequence += 1
        self.count += 1
        heappush(self._claims, (claim.end_s, self._sequence, claim))
        return claim

    def withdraw(self, now: float, claim: Claim) -> float:
        """Give a claim up; the seconds that it had left."""
        self._settle(now)
        claim.present = False
        self.count -= 1
        return max(claim.end_s - self._virtual_s, 0.0)

    def next_s(self) -> float:
        """When the next claim will have got all, if nothing comes or goes; inf without any."""
        first = self._first()
        if first is None:
            return math.inf
        return self._changed_s + max(first.end_s - self._virtual_s, 0.0) / self.rate

    def finish(self, now: float) -> Owner:
        """Take out the claim that has got all; its owner, who is still to be told. Raises `LookupError` without any."""
        first = self._first()
        if first is None:
            raise LookupError(f"nothing runs on host {self.host.name!r}")
        self._settle(now)
        # `next_s` was solved for this very end: take it, so that rounding cannot leave a rest behind.
        self._virtual_s = first.end_s
        heappop(self._claims)
        first.present = False
        self.count -= 1
        return first.owner

    def _first(self) -> Claim | None:
        claims = self._claims
        while claims and not claims[0][2].present:
            heappop(claims)
        return claims[0][2] if claims else None

    def _settle(self, now: float) -> None:
        self._virtual_s = self.virtual_s(now)
        self._changed_s = now
