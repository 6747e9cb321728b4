"""Two runs side by side: key figures, hashes, traffic by type and actors, rounds, energy; in words and as a page.

A run on sockets is compared on the same axis as a simulated one: seconds of the study, not of the wall.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Final

import numpy as np

from analysis import sheets, units
from analysis.clients import MODELS, ClientScores
from analysis.study import Floats, Study
from analysis.tables import Run
from analysis.target import Reached, asked, reaching
from core.records.store import write_whole

#: Type, sender, receiver.
Key = tuple[str, str, str]
#: Rows of a table of differences; more are counted.
MOST_ROWS = 20
#: What reaching a target takes: its name, its unit, and where it stands.
_SPENT: Final[tuple[tuple[str, str, Callable[[Reached], float]], ...]] = (
    ("rounds", "1", lambda reached: reached.round),
    ("time", "s", lambda reached: reached.time_s),
    ("bytes", "B", lambda reached: reached.size_bytes),
    ("clients' energy", "J", lambda reached: reached.joules),
)


@dataclasses.dataclass(frozen=True)
class Figure:
    """One key figure of both runs, as text, and the second over the first or less it."""

    name: str
    a: str
    b: str
    difference: str = ""


@dataclasses.dataclass(frozen=True)
class Pair:
    """Messages of one type from one actor to another, in both runs."""

    type: str
    sender: str
    receiver: str
    messages: tuple[int, int]
    size_bytes: tuple[int, int]


def _name(study: Study) -> str:
    """World and name of a run, and its fidelity if it did not train."""
    manifest = study.manifest
    fidelity = "" if manifest.fidelity == "train" else f" ({manifest.fidelity})"
    return f"{'simulated' if manifest.world == 'sim' else 'real'} {manifest.name}{fidelity}"


class Comparison:
    """What is the same and what differs between two runs."""

    def __init__(self, a: Study, b: Study) -> None:
        self.a = a
        self.b = b

    @cached_property
    def names(self) -> tuple[str, str]:
        """What the runs are called: world and name, and the directory where these do not tell them apart."""
        names = [_name(study) for study in (self.a, self.b)]
        if names[0] == names[1]:
            names = [f"{n} ({s.run.directory.resolve().name})" for n, s in zip(names, (self.a, self.b), strict=True)]
        return (names[0], names[1]) if names[0] != names[1] else (f"{names[0]} A", f"{names[1]} B")

    @property
    def same_model(self) -> bool:
        """Whether both ended with the same model, bit for bit."""
        return self.a.manifest.model_sha256 is not None and self.a.manifest.model_sha256 == self.b.manifest.model_sha256

    @property
    def same_trace(self) -> bool:
        """Whether both delivered the same messages at the same times, to the last bit."""
        return self.a.manifest.trace_sha256 is not None and self.a.manifest.trace_sha256 == self.b.manifest.trace_sha256

    @cached_property
    def pairs(self) -> list[Pair]:
        """Messages and bytes by type, sender and receiver, in both runs."""
        (count_a, size_a), (count_b, size_b) = _traffic(self.a), _traffic(self.b)
        return [
            Pair(*key, (count_a.get(key, 0), count_b.get(key, 0)), (size_a.get(key, 0), size_b.get(key, 0)))
            for key in sorted({**count_a, **count_b})
        ]

    @property
    def differing(self) -> list[Pair]:
        """Those in which number or bytes differ."""
        return [p for p in self.pairs if p.messages[0] != p.messages[1] or p.size_bytes[0] != p.size_bytes[1]]

    @cached_property
    def figures(self) -> list[Figure]:
        """The key figures of both."""
        a, b = self.a, self.b
        found = [
            _figure("final accuracy", (a.final_accuracy, b.final_accuracy), "%"),
            _figure("final loss", (_last(a.curve.loss), _last(b.curve.loss)), ""),
            _figure("rounds", (len(a.run.rounds()["round"]), len(b.run.rounds()["round"])), "1"),
            _figure("length of the study", (a.duration_s, b.duration_s), "s"),
            _figure("median round", (_median_round_s(a), _median_round_s(b)), "s"),
            _figure("messages", (a.run.count("messages"), b.run.count("messages")), "1"),
            _figure("delivered", (a.total_bytes, b.total_bytes), "B"),
            _figure("clients' energy", (a.total_j(a.clients), b.total_j(b.clients)), "J"),
            _figure("all devices' energy", (a.total_j(), b.total_j()), "J"),
            _figure("wall time", (a.manifest.wall_s, b.manifest.wall_s), "s"),
        ]
        if a.is_regression or b.is_regression:
            found[0] = _figure("final error", (a.final_error, b.final_error), "")
        found += [*self._of_clients, *self._targets]
        left_out = (int(a.left_out.sum()), int(b.left_out.sum()))
        if any(left_out):
            found.insert(3, _figure("updates left out of the sum", left_out, "1"))
        return found

    @property
    def _of_clients(self) -> list[Figure]:
        """The last models on the clients' own examples, where clients of both runs evaluated any."""
        a, b = self.a, self.b
        if a.is_regression != b.is_regression:
            return []
        unit = "" if a.is_regression else "%"
        scores = (ClientScores(a), ClientScores(b))
        found = []
        for model in (m for m in MODELS if any(m in s.models for s in scores)):
            of_a, of_b = (s.final(model) for s in scores)
            name = "clients, global model" if model == "global" else "clients, own models"
            found += [
                _figure(f"{name}: mean", (of_a.mean, of_b.mean), unit),
                _figure(f"{name}: worst decile", (of_a.worst_decile, of_b.worst_decile), unit),
                _figure(f"{name}: Jain's index", (of_a.jain, of_b.jain), ""),
            ]
        return found

    @property
    def _targets(self) -> list[Figure]:
        """What each target of the two took in both runs."""
        a, b = self.a, self.b
        levels = sorted({level for level in (asked(a), asked(b)) if level is not None})
        return [] if a.is_regression != b.is_regression else [f for level in levels for f in _target(a, b, level)]

    @property
    def verdicts(self) -> list[tuple[bool | None, str]]:
        """What is the same, or not, in words; None where there are no two things to compare."""
        total = len(self.pairs)
        differing = len(self.differing)
        clocked = ""
        if not self.same_trace and "real" in (self.a.manifest.world, self.b.manifest.world):
            clocked = ", as they do where the times of messages are those of a clock"
        astray: list[tuple[bool | None, str]] = [
            (False, f"The records of {name} are not as the run left them: {study.messages_astray}.")
            for name, study in zip(self.names, (self.a, self.b), strict=True)
            if study.messages_astray
        ]
        return [
            *astray,
            self._lacking("model_sha256", "final model")
            or (self.same_model, f"The final models {'are the same' if self.same_model else 'differ'} (model_sha256)."),
            (
                not differing,
                f"Messages and bytes of each type between the same actors are the same ({units.count(total)} kinds)."
                if not differing
                else f"Messages or bytes differ in {units.count(differing)} of {units.count(total)} kinds "
                "(type, sender, receiver).",
            ),
            self._lacking("trace_sha256", "trace")
            or (
                self.same_trace,
                f"The traces {'are' if not astray else 'were, by the manifests,'} the same (trace_sha256)."
                if self.same_trace
                else f"The traces differ (trace_sha256){clocked}.",
            ),
        ]

    def _lacking(self, digest: str, noun: str) -> tuple[bool | None, str] | None:
        """That at least one of the runs has not left what the digest is of; None if both have."""
        without = [
            name
            for name, study in zip(self.names, (self.a, self.b), strict=True)
            if getattr(study.manifest, digest) is None
        ]
        if not without:
            return None
        if len(without) == 2:
            return None, f"Neither run has left a {noun}: there is nothing to compare ({digest})."
        return None, f"{without[0][0].upper()}{without[0][1:]} has left no {noun} to compare ({digest})."

    def lines(self) -> list[str]:
        """The comparison as lines for a terminal."""
        table = [("", *self.names, ""), *((f.name, f.a, f.b, f.difference) for f in self.figures)]
        lines = [*aligned(table), "", *(text for _, text in self.verdicts)]
        if self.differing:
            heads = ("type", "sender", "receiver", "messages", "bytes")
            rows = [
                (p.type, p.sender, p.receiver, _arrow(p.messages), _arrow(p.size_bytes))
                for p in self.differing[:MOST_ROWS]
            ]
            lines += ["", *aligned([heads, *rows], words=3)]
            if len(self.differing) > MOST_ROWS:
                lines.append(f"… and {units.count(len(self.differing) - MOST_ROWS)} more")
        return [line.rstrip().replace("\u00a0", " ") for line in lines]


