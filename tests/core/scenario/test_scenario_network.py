"""The keys `links` and `network` of a scenario: what they become, and what is refused with the reason."""

from __future__ import annotations

import json
import re
from math import inf
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.devices import backbone_delays
from core.network import Autoregressive, Markov, Outages, Replay, WiFi
from core.network.fairness import max_min_rates
from core.network.traces import TraceWrong, read_trace
from core.scenario import ScenarioError, load, parse, resolve, shares
from core.scenario.build import study

GROUP = {"name": "phone", "count": 5, "device": "phone_mid", "link": "wifi_home"}
SMALL: dict[str, Any] = {"training": {"rounds": 3}, "devices": [GROUP]}
LINK = {"kind": "wifi", "latency": "5 ms", "up": "8 Mbit/s", "down": "16 Mbit/s"}


def refused(**changes: Any) -> str:
    with pytest.raises(ScenarioError) as caught:
        parse({**SMALL, **changes})
    return "\n".join(f"{problem.key}: {problem.hint} / {problem.accepted}" for problem in caught.value.problems)


def test_the_default_is_the_plain_star() -> None:
    found = parse(SMALL)
    assert resolve.network(found).plain
    deployment = study(found).deployment
    assert deployment.plain_paths


def test_links_become_what_they_say(tmp_path: Path) -> None:
    (tmp_path / "up.csv").write_text("time_s,bytes_per_s\n0,100\n1,200\n")
    (tmp_path / "s.yaml").write_text(
        json.dumps(
            {
                **SMALL,
                "network": {"relay": {"region": "europe"}},
                "links": {
                    "fading": {**LINK, "fading": {"spread": 0.8, "correlation": 0.7}, "transport": "bbr"},
                    "states": {**LINK, "states": [{"factor": 1, "mean": "1 min"}, {"factor": 0, "mean": "3 s"}]},
                    "tunnel": {**LINK, "outages": {"mean_between": 60, "mean_length": 5}, "half_duplex": True},
                    "trace": {**LINK, "trace": {"up": "up.csv"}, "translated": True},
                    "walk": {**LINK, "handovers": [{"at": 10, "link": "lte_good"}, {"at": "1 h", "link": "trace"}]},
                },
            }
        )
    )
    found = load(tmp_path / "s.yaml")
    made = {name: resolve.link(found, name) for name in found.links}
    assert made["fading"].variation == Autoregressive(0.8, 0.7, 1.0)
    assert made["fading"].control == "bbr"
    assert isinstance(made["states"].variation, Markov)
    assert made["tunnel"].outages == Outages(60.0, 5.0)
    assert made["tunnel"].half_duplex
    replay = made["trace"].variation
    assert isinstance(replay, Replay)
    assert replay.up is not None
    assert (replay.up.rates, replay.down) == ((100.0, 200.0), None)
    assert [made["walk"].at(now).name for now in (0.0, 10.0, 3600.0)] == ["walk", "lte_good", "trace"]
    assert not any(link.plain for link in made.values())


@pytest.mark.parametrize(
    ("link", "says"),
    [
        ({"trace": {"up": "nowhere.csv"}}, "nowhere.csv: cannot be read"),
        (
            {"fading": {"spread": 1, "correlation": 0.5}, "states": [{"factor": 1, "mean": 1}] * 2},
            "not fading and states",
        ),
        ({"states": [{"factor": 1, "mean": 1}]}, "at least two states"),
        ({"handovers": [{"at": 5, "link": "lte_goo"}]}, 'did you mean "lte_good"?'),
        ({"handovers": [{"at": 5, "link": "lte_good"}, {"at": 5, "link": "lte_good"}]}, "increase"),
        ({"handovers": [{"at": 5, "link": "mine"}]}, "which has hand-overs itself"),
        ({"half_duplex": True, "handovers": [{"at": 5, "link": "lte_good"}]}, "neither a trace nor hand-overs"),
        ({"transport": "tahoe"}, "one of ideal, cubic, bbr, reno"),
        ({"fading": {"spread": 1, "correlation": 1}}, "below 1"),
        ({"outages": {"mean_between": 0, "mean_length": 1}}, "from 0.001"),
        ({"outages": {"mean_between": "1 s", "mean_length": 1e-9}}, "from 0.001"),
        ({"fading": {"spread": 5, "correlation": 0.5, "step": 1e-12}}, "from 0.001"),
        ({"states": [{"factor": 1, "mean": 1e-9}, {"factor": 0, "mean": 1}]}, "from 0.001"),
        ({"up": 1e-12}, "from 1 to"),
        ({"up": 1, "fading": {"spread": 1, "correlation": 0.5, "step": "1 ms"}}, "fading carries 0.001 bytes"),
        ({"up": 1, "outages": {"mean_between": "1 ms", "mean_length": 1}}, "outages carries 0.001 bytes"),
        ({"states": [{"factor": 1e-9, "mean": 1}, {"factor": 0, "mean": 1}]}, "states carries 0.0005 bytes"),
        ({"latency": "2 h"}, "from 0 to 3600"),
    ],
)
def test_a_link_that_cannot_be_is_refused(link: dict[str, Any], says: str) -> None:
    assert says in refused(links={"mine": {**LINK, **link}})


