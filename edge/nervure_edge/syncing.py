"""Group commit: makes what was spooled durable, away from the thread that decides."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import Protocol

from nervure_core.clock import Clock
from nervure_core.errors import WorldError
from nervure_edge.changes import Changes
from nervure_edge.spool import Spool

logger = logging.getLogger(__name__)

_RETRY_S = 1.0


class InThread(Protocol):
    """Runs something that blocks, away from the event loop."""

    def __call__(self, work: Callable[[], int]) -> Awaitable[int]:
        """Return what ``work`` returns."""
        ...


async def keep_durable(
    spool: Spool, changes: Changes, clock: Clock, in_thread: InThread, durable: Callable[[], None], pause_s: float
) -> None:
    """Sync the spool whenever something was appended, until cancelled.

    Args:
        spool: What is synced.
        changes: Tells that something was appended.
        clock: Time of waits.
        in_thread: Runs the sync.
        durable: Is told after every sync.
        pause_s: Least time between two syncs: what comes meanwhile shares the next one.
    """
    while True:
        await changes.wait_for(lambda: spool.next_seq > spool.durable_seq)
        try:
            await in_thread(spool.sync)
        except WorldError as error:
            logger.warning("events are not durable yet: %s", error)
            await clock.sleep(_RETRY_S)
        durable()
        await clock.sleep(pause_s)
