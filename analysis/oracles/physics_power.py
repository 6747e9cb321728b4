"""Power of processors and radios against operating points of Linux, power profiles of Android and published fits."""

from __future__ import annotations

import csv
import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from analysis.oracles import Check, Drawing, Findings, Section
from core.devices import Cluster, Device, Radio, Work, operating_points, profile
from core.devices.catalogue import radio
from core.devices.processor import speed_at

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NOMINAL_V: Final = 3.85


def _linux(data: Path) -> Findings:
    clusters: dict[str, Cluster] = {}
    with (data / "linux_dvfs" / "opp.csv").open(newline="", encoding="utf-8") as stream:
        rows = [row for row in csv.DictReader(stream) if row["soc"] == "hi3660_kirin960"]
    for core in ("cortex-a53", "cortex-a73"):
        own = [row for row in rows if row["core"] == core]
        clusters[core] = Cluster(
            int(own[0]["n_cores"]),
            float(own[0]["dynamic_power_coefficient_uW_per_MHz_V2"]),
            float(own[0]["capacity_dmips_mhz"]),
            tuple((float(row["freq_MHz"]), float(row["microvolt"]) * 1e-6) for row in own),
        )
    big = clusters["cortex-a73"]
    source = "Linux, hi3660.dtsi (Kirin 960)"
    checks = []
    for mhz, watts in ((2362.0, 6.29), (1805.0, 3.22), (903.0, 0.97)):
        point = [at for at, _ in big.points].index(mhz)
        said = f"four Cortex-A73 at {mhz:g} MHz: n k f V²"
        checks.append(Check(f"{mhz:g} MHz", said, source, watts, big.power_w(point), 0.005, "W", relative=True))
    top = len(big.points) - 1
    fall = (big.power_w(top) / big.capacity(top)) / (big.power_w(0) / big.capacity(0))
    checks.append(Check("energy an operation", "top point over bottom point", source, 2.47, fall, 0.02, relative=True))
    points = operating_points(list(clusters.values()))
    for op in points:
        said = f"speed at {op.power:.3f} of the power, from the table"
        checks.append(
            Check("both clusters", said, "the points themselves", op.speed, speed_at(op.power, points), 1e-12)
        )
    exponents = [np.log(p.power) / np.log(p.speed) for p in points[2:-1]]
    said = "exponent of power over speed, upper points"
    checks.append(
        Check("power law", said, f"{source}; phone profiles: 2.2 to 2.6", 2.4, float(np.mean(exponents)), 0.4)
    )

    def draw() -> Figure:
        from analysis.plots.style import BLUE, ORANGE, figure, legend_above

        made = figure(3.2)
        axes = made.add_subplot()
        axes.plot([100 * p.power for p in points], [100 * p.speed for p in points], "o-", color=BLUE, label=source)
        shares = np.linspace(0.02, 1.0, 100)
        law = [100 * speed_at(float(share), ()) for share in shares]
        axes.plot(100 * shares, law, "--", color=ORANGE, label="power law, exponent 2.4")
        axes.set_xlabel("power (% of full power)")
        axes.set_ylabel("speed (% of full speed)")
        legend_above(axes, width_in=8.0)
        return made

    caption = "Operating points of a phone's processor, and the law that stands for them where there is no table."
    return Findings(checks, (Drawing("power_points", caption, draw),))


