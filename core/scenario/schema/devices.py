"""The sections `devices`, `profiles`, and those of other actors' places: which devices, like what, and their users."""

from __future__ import annotations

from typing import Annotated, Final, Literal, TypeAlias

from pydantic import Field

from core.scenario.kinds import Choice, Number, Spread, Text, Whole
from core.scenario.schema.section import Bool, Name, Section
from core.scenario.units import (
    HOURS_OF_DAY,
    SESSION,
    Ambient,
    BytesPerSecond,
    Charge,
    FlopsPerSecond,
    Fraction,
    Joules,
    Seconds,
    TimeZones,
    Watts,
)

#: The word for the charge that phones are found with.
TYPICAL: Final = "typical"
#: A correlation.
Between: TypeAlias = Annotated[float, Number(-1, 1)]
#: A machine under `hosts`.
HostName: TypeAlias = Annotated[str | None, Text("the name of a machine under hosts", or_null="cores of its own")]


class Station(Section):
    """Where an actor of the job lives."""

    device: Name = Field(description="Class of its device; `aivsim list devices` shows them.")
    link: Name = Field(description="Its access link; `aivsim list links` shows them.")
    region: Name = Field(
        "europe", description="Region of the Internet (`aivsim list regions` shows them), or site of network.topology."
    )
    host: HostName = Field(None, description="The machine under `hosts` whose cores it shares with others.")


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
    host: HostName = Field(None, description="The machine under `hosts` whose cores they share.")


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


class HostSpec(Section):
    """A machine whose cores devices share, such as a server with virtual clients; in the simulator."""

    cores: Annotated[float, Number(above=0, maximum=1_000_000)] = Field(
        description="Cores; of k jobs and messages at once each gets their k-th part, and at most one core."
    )
    job: Seconds = Field(0.0, description="Time of a core that a job takes beside its work, s.")
    message: Seconds = Field(0.0, description="Time of a core that a message takes at each of its ends here, s.")
    megabyte: Seconds = Field(0.0, description="Time of a core that a megabyte of a message takes beside, s.")
