"""Reader of pcapng: sections, interfaces with clocks of their own, enhanced, simple and old packet blocks.

Layout (draft-ietf-opsawg-pcapng): blocks of (type, length, body, length again). A section header block gives the byte order and
forgets all interfaces; an interface description block gives link type and clock (``if_tsresol``: ``10^-n``, or ``2^-n`` with the
top bit set; ``if_tsoffset``: seconds to add); an enhanced packet block names its interface. A simple packet block has no time of
its own and takes that of the packet before. Blocks of other types are stepped over, packets of interfaces with an unknown link
type are counted. A block whose length can't be right ends the reading there.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from nervure_edge.network.capture.block import LATEST_US, LINKS, Block, RecordTuple
from nervure_edge.network.capture.source import Source

_SECTION: Final = 0x0A0D0D0A
_INTERFACE: Final = 1
_OLD_PACKET: Final = 2
_SIMPLE_PACKET: Final = 3
_ENHANCED_PACKET: Final = 6
_PACKETS: Final = frozenset({_OLD_PACKET, _SIMPLE_PACKET, _ENHANCED_PACKET})
_MAGICS: Final[dict[bytes, str]] = {b"\x4d\x3c\x2b\x1a": "<", b"\x1a\x2b\x3c\x4d": ">"}
_RESOLUTION: Final = 9
_OFFSET: Final = 14
_PIECE_BYTES: Final = 1 << 20
_LONGEST_BLOCK_BYTES: Final = 16 << 20


def recognise(start: bytes) -> bool:
    """Return whether a file that starts with these bytes is a pcapng capture."""
    return start[:4] == b"\x0a\x0d\x0d\x0a" and start[8:12] in _MAGICS


@dataclass(frozen=True, slots=True)
class _Interface:
    link: int | None  # None: not understood
    longest: int
    numerator: int  # microseconds = ticks * numerator // denominator + offset_us
    denominator: int
    offset_us: int


class PcapNgReader:
    """Walks the blocks of one file.

    Args:
        source: The file, read up to the end of ``start``; its ``problem`` is set where the packets end early.
        start: The first bytes of the file.
    """

    def __init__(self, source: Source, start: bytes) -> None:
        self._source = source
        self._rest = start
        self._order = "<"
        self._interfaces: list[_Interface] = []
        self._last_us = 0
        self.unsupported = 0
        """Packets of interfaces whose link type is not understood."""
        self.damaged = 0
        """Packet blocks whose inner lengths or interface can't be right."""

    def blocks(self) -> Iterator[Block]:
        """Yield the packets, a new block whenever the link type changes."""
        while True:
            piece = self._source.read(_PIECE_BYTES)
            data = self._rest + piece if self._rest else piece
            walk = _Walk(data)
            yield from self._walk(walk)
            if walk.damage or not piece:
                if walk.damage or walk.offset < len(data):
                    self._source.problem = self._source.problem or walk.damage or "the last block is cut off"
                return
            self._rest = data[walk.offset :]

    def _walk(self, walk: _Walk) -> Iterator[Block]:
        """Step over every whole block of ``walk.data``."""
        data, size, offset = walk.data, len(walk.data), 0
        link: int | None = None
        records: list[RecordTuple] = []
        while offset + 12 <= size:
            kind, length = struct.unpack_from(f"{self._order}II", data, offset)
            if kind == _SECTION:  # the same in both byte orders; the magic after it tells which
                order = _MAGICS.get(data[offset + 8 : offset + 12])
                if order is None:
                    walk.damage = "a section header has no byte-order magic"
                    break
                self._order = order
                (length,) = struct.unpack_from(f"{order}I", data, offset + 4)
            padded = (length + 3) & ~3  # some writers forget the padding in the length
            if not 12 <= padded <= _LONGEST_BLOCK_BYTES:
                walk.damage = f"a block claims {length} bytes"
                break
            end = offset + padded
            if end > size:
                break
            if kind in _PACKETS:
                found = self._packet(data, kind, offset + 8, end - 4)
                if found is not None:
                    if found[0] != link and records and link is not None:
                        yield Block(data, link, records)
                        records = []
                    link = found[0]
                    records.append(found[1])
            elif kind == _SECTION:
                self._interfaces = []
            elif kind == _INTERFACE:
                self._interfaces.append(self._interface(data, offset + 8, end - 4))
            offset = end
        walk.offset = offset
        if records and link is not None:
            yield Block(data, link, records)

    def _interface(self, data: bytes, start: int, end: int) -> _Interface:
        """Read an interface description; one that is too short is one that is not understood."""
        if end - start < 8:
            return _Interface(None, 0, 1, 1, 0)
        link, longest = struct.unpack_from(f"{self._order}HxxI", data, start)
        numerator, denominator, offset_us = 1, 1, 0
        option = start + 8
        while option + 4 <= end:
            code, size = struct.unpack_from(f"{self._order}HH", data, option)
            value = option + 4
            if code == 0 or value + size > end:
                break
            if code == _RESOLUTION and size == 1:
                exponent = data[value] & 0x7F
                base = 2 if data[value] & 0x80 else 10
                numerator, denominator = 1_000_000, base**exponent
            elif code == _OFFSET and size == 8:
                offset_us = int(struct.unpack_from(f"{self._order}q", data, value)[0]) * 1_000_000
            option = value + ((size + 3) & ~3)
        return _Interface(LINKS.get(link), longest, numerator, denominator, offset_us)

    def _packet(self, data: bytes, kind: int, start: int, end: int) -> tuple[int, RecordTuple] | None:
        """Return link type and record of a packet block, None (counted) where it can't be used."""
        room = end - start
        if kind == _SIMPLE_PACKET:
            if room < 4 or not self._interfaces:
                self.damaged += 1
                return None
            (wire,) = struct.unpack_from(f"{self._order}I", data, start)
            interface, first = self._interfaces[0], start + 4
            if interface.link is None:
                self.unsupported += 1
                return None
            captured = min(wire, interface.longest or wire, end - first)
            time_us = self._last_us
        else:
            if room < 20:
                self.damaged += 1
                return None
            form = "IIIII" if kind == _ENHANCED_PACKET else "HxxIIII"
            number, high, low, captured, wire = struct.unpack_from(self._order + form, data, start)
            first = start + 20
            if number >= len(self._interfaces) or captured > end - first:
                self.damaged += 1
                return None
            interface = self._interfaces[number]
            if interface.link is None:
                self.unsupported += 1
                return None
            time_us = ((high << 32) | low) * interface.numerator // interface.denominator + interface.offset_us
            if not 0 <= time_us < LATEST_US:
                self.damaged += 1
                return None
            self._last_us = time_us
        return interface.link, (time_us, first, first + captured, wire)


class _Walk:
    """How far one pass over a buffer came."""

    __slots__ = ("damage", "data", "offset")

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.offset = 0
        self.damage = ""
