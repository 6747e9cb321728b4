"""What tells functions apart, so that a program is never taken for another's, and is found again by its like."""

from __future__ import annotations

import dataclasses
import functools
import gc
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from core.compute import Eager, Evaluator, Function
from core.compute.identity import _KNOWN, identity_of
from core.compute.layout import compiled
from core.devices import Work
from core.learning import ALGORITHMS
from core.learning.registry import example
from core.wire import ArrayDict

FACTOR: Any = 1.0


def of_cell(value: Any) -> Callable[[Any], Any]:
    return lambda x: x * value


def of_default(value: Any) -> Callable[[Any], Any]:
    def fn(x: Any, by: Any = value) -> Any:
        return x * by

    return fn


def of_keyword(value: Any) -> Callable[[Any], Any]:
    def fn(x: Any, *, by: Any = value) -> Any:
        return x * by

    return fn


def of_inner(value: Any) -> Callable[[Any], Any]:
    inner = of_cell(value)
    return lambda x: inner(inner(x))


def of_partial(value: Any) -> Callable[[Any], Any]:
    return functools.partial(jnp.multiply, value)


def _scaled(x: Any) -> Any:
    return x * FACTOR


def of_global(value: Any) -> Callable[[Any], Any]:
    global FACTOR
    FACTOR = value
    return lambda x: x * FACTOR


def of_helper(value: Any) -> Callable[[Any], Any]:
    global FACTOR
    FACTOR = value
    return lambda x: _scaled(x)


@dataclasses.dataclass
class Scaling:
    by: Any

    def __call__(self, x: Any) -> Any:
        return x * self.by

    def times(self, x: Any) -> Any:
        return x * self.by


class Plain:
    def __init__(self, by: Any) -> None:
        self.by = by

    def times(self, x: Any) -> Any:
        return x * self.by


def of_source(value: Any) -> Callable[[Any], Any]:
    found: dict[str, Any] = {}
    exec(f"def fn(x):\n    return x * {value}\n", globals(), found)
    made: Callable[[Any], Any] = found["fn"]
    return made


WAYS = {
    "a cell": of_cell,
    "a default": of_default,
    "a keyword's default": of_keyword,
    "a function in a cell": of_inner,
    "a partial": of_partial,
    "a global": of_global,
    "a global of a helper": of_helper,
    "a dataclass": Scaling,
    "a method": lambda value: Scaling(value).times,
    "a constant": of_source,
    "a list in a cell": lambda value: of_cell([value]),
    "a dict in a cell": lambda value: of_cell({"by": value}),
    "a set in a cell": lambda value: of_cell(frozenset({"by", value})),
    "an array in a cell": lambda value: of_cell(np.array([value, 1.0])),
    "an array of JAX in a cell": lambda value: of_cell(jnp.array([value, 1.0])),
    "a key in a cell": lambda value: of_cell(jax.random.key(int(10 * value))),
}


@pytest.mark.parametrize("way", WAYS)
def test_what_a_function_computes_with_tells_it(way: str) -> None:
    make = WAYS[way]
    one, again, other = identity_of(make(1.0)), identity_of(make(1.0)), identity_of(make(0.1))
    assert one is again
    assert one is not other


@pytest.mark.parametrize(("one", "other"), [(1, 1.0), (1, True), (0.0, -0.0), ("1", 1), ((1,), [1]), (None, ())])
def test_equal_values_of_other_types_are_told_apart(one: Any, other: Any) -> None:
    assert identity_of(of_cell(one)) is not identity_of(of_cell(other))


def test_what_cannot_be_compared_is_like_nothing() -> None:
    plain = Plain(1.0)
    before = identity_of(plain.times)
    plain.by = 0.1
    assert before is not identity_of(plain.times)


def test_what_refers_to_itself_has_an_identity() -> None:
    def recursive() -> Callable[[int], Any]:
        def down(n: int) -> Any:
            return down(n - 1) if n else itself

        itself = [down]
        return down

    assert identity_of(recursive()) is identity_of(recursive())
    nested: Any = ()
    for _ in range(5000):
        nested = (nested,)
    assert identity_of(nested) is identity_of(nested)


