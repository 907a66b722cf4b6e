"""The API's answers and questions, as OpenAPI shows them."""

from __future__ import annotations

import math
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from nervure_core.messages import AgentStatus
from nervure_hub.context import AgentRecord, EventCounts, GatewayStats, HubStats
from nervure_hub.deployments import Deployment, Selector
from nervure_hub.registry import BundleRef


class _Schema(BaseModel):
    model_config = ConfigDict(from_attributes=True)


class RunningModel(_Schema):
    """The model an agent runs; empty when it has none."""

    name: str = Field(examples=["flows"])
    release: int = Field(examples=[7])
    bundle_id: str


class LatencyView(_Schema):
    """Decision latency of an agent since its start."""

    count: int
    p50_us: float
    p99_us: float
    counts: list[int] | None = None
    """Histogram buckets, where asked for with ``detail=full``."""


class StatusView(_Schema):
    """An agent's own report, a heartbeat old at most."""

    events_produced: int
    events_acknowledged: int
    events_lost: int
    spool_bytes: int
    decisions: int
    blocks: int
    errors: int
    rss_mib: float
    uptime_s: float
    workload_state: str
    latency: LatencyView

    @classmethod
    def of(cls, status: AgentStatus, *, full: bool) -> StatusView:
        """Return the view of a report."""
        latency = status.latency
        return cls(
            events_produced=status.events_produced,
            events_acknowledged=status.events_acknowledged,
            events_lost=status.events_lost,
            spool_bytes=status.spool_bytes,
            decisions=status.decisions,
            blocks=status.blocks,
            errors=status.errors,
            rss_mib=round(status.rss_bytes / 2**20, 1),
            uptime_s=round(status.uptime_s, 1),
            workload_state=status.workload_state,
            latency=LatencyView(
                count=latency.count,
                p50_us=_finite(latency.quantile_us(0.5)),
                p99_us=_finite(latency.quantile_us(0.99)),
                counts=list(latency.to_counts()) if full else None,
            ),
        )


class Device(_Schema):
    """One agent."""

    agent_id: str = Field(examples=["camera-hall-3"])
    region: str = Field(examples=["europe"])
    home_region: str
    hub_id: str
    gateway: str
    session_id: str
    labels: dict[str, str] = Field(examples=[{"site": "hall-3"}])
    workload: str = Field(examples=["network"])
    state: str = Field(examples=["live"])
    running: RunningModel
    can_train: bool
    examples: int
    connected_at_s: float
    last_seen_s: float
    status: StatusView | None

    @classmethod
    def of(cls, record: AgentRecord, *, full: bool = False) -> Device:
        """Return the view of a directory's record."""
        return cls(
            agent_id=record.agent_id,
            region=record.region,
            home_region=record.home_region or record.region,
            hub_id=record.hub_id,
            gateway=record.gateway,
            session_id=record.session_id,
            labels=dict(record.labels),
            workload=record.workload,
            state=record.state,
            running=RunningModel.model_validate(record.running),
            can_train=record.can_train,
            examples=record.examples,
            connected_at_s=record.connected_at_s,
            last_seen_s=record.last_seen_s,
            status=StatusView.of(record.status, full=full) if record.status else None,
        )


class Devices(_Schema):
    """All agents this hub has seen."""

    devices: list[Device]


class HubView(_Schema):
    """Who answers, and who else is there."""

    hub_id: str
    region: str = Field(examples=["europe"])
    version: str
    protocol: int
    hubs: list[dict[str, Any]]
    """What each hub of the fleet wrote of itself, under its lease."""


class Counts(_Schema):
    """Events since the hub started."""

    received: int
    stored: int
    duplicates_dropped: int
    lost_reported: int

    @classmethod
    def of(cls, counts: EventCounts) -> Counts:
        """Return the view of a hub's counters."""
        return cls.model_validate(counts)


class GatewayView(_Schema):
    """One gateway's counters."""

    name: str
    pid: int
    sessions: int
    events: Counts
    journal_bytes: int
    malformed_frames: int
    tasks_open: int

    @classmethod
    def of(cls, stats: GatewayStats) -> GatewayView:
        """Return the view of a gateway's counters."""
        return cls.model_validate(stats)


class Stats(_Schema):
    """A hub's counters."""

    events: Counts
    sessions: int
    gateways: list[GatewayView]
    rss_mib: float
    pids: list[int]
    extra: dict[str, float] = {}

    @classmethod
    def of(cls, stats: HubStats) -> Stats:
        """Return the view of a hub's counters."""
        return cls(
            events=Counts.of(stats.events),
            sessions=stats.sessions,
            gateways=[GatewayView.of(gateway) for gateway in stats.gateways],
            rss_mib=round(stats.rss_mib, 1),
            pids=list(stats.pids),
            extra=dict(stats.extra),
        )


class Question(BaseModel):
    """One SELECT over the table ``events``."""

    model_config = ConfigDict(extra="forbid")

    sql: str = Field(
        min_length=1,
        max_length=100_000,
        examples=["SELECT label, count(*) AS n FROM events WHERE kind = 'finding' GROUP BY label ORDER BY n DESC"],
    )


class Answer(_Schema):
    """Rows of the answer; values as JSON has them (times as ISO text, bytes as hex, NaN as null)."""

    columns: list[str] = Field(examples=[["label", "n"]])
    rows: list[list[Any]] = Field(examples=[[["dos", 41], ["scan", 7]]])
    truncated: bool
    elapsed_ms: float


class Release(_Schema):
    """One release of a model."""

    name: str = Field(examples=["flows"])
    release: int = Field(examples=[7])
    bundle_id: str
    workload: str
    size_bytes: int
    pushed_at_s: float
    run_id: str
    round: int
    note: str

    @classmethod
    def of(cls, ref: BundleRef) -> Release:
        """Return the view of a registry's entry."""
        return cls.model_validate(ref)


class Releases(_Schema):
    """Models and what is desired of them."""

    models: list[Release]
    deployments: list[Deployment]


class DeployRequest(BaseModel):
    """Want a release on the agents that the selector selects."""

    model_config = ConfigDict(extra="forbid")

    name: str = Field(examples=["flows"])
    release: int | None = Field(default=None, ge=1, examples=[7])
    """The newest when absent."""
    selector: Selector | None = Field(default=None, examples=[{"regions": ["europe"], "labels": {"site": "hall-3"}}])
    """As before when absent; all agents where there was no deployment."""


class DeployAnswer(_Schema):
    """What is desired now."""

    deployment: Deployment
    agents_selected: int
    """Live agents of this hub that the selector selects now; other regions have their own."""


class PushAnswer(_Schema):
    """What was taken in."""

    model: Release
    deployment: Deployment | None = None
    agents_selected: int = 0


class Health(_Schema):
    """The hub answers; degraded where something it needs doesn't."""

    status: str = Field(examples=["ok"])
    coordination: str = Field(examples=["ok"])


class ErrorDetail(_Schema):
    """What is wrong and what to do."""

    code: str = Field(examples=["model-missing"])
    message: str = Field(examples=["model 'flows' is not in the registry"])
    hint: str = Field(examples=["`nervure models list` shows what is"])


class ErrorBody(_Schema):
    """Every answer that is no success."""

    error: ErrorDetail


def _finite(value: float) -> float:
    return round(value, 1) if math.isfinite(value) else 0.0
