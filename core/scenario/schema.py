"""The scenario: one study as frozen pydantic models. Every field has a description, which `aivsim schema`, `aivsim new`
and the docs show; quantities are in SI units once read (`core.scenario.units`).

A scenario made in Python (`Scenario(...)`, `Scenario.model_validate(...)`) is checked like one from a file; `load`
adds files, lines, `extends` and overrides.
"""

from __future__ import annotations

import functools
from typing import Annotated, Any, Final, Literal, Self, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from core.network.network import SHARINGS
from core.network.transport import CONTROLS, QUEUE_S
from core.scenario import checks, tree
from core.scenario.kinds import Choice, Choices, Component, Flag, Number, Options, Spread, Text, Whole
from core.scenario.names import (
    ALGORITHMS,
    COORDINATOR,
    DATA_SUFFIXES,
    DATASETS,
    EVALUATOR,
    FAULTS,
    FEATURE_SKEWS,
    LAYERED,
    MESSAGES,
    MODELS,
    PARTITIONS,
    TOPOLOGIES,
)
from core.scenario.units import (
    HOURS_OF_DAY,
    SESSION,
    Ambient,
    Bytes,
    BytesPerSecond,
    CelsiusOrNull,
    Charge,
    Delay,
    DelayOrNull,
    FlopsPerSecond,
    Fraction,
    FractionBelowOne,
    FractionOrNull,
    Joules,
    PositiveSeconds,
    ProbabilityOrNull,
    ScoreOrNull,
    Seconds,
    SecondsOrForGood,
    SecondsOrNull,
    SignedSeconds,
    SpeedOrNull,
    Step,
    TimeZones,
    Watts,
)

#: Type of the error that carries what the checks across keys have found.
CHECKS: Final = "checks"
#: Endings of files that are read whole.
FILES: Final = (*DATA_SUFFIXES, ".graphml", ".json")
#: Keys whose value may be a path, which is relative to the file that it stands in.
PATH_KEYS: Final = (
    ("data", "dataset"),
    ("model", "name"),
    ("training", "algorithm"),
    ("network", "topology"),
)
#: Keys whose value is a path, whatever it looks like; "*" stands for every name or number.
FILE_KEYS: Final = (
    ("numerics", "surrogate"),
    ("links", "*", "trace", "up"),
    ("links", "*", "trace", "down"),
    ("devices", "*", "availability", "trace"),
)

#: The word for the charge that phones are found with.
TYPICAL: Final = "typical"
_NAME: Final = r"[A-Za-z][A-Za-z0-9_-]{0,63}"
Name: TypeAlias = Annotated[str, Text("a name: a letter, then letters, digits, _ or -", _NAME, maximum=64)]
Words: TypeAlias = Annotated[str, Text("text")]
Bool: TypeAlias = Annotated[bool, Flag()]
#: A correlation.
Between: TypeAlias = Annotated[float, Number(-1, 1)]
FaultKind: TypeAlias = Annotated[str, Choice(*FAULTS)]


class Section(BaseModel):
    """A part of a scenario: frozen, and unknown keys are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())

    @model_validator(mode="before")
    @classmethod
    def _spell_out(cls, data: object) -> object:
        return cls.spelled_out(data)

    @classmethod
    def spelled_out(cls, data: object) -> object:
        """What a shorter form of the section stands for; anything else as it is."""
        return data


class FeatureSkew(Section):
    """A change of each client's examples, in a way of its own."""

    kind: Annotated[Literal["noise", "sensor", "rotate"], Choice(*FEATURE_SKEWS)] = Field(
        description="noise: more with each client; sensor: a gain and an offset of its own; rotate: quarter turns."
    )
    strength: Annotated[float, Number(0, 1000)] = Field(
        0.1, description="noise: variance at the last client; sensor: deviation of log gain and offset; rotate: unused."
    )


