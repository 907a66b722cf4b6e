from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.frames import ACK, FIN, PSH, RST, SYN, ethernet, icmp, ip, tcp_frame, udp, udp_frame
from tests.support.patience import patient

from nervure_edge.network.capture import Block
from nervure_edge.network.capture.block import ETHERNET, RAW
from nervure_edge.network.flow import Flow
from nervure_edge.network.meter import FlowMeter, MeterSettings

A, B = "10.0.0.1", "10.0.0.2"
S = 1_000_000
T0 = 1_700_000_000 * S

Timed = tuple[float, bytes]
Ends = tuple[tuple[str, int], ...]


def block(packets: Sequence[Timed], *, link: int = ETHERNET) -> Block:
    """A block of frames at seconds after T0."""
    data = b""
    records: list[tuple[int, int, int, int]] = []
    for seconds, frame in packets:
        records.append((T0 + round(seconds * S), len(data), len(data) + len(frame), len(frame)))
        data += frame
    return Block(data, link, records)


def meter_all(packets: Sequence[Timed], **settings: float) -> tuple[list[Flow], FlowMeter]:
    meter = FlowMeter(MeterSettings.model_validate(settings))
    meter.feed(block(packets))
    meter.flush()
    return meter.ended(), meter


def request(flags: int, payload: bytes = b"", *, port: int = 1234) -> bytes:
    return tcp_frame(A, port, B, 80, flags, payload)


def answer(flags: int, payload: bytes = b"", *, port: int = 1234) -> bytes:
    return tcp_frame(B, 80, A, port, flags, payload)


HANDSHAKE: list[Timed] = [(0.0, request(SYN)), (0.1, answer(SYN | ACK)), (0.2, request(ACK))]


def test_a_conversation_is_one_flow() -> None:
    packets = [
        *HANDSHAKE,
        (0.3, request(PSH | ACK, b"GET /")),
        (0.5, answer(PSH | ACK, b"x" * 100)),
        (0.6, request(FIN | ACK)),
        (0.7, answer(FIN | ACK)),
        (0.8, request(ACK)),
    ]
    (flow,), meter = meter_all(packets)
    assert flow == Flow(
        start_us=T0,
        dur_us=800_000,
        src=A,
        dst=B,
        sport=1234,
        dport=80,
        proto="tcp",
        service="http",
        state="SF",
        spkts=5,
        dpkts=3,
        sbytes=5 * 40 + 5,  # without the padding of the short frames
        dbytes=3 * 40 + 100,
    )
    assert meter.counts.packets == 8
    assert meter.open_flows == 0


