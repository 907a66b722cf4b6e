"""Frames and capture files made by hand, independent of the code that reads them."""

from __future__ import annotations

import ipaddress
import struct
from collections.abc import Iterable, Sequence

FIN, SYN, RST, PSH, ACK = 0x01, 0x02, 0x04, 0x08, 0x10


def ip(
    src: str, dst: str, protocol: int, payload: bytes, *, options: bytes = b"", identity: int = 0, fragment: int = 0
) -> bytes:
    """An IP packet of the version that the addresses have; ``options`` and fragments for IPv4."""
    source, target = ipaddress.ip_address(src), ipaddress.ip_address(dst)
    if source.version == 6:
        return struct.pack(">IHBB", 6 << 28, len(payload), protocol, 64) + source.packed + target.packed + payload
    head = 20 + len(options)
    assert head % 4 == 0
    return (
        struct.pack(">BBHHHBBH", 0x40 | head // 4, 0, head + len(payload), identity, fragment, 64, protocol, 0)
        + source.packed
        + target.packed
        + options
        + payload
    )


def tcp(sport: int, dport: int, flags: int, payload: bytes = b"") -> bytes:
    return struct.pack(">HHIIBBHHH", sport, dport, 1, 1, 0x50, flags, 1024, 0, 0) + payload


def udp(sport: int, dport: int, payload: bytes = b"") -> bytes:
    return struct.pack(">HHHH", sport, dport, 8 + len(payload), 0) + payload


def icmp(kind: int, code: int = 0, payload: bytes = b"\0" * 4) -> bytes:
    return struct.pack(">BBH", kind, code, 0) + payload


def ethernet(packet: bytes, *, tags: Sequence[int] = (), padded: bool = True) -> bytes:
    """An Ethernet frame, with VLAN tags of these kinds, padded to the least length as on a wire."""
    kind = 0x86DD if packet[:1] and packet[0] >> 4 == 6 else 0x0800
    frame = b"\2\0\0\0\0\1\2\0\0\0\0\2"
    for tag in tags:
        frame += struct.pack(">HH", tag, 42)
    frame += struct.pack(">H", kind) + packet
    return frame.ljust(60, b"\0") if padded else frame


def tcp_frame(
    src: str, sport: int, dst: str, dport: int, flags: int, payload: bytes = b"", *, padded: bool = True
) -> bytes:
    return ethernet(ip(src, dst, 6, tcp(sport, dport, flags, payload)), padded=padded)


def udp_frame(src: str, sport: int, dst: str, dport: int, payload: bytes = b"", *, padded: bool = True) -> bytes:
    return ethernet(ip(src, dst, 17, udp(sport, dport, payload)), padded=padded)


def pcap(
    packets: Iterable[tuple[int, bytes]],
    *,
    order: str = "<",
    nanoseconds: bool = False,
    link: int = 1,
    longest: int = 262_144,
) -> bytes:
    """A classic capture of (time in microseconds, frame)."""
    magic = 0xA1B23C4D if nanoseconds else 0xA1B2C3D4
    parts = [struct.pack(f"{order}IHHiIII", magic, 2, 4, 0, 0, longest, link)]
    for time_us, frame in packets:
        fraction = time_us % 1_000_000 * (1000 if nanoseconds else 1)
        kept = frame[:longest]
        parts.append(struct.pack(f"{order}IIII", time_us // 1_000_000, fraction, len(kept), len(frame)) + kept)
    return b"".join(parts)


def ng_block(kind: int, body: bytes, *, order: str = "<") -> bytes:
    body += b"\0" * (-len(body) % 4)
    length = struct.pack(f"{order}I", 12 + len(body))
    return struct.pack(f"{order}I", kind) + length + body + length


def ng_section(*, order: str = "<") -> bytes:
    return ng_block(0x0A0D0D0A, struct.pack(f"{order}IHHq", 0x1A2B3C4D, 1, 0, -1), order=order)


def ng_interface(
    *, order: str = "<", link: int = 1, resolution: int | None = None, offset_s: int | None = None, longest: int = 0
) -> bytes:
    body = struct.pack(f"{order}HHI", link, 0, longest)
    if resolution is not None:
        body += struct.pack(f"{order}HHBxxx", 9, 1, resolution)
    if offset_s is not None:
        body += struct.pack(f"{order}HHq", 14, 8, offset_s)
    if resolution is not None or offset_s is not None:
        body += struct.pack(f"{order}HH", 0, 0)
    return ng_block(1, body, order=order)


def ng_packet(ticks: int, frame: bytes, *, order: str = "<", interface: int = 0) -> bytes:
    body = struct.pack(f"{order}IIIII", interface, ticks >> 32, ticks & 0xFFFF_FFFF, len(frame), len(frame)) + frame
    return ng_block(6, body, order=order)


def ng_simple_packet(frame: bytes, *, order: str = "<") -> bytes:
    return ng_block(3, struct.pack(f"{order}I", len(frame)) + frame, order=order)
