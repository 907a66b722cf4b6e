"""From the bytes of a frame to what the meter counts by: protocol, endpoints, length, TCP flags.

Rules:

- Nothing is raised, whatever the bytes: a frame gives a `Packet` or one of the words of `Skip`, which the meter counts.
- The endpoints are one ``bytes`` key, *source address, destination address, source port, destination port*, 12 bytes for IPv4 and
  36 for IPv6, because a slice of the frame is the cheapest thing in Python that can be looked up in a dict.
- The length is that of the IP packet. Where the header says 0 (segmentation offload, jumbograms) the length on the wire is taken.
- ICMP has no ports. As in Zeek, its type stands for one and the type of the answer for the other, so that a request and its answer
  meet in one flow; messages without an answer carry type and code. Other protocols carry zeros.
- A fragment is told by its ``fragment`` id; only the first one carries ports, the meter remembers them for the others.

Read: VLAN tags (802.1Q, 802.1ad), IPv4 with options, IPv6 with extension headers (RFC 8200), over Ethernet, BSD loopback, raw IP and
both Linux cooked headers.

>>> frame = bytes.fromhex("45000028000100004006000 07f0000017f000001".replace(" ", "")) + bytes.fromhex(
...     "d903005000000000000000005002200000000000")
>>> parse(frame, 0, len(frame), len(frame), RAW)
(6, b'\\x7f\\x00\\x00\\x01\\x7f\\x00\\x00\\x01\\xd9\\x03\\x00P', 40, 2, b'')
"""

from __future__ import annotations

import struct
from enum import IntEnum
from typing import Final

from nervure_edge.network.capture.block import COOKED, COOKED_2, ETHERNET, LOOP, NULL, RAW

TCP: Final = 6
UDP: Final = 17
ICMP: Final = 1
ICMP6: Final = 58

Packet = tuple[int, bytes, int, int, bytes]
"""Protocol number, key of the endpoints, length in bytes, TCP flags, fragment id (``b""``: whole)."""


class Skip(IntEnum):
    """Why a frame is counted but belongs to no flow."""

    MALFORMED = 0
    ARP = 1
    NOT_IP = 2


_IPV4: Final = 0x0800
_IPV6: Final = 0x86DD
_ARP: Final = 0x0806
_VLANS: Final = frozenset({0x8100, 0x88A8, 0x9100})
_MOST_TAGS: Final = 4

_ip4 = struct.Struct(">BxHHHxBxx8s").unpack_from  # version+IHL, length, id, fragment, protocol, addresses
_ip6 = struct.Struct(">4xHBx32s").unpack_from  # payload length, next header, addresses
_two_bytes = struct.Struct(">H").unpack_from

# The answer that belongs to a request (RFC 792, 950, 1256, 4443, 2710, 4861), both ways round.
_ANSWERS: Final[dict[int, dict[int, int]]] = {
    ICMP: {8: 0, 0: 8, 13: 14, 14: 13, 15: 16, 16: 15, 17: 18, 18: 17, 10: 9, 9: 10},
    ICMP6: {128: 129, 129: 128, 130: 131, 131: 130, 133: 134, 134: 133, 135: 136, 136: 135, 139: 140, 140: 139},
}

_AUTHENTICATION: Final = 51
_FRAGMENT: Final = 44
_EXTENSIONS: Final = frozenset({0, 43, _FRAGMENT, _AUTHENTICATION, 60, 135, 139, 140})
"""IPv6 extension headers that are stepped over; most have a length in units of 8 bytes."""