def test_a_closed_conversation_ends_soon_and_a_new_one_may_begin_at_once() -> None:
    closed = [*HANDSHAKE, (0.3, request(FIN | ACK)), (0.4, answer(FIN | ACK))]
    again = [(seconds + 0.5, frame) for seconds, frame in HANDSHAKE]
    meter = FlowMeter(MeterSettings(close_s=2))
    meter.feed(block([*closed, *again]))
    (first,) = meter.ended()
    assert (first.state, first.spkts, first.dpkts) == ("SF", 3, 2)
    meter.feed(block([(1.0, answer(RST))]))
    meter.advance(T0 + 2 * S)
    assert meter.ended() == []
    meter.advance(T0 + 4 * S)
    (second,) = meter.ended()
    assert (second.state, second.start_us) == ("RSTR", T0 + S // 2)


def test_unanswered_openings_end_after_the_attempt_time_out() -> None:
    meter = FlowMeter(MeterSettings(attempt_s=5, idle_s=60))
    meter.feed(block([(0, request(SYN)), *((0.1 + s, f) for s, f in HANDSHAKE if f != HANDSHAKE[0][1])]))
    meter.feed(block([(0, request(SYN, port=999))]))
    meter.advance(T0 + 6 * S)
    assert [flow.sport for flow in meter.ended()] == [999]
    assert meter.open_flows == 1


def test_silence_ends_a_flow_exactly() -> None:
    query = udp_frame(A, 5000, B, 53)
    flows, _ = meter_all([(0, query), (10, query), (20.000001, query)], idle_s=10)
    assert sorted(flow.spkts for flow in flows) == [1, 2]


def test_long_conversations_are_cut_and_remember_their_opening() -> None:
    packets = [*HANDSHAKE, *((float(second), request(PSH | ACK, b"x")) for second in range(1, 40))]
    meter = FlowMeter(MeterSettings(idle_s=5, active_s=10))
    meter.feed(block(packets))
    meter.flush()
    flows = meter.ended()
    assert len(flows) == 4
    assert sum(flow.spkts for flow in flows) == 41
    assert {flow.state for flow in flows} == {"S1"}
    assert all(flow.dur_us <= 11 * S for flow in flows)


def test_a_cut_flow_that_falls_silent_leaves_no_empty_record() -> None:
    frame = udp_frame(A, 1, B, 2)
    meter = FlowMeter(MeterSettings(idle_s=30, active_s=10))
    meter.feed(block([(0, frame), (9, frame)]))
    for second in (12, 30, 45, 60):
        meter.advance(T0 + second * S)
    (flow,) = meter.ended()
    assert flow.spkts == 2
    assert meter.open_flows == 0


def test_the_table_is_bounded_and_a_flood_pushes_out_its_own_kind() -> None:
    meter = FlowMeter(MeterSettings(max_flows=100))
    meter.feed(block(HANDSHAKE))
    flood = [(0.5 + n / 1000, tcp_frame("10.9.9.9", n, B, 80, SYN)) for n in range(1, 1001)]
    meter.feed(block(flood))
    assert meter.open_flows == 100
    assert meter.counts.evicted == 901
    meter.feed(block([(2, request(PSH | ACK, b"still here"))]))
    assert meter.counts.evicted == 901
    assert {flow.state for flow in meter.ended()} == {"S0"}


def test_stale_calendar_entries_are_bounded() -> None:
    meter = FlowMeter(MeterSettings(max_flows=2))
    for n in range(5000):  # one conversation opened and reset over and over
        meter.feed(block([(n / 1000, request(SYN)), (n / 1000, answer(RST | ACK))]))
    assert meter.counts.flows == 4999
    assert meter.scheduled <= 2 * 2 + 1024 + 1


def test_the_server_of_a_well_known_port_is_no_source() -> None:
    flows, _ = meter_all([(0, udp_frame(B, 53, A, 40000)), (1, udp_frame(A, 40000, B, 53))])
    assert [(flow.src, flow.dport, flow.state, flow.dpkts) for flow in flows] == [(A, 53, "SF", 1)]
    flows, _ = meter_all([(0, answer(SYN | ACK)), (1, request(ACK))])
    assert [(flow.src, flow.state) for flow in flows] == [(A, "OTH")]
    flows, _ = meter_all([(0, tcp_frame(B, 80, A, 4000, SYN))])  # but whoever opens is the source
    assert [(flow.src, flow.sport) for flow in flows] == [(B, 80)]


def test_a_host_that_sends_to_itself_from_the_same_port() -> None:
    land = tcp_frame(A, 80, A, 80, SYN)
    (flow,), meter = meter_all([(0, land), (1, land)])
    assert (flow.spkts, flow.dpkts) == (2, 0)
    assert meter.open_flows == 0


def test_ping_is_one_flow() -> None:
    echo, reply = ethernet(ip(A, B, 1, icmp(8))), ethernet(ip(B, A, 1, icmp(0)))
    (flow,), _ = meter_all([(0, echo), (0.1, reply), (1, echo), (1.1, reply)])
    assert (flow.proto, flow.sport, flow.dport, flow.spkts, flow.dpkts) == ("icmp", 8, 0, 2, 2)


def test_fragments_find_their_flow() -> None:
    whole = udp(4000, 53, b"x" * 100)
    parts = [
        ethernet(ip(A, B, 17, whole[:64], identity=1, fragment=0x2000)),
        ethernet(ip(A, B, 17, whole[64:], identity=1, fragment=8)),
        ethernet(ip(A, B, 17, whole[64:], identity=2, fragment=8)),  # its first one was not seen
    ]
    (flow,), meter = meter_all([(0, frame) for frame in parts])
    assert (flow.spkts, flow.sbytes) == (2, 84 + 64)
    assert meter.counts.fragments_lost == 1


def test_a_clock_that_steps_back_starts_anew() -> None:
    frame = udp_frame(A, 1, B, 2)
    meter = FlowMeter()
    meter.feed(block([(0, frame), (2_000_000_000, udp_frame(A, 3, B, 4)), (1, frame), (2, frame)]))
    meter.flush()
    assert [(flow.sport, flow.spkts) for flow in meter.ended()] == [(1, 1), (3, 1), (1, 2)]
    assert meter.counts.clock_resets == 1


def test_what_is_no_flow_is_counted() -> None:
    arp = b"\0" * 12 + b"\x08\x06" + b"\0" * 46
    _, meter = meter_all([(0, arp), (0, b"short"), (0, b"\0" * 60), (0, udp_frame(A, 1, B, 2))])
    counts = meter.counts.as_dict()
    assert {name: number for name, number in counts.items() if number} == {
        "packets": 4,
        "arp": 1,
        "malformed": 1,
        "not_ip": 1,
        "flows": 1,
    }


ENDS = st.tuples(st.sampled_from([A, B, "10.0.0.3"]), st.sampled_from([1, 53, 80, 4000]))


PACKET = st.tuples(
    st.sampled_from([0.0, 0.01, 0.5, 3.0, 30.0]),  # seconds after the one before
    ENDS,
    ENDS,
    st.sampled_from([None, SYN, SYN | ACK, ACK, PSH | ACK, FIN | ACK, RST, 0]),  # None: a datagram
    st.integers(0, 9),
    st.booleans(),
)


def at_their_times(packets: list[tuple[float, tuple[str, int], tuple[str, int], int | None, int, bool]]) -> list[Timed]:
    seconds = 0.0
    timed: list[Timed] = []
    for later, source, target, flags, size, padded in packets:
        seconds += later
        if flags is None:
            frame = udp_frame(*source, *target, b"x" * size, padded=padded)
        else:
            frame = tcp_frame(*source, *target, flags, b"x" * size, padded=padded)
        timed.append((seconds, frame))
    return timed


# Packets in order of time, of few endpoints, so that they meet in flows.
TRAFFIC = st.lists(PACKET, min_size=1, max_size=40).map(at_their_times)

SETTINGS = st.builds(
    MeterSettings,
    idle_s=st.sampled_from([0.4, 5.0, 60.0]),
    attempt_s=st.sampled_from([0.2, 5.0]),
    close_s=st.sampled_from([0.0, 1.0]),
    active_s=st.sampled_from([1.0, 600.0]),
    max_flows=st.sampled_from([1, 3, 1000]),
)


@patient
@given(TRAFFIC, SETTINGS)
def test_every_packet_is_in_exactly_one_flow(packets: list[Timed], settings: MeterSettings) -> None:
    meter = FlowMeter(settings)
    meter.feed(block(packets))
    assert meter.open_flows <= settings.max_flows
    meter.flush()
    flows = meter.ended()
    assert sum(flow.spkts + flow.dpkts for flow in flows) == len(packets)
    assert sum(flow.sbytes + flow.dbytes for flow in flows) == sum(int.from_bytes(frame[16:18]) for _, frame in packets)
    assert meter.counts.flows == len(flows)
    assert meter.open_flows == 0
    assert all(flow.dur_us >= 0 and flow.spkts + flow.dpkts > 0 for flow in flows)


@patient
@given(TRAFFIC, SETTINGS, st.integers(1, 7))
def test_blocks_and_links_make_no_difference(packets: list[Timed], settings: MeterSettings, size: int) -> None:
    """The fast path for the common frame, the general parser, and any cutting into blocks give the same flows."""
    common, general = FlowMeter(settings), FlowMeter(settings)
    common.feed(block(packets))
    for start in range(0, len(packets), size):
        general.feed(block([(s, frame[14:]) for s, frame in packets[start : start + size]], link=RAW))
    common.flush()
    general.flush()
    assert common.ended() == general.ended()
    assert common.counts == general.counts


def naive(packets: list[Timed], idle_s: float) -> list[tuple[Ends, int, int, int]]:
    """What flows are by definition, for UDP: packets between two endpoints without a longer silence."""
    flows: list[tuple[Ends, int, int, int]] = []
    last: dict[Ends, int] = {}
    for seconds, frame in packets:
        time_us = T0 + round(seconds * S)
        address = [".".join(map(str, frame[n : n + 4])) for n in (26, 30)]
        ports = [int.from_bytes(frame[n : n + 2]) for n in (34, 36)]
        ends = tuple(sorted(zip(address, ports, strict=True)))
        length = int.from_bytes(frame[16:18])
        at = last.get(ends)
        if at is None or time_us - flows[at][2] > idle_s * S:
            last[ends] = len(flows)
            flows.append((ends, time_us, time_us, length))
        else:
            _, start, _, total = flows[at]
            flows[at] = (ends, start, time_us, total + length)
    return sorted(flows)


@patient
@given(TRAFFIC, st.sampled_from([0.4, 5.0, 60.0]))
def test_against_the_definition(packets: list[Timed], idle_s: float) -> None:
    datagrams = [(seconds, frame) for seconds, frame in packets if frame[23] == 17]
    flows, _ = meter_all(datagrams, idle_s=idle_s)
    found = [
        (
            tuple(sorted([(flow.src, flow.sport), (flow.dst, flow.dport)])),
            flow.start_us,
            flow.end_us,
            flow.sbytes + flow.dbytes,
        )
        for flow in flows
    ]
    assert sorted(found) == naive(datagrams, idle_s)


@pytest.mark.parametrize("setting", ["idle_s", "max_flows"])
def test_settings_have_bounds(setting: str) -> None:
    with pytest.raises(ValueError, match=setting):
        MeterSettings.model_validate({setting: 0})
