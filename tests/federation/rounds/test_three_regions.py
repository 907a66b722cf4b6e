"""Three hubs, one store, agents that train: the whole loop in one process."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tests.support.rounds_world import MODEL, World, living, small

from nervure_core.tensors import Arrays
from nervure_federation.rounds.joining import StreamingMean, order_of, unpack_arrays, with_momentum
from nervure_federation.rounds.phases import Phase
from nervure_federation.rounds.records import ModelRef, RunState
from nervure_federation.rounds.summary import run_details


@pytest.fixture
async def world(tmp_path: Path) -> World:
    world = World(tmp_path)
    await world.prepare()
    for region in ("americas", "asia", "europe"):
        world.add_hub(region)
    return world


@pytest.mark.parametrize("strategy", ["fedavg", "fedprox", "fedmedian"])
async def test_a_run_makes_the_model_better_and_publishes_it(world: World, strategy: str) -> None:
    async with living(world, "americas", "asia", "europe"):
        run_id = await world.submit(small(strategy=strategy, options={"mu": 0.01} if strategy == "fedprox" else {}))
        run = await world.until(run_id, lambda run: run.ended)

    assert run.status is not None
    assert run.status.state is RunState.FINISHED, run.status.message
    first, last = run.rounds[1], run.rounds[2]
    assert [first.phase, last.phase] == [Phase.PUBLISHED, Phase.PUBLISHED]
    assert (first.region_updates, first.agents) == (3, 6)
    assert last.base.release == first.release == 2
    assert run.status.initial is not None
    assert last.scores is not None
    assert last.scores.f1 > run.status.initial.f1
    assert set(last.scores.sites) == {"americas/site-0", "asia/site-1", "europe/site-2"}
    assert first.bytes_up_per_agent * 6 == first.bytes_up > 0

    latest = await world.registry.release(MODEL)
    assert (latest.release, latest.run_id, latest.round) == (3, run_id, 2)
    (wanted,) = await world.deployments.list()
    assert (wanted.release, wanted.bundle_id) == (3, last.bundle_id)
    row = run_details(run)["rounds"][1]
    assert row["accepted"]
    assert row["f1"] == last.scores.f1


async def test_the_leader_adds_a_share_of_the_last_step(world: World, tmp_path: Path) -> None:
    async with living(world, "americas", "asia", "europe"):
        run = await world.until(await world.submit(small(server_momentum=0.5)), lambda run: run.ended)

    async def weights(model: ModelRef) -> Arrays:
        return (await world.registry.fetch(model.bundle_id, tmp_path / str(model.release))).weights()

    start, base = await weights(run.rounds[1].base), await weights(run.rounds[2].base)
    mean = StreamingMean()
    for contribution in order_of(run.contributions[2]):
        mean.add(unpack_arrays(await world.objects.get(contribution.weights_key)), weight=contribution.examples)
    candidate = unpack_arrays(await world.objects.get(run.rounds[2].candidate_key))
    wanted = with_momentum(mean.result(), base, start, 0.5)
    assert {name: array.tobytes() for name, array in candidate.items()} == {
        name: array.tobytes() for name, array in wanted.items()
    }
    assert any(not np.array_equal(wanted[name], array) for name, array in mean.result().items())