class Data(Section):
    """The examples, and how they are dealt to clients."""

    dataset: Annotated[str, Component("data set", DATASETS, suffixes=DATA_SUFFIXES, own=False)] = Field(
        "digits",
        description="A data set that comes with the project (`aivsim list datasets`), or the path of an own file.",
    )
    options: Annotated[dict[str, Any], Options()] = Field(
        default_factory=dict,
        description="Options of the data set; of a file: which columns or arrays are x, y and client, and more.",
    )
    partition: Annotated[
        Literal["natural", "iid", "dirichlet", "shards", "labels", "lognormal", "power_law", "sampled"],
        Choice(*PARTITIONS),
    ] = Field(
        "natural",
        description="How examples are dealt: by the data's natural client (natural), at random in equal parts (iid), "
        "with skewed labels (dirichlet, shards, labels) with skewed sizes (lognormal, power_law), "
        "or to each client some at random, with others (sampled).",
    )
    clients: Annotated[int | None, Whole(1, 1_000_000, or_null="as many as there are devices")] = Field(
        None,
        description="Clients that examples are dealt to; the first are on the devices. null: as many as devices.",
    )
    alpha: Annotated[float, Number(above=0, maximum=1e6)] = Field(
        0.5, description="Concentration of the dirichlet partition: 0.1 is very skewed, 100 nearly even."
    )
    per_client: Annotated[int, Whole(1, 100_000)] = Field(
        2, description="Shards of each client in the partition shards, or labels of each in the partition labels."
    )
    sigma: Annotated[float | None, Number(0, 10, or_null="1 for lognormal, 0 for labels")] = Field(
        None, description="Deviation of the logarithms of sizes (lognormal), or of the weights on a label (labels)."
    )
    exponent: Annotated[float, Number(above=1, maximum=100)] = Field(
        2.0, description="Exponent of the partition power_law: P(size > s) falls as s^(1 - exponent)."
    )
    min_examples: Annotated[int | None, Whole(1, 1_000_000_000, or_null="10 for dirichlet, 1 for the others")] = Field(
        None,
        description="Least examples of a client, held-out ones included (dirichlet, lognormal, power_law); natural "
        "clients with less are passed over.",
    )
    feature_skew: FeatureSkew | None = Field(
        None, description="A change of each client's examples, in a way of its own; null: none."
    )
    examples: Annotated[int, Whole(1, 1_000_000)] = Field(
        50, description="Median number of examples of a client in the sampled partition."
    )
    examples_spread: Annotated[float, Number(0, 2)] = Field(
        1.0, description="Standard deviation of the natural logarithm of that number; nobody has more than 20 times it."
    )
    test_fraction: FractionBelowOne = Field(
        0.2,
        description="Share of each client's examples that is held out; pooled, they are the evaluator's test set. Data "
        "with a test part of their own are evaluated on that instead, and nothing else is held out.",
    )
    hold_out: Annotated[Literal["random", "last"], Choice("random", "last")] = Field(
        "random",
        description="Which examples are held out: any, or the last (for series and text, whose neighbours are alike).",
    )


class Model(Section):
    """The model that is trained."""

    name: Annotated[str, Component("model", MODELS)] = Field(
        "softmax",
        description="A model that comes with the project (`aivsim list models`), or an own factory of flax modules.",
    )
    options: Annotated[dict[str, Any], Options()] = Field(
        default_factory=dict, description="Options of the model; cnn: features (two numbers) and hidden."
    )


class Requirements(Section):
    """What a device must fulfil to train when it is asked; others decline."""

    min_battery: FractionOrNull = Field(None, description="Least charge; devices on mains fulfil it.")
    max_temperature: CelsiusOrNull = Field(None, description="Highest temperature, °C.")
    charging: Bool = Field(False, description="Only while on external power.")
    unmetered: Bool = Field(False, description="Only on links whose traffic costs nothing (not metered).")


