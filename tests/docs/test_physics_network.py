"""The examples on the page about the network run, and it names what there is."""

import re
from pathlib import Path

from core.network.transport import CONTROLS

PAGE = (Path(__file__).parents[2] / "docs" / "physics_network.md").read_text(encoding="utf-8")


def test_the_pages_examples_run() -> None:
    blocks = re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL)
    assert len(blocks) == 3
    for block in blocks:
        exec(compile(block, "physics_network.md", "exec"), {})


def test_the_page_speaks_of_every_transport() -> None:
    assert all(f"`{control}`" in PAGE or f"transport: {control}" in PAGE for control in CONTROLS)
