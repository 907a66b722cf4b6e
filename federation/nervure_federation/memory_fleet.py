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
from dataclasses import dataclass, field

from nervure_core.clock import Clock
from nervure_core.messages import Desired, Running, TaskOrder
from nervure_hub.context import AgentRecord, EventCounts, HubStats, TaskReply
from nervure_hub.coordination.background import first_of

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
        reply = TaskReply(agent, order.task_id, False, "no answer in time", b"")

        async def work() -> None:
            nonlocal reply
            try:
                reply = TaskReply(agent, order.task_id, True, "", await member.answer(order))
            except Exception as error:  # noqa: BLE001 - whatever an agent does wrong is its answer
                reply = TaskReply(agent, order.task_id, False, f"{type(error).__name__}: {error}", b"")

        async def leave() -> None:
            nonlocal reply
            await member.gone.wait()
            reply = TaskReply(agent, order.task_id, False, "the session ended", b"")

        await first_of(work(), leave(), self._clock.sleep(deadline_s))
        return reply
