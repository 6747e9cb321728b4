"""Populations whose actors mostly rest: an actor at rest is a row of numbers and its timers, nothing else.

A message or a timer wakes an actor: node, device and actor are made from the placement and the row, bit for bit as
they were. Idle ones are put back when more than `max_live` are awake, and actors with users whenever a page of
these is opened. Neither changes a result, which a test holds by running the same world with and without rest.
"""

from __future__ import annotations

import functools
from array import array
from collections.abc import Callable
from math import inf
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
import numpy.typing as npt

from core.actor import Start
from core.availability import ROW, Course
from core.deployment import Deployment, Partition, Population
from core.devices import ROW_LENGTH, Effect
from sim.attendance import Habit, first_answer, replay
from sim.node import RESTED, UP

if TYPE_CHECKING:
    from sim.attendance import _Group
    from sim.cell import Cell
    from sim.node import Node
    from sim.world import World

_START = Start()
#: Seconds of the calendar's pages: a resting device with an event ahead is woken at the start of that page.
PAGE_S = 3600.0


class _StartTimer:
    """The time of an actor's `Start`."""

    __slots__ = ("generation", "index", "owner")

    def __init__(self, owner: Dormant, index: int) -> None:
        self.owner = owner
        self.index = index
        self.generation = 0

    def fire(self) -> None:
        self.generation = 1
        node = self.owner.node(self.index)
        if node.life == 0:
            # One that crashed before has had its start with its restart.
            node.take_local(_START)


class _Page:
    """Resting devices with an event of their own within one page of the calendar."""

    __slots__ = ("generation", "indices", "number", "owner")

    def __init__(self, owner: Dormant, number: int) -> None:
        self.owner = owner
        self.number = number
        self.generation = 0
        self.indices = array("q")
        owner.env.set_timer(number * PAGE_S, self, 0)

    def fire(self) -> None:
        self.generation = 1
        del self.owner.calendar[self.number]
        for index in self.indices:
            # Awake, the node arms its device's exact time; one that was woken meanwhile has done so already.
            self.owner.node(index)


