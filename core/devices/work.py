"""The cost of a computation: FLOPs and bytes of one reference step, times the steps really made."""

from __future__ import annotations

from typing import Final, Literal, NamedTuple

Purpose = Literal["training", "inference"]
#: What a computation may be for; a device's energy is told apart by it.
PURPOSES: Final[tuple[Purpose, ...]] = ("training", "inference")


class Work(NamedTuple):
    """`steps` equal steps, each of `flops` floating-point operations and `bytes` moved to and from memory."""

    flops: float
    bytes: float
    steps: int
    purpose: Purpose = "training"
