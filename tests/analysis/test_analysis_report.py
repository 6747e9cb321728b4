"""The pages: self-contained, the same for the same records, nothing overlapping, and something for every ending."""

from __future__ import annotations

import itertools
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from analysis import Run, units
from analysis.compare import compare, write_comparison
from analysis.plots import clients, comparison, cost, devices, learning, rounds
from analysis.plots.style import styled
from analysis.report import write_report
from analysis.study import Energy, Study
from analysis.summary import summary
from core.records import Manifest, RunWriter, model_sha256, read_manifest, save_model, verify, write_manifest
from tests.analysis.fabricate import fabricate

# What all tests here look at takes long to make: one process makes it, once.
pytestmark = pytest.mark.xdist_group("reports")

DRAWINGS = (
    learning.learning,
    clients.clients,
    rounds.close_look,
    rounds.overview,
    rounds.durations,
    cost.spending,
    cost.energy,
    cost.purposes,
    devices.batteries,
    devices.temperatures,
)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("runs")
    return {
        "quick": fabricate(root / "quick"),
        "drops": fabricate(root / "drops", drops=True, rounds=12, seed=2),
        "hundred": fabricate(root / "hundred", clients=100, rounds=12, drops=True),
        "real": fabricate(root / "real", real=True, rounds=5),
        "astray": fabricate(root / "astray", rounds=3, clients=4, left_out=4),
        "own": fabricate(root / "own", clients=30, rounds=12, own_models=True, target=0.9),
        "bare": fabricate(root / "bare", placements=False, rounds=1, clients=1),
    }


@pytest.fixture(scope="module")
def reports(runs: dict[str, Path]) -> dict[str, str]:
    """The pages of all runs."""
    return {name: write_report(directory).read_text() for name, directory in runs.items()}


