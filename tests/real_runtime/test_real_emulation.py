"""Emulated links: what the relay does with packets, and namespaces that are gone when their processes are."""

from __future__ import annotations

import asyncio
import dataclasses
import itertools
import math
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import msgspec
import psutil
import pyarrow.parquet as pq
import pytest
import real_studies
from hypothesis import given
from hypothesis import strategies as st

from core.links import Handover, Link
from core.network import (
    Curve,
    Edge,
    Jitter,
    JitterState,
    Network,
    Outages,
    Relay,
    Site,
    Topology,
    Transport,
    WiFi,
)
from core.network.transport import QUEUE_S
from core.records import RunWriter
from real_runtime import launcher
from real_runtime.emulation import namespace
from real_runtime.emulation.access import LEAST_QUEUE_BYTES, queue_bytes, stages
from real_runtime.emulation.namespace import EmulationUnavailable, address_of, make_wire
from real_runtime.emulation.shaping import Plan, Port, Shaper
from real_runtime.emulation.wiring import Wiring, plan
from sim.testing import run_sim

ROOT = Path(__file__).resolve().parents[2]


def packet(to: int, size_bytes: int, mark: int = 0) -> bytes:
    head = b"\x45" + bytes(11) + mark.to_bytes(4, "big") + socket.inet_aton(address_of(to))
    return head + bytes(size_bytes - len(head))


def shaper(*links: tuple[float, float, float], delay_s: float = 0.0, seed: int = 1) -> Shaper:
    """Links of (up bytes/s, down bytes/s, loss)."""
    return Shaper(plan_of(*links, delay_s=delay_s, seed=seed))


def plan_of(*links: tuple[float, float, float], delay_s: float = 0.0, seed: int = 1) -> Plan:
    return plan_of_links(*(steady(*link) for link in links), delay_s=delay_s, seed=seed)


def steady(up: float, down: float, loss: float = 0.0) -> Link:
    return Link("path", "ethernet", 0.0, up, down, loss=loss)


def plan_of_links(*links: Link, delay_s: float = 0.0, seed: int = 1, time_scale: float = 1.0) -> Plan:
    ports = tuple(Port(f"n{k}", f"actor-{k}", address_of(k), stages(link)) for k, link in enumerate(links))
    return Plan(ports, tuple((delay_s,) * len(ports) for _ in ports), seed, time_scale=time_scale)


def all_arrivals(links: Shaper) -> list[tuple[float, int, bytes]]:
    """When what is on its way arrives, with a relay that is never late."""
    found = []
    while (at_s := links.next_s) < math.inf:
        found += [(at_s, node, arrived) for node, arrived in links.due(at_s)]
    return found


def test_a_packet_passes_both_links_one_after_the_other_and_the_path_between() -> None:
    links = shaper((1e5, 1e9, 0.0), (1e9, 5e4, 0.0), delay_s=0.02)
    links.offer(1.0, 0, packet(1, 1000))
    ((at_s, node, _),) = all_arrivals(links)
    assert node == 1
    assert at_s == pytest.approx(1.0 + 1000 / 1e5 + 0.02 + 1000 / 5e4, abs=1e-12)


def test_a_burst_leaves_at_the_rate_of_the_slower_link_however_late_the_relay_is() -> None:
    links = shaper((1e6, 1e9, 0.0), (1e9, 2e5, 0.0), delay_s=0.005)
    for mark in range(10):
        links.offer(0.0, 0, packet(1, 1500, mark))
    arrivals = all_arrivals(links)
    assert [arrived[12:16][-1] for _, _, arrived in arrivals] == list(range(10))
    first_s = 1500 / 1e6 + 0.005 + 1500 / 2e5
    assert [at for at, _, _ in arrivals] == pytest.approx([first_s + k * 1500 / 2e5 for k in range(10)], abs=1e-12)
    late = shaper((1e6, 1e9, 0.0), (1e9, 2e5, 0.0), delay_s=0.005)
    for mark in range(10):
        late.offer(0.0, 0, packet(1, 1500, mark))
    assert len(late.due(first_s + 4.5 * 1500 / 2e5)) == 5, "those that are due, and no more, when it looks again"
    # A packet takes 7.5 ms: the five had been due for 3.75 ms and more, which is late; the next is not.
    assert (late.counts[0].late, links.counts[0].late) == (5, 0)
    assert len(late.due(first_s + 5.1 * 1500 / 2e5)) == 1
    assert late.counts[0].late == 5


