"""The sections `faults` and `random_faults`: what goes wrong."""

from __future__ import annotations

from typing import Annotated, TypeAlias

from pydantic import Field

from core.scenario.kinds import Choice, Choices, Number, Whole
from core.scenario.names import FAULTS, MESSAGES
from core.scenario.schema.section import Name, Section
from core.scenario.units import (
    DelayOrNull,
    PositiveSeconds,
    ProbabilityOrNull,
    SecondsOrForGood,
    SecondsOrNull,
    SignedSeconds,
    SpeedOrNull,
)

FaultKind: TypeAlias = Annotated[str, Choice(*FAULTS)]


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
