"""Tables and headings on standard output: ruled and coloured on a terminal, plain aligned columns elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import click


def heading(text: str) -> None:
    """A heading, after an empty line."""
    click.echo()
    click.secho(text, bold=True)


def table(headers: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[int] = ()) -> None:
    """Rows under headers; the columns `right` are aligned to the right."""
    if sys.stdout.isatty():
        _ruled(headers, rows, right)
        return
    widths = [max(len(row[i]) for row in (headers, *rows)) for i in range(len(headers))]
    for row in (headers, *rows):
        cells = (cell.rjust(widths[i]) if i in right else cell.ljust(widths[i]) for i, cell in enumerate(row))
        click.echo("  ".join(cells).rstrip())


def _ruled(headers: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[int]) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    ruled = Table(box=box.SIMPLE_HEAD, header_style="bold", pad_edge=False)
    for i, header in enumerate(headers):
        ruled.add_column(Text(header), justify="right" if i in right else "left", overflow="fold")
    for row in rows:
        ruled.add_row(*(Text(cell) for cell in row))
    Console().print(ruled)


def facts(pairs: Sequence[tuple[str, str]]) -> None:
    """Names and what is said of them, one a line."""
    width = max(len(name) for name, _ in pairs)
    for name, text in pairs:
        click.echo(f"{name.ljust(width)}  {text}")
