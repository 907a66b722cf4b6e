"""An append-only log in segment files: the one mechanism under the agent's spool and the gateway's journal.

Rules:
- A record covers ``count`` consecutive sequences from ``first_seq``; records come in rising order; gaps are allowed
  (what was dropped), overlaps are not.
- On disk a frame is ``length u32 | crc32 u32 | first_seq u64 | count u32 | class u8 | payload``, little-endian; the
  checksum covers everything after itself. A segment file is named by the sequence of its first record.
- ``append`` writes to the file, ``sync`` makes it durable (fdatasync); nothing may be acknowledged before ``sync``. After
  a ``sync`` that failed the system has forgotten what it should have written, so the next one writes it again first.
- Room is given back by unlinking whole segments only: on a full disk that always works.
- Opening never fails on damage: a torn tail of the last segment is cut, a damaged place in an older one ends that
  segment, both are counted in ``recovery``. What a killed process had not synced is synced before it is believed.
- ``append`` and ``drop_before`` are called by one thread at a time (the owner's lock); others may read and sync meanwhile.

>>> log = SegmentLog(Path("journal"))  # doctest: +SKIP
>>> log.append(b"a", count=10), log.append(b"b", count=5), log.sync()  # doctest: +SKIP
(0, 10, 15)
>>> [(record.first_seq, record.payload) for record in log.read(from_seq=10)]  # doctest: +SKIP
[(10, b'b')]
"""

from __future__ import annotations

import contextlib
import struct
import threading
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Self

from nervure_core.disk import Disk, OpenFile, SystemDisk
from nervure_core.errors import InternalError, WorldError

__all__ = ["LogFull", "LogRecord", "LogRecovery", "SegmentLog"]

_HEAD = struct.Struct("<IIQIB")
_CHECKED = struct.Struct("<QIB")
MAX_RECORD_BYTES = 4 * 1024 * 1024
_SUFFIX = ".seg"


