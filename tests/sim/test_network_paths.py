"""Networks beyond the star in the simulator: exact times over topologies, transports, links that vary, hand-overs."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable
from math import inf

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core import rng
from core.actor import Context, Message, Start
from core.deployment import Deployment, Fault, Partition, Placement
from core.devices import Radio
from core.links import Handover, Link
from core.network import (
    Autoregressive,
    Background,
    Cell,
    Edge,
    Jitter,
    Network,
    Outages,
    Relay,
    Replay,
    Site,
    Topology,
    Trace,
    Transport,
    WiFi,
)
from core.network.transport import transfer_s
from core.network.windows import Connection
from core.records.rows import DeviceRow, EnergyRow
from sim.network.routed import RoutedNode
from tests.sim.studies import (
    FAST,
    PLUGGED,
    SLOW,
    Answer,
    Large,
    Outcome,
    Small,
    answer,
    build,
    handling,
    large,
    living,
    place,
    run,
    study,
)

NODE = Link(name="node", kind="wifi", latency_s=0.0, up_bytes_per_s=4096.0, down_bytes_per_s=4096.0)
#: No difference but the way it is computed.
VARYING = Network(varying=True)


async def swallow(ctx: Context, message: Message) -> None:
    """Takes a message without a word."""


def keeper(name: str, link: Link = FAST, **settings: object) -> Placement:
    return place(name, handling(swallow, Small, Large), link, **settings)  # type: ignore[arg-type]


def sender(name: str, plan: list[tuple[float, str, int]], link: Link, **settings: object) -> Placement:
    """Sends bulk: (time, receiver, bytes)."""

    async def life(ctx: Context) -> None:
        for at_s, to, size in plan:
            await ctx.sleep(at_s - ctx.now)
            await ctx.send(to, large(to, name, size))
        await ctx.sleep(1e5)

    return place(name, living(life), link, **settings)  # type: ignore[arg-type]


async def wait(ctx: Context) -> None:
    await ctx.sleep(1e4)


def bulk(outcome: Outcome) -> dict[tuple[str, str], list[float]]:
    """Arrival times of bulk by (sender, receiver)."""
    found: dict[tuple[str, str], list[float]] = {}
    for at_s, a, b in outcome.arrivals("Large"):
        found.setdefault((a, b), []).append(at_s)
    return found


def deployed(*placements: Placement, **settings: object) -> Deployment:
    found: Deployment = study(wait, *placements, **settings)
    return found


LINE = Topology(
    (Site("left"), Site("middle"), Site("right")),
    (Edge("left", "middle", 0.25, 1024.0), Edge("middle", "right", 0.5, 2048.0)),
)


def test_a_message_crosses_a_line_at_its_narrowest_edge_and_all_its_delays() -> None:
    def made(network: Network) -> Deployment:
        return study(
            place("main", living(wait), FAST, region="middle"),
            sender("a", [(0.0, "b", 2048)], NODE, region="left"),
            keeper("b", NODE, region="right"),
            network=network,
        )

    outcome = run(made(Network(topology=LINE)))
    assert bulk(outcome)["a", "b"] == [2.0 + 0.75]


def test_flows_over_edges_are_max_min_fair() -> None:
    """Of 1024 B/s at the first edge two flows get 512 each; at the second, 2048, the third gets what is left: 1536."""
    outcome = run(
        study(
            place("main", living(wait), FAST, region="middle"),
            sender("a", [(0.0, "c", 1024)], NODE, region="left"),
            sender("b", [(0.0, "d", 1024)], NODE, region="left"),
            sender("e", [(0.0, "f", 3072)], NODE, region="middle"),
            keeper("c", NODE, region="middle"),
            keeper("d", NODE, region="right"),
            keeper("f", NODE, region="right"),
            network=Network(topology=LINE),
        )
    )
    assert bulk(outcome) == {("a", "c"): [2.25], ("b", "d"): [2.75], ("e", "f"): [2.5]}


def test_background_traffic_takes_its_share_of_an_edge() -> None:
    """Of 1024 B/s: 256 are gone for good, and two greedy foreign flows leave a third of the rest; or come and go."""

    def took_s(background: Background, size: int = 1024) -> float:
        topology = Topology((Site("left"), Site("right")), (Edge("left", "right", 0.0, 1024.0, background=background),))
        outcome = run(
            study(
                place("main", living(wait), FAST, region="left"),
                sender("a", [(0.0, "b", size)], NODE, region="left"),
                keeper("b", NODE, region="right"),
                network=Network(topology=topology),
            )
        )
        return bulk(outcome)["a", "b"][0]

    assert took_s(Background()) == 1.0
    assert took_s(Background(256.0)) == 1024 / 768
    assert took_s(Background(256.0, flows=2)) == pytest.approx(1024 / 256)
    # Half of the time alone, half of the time one of two: three quarters of the rate, over some 400 comings and goings.
    long = took_s(Background(flows=1, mean_on_s=1.0, mean_off_s=1.0), 1 << 19)
    assert long == pytest.approx((1 << 19) / (0.75 * 1024), rel=0.08)


def test_small_messages_take_the_slowest_edge() -> None:
    async def life(ctx: Context) -> None:
        await ctx.send("b", Small(n=1))
        await ctx.sleep(100.0)

    outcome = run(
        study(
            place("main", living(life), NODE, region="left"),
            place("b", handling(answer, Small), NODE, region="right"),
            network=Network(topology=LINE),
        )
    )
    (row,) = outcome.records.messages[:1]
    assert row.delivered_s == row.size_bytes / 1024 + 0.75


def test_devices_of_an_access_point_share_its_air() -> None:
    """Alone a station has its own rate; two of 4096 and 1024 B/s get equal rates, 4096·1024/5120 B/s each."""
    topology = Topology((Site("core"), Site("ap", "ap", WiFi())), (Edge("core", "ap", 0.0),))
    slower = dataclasses.replace(NODE, up_bytes_per_s=1024.0)

    def made(*stations: Placement) -> Deployment:
        return study(
            place("main", living(wait), FAST, region="core"),
            keeper("sink", FAST, region="core"),
            *stations,
            network=Network(topology=topology),
        )

    alone = sender("a", [(0.0, "sink", 8192)], NODE, region="ap")
    assert bulk(run(made(alone)))["a", "sink"] == [2.0]
    both = bulk(run(made(alone, sender("b", [(0.0, "sink", 8192)], slower, region="ap"))))
    assert both["a", "sink"] == both["b", "sink"] == [pytest.approx(8192 / 819.2)]
    # Up and down share the air, too.
    down = sender("main", [(0.0, "b", 8192)], FAST, region="core")
    halves = run(
        study(
            down,
            keeper("sink", FAST, region="core"),
            keeper("b", NODE, region="ap"),
            alone,
            network=Network(topology=topology),
        )
    )
    assert bulk(halves) == {("main", "b"): [4.0], ("a", "sink"): [4.0]}


def test_two_stations_of_one_access_point_pay_its_air_twice() -> None:
    topology = Topology((Site("ap", "ap", WiFi()),), ())
    outcome = run(
        study(
            place("main", living(wait), FAST, region="ap"),
            sender("a", [(0.0, "b", 8192)], NODE, region="ap"),
            keeper("b", NODE, region="ap"),
            network=Network(topology=topology),
        )
    )
    assert bulk(outcome)["a", "b"] == [4.0]


def test_devices_of_a_cell_share_its_rates_each_way() -> None:
    """Three of 4096 B/s in a cell of 6144 B/s up get 2048 each."""
    topology = Topology((Site("core"), Site("cell", "cell", Cell(6144.0, 1024.0))), (Edge("core", "cell", 0.0),))
    outcome = run(
        study(
            place("main", living(wait), FAST, region="core"),
            keeper("sink", FAST, region="core"),
            *(sender(name, [(0.0, "sink", 8192)], NODE, region="cell") for name in "abc"),
            network=Network(topology=topology),
        )
    )
    assert sorted(bulk(outcome).values()) == [[4.0]] * 3


def test_an_access_point_is_processor_sharing_in_virtual_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """The server's link carries whatever the stations can send: the air alone limits them, and nothing is solved."""
    monkeypatch.setattr("sim.network.fair.max_min_rates", None)
    topology = Topology((Site("core"), Site("ap", "ap", WiFi())), (Edge("core", "ap", 0.0, 2.0**20),))
    outcome = run(
        study(
            place("main", living(wait), NODE, region="core"),
            keeper("sink", FAST, region="core"),
            *(sender(f"s-{i}", [(0.0, "sink", 4096)], NODE, region="ap") for i in range(8)),
            network=Network(topology=topology),
        )
    )
    assert list(bulk(outcome).values()) == [[8.0]] * 8


