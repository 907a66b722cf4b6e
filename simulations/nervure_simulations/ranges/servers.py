"""The scripted servers of a site, one process for all of them (dnsmasq, mosquitto, sshd and vsftpd run beside it).

Runs inside a namespace: `python -m nervure_simulations.ranges.servers < servers.json`. The file holds
`{"certificate": path, "key": path, "servers": [[service, address, port], ...]}`. It prints `ready` when all of them
listen, and runs until it is killed.

Servers take their time (5 to 150 ms an answer): on a bridge without delay everything would else look like a machine
gun.
"""

import asyncio
import json
import random
import re
import ssl
import sys
from collections.abc import Callable
from functools import partial
from typing import Any, cast

_THINK_S = (0.005, 0.15)
_IDLE_S = 15.0
_MOST_BYTES = 4_000_000
_SIZE = re.compile(rb"[?&]n=(\d{1,8})")
_SECONDS = re.compile(rb"[?&]s=(\d{1,2})")


async def _think() -> None:
    await asyncio.sleep(random.uniform(*_THINK_S))


async def serve_http(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer HTTP/1.1: `?n=` bytes of body, spread over `?s=` seconds if given; POST bodies are read and dropped."""
    while True:
        head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), _IDLE_S)
        length = re.search(rb"content-length: (\d{1,9})", head, re.IGNORECASE)
        if length:
            await asyncio.wait_for(reader.readexactly(min(int(length[1]), _MOST_BYTES)), _IDLE_S)
        await _think()
        size, spread = _SIZE.search(head), _SECONDS.search(head)
        body = min(int(size[1]), _MOST_BYTES) if size else 180
        status = b"404 Not Found" if b"/missing" in head else b"200 OK"
        keep = b"connection: close" not in head.lower()
        writer.write(
            b"HTTP/1.1 %s\r\nServer: range\r\nContent-Type: application/octet-stream\r\nContent-Length: %d\r\n"
            b"Connection: %s\r\n\r\n" % (status, body, b"keep-alive" if keep else b"close")
        )
        pieces = 4 * int(spread[1]) if spread else 1
        for piece in range(pieces):
            part = body // pieces + (body % pieces if piece == 0 else 0)
            writer.write(b"\x5a" * part)
            await writer.drain()
            if spread:
                await asyncio.sleep(0.25)
        if not keep:
            return


async def serve_cloud(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer each small message of a device with a small message."""
    while data := await asyncio.wait_for(reader.read(2048), 60.0):
        await _think()
        writer.write(data[: 8 + len(data) // 4])
        await writer.drain()


async def serve_modbus(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer Modbus "read registers" requests of 12 bytes."""
    while True:
        request = await asyncio.wait_for(reader.readexactly(12), _IDLE_S)
        count = min(request[11], 120)
        await asyncio.sleep(random.uniform(0.002, 0.02))
        writer.write(
            request[:4] + (3 + 2 * count).to_bytes(2, "big") + request[6:8] + bytes([2 * count]) + bytes(2 * count)
        )
        await writer.drain()


async def serve_telnet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Ask for a name and a word, then echo lines."""
    writer.write(b"\xff\xfb\x01\xff\xfb\x03router login: ")
    await writer.drain()
    while line := await asyncio.wait_for(reader.readline(), _IDLE_S):
        await _think()
        writer.write(line + b"router> ")
        await writer.drain()


_STREAMS: dict[str, Callable[[asyncio.StreamReader, asyncio.StreamWriter], Any]] = {
    "http": serve_http,
    "https": serve_http,
    "cloud": serve_cloud,
    "modbus": serve_modbus,
    "telnet": serve_telnet,
}


class _Datagrams(asyncio.DatagramProtocol):
    """NTP, CoAP, and the attacker's name server answer; syslog and RTP only listen."""

    def __init__(self, service: str) -> None:
        self._service = service
        self._transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # The event loop's own datagram transports do not inherit from DatagramTransport in Python 3.11.
        self._transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, addr: tuple[str | Any, int]) -> None:
        reply = {
            "ntp": lambda: b"\x24\x02\x06\xe9" + bytes(44),
            "coap": lambda: b"\x60\x45" + data[2:4] + b"\xff" + bytes(random.randint(8, 60)),
            "tunnel": lambda: data[:2] + b"\x84\x00" + data[4:] + bytes(random.randint(20, 160)),
        }.get(self._service)
        if reply is not None and self._transport is not None:
            asyncio.get_running_loop().call_later(random.uniform(0.002, 0.05), self._transport.sendto, reply(), addr)


def _shielded(
    handler: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Any],
) -> Callable[[asyncio.StreamReader, asyncio.StreamWriter], Any]:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # Scanners and floods break off in every possible way; a server of the range shrugs.
        try:
            await handler(reader, writer)
        except (OSError, EOFError, TimeoutError, ValueError, ssl.SSLError):
            pass
        finally:
            writer.close()

    return serve


async def main(request: dict[str, Any]) -> None:
    """Start every server and serve until killed."""
    secure = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    secure.load_cert_chain(request["certificate"], request["key"])
    loop = asyncio.get_running_loop()
    for service, address, port in request["servers"]:
        if service in _STREAMS:
            tls = secure if service == "https" else None
            await asyncio.start_server(_shielded(_STREAMS[service]), address, port, ssl=tls, backlog=256)
        else:
            await loop.create_datagram_endpoint(partial(_Datagrams, service), local_addr=(address, port))
    print("ready", flush=True)  # noqa: T201 - the line its parent waits for
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(json.load(sys.stdin)))
