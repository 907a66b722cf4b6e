"""The disk seam: everything that promises durability takes a ``Disk``, so a simulator can tear, lose and fill one.

Rules:
- What is written to an ``OpenFile`` survives a power cut only after ``sync``; a name that was made, replaced or removed
  only after ``sync_folder`` of its folder.
- A write may be short; a full disk says so by an ``OSError``. Removing always works.
- A ``sync`` that failed has lost track of what was written before it: a later one that succeeds says nothing about it.
- Errors are ``OSError``, as the system gives them; whoever calls turns them into its own words.

>>> disk = SystemDisk()
>>> file = disk.open(Path("log/0.seg"), create=True)  # doctest: +SKIP
>>> file.write_at(b"abc", 0), file.sync()  # doctest: +SKIP
(3, None)
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, Protocol

from nervure_core.files import sync_folder, write_atomic

__all__ = ["Disk", "OpenFile", "SystemDisk"]

_READ_BYTES = 256 * 1024


class OpenFile(Protocol):
    """A file open for writing at any place."""

    def write_at(self, data: bytes | memoryview, offset: int) -> int:
        """Write and return how many bytes were taken; fewer than given on a disk that fills up."""
        ...

    def read_at(self, size: int, offset: int) -> bytes:
        """Return up to ``size`` bytes as they are now, durable or not."""
        ...

    def cut(self, size: int) -> None:
        """Forget everything behind ``size``."""
        ...

    def sync(self) -> None:
        """Make the content durable."""
        ...

    def twin(self) -> OpenFile:
        """Return another handle of the same file, closed on its own."""
        ...

    def close(self) -> None:
        """Let go of it, without making anything durable."""
        ...


class Disk(Protocol):
    """Files and folders as logs and small state use them."""

    def make_folder(self, folder: Path) -> None:
        """Make a folder with its parents, unless it is there."""
        ...

    def names(self, folder: Path) -> list[str]:
        """Return the names in a folder, in no order."""
        ...

    def size(self, path: Path) -> int:
        """Return a file's bytes."""
        ...

    def open(self, path: Path, *, create: bool) -> OpenFile:
        """Open a file for writing, making it if asked."""
        ...

    def reader(self, path: Path) -> BinaryIO:
        """Open a file for reading from its beginning."""
        ...

    def read(self, path: Path) -> bytes:
        """Return a whole file."""
        ...

    def replace(self, path: Path, data: bytes, *, durable: bool) -> None:
        """Put ``data`` in the place of a file: the old one or the new one is seen, and kept if ``durable``."""
        ...

    def remove(self, path: Path) -> None:
        """Remove a file, if it is there."""
        ...

    def sync_folder(self, folder: Path) -> None:
        """Make what happened to the names in a folder durable."""
        ...

    def hold(self, path: Path) -> Callable[[], None]:
        """Lock a file, made if missing, until the returned function is called or the process ends.

        Raises:
            BlockingIOError: Another process holds it.
        """
        ...


class SystemDisk:
    """The disk of this machine."""

    __slots__ = ()

    def make_folder(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)

    def names(self, folder: Path) -> list[str]:
        return [path.name for path in folder.iterdir()]

    def size(self, path: Path) -> int:
        return path.stat().st_size

    def open(self, path: Path, *, create: bool) -> OpenFile:
        return _SystemFile(os.open(path, os.O_RDWR | os.O_CLOEXEC | (os.O_CREAT if create else 0), 0o600))

    def reader(self, path: Path) -> BinaryIO:
        return path.open("rb", buffering=_READ_BYTES)

    def read(self, path: Path) -> bytes:
        return path.read_bytes()

    def replace(self, path: Path, data: bytes, *, durable: bool) -> None:
        if durable:
            return write_atomic(path, data)
        beside = path.with_name(f"{path.name}.new")
        beside.write_bytes(data)
        beside.replace(path)
        return None

    def remove(self, path: Path) -> None:
        path.unlink(missing_ok=True)

    def sync_folder(self, folder: Path) -> None:
        sync_folder(folder)

    def hold(self, path: Path) -> Callable[[], None]:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(descriptor)
            raise
        return lambda: os.close(descriptor)


class _SystemFile:
    __slots__ = ("_descriptor",)

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def write_at(self, data: bytes | memoryview, offset: int) -> int:
        return os.pwrite(self._descriptor, data, offset)

    def read_at(self, size: int, offset: int) -> bytes:
        return os.pread(self._descriptor, size, offset)

    def cut(self, size: int) -> None:
        os.ftruncate(self._descriptor, size)

    def sync(self) -> None:
        os.fdatasync(self._descriptor)

    def twin(self) -> OpenFile:
        return _SystemFile(os.dup(self._descriptor))

    def close(self) -> None:
        os.close(self._descriptor)
