"""Shared cores: each claim ends when a step-by-step reference says so, work is conserved, devices account for it."""

from __future__ import annotations

import dataclasses
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.devices import Claim, Cores, DeviceProfile, Heat, Host, HostedDevice, JobDone, JobLost, Radio, Work

MAINS = DeviceProfile(
    name="mains",
    description="on mains",
    train_flops_per_s=1e9,
    step_overhead_s=0.0,
    memory_bytes_per_s=1e9,
    idle_w=1.0,
    max_w=3.0,
    radios={"wifi": Radio(2.0**-10, 2.0**-11)},
)


class Waiting:
    """An owner that notes when it was served."""

    def __init__(self) -> None:
        self.times: list[float] = []
        self.now = 0.0

    def served(self) -> None:
        self.times.append(self.now)


def drive(cores: Cores, until_s: float) -> float:
    """Let all be served that is by then; the core seconds that have been given."""
    while (at := cores.next_s()) <= until_s:
        owner = cores.finish(at)
        assert isinstance(owner, Waiting)
        owner.now = at
        owner.served()
    return until_s


@pytest.mark.parametrize("field", ["cores", "job_s", "message_s", "byte_s"])
@pytest.mark.parametrize("value", [-1.0, math.inf, math.nan])
def test_impossible_hosts_are_refused(field: str, value: float) -> None:
    with pytest.raises(ValueError, match=field):
        Host("h", **{"cores": 1.0, field: value})
    with pytest.raises(ValueError, match="cores"):
        Host("h", 0.0)


def test_three_claims_on_two_cores() -> None:
    """1, 2 and 3 s at once: two thirds of a core each until 1.5 s, then a core each."""
    cores, owners = Cores(Host("h", 2.0)), [Waiting() for _ in range(3)]
    for seconds, owner in zip((1.0, 2.0, 3.0), owners, strict=True):
        cores.begin(0.0, seconds, owner)
    drive(cores, 100.0)
    assert [owner.times for owner in owners] == [[pytest.approx(t)] for t in (1.5, 2.5, 3.5)]
    assert cores.count == 0
    assert cores.next_s() == math.inf
    with pytest.raises(LookupError, match="nothing runs"):
        cores.finish(100.0)


@dataclasses.dataclass
class Reference:
    """The same, claim by claim, with what each has left."""

    cores: float
    left_s: dict[int, float]
    ends: dict[int, float] = dataclasses.field(default_factory=dict)
    now: float = 0.0
    given_s: float = 0.0

    def advance(self, until_s: float) -> None:
        while self.left_s:
            rate = min(1.0, self.cores / len(self.left_s))
            first = min(self.left_s, key=lambda number: (self.left_s[number], number))
            wait_s = self.left_s[first] / rate
            if self.now + wait_s > until_s:
                break
            self._pass(wait_s, rate)
            self.ends[first] = self.now
            del self.left_s[first]
        if self.left_s:
            self._pass(until_s - self.now, min(1.0, self.cores / len(self.left_s)))
        self.now = until_s

    def _pass(self, seconds: float, rate: float) -> None:
        self.now += seconds
        for number in self.left_s:
            self.left_s[number] = max(self.left_s[number] - seconds * rate, 0.0)
            self.given_s += seconds * rate


@settings(max_examples=150, deadline=None)
@given(
    cores=st.sampled_from((0.5, 1.0, 2.0, 2.5, 8.0)),
    steps=st.lists(
        st.tuples(st.floats(0.0, 3.0), st.floats(0.01, 5.0), st.one_of(st.none(), st.integers(0, 30))),
        min_size=1,
        max_size=25,
    ),
)
def test_claims_end_as_a_reference_says_and_work_is_conserved(
    cores: float, steps: list[tuple[float, float, int | None]]
) -> None:
    """Whatever comes and goes, what is asked for is given or left: nothing gets lost, nothing is given twice."""
    ours, reference = Cores(Host("h", cores)), Reference(cores, {})
    owners: dict[int, Waiting] = {}
    claims: dict[int, Claim] = {}
    now = asked_s = withdrawn_s = 0.0
    for number, (gap_s, seconds, victim) in enumerate(steps):
        now += gap_s
        drive(ours, now)
        reference.advance(now)
        if victim in claims and claims[victim].present and reference.left_s.get(victim, 0.0) > 1e-6:
            left_s = ours.withdraw(now, claims[victim])
            assert left_s == pytest.approx(reference.left_s.pop(victim), abs=1e-9)
            withdrawn_s += left_s
        owners[number] = Waiting()
        claims[number] = ours.begin(now, seconds, owners[number])
        reference.left_s[number] = seconds
        asked_s += seconds
    drive(ours, 1e9)
    reference.advance(1e9)
    assert ours.count == 0
    ends = {number: owner.times[0] for number, owner in owners.items() if owner.times}
    assert ends == {number: pytest.approx(at, abs=1e-7) for number, at in reference.ends.items()}
    assert reference.given_s == pytest.approx(asked_s - withdrawn_s, abs=1e-6)


