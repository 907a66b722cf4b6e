"""A small real client of the wire: enough of an agent to test a hub with, frame by frame.

>>> async with WireAgent.connect(port, "camera-7") as agent:
...     await agent.send_events(3)
...     await agent.acknowledged(3)
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeVar, cast

import grpc

from nervure.v1 import session_pb2
from nervure_core.codec import decode_hub, encode_agent
from nervure_core.events import Event, EventKind, PayloadCodec, pack_events
from nervure_core.messages import (
    PROTOCOL,
    Ack,
    AgentMessage,
    AgentStatus,
    Heartbeat,
    Hello,
    HubMessage,
    Running,
    Welcome,
)
from nervure_core.transport import channel

M = TypeVar("M")
_WAIT_S = 20.0


def event(number: int, label: str = "scan") -> Event:
    """Return an event that can be told from others."""
    return Event(1_700_000_000_000_000 + number, "network", f"10.0.0.1:{number}", label, 0.9, "observe", "m", 1, 40.0)


class WireAgent:
    """One open stream."""

    def __init__(self, stream: Any, agent_id: str, stream_id: bytes) -> None:
        self._stream = stream
        self.agent_id = agent_id
        self.stream_id = stream_id
        self.next_seq = 0
        self.received: deque[HubMessage] = deque(maxlen=10_000)
        self.welcome: Welcome | None = None
        self.durable_up_to = 0

    @classmethod
    @asynccontextmanager
    async def connect(
        cls,
        port: int,
        agent_id: str,
        *,
        stream_id: bytes = b"s" * 16,
        protocol: int = PROTOCOL,
        hello: bool = True,
        **fields: Any,
    ) -> AsyncGenerator[WireAgent]:
        """Connect and, unless told otherwise, greet."""
        async with channel(f"127.0.0.1:{port}") as connection:
            raw = cast("Any", connection).stream_stream(
                "/nervure.v1.SessionService/Connect", response_deserializer=session_pb2.HubFrame.FromString
            )
            agent = cls(raw(), agent_id, stream_id)
            try:
                if hello:
                    await agent.send(
                        Hello(agent_id, "test", stream_id, 0, protocol=protocol, workload="network", **fields)
                    )
                    first = await agent.next()
                    if isinstance(first, Welcome):
                        agent.welcome = first
                        agent.next_seq = agent.durable_up_to = first.durable_up_to
                yield agent
            finally:
                agent._stream.cancel()

    async def send(self, message: AgentMessage) -> None:
        """Send one message."""
        await self.send_raw(encode_agent(message).SerializeToString())

    async def send_raw(self, data: bytes) -> None:
        """Send bytes as a frame, whatever they are."""
        await self._stream.write(data)

    async def send_events(
        self, count: int, *, first_seq: int | None = None, kind: EventKind = EventKind.FINDING
    ) -> None:
        """Send one batch."""
        first = self.next_seq if first_seq is None else first_seq
        events = [event(first + index) for index in range(count)]
        await self.send(pack_events(self.stream_id, first, kind, events, PayloadCodec.ZSTD))
        self.next_seq = max(self.next_seq, first + count)

    async def heartbeat(self, *, sent_us: int = 1, running: Running | None = None, examples: int = 0) -> None:
        """Send a sign of life."""
        await self.send(Heartbeat(sent_us, AgentStatus(running=running or Running(), examples=examples)))

    async def finish(self) -> None:
        """Say that no more will be sent."""
        await self._stream.done_writing()

    async def next(self) -> HubMessage | None:
        """Return the next message, None at the end of the stream, whatever its status."""
        try:
            async with asyncio.timeout(_WAIT_S):
                frame = await self._stream.read()
        except (grpc.RpcError, asyncio.InvalidStateError):
            return None
        if not isinstance(frame, session_pb2.HubFrame):
            return None
        message = decode_hub(frame)
        self.received.append(message)
        if isinstance(message, Ack) and message.stream_id == self.stream_id:
            self.durable_up_to = message.durable_up_to
        return message

    async def wait_for(self, kind: type[M], matches: Callable[[M], bool] = lambda _message: True) -> M:
        """Read until a message of a kind comes, and return it."""
        while (message := await self.next()) is not None:
            if isinstance(message, kind) and matches(message):
                return message
        raise AssertionError(f"stream ended before a {kind.__name__} came: {await self.end()}")

    async def acknowledged(self, up_to: int) -> None:
        """Read until everything below a sequence is acknowledged."""
        while self.durable_up_to < up_to:
            await self.wait_for(Ack)

    async def end(self) -> tuple[grpc.StatusCode, str]:
        """Return the status the hub ended the stream with."""
        async with asyncio.timeout(_WAIT_S):
            return await self._stream.code(), await self._stream.details()


async def until(condition: Callable[[], Any], *, within_s: float = _WAIT_S) -> Any:
    """Poll an awaitable condition until it holds; for facts that have no event to wait for, such as a report sent."""
    async with asyncio.timeout(within_s):
        while True:
            found = condition()
            if asyncio.iscoroutine(found):
                found = await found
            if found:
                return found
            await asyncio.sleep(0.02)
