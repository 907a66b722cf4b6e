"""A hub killed with SIGKILL: what it acknowledged is in its folder, and a hub started over it goes on from there."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

from tests.support.wire_agent import WireAgent

from nervure_hub.lake import open_lake


@asynccontextmanager
async def hub_process(folder: Path) -> AsyncGenerator[tuple[asyncio.subprocess.Process, dict[str, Any]]]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "nervure_core.command", "hub", "up", "--in-process", "--json", "--region", "europe"),
        *("--port", "0", "--api-port", "0", "--data", str(folder)),
        stdout=asyncio.subprocess.PIPE,
        # What the killed one leaves of its temporary files goes with the test's.
        env={**os.environ, "TMPDIR": str(folder.parent)},
    )
    try:
        assert process.stdout is not None
        yield process, json.loads(await process.stdout.readline())
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


def connect(ready: dict[str, Any]) -> AbstractAsyncContextManager[WireAgent]:
    return WireAgent.connect(int(ready["grpc"].rpartition(":")[2]), "camera-7")


async def test_a_killed_hub_has_everything_it_acknowledged(tmp_path: Path) -> None:
    async with hub_process(tmp_path / "europe") as (process, ready), connect(ready) as agent:
        for _ in range(20):
            await agent.send_events(25)
        await agent.acknowledged(400)
        process.send_signal(signal.SIGKILL)
        await process.wait()
        while await agent.next() is not None:
            pass
        acknowledged = agent.durable_up_to
    async with open_lake(tmp_path / "europe") as lake:
        kept = (await lake.query("SELECT count(*), count(DISTINCT seq), min(seq) FROM events")).rows[0]
        assert kept[0] == kept[1] >= acknowledged >= 400
        assert kept[2] == 0

    # The agent moves to another region with what it has no acknowledgement for, and comes home later.
    async with hub_process(tmp_path / "asia") as (_, ready), connect(ready) as agent:
        assert agent.durable_up_to == 0
        await agent.send_events(100, first_seq=acknowledged)
        await agent.acknowledged(acknowledged + 100)
    async with open_lake(tmp_path / "europe", tmp_path / "asia") as lake:
        stats = await lake.refresh()
        assert stats.rows == max(acknowledged + 100, int(kept[0]))
        assert stats.duplicates_dropped == int(kept[0]) + 100 - stats.rows
    async with hub_process(tmp_path / "europe") as (_, ready), connect(ready) as agent:
        # Which of the two gateways has the stream is chance; neither may claim more than it has.
        assert agent.durable_up_to in (0, int(kept[0]))