def test_max_min_in_a_star_gives_what_a_slow_phone_leaves() -> None:
    """A sink of 4096 B/s, senders of 512 and 4096 B/s: the fast one gets 3584; link by link it would have to wait."""

    def made(network: Network) -> Deployment:
        return deployed(
            keeper("sink", NODE),
            sender("slow", [(0.0, "sink", 4096)], dataclasses.replace(NODE, up_bytes_per_s=512.0)),
            sender("fast", [(0.0, "sink", 14336)], NODE),
            network=network,
        )

    fair = bulk(run(made(Network(sharing="max_min"))))
    assert fair == {("slow", "sink"): [8.0], ("fast", "sink"): [4.0]}
    assert bulk(run(made(Network())))["fast", "sink"] == [4.5]


def test_a_half_duplex_link_shares_its_air_among_both_directions() -> None:
    """Up at 4096 and down at 8192 B/s at once: equal rates of 4096·8192/12288, so that the air is full."""
    radio = dataclasses.replace(SLOW, half_duplex=True, latency_s=0.0)

    def made(network: Network, *others: Placement) -> Deployment:
        return deployed(keeper("sink"), sender("a", [(0.0, "sink", 8192)], radio), *others, network=network)

    for network in (Network(), Network(sharing="max_min")):
        assert bulk(run(made(network)))["a", "sink"] == [2.0]
        # `a` also gets as much: both take 8192 / (4096·8192/12288) = 3 s.
        both = bulk(run(made(network, sender("b", [(0.0, "a", 8192)], FAST))))
        assert both == {("a", "sink"): [pytest.approx(3.0)]}
        heard = run(
            deployed(keeper("sink"), keeper("a", radio), sender("b", [(0.0, "a", 8192)], FAST), network=network)
        )
        assert bulk(heard)["b", "a"] == [1.0]


