"""A placement in its node: the device, whether it and its link are up, and the actor that lives on it.

While the link is down by a fault, what would cross it waits here; while the device is off, it is lost. After
`peer_timeout_s` of either, the peers who watch the actor give it up, unless it is heard before.
"""

from __future__ import annotations

import asyncio
import enum
from collections import deque
from typing import NamedTuple, Protocol

from core.actor import DeviceFailed, Message, PeerGone, Refusal
from core.deployment import Deployment, Fault, Placement
from core.records.rows import FaultRow, PlacementRow, Row
from real_runtime.cell import Cell, Host
from real_runtime.emulated import EmulatedMachine
from real_runtime.host import HostMachine
from real_runtime.processor import Processor


class State(enum.Enum):
    """What has become of a place."""

    UP = enum.auto()
    LINK_DOWN = enum.auto()
    OFF = enum.auto()
    GONE = enum.auto()


class Surroundings(Host, Protocol):
    """What a place asks of its node, beside what its cell asks."""

    deployment: Deployment

    def hand_over(self, sender: str, to: str, message: Message) -> None:
        """Send without waiting."""

    def delivered(self, receiver: str, message: Message, size_bytes: int, sent_s: float) -> None:
        """Record a delivery."""

    def undelivered(self, receiver: str, message: Message, size_bytes: int, reason: str) -> None:
        """Record a message that reached no handler."""

    def missed(self, place: Place) -> None:
        """Let those who watch the actor give it up."""

    def forget_watches(self, watcher: str) -> list[str]:
        """Whom an actor watched; it does not any more."""

    def main_stopped(self, reason: str) -> None:
        """The device of the main actor went off."""


class Resident(NamedTuple):
    """An actor to be placed: `start_s` is when it gets its `Start`, `member` whether it belongs to a population."""

    placement: Placement
    start_s: float = 0.0
    member: bool = False


def residents(deployment: Deployment) -> list[Resident]:
    """All actors of a deployment; here a population is simply so many actors, none of which ever rests."""
    found = [Resident(placement) for placement in deployment.placements]
    for population in deployment.populations:
        for index in range(population.count):
            found.append(Resident(population.place(index), population.start_s(index), True))
    return found


