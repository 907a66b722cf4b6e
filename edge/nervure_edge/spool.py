"""Events on their way to a hub: a segment log with a quota, an acknowledgement mark, and an account of what was lost.

Rules:
- Every event has a sequence number of its own, whether it could be kept or not; the stream id is random per folder.
- ``append`` never waits and never raises for lack of room or a disk that fails: what can't be kept is counted, and its numbers are covered by
  a ``Lost`` record in the log itself, so that a restart still knows.
- Room is kept for what matters: each kind of event is refused above its own share of the quota (``SHARES``).
- Only what is durable here is handed out to be sent. Otherwise a power cut could give a number twice, and a hub would
  take the second event for a copy of the first.
- A hole that no record explains (a damaged segment) is reported as lost too: nothing vanishes silently.
- The mark is written without fsync, at most once a second: a stale one only makes the hub drop some copies.

``append`` may be called from any thread, ``sync`` from another, ``read`` and ``acknowledge`` from a third.

>>> with Spool(folder, quota_bytes=1 << 20) as spool:  # doctest: +SKIP
...     spool.append(EventKind.FINDING, events)
...     spool.sync()
...     for item in spool.read(spool.acknowledged_seq):
...         send(item)
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from nervure_core.codec import decode_batch, encode_batch
from nervure_core.disk import Disk, SystemDisk
from nervure_core.errors import PeerError, WorldError
from nervure_core.events import MAX_PAYLOAD_BYTES, Event, EventBatch, EventKind, pack_events
from nervure_core.ids import STREAM_ID_BYTES, new_stream_id
from nervure_core.messages import Lost
from nervure_core.segment_log import LogRecord, SegmentLog

logger = logging.getLogger(__name__)

SHARES: dict[EventKind, float] = {
    EventKind.AUDIT: 0.98,
    EventKind.FINDING: 0.95,
    EventKind.METRIC: 0.80,
    EventKind.SAMPLE: 0.60,
}
"""Up to which share of the quota a kind is taken; the last two percent are for the account of what was lost."""

LOST_CLASS = 255
"""Class of a log record that stands for events which were dropped; its payload is the reason."""
KIND_CLASSES: dict[EventKind, int] = {kind: number for number, kind in enumerate(EventKind, start=1)}

_TAIL_BYTES = 1 << 20
_LOSS_RECORD_EVENTS = 1000
_MARK_INTERVAL_S = 1.0
_MAX_SKIP = 0xFFFF_FFFF
QUOTA = "spool over quota"
DAMAGED = "spool damaged"


@dataclass(frozen=True, slots=True)
class SpoolCounts:
    """What went through since the process started; ``size_bytes`` and ``pending`` are as of now."""

    produced: int
    acknowledged: int
    lost: int
    size_bytes: int
    pending: int
    """Events kept and not acknowledged."""


class Spool:
    """The spool of one folder.

    Args:
        folder: Made if missing; one spool at a time may own it.
        quota_bytes: Bytes on disk.
        segment_bytes: Room is freed in whole segments of this size.
        monotonic_s: Where the interval between two marks is measured.
        disk: Where the folder is; the machine's own by default.

    Raises:
        WorldError: The folder cannot be made, read or written.
    """

    def __init__(
        self,
        folder: Path,
        *,
        quota_bytes: int,
        segment_bytes: int = 1 << 20,
        monotonic_s: Callable[[], float] = time.monotonic,
        disk: Disk | None = None,
    ) -> None:
        self._disk: Disk = disk if disk is not None else SystemDisk()
        self._folder = folder
        self._quota_bytes = quota_bytes
        self._monotonic_s = monotonic_s
        self._log = SegmentLog(folder / "log", segment_bytes=segment_bytes, quota_bytes=quota_bytes, disk=self._disk)
        # One lock for those who append, one for the log itself: an acknowledgement never waits for a batch being coded.
        self._append_lock = threading.Lock()
        self._log_lock = threading.Lock()
        self._tail: deque[LogRecord] = deque()
        self._tail_bytes = 0
        self._loss: tuple[int, int] | None = None
        self._lost_ranges: list[tuple[int, int]] = []
        self._produced = self._acknowledged = self._lost = 0
        self._closed = False
        self._mark_path = folder / "acknowledged"
        self.stream_id = self._load_stream_id()
        """16 bytes, the same for the life of this folder."""
        self._acknowledged_seq = max(self._log.first_seq, min(self._load_mark(), self._log.next_seq))
        self._marked_seq, self._marked_at_s = self._acknowledged_seq, monotonic_s()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return (
            f"<Spool acknowledged {self._acknowledged_seq}, durable {self._log.synced_seq}, next {self.next_seq}, "
            f"{self._log.size_bytes} of {self._quota_bytes} bytes>"
        )

    @property
    def next_seq(self) -> int:
        """The number that the next event gets."""
        loss = self._loss
        return loss[1] if loss else self._log.next_seq

    @property
    def acknowledged_seq(self) -> int:
        """Every lower number is durable at some hub, or reported as lost."""
        return self._acknowledged_seq

    @property
    def durable_seq(self) -> int:
        """Every lower number survives a power cut here and may be sent."""
        return self._log.synced_seq

    def counts(self) -> SpoolCounts:
        """Return the counters."""
        pending = max(self._log.next_seq - self._acknowledged_seq, 0)
        return SpoolCounts(self._produced, self._acknowledged, self._lost, self._log.size_bytes, pending)

    def append(self, kind: EventKind, events: Sequence[Event]) -> bool:
        """Number ``events`` and keep them if there is room; return whether they were kept."""
        if not events:
            return True
        with self._append_lock:
            if self._closed:
                raise WorldError(f"{self._folder}: the spool is closed")
            self._produced += len(events)
            return self._append(kind, events)

    def _append(self, kind: EventKind, events: Sequence[Event]) -> bool:
        if self._log.size_bytes >= self._quota_bytes * SHARES[kind] or not self._write_loss():
            return self._lose(len(events))
        batch = pack_events(self.stream_id, self._log.next_seq, kind, events)
        if len(batch.payload) > MAX_PAYLOAD_BYTES:
            if len(events) == 1:
                logger.warning("an event of %d bytes is too large to be sent and is dropped", len(batch.payload))
                return self._lose(1)
            half = len(events) // 2
            first, second = self._append(kind, events[:half]), self._append(kind, events[half:])
            return first and second
        try:
            self._write(encode_batch(batch), batch.first_seq, batch.count, KIND_CLASSES[kind])
        except WorldError:
            return self._lose(len(events))
        return True

    def _write(self, payload: bytes, first_seq: int, count: int, klass: int) -> None:
        with self._log_lock:
            self._log.append(payload, first_seq=first_seq, count=count, klass=klass)
            self._tail.append(LogRecord(first_seq, count, klass, payload))
            self._tail_bytes += len(payload)
            while self._tail_bytes > _TAIL_BYTES and len(self._tail) > 1:
                self._tail_bytes -= len(self._tail.popleft().payload)

    def _lose(self, count: int) -> bool:
        first = self._loss[0] if self._loss else self._log.next_seq
        end = (self._loss[1] if self._loss else first) + count
        self._loss = (first, end)
        self._lost += count
        if end - first >= _LOSS_RECORD_EVENTS:
            self._write_loss()
        return False

    def _write_loss(self) -> bool:
        """Put the pending loss on record; return False when not even that fits."""
        if self._loss is None:
            return True
        first, end = self._loss
        try:
            self._write(QUOTA.encode(), first, end - first, LOST_CLASS)
        except WorldError:
            return False
        with self._log_lock:
            self._lost_ranges.append(self._loss)
        self._loss = None
        return True

    def sync(self) -> int:
        """Make everything appended so far durable, pending losses too; return the mark up to which it is.

        Raises:
            WorldError: The disk reports an error.
        """
        with self._append_lock:
            if not self._closed:
                self._write_loss()
        return self._log.synced_seq if self._closed else self._log.sync()

    def read(self, from_seq: int) -> Iterator[EventBatch | Lost]:
        """Yield what is durable and reaches beyond ``from_seq``, holes included, in rising order.

        Ends at what is durable when it is reached; call again with the end of the last item to go on.
        """
        durable = self._log.synced_seq
        expected = max(from_seq, self._acknowledged_seq)
        if expected >= durable:
            return
        with self._log_lock:
            recent = list(self._tail) if self._tail and self._tail[0].first_seq <= expected else None
        for record in self._log.read(expected) if recent is None else recent:
            if record.end_seq <= expected:
                continue
            if record.first_seq >= durable:
                break
            # What is acknowledged meanwhile may be unlinked under the reader: that is no hole.
            if record.first_seq > max(expected, self._acknowledged_seq):
                yield self._hole(max(expected, self._acknowledged_seq), record.first_seq)
            yield self._decode(record)
            expected = record.end_seq
        expected = max(expected, self._acknowledged_seq)
        if expected < durable and recent is None:
            # What the last segment lost to damage has no record behind it that would show the hole.
            yield self._hole(expected, durable)

    def _decode(self, record: LogRecord) -> EventBatch | Lost:
        if record.klass == LOST_CLASS:
            return Lost(self.stream_id, record.first_seq, record.end_seq, record.payload.decode("utf-8", "replace"))
        try:
            return decode_batch(record.payload)
        except PeerError as error:
            # The checksum held, so another version wrote it: not readable by this one, and never will be.
            logger.warning("spool record [%d, %d) is not readable: %s", record.first_seq, record.end_seq, error)
            return self._hole(record.first_seq, record.end_seq)

    def _hole(self, first: int, end: int) -> Lost:
        with self._log_lock:
            if (first, end) not in self._lost_ranges:
                self._lost_ranges.append((first, end))
                self._lost += end - first
        return Lost(self.stream_id, first, end, DAMAGED)

    def acknowledge(self, stream_id: bytes, durable_up_to: int) -> int:
        """Record that every number below ``durable_up_to`` is durable at a hub; return how many events that is.

        Numbers of another stream, or beyond what is durable here, are not believed.
        """
        seq = min(durable_up_to, self._log.synced_seq)
        with self._log_lock:
            old = self._acknowledged_seq
            if stream_id != self.stream_id or seq <= old:
                return 0
            dropped = sum(max(min(end, seq) - max(first, old), 0) for first, end in self._lost_ranges)
            self._lost_ranges = [(first, end) for first, end in self._lost_ranges if end > seq]
            self._acknowledged_seq = seq
            self._acknowledged += seq - old - dropped
            while self._tail and self._tail[0].end_seq <= seq:
                self._tail_bytes -= len(self._tail.popleft().payload)
            try:
                self._log.drop_before(seq)
            except WorldError as error:
                logger.warning("acknowledged events cannot be removed, their room stays used: %s", error)
        if self._monotonic_s() - self._marked_at_s >= _MARK_INTERVAL_S:
            self._write_mark()
        return seq - old - dropped

    def skip_to(self, seq: int) -> None:
        """Go on numbering at ``seq``: a hub already knows this stream up to there (the folder is an old copy).

        Raises:
            PeerError: The jump is too wide to be honest.
        """
        with self._append_lock:
            first = self.next_seq
            if seq <= first:
                return
            if seq - first > _MAX_SKIP:
                raise PeerError(
                    f"the hub claims to know this agent's events up to {seq}, the spool is at {first}",
                    hint="remove the spool folder to begin a new stream",
                )
            self._write_loss()
            with contextlib.suppress(WorldError):
                self._write(b"skipped", self._log.next_seq, seq - self._log.next_seq, LOST_CLASS)

    def close(self) -> None:
        """Sync, write the mark and close; safe to call again."""
        with self._append_lock:
            if self._closed:
                return
            self._write_loss()
            self._closed = True
            with self._log_lock:
                self._log.close()
        self._write_mark()

    def _load_stream_id(self) -> bytes:
        path = self._folder / "stream"
        try:
            text = self._disk.read(path).decode("ascii").strip()
            known = bytes.fromhex(text)
            if len(known) == STREAM_ID_BYTES:
                return known
        except (FileNotFoundError, ValueError):
            # Absent or damaged: what is spooled still names its stream.
            known = b""
        for record in self._log.read():
            if record.klass != LOST_CLASS:
                with contextlib.suppress(PeerError):
                    known = decode_batch(record.payload).stream_id
                    break
        stream_id = known if len(known) == STREAM_ID_BYTES else new_stream_id()
        try:
            self._disk.replace(path, stream_id.hex().encode(), durable=True)
        except OSError as error:
            raise WorldError(
                f"{path}: cannot be written: {error.strerror}", hint="check the path and the disk"
            ) from error
        return stream_id

    def _load_mark(self) -> int:
        try:
            return int(self._disk.read(self._mark_path))
        except (OSError, ValueError):
            return 0

    def _write_mark(self) -> None:
        if self._marked_seq == self._acknowledged_seq:
            return
        self._marked_seq, self._marked_at_s = self._acknowledged_seq, self._monotonic_s()
        with contextlib.suppress(OSError):
            self._disk.replace(self._mark_path, str(self._marked_seq).encode("ascii"), durable=False)
