from __future__ import annotations

import gzip
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.frames import (
    ng_block,
    ng_interface,
    ng_packet,
    ng_section,
    ng_simple_packet,
    pcap,
    udp_frame,
)
from tests.support.patience import patient

from nervure_core.errors import InputError
from nervure_edge.network.capture import NotACapture, UnreadableFile, UnsupportedLink, open_capture
from nervure_edge.network.meter import meter_capture

START_US = 1_700_000_000_123_456
PACKETS = [(START_US + 10 * n, udp_frame("10.0.0.1", 1000 + n, "10.0.0.2", 53, b"x" * n)) for n in range(20)]


def read(path: Path) -> tuple[list[tuple[int, bytes]], str]:
    with open_capture(path) as capture:
        packets = [
            (time_us, block.data[start:end]) for block in capture.blocks() for time_us, start, end, _ in block.records
        ]
        assert capture.packets == len(packets)
        return packets, capture.problem


def ng(packets: list[tuple[int, bytes]] = PACKETS, *, order: str = "<") -> bytes:
    return (
        ng_section(order=order)
        + ng_interface(order=order)
        + b"".join(ng_packet(time_us, frame, order=order) for time_us, frame in packets)
    )


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("nanoseconds", [False, True])
@pytest.mark.parametrize("packed", [False, True])
def test_classic_captures(tmp_path: Path, order: str, nanoseconds: bool, packed: bool) -> None:
    content = pcap(PACKETS, order=order, nanoseconds=nanoseconds)
    path = tmp_path / "capture"
    path.write_bytes(gzip.compress(content) if packed else content)
    assert read(path) == (PACKETS, "")


def test_short_captures_keep_the_length_of_the_wire(tmp_path: Path) -> None:
    path = tmp_path / "short.pcap"
    path.write_bytes(pcap([(START_US, b"\0" * 1500)], longest=60))
    with open_capture(path) as capture:
        (block,) = capture.blocks()
        ((_, start, end, wire),) = block.records
    assert (end - start, wire) == (60, 1500)


@pytest.mark.parametrize("order", ["<", ">"])
def test_ng_captures(tmp_path: Path, order: str) -> None:
    path = tmp_path / "capture.pcapng"
    path.write_bytes(ng(order=order))
    assert read(path) == (PACKETS, "")


def test_ng_interfaces_have_clocks_and_links_of_their_own(tmp_path: Path) -> None:
    frame = PACKETS[0][1]
    path = tmp_path / "capture.pcapng"
    path.write_bytes(
        ng_section()
        + ng_block(0x0BAD, b"a block nobody knows")
        + ng_interface(resolution=9)  # nanoseconds
        + ng_interface(resolution=0x80 | 10, offset_s=1000, link=101)  # 1/1024 seconds
        + ng_interface(link=147)  # not understood
        + ng_packet(START_US * 1000 + 999, frame)
        + ng_packet(1024 * 5 + 512, frame[14:], interface=1)
        + ng_packet(1, frame, interface=2)
        + ng_packet(1, frame, interface=3)  # never described
        + ng_simple_packet(frame)
        + ng_section(order=">")
        + ng_interface(order=">")
        + ng_packet(7, frame, order=">")
    )
    with open_capture(path) as capture:
        found = [(block.link, record[0]) for block in capture.blocks() for record in block.records]
        assert found == [(1, START_US), (101, 1_005_500_000), (1, 1_005_500_000), (1, 7)]
        assert capture.skipped == 2
        assert capture.problem == ""


def test_a_capture_larger_than_one_piece(tmp_path: Path) -> None:
    packets = [(START_US + n, bytes([n % 256]) * 1400) for n in range(2500)]  # more than three pieces
    for name, content in (("a.pcap", pcap(packets)), ("a.pcapng", ng(packets))):
        (tmp_path / name).write_bytes(content)
        assert read(tmp_path / name) == (packets, "")


@patient
@given(st.integers(0, 2**16), st.sampled_from(["pcap", "pcapng"]))
def test_a_capture_cut_anywhere_gives_what_came_before(tmp_path: Path, cut: int, form: str) -> None:
    content = pcap(PACKETS) if form == "pcap" else ng()
    whole = len(content)
    path = tmp_path / "cut"
    path.write_bytes(content[: cut % whole])
    try:
        packets, problem = read(path)
    except NotACapture:
        assert cut % whole < 28
        return
    assert packets == PACKETS[: len(packets)]
    at_a_boundary = len(pcap(packets) if form == "pcap" else ng(packets)) == cut % whole
    assert bool(problem) != at_a_boundary or (form == "pcapng" and not packets)


@patient
@given(st.data())
def test_whatever_the_bytes_only_input_errors(tmp_path: Path, data: st.DataObject) -> None:
    content = bytearray(data.draw(st.sampled_from([pcap(PACKETS), ng(), gzip.compress(pcap(PACKETS))])))
    for _ in range(data.draw(st.integers(1, 8))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path / "damaged"
    path.write_bytes(content)
    with suppress(InputError):
        assert sum(flow.spkts + flow.dpkts for flow in meter_capture(path)) <= 1000


@patient
@given(st.binary(max_size=200), st.sampled_from([b"", b"\xd4\xc3\xb2\xa1", ng_section() + ng_interface(), b"\x1f\x8b"]))
def test_noise_after_a_beginning(tmp_path: Path, noise: bytes, start: bytes) -> None:
    path = tmp_path / "noise"
    path.write_bytes(start + noise)
    with suppress(InputError):
        list(meter_capture(path))


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 a zip", b"\xd4\xc3\xb2\xa1 too short", b"\x1f\x8b not gzip"])
def test_what_is_no_capture(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "file.pcap"
    path.write_bytes(content)
    with pytest.raises(NotACapture, match="not a capture file"):
        open_capture(path)


def test_files_that_cannot_be_opened(tmp_path: Path) -> None:
    with pytest.raises(UnreadableFile, match="no such file"):
        open_capture(tmp_path / "absent.pcap")
    with pytest.raises(UnreadableFile, match="is a directory"):
        open_capture(tmp_path)


def test_links_that_are_not_understood(tmp_path: Path) -> None:
    path = tmp_path / "usb.pcap"
    path.write_bytes(pcap(PACKETS, link=189))
    with pytest.raises(UnsupportedLink, match="link type 189"):
        open_capture(path)
    path.write_bytes(ng_section() + ng_interface(link=189) + ng_packet(1, b"x"))
    with pytest.raises(UnsupportedLink):
        read(path)
