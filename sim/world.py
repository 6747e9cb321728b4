"""A simulated world: runs a deployment from its start until its main actor ends, and writes the records."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, NoReturn, Protocol

import numpy as np
import numpy.typing as npt
from msgspec.structs import replace

from core.actor import LOCAL_MESSAGES, SYSTEM_MESSAGES, Actor, DeviceFailed, Message, News, PeerGone, Refusal, Start
from core.deployment import Deployment, Placement
from core.records.rows import FaultRow, Row, UndeliveredRow
from core.records.schema import columns
from core.wire import ArrayDict, Codec, Payload, encode, frame_size, payload_fields
from sim.attendance import Attendance, Habit
from sim.cell import Cell, LocalMessage
from sim.dormant import Dormant
from sim.engine import ActorEnvironment, StopRun, rare_collections
from sim.faults import FaultyNode, FaultyStrictNode, SkewedCell, touched
from sim.hosting import SharedHost, hosted
from sim.network.paths import Paths
from sim.network.routed import FaultyRoutedNode, FaultyStrictRoutedNode, RoutedNode, StrictRoutedNode
from sim.node import GONE, LINK_DOWN, OFF, Node, StrictNode
from sim.outages import Outages
from sim.task import Cancelled

if TYPE_CHECKING:
    from core.compute import Evaluator, Timing


class Records(Protocol):
    """Where the world writes; `core.records.RunWriter` is one."""

    #: The world appends (sent_s, delivered_s, sender, receiver, type, size_bytes) to `pending_messages`, and calls
    #: `encode_messages` when it holds so many.
    ENCODE_BLOCK: int
    pending_messages: list[tuple[float, float, str, str, type[Message], int]]

    def encode_messages(self) -> None:
        """Take over the pending messages and clear the list."""

    def encode_news(
        self,
        news: News,
        receiver: str,
        sent_s: npt.NDArray[np.float64],
        delivered_s: npt.NDArray[np.float64],
        sizes: npt.NDArray[np.int32],
    ) -> None:
        """News that were delivered to one receiver, behind the pending messages."""

    def flush_messages(self) -> None:
        """The same, and write them."""

    def row(self, time_s: float, actor: str, row: Row) -> None:
        """A row of any other table."""


class ActorFailed(Exception):
    """An actor did not handle an exception; `__cause__` is that exception."""


class Deadlock(Exception):
    """Nothing is left to happen, and the main actor still waits."""


def lost_its_device(error: BaseException | None) -> bool:
    """Whether an actor failed only because its device did."""
    while error is not None:
        if isinstance(error, DeviceFailed):
            return True
        error = error.__cause__
    return False


class World:
    """The state of one simulated run."""

    def __init__(
        self,
        deployment: Deployment,
        writer: Records,
        evaluator: Evaluator | Timing,
        observe: Callable[[float, str, Row], None] | None = None,
    ) -> None:
        self.deployment = deployment
        self.seed = deployment.seed
        self.writer = writer
        self.evaluator = evaluator
        self.observe = observe
        self.env = ActorEnvironment()
        self.nodes: dict[str, Node] = {}
        regions = sorted(
            {placement.region for placement in deployment.placements}.union(
                *(population.regions for population in deployment.populations)
            )
        )
        #: Numbers of the regions in use, and the delays between them.
        self.zones = {region: zone for zone, region in enumerate(regions)}
        self.delays_s = [[deployment.delay_s(a, b) for b in regions] for a in regions]
        self.populations = {population.name: Dormant(self, population) for population in deployment.populations}
        #: Nodes of populations that are awake, how many are to be so at most, and at how many idle ones are looked for.
        self.live = 0
        self.max_live = self.rest_at = deployment.max_live
        #: The closed set of message types, each with the names of its fields that carry arrays.
        self.kinds = {kind: payload_fields(kind) for kind in (*SYSTEM_MESSAGES, *deployment.messages)}
        self.codec = Codec([*SYSTEM_MESSAGES, *deployment.messages], max_frame_bytes=deployment.max_frame_bytes)
        #: Ways of a network that is more than a star of steady links; None for the star, which needs none.
        self.paths = None if deployment.plain_paths else Paths(self.env, deployment, self.find)
        strict = deployment.strict_wire
        self._plain_node: type[Node] = StrictNode if strict else Node
        self._faulty_node: type[FaultyNode] = FaultyStrictNode if strict else FaultyNode
        if self.paths is not None:
            self._plain_node = StrictRoutedNode if strict else RoutedNode
            self._faulty_node = FaultyStrictRoutedNode if strict else FaultyRoutedNode
        if deployment.hosts:
            self._hosted_node, self._hosted_faulty_node = hosted(self._plain_node), hosted(self._faulty_node)
        self._touched = touched(deployment)
        self.hosts = {host.name: SharedHost(self.env, host) for host in deployment.hosts}
        self.attendance = Attendance(self)
        #: What the main actor has left as its `result`.
        self.result: Payload | None = None
        self.error: BaseException | None = None
        self.ended = False
        self._accepts: dict[type[Actor], tuple[frozenset[type[Message]], frozenset[type[Message]]]] = {}
        #: Who wants news of a peer, and the other way round; dicts for their order.
        self._watchers: dict[str, dict[str, None]] = {}
        self._watching: dict[str, dict[str, None]] = {}
        self.outages = Outages(self)
        self._jobs = 0
        #: Columns of a table that may wait for numerics.
        self._deferred_columns: dict[type[Row], tuple[str, ...]] = {}

    # The run.

    def run(self) -> None:
        """Run until the main actor ends. Raises `ActorFailed` or `Deadlock`; what was recorded stays."""
        self.populate()
        try:
            self.env.run()
            if self.error is not None:
                raise self.error
            if not self.ended:
                waiting = [
                    node.name
                    for node in self.nodes.values()
                    if node.state != GONE and node.cell is not None and not node.cell.idle
                ]
                raise Deadlock(
                    f"at {self.env.now:g} s nothing is left to happen, but {self.deployment.main} has not ended; "
                    f"these actors wait: {', '.join(waiting[:10])}{' …' if len(waiting) > 10 else ''}"
                )
        finally:
            with rare_collections():
                self._close()
        rows = self.outages.unwritten.get(self.deployment.main)
        if rows:
            raise ActorFailed(
                f"the disk of {self.deployment.main} was full at the end: {len(rows)} of its rows are lost"
            )

    def populate(self) -> None:
        """Make the nodes and arrange for the starts and the faults."""
        for placement in self.deployment.placements:
            course = None if placement.course is None else placement.course()
            node = self.nodes[placement.name] = self.make_node(placement, user=0 if course is None else course.state)
            if course is not None:
                node.habit = Habit(node, course)
            node.introduce()
        # Before the starts: what is wrong from time zero on is so when the first actor begins.
        self.outages.arrange()
        for node in list(self.nodes.values()):
            self.start(node)
        for dormant in self.populations.values():
            dormant.start()

    def _close(self) -> None:
        for node in self.nodes.values():
            if node.cell is not None:
                node.cell.kill()
        for node in self.nodes.values():
            if node.dormant is None:
                node.close()
        for dormant in self.populations.values():
            dormant.close()
        self.outages.close()
        self.writer.flush_messages()

    def start(self, node: Node) -> None:
        cell = self.wake(node)
        if Start in cell.accepts:
            LocalMessage(node, Start(), 0.0)

    # Actors.

    def accepts(self, kind: type[Actor]) -> tuple[frozenset[type[Message]], frozenset[type[Message]]]:
        """The message types that actors of a kind take: all of them, and those that may come from peers."""
        found = self._accepts.get(kind)
        if found is None:
            taken: frozenset[type[Message]] = frozenset((*kind.accepts, PeerGone))
            found = self._accepts[kind] = (taken, taken.difference(LOCAL_MESSAGES))
        return found

    def wake(self, node: Node) -> Cell:
        """Bring the actor of a node to life."""
        kind = SkewedCell if node.name in self.outages.clocks else Cell
        cell = node.cell = kind(self, node, node.placement.make())
        cell.requests = node.requests
        if node.dormant is not None:
            node.dormant.restore(node.index, cell)
        if cell.runs:
            cell.start_run()
        return cell

    def make_node(self, placement: Placement, dormant: Dormant | None = None, index: int = -1, user: int = 0) -> Node:
        """The node of a placement, whose user is in a state.

        It is one that looks at its messages only where a fault may touch them.
        """
        faulty = placement.name in self._touched
        if placement.host is None:
            kind = self._faulty_node if faulty else self._plain_node
        else:
            kind = self._hosted_faulty_node if faulty else self._hosted_node
        return kind(self, placement, dormant, index, user)

    def find(self, name: str) -> Node | None:
        """The node of an actor; None if there is no such actor. One that rests is woken."""
        node = self.nodes.get(name)
        if node is None:
            prefix, _, number = name.rpartition("-")
            dormant = self.populations.get(prefix)
            if dormant is not None and number.isdecimal() and str(int(number)) == number:
                index = int(number)
                if index < dormant.population.count:
                    node = dormant.node(index)
        return node

    def known(self, name: str) -> Node:
        """The node of an actor that there is."""
        node = self.find(name)
        if node is None:
            raise LookupError(f"there is no actor {name!r}")
        return node

    def leave(self, node: Node) -> None:
        """An actor's life has ended: its peers get to know, and the run ends with the main actor."""
        node.stop(GONE, "gone")
        if node.name == self.deployment.main:
            # Nobody gets to know: nothing happens any more.
            if node.cell is not None:
                node.cell.kill()
                self.result = getattr(node.cell.actor, "result", None)
            self.ended = True
            raise StopRun
        if node.cell is not None:
            for request in node.cell.open_requests.values():
                self.tell_gone(request.sender, node, request.correlation)
            node.cell.kill()
        self.forget_watches(node)
        for watcher in self.watchers_of(node):
            self._tell_last(node, watcher, PeerGone(peer=node.name))

    def actor_failed(self, cell: Cell, error: BaseException) -> None:
        """An exception came out of an actor: the run fails, unless the actor merely lost its device."""
        if isinstance(error, Cancelled) or lost_its_device(error):
            return
        self.record(cell.name, FaultRow(kind="actor_failed", detail=f"{type(error).__name__}: {error}"))
        if self.error is None:
            self.error = ActorFailed(f"{cell.name} failed at {self.env.now:g} s: {type(error).__name__}: {error}")
            self.error.__cause__ = error
        raise StopRun

    def main_stopped(self, why: str) -> NoReturn:
        """The device of the main actor went off: the run has failed."""
        self.error = ActorFailed(f"the device of {self.deployment.main} went off at {self.env.now:g} s ({why})")
        raise StopRun

    def watch(self, node: Node, peer: str) -> None:
        """Ask for news of a peer."""
        known = self.find(peer)
        if known is None or known.state == GONE:
            LocalMessage(node, PeerGone(peer=peer), 0.0)
        elif node.dormant is None or node.dormant.watched(node.index) != peer:
            watchers = self._watchers.setdefault(peer, {})
            if known.state in (LINK_DOWN, OFF) and node.name not in watchers:
                # It was silent before anybody listened.
                self.outages.miss(known)
            watchers[node.name] = None
            self._watching.setdefault(node.name, {})[peer] = None

    def watchers_of(self, node: Node) -> Iterator[Node]:
        """Those who watch a node; they are told once. Of many at rest only some are awake at a time."""
        names = self._watchers.pop(node.name, {})
        for name in names:
            self._watching[name].pop(node.name, None)
        resting = [(dormant, dormant.unwatch_all(node.name)) for dormant in self.populations.values()]
        for dormant, indices in resting:
            for index in indices:
                yield dormant.node(index)
        for name in names:
            yield self.known(name)

    def forget_watches(self, node: Node) -> list[str]:
        """Whom a node watched; it does not any more."""
        names = self._watching.pop(node.name, {})
        for name in names:
            self._watchers[name].pop(node.name, None)
        first = self._watched_from_start(node)
        if node.dormant is not None:
            node.dormant.unwatch(node.index)
        return [*first, *names]

    def watched_by(self, node: Node) -> list[str]:
        """Whom a node watches."""
        return [*self._watched_from_start(node), *self._watching.get(node.name, ())]

    @staticmethod
    def _watched_from_start(node: Node) -> list[str]:
        peer = None if node.dormant is None else node.dormant.watched(node.index)
        return [] if peer is None else [peer]

    def forget_watch(self, node: Node, peer: str) -> None:
        """A node watches a peer no more."""
        if node.dormant is not None and node.dormant.watched(node.index) == peer:
            node.dormant.unwatch(node.index)
        else:
            del self._watching[node.name][peer], self._watchers[peer][node.name]

    def next_job(self) -> int:
        """A number for a job, unique in the run."""
        self._jobs += 1
        return self._jobs

    # Messages that do not arrive.

    def undelivered(self, sender: str, receiver: str, kind: type[Message], size: int, reason: str) -> None:
        """Record a message that did not reach a handler."""
        self.record(
            receiver,
            UndeliveredRow(sender=sender, receiver=receiver, type=kind.__name__, size_bytes=size, reason=reason),
        )

    def unreachable(self, node: Node, to: str, message: Message, size: int, reason: str = "gone") -> None:
        """There is no actor of that name, or no way for this message."""
        self.undelivered(node.name, to, type(message), size, reason)
        if message.correlation > 0:
            LocalMessage(node, Refusal(sender=to, correlation=-message.correlation, reason=reason), 0.0)

    def tell_gone(self, requester: str, node: Node, correlation: int) -> None:
        """A request met an actor that has left."""
        peer = self.known(requester)
        self._tell_last(node, peer, Refusal(sender=node.name, correlation=-correlation, reason="gone"))

    @staticmethod
    def _tell_last(node: Node, peer: Node, news: Message) -> None:
        """Let a peer know that an actor has left, behind all that the actor had sent to it."""

        def tell() -> None:
            waiting_s = max(node.control_free_s - node.env.now, 0.0)
            LocalMessage(peer, news, waiting_s + node.path_delay_s(peer))

        node.channels.behind(peer, tell)

    def through_the_wire(self, to: str, message: Message) -> Message:
        """Encode and decode a message (`strict_wire`); its arrays are computed for that."""
        size = frame_size(to, message)
        if size > self.deployment.max_frame_bytes:
            # It will not leave.
            return message
        changes: dict[str, Any] = {}
        for name in payload_fields(type(message)):
            payload = getattr(message, name)
            if payload is not None and not isinstance(payload, ArrayDict):
                changes[name] = self.evaluator.value(payload)
        if changes:
            message = replace(message, **changes)
        frame = b"".join(encode(to, message))
        if len(frame) != size:
            raise AssertionError(f"{type(message).__name__}: charged {size} bytes, its frame has {len(frame)}")
        return self.codec.decode_frame(frame)[1]

    # Records.

    def record(self, actor: str, row: Row) -> None:
        """Write a row down; a payload in it is computed at the latest when the run ends."""
        kind = type(row)
        names = self._deferred_columns.get(kind)
        if names is None:
            names = self._deferred_columns[kind] = tuple(c.name for c in columns(kind) if c.deferred)
        if names:
            for name in names:
                value = getattr(row, name)
                if isinstance(value, Payload) and not isinstance(value, ArrayDict):
                    self.evaluator.want(value)
        unwritten = self.outages.unwritten
        if unwritten and actor in unwritten and not isinstance(row, FaultRow):
            unwritten[actor].append((self.env._now, row))
        else:
            self.writer.row(self.env._now, actor, row)
        if self.observe is not None:
            self.observe(self.env._now, actor, row)
