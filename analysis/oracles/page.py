"""The page of a topic's checks: Markdown with the figures as PNG files beside it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from analysis.oracles import Check, Outcome
from analysis.plots.style import styled


def text_of(value: float) -> str:
    """A number as it stands in tables."""
    return f"{value:.6g}"


def difference_of(check: Check) -> str:
    """The difference, as a percentage where it is relative."""
    return f"{check.difference * 100:+.3g} %" if check.relative else f"{check.difference:+.3g}"


def tolerance_of(check: Check) -> str:
    """The tolerance, as a percentage where it is relative."""
    return f"{check.tolerance * 100:.3g} %" if check.relative else f"{check.tolerance:.3g}"


def write_page(topic: str, outcomes: Sequence[Outcome], out: Path) -> Path:
    """Write `TOPIC.md` and its figures into `out`, which is made; its path."""
    out.mkdir(parents=True, exist_ok=True)
    lines = [f"# Oracles: {topic}", ""]
    for outcome in outcomes:
        section = outcome.section
        lines += [f"## {section.title}", "", section.about, ""]
        findings = outcome.findings
        if findings is None:
            lines += [f"Left out: there is no {', '.join(outcome.missing)} among the data.", ""]
            continue
        lines += ["| | check | ours | reference | difference | tolerance | source |", "|---|---|---|---|---|---|---|"]
        for check in findings.checks:
            unit = f" {check.unit}" if check.unit else ""
            cells = (
                check.mark,
                f"{check.name}: {check.statement}",
                text_of(check.value) + unit,
                text_of(check.reference) + unit,
                difference_of(check),
                tolerance_of(check),
                check.source,
            )
            lines.append(f"| {' | '.join(cell.replace('|', '/') for cell in cells)} |")
        lines.append("")
        if findings.rows:
            lines += [f"| {' | '.join(findings.heads)} |", "|" + "---|" * len(findings.heads)]
            lines += [f"| {' | '.join(row)} |" for row in findings.rows]
            lines.append("")
        for drawing in findings.drawings:
            with styled():
                figure = drawing.draw()
                figure.savefig(out / f"{drawing.key}.png", dpi=110, metadata={"Software": None})
            lines += [f"![{drawing.caption}]({drawing.key}.png)", "", drawing.caption, ""]
    page = out / f"{topic}.md"
    page.write_text("\n".join(lines).rstrip() + "\n", encoding="utf-8")
    return page
