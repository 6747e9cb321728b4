"""What a world is given to run: actors placed on devices behind links, and the rules of the run."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable, Iterable, Mapping
from typing import ClassVar, Final

import numpy as np
import numpy.typing as npt

from core.actor import Actor, Crowd, Message
from core.availability import Course, Process
from core.devices import DeviceProfile, Host
from core.links import Link
from core.network import Network
from core.records.curves import LearningCurves

#: How long a reordered message waits at most, s, where nothing else is said.
REORDER_DELAY_S: Final = 10.0


@dataclasses.dataclass(frozen=True)
class Placement:
    """One actor on one device of its own."""

    name: str
    make: Callable[[], Actor]
    profile: DeviceProfile
    link: Link
    region: str = "local"
    #: Charge at the start, 0 to 1; ignored without a battery.
    battery_level: float = 1.0
    charging: bool = False
    ambient_c: float = 25.0
    #: This device's speed over that of its class.
    speed: float = 1.0
    #: Share of its battery's capacity that is gone at the start.
    battery_loss: float = 0.0
    #: What its user does, from the study's beginning on, `charging` included; None: the device is left as it is here.
    course: Callable[[], Course] | None = None
    #: Name of the host whose cores it shares (simulator); None: it has its own.
    host: str | None = None

    def radio_of(self, link: Link) -> str:
        """Which of the profile's radios a link uses: its own, or that of its kind."""
        return link.radio if link.radio in self.profile.radios else link.kind


@dataclasses.dataclass(frozen=True)
class Reflex:
    """What the actors of a population do when the state of their device changes and they have nothing else to do.

    `answer(before, after)` numbers what is said to that, 0 for nothing; `before` is None at the study's beginning, when
    a positive answer means that the device has something to offer. `message(index, answer)` makes what is sent to the
    actor `to`. The actors, when they are awake, must answer `Start` and `DeviceChanged` alike; at `Start` they also
    begin to watch `to`. `kinds` are the types of the messages, by answer from 1 on, and `values` the number that each
    actor's carry in their one field, if they have one: with both many can be told `to` at once.
    """

    to: str
    answer: Callable[[int | None, int], int]
    message: Callable[[int, int], Message]
    kinds: tuple[type[Message], ...] = ()
    values: npt.NDArray[np.int64] | None = None


@dataclasses.dataclass(frozen=True)
class Endurance:
    """How long the batteries of a population's devices last at the least, whatever their users do but for charging."""

    #: Of each device, how long it lasts from the study's beginning if it is in use without a pause, s.
    in_use_s: npt.NDArray[np.float64]
    #: The most that one left alone draws, over what it draws in use.
    idle_share: float
    #: The most that sending a small message costs, in seconds of use.
    message_s: float = 0.0


@dataclasses.dataclass(frozen=True)
class Population:
    """Many actors that mostly rest: `name-0` … `name-(count-1)`, each made when it is first met.

    An actor of a population only handles messages, and keeps what must outlive a rest in its `State`.
    """

    name: str
    count: int
    place: Callable[[int], Placement]
    regions: tuple[str, ...]
    #: When each gets its `Start`, s; infinity for never.
    start_s: Callable[[int], float] = lambda index: 0.0
    #: What the users of their devices do, and what that makes actors at rest say: none of one without the other. With
    #: it go one region, and the access link of all devices before multiples.
    link: Link | None = None
    process: Process | None = None
    reflex: Reflex | None = None
    #: Of each device, rate of its access link over that of the population. None: all 1.
    link_multiples: npt.NDArray[np.float64] | None = None
    #: Of devices with users; None: they are without batteries.
    endurance: Endurance | None = None

    def __post_init__(self) -> None:
        if (self.process is None) is not (self.reflex is None):
            raise ValueError(f"the population {self.name!r} needs both a process and a reflex, or neither")


def crowd_of(populations: Iterable[Population]) -> Crowd:
    """All members of populations."""
    return Crowd(tuple((population.name, population.count) for population in populations))


