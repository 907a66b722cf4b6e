"""How far each agent's stream has come: the memory that makes delivery exactly-once at one gateway.

Rules
    1. A stream is named by (agent id, stream id). Two marks a stream: ``accepted`` (handed to the journal) and
       ``durable`` (on disk); ``durable <= accepted`` always.
    2. A batch wholly below ``accepted`` is a repeat and dropped. One that reaches above is taken whole, since a
       gateway never opens a payload; compaction cuts the overlap by sequence.
    3. A report of loss moves the marks as events do: the agent sends in order, so nothing below it is still on its way,
       and without it an agent whose last word is a loss could never be done.
    4. A gap is no error: what lies in it was acknowledged by another gateway or declared lost by the agent.
    5. After a failed write ``rollback`` forgets what was accepted but not durable, so that the repeat is taken.
    6. Marks survive a restart: they are rebuilt from the journal, on top of a snapshot that is written whenever the
       journal gives segments away (``snapshot`` and ``restore``; JSON, because a person may have to read it).

>>> marks = Watermarks()
>>> key = StreamKey("camera-7", b"s" * 16)
>>> marks.accept(key, 0, 10), marks.accept(key, 0, 10), marks.accept(key, 5, 10)
(<Taken.NEW: 'new'>, <Taken.REPEAT: 'repeat'>, <Taken.OVERLAP: 'overlap'>)
>>> marks.commit(key, 10)
>>> marks.durable(key)
10
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple


class StreamKey(NamedTuple):
    """Names one stream of events."""

    agent_id: str
    stream_id: bytes


class Taken(Enum):
    """What to do with a batch."""

    NEW = "new"
    OVERLAP = "overlap"
    """New in part: store it whole."""
    REPEAT = "repeat"
    """Nothing new: drop it, acknowledge again."""


@dataclass(slots=True)
class _Mark:
    accepted: int = 0
    durable: int = 0


class Watermarks:
    """The marks of all streams one gateway has seen."""

    __slots__ = ("_marks",)

    def __init__(self) -> None:
        self._marks: dict[StreamKey, _Mark] = {}

    def __len__(self) -> int:
        return len(self._marks)

    def accept(self, key: StreamKey, first_seq: int, end_seq: int) -> Taken:
        """Note that sequences up to ``end_seq`` go to the journal, unless they did before."""
        mark = self._marks.get(key)
        if mark is None:
            mark = self._marks[key] = _Mark()
        if end_seq <= mark.accepted:
            return Taken.REPEAT
        overlaps = first_seq < mark.accepted
        mark.accepted = end_seq
        return Taken.OVERLAP if overlaps else Taken.NEW

    def commit(self, key: StreamKey, end_seq: int) -> None:
        """Note that every sequence below ``end_seq`` is on disk."""
        mark = self._marks.setdefault(key, _Mark())
        mark.durable = max(mark.durable, end_seq)
        mark.accepted = max(mark.accepted, mark.durable)

    def rollback(self, key: StreamKey) -> None:
        """Forget what was accepted but never became durable."""
        mark = self._marks.get(key)
        if mark is not None:
            mark.accepted = mark.durable

    def durable(self, key: StreamKey) -> int:
        """Return the sequence below which everything is on disk; 0 for an unknown stream."""
        mark = self._marks.get(key)
        return mark.durable if mark is not None else 0

    def snapshot(self) -> bytes:
        """Return the durable marks as JSON."""
        return json.dumps(
            [[key.agent_id, key.stream_id.hex(), mark.durable] for key, mark in self._marks.items()]
        ).encode()

    @classmethod
    def restore(cls, data: bytes) -> Watermarks:
        """Return the marks of a snapshot.

        Raises:
            ValueError: ``data`` is no snapshot.
        """
        marks = cls()
        rows: Iterable[list[str | int]] = json.loads(data)
        try:
            for agent_id, stream, durable in rows:
                marks.commit(StreamKey(str(agent_id), bytes.fromhex(str(stream))), int(durable))
        except TypeError as error:
            raise ValueError(f"no snapshot of watermarks: {error}") from error
        return marks
