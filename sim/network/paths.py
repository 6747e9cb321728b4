"""Paths between nodes where the network is more than a star of steady links: what they cost, and what shares them.

One `Paths` belongs to a world. It outlives the rest of actors, so that no result depends on who rests: open
connections, jitter and the curves of links are kept here by the names of actors.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Callable
from itertools import chain, pairwise, permutations
from typing import TYPE_CHECKING, Final, cast

from core import rng
from core.links import Link
from core.network import Background, Cell, Curve, Edge, JitterState, Transport, WiFi
from core.network.curves import constant
from core.network.topology import loss_of
from core.network.transport import Course, connect_s, course, packet_s
from core.network.variation import Outages
from core.network.windows import Connection
from sim.network.fair import FairLink, FairNetwork

if TYPE_CHECKING:
    from core.deployment import Deployment, Placement
    from sim.engine import ActorEnvironment
    from sim.network.routed import RoutedNode
    from sim.node import Node

CONTROL, BULK = 0, 1
#: Sites with devices whose routes are all looked at before a run.
MOST_ROUTED: Final = 200


class HandOver:
    """The time at which a device changes its link."""

    __slots__ = ("_name", "_paths", "generation")

    def __init__(self, paths: Paths, name: str, at_s: float) -> None:
        self._paths = paths
        self._name = name
        self.generation = 0
        paths.env.set_timer(at_s, self, 0)

    def fire(self) -> None:
        self.generation += 1
        self._paths.hand_over(self._name)


class Pair:
    """What two nodes have in common: jitter, a relay, open connections."""

    __slots__ = ("connections", "jitter", "relayed")

    def __init__(self, jitter: JitterState | None, relayed: bool) -> None:
        self.jitter = jitter
        self.relayed = relayed
        #: Of each stream, the lives of the two devices in which its connection was opened.
        self.connections: dict[int, tuple[int, ...]] = {}


class Outgoing:
    """The sending end of one stream's connection: its window, since when it rests, and what it has carried so far."""

    __slots__ = ("connection", "idle_since_s", "lives", "messages")

    def __init__(self) -> None:
        self.connection = Connection()
        #: The lives of the two devices in which it was opened.
        self.lives: tuple[int, ...] | None = None
        self.idle_since_s = 0.0
        self.messages = 0


class Way:
    """One node's way to another."""

    __slots__ = (
        "arrived_s",
        "back_s",
        "edges",
        "loss",
        "outgoing",
        "pair",
        "receiver",
        "relay_bytes_per_s",
        "sender",
        "there_s",
    )

    def __init__(self, paths: Paths, sender: RoutedNode, receiver: RoutedNode) -> None:
        deployment = paths.deployment
        a, b = sender.placement.region, receiver.placement.region
        self.sender = sender.name
        self.receiver = receiver.name
        self.pair = paths.pair(sender, receiver)
        relay = deployment.network.relay
        stops = [a, b] if relay is None or not self.pair.relayed else [a, relay.region, b]
        legs = list(pairwise(stops))
        self.relay_bytes_per_s = relay.rate_bytes_per_s if relay is not None and self.pair.relayed else math.inf
        self.there_s = sum(deployment.delay_s(x, y) for x, y in legs)
        self.back_s = sum(deployment.delay_s(y, x) for x, y in legs)
        topology = deployment.network.topology
        routes = [] if topology is None else [topology.route(x, y) for x, y in legs]
        #: The edges of a topology on the way, each with the site where it is entered.
        self.edges: tuple[tuple[str, Edge], ...] = tuple(chain.from_iterable(routes))
        self.loss = loss_of(edge.loss for _, edge in self.edges)
        #: When the last message of each stream arrives: none overtakes another.
        self.arrived_s = [0.0, 0.0]
        #: Of each stream that was used, the sending end of its connection.
        self.outgoing: dict[int, Outgoing] = {}


