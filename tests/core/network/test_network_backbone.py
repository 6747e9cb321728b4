"""Delays of the backbone against the distance law, jitter and relays against what was measured."""

from __future__ import annotations

import csv
import os
from itertools import combinations
from math import exp
from pathlib import Path

import numpy as np
import pytest

from core.devices import backbone, backbone_delays, backbone_provenance, regions
from core.network import Jitter, JitterState, Relay
from core.network.paths import DISTANCE_LAW, LIGHT_S_PER_KM, distance_rtt_s, great_circle_km
from core.network.traces import read_trace

SHARED = Path(os.environ.get("AIVSIM_SHARED_DATA", Path(__file__).parents[4] / "shared" / "data"))


def pairs() -> tuple[np.ndarray, np.ndarray]:
    """Distance, km, and the shorter of both directions' round trips, ms, of the 1431 pairs of regions."""
    places, delays = backbone(), backbone_delays()
    found = [
        (great_circle_km(places[a][1:], places[b][1:]), 2e3 * min(delays[a, b], delays[b, a]))
        for a, b in combinations(places, 2)
    ]
    distance, rtt = np.array(found).T
    return distance, rtt


def test_the_distance_law_is_off_by_as_much_as_said() -> None:
    """Least absolute deviations: RTT = 11.4 ms + 0.01566 ms/km, mean error 24.5 ms over 1431 pairs."""
    distance, rtt = pairs()
    assert len(rtt) == 1431
    law = 1e3 * np.array([distance_rtt_s(km) for km in distance])
    error = np.abs(law - rtt).mean()
    assert error == pytest.approx(24.5, abs=0.1)
    # A minimum: no nearby law has a smaller mean error by more than the digits that are given.
    for intercept, slope in ((1, 0), (-1, 0), (0, 1e-4), (0, -1e-4)):
        a, b = 1e3 * DISTANCE_LAW[0] + intercept, 1e3 * DISTANCE_LAW[1] + slope
        assert np.abs(a + b * distance - rtt).mean() > error - 0.01


def test_nothing_is_faster_than_light_in_fibre() -> None:
    """Coordinates are good to about 100 km, which matters for neighbours only."""
    distance, rtt = pairs()
    assert (rtt * 1e-3 >= LIGHT_S_PER_KM * (distance - 200)).all()
    assert np.median(rtt[distance > 1000] * 1e-3 / (LIGHT_S_PER_KM * distance[distance > 1000])) == pytest.approx(
        1.78, abs=0.05
    )


def test_the_backbone_is_the_published_matrix() -> None:
    file = SHARED / "azure_region_rtt" / "rtt_p95_ms.csv"
    if not file.exists():
        pytest.skip(f"the shared data is not at {file}")
    delays = backbone_delays()
    with file.open() as text:
        for row in csv.DictReader(text):
            a = row.pop("Source").lower().replace(" ", "_")
            for name, value in row.items():
                b = name.lower().replace(" ", "_")
                assert delays[a, b] == (float(value) / 2e3 if value else 0.0005)


def test_the_backbone_credits_its_source() -> None:
    source, evidence = backbone_provenance()
    assert evidence == "measured"
    assert "Microsoft" in source
    assert "CC BY 4.0" in source
    assert not set(backbone()) & set(regions())
    assert len(backbone_delays()) == 54 * 54


def test_great_circles() -> None:
    """A quarter of the Earth, and New York (JFK) to London (LHR), 5540 km on a sphere."""
    assert great_circle_km((0, 0), (90, 0)) == pytest.approx(10007.5, rel=1e-4)
    assert great_circle_km((40.64, -73.78), (51.47, -0.45)) == pytest.approx(5540, rel=2e-3)
    assert great_circle_km((1, 2), (1, 2)) == 0.0


def test_jitter_has_the_moments_of_personal_devices() -> None:
    """sd(ln) .61 and lag-1 .81, within four standard errors; and gaps lose memory as AR(1) does."""
    state = JitterState(Jitter(step_s=1.0), 1, "a", "b")
    logs = np.log([state.factor(float(at)) for at in range(20_000)])
    assert abs(logs.mean()) < 4 * 0.61 * (1.81 / 0.19 / 20_000) ** 0.5
    assert logs.std() == pytest.approx(0.61, rel=0.06)
    assert np.corrcoef(logs[:-1], logs[1:])[0, 1] == pytest.approx(0.81, abs=0.02)
    sparse = JitterState(Jitter(step_s=1.0), 1, "a", "b")
    every = np.log([sparse.factor(3.0 * at) for at in range(10_000)])
    assert every.std() == pytest.approx(0.61, rel=0.06)
    assert np.corrcoef(every[:-1], every[1:])[0, 1] == pytest.approx(0.81**3, abs=0.03)


def test_jitter_is_the_same_for_both_ends_and_within_a_step() -> None:
    one, other = JitterState(Jitter(), 5, "a", "b"), JitterState(Jitter(), 5, "b", "a")
    assert [one.factor(at) for at in (0.0, 59.0, 61.0)] == [other.factor(at) for at in (0.0, 59.0, 61.0)]
    assert JitterState(Jitter(sd_log=0.0), 5, "a", "b").factor(3.0) == exp(0.0)


def test_the_measured_jitter_is_that_of_the_default() -> None:
    """120 pairs of 99 personal devices: sd of ln within a pair and its autocorrelation, from the published data."""
    file = SHARED / "netlatency" / "netlatency.npz"
    if not file.exists():
        pytest.skip(f"the shared data is not at {file}")
    spreads, memories = [], []
    for series in np.load(file)["seattle_series_s"]:
        logs = np.log(np.where(series > 0, series, np.nan))
        known = np.isfinite(logs)
        if known.sum() < 100:
            continue
        spreads.append(np.nanstd(logs))
        both = known[:-1] & known[1:]
        memories.append(np.corrcoef(logs[:-1][both], logs[1:][both])[0, 1])
    assert np.median(spreads) == pytest.approx(Jitter().sd_log, abs=0.1)
    assert np.nanmedian(memories) == pytest.approx(Jitter().correlation, abs=0.1)


@pytest.mark.parametrize(
    "make",
    [
        lambda: Jitter(sd_log=-1.0),
        lambda: Jitter(correlation=1.0),
        lambda: Jitter(step_s=0.0),
        lambda: Relay("r", success=1.5),
        lambda: Relay("r", rate_bytes_per_s=0.0),
    ],
)
def test_bad_parameters_are_refused(make: object) -> None:
    with pytest.raises(ValueError):
        make()  # type: ignore[operator]


def test_hole_punching_succeeds_as_often_as_measured() -> None:
    """70 % of pairs, drawn once for each: within four standard deviations of 4000."""
    relay = Relay("r")
    needed = [relay.needed(1, f"a-{i}", f"b-{i}") for i in range(4000)]
    assert abs(np.mean(needed) - 0.3) < 4 * (0.21 / 4000) ** 0.5
    assert [relay.needed(1, f"b-{i}", f"a-{i}") for i in range(4000)] == needed


def test_recorded_traces_can_be_replayed() -> None:
    folder = SHARED / "mahimahi_lte"
    if not folder.exists():
        pytest.skip(f"the shared data is not at {folder}")
    traces = {path.stem: read_trace(path.name, path.read_text()) for path in sorted(folder.glob("*.csv"))}
    assert len(traces) == 12
    # The table of classes: means of 4.6 to 16.7 Mbit/s down for LTE.
    means = {name: trace.mean_bytes_per_s * 8e-6 for name, trace in traces.items()}
    assert all(0.3 < mean < 25.0 for mean in means.values()), means
