"""A hub in memory behind a real gRPC server on a free port: follows the wire contract, keeps everything it was told.

>>> async with HubTwin() as hub:  # doctest: +SKIP
...     await hub.wait_for(lambda: hub.hellos)
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from typing import Any, Self

import grpc

from nervure.v1 import artifacts_pb2, artifacts_pb2_grpc, session_pb2, session_pb2_grpc
from nervure_core.bundle import MANIFEST, Bundle
from nervure_core.codec import decode_agent, encode_hub, join_parts, split_content
from nervure_core.events import Event, EventBatch, decode_events, unpack_payload
from nervure_core.files import sha256_hex
from nervure_core.messages import (
    PROTOCOL,
    Ack,
    AgentMessage,
    Assignment,
    Credit,
    DeploymentReport,
    Desired,
    Goodbye,
    Heartbeat,
    HeartbeatAck,
    Hello,
    HubMessage,
    Lost,
    Refused,
    TaskOrder,
    TaskPart,
    TaskResult,
    Welcome,
)
from nervure_core.transport import listen, server
from nervure_edge.changes import Changes


class HubTwin:
    """One hub; its knobs may be turned while it runs."""

    def __init__(
        self, region: str = "test", *, stored: dict[tuple[str, bytes], dict[int, Event]] | None = None
    ) -> None:
        self.region = region
        self.protocol = PROTOCOL
        self.refusal: Refused | None = None
        self.heartbeat_s = 0.2
        self.credit_bytes = 1 << 20
        self.acknowledges = True
        self.advertised: tuple[str, ...] = ()
        self.desired: Desired | None = None
        self.artifacts: dict[str, bytes] = {}
        self.fetched: list[tuple[str, int]] = []
        self.chunk_bytes = 64 * 1024
        self.cut_fetch_after_bytes: int | None = None
        # What regions share: a lake that knows an event by agent, stream and sequence.
        self.stored = stored if stored is not None else {}
        self.watermarks: dict[tuple[str, bytes], int] = {}
        self.duplicates = 0
        self.hellos: list[Hello] = []
        self.lost: list[Lost] = []
        self.reports: list[DeploymentReport] = []
        self.results: list[TaskResult] = []
        self.heartbeats: list[Heartbeat] = []
        self.goodbyes: list[Goodbye] = []
        self.in_flight_bytes = self.most_in_flight_bytes = 0
        self.open_sessions = 0
        self._outgoing: dict[str, asyncio.Queue[HubMessage]] = {}
        self._parts: dict[str, tuple[TaskResult, list[TaskPart]]] = {}

    async def __aenter__(self) -> Self:
        self.changes = Changes()
        self._server = server()
        session_pb2_grpc.add_SessionServiceServicer_to_server(_Sessions(self), self._server)  # type: ignore[arg-type]
        artifacts_pb2_grpc.add_ArtifactServiceServicer_to_server(_Artifacts(self), self._server)  # type: ignore[arg-type]
        self.address = f"127.0.0.1:{listen(self._server, '127.0.0.1:0')}"
        await self._server.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.kill()

    async def kill(self) -> None:
        """Stop at once, as a killed process does to its connections."""
        await self._server.stop(None)

    async def wait_for(self, predicate: Callable[[], object], seconds: float = 20.0) -> None:
        async with asyncio.timeout(seconds):
            await self.changes.wait_for(lambda: bool(predicate()))

    def events(self, agent_id: str) -> list[Event]:
        return [
            event for (agent, _), rows in self.stored.items() if agent == agent_id for _, event in sorted(rows.items())
        ]

    def shelve(self, bundle: Bundle) -> None:
        """Offer a bundle's files."""
        for name in (MANIFEST, *bundle.manifest.files):
            data = bundle.path(name).read_bytes()
            self.artifacts[sha256_hex(data)] = data

    def deploy(self, bundle: Bundle, *, generation: int = 1) -> None:
        """Want a bundle to run on every agent, now and for those who come later."""
        self.shelve(bundle)
        wanted = Assignment("default", bundle.manifest.name, bundle.manifest.release, bundle.bundle_id)
        self.desired = Desired(generation, (wanted,))
        for agent_id in self._outgoing:
            self.send(agent_id, self.desired)

    def send(self, agent_id: str, message: HubMessage) -> None:
        self._outgoing[agent_id].put_nowait(message)

    def order(self, agent_id: str, order: TaskOrder) -> None:
        parts = split_content(order.task_id, order.content)
        self.send(agent_id, replace(order, content=b"", parts=len(parts)) if parts else order)
        for part in parts:
            self.send(agent_id, part)

    def greet(self, hello: Hello) -> HubMessage:
        self.hellos.append(hello)
        if self.refusal is not None:
            return self.refusal
        if hello.protocol != self.protocol:
            return Refused("protocol", f"this hub speaks protocol {self.protocol}, the agent {hello.protocol}")
        self.in_flight_bytes = 0
        self._outgoing[hello.agent_id] = asyncio.Queue()
        if self.desired is not None:
            self.send(hello.agent_id, self.desired)
        return Welcome(
            session_id=f"session-{len(self.hellos)}",
            region=self.region,
            hub_id=f"hub-{self.region}",
            heartbeat_s=self.heartbeat_s,
            credit_bytes=self.credit_bytes,
            durable_up_to=self.watermarks.get((hello.agent_id, hello.stream_id), 0),
            hubs=self.advertised,
        )

    def take(self, agent_id: str, message: AgentMessage) -> None:
        match message:
            case EventBatch():
                self._store(agent_id, message)
            case Lost():
                self.lost.append(message)
                self._advance(agent_id, message.stream_id, message.from_seq, message.to_seq)
            case Heartbeat():
                self.heartbeats.append(message)
                self.send(agent_id, HeartbeatAck(message.sent_us))
            case TaskResult(parts=parts) if parts:
                self._parts[message.task_id] = (message, [])
            case TaskPart():
                head, held = self._parts[message.task_id]
                held.append(message)
                if len(held) == head.parts:
                    self.results.append(replace(head, content=join_parts(held, head.parts), parts=0))
            case TaskResult():
                self.results.append(message)
            case DeploymentReport():
                self.reports.append(message)
            case Goodbye():
                self.goodbyes.append(message)
            case Hello():
                raise AssertionError("a second Hello")

    def _store(self, agent_id: str, batch: EventBatch) -> None:
        rows = self.stored.setdefault((agent_id, batch.stream_id), {})
        for offset, event in enumerate(decode_events(unpack_payload(batch))):
            if batch.first_seq + offset in rows:
                self.duplicates += 1
            rows[batch.first_seq + offset] = event
        self.in_flight_bytes += len(batch.payload)
        self.most_in_flight_bytes = max(self.most_in_flight_bytes, self.in_flight_bytes)
        self._advance(agent_id, batch.stream_id, batch.first_seq, batch.end_seq)
        if self.acknowledges:
            self.send(agent_id, Credit(len(batch.payload)))
            self.in_flight_bytes -= len(batch.payload)

    def _advance(self, agent_id: str, stream_id: bytes, first: int, end: int) -> None:
        if not self.acknowledges:
            return
        key = (agent_id, stream_id)
        self.watermarks[key] = max(self.watermarks.get(key, 0), end)
        self.send(agent_id, Ack(stream_id, self.watermarks[key]))

    def outgoing(self, agent_id: str) -> asyncio.Queue[HubMessage]:
        return self._outgoing[agent_id]


