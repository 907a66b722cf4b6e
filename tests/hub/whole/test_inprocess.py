"""A whole hub in one process: sessions, questions, tasks, models, restarts, and clear words when it can't start."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.support.wire_agent import WireAgent, until

from nervure_core.errors import WorldError
from nervure_core.messages import TaskKind, TaskOrder, TaskResult
from nervure_hub.config import HubConfig, load_config
from nervure_hub.context import TaskReply
from nervure_hub.inprocess import InProcessHub
from nervure_hub.lake import open_lake


def config(folder: Path, **more: Any) -> HubConfig:
    settings: dict[str, Any] = {
        "region": "europe",
        "port": 0,
        "api_port": 0,
        "in_process": True,
        "data": folder,
        "gateway": {"report_interval_s": 0.05, "drain_s": 0.1},
    }
    return load_config(settings | more)


async def test_what_agents_send_can_be_asked_for_at_once(tmp_path: Path) -> None:
    async with (
        InProcessHub(config(tmp_path), controllers=False) as hub,
        WireAgent.connect(hub.port, "camera-7") as agent,
        httpx.AsyncClient(base_url=hub.api_url) as api,
    ):
        await agent.send_events(5)
        await agent.acknowledged(5)
        answer = await api.post("/v1/events/query", json={"sql": "SELECT agent, count(*) FROM events GROUP BY agent"})
        assert answer.json()["rows"] == [["camera-7", 5]]
        stats = (await api.get("/v1/stats")).json()
        assert stats["events"] == {"received": 5, "stored": 5, "duplicates_dropped": 0, "lost_reported": 0}
        wrong = await api.post("/v1/events/query", json={"sql": "SELECT nope FROM events"})
        assert wrong.status_code == 400
        assert "nope" in wrong.json()["error"]["message"]

        async def device() -> list[Any]:
            return [item["agent_id"] for item in (await api.get("/v1/devices")).json()["devices"]]

        assert await until(device) == ["camera-7"]


async def test_repeats_over_two_gateways_and_a_restart_count_once(tmp_path: Path) -> None:
    total = 0
    for _ in range(3):
        async with InProcessHub(config(tmp_path), controllers=False) as hub:
            async with WireAgent.connect(hub.port, "camera-7") as agent:
                # As an agent that has lost every acknowledgement: it begins from 0 wherever it lands.
                await agent.send_events(10, first_seq=0)
                await agent.acknowledged(10)
            await hub.lake.compact()
            total += 1
    async with open_lake(tmp_path) as lake:
        stats = await lake.refresh()
        assert stats.rows == 10
        assert (await lake.query("SELECT count(*), min(seq), max(seq) FROM events")).rows == [(10, 0, 9)]


async def test_orders_reach_agents_and_silence_is_answered_for(tmp_path: Path) -> None:
    async with (
        InProcessHub(config(tmp_path), controllers=False) as hub,
        WireAgent.connect(hub.port, "willing") as willing,
        WireAgent.connect(hub.port, "silent") as silent,
    ):
        import asyncio

        async def answer() -> None:
            order = await willing.wait_for(TaskOrder)
            await willing.send(
                TaskResult(order.task_id, order.run_id, order.round, ok=True, content=order.content[::-1])
            )

        orders = {
            name: TaskOrder(f"t-{name}", "run", TaskKind.TRAIN, 1, 5.0, b"abc")
            for name in ("willing", "silent", "absent")
        }
        replies: dict[str, TaskReply] = {}
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(answer())
            async for reply in hub.context.transport.call(orders, 5.0):
                replies[reply.agent_id] = reply
        assert replies["willing"] == TaskReply("willing", "t-willing", ok=True, error="", content=b"cba")
        assert "silent for" in replies["silent"].error
        assert "not connected" in replies["absent"].error
        assert silent.welcome is not None


async def test_large_contents_travel_in_parts(tmp_path: Path) -> None:
    content = bytes(range(256)) * 8192
    async with (
        InProcessHub(config(tmp_path), controllers=False) as hub,
        WireAgent.connect(hub.port, "camera-7") as agent,
    ):
        import asyncio

        from nervure_core.codec import split_content
        from nervure_core.messages import TaskPart

        async def answer() -> None:
            order = await agent.wait_for(TaskOrder)
            parts = [await agent.wait_for(TaskPart) for _ in range(order.parts)]
            assert b"".join(part.data for part in parts) == content
            back = split_content(order.task_id, content)
            await agent.send(TaskResult(order.task_id, order.run_id, 1, ok=True, parts=len(back)))
            for part in back:
                await agent.send(part)

        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(answer())
            orders = {"camera-7": TaskOrder("t", "run", TaskKind.TRAIN, 1, 5.0, content)}
            replies = [reply async for reply in hub.context.transport.call(orders, 10.0)]
        assert [reply.content == content for reply in replies] == [True]


async def test_a_taken_port_is_named(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(WorldError, match=f"127.0.0.1:{port}"):
            async with InProcessHub(config(tmp_path, port=port)):
                pass
        with pytest.raises(WorldError, match=f"127.0.0.1:{port}"):
            async with InProcessHub(config(tmp_path, api_port=port), controllers=False):
                pass


async def test_a_second_hub_may_not_share_port_or_folder(tmp_path: Path) -> None:
    async with InProcessHub(config(tmp_path / "a"), controllers=False) as hub:
        with pytest.raises(WorldError, match=str(hub.port)):
            async with InProcessHub(config(tmp_path / "b", port=hub.port), controllers=False):
                pass
        with pytest.raises(WorldError, match="another process uses this journal"):
            async with InProcessHub(config(tmp_path / "a"), controllers=False):
                pass
        with pytest.raises(WorldError, match="another process uses this journal"):
            async with open_lake(tmp_path / "a"):
                pass


async def test_no_etcd_is_said_at_the_start(tmp_path: Path) -> None:
    with pytest.raises(WorldError, match="etcd"):
        async with InProcessHub(config(tmp_path, etcd=["127.0.0.1:1"]), controllers=False):
            pass
