"""`aivsim new`: a scenario to start from, with every key and what it means, written from the schema itself."""

from __future__ import annotations

import json
import re
import textwrap
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final, get_args

import click
from pydantic import BaseModel

from aivsim.errors import InputWrong
from core.scenario import Scenario

#: What the new scenario says; every other key stands as a comment with its default.
START: Final[Mapping[str, Any]] = {
    "name": "my-study",
    "description": "Ten phones of two classes learn to read digits together.",
    "seed": 1,
    "data": {"dataset": "digits", "partition": "natural"},
    "model": {"name": "softmax"},
    "training": {"rounds": 20, "min_participants": 6, "local_epochs": 5, "learning_rate": 0.2},
    "coordinator": {"device": "server", "link": "datacentre"},
    "evaluator": {"device": "gateway", "link": "fixed_world"},
    "devices": [
        {"name": "home", "count": 6, "device": "phone_mid", "link": "wifi_home", "battery": ["40 %", "90 %"]},
        {"name": "away", "count": 4, "device": "phone_low", "link": "lte_good"},
    ],
}
#: Examples of the sections of which there may be none or many.
EXAMPLES: Final[Mapping[str, Any]] = {
    "links": {"my_link": {"kind": "wifi", "latency": "5 ms", "up": "20 Mbit/s", "down": "50 Mbit/s"}},
    "jitter": {"spread": 0.61, "correlation": 0.81, "step": "1 min"},
    "relay": {"region": "europe", "rate": "10 Mbit/s", "success": "70 %"},
    "places": {"madrid": {"latitude": 40.4, "longitude": -3.7}},
    "profiles": {"my_phone": {"base": "phone_mid", "battery": "15 Wh"}},
    "hosts": {"my_server": {"cores": 8, "job": "1 ms", "message": "100 us", "megabyte": "2 ms"}},
    "faults": [{"kind": "link_down", "target": "home-0", "at": "30 s", "duration": "20 s"}],
    "random_faults": [{"kind": "crash", "targets": "away", "rate_per_hour": 2, "mean_duration": "1 min"}],
    "feature_skew": {"kind": "noise", "strength": 0.1},
    "reference": {"accuracy": "93.8 %", "source": "where it comes from"},
}
WIDTH: Final = 112
#: Text that stands in YAML without quotes.
_PLAIN: Final = re.compile(r"(?!(?:null|true|false|yes|no)\b)[A-Za-z][A-Za-z0-9_. -]*|[0-9.]+ [A-Za-z%/]+")


def new_command(file: Path, *, force: bool) -> None:
    """Write the scenario to `file`."""
    try:
        with file.open("w" if force else "x", encoding="utf-8") as out:
            out.write(text())
    except FileExistsError:
        raise InputWrong(f"{file} exists; --force overwrites it") from None
    except OSError as error:
        raise InputWrong(f"cannot write {file}: {error.strerror or error}") from None
    click.echo(f"{file}: `aivsim check {file}` says what it would be, `aivsim run {file}` runs it")


def text() -> str:
    """The text of a new scenario."""
    lines = [
        "# A scenario of aivsim. What is behind `#` without a space is a key with its default, or with an example.",
        "# Quantities are numbers in SI units, or have a unit: 30 s, 20 Mbit/s, 64 MB, 20 %, 25 degC.",
    ]
    for name in Scenario.model_fields:
        lines += ["", *_entry(Scenario, name, START, "", "")]
    return "\n".join(lines) + "\n"


def _entry(section: type[BaseModel], name: str, given: Mapping[str, Any], indent: str, off: str) -> Iterator[str]:
    """The lines of one key: what it means and its value, or behind `#` (`off` for all below it) its default."""
    field = section.model_fields[name]
    yield from _comment(field.description or "", indent)
    off = off or ("" if name in given else "#")
    inner = _section_of(field.annotation)
    example = EXAMPLES.get(name)
    if inner is None or example is not None or isinstance(given.get(name), list):
        if inner is not None:
            for key, below in inner.model_fields.items():
                yield from _comment(f"{key}: {below.description}", f"{indent}", "#   ")
        default = example if example is not None else field.get_default(call_default_factory=True, validated_data={})
        value = given.get(name, default)
        if isinstance(value, list):
            yield f"{indent}{off}{name}:"
            yield from (f"{indent}{off}  - {_flow(item)}" for item in value)
        else:
            yield f"{indent}{off}{name}: {_flow(value)}"
    else:
        yield f"{indent}{off}{name}:"
        for key in inner.model_fields:
            yield from _entry(inner, key, given.get(name, {}), f"{indent}  ", off)


def _comment(words: str, indent: str, mark: str = "# ") -> list[str]:
    return textwrap.wrap(words, WIDTH, initial_indent=f"{indent}{mark}", subsequent_indent=f"{indent}{mark}")


def _section_of(annotation: Any) -> type[BaseModel] | None:
    """The section that a key holds, alone or in a list or map."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for part in get_args(annotation) if (found := _section_of(part)) is not None), None)


def _flow(value: Any) -> str:
    """A value in one line of YAML."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key}: {_flow(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_flow(item) for item in value) + "]"
    if isinstance(value, str) and _PLAIN.fullmatch(value):
        return value
    if isinstance(value, float):
        return f"{value:g}"
    return json.dumps(value, ensure_ascii=False)
