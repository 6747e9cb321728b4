"""Graphs: routes, generated networks, files that are read and refused."""

from __future__ import annotations

import io
import json
from math import inf

import networkx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.network import Background, Cell, Disconnected, Edge, Site, Topology, WiFi
from core.network.graphs import MBIT, GraphWrong, access, from_networkx, geometric, mesh, read_graph, tree
from core.network.topology import loss_of


def graph_of(edges: list[tuple[int, int, int]], sites: int) -> Topology:
    seen: dict[tuple[int, int], int] = {}
    for a, b, delay in edges:
        if a != b:
            seen.setdefault((min(a, b), max(a, b)), delay)
    joined = tuple(Edge(f"s{a:02d}", f"s{b:02d}", delay / 1024) for (a, b), delay in seen.items())
    return Topology(tuple(Site(f"s{i:02d}") for i in range(sites)), joined)


edges = st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9), st.integers(0, 8)), max_size=30)


@settings(max_examples=150)
@given(edges)
def test_routes_are_shortest_and_the_same_both_ways(found: list[tuple[int, int, int]]) -> None:
    """Against networkx's Dijkstra; what is not connected is refused."""
    found = [(i, i + 1, 8) for i in range(9)] + found
    topology = graph_of(found, 10)
    graph = networkx.Graph()
    for edge in topology.edges:
        graph.add_edge(edge.a, edge.b, weight=edge.delay_s)
    for a in topology.by_name:
        lengths = networkx.single_source_dijkstra_path_length(graph, a)
        for b in topology.by_name:
            route = topology.route(a, b)
            assert topology.delay_s(a, b) == lengths[b] == sum(edge.delay_s for _, edge in route)
            assert [edge for _, edge in route] == [edge for _, edge in reversed(topology.route(b, a))]
            here = a
            for entered, edge in route:
                assert entered == here
                here = edge.b if entered == edge.a else edge.a
            assert here == b


def test_ties_go_by_hops_and_then_by_names() -> None:
    sites = tuple(Site(name) for name in ("a", "b", "c", "d", "z"))
    square = Topology(
        sites, (Edge("a", "c", 1), Edge("c", "z", 1), Edge("a", "b", 1), Edge("b", "z", 1), Edge("d", "z", 0))
    )
    assert [entered for entered, _ in square.route("a", "z")] == ["a", "b"]
    assert [entered for entered, _ in square.route("z", "a")] == ["z", "b"]
    direct = Topology(sites, (*square.edges, Edge("a", "z", 2)))
    assert [entered for entered, _ in direct.route("a", "z")] == ["a"]
    other = Topology(sites[::-1], direct.edges[::-1])
    assert all(other.route(a, b) == direct.route(a, b) for a in direct.by_name for b in direct.by_name)


def test_a_graph_that_falls_apart_names_both_parts() -> None:
    with pytest.raises(Disconnected, match=r"no way leads from \{a, b\} to \{c, d\}") as caught:
        Topology(tuple(map(Site, "abcd")), (Edge("a", "b", 0.0), Edge("c", "d", 0.0)))
    assert (caught.value.part, caught.value.rest) == (("a", "b"), ("c", "d"))
    with pytest.raises(Disconnected, match="and 12 more"):
        Topology(tuple(Site(f"s{i}") for i in range(21)), ())


