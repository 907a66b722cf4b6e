"""What the meter remembers of a flow that is still open.

A flow has two sides with counters of their own. The table maps *both* directions of the endpoints' key to their side, so a packet
finds its counters with one look-up and no comparison of addresses; both sides share one track for what belongs to the flow as a whole.
"""

from __future__ import annotations

import socket
import struct

from nervure_edge.network.flow import Flow, protocol_name
from nervure_edge.network.services import service_of
from nervure_edge.network.tcp_state import SYN, conn_state
from nervure_edge.network.wheel import NOWHERE

_ports = struct.Struct(">HH").unpack_from


class Counters:
    """One side of an open flow."""

    __slots__ = ("bytes", "flags", "packets", "track")

    def __init__(self, track: Track) -> None:
        self.track = track
        self.packets = 0
        self.bytes = 0
        self.flags = 0
        """Union of the TCP flags seen."""


class Track:
    """An open flow."""

    __slots__ = ("closed", "idle_us", "key", "last_us", "other", "protocol", "slot", "source", "start_us")

    def __init__(self, protocol: int, key: bytes, time_us: int, idle_us: int) -> None:
        self.protocol = protocol
        self.key = key
        """Endpoints as the source writes them."""
        self.start_us = time_us
        self.last_us = time_us
        self.idle_us = idle_us
        """Silence that ends it, at its present stage."""
        self.closed = False
        """Whether TCP has ended it; it stays a moment for the last acknowledgements."""
        self.slot = NOWHERE
        self.source = Counters(self)
        self.other = Counters(self)

    def flow(self) -> Flow:
        """Return what was seen so far."""
        source, other = self.source, self.other
        half = (len(self.key) - 4) >> 1
        family = socket.AF_INET if half == 4 else socket.AF_INET6
        sport, dport = _ports(self.key, half + half)
        name = protocol_name(self.protocol)
        return Flow(
            start_us=self.start_us,
            dur_us=max(0, self.last_us - self.start_us),
            src=socket.inet_ntop(family, self.key[:half]),
            dst=socket.inet_ntop(family, self.key[half : half + half]),
            sport=sport,
            dport=dport,
            proto=name,
            service=service_of(name, sport, dport),
            state=conn_state(
                self.protocol,
                spkts=source.packets,
                sflags=source.flags,
                dpkts=other.packets,
                dflags=other.flags,
            ),
            spkts=source.packets,
            dpkts=other.packets,
            sbytes=source.bytes,
            dbytes=other.bytes,
        )

    def restart(self, now_us: int) -> None:
        """Begin a new record of a conversation that goes on: counters from nought, but that it was opened is remembered."""
        for side in (self.source, self.other):
            side.packets = side.bytes = 0
            side.flags &= SYN
        self.start_us = now_us


def reverse(key: bytes) -> bytes:
    """Return the endpoints' key as the other side writes it."""
    half = (len(key) - 4) >> 1
    return key[half : half + half] + key[:half] + key[-2:] + key[-4:-2]
