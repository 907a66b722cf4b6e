"""Orders over several gateways: where the directory is a moment behind, nobody waits for somebody else's silence."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping

from nervure_core.messages import Desired, TaskKind, TaskOrder
from nervure_hub.context import TaskReply
from nervure_hub.directory import Directory
from nervure_hub.gateway.journal import JournalSlice
from nervure_hub.gateway.server import NOT_HERE
from nervure_hub.gateway.transport import GatewayTransport


class Gateway:
    """Answers for the agents it has; those in ``silent`` only once they are released."""

    def __init__(self, name: str, agents: set[str], silent: set[str]) -> None:
        self.name = name
        self._agents = agents
        self._silent = silent
        self.released = asyncio.Event()

    async def push_desired(self, desired: Mapping[str, Desired]) -> frozenset[str]:
        return frozenset()

    async def set_hubs(self, hubs: tuple[str, ...]) -> None: ...

    async def read_journal(self, from_seq: int, max_bytes: int) -> JournalSlice:
        raise AssertionError("a transport has no business with journals")

    async def drop_journal(self, seq: int) -> int:
        raise AssertionError("a transport has no business with journals")

    async def call(self, orders: Mapping[str, TaskOrder], deadline_s: float) -> AsyncIterator[TaskReply]:
        for agent_id, order in orders.items():
            if agent_id not in self._agents:
                yield TaskReply(agent_id, order.task_id, ok=False, error=NOT_HERE, content=b"")
            elif agent_id not in self._silent:
                yield TaskReply(agent_id, order.task_id, ok=True, error="", content=b"done")
        for agent_id in set(orders) & self._silent & self._agents:
            await self.released.wait()
            yield TaskReply(agent_id, orders[agent_id].task_id, ok=False, error="silent", content=b"")


async def test_an_agent_that_is_elsewhere_is_found_while_another_is_still_silent() -> None:
    first = Gateway("gateway-0", {"silent"}, {"silent"})
    second = Gateway("gateway-1", {"moved"}, set())
    transport = GatewayTransport(Directory(silent_s=15.0), [first, second])
    orders = {
        name: TaskOrder(f"t-{name}", "run", TaskKind.TRAIN, 1, 60.0, b"x") for name in ("silent", "moved", "absent")
    }
    found: dict[str, TaskReply] = {}
    async with asyncio.timeout(30):
        async for reply in transport.call(orders, 60.0):
            found[reply.agent_id] = reply
            if {"moved", "absent"} <= set(found):
                first.released.set()
    assert found["moved"].ok
    assert found["absent"].error == NOT_HERE
    assert found["silent"].error == "silent"
