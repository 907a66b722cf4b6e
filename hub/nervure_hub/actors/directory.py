"""The directory as a Ray actor, and the way to it."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import nullcontext

from nervure_hub.actors.calls import HostedActor, RayPart, Way, answer
from nervure_hub.context import AgentRecord, HubStats
from nervure_hub.directory import Directory
from nervure_hub.gateway.links import GatewayReport


class DirectoryActor(HostedActor[None], Directory):
    """A ``Directory`` that keeps its process."""

    def __init__(self, silent_s: float) -> None:
        HostedActor.__init__(self)
        Directory.__init__(self, silent_s=silent_s)

    def open_part(self) -> nullcontext[None]:
        return nullcontext()


class RayDirectory(RayPart):
    """A directory behind an actor; may be sent to other actors."""

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
