"""The page about learning lists the algorithms as they describe themselves, and explains each."""

from __future__ import annotations

from pathlib import Path

from core.learning import catalogue
from core.scenario.names import ALGORITHMS

PAGE = Path(__file__).parents[2] / "docs" / "learning.md"


def table() -> str:
    """What stands between the page's markers."""
    rows = ["| algorithm | paper | what is sent | a client keeps | options |", "|---|---|---|---|---|"]
    for entry in catalogue():
        options = ", ".join(f"`{name}`" for name in ALGORITHMS[entry.name]) or "none"
        rows.append(f"| {entry.name} | {entry.paper} | {entry.sends} | {entry.keeps} | {options} |")
    return "\n".join(rows)


def test_the_table_of_algorithms_is_what_they_say_of_themselves() -> None:
    text = PAGE.read_text()
    found = text.split("<!-- algorithms -->\n", 1)[1].split("\n<!-- /algorithms -->", 1)[0]
    assert found == table()


def test_every_algorithm_and_option_is_explained_and_checked() -> None:
    text = PAGE.read_text()
    explained = text.split("<!-- /algorithms -->", 1)[1]
    lists, checks = explained.split("## How each is checked", 1)
    for name in ALGORITHMS:
        assert f"**{name}**" in lists or f"{name}," in lists or f", {name}" in lists, name
        assert name in checks, name
