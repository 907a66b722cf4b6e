"""Agents in memory: the twin of the agent transport and of the directory, for tests, simulation and trying a strategy.

An agent is an async function from an order to a content; raising makes an error reply, never returning makes silence.
Joining and leaving work as with real sessions: an agent that leaves while it works is answered for with an error.

>>> async def answer(order: TaskOrder) -> bytes: ...
>>> fleet = MemoryFleet("europe", "hub-eu", SystemClock())
>>> fleet.join("cam-1", answer, model="flows", examples=120)
>>> [reply async for reply in fleet.call({"cam-1": order}, deadline_s=5)]
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field

from nervure_core.clock import Clock
from nervure_core.messages import Desired, Running, TaskOrder
from nervure_hub.context import AgentRecord, EventCounts, HubStats, TaskReply

Answer = Callable[[TaskOrder], Awaitable[bytes]]
"""What an agent does with an order."""


@dataclass(slots=True, eq=False)
class _Member:
    """One agent that is here."""

    answer: Answer
    record: AgentRecord
    gone: asyncio.Event = field(default_factory=asyncio.Event)


class MemoryFleet:
    """The agents of one hub: an ``AgentTransport`` and a ``DirectoryView`` in one.

    Args:
        region: The hub's region.
        hub_id: The hub.
        clock: Stamps records and measures deadlines.
    """

    def __init__(self, region: str, hub_id: str, clock: Clock) -> None:
        self.region = region
        self.hub_id = hub_id
        self.desired: dict[str, Desired] = {}
        self._clock = clock
        self._members: dict[str, _Member] = {}

    def join(self, agent_id: str, answer: Answer, *, model: str, release: int = 1, examples: int = 1) -> None:
        """Let an agent connect."""
        now = self._clock.wall_s()
        record = AgentRecord(
            agent_id=agent_id,
            region=self.region,
            hub_id=self.hub_id,
            gateway="memory",
            session_id=f"{agent_id}@{now:.3f}",
            labels={},
            workload="memory",
            running=Running(model, release, ""),
            can_train=True,
            examples=examples,
            status=None,
            connected_at_s=now,
            last_seen_s=now,
            state="live",
            home_region=self.region,
        )
        self._members[agent_id] = _Member(answer, record)

    def answer_of(self, agent_id: str) -> Answer:
        """Return what an agent does with orders, to put something round it."""
        return self._members[agent_id].answer

    def leave(self, agent_id: str) -> None:
        """Let an agent's session end; an order under way is answered with an error."""
        self._members.pop(agent_id).gone.set()

    async def agents(self) -> list[AgentRecord]:
        """Return the agents that are here, ordered by id."""
        return [self._members[name].record for name in sorted(self._members)]

    async def stats(self) -> HubStats:
        """Return counters; agents in memory send no events."""
        return HubStats(EventCounts(), sessions=len(self._members))

    async def push_desired(self, desired: Mapping[str, Desired]) -> frozenset[str]:
        """Note what agents should run; return those that are here."""
        self.desired.update(desired)
        return frozenset(desired.keys() & self._members.keys())

    async def call(self, orders: Mapping[str, TaskOrder], deadline_s: float) -> AsyncGenerator[TaskReply]:
        """Give each agent its order and yield the replies as they come; see ``AgentTransport.call``."""
        replies: asyncio.Queue[TaskReply] = asyncio.Queue()
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(self._ask(agent, order, deadline_s, replies)) for agent, order in orders.items()]
            try:
                for _ in orders:
                    yield await replies.get()
            except GeneratorExit:
                # The caller leaves early. Swallowed here, or the group would wrap it and aclose() would raise.
                pass
            finally:
                # Nobody works on for a round that is over.
                for task in tasks:
                    task.cancel()

    async def _ask(self, agent: str, order: TaskOrder, deadline_s: float, replies: asyncio.Queue[TaskReply]) -> None:
        member = self._members.get(agent)
        if member is None:
            await replies.put(TaskReply(agent, order.task_id, False, "not connected", b""))
            return
        await replies.put(await self._answer(member, order, deadline_s))

    async def _answer(self, member: _Member, order: TaskOrder, deadline_s: float) -> TaskReply:
        agent = member.record.agent_id

        def failed(reason: str) -> TaskReply:
            return TaskReply(agent, order.task_id, False, reason, b"")

        work = asyncio.ensure_future(member.answer(order))
        limit = asyncio.ensure_future(self._clock.sleep(deadline_s))
        gone = asyncio.ensure_future(member.gone.wait())
        try:
            await asyncio.wait((work, limit, gone), return_when=asyncio.FIRST_COMPLETED)
            if not work.done():
                return failed("the session ended" if gone.done() else "no answer in time")
            if (error := work.exception()) is not None:
                return failed(f"{type(error).__name__}: {error}")
            return TaskReply(agent, order.task_id, True, "", work.result())
        finally:
            for task in (work, limit, gone):
                task.cancel()
                with suppress(BaseException):
                    await task
