"""A placement in its node: the device, whether it and its link are up, and the actor that lives on it.

While the link is down by a fault, what would cross it waits here; while the device is off, it is lost. After
`peer_timeout_s` of either, the peers who watch the actor give it up, unless it is heard before.
"""

from __future__ import annotations

import asyncio
import enum
from collections import deque
from typing import NamedTuple, Protocol

from core.actor import DeviceChanged, DeviceFailed, Message, PeerGone, Refusal
from core.deployment import Deployment, Placement
from core.records.rows import PlacementRow, Row
from real_runtime.cell import Cell, Host
from real_runtime.clock import OwnClock
from real_runtime.emulated import EmulatedMachine
from real_runtime.faults import STOPS, PlaceFaults
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

    def can_reach(self, to: str, message: Message) -> bool:
        """Whether there is such an actor, and the message one that may go to it."""

    def keep_rows(self, actor: str, keep: bool) -> None:
        """What an actor records waits from now on, or is written."""

    def watched_by(self, watcher: str) -> list[str]:
        """Whom an actor watches."""

    def forget_watch(self, watcher: str, peer: str) -> None:
        """An actor watches a peer no more."""

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
        self.faults = PlaceFaults(world.deployment, self)
        self._own_clock = OwnClock(world.clock, self.faults.clock)
        self.cell = self._make(0)
        self._link_faults = 0
        self._held_out: deque[tuple[str, Message]] = deque()
        self._held_in: deque[tuple[Message, int, float]] = deque()
        #: Requests that the actor had taken when its device went off.
        self._unanswered: list[tuple[str, int]] = []
        #: Counts up whenever the place is heard again after silence.
        self._heard = 0
        self._timers: list[asyncio.TimerHandle] = []
        self._stopping: list[Cell] = []

    def _make(self, requests: int) -> Cell:
        actor = self.placement.make()
        state = type(actor).State
        if self._resident.member and state is not None:
            actor.state = state()
        return Cell(self._world, self.name, actor, self.machine, self._own_clock, requests)

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
        # Before the actor's first step: what is wrong from time zero on is so when it begins.
        self.faults.start()

    async def close(self, limit_s: float) -> None:
        """The run is over."""
        for timer in self._timers:
            timer.cancel()
        self.cell.stop()
        for cell in (*self._stopping, self.cell):
            await cell.stopped(limit_s)

    def leave(self) -> None:
        """The actor's life has ended."""
        self.faults.left()
        self.state = State.GONE
        self.cell.stop()

    def now(self) -> float:
        return self._world.clock.now

    def after(self, seconds: float, call: object, *arguments: object) -> None:
        """Call after seconds of the study, unless the run is over by then."""
        wall_s = self._world.clock.wall(seconds)
        self._timers.append(asyncio.get_running_loop().call_later(wall_s, call, *arguments))  # type: ignore[arg-type]

    # Messages.

    def outgoing(self, to: str, message: Message) -> list[tuple[str, Message]]:
        """What may leave now that the actor has sent a message; what may not waits here or is lost."""
        if self.state not in (State.UP, State.LINK_DOWN):
            self._world.undelivered(to, message, 0, "device")
            return []
        leaving = [(to, message)]
        if self.faults.of_messages and self._world.can_reach(to, message):
            leaving = self.faults.offered_out(to, message)
        if self.state is State.LINK_DOWN:
            self._held_out.extend(leaving)
            return []
        return leaving

    def pass_out(self, to: str, message: Message) -> None:
        if self.faults.holds_out(to, message):
            return
        if self.state is State.LINK_DOWN:
            self._held_out.append((to, message))
        elif self.state is State.UP:
            self._world.hand_over(self.name, to, message)
        else:
            self._world.undelivered(to, message, 0, "device")

    def lost_bytes(self, size_bytes: int) -> None:
        self.machine.count_sent(size_bytes)

    def undelivered(self, sender: str, receiver: str, message: Message, size_bytes: int, reason: str) -> None:
        self._world.undelivered(receiver, message, size_bytes, reason)

    def arrive(self, message: Message, size_bytes: int, sent_s: float) -> None:
        """A message has come to the device."""
        if not self.faults.of_messages or self.state not in (State.UP, State.LINK_DOWN):
            self._come_in(message, size_bytes, sent_s)
            return
        for arrival in self.faults.offered_in(message, size_bytes, sent_s):
            self._come_in(*arrival)

    def pass_in(self, message: Message, size_bytes: int, sent_s: float) -> None:
        if not self.faults.holds_in(message, size_bytes, sent_s):
            self._come_in(message, size_bytes, sent_s)

    def _come_in(self, message: Message, size_bytes: int, sent_s: float) -> None:
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
            self.faults.arrived()
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

    def mark(self, event: str) -> None:
        self.machine.note(event)

    def keep_rows(self, keep: bool) -> None:
        self._world.keep_rows(self.name, keep)

    def watched(self) -> list[str]:
        return self._world.watched_by(self.name)

    def give_up(self, peer: str) -> None:
        self._world.forget_watch(self.name, peer)
        self.cell.take_local(PeerGone(peer=peer))

    def power_off(self, reason: str) -> None:
        if self.state is State.GONE:
            return
        self.state = State.OFF
        if reason in STOPS:
            self.machine.note(reason)
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
        self.faults.drop("device")
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
        self.cell = self._make(self.cell.requests)
        self.cell.begin()

    def changed(self, before: int, after: int) -> None:
        if self.state in (State.UP, State.LINK_DOWN) and DeviceChanged in type(self.cell.actor).accepts:
            self.cell.take_local(DeviceChanged(before=before, after=after))

    # Faults.

    def stop(self, kind: str) -> bool:
        if self.state not in (State.UP, State.LINK_DOWN):
            return False
        self.machine.crash(without_battery=kind == "battery_pulled")
        self.power_off(kind)
        return True

    def restart(self) -> None:
        if self.state is State.OFF:
            self.machine.restart()

    def slow_down(self, share: float) -> None:
        self.machine.slow_down(share)

    def set_link(self, up: bool) -> None:
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
            self.pass_in(message, size_bytes, sent_s)
        for to, message in held_out:
            self.pass_out(to, message)

    def _miss(self) -> None:
        self.after(self._world.deployment.peer_timeout_s, self._lose, self._heard)

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
