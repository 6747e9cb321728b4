"""Fabricates the directory of a run for the tests of `analysis`: plausible rows by rules of thumb, no simulation."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import numpy as np

from core.records import (
    ClientEvaluationRow,
    ClientRow,
    DeviceRow,
    EnergyRow,
    EvaluationRow,
    FaultRow,
    HostNodeRow,
    HostOverrunRow,
    HostRunRow,
    JobRow,
    Manifest,
    ParticipationRow,
    PlacementRow,
    Reference,
    RoundRow,
    Row,
    RunWriter,
    UndeliveredRow,
    model_sha256,
    save_model,
    write_manifest,
)
from core.roles.messages import (
    EvaluateRequest,
    EvaluateResult,
    Join,
    RoundOver,
    TrainAccepted,
    TrainDeclined,
    TrainRequest,
    TrainResult,
)
from core.wire import Message

AMBIENT_C = 25.0


@dataclasses.dataclass(frozen=True)
class Kind:
    """A rough class of devices."""

    name: str
    train_s: float
    processor_w: float
    battery_j: float | None
    link: str = "wifi_home"
    bytes_per_s: float = 250_000.0


PHONES = (
    Kind("phone_low", 12.0, 2.4, 55_440.0, "cellular_4g", 60_000.0),
    Kind("phone_mid", 6.0, 4.3, 71_640.0),
    Kind("phone_high", 2.5, 7.0, 62_640.0),
)
SERVER = Kind("server", 0.2, 90.0, None, "datacentre", 1e8)
GATEWAY = Kind("gateway", 0.5, 5.0, None, "fibre", 1e7)


class _Study:
    """The rows of a study in the making."""

    def __init__(self, clients: int, rounds: int, seed: int, drops: bool, left_out: int = 0) -> None:
        self.rng = np.random.default_rng(seed)
        self.drops = drops
        self.left_out = left_out
        self.own_models = False
        self.rounds = rounds
        self.kinds = {f"phone-{i}": PHONES[i * len(PHONES) // clients] for i in range(clients)}
        self.speed = {name: float(self.rng.lognormal(0.0, 0.25)) for name in self.kinds}
        self.kinds |= {"coordinator": SERVER, "evaluator": GATEWAY}
        self.clients = [name for name in self.kinds if name.startswith("phone")]
        self.messages: list[tuple[float, float, str, str, type[Message], int]] = []
        self.rows: list[tuple[float, str, Row]] = []
        self.level = {name: float(self.rng.uniform(0.5, 1.0)) for name in self.clients}
        self.case_c = dict.fromkeys(self.clients, AMBIENT_C)
        self.seen_s = dict.fromkeys(self.kinds, 0.0)
        self.joules: dict[tuple[str, str], float] = {}

    def say(self, sent_s: float, sender: str, receiver: str, kind: type[Message], size: int) -> float:
        rate = min(self.kinds[sender].bytes_per_s, self.kinds[receiver].bytes_per_s)
        at_s = sent_s + 0.04 + size / rate
        self.messages.append((sent_s, at_s, sender, receiver, kind, size))
        for name, component in ((sender, "radio_send"), (receiver, "radio_receive")):
            self._draw(name, component, size * (4e-6 if self.kinds[name].link == "cellular_4g" else 4e-7))
        return at_s

    def _draw(self, name: str, component: str, joules: float) -> None:
        self.joules[name, component] = self.joules.get((name, component), 0.0) + joules

    def device(self, at_s: float, name: str, event: str, processor_w: float = 0.0) -> None:
        """A device's row; since its last one it drew `processor_w` above idle."""
        kind = self.kinds[name]
        passed_s, self.seen_s[name] = at_s - self.seen_s[name], at_s
        idle_w = 0.05 if kind.battery_j else kind.processor_w / 3
        self._draw(name, "idle", idle_w * passed_s)
        self._draw(name, "processor", processor_w * passed_s)
        level = case = None
        if kind.battery_j is not None:
            level = self.level[name] = self.level[name] - (idle_w + processor_w) * passed_s / kind.battery_j
            goal = AMBIENT_C + 4.0 * (idle_w + processor_w)
            case = self.case_c[name] = goal + (self.case_c[name] - goal) * math.exp(-passed_s / 600.0)
        soc = None if case is None else case + 4.5 * processor_w
        row = DeviceRow(
            event=event,
            battery_level=level,
            soc_temperature_c=soc,
            case_temperature_c=case,
            speed=1.0,
            charging=False,
        )
        self.rows.append((at_s, name, row))

    def train(self, number: int, name: str, at_s: float, limit_s: float) -> tuple[str, float, str]:
        """One client in one round: the event that ends it, when, and why."""
        asked_s = self.say(at_s, "coordinator", name, TrainRequest, 31_000)
        luck = self.rng.random() if self.drops else 1.0
        if luck < 0.05:
            return "declined", self.say(asked_s, name, "coordinator", TrainDeclined, 55), "battery"
        accepted_s = self.say(asked_s, name, "coordinator", TrainAccepted, 48)
        self.rows.append((accepted_s, "coordinator", self.decision(number, name, "training")))
        kind = self.kinds[name]
        seconds = kind.train_s * self.speed[name] * float(self.rng.lognormal(0.0, 0.1)) * (4.0 if luck < 0.1 else 1.0)
        ends_s = min(asked_s + seconds, limit_s)
        self.device(asked_s, name, "job_start")
        if 0.1 < luck < 0.13:
            ends_s = min(asked_s + seconds / 2, limit_s)
            self.rows.append((ends_s, name, FaultRow(kind="crash", detail="for 20 s")))
        self.device(ends_s, name, "job_end", kind.processor_w)
        outcome = "crash" if 0.1 < luck < 0.13 else "done" if ends_s < limit_s else "cancelled"
        row = JobRow(
            function="local_update",
            started_s=asked_s,
            seconds=ends_s - asked_s,
            flops=2.1e9,
            steps=160,
            joules=(ends_s - asked_s) * kind.processor_w,
            outcome=outcome,
        )
        self.rows.append((ends_s, name, row))
        if outcome == "crash":
            return "lost", ends_s, "its connection is gone"
        if outcome == "cancelled":
            return "late", limit_s, f"no result within {limit_s - at_s:g} s"
        back_s = self.say(ends_s, name, "coordinator", TrainResult, 31_150)
        if back_s > limit_s:
            self.messages[-1] = (ends_s, limit_s, *self.messages[-1][2:])
            return "late", limit_s, f"no result within {limit_s - at_s:g} s"
        report = ClientRow(
            round=number, client=name, examples=102, steps=160, seconds=seconds, loss=2.3 * math.exp(-number / 8)
        )
        self.rows.append((back_s, "coordinator", report))
        return "accepted", back_s, ""

    def decision(self, number: int, name: str, event: str, detail: str = "") -> ParticipationRow:
        return ParticipationRow(round=number, client=name, event=event, detail=detail)

    def round(self, number: int, at_s: float) -> float:
        limit_s = at_s + (30.0 if self.drops else 90.0)
        ends = []
        for name in self.clients:
            self.rows.append((at_s, "coordinator", self.decision(number, name, "selected")))
            ends.append((name, *self.train(number, name, at_s, limit_s)))
        for name, event, when_s, why in ends:
            self.rows.append((when_s, "coordinator", self.decision(number, name, event, why)))
            if event == "late":
                self.say(when_s, "coordinator", name, RoundOver, 44)
        tally = {event: sum(e == event for _, e, _, _ in ends) for event in ("accepted", "late", "lost", "declined")}
        ended_s = max(when_s for _, _, when_s, _ in ends) + 0.01
        row = RoundRow(
            round=number,
            started_s=at_s,
            ended_s=ended_s,
            available=len(self.clients),
            selected=len(self.clients),
            rejected=0,
            not_finite=min(self.left_out, tally["accepted"]) if number % 2 else 0,
            examples=102 * tally["accepted"],
            outcome="aggregated",
            **tally,
        )
        self.rows.append((ended_s, "coordinator", row))
        asked_s = self.say(ended_s, "coordinator", "evaluator", EvaluateRequest, 31_000)
        told_s = self.say(asked_s + 0.2, "evaluator", "coordinator", EvaluateResult, 80)
        accuracy = 0.945 - 0.85 * math.exp(-number / 5) + float(self.rng.normal(0.0, 0.004))
        evaluation = EvaluationRow(
            round=number, examples=357, accuracy=accuracy, loss=0.25 + 2.05 * math.exp(-number / 6)
        )
        self.rows.append((told_s, "coordinator", evaluation))
        if self.own_models and number % 3 == 0:
            self.evaluate(number, told_s, accuracy)
        return ended_s

    def evaluate(self, number: int, at_s: float, accuracy: float) -> None:
        """The clients' own evaluations: each differs from the rest in the same way, and its own model a little less."""
        for i, name in enumerate(self.clients):
            unlike = 0.3 * ((7 * i) % len(self.clients)) / len(self.clients)
            for model, score in (("global", accuracy - unlike), ("personal", accuracy - 0.3 * unlike)):
                row = ClientEvaluationRow(
                    round=number, client=name, model=model, examples=25, accuracy=max(score, 0.0), loss=1.0
                )
                self.rows.append((at_s, "coordinator", row))

    def play(self) -> float:
        for name in self.kinds:
            self.device(0.0, name, "start")
            if name in self.clients:
                self.say(0.0, name, "coordinator", Join, 40)
        at_s = 0.1
        for number in range(1, self.rounds + 1):
            at_s = self.round(number, at_s)
        if self.drops:
            lost = UndeliveredRow(
                sender=self.clients[0], receiver="coordinator", type="TrainResult", size_bytes=31_150, reason="device"
            )
            self.rows.append((at_s / 2, self.clients[0], lost))
            self.device(at_s, self.clients[1], "link_down")
            self.rows.append((at_s, self.clients[1], FaultRow(kind="link_down", detail="for 60 s")))
        at_s += 0.5
        for name in self.kinds:
            self.device(at_s, name, "end")
        for (name, component), joules in self.joules.items():
            self.rows.append((at_s, name, EnergyRow(component=component, joules=joules)))
        for name, kind in self.kinds.items():
            total = sum(joules for (actor, _), joules in self.joules.items() if actor == name)
            source = "mains" if kind.battery_j is None else "battery"
            self.rows.append((at_s, name, EnergyRow(component=source, joules=total)))
        return at_s


