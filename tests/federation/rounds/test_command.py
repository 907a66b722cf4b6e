"""``nervure rounds`` against a real server on a free port."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from tests.support.rounds_world import MODEL, World, living

from nervure_core.errors import ConfigurationError, InputError, WorldError
from nervure_federation import api as rounds_api
from nervure_federation.commands.rounds import rounds
from nervure_hub.api import create_app
from nervure_hub.api_server import ApiServer
from nervure_hub.context import QueryResult

REGIONS = ("americas", "asia", "europe")
SETTINGS = ["--rounds", "2", "--epochs", "1", "--lr", "0.05", "--set", "gather-s=1", "--deadline", "20"]


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
async def url(world: World) -> AsyncIterator[str]:
    context = world.hubs["asia"].context
    app = create_app(context, lake_query=no_lake, extra_routers=[rounds_api.create(context)])
    async with ApiServer(app, "127.0.0.1", 0) as server:
        yield server.url


async def call(*arguments: str) -> Result:
    return await asyncio.to_thread(CliRunner().invoke, rounds, list(arguments), standalone_mode=False)


async def test_start_watch_list_and_show(world: World, url: str) -> None:
    assert "no runs yet" in (await call("list", "--api", url)).output
    async with living(world, *REGIONS):
        result = await call("start", "--model", MODEL, *SETTINGS, "--watch", "--json", "--api", url)
    assert (result.exception, result.return_value) == (None, 0)
    changes = [json.loads(line) for line in result.output.splitlines()]
    # That it finished is the last thing said.
    assert (changes[-1]["event"], changes[-1]["state"]) == ("run", "finished")
    run_id = changes[0]["run_id"]

    listed = (await call("list", "--api", url)).output
    assert run_id in listed
    assert "2/2" in listed
    shown = (await call("show", run_id, "--api", url)).output
    assert shown.count("published") == 2
    assert "finished" in shown
    data = json.loads((await call("show", run_id, "--api", url, "--json")).output)
    assert data["rounds"][1]["f1"] == data["latest"]["f1"]
    # Without a terminal a watch prints lines, and ends with the run.
    watched = await call("watch", "--api", url)
    assert watched.return_value == 0
    assert f"{run_id} round 2 published F1" in watched.output


async def test_a_failed_run_is_exit_code_1(world: World, url: str) -> None:
    arguments = [
        "--model",
        MODEL,
        "--no-judge",
        "--min-regions",
        "5",
        "--set",
        "gather-s=0",
        "--set",
        "max-failed-rounds=0",
    ]
    async with living(world, "asia"):
        result = await call("start", *arguments, "--watch", "--api", url)
    assert result.return_value == 1
    assert "failed" in result.output
    assert "1 rounds failed in a row, the last: 1 regions have a hub, 5 are needed" in result.output


@pytest.mark.parametrize(
    ("arguments", "family", "said"),
    [
        (["start"], ConfigurationError, "no model was named"),
        (["start", "--model", "Bad Name"], ConfigurationError, "is not a name"),
        (["start", "--model", "m", "--rounds", "0"], ConfigurationError, "rounds: found 0"),
        (["start", "--model", "m", "--option", "mu"], ConfigurationError, "is not KEY=VALUE"),
        (["start", "--model", "m", "--set", "x=["], ConfigurationError, "the value is not YAML"),
        (["start", "--model", "m", "--set", "nope=1"], ConfigurationError, "nope: unknown key"),
        (["start", "--model", "m", "--no-judge", "--heldout", "h"], ConfigurationError, "contradict"),
        (["start", "--recipe", "nope", "--model", "m"], ConfigurationError, "no recipe named 'nope'"),
        (["start", "a.yaml", "--recipe", "demo"], ConfigurationError, "two recipes"),
        (["start", "absent.yaml", "--model", "m"], InputError, "No such file"),
        (["list", "--api", "localhost"], ConfigurationError, "is not a URL"),
        (["list", "--api", "http://127.0.0.1:9"], WorldError, "no hub answers"),
    ],
)
async def test_mistakes_are_one_clear_error(arguments: list[str], family: type[Exception], said: str) -> None:
    result = await call(*arguments)
    assert isinstance(result.exception, family), result.exception
    assert said in str(result.exception)


async def test_the_hubs_own_words_reach_the_user(url: str) -> None:
    result = await call("start", "--model", "absent", "--api", url)
    assert isinstance(result.exception, InputError)
    assert "'absent' is not in the registry" in str(result.exception)
    result = await call("show", "run-0", "--api", url)
    assert "'run-0' is not known" in str(result.exception)


def test_importing_the_command_and_the_controllers_imports_no_flower() -> None:
    code = (
        "import sys, nervure_federation.commands.rounds;"
        "assert not {'flwr', 'ray', 'rich', 'fastapi', 'onnxruntime'} & sys.modules.keys(), 'command';"
        "import nervure_federation.rounds.region, nervure_federation.rounds.leader, nervure_federation.api;"
        "assert not {'flwr', 'ray'} & sys.modules.keys(), 'controllers'"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
