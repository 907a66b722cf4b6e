"""What runs do besides the plain case: baselines, refused candidates, agents that are missing, models that can't train."""

from __future__ import annotations

import asyncio
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.support.rounds_world import MODEL, World, living, npz, rows, small

from nervure_core.bundle import Lineage, with_new_weights, write_bundle
from nervure_core.codec import decode_content, encode_content
from nervure_core.messages import TaskOrder
from nervure_core.tensors import TaskContent
from nervure_federation.heldout import NoHeldout
from nervure_federation.rounds.phases import Phase
from nervure_federation.rounds.records import RunState
from nervure_federation.rounds.submitting import RunMissing, all_runs, find
from nervure_federation.rounds.workshop import NotTrainable
from nervure_hub.registry import ModelMissing

REGIONS = ("americas", "asia", "europe")


@pytest.fixture
async def world(tmp_path: Path) -> World:
    world = World(tmp_path)
    await world.prepare()
    for region in REGIONS:
        world.add_hub(region)
    return world


async def test_the_baseline_says_what_agents_reach_alone(world: World) -> None:
    orders: list[tuple[int, int]] = []
    fleet = world.hubs["europe"].fleet
    answer = fleet.answer_of("europe-0")

    async def noting(order: TaskOrder) -> bytes:
        orders.append((order.round, int(decode_content(order.content).configs["config"]["epochs"])))  # type: ignore[arg-type]
        return await answer(order)

    fleet.leave("europe-0")
    fleet.join("europe-0", noting, model=MODEL, examples=60)
    async with living(world, *REGIONS):
        run_id = await world.submit(small(baseline_local=True))
        run = await world.until(run_id, lambda run: run.ended)
    assert run.status is not None
    local = run.status.local_only
    assert local is not None
    assert local.agents == 6
    assert local.f1_min <= local.f1_mean <= local.f1_max
    assert 0.0 < local.accuracy_mean <= 1.0
    # As long alone as in all rounds together, from the same start, and nothing of it is published.
    assert orders == [(0, 4), (1, 2), (2, 2)]
    assert (run.rounds[0].phase, run.rounds[0].kind) == (Phase.KEPT, "local")
    assert run.rounds[0].base == run.rounds[1].base
    assert [release.release for release in await world.registry.releases(MODEL)] == [1, 2, 3]


async def test_a_candidate_that_is_worse_is_refused_and_the_model_stays(world: World) -> None:
    async def wrecking(order: TaskOrder) -> bytes:
        arrays: dict[str, Any] = dict(decode_content(order.content).arrays["arrays"])
        turned = {name: (-5 * array + 1).astype(np.float32) for name, array in arrays.items()}
        return encode_content(TaskContent({"arrays": turned}, {"metrics": {"num-examples": 10_000, "train-loss": 0.0}}))

    fleet = world.hubs["europe"].fleet
    async with living(world, *REGIONS):
        run_id = await world.submit(small(rounds=1))
        good = await world.until(run_id, lambda run: run.ended)
        for agent in ("europe-0", "europe-1"):
            fleet.leave(agent)
            fleet.join(agent, wrecking, model=MODEL, examples=100)
        run_id = await world.submit(small(rounds=1))
        run = await world.until(run_id, lambda run: run.ended)
    record = run.rounds[1]
    assert (record.phase, record.accepted, record.release) == (Phase.KEPT, False, 0)
    assert "below the current" in record.reason or "above the worst" in record.reason
    assert run.status is not None
    assert run.status.state is RunState.FINISHED
    assert run.status.current == run.status.base == record.base
    assert record.base.bundle_id == good.rounds[1].bundle_id
    (wanted,) = await world.deployments.list()
    assert wanted.release == 2


async def test_liars_are_named_in_the_record(world: World) -> None:
    async def lying(order: TaskOrder) -> bytes:
        arrays = decode_content(order.content).arrays["arrays"]
        nans = {name: np.full_like(array, np.nan) for name, array in arrays.items()}
        return encode_content(TaskContent({"arrays": nans}, {"metrics": {"num-examples": 10}}))

    fleet = world.hubs["asia"].fleet
    fleet.join("liar", lying, model=MODEL, examples=10)
    async with living(world, *REGIONS):
        run_id = await world.submit(small(rounds=1))
        run = await world.until(run_id, lambda run: run.ended)
    (refused,) = run.rounds[1].refused
    assert (refused.agent, refused.rule) == ("liar", "finite")
    assert run.rounds[1].accepted
    assert run.rounds[1].regions["asia"].refused == 1
    assert run.rounds[1].agents == 6


async def test_a_region_without_agents_sits_out_and_says_so(world: World) -> None:
    fleet = world.hubs["asia"].fleet
    for agent in ("asia-0", "asia-1"):
        fleet.leave(agent)
    async with living(world, *REGIONS):
        run_id = await world.submit(small(rounds=1, gather_s=0))
        run = await world.until(run_id, lambda run: run.ended)
    assert run.rounds[1].region_updates == 2
    assert run.rounds[1].absent == ("asia/hub-asia: abstained: 0 eligible agents, 1 needed",)