class Training(Section):
    """The training job."""

    algorithm: Annotated[str, Component("algorithm", ALGORITHMS)] = Field(
        "fedavg",
        description="An algorithm of `aivsim list algorithms`, or an own function that takes the model, batch_size and "
        "server_learning_rate.",
    )
    options: Annotated[dict[str, Any], Options()] = Field(
        default_factory=dict,
        description="Options of the algorithm, such as mu of fedprox; docs/learning.md has them all.",
    )
    rounds: Annotated[int, Whole(1, 10_000_000)] = Field(description="Rounds of training.")
    min_participants: Annotated[int, Whole(1, 1_000_000)] = Field(
        1, description="Clients that must be there to begin a round, and results that must come for it to count."
    )
    max_participants: Annotated[int | None, Whole(1, 1_000_000, or_null="all devices")] = Field(
        None,
        description="Results after which a round ends; of asynchronous algorithms, clients that train at a time. null: "
        "as many as there are devices.",
    )
    over_selection: Annotated[float, Number(1, 100)] = Field(
        1.0, description="Clients asked for each result that is wanted; 1.3 asks 13 for 10."
    )
    deadline: PositiveSeconds = Field(600.0, description="Longest round, s; results that come later are not used.")
    local_epochs: Annotated[int, Whole(1, 100_000)] = Field(
        1,
        description="Passes of a client over its own examples in a round; fedsgd always takes one gradient over all.",
    )
    batch_size: Annotated[int, Whole(1, 1_000_000)] = Field(32, description="Examples of a client's step.")
    learning_rate: Annotated[float, Number(above=0, maximum=1e6)] = Field(
        0.1, description="Learning rate of the clients' optimiser."
    )
    server_learning_rate: Annotated[float, Number(above=0, maximum=1e6)] = Field(
        1.0, description="What the mean of the clients' updates is multiplied by; 1 is plain federated averaging."
    )
    eval_every: Annotated[int, Whole(1, 10_000_000)] = Field(
        1, description="Rounds from one evaluation to the next; the last model is always evaluated."
    )
    eval_clients_every: Annotated[int | None, Whole(1, 10_000_000, or_null="never")] = Field(
        None,
        description="Rounds from one evaluation by all clients on their own held-out examples, of the global model and "
        "of their own if they have one, to the next. null: never.",
    )
    pause: Seconds = Field(0.0, description="Rest between two rounds, s.")
    enrol_timeout: PositiveSeconds = Field(
        600.0, description="How long to wait for enough clients before a round is given up, s."
    )
    requirements: Requirements = Field(default_factory=Requirements, description="What a device must fulfil to train.")


class Station(Section):
    """Where an actor of the job lives."""

    device: Name = Field(description="Class of its device; `aivsim list devices` shows them.")
    link: Name = Field(description="Its access link; `aivsim list links` shows them.")
    region: Name = Field(
        "europe", description="Region of the Internet (`aivsim list regions` shows them), or site of network.topology."
    )


class Availability(Section):
    """What the users of a group's devices do: nothing, live by habits, or what a trace tells."""

    kind: Annotated[Literal["always", "sessions", "trace"], Choice("always", "sessions", "trace")] = Field(
        "always",
        description="always: left alone, as they are; sessions: taken up, charged and carried away as phones are; "
        "trace: as measured ones of a file. In place of a map with nothing else, the word alone will do.",
    )
    trace: Annotated[
        str | None, Text("the path of a .csv, a .json (FLASH) or another file (FedScale)", or_null="none")
    ] = Field(None, description="File of traces, for the devices in turn.")
    shuffled: Bool = Field(False, description="Whether each device begins anywhere in its trace, not at the beginning.")
    sessions_per_day: Annotated[float, Number(0, 1000)] = Field(
        20.0, description="Sessions on the charger that would begin in a day if the device always waited for one."
    )
    spread: Annotated[float, Number(0, 2)] = Field(
        0.0, description="Standard deviation of the natural logarithm of that number among the devices."
    )
    amplitude: Fraction = Field(
        0.0, description="How much the number of sessions swings over a day beside the nights: 0.6 is fourfold."
    )
    peak: Annotated[float, HOURS_OF_DAY] = Field(7200.0, description="Time of day of most sessions, s from midnight.")
    session_median: Annotated[float, SESSION] = Field(300.0, description="Median length of a session, s.")
    session_spread: Annotated[float, Number(0, 3)] = Field(
        1.32, description="Standard deviation of the natural logarithm of a session's length."
    )
    nights: Fraction = Field(0.6, description="Share of users who charge at night.")
    night_chance: Fraction = Field(0.8, description="Chance that such a user does so in a given night.")
    timezone: TimeZones = Field(
        (0.0, 0.0),
        description="Hours that their time is ahead of the study's, which begins at midnight; or an even spread from "
        "one to another.",
    )

    @classmethod
    def spelled_out(cls, data: object) -> object:
        if isinstance(data, str):
            return {"kind": data}
        if isinstance(data, dict) and "trace" in data and "kind" not in data:
            return {"kind": "trace", **data}
        return data


class Correlation(Section):
    """Correlations between what differs among the devices of a group, of the normal scores behind each pair."""

    speed_availability: Between = Field(0.0, description="Faster devices have more sessions (availability.spread).")
    speed_data: Between = Field(0.0, description="Faster devices have more examples.")
    speed_network: Between = Field(0.0, description="Faster devices have faster links.")
    availability_data: Between = Field(0.0, description="Devices with more sessions have more examples.")
    availability_network: Between = Field(0.0, description="Devices with more sessions have faster links.")
    data_network: Between = Field(0.0, description="Devices with more examples have faster links.")


