"""``nervure hub`` as a user runs it: ready line, status, clean stop, and one clear message for what is wrong."""

from __future__ import annotations

import asyncio
import json
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.support.wire_agent import until

COMMAND = [sys.executable, "-m", "nervure_core.command"]
UP = [*COMMAND, "hub", "up", "--region", "europe", "--in-process", "--port", "0", "--api-port", "0"]


@pytest.fixture
def started(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[str], dict[str, Any]]]:
    argv = [*UP, "--data", str(tmp_path), "--json"]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield process, json.loads(process.stdout.readline())
        if process.poll() is None:
            process.kill()


def run(*argv: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*COMMAND, *argv], capture_output=True, text=True, timeout=60, check=False)


def test_ready_status_and_a_clean_stop(started: tuple[subprocess.Popen[str], dict[str, Any]]) -> None:
    process, ready = started
    assert ready["event"] == "ready"
    assert ready["pids"] == [process.pid]
    shown = run("hub", "status", "--api", ready["api"])
    assert shown.returncode == 0, shown.stderr
    assert "hub europe" in shown.stdout
    status = json.loads(run("hub", "status", "--api", ready["api"], "--json").stdout)
    assert status["hub"]["hubs"][0]["grpc"] == ready["grpc"]
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=30)
    assert (process.returncode, out, err) == (0, "", "")


@pytest.mark.ray
@pytest.mark.timeout(300)
def test_with_a_ray_of_its_own(tmp_path: Path) -> None:
    argv = [*(word for word in UP if word != "--in-process"), "--data", str(tmp_path), "--json"]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        ready = json.loads(process.stdout.readline())
        # The driver, two gateways, directory, lake and controllers.
        assert (ready["pids"][0], len(ready["pids"])) == (process.pid, 6)
        # Ray listens on every interface: its processes must want a token, and it must not stand in a command line.
        lines = {path.parent: path.read_bytes() for path in Path("/proc").glob("[0-9]*/cmdline")}
        (ray,) = [
            folder
            for folder, line in lines.items()
            if b"gcs_server" in line and f"PPid:\t{process.pid}\n" in (folder / "status").read_text()
        ]
        token = (ray / "environ").read_bytes().partition(b"RAY_AUTH_TOKEN=")[2].partition(b"\0")[0]
        assert len(token) == 64
        assert not [line for line in lines.values() if token in line]
        shown = run("hub", "status", "--api", ready["api"])
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=120)
    assert shown.returncode == 0, shown.stderr
    assert process.returncode == 0, err
    assert "Traceback" not in err
    # Ray ends the last workers beside the driver, so they may outlive it by a moment.
    asyncio.run(until(lambda: not [pid for pid in ready["pids"] if Path(f"/proc/{pid}").exists()]))


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["--region", "Not A Name"], 2, "Not A Name"),
        (["--gateways", "0"], 2, "gateways"),
        (["--etcd", "nonsense"], 2, "nonsense"),
        (["--host", "0.0.0.0"], 2, "--clear"),
        (["--config", "/nowhere.toml"], 2, "/nowhere.toml"),
        (["--etcd", "127.0.0.1:1"], 5, "127.0.0.1:1"),
        (["--objects", "ftp://x"], 2, "ftp://x"),
    ],
)
def test_wrong_settings_get_one_message(tmp_path: Path, arguments: list[str], code: int, words: str) -> None:
    done = subprocess.run(
        [*UP, "--data", str(tmp_path), *arguments], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == code, done.stderr
    assert words in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stderr.startswith("error: ")


def test_an_unknown_key_in_the_file_is_named(tmp_path: Path) -> None:
    file = tmp_path / "hub.toml"
    file.write_text('region = "europe"\n[gateway]\nheartbeet_s = 1.0\n')
    done = run("hub", "up", "--config", str(file))
    assert done.returncode == 2
    assert "gateway.heartbeet_s: unknown key" in done.stderr
    assert str(file) in done.stderr


@pytest.mark.parametrize("mode", [["--in-process"], []])
def test_a_port_in_use_is_said_before_anything_starts(tmp_path: Path, mode: list[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        done = run("hub", "up", "--region", "europe", "--port", port, "--data", str(tmp_path / "new"), *mode)
    assert done.returncode == 5
    assert f"127.0.0.1:{port}" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "new").exists()


def test_no_hub_to_ask() -> None:
    done = run("hub", "status", "--api", "http://127.0.0.1:1")
    assert done.returncode == 5
    assert "no hub answers" in done.stderr
