"""The routes and the commands about rounds, over a real server on a free port."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from tests.support.rounds_world import MODEL, World, living

from nervure_federation import api as rounds_api
from nervure_hub.api import create_app
from nervure_hub.context import QueryResult

REGIONS = ("americas", "asia", "europe")


async def no_lake(sql: str) -> QueryResult:
    raise AssertionError(sql)


@pytest.fixture
async def world(tmp_path: Path) -> World:
    world = World(tmp_path)
    await world.prepare()
    for region in REGIONS:
        world.add_hub(region)
    return world


@pytest.fixture
async def client(world: World) -> AsyncIterator[httpx.AsyncClient]:
    context = world.hubs["europe"].context
    app = create_app(context, lake_query=no_lake, extra_routers=[rounds_api.create(context)])
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://hub") as client:
        yield client


QUICK = {"model": MODEL, "rounds": 2, "epochs": 1, "lr": 0.05, "gather_s": 1, "deadline_s": 20}


async def test_a_run_from_asking_to_its_rounds(world: World, client: httpx.AsyncClient) -> None:
    assert (await client.get("/v1/rounds")).json() == {"runs": []}
    started = await client.post("/v1/rounds", json=QUICK)
    assert started.status_code == 201
    run_id = started.json()["run_id"]
    (waiting,) = (await client.get("/v1/rounds")).json()["runs"]
    assert (waiting["run_id"], waiting["state"], waiting["submitted_in"]) == (run_id, "waiting", "europe")
    async with living(world, *REGIONS):
        await world.until(run_id, lambda run: run.ended)
    run = (await client.get(f"/v1/rounds/{run_id}")).json()
    assert run["state"] == "finished"
    assert [row["round"] for row in run["rounds"]] == [1, 2]
    for row in run["rounds"]:
        assert {"region_updates", "accuracy", "f1", "fpr", "worst_site_fpr", "bytes_up_per_agent", "accepted"} <= set(
            row
        )
        assert row["accepted"]
        assert row["region_updates"] == 3
        assert row["sites"]["asia/site-1"]["tp"] > 0
    assert run["latest"]["f1"] == run["rounds"][1]["f1"]
    assert run["current"]["release"] == 3


async def test_a_recipe_is_changed_by_settings(client: httpx.AsyncClient) -> None:
    run_id = (await client.post("/v1/rounds", json={"recipe": "fedprox", **QUICK})).json()["run_id"]
    spec = (await client.get(f"/v1/rounds/{run_id}")).json()["spec"]
    assert (spec["strategy"], spec["options"], spec["rounds"]) == ("fedprox", {"mu": 0.01}, 2)
    assert "demo" in (await client.get("/v1/recipes")).json()


@pytest.mark.parametrize(
    ("body", "status", "said"),
    [
        ({"model": MODEL, "rouns": 3}, 422, "rouns: unknown key"),
        ({"recipe": "nope"}, 422, "no recipe named 'nope'"),
        ({"model": "absent"}, 404, "'absent' is not in the registry"),
        ({"model": MODEL, "judge": {"heldout": "none"}}, 400, "no held-out sets named 'none'"),
        ([1], 400, ""),
    ],
)
async def test_mistakes_have_one_form(client: httpx.AsyncClient, body: object, status: int, said: str) -> None:
    answer = await client.post("/v1/rounds", json=body)
    assert answer.status_code == status, answer.text
    assert said in answer.json()["error"]["message"]
    assert (await client.get("/v1/rounds/run-0")).status_code == 404
