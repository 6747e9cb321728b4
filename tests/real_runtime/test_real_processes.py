"""Nodes as processes: launched together, started by hand, killed, interrupted."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

import psutil
import pyarrow.parquet as pq
import pytest
import real_studies

from core.deployment import Deployment
from core.records import RunWriter
from real_runtime import launcher, scratch
from real_runtime.progress import Progress

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def importable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join((str(ROOT), str(Path(__file__).parent))))


def launch(
    name: str, deployment: Deployment, directory: Path, processes: int = 2
) -> tuple[launcher.Outcome, list[Progress]]:
    told: list[Progress] = []
    writer = RunWriter(directory)
    try:
        outcome = asyncio.run(
            launcher.run(
                deployment,
                node_arguments=["--deployment", f"real_studies:{name}"],
                processes=processes,
                directory=directory,
                writer=writer,
                on_progress=told.append,
            )
        )
    finally:
        writer.close()
        assert psutil.Process().children(recursive=True) == []
    return outcome, told


def table(directory: Path, name: str) -> list[dict[str, object]]:
    rows = pq.read_table(directory / "records" / name).to_pylist()
    assert isinstance(rows, list)
    return rows


def test_actors_are_dealt_out_over_processes() -> None:
    study = real_studies.asking()
    assert launcher.partition(study, 1) == {"n0": ("main", "a", "b", "c")}
    assert launcher.partition(study, 2) == {"n0": ("main", "b"), "n1": ("a", "c")}
    assert launcher.partition(study, 9) == {"n0": ("main",), "n1": ("a",), "n2": ("b",), "n3": ("c",)}
    with pytest.raises(ValueError, match="at least 1"):
        launcher.partition(study, 0)


def test_a_study_in_two_processes(tmp_path: Path) -> None:
    outcome, told = launch("asking", real_studies.asking(), tmp_path)
    assert outcome.nodes == {"n0": ("main", "b"), "n1": ("a", "c")}
    assert outcome.lost == ()
    assert outcome.model is not None
    assert outcome.model["w"].tolist() == [0.0, 1.0, 2.0]
    assert {row["actor"]: row["profile"] for row in table(tmp_path, "placements")} == dict.fromkeys(
        ("main", "a", "b", "c"), "phone_mid"
    )
    assert [(line.table, line.actor, line.row["accuracy"]) for line in told] == [("evaluations", "main", 0.5)]
    messages = table(tmp_path, "messages")
    pairs = Counter((row["sender"], row["receiver"], row["type"]) for row in messages)
    assert pairs == {(s, r, "Ask"): 50 for peer in "abc" for s, r in (("main", peer), (peer, "main"))}
    assert [row["delivered_s"] for row in messages] == sorted(row["delivered_s"] for row in messages)  # type: ignore[type-var]
    between = sum(row["size_bytes"] for row in messages if {row["sender"], row["receiver"]} & {"a", "c"})  # type: ignore[misc]
    nodes = table(tmp_path, "host_nodes")
    assert [row["process"] for row in nodes] == ["n0", "n1"] or [row["process"] for row in nodes] == ["n1", "n0"]
    assert sum(row["frame_bytes_sent"] for row in nodes) == between  # type: ignore[misc]
    assert sorted(path.name for path in (tmp_path / "nodes").iterdir()) == ["n0.log", "n1.log"]


def test_a_killed_process_is_a_lost_peer_and_the_run_goes_on(tmp_path: Path) -> None:
    outcome, told = launch("killing", real_studies.killing(), tmp_path, processes=3)
    assert outcome.nodes == {"n0": ("main", "c"), "n1": ("a",), "n2": ("b",)}
    assert outcome.lost == ("n1",)
    assert [line.row["outcome"] for line in told] == ["a was lost"]
    faults = {(row["actor"], row["kind"], row["detail"]) for row in table(tmp_path, "faults")}
    assert ("n0", "node_lost", "n1") in faults


def test_an_actor_that_fails_fails_the_run_and_says_why(tmp_path: Path) -> None:
    with pytest.raises(launcher.LaunchError, match=r"a failed at .* s: ArithmeticError: fragile") as failure:
        launch("failing", real_studies.failing(), tmp_path)
    assert failure.value.code == 1
    assert table(tmp_path, "faults")[0]["kind"] == "actor_failed"


def test_a_node_that_cannot_begin_ends_the_run_at_once(tmp_path: Path) -> None:
    with pytest.raises(launcher.LaunchError, match="nothing_of_that_name") as failure:
        launch("nothing_of_that_name", real_studies.asking(), tmp_path)
    assert failure.value.code == 2


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_no_process_stays_behind_and_no_folder_for_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    script = Path(__file__).with_name("real_studies.py")
    folders = tmp_path / "tmp"
    folders.mkdir()
    monkeypatch.setenv("TMPDIR", str(folders))
    monkeypatch.setattr(tempfile, "tempdir", str(folders))
    with subprocess.Popen(
        [sys.executable, str(script), "endless", "3", str(tmp_path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "begun\n"
            nodes = psutil.Process(process.pid).children(recursive=True)
            assert len(nodes) == 3
            (private,) = folders.glob("aivsim-*")
            scratch.sweep()
            assert (private / "book.json").exists(), "its launcher lives"
            process.send_signal(number)
            assert process.wait(timeout=30) != 0
        finally:
            process.kill()
    _, alive = psutil.wait_procs(nodes, timeout=30)
    assert alive == []
    assert private.exists() == (number == signal.SIGKILL)
    # The next launcher does this before it begins.
    scratch.sweep()
    assert list(folders.glob("aivsim-*")) == []
    if number != signal.SIGKILL:
        assert {row["type"] for row in table(tmp_path, "messages")} == {"Ask"}


def test_a_launched_node_without_its_launcher_is_gone_whatever_it_is_doing() -> None:
    """A process that never looks at its event loop; its launcher is a shell that has ended."""
    code = (
        "import os, time; from real_runtime import lifeline; lifeline.ORPHAN_GRACE_S = 0.1;"
        "lifeline.Lifeline(os.getppid()).when_cut(lambda: print('cut', flush=True)); print(os.getpid(), flush=True);"
        "time.sleep(600)"
    )
    starter = "import subprocess, sys; subprocess.Popen([sys.executable, '-c', sys.argv[1]]); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", starter, code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        orphan = psutil.Process(int(process.stdout.readline()))
        # The launcher and its child read from one pipe: the end of it ends the launcher, and cuts the line.
        process.stdin.close()
        assert process.stdout.readline() == "cut\n"
        _, alive = psutil.wait_procs([orphan], timeout=30)
        assert alive == []


def test_folders_of_the_dead_are_swept_and_no_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / scratch.LOCK).touch()
    for name in ("dead", "foreign"):
        (tmp_path / f"aivsim-{name}").mkdir()
        (tmp_path / f"aivsim-{name}" / "n0.crt").touch()
    (tmp_path / "aivsim-dead" / scratch.LOCK).touch()
    (tmp_path / "aivsim-link").symlink_to(elsewhere)
    (tmp_path / "aivsim-file").touch()
    with scratch.scratch_folder() as living:
        assert living.stat().st_mode & 0o777 == 0o700
        scratch.sweep()
        with scratch.scratch_folder() as other:
            assert {living, other} <= set(tmp_path.iterdir())
        left = {path.name for path in tmp_path.iterdir()} - {living.name}
        assert left == {"elsewhere", "aivsim-foreign", "aivsim-link", "aivsim-file"}
        assert (elsewhere / scratch.LOCK).exists()
    assert not living.exists()


def by_hand(*arguments: str) -> list[str]:
    return [sys.executable, "-P", "-m", *arguments]


def provision(directory: Path, ports: list[int]) -> None:
    subprocess.run(
        by_hand(
            *("real_runtime.provision", str(directory)),
            *("--node", "first", "127.0.0.1", str(ports[0]), "main"),
            *("--node", "second", "127.0.0.1", str(ports[1]), "a,b,c"),
        ),
        check=True,
        stdout=subprocess.DEVNULL,
    )


def node(directory: Path, name: str, *more: str) -> list[str]:
    return by_hand(
        *("real_runtime.node", "--deployment", "real_studies:asking", "--node", name),
        *("--address-book", str(directory / "book.json"), "--credentials", str(directory)),
        *("--records", str(directory / name), *more),
    )


def free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [listener.getsockname()[1] for listener in sockets]
    for listener in sockets:
        listener.close()
    return ports


def test_nodes_started_by_hand(tmp_path: Path) -> None:
    provision(tmp_path, free_ports(2))
    assert (tmp_path / "first.key").stat().st_mode & 0o777 == 0o600
    with subprocess.Popen(node(tmp_path, "second")) as second:
        first = subprocess.run(node(tmp_path, "first"), timeout=60, check=False)
        assert (first.returncode, second.wait(timeout=30)) == (0, 0)
    assert len(table(tmp_path / "first", "messages")) == 150
    assert len(table(tmp_path / "second", "messages")) == 150


def test_mistakes_of_a_node_started_by_hand(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        provision(tmp_path, [port, *free_ports(1)])

        def failure(*arguments: str) -> tuple[int, str]:
            done = subprocess.run(list(arguments), capture_output=True, text=True, timeout=60, check=False)
            return done.returncode, done.stderr

        code, text = failure(*node(tmp_path, "first"))
        assert (code, text) == (2, f"node: node first cannot listen on 127.0.0.1:{port}: Address already in use\n")
        code, text = failure(*node(tmp_path, "third"))
        assert code == 2
        assert "has no node 'third'; it has first, second" in text
        (tmp_path / "occupied").write_text("no folder")
        code, text = failure(*node(tmp_path, "second"), "--records", str(tmp_path / "occupied"))
        assert code == 2
        assert "cannot write" in text
        (tmp_path / "second.key").unlink()
        code, text = failure(*node(tmp_path, "second"))
        assert code == 2
        assert "no usable credentials of node 'second'" in text