def test_a_full_queue_drops_what_comes() -> None:
    rate = float(1 << 20)
    assert queue_bytes(rate) == QUEUE_S * rate
    assert queue_bytes(1e4) == LEAST_QUEUE_BYTES
    links = shaper((rate, 1e12, 0.0), (1e12, 1e12, 0.0))
    for _ in range(200):
        links.offer(0.0, 0, packet(1, 1024))
    # Those before which at most 0.1 s of others wait: 0 to 102 of 1/1024 s each.
    assert links.counts[0].overflowed == 200 - 103
    assert len(all_arrivals(links)) == 103


def test_loss_is_one_draw_a_packet_of_both_links() -> None:
    links = shaper((1e12, 1e12, 0.1), (1e12, 1e12, 0.2), (1e12, 1e12, 0.0), seed=7)
    for _ in range(2000):
        links.offer(0.0, 0, packet(1, 40))
    draw = random.Random(7).random
    assert links.counts[0].lost == sum(draw() < 1.0 - 0.9 * 0.8 for _ in range(2000))
    before = links.counts[2].lost
    for _ in range(100):
        links.offer(0.0, 2, packet(2, 40))
    assert links.counts[2].lost == before == 0


def test_jitter_is_that_of_the_simulator_and_lets_no_packet_overtake() -> None:
    """The factor of each pair, from the same seed and names, in the study's time; both directions have the same."""
    jitter = Jitter(0.6, 0.8, 1.0)
    fast = (1e12, 1e12, 0.0)
    # 0.05 s of the wall.
    made = msgspec.structs.replace(plan_of(fast, fast, fast, delay_s=0.1), jitter=jitter, time_scale=0.5)
    links = Shaper(made)
    links.begin(7.0)
    factors = {(a, b): JitterState(jitter, 1, f"actor-{a}", f"actor-{b}") for a, b in ((0, 1), (0, 2))}
    seen = []
    for step in range(40):
        for a, b in ((0, 1), (2, 0)):
            began_s = 7.0 + 0.5 * step
            links.offer(began_s, a, packet(b, 100))
            ((at_s, node, _),) = all_arrivals(links)
            assert node == b
            factor = factors[min(a, b), max(a, b)].factor(float(step))
            assert at_s - began_s == pytest.approx(0.05 * factor, abs=1e-6)
            seen.append(factor)
    assert max(seen) > 1.5 * min(seen)
    links, arrivals = Shaper(made), []
    links.begin(0.0)
    for mark in range(4000):
        links.offer(0.01 * mark, 0, packet(1, 100, mark))
        arrivals += links.due(0.01 * mark)
    arrivals += [(node, arrived) for _, node, arrived in all_arrivals(links)]
    assert [int.from_bytes(arrived[12:16], "big") for _, arrived in arrivals] == list(range(4000))


def test_what_is_for_nobody_or_no_packet_is_left() -> None:
    links = shaper((1e6, 1e6, 0.0), (1e6, 1e6, 0.0))
    for nonsense in (b"", b"\x45", packet(7, 40), b"\x60" + packet(1, 60)[1:]):
        links.offer(0.0, 0, nonsense)
    assert (links.stray, links.counts[0].packets, links.next_s) == (4, 0, math.inf)