# Transports.

#: A queue that never overflows.
TCP = Transport("reno", mss_bytes=1024.0, initial_window=2.0, max_window_bytes=2.0**30, queue_s=1e6)
PIPE = Link(name="pipe", kind="wifi", latency_s=0.5, up_bytes_per_s=65536.0, down_bytes_per_s=65536.0)
END = dataclasses.replace(FAST, latency_s=0.5)


@pytest.mark.parametrize("sharing", ["per_link", "max_min"])
def test_a_transfer_takes_what_the_formula_says(sharing: str) -> None:
    """Alone on its path: handshakes, slow start, bytes, delay; the second message needs no handshake."""
    plan = [(0.0, "sink", 100_000), (100.0, "sink", 1_000_000), (200.0, "sink", 1000)]
    outcome = run(
        deployed(
            keeper("sink", END),
            sender("a", plan, PIPE),
            network=Network(transport=TCP, sharing=sharing),
        )
    )
    arrivals = bulk(outcome)["a", "sink"]
    connection = Connection()
    for number, ((at_s, _, size), arrived_s) in enumerate(zip(plan, arrivals, strict=True)):
        connection.rest(TCP, 50.0, 2.0)
        expected = transfer_s(TCP, size, 65536.0, 1.0, connected=number > 0, connection=connection)
        # The sink's own link takes a microsecond for a packet.
        assert arrived_s - at_s == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("sharing", ["per_link", "max_min"])
