"""The command as a user calls it: in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

HEAVY = {"ray", "flwr", "onnx", "pyarrow", "deltalake", "fastapi", "duckdb"}


def nervure(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "nervure_core.command", *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_help_lists_every_part_with_a_line_and_an_example() -> None:
    done = nervure("--help")
    assert done.returncode == 0
    for name in ("agent", "devices", "events", "hub", "models", "range", "rounds", "simulate", "sites"):
        assert f"\n  {name} " in done.stdout
    assert "Examples:" in done.stdout


@pytest.mark.parametrize("arguments", [["--help"], ["agent", "--help"]])
def test_the_agents_command_imports_nothing_heavy(arguments: list[str]) -> None:
    code = f"""
import sys
from nervure_core.command import main
try:
    main({arguments!r})
except SystemExit as stop:
    assert not stop.code, stop.code
found = {HEAVY!r} & set(sys.modules)
assert not found, found
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    "name", ["agent", "devices", "events", "hub", "models", "range", "rounds", "simulate", "sites"]
)
def test_every_command_has_help_with_an_example(name: str) -> None:
    done = nervure(name, "--help")
    assert done.returncode == 0, done.stderr
    assert "Example" in done.stdout


def test_an_unknown_command_is_one_message_and_a_usage_status() -> None:
    done = nervure("dance")
    assert done.returncode == 2
    assert "No such command 'dance'" in done.stderr
    assert "Traceback" not in done.stderr
    assert json.loads(nervure("dance", "--json").stderr)["error"]["code"] == "configuration"


def test_the_version_is_printed() -> None:
    assert nervure("--version").stdout.startswith("nervure, version ")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts_name_the_command(shell: str) -> None:
    done = nervure("completion", shell)
    assert done.returncode == 0
    assert "_NERVURE_COMPLETE" in done.stdout