@given(
    packets=st.lists(
        st.tuples(st.floats(0.0, 0.05), st.integers(0, 2), st.integers(0, 2), st.integers(20, 1500)), max_size=60
    ),
    rates=st.lists(st.floats(1e4, 1e7), min_size=6, max_size=6),
    loss=st.floats(0.0, 0.5),
    delay_s=st.floats(0.0, 0.1),
    pauses=st.lists(st.floats(0.0, 0.02), min_size=1, max_size=5),
)
def test_packets_are_conserved_in_order_and_never_early(
    packets: list[tuple[float, int, int, int]],
    rates: list[float],
    loss: float,
    delay_s: float,
    pauses: list[float],
) -> None:
    links = shaper(*((rates[2 * k], rates[2 * k + 1], loss) for k in range(3)), delay_s=delay_s)
    now_s, sent, got = 0.0, {}, []
    for mark, (gap_s, a, b, size_bytes) in enumerate(packets):
        now_s += gap_s
        sent[mark] = (now_s, a, b, size_bytes)
        links.offer(now_s, a, packet(b, size_bytes, mark))
        if mark % 3 == 0:
            now_s += pauses[mark % len(pauses)]
            got += [(now_s, node, arrived) for node, arrived in links.due(now_s)]
    got += all_arrivals(links)
    assert len(got) + sum(c.lost + c.overflowed for c in links.counts) == len(packets)
    assert sum(c.packets for c in links.counts) == len(packets)
    assert sum(c.bytes for c in links.counts) == sum(size for *_, size in packets)
    last: dict[tuple[int, int], int] = {}
    for at_s, node, arrived in got:
        mark = int.from_bytes(arrived[12:16], "big")
        began_s, a, b, size_bytes = sent.pop(mark)
        assert (node, len(arrived)) == (b, size_bytes)
        assert at_s >= began_s + size_bytes / rates[2 * a] + delay_s + size_bytes / rates[2 * b + 1] - 1e-9
        assert last.get((a, b), -1) < mark, "packets of a path overtook one another"
        last[a, b] = mark


def test_the_plan_has_the_links_of_the_placements_in_wall_time() -> None:
    study = dataclasses.replace(real_studies.asking(), time_scale=0.5, region_delay_s={("local", "far"): 0.03}, seed=9)
    main, *others = study.placements
    slow = Link("slow", "wifi", 0.01, 1000.0, 2000.0, loss=0.01)
    placements = (dataclasses.replace(main, link=slow, region="far"), *others)
    study = dataclasses.replace(study, placements=placements)
    nodes = {f"n{k}": (placement.name,) for k, placement in enumerate(placements)}
    made = plan(study, nodes, ["10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.4"])
    assert made.ports[0] == Port("n0", placements[0].name, "10.0.0.1", stages(slow))
    assert (made.between_s[0][1], made.between_s[1][0], made.between_s[1][2]) == (0.03, 0.03, 0.0)
    assert (made.seed, made.time_scale) == (9, 0.5)
    links = Shaper(made)
    links.offer(0.0, 0, packet(1, 1000))
    ((at_s, _, _),) = all_arrivals(links)
    passes_s = 1000 / 1000.0 + 0.01 + 0.03 + others[0].link.latency_s + 1000 / others[0].link.down_bytes_per_s
    assert at_s == pytest.approx(0.5 * passes_s, abs=1e-12), "in seconds of the wall"
    assert made.jitter is None
    jittery = dataclasses.replace(study, network=Network(jitter=Jitter(0.5, 0.8, 10.0)))
    made = plan(jittery, nodes, ["10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.4"])
    assert (made.jitter, made.time_scale) == (Jitter(0.5, 0.8, 10.0), 0.5)
    assert msgspec.json.decode(msgspec.json.encode(made), type=Plan) == made, "it goes to the relay as text"
    with pytest.raises(ValueError, match="n0 has 2 actors"):
        plan(study, {"n0": ("main", "a")}, ["10.0.0.1"])


OWN_RATES = [name for name, link in real_studies.LINKS.items() if link.varies]


