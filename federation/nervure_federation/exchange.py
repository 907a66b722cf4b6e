"""One exchange with a frozen set of agents: orders out, replies in, until enough is known. The async half of the grid.

Rules:

1. An exchange ends when every agent has answered, or its deadline is over, or the quorum has answered well and the
   stragglers' time is over, or the transport breaks. Ending early cancels the task that reads the transport's iterator,
   which forgets the orders that are still open; what comes later is never looked at.
2. Whoever did not answer is answered for, with the reason: the caller gets exactly one reply an order, or more where the
   transport repeats itself.
3. Time comes from the clock seam only.

>>> replies = await collect(transport, orders, Patience(quorum=2, deadline_s=60, straggler_s=10), clock)
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field

from nervure_core.clock import Clock
from nervure_core.errors import NervureError
from nervure_core.messages import TaskOrder
from nervure_hub.context import AgentTransport, TaskReply


@dataclass(frozen=True, slots=True)
class Patience:
    """How long an exchange waits.

    Args:
        quorum: The fewest good replies that are enough, at least 1.
        deadline_s: When to stop waiting, from the moment of sending.
        straggler_s: How long to wait for the others once as many as the quorum have answered well.
    """

    quorum: int
    deadline_s: float
    straggler_s: float


@dataclass(slots=True)
class _Collected:
    """What has come so far."""

    waiting: set[str]
    replies: list[TaskReply] = field(default_factory=list[TaskReply])
    good: int = 0
    ended_by: str = "no answer in time"


async def collect(
    transport: AgentTransport, orders: Mapping[str, TaskOrder], patience: Patience, clock: Clock
) -> list[TaskReply]:
    """Send orders and return the replies, one or more for each order, in the order of arrival."""
    state = _Collected(set(orders))
    enough = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        reader = group.create_task(_read(transport, orders, patience, state, enough))
        timers = (
            group.create_task(_cut_at_deadline(clock, patience, reader)),
            group.create_task(_cut_stragglers(clock, patience, enough, reader, state)),
        )
        # A cancelled reader is the normal end of an exchange with silent agents; wait() does not raise for it.
        await asyncio.wait([reader])
        for timer in timers:
            timer.cancel()
    silent = sorted(state.waiting)
    state.replies.extend(TaskReply(name, orders[name].task_id, False, state.ended_by, b"") for name in silent)
    return state.replies


async def _read(
    transport: AgentTransport,
    orders: Mapping[str, TaskOrder],
    patience: Patience,
    state: _Collected,
    enough: asyncio.Event,
) -> None:
    answers = transport.call(orders, patience.deadline_s)
    try:
        # To its own end, which comes with the last reply: leaving a generator at a yield makes it close in the middle.
        async for reply in answers:
            state.replies.append(reply)
            if reply.agent_id in state.waiting:
                state.waiting.discard(reply.agent_id)
                state.good += reply.ok
            if state.good >= patience.quorum:
                enough.set()
    except NervureError as error:
        # The way to the agents broke: what has arrived still counts, the others get the reason.
        state.ended_by = error.message


async def _cut_at_deadline(clock: Clock, patience: Patience, reader: asyncio.Task[None]) -> None:
    await clock.sleep(patience.deadline_s)
    reader.cancel()


async def _cut_stragglers(
    clock: Clock, patience: Patience, enough: asyncio.Event, reader: asyncio.Task[None], state: _Collected
) -> None:
    await enough.wait()
    await clock.sleep(patience.straggler_s)
    state.ended_by = f"no answer within {patience.straggler_s:g} s after the quorum"
    reader.cancel()
