"""`aivsim validate`: a scenario in both worlds over emulated links, a sweep of transfers, and their distance."""

from __future__ import annotations

import asyncio
import dataclasses
import os
import re
import statistics
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from aivsim.errors import CannotBegin, Failed, InputWrong, RunFailed

if TYPE_CHECKING:
    from aivsim.profile import MachineProfile
    from aivsim.sweep import Grid, Setting, Transfer
    from aivsim.transfers import Plan
    from analysis.validation import Metric, Point
    from core.network import Transport
    from core.scenario import Scenario

_NUMBER: Final = re.compile(r"([0-9]+(?:\.[0-9]*)?|\.[0-9]+)\s*(%|[kMG]?B)?")
_SIZES: Final = {"B": 1, "kB": 1000, "MB": 1_000_000, "GB": 1_000_000_000}
#: The values that are swept: Mbit/s, ms, losses, flows, sizes; and fewer of them for a quick look.
FULL: Final = {
    "rates": "1,5,20,100",
    "delays": "2,20,80",
    "losses": "0,0.1%,1%",
    "flows": "1,8",
    "sizes": "0B,1kB,10kB,100kB,1MB,10MB,50MB",
}
QUICK: Final = {
    "rates": "5,20",
    "delays": "2,20",
    "losses": "0,1%",
    "flows": "1,8",
    "sizes": "0B,1kB,100kB,1MB",
}
#: Largest values that are taken: more is beyond what a relay in Python carries, or what this is about.
MOST_RATE: Final = 1000.0
MOST_DELAY: Final = 2000.0
MOST_FLOWS: Final = 32
MOST_BYTES: Final = 500_000_000


def numbers(option: str, text: str, *, low: float, high: float, kind: str = "") -> tuple[float, ...]:
    """The values of an option: numbers with commas between; `kind` is %, B or nothing. Raises `InputWrong`."""
    example = {"%": "0,0.1%,0.01", "B": "100kB,1MB"}.get(kind, "1,5,20")
    found: list[float] = []
    for part in text.split(","):
        match = _NUMBER.fullmatch(part.strip())
        unit = (match[2] or "") if match else ""
        if match is None or (unit and (unit not in _SIZES if kind == "B" else unit != kind)):
            raise InputWrong(f"--{option}: {part.strip()!r} is no such value; accepted are lists such as {example}")
        value = float(match[1]) * _SIZES.get(unit, 0.01 if unit == "%" else 1.0)
        if not low <= value <= high:
            raise InputWrong(f"--{option}: {part.strip()} is not between {low:g} and {high:g}")
        found.append(value)
    return tuple(dict.fromkeys(found))


def grid(options: dict[str, str | None], *, quick: bool, longest_s: float, congestion: str, seed: int) -> Grid:
    """The settings that the options ask for. Raises `InputWrong`."""
    from aivsim.sweep import Grid

    given = {name: options.get(name) or default for name, default in (QUICK if quick else FULL).items()}
    return Grid(
        rates_bytes_per_s=tuple(r * 1e6 / 8 for r in numbers("rates", given["rates"], low=0.1, high=MOST_RATE)),
        delays_s=tuple(d / 1e3 for d in numbers("delays", given["delays"], low=0.1, high=MOST_DELAY)),
        losses=numbers("losses", given["losses"], low=0.0, high=0.5, kind="%"),
        flows=_whole("flows", numbers("flows", given["flows"], low=1, high=MOST_FLOWS)),
        sizes_bytes=_whole("sizes", numbers("sizes", given["sizes"], low=0, high=MOST_BYTES, kind="B")),
        longest_s=longest_s,
        congestion=congestion,
        seed=seed,
    )


def _whole(option: str, values: Sequence[float]) -> tuple[int, ...]:
    for value in values:
        if value != int(value):
            raise InputWrong(f"--{option}: {value:g} is not a whole number")
    return tuple(int(value) for value in values)


def profile_command(name: str, out: Path | None, *, seed: int | None, settings: Sequence[str]) -> None:
    """Measure this machine and print or write its profile. Raises `InputWrong` and `Failed`."""
    from aivsim import profile
    from aivsim.scenarios import loaded
    from core.records import RecordsError

    machine = _measured(loaded(name, settings, seed), emulated=False)
    click.echo(profile.text(machine), nl=False)
    if out is not None:
        try:
            profile.save(out, machine)
        except RecordsError as error:
            raise Failed(str(error)) from None
        click.echo(f"\n{out}", err=True)


