"""In-memory twins of what a hub gives its controllers and routers."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field, replace

from nervure_core.clock import Clock, SystemClock
from nervure_core.latency import LatencyHistogram
from nervure_core.messages import AgentStatus, Desired, Running, TaskOrder
from nervure_hub.config import HubConfig
from nervure_hub.context import AgentRecord, EventCounts, GatewayStats, HubContext, HubStats, TaskReply
from nervure_hub.coordination import Coordination, MemoryCoordination
from nervure_hub.deployments import Deployments
from nervure_hub.objects import ObjectStore
from nervure_hub.registry import Registry


def agent_record(agent_id: str, **changes: object) -> AgentRecord:
    """Return a live agent of the network workload without a model."""
    latency = LatencyHistogram()
    for micros in (40, 50, 60, 900):
        latency.record(micros)
    record = AgentRecord(
        agent_id=agent_id,
        region="europe",
        hub_id="hub-1",
        gateway="gateway-0",
        session_id=f"session-{agent_id}",
        labels={"site": agent_id},
        workload="network",
        running=Running(),
        can_train=True,
        examples=120,
        status=AgentStatus(decisions=4, events_produced=9, events_acknowledged=8, latency=latency, rss_bytes=80 << 20),
        connected_at_s=1_700_000_000.0,
        last_seen_s=1_700_000_009.0,
        state="live",
        home_region="europe",
    )
    return replace(record, **changes)  # type: ignore[arg-type]  # names are the fields'


@dataclass
class FleetTwin:
    """Directory and transport of agents that are nothing but records; told what to run, they run it."""

    records: dict[str, AgentRecord] = field(default_factory=dict[str, AgentRecord])
    deaf: set[str] = field(default_factory=set[str])
    """Agents whose session takes no message."""
    told: list[tuple[str, Desired]] = field(default_factory=list[tuple[str, Desired]])

    def add(self, *records: AgentRecord) -> None:
        for record in records:
            self.records[record.agent_id] = record

    async def agents(self) -> list[AgentRecord]:
        return [self.records[agent_id] for agent_id in sorted(self.records)]

    async def stats(self) -> HubStats:
        counts = EventCounts(received=12, stored=10, duplicates_dropped=2, lost_reported=1)
        gateway = GatewayStats("gateway-0", 4242, len(self.records), counts, journal_bytes=512)
        return HubStats(counts, len(self.records), (gateway,), 300.5, (4241, 4242), {"lake_compactions": 3})

    async def push_desired(self, desired: Mapping[str, Desired]) -> frozenset[str]:
        taken = frozenset(desired) & frozenset(self.records) - self.deaf
        for agent_id in sorted(taken):
            self.told.append((agent_id, desired[agent_id]))
            for assignment in desired[agent_id].assignments:
                running = Running(assignment.name, assignment.release, assignment.bundle_id)
                self.records[agent_id] = replace(self.records[agent_id], running=running)
        return taken

    async def call(self, orders: Mapping[str, TaskOrder], deadline_s: float) -> AsyncIterator[TaskReply]:
        for agent_id, order in orders.items():
            if agent_id in self.records:
                yield TaskReply(agent_id, order.task_id, True, "", order.content)
            else:
                yield TaskReply(agent_id, order.task_id, False, "not connected", b"")


def hub_context(
    fleet: FleetTwin, *, coordination: Coordination | None = None, clock: Clock | None = None
) -> HubContext:
    """Return a context over twins only."""
    clock = clock or SystemClock()
    coordination = coordination or MemoryCoordination(clock)
    objects = ObjectStore.open("memory:")
    return HubContext(
        config=HubConfig(region="europe"),
        hub_id="hub-1",
        region="europe",
        coordination=coordination,
        objects=objects,
        registry=Registry(coordination, objects, clock),
        deployments=Deployments(coordination),
        directory=fleet,
        transport=fleet,
        clock=clock,
    )
