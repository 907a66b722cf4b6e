"""Coordination over one revisioned store that lives in a process: this one (memory) or a Ray actor.

Rules
    1. ``StoreService`` is the store with a clock and a wake-up; ``poll`` is its watch, so it can be called remotely.
    2. ``SharedCoordination`` turns any ``Store`` into a ``Coordination``; memory and Ray differ only in how they call it.
    3. Nobody needs a timer: whoever waits in ``poll`` wakes at the next lease's end and ends it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Protocol, Self

from nervure_core.clock import Clock
from nervure_hub.coordination.background import first_of
from nervure_hub.coordination.contract import (
    ELECTION_PREFIX,
    FencedOut,
    KeyValue,
    Leadership,
    Lease,
    Listing,
    WatchEvent,
)
from nervure_hub.coordination.election import campaign
from nervure_hub.coordination.leases import hold_lease
from nervure_hub.coordination.snapshot import SnapshotFile
from nervure_hub.coordination.store import RevisionedStore

POLL_S = 5.0
"""How long one poll waits before it comes back empty."""

Poll = tuple[Sequence[WatchEvent], int]
"""Events, and the revision to ask for next."""


class Store(Protocol):
    """A revisioned store that may be somewhere else."""

    async def get(self, key: str) -> KeyValue | None: ...

    async def list(self, prefix: str) -> Listing: ...

    async def put(self, key: str, value: bytes, lease_id: int) -> int: ...

    async def compare_and_put(self, key: str, value: bytes, expected_revision: int, lease_id: int) -> bool: ...

    async def put_fenced(self, key: str, value: bytes, election_key: str, epoch: int) -> int | None: ...

    async def delete(self, key: str) -> bool: ...

    async def delete_if(self, key: str, expected_revision: int) -> bool: ...

    async def poll(self, prefix: str, from_revision: int, wait_s: float) -> Poll:
        """Return events since a revision, waiting up to ``wait_s`` seconds for the first one."""
        ...

    async def grant(self, ttl_s: float) -> tuple[int, float]: ...

    async def renew(self, lease_id: int) -> bool: ...

    async def revoke(self, lease_id: int) -> None: ...

    async def close(self) -> None: ...


class StoreService:
    """The store in this process. Everything runs on one event loop, so no lock is needed.

    Args:
        clock: Measures leases.
        file: Keeps what no lease owns over a restart; None forgets everything.

    Raises:
        WorldError: The file can't be read.
    """

    def __init__(self, clock: Clock, file: SnapshotFile | None = None) -> None:
        self._clock = clock
        self._file = file
        self._data = file.load() if file else RevisionedStore()
        self._changed = asyncio.Event()

    def _now(self) -> RevisionedStore:
        """Return the data with all leases ended that have to be."""
        before = self._data.revision
        self._data.expire(self._clock.monotonic_s())
        self._announce(before)
        return self._data

    def _announce(self, before: int) -> None:
        if self._data.revision != before:
            self._changed.set()
            self._changed = asyncio.Event()
            if self._file is not None:
                self._file.save(self._data)

    async def get(self, key: str) -> KeyValue | None:
        return self._now().get(key)

    async def list(self, prefix: str) -> Listing:
        return self._now().list(prefix)

    async def put(self, key: str, value: bytes, lease_id: int) -> int:
        before = self._now().revision
        revision = self._data.put(key, value, lease_id)
        self._announce(before)
        return revision

    async def compare_and_put(self, key: str, value: bytes, expected_revision: int, lease_id: int) -> bool:
        before = self._now().revision
        done = self._data.compare_and_put(key, value, expected_revision=expected_revision, lease_id=lease_id)
        self._announce(before)
        return done

    async def put_fenced(self, key: str, value: bytes, election_key: str, epoch: int) -> int | None:
        before = self._now().revision
        revision = self._data.put_fenced(key, value, election_key, epoch)
        self._announce(before)
        return revision

    async def delete(self, key: str) -> bool:
        before = self._now().revision
        done = self._data.delete(key)
        self._announce(before)
        return done

    async def delete_if(self, key: str, expected_revision: int) -> bool:
        before = self._now().revision
        done = self._data.delete_if(key, expected_revision)
        self._announce(before)
        return done

    async def poll(self, prefix: str, from_revision: int, wait_s: float) -> Poll:
        until_s = self._clock.monotonic_s() + wait_s
        while True:
            data = self._now()
            found = data.events(prefix, from_revision)
            now_s = self._clock.monotonic_s()
            if found or now_s >= until_s:
                return found, max(data.revision + 1, from_revision)
            deadline_s = data.next_deadline_s()
            pause_s = until_s - now_s if deadline_s is None else min(until_s, deadline_s) - now_s
            await first_of(self._changed.wait(), self._clock.sleep(pause_s))

    async def grant(self, ttl_s: float) -> tuple[int, float]:
        lease_id = self._now().grant(ttl_s, self._clock.monotonic_s())
        # Whoever waits in ``poll`` has to learn of the new, perhaps nearer, deadline.
        self._changed.set()
        self._changed = asyncio.Event()
        return lease_id, ttl_s

    async def renew(self, lease_id: int) -> bool:
        return self._now().renew(lease_id, self._clock.monotonic_s())

    async def revoke(self, lease_id: int) -> None:
        before = self._now().revision
        self._data.revoke(lease_id)
        self._announce(before)

    async def close(self) -> None:
        """Nothing to let go of."""


class SharedCoordination:
    """A ``Coordination`` over a ``Store``.

    Args:
        store: Where the data is.
        clock: Measures this side of the leases.
    """

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    async def get(self, key: str) -> KeyValue | None:
        return await self._store.get(key)

    async def list(self, prefix: str) -> Listing:
        return await self._store.list(prefix)

    async def put(self, key: str, value: bytes, *, lease: Lease | None = None) -> int:
        return await self._store.put(key, value, lease.id if lease else 0)

    async def compare_and_put(
        self, key: str, value: bytes, *, expected_revision: int, lease: Lease | None = None
    ) -> bool:
        return await self._store.compare_and_put(key, value, expected_revision, lease.id if lease else 0)

    async def delete(self, key: str) -> bool:
        return await self._store.delete(key)

    async def delete_if(self, key: str, *, expected_revision: int) -> bool:
        return await self._store.delete_if(key, expected_revision)

    async def put_fenced(self, key: str, value: bytes, leadership: Leadership) -> int:
        revision = await self._store.put_fenced(key, value, leadership.key, leadership.epoch)
        if revision is None:
            leadership.lost.set()
            raise FencedOut(leadership.name, leadership.epoch)
        return revision

    async def watch(self, prefix: str, from_revision: int) -> AsyncGenerator[WatchEvent]:
        next_revision = from_revision
        while True:
            events, next_revision = await self._store.poll(prefix, next_revision, POLL_S)
            for event in events:
                yield event

    def lease(self, ttl_s: float) -> AbstractAsyncContextManager[Lease]:
        return hold_lease(self._store, ttl_s, self._clock)

    def campaign(self, name: str, identity: str, ttl_s: float) -> AbstractAsyncContextManager[Leadership]:
        return campaign(self, name, identity, ttl_s)

    async def leader(self, name: str) -> KeyValue | None:
        return await self.get(ELECTION_PREFIX + name)

    async def close(self) -> None:
        await self._store.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.close()


class MemoryCoordination(SharedCoordination):
    """The in-process twin: for tests, simulations and a hub that stands alone.

    Args:
        clock: Measures leases; a ``VirtualClock`` makes them end on command.
        file: Keeps what no lease owns over a restart; None forgets everything.

    Raises:
        WorldError: The file can't be read.
    """

    def __init__(self, clock: Clock, file: Path | None = None) -> None:
        super().__init__(StoreService(clock, SnapshotFile(file) if file else None), clock)
