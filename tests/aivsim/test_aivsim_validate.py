"""The distance to sockets: predictions, their fit, options, profiles, the report; and once the real thing."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

import msgspec
import numpy as np
import pytest
import yaml
from click.testing import CliRunner, Result

from aivsim import profile
from aivsim.cli import cli
from aivsim.errors import InputWrong
from aivsim.fitting import fit, scenario_piece
from aivsim.processes import LOAD_BYTES, LOADED, SMALL, WORKED, Times, behind_links, host
from aivsim.profile import MachineProfile, ProfileError, on_this_machine
from aivsim.sweep import (
    SIMULATIONS,
    Grid,
    Setting,
    Transfer,
    collect,
    expected_s,
    load,
    load_bytes_per_s,
    plans,
    repeats,
    save,
    simulated,
)
from aivsim.transfers import Plan, Route, Step, TransferRow, deployment, simulate
from aivsim.validate import grid, numbers
from analysis.validation import Point, Validation, lines, metric, transfer_metrics, write_validation
from core.devices import Host
from core.network import Transport
from core.network.transport import transfer_s
from core.scenario import load as load_scenario
from core.scenario.networking import network as deployed_network
from core.scenario.resolve import hosts
from real_runtime.emulation.namespace import EmulationUnavailable, make_wire

ROOT = Path(__file__).parents[2]
QUICKSTART = ROOT / "scenarios" / "quickstart.yaml"


def invoke(*arguments: str) -> Result:
    return CliRunner().invoke(cli, arguments)


# The fit.


def test_a_fit_finds_the_constants_that_made_the_times() -> None:
    """The simulator's own times, with constants that it is not told; the fit runs the simulator too."""
    truth = Transport("cubic", goodput_share=0.93, extra_rtt_s=0.003, extra_s=0.0015)
    settings = {
        Setting(Route(rate, delay, 0.0), flows, size): 1
        for rate in (625e3, 12.5e6)
        for delay in (0.002, 0.08)
        for flows in (1, 2)
        for size in (0, 10_000, 1_000_000)
    }
    runs = plans(settings, "cubic", 1)

    def times(transport: Transport) -> list[float]:
        found = simulated(runs, transport)
        return [found[setting][0] for setting in settings]

    found = fit(times, times(truth), "cubic")
    assert found.goodput_share == pytest.approx(0.93, abs=0.003)
    assert found.extra_rtt_s == pytest.approx(0.003, abs=3e-4)
    assert found.extra_s == pytest.approx(0.0015, abs=3e-4)
    assert max(abs(a / b - 1) for a, b in zip(times(found), times(truth), strict=True)) < 0.02


def test_the_constants_are_a_piece_of_a_scenario(tmp_path: Path) -> None:
    fitted = Transport("cubic", goodput_share=0.9612, extra_rtt_s=0.00025, extra_s=0.00125)
    taken = yaml.safe_load(QUICKSTART.read_text()) | yaml.safe_load(scenario_piece(fitted))
    (tmp_path / "own.yaml").write_text(yaml.safe_dump(taken))
    assert deployed_network(load_scenario(tmp_path / "own.yaml")).transport == fitted


# The sweep.


def test_the_simulator_takes_the_time_of_its_links_or_of_its_transport() -> None:
    plan = Plan(Route(1e6, 0.01, 0.0), (Step(100_000, 1), Step(100_000, 2)), rest_s=1.0)

    def rows(transport: Transport) -> dict[tuple[int, str], TransferRow]:
        return {(row.step, row.sender): row for row in simulate(plan, transport)}

    found = rows(Transport())
    alone = found[0, "sender-0"]
    assert alone.size_bytes == 100_000
    assert 0 < alone.frame_bytes - 100_000 < 200
    assert alone.seconds == pytest.approx(alone.frame_bytes / 1e6 + 0.01, rel=1e-6)
    both = max(found[1, "sender-0"].seconds, found[1, "sender-1"].seconds)
    assert both == pytest.approx(2 * alone.frame_bytes / 1e6 + 0.01, rel=1e-3)
    cubic = Transport("cubic", goodput_share=0.964, extra_s=0.001)
    expected_s = transfer_s(cubic, alone.frame_bytes, 1e6, 0.01, links=2)
    assert rows(cubic)[0, "sender-0"].seconds == pytest.approx(expected_s, rel=0.02)


