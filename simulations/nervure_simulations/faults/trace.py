"""What happened, in order: a running hash that proves two runs alike, and the last lines for people.

Rules: a line holds virtual time and words, never an address, a random id or a real time.
"""

from __future__ import annotations

import hashlib
from collections import deque

from nervure_core.clock import VirtualClock
from nervure_core.events import EventBatch
from nervure_core.messages import Ack, Credit, Goodbye, Hello, Lost, Move, Refused, Welcome


class Trace:
    """The trace of one run.

    Args:
        clock: Stamps the lines.
        keep: How many of the last lines are kept.
    """

    def __init__(self, clock: VirtualClock, keep: int = 60) -> None:
        self._clock = clock
        self._hash = hashlib.blake2b(digest_size=16)
        self.last: deque[str] = deque(maxlen=keep)
        self.steps = 0

    def __call__(self, who: str, what: str) -> None:
        """Add a line."""
        line = f"{self._clock.monotonic_s():10.4f}  {who}: {what}"
        self._hash.update(line.encode())
        self.last.append(line)
        self.steps += 1

    @property
    def digest(self) -> str:
        """The hash over all lines so far."""
        return self._hash.hexdigest()


def words(message: object) -> str:
    """Return a frame in a few words."""
    match message:
        case EventBatch(first_seq=first, count=count):
            return f"Events [{first}, {first + count})"
        case Lost(from_seq=first, to_seq=end, reason=reason):
            return f"Lost [{first}, {end}) {reason}"
        case Ack(durable_up_to=upto):
            return f"Ack {upto}"
        case Credit(bytes=more):
            return f"Credit {more}"
        case Hello(next_seq=upto):
            return f"Hello next {upto}"
        case Welcome(durable_up_to=upto):
            return f"Welcome durable {upto}"
        case Refused(code=code) | Goodbye(reason=code):
            return f"{type(message).__name__} {code}"
        case Move(within_s=within_s):
            return f"Move within {within_s:g} s"
        case _:
            return type(message).__name__
