"""The hub over a real Ray: the same things work, and a killed gateway loses nothing that was acknowledged."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
import pytest_asyncio
from tests.support.ray import RayServer
from tests.support.wire_agent import WireAgent, until

from nervure_core.messages import TaskKind, TaskOrder, TaskResult
from nervure_hub.config import load_config
from nervure_hub.supervisor import RayHub

pytestmark = [pytest.mark.ray, pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(300)]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def hub(tmp_path_factory: pytest.TempPathFactory, ray_server: RayServer) -> AsyncIterator[RayHub]:
    folder: Path = tmp_path_factory.mktemp("hub")
    config = load_config(
        {
            "region": "europe",
            "port": 0,
            "api_port": 0,
            "data": folder,
            "ray_address": ray_server.address,
            "gateway": {"report_interval_s": 0.1, "drain_s": 0.5},
            "lake": {"compact_interval_s": 3600.0},
        }
    )
    async with RayHub(config) as running:
        yield running


async def count(hub: RayHub, agent: str) -> int:
    async with httpx.AsyncClient(base_url=hub.api_url, timeout=60.0) as api:
        answer = await api.post(
            "/v1/events/query", json={"sql": f"SELECT count(*) FROM events WHERE agent = '{agent}'"}
        )
        return int(answer.raise_for_status().json()["rows"][0][0])


async def test_events_and_questions_cross_the_actors(hub: RayHub) -> None:
    async with WireAgent.connect(hub.port, "camera-1") as agent:
        await agent.send_events(7)
        await agent.acknowledged(7)
        assert await count(hub, "camera-1") == 7
    async with httpx.AsyncClient(base_url=hub.api_url, timeout=60.0) as api:
        stats = (await api.get("/v1/stats")).json()
        assert set(stats["pids"]) == set(hub.pids)
        assert len(hub.pids) == 6
        wrong = await api.post("/v1/events/query", json={"sql": "SELECT nope FROM events"})
        assert wrong.status_code == 400
        assert "nope" in wrong.json()["error"]["message"]


async def test_orders_cross_the_actors(hub: RayHub) -> None:
    async with WireAgent.connect(hub.port, "camera-2") as agent:

        async def answer() -> None:
            order = await agent.wait_for(TaskOrder)
            await agent.send(TaskResult(order.task_id, order.run_id, order.round, ok=True, content=order.content * 2))

        orders = {
            "camera-2": TaskOrder("t1", "run", TaskKind.TRAIN, 1, 20.0, b"ab"),
            "absent": TaskOrder("t2", "run", TaskKind.TRAIN, 1, 20.0, b"ab"),
        }
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(answer())
            replies = {reply.agent_id: reply async for reply in hub.context.transport.call(orders, 20.0)}
        assert replies["camera-2"].content == b"abab"
        assert not replies["absent"].ok


async def test_a_killed_gateway_comes_back_and_loses_nothing_acknowledged(hub: RayHub) -> None:
    async with WireAgent.connect(hub.port, "camera-3") as agent:
        await agent.send_events(50)
        await agent.acknowledged(50)
        stats = await hub.context.directory.stats()
        pids = [gateway.pid for gateway in stats.gateways]
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        while await agent.next() is not None:
            pass

    async def restarted() -> bool:
        now = await hub.context.directory.stats()
        return not {gateway.pid for gateway in now.gateways} & set(pids)

    await until(restarted, within_s=90.0)
    assert hub.restarts >= len(pids)
    # As an agent whose acknowledgements were lost with the connection: it sends everything again.
    async with WireAgent.connect(hub.port, "camera-3") as agent:
        await agent.send_events(60, first_seq=0)
        await agent.acknowledged(60)
        assert await count(hub, "camera-3") == 60