class Paths:
    """The ways of a world."""

    def __init__(self, env: ActorEnvironment, deployment: Deployment, find: Callable[[str], Node | None]) -> None:
        self.env = env
        self._find = find
        self.deployment = deployment
        self.network = deployment.network
        self.seed = deployment.seed
        #: Whether bulk is shared by max-min fairness over paths.
        self.fair = self.network.sharing == "max_min" or self.network.topology is not None
        self.flows = FairNetwork(env)
        self._pairs: dict[tuple[str, str], Pair] = {}
        self._ways: dict[tuple[str, str], Way] = {}
        self._curves: dict[tuple[str, str], Curve] = {}
        self._links: dict[tuple[str, ...], FairLink] = {}
        self._handed_over: dict[str, int] = {}
        self._transports: dict[str, Transport] = {}
        self._demand = Demand(deployment)

    # Ways.

    def pair(self, a: RoutedNode, b: RoutedNode) -> Pair:
        """What two nodes have in common, whoever asks first."""
        key = (min(a.name, b.name), max(a.name, b.name))
        found = self._pairs.get(key)
        if found is None:
            jitter, relay = self.network.jitter, self.network.relay
            translated = a.placement.link.translated and b.placement.link.translated
            found = self._pairs[key] = Pair(
                None if jitter is None else JitterState(jitter, self.seed, *key),
                relay is not None and translated and relay.needed(self.seed, *key),
            )
        return found

    def way(self, sender: RoutedNode, receiver: RoutedNode) -> Way:
        """The way from one node to another."""
        key = (sender.name, receiver.name)
        found = self._ways.get(key)
        if found is None:
            found = self._ways[key] = Way(self, sender, receiver)
        return found

    def one_way_s(self, way: Way, sender: RoutedNode, receiver: RoutedNode) -> float:
        """The delay from the sender to the receiver at present, access links included."""
        now = self.env._now
        delay_s = sender.link_at(now).latency_s + way.there_s + receiver.link_at(now).latency_s
        return delay_s if way.pair.jitter is None else delay_s * way.pair.jitter.factor(now)

    def rtt_s(self, way: Way, sender: RoutedNode, receiver: RoutedNode) -> float:
        """The round trip at present."""
        now = self.env._now
        rtt_s = 2 * (sender.link_at(now).latency_s + receiver.link_at(now).latency_s) + way.there_s + way.back_s
        return rtt_s if way.pair.jitter is None else rtt_s * way.pair.jitter.factor(now)

    # Transport.

    def transport(self, sender: RoutedNode) -> Transport:
        """The transport of what a node sends."""
        control = sender.link_at(self.env._now).control
        if control is None:
            return self.network.transport
        found = self._transports.get(control)
        if found is None:
            found = self._transports[control] = dataclasses.replace(self.network.transport, control=control)
        return found

    def connect_s(self, transport: Transport, way: Way, stream: int, sender: RoutedNode, receiver: RoutedNode) -> float:
        """Time until the connection of a stream carries data: nothing if it is open. It is open from now on."""
        if transport.ideal:
            return 0.0
        lives = (sender.life, receiver.life) if sender.name < receiver.name else (receiver.life, sender.life)
        if way.pair.connections.get(stream) == lives:
            return 0.0
        way.pair.connections[stream] = lives
        return connect_s(transport, self.rtt_s(way, sender, receiver))

    def course(
        self,
        transport: Transport,
        way: Way,
        stream: int,
        sender: RoutedNode,
        receiver: RoutedNode,
        size_bytes: int,
        links: list[tuple[float, int]],
    ) -> tuple[Course, float]:
        """What becomes of a message that begins now, and what its last packet takes behind the slowest link, s.

        `links` are those on its way: the rate, and how many share it. Rates and the cap are of bytes on the wire.
        """
        now, goodput = self.env._now, transport.goodput_share
        if way.relay_bytes_per_s < math.inf:
            links = [*links, (way.relay_bytes_per_s, 1)]
        share, flows = min(((rate / count, count) for rate, count in links), default=(math.inf, 1))
        if not 0.0 < share < math.inf:
            return Course(0.0, way.relay_bytes_per_s), 0.0
        rates = [rate for rate, _ in links]
        serial_s, behind_s = packet_s(transport, size_bytes / goodput, rates)
        rtt_s = self.rtt_s(way, sender, receiver) + serial_s + transport.extra_rtt_s
        outgoing = way.outgoing.get(stream)
        if outgoing is None:
            outgoing = way.outgoing[stream] = Outgoing()
        lives = way.pair.connections.get(stream)
        if outgoing.lives != lives:
            outgoing.lives, outgoing.connection = lives, Connection()
        outgoing.connection.rest(transport, now - outgoing.idle_since_s, rtt_s)
        loss = loss_of((sender.link_at(now).loss, way.loss, receiver.link_at(now).loss))
        found = course(
            transport,
            outgoing.connection,
            size_bytes,
            share * goodput,
            rtt_s,
            loss=loss,
            flows=flows,
            alone_bytes_per_s=min(rates) * goodput,
            draws=self._draws(way, stream, outgoing) if loss > 0.0 else None,
        )
        return Course(found.wait_s, min(found.cap_bytes_per_s / goodput, way.relay_bytes_per_s)), behind_s

    def _draws(self, way: Way, stream: int, outgoing: Outgoing) -> Callable[[], Callable[[], float]]:
        """The draws of a message's losses, as often as somebody begins them."""
        key = rng.stream_key(self.seed, way.sender, way.receiver, "segments", stream, outgoing.messages)
        outgoing.messages += 1

        def begin() -> Callable[[], float]:
            counter = itertools.count()
            return lambda: rng.unit(rng.word(key, next(counter)))

        return begin

    # Links.

    def present_link(self, placement: Placement) -> Link:
        """The link that a device is on after the hand-overs so far; the rest of them is arranged for, once.

        A hand-over wakes whoever rests: its radio's bytes so far are those of the link before.
        """
        link, name = placement.link, placement.name
        if link.handovers and name not in self._handed_over:
            self._handed_over[name] = sum(handover.at_s <= self.env._now for handover in link.handovers)
            for handover in link.handovers[self._handed_over[name] :]:
                HandOver(self, name, handover.at_s)
        done = self._handed_over.get(name, 0)
        return link.handovers[done - 1].link if done else link

    def hand_over(self, name: str) -> None:
        """A device changes to its next link."""
        node = self._find(name)
        self._handed_over[name] += 1
        if node is not None:
            cast("RoutedNode", node).hand_over()

    def curve(self, name: str, link: Link, direction: str) -> Curve:
        """The rate of an access link in one direction (`up`, `down`), or its `air`, over time."""
        found = self._curves.get((name, direction))
        if found is None:
            steps = link.air(self.seed, name) if direction == "air" else link.steps(direction, self.seed, name)
            found = self._curves[name, direction] = Curve(steps)
        return found

    def access(self, node: RoutedNode, direction: str) -> tuple[FairLink, float]:
        """The shared resource that an access link is in one direction, with the cost of a byte."""
        link = node.placement.link
        if link.half_duplex:
            key = (node.name, "air")
            return self._fair(key, self.curve(node.name, link, "air")), 1.0 / link.goodput_bytes_per_s(direction)
        return self._fair((node.name, direction), self.curve(node.name, link, direction)), 1.0

    def _fair(self, key: tuple[str, ...], curve: Curve, foreign: Curve | None = None) -> FairLink:
        found = self._links.get(key)
        if found is None:
            found = self._links[key] = FairLink(self.flows, curve, foreign)
        return found

    def _of_node(self, node: RoutedNode, direction: str) -> list[tuple[FairLink, float]]:
        """What may limit a flow at a node's end of a path: its link, and the medium of its site."""
        link = node.placement.link
        topology = self.network.topology
        medium = None if topology is None else topology.by_name[node.placement.region].medium
        site = ("site", node.placement.region)
        if isinstance(medium, WiFi):
            air = self._fair((*site, "air"), Curve(constant(1.0))), 1.0 / link.goodput_bytes_per_s(direction)
            # One device alone on the air has its link's own rate: the link itself limits only if it varies.
            return [air, self.access(node, direction)] if link.varies else [air]
        found = []
        if isinstance(medium, Cell):
            rate = medium.up_bytes_per_s if direction == "up" else medium.down_bytes_per_s
            found.append((self._fair((*site, direction), Curve(constant(rate))), 1.0))
        if not self._ample(link, direction):
            found.append(self.access(node, direction))
        return found

    def _ample(self, link: Link, direction: str) -> bool:
        """Whether an access link carries all that the others together can send or take: then it limits nobody."""
        if link.half_duplex or link.varies:
            return False
        other = "up" if direction == "down" else "down"
        return link.goodput_bytes_per_s(direction) >= self._demand.of_all[other] - link.goodput_bytes_per_s(other)

    def _of_edge(self, entered: str, edge: Edge) -> tuple[FairLink, float] | None:
        """An edge as a resource; None if it limits nobody."""
        rate = edge.rate_from(entered)
        background = edge.background
        left = edge.b if entered == edge.a else edge.a
        alone = not edge.half_duplex and background == Background()
        if rate == math.inf or (alone and rate * (1.0 - edge.loss) >= self._demand.over(entered, left)):
            return None
        key = ("edge", edge.a, edge.b) if edge.half_duplex else ("edge", entered, left)
        if key not in self._links:
            curve = Curve(constant((rate - background.rate_bytes_per_s) * (1.0 - edge.loss)))
            foreign = None
            if background.flows and background.mean_off_s:
                come_and_go = Outages(background.mean_on_s, background.mean_off_s).factors(self.seed, "/".join(key))
                foreign = Curve((at_s, there * background.flows) for at_s, there in come_and_go)
            elif background.flows:
                foreign = Curve(constant(float(background.flows)))
            self._fair(key, curve, foreign)
        return self._links[key], 1.0

    def uses(self, way: Way, sender: RoutedNode, receiver: RoutedNode) -> list[tuple[FairLink, float]]:
        """The resources on a way, each once, with the cost of a byte there."""
        found: dict[FairLink, float] = {}
        for use in (
            *self._of_node(sender, "up"),
            *(self._of_edge(entered, edge) for entered, edge in way.edges),
            *self._of_node(receiver, "down"),
        ):
            if use is not None:
                found[use[0]] = found.get(use[0], 0.0) + use[1]
        return list(found.items()) or [self.access(sender, "up")]

    def edge_pace_s(self, way: Way) -> float:
        """Time of a byte at the slowest edge of a way, s/byte."""
        return max(
            (
                1.0 / ((edge.rate_from(entered) - edge.background.rate_bytes_per_s) * (1.0 - edge.loss))
                for entered, edge in way.edges
                if edge.rate_from(entered) < math.inf
            ),
            default=0.0,
        )


