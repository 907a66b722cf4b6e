"""A gateway's journal: what agents sent, on disk before it is acknowledged.

Rules
    1. One folder, one owner: a lock file (``flock``, so it dies with its process) keeps a second hub or an offline
       reader out while a gateway lives.
    2. One thread appends and syncs. It takes whatever has queued up, appends it all, syncs once (group commit), and only
       then reports the tokens as durable, on the event loop.
    3. When a write or a sync fails, everything queued at that moment fails too, up to ``resume``: were a later batch of
       the same stream accepted, its acknowledgement would cover the hole.
    4. ``journal.json`` names the journal for good (a random id), so that compaction can't mistake a wiped and refilled
       folder for the old one. ``watermarks.json`` is written before segments are given away, or after, where only that
       makes room for it; the marks are rebuilt from it and from the records that are left.
    5. Readers see durable records only.

Order: ``Journal(folder, …)`` (blocks: recovery) → ``start`` → ``submit`` … → ``close``.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, Self, TypeVar

from nervure_core.disk import Disk, SystemDisk
from nervure_core.errors import NervureError, WorldError
from nervure_core.ids import new_id
from nervure_core.segment_log import SegmentLog
from nervure_hub.gateway.records import BadRecord, StoredBatch, decode_record
from nervure_hub.gateway.watermarks import StreamKey, Watermarks

_log = logging.getLogger(__name__)
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class JournalRecord:
    """One durable record."""

    seq: int
    klass: int
    payload: bytes


@dataclass(frozen=True, slots=True)
class JournalSlice:
    """Consecutive durable records."""

    journal_id: str
    records: tuple[JournalRecord, ...]
    next_seq: int
    """Where the next slice begins."""
    more: bool
    """True when the size bound cut the slice."""


@dataclass(slots=True)
class _Write(Generic[T]):
    klass: int
    payload: bytes
    token: T
    epoch: int


@dataclass(slots=True)
class _Drop:
    seq: int
    marks: bytes
    done: Callable[[int | NervureError], None]


class Journal(Generic[T]):
    """The journal of one folder; ``T`` is what the caller wants back when a record is durable.

    Args:
        folder: Made if missing.
        segment_bytes: Size of a segment file.
        quota_bytes: Bytes at which writes fail; None for no bound.
        disk: Where the folder is; the machine's own by default.

    Raises:
        WorldError: The folder can't be used, or another process uses it.
    """

    def __init__(
        self,
        folder: Path,
        *,
        segment_bytes: int = 8 << 20,
        quota_bytes: int | None = None,
        disk: Disk | None = None,
    ) -> None:
        self.folder = folder
        self._disk: Disk = disk if disk is not None else SystemDisk()
        self._release = _lock(self._disk, folder)
        try:
            self.journal_id = _identity(self._disk, folder)
            self._log = SegmentLog(folder, segment_bytes=segment_bytes, quota_bytes=quota_bytes, disk=self._disk)
            # What the last process wrote and did not sync is believed from here on: agents are told so.
            self._log.sync()
            self.marks = _marks_of(self._disk, folder, self._log)
        except BaseException:
            self._release()
            raise
        if self._log.recovery.cut_bytes or self._log.recovery.skipped_bytes:
            _log.warning("journal %s was damaged: %s", folder, self._log.recovery)
        self._changed = threading.Condition()
        self._queue: list[_Write[T] | _Drop] = []
        self._epoch = 1
        self._poisoned = 0
        self._closing = False
        self._thread: threading.Thread | None = None
        self._schedule: Callable[[Callable[[], None]], None] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._on_durable: Callable[[list[T]], None] = lambda _tokens: None
        self._on_failed: Callable[[list[T], NervureError], None] = lambda _tokens, _error: None
        self.queued_bytes = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def size_bytes(self) -> int:
        """Bytes on disk."""
        return self._log.size_bytes

    @property
    def first_seq(self) -> int:
        """The lowest record still held."""
        return self._log.first_seq

    @property
    def synced_seq(self) -> int:
        """Every record below this one is durable."""
        return self._log.synced_seq

    def start(
        self,
        on_durable: Callable[[list[T]], None],
        on_failed: Callable[[list[T], NervureError], None],
        *,
        schedule: Callable[[Callable[[], None]], None] | None = None,
    ) -> None:
        """Begin to write; the callbacks run on the calling thread's event loop.

        Args:
            on_durable: Gets the tokens of what is on disk.
            on_failed: Gets the tokens of what is not, and why.
            schedule: Runs the writing whenever something was queued, in the place of a thread of our own.
        """
        self._loop = asyncio.get_running_loop()
        self._on_durable, self._on_failed = on_durable, on_failed
        self._schedule = schedule
        if schedule is not None:
            return
        self._thread = threading.Thread(target=self._run, name=f"journal-{self.folder.name}", daemon=True)
        self._thread.start()

    def submit(self, klass: int, payload: bytes, token: T) -> None:
        """Queue one record; never blocks. Callers bound the queue by ``queued_bytes``."""
        with self._changed:
            self._queue.append(_Write(klass, payload, token, self._epoch))
            self._wake()
        self.queued_bytes += len(payload)

    def resume(self) -> None:
        """Take records again after ``on_failed``, once nobody relies on what failed."""
        with self._changed:
            self._epoch = self._poisoned + 1

    async def drop_before(self, seq: int) -> int:
        """Give away whole segments below ``seq``; return the bytes given back.

        Raises:
            WorldError: The snapshot can't be written or a file can't be removed; what was not dropped stays.
        """
        loop = asyncio.get_running_loop()
        dropped: asyncio.Future[int] = loop.create_future()

        def settle(result: int | NervureError) -> None:
            if dropped.done():
                return
            if isinstance(result, NervureError):
                dropped.set_exception(result)
            else:
                dropped.set_result(result)

        command = _Drop(seq, self.marks.snapshot(), lambda result: _call(loop, lambda: settle(result)))
        with self._changed:
            if (self._thread is None and self._schedule is None) or self._closing:
                return 0
            self._queue.append(command)
            self._wake()
        return await dropped

    def read(self, from_seq: int, max_bytes: int) -> JournalSlice:
        """Return durable records from ``from_seq`` on, at least one if there is one; blocks on the disk."""
        records: list[JournalRecord] = []
        size = 0
        end = self._log.synced_seq
        next_seq = max(from_seq, self._log.first_seq)
        for record in self._log.read(from_seq):
            if record.end_seq > end:
                break
            if records and size + len(record.payload) > max_bytes:
                return JournalSlice(self.journal_id, tuple(records), next_seq, more=True)
            records.append(JournalRecord(record.first_seq, record.klass, record.payload))
            size += len(record.payload)
            next_seq = record.end_seq
        return JournalSlice(self.journal_id, tuple(records), next_seq, more=False)

    def close(self) -> None:
        """Write and sync what is queued, remember the marks, release the folder; safe to call again. Blocks."""
        with self._changed:
            if self._closing:
                return
            self._closing = True
            self._changed.notify()
        if self._thread is not None:
            self._thread.join()
        self._write_queued()
        try:
            self._log.close()
            _save_marks(self._disk, self.folder, self.marks.snapshot())
        except (NervureError, OSError) as error:
            # The records themselves tell the marks on the next start.
            _log.warning("journal %s: closing: %s", self.folder, error)
        finally:
            self._release()

    def _wake(self) -> None:
        if self._schedule is None:
            self._changed.notify()
        elif len(self._queue) == 1:
            self._schedule(self._write_queued)

    def _write_queued(self) -> None:
        with self._changed:
            items, self._queue = self._queue, []
        if items:
            self._commit(items)

    def _run(self) -> None:
        while True:
            with self._changed:
                while not self._queue and not self._closing:
                    self._changed.wait()
                if not self._queue:
                    return
            self._write_queued()

    def _commit(self, items: list[_Write[T] | _Drop]) -> None:
        durable: list[T] = []
        failed: list[T] = []
        error: NervureError | None = None
        size = 0
        for item in items:
            if isinstance(item, _Drop):
                item.done(self._dropped(item))
                continue
            size += len(item.payload)
            if item.epoch <= self._poisoned:
                failed.append(item.token)
                continue
            try:
                self._log.append(item.payload, klass=item.klass)
                durable.append(item.token)
            except NervureError as problem:
                error, self._poisoned = problem, item.epoch
                failed.append(item.token)
        if durable:
            try:
                self._log.sync()
            except NervureError as problem:
                # Nothing of this group may be acknowledged, and a later sync that succeeds proves nothing about it.
                error, self._poisoned = problem, self._epoch
                failed, durable = durable + failed, []
        loop = self._loop
        if loop is not None:
            _call(loop, lambda: self._deliver(durable, failed, error, size))

    def _dropped(self, command: _Drop) -> int | NervureError:
        try:
            saved = self._saved(command.marks)
            freed = self._log.drop_before(command.seq)
        except NervureError as error:
            return error
        if not saved and not self._saved(command.marks):
            _log.warning(
                "journal %s: no room for the watermarks; after a restart repeats are stored again", self.folder
            )
        return freed

    def _saved(self, marks: bytes) -> bool:
        """Save the marks; on a full disk that may work only once segments have gone."""
        try:
            _save_marks(self._disk, self.folder, marks)
        except OSError:
            return False
        return True

    def _deliver(self, durable: list[T], failed: list[T], error: NervureError | None, size: int) -> None:
        self.queued_bytes -= size
        if durable:
            self._on_durable(durable)
        if failed:
            self._on_failed(failed, error or WorldError(f"{self.folder}: an earlier write failed"))


def _call(loop: asyncio.AbstractEventLoop, callback: Callable[[], None]) -> None:
    # The loop may be closed already when a process ends without closing its journal: nobody waits any more.
    with contextlib.suppress(RuntimeError):
        loop.call_soon_threadsafe(callback)


def _lock(disk: Disk, folder: Path) -> Callable[[], None]:
    try:
        disk.make_folder(folder)
        return disk.hold(folder / "journal.lock")
    except BlockingIOError as error:
        raise WorldError(
            f"{folder}: another process uses this journal", hint="give each hub a --data folder of its own"
        ) from error
    except OSError as error:
        raise WorldError(
            f"{folder}: can't open the journal: {error.strerror}", hint="check the path and its rights"
        ) from error


def _identity(disk: Disk, folder: Path) -> str:
    file = folder / "journal.json"
    try:
        try:
            return str(json.loads(disk.read(file))["id"])
        except FileNotFoundError:
            journal_id = new_id("journal")
            disk.replace(file, json.dumps({"id": journal_id, "format": 1}).encode(), durable=True)
    except (OSError, ValueError, KeyError) as error:
        raise WorldError(f"{file}: can't be used: {error}", hint="move the damaged journal folder away") from error
    return journal_id


def _save_marks(disk: Disk, folder: Path, snapshot: bytes) -> None:
    disk.replace(folder / "watermarks.json", snapshot, durable=True)


def _marks_of(disk: Disk, folder: Path, log: SegmentLog) -> Watermarks:
    file = folder / "watermarks.json"
    try:
        marks = Watermarks.restore(disk.read(file))
    except FileNotFoundError:
        marks = Watermarks()
    except (OSError, ValueError) as error:
        # Without marks repeats are stored again and dropped at compaction: worse, not wrong.
        _log.warning("%s: not usable, starting from the records alone: %s", file, error)
        marks = Watermarks()
    for record in log.read():
        try:
            entry = decode_record(record.klass, record.payload)
        except BadRecord as error:
            _log.warning("journal %s, record %d: %s", folder, record.first_seq, error)
            continue
        if isinstance(entry, StoredBatch):
            marks.commit(StreamKey(entry.agent_id, entry.batch.stream_id), entry.batch.end_seq)
        else:
            marks.commit(StreamKey(entry.agent_id, entry.lost.stream_id), entry.lost.to_seq)
    return marks
