"""The YAML subset: YAML 1.2 scalars, lines, and everything hostile refused without harm."""

from __future__ import annotations

import json
import math

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from core.scenario import tree
from core.scenario.tree import Unusable


def plain(text: str) -> object:
    node, problems = tree.parse(text, "file")
    assert problems == []
    return node.plain()


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1", 1),
        ("-7", -7),
        ("0x1f", 31),
        ("0o17", 15),
        ("1e-3", 1e-3),  # PyYAML's YAML 1.1 makes this text
        ("1.5e3", 1500.0),
        (".5", 0.5),
        ("5.", 5.0),
        ("-.inf", -math.inf),
        ("true", True),
        ("no", "no"),  # and this false
        ("on", "on"),
        ("12:30:00", "12:30:00"),  # and this 45000
        ("1_000", "1_000"),  # and this 1000
        ("2024-01-01", "2024-01-01"),  # and this a date
        ("null", None),
        ("~", None),
        ("'1'", "1"),
        ('"true"', "true"),
        ("9" * 40, 1e40),
    ],
)
def test_plain_scalars_follow_yaml_1_2(text: str, value: object) -> None:
    assert plain(f"key: {text}") == {"key": value}


def test_every_value_knows_its_line() -> None:
    node, _ = tree.parse("a: 1\nb:\n  c:\n    - 1\n    - d: 2\n", "file")
    lines = {
        path: node.find(path)[0].place.line
        for path in [("a",), ("b",), ("b", "c"), ("b", "c", 0), ("b", "c", 1), ("b", "c", 1, "d")]
    }
    assert list(lines.values()) == [1, 2, 3, 4, 5, 5]


def test_aliases_stand_for_what_they_name() -> None:
    assert plain("a: &x {b: [1, 2]}\nc: *x\n") == {"a": {"b": [1, 2]}, "c": {"b": [1, 2]}}


def test_a_billion_laughs_are_refused() -> None:
    lines = ["a0: &a0 [lol, lol, lol, lol, lol, lol, lol, lol, lol, lol]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 12)]
    with pytest.raises(Unusable, match=r"more than \d+ values"):
        tree.parse("\n".join(lines), "file")


@pytest.mark.parametrize("opening", ["[", "{a: "])
def test_deep_nesting_is_refused(opening: str) -> None:
    with pytest.raises(Unusable, match="nested deeper"):
        tree.parse(opening * 100_000, "file")


def test_an_alias_of_what_has_not_ended_is_a_problem() -> None:
    _, problems = tree.parse("a: &x [*x]\nb: *y\n", "file")
    assert [(p.line, p.key) for p in problems] == [(1, "a.0"), (2, "b")]


@pytest.mark.parametrize(
    ("text", "line", "says"),
    [
        ("a: 1\nb: 2\na: 3\n", 3, "twice, first in line 1"),
        ("a: !!python/object/apply:os.system ['true']\n", 1, "tag"),
        ("a: !!str 1\n", 1, "tag"),
        ("x: &x {a: 1}\ny:\n  <<: *x\n", 3, "extends"),
    ],
)
def test_what_is_left_out_of_yaml_is_named_with_its_line(text: str, line: int, says: str) -> None:
    _, problems = tree.parse(text, "file")
    (problem,) = problems
    assert problem.line == line
    assert says in problem.hint


@pytest.mark.parametrize(
    ("text", "line"),
    [("a: [1, 2\nb: 3\n", 2), ("a: 1\n b: 2\n", 2), ("a: 'x\n", 2), ("a: 1\n---\nb: 2\n", 2), ("? [a]\n: 1\n", 1)],
)
def test_what_is_no_yaml_is_refused_with_its_line(text: str, line: int) -> None:
    with pytest.raises(Unusable) as caught:
        tree.parse(text, "file")
    assert caught.value.problem.line == line


def test_a_character_that_yaml_forbids_is_refused_with_its_line() -> None:
    with pytest.raises(Unusable) as caught:
        tree.parse("a: 1\nb: \x07\n", "file")
    assert caught.value.problem.line == 2
    assert "U+0007" in caught.value.problem.hint


def test_maps_merge_and_all_else_is_replaced() -> None:
    base, _ = tree.parse("a: {b: 1, c: [1, 2], d: {e: 1}}\nf: 1\n", "base")
    over, _ = tree.parse("a: {c: [3], d: null, g: 4}\n", "over")
    merged = tree.merge(base, over)
    assert merged.plain() == {"a": {"b": 1, "c": [3], "d": None, "g": 4}, "f": 1}
    assert merged.find(("a", "b"))[0].place == tree.Place("base", 1)
    assert merged.find(("a", "g"))[0].place == tree.Place("over", 1)
    assert base.plain() == {"a": {"b": 1, "c": [1, 2], "d": {"e": 1}}, "f": 1}


# Text that YAML prints as it is: what it escapes comes back the same only as far as PyYAML can.
_TEXT = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=12)
_SCALARS = st.none() | st.booleans() | st.integers(-(10**12), 10**12) | st.floats(allow_nan=False) | _TEXT


_KEYS = _TEXT.filter(lambda key: key != "<<")
_FLAT = st.lists(_SCALARS, max_size=3) | st.dictionaries(_KEYS, _SCALARS, max_size=3)
_NESTED = _SCALARS | _FLAT | st.lists(_FLAT, max_size=3) | st.dictionaries(_KEYS, _FLAT, max_size=3)


@settings(deadline=None)
@given(st.dictionaries(_KEYS, _NESTED, max_size=4))
def test_plain_data_written_as_json_comes_back(data: dict[str, object]) -> None:
    text = json.dumps(data).replace("Infinity", ".inf")
    if all(len(key) < 100 for key in data) and "\\" not in text and ".inf" not in text:
        assert plain(text) == data


def attempt(text: str) -> tree.Node | Unusable:
    try:
        return tree.parse(text, "file")[0]
    except Unusable as error:
        return error


@settings(deadline=None)
@given(st.text(max_size=200) | st.text("[]{}:,-&*!#|>'\"%@`? \nab1", max_size=60))
def test_any_text_makes_a_tree_or_is_refused(text: str) -> None:
    found = attempt(text)
    if isinstance(found, Unusable):
        assert found.problem.hint
    else:
        assert found.shown()
        # Whatever PyYAML's own parser refuses is refused here too.
        list(yaml.parse(text, Loader=yaml.SafeLoader))
