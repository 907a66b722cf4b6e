"""What an agent says of itself: to a hub in heartbeats, to people and machines as a summary. Counted, never derived."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nervure_core import __version__
from nervure_core.messages import AgentStatus, Hello

if TYPE_CHECKING:
    from nervure_edge.agent import Agent

_MIB = 1 << 20


def hello_of(agent: Agent) -> Hello:
    """Return the first frame of a session."""
    config, model = agent.config, agent.engine.model
    return Hello(
        agent_id=config.agent_id,
        version=__version__,
        stream_id=agent.spool.stream_id,
        next_seq=agent.spool.next_seq,
        labels=config.labels,
        home_region=config.region,
        workload=config.workload.name,
        running=agent.running,
        can_train=config.training.enabled and (model is None or model.can_train),
        examples=len(agent.examples),
    )


def status_of(agent: Agent) -> AgentStatus:
    """Return what travels in a heartbeat."""
    counts, engine = agent.spool.counts(), agent.engine
    return AgentStatus(
        running=agent.running,
        events_produced=counts.produced,
        events_acknowledged=counts.acknowledged,
        events_lost=counts.lost,
        spool_bytes=counts.size_bytes,
        decisions=engine.decisions,
        blocks=engine.blocks,
        errors=engine.errors,
        latency=engine.latency,
        rss_bytes=rss_bytes(),
        examples=len(agent.examples),
        uptime_s=agent.uptime_s,
        workload_state=agent.workload_state,
    )


def summary_of(agent: Agent) -> dict[str, Any]:
    """Return the counters as plain data."""
    counts, engine, running = agent.spool.counts(), agent.engine, agent.running
    latency: dict[str, float] = {}
    if engine.latency.count:
        latency = {f"p{q}_us": round(engine.latency.quantile_us(q / 100), 1) for q in (50, 99)}
    return {
        "agent": agent.config.agent_id,
        "decisions": engine.decisions,
        "findings": engine.positives,
        "blocks": engine.blocks,
        "errors": engine.errors,
        "latency": latency,
        "events": {
            "produced": counts.produced,
            "acknowledged": counts.acknowledged,
            "lost": counts.lost,
            "pending": counts.pending,
        },
        "source": {**engine.stats(), "state": agent.workload_state},
        "model": {"name": running.name, "release": running.release, "bundle_id": running.bundle_id},
        "session": {"state": agent.session_state.value, "hub": agent.hub, "region": agent.region},
        "examples": len(agent.examples),
        "tasks": agent.tasks_done,
        "rss_mib": round(rss_bytes() / _MIB, 1),
        "uptime_s": round(agent.uptime_s, 3),
    }


def rss_bytes() -> int:
    """Return the resident memory of this process, 0 where the system does not say."""
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    except (OSError, ValueError, IndexError):
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")
