"""Coordination over a real etcd, by ``etcd3aio``.

Rules
    1. Every unary call has a limit; what the client raises is mapped here, the lowest floor, by one function.
    2. Reads and plain puts are repeated by the client; conditional writes are sent once, because a repeat of one that
       did go through would report a lost race that was won.
    3. etcd3aio's ``Lock`` and ``Election`` don't keep their lease alive, and its watch, after a reconnect, goes on from
       the revision in the last response's header, which skips whatever was not delivered yet. So leases and elections
       are ours (``leases``, ``election``), and a watch that reconnects is opened anew from the last event *seen*.
    4. The client takes addresses only: names are resolved here, again with every new connection.
"""

from __future__ import annotations

import asyncio
import logging
import math
import socket
from collections.abc import AsyncGenerator, Awaitable, Sequence
from contextlib import AbstractAsyncContextManager, aclosing
from typing import Any, Self, TypeVar

import grpc
import grpc.aio
from etcd3aio import Etcd3Client, EtcdConnectionError, EtcdError, EtcdTransientError, prefix_range_end
from etcd3aio.kv import KVService
from etcd3aio.lease import LeaseService
from etcd3aio.watch import WatchService

from nervure_core.clock import Clock, SystemClock
from nervure_core.errors import ConfigurationError, WorldError
from nervure_core.retry import Backoff
from nervure_hub.coordination.contract import (
    ELECTION_PREFIX,
    Compacted,
    FencedOut,
    KeyValue,
    Leadership,
    Lease,
    LeaseLost,
    Listing,
    StoreUnreachable,
    WatchEvent,
)
from nervure_hub.coordination.election import campaign
from nervure_hub.coordination.leases import hold_lease

CALL_S = 5.0
_HINT = "start etcd or correct --etcd; without --etcd a hub keeps its own in-process store"
_log = logging.getLogger(__name__)

T = TypeVar("T")


def parse_endpoints(text: str) -> tuple[str, ...]:
    """Split ``host:port,host:port``.

    Raises:
        ConfigurationError: A part is not ``host:port``.
    """
    endpoints = tuple(part.strip() for part in text.split(",") if part.strip())
    for endpoint in endpoints:
        host, _, port = endpoint.rpartition(":")
        if not host or not port.isdigit() or int(port) > 65535:
            raise ConfigurationError(f"etcd endpoint {endpoint!r} is not host:port", hint="for example 127.0.0.1:2379")
    if not endpoints:
        raise ConfigurationError("no etcd endpoint given", hint="for example --etcd 127.0.0.1:2379")
    return endpoints


