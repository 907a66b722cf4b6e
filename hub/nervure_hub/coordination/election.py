"""Elections, the same way over every store: whoever makes the election key under its lease leads.

Rules
    1. The epoch is the key's create revision. A key can be made again only after it was deleted, and revisions only
       grow, so epochs of one election grow strictly.
    2. Who waits holds no lease: it watches the key, and takes a lease only to try.
    3. ``Leadership.lost`` is set when the lease may be gone or the key is no longer ours. It can be late (a process can
       be paused right after looking); ``put_fenced`` can't.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, aclosing, asynccontextmanager, suppress

from nervure_hub.coordination.background import beside, first_of
from nervure_hub.coordination.contract import (
    ELECTION_PREFIX,
    Compacted,
    Coordination,
    Leadership,
    Lease,
    LeaseLost,
)


@asynccontextmanager
async def campaign(store: Coordination, name: str, identity: str, ttl_s: float) -> AsyncGenerator[Leadership]:
    """Wait until elected, lead within the context, resign at its end.

    Raises:
        StoreUnreachable: The store went away while campaigning.
    """
    key = ELECTION_PREFIX + name
    async with AsyncExitStack() as held:
        while True:
            await _until_absent(store, key)
            attempt = await held.enter_async_context(AsyncExitStack())
            lease = await attempt.enter_async_context(store.lease(ttl_s))
            epoch = await _try(store, key, identity, lease)
            if epoch is not None:
                break
            await attempt.aclose()
        leadership = Leadership(name, identity, key, epoch)
        held.callback(leadership.lost.set)
        await held.enter_async_context(beside(_observe(store, leadership, lease)))
        yield leadership


async def _until_absent(store: Coordination, key: str) -> None:
    while True:
        found, revision = await store.list(key)
        if all(entry.key != key for entry in found):
            return
        with suppress(Compacted):
            await _until_changed(store, key, revision + 1)


async def _until_changed(store: Coordination, key: str, from_revision: int) -> None:
    async with aclosing(store.watch(key, from_revision)) as events:
        async for event in events:
            # The prefix also matches longer names; an election key is only ever made and deleted.
            if event.key == key:
                return


async def _try(store: Coordination, key: str, identity: str, lease: Lease) -> int | None:
    try:
        won = await store.compare_and_put(key, identity.encode(), expected_revision=0, lease=lease)
    except LeaseLost:
        return None
    entry = await store.get(key) if won else None
    return entry.create_revision if entry is not None and entry.lease_id == lease.id else None


async def _observe(store: Coordination, leadership: Leadership, lease: Lease) -> None:
    """Set ``lost`` when the lease may be gone, or when the key was deleted under us."""
    with suppress(Compacted):
        await first_of(lease.lost.wait(), _until_changed(store, leadership.key, leadership.epoch + 1))
    leadership.lost.set()
