"""Bytes of a file, packed by gzip or not, in bounded pieces.

Rules: whether a file is packed is told from its first two bytes, never from its name; what can't be opened is an `InputError`;
a packed stream that ends early or is damaged ends the file there and is said in ``problem``, since what came before is good.
"""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator
from io import BufferedReader
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from nervure_core.errors import InputError

_GZIP_MAGIC: Final = b"\x1f\x8b"
_PIECE_BYTES: Final = 1 << 18


class UnreadableFile(InputError):
    """A file is missing, is no file, or may not be read."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"{path}: {reason}", hint="check the path and its permissions")
        self.path = path


class Source:
    """A file opened for reading in pieces.

    Args:
        path: The file; ``-`` is nothing special.

    Raises:
        UnreadableFile: If it can't be opened.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.problem = ""
        """Why reading ended early; empty while all is well."""
        try:
            raw = path.open("rb")
        except OSError as error:
            raise UnreadableFile(path, (error.strerror or str(error)).lower()) from error
        self._raw = raw
        try:
            packed = raw.read(2) == _GZIP_MAGIC
            raw.seek(0)
        except OSError as error:
            raw.close()
            raise UnreadableFile(path, (error.strerror or str(error)).lower()) from error
        self._stream: gzip.GzipFile | BufferedReader = gzip.GzipFile(fileobj=raw, mode="rb") if packed else raw
        self.packed = packed

    def read(self, size: int) -> bytes:
        """Return up to ``size`` bytes, fewer only at the end of the file, where it returns ``b""``."""
        pieces: list[bytes] = []
        missing = size
        while missing and not self.problem:
            try:
                piece = self._stream.read(missing)
            except (EOFError, gzip.BadGzipFile, zlib.error) as error:
                self.problem = f"the gzip stream is damaged ({error})"
                break
            except OSError as error:
                self.problem = f"reading failed ({error})"
                break
            if not piece:
                break
            pieces.append(piece)
            missing -= len(piece)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def close(self) -> None:
        """Close the file; may be called again."""
        self._stream.close()
        self._raw.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class LineSource:
    """The lines of a text file without their ends; lines longer than the bound are dropped and counted.

    Args:
        source: The opened file; closing it is its owner's business.
        longest_bytes: Bound on one line.
    """

    def __init__(self, source: Source, *, longest_bytes: int = 1 << 20) -> None:
        self._source = source
        self._longest_bytes = longest_bytes
        self.dropped = 0
        """Lines that were longer than the bound."""

    def __iter__(self) -> Iterator[str]:
        rest = b""
        dropping = False
        while piece := self._source.read(_PIECE_BYTES):
            *whole, rest = (rest + piece).split(b"\n")
            if dropping and whole:
                del whole[0]
                dropping = False
            for line in whole:
                yield line.rstrip(b"\r").decode(errors="replace")
            if len(rest) > self._longest_bytes or dropping:
                self.dropped += not dropping
                rest, dropping = b"", True
        if rest:
            yield rest.rstrip(b"\r").decode(errors="replace")
