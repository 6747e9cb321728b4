"""Loading modules: no look for garbage among them, neither then nor later."""

from __future__ import annotations

import gc
import importlib
from pathlib import Path

import pytest

from aivsim.loading import loading, no_collections


@pytest.fixture
def frozen(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Whether collections were on, each time that all objects were set aside."""
    found: list[bool] = []
    monkeypatch.setattr(gc, "freeze", lambda: found.append(gc.isenabled()))
    return found


def test_new_modules_are_set_aside_before_anything_is_collected(
    frozen: list[bool], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "new_to_this_process.py").write_text("", encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    with loading():
        importlib.import_module("new_to_this_process")
    assert frozen == [False]
    assert gc.isenabled()


def test_known_modules_set_nothing_aside(frozen: list[bool]) -> None:
    """A later run in a process must not make what earlier ones have left stay."""
    with loading():
        importlib.import_module("aivsim.loading")
    assert frozen == []


def test_who_has_collections_off_keeps_them_off() -> None:
    gc.disable()
    try:
        with no_collections():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()
