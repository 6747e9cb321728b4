"""The page about records describes the tables as they are."""

from __future__ import annotations

from pathlib import Path

from core.records import TABLES
from core.records.schema import columns, table_doc

PAGE = Path(__file__).parents[3] / "docs" / "records.md"
TYPES = {float: "float64", int: "int64", str: "string", bool: "bool"}


def test_the_tables_are_documented_as_they_are() -> None:
    expected = []
    for name, row in TABLES.items():
        expected += [f"### {name}", "", table_doc(row), "", "| column | type | what |", "|---|---|---|"]
        for column in columns(row):
            kind = TYPES[column.kind] + (", may be null" if column.nullable else "")
            expected.append(f"| `{column.name}` | {kind} | {column.doc} |")
        expected.append("")
    tables = PAGE.read_text().split("## Tables\n", 1)[1]
    assert tables.strip() == "\n".join(expected).strip()
