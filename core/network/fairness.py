"""Max-min fair rates by water filling (Bertsekas, Gallager, Data Networks, §6.5.2), with costs and caps.

A flow uses a link at a cost per byte: 1 on a wire, whose capacity is in bytes/s; the air time of a byte on a radio,
whose capacity is 1 s of air a second, so that equal rates take unequal shares of it, as in 802.11 (Heusse et al.,
INFOCOM 2003). All links that limit their flows at the present level are filled in one pass, not one by one.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import inf
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

#: Uses of links below which plain Python is faster than numpy (measured: the two meet at about 60).
SMALL = 60

_Floats: TypeAlias = npt.NDArray[np.float64]
_Ints: TypeAlias = npt.NDArray[np.int64]


def max_min_rates(
    capacities: Sequence[float],
    uses: Sequence[Sequence[tuple[int, float]]],
    caps: Sequence[float],
) -> list[float]:
    """The max-min fair rates of flows, bytes/s.

    capacities: of each link; uses: for each flow its (link, cost per byte), no link twice; caps: of each flow, or
    infinity. A flow without a link gets its cap.
    """
    total = sum(map(len, uses))
    if total < SMALL:
        return _small(capacities, uses, caps)
    limits = np.asarray(caps, np.float64)
    capped = np.flatnonzero(np.isfinite(limits))
    flow = np.repeat(np.arange(len(uses)), [len(used) for used in uses])
    link = np.fromiter((place for used in uses for place, _ in used), np.int64, total)
    cost = np.fromiter((price for used in uses for _, price in used), np.float64, total)
    # A cap is a link of the flow's own.
    free = np.concatenate([np.asarray(capacities, np.float64), limits[capped]])
    flow = np.concatenate([flow, capped])
    link = np.concatenate([link, np.arange(len(capacities), len(free))])
    cost = np.concatenate([cost, np.ones(len(capped))])
    order = np.argsort(flow, kind="stable")
    rates = np.full(len(uses), inf)
    _fill(rates, free, flow[order], link[order], cost[order])
    found: list[float] = rates.tolist()
    return found


def _small(
    capacities: Sequence[float], uses: Sequence[Sequence[tuple[int, float]]], caps: Sequence[float]
) -> list[float]:
    rates = list(caps)
    free = list(capacities)
    waiting = [flow for flow, used in enumerate(uses) if used]
    while waiting:
        loads = [0.0] * len(free)
        for flow in waiting:
            for link, cost in uses[flow]:
                loads[link] += cost
        levels = [max(room, 0.0) / load if load > 0.0 else inf for room, load in zip(free, loads, strict=True)]
        own = {flow: min(levels[link] for link, _ in uses[flow]) for flow in waiting}
        level = min(own.values())
        # Levels only rise while flows below them are fixed: all caps up to the lowest hold.
        fixed = {flow: caps[flow] for flow in waiting if caps[flow] <= level}
        if not fixed:
            fixed = {flow: level for flow in waiting if own[flow] == level}
        for flow, rate in fixed.items():
            rates[flow] = rate
            for link, cost in uses[flow]:
                free[link] -= rate * cost
        waiting = [flow for flow in waiting if flow not in fixed]
    return rates


def _fill(rates: _Floats, free: _Floats, flow: _Ints, link: _Ints, cost: _Floats) -> None:
    """Fill in the rates of the flows whose uses are given, flow by flow; takes what they use from `free`."""
    links = len(free)
    while len(flow):
        loads = np.bincount(link, cost, links)
        levels = np.full(links, inf)
        np.divide(np.maximum(free, 0.0), loads, out=levels, where=loads > 0.0)
        begins = np.flatnonzero(np.diff(flow, prepend=-1))
        own = np.minimum.reduceat(levels[link], begins)
        # A link at whose level all of its flows are limited is full, whatever happens elsewhere.
        counts = np.diff(begins, append=len(flow))
        least = np.full(links, inf)
        np.minimum.at(least, link, np.repeat(own, counts))
        full = least == levels
        fixed = np.logical_or.reduceat(full[link], begins)
        rates[flow[begins[fixed]]] = own[fixed]
        gone = np.repeat(fixed, counts)
        free -= np.bincount(link[gone], cost[gone] * rates[flow[gone]], links)
        flow, link, cost = flow[~gone], link[~gone], cost[~gone]