def compare(a: Path | str | Run, b: Path | str | Run) -> Comparison:
    """Compare two runs. Raises `RecordsError` for what is no run's directory."""
    return Comparison(*(Study(run if isinstance(run, Run) else Run(run)) for run in (a, b)))


def write_comparison(comparison: Comparison, path: Path) -> Path:
    """Write the comparison as one self-contained HTML page. Raises `RecordsError`."""
    from analysis.plots.comparison import plots
    from analysis.plots.style import styled
    from analysis.report import pages

    with styled():
        drawn = plots(comparison)
    figures = sheets.sheet(
        ("", *comparison.names, "difference"), [(f.name, f.a, f.b, f.difference) for f in comparison.figures]
    )
    rows = [
        (p.type, p.sender, p.receiver, _arrow(p.messages), _arrow(p.size_bytes))
        for p in comparison.differing[:MOST_ROWS]
    ]
    more = len(comparison.differing) - MOST_ROWS
    differing = sheets.sheet(
        ("type", "sender", "receiver", "messages", "bytes"),
        rows,
        text=3,
        note=f"… and {units.count(more)} more." if more > 0 else "",
    )
    text = (
        pages()
        .get_template("compare.html")
        .render(
            title=f"{comparison.names[0]} and {comparison.names[1]}",
            sentences=[
                (name, study.sentence)
                for name, study in zip(comparison.names, (comparison.a, comparison.b), strict=True)
            ],
            verdicts=comparison.verdicts,
            figures=figures,
            plots=drawn,
            differing=differing if rows else None,
        )
    )
    write_whole(Path(path), text.encode())
    return Path(path)


