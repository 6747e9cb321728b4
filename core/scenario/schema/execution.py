"""The sections `numerics`, `real` and `report`: how a study is computed, run on sockets, and shown."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from core.scenario.kinds import Choice, Number, Text, Whole
from core.scenario.schema.section import Bool, Section, Words
from core.scenario.units import Fraction, ScoreOrNull


class Numerics(Section):
    """How numbers are computed; none of it changes times, energies or traffic."""

    fidelity: Annotated[Literal["train", "surrogate", "timing"], Choice("train", "surrogate", "timing")] = Field(
        "train",
        description="train: real training. timing: nothing is computed; times, energies and traffic are the same, "
        "unless a looked-at value steers the run (simulator). surrogate: as timing, with accuracies of fitted curves.",
    )
    surrogate: Annotated[str | None, Text("the path of a .json file", maximum=1000, or_null="none")] = Field(
        None,
        description="File of learning curves that `aivsim surrogate` has fitted to runs with fidelity train; used with "
        "fidelity surrogate.",
    )
    layout: Annotated[
        str,
        Text(
            "scan, vmap:WIDTH such as vmap:8, scan/vmap:WIDTH, or tuned",
            r"scan|(scan/)?vmap:[1-9][0-9]{0,3}|tuned",
        ),
    ] = Field(
        "scan",
        description="Layout of a batch of clients: scan (one after another, compiled), vmap:8 (8 side by side), "
        "scan/vmap:8 (such groups one after another), or tuned: what `aivsim tune` found best here.",
    )
    threads: Annotated[int | None, Whole(0, 1000, or_null="one for each core")] = Field(
        None,
        description="Threads that compute beside the events; 0 computes between them (simulator). null: one for each "
        "core. They change no bit.",
    )
    max_pending: Annotated[int, Whole(2, 10_000_000)] = Field(
        512, description="Jobs that may wait to be computed; beyond, the oldest are (simulator)."
    )
    checkpoint: Bool = Field(
        True,
        description="Keep what is computed until the run is done, so that `aivsim run --resume DIR` computes nothing "
        "twice after it was killed (simulator).",
    )
    strict_wire: Bool = Field(False, description="Encode and decode every message in the simulator too.")


class Real(Section):
    """How the study runs on real sockets (`--world real`)."""

    time_scale: Annotated[float, Number(above=0, maximum=1000)] = Field(
        0.1, description="Wall seconds for a second of the study; emulated devices only."
    )
    devices: Annotated[Literal["emulated", "host"], Choice("emulated", "host")] = Field(
        "emulated", description="emulated: the scenario's devices by the wall clock; host: each is this machine itself."
    )
    emulate_links: Bool = Field(
        False,
        description="Every actor is a process behind the scenario's link, in a network namespace of its own (Linux, as "
        "root); without it messages travel as fast as the machine can.",
    )
    congestion: Annotated[Literal["cubic", "bbr", "reno"], Choice("cubic", "bbr", "reno")] = Field(
        "cubic", description="Congestion control of TCP over emulated links."
    )
    processes: Annotated[int | None, Whole(1, 1000, or_null="one for each core")] = Field(
        None, description="Processes on this machine. null: one for each core; one for each actor with emulated links."
    )


class ReferenceSpec(Section):
    """A figure to hold the result against."""

    accuracy: Fraction = Field(description="Accuracy on held-out examples.")
    source: Words = Field(description="Where it comes from, and how it was set up.")


class Report(Section):
    """What the report shows beside the results."""

    reference: ReferenceSpec | None = Field(None, description="A figure to hold the final accuracy against.")
    target: ScoreOrNull = Field(
        None,
        description="Accuracy that is enough (of a regression: mean absolute error); told is what it took to reach "
        "it, in rounds, time, energy and bytes.",
    )