class LogFull(WorldError):
    """The log has used its quota, or the disk is full.

    Attributes:
        used_bytes: What the log holds.
    """

    code = "log_full"

    def __init__(self, message: str, *, used_bytes: int, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.used_bytes = used_bytes


@dataclass(frozen=True, slots=True)
class LogRecord:
    """One record."""

    first_seq: int
    count: int
    klass: int
    payload: bytes

    @property
    def end_seq(self) -> int:
        """The sequence after the last one covered."""
        return self.first_seq + self.count


@dataclass(slots=True)
class LogRecovery:
    """What opening had to give up."""

    cut_bytes: int = 0
    """Bytes of a torn tail."""
    skipped_bytes: int = 0
    """Bytes behind a damaged place in an older segment."""
    skipped_segments: int = 0
    """Segments with a damaged place."""


@dataclass(slots=True)
class _Segment:
    path: Path
    first_seq: int
    end_seq: int
    size_bytes: int


class SegmentLog:
    """The log of one folder.

    Args:
        folder: Made if missing; owned by this object alone.
        segment_bytes: Size at which a new segment begins.
        quota_bytes: Bytes at which ``append`` refuses; None for no bound.
        disk: Where the folder is; the machine's own by default.

    Raises:
        WorldError: The folder can't be made or read.
    """

    def __init__(
        self,
        folder: Path,
        *,
        segment_bytes: int = 8 << 20,
        quota_bytes: int | None = None,
        disk: Disk | None = None,
    ) -> None:
        self._disk: Disk = disk if disk is not None else SystemDisk()
        self._folder = folder
        self._segment_bytes = segment_bytes
        self._quota_bytes = quota_bytes
        self._lock = threading.Lock()
        self._sync_lock = threading.Lock()
        self._segments: list[_Segment] = []
        self._file: OpenFile | None = None
        self._synced_seq = 0
        self._next_seq = 0
        # Of the open segment, so never more than one segment: (end of sequences, place, frame).
        self._unsynced: list[tuple[int, int, bytes]] = []
        self._in_doubt = False
        self.recovery = LogRecovery()
        try:
            self._disk.make_folder(folder)
            self._recover()
        except OSError as error:
            raise WorldError(
                f"{folder}: can't open the log: {error.strerror}", hint="check the path and its rights"
            ) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return (
            f"<SegmentLog {self._folder.name} [{self.first_seq}, {self.next_seq}) synced {self._synced_seq}, "
            f"{len(self._segments)} segments, {self.size_bytes} bytes>"
        )

    @property
    def first_seq(self) -> int:
        """The lowest sequence held; equals ``next_seq`` when empty."""
        with self._lock:
            return self._segments[0].first_seq if self._segments else self._next_seq

    @property
    def next_seq(self) -> int:
        """The sequence that the next record begins with unless told otherwise."""
        return self._next_seq

    @property
    def synced_seq(self) -> int:
        """Every sequence below this one survives a power cut."""
        return self._synced_seq

    @property
    def size_bytes(self) -> int:
        """Bytes on disk."""
        with self._lock:
            return sum(segment.size_bytes for segment in self._segments)

    def append(self, payload: bytes, *, first_seq: int | None = None, count: int = 1, klass: int = 0) -> int:
        """Write one record and return the first sequence it covers; it is durable after the next ``sync``.

        Args:
            payload: At most 4 MiB.
            first_seq: At or above ``next_seq``, which is the default.
            count: How many sequences the record covers, from 1.
            klass: 0 to 255, free for the caller.

        Raises:
            LogFull: The quota or the disk is full; nothing was written.
            WorldError: The file can't be written.
            ValueError: An argument is out of bounds.
        """
        seq = self._next_seq if first_seq is None else first_seq
        if seq < self._next_seq or count < 1 or not 0 <= klass <= 255 or len(payload) > MAX_RECORD_BYTES:
            raise ValueError(
                f"record [{seq}, +{count}) class {klass} of {len(payload)} bytes does not fit after {self._next_seq}"
            )
        size = _HEAD.size + len(payload)
        if self._quota_bytes is not None and self.size_bytes + size > self._quota_bytes:
            raise LogFull(f"{self._folder}: quota of {self._quota_bytes} bytes is used up", used_bytes=self.size_bytes)
        checksum = zlib.crc32(payload, zlib.crc32(_CHECKED.pack(seq, count, klass)))
        frame = _HEAD.pack(len(payload), checksum, seq, count, klass) + payload
        try:
            self._write(seq, frame)
        except OSError as error:
            raise LogFull(
                f"{self._folder}: can't write: {error.strerror}",
                used_bytes=self.size_bytes,
                hint="free space on the disk",
            ) from error
        with self._lock:
            segment = self._segments[-1]
            self._unsynced.append((seq + count, segment.size_bytes, frame))
            segment.size_bytes += size
            segment.end_seq = self._next_seq = seq + count
        return seq

    def sync(self) -> int:
        """Make everything appended so far durable and return the sequence up to which it is.

        Raises:
            WorldError: The disk reports an error; what was appended since the last success is in doubt.
        """
        with self._sync_lock:
            with self._lock:
                # A handle of our own: the appending thread may roll to a new segment meanwhile.
                file = self._file.twin() if self._file is not None else None
                upto, unsynced = self._next_seq, list(self._unsynced)
            if file is not None:
                try:
                    for _, offset, frame in unsynced if self._in_doubt else ():
                        _write_whole(file, frame, offset)
                    file.sync()
                except OSError as error:
                    self._in_doubt = True
                    raise WorldError(f"{self._folder}: can't sync: {error.strerror}", hint="check the disk") from error
                finally:
                    file.close()
            self._in_doubt = False
            with self._lock:
                self._unsynced = [item for item in self._unsynced if item[0] > upto]
            self._synced_seq = max(self._synced_seq, upto)
            return self._synced_seq

    def read(self, from_seq: int = 0) -> Iterator[LogRecord]:
        """Yield the records that reach beyond ``from_seq``, up to what was appended when this began.

        Memory: one read buffer and one record. A segment dropped meanwhile ends the reading of it quietly.

        Raises:
            WorldError: The disk reports an error.
        """
        with self._lock:
            segments = [(segment.path, segment.size_bytes) for segment in self._segments if segment.end_seq > from_seq]
        for path, size in segments:
            try:
                with self._disk.reader(path) as file:
                    yield from (record for record, _ in _records(file, size) if record.end_seq > from_seq)
            except FileNotFoundError:
                continue
            except OSError as error:
                raise WorldError(f"{path}: can't read: {error.strerror}", hint="check the disk") from error

    def drop_before(self, seq: int) -> int:
        """Unlink the segments whose records all lie below ``seq``; return the bytes given back.

        The last segment is unlinked too when it is wholly below ``seq`` and has grown past a quarter of a segment.

        Raises:
            WorldError: A file can't be removed.
        """
        freed = 0
        with self._lock:
            while self._segments and self._segments[0].end_seq <= seq:
                segment = self._segments[0]
                try:
                    if len(self._segments) == 1:
                        if segment.size_bytes < self._segment_bytes // 4:
                            break
                        self._remember_next_seq()
                    self._disk.remove(segment.path)
                except OSError as error:
                    raise WorldError(f"{segment.path}: can't remove: {error.strerror}") from error
                freed += segment.size_bytes
                self._segments.pop(0)
        return freed

    def close(self) -> None:
        """Sync and close; safe to call again.

        Raises:
            WorldError: It is closed, but what was appended last may not be durable.
        """
        try:
            if self._file is not None:
                self.sync()
        finally:
            with self._lock:
                self._close_file()

    def _close_file(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def _write(self, seq: int, frame: bytes) -> None:
        rolls = not self._segments or self._segments[-1].size_bytes >= self._segment_bytes
        if self._file is None or rolls:
            self._open_segment(seq, fresh=rolls)
        file, end = self._file, self._segments[-1].size_bytes
        if file is None:
            raise InternalError("no open segment")
        try:
            _write_whole(file, frame, end)
        except OSError:
            file.cut(end)
            raise

    def _open_segment(self, seq: int, *, fresh: bool) -> None:
        if fresh:
            # The older segment must be durable before it can no longer be reached by sync().
            if self._file is not None:
                self.sync()
            path = self._folder / f"{seq:020d}{_SUFFIX}"
            file = self._disk.open(path, create=True)
            self._disk.sync_folder(self._folder)
            with self._lock:
                self._close_file()
                self._file = file
                self._segments.append(_Segment(path, seq, seq, 0))
        else:
            with self._lock:
                self._file = self._disk.open(self._segments[-1].path, create=False)

    def _remember_next_seq(self) -> None:
        # An empty segment named by the next sequence keeps numbers from being used twice after everything was dropped;
        # it is there before the last other one goes.
        path = self._folder / f"{self._next_seq:020d}{_SUFFIX}"
        self._disk.open(path, create=True).close()
        self._disk.sync_folder(self._folder)
        self._close_file()
        self._segments.append(_Segment(path, self._next_seq, self._next_seq, 0))

    def _recover(self) -> None:
        paths = [self._folder / name for name in sorted(self._disk.names(self._folder))]
        paths = [path for path in paths if path.suffix == _SUFFIX and path.stem.isdigit()]
        for index, path in enumerate(paths):
            size, first, end, good = self._disk.size(path), int(path.stem), int(path.stem), 0
            with self._disk.reader(path) as file:
                for record, offset in _records(file, size):
                    if record.first_seq < end:
                        break
                    end, good = record.end_seq, offset
            if good < size:
                if index == len(paths) - 1:
                    self.recovery.cut_bytes += size - good
                else:
                    self.recovery.skipped_bytes += size - good
                    self.recovery.skipped_segments += 1
                damaged = self._disk.open(path, create=False)
                try:
                    damaged.cut(good)
                finally:
                    damaged.close()
            self._segments.append(_Segment(path, first, end, good))
        if self._segments:
            self._next_seq = max(segment.end_seq for segment in self._segments)
            # A process that was killed leaves its last writes, and the names of its files, to the system's cache:
            # readable, and not yet durable.
            self._disk.sync_folder(self._folder)
            self._synced_seq = self._segments[-1].first_seq
            self._open_segment(self._next_seq, fresh=False)
            last = self._disk.read(self._segments[-1].path)
            self._unsynced = [(self._next_seq, 0, last)] if last else []
            self._in_doubt = True
            with contextlib.suppress(WorldError):
                # A full disk must not keep an agent from starting; the owner's next sync tries again.
                self.sync()


def _write_whole(file: OpenFile, data: bytes, offset: int) -> None:
    written = 0
    while written < len(data):
        # A short write happens on a disk that fills up; the next call then raises ENOSPC.
        written += file.write_at(data[written:], offset + written)


def _records(file: BinaryIO, size: int) -> Iterator[tuple[LogRecord, int]]:
    """Yield whole records and the offset behind each, until the end, ``size`` or the first damaged byte."""
    read = file.read
    offset = 0
    while offset + _HEAD.size <= size:
        head = read(_HEAD.size)
        if len(head) < _HEAD.size:
            return
        length, checksum, first_seq, count, klass = _HEAD.unpack(head)
        if length > MAX_RECORD_BYTES or offset + _HEAD.size + length > size or not count:
            return
        payload = read(length)
        if len(payload) < length or zlib.crc32(payload, zlib.crc32(head[8:])) != checksum:
            return
        offset += _HEAD.size + length
        yield LogRecord(first_seq, count, klass, payload), offset
