"""The innocent devices of one namespace, acting out their part of the plan.

Runs inside a namespace: `python -m nervure_simulations.ranges.benign < part.json`, where the part holds
`{"start_at": monotonic seconds, "events": [...], "facts": {...}}` (see `acting.benign_part`). Every event is a task
that starts at its time, is bounded by `_MOST_S`, and whose failure is counted and otherwise ignored: a service that is
being attacked may well refuse innocent users, and that is what the capture should show. It prints one JSON line with
counts at the end.

Where a real client exists (ssh, mosquitto_pub, mosquitto_sub, curl for FTP) it is used; the rest speak plain sockets
bound to the device's own address.
"""

import asyncio
import json
import os
import random
import socket
import ssl
import struct
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

_MOST_S = 20.0
_NAMES = ("time.range.test", "api.cloud.range.test", "cdn-7f3a9.static.assets.range.test", "printer.lan", "nosuch.test")


@dataclass(frozen=True, slots=True)
class Act:
    """One event with what it needs to be performed."""

    source: str
    target: str
    port: int
    size: int
    rng: random.Random
    facts: dict[str, str]


async def _tcp(
    act: Act, *, tls: bool = False, wait_s: float = 5.0
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    context: ssl.SSLContext | None = None
    if tls:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        # The range's certificate is made for this run and signed by itself.
        context.verify_mode = ssl.CERT_NONE
    async with asyncio.timeout(wait_s):
        return await asyncio.open_connection(act.target, act.port, ssl=context, local_addr=(act.source, 0))


async def _requests(act: Act, sizes: list[int], *, tls: bool = False, extra: str = "", body: bytes = b"") -> None:
    reader, writer = await _tcp(act, tls=tls)
    try:
        for number, size in enumerate(sizes):
            last = number == len(sizes) - 1
            path = "/missing" if act.rng.random() < 0.06 else f"/item{number}?n={size}{extra}"
            writer.write(
                f"{'POST' if body else 'GET'} {path} HTTP/1.1\r\nHost: range.test\r\nUser-Agent: device/1\r\n"
                f"Content-Length: {len(body)}\r\nConnection: {'close' if last else 'keep-alive'}\r\n\r\n".encode()
                + body
            )
            await writer.drain()
            head = await reader.readuntil(b"\r\n\r\n")
            length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
            await reader.readexactly(length)
            if not last:
                await asyncio.sleep(act.rng.expovariate(4.0))
    finally:
        writer.close()


async def http_get(act: Act) -> None:
    """Ask once or a few times on one connection."""
    await _requests(act, [act.size] * act.rng.choice((1, 1, 2, 4)))


async def https_get(act: Act) -> None:
    """Ask once or twice over TLS."""
    await _requests(act, [act.size] * act.rng.choice((1, 2)), tls=True)


async def http_post(act: Act) -> None:
    """Send a picture or a report."""
    await _requests(act, [60], body=bytes(act.size))


async def bulk(act: Act) -> None:
    """Download something big."""
    await _requests(act, [act.size])


async def stream(act: Act) -> None:
    """Listen to something that arrives over several seconds."""
    await _requests(act, [act.size], extra=f"&s={act.rng.randint(3, 8)}")


async def browse(act: Act) -> None:
    """Open a page: two to four connections side by side."""
    async with asyncio.TaskGroup() as group:
        for _ in range(act.rng.randint(2, 4)):
            sizes = [act.rng.randint(200, act.size) for _ in range(act.rng.randint(1, 4))]
            group.create_task(_requests(act, sizes))


async def keepalive(act: Act) -> None:
    """Hold a connection to the vendor's cloud and say little."""
    reader, writer = await _tcp(act)
    try:
        for _ in range(act.size):
            writer.write(bytes(act.rng.randint(30, 120)))
            await writer.drain()
            await reader.read(512)
            await asyncio.sleep(act.rng.uniform(0.4, 1.6))
    finally:
        writer.close()


async def modbus(act: Act) -> None:
    """Poll registers of a controller."""
    reader, writer = await _tcp(act)
    try:
        for number in range(act.size):
            count = act.rng.randint(1, 60)
            writer.write(struct.pack(">HHHBBHH", number, 0, 6, 1, 3, 100, count))
            await writer.drain()
            await reader.readexactly(9 + 2 * count)
            await asyncio.sleep(act.rng.uniform(0.05, 0.4))
    finally:
        writer.close()


async def telnet(act: Act) -> None:
    """Log in to old equipment and type a few lines."""
    reader, writer = await _tcp(act)
    try:
        for _ in range(act.size):
            await reader.read(256)
            await asyncio.sleep(act.rng.uniform(0.2, 0.9))
            writer.write(b"x" * act.rng.randint(3, 20) + b"\r\n")
            await writer.drain()
    finally:
        writer.close()


async def check(act: Act) -> None:
    """Connect and hang up, as monitoring does."""
    reader, writer = await _tcp(act)
    if act.rng.random() < 0.5:
        async with asyncio.timeout(0.3):
            await reader.read(64)
    writer.close()


async def refused(act: Act) -> None:
    """Try a service that is down, once or twice."""
    for _ in range(act.size):
        try:
            _, writer = await _tcp(act)
            writer.close()
        except OSError:
            await asyncio.sleep(0.4)


async def dark(act: Act) -> None:
    """Try a host that has gone: no answer at all."""
    _, writer = await _tcp(act, wait_s=act.rng.choice((0.8, 2.5, 3.5)))
    writer.close()


def _udp(act: Act) -> socket.socket:
    made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    made.setblocking(False)
    made.bind((act.source, 0))
    made.connect((act.target, act.port))
    return made


async def _ask(act: Act, sock: socket.socket, data: bytes) -> None:
    loop = asyncio.get_running_loop()
    await loop.sock_sendall(sock, data)
    async with asyncio.timeout(2.0):
        await loop.sock_recv(sock, 4096)


def dns_query(rng: random.Random, name: str, kind: int) -> bytes:
    """Return a DNS query for one name."""
    labels = b"".join(bytes([len(part)]) + part.encode() for part in name.split("."))
    return (
        struct.pack(">HHHHHH", rng.getrandbits(16), 0x0100, 1, 0, 0, 0) + labels + b"\0" + struct.pack(">HH", kind, 1)
    )


async def dns(act: Act) -> None:
    """Resolve one to three names, each from a port of its own."""
    for _ in range(act.size):
        with _udp(act) as sock:
            await _ask(act, sock, dns_query(act.rng, act.rng.choice(_NAMES), act.rng.choice((1, 1, 28))))
        await asyncio.sleep(act.rng.uniform(0.0, 0.2))


async def ntp(act: Act) -> None:
    """Ask for the time."""
    with _udp(act) as sock:
        for _ in range(act.size):
            await _ask(act, sock, b"\x23" + bytes(47))
            await asyncio.sleep(act.rng.uniform(0.2, 1.0))


async def coap(act: Act) -> None:
    """Read a sensor over CoAP."""
    with _udp(act) as sock:
        for number in range(act.size):
            await _ask(act, sock, b"\x40\x01" + number.to_bytes(2, "big") + b"\xb4temp" + bytes(act.rng.randint(0, 12)))
            await asyncio.sleep(act.rng.uniform(0.1, 0.6))


async def syslog(act: Act) -> None:
    """Send log lines; nobody answers."""
    with _udp(act) as sock:
        for _ in range(act.size):
            await asyncio.get_running_loop().sock_sendall(sock, b"<30>range: " + b"a" * act.rng.randint(30, 220))
            await asyncio.sleep(act.rng.uniform(0.05, 0.5))


async def rtp_push(act: Act) -> None:
    """Push a clip of video to the recorder, about 40 packets a second."""
    with _udp(act) as sock:
        for number in range(act.size):
            packet = struct.pack(">BBHII", 0x80, 96, number, number * 3000, 7) + bytes(act.rng.randint(600, 1180))
            await asyncio.get_running_loop().sock_sendall(sock, packet)
            await asyncio.sleep(0.025)


async def mdns(act: Act) -> None:
    """Announce a service to everybody."""
    with _udp(act) as sock:
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(act.source))
        for _ in range(act.size):
            query = dns_query(act.rng, "_services._dns-sd._udp.local", 12)
            await asyncio.get_running_loop().sock_sendall(sock, query)
            await asyncio.sleep(act.rng.uniform(0.2, 1.0))


