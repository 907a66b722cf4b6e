"""What lies in deploy/ is checked as far as a machine without an engine can: syntax, our own flags, our own settings."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from nervure_edge.config_sources import load_config as load_agent
from nervure_hub.config import load_config as load_hub


@pytest.fixture(scope="module")
def compose(root: Path) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((root / "deploy" / "compose.yaml").read_text())
    return found


def known_flags(*command: str) -> set[str]:
    done = subprocess.run(
        [sys.executable, "-m", "nervure_core.command", *command, "--help"], capture_output=True, text=True, check=True
    )
    return set(re.findall(r"--[a-z-]+", done.stdout))


def test_compose_has_three_regions_and_every_volume_it_names(compose: dict[str, Any]) -> None:
    services = compose["services"]
    assert {"etcd", "hub-americas", "hub-europe", "hub-asia", "agent-americas", "agent-europe", "agent-asia"} == set(
        services
    )
    used = {volume.split(":")[0] for service in services.values() for volume in service.get("volumes", ())}
    assert used == set(compose["volumes"])


def test_nothing_in_compose_listens_beyond_loopback(compose: dict[str, Any]) -> None:
    assert all(service["network_mode"] == "host" for service in compose["services"].values())
    assert "0.0.0.0" not in str(compose["services"])
    assert "--clear" not in str(compose["services"])


@pytest.mark.parametrize(("kind", "command"), [("hub", ("hub", "up")), ("agent", ("agent", "run"))])
def test_the_flags_in_compose_exist(compose: dict[str, Any], kind: str, command: tuple[str, ...]) -> None:
    flags = known_flags(*command)
    for name, service in compose["services"].items():
        if name.startswith(kind):
            used = {word for word in service["command"] if word.startswith("--")}
            assert used <= flags, f"{name} uses unknown flags {used - flags}"


def test_ports_differ_and_agents_name_the_hubs_of_compose(compose: dict[str, Any]) -> None:
    hubs = [service["command"] for name, service in compose["services"].items() if name.startswith("hub-")]
    ports = [words[words.index(flag) + 1] for words in hubs for flag in ("--port", "--api-port")]
    assert len(set(ports)) == len(ports) == 6
    grpc = {words[words.index("--port") + 1] for words in hubs}
    for name, service in compose["services"].items():
        if name.startswith("agent-"):
            words = service["command"]
            used = {words[index + 1].split(":")[1] for index, word in enumerate(words) if word == "--hub"}
            assert used == grpc, name


@pytest.mark.parametrize("name", ["agent", "hub"])
def test_dockerfiles_copy_what_exists_and_do_not_run_as_root(root: Path, name: str) -> None:
    text = (root / "deploy" / "containers" / f"{name}.Dockerfile").read_text()
    for line in re.findall(r"^COPY (?!--from)(.+)$", text, re.MULTILINE):
        for source in line.split()[:-1]:
            assert (root / source).exists(), source
    final = text.rsplit("FROM ", 1)[1]
    assert re.search(r"^USER (?!root)", final, re.MULTILINE)
    entry = re.search(r'^ENTRYPOINT \["nervure", "(\w+)", "(\w+)"', final, re.MULTILINE)
    assert entry is not None
    assert "--data" in known_flags(*entry.groups())


def test_the_example_configurations_are_valid(root: Path) -> None:
    assert load_agent(root / "deploy" / "config" / "agent.toml", {}, {}).region == "europe"
    assert load_hub({}, file=root / "deploy" / "config" / "hub.toml").gateways == 2


def test_the_unit_calls_the_agent_with_flags_that_exist(root: Path) -> None:
    text = (root / "deploy" / "systemd" / "nervure-agent.service").read_text()
    line = re.search(r"^ExecStart=(.+)$", text, re.MULTILINE)
    assert line is not None
    assert set(re.findall(r"--[a-z-]+", line[1])) <= known_flags("agent", "run")


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not on this machine")
def test_systemd_accepts_the_unit(root: Path, tmp_path: Path) -> None:
    text = (root / "deploy" / "systemd" / "nervure-agent.service").read_text()
    # The unit names a program that a checkout does not install; any program that exists stands for it here.
    unit = tmp_path / "nervure-agent.service"
    unit.write_text(re.sub(r"^ExecStart=\S+", f"ExecStart={sys.executable}", text, flags=re.MULTILINE))
    done = subprocess.run(["systemd-analyze", "verify", str(unit)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "nervure-agent.service:" not in done.stderr


@pytest.mark.skipif(shutil.which("docker") is None, reason="docker is not on this machine")
def test_docker_accepts_the_compose_file(root: Path) -> None:
    probe = subprocess.run(["docker", "compose", "version"], capture_output=True, check=False)
    if probe.returncode:
        pytest.skip("docker has no compose plug-in here")
    done = subprocess.run(
        ["docker", "compose", "-f", "deploy/compose.yaml", "config", "-q"],
        cwd=root,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
