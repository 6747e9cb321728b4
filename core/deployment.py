"""What a world is given to run: actors placed on devices behind links, and the rules of the run."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping

from core.actor import Actor, Message
from core.devices import DeviceProfile
from core.links import Link


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


@dataclasses.dataclass(frozen=True)
class Fault:
    """Something that goes wrong with the device or link of `target` at `at_s` for `duration_s` (None: for good).

    `kind`: link_down (messages wait), crash (state and computation are lost; a restart after `duration_s`).
    """

    kind: str
    target: str
    at_s: float
    duration_s: float | None = None


@dataclasses.dataclass(frozen=True)
class Deployment:
    """A study as a world sees it. The run ends when the actor `main` has."""

    placements: tuple[Placement, ...]
    main: str
    messages: tuple[type[Message], ...]
    populations: tuple[Population, ...] = ()
    #: Live actors of populations beyond which idle ones are put to rest (simulator); no result depends on it.
    max_live: int = 131_072
    seed: int = 0
    #: One-way delay between two regions' Internet exchanges, s, by (from, to); symmetric entries may be left out.
    region_delay_s: Mapping[tuple[str, str], float] = dataclasses.field(default_factory=dict)
    #: Silence after which a peer that did not say goodbye counts as lost.
    peer_timeout_s: float = 30.0
    max_frame_bytes: int = 1 << 28
    faults: tuple[Fault, ...] = ()
    #: Deferred jobs that may wait before the oldest are computed (simulator).
    max_pending: int = 512
    #: `train`, or `timing`: nothing is computed (simulator).
    fidelity: str = "train"
    #: Layout of batches: `scan`, `vmap:8`, or `scan/vmap:8`.
    layout: str = "scan"
    #: Encode and decode every message in the simulator too.
    strict_wire: bool = False
    #: Wall seconds for a second of the study (real world).
    time_scale: float = 1.0
    #: Devices of the real world: `emulated` by the wall clock, or the `host` itself.
    device_mode: str = "emulated"

    def delay_s(self, a: str, b: str) -> float:
        """One-way delay of the Internet between two regions."""
        if a == b and (a, b) not in self.region_delay_s:
            return 0.0
        found = self.region_delay_s.get((a, b))
        if found is None:
            found = self.region_delay_s.get((b, a))
        if found is None:
            raise KeyError(f"no delay is given between the regions {a!r} and {b!r}")
        return found
