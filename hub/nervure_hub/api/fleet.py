"""Routes about the hub and its devices."""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Response

from nervure_core import __version__
from nervure_core.errors import NervureError
from nervure_core.messages import PROTOCOL
from nervure_hub.api import labels
from nervure_hub.api.errors import DeviceMissing
from nervure_hub.api.metrics import render
from nervure_hub.api.schemas import Device, Devices, Health, HubView, Stats
from nervure_hub.context import AgentRecord, HubContext
from nervure_hub.coordination.contract import KeyValue

HUBS_PREFIX = "/nervure/hubs/"
_HEALTH_S = 2.0

Detail = Annotated[Literal["summary", "full"], Query(description="full adds latency histograms")]


def create(context: HubContext) -> APIRouter:
    """Return the router."""
    router = APIRouter(tags=["fleet"])

    @router.get("/v1/hub")
    async def hub() -> HubView:
        """Say who answers and which hubs the fleet has."""
        entries, _ = await context.coordination.list(HUBS_PREFIX)
        return HubView(
            hub_id=context.hub_id,
            region=context.region,
            version=__version__,
            protocol=PROTOCOL,
            hubs=[_hub(entry) for entry in entries],
        )

    @router.get("/v1/devices")
    async def devices(
        state: Annotated[Literal["live", "gone", "all"], Query()] = "all",
        workload: Annotated[str | None, Query(examples=["network"])] = None,
        label: labels.Labels = None,
        detail: Detail = "summary",
    ) -> Devices:
        """List the agents this hub has seen since it started."""
        wanted = labels.parse(label)
        return Devices(
            devices=[
                Device.of(record, full=detail == "full")
                for record in await context.directory.agents()
                if _passes(record, state, workload, wanted)
            ]
        )

    @router.get("/v1/devices/{agent_id}")
    async def device(agent_id: str, detail: Detail = "summary") -> Device:
        """Show one agent."""
        for record in await context.directory.agents():
            if record.agent_id == agent_id:
                return Device.of(record, full=detail == "full")
        raise DeviceMissing(
            f"device {agent_id!r} is not known at {context.region}",
            hint="`nervure devices` lists those that are; another region's hub may hold it",
        )

    @router.get("/v1/stats")
    async def stats() -> Stats:
        """Count events, sessions and memory of this hub."""
        return Stats.of(await context.directory.stats())

    @router.get("/healthz", tags=["operations"])
    async def healthz() -> Health:
        """Answer while the hub lives; without coordination it goes on in a degraded state."""
        try:
            async with asyncio.timeout(_HEALTH_S):
                await context.coordination.get(f"{HUBS_PREFIX}{context.region}/{context.hub_id}")
        except NervureError as error:
            return Health(status="degraded", coordination=error.message)
        except TimeoutError:
            return Health(status="degraded", coordination=f"no answer in {_HEALTH_S:g} s")
        return Health(status="ok", coordination="ok")

    @router.get("/metrics", tags=["operations"], response_class=Response)
    async def metrics() -> Response:
        """Give the counters in Prometheus' text format."""
        body, kind = render(context.region, await context.directory.stats(), await context.directory.agents())
        return Response(body, media_type=kind)

    return router


def _passes(record: AgentRecord, state: str, workload: str | None, wanted: dict[str, str]) -> bool:
    return (
        state in ("all", record.state)
        and workload in (None, record.workload)
        and all(record.labels.get(name) == value for name, value in wanted.items())
    )


def _hub(entry: KeyValue) -> dict[str, Any]:
    region, _, hub_id = entry.key.removeprefix(HUBS_PREFIX).partition("/")
    said: Any = None
    with suppress(ValueError):  # a hub of another version: its key says enough
        said = json.loads(entry.value)
    return {**(said if isinstance(said, dict) else {}), "region": region, "hub_id": hub_id}