@pytest.mark.parametrize("name", OWN_RATES)
def test_rates_vary_as_in_the_simulator_from_the_beginning_of_the_study_on(name: str) -> None:
    """The same curve from the same seed and names; the wall's seconds are half of the study's. Loss is left out."""
    link = dataclasses.replace(real_studies.LINKS[name], loss=0.3)
    made = plan_of_links(link, steady(1e12, 1e12), seed=5, time_scale=0.5)
    # It goes to the relay as text.
    links = Shaper(msgspec.json.decode(msgspec.json.encode(made), type=Plan))
    for mark in range(3):
        links.offer(0.0, 0, packet(1, 1000, mark))
    for at_s, _, passed in all_arrivals(links):
        nominal_s = (int.from_bytes(passed[12:16], "big") + 1) * 1000 / link.up_bytes_per_s
        assert at_s == pytest.approx(0.5 * (nominal_s + link.latency_s), abs=1e-8)
    links.begin(7.0)
    changes = tuple(Handover(h.at_s, dataclasses.replace(h.link, loss=0.0)) for h in link.handovers)
    curve = Curve(dataclasses.replace(link, loss=0.0, handovers=changes).steps("up", 5, "actor-0"))
    free_s, expected, found = 0.0, {}, {}
    for mark in range(4000):
        now_s = 0.01 * mark
        free_s = curve.time_after(max(free_s, now_s), 1000)
        expected[mark] = free_s + link.at(now_s).latency_s
        links.offer(7.0 + 0.5 * now_s, 0, packet(1, 1000, mark))
        if links.counts[0].overflowed:
            break
        found |= {int.from_bytes(p[12:16], "big"): (at_s - 7.0) / 0.5 for at_s, _, p in all_arrivals(links)}
    assert len(found) > 10
    in_order = 0.0
    for mark in sorted(found):
        in_order = max(in_order, expected[mark]) if link.handovers else expected[mark]
        assert found[mark] == pytest.approx(in_order, abs=1e-8)


def test_packets_wait_while_a_link_is_out_of_service_as_many_as_its_queue_holds() -> None:
    """An outage drops nothing by itself: what has waited leaves at the link's rate when it is over."""
    link = dataclasses.replace(steady(1e6, 1e6), outages=Outages(1.0, 50.0))
    ends = [at_s for at_s, _ in itertools.islice(link.steps("up", 1, "actor-0"), 3)]
    links = Shaper(plan_of_links(link, steady(1e12, 1e12)))
    links.begin(0.0)
    for mark in range(100):
        links.offer(ends[1] + 0.001 * (mark + 1), 0, packet(1, 1500, mark))
    # Those before which at most 0.1 s of the nominal rate wait: 0 to 66 of them.
    assert links.counts[0].overflowed == 100 - 67
    assert [at_s for at_s, _, _ in all_arrivals(links)] == pytest.approx(
        [ends[2] + 0.0015 * (k + 1) for k in range(67)], abs=1e-8
    )


def test_both_directions_of_a_half_duplex_link_share_its_air() -> None:
    """A byte takes 1 / rate of its direction, and no two packets are in the air at once."""
    radio = Link("radio", "wifi", 0.0, 1e5, 2e5, half_duplex=True)
    links = Shaper(plan_of_links(radio, steady(1e12, 1e12)))
    for mark in range(10):
        links.offer(0.0, 0, packet(1, 1000, mark))
        links.offer(0.0, 1, packet(0, 1000, mark))
    arrivals = all_arrivals(links)
    assert len(arrivals) == 20
    assert max(at_s for at_s, _, _ in arrivals) == pytest.approx(10 * (1000 / 1e5 + 1000 / 2e5), abs=1e-6)
    varied = dataclasses.replace(radio, outages=Outages(0.05, 0.2))
    links = Shaper(plan_of_links(varied, steady(1e12, 1e12)))
    links.begin(0.0)
    for mark in range(10):
        links.offer(0.0, 0, packet(1, 1000, mark))
        links.offer(0.0, 1, packet(0, 1000, mark))
    last_s = max(at_s for at_s, _, _ in all_arrivals(links))
    assert last_s == pytest.approx(Curve(varied.air(1, "actor-0")).time_after(0.0, 0.15), abs=1e-6)
    assert last_s > 0.2


