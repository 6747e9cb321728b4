"""A run's directory as tables and figures derived from them: exact for a small run written by hand."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import analysis.tables
from analysis import Run, units
from analysis.faults import befallen
from analysis.sheets import traffic
from analysis.study import ENDS, Study
from analysis.target import Reached, usual
from analysis.timeline import Mark, Span, participation, timeline, window
from core.records import (
    DeviceRow,
    EnergyRow,
    EvaluationRow,
    FaultRow,
    JobRow,
    Manifest,
    ParticipationRow,
    PlacementRow,
    RecordsError,
    RoundRow,
    RunWriter,
    write_manifest,
)
from core.records.store import read_parts
from core.wire import Message


class Give(Message, frozen=True, kw_only=True):
    number: int = 0


class Take(Message, frozen=True, kw_only=True):
    number: int = 0


def manifest(**changes: object) -> Manifest:
    values: dict[str, object] = {
        "name": "small",
        "scenario": {},
        "seed": 1,
        "world": "sim",
        "outcome": "done",
        "started": "2020-01-01T00:00:00+00:00",
        "simulated_s": 40.0,
    }
    return Manifest(**(values | changes))  # type: ignore[arg-type]


def job(started_s: float, seconds: float, joules: float, outcome: str = "done", purpose: str = "training") -> JobRow:
    return JobRow(
        function="f",
        started_s=started_s,
        seconds=seconds,
        flops=1.0,
        steps=1,
        joules=joules,
        outcome=outcome,
        purpose=purpose,
    )


def device(event: str) -> DeviceRow:
    return DeviceRow(
        event=event, battery_level=0.5, soc_temperature_c=None, case_temperature_c=None, speed=1.0, charging=False
    )


def round_row(number: int, started_s: float, ended_s: float, accepted: int, late: int, lost: int) -> RoundRow:
    return RoundRow(
        round=number,
        started_s=started_s,
        ended_s=ended_s,
        available=2,
        selected=2,
        accepted=accepted,
        late=late,
        lost=lost,
        declined=0,
        rejected=0,
        not_finite=0,
        examples=10 * accepted,
        outcome="aggregated",
    )


@pytest.fixture
def study(tmp_path: Path) -> Study:
    """Two rounds of 20 s of a coordinator and two clients. In the second b is lost by a crash, a is late."""
    writer = RunWriter(tmp_path)
    for name, profile in (("coordinator", "server"), ("a", "phone"), ("b", "phone")):
        writer.row(0.0, name, PlacementRow(profile=profile, link="wifi", region="x", battery_j=None))
    for began in (0.0, 20.0):
        for name in ("a", "b"):
            writer.message(began, began + 2.0, "coordinator", name, Give, 1000)
            event = ParticipationRow(round=1 + int(began // 20), client=name, event="selected")
            writer.row(began, "coordinator", event)
    writer.row(10.0, "a", job(2.0, 8.0, 80.0))
    writer.row(6.0, "b", job(2.0, 4.0, 20.0, purpose="inference"))
    writer.message(6.0, 8.0, "b", "coordinator", Take, 3000)
    writer.message(10.0, 20.0, "a", "coordinator", Take, 1000)
    writer.row(8.0, "coordinator", ParticipationRow(round=1, client="b", event="accepted"))
    writer.row(20.0, "coordinator", ParticipationRow(round=1, client="a", event="accepted"))
    writer.row(20.0, "coordinator", round_row(1, 0.0, 20.0, 2, 0, 0))
    writer.row(21.0, "coordinator", EvaluationRow(round=1, examples=50, accuracy=0.75, loss=1.5))
    writer.row(30.0, "b", device("crash"))
    writer.row(30.0, "b", job(22.0, 8.0, 0.0, "crash"))
    writer.row(30.0, "coordinator", ParticipationRow(round=2, client="b", event="lost"))
    writer.row(35.0, "b", device("restart"))
    writer.row(40.0, "a", job(22.0, 18.0, 100.0, "cancelled"))
    writer.row(40.0, "coordinator", ParticipationRow(round=2, client="a", event="late"))
    writer.row(40.0, "coordinator", round_row(2, 20.0, 40.0, 0, 1, 1))
    writer.row(40.0, "coordinator", EvaluationRow(round=2, examples=50, accuracy=0.72, loss=1.25))
    draws = {"a": (180.0, 10.0, 40.0), "b": (20.0, 30.0, 40.0), "coordinator": (0.0, 0.0, 400.0)}
    for name, parts in draws.items():
        for component, joules in zip(("processor", "radio_send", "idle"), parts, strict=True):
            writer.row(40.0, name, EnergyRow(component=component, joules=joules))
    writer.close()
    write_manifest(tmp_path, manifest(trace_sha256=writer.trace_sha256))
    return Study(Run(tmp_path))


def test_columns_are_numpy_arrays(study: Study) -> None:
    rounds = study.run.rounds()
    assert rounds["round"].tolist() == [1, 2]
    assert rounds["round"].dtype == np.int64
    assert rounds["ended_s"].dtype == np.float64
    assert rounds["outcome"].tolist() == ["aggregated", "aggregated"]
    with pytest.raises(ValueError, match="read-only"):
        rounds["round"][0] = 3
    devices = study.run.columns("devices")
    assert np.isnan(devices["case_temperature_c"]).all()
    assert devices["charging"].tolist() == [False, False]
    codes, names = study.run.codes("messages", "type")
    assert [names[code] for code in codes] == ["Give"] * 4 + ["Take"] * 2


@pytest.fixture
def scattered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Messages of one sender after the other, in parts of two rows."""
    monkeypatch.setattr(RunWriter, "MESSAGE_BLOCK", 2)
    monkeypatch.setattr(RunWriter, "ENCODE_BLOCK", 1)
    monkeypatch.setattr(analysis.tables, "_LOT", 2)
    writer = RunWriter(tmp_path)
    for at_s, sender in enumerate("bacabdeab"):
        writer.message(float(at_s), at_s + 1.0, sender, "coordinator", Give, 10)
    writer.close()
    write_manifest(tmp_path, manifest(trace_sha256=writer.trace_sha256))
    assert len(list((tmp_path / "records" / "messages").iterdir())) > 2
    return Run(tmp_path)


