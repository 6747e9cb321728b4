"""`aivsim oracles`: the models against what can be known of them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from aivsim import show
from aivsim.errors import Failed, InputWrong

if TYPE_CHECKING:
    from analysis.oracles import Section

#: Where data sets of references are, if not said otherwise.
DATA_VARIABLE: Final = "AIVSIM_SHARED_DATA"


def sections(topic: str) -> tuple[Section, ...]:
    """The sections of a topic, and those that run the simulator."""
    from analysis import oracles

    if topic != "network":
        return oracles.sections(topic)
    from aivsim import queues

    return (*oracles.sections(topic), *queues.SECTIONS)


def oracles_command(
    topic: str,
    *,
    out: Path | None,
    data: Path | None,
    results: Path | None = None,
    published: Sequence[str] = (),
    runs: Path = Path(),
    stopped: bool = False,
) -> None:
    """Make all checks of a topic, print them, and write the page if asked. Raises `InputWrong` and `Failed`.

    `results` is a Markdown file between whose markers the tables of what was learned go (`aivsim.learned`), or, if any
    are named, those of `published` set-ups, whose runs are kept in the folder `runs` and count unfinished if
    `stopped` (`aivsim.published`).
    """
    from analysis import oracles
    from analysis.oracles.page import difference_of, text_of, tolerance_of, write_page

    if topic not in oracles.topics():
        raise InputWrong(f"there is no topic {topic!r}: known are {', '.join(oracles.topics())}")
    data = data or (Path(os.environ[DATA_VARIABLE]) if os.environ.get(DATA_VARIABLE) else None)
    if data is not None and not data.is_dir():
        raise InputWrong(f"{data} is no folder of data")
    if published:
        from aivsim.published import checked

        checked(topic, published, results, data)
    elif results is not None:
        from aivsim.learned import checked_page

        checked_page(topic, results, data)
    outcomes = oracles.run(sections(topic), data)
    made = failed = missed = 0
    for outcome in outcomes:
        show.heading(outcome.section.title)
        if outcome.findings is None:
            click.echo(f"left out: there is no {', '.join(outcome.missing)} (--data DIR or {DATA_VARIABLE})")
            continue
        rows = []
        for check in outcome.findings.checks:
            made += 1
            failed += check.failed
            missed += check.mark == "miss"
            numbers = (text_of(check.value), text_of(check.reference), difference_of(check), tolerance_of(check))
            rows.append((check.mark, check.name, check.statement, *numbers, check.unit, check.source))
        heads = ("", "check", "what", "ours", "reference", "difference", "tolerance", "unit", "source")
        show.table(heads, rows, right=(3, 4, 5, 6))
        if outcome.findings.rows:
            click.echo()
            show.table(outcome.findings.heads, outcome.findings.rows, right=range(2, len(outcome.findings.heads)))
    left_out = sum(outcome.findings is None for outcome in outcomes)
    misses = f", {missed} known to miss" if missed else ""
    lacking = f"{left_out} of {len(outcomes)} sections left out for want of data"
    click.echo(f"\n{made} checks, {failed} failed{misses}; {lacking}")
    if out is not None:
        try:
            click.echo(str(write_page(topic, outcomes, out)))
        except OSError as error:
            raise InputWrong(f"cannot write into {out}: {error.strerror}") from None
    if published and data is not None:
        from aivsim.published import write_published

        more, wrong = write_published(published, results, data, runs, stopped)
        made, failed = made + more, failed + wrong
    elif results is not None and data is not None:
        from aivsim.learned import write_results

        checks = [check for outcome in outcomes if outcome.findings for check in outcome.findings.checks]
        more, wrong = write_results(results, data, checks)
        made, failed = made + more, failed + wrong
    if failed:
        raise Failed(f"{failed} of {made} checks failed")
