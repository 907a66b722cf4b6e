"""What a hub gives its controllers and API routers: one frozen ``HubContext`` and the Protocols behind it.

Rules
    1. A controller or router gets everything it may touch from the context: it opens no connection of its own, so the
       same code runs in a Ray actor, in one process, and in a simulator with in-memory twins.
    2. Plug-ins: entry points ``nervure.controllers`` name a ``ControllerFactory``, entry points ``nervure.api`` name a
       ``RouterFactory``.
    3. A controller compares what is desired (coordination) with what is reported (directory), acts, records. ``run``
       ends only by cancellation; it holds its tasks in one ``TaskGroup``.
    4. What the directory says is at most a heartbeat old and may be wrong by the time you act: every order carries a
       deadline, and an agent that is gone answers by not answering.

A controller:

>>> class Counting:
...     name = "counting"
...     def __init__(self, context: HubContext) -> None:
...         self._context = context
...     async def run(self) -> None:
...         while True:
...             print(len(await self._context.directory.agents()))
...             await self._context.clock.sleep(1.0)
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol

from nervure_core.clock import Clock
from nervure_core.messages import AgentStatus, Desired, Running, TaskOrder
from nervure_hub.coordination.contract import Coordination

if TYPE_CHECKING:
    # These modules are built on the context's records; importing them here at run time would be a circle.
    from fastapi import APIRouter

    from nervure_hub.config import HubConfig
    from nervure_hub.deployments import Deployments
    from nervure_hub.objects import ObjectStore
    from nervure_hub.registry import Registry

AgentState = Literal["live", "gone"]


@dataclass(frozen=True, slots=True)
class AgentRecord:
    """One agent as its region's directory knows it."""

    agent_id: str
    region: str
    """Region of the hub that holds the session now."""
    hub_id: str
    gateway: str
    session_id: str
    """Changes with every new connection."""
    labels: Mapping[str, str]
    workload: str
    running: Running
    """All empty while it has no model."""
    can_train: bool
    examples: int
    """Labelled examples the agent holds for training."""
    status: AgentStatus | None
    """Last heartbeat's report; None before the first."""
    connected_at_s: float
    """Wall clock of the hub."""
    last_seen_s: float
    state: AgentState
    home_region: str = ""
    """Region the agent belongs to, wherever it is connected."""


@dataclass(frozen=True, slots=True)
class EventCounts:
    """What a hub's gateways counted since they started."""

    received: int = 0
    """Events in batches that arrived, repeats included."""
    stored: int = 0
    """Events made durable in a journal."""
    duplicates_dropped: int = 0
    lost_reported: int = 0
    """Events agents said they had to drop before sending."""


@dataclass(frozen=True, slots=True)
class GatewayStats:
    """One gateway's counters."""

    name: str
    pid: int
    sessions: int
    events: EventCounts
    journal_bytes: int = 0
    malformed_frames: int = 0
    tasks_open: int = 0


@dataclass(frozen=True, slots=True)
class HubStats:
    """What a whole hub counts; sums over its gateways plus its processes."""

    events: EventCounts
    sessions: int
    gateways: tuple[GatewayStats, ...] = ()
    rss_mib: float = 0.0
    """Of all the hub's own processes together."""
    pids: tuple[int, ...] = ()
    extra: Mapping[str, float] = field(default_factory=dict[str, float])
    """More counters by metric name (``lake_compactions``), for /metrics."""


@dataclass(frozen=True, slots=True)
class TaskReply:
    """An agent's answer to one task order, or why there is none (``ok`` false)."""

    agent_id: str
    task_id: str
    ok: bool
    error: str
    """Empty when ok."""
    content: bytes
    """Encoded ``TaskContent`` (``nervure_core.codec.decode_content``); empty unless ok."""


@dataclass(frozen=True, slots=True)
class QueryResult:
    """The answer to a question to the event lake."""

    columns: tuple[str, ...]
    rows: Sequence[Sequence[Any]]
    truncated: bool = False
    """True when there were more rows than the lake gives out."""


LakeQuery = Callable[[str], Awaitable[QueryResult]]
"""Answers one SELECT over the table ``events``; raises ``InputError`` where the SQL is wrong."""


class DirectoryView(Protocol):
    """Which agents are here, and what they run and report."""

    async def agents(self) -> list[AgentRecord]:
        """Return every agent seen since the hub started, live and gone, ordered by id."""
        ...

    async def stats(self) -> HubStats:
        """Return the hub's counters."""
        ...


class AgentTransport(Protocol):
    """The way from a hub to its agents; real over gateways, in memory for simulation and tests."""

    def call(self, orders: Mapping[str, TaskOrder], deadline_s: float) -> AsyncIterator[TaskReply]:
        """Send each agent its order and yield replies as they come.

        Yields exactly one reply an order: an agent that is not connected, leaves, or is silent until ``deadline_s``
        (seconds from now) is answered for with ``ok=False``. Leaving the iterator early forgets the open orders.
        """
        ...

    async def push_desired(self, desired: Mapping[str, Desired]) -> frozenset[str]:
        """Tell agents what they should run; return the ids of those whose session took the message.

        Taking is not acting: what an agent runs shows in its ``AgentRecord.running``.
        """
        ...


class Controller(Protocol):
    """A loop that a hub runs."""

    name: str

    async def run(self) -> None:
        """Run until cancelled."""
        ...


@dataclass(frozen=True, slots=True)
class HubContext:
    """Everything a controller or API router may use."""

    config: HubConfig
    hub_id: str
    region: str
    coordination: Coordination
    objects: ObjectStore
    registry: Registry
    deployments: Deployments
    directory: DirectoryView
    transport: AgentTransport
    clock: Clock


ControllerFactory = Callable[[HubContext], Controller]
"""What an entry point in ``nervure.controllers`` names."""
RouterFactory = Callable[[HubContext], "APIRouter"]
"""What an entry point in ``nervure.api`` names."""
