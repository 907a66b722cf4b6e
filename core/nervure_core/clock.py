"""The clock seam: everything that waits or stamps takes a ``Clock``, so a simulator can own time.

Rules: ``wall_s`` may jump (a wrong clock is a fault we test), ``monotonic_s`` never goes back; durations are measured
with the second only.

>>> clock = VirtualClock(wall_s=1000.0)
>>> clock.advance(2.5)
>>> clock.monotonic_s(), clock.wall_s()
(2.5, 1002.5)
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import time
from typing import Protocol


class Clock(Protocol):
    """Where time comes from."""

    def wall_s(self) -> float:
        """Return seconds since the Unix epoch; may jump."""
        ...

    def monotonic_s(self) -> float:
        """Return seconds from an arbitrary start; never goes back."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Wait for at least ``seconds`` of this clock's time."""
        ...


class SystemClock:
    """The machine's clock."""

    __slots__ = ()

    def wall_s(self) -> float:
        return time.time()

    def monotonic_s(self) -> float:
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class VirtualClock:
    """A clock that moves only when told to; sleepers wake in the order of their deadlines.

    Args:
        wall_s: Seconds since the Unix epoch at the start.
    """

    __slots__ = ("_monotonic_s", "_offset_s", "_order", "_sleepers")

    def __init__(self, wall_s: float = 1_700_000_000.0) -> None:
        self._monotonic_s = 0.0
        self._offset_s = wall_s
        self._order = itertools.count()
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []

    def wall_s(self) -> float:
        return self._offset_s + self._monotonic_s

    def monotonic_s(self) -> float:
        return self._monotonic_s

    def jump_wall(self, seconds: float) -> None:
        """Move the wall clock alone, as a wrong clock or an NTP step does."""
        self._offset_s += seconds

    def next_deadline_s(self) -> float | None:
        """Return the monotonic time of the next sleeper, or None when nobody sleeps."""
        return self._sleepers[0][0] if self._sleepers else None

    def advance(self, seconds: float) -> None:
        """Move time forward and wake every sleeper whose deadline has come."""
        self._monotonic_s += seconds
        while self._sleepers and self._sleepers[0][0] <= self._monotonic_s:
            _, _, woken = heapq.heappop(self._sleepers)
            if not woken.done():
                woken.set_result(None)

    async def sleep(self, seconds: float) -> None:
        woken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self._monotonic_s + max(seconds, 0.0), next(self._order), woken))
        await woken
