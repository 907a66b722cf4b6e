"""Whoever dies, at whatever step: the run ends, nothing is done twice, and the weights come out the same."""

from __future__ import annotations

import asyncio
import dataclasses
from pathlib import Path
from typing import Any

import pytest
from tests.support.rounds_world import MODEL, Hub, World, living, small

from nervure_core.messages import TaskOrder
from nervure_federation.rounds.leader import LeaderRounds
from nervure_federation.rounds.ledger import Run
from nervure_federation.rounds.phases import Phase
from nervure_federation.rounds.records import RoundRecord, RunState, RunStatus
from nervure_hub.coordination import Coordination, FencedOut, Leadership

REGIONS = ("americas", "asia", "europe")


@pytest.fixture
async def world(tmp_path: Path) -> World:
    return await make_world(tmp_path)


async def make_world(folder: Path, *, agents: int = 2) -> World:
    world = World(folder)
    await world.prepare()
    for region in REGIONS:
        world.add_hub(region, agents=agents)
    return world


class Stopping:
    """A coordination store whose user stops dead right before or right after one fenced write."""

    def __init__(self, store: Coordination, phase: Phase, *, after: bool) -> None:
        self._store = store
        self._phase = phase
        self._after = after
        self.stopped = asyncio.Event()
        self.leadership: Leadership | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def put_fenced(self, key: str, value: bytes, leadership: Leadership) -> int:
        hit = b'"phase"' in value and RoundRecord.model_validate_json(value).phase is self._phase
        revision = 0
        if not hit or self._after:
            revision = await self._store.put_fenced(key, value, leadership)
        if hit:
            self.leadership = leadership
            self.stopped.set()
            await asyncio.Event().wait()
        return revision


def leader(hub: Hub, name: str, store: Coordination | Any | None = None) -> LeaderRounds:
    context = dataclasses.replace(hub.context, hub_id=name, coordination=store or hub.context.coordination)
    return LeaderRounds(context, ttl_s=1.0)


async def last_candidate(world: World) -> tuple[Run, str]:
    """A run of two rounds without any fault."""
    async with living(world, *REGIONS):
        run_id = await world.submit(small(server_momentum=0.5))
        run = await world.until(run_id, lambda run: run.ended)
    return run, run.rounds[2].candidate_key


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize(
    "phase",
    [Phase.SELECTED, Phase.DISPATCHED, Phase.COLLECTING, Phase.AGGREGATED, Phase.JUDGED, Phase.PUBLISHED],
)
async def test_a_leader_that_dies_at_any_step_is_replaced(
    world: World, tmp_path: Path, phase: Phase, *, after: bool
) -> None:
    stopping = Stopping(world.coordination, phase, after=after)
    async with asyncio.TaskGroup() as group:
        for region in REGIONS:
            world.up(group, region, lead=False)
        first = group.create_task(leader(world.hubs["europe"], "first", stopping).run())
        # With momentum, so that the step before belongs to what has to be found again.
        run_id = await world.submit(small(server_momentum=0.5))
        async with asyncio.timeout(30):
            await stopping.stopped.wait()
        first.cancel()
        second = group.create_task(leader(world.hubs["asia"], "second").run())
        run = await world.until(run_id, lambda run: run.ended)
        second.cancel()
        for hub in world.hubs.values():
            assert hub.task is not None
            hub.task.cancel()

    assert run.status is not None
    assert (run.status.state, run.status.leader) == (RunState.FINISHED, "second")
    assert {number: record.phase for number, record in run.rounds.items()} == dict.fromkeys((1, 2), Phase.PUBLISHED)
    # Every round became one release: nothing was done twice, nothing was left out.
    assert [release.round for release in await world.registry.releases(MODEL)] == [0, 1, 2]
    # And bit for bit what an undisturbed run makes.
    _, undisturbed = await last_candidate(await make_world(tmp_path / "undisturbed"))
    assert run.rounds[2].candidate_key == undisturbed


async def test_a_leader_that_wakes_up_too_late_changes_nothing(world: World) -> None:
    stopping = Stopping(world.coordination, Phase.JUDGED, after=False)
    async with asyncio.TaskGroup() as group:
        for region in REGIONS:
            world.up(group, region, lead=False)
        sleeper = group.create_task(leader(world.hubs["europe"], "sleeper", stopping).run())
        run_id = await world.submit(small(rounds=1))
        async with asyncio.timeout(30):
            await stopping.stopped.wait()
        assert stopping.leadership is not None
        # Its election key goes, as with a lease that ran out while the process was paused.
        await world.coordination.delete(stopping.leadership.key)
        other = group.create_task(leader(world.hubs["asia"], "other").run())
        run = await world.until(run_id, lambda run: run.ended)
        with pytest.raises(FencedOut):
            await world.coordination.put_fenced(
                f"/nervure/runs/{run_id}/status", RunStatus(run_id=run_id).to_bytes(), stopping.leadership
            )
        sleeper.cancel()
        other.cancel()
        for hub in world.hubs.values():
            assert hub.task is not None
            hub.task.cancel()
    assert run.status is not None
    assert run.status.leader == "other"


async def test_a_region_that_vanishes_in_mid_round_does_not_hang_the_run(world: World) -> None:
    begun = asyncio.Event()

    async def stuck(_: TaskOrder) -> bytes:
        begun.set()
        await asyncio.Event().wait()
        return b""

    for agent in ("europe-0", "europe-1"):
        world.hubs["europe"].fleet.leave(agent)
        world.hubs["europe"].fleet.join(agent, stuck, model=MODEL)
    async with living(world, "americas", "asia") as group:
        europe = world.up(group, "europe", lead=False)
        run_id = await world.submit(small(deadline_s=600, gather_s=0))
        async with asyncio.timeout(30):
            await begun.wait()
        await europe.kill()
        run = await world.until(run_id, lambda run: run.ended)

    assert run.status is not None
    assert run.status.state is RunState.FINISHED
    assert (run.rounds[1].region_updates, run.rounds[2].region_updates) == (2, 2)
    assert run.rounds[1].absent == ("europe/hub-europe: no contribution, its hub is gone or was too late",)
    assert [hub.region for hub in run.rounds[2].participants] == ["americas", "asia"]
    assert run.rounds[1].accepted


async def test_the_hub_that_leads_is_killed_with_its_region(world: World) -> None:
    async with living(world, *REGIONS):
        run_id = await world.submit(small(rounds=4))
        run = await world.until(run_id, lambda run: 1 in run.rounds and run.rounds[1].final)
        assert run.status is not None
        first = next(hub for hub in world.hubs.values() if hub.context.hub_id == run.status.leader)
        await first.kill()
        run = await world.until(run_id, lambda run: run.ended)
    assert run.status is not None
    assert run.status.state is RunState.FINISHED
    assert run.status.leader != first.context.hub_id
    assert sorted(run.rounds) == [1, 2, 3, 4]
    assert run.rounds[4].region_updates == 2
    assert all(record.phase is Phase.PUBLISHED for record in run.rounds.values())