def test_a_hand_over_brings_delay_and_loss_and_no_packet_overtakes() -> None:
    near, far = steady(1e12, 1e12), dataclasses.replace(steady(1e12, 1e12), latency_s=0.3, loss=0.4, name="far")
    there, back = Handover(2.0, far), Handover(4.0, dataclasses.replace(near, name="again", latency_s=0.1))
    links = Shaper(plan_of_links(dataclasses.replace(near, handovers=(there, back)), near, time_scale=0.5))
    links.begin(10.0)
    for mark in range(600):
        links.offer(10.0 + 0.005 * mark, 0, packet(1, 100, mark))
    arrivals = [(int.from_bytes(p[12:16], "big"), at_s - 10.0) for at_s, _, p in all_arrivals(links)]
    assert [mark for mark, _ in arrivals] == sorted(mark for mark, _ in arrivals)
    for mark, at_s in arrivals:
        delay_s = 0.0 if mark < 200 else 0.15 if mark < 400 else 0.05
        # What was sent just before the way became shorter still arrives first.
        assert at_s == pytest.approx(
            max(0.005 * mark + delay_s, min(0.005 * mark, 1.995) + 0.15 * (mark >= 400)), abs=0.006
        )
    assert 40 < links.counts[0].lost < 120
    assert links.counts[0].lost == 600 - len(arrivals)
    assert {*range(200), *range(400, 600)} <= {mark for mark, _ in arrivals}


def test_what_is_between_access_links_cannot_be_emulated(monkeypatch: pytest.MonkeyPatch) -> None:
    study = real_studies.behind_links()
    nodes = {f"n{k}": (placement.name,) for k, placement in enumerate(study.placements)}
    ends = (Site("a"), Site("b"))
    for network, words in (
        (Network(relay=Relay("local")), "pairs behind address translators go by a relay"),
        (Network(topology=Topology(ends, (Edge("a", "b", 0.01, 1e6),))), "the topology has rates"),
        (Network(topology=Topology(ends, (Edge("a", "b", 0.01, loss=0.1),))), "the topology has losses"),
        (
            Network(topology=Topology((Site("a", medium=WiFi()), Site("b")), (Edge("a", "b", 0.01),))),
            "the topology has access points or cells",
        ),
    ):
        with pytest.raises(EmulationUnavailable, match=f"^links cannot be emulated: {words}$"):
            Wiring(dataclasses.replace(study, network=network), nodes)
    assert not Network(topology=Topology(ends, (Edge("a", "b", 0.01),))).between_links, "delays are emulated"


def test_addresses_are_of_one_network_and_distinct() -> None:
    addresses = [address_of(number) for number in range(1000)]
    assert len(set(addresses)) == 1000
    assert all(address.startswith("10.0.") and not address.endswith((".0", ".255")) for address in addresses)


def run(directory: Path, name: str = "behind_links") -> launcher.Outcome:
    writer = RunWriter(directory)
    try:
        return asyncio.run(
            launcher.run(
                getattr(real_studies, name)(),
                node_arguments=["--deployment", f"real_studies:{name}"],
                processes=1,
                directory=directory,
                writer=writer,
            )
        )
    finally:
        writer.close()


def test_without_root_the_run_does_not_begin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(launcher.LaunchError, match=r"^links cannot be emulated: that takes root$") as refused:
        run(tmp_path)
    assert refused.value.code == 2


def test_without_tun_the_run_does_not_begin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(namespace, "TUN", tmp_path / "tun")
    with pytest.raises(EmulationUnavailable, match="tun is not there"):
        make_wire(0, congestion="cubic")


def test_too_many_actors_for_emulated_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launcher, "MOST_NODES", 3)
    with pytest.raises(launcher.LaunchError, match="4 actors are too many for emulated links") as refused:
        run(tmp_path)
    assert refused.value.code == 2


