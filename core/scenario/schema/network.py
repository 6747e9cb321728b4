"""The sections `links` and `network`: own access links, and what lies between them."""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeAlias

from pydantic import Field

from core.network.network import SHARINGS
from core.network.transport import CONTROLS, QUEUE_S
from core.scenario.kinds import Choice, Component, Number, Options, Text
from core.scenario.names import TOPOLOGIES
from core.scenario.schema.section import Bool, Name, Section
from core.scenario.units import Bytes, BytesPerSecond, Delay, Fraction, FractionBelowOne, PositiveSeconds, Seconds, Step

TracePath: TypeAlias = Annotated[str | None, Text("the path of a .csv file", maximum=1000, or_null="steady")]


class TraceSpec(Section):
    """Measured rates, replayed over and over: CSV of time_s and bytes_per_s or packets_1500B_per_100ms."""

    up: TracePath = Field(None, description="File of the rates from the device.")
    down: TracePath = Field(None, description="File of the rates to the device.")
    shifted: Bool = Field(
        True, description="Whether each device begins anywhere in the trace, not all at its beginning."
    )


class FadingSpec(Section):
    """Rates that wander: AR(1) on their logarithm, around those of the link."""

    spread: Annotated[float, Number(0, 5)] = Field(description="Standard deviation of the natural logarithm.")
    correlation: Annotated[float, Number(0, below=1)] = Field(description="Correlation from one step to the next.")
    step: Step = Field(1.0, description="Length of a step, s.")


class StateSpec(Section):
    """A state of a link that changes between several."""

    factor: Annotated[float, Number(0, 1000)] = Field(description="Its rates over those of the link; 0: no service.")
    mean: Step = Field(description="Mean of its exponential length, s; then comes any of the others.")


class OutageSpec(Section):
    """Times without service: exponential ones with and without."""

    mean_between: Step = Field(description="Mean time with service, s.")
    mean_length: Step = Field(description="Mean time without, s.")


class HandoverSpec(Section):
    """A change to another link; what is under way goes on at its rate."""

    at: PositiveSeconds = Field(description="When, s of the study.")
    link: Name = Field(description="The link from then on, of the catalogue or an own one.")


class LinkSpec(Section):
    """An own access link."""

    kind: Annotated[Literal["wifi", "cellular", "ethernet"], Choice("wifi", "cellular", "ethernet")] = Field(
        description="Which of a device's radios it needs."
    )
    latency: Delay = Field(description="One-way delay of the access part, s.")
    up: BytesPerSecond = Field(description="Goodput from the device, bytes/s.")
    down: BytesPerSecond = Field(description="Goodput to the device, bytes/s.")
    loss: FractionBelowOne = Field(0.0, description="Share of packets lost; it lowers the goodput.")
    metered: Bool = Field(False, description="Whether traffic costs its user money.")
    half_duplex: Bool = Field(False, description="Whether up and down share the air, as on one radio channel.")
    translated: Bool = Field(False, description="Whether it is behind an address translator; see network.relay.")
    transport: Annotated[str | None, Choice(*CONTROLS, or_null="network.transport")] = Field(
        None, description="Congestion control of what leaves by it."
    )
    trace: TraceSpec | None = Field(None, description="Rates measured somewhere, in place of steady ones.")
    fading: FadingSpec | None = Field(None, description="Rates that wander around the steady ones.")
    states: tuple[StateSpec, ...] = Field((), description="Rates that jump between several, by chance.")
    outages: OutageSpec | None = Field(None, description="Times without service.")
    handovers: tuple[HandoverSpec, ...] = Field((), description="Other links that the device changes to, by time.")


