"""The controllers as one Ray actor: loops that may be heavy (rounds import flwr) and must not disturb a gateway."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from nervure_hub.actors.calls import HostedActor, RayPart, Way
from nervure_hub.actors.directory import RayDirectory
from nervure_hub.actors.gateway import RayGateway
from nervure_hub.config import HubConfig
from nervure_hub.controllers import run_controllers
from nervure_hub.coordination.background import beside
from nervure_hub.front import open_context


class ControllersActor(HostedActor[None]):
    """Runs every installed controller."""

    def __init__(self, config: HubConfig, hub_id: str, directory: RayDirectory, gateways: list[RayGateway]) -> None:
        super().__init__()
        self._config, self._hub_id, self._directory, self._gateways = config, hub_id, directory, gateways

    @asynccontextmanager
    async def open_part(self) -> AsyncGenerator[None]:
        async with (
            open_context(self._config, self._hub_id, self._directory, self._gateways) as context,
            beside(run_controllers(context)),
        ):
            yield


class RayControllers(RayPart):
    """The controllers' actor."""


def start_controllers(
    config: HubConfig, hub_id: str, directory: RayDirectory, gateways: list[RayGateway]
) -> RayControllers:
    """Make the actor; its ``run`` is still to be called."""
    return RayControllers(Way.make("controllers", ControllersActor, config, hub_id, directory, gateways))