def fabricate(
    directory: Path,
    *,
    clients: int = 14,
    rounds: int = 30,
    seed: int = 0,
    drops: bool = False,
    real: bool = False,
    placements: bool = True,
    left_out: int = 0,
    own_models: bool = False,
    target: float | None = None,
) -> Path:
    """Write a run of `clients` phones for `rounds` rounds; `drops` adds what goes wrong, `real` what hosts record.

    Of rounds with an odd number, the sum leaves out up to `left_out` updates. With `own_models` the clients evaluate
    the global model and one of their own every third round.
    """
    study = _Study(clients, rounds, seed, drops, left_out)
    study.own_models = own_models
    ended_s = study.play()
    writer = RunWriter(directory)
    for message in sorted(study.messages, key=lambda m: m[1]):
        writer.message(*message)
    for name, kind in study.kinds.items() if placements else ():
        row = PlacementRow(profile=kind.name, link=kind.link, region="europe", battery_j=kind.battery_j)
        writer.row(0.0, name, row)
    for at_s, actor, recorded in sorted(study.rows, key=lambda r: r[0]):
        writer.row(at_s, actor, recorded)
    for phase, wall_s in (("set-up", 1.2), ("run", 14.1), ("report", 2.0)):
        writer.row(ended_s, "", HostRunRow(phase=phase, wall_s=wall_s, cpu_s=wall_s * 1.4, peak_rss_bytes=512_000_000))
    if real:
        for i in range(2):
            node = HostNodeRow(
                process=f"node-{i}",
                cpu_s=11.0 + i,
                peak_rss_bytes=480_000_000,
                frame_bytes_sent=21_000_000,
                frame_bytes_received=20_500_000,
                heartbeat_bytes=64_000,
                handshakes=15,
                reconnections=i,
            )
            writer.row(ended_s, f"node-{i}", node)
        overrun = HostOverrunRow(function="local_update", modelled_s=0.11, measured_s=0.2)
        writer.row(12.0, study.clients[-1], overrun)
        writer.row(31.0, study.clients[-1], overrun)
    writer.close()
    model = {"bias": np.zeros(10, np.float32), "kernel": np.full((64, 10), 0.25, np.float32)}
    save_model(directory / "model.safetensors", model)
    manifest = Manifest(
        name="quickstart",
        description="Phones learn to read digits.",
        scenario={"data": {"name": "digits"}, "model": {"name": "softmax"}, "report": {"target": target}},
        seed=seed,
        world="real" if real else "sim",
        time_scale=0.02 if real else 0.0,
        outcome="done",
        started="2020-01-01T12:00:00+00:00",
        ended="2020-01-01T12:00:17+00:00",
        simulated_s=ended_s,
        wall_s=17.3,
        versions={"python": "3.11.2", "jax": "0.10.0", "numpy": "2.3.1"},
        host={"processor": "a processor", "cores": 2, "memory_bytes": 8_000_000_000, "system": "Linux"},
        counts={"messages": writer.message_count, "jobs": len(study.clients) * rounds},
        trace_sha256=writer.trace_sha256,
        model_sha256=model_sha256(model),
        reference=Reference(accuracy=0.938, source="numpy FedAvg of 20 lines, 50 rounds"),
    )
    write_manifest(directory, manifest)
    return directory