class Page(HTMLParser):
    """Collects tags, and whatever a browser would fetch."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.fetched: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.words: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        for name, value in attrs:
            value = value or ""
            if name in ("src", "href", "xlink:href", "data", "action"):
                (self.links if value.startswith("#") else self.fetched).append(value)
            if name == "id":
                self.ids.append(value)
            self.links += re.findall(r"url\((#[^)]*)\)", value)

    def handle_data(self, data: str) -> None:
        self.words.append(data)


@pytest.mark.parametrize("name", ["quick", "drops", "hundred", "real", "astray", "own", "bare"])
def test_a_report_is_one_file_that_needs_no_network(reports: dict[str, str], name: str) -> None:
    text = reports[name]
    page = Page(text)
    assert [address for address in page.fetched if not address.startswith("data:")] == []
    assert {"script", "link", "iframe", "object", "form"}.isdisjoint(page.tags)
    assert "@import" not in text
    assert [found for found in re.findall(r"url\(([^)]*)\)", text) if not found.startswith("#")] == []
    # What is linked inside is there, once.
    assert {link[1:] for link in page.links} <= set(page.ids)
    assert len(page.ids) == len(set(page.ids))
    assert len(text) < 1_000_000


def test_a_report_shows_all_that_it_should(runs: dict[str, Path], reports: dict[str, str]) -> None:
    text = reports["drops"]
    keys = (
        "learning",
        "timeline",
        "overview",
        "faults",
        "durations",
        "spending",
        "energy",
        "purposes",
        "batteries",
        "temperatures",
    )
    assert [key for key in keys if f'<figure id="{key}">' not in text] == []
    assert text.count('role="img"') == len(keys)
    words = " ".join(Page(text).words)
    heads = ("What an accuracy cost", "Traffic by type of message", "Faults, and messages that did not arrive")
    for expected in (*heads, "What the run cost here", "All rounds", "The resolved scenario", "aivsim verify drops"):
        assert expected in words
    run = read_manifest(runs["drops"])
    assert run.trace_sha256 is not None
    assert run.trace_sha256 in words
    assert "link_down" in words


def test_a_report_of_the_real_world_shows_overruns_and_processes(reports: dict[str, str]) -> None:
    words = " ".join(Page(reports["real"]).words)
    assert "Overruns" in words
    assert "2 of 70" in words
    assert "node-1" in words
    assert "Overruns" not in " ".join(Page(reports["quick"]).words)


def test_the_same_records_give_the_same_page(runs: dict[str, Path], reports: dict[str, str]) -> None:
    assert write_report(runs["drops"]).read_text() == reports["drops"]


def test_drawing_leaves_matplotlib_as_it_was(runs: dict[str, Path]) -> None:
    """The backend too, which is not chosen yet: a copy shows that, where reading it would choose one, with pyplot."""
    import sys

    import matplotlib as mpl

    before, had_pyplot = dict(mpl.rcParams.copy()), "matplotlib.pyplot" in sys.modules
    write_report(runs["bare"])
    assert dict(mpl.rcParams.copy()) == before
    assert ("matplotlib.pyplot" in sys.modules) is had_pyplot


def test_what_a_scenario_says_is_escaped(runs: dict[str, Path], tmp_path: Path) -> None:
    directory = fabricate(tmp_path / "x", clients=2, rounds=1)
    evil = "<script>alert(1)</script>"
    changed = msgspec.structs.replace(
        read_manifest(directory), name=evil, description=evil, scenario={"data": evil, "model": {"name": evil}}
    )
    write_manifest(directory, changed)
    assert "script" not in Page(write_report(directory).read_text()).tags


def test_updates_that_the_sum_left_out_are_told(runs: dict[str, Path], reports: dict[str, str]) -> None:
    words = " ".join(Page(reports["astray"]).words)
    said = "left out of the sum (not finite or out of range)"
    assert f"Of 12 accepted updates 8 were {said}; in 2 rounds that was all of them." in words
    assert "2 with every update left out" in words
    assert f"in 2 every update was {said} (hatched)" in words
    assert words.count("aggregated, all left out") == 2
    assert f"  updates   8 of 12 accepted, {said}; all of them in 2 of the rounds" in summary(runs["astray"])
    assert said not in " ".join(summary(runs["quick"]))


def test_an_interrupted_run_says_so_in_a_sentence(tmp_path: Path) -> None:
    directory = fabricate(tmp_path / "x", clients=2, rounds=1)
    changes = {"outcome": "interrupted", "reason": "interrupted by the user"}
    write_manifest(directory, msgspec.structs.replace(read_manifest(directory), **changes))
    words = " ".join(Page(write_report(directory).read_text()).words)
    assert "This run was interrupted by the user. What follows is what it had recorded by then." in words
    assert summary(directory)[0] == "quickstart was interrupted by the user"


def test_the_radios_energy_is_that_of_bytes_and_tails(runs: dict[str, Path]) -> None:
    study = Study(Run(runs["quick"]))
    client = study.clients[0]
    joules = {"radio_send": 1.0, "radio_receive": 2.0, "radio_tail": 3000.0, "idle": 5.0}
    study.__dict__["energy"] = Energy({client: 0}, {component: np.array([j]) for component, j in joules.items()})
    with styled():
        plot = cost.energy(study)
    assert plot is not None
    assert plot.caption.replace("\u00a0", " ").endswith(
        f"the radios took {units.text(3003.0, 'J')}.".replace("\u00a0", " ")
    )


def test_what_the_energy_was_for_is_told(runs: dict[str, Path], reports: dict[str, str]) -> None:
    study = Study(Run(runs["quick"]))
    found = study.purposes_j(study.clients)
    assert found["training"] > 0.0
    told = next(line for line in summary(runs["quick"]) if "clients: training " in line)
    for purpose, joules in found.items():
        assert (f"{purpose} {units.text(joules, 'J')}".replace("\u00a0", " ") in told) == (joules > 0.0)
    assert '<figure id="purposes">' in reports["quick"]
    assert "What the energy was for" in " ".join(Page(reports["quick"]).words)


def test_energy_that_nobody_measured_is_not_zero(tmp_path: Path) -> None:
    directory = fabricate(tmp_path / "x", clients=2, rounds=1, real=True)
    for part in (directory / "records" / "energy").iterdir():
        part.unlink()
    scenario = {"real": {"devices": "host"}}
    write_manifest(directory, msgspec.structs.replace(read_manifest(directory), scenario=scenario))
    assert "  energy    not measured" in summary(directory)
    assert "which was not measured" in write_report(directory).read_text()
    assert "of study time on sockets" in Study(Run(directory)).sentence


def test_the_pace_of_sockets_is_told(runs: dict[str, Path]) -> None:
    sentence = Study(Run(runs["real"])).sentence.replace("\u00a0", " ")
    assert re.search(r"\d (s|min) of study time, at 0\.02 wall seconds a second, on sockets, after", sentence)


def test_a_study_in_which_no_one_was_asked_has_a_report(tmp_path: Path) -> None:
    directory = fabricate(tmp_path / "x", clients=3, rounds=1)
    for table in ("participation", "rounds"):
        for part in (directory / "records" / table).iterdir():
            part.unlink()
    study = Study(Run(directory))
    assert study.clients == ["phone-0", "phone-1", "phone-2"]
    assert study.total_j(study.clients) > 0.0
    assert '<figure id="timeline">' not in write_report(directory).read_text()


@pytest.mark.parametrize(("outcome", "words"), [("failed", "This run failed"), ("interrupted", "was interrupted")])
def test_a_run_that_did_not_end_well_has_a_report(tmp_path: Path, outcome: Any, words: str) -> None:
    writer = RunWriter(tmp_path)
    writer.close()
    empty = Manifest(
        name="empty",
        scenario={},
        seed=1,
        world="sim",
        outcome=outcome,
        reason="the disk is full",
        started="2020-01-01T00:00:00+00:00",
        trace_sha256=writer.trace_sha256,
    )
    write_manifest(tmp_path, empty)
    text = " ".join(Page(write_report(tmp_path).read_text()).words)
    assert words in text
    assert "the disk is full" in text
    assert verify(tmp_path) == []
    assert summary(tmp_path)[0] == f"empty {words.removeprefix('This run ')}: the disk is full"


@pytest.fixture(scope="module")
def figures(runs: dict[str, Path]) -> dict[str, dict[str, Any]]:
    """The matplotlib figures behind the plots of all runs, laid out."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    found: dict[str, dict[str, Any]] = {}
    with pytest.MonkeyPatch.context() as patch, styled():
        for name, directory in [*runs.items(), ("compared", runs["drops"])]:
            own = found[name] = {}

            def keep(drawn: Any, key: str, description: str, own: dict[str, Any] = own) -> str:
                FigureCanvasAgg(drawn).draw()
                own[key] = drawn
                return ""

            for module in (learning, clients, rounds, cost, devices, comparison):
                patch.setattr(module, "svg", keep)
            if name == "compared":
                comparison.plots(compare(runs["quick"], directory))
            else:
                study = Study(Run(directory))
                for draw in DRAWINGS:
                    draw(study)
    return found