def test_a_trace_that_goes_back_in_time_is_refused_with_its_line(tmp_path: Path) -> None:
    file = tmp_path / "back.csv"
    file.write_text("time_s,bytes_per_s\n0,1\n2,1\n1,1\n")
    said = refused(links={"mine": {**LINK, "trace": {"down": str(file)}}})
    assert f"links.mine.trace.down: {file}:4: found '1' / a time in s after that of the line before" in said
    file.write_text("time_s,bytes_per_s\n0,1\n2,1\n3,1\n")
    parse({**SMALL, "links": {"mine": {**LINK, "trace": {"down": str(file)}}}})


@pytest.mark.parametrize(
    ("lines", "line", "says"),
    [
        ("0,1000\n1.7e308,1000\n", 3, "up to 3.2e+09 s"),
        ("0,1000\n1e-300,1000\n", 3, "at least 0.001 s after"),
        ("0,1e-300\n1,1e-300\n", 3, "at least 1 byte in a step on the mean"),
        ("0,1e300\n1,1\n", 2, "up to 1e+15"),
    ],
)
def test_a_trace_of_enormous_or_tiny_values_is_refused_with_its_line(lines: str, line: int, says: str) -> None:
    with pytest.raises(TraceWrong, match=re.escape(says)) as caught:
        read_trace("rates.csv", f"time_s,bytes_per_s\n{lines}")
    assert caught.value.line == line


def test_a_trace_of_milliseconds_far_from_zero_is_read() -> None:
    assert read_trace("rates.csv", "time_s,bytes_per_s\n1000000.001,1000\n1000000.002,1000\n").rates == (1000.0, 1000.0)


def test_a_hand_over_needs_its_radio() -> None:
    links = {"walk": {**LINK, "handovers": [{"at": 5, "link": "lte_good"}]}}
    group = {**GROUP, "device": "laptop", "link": "walk"}
    said = refused(links=links, devices=[group])
    assert "it changes to lte_good, which is cellular: a laptop has no such radio" in said


# Topologies.

CORE = {
    "coordinator": {"device": "server", "link": "datacentre", "region": "core"},
    "evaluator": {"device": "gateway", "link": "ethernet_lan", "region": "core"},
}


def test_devices_are_dealt_to_the_sites_of_a_kind_in_turn() -> None:
    found = parse(
        {
            **SMALL,
            **CORE,
            "devices": [{**GROUP, "region": "ap"}],
            "network": {"topology": "access", "topology_options": {"access_points": 2, "cell_up": "10 Mbit/s"}},
        }
    )
    deployment = study(found).deployment
    sites = {placement.name: placement.region for placement in deployment.placements}
    assert [sites[f"phone-{i}"] for i in range(5)] == ["ap-0", "ap-1", "ap-0", "ap-1", "ap-0"]
    topology = deployment.network.topology
    assert topology is not None
    assert topology.by_name["ap-0"].medium == WiFi()
    assert deployment.delay_s("ap-0", "core") == 0.01
    assert resolve.delay_s(found, "ap", "core") == 0.01


def test_a_network_may_be_a_file_beside_the_scenario(tmp_path: Path) -> None:
    graph = {"nodes": [{"id": "core"}, {"id": "far"}], "edges": [{"source": "core", "target": "far", "delay_ms": 30}]}
    (tmp_path / "net.json").write_text(json.dumps(graph))
    scenario = {**SMALL, **CORE, "devices": [{**GROUP, "region": "far"}], "network": {"topology": "net.json"}}
    (tmp_path / "s.yaml").write_text(json.dumps(scenario))
    found = load(tmp_path / "s.yaml")
    assert resolve.delay_s(found, "core", "far") == 0.03
    graph["edges"] = []
    (tmp_path / "net.json").write_text(json.dumps(graph))
    with pytest.raises(ScenarioError, match=r"no way leads from \{core\} to \{far\}"):
        load(tmp_path / "s.yaml")


