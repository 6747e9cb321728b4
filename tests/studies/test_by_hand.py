"""Nodes started by hand, as docs/real.md says: provision, start, merge, verify."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import aivsim
from analysis.tables import Run

ROOT = Path(aivsim.__file__).resolve().parent.parent
SCENARIO = """
extends: quickstart
name: by-hand
training: {rounds: 2, min_participants: 4, max_participants: 4}
devices:
  - {name: phone-low, count: 4, device: phone_low, link: wifi_home}
real: {time_scale: 0.02}
"""
ACTORS = {"hub": "coordinator,evaluator", "left": "phone-low-0,phone-low-1", "right": "phone-low-2,phone-low-3"}


def start(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-P", *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def ended(process: subprocess.Popen[str]) -> tuple[int, str]:
    output, _ = process.communicate(timeout=120)
    return process.returncode, output


def free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [s.getsockname()[1] for s in sockets]
    for s in sockets:
        s.close()
    return ports


def provision(folder: Path) -> None:
    (folder / "my.yaml").write_text(SCENARIO)
    nodes: list[str] = []
    for (name, actors), port in zip(ACTORS.items(), free_ports(len(ACTORS)), strict=True):
        nodes += ["--node", name, "127.0.0.1", str(port), actors]
    code, output = ended(start(folder, "-m", "real_runtime.provision", "secrets", *nodes))
    assert code == 0, output


def node(folder: Path, name: str, credentials: str = "secrets") -> subprocess.Popen[str]:
    options = ["--address-book", "secrets/book.json", "--credentials", credentials, "--records", f"records-{name}"]
    return start(folder, "-m", "aivsim", "node", "--scenario", "my.yaml", "--node", name, *options)


def test_three_nodes_by_hand_make_one_run_with_the_simulators_model(tmp_path: Path) -> None:
    provision(tmp_path)
    for name, process in {name: node(tmp_path, name) for name in ACTORS}.items():
        code, output = ended(process)
        assert code == 0, (name, output)
    folders = [f"records-{name}" for name in ACTORS]
    code, output = ended(start(tmp_path, "-m", "aivsim", "merge", "my.yaml", "run", *folders))
    assert code == 0, output
    code, output = ended(start(tmp_path, "-m", "aivsim", "verify", "run"))
    assert code == 0, output
    merged = Run(tmp_path / "run")
    assert (tmp_path / "run" / "report.html").is_file()
    simulated = aivsim.run(tmp_path / "my.yaml", out=tmp_path / "sim", report=False)
    assert merged.manifest.model_sha256 == simulated.manifest.model_sha256
    assert merged.manifest.counts["messages"] == simulated.manifest.counts["messages"]


def test_the_certificate_of_another_run_is_refused_at_once(tmp_path: Path) -> None:
    provision(tmp_path)
    (tmp_path / "other").mkdir()
    provision(tmp_path / "other")
    code, output = ended(node(tmp_path, "left", "other/secrets"))
    assert code == 2
    assert "is not the certificate that secrets/book.json pins for node 'left'" in output
    assert "Traceback" not in output
