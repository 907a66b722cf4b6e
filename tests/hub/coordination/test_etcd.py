"""What only a real etcd can show: processes that die, a server that restarts, hangs, compacts or isn't there."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing, asynccontextmanager
from pathlib import Path

import pytest
from etcd3aio import Etcd3Client
from tests.support.etcd import EtcdServer, etcd_binary

from nervure_core.errors import ConfigurationError, WorldError
from nervure_hub.coordination import Compacted, FencedOut, Leadership, StoreUnreachable, follow, open_coordination
from nervure_hub.coordination.etcd import EtcdCoordination, parse_endpoints

pytestmark = [pytest.mark.etcd, pytest.mark.skipif(etcd_binary() is None, reason="no etcd program here")]

LEADER = """
import asyncio, sys
from nervure_hub.coordination import open_coordination

async def main():
    store = open_coordination("etcd://" + sys.argv[1])
    async with store.campaign(sys.argv[2], "doomed", 1.0) as leadership:
        print(leadership.epoch, flush=True)
        await asyncio.Event().wait()

asyncio.run(main())
"""


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[EtcdServer]:
    with EtcdServer.start(tmp_path) as server:
        yield server


@asynccontextmanager
async def leader_process(endpoint: str, name: str) -> AsyncGenerator[tuple[asyncio.subprocess.Process, int]]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", LEADER, endpoint, name, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    try:
        yield process, int(await process.stdout.readline())
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def test_a_killed_leader_is_followed_by_one_with_a_higher_epoch(etcd_server: EtcdServer) -> None:
    async with asyncio.timeout(60), EtcdCoordination([etcd_server.endpoint]) as store:
        async with leader_process(etcd_server.endpoint, "killed") as (process, epoch):
            process.send_signal(signal.SIGKILL)
            async with store.campaign("killed", "heir", 1.0) as leadership:
                assert leadership.epoch > epoch
                dead = Leadership("killed", "doomed", leadership.key, epoch)
                with pytest.raises(FencedOut):
                    await store.put_fenced("/nervure/test/killed", b"from the dead", dead)
        assert await store.get("/nervure/test/killed") is None


async def test_a_frozen_leader_is_replaced(etcd_server: EtcdServer) -> None:
    async with (
        asyncio.timeout(60),
        EtcdCoordination([etcd_server.endpoint]) as store,
        leader_process(etcd_server.endpoint, "frozen") as (process, epoch),
    ):
        process.send_signal(signal.SIGSTOP)
        async with store.campaign("frozen", "heir", 1.0) as leadership:
            assert leadership.epoch > epoch


async def test_a_watch_and_a_client_outlive_a_restart_of_the_server(tmp_path: Path) -> None:
    with EtcdServer.start(tmp_path) as server:
        store = EtcdCoordination([server.endpoint])
        revision = await store.put("/w/a", b"1")
        watching = store.watch("/w/", revision)
        assert (await anext(watching)).value == b"1"
    with EtcdServer.start(tmp_path, listen=server.endpoint):
        async with asyncio.timeout(60), aclosing(watching):
            await _until_written(store, "/w/b", b"2")
            event = await anext(watching)
            assert (event.key, event.value) == ("/w/b", b"2")
    await store.close()


async def _until_written(store: EtcdCoordination, key: str, value: bytes) -> None:
    while True:
        try:
            await store.put(key, value)
        except StoreUnreachable:
            continue
        return


async def test_a_hanging_server_costs_a_bounded_time_and_the_lease(own_server: EtcdServer) -> None:
    async with (
        EtcdCoordination([own_server.endpoint], call_s=0.5) as store,
        asyncio.timeout(30),
        store.campaign("hang", "me", 1.0) as leadership,
    ):
        own_server.pause()
        await leadership.lost.wait()
        with pytest.raises(StoreUnreachable) as raised:
            await store.get("/a")
        assert "does not answer" in raised.value.message
        own_server.resume()


async def test_a_compacted_revision_is_said_and_follow_lists_again(own_server: EtcdServer) -> None:
    async with asyncio.timeout(30), EtcdCoordination([own_server.endpoint]) as store:
        first = await store.put("/c/a", b"1")
        last = await store.put("/c/a", b"2")
        async with Etcd3Client([own_server.endpoint]) as administrator:
            assert administrator.kv is not None
            await administrator.kv.compact(last)
        with pytest.raises(Compacted):
            async with aclosing(store.watch("/c/", first)) as events:
                await anext(events)
        async with aclosing(follow(store, "/c/")) as states:
            state = await anext(states)
            assert state["/c/a"].value == b"2"


async def test_no_etcd_is_one_clear_error_within_its_time() -> None:
    async with asyncio.timeout(20), EtcdCoordination(["127.0.0.1:1"], call_s=1.0) as store:
        for call in (store.get("/a"), store.put("/a", b""), store.compare_and_put("/a", b"", expected_revision=0)):
            with pytest.raises(StoreUnreachable) as raised:
                await call
            assert "127.0.0.1:1" in raised.value.message
            assert "--etcd" in raised.value.hint
        with pytest.raises(StoreUnreachable):
            async with store.lease(1.0):
                raise AssertionError


async def test_a_name_that_can_not_be_resolved_is_named() -> None:
    async with EtcdCoordination(["etcd.invalid:2379"]) as store:
        with pytest.raises(WorldError, match=r"etcd\.invalid:2379"):
            await store.get("/a")


@pytest.mark.parametrize("text", ["", "localhost", "localhost:", ":2379", "localhost:99999", "a:1,b"])
def test_endpoints_that_are_none_are_refused(text: str) -> None:
    with pytest.raises(ConfigurationError):
        parse_endpoints(text)


@pytest.mark.parametrize("url", ["", "zookeeper://x", "ray:", "127.0.0.1:2379"])
def test_urls_that_are_none_are_refused(url: str) -> None:
    with pytest.raises(ConfigurationError):
        open_coordination(url)
