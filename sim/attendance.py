"""The users of simulated devices: how their plugging in, taking up and walking away reaches devices, actors and peers.

The device of an awake actor follows its course by a timer of its own (`Habit`). Of those that rest nobody is woken:
what their actors would do is a `Reflex`, a message to one peer, and the device catches up when it is woken, through the
same transitions at the same times (`replay`). The check-ins of all resting devices are worked out a page of the
calendar at a time (`Attendance`), and delivered in order of arrival between whatever else happens. A resting device
whose battery could run out within a page is woken when that begins, since who is off checks in no more.

One thing is left out: check-ins of a resting device do not queue behind each other, as two within the time that one
takes to leave would.
"""

from __future__ import annotations

import bisect
from math import inf
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
from msgspec.structs import force_setattr

from core.actor import DeviceChanged, Message, News
from core.availability import CHARGING, IN_USE, STATES, Course, Table, Transitions, changes
from core.deployment import Endurance, crowd_of
from core.devices import BatteryEmpty, Device, Effect
from core.records.rows import AvailabilityRow
from core.wire import frame_size
from sim.node import OFF

if TYPE_CHECKING:
    from core.deployment import Reflex
    from sim.dormant import Dormant
    from sim.node import Node
    from sim.world import World

#: Length of a page, s.
PAGE_S: Final = 300.0
#: Share of the time that a battery lasts at the least for which a device rests: the rest is for the bytes of its
#: check-ins, and for the capacity that has gone since it was last plugged in.
MARGIN: Final = 0.98
#: Time between two rows of the table `availability`, s; a whole number of pages.
REPORT_S: Final = 900.0


class Habit:
    """The user of one awake device."""

    __slots__ = ("course", "generation", "node")

    def __init__(self, node: Node, course: Course) -> None:
        self.node = node
        self.course = course
        self.generation = 0
        self._arm()

    @property
    def state(self) -> int:
        """The present state."""
        return self.course.state

    def _arm(self) -> None:
        if self.course.next_s < inf:
            self.node.env.set_timer(self.course.next_s, self, self.generation)

    def fire(self) -> None:
        """The next transition is due."""
        self.generation += 1
        node, course = self.node, self.course
        before = course.state
        course.step()
        self._arm()
        if (before ^ course.state) & (CHARGING | IN_USE):
            node.world.outages.follow_user(node, bool(course.state & CHARGING), bool(course.state & IN_USE))
        if node.dormant is None:
            for change in changes(before, course.state):
                node.note(change)
        if node.state < OFF:
            cell = node.cell or node.world.wake(node)
            if DeviceChanged in cell.accepts:
                node.take_local(DeviceChanged(before=before, after=course.state))

    def release(self) -> Course:
        """Stop: the course goes on without a timer."""
        self.generation += 1
        if self.course.next_s < inf:
            self.node.env.forget_timer()
        return self.course


def replay(node: Node, course: Course, until_s: float) -> list[Effect]:
    """Take a device that was at rest through what happened up to a time, with the check-ins that it made.

    What its own events were is nobody's news any more, but for the battery having run out, which is returned.
    """
    news: list[Effect] = []
    dormant = node.dormant
    reflex = None if dormant is None else dormant.population.reflex
    while True:
        own_s = node.device.next_timer()
        if own_s <= min(course.next_s, until_s):
            news += [effect for effect in node.device.on_timer(own_s) if isinstance(effect, BatteryEmpty)]
            node.take_counts()
            continue
        if course.next_s > until_s:
            return news
        at_s, before = course.next_s, course.state
        course.step()
        if (before ^ course.state) & (CHARGING | IN_USE):
            state = course.state
            node.device.follow_user(at_s, charging=bool(state & CHARGING), in_use=bool(state & IN_USE))
            node.take_counts()
        if dormant is not None and reflex is not None:
            _reflect(node, dormant, reflex, at_s, reflex.answer(before, course.state))