# Devices.


class Driven:
    """A device on a host, driven as a world does it."""

    def __init__(self, cores: Cores, profile: DeviceProfile = MAINS) -> None:
        self.ended: list[JobDone | JobLost] = []
        self.cores = cores
        self.now = 0.0
        self.device = HostedDevice(profile, cores, self, link_kind="wifi")

    def served(self) -> None:
        self.ended += [e for e in self.device.serve(self.now) if isinstance(e, JobDone | JobLost)]


def run_until(cores: Cores, until_s: float) -> None:
    while (at := cores.next_s()) <= until_s:
        owner = cores.finish(at)
        assert isinstance(owner, Driven)
        owner.now = at
        owner.served()


def work(seconds: float) -> Work:
    return Work(flops=seconds * 1e9, bytes=0.0, steps=1)


def test_a_job_that_waits_for_its_core_draws_nothing_meanwhile() -> None:
    """Two jobs of 4 s on one core: 8 s each at half of 2 W; the energy of a job is that of the work in it."""
    cores = Cores(Host("h", 1.0))
    one, other = Driven(cores), Driven(cores)
    for device in (one, other):
        device.device.submit(0.0, 1, work(4.0))
        assert device.device.next_timer() == math.inf, "the host tells it"
    assert one.device.energy_j(4.0)["processor"] == pytest.approx(4.0)
    assert one.device.reading(4.0).load == 1.0
    run_until(cores, 100.0)
    for device in (one, other):
        (done,) = device.ended
        assert (done.seconds, done.joules) == (pytest.approx(8.0), pytest.approx(8.0))
        account = device.device.energy_j(10.0)
        assert account["processor"] == pytest.approx(8.0)
        assert account["mains"] == pytest.approx(10.0 + 8.0)


def test_jobs_of_one_device_run_one_after_the_other_with_what_the_host_adds() -> None:
    cores = Cores(Host("h", 4.0, job_s=0.5))
    driven = Driven(cores)
    driven.device.submit(0.0, 1, work(1.0))
    driven.device.submit(0.0, 2, work(2.0))
    run_until(cores, 100.0)
    assert [(e.job, e.started_s, e.seconds) for e in driven.ended] == [(1, 0.0, 1.5), (2, 1.5, 2.5)]


def test_a_slow_node_asks_for_more_of_the_cores_and_a_crash_gives_them_back() -> None:
    cores = Cores(Host("h", 1.0))
    slow, other = Driven(cores), Driven(cores)
    slow.device.submit(0.0, 1, work(4.0))
    other.device.submit(0.0, 1, work(4.0))
    # After 4 s both have 2 s left; at half of its speed that is 4 s of a core.
    slow.device.slow_down(4.0, 0.5)
    run_until(cores, 8.0)
    assert [e.job for e in other.ended] == [1]
    assert slow.ended == []
    (lost,) = slow.device.crash(9.0)
    assert isinstance(lost, JobLost)
    # 2 s of a core until 4 s, 2 s until 8 s, one more alone, at 2 W.
    assert lost.joules == pytest.approx(10.0)
    assert slow.device.energy_j(20.0)["processor"] == pytest.approx(10.0)
    assert cores.count == 0


def test_messages_are_a_part_of_the_processors_account() -> None:
    driven = Driven(Cores(Host("h", 1.0)))
    driven.device.take_core(5.0, 0.25)
    account = driven.device.energy_j(10.0)
    assert (account["messages"], account["processor"], account["mains"]) == (0.5, 0.5, 10.5)


@settings(max_examples=60, deadline=None)
@given(
    cores=st.sampled_from((1.0, 2.0, 3.5)),
    jobs=st.lists(st.tuples(st.integers(0, 4), st.floats(0.0, 2.0), st.floats(0.05, 4.0)), min_size=1, max_size=20),
)
def test_the_processors_energy_is_that_of_the_work(cores: float, jobs: list[tuple[int, float, float]]) -> None:
    shared = Cores(Host("h", cores))
    devices = [Driven(shared) for _ in range(5)]
    now = 0.0
    for number, (which, gap_s, seconds) in enumerate(jobs):
        now += gap_s
        run_until(shared, now)
        devices[which].device.submit(now, number, work(seconds))
        # Looking changes nothing.
        devices[0].device.energy_j(now)
    run_until(shared, 1e6)
    done = [e for device in devices for e in device.ended]
    assert sum(e.joules for e in done) == pytest.approx(2.0 * sum(seconds for *_, seconds in jobs))
    account = sum(device.device.energy_j(1e6)["processor"] for device in devices)
    assert account == pytest.approx(sum(e.joules for e in done))


@pytest.mark.parametrize(
    ("profile", "says"),
    [(dataclasses.replace(MAINS, heat=Heat(10.0, 20.0)), "has a temperature")],
)
def test_devices_with_a_state_of_their_own_share_no_host(profile: DeviceProfile, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        Driven(Cores(Host("h", 1.0)), profile)