@pytest.mark.parametrize("control", ["cubic", "bbr", "reno"])
def test_loss_slows_a_flow_and_bbr_does_not_care(control: str, sharing: str) -> None:
    """With the same draws, the time is that of the formula; others see other draws, and a new run the same."""
    lossy = dataclasses.replace(PIPE, loss=0.01, up_bytes_per_s=2.0**24)
    transport = Transport(control, max_window_bytes=2.0**40)

    def times(seed: int) -> list[float]:
        names = ("a", "b", "c")
        outcome = run(
            deployed(
                keeper("sink", dataclasses.replace(END, down_bytes_per_s=2.0**40)),
                *(sender(name, [(0.0, "sink", 10**6)], lossy) for name in names),
                network=Network(transport=transport, sharing=sharing),
                seed=seed,
            )
        )
        return [bulk(outcome)[name, "sink"][0] for name in names]

    took_s = times(1)
    assert times(1) == took_s
    clean_s = transfer_s(transport, 10**6, 2.0**24 * 0.99, 1.0, connected=False)
    if control == "bbr":
        # What is lost is sent again, a round trip or a few later.
        assert all(clean_s - 1e-3 <= seconds <= clean_s + 3 * 2.5 for seconds in took_s)
    else:
        assert len(set(took_s)) == 3
        assert all(seconds > clean_s + 2.0 for seconds in took_s)

    def draws() -> Callable[[], float]:
        key = rng.stream_key(1, "a", "sink", "segments", 1, 0)
        counter = itertools.count()
        return lambda: rng.unit(rng.word(key, next(counter)))

    expected_s = transfer_s(transport, 10**6, 2.0**24, 1.0, 0.01, connected=False, draws=draws)
    assert took_s[0] == pytest.approx(expected_s, rel=1e-4)


def test_flows_that_begin_together_know_of_each_other() -> None:
    """Eight at once: slow start ends at an eighth of the rate each, as `transfer_s` says for eight flows."""
    outcome = run(
        deployed(
            keeper("sink", dataclasses.replace(END, down_bytes_per_s=65536.0)),
            *(sender(f"s-{i}", [(0.0, "sink", 100_000)], dataclasses.replace(END)) for i in range(8)),
            network=Network(transport=TCP, sharing="max_min"),
        )
    )
    expected = transfer_s(TCP, 100_000, 65536.0, 1.0, flows=8, connected=False)
    assert list(bulk(outcome).values()) == [[pytest.approx(expected, rel=1e-6)]] * 8


def test_a_window_stays_open_for_messages_that_follow_at_once() -> None:
    outcome = run(
        deployed(
            keeper("sink", END),
            sender("a", [(0.0, "sink", 10**6), (0.0, "sink", 10**6)], PIPE),
            network=Network(transport=TCP),
        )
    )
    first, second = bulk(outcome)["a", "sink"]
    assert second - first == pytest.approx(10**6 / 65536.0, rel=1e-9)


def test_each_stream_of_a_pair_connects_once_and_again_after_a_crash() -> None:
    times: list[float] = []

    async def life(ctx: Context) -> None:
        for at_s in (0.0, 20.0, 60.0, 80.0):
            await ctx.sleep(at_s - ctx.now)
            await ctx.request("peer", Small(), timeout=50.0)
            times.append(ctx.now - at_s)

    outcome = run(
        study(
            place("main", living(life), END),
            place("peer", handling(answer, Small), END),
            network=Network(transport=Transport("cubic")),
            faults=(Fault("crash", "peer", 40.0, 1.0),),
        )
    )
    # Each message is stored and forwarded between the two links.
    sizes = 2 * sum(row.size_bytes for row in outcome.records.messages[:2]) / 2.0**30
    # Two round trips of 2 s for TCP and TLS, then one for the message and its answer; open connections need one.
    assert times == pytest.approx([6.0 + sizes, 2.0 + sizes, 6.0 + sizes, 2.0 + sizes], rel=1e-9)


