"""Looking at a running fleet: a sample a second, and the rounds as they end.

Rules: a hub that does not answer is passed over (it may be the one that was killed); what agents count is asked of them,
what hubs count is asked of hubs, and the last answer of a hub that dies is kept.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import Any

from nervure_federation.rounds.phases import FINAL
from nervure_simulations.fleet.agents import HostedAgents, ProcessAgents, Reading, reading
from nervure_simulations.fleet.api import HubApi, HubSilentError
from nervure_simulations.fleet.hubs import Hub, rss_mib
from nervure_simulations.fleet.recorder import Recorder
from nervure_simulations.report.model import RoundPart, Sample, Score, SiteScore

SAMPLE_EVERY_S = 1.0
STATS_EVERY = 3  # samples
ROUNDS_EVERY_S = 0.4


class Watcher:
    """Samples the fleet once a second until cancelled.

    Args:
        recorder: Gets the samples.
        hubs: By region.
        apis: Their APIs, by region.
        hosted: Agents in this process.
        processes: Agents as processes.
    """

    def __init__(
        self,
        recorder: Recorder,
        hubs: Mapping[str, Hub],
        apis: Mapping[str, HubApi],
        hosted: HostedAgents,
        processes: ProcessAgents,
    ) -> None:
        self._recorder = recorder
        self._hubs = hubs
        self._apis = apis
        self._hosted = hosted
        self._processes = processes
        self.dead: set[str] = set()
        """Regions whose hub was killed."""
        self.stats: dict[str, dict[str, Any]] = {}
        """The last counters that each hub gave."""
        self.rss_mib: dict[str, float] = {}
        """The largest resident memory seen of each hub."""

    async def run(self) -> None:
        """Sample until cancelled."""
        number = 0
        while True:
            await self.look(with_stats=number % STATS_EVERY == 0)
            self._recorder.sample(self.sample())
            number += 1
            await asyncio.sleep(SAMPLE_EVERY_S)

    async def look(self, *, with_stats: bool) -> None:
        """Ask every living hub what it knows."""
        living = [region for region in self._hubs if region not in self.dead]
        async with asyncio.TaskGroup() as group:
            for region in living:
                group.create_task(self._ask(region, with_stats=with_stats))

    async def _ask(self, region: str, *, with_stats: bool) -> None:
        api = self._apis[region]
        try:
            if self._processes.children:
                self._processes.learn(region, await api.devices(full=True))
            if with_stats:
                stats = await api.stats()
                self.stats[region] = stats
                pids = {self._hubs[region].child.pid, *(int(pid) for pid in stats["pids"])}
                self.rss_mib[region] = max(self.rss_mib.get(region, 0.0), rss_mib(pids))
        except HubSilentError:
            return

    def readings(self) -> dict[str, Reading]:
        """Return what every agent counted so far."""
        return {**{name: reading(agent) for name, agent in self._hosted.agents.items()}, **self._processes.readings()}

    def sample(self) -> Sample:
        """Return the fleet as it is now."""
        readings = list(self.readings().values())
        return Sample(
            at_s=round(self._recorder.now_s(), 3),
            produced=sum(one.produced for one in readings),
            acknowledged=sum(one.acknowledged for one in readings),
            decisions=sum(one.decisions for one in readings),
            spool_bytes=sum(one.spool_bytes for one in readings),
            connected={region: sum(one.region == region for one in readings) for region in self._hubs},
        )


async def follow_rounds(api: HubApi, run_id: str, recorder: Recorder, seen: dict[str, Any]) -> AsyncIterator[RoundPart]:
    """Yield every round when it has ended, until the run has.

    Args:
        api: Of a hub that lives on.
        run_id: The run.
        recorder: Knows when the fleet started.
        seen: Filled with the run as the API last showed it.
    """
    told = 0
    while True:
        try:
            seen.update(await api.run(run_id))
        except HubSilentError:
            await asyncio.sleep(ROUNDS_EVERY_S)  # a leader that moves makes the store slow for a moment
            continue
        ended = [row for row in seen["rounds"] if row["phase"] in FINAL]
        for row in ended[told:]:
            told += 1
            yield round_part(row, recorder)
        if seen["state"] in ("finished", "failed"):
            return
        await asyncio.sleep(ROUNDS_EVERY_S)


def round_part(row: Mapping[str, Any], recorder: Recorder) -> RoundPart:
    """Turn a round of the API into one of the report."""
    sites = {
        name: SiteScore(tp=site["tp"], fp=site["fp"], tn=site["tn"], fn=site["fn"])
        for name, site in row.get("sites", {}).items()
    }
    started_at_s = recorder.at_wall(float(row["started_at_s"]))
    return RoundPart(
        round=int(row["round"]),
        region_updates=int(row["region_updates"]),
        updates={region: int(share["agents"]) for region, share in row["regions"].items()},
        accuracy=row["accuracy"],
        f1=row["f1"],
        fpr=row["fpr"],
        worst_site_fpr=row["worst_site_fpr"],
        worst_site=str(row["worst_site"]),
        bytes_up_per_agent=float(row["bytes_up_per_agent"]),
        accepted=bool(row["accepted"]),
        reason=str(row["reason"]),
        release=int(row["release"]) if row["accepted"] else None,
        started_at_s=round(started_at_s, 3),
        ended_at_s=round(started_at_s + float(row["duration_s"]), 3),
        regions=regional(sites),
        sites=sites,
    )


def regional(sites: Mapping[str, SiteScore]) -> dict[str, Score]:
    """Sum the judge's counts by region (the part of a site's name before the slash) and return the rates."""
    sums: dict[str, list[SiteScore]] = {}
    for name, site in sites.items():
        sums.setdefault(name.partition("/")[0], []).append(site)
    scores: dict[str, Score] = {}
    for region, parts in sums.items():
        tp, fp, tn, fn = (sum(getattr(part, field) for part in parts) for field in ("tp", "fp", "tn", "fn"))
        whole = SiteScore(tp=tp, fp=fp, tn=tn, fn=fn)
        total = tp + fp + tn + fn
        scores[region] = Score(
            accuracy=(tp + tn) / total if total else 1.0,
            f1=1.0 if whole.f1 is None else whole.f1,
            fpr=whole.fpr or 0.0,
        )
    return scores