def _measured(scenario: Scenario, *, emulated: bool) -> MachineProfile:
    from aivsim import profile
    from real_runtime.failures import LaunchError

    try:
        return profile.measure(scenario, lambda what: click.echo(f"measuring: {what}", err=True), emulated=emulated)
    except (ValueError, OSError) as error:
        raise InputWrong(str(error)) from None
    except LaunchError as error:
        raise Failed(str(error)) from None


def validate_command(
    name: str,
    *,
    out: Path,
    seed: int | None,
    settings: Sequence[str],
    options: dict[str, str | None],
    quick: bool,
    longest_s: float,
    congestion: str,
    own_devices: bool,
    profile_file: Path | None,
    transfers_file: Path | None,
    parts: Sequence[str],
) -> None:
    """See the command line. Raises `InputWrong` and `Failed`."""
    from aivsim.fitting import scenario_piece
    from aivsim.scenarios import loaded
    from analysis.validation import Validation, lines, transfer_metrics, write_validation
    from core.records import RecordsError
    from core.records.store import write_whole

    if "scenario" in parts:
        # What cannot be emulated is refused, with its line, before anything is begun.
        settings = (*settings, "real.emulate_links=true")
    elif profile_file is not None or own_devices:
        option = "--own-devices" if own_devices else "--profile"
        raise InputWrong(f"{option}: transfers alone run on no devices of the scenario; drop it, or --only transfers")
    if own_devices and profile_file is not None:
        raise InputWrong("--profile: --own-devices keeps the scenario's devices; drop one of the two")
    scenario = loaded(name, settings, seed)
    here = scenario if profile_file is None else _on_profile(scenario, profile_file)
    swept = grid(options, quick=quick, longest_s=longest_s, congestion=congestion, seed=scenario.seed)
    _possible(congestion)
    _claim(out)
    notes: list[str] = []
    try:
        metrics: tuple[Metric, ...] = ()
        points: list[Point] = []
        constants = ""
        transport: Transport | None = None
        if "transfers" in parts or transfers_file is not None:
            transfers = _transfers(swept, out, transfers_file, notes)
            points, transport = _calibrated(transfers, scenario.seed, notes)
            constants = scenario_piece(transport)
            write_whole(out / "transport.yaml", constants.encode())
        if "scenario" in parts:
            if profile_file is None and not own_devices:
                here = _as_this_machine(scenario, out)
            metrics = _in_both_worlds(here, out, congestion, transport, notes)
        validation = Validation(
            scenario.name, metrics, transfer_metrics(points), tuple(points), constants, tuple(notes)
        )
        page = write_validation(validation, out)
    except RecordsError as error:
        raise Failed(str(error)) from None
    for line in lines(validation):
        click.echo(line)
    click.echo(f"report: {page}")


def _possible(congestion: str) -> None:
    """Raise `InputWrong` where links cannot be emulated, before anything is begun."""
    from real_runtime.emulation.namespace import EmulationUnavailable, make_wire

    try:
        make_wire(0, congestion=congestion).close()
    except EmulationUnavailable as error:
        raise InputWrong(str(error)) from None


def _claim(out: Path) -> None:
    try:
        out.mkdir(parents=True, exist_ok=True)
        taken = any(out.iterdir())
    except OSError as error:
        raise InputWrong(f"{out}: cannot be written ({error.strerror})") from None
    if taken:
        raise InputWrong(f"{out}: is not empty; a validation needs a new or empty folder")


# The scenario in both worlds.


def _as_this_machine(scenario: Scenario, out: Path) -> Scenario:
    """The scenario with this machine, which is measured, as every device and as their host."""
    from aivsim import profile

    profile.save(out / "profile.yaml", _measured(scenario, emulated=True))
    return _on_profile(scenario, out / "profile.yaml")


def _on_profile(scenario: Scenario, profile_file: Path) -> Scenario:
    """The scenario with a file's machine as every device and as their host."""
    from aivsim import profile

    try:
        return profile.on_this_machine(scenario, profile.load(profile_file))
    except (profile.ProfileError, ValueError) as error:
        raise InputWrong(str(error)) from None