class Demand:
    """Most bytes/s that access links together can send and take, in all and over each edge; infinite where unknown.

    What carries as much as that limits nobody, and need not be looked at.
    """

    def __init__(self, deployment: Deployment) -> None:
        links = [placement.link for placement in deployment.placements]
        self._topology = deployment.network.topology
        #: Detours by a relay go over edges that no other route takes.
        self._relayed = deployment.network.relay is not None
        self.known = not deployment.populations and not any(link.varies for link in links)
        self._sites: dict[str, dict[str, float]] = {}
        for placement in deployment.placements:
            site = self._sites.setdefault(placement.region, {"up": 0.0, "down": 0.0})
            for direction in site:
                site[direction] += placement.link.goodput_bytes_per_s(direction)
        #: Of all access links in each direction.
        self.of_all = {
            direction: math.fsum(site[direction] for site in self._sites.values()) if self.known else math.inf
            for direction in ("up", "down")
        }
        self._edges: dict[tuple[str, str], float] | None = None

    def over(self, entered: str, left: str) -> float:
        """Over an edge in one direction."""
        if not self.known or self._relayed or self._topology is None or len(self._sites) > MOST_ROUTED:
            return math.inf
        if self._edges is None:
            senders: dict[tuple[str, str], set[str]] = {}
            takers: dict[tuple[str, str], set[str]] = {}
            for a, b in permutations(self._sites, 2):
                for site, edge in self._topology.route(a, b):
                    way = (site, edge.b if site == edge.a else edge.a)
                    senders.setdefault(way, set()).add(a)
                    takers.setdefault(way, set()).add(b)
            self._edges = {way: min(self._sum(senders[way], "up"), self._sum(takers[way], "down")) for way in senders}
        return self._edges.get((entered, left), math.inf)

    def _sum(self, sites: set[str], direction: str) -> float:
        return math.fsum(self._sites[site][direction] for site in sites)
