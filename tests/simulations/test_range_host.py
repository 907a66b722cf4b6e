"""The range for real: namespaces, tools, a capture, labels; and what a machine that cannot run it is told."""

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from nervure_core.errors import ConfigurationError
from nervure_simulations.ranges.build import build_range, describe_plan
from nervure_simulations.ranges.command import range_command
from nervure_simulations.ranges.plan import plan_site
from nervure_simulations.ranges.tools import require_range_host
from nervure_simulations.ranges.world import PREFIX, World, remove_stale_namespaces
from nervure_simulations.sites import load_sites


def _cannot() -> str:
    """Why a range cannot run here; empty if it can."""
    try:
        require_range_host()
    except ConfigurationError as error:
        return error.message
    made = subprocess.run(["ip", "netns", "add", "nervure-try"], capture_output=True, text=True, check=False)
    subprocess.run(["ip", "netns", "del", "nervure-try"], capture_output=True, check=False)
    return made.stderr.strip()


def _mine() -> list[str]:
    folder = Path("/run/netns")
    return [entry.name for entry in folder.glob(f"{PREFIX}{os.getpid()}-*")] if folder.is_dir() else []


@pytest.fixture
def range_host() -> Iterator[None]:
    reason = _cannot()
    if reason:
        pytest.skip(f"no range here: {reason}")
    yield
    assert _mine() == []


@pytest.mark.netns
@pytest.mark.timeout(180)
@pytest.mark.usefixtures("range_host")
def test_a_small_range_becomes_sites(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    monkeypatch.chdir(tmp_path)
    rows = build_range(Path(), seed=7, sites=2, seconds=20.0, at_once=2, keep_captures=True, tell=said.append)
    assert len(said) == len(rows) == 2
    sites = load_sites(tmp_path)
    assert [site.name for site in sites] == ["americas-01", "europe-01"]
    for site in sites:
        for part in (site.learning_flows(), site.held_out_flows()):
            assert {flow.attack for flow in part} == {"", *site.attacks}
    again = CliRunner().invoke(
        range_command, ["convert", str(tmp_path / "captures"), "--out", str(tmp_path / "again")], catch_exceptions=False
    )
    assert again.exit_code == 0
    first, second = (tmp_path / "index.json").read_text(), (tmp_path / "again" / "index.json").read_text()
    assert first == second


@pytest.mark.netns
@pytest.mark.usefixtures("range_host")
async def test_a_world_that_is_broken_off_leaves_nothing(tmp_path: Path) -> None:
    plan = plan_site(seed=1, index=0, seconds=20.0)
    inside = asyncio.Event()

    async def live() -> None:
        async with World(plan, 0) as world:
            await world.start("srv", ["sleep", "60"], log=tmp_path / "log")
            assert len(_mine()) == 5
            inside.set()
            await asyncio.Event().wait()

    async with asyncio.TaskGroup() as group:
        task = group.create_task(live())
        await inside.wait()
        task.cancel()
    assert _mine() == []


@pytest.mark.netns
@pytest.mark.usefixtures("range_host")
def test_namespaces_of_a_killed_run_are_removed_by_the_next() -> None:
    gone = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, check=True)
    name = f"{PREFIX}{int(gone.stdout)}-0-hub"
    subprocess.run(["ip", "netns", "add", name], check=True)
    assert remove_stale_namespaces() >= 1
    assert not Path("/run/netns", name).exists()


def test_all_missing_programs_are_named_at_once(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"hydra.*nmap.*tcpdump") as caught:
        require_range_host(platform="linux", user=0, path=str(tmp_path))
    assert "openssh-server" in caught.value.hint
    assert "vsftpd" in caught.value.hint


@pytest.mark.parametrize(("platform", "user", "word"), [("linux", 1000, "root"), ("darwin", 0, "Linux")])
def test_a_machine_that_cannot_is_told_why(platform: str, user: int, word: str) -> None:
    with pytest.raises(ConfigurationError, match=word):
        require_range_host(platform=platform, user=user)


def test_a_dry_run_prints_the_plan() -> None:
    result = CliRunner().invoke(range_command, ["build", "--out", "unused", "--sites", "3", "--dry-run"])
    assert result.exit_code == 0
    assert [line.split()[0] for line in result.output.splitlines()] == ["americas-01", "europe-01", "asia-01"]
    assert describe_plan(seed=7, sites=3, seconds=75.0)[2]["region"] == "asia"