@pytest.fixture
def emulation(monkeypatch: pytest.MonkeyPatch) -> None:
    """Skip where links cannot be emulated, and say why."""
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join((str(ROOT), str(Path(__file__).parent))))
    try:
        make_wire(0, congestion="cubic").close()
    except EmulationUnavailable as error:
        pytest.skip(str(error))


def namespaces() -> set[str]:
    """The network namespaces that some process of this machine lives in or holds open."""
    found: set[str] = set()
    for process in Path("/proc").iterdir():
        if process.name.isdigit():
            try:
                links = [process / "ns" / "net", *(process / "fd").iterdir()]
            except OSError:
                continue
            for link in links:
                try:
                    target = os.readlink(link)
                except OSError:
                    continue
                if target.startswith("net:"):
                    found.add(target)
    return found


def test_a_namespace_is_apart_from_the_machine_and_goes_with_its_descriptors(emulation: None) -> None:
    interfaces = socket.if_nameindex()
    wires = [make_wire(number, congestion="reno") for number in range(2)]
    try:
        own = {os.readlink(f"/proc/self/fd/{wire.namespace_fd}") for wire in wires}
        assert len(own) == 2
        assert own <= namespaces()
        assert os.readlink("/proc/self/ns/net") not in own
        assert socket.if_nameindex() == interfaces, "the machine has no new interface"
        assert [wire.listener.getsockname()[0] for wire in wires] == ["10.0.0.1", "10.0.0.2"]
    finally:
        for wire in wires:
            wire.close()
    assert not own & namespaces()


def test_an_unknown_congestion_control_is_refused_and_leaves_nothing(emulation: None) -> None:
    before = sorted(os.listdir("/proc/self/fd"))
    with pytest.raises(EmulationUnavailable, match="congestion control 'nonesuch'"):
        make_wire(0, congestion="nonesuch")
    assert sorted(os.listdir("/proc/self/fd")) == before


@pytest.mark.slow
def test_a_study_behind_emulated_links(tmp_path: Path, emulation: None) -> None:
    outcome = run(tmp_path)
    assert outcome.nodes == {"n0": ("main",), "n1": ("a",), "n2": ("b",), "n3": ("c",)}
    assert outcome.lost == ()
    messages = pq.read_table(tmp_path / "records" / "messages").to_pylist()
    assert len(messages) == 300
    # Two links of 3.25 ms: nothing can be faster.
    assert min(row["delivered_s"] - row["sent_s"] for row in messages) >= 0.0065
    links = {row["node"]: row for row in pq.read_table(tmp_path / "records" / "host_links").to_pylist()}
    assert sorted(links) == ["n0", "n1", "n2", "n3"]
    sent = {
        row["process"]: row["frame_bytes_sent"]
        for row in pq.read_table(tmp_path / "records" / "host_nodes").to_pylist()
    }
    assert all(links[node]["packet_bytes"] > sent[node] for node in links)
    packets = sum(row["packets"] for row in links.values())
    assert 1e-6 < sum(row["relay_s"] for row in links.values()) / packets < 1e-2
    assert psutil.Process().children(recursive=True) == []