def _texts(drawn: Any) -> list[tuple[str, Any]]:
    """What is written in a figure, with its box in pixels."""
    artists = [text for legend in drawn.legends for text in legend.get_texts()]
    for axes in drawn.axes:
        artists += [*axes.texts, axes.title, axes._left_title, axes.xaxis.label, axes.yaxis.label]
        if axes.get_legend() is not None:
            artists += axes.get_legend().get_texts()
        for axis, (low, high) in ((axes.xaxis, axes.get_xlim()), (axes.yaxis, axes.get_ylim())):
            labels = zip(axis.get_ticklocs(), axis.get_ticklabels(), strict=True)
            artists += [label for at, label in labels if min(low, high) <= at <= max(low, high)]
    renderer = drawn.canvas.get_renderer()
    return [(a.get_text(), a.get_window_extent(renderer)) for a in artists if a.get_text().strip()]


NAMES = ["quick", "drops", "hundred", "real", "astray", "own", "bare", "compared"]


@pytest.mark.parametrize("name", NAMES)
def test_no_text_of_a_figure_is_cut_or_lies_on_another(figures: dict[str, dict[str, Any]], name: str) -> None:
    problems = []
    for key, drawn in figures[name].items():
        texts = _texts(drawn)
        assert len(texts) >= 4, key
        for text, box in texts:
            if box.x0 < -1 or box.y0 < -1 or box.x1 > drawn.bbox.width + 1 or box.y1 > drawn.bbox.height + 1:
                problems.append(f"{key}: {text!r} is cut")
        for (a, box_a), (b, box_b) in itertools.combinations(texts, 2):
            across = min(box_a.x1, box_b.x1) - max(box_a.x0, box_b.x0)
            along = min(box_a.y1, box_b.y1) - max(box_a.y0, box_b.y0)
            if across > 1.0 and along > 1.5:
                problems.append(f"{key}: {a!r} lies on {b!r}")
    assert problems == []


@pytest.mark.parametrize("name", NAMES)
def test_axes_are_labelled(figures: dict[str, dict[str, Any]], name: str) -> None:
    for key, drawn in figures[name].items():
        for axes in drawn.axes:
            assert any((axes.get_xlabel(), axes.get_ylabel(), axes.get_title(loc="left"))), key
            # Where there is time, it has its unit.
            assert "time" not in axes.get_xlabel() or re.search(r"\((s|ms|min|h|d)\)$", axes.get_xlabel()), key


def test_many_clients_are_not_drawn_one_by_one(figures: dict[str, dict[str, Any]]) -> None:
    found = figures["hundred"]
    assert len(found["timeline"].axes[0].get_yticks()) == rounds.MOST_CLOSE
    assert len(found["temperatures"].axes[0].lines) == 3
    assert len(found["overview"].axes[0].get_yticks()) == 3


def test_the_colours_of_clients_fates_are_those_of_okabe_and_ito() -> None:
    from analysis.plots.style import CLASS_COLOURS, END_COLOURS

    published = {"#000000", "#E69F00", "#56B4E9", "#009E73", "#F0E442", "#0072B2", "#D55E00", "#CC79A7"}
    assert set(END_COLOURS.values()) | set(CLASS_COLOURS) <= published
    assert len(set(CLASS_COLOURS)) == len(CLASS_COLOURS) == len(published)


