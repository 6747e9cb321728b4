"""Max-min fair flows over paths of several links: one solve an instant, for each connected part that has changed.

Flows and links that share nothing do not disturb each other: only the part of a graph of flows and links that a
start, an end or a changed rate reaches is solved again (`core.network.fairness`). A part that is one link without
caps is processor sharing, which virtual time solves in O(log flows) an event (`sim.network.sharing`); it goes over to
the solver when a flow joins it that other links or a cap may limit, and comes back when such flows have gone.
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING, Protocol

from core.network.fairness import max_min_rates
from sim.network.sharing import CurveLink, SharedLink

if TYPE_CHECKING:
    from core.network import Curve
    from sim.engine import ActorEnvironment


class Passenger(Protocol):
    """Who is told that its bytes have passed."""

    def passed_all(self) -> None:
        """All bytes have passed the path."""


class FairLink:
    """One resource: a direction of a link, or the air of a radio."""

    __slots__ = ("curve", "expected", "flows", "foreign", "queue")

    def __init__(self, network: FairNetwork, curve: Curve, foreign: Curve | None = None) -> None:
        self.curve = curve
        #: How many greedy foreign flows there are, over time.
        self.foreign = foreign
        #: Flows that the solver rates; a dict for its order.
        self.flows: dict[FairFlow, None] = {}
        #: Flows in virtual time, while nothing else limits them.
        self.queue = CurveLink(network.env, curve)
        #: Flows that are about to begin.
        self.expected = 0

    def __len__(self) -> int:
        return len(self.flows) + len(self.queue)


class FairFlow:
    """Bytes on a path. `uses` are its links, each with the cost of a byte; an empty path needs a finite cap."""

    __slots__ = (
        "cap",
        "ended",
        "left_bytes",
        "network",
        "part",
        "passenger",
        "rate",
        "settled_s",
        "size_bytes",
        "uses",
    )

    def __init__(
        self,
        network: FairNetwork,
        passenger: Passenger,
        size_bytes: float,
        uses: tuple[tuple[FairLink, float], ...],
        cap: float = inf,
    ) -> None:
        if not uses and not cap < inf:
            raise ValueError("a flow without links has a cap")
        self.network = network
        self.passenger = passenger
        self.size_bytes = size_bytes
        self.left_bytes = float(size_bytes)
        self.uses = uses
        self.cap = cap
        self.rate = 0.0
        self.settled_s = network.env._now
        self.part: Part | None = None
        self.ended = False

    @property
    def lone(self) -> bool:
        """Whether one link alone can limit it."""
        return len(self.uses) == 1 and self.cap == inf and self.uses[0][0].foreign is None

    def settle(self, now_s: float) -> None:
        """Count what has passed until now."""
        self.left_bytes = max(self.left_bytes - self.rate * (now_s - self.settled_s), 0.0)
        self.settled_s = now_s

    def leg_ended(self, link: SharedLink) -> None:
        """Virtual time has brought it to its end."""
        self.left_bytes = 0.0
        self.ended = True
        self.passenger.passed_all()


class Part:
    """Flows that share links with each other and no other flow; it fires at its next end or change of a rate."""

    __slots__ = ("armed", "flows", "generation", "network")

    def __init__(self, network: FairNetwork, flows: list[FairFlow]) -> None:
        self.network = network
        self.flows = flows
        self.generation = 0
        self.armed = False

    def arm(self, at_s: float) -> None:
        if at_s < inf:
            self.armed = True
            self.network.env.set_timer(at_s, self, self.generation)

    def dissolve(self) -> None:
        """Its flows are rated anew."""
        self.generation += 1
        if self.armed:
            self.armed = False
            self.network.env.forget_timer()

    def fire(self) -> None:
        self.armed = False
        self.network.advance(self)


class FairNetwork:
    """All flows of a network; see the module."""

    def __init__(self, env: ActorEnvironment) -> None:
        self.env = env
        self.generation = 0
        self._waiting = False
        #: Flows whose part has changed; a dict for its order.
        self._dirty: dict[FairFlow, None] = {}

    def begin(self, flow: FairFlow) -> None:
        """Let a flow start to move."""
        flow.settled_s = self.env._now
        if flow.lone:
            link, cost = flow.uses[0]
            if not link.flows:
                link.queue.begin(flow, flow.left_bytes, cost)
                return
        self._join(flow)

    def _join(self, flow: FairFlow) -> None:
        for link, _ in flow.uses:
            self._to_solver(link)
            link.flows[flow] = None
        self.changed(flow)

    def _to_solver(self, link: FairLink) -> None:
        """What moved in virtual time is rated by the solver from now on."""
        if len(link.queue):
            for other, left_bytes in link.queue.release():
                assert isinstance(other, FairFlow)
                other.left_bytes = left_bytes
                other.rate = 0.0
                other.settled_s = self.env._now
                link.flows[other] = None
                self.changed(other)

    def abort(self, flow: FairFlow) -> float | None:
        """Take a flow out before its end; the bytes that had passed (None if it has ended)."""
        if flow.ended:
            return None
        flow.ended = True
        if flow.lone:
            passed = flow.uses[0][0].queue.abort(flow)
            if passed is not None:
                return flow.size_bytes - flow.left_bytes + passed
        flow.settle(self.env._now)
        self._take_out(flow)
        return flow.size_bytes - flow.left_bytes

    def _take_out(self, flow: FairFlow) -> None:
        """Those that it shared a link with are rated anew."""
        self._dirty.pop(flow, None)
        for link, _ in flow.uses:
            link.flows.pop(flow, None)
        if flow.part is not None:
            part, flow.part = flow.part, None
            part.dissolve()
            part.flows.remove(flow)
            for other in part.flows:
                self.changed(other)

    def changed(self, flow: FairFlow) -> None:
        """The part of a flow is to be solved again at the end of this instant."""
        self._dirty[flow] = None
        if not self._waiting:
            self._waiting = True
            self.env.set_timer(self.env._now, self, self.generation)

    def fire(self) -> None:
        """Solve all parts that have changed."""
        self.generation += 1
        self._waiting = False
        dirty, self._dirty = self._dirty, {}
        reached: set[FairFlow] = set()
        for flow in dirty:
            if flow not in reached and not flow.ended:
                self._solve(_connected(flow, reached))

    def _solve(self, flows: list[FairFlow]) -> None:
        now = self.env._now
        for flow in flows:
            if flow.part is not None:
                flow.part.dissolve()
            flow.settle(now)
        links = list(dict.fromkeys(link for flow in flows for link, _ in flow.uses))
        if len(links) == 1 and all(flow.lone for flow in flows):
            self._to_queue(links[0], flows)
            return
        places = {link: place for place, link in enumerate(links)}
        capacities = [link.curve.rate(now) for link in links]
        uses = [[(places[link], cost) for link, cost in flow.uses] for flow in flows]
        caps = [flow.cap for flow in flows]
        for place, link in enumerate(links):
            if link.foreign is not None:
                count = int(link.foreign.rate(now))
                uses += [[(place, 1.0)]] * count
                caps += [inf] * count
        next_s = inf
        part = Part(self, flows)
        for flow, rate in zip(flows, max_min_rates(capacities, uses, caps), strict=False):
            flow.rate = rate
            flow.part = part
            if rate > 0.0:
                next_s = min(next_s, now + flow.left_bytes / rate)
        for link in links:
            link.curve.forget(now)
            next_s = min(next_s, link.curve.next_change_s(now))
            if link.foreign is not None:
                next_s = min(next_s, link.foreign.next_change_s(now))
        part.arm(next_s)

    def _to_queue(self, link: FairLink, flows: list[FairFlow]) -> None:
        link.flows.clear()
        for flow in flows:
            flow.part = None
            # What has passed so far is in `left_bytes`, what passes in the queue only there.
            link.queue.begin(flow, flow.left_bytes, flow.uses[0][1])

    def advance(self, part: Part) -> None:
        """A part's next end or change of a rate has come."""
        now = self.env._now
        ends: list[FairFlow] = []
        for flow in part.flows:
            # The timer was solved for the least of these very sums: rounding cannot leave a rest behind.
            if flow.rate > 0.0 and flow.settled_s + flow.left_bytes / flow.rate <= now:
                ends.append(flow)
        if not ends:
            for flow in part.flows:
                self.changed(flow)
            return
        part.dissolve()
        for flow in ends:
            flow.ended = True
            flow.left_bytes = 0.0
            flow.part = None
            self._dirty.pop(flow, None)
            for link, _ in flow.uses:
                del link.flows[flow]
        part.flows = [flow for flow in part.flows if not flow.ended]
        for flow in part.flows:
            self.changed(flow)
        for flow in ends:
            flow.passenger.passed_all()


def _connected(flow: FairFlow, reached: set[FairFlow]) -> list[FairFlow]:
    """All flows that share links with this one, directly or not; they are added to `reached`."""
    found = [flow]
    reached.add(flow)
    seen: set[FairLink] = set()
    for present in found:
        for link, _ in present.uses:
            if link not in seen:
                seen.add(link)
                for other in link.flows:
                    if other not in reached:
                        reached.add(other)
                        found.append(other)
    return found
