from __future__ import annotations

import ipaddress
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.frames import ACK, SYN, ethernet, icmp, ip, tcp, udp
from tests.support.patience import patient

from nervure_edge.network.capture.block import COOKED, COOKED_2, ETHERNET, LOOP, NULL, RAW
from nervure_edge.network.packets import Packet, Skip, parse

A, B = "10.0.0.1", "10.0.0.2"
A6, B6 = "fe80::1", "2001:db8::2"


def key(src: str, dst: str, sport: int, dport: int) -> bytes:
    return ipaddress.ip_address(src).packed + ipaddress.ip_address(dst).packed + struct.pack(">HH", sport, dport)


def read(frame: bytes, link: int = ETHERNET, *, wire: int | None = None) -> Packet | Skip:
    # Surrounded by other bytes, as in a block: nothing outside of the frame may be read.
    data = b"\xff" * 7 + frame + b"\xff" * 64
    return parse(data, 7, 7 + len(frame), len(frame) if wire is None else wire, link)


SEGMENT = ip(A, B, 6, tcp(1234, 80, SYN))
EXPECTED = (6, key(A, B, 1234, 80), 40, SYN, b"")


@pytest.mark.parametrize(
    ("frame", "link"),
    [
        (ethernet(SEGMENT), ETHERNET),
        (ethernet(SEGMENT, tags=[0x8100]), ETHERNET),
        (ethernet(SEGMENT, tags=[0x88A8, 0x8100]), ETHERNET),
        (SEGMENT, RAW),
        (struct.pack("<I", 2) + SEGMENT, NULL),
        (struct.pack(">I", 2) + SEGMENT, NULL),
        (struct.pack(">I", 2) + SEGMENT, LOOP),
        (struct.pack(">HHHHIHH", 0, 1, 6, 0, 0, 0, 0x0800) + SEGMENT, COOKED),
        (struct.pack(">HHIHBBQ", 0x0800, 0, 1, 1, 0, 6, 0) + SEGMENT, COOKED_2),
    ],
)
def test_one_segment_over_every_link(frame: bytes, link: int) -> None:
    assert read(frame, link) == EXPECTED


def test_options_padding_and_payload_are_told_apart() -> None:
    packet = ip(A, B, 17, udp(53, 5353, b"abc"), options=b"\1" * 8)
    assert read(ethernet(packet)) == (17, key(A, B, 53, 5353), 28 + 11, 0, b"")


@pytest.mark.parametrize(
    ("extensions", "first"),
    [
        (b"", 6),
        (bytes([6, 0]) + b"\0" * 6, 0),  # hop-by-hop
        (bytes([43, 1]) + b"\0" * 14 + bytes([6, 0]) + b"\0" * 6, 60),  # destination options, then routing
        (bytes([6, 4]) + b"\0" * 22, 51),  # authentication header counts in units of four bytes
    ],
)
def test_ipv6_extension_headers_are_stepped_over(extensions: bytes, first: int) -> None:
    packet = ip(A6, B6, first, extensions + tcp(1, 2, ACK))
    assert read(ethernet(packet)) == (6, key(A6, B6, 1, 2), 40 + len(extensions) + 20, ACK, b"")


def test_icmp_request_and_answer_have_mirrored_ports() -> None:
    assert read(ethernet(ip(A, B, 1, icmp(8)))) == (1, key(A, B, 8, 0), 28, 0, b"")
    assert read(ethernet(ip(B, A, 1, icmp(0)))) == (1, key(B, A, 0, 8), 28, 0, b"")
    assert read(ethernet(ip(A6, B6, 58, icmp(135)))) == (58, key(A6, B6, 135, 136), 48, 0, b"")
    assert read(ethernet(ip(A, B, 1, icmp(3, 1)))) == (1, key(A, B, 3, 1), 28, 0, b"")


def test_other_protocols_have_no_ports() -> None:
    assert read(ethernet(ip(A, B, 47, b"gre"))) == (47, key(A, B, 0, 0), 23, 0, b"")


def test_fragments_of_one_packet_share_an_id() -> None:
    whole = udp(1111, 53, b"x" * 16)
    first = read(ethernet(ip(A, B, 17, whole[:16], identity=7, fragment=0x2000)))
    last = read(ethernet(ip(A, B, 17, whole[16:], identity=7, fragment=2)))
    other = read(ethernet(ip(A, B, 17, whole[16:], identity=8, fragment=2)))
    assert not isinstance(first, Skip)
    assert not isinstance(last, Skip)
    assert not isinstance(other, Skip)
    assert first[1] == key(A, B, 1111, 53)
    assert last[1] == key(A, B, 0, 0)[:8]
    assert first[4] == last[4] != other[4]