async def ping(act: Act) -> None:
    """Ask whether a host lives."""
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP) as sock:
        sock.setblocking(False)
        sock.bind((act.source, 0))
        identity = act.rng.getrandbits(16)
        for number in range(act.size):
            plain = struct.pack(">BBHHH", 8, 0, 0, identity, number) + bytes(48)
            total = sum(struct.unpack(f">{len(plain) // 2}H", plain))
            total = (total >> 16) + (total & 0xFFFF)
            checksum = ~(total + (total >> 16)) & 0xFFFF
            packet = plain[:2] + checksum.to_bytes(2, "big") + plain[4:]
            await asyncio.get_running_loop().sock_sendto(sock, packet, (act.target, 0))
            await asyncio.sleep(act.rng.uniform(0.3, 1.0))


async def _program(*command: str, stdin: bytes | None = None) -> None:
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        await process.communicate(stdin)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def mqtt_publish(act: Act) -> None:
    """Report a reading to the broker."""
    await _program(
        "mosquitto_pub", "-A", act.source, "-h", act.target, "-p", str(act.port), "-u", "device", "-P",
        act.facts["mqtt_password"], "-q", str(act.rng.choice((0, 1, 1, 2))), "-t", "site/reading", "-m", "r" * act.size,
    )  # fmt: skip