def _traffic(study: Study) -> tuple[dict[Key, int], dict[Key, int]]:
    """Number and bytes of messages by type, sender and receiver."""
    (kinds, kind_names), (senders, sender_names), (receivers, receiver_names) = (
        study.run.codes("messages", column) for column in ("type", "sender", "receiver")
    )
    rows = np.stack([kinds, senders, receivers], axis=1)
    unique, inverse, counts = np.unique(rows, axis=0, return_inverse=True, return_counts=True)
    sizes = np.zeros(len(unique), np.int64)
    np.add.at(sizes, inverse, study.run.messages()["size_bytes"])
    keys = [(kind_names[k], sender_names[s], receiver_names[r]) for k, s, r in unique.tolist()]
    return dict(zip(keys, counts.tolist(), strict=True)), dict(zip(keys, sizes.tolist(), strict=True))


def _last(values: Floats) -> float:
    known = values[np.isfinite(values)]
    return float(known[-1]) if len(known) else float("nan")


def _median_round_s(study: Study) -> float:
    rounds = study.run.rounds()
    return float(np.median(rounds["ended_s"] - rounds["started_s"])) if len(rounds["round"]) else float("nan")


def _figure(name: str, values: tuple[float, float], unit: str) -> Figure:
    """A key figure; `unit` is %, s, J, B, 1 for numbers of things, or nothing."""
    a, b = values
    if a == b:
        difference = "same"
    elif not (np.isfinite(a) and np.isfinite(b)):
        difference = ""
    elif unit == "%":
        difference = f"{100.0 * (b - a):+.2f} points"
    elif unit == "1":
        difference = f"{b - a:+,.0f}"
    else:
        difference = f"× {units.number(b / a)}" if a and not 0.9 < b / a < 1.1 else _relative(a, b)
    return Figure(name, _shown(a, unit), _shown(b, unit), difference)


def _target(a: Study, b: Study, level: float) -> list[Figure]:
    """What a target took in both runs; where one did not reach it, that it did not."""
    both = [reaching(study, level) for study in (a, b)]
    of_a, of_b = (target.reached for target in both)
    name = both[0].text
    if of_a is None and of_b is None:
        return [Figure(f"to {name}", both[0].missed, both[1].missed)]
    nan = float("nan")
    rows = [
        _figure(
            f"{what} to {name}",
            (nan if of_a is None else get(of_a), nan if of_b is None else get(of_b)),
            unit,
        )
        for what, unit, get in _SPENT
    ]
    shown = [target.missed or figure for target, figure in zip(both, (rows[0].a, rows[0].b), strict=True)]
    rows[0] = dataclasses.replace(rows[0], a=shown[0], b=shown[1])
    return rows


def _shown(value: float, unit: str) -> str:
    match unit:
        case "%":
            return units.percent(value, 2)
        case "s":
            return units.duration(value)
        case "1":
            return units.count(value)
        case "":
            return units.number(value)
        case _:
            return units.text(value, unit)


def _relative(a: float, b: float) -> str:
    return f"{100.0 * (b - a) / a:+.2g}\u00a0%" if a else ""


def _arrow(values: tuple[int, int]) -> str:
    a, b = values
    return units.count(a) if a == b else f"{units.count(a)} → {units.count(b)}"


def aligned(rows: Sequence[tuple[str, ...]], words: int = 1) -> list[str]:
    """Rows of text with their columns under each other; the first `words` columns flush left."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return [
        "  ".join(
            cell.ljust(width) if i < words else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    ]
