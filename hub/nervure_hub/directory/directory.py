"""Who is here: one region's agents as its gateways report them, in memory only.

Rules
    1. The newest session of an agent counts, whichever gateway tells of it and in whatever order the news arrive.
    2. An agent is live while its session is open and its last frame is younger than ``silent_s``; it stays known as
       gone, so that people see who is missing. At most ``max_agents`` are remembered; the longest gone are forgotten.
    3. Counters of a gateway that was restarted are kept: sums never go back while the directory lives.
    4. A directory that restarts has forgotten everything. Its new ``incarnation`` tells the gateways, which then report
       whole.

>>> directory = Directory(silent_s=15.0)
>>> asyncio.run(directory.agents())
[]
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from dataclasses import fields, replace
from pathlib import Path

from nervure_core.clock import Clock, SystemClock
from nervure_core.ids import new_id
from nervure_hub.context import AgentRecord, EventCounts, GatewayStats, HubStats
from nervure_hub.gateway.links import GatewayReport

__all__ = ["Directory", "asyncio"]

_MIB = 1024.0 * 1024.0


class Directory:
    """The agents and counters of one hub.

    Args:
        silent_s: Age of the last frame at which an agent counts as gone, seconds.
        max_agents: How many agents are remembered.
        clock: Compared with the gateways' stamps.
    """

    def __init__(self, *, silent_s: float, max_agents: int = 200_000, clock: Clock | None = None) -> None:
        self._silent_s = silent_s
        self._max_agents = max_agents
        self._clock = clock if clock is not None else SystemClock()
        self._incarnation = new_id("directory")
        self._agents: dict[str, AgentRecord] = {}
        self._gateways: dict[str, GatewayStats] = {}
        self._retired = EventCounts()
        self._counters: dict[str, Mapping[str, float]] = {}
        self._processes: dict[str, int] = {"directory": os.getpid()}

    def __repr__(self) -> str:
        return f"<Directory {len(self._agents)} agents, {len(self._gateways)} gateways>"

    async def report(self, report: GatewayReport) -> str:
        """Take a gateway's report; return the incarnation."""
        before = self._gateways.get(report.gateway)
        if before is not None and before.pid != report.stats.pid:
            self._retired = _sum(self._retired, before.events)
        self._gateways[report.gateway] = report.stats
        self._processes[report.gateway] = report.stats.pid
        for record in report.records:
            self._take(record)
        if report.whole:
            here = {record.session_id for record in report.records}
            for agent_id, known in self._agents.items():
                if known.gateway == report.gateway and known.state == "live" and known.session_id not in here:
                    self._agents[agent_id] = replace(known, state="gone")
        self._forget_surplus()
        return self._incarnation

    async def agents(self) -> list[AgentRecord]:
        """Return every agent known, ordered by id."""
        oldest_s = self._clock.wall_s() - self._silent_s
        return [
            replace(record, state="gone") if record.state == "live" and record.last_seen_s < oldest_s else record
            for _, record in sorted(self._agents.items())
        ]

    async def stats(self) -> HubStats:
        """Return sums over the gateways, the counters other parts have noted, and the memory of the hub's processes."""
        events = self._retired
        for gateway in self._gateways.values():
            events = _sum(events, gateway.events)
        extra = {f"{part}_{name}": value for part, items in self._counters.items() for name, value in items.items()}
        dropped_late = int(extra.get("lake_duplicates_dropped", 0.0))
        pids = tuple(sorted(set(self._processes.values())))
        return HubStats(
            events=replace(events, duplicates_dropped=events.duplicates_dropped + dropped_late),
            sessions=sum(gateway.sessions for gateway in self._gateways.values()),
            gateways=tuple(gateway for _, gateway in sorted(self._gateways.items())),
            rss_mib=round(sum(resident_bytes(pid) for pid in pids) / _MIB, 1),
            pids=pids,
            extra=extra,
        )

    async def note_counters(self, part: str, counters: Mapping[str, float]) -> None:
        """Remember a part's counters; they appear in ``stats`` as ``<part>_<name>``."""
        self._counters[part] = counters

    async def note_process(self, part: str, pid: int) -> None:
        """Remember which process a part runs in."""
        self._processes[part] = pid

    def _take(self, record: AgentRecord) -> None:
        known = self._agents.get(record.agent_id)
        if known is not None and known.session_id != record.session_id and known.connected_at_s > record.connected_at_s:
            return
        self._agents[record.agent_id] = record

    def _forget_surplus(self) -> None:
        surplus = len(self._agents) - self._max_agents
        if surplus > 0:
            gone = sorted((record.last_seen_s, name) for name, record in self._agents.items() if record.state == "gone")
            for _, agent_id in gone[:surplus]:
                del self._agents[agent_id]


def resident_bytes(pid: int) -> int:
    """Return the resident memory of a process of this machine; 0 when it is gone or /proc does not tell."""
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1])
    except (OSError, IndexError, ValueError):
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")


def _sum(left: EventCounts, right: EventCounts) -> EventCounts:
    return EventCounts(**{item.name: getattr(left, item.name) + getattr(right, item.name) for item in fields(left)})
