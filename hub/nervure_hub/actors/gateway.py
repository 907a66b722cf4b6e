"""The gateway as a Ray actor, and the way to it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping

import ray.exceptions

from nervure_core.messages import Desired, TaskOrder
from nervure_hub.actors.calls import HostedActor, PartAway, RayPart, Way, answer, of_ours
from nervure_hub.actors.directory import RayDirectory
from nervure_hub.context import TaskReply
from nervure_hub.gateway import GatewayServer, GatewaySettings, JournalSlice
from nervure_hub.objects import ObjectStore


class GatewayActor(HostedActor[GatewayServer]):
    """Runs one ``GatewayServer``; nothing per message passes through Ray."""

    def __init__(self, settings: GatewaySettings, objects_url: str, directory: RayDirectory) -> None:
        super().__init__()
        self._settings, self._objects_url, self._directory = settings, objects_url, directory

    def open_part(self) -> GatewayServer:
        # Made here, inside the actor's running loop: a gRPC server belongs to the loop it was made in.
        return GatewayServer(self._settings, ObjectStore.open(self._objects_url), self._directory)

    async def call(self, orders: Mapping[str, TaskOrder], deadline_s: float) -> AsyncIterator[TaskReply]:
        async for reply in (await self.part()).call(orders, deadline_s):
            yield reply

    async def push_desired(self, desired: Mapping[str, Desired]) -> frozenset[str]:
        return await (await self.part()).push_desired(desired)

    async def set_hubs(self, hubs: tuple[str, ...]) -> None:
        await (await self.part()).set_hubs(hubs)

    async def read_journal(self, from_seq: int, max_bytes: int) -> JournalSlice:
        return await (await self.part()).read_journal(from_seq, max_bytes)

    async def drop_journal(self, seq: int) -> int:
        return await (await self.part()).drop_journal(seq)


class RayGateway(RayPart):
    """A ``GatewayLink`` to an actor; may be sent to other actors."""

    async def call(self, orders: Mapping[str, TaskOrder], deadline_s: float) -> AsyncIterator[TaskReply]:
        replies = self.handle.call.remote(orders, deadline_s)
        try:
            async for reference in replies:
                yield await reference
        except ray.exceptions.RayTaskError as error:
            raise of_ours(error) from None
        except ray.exceptions.RayError as error:
            raise PartAway(f"{self.name} is away", hint="it is being restarted") from error

    async def push_desired(self, desired: Mapping[str, Desired]) -> frozenset[str]:
        return await answer(self.handle.push_desired.remote(desired))

    async def set_hubs(self, hubs: tuple[str, ...]) -> None:
        await answer(self.handle.set_hubs.remote(hubs))

    async def read_journal(self, from_seq: int, max_bytes: int) -> JournalSlice:
        return await answer(self.handle.read_journal.remote(from_seq, max_bytes))

    async def drop_journal(self, seq: int) -> int:
        return await answer(self.handle.drop_journal.remote(seq))


def start_gateway(settings: GatewaySettings, objects_url: str, directory: RayDirectory) -> RayGateway:
    """Make the actor; its ``run`` is still to be called."""
    return RayGateway(Way.make(settings.name, GatewayActor, settings, objects_url, directory))
