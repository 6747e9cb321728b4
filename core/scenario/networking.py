"""From a scenario's `links` and `network` to values: links that vary, topologies, delays, transports."""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import TYPE_CHECKING

from core import devices as catalogue
from core.links import Handover, Link
from core.network import (
    Autoregressive,
    Jitter,
    Markov,
    MarkovState,
    Network,
    Outages,
    Relay,
    Replay,
    Topology,
    Trace,
    Transport,
    Variation,
)
from core.network.paths import distance_rtt_s, great_circle_km
from core.network.traces import LEAST_BYTES, read_trace
from core.scenario.names import TOPOLOGIES

if TYPE_CHECKING:
    from core.scenario.schema import LinkSpec, Scenario


class NoNetwork(ValueError):
    """The network of sites cannot be made, or has no such site."""


#: Largest file of a trace.
MOST_BYTES = 32 << 20


def link(scenario: Scenario, name: str) -> Link:
    """The access link `name`, of the scenario or the catalogue. Raises `ValueError`."""
    own = scenario.links.get(name)
    if own is None:
        return catalogue.link(name)
    outages = own.outages
    if outages is not None:
        _carries(own, "outages", outages.mean_between)
    return Link(
        name=name,
        kind=own.kind,
        latency_s=own.latency,
        up_bytes_per_s=own.up,
        down_bytes_per_s=own.down,
        loss=own.loss,
        metered=own.metered,
        half_duplex=own.half_duplex,
        translated=own.translated,
        control=own.transport,
        variation=_variation(own),
        outages=None if outages is None else Outages(outages.mean_between, outages.mean_length),
        handovers=tuple(Handover(change.at, _target(scenario, change.link)) for change in own.handovers),
    )


def _target(scenario: Scenario, name: str) -> Link:
    """The link of a hand-over, which has none of its own."""
    own = scenario.links.get(name)
    if own is not None and own.handovers:
        raise ValueError(f"a hand-over leads to {name}, which has hand-overs itself")
    return link(scenario, name)


def _variation(own: LinkSpec) -> Variation | None:
    given = [word for word in ("trace", "fading", "states") if getattr(own, word)]
    if len(given) > 1:
        raise ValueError(f"its rates follow one of trace, fading and states, not {' and '.join(given)}")
    if own.trace is not None:
        up, down = (None if file is None else trace(file) for file in (own.trace.up, own.trace.down))
        return Replay(up, down, own.trace.shifted)
    if own.fading is not None:
        _carries(own, "fading", own.fading.step)
        return Autoregressive(own.fading.spread, own.fading.correlation, own.fading.step)
    if own.states:
        # Each state comes as often as any other.
        _carries(own, "states", sum(state.factor * state.mean for state in own.states) / len(own.states))
        return Markov(tuple(MarkovState(state.factor, state.mean) for state in own.states))
    return None


def _carries(own: LinkSpec, key: str, full_s: float) -> None:
    """A step, worth `full_s` at the link's own rate, carries a byte: else a message would take millions of steps."""
    step_bytes = min(own.up, own.down) * (1.0 - own.loss) * full_s
    if 0.0 < step_bytes < LEAST_BYTES:
        raise ValueError(
            f"{key} carries {step_bytes:g} bytes from one change to the next on the mean; accepted: at least "
            f"{LEAST_BYTES:g}, by longer times or higher rates"
        )


def trace(file: str) -> Trace:
    """The trace in a file. Raises `ValueError` with the line."""
    return _trace(file, _stamp(file))


def _stamp(file: str) -> tuple[int, int]:
    """What changes when a file does."""
    try:
        found = Path(file).stat()
    except OSError as error:
        raise ValueError(f"{file}: cannot be read: {error.strerror or error}") from None
    if found.st_size > MOST_BYTES:
        raise ValueError(f"{file}: {found.st_size} bytes; accepted: at most {MOST_BYTES}")
    return found.st_mtime_ns, found.st_size


@functools.lru_cache(maxsize=64)
def _trace(file: str, stamp: tuple[int, int]) -> Trace:
    return read_trace(file, _read(file).decode("utf-8-sig", "replace"))


def _read(file: str) -> bytes:
    try:
        return Path(file).read_bytes()
    except OSError as error:
        raise ValueError(f"{file}: cannot be read: {error.strerror or error}") from None


# Between the links.


