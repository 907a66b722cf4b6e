"""Who is in the fleet: agents with names, homes, kinds, and the order in which each tries the hubs.

Rules: pure and deterministic: the same scenario gives the same fleet. An agent tries its home hub first; the other
hubs follow in an order that differs from agent to agent, so that those of a dead hub spread over the living ones.

>>> from nervure_simulations.scenarios import load_scenario
>>> fleet = plan_fleet(load_scenario("three-regions"))
>>> fleet[10].agent_id, fleet[10].kind, fleet[10].hub_order
('europe-01', 'process', ('europe', 'asia', 'americas'))
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from nervure_simulations.scenarios import Scenario

AgentKind = Literal["process", "in-process"]


@dataclass(frozen=True, slots=True)
class AgentPlan:
    """One agent before it starts.

    Args:
        agent_id: Unique in the fleet.
        home: Its region.
        kind: A process of its own, or hosted by the runner.
        hub_order: Regions in the order in which it tries their hubs.
    """

    agent_id: str
    home: str
    kind: AgentKind
    hub_order: tuple[str, ...]


def plan_fleet(scenario: Scenario) -> tuple[AgentPlan, ...]:
    """Return the agents of a scenario, region by region."""
    regions = list(scenario.regions)
    plans: list[AgentPlan] = []
    for at, (home, region) in enumerate(scenario.regions.items()):
        others = regions[at + 1 :] + regions[:at]
        for number in range(region.agents):
            turn = number % max(len(others), 1)
            plans.append(
                AgentPlan(
                    agent_id=f"{home}-{number + 1:02d}",
                    home=home,
                    kind="process" if number < region.agent_processes else "in-process",
                    hub_order=(home, *others[turn:], *others[:turn]),
                )
            )
    return tuple(plans)
