"""What every reader of packets hands on: a buffer and where the packets lie in it.

A block holds many packets (about a mebibyte from a file, one poll from an interface), because in Python the cost of handing
over is paid per call, not per byte: the meter walks `Block.records` in one loop and copies nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, NamedTuple

NULL: Final = 0  # BSD loopback: address family in the byte order of the writer
ETHERNET: Final = 1
RAW: Final = 101  # starts with the IP header
LOOP: Final = 108  # OpenBSD loopback: address family in network byte order
COOKED: Final = 113  # Linux "any" device
COOKED_2: Final = 276

LINKS: Final[dict[int, int]] = {
    NULL: NULL,
    ETHERNET: ETHERNET,
    12: RAW,
    14: RAW,
    RAW: RAW,
    LOOP: LOOP,
    COOKED: COOKED,
    228: RAW,
    229: RAW,
    COOKED_2: COOKED_2,
}
"""Link types of the registry of tcpdump.org that are understood, and the one each is read as."""

LATEST_US: Final = 1 << 62
"""Times beyond this are noise, and would not fit the int64 of an event."""


class Record(NamedTuple):
    """One packet of a block: a plain tuple, for one is made per packet.

    Attributes:
        time_us: When it was captured, in microseconds since 1970.
        start: Offset of its first byte in the block's data.
        end: Offset after its last captured byte.
        wire: Length in bytes it had on the wire.
    """

    time_us: int
    start: int
    end: int
    wire: int


RecordTuple = tuple[int, int, int, int]
"""What the readers really make: a `Record` without its name, four times faster."""


@dataclass(frozen=True, slots=True)
class Block:
    """Packets of one link type in the order of capture."""

    data: bytes
    link: int
    records: list[RecordTuple]
