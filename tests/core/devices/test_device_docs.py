"""The example in the page about devices runs."""

import re
from pathlib import Path

PAGE = Path(__file__).parents[3] / "docs" / "devices.md"


def test_the_pages_example_runs() -> None:
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), flags=re.DOTALL)
    assert blocks
    for block in blocks:
        exec(compile(block, str(PAGE), "exec"), {})