def test_strings_of_all_parts_are_told_apart_in_the_order_in_which_they_came(scattered: Run) -> None:
    codes, names = scattered.codes("messages", "sender")
    assert names == ["b", "a", "c", "d", "e"]
    assert codes.tolist() == [0, 1, 2, 1, 0, 3, 4, 1, 0]
    assert codes.dtype == np.int32


def test_some_strings_are_found_among_all(scattered: Run) -> None:
    assert scattered.positions("messages", "sender", ["e", "nobody", "b"]).tolist() == [2, 3, 3, 3, 2, 3, 0, 3, 2]
    assert scattered.positions("messages", "sender", []).tolist() == [0] * 9
    assert scattered.positions("faults", "actor", ["a"]).tolist() == []


def test_of_a_run_that_goes_on_all_columns_are_as_long_as_they_were_when_it_was_first_looked_at(tmp_path: Path) -> None:
    writer = RunWriter(tmp_path)
    write_manifest(tmp_path, manifest())
    run = Run(tmp_path)
    for number in range(4):
        for sender in ("a", "b")[: 1 + number]:
            writer.message(float(number), number + 1.0, sender, "coordinator", Give, 10)
        writer.flush()
        if number == 0:
            assert len(run.messages()["sent_s"]) == 1
    assert run.count("messages") == 1
    assert run.messages()["delivered_s"].tolist() == [1.0]
    assert run.codes("messages", "sender")[0].tolist() == [0]
    assert run.positions("messages", "sender", ["a"]).tolist() == [0]
    assert run.table("messages").num_rows == 1
    assert Run(tmp_path).count("messages") == len(Run(tmp_path).messages()["sent_s"]) == 7


def test_a_table_that_nothing_was_written_to_is_empty(study: Study) -> None:
    table = study.run.table("faults")
    assert (table.num_rows, table.column_names) == (0, ["time_s", "actor", "kind", "detail"])
    assert study.run.columns("faults")["kind"].tolist() == []


def test_what_is_not_there_is_named(study: Study, tmp_path: Path) -> None:
    with pytest.raises(
        RecordsError, match=r"has no table 'round'; there are availability, client_evaluations, .*rounds"
    ):
        study.run.table("round")
    with pytest.raises(RecordsError, match="nowhere does not exist or is not a directory"):
        Run(tmp_path / "nowhere")
    with pytest.raises(RecordsError, match=r"is not the directory of a run: it has no manifest\.json"):
        Run(tmp_path / "records")


