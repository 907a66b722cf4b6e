"""A disk in memory that keeps what it promised through a power cut, and nothing more.

Rules:
- A machine's ``MemoryDisk`` outlives its processes; each process works on a ``Mount`` of its own, which refuses
  everything once the process is dead, so that what a dying process still tries leaves no mark.
- ``kill`` loses nothing that was written (the system's cache survives a process). ``power_cut`` keeps what was synced,
  and of the rest what chance decides: some of the writes in order, the last one torn, or a page in the middle missing.
- Names (made, replaced, removed) are kept in the order in which they happened, as journalling file systems do: a power
  cut undoes a number of the last ones that ``sync_folder`` has not covered.
- A ``sync`` that fails forgets what it should have written: it stays readable until the power cut, and no later sync
  writes it.

The same contract tests run over ``SystemDisk``.
"""

from __future__ import annotations

import errno
import io
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from nervure_core.disk import OpenFile


@dataclass(slots=True, eq=False)
class _Inode:
    data: bytearray = field(default_factory=bytearray)
    stable: bytearray = field(default_factory=bytearray)
    pending: list[tuple[int, bytes | None]] = field(default_factory=list[tuple[int, bytes | None]])
    """Writes (offset, data) and cuts (size, None) since the last sync."""


def _apply(target: bytearray, offset: int, data: bytes | None) -> None:
    if data is None:
        del target[offset:]
        return
    if len(target) < offset:
        target.extend(bytes(offset - len(target)))
    target[offset : offset + len(data)] = data


class MemoryDisk:
    """One machine's disk.

    Args:
        rng: Decides what a power cut leaves.
        capacity_bytes: Its size.
    """

    def __init__(self, rng: random.Random, capacity_bytes: int = 1 << 30) -> None:
        self._rng = rng
        self.capacity_bytes = capacity_bytes
        self.others_bytes = 0
        """What somebody else has filled."""
        self.failing_syncs = 0
        """So many of the next syncs fail."""
        self._names: dict[Path, _Inode] = {}
        self._kept: dict[Path, _Inode] = {}
        self._changes: list[tuple[Path, _Inode | None]] = []
        self.holders: dict[Path, Mount] = {}

    @property
    def used_bytes(self) -> int:
        """What its files take."""
        return sum(len(inode.data) for inode in self._names.values())

    @property
    def room_bytes(self) -> int:
        """What may still be written."""
        return max(self.capacity_bytes - self.others_bytes - self.used_bytes, 0)

    def empty(self) -> None:
        """Let somebody else remove what filled it."""
        self.others_bytes = 0

    def power_cut(self) -> None:
        """Lose what was not synced, as chance decides."""
        rng = self._rng
        for path, inode in self._changes[: rng.randint(0, len(self._changes))]:
            self._set(self._kept, path, inode)
        self._changes.clear()
        for inode in dict.fromkeys(self._kept.values()):
            self._settle(inode)
        self._names = dict(self._kept)

    def _settle(self, inode: _Inode) -> None:
        rng = self._rng
        done = inode.pending[: rng.randint(0, len(inode.pending))]
        if done and rng.random() < 0.5:
            offset, data = done.pop()
            if data:
                done.append((offset, data[: rng.randrange(len(data))]))
        if len(done) > 1 and rng.random() < 0.2:
            done.pop(rng.randrange(len(done) - 1))
        for offset, data in done:
            _apply(inode.stable, offset, data)
        inode.pending.clear()
        inode.data = bytearray(inode.stable)

    # What mounts do

    def inode(self, path: Path) -> _Inode:
        """Return a file's inode."""
        found = self._names.get(path)
        if found is None:
            raise FileNotFoundError(errno.ENOENT, "No such file or directory", str(path))
        return found

    def listed(self, folder: Path) -> list[str]:
        """Return the names in a folder."""
        return [path.name for path in self._names if path.parent == folder]

    def rename(self, path: Path, inode: _Inode | None) -> None:
        """Let a name stand for an inode, or for nothing."""
        self._set(self._names, path, inode)
        self._changes.append((path, inode))

    def keep_names(self, folder: Path) -> None:
        """Make the names of a folder durable; a journal does so for everything that happened before as well."""
        if any(path.parent == folder for path, _ in self._changes):
            for path, inode in self._changes:
                self._set(self._kept, path, inode)
            self._changes.clear()

    @staticmethod
    def _set(names: dict[Path, _Inode], path: Path, inode: _Inode | None) -> None:
        if inode is None:
            names.pop(path, None)
        else:
            names[path] = inode


