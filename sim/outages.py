"""What goes wrong in a simulated world: when faults begin and end, what is lost, and who gives whom up."""

from __future__ import annotations

import math
from collections import Counter
from functools import partial
from typing import TYPE_CHECKING

from core.actor import PeerGone, Refusal
from core.deployment import ClockSkew, Fault, MessageFault, Partition, Slowdown
from core.devices import BatteryEmpty, Effect, Overheated, PoweredOn
from core.faults import ActorClock, described
from core.records.rows import FaultRow, Row
from sim.cell import LocalMessage
from sim.engine import Call
from sim.faults import FaultyNode
from sim.node import GONE, OFF, UP, Node

if TYPE_CHECKING:
    from sim.world import World

#: What turns a device off; its end is a restart, which is recorded as such.
_STOPS = frozenset(("crash", "battery_pulled"))


class Outages:
    """The faults of one world, and the devices that went off by themselves."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.partitions: list[Partition] = []
        #: Clocks of the actors that may be told a wrong time.
        self.clocks: dict[str, ActorClock] = {}
        #: What actors have recorded while their disk was full.
        self.unwritten: dict[str, list[tuple[float, Row]]] = {}
        self._in_force: Counter[tuple[str, str]] = Counter()
        self._speeds: dict[str, list[float]] = {}
        #: Devices without their battery, and whether they are to charge when it is back.
        self._pulled: dict[str, bool] = {}
        for fault in world.deployment.faults:
            if isinstance(fault, ClockSkew):
                self.clocks[fault.target] = ActorClock()

    def arrange(self) -> None:
        """Let the deployment's faults come at their times; those that wait for messages are with their nodes."""
        for fault in self.world.deployment.faults:
            if fault.at_s < math.inf:
                Call(self.world.env, fault.at_s, partial(self.begin, fault))
            elif not isinstance(fault, Partition):
                # Whoever rests has no count.
                self.world.known(fault.target)

    def close(self) -> None:
        """The run is over: say what was never written."""
        for actor, rows in self.unwritten.items():
            if rows:
                detail = f"{len(rows)} rows: the disk was full when the run ended"
                self.world.record(actor, FaultRow(kind="records_lost", detail=detail))

    def device_event(self, node: Node, effect: Effect) -> None:
        """The device went off or came back by itself."""
        if isinstance(effect, BatteryEmpty):
            self.power_off(node, "battery_empty")
        elif isinstance(effect, Overheated):
            self.power_off(node, "overheated")
        elif isinstance(effect, PoweredOn):
            self.power_on(node)

    def follow_user(self, node: Node, charging: bool, in_use: bool) -> None:
        """The user of a device plugs it in or out, takes it up or puts it down; a pulled battery charges later."""
        if node.name in self._pulled:
            self._pulled[node.name], charging = charging, node.device.charging
        node.device.follow_user(self.world.env.now, charging=charging, in_use=in_use)
        node.take_counts()
        node.arm()

    # Faults.

    def begin(self, fault: Fault) -> None:
        """A fault begins now."""
        if isinstance(fault, Partition):
            self._part(fault)
            return
        node = self.world.known(fault.target)
        self.world.record(node.name, FaultRow(kind=fault.kind, detail=described(fault, node.name)))
        if self._befalls(node, fault) and fault.duration_s is not None:
            Call(self.world.env, self.world.env.now + fault.duration_s, partial(self._end, node, fault))

    def _befalls(self, node: Node, fault: Fault) -> bool:
        """Do what a fault does; whether anything is to be undone at its end."""
        env = self.world.env
        if fault.kind in _STOPS:
            if node.state >= OFF:
                return False
            node.apply(node.device.crash(env.now))
            if fault.kind == "battery_pulled" and node.placement.profile.battery:
                self._pulled[node.name] = node.device.charging
                node.device.set_charging(env.now, False)
                node.apply([])
            self.power_off(node, fault.kind)
        elif fault.kind == "link_down":
            node.set_link(up=False)
        else:
            match fault:
                case MessageFault() if isinstance(node, FaultyNode):
                    node.message_faults.begin(fault)
                case Slowdown():
                    self._speeds.setdefault(node.name, []).append(fault.speed)
                    self._slow_down(node)
                case ClockSkew():
                    self.clocks[node.name].begin(fault, env.now)
            self._mark(node, fault.kind, 1)
            if fault.kind == "disk_full":
                self.unwritten.setdefault(node.name, [])
        return True

    def _end(self, node: Node, fault: Fault) -> None:
        env = self.world.env
        if fault.kind in _STOPS:
            if node.state == OFF:
                if self._pulled.pop(node.name, False):
                    node.device.set_charging(env.now, True)
                node.apply(node.device.restart(env.now))
            return
        if fault.kind == "link_down":
            node.set_link(up=True)
            return
        match fault:
            case MessageFault() if isinstance(node, FaultyNode):
                node.message_faults.end(fault)
            case Slowdown():
                self._speeds[node.name].remove(fault.speed)
                self._slow_down(node)
            case ClockSkew():
                self.clocks[node.name].end(fault, env.now)
        if fault.kind == "disk_full" and self._in_force[node.name, fault.kind] == 1:
            for time_s, row in self.unwritten.pop(node.name):
                self.world.writer.row(time_s, node.name, row)
        self._mark(node, fault.kind, -1)

    def _slow_down(self, node: Node) -> None:
        node.device.slow_down(self.world.env.now, math.prod(self._speeds[node.name]))
        node.apply([])

    def _mark(self, node: Node, kind: str, step: int) -> None:
        """Record the device's state at the beginning of the first fault of a kind and at the end of the last."""
        count = self._in_force[node.name, kind] = self._in_force[node.name, kind] + step
        if step > 0 and count == 1:
            node.note(kind)
        elif count == 0:
            node.note(f"{kind}_end")

    # Partitions.

    def _members(self, partition: Partition) -> list[FaultyNode]:
        nodes = [self.world.known(name) for name in partition.side]
        return [node for node in nodes if isinstance(node, FaultyNode)]

    def _part(self, partition: Partition) -> None:
        env = self.world.env
        self.partitions.append(partition)
        members = self._members(partition)
        for node in members:
            self.world.record(node.name, FaultRow(kind=partition.kind, detail=described(partition, node.name)))
            self._mark(node, partition.kind, 1)
            node.channels.pause(node.separated)
        Call(env, env.now + self.world.deployment.peer_timeout_s, partial(self._miss_each_other, partition))
        if partition.duration_s is not None:
            Call(env, env.now + partition.duration_s, partial(self._join, partition))

    def _join(self, partition: Partition) -> None:
        self.partitions = [other for other in self.partitions if other is not partition]
        members = self._members(partition)
        for node in members:
            self._mark(node, partition.kind, -1)
        # What has come as far as its receiver arrives before what has not left.
        for node in members:
            node.heal_in()
        for node in members:
            node.heal_out()

    def _miss_each_other(self, partition: Partition) -> None:
        """A partition has lasted for the time-out: its sides give each other up."""
        if not any(other is partition for other in self.partitions):
            return
        for node in self._members(partition):
            if node.state < OFF:
                for peer in self.world.watched_by(node):
                    if partition.separates(node.name, peer):
                        self.world.forget_watch(node, peer)
                        LocalMessage(node, PeerGone(peer=peer), 0.0)

    # Devices that go off and come back, links that fall silent.

    def power_off(self, node: Node, why: str) -> None:
        """The device of a node went off: what it held is lost."""
        if node.state == GONE:
            return
        node.stop(OFF, "device")
        if why in _STOPS:
            node.note(why)
        node.heard += 1
        node.life += 1
        requests: list[tuple[str, int]] = []
        if node.cell is not None:
            requests = [(request.sender, request.correlation) for request in node.cell.open_requests.values()]
            node.requests = node.cell.requests
            node.cell.kill()
            node.cell = None
        self.world.forget_watches(node)
        if node.name == self.world.deployment.main:
            self.world.main_stopped(why)
        node.unanswered.extend(requests)
        self.miss(node)

    def power_on(self, node: Node) -> None:
        """It is on again: its actor begins anew."""
        if node.state != OFF:
            return
        node.state = UP
        node.note("restart")
        # Those who have not yet missed it learn now that it has lost its state.
        self._lose(node, node.heard)
        node.heard += 1
        if node.link_faults:
            node.link_faults -= 1
            node.set_link(up=False)
        self.world.start(node)

    def miss(self, node: Node) -> None:
        """A node has fallen silent: after the time-out its peers give it up, unless it is heard before."""
        Call(
            self.world.env,
            self.world.env.now + self.world.deployment.peer_timeout_s,
            partial(self._lose, node, node.heard),
        )

    def _lose(self, node: Node, heard: int) -> None:
        if node.heard != heard or node.state == GONE:
            return
        for requester, correlation in node.unanswered:
            LocalMessage(
                self.world.known(requester), Refusal(sender=node.name, correlation=-correlation, reason="gone"), 0.0
            )
        node.unanswered.clear()
        for watcher in self.world.watchers_of(node):
            LocalMessage(watcher, PeerGone(peer=node.name), 0.0)
        if node.state != OFF:
            # The silence is mutual: it misses those whom it watches, too.
            for peer in self.world.forget_watches(node):
                LocalMessage(node, PeerGone(peer=peer), 0.0)
