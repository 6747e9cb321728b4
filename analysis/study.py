"""What a run amounted to: who took part, the study in a sentence, its key figures."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Collection, Iterable
from functools import cached_property
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from analysis import units
from analysis.tables import Run
from core.scenario.names import COORDINATOR, EVALUATOR, is_regression

Floats = npt.NDArray[np.float64]
#: Rows that a sum over a table takes at a time.
_ROWS: Final = 1 << 20
#: What draws energy, in the order in which it is shown.
DRAWS: Final = (
    "processor",
    "accelerator",
    "radio_send",
    "radio_receive",
    "radio_tail",
    "screen",
    "idle",
    "battery_loss",
    "charger_loss",
)
#: Those of them that are the radios'.
RADIO_DRAWS: Final = ("radio_send", "radio_receive", "radio_tail")
#: How a client's part in a round may end, in the order in which it is shown.
ENDS: Final = ("accepted", "late", "lost", "declined", "rejected")
#: What is said of accepted updates that the exact sum did not take.
LEFT_OUT: Final = "left out of the sum (not finite or out of range)"
_DIGITS: Final = re.compile(r"(\d+)")
_SMALL_NUMBERS: Final = (
    *("No", "One", "Two", "Three", "Four", "Five", "Six", "Seven", "Eight", "Nine", "Ten", "Eleven", "Twelve"),
)


def natural(name: str) -> tuple[tuple[int, str], ...]:
    """A key that sorts phone-2 before phone-10."""
    return tuple((int(part), "") if part.isdigit() else (-1, part) for part in _DIGITS.split(name) if part)


@dataclasses.dataclass(frozen=True)
class Curve:
    """The global model after rounds: when each was made (s of the study), its accuracy (or error) and loss."""

    round: npt.NDArray[np.int64]
    time_s: Floats
    accuracy: Floats
    loss: Floats
    #: Mean absolute error of a regression; NaN for other tasks.
    error: Floats


@dataclasses.dataclass(frozen=True)
class Energy:
    """Joules by component, of all actors whose energy was recorded: their places are `rows`."""

    rows: dict[str, int]
    joules: dict[str, Floats]

    def of(self, component: str) -> Floats:
        """Joules of a component, by the places of actors."""
        found = self.joules.get(component)
        return np.zeros(len(self.rows)) if found is None else found

    def places(self, names: Iterable[str] | None = None) -> npt.NDArray[np.int64]:
        """Places of those of some actors that are known, or of all."""
        if names is None:
            return np.arange(len(self.rows))
        return np.array([self.rows[name] for name in names if name in self.rows], np.int64)


class Study:
    """Figures derived from one run's tables; each is computed when first asked for."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self.manifest = run.manifest
        #: Kept whatever their size, as the codes of a run are.
        self._of_clients: dict[str, npt.NDArray[np.int32]] = {}

    # Who took part.

    @cached_property
    def actors(self) -> set[str]:
        """All actors that left a trace."""
        traces = (("messages", "sender"), ("messages", "receiver"), ("devices", "actor"), ("placements", "actor"))
        return {name for table, column in traces for name in self.run.codes(table, column)[1]}

    @cached_property
    def profiles(self) -> dict[str, str]:
        """Class of each device that was placed, took part or told of itself, in natural order of their names.

        Where no placement was recorded, its name without the number. Of a million devices those that were no more than
        heard of, by messages, are not among them.
        """
        placed = self.run.columns("placements")
        known = dict(zip(placed["actor"], placed["profile"], strict=True))
        traces = (("participation", "client"), ("devices", "actor"), ("energy", "actor"))
        names = known.keys() | {name for table, column in traces for name in self.run.codes(table, column)[1]}
        ordered = sorted(sorted(names), key=natural)
        return {name: known.get(name) or re.sub(r"[-_]?\d+$", "", name) or name for name in ordered}

    @cached_property
    def _client_names(self) -> set[str]:
        placed = {str(name) for name in self.run.codes("placements", "actor")[1]} - {COORDINATOR, EVALUATOR}
        return placed | {str(name) for name in self.run.codes("participation", "client")[1]}

    @cached_property
    def clients(self) -> list[str]:
        """All that were placed but the coordinator and the evaluator, by class of device and then by name.

        Where no placement was recorded, the actors that were ever selected to train.
        """
        return [name for group in self.classes_of(self._client_names).values() for name in group]

    @cached_property
    def classes(self) -> list[str]:
        """Classes of devices, those of clients first, in the order in which the scenario placed them."""
        known = dict.fromkeys([*self.run.codes("placements", "profile")[1], *sorted({*self.profiles.values()})])
        clients = {self.profiles[name] for name in self._client_names}
        return sorted(known, key=lambda kind: kind not in clients)

    def classes_of(self, names: Iterable[str]) -> dict[str, list[str]]:
        """Those of `profiles` that are named, in natural order by class of device, in the order of the classes."""
        chosen = set(names)
        groups: dict[str, list[str]] = {kind: [] for kind in self.classes}
        for name, kind in self.profiles.items():
            if name in chosen:
                groups[kind].append(name)
        return {kind: members for kind, members in groups.items() if members}

    def of_clients(self, side: str) -> npt.NDArray[np.int32]:
        """Number in `clients` of each message's sender or receiver; how many clients there are for all others."""
        found = self._of_clients.get(side)
        if found is None:
            found = self._of_clients[side] = self.run.positions("messages", side, self.clients)
        return found

    @cached_property
    def duration_s(self) -> float:
        """Length of the study, or the last recorded time where the manifest does not know it."""
        if self.manifest.simulated_s > 0.0:
            return self.manifest.simulated_s
        run = self.run
        times = [run.messages()["delivered_s"], run.rounds()["ended_s"], run.columns("devices")["time_s"]]
        return max((float(column.max()) for column in times if len(column)), default=0.0)

    @property
    def pace(self) -> float:
        """Wall seconds for a second of the study on sockets; a machine that stands for itself keeps its own time."""
        real: Any = self.manifest.scenario.get("real")
        itself = isinstance(real, dict) and real.get("devices") == "host"
        return 1.0 if itself else self.manifest.time_scale or 1.0

    @cached_property
    def messages_astray(self) -> str:
        """Says that other messages are stored than the manifest counted; empty if they agree."""
        counted, stored = self.manifest.counts.get("messages"), self.run.count("messages")
        if counted is None or counted == stored:
            return ""
        return f"the manifest counts {units.count(counted)} messages, but {units.count(stored)} are stored"

    # Learning.

    @cached_property
    def curve(self) -> Curve:
        """The evaluations in order of their rounds; a model counts from the end of the round that made it."""
        rows, rounds = self.run.evaluations(), self.run.rounds()
        ended_s = dict(zip(rounds["round"].tolist(), rounds["ended_s"].tolist(), strict=True))
        order = np.argsort(rows["round"], kind="stable")
        numbers = rows["round"][order]
        told_s = rows["time_s"][order]
        times = [ended_s.get(number, at_s) for number, at_s in zip(numbers.tolist(), told_s.tolist(), strict=True)]
        return Curve(
            round=numbers,
            time_s=np.array(times, np.float64),
            accuracy=rows["accuracy"][order].astype(np.float64),
            loss=rows["loss"][order].astype(np.float64),
            error=rows["error"][order].astype(np.float64),
        )

    @cached_property
    def final_accuracy(self) -> float:
        """Accuracy of the last model that was evaluated; NaN if none was."""
        known = self.curve.accuracy[np.isfinite(self.curve.accuracy)]
        return float(known[-1]) if len(known) else float("nan")

    @cached_property
    def final_error(self) -> float:
        """Mean absolute error of the last model of a regression that was evaluated; NaN if there is none."""
        known = self.curve.error[np.isfinite(self.curve.error)]
        return float(known[-1]) if len(known) else float("nan")

    @cached_property
    def is_regression(self) -> bool:
        """Whether models were evaluated by their error, or would have been."""
        data: Any = self.manifest.scenario.get("data")
        options = data.get("options") if isinstance(data, dict) else None
        if (
            isinstance(options, dict)
            and not np.isfinite(self.final_accuracy)
            and is_regression(str(data.get("dataset")), options)
        ):
            return True
        of_clients = self.run.columns("client_evaluations")["error"].astype(np.float64)
        return bool(np.isfinite(self.final_error) or np.isfinite(of_clients).any())

    @property
    def score(self) -> tuple[str, str]:
        """What the last model is measured by, accuracy or error, and how much it is, as text."""
        if self.is_regression:
            return "error", self.score_text(self.final_error)
        return "accuracy", self.score_text(self.final_accuracy)

    def score_text(self, value: float, digits: int = 1) -> str:
        """An accuracy as a percentage with `digits` decimals, or an error with two significant digits more."""
        return units.number(value, digits + 2) if self.is_regression else units.percent(value, digits)

    @property
    def origin(self) -> str:
        """Where accuracies and losses come from if they were not measured; empty if they were."""
        manifest = self.manifest
        if manifest.fidelity == "timing":
            return "nothing was trained (fidelity timing)"
        if manifest.surrogate is not None:
            return f"of a surrogate, not measured: {manifest.surrogate.description}"
        return ""

    @cached_property
    def label_counts(self) -> npt.NDArray[np.int64]:
        """Training examples of each label of each client, [clients, labels], in the order of `shards`."""
        rows = self.run.columns("shards")["label_counts"]
        counts = [np.array(text.split(), np.int64) for text in rows]
        return np.stack(counts) if counts else np.zeros((0, 0), np.int64)

    @cached_property
    def heterogeneity(self) -> tuple[float, float]:
        """Mean distance of clients' labels from all together, and what chance gives, weighted by their counts."""
        rows, sizes = self.run.columns("shards"), self.label_counts.sum(axis=1)
        if not sizes.sum():
            return float("nan"), float("nan")
        own, chance = (np.nan_to_num(rows[name]) for name in ("label_distance", "chance_distance"))
        return float(sizes @ own / sizes.sum()), float(sizes @ chance / sizes.sum())

    @cached_property
    def left_out(self) -> npt.NDArray[np.int64]:
        """Accepted updates of each round that the exact sum left out; 0 where that was never computed."""
        return np.nan_to_num(self.run.rounds()["not_finite"].astype(np.float64)).astype(np.int64)

    @cached_property
    def hollow(self) -> npt.NDArray[np.bool_]:
        """Rounds that were aggregated though the sum left out every accepted update."""
        rounds = self.run.rounds()
        accepted = rounds["accepted"]
        found: npt.NDArray[np.bool_] = (
            (rounds["outcome"] == "aggregated") & (self.left_out > 0) & (self.left_out >= accepted)
        )
        return found

    @property
    def in_vain(self) -> str:
        """That no round changed the model, as no update could be used; empty if one did, or nobody knows."""
        aggregated = self.run.rounds()["outcome"] == "aggregated"
        if not aggregated.any() or not self.hollow[aggregated].all():
            return ""
        return f"nothing was learned: no update could be used in any of {_count(int(aggregated.sum()), 'round')}"

    # Cost.

    @cached_property
    def energy(self) -> Energy:
        """Joules over the whole run by actor and component."""
        actors, names = self.run.codes("energy", "actor")
        components, kinds = self.run.codes("energy", "component")
        rows = actors.astype(np.int64) * len(kinds) + components
        joules = np.bincount(rows, self.run.columns("energy")["joules"], len(names) * len(kinds))
        by_kind = joules.reshape(len(names), len(kinds)).T
        return Energy({name: i for i, name in enumerate(names)}, dict(zip(kinds, by_kind, strict=True)))

    def drawn_j(self, names: Iterable[str] | None = None) -> dict[str, float]:
        """Joules by what drew them, of some actors or of all."""
        places = self.energy.places(names)
        return {draw: float(self.energy.of(draw)[places].sum()) for draw in DRAWS}

    def purposes_j(self, names: Collection[str] | None = None) -> dict[str, float]:
        """Joules by what they were for, of some actors or of all: they are those of `drawn_j`.

        Training and inference are those of jobs that have ended; one that still ran at the end is `unfinished`.
        Protocol is what the radios took, and messages of the processor on a shared host; idle all else.
        """
        drawn = self.drawn_j(names)
        joules = self.run.columns("jobs")["joules"]
        mine = np.ones(len(joules), bool) if names is None else self._jobs_of(names)
        codes, kinds = self.run.codes("jobs", "purpose")
        found = {
            purpose: float(joules[mine & (codes == kinds.index(purpose))].sum()) if purpose in kinds else 0.0
            for purpose in ("training", "inference")
        }
        computed = drawn["processor"] + drawn["accelerator"]
        messages_j = float(self.energy.of("messages")[self.energy.places(names)].sum())
        rest_j = computed - sum(found.values()) - messages_j
        found["unfinished"] = rest_j if rest_j > 1e-9 * computed else 0.0  # the rest is rounding
        radio_j = sum(drawn[draw] for draw in RADIO_DRAWS)
        found["protocol"] = radio_j + messages_j
        found["idle"] = sum(drawn.values()) - computed - radio_j
        return found

    def _jobs_of(self, names: Iterable[str]) -> npt.NDArray[np.bool_]:
        """Which of all jobs are those of some actors."""
        codes, known = self.run.codes("jobs", "actor")
        chosen = set(names)
        return np.array([name in chosen for name in known], np.bool_)[codes]

    def total_j(self, names: Iterable[str] | None = None) -> float:
        """Joules of some actors or of all; NaN if none of theirs was recorded."""
        return sum(self.drawn_j(names).values()) if len(self.energy.places(names)) else float("nan")

    @cached_property
    def total_bytes(self) -> int:
        """Bytes of all delivered frames."""
        return int(self.run.messages()["size_bytes"].sum())

    def bytes_until(self, times: Floats) -> Floats:
        """Bytes that were delivered until given times, s."""
        rows = self.run.messages()
        sizes = rows["size_bytes"]
        return sums_until(times, rows["delivered_s"], lambda chosen: sizes[chosen])

    @cached_property
    def clients_joules_over_time(self) -> tuple[Floats, dict[str, Floats]]:
        """Joules that the clients' devices have drawn until each of 240 times, s, by component."""
        grid = np.linspace(0.0, self.duration_s, 240)
        return grid, self.clients_joules_until(grid)

    def clients_joules_until(self, grid: Floats) -> dict[str, Floats]:
        """Joules that the clients' devices have drawn until given times, s, by component.

        The processor's and the accelerator's are those of the jobs, spread over their time; the radios' follow the
        bytes; the others are spread evenly. All end at the recorded totals.
        """
        totals = self.drawn_j(self.clients)
        even = grid / self.duration_s if self.duration_s > 0.0 else np.zeros_like(grid)
        shapes = {
            "processor": self._job_shape(grid),
            "accelerator": self._job_shape(grid),
            "radio_send": self._radio_shape(grid, "sender", "radio_send"),
            "radio_receive": self._radio_shape(grid, "receiver", "radio_receive"),
        }
        parts: dict[str, Floats] = {}
        for draw in DRAWS:
            shape = shapes.get(draw)
            if totals[draw]:
                parts[draw] = totals[draw] * (even if shape is None else shape)
        return parts

    def _job_shape(self, grid: Floats) -> Floats | None:
        rows = self.run.columns("jobs")
        chosen = self._jobs_of(self.clients) & (rows["joules"] > 0.0)
        joules, start_s = rows["joules"][chosen], rows["started_s"][chosen]
        end_s = np.maximum(rows["time_s"][chosen], start_s + 1e-9)
        if not len(joules):
            return None
        # A ramp for each job: the sum of ramps that begin, less that of those that have ended.
        slope = joules / (end_s - start_s)
        corners = np.concatenate([start_s, end_s])
        slopes = np.concatenate([slope, -slope])
        order = np.argsort(corners, kind="stable")
        corners, slopes = corners[order], np.cumsum(slopes[order])
        values = np.concatenate([[0.0], np.cumsum(slopes[:-1] * np.diff(corners))])
        shape: Floats = np.interp(grid, corners, values) / joules.sum()
        return shape

    def _radio_shape(self, grid: Floats, side: str, component: str) -> Floats | None:
        codes, rows = self.of_clients(side), self.run.messages()
        sizes, at_s = rows["size_bytes"], rows["sent_s" if side == "sender" else "delivered_s"]
        sent = np.bincount(codes, sizes, len(self.clients) + 1)
        joules = np.zeros(len(sent))
        own, known = self.energy.of(component), self.energy.rows
        joules[:-1] = [own[known[name]] if name in known else 0.0 for name in self.clients]
        rate = np.divide(joules, sent, out=np.zeros(len(sent)), where=sent > 0)
        whole = float((rate * sent).sum())
        if not whole > 0.0:
            return None
        shape: Floats = sums_until(grid, at_s, lambda chosen: rate[codes[chosen]] * sizes[chosen]) / whole
        return shape

    # In words.

    @cached_property
    def sentence(self) -> str:
        """The study in one sentence."""
        rounds = len(self.run.rounds()["round"])
        data, model, algorithm = self._named("data"), self._named("model"), self._named("training")
        what = f"together trained a {model} model" if model else "together trained a model"
        what += f" on {data}" if data else ""
        what += f" with {algorithm}" if algorithm else ""
        length = f"{_count(rounds, 'round')} in {units.duration(self.duration_s)} of {self._clock}"
        text = f"{self._who()} {what}: {length}"
        if np.isfinite(self.final_accuracy):
            examples = int(self.run.evaluations()["examples"][-1])
            text += f", after which {units.percent(self.final_accuracy)} of {units.count(examples)} held-out examples "
            text += "are classified rightly"
        elif np.isfinite(self.final_error):
            held_out = units.count(self.run.evaluations()["examples"][-1])
            text += f", after which the mean absolute error on {held_out} held-out examples "
            text += f"is {units.number(self.final_error)}"
        return " ".join([f"{text}.", *self._omissions])

    @property
    def _omissions(self) -> list[str]:
        left_out, hollow = int(self.left_out.sum()), int(self.hollow.sum())
        if not left_out:
            return []
        accepted = int(self.run.rounds()["accepted"].sum())
        text = f"Of {units.count(accepted)} accepted updates {units.count(left_out)} were {LEFT_OUT}"
        return [f"{text}; in {_count(hollow, 'round')} that was all of them." if hollow else f"{text}."]

    def _who(self) -> str:
        if not self.clients:
            return f"{_spelt(len(self.actors))} {'actor' if len(self.actors) == 1 else 'actors'}"
        groups = self.classes_of(self.clients)
        if len(groups) == 1:
            kind = next(iter(groups))
            return f"{_spelt(len(self.clients))} {'client' if len(self.clients) == 1 else 'clients'} ({kind})"
        inside = ", ".join(f"{units.count(len(names))} {kind}" for kind, names in groups.items())
        return f"{_spelt(len(self.clients))} clients ({inside})"

    @property
    def _clock(self) -> str:
        if self.manifest.world == "sim":
            return "simulated time"
        paced = f", at {self.pace:g} wall seconds a second," if self.pace != 1.0 else ""
        return f"study time{paced} on sockets"

    def _named(self, key: str) -> str:
        """How the scenario calls its data, model or algorithm, if it does; of an own one the last part."""
        value: Any = self.manifest.scenario.get(key)
        if isinstance(value, dict):
            value = next((value[k] for k in ("name", "dataset", "algorithm") if isinstance(value.get(k), str)), None)
        return re.split(r"[/\\:]", value)[-1] if isinstance(value, str) else ""


def sums_until(times: Floats, at_s: Floats, amounts_of: Callable[[slice], npt.NDArray[Any]]) -> Floats:
    """Sums of amounts up to each time; `amounts_of` gives those of some rows.

    Neither sorted nor taken all at once: there may be millions.
    """
    points, place = np.unique(times, return_inverse=True)
    between = np.zeros(len(points) + 1)
    for begin in range(0, len(at_s), _ROWS):
        rows = slice(begin, begin + _ROWS)
        between += np.bincount(np.searchsorted(points, at_s[rows]), amounts_of(rows), len(points) + 1)
    sums: Floats = np.cumsum(between)[place]
    return sums


def _spelt(number: int) -> str:
    return _SMALL_NUMBERS[number] if number < len(_SMALL_NUMBERS) else units.count(number)


def _count(number: int, noun: str) -> str:
    return f"{units.count(number)} {noun}{'' if number == 1 else 's'}"
