"""Devices that go off and links that fall silent: what is lost, who gives whom up, and what a restart begins anew."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from core.actor import PeerGone, Refusal
from core.deployment import Fault
from core.devices import BatteryEmpty, Effect, PoweredOn
from core.records.rows import FaultRow
from sim.cell import LocalMessage
from sim.engine import Call
from sim.node import GONE, OFF, UP, Node

if TYPE_CHECKING:
    from sim.world import World


class Outages:
    """What goes wrong in one world, by itself or because the deployment says so."""

    def __init__(self, world: World) -> None:
        self.world = world

    def arrange(self) -> None:
        """Let the deployment's faults come at their times."""
        for fault in self.world.deployment.faults:
            Call(self.world.env, fault.at_s, partial(self._fault, fault))

    def device_event(self, node: Node, effect: Effect) -> None:
        """The device went off or came back by itself."""
        if isinstance(effect, BatteryEmpty):
            self.power_off(node, "battery_empty")
        elif isinstance(effect, PoweredOn):
            self.power_on(node)

    def _fault(self, fault: Fault) -> None:
        node = self.world.known(fault.target)
        env = self.world.env
        detail = "" if fault.duration_s is None else f"for {fault.duration_s:g} s"
        self.world.record(node.name, FaultRow(kind=fault.kind, detail=detail))
        if fault.kind == "link_down":
            node.set_link(up=False)
            if fault.duration_s is not None:
                Call(env, env.now + fault.duration_s, partial(node.set_link, up=True))
        elif node.state < OFF:
            node.apply(node.device.crash(env.now))
            self.power_off(node, "crash")
            if fault.duration_s is not None:
                Call(env, env.now + fault.duration_s, partial(self._restart, node))

    def _restart(self, node: Node) -> None:
        if node.state == OFF:
            node.apply(node.device.restart(self.world.env.now))

    def power_off(self, node: Node, why: str) -> None:
        """The device of a node went off: what it held is lost."""
        if node.state == GONE:
            return
        node.stop(OFF, "device")
        if why == "crash":
            node.note("crash")
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
            watcher.channels.drop(node, "gone")
            LocalMessage(watcher, PeerGone(peer=node.name), 0.0)
        if node.state != OFF:
            # The silence is mutual: it misses those whom it watches, too.
            for peer in self.world.forget_watches(node):
                LocalMessage(node, PeerGone(peer=peer), 0.0)