class Group(Section):
    """Devices of one kind: the clients `NAME-0`, `NAME-1`, …"""

    name: Name = Field(description="Name of the group; its devices are NAME-0, NAME-1, …")
    count: Annotated[int, Whole(1, 1_000_000)] = Field(1, description="How many there are.")
    device: Name = Field(description="Class of the devices; `aivsim list devices` shows them.")
    link: Name = Field(description="Their access link, one each; `aivsim list links` shows them.")
    region: Name = Field(
        "europe",
        description="Region of the Internet (`aivsim list regions` shows them), or site of network.topology; a kind of "
        "sites deals the devices to them in turn.",
    )
    battery: Charge = Field(
        (1.0, 1.0),
        description="Charge at the start, the lowest and highest of an even spread, or typical, which is how phones "
        "are found (Beta(3.2, 1.9), mean 63 %); nothing to devices on mains.",
    )
    charging: Bool = Field(False, description="Whether they are on a charger.")
    ambient: Ambient = Field(25.0, description="Temperature around them, °C.")
    speed_spread: Annotated[float | Literal["class"], Spread(0, 2)] = Field(
        0.0,
        description="Standard deviation of the natural logarithm of their speed; 0: all alike; class: as the catalogue "
        "has it for the device, 0.5 for phones.",
    )
    network_spread: Annotated[float | Literal["class"], Spread(0, 2)] = Field(
        0.0,
        description="Standard deviation of the natural logarithm of their links' rates; 0: all alike; class: as the "
        "catalogue has it for the link.",
    )
    availability: Availability = Field(
        default_factory=Availability,
        description="What their users do: always (nothing), sessions, or a trace; with the latter two, a device checks "
        "in when it comes to fulfil training.requirements and out when it does not any more.",
    )
    correlation: Correlation = Field(
        default_factory=Correlation, description="How speed, availability, data and network correlate among them."
    )


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


#: Where a number of a class of devices stands, such as heat.case_to_air_k_per_w.
NumberKey: TypeAlias = Annotated[str, Text("a key such as battery.pack_ohm", r"[a-z0-9_.]{1,80}")]


class ProfileSpec(Section):
    """An own class of devices: one of the catalogue with some values replaced; null leaves the catalogue's."""

    base: Name = Field(description="The class of the catalogue that it is made from.")
    train_speed: FlopsPerSecond | None = Field(None, description="Speed of training, FLOP/s.")
    step_overhead: Seconds | None = Field(None, description="Fixed cost of a training step, s.")
    memory_speed: BytesPerSecond | None = Field(None, description="Speed of its memory, bytes/s.")
    idle_power: Watts | None = Field(None, description="Power when idle, W.")
    max_power: Watts | None = Field(None, description="Power at full load, idle included, W.")
    battery: Joules | None = Field(None, description="Energy of the full battery, J; only if the base has one.")
    numbers: dict[NumberKey, Annotated[float, Number(-1e18, 1e18)]] = Field(
        default_factory=dict,
        description="Any other numbers of the base, by the key under which `aivsim show device BASE` has them, such as "
        "battery.pack_ohm.",
    )


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


class FaultShape(Section):
    """What goes wrong, with the keys that only some kinds have; docs/faults.md tells what each does in which world."""

    kind: FaultKind = Field(description="What goes wrong; `aivsim list faults` shows the kinds.")
    probability: ProbabilityOrNull = Field(
        None, description="Of lost, duplicated and reordered: how likely each message is struck."
    )
    messages: Annotated[tuple[str, ...], Choices(*MESSAGES)] = Field(
        (), description="Of lost, duplicated and reordered: the types of messages that may be struck. []: all."
    )
    behind: Annotated[int | None, Whole(1, 1_000_000, or_null="the delay alone counts")] = Field(
        None, description="Of reordered: later messages of the same stream that overtake the one that is struck."
    )
    delay: DelayOrNull = Field(None, description="Of reordered: how long the one that is struck waits at most, s.")
    speed: SpeedOrNull = Field(None, description="Of slow: the share of its speed that the device has left.")
    offset: SignedSeconds = Field(
        0.0, description="Of clock_skew: how far the clock is ahead at once, s; below 0: behind."
    )
    drift: Annotated[float, Number(-0.9, 9)] = Field(
        0.0, description="Of clock_skew: seconds that the clock gains in a second; below 0: loses."
    )
    sets: tuple[tuple[Name, ...], ...] = Field(
        (),
        description="Of partition: lists of actors, groups and regions that cannot reach those of the other lists; of "
        "one list: all who are not in it. Who is in none reaches all.",
    )


