"""Packets from a network interface, by a Linux AF_PACKET socket.

Rules:

- Needs Linux and CAP_NET_RAW; without them one clear error when the sensor opens, never a traceback.
- Only the first 256 bytes of a frame are copied: headers are all that is read. The length on the wire comes from the kernel.
- One `LiveCapture.poll` waits at most its time-out for a first packet, then takes what is there, bounded by a number of packets.
- What the kernel had to drop because nobody read in time is counted in ``dropped``.
- On the loopback interface each packet passes twice, going out and coming in; it is counted once.

VLAN tags that the network card strips are not restored: flows don't tell VLANs apart.
"""

from __future__ import annotations

import errno
import select
import socket
import struct
import sys
import time
from types import TracebackType
from typing import Final, Self

from nervure_core.errors import ConfigurationError, WorldError
from nervure_edge.network.capture.block import ETHERNET, RAW, Block, RecordTuple

_ETH_P_ALL: Final = 3
_SOL_PACKET: Final = 263
_PACKET_STATISTICS: Final = 6
_SO_TIMESTAMPNS: Final = 35
_OUTGOING: Final = 4
_LOOPBACK: Final = 772
_LINKS: Final = {1: ETHERNET, _LOOPBACK: ETHERNET, 65534: RAW, 768: RAW, 776: RAW, 778: RAW, 823: RAW}
"""Hardware types of Linux (if_arp.h): Ethernet, loopback, none (tun), tunnels over IP."""
_FRAME_BYTES: Final = 256
_timespec = struct.Struct("@qq")
_statistics = struct.Struct("@II")


class NoSuchInterface(WorldError):
    """There is no interface of that name, or it is down."""

    def __init__(self, interface: str, reason: str) -> None:
        super().__init__(f"interface {interface}: {reason}", hint="`ip link` lists the interfaces of this machine")
        self.interface = interface


class MayNotCapture(WorldError):
    """The process has no right to capture packets."""

    def __init__(self, interface: str) -> None:
        super().__init__(
            f"interface {interface}: capturing is not permitted",
            hint="run as root, or give the process the capability CAP_NET_RAW",
        )
        self.interface = interface


class LiveCapture:
    """An opened interface.

    Args:
        interface: Its name, such as ``eth0``.
        buffer_bytes: Packets the kernel keeps while nobody reads.

    Raises:
        ConfigurationError: On systems without AF_PACKET, or if the interface carries no IP.
        NoSuchInterface: If it is not there.
        MayNotCapture: Without the right to capture.
    """

    def __init__(self, interface: str, *, buffer_bytes: int = 4 << 20) -> None:
        if sys.platform != "linux":
            raise ConfigurationError("live capture needs Linux", hint="give a capture file or flow records instead")
        self.interface = interface
        self.packets = 0
        self._dropped = 0
        try:
            opened = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)  # protocol 0: nothing arrives before bind
        except PermissionError as error:
            raise MayNotCapture(interface) from error
        except OSError as error:
            raise WorldError(f"interface {interface}: no packet socket ({error.strerror})") from error
        self._socket = opened
        try:
            opened.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer_bytes)
            opened.bind((interface, _ETH_P_ALL))
            opened.setblocking(False)
            hardware = int(opened.getsockname()[3])
            if hardware not in _LINKS:
                raise ConfigurationError(f"interface {interface}: its hardware type {hardware} is not understood")
        except OSError as error:
            opened.close()
            raise NoSuchInterface(interface, (error.strerror or str(error)).lower()) from error
        except ConfigurationError:
            opened.close()
            raise
        self._link = _LINKS[hardware]
        self._is_loopback = hardware == _LOOPBACK
        self._poller = select.poll()
        self._poller.register(opened, select.POLLIN)

    def poll(self, most: int, timeout_s: float) -> Block | None:
        """Return the packets that came, None where none came in time.

        Args:
            most: Bound on the number of packets.
            timeout_s: Longest wait for the first one.

        Raises:
            NoSuchInterface: If the interface went down or away.
        """
        if not self._poller.poll(timeout_s * 1e3):
            return None
        buffer = bytearray(most * _FRAME_BYTES)
        view = memoryview(buffer)
        records: list[RecordTuple] = []
        start = 0
        flags = socket.MSG_DONTWAIT | socket.MSG_TRUNC  # TRUNC: return the whole length, not the copied one
        while len(records) < most:
            try:
                wire, extra, _, sender = self._socket.recvmsg_into([view[start : start + _FRAME_BYTES]], 64, flags)
            except BlockingIOError:
                break
            except OSError as error:
                reason = "it is down" if error.errno == errno.ENETDOWN else (error.strerror or str(error)).lower()
                raise NoSuchInterface(self.interface, reason) from error
            if self._is_loopback and sender[2] == _OUTGOING:
                continue
            records.append((_time_us(extra), start, start + min(wire, _FRAME_BYTES), wire))
            start += _FRAME_BYTES
        self.packets += len(records)
        return Block(bytes(view[:start]), self._link, records) if records else None

    @property
    def dropped(self) -> int:
        """Packets that the kernel dropped because its buffer was full."""
        if self._socket.fileno() >= 0:
            # The kernel starts its counters anew at every reading.
            counters = self._socket.getsockopt(_SOL_PACKET, _PACKET_STATISTICS, _statistics.size)
            self._dropped += int(_statistics.unpack(counters)[1])
        return self._dropped

    def close(self) -> None:
        """Close the socket; may be called again."""
        self._socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _time_us(extra: list[tuple[int, int, bytes]]) -> int:
    for level, kind, value in extra:
        if level == socket.SOL_SOCKET and kind == _SO_TIMESTAMPNS and len(value) >= _timespec.size:
            seconds, nanoseconds = _timespec.unpack_from(value)
            return int(seconds) * 1_000_000 + int(nanoseconds) // 1000
    return time.time_ns() // 1000
