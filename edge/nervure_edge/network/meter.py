"""Packets in, finished bidirectional flows out; a bounded table, O(1) per packet.

When a flow ends:

- after ``idle_s`` without a packet;
- after ``attempt_s`` without one, while a TCP opening has not been answered, so that a scan shows within seconds;
- ``close_s`` after TCP ended it (both sides sent a FIN, or one a RST), or at once when its opener starts anew;
- a record is cut every ``active_s`` while a conversation lasts; the rest goes on as a new record that remembers the opening;
- when the table is full, the flow that would end next is ended now and counted in ``evicted``: a flood of unanswered openings pushes
  out its own kind and not the conversations beside it;
- `FlowMeter.flush` ends all.

Time is the packets' time. It may run backwards by up to a minute (several queues, merged files); a longer step back ends all flows
and starts again from there, counted in ``clock_resets``. Time-outs other than ``idle_s`` are met within a quarter of a second.

Who is the source: the sender of the first packet; but not of a SYN+ACK (its opening was missed), nor the server of a well-known port
whose first packet seen is no SYN.

>>> meter = FlowMeter(MeterSettings(idle_s=30))
>>> with open_capture(path) as capture:      # doctest: +SKIP
...     for block in capture.blocks():
...         meter.feed(block)
...         for flow in meter.ended():
...             print(flow.subject, flow.state)
"""

from __future__ import annotations

import struct
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from operator import attrgetter
from pathlib import Path
from typing import Final

from pydantic import BaseModel, ConfigDict, Field

from nervure_edge.network.capture import Block, open_capture
from nervure_edge.network.capture.block import ETHERNET
from nervure_edge.network.flow import Flow, protocol_name
from nervure_edge.network.packets import TCP, UDP, Skip, parse
from nervure_edge.network.services import looks_like_server
from nervure_edge.network.tcp_state import ACK, FIN, RST, SYN
from nervure_edge.network.tracks import Track, reverse
from nervure_edge.network.wheel import NEVER, NOWHERE, Wheel

_LARGEST_STEP_BACK_US: Final = 60_000_000
_MOST_FRAGMENTED: Final = 1024
_STALE_ENTRIES: Final = 1024
_STAGES: Final = SYN | FIN | RST
_SYN_ACK: Final = SYN | ACK
_KEY_BYTES: Final = (12, 36)
_BEFORE_ALL: Final = -NEVER

# The common frame, Ethernet + IPv4 without options + TCP, in one go: type, version and header length, length, fragment,
# protocol, both addresses and both ports as one key, (UDP: payload) TCP header length, TCP flags.
_common_frame = struct.Struct(">12xHBxH2xHxB2x12s8xBB")
_COMMON_BYTES: Final = _common_frame.size