def test_the_study_in_a_sentence(study: Study) -> None:
    expected = (
        "Two clients (phone) together trained a model: 2 rounds in 40 s of simulated time, after which 72.0 % of 50 "
        "held-out examples are classified rightly."
    )
    assert study.sentence.replace("\u00a0", " ") == expected


def test_who_took_part(study: Study) -> None:
    assert study.actors == {"a", "b", "coordinator"}
    assert study.clients == ["a", "b"]
    assert study.classes == ["phone", "server"]


def test_who_was_only_heard_of_is_no_device_and_who_was_only_asked_is_one(tmp_path: Path) -> None:
    """Of a million devices most do no more than knock: their names are not sorted and have no class."""
    writer = RunWriter(tmp_path)
    writer.row(0.0, "phone-1", PlacementRow(profile="phone", link="wifi", region="x", battery_j=None))
    for client in ("phone-1", "tablet-10", "tablet-9"):
        writer.row(0.0, "coordinator", ParticipationRow(round=1, client=client, event="selected"))
    writer.message(0.0, 1.0, "watch-1", "coordinator", Give, 1000)
    writer.close()
    write_manifest(tmp_path, manifest(trace_sha256=writer.trace_sha256))
    study = Study(Run(tmp_path))
    assert study.actors == {"phone-1", "watch-1", "coordinator"}
    assert study.profiles == {"phone-1": "phone", "tablet-9": "tablet", "tablet-10": "tablet"}
    assert study.classes == ["phone", "tablet"]
    assert study.classes_of({"tablet-9", "tablet-10"}) == {"tablet": ["tablet-9", "tablet-10"]}
    assert study.clients == ["phone-1", "tablet-9", "tablet-10"]


@pytest.mark.parametrize(
    "look", [befallen, traffic, lambda study: timeline(study, (1, 2))], ids=["befallen", "traffic", "timeline"]
)
def test_columns_of_messages_are_read_once_however_many_actors_there_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, look: Callable[[Study], Any]
) -> None:
    """Columns of millions of rows are not kept: to read one again for each actor, or type of message, takes hours."""
    writer = RunWriter(tmp_path)
    for i in range(10):
        writer.row(0.0, f"a-{i}", PlacementRow(profile="phone", link="wifi", region="x", battery_j=None))
        writer.message(0.0, 8.0, "coordinator", f"a-{i}", Give, 1000)
        writer.message(8.0, 9.0, f"a-{i}", "coordinator", Take, 1000)
        writer.row(2.0, f"a-{i}", device("link_down"))
        writer.row(2.0, f"a-{i}", FaultRow(kind="link_down"))
        writer.row(4.0 + i, f"a-{i}", device("link_up"))
    for number in (1, 2):
        writer.row(20.0 * number, "coordinator", round_row(number, 20.0 * (number - 1), 20.0 * number, 0, 0, 0))
    writer.close()
    write_manifest(tmp_path, manifest(trace_sha256=writer.trace_sha256))
    reads: Counter[str] = Counter()

    def counted(directory: Path, table: str, columns: list[str]) -> Iterator[Any]:
        reads.update(columns if table == "messages" else [])
        return read_parts(directory, table, columns)

    monkeypatch.setattr(analysis.tables, "read_parts", counted)
    monkeypatch.setattr(analysis.tables, "LARGE_BYTES", 0)
    study = Study(Run(tmp_path))
    found = look(study)
    assert reads
    assert set(reads.values()) == {1}
    if look is befallen:
        # What was sent to each is on its way until 8 s; what it sent at 8 s until 9 s.
        assert [fault.messages for fault in found] == [1, 1, 1, 1, 1, 1, 0, 0, 0, 0]


def test_a_model_counts_from_the_end_of_its_round(study: Study) -> None:
    assert study.curve.time_s.tolist() == [20.0, 40.0]
    assert study.final_accuracy == 0.72


def test_energy_by_draw(study: Study) -> None:
    assert study.drawn_j(["a", "b"]) == {
        "processor": 200.0,
        "accelerator": 0.0,
        "radio_send": 40.0,
        "radio_receive": 0.0,
        "radio_tail": 0.0,
        "screen": 0.0,
        "idle": 80.0,
        "battery_loss": 0.0,
        "charger_loss": 0.0,
    }
    assert sum(study.drawn_j().values()) == 720.0


def test_energy_by_purpose(study: Study) -> None:
    """The jobs' joules are for what they were; what the processor took beside is of jobs that never ended."""
    found = study.purposes_j(["a", "b"])
    assert found == {"training": 180.0, "inference": 20.0, "unfinished": 0.0, "protocol": 40.0, "idle": 80.0}
    assert sum(study.purposes_j().values()) == study.total_j()


