"""What lies between the access links of a deployment, as a world is given it."""

from __future__ import annotations

import dataclasses
from math import inf
from typing import Final

from core.network.paths import Jitter, Relay
from core.network.topology import Background, Topology
from core.network.transport import IDEAL, Transport

#: How bulk shares links: each link among what is in it, or max-min fair over whole paths.
SHARINGS: Final = ("per_link", "max_min")


@dataclasses.dataclass(frozen=True)
class Network:
    """The Internet between access links. The default is a star of regions with delays, where nothing is shared."""

    #: Sites, to which placements attach by their region; None: regions with delays (`Deployment.region_delay_s`).
    topology: Topology | None = None
    transport: Transport = IDEAL
    #: `per_link` (a star only), or `max_min`; a topology is always shared by max-min fairness.
    sharing: str = "per_link"
    jitter: Jitter | None = None
    #: What pairs of devices behind address translators fall back to; None: every pair reaches each other.
    relay: Relay | None = None
    #: Whether access links are more than a rate and a delay; whoever makes a deployment with such links says so.
    varying: bool = False

    def __post_init__(self) -> None:
        if self.sharing not in SHARINGS:
            raise ValueError(f"sharing is one of {', '.join(SHARINGS)}: {self.sharing!r}")

    @property
    def plain(self) -> bool:
        """Whether a path is two access links and a delay, and no more."""
        return self == PLAIN

    @property
    def between_links(self) -> dict[str, str]:
        """What happens to packets between access links other than a delay, in words by the field that says so: the
        emulated links of the real world do not have it."""
        found = {}
        topology = self.topology
        if topology is not None:
            parts = [
                ("rates", any(min(edge.rate_from(edge.a), edge.rate_from(edge.b)) < inf for edge in topology.edges)),
                ("losses", any(edge.loss > 0 for edge in topology.edges)),
                ("background traffic", any(edge.background != Background() for edge in topology.edges)),
                ("access points or cells", any(site.medium is not None for site in topology.sites)),
            ]
            if has := [words for words, there in parts if there]:
                found["topology"] = f"the topology has {', '.join(has)}"
        if self.relay is not None:
            found["relay"] = "pairs behind address translators go by a relay"
        return found


PLAIN: Final = Network()
