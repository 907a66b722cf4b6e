"""The event lake as a Ray actor, and the way to it.

A process of its own: decoding, Parquet and DuckDB take whole cores for seconds and hundreds of MiB, and neither
heartbeats nor rounds may wait for that or be killed for it.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from nervure_hub.actors.calls import HostedActor, RayPart, Way, answer
from nervure_hub.actors.gateway import RayGateway
from nervure_hub.config import HubConfig
from nervure_hub.context import QueryResult
from nervure_hub.coordination.background import beside
from nervure_hub.gateway.links import JournalSource

if TYPE_CHECKING:
    from nervure_hub.lake import Lake


class LakeActor(HostedActor["Lake"]):
    """Runs one ``Lake`` over the hub's gateways."""

    def __init__(self, config: HubConfig, gateways: list[RayGateway]) -> None:
        super().__init__()
        self._config, self._gateways = config, gateways

    async def query(self, sql: str) -> QueryResult:
        return await (await self.part()).query(sql)

    async def counters(self) -> dict[str, float]:
        return await (await self.part()).counters()

    @asynccontextmanager
    async def open_part(self) -> AsyncGenerator[Lake]:
        # pyarrow, DuckDB and deltalake weigh 80 MiB, and the driver imports this file too.
        from nervure_hub.lake import Lake
        from nervure_hub.lake.orphans import orphan_journals

        lake = Lake(self._config.lake_folder, self._config.lake)
        async with orphan_journals(self._config) as orphans:
            sources: list[JournalSource] = [*orphans, *self._gateways]
            for source in sources:
                lake.add_source(source)
            async with beside(lake.run()):
                yield lake


class RayLake(RayPart):
    """A lake behind an actor."""

    async def query(self, sql: str) -> QueryResult:
        """As ``Lake.query``."""
        return await answer(self.handle.query.remote(sql))

    async def counters(self) -> dict[str, float]:
        """As ``Lake.counters``."""
        return await answer(self.handle.counters.remote())


def start_lake(config: HubConfig, gateways: list[RayGateway]) -> RayLake:
    """Make the actor; its ``run`` is still to be called."""
    return RayLake(Way.make("lake", LakeActor, config, gateways))