@pytest.mark.slow
@pytest.mark.parametrize("name", real_studies.LINKS)
def test_an_exchange_over_a_link_takes_as_long_as_in_the_simulator(tmp_path: Path, emulation: None, name: str) -> None:
    """Blocks one way and then the other, or over a half-duplex link both at once: to a tenth (5 % with acknowledgements
    that take air, 0 to 5 % otherwise, where this was written)."""
    study = real_studies.exchanging(name)
    network = Network(transport=Transport("cubic", goodput_share=0.96), varying=True)
    simulated = run_sim(dataclasses.replace(study, network=network))
    writer = RunWriter(tmp_path)
    try:
        asyncio.run(
            launcher.run(
                study,
                node_arguments=["--deployment", f"real_studies:exchanging:{name}"],
                processes=1,
                directory=tmp_path,
                writer=writer,
            )
        )
    finally:
        writer.close()
    real = pq.read_table(tmp_path / "records" / "messages").to_pylist()
    # Over a half-duplex link it is when both ways are through: how flows share the air is TCP's.
    for receivers in [("main", "taker")] if study.placements[0].link.half_duplex else [("main",), ("taker",)]:
        ends = [m.delivered_s for m in simulated.messages if m.type == "Block" and m.receiver in receivers]
        found = [m["delivered_s"] for m in real if m["type"] == "Block" and m["receiver"] in receivers]
        assert len(found) == len(ends) == real_studies.BLOCKS * len(receivers)
        sys.stdout.write(f"{name}: at {' and '.join(receivers)}: {max(ends):.3f} s, on sockets {max(found):.3f} s\n")
        assert max(found) == pytest.approx(max(ends), rel=0.1)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_nothing_stays_behind_of_a_launcher_that_is_killed(
    tmp_path: Path, emulation: None, number: signal.Signals
) -> None:
    script = Path(__file__).with_name("real_studies.py")
    with subprocess.Popen(
        [sys.executable, str(script), "endless_behind_links", "1", str(tmp_path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "begun\n"
        children = psutil.Process(process.pid).children(recursive=True)
        assert len(children) == 5, "four nodes and the relay"
        own = {os.readlink(f"/proc/{child.pid}/ns/net") for child in children} - {os.readlink("/proc/self/ns/net")}
        assert len(own) == 4, "one for each node; the relay stays in ours"
        process.send_signal(number)
        assert process.wait(timeout=30) != 0
    _, alive = psutil.wait_procs(children, timeout=30)
    assert alive == []
    assert not own & namespaces()


@pytest.mark.slow
def test_a_run_whose_relay_dies_fails_and_says_so(tmp_path: Path, emulation: None) -> None:
    async def scenario() -> None:
        writer = RunWriter(tmp_path)
        begun = asyncio.Event()
        running = asyncio.create_task(
            launcher.run(
                real_studies.endless_behind_links(),
                node_arguments=["--deployment", "real_studies:endless_behind_links"],
                processes=1,
                directory=tmp_path,
                writer=writer,
                on_progress=lambda progress: begun.set(),
            )
        )
        await asyncio.wait_for(begun.wait(), 60)
        relays = [child for child in psutil.Process().children() if "real_runtime.emulation.relay" in child.cmdline()]
        assert len(relays) == 1
        relays[0].kill()
        try:
            with pytest.raises(launcher.LaunchError, match="the relay of the emulated links has ended"):
                await running
        finally:
            writer.close()

    asyncio.run(scenario())
    assert psutil.Process().children(recursive=True) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="a higher priority takes root")
def test_a_session_gets_the_priority_of_its_process() -> None:
    """A relay's nice value alone counts among the processes of its own session, which are none."""
    code = (
        "import os, pathlib; from real_runtime.priority import raise_priority; raise_priority(by=7);"
        "group = pathlib.Path('/proc/self/autogroup');"
        "print(os.getpriority(os.PRIO_PROCESS, 0), group.read_text().split()[-1] if group.exists() else '')"
    )
    before = os.getpriority(os.PRIO_PROCESS, 0)
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, start_new_session=True, capture_output=True, text=True, check=True
    )
    nice, *session = done.stdout.split()
    assert int(nice) == max(before - 7, -20)
    if session and int(nice) < 0:
        assert session == [nice]


def best_bytes_per_s(sender_fd: int, listener: socket.socket) -> float:
    """The best of three times: other work of the machine can only hold packets up."""
    return max(goodput_bytes_per_s(sender_fd, listener, 3.0) for _ in range(3))


def goodput_bytes_per_s(sender_fd: int, listener: socket.socket, seconds: float) -> float:
    """What one TCP connection carries from a namespace, after its first second."""
    got: list[tuple[float, int]] = []

    def receive() -> None:
        connection, _ = listener.accept()
        with connection:
            total = 0
            while piece := connection.recv(1 << 16):
                total += len(piece)
                got.append((time.monotonic(), total))

    def send() -> None:
        namespace.enter(sender_fd)
        with socket.create_connection(listener.getsockname()) as connection:
            ends_s = time.monotonic() + seconds
            while time.monotonic() < ends_s:
                connection.sendall(bytes(1 << 14))

    threads = [threading.Thread(target=part) for part in (receive, send)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    begin_s = got[0][0]
    part = [(at_s, total) for at_s, total in got if begin_s + 1.0 <= at_s <= begin_s + seconds]
    return (part[-1][1] - part[0][1]) / (part[-1][0] - part[0][0])


@pytest.mark.slow
@pytest.mark.parametrize("mbit", [5.0, 20.0])
def test_the_relay_and_tbf_have_the_rate_of_the_specification(emulation: None, mbit: float) -> None:
    """1448 of 1500 bytes are payload at the relay, which counts IP packets, and of 1514 at tbf, which counts frames and
    lets a bucket of 16 kB through at once."""
    missing = [tool for tool in ("ip", "tc") if shutil.which(tool) is None]
    wires = [make_wire(number, congestion="cubic") for number in range(2)]
    try:
        rate = mbit * 1e6 / 8
        made = plan_of((rate, rate, 0.0), (rate, rate, 0.0), delay_s=0.005)
        with subprocess.Popen(
            [sys.executable, "-P", "-m", "real_runtime.emulation.relay", *(str(wire.tun_fd) for wire in wires)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            pass_fds=[wire.tun_fd for wire in wires],
        ) as relay:
            assert relay.stdin is not None
            relay.stdin.write(msgspec.json.encode(made) + b"\n")
            relay.stdin.flush()
            found = best_bytes_per_s(wires[0].namespace_fd, wires[1].listener)
            relay.communicate(timeout=20)
        assert found == pytest.approx(rate * 1448 / 1500, rel=0.03)
        if missing:
            pytest.skip(f"the relay has its rate; tbf was not measured: no {' and no '.join(missing)}")

        def command(wire: namespace.Wire, *words: str) -> None:
            # A process that forks with threads may not; one of its own enters the namespace and becomes the tool.
            enter = "import os, sys; from real_runtime.emulation.namespace import enter; enter(int(sys.argv[1]));"
            done = subprocess.run(
                [sys.executable, "-c", enter + "os.execvp(sys.argv[2], sys.argv[2:])", str(wire.namespace_fd), *words],
                cwd=ROOT,
                pass_fds=[wire.namespace_fd],
                capture_output=True,
                text=True,
                check=False,
            )
            if done.returncode:
                pytest.skip(f"the relay has its rate; tbf was not measured: {' '.join(words)}: {done.stderr.strip()}")

        there = f"/proc/{os.getpid()}/fd/{wires[1].namespace_fd}"
        command(wires[0], *f"ip link add tbf0 type veth peer name tbf1 netns {there}".split())
        for number, wire in enumerate(wires):
            command(wire, *f"ip address add 10.1.0.{number + 1}/24 dev tbf{number}".split())
            command(wire, *f"ip link set tbf{number} up".split())
        command(wires[0], *f"tc qdisc add dev tbf0 root tbf rate {mbit:g}mbit burst 16kb latency 100ms".split())
        inside: list[socket.socket] = []

        def listen() -> None:
            namespace.enter(wires[1].namespace_fd)
            inside.append(socket.create_server(("10.1.0.2", 0)))

        thread = threading.Thread(target=listen)
        thread.start()
        thread.join()
        with inside[0] as listener:
            shaped = best_bytes_per_s(wires[0].namespace_fd, listener)
        assert shaped == pytest.approx(rate * 1448 / 1514, rel=0.05)
    finally:
        for wire in wires:
            wire.close()
