"""Max-min fair rates against a linear-programming oracle, and the flows of a network against fluid arithmetic."""

from __future__ import annotations

import itertools
from math import inf

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis.oracles.network_sharing import lexicographic
from core.network import Curve
from core.network.curves import constant, repeated
from core.network.fairness import SMALL, max_min_rates
from sim.engine import ActorEnvironment
from sim.network.fair import FairFlow, FairLink, FairNetwork

Uses = list[list[tuple[int, float]]]


@st.composite
def networks(draw: st.DrawFn) -> tuple[list[float], Uses, list[float]]:
    """A few links; flows over some of each; costs as on radios; some flows capped."""
    links = draw(st.integers(1, 6))
    capacities = draw(st.lists(st.floats(1.0, 100.0), min_size=links, max_size=links))
    flows = draw(st.integers(1, 9))
    uses = []
    for _ in range(flows):
        used = draw(st.lists(st.integers(0, links - 1), min_size=1, max_size=3, unique=True))
        uses.append([(link, draw(st.sampled_from([1.0, 1.0, 0.25, 3.0]))) for link in used])
    caps = draw(st.lists(st.one_of(st.just(inf), st.floats(0.5, 50.0)), min_size=flows, max_size=flows))
    return capacities, uses, caps


def both_ways(capacities: list[float], uses: Uses, caps: list[float]) -> list[list[float]]:
    """The plain Python solver's rates and numpy's: the second by copies of the network that make it large."""
    times = SMALL // max(sum(map(len, uses)), 1) + 1
    many = [[(link + len(capacities) * copy, cost) for link, cost in used] for copy in range(times) for used in uses]
    large = max_min_rates(capacities * times, many, caps * times)
    assert sum(map(len, many)) >= SMALL
    for copy in range(1, times):
        assert large[copy * len(uses) : (copy + 1) * len(uses)] == large[: len(uses)]
    return [max_min_rates(capacities, uses, caps), large[: len(uses)]]


@settings(max_examples=60, deadline=None)
@given(networks())
def test_rates_are_those_of_lexicographic_linear_programs(network: tuple[list[float], Uses, list[float]]) -> None:
    expected = lexicographic(*network)
    for rates in both_ways(*network):
        assert rates == pytest.approx(expected, rel=1e-5, abs=1e-6)


@settings(max_examples=100, deadline=None)
@given(networks())
def test_every_flow_has_a_bottleneck(network: tuple[list[float], Uses, list[float]]) -> None:
    """Max-min fair is where each flow is at its cap, or uses a full link on which no flow is faster (Bertsekas,
    Gallager, Data Networks, §6.5.2, for costs: no flow of the link has a higher rate)."""
    capacities, uses, caps = network
    for rates in both_ways(*network):
        load = [0.0] * len(capacities)
        fastest = [0.0] * len(capacities)
        for rate, used in zip(rates, uses, strict=True):
            for link, cost in used:
                load[link] += rate * cost
                fastest[link] = max(fastest[link], rate)
        assert all(taken <= capacity * (1 + 1e-9) for taken, capacity in zip(load, capacities, strict=True))
        for rate, used, cap in zip(rates, uses, caps, strict=True):
            assert rate <= cap
            full = [
                load[link] >= capacities[link] * (1 - 1e-9) and rate >= fastest[link] * (1 - 1e-9) for link, _ in used
            ]
            assert any(full) or rate == cap


def test_two_hundred_flows_on_a_mesh_have_bottlenecks() -> None:
    """The size at which numpy solves: random paths of three among a hundred links."""
    rng = np.random.default_rng(65)
    uses = [[(int(link), 1.0) for link in rng.choice(100, 3, replace=False)] for _ in range(200)]
    capacities = rng.uniform(1, 10, 100).tolist()
    rates = np.array(max_min_rates(capacities, uses, [inf] * 200))
    load, fastest = np.zeros(100), np.zeros(100)
    for rate, used in zip(rates, uses, strict=True):
        for link, _ in used:
            load[link] += rate
            fastest[link] = max(fastest[link], rate)
    assert (load <= np.array(capacities) * (1 + 1e-9)).all()
    for rate, used in zip(rates, uses, strict=True):
        assert any(
            load[link] > capacities[link] * (1 - 1e-9) and rate >= fastest[link] * (1 - 1e-9) for link, _ in used
        )


def test_the_textbook_example() -> None:
    """A line of two links of 1: one flow over both and one over each get a half (Bertsekas, Gallager, fig. 6.17)."""
    assert max_min_rates([1.0, 1.0], [[(0, 1.0), (1, 1.0)], [(0, 1.0)], [(1, 1.0)]], [inf] * 3) == [0.5, 0.5, 0.5]
    assert max_min_rates([1.0, 3.0], [[(0, 1.0), (1, 1.0)], [(0, 1.0)], [(1, 1.0)]], [inf] * 3) == [0.5, 0.5, 2.5]
    assert max_min_rates([1.0, 3.0], [[(0, 1.0), (1, 1.0)], [(0, 1.0)], [(1, 1.0)]], [0.25, inf, 1.0]) == [
        0.25,
        0.75,
        1.0,
    ]


