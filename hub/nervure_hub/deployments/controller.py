"""The controller that tells a hub's agents what is desired of them.

Rules
    1. Level, not edge: every tick compares what each live agent was told, and what it reports to run, with what is
       desired; a lost message, a new session or a late agent needs no case of its own.
    2. Every hub tells its own agents; nothing is written, so no election is needed.
    3. An agent that does not run what it was told within ``REMIND_S`` is told again; why it doesn't is its report's
       business.
    4. Coordination away: the last state known stays desired.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field

from nervure_core.messages import Assignment, Desired
from nervure_hub.context import AgentRecord, HubContext
from nervure_hub.coordination.background import first_of
from nervure_hub.deployments.resolve import SLOT, AgentFacts, Deployment, resolve

TICK_S = 0.5
REMIND_S = 15.0
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Told:
    """What one agent was last told, when, in which session."""

    session_id: str
    assignments: tuple[Assignment, ...]
    at_s: float


@dataclass(slots=True)
class Teller:
    """Decides who has to be told what; knows neither network nor clock."""

    told: dict[str, Told] = field(default_factory=dict[str, Told])

    def due(
        self, deployments: Sequence[Deployment], agents: Sequence[AgentRecord], now_s: float
    ) -> Mapping[str, Desired]:
        """Return what has to be sent, by agent id; forgets agents that are gone."""
        live = {agent.agent_id: agent for agent in agents if agent.state == "live"}
        self.told = {agent_id: told for agent_id, told in self.told.items() if agent_id in live}
        due: dict[str, Desired] = {}
        for agent in live.values():
            desired = resolve(deployments, facts_of(agent))
            if self._has_to_hear(agent, desired, now_s):
                due[agent.agent_id] = desired
        return due

    def _has_to_hear(self, agent: AgentRecord, desired: Desired, now_s: float) -> bool:
        told = self.told.get(agent.agent_id)
        if told is None or told.session_id != agent.session_id:
            # Nothing is desired of most agents before the first deployment: no message for that.
            return bool(desired.assignments)
        if told.assignments != desired.assignments:
            return True
        return now_s - told.at_s >= REMIND_S and not _runs(agent, desired)

    def took(self, agents: Sequence[AgentRecord], sent: Mapping[str, Desired], now_s: float) -> None:
        """Remember which of the agents took their message."""
        for agent in agents:
            if agent.agent_id in sent:
                self.told[agent.agent_id] = Told(agent.session_id, sent[agent.agent_id].assignments, now_s)


def facts_of(agent: AgentRecord) -> AgentFacts:
    """Return what selectors may look at; an agent belongs to its home region wherever it is connected."""
    return AgentFacts(agent.agent_id, agent.home_region or agent.region, agent.workload, agent.labels)


def _runs(agent: AgentRecord, desired: Desired) -> bool:
    return all(
        agent.running.bundle_id == assignment.bundle_id for assignment in desired.assignments if assignment.slot == SLOT
    )


class DeploymentsController:
    """Runs ``Teller`` over the hub's directory and transport."""

    name = "deployments"

    def __init__(self, context: HubContext) -> None:
        self._context = context
        self._teller = Teller()
        self.wanted: Sequence[Deployment] = ()
        """The last state known."""
        self._changed = asyncio.Event()
        self.failures = 0
        """Ticks that failed; each one is logged and the next one tries again."""

    async def run(self) -> None:
        """Run until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._follow())
            tasks.create_task(self._tell())

    async def _follow(self) -> None:
        while True:
            try:
                async with aclosing(self._context.deployments.follow()) as states:
                    async for state in states:
                        self.wanted = state
                        self._changed.set()
            except Exception:  # noqa: BLE001 - outermost loop; a watch that breaks now may work next time
                self._failed("desired state could not be read")
            await self._context.clock.sleep(TICK_S)

    async def _tell(self) -> None:
        clock = self._context.clock
        while True:
            self._changed.clear()
            try:
                await self.tick()
            except Exception:  # noqa: BLE001 - outermost loop; a directory or gateway that fails now may answer next time
                self._failed("agents could not be told what is desired")
            await first_of(self._changed.wait(), clock.sleep(TICK_S))

    async def tick(self) -> int:
        """Tell whoever has to hear something; return how many took it."""
        agents = await self._context.directory.agents()
        now_s = self._context.clock.monotonic_s()
        due = self._teller.due(self.wanted, agents, now_s)
        if not due:
            return 0
        taken = await self._context.transport.push_desired(due)
        self._teller.took(agents, {agent_id: due[agent_id] for agent_id in taken if agent_id in due}, now_s)
        return len(taken)

    def _failed(self, what: str) -> None:
        self.failures += 1
        _log.exception(what)


def create(context: HubContext) -> DeploymentsController:
    """Return the controller: the entry point ``deployments`` of ``nervure.controllers``."""
    return DeploymentsController(context)