def _size(population: str, index: int, reflex: Reflex, answer: int) -> int:
    """Bytes of the frame of a check-in."""
    message = reflex.message(index, answer)
    force_setattr(message, "sender", f"{population}-{index}")
    return frame_size(reflex.to, message)


def _reflect(node: Node, dormant: Dormant, reflex: Reflex, at_s: float, answer: int) -> None:
    """What a check-in leaves behind at its sender: bytes of its radio."""
    if answer:
        device, group = node.device, dormant.group
        # Most are known from when they were sent.
        size = int(group.sizes[answer, node.index]) if group is not None else 0
        if device.moved(at_s, sent=size or _size(dormant.population.name, node.index, reflex, answer)):
            device.settle(at_s)
        node.take_counts()


def first_answer(node: Node, course: Course) -> list[Effect]:
    """The study's beginning, for a device that is met later; what happens to it before its actor has its say."""
    news = node.device.on_timer(0.0)
    dormant = node.dormant
    reflex = None if dormant is None else dormant.population.reflex
    if dormant is not None and reflex is not None:
        if node.device.on:
            if node.index not in dormant.impaired:
                _reflect(node, dormant, reflex, 0.0, reflex.answer(None, course.state))
        elif dormant.group is not None:
            dormant.group.mute.append(node.index)
    return news


class _Group:
    """One population on the pages."""

    def __init__(self, dormant: Dormant, reflex: Reflex, table: Table, first: int) -> None:
        self.dormant = dormant
        self.reflex = reflex
        self.table = table
        #: Number of its first device among those of all groups.
        self.first = first
        self.answers = np.array(
            [[reflex.answer(before, after) for after in range(STATES)] for before in range(STATES)], np.int8
        )
        self.opening = np.array([reflex.answer(None, state) for state in range(STATES)], np.int8)
        kinds = max(int(self.answers.max()), int(self.opening.max())) + 1
        #: Bytes of each device's answers, once they are known.
        self.sizes = np.zeros((kinds, table.process.count), np.int32)
        #: Transitions up to the end of the present page, and the times of those in it.
        self.transitions = 0
        self.last_s = np.empty(0)
        self.check_ins = np.zeros(kinds, np.int64)
        endurance = dormant.population.endurance
        self.endurance = Endurance(np.full(table.process.count, inf), 1.0) if endurance is None else endurance
        #: Of each device at rest, when its battery could be empty at the earliest, on a clock of its own: as fast as
        #: time while it is in use, at `idle_share` of that while it is not. Infinite for those awake.
        self.empty_s = MARGIN * self.endurance.in_use_s
        #: Devices that were off when the study began (it may also be what they said then that has emptied others), and
        #: those with a fault then, whose actors speak for themselves.
        self.mute: list[int] = sorted(dormant.impaired)
        #: Up to when transitions are known.
        self.end_s = 0.0

    def until(self, end_s: float) -> Transitions:
        """Live through all transitions before `end_s`, and count what the batteries give for use meanwhile."""
        found = self.table.until(end_s)
        began = (found.after & IN_USE).astype(np.float64) - (found.before & IN_USE)
        # Of one that is in use as the page ends, `_pace` adds that end.
        np.add.at(self.empty_s, found.device, (1.0 - self.endurance.idle_share) * began * found.time_s)
        self.end_s = end_s
        return found

    def _pace(self, states: npt.NDArray[np.uint8]) -> npt.NDArray[np.float64]:
        """The clock at the page's end over that time, by a device's state, but for uses that have begun or ended."""
        return np.where(states & IN_USE, 1.0, self.endurance.idle_share)

    def may_be_empty(self) -> list[int]:
        """Devices at rest whose battery could be empty from the study's beginning on."""
        return np.flatnonzero(self.empty_s <= 0.0).tolist()

    def may_run_out(self) -> list[int]:
        """Devices at rest whose battery could be empty within the page."""
        return np.flatnonzero(self.empty_s <= self.end_s * self._pace(self.table.state)).tolist()

    def may_rest(self, device: Device, now: float) -> bool:
        """Whether nothing can be told of a device within the page; what happens is made up for when it is woken."""
        return device.severity == 0 and MARGIN * (device.empty_s(now) - now) > self.end_s - now

    def put_to_rest(self, index: int, device: Device, now: float) -> None:
        """A device rests from now on; until the end of the page it counts as in use."""
        lasts_s = MARGIN * (device.empty_s(now) - now) - (self.end_s - now)
        self.empty_s[index] = self.end_s * self._pace(self.table.state[index]) + lasts_s

    def sizes_of(self, devices: npt.NDArray[np.int64], answers: npt.NDArray[np.int8]) -> npt.NDArray[np.int32]:
        """Bytes of frames."""
        found = self.sizes[answers, devices]
        new = np.flatnonzero(found == 0)
        if new.size:
            who, what, values = devices[new], answers[new], self.reflex.values
            # A frame is as long as another with a name and a number as long: one of each kind is made.
            number = who if values is None else values[who]
            alike = np.stack([what, np.searchsorted(_POWERS, who, "right"), number])
            _, firsts, kind = np.unique(alike, axis=1, return_index=True, return_inverse=True)
            name, reflex = self.dormant.population.name, self.reflex
            sizes = [_size(name, int(who[first]), reflex, int(what[first])) for first in firsts.tolist()]
            self.sizes[what, who] = found[new] = np.array(sizes, np.int32)[kind.reshape(-1)]
        return found