# Flows in time.


class Passenger:
    def __init__(self, env: ActorEnvironment) -> None:
        self.env = env
        self.ended_s = inf

    def passed_all(self) -> None:
        assert self.ended_s == inf
        self.ended_s = self.env.now


class Fluid:
    """The same flows by small steps from event to event: rates by `max_min_rates`, everything solved each time."""

    def __init__(self, capacities: list[float]) -> None:
        self.now = 0.0
        self.capacities = capacities
        self.flows: dict[int, tuple[float, list[tuple[int, float]], float]] = {}
        self.ended: dict[int, float] = {}
        self.carried = 0.0

    def advance(self, to: float) -> None:
        while self.flows:
            names = list(self.flows)
            rates = max_min_rates(
                self.capacities, [self.flows[name][1] for name in names], [self.flows[name][2] for name in names]
            )
            ends = [
                self.now + self.flows[name][0] / rate if rate > 0 else inf
                for name, rate in zip(names, rates, strict=True)
            ]
            until = min(*ends, to) if len(ends) > 1 else min(ends[0], to)
            if until == inf:
                break
            for name, rate, end in zip(names, rates, ends, strict=True):
                left, uses, cap = self.flows[name]
                passed = left if end == until and end <= to else rate * (until - self.now)
                self.carried += passed
                if end == until and end <= to:
                    del self.flows[name]
                    self.ended[name] = until
                else:
                    self.flows[name] = (max(left - passed, 0.0), uses, cap)
            self.now = until
            if until >= to:
                break
        if to < inf:
            self.now = to


history = st.lists(
    st.tuples(
        st.sampled_from(["begin", "begin", "begin", "abort"]),
        st.integers(1, 1000),
        st.lists(st.integers(0, 4), min_size=1, max_size=3, unique=True),
        st.sampled_from([inf, inf, 7.0]),
        st.floats(0.0, 5.0),
    ),
    min_size=1,
    max_size=25,
)
RATES = [100.0, 50.0, 20.0, 80.0, 10.0]


@settings(max_examples=120, deadline=None)
@given(history)
def test_bytes_are_conserved_through_starts_ends_and_failures(
    plan: list[tuple[str, int, list[int], float, float]],
) -> None:
    """The event-driven network (parts, virtual time, one solve an instant) against the naive fluid."""
    env = ActorEnvironment()
    network, fluid = FairNetwork(env), Fluid(RATES)
    links = [FairLink(network, Curve(constant(rate))) for rate in RATES]
    riders: dict[int, tuple[Passenger, FairFlow]] = {}
    aborted: dict[int, float] = {}
    for what, number, path, cap, wait_s in plan:
        name = len(riders)
        if what == "begin":
            rider = Passenger(env)
            flow = FairFlow(network, rider, number, tuple((links[link], 1.0) for link in path), cap)
            riders[name] = rider, flow
            network.begin(flow)
            fluid.flows[name] = float(number), [(link, 1.0) for link in path], cap
        elif riders:
            name = number % name
            rider, flow = riders[name]
            passed = network.abort(flow)
            held = fluid.flows.pop(name, None)
            if passed is not None and held is not None:
                assert passed == pytest.approx(flow.size_bytes - held[0], rel=1e-6, abs=1e-6)
                aborted[name] = passed
        env.run(until=env.now + wait_s)
        fluid.advance(env.now)
        # An end within a rounding error of now may be before it here and after it there.
        for left_name, (left, _, _) in list(fluid.flows.items()):
            if left < 1e-6 and riders[left_name][1].ended:
                del fluid.flows[left_name]
                fluid.ended[left_name] = env.now
    env.run()
    fluid.advance(inf)
    carried = sum(aborted.values())
    for name, (rider, flow) in riders.items():
        if name in aborted:
            assert rider.ended_s == inf
            continue
        assert rider.ended_s == pytest.approx(fluid.ended[name], rel=1e-9, abs=1e-6)
        carried += flow.size_bytes
    # Every byte that began has passed or was given back, and none twice.
    assert carried == pytest.approx(fluid.carried, rel=1e-6, abs=1e-3)
    assert all(len(link) == 0 for link in links)


