"""The controllers as one Ray actor: loops that may be heavy (rounds import flwr) and must not disturb a gateway."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

from nervure_hub.actors.calls import Hosted, Way
from nervure_hub.actors.directory import RayDirectory
from nervure_hub.actors.gateway import RayGateway
from nervure_hub.config import HubConfig
from nervure_hub.controllers import run_controllers
from nervure_hub.coordination.background import beside
from nervure_hub.front import open_context


class ControllersActor:
    """Runs every installed controller."""

    def __init__(self, config: HubConfig, hub_id: str, directory: RayDirectory, gateways: list[RayGateway]) -> None:
        self._config, self._hub_id, self._directory, self._gateways = config, hub_id, directory, gateways
        self._hosted = Hosted()

    async def run(self) -> None:
        await self._hosted.hold(self._open())

    async def ready(self) -> int:
        await self._hosted.opened()
        return os.getpid()

    async def stop(self) -> None:
        self._hosted.stop()

    @asynccontextmanager
    async def _open(self) -> AsyncGenerator[None]:
        async with (
            open_context(self._config, self._hub_id, self._directory, self._gateways) as context,
            beside(run_controllers(context)),
        ):
            yield


class RayControllers:
    """The controllers' actor."""

    def __init__(self, way: Way) -> None:
        self.way = way
        self.name = way.name

    @property
    def handle(self) -> Any:
        """The actor's handle."""
        return self.way.handle


def start_controllers(
    config: HubConfig, hub_id: str, directory: RayDirectory, gateways: list[RayGateway]
) -> RayControllers:
    """Make the actor; its ``run`` is still to be called."""
    return RayControllers(Way.make("controllers", ControllersActor, config, hub_id, directory, gateways))