def test_a_link_may_have_its_own_congestion_control() -> None:
    lossy = dataclasses.replace(PIPE, loss=0.05)
    ends = [
        bulk(
            run(
                deployed(
                    keeper("sink", END),
                    sender("a", [(0.0, "sink", 10**6)], dataclasses.replace(lossy, control=control)),
                    network=Network(transport=Transport("cubic")),
                )
            )
        )["a", "sink"][0]
        for control in (None, "bbr", "ideal")
    ]
    assert ends[0] > ends[1] > ends[2] == 10**6 / (65536 * 0.95) + 1.0


# Links that vary.


def test_a_trace_is_replayed_to_its_integral() -> None:
    """1000 B in the first second, nothing for two, 3000 B in the fourth, over and over; and no tick."""
    trace = Trace("steps", (0.0, 1.0, 3.0), (1000.0, 0.0, 3000.0), 4.0)
    link = dataclasses.replace(NODE, variation=Replay(trace, None, shifted=False))
    for network in (Network(), Network(sharing="max_min")):
        outcome = run(deployed(keeper("sink"), sender("a", [(0.0, "sink", 5500)], link), network=network))
        # 4000 B a turn; of the second turn 1000 B by 5 s, and 500 B of 3000 B/s after 7 s.
        assert bulk(outcome)["a", "sink"] == [pytest.approx(7.0 + 500 / 3000)]


def test_small_messages_wait_out_an_outage() -> None:
    trace = Trace("gap", (0.0, 1.0, 10.0), (1000.0, 0.0, 1000.0), 20.0)
    link = dataclasses.replace(NODE, variation=Replay(trace, trace, shifted=False))

    async def life(ctx: Context) -> None:
        await ctx.sleep(5.0)
        await ctx.send("peer", Small(n=1))
        await ctx.sleep(50.0)

    outcome = run(study(place("main", living(life), link), place("peer", handling(swallow, Small))))
    (row,) = outcome.records.messages
    assert row.delivered_s == pytest.approx(10.0 + row.size_bytes / 1000.0)


def test_varying_links_are_drawn_from_the_seed_and_the_name() -> None:
    link = dataclasses.replace(
        NODE, variation=Autoregressive(0.8, 0.7, 1.0), outages=Outages(mean_up_s=20.0, mean_down_s=5.0)
    )

    def ends(seed: int) -> dict[tuple[str, str], list[float]]:
        plan = [(float(10 * n), "sink", 20_000) for n in range(5)]
        return bulk(run(deployed(keeper("sink"), sender("a", plan, link), sender("b", plan, link), seed=seed)))

    first = ends(1)
    assert first == ends(1)
    assert first["a", "sink"] != first["b", "sink"]
    assert first != ends(2)


def test_a_hand_over_goes_on_at_the_new_rate_with_the_new_radio() -> None:
    """4096 B/s for 1 s, then 1024 B/s on cellular; the energy of what passed is counted by the radio in use."""
    cellular = Link("cell", "cellular", 0.5, 1024.0, 1024.0, metered=True)
    link = dataclasses.replace(NODE, handovers=(Handover(1.0, cellular),))
    phone = dataclasses.replace(PLUGGED, radios={"wifi": Radio(2.0**-10, 0.0), "cellular": Radio(2.0**-4, 0.0)})
    seen: list[tuple[float, str, bool]] = []

    async def life(ctx: Context) -> None:
        await ctx.send("sink", large("sink", "a", 2048))
        await ctx.sleep(0.75)
        await ctx.send("sink", large("sink", "a", 2048))
        seen.append((ctx.now, ctx.device.network, ctx.device.metered))
        await ctx.sleep(0.25)
        seen.append((ctx.now, ctx.device.network, ctx.device.metered))
        await ctx.sleep(20.0)

    for network in (Network(), Network(sharing="max_min")):
        seen.clear()
        outcome = run(
            deployed(keeper("sink"), place("a", living(life), link, phone), network=network, peer_timeout_s=1e9)
        )
        # The first is through at 0.5 s; of the second 1024 B are at 1 s, and the rest takes another second.
        assert bulk(outcome)["a", "sink"] == [0.5, 2.0 + 0.5]
        assert seen == [(0.75, "wifi", False), (1.0, "cellular", True)]
        spent = {
            row.component: row.joules
            for _, who, row in outcome.records.rows
            if who == "a" and isinstance(row, EnergyRow)
        }
        # A transfer counts when it has left: the first on Wi-Fi, the second on cellular.
        assert spent["radio_send"] == 2048 * 2.0**-10 + 2048 * 2.0**-4
        events = [row.event for _, who, row in outcome.records.rows if who == "a" and isinstance(row, DeviceRow)]
        assert "handover" in events


