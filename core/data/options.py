"""The options of an own file: how its columns or arrays become examples, targets and clients."""

from __future__ import annotations

import dataclasses
from typing import Any, Literal, TypeAlias

from core.data.dataset import TaskName

Names: TypeAlias = tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Reading:
    """The options of an own file (`data.options`). Names are those of columns or arrays."""

    #: "": next_token if there is text and `y` is not named, else classification.
    task: TaskName | Literal[""] = ""
    #: Examples: one array or column, or several columns side by side; (): `x`, of a table all that serve nothing else.
    x: str | Names = ()
    #: Targets; "": `y`.
    y: str = ""
    #: Natural clients: one column, or several that together name one; (): `client`, if there is one.
    client: str | Names = ()
    #: Columns of a table that are left out of the examples.
    without: str | Names = ()
    #: Examples and targets of a test part of its own.
    x_test: str = ""
    y_test: str = ""
    #: A column that says which rows are the test part: those that are not 0, or those of `test_values`.
    test: str = ""
    test_values: tuple[Any, ...] = ()
    #: Columns whose distinct values become columns of 0 and 1.
    categories: str | Names = ()
    #: What x is divided by: a number, or an array of the file.
    scale: float | str = 1.0
    #: What the targets of a regression are divided by: its errors are then in that unit.
    y_scale: float = 1.0
    #: Labels are 1 where y is above this, else 0.
    above: float | None = None
    #: A number that stands for a missing value.
    missing_value: float | None = None
    missing: Literal["refuse", "impute", "drop"] = "refuse"
    #: Whether each column of x gets mean 0 and standard deviation 1, over all examples but those of the test part.
    standardise: bool = False
    #: Whether whole numbers in x are tokens.
    tokens: bool = False
    #: A column of text, whose characters are the tokens, and how many an example has.
    text: str = ""
    length: int = 80
    #: Rows of x in an example, the step from one to the next (0: as many), and where recordings begin and end.
    window: int = 0
    stride: int = 0
    offset: str = ""
    #: Forecast: the column of x that is the target, so many rows after the last of the example.
    target: int | None = None
    horizon: int = 1


def tupled(names: str | Names) -> Names:
    """One name or several, as several."""
    return (names,) if isinstance(names, str) else tuple(names)
