"""What every agent sees: its site's flows, put on one time line and spread over the run.

Rules:

- A site's own split by time holds: agents see flows before the cut only, the judge gets those after it.
- Features depend on the order and content of flows, not on when they come; so flows may be moved in time (``retimed``)
  without changing what a model sees.
- Where there are fewer sites than agents, agents share a site: each gets a stretch of its time, so no flow is seen twice.
- Same scenario, same flows, same split.

>>> traffic = prepare_traffic(scenario, plan_fleet(scenario), load_sites(), Path("out/traffic"))  # doctest: +SKIP
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from nervure_core.errors import InputError
from nervure_edge.network.dataset import features_of
from nervure_edge.network.flow import Flow
from nervure_edge.network.records.flow_table import write_table
from nervure_simulations.fleet.plan import AgentPlan
from nervure_simulations.sites import Site
from nervure_simulations.sites.heldout import Examples
from nervure_simulations.sites.starting import starting_sample

LEAST_FLOWS = 20  # fewer than this say nothing about a site


@dataclass(frozen=True, slots=True)
class Stretch:
    """A part of a site's time that one agent sees: the ``part``-th of ``parts``."""

    site: Site
    part: int
    parts: int


@dataclass(frozen=True, slots=True)
class Traffic:
    """What was prepared.

    Attributes:
        tables: The flow table that each agent replays.
        sites: Each agent's site.
        flows: How many flows each agent's table holds.
        heldout: Held-out examples by region and site.
        start: Examples for the starting model.
        start_region: The region those are from.
    """

    tables: Mapping[str, Path]
    sites: Mapping[str, str]
    flows: Mapping[str, int]
    heldout: Mapping[str, Mapping[str, Examples]]
    start: Examples
    start_region: str


def assign_sites(agents: Sequence[AgentPlan], sites: Sequence[Site]) -> dict[str, Stretch]:
    """Give every agent a site, or a stretch of one: sites of its own region first, then those that nobody has.

    Raises:
        InputError: There is no site at all.
    """
    if not sites:
        raise InputError("there are no sites for the agents to own")
    regions = {agent.home for agent in agents}
    spare = [site for site in sites if site.region not in regions]
    owners: dict[str, list[str]] = {}
    by_name = {site.name: site for site in sites}
    for region in dict.fromkeys(agent.home for agent in agents):
        here = [agent for agent in agents if agent.home == region]
        local = [site for site in sites if site.region == region]
        while len(local) < len(here) and spare:
            local.append(spare.pop(0))
        local = local or list(sites)
        for index, agent in enumerate(here):
            owners.setdefault(local[index % len(local)].name, []).append(agent.agent_id)
    return {
        agent_id: Stretch(by_name[name], part, len(ids))
        for name, ids in owners.items()
        for part, agent_id in enumerate(ids)
    }


def retimed(flows: Sequence[Flow], *, start_us: int, history: float, history_s: float, replay_s: float) -> list[Flow]:
    """Move flows in time: the first ``history`` share within ``history_s``, the others evenly until ``replay_s`` later.

    Args:
        flows: In the order in which they ended, which is kept.
        start_us: When the replay begins, microseconds since the Unix epoch.
        history: Share that comes first and fast, 0 to 1.
        history_s: Over how long that share is spread, seconds.
        replay_s: Over how long the others are spread, seconds.
    """
    first = history_flows(len(flows), history)
    moved: list[Flow] = []
    for index, flow in enumerate(flows):
        if index < first:
            offset_s = index / first * history_s
        else:
            offset_s = history_s + (index - first + 1) / (len(flows) - first) * replay_s
        # A microsecond apart at least: the order of a table is the order of its ends.
        moved.append(replace(flow, start_us=start_us + index + int(offset_s * 1e6) - flow.dur_us))
    return moved


def history_flows(flows: int, history: float) -> int:
    """Return how many of an agent's flows come first and fast."""
    return int(flows * history)


def prepare_traffic(
    agents: Sequence[AgentPlan],
    sites: Sequence[Site],
    folder: Path,
    *,
    start_us: int,
    history: float,
    history_s: float,
    replay_s: float,
    starting_flows: int,
) -> Traffic:
    """Write every agent's table and compute the held-out and the starting examples.

    Args:
        agents: The fleet.
        sites: Where traffic is from.
        folder: Gets one table an agent; made if absent.
        start_us: When the replay begins, microseconds since the Unix epoch.
        history: Share of each table that comes first and fast.
        history_s: Over how long that share is spread.
        replay_s: Over how long the rest is spread.
        starting_flows: So many flows of every site of one region make the starting model.

    Raises:
        InputError: A site's table is damaged, or too small to be shared by its agents.
        WorldError: A table can't be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    stretches = assign_sites(agents, sites)
    homes = {agent.agent_id: agent.home for agent in agents}
    tables: dict[str, Path] = {}
    counts: dict[str, int] = {}
    heldout: dict[str, dict[str, Examples]] = {}
    starts: dict[str, list[Examples]] = {}
    for site, owners in _by_site(stretches).items():
        flows = site.flows()
        data = features_of(flows)
        region = homes[owners[0][0]]
        heldout.setdefault(region, {})[site.name] = (data.x[site.train_rows :], data.y[site.train_rows :])
        starts.setdefault(region, []).append((data.x[: site.train_rows], data.y[: site.train_rows]))
        for agent_id, stretch in owners:
            own = _part(flows[: site.train_rows], stretch)
            tables[agent_id] = folder / f"{agent_id}.csv.gz"
            counts[agent_id] = write_table(
                tables[agent_id],
                retimed(own, start_us=start_us, history=history, history_s=history_s, replay_s=replay_s),
            )
    start_region, start = starting_sample(starts, starting_flows)
    return Traffic(
        tables=tables,
        sites={agent_id: stretch.site.name for agent_id, stretch in stretches.items()},
        flows=counts,
        heldout=heldout,
        start=start,
        start_region=start_region,
    )


def _by_site(stretches: Mapping[str, Stretch]) -> dict[Site, list[tuple[str, Stretch]]]:
    found: dict[Site, list[tuple[str, Stretch]]] = {}
    for agent_id, stretch in stretches.items():
        found.setdefault(stretch.site, []).append((agent_id, stretch))
    return found


def _part(flows: Sequence[Flow], stretch: Stretch) -> Sequence[Flow]:
    size = len(flows) / stretch.parts
    own = flows[round(stretch.part * size) : round((stretch.part + 1) * size)]
    if len(own) < LEAST_FLOWS:
        raise InputError(
            f"site {stretch.site.name} has {len(flows)} flows for {stretch.parts} agents: too few to be shared",
            hint="give fewer agents, or sites with more flows",
        )
    return own