# Faults.


@pytest.mark.parametrize(
    "network",
    [
        Network(varying=True),
        Network(sharing="max_min"),
        Network(transport=Transport("reno", max_window_bytes=2.0**15)),
        Network(transport=Transport("reno", max_window_bytes=2.0**15), sharing="max_min"),
    ],
    ids=["per link", "max-min", "capped", "capped max-min"],
)
def test_a_partition_and_a_failing_link_stop_bulk_where_it_is(network: Network) -> None:
    """Three seconds apart, or two without a link, are three or two seconds more; the energy is that of the bytes."""

    def made(*faults: Fault) -> Outcome:
        return run(
            study(
                wait,
                keeper("sink", END),
                sender("a", [(0.0, "sink", 65536)], dataclasses.replace(PIPE, up_bytes_per_s=8192.0)),
                network=network,
                faults=faults,
                peer_timeout_s=1e6,
            )
        )

    partition = Partition("partition", "", 7.0, 3.0, sets=(("a",), ("sink", "main")))
    still, apart, down = made(), made(partition), made(Fault("link_down", "a", 7.0, 2.0))
    at_s = bulk(still)["a", "sink"][0]
    assert at_s > 8.0
    assert bulk(apart)["a", "sink"] == [pytest.approx(at_s + 3.0, rel=1e-12)]
    # A link that fails does not stop the clock of a cap in a star, which is one more leg.
    slack = 2.0 if network.transport.ideal or network.sharing == "max_min" else 0.0
    assert at_s + slack - 1e-9 <= bulk(down)["a", "sink"][0] <= at_s + 2.0 + 1e-9
    crashed = made(partition, Fault("crash", "a", 8.0))
    assert crashed.undelivered() == [("a", "sink", "Large", "device")]
    spent = {(who, row.component): row.joules for _, who, row in crashed.records.rows if isinstance(row, EnergyRow)}
    send_j, receive_j = PLUGGED.radios["wifi"].byte_j(inf, inf)
    sent, received = spent["a", "radio_send"] / send_j, spent["sink", "radio_receive"] / receive_j
    # Nothing has moved since the partition began.
    assert 0 < received == sent <= 7 * 8192


# Jitter and relays.


def test_jitter_keeps_the_order_of_a_stream() -> None:
    async def life(ctx: Context) -> None:
        for n in range(300):
            await ctx.send("peer", Small(n=n))
            await ctx.sleep(0.4)
        await ctx.sleep(1e4)

    got: list[int] = []

    async def take(ctx: Context, message: Message) -> None:
        got.append(message.n)  # type: ignore[attr-defined]

    outcome = run(
        study(
            place("main", living(life), END),
            place("peer", handling(take, Small), END),
            network=Network(jitter=Jitter(sd_log=1.5, correlation=0.5, step_s=1.0)),
        )
    )
    assert got == list(range(300))
    delays = {round(row.delivered_s - row.sent_s, 6) for row in outcome.records.messages}
    assert len(delays) > 50


