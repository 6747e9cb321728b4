"""A network of sites: a graph with delays and capacities, and the routes on it.

Devices attach to sites. An edge carries its rate in each direction, or shares one rate among both (half duplex, as on
a radio). The air of a site may be shared by its devices: Wi-Fi (each byte takes the air for as long as its device's
own rate says) or a cell (its up and down rates are shared). Routes are shortest by delay, then by hops, then by the
names of the sites in order, so that ties are the same everywhere (Dijkstra 1959).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from functools import cached_property
from heapq import heappop, heappush
from math import inf, isfinite, isnan
from typing import Final

#: Sites that a message shows of a part of a graph.
SHOWN: Final = 8
MOST_SITES: Final = 10_000


class Disconnected(ValueError):
    """A graph in which some sites cannot be reached from the others; names both parts."""

    def __init__(self, part: tuple[str, ...], rest: tuple[str, ...]) -> None:
        super().__init__(f"the graph falls apart: no way leads from {_shown(part)} to {_shown(rest)}")
        self.part = part
        self.rest = rest


def _shown(names: tuple[str, ...]) -> str:
    more = len(names) - SHOWN
    return "{" + ", ".join(names[:SHOWN]) + (f" and {more} more" if more > 0 else "") + "}"


@dataclasses.dataclass(frozen=True)
class Cell:
    """A mast's rates, shared by the devices that attach to its site, bytes/s."""

    up_bytes_per_s: float
    down_bytes_per_s: float

    def __post_init__(self) -> None:
        for rate in (self.up_bytes_per_s, self.down_bytes_per_s):
            if not (rate > 0 and isfinite(rate)):
                raise ValueError(f"the rates of a cell are positive and finite: {rate}")


@dataclasses.dataclass(frozen=True)
class WiFi:
    """An access point's air, shared by its devices in time: one of them alone has its link's own rate."""


@dataclasses.dataclass(frozen=True)
class Site:
    """A place where devices attach, or that only forwards."""

    name: str
    #: Sites of a kind can be named together.
    kind: str = "site"
    medium: Cell | WiFi | None = None


@dataclasses.dataclass(frozen=True)
class Background:
    """Foreign traffic on an edge, each way: a constant rate, and greedy flows that come and go and take fair shares."""

    rate_bytes_per_s: float = 0.0
    flows: int = 0
    #: Means of the exponential times with and without these flows; without `mean_off_s` they are always there.
    mean_on_s: float = 10.0
    mean_off_s: float = 0.0

    def __post_init__(self) -> None:
        if not (self.rate_bytes_per_s >= 0 and isfinite(self.rate_bytes_per_s)):
            raise ValueError(f"a background rate is not negative and finite: {self.rate_bytes_per_s}")
        if not 0 <= self.flows <= 1000:
            raise ValueError(f"background flows are from 0 to 1000: {self.flows}")
        if not (0 < self.mean_on_s < inf and 0 <= self.mean_off_s < inf):
            raise ValueError(f"times of background flows are finite: on {self.mean_on_s}, off {self.mean_off_s}")


@dataclasses.dataclass(frozen=True)
class Edge:
    """A connection of two sites. An infinite rate never limits."""

    a: str
    b: str
    delay_s: float
    rate_bytes_per_s: float = inf
    #: The other way, b to a; None: the same.
    back_bytes_per_s: float | None = None
    loss: float = 0.0
    half_duplex: bool = False
    background: Background = Background()

    def __post_init__(self) -> None:
        where = f"the edge {self.a} - {self.b}"
        if self.a == self.b:
            raise ValueError(f"{where} joins a site with itself")
        if not (self.delay_s >= 0 and isfinite(self.delay_s)):
            raise ValueError(f"{where}: its delay is not negative and finite: {self.delay_s}")
        for rate in (self.rate_bytes_per_s, self.back_bytes_per_s):
            if rate is not None and (not rate > 0 or isnan(rate)):
                raise ValueError(f"{where}: its rate is positive: {rate}")
        if not 0 <= self.loss < 1:
            raise ValueError(f"{where}: its loss is from 0, below 1: {self.loss}")
        if self.half_duplex and self.back_bytes_per_s is not None:
            raise ValueError(f"{where}: a half-duplex edge has one rate")
        if self.background.rate_bytes_per_s >= min(self.rate_bytes_per_s, self.back_bytes_per_s or inf):
            raise ValueError(f"{where}: its background traffic leaves nothing")

    def rate_from(self, site: str) -> float:
        """Its rate from one of its sites to the other, bytes/s."""
        if site == self.a or self.back_bytes_per_s is None:
            return self.rate_bytes_per_s
        return self.back_bytes_per_s