@dataclasses.dataclass(frozen=True)
class Fault:
    """Something that goes wrong with the device, link or disk of `target` at `at_s` for `duration_s` (None: for good).

    `kind`: link_down (messages wait), crash (state and computation are lost; a restart after `duration_s`),
    battery_pulled (the same, and it neither draws nor charges meanwhile), disk_full (what its actor records waits), or
    one of the classes below. With `after_messages` it begins when so many messages have come to the target, and `at_s`
    is infinite. See docs/faults.md. Raises `ValueError` for values that no fault can have.
    """

    kinds: ClassVar[frozenset[str]] = frozenset(("link_down", "crash", "battery_pulled", "disk_full"))

    kind: str
    target: str
    at_s: float
    duration_s: float | None = None
    after_messages: int | None = None

    def __post_init__(self) -> None:
        if self.kind not in self.kinds:
            raise ValueError(f"a {type(self).__name__} is one of {', '.join(sorted(self.kinds))}, not {self.kind}")
        if self.duration_s is not None and not self.duration_s > 0:
            raise ValueError(f"a fault lasts longer than 0 s, not {self.duration_s}")
        if self.after_messages is None and not 0 <= self.at_s < math.inf:
            raise ValueError(f"a fault begins at 0 s or later, not {self.at_s}")
        if self.after_messages is not None and (self.after_messages < 1 or self.at_s != math.inf):
            raise ValueError("a fault begins after at least 1 message, and then at no given time")


@dataclasses.dataclass(frozen=True, kw_only=True)
class MessageFault(Fault):
    """Messages of the target's link, both ways, are lost, duplicated or reordered, each with a probability."""

    kinds: ClassVar[frozenset[str]] = frozenset(("lost", "duplicated", "reordered"))

    probability: float
    #: Names of the types of messages that it is about; empty: all.
    messages: tuple[str, ...] = ()
    #: Reordered messages wait until so many later ones of their stream have passed, but no longer than `delay_s`.
    behind: int | None = None
    delay_s: float = REORDER_DELAY_S

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.probability <= 1:
            raise ValueError(f"a probability is from 0 to 1, not {self.probability}")
        if not self.delay_s > 0 or (self.behind is not None and self.behind < 1):
            raise ValueError("a reordered message waits for some time, and behind at least one other")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Slowdown(Fault):
    """The target's device computes at `speed` times its speed (kind `slow`)."""

    kinds: ClassVar[frozenset[str]] = frozenset(("slow",))

    speed: float

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.speed <= 1:
            raise ValueError(f"a slow device has a speed above 0 and up to 1 of its own, not {self.speed}")


@dataclasses.dataclass(frozen=True, kw_only=True)
class ClockSkew(Fault):
    """The clock that the target's actor sees is `offset_s` ahead, and gains `drift` seconds a second (`clock_skew`)."""

    kinds: ClassVar[frozenset[str]] = frozenset(("clock_skew",))

    offset_s: float = 0.0
    drift: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not (math.isfinite(self.offset_s) and -1 < self.drift < math.inf):
            raise ValueError(f"no clock gains {self.drift} s a second from {self.offset_s} s on")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Partition(Fault):
    """Actors of different `sets` cannot reach each other; who is in none reaches all. It has no target of its own."""

    kinds: ClassVar[frozenset[str]] = frozenset(("partition",))

    sets: tuple[tuple[str, ...], ...]

    def __post_init__(self) -> None:
        super().__post_init__()
        names = [name for members in self.sets for name in members]
        if len(self.sets) < 2 or not all(self.sets) or len(names) != len(set(names)):
            raise ValueError("a partition has at least two sets, none of them empty, and nobody in two of them")
        if self.after_messages is not None:
            raise ValueError("a partition begins at a time: it has no target whose messages count")

    @functools.cached_property
    def side(self) -> dict[str, int]:
        """Number of the set that each actor is in."""
        return {name: number for number, members in enumerate(self.sets) for name in members}

    def separates(self, a: str, b: str) -> bool:
        """Whether two actors are in different sets."""
        first, second = self.side.get(a), self.side.get(b)
        return first is not None and second is not None and first != second


