"""From what was counted to the report.

Rules: pure apart from reading versions and the machine's size; whatever could not be counted stays None; a bar that
could not be told is neither met nor missed.
"""

from __future__ import annotations

import math
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from statistics import quantiles
from typing import Any

import psutil

from nervure_core import __version__
from nervure_core.latency import LatencyHistogram
from nervure_simulations.fleet.agents import Reading
from nervure_simulations.fleet.plan import AgentPlan
from nervure_simulations.fleet.recorder import Recorder
from nervure_simulations.report.model import (
    Bar,
    DetectionPart,
    Environment,
    EventTotals,
    FaultPart,
    InferencePart,
    ModelsPart,
    RegionPart,
    Report,
    ResourcesPart,
    Score,
)
from nervure_simulations.scenarios import Scenario

VERSIONS = ("onnxruntime", "grpcio", "ray", "flwr", "deltalake", "duckdb", "numpy")


@dataclass(frozen=True, slots=True)
class Stored:
    """What lies in all regions' lakes and journals after the run."""

    unique: int
    """Distinct (agent, stream, sequence)."""
    rows: int
    """Summed over the regions: more than ``unique`` where two hubs made the same event durable."""
    lost_reported: int = 0


@dataclass(frozen=True, slots=True)
class Struck:
    """A fault that was carried out."""

    kind: str
    region: str
    at_s: float
    killed_processes: int


@dataclass(slots=True)
class Findings:
    """Everything that was counted in one run; filled in as it goes."""

    readings: dict[str, Reading] = field(default_factory=dict[str, Reading])
    offline_decisions: dict[str, int] = field(default_factory=dict[str, int])
    stored: Stored = Stored(0, 0)
    hub_stats: dict[str, dict[str, Any]] = field(default_factory=dict[str, dict[str, Any]])
    hub_rss_mib: dict[str, float] = field(default_factory=dict[str, float])
    hub_ids: dict[str, str] = field(default_factory=dict[str, str])
    run: dict[str, Any] = field(default_factory=dict[str, Any])
    latest_release: int = 0
    local_only: Score | None = None
    faults: list[Struck] = field(default_factory=list[Struck])
    sites: dict[str, str] = field(default_factory=dict[str, str])
    coordination: str = ""
    command: str = ""


def build_report(scenario: Scenario, agents: tuple[AgentPlan, ...], recorder: Recorder, found: Findings) -> Report:
    """Put everything together."""
    readings = found.readings
    initial = _score(found.run.get("initial")) or Score(accuracy=0.0, f1=0.0, fpr=0.0)
    final = _score(found.run.get("latest")) or initial
    produced = sum(one.produced for one in readings.values())
    reported = sum(one.lost for one in readings.values())
    duplicates = sum(int(stats["events"]["duplicates_dropped"]) for stats in found.hub_stats.values())
    events = EventTotals(
        produced=produced,
        acknowledged=sum(one.acknowledged for one in readings.values()),
        stored_unique=found.stored.unique,
        stored_rows=found.stored.rows,
        duplicates_dropped=duplicates,
        lost=reported + max(produced - reported - found.stored.unique, 0),
    )
    models = ModelsPart(
        name=scenario.learning.model,
        latest=found.latest_release,
        agents_on_latest=sum(one.release == found.latest_release for one in readings.values()),
        agents=len(readings),
    )
    faults = tuple(_fault(struck, agents, recorder) for struck in found.faults)
    report = Report(
        scenario=scenario.name,
        title=scenario.title,
        duration_s=round(recorder.now_s(), 2),
        regions={
            name: RegionPart(
                agents=region.agents,
                gateways=region.gateways,
                hub_id=found.hub_ids.get(name, ""),
                sites=tuple(sorted({found.sites[one.agent_id] for one in agents if one.home == name})),
            )
            for name, region in scenario.regions.items()
        },
        events=events,
        inference=_inference(found, faults),
        rounds=tuple(recorder.rounds),
        detection=DetectionPart(initial=initial, final=final, local_only=found.local_only),
        models=models,
        faults=faults,
        resources=ResourcesPart(
            agent_rss_mib=max((one.rss_mib for one in readings.values() if one.rss_mib), default=None),
            hub_rss_mib=round(max(found.hub_rss_mib.values()), 1) if found.hub_rss_mib else None,
            hubs_rss_mib={name: round(value, 1) for name, value in found.hub_rss_mib.items()},
            runner_rss_mib=round(psutil.Process().memory_info().rss / 2**20, 1),
        ),
        bars=(),
        environment=_environment(scenario, recorder, found),
        learning={key: value for key, value in scenario.learning.model_dump(mode="json").items() if _plain(value)},
        timeline=tuple(recorder.samples),
        agents=recorder.histories(agents, found.sites),
        marks=tuple(recorder.marks),
    )
    return report.model_copy(update={"bars": bars_of(scenario, report)})