def test_identities_end_with_their_functions() -> None:
    gc.collect()
    before = len(_KNOWN)
    kept = [identity_of(of_cell(f"kept {number}")) for number in range(10)]
    assert len(_KNOWN) == before + 10
    del kept
    assert len(_KNOWN) <= before


def scaled(value: float) -> Function:
    return Function("identity_test.scaled", lambda a: {"out": {"x": a["x"] * value}}, (), lambda a: Work(1.0, 1.0, 1))


def test_an_option_that_no_hyperparameter_tells_counts_in_the_next_run() -> None:
    given = ArrayDict({"x": np.ones(1, np.float32)})
    for value in (1.0, 0.5, 2.0):
        evaluator = Evaluator()
        assert float(evaluator.value(evaluator.submit(scaled(value), (given,))["out"])["x"][0]) == value
        assert float(Eager().run(scaled(value), (given,))["out"]["x"][0]) == value


def of_method(value: float) -> Callable[[Any], Any]:
    PLAIN.by = value
    return PLAIN.outputs


def of_the_same(value: float) -> Callable[[Any], Any]:
    global FACTOR
    FACTOR = value
    return outputs


class Scaled(Plain):
    def outputs(self, a: Any) -> Any:
        return {"out": {"x": a["x"] * self.by}}


def outputs(a: Any) -> Any:
    return {"out": {"x": a["x"] * FACTOR}}


PLAIN = Scaled(1.0)


@pytest.mark.parametrize("make", [of_the_same, of_method])
def test_a_callable_that_computes_something_else_by_now_is_traced_anew(make: Callable[[float], Any]) -> None:
    """JAX keeps the traces of a function by the object, whatever has become of what it looks up."""
    given = ArrayDict({"x": np.ones(1, np.float32)})
    made = []
    for value in (1.0, 0.5, 2.0, 1.0):
        made.append(Function("identity_test.changed", make(value), (), lambda a: Work(1.0, 1.0, 1)))
        assert float(Eager().run(made[-1], (given,))["out"]["x"][0]) == value


def test_a_callable_without_a_hash_is_taken() -> None:
    @dataclasses.dataclass
    class Sum:
        by: float

        def __call__(self, a: Any) -> Any:
            return {"out": {"x": a["x"] + self.by}}

    function = Function("identity_test.sum", Sum(2.0), (), lambda a: Work(1.0, 1.0, 1))
    assert float(Eager().run(function, (ArrayDict({"x": np.ones(1, np.float32)}),))["out"]["x"][0]) == 3.0


def test_a_function_in_another_s_place_is_not_taken_for_it() -> None:
    given = ArrayDict({"x": np.ones(1, np.float32)})
    one = scaled(3.0)
    other = dataclasses.replace(one, fn=lambda a: {"other": {"y": a["x"] + 1}})
    assert list(Eager().run(one, (given,))) == ["out"]
    assert list(Eager().run(other, (given,))) == ["other"]
    assert one != other
    assert one == scaled(3.0)


@pytest.mark.parametrize("name", ALGORITHMS)
def test_our_algorithms_find_their_programs_again_in_the_next_run(name: str) -> None:
    """Their functions are made anew for each run, and so are the models' that they close over."""
    runs = [ALGORITHMS[name](example(), 4) for _ in range(2)]
    fields = [field.name for field in dataclasses.fields(runs[0])]
    pairs = [[getattr(made, field) for made in runs] for field in fields]
    functions = [pair for pair in pairs if isinstance(pair[0], Function)]
    assert len(functions) >= 4
    for one, again in functions:
        assert one is not again
        assert one == again, one.name


def test_a_program_is_made_once_for_runs_of_the_same() -> None:
    given = ArrayDict({"x": np.ones(1, np.float32)})
    Eager().run(scaled(7.0), (given,))
    made = compiled.cache_info().misses
    Eager().run(scaled(7.0), (given,))
    assert compiled.cache_info().misses == made