@dataclasses.dataclass(frozen=True)
class Topology:
    """Sites and edges. Raises `Disconnected` or `ValueError`."""

    sites: tuple[Site, ...]
    edges: tuple[Edge, ...]

    def __post_init__(self) -> None:
        if not 1 <= len(self.sites) <= MOST_SITES:
            raise ValueError(f"a network has from 1 to {MOST_SITES} sites; this one has {len(self.sites)}")
        if len(self.by_name) != len(self.sites):
            raise ValueError("two sites have one name")
        seen: set[tuple[str, str]] = set()
        for edge in self.edges:
            for name in (edge.a, edge.b):
                if name not in self.by_name:
                    raise ValueError(f"an edge leads to {name!r}, which is no site")
            pair = (min(edge.a, edge.b), max(edge.a, edge.b))
            if pair in seen:
                raise ValueError(f"two edges join {edge.a} and {edge.b}")
            seen.add(pair)
        reached = set(self.tree(self.sites[0].name))
        if len(reached) < len(self.sites):
            part = tuple(site.name for site in self.sites if site.name in reached)
            raise Disconnected(part, tuple(site.name for site in self.sites if site.name not in reached))

    @cached_property
    def by_name(self) -> Mapping[str, Site]:
        """The sites by their names."""
        return {site.name: site for site in self.sites}

    @cached_property
    def _neighbours(self) -> Mapping[str, list[tuple[str, Edge]]]:
        found: dict[str, list[tuple[str, Edge]]] = {site.name: [] for site in self.sites}
        for edge in self.edges:
            found[edge.a].append((edge.b, edge))
            found[edge.b].append((edge.a, edge))
        return found

    @cached_property
    def _trees(self) -> dict[str, dict[str, tuple[float, str, Edge | None]]]:
        return {}

    def tree(self, root: str) -> Mapping[str, tuple[float, str, Edge | None]]:
        """Shortest ways from `root`: to each site its delay, the site before it, and the edge from there."""
        tree = self._trees.get(root)
        if tree is not None:
            return tree
        tree = self._trees[root] = {}
        # The names of the way so far decide between ways of the same delay and hops.
        heap: list[tuple[float, int, tuple[str, ...], Edge | None]] = [(0.0, 0, (root,), None)]
        while heap:
            delay_s, hops, way, edge = heappop(heap)
            here = way[-1]
            if here in tree:
                continue
            tree[here] = (delay_s, way[-2] if edge is not None else here, edge)
            for there, step in self._neighbours[here]:
                if there not in tree:
                    heappush(heap, (delay_s + step.delay_s, hops + 1, (*way, there), step))
        return tree

    def route(self, a: str, b: str) -> tuple[tuple[str, Edge], ...]:
        """The edges on the way from site `a` to site `b`, each with the site where it is entered.

        The way back is the same, so that the route of a pair is that from the smaller name.
        """
        if a > b:
            back = self.route(b, a)
            return tuple((edge.b if entered == edge.a else edge.a, edge) for entered, edge in reversed(back))
        tree = self.tree(a)
        found: list[tuple[str, Edge]] = []
        here = b
        while here != a:
            _, before, edge = tree[here]
            assert edge is not None
            found.append((before, edge))
            here = before
        return tuple(reversed(found))

    def delay_s(self, a: str, b: str) -> float:
        """One-way delay between two sites."""
        return self.tree(min(a, b))[max(a, b)][0]

    def named(self, name: str) -> tuple[str, ...]:
        """The sites that a name stands for: the one of that name, or all of that kind; none if there are none."""
        if name in self.by_name:
            return (name,)
        return tuple(site.name for site in self.sites if site.kind == name)

    def kinds(self) -> tuple[str, ...]:
        """Kinds of sites."""
        return tuple(dict.fromkeys(site.kind for site in self.sites))


def loss_of(losses: Iterable[float]) -> float:
    """Loss over several links in a row, each losing on its own."""
    kept = 1.0
    for loss in losses:
        kept *= 1.0 - loss
    return 1.0 - kept