def bars_of(scenario: Scenario, report: Report) -> tuple[Bar, ...]:
    """Hold a run against what its scenario promises."""
    events, models, detection, rounds = report.events, report.models, report.detection, report.rounds
    wanted = scenario.learning.rounds
    ended = sum(one.f1 is not None for one in rounds)
    bars = [
        Bar(
            id="detection.f1",
            text="F1 on held-out flows at the end",
            value=round(detection.final.f1, 4),
            bar=f"≥ {scenario.min_f1:g}",
            met=detection.final.f1 >= scenario.min_f1,
        ),
        Bar(
            id="detection.better_than_start",
            text=f"Better than the starting model ({detection.initial.f1:.4f})",
            value=round(detection.final.f1, 4),
            bar=f"> {detection.initial.f1:.4f}",
            met=detection.final.f1 > detection.initial.f1,
        ),
    ]
    alone = detection.local_only
    if alone is not None:
        bars.append(
            Bar(
                id="detection.better_than_alone",
                text="Better than the mean of sites that learn alone",
                value=round(detection.final.f1, 4),
                bar=f"> {alone.f1:.4f}",
                met=detection.final.f1 > alone.f1,
            )
        )
    bars += [
        Bar(
            id="rounds.done", text="Rounds that came to a candidate", value=ended, bar=f"{wanted}", met=ended == wanted
        ),
        Bar(id="events.lost", text="Events lost", value=events.lost, bar="0", met=events.lost == 0),
        Bar(
            id="events.stored",
            text="Produced events that are stored, each counted once",
            value=events.stored_unique,
            bar=f"{events.produced:,}",
            met=events.stored_unique == events.produced,
        ),
        Bar(
            id="models.latest",
            text=f"Agents on the latest model, release {models.latest}",
            value=models.agents_on_latest,
            bar=f"{models.agents}",
            met=models.agents_on_latest == models.agents,
        ),
    ]
    bars += [
        Bar(
            id=f"faults.{fault.region}.rehomed",
            text=f"Agents of {fault.region} that found another hub",
            value=fault.rehomed,
            bar=f"{fault.agents}",
            met=fault.rehomed == fault.agents,
        )
        for fault in report.faults
    ]
    bars.append(
        Bar(
            id="duration_s",
            text=f"Whole run in seconds, on {report.environment.cpus} cores",
            value=report.duration_s,
            bar=f"< {scenario.limit_s:g}",
            met=report.duration_s < scenario.limit_s,
        )
    )
    return tuple(bars)


def _fault(struck: Struck, agents: Sequence[AgentPlan], recorder: Recorder) -> FaultPart:
    """Measure, agent by agent, from the fault to the session elsewhere."""
    hit, moved = 0, list[float]()
    for agent in agents:
        sessions = recorder.sessions_of(agent.agent_id)
        before = [region for since, region in sessions if since <= struck.at_s and region]
        if not before or before[-1] != struck.region:
            continue
        hit += 1
        after = [since for since, region in sessions if since > struck.at_s and region and region != struck.region]
        if after:
            moved.append(after[0] - struck.at_s)
    return FaultPart(
        kind=struck.kind,
        region=struck.region,
        at_s=round(struck.at_s, 3),
        agents=hit,
        rehomed=len(moved),
        rehome_p50_s=_quantile(moved, 50),
        rehome_p95_s=_quantile(moved, 95),
        killed_processes=struck.killed_processes,
        last_rehomed_at_s=round(struck.at_s + max(moved), 3) if moved else None,
    )


def _quantile(values: Sequence[float], percent: int) -> float | None:
    if not values:
        return None
    if len(values) == 1:
        return round(values[0], 3)
    return round(quantiles(values, n=100, method="inclusive")[percent - 1], 3)


def _inference(found: Findings, faults: Sequence[FaultPart]) -> InferencePart:
    whole = LatencyHistogram()
    for one in found.readings.values():
        whole.merge(one.latency)
    own = LatencyHistogram()
    for one in found.readings.values():
        if one.rss_mib is not None:  # only a process has a memory of its own
            own.merge(one.latency)
    bounds = [*LatencyHistogram.bucket_bounds_us()[1:], math.inf]
    return InferencePart(
        count=sum(one.decisions for one in found.readings.values()),
        p50_us=round(whole.quantile_us(0.5), 2) if whole.count else 0.0,
        p99_us=round(whole.quantile_us(0.99), 2) if whole.count else 0.0,
        during_outage=sum(found.offline_decisions.values()) if faults else None,
        processes_p50_us=round(own.quantile_us(0.5), 2) if own.count else None,
        processes_p99_us=round(own.quantile_us(0.99), 2) if own.count else None,
        histogram=tuple(
            (round(upper, 3), count)
            for upper, count in zip(bounds, whole.to_counts(), strict=False)
            if count and math.isfinite(upper)
        ),
    )


def _environment(scenario: Scenario, recorder: Recorder, found: Findings) -> Environment:
    versions = {"nervure": __version__}
    for name in VERSIONS:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue
    traffic = scenario.traffic
    return Environment(
        command=found.command,
        started_at=datetime.fromtimestamp(recorder.started_wall_s, UTC).strftime("%Y-%m-%d %H:%M:%S UTC"),
        seed=scenario.seed,
        machine=f"{platform.system()} {platform.release()}, {platform.machine()}",
        cpus=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        memory_mib=psutil.virtual_memory().total >> 20,
        python=platform.python_version(),
        versions=versions,
        coordination=found.coordination,
        replay_pace=(
            f"the first {traffic.history:.0%} of every agent's flows within {traffic.history_s:g} s, "
            f"the others evenly over {traffic.replay_s:g} s"
        ),
    )


def _score(scores: Mapping[str, Any] | None) -> Score | None:
    if not scores:
        return None
    return Score(accuracy=float(scores["accuracy"]), f1=float(scores["f1"]), fpr=float(scores["fpr"]))


def _plain(value: object) -> bool:
    return isinstance(value, str | int | float)