def test_a_plan_travels_as_text() -> None:
    plan = Plan(Route(1e6, 0.01, 0.002), (Step(0, 3),), rest_s=1.0, seed=5, congestion="bbr")
    study = deployment(msgspec.json.encode(plan).decode())
    assert [placement.name for placement in study.placements] == ["receiver", "sender-0", "sender-1", "sender-2"]
    assert (study.congestion, study.emulate_links, study.seed) == ("bbr", True, 5)
    assert [placement.link.loss for placement in study.placements] == [0.0, 0.002, 0.002, 0.002]
    assert {placement.link.latency_s for placement in study.placements} == {0.005}
    assert {placement.link.down_bytes_per_s for placement in study.placements} == {1e6}
    alone = deployment(msgspec.json.encode(msgspec.structs.replace(plan, shared=False)).decode())
    assert [placement.link.up_bytes_per_s for placement in alone.placements] == [3e6, 1e6, 1e6, 1e6]


def sweep(**changes: object) -> Grid:
    values: dict[str, object] = {
        "rates_bytes_per_s": (125e3, 2.5e6),
        "delays_s": (0.02,),
        "losses": (0.0, 0.01),
        "flows": (1, 8),
        "sizes_bytes": (0, 1000, 1_000_000, 50_000_000),
        "longest_s": 25.0,
        "congestion": "cubic",
        "seed": 1,
    }
    return Grid(**{**values, **changes})  # type: ignore[arg-type]


def test_what_takes_too_long_is_skipped_and_told() -> None:
    asked = sweep()
    kept = [setting for route in asked.routes() for setting in asked.settings(route)]
    assert len(kept) + len(asked.skipped()) == 2 * 2 * 2 * 4
    slow = {s.size_bytes for s in asked.skipped() if s.route.rate_bytes_per_s == 125e3 and s.flows == 1}
    assert slow == {50_000_000}
    assert all(expected_s(setting, "cubic") <= 25.0 for setting in kept)
    assert sweep(longest_s=1e9).skipped() == []


def test_lossy_routes_are_repeated_in_several_runs_of_other_losses_and_order() -> None:
    found = sweep(sizes_bytes=(1000, 10_000), flows=(1, 2), rates_bytes_per_s=(2.5e6,)).plans()
    assert [(plan.route.loss, plan.shared) for plan in found] == [
        *((0.0, False), (0.0, True)),
        *((0.01, False), (0.01, False), (0.01, True), (0.01, True), (0.01, True)),
    ]
    assert len({plan.seed for plan in found}) == len(found)
    clean, together, alone, again, *_ = found
    assert sorted(step.senders for step in clean.steps) == [1] * 6
    assert sorted(step.senders for step in together.steps) == [2] * 6
    # Loss leaves a fifth of 20 Mbit/s. Five at once, in two runs: the six transfers that are wanted, and four more.
    assert {step.senders for step in (*alone.steps, *again.steps)} == {5}
    assert len(alone.steps) == len(again.steps) == 2
    assert alone.receiver_bytes_per_s == 5 * 2.5e6
    assert load_bytes_per_s(alone) < 40e6 / 8 < 1.2 * load_bytes_per_s(alone)
    assert load_bytes_per_s(together) == 2.5e6
    assert sweep().plans() == sweep().plans()
    assert [plan.steps for plan in sweep(seed=2).plans()] != [plan.steps for plan in sweep().plans()]


@pytest.mark.parametrize(
    ("size", "delay_s", "error"), [(100_000, 0.08, 0.05), (1_000_000, 0.02, 0.08), (1_000_000, 0.08, 0.3)]
)
def test_lossy_transfers_are_repeated_until_their_median_is_certain(size: int, delay_s: float, error: float) -> None:
    """The standard error of a median of as many transfers as are planned: 5 %, or what patience allows.

    Those of one connection are not independent, as it remembers what it lost: 22 % of 48 that take 5 s.
    """
    setting = Setting(Route(2.5e6, delay_s, 0.01), 1, size)
    times = repeats(setting, "cubic")
    assert times > 40
    medians = []
    for seed in range(12):
        found: dict[Setting, list[float]] = {}
        for plan in plans({setting: times}, "cubic", seed):
            collect(plan, simulate(plan, Transport("cubic")), found)
        medians.append(float(np.median(found[setting])))
    assert np.std(medians) / np.median(medians) < error


