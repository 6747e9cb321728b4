"""The oracles: what a check says, that all of physics pass, that a wrong model fails, and what the command prints."""

from __future__ import annotations

import dataclasses
import math
import os
from pathlib import Path

import pytest
from click.testing import CliRunner

from aivsim.cli import cli
from aivsim.oracles import sections
from analysis import oracles
from analysis.oracles import (
    Check,
    Findings,
    Section,
    network_delays,
    network_sharing,
    physics_battery,
    physics_heat,
    physics_power,
)
from core.devices import Battery, Heat
from core.network import windows

REPOSITORY = Path(__file__).parents[2]
#: What is known to miss its goal, by section; the pages say why.
MISSED = {"Battery: charging": [*["RMSE of the voltage up to there"] * 2, "charge taken"]}
#: The pages that show a topic's plots.
PAGES = {"physics.md": "physics", "physics_network.md": "network"}
DATA = Path(os.environ.get("AIVSIM_SHARED_DATA") or REPOSITORY.parent / "shared" / "data")


def test_a_check_passes_within_its_tolerance() -> None:
    check = Check("n", "s", "theory", 100.0, 102.9, 0.03, "s", relative=True)
    assert check.difference == pytest.approx(0.029)
    assert check.passed
    assert not dataclasses.replace(check, value=96.9).passed
    assert not dataclasses.replace(check, relative=False).passed
    assert not dataclasses.replace(check, value=math.nan).passed
    assert dataclasses.replace(check, reference=math.inf, value=math.inf).passed
    assert not oracles.at_most("n", "s", "theory", 35.0, 35.1).passed


def test_a_known_miss_is_shown_as_one_and_fails_when_it_grows() -> None:
    check = Check("n", "s", "theory", 100.0, 110.0, 0.03, "s", relative=True, known=0.15)
    assert (check.passed, check.failed, check.mark) == (False, False, "miss")
    assert dataclasses.replace(check, value=116.0).mark == "FAIL"
    assert dataclasses.replace(check, value=102.0).mark == "pass"
    assert dataclasses.replace(check, known=None).mark == "FAIL"


def test_topics_are_the_modules() -> None:
    assert "physics" in oracles.topics()
    titles = [section.title for section in oracles.sections("physics")]
    assert "Battery: a measured cell" in titles
    assert titles[0] == "Availability"
    assert any(title.startswith("Heat") for title in titles)
    assert oracles.sections("nothing") == ()


def test_without_data_only_what_needs_them_is_left_out() -> None:
    section = Section("t", "a", lambda data: Findings([]), ("nowhere",))
    assert section.missing(None) == section.missing(Path("/")) == ("nowhere",)
    assert dataclasses.replace(section, needs=()).missing(None) == ()


@pytest.mark.parametrize(
    ("page", "section"),
    [(page, section) for page, topic in PAGES.items() for section in sections(topic)],
    ids=lambda value: getattr(value, "title", ""),
)
def test_models_hold(page: str, section: Section) -> None:
    """The models agree with measurements, theory and solvers, as the checks state; their plots are on the page."""
    missing = section.missing(DATA)
    if missing:
        pytest.skip(f"no {', '.join(missing)} in {DATA.name} (AIVSIM_SHARED_DATA says where it is)")
    findings = section.run(DATA)
    assert findings.checks
    assert [check for check in findings.checks if check.failed] == []
    assert [check.statement for check in findings.checks if not check.passed] == MISSED.get(section.title, [])
    text = (REPOSITORY / "docs" / page).read_text(encoding="utf-8")
    for drawing in findings.drawings:
        assert f"](figures/{drawing.key}.png)" in text
        assert (REPOSITORY / "docs" / "figures" / f"{drawing.key}.png").is_file()


def test_wrong_physics_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    """A battery that loses nothing, air that cools worse, and a radio without a tail are all found out."""
    monkeypatch.setattr(physics_heat, "PHONE", Heat(160.0, 3.9, 12.0, 4.5))
    assert not all(check.passed for check in physics_heat._exactness(DATA).checks)
    monkeypatch.setattr(Battery, "discharged", lambda self, e, p, f, s: (e - p * s, 0.5))
    assert not all(check.passed for check in physics_battery._closed_forms(DATA).checks)
    found = physics_power.radio
    monkeypatch.setattr(physics_power, "radio", lambda name: found(name)._replace(tail_w=0.0))
    assert not all(check.passed for check in physics_power._radios(DATA).checks)


def test_a_wrong_network_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rates that ignore costs, a law of another slope, and a window that grows too fast are found out."""
    found = network_sharing.max_min_rates
    monkeypatch.setattr(
        network_sharing,
        "max_min_rates",
        lambda capacities, uses, caps: found(capacities, [[(link, 1.0) for link, _ in used] for used in uses], caps),
    )
    assert not all(check.passed for check in network_sharing._fairness(DATA).checks)
    monkeypatch.setattr(windows, "_CUBIC_C", 0.8)
    assert not all(check.passed for check in network_sharing._transports(DATA).checks)
    monkeypatch.setattr(network_delays, "distance_rtt_s", lambda km: 0.0114 + 0.000017 * km)
    assert not all(check.passed for check in network_delays._distance(DATA).checks)


def fake(passes: bool) -> tuple[Section, ...]:
    def draw() -> object:
        from analysis.plots.style import figure

        made = figure(2.0)
        made.add_subplot().plot([0, 1], [0, 1])
        return made

    check = Check("pipes | in names", "what is said", "theory", 1.0, 1.0 if passes else 2.0, 0.1, "s")
    drawing = oracles.Drawing("a_line", "A line.", draw)  # type: ignore[arg-type]
    findings = Findings([check], (drawing,), ("name", "of", "number"), [("a", "b", "1")])
    return (
        Section("One", "About one.", lambda data: findings),
        Section("Two", "About two.", lambda data: findings, ("missing_folder",)),
    )


def test_the_command_prints_writes_a_page_and_says_what_it_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(oracles, "sections", lambda topic: fake(True))
    result = CliRunner().invoke(cli, ["oracles", "physics", "--out", str(tmp_path / "page"), "--data", str(tmp_path)])
    assert result.exit_code == 0, result.output
    assert "1 checks, 0 failed; 1 of 2 sections left out for want of data" in result.output
    assert "left out: there is no missing_folder (--data DIR or AIVSIM_SHARED_DATA)" in result.output
    page = (tmp_path / "page" / "physics.md").read_text(encoding="utf-8")
    assert "| pass | pipes / in names: what is said | 1 s | 1 s | +0 | 0.1 | theory |" in page
    assert "![A line.](a_line.png)" in page
    assert (tmp_path / "page" / "a_line.png").read_bytes().startswith(b"\x89PNG")


def test_a_failed_check_ends_the_command_with_1(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(oracles, "sections", lambda topic: fake(False))
    result = CliRunner().invoke(cli, ["oracles", "physics"])
    assert result.exit_code == 1
    assert "Error: 1 of 1 checks failed" in result.output


def test_wrong_use_is_said_plainly(tmp_path: Path) -> None:
    result = CliRunner().invoke(cli, ["oracles", "alchemy"])
    assert result.exit_code == 2
    assert "there is no topic 'alchemy': known are " in result.output
    result = CliRunner().invoke(cli, ["oracles", "physics", "--data", str(tmp_path / "none")])
    assert (result.exit_code, "is no folder of data" in result.output) == (2, True)