@given(st.lists(st.integers(1, 10**9), min_size=1, max_size=20), st.floats(1.0, 1e9))
@settings(deadline=None)
def test_flows_that_meet_in_one_link_end_as_the_closed_form_says(sizes: list[int], rate: float) -> None:
    """t_i = t_(i-1) + (S_i − S_(i-1)) (n − i + 1) / C, in virtual time and, with idle caps, by the solver."""
    for cap in (inf, 1e12):
        env = ActorEnvironment()
        network = FairNetwork(env)
        link = FairLink(network, Curve(constant(rate)))
        riders = [Passenger(env) for _ in sizes]
        for rider, size in zip(riders, sizes, strict=True):
            network.begin(FairFlow(network, rider, size, ((link, 1.0),), cap))
        env.run()
        expected, passed = 0.0, 0
        for rank, (size, rider) in enumerate(sorted(zip(sizes, riders, strict=True), key=lambda pair: pair[0])):
            expected += (size - passed) * (len(sizes) - rank) / rate
            passed = size
            assert rider.ended_s == pytest.approx(expected, rel=1e-9)


def test_a_part_is_solved_alone_and_once_an_instant(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two flows on separate links never meet; ten that begin in one instant are one solve."""
    sizes: list[int] = []

    def counted(capacities: list[float], uses: Uses, caps: list[float]) -> list[float]:
        sizes.append(len(uses))
        return max_min_rates(capacities, uses, caps)

    monkeypatch.setattr("sim.network.fair.max_min_rates", counted)
    env = ActorEnvironment()
    network = FairNetwork(env)
    links = [FairLink(network, Curve(constant(10.0))) for _ in range(4)]
    for size in range(10, 20):
        network.begin(FairFlow(network, Passenger(env), size, ((links[0], 1.0), (links[1], 1.0))))
    network.begin(FairFlow(network, Passenger(env), 5, ((links[2], 1.0), (links[3], 1.0))))
    env.run(until=0.1)
    assert sorted(sizes) == [1, 10]
    env.run()
    # Each end of the ten is one more solve of those left; the other part is never touched again.
    assert sorted(sizes) == [1, *range(1, 11)]


def test_virtual_time_gives_way_to_the_solver_and_comes_back() -> None:
    """Two flows share 10 B/s in virtual time; a third that another link limits to 2 joins for 5 s and leaves them 8."""
    env = ActorEnvironment()
    network = FairNetwork(env)
    shared, narrow = (FairLink(network, Curve(constant(rate))) for rate in (10.0, 2.0))
    riders = [Passenger(env) for _ in range(3)]
    for rider in riders[:2]:
        network.begin(FairFlow(network, rider, 50, ((shared, 1.0),)))
    env.run(until=1.0)
    assert len(shared.queue) == 2
    network.begin(FairFlow(network, riders[2], 10, ((shared, 1.0), (narrow, 1.0))))
    env.run(until=2.0)
    assert (len(shared.queue), len(shared.flows)) == (0, 3)
    env.run(until=7.0)
    assert (len(shared.queue), len(shared.flows)) == (2, 0)
    env.run()
    # 5 B in the first second, 4 B/s for 5 s, 5 B/s for the last 25 B.
    assert [rider.ended_s for rider in riders] == pytest.approx([11.0, 11.0, 6.0], rel=1e-12)


def test_a_radio_gives_equal_rates_and_unequal_air() -> None:
    """802.11's anomaly (Heusse et al., INFOCOM 2003): beside a station of 1 MB/s one of 11 MB/s gets 11/12 MB/s too."""
    rates = max_min_rates([1.0], [[(0, 1 / 11e6)], [(0, 1 / 1e6)]], [inf, inf])
    assert rates == pytest.approx([11e6 / 12] * 2)


def test_a_capacity_that_changes_is_followed_exactly() -> None:
    """10 B/s and 2 B/s in turns of 1 s, through the solver: the integral of the shares is the size."""
    env = ActorEnvironment()
    network = FairNetwork(env)
    link = FairLink(network, Curve(repeated((0.0, 1.0), (10.0, 2.0), 2.0)))
    rider, other = Passenger(env), Passenger(env)
    network.begin(FairFlow(network, rider, 17, ((link, 1.0),), 100.0))
    network.begin(FairFlow(network, other, 30, ((link, 1.0),), 100.0))
    env.run()
    # Each gets 5, 1, 5, 1, 5 B in the first five seconds: 17 are there; the other has 13 left at 2, 10, 2 B/s.
    assert rider.ended_s == 5.0
    assert other.ended_s == pytest.approx(5.0 + 1.0 + 1.0 + 0.5)


def test_names_do_not_matter_and_order_is_kept() -> None:
    """The same flows begun in any order end at the same times."""
    plan = [(30, (0, 1)), (20, (1,)), (10, (0,)), (40, (1, 2))]
    found = []
    for order in itertools.permutations(range(4)):
        env = ActorEnvironment()
        network = FairNetwork(env)
        links = [FairLink(network, Curve(constant(rate))) for rate in (4.0, 8.0, 3.0)]
        riders = {name: Passenger(env) for name in range(4)}
        for name in order:
            size, path = plan[name]
            network.begin(FairFlow(network, riders[name], size, tuple((links[at], 1.0) for at in path)))
        env.run()
        found.append([riders[name].ended_s for name in range(4)])
    assert all(ends == pytest.approx(found[0], rel=1e-12) for ends in found)