class Attendance:
    """Check-ins of all resting devices: one entry of the loop stands for all that arrive before something else."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.env = world.env
        self.generation = 0
        self.groups: list[_Group] = []
        #: All devices that may rest, by number.
        self.crowd = crowd_of(world.deployment.populations)
        for first, dormant in zip(self.crowd.firsts, world.populations.values(), strict=False):
            population = dormant.population
            if population.process is not None and population.reflex is not None:
                group = _Group(dormant, population.reflex, Table(population.process), first)
                self.groups.append(group)
                dormant.group = group
        self._pages = _Pages(self) if self.groups else None
        self._firsts = np.array([group.first for group in self.groups])
        self._told = self._audience()
        #: What is on its way, by arrival: when it arrives, was sent, from whom, which answer, bytes, and whether it is
        #: sent at all, which it is not if its device is awake then.
        self._arrive: list[float] = []
        self._columns: list[npt.NDArray[Any]] = [np.empty(0, kind) for kind in _KINDS]
        self._sent: npt.NDArray[np.float64] = self._columns[1]
        #: Their order by device, and the devices in that order: those of one are found without looking at all.
        self._by_device: npt.NDArray[np.int64] = np.empty(0, np.int64)
        self._devices_in_order: npt.NDArray[np.int64] = self._columns[2]
        self._live = bytearray()
        self._live_array = np.frombuffer(self._live, np.bool_)
        self._answer: list[int] = []
        self._group: list[int] = []
        self._index: list[int] = []
        self._size: list[int] = []
        self._at = 0

    def _audience(self) -> _Audience | None:
        """The one actor that all of them tell the same kinds of news; None: there is no such actor."""
        reflexes = [group.reflex for group in self.groups]
        alike = {(reflex.to, reflex.kinds) for reflex in reflexes}
        if len(alike) != 1 or self.world.deployment.strict_wire:
            return None
        ((to, kinds),) = alike
        values = np.zeros(len(self.crowd), np.int64)
        for group in self.groups:
            if group.reflex.values is None:
                return None
            values[group.first : group.first + len(group.reflex.values)] = group.reflex.values
        return _Audience(to, kinds, values)

    @property
    def transitions(self) -> int:
        """Transitions of all populations up to now."""
        now = self.env._now
        return sum(group.transitions - int((group.last_s > now).sum()) for group in self.groups)

    def open_page(self, number: int) -> None:
        """Work out what resting devices send in a page."""
        begin_s, end_s = number * PAGE_S, (number + 1) * PAGE_S
        rest = [column[self._at :] for column in self._columns]
        rest[5] = self._live_array[self._at :].copy()
        # Of all groups before the rest: who is woken may put others to rest.
        found = [rest, *(self._opening(group) for group in self.groups if number == 0)]
        for group in self.groups:
            if number and begin_s % REPORT_S == 0.0:
                self._report(group)
            transitions = group.until(end_s)
            group.transitions += len(transitions.time_s)
            group.last_s = transitions.time_s
            answers = group.answers[transitions.before, transitions.after]
            chosen = np.flatnonzero(answers)
            found.append(self._sendings(group, transitions.time_s[chosen], transitions.device[chosen], answers[chosen]))
        columns = [np.concatenate(parts) for parts in zip(*found, strict=True)]
        order = np.argsort(columns[0], kind="stable")
        self._columns = columns = [column[order] for column in columns]
        self._arrive, self._answer, self._size = (columns[place].tolist() for place in (0, 3, 4))
        self._sent, devices = columns[1], columns[2]
        self._by_device = np.argsort(devices, kind="stable")
        self._devices_in_order = devices[self._by_device]
        self._live = bytearray(columns[5].tobytes())
        self._live_array = np.frombuffer(self._live, np.bool_)
        self._at = 0
        numbers = np.searchsorted(self._firsts, devices, "right") - 1
        self._group = numbers.tolist()
        self._index = (devices - self._firsts[numbers]).tolist()
        self._arm()
        for group in self.groups:
            # Whatever else they did would come between check-ins that could be told at once.
            group.dormant.rest_idle()
            for index in group.may_run_out():
                group.dormant.node(index)

    def _opening(self, group: _Group) -> list[npt.NDArray[Any]]:
        """What is sent at the study's beginning; who cannot feed itself even then is off, and woken to be so."""
        answers = group.opening[group.table.state]
        for index in group.may_be_empty():
            group.dormant.node(index)
        answers[group.mute] = 0
        devices = np.flatnonzero(answers)
        columns = self._sendings(group, np.zeros(len(devices)), devices, answers[devices])
        # Those who are awake by now are so from after that on.
        columns[5][:] = True
        return columns

    def _sendings(
        self,
        group: _Group,
        sent_s: npt.NDArray[np.float64],
        devices: npt.NDArray[np.int64],
        answers: npt.NDArray[np.int8],
    ) -> list[npt.NDArray[Any]]:
        """Columns of check-ins; they travel as `Node.transmit` says."""
        sizes = group.sizes_of(devices, answers)
        group.check_ins += np.bincount(answers, minlength=len(group.check_ins))
        arrive = group.dormant.arrivals(group.reflex.to, sent_s, devices, sizes)
        live = ~group.dormant.is_awake[devices]
        np.subtract.at(group.empty_s, devices, group.endurance.message_s)
        return [arrive, sent_s, devices + group.first, answers, sizes, live]

    def _report(self, group: _Group) -> None:
        """Record what state a population is in."""
        counts = group.table.counts()
        states = np.arange(STATES)
        eligible = group.opening[states] != 0
        self.world.record(
            group.dormant.population.name,
            AvailabilityRow(
                devices=int(counts.sum()),
                eligible=int(counts[eligible].sum()),
                in_use=int(counts[states & 1 != 0].sum()),
                charging=int(counts[states & 2 != 0].sum()),
                metered=int(counts[states & 4 != 0].sum()),
                transitions=group.transitions,
            ),
        )

    def set_resting(self, group: _Group, device: int, resting: bool) -> None:
        """A device was woken or put to rest: what it has not sent yet is left to its actor, or to its reflex."""
        number = group.first + device
        begin, end = np.searchsorted(self._devices_in_order, (number, number + 1))
        if begin < end:
            its_own = self._by_device[begin:end]
            self._live_array[its_own[self._sent[its_own] > self.env._now]] = resting

    def _arm(self) -> None:
        # The next one, sent or not: its device may yet be put to rest.
        if self._at < len(self._arrive):
            self.env.set_timer(self._arrive[self._at], self, self.generation)

    def fire(self) -> None:
        """Deliver all that arrives before anything else happens."""
        self.generation += 1
        queue, singly = self.world.env._queue, _MANY
        while self._at < len(self._arrive):
            end = bisect.bisect_right(self._arrive, queue[0][0], self._at) if queue else len(self._arrive)
            if end == self._at:
                break
            if end - self._at < _MANY or not self._deliver_all(end):
                self._deliver_each(min(end, self._at + singly))
                # To ask in vain costs as much as there is to tell: a receiver that takes none at once is asked seldom.
                singly *= 2
        self._arm()

    def _deliver_all(self, end: int) -> bool:
        """Deliver what arrives up to a place in the order, at once; whether that could be done."""
        told = self._told
        if told is None:
            return False
        while self._at < end:
            places = self._at + np.flatnonzero(self._live_array[self._at : end])
            if not places.size:
                self._at = end
                break
            arrive_s, sent_s, devices, answers, sizes, _ = self._columns
            who = devices[places]
            news = News(self.crowd, who, told.kinds, answers[places] - 1, told.values[who])
            peer = self.world.nodes[told.to]
            taken = peer.deliver_all(news, sent_s[places], arrive_s[places], sizes[places])
            if not taken:
                return False
            self._at = int(places[taken - 1]) + 1
            # The device of the receiver may have an event of its own by now.
            queue = self.env._queue
            if queue and self._at < end:
                end = min(end, bisect.bisect_right(self._arrive, queue[0][0], self._at))
        return True

    def _deliver_each(self, end: int) -> None:
        """Deliver what arrives up to a place in the order, one after the other, as long as nothing else comes first."""
        env, queue, nodes = self.env, self.world.env._queue, self.world.nodes
        arrive, answers, sizes, live = self._arrive, self._answer, self._size, self._live
        at = self._at
        strict = self.world.deployment.strict_wire
        while at < end:
            now = arrive[at]
            if queue and queue[0][0] < now:
                break
            if live[at]:
                env._now = now
                group, index = self.groups[self._group[at]], self._index[at]
                reflex = group.reflex
                message = reflex.message(index, answers[at])
                force_setattr(message, "sender", f"{group.dormant.population.name}-{index}")
                if strict:
                    message = self.world.through_the_wire(reflex.to, message)
                self._at = at + 1
                nodes[reflex.to].deliver(message, sizes[at], float(self._sent[at]))
            at += 1
        self._at = at


#: So many that arrive before anything else are delivered at once: with fewer that takes longer.
_MANY: Final = 24


#: Numbers with one digit more than those before.
_POWERS: Final = 10 ** np.arange(1, 19)


class _Audience(NamedTuple):
    """An actor that all resting devices tell the same kinds of news, and the number that each device's carry."""

    to: str
    kinds: tuple[type[Message], ...]
    values: npt.NDArray[np.int64]


#: Of the columns of check-ins on their way.
_KINDS: Final = (np.float64, np.float64, np.int64, np.int8, np.int32, np.bool_)


class _Pages:
    """Opens one page after the other."""

    __slots__ = ("attendance", "generation", "number")

    def __init__(self, attendance: Attendance) -> None:
        self.attendance = attendance
        self.number = 0
        self.generation = 0
        attendance.env.set_timer(0.0, self, 0)

    def fire(self) -> None:
        number, self.number = self.number, self.number + 1
        self.generation += 1
        attendance = self.attendance
        if attendance._at < len(attendance._arrive):
            # What is still on its way is sorted in with the rest.
            attendance.generation += 1
            attendance.env.forget_timer()
        attendance.open_page(number)
        attendance.env.set_timer((number + 1) * PAGE_S, self, self.generation)
