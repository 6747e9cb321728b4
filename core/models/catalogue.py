"""The models that come with the project, by name."""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable, Hashable
from typing import Any, Final

from core.models.lstm import lstm
from core.models.mcmahan import femnist_cnn, mcmahan_cnn
from core.models.mlp import linear, mlp
from core.models.model import Model, from_nnx
from core.models.resnet import resnet
from core.models.task import CLASSIFICATION, NEXT_TOKEN, REGRESSION, Task
from core.models.transformer import decoder, encoder
from core.models.zoo import cnn, softmax

_MODELS: Final[dict[str, Callable[..., Model]]] = {
    make.__name__: make
    for make in (cnn, decoder, encoder, femnist_cnn, linear, lstm, mcmahan_cnn, mlp, resnet, softmax)
}


def models() -> dict[str, str]:
    """Names of the models and a line about each."""
    return {name: (make.__doc__ or "").splitlines()[0] for name, make in sorted(_MODELS.items())}


def example(name: str) -> Model:
    """A model of ours at the shape that its parameters and FLOPs are told for.

    Images of 28×28 pixels in 62 classes; for text 80 characters of 90; for regression 784 numbers.
    """
    text: dict[str, Any] = {"input_shape": (80,), "classes": 90, "tokens": 90, "task": NEXT_TOKEN}
    special: dict[str, dict[str, Any]] = {
        "linear": {"input_shape": (784,), "classes": 1, "task": REGRESSION},
        "lstm": text,
        "decoder": text,
        "encoder": {**text, "task": CLASSIFICATION},
    }
    return model(name, **special.get(name, {"input_shape": (28, 28), "classes": 62}))


def model(
    name: str,
    *,
    input_shape: tuple[int, ...],
    classes: int,
    task: Task = CLASSIFICATION,
    tokens: int = 0,
    **hyper: Hashable,
) -> Model:
    """A model by its name, or an own one as `module:attribute`, a factory of NNX modules (see `from_nnx`).

    Raises `ValueError` for an unknown name, a module that cannot be imported, a hyperparameter it does not have, or
    examples or a task that it does not suit.
    """
    if ":" in name:
        module_name, _, attribute = name.partition(":")
        try:
            factory = getattr(importlib.import_module(module_name), attribute)
        except (ImportError, AttributeError) as error:
            raise ValueError(f"model {name!r} cannot be loaded: {error}") from error
        make: Callable[..., Model] = functools.partial(_own, factory=factory, name=name)
    elif name in _MODELS:
        make = _MODELS[name]
    else:
        raise ValueError(f"unknown model {name!r}: one of {', '.join(sorted(_MODELS))}, or module:attribute")
    try:
        return make(input_shape=input_shape, classes=classes, task=task, tokens=tokens, **hyper)
    except TypeError as error:
        raise ValueError(f"model {name!r}: {error}") from error


def _own(
    *,
    factory: Callable[..., Any],
    name: str,
    input_shape: tuple[int, ...],
    classes: int,
    task: Task,
    tokens: int,
    **hyper: Hashable,
) -> Model:
    return from_nnx(factory, name=name, input_shape=input_shape, classes=classes, hyper=hyper, task=task, tokens=tokens)
