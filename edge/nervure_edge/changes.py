"""Waiting for a condition over plain attributes, without polling and without a lock.

Rules: everything happens in one event loop; who changes something that others may wait for calls ``notify``; a predicate
is looked at when waiting begins and after every ``notify``. Threads use ``notify_from_thread``.

>>> await changes.wait_for(lambda: agent.hub == "localhost:7443")  # doctest: +SKIP
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable

from nervure_core.clock import Clock


class Changes:
    """Wakes those who wait when something has changed; made inside the running loop that will use it."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._waiting: set[asyncio.Future[None]] = set()

    def notify(self) -> None:
        """Let everybody look at their condition again."""
        for waiting in self._waiting:
            if not waiting.done():
                waiting.set_result(None)
        self._waiting.clear()

    def notify_from_thread(self) -> None:
        """Do the same from another thread; quiet when the loop has closed meanwhile."""
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self.notify)

    async def wait_for(self, predicate: Callable[[], bool]) -> None:
        """Return when ``predicate`` holds; bound it with ``asyncio.timeout``."""
        while not predicate():
            waiting: asyncio.Future[None] = self._loop.create_future()
            self._waiting.add(waiting)
            try:
                await waiting
            finally:
                self._waiting.discard(waiting)

    async def wait_within(self, predicate: Callable[[], bool], seconds: float, clock: Clock) -> bool:
        """Wait at most ``seconds`` of ``clock``; return whether ``predicate`` holds."""
        async with asyncio.TaskGroup() as group:
            waiter = group.create_task(self.wait_for(predicate))
            timer = group.create_task(clock.sleep(max(seconds, 0.0)))
            await asyncio.wait((waiter, timer), return_when=asyncio.FIRST_COMPLETED)
            waiter.cancel()
            timer.cancel()
        return predicate()
