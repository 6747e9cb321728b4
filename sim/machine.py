"""The device under an actor in the simulated world: its jobs, its own events, the energy of its bytes, its records.

Bytes are counted by plain attributes of the node, which the engine's fast path adds to, and become energy when a parcel
of them is full.
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING, Any

from core.actor import DeviceFailed
from core.availability import CHARGING, IN_USE
from core.deployment import Placement
from core.devices import (
    BatteryEmpty,
    Device,
    DeviceOff,
    DeviceProfile,
    Effect,
    JobDone,
    JobLost,
    Overheated,
    Work,
)
from core.devices.rows import EVENTS, device_row, job_row
from core.links import Link
from core.records.rows import EnergyRow, PlacementRow
from sim.cell import Computation

if TYPE_CHECKING:
    from sim.task import Task
    from sim.world import World


class Machine:
    """One device in its world; a node is a machine with a link and an actor."""

    __slots__ = (
        "_device",
        "armed_s",
        "env",
        "generation",
        "jobs",
        "name",
        "parcel_bytes",
        "placement",
        "radio_settle_s",
        "radio_tail_s",
        "radio_until_s",
        "received_bytes",
        "sent_bytes",
        "world",
    )

    def __init__(self, world: World, placement: Placement, link: Link, user: int) -> None:
        self.world = world
        self.env = world.env
        self.name = placement.name
        self.placement = placement
        #: Bytes since the device last counted its energy; it gets to know them through `device`.
        self.sent_bytes = 0
        self.received_bytes = 0
        self._device = self.make_device(
            placement.profile,
            # One with a user has lived since the beginning, met or not.
            now=world.env._now if placement.course is None else 0.0,
            link_kind=placement.radio_of(link),
            battery_level=placement.battery_level,
            # On its charger from the beginning, it cannot be found empty before it is plugged in.
            charging=placement.charging if placement.course is None else bool(user & CHARGING),
            in_use=bool(user & IN_USE),
            ambient_c=placement.ambient_c,
            speed=placement.speed,
            up_bytes_per_s=link.goodput_bytes_per_s("up"),
            down_bytes_per_s=link.goodput_bytes_per_s("down"),
            battery_loss=placement.battery_loss,
        )
        self.parcel_bytes = self._device.radio_parcel_bytes
        #: The radio's tail and its end, and the time until which it may go on unsettled; see `Device.moved`.
        self.radio_tail_s = self._device.radio_tail_s
        self.radio_until_s = self._device.radio_until_s
        self.radio_settle_s = self._device.radio_settle_s
        self.generation = 0
        self.armed_s = inf
        #: The device's jobs: who waits for it, if still somebody does, and the name of the function.
        self.jobs: dict[int, tuple[Task | None, str]] = {}

    def make_device(self, profile: DeviceProfile, **settings: Any) -> Device:
        """Its device."""
        return Device(profile, **settings)

    @property
    def device(self) -> Device:
        """The device, with all bytes counted so far; after a call that changes it, `take_counts` and `arm` follow."""
        device = self._device
        device.sent_bytes, device.received_bytes = self.sent_bytes, self.received_bytes
        device.radio_until_s = self.radio_until_s
        return device

    def count_sent(self, size_bytes: int) -> None:
        """Bytes have left through the radio."""
        self.sent_bytes += size_bytes
        self._moved(self.sent_bytes, size_bytes, 0)

    def count_received(self, size_bytes: int) -> None:
        """Bytes have come through the radio."""
        self.received_bytes += size_bytes
        self._moved(self.received_bytes, 0, size_bytes)

    def wake_radio(self, sent: int, received: int) -> None:
        """The radio was idle until these bytes, which are counted already."""
        self._device.wake_radio(sent, received)
        self.settle()

    def _moved(self, count: int, sent: int, received: int) -> None:
        now = self.env._now
        if now > self.radio_until_s:
            self.wake_radio(sent, received)
        else:
            self.radio_until_s = now + self.radio_tail_s
            if count >= self.parcel_bytes or now > self.radio_settle_s:
                self.settle()

    def arm(self) -> None:
        """See to it that the device's next event happens."""
        at = self._device.next_timer()
        if at != self.armed_s:
            if self.armed_s < inf:
                self.generation += 1
                self.env.forget_timer()
            self.armed_s = at
            if at < inf:
                self.env.set_timer(max(at, self.env._now), self, self.generation)

    def take_counts(self) -> None:
        """After a call that has changed the device: bytes that it has made energy of do not count again."""
        device = self._device
        self.sent_bytes, self.received_bytes = device.sent_bytes, device.received_bytes
        self.radio_until_s, self.radio_settle_s = device.radio_until_s, device.radio_settle_s

    def use_radio(self, link: Link) -> None:
        """The device is on another link from now on."""
        rates = link.goodput_bytes_per_s("up"), link.goodput_bytes_per_s("down")
        self.device.switch_radio(self.env._now, self.placement.radio_of(link), rates)
        self.parcel_bytes = self._device.radio_parcel_bytes
        self.radio_tail_s = self._device.radio_tail_s
        self.take_counts()

    def settle(self) -> None:
        """Let the device count its energy up to now."""
        self.device.settle(self.env._now)
        self.take_counts()
        self.arm()

    def fire(self) -> None:
        """The device's next event is due."""
        self.generation += 1
        self.armed_s = inf
        self.apply(self.device.on_timer(self.env._now))

    def submit(self, task: Task, function: str, work: Work) -> int:
        """Queue a job for a task of the actor; raises `DeviceFailed` if the device is off."""
        job = self.world.next_job()
        try:
            self.device.submit(self.env._now, job, work)
        except DeviceOff as error:
            raise DeviceFailed(str(error)) from None
        finally:
            self.take_counts()
            self.arm()
        self.jobs[job] = (task, function)
        self.note("job_start")
        return job

    def cancel(self, job: int) -> None:
        """Stop a job whose task does not wait for it any more."""
        if job in self.jobs:
            self.jobs[job] = (None, self.jobs[job][1])
            self.apply(self.device.cancel(self.env._now, job))

    def apply(self, effects: list[Effect]) -> None:
        """Carry out what the device says has happened, and arm its next event."""
        self.take_counts()
        # That the device went off comes last: it may end the run, and the jobs it has lost are to be recorded.
        for effect in sorted(effects, key=lambda effect: isinstance(effect, BatteryEmpty | Overheated)):
            if isinstance(effect, JobDone | JobLost):
                self._job_ended(effect)
            else:
                if type(effect) in EVENTS and not self.is_unseen(effect):
                    self.note(EVENTS[type(effect)])
                self.happened(effect)
        self.arm()

    def _job_ended(self, effect: JobDone | JobLost) -> None:
        task, function = self.jobs.pop(effect.job)
        self.world.record(self.name, job_row(function, effect, self.env._now))
        self.note("job_end")
        # Who waits for a job that is lost is killed with its device.
        if isinstance(effect, JobDone) and task is not None and isinstance(task.waiting, Computation):
            task.waiting.ended(task)

    def note(self, event: str) -> None:
        """Record the device's state at an event."""
        self.world.record(self.name, device_row(event, self.device.reading(self.env._now)))

    def introduce(self) -> None:
        """Record where the actor lives and how its device begins."""
        placement = self.placement
        battery = placement.profile.battery
        self.world.record(
            self.name,
            PlacementRow(
                profile=placement.profile.name,
                link=placement.link.name,
                region=placement.region,
                battery_j=None if battery is None else battery.energy_j,
            ),
        )
        self.note("start")

    def close(self) -> None:
        """The run is over: settle, and record the energy."""
        self.settle()
        self.note("end")
        for component, joules in self.device.energy_j(self.env._now).items():
            self.world.record(self.name, EnergyRow(component=component, joules=joules))

    def is_unseen(self, effect: Effect) -> bool:
        """Whether an event is not recorded, as it would not be if the device were at rest."""
        return False

    def happened(self, effect: Effect) -> None:
        """The device says that something has happened, which has been recorded."""
        raise NotImplementedError
