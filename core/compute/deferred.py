"""A result that is not computed yet: it has shapes, dtypes and a size, and nothing else.

Whatever would need its numbers raises, so that no program in the simulator can look by accident.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final, NoReturn

from core.compute.function import KIND_OF, PayloadKind
from core.wire import Payload, Spec

if TYPE_CHECKING:
    from core.compute.graph import Node


def _refuse(self: Deferred, *arguments: object, **named: object) -> NoReturn:
    raise TypeError(f"{self!r} is not computed yet: look at it with `await ctx.value(x)`")


class Deferred(Payload):
    """One output group of a node of the evaluator's graph."""

    __slots__ = ("group", "kind", "node")

    def __init__(self, node: Node, group: str, kind: PayloadKind) -> None:
        self.node: Final = node
        self.group: Final = group
        self.kind: Final = kind

    @property
    def spec(self) -> Mapping[str, Spec]:
        return self.kind.spec

    @property
    def nbytes(self) -> int:
        return self.kind.nbytes

    def __repr__(self) -> str:
        inside = ", ".join(f"{n}: {s.dtype}{list(s.shape)}" for n, s in self.kind.spec.items())
        return f"Deferred({self.node.entry.function.name}.{self.group}: {inside})"

    if not TYPE_CHECKING:
        __float__ = __int__ = __complex__ = __index__ = __bool__ = _refuse
        __array__ = __jax_array__ = __getitem__ = __iter__ = __len__ = __contains__ = _refuse
        __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = __matmul__ = __rmatmul__ = _refuse
        __truediv__ = __rtruediv__ = __floordiv__ = __rfloordiv__ = __mod__ = __rmod__ = _refuse
        __pow__ = __rpow__ = __neg__ = __pos__ = __abs__ = __round__ = _refuse
        __lt__ = __le__ = __gt__ = __ge__ = _refuse


def _kind(value: Deferred) -> PayloadKind:
    return value.kind


KIND_OF[Deferred] = _kind