class FaultSpec(FaultShape):
    """Something that goes wrong at a given time, or after so many messages."""

    target: Name | None = Field(
        None,
        description="An actor (coordinator, evaluator, NAME-0, …), or a group for all its devices; none of partition.",
    )
    at: SecondsOrNull = Field(None, description="When, s of the study.")
    after_messages: Annotated[int | None, Whole(1, 1_000_000_000, or_null="it begins at its time")] = Field(
        None, description="In place of a time: when so many messages have come to the target."
    )
    duration: SecondsOrForGood = Field(None, description="How long, s; null: for good.")


class RandomFaultSpec(FaultShape):
    """Things that go wrong at random times, drawn from the seed: exponential times to the next fault and to its end."""

    targets: Name | None = Field(
        None, description="The group whose devices it strikes, each on its own; none of partition."
    )
    rate_per_hour: Annotated[float, Number(above=0, maximum=3600)] = Field(
        description="Mean number of faults in an hour without one, for each device."
    )
    mean_duration: PositiveSeconds = Field(description="Mean length of a fault, s.")
    until: PositiveSeconds = Field(3600.0, description="Time of the study after which no more begin, s.")


class Numerics(Section):
    """How numbers are computed; none of it changes times, energies or traffic."""

    fidelity: Annotated[Literal["train", "surrogate", "timing"], Choice("train", "surrogate", "timing")] = Field(
        "train",
        description="train: real training. timing: nothing is computed; times, energies and traffic are the same, "
        "unless a looked-at value steers the run (simulator). surrogate: as timing, with accuracies of fitted curves.",
    )
    surrogate: Annotated[str | None, Text("the path of a .json file", maximum=1000, or_null="none")] = Field(
        None,
        description="File of learning curves that `aivsim surrogate` has fitted to runs with fidelity train; used with "
        "fidelity surrogate.",
    )
    layout: Annotated[
        str,
        Text(
            "scan, vmap:WIDTH such as vmap:8, scan/vmap:WIDTH, or tuned",
            r"scan|(scan/)?vmap:[1-9][0-9]{0,3}|tuned",
        ),
    ] = Field(
        "scan",
        description="Layout of a batch of clients: scan (one after another, compiled), vmap:8 (8 side by side), "
        "scan/vmap:8 (such groups one after another), or tuned: what `aivsim tune` found best here.",
    )
    threads: Annotated[int | None, Whole(0, 1000, or_null="one for each core")] = Field(
        None,
        description="Threads that compute beside the events; 0 computes between them (simulator). null: one for each "
        "core. They change no bit.",
    )
    max_pending: Annotated[int, Whole(2, 10_000_000)] = Field(
        512, description="Jobs that may wait to be computed; beyond, the oldest are (simulator)."
    )
    checkpoint: Bool = Field(
        True,
        description="Keep what is computed until the run is done, so that `aivsim run --resume DIR` computes nothing "
        "twice after it was killed (simulator).",
    )
    strict_wire: Bool = Field(False, description="Encode and decode every message in the simulator too.")


class Real(Section):
    """How the study runs on real sockets (`--world real`)."""

    time_scale: Annotated[float, Number(above=0, maximum=1000)] = Field(
        0.1, description="Wall seconds for a second of the study; emulated devices only."
    )
    devices: Annotated[Literal["emulated", "host"], Choice("emulated", "host")] = Field(
        "emulated", description="emulated: the scenario's devices by the wall clock; host: each is this machine itself."
    )
    emulate_links: Bool = Field(
        False,
        description="Every actor is a process behind the scenario's link, in a network namespace of its own (Linux, as "
        "root); without it messages travel as fast as the machine can.",
    )
    congestion: Annotated[Literal["cubic", "bbr", "reno"], Choice("cubic", "bbr", "reno")] = Field(
        "cubic", description="Congestion control of TCP over emulated links."
    )
    processes: Annotated[int | None, Whole(1, 1000, or_null="one for each core")] = Field(
        None, description="Processes on this machine. null: one for each core; one for each actor with emulated links."
    )


class ReferenceSpec(Section):
    """A figure to hold the result against."""

    accuracy: Fraction = Field(description="Accuracy on held-out examples.")
    source: Words = Field(description="Where it comes from, and how it was set up.")


