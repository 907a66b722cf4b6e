"""Logical lines from a file, a gzip file, a pipe or stdin, without ever blocking for long.

Rules: a regular file is read in pieces; a pipe is waited on for at most ``WAIT_S``, so that the driving thread stays
responsive; a line longer than ``MAX_LINE_BYTES`` is counted and skipped, not kept; a CSV record whose quotes are open
goes on over the line break (RFC 4180).
"""

from __future__ import annotations

import gzip
import os
import select
import stat
import sys
import zlib
from collections import deque
from pathlib import Path
from typing import BinaryIO, cast

from nervure_core.errors import InputError

MAX_LINE_BYTES = 1 << 20
WAIT_S = 0.1
_READ_BYTES = 64 * 1024


class LineSource:
    """Lines of one source.

    Args:
        path: A file, a file ending in ``.gz``, a pipe, or ``-`` for stdin.
        quoted: Whether double quotes may hold line breaks.

    Raises:
        InputError: The source cannot be opened, or is an empty file.
    """

    def __init__(self, path: str, *, quoted: bool) -> None:
        self._name = "stdin" if path == "-" else path
        self._quoted = quoted
        self._ready: deque[str] = deque()
        self._rest = b""
        self._open_record = b""
        self._skipping = False
        self._ended = False
        self.too_long = 0
        """Lines given up because of their length."""
        try:
            self._file = _open(path)
            status = os.fstat(self._file.fileno())
        except OSError as error:
            raise InputError(f"{self._name}: cannot be opened: {error.strerror}", hint="check the path") from error
        # select() says nothing useful about regular files: they are always ready.
        self._waits = not stat.S_ISREG(status.st_mode)
        if not self._waits and not status.st_size:
            self.close()
            raise InputError(f"{self._name}: it is empty", hint="give CSV or JSON lines")

    @property
    def name(self) -> str:
        """The source as messages call it."""
        return self._name

    def read(self, limit: int) -> list[str] | None:
        """Return up to ``limit`` lines without their ends, ``[]`` when none is there yet, None at the end.

        Raises:
            InputError: The file is damaged (a torn gzip file).
        """
        while len(self._ready) < limit and not self._ended:
            data = self._read_some()
            if data is None:
                break
            if data:
                self._take(data)
            else:
                self._finish()
        if not self._ready and self._ended:
            return None
        return [self._ready.popleft() for _ in range(min(limit, len(self._ready)))]

    def close(self) -> None:
        """Close the source, but never stdin itself."""
        self._ended = True
        if self._file is not sys.stdin.buffer:
            self._file.close()

    def _read_some(self) -> bytes | None:
        try:
            if not self._waits:
                return self._file.read(_READ_BYTES)
            descriptor = self._file.fileno()
            ready, _, _ = select.select([descriptor], [], [], 0.0 if self._ready else WAIT_S)
            return os.read(descriptor, _READ_BYTES) if ready else None
        except (OSError, EOFError, zlib.error) as error:
            raise InputError(f"{self._name}: cannot be read on: {error}", hint="is the file whole?") from error

    def _take(self, data: bytes) -> None:
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            self._line(line)
        if len(self._rest) > MAX_LINE_BYTES:
            self._rest, self._skipping = b"", True

    def _line(self, line: bytes) -> None:
        if self._skipping:
            self._skipping, self.too_long = False, self.too_long + 1
            return
        record = self._open_record + b"\n" + line if self._open_record else line
        if self._quoted and record.count(b'"') % 2:
            self._open_record = record
            if len(record) > MAX_LINE_BYTES:
                self._open_record, self.too_long = b"", self.too_long + 1
            return
        self._open_record = b""
        text = record.decode("utf-8", "replace").rstrip("\r")
        if text.strip():
            self._ready.append(text)

    def _finish(self) -> None:
        self._ended = True
        if self._rest:
            self._line(self._rest)
        if self._open_record:
            self._ready.append(self._open_record.decode("utf-8", "replace"))
        self._rest = self._open_record = b""


def _open(path: str) -> BinaryIO:
    if path == "-":
        return sys.stdin.buffer
    if path.endswith(".gz"):
        return cast("BinaryIO", gzip.open(path, "rb"))
    return Path(path).open("rb")
