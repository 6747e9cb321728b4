"""`aivsim validate`: a scenario in both worlds over emulated links, a sweep of transfers, and their distance."""

from __future__ import annotations

import asyncio
import dataclasses
import math
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from aivsim.errors import Failed, InputWrong

if TYPE_CHECKING:
    from aivsim.profile import MachineProfile
    from aivsim.sweep import Grid, Setting, Transfer
    from aivsim.transfers import Plan, Route
    from analysis.validation import Metric, Point
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


def profile_command(name: str, out: Path | None, *, at_once: int, seed: int | None, settings: Sequence[str]) -> None:
    """Measure this machine and print or write its profile. Raises `InputWrong` and `Failed`."""
    from aivsim import profile
    from aivsim.scenarios import loaded
    from core.records import RecordsError

    machine = _measured(loaded(name, settings, seed), at_once)
    click.echo(profile.text(machine), nl=False)
    if out is not None:
        try:
            profile.save(out, machine)
        except RecordsError as error:
            raise Failed(str(error)) from None
        click.echo(f"\n{out}", err=True)


def _measured(scenario: Scenario, at_once: int) -> MachineProfile:
    from aivsim import profile
    from real_runtime.launcher import LaunchError

    try:
        return profile.measure(scenario, lambda what: click.echo(f"measuring: {what}", err=True), at_once=at_once)
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
    from aivsim.scenarios import loaded
    from analysis.validation import Validation, lines, transfer_metrics, write_validation
    from core.records import RecordsError

    scenario = loaded(name, settings, seed)
    swept = grid(options, quick=quick, longest_s=longest_s, congestion=congestion, seed=scenario.seed)
    _possible(congestion)
    _claim(out)
    notes: list[str] = []
    try:
        metrics: tuple[Metric, ...] = ()
        if "scenario" in parts:
            here = scenario if own_devices else _as_this_machine(scenario, out, profile_file)
            metrics = _in_both_worlds(here, out, congestion, notes)
        points: list[Point] = []
        constants: tuple[tuple[str, float], ...] = ()
        if "transfers" in parts:
            transfers = _transfers(swept, out, transfers_file, notes)
            points, constants = _fitted(transfers, scenario.seed, notes)
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


def _as_this_machine(scenario: Scenario, out: Path, profile_file: Path | None) -> Scenario:
    """The scenario with devices as fast as this machine, which is measured if there is no file that says it."""
    from aivsim import profile

    if profile_file is None:
        profile_file = out / "profile.yaml"
        # All clients of a round compute on this one machine.
        asked = min(math.ceil(scenario.max_participants * scenario.training.over_selection), scenario.device_count)
        profile.save(profile_file, _measured(scenario, asked))
    try:
        return profile.on_this_machine(scenario, profile.load(profile_file))
    except (profile.ProfileError, ValueError) as error:
        raise InputWrong(str(error)) from None


