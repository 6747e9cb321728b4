"""The cost of a computation: FLOPs and bytes of one reference step, times the steps really made."""

from __future__ import annotations

from typing import NamedTuple


class Work(NamedTuple):
    """`steps` equal steps, each of `flops` floating-point operations and `bytes` moved to and from memory."""

    flops: float
    bytes: float
    steps: int
