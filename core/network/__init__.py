"""The network as values and formulas, without I/O: topologies, fair rates, transports, links that vary."""

from core.network.curves import Curve
from core.network.network import Network
from core.network.paths import Jitter, JitterState, Relay
from core.network.topology import Background, Cell, Disconnected, Edge, Site, Topology, WiFi
from core.network.transport import IDEAL, Transport
from core.network.variation import Autoregressive, Markov, MarkovState, Outages, Replay, Trace, Variation

__all__ = [
    "IDEAL",
    "Autoregressive",
    "Background",
    "Cell",
    "Curve",
    "Disconnected",
    "Edge",
    "Jitter",
    "JitterState",
    "Markov",
    "MarkovState",
    "Network",
    "Outages",
    "Relay",
    "Replay",
    "Site",
    "Topology",
    "Trace",
    "Transport",
    "Variation",
    "WiFi",
]
