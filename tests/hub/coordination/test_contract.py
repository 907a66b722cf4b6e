"""What every coordination store promises, over etcd, memory and Ray."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, aclosing
from itertools import count
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nervure_core.clock import SystemClock
from nervure_hub.coordination import (
    Coordination,
    FencedOut,
    Leadership,
    Lease,
    LeaseLost,
    MemoryCoordination,
    WatchEvent,
    follow,
)
from nervure_hub.coordination.shared import SharedCoordination, StoreService

TTL_S = 1.0
HELD_S = 3.0
"""Where a lease has to be kept, not lost: long enough for a machine that is busy with other things."""
_names = count()

Open = Callable[[], Coordination]
"""Opens one more client of the same store: what another process would hold."""


@pytest.fixture(
    params=[
        "memory",
        pytest.param("etcd", marks=pytest.mark.etcd),
        pytest.param("ray", marks=pytest.mark.ray),
    ]
)
async def open_store(request: pytest.FixtureRequest) -> AsyncIterator[Open]:
    opened: list[Coordination] = []
    if request.param == "memory":
        service = StoreService(SystemClock())

        def make() -> Coordination:
            return SharedCoordination(service, SystemClock())

    elif request.param == "etcd":
        from nervure_hub.coordination.etcd import EtcdCoordination

        endpoint = request.getfixturevalue("etcd_server").endpoint

        def make() -> Coordination:
            return EtcdCoordination([endpoint])

    else:
        from nervure_hub.coordination.ray_store import RayCoordination

        name = request.getfixturevalue("ray_store")

        def make() -> Coordination:
            return RayCoordination(name, SystemClock())

    def open_one() -> Coordination:
        opened.append(make())
        return opened[-1]

    yield open_one
    for store in opened:
        await store.close()


@pytest.fixture
def store(open_store: Open) -> Coordination:
    return open_store()


@pytest.fixture
def root() -> str:
    """A prefix nobody used before, since etcd and actor live through all tests."""
    return f"/nervure/test-{next(_names)}/"


async def test_a_key_that_was_put_is_got_with_its_revisions(store: Coordination, root: str) -> None:
    assert await store.get(root + "a") is None
    first = await store.put(root + "a", b"1")
    second = await store.put(root + "a", b"2")
    found = await store.get(root + "a")
    assert found is not None
    assert (found.value, found.create_revision, found.revision, found.lease_id) == (b"2", first, second, 0)
    assert second > first


async def test_a_listing_is_ordered_and_keeps_to_its_prefix(store: Coordination, root: str) -> None:
    for name in ("b", "a", "c/d"):
        await store.put(root + name, name.encode())
    await store.put(root.removesuffix("/") + "x", b"a neighbour")
    found, revision = await store.list(root)
    assert [(entry.key, entry.value) for entry in found] == [
        (root + "a", b"a"),
        (root + "b", b"b"),
        (root + "c/d", b"c/d"),
    ]
    assert revision >= max(entry.revision for entry in found)


async def test_deleting_says_whether_there_was_something(store: Coordination, root: str) -> None:
    revision = await store.put(root + "a", b"1")
    assert not await store.delete_if(root + "a", expected_revision=revision - 1)
    assert await store.delete_if(root + "a", expected_revision=revision)
    assert not await store.delete(root + "a")
    assert not await store.delete_if(root + "a", expected_revision=0)


async def test_compare_and_put_writes_only_over_what_was_read(store: Coordination, root: str) -> None:
    key = root + "a"
    assert await store.compare_and_put(key, b"new", expected_revision=0)
    assert not await store.compare_and_put(key, b"again", expected_revision=0)
    found = await store.get(key)
    assert found is not None
    assert await store.compare_and_put(key, b"2", expected_revision=found.revision)
    assert not await store.compare_and_put(key, b"3", expected_revision=found.revision)


@settings(
    max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(steps=st.lists(st.integers(1, 4), min_size=2, max_size=5))
def test_concurrent_compare_and_swap_loses_no_step(steps: list[int]) -> None:
    """Property: writers that read, add and swap until they succeed leave exactly the sum of all they added."""

    async def run() -> None:
        service = StoreService(SystemClock())
        await _count_up([SharedCoordination(service, SystemClock()) for _ in steps], "/n", steps)

    asyncio.run(run())


async def test_concurrent_compare_and_swap_over_clients(open_store: Open, root: str) -> None:
    await _count_up([open_store() for _ in range(4)], root + "n", [3, 1, 4, 2])


async def _count_up(stores: list[Coordination] | list[SharedCoordination], key: str, steps: list[int]) -> None:
    async def add(store: Coordination, times: int) -> None:
        done = 0
        while done < times:
            found = await store.get(key)
            value, revision = (int(found.value), found.revision) if found else (0, 0)
            await asyncio.sleep(0)
            done += await store.compare_and_put(key, str(value + 1).encode(), expected_revision=revision)

    async with asyncio.TaskGroup() as tasks:
        for store, times in zip(stores, steps, strict=True):
            tasks.create_task(add(store, times))
    found = await stores[0].get(key)
    assert found is not None
    assert int(found.value) == sum(steps)


async def test_a_watch_sees_every_change_since_its_revision_in_order(open_store: Open, root: str) -> None:
    store, other = open_store(), open_store()
    await store.put(root + "before", b"x")
    _, revision = await store.list(root)
    await store.put(root + "a", b"1")
    await store.delete(root + "a")
    seen: list[WatchEvent] = []
    async with aclosing(store.watch(root, revision + 1)) as events:
        async for event in events:
            seen.append(event)
            if len(seen) == 2:
                await other.put(root.removesuffix("/") + "x", b"a neighbour")
                await other.put(root + "b", b"2")
            if len(seen) == 3:
                break
    assert [(event.kind, event.key, event.value) for event in seen] == [
        ("put", root + "a", b"1"),
        ("delete", root + "a", b""),
        ("put", root + "b", b"2"),
    ]
    assert [event.revision for event in seen] == sorted(event.revision for event in seen)


async def test_follow_keeps_a_prefix_current(open_store: Open, root: str) -> None:
    store, other = open_store(), open_store()
    await store.put(root + "a", b"1")
    states: list[dict[str, bytes]] = []
    async with aclosing(follow(store, root)) as following:
        async for state in following:
            states.append({key: entry.value for key, entry in state.items()})
            if len(states) == 1:
                await other.put(root + "b", b"2")
            elif len(states) == 2:
                await other.delete(root + "a")
            else:
                break
    assert states == [{root + "a": b"1"}, {root + "a": b"1", root + "b": b"2"}, {root + "b": b"2"}]


async def test_a_lease_holds_its_keys_for_longer_than_its_time_to_live(open_store: Open, root: str) -> None:
    store, other = open_store(), open_store()
    async with store.lease(HELD_S) as lease:
        await store.put(root + "held", b"1", lease=lease)
        async with asyncio.timeout(60), other.lease(HELD_S) as measure:
            # The other lease is not renewed twice its life long: a clock made of the store's own leases.
            await _let_expire(other, measure, root)
        found = await store.get(root + "held")
        assert found is not None
        assert found.lease_id == lease.id
        assert not lease.lost.is_set()
        revision = found.revision
    async with asyncio.timeout(10), aclosing(other.watch(root + "held", revision + 1)) as events:
        async for event in events:
            assert event.kind == "delete"
            break


async def _let_expire(store: Coordination, lease: Lease, root: str) -> None:
    """Grant a lease that nobody keeps and wait, by watching, until the store has ended it and its key."""
    office: Any = getattr(store, "_store", store)  # an etcd grants by itself, a twin's store does
    lease_id, _ = await office.grant(lease.ttl_s * 1.5)
    revision = await store.put(root + "forsaken", b"", lease=Lease(lease_id, lease.ttl_s))
    async with aclosing(store.watch(root + "forsaken", revision + 1)) as events:
        async for event in events:
            assert event.kind == "delete"
            return


async def test_a_write_under_a_lease_that_ended_is_refused(store: Coordination, root: str) -> None:
    async with store.lease(TTL_S) as lease:
        pass
    assert lease.lost.is_set()
    with pytest.raises(LeaseLost):
        await store.put(root + "late", b"1", lease=lease)
    assert await store.get(root + "late") is None


async def test_one_leads_and_the_next_gets_a_higher_epoch(open_store: Open, root: str) -> None:
    first, second = open_store(), open_store()
    name = root.strip("/").replace("/", "-")
    epochs: list[int] = []
    leading = asyncio.Event()

    async def follower() -> None:
        await leading.wait()
        async with second.campaign(name, "second", TTL_S) as leadership:
            epochs.append(leadership.epoch)
            held = await second.leader(name)
            assert held is not None
            assert (held.value, held.create_revision) == (b"second", leadership.epoch)

    async with asyncio.timeout(20), asyncio.TaskGroup() as tasks:
        tasks.create_task(follower())
        async with first.campaign(name, "first", TTL_S) as leadership:
            epochs.append(leadership.epoch)
            leading.set()
            await first.put_fenced(root + "owned", b"by first", leadership)
            assert not leadership.lost.is_set()
        assert leadership.lost.is_set()
    assert epochs[0] < epochs[1]
    assert await first.leader(name) is None


async def test_a_leader_that_is_cut_off_is_replaced_and_its_late_write_refused(open_store: Open, root: str) -> None:
    """The leader's key goes as an expired lease's key goes; the old leader doesn't know and writes anyway."""
    old, new = open_store(), open_store()
    name = root.strip("/").replace("/", "-")
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(asyncio.timeout(20))
        stale = await stack.enter_async_context(old.campaign(name, "old", TTL_S))
        blind = Leadership(stale.name, stale.identity, stale.key, stale.epoch)
        await new.delete(stale.key)
        await stale.lost.wait()
        fresh = await stack.enter_async_context(new.campaign(name, "new", TTL_S))
        assert fresh.epoch > stale.epoch
        await new.put_fenced(root + "owned", b"by new", fresh)
        with pytest.raises(FencedOut) as refused:
            await old.put_fenced(root + "owned", b"by old", blind)
        assert refused.value.epoch == stale.epoch
        assert blind.lost.is_set()
        with pytest.raises(FencedOut):
            stale.guard()
        found = await old.get(root + "owned")
        assert found is not None
        assert found.value == b"by new"


async def test_an_error_in_the_body_passes_through_as_it_is(store: Coordination, root: str) -> None:
    with pytest.raises(ZeroDivisionError):
        async with store.campaign(root.strip("/").replace("/", "-"), "me", TTL_S):
            raise ZeroDivisionError


async def test_cancelling_a_leader_resigns_at_once(open_store: Open, root: str) -> None:
    first, second = open_store(), open_store()
    name = root.strip("/").replace("/", "-")
    leading = asyncio.Event()

    async def lead_for_ever() -> None:
        async with first.campaign(name, "first", 60.0):
            leading.set()
            await asyncio.Event().wait()

    async with asyncio.timeout(20), asyncio.TaskGroup() as tasks:
        leader = tasks.create_task(lead_for_ever())
        await leading.wait()
        leader.cancel()
        async with second.campaign(name, "second", TTL_S) as leadership:
            assert leadership.identity == "second"


def test_memory_is_a_coordination() -> None:
    store: Coordination = MemoryCoordination(SystemClock())
    assert store is not None
