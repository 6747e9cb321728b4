"""The tables of a run: one struct a table, typed, units in the column names, a line of documentation each.

`time_s` and `actor` are added by the world that records the row. A field declared `… | Payload` may hold a
payload that is not computed yet; it stands for the array of the payload that is named like the field.
Tables whose name begins with `host_` hold what the clock of the machine measured and are part of no hash.
"""

from __future__ import annotations

from typing import ClassVar

import msgspec

from core.wire import Payload


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """Base of all rows; `table` names the table."""

    table: ClassVar[str] = ""


class MessageRow(Row, frozen=True, kw_only=True):
    """A delivered message: who said what to whom, when it left and arrived, and the bytes of its frame."""

    table: ClassVar[str] = "messages"
    sent_s: float
    delivered_s: float
    sender: str
    receiver: str
    type: str
    size_bytes: int


class UndeliveredRow(Row, frozen=True, kw_only=True):
    """A message that did not reach a handler. `reason`: full, unexpected, gone, oversized, malformed, version,
    truncated, late (a reply nobody waits for any more), device (the sender's or receiver's device stopped)."""

    table: ClassVar[str] = "undelivered"
    sender: str
    receiver: str
    type: str
    size_bytes: int
    reason: str


class RoundRow(Row, frozen=True, kw_only=True):
    """One round of a training job. `outcome`: aggregated, or abandoned (fewer results than `min_participants`).

    `not_finite` counts accepted updates that the exact sum left out: NaN, infinite or out of its range.
    """

    table: ClassVar[str] = "rounds"
    round: int
    started_s: float
    ended_s: float
    available: int
    selected: int
    accepted: int
    late: int
    lost: int
    declined: int
    rejected: int
    not_finite: int | Payload
    examples: int
    outcome: str


class ParticipationRow(Row, frozen=True, kw_only=True):
    """One decision or event about one client in one round.

    `event`: selected, training (it accepted the work), accepted (its update went into the model), late, lost,
    declined, rejected (its update was not finite or of another shape). `detail` says why.
    """

    table: ClassVar[str] = "participation"
    round: int
    client: str
    event: str
    detail: str = ""


class ClientRow(Row, frozen=True, kw_only=True):
    """What a client reported of its local training."""

    table: ClassVar[str] = "clients"
    round: int
    client: str
    examples: int
    steps: int
    seconds: float
    loss: float | Payload


class EvaluationRow(Row, frozen=True, kw_only=True):
    """The global model on the pooled held-out examples."""

    table: ClassVar[str] = "evaluations"
    round: int
    examples: int
    accuracy: float | Payload
    loss: float | Payload


class JobRow(Row, frozen=True, kw_only=True):
    """A computation on a device, modelled (or, on a host as its own device, measured).

    `joules` is the energy of the processor above idle. `outcome`: done, cancelled, crash or battery_empty.
    """

    table: ClassVar[str] = "jobs"
    function: str
    started_s: float
    seconds: float
    flops: float
    steps: int
    joules: float
    outcome: str


class DeviceRow(Row, frozen=True, kw_only=True):
    """State of a device at one of its events. `event`: start, job_start, job_end, throttle, charging, on_battery,
    battery_full, battery_empty, link_down, link_up, crash, restart, end."""

    table: ClassVar[str] = "devices"
    event: str
    battery_level: float | None
    soc_temperature_c: float | None
    case_temperature_c: float | None
    speed: float
    charging: bool


class EnergyRow(Row, frozen=True, kw_only=True):
    """Energy of a device over the whole run, by component.

    `component`: idle, processor, radio_send, radio_receive (what drew it); battery, mains (where it came from);
    charger_loss, stored (what charging lost and put into the battery). Draws = battery + mains.
    """

    table: ClassVar[str] = "energy"
    component: str
    joules: float


class FaultRow(Row, frozen=True, kw_only=True):
    """A fault that the scenario asked for, or a failure inside an actor."""

    table: ClassVar[str] = "faults"
    kind: str
    detail: str = ""


class HostOverrunRow(Row, frozen=True, kw_only=True):
    """The machine was slower than the device it emulates: the job's modelled and measured seconds (by the wall)."""

    table: ClassVar[str] = "host_overruns"
    function: str
    modelled_s: float
    measured_s: float


class HostNodeRow(Row, frozen=True, kw_only=True):
    """What a process of the real world cost: processor seconds, peak memory, bytes on sockets.

    `handshake_bytes` and `heartbeat_bytes` are not part of any message's frame.
    """

    table: ClassVar[str] = "host_nodes"
    process: str
    cpu_s: float
    peak_rss_bytes: int
    frame_bytes_sent: int
    frame_bytes_received: int
    heartbeat_bytes: int
    handshakes: int
    reconnections: int


class HostRunRow(Row, frozen=True, kw_only=True):
    """What the run cost on this machine."""

    table: ClassVar[str] = "host_run"
    phase: str
    wall_s: float
    cpu_s: float
    peak_rss_bytes: int


TABLES: dict[str, type[Row]] = {
    row.table: row
    for row in (
        MessageRow,
        UndeliveredRow,
        RoundRow,
        ParticipationRow,
        ClientRow,
        EvaluationRow,
        JobRow,
        DeviceRow,
        EnergyRow,
        FaultRow,
        HostOverrunRow,
        HostNodeRow,
        HostRunRow,
    )
}
