"""What waits to be sent besides events: reports and results, in order, bounded, surviving a change of hubs.

Rules: an entry is one message or a message with its parts, and leaves as a whole; it is removed only after all of it was
handed to a stream, so a session that is cut half way sends it again on the next; when the box is full the oldest entry
goes, because a hub asks again for what it still wants.

>>> box = Outbox(limit=1)
>>> box.post([Goodbye("a")]); box.post([Goodbye("b")]); box.peek()
[Goodbye(reason='b')]
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from nervure_core.messages import AgentMessage, Goodbye

__all__ = ["Goodbye", "Outbox"]


class Outbox:
    """A bounded queue of entries.

    Args:
        limit: Entries kept.
    """

    __slots__ = ("_entries", "_limit", "dropped")

    def __init__(self, limit: int = 64) -> None:
        self._entries: deque[Sequence[AgentMessage]] = deque()
        self._limit = limit
        self.dropped = 0
        """Entries given up for want of room."""

    def __len__(self) -> int:
        return len(self._entries)

    def post(self, entry: Sequence[AgentMessage]) -> None:
        """Put an entry at the end."""
        if len(self._entries) >= self._limit:
            self._entries.popleft()
            self.dropped += 1
        self._entries.append(entry)

    def peek(self) -> Sequence[AgentMessage] | None:
        """Return the oldest entry, or None."""
        return self._entries[0] if self._entries else None

    def done(self, entry: Sequence[AgentMessage]) -> None:
        """Remove an entry that was sent, unless it was dropped meanwhile."""
        if self._entries and self._entries[0] is entry:
            self._entries.popleft()
