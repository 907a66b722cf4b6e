"""The fleet's agents: some as processes of their own, the others hosted by the runner; both the same ``Agent``.

Rules:

- What an agent counted is asked of the agent: a hosted one directly, a process through what it reports in heartbeats
  and, at the end, through the summary it prints when it stops.
- Hosted agents share one pool with a thread or more each, since a step may wait for traffic.
- A session's begin and end are noted the moment the agent itself notices.

>>> async with HostedAgents(recorder) as hosted:  # doctest: +SKIP
...     await hosted.start(agent_config(plan, ...))
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from nervure_core.latency import LatencyHistogram
from nervure_edge.agent import Agent
from nervure_edge.config import AgentConfig
from nervure_simulations.fleet.plan import AgentPlan
from nervure_simulations.fleet.recorder import Recorder
from nervure_simulations.servers import Child, ChildSpec, Supervisor
from nervure_simulations.servers.child import json_ready

STOP_GRACE_S = 20.0
SWITCH_S = 0.0005
"""How long a thread of the runner may keep the interpreter: with thirty agents in one process the usual 5 ms would be
most of what a decision's latency shows."""
SPARE_THREADS = 8  # for training, syncs and loading models while every agent waits for traffic


@dataclass(frozen=True, slots=True)
class Reading:
    """What one agent counted."""

    produced: int = 0
    acknowledged: int = 0
    lost: int = 0
    decisions: int = 0
    spool_bytes: int = 0
    release: int = 0
    region: str = ""
    """Region of the hub it is in session with."""
    ended: bool = False
    """Its traffic is over."""
    rss_mib: float | None = None
    latency: LatencyHistogram = field(default_factory=LatencyHistogram)


def agent_config(plan: AgentPlan, *, hubs: Mapping[str, str], table: Path, site: str, folder: Path) -> AgentConfig:
    """Return the configuration of one agent.

    Args:
        plan: Who it is.
        hubs: ``host:port`` by region.
        table: The flows it replays.
        site: Its site's name, a label.
        folder: Its data.
    """
    return AgentConfig.model_validate(
        {
            "agent_id": plan.agent_id,
            "data": folder,
            "region": plan.home,
            "labels": {"site": site},
            "hubs": tuple(hubs[region] for region in plan.hub_order),
            "workload": {"name": "network", "options": {"records": str(table), "speed": 1.0}},
            # A region's agents come back within seconds of one another, but not at once.
            "session": {"connect_timeout_s": 5.0, "backoff_base_s": 0.5, "backoff_cap_s": 5.0},
        }
    )


class HostedAgents:
    """Agents inside this process: an async context manager that ends with all of them stopped.

    Args:
        recorder: Told about sessions and releases.
        count: How many there will be, for the size of the pool.
    """

    def __init__(self, recorder: Recorder, count: int) -> None:
        self._recorder = recorder
        self._pool = ThreadPoolExecutor(max_workers=count + SPARE_THREADS, thread_name_prefix="agent")
        self._switch_s = sys.getswitchinterval()
        self._group = asyncio.TaskGroup()
        self._running: list[asyncio.Task[None]] = []
        self._watching: list[asyncio.Task[None]] = []
        self.agents: dict[str, Agent] = {}
        self.offline_decisions: dict[str, int] = {}
        """Decisions that an agent made while it had no session, after its first one."""

    async def __aenter__(self) -> Self:
        sys.setswitchinterval(SWITCH_S)
        await self._group.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._ask_to_stop()
            await self._group.__aexit__(kind, error, trace)
        finally:
            sys.setswitchinterval(self._switch_s)
            self._pool.shutdown(wait=False, cancel_futures=True)

    async def start(self, config: AgentConfig) -> None:
        """Open an agent and let it run."""
        agent = Agent(config, executor=self._pool)
        opened = asyncio.Event()
        self._running.append(self._group.create_task(self._run(agent, opened), name=config.agent_id))
        await opened.wait()
        self.agents[config.agent_id] = agent

    async def stop(self) -> dict[str, Reading]:
        """Stop all in order (drain, goodbye) and return what each counted; safe to call twice."""
        self._ask_to_stop()
        await asyncio.gather(*self._running, return_exceptions=True)
        return {agent_id: reading(agent) for agent_id, agent in self.agents.items()}

    def _ask_to_stop(self) -> None:
        for watch in self._watching:
            watch.cancel()
        for agent in self.agents.values():
            agent.stop()

    async def _run(self, agent: Agent, opened: asyncio.Event) -> None:
        try:
            async with agent:
                opened.set()
                self._watching.append(self._group.create_task(self._watch(agent)))
                await agent.run()
        finally:
            opened.set()

    async def _watch(self, agent: Agent) -> None:
        """Note every change of session and release at once."""
        name = agent.config.agent_id
        region, release, cut_at = "", 0, 0
        while True:
            if agent.region != region:
                if agent.region and not region and self._recorder.sessions_of(name):
                    made = agent.engine.decisions - cut_at
                    self.offline_decisions[name] = self.offline_decisions.get(name, 0) + made
                region, cut_at = agent.region, agent.engine.decisions
                self._recorder.session(name, region)
            if agent.running.release != release:
                release = agent.running.release
                self._recorder.release(name, release)
            await agent.wait_for(partial(_has_changed, agent, region, release))