class Mount:
    """The disk as one process sees it, while it lives.

    Args:
        disk: The machine's.
        crash: Called in the middle of an operation when ``crash_in`` has run out.
    """

    def __init__(self, disk: MemoryDisk, crash: Callable[[], None]) -> None:
        self.disk = disk
        self._crash = crash
        self.dead = False
        self.crash_in: int | None = None
        """How many more changing operations succeed before the process dies in one."""
        self.operations = 0

    def kill(self) -> None:
        """Refuse everything from now on and let go of locks."""
        self.dead = True
        for path in [path for path, holder in self.disk.holders.items() if holder is self]:
            del self.disk.holders[path]

    def check(self) -> None:
        """Raise when the process is dead."""
        if self.dead:
            raise OSError(errno.EIO, "this process is dead")

    def changes(self) -> bool:
        """Count a changing operation; return whether the process dies in this one."""
        self.check()
        self.operations += 1
        if self.crash_in is None:
            return False
        self.crash_in -= 1
        return self.crash_in < 0

    def die(self) -> OSError:
        """Kill the process and return what its last operation gets to see."""
        self.crash_in = None
        self._crash()
        return OSError(errno.EIO, "this process is dead")

    def step(self, work: Callable[[], None]) -> None:
        """Do one changing operation whole, or die before it or after it."""
        if not self.changes():
            return work()
        if self.operations % 2:
            work()
        raise self.die()

    def make_folder(self, folder: Path) -> None:
        self.check()

    def names(self, folder: Path) -> list[str]:
        self.check()
        return self.disk.listed(folder)

    def size(self, path: Path) -> int:
        self.check()
        return len(self.disk.inode(path).data)

    def open(self, path: Path, *, create: bool) -> OpenFile:
        self.check()
        try:
            return _File(self, self.disk.inode(path))
        except FileNotFoundError:
            if not create:
                raise
        inode = _Inode()
        self.step(lambda: self.disk.rename(path, inode))
        return _File(self, inode)

    def reader(self, path: Path) -> BinaryIO:
        return io.BytesIO(self.read(path))

    def read(self, path: Path) -> bytes:
        self.check()
        return bytes(self.disk.inode(path).data)

    def replace(self, path: Path, data: bytes, *, durable: bool) -> None:
        if len(data) > self.disk.room_bytes:
            self.check()
            raise OSError(errno.ENOSPC, "No space left on device")
        inode = _Inode(bytearray(data), bytearray(data) if durable else bytearray())
        if not durable:
            inode.pending.append((0, data))
        self.step(lambda: self.disk.rename(path, inode))
        if durable:
            self.sync_folder(path.parent)

    def remove(self, path: Path) -> None:
        if path.name in self.names(path.parent):
            self.step(lambda: self.disk.rename(path, None))

    def sync_folder(self, folder: Path) -> None:
        self.step(lambda: self.disk.keep_names(folder))

    def hold(self, path: Path) -> Callable[[], None]:
        self.check()
        if path in self.disk.holders:
            raise BlockingIOError(errno.EWOULDBLOCK, "Resource temporarily unavailable")
        self.disk.holders[path] = self
        return lambda: self._release(path)

    def _release(self, path: Path) -> None:
        if self.disk.holders.get(path) is self:
            del self.disk.holders[path]


class _File:
    __slots__ = ("_inode", "_mount")

    def __init__(self, mount: Mount, inode: _Inode) -> None:
        self._mount, self._inode = mount, inode

    def write_at(self, data: bytes | memoryview, offset: int) -> int:
        dies = self._mount.changes()
        taken = bytes(data)
        growth = offset + len(taken) - len(self._inode.data)
        room = self._mount.disk.room_bytes
        if growth > room:
            taken = taken[: max(len(taken) - (growth - room), 0)]
            if not taken:
                raise OSError(errno.ENOSPC, "No space left on device")
        if dies:
            taken = taken[: len(taken) * (self._mount.operations % 4) // 3]
        _apply(self._inode.data, offset, taken)
        self._inode.pending.append((offset, taken))
        if dies:
            raise self._mount.die()
        return len(taken)

    def read_at(self, size: int, offset: int) -> bytes:
        self._mount.check()
        return bytes(self._inode.data[offset : offset + size])

    def cut(self, size: int) -> None:
        def work() -> None:
            _apply(self._inode.data, size, None)
            self._inode.pending.append((size, None))

        self._mount.step(work)

    def sync(self) -> None:
        if self._mount.disk.failing_syncs and not self._mount.dead:
            self._mount.disk.failing_syncs -= 1
            self._inode.pending.clear()
            raise OSError(errno.EIO, "Input/output error")
        self._mount.step(self._keep)

    def _keep(self) -> None:
        for offset, data in self._inode.pending:
            _apply(self._inode.stable, offset, data)
        self._inode.pending.clear()

    def twin(self) -> OpenFile:
        return _File(self._mount, self._inode)

    def close(self) -> None:
        """Nothing to let go of."""