class MeterSettings(BaseModel):
    """When flows end and how many may be open."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    idle_s: float = Field(default=60.0, gt=0, le=86_400, description="silence that ends a flow")
    attempt_s: float = Field(default=5.0, gt=0, le=86_400, description="silence that ends an unanswered TCP opening")
    close_s: float = Field(default=2.0, ge=0, le=600, description="wait for last packets after TCP ended a flow")
    active_s: float = Field(default=600.0, gt=0, le=86_400, description="longest time one record may span")
    max_flows: int = Field(
        default=32_768, ge=1, le=4_194_304, description="open flows kept; beyond it flows are evicted"
    )


@dataclass(slots=True)
class MeterCounts:
    """What became of the packets."""

    packets: int = 0
    malformed: int = 0
    arp: int = 0
    not_ip: int = 0
    fragments_lost: int = 0
    """Fragments whose first one was not seen: without ports they belong to no flow."""
    flows: int = 0
    """Flows ended."""
    evicted: int = 0
    clock_resets: int = 0

    def as_dict(self) -> dict[str, int]:
        """Return the counts by name."""
        return asdict(self)


class FlowMeter:
    """Groups packets into flows; not thread-safe.

    Args:
        settings: Time-outs and bounds.
    """

    def __init__(self, settings: MeterSettings | None = None) -> None:
        settings = settings or MeterSettings()
        self.settings = settings
        self.counts = MeterCounts()
        self._idle_us = int(settings.idle_s * 1e6)
        self._attempt_us = min(int(settings.attempt_s * 1e6), self._idle_us)
        self._close_us = int(settings.close_s * 1e6)
        self._active_us = int(settings.active_s * 1e6)
        self._max_flows = settings.max_flows
        self._most_entries = 2 * settings.max_flows + _STALE_ENTRIES
        # One table per protocol keeps the protocol out of the key.
        self._tables: dict[int, dict[bytes, Track]] = {TCP: {}, UDP: {}}
        self._open = 0
        self._wheel: Wheel[Track] = Wheel()
        self._clock_us = _BEFORE_ALL
        self._ended: list[Flow] = []
        self._fragmented: OrderedDict[bytes, bytes] = OrderedDict()

    @property
    def open_flows(self) -> int:
        """Flows that have not ended."""
        return self._open

    @property
    def scheduled(self) -> int:
        """Entries of the calendar, stale ones included: bounded by about twice the table."""
        return self._wheel.size

    def feed(self, block: Block) -> None:
        """Count all packets of a block.

        This loop is the hot path of the whole sensor: it reads the common frame with one ``unpack`` and touches no other function for
        a packet of a known flow; all other frames go through `nervure_edge.network.packets.parse`.
        """
        data, link = block.data, block.link
        unpack, shortest = _common_frame.unpack_from, _COMMON_BYTES
        tcp, udp = self._tables[TCP].get, self._tables[UDP].get
        wheel = self._wheel
        due_us, floor_us = wheel.due_us, self._clock_us - _LARGEST_STEP_BACK_US
        common = link == ETHERNET
        for time_us, start, end, wire in block.records:
            if not floor_us <= time_us < due_us:
                self.advance(time_us)
                due_us, floor_us = wheel.due_us, self._clock_us - _LARGEST_STEP_BACK_US
            if common and end - start >= shortest:
                kind, version, length, fragment, protocol, key, tcp_words, flags = unpack(data, start)
                if kind == 0x0800 and version == 0x45 and not fragment & 0x3FFF and length <= wire - 14:
                    if protocol == TCP and length >= 40 and tcp_words >= 0x50:
                        track = tcp(key)
                        if track is None or track.closed or time_us - track.last_us > track.idle_us:
                            self._count(time_us, TCP, key, length, flags)
                            due_us = wheel.due_us
                            continue
                        if time_us > track.last_us:
                            track.last_us = time_us
                        if key == track.key:
                            track.spkts += 1
                            track.sbytes += length
                            if flags & 0x07:  # SYN, FIN, RST
                                track.sflags |= flags
                                self._move_on(track)
                                due_us = wheel.due_us
                        else:
                            track.dpkts += 1
                            track.dbytes += length
                            if flags & 0x07:
                                track.dflags |= flags
                                self._move_on(track)
                                due_us = wheel.due_us
                        continue
                    if protocol == UDP and length >= 28:
                        track = udp(key)
                        if track is None or time_us - track.last_us > track.idle_us:
                            self._count(time_us, UDP, key, length, 0)
                            due_us = wheel.due_us
                            continue
                        if key == track.key:
                            track.spkts += 1
                            track.sbytes += length
                        else:
                            track.dpkts += 1
                            track.dbytes += length
                        if time_us > track.last_us:
                            track.last_us = time_us
                        continue
            self._parse_and_count(time_us, data, start, end, wire, link)
            due_us = wheel.due_us
        self.counts.packets += len(block.records)

    def ended(self) -> list[Flow]:
        """Return the flows that ended since the last call, in the order in which they ended."""
        ended, self._ended = self._ended, []
        return ended

    def advance(self, now_us: int) -> None:
        """Let time pass: end what is due. A live sensor calls it while nothing arrives."""
        if now_us < self._clock_us - _LARGEST_STEP_BACK_US:
            self.flush()
            self._clock_us = now_us
            self.counts.clock_resets += 1
            return
        self._clock_us = max(self._clock_us, now_us)
        while self._wheel.due_us <= now_us:
            for track in self._wheel.take_due(now_us):
                deadline_us = self._deadline_us(track)
                if deadline_us >= now_us:
                    self._wheel.put(track, deadline_us)
                elif track.last_us + track.idle_us < now_us:
                    self._end(track)
                else:
                    self._emit(track)
                    track.restart(now_us)
                    self._wheel.put(track, self._deadline_us(track))

    def flush(self) -> None:
        """End all open flows, in the order of their last packets."""
        tracks = [track for table in self._tables.values() for key, track in table.items() if key == track.key]
        for track in sorted(tracks, key=attrgetter("last_us")):
            self._end(track)
        self._wheel.drop_stale()

    def _parse_and_count(self, time_us: int, data: bytes, start: int, end: int, wire: int, link: int) -> None:
        """Read a frame that is not a common one, find the ports of fragments, and count it."""
        packet = parse(data, start, end, wire, link)
        if isinstance(packet, Skip):
            if packet is Skip.ARP:
                self.counts.arp += 1
            elif packet is Skip.NOT_IP:
                self.counts.not_ip += 1
            else:
                self.counts.malformed += 1
            return
        protocol, key, length, flags, mark = packet
        if mark:
            if len(key) in _KEY_BYTES:
                self._fragmented[mark] = key
                if len(self._fragmented) > _MOST_FRAGMENTED:
                    self._fragmented.popitem(last=False)
            else:
                found = self._fragmented.get(mark)
                if found is None:
                    self.counts.fragments_lost += 1
                    return
                key = found
        self._count(time_us, protocol, key, length, flags)

    def _count(self, time_us: int, protocol: int, key: bytes, length: int, flags: int) -> None:
        """Count a packet of any flow at any stage."""
        table = self._tables.get(protocol)
        if table is None:
            table = self._tables[protocol] = {}
        track = table.get(key)
        if track is not None:
            if track.idle_us == self._attempt_us and track.dpkts:
                track.idle_us = self._idle_us  # answered, though not by a SYN of its own
            if time_us - track.last_us > track.idle_us or (track.closed and flags & _SYN_ACK == SYN):
                self._end(track)
                track = None
        if track is None:
            track = self._begin(time_us, protocol, key, flags, table)
        elif time_us > track.last_us:
            track.last_us = time_us
        if key == track.key:
            track.spkts += 1
            track.sbytes += length
            track.sflags |= flags
        else:
            track.dpkts += 1
            track.dbytes += length
            track.dflags |= flags
        if flags & _STAGES and not track.closed:
            self._move_on(track)

    def _move_on(self, track: Track) -> None:
        """Let a TCP conversation reach the stage that its flags speak of: answered, or closed."""
        source, other = track.sflags, track.dflags
        if (source | other) & RST or source & other & FIN:
            track.closed = True
            track.idle_us = self._close_us
            self._wheel.put(track, track.last_us + self._close_us)
        elif other:
            track.idle_us = self._idle_us

    def _begin(self, time_us: int, protocol: int, key: bytes, flags: int, table: dict[bytes, Track]) -> Track:
        """Open a flow for a packet that belongs to none."""
        if self._open >= self._max_flows:
            self._evict()
        idle_us = self._idle_us
        if protocol == TCP and flags & SYN:
            answer = bool(flags & ACK)
            if not answer:
                idle_us = self._attempt_us
        else:
            answer = (protocol in (TCP, UDP)) and _is_from_server(protocol, key)
        back = reverse(key)
        track = Track(protocol, back, key, time_us, idle_us) if answer else Track(protocol, key, back, time_us, idle_us)
        table[key] = table[back] = track
        self._open += 1
        wheel = self._wheel
        wheel.put(track, time_us + (min(self._active_us, idle_us)))
        if wheel.size > self._most_entries:
            wheel.drop_stale()
        return track

    def _evict(self) -> None:
        """End the flow that would end next."""
        while True:
            slot_end_us = self._wheel.due_us
            track = self._wheel.take_earliest()
            if track is None:
                return
            deadline_us = self._deadline_us(track)
            if deadline_us >= slot_end_us:
                self._wheel.put(track, deadline_us)
            else:
                self._end(track)
                self.counts.evicted += 1
                return

    def _deadline_us(self, track: Track) -> int:
        return min(track.last_us + track.idle_us, track.start_us + self._active_us)

    def _end(self, track: Track) -> None:
        """Forget a flow and hand on its record."""
        table = self._tables[track.protocol]
        del table[track.key]
        table.pop(track.back, None)  # the same key where a host sends to itself from the same port
        track.slot = NOWHERE
        self._open -= 1
        self._emit(track)

    def _emit(self, track: Track) -> None:
        if track.spkts or track.dpkts:  # else nothing came since its last record was cut
            self._ended.append(track.flow())
            self.counts.flows += 1


def _is_from_server(protocol: int, key: bytes) -> bool:
    """Return whether a conversation met in its middle is seen from the side of a well-known service."""
    name = protocol_name(protocol)
    sport, dport = int.from_bytes(key[-4:-2]), int.from_bytes(key[-2:])
    return looks_like_server(name, sport) and not looks_like_server(name, dport)


def meter_capture(path: Path, settings: MeterSettings | None = None) -> Iterator[Flow]:
    """Yield the flows of a capture file.

    Args:
        path: A pcap or pcapng file, packed by gzip or not.
        settings: Time-outs and bounds.

    Raises:
        InputError: If the file is no capture. One that ends early gives what it holds.
    """
    meter = FlowMeter(settings)
    with open_capture(path) as capture:
        for block in capture.blocks():
            meter.feed(block)
            yield from meter.ended()
    meter.flush()
    yield from meter.ended()
