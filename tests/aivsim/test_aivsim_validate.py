"""The distance to sockets: predictions, their fit, options, profiles, the report; and once the real thing."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

import msgspec
import pytest
import yaml
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st

from aivsim import profile
from aivsim.cli import cli
from aivsim.errors import InputWrong
from aivsim.prediction import (
    MSS_BYTES,
    Constants,
    before_loss_bytes,
    fit,
    loss_limited_bytes_per_s,
    predicted_s,
    slow_start_s,
)
from aivsim.profile import MachineProfile, ProfileError, on_this_machine
from aivsim.sweep import Grid, Setting, Transfer, collect, load, save
from aivsim.transfers import Plan, Route, Step, TransferRow, deployment, simulate
from aivsim.validate import grid, numbers
from analysis.validation import Point, Validation, lines, metric, transfer_metrics, write_validation
from core.scenario import load as load_scenario
from real_runtime.emulation.namespace import EmulationUnavailable, make_wire

ROOT = Path(__file__).parents[2]
QUICKSTART = ROOT / "scenarios" / "quickstart.yaml"


def invoke(*arguments: str) -> Result:
    return CliRunner().invoke(cli, arguments)


# Prediction.


def test_what_loss_leaves_is_that_of_the_papers() -> None:
    # MSS/RTT · √1.5/√p, and RFC 8312's 1.054 (RTT/p)^0.75 segments where that is more.
    assert loss_limited_bytes_per_s(0.1, 0.01, "reno") == pytest.approx(1448 / 0.1 * 12.247, rel=1e-4)
    assert loss_limited_bytes_per_s(0.1, 0.01, "cubic") == loss_limited_bytes_per_s(0.1, 0.01, "reno")
    assert loss_limited_bytes_per_s(0.1, 1e-4, "cubic") == pytest.approx(1448 / 0.1 * 1.054 * 1000**0.75, rel=1e-9)
    assert loss_limited_bytes_per_s(0.1, 0.01, "bbr") == float("inf")
    assert loss_limited_bytes_per_s(0.1, 0.0, "reno") == float("inf")


def test_slow_start_by_hand() -> None:
    # Ten segments, then twenty, and the third window holds the rest; the path would hold a hundred.
    window, rtt_s = 10 * MSS_BYTES, 0.1
    rate = 100 * MSS_BYTES / rtt_s
    assert slow_start_s(60 * MSS_BYTES, rate, rtt_s, window) == pytest.approx(2 * rtt_s - 30 * MSS_BYTES / rate)
    assert slow_start_s(9 * MSS_BYTES, rate, rtt_s, window) == 0.0
    # However much is sent, the window is full after four rounds: 10, 20, 40, 80.
    assert slow_start_s(1e9, rate, rtt_s, window) == pytest.approx(4 * rtt_s - 150 * MSS_BYTES / rate)


def test_what_is_sent_before_a_loss() -> None:
    assert before_loss_bytes(1e6, 0.0) == 1e6
    # One segment arrives or not, and is sent once in either case; a long transfer meets its first loss after 1/p.
    assert before_loss_bytes(MSS_BYTES, 0.01) == pytest.approx((0.01 * 0.99 / 0.01 + 1.0) * MSS_BYTES)
    assert before_loss_bytes(1e12, 0.01) == pytest.approx(100 * MSS_BYTES)


routes = st.builds(
    Route,
    rate_bytes_per_s=st.floats(1e4, 1e8),
    delay_s=st.floats(1e-4, 0.5),
    loss=st.sampled_from([0.0, 0.001, 0.01, 0.1]),
)


@given(
    route=routes,
    flows=st.integers(1, 16),
    size_bytes=st.floats(1.0, 1e8),
    congestion=st.sampled_from(["cubic", "reno", "bbr"]),
)
def test_no_transfer_is_faster_than_its_path_and_a_larger_one_takes_longer(
    route: Route, flows: int, size_bytes: float, congestion: str
) -> None:
    took_s = predicted_s(route, flows, size_bytes, congestion, Constants())
    assert took_s >= route.delay_s + flows * size_bytes / route.rate_bytes_per_s
    assert predicted_s(route, flows, 1.5 * size_bytes, congestion, Constants()) >= took_s * (1 - 1e-12)
    assert predicted_s(route, flows + 1, size_bytes, congestion, Constants()) >= took_s - 1e-9 or route.loss > 0.0


def test_a_fit_finds_the_constants_that_made_the_times() -> None:
    truth = Constants(goodput_share=0.93, initial_window=14.0, extra_rtt_s=0.003, extra_s=0.0015, loss_factor=0.8)
    settings = [
        (Route(rate, delay, loss), flows, size)
        for rate in (125e3, 2.5e6, 12.5e6)
        for delay in (0.002, 0.02, 0.08)
        for loss in (0.0, 0.01)
        for flows in (1, 4)
        for size in (100.0, 1e4, 1e5, 1e6, 1e7)
    ]

    def predict(constants: Constants) -> list[float]:
        return [predicted_s(route, flows, size, "cubic", constants) for route, flows, size in settings]

    found = fit(predict, predict(truth))
    for name, value in dataclasses.asdict(truth).items():
        assert getattr(found, name) == pytest.approx(value, rel=0.05), name
    assert max(abs(a / b - 1) for a, b in zip(predict(found), predict(truth), strict=True)) < 0.05
    assert fit(predict, predict(truth)) == found, "it depends on nothing else"


# The sweep.


def test_the_simulator_takes_the_time_of_the_fluid_links() -> None:
    plan = Plan(Route(1e6, 0.01, 0.0), (Step(100_000, 1), Step(100_000, 2)), rest_s=1.0)
    rows = {(row.step, row.sender): row for row in simulate(plan)}
    alone = rows[0, "sender-0"]
    assert alone.size_bytes == 100_000
    assert 0 < alone.frame_bytes - 100_000 < 200
    assert alone.seconds == pytest.approx(alone.frame_bytes / 1e6 + 0.01, rel=1e-6)
    both = max(rows[1, "sender-0"].seconds, rows[1, "sender-1"].seconds)
    assert both == pytest.approx(2 * alone.frame_bytes / 1e6 + 0.01, rel=1e-3)


def test_a_plan_travels_as_text() -> None:
    plan = Plan(Route(1e6, 0.01, 0.002), (Step(0, 3),), rest_s=1.0, seed=5, congestion="bbr")
    study = deployment(msgspec.json.encode(plan).decode())
    assert [placement.name for placement in study.placements] == ["receiver", "sender-0", "sender-1", "sender-2"]
    assert (study.congestion, study.emulate_links, study.seed) == ("bbr", True, 5)
    assert [placement.link.loss for placement in study.placements] == [0.0, 0.002, 0.002, 0.002]
    assert {placement.link.latency_s for placement in study.placements} == {0.005}


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
    assert all(asked.expected_s(setting) <= 25.0 for setting in kept)
    assert sweep(longest_s=1e9).skipped() == []


def test_steps_are_repeated_and_collected_as_the_last_of_the_flows() -> None:
    plan = sweep(sizes_bytes=(1000,), flows=(2,)).plan(Route(2.5e6, 0.02, 0.0))
    assert plan.steps == (Step(1000, 2),) * 5

    def rows(scale: float) -> list[TransferRow]:
        return [
            TransferRow(step=step, sender=f"sender-{k}", size_bytes=1000, frame_bytes=1100, seconds=scale * (step + k))
            for step in range(-1, 5)
            for k in (1, 2)
        ]

    (found,) = collect(plan, rows(1.0), rows(10.0))
    assert found.setting == Setting(plan.route, 2, 1000)
    assert (found.frame_bytes, found.simulated_s) == (1100, 4.0)
    assert found.measured_s == (20.0, 30.0, 40.0, 50.0, 60.0)
    assert found.real_s == 40.0


def test_transfers_are_kept_in_a_file(tmp_path: Path) -> None:
    transfer = Transfer(Setting(Route(1e6, 0.01, 0.0), 1, 1000), 1100, 0.011, (0.012, 0.013), "cubic")
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


# Profiles.

MACHINE = MachineProfile(
    train_flops_per_s=123.4e9,
    memory_bytes_per_s=21.5e9,
    main_memory_bytes_per_s=9.9e9,
    step_overhead_s=12.5e-6,
    message_s=150e-6,
    model="softmax",
    at_once=3,
    step_s=20e-6,
)


def test_a_profile_is_a_piece_of_a_scenario(tmp_path: Path) -> None:
    profile.save(tmp_path / "profile.yaml", MACHINE)
    speeds = profile.load(tmp_path / "profile.yaml")
    scenario = load_scenario(QUICKSTART)
    here = on_this_machine(scenario, speeds)
    assert {group.device for group in here.devices} == {"phone_low_here", "phone_mid_here", "phone_high_here"}
    assert here.coordinator.device == "server_here"
    assert all(group.speed_spread == 0.0 for group in here.devices)
    spec = here.profiles["phone_low_here"]
    assert (spec.base, spec.train_speed, spec.memory_speed) == ("phone_low", 123.4e9, 21.5e9)
    assert spec.step_overhead == pytest.approx(12.5e-6)
    # As a scenario takes it: copied into its file.
    taken = yaml.safe_load(QUICKSTART.read_text()) | yaml.safe_load((tmp_path / "profile.yaml").read_text())
    taken["coordinator"]["device"] = "this_machine"
    (tmp_path / "own.yaml").write_text(yaml.safe_dump(taken))
    assert load_scenario(tmp_path / "own.yaml").profiles["this_machine"].train_speed == 123.4e9


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("profiles: {}", "is no profile"),
        ("- 1", "is no profile"),
        ("profiles: {a: {base: server, train_speed: 1 GFLOP/s}}", "is no profile"),
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
        "simulated_s": 0.42,
        "predicted_s": 0.5,
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
    seen = [point(seen=True, predicted_s=50.0) for _ in range(3)]
    found = {m.name.replace("\u00a0", " "): m for m in transfer_metrics([*seen, point(predicted_s=0.51)])}
    large = found["transfers from 100 kB on: fitted model, unseen half"]
    assert large.errors == pytest.approx((0.02,))
    assert large.met is True
    assert len(found["transfers from 100 kB on: simulator"].errors) == 4


def test_the_report_is_written(tmp_path: Path) -> None:
    points = [
        point(loss=loss, size_bytes=size, seen=seen)
        for loss in (0.0, 0.01)
        for size in (0, 1000, 1_000_000)
        for seen in (False, True)
    ]
    scenario = (metric("round <time>", "s", [1.0], [1.02], goal=(0.05, float("inf"))),)
    made = Validation("mine", scenario, transfer_metrics(points), tuple(points), (("extra_s", 0.001),), ("A note.",))
    page = write_validation(made, tmp_path).read_text()
    assert "round &lt;time&gt;" in page
    assert "A note." in page
    assert "extra_s" in page
    assert page.count("<svg") == 1
    assert (tmp_path / "validation.png").read_bytes().startswith(b"\x89PNG")
    shown = "\n".join(lines(made))
    assert "reached: 5 % median" in shown
    assert "A note." in shown


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
        assert len(transfer.measured_s) == 5
        assert min(transfer.measured_s) >= setting.route.delay_s + transfer.frame_bytes / setting.route.rate_bytes_per_s
    assert (out / "validation.html").exists()
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
