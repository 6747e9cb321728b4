"""Own parts: loaded by their path under a private name, with clear errors."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from core.compute import Eager
from core.learning import Algorithm
from core.scenario import parse
from core.scenario.build import study
from core.scenario.plugins import PluginError, load_attribute, private_name
from core.wire import ArrayDict


def test_a_file_is_loaded_by_its_path_once_and_shadows_nothing(tmp_path: Path) -> None:
    path = tmp_path / "core.py"  # named like a package of ours
    path.write_text("import dataclasses\n\n@dataclasses.dataclass\nclass Own:\n    n: int = 3\n", encoding="utf-8")
    own = load_attribute("core.py:Own", tmp_path)
    assert own is load_attribute(f"{path}:Own")
    assert own.__module__ == private_name(path.resolve())
    import core

    assert core.__file__ != str(path)
    assert own().n == 3  # type: ignore[operator]


def test_a_file_that_was_edited_is_loaded_anew(tmp_path: Path) -> None:
    path = tmp_path / "own.py"
    found = []
    for word in ("relu", "relu", "tanh"):  # of one length, and within one second
        path.write_text(f"import jax\n\ndef act(x):\n    return jax.nn.{word}(x)\n", encoding="utf-8")
        found.append(load_attribute("own.py:act", tmp_path))
    first, same, edited = found
    assert same is first
    assert edited(-1.0) != first(-1.0)  # type: ignore[operator]


NET = """
import jax
from flax import nnx

class Net(nnx.Module):
    def __init__(self, rngs, *, input_shape, classes):
        self.out = nnx.Linear(64, classes, rngs=rngs)
    def __call__(self, x):
        return jax.nn.ACT(self.out(x.reshape(len(x), -1)))
"""
MINE = """
import dataclasses
from core.learning import ALGORITHMS

def mine(model, batch_size, server_learning_rate, gain=1.0):
    plain = ALGORITHMS["fedavg"](model, batch_size, server_learning_rate)
    def apply(params, mean, count, total):
        return {"params": {name: params[name] + gain * mean[name] for name in params}}
    return dataclasses.replace(plain, apply=dataclasses.replace(plain.apply, fn=apply))
"""


def test_an_own_part_that_changes_between_two_runs_counts_as_it_is(tmp_path: Path) -> None:
    """An edited model, another option of an algorithm that its `hyper` does not tell, and none of ours in its place."""
    net, mine = tmp_path / "net.py", tmp_path / "mine.py"
    mine.write_text(MINE, encoding="utf-8")

    def built(act: str, **training: Any) -> Algorithm:
        net.write_text(NET.replace("ACT", act), encoding="utf-8")
        devices = [{"name": "a", "device": "phone_mid", "link": "wifi_home"}]
        given = {"training": {"rounds": 1, **training}, "model": {"name": f"{net}:Net"}, "devices": devices}
        return study(parse(given)).algorithm

    def own(gain: float) -> Algorithm:
        return built("relu", algorithm=f"{mine}:mine", options={"gain": gain})

    relu, tanh = built("relu"), built("tanh")
    assert relu.evaluate != tanh.evaluate
    one, ones = ArrayDict({"w": np.ones(1, np.float32)}), ArrayDict({"w": np.ones(1, np.float32)})
    count = ArrayDict({"weight": np.int64(1), "accepted": np.int32(1), "not_finite": np.int32(0)})
    moved = [
        float(Eager().run(algorithm.apply, (one, ones, count, 1.0))["params"]["w"][0])
        for algorithm in (built("relu", server_learning_rate=3.0), own(1.0), own(0.25))
    ]
    assert moved == [4.0, 2.0, 1.25]


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