class _Sessions:
    def __init__(self, hub: HubTwin) -> None:
        self._hub = hub

    async def Connect(self, _: object, context: Any) -> None:  # noqa: N802 - the service's own name
        hub = self._hub
        hello = decode_agent(await context.read())
        assert isinstance(hello, Hello)
        answer = hub.greet(hello)
        await context.write(encode_hub(answer))
        hub.changes.notify()
        if not isinstance(answer, Welcome):
            return
        hub.open_sessions += 1
        try:
            async with asyncio.TaskGroup() as group:
                writer = group.create_task(self._write(hello.agent_id, context))
                while isinstance(frame := await context.read(), session_pb2.AgentFrame):
                    hub.take(hello.agent_id, decode_agent(frame))
                    hub.changes.notify()
                writer.cancel()
        finally:
            hub.open_sessions -= 1
            hub.changes.notify()

    async def _write(self, agent_id: str, context: Any) -> None:
        outgoing = self._hub.outgoing(agent_id)
        while True:
            await context.write(encode_hub(await outgoing.get()))


class _Artifacts:
    def __init__(self, hub: HubTwin) -> None:
        self._hub = hub

    async def Fetch(  # noqa: N802 - the service's own name
        self, request: artifacts_pb2.FetchRequest, context: Any
    ) -> AsyncIterator[artifacts_pb2.Chunk]:
        hub = self._hub
        hub.fetched.append((request.sha256, request.offset))
        data = hub.artifacts.get(request.sha256)
        if data is None:
            await context.abort(grpc.StatusCode.NOT_FOUND, "no such artifact")
            return
        for offset in range(request.offset, len(data), hub.chunk_bytes):
            if hub.cut_fetch_after_bytes is not None and offset >= hub.cut_fetch_after_bytes:
                hub.cut_fetch_after_bytes = None
                await context.abort(grpc.StatusCode.UNAVAILABLE, "cut by the test")
            yield artifacts_pb2.Chunk(
                offset=offset, data=data[offset : offset + hub.chunk_bytes], total_bytes=len(data)
            )
