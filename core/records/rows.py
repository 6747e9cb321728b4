"""The tables of a run: one struct a table, typed, units in the column names, each column documented.

`time_s` and `actor` are added by the world that records the row. A field declared `… | Payload` may hold a
payload that is not computed yet; it stands for the array of the payload that is named like the field.
Tables whose name begins with `host_` hold what the clock of the machine measured and are part of no hash.
"""

from __future__ import annotations

from typing import Annotated, ClassVar

import msgspec
from msgspec import Meta

from core.wire import Payload


class Row(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Base of all rows; `table` names the table. Rows are many and in no cycles: the collector need not see them."""

    table: ClassVar[str] = ""


class MessageRow(Row, frozen=True, kw_only=True):
    """A delivered message, in order of delivery. This table has no `time_s` and `actor` beside its own columns."""

    table: ClassVar[str] = "messages"
    sent_s: Annotated[float, Meta(description="When its sender handed it to the network, s of the study.")]
    delivered_s: Annotated[float, Meta(description="When its last byte was with the receiver, s of the study.")]
    sender: Annotated[str, Meta(description="The actor that sent it.")]
    receiver: Annotated[str, Meta(description="The actor that got it.")]
    type: Annotated[str, Meta(description="Class name of the message.")]
    size_bytes: Annotated[int, Meta(description="Bytes of its frame, as on a socket before TLS.")]


class UndeliveredRow(Row, frozen=True, kw_only=True):
    """A message that did not reach a handler."""

    table: ClassVar[str] = "undelivered"
    sender: Annotated[str, Meta(description="The actor that sent it.")]
    receiver: Annotated[str, Meta(description="The actor that it was for.")]
    type: Annotated[str, Meta(description="Class name of the message; empty if it could not be read.")]
    size_bytes: Annotated[int, Meta(description="Bytes of its frame.")]
    reason: Annotated[
        str,
        Meta(
            description="full, unexpected, gone, oversized, malformed, version, truncated, late (a reply nobody waits "
            "for any more), device (the sender's or receiver's device stopped), lost (by a fault of the network)."
        ),
    ]


class PlacementRow(Row, frozen=True, kw_only=True):
    """Where an actor lives: its device's class and access link. One row an actor, at time 0."""

    table: ClassVar[str] = "placements"
    profile: Annotated[str, Meta(description="Class of the device.")]
    link: Annotated[str, Meta(description="Name of the access link.")]
    region: Annotated[str, Meta(description="Region of the Internet that it is in.")]
    battery_j: Annotated[float | None, Meta(description="Energy of the full battery, J; null without one.")]


class RoundRow(Row, frozen=True, kw_only=True):
    """One round of a training job, recorded when it ends; of asynchronous training, the time between two models."""

    table: ClassVar[str] = "rounds"
    round: Annotated[int, Meta(description="Number, from 1.")]
    started_s: Annotated[float, Meta(description="When clients were selected, s of the study.")]
    ended_s: Annotated[float, Meta(description="When the model was updated or the round given up, s of the study.")]
    available: Annotated[int, Meta(description="Clients known at its start.")]
    selected: Annotated[int, Meta(description="Clients asked to train.")]
    accepted: Annotated[int, Meta(description="Updates that came in time and were what was asked for.")]
    late: Annotated[int, Meta(description="Clients whose result had not come when the round ended.")]
    lost: Annotated[int, Meta(description="Clients that went away or started anew.")]
    declined: Annotated[int, Meta(description="Clients whose device did not allow training.")]
    rejected: Annotated[int, Meta(description="Updates refused: not of the model's shape, or impossible weights.")]
    not_finite: Annotated[
        int | Payload,
        Meta(description="Accepted updates that the exact sum left out: NaN, infinite or out of its range."),
    ]
    used: Annotated[
        int | Payload,
        Meta(description="Accepted updates that the exact sum took; 0: the round left the model as it was."),
    ] = 0
    examples: Annotated[int, Meta(description="Training examples behind the accepted updates.")]
    outcome: Annotated[
        str,
        Meta(
            description="aggregated (enough results came, whether `used` or not), or abandoned (fewer than "
            "`min_participants`)."
        ),
    ]


class ParticipationRow(Row, frozen=True, kw_only=True):
    """One decision or event about one client in one round."""

    table: ClassVar[str] = "participation"
    round: Annotated[int, Meta(description="Number of the round.")]
    client: Annotated[str, Meta(description="The actor it is about.")]
    event: Annotated[
        str,
        Meta(
            description="selected, training (it took the work on), accepted (its update came in time and went to the "
            "sum, which leaves out what is not finite or out of range: `rounds.not_finite`), late, lost, declined, "
            "rejected (its update was not of the model's shape), unused (a result after the round), empty (it joined "
            "without examples), not_evaluated."
        ),
    ]
    detail: Annotated[str, Meta(description="Why.")] = ""


class ClientRow(Row, frozen=True, kw_only=True):
    """What a client reported of its local training."""

    table: ClassVar[str] = "clients"
    round: Annotated[int, Meta(description="Number of the round.")]
    client: Annotated[str, Meta(description="The actor that trained.")]
    examples: Annotated[int, Meta(description="Its training examples.")]
    steps: Annotated[int, Meta(description="Steps it made: batches that it went through, for training or otherwise.")]
    seconds: Annotated[float, Meta(description="How long it took, s of the study.")]
    staleness: Annotated[
        int, Meta(description="Versions of the model made since the one it was sent; 0 in synchronous training.")
    ] = 0
    state_bytes: Annotated[
        int, Meta(description="Bytes that it keeps for the algorithm until it trains again, such as an own model.")
    ] = 0
    loss: Annotated[float | Payload, Meta(description="Mean training loss; null if it was never computed.")]


class EvaluationRow(Row, frozen=True, kw_only=True):
    """The global model on the pooled held-out examples."""

    table: ClassVar[str] = "evaluations"
    round: Annotated[int, Meta(description="The round that made the model.")]
    examples: Annotated[int, Meta(description="Held-out examples.")]
    accuracy: Annotated[
        float | Payload | None,
        Meta(description="Share classified or predicted rightly; null for regression, or if it was never computed."),
    ]
    loss: Annotated[float | Payload, Meta(description="Mean loss; null if it was never computed.")]
    error: Annotated[
        float | Payload | None,
        Meta(description="Mean absolute error of a regression, in units of its target; null for other tasks."),
    ] = None


class ShardRow(Row, frozen=True, kw_only=True):
    """The examples of an actor, recorded at time 0: how many, of which labels, and how unlike all clients' together.

    Distances are total variation, half the sum over the labels of the differences between the shares of the client and
    those of all clients: 0 if alike, 1 if nothing is shared.
    """

    table: ClassVar[str] = "shards"
    client: Annotated[str, Meta(description="Name of the client of the data.")]
    train_examples: Annotated[int, Meta(description="Examples to train on.")]
    test_examples: Annotated[int, Meta(description="Examples held out.")]
    label_counts: Annotated[
        str,
        Meta(
            description="Training examples of each label, from 0 on, between spaces; of a regression those in each "
            "tenth of all targets, of text its tokens."
        ),
    ]
    label_distance: Annotated[float, Meta(description="Distance of its labels' shares from all clients'.")]
    chance_distance: Annotated[
        float, Meta(description="The distance to expect of as many labels drawn at random from all clients'.")
    ]


class ClientEvaluationRow(Row, frozen=True, kw_only=True):
    """A model on the held-out examples of one client (`training.eval_clients_every`)."""

    table: ClassVar[str] = "client_evaluations"
    round: Annotated[int, Meta(description="The round that made the global model.")]
    client: Annotated[str, Meta(description="The actor that evaluated.")]
    model: Annotated[
        str,
        Meta(description="global, or personal (the client's own, if the algorithm gives it one and it has trained)."),
    ]
    examples: Annotated[int, Meta(description="Its held-out examples.")]
    accuracy: Annotated[
        float | Payload | None,
        Meta(description="Share classified or predicted rightly; null for regression, or if it was never computed."),
    ]
    loss: Annotated[float | Payload, Meta(description="Mean loss; null if it was never computed.")]
    error: Annotated[
        float | Payload | None,
        Meta(description="Mean absolute error of a regression, in units of its target; null for other tasks."),
    ] = None


class JobRow(Row, frozen=True, kw_only=True):
    """A computation on a device, modelled (or, on a host as its own device, measured), recorded at its end."""

    table: ClassVar[str] = "jobs"
    function: Annotated[str, Meta(description="Name of the function.")]
    started_s: Annotated[float, Meta(description="When the device began with it, s of the study.")]
    seconds: Annotated[float, Meta(description="How long the device worked on it, s of the study.")]
    flops: Annotated[float, Meta(description="Floating-point operations of the reference steps.")]
    steps: Annotated[int, Meta(description="Steps of the reference.")]
    joules: Annotated[float, Meta(description="Energy of the processor above idle, J.")]
    outcome: Annotated[str, Meta(description="done, cancelled, crash, battery_empty or overheated.")]
    purpose: Annotated[str, Meta(description="What it was for: training or inference.")] = "training"


class DeviceRow(Row, frozen=True, kw_only=True):
    """State of a device at one of its events."""

    table: ClassVar[str] = "devices"
    event: Annotated[
        str,
        Meta(
            description="start, job_start, job_end, throttle, charging, on_battery, in_use, left_alone, metered, "
            "unmetered, battery_full, battery_empty, overheated, link_down, link_up, handover, crash, battery_pulled, "
            "restart, end; and the name of any other fault when it begins, with _end when it ends."
        ),
    ]
    battery_level: Annotated[float | None, Meta(description="Charge, 0 to 1; null without a battery.")]
    soc_temperature_c: Annotated[float | None, Meta(description="Temperature of the processor, °C.")]
    case_temperature_c: Annotated[float | None, Meta(description="Temperature of the case (skin), °C.")]
    speed: Annotated[float, Meta(description="Speed now over that of its class, throttling included.")]
    charging: Annotated[bool, Meta(description="Whether it is on external power.")]


class EnergyRow(Row, frozen=True, kw_only=True):
    """Energy of a device over the whole run, by component. Draws = battery + mains."""

    table: ClassVar[str] = "energy"
    component: Annotated[
        str,
        Meta(
            description="idle, processor, accelerator, screen, radio_send, radio_receive, radio_tail (what drew it); "
            "battery, mains (where it came from); battery_loss (heat of the battery's resistance); "
            "charger_loss, stored (what the charger lost and put into the battery); messages (the processor's part for "
            "them, on a shared host)."
        ),
    ]
    joules: Annotated[float, Meta(description="Energy, J.")]


class FaultRow(Row, frozen=True, kw_only=True):
    """A fault that the scenario asked for, or a failure inside an actor."""

    table: ClassVar[str] = "faults"
    kind: Annotated[
        str,
        Meta(
            description="link_down, crash, partition, slow, lost, duplicated, reordered, battery_pulled, clock_skew, "
            "disk_full; records_lost (what waited for a disk that stayed full), actor_failed, node_lost, node_refused."
        ),
    ]
    detail: Annotated[str, Meta(description="More about it.")] = ""


class ImpairedRow(Row, frozen=True, kw_only=True):
    """A message that a fault of the network has touched, when it did; `actor` is the one whose link or side it was."""

    table: ClassVar[str] = "impaired"
    fault: Annotated[str, Meta(description="lost, duplicated, reordered, or partition (it waits for its end).")]
    sender: Annotated[str, Meta(description="The actor that sent it.")]
    receiver: Annotated[str, Meta(description="The actor that it is for.")]
    type: Annotated[str, Meta(description="Class name of the message.")]
    size_bytes: Annotated[int, Meta(description="Bytes of its frame.")]


class AvailabilityRow(Row, frozen=True, kw_only=True):
    """How many devices of a population are in which state, four times an hour; the actor is the population."""

    table: ClassVar[str] = "availability"
    devices: Annotated[int, Meta(description="Devices of the population.")]
    eligible: Annotated[int, Meta(description="Devices that fulfil what is asked of them to take part.")]
    in_use: Annotated[int, Meta(description="Devices in use.")]
    charging: Annotated[int, Meta(description="Devices on a charger.")]
    metered: Annotated[int, Meta(description="Devices on a network that costs.")]
    transitions: Annotated[int, Meta(description="Changes of state so far, of all its devices together.")]


class HostOverrunRow(Row, frozen=True, kw_only=True):
    """The machine was slower than the device it emulates."""

    table: ClassVar[str] = "host_overruns"
    function: Annotated[str, Meta(description="Name of the function.")]
    modelled_s: Annotated[float, Meta(description="How long the device would have taken, wall s.")]
    measured_s: Annotated[float, Meta(description="How long this machine took, wall s.")]


class HostNodeRow(Row, frozen=True, kw_only=True):
    """What a process of the real world cost; handshakes and heartbeats are part of no message's frame."""

    table: ClassVar[str] = "host_nodes"
    process: Annotated[str, Meta(description="Name of the node.")]
    cpu_s: Annotated[float, Meta(description="Processor time, s.")]
    peak_rss_bytes: Annotated[int, Meta(description="Largest resident memory.")]
    frame_bytes_sent: Annotated[int, Meta(description="Bytes of messages' frames sent to other nodes.")]
    frame_bytes_received: Annotated[int, Meta(description="Bytes of messages' frames received from other nodes.")]
    heartbeat_bytes: Annotated[int, Meta(description="Bytes that keep connections alive and confirm frames.")]
    handshakes: Annotated[int, Meta(description="TLS connections made.")]
    reconnections: Annotated[int, Meta(description="Connections made again after a loss.")]


class HostLinkRow(Row, frozen=True, kw_only=True):
    """What a node of the real world sent over its emulated link, as IP packets of all its connections."""

    table: ClassVar[str] = "host_links"
    node: Annotated[str, Meta(description="Name of the node.")]
    packets: Annotated[int, Meta(description="Packets that it sent.")]
    packet_bytes: Annotated[int, Meta(description="Their bytes, IP headers included.")]
    lost: Annotated[int, Meta(description="Packets of these that were lost by chance, as the links' loss says.")]
    overflowed: Annotated[int, Meta(description="Packets of these that found a full queue.")]
    late: Annotated[
        int, Meta(description="Packets of these that were passed on over 2 ms late, as this machine was too slow.")
    ]
    relay_s: Annotated[
        float, Meta(description="Processor time of the relay that carried all packets, by their number, s.")
    ]


class HostRunRow(Row, frozen=True, kw_only=True):
    """What a phase of the run cost the process that ran it; the nodes of the real world stand in `host_nodes`."""

    table: ClassVar[str] = "host_run"
    phase: Annotated[str, Meta(description="Name of the phase.")]
    wall_s: Annotated[float, Meta(description="By the clock, s.")]
    cpu_s: Annotated[float, Meta(description="Processor time of the process, s.")]
    peak_rss_bytes: Annotated[int, Meta(description="Largest resident memory so far.")]


TABLES: dict[str, type[Row]] = {
    row.table: row
    for row in (
        MessageRow,
        UndeliveredRow,
        PlacementRow,
        RoundRow,
        ParticipationRow,
        ClientRow,
        EvaluationRow,
        ClientEvaluationRow,
        ShardRow,
        JobRow,
        DeviceRow,
        EnergyRow,
        FaultRow,
        ImpairedRow,
        AvailabilityRow,
        HostOverrunRow,
        HostNodeRow,
        HostLinkRow,
        HostRunRow,
    )
}
