"""The coordination seam: small facts that all regions agree on, with leases, watches, elections and fencing.

Rules
    1. A *revision* is one number for the whole store; it grows by one with every change. ``list`` at revision R followed
       by ``watch`` from R + 1 misses nothing and repeats nothing.
    2. A watch that asks for a revision the store has forgotten raises ``Compacted``: list again, then watch again.
       ``nervure_hub.coordination.follow`` does that for you.
    3. A lease is a hint about life, never an exclusion: whoever owns something writes it with ``put_fenced``, which the
       store refuses once the election key no longer holds the owner's *epoch* (the revision at which the key was made).
    4. Epochs of one election grow strictly, so a record that carries one tells old owners from new ones.
    5. Every call is bounded in time; a store that can't be reached raises ``StoreUnreachable`` with a hint. After a
       write that raised it the outcome is unknown: read before you repeat.
    6. Keys are absolute paths (``/nervure/...``), values are bytes, thousands of keys, well under 50 writes a second.

>>> async with open_coordination("memory:") as store:
...     async with store.campaign("rounds", identity="hub-eu", ttl_s=5) as leadership:
...         await store.put_fenced("/nervure/runs/r1", b"{}", leadership)
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Literal, Protocol, Self

from nervure_core.errors import PeerError, WorldError

ELECTION_PREFIX = "/nervure/elections/"
"""One key a name: whoever made it leads, its create revision is the epoch."""


class StoreUnreachable(WorldError):
    """The coordination store did not answer in time."""

    code = "coordination-unreachable"


class Compacted(WorldError):
    """The store has forgotten the revision a watch asked for.

    Attributes:
        oldest_revision: The first revision that can still be watched, 0 where the store doesn't say.
    """

    code = "coordination-compacted"

    def __init__(self, oldest_revision: int) -> None:
        super().__init__(
            f"watch asked for a revision that is compacted, the oldest kept is {oldest_revision}",
            hint="list again and watch from the listing's revision + 1",
        )
        self.oldest_revision = oldest_revision


class LeaseLost(WorldError):
    """A lease ended before its owner was done: the store or the way to it was away for longer than its time to live."""

    code = "lease-lost"


class FencedOut(PeerError):
    """A fenced write was refused: somebody else leads by now.

    Attributes:
        election: The name of the election.
        epoch: The epoch the writer believed in.
    """

    code = "fenced-out"

    def __init__(self, election: str, epoch: int) -> None:
        super().__init__(f"write refused: epoch {epoch} of election {election!r} is over")
        self.election = election
        self.epoch = epoch


@dataclass(frozen=True, slots=True)
class KeyValue:
    """One key as the store holds it."""

    key: str
    value: bytes
    revision: int
    """Revision of the last change of this key."""
    create_revision: int
    """Revision at which the key was made; changes only when it is deleted and made again."""
    lease_id: int = 0
    """The lease it lives under; 0 for none."""


Listing = tuple[list[KeyValue], int]
"""Keys in order, and the revision at which they were read."""


@dataclass(frozen=True, slots=True)
class WatchEvent:
    """One change of one key; ``value`` is empty for a delete."""

    kind: Literal["put", "delete"]
    key: str
    value: bytes
    revision: int
    create_revision: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class Lease:
    """A promise to be alive, kept by its context manager; ``lost`` is set once the store may have given it up."""

    id: int
    ttl_s: float
    lost: asyncio.Event = field(default_factory=asyncio.Event)


@dataclass(frozen=True, slots=True, eq=False)
class Leadership:
    """A won election. It stays true until ``lost`` is set; ``put_fenced`` is what makes acting on it safe."""

    name: str
    identity: str
    key: str
    epoch: int
    lost: asyncio.Event = field(default_factory=asyncio.Event)

    def guard(self) -> None:
        """Raise where the leadership is known to be over.

        Raises:
            FencedOut: ``lost`` is set.
        """
        if self.lost.is_set():
            raise FencedOut(self.name, self.epoch)


class Coordination(Protocol):
    """What every coordination store does. All methods raise ``StoreUnreachable`` when the store can't be reached."""

    async def get(self, key: str) -> KeyValue | None:
        """Return the key, or None where there is none."""
        ...

    async def list(self, prefix: str) -> Listing:
        """Return every key that starts with ``prefix``, ordered by key, and the revision of this reading."""
        ...

    async def put(self, key: str, value: bytes, *, lease: Lease | None = None) -> int:
        """Write a key and return the new revision.

        Raises:
            LeaseLost: The lease is gone.
        """
        ...

    async def compare_and_put(
        self, key: str, value: bytes, *, expected_revision: int, lease: Lease | None = None
    ) -> bool:
        """Write only if the key's last change was ``expected_revision`` (0: the key is absent); say whether it was.

        Raises:
            LeaseLost: The lease is gone.
        """
        ...

    async def delete(self, key: str) -> bool:
        """Delete a key; say whether it was there."""
        ...

    async def delete_if(self, key: str, *, expected_revision: int) -> bool:
        """Delete only if the key's last change was ``expected_revision``; say whether it was."""
        ...

    async def put_fenced(self, key: str, value: bytes, leadership: Leadership) -> int:
        """Write a key as a leader, in one transaction with the proof of leadership; return the new revision.

        Raises:
            FencedOut: The election key no longer holds this epoch.
        """
        ...

    def watch(self, prefix: str, from_revision: int) -> AsyncGenerator[WatchEvent]:
        """Yield every change under ``prefix`` from ``from_revision`` on, in order, for ever.

        A watch outlives an outage of the store. Wrap it in ``contextlib.aclosing`` where you leave it early.

        Raises:
            Compacted: The store has forgotten that revision.
        """
        ...

    def lease(self, ttl_s: float) -> AbstractAsyncContextManager[Lease]:
        """Hold a lease, kept alive until the context ends, then revoked (its keys go at once)."""
        ...

    def campaign(self, name: str, identity: str, ttl_s: float) -> AbstractAsyncContextManager[Leadership]:
        """Wait until elected, lead within the context, resign at its end."""
        ...

    async def leader(self, name: str) -> KeyValue | None:
        """Return the election key (value: identity, create revision: epoch), or None while nobody leads."""
        ...

    async def close(self) -> None:
        """Let go of connections; safe to call twice."""
        ...

    async def __aenter__(self) -> Self: ...

    async def __aexit__(self, *exc: object) -> None: ...
