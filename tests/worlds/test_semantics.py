"""The same small actors give the same log, and the same messages of the same sizes, in both worlds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import pytest

from core.deployment import Deployment, Fault
from core.records.rows import UndeliveredRow
from real_runtime.testing import run_real
from sim.testing import run_sim
from tests.worlds import actors as a

CASES: dict[str, tuple[Callable[[a.Log], Deployment], list[str]]] = {
    "ping-pong": (
        lambda log: a.deployment({"main": a.PingPong(log), "echo": a.Echo(log)}),
        [
            "echo got 0 from main", "main got 1 from echo",
            "echo got 1 from main", "main got 2 from echo",
            "echo got 2 from main", "main got 3 from echo",
            "echo got 100 from main", "main got 101 with correlation 0",
        ],
    ),
    "request that times out": (
        lambda log: a.deployment({"main": a.TimesOut(log), "echo": a.SlowEcho(log)}),
        [
            "echo got 1 from main", "request: not done within 0.1 s", "receive: not done within 0.05 s",
            "deadline: not done within 0.05 s", "echo got 2 from main", "then 3",
        ],
    ),
    "peer that leaves": (
        lambda log: a.deployment({"main": a.Bereft(log), "leaver": a.LeavesSoon(log)}),
        [
            "leaver got 1 and leaves", "waiting: leaver has left", "news: leaver",
            "later: leaver has left", "later: nobody has left", "news again: leaver",
        ],
    ),
    "child that fails": (
        lambda log: a.deployment({"main": a.Parent(log)}),
        [
            "spawned", "b ends", "a ends", "joined A B", "c ends", "failed: the child's own mistake",
            "d ends", "cancelled True None", "e ends", "deadline",
        ],
    ),
    "cancelled deadline": (
        lambda log: a.deployment({"main": a.Scopes(log)}),
        ["in time", "the outer one", "the inner one", "timer 8"],
    ),
    "full queue": (
        lambda log: a.deployment({"main": a.Crowd(log), "echo": a.OneAtATime(log)}),
        [
            "echo got 0 from main", "3: full", "4: full", "0: 1", "echo got 1 from main", "1: 2",
            "echo got 2 from main", "2: 3", "echo refused the message: unexpected",
        ],
    ),
    "large message before a small one": (
        lambda log: a.deployment({"main": a.LargeBeforeSmall(log), "echo": a.Echo(log)}),
        ["echo got 3 from main", "echo got blob 1 of 16000000 bytes", "echo got blob 2 of 40 bytes"],
    ),
    "goodbye comes last": (
        lambda log: a.deployment({"main": a.HearsGoodbye(log), "leaver": a.SaysGoodbye(log)}),
        [
            "0: Pong", "1: left", "2: left", "then Blob, Pong", "last PeerGone",
            "Undeclared is none of the message types of this deployment",
        ],
    ),
    "reply to a busy actor": (
        lambda log: a.deployment({"main": a.Crowding(log), "busy": a.Busy(log), "echo": a.SlowEcho(log)}),
        [
            "busy handles 0", "echo got 0 from busy", "busy got 1 and has handled 0",
            "busy handles 10", "echo got 10 from busy", "busy got 11 and has handled 10",
            "busy handles 20", "echo got 20 from busy", "busy got 21 and has handled 20",
            "busy handles 30", "echo got 30 from busy", "busy got 31 and has handled 30",
        ],
    ),
    "what only the world may send": (
        lambda log: a.deployment({"main": a.Forging(log), "picky": a.Picky(log)}),
        [
            "picky got Start from '', 0", "picky got PeerGone from '', 0",
            "picky got Ping from 'main', 1", "picky got Ping from 'picky', 0",
        ],
    ),
    "bulk of a peer that leaves": (
        lambda log: a.deployment({"main": a.Heir(log), "leaver": a.LeavesMuch(log)}),
        ["blob 1", "blob 2", "leaver is gone"],
    ),
    "too large": (
        lambda log: a.deployment({"main": a.TooLarge(log), "echo": a.Echo(log)}, max_frame_bytes=3700),
        [
            "echo refused the message: oversized", "nobody has left",
            "echo got 5 from main", "echo got blob 4 of 3600 bytes",
        ],
    ),
    "crash and restart": (
        lambda log: a.deployment(
            {"main": a.Survivor(log), "mortal": a.Mortal(log)}, faults=(Fault("crash", "mortal", 0.3, 0.4),)
        ),
        [
            "mortal lives for the 1. time", "mortal lives for the 2. time", "mortal is woken by the 2. life",
            "0: mortal has left", "1: not done within 1 s", "2: answered in the 2. life",
        ],
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_both_worlds_agree(case: str) -> None:
    make, expected = CASES[case]
    log: a.Log = []
    simulated = run_sim(make(log))
    assert log == expected
    log = []
    real = run_real(make(log))
    assert log == expected

    def counted(messages: list[object]) -> Counter[tuple[str, str, str, int]]:
        return Counter((m.sender, m.receiver, m.type, m.size_bytes) for m in messages)  # type: ignore[attr-defined]

    assert counted(simulated.messages) == counted(real.messages)  # type: ignore[arg-type]
    refused = Counter((r.sender, r.receiver, r.type, r.reason) for r in simulated.of(UndeliveredRow))
    assert refused == Counter(
        (r.row.sender, r.row.receiver, r.row.type, r.row.reason)  # type: ignore[attr-defined]
        for r in real.of(UndeliveredRow)
    )
