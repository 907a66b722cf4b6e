"""Keeping a lease alive, the same way over every store.

Rules
    1. A third of the time to live passes between two renewals, so two may fail before anything is lost.
    2. The holder's deadline counts from when it *asked* for the renewal, not from when the answer came: the holder
       always gives up before the store does.
    3. At the end the lease is revoked, for at most ``FAREWELL_S``; if that fails, the store ends it by itself.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Protocol

from nervure_core.clock import Clock
from nervure_hub.coordination.background import beside, last_word
from nervure_hub.coordination.contract import Lease, LeaseLost, StoreUnreachable

FAREWELL_S = 2.0


class LeaseOffice(Protocol):
    """The three things a store does with leases."""

    async def grant(self, ttl_s: float) -> tuple[int, float]:
        """Return a new lease's id and the time to live that was really granted."""
        ...

    async def renew(self, lease_id: int) -> bool:
        """Start the lease's time again; say whether it still existed."""
        ...

    async def revoke(self, lease_id: int) -> None:
        """End the lease and delete its keys."""
        ...


@asynccontextmanager
async def hold_lease(office: LeaseOffice, ttl_s: float, clock: Clock) -> AsyncGenerator[Lease]:
    """Hold a lease for as long as the context lasts.

    Raises:
        StoreUnreachable: The lease could not be had in the first place.
        LeaseLost: Granting took longer than the lease lives.
    """
    asked_s = clock.monotonic_s()
    lease_id, granted_s = await office.grant(ttl_s)
    lease = Lease(lease_id, granted_s)
    try:
        if clock.monotonic_s() - asked_s > granted_s / 3:
            # The first call also connects, which can take longer than a short lease lives.
            asked_s = clock.monotonic_s()
            if not await office.renew(lease_id):
                raise LeaseLost(
                    f"a lease of {granted_s:g} s ended while it was being granted", hint="ask for a longer one"
                )
        async with beside(_keep(office, lease, asked_s, clock)):
            yield lease
    finally:
        lease.lost.set()
        await last_word(office.revoke(lease_id), within_s=FAREWELL_S)


async def _keep(office: LeaseOffice, lease: Lease, asked_s: float, clock: Clock) -> None:
    deadline_s = asked_s + lease.ttl_s
    beat_s = lease.ttl_s / 3
    while clock.monotonic_s() < deadline_s:
        await clock.sleep(min(beat_s, deadline_s - clock.monotonic_s()))
        asked_s = clock.monotonic_s()
        try:
            # More than half of what is left: a slow answer is still an answer, and one more try fits in behind it.
            async with asyncio.timeout((deadline_s - asked_s) * 0.6):
                alive = await office.renew(lease.id)
        except (StoreUnreachable, TimeoutError):
            continue
        if not alive:
            break
        deadline_s = asked_s + lease.ttl_s
    lease.lost.set()
