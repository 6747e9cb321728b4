"""Own parts: loaded by their path under a private name, with clear errors."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from core.scenario.plugins import PluginError, load_attribute, private_name


def test_a_file_is_loaded_by_its_path_once_and_shadows_nothing(tmp_path: Path) -> None:
    path = tmp_path / "core.py"  # named like a package of ours
    path.write_text("import dataclasses\n\n@dataclasses.dataclass\nclass Own:\n    n: int = 3\n", encoding="utf-8")
    own = load_attribute("core.py:Own", tmp_path)
    assert own is load_attribute(f"{path}:Own")
    assert own.__module__ == private_name(path.resolve())
    import core

    assert core.__file__ != str(path)
    assert own().n == 3  # type: ignore[operator]


def test_an_attribute_of_a_module() -> None:
    assert load_attribute("core.models:softmax".replace("softmax", "models")) is sys.modules["core.models"].models


@pytest.mark.parametrize(
    ("source", "spec", "says"),
    [
        ("x = 1\n", "own.py:y", "has no 'y'"),
        ("softmaxx = 1\n", "own.py:softmax", 'did you mean "softmaxx"?'),
        ("x = 1\n1 / 0\n", "own.py:x", "own.py:2: ZeroDivisionError"),
        ("import nothing_of_that_name\n", "own.py:x", "own.py:1: ModuleNotFoundError"),
        ("def f(:\n", "own.py:f", "own.py:1: SyntaxError"),
        ("", "other.py:f", "there is no file"),
        ("", "own.py", "neither module:attribute nor"),
        ("", "own.py:f g", "neither module:attribute nor"),
        ("", "no_such_module:f", "the module no_such_module cannot be imported"),
    ],
)
def test_what_cannot_be_loaded_says_why(tmp_path: Path, source: str, spec: str, says: str) -> None:
    (tmp_path / "own.py").write_text(source, encoding="utf-8")
    with pytest.raises(PluginError, match=says.replace("?", r"\?")):
        load_attribute(spec, tmp_path)


def test_a_file_that_failed_can_be_mended(tmp_path: Path) -> None:
    path = tmp_path / "own.py"
    path.write_text("raise ValueError('not yet')\n", encoding="utf-8")
    with pytest.raises(PluginError, match="not yet"):
        load_attribute("own.py:x", tmp_path)
    path.write_text("x = 'ready now'\n", encoding="utf-8")
    assert load_attribute("own.py:x", tmp_path) == "ready now"
