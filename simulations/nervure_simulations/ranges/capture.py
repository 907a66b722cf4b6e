"""Running sites: one capture and one ground truth each.

Order on a site: namespaces, servers (wait until they listen), tcpdump (wait until it listens), devices, attacks in
their time, tcpdump stopped and flushed, truth written, everything removed. Captures are written as `<site>.pcap`,
truths as `<site>.truth.json`.
"""

import asyncio
import json
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

from nervure_core.errors import NervureError
from nervure_simulations.ranges.assault import Command, Files, commands_of
from nervure_simulations.ranges.services import MQTT_PASSWORD, Secrets, make_secrets, start_services
from nervure_simulations.ranges.site_plan import Episode, SitePlan
from nervure_simulations.ranges.tools import tool_versions
from nervure_simulations.ranges.truth import Window, write_truth
from nervure_simulations.ranges.world import RangeFailed, World, remove_stale_namespaces

_HEAD_START_S = 2.5
"""Time for the devices' interpreter to start before the plan's second zero."""
_SIDE_BY_SIDE = 8
"""Attack processes of one episode that run at the same time."""


async def capture_range(
    plans: Sequence[SitePlan], out: Path, *, at_once: int, tell: Callable[[str], None] = lambda line: None
) -> None:
    """Run every site and leave captures and truths in a folder.

    Args:
        plans: The sites.
        out: Existing folder.
        at_once: How many sites run at the same time.
        tell: Called with one line when a site has ended.

    Raises:
        RangeFailed: A site could not be run; the others are stopped and everything is removed.
    """
    remove_stale_namespaces()
    gate = asyncio.Semaphore(at_once)
    versions = await asyncio.to_thread(tool_versions)
    with tempfile.TemporaryDirectory(prefix="nervure-range-") as folder:
        secrets = await asyncio.to_thread(make_secrets, Path(folder))

        async def one(number: int, plan: SitePlan) -> None:
            async with gate:
                work = Path(folder) / plan.site
                work.mkdir()
                await capture_site(plan, number, out, work, secrets, versions)
                size = (out / f"{plan.site}.pcap").stat().st_size
                tell(f"{plan.site}: {', '.join(plan.attacks)}; {size / 1e6:.1f} MB captured")

        try:
            async with asyncio.TaskGroup() as group:
                for number, plan in enumerate(plans):
                    group.create_task(one(number, plan))
        except* NervureError as failures:
            raise failures.exceptions[0] from None


async def capture_site(
    plan: SitePlan, number: int, out: Path, work: Path, secrets: Secrets, versions: dict[str, str]
) -> None:
    """Run one site from its namespaces to its truth file."""
    pcap = out / f"{plan.site}.pcap"
    facts = {
        "mqtt_password": MQTT_PASSWORD,
        "ssh_key": str(secrets.user_key),
        "wrong_key": str(secrets.wrong_key),
    }
    files = Files(
        words=str(secrets.words),
        python=sys.executable,
        lan_hosts=tuple(device.address for device in plan.devices),
        mqtt_password=MQTT_PASSWORD,
    )
    async with World(plan, number) as world:
        await start_services(world, plan, secrets, work)
        recorder = await _start_capture(world, pcap, work / "tcpdump.log")
        start_at, start_us = time.monotonic() + _HEAD_START_S, int((time.time() + _HEAD_START_S) * 1e6)
        for home in ("lan", "bot"):
            part = {
                "start_at": start_at,
                "facts": facts,
                "events": [asdict(event) for event in plan.events if event.home == home],
            }
            if part["events"]:
                await world.start(
                    home,
                    [sys.executable, "-m", "nervure_simulations.ranges.benign"],
                    log=work / f"benign-{home}.log",
                    stdin=json.dumps(part).encode(),
                )
        async with asyncio.TaskGroup() as group:
            runs = [group.create_task(_attack(world, episode, files, start_at, work)) for episode in plan.episodes]
            group.create_task(asyncio.sleep(start_at + plan.seconds - time.monotonic()))
        await world.stop(recorder, signal=signal.SIGINT, within_s=10.0)
        if not pcap.exists() or pcap.stat().st_size <= 24:
            raise RangeFailed(f"{plan.site}: nothing was captured", hint=_said(work / "tcpdump.log"))
        write_truth(
            out / f"{plan.site}.truth.json",
            [run.result() for run in runs],
            {
                "site": plan.site,
                "region": plan.region,
                "profile": plan.profile,
                "seed": plan.seed,
                "seconds": plan.seconds,
                "start_us": start_us,
                "cut_us": start_us + int(plan.cut_s * 1e6),
                "devices": [device.kind for device in plan.devices],
                "attacks": list(plan.attacks),
                "tools": versions,
            },
        )


async def _start_capture(world: World, pcap: Path, log: Path) -> asyncio.subprocess.Process:
    recorder = await world.start(
        "hub",
        ["tcpdump", "-i", "bridge", "-n", "-U", "-s", "192", "-B", "8192", "-Z", "root", "-w", str(pcap), "ip"],
        log=log,
    )
    try:
        async with asyncio.timeout(10.0):
            while "listening on" not in _said(log):
                if recorder.returncode is not None:
                    raise RangeFailed(f"tcpdump ended: {_said(log)}")
                await asyncio.sleep(0.02)
    except TimeoutError as error:
        raise RangeFailed("tcpdump did not start") from error
    return recorder


def _said(log: Path) -> str:
    """Return the end of what a program has printed so far."""
    return log.read_bytes()[-400:].decode(errors="replace")


async def _attack(world: World, episode: Episode, files: Files, start_at: float, work: Path) -> Window:
    await asyncio.sleep(max(0.0, start_at + episode.at_s - time.monotonic()))
    begun = int(time.time() * 1e6)
    gate = asyncio.Semaphore(_SIDE_BY_SIDE)
    deadline = time.monotonic() + episode.most_s

    async def run(command: Command) -> None:
        async with gate:
            left = deadline - time.monotonic()
            if left <= 0:
                return
            process = await world.start(episode.home, command, log=work / f"{episode.kind}.log")
            try:
                async with asyncio.timeout(left):
                    await process.wait()
            except TimeoutError:
                await world.stop(process, signal=signal.SIGTERM, within_s=0.5)

    async with asyncio.TaskGroup() as group:
        for command in commands_of(episode, files):
            group.create_task(run(command))
    return Window(
        episode.kind, begun, int(time.time() * 1e6), episode.sources, episode.targets, episode.protocol, episode.ports
    )
