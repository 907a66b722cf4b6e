"""Reader of classic capture files (libpcap), in both byte orders, with micro- or nanoseconds.

Layout (draft-ietf-opsawg-pcap): a header of 24 bytes (magic, version, zone, accuracy, longest capture, link type), then for
each packet seconds, fraction, captured length, length on the wire, and the captured bytes. A record has no mark of its own, so
after a damaged one nothing can be found again: reading stops there and says so.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Final

from nervure_edge.network.capture.block import LINKS, Block, RecordTuple
from nervure_edge.network.capture.source import Source

_MAGICS: Final[dict[bytes, tuple[str, int]]] = {
    b"\xd4\xc3\xb2\xa1": ("<", 1),
    b"\xa1\xb2\xc3\xd4": (">", 1),
    b"\x4d\x3c\xb2\xa1": ("<", 1000),
    b"\xa1\xb2\x3c\x4d": (">", 1000),
}
"""Magic number: byte order and units of the fraction per microsecond."""

_HEADER_BYTES: Final = 24
_PIECE_BYTES: Final = 1 << 20
_LONGEST_PACKET_BYTES: Final = 1 << 20


def recognise(start: bytes) -> bool:
    """Return whether a file that starts with these bytes is a classic capture."""
    return start[:4] in _MAGICS and len(start) >= _HEADER_BYTES


def link_of(start: bytes) -> int:
    """Return the link type named in the header."""
    order, _ = _MAGICS[start[:4]]
    (link,) = struct.unpack_from(f"{order}I", start, 20)
    return int(link) & 0xFFFF  # the upper half holds the length of a checksum at the frame's end


def blocks(source: Source, start: bytes) -> Iterator[Block]:
    """Yield the packets of a classic capture.

    Args:
        source: The file, read up to the end of ``start``; its ``problem`` is set where the packets end early.
        start: The first bytes of the file, header included.
    """
    order, units = _MAGICS[start[:4]]
    link = LINKS[link_of(start)]
    header = struct.Struct(f"{order}IIII")
    unpack = header.unpack_from
    rest = start[_HEADER_BYTES:]
    while True:
        piece = source.read(_PIECE_BYTES)
        data = rest + piece if rest else piece
        size = len(data)
        offset = 0
        records: list[RecordTuple] = []
        add = records.append
        damage = ""
        while (first := offset + 16) <= size:
            seconds, fraction, captured, wire = unpack(data, offset)
            end = first + captured
            if end > size:
                if captured > _LONGEST_PACKET_BYTES:
                    damage = f"a packet claims {captured} bytes"
                break
            add((seconds * 1_000_000 + (fraction if units == 1 else fraction // units), first, end, wire))
            offset = end
        if records:
            yield Block(data, link, records)
        if damage or not piece:
            if damage or offset < size:
                source.problem = source.problem or damage or "the last packet is cut off"
            return
        rest = data[offset:]
