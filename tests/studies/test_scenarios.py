"""The other scenarios that come with the project, run to their ends, and what their records must add up to."""

from __future__ import annotations

from collections import Counter, defaultdict
from pathlib import Path

import pytest

import aivsim
from analysis.tables import Run
from core.devices import link, profile


def check_rounds(run: Run) -> None:
    """Everybody who was asked is accounted for, in the rounds and client by client."""
    participation = run.table("participation").to_pylist()
    for row in run.table("rounds").to_pylist():
        ends = [row[name] for name in ("accepted", "late", "lost", "declined", "rejected")]
        assert row["selected"] == sum(ends), row
        told = Counter(p["event"] for p in participation if p["round"] == row["round"])
        for name in ("selected", "accepted", "late", "lost", "declined", "rejected"):
            assert told[name] == row[name], (row["round"], name)


def check_energy(run: Run) -> None:
    """Draws are what batteries and mains gave; jobs' joules are the processor's."""
    joules: dict[str, dict[str, float]] = defaultdict(dict)
    for row in run.table("energy").to_pylist():
        joules[row["actor"]][row["component"]] = row["joules"]
    jobs: Counter[str] = Counter()
    for row in run.table("jobs").to_pylist():
        jobs[row["actor"]] += row["joules"]
    for actor, found in joules.items():
        drawn = sum(
            found[c]
            for c in ("idle", "processor", "accelerator", "screen", "radio_send", "radio_receive", "radio_tail")
        )
        assert drawn == pytest.approx(found["battery"] + found["mains"], rel=1e-9), actor
        assert found["processor"] == pytest.approx(jobs[actor], rel=1e-9, abs=1e-9), actor


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_drops(seed: int, tmp_path: Path) -> None:
    run = aivsim.run("drops", seed=seed, out=tmp_path / "run", report=False)
    assert run.manifest.outcome == "done"
    check_rounds(run)
    check_energy(run)
    kinds = set(run.table("faults")["kind"].to_pylist())
    assert kinds == {"link_down", "crash"}
    assert run.rounds()["lost"].sum() > 0
    assert run.evaluations()["accuracy"][-1] > 0.9


def test_hundred_phones(tmp_path: Path) -> None:
    run = aivsim.run("hundred_phones", out=tmp_path / "run", report=False)
    check_rounds(run)
    check_energy(run)
    rounds = run.rounds()
    assert (rounds["accepted"] <= 20).all()
    assert rounds["declined"].sum() > 0
    # Devices that finished too late have spent their time and joules; their results were never computed.
    jobs = run.table("jobs").to_pylist()
    done = [row for row in jobs if row["function"] == "fedavg.local_update" and row["outcome"] == "done"]
    counts = run.manifest.counts
    assert len(done) > rounds["accepted"].sum()
    assert counts["jobs_never_computed"] == len(done) - rounds["accepted"].sum()
    assert counts["jobs_wasted"] == 0


def test_campus(tmp_path: Path) -> None:
    """Shared access points, a mast, TCP, hand-overs and jitter: everybody learns, and messages obey their paths."""
    run = aivsim.run("campus", out=tmp_path / "run", report=False)
    assert run.manifest.outcome == "done"
    check_rounds(run)
    check_energy(run)
    assert run.evaluations()["accuracy"][-1] > 0.9
    events = run.table("devices").to_pylist()
    assert {row["actor"] for row in events if row["event"] == "handover"} == {f"walking-{i}" for i in range(4)}
    # Jitter halves a delay at most to exp(-4 · 0.61); no message from a street is there before that of its way.
    least_s = (0.025 + 0.008 + 0.00015) * 0.087
    streets = [row for row in run.table("messages").to_pylist() if row["sender"].startswith("street")]
    assert min(row["delivered_s"] - row["sent_s"] for row in streets) > least_s


def test_radio_joules_are_those_of_the_bytes(tmp_path: Path) -> None:
    """Where nothing is lost: the bytes of the frames times the J/byte of the device's radio at its link's rates."""
    run = aivsim.run("quickstart", settings=["training.rounds=3"], out=tmp_path / "run", report=False)
    sent: Counter[str] = Counter()
    received: Counter[str] = Counter()
    for row in run.table("messages").to_pylist():
        sent[row["sender"]] += row["size_bytes"]
        received[row["receiver"]] += row["size_bytes"]
    kinds = {"wifi_home": "wifi", "lte_good": "cellular", "nr_nsa_low": "cellular", "fixed_world": "ethernet"}
    energy = {(row["actor"], row["component"]): row["joules"] for row in run.table("energy").to_pylist()}
    for row in run.table("placements").to_pylist():
        access = link(row["link"])
        radio = profile(row["profile"]).radios[kinds.get(row["link"], "ethernet")]
        goodput = 1.0 - access.loss
        send_j, receive_j = radio.byte_j(access.up_bytes_per_s * goodput, access.down_bytes_per_s * goodput)
        actor = row["actor"]
        assert energy[actor, "radio_send"] == pytest.approx(sent[actor] * send_j, rel=1e-9)
        assert energy[actor, "radio_receive"] == pytest.approx(received[actor] * receive_j, rel=1e-9)
