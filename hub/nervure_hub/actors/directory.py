"""The directory as a Ray actor, and the way to it."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from nervure_hub.actors.calls import Hosted, Way, answer
from nervure_hub.context import AgentRecord, HubStats
from nervure_hub.directory import Directory
from nervure_hub.gateway.links import GatewayReport


class DirectoryActor(Directory):
    """A ``Directory`` that keeps its process."""

    def __init__(self, silent_s: float) -> None:
        super().__init__(silent_s=silent_s)
        self._hosted = Hosted()

    async def run(self) -> None:
        await self._hosted.hold(_nothing())

    async def ready(self) -> int:
        await self._hosted.opened()
        return os.getpid()

    async def stop(self) -> None:
        self._hosted.stop()


@asynccontextmanager
async def _nothing() -> AsyncGenerator[None]:
    yield


class RayDirectory:
    """A directory behind an actor; may be sent to other actors."""

    def __init__(self, way: Way) -> None:
        self.way = way
        self.name = way.name

    @property
    def handle(self) -> Any:
        """The actor's handle."""
        return self.way.handle

    async def report(self, report: GatewayReport) -> str:
        return await answer(self.handle.report.remote(report))

    async def agents(self) -> list[AgentRecord]:
        return await answer(self.handle.agents.remote())

    async def stats(self) -> HubStats:
        return await answer(self.handle.stats.remote())

    async def note_counters(self, part: str, counters: Mapping[str, float]) -> None:
        await answer(self.handle.note_counters.remote(part, counters))

    async def note_process(self, part: str, pid: int) -> None:
        await answer(self.handle.note_process.remote(part, pid))


def start_directory(silent_s: float) -> RayDirectory:
    """Make the actor; its ``run`` is still to be called."""
    return RayDirectory(Way.make("directory", DirectoryActor, silent_s))