def parse(data: bytes, start: int, end: int, wire: int, link: int) -> Packet | Skip:
    """Read the headers of one frame.

    Args:
        data: A buffer that holds the frame.
        start: Offset of the frame's first byte.
        end: Offset after its last captured byte.
        wire: Length of the frame on the wire in bytes.
        link: Link type as in `nervure_edge.network.capture.block`.
    """
    offset = start
    if link in (ETHERNET, COOKED):
        offset += 14 if link == ETHERNET else 16
        if offset > end:
            return Skip.MALFORMED
        (kind,) = _two_bytes(data, offset - 2)
        tags = 0
        while kind in _VLANS:
            offset += 4
            tags += 1
            if offset > end or tags > _MOST_TAGS:
                return Skip.MALFORMED
            (kind,) = _two_bytes(data, offset - 2)
    elif link == COOKED_2:
        offset += 20
        if offset > end:
            return Skip.MALFORMED
        (kind,) = _two_bytes(data, start)
    else:
        if link in (NULL, LOOP):  # the family's number differs by system, the IP version does not
            offset += 4
        if offset >= end:
            return Skip.MALFORMED
        version = data[offset] >> 4
        kind = _IPV4 if version == 4 else _IPV6 if version == 6 else 0
    if kind == _IPV4:
        return _parse_ipv4(data, offset, end, wire - (offset - start))
    if kind == _IPV6:
        return _parse_ipv6(data, offset, end, wire - (offset - start))
    return Skip.ARP if kind == _ARP else Skip.NOT_IP


def _parse_ipv4(data: bytes, start: int, end: int, wire: int) -> Packet | Skip:
    if end - start < 20:
        return Skip.MALFORMED
    first, length, identity, fragment, protocol, addresses = _ip4(data, start)
    header = (first & 0x0F) << 2
    length = length or wire
    if first >> 4 != 4 or header < 20 or not header <= length <= wire:
        return Skip.MALFORMED
    mark = b""
    if fragment & 0x3FFF:
        mark = b"%b%c%d" % (addresses, protocol, identity)
        if fragment & 0x1FFF:
            return protocol, addresses, length, 0, mark
    return _parse_transport(data, start + header, end, length - header, protocol, addresses, length, mark)


def _parse_ipv6(data: bytes, start: int, end: int, wire: int) -> Packet | Skip:
    if end - start < 40 or data[start] >> 4 != 6:
        return Skip.MALFORMED
    payload, protocol, addresses = _ip6(data, start)
    payload = payload or wire - 40
    if not 0 <= payload <= wire - 40:
        return Skip.MALFORMED
    offset, left, mark = start + 40, payload, b""
    while True:
        if protocol in _EXTENSIONS:
            if end - offset < 8:
                return Skip.MALFORMED
            if protocol == _FRAGMENT:
                size = 8
                (place,) = _two_bytes(data, offset + 2)
                if place & 0xFFF9:  # neither the whole packet in one fragment nor reserved bits
                    mark = addresses + data[offset + 4 : offset + 8]
                    if place & 0xFFF8:
                        return data[offset], addresses, payload + 40, 0, mark
            else:
                size = (data[offset + 1] + 2) << 2 if protocol == _AUTHENTICATION else (data[offset + 1] + 1) << 3
            protocol = data[offset]
            offset += size
            left -= size
            if left < 0:
                return Skip.MALFORMED
        else:
            return _parse_transport(data, offset, end, left, protocol, addresses, payload + 40, mark)


def _parse_transport(
    data: bytes, start: int, end: int, left: int, protocol: int, addresses: bytes, length: int, mark: bytes
) -> Packet | Skip:
    """Read ports and flags; ``left`` is what the IP header leaves for the transport, captured or not."""
    if protocol == TCP:
        # A first fragment may hold less than the whole header: the ports are what it must hold.
        if end - start < 14 or (left < 20 and not mark) or data[start + 12] < 0x50:
            return Skip.MALFORMED
        return TCP, addresses + data[start : start + 4], length, data[start + 13], mark
    if protocol == UDP:
        if end - start < 8 or left < 8:
            return Skip.MALFORMED
        return UDP, addresses + data[start : start + 4], length, 0, mark
    answers = _ANSWERS.get(protocol)
    if answers is None:
        return protocol, addresses + b"\0\0\0\0", length, 0, mark
    if end - start < 4 or left < 4:
        return Skip.MALFORMED
    kind, code = data[start], data[start + 1]
    return protocol, addresses + bytes((0, kind, 0, answers.get(kind, code))), length, 0, mark


__all__ = ["ICMP", "ICMP6", "RAW", "TCP", "UDP", "Packet", "Skip", "parse"]
