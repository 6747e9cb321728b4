"""A device that shares the cores of a host with others: its jobs have no timers of their own, the host serves them.

It is on mains and without a model of heat, as what it draws depends on what the others do: a job draws the device's
power for the core seconds that it gets, and nothing while it waits for a core.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any

from core.devices.classes import DeviceProfile
from core.devices.cores import Claim, Cores, Owner
from core.devices.device import Device, Job
from core.devices.effects import Effect, JobDone
from core.devices.foresight import NONE
from core.devices.powers import Powers
from core.devices.work import Work


class HostedDevice(Device):
    """See the module. When its running job has been served, the cores tell its `owner`, who calls `serve`."""

    __slots__ = ("_claim", "_core_s", "_cores", "_job_core_s", "_messages_j", "_owner", "_share")

    def __init__(self, profile: DeviceProfile, cores: Cores, owner: Owner, **settings: Any) -> None:
        if profile.off_host is not None:
            raise ValueError(f"a device of class {profile.name!r} {profile.off_host}, and cannot share a host")
        super().__init__(profile, **settings)
        self._cores = cores
        self._owner = owner
        #: What the running job has asked of the cores, and their virtual time up to which its energy is booked in the
        #: device's account, and in its own.
        self._claim: Claim | None = None
        self._core_s = self._job_core_s = 0.0
        #: Share of a core that the running job has had since the last event.
        self._share = 1.0
        self._messages_j = 0.0

    def serve(self, now: float) -> list[Effect]:
        """The cores have done the running job."""
        self._advance(now)
        job = self._job
        if job is not None:
            self._run_to_now(job)
            self._claim = None
            self._emit(JobDone(job.number, job.started_s, job.spent_s, job.joules, job.work))
            self._start_next()
        return self._take()

    def take_core(self, now: float, seconds: float) -> None:
        """A message has had so many seconds of a core, at the device's power."""
        self._advance(now)
        joules = self.profile.dynamic_w * seconds
        self._messages_j += joules
        self._processor_j += joules
        self._mains_j += joules

    def slow_down(self, now: float, share: float) -> None:
        """As of any device; what is left of the running job then takes more or less of the cores."""
        super().slow_down(now, share)
        if self._job is not None:
            self._ask(self._job)

    def energy_j(self, now: float) -> dict[str, float]:
        """As of any device, and `messages`: what they have taken of the processor's energy."""
        return {**super().energy_j(now), "messages": self._messages_j}

    def _seconds(self, work: Work) -> float:
        return super()._seconds(work) + self._cores.host.job_s

    def _ask(self, job: Job) -> None:
        """Ask the cores for what a job has left, at the present pace, in place of what it has asked for."""
        self._give_up_claim()
        self._claim = self._cores.begin(self._at_s, job.left_s / self._pace(), self._owner)
        self._core_s = self._job_core_s = self._cores.virtual_s(self._at_s)

    def _give_up_claim(self) -> None:
        if self._claim is not None:
            self._cores.withdraw(self._at_s, self._claim)
            self._claim = None

    def _start(self, number: int, work: Work, seconds: float) -> None:
        super()._start(number, work, seconds)
        if self._job is not None:
            self._ask(self._job)

    def _lose_running(self, reason: str) -> None:
        super()._lose_running(reason)
        self._give_up_claim()

    def _run_to_now(self, job: Job) -> None:
        core_s = self._cores.virtual_s(self._at_s)
        job.run(self._at_s, core_s - self._job_core_s, self._pace(), self._limit[1])
        self._job_core_s = core_s

    def _first_timer(self) -> tuple[float, int]:
        return math.inf, NONE

    def _powers(self) -> Powers:
        powers = super()._powers()
        if self._share == 1.0 or not powers.processor_w:
            return powers
        processor_w = powers.processor_w * self._share
        return dataclasses.replace(powers, processor_w=processor_w, load_w=powers.other_w + processor_w)

    def _rebase(self, now: float) -> bool:
        seconds = now - self._at_s
        if self._busy and seconds > 0.0:
            core_s = self._cores.virtual_s(now)
            self._share = (core_s - self._core_s) / seconds
            self._core_s = core_s
        return super()._rebase(now)