def test_a_run_equals_itself(runs: dict[str, Path], tmp_path: Path) -> None:
    same = compare(runs["quick"], runs["quick"])
    assert same.same_model
    assert same.same_trace
    assert same.differing == []
    assert {figure.difference for figure in same.figures} == {"same"}
    assert "differ" not in " ".join(same.lines())
    text = write_comparison(same, tmp_path / "compare.html").read_text()
    page = Page(text)
    assert [address for address in page.fetched if not address.startswith("data:")] == []
    assert "Different." not in " ".join(page.words)


def test_messages_that_are_gone_are_told(tmp_path: Path) -> None:
    whole, cut = (fabricate(tmp_path / name, clients=2, rounds=1) for name in ("whole", "cut"))
    for part in (cut / "records" / "messages").iterdir():
        part.unlink()
    lines = compare(whole, cut).lines()
    name, counted = "simulated quickstart (cut)", Run(whole).table("messages").num_rows
    said = f"the manifest counts {counted} messages, but 0 are stored"
    assert f"The records of {name} are not as the run left them: {said}." in lines
    assert "The traces were, by the manifests, the same (trace_sha256)." in lines
    assert said in write_report(cut).read_text()


def test_runs_without_a_model_are_not_said_to_differ_in_it(tmp_path: Path) -> None:
    """Of fidelity timing no run leaves a model; where one has, it is said which has not."""
    a, b = (fabricate(tmp_path / name, clients=2, rounds=1) for name in ("a", "b"))
    write_manifest(b, msgspec.structs.replace(read_manifest(b), model_sha256=None))
    lines = compare(a, b).lines()
    assert "Simulated quickstart (b) has left no final model to compare (model_sha256)." in lines
    write_manifest(a, msgspec.structs.replace(read_manifest(a), model_sha256=None, trace_sha256=None))
    write_manifest(b, msgspec.structs.replace(read_manifest(b), trace_sha256=None))
    neither = compare(a, b)
    assert "Neither run has left a final model: there is nothing to compare (model_sha256)." in neither.lines()
    assert "Neither run has left a trace: there is nothing to compare (trace_sha256)." in neither.lines()
    words = Page(write_comparison(neither, tmp_path / "compare.html").read_text()).words
    assert "differ (" not in " ".join(neither.lines())
    assert "Different." not in " ".join(words)


def test_differences_are_counted(runs: dict[str, Path], tmp_path: Path) -> None:
    other = fabricate(tmp_path / "other", rounds=5, real=True)
    comparison = compare(runs["real"], other)
    assert comparison.differing == []
    writer = RunWriter(tmp_path / "more")
    rows = Run(other).table("messages")
    writer.append_messages(rows)
    writer.append_messages(rows.slice(0, 1))
    writer.close()
    model = {"w": np.zeros(1, np.float32)}
    save_model(tmp_path / "more" / "model.safetensors", model)
    changes = {"trace_sha256": writer.trace_sha256, "model_sha256": model_sha256(model), "world": "sim"}
    write_manifest(tmp_path / "more", msgspec.structs.replace(read_manifest(other), **changes))
    comparison = compare(other, tmp_path / "more")
    assert not comparison.same_model
    (pair,) = comparison.differing
    assert (pair.type, pair.messages, pair.size_bytes) == ("Join", (1, 2), (40, 80))
    lines = comparison.lines()
    assert "The final models differ (model_sha256)." in lines
    kinds = len(comparison.pairs)
    assert f"Messages or bytes differ in 1 of {kinds} kinds (type, sender, receiver)." in lines
    assert re.fullmatch(r"Join +phone-\d+ +coordinator +1 → 2 +40 → 80", lines[-1])
    assert "Join" in write_comparison(comparison, tmp_path / "compare.html").read_text()


def test_the_closing_summary(runs: dict[str, Path], reports: dict[str, str]) -> None:
    assert "quick" in reports
    lines = summary(runs["quick"])
    run = read_manifest(runs["quick"])
    assert lines[0] == "quickstart is done"
    assert re.fullmatch(r"  accuracy  9\d\.\d % \(reference 93\.8 %: numpy FedAvg of 20 lines, 50 rounds\)", lines[1])
    assert lines[2] == "  rounds    30"
    assert lines[4] == "  traffic   27.1 MB in 1 334 messages"
    assert lines[6].startswith("            clients: training ")
    assert lines[7:] == [
        f"  trace     {run.trace_sha256}",
        f"  model     {run.model_sha256}",
        f"  report    {runs['quick'] / 'report.html'}",
    ]
