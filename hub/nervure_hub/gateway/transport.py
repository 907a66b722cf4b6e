"""The way from a hub to its agents, over whichever gateways they are at.

Rules: the directory says where an agent is; what it says may be a moment old, so an order that misses is tried at the
other gateways; a gateway that dies answers for its orders by an error; one reply an order, always.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping, Sequence

from nervure_core.errors import NervureError
from nervure_core.messages import Desired, TaskOrder
from nervure_hub.context import DirectoryView, TaskReply
from nervure_hub.coordination.background import beside
from nervure_hub.gateway.links import GatewayLink
from nervure_hub.gateway.server import NOT_HERE

_log = logging.getLogger(__name__)


class GatewayTransport:
    """``AgentTransport`` over gateways.

    Args:
        directory: Says where agents are.
        gateways: All of the hub's.
    """

    def __init__(self, directory: DirectoryView, gateways: Sequence[GatewayLink]) -> None:
        self._directory = directory
        self._gateways = {gateway.name: gateway for gateway in gateways}

    async def call(self, orders: Mapping[str, TaskOrder], deadline_s: float) -> AsyncIterator[TaskReply]:
        places = {
            record.agent_id: record.gateway for record in await self._directory.agents() if record.state == "live"
        }
        replies: asyncio.Queue[TaskReply] = asyncio.Queue()
        waves: dict[tuple[str, ...], dict[str, TaskOrder]] = {}
        for agent_id, order in orders.items():
            route = tuple(sorted(self._gateways, key=lambda name: name != places.get(agent_id)))
            waves.setdefault(route, {})[agent_id] = order
        # Not a TaskGroup round the yield: a caller that leaves early would get its GeneratorExit back in a group.
        async with beside(self._call_all(waves, deadline_s, replies)):
            for _ in range(len(orders)):
                yield await replies.get()

    async def _call_all(
        self,
        waves: Mapping[tuple[str, ...], Mapping[str, TaskOrder]],
        deadline_s: float,
        replies: asyncio.Queue[TaskReply],
    ) -> None:
        ends_at = asyncio.get_running_loop().time() + deadline_s
        async with asyncio.TaskGroup() as tasks:
            for route, wave in waves.items():
                tasks.create_task(self._call_along(route, wave, ends_at, replies))

    async def push_desired(self, desired: Mapping[str, Desired]) -> frozenset[str]:
        taken: set[str] = set()
        for gateway in self._gateways.values():
            try:
                taken |= await gateway.push_desired(desired)
            except NervureError as error:
                _log.info("%s can't be told what is desired: %s", gateway.name, error.message)
        return frozenset(taken)

    async def _call_along(
        self,
        route: tuple[str, ...],
        orders: Mapping[str, TaskOrder],
        ends_at: float,
        replies: asyncio.Queue[TaskReply],
    ) -> None:
        if not route:
            for agent_id, order in orders.items():
                replies.put_nowait(TaskReply(agent_id, order.task_id, ok=False, error=NOT_HERE, content=b""))
            return
        name, others = route[0], route[1:]
        asked = set(orders)
        left_s = max(ends_at - asyncio.get_running_loop().time(), 0.0)
        async with asyncio.TaskGroup() as tasks:
            try:
                async for reply in self._gateways[name].call(orders, left_s):
                    asked.discard(reply.agent_id)
                    if reply.error == NOT_HERE:
                        # At once, not when the wave is over: another agent of it may take all the time there is.
                        missed = {reply.agent_id: orders[reply.agent_id]}
                        tasks.create_task(self._call_along(others, missed, ends_at, replies))
                    else:
                        replies.put_nowait(reply)
            except NervureError as error:
                # It may have died with orders under way; whether they were done nobody knows, so they aren't repeated.
                for agent_id in asked:
                    text = f"{name} failed: {error.message}"
                    replies.put_nowait(TaskReply(agent_id, orders[agent_id].task_id, ok=False, error=text, content=b""))