@pytest.mark.parametrize(
    ("network", "says"),
    [
        ({"topology": "acess"}, 'did you mean "access"?'),
        ({"topology": "nowhere.graphml"}, "nowhere.graphml: cannot be read"),
        ({"topology": "access", "topology_options": {"rows": 3}}, "access takes access_points, cells"),
        ({"topology": "access", "topology_options": {"delay": "soon"}}, 'such as "30 s"'),
        ({"topology": "geometric", "topology_options": {"radius": 0.01}}, "the graph falls apart"),
        ({"topology": "mesh"}, "a site of network.topology, or a kind of them: node, node-0"),
        ({"transport": "quic"}, "one of ideal, cubic, bbr, reno"),
        ({"sharing": "equal"}, "one of per_link, max_min"),
        ({"relay": {"region": "mars"}}, "a region or site"),
        ({"places": {"west_europe": {"latitude": 1, "longitude": 1}}}, "the catalogue has west_europe already"),
        ({"places": {"pole": {"latitude": 91, "longitude": 1}}}, "from -90 to 90"),
        ({"transport_constants": {"goodput_share": 0}}, "above 0 up to 1"),
    ],
)
def test_a_network_that_cannot_be_is_refused(network: dict[str, Any], says: str) -> None:
    assert says in refused(network=network)


def test_emulated_links_are_refused_where_more_than_they_is_between_devices(tmp_path: Path) -> None:
    real = {"emulate_links": True}
    relay = {"relay": {"region": "europe"}}
    assert parse({**SMALL, "network": relay}), "the simulator has it"
    says = refused(real=real, network=relay)
    assert says.startswith("network.relay: emulated links are the devices' own and share nothing beyond")
    assert "pairs behind address translators go by a relay / null; or real.emulate_links: false" in says
    graph = {
        "nodes": [{"id": "a", "kind": "site", "medium": "wifi"}, {"id": "b"}],
        "links": [{"source": "a", "target": "b", "delay_ms": 5, "loss": 0.01, "background_flows": 1}],
    }
    sites = {
        "devices": [{**GROUP, "region": "a"}],
        "coordinator": {"device": "server", "link": "datacentre", "region": "b"},
        "evaluator": None,
        "network": {"topology": "g.json"},
        "real": real,
    }
    path = tmp_path / "s.yaml"
    (tmp_path / "g.json").write_text(json.dumps(graph))
    path.write_text(json.dumps({**SMALL, **sites}))
    with pytest.raises(ScenarioError, match="the topology has losses, background traffic, access points or cells"):
        load(path)
    del graph["nodes"][0]["medium"], graph["links"][0]["loss"], graph["links"][0]["background_flows"]  # type: ignore[arg-type]
    (tmp_path / "g.json").write_text(json.dumps(graph))
    assert load(path).network.topology, "delays are emulated"


def test_faults_may_name_sites_whose_network_is_broken_or_whole() -> None:
    """A partition's sets name sites; where there are none, the network alone is what is wrong."""
    fault = {"kind": "partition", "sets": [["ap-0"]], "at": 1, "duration": 1}
    devices = [{**GROUP, "region": "ap"}]
    network = {"topology": "access", "topology_options": {"access_points": 2}}
    found = parse({**SMALL, **CORE, "devices": devices, "faults": [fault], "network": network})
    (made,) = resolve.faults(found)
    assert made.sets[0] == ("phone-0", "phone-2", "phone-4")  # type: ignore[attr-defined]
    broken = {"topology": "geometric", "topology_options": {"radius": 0.01}}
    said = refused(**CORE, devices=devices, faults=[fault], network=broken)
    assert len(said.splitlines()) == 1
    assert said.startswith("network.topology: the graph falls apart")


def test_constants_of_the_transport_are_handed_on() -> None:
    found = resolve.network(
        parse({**SMALL, "network": {"transport": "reno", "transport_constants": {"mss": 1200, "extra": "2 ms"}}})
    )
    assert (found.transport.control, found.transport.mss_bytes, found.transport.extra_s) == ("reno", 1200.0, 0.002)


# Delays.


