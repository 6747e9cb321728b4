"""The algorithms by name: what the scenario's `training.algorithm`, `aivsim list algorithms` and the docs speak of."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

import jax
from flax import nnx

from core.learning.algorithm import Algorithm
from core.learning.asynchronous import fedasync, fedbuff
from core.learning.averaging import fedavg, fedsgd
from core.learning.clustered import ifca
from core.learning.control import feddyn, mimelite, scaffold
from core.learning.fair import afl, qffl
from core.learning.normalized import fednova
from core.learning.partial import fedbn, fedrep
from core.learning.personal import apfl, ditto
from core.learning.proximal import fedprox
from core.learning.server import fedadagrad, fedadam, fedavgm, fedyogi
from core.models import Model, from_nnx

#: Each takes (model, batch_size, server_learning_rate) and its own options.
ALGORITHMS: Final[Mapping[str, Callable[..., Algorithm]]] = {
    make.__name__: make
    for make in (
        fedsgd,
        fedavg,
        fedavgm,
        fedadagrad,
        fedadam,
        fedyogi,
        fedprox,
        scaffold,
        fednova,
        feddyn,
        mimelite,
        qffl,
        afl,
        ditto,
        apfl,
        fedbn,
        fedrep,
        ifca,
        fedasync,
        fedbuff,
    )
}


class Entry(NamedTuple):
    """What is said of an algorithm: a sentence, its paper, what is sent and what a client keeps."""

    name: str
    about: str
    paper: str
    sends: str
    keeps: str


class _Example(nnx.Module):  # type: ignore[misc]
    """A normalisation and a layer called `out`."""

    def __init__(self, rngs: nnx.Rngs, *, input_shape: tuple[int, ...], classes: int) -> None:
        self.norm = nnx.LayerNorm(input_shape[0], rngs=rngs)
        self.out = nnx.Linear(input_shape[0], classes, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        logits: jax.Array = self.out(self.norm(x))
        return logits


def example() -> Model:
    """A model that every algorithm can train, with two numbers as input and two classes."""
    return from_nnx(_Example, name="example", input_shape=(2,), classes=2)


def catalogue() -> list[Entry]:
    """All algorithms, as they describe themselves."""
    model = example()
    found = []
    for name, make in ALGORITHMS.items():
        algorithm = make(model, 1)
        about = " ".join((make.__doc__ or "").split()).partition(". ")[0].removesuffix(".")
        found.append(Entry(name, f"{about}.", algorithm.paper, algorithm.sends, algorithm.keeps))
    return found