class TransportSpec(Section):
    """Constants of the transport, but of `ideal`, which has none."""

    mss: Annotated[float, Number(1, 65_536)] = Field(1448.0, description="Payload of a full segment, bytes.")
    goodput_share: Annotated[float, Number(above=0, maximum=1)] = Field(
        1.0, description="Payload over what a link's rate counts; 0.956 where rates are those of Ethernet's wire."
    )
    initial_window: Annotated[float, Number(1, 1000)] = Field(10.0, description="Segments before the first answer.")
    max_window: Bytes = Field(1 << 22, description="Most bytes under way in a connection.")
    connect_rtts: Annotated[float, Number(0, 100)] = Field(
        2.0, description="Round trips of a new connection (TCP 1, TLS 1.3 1), one for each pair and stream."
    )
    extra_rtt: Seconds = Field(0.0, description="What a round trip takes beside delays and packets, s.")
    extra: Seconds = Field(0.0, description="Further time of every message, s.")
    min_rto: Seconds = Field(0.2, description="What a time-out adds to the round trip at least, s.")
    queue: Seconds = Field(QUEUE_S, description="What may wait before the slowest link, in seconds of its rate.")


class JitterSpec(Section):
    """Delays that wander: AR(1) on the logarithm of each pair's round trip, as of personal devices."""

    spread: Annotated[float, Number(0, 5)] = Field(0.61, description="Standard deviation of the natural logarithm.")
    correlation: Annotated[float, Number(0, below=1)] = Field(0.81, description="From one step to the next.")
    step: Step = Field(60.0, description="Length of a step, s.")


class RelaySpec(Section):
    """What carries messages between two devices behind address translators that cannot reach each other."""

    region: Name = Field(description="Where it is: a region, or a site of network.topology.")
    rate: BytesPerSecond = Field(1_250_000.0, description="What it gives to one pair, bytes/s.")
    success: Fraction = Field(0.70, description="Share of pairs that reach each other directly (hole punching).")


class Place(Section):
    """A place on Earth, degrees."""

    latitude: Annotated[float, Number(-90, 90)] = Field(description="North of the equator.")
    longitude: Annotated[float, Number(-180, 180)] = Field(description="East of Greenwich.")


class Network(Section):
    """What lies between the access links."""

    topology: Annotated[
        str | None,
        Component(
            "network",
            TOPOLOGIES,
            suffixes=(".graphml", ".json"),
            own=False,
            or_null="a star of regions: delays, and nothing shared but access links",
        ),
    ] = Field(None, description="A network of sites, generated or of a file; `aivsim list topologies` shows them.")
    topology_options: Annotated[dict[str, Any], Options()] = Field(
        default_factory=dict, description="Options of a generated network."
    )
    sharing: Annotated[Literal["per_link", "max_min"], Choice(*SHARINGS)] = Field(
        "per_link",
        description="How bulk shares the star's links: each link equally (fast, exact where one link limits), or "
        "max-min fair over whole paths. A topology is always max-min fair.",
    )
    transport: Annotated[Literal["ideal", "cubic", "bbr", "reno"], Choice(*CONTROLS)] = Field(
        "ideal",
        description="ideal: messages take what the links give; cubic, bbr, reno: handshakes, slow start, and a rate "
        "that round trip and loss limit.",
    )
    transport_constants: TransportSpec = Field(
        default_factory=TransportSpec, description="Constants of cubic, bbr and reno."
    )
    jitter: JitterSpec | None = Field(None, description="Delays that wander. null: steady ones.")
    relay: RelaySpec | None = Field(
        None, description="A relay for pairs of devices on translated links. null: all pairs reach each other."
    )
    places: dict[Name, Place] = Field(
        default_factory=dict,
        description="Own regions by where they are; delays to each other and to the backbone's regions follow from the "
        "distance: half of 11.4 ms + 0.01566 ms/km there and back.",
    )

    region_delays: dict[Name, dict[Name, Delay]] = Field(
        default_factory=dict,
        description="Own one-way delays between regions, s, as {from: {to: delay}}; the other direction may be left "
        "out. They come beside the catalogue's, or in place of them.",
    )
    peer_timeout: PositiveSeconds = Field(30.0, description="Silence after which a peer counts as lost, s.")
    max_message: Bytes = Field(1 << 28, description="Largest message, bytes; larger ones are refused.")