async def test_a_run_with_nobody_to_train_fails_with_the_reason(world: World) -> None:
    async with living(world, "americas"):
        for agent in ("americas-0", "americas-1"):
            world.hubs["americas"].fleet.leave(agent)
        run_id = await world.submit(small(rounds=9, gather_s=0, max_failed_rounds=1))
        run = await world.until(run_id, lambda run: run.ended)
    assert run.status is not None
    assert run.status.state is RunState.FAILED
    assert "2 rounds failed in a row" in run.status.message
    assert "0 eligible agents" in run.status.message
    assert sorted(run.rounds) == [1, 2]
    assert {record.phase for record in run.rounds.values()} == {Phase.FAILED}


async def test_without_a_judge_every_candidate_is_published_and_says_so(world: World) -> None:
    async with living(world, *REGIONS):
        run_id = await world.submit(small(rounds=1, judge=None, join="equal", evaluate=True))
        run = await world.until(run_id, lambda run: run.ended)
    record = run.rounds[1]
    assert (record.phase, record.scores) == (Phase.PUBLISHED, None)
    assert "unjudged" in record.reason
    assert run.status is not None
    assert run.status.initial is None
    evaluation = run.contributions[1][0].evaluation
    assert (evaluation["tp"], evaluation["fn"]) == (2.0, 8.0)


async def test_a_second_run_of_one_model_starts_from_what_the_first_made(world: World) -> None:
    async with living(world, *REGIONS):
        ids = [await world.submit(small(seed=seed, judge=None)) for seed in (1, 2)]
        first, second = [await world.until(run_id, lambda run: run.ended) for run_id in ids]
    assert [run.status.state for run in (first, second) if run.status] == [RunState.FINISHED] * 2
    assert (first.rounds[1].base.release, second.rounds[1].base.release) == (1, 3)
    made = [(release.release, release.run_id, release.round) for release in await world.registry.releases(MODEL)]
    assert made[1:] == [(2, ids[0], 1), (3, ids[0], 2), (4, ids[1], 1), (5, ids[1], 2)]


async def test_what_can_not_begin_is_refused_at_once(world: World, tmp_path: Path) -> None:
    with pytest.raises(ModelMissing, match="'nothing' is not in the registry"):
        await world.submit(small(model="nothing"))
    with pytest.raises(NoHeldout, match="heldout/other/"):
        await world.submit(small(judge={"heldout": "other"}))
    bundle = world.start
    files = {name: bundle.path(name).read_bytes() for name in bundle.manifest.files if name != "train.onnx"}
    plain = bundle.manifest.model_copy(update={"name": "plain"})
    await world.registry.push(write_bundle(tmp_path / "plain", plain, files).folder)
    with pytest.raises(NotTrainable, match=r"model plain release 1 has no train\.onnx"):
        await world.submit(small(model="plain"))
    assert await all_runs(world.coordination) == []
    with pytest.raises(RunMissing, match="'run-0' is not known"):
        await find(world.coordination, "run-0")


async def test_heldout_sets_that_do_not_fit_fail_the_run(world: World) -> None:
    x, y = rows(1)
    await world.objects.put_named("heldout/narrow/europe/site.npz", npz((x[:, :2], y)))
    await world.objects.put_named("heldout/broken/europe/site.npz", b"no npz")
    async with living(world, *REGIONS):
        narrow = await world.submit(small(judge={"heldout": "narrow"}))
        broken = await world.submit(small(judge={"heldout": "broken"}))
        first = await world.until(narrow, lambda run: run.ended)
        second = await world.until(broken, lambda run: run.ended)
    assert first.status is not None
    assert second.status is not None
    assert (first.status.state, second.status.state) == (RunState.FAILED, RunState.FAILED)
    assert "rows of shape (2,)" in first.status.message
    assert "is no npz with x and y" in second.status.message


async def test_a_release_pushed_by_hand_meanwhile_is_not_overwritten(world: World, tmp_path: Path) -> None:
    begun, pushed = asyncio.Event(), asyncio.Event()
    fleet = world.hubs["europe"].fleet
    answer = fleet.answer_of("europe-0")

    async def waiting(order: TaskOrder) -> bytes:
        begun.set()
        await pushed.wait()
        return await answer(order)

    fleet.leave("europe-0")
    fleet.join("europe-0", waiting, model=MODEL, examples=60)
    by_hand = with_new_weights(world.start, tmp_path / "hand", {}, release=2, lineage=Lineage(note="by hand"))
    async with living(world, *REGIONS):
        run_id = await world.submit(small(rounds=1))
        async with asyncio.timeout(30):
            await begun.wait()
        await world.registry.push(by_hand.folder)
        pushed.set()
        run = await world.until(run_id, lambda run: run.ended)
    assert run.rounds[1].release == 3
    assert [(release.release, release.note) for release in await world.registry.releases(MODEL)] == [
        (1, world.start.manifest.lineage.note),
        (2, "by hand"),
        (3, ""),
    ]


async def test_rounds_keep_the_pace_they_are_asked_for(world: World) -> None:
    async with living(world, *REGIONS):
        run_id = await world.submit(small(interval_s=0.3))
        run = await world.until(run_id, lambda run: run.ended)
    starts = [run.rounds[number].started_at_s for number in sorted(run.rounds)]
    # A lower bound only: the wall clock that stamps and the clock that waits may differ by a tick.
    assert all(after - before > 0.29 for before, after in pairwise(starts))