def test_regions_are_the_catalogues_the_backbones_and_own_places() -> None:
    found = parse({**SMALL, "network": {"places": {"madrid": {"latitude": 40.42, "longitude": -3.7}}}})
    assert {"europe", "west_europe", "madrid"} <= set(resolve.region_names(found))
    delays = resolve.region_delays(found)
    assert delays["west_europe", "east_us"] == backbone_delays()["west_europe", "east_us"]
    # Madrid to Amsterdam, 1,480 km: (11.4 + 0.01566 · 1480) / 2 ms.
    assert delays["madrid", "west_europe"] == pytest.approx((11.4 + 0.01566 * 1480) / 2e3, rel=0.01)
    assert delays["madrid", "madrid"] == pytest.approx(0.0057)
    own = parse({**SMALL, "network": {**found.network.model_dump(), "region_delays": {"madrid": {"west_europe": 0.5}}}})
    assert resolve.region_delays(own)["west_europe", "madrid"] == 0.5


def test_a_group_out_of_reach_of_the_coordinator_is_refused() -> None:
    said = refused(devices=[{**GROUP, "region": "west_europe"}])
    assert "no delay between west_europe and europe" in said


# What equal shares leave unused.

UNEQUAL: dict[str, Any] = {
    "data": {"partition": "iid"},
    "training": {"rounds": 1},
    "coordinator": {"device": "server", "link": "centre"},
    "devices": [{**GROUP, "name": "slow", "count": 4, "link": "slow"}, {**GROUP, "count": 1, "link": "fast"}],
    "links": {
        "centre": {"kind": "ethernet", "latency": "1 ms", "up": "10 Mbit/s", "down": "1 Gbit/s"},
        "slow": {"kind": "wifi", "latency": "5 ms", "up": "1 Mbit/s", "down": "1 Mbit/s"},
        "fast": {"kind": "wifi", "latency": "5 ms", "up": "100 Mbit/s", "down": "100 Mbit/s"},
    },
}


def unequal(**changes: Any) -> tuple[str, ...]:
    return study(parse({**UNEQUAL, **changes})).notes


def test_capacity_that_slower_clients_leave_unused_is_told_with_the_remedy() -> None:
    (note,) = unequal()
    assert "while 5 clients at once receive from the coordinator" in note
    assert "each has at most 2 Mbit/s of the 10 Mbit/s of its link (up), and about 40 % of that stay unused" in note
    assert "`network.sharing: max_min`" in note
    up = UNEQUAL["links"] | {"centre": {**LINK, "kind": "ethernet", "up": "1 Gbit/s", "down": "10 Mbit/s"}}
    (note,) = unequal(links=up)
    assert "while 5 clients at once send to the coordinator" in note
    assert "of its link (down), and about 40 % of that stay unused" in note


@pytest.mark.parametrize(
    "changes",
    [
        {"network": {"sharing": "max_min"}},
        # Whole paths are max-min fair wherever the network is more than a star of steady links.
        {"network": {"transport": "cubic"}},
        # Nobody could use more, nobody leaves anything, and one alone has no share.
        {"devices": UNEQUAL["devices"][:1]},
        {"devices": [{**GROUP, "link": "fast"}]},
        {"training": {"rounds": 1, "max_participants": 1}},
        {"training": {"rounds": 1, "max_participants": 1, "algorithm": "fedbuff"}},
    ],
)
def test_nothing_is_told_where_nothing_is_left_unused(changes: dict[str, Any]) -> None:
    assert unequal(**changes) == ()


def test_it_is_the_clients_asked_at_once_that_share() -> None:
    (note,) = unequal(training={"rounds": 1, "max_participants": 2, "over_selection": 2})
    assert "while 4 clients at once" in note
    (note,) = unequal(training={"rounds": 1, "max_participants": 3, "over_selection": 2})
    assert "while 5 clients at once" in note


@settings(max_examples=30, deadline=None)
@given(st.floats(0.1, 100.0), st.lists(st.tuples(st.floats(0.01, 100.0), st.integers(1, 4)), min_size=1, max_size=5))
def test_what_is_lost_is_the_difference_to_max_min_fair_rates(rate: float, groups: list[tuple[float, int]]) -> None:
    rates = [own for own, count in groups for _ in range(count)]
    share = rate / len(rates)
    fair = max_min_rates([rate, *rates], [[(0, 1.0), (i, 1.0)] for i in range(1, len(rates) + 1)], [inf] * len(rates))
    equal = sum(min(own, share) for own in rates)
    lost = shares.lost_share([(own / share, count) for own, count in groups])
    assert lost == pytest.approx((sum(fair) - equal) / rate, abs=1e-9)


@pytest.mark.parametrize("name", ["quickstart", "drops", "faults", "hundred_phones"])
def test_the_scenarios_leave_nothing_unused(name: str) -> None:
    assert list(shares.notes(load(Path(__file__).parents[3] / "scenarios" / f"{name}.yaml"))) == []