def test_repetitions_are_spent_where_chance_is() -> None:
    """Without loss, and where losses hide behind a slow link, few are enough; BBR answers no loss."""

    def often(rate: float, loss: float, size: int, congestion: str = "cubic", flows: int = 1) -> int:
        return repeats(Setting(Route(rate, 0.08, loss), flows, size), congestion)

    assert (often(1e6, 0.0, 100_000), often(1e6, 0.0, 10_000_000)) == (3, 2)
    assert often(12.5e6, 0.01, 100_000) > 6 * often(12.5e6, 0.01, 10_000)
    assert often(12.5e6, 0.01, 100_000, flows=8) < often(12.5e6, 0.01, 100_000)
    assert often(125e3, 1e-6, 100_000) == 6
    assert often(12.5e6, 0.01, 1_000_000, "bbr") < often(12.5e6, 0.01, 1_000_000)


def test_times_are_those_of_each_alone_or_of_the_last_that_share() -> None:
    def rows(steps: int) -> list[TransferRow]:
        return [
            TransferRow(step=step, sender=f"sender-{k}", size_bytes=1000, frame_bytes=1100, seconds=10.0 * step + k)
            for step in range(-1, steps)
            for k in (1, 2)
        ]

    route = Route(2.5e6, 0.02, 0.01)
    found: dict[Setting, list[float]] = {}
    collect(Plan(route, (Step(1000, 2),) * 2, 1.0, shared=True), rows(2), found)
    collect(Plan(route, (Step(1000, 2),) * 2, 1.0, shared=False), rows(2), found)
    assert found == {Setting(route, 2, 1000): [2.0, 12.0], Setting(route, 1, 1000): [1.0, 2.0, 11.0, 12.0]}


def test_lossy_runs_are_simulated_with_many_draws_that_are_always_the_same() -> None:
    setting = Setting(Route(2.5e6, 0.02, 0.01), 1, 200_000)
    runs = plans({setting: 6}, "cubic", 1)
    found = simulated(runs, Transport("cubic"))
    assert found == simulated(runs, Transport("cubic"))
    assert len(found[setting]) == SIMULATIONS * 10, "two steps of five senders"
    assert len(set(found[setting])) > SIMULATIONS
    assert simulated(runs)[setting] == pytest.approx([simulated(runs)[setting][0]] * 10), "ideal links lose nothing"


def test_transfers_are_kept_in_a_file(tmp_path: Path) -> None:
    transfer = Transfer(Setting(Route(1e6, 0.01, 0.0), 1, 1000), 1100, (0.012, 0.013), "cubic")
    save(tmp_path / "transfers.json", [transfer])
    assert load(tmp_path / "transfers.json") == [transfer]


# Options.


def test_lists_of_values() -> None:
    assert numbers("rates", "1, 5,20", low=0.1, high=1000) == (1.0, 5.0, 20.0)
    assert numbers("losses", "0,0.1%,0.01", low=0, high=0.5, kind="%") == (0.0, 0.001, 0.01)
    assert numbers("sizes", "0B,1kB,2.5MB,700", low=0, high=1e9, kind="B") == (0.0, 1000.0, 2.5e6, 700.0)
    found = grid({"rates": "8", "sizes": "1kB"}, quick=True, longest_s=5.0, congestion="bbr", seed=3)
    assert found.rates_bytes_per_s == (1e6,)
    assert found.sizes_bytes == (1000,)
    assert found.delays_s == (0.002, 0.02), "what is not given is that of the quick sweep"


@pytest.mark.parametrize(
    ("option", "text", "kind"),
    [
        ("rates", "fast", ""),
        ("rates", "1;2", ""),
        ("rates", "0", ""),
        ("rates", "-5", ""),
        ("rates", "1e3", ""),
        ("rates", "5%", ""),
        ("losses", "100%", "%"),
        ("losses", "1kB", "%"),
        ("sizes", "1TB", "B"),
        ("sizes", "", "B"),
        ("flows", "nan", ""),
    ],
)
def test_other_values_are_refused_by_name(option: str, text: str, kind: str) -> None:
    with pytest.raises(InputWrong, match=f"^--{option}: "):
        numbers(option, text, low=0.1, high=0.5 if kind == "%" else 1000, kind=kind)