def _next_page_s(now: float) -> float:
    return (now // PAGE_S + 1.0) * PAGE_S


def _impaired(deployment: Deployment, population: Population) -> frozenset[int]:
    """Those of a population with a reflex whom a fault befalls at the study's beginning."""
    found: set[int] = set()
    if population.reflex is not None:
        for fault in deployment.faults:
            if fault.at_s == 0.0:
                for name in fault.side if isinstance(fault, Partition) else (fault.target,):
                    prefix, _, number = name.rpartition("-")
                    if prefix == population.name and number.isdecimal():
                        found.add(int(number))
    return frozenset(found)


class Dormant:
    """The rows of one population."""

    def __init__(self, world: World, population: Population) -> None:
        self.world = world
        self.env = world.env
        self.population = population
        #: Awake nodes by number, in the order in which they woke.
        self.awake: dict[int, Node] = {}
        # numpy takes zeros from the system page by page: rows that were never written cost nothing.
        self._met = np.zeros(population.count, np.bool_)
        #: Rows of the devices that have rested, as many as there are, and where each stands: of a million few are met,
        #: and they would lie on all pages of a table for everybody.
        #: A row is that of the device, and when the last small message will have left it.
        self._devices = np.zeros((min(64, population.count), ROW_LENGTH + 1))
        self._places = np.zeros(population.count, np.int32)
        self._rested = 0
        self._requests = np.zeros(population.count, np.int32)
        self._columns: dict[str, np.ndarray[Any, np.dtype[Any]]] = {}
        #: State that is no number: (number, field) → value.
        self._values: dict[tuple[int, str], Any] = {}
        self.calendar: dict[int, _Page] = {}
        #: Its check-ins, if its devices have users; which devices are awake; and what their users did when last put to
        #: rest.
        self.group: _Group | None = None
        self.is_awake = np.zeros(population.count, np.bool_)
        #: Of actors with a reflex: who does not watch its peer any more as since the study's beginning; a peer watched
        #: anew is known to the world.
        self._unwatched = np.zeros(population.count, np.bool_)
        #: Who meets a fault at the study's beginning and gets its `Start` after it, as it has no reflex then.
        self.impaired = _impaired(world.deployment, population)
        self._courses = np.zeros(population.count if population.process is not None else 0, ROW)

    def start(self) -> None:
        """Arrange for everybody's `Start`."""
        for index in range(self.population.count):
            at = self.population.start_s(index)
            if at < inf:
                self.env.set_timer(at, _StartTimer(self, index), 0)
        for index in sorted(self.impaired):
            self.env.set_timer(0.0, _StartTimer(self, index), 0)

    def node(self, index: int) -> Node:
        """The node of an actor, woken if it rests."""
        node = self.awake.get(index)
        return node if node is not None else self._wake(index)

    def _wake(self, index: int) -> Node:
        world = self.world
        if world.live >= world.rest_at:
            self._rest()
        placement = self.population.place(index)
        met = bool(self._met[index])
        course = self._course(index, placement.course, met)
        node = world.make_node(placement, self, index, 0 if course is None else course.state)
        if met:
            *device, node.control_free_s = self._devices[self._places[index]].tolist()
            node.device.from_row(device)
            node.take_counts()
        news = self._catch_up(node, course, met)
        if not met:
            node.introduce()
        node.apply(news)
        self.awake[index] = world.nodes[placement.name] = node
        self.is_awake[index] = True
        world.live += 1
        if self.group is not None:
            self.group.empty_s[index] = inf
            world.attendance.set_resting(self.group, index, False)
        return node

    def _course(self, index: int, begin: Callable[[], Course] | None, met: bool) -> Course | None:
        """What the user of a device did when it was last awake, or at the study's beginning."""
        process = self.population.process
        if met and process is not None:
            return Course(process, index, self._courses[index].item())
        return None if begin is None else begin()

    def _catch_up(self, node: Node, course: Course | None, met: bool) -> list[Effect]:
        """Take a device and its user to the present; what of it is news."""
        now = self.env._now
        if course is None:
            # What is wrong with it from its beginning on is so before its actor begins.
            return [] if met else node.device.on_timer(now)
        news = [] if met else first_answer(node, course)
        news += replay(node, course, now)
        node.habit = Habit(node, course)
        return news

    def watched(self, index: int) -> str | None:
        """Whom an actor watches since the study's beginning; None for nobody, or not any more."""
        reflex = self.population.reflex
        return None if reflex is None or self._unwatched[index] else reflex.to

    def unwatch(self, index: int) -> None:
        """An actor watches no more whom it did since the study's beginning."""
        self._unwatched[index] = True

    def unwatch_all(self, peer: str) -> list[int]:
        """Nobody watches a peer any more as since the study's beginning; who did."""
        reflex = self.population.reflex
        if reflex is None or reflex.to != peer:
            return []
        found = np.flatnonzero(~self._unwatched).tolist()
        self._unwatched[:] = True
        return found

    def _page(self, number: int) -> _Page:
        page = self.calendar.get(number)
        if page is None:
            page = self.calendar[number] = _Page(self, number)
        return page

    def arrivals(
        self,
        to: str,
        sent_s: npt.NDArray[np.float64],
        devices: npt.NDArray[np.int64],
        sizes: npt.NDArray[np.int32],
    ) -> npt.NDArray[np.float64]:
        """When small messages of resting devices arrive: as `Node.transmit` has it, for many at once."""
        if not devices.size:
            return np.empty(0)
        world, population, link = self.world, self.population, self.population.link
        if link is None or len(population.regions) != 1:
            raise ValueError(f"the population {population.name!r} needs one link and one region for its check-ins")
        zone, peer = world.zones[population.regions[0]], world.nodes[to]
        multiples = 1.0 if population.link_multiples is None else population.link_multiples[devices]
        pace = np.maximum(1 / (link.up_bytes_per_s * multiples * (1 - link.loss)), peer.down_s_per_byte)
        delay_s = link.latency_s + world.delays_s[zone][peer.zone]
        found: npt.NDArray[np.float64] = sent_s + sizes * pace + delay_s + peer.latency_s
        return found

    def restore(self, index: int, cell: Cell) -> None:
        """Give a woken actor its state back, unless a crash has lost it."""
        remembered = self._met[index] and not cell.node.life
        if remembered:
            cell.requests = int(self._requests[index])
        kind = cell.actor.State
        if kind is None:
            return
        state = kind()
        if remembered:
            for name in kind.__struct_fields__:
                column = self._columns.get(name)
                if column is not None:
                    setattr(state, name, column[index].item())
                elif (index, name) in self._values:
                    setattr(state, name, self._values.pop((index, name)))
        cell.actor.state = state

    def _rest(self) -> None:
        """Put idle actors to rest, longest awake first, until half of the room is free."""
        world = self.world
        for dormant in world.populations.values():
            dormant.rest_idle(most=world.max_live // 2)
        if self.env.stale * 64 > len(self.env._queue):
            # The overtaken timers of nodes that rest now would keep these from going.
            self.env.sweep()
        # Where most are busy there is no use in looking again soon.
        world.rest_at = max(world.max_live, 2 * world.live)

    def rest_idle(self, most: int = 0) -> None:
        """Put idle actors of this population to rest, longest awake first, until so many are awake in the world."""
        for index, node in list(self.awake.items()):
            if self.world.live <= most:
                break
            if self.may_rest(node):
                self.put_to_rest(index, node)

    def may_rest(self, node: Node) -> bool:
        """Whether a row can hold all there is of a node and its actor, and its device has no event on this page."""
        return (
            node.rests
            and node.state == UP
            # What its user does at this very moment is still its actor's to say: a reflex speaks of what comes later.
            and (node.habit is None or node.habit.course.next_s > node.env._now)
            and (self.group is not None or node.armed_s >= _next_page_s(node.env._now))
            and not (node.jobs or node.link_faults or node.heard or node.unanswered or node.held_in or node.held_out)
            and node.device.resting
            and (self.group is None or self.group.may_rest(node.device, node.env._now))
            and node.quiet
            and (node.cell is None or node.cell.idle)
        )

    def put_to_rest(self, index: int, node: Node) -> None:
        """Write a node and its actor into their row and let go of them."""
        if not self._met[index]:
            self._met[index] = True
            self._places[index] = self._new_row()
        self._devices[self._places[index]] = [*node.device.to_row(), node.control_free_s]
        cell = node.cell
        if cell is not None:
            self._requests[index] = cell.requests
            if cell.actor.State is not None:
                self._keep(index, cell.actor.state)
            cell.release()
        if self.group is not None and node.habit is not None:
            self._courses[index] = node.habit.course.row()
            self.group.put_to_rest(index, node.device, self.env._now)
            self.world.attendance.set_resting(self.group, index, True)
        elif node.armed_s < inf:
            self._page(int(node.armed_s // PAGE_S)).indices.append(index)
        self._let_go(index, node)

    def _let_go(self, index: int, node: Node) -> None:
        """Of a node: nothing holds it any more."""
        if node.armed_s < inf:
            node.generation += 1
            self.env.forget_timer()
        if node.habit is not None:
            node.habit.release()
        node.state = RESTED
        node.cell = None
        del self.awake[index]
        self.is_awake[index] = False
        del self.world.nodes[node.name]
        self.world.live -= 1

    def _new_row(self) -> int:
        """The number of a row that nobody has."""
        rows = self._devices
        if self._rested == len(rows):
            more = min(max(len(rows) // 4, 64), self.population.count - len(rows))
            self._devices = np.concatenate([rows, np.zeros((more, ROW_LENGTH + 1))])
        self._rested += 1
        return self._rested - 1

    @staticmethod
    @functools.cache
    def _defaults(kind: type[msgspec.Struct]) -> msgspec.Struct:
        return kind()

    def _keep(self, index: int, state: msgspec.Struct) -> None:
        for name in state.__struct_fields__:
            value = getattr(state, name)
            kind = type(value)
            column = self._columns.get(name)
            if column is None and (index, name) not in self._values and kind in (int, float, bool):
                dtype = {int: np.int64, float: np.float64, bool: np.bool_}[kind]
                column = self._columns[name] = np.zeros(self.population.count, dtype)
            if column is None:
                if value != getattr(self._defaults(type(state)), name) or (index, name) in self._values:
                    self._values[index, name] = value
            elif column.dtype.kind == {int: "i", float: "f", bool: "b"}.get(kind):
                column[index] = value
            else:
                raise TypeError(f"{name} of a resting actor was a {column.dtype} and is now {value!r}")

    def close(self) -> None:
        """The run is over: record the energy of every device that was met."""
        for index in np.flatnonzero(self._met | self.is_awake).tolist():
            rested = index not in self.awake
            node = self.node(index)
            node.close()
            if rested:
                # Its row would be read by nobody.
                self._let_go(index, node)