class EtcdCoordination:
    """A ``Coordination`` over etcd. Connects at the first call.

    Args:
        endpoints: ``host:port`` of every member.
        call_s: Limit of one call.
        clock: Measures this side of the leases.
    """

    def __init__(self, endpoints: Sequence[str], *, call_s: float = CALL_S, clock: Clock | None = None) -> None:
        self._endpoints = parse_endpoints(",".join(endpoints))
        self._call_s = call_s
        self._clock = clock or SystemClock()
        self._client: Etcd3Client | None = None
        self._connecting = asyncio.Lock()

    async def _connected(self) -> tuple[KVService, LeaseService, WatchService]:
        async with self._connecting:
            if self._client is None:
                client = Etcd3Client(await self._resolve())
                await client.connect()
                self._client = client
        client = self._client
        if client.kv is None or client.lease is None or client.watch is None:
            raise StoreUnreachable("the etcd client is closed")
        return client.kv, client.lease, client.watch

    async def _resolve(self) -> list[str]:
        addresses: list[str] = []
        for endpoint in self._endpoints:
            host, _, port = endpoint.rpartition(":")
            try:
                found = await asyncio.get_running_loop().getaddrinfo(
                    host, int(port), family=socket.AF_INET, type=socket.SOCK_STREAM
                )
            except OSError as error:
                _log.warning("etcd endpoint %s can't be resolved: %s", endpoint, error)
                continue
            addresses.extend(f"{address[4][0]}:{port}" for address in found)
        if not addresses:
            raise StoreUnreachable(f"no etcd endpoint of {', '.join(self._endpoints)} can be resolved", hint=_HINT)
        return addresses

    async def _answer(self, call: Awaitable[T]) -> T:
        try:
            async with asyncio.timeout(self._call_s):
                return await call
        except (TimeoutError, EtcdConnectionError, EtcdTransientError, asyncio.InvalidStateError) as error:
            # InvalidStateError: how grpc.aio sometimes says that a call was cut.
            raise StoreUnreachable(
                f"etcd at {', '.join(self._endpoints)} does not answer ({_reason(error)})", hint=_HINT
            ) from error
        except grpc.aio.AioRpcError as error:
            if error.code() == grpc.StatusCode.NOT_FOUND and "lease" in (error.details() or ""):
                raise LeaseLost(f"lease is gone: {error.details()}") from error
            raise WorldError(f"etcd refused: {error.code().name} {error.details()}") from error
        except EtcdError as error:
            raise WorldError(f"etcd refused: {error}", hint="check the certificates and roles etcd asks for") from error

    async def get(self, key: str) -> KeyValue | None:
        kv, _, _ = await self._connected()
        answer = await self._answer(kv.get(key, timeout=self._call_s))
        return _entry(answer.kvs[0]) if answer.kvs else None

    async def list(self, prefix: str) -> Listing:
        kv, _, _ = await self._connected()
        answer = await self._answer(kv.get(prefix, range_end=prefix_range_end(prefix), timeout=self._call_s))
        return [_entry(found) for found in answer.kvs], int(answer.header.revision)

    async def put(self, key: str, value: bytes, *, lease: Lease | None = None) -> int:
        kv, _, _ = await self._connected()
        answer = await self._answer(kv.put(key, value, lease=lease.id if lease else 0, timeout=self._call_s))
        return int(answer.header.revision)

    async def compare_and_put(
        self, key: str, value: bytes, *, expected_revision: int, lease: Lease | None = None
    ) -> bool:
        kv, _, _ = await self._connected()
        write = kv.txn_op_put(key, value, lease=lease.id if lease else 0)
        answer = await self._answer(
            kv.txn([_unchanged(key, expected_revision)], [write], timeout=self._call_s, max_attempts=1)
        )
        return bool(answer.succeeded)

    async def delete(self, key: str) -> bool:
        kv, _, _ = await self._connected()
        answer = await self._answer(kv.delete(key, timeout=self._call_s, max_attempts=1))
        return bool(answer.deleted)

    async def delete_if(self, key: str, *, expected_revision: int) -> bool:
        kv, _, _ = await self._connected()
        if expected_revision == 0:
            return False
        answer = await self._answer(
            kv.txn([_unchanged(key, expected_revision)], [kv.txn_op_delete(key)], timeout=self._call_s, max_attempts=1)
        )
        return bool(answer.succeeded)

    async def put_fenced(self, key: str, value: bytes, leadership: Leadership) -> int:
        kv, _, _ = await self._connected()
        proof = kv.txn_compare_create_revision(leadership.key, leadership.epoch)
        # Repeating it is safe: the same value under the same epoch.
        answer = await self._answer(kv.txn([proof], [kv.txn_op_put(key, value)], timeout=self._call_s))
        if not answer.succeeded:
            leadership.lost.set()
            raise FencedOut(leadership.name, leadership.epoch)
        return int(answer.header.revision)

    async def watch(self, prefix: str, from_revision: int) -> AsyncGenerator[WatchEvent]:
        next_revision = from_revision
        backoff = Backoff(base_s=0.1, cap_s=5.0)
        while True:
            try:
                async with aclosing(self._one_watch(prefix, next_revision)) as events:
                    async for event in events:
                        yield event
                        next_revision = event.revision + 1
                        backoff.reset()
            except StoreUnreachable as error:
                _log.warning("watch of %s is cut: %s", prefix, error.message)
            await self._clock.sleep(backoff.next_delay_s())

    async def _one_watch(self, prefix: str, from_revision: int) -> AsyncGenerator[WatchEvent]:
        """Yield events until the connection is cut (then return) or the revision is compacted."""
        _, _, watch = await self._connected()
        responses: Any = watch.watch(prefix, prefix_range_end(prefix), from_revision)
        opened = False
        async with aclosing(responses):
            try:
                async for response in responses:
                    if response.compact_revision:
                        raise Compacted(int(response.compact_revision))
                    if response.created and opened:
                        return  # a reconnect, from a revision that the client guessed
                    opened = True
                    for event in response.events:
                        yield _event(event)
            except (grpc.aio.AioRpcError, asyncio.InvalidStateError) as error:
                raise StoreUnreachable(f"etcd cut the watch ({_reason(error)})", hint=_HINT) from error

    async def grant(self, ttl_s: float) -> tuple[int, float]:
        """Return a new lease's id and its granted time to live; etcd has whole seconds and a minimum of its own."""
        _, lease, _ = await self._connected()
        answer = await self._answer(lease.grant(math.ceil(ttl_s), timeout=self._call_s))
        return int(answer.ID), float(answer.TTL)

    async def renew(self, lease_id: int) -> bool:
        """Send one keep-alive; say whether the lease still existed."""
        _, lease, _ = await self._connected()

        async def beat() -> bool:
            stream = lease.keep_alive(lease_id)
            try:
                async for response in stream:
                    return int(response.TTL) > 0
                return False
            finally:
                stream.cancel()

        try:
            return await self._answer(beat())
        except WorldError as error:
            raise StoreUnreachable(f"lease could not be renewed: {error.message}", hint=_HINT) from error

    async def revoke(self, lease_id: int) -> None:
        """End a lease; its keys go with it."""
        _, lease, _ = await self._connected()
        await self._answer(lease.revoke(lease_id, timeout=self._call_s))

    def lease(self, ttl_s: float) -> AbstractAsyncContextManager[Lease]:
        return hold_lease(self, ttl_s, self._clock)

    def campaign(self, name: str, identity: str, ttl_s: float) -> AbstractAsyncContextManager[Leadership]:
        return campaign(self, name, identity, ttl_s)

    async def leader(self, name: str) -> KeyValue | None:
        return await self.get(ELECTION_PREFIX + name)

    async def close(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            await client.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.close()


def _reason(error: BaseException) -> str:
    return str(error) or type(error).__name__


def _unchanged(key: str, expected_revision: int) -> Any:
    """Build the comparison "last changed at this revision"; the client has helpers for the other targets only."""
    compare = KVService.txn_compare_version(key, 0)
    if expected_revision:
        compare.target = type(compare).MOD
        compare.mod_revision = expected_revision
    return compare


def _entry(found: Any) -> KeyValue:
    return KeyValue(
        found.key.decode(), found.value, int(found.mod_revision), int(found.create_revision), int(found.lease)
    )


def _event(event: Any) -> WatchEvent:
    kv = event.kv
    if event.type == type(event).DELETE:
        return WatchEvent("delete", kv.key.decode(), b"", int(kv.mod_revision))
    return WatchEvent("put", kv.key.decode(), kv.value, int(kv.mod_revision), int(kv.create_revision))
