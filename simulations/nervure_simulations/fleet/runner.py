"""Run a scenario from the first process to the report.

Order: etcd, Ray and traffic side by side -> hubs -> agents -> starting model, deployed -> rounds, with traffic going on
and the fault at its time -> traffic over, everything delivered, everybody on the latest model -> stop in order -> count
what is stored -> report.

Rules: whoever starts a thing stops it, in every way a run can end (finished, failed, Ctrl-C); each wait has a limit and
says who is missing; a part that fails is named with its log.

>>> report = await run_fleet(scenario, Path("out/demo"))  # doctest: +SKIP
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from pathlib import Path

from nervure_core.bundle import Bundle
from nervure_core.errors import WorldError
from nervure_federation.heldout import pack_heldout, put_heldout
from nervure_hub.objects import ObjectStore
from nervure_simulations.display import Display
from nervure_simulations.fleet.agents import HostedAgents, ProcessAgents, agent_config
from nervure_simulations.fleet.alone import learn_alone, prepare_alone
from nervure_simulations.fleet.api import HubApi
from nervure_simulations.fleet.counting import count_stored
from nervure_simulations.fleet.hubs import Hub, Wiring, start_hubs
from nervure_simulations.fleet.learning import HELDOUT, make_starting_bundle, round_settings
from nervure_simulations.fleet.outcome import Findings, Struck, build_report
from nervure_simulations.fleet.plan import AgentPlan, plan_fleet
from nervure_simulations.fleet.recorder import Recorder
from nervure_simulations.fleet.traffic import Traffic, history_flows, prepare_traffic
from nervure_simulations.fleet.watching import Watcher, follow_rounds
from nervure_simulations.report import Report
from nervure_simulations.scenarios import Fault, Scenario
from nervure_simulations.servers import MissingEtcdError, Supervisor, etcd_server, find_etcd
from nervure_simulations.servers.ray_node import ray_node
from nervure_simulations.sites import Site

CONNECT_WITHIN_S = 90.0
DEPLOY_WITHIN_S = 60.0
DRAIN_WITHIN_S = 60.0
LOOK_EVERY_S = 0.2


class FleetError(WorldError):
    """The fleet did not get where it should within its time."""

    code = "fleet"


async def run_fleet(
    scenario: Scenario, folder: Path, sites: list[Site], *, display: Display | None = None, command: str = ""
) -> Report:
    """Run a scenario and return what was counted.

    Args:
        scenario: What to run.
        folder: Gets everything the run leaves: logs, data of hubs and agents; emptied before (``prepare_folder``).
        sites: Where traffic is from.
        display: Shows the run.
        command: How it was called, for the report.

    Raises:
        ChildError: A process did not start, or ended by itself.
        FleetError: Something did not happen within its time.
        NervureError: What the parts raise.
    """
    recorder = Recorder(display)
    if display is not None:
        display.start(scenario)
    async with Supervisor(folder / "logs") as supervisor:
        return await _Run(scenario, folder, sites, recorder, supervisor, command).whole()


class _Run:
    """One run under way."""

    def __init__(
        self,
        scenario: Scenario,
        folder: Path,
        sites: list[Site],
        recorder: Recorder,
        supervisor: Supervisor,
        command: str,
    ) -> None:
        self._scenario = scenario
        self._folder = folder
        self._sites = sites
        self._recorder = recorder
        self._supervisor = supervisor
        self._agents: tuple[AgentPlan, ...] = plan_fleet(scenario)
        self._found = Findings(command=command)
        self._logs = folder / "logs"

    async def whole(self) -> Report:
        recorder, found = self._recorder, self._found
        traffic, bundle, wiring = await self._foundations()
        hubs = await start_hubs(self._supervisor, self._scenario, wiring)
        found.hub_ids = {region: hub.hub_id for region, hub in hubs.items()}
        gateways = sum(region.gateways for region in self._scenario.regions.values())
        recorder.phase(f"{_count(len(hubs), 'hub')} with {_count(gateways, 'gateway')} ready: {', '.join(hubs)}")
        async with AsyncExitStack() as stack:
            apis = {region: await stack.enter_async_context(HubApi(region, hub.api)) for region, hub in hubs.items()}
            hosted = await stack.enter_async_context(HostedAgents(recorder, len(self._agents)))
            processes = ProcessAgents(self._supervisor, recorder)
            watcher = Watcher(recorder, hubs, apis, hosted, processes)
            async with asyncio.TaskGroup() as group:
                watching = group.create_task(watcher.run())
                await self._start_agents(hubs, traffic, hosted, processes, watcher)
                lead = apis[self._safe_region()]
                await self._deploy(lead, bundle, watcher)
                await self._first_flows(traffic, watcher)
                await self._learn(lead, hubs, watcher, processes, group)
                recorder.phase(f"rounds are over, release {found.latest_release} is the last accepted; traffic goes on")
                comparing = group.create_task(learn_alone(self._supervisor, self._folder))
                await self._settle(watcher, lead)
                found.local_only = await comparing
                watching.cancel()
            await self._stop(watcher, hosted, processes)
        recorder.phase("counting what is stored")
        found.stored = await count_stored([hub.data for hub in hubs.values()])
        return build_report(self._scenario, self._agents, recorder, found)

    # One step each

    async def _foundations(self) -> tuple[Traffic, Bundle, Wiring]:
        """Start what hubs stand on, and prepare traffic and the starting model meanwhile."""
        scenario, folder = self._scenario, self._folder
        try:
            find_etcd()
        except MissingEtcdError as error:
            twin = True
            self._found.coordination = "the in-process twin of etcd"
            self._recorder.phase(f"{error.message}; its in-process twin coordinates instead")
        else:
            twin = False
        async with asyncio.TaskGroup() as group:
            etcd = None if twin else group.create_task(self._start_etcd())
            ray = group.create_task(ray_node(self._supervisor, twin=twin))
            preparing = group.create_task(asyncio.to_thread(self._prepare))
        traffic, bundle = preparing.result()
        self._found.sites = dict(traffic.sites)
        objects = ObjectStore.open((folder / "objects").resolve().as_uri())
        await put_heldout(
            objects,
            HELDOUT,
            {
                f"{region}/{site}": pack_heldout(*examples)
                for region, sites in traffic.heldout.items()
                for site, examples in sites.items()
            },
        )
        flows = sum(traffic.flows.values())
        judged = sum(len(y) for held in traffic.heldout.values() for _, y in held.values())
        self._recorder.phase(
            f"{self._found.coordination} and Ray are up; {flows:,} flows of {len(set(traffic.sites.values()))} sites to "
            f"replay in {scenario.traffic.replay_s:g} s, {judged:,} held out"
        )
        return traffic, bundle, Wiring(etcd.result() if etcd else "", ray.result(), folder)

    async def _start_etcd(self) -> str:
        server = await etcd_server(self._supervisor, data=self._folder / "etcd")
        self._found.coordination = f"etcd {server.version}"
        return server.endpoint

    def _prepare(self) -> tuple[Traffic, Bundle]:
        scenario = self._scenario
        traffic = prepare_traffic(
            self._agents,
            self._sites,
            self._folder / "traffic",
            start_us=int(time.time() * 1e6),
            history=scenario.traffic.history,
            history_s=scenario.traffic.history_s,
            replay_s=scenario.traffic.replay_s,
            starting_flows=scenario.learning.starting_flows,
        )
        prepare_alone(self._folder, scenario, traffic)
        return traffic, make_starting_bundle(scenario, traffic, self._folder / "start")

    async def _start_agents(
        self,
        hubs: Mapping[str, Hub],
        traffic: Traffic,
        hosted: HostedAgents,
        processes: ProcessAgents,
        watcher: Watcher,
    ) -> None:
        addresses = {region: hub.grpc for region, hub in hubs.items()}
        async with asyncio.TaskGroup() as group:
            for plan in self._agents:
                config = agent_config(
                    plan,
                    hubs=addresses,
                    table=traffic.tables[plan.agent_id].resolve(),
                    site=traffic.sites[plan.agent_id],
                    folder=(self._folder / "agents" / plan.agent_id).resolve(),
                )
                start = processes.start if plan.kind == "process" else hosted.start
                group.create_task(start(config))
        await self._wait(
            lambda: [name for name, one in watcher.readings().items() if not one.region], CONNECT_WITHIN_S, "connected"
        )
        own = sum(plan.kind == "process" for plan in self._agents)
        self._recorder.phase(f"{_count(len(self._agents), 'agent')} connected, {own} as processes of their own")

    async def _deploy(self, api: HubApi, bundle: Bundle, watcher: Watcher) -> None:
        answer = await api.push_bundle(bundle.folder, deploy=True)
        release = int(answer["model"]["release"])
        await self._wait(
            lambda: [name for name, one in watcher.readings().items() if one.release != release],
            DEPLOY_WITHIN_S,
            f"running release {release}",
        )
        self._recorder.phase(f"every agent runs the starting model, {self._scenario.learning.model} release {release}")

    async def _first_flows(self, traffic: Traffic, watcher: Watcher) -> None:
        """Wait until every agent has decided the first share of its flows: the first round learns from those."""
        first = {name: history_flows(count, self._scenario.traffic.history) for name, count in traffic.flows.items()}
        within_s = self._scenario.traffic.history_s + DEPLOY_WITHIN_S
        await self._wait(
            lambda: [name for name, one in watcher.readings().items() if one.decisions < first[name]],
            within_s,
            "through with their first flows",
        )

    async def _learn(
        self, api: HubApi, hubs: Mapping[str, Hub], watcher: Watcher, processes: ProcessAgents, group: asyncio.TaskGroup
    ) -> None:
        learning = self._scenario.learning
        run_id = await api.start_rounds(round_settings(self._scenario))
        self._recorder.phase(f"{_count(learning.rounds, 'round')} of {learning.strategy} begin")
        waiting = list(self._scenario.faults)
        async with asyncio.timeout(self._scenario.limit_s * 2):
            async for record in follow_rounds(api, run_id, self._recorder, self._found.run):
                self._recorder.round(record)
                due = [fault for fault in waiting if record.round >= math.ceil(fault.at * learning.rounds)]
                for fault in due:
                    waiting.remove(fault)
                    await self._strike(fault, hubs[fault.region], watcher, processes)
                    group.create_task(self._note_rehoming(fault, watcher))
        if self._found.run.get("state") == "failed":
            raise FleetError(
                f"the rounds failed: {self._found.run.get('message')}", hint=f"the hubs' logs are in {self._logs}"
            )
        self._found.latest_release = int(self._found.run["current"]["release"])

    async def _strike(self, fault: Fault, hub: Hub, watcher: Watcher, processes: ProcessAgents) -> None:
        await watcher.look(with_stats=True)
        pids = [int(pid) for pid in watcher.stats.get(fault.region, {}).get("pids", ())]
        watcher.dead.add(fault.region)
        at_s = self._recorder.now_s()
        killed = hub.kill(pids)
        processes.lost_hub(fault.region, at_s)
        self._found.faults.append(Struck(fault.kind, fault.region, at_s, killed))
        self._recorder.phase(f"killed the hub of {fault.region}: {killed} processes, SIGKILL", kind="fault")

    async def _note_rehoming(self, fault: Fault, watcher: Watcher) -> None:
        """Say when every agent has a session with a living hub again."""
        await self._wait(
            lambda: [name for name, one in watcher.readings().items() if one.region in ("", fault.region)],
            CONNECT_WITHIN_S,
            f"in session elsewhere after the hub of {fault.region} was killed",
            must=False,
            done=f"every agent of {fault.region} is in session with another hub",
        )

    async def _settle(self, watcher: Watcher, api: HubApi) -> None:
        """Wait until traffic is over, everything is delivered, and everybody runs the latest model."""
        latest = self._found.latest_release
        within_s = self._scenario.traffic.replay_s + DRAIN_WITHIN_S
        await self._wait(
            lambda: [name for name, one in watcher.readings().items() if not one.ended],
            within_s,
            "at their traffic's end",
        )
        await self._wait(
            lambda: [name for name, one in watcher.readings().items() if one.acknowledged < one.produced],
            DRAIN_WITHIN_S,
            "delivered everything",
            must=False,
        )
        await self._wait(
            lambda: [name for name, one in watcher.readings().items() if one.release != latest],
            DEPLOY_WITHIN_S,
            f"running release {latest}",
            must=False,
        )
        self._recorder.phase("traffic is over and every spool is empty")

    async def _stop(self, watcher: Watcher, hosted: HostedAgents, processes: ProcessAgents) -> None:
        async with asyncio.TaskGroup() as group:
            own = group.create_task(processes.stop())
            inside = group.create_task(hosted.stop())
        await watcher.look(with_stats=True)
        found = self._found
        found.readings = {**inside.result(), **own.result()}
        found.offline_decisions = dict(hosted.offline_decisions)
        found.hub_stats = dict(watcher.stats)
        found.hub_rss_mib = dict(watcher.rss_mib)
        await self._supervisor.stop()

    async def _wait(
        self, missing: Callable[[], list[str]], within_s: float, what: str, *, must: bool = True, done: str = ""
    ) -> None:
        """Wait until nobody is missing, then say so.

        Raises:
            FleetError: Somebody still is after ``within_s`` seconds, and everybody must be there.
        """
        deadline_s = self._recorder.now_s() + within_s
        while left := missing():
            if self._recorder.now_s() > deadline_s:
                names = ", ".join(sorted(left)[:5]) + (f" and {len(left) - 5} more" if len(left) > 5 else "")
                text = f"{_count(len(left), 'agent')} not {what} within {within_s:.0f} s: {names}"
                if must:
                    raise FleetError(text, hint=f"the logs are in {self._logs}")
                self._recorder.phase(text, kind="late")
                return
            await asyncio.sleep(LOOK_EVERY_S)
        if done:
            self._recorder.phase(done, kind="recovery")

    def _safe_region(self) -> str:
        """Return a region whose hub nobody is going to kill: the runner talks to that one."""
        struck = {fault.region for fault in self._scenario.faults}
        return next(region for region in self._scenario.regions if region not in struck)


def _count(number: int, thing: str) -> str:
    return f"{number} {thing}" + ("" if number == 1 else "s")