def test_pairs_whose_hole_punching_fails_go_by_the_relay() -> None:
    """Direct pairs take the delay between them, others the relay's two delays and its rate; servers need none."""
    home = dataclasses.replace(NODE, translated=True)
    world = build(
        study(
            keeper("main", region="here"),
            keeper("there", region="there"),
            *(keeper(f"p-{i}", home, region="here") for i in range(300)),
            network=Network(relay=Relay("there", rate_bytes_per_s=512.0)),
            region_delay_s={("here", "there"): 0.5, ("here", "here"): 0.125, ("there", "there"): 0.0},
        )
    ).world
    world.populate()
    assert world.paths is not None
    nodes: dict[str, RoutedNode] = world.nodes  # type: ignore[assignment]
    ways = [world.paths.way(nodes["p-0"], nodes[f"p-{i}"]) for i in range(1, 300)]
    relayed = [way for way in ways if way.pair.relayed]
    # 70 % of 299 succeed: within four standard deviations.
    assert abs(len(relayed) - 0.3 * 299) < 4 * (299 * 0.3 * 0.7) ** 0.5
    assert {(way.there_s, way.relay_bytes_per_s) for way in relayed} == {(1.0, 512.0)}
    assert {(way.there_s, way.relay_bytes_per_s) for way in ways if not way.pair.relayed} == {(0.125, inf)}
    assert not world.paths.way(nodes["p-0"], nodes["main"]).pair.relayed


@pytest.mark.parametrize("sharing", ["per_link", "max_min"])
def test_a_relay_limits_what_goes_through_it(sharing: str) -> None:
    home = dataclasses.replace(NODE, translated=True)
    outcome = run(
        study(
            place("main", living(wait), FAST, region="there"),
            sender("a", [(0.0, "b", 1024)], home, region="here"),
            keeper("b", home, region="here"),
            network=Network(relay=Relay("there", rate_bytes_per_s=512.0, success=0.0), sharing=sharing),
            region_delay_s={("here", "there"): 0.5, ("here", "here"): 0.125, ("there", "there"): 0.0},
        )
    )
    assert bulk(outcome)["a", "b"] == [2.0 + 1.0]


# Everything at once.

TOPOLOGY = Topology(
    (Site("core"), Site("ap", "ap", WiFi()), Site("mast", "mast", Cell(6000.0, 9000.0)), Site("far")),
    (
        Edge("core", "ap", 0.01, 8000.0),
        Edge("core", "mast", 0.02, half_duplex=True, rate_bytes_per_s=7000.0, loss=0.05),
        Edge("core", "far", 0.1, 5000.0, 4000.0),
    ),
)
ENDS = {
    "a": (dataclasses.replace(NODE, latency_s=0.01), "ap"),
    "b": (dataclasses.replace(SLOW, loss=0.1), "mast"),
    "c": (dataclasses.replace(FAST, latency_s=0.02), "far"),
    "d": (dataclasses.replace(NODE, up_bytes_per_s=2048.0), "ap"),
}
sendings = st.lists(
    st.tuples(
        st.floats(0.0, 20.0), st.sampled_from("abcd"), st.sampled_from("abcd"), st.booleans(), st.integers(100, 20_000)
    ),
    max_size=20,
)
disturbances = st.lists(
    st.builds(
        Fault,
        st.sampled_from(["link_down", "link_down", "crash"]),
        st.sampled_from("abcd"),
        st.floats(0.0, 25.0),
        st.floats(0.1, 15.0),
    ),
    max_size=3,
)
networks = st.builds(
    Network,
    topology=st.sampled_from([None, TOPOLOGY]),
    transport=st.sampled_from([Transport(), Transport("cubic"), Transport("bbr", goodput_share=0.9, extra_s=0.01)]),
    sharing=st.sampled_from(["per_link", "max_min"]),
    jitter=st.sampled_from([None, Jitter(step_s=1.0)]),
    varying=st.just(True),
)