class Place:
    """See the module."""

    def __init__(self, world: Surroundings, resident: Resident, processor: Processor) -> None:
        placement = resident.placement
        self.placement = placement
        self._resident = resident
        self.name = placement.name
        self.state = State.UP
        self._world = world
        kind = EmulatedMachine if world.deployment.device_mode == "emulated" else HostMachine
        self.machine: EmulatedMachine | HostMachine = kind(placement, world.clock, processor, self)
        self.cell = self._make()
        self._link_faults = 0
        self._held_out: deque[tuple[str, Message]] = deque()
        self._held_in: deque[tuple[Message, int, float]] = deque()
        #: Requests that the actor had taken when its device went off.
        self._unanswered: list[tuple[str, int]] = []
        #: Counts up whenever the place is heard again after silence.
        self._heard = 0
        self._timers: list[asyncio.TimerHandle] = []
        self._stopping: list[Cell] = []

    def _make(self) -> Cell:
        actor = self.placement.make()
        state = type(actor).State
        if self._resident.member and state is not None:
            actor.state = state()
        return Cell(self._world, self.name, actor, self.machine)

    # Life.

    def start(self) -> None:
        """The study begins."""
        placement = self.placement
        emulated = isinstance(self.machine, EmulatedMachine)
        self.note(
            PlacementRow(
                profile=self.machine.view.profile,
                link=placement.link.name,
                region=placement.region,
                battery_j=placement.profile.battery_j if emulated else None,
            )
        )
        self.machine.start()
        self.cell.begin(self._resident.start_s)
        for fault in self._world.deployment.faults:
            if fault.target == self.name:
                self._after(fault.at_s, self._fault, fault)

    async def close(self, limit_s: float) -> None:
        """The run is over."""
        for timer in self._timers:
            timer.cancel()
        self.cell.stop()
        for cell in (*self._stopping, self.cell):
            await cell.stopped(limit_s)

    def leave(self) -> None:
        """The actor's life has ended."""
        self.state = State.GONE
        self.cell.stop()

    def _after(self, seconds: float, call: object, *arguments: object) -> None:
        wall_s = self._world.clock.wall(seconds)
        self._timers.append(asyncio.get_running_loop().call_later(wall_s, call, *arguments))  # type: ignore[arg-type]

    # Messages.

    def may_send(self, to: str, message: Message) -> bool:
        """Whether a message may leave now; if not, it waits here or is lost."""
        if self.state is State.LINK_DOWN:
            self._held_out.append((to, message))
        elif self.state is not State.UP:
            self._world.undelivered(to, message, 0, "device")
        return self.state is State.UP

    def arrive(self, message: Message, size_bytes: int, sent_s: float) -> None:
        """A message has come to the device."""
        world = self._world
        if self.state is State.LINK_DOWN:
            self._held_in.append((message, size_bytes, sent_s))
            return
        if self.state is State.OFF:
            world.undelivered(self.name, message, size_bytes, "device")
            return
        if self.state is State.GONE:
            reason: str | None = "gone"
        else:
            self.machine.count_received(size_bytes)
            reason = self.cell.deliver(message)
        if isinstance(message, Refusal) and message.reason == "gone":
            # News of a peer, not a message of one.
            return
        if reason is None:
            world.delivered(self.name, message, size_bytes, sent_s)
            return
        world.undelivered(self.name, message, size_bytes, reason)
        if message.correlation > 0:
            self.refuse(message.sender, message.correlation, reason)

    def refuse(self, requester: str, correlation: int, reason: str) -> None:
        """Tell a requester that there will be no reply."""
        refusal = Refusal(sender=self.name, correlation=-correlation, reason=reason)
        self._world.hand_over(self.name, requester, refusal)

    # What the device tells.

    def note(self, row: Row) -> None:
        self._world.record(self.name, row)

    def power_off(self, reason: str) -> None:
        if self.state is State.GONE:
            return
        self.state = State.OFF
        if reason == "crash":
            self.machine.note("crash")
        self._heard += 1
        self._unanswered.extend(self.cell.open_requests)
        self.cell.stop()
        self._stopping.append(self.cell)
        for message, size_bytes, _ in self._held_in:
            self._world.undelivered(self.name, message, size_bytes, "device")
        for to, message in self._held_out:
            self._world.undelivered(to, message, 0, "device")
        self._held_in.clear()
        self._held_out.clear()
        self._world.forget_watches(self.name)
        if self.name == self._world.deployment.main:
            self._world.main_stopped(f"the device of {self.name} went off ({reason})")
            return
        self._miss()

    def power_on(self) -> None:
        if self.state is not State.OFF:
            return
        self.state = State.UP
        self.machine.note("restart")
        # Those who have not yet missed it learn now that it has lost its state.
        self._lose(self._heard)
        self._heard += 1
        if self._link_faults:
            self.state = State.LINK_DOWN
            self.machine.note("link_down")
            self._miss()
        self.cell = self._make()
        self.cell.begin()

    # Faults.

    def _fault(self, fault: Fault) -> None:
        detail = "" if fault.duration_s is None else f"for {fault.duration_s:g} s"
        self.note(FaultRow(kind=fault.kind, detail=detail))
        if fault.kind == "link_down":
            self._set_link(False)
            if fault.duration_s is not None:
                self._after(fault.duration_s, self._set_link, True)
        elif self.state in (State.UP, State.LINK_DOWN):
            self.machine.crash()
            self.power_off("crash")
            if fault.duration_s is not None:
                self._after(fault.duration_s, self._restart)

    def _restart(self) -> None:
        if self.state is State.OFF:
            self.machine.restart()

    def _set_link(self, up: bool) -> None:
        self._link_faults += -1 if up else 1
        down = self._link_faults > 0
        if self.state not in (State.UP, State.LINK_DOWN) or down == (self.state is State.LINK_DOWN):
            return
        self.state = State.LINK_DOWN if down else State.UP
        self.machine.note("link_down" if down else "link_up")
        if down:
            self._miss()
            return
        self._heard += 1
        held_in, self._held_in = self._held_in, deque()
        held_out, self._held_out = self._held_out, deque()
        for message, size_bytes, sent_s in held_in:
            self.arrive(message, size_bytes, sent_s)
        for to, message in held_out:
            self._world.hand_over(self.name, to, message)

    def _miss(self) -> None:
        self._after(self._world.deployment.peer_timeout_s, self._lose, self._heard)

    def _lose(self, heard: int) -> None:
        """Silence has lasted too long, or state was lost: watchers and requesters give the actor up."""
        if heard != self._heard or self.state is State.GONE:
            return
        for requester, correlation in self._unanswered:
            self.refuse(requester, correlation, "gone")
        self._unanswered.clear()
        self._world.missed(self)
        if self.state is not State.OFF:
            # The silence is mutual: it misses those whom it watches, too.
            for peer in self._world.forget_watches(self.name):
                self.cell.take_local(PeerGone(peer=peer))


def lost_its_device(error: BaseException | None) -> bool:
    """Whether an actor failed only because its device did."""
    while error is not None:
        if isinstance(error, DeviceFailed):
            return True
        error = error.__cause__
    return False
