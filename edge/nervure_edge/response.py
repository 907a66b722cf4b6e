"""Responses: a firewall seam and its in-memory twin. Nothing is enforced yet; the twin is also the observing mode.

Rules: every block has an end; the list is bounded, and when it is full the block that ends first makes room; blocking
a source again prolongs its block.

>>> firewall = MemoryFirewall(max_blocks=2, monotonic_s=lambda: 0.0)
>>> firewall.block("10.0.0.9", ttl_s=60.0)
True
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Protocol


class Firewall(Protocol):
    """Where traffic of a source can be stopped for a while."""

    def block(self, source: str, ttl_s: float) -> bool:
        """Block ``source`` for ``ttl_s`` seconds; return False when it was blocked already and is prolonged."""
        ...

    def blocked(self) -> dict[str, float]:
        """Return the sources blocked now and the seconds that each has left."""
        ...


class MemoryFirewall:
    """A list of blocks that end by themselves.

    Args:
        max_blocks: Bound of the list.
        monotonic_s: Where time comes from.
    """

    def __init__(self, max_blocks: int, monotonic_s: Callable[[], float]) -> None:
        self._max_blocks = max_blocks
        self._monotonic_s = monotonic_s
        self._ends_s: dict[str, float] = {}
        self._lock = threading.Lock()

    def block(self, source: str, ttl_s: float) -> bool:
        now = self._monotonic_s()
        with self._lock:
            fresh = self._ends_s.get(source, 0.0) <= now
            if source not in self._ends_s and len(self._ends_s) >= self._max_blocks:
                self._ends_s.pop(min(self._ends_s, key=self._ends_s.__getitem__))
            self._ends_s[source] = now + ttl_s
        return fresh

    def blocked(self) -> dict[str, float]:
        now = self._monotonic_s()
        with self._lock:
            self._ends_s = {source: end for source, end in self._ends_s.items() if end > now}
            return {source: end - now for source, end in self._ends_s.items()}