@settings(max_examples=60, deadline=None)
@given(sendings, disturbances, networks)
def test_no_message_is_lost_doubled_or_too_fast_in_any_network(
    plan: list[tuple[float, str, str, bool, int]], faults: list[Fault], network: Network
) -> None:
    numbers = iter(range(10**6))
    begun: list[int] = []

    async def talk(ctx: Context, message: Message) -> None:
        async with ctx.group() as group:
            for at, sender, receiver, is_bulk, size in plan:
                if sender == ctx.name and sender != receiver and ctx.now == 0.0:
                    group.spawn(say(ctx, at, receiver, is_bulk, size))

    async def say(ctx: Context, at: float, receiver: str, is_bulk: bool, size: int) -> None:
        await ctx.sleep(at)
        number = next(numbers)
        begun.append(number)
        message = large(receiver, ctx.name, size, n=number) if is_bulk else Small(n=number)
        await ctx.send(receiver, message)

    async def life(ctx: Context) -> None:
        await ctx.sleep(4000.0)

    star = network.topology is None
    outcome = run(
        study(
            place("main", living(life), FAST, region="core"),
            *(
                place(name, handling(talk, Start, Small, Large, concurrent=True), link, region="core" if star else site)
                for name, (link, site) in ENDS.items()
            ),
            network=network,
            faults=tuple(faults),
            peer_timeout_s=1e6,
        )
    )
    rows, lost = outcome.records.messages, outcome.undelivered()
    assert len(rows) + len(lost) == len(begun)
    if not any(fault.kind == "crash" for fault in faults):
        assert lost == []
    assert {reason for *_, reason in lost} <= {"device"}
    last: dict[tuple[str, str, str], float] = {}
    for row in rows:
        (up, here), (down, there) = ENDS[row.sender], ENDS[row.receiver]
        rate = min(up.goodput_bytes_per_s("up"), down.goodput_bytes_per_s("down"))
        delay_s = up.latency_s + down.latency_s + (0.0 if star else TOPOLOGY.delay_s(here, there))
        if network.jitter is not None:
            delay_s = 0.0
        assert row.delivered_s - row.sent_s >= (row.size_bytes / rate + delay_s) * (1 - 1e-9)
        pair = (row.sender, row.receiver, row.type)
        assert row.sent_s >= last.get(pair, 0.0)
        last[pair] = row.sent_s
    assert outcome.world.paths is not None
    send_j, receive_j = PLUGGED.radios["wifi"].byte_j(inf, inf)
    for name in ENDS:
        spent = {
            row.component: row.joules
            for _, who, row in outcome.records.rows
            if who == name and isinstance(row, EnergyRow)
        }
        own = sum(row.size_bytes for row in rows if row.sender == name)
        others = sum(row.size_bytes for row in rows if row.receiver == name)
        if lost:
            assert spent["radio_send"] >= own * send_j * (1 - 1e-12)
            assert spent["radio_receive"] >= others * receive_j * (1 - 1e-12)
        else:
            assert spent["radio_send"] == pytest.approx(own * send_j, rel=1e-12)
            assert spent["radio_receive"] == pytest.approx(others * receive_j, rel=1e-12)


def test_the_general_network_gives_the_stars_times_where_one_link_limits() -> None:
    """The same star, plainly, by paths of single links, and max-min fair: the same arrivals."""

    def made(network: Network) -> Deployment:
        async def life(ctx: Context) -> None:
            await ctx.request("b", Small(n=1), timeout=100.0)
            await ctx.send("b", large("b", "main", 8192))
            await ctx.send("c", large("c", "main", 4096))
            await ctx.send("c", Answer())
            await ctx.sleep(60.0)

        return study(
            place("main", living(life), SLOW),
            place("b", handling(answer, Small, Large), FAST),
            place("c", handling(swallow, Large, Answer), FAST),
            network=network,
        )

    plain, *others = (run(made(n)).arrivals("Large") for n in (Network(), VARYING, Network(sharing="max_min")))
    assert [other == plain for other in others] == [True, True]