async def mqtt_listen(act: Act) -> None:
    """Subscribe for some seconds."""
    await _program(
        "mosquitto_sub", "-A", act.source, "-h", act.target, "-p", str(act.port), "-u", "device", "-P",
        act.facts["mqtt_password"], "-t", "site/#", "-W", str(act.size), "-k", "5",
    )  # fmt: skip


async def _ssh(act: Act, *options: str) -> None:
    await _program(
        "ssh", "-F", "none", "-b", act.source, "-p", str(act.port), "-o", "StrictHostKeyChecking=no", "-o",
        "UserKnownHostsFile=/dev/null", "-o", "BatchMode=yes", "-o", "ConnectTimeout=5", *options,
    )  # fmt: skip


async def ssh_run(act: Act) -> None:
    """Log in with a key and copy something or work for a moment."""
    command = act.rng.choice((f"head -c {act.size} /dev/zero", f"sleep {act.rng.uniform(0.3, 3):.2f}", "true"))
    await _ssh(act, "-i", act.facts["ssh_key"], f"root@{act.target}", command)


async def ssh_mistyped(act: Act) -> None:
    """Come with the wrong key and give up."""
    await _ssh(act, "-i", act.facts["wrong_key"], "-o", "IdentitiesOnly=yes", f"root@{act.target}", "true")


async def ftp_get(act: Act) -> None:
    """Fetch the beginning of a file."""
    await _program(
        "curl", "-s", "--interface", act.source, "--max-time", "12", "-r", f"0-{act.size}", "-o", "/dev/null",
        f"ftp://{act.target}/pub/image.bin",
    )  # fmt: skip


async def ftp_put(act: Act) -> None:
    """Store a backup."""
    await _program(
        "curl", "-s", "--interface", act.source, "--max-time", "12", "-T", "-",
        f"ftp://{act.target}/incoming/{act.rng.getrandbits(40):x}", stdin=bytes(act.size),
    )  # fmt: skip


async def ftp_mistyped(act: Act) -> None:
    """Log in with a wrong password, once."""
    await _program("curl", "-s", "--interface", act.source, "--max-time", "8", f"ftp://maria:wrong@{act.target}/")


ACTIONS: dict[str, Callable[[Act], Awaitable[None]]] = {
    function.__name__: function
    for function in (
        http_get, https_get, http_post, bulk, stream, browse, keepalive, modbus, telnet, check, refused, dark, dns, ntp,
        coap, syslog, rtp_push, mdns, ping, mqtt_publish, mqtt_listen, ssh_run, ssh_mistyped, ftp_get, ftp_put,
        ftp_mistyped,
    )
}  # fmt: skip
"""What devices can do, by the name that the plan uses."""


async def perform(part: dict[str, Any]) -> Counter[str]:
    """Act out one part and return how many events went well and how many of each action failed."""
    counts: Counter[str] = Counter()
    facts: dict[str, str] = part["facts"]

    async def one(event: dict[str, Any]) -> None:
        await asyncio.sleep(max(0.0, part["start_at"] + event["at_s"] - time.monotonic()))
        act = Act(event["source"], event["target"], event["port"], event["size"], random.Random(event["seed"]), facts)
        try:
            async with asyncio.timeout(_MOST_S):
                await ACTIONS[event["action"]](act)
            counts["done"] += 1
        except* (OSError, EOFError, TimeoutError, ValueError, IndexError):
            counts[f"failed {event['action']}"] += 1

    async with asyncio.TaskGroup() as group:
        for event in part["events"]:
            group.create_task(one(event))
    return counts


if __name__ == "__main__":
    os.nice(1)
    print(json.dumps(asyncio.run(perform(json.load(sys.stdin)))), flush=True)  # noqa: T201 - read by its parent
