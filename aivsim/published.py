"""Published set-ups run again, beside their sources' figures: the tables of docs/learning.md that `aivsim.setups` fill.

Each run leaves its directory. One that is there is read, one that was stopped is taken up, so that hours of work are
done once; or, if asked for, it counts as far as it got, which the table says.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean, stdev
from typing import TYPE_CHECKING, Final

import click
import numpy as np

from aivsim.errors import CannotBegin, Failed, InputWrong, RunFailed
from aivsim.setups import SET_UPS, Figure, Learned, SetUp, Variant
from core.records import RecordsError, read_manifest
from core.scenario import Scenario, ScenarioError, dumps

if TYPE_CHECKING:
    from analysis.tables import Run

HEADS: Final = ("published", "theirs", "ours", "difference", "tolerance", "", "source of theirs")


def markers(name: str) -> tuple[str, str]:
    """The lines of a page between which a set-up's table stands."""
    return f"<!-- published {name} -->", f"<!-- /published {name} -->"


def checked(topic: str, names: Sequence[str], page: Path | None, data: Path | None) -> None:
    """Refuse before anything is run. Raises `InputWrong`."""
    if topic != "learning":
        raise InputWrong(f"--published is of the topic learning; {topic} has none")
    if data is None:
        raise InputWrong("--published needs the reference data: --data DIR or AIVSIM_SHARED_DATA")
    missing = sorted({SET_UPS[name].needs for name in names if not (data / SET_UPS[name].needs).is_file()})
    if missing:
        raise InputWrong(f"{data} has no {', '.join(missing)}")
    if page is None:
        return
    try:
        text = page.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputWrong(f"cannot read {page}: {error}") from None
    for name in names:
        begin, end = markers(name)
        if text.count(begin) != 1 or text.count(end) != 1 or text.index(begin) > text.index(end):
            raise InputWrong(f"{page} has no lines {begin} and {end}, one each in this order, to write between")


def write_published(
    names: Sequence[str], page: Path | None, data: Path, runs: Path, stopped: bool = False
) -> tuple[int, int]:
    """Run set-ups, print their tables, write them into the page, and say how many figures were tried and missed.

    `stopped`: runs that were stopped are taken as far as they got.
    """
    tried = missed = 0
    for setup in (SET_UPS[name] for name in names):
        found = {variant.key: measured(setup, variant, data, runs, stopped) for variant in setup.variants}
        rows = [row_of(figure, found[figure.variant]) for figure in setup.figures]
        tried += sum(figure.low is not None for figure in setup.figures)
        missed += sum(row[5].startswith("not") for row in rows)
        lines = table_of(setup, rows)
        click.echo("\n".join(lines) + "\n")
        if page is not None:
            begin, end = markers(setup.name)
            made = f"{begin}\n" + "\n".join(lines) + f"\n{end}"
            text = page.read_text(encoding="utf-8")
            before, after = text.split(begin)[0], text.split(end)[1]
            page.write_text(before + made + after, encoding="utf-8")
    return tried, missed


def measured(setup: SetUp, variant: Variant, data: Path, runs: Path, stopped: bool = False) -> list[Learned]:
    """What a run for each seed has learned. Raises `InputWrong` and `Failed`."""
    try:
        runs.mkdir(parents=True, exist_ok=True)
        return [_learned(setup, variant, seed, data, runs, stopped) for seed in setup.seeds]
    except (CannotBegin, ScenarioError, OSError) as error:
        raise InputWrong(f"{setup.name}, {variant.key}: {error}") from None
    except (RunFailed, RecordsError) as error:
        raise Failed(f"{setup.name}, {variant.key}: {error}") from None


def _learned(setup: SetUp, variant: Variant, seed: int, data: Path, runs: Path, stopped: bool) -> Learned:
    from aivsim.resuming import resume
    from aivsim.runs import run
    from analysis.tables import Run

    wanted = setup.scenario(variant, setup.prepared(data, runs, seed), seed)
    folder = runs / f"{setup.name}-{variant.key}-{seed}"
    if not folder.exists():
        click.echo(f"running {folder}", err=True)
        file = folder.with_suffix(".yaml")
        file.write_text(dumps(wanted), encoding="utf-8")
        return learned_in(run(file, out=folder, report=False), variant)
    manifest = read_manifest(folder)
    there = Scenario.model_validate(manifest.scenario)
    if there.model_copy(update={"numerics": wanted.numerics}) != wanted:
        raise InputWrong(f"{folder} holds a run of another scenario; remove it, or name another folder by --runs")
    if manifest.outcome == "done" or (stopped and manifest.outcome == "interrupted"):
        return learned_in(Run(folder), variant)
    click.echo(f"resuming {folder}", err=True)
    return learned_in(resume(folder, report=False), variant)


def learned_in(run: Run, variant: Variant) -> Learned:
    """The accuracies of a run, as far as they are known; a round that was given up leaves that of the round before."""
    evaluations, clients = run.evaluations(), run.columns("client_evaluations")
    known = dict(zip(evaluations["round"].tolist(), evaluations["accuracy"].tolist(), strict=True))
    planned = int(variant.training["rounds"])
    # A run that was stopped has recorded rounds whose accuracy was not computed any more.
    last = next((number for number in sorted(known) if math.isnan(known[number])), max(known, default=0) + 1)
    found: list[float] = []
    for number in range(1, planned + 1 if run.manifest.outcome == "done" else last):
        found.append(known[number] if number in known else (found[-1] if found else math.nan))
    return Learned(found, dict(zip(clients["client"].tolist(), clients["accuracy"].tolist(), strict=True)), planned)


def row_of(figure: Figure, found: Sequence[Learned]) -> tuple[str, ...]:
    """A figure beside ours: the mean over the seeds, its distance from theirs, and whether that is within tolerance."""
    values = [figure.of(learned) for learned in found]
    ours = fmean(values)
    shown = f"{ours:.4f} ± {stdev(values):.4f}" if len(values) > 1 else f"{ours:.4f}"
    fewest = min(found, key=lambda learned: len(learned.rounds))
    if len(fewest.rounds) < fewest.planned:
        shown += f" ({len(fewest.rounds)} of {fewest.planned} rounds)"
    if figure.low is None or figure.high is None:
        return figure.about, "–", shown, "–", "–", "no figure", "–"
    difference = ours - float(np.clip(ours, figure.low, figure.high))
    verdict = "reproduced" if abs(difference) <= figure.tolerance else "not reproduced"
    # No minus in front of what is rounded to nothing.
    off = f"{round(difference, 4) + 0.0:+.4f}"
    theirs = f"{figure.low:.4g}" if figure.low == figure.high else f"{figure.low:.4g} to {figure.high:.4g}"
    return figure.about, theirs, shown, off, f"{figure.tolerance:g}", verdict, figure.source


def table_of(setup: SetUp, rows: Sequence[Sequence[str]]) -> list[str]:
    """A set-up's part of the page."""
    seeds = f"seeds {', '.join(map(str, setup.seeds))}" if len(setup.seeds) > 1 else f"seed {setup.seeds[0]}"
    lines = [f"**{setup.title}**: {setup.how}; {seeds}.", ""]
    lines += [f"| {' | '.join(HEADS)} |", "|" + "---|" * len(HEADS)]
    lines += [f"| {' | '.join(row)} |" for row in rows]
    return [*lines, "", *(f"- {note}" for note in setup.notes)]