def _has_changed(agent: Agent, region: str, release: int) -> bool:
    return agent.region != region or agent.running.release != release


def reading(agent: Agent) -> Reading:
    """Ask a hosted agent what it counted."""
    status = agent.status()
    return Reading(
        produced=status.events_produced,
        acknowledged=status.events_acknowledged,
        lost=status.events_lost,
        decisions=status.decisions,
        spool_bytes=status.spool_bytes,
        release=status.running.release,
        region=agent.region,
        ended=agent.source_ended,
        latency=status.latency,
    )


class ProcessAgents:
    """Agents as processes of their own, started by the command that a device runs.

    Args:
        supervisor: Owns the processes.
        recorder: Told about sessions and releases.
    """

    def __init__(self, supervisor: Supervisor, recorder: Recorder) -> None:
        self._supervisor = supervisor
        self._recorder = recorder
        self.children: dict[str, Child] = {}
        self._last: dict[str, Reading] = {}
        self._session_ids: dict[str, str] = {}

    async def start(self, config: AgentConfig) -> None:
        """Start one with its configuration in a file, as a device has it."""
        file = config.data.parent / f"{config.agent_id}.toml"
        await asyncio.to_thread(_write_config, config, file)
        argv = (sys.executable, "-m", "nervure_core.command", "agent", "run", "--config", str(file), "--json")
        self.children[config.agent_id] = await self._supervisor.start(
            ChildSpec(f"agent-{config.agent_id}", argv, ready=json_ready, grace_s=STOP_GRACE_S)
        )
        self._last[config.agent_id] = Reading()

    def learn(self, region: str, devices: Sequence[Mapping[str, Any]]) -> None:
        """Take in what a hub's directory says of them: their own reports, a heartbeat old."""
        for device in devices:
            name = str(device["agent_id"])
            if name not in self.children or device["state"] != "live" or device["status"] is None:
                continue
            if self._session_ids.get(name) != device["session_id"]:
                self._session_ids[name] = str(device["session_id"])
                self._recorder.session(name, region, self._recorder.at_wall(float(device["connected_at_s"])))
            if release := int(device["running"]["release"]):  # 0 is no model yet
                self._recorder.release(name, release)
            self._last[name] = _from_device(region, device)

    def lost_hub(self, region: str, at_s: float) -> None:
        """Note that the hub of a region is dead, and with it every session there."""
        for name, last in self._last.items():
            if last.region == region:
                self._recorder.session(name, "", at_s)

    def readings(self) -> dict[str, Reading]:
        """Return the last that is known of each."""
        return dict(self._last)

    async def stop(self) -> dict[str, Reading]:
        """Stop all in order and return the counts of the summaries they print at their end."""
        async with asyncio.TaskGroup() as group:
            for child in self.children.values():
                group.create_task(child.stop())
        return {name: _from_summary(child.last_object, self._last[name]) for name, child in self.children.items()}


def _from_device(region: str, device: Mapping[str, Any]) -> Reading:
    status = device["status"]
    return Reading(
        produced=int(status["events_produced"]),
        acknowledged=int(status["events_acknowledged"]),
        lost=int(status["events_lost"]),
        decisions=int(status["decisions"]),
        spool_bytes=int(status["spool_bytes"]),
        release=int(device["running"]["release"]),
        region=region,
        ended=status["workload_state"] == "ended",
        rss_mib=float(status["rss_mib"]),
        latency=LatencyHistogram.from_counts(status["latency"]["counts"] or ()),
    )


def _from_summary(summary: Mapping[str, Any], last: Reading) -> Reading:
    """Read the summary that ``nervure agent run --json`` prints; what it leaves out stays as last reported."""
    if "events" not in summary:
        return last
    events = summary["events"]
    return Reading(
        produced=int(events["produced"]),
        acknowledged=int(events["acknowledged"]),
        lost=int(events["lost"]),
        decisions=int(summary["decisions"]),
        spool_bytes=last.spool_bytes,
        release=int(summary["model"]["release"]),
        region=last.region,
        ended=True,
        rss_mib=float(summary["rss_mib"]),
        latency=last.latency,
    )


def _write_config(config: AgentConfig, file: Path) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    options = config.workload.options
    hubs = ", ".join(f'"{hub}"' for hub in config.hubs)
    session = config.session
    file.write_text(
        f'agent_id = "{config.agent_id}"\n'
        f'region = "{config.region}"\n'
        f'data = "{config.data}"\n'
        f"hubs = [{hubs}]\n\n"
        f'[labels]\nsite = "{config.labels["site"]}"\n\n'
        f'[workload]\nname = "{config.workload.name}"\n\n'
        f'[workload.options]\nrecords = "{options["records"]}"\nspeed = {options["speed"]}\n\n'
        f"[session]\nconnect_timeout_s = {session.connect_timeout_s}\n"
        f"backoff_base_s = {session.backoff_base_s}\nbackoff_cap_s = {session.backoff_cap_s}\n"
    )