def _in_both_worlds(
    scenario: Scenario, out: Path, congestion: str, transport: Transport | None, notes: list[str]
) -> tuple[Metric, ...]:
    """How far both worlds are apart; the simulator takes the transport that was fitted, if one was."""
    from aivsim import fitting, runs
    from analysis.study import Study
    from analysis.validation import scenario_metrics
    from core.records.store import write_whole
    from core.scenario import Scenario, dumps

    data = scenario.resolved()
    data["real"] |= {"emulate_links": True, "time_scale": 1.0, "congestion": congestion}
    if transport is not None:
        for host in scenario.hosts.values():
            # What both ends of a message take of the host has been fitted as a part of it.
            transport = dataclasses.replace(transport, extra_s=max(transport.extra_s - 2.0 * host.message, 0.0))
        data["network"] |= fitting.network_keys(transport)
        notes.append("The scenario was simulated with the constants that were fitted to transfers.")
    here = Scenario.model_validate(data)
    path = out / "scenario.yaml"
    write_whole(path, dumps(here).encode())
    studies = []
    for world in ("sim", "real"):
        click.echo(f"{here.name}, {'simulated' if world == 'sim' else 'on sockets over emulated links'}", err=True)
        try:
            found = runs.run(path, world=world, out=out / world, quiet=False)
        except CannotBegin as error:
            raise InputWrong(str(error)) from None
        except RunFailed as error:
            raise Failed(str(error)) from None
        studies.append(Study(found))
    same = studies[0].manifest.model_sha256 == studies[1].manifest.model_sha256
    notes.append(f"The final models of both worlds {'are the same, bit for bit' if same else 'differ'}.")
    overruns = studies[1].run.table("host_overruns").num_rows
    if overruns:
        notes.append(
            f"In {overruns} of {studies[1].run.table('jobs').num_rows} computations this machine, which runs all nodes "
            "at once, was slower than the device that it stood for."
        )
    return scenario_metrics(*studies)


# The sweep of transfers.


def _transfers(swept: Grid, out: Path, file: Path | None, notes: list[str]) -> list[Transfer]:
    import msgspec

    from aivsim import sweep
    from real_runtime.failures import LaunchError

    if file is not None:
        try:
            return sweep.load(file)
        except OSError as error:
            raise InputWrong(f"{file}: cannot be read ({error.strerror})") from None
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise InputWrong(f"{file}: holds no transfers ({error})") from None
    skipped = swept.skipped()
    if skipped:
        worst = max(sweep.expected_s(setting, swept.congestion) for setting in skipped)
        notes.append(
            f"{len(skipped)} settings were skipped, each of which takes more than {swept.longest_s:g} s (up to "
            f"{worst:.0f} s): {_sizes_by_route(skipped)}. --longest takes more."
        )
    load = os.getloadavg()[0]
    with _Progress(len(swept.plans())) as tell:
        try:
            found = asyncio.run(sweep.run(swept, tell))
        except* asyncio.CancelledError:
            raise KeyboardInterrupt from None
        except* (LaunchError, sweep.Differs) as errors:
            raise Failed("; ".join(str(error) for error in errors.exceptions)) from None
    sweep.save(out / "transfers.json", found)
    notes.append("Both worlds sent the same messages and bytes in every transfer.")
    notes.append(
        f"While transfers were measured the load of this machine of {os.cpu_count()} processors went from {load:.1f} "
        f"to {os.getloadavg()[0]:.1f}, that of the measurement included."
    )
    return found


def _sizes_by_route(skipped: Sequence[Setting]) -> str:
    """The skipped sizes by rate, in words."""
    from analysis.validation import size

    by_rate: dict[float, set[int]] = {}
    for setting in skipped:
        by_rate.setdefault(setting.route.rate_bytes_per_s, set()).add(setting.size_bytes)
    return "; ".join(
        f"some of {', '.join(size(b) for b in sorted(sizes))} at {rate * 8e-6:g} Mbit/s"
        for rate, sizes in sorted(by_rate.items())
    )


