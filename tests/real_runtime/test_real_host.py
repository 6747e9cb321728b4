"""The host as a device: what psutil tells is passed on in the units of the contract, and what it does not is None."""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import Any

import psutil
import pytest

from core.actor import Actor, Context
from core.deployment import Deployment, Placement, Slowdown
from core.devices import Work, link, profile
from core.records import DeviceRow, EnergyRow, JobRow, Row
from real_runtime import host
from real_runtime.processor import Processor
from real_runtime.testing import MemoryRecords, run_real


def rows(records: MemoryRecords, kind: type[Row]) -> list[Any]:
    return [recorded.row for recorded in records.of(kind)]


def test_battery_and_temperature_of_a_laptop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        psutil, "sensors_battery", lambda: SimpleNamespace(percent=40.0, power_plugged=False), raising=False
    )
    sensors = {"nvme": [SimpleNamespace(current=90.0)], "coretemp": [SimpleNamespace(current=t) for t in (51.0, 55.0)]}
    monkeypatch.setattr(psutil, "sensors_temperatures", lambda: sensors, raising=False)
    assert host.battery() == (0.4, False)
    assert host.temperature_c() == 55.0
    del sensors["coretemp"]
    assert host.temperature_c() == 90.0


def test_a_machine_that_tells_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(psutil, "sensors_battery", raising=False)
    monkeypatch.delattr(psutil, "sensors_temperatures", raising=False)
    assert host.battery() == (None, True)
    assert host.temperature_c() is None


def test_a_run_on_the_host_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    class Sum:
        name = "sum"

        def work(self, *arguments: Any) -> Work:
            return Work(flops=10.0, bytes=0.0, steps=2, purpose="inference")

    monkeypatch.setattr(Processor, "_run", lambda self, function, arguments: sum(arguments))
    seen: list[object] = []

    class Main(Actor):
        async def run(self, ctx: Context) -> None:
            seen.append(await ctx.compute(Sum(), 1, 2))
            seen.append((ctx.device.profile, ctx.device.network, 0.0 <= ctx.device.load <= 1.0))

    placement = Placement("main", Main, profile("phone_mid"), link("wifi_home"))
    records = run_real(Deployment(placements=(placement,), main="main", messages=(), device_mode="host"))
    assert seen == [3, ("host", "wifi", True)]
    assert [(job.function, job.flops, job.steps, job.purpose, job.outcome) for job in rows(records, JobRow)] == [
        ("sum", 20.0, 2, "inference", "done")
    ]
    assert [row.event for row in rows(records, DeviceRow)] == ["start", "job_start", "job_end", "end"]
    assert rows(records, EnergyRow) == []


def test_a_slow_host_rests_after_what_it_has_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    """What takes 50 ms or more takes four times as long, whatever else the machine does."""

    class Nap:
        name = "nap"

        def work(self, *arguments: Any) -> Work:
            return Work(flops=1.0, bytes=0.0, steps=1)

    monkeypatch.setattr(Processor, "_run", lambda self, function, arguments: time.sleep(0.05))

    class Main(Actor):
        async def run(self, ctx: Context) -> None:
            await ctx.compute(Nap())

    placement = Placement("main", Main, profile("phone_mid"), link("wifi_home"))
    records = run_real(
        Deployment(
            placements=(placement,),
            main="main",
            messages=(),
            device_mode="host",
            faults=(Slowdown("slow", "main", 0.0, speed=0.25),),
        )
    )
    (job,) = rows(records, JobRow)
    assert job.seconds >= 4 * 0.05
