from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime

import httpx
import pytest
import uvicorn
from fastapi import APIRouter
from tests.support.hub import FleetTwin, agent_record, hub_context
from tests.support.serving import LakeTwin

from nervure_hub.api import create_app
from nervure_hub.context import HubContext


@dataclass
class Served:
    """A real server on a port of its own, over twins."""

    url: str
    fleet: FleetTwin
    lake: LakeTwin
    context: HubContext
    client: httpx.AsyncClient


@pytest.fixture
async def served() -> AsyncIterator[Served]:
    fleet = FleetTwin()
    fleet.add(
        agent_record("camera-1", labels={"site": "hall", "floor": "2"}),
        agent_record("camera-2", state="gone"),
        agent_record("meter-1", workload="table", status=None, home_region=""),
    )
    lake = LakeTwin(rows=[("dos", 41), ("scan", float("nan")), (b"\x01", datetime(2026, 1, 2, tzinfo=UTC))])
    context = hub_context(fleet)
    extra = APIRouter()

    @extra.get("/v1/extra")
    async def extra_route() -> dict[str, str]:
        return {"from": "a plug-in"}

    app = create_app(context, lake_query=lake.query, extra_routers=[extra])
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, log_level="error", lifespan="off", ws="none"))
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    # No TaskGroup: pytest-asyncio sets a fixture up and tears it down in two tasks.
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    async with httpx.AsyncClient(base_url=url, timeout=30) as client:
        yield Served(url, fleet, lake, context, client)
    server.should_exit = True
    await serving
