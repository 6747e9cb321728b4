"""Own parts: loaded by their path under a private name, with clear errors."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from core.scenario import parse
from core.scenario.build import study
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
        ("raise SystemExit(3)\n", "own.py:x", "own.py:1: SystemExit: 3"),
        ("class Odd(Exception): ...\nraise Odd('so')\n", "own.py:x", "own.py:2: Odd: so"),
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


@pytest.mark.parametrize(
    ("source", "key", "says"),
    [
        ("def f(model): ...\n", "training.algorithm", "failed: TypeError: f() takes 1 positional argument but 3 were"),
        ("def f(model): ...\n", "model.name", "failed: TypeError: f() got an unexpected keyword argument"),
        ("def f(*_, **__): ...\n", "training.algorithm", "it returned None, which is no Algorithm"),
        ("def f(*_, **__): ...\n", "model.name", "it returned None, which is no flax.nnx.Module"),
        ("f = 3\n", "training.algorithm", "own.py:f is 3"),
        ("f = 3\n", "model.name", "own.py:f is 3"),
        ("def f(*_, **__):\n    return {}['x']\n", "training.algorithm", "failed: KeyError: 'x' (PATH, line 2)"),
        ("def f(*_, **__):\n    return {}['x']\n", "model.name", "failed: KeyError: 'x' (PATH, line 2)"),
        ("def f(*_, **__):\n    raise SystemExit(3)\n", "model.name", "failed: SystemExit: 3 (PATH, line 2)"),
        ("def f(*_, **__):\n    return lambda x: x\n", "model.name", "which is no flax.nnx.Module"),
        ("1 / 0\n", "training.algorithm", "PATH:1: ZeroDivisionError"),
    ],
)
def test_an_own_part_that_cannot_be_used_is_named_with_its_key(
    tmp_path: Path, source: str, key: str, says: str
) -> None:
    path = tmp_path / "own.py"
    path.write_text(source, encoding="utf-8")
    section, _, name = key.partition(".")
    data = {"training": {"rounds": 1}, "devices": [{"name": "a", "device": "phone_mid", "link": "wifi_home"}]}
    given = parse({**data, section: {**({"rounds": 1} if section == "training" else {}), name: f"{path}:f"}})
    with pytest.raises(ValueError, match=re.escape(f"; {path}")) as caught:
        study(given)
    assert str(caught.value).startswith(f"scenario: {key}: found ")
    assert isinstance(caught.value.__cause__, PluginError)
    assert says.replace("PATH", str(path)) in str(caught.value)


def test_a_model_that_fits_no_input_is_found_before_the_run(tmp_path: Path) -> None:
    path = tmp_path / "own.py"
    path.write_text(
        "from flax import nnx\n"
        "class F(nnx.Module):\n"
        "    def __init__(self, rngs, *, input_shape, classes, width):\n"
        "        self.dense = nnx.Linear(width, classes, rngs=rngs)\n"
        "    def __call__(self, x):\n"
        "        return self.dense(x)\n",
        encoding="utf-8",
    )
    data = {"training": {"rounds": 1}, "devices": [{"name": "a", "device": "phone_mid", "link": "wifi_home"}]}
    for width, says in ((7, "own.py, line 6"), (8, "to shape (2, 10)")):
        given = parse({**data, "model": {"name": f"{path}:F", "options": {"width": width}}})
        with pytest.raises(ValueError, match=r"model\.name") as caught:
            study(given)
        assert says in str(caught.value)