class _Progress:
    """A bar on a terminal, lines elsewhere: how many routes are done."""

    def __init__(self, total: int) -> None:
        self._total = total
        self._done = 0

    def __enter__(self) -> Callable[[Plan], None]:
        import sys

        from rich.console import Console
        from rich.progress import Progress

        self._bar = Progress(console=Console(stderr=True), transient=True) if sys.stderr.isatty() else None
        if self._bar is not None:
            self._bar.start()
            self._task = self._bar.add_task("transfers", total=self._total)
        return self._tell

    def _tell(self, plan: Plan) -> None:
        from aivsim.sweep import describe

        self._done += 1
        route = describe(plan.route)
        if self._bar is not None:
            self._bar.update(self._task, completed=self._done, description=route)
        else:
            how = "at once" if plan.shared else "each alone"
            text = f"{len(plan.steps)} transfers of up to {plan.senders}, {how}"
            click.echo(f"[{self._done} of {self._total}] {route}: {text}", err=True)

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.stop()


def _calibrated(transfers: Sequence[Transfer], seed: int, notes: list[str]) -> tuple[list[Point], Transport]:
    """What the simulator says of all settings, with constants fitted on one half of them."""
    from aivsim import fitting, sweep
    from analysis.validation import Point
    from core import rng
    from core.network import Transport

    if len(transfers) < 2:
        raise InputWrong("a fit and its test need two settings at least; all others were skipped")
    (congestion, *others) = {transfer.congestion for transfer in transfers}
    if others:
        raise InputWrong(f"transfers of one congestion control, not of {', '.join(sorted((congestion, *others)))}")
    drawn = set(rng.generator(seed, "validate", "half").permutation(len(transfers))[: len(transfers) // 2].tolist())
    # What loss does has no constant of its own, and without it times are nearly the same again and again. What a round
    # trip takes beside its path shows where windows answer losses and the path is short.
    routes = [transfers[number].setting.route for number in drawn]
    least, nearest = min(route.loss for route in routes), min(route.delay_s for route in routes)
    seen = [
        t
        for number, t in enumerate(transfers)
        if number in drawn and (t.setting.route.loss == least or t.setting.route.delay_s == nearest)
    ]
    click.echo(f"fitting constants to {len(seen)} transfers, simulating {len(transfers)}", err=True)
    wanted = {t.setting: 1 if t.setting.route.loss == least else len(t.measured_s) for t in seen}
    runs = sweep.plans(wanted, congestion, seed)

    def times(transport: Transport) -> list[float]:
        found = sweep.simulated(runs, transport)
        return [statistics.median(found[t.setting]) for t in seen]

    fitted = fitting.fit(times, [t.real_s for t in seen], congestion)
    runs_of_all = sweep.plans({t.setting: len(t.measured_s) for t in transfers}, congestion, seed)
    ideal, usual, calibrated = (
        sweep.simulated(runs_of_all, transport) for transport in (Transport(), Transport(congestion), fitted)
    )
    points = [
        Point(
            rate_bytes_per_s=t.setting.route.rate_bytes_per_s,
            delay_s=t.setting.route.delay_s,
            loss=t.setting.route.loss,
            flows=t.setting.flows,
            size_bytes=t.setting.size_bytes,
            ideal_s=statistics.median(ideal[t.setting]),
            default_s=statistics.median(usual[t.setting]),
            calibrated_s=tuple(calibrated[t.setting]),
            measured_s=t.measured_s,
            seen=number in drawn,
        )
        for number, t in enumerate(transfers)
    ]
    notes.append(
        f"The constants were fitted on {len(seen)} settings, those with {100 * least:g} % loss and those of "
        f"{1e3 * nearest:g} ms, of a half of all {len(transfers)}, drawn by seed {seed}; congestion control: "
        f"{congestion}. Of several flows at once, the time is that until the last had arrived. Compared are medians of "
        "repetitions."
    )
    spread = sorted(point.spread for point in points if len(point.measured_s) > 1)
    if spread:
        notes.append(
            f"Repetitions of a measurement lie {100 * spread[len(spread) // 2]:.1f} % from their median in the middle, "
            f"{100 * spread[int(0.95 * (len(spread) - 1))]:.1f} % at the 95th percentile."
        )
    lossy = [point for point in points if point.loss and not point.seen]
    if lossy:
        within = [inside for point in lossy for inside in point.within()]
        notes.append(
            f"Over lossy links of the unseen half {100 * sum(within) / len(within):.0f} % of the measured times lie "
            "between the 5th and the 95th percentile of the simulated ones, or within 5 % of them; 90 % or more would, "
            "if both were drawn alike."
        )
    return points, fitted
