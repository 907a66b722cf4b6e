"""Two regional hubs over one real etcd: what is pushed at one is wanted, told and run at the other."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.support.bundles import make_bundle
from tests.support.etcd import EtcdServer, etcd_binary
from tests.support.wire_agent import WireAgent, until

from nervure_core.bundle import INFER
from nervure_core.messages import Desired, Running
from nervure_hub.config import load_config
from nervure_hub.inprocess import InProcessHub

pytestmark = [pytest.mark.etcd, pytest.mark.skipif(etcd_binary() is None, reason="no etcd program here")]


def hub(folder: Path, region: str, etcd: str) -> InProcessHub:
    settings: dict[str, Any] = {
        "region": region,
        "port": 0,
        "api_port": 0,
        "in_process": True,
        "data": folder / region,
        "etcd": (etcd,),
        "objects": (folder / "objects").as_uri(),
        "gateway": {"report_interval_s": 0.05, "drain_s": 0.1},
    }
    return InProcessHub(load_config(settings))


async def test_a_model_pushed_in_europe_is_told_to_asia(tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path / "bundle")
    files = [
        ("files", (path.name, path.read_bytes())) for path in (bundle.folder / "manifest.json", bundle.path(INFER))
    ]
    async with AsyncExitStack() as stack:
        server = stack.enter_context(EtcdServer.start(tmp_path))
        await stack.enter_async_context(asyncio.timeout(60))
        europe = await stack.enter_async_context(hub(tmp_path, "europe", server.endpoint))
        asia = await stack.enter_async_context(hub(tmp_path, "asia", server.endpoint))
        here = await stack.enter_async_context(WireAgent.connect(europe.port, "here"))
        there = await stack.enter_async_context(WireAgent.connect(asia.port, "there", labels={"site": "harbour"}))
        api = await stack.enter_async_context(httpx.AsyncClient(base_url=europe.api_url))

        assert {item["region"] for item in (await api.get("/v1/hub")).json()["hubs"]} == {"asia", "europe"}
        pushed = await api.post("/v1/models?deploy=true&region=asia&label=site%3Dharbour", files=files)
        assert pushed.status_code == 201, pushed.text
        desired = await there.wait_for(Desired)
        (assignment,) = desired.assignments
        assert (assignment.name, assignment.release, assignment.bundle_id) == ("flows", 1, bundle.bundle_id)

        await there.heartbeat(running=Running("flows", 1, bundle.bundle_id))

        async def runs() -> bool:
            (record,) = await asia.context.directory.agents()
            return record.running.release == 1

        await until(runs)
        fetched = await asia.context.registry.fetch(assignment.bundle_id, tmp_path / "fetched")
        assert fetched.bundle_id == bundle.bundle_id

        widened = await api.post("/v1/deployments", json={"name": "flows", "selector": {}})
        assert widened.json()["agents_selected"] == 1
        told = await here.wait_for(Desired)
        assert told.generation > desired.generation
        assert told.assignments == desired.assignments
