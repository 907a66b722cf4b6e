"""Packets from capture files: classic pcap and pcapng, packed by gzip or not, in bounded memory.

Rules:

- What a file is, is told from its first bytes. What is no capture is one `NotACapture`, before any packet is read.
- A file that ends in the middle, or is damaged from some point on, gives the packets before that point; `Capture.problem` then
  says what is wrong.
- Nothing but `InputError` ever comes out of a file, whatever its bytes.

>>> with open_capture(Path("traffic.pcap")) as capture:      # doctest: +SKIP
...     for block in capture.blocks():
...         meter.feed(block)
...     print(capture.packets, capture.problem or "complete")
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from nervure_core.errors import InputError
from nervure_edge.network.capture import pcap, pcapng
from nervure_edge.network.capture.block import LINKS, Block, Record, RecordTuple
from nervure_edge.network.capture.source import LineSource, Source, UnreadableFile

__all__ = [
    "Block",
    "Capture",
    "LineSource",
    "NotACapture",
    "Record",
    "RecordTuple",
    "Source",
    "UnreadableFile",
    "UnsupportedLink",
    "open_capture",
]

_START_BYTES: Final = 64


class NotACapture(InputError):
    """A file is neither a pcap nor a pcapng."""

    def __init__(self, path: Path, start: bytes) -> None:
        what = f"first bytes 0x{start[:4].hex()}" if start else "it is empty"
        if len(start) < _START_BYTES and start:
            what += f", it ends after {len(start)}"
        super().__init__(
            f"{path}: not a capture file ({what})", hint="give a .pcap or .pcapng file, packed by gzip or not"
        )
        self.path = path


class UnsupportedLink(InputError):
    """A capture holds only packets of a link type that is not understood."""

    def __init__(self, path: Path, link: int | None) -> None:
        named = "its link type" if link is None else f"link type {link}"
        super().__init__(
            f"{path}: {named} is not understood",
            hint="capture on an Ethernet, loopback, raw IP or Linux 'any' interface",
        )
        self.path = path
        self.link = link


class Capture:
    """An opened capture file; use `open_capture`."""

    def __init__(self, source: Source, start: bytes) -> None:
        self._source = source
        self._start = start
        self._ng = pcapng.PcapNgReader(source, start) if pcapng.recognise(start) else None
        self.packets = 0
        """Packets handed on so far."""

    @property
    def path(self) -> Path:
        """The file."""
        return self._source.path

    @property
    def problem(self) -> str:
        """Why the packets ended before the file should have; empty where all is well."""
        return self._source.problem

    @property
    def skipped(self) -> int:
        """Packets that could not be handed on: broken packet blocks, interfaces of an unknown link type."""
        return self._ng.damaged + self._ng.unsupported if self._ng else 0

    def blocks(self) -> Iterator[Block]:
        """Yield all packets in the order of the file; can be walked once.

        Raises:
            UnsupportedLink: At the end, where a pcapng file held only packets of unknown link types.
        """
        for block in self._ng.blocks() if self._ng else pcap.blocks(self._source, self._start):
            self.packets += len(block.records)
            yield block
        if self._ng and self._ng.unsupported and not self.packets:
            raise UnsupportedLink(self.path, None)

    def close(self) -> None:
        """Close the file; may be called again."""
        self._source.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def is_capture(start: bytes) -> bool:
    """Return whether a (not packed) file that starts with these bytes is a capture."""
    return pcap.recognise(start) or pcapng.recognise(start)


def open_capture(path: Path) -> Capture:
    """Open a capture file and check that it is one.

    Raises:
        UnreadableFile: If it can't be opened.
        NotACapture: If it is something else.
        UnsupportedLink: If its link type is not understood.
    """
    source = Source(path)
    try:
        start = source.read(_START_BYTES)
        if not is_capture(start):
            raise NotACapture(path, start)
        if pcap.recognise(start) and pcap.link_of(start) not in LINKS:
            raise UnsupportedLink(path, pcap.link_of(start))
        return Capture(source, start)
    except InputError:
        source.close()
        raise
