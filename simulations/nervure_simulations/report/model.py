"""The shape of ``report.json``: pydantic models with a schema version.

Rules: times ``at_s`` are seconds since the run started; F1, accuracy and false positive rate are shares (0 to 1); a
number that could not be counted is null, never a guess. Keys are added, never renamed, within one schema version.

>>> Score(accuracy=0.98, f1=0.97, fpr=0.01).f1
0.97
"""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

SCHEMA_VERSION = 1


class Part(BaseModel):
    """What all parts of a report share."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class RegionPart(Part):
    """One region as it was started."""

    agents: int
    gateways: int
    hub_id: str = ""
    sites: tuple[str, ...] = ()


class EventTotals(Part):
    """Events over the whole run."""

    produced: int
    """Appended to spools, counted by the agents."""
    acknowledged: int
    """Acknowledged as durable, counted by the agents."""
    stored_unique: int
    """Distinct (agent, stream, sequence) over all regions' lakes and journals, counted by a query after the run."""
    stored_rows: int
    """Rows over all regions' lakes and journals; more than ``stored_unique`` means something was stored twice."""
    duplicates_dropped: int
    """Events that arrived again and were dropped, counted by the gateways (a killed hub's last known count)."""
    lost: int
    """Events that were produced and are stored nowhere, plus those agents reported as dropped."""


class InferencePart(Part):
    """Decisions over the whole run."""

    count: int
    p50_us: float
    p99_us: float
    during_outage: int | None = None
    """Decisions by the agents whose hub was dead, while they had no session."""
    processes_p50_us: float | None = None
    """Of those agents alone that have a process of their own, as every agent has on a device."""
    processes_p99_us: float | None = None
    histogram: tuple[tuple[float, int], ...] = ()
    """(upper edge in microseconds, decisions), empty buckets left out."""


class Score(Part):
    """What the judge measured on traffic that no agent trained on."""

    accuracy: float
    f1: float
    fpr: float


class SiteScore(Part):
    """What the judge counted at one site."""

    tp: int
    fp: int
    tn: int
    fn: int

    @property
    def f1(self) -> float | None:
        """F1, None where the site has no attack and none was reported."""
        wrong = self.fp + self.fn
        return 2 * self.tp / (2 * self.tp + wrong) if self.tp or wrong else None

    @property
    def fpr(self) -> float | None:
        """False positive rate, None where the site has no benign flow."""
        return self.fp / (self.fp + self.tn) if self.fp + self.tn else None


class RoundPart(Part):
    """One federated round."""

    round: int
    region_updates: int
    """Regional aggregates that the leader joined."""
    updates: dict[str, int] = Field(default_factory=dict[str, int])
    """Agents whose updates each region joined."""
    accuracy: float | None
    f1: float | None
    """Of the candidate, as the others; null where a round failed before there was one."""
    fpr: float | None
    worst_site_fpr: float | None
    worst_site: str = ""
    bytes_up_per_agent: float
    accepted: bool
    reason: str = ""
    release: int | None = None
    started_at_s: float | None = None
    ended_at_s: float | None = None
    regions: dict[str, Score] = Field(default_factory=dict[str, Score])
    """The candidate judged on each region's held-out sites."""
    sites: dict[str, SiteScore] = Field(default_factory=dict[str, SiteScore])
    """The same site by site, named ``region/site``."""


class DetectionPart(Part):
    """Detection before, after, and without federation, on the same held-out traffic."""

    initial: Score
    final: Score
    local_only: Score | None = None
    """Mean over sites, each having trained alone as long as in the rounds."""


class ModelsPart(Part):
    """Who runs what at the end."""

    name: str
    latest: int
    agents_on_latest: int
    agents: int


class FaultPart(Part):
    """One fault and what followed."""

    kind: str
    region: str
    at_s: float
    agents: int
    """Agents that had their session there."""
    rehomed: int
    """Of these, how many had a session elsewhere before the run ended."""
    rehome_p50_s: float | None
    rehome_p95_s: float | None
    killed_processes: int = 0
    last_rehomed_at_s: float | None = None


class ResourcesPart(Part):
    """Memory, from the kernel."""

    agent_rss_mib: float | None
    """The largest of the real agent processes, at its end."""
    hub_rss_mib: float | None
    """The largest hub: its driver and all its actors together."""
    hubs_rss_mib: dict[str, float] = Field(default_factory=dict[str, float])
    runner_rss_mib: float | None = None
    """The process that hosts the other agents and this measurement."""


class Sample(Part):
    """The fleet at one moment."""

    at_s: float
    produced: int
    acknowledged: int
    decisions: int
    spool_bytes: int
    connected: dict[str, int]
    """Agents with a live session, by the region of the hub."""


class AgentHistory(Part):
    """Where one agent had its session and what it ran, as changes over time."""

    agent: str
    home: str
    site: str
    kind: Literal["process", "in-process"]
    sessions: tuple[tuple[float, str], ...] = ()
    """(at_s, region of the hub; empty while it has none)."""
    releases: tuple[tuple[float, int], ...] = ()
    """(at_s, release that runs from then on)."""


class Mark(Part):
    """Something worth a word on the time line."""

    at_s: float
    kind: str
    text: str


class Bar(Part):
    """One thing the run promises, and whether it kept it."""

    id: str
    text: str
    value: float | int | str | None
    bar: str
    met: bool | None
    """None: could not be told."""


class Environment(Part):
    """What is needed to judge the numbers and to run it again."""

    command: str
    started_at: str
    """UTC, ISO 8601."""
    seed: int
    machine: str
    cpus: int
    memory_mib: int
    python: str
    versions: dict[str, str]
    coordination: str
    """``etcd 3.5.1`` or ``in-process twin``."""
    replay_pace: str
    """How fast sites were replayed, in words."""


class Report(Part):
    """Everything a run leaves behind."""

    schema_version: int = SCHEMA_VERSION
    scenario: str
    title: str
    duration_s: float
    regions: dict[str, RegionPart]
    events: EventTotals
    inference: InferencePart
    rounds: tuple[RoundPart, ...]
    detection: DetectionPart
    models: ModelsPart
    faults: tuple[FaultPart, ...]
    resources: ResourcesPart
    bars: tuple[Bar, ...]
    environment: Environment
    learning: dict[str, str | int | float] = Field(default_factory=dict[str, str | int | float])
    """The settings of the rounds, as they were used."""
    timeline: tuple[Sample, ...] = ()
    agents: tuple[AgentHistory, ...] = ()
    marks: tuple[Mark, ...] = ()