def test_flows_are_whole() -> None:
    with pytest.raises(InputWrong, match=r"--flows: 1.5 is not a whole number"):
        grid({"flows": "1.5"}, quick=True, longest_s=5.0, congestion="cubic", seed=1)


def test_without_root_validation_is_refused_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    done = invoke("validate", "quickstart", "--out", str(tmp_path / "out"))
    assert done.exit_code == 2
    assert done.output.strip().splitlines() == ["Error: links cannot be emulated: that takes root"]
    assert not (tmp_path / "out").exists()


def test_a_scenario_that_links_alone_cannot_emulate_is_refused_before_anything_is_begun(tmp_path: Path) -> None:
    out = tmp_path / "out"
    for arguments in (
        ("validate", "campus", "--out", str(out)),
        ("run", "campus", "--world", "real", "--set", "real.emulate_links=true", "--out", str(out)),
    ):
        done = invoke(*arguments)
        assert done.exit_code == 2
        assert "network.topology" in done.output
        assert "the topology has rates" in done.output
        assert not out.exists()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--only", "transfers", "--profile", "nothing.yaml"), "--profile: transfers alone run on no devices"),
        (("--only", "transfers", "--own-devices"), "--own-devices: transfers alone run on no devices"),
        (("--own-devices", "--profile", "nothing.yaml"), "--profile: --own-devices keeps the scenario's"),
        (("--profile", "nothing.yaml"), "nothing.yaml: cannot be read"),
    ],
)
def test_an_option_that_would_have_no_effect_is_refused(tmp_path: Path, arguments: tuple[str, ...], says: str) -> None:
    done = invoke("validate", "quickstart", "--out", str(tmp_path / "out"), *arguments)
    assert done.exit_code == 2
    assert says in done.output
    assert not (tmp_path / "out").exists()


# Profiles.

SPEEDS = "{train_speed: 1 GFLOP/s, step_overhead: 1 us, memory_speed: 1 GB/s}"
MACHINE = MachineProfile(
    train_flops_per_s=123.4e9,
    memory_bytes_per_s=21.5e9,
    main_memory_bytes_per_s=9.9e9,
    step_overhead_s=12.5e-6,
    model="softmax",
    step_s=20e-6,
    host=Host("this_machine", 2.0, job_s=900e-6, message_s=150e-6, byte_s=2.5e-9),
)


def test_a_profile_is_a_piece_of_a_scenario(tmp_path: Path) -> None:
    profile.save(tmp_path / "profile.yaml", MACHINE)
    scenario = load_scenario(QUICKSTART)
    here = on_this_machine(scenario, profile.load(tmp_path / "profile.yaml"))
    stations = (here.coordinator, here.evaluator, *here.devices)
    assert {(station.device, station.host) for station in stations if station} == {("this_machine", "this_machine")}
    assert [group.link for group in here.devices] == [group.link for group in scenario.devices]
    assert all(group.speed_spread == 0.0 for group in here.devices)
    assert here.real.devices == "host"
    spec = here.profiles["this_machine"]
    assert (spec.base, spec.train_speed, spec.memory_speed) == ("server", 123.4e9, 21.5e9)
    assert spec.step_overhead == pytest.approx(12.5e-6)
    (found,) = hosts(here)
    assert dataclasses.astuple(found) == pytest.approx(dataclasses.astuple(MACHINE.host))
    # As a scenario takes it: copied into its file.
    taken = yaml.safe_load(QUICKSTART.read_text()) | yaml.safe_load((tmp_path / "profile.yaml").read_text())
    taken["coordinator"] |= {"device": "this_machine", "host": "this_machine"}
    (tmp_path / "own.yaml").write_text(yaml.safe_dump(taken))
    assert load_scenario(tmp_path / "own.yaml").profiles["this_machine"].train_speed == 123.4e9


