"""A whole hub in one process, without Ray: for tests, laptops and simulations.

The same gateways, directory, lake, controllers and API as ``supervisor`` runs as Ray actors; only what lies between
them differs. Several such hubs may share one coordination store and one object store.

>>> async with InProcessHub(load_config({"region": "europe", "port": 0, "api_port": 0, "in_process": True})) as hub:
...     print(hub.address, hub.api_url)
"""

from __future__ import annotations

import os
from contextlib import AsyncExitStack
from typing import Self

from nervure_core.ids import new_id
from nervure_hub.config import HubConfig
from nervure_hub.context import HubContext
from nervure_hub.controllers import run_controllers
from nervure_hub.coordination import Coordination
from nervure_hub.coordination.background import beside
from nervure_hub.directory import Directory
from nervure_hub.front import CountingDirectory, gateway_settings, open_context, open_front
from nervure_hub.gateway import GatewayServer
from nervure_hub.lake import Lake
from nervure_hub.lake.orphans import orphan_journals
from nervure_hub.objects import ObjectStore
from nervure_hub.ports import PortHold


class InProcessHub:
    """One hub; an async context manager that runs while it is open.

    Args:
        config: ``port`` and ``api_port`` may be 0.
        coordination: Shared with other hubs of the process; None opens the configured one.
        objects: Likewise.
        controllers: Whether to run the installed controllers.
    """

    def __init__(
        self,
        config: HubConfig,
        *,
        coordination: Coordination | None = None,
        objects: ObjectStore | None = None,
        controllers: bool = True,
    ) -> None:
        self.config = config
        self.hub_id = config.hub_id or new_id("hub")
        self.directory = Directory(silent_s=config.gateway.heartbeat_s * config.gateway.missed_heartbeats)
        self.lake = Lake(config.lake_folder, config.lake)
        self.gateways: list[GatewayServer] = []
        self.port = 0
        self.api_url = ""
        self._coordination, self._objects, self._controllers = coordination, objects, controllers
        self._context: HubContext | None = None
        self._stack = AsyncExitStack()

    @property
    def context(self) -> HubContext:
        """The hub's context, while it runs."""
        if self._context is None:
            raise RuntimeError("the hub is not open")
        return self._context

    @property
    def address(self) -> str:
        """Where agents connect."""
        return self.config.advertised(self.port)

    @property
    def pids(self) -> tuple[int, ...]:
        """Its processes."""
        return (os.getpid(),)

    async def __aenter__(self) -> Self:
        """Start everything.

        Raises:
            WorldError: A port is taken, a folder can't be used, or coordination does not answer.
        """
        config = self.config
        async with AsyncExitStack() as stack:
            hold = stack.enter_context(PortHold(config.host, config.port))
            self.port = hold.port
            directory = CountingDirectory(self.directory, self.lake.counters)
            objects = self._objects if self._objects is not None else ObjectStore.open(config.objects_url)
            self.gateways = [
                GatewayServer(gateway_settings(config, name, self.hub_id, self.port), objects, self.directory)
                for name in config.gateway_names()
            ]
            self._context = await stack.enter_async_context(
                open_context(
                    config, self.hub_id, directory, self.gateways, coordination=self._coordination, objects=objects
                )
            )
            for journal in await stack.enter_async_context(orphan_journals(config)):
                self.lake.add_source(journal)
            await stack.enter_async_context(beside(self.lake.run()))
            for gateway in self.gateways:
                await stack.enter_async_context(gateway)
                self.lake.add_source(gateway)
            if self._controllers:
                await stack.enter_async_context(beside(run_controllers(self._context)))
            api = await stack.enter_async_context(open_front(self._context, self.gateways, self.lake.query, self.port))
            self.api_url = api.url
            self._stack = stack.pop_all()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()