@dataclasses.dataclass(frozen=True)
class Deployment:
    """A study as a world sees it. The run ends when the actor `main` has.

    Raises `ValueError` for a fault of an actor or of a type of message that there is not, for a device on a host that
    there is not, and one that cannot share a host.
    """

    placements: tuple[Placement, ...]
    main: str
    messages: tuple[type[Message], ...]
    populations: tuple[Population, ...] = ()
    #: Machines that devices share.
    hosts: tuple[Host, ...] = ()
    #: Live actors of populations, some kilobytes each, beyond which idle ones are put to rest (simulator); no result
    #: depends on it.
    max_live: int = 4096
    seed: int = 0
    #: One-way delay between two regions' Internet exchanges, s, by (from, to); symmetric entries may be left out.
    region_delay_s: Mapping[tuple[str, str], float] = dataclasses.field(default_factory=dict)
    #: What else lies between the access links; with a topology, regions are its sites and have its delays.
    network: Network = dataclasses.field(default_factory=Network)
    #: Silence after which a peer that did not say goodbye counts as lost.
    peer_timeout_s: float = 30.0
    max_frame_bytes: int = 1 << 28
    faults: tuple[Fault, ...] = ()
    #: Deferred jobs that may wait before the oldest are computed (simulator).
    max_pending: int = 512
    #: `train`; or `timing`, nothing is computed; or `surrogate`, and evaluations follow `curves` (simulator).
    fidelity: str = "train"
    #: Learning curves of a surrogate.
    curves: LearningCurves | None = None
    #: Layout of batches: `scan`, `vmap:8`, or `scan/vmap:8`.
    layout: str = "scan"
    #: Encode and decode every message in the simulator too.
    strict_wire: bool = False
    #: Wall seconds for a second of the study (real world).
    time_scale: float = 1.0
    #: Devices of the real world: `emulated` by the wall clock, or the `host` itself.
    device_mode: str = "emulated"
    #: Whether the placements' links are emulated in the real world, or messages as fast as the machine's own.
    emulate_links: bool = False
    #: Congestion control of TCP over emulated links: cubic, bbr or reno.
    congestion: str = "cubic"

    def __post_init__(self) -> None:
        kinds = {kind.__name__ for kind in self.messages}
        placed = {placement.name for placement in self.placements}
        for fault in self.faults:
            for name in fault.side if isinstance(fault, Partition) else (fault.target,):
                if name not in placed and not self._has_member(name):
                    raise ValueError(f"a fault of kind {fault.kind} is for {name!r}, and there is no such actor")
            if isinstance(fault, MessageFault) and not kinds.issuperset(fault.messages):
                raise ValueError(f"messages are {fault.kind} of types {fault.messages}; there are {sorted(kinds)}")

        hosts = {host.name for host in self.hosts}
        for placement in self.placements:
            if placement.host is not None:
                if placement.host not in hosts:
                    raise ValueError(f"{placement.name} is on host {placement.host!r}; there are {sorted(hosts)}")
                if placement.profile.off_host is not None:
                    raise ValueError(f"{placement.name}: {placement.profile.name} {placement.profile.off_host}")

    def _has_member(self, name: str) -> bool:
        """Whether an actor belongs to a population."""
        prefix, _, number = name.rpartition("-")
        return number.isdecimal() and any(
            population.name == prefix and str(int(number)) == number and int(number) < population.count
            for population in self.populations
        )

    def faults_of(self, name: str) -> tuple[Fault, ...]:
        """The faults that befall an actor, partitions included."""
        apart = (fault for fault in self.partitions if name in fault.side)
        return (*self._faults_by_target.get(name, ()), *apart)

    @functools.cached_property
    def partitions(self) -> tuple[Partition, ...]:
        """The faults that are partitions."""
        return tuple(fault for fault in self.faults if isinstance(fault, Partition))

    @functools.cached_property
    def _faults_by_target(self) -> dict[str, list[Fault]]:
        found: dict[str, list[Fault]] = {}
        for fault in self.faults:
            if not isinstance(fault, Partition):
                found.setdefault(fault.target, []).append(fault)
        return found

    @property
    def plain_paths(self) -> bool:
        """Whether every path is two steady access links and a delay. Links of populations: `Network.varying`."""
        return self.network.plain and all(placement.link.plain for placement in self.placements)

    def delay_s(self, a: str, b: str) -> float:
        """One-way delay of the Internet between two regions."""
        if self.network.topology is not None:
            return self.network.topology.delay_s(a, b)
        if a == b and (a, b) not in self.region_delay_s:
            return 0.0
        found = self.region_delay_s.get((a, b))
        if found is None:
            found = self.region_delay_s.get((b, a))
        if found is None:
            raise KeyError(f"no delay is given between the regions {a!r} and {b!r}")
        return found
