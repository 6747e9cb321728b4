"""The network's queues against queueing theory: control messages are first come, first served; bulk shares its link.

Each check is a seeded run of batch means: the theory's value lies within 99.9 % of Student's t for 20 batches, and that
interval is narrow enough to tell the models apart. M/G/1-PS of one link is in `tests/sim/test_network.py`.
"""

from __future__ import annotations

from math import factorial, inf

import numpy as np
import pytest

from aivsim.queues import Rider, control_waits, refusals, sojourns
from analysis.oracles.queueing import batch_mean, erlang_b, erlang_c, pollaczek_khinchine_s
from core.links import Link
from core.network import Curve, Network
from core.network.curves import constant
from sim.engine import ActorEnvironment
from sim.network.fair import FairFlow, FairLink, FairNetwork
from tests.sim.studies import FAST, run, study


def holds(times: np.ndarray, expected: float, width: float) -> None:
    """The mean of times is the expected one, by batch means, and known to a share `width` of it."""
    mean, half_width = batch_mean(times)
    assert half_width < width * expected
    assert abs(mean - expected) < half_width


# Control messages: one server, first come, first served.


@pytest.mark.parametrize("varying", [False, True], ids=["plain", "routed"])
@pytest.mark.parametrize("kind", ["M/D/1", "M/M/1", "M/G/1"])
def test_control_messages_wait_as_pollaczek_and_khinchine_say(kind: str, varying: bool) -> None:
    """E[W] = λ E[S²] / (2 (1 − ρ)) (Kleinrock 1975, §5.6): equal, exponential (cut at whole bytes) and two sizes."""
    rng = np.random.default_rng(1930)
    n = 20_000
    sizes = {
        "M/D/1": np.full(n, 1000.0),
        "M/M/1": rng.exponential(2000.0, size=n),
        "M/G/1": np.where(rng.random(n) < 0.9, 400.0, 6000.0),
    }[kind]
    waits, own = control_waits(rng, 0.5, sizes, varying)
    assert len(waits) == n
    # Load and second moment are those of the frames that were really sent.
    load = 0.5 * float(own.mean()) / ((float(np.mean(sizes)) + 45.0) / 1000.0)
    assert load == pytest.approx(0.5, rel=0.03)
    holds(waits, pollaczek_khinchine_s(load, own), 0.35)


# Bulk: processor sharing, of several servers and in several links.


@pytest.mark.parametrize("kind", ["equal", "exponential"])
def test_capped_flows_share_as_erlang_says(kind: str) -> None:
    """Flows of at most 1 in a link of c: E[T] = E[S] (1 + C(c, A) / (c − A)), whatever the sizes are spread like
    (M/G/c-PS with a cap, the "generalised processor sharing" of Cohen 1979); C is Erlang's second formula."""
    rng = np.random.default_rng(1917)
    n, servers, load = 12_000, 4, 0.6
    sizes = np.ones(n) if kind == "equal" else rng.exponential(1.0, size=n)
    offered = servers * load
    expected = 1.0 + erlang_c(servers, offered) / (servers - offered)
    holds(sojourns(rng, load, sizes, servers, 1.0), expected, 0.12)


@pytest.mark.parametrize("solver", [False, True], ids=["virtual time", "solver"])
def test_one_link_is_m_g_1_ps_in_the_general_network(solver: bool) -> None:
    """E[T] = E[S] / (1 − ρ), for virtual time and for the solver, whose caps never bind."""
    rng = np.random.default_rng(1976)
    sizes = rng.exponential(1.0, size=10_000)
    holds(sojourns(rng, 0.5, sizes, 1.0, 1e9 if solver else inf), 2.0, 0.15)


def test_a_link_that_refuses_when_full_blocks_as_erlang_b_says() -> None:
    """c = 4, A = 3: 20.6 % of the flows find four others, each at its cap, and give up; exponential or not."""
    rng = np.random.default_rng(1909)
    n, servers, offered = 20_000, 4, 3.0
    assert erlang_b(servers, offered) == pytest.approx(
        offered**servers / factorial(servers) / sum(offered**k / factorial(k) for k in range(servers + 1))
    )
    blocked = refusals(rng, offered, rng.uniform(0, 2, size=n), servers)
    holds(blocked, erlang_b(servers, offered), 0.1)


def test_a_tandem_of_links_is_no_faster_than_its_slowest() -> None:
    """Flows over two links of rate 1 and 4 are limited by the first alone: M/M/1-PS there, E[T] = 2 at half load."""
    rng = np.random.default_rng(7)
    env = ActorEnvironment()
    network = FairNetwork(env)
    narrow, wide = (FairLink(network, Curve(constant(rate))) for rate in (1.0, 4.0))
    began = np.cumsum(rng.exponential(2.0, size=8000))
    sizes = rng.exponential(1.0, size=8000)
    riders = []
    for at, size in zip(began.tolist(), sizes.tolist(), strict=True):
        env.run(until=at)
        riders.append(Rider(env))
        network.begin(FairFlow(network, riders[-1], size, ((narrow, 1.0), (wide, 1.0))))
    env.run()
    took = np.array([rider.ended_s for rider in riders]) - began
    # To the resolution of the clock.
    assert (took >= sizes - 1e-9).all()
    holds(took, 2.0, 0.15)


@pytest.mark.parametrize("sharing", ["per_link", "max_min"])
def test_n_flows_on_one_link_end_as_the_closed_form_says_in_a_whole_run(sharing: str) -> None:
    """The i-th of sizes in order ends at t_(i-1) + (S_i − S_(i-1)) (n − i + 1) / C, through actors and all."""
    from tests.sim.test_network_paths import bulk, keeper, sender, wait

    sizes = [1000, 2500, 2500, 4000, 9000]
    hub = Link("hub", "wifi", 0.0, 1000.0, 1000.0)
    outcome = run(
        study(
            wait,
            keeper("hub", hub),
            *(sender(f"s-{i}", [(0.0, "hub", size)], FAST) for i, size in enumerate(sizes)),
            network=Network(sharing=sharing),
        )
    )
    expected, passed = 0.0, 0
    for rank, size in enumerate(sizes):
        expected += (size - passed) * (len(sizes) - rank) / 1000.0
        passed = size
        assert bulk(outcome)[f"s-{rank}", "hub"] == [pytest.approx(expected, rel=1e-9)]
