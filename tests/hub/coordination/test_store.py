"""The revisioned store as plain data, and leases under a clock that moves only when told to."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nervure_core.clock import VirtualClock
from nervure_core.errors import WorldError
from nervure_hub.coordination import Compacted, FencedOut, KeyValue, MemoryCoordination, open_coordination
from nervure_hub.coordination.shared import SharedCoordination, StoreService
from nervure_hub.coordination.store import RevisionedStore

KEYS = st.sampled_from(["/a", "/b", "/b/c", "/d"])
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("put"), KEYS, st.binary(max_size=3)),
        st.tuples(st.just("delete"), KEYS, st.just(b"")),
        st.tuples(st.just("leased"), KEYS, st.binary(max_size=3)),
        st.tuples(st.just("expire"), st.just(""), st.just(b"")),
    ),
    max_size=30,
)


@given(steps=STEPS, cut=st.integers(0, 30))
def test_a_listing_and_the_events_after_it_give_the_state(steps: list[tuple[str, str, bytes]], cut: int) -> None:
    store = RevisionedStore()
    now_s = 0.0
    start: tuple[list[KeyValue], int] = store.list("/")
    for number, (what, key, value) in enumerate(steps):
        if number == cut:
            start = store.list("/")
        before = store.revision
        if what == "put":
            store.put(key, value)
        elif what == "leased":
            store.put(key, value, store.grant(1.0, now_s))
        elif what == "delete":
            store.delete(key)
        else:
            now_s += 2.0
            store.expire(now_s)
        assert store.revision >= before
    listed, revision = start
    state = {entry.key: entry.value for entry in listed}
    for event in store.events("/", revision + 1):
        if event.kind == "put":
            state[event.key] = event.value
        else:
            del state[event.key]
    assert state == {entry.key: entry.value for entry in store.list("/")[0]}


def test_a_short_history_says_that_it_forgot() -> None:
    store = RevisionedStore(history_events=2)
    revisions = [store.put("/a", b"") for _ in range(4)]
    assert [event.revision for event in store.events("/", revisions[2])] == revisions[2:]
    with pytest.raises(Compacted) as raised:
        store.events("/", revisions[1])
    assert raised.value.oldest_revision == revisions[2]


def test_a_key_written_without_its_lease_outlives_it() -> None:
    store = RevisionedStore()
    store.put("/a", b"1", store.grant(1.0, 0.0))
    store.put("/a", b"2")
    store.expire(5.0)
    held = store.get("/a")
    assert held is not None
    assert held.value == b"2"


async def test_a_lease_nobody_keeps_ends_on_time_and_wakes_the_watcher() -> None:
    clock = VirtualClock()
    service = StoreService(clock)
    store = SharedCoordination(service, clock)
    lease_id, _ = await service.grant(10.0)
    revision = await service.put("/a", b"1", lease_id)
    async with aclosing(store.watch("/a", revision + 1)) as events, asyncio.TaskGroup() as tasks:
        gone = tasks.create_task(anext(events))
        while clock.next_deadline_s() is None:  # noqa: ASYNC110 - the loop turns until the watcher sleeps
            await asyncio.sleep(0)
        clock.advance(9.0)
        assert await store.get("/a") is not None
        while not gone.done():
            clock.advance(1.0)
            await asyncio.sleep(0)
    assert gone.result().kind == "delete"
    assert await store.get("/a") is None


async def test_a_kept_lease_lives_on_under_a_virtual_clock() -> None:
    clock = VirtualClock()
    store = MemoryCoordination(clock)
    async with store.lease(3.0) as lease:
        await store.put("/a", b"1", lease=lease)
        for _ in range(50):
            await asyncio.sleep(0)
            clock.advance(0.5)
            for _ in range(10):
                await asyncio.sleep(0)
        assert await store.get("/a") is not None
        assert not lease.lost.is_set()
    assert await store.get("/a") is None


async def test_what_no_lease_owns_outlives_a_restart_and_epochs_go_on_growing(tmp_path: Path) -> None:
    url = f"memory:?{tmp_path / 'new' / 'coordination.json'}"
    async with open_coordination(url) as store:
        await store.put("/kept", b"\x00\xff")
        async with store.lease(5.0) as lease, store.campaign("rounds", "me", 5.0) as before:
            await store.put("/leased", b"x", lease=lease)
            await store.put_fenced("/owned", b"y", before)
    async with open_coordination(url) as store:
        listed, revision = await store.list("/")
        assert [(entry.key, entry.value) for entry in listed] == [("/kept", b"\x00\xff"), ("/owned", b"y")]
        with pytest.raises(Compacted):
            await anext(store.watch("/", revision))
        async with store.campaign("rounds", "me", 5.0) as after:
            assert after.epoch > before.epoch
            with pytest.raises(FencedOut):
                await store.put_fenced("/owned", b"z", before)


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b'{"format": 2}', b'{"format": 1, "revision": 3, "keys": [[1]]}']
)
def test_a_file_that_is_not_ours_is_named(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "coordination.json"
    file.write_bytes(content)
    with pytest.raises(WorldError, match=r"coordination\.json"):
        open_coordination(f"memory:?{file}")
    assert file.read_bytes() == content
