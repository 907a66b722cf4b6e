"""The same store inside a named Ray actor, so that all processes of one machine share it without an etcd.

Rules
    1. The actor is made by whoever comes first and goes when that one closes its store or ends, whoever else still
       uses it: it is the twin of an etcd that has one small file, not a replacement.
    2. Waiting is a long poll of a few seconds; the actor runs many at once.
    3. The only file of coordination that touches ``ray``.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import ray
import ray.exceptions

from nervure_core.clock import Clock, SystemClock
from nervure_core.errors import NervureError
from nervure_hub.coordination.contract import KeyValue, Listing, StoreUnreachable
from nervure_hub.coordination.shared import Poll, SharedCoordination, StoreService
from nervure_hub.coordination.snapshot import SnapshotFile

NAMESPACE = "nervure"
CALL_S = 10.0
"""Limit of one call, over what the call itself waits."""
START_S = 60.0
"""Limit of making the actor: a new process that imports this package, on a machine that may be busy."""


class StoreActor(StoreService):
    """What runs inside Ray."""

    def __init__(self, file: Path | None) -> None:
        super().__init__(SystemClock(), SnapshotFile(file) if file else None)


def store_actor(name: str, file: Path | None) -> Any:
    """Return the handle of the named actor, found or made; blocks. Who made it keeps it alive by holding the handle."""
    # get_if_exists makes "find or create" one step; many slots because every watch parks in a poll.
    kind = ray.remote(StoreActor).options(
        name=name, namespace=NAMESPACE, get_if_exists=True, num_cpus=0, max_concurrency=1000
    )
    actor: Any = kind.remote(file)
    return actor


class RayStore:
    """The way to the actor.

    Args:
        name: Name of the actor; the same name is the same store.
        file: Keeps what no lease owns over a restart, where this process is the one that makes the actor.
    """

    def __init__(self, name: str, file: Path | None = None) -> None:
        self._name = name
        self._file = file
        self._actor: Any = None
        self._connecting = asyncio.Lock()

    async def _call(self, method: str, *args: object, limit_s: float = CALL_S) -> Any:
        try:
            actor = await self._connected()
            async with asyncio.timeout(limit_s):
                return await getattr(actor, method).remote(*args)
        except ray.exceptions.RayTaskError as error:
            if isinstance(error.cause, NervureError):
                raise error.cause from None
            raise
        except (TimeoutError, ray.exceptions.RayError, ConnectionError) as error:
            raise StoreUnreachable(
                f"coordination actor {self._name!r} does not answer: {str(error) or type(error).__name__}",
                hint="is the hub that started it still running?",
            ) from error

    async def _connected(self) -> Any:
        async with self._connecting:
            if self._actor is None:
                actor = await asyncio.to_thread(store_actor, self._name, self._file)
                async with asyncio.timeout(START_S):
                    await actor.__ray_ready__.remote()
                self._actor = actor
            return self._actor

    async def get(self, key: str) -> KeyValue | None:
        found: KeyValue | None = await self._call("get", key)
        return found

    async def list(self, prefix: str) -> Listing:
        listing: Listing = await self._call("list", prefix)
        return listing

    async def put(self, key: str, value: bytes, lease_id: int) -> int:
        return int(await self._call("put", key, value, lease_id))

    async def compare_and_put(self, key: str, value: bytes, expected_revision: int, lease_id: int) -> bool:
        return bool(await self._call("compare_and_put", key, value, expected_revision, lease_id))

    async def put_fenced(self, key: str, value: bytes, election_key: str, epoch: int) -> int | None:
        revision: int | None = await self._call("put_fenced", key, value, election_key, epoch)
        return revision

    async def delete(self, key: str) -> bool:
        return bool(await self._call("delete", key))

    async def delete_if(self, key: str, expected_revision: int) -> bool:
        return bool(await self._call("delete_if", key, expected_revision))

    async def poll(self, prefix: str, from_revision: int, wait_s: float) -> Poll:
        answer: Poll = await self._call("poll", prefix, from_revision, wait_s, limit_s=CALL_S + wait_s)
        return answer

    async def grant(self, ttl_s: float) -> tuple[int, float]:
        granted: tuple[int, float] = await self._call("grant", ttl_s)
        return granted

    async def renew(self, lease_id: int) -> bool:
        return bool(await self._call("renew", lease_id))

    async def revoke(self, lease_id: int) -> None:
        await self._call("revoke", lease_id)

    async def close(self) -> None:
        """Forget the handle; if this store made the actor, the actor goes."""
        self._actor = None


class RayCoordination(SharedCoordination):
    """Coordination shared by the processes of one Ray cluster.

    Args:
        name: Name of the store.
        clock: Measures this side of the leases.
        file: Keeps what no lease owns over a restart, where this process is the first to use the name.
    """

    def __init__(self, name: str, clock: Clock, file: Path | None = None) -> None:
        super().__init__(RayStore(name, file), clock)
