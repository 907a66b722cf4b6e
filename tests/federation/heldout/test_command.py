"""``nervure rounds heldout`` and its routes, over a real server on a free port, to a run that is judged on what was pushed."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from click.testing import CliRunner, Result
from tests.support.rounds_world import MODEL, World, living, rows

from nervure_core.errors import ConfigurationError, InputError, NervureError
from nervure_federation import api as rounds_api
from nervure_federation.commands.rounds import rounds
from nervure_federation.heldout import list_heldout, pack_heldout
from nervure_hub.api import create_app
from nervure_hub.api_server import ApiServer
from nervure_hub.context import QueryResult


async def no_lake(sql: str) -> QueryResult:
    raise AssertionError(sql)


@pytest.fixture
async def world(tmp_path: Path) -> World:
    world = World(tmp_path)
    await world.registry.push(world.start.folder)
    world.add_hub("home")
    return world


@pytest.fixture
async def url(world: World) -> AsyncIterator[str]:
    context = world.hubs["home"].context
    app = create_app(context, lake_query=no_lake, extra_routers=[rounds_api.create(context)])
    async with ApiServer(app, "127.0.0.1", 0) as server:
        yield server.url


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Sets of three sites in two regions, as files."""
    for index, name in enumerate(("home/porch", "home/hall", "away/port")):
        path = tmp_path / "sets" / f"{name}.npz"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(pack_heldout(*rows(1000 + index)))
    return tmp_path / "sets"


async def call(*arguments: str) -> Result:
    return await asyncio.to_thread(CliRunner().invoke, rounds, list(arguments), standalone_mode=False)


async def test_from_files_to_a_run_that_is_judged_on_them(world: World, url: str, folder: Path) -> None:
    start = ["start", "--model", MODEL, "--heldout", "demo", "--rounds", "1", "--set", "gather-s=1", "--api", url]
    refused = await call(*start)
    assert isinstance(refused.exception, InputError)
    assert "no held-out sets named 'demo'" in refused.exception.message
    assert "nervure rounds heldout push demo DIR" in refused.exception.hint
    assert "no held-out sets yet" in (await call("heldout", "list", "--api", url)).output

    pushed = await call("heldout", "push", "demo", str(folder), "--api", url)
    assert pushed.exception is None, pushed.exception
    assert "600 rows" in pushed.output
    assert "of 3 sites in 2 regions" in pushed.output
    again = await call("heldout", "push", "demo", str(folder), "--api", url, "--json")
    assert {site["site"] for site in json.loads(again.output)["sites"]} == {"porch", "hall", "port"}
    listed = (await call("heldout", "list", "--api", url)).output
    assert "away, home" in listed
    assert json.loads((await call("heldout", "list", "--api", url, "--json")).output) == {
        "heldout": [{"name": "demo", "sites": ["away/port", "home/hall", "home/porch"]}]
    }

    async with living(world, "home"):
        # No learning rate is given either: the agents take the model's own.
        result = await call(*start, "--watch", "--json")
    assert (result.exception, result.return_value) == (None, 0)
    run_id = json.loads(result.output.splitlines()[0])["run_id"]
    run = json.loads((await call("show", run_id, "--api", url, "--json")).output)
    assert run["rounds"][0]["sites"].keys() == {"home/porch", "home/hall", "away/port"}
    assert (run["spec"]["lr"], run["spec"]["batch_size"]) == (None, None)


async def test_other_sets_get_another_name(url: str, folder: Path) -> None:
    await call("heldout", "push", "demo", str(folder), "--api", url)
    (folder / "home" / "hall.npz").write_bytes(pack_heldout(*rows(5)))
    result = await call("heldout", "push", "demo", str(folder), "--api", url)
    assert isinstance(result.exception, InputError)
    assert "home/hall would change" in result.exception.message
    assert result.exception.code == "heldout-conflict"
    assert (await call("heldout", "push", "demo-2", str(folder), "--api", url)).exception is None


@pytest.mark.parametrize(
    ("arguments", "family", "said"),
    [
        (["Demo", "sets"], ConfigurationError, "'Demo' is not a name"),
        (["demo", "nowhere"], InputError, "nowhere: no such folder"),
        (["demo", "empty"], InputError, "holds no REGION/SITE.npz"),
        (["demo", "broken"], InputError, "held-out set home/bad: is no npz"),
    ],
)
async def test_mistakes_are_told_before_a_hub_is_asked(
    arguments: list[str], family: type[NervureError], said: str, folder: Path
) -> None:
    root = folder.parent
    (root / "empty").mkdir()
    (root / "broken" / "home").mkdir(parents=True)
    (root / "broken" / "home" / "bad.npz").write_bytes(b"no npz")
    result = await call("heldout", "push", arguments[0], str(root / arguments[1]), "--api", "http://127.0.0.1:9")
    assert isinstance(result.exception, family)
    assert said in str(result.exception)


GOOD = pack_heldout(*rows(1))


@pytest.mark.parametrize(
    ("name", "files", "status", "said"),
    [
        ("demo", [("home/a.npz", GOOD), ("home/b.npz", b"no npz")], 400, "held-out set home/b: is no npz"),
        ("demo", [("home/a.npz", GOOD), ("home/a.npz", GOOD)], 400, "given twice"),
        ("demo", [("home/a.txt", GOOD)], 400, "not called REGION/SITE.npz"),
        ("demo", [("../../a.npz", GOOD)], 400, "not called REGION/SITE"),
        ("..", [("home/a.npz", GOOD)], 422, "is not a name"),
        ("demo", [], 400, "files"),
    ],
)
async def test_the_hub_checks_for_itself_and_stores_nothing(
    world: World, url: str, name: str, files: list[tuple[str, bytes]], status: int, said: str
) -> None:
    async with httpx.AsyncClient(base_url=url, trust_env=False) as client:
        answer = await client.post("/v1/heldout", params={"name": name}, files=[("files", file) for file in files])
    assert answer.status_code == status, answer.text
    assert said in answer.json()["error"]["message"]
    assert await list_heldout(world.objects) == []


async def test_too_much_is_refused_before_it_is_sent(url: str) -> None:
    address = httpx.URL(url)
    reader, writer = await asyncio.open_connection(address.host, address.port)
    writer.write(b"POST /v1/heldout?name=demo HTTP/1.1\r\nHost: hub\r\nContent-Length: 1000000000\r\n\r\n")
    status = await reader.readline()
    writer.close()
    assert b" 413 " in status