def test_ipv6_fragments() -> None:
    first = read(ethernet(ip(A6, B6, 44, struct.pack(">BBHI", 17, 0, 1, 99) + udp(5, 6, b"1234"))))
    last = read(ethernet(ip(A6, B6, 44, struct.pack(">BBHI", 17, 0, 8, 99) + b"rest")))
    atomic = read(ethernet(ip(A6, B6, 44, struct.pack(">BBHI", 17, 0, 0, 99) + udp(5, 6, b"1234"))))
    assert not isinstance(first, Skip)
    assert not isinstance(last, Skip)
    assert not isinstance(atomic, Skip)
    assert first[1] == key(A6, B6, 5, 6)
    assert last[:2] == (17, key(A6, B6, 0, 0)[:32])
    assert first[4] == last[4] != b""
    assert atomic[4] == b""


def test_offloaded_segments_take_the_length_of_the_wire() -> None:
    packet = bytearray(ip(A, B, 6, tcp(1, 2, ACK, b"x" * 100)))
    packet[2:4] = b"\0\0"
    assert read(bytes(packet[:60]), RAW, wire=9000) == (6, key(A, B, 1, 2), 9000, ACK, b"")


@pytest.mark.parametrize(
    ("frame", "word"),
    [
        (b"", Skip.MALFORMED),
        (b"\0" * 13, Skip.MALFORMED),
        (b"\0" * 12 + b"\x08\x06" + b"\0" * 28, Skip.ARP),
        (b"\0" * 12 + b"\x00\x26" + b"\0" * 38, Skip.NOT_IP),
        (ethernet(SEGMENT, padded=False)[:-7], Skip.MALFORMED),  # the header is cut
        (ethernet(SEGMENT, tags=[0x8100] * 5), Skip.MALFORMED),
        (ethernet(b"\x44" + SEGMENT[1:]), Skip.MALFORMED),  # a header of 16 bytes
        (ethernet(SEGMENT[:2] + b"\0\x27" + SEGMENT[4:]), Skip.MALFORMED),  # shorter than its headers
        (ethernet(SEGMENT[:2] + b"\xff\xff" + SEGMENT[4:]), Skip.MALFORMED),  # longer than the wire
        (ethernet(SEGMENT[:32] + b"\x40" + SEGMENT[33:]), Skip.MALFORMED),  # a TCP header of 16 bytes
        (ethernet(ip(A, B, 17, b"\0" * 7)), Skip.MALFORMED),
        (ethernet(ip(A6, B6, 0, bytes([6, 255]) + b"\0" * 30)), Skip.MALFORMED),
    ],
)
def test_what_belongs_to_no_flow(frame: bytes, word: Skip) -> None:
    assert read(frame) is word


@patient
@given(st.binary(max_size=120), st.sampled_from([ETHERNET, RAW, NULL, LOOP, COOKED, COOKED_2]))
def test_no_bytes_ever_raise(frame: bytes, link: int) -> None:
    packet = read(frame, link)
    assert isinstance(packet, (tuple, Skip))


@patient
@given(st.data())
def test_damaged_packets_never_raise(data: st.DataObject) -> None:
    packets = [
        ip(A, B, 6, tcp(1, 2, SYN, b"x" * 9), options=b"\1" * 4),
        ip(A6, B6, 0, bytes([44, 0]) + b"\0" * 6 + struct.pack(">BBHI", 17, 0, 1, 9) + udp(1, 2, b"x")),
        ip(A, B, 1, icmp(8)),
    ]
    frame = bytearray(ethernet(data.draw(st.sampled_from(packets)), tags=data.draw(st.sampled_from([(), (0x8100,)]))))
    for _ in range(data.draw(st.integers(1, 4))):
        frame[data.draw(st.integers(0, len(frame) - 1))] = data.draw(st.integers(0, 255))
    packet = read(bytes(frame[: data.draw(st.integers(0, len(frame)))]))
    if not isinstance(packet, Skip):
        protocol, found, length, _, mark = packet
        assert 0 <= protocol <= 255
        assert len(found) in ((8, 12, 32, 36) if mark else (12, 36))
        assert 20 <= length <= len(frame)