def _in_both_worlds(scenario: Scenario, out: Path, congestion: str, notes: list[str]) -> tuple[Metric, ...]:
    from aivsim import runs
    from analysis.study import Study
    from analysis.validation import scenario_metrics
    from core.records.store import write_whole
    from core.scenario import Scenario, dumps

    data = scenario.resolved()
    data["real"] |= {"emulate_links": True, "time_scale": 1.0, "devices": "emulated", "congestion": congestion}
    here = Scenario.model_validate(data)
    path = out / "scenario.yaml"
    write_whole(path, dumps(here).encode())
    studies = []
    for world in ("sim", "real"):
        click.echo(f"{here.name}, {'simulated' if world == 'sim' else 'on sockets over emulated links'}", err=True)
        try:
            found = runs.run(path, world=world, out=out / world, quiet=False)
        except runs.CannotBegin as error:
            raise InputWrong(str(error)) from None
        except runs.RunFailed as error:
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
    from real_runtime.launcher import LaunchError

    if file is not None:
        try:
            return sweep.load(file)
        except OSError as error:
            raise InputWrong(f"{file}: cannot be read ({error.strerror})") from None
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise InputWrong(f"{file}: holds no transfers ({error})") from None
    skipped = swept.skipped()
    if skipped:
        worst = max(swept.expected_s(setting) for setting in skipped)
        notes.append(
            f"{len(skipped)} settings were skipped, each of which takes more than {swept.longest_s:g} s (up to "
            f"{worst:.0f} s): {_sizes_by_route(skipped)}. --longest takes more."
        )
    with _Progress(len(swept.routes())) as tell:
        try:
            found = asyncio.run(sweep.run(swept, tell))
        except* asyncio.CancelledError:
            raise KeyboardInterrupt from None
        except* (LaunchError, sweep.Differs) as errors:
            raise Failed("; ".join(str(error) for error in errors.exceptions)) from None
    sweep.save(out / "transfers.json", found)
    notes.append("Both worlds sent the same messages and bytes in every transfer.")
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

    def __enter__(self) -> Callable[[Plan, list[Transfer]], None]:
        import sys

        from rich.console import Console
        from rich.progress import Progress

        self._bar = Progress(console=Console(stderr=True), transient=True) if sys.stderr.isatty() else None
        if self._bar is not None:
            self._bar.start()
            self._task = self._bar.add_task("transfers", total=self._total)
        return self._tell

    def _tell(self, plan: Plan, transfers: list[Transfer]) -> None:
        from aivsim.sweep import describe

        self._done += 1
        route: Route = plan.route
        if self._bar is not None:
            self._bar.update(self._task, completed=self._done, description=describe(route))
        else:
            text = f"{len(plan.steps)} transfers of {len(transfers)} settings"
            click.echo(f"[{self._done} of {self._total}] {describe(route)}: {text}", err=True)

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.stop()


def _fitted(
    transfers: Sequence[Transfer], seed: int, notes: list[str]
) -> tuple[list[Point], tuple[tuple[str, float], ...]]:
    """Constants fitted on one half of the settings, and what the model says of all."""
    from aivsim.prediction import Constants, fit, predicted_s
    from analysis.validation import Point
    from core import rng

    if len(transfers) < 2:
        raise InputWrong("a fit and its test need two settings at least; all others were skipped")
    drawn = set(rng.generator(seed, "validate", "half").permutation(len(transfers))[: len(transfers) // 2].tolist())
    seen = [transfer for number, transfer in enumerate(transfers) if number in drawn]

    def predict(transfer: Transfer, constants: Constants) -> float:
        setting = transfer.setting
        return predicted_s(setting.route, setting.flows, transfer.frame_bytes, transfer.congestion, constants)

    constants = fit(lambda tried: [predict(t, tried) for t in seen], [t.real_s for t in seen])
    points = [
        Point(
            rate_bytes_per_s=transfer.setting.route.rate_bytes_per_s,
            delay_s=transfer.setting.route.delay_s,
            loss=transfer.setting.route.loss,
            flows=transfer.setting.flows,
            size_bytes=transfer.setting.size_bytes,
            simulated_s=transfer.simulated_s,
            predicted_s=predict(transfer, constants),
            measured_s=transfer.measured_s,
            seen=number in drawn,
        )
        for number, transfer in enumerate(transfers)
    ]
    kinds = ", ".join(sorted({transfer.congestion for transfer in transfers}))
    notes.append(
        f"The constants were fitted on {len(seen)} of {len(transfers)} settings, drawn by seed {seed}; congestion "
        f"control: {kinds}. Of several flows at once, the time is that until the last had arrived."
    )
    spread = sorted(point.spread for point in points if len(point.measured_s) > 1)
    if spread:
        notes.append(
            f"Repetitions of a measurement lie {100 * spread[len(spread) // 2]:.1f} % from their median in the middle, "
            f"{100 * spread[int(0.95 * (len(spread) - 1))]:.1f} % at the 95th percentile."
        )
    return points, tuple(dataclasses.asdict(constants).items())
