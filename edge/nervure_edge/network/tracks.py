"""What the meter remembers of a flow that is still open.

The table maps the endpoints' key of *both* directions to one track; whether a packet is the source's is told by comparing its key with the
track's. One object per flow, without references to others, keeps creation cheap and the garbage collector out of it.
"""

from __future__ import annotations

import socket
import struct

from nervure_edge.network.flow import Flow, measured_flow, protocol_name
from nervure_edge.network.services import service_of
from nervure_edge.network.tcp_state import SYN, conn_state
from nervure_edge.network.wheel import NOWHERE

_ports = struct.Struct(">HH").unpack_from


class Track:
    """An open flow.

    Args:
        protocol: IP protocol number.
        key: Endpoints as the source writes them: addresses, then ports.
        back: Endpoints as the other side writes them.
        time_us: When its first packet came, in microseconds.
        idle_us: Silence that ends it.
    """

    __slots__ = (
        "back",
        "closed",
        "dbytes",
        "dflags",
        "dpkts",
        "idle_us",
        "key",
        "last_us",
        "protocol",
        "sbytes",
        "sflags",
        "slot",
        "spkts",
        "start_us",
    )

    def __init__(self, protocol: int, key: bytes, back: bytes, time_us: int, idle_us: int) -> None:
        self.protocol = protocol
        self.key = key
        self.back = back
        self.start_us = self.last_us = time_us
        self.idle_us = idle_us
        """Silence that ends it, at its present stage."""
        self.closed = False
        """Whether TCP has ended it; it stays a moment for the last acknowledgements."""
        self.slot = NOWHERE
        self.spkts = self.sbytes = self.sflags = 0
        self.dpkts = self.dbytes = self.dflags = 0

    def flow(self) -> Flow:
        """Return what was seen so far."""
        key, spkts, dpkts = self.key, self.spkts, self.dpkts
        if len(key) == 12:
            source, destination = socket.inet_ntoa(key[:4]), socket.inet_ntoa(key[4:8])
            sport, dport = _ports(key, 8)
        else:
            source = socket.inet_ntop(socket.AF_INET6, key[:16])
            destination = socket.inet_ntop(socket.AF_INET6, key[16:32])
            sport, dport = _ports(key, 32)
        name = protocol_name(self.protocol)
        return measured_flow(
            self.start_us,
            max(0, self.last_us - self.start_us),
            source,
            destination,
            sport,
            dport,
            name,
            service_of(name, sport, dport),
            conn_state(self.protocol, spkts=spkts, sflags=self.sflags, dpkts=dpkts, dflags=self.dflags),
            spkts,
            dpkts,
            self.sbytes,
            self.dbytes,
        )

    def restart(self, now_us: int) -> None:
        """Begin a new record of a conversation that goes on: counters from nought, but that it was opened is remembered."""
        self.spkts = self.sbytes = self.dpkts = self.dbytes = 0
        self.sflags &= SYN
        self.dflags &= SYN
        self.start_us = now_us


def reverse(key: bytes) -> bytes:
    """Return the endpoints' key as the other side writes it."""
    if len(key) == 12:
        return key[4:8] + key[:4] + key[10:] + key[8:10]
    return key[16:32] + key[:16] + key[34:] + key[32:34]