@pytest.mark.parametrize(
    ("sites", "joined", "says"),
    [
        ("aa", [], "two sites have one name"),
        ("", [], "from 1 to"),
        ("ab", [("a", "c")], "'c', which is no site"),
        ("ab", [("a", "b"), ("b", "a")], "two edges join"),
    ],
)
def test_a_network_that_cannot_be_is_refused(sites: str, joined: list[tuple[str, str]], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        Topology(tuple(map(Site, sites)), tuple(Edge(a, b, 0.0) for a, b in joined))


@pytest.mark.parametrize(
    "changes",
    [
        {"b": "a"},
        {"delay_s": -1.0},
        {"delay_s": inf},
        {"rate_bytes_per_s": 0.0},
        {"rate_bytes_per_s": float("nan")},
        {"loss": 1.0},
        {"half_duplex": True, "back_bytes_per_s": 3.0},
        {"rate_bytes_per_s": 5.0, "background": Background(5.0)},
    ],
)
def test_an_edge_that_cannot_be_is_refused(changes: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="the edge a"):
        Edge(**{"a": "a", "b": "b", "delay_s": 0.0, **changes})  # type: ignore[arg-type]


def test_loss_adds_up_along_a_path() -> None:
    assert loss_of([]) == 0.0
    assert loss_of([0.1, 0.2]) == pytest.approx(1 - 0.9 * 0.8)


# Generated.


def test_generated_networks_are_what_they_are_called() -> None:
    fog = tree(1, fogs=2, edges=3)
    assert [len(fog.named(kind)) for kind in ("cloud", "fog", "edge")] == [1, 2, 6]
    assert fog.delay_s("edge-0", "edge-5") == pytest.approx(2 * 0.013)
    assert fog.delay_s("edge-0", "edge-2") == pytest.approx(0.006)
    radio = access(1, access_points=2, cells=1)
    assert [type(site.medium) for site in radio.sites] == [type(None), WiFi, WiFi, Cell]
    grid = mesh(1, rows=3, columns=4)
    assert (len(grid.sites), len(grid.edges)) == (12, 3 * 3 + 2 * 4)
    assert grid.delay_s("node-0", "node-11") == pytest.approx(5 * 0.002)
    assert all(edge.half_duplex for edge in grid.edges)
    random = geometric(3, sites=30, radius=0.5)
    assert random == geometric(3, sites=30, radius=0.5)
    assert random != geometric(4, sites=30, radius=0.5)
    # In the middle of a unit square π r² of the others are near; at its edges fewer.
    near = 2 * len(random.edges) / 30 / 29
    assert 0.3 < near < 0.79
    with pytest.raises(Disconnected):
        geometric(3, sites=30, radius=0.05)


# Files.


def example() -> networkx.Graph:
    graph = networkx.Graph()
    graph.add_node("home", kind="house", medium="wifi")
    graph.add_node("mast", medium="cell", up_mbit_s=50, down_mbit_s=150)
    graph.add_node("town")
    graph.add_edge("home", "town", delay_ms=5.0, rate_mbit_s=100.0, back_rate_mbit_s=20.0)
    graph.add_edge("mast", "town", delay_ms=10.0, loss=0.01, background_mbit_s=0.0, background_flows=2)
    return graph


def expected() -> Topology:
    return Topology(
        (Site("home", "house", WiFi()), Site("mast", "site", Cell(50 * MBIT, 150 * MBIT)), Site("town")),
        (
            Edge("home", "town", 0.005, 100 * MBIT, 20 * MBIT),
            Edge("mast", "town", 0.01, loss=0.01, background=Background(flows=2)),
        ),
    )


def test_graphs_are_read_from_both_formats() -> None:
    assert from_networkx(example()) == expected()
    written = io.BytesIO()
    networkx.write_graphml(example(), written)
    assert read_graph("a.graphml", written.getvalue()) == expected()
    for key in ("edges", "links"):
        data = json.dumps(networkx.node_link_data(example(), edges=key)).encode()
        assert read_graph("a.json", data) == expected()


def changed(node: str = "", edge: bool = False, **attributes: object) -> bytes:
    graph = example()
    if edge:
        graph.edges["home", "town"].update(attributes)
    elif node:
        graph.add_node(node, **attributes)
        graph.add_edge(node, "town", delay_ms=1.0)
    return json.dumps(networkx.node_link_data(graph, edges="edges")).encode()


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"{", "not a graph"),
        (b"[]", "accepted: a map with `nodes` and `edges`"),
        (b'{"nodes": [{"id": "a"}], "edges": {}}', "accepted: a map with `nodes` and `edges`"),
        (b'{"nodes": [{"id": "a"}, {"id": "b"}], "edges": [], "directed": true}', "undirected"),
        (b'{"nodes": [{"id": "a"}, {"id": "b"}], "edges": []}', "no way leads from {a} to {b}"),
        (b'{"nodes": [{"id": "1"}], "edges": []}', "names of a letter"),
        (b'{"nodes": [{"id": "a"}, {"id": "b"}, {"id": "a"}], "edges": []}', "net.json: node a stands twice"),
        (b'{"nodes": [{"id": "a", "id": "b"}], "edges": []}', "net.json: the key 'id' stands twice"),
        (b'{"nodes": [], "edges": [], "edges": []}', "the key 'edges' stands twice"),
        (
            b'{"nodes": [{"id": "a"}, {"id": "b"}], "edges": [{"source": "a", "target": "b", "delay_ms": 1},'
            b' {"source": "b", "target": "a", "delay_ms": 500}]}',
            "edge a - b stands twice",
        ),
        (changed("x", medium="radio"), "medium is 'radio'; accepted: wifi, cell, or none"),
        (changed("x", medium="cell"), "accepted: up_mbit_s and down_mbit_s above 0"),
        (changed("x", colour="red"), "unknown attribute 'colour'; accepted: kind, medium"),
        (changed("x", kind="town"), "its kind 'town' is the name of a node"),
        (changed(edge=True, delay_ms="soon"), "delay_ms is 'soon'; accepted: a number"),
        (changed(edge=True, delay_ms=-1), "edge home - town: delay_ms is -1; accepted: a number from 0 to 3.6e+06"),
        (changed(edge=True, rate_mbit_s=0), "rate_mbit_s is 0; accepted: a number from 8e-06 to 8e+09"),
        (changed(edge=True, delay_ms=1e300), "edge home - town: delay_ms is 1e+300; accepted: a number from 0"),
        (changed(edge=True, rate_mbit_s=1e300), "rate_mbit_s is 1e+300; accepted: a number from 8e-06"),
        (changed(edge=True, rate_mbit_s=1e-300), "rate_mbit_s is 1e-300; accepted: a number from 8e-06"),
        (changed(edge=True, rate_mbit_s=10**400), "accepted: a number from 8e-06"),
        (changed("x", medium="cell", up_mbit_s=1e-300, down_mbit_s=1), "node x: up_mbit_s is 1e-300"),
        (changed(edge=True, half_duplex=1), "half_duplex is 1; accepted: true or false"),
        (changed(edge=True, background_flows=0.5), "accepted: a whole number"),
        (changed(edge=True, weight=2), "unknown attribute 'weight'; accepted: delay_ms, rate_mbit_s"),
    ],
)
def test_a_graph_that_cannot_be_used_is_refused_with_the_reason(data: bytes, says: str) -> None:
    with pytest.raises(ValueError) as caught:
        read_graph("net.json", data)
    assert says in str(caught.value)


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ('<edge source="town" target="home"><data key="d">9</data></edge>', "edge home - town stands twice"),
        ('<node id="home"/>', "node home stands twice"),
    ],
)
def test_nothing_stands_twice_in_graphml(more: str, says: str) -> None:
    key = '<key id="d" for="edge" attr.name="delay_ms" attr.type="double"/>'
    edge = '<edge source="home" target="town"><data key="d">5</data></edge>'
    nodes = '<node id="home"/><node id="town"/>'
    text = (
        '<graphml xmlns="http://graphml.graphdrawing.org/xmlns">{}<graph edgedefault="undirected">{}</graph></graphml>'
    )
    assert len(read_graph("net.graphml", text.format(key, nodes + edge).encode()).edges) == 1
    with pytest.raises(ValueError, match=says):
        read_graph("net.graphml", text.format(key, nodes + edge + more).encode())


def test_hostile_graphml_is_refused() -> None:
    bomb = b'<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a "aaaa">]><graphml>&a;</graphml>'
    with pytest.raises(GraphWrong, match="DOCTYPE"):
        read_graph("a.graphml", bomb)
    for data in (b"", b"<graphml/>", b"\xff\xfe", b"<a>", b"<graphml><graph edgedefault='directed'/></graphml>"):
        with pytest.raises(ValueError, match=r"a\.graphml"):
            read_graph("a.graphml", data)
    with pytest.raises(GraphWrong, match="at most"):
        read_graph("a.graphml", b" " * ((16 << 20) + 1))


def test_an_edge_needs_its_delay() -> None:
    graph = networkx.Graph([("a", "b")])
    with pytest.raises(GraphWrong, match="edge a - b: delay_ms is missing"):
        from_networkx(graph)