def test_joules_over_time_follow_jobs_bytes_and_the_clock(study: Study) -> None:
    grid, parts = study.clients_joules_over_time
    assert list(parts) == ["processor", "radio_send", "idle"]

    def at(time_s: float, draw: str) -> float:
        return float(np.interp(time_s, grid, parts[draw]))

    # Jobs: 80 J from 2 to 10 s, 20 J from 2 to 6 s, 100 J from 22 to 40 s.
    for time_s, joules in ((2.0, 0.0), (6.0, 60.0), (10.0, 100.0), (22.0, 100.0), (31.0, 150.0), (40.0, 200.0)):
        assert at(time_s, "processor") == pytest.approx(joules, abs=2.0)
    # b's 30 J leave with its only message at 6 s, a's 10 J at 10 s.
    assert [at(t, "radio_send") for t in (5.0, 8.0, 12.0)] == pytest.approx([0.0, 30.0, 40.0])
    assert at(10.0, "idle") == pytest.approx(20.0)


def test_what_an_accuracy_cost(study: Study) -> None:
    (reached,) = usual(study)
    # 70 % is the highest of the usual levels that the first model had; until then 2 × 1000 + 3000 + 1000 B.
    assert reached == Reached(0.7, 1, 20.0, 6000.0, pytest.approx(180.0, abs=0.5))


def test_the_timeline_of_a_round(study: Study) -> None:
    first = timeline(study, (1,))
    assert (first.start_s, first.end_s) == (0.0, 20.0)
    spans = {(s.client, s.kind, s.start_s, s.end_s) for s in first.spans}
    assert spans == {
        (0, "receiving", 0.0, 2.0),
        (1, "receiving", 0.0, 2.0),
        (0, "computing", 2.0, 10.0),
        (1, "computing", 2.0, 6.0),
        (0, "sending", 10.0, 20.0),
        (1, "sending", 6.0, 8.0),
    }
    assert first.marks == []
    second = timeline(study, (2,))
    assert [s for s in second.spans if s.kind == "down"] == [Span(1, "down", 30.0, 35.0)]
    assert {(s.client, s.end_s) for s in second.spans if s.kind == "stopped"} == {(0, 40.0), (1, 30.0)}
    assert second.marks == [Mark(1, "lost", 30.0), Mark(0, "late", 40.0)]
    assert second.selected == [Span(0, "selected", 20.0, 40.0), Span(1, "selected", 20.0, 40.0)]


def test_the_window_is_where_most_goes_wrong(study: Study) -> None:
    assert window(study, 1) == (2,)
    assert window(study, 5) == (1, 2)


def test_the_table_of_ends(study: Study) -> None:
    numbers, ends, seconds = participation(study)
    assert numbers.tolist() == [1, 2]
    assert [[ENDS[end] for end in row] for row in ends.tolist()] == [["accepted", "late"], ["accepted", "lost"]]
    assert seconds.tolist() == [[20.0, 20.0], [8.0, 10.0]]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (units.text(0.0, "B"), "0 B"),
        (units.text(999.0, "B"), "999 B"),
        (units.text(1234.0, "B"), "1.23 kB"),
        (units.text(0.5, "B"), "0.500 B"),
        (units.text(56_789_000.0, "J"), "56.8 MJ"),
        (units.text(0.0123, "J"), "12.3 mJ"),
        (units.text(float("nan"), "J"), "–"),
        (units.duration(0.05), "50 ms"),
        (units.duration(83.2), "83.2 s"),
        (units.duration(1284.0), "21.4 min"),
        (units.duration(19_080.0), "5.30 h"),
        (units.duration(300_000.0), "3.47 d"),
        (units.percent(0.938), "93.8 %"),
        (units.count(1234567), "1 234 567"),
        (units.number(1234.5), "1 234"),
        (units.number(-0.5), "-0.500"),
    ],
)
def test_quantities_are_readable(text: str, expected: str) -> None:
    assert text.replace("\u00a0", " ").replace("\u202f", " ") == expected


def test_importing_is_light() -> None:
    heavy = ("jax", "pyarrow", "matplotlib", "jinja2")
    code = (
        "import sys, analysis, analysis.report, analysis.compare, analysis.summary; "
        f"print([m for m in {heavy} if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