def network(scenario: Scenario) -> Network:
    """What lies between the access links. Raises `ValueError`."""
    spec = scenario.network
    constants, jitter, relay = spec.transport_constants, spec.jitter, spec.relay
    transport = Transport()
    if spec.transport != "ideal" or any(own.transport not in (None, "ideal") for own in scenario.links.values()):
        transport = Transport(
            control=spec.transport,
            mss_bytes=constants.mss,
            goodput_share=constants.goodput_share,
            initial_window=constants.initial_window,
            max_window_bytes=float(constants.max_window),
            connect_rtts=constants.connect_rtts,
            extra_rtt_s=constants.extra_rtt,
            extra_s=constants.extra,
            min_rto_s=constants.min_rto,
            queue_s=constants.queue,
        )
    return Network(
        topology=topology(scenario),
        transport=transport,
        sharing=spec.sharing,
        jitter=None if jitter is None else Jitter(jitter.spread, jitter.correlation, jitter.step),
        relay=None if relay is None else Relay(region(scenario, relay.region, 0), relay.rate, relay.success),
        varying=any(not link(scenario, group.link).plain for group in scenario.devices),
    )


def topology(scenario: Scenario) -> Topology | None:
    """The network of sites; None for the star of regions. Raises `NoNetwork`."""
    name = scenario.network.topology
    if name is None:
        return None
    try:
        if name not in TOPOLOGIES:
            return _read_topology(name, _stamp(name))
        kinds = TOPOLOGIES[name]
        options = {key: kinds[key].read(value) for key, value in scenario.network.topology_options.items()}
        return _generated(name, scenario.seed, json.dumps(options, sort_keys=True))
    except KeyError as error:
        raise NoNetwork(f"{name} has no option {error}") from None
    except ValueError as error:
        raise NoNetwork(str(error)) from error


@functools.lru_cache(maxsize=16)
def _read_topology(file: str, stamp: tuple[int, int]) -> Topology:
    from core.network.graphs import read_graph  # here, for it loads numpy

    return read_graph(file, _read(file))


@functools.lru_cache(maxsize=16)
def _generated(name: str, seed: int, options: str) -> Topology:
    from core.network.graphs import GENERATED

    return GENERATED[name](seed, **json.loads(options))


def region(scenario: Scenario, name: str, number: int) -> str:
    """The region or site of device `number` of a group that lives at `name`: sites of a kind are dealt in turn."""
    found = topology(scenario)
    if found is None:
        return name
    sites = found.named(name)
    if not sites:
        raise NoNetwork(f"the network has no site and no kind of sites {name!r}")
    return sites[number % len(sites)]


def region_names(scenario: Scenario) -> tuple[str, ...]:
    """Regions that may be named: sites and their kinds, or the scenario's own and the catalogue's."""
    found = topology(scenario)
    if found is not None:
        return (*(kind for kind in found.kinds() if kind not in found.by_name), *found.by_name)
    own = scenario.network.region_delays
    stated = (*own, *(to for row in own.values() for to in row))
    return tuple(dict.fromkeys((*stated, *scenario.network.places, *catalogue.regions(), *catalogue.backbone())))


def region_delays(scenario: Scenario) -> dict[tuple[str, str], float]:
    """One-way delays between regions, s: those that the scenario states stand for both directions, before the law of
    distance for its own places, before the catalogue's."""
    delays = {**catalogue.region_delays(), **catalogue.backbone_delays()}
    places = {name: (place.latitude, place.longitude) for name, place in scenario.network.places.items()}
    everywhere = {**{name: (lat, lon) for name, (_, lat, lon) in catalogue.backbone().items()}, **places}
    for a, here in places.items():
        for b, there in everywhere.items():
            delays[a, b] = delays[b, a] = distance_rtt_s(great_circle_km(here, there)) / 2.0
    own = {(a, b): delay_s for a, row in scenario.network.region_delays.items() for b, delay_s in row.items()}
    for (a, b), delay_s in own.items():
        delays[a, b] = delay_s
        if (b, a) not in own:
            delays[b, a] = delay_s
    return delays


def delay_s(scenario: Scenario, a: str, b: str) -> float:
    """One-way delay between two regions, or sites; of a kind of sites, that of the first."""
    found = topology(scenario)
    if found is None:
        return region_delays(scenario)[a, b]
    return found.delay_s(region(scenario, a, 0), region(scenario, b, 0))