class Report(Section):
    """What the report shows beside the results."""

    reference: ReferenceSpec | None = Field(None, description="A figure to hold the final accuracy against.")
    target: ScoreOrNull = Field(
        None,
        description="Accuracy that is enough (of a regression: mean absolute error); told is what it took to reach "
        "it, in rounds, time, energy and bytes.",
    )


class Scenario(Section):
    """One study: data, model, training job, devices, network, faults."""

    name: Name = Field("study", description="Short name of the study.")
    description: Words = Field("", description="What it is about, in a sentence.")
    seed: Annotated[int, Whole(0, (1 << 63) - 1)] = Field(
        1, description="All randomness follows from it; the same seed gives the same run."
    )
    data: Data = Field(default_factory=Data, description="The examples, and how they are dealt to clients.")
    model: Model = Field(
        default_factory=Model,
        description="The model that is trained. Without any: softmax; of fedbn and fedrep, which need layers, mlp with "
        "a hidden layer of 32 and normalisation.",
    )
    training: Training = Field(description="The training job.")
    coordinator: Station = Field(
        default_factory=lambda: Station(device="server", link="datacentre"),
        description="Where the coordinator lives, who runs the rounds.",
    )
    evaluator: Station | None = Field(
        default_factory=lambda: Station(device="gateway", link="fixed_world"),
        description="Where the evaluator lives, who holds the pooled held-out examples. null: no evaluation.",
    )
    devices: tuple[Group, ...] = Field(min_length=1, description="The clients' devices, in groups of one kind.")
    links: dict[Name, LinkSpec] = Field(
        default_factory=dict, description="Own access links beside the catalogue's, by name."
    )
    profiles: dict[Name, ProfileSpec] = Field(
        default_factory=dict, description="Own classes of devices beside the catalogue's, by name."
    )
    network: Network = Field(default_factory=Network, description="What lies between the access links.")
    faults: tuple[FaultSpec, ...] = Field((), description="What goes wrong at given times.")
    random_faults: tuple[RandomFaultSpec, ...] = Field((), description="What goes wrong at random times.")
    numerics: Numerics = Field(default_factory=Numerics, description="How numbers are computed.")
    real: Real = Field(default_factory=Real, description="How the study runs on real sockets.")
    report: Report = Field(default_factory=Report, description="What the report shows beside the results.")

    @classmethod
    def spelled_out(cls, data: object) -> object:
        """Without a model, the algorithm's: where it parts the model between server and clients, one of layers."""
        if not isinstance(data, dict):
            return data
        training = data.get("training")
        algorithm = training.get("algorithm") if isinstance(training, dict) else None
        given = LAYERED.get(algorithm) if isinstance(algorithm, str) else None
        return data if given is None or data.get("model") else {**data, "model": given}

    @model_validator(mode="after")
    def _agrees(self) -> Self:
        found = checks.findings(self)
        if found:
            text = "; ".join(f"{'.'.join(map(str, f.path))}: {f.text}" for f in found)
            raise PydanticCustomError(CHECKS, "{text}", {"text": text, "findings": found})
        return self

    @property
    def device_names(self) -> tuple[str, ...]:
        """Names of the clients' actors, in the order of the groups; the k-th has the examples of client k."""
        return tuple(f"{group.name}-{i}" for group in self.devices for i in range(group.count))

    @property
    def actor_names(self) -> tuple[str, ...]:
        """Names of all actors: the coordinator, the evaluator if there is one, the clients."""
        evaluator = () if self.evaluator is None else (EVALUATOR,)
        return (COORDINATOR, *evaluator, *self.device_names)

    @property
    def device_count(self) -> int:
        """How many clients there are."""
        return sum(group.count for group in self.devices)

    @property
    def clients(self) -> int:
        """Clients that examples are dealt to; at least `device_count`."""
        return self.device_count if self.data.clients is None else self.data.clients

    @property
    def max_participants(self) -> int:
        """Results after which a round ends."""
        most = self.training.max_participants
        return self.device_count if most is None else most

    @functools.cached_property
    def places(self) -> tree.Node:
        """Where each key stands: as `load` has found it; of a scenario made in Python, nowhere."""
        return tree.from_plain(self.resolved(), tree.Place("scenario"))

    def resolved(self) -> dict[str, Any]:
        """All keys with their values as plain data, in SI units; `Scenario.model_validate` gives an equal scenario."""
        return self.model_dump(mode="json")
