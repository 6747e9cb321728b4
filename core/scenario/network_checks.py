"""Checks of `links` and `network`: links and networks that can be made, and what reaches what."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from core import devices as catalogue
from core.network.traces import TraceWrong
from core.scenario import resolve
from core.scenario.findings import Finding, KeyPath, Unreadable, unknown
from core.scenario.names import TOPOLOGIES
from core.scenario.networking import trace
from core.scenario.option_checks import options

if TYPE_CHECKING:
    from core.scenario.schema import Scenario, TraceSpec


def _own_links(s: Scenario) -> Iterator[Finding]:
    """Links can be made: traces can be read, hand-overs lead somewhere, in order of time."""
    for name, spec in s.links.items():
        try:
            for i, change in enumerate(spec.handovers):
                yield from unknown(
                    ("links", name, "handovers", i, "link"), change.link, "an access link", resolve.link_names(s)
                )
            found = list(_link_traces(("links", name, "trace"), spec.trace))
            yield from found
            if not found:
                resolve.link(s, name)
        except Unreadable:
            continue
        except catalogue.UnknownName:
            continue
        except ValueError as error:
            yield Finding(("links", name), "a link that can be", str(error))


def _link_traces(path: KeyPath, spec: TraceSpec | None) -> Iterator[Finding]:
    """The traces of a link can be read."""
    for direction in ("up", "down"):
        with contextlib.suppress(Unreadable):
            file = None if spec is None else getattr(spec, direction)
            try:
                if file is not None:
                    trace(file)
            except TraceWrong as error:
                yield Finding((*path, direction), error.accepted, f"{error.name}:{error.line}: {error.found}")
            except ValueError as error:
                yield Finding((*path, direction), "the path of a .csv file, relative to the scenario's", str(error))


def _topology(s: Scenario) -> Iterator[Finding]:
    """The network of sites can be made, and is in one piece."""
    name = s.network.topology
    if name is None:
        return
    found = list(options(("network", "topology_options"), name, s.network.topology_options, TOPOLOGIES))
    if found:
        yield from found
        return
    try:
        resolve.topology(s)
    except ValueError as error:
        yield Finding(("network", "topology"), "a network in one piece", str(error))


def _relay(s: Scenario) -> Iterator[Finding]:
    """The relay is somewhere, within reach of all devices."""
    relay = s.network.relay
    if relay is None:
        return
    path = ("network", "relay", "region")
    known = resolve.region_names(s)
    yield from unknown(path, relay.region, "a region or site", known)
    if s.network.topology is None and relay.region in known:
        delays = resolve.region_delays(s)
        for region in dict.fromkeys(group.region for group in s.devices):
            if region in known and (region, relay.region) not in delays:
                yield Finding(path, "a region with a delay to all groups'", f"there is no delay to {region}")


def _emulated_links(s: Scenario) -> Iterator[Finding]:
    """Emulated links are asked for where they are all that happens to packets, but for delays."""
    if not s.real.emulate_links:
        return
    for key, found in resolve.network(s).between_links.items():
        without = "null, or a network whose edges only have delays" if key == "topology" else "null"
        yield Finding(
            ("network", key),
            f"{without}; or real.emulate_links: false, and with `--world real` messages as fast as the machine's own",
            f"emulated links are the devices' own and share nothing beyond, and {found}",
        )


def _places(s: Scenario) -> Iterator[Finding]:
    """Own places do not hide regions of the catalogue."""
    for name in s.network.places:
        if name in catalogue.regions() or name in catalogue.backbone():
            yield Finding(("network", "places", name), "another name", f"the catalogue has {name} already")


NETWORK_CHECKS: Final = (
    _own_links,
    _topology,
    _relay,
    _emulated_links,
    _places,
)
