"""The graph of deferred jobs, and the plan by which a part of it is computed.

A node holds its arguments, and is held by the payloads that stand for its results: what nobody can ask for any more
is gone. Chains of `Accumulation`s are flattened: a job whose result feeds nothing but the chain runs *inside* its
loop, so that the result is never stored.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from typing import Any, Final

from core.compute.counts import FunctionCounts
from core.compute.deferred import Deferred
from core.compute.executor import Promise
from core.compute.function import Accumulation, Function, HostFunction, Kind, PayloadKind, ShardKind


class Entry:
    """A function with the kinds of its arguments: what thousands of nodes have in common."""

    __slots__ = ("accumulation", "counts", "flops", "function", "kinds", "outputs", "shards")

    def __init__(
        self,
        function: Function,
        kinds: tuple[Kind, ...],
        outputs: dict[str, PayloadKind],
        counts: FunctionCounts,
        flops: float,
    ) -> None:
        self.function = function
        self.kinds = kinds
        self.outputs = outputs
        self.counts = counts
        #: Of its first job, for an idea of what a batch is worth.
        self.flops = flops
        self.accumulation: Final = function if isinstance(function, Accumulation) else None
        self.shards = tuple(i for i, kind in enumerate(kinds) if isinstance(kind, ShardKind))


class Node:
    """One job: the entry, the arguments until they are no longer needed, and promises of the groups that are
    computed or will be."""

    __slots__ = ("args", "ends", "entry", "executed", "order", "useful", "uses", "values", "wanted")

    def __init__(self, order: int, entry: Entry, args: tuple[Any, ...]) -> None:
        self.order = order
        self.entry = entry
        self.args = args
        self.values: dict[str, Promise] = {}
        #: How often each group became an argument of another node.
        self.uses: dict[str, int] = {}
        #: Groups to be computed at the latest at the end.
        self.wanted: set[str] | None = None
        #: An accumulation whose sum goes somewhere else than into a longer sum.
        self.ends = False
        self.executed = False
        self.useful = False

    @property
    def complete(self) -> bool:
        return len(self.values) == len(self.entry.outputs)

    def is_wanted(self, group: str) -> bool:
        return self.wanted is not None and group in self.wanted


Target = tuple[Node, str]


@dataclasses.dataclass(eq=False)
class Chain:
    """A flattened chain of accumulations: `base` plus the items of `nodes`, the last of which is asked for."""

    head: Node
    nodes: list[Node]
    base: Any
    #: Promises of what the batches that feed it have summed.
    totals: list[Promise] = dataclasses.field(default_factory=list)
    #: Items not yet summed, and 1 for a base that is not computed.
    waits: int = 0


@dataclasses.dataclass(eq=False)
class Unit:
    """What is computed in one go with its likes: a job, possibly fused into a chain, or a chain's stored item."""

    order: int
    node: Node | None
    chain: Chain | None = None
    group: str = ""
    weight: int = 0
    item: Any = None
    waits: int = 0

    def arguments(self) -> tuple[Any, ...]:
        return self.node.args if self.node is not None else (self.item,)

    def batch_key(self) -> tuple[Any, ...]:
        """Units with equal keys form a batch: one function, kinds of arguments, resident rows and sum."""
        if self.node is None:
            return (None, self.chain)
        entry = self.node.entry
        return (entry, *(id(self.node.args[i].rows) for i in entry.shards), self.chain, self.group)


class Schedule:
    """All that computing some targets takes: units, chains, and who waits for whom."""

    def __init__(self, targets: Iterable[Target]) -> None:
        self.targets = set(targets)
        self.needed: dict[Node, set[str]] = {}
        self.followers: dict[Node, list[Unit | Chain]] = {}
        self.ready: list[Unit] = []
        self.ready_chains: list[Chain] = []
        self._collect(sorted(self.targets, key=lambda target: (target[0].order, target[1])))
        self._plan()

    def _collect(self, targets: Sequence[Target]) -> None:
        """Find every node that is not computed and that a target rests on, without recursion."""
        stack = list(targets)
        while stack:
            node, group = stack.pop()
            if group in node.values:
                continue
            groups = self.needed.get(node)
            if groups is not None:
                groups.add(group)
                continue
            self.needed[node] = {group}
            stack.extend((a.node, a.group) for a in node.args if type(a) is Deferred)

    def _inner(self, argument: Any, entry: Entry) -> Node | None:
        """The accumulation behind an argument, if nothing but the next one of the chain will ever see its sum."""
        if type(argument) is not Deferred or argument.node.entry is not entry:
            return None
        node = argument.node
        group = argument.group
        alone = node in self.needed and node.uses[group] == 1 and not node.is_wanted(group)
        return node if alone and (node, group) not in self.targets else None

    def _chains(self) -> list[Chain]:
        sums = [node for node in self.needed if node.entry.accumulation is not None]
        inner = {found for node in sums if (found := self._inner(node.args[0], node.entry)) is not None}
        chains = []
        for head in sums:
            if head in inner:
                continue
            nodes = [head]
            while (before := self._inner(nodes[-1].args[0], head.entry)) is not None:
                nodes.append(before)
            nodes.reverse()
            chains.append(Chain(head, nodes, nodes[0].args[0]))
        return chains

    def _fusable(self, item: Any, fused: dict[Node, Unit]) -> bool:
        """Whether an item is a job's result that nothing but this sum will see."""
        if type(item) is not Deferred or item.node not in self.needed or item.node in fused:
            return False
        node, group = item.node, item.group
        entry = node.entry
        if group in node.values or entry.accumulation is not None or isinstance(entry.function, HostFunction):
            return False
        return node.uses[group] == 1 and not node.is_wanted(group) and (node, group) not in self.targets

    def _plan(self) -> None:
        fused: dict[Node, Unit] = {}
        for chain in self._chains():
            for node in chain.nodes:
                item, weight = node.args[1], node.args[2]
                chain.waits += 1
                if self._fusable(item, fused):
                    fused[item.node] = Unit(item.node.order, item.node, chain, item.group, weight)
                else:
                    self._await(Unit(node.order, None, chain, "", weight, item))
            if self._open(chain.base):
                chain.waits += 1
                self.followers.setdefault(chain.base.node, []).append(chain)
        for node in self.needed:
            if node.entry.accumulation is None:
                self._await(fused.get(node) or Unit(node.order, node))

    @staticmethod
    def _open(argument: Any) -> bool:
        return type(argument) is Deferred and argument.group not in argument.node.values

    def _await(self, unit: Unit) -> None:
        for argument in unit.arguments():
            if self._open(argument):
                unit.waits += 1
                self.followers.setdefault(argument.node, []).append(unit)
        if not unit.waits:
            self.ready.append(unit)

    def batches(self) -> list[list[Unit]]:
        """Take what is ready, in batches, each in the order of submission."""
        groups: dict[tuple[Any, ...], list[Unit]] = {}
        for unit in sorted(self.ready, key=lambda u: u.order):
            groups.setdefault(unit.batch_key(), []).append(unit)
        self.ready = []
        return list(groups.values())

    def computed(self, node: Node) -> None:
        """Tell those that wait for a node."""
        for follower in self.followers.pop(node, ()):
            follower.waits -= 1
            if not follower.waits:
                if isinstance(follower, Unit):
                    self.ready.append(follower)
                else:
                    self.ready_chains.append(follower)

    def summed(self, chain: Chain, items: int) -> None:
        """Tell a chain that some of its items are in its total."""
        chain.waits -= items
        if not chain.waits:
            self.ready_chains.append(chain)
