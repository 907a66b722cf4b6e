"""What every hub does at its front, whether its parts are Ray actors or objects of this process.

Order: hold the port → open the context (coordination answers, or the hub does not start) → gateways → API → register.
Leaving runs it backwards.
"""

from __future__ import annotations

import os
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Protocol

from nervure_core import __version__
from nervure_core.clock import Clock, SystemClock
from nervure_core.errors import NervureError
from nervure_hub.api import create_app
from nervure_hub.api_server import ApiServer
from nervure_hub.config import HubConfig
from nervure_hub.context import AgentRecord, DirectoryView, HubContext, HubStats, LakeQuery
from nervure_hub.coordination import Coordination, open_coordination
from nervure_hub.coordination.background import beside
from nervure_hub.deployments import Deployments
from nervure_hub.gateway import GatewayLink, GatewaySettings
from nervure_hub.gateway.transport import GatewayTransport
from nervure_hub.objects import ObjectStore
from nervure_hub.registration import HUBS_PREFIX, follow_hubs, stay_registered
from nervure_hub.registry import Registry


class NotingDirectory(DirectoryView, Protocol):
    """A directory that other parts may tell their counters and processes."""

    async def note_counters(self, part: str, counters: dict[str, float]) -> None:
        """Remember a part's counters."""
        ...

    async def note_process(self, part: str, pid: int) -> None:
        """Remember which process a part runs in."""
        ...


class CountingDirectory:
    """A directory whose ``stats`` first asks the lake what it has dropped and stored."""

    def __init__(self, directory: NotingDirectory, lake_counters: Callable[[], Awaitable[dict[str, float]]]) -> None:
        self._directory, self._lake_counters = directory, lake_counters

    async def agents(self) -> list[AgentRecord]:
        return await self._directory.agents()

    async def stats(self) -> HubStats:
        try:
            await self._directory.note_counters("lake", await self._lake_counters())
        except NervureError:
            # The lake is being restarted: its last counters stand.
            return await self._directory.stats()
        return await self._directory.stats()


def gateway_settings(config: HubConfig, name: str, hub_id: str, port: int) -> GatewaySettings:
    """Return what one gateway of a hub is told."""
    own = config.advertised(port)
    return GatewaySettings(
        name=name,
        hub_id=hub_id,
        region=config.region,
        host=config.host,
        port=port,
        journal_folder=config.journal_folder / name,
        config=config.gateway,
        advertised=own,
        hubs=(own, *config.hubs),
        tls=config.tls,
        clear=config.clear,
    )


@asynccontextmanager
async def open_context(
    config: HubConfig,
    hub_id: str,
    directory: DirectoryView,
    gateways: Sequence[GatewayLink],
    *,
    coordination: Coordination | None = None,
    objects: ObjectStore | None = None,
    clock: Clock | None = None,
) -> AsyncGenerator[HubContext]:
    """Open what a hub works with.

    Args:
        config: The hub's.
        hub_id: The hub's.
        directory: Who is here.
        gateways: The ways to agents.
        coordination: A store that is open already and stays so; None opens the configured one.
        objects: Likewise.
        clock: The machine's when absent.

    Raises:
        WorldError: Coordination or the object store can't be reached.
    """
    clock = clock if clock is not None else SystemClock()
    async with AsyncExitStack() as stack:
        store = coordination
        if store is None:
            store = await stack.enter_async_context(open_coordination(config.coordination_url, clock=clock))
        await store.list(HUBS_PREFIX)
        objects = objects if objects is not None else ObjectStore.open(config.objects_url)
        yield HubContext(
            config=config,
            hub_id=hub_id,
            region=config.region,
            coordination=store,
            objects=objects,
            registry=Registry(store, objects, clock),
            deployments=Deployments(store),
            directory=directory,
            transport=GatewayTransport(directory, gateways),
            clock=clock,
        )


@asynccontextmanager
async def open_front(
    context: HubContext,
    gateways: Sequence[GatewayLink],
    lake_query: LakeQuery,
    port: int,
    told: Callable[[tuple[str, ...]], None] = lambda _hubs: None,
) -> AsyncGenerator[ApiServer]:
    """Serve the API, register the hub, tell gateways of the other hubs; all while open.

    Args:
        context: The hub's.
        gateways: Whom to tell.
        lake_query: Answers questions.
        port: Where the gateways listen.
        told: Called with the addresses whenever they changed.

    Raises:
        WorldError: The API's port is taken.
    """
    config = context.config
    own = config.advertised(port)

    async def tell(hubs: tuple[str, ...]) -> None:
        told(hubs)
        for gateway in gateways:
            await gateway.set_hubs(hubs)

    app = create_app(context, lake_query=lake_query)
    async with ApiServer(app, config.api_host, config.api_port) as api:
        facts = {
            "hub_id": context.hub_id,
            "region": context.region,
            "grpc": own,
            "api": api.url,
            "gateways": len(gateways),
            "version": __version__,
            "pid": os.getpid(),
            "started_at_s": time.time(),
        }
        registered = stay_registered(context.coordination, context.region, context.hub_id, facts, context.clock)
        async with beside(registered), beside(follow_hubs(context.coordination, own, config.hubs, tell)):
            yield api