def test_a_host_is_what_processor_times_of_rounds_tell() -> None:
    """Two processes: a message takes 100 us at an end, its 256 KiB 5 ns a byte, a job 3 ms, of which 2 ms are steps."""
    message_s, load_s, job_s = 100e-6, LOAD_BYTES * 5e-9, 3e-3

    def times(end_s: float, extra_s: float = 0.0) -> Times:
        # Of each round two messages to and two from the first, and one each way for the others.
        return np.array([4 * end_s, 2 * end_s + extra_s, 2 * end_s + extra_s])

    found = host(
        "here",
        {SMALL: times(message_s), LOADED: times(message_s + load_s), WORKED: times(message_s, job_s)},
        2e-3,
    )
    assert found.message_s == pytest.approx(message_s)
    assert found.byte_s == pytest.approx(5e-9)
    assert found.job_s == pytest.approx(1e-3)
    assert found.cores >= 1.0
    # Behind emulated links: 250 us at an end, and 80 us of a relay for each packet.
    linked = behind_links(found, {SMALL: times(250e-6)}, 80e-6)
    assert linked.message_s == pytest.approx(250e-6 + 80e-6), "a packet and what acknowledges it, over two ends"
    assert linked.byte_s == pytest.approx(5e-9 + 80e-6 * 0.75 / 1448)
    assert (linked.job_s, linked.cores) == (found.job_s, found.cores)
    faster = host("here", {SMALL: times(2e-4), LOADED: times(1e-4), WORKED: times(2e-4)}, 2e-3)
    assert (faster.byte_s, faster.job_s) == (0.0, 0.0), "nothing takes less than no time"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("profiles: {}", "is no profile"),
        ("- 1", "is no profile"),
        ("profiles: {a: {base: server, train_speed: 1 GFLOP/s}}", "is no profile"),
        ("hosts: {a: {cores: 2}}\nprofiles: {a: {base: server, train_speed: 1 GFLOP/s}}", "is no profile"),
        (f"hosts: {{a: {{}}}}\nprofiles: {{a: {SPEEDS}}}", "is no profile"),
        (f"hosts: [1]\nprofiles: {{a: {SPEEDS}}}", "is no profile"),
        ("profiles: {a: [", "is no YAML"),
        ("\0", "is no YAML"),
    ],
)
def test_what_is_no_profile_is_refused(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "profile.yaml"
    path.write_text(text)
    with pytest.raises(ProfileError, match=message):
        profile.load(path)
    with pytest.raises(ProfileError, match="cannot be read"):
        profile.load(tmp_path / "none.yaml")


# The report.


def point(**changes: object) -> Point:
    values: dict[str, object] = {
        "rate_bytes_per_s": 2.5e6,
        "delay_s": 0.02,
        "loss": 0.0,
        "flows": 1,
        "size_bytes": 1_000_000,
        "ideal_s": 0.42,
        "default_s": 0.45,
        "calibrated_s": (0.49, 0.5, 0.51),
        "measured_s": (0.49, 0.5, 0.53),
        "seen": False,
    }
    return Point(**{**values, **changes})  # type: ignore[arg-type]


def test_errors_are_relative_to_what_was_measured() -> None:
    found = metric("x", "s", [1.1, 2.0, 3.0, 5.0], [1.0, 2.0, 4.0, 0.0], goal=(0.05, 0.1))
    assert found.errors == pytest.approx((0.1, 0.0, 0.25)), "nothing is relative to zero"
    assert found.median == pytest.approx(0.1)
    assert found.met is False
    assert metric("x", "1", [7.0], [7.0], goal=(0.0, 0.0)).met is True
    assert metric("x", "1", [7.0], [8.0], goal=(0.0, 0.0)).met is False
    assert point().real_s == 0.5
    assert point().spread == pytest.approx(0.02)


def test_the_fitted_half_is_no_evidence() -> None:
    seen = [point(seen=True, calibrated_s=(50.0,)) for _ in range(3)]
    found = {m.name.replace("\u00a0", " "): m for m in transfer_metrics([*seen, point(calibrated_s=(0.51,))])}
    large = found["transfers from 100 kB on: calibrated"]
    assert large.errors == pytest.approx((0.02,))
    # A 95th percentile of one is none.
    assert large.met is None
    many = {m.name.replace("\u00a0", " "): m for m in transfer_metrics([point(calibrated_s=(0.51,))] * 20)}
    assert many["transfers from 100 kB on: calibrated"].met is True
    assert found["transfers from 100 kB on: usual constants"].errors == pytest.approx((0.1,))
    assert found["transfers from 100 kB on: ideal links"].errors == pytest.approx((0.16,))
    assert not any("chance" in name for name in found), "nothing is drawn without loss"


def test_chance_is_what_a_perfect_simulator_would_be_off() -> None:
    drawn = tuple(float(k) for k in range(1, 101))
    lossy = point(loss=0.01, calibrated_s=drawn, measured_s=(1.0, 50.0, 90.0))
    assert lossy.predicted_s == 50.5
    assert lossy.chance_s == 2.0, "as many simulated times as were measured"
    assert lossy.within() == [False, True, True]
    found = {m.name.replace("\u00a0", " "): m for m in transfer_metrics([lossy])}
    assert found["transfers from 100 kB on: chance alone"].errors == pytest.approx((24.25,))


def test_the_report_is_written(tmp_path: Path) -> None:
    points = [
        point(loss=loss, size_bytes=size, seen=seen)
        for loss in (0.0, 0.01)
        for size in (0, 1000, 1_000_000)
        for seen in (False, True)
    ]
    scenario = (metric("round <time>", "s", [1.0], [1.02], goal=(0.05, float("inf"))),)
    made = Validation(
        "mine", scenario, transfer_metrics(points), tuple(points), "network:\n  transport: <cubic>\n", ("A note.",)
    )
    page = write_validation(made, tmp_path).read_text()
    assert "round &lt;time&gt;" in page
    assert "A note." in page
    assert "transport: &lt;cubic&gt;" in page
    assert page.count("<svg") == 1
    assert (tmp_path / "validation.png").read_bytes().startswith(b"\x89PNG")
    shown = "\n".join(lines(made))
    assert "reached: 5 %" in shown
    assert "A note." in shown
    assert "  transport: <cubic>" in shown


# The real thing.


@pytest.fixture
def emulation() -> None:
    """Skip where links cannot be emulated, and say why."""
    try:
        make_wire(0, congestion="cubic").close()
    except EmulationUnavailable as error:
        pytest.skip(str(error))


@pytest.mark.slow
def test_transfers_in_both_worlds(tmp_path: Path, emulation: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    out = tmp_path / "out"
    options = ("--rates", "20", "--delays", "10", "--losses", "0,1%", "--flows", "1,2", "--sizes", "0B,10kB,200kB")
    done = invoke("validate", "quickstart", "--out", str(out), "--only", "transfers", *options)
    assert done.exit_code == 0, done.output
    transfers = load(out / "transfers.json")
    assert len(transfers) == 12
    for transfer in transfers:
        setting = transfer.setting
        # Nothing beats its link.
        assert len(transfer.measured_s) >= 3
        assert min(transfer.measured_s) >= setting.route.delay_s + transfer.frame_bytes / setting.route.rate_bytes_per_s
    assert (out / "validation.html").exists()
    assert "transport: cubic" in (out / "transport.yaml").read_text()
    again = invoke(
        *("validate", "quickstart", "--out", str(tmp_path / "again"), "--only", "transfers"),
        *("--transfers", str(out / "transfers.json")),
    )
    assert again.exit_code == 0, again.output
    taken = invoke("validate", "quickstart", "--out", str(out), "--only", "transfers")
    assert taken.exit_code == 2
    assert "is not empty" in taken.output


@pytest.mark.slow
def test_a_scenario_in_both_worlds(tmp_path: Path, emulation: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    out = tmp_path / "out"
    small = ("training.rounds=2", "training.min_participants=2", "training.max_participants=2", "data.partition=iid")
    small += tuple(f"devices.{k}.count=1" for k in range(3))
    settings = [part for setting in small for part in ("--set", setting)]
    done = invoke("validate", "quickstart", "--out", str(out), "--only", "scenario", *settings)
    assert done.exit_code == 0, done.output
    assert "round time" in done.output
    assert (out / "profile.yaml").exists()
    assert {"sim", "real", "scenario.yaml", "validation.html"} <= {path.name for path in out.iterdir()}
