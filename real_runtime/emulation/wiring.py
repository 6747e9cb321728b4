"""The emulated network of a run, for its launcher: what is made before the nodes start, and the relay beside them."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, Self

import msgspec

from core.deployment import Deployment, Placement
from core.records.rows import HostLinkRow
from real_runtime.emulation.access import stages
from real_runtime.emulation.namespace import EmulationUnavailable, Wire, make_wire
from real_runtime.emulation.shaping import Plan, Port, Told
from real_runtime.place import residents

#: Nodes of an emulated network, each a process with one actor: more would wait for the processor, not for the network.
MOST_NODES: Final = 64
#: How long the relay may take to end, s.
GRACE_S: Final = 20.0


class RelayFailed(Exception):
    """The relay has ended while the run goes on; the message has the last lines of its log."""


def plan(deployment: Deployment, hosted: Mapping[str, Sequence[str]], addresses: Sequence[str]) -> Plan:
    """The links of nodes with one actor each: those of their placements."""
    placements = _placements(deployment, hosted)
    ports = tuple(
        Port(node, placement.name, address, stages(placement.link))
        for node, placement, address in zip(hosted, placements, addresses, strict=True)
    )
    between_s = tuple(tuple(deployment.delay_s(a.region, b.region) for b in placements) for a in placements)
    return Plan(ports, between_s, deployment.seed, deployment.network.jitter, deployment.time_scale)


def _placements(deployment: Deployment, hosted: Mapping[str, Sequence[str]]) -> list[Placement]:
    """The placement of each node's one actor. Raises `ValueError` if there are more."""
    placed = {resident.placement.name: resident.placement for resident in residents(deployment)}
    for node, actors in hosted.items():
        if len(actors) != 1:
            raise ValueError(f"node {node} has {len(actors)} actors; behind an emulated link there is one")
    return [placed[actors[0]] for actors in hosted.values()]


class Wiring:
    """Namespaces, listening sockets and the relay of one run. A context; leaving it removes all of it."""

    def __init__(self, deployment: Deployment, hosted: Mapping[str, Sequence[str]]) -> None:
        """Make the namespaces. Raises `EmulationUnavailable`, also for a network of which links are not all."""
        if left_out := deployment.network.between_links:
            raise EmulationUnavailable(f"links cannot be emulated: {'; '.join(left_out.values())}")
        self.wires: dict[str, Wire] = {}
        try:
            for number, (node, placement) in enumerate(zip(hosted, _placements(deployment, hosted), strict=True)):
                own = placement.link.control
                congestion = deployment.congestion if own in (None, "ideal") else own
                self.wires[node] = make_wire(number, congestion=congestion)
            self.plan = plan(deployment, hosted, [wire.address for wire in self.wires.values()])
        except BaseException:
            self.let_go()
            raise
        self._process: asyncio.subprocess.Process | None = None
        self._log: Path | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.let_go()
        if self._process is not None and self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.send_signal(signal.SIGKILL)

    def let_go(self) -> None:
        """Close this process's descriptors: nodes and relay hold the network from now on."""
        while self.wires:
            self.wires.popitem()[1].close()

    async def start(self, log: Path, environment: Mapping[str, str]) -> None:
        """Start the relay."""
        interfaces = [wire.tun_fd for wire in self.wires.values()]
        with log.open("wb") as sink:
            self._process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-P", "-m", "real_runtime.emulation.relay", *map(str, interfaces)),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=sink,
                pass_fds=interfaces,
                start_new_session=True,
                env={**os.environ, **environment},
            )
        self._log = log
        assert self._process.stdin is not None
        self._process.stdin.write(msgspec.json.encode(self.plan) + b"\n")

    def begin(self, origin_s: float) -> None:
        """Tell the relay when the study began, by the machine's monotonic clock."""
        if self._process is not None and self._process.stdin is not None:
            self._process.stdin.write(f"{origin_s!r}\n".encode())

    async def watch(self) -> None:
        """Wait for the relay to end, which it should not. Raises `RelayFailed`."""
        assert self._process is not None
        assert self._log is not None
        code = await self._process.wait()
        lines = self._log.read_text(errors="replace").splitlines()[-20:]
        raise RelayFailed("\n".join((f"the relay of the emulated links has ended with exit code {code}", *lines)))

    async def stop(self) -> list[HostLinkRow]:
        """End the relay; what each node sent through it (nothing if it had ended by itself)."""
        process, self._process = self._process, None
        if process is None:
            return []
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.close()
        told = b""
        try:
            async with asyncio.timeout(GRACE_S):
                told = await process.stdout.read()
        except TimeoutError:
            # A loop that was held up may find that the relay has ended and that its time is over at once.
            with contextlib.suppress(ProcessLookupError):
                process.kill()
        await process.wait()
        found = msgspec.json.decode(told, type=Told) if told else Told([], 0.0)
        packets = max(sum(count.packets for count in found.counts), 1)
        return [
            HostLinkRow(
                node=port.node,
                packets=count.packets,
                packet_bytes=count.bytes,
                lost=count.lost,
                overflowed=count.overflowed,
                late=count.late,
                relay_s=found.processor_s * count.packets / packets,
            )
            for port, count in zip(self.plan.ports, found.counts, strict=False)
        ]