def _profiles(data: Path) -> Findings:
    with (data / "android_power_profiles" / "cpu_core_current.csv").open(newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    checks = []
    for device, name in (
        ("xiaomi_surya_sd732g", "phone_mid"),
        ("xiaomi_alioth_sd870", "phone_high"),
        ("xiaomi_enuma_tablet_sd870", "tablet"),
    ):
        clusters: dict[str, list[tuple[float, float, int]]] = {}
        for row in rows:
            if row["device"] == device:
                entry = float(row["freq_MHz"]), float(row["core_current_mA"]), int(row["n_cores"])
                clusters.setdefault(row["cluster"], []).append(entry)

        def watts(share: float, clusters: dict[str, list[tuple[float, float, int]]] = clusters) -> float:
            total = 0.0
            for points in map(sorted, clusters.values()):
                at = share * points[-1][0]
                total += points[0][2] * float(np.interp(at, [p[0] for p in points], [p[1] for p in points]))
            return total * 1e-3 * NOMINAL_V

        found = profile(name)
        source = f"Android power profile {device}"
        said = "all cores at their top point"
        checks.append(Check(name, said, source, watts(1.0), found.max_w - found.idle_w, 0.03, "W", relative=True))
        if name == "tablet":
            continue
        for point in found.operating_points[:-1]:
            said = f"share of the power at {point.speed:g} of the frequencies"
            checks.append(Check(name, said, source, watts(point.speed) / watts(1.0), point.power, 0.002))
    return Findings(checks)


def _radios(_: Path) -> Findings:
    lte, old, wifi = radio("lte"), radio("lte_2012"), radio("wifi_pixel6")
    mbit = 1e6 / 8.0
    paper = "SIGCOMM 2021, fit"

    def nanojoules_a_bit(found: Radio, rate: float, *, up: bool) -> float:
        send_j, receive_j = found._replace(tail_w=0.0).byte_j(rate, rate)
        return (send_j if up else receive_j) / 8.0 * 1e9

    huang = "Huang et al., MobiSys 2012"
    checks = [
        Check("LTE down", "at 50 Mbit/s", paper, 21.0, nanojoules_a_bit(lte, 50 * mbit, up=False), 0.5, "nJ/bit"),
        Check("LTE up", "at 20 Mbit/s", paper, 105.0, nanojoules_a_bit(lte, 20 * mbit, up=True), 0.5, "nJ/bit"),
        Check(
            "Wi-Fi down",
            "at 100 Mbit/s on air",
            "Pixel 6 profile",
            3.6,
            nanojoules_a_bit(wifi, 100 * mbit, up=False),
            0.05,
            "nJ/bit",
        ),
    ]
    # 1 MB up at 5 Mbit/s, by hand from the paper's numbers.
    size, rate = 1e6, 5 * mbit
    by_hand = 1.211 * 0.26 + (0.43839 * 5 + 1.28804) * size / rate + 1.06 * 11.576
    checks.append(
        Check(
            "a transfer of 1 MB, LTE of 2012",
            "promotion, active, tail",
            huang,
            by_hand,
            old.transfer_j(size, rate, up=True),
            1e-9,
            "J",
            relative=True,
        )
    )
    # The same by a device: one burst, then silence.
    base = profile("phone_mid")
    for gap_s, expected in ((1e4, by_hand), (4.0, by_hand - 1.06 * (11.576 - 4.0))):
        device = Device(
            dataclasses.replace(base, radios={"cellular": old}),
            link_kind="cellular",
            up_bytes_per_s=rate,
            down_bytes_per_s=rate,
        )
        if device.moved(100.0, sent=int(size)):
            device.settle(100.0)
        energy = device.energy_j(100.0 + gap_s)
        ours = energy["radio_send"] + energy["radio_tail"]
        checks.append(
            Check(
                "the same by a device",
                f"{gap_s:g} s after it",
                "the line above",
                expected,
                ours,
                1e-9,
                "J",
                relative=True,
            )
        )

    def draw() -> Figure:
        from analysis.plots.style import CLASS_COLOURS, figure, legend_above

        made = figure(3.2)
        axes = made.add_subplot()
        sizes = np.geomspace(1e2, 1e8, 60)
        for name, colour in zip(("wifi_pixel6", "lte", "lte_2012", "nr_low"), CLASS_COLOURS, strict=False):
            joules = [radio(name).transfer_j(float(size), 10 * mbit, up=True) for size in sizes]
            axes.loglog(sizes, joules, color=colour, label=name)
        axes.set_xlabel("size (B), sent at 10 Mbit/s")
        axes.set_ylabel("energy (J)")
        legend_above(axes, width_in=8.0)
        return made

    caption = "Energy of one transfer by size: promotion and tail cost the same for any, the active radio by the byte."
    return Findings(checks, (Drawing("radio_transfer", caption, draw),))


def _conserved(_: Path) -> Findings:
    phone = Device(
        profile("phone_high"), link_kind="cellular", battery_level=0.9, up_bytes_per_s=4e6, down_bytes_per_s=1e7
    )
    before_j = phone.stored_j
    phone.submit(0.0, 1, Work(1e12, 0.0, 40))
    phone.set_screen(300.0, True)
    now = 300.0
    course: list[tuple[float, float, dict[str, float]]] = [(now, phone.stored_j, phone.energy_j(now))]
    for burst in range(40):
        now = 300.0 + 60.0 * burst
        while phone.next_timer() <= now:
            phone.on_timer(phone.next_timer())
        if phone.moved(now, sent=2_000_000, received=3_000_000):
            phone.settle(now)
        phone.set_charging(now, 20 <= burst < 30)
        course.append((now, phone.stored_j, phone.energy_j(now)))
    energy = phone.energy_j(now)
    draws = ("idle", "processor", "accelerator", "screen", "radio_send", "radio_receive", "radio_tail")
    drawn = sum(energy[name] for name in draws)
    given = energy["battery"] + energy["mains"]
    held = before_j + energy["stored"] - energy["battery"] - energy["battery_loss"]
    found = profile("phone_high").battery
    assert found is not None
    level = phone.reading(now).battery_level or 0.0
    law = "first law"

    def draw() -> Figure:
        from analysis.plots.style import BLUE, ORANGE, figure, legend_above

        made = figure(3.2)
        axes = made.add_subplot()
        minutes = [at_s / 60.0 for at_s, _, _ in course]
        axes.plot(minutes, [sum(e[name] for name in draws) for _, _, e in course], color=BLUE, label="drawn by all")
        supplied = [before_j - held_j + e["stored"] - e["battery_loss"] + e["mains"] for _, held_j, e in course]
        axes.plot(minutes, supplied, "--", color=ORANGE, label="missing in the battery, less lost, and from the mains")
        axes.set_xlabel("time (min)")
        axes.set_ylabel("energy (J)")
        legend_above(axes, width_in=8.0)
        return made

    caption = (
        "A phone that computes, talks, is looked at and is charged from 25 to 35 min: what its components drew, and "
        "what left the battery or came from the mains, counted apart."
    )
    return Findings(
        drawings=(Drawing("power_conservation", caption, draw),),
        checks=[
            Check(
                "draws",
                "of all components are what battery and mains gave",
                law,
                given,
                drawn,
                1e-12,
                "J",
                relative=True,
            ),
            Check(
                "battery", "charge left is that before, + stored - given - lost", law, found.level_at(held), level, 1e-9
            ),
        ],
        heads=("component", "joules"),
        rows=[(name, f"{joules:.1f}") for name, joules in energy.items()],
    )


SECTIONS: Final = (
    Section("Power: operating points", "Linux's energy model of a phone's SoC.", _linux, ("linux_dvfs",)),
    Section(
        "Power: phones",
        "The catalogue's powers against Android power profiles.",
        _profiles,
        ("android_power_profiles",),
    ),
    Section("Power: radios", "Energy of transfers against published fits.", _radios),
    Section(
        "Power: conservation", "A phone that computes, talks, is looked at and is charged for 40 minutes.", _conserved
    ),
)
